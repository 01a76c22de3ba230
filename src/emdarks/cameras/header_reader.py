"""From the headers of one frame to what a camera makes of them.

Each quantity has one method, which gives its value and where that came from; `read_record`
puts the values together, `explain` the words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

from emdarks.cameras.camera import Camera
from emdarks.cameras.contradictions import refuse_contradictions
from emdarks.cameras.frame_metadata import Counted, FrameRecord, Unit
from emdarks.cameras.schema import CONVENTIONAL, Counting, Mode, Rule
from emdarks.cameras.units import Value, text_of
from emdarks.errors import EmdarksError, InputError, MissingKeywordError

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
    """A quantity: its value, where it comes from, and the value in words if it is no number."""

    value: Any
    source: str
    words: str = ""

    def in_words(self, unit: str) -> str:
        """The value for people."""
        if self.words:
            return self.words
        return "unknown" if math.isnan(self.value) else f"{self.value:.12g} {unit}".rstrip()


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
    found: float = _Reading(camera, "a header", headers).temperature().value
    return found


def why_no_dark(camera: Camera, headers: Headers) -> str:
    """The card that says that a frame is no dark; empty where it is one, or none does."""
    try:
        return str(_Reading(camera, "", headers).kind().value)
    except InputError:
        return ""  # refused with its name when it is used


class _Reading:
    """The headers of one frame, read by one camera; see `read_record`."""

    def __init__(self, camera: Camera, name: str, headers: Headers):
        self._camera = camera
        self._name = name
        self._headers = headers
        self._known: dict[str, Any] = {}

    # Cards

    def find(self, keyword: str) -> Any:
        """Value of a card, or None where it is missing or empty.

        Raises
        ------
        InputError
            The headers have several that contradict each other.
        """
        if keyword not in self._known:
            keys = self._camera.keywords
            # A file and its images may have starts of their own; these decide no number.
            if keyword not in (*keys.start, *keys.cycle_time, *keys.camera):
                refuse_contradictions(self._name, self._headers, keyword, self._meaning(keyword))
            values = (header[keyword] for header in self._headers if keyword in header)
            self._known[keyword] = next(values, None)
        return self._known[keyword]

    def _meaning(self, keyword: str) -> Value:
        return self._camera.values.get(keyword, _PLAIN)

    def _card(self, keywords: Sequence[str], missing: str = "no") -> str:
        """The first card of these keywords; or that there is none."""
        key = next((key for key in keywords if self.find(key) is not None), None)
        return _missing(keywords, missing) if key is None else f"{key} = {self.find(key)!r}"

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
                return _Found(number, self._card([key]))
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
        own = vars(self._camera.keywords)
        key = next((name for name, value in own.items() if value == tuple(keywords)), None)
        return f" (keywords.{key})" if key else ""

    def _optional(self, keywords: Sequence[str]) -> _Found:
        for key in keywords:
            raw = self.find(key)
            if raw is not None and not math.isnan(number := self._meaning(key).number(raw)):
                return _Found(number, self._card([key]))
        return _Found(math.nan, _missing(keywords))

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

    # Quantities

    def kind(self) -> _Found:
        """Why the frame is no dark; empty where it is one, or nothing tells."""
        rule = self._camera.darks
        if rule is None:
            return _Found("", "the camera has no rule for it", "taken as a dark")
        card = self._card([rule.keyword])
        if self._decide(rule, "what the frame shows") is False:
            return _Found(card, card, "no dark")
        return _Found("", card, "taken as a dark" if self.find(rule.keyword) is None else "dark")

    def exposure_time(self) -> _Found:
        """Seconds."""
        return self._required(self._camera.keywords.exposure_time)

    def register(self) -> _Found:
        """Whether the frame bypassed the gain register."""
        rule = self._camera.conventional
        if rule is None:
            return _Found(False, "the camera has no rule for it", "used")
        answer = self._decide(rule, "the amplifier")
        if answer is None:
            raise MissingKeywordError(
                f"{self._name}: the header has no {rule.keyword}, which says whether the gain "
                "register was used; add it, name the right keyword in the camera file "
                "(conventional.keyword), or choose the camera these frames come from"
            )
        return _Found(answer, self._card([rule.keyword]), "not used" if answer else "used")

    def commanded_gain(self) -> _Found:
        """EM gain asked for; 1 in conventional readout, whatever the header has."""
        register = self.register()
        if register.value:
            return _Found(1.0, register.source)
        return self._required(self._camera.keywords.commanded_gain)

    def em_gain(self) -> _Found:
        """EM gain to compute with: the best one known."""
        keys = () if self.register().value else self._camera.keywords.better_gains
        better = (self._optional([key]) for key in keys)
        return next((found for found in better if found.value > 0), None) or self.commanded_gain()

    def setting(self, keywords: Sequence[str]) -> _Found:
        """A readout setting; None where no header tells."""
        value, card = self._first_known(keywords), self._card(keywords)
        if value is not None and all(self.find(key) is None for key in keywords):
            card = f"{card}, so the usual"
        return _Found(value, card, "unknown" if value is None else text_of(value))

    def _first_known(self, keywords: Sequence[str]) -> Any:
        return next((v for v in map(self._known_setting, keywords) if v is not None), None)

    def _known_setting(self, keyword: str) -> Any:
        raw, meaning = self.find(keyword), self._meaning(keyword)
        if raw is None:
            return meaning.absent
        if meaning.is_unknown(raw) or text_of(raw).casefold() in _NOTHING:
            return None
        number = meaning.number(raw) if meaning.unit or meaning.decimal_comma else math.nan
        return raw if math.isnan(number) else number

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Readout settings by name; None where the header does not tell."""
        camera = self._camera
        found = {name: self._first_known(keywords) for name, keywords in camera.settings.items()}
        if camera.conventional is not None:
            found[CONVENTIONAL] = self.register().value
        if camera.mirrored is not None:
            found["mirrored"] = self._decide(camera.mirrored, "the orientation")
        return found

    @cached_property
    def mode(self) -> Mode | None:
        """The first mode that the settings select."""
        return next((mode for mode in self._camera.modes if mode.matches(self.settings)), None)

    def mode_name(self) -> _Found:
        """Name of the mode; empty where there is none."""
        names = dict.fromkeys(name for mode in self._camera.modes for name in mode.when)
        name = "" if self.mode is None else self.mode.name
        return _Found(name, f"by {', '.join(names)}", name or "none of the table")

    def k_gain(self) -> _Found:
        """Electrons per DN, from the first of the camera's sources that knows it."""
        sources = self._camera.sensitivity
        if sources == ("header",):
            return self._required(self._camera.keywords.k_gain)
        found = (self._k_gain_from(source) for source in sources)
        known = next((each for each in found if each is not None), None)
        if known is None:
            raise InputError(f"{self._name}: {self._unknown_sensitivity()}")
        return known

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
        absent = [f"the header has no usable {' or '.join(camera.keywords.k_gain)}"]
        what = "it"
        if "modes" in camera.sensitivity:
            # What a user can find in the header: keywords and their values as they stand there.
            names = dict.fromkeys(name for mode in camera.modes for name in mode.when)
            cards = dict.fromkeys(self._card(self._keywords(name), "missing") for name in names)
            table = f"no [[modes]] with k_gain of camera {camera.name} fits {', '.join(cards)}"
            absent = [*absent, table] if "header" in camera.sensitivity else [table]
            what = "such a [[modes]]"
        return (
            f"{' and '.join(absent)}; add {what} to the camera file (where {camera.name} is built "
            f'in: to one of your own with like = "{camera.name}"), or give the electrons per DN '
            "(kgain, --kgain)"
        )

    def _keywords(self, setting: str) -> Sequence[str]:
        rule = self._camera.conventional
        if setting == CONVENTIONAL and rule is not None:
            return (rule.keyword,)
        return self._camera.settings[setting]

    @property
    def unit_text(self) -> str:
        """The unit of the pixels as the header spells it."""
        cards = (self.find(key) for key in self._camera.keywords.unit)
        return str(next((raw for raw in cards if raw is not None), "")).strip()

    def unit(self) -> _Found:
        """Unit of the pixels; counts have none of the header's."""
        text, camera = self.unit_text, self._camera
        if self.counted is not None:
            return _Found(Unit.COUNT, "table [counting] of the camera file", Unit.COUNT.value)
        keywords = " or ".join(camera.keywords.unit)
        spelled = text.lower()
        unit = camera.units.get(spelled, OWN_UNITS.get(spelled, Unit.UNKNOWN))
        if unit is Unit.UNKNOWN and camera.delivers_dn:
            what = f"the unit {text!r} is not known" if text else "the header names no unit"
            where = f" ({keywords})" if keywords else ""
            raise InputError(
                f"{self._name}: {what}{where}, so that nothing tells whether bias and sensitivity "
                f"of camera {camera.name} apply; say in its file what it means: [units] "
                f'"{text}" = "DN"'
            )
        return _Found(unit, repr(text) if text else f"no {keywords or 'unit keyword'}", unit.value)

    @cached_property
    def counted(self) -> Counted | None:
        """How the electrons of the frame were counted; None where its samples are no counts.

        Raises
        ------
        InputError, MissingKeywordError
            The header says that they were, but not above which threshold, or in how many frames.
        """
        table = self._camera.counting
        if table is None or not table.applies(self.find(table.keyword) if table.keyword else None):
            return None
        threshold = self._threshold(table)
        if threshold is None:
            return None
        frames = self._required([table.frames]).value if table.frames else 1.0
        if not (frames >= 1 and frames.is_integer()):
            raise InputError(
                f"{self._name}: {table.frames} is {frames:g}, no number of frames in which "
                "electrons were counted; correct the card, or [counting] in the camera file"
            )
        return Counted(threshold, table.value, int(frames), table.one)

    def _threshold(self, table: Counting) -> float | None:
        """EM electrons; None where the frame has none, and no other card says that it is counted.

        Raises
        ------
        InputError, MissingKeywordError
            One says so, or the threshold goes by a read noise that nobody knows.
        """
        value = table.threshold
        if isinstance(value, str):
            key, found = value, self._optional([value]).value
            value = self._required([key]).value if table.keyword else found
            if not (value > 0 and math.isfinite(value)):
                if not table.keyword:
                    return None
                raise InputError(
                    f"{self._name}: {table.keyword} says that its electrons are counted, but "
                    f"{key} = {value:g} is no threshold; correct the card"
                )
        return value * (1.0 if table.unit == "EM electron" else self._read_noise())

    def _read_noise(self) -> float:
        """EM electrons, by which a threshold goes."""
        mode = "" if self.mode is None else self.mode.name
        own = self._optional(["RN"]).value
        noise = own if own > 0 else self._camera.noise_in(mode).read_noise
        if not noise > 0:
            raise InputError(
                f"{self._name}: the threshold of its counts goes by the read noise, which neither "
                f"header (RN) nor camera {self._camera.name} has; add it to the camera file"
            )
        return noise

    def counting(self) -> _Found:
        """How its electrons were counted, in words."""
        found, table = self.counted, self._camera.counting
        assert table is not None
        keys = [key for key in (table.keyword, table.threshold) if key and isinstance(key, str)]
        source = ", ".join(self._card([key]) for key in keys) or "the camera file"
        return _Found(found, source, "no" if found is None else str(found))

    def bias(self) -> _Found:
        """Level to be subtracted, DN; 0 where there is none, or a file or region gives it."""
        bias, raw = self._camera.bias, self._camera.raw
        if raw is not None and raw.bias is not None and raw.answer(self.find(raw.keyword)):
            bias = raw.bias if raw.bias.region is not None else bias
        if bias is not None and bias.region is not None:
            rows = "each row" if bias.per == "row" else "the frame"
            return _Found(0.0, f"region {bias.region}", f"{bias.statistic} of {rows}")
        if bias is not None and bias.file is not None:
            return _Found(0.0, bias.file, "bias frame")
        if self.mode is not None and self.mode.bias is not None:
            return _Found(self.mode.bias, "the mode")
        if bias is None:
            return _Found(0.0, "the camera file has no level for it", "nothing is subtracted")
        return _Found(bias.level, "the camera file")

    def saturation(self) -> _Found:
        """DN from which on a sample is saturated."""
        level, source = self._camera.frames.full_scale, "the camera file"
        if self.mode is not None and self.mode.saturation is not None:
            level, source = min(self.mode.saturation, level), "the mode"
        if math.isinf(level):
            return _Found(level, "the camera file has no level for it", "not flagged here")
        return _Found(level, source)

    def temperature(self) -> _Found:
        """Degrees Celsius, NaN where unknown or impossible."""
        keywords = self._camera.keywords.temperature
        found = self._optional([key for key in keywords if not self._impossible(key)])
        odd = self.odd_temperature()
        unknown = math.isnan(found.value) and odd
        return found._replace(source=f"{odd}, which no detector has") if unknown else found

    def odd_temperature(self) -> str:
        """The card of a temperature that no detector has; empty where there is none."""
        odd = [key for key in self._camera.keywords.temperature if self._impossible(key)]
        return self._card(odd[:1]) if odd else ""

    def _impossible(self, keyword: str) -> bool:
        number = self._meaning(keyword).number(self.find(keyword))
        return not (math.isnan(number) or _COLDEST <= number <= _WARMEST)

    def start(self, plane: int | None = None) -> _Found:
        """Start of the exposure, MJD; NaN where unknown."""
        begin = self._optional(self._camera.keywords.start)
        cycle = self._optional(self._camera.keywords.cycle_time).value
        if not plane or not math.isfinite(cycle):
            return begin
        return begin._replace(value=begin.value + plane * cycle / _DAY)

    # All of it

    def record(
        self, shape: tuple[int, int], plane: int | None, k_gain: float | None
    ) -> FrameRecord:
        """See `read_record`."""
        unit: Unit = self.unit().value
        try:
            known_k_gain = self.k_gain().value
        except EmdarksError:
            if k_gain is None:
                raise
            known_k_gain = k_gain
        rule, in_dn = self._camera.conventional, unit is Unit.DN
        joins = rule is not None and rule.joins
        commanded_gain = self.commanded_gain().value
        return FrameRecord(
            name=self._name,
            shape=shape,
            exposure_time=self.exposure_time().value,
            commanded_gain=commanded_gain,
            em_gain=self.em_gain().value,
            k_gain=known_k_gain,
            unit=unit,
            unit_text=self.unit_text,
            start=self.start(plane).value,
            temperature=self.temperature().value,
            odd_temperature=self.odd_temperature(),
            setting=tuple(
                (name, "-" if value is None else text_of(value))
                for name, value in self.settings.items()
                if not (joins and name == CONVENTIONAL)
            ),
            mode=self.mode_name().value,
            bias=self.bias().value if in_dn else 0.0,
            saturation=self.saturation().value if in_dn else math.inf,
            not_dark=self.kind().value,
            counted=self.counted,
        )

    def explain(self) -> list[Explained]:
        """Every quantity, also where others cannot be understood."""
        lines: list[Explained] = []
        for quantity, unit, read in self._quantities():
            try:
                found = read()
                lines.append(Explained(quantity, found.in_words(unit), found.source))
            except EmdarksError as error:
                problem = str(error).removeprefix(f"{self._name}: ")
                earlier = next((line for line in lines if line.source == problem), None)
                words = problem if earlier is None else f"see {earlier.quantity}"
                lines.append(Explained(quantity, "", words, fine=False))
        return lines

    def _quantities(self) -> list[tuple[str, str, Callable[[], _Found]]]:
        """Title, unit and value of each quantity, in the order in which people read them."""
        camera = self._camera
        settings = ((f"setting {name}", keys) for name, keys in camera.settings.items())
        register: list[Any] = [("gain register", "", self.register)]
        mode: list[Any] = [("mode", "", self.mode_name)]
        counting: list[Any] = [("counted", "", self.counting)]
        return [
            ("kind of frame", "", self.kind),
            ("exposure time", "s", self.exposure_time),
            *(register if camera.conventional is not None else []),
            ("EM gain, commanded", "", self.commanded_gain),
            ("EM gain, used", "", self.em_gain),
            *((title, "", partial(self.setting, keys)) for title, keys in settings),
            *(mode if camera.modes else []),
            ("sensitivity", "e-/DN", self.k_gain),
            *(counting if camera.counting is not None else []),
            ("unit", "", self.unit),
            ("bias", "DN", self.bias),
            ("saturation", "DN", self.saturation),
            ("temperature", "deg C", self.temperature),
            ("start", "MJD", self.start),
        ]


def _missing(keywords: Sequence[str], word: str = "no") -> str:
    return f"{word} {' or '.join(keywords)}" if keywords else "no keyword for it"
