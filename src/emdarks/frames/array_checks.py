"""Arrays from users as planes of real numbers or flags."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.errors import InputError

Array = npt.NDArray[Any]


def number_plane(values: Any, name: str) -> Array:
    """Values or errors as an array of real numbers; a view where they are one.

    Parameters
    ----------
    values : array_like
        Masked entries (`numpy.ma`) become NaN, which counts as masked.
    name : str
        What they are, for messages.

    Raises
    ------
    InputError
        They are no array of real numbers.
    """
    array = _array(values, name)
    if array.dtype.kind == "O":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{name} holds objects that are no numbers; give an array") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {array.dtype}, not real numbers; convert it")
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    if mask is None or not mask.any():
        return array
    return np.where(mask, np.nan, array)


def flags_plane(values: Any, name: str) -> Array:
    """Bit flags as an array; masked entries (`numpy.ma`) get flag 1.

    Raises
    ------
    InputError
        They are no array.
    """
    array = _array(values, name)
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    if mask is None or not mask.any() or array.dtype.kind not in "biu":
        return array
    return np.where(mask, array.dtype.type(1), array)


def _array(values: Any, name: str) -> Array:
    try:
        return np.asarray(values)
    except (TypeError, ValueError):  # rows of different lengths
        raise InputError(f"{name} is no array of numbers") from None
