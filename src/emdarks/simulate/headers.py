"""Headers of simulated frames: those of a Roman Coronagraph file (level 1 or 2a), or plain ones.

Keywords that emdarks reads go by the names that the camera gives them, their values in
its units (`camera_cards`). All others stand in ``level_1.toml`` and ``level_2a.toml``.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from emdarks.cameras import Camera, Unit, Value
from emdarks.fits import ascii_text
from emdarks.fits import astropy_fits as fits
from emdarks.simulate.truth import Level

#: When simulated campaigns begin where nothing else is asked for, as a date and as MJD.
BEGIN = datetime(2026, 1, 1)
_BEGIN_MJD = 61041.0
_DAY = 86400.0
#: How far temperatures swing, degrees Celsius.
_SWING = 0.1
#: Seconds between two exposures.
PAUSE = 10.0

DARK_VISIT = "CGIVST_CAL_DRK"
SCIENCE_VISIT = "CGIVST_TDD_OBS"


@dataclass(frozen=True)
class FrameFacts:
    """What distinguishes the headers of one frame.

    Attributes
    ----------
    gain, exposure_time, k_gain : float
        EM gain, seconds, electrons per DN.
    unit : Unit
        Of the pixels.
    elapsed : float
        Start of the exposure, seconds after `BEGIN`.
    stack, frame : int
        Numbers, from 0, that go into the visit's name.
    program : int
        Likewise; tells kinds of visits apart.
    visit_type : str
        As in VISTYPE.
    level : {"1", "2a"}
        Of the file.
    warmer : float
        Degrees by which the detector is warmer than its set point.
    """

    gain: float
    exposure_time: float
    k_gain: float
    unit: Unit
    elapsed: float
    stack: int
    frame: int
    program: int = 0
    visit_type: str = DARK_VISIT
    level: Level = "2a"
    warmer: float = 0.0

    @property
    def begin(self) -> datetime:
        """Start of the exposure."""
        return BEGIN + timedelta(seconds=self.elapsed)

    @property
    def end(self) -> datetime:
        """End of the exposure."""
        return self.begin + timedelta(seconds=self.exposure_time)

    @property
    def visit(self) -> dict[str, str]:
        """Parts of the visit's name; in order of stack and frame, unique below 999 of each."""
        high, low = divmod(self.frame, 999)
        return {
            "PROGNUM": f"{2000 + self.program % 1000:05d}",
            "EXECNUM": "01",
            "CAMPAIGN": "001",
            "SEGMENT": f"{self.stack % 999 + 1:03d}",
            "OBSNUM": f"{high % 999 + 1:03d}",
            "VISNUM": f"{low + 1:03d}",
        }

    @property
    def visit_id(self) -> str:
        """Nineteen digits."""
        return "".join(self.visit.values())

    @property
    def filename(self) -> str:
        """Name of the file, unique through the time in it."""
        return self.filename_of(self.level)

    def filename_of(self, level: Level) -> str:
        """Name of this frame's file at a level."""
        begin = self.begin
        time = f"{begin:%Y%m%dt%H%M%S}{begin.microsecond // 100000}"
        return f"cgi_{self.visit_id}_{time}_l{level if level == '2a' else '1_'}.fits"


class StackPlan(NamedTuple):
    """Frames of one setting.

    Attributes
    ----------
    gain : float
        EM gain.
    exposure_time : float
        Seconds.
    frames : int
        How many.
    """

    gain: float
    exposure_time: float
    frames: int


def stack_facts(
    stacks: Iterable[StackPlan],
    k_gain: float,
    unit: Unit,
    level: Level = "2a",
    start: datetime = BEGIN,
) -> Iterator[FrameFacts]:
    """What goes into the headers of stacks that are taken one after the other."""
    elapsed = (start - BEGIN).total_seconds()
    for number, stack in enumerate(stacks):
        for frame in range(stack.frames):
            yield FrameFacts(
                gain=stack.gain,
                exposure_time=stack.exposure_time,
                k_gain=k_gain,
                unit=unit,
                elapsed=elapsed,
                stack=number,
                frame=frame,
                level=level,
            )
            elapsed += stack.exposure_time + PAUSE


