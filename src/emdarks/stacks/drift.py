"""Drift: how levels of single frames change along the sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Slope:
    """Change of a level from time 0 to time 1, and its standard error."""

    value: float
    error: float

    @property
    def sigmas(self) -> float:
        """The change in standard errors; 0 where nothing tells."""
        return self.value / self.error if math.isfinite(self.error) else 0.0


def sequence_times(starts: Sequence[Array]) -> list[Array]:
    """Time of every frame of every stack, 0 to 1 over the campaign.

    Parameters
    ----------
    starts : sequence of ndarray
        Starts of the exposures, stack by stack; NaN where unknown.

    Returns
    -------
    list of ndarray
        Input order takes the place of time, 0 to 1 in each stack, where starts are
        unknown, or where most are the same (planes of a cube).
    """
    everything = np.concatenate(list(starts)) if len(starts) else np.empty(0)
    known = everything.size > 0 and bool(np.isfinite(everything).all())
    if known and np.unique(everything).size > max(1, everything.size // 2):
        return [(times - everything.min()) / np.ptp(everything) for times in starts]
    return [np.linspace(0.0, 1.0, times.size) for times in starts]


def common_slope(
    times: Sequence[Array], levels: Sequence[Array], errors: Sequence[float] | Array | None = None
) -> Slope:
    """Slope that all stacks share, each with a level of its own.

    Parameters
    ----------
    times, levels : sequence of ndarray
        Of each stack; levels that are not finite are left out, and so are stacks with fewer
        than three.
    errors : sequence of float, optional
        Least standard error of a level, stack by stack. The scatter of the levels about
        their own slope counts where it is larger.

    Returns
    -------
    Slope
        With an infinite error where no stack tells.
    """
    numerator = denominator = 0.0
    floors = np.zeros(len(times)) if errors is None else np.asarray(errors)
    for time, level, floor in zip(times, levels, floors, strict=True):
        own = _own_slope(time, level)
        if own is None:
            continue
        variance = max(own.residual / own.freedom, floor**2)
        if variance > 0:
            numerator += own.product / variance
            denominator += own.square / variance
    if denominator == 0:
        return Slope(0.0, math.inf)
    return Slope(float(numerator / denominator), float(denominator**-0.5))


def excess_scatter(
    times: Sequence[Array], levels: Sequence[Array], errors: Sequence[float] | Array
) -> float:
    """By how much levels scatter about the slopes of their stacks, in units of their errors.

    Parameters
    ----------
    times, levels : sequence of ndarray
        As in `common_slope`.
    errors : sequence of float
        Standard error that noise alone gives a level, stack by stack.

    Returns
    -------
    float
        The median of all stacks, which one wild frame does not move; 0 where none has three
        levels.
    """
    found = []
    for time, level, error in zip(times, levels, errors, strict=True):
        own = _own_slope(time, level)
        if own is not None and error > 0:
            # The median of chi squared (Wilson and Hilferty 1931).
            median = own.freedom * (1 - 2 / (9 * own.freedom)) ** 3
            found.append(own.residual / (median * error**2))
    return math.sqrt(float(np.median(found))) if found else 0.0


class _Line(NamedTuple):
    """Sums of a stack's levels y about their mean at times t about theirs.

    ``product`` sum of t y, ``square`` of t^2, ``residual`` of squares about the stack's own slope
    (a drift must not hide itself in the noise), with its degrees of freedom.
    """

    product: float
    square: float
    residual: float
    freedom: int


def _own_slope(time: Array, level: Array) -> _Line | None:
    """None with fewer than three levels."""
    good = np.isfinite(level)
    if good.sum() < 3:
        return None
    t, y = time[good] - time[good].mean(), level[good] - level[good].mean()
    product, square = float((t * y).sum()), float((t**2).sum())
    slope = product / square if square > 0 else 0.0
    residual = float(((y - slope * t) ** 2).sum())
    return _Line(product, square, residual, max(int(good.sum()) - 2, 1))
