"""The read noise that frames of low EM gain show."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.counting_sums import HistogramBins

Array = npt.NDArray[Any]
#: Quantiles of the lower half that tell the width: no charge and no ray moves them.
LOWEST, HIGHEST = 0.005, 0.5


def read_noise_of(histogram: Array, bins: HistogramBins, spread: float = 0.0) -> float:
    """Width of the lower half of a histogram of samples.

    The quantiles of a normal law are on a straight line; its slope is the width, whatever charge
    lies above.

    Parameters
    ----------
    histogram : ndarray, shape (bins,)
        Samples of stacks whose gain is small beside the read noise.
    bins : HistogramBins
        Their bins.
    spread : float
        Variance of the level over pixels, which is no noise.

    Returns
    -------
    float
        NaN where there are too few samples.
    """
    total = histogram.sum()
    if total < 100:
        return math.nan
    below = np.cumsum(histogram) / total
    use = np.flatnonzero((below > LOWEST) & (below < HIGHEST))
    if use.size < 3:
        return math.nan
    z = np.array([NormalDist().inv_cdf(float(share)) for share in below[use]])
    edges = bins.edges[use + 1]
    # Errors of neighbouring quantiles go together: weights that favour those far apart do little.
    weight = total * np.exp(-(z**2))
    middle_z, middle_x = (np.average(v, weights=weight) for v in (z, edges))
    slope = (weight * (z - middle_z) * (edges - middle_x)).sum()
    variance = (slope / (weight * (z - middle_z) ** 2).sum()) ** 2 - spread
    return math.sqrt(variance) if variance > 0 else math.nan