@cache
def _cards(level: Level) -> dict[str, dict[str, Any]]:
    """Cards of each HDU, in order; the file says what its entries mean."""
    file = resources.files("emdarks.simulate") / f"level_{level}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def frame_headers(facts: FrameFacts, camera: Camera) -> dict[str, fits.Header]:
    """Headers of the HDUs of one frame: primary and image; at level 2a err and dq, too.

    Parameters
    ----------
    facts : FrameFacts
        What the frame is.
    camera : Camera
        Names of the keywords.
    """
    own = camera_cards(facts, camera)
    values = _values(facts, camera)
    headers = {}
    for hdu, table in _cards(facts.level).items():
        cards: dict[str, Any] = {}
        for name, value in table.items():
            if name.islower():
                cards |= _place(name, value, own, camera)
            else:
                cards[name] = value.format(**values) if isinstance(value, str) else value
        if hdu == "image":
            cards |= {"MJDEND": _mjd(facts.elapsed + facts.exposure_time)} | own
        headers[hdu] = fits.Header(cards.items())
    return headers


def _place(quantity: str, value: Any, own: dict[str, Any], camera: Camera) -> dict[str, Any]:
    """The card of a quantity, by the camera's keyword for it; none where it has no keyword."""
    if quantity == "applied_gain":  # the worst of the better gains
        return dict.fromkeys(camera.keywords.better_gains[-1:], value)
    keywords = getattr(camera.keywords, quantity)[:1]
    return {keyword: own[keyword] for keyword in keywords if keyword in own}


def _values(facts: FrameFacts, camera: Camera) -> dict[str, str]:
    """What stands for "{name}" in the tables."""
    return facts.visit | {
        "visit_id": facts.visit_id,
        "visit_type": facts.visit_type,
        "filename": facts.filename,
        "level_1_file": facts.filename_of("1"),
        "begin": facts.begin.isoformat(timespec="milliseconds"),
        "end": facts.end.isoformat(timespec="milliseconds"),
        "arrtype": camera.arrtype,
    }


def plain_header(facts: FrameFacts, camera: Camera) -> fits.Header:
    """Header of a file without ERR and DQ: the cards that the camera's file names.

    Parameters
    ----------
    facts : FrameFacts
        What the frame is, or the first frame of a cube.
    camera : Camera
        Names of the keywords, settings, further cards.

    Returns
    -------
    Header
    """
    return fits.Header((camera.simulation.cards | camera_cards(facts, camera)).items())


def camera_cards(facts: FrameFacts, camera: Camera) -> dict[str, Any]:
    """Cards by which this camera understands the frame."""
    mode = camera.mode(camera.simulation.mode)
    chosen = {} if mode is None else mode.when
    # Settings and rules first: where one of them shares a keyword with a number, that counts.
    cards: dict[str, Any] = {}
    for name, keywords in camera.settings.items():
        if name in chosen:
            cards |= {key: _stored(chosen[name], key, camera) for key in keywords[:1]}
    for rule, holds in (
        (camera.conventional, chosen.get("conventional", False)),
        (camera.darks, facts.visit_type == DARK_VISIT),
    ):
        values = () if rule is None else rule.values if holds else rule.others
        if rule is not None and values:
            cards[rule.keyword] = values[0]
    unit = _spelled(facts.unit, camera)
    numbers = {
        "exposure_time": facts.exposure_time,
        "commanded_gain": facts.gain,
        "k_gain": facts.k_gain,
        "temperature": _temperature(facts.elapsed, camera.simulation.temperature + facts.warmer),
        "start": _mjd(facts.elapsed),
        "cycle_time": facts.exposure_time + PAUSE,
    }
    for quantity, number in numbers.items():
        for key in getattr(camera.keywords, quantity)[:1]:
            cards[key] = _stored(number, key, camera)
    cards |= dict.fromkeys(camera.keywords.unit[:1], unit) if unit else {}
    return cards | dict.fromkeys(camera.keywords.camera[:1], ascii_text(camera.name))


def _stored(value: Any, keyword: str, camera: Camera) -> Any:
    if isinstance(value, (str, bool)):
        return value
    return camera.values.get(keyword, Value()).stored(value)


def _mjd(elapsed: float) -> float:
    return _BEGIN_MJD + elapsed / _DAY


def _temperature(elapsed: float, set_point: float) -> float:
    """Degrees Celsius: a slow swing of two hours."""
    return round(set_point + _SWING * math.sin(2.0 * math.pi * elapsed / 7200.0), 4)


def _spelled(unit: Unit, camera: Camera) -> str:
    """The unit in words that this camera's headers use; empty where they need none."""
    if camera.units.get("") is unit:
        return ""
    if unit.value.lower() in camera.units:
        return unit.value
    return next((text for text, meant in camera.units.items() if meant is unit), unit.value)
