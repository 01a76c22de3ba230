"""The rules by which a library chooses a product for a frame, one after the other.

A rule is written once, as a function from a request and a product to the reason why the product
is not for the frame; it is asked once for all products that agree in what the rule looks at. Time
and predicted error are compared between products, and computed for all of them at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.checks.thresholds import TEMPERATURE_SPREAD
from emdarks.frames.frame_input import is_raw
from emdarks.library.entry import Entry, Kind
from emdarks.library.request import Request
from emdarks.products.model import SAME_GAIN, SAME_TIME
from emdarks.products.provenance import iso_date
from emdarks.products.synthesis import beyond_stacks
from emdarks.stacks.compatibility import SAME_K_GAIN, differing_settings, untold_settings
from emdarks.stacks.counts import SAME_THRESHOLD
from emdarks.stacks.group import TIME_TOLERANCE

Array = npt.NDArray[Any]

#: Days within which the nearest product in time is taken, where none is certified for the time: of
#: noise maps, darks and bad pixels, and of calibrations that are taken once in years.
DAYS, DAYS_OF_OTHERS = 30.0, 1000.0
#: Relative difference of gains of headers, and of predicted errors, that is none.
_SAME = 1e-9
#: What answers a request.
_ANSWERS = {
    Kind.DARK: (Kind.DARK, Kind.NOISE_MAPS),
    Kind.COUNTED_DARK: (Kind.COUNTED_DARK, Kind.NOISE_MAPS),
}
#: Kinds that must have been read as the frame was.
_OF_FRAMES = frozenset({Kind.NOISE_MAPS, Kind.DARK, Kind.COUNTED_DARK})


class Rule(NamedTuple):
    """A rule that looks at one product.

    Attributes
    ----------
    name : str
        In one word, for programs.
    entry, request : tuple of str
        What it looks at: attributes of `Entry` and of `Request`.
    why_not : callable
        From a request and an entry to the reason why the product is not for the frame; empty
        where it may be.
    """

    name: str
    entry: tuple[str, ...]
    request: tuple[str, ...]
    why_not: Callable[[Request, Entry], str]


def _kind(request: Request, entry: Entry) -> str:
    fits = entry.kind in _ANSWERS.get(request.kind, (request.kind,))
    return "" if fits else entry.kind.words


def _rejected(request: Request, entry: Entry) -> str:
    return f"rejected: {entry.rejected}" if entry.rejected else ""


def _camera(request: Request, entry: Entry) -> str:
    return "" if entry.camera == request.camera else f"of camera {entry.camera}"


def _settings(request: Request, entry: Entry) -> str:
    known = entry.settings or ""
    if entry.settings is not None and differing_settings(known, request.settings) is not None:
        return f"read with {known or 'no settings'}"
    untold = untold_settings(known, request.settings)
    if not untold or entry.kind not in _OF_FRAMES:
        return ""
    return f"does not say {', '.join(untold)}"


def _level(request: Request, entry: Entry) -> str:
    told = entry.level and request.level and request.kind in _OF_FRAMES and not request.offset_only
    same = not told or is_raw(entry.level) == is_raw(request.level)
    return "" if same else f"made of frames of level {entry.level}"


def _bias(request: Request, entry: Entry) -> str:
    told = entry.bias and request.bias and not request.offset_only
    same = not told or entry.bias == request.bias
    return "" if same else f"bias subtracted: {entry.bias}"


def _shape(request: Request, entry: Entry) -> str:
    free = request.offset_only or not entry.rows
    fits = free or (entry.rows, entry.columns) in request.shapes
    return "" if fits else f"{entry.rows} x {entry.columns} pixels"


def _k_gain(request: Request, entry: Entry) -> str:
    used = entry.k_gains_used
    if not (used and request.in_dn) or request.offset_only:
        return ""
    same = any(math.isclose(value, request.k_gain, rel_tol=SAME_K_GAIN) for value in used)
    return "" if same else f"made with k-gain {' and '.join(f'{value:g}' for value in used)}"


def _gain_and_time(request: Request, entry: Entry) -> str:
    if entry.kind is Kind.NOISE_MAPS:
        return "" if request.offset_only else _of_two_maps(request, entry)
    if request.kind not in (Kind.DARK, Kind.COUNTED_DARK):
        return ""
    pairs = (
        ("EM gain", entry.gain, request.commanded_gain, _SAME),
        ("exposure time", entry.exposure_time, request.exposure_time, TIME_TOLERANCE),
        ("k-gain", entry.k_gain, request.k_gain, _SAME),
    )
    differing = (
        f"{words} {own:g}" if own == own else f"no {words}"
        for words, own, asked, tolerance in pairs
        if not math.isclose(own, asked, rel_tol=tolerance)
        and not (words == "k-gain" and entry.k_gains_used == (request.k_gain,))
    )
    return ", ".join(differing)


def _of_two_maps(request: Request, entry: Entry) -> str:
    """Two maps make darks of one gain, or of one time."""
    own = entry.gain, entry.exposure_time
    if entry.model == "one-gain" and abs(request.gain - own[0]) > SAME_GAIN * own[0]:
        return f"maps of EM gain {own[0]:g} alone"
    if entry.model == "one-time" and abs(request.exposure_time - own[1]) > SAME_TIME * own[1]:
        return f"maps of {own[1]:g} s alone"
    return ""


def _offset(request: Request, entry: Entry) -> str:
    """A dark of raw frames goes with the offset that its own frames have."""
    same = request.offset_of in ("", entry.path)
    return "" if same else f"not {request.offset_of}, whose bias offset the dark has"


def default_days(kind: Kind) -> float:
    """Days within which the nearest product of a kind is taken."""
    return DAYS if kind in _OF_FRAMES or kind is Kind.BAD_PIXEL_MAP else DAYS_OF_OTHERS


#: In the order in which they are applied.
RULES = (
    Rule("kind", ("kind",), ("kind",), _kind),
    Rule("rejected", ("rejected",), (), _rejected),
    Rule("camera", ("camera",), ("camera",), _camera),
    Rule("settings", ("settings", "kind"), ("settings",), _settings),
    Rule("level", ("level",), ("kind", "level", "offset_only"), _level),
    Rule("bias", ("bias",), ("bias", "offset_only"), _bias),
    Rule("shape", ("rows", "columns"), ("shapes", "offset_only"), _shape),
    Rule("k-gain", ("k_gains_used",), ("k_gain", "in_dn", "offset_only"), _k_gain),
    Rule(
        "gain and time",
        ("kind", "model", "gain", "exposure_time", "k_gain", "k_gains_used"),
        ("kind", "gain", "commanded_gain", "exposure_time", "k_gain", "offset_only"),
        _gain_and_time,
    ),
    Rule("offset", ("path",), ("offset_of",), _offset),
)


class Step(NamedTuple):
    """What a rule did.

    Attributes
    ----------
    rule : str
        Its name.
    words : str
        In words: what was left out and why, or by what was chosen.
    left : int
        Products that remain after it.
    out : tuple of int
        Numbers of the products that it left out.
    """

    rule: str
    words: str
    left: int
    out: tuple[int, ...]


class Match:
    """The product for a frame, and why.

    Attributes
    ----------
    request : Request
        What the frame asks for.
    entry : Entry or None
        The product; None where there is none.
    steps : list of Step
        Rule by rule, why it and not the others.
    """

    def __init__(self, catalogue: Catalogue, request: Request, verdict: _Verdict):
        self._catalogue, self.request, self._verdict = catalogue, request, verdict
        chosen = verdict.chosen
        self.entry = None if chosen is None else catalogue.entries[chosen]

    @cached_property
    def steps(self) -> list[Step]:
        """Rule by rule, why this product and not the others."""
        steps, left = [], len(self._catalogue.entries)
        for at, rule in enumerate(_ORDER):
            out = np.flatnonzero(self._verdict.out == at)
            left -= out.size
            words = self._words(at, out)
            if words:
                numbers = tuple(self._catalogue.numbers[out].tolist())
                steps.append(Step(rule, words, left, numbers))
        return steps

    def _words(self, at: int, out: Array) -> str:
        name = _ORDER[at]
        if at < len(RULES):
            return self._catalogue.words(name, self.request, out) if out.size else ""
        return self._verdict.words.get(name, "") if name == _TIME or out.size else ""

    @property
    def predicted_error(self) -> float:
        """Error of the dark of a typical pixel, electrons; NaN where it is not known."""
        asked = self.request
        if self.entry is None or not asked.of_dark:
            return math.nan
        return self.entry.predicted_error(asked.gain, asked.exposure_time)

    @property
    def beyond(self) -> str:
        """What the frame asks for that no stack of the chosen maps comes near to; or empty."""
        entry, asked = self.entry, self.request
        if entry is None or not asked.of_dark or entry.kind is not Kind.NOISE_MAPS:
            return ""
        return beyond_stacks(
            asked.gain,
            asked.exposure_time,
            entry.lowest_gain,
            entry.highest_gain,
            entry.longest_time,
        )

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        entry = self.entry
        return {
            "frame": self.request.name,
            "product": None if entry is None else entry.id,
            "file": None if entry is None else entry.path,
            "predicted_error_e": self.predicted_error,
            "beyond": self.beyond,
            "rules": [step._asdict() for step in self.steps],
            "missing": self.missing,
        }

    @property
    def reason(self) -> str:
        """Why this product, in one line."""
        told = (step.words for step in self.steps if step.rule in (_TIME, _ERROR, _NEWEST))
        return "; ".join(told)

    @property
    def missing(self) -> str:
        """What is missing where there is no product, and which command would make it."""
        return "" if self.entry is not None else _missing(self)


_TEMPERATURE, _THRESHOLD = "temperature", "threshold"
_TIME, _ERROR, _NEWEST = "time", "predicted error", "newest"
#: Rules that compare numbers of all products at once.
_COMPARED = (_TEMPERATURE, _THRESHOLD, _TIME, _ERROR, _NEWEST)
_ORDER = (*(rule.name for rule in RULES), *_COMPARED)


class _Verdict(NamedTuple):
    """Index of the rule that leaves each product out (-1: none did); words; the one chosen."""

    out: Array
    words: dict[str, str]
    chosen: int | None


class Catalogue:
    """The products of a library, laid out for choosing.

    Parameters
    ----------
    entries : sequence of Entry
        All of them.
    """

    def __init__(self, entries: Sequence[Entry]):
        self.entries = list(entries)
        self.numbers = np.array([entry.id for entry in self.entries], dtype=np.int64)
        self._groups = {rule.name: _Groups(self.entries, rule) for rule in RULES}
        self._conditions = _Conditions(self.entries)
        self._times = _Times(self.entries)
        self._errors = _Errors(self.entries)
        newest = sorted(range(len(self.entries)), key=lambda i: _age(self.entries[i]))
        self._rank = np.empty(len(self.entries), dtype=np.int64)
        self._rank[newest] = np.arange(len(newest))
        self._left: dict[tuple[Any, ...], Array] = {}

    def find(self, request: Request, days: float | None = None) -> Match:
        """Choose the product for a frame.

        Parameters
        ----------
        request : Request
            What the frame asks for.
        days : float, optional
            How far from the frame a product that is not certified may be, in days; by default
            `default_days` of the kind.
        """
        most = default_days(request.kind) if days is None else days
        out = self._by_rules(request).copy()
        words: dict[str, str] = {}
        for name in _COMPARED:
            left = np.flatnonzero(out < 0)
            kept, words[name] = self._compare(name, request, left, most)
            out[np.setdiff1d(left, kept, assume_unique=True)] = _ORDER.index(name)
        chosen = np.flatnonzero(out < 0)
        return Match(self, request, _Verdict(out, words, int(chosen[0]) if chosen.size else None))

    def words(self, rule: str, request: Request, out: Array) -> str:
        """Why a rule leaves products out, the most frequent reason first."""
        return "; ".join(f"{n} {why}" for why, n in self._groups[rule].reasons(request, out))

    def _by_rules(self, request: Request) -> Array:
        """Which rule leaves each product out; frames that ask for the same share it."""
        key = tuple(getattr(request, name) for rule in RULES for name in rule.request)
        if key not in self._left:
            out = np.full(len(self.entries), -1, dtype=np.int8)
            for at, rule in enumerate(RULES):
                bad = self._groups[rule.name].left_out(request, out < 0)
                out[(out < 0) & bad] = at
            self._left[key] = out
        return self._left[key]

    def _compare(self, name: str, request: Request, left: Array, days: float) -> tuple[Array, str]:
        if not left.size:
            return left, ""
        if name == _TEMPERATURE:
            return self._conditions.as_cold(request, left)
        if name == _THRESHOLD:
            return self._conditions.counted_alike(request, left)
        if name == _TIME:
            return self._times.nearest(request.time, left, days)
        if name == _ERROR:
            return self._errors.smallest(request, left)
        best = left[[int(np.argmax(self._rank[left]))]]
        return best, f"the newest is {_numbered(self.entries[best[0]])}"


def _age(entry: Entry) -> tuple[float, str, int]:
    """By what products are sorted, the newest last."""
    return (-math.inf if math.isnan(entry.end) else entry.end), entry.made, entry.id


class _Groups:
    """Products that agree in what a rule looks at."""

    def __init__(self, entries: Sequence[Entry], rule: Rule):
        self._rule = rule
        key = attrgetter(*rule.entry)
        numbers: dict[Any, int] = {}
        # What is not known is one NaN in all entries of an index, and equal to itself here.
        codes = [numbers.setdefault(key(entry), len(numbers)) for entry in entries]
        self._codes = np.array(codes, dtype=np.int64)
        firsts = np.unique(self._codes, return_index=True)[1]
        self._of = [entries[i] for i in firsts]

    def left_out(self, request: Request, wanted: Array) -> Array:
        """Which products the rule leaves out, of those that are wanted."""
        bad = np.zeros(len(self._of), dtype=bool)
        for code in np.flatnonzero(np.bincount(self._codes[wanted])):
            bad[code] = bool(self._rule.why_not(request, self._of[code]))
        return np.asarray(bad[self._codes]) if self._of else np.zeros(0, dtype=bool)

    def reasons(self, request: Request, out: Array) -> list[tuple[str, int]]:
        """Why products are left out, with how many it is about."""
        found: Counter[str] = Counter()
        numbers = np.bincount(self._codes[out])
        for code in np.flatnonzero(numbers):
            found[self._rule.why_not(request, self._of[code])] += int(numbers[code])
        return found.most_common()


class _Conditions:
    """Temperature and threshold of all products."""

    def __init__(self, entries: Sequence[Entry]):
        self._of_frames = np.array([entry.kind in _OF_FRAMES for entry in entries], dtype=bool)
        self._of_maps = np.array([e.kind is Kind.NOISE_MAPS for e in entries], dtype=bool)
        self._temperature, self._threshold = (
            np.array([getattr(entry, name) for entry in entries], dtype=np.float64)
            for name in (_TEMPERATURE, _THRESHOLD)
        )

    def as_cold(self, request: Request, left: Array) -> tuple[Array, str]:
        """Darks and maps that are not known to be of another temperature; not for their offset."""
        if request.offset_only:
            return left, ""
        own = self._temperature[left]
        far = (np.abs(own - request.temperature) > TEMPERATURE_SPREAD) & self._of_frames[left]
        words = ""
        if far.any():
            span = " to ".join(sorted({f"{end:.1f}" for end in (own[far].min(), own[far].max())}))
            words = f"{far.sum()} taken at {span} degrees, the frame at {request.temperature:.1f}"
        return left[~far], words

    def counted_alike(self, request: Request, left: Array) -> tuple[Array, str]:
        """Photon-counted darks of the frame's threshold; maps make them of any that is known."""
        if request.kind is not Kind.COUNTED_DARK:
            return left, ""
        own, asked = self._threshold[left], request.threshold
        maps = self._of_maps[left]
        told = " and ".join(f"{value:g}" for value in np.unique(own[~maps]))
        if not math.isnan(asked):
            fits = maps | (np.abs(own - asked) <= SAME_THRESHOLD * asked)
            words = f"counted above {told} EM electrons, the frame above {asked:g}"
            return left[fits], words
        if np.unique(own).size == 1 and not maps.any():
            return left, ""
        left_out = f"counted above {told} EM electrons: " if told else "threshold not known: "
        return left[:0], f"{left_out}say which (emdarks library find --threshold)"


