"""What noise maps can tell: three maps, or two where all stacks had one gain or one time.

The card MODEL of two maps is "one-gain" (the plane of F is the level L = F + g C, that of C is
NaN) or "one-time" (the plane of C is C + t D, that of D is NaN); MAPGAIN and MAPTIME hold the
gain and the time that such maps are of. Any other MODEL, or none, is that of three maps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.errors import InputError

#: How far gain and time of a dark may lie off those of the maps, relative: measured gains of one
#: commanded gain differ a little.
SAME_GAIN, SAME_TIME = 0.01, 1e-3


@dataclass(frozen=True, slots=True)
class _TwoMaps:
    """Maps of stacks of one gain, or of one time, and the words for them.

    Attributes
    ----------
    absent : int
        Index of the plane that the stacks do not tell.
    card, quantity, unit : str
        Card that holds what all stacks had in common, what that is, its unit.
    comment, maps : str
        Comments of that card and of MODEL.
    least, tolerance : float
        Smallest value of the card, and how far that of a dark may lie off it, relative.
    free : str
        What darks may have any value of.
    formula, words : str
        How darks are made, and what such maps can do; ``{}`` is the value of the card.
    comments : dict
        Of the cards of image means and variances, where they are not those of F, C and D.
    """

    absent: int
    card: str
    quantity: str
    unit: str
    comment: str
    maps: str
    least: float
    tolerance: float
    free: str
    formula: str
    words: str
    comments: dict[str, str]


_MODELS = {
    "one-gain": _TwoMaps(
        absent=1,
        card="MAPGAIN",
        quantity="EM gain",
        unit="",
        comment="EM gain of all stacks",
        maps="L = F + g C in F, and D",
        least=1.0,
        tolerance=SAME_GAIN,
        free="exposure time",
        formula="L/g + t D",
        words="Two maps of stacks of one EM gain, {0}: the plane of F holds the level "
        "L = F + {0} C, EM electrons, that of C nothing (NaN), that of D the dark current. "
        "They make darks of any exposure time at this gain, none of another gain; F and C "
        "cannot be told apart",
        comments={
            "FPN_IMM": "e-, mean of L = F + g C; -999: none",
            "FPN_IMME": "e-, median of L = F + g C; -999: none",
            "FPN_VAR": "variance of L = F + g C, e-^2",
            "CIC_IMM": "-999: one EM gain does not tell C",
            "CIC_VAR": "-999: one EM gain does not tell C",
        },
    ),
    "one-time": _TwoMaps(
        absent=2,
        card="MAPTIME",
        quantity="exposure time",
        unit=" s",
        comment="s, exposure time of all stacks",
        maps="F, and C + t D in C",
        least=0.0,
        tolerance=SAME_TIME,
        free="EM gain",
        formula="F/g + (C + t D)",
        words="Two maps of stacks of one exposure time, {0} s: the plane of F holds the fixed "
        "pattern, that of C the charge C + {0} s D of a frame, that of D nothing (NaN). "
        "They make darks of any EM gain at this time, none of another time; C and D cannot be "
        "told apart",
        comments={
            "CIC_IMM": "e-, mean of C + t D; -999: none",
            "CIC_VAR": "variance of C + t D, e-^2",
            "DC_IMM": "-999: one exposure time does not tell D",
            "DC_VAR": "-999: one exposure time does not tell D",
        },
    ),
}


def _two_maps(header: Any) -> _TwoMaps | None:
    # MODEL of a frame may be that of its camera.
    return _MODELS.get(header.get("MODEL"))


def model_of(header: Any) -> str:
    """The model of maps: "full" where the header of their image names no other."""
    return str(header["MODEL"]) if _two_maps(header) else "full"


def absent_planes(header: Any) -> npt.NDArray[np.bool_]:
    """Whether the planes F, C and D are absent."""
    two = _two_maps(header)
    return np.asarray(np.arange(3) == (two.absent if two else -1))


def check_model(header: Any, name: str) -> None:
    """Refuse two maps that do not say at which gain or time.

    Raises
    ------
    InputError
        MAPGAIN or MAPTIME is missing or no number that a stack has.
    """
    two = _two_maps(header)
    if two is None:
        return
    value = header.get(two.card)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not two.least <= value < math.inf:
        raise InputError(
            f"{name}: MODEL is {header['MODEL']!r}, and {two.card} is {value!r}, which is no "
            f"{two.quantity}; correct the header, or make the maps anew"
        )


def check_setting(header: Any, name: str, gain: float, exposure_time: float) -> None:
    """Refuse a dark of another gain, or time, than that of all stacks of the maps.

    Raises
    ------
    InputError
        As said; full maps have any.
    """
    two = _two_maps(header)
    if two is None:
        return
    asked, own = (gain if two.card == "MAPGAIN" else exposure_time), float(header[two.card])
    if abs(asked - own) > two.tolerance * own:
        raise InputError(
            f"{name}: all stacks had {two.quantity} {own:g}{two.unit}, so these maps make darks of "
            f"any {two.free} at that {two.quantity} only, not at {asked:g}{two.unit}; make the "
            "dark with maps of stacks of several gains and several times"
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
    two = _MODELS.get(model)
    if two is None:
        return {}
    value = gain if two.card == "MAPGAIN" else time
    return {"MODEL": (model, f"two maps: {two.maps}"), two.card: (value, two.comment)}


def dark_formula(header: Any) -> str:
    """How darks are made from maps."""
    two = _two_maps(header)
    return two.formula if two else "F/g + C + t D"


def mean_comments(model: str) -> dict[str, str]:
    """Comments of image means and variances, where these are not those of F, C and D."""
    return _MODELS[model].comments if model in _MODELS else {}


def model_words(header: Any) -> list[str]:
    """What two maps are, and what they can and cannot do; nothing for three."""
    two = _two_maps(header)
    return [two.words.format(f"{float(header[two.card]):g}")] if two else []
