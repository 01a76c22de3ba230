"""How the dark current depends on temperature, from the levels of single frames.

The mean level of frame f of stack s, EM electrons, is

    y_f = F + g_s (1 + d_s) (C + t_s D exp(b (T_f - T0))) + e_f,

with the temperature T_f of the frame, and b = d ln D / dT, which is constant over a few degrees.
d_s is the error of the EM gain of a stack, of zero mean, of which no more than the size is known:
what is given, as well as a few gains of known truth would tell it (the prior of a variance is an
inverse chi-square; Gelman et al., *Bayesian Data Analysis*, 2013, section 2.6). e_f is noise; its
size is taken from the scatter of the frames of each stack, so that the row bias that was left and
what rays add count.

For each b and each size of the d_s the model is linear, and its restricted likelihood, that of
what does not depend on F, C and D, is known (Harville, *J. Am. Stat. Assoc.* 72, 1977, 320). Summed
over the sizes it is a function of b: its maximum gives b, and its interval ends where twice its
logarithm has fallen by 1. T0 is the mean temperature of the frames, weighted by what each stack
says of D.

Over some degrees b says the same as an activation energy E of D ~ exp(-E / kT): E = b k T0^2; D
doubles every ln 2 / b degrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import REST, Estimate, mixture_quantile

Array = npt.NDArray[Any]

#: Degrees between the coldest and the warmest frame from which on a slope is fitted.
LEAST_SPREAD = 2.0
#: Slopes that are looked at, per degree: dark current doubles within 6 to 8 degrees, as a rule.
_STEEPEST, _SLOPES = 0.8, 41
#: Error of the EM gain of a stack, as a share, where nothing else is known.
GAIN_ERROR = 0.01
#: Frames so many standard deviations off the others of their stack are left out.
_OUTLYING = 5.0
#: Standard errors that a dark current is above 0 whose slope is told.
_LEAST_SIGMAS = 3.0
_ROUNDS = 4
#: Errors of the gains are at least and at most so many times what is given; sizes that are tried.
_LEAST, _LARGEST, _SIZES = 0.4, 100.0, 30
#: The error that is given is known as well as so many gains of known truth would tell it.
_KNOWN = 2.0
#: Least eigenvalue of a matrix that has 1 on its diagonal.
_SINGULAR = 1e-12
_BOLTZMANN, _ZERO_CELSIUS = 8.617333e-5, 273.15  # eV/K; K


@dataclass(frozen=True, slots=True)
class FrameLevels:
    """Mean levels of the frames of a stack.

    Attributes
    ----------
    gain, exposure_time : float
        Of the stack; seconds.
    level : ndarray, shape (frames,)
        Mean of the good samples of each frame, EM electrons.
    temperature : ndarray, shape (frames,)
        Degrees Celsius; NaN where unknown.
    """

    gain: float
    exposure_time: float
    level: Array
    temperature: Array

    def known(self) -> FrameLevels:
        """Those frames of which both are known."""
        return self.some(np.isfinite(self.level) & np.isfinite(self.temperature))

    def some(self, chosen: Array) -> FrameLevels:
        """Some of the frames."""
        return replace(self, level=self.level[chosen], temperature=self.temperature[chosen])


@dataclass(frozen=True, slots=True)
class DarkCurrentSlope:
    """Dark current and its slope with temperature.

    Attributes
    ----------
    temperature : float
        T0, degrees Celsius: the mean over the frames, weighted by what each stack says of D.
    spread : float
        Degrees between the coldest and the warmest frame.
    dark_current : Estimate
        At T0, electrons per pixel and second, mean of the area that the levels are from.
    slope : Estimate
        d ln D / dT, 1/K.
    activation_energy : Estimate
        eV.
    doubling : Estimate
        Degrees in which D doubles; infinite where the slope may be 0.
    frames : int
        Frames that were used.
    why_not : str
        Why there is no slope; empty where there is one.
    """

    temperature: float
    spread: float
    dark_current: Estimate
    slope: Estimate
    activation_energy: Estimate
    doubling: Estimate
    frames: int
    why_not: str = ""


def dark_current_slope(
    stacks: Sequence[FrameLevels], gain_error: float = GAIN_ERROR
) -> DarkCurrentSlope:
    """Fit the slope of the dark current with temperature.

    Parameters
    ----------
    stacks : sequence of FrameLevels
        All stacks.
    gain_error : float
        Error of the EM gain of each stack, as a share.

    Returns
    -------
    DarkCurrentSlope
        With NaN, and the reason, where temperatures spread by less than 2 degrees or the frames do
        not tell a slope.
    """
    used = [stack for stack in (each.known() for each in stacks) if stack.level.size > 1]
    if not used:
        return _without(np.zeros(0), "no headers tell the temperature of the frames")
    temperatures = np.concatenate([stack.temperature for stack in used])
    spread = float(np.ptp(temperatures))
    if spread < LEAST_SPREAD:
        return _without(
            temperatures,
            f"temperatures spread by {spread:.2g} degrees; a slope takes {LEAST_SPREAD:g}",
        )
    if len({stack.exposure_time for stack in used}) < 2:
        return _without(temperatures, "one exposure time tells no dark current")
    return _Fit(used, gain_error).result(spread)


def _without(temperatures: Array, reason: str) -> DarkCurrentSlope:
    """No slope, and the reason."""
    mean = float(temperatures.mean()) if temperatures.size else math.nan
    spread = float(np.ptp(temperatures)) if temperatures.size else math.nan
    unknown = (Estimate.unknown(),) * 4
    return DarkCurrentSlope(mean, spread, *unknown, temperatures.size, reason)


@dataclass(frozen=True, slots=True)
class _Solution:
    """The linear fit at one slope; the last of ``values`` is D.

    ``each``, ``variance`` and ``share`` are D, its variance and the probability of each size that
    the errors of the gains may have.
    """

    cost: float
    values: Array
    each: Array
    variance: Array
    share: Array

    def quantile(self, probability: float, more: float = 0.0) -> float:
        """Where D is below with a probability, if its variance is larger by ``more``."""
        return mixture_quantile(probability, self.each, self.variance + more, self.share)


class _Fit:
    """Levels of frames against the slope b."""

    def __init__(self, stacks: Sequence[FrameLevels], gain_error: float):
        self._stacks = [stack.some(_inlying(stack.level)) for stack in stacks]
        self._T0 = float(np.concatenate([stack.temperature for stack in stacks]).mean())
        self._noise = [_scatter(stack.level) for stack in self._stacks]
        self._signal = [_signal(stack, self._stacks) for stack in self._stacks]
        self._gain_error = gain_error
        gains = {stack.gain for stack in stacks}
        # Of one gain, F and C are one number.
        self._columns = (1, 2) if len(gains) == 1 else (0, 1, 2)

    def result(self, spread: float) -> DarkCurrentSlope:
        b = self._settled()
        slope = self._interval(b)
        found = self.at(b)
        self._T0 = self._mean_temperature()
        frames = sum(stack.level.size for stack in self._stacks)
        sure = found.quantile(NormalDist().cdf(-_LEAST_SIGMAS)) > 0
        if not (sure and math.isfinite(slope.low) and math.isfinite(slope.high)):
            reason = "the frames do not tell how the dark current changes with temperature"
            unknown = (Estimate.unknown(),) * 4
            return DarkCurrentSlope(self._T0, spread, *unknown, frames, reason)
        D = self._dark_current(b, slope)
        energy = slope.scaled(_BOLTZMANN * (self._T0 + _ZERO_CELSIUS) ** 2)
        return DarkCurrentSlope(self._T0, spread, D, slope, energy, _doubling(slope), frames)

    def _settled(self) -> float:
        """The best slope, with noise as the frames show it and without frames that are far off."""
        b = self._first()
        for _ in range(_ROUNDS):
            values = self.at(b).values
            for i, stack in enumerate(self._stacks):
                x = self._design(stack, b)
                rest = stack.level - x @ values
                good = _inlying(rest)
                self._noise[i] = _scatter(rest[good])
                self._stacks[i] = stack.some(good)
                self._signal[i] = self._signal[i][good]
                if 0 in self._columns and stack.gain > 1:
                    self._signal[i] = (x[:, 1:] @ values[1:])[good]
            b = _least(self._cost, b - _STEEPEST / 10, b + _STEEPEST / 10)
        return b

    def at(self, b: float) -> _Solution:
        """The fit of F, C and D at a slope, with errors of the gains as the stacks scatter."""
        k = len(self._columns)
        products = self._products(b)
        plain = (np.square(self._noise)[:, None, None] * products).sum(axis=0)
        # Twice the negative logarithm of the likelihood of what does not depend on F, C and D; the
        # inverse of noise^2 + (error signal) (error signal)^T is that of noise^2 but for one term.
        squares = (self._sizes * self._gain_error) ** 2
        ratio = squares * products[:, -1, -1]
        along = products[:, -1]
        less = np.einsum("zs,si,sj->zij", squares / (1.0 + ratio), along, along)
        whole = products.sum(axis=0) - less
        inverse, logs = _inverse(whole[:, :k, :k])
        to = whole[:, :k, k]
        values = (inverse @ to[..., None])[..., 0]
        costs = whole[:, k, k] - (to * values).sum(axis=1) + np.log1p(ratio).sum(axis=1) + logs
        costs += _KNOWN * (2.0 * np.log(self._sizes) + self._sizes**-2)[:, 0]
        shares = np.exp((costs.min() - costs) / 2)
        cost = float(costs.min() - 2.0 * np.log(shares.sum()) - _inverse(plain[None, :k, :k])[1][0])
        shares /= shares.sum()
        return _Solution(cost, shares @ values, values[:, -1], inverse[:, -1, -1], shares)

    def _products(self, b: float) -> Array:
        """Of the columns, the levels and the signal with each other, over the noise, by stack."""
        found = []
        for stack, noise, signal in zip(self._stacks, self._noise, self._signal, strict=True):
            rows = np.column_stack([self._design(stack, b), stack.level, signal]) / noise
            found.append(rows.T @ rows)
        return np.stack(found)

    @property
    def _sizes(self) -> Array:
        """Errors of the gains over those given that are tried, shape (sizes, 1)."""
        enough = len(self._stacks) > len(self._columns) + 1
        return (np.geomspace(_LEAST, _LARGEST, _SIZES) if enough else np.ones(1))[:, None]

    def _design(self, stack: FrameLevels, b: float) -> Array:
        current = np.exp(b * (stack.temperature - self._T0))
        one = np.ones_like(current)
        columns = (one, stack.gain * one, stack.gain * stack.exposure_time * current)
        return np.stack([columns[i] for i in self._columns], axis=1)

    def _cost(self, b: float) -> float:
        """Twice the negative logarithm of the likelihood; the dark current is positive."""
        found = self.at(b)
        return found.cost if found.values[-1] > 0 else math.inf

    def _first(self) -> float:
        """The slope of the least cost of a grid."""
        grid = np.linspace(-_STEEPEST, _STEEPEST, _SLOPES)
        return float(grid[np.argmin([self._cost(float(b)) for b in grid])])

    def _interval(self, b: float) -> Estimate:
        """Where the cost has risen by 1; infinite where it never does."""
        least = self._cost(b)
        low = _crossing(lambda x: self._cost(x) - least - 1.0, b, -_STEEPEST)
        high = _crossing(lambda x: self._cost(x) - least - 1.0, b, _STEEPEST)
        return Estimate(b, (high - low) / 2, low, high)

    def _mean_temperature(self) -> float:
        """Mean over the frames, weighted by what each stack says of D."""
        each = zip(self._stacks, self._noise, self._signal, strict=True)
        weights = np.array(
            [
                (s.gain * s.exposure_time) ** 2
                / (noise**2 / s.level.size + (self._gain_error * signal.mean()) ** 2)
                for s, noise, signal in each
            ]
        )
        means = np.array([stack.temperature.mean() for stack in self._stacks])
        return float(weights @ means / weights.sum())

    def _dark_current(self, b: float, slope: Estimate) -> Estimate:
        """D at T0; that b may be another adds to its error."""
        found, step = self.at(b), 1e-4
        more = ((self.at(b + step).values[-1] - found.values[-1]) / step * slope.error) ** 2
        low, value, high = (found.quantile(p, more) for p in (REST / 2, 0.5, 1.0 - REST / 2))
        return Estimate(value, (high - low) / 2, low, high)


def _inlying(values: Array) -> Array:
    """Which are not far from the others."""
    distance = np.abs(values - np.median(values))
    good: Array = distance <= _OUTLYING * 1.4826 * np.median(distance)
    return good


def _scatter(values: Array) -> float:
    """Standard deviation; more than 0, and larger where few frames tell it (Student's law)."""
    spread = math.sqrt(values.var() * values.size / max(values.size - 3, 1))
    return max(spread, 1e-9 * float(abs(values).max()), 1e-300)


def _signal(stack: FrameLevels, stacks: Sequence[FrameLevels]) -> Array:
    """What the gain multiplies: level above that of the lowest gain; 0 without gain."""
    lowest = min(stacks, key=lambda each: each.gain)
    base = float(np.median(lowest.level)) if len({each.gain for each in stacks}) > 1 else 0.0
    signal = abs(float(np.median(stack.level)) - base) if stack.gain > 1 else 0.0
    return np.full(stack.level.size, signal)


def _inverse(squares: Array) -> tuple[Array, Array]:
    """Inverses of positive matrices, shape (..., k, k), and logarithms of their determinants."""
    size = np.sqrt(np.diagonal(squares, axis1=-2, axis2=-1))
    outer = size[..., :, None] * size[..., None, :]
    values, vectors = np.linalg.eigh(squares / outer)
    some = values > _SINGULAR
    values = np.maximum(values, _SINGULAR)
    inverse = (vectors * (some / values)[..., None, :]) @ vectors.swapaxes(-2, -1) / outer
    return inverse, np.log(values).sum(axis=-1) + 2.0 * np.log(size).sum(axis=-1)


def _doubling(slope: Estimate) -> Estimate:
    """The inverse of b, times ln 2: its ends change places, and are infinite where b may be 0."""
    two = math.log(2.0)
    if slope.low <= 0:
        value = two / slope.value if slope.value > 0 else math.inf
        return Estimate(value, math.inf, two / slope.high if slope.high > 0 else math.inf, math.inf)
    low, high = two / slope.high, two / slope.low
    return Estimate(two / slope.value, (high - low) / 2, low, high)


def _least(cost: Callable[[float], float], lo: float, hi: float) -> float:
    """Where a function of one minimum has it (golden section)."""
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    a, b = hi - ratio * (hi - lo), lo + ratio * (hi - lo)
    cost_a, cost_b = cost(a), cost(b)
    for _ in range(25):
        if cost_a < cost_b:
            hi, b, cost_b = b, a, cost_a
            a = hi - ratio * (hi - lo)
            cost_a = cost(a)
        else:
            lo, a, cost_a = a, b, cost_b
            b = lo + ratio * (hi - lo)
            cost_b = cost(b)
    return (lo + hi) / 2


def _crossing(function: Callable[[float], float], inside: float, outside: float) -> float:
    """Where a function that is negative inside becomes positive; infinite where it does not."""
    step = math.copysign(0.002, outside - inside)
    at = inside
    while abs(at - inside) < abs(outside - inside):
        at, before, step = at + step, at, step * 1.5
        if function(at) > 0:
            lo, hi = before, at
            for _ in range(20):
                middle = (lo + hi) / 2
                lo, hi = (middle, hi) if function(middle) <= 0 else (lo, middle)
            return (lo + hi) / 2
    return math.copysign(math.inf, outside - inside)
