"""Numbers about a finished fit: residuals of the stacks, sums over the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import jit
from emdarks.kernels.fit import CHUNK, ROW, row_sum

__all__ = ["remove_dark_current", "residuals_between", "stack_sums"]

Array = npt.NDArray[Any]


@jit
def stack_sums(
    lo: int,
    hi: int,
    gain: Array,
    gain_time: Array,
    least: Array,
    n: Array,
    mean: Array,
    m2: Array | None,
    values: Array,
    inside: Array,
    unreliable: Array,
    out: Array,
) -> None:
    """Sums of every stack over some pixels.

    Parameters
    ----------
    lo, hi : int
        Range of pixels.
    gain, gain_time : ndarray, shape (stacks,)
        g and g t.
    least : ndarray of the type of n, shape (stacks,)
        Good samples below which a stack is unreliable at a pixel.
    n, mean, m2 : ndarray, shape (stacks, pixels)
        Moments; m2 may be None.
    values : ndarray, shape (3, pixels)
        F, C, D.
    inside : ndarray of bool, shape (pixels,)
        Pixels that the last four sums are taken over.
    unreliable : ndarray of integers, shape (pixels,)
        Receives the number of stacks that are unreliable.
    out : ndarray, shape (stacks, 5)
        Receives the sums of n; of residuals of the mean, where n > 0; of such pixels; of
        n - 1 where positive; and of M2.
    """
    rows = np.empty(4 * ROW)
    out[:] = 0.0
    for p in range(lo, hi, CHUNK):
        m = min(CHUNK, hi - p)
        unreliable[p : p + m] = 0
        some = inside[p : p + m].any()
        for i in range(n.shape[0]):
            total, few = 0, least[i]
            for j in range(m):
                total += n[i, p + j]
            out[i, 0] += total
            for j in range(m):
                unreliable[p + j] += np.int16(n[i, p + j] < few)
            if some:
                g, h = gain[i], gain_time[i]
                for j in range(m):
                    count = float(n[i, p + j])
                    here = inside[p + j] & (count > 0.0)
                    fitted = values[0, p + j] + g * values[1, p + j] + h * values[2, p + j]
                    rows[j] = mean[i, p + j] - fitted if here else 0.0
                    rows[ROW + j] = 1.0 if here else 0.0
                    rows[2 * ROW + j] = count - 1.0 if here else 0.0
                for k in range(3):
                    out[i, 1 + k] += row_sum(rows, k * ROW, m)
                if m2 is not None:
                    for j in range(m):
                        rows[3 * ROW + j] = m2[i, p + j] if inside[p + j] else 0.0
                    out[i, 4] += row_sum(rows, 3 * ROW, m)


@jit
def residuals_between(
    pixels: Array,
    n: Array,
    mean: Array,
    values: Array,
    errors: Array,
    g: float,
    h: float,
    low: Array,
    high: Array,
    found: Array,
    out: Array,
) -> None:
    """Residuals of a stack's mean that lie between bounds.

    Three kinds: of the fit, and of F, C and D one error lower and higher, all together.

    Parameters
    ----------
    pixels : ndarray of int
        Which pixels; those without good samples are left out.
    n, mean : ndarray, shape (pixels of the frame,)
        Good samples and mean.
    values, errors : ndarray, shape (3, pixels of the frame)
        F, C, D and their errors.
    g, h : float
        Gain, and gain times exposure time.
    low, high : ndarray, shape (3,)
        Bounds of each kind.
    found : ndarray of int, shape (3, 3)
        Receives of each kind the number of all, of those below and of those between.
    out : ndarray, shape (3, pixels.size)
        Receives those between.
    """
    found[:] = 0
    for p in pixels:
        if n[p] == 0:
            continue
        residual = mean[p] - (values[0, p] + g * values[1, p] + h * values[2, p])
        shift = errors[0, p] + g * errors[1, p] + h * errors[2, p]
        for k in range(3):
            moved = residual + (shift if k == 1 else -shift if k == 2 else 0.0)
            out[k, found[k, 2]] = moved
            found[k, 0] += 1
            found[k, 1] += 1 if moved < low[k] else 0
            found[k, 2] += 1 if (moved >= low[k]) & (moved <= high[k]) else 0


@jit
def remove_dark_current(
    lo: int, hi: int, outside: Array, values: Array, errors: Array, correlations: Array
) -> None:
    """D, its error and its correlations become 0 outside the imaging area.

    The error of D stays NaN where the fit was not possible.
    """
    for p in range(lo, hi):
        if outside[p]:
            values[2, p], correlations[1, p], correlations[2, p] = 0.0, 0.0, 0.0
            if not np.isnan(errors[0, p]):
                errors[2, p] = 0.0
