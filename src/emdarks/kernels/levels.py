"""Bias off and saturated samples flagged, in one pass over a run of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import jit

__all__ = ["level_run"]

Array = npt.NDArray[Any]

_SATURATED = 32


@jit
def level_run(
    data: Array, bias: float, frame: Array | None, saturation: float, clean: Array, flags: Array
) -> None:
    """Subtract a bias level or a bias frame, and flag samples at or above saturation.

    Parameters
    ----------
    data : ndarray of float32 or float64, shape (pixels,)
        Numbers as they are stored.
    bias : float
        Level of all pixels.
    frame : ndarray of float64, shape (pixels,), or None
        Level of each pixel, instead.
    saturation : float
        Stored number from which on a sample is saturated.
    clean : ndarray of float64, shape (pixels,)
        Receives the numbers without bias.
    flags : ndarray of uint16, shape (pixels,)
        Receives 32 or 0.
    """
    saturated, none = np.uint16(_SATURATED), np.uint16(0)
    for p in range(data.size):
        x = np.float64(data[p])
        flags[p] = saturated if x >= saturation else none
        clean[p] = x - (bias if frame is None else frame[p])
