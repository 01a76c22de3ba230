"""Read noise of each pixel, from the scatter of its samples at low gain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import REST, Estimate, bounded_estimate, chi_square_tail
from emdarks.photon_counts import beta_quantile

Array = npt.NDArray[Any]

#: A pixel is noisy from so many sigma on.
NOISY = 3.0
#: Pixels beyond so many sigma are not among those that tell the read noise of all.
FAR = 5.0


@dataclass(frozen=True, slots=True)
class PixelNoise:
    """Read noise as one number, and as a map.

    Attributes
    ----------
    read_noise : Estimate
        Root mean square over pixels, those beyond 5 sigma left out.
    plane, errors : ndarray, shape (pixels,)
        Of each pixel, and its 1-sigma error; NaN where fewer than 2 samples are good. 0 where the
        charge explains all of the scatter.
    noisy, outlying : ndarray of bool, shape (pixels,)
        Noise above that of all by 3 sigma, and by 5 sigma: what is to be left out of numbers of
        all pixels are the latter, since without the former these would be too small.
    counted : int
        How many.
    expected : float
        How many are expected of pixels that are all alike.
    excess : Estimate
        Pixels that are noisy beyond that.
    """

    read_noise: Estimate
    plane: Array
    errors: Array
    noisy: Array
    outlying: Array
    counted: int
    expected: float
    excess: Estimate


def pixel_noise(n: Array, m2: Array, charge_variance: Array) -> PixelNoise:
    """Read noise of stacks in which charge adds little to the scatter.

    Parameters
    ----------
    n, m2 : ndarray, shape (stacks, pixels)
        Good samples of stacks of low gain, and sums of squared deviations from their mean.
    charge_variance : ndarray, shape (stacks,) or (stacks, pixels)
        Variance that the charge adds to a sample, F^2 g^2 (C + t D), EM electrons squared.

    Returns
    -------
    PixelNoise

    Notes
    -----
    The variance of a pixel follows chi-square; its upper quantile is that of E. B. Wilson & M. M.
    Hilferty (1931), PNAS 17, 684. Noise that a whole row or frame has in common is in it, too.
    """
    freedom = np.maximum(n.astype(np.float64) - 1.0, 0.0)
    own = charge_variance if charge_variance.ndim == 2 else charge_variance[:, None]
    dof = freedom.sum(axis=0)
    told = dof > 0
    total = (m2 * (freedom > 0)).sum(axis=0)
    variance = np.where(told, (total - (freedom * own).sum(axis=0)) / np.maximum(dof, 1), np.nan)
    added = np.where(told, (freedom * own).sum(axis=0) / np.maximum(dof, 1), np.nan)
    typical, error = _typical(variance, added, dof)
    noisy, outlying = (
        told & (variance > _upper(typical + added, dof, sigmas) - added) for sigmas in (NOISY, FAR)
    )
    expected = float(told.sum()) * (1.0 - NormalDist().cdf(NOISY))
    plane = np.sqrt(np.maximum(variance, 0.0))
    spread = (np.maximum(variance, 0.0) + added) * np.sqrt(2.0 / np.maximum(dof, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.where(plane > 0, spread / (2 * plane), np.sqrt(spread))
    return PixelNoise(
        _square_root(typical, error),
        plane,
        errors,
        noisy,
        outlying,
        int(noisy.sum()),
        expected,
        _excess(int(noisy.sum()), expected),
    )


def _typical(variance: Array, added: Array, dof: Array) -> tuple[float, float]:
    """Mean variance, weighted by samples, without pixels that are far noisier; its error."""
    told = dof > 0
    if not told.any():
        return math.nan, math.nan
    middle = float(np.median(variance[told]))
    for _ in range(3):
        use = told & (variance <= _upper(max(middle, 0.0) + added, dof, FAR) - added)
        if not use.any():
            return math.nan, math.nan
        middle = float((dof * np.where(use, variance, 0.0)).sum() / dof[use].sum())
    influence = dof[use] * (variance[use] - middle)
    return middle, float(np.sqrt((influence**2).sum()) / dof[use].sum())


def _upper(mean: Array, dof: Array, sigmas: float) -> Array:
    """Variance that is exceeded as rarely as a normal deviate exceeds so many sigma."""
    unit = 2.0 / (9.0 * np.maximum(dof, 1.0))
    upper: Array = mean * (1.0 - unit + sigmas * np.sqrt(unit)) ** 3
    return upper


def _square_root(square: float, error: float) -> Estimate:
    if not square > 0:
        return Estimate.unknown()
    root = math.sqrt(square)
    return Estimate.normal(root, 0.5 * error / root)


def _excess(counted: int, expected: float) -> Estimate:
    """Pixels beyond those that chance makes noisy, a Poisson number."""
    if not expected > 0:
        return Estimate.unknown()

    def at_most(k: float) -> float:
        """Probability of k false ones or fewer; between whole numbers straight."""
        low = math.floor(k)
        ends = [
            chi_square_tail(2 * expected, 2 * (n + 1)) if n >= 0 else 0.0 for n in (low, low + 1)
        ]
        return ends[0] + (k - low) * (ends[1] - ends[0])

    def below(a: float) -> float:
        return at_most(counted - a - 0.5)

    return bounded_estimate(below, math.sqrt(2.0 * expected))


def share_interval(counted: int, pixels: int) -> tuple[float, float]:
    """68.27 % interval of the probability of which ``counted`` of ``pixels`` are a draw.

    That of H. Jeffreys (L. D. Brown, T. T. Cai & A. DasGupta, 2001, Stat. Sci. 16, 101): its
    coverage is right on average, where that of Clopper and Pearson is never too low.
    """
    if pixels == 0:
        return math.nan, math.nan
    a, b = np.array([counted + 0.5]), np.array([pixels - counted + 0.5])
    low = float(beta_quantile(0.5 * REST, a, b)[0]) if counted > 0 else 0.0
    high = float(beta_quantile(1.0 - 0.5 * REST, a, b)[0]) if counted < pixels else 1.0
    return low, high