class _Times:
    """Validity and observation time of all products."""

    def __init__(self, entries: Sequence[Entry]):
        self._entries = entries
        self._certified = np.array([entry.certified for entry in entries], dtype=bool)
        self._begin, self._end, self._from, self._to = (
            np.array([getattr(entry, name) for entry in entries], dtype=np.float64)
            for name in ("begin", "end", "valid_from", "valid_to")
        )

    def nearest(self, time: float, left: Array, days: float) -> tuple[Array, str]:
        """Those that are certified for a time; else the nearest in time, in whole days."""
        covering = left[self._covers(time, left)]
        if covering.size:
            return covering, f"{covering.size} certified for {_moment(time)}"
        free = left[~self._certified[left]]
        away = np.floor(self._distance(time, free) + 0.5)
        away[np.isnan(away)] = np.inf
        kept = free[(away == away.min(initial=np.inf)) & (away <= days)]
        return kept, self._words(time, left, kept, away, days)

    def _covers(self, time: float, which: Array) -> Array:
        first, last = self._from[which], self._to[which]
        if math.isnan(time):
            return self._certified[which] & np.isnan(first) & np.isnan(last)
        early, late = time < first, time > last  # False where a side is open
        return np.asarray(self._certified[which] & ~early & ~late)

    def _distance(self, time: float, which: Array) -> Array:
        """Days between a time and the observations of products; 0 within them."""
        before, after = self._begin[which] - time, time - self._end[which]
        return np.maximum(np.maximum(before, after), 0.0)

    def _words(self, time: float, left: Array, kept: Array, away: Array, days: float) -> str:
        if math.isnan(time):
            return (
                "the frame does not say when it was taken, and no product is certified for any time"
            )
        certified = int(self._certified[left].sum())
        others = f"; {certified} certified for other times" if certified else ""
        none = f"none is certified for {_moment(time)}"
        if kept.size:
            near = f"the nearest in time, {away.min():g} days off"
            return f"{none}: {kept.size} of {left.size} {near}{others}"
        if not away.size:
            return f"{none}{others}"
        known = away[np.isfinite(away)]
        nearest = f"the nearest is {known.min():g} days off" if known.size else "none says its time"
        return f"{none}, and none was taken within {days:g} days ({nearest}{others})"


