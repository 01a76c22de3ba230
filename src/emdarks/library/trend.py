"""How the numbers of a library's products change over time, camera by camera, mode by mode."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from emdarks.checks.finding import Finding, Severity
from emdarks.checks.formatting import number, several, value_in
from emdarks.fit.changes import FALSE_ALARMS, Change, Shape, find_change, threshold, ways
from emdarks.library.entry import Entry, Kind
from emdarks.library.folder import Library
from emdarks.products.provenance import iso_date

#: Names of numbers in words, in the order in which they are shown; others come behind.
_WORDS = {
    "mean_f": "image mean of F",
    "mean_l": "image mean of L",
    "mean_c": "image mean of C",
    "mean_c_t_d": "image mean of C + t D",
    "mean_d": "image mean of D",
    "mean": "image mean",
    "prescan_counts": "counts in the prescan",
    "false_counts": "false counts of read noise",
    "read_noise": "read noise",
    "read_noise_used": "read noise used",
    "k_gain": "k-gain",
    "hot_pixels": "hot pixels",
    "bad_pixels": "bad pixels",
    "bias_offset": "bias offset",
    "chi_square": "chi-square",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A number of one product.

    Attributes
    ----------
    entry : Entry
        The product.
    value, error : float
        The number and its standard error; NaN where that is not known.
    """

    entry: Entry
    value: float
    error: float

    @property
    def time(self) -> float:
        """Middle of the observations, MJD."""
        return (self.entry.begin + self.entry.end) / 2

    @property
    def night(self) -> str:
        """Date at which the observations began, UTC."""
        return iso_date(self.entry.begin).partition("T")[0]

    @property
    def judged(self) -> bool:
        """Whether the point takes part in the search for changes."""
        return math.isfinite(self.value) and 0 < self.error < math.inf


@dataclass(frozen=True, slots=True)
class Series:
    """A number of comparable products over time.

    Attributes
    ----------
    name, unit : str
        The number, as in ``Entry.numbers``, and its unit.
    points : tuple of Point
        In order of time.
    change : Change or None
        The change that explains the series best; None where fewer than two points have errors.
        Its nights are those of ``judged``.
    limit : float
        Standard errors from which on it is no chance.
    """

    name: str
    unit: str
    points: tuple[Point, ...]
    change: Change | None = None
    limit: float = math.inf

    @property
    def title(self) -> str:
        """The number in words."""
        gain = self.name.removeprefix("gain_")
        return _WORDS.get(self.name, f"EM gain, commanded {gain}" if gain != self.name else gain)

    @property
    def judged(self) -> list[Point]:
        """Points that have errors."""
        return [point for point in self.points if point.judged]

    @property
    def alarm(self) -> bool:
        """Whether the number has changed."""
        return self.change is not None and abs(self.change.sigmas) > self.limit

    @property
    def scattered(self) -> bool:
        """Whether the nights scatter by more than their errors, beyond chance."""
        return self.change is not None and self.change.excess > self.limit

    def nights(self) -> tuple[str, str, str]:
        """Night of the change, and the first and the last night at which it may as well be."""
        assert self.change is not None
        found = self.judged
        at, first, last = (
            found[index].night for index in (self.change.at, self.change.first, self.change.last)
        )
        return at, first, last

    @property
    def verdict(self) -> str:
        """In a few words, whether and how the number has changed."""
        if self.change is None:
            return "not judged: no two nights with an error"
        if not self.alarm:
            return "no change"
        at, first, last = self.nights()
        if self.change.shape is Shape.DRIFT:
            return "drift"
        between = f" ({first} to {last})" if first != last else ""
        since = "since" if self.change.shape is Shape.STEP else "only on"
        return f"{self.change.shape} {since} {at}{between}"

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        change = self.change
        points = [
            {"product": p.entry.id, "file": p.entry.path, "night": p.night, "mjd": p.time,
             "value": p.value, "error": p.error}
            for p in self.points
        ]  # fmt: skip
        found: dict[str, Any] = {"number": self.name, "unit": self.unit, "points": points}
        found |= {"changed": self.alarm, "verdict": self.verdict, "limit": self.limit}
        if change is not None:
            names = ("size", "error", "sigmas", "scatter", "before", "after")
            found |= {name: getattr(change, name) for name in names}
            found |= {"shape": change.shape.value, "scattered": self.scattered}
            if change.shape is not Shape.DRIFT:
                found |= dict(zip(("night", "first", "last"), self.nights(), strict=True))
        return found


