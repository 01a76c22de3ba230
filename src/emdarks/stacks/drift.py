"""Drift: how levels of single frames change along the sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    times: Sequence[Array], levels: Sequence[Array], errors: Sequence[float] | None = None
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
        good = np.isfinite(level)
        if good.sum() < 3:
            continue
        t, y = time[good] - time[good].mean(), level[good] - level[good].mean()
        square = (t**2).sum()
        # Scatter about the stack's own slope: a drift must not hide itself in the noise.
        slope = (t * y).sum() / square if square > 0 else 0.0
        variance = max(((y - slope * t) ** 2).sum() / max(good.sum() - 2, 1), floor**2)
        if variance > 0:
            numerator += (t * y).sum() / variance
            denominator += square / variance
    if denominator == 0:
        return Slope(0.0, math.inf)
    return Slope(float(numerator / denominator), float(denominator**-0.5))
