"""Screening of unflagged cosmic rays, from the largest samples of each pixel.

One-sided: only samples above a ceiling that clean samples of the register do not reach are
taken out of the sums again (method page, eq. 9 (ceiling)),

    ceiling = level + 5 rn + g (lambda + 5 sqrt(2 lambda) + 9.2),

with the stack's level, the read noise rn, the EM gain g, and lambda = C + t D nominal, or
the pixel's own where that is larger. Symmetric clipping and medians would cut the skewed
tail of the register and bias the charge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import inline, jit

__all__ = ["KEPT", "screen", "trimmed_means"]

Array = npt.NDArray[Any]

#: Largest samples that are kept of each pixel and stack.
KEPT = 6

_COSMIC_RAY = 128
# A trimmed mean of skewed samples lies below the mean: by a third where lambda is 0.5.
_UNTRIM = 1.5


@inline
def _set_aside(n: int, kept: int) -> int:
    """How many of the largest samples a pixel's own level is taken without."""
    return min(kept, max(n // 4, 1), n - 1)


@jit
def trimmed_means(n: Array, mean: Array, top: Array, out: Array) -> None:
    """Mean of each pixel without its largest samples, a quarter of them or six at most.

    Parameters
    ----------
    n, mean : ndarray, shape (pixels,)
        Closed sums.
    top : ndarray, shape (pixels, kept)
        Largest samples, ascending.
    out : ndarray, shape (pixels,)
        Receives the means; NaN where no sample is good.
    """
    kept = top.shape[1]
    for p in range(n.size):
        if n[p] == 0:
            out[p] = np.nan
            continue
        aside = _set_aside(n[p], kept)
        total = mean[p] * n[p]
        for i in range(kept - aside, kept):
            total -= top[p, i]
        out[p] = total / (n[p] - aside)


@jit
def screen(
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    flags: Array,
    top: Array,
    trimmed: Array,
    level: float,
    gain: float,
    read_noise: float,
    charge: float,
    rejected: Array,
) -> None:
    """Take samples above the ceiling out of closed sums, in place.

    Where as many samples exceed the ceiling as were kept, more may: the stack is left out
    for that pixel (n = 0) with the cosmic-ray flag. The part of a rejected sample in
    ``err2`` is taken to be the pixel's average.

    Parameters
    ----------
    n, mean, m2, err2, flags, top : ndarray
        Sums of a stack.
    trimmed : ndarray, shape (pixels,)
        From `trimmed_means`.
    level : float
        Median of the trimmed means.
    gain, read_noise, charge : float
        EM gain; electrons; nominal C + t D, electrons.
    rejected : ndarray of integers, shape (pixels,)
        Increased by the number of samples taken out.
    """
    kept = top.shape[1]
    for p in range(n.size):
        if n[p] < 2:  # a lone sample is all there is
            continue
        own = charge + _UNTRIM * max(trimmed[p] - level, 0.0) / gain
        ceiling = level + 5.0 * read_noise + gain * (own + 5.0 * np.sqrt(2.0 * own) + 9.2)
        if not top[p, kept - 1] > ceiling:
            continue
        count, good = 0, n[p]
        centre, squares = mean[p], m2[p]
        for i in range(kept - 1, -1, -1):
            x = top[p, i]
            if not x > ceiling or good == 1:
                break
            good -= 1
            difference = x - centre
            centre -= difference / good
            squares -= difference * (x - centre)
            count += 1
        rejected[p] += count
        flags[p] |= flags.dtype.type(_COSMIC_RAY)
        if count == kept and n[p] > kept:
            n[p] = 0
            continue
        if err2 is not None:
            err2[p] *= good / n[p]
        n[p], mean[p], m2[p] = good, centre, max(squares, 0.0)
