"""Figures of single frames, row by row, taken while their pixels are in the cache.

Rows are summed one by one and added up in row order afterwards, so that the
result does not depend on how a frame was cut into runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import bare, inline
from emdarks.kernels.decode import swapped

__all__ = ["COLUMNS", "LANES", "SATURATED", "count_saturated", "fingerprint", "row_figures"]

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
    "not_finite",  # samples of the row that are no numbers, or whose errors are none
    "highest",  # of the good samples of the imaging area; minus infinity where there is none
    "at_highest",  # good samples of the imaging area that have this very value
)

#: Flag of a saturated sample.
SATURATED = 32
# Sums run in lanes that are added up in order, so that the compiler may use
# vector registers although it must not reorder additions.
LANES = 32
# Every 31st column is enough to tell frames of noise apart.
_STRIDE = 31


@inline
def _sums(values: Array, scale: float, lanes: Array) -> tuple[float, float]:
    """Sum and sum of squares of the good samples of a run of one row."""
    lanes[:, :] = 0.0
    for base in range(0, values.size // LANES * LANES, LANES):
        for lane in range(LANES):
            x = np.float64(values[base + lane]) * scale
            good = x if x == x else 0.0
            lanes[0, lane] += good
            lanes[1, lane] += good * good
    total, squares = 0.0, 0.0
    for lane in range(LANES):
        total += lanes[0, lane]
        squares += lanes[1, lane]
    for p in range(values.size // LANES * LANES, values.size):
        last = float(values[p]) * scale
        if last == last:
            total += last
            squares += last * last
    return total, squares


@inline
def _highest(values: Array, lanes: Array) -> float:
    """The highest good sample of a run of one row."""
    lanes[0, :] = -np.inf
    for base in range(0, values.size // LANES * LANES, LANES):
        for lane in range(LANES):
            x = np.float64(values[base + lane])
            lanes[0, lane] = x if x > lanes[0, lane] else lanes[0, lane]
    highest = -np.inf
    for lane in range(LANES):
        highest = max(highest, lanes[0, lane])
    for p in range(values.size // LANES * LANES, values.size):
        x = np.float64(values[p])
        highest = x if x > highest else highest
    return highest


@inline
def _count(values: Array, wanted: float) -> int:
    count = np.uint32(0)
    for p in range(values.size):
        count = np.uint32(count + np.uint32(values[p] == wanted))
    return int(count)


@inline
def _good(values: Array) -> int:
    count = np.uint32(0)
    for p in range(values.size):
        count = np.uint32(count + np.uint32(values[p] == values[p]))
    return int(count)


@bare
def count_saturated(stored: Array, swap: bool, flip: Any) -> int:
    """Samples with the saturation flag; flags as they were read."""
    xor, bit = stored.dtype.type(flip), stored.dtype.type(SATURATED)
    count = 0
    for p in range(stored.size):
        word = swapped(stored[p]) if swap else stored[p]
        count += ((word ^ xor) & bit) != 0
    return count


@bare
def fingerprint(values: Array) -> float:
    """Weighted sum of every 31st sample of a row, whether good or not."""
    content = 0.0
    for i in range(0, values.size, _STRIDE):
        x = np.float64(values[i])
        content += x * (i + 1.0) if (x - x) == 0.0 else 0.0
    return content


@bare
def row_figures(
    values: Array,
    scale: float,
    columns: Array,
    saturated: int,
    content: float,
    not_finite: int,
    lanes: Array,
    out: Array,
) -> None:
    """Take the figures of one row.

    Parameters
    ----------
    values : ndarray of float32 or float64, shape (cols,)
        Samples of the row; NaN where they are not good.
    scale : float
        Factor to the unit of the figures.
    columns : ndarray of int64, shape (4,)
        First and last-plus-one column of the imaging area and of the reliable prescan.
    saturated : int
        Samples of the imaging area with the saturation flag.
    content : float
        See `fingerprint`.
    not_finite : int
        Samples of the row that are no numbers.
    lanes : ndarray of float64, shape (2, LANES)
        Room to work in.
    out : ndarray of float64, shape (len(COLUMNS),)
        Receives the figures.
    """
    area, prescan = values[columns[0] : columns[1]], values[columns[2] : columns[3]]
    good = _good(area)
    out[0] = good
    out[1] = area.size - good
    out[2] = saturated
    out[3], out[4] = _sums(area, scale, lanes)
    out[5] = _good(prescan)
    out[6], _ = _sums(prescan, scale, lanes)
    out[7] = content
    out[8] = not_finite
    highest = _highest(area, lanes)
    out[9] = highest * scale
    out[10] = _count(area, highest) if good > 0 else 0
