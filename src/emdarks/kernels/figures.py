"""Figures of single frames, row by row, taken while their pixels are in the cache.

Rows are summed one by one and added up in row order afterwards, so that the
result does not depend on how a frame was cut into runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import inline, jit

__all__ = ["COLUMNS", "row_figures"]

Array = npt.NDArray[Any]

#: What `row_figures` writes for a row.
COLUMNS = (
    "good",  # unmasked samples of the imaging area
    "masked",  # masked samples of the imaging area
    "saturated",  # samples of the imaging area with the saturation flag
    "sum",  # of the good samples
    "squares",  # of the good samples
    "prescan_good",
    "prescan_sum",
    "content",  # weighted sum of every 31st sample of the row: copies of a frame share it
)

_SATURATED = 32
# Sums run in lanes that are added up in order, so that the compiler may use
# vector registers although it must not reorder additions.
_LANES = 32
# Every 31st column is enough to tell frames of noise apart.
_STRIDE = 31


@inline
def _sums(
    data: Array, dq: Array | None, mask: Any, scale: float, lanes: Array
) -> tuple[float, float]:
    """Sum and sum of squares of the good samples of a run of one row."""
    lanes[:, :] = 0.0
    for base in range(0, data.size // _LANES * _LANES, _LANES):
        for lane in range(_LANES):
            x = np.float64(data[base + lane]) * scale
            keep = (x - x) == 0.0  # finite
            if dq is not None:
                keep = keep and (dq[base + lane] & mask) == 0
            value = x if keep else 0.0
            lanes[0, lane] += value
            lanes[1, lane] += value * value
    total, squares = 0.0, 0.0
    for lane in range(_LANES):
        total += lanes[0, lane]
        squares += lanes[1, lane]
    for p in range(data.size // _LANES * _LANES, data.size):
        x = np.float64(data[p]) * scale
        if (x - x) == 0.0 and (dq is None or (dq[p] & mask) == 0):
            total += x
            squares += x * x
    return total, squares


@inline
def _counts(data: Array, dq: Array | None, mask: Any, saturation: Any) -> tuple[int, int]:
    """Good samples and samples with the saturation flag of a run of one row."""
    good, saturated = 0, 0
    for p in range(data.size):
        keep = (data[p] - data[p]) == 0
        if dq is not None:
            keep = keep and (dq[p] & mask) == 0
            saturated += 1 if (dq[p] & saturation) != 0 else 0
        good += 1 if keep else 0
    return good, saturated


@jit
def row_figures(
    data: Array,
    dq: Array | None,
    mask: np.uint64,
    scale: float,
    cols: int,
    left: int,
    right: int,
    prescan_left: int,
    prescan_right: int,
    out: Array,
) -> None:
    """Take the figures of whole rows.

    Parameters
    ----------
    data : ndarray of float32 or float64, shape (rows * cols,)
        Pixels of the rows.
    dq : ndarray of unsigned integers or None
        Their flags.
    mask : numpy.uint64
        Flag bits that exclude a sample.
    scale : float
        Factor to the unit of the figures.
    cols : int
        Columns of the frame.
    left, right, prescan_left, prescan_right : int
        First and last-plus-one column of the imaging area and of the reliable prescan.
    out : ndarray of float64, shape (rows, len(COLUMNS))
        Receives the figures.
    """
    lanes = np.empty((2, _LANES))
    none = np.uint64(0)
    for row in range(data.size // cols):
        base = row * cols
        area = data[base + left : base + right]
        prescan = data[base + prescan_left : base + prescan_right]
        if dq is None:
            good, saturated = _counts(area, None, none, none)
            total, squares = _sums(area, None, none, scale, lanes)
            count, _ = _counts(prescan, None, none, none)
            level, _ = _sums(prescan, None, none, scale, lanes)
        else:
            # In the type of the flags: wider ones would be converted pixel by pixel.
            bits, saturation = dq.dtype.type(mask), dq.dtype.type(_SATURATED)
            flags = dq[base + left : base + right]
            good, saturated = _counts(area, flags, bits, saturation)
            total, squares = _sums(area, flags, bits, scale, lanes)
            flags = dq[base + prescan_left : base + prescan_right]
            count, _ = _counts(prescan, flags, bits, saturation)
            level, _ = _sums(prescan, flags, bits, scale, lanes)
        content = 0.0
        for i in range(0, cols, _STRIDE):
            x = np.float64(data[base + i])
            content += x * (i + 1.0) if (x - x) == 0.0 else 0.0
        out[row, 0] = good
        out[row, 1] = right - left - good
        out[row, 2] = saturated
        out[row, 3] = total
        out[row, 4] = squares
        out[row, 5] = count
        out[row, 6] = level
        out[row, 7] = content
