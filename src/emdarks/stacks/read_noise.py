"""The read noise that a stack shows, without a model of its charge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.accumulate import FrameFigures

Array = npt.NDArray[Any]

#: Factor between measured and stated noise from which on one of them is wrong.
FAR_NOISE = 2.0
#: How many times the stated charge a good detector may have.
_MUCH_CHARGE = 10.0
#: Excess noise of the register.
_EXCESS = 2.0


def _median_of_variance(freedom: Array) -> Array:
    """Median of variances estimated with so many degrees of freedom, true variance 1.

    Wilson and Hilferty's approximation to the median of chi-square; within 4 % from 1 on.
    """
    ratio: Array = (1 - 2 / (9 * freedom)) ** 3
    return ratio


def typical_noise(n: Array, m2: Array) -> float:
    """Standard deviation of the samples of the median pixel: few pixels cannot move it.

    Parameters
    ----------
    n, m2 : ndarray, shape (pixels, ...)
        Good samples, and sums of squared deviations from their mean.

    Returns
    -------
    float
        NaN where no pixel is good twice.
    """
    # By number of samples: what M2 has to be divided by; nothing tells the noise of fewer than 2.
    freedom = np.maximum(np.arange(int(n.max(initial=0)) + 1) - 1.0, 1.0)
    unit = freedom * _median_of_variance(freedom)
    unit[:2] = np.nan
    return math.sqrt(_core.median((m2 / unit[n]).reshape(-1)))


def bulk_noise(typical: float, figures: Sequence[FrameFigures]) -> float:
    """Noise of the bulk of the pixels in the bulk of the frames; 0 where it cannot be told.

    A frame that is off in all pixels alike raises the scatter about their means: what the levels
    of the frames scatter is taken off. A fixed pattern raises the scatter within every frame.
    Each alone is too much, the lesser is nearer to the noise.

    Parameters
    ----------
    typical : float
        See `typical_noise`.
    figures : sequence of FrameFigures
        The frames.
    """
    levels = np.array([each.level for each in figures if math.isfinite(each.level)])
    if levels.size < 2 or not typical > 0:
        return 0.0
    freedom = np.array([levels.size - 1.0])
    shifts = float(levels.var(ddof=1) / _median_of_variance(freedom)[0])
    rest = math.sqrt(max(typical**2 - shifts, 0.0))
    return min(rest, float(np.nanmedian([each.scatter for each in figures])))


def shows_read_noise(em_gain: float, charge: float, read_noise: float) -> bool:
    """Whether even much charge, amplified, adds less than the read noise."""
    return _EXCESS * em_gain**2 * _MUCH_CHARGE * charge < read_noise**2
