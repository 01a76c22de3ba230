"""A number with its error and a 68.27 % interval, and intervals of numbers that cannot be negative.

The scatter of row means, or the peak of a fitted surface, is never 0, even where the truth is. An
interval of the true amplitude must then begin at 0 as often as it should. `bounded_estimate`
inverts a family of tests: for each amplitude a the statistic lies, with a probability of 68.27 %,
between two quantiles. At a = 0 all that is left out lies above, at large a half of it above and
half below (compare G. J. Feldman & R. D. Cousins, 1998, Phys. Rev. D 57, 3873, sec. IV); the change
from one to the other depends on a alone, so that the coverage is exact for every a.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Probability of one standard deviation to both sides of a normal law, and what is left of it.
COVERAGE = math.erf(math.sqrt(0.5))
REST = 1.0 - COVERAGE
#: Halvings of an interval, and doublings until it holds the solution.
_HALVINGS, _DOUBLINGS = 40, 60
#: From so many degrees of freedom and noncentrality on a cube root of chi-square is normal.
_MANY = 1000.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number as it was measured.

    Attributes
    ----------
    value : float
        The best guess; NaN where nothing can be known.
    error : float
        1-sigma error; half of the interval where this is not symmetric.
    low, high : float
        Interval that holds the truth with a probability of 68.27 %.
    """

    value: float
    error: float
    low: float
    high: float

    @classmethod
    def normal(cls, value: float, error: float) -> Self:
        """Of a number whose error is normal."""
        return cls(float(value), float(error), float(value - error), float(value + error))

    @classmethod
    def unknown(cls) -> Self:
        """Of a number that nothing tells."""
        return cls(*(math.nan,) * 4)

    def scaled(self, factor: float) -> Estimate:
        """The same in another unit; a positive factor."""
        return Estimate(*(factor * x for x in (self.value, self.error, self.low, self.high)))


def bounded_estimate(below: Callable[[float], float], scale: float) -> Estimate:
    """Estimate an amplitude that is 0 or more from the law of a statistic that rises with it.

    Parameters
    ----------
    below : callable
        Probability that the statistic comes out at most as large as it did, if the amplitude is
        the argument. Falls with the amplitude.
    scale : float
        An amplitude that hardly stands out of the noise: from there on the interval has two ends.
        It may depend on the noise, not on what came out.

    Returns
    -------
    Estimate
        The value is the amplitude for which half of all experiments would give less; 0 where even
        without an amplitude most would give more.
    """

    def above(a: float) -> float:
        """Probability that is left out above."""
        return 0.5 * REST * (1.0 + math.exp(-((a / scale) ** 2)))

    value = _fall(lambda a: below(a) - 0.5, scale)
    low = _fall(lambda a: below(a) - (1.0 - above(a)), scale)
    high = _fall(lambda a: below(a) - (REST - above(a)), scale)
    return Estimate(value, 0.5 * (high - low), low, high)


def _fall(function: Callable[[float], float], scale: float) -> float:
    """Where a falling function is 0; 0 where it already begins below."""
    if not function(0.0) > 0:
        return 0.0
    low, high = 0.0, scale
    for _ in range(_DOUBLINGS):
        if not function(high) > 0:
            break
        low, high = high, 2.0 * high
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return 0.5 * (low + high)


def chi_square_tail(x: float, freedom: int, noncentrality: float = 0.0) -> float:
    """Probability that chi-square is larger than x.

    A Poisson mixture of central laws (N. L. Johnson, S. Kotz & N. Balakrishnan, *Continuous
    Univariate Distributions*, vol. 2, 1995, chapter 29), each of which has one term more than the
    one before. Of a thousand degrees of freedom and more, the cube root is normal (S. H.
    Abdel-Aty, 1954, Biometrika 41, 538).

    Parameters
    ----------
    x : float
        Value.
    freedom : int
        Degrees of freedom, 1 or more.
    noncentrality : float
        Sum of the squares of the means, in standard deviations.
    """
    if not x > 0:
        return 1.0 if x <= 0 else math.nan
    if freedom + noncentrality > _MANY:
        return 1.0 - NormalDist().cdf(_cube_root(x, freedom, noncentrality))
    half, mean = 0.5 * x, 0.5 * noncentrality
    a = 1.0 if freedom % 2 == 0 else 0.5
    tail = math.exp(-half) if a == 1.0 else math.erfc(math.sqrt(half))
    weight, left, total = math.exp(-mean), 1.0, 0.0
    # A step of a by 1 is one of two degrees of freedom, or of one electron of the Poisson law.
    index = 0
    while left > 1e-12:
        if 2 * a >= freedom:
            total += weight * tail
            left -= weight
            index += 1
            weight *= mean / index
            if index > mean and weight < 1e-16:
                break
        tail += math.exp(a * math.log(half) - half - math.lgamma(a + 1.0))
        a += 1.0
    return min(total, 1.0)


def _cube_root(x: float, freedom: float, noncentrality: float) -> float:
    """Normal deviate of a chi-square."""
    mean = freedom + noncentrality
    spread = 2.0 * (freedom + 2.0 * noncentrality) / (9.0 * mean**2)
    root: float = (x / mean) ** (1.0 / 3.0)
    return (root - (1.0 - spread)) / math.sqrt(spread)


def normal_tail(z: float) -> float:
    """Probability of a normal deviate farther from 0, to either side."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def mixture_quantile(probability: float, means: Array, variances: Array, shares: Array) -> float:
    """Quantile of a mixture of normal laws.

    Where the size of an error is itself known from few numbers, the law has wider wings than a
    normal one, and its standard deviation holds the truth too often (Student's law is such a
    mixture); quantiles hold it as often as they should.

    Parameters
    ----------
    probability : float
        Of a lower value, between 0 and 1.
    means, variances, shares : ndarray, shape (laws,)
        Of each law; the shares add up to 1.
    """
    sigma = np.sqrt(variances)
    reach = 2.0 - NormalDist().inv_cdf(min(probability, 1.0 - probability))
    low, high = float((means - reach * sigma).min()), float((means + reach * sigma).max())
    for _ in range(_DOUBLINGS):
        middle = 0.5 * (low + high)
        z = (means - middle) / (math.sqrt(2.0) * sigma)
        below = 0.5 * sum(s * math.erfc(x) for s, x in zip(shares, z, strict=True))
        low, high = (middle, high) if below < probability else (low, middle)
    return 0.5 * (low + high)