class _Errors:
    """Covariances of all products."""

    def __init__(self, entries: Sequence[Entry]):
        self._entries = entries
        names = ("ff", "cc", "dd", "fc", "fd", "cd")
        self._medians = np.array(
            [
                [math.nan if e.covariance is None else getattr(e.covariance, n) for n in names]
                for e in entries
            ],
            dtype=np.float64,
        ).reshape(-1, len(names))

    def smallest(self, request: Request, left: Array) -> tuple[Array, str]:
        """Those whose dark has the smallest predicted error at the gain and time of the frame."""
        if not request.of_dark:
            return left, ""
        errors = self._predicted(request, left)
        best = errors.min()
        kept = left[errors <= best * (1 + _SAME)] if best < math.inf else left
        first = self._entries[kept[0]]
        words = f"{_numbered(first)} predicts the smallest error of the dark, {best:.4g} e-"
        others = errors[errors > best * (1 + _SAME)]
        next_best = f" (the next {others.min():.4g} e-)" if others.size else ""
        return kept, words + next_best

    def _predicted(self, request: Request, which: Array) -> Array:
        g, t = request.gain, request.exposure_time
        weights = np.array([1 / g**2, 1.0, t * t, 2 / g, 2 * t / g, 2 * t])
        variances = self._medians[which] @ weights
        variances[np.isnan(variances)] = np.inf
        return np.asarray(np.sqrt(np.maximum(variances, 0.0)))


