"""What noise maps can tell: three maps, or two where all stacks had one gain or one time.

The card MODEL of two maps is "one-gain" (the plane of F is the level L = F + g C, that of C is
NaN) or "one-time" (the plane of C is C + t D, that of D is NaN); MAPGAIN and MAPTIME hold the
gain and the time that such maps are of. Any other MODEL, or none, is that of three maps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.errors import InputError

__all__ = [
    "absent_planes",
    "check_model",
    "check_setting",
    "dark_formula",
    "mean_comments",
    "model_cards",
    "model_of",
    "model_words",
]

ONE_GAIN, ONE_TIME = "one-gain", "one-time"

#: How far gain and time of a dark may lie off those of the maps, relative: measured gains of one
#: commanded gain differ a little.
SAME_GAIN, SAME_TIME = 0.01, 1e-3

#: Card, what it is called, unit, and how far a dark may be off, by model.
_FIXED = {
    ONE_GAIN: ("MAPGAIN", "EM gain", "", SAME_GAIN),
    ONE_TIME: ("MAPTIME", "exposure time", " s", SAME_TIME),
}
_COMMENTS = {"MAPGAIN": "EM gain of all stacks", "MAPTIME": "s, exposure time of all stacks"}


def model_of(header: Any) -> str:
    """The model of maps: "full" where their header names no other.

    Parameters
    ----------
    header : Header or dict
        Of the image.
    """
    # MODEL of a frame may be that of its camera.
    model = header.get("MODEL")
    return model if model in _FIXED else "full"


def absent_planes(header: Any) -> npt.NDArray[np.bool_]:
    """Whether the planes F, C and D are absent."""
    model = model_of(header)
    return np.array([False, model == ONE_GAIN, model == ONE_TIME])


def check_model(header: Any, name: str) -> None:
    """Refuse two maps that do not say at which gain or time.

    Raises
    ------
    InputError
        MAPGAIN or MAPTIME is missing or no number that a stack has.
    """
    model = model_of(header)
    if model == "full":
        return
    key, words, _, _ = _FIXED[model]
    value = header.get(key)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    least = 1.0 if model == ONE_GAIN else 0.0
    if not number or not least <= value < math.inf:
        raise InputError(
            f"{name}: MODEL is {model!r}, and {key} is {value!r}, which is no {words}; correct the "
            "header, or make the maps anew"
        )


def check_setting(header: Any, name: str, gain: float, exposure_time: float) -> None:
    """Refuse a dark of another gain, or time, than that of all stacks of the maps.

    Raises
    ------
    InputError
        As said; full maps have any.
    """
    model = model_of(header)
    if model == "full":
        return
    key, words, unit, tolerance = _FIXED[model]
    asked, own = (gain if model == ONE_GAIN else exposure_time), float(header[key])
    if abs(asked - own) > tolerance * own:
        other = "exposure time" if model == ONE_GAIN else "EM gain"
        raise InputError(
            f"{name}: all stacks had {words} {own:g}{unit}, so these maps make darks of any "
            f"{other} at that {words} only, not at {asked:g}{unit}; make the dark with maps of "
            "stacks of several gains and several times"
        )


def model_cards(model: str, gain: float, time: float) -> dict[str, tuple[Any, str]]:
    """Cards that say which maps these are.

    Parameters
    ----------
    model : {"full", "one-gain", "one-time"}
        What was fitted.
    gain, time : float
        The one EM gain, the one exposure time (s), where there is one.
    """
    if model == "full":
        return {}
    key = _FIXED[model][0]
    maps = "L = F + g C in F, and D" if model == ONE_GAIN else "F, and C + t D in C"
    return {
        "MODEL": (model, f"two maps: {maps}"),
        key: (gain if model == ONE_GAIN else time, _COMMENTS[key]),
    }


def dark_formula(header: Any) -> str:
    """How darks are made from maps."""
    return {ONE_GAIN: "L/g + t D", ONE_TIME: "F/g + (C + t D)"}.get(
        model_of(header), "F/g + C + t D"
    )


def mean_comments(model: str) -> dict[str, str]:
    """What image means and variances are of, where that is not F, C and D."""
    if model == ONE_GAIN:
        return {
            "FPN_IMM": "e-, mean of L = F + g C; -999: none",
            "FPN_IMME": "e-, median of L = F + g C; -999: none",
            "FPN_VAR": "variance of L = F + g C, e-^2",
            "CIC_IMM": "-999: one EM gain does not tell C",
            "CIC_VAR": "-999: one EM gain does not tell C",
        }
    if model == ONE_TIME:
        return {
            "CIC_IMM": "e-, mean of C + t D; -999: none",
            "CIC_VAR": "variance of C + t D, e-^2",
            "DC_IMM": "-999: one exposure time does not tell D",
            "DC_VAR": "-999: one exposure time does not tell D",
        }
    return {}


def model_words(header: Any) -> list[str]:
    """What two maps are, and what they can and cannot do; nothing for three."""
    model = model_of(header)
    if model == ONE_GAIN:
        gain = f"{float(header['MAPGAIN']):g}"
        return [
            f"Two maps of stacks of one EM gain, {gain}: the plane of F holds the level "
            f"L = F + {gain} C, EM electrons, that of C nothing (NaN), that of D the dark current. "
            "They make darks of any exposure time at this gain, none of another gain; F and C "
            "cannot be told apart"
        ]
    if model == ONE_TIME:
        time = f"{float(header['MAPTIME']):g}"
        return [
            f"Two maps of stacks of one exposure time, {time} s: the plane of F holds the fixed "
            f"pattern, that of C the charge C + {time} s D of a frame, that of D nothing (NaN). "
            "They make darks of any EM gain at this time, none of another time; C and D cannot be "
            "told apart"
        ]
    return []
