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
#: Pixels beyond so many sigma are left out of numbers of all pixels.
FAR = 5.0
#: The variances of pixels tell that of all up to so many standard deviations above it.
_CUT = 1.0
#: Points of the integral of chi-square; rounds of the fit, and relative change that ends it.
_POINTS, _ROUNDS, _CLOSE = 2001, 60, 1e-6


@dataclass(frozen=True, slots=True)
class PixelNoise:
    """Read noise as one number, and as a map.

    Attributes
    ----------
    read_noise : Estimate
        That of a pixel which no cosmic ray hit: `typical_variance`.
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


def pixel_noise(
    n: Array, m2: Array, charge_variance: Array, row: Array | None = None
) -> PixelNoise:
    """Read noise of stacks in which charge adds little to the scatter.

    Parameters
    ----------
    n, m2 : ndarray, shape (stacks, pixels)
        Good samples of stacks of low gain, and sums of squared deviations from their mean.
    charge_variance : ndarray, shape (stacks,) or (stacks, pixels)
        Variance that the charge adds to a sample, F^2 g^2 (C + t D), EM electrons squared.
    row : ndarray of int, shape (pixels,), optional
        Row of each pixel, whose samples have noise in common.

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
    typical, error = typical_variance(variance + added, dof, added, row)
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


def typical_variance(
    variance: Array, dof: Array, added: Array | float = 0.0, row: Array | None = None
) -> tuple[float, float]:
    """Variance that all pixels have, of those that no cosmic ray raised.

    The variance of a pixel over what is expected of it follows chi-square over its degrees of
    freedom. Its mean below one standard deviation above 1 is known, whatever lies above, and
    the common variance is the one that gives this mean.

    Parameters
    ----------
    variance : ndarray, shape (pixels,)
        Of the samples of each pixel.
    dof : ndarray, shape (pixels,)
        Its degrees of freedom, whole numbers; pixels without any are left out.
    added : ndarray, shape (pixels,), or float
        What each pixel has in addition, and is known.
    row : ndarray of int, shape (pixels,), optional
        Row of each pixel: samples of one row have noise in common, and the error is that of rows.

    Returns
    -------
    tuple of (float, float)
        The variance and its 1-sigma error; NaN where no pixel tells it.
    """
    told = dof > 0
    if not told.any():
        return math.nan, math.nan
    V, own, k = variance[told], np.broadcast_to(added, dof.shape)[told], dof[told]
    freedoms, which = np.unique(k, return_inverse=True)
    cut, mean, slope = np.array([_lower_part(float(each)) for each in freedoms]).T[:, which]
    steepness = float((slope * k).sum())
    found = max(float(np.median(V - own)), np.finfo(float).tiny)
    for _ in range(_ROUNDS):
        ratio = V / (found + own)
        influence = np.where(ratio < cut, (ratio - mean) * k, 0.0)
        step = float(influence.sum()) / steepness
        found *= math.exp(min(max(step, -1.0), 1.0))
        if abs(step) < _CLOSE:
            break
    groups = influence if row is None else np.bincount(row[told], influence)
    return found, found * math.sqrt(float((groups**2).sum())) / steepness


def _lower_part(freedom: float) -> tuple[float, float, float]:
    """Of chi-square over its degrees of freedom: where it is cut, and its mean below.

    The third number is how fast the mean excess over this mean falls, where all is multiplied.
    """
    cut = 1.0 + _CUT * math.sqrt(2.0 / freedom)
    x = np.linspace(0.0, math.sqrt(cut), _POINTS)[1:]
    half = 0.5 * freedom
    # Of the root, whose density is finite at 0 even for one degree of freedom.
    log = half * math.log(half) - math.lgamma(half) + (freedom - 1.0) * np.log(x) - half * x**2
    density = 2.0 * np.exp(log)
    weight = density * np.where(np.arange(x.size) == x.size - 1, 0.5, 1.0) * (x[1] - x[0])
    if freedom == 1.0:
        weight[0] *= 1.5
    first = float((weight * x**2).sum())
    mean = first / float(weight.sum())
    return cut, mean, first - cut * (cut - mean) * float(density[-1]) / (2.0 * math.sqrt(cut))


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
