"""How many pixels are hot: counts above thresholds of dark current, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import Estimate
from emdarks.fit.pixel_noise import share_interval

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class HotCount:
    """Pixels above a threshold.

    Attributes
    ----------
    threshold : float
        In the unit of the plane.
    counted : int
        Pixels above it that stand out of the noise, too.
    count : Estimate
        Pixels of this detector above it: what is counted less false ones; the error is that of
        pixels close to the threshold, which noise lifts above it or below. The interval reaches up
        to all that lie above the threshold, whether they stand out of the noise or not; it holds
        whole numbers, so that it covers as often as it says at least.
    share : Estimate
        Share of such pixels among all that are known, and the interval of the probability that a
        pixel is one (Jeffreys): to compare detectors.
    expected_false : float
        Ordinary pixels that noise alone lifts so high.
    hidden : float
        Share of pixels in which the threshold lies below what stands out of the noise: where it
        is not small, the count is a lower limit.
    """

    threshold: float
    counted: int
    count: Estimate
    share: Estimate
    expected_false: float
    hidden: float


def hot_counts(
    values: Array, errors: Array, limit: Array, false_rate: float, thresholds: Sequence[float]
) -> list[HotCount]:
    """Count pixels above thresholds.

    Parameters
    ----------
    values, errors : ndarray, any shape
        Dark current before clipping, and its errors; NaN where it is not known.
    limit : ndarray, of the same shape
        Value from which on a pixel stands out of its neighbourhood
        (`emdarks.bad_pixels.standing_out`).
    false_rate : float
        Probability that noise lifts an ordinary pixel above its limit.
    thresholds : sequence of float
        In the unit of the values.

    Returns
    -------
    list of HotCount
    """
    known = np.isfinite(values) & np.isfinite(errors) & np.isfinite(limit)
    x, e, least = values[known], errors[known], limit[known]
    found = [_count(x, e, least, false_rate, float(threshold)) for threshold in thresholds]
    return [_at_least(each, [h for h in found if h.threshold > each.threshold]) for each in found]


def _at_least(found: HotCount, higher: Sequence[HotCount]) -> HotCount:
    """What lies above a higher threshold lies above this one, too: false ones are less of it."""
    value, low, high = (
        max([getattr(each.count, name) for each in [found, *higher]])
        for name in ("value", "low", "high")
    )
    return replace(found, count=replace(found.count, value=value, low=low, high=high))


def _count(x: Array, e: Array, limit: Array, false_rate: float, threshold: float) -> HotCount:
    pixels = x.size
    if pixels == 0:
        unknown = Estimate.unknown()
        return HotCount(threshold, 0, unknown, unknown, math.nan, math.nan)
    counted = int((x > np.maximum(limit, threshold)).sum())
    dubious = int((x > threshold).sum()) - counted
    hidden = limit > threshold
    # Where the threshold lies higher than the limit, noise reaches it still more rarely.
    false = false_rate * float(np.count_nonzero(hidden))
    error = math.sqrt(_uncertain(x[~hidden], e[~hidden], threshold) + false)
    # Counts are whole: k to both sides hold what lies within k + 1/2.
    reach = max(error, math.ceil(error - 0.5))
    low, high = share_interval(counted, pixels)
    return HotCount(
        threshold,
        counted,
        Estimate(
            max(counted - false, 0.0),
            error + 0.5 * dubious,
            max(counted - false - reach, 0.0),
            counted + reach + dubious,
        ),
        Estimate(counted / pixels, 0.5 * (high - low), low, high),
        false,
        float(hidden.mean()),
    )


def _uncertain(x: Array, e: Array, threshold: float) -> float:
    """Variance of the number of pixels that noise puts on the wrong side of a threshold."""
    near = np.flatnonzero(np.abs(x - threshold) < 6 * e)
    share = [0.5 * math.erfc(z) for z in ((threshold - x[near]) / e[near] / math.sqrt(2.0))]
    return float(sum(p * (1.0 - p) for p in share))
