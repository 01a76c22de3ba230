"""Numbers about the maps as a whole: bias offset, read noise, means, variances."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.darks.campaign import design
from emdarks.darks.fitting import Fit
from emdarks.errors import EmdarksWarning
from emdarks.execution import Executor
from emdarks.stacks import Stack, StackStore

__all__ = [
    "BiasOffset",
    "ImageStatistics",
    "bias_offset",
    "image_statistics",
    "pooled_bias_offset",
]

JACKKNIFE_GROUPS = 6

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class BiasOffset:
    """What the bias subtraction left in the prescan, DN."""

    value: float
    error: float
    upper: float
    lower: float


#: Of a camera without prescan.
NO_OFFSET = BiasOffset(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """The imaging area in a few numbers, before anything is clipped.

    Attributes
    ----------
    means : tuple of float
        Of F, C and D.
    median_f : float
        Median of F.
    variances : tuple of float
        Of F, C and D as fitted: mean(s^2) Q_kk, or the mean squared error of a pixel.
    read_noise : float
        Electrons; NaN where the estimate cannot be trusted.
    """

    means: tuple[float, float, float]
    median_f: float
    variances: tuple[float, float, float]
    read_noise: float


def bias_offset(
    fit: Fit,
    store: StackStore,
    stacks: Sequence[Stack],
    k_gains: Sequence[float],
    prescan: Array,
    executor: Executor,
) -> BiasOffset:
    """Median residual in the prescan, averaged over stacks, with bounds.

    For each stack the median of y - F - g C - g t D over the prescan, divided by
    k-gain; the bounds take F, C and D one error lower and higher, all together.

    Parameters
    ----------
    fit : Fit
        The fit, D fitted in the prescan, too.
    store : StackStore
        Moments.
    stacks : sequence of Stack
        Gains and times.
    k_gains : sequence of float
        Electrons per DN of each stack.
    prescan : ndarray of int
        Pixels of the prescan; unfittable ones are left out.
    executor : Executor
        Who computes.
    """
    pixels = prescan[fit.fitted[prescan]]
    if pixels.size == 0:
        return NO_OFFSET
    gain, gain_time = design(stacks)
    values, errors = fit.values[:, pixels], fit.errors[:, pixels]

    def medians(i: int) -> list[float]:
        good = store.n[i, pixels] > 0
        weights = np.array([1.0, gain[i], gain_time[i]])
        residual = (store.mean[i, pixels] - weights @ values)[good]
        shift = (weights @ errors)[good]
        if residual.size == 0:
            return [np.nan] * 3
        return [
            float(np.median(r)) / k_gains[i] for r in (residual, residual + shift, residual - shift)
        ]

    offsets = np.array(executor.map(medians, range(len(stacks))))
    value, upper, lower = (float(mean) for mean in np.nanmean(offsets, axis=0))
    return BiasOffset(value, max(upper - value, value - lower), upper, lower)


def pooled_bias_offset(
    fit: Fit,
    store: StackStore,
    stacks: Sequence[Stack],
    k_gains: Sequence[float],
    prescan: Array,
    variances: Array,
    cols: int,
) -> BiasOffset:
    """Weighted mean over stacks of the median residual in the reliable prescan.

    B = sum_i W_i median(y_i - F - g_i C) / sum_i W_i, W_i the mean weight n/v of stack i. Its
    error is a jackknife that leaves out one of six groups of neighbouring rows: few groups,
    since F absorbs the linear part of the medians and the rest is not smooth.

    Parameters
    ----------
    fit, store, stacks, k_gains
        As in `bias_offset`.
    prescan : ndarray of int
        Pixels of the reliable prescan columns.
    variances : ndarray, shape (stacks,)
        Pooled variances outside the imaging area.
    cols : int
        Columns of the frame.
    """
    pixels = prescan[fit.fitted[prescan]]
    if pixels.size == 0:
        return NO_OFFSET
    gain, _ = design(stacks)
    n = store.n[:, pixels].astype(np.float64)
    values = fit.values[:, pixels]
    residual = store.mean[:, pixels] - values[0] - gain[:, None] * values[1]
    residual /= np.asarray(k_gains)[:, None]
    err2 = 0.0 if store.err2 is None else store.err2[:, pixels] / np.maximum(n, 1) ** 2
    variance = variances[:, None] / np.maximum(n, 1) + err2
    weight = np.where((n > 0) & (variance > 0), 1 / np.where(variance > 0, variance, 1), n)

    def offset(keep: Array) -> float:
        medians, weights = [], []
        for r, w, good in zip(residual, weight, (n > 0) & keep, strict=True):
            if good.any():
                medians.append(np.median(r[good]))
                weights.append(w[good].mean())
        return float(np.average(medians, weights=weights))

    row = pixels // cols
    rows = np.unique(row)
    groups = min(JACKKNIFE_GROUPS, rows.size)
    value = offset(np.ones(pixels.size, dtype=bool))
    if groups < 2:
        return BiasOffset(value, 0.0, value, value)
    member = np.searchsorted(rows, row) * groups // rows.size
    parts = np.array([offset(member != group) for group in range(groups)])
    error = float(np.sqrt((groups - 1) / groups * ((parts - parts.mean()) ** 2).sum()))
    return BiasOffset(value, error, value + error, value - error)


def image_statistics(
    fit: Fit,
    store: StackStore,
    stacks: Sequence[Stack],
    imaging: Array,
    read_noise: float | None = None,
) -> ImageStatistics:
    """Statistics over the fitted pixels of the imaging area.

    Parameters
    ----------
    fit, store, stacks
        As in `bias_offset`.
    imaging : ndarray of int
        Pixels of the imaging area, telemetry rows left out.
    read_noise : float, optional
        Where the noise model gave it; else it is read off the stack of lowest g t.
    """
    pixels = imaging[fit.fitted[imaging]]
    if pixels.size == 0:
        nothing = (np.nan,) * 3
        return ImageStatistics(nothing, np.nan, nothing, np.nan)
    F, C, D = fit.values[:, pixels]
    if read_noise is None:
        read_noise = _read_noise(F, C, D, store, stacks, pixels)
    variances = _variances(fit, stacks, pixels)
    return ImageStatistics(
        means=(float(F.mean()), float(C.mean()), float(D.mean())),
        median_f=float(np.median(F)),
        variances=(float(variances[0]), float(variances[1]), float(variances[2])),
        read_noise=read_noise,
    )


def _variances(fit: Fit, stacks: Sequence[Stack], pixels: Array) -> Array:
    if fit.residual_variance is None:
        mean: Array = np.mean(fit.errors[:, pixels] ** 2, axis=1)
        return mean
    gain, gain_time = design(stacks)
    X = np.column_stack([np.ones_like(gain), gain, gain_time])
    scale = np.abs(X).max(axis=0)
    Q = np.diag(np.linalg.inv((X / scale).T @ (X / scale))) / scale**2
    variances: Array = float(np.mean(fit.residual_variance[pixels])) * Q
    return variances


def _read_noise(
    F: Array, C: Array, D: Array, store: StackStore, stacks: Sequence[Stack], pixels: Array
) -> float:
    """Read noise from the mean frame of the stack with the smallest g t.

    RN^2 = n V(y) - g^2 V(t D + C) - ((n - 1) r + 1) V(F), with V the variance over the
    imaging area and r the correlation with the mean frame of a stack like it.
    """
    gain, gain_time = design(stacks)
    low = int(np.argmin(gain_time))
    partner = _partner(gain, gain_time, [stack.exposure_time for stack in stacks], low)
    y, other = store.mean[low, pixels], store.mean[partner, pixels]
    spread = float(np.std(y) * np.std(other))
    covariance = float(np.mean((y - y.mean()) * (other - other.mean())))
    correlation = covariance / spread if spread > 0 else 0.0
    n = float(np.mean(store.n[low], dtype=np.float64))
    charge = stacks[low].exposure_time * D + C
    variance = (
        n * np.var(y) - gain[low] ** 2 * np.var(charge) - ((n - 1) * correlation + 1) * np.var(F)
    )
    if variance < 0:
        warnings.warn(
            "the read noise cannot be estimated from these stacks (its variance comes out "
            "negative); take more frames, or a stack of low gain close to the lowest",
            EmdarksWarning,
            stacklevel=4,
        )
        return float("nan")
    return float(np.sqrt(variance))


def _partner(gain: Array, gain_time: Array, times: Sequence[float], low: int) -> int:
    """Stack to correlate with: same time and next larger gain, else the second smallest g t."""
    candidates = [i for i, time in enumerate(times) if time == times[low] and gain[i] > gain[low]]
    if candidates:
        return min(candidates, key=lambda i: float(gain[i]))
    return int(np.argsort(gain_time, kind="stable")[1])
