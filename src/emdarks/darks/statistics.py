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

__all__ = ["BiasOffset", "ImageStatistics", "bias_offset", "image_statistics"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class BiasOffset:
    """What the bias subtraction left in the prescan, DN."""

    value: float
    upper: float
    lower: float

    @property
    def error(self) -> float:
        """The larger distance to a bound."""
        return max(self.upper - self.value, self.value - self.lower)


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
        mean(s^2) Q_kk for F, C and D.
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
        return BiasOffset(0.0, 0.0, 0.0)
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
    value, upper, lower = np.nanmean(offsets, axis=0)
    return BiasOffset(float(value), float(upper), float(lower))


def image_statistics(
    fit: Fit, store: StackStore, stacks: Sequence[Stack], imaging: Array
) -> ImageStatistics:
    """Statistics over the fitted pixels of the imaging area.

    Parameters
    ----------
    fit, store, stacks
        As in `bias_offset`.
    imaging : ndarray of int
        Pixels of the imaging area, telemetry rows left out.
    """
    pixels = imaging[fit.fitted[imaging]]
    if pixels.size == 0:
        nothing = (np.nan,) * 3
        return ImageStatistics(nothing, np.nan, nothing, np.nan)
    F, C, D = fit.values[:, pixels]
    gain, gain_time = design(stacks)
    X = np.column_stack([np.ones_like(gain), gain, gain_time])
    scale = np.abs(X).max(axis=0)
    Q = np.diag(np.linalg.inv((X / scale).T @ (X / scale))) / scale**2
    variances = float(np.mean(fit.residual_variance[pixels])) * Q
    return ImageStatistics(
        means=(float(F.mean()), float(C.mean()), float(D.mean())),
        median_f=float(np.median(F)),
        variances=(float(variances[0]), float(variances[1]), float(variances[2])),
        read_noise=_read_noise(F, C, D, store, stacks, pixels),
    )


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
