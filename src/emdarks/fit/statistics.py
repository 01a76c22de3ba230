"""Numbers about the maps as a whole: bias offset, read noise, means, variances."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.accumulate import Executor
from emdarks.errors import EmdarksWarning
from emdarks.fit.least_squares import Fit
from emdarks.fit.robust_statistics import Group
from emdarks.stacks import Stack, StackStore
from emdarks.stacks.design import design

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
    use = _fitted_among(prescan, fit)
    if not use.any():
        return NO_OFFSET
    gain, gain_time = design(stacks)

    def medians(i: int) -> list[float]:
        moments = store.n[i], store.mean[i]
        return [
            _core.residual_median(
                *moments, fit.values, fit.errors, gain[i], gain_time[i], shift, use
            )
            / k_gains[i]
            for shift in (0.0, -1.0, 1.0)
        ]

    offsets = np.array(executor.map(medians, range(len(stacks))))
    value, upper, lower = (float(mean) for mean in np.nanmean(offsets, axis=0))
    return BiasOffset(value, max(upper - value, value - lower), upper, lower)


def _fitted_among(pixels: Array, fit: Fit) -> Array:
    """Which pixels of the frame are among these and fitted; boolean."""
    use = np.zeros(fit.fitted.size, dtype=bool)
    use[pixels] = fit.fitted[pixels]
    return use


def pooled_bias_offset(
    fit: Fit,
    store: StackStore,
    stacks: Sequence[Stack],
    k_gains: Sequence[float],
    prescan: Array,
    variances: Array,
    cols: int,
    executor: Executor,
) -> BiasOffset:
    """Weighted mean over stacks of the median residual in the reliable prescan.

    B = sum_i W_i median(y_i - F - g_i C - g_i t_i D) / sum_i W_i, W_i the mean weight n/v of
    stack i, D 0 where it is not fitted. Its error is a jackknife that leaves out one of six
    groups of neighbouring rows: few groups, since F absorbs the linear part of the medians and
    the rest is not smooth.

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
    executor : Executor
        Who computes.
    """
    pixels = prescan[np.isfinite(fit.errors[0, prescan])]
    if pixels.size == 0:
        return NO_OFFSET
    row = pixels // cols
    seen = np.bincount(row) > 0
    groups = min(JACKKNIFE_GROUPS, int(seen.sum()))
    member = ((np.cumsum(seen) - 1) * groups // seen.sum())[row]
    rows = np.column_stack(design(stacks))

    def stack(i: int) -> Array:
        found = _left_out(fit, store, i, rows[i], pixels, variances[i], member, groups)
        found[0] /= k_gains[i]
        return found

    # [stack, median or weight, nothing and each group left out]; NaN where nothing is good.
    found = np.array(executor.map(stack, range(len(stacks))))
    known = np.isfinite(found[:, 0])
    medians, weights = np.where(known, found[:, 0], 0.0), np.where(known, found[:, 1], 0.0)
    value, *left_out = (medians * weights).sum(axis=0) / weights.sum(axis=0)
    if groups < 2:
        return BiasOffset(float(value), 0.0, float(value), float(value))
    parts = np.array(left_out)
    error = float(np.sqrt((groups - 1) / groups * ((parts - parts.mean()) ** 2).sum()))
    return BiasOffset(float(value), error, float(value + error), float(value - error))


def _left_out(
    fit: Fit,
    store: StackStore,
    i: int,
    row: Array,
    pixels: Array,
    variance: float,
    member: Array,
    groups: int,
) -> Array:
    """Median residual and mean weight of a stack: of all pixels, then without each group."""
    good = store.n[i, pixels] > 0
    if not good.all():
        pixels, member = pixels[good], member[good]
    n = store.n[i, pixels].astype(np.float64)
    F, C, D = fit.values[:, pixels]
    residual = store.mean[i, pixels] - F - row[0] * C - row[1] * D
    err2 = 0.0 if store.err2 is None else store.err2[i, pixels] / n**2
    error2 = variance / n + err2
    weight = np.where(error2 > 0, 1 / np.where(error2 > 0, error2, 1), n)
    counts = np.bincount(member, minlength=groups)
    weights = np.bincount(member, weight, minlength=groups)
    keeps = [np.ones(groups, dtype=bool)]
    if groups > 1:  # without the only one there is nothing
        keeps += list(~np.eye(groups, dtype=bool))
    with np.errstate(invalid="ignore"):
        means = [weights[keep].sum() / counts[keep].sum() for keep in keeps]
    medians = [_core.median(residual, keep[member]) for keep in keeps]
    return np.array([medians, means])


def image_statistics(
    fit: Fit,
    store: StackStore,
    stacks: Sequence[Stack],
    image: Group,
    read_noise: float | None = None,
) -> ImageStatistics:
    """Statistics over the fitted pixels of the imaging area.

    Parameters
    ----------
    fit, store, stacks
        As in `bias_offset`.
    image : Group
        These pixels.
    read_noise : float, optional
        Where the noise model gave it; else it is read off the stack of lowest g t.
    """
    size, means = image.means(fit.values)
    if size == 0:
        nothing = (np.nan,) * 3
        return ImageStatistics(nothing, np.nan, nothing, np.nan)
    if read_noise is None:
        read_noise = _read_noise(fit, means, store, stacks, image)
    variances = _variances(fit, stacks, image)
    return ImageStatistics(
        means=(float(means[0]), float(means[1]), float(means[2])),
        median_f=image.median(fit.values[0]),
        variances=(float(variances[0]), float(variances[1]), float(variances[2])),
        read_noise=read_noise,
    )


def _variances(fit: Fit, stacks: Sequence[Stack], image: Group) -> Array:
    if fit.residual_variance is None:
        return np.array([image.covariance(error, error, 0.0, 0.0) for error in fit.errors])
    gain, gain_time = design(stacks)
    X = np.column_stack([np.ones_like(gain), gain, gain_time])
    scale = np.abs(X).max(axis=0)
    Q = np.diag(np.linalg.inv((X / scale).T @ (X / scale))) / scale**2
    _, (mean,) = image.means(fit.residual_variance[None])
    variances: Array = float(mean) * Q
    return variances


def _read_noise(
    fit: Fit, means: Array, store: StackStore, stacks: Sequence[Stack], image: Group
) -> float:
    """Read noise from the mean frame of the stack with the smallest g t.

    RN^2 = n V(y) - g^2 V(t D + C) - ((n - 1) r + 1) V(F), with V the variance over the
    imaging area and r the correlation with the mean frame of a stack like it.
    """
    gain, gain_time = design(stacks)
    low = int(np.argmin(gain_time))
    partner = _partner(gain, gain_time, [stack.exposure_time for stack in stacks], low)
    F, C, D = fit.values
    y, other = store.mean[low], store.mean[partner]
    y_0, other_0 = (image.means(frame[None])[1][0] for frame in (y, other))
    v_y = image.covariance(y, y, y_0, y_0)
    spread = np.sqrt(v_y * image.covariance(other, other, other_0, other_0))
    covariance = image.covariance(y, other, y_0, other_0)
    correlation = covariance / spread if spread > 0 else 0.0
    n = float(np.mean(store.n[low], dtype=np.float64))
    time = stacks[low].exposure_time
    v_f, v_c, v_d = (
        image.covariance(x, x, x_0, x_0) for x, x_0 in zip((F, C, D), means, strict=True)
    )
    v_charge = v_c + 2 * time * image.covariance(C, D, means[1], means[2]) + time**2 * v_d
    variance = n * v_y - gain[low] ** 2 * v_charge - ((n - 1) * correlation + 1) * v_f
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
