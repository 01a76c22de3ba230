"""A camera file to start from, filled in with what the header of one frame tells."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from emdarks.cameras.units import Value

#: What stands where only a person can know.
MARK = "FILL IN"
#: Keyword where the header has none that is known; no frame has it, so that frames are refused
#: until the right one is written there.
NONE = "FILL-IN"

_EXPOSURE = ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXP-TIME", "TEXP", "ITIME", "INTTIME", "U_AQTINT")
_EM_GAIN = ("EMGAIN_C", "EMGAIN", "EM_GAIN", "EM-GAIN", "U_EMGAIN", "EMGAINC")
_SENSITIVITY = ("KGAINPAR", "EGAIN", "SNTVTY")
#: The EM gain in one camera, electrons per DN in another.
_EITHER = "GAIN"
#: A keyword of Andor Solis, where GAIN is the EM gain.
_SOLIS = "OUTPTAMP"
_TEMPERATURE = (
    "EXCAMT",
    "CCDTEMP",
    "CCD-TEMP",
    "CCD_TEMP",
    "DETTEMP",
    "DET-TEMP",
    "DET_TEMP",
    "SENSTEMP",
    "CAMTEMP",
    "TCCD",
    "TEMP",
)
_START = ("DATE-OBS", "DATE-BEG", "MJD-OBS", "MJD-BEG", "MJDSRT", "MJD", "JD")
#: Settings that change noise, sensitivity or clock-induced charge, or that place the pixels.
_SETTINGS = {
    "serial": ("SERNO", "CCDSERN", "SERIALNO", "CAMSERNO"),
    "rate": ("READRATE", "RATE", "READTIME", "READSPD"),
    "preamp": ("PREAMP",),
    "readout_mode": ("READMODE", "ROMODE"),
    "acquisition": ("ACQMODE",),
    "window": ("SUBRECT",),
    "horizontal_binning": ("HBIN", "XBINNING", "BINX"),
    "vertical_binning": ("VBIN", "YBINNING", "BINY"),
    "vertical_shift": ("VSHIFT",),
    "clock_amplitude": ("VCLKAMP",),
    "frame_transfer": ("FRAMETRF",),
    "target_temperature": ("TGTEMP", "SET-TEMP", "SETTEMP"),
}
_AMPLIFIER = ("OUTPTAMP", "EMMODE", "AMP", "OUTPUTAMP")
_KIND = ("OBSTYPE", "IMAGETYP", "IMTYPE", "DATA-TYP", "FRAMETYP", "OBJTYPE")
_CONVENTIONAL, _MULTIPLYING = "Conventional", "Electron Multiplying"
#: Spellings of the converter's unit.
_DN = ("adu", "dn", "count", "counts")


@dataclass(frozen=True, slots=True)
class NewFrame:
    """The frame that a new camera file starts from.

    Attributes
    ----------
    name : str
        Its file.
    shape : tuple of int
        Rows and columns.
    cube : bool
        Whether the file holds many frames.
    floating : bool
        Whether the samples are floating-point numbers.
    err_and_dq : bool
        Whether the file has planes of errors and flags.
    headers : tuple of mappings
        Searched in this order: image header, primary header.
    """

    name: str
    shape: tuple[int, int]
    cube: bool
    floating: bool
    err_and_dq: bool
    headers: tuple[Mapping[str, Any], ...] = field(repr=False)

    def find(self, keyword: str) -> Any:
        """Value of a card, or None."""
        return next((header[keyword] for header in self.headers if keyword in header), None)

    def among(self, keywords: Sequence[str]) -> list[tuple[str, Any]]:
        """Those of the keywords that the header has, with their values."""
        pairs = ((keyword, self.find(keyword)) for keyword in keywords)
        return [(keyword, value) for keyword, value in pairs if value is not None]


class _Choice(NamedTuple):
    """A keyword for a quantity, and what is to be said beside it."""

    keyword: str
    comment: str


def new_camera_text(name: str, frame: NewFrame) -> str:
    """Text of a camera file for frames like this one.

    The file loads as it is. What no header tells is marked; frames are refused as long as a
    keyword without which they would be misread is missing in it.

    Parameters
    ----------
    name : str
        What the camera is to be called.
    frame : NewFrame
        The frame.

    Returns
    -------
    str
    """
    parts = (_top(name, frame), _files(frame), _keywords(frame), _rules(frame), _figures())
    return "\n".join(line for part in parts for line in part) + "\n"


def _top(name: str, frame: NewFrame) -> Iterator[str]:
    yield f"# A camera file to start from, made of the header of {_plain(frame.name)}."
    yield f"# What no header tells is marked {MARK}. See how frames are read by it:"
    yield "#     emdarks cameras THIS-FILE FRAME"
    yield f"name = {_text(name)}"
    yield f'description = "a new camera"  # {MARK}: one line'
    yield 'arrtype = "FULL"'
    yield '# Electrons per DN: from the header, or noise.k_gain below (then: "fixed").'
    yield 'sensitivity = "header"'
    yield ""


def _files(frame: NewFrame) -> Iterator[str]:
    rows, cols = frame.shape
    yield "[frames]"
    yield f'layout = "{"cube" if frame.cube else "single"}"'
    yield f'dtype = "{"float32" if frame.floating else "uint16"}"'
    yield f"err_and_dq = {str(frame.err_and_dq).lower()}"
    yield f"# bit_depth = 16  # {MARK}: bits of the converter; samples at its end are saturated"
    yield "windows = true  # up to the size below; false where there is prescan or overscan"
    yield ""
    yield f"# {MARK}: the size of the whole detector, if this frame is a window of it; prescan and"
    yield "# overscan, if it has any: serial_overscan = { rows = 64, cols = 16, r0c0 = [0, 80] }"
    yield "[geometry.FULL]"
    yield f"frame_rows = {rows}"
    yield f"frame_cols = {cols}"
    yield f"image = {{ rows = {rows}, cols = {cols}, r0c0 = [0, 0] }}"
    yield ""


def _keywords(frame: NewFrame) -> Iterator[str]:
    exposure = _chosen(frame, _EXPOSURE, _is_number)
    gain, sensitivity = _gains(frame)
    temperature = _chosen(frame, _TEMPERATURE, _is_number, needed=False)
    start = _chosen(frame, _START, lambda value: bool(_date_unit(value)), needed=False)
    yield "[keywords]"
    yield f"exposure_time = {_text(exposure.keyword)}  # {exposure.comment}; seconds?"
    yield f"commanded_gain = {_text(gain.keyword)}  # {gain.comment}"
    yield "better_gains = []  # keywords of measured EM gains"
    yield f"k_gain = {_text(sensitivity.keyword)}  # {sensitivity.comment}; electrons per DN?"
    yield 'unit = "BUNIT"'
    yield f"temperature = {_text(temperature.keyword)}  # {temperature.comment}"
    yield f"start = {_text(start.keyword)}  # {start.comment}"
    yield ""
    yield "[values]"
    if exposure.keyword != NONE:
        yield f'# {_key(exposure.keyword)} = {{ unit = "ms" }}  # {MARK}: if it is no seconds'
    yield from _meanings(frame, exposure, gain, sensitivity, temperature, start)
    yield ""
    yield "[units]"
    yield '"" = "DN"  # no unit in the header'
    spelled = " ".join(str(frame.find("BUNIT") or "").split())
    if spelled.lower() in _DN:
        yield f'{_text(spelled.lower())} = "DN"'
    elif spelled:
        yield f'# {_text(spelled)} = "DN"  # {MARK}: what the BUNIT of this frame means'
    yield ""


def _meanings(frame: NewFrame, *choices: _Choice) -> Iterator[str]:
    """What values of the chosen keywords mean, where that is not plain."""
    *numbers, temperature, start = choices
    for choice in (*numbers, temperature):
        raw = frame.find(choice.keyword)
        comma = ["decimal_comma = true"] if isinstance(raw, str) else []
        if choice is temperature and raw is not None:
            kelvin = 120 < Value(decimal_comma=True).number(raw) < 320
            comma = [*(['unit = "K"'] if kelvin else []), "unknown = [-999]", *comma]
        if comma:
            yield f"{_key(choice.keyword)} = {{ {', '.join(comma)} }}"
    unit = _date_unit(frame.find(start.keyword))
    if unit:
        yield f'{_key(start.keyword)} = {{ unit = "{unit}" }}'


def _gains(frame: NewFrame) -> tuple[_Choice, _Choice]:
    """Keywords of the EM gain and of the electrons per DN; GAIN may be either."""
    gain = _chosen(frame, _EM_GAIN, _is_number)
    sensitivity = _chosen(frame, _SENSITIVITY, _is_number)
    either = frame.find(_EITHER)
    if not _is_number(either):
        return gain, sensitivity
    note = f"{_EITHER} = {either!r} is the EM gain in some cameras, electrons per DN in others"
    if gain.keyword != NONE and sensitivity.keyword == NONE:
        return gain, _Choice(NONE, f"{MARK}: {note}")
    if gain.keyword == NONE and frame.find(_SOLIS) is not None:
        return _Choice(
            _EITHER, f"{either!r} in this frame; {_SOLIS} is of Andor Solis"
        ), sensitivity
    if gain.keyword == NONE:
        return _Choice(NONE, f"{MARK}: {note}"), sensitivity
    return gain, sensitivity


def _chosen(
    frame: NewFrame, keywords: Sequence[str], fits: Callable[[Any], bool], needed: bool = True
) -> _Choice:
    """The first keyword whose value can be one; the others are named beside it."""
    found = [(key, value) for key, value in frame.among(keywords) if fits(value)]
    if not found:
        if needed:
            return _Choice(NONE, f"{MARK}: this header has none of {', '.join(keywords)}")
        return _Choice("", f"none of {', '.join(keywords)} here")
    words = f"{_plain(found[0][1])} in this frame"
    others = ", ".join(f"{key} = {_plain(value)}" for key, value in found[1:])
    return _Choice(found[0][0], f"{words}; or {others}" if others else words)


def _rules(frame: NewFrame) -> Iterator[str]:
    yield "# Settings that must not mix; name whatever changes noise, sensitivity or charge."
    yield "[settings]"
    for name, keywords in _SETTINGS.items():
        for keyword, value in frame.among(keywords)[:1]:
            yield f"{name} = {_text(keyword)}  # {_plain(value)} in this frame"
    yield ""
    for keyword, value in frame.among(_AMPLIFIER)[:1]:
        known = str(value).strip() in (_CONVENTIONAL, _MULTIPLYING)
        mark = "" if known else "# "
        if not known:
            yield f"# {MARK}: the values of {keyword} (here {_plain(value)}) by amplifier"
        yield f"{mark}[conventional]"
        yield f"{mark}keyword = {_text(keyword)}"
        yield f"{mark}values = [{_text(_CONVENTIONAL)}]"
        yield f"{mark}others = [{_text(_MULTIPLYING)}]"
        yield ""
    for keyword, value in frame.among(_KIND)[:1]:
        known = "dark" in str(value).lower()
        mark = "" if known else "# "
        if not known:
            yield f"# {MARK}: the values of {keyword} (here {_plain(value)}) that mean a dark"
        yield f"{mark}[darks]"
        yield f"{mark}keyword = {_text(keyword)}"
        yield f"{mark}values = [{_text(str(value).strip() if known else 'DARK')}]"
        yield ""


def _figures() -> Iterator[str]:
    yield f"# {MARK}: if frames still hold their bias level"
    yield "# [bias]"
    yield "# level = 300.0  # DN"
    yield ""
    yield f"# {MARK}: if electrons are counted in frames already: 1 above a threshold, 0 below"
    yield "# [counting]"
    yield "# threshold = 5.0"
    yield '# unit = "read noise"  # or "EM electron"'
    yield ""
    yield f"# {MARK}: a table that makes frames linear, beside this file; none: they are linear"
    yield "# [linearity]"
    yield '# file = "none"'
    yield ""
    yield "# Cosmic rays are looked for where the full wells are known, in [noise]."
    yield "# [cosmic_rays]"
    yield '# search = "standard"'
    yield ""
    yield "# Typical of EMCCD cameras, not of yours. For screening, planning, simulation and the"
    yield "# advice of emdarks inspect; they enter no fit."
    yield "[noise]"
    yield f'# k_gain = 5.0  # {MARK}: electrons per DN, for sensitivity = "fixed"'
    yield f"read_noise = 50.0  # {MARK}: electrons, after the gain register"
    yield f"clock_induced_charge = 0.01  # {MARK}: electrons per pixel and frame"
    yield f"dark_current = 0.001  # {MARK}: electrons per pixel and second"
    yield f"# full_well_image = 90000.0  # {MARK}: electrons, of a pixel"
    yield f"# full_well_register = 105000.0  # {MARK}: electrons, of the gain register"
    yield f"# register_stages = 604  # {MARK}: stages of the gain register, for counts"


def _is_number(value: Any) -> bool:
    return math.isfinite(Value(decimal_comma=True).number(value))


def _date_unit(value: Any) -> str:
    """The unit of a date: ISO, JD or MJD; empty where it is none."""
    if isinstance(value, str) and math.isfinite(Value("ISO").number(value)):
        return "ISO"
    number = Value().number(value)
    if 2.4e6 < number < 2.6e6:
        return "JD"
    return "MJD" if 4e4 < number < 2e5 else ""


def _plain(value: Any) -> str:
    """A value in a comment: on its line, of characters that TOML allows there."""
    return "".join(c if c.isprintable() else "?" for c in str(value))


def _text(value: str) -> str:
    """A text of TOML."""
    whole = value.encode("utf-8", "replace").decode()  # of file names that are no text
    escaped = whole.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _key(keyword: str) -> str:
    return keyword if re.fullmatch(r"[A-Za-z0-9_-]+", keyword) else _text(keyword)
