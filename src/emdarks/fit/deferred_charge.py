"""Deferred charge: what the neighbours of hot pixels get of their charge.

Where charge is transferred incompletely, a part of it comes one transfer or a few later: behind a
hot pixel, in the order in which pixels are read, lies a trail. Many hot pixels show it: the mean of
their neighbours on the trailing side, less that of their neighbours on the leading side, by which
light that spreads to all sides, the dark current of neighbours and neighbours that are hot
themselves drop out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import Estimate
from emdarks.fit.noise_model import HOT_JUMP

Array = npt.NDArray[Any]

#: Pixels behind a hot one that are looked at.
REACH = 3
#: Hot pixels that are taken, the hottest first.
MOST = 2000
#: Scatters above the median from which on a pixel is hot enough.
LEAST = 10.0
#: No other pixel near a hot one has more than this share of its charge.
COMPANION = 0.2
#: Differences farther from the others, in standard deviations, are those of companions.
FAR = 5.0
#: Weight of the errors of the maps beside the scatter of the hot pixels, in hot pixels.
PRIOR = 20.0
_RESAMPLES, _ROUNDS = 400, 4
#: Least error of a pixel, of the charge of the hot one: planes without noise have none.
_LEAST_ERROR = 1e-9


@dataclass(frozen=True, slots=True)
class DeferredCharge:
    """Charge behind hot pixels, along one axis.

    Attributes
    ----------
    share : Estimate
        Charge in all pixels of the trail, of that of the hot pixel; what the leading side has is
        taken off. Signed: negative where the charge lies on the leading side.
    charge : Estimate
        The same of the mean hot pixel, in the unit of the plane.
    trailing, leading : ndarray, shape (reach,)
        Share of charge 1, 2, ... pixels behind and before a hot one, less that of other pixels
        around it.
    profile_error : ndarray, shape (reach,)
        1-sigma errors of both.
    pixels : int
        Hot pixels that told it.
    hot_charge : float
        Mean of their charge above the median, in the unit of the plane.
    """

    share: Estimate
    charge: Estimate
    trailing: Array
    leading: Array
    profile_error: Array
    pixels: int
    hot_charge: float


def deferred_charge(
    values: Array,
    errors: Array,
    axis: int,
    *,
    reach: int = REACH,
    direction: int = 1,
    step: float = 0.0,
) -> DeferredCharge:
    """Measure the trails behind isolated hot pixels.

    Parameters
    ----------
    values, errors : ndarray, shape (rows, columns)
        Dark current, or charge, of the imaging area before clipping, and its errors; NaN where
        it is not known.
    axis : {0, 1}
        0: trails along a column, of the transfer of rows. 1: trails along a row, of the
        transfer in the register.
    reach : int
        Pixels of a trail.
    direction : {1, -1}
        1: pixels of larger index are read later.
    step : float
        What one average electron does to a value: a lucky electron is no hot pixel.

    Returns
    -------
    DeferredCharge
        Estimates are NaN where there are fewer than 3 isolated hot pixels.

    Notes
    -----
    Each hot pixel of charge Q gives a difference d = (trailing) - (leading), and sum(w Q d) /
    sum(w Q^2) is the share, with weights of the errors of d. The error is that of a bootstrap over
    the hot pixels, and for few of them that of the errors of the maps: a mean of both variances in
    which the latter counts as 20 pixels.
    """
    turned = values if axis == 1 else values.T
    middle, noise, width = _background(values, errors)
    rows, columns, square = _isolated(turned, middle, width, reach, step)
    charge = square[:, reach + 1, reach + 1] - middle
    arms, beside = _arms(square, reach, direction)
    known = np.isfinite(arms).all(axis=(1, 2))
    charge, arms, beside = charge[known], arms[known], beside[known]
    if charge.size < 3:
        nothing = np.full(reach, np.nan)
        return DeferredCharge(
            Estimate.unknown(), Estimate.unknown(), nothing, nothing, nothing, charge.size, np.nan
        )
    difference = (arms[:, 0] - arms[:, 1]).sum(axis=1)
    near = _near_errors(errors if axis == 1 else errors.T, rows[known], columns[known], reach)
    sigma = np.maximum(np.sqrt(noise**2 + near**2), _LEAST_ERROR * charge)
    ratio, ratio_error = difference / charge, np.sqrt(2 * reach) * sigma / charge
    weight, share = _weights(ratio, ratio_error)
    error = _error(ratio, ratio_error, weight)
    profile = _profile(arms - beside[:, None, None], charge, weight)
    used = weight > 0
    hot = float(charge[used].mean())
    estimate = Estimate.normal(float(share), error)
    return DeferredCharge(
        estimate,
        estimate.scaled(hot),
        profile[0],
        profile[1],
        _profile_error(charge, weight, sigma, reach),
        int(used.sum()),
        hot,
    )


def _background(values: Array, errors: Array) -> tuple[float, float, float]:
    """Median, scatter of ordinary pixels beyond their errors, and scatter."""
    good = np.isfinite(values) & np.isfinite(errors)
    middle = float(np.median(values[good])) if good.any() else np.nan
    width = 1.4826 * float(np.median(np.abs(values[good] - middle))) if good.any() else np.nan
    error = float(np.median(errors[good])) if good.any() else np.nan
    return middle, float(np.sqrt(max(width**2 - error**2, 0.0))), width


def _isolated(
    values: Array, middle: float, width: float, reach: int, step: float
) -> tuple[Array, Array, Array]:
    """Rows and columns of isolated hot pixels, and the squares around them.

    The squares have shape (pixels, 2 reach + 3, 2 reach + 3): a border more than the trails, so
    that no trail of another hot pixel reaches into them unseen.
    """
    hot = np.nan_to_num(values, nan=-np.inf) > middle + LEAST * width + HOT_JUMP * step
    rows, columns = np.nonzero(hot)
    order = np.argsort(-values[rows, columns], kind="stable")[: 10 * MOST]
    rows, columns, side = rows[order], columns[order], reach + 1
    padded = np.pad(values, side, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * side + 1,) * 2)
    square = windows[rows, columns]
    centre = square[:, side, side].copy()
    square[:, side, side] = np.nan
    others = np.nan_to_num(square, nan=-np.inf).max(axis=(1, 2))
    square[:, side, side] = centre
    alone = np.flatnonzero(others - middle < COMPANION * (centre - middle))[:MOST]
    return rows[alone], columns[alone], square[alone]


def _arms(square: Array, reach: int, direction: int) -> tuple[Array, Array]:
    """Trailing and leading neighbours along rows, shape (pixels, 2, reach), and the others' mean.

    The others are in neither the row nor the column of the hot pixel.
    """
    side = reach + 1
    steps = direction * np.arange(1, reach + 1)
    arms = np.stack([square[:, side, side + steps], square[:, side, side - steps]], axis=1)
    others = square.copy()
    others[:, side, :] = others[:, :, side] = np.nan
    number = np.isfinite(others).sum(axis=(1, 2))
    beside = np.where(number > 0, np.nansum(others, axis=(1, 2)) / np.maximum(number, 1), np.nan)
    return arms, beside


def _near_errors(errors: Array, rows: Array, columns: Array, reach: int) -> Array:
    """Root mean squared error of the pixels of both arms."""
    padded = np.pad(errors, ((0, 0), (reach, reach)), constant_values=np.nan)
    steps = np.r_[0:reach, reach + 1 : 2 * reach + 1]
    near: Array = np.sqrt(np.nanmean(padded[rows[:, None], columns[:, None] + steps] ** 2, axis=1))
    return near


def _weights(ratio: Array, sigma: Array) -> tuple[Array, Array]:
    """Weights of shares along the last axis, 0 for those that lie far off, and their mean.

    Where shares scatter more than their errors say, tau^2 is added to each error: else a few of
    the hottest pixels would outweigh all others.
    """
    share, tau2 = np.median(ratio, axis=-1, keepdims=True), np.zeros((*ratio.shape[:-1], 1))
    weight = np.ones_like(ratio)
    for _ in range(_ROUNDS):
        spread2 = sigma**2 + tau2
        pull2 = (ratio - share) ** 2 / spread2
        # Half of the pulls of normal errors lie within 0.6745.
        typical = np.maximum(1.0, np.median(pull2, axis=-1, keepdims=True) / 0.6745**2)
        weight = np.where(pull2 < FAR**2 * typical, 1 / spread2, 0.0)
        total = weight.sum(axis=-1, keepdims=True)
        share = (weight * ratio).sum(axis=-1, keepdims=True) / total
        more = (weight * ((ratio - share) ** 2 - sigma**2)).sum(axis=-1, keepdims=True) / total
        tau2 = np.maximum(more, 0.0)
    return weight, share[..., 0]


def _error(ratio: Array, sigma: Array, weight: Array) -> float:
    """Error of the share, from a bootstrap over hot pixels and from the errors of the maps."""
    of_maps = float((weight**2 * sigma**2).sum()) / weight.sum() ** 2
    number = float(weight.sum() ** 2 / (weight**2).sum())
    rng = np.random.default_rng(0)  # the same error each time
    drawn = rng.integers(ratio.size, size=(_RESAMPLES, ratio.size))
    _, shares = _weights(ratio[drawn], sigma[drawn])
    # Residuals scatter less than errors: the share has taken one of them.
    of_pixels = float(shares.var()) * number / max(number - 1, 0.5)
    return float(np.sqrt((number * of_pixels + PRIOR * of_maps) / (number + PRIOR)))


def _profile(excess: Array, charge: Array, weight: Array) -> Array:
    """Mean shares, shape (2, reach): trailing and leading."""
    shares: Array = np.tensordot(weight, excess / charge[:, None, None], 1) / weight.sum()
    return shares


def _profile_error(charge: Array, weight: Array, sigma: Array, reach: int) -> Array:
    """Errors of the shares in a profile."""
    error = np.sqrt((weight**2 * sigma**2 / charge**2).sum()) / weight.sum()
    return np.full(reach, error)
