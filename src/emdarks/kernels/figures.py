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

_SATURATED = np.uint64(32)
# Sums run in lanes that are added up in order, so that the compiler may use
# vector registers although it must not reorder additions.
_LANES = 64
# Every 31st column is enough to tell frames of noise apart.
_STRIDE = 31


@inline
def _lane_sums(
    data: Array,
    dq: Array | None,
    mask: np.uint64,
    scale: float,
    start: int,
    stop: int,
    lanes: Array,
) -> tuple[int, int, float, float]:
    """Good samples, saturated samples, sum and sum of squares of a run of one row."""
    lanes[:, :] = 0.0
    good = 0
    saturated = 0
    for base in range(start, stop, _LANES):
        for lane in range(min(_LANES, stop - base)):
            x = data[base + lane] * scale
            keep = np.isfinite(x)
            if dq is not None:
                flag = np.uint64(dq[base + lane])
                keep = keep and (flag & mask) == 0
                saturated += 1 if (flag & _SATURATED) != 0 else 0
            value = x if keep else 0.0
            good += 1 if keep else 0
            lanes[0, lane] += value
            lanes[1, lane] += value * value
    total = 0.0
    squares = 0.0
    for lane in range(_LANES):
        total += lanes[0, lane]
        squares += lanes[1, lane]
    return good, saturated, total, squares


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
    for row in range(data.size // cols):
        base = row * cols
        good, saturated, total, squares = _lane_sums(
            data, dq, mask, scale, base + left, base + right, lanes
        )
        count, _, level, _ = _lane_sums(
            data, dq, mask, scale, base + prescan_left, base + prescan_right, lanes
        )
        content = 0.0
        for i in range(0, cols, _STRIDE):
            x = float(data[base + i])
            content += x * (i + 1.0) if np.isfinite(x) else 0.0
        out[row, 0] = good
        out[row, 1] = right - left - good
        out[row, 2] = saturated
        out[row, 3] = total
        out[row, 4] = squares
        out[row, 5] = count
        out[row, 6] = level
        out[row, 7] = content