def _numbered(entry: Entry) -> str:
    return f"{entry.id} ({entry.name})"


def _moment(time: float) -> str:
    return "any time" if math.isnan(time) else iso_date(time) or f"MJD {time:g}"


def _missing(match: Match) -> str:
    asked = match.request
    told = [step.words for step in match.steps if step.rule != "kind" and step.words]
    why = f" (of those that it has: {'; '.join(told)})" if told else ""
    what = asked.kind.words
    if asked.kind in (Kind.DARK, Kind.COUNTED_DARK):
        what += ", and no noise maps"
    return (
        f"{asked.name}: the library has no {what} for it: camera {asked.camera}, {asked.setting}"
        f"{f', {_moment(asked.time)}' if asked.time == asked.time else ''}{why}; {_advice(asked)}"
    )


_ADD = "emdarks library add DIR FILE --camera"


def _at(threshold: float) -> str:
    """The option that names a threshold, where it is known."""
    return "" if math.isnan(threshold) else f" --threshold {threshold:g}"


def _advice(asked: Request) -> str:
    """The command that would make what is missing."""
    if asked.kind is Kind.DARK:
        return (
            "make maps of darks of these settings (emdarks noisemaps DARKS --add DIR) or a dark "
            f"(emdarks dark DARKS --gain {asked.commanded_gain:g} --exptime "
            f"{asked.exposure_time:g} --add DIR), or certify one for this time "
            "(emdarks library certify DIR ID)"
        )
    if asked.offset_of:
        return "add these maps, or give their bias offset (--offset MAPS)"
    made = {
        Kind.NOISE_MAPS: "emdarks noisemaps DARKS --add DIR",
        Kind.BAD_PIXEL_MAP: "emdarks badpixels MAPS --add DIR",
        Kind.COUNTED_DARK: f"emdarks dark DARKS --gain {asked.commanded_gain:g} --exptime "
        f"{asked.exposure_time:g} --photon-counting{_at(asked.threshold)} --add DIR; or maps, for "
        "any threshold: emdarks noisemaps DARKS --add DIR",
    }.get(asked.kind)
    return f"make one: {made}" if made else f"add its file: {_ADD} {asked.camera}"