@dataclass(frozen=True, slots=True)
class Group:
    """Products whose numbers may be compared: one kind of one camera in one mode.

    Attributes
    ----------
    entry : Entry
        The first of them; the others have the same camera, settings, level, bias and shape.
    entries : tuple of Entry
        All whose numbers are shown, in order of time.
    series : tuple of Series
        One a number.
    """

    entry: Entry
    entries: tuple[Entry, ...]
    series: tuple[Series, ...]

    @property
    def title(self) -> str:
        """Camera and kind."""
        return f"{self.entry.camera}: {self.entry.kind.words}{self._of_what()}"

    def _of_what(self) -> str:
        own = self.entry
        known = [
            f"gain {own.gain:g}" if own.gain == own.gain else "",
            f"{own.exposure_time:g} s" if own.exposure_time == own.exposure_time else "",
            f"above {own.threshold:g} EM e⁻" if own.threshold == own.threshold else "",
        ]
        return "".join(f", {word}" for word in known if word)

    @property
    def mode(self) -> str:
        """Everything else by which the group is told from others."""
        own = self.entry
        known = (
            own.settings or "",
            f"level {own.level}" if own.level else "",
            f"bias subtracted: {own.bias}" if own.bias else "",
            f"{own.rows} x {own.columns} pixels" if own.rows else "",
        )
        return "; ".join(word for word in known if word)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        own = self.entry
        return {
            "camera": own.camera,
            "kind": own.kind.value,
            "settings": own.settings,
            "mode": self.mode,
            "gain": own.gain,
            "exposure_time": own.exposure_time,
            "threshold": own.threshold,
            "products": [entry.id for entry in self.entries],
            "numbers": [series.as_dict() for series in self.series],
        }


@dataclass(frozen=True, slots=True)
class Trend:
    """The numbers of a library over time.

    Attributes
    ----------
    groups : tuple of Group
        Never mixed with each other.
    limit : float
        Standard errors from which on a change is no chance, of all groups and numbers together.
    tested : int
        Ways in which an alarm could have been raised, from which the limit follows.
    left_out : dict of str to int
        Products that are not shown, by the reason.
    """

    groups: tuple[Group, ...]
    limit: float
    tested: int
    left_out: dict[str, int]

    @property
    def series(self) -> list[Series]:
        """All series."""
        return [series for group in self.groups for series in group.series]

    @property
    def alarms(self) -> int:
        """Numbers that have changed."""
        return sum(series.alarm for series in self.series)

    @property
    def answer(self) -> tuple[Severity, str]:
        """Whether anything has changed: how bad that is, and in words."""
        if self.alarms:
            return "warning", f"Yes: {several(self.alarms, 'number')} changed."
        if not any(series.change for series in self.series):
            return "note", "Nobody can tell: no number is known of two nights with its error."
        return "fine", "No: nothing changed by more than the errors allow."

    @property
    def findings(self) -> list[Finding]:
        """What has changed, in words."""
        return [
            finding
            for group in self.groups
            for series in group.series
            for finding in _findings(group, series)
        ]

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "changed": self.alarms,
            "limit": self.limit,
            "tested": self.tested,
            "false_alarms": FALSE_ALARMS,
            "left_out": self.left_out,
            "groups": [group.as_dict() for group in self.groups],
        }


def find_trends(library: Library, kind: Kind | None = None, camera: str | None = None) -> Trend:
    """Follow the numbers of a library's products over time, and say what has changed.

    Parameters
    ----------
    library : Library
        The library.
    kind : Kind, optional
        Only products of this kind.
    camera : str, optional
        Only products of this camera.

    Returns
    -------
    Trend
        Where nothing has changed and errors are right, any alarm is raised in at most 1 of 100
        libraries.
    """
    usable, left_out = _usable(library.list(kind, camera))
    groups = []
    for entries in _alike(usable):
        apart = _apart(entries)
        if len(apart) < len(entries):
            why = "the observations overlap with those of another"
            left_out[why] = left_out.get(why, 0) + len(entries) - len(apart)
        groups.append((apart, list(_series(apart))))
    tested = sum(ways(len(each.judged)) for _, series in groups for each in series)
    limit = threshold(tested)
    made = tuple(
        Group(apart[0], tuple(apart), tuple(_judged(each, limit) for each in series))
        for apart, series in groups
    )
    return Trend(made, limit, tested, left_out)


