"""Excess noise of the gain register: scatter of samples against their charge, beside its theory.

The variance of a sample is r^2 + F^2 g^2 (C + t D), method page, eq. 2 (noise), with an excess
noise F^2 = 2 (g - 1) g^(-(N + 1)/N) + 1/g of a register of N stages (M. S. Robbins & B. J. Hadwen,
2003, IEEE Trans. Electron Devices 50, 1227), which is `emdarks.one_electron.excess_noise`. Here the
read noise and one factor of that theory are fitted to all pixels and stacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import Estimate, chi_square_tail, normal_tail
from emdarks.fit.noise_model import IDEAL_KAPPA, kurtosis_ratio
from emdarks.one_electron import excess_noise as theory_of

Array = npt.NDArray[Any]

_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class ExcessNoise:
    """Excess noise, and the read noise that comes with it.

    Attributes
    ----------
    factor : Estimate
        F^2 at the highest gain, by the stacks of all gains.
    theory : float
        Of a register of so many stages, at that gain.
    ratio : Estimate
        Measured over theory.
    p_value : float
        Probability that theory gives a ratio as far from 1.
    read_noise : Estimate
        r, EM electrons: of the same fit.
    stacks, errors, stack_theory : ndarray, shape (stacks,)
        F^2 of each stack with its 1-sigma error, and its theory; NaN where a stack cannot tell.
    """

    factor: Estimate
    theory: float
    ratio: Estimate
    p_value: float
    read_noise: Estimate
    stacks: Array
    errors: Array
    stack_theory: Array


class Samples(NamedTuple):
    """Samples of stacks, and their charge.

    Attributes
    ----------
    n, m2 : ndarray, shape (stacks, pixels)
        Good samples, and sums of squared deviations from their mean.
    gain, time : ndarray, shape (stacks,)
        EM gain, and exposure time, seconds.
    C, D : ndarray, shape (pixels,)
        Fitted maps before clipping; a plane that the stacks cannot tell is 0.
    use : ndarray of bool, shape (pixels,)
        Pixels of the imaging area that are fitted and not hot.
    """

    n: Array
    m2: Array
    gain: Array
    time: Array
    C: Array
    D: Array
    use: Array

    def freedom(self, i: int) -> Array:
        """Degrees of freedom of the scatter of the pixels used."""
        freedom: Array = np.maximum(self.n[i, self.use].astype(np.float64) - 1.0, 0.0)
        return freedom

    def charge(self, i: int) -> Array:
        """Electrons a frame of the pixels used."""
        charge: Array = self.C[self.use] + self.time[i] * self.D[self.use]
        return charge


def measure_excess_noise(
    samples: Samples, stages: float = math.inf, gain_error: float = 0.0
) -> ExcessNoise:
    """Fit read noise and excess noise to the scatter of samples.

    Parameters
    ----------
    samples : Samples
        Of stacks without unflagged cosmic rays: these raise the scatter far more than the mean.
    stages : float
        Stages of the register.
    gain_error : float
        Relative error that all gains have in common. Of maps from means g C is known, and F^2
        goes as 1/g; of counted ones C is, and F^2 goes as 1/g^2: give twice the error.

    Returns
    -------
    ExcessNoise
        NaN where no stack has charge enough to tell it.

    Notes
    -----
    Sums over pixels of M2 - (n - 1)(r^2 + k F^2 g^2 (C + t D)), weighted by stack, vanish. The
    error is the scatter of what each pixel adds to them (a sandwich with the pixel as the unit), so
    that skewed samples, errors of C and D and their correlation with the scatter are all in it.
    """
    found = _solve(samples, _per_charge(samples.gain, stages))
    stack_theory = np.array([theory_of(float(g), stages) for g in samples.gain])
    nothing = np.full(samples.gain.shape, np.nan)
    highest = float(stack_theory[int(np.argmax(samples.gain))])
    if found is None:
        unknown = Estimate.unknown()
        return ExcessNoise(
            unknown, highest, unknown, np.nan, unknown, nothing, nothing, stack_theory
        )
    values, errors = _stacks(samples, found)
    k = float(found.solution[1])
    error = math.hypot(float(found.errors[1]), gain_error * k)
    ratio = Estimate.normal(k, error)
    return ExcessNoise(
        ratio.scaled(highest),
        highest,
        ratio,
        normal_tail((k - 1.0) / error) if error > 0 else np.nan,
        _root(float(found.solution[0]), float(found.errors[0])),
        values,
        np.hypot(errors, gain_error * values),
        stack_theory,
    )


class _Solution(NamedTuple):
    """r^2 and factor of the theory, their errors, and what each pixel adds to r^2."""

    solution: Array
    errors: Array
    read_noise_influence: Array


def _per_charge(gain: Array, stages: float) -> Array:
    """Variance per electron: F^2 g^2."""
    return np.array([theory_of(float(g), stages) * g**2 for g in gain])


def _root(square: float, error: float) -> Estimate:
    """Of a square and its error, the root."""
    if not square > 0:
        return Estimate.unknown()
    return Estimate.normal(math.sqrt(square), 0.5 * error / math.sqrt(square))


def _solve(samples: Samples, slope: Array) -> _Solution | None:
    """Weighted equations for r^2 and the factor; None where they cannot be solved."""
    stacks = range(slope.size)
    dof = np.array([samples.freedom(i).sum() for i in stacks])
    charge = np.array([_mean(samples.charge(i), samples.freedom(i)) for i in stacks])
    v = np.array([samples.m2[i, samples.use].sum() for i in stacks]) / np.maximum(dof, 1)
    regressors = np.column_stack([np.ones_like(slope), slope * np.maximum(charge, 0.0)])
    told = dof > 0
    if not told.any() or not v[told].min() > 0:
        return None
    solution = np.array([v[told].min(), 1.0])
    for _ in range(_ROUNDS):
        weight = np.where(told, _weight(solution, regressors, samples.gain, charge, v), 0.0)
        matrix = (weight * dof * regressors.T) @ np.column_stack(
            [np.ones_like(slope), slope * charge]
        )
        if np.linalg.matrix_rank(matrix / np.abs(matrix).max()) < 2:
            return None
        inverse = np.linalg.inv(matrix)
        solution = inverse @ ((weight * dof * regressors.T) @ v)
    influence = inverse @ _influences(samples, slope, solution, (weight * regressors.T).T)
    errors = np.sqrt((influence**2).sum(axis=1))
    if not solution[1] > errors[1]:
        return None
    return _Solution(solution, errors, influence[0])


def _mean(values: Array, weights: Array) -> float:
    return float((values * weights).sum() / max(weights.sum(), 1.0))


def _weight(solution: Array, regressors: Array, gain: Array, charge: Array, v: Array) -> Array:
    """Inverse variance of a squared deviation: normal noise, and the kurtosis of the register."""
    model = np.maximum(regressors @ np.maximum(solution, 0.0), 1e-6 * v.max())
    fourth = kurtosis_ratio(IDEAL_KAPPA) * gain**4 * np.maximum(charge, 0.0)
    weight: Array = 1.0 / (2.0 * model**2 + fourth)
    return weight


def _influences(samples: Samples, slope: Array, solution: Array, weights: Array) -> Array:
    """What each pixel adds to the two equations, shape (2, pixels used)."""
    total = np.zeros((2, int(samples.use.sum())))
    for i, (s, w) in enumerate(zip(slope, weights, strict=True)):
        expected = solution[0] + solution[1] * s * samples.charge(i)
        total += w[:, None] * (samples.m2[i, samples.use] - samples.freedom(i) * expected)
    return total


def _stacks(samples: Samples, found: _Solution) -> tuple[Array, Array]:
    """F^2 of each stack by itself, with the read noise of all, and its error."""
    values, errors = np.full((2, samples.gain.size), np.nan)
    for i, gain in enumerate(samples.gain):
        freedom, charge = samples.freedom(i), samples.charge(i)
        signal = gain**2 * _mean(charge, freedom)
        if not (freedom.any() and signal > 0):
            continue
        m2 = samples.m2[i, samples.use]
        value = (m2.sum() / freedom.sum() - found.solution[0]) / signal
        expected = found.solution[0] + value * gain**2 * charge
        own = (m2 - freedom * expected) / freedom.sum() - found.read_noise_influence
        values[i], errors[i] = value, math.sqrt(float((own**2).sum())) / signal
    return values, errors


def agreement(excess: ExcessNoise, chosen: Sequence[int]) -> float:
    """Probability that theory gives stacks as far from it; their errors as if independent."""
    pulls = (excess.stacks - excess.stack_theory)[list(chosen)] / excess.errors[list(chosen)]
    pulls = pulls[np.isfinite(pulls)]
    return chi_square_tail(float((pulls**2).sum()), pulls.size) if pulls.size else math.nan
