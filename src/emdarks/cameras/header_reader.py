"""From the headers of one frame to what a camera makes of them.

Each quantity has one method, which says where its value came from; `read_record` puts
the values together, `explain` the words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cached_property, partial
from typing import Any, NamedTuple

from emdarks.cameras.camera import Camera
from emdarks.cameras.contradictions import refuse_contradictions
from emdarks.cameras.frame_metadata import FrameRecord, Unit
from emdarks.cameras.schema import CONVENTIONAL, Mode, Rule
from emdarks.cameras.units import Value, text_of
from emdarks.errors import EmdarksError, InputError, MissingKeywordError

__all__ = [
    "Explained",
    "Headers",
    "explain",
    "read_record",
    "read_settings",
    "read_temperature",
    "why_no_dark",
]

Headers = tuple[Mapping[str, Any], ...]

#: How the products and frames that emdarks writes spell units, whatever the camera's headers do.
OWN_UNITS = {
    "detected em electron": Unit.EM_ELECTRON,
    "detected electron": Unit.ELECTRON,
    "photoelectron": Unit.ELECTRON,
}
_DAY = 86400.0
#: Temperatures of detectors, degrees Celsius. Other numbers are marks such as -999, a signed
#: number read as an unsigned one, or kelvin.
_COLDEST, _WARMEST = -200.0, 60.0
_PLAIN = Value()
#: Values by which headers say that a setting is not known, whatever the camera file names.
_NOTHING = frozenset({"", "-", "?", "-999", "unknown", "undefined", "n/a", "null", "nan"})


class Explained(NamedTuple):
    """One line of what is understood of a header.

    Attributes
    ----------
    quantity : str
        Such as "exposure time".
    value : str
        As understood, with its unit; empty where it is not.
    source : str
        The card or the table that it comes from, or what is wrong.
    fine : bool
        Whether it was understood.
    """

    quantity: str
    value: str
    source: str
    fine: bool = True


class _Found(NamedTuple):
    """A number and where it comes from: a card, or a place in words."""

    value: float
    place: str
    raw: Any = None

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        return self.place if self.raw is None else _card(self.place, self.raw)


def read_record(
    camera: Camera,
    name: str,
    shape: tuple[int, int],
    headers: Headers,
    *,
    plane: int | None = None,
    k_gain: float | None = None,
) -> FrameRecord:
    """Turn the headers of a frame into a record.

    Parameters
    ----------
    camera : Camera
        Tells what they mean.
    name : str
        The frame, for messages.
    shape : tuple of int
        Rows and columns.
    headers : tuple of mappings
        Searched in this order: image header, primary header.
    plane : int, optional
        Which frame of a cube.
    k_gain : float, optional
        Electrons per DN where nothing else tells.

    Returns
    -------
    FrameRecord

    Raises
    ------
    MissingKeywordError
        A keyword that is needed is absent.
    InputError
        One has a value that cannot be used, or the sensitivity is not known.
    """
    return _Reading(camera, name, headers).record(shape, plane, k_gain)


def explain(camera: Camera, name: str, headers: Headers) -> list[Explained]:
    """What is understood of the headers of a frame, quantity by quantity.

    Parameters
    ----------
    camera, name, headers
        As for `read_record`.

    Returns
    -------
    list of Explained
        With what is wrong in the place of what cannot be understood.
    """
    return _Reading(camera, name, headers).explain()


def read_settings(camera: Camera, name: str, headers: Headers) -> dict[str, Any]:
    """Readout settings of a frame by name, ``conventional`` and ``mirrored`` among them.

    Parameters
    ----------
    camera, name, headers
        As for `read_record`.

    Returns
    -------
    dict
        None where the header does not tell.

    Raises
    ------
    InputError, MissingKeywordError
        A card has a value that the camera does not know, or one is missing.
    """
    return _Reading(camera, name, headers).settings


def read_temperature(camera: Camera, headers: Headers) -> float:
    """Detector temperature that headers tell, degrees Celsius; NaN where unknown."""
    return _Reading(camera, "a header", headers).temperature().value


def why_no_dark(camera: Camera, headers: Headers) -> str:
    """The card that says that a frame is no dark; empty where it is one, or none does."""
    try:
        return _Reading(camera, "", headers).not_dark()
    except InputError:
        return ""  # refused with its name when it is used


class _Reading:
    """The headers of one frame, read by one camera.

    Parameters
    ----------
    camera : Camera
        Tells what they mean.
    name : str
        The frame, for messages.
    headers : tuple of mappings
        Searched in this order: image header, primary header.
    """

    def __init__(self, camera: Camera, name: str, headers: Headers):
        self._camera = camera
        self._name = name
        self._headers = headers

    @property
    def _undecisive(self) -> tuple[str, ...]:
        """Keywords that decide no number: a file and its images may have starts of their own."""
        keywords = self._camera.keywords
        return (*keywords.start, *keywords.cycle_time, *keywords.camera)

    def find(self, keyword: str) -> Any:
        """Value of a card, or None where it is missing or empty.

        Raises
        ------
        InputError
            The headers have several that contradict each other.
        """
        if keyword not in self._undecisive:
            refuse_contradictions(self._name, self._headers, keyword, self._meaning(keyword))
        for header in self._headers:
            if keyword in header:
                return header[keyword]
        return None

    def _meaning(self, keyword: str) -> Value:
        return self._camera.values.get(keyword, _PLAIN)

    # Numbers

    def _required(self, keywords: Sequence[str]) -> _Found:
        cards = [(key, raw) for key in keywords if (raw := self.find(key)) is not None]
        for key, raw in cards:
            meaning = self._meaning(key)
            if not meaning.is_unknown(raw):
                number = meaning.number(raw)
                if not math.isfinite(number):
                    raise InputError(
                        f"{self._name}: {key} is {raw!r}, which is not a finite number"
                    )
                return _Found(number, key, raw)
        if not cards:
            raise MissingKeywordError(
                f"{self._name}: the header has no {' or '.join(keywords)}; add it, name the right "
                f"keyword in the camera file{self._key_of(keywords)}, or choose the camera these "
                "frames come from"
            )
        key, raw = cards[0]
        raise InputError(f"{self._name}: {key} is {raw!r}, which stands for unknown; correct it")

    def _key_of(self, keywords: Sequence[str]) -> str:
        """Which key of the camera file names these keywords, in brackets."""
        names = (item.name for item in fields(self._camera.keywords))
        own = self._camera.keywords
        key = next((name for name in names if getattr(own, name) == tuple(keywords)), None)
        return f" (keywords.{key})" if key else ""

    def _optional(self, keywords: Sequence[str]) -> _Found:
        for key in keywords:
            raw = self.find(key)
            if raw is not None and not math.isnan(number := self._meaning(key).number(raw)):
                return _Found(number, key, raw)
        return _Found(math.nan, f"no {' or '.join(keywords)}" if keywords else "no keyword for it")

    def exposure_time(self) -> _Found:
        """Seconds."""
        return self._required(self._camera.keywords.exposure_time)

    def temperature(self) -> _Found:
        """Degrees Celsius, NaN where unknown or impossible."""
        keywords = [key for key in self._camera.keywords.temperature if not self._impossible(key)]
        return self._optional(keywords)

    def odd_temperature(self) -> str:
        """The card of a temperature that no detector has; empty where there is none."""
        keywords = self._camera.keywords.temperature
        odd = next((key for key in keywords if self._impossible(key)), "")
        return _card(odd, self.find(odd)) if odd else ""

    def _impossible(self, keyword: str) -> bool:
        number = self._meaning(keyword).number(self.find(keyword))
        return not (math.isnan(number) or _COLDEST <= number <= _WARMEST)

    def start(self, plane: int | None = None) -> float:
        """Start of the exposure, MJD; NaN where unknown."""
        begin = self._optional(self._camera.keywords.start).value
        cycle = self._optional(self._camera.keywords.cycle_time).value
        return begin + plane * cycle / _DAY if plane and math.isfinite(cycle) else begin

    # Rules

    def _decide(self, rule: Rule, subject: str) -> bool | None:
        raw = self.find(rule.keyword)
        if raw is None:
            return rule.absent
        answer = rule.answer(raw)
        if answer is None:
            known = ", ".join(repr(value) for value in (*rule.values, *rule.others))
            raise InputError(
                f"{self._name}: {rule.keyword} is {raw!r}, which tells camera "
                f"{self._camera.name} nothing about {subject} (it knows {known}); correct the "
                "card, or add the value to a camera file"
            )
        return answer

    @cached_property
    def conventional(self) -> bool:
        """Whether the frame bypassed the gain register."""
        rule = self._camera.conventional
        if rule is None:
            return False
        answer = self._decide(rule, "the amplifier")
        if answer is None:
            raise MissingKeywordError(
                f"{self._name}: the header has no {rule.keyword}, which says whether the gain "
                "register was used; add it, name the right keyword in the camera file "
                "(conventional.keyword), or choose the camera these frames come from"
            )
        return answer

    def not_dark(self) -> str:
        """Why the frame is no dark; empty where it is one, or nothing tells."""
        rule = self._camera.darks
        if rule is None or self._decide(rule, "what the frame shows") is not False:
            return ""
        return _card(rule.keyword, self.find(rule.keyword))

    # Gain

    def commanded_gain(self) -> _Found:
        """EM gain asked for; 1 in conventional readout, whatever the header has."""
        rule = self._camera.conventional
        if rule is not None and self.conventional:
            return _Found(1.0, rule.keyword, self.find(rule.keyword))
        return self._required(self._camera.keywords.commanded_gain)

    def em_gain(self, commanded: _Found) -> _Found:
        """EM gain to compute with: the best one known."""
        if not self.conventional:
            for key in self._camera.keywords.better_gains:
                found = self._optional((key,))
                if found.value > 0:
                    return found
        return commanded

    # Readout

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Readout settings by name; None where the header does not tell."""
        found: dict[str, Any] = {}
        for name, keywords in self._camera.settings.items():
            found[name] = self._first_known(keywords)
        if self._camera.conventional is not None:
            found[CONVENTIONAL] = self.conventional
        if self._camera.mirrored is not None:
            found["mirrored"] = self._decide(self._camera.mirrored, "the orientation")
        return found

    def _first_known(self, keywords: Sequence[str]) -> Any:
        return next((v for v in map(self._setting, keywords) if v is not None), None)

    def _setting(self, keyword: str) -> Any:
        raw, meaning = self.find(keyword), self._meaning(keyword)
        if raw is None:
            return meaning.absent
        if meaning.is_unknown(raw) or _says_nothing(raw):
            return None
        number = meaning.number(raw) if meaning.unit or meaning.decimal_comma else math.nan
        return raw if math.isnan(number) else number

    def setting(self) -> tuple[tuple[str, str], ...]:
        """The settings in words, for comparison."""
        rule = self._camera.conventional
        joins = rule is not None and rule.joins
        return tuple(
            (name, "-" if value is None else text_of(value))
            for name, value in self.settings.items()
            if not (joins and name == CONVENTIONAL)
        )

    @cached_property
    def mode(self) -> Mode | None:
        """The first mode that the settings select."""
        return next((mode for mode in self._camera.modes if mode.matches(self.settings)), None)

    def k_gain(self) -> _Found:
        """Electrons per DN, from the first of the camera's sources that knows it."""
        sources = self._camera.sensitivity
        if sources == ("header",):
            return self._required(self._camera.keywords.k_gain)
        for source in sources:
            found = self._k_gain_from(source)
            if found is not None:
                return found
        raise InputError(f"{self._name}: {self._unknown_sensitivity()}")

    def _k_gain_from(self, source: str) -> _Found | None:
        if source == "header":
            found = self._optional(self._camera.keywords.k_gain)
            return found if found.value > 0 else None
        if source == "fixed":
            return _Found(self._camera.noise.k_gain, f"camera {self._camera.name}")
        if self.mode is None or self.mode.k_gain is None:
            return None
        return _Found(self.mode.k_gain, f"mode {self.mode.name!r} of camera {self._camera.name}")

    def _unknown_sensitivity(self) -> str:
        """What stands in the way, and what to do."""
        camera = self._camera
        remedy = (
            f"add it to the camera file (where {camera.name} is built in: to one of your own with "
            f'like = "{camera.name}"), or give the electrons per DN (kgain, --kgain)'
        )
        in_header = "header" in camera.sensitivity
        absent = f"the header has no usable {' or '.join(camera.keywords.k_gain)}"
        if "modes" not in camera.sensitivity:
            return f"{absent}; {remedy}"
        # What a user can find in the header: keywords and their values as they stand there.
        names = dict.fromkeys(name for mode in camera.modes for name in mode.when)
        cards = ", ".join(dict.fromkeys(self._cited(name) for name in names))
        table = f"no [[modes]] with k_gain of camera {camera.name} fits {cards}"
        remedy = remedy.replace("add it", "add such a [[modes]]", 1)
        return f"{absent} and {table}; {remedy}" if in_header else f"{table}; {remedy}"

    def _cited(self, setting: str) -> str:
        rule = self._camera.conventional
        if setting == CONVENTIONAL and rule is not None:
            keywords: Sequence[str] = (rule.keyword,)
        else:
            keywords = self._camera.settings[setting]
        key = next((key for key in keywords if self.find(key) is not None), None)
        return f"missing {' or '.join(keywords)}" if key is None else _card(key, self.find(key))

    def bias(self) -> float:
        """Level to be subtracted, DN; 0 where there is none, or a file or region gives it."""
        bias = self._camera.bias
        if bias is not None and bias.level is None:
            return 0.0
        if self.mode is not None and self.mode.bias is not None:
            return self.mode.bias
        return 0.0 if bias is None or bias.level is None else bias.level

    def saturation(self) -> float:
        """DN from which on a sample is saturated."""
        full_scale = self._camera.frames.full_scale
        if self.mode is not None and self.mode.saturation is not None:
            return min(self.mode.saturation, full_scale)
        return full_scale

    def unit(self) -> tuple[Unit, str]:
        """Unit of the pixels, and how the header spells it."""
        raw = next(
            (raw for key in self._camera.keywords.unit if (raw := self.find(key)) is not None), ""
        )
        text = str(raw).strip()
        spelled = text.lower()
        unit = self._camera.units.get(spelled, OWN_UNITS.get(spelled, Unit.UNKNOWN))
        if unit is Unit.UNKNOWN and self._camera.delivers_dn:
            raise InputError(f"{self._name}: {self._unknown_unit(text)}")
        return unit, text

    def _unknown_unit(self, text: str) -> str:
        keywords = " or ".join(self._camera.keywords.unit)
        what = f"the unit {text!r} is not known" if text else "the header names no unit"
        where = f" ({keywords})" if keywords else ""
        return (
            f"{what}{where}, so that nothing tells whether bias and sensitivity of camera "
            f'{self._camera.name} apply; say in its file what it means: [units] "{text}" = "DN"'
        )

    # All of it

    def record(
        self, shape: tuple[int, int], plane: int | None, k_gain: float | None
    ) -> FrameRecord:
        """See `read_record`."""
        unit, unit_text = self.unit()
        try:
            known_k_gain = self.k_gain().value
        except EmdarksError:
            if k_gain is None:
                raise
            known_k_gain = k_gain
        in_dn = unit is Unit.DN
        commanded = self.commanded_gain()
        return FrameRecord(
            name=self._name,
            shape=shape,
            exposure_time=self.exposure_time().value,
            commanded_gain=commanded.value,
            em_gain=self.em_gain(commanded).value,
            k_gain=known_k_gain,
            unit=unit,
            unit_text=unit_text,
            start=self.start(plane),
            temperature=self.temperature().value,
            odd_temperature=self.odd_temperature(),
            setting=self.setting(),
            mode="" if self.mode is None else self.mode.name,
            bias=self.bias() if in_dn else 0.0,
            saturation=self.saturation() if in_dn else math.inf,
            not_dark=self.not_dark(),
        )

    def explain(self) -> list[Explained]:
        """Every quantity, also where others cannot be understood."""
        lines: list[Explained] = []
        for quantity, tell in self._quantities():
            try:
                value, source = tell()
                lines.append(Explained(quantity, value, source))
            except EmdarksError as error:
                problem = str(error).removeprefix(f"{self._name}: ")
                earlier = next((line for line in lines if line.source == problem), None)
                words = problem if earlier is None else f"see {earlier.quantity}"
                lines.append(Explained(quantity, "", words, fine=False))
        return lines

    def _quantities(self) -> Iterator[tuple[str, Callable[[], tuple[str, str]]]]:
        camera = self._camera
        yield "kind of frame", self._tell_kind
        yield "exposure time", lambda: _with_unit(self.exposure_time(), "s")
        if camera.conventional is not None:
            yield "gain register", self._tell_register
        yield "EM gain, commanded", lambda: _with_unit(self.commanded_gain(), "")
        yield "EM gain, used", lambda: _with_unit(self.em_gain(self.commanded_gain()), "")
        for name, keywords in camera.settings.items():
            yield f"setting {name}", partial(self._tell_setting, keywords)
        if camera.modes:
            yield "mode", self._tell_mode
        yield "sensitivity", lambda: _with_unit(self.k_gain(), "e-/DN")
        yield "unit", self._tell_unit
        yield "bias", self._tell_bias
        yield "saturation", self._tell_saturation
        yield "temperature", self._tell_temperature
        yield "start", lambda: _with_unit(self._optional(camera.keywords.start), "MJD")

    def _tell_kind(self) -> tuple[str, str]:
        rule = self._camera.darks
        if rule is None:
            return "taken as a dark", "the camera has no rule for it"
        raw = self.find(rule.keyword)
        if raw is None:
            return "taken as a dark", f"no {rule.keyword}"
        return "no dark" if self.not_dark() else "dark", _card(rule.keyword, raw)

    def _tell_register(self) -> tuple[str, str]:
        rule = self._camera.conventional
        assert rule is not None
        word = "not used" if self.conventional else "used"
        raw = self.find(rule.keyword)
        return word, f"no {rule.keyword}" if raw is None else _card(rule.keyword, raw)

    def _tell_setting(self, keywords: Sequence[str]) -> tuple[str, str]:
        value = self._first_known(keywords)
        key = next((key for key in keywords if self.find(key) is not None), None)
        missing = f"no {' or '.join(keywords)}" + ("" if value is None else ", so the usual")
        source = missing if key is None else _card(key, self.find(key))
        return "unknown" if value is None else text_of(value), source

    def _tell_mode(self) -> tuple[str, str]:
        names = dict.fromkeys(name for mode in self._camera.modes for name in mode.when)
        by = f"by {', '.join(names)}"
        return ("none of the table" if self.mode is None else self.mode.name), by

    def _tell_unit(self) -> tuple[str, str]:
        unit, text = self.unit()
        keywords = " or ".join(self._camera.keywords.unit) or "unit keyword"
        return unit.value, repr(text) if text else f"no {keywords}"

    def _tell_bias(self) -> tuple[str, str]:
        bias = self._camera.bias
        if bias is not None and bias.region is not None:
            return f"{bias.statistic} of {'each row' if bias.per == 'row' else 'the frame'}", (
                f"region {bias.region}"
            )
        if bias is not None and bias.file is not None:
            return "bias frame", bias.file
        level = self.bias()
        by_mode = self.mode is not None and self.mode.bias is not None
        if not by_mode and bias is None:
            return "nothing is subtracted", "the camera file has no level for it"
        return f"{level:g} DN", "the mode" if by_mode else "the camera file"

    def _tell_temperature(self) -> tuple[str, str]:
        value, source = _with_unit(self.temperature(), "deg C")
        odd = self.odd_temperature()
        return value, f"{odd}, which no detector has" if odd and value == "unknown" else source

    def _tell_saturation(self) -> tuple[str, str]:
        level = self.saturation()
        by_mode = self.mode is not None and self.mode.saturation is not None
        if math.isinf(level):
            return "not flagged here", "the camera file has no level for it"
        return f"{level:g} DN", "the mode" if by_mode else "the camera file"


def _says_nothing(raw: Any) -> bool:
    """Whether the value of a setting stands for none, in any header."""
    return text_of(raw).casefold() in _NOTHING


def _card(keyword: str, raw: Any) -> str:
    return f"{keyword} = {raw!r}"


def _with_unit(found: _Found, unit: str) -> tuple[str, str]:
    value = "unknown" if math.isnan(found.value) else f"{found.value:.12g} {unit}".rstrip()
    return value, found.source
