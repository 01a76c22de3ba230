"""Noise that all pixels of a row have in common in a frame, such as that of the bias of the row.

The errors of pixels do not know it, and it does not average out over a row: means of rows, and of
images, scatter more than independent pixels would. Stacks show it: what is left of the mean of a
row in each stack, when F + g C + g t D has been fitted to it, holds no pattern that stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import Estimate, bounded_estimate, chi_square_tail

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class RowNoise:
    """Noise of rows.

    Attributes
    ----------
    frame : Estimate
        Root mean square in one frame, EM electrons.
    variance, error : float
        Its square, signed, so that it is right on average, and the error of that.
    maps : ndarray, shape (3,)
        What a variance of 1 in a frame is in the means of rows of F, C and D; 0 of a map that is
        not fitted.
    """

    frame: Estimate
    variance: float
    error: float
    maps: Array

    def of_map(self, k: int) -> tuple[float, float]:
        """Variance of row means of a map by this noise, and its error."""
        factor = float(self.maps[k])
        return factor * self.variance, factor * self.error


#: Where nothing tells it.
NO_ROW_NOISE = RowNoise(Estimate.unknown(), 0.0, 0.0, np.zeros(3))


class _Rows(NamedTuple):
    """Means of rows by stack, pixels of each row, frames and variance of a sample by stack."""

    mean: Array
    pixels: Array
    frames: Array
    variance: Array


def row_noise(
    n: Array,
    mean: Array,
    m2: Array,
    gain: Array,
    time: Array,
    use: Array,
    fitted: Sequence[bool] = (True, True, True),
) -> RowNoise:
    """Measure the noise of rows from what stacks differ in from the model.

    Parameters
    ----------
    n, mean, m2 : ndarray, shape (stacks, pixels)
        Moments.
    gain, time : ndarray, shape (stacks,)
        EM gain, and exposure time, seconds.
    use : ndarray of bool, shape (rows, columns)
        Pixels of the imaging area to take: fitted, and not hot. Their number is that of the
        pixels.
    fitted : sequence of bool
        Whether F, C and D are part of the model.

    Returns
    -------
    RowNoise
        `NO_ROW_NOISE` where there are no more stacks than parameters.

    Notes
    -----
    Squares of residuals are weighted by (frames / variance of a sample)^2 of their stack, and their
    sum is taken for a multiple of chi-square of the same mean and variance (F. E. Satterthwaite,
    1946, Biometrics Bull. 2, 110). A pattern that drifts along the campaign counts as noise.
    """
    rows = _rows(n, mean, m2, use)
    design = np.column_stack([np.ones_like(gain), gain, gain * time])[:, np.array(fitted)]
    if gain.size <= design.shape[1] or rows.pixels.size < 3 or not (rows.variance > 0).all():
        return NO_ROW_NOISE
    weight = rows.frames / rows.variance
    scale = np.abs(design).max(axis=0)
    A = design / scale
    linear = np.linalg.pinv((weight * A.T) @ A) @ (weight * A.T)
    projection = np.eye(gain.size) - A @ linear
    rest = projection @ rows.mean
    rest -= np.average(rest, axis=1, weights=rows.pixels)[:, None]
    single = projection / weight @ projection.T
    common = projection / rows.frames @ projection.T
    # Stacks of low noise show it best; what is left of each stack is not independent of the others.
    best = weight**2 / weight.max()
    expected = float(best @ np.diag(single)) * (rows.pixels.size - 1)
    if not expected > 0:
        return NO_ROW_NOISE
    spread = best[:, None] * single
    freedom = expected**2 / float((spread * spread.T).sum()) / (rows.pixels.size - 1)
    # Of noise of variance 1 in a frame, in units of the noise of independent pixels.
    unit = float(best @ np.diag(common) / (best @ np.diag(single)) * rows.pixels.mean())
    maps = np.zeros(3)
    maps[np.array(fitted)] = (linear / scale[:, None]) ** 2 @ (1 / rows.frames)
    whole = max(round(freedom), 1)
    return _result(float(best @ rest**2 @ rows.pixels) / expected * whole, whole, unit, maps)


def _rows(n: Array, mean: Array, m2: Array, use: Array) -> _Rows:
    """Over the pixels that are good in all stacks."""
    good = use.reshape(-1) & (n > 1).all(axis=0)
    shape = use.shape
    pixels = good.reshape(shape).sum(axis=1)
    told = pixels > 0
    means, frames, variance = [], [], []
    for i in range(len(n)):
        sums = np.where(good, mean[i], 0.0).reshape(shape).sum(axis=1)
        means.append(sums[told] / pixels[told])
        samples = n[i, good].astype(np.float64)
        frames.append(samples.mean() if samples.size else math.nan)
        variance.append(m2[i, good].sum() / max(float((samples - 1).sum()), 1.0))
    return _Rows(np.array(means), pixels[told], np.array(frames), np.array(variance))


def _result(chi2: float, freedom: int, unit: float, maps: Array) -> RowNoise:
    """From chi-square, which is freedom (1 + variance unit) on average."""
    error = math.sqrt(2.0 / freedom) / unit

    def below(a: float) -> float:
        return 1.0 - chi_square_tail(chi2 / (1.0 + unit * a**2), freedom)

    variance = (chi2 / freedom - 1.0) / unit
    width = error * (1.0 + max(variance, 0.0) * unit)
    return RowNoise(bounded_estimate(below, math.sqrt(2.0 * error)), variance, width, maps)
