"""What two approximations of simulated raw frames do to the maps of `validation.flight`.

    python -m validation.flight_law

Prints the errors of F, C and D that follow from the law of the simulated register, which is not
quite that of 604 stages, and from samples that are whole DN, so that the threshold T acts as the
nearest half step. To first order: A^-1 sum n J' V^-1 times the error of each expectation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from validation.flight_grid import GAINS, TIMES

from emdarks.counting_sums import Thresholds
from emdarks.fit.counting_errors import Expectations
from emdarks.fit.counting_terms import statistics
from emdarks.one_electron import one_electron
from emdarks.simulate import invented_linearity
from emdarks.simulate.register import STAGES, stage_probability

Array = npt.NDArray[Any]

NOISE, K_GAIN, C, D = 165.0, 8.7, 0.0088, 0.001
UNITS = np.array([1.0, C / 100, D / 100])


def simulated(frequency: Array, gain: float) -> Array:
    """E exp(i f x) of one electron in the simulated register; see `emdarks.simulate.register`."""
    p = stage_probability(gain)
    scale = math.expm1((STAGES - 1) * math.log1p(p) + math.log1p(-p))
    z = np.exp(1j * frequency)
    found: Array = z * (1 - scale * (z - 1)) ** (-(gain - 1) / scale)
    return found


def exact(frequency: Array, gain: float) -> Array:
    """The same stage by stage."""
    p = stage_probability(gain)
    z = np.exp(1j * frequency)
    for _ in range(STAGES):
        z = (1 - p) * z + p * z**2
    return z


def expected(
    law: Callable[[Array, float], Array], gain: float, charge: float, at: Thresholds, low: bool
) -> Array:
    """K and LO of samples below T2, or the mean below T, by the Fourier series of the law."""
    period = 400 * gain + 24 * NOISE
    f = 2 * np.pi / period * np.arange(1, math.ceil(9 * period / (2 * np.pi * NOISE)) + 1)
    transform = np.exp(charge * (law(f, gain) - 1) - (f * NOISE) ** 2 / 2)
    end = period - 12 * NOISE

    def above(u: float) -> tuple[float, float]:
        once, distance = 1j * transform / f, end - u
        stop, start = np.exp(-1j * f * end), np.exp(-1j * f * u)
        P = distance + 2 * (once @ (stop - start)).real
        H = distance**2 / 2 + 2 * (distance * once @ stop - (1j * once / f) @ (stop - start)).real
        return P / period, H / period

    P, H = above(at.T)
    mean = gain * charge - at.T - H
    if low:
        return np.array([mean / (1 - P)])
    beyond = above(at.T2)[0]
    return np.array([P - beyond, mean]) / (1 - beyond)


def of_register(gain: float, charge: float, at: Thresholds, low: bool) -> Array:
    """Error of each expectation from the simulated register."""
    difference: Array = expected(simulated, gain, charge, at, low) - expected(
        exact, gain, charge, at, low
    )
    return difference


def of_steps(gain: float, charge: float, at: Thresholds, low: bool) -> Array:
    """The same from whole DN."""
    linearity = invented_linearity()
    step = K_GAIN * float(linearity.at_gain(gain)[0])
    acts = (math.floor(at.T / step) + 0.5) * step
    electron = one_electron(gain, NOISE, STAGES, at.T)
    found = [
        statistics(T, charge, gain, NOISE, 0.0 if low else at.T2 - T, electron)
        for T in (at.T, acts)
    ]
    if low:
        return np.array([found[1]["K"][0] + acts - at.T - found[0]["K"][0]])
    below = (acts - at.T) * (1 - found[1]["K"][0])
    return np.array(
        [found[1]["K"][0] - found[0]["K"][0], found[1]["LO"][0] + below - found[0]["LO"][0]]
    )


def shift(of: Callable[[float, float, Thresholds, bool], Array]) -> Array:
    """Errors of F in e-, of C and D in per cent."""
    normal, right = np.zeros((3, 3)), np.zeros(3)
    for gain in map(float, GAINS):
        at, low = Thresholds.of(gain, NOISE, math.inf), gain < 2 * NOISE
        electron = one_electron(gain, NOISE, STAGES, at.T)
        for time in TIMES:
            charge, d = C + time * D, 0.0 if low else at.T2 - at.T
            one = Expectations.of(at.T, d, gain, time, NOISE, charge, electron)
            normal += one.information
            right += one.weighted @ of(gain, charge, at, low)
    found: Array = np.linalg.solve(normal, right) / UNITS
    return found


def main() -> None:
    """Print both."""
    for name, of in (("simulated register", of_register), ("whole DN", of_steps)):
        F, charge, dark = shift(of)
        print(f"{name}: F {F:+.3f} e-, C {charge:+.2f} %, D {dark:+.2f} %")


if __name__ == "__main__":
    main()
