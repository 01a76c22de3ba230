"""What one electron becomes in a register of so many stages.

In each of S stages every electron frees one more with probability p, g = (1 + p)^S. Of infinitely
many stages of small p what leaves is an exponential of mean g, and the law of a sample in
`src/core/law.hpp` is made of sums of such. Of fewer it is not quite: at g = 5000 and 604 stages
0.6 % more electrons pass a threshold of 660 e-. Here that law becomes a mixture of the same sums,
of 0 to 4 exponentials, some of whose weights are negative: with the same total, mean and variance,
and, with the read noise, the same probability and mean excess above T, on which the counts rest.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.errors import InputError

__all__ = [
    "EXPONENTIAL",
    "LEAST_STAGES",
    "check_stages",
    "excess_noise",
    "one_electron",
    "stage_probability",
]

Array = npt.NDArray[Any]

#: Of infinitely many stages: one exponential.
EXPONENTIAL: Array = np.eye(_core.MOST_EXPONENTIALS + 1)[1]
#: With fewer stages the mixture is no longer true.
LEAST_STAGES = 100
#: From here down the law of several electrons is an approximation; see `src/core/law.hpp`.
_LEAST_GAIN = 0.25
#: Samples lie between so many read noises below the level, and so many gains and read noises above.
_NOISES, _GAINS = 12.0, 60.0
#: The noise leaves no frequencies above so many inverse read noises.
_HIGHEST = 9.0


def stage_probability(gain: float, stages: float) -> float:
    """Probability that an electron frees another one in a stage: gain^(1 / stages) - 1."""
    return math.expm1(math.log(gain) / stages)


def excess_noise(gain: float, stages: float) -> float:
    """Variance over gain^2 of what Poisson electrons become, by their mean number.

    1 + (1 - 1/g) (1 - p) / (1 + p) with the p of a stage (T. E. Harris, *The Theory of Branching
    Processes*, 1963, chapter I, eq. 5.3); of infinitely many stages and high gain 2.
    """
    p = stage_probability(gain, stages)
    return 1.0 + (1.0 - 1.0 / gain) * (1.0 - p) / (1.0 + p)


def check_stages(stages: float) -> None:
    """Refuse registers that the mixture does not describe.

    Raises
    ------
    InputError
        Fewer than 100 stages.
    """
    if not stages >= LEAST_STAGES:
        raise InputError(
            f"{stages:g} stages of the gain register are fewer than {LEAST_STAGES}: the counting "
            "estimator does not know the law of so short a register"
        )


def one_electron(gain: float, read_noise: float, stages: float, T: float) -> Array:
    """Weights of the sums of 0 to 4 exponentials that one electron becomes.

    Parameters
    ----------
    gain : float
        EM gain.
    read_noise : float
        Read noise, e-.
    stages : float
        Stages of the register; infinity: `EXPONENTIAL`.
    T : float
        Where the probability and the mean excess are the true ones, above the level, e-.

    Returns
    -------
    ndarray, shape (5,)
        They add up to 1. `EXPONENTIAL` also where the register hardly widens the noise, at gains
        below a quarter of the read noise.
    """
    if math.isinf(stages) or gain <= _LEAST_GAIN * read_noise:
        return EXPONENTIAL
    return np.array(_mixture(gain, read_noise, stages, T))


@lru_cache(maxsize=256)
def _mixture(gain: float, read_noise: float, stages: float, T: float) -> tuple[float, ...]:
    """The weights, from five equations."""
    n = np.arange(EXPONENTIAL.size)
    highest, low = _GAINS * gain + _NOISES * read_noise, _NOISES * read_noise
    count = math.ceil(_HIGHEST / read_noise * (highest + low) / (2 * math.pi))
    frequency = 2 * math.pi / (highest + low) * np.arange(1, count + 1)
    each = [*(1 / (1 - 1j * frequency * gain) ** n[:, None]), _register(frequency, gain, stages)]
    noise = np.exp(-((frequency * read_noise) ** 2) / 2)
    P, H = _above(T, highest, frequency, np.array(each) * noise)
    squares = n * (n + 1.0)
    equations = np.stack([np.ones(n.size), n, squares, P[:-1] / P[-1], H[:-1] / H[-1]])
    known = np.array([1.0, 1.0, excess_noise(gain, stages), 1.0, 1.0])
    return tuple(np.linalg.solve(equations, known).tolist())


def _register(frequency: Array, gain: float, stages: float) -> Array:
    """E exp(i f x) of what one electron becomes: the generating functions of all stages."""
    p = stage_probability(gain, stages)
    z = np.exp(1j * frequency)
    for _ in range(round(stages)):
        z *= 1 - p + p * z
    return z


def _above(T: float, highest: float, frequency: Array, transform: Array) -> tuple[Array, Array]:
    """P(x > T) and E (x - T)+ by the Fourier series of a law that ends at ``highest``.

    Parameters
    ----------
    T, highest : float
        Threshold and end, e-.
    frequency : ndarray, shape (frequencies,)
        Multiples of the lowest one, whose period the law does not fill.
    transform : ndarray, shape (laws, frequencies)
        E exp(i f x).

    Returns
    -------
    tuple of ndarray, shape (laws,)
    """
    once = 1j * transform / frequency
    twice = 1j * once / frequency
    at_T, at_end = (np.exp(-1j * frequency * x) for x in (T, highest))
    distance, share = highest - T, frequency[0] / (2 * math.pi)
    P = distance + 2 * (once @ (at_end - at_T)).real
    H = distance**2 / 2 + 2 * (distance * once @ at_end - twice @ (at_end - at_T)).real
    return share * P, share * H