def _usable(entries: Iterable[Entry]) -> tuple[list[Entry], dict[str, int]]:
    """Products that have a time and numbers; of the others, how many and why."""
    usable, left_out = [], dict[str, int]()
    for entry in entries:
        why = _why_not(entry)
        if why:
            left_out[why] = left_out.get(why, 0) + 1
        else:
            usable.append(entry)
    return usable, left_out


def _why_not(entry: Entry) -> str:
    if entry.rejected:
        return "rejected"
    if not entry.numbers:
        return f"no number to follow ({entry.kind.words})"
    return "" if iso_date(entry.begin) and iso_date(entry.end) else "no observation time"


def _alike(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Products that may be compared; settings that nothing says are settings of their own."""
    groups: dict[Any, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_key(entry), []).append(entry)
    return [groups[key] for key in sorted(groups)]


def _key(entry: Entry) -> tuple[Any, ...]:
    words = entry.camera, entry.settings or "", list(Kind).index(entry.kind), entry.level
    numbers = (
        -1.0 if value != value else value
        for value in (entry.gain, entry.exposure_time, entry.threshold)
    )
    return (*words, entry.bias, entry.model, entry.rows, entry.columns, *numbers)


def _apart(entries: Sequence[Entry]) -> list[Entry]:
    """As many as possible whose observations do not overlap: they may share frames.

    Of products of the same observations, it is the one that was made last.
    """
    newest_first = sorted(entries, key=lambda entry: (entry.made, entry.id), reverse=True)
    found: list[Entry] = []
    for entry in sorted(newest_first, key=lambda entry: entry.end):
        if not found or entry.begin > found[-1].end:
            found.append(entry)
    return found


def _series(entries: Sequence[Entry]) -> Iterator[Series]:
    known = dict.fromkeys(name for entry in entries for name in entry.numbers)
    order = [*(name for name in _WORDS if name in known), *(n for n in known if n not in _WORDS)]
    for name in order:
        having = [entry for entry in entries if name in entry.numbers]
        points = (Point(each, *each.numbers[name][:2]) for each in having)
        shown = tuple(point for point in points if math.isfinite(point.value))
        if shown:
            yield Series(name, having[0].numbers[name].unit, shown)


def _judged(series: Series, limit: float) -> Series:
    points = series.judged
    if len(points) < 2:
        return series
    columns = ([getattr(p, name) for p in points] for name in ("time", "value", "error"))
    return Series(series.name, series.unit, series.points, find_change(*columns), limit)


# In words


def _findings(group: Group, series: Series) -> Iterator[Finding]:
    change = series.change
    if change is None:
        return
    where = f"{group.title}{f' ({group.mode})' if group.mode else ''}"
    if series.alarm:
        yield Finding(
            "warning",
            change.shape.value,
            f"{where}: the {series.title} {_how(series, change)}, from "
            f"{_with_unit(change.before, series, 4)} to {number(change.after, 4)} "
            f"({number(abs(change.sigmas), 2)} standard errors).",
            remedy=_REMEDIES[change.shape],
        )
    if series.scattered:
        yield Finding(
            "note",
            "scatter",
            f"{where}: the {series.title} scatters from night to night by "
            f"{number(change.scatter, 2)} times its errors; changes are judged by the scatter.",
        )


def _how(series: Series, change: Change) -> str:
    verb = "rose" if change.size > 0 else "fell"
    size = _with_unit(abs(change.size), series, 2)
    if change.shape is Shape.DRIFT:
        points = series.judged
        return f"{verb} steadily by {size} from {points[0].night} to {points[-1].night}"
    at, first, last = series.nights()
    doubt = f" (or another night from {first} to {last})" if first != last else ""
    if change.shape is Shape.ODD:
        return f"was {size} too {_FAR[change.size > 0]} in the night of {at}{doubt}"
    stayed = ", and stayed so" if change.at < len(series.judged) - 1 else ", the last one"
    return f"{verb} by {size} with the night of {at}{doubt}{stayed}"


def _with_unit(value: float, series: Series, digits: int) -> str:
    return value_in(value, series.unit, digits) if series.unit else number(value, digits)


_FAR = {True: "high", False: "low"}
_REMEDIES = {
    Shape.STEP: "Use products from before that night for frames taken before it, later ones for "
    "frames taken after it (`emdarks library certify`); find out what happened.",
    Shape.ODD: "Look at the report of that night's product; reject it if something was wrong "
    "(`emdarks library certify DIR ID --reject WHY`).",
    Shape.DRIFT: "Use the product that is nearest in time; make new ones often enough.",
}
