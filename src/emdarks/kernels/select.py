"""Sums and order statistics of a plane over the pixels of a group.

``group`` tells each pixel's group, a small integer; pixels of other groups count nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import jit
from emdarks.kernels.fit import CHUNK, ROW, row_sum

__all__ = [
    "between",
    "cross_sums",
    "deviations",
    "excess_sums",
    "largest",
    "mark_hot",
    "plain_sums",
    "weighted_sums",
]

Array = npt.NDArray[Any]

#: Weights 1/error^2 lie within this factor of the smallest.
LEAST = 1e-6


@jit
def between(
    lo: int, hi: int, x: Array, group: Array, member: int, low: float, high: float, out: Array
) -> tuple[int, int, int]:
    """Copy the values from low to high; count the pixels of the group, those below, and those.

    Parameters
    ----------
    lo, hi : int
        Range of pixels.
    x, group : ndarray, shape (pixels,)
        The plane, and the groups of its pixels.
    member : int
        The group.
    low, high : float
        Which values to copy.
    out : ndarray, shape (hi - lo,)
        Receives them.
    """
    count, below, inside = 0, 0, 0
    for p in range(lo, hi):
        # No branches: they would be mispredicted.
        here = group[p] == member
        out[inside] = x[p]
        count += 1 if here else 0
        below += 1 if here & (x[p] < low) else 0
        inside += 1 if here & (x[p] >= low) & (x[p] <= high) else 0
    return count, below, inside


@jit
def largest(lo: int, hi: int, x: Array, group: Array, member: int) -> float:
    """Largest value of a group; 0 if none is positive."""
    top = np.zeros(CHUNK)
    for p in range(lo, hi, CHUNK):
        for j in range(min(CHUNK, hi - p)):
            value = x[p + j] if group[p + j] == member else 0.0
            top[j] = value if value > top[j] else top[j]
    return float(top.max())


@jit
def weighted_sums(
    lo: int, hi: int, x: Array, error2: Array, group: Array, member: int, top: float, out: Array
) -> None:
    """Sums of w, w x, w^2, w^2 x, 1 and error^2 over a group, w = top / error^2 or 1 / LEAST.

    Parameters
    ----------
    lo, hi, x, group, member
        As in `between`.
    error2 : ndarray, shape (pixels,)
        Squared errors of x.
    top : float
        The largest of them; 0: all weights are 1.
    out : ndarray, shape (6,)
        Receives the sums.
    """
    rows = np.empty(6 * ROW)
    scale = 1.0 / top if top > 0.0 else 0.0
    least = LEAST if top > 0.0 else 1.0
    out[:] = 0.0
    for p in range(lo, hi, CHUNK):
        m = min(CHUNK, hi - p)
        for j in range(m):
            here = group[p + j] == member
            ratio = error2[p + j] * scale
            w = 1.0 / (ratio if ratio > least else least)
            w = w if here else 0.0
            value = x[p + j] if here else 0.0
            rows[j] = w
            rows[ROW + j] = w * value
            rows[2 * ROW + j] = w * w
            rows[3 * ROW + j] = w * w * value
            rows[4 * ROW + j] = 1.0 if here else 0.0
            rows[5 * ROW + j] = error2[p + j] if here else 0.0
        for k in range(6):
            out[k] += row_sum(rows, k * ROW, m)


@jit
def excess_sums(
    lo: int,
    hi: int,
    x: Array,
    error2: Array,
    group: Array,
    member: int,
    top: float,
    centre: float,
    out: Array,
) -> None:
    """Sums of w^2 e, w^4, w^4 e and w^4 e^2 over a group, e = (x - centre)^2 - error^2.

    Parameters
    ----------
    lo, hi, x, error2, group, member, top
        As in `weighted_sums`, which has the weights w.
    centre : float
        Mean of x.
    out : ndarray, shape (4,)
        Receives the sums.
    """
    rows = np.empty(4 * ROW)
    out[:] = 0.0
    for p in range(lo, hi, CHUNK):
        m = min(CHUNK, hi - p)
        for j in range(m):
            here = group[p + j] == member
            ratio = error2[p + j] / top
            w = 1.0 / (ratio if ratio > LEAST else LEAST)
            w = w * w if here else 0.0
            away = (x[p + j] if here else centre) - centre
            excess = away * away - (error2[p + j] if here else 0.0)
            rows[j] = w * excess
            rows[ROW + j] = w * w
            rows[2 * ROW + j] = w * w * excess
            rows[3 * ROW + j] = w * w * excess * excess
        for k in range(4):
            out[k] += row_sum(rows, k * ROW, m)


@jit
def plain_sums(lo: int, hi: int, x: Array, group: Array, member: int, out: Array) -> None:
    """Number of pixels of a group, and the sums of the planes x over them.

    Parameters
    ----------
    x : ndarray, shape (planes, pixels)
        The planes.
    out : ndarray, shape (1 + planes,)
        Receives the number and the sums.
    lo, hi, group, member
        As in `between`.
    """
    row = np.empty(ROW)
    out[:] = 0.0
    for p in range(lo, hi, CHUNK):
        m = min(CHUNK, hi - p)
        for j in range(m):
            row[j] = 1.0 if group[p + j] == member else 0.0
        out[0] += row_sum(row, 0, m)
        for k in range(len(x)):
            for j in range(m):
                row[j] = x[k, p + j] if group[p + j] == member else 0.0
            out[1 + k] += row_sum(row, 0, m)


@jit
def cross_sums(
    lo: int,
    hi: int,
    x: Array,
    y: Array,
    x_0: float,
    y_0: float,
    group: Array,
    member: int,
    out: Array,
) -> None:
    """Number of pixels of a group, and sum of (x - x_0) (y - y_0) over them; as `plain_sums`."""
    rows = np.empty(2 * ROW)
    out[:] = 0.0
    for p in range(lo, hi, CHUNK):
        m = min(CHUNK, hi - p)
        for j in range(m):
            here = group[p + j] == member
            product = (x[p + j] - x_0) * (y[p + j] - y_0)
            rows[j] = 1.0 if here else 0.0
            rows[ROW + j] = product if here else 0.0
        out[0] += row_sum(rows, 0, m)
        out[1] += row_sum(rows, ROW, m)


@jit
def deviations(lo: int, hi: int, x: Array, scale: Array, middle: float, out: Array) -> None:
    """|x - middle| / u, with u^2 the plane ``scale``; u = 1 where that is 0."""
    for p in range(lo, hi):
        u = np.sqrt(scale[p])
        out[p] = abs(x[p] - middle) / (u if u > 0.0 else 1.0)


@jit
def mark_hot(
    lo: int, hi: int, x: Array, scale: Array, jump: Array, limits: Array, group: Array
) -> None:
    """Add HOT = 2 to the group of pixels above the limits of their region.

    Parameters
    ----------
    x, scale, jump : ndarray, shape (2, pixels)
        C and D, u^2 of each, and what one electron moves them.
    limits : ndarray, shape (2, 2, 3)
        By region, for C and D: the middle; how many u, and how many jumps, above it.
    group : ndarray of integers, shape (pixels,)
        Groups: the region, or -1.
    """
    for p in range(lo, hi):
        region = group[p]
        if region < 0:
            continue
        for k in range(1 + region):
            u = np.sqrt(scale[k, p])
            u = u if u > 0.0 else 1.0
            middle, widths, jumps = limits[region, k]
            if x[k, p] - middle > widths * u + jumps * jump[k, p]:
                group[p] = region + 2
