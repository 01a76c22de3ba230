"""Headers of simulated frames: those of a level-2a file of the Roman Coronagraph, or plain ones.

Keywords that emdarks reads go by the names that the camera gives them, their values in
its units (`camera_cards`). All others are there because real files have them, with harmless
constants: nothing is derived from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from emdarks.cameras import Camera, Unit, Value
from emdarks.fitsio import ascii_text, fits

__all__ = [
    "DARK_VISIT",
    "PAUSE",
    "SCIENCE_VISIT",
    "FrameFacts",
    "StackPlan",
    "frame_headers",
    "plain_header",
    "stack_facts",
]

#: When simulated campaigns begin, as a date and as MJD.
_BEGIN = datetime(2026, 1, 1)
_BEGIN_MJD = 61041.0
_DAY = 86400.0
#: Degrees Celsius: where the gain model holds, and how far temperatures swing.
_SET_POINT, _SWING = -88.0, 0.1
#: Seconds between two exposures.
PAUSE = 10.0

DARK_VISIT = "CGIVST_CAL_DRK"
SCIENCE_VISIT = "CGIVST_TDD_OBS"

_PRIMARY = {
    "CDMSVERS": "0", "FSWDVERS": "0", "MOCK": True, "TELESCOP": "ROMAN", "INSTRUME": "CGI",
    "DETECTOR": "EXCAM", "ORIGIN": "emdarks", "DATAVERS": 1,
}  # fmt: skip
_POINTING = {
    "TARGET": "DARK", "RA": 0.0, "DEC": 0.0, "EQUINOX": 2000.0, "RAPM": 0.0, "DECPM": 0.0,
    "PSFREF": 0, "OPGAIN": "AUTO", "PHTCNT": "AUTO", "FRAMET": "AUTO",
    "PA_V3": 0.0, "PA_APER": 0.0, "SVB_1": 0.0, "SVB_2": 0.0, "SVB_3": 0.0,
    "ROLL": 0.0, "PITCH": 0.0, "YAW": 0.0,
}  # fmt: skip
_OBSERVATION = {"OBSNAME": "DARK", "WBJ_1": 0.0, "WBJ_2": 0.0, "WBJ_3": 0.0}

_READOUT = {
    "FRMTYPE": "NUM",
    "ISHOWFSC": 0, "ISACQ": 0, "SPBAL": 0, "ISFLAT": 0, "SATSPOTS": 0, "STATUS": 0,
    "HVCBIAS": 0, "OPMODE": "SIMULATED",
}  # fmt: skip
_GAIN_MODEL = {
    "UNITYG": 0, **dict.fromkeys((f"EMGAINA{i}" for i in range(1, 6)), 0.0),
    "GAINTCAL": _SET_POINT,
}  # fmt: skip
_TIMING = {
    "BLNKTIME": 0.0, "BLNKCYC": 0, "EXPCYC": 0, "OVEREXP": 0, "NOVEREXP": 0.0, "ISPC": 0,
    "PROXET": -999.0,
}  # fmt: skip
_STEERING = {
    "FCMLOOP": "0", "FCMPOS": 0.0, "FSMINNER": "0", "FSMLOS": "0", "FSMPRFL": "NONE",
    "FSMRSTR": 0,
    "FSMSG1": 0.0, "FSMSG2": 0.0, "FSMSG3": 0.0, "FSMX": 0.0, "FSMY": 0.0,
    "EACQ_ROW": 0.0, "EACQ_COL": 0.0, "SB_FP_DX": 0.0, "SB_FP_DY": 0.0, "SB_FS_DX": 0.0,
    "SB_FS_DY": 0.0, "DMZLOOP": "0",
}  # fmt: skip


def _wavefront() -> dict[str, Any]:
    """Zernike cards: average, residual and (the first two) variance of each term."""
    cards: dict[str, Any] = {"1SVALID": 0}
    for i in range(2, 15):
        if i == 4:
            cards["10SVALID"] = 0
        parts = ("AVG", "RES", "VAR") if i < 4 else ("AVG", "RES") if i < 12 else ("AVG",)
        cards |= {f"Z{i}{part}": 0.0 for part in parts}
    return cards


def _mechanisms() -> dict[str, Any]:
    """Cards of the alignment mechanisms: position, name, set point."""
    cards: dict[str, Any] = {}
    for mechanism in ("SPAM", "FPAM", "LSAM", "FSAM", "CFAM", "DPAM"):
        cards |= {
            f"{mechanism}_H": 0.0, f"{mechanism}_V": 0.0, f"{mechanism}NAME": "UNKNOWN",
            f"{mechanism}SP_H": 0.0, f"{mechanism}SP_V": 0.0,
        }  # fmt: skip
    return cards


_OPTICS = _wavefront() | _mechanisms()


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
        Start of the exposure, seconds after the campaign's.
    stack, frame : int
        Numbers, from 0, that go into the visit's name.
    program : int
        Likewise; tells kinds of visits apart.
    visit_type : str
        As in VISTYPE.
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

    @property
    def begin(self) -> datetime:
        """Start of the exposure."""
        return _BEGIN + timedelta(seconds=self.elapsed)

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
        begin = self.begin
        time = f"{begin:%Y%m%dt%H%M%S}{begin.microsecond // 100000}"
        return f"cgi_{self.visit_id}_{time}_l2a.fits"


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


def stack_facts(stacks: Iterable[StackPlan], k_gain: float, unit: Unit) -> Iterator[FrameFacts]:
    """What goes into the headers of stacks that are taken one after the other."""
    elapsed = 0.0
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
            )
            elapsed += stack.exposure_time + PAUSE


def frame_headers(
    facts: FrameFacts, camera: Camera
) -> tuple[fits.Header, fits.Header, fits.Header, fits.Header]:
    """Headers of one frame.

    Parameters
    ----------
    facts : FrameFacts
        What the frame is.
    camera : Camera
        Names of the keywords.

    Returns
    -------
    primary, image, err, dq : Header
    """
    err = fits.Header([("TRK_ERRS", False), ("LAYER_1", "combined_error")])
    return _primary(facts), _image(facts, camera), err, fits.Header()


def _primary(facts: FrameFacts) -> fits.Header:
    visit = facts.visit_id
    cards: dict[str, Any] = {"VISITID": visit} | _PRIMARY | {"FILETIME": _iso(facts.begin)}
    cards |= facts.visit | {
        "CPGSFILE": f"campaign_{visit}.xml",
        "AUXFILE": f"aux_{visit}.txt",
        "VISTYPE": facts.visit_type,
    }
    cards |= _POINTING | {"FILENAME": facts.filename} | _OBSERVATION
    return fits.Header(cards.items())


def _image(facts: FrameFacts, camera: Camera) -> fits.Header:
    own = camera_cards(facts, camera)

    def of(*quantities: str) -> dict[str, Any]:
        names = (key for what in quantities for key in getattr(camera.keywords, what)[:1])
        return {key: own[key] for key in names if key in own}

    cards: dict[str, Any] = of("unit") | {"ARRTYPE": camera.arrtype}
    cards |= _READOUT | of("exposure_time", "commanded_gain") | _GAIN_MODEL | of("temperature")
    # The worst of the better gains is the applied one; -999 says that nobody knows it.
    cards |= dict.fromkeys(camera.keywords.better_gains[-1:], -999.0) | of("k_gain")
    cards |= _TIMING | _STEERING | _OPTICS
    cards |= {"DATETIME": _iso(facts.begin), "FTIMEUTC": _iso(facts.begin)} | of("start")
    end = facts.elapsed + facts.exposure_time
    cards |= {"MJDEND": _BEGIN_MJD + end / _DAY} | _processing(facts)
    return fits.Header((cards | own).items())


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
        "temperature": _temperature(facts.elapsed, camera.simulation.temperature),
        "start": _BEGIN_MJD + facts.elapsed / _DAY,
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


def _processing(facts: FrameFacts) -> dict[str, Any]:
    return {
        "FILE0": facts.filename.replace("_l2a", "_l1_"), "DATALVL": "L2a", "MISSING": 0,
        "DESMEAR": False, "CTI_CORR": False, "IS_BAD": False, "RECIPE": "simulated",
        # Not the hour of writing: the same seed gives the same cards.
        "DRPVERSN": "emdarks.simulate", "DRPCTIME": _iso(facts.begin),
        "FWC_PP_E": 0.0, "FWC_EM_E": 0.0, "SAT_DN": 0.0,
    }  # fmt: skip


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")


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
