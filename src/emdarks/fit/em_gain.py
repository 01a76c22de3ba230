"""EM gains from the frames: maximum likelihood of each stack's histogram of samples.

The samples of dark frames hold the gain of the register: what one electron becomes is
exponential with the gain as its mean. The histogram of all good samples of the imaging area is
compared with the law of a sample, from 4 read noises below the level to 5 read noises and 8
gains above it. Unknown are gain, charge, level, width, and a density of ray charges that is
flat below 8 electrons; charges of ordinary pixels spread as the fit found, and hot pixels enter
with the charges of their fit. Bins are Poisson numbers; steps are those of Fisher's scoring.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.counting_sums import T_NOISE, HistogramBins
from emdarks.fit.counting import CountedStacks, CountingFit
from emdarks.fit.counting_terms import statistics
from emdarks.one_electron import EXPONENTIAL

Array = npt.NDArray[Any]

#: Gains from so many read noises on can be fitted.
LEAST_GAIN = 3.0
#: The range of the histogram: read noises below the level, and above it with gains.
BELOW, ABOVE_NOISE, ABOVE_GAIN = 4.0, 5.0, 8.0
#: Ray charges count from so many gains on.
RAYS_FROM = 0.7
#: Hot pixels up to this charge enter, in classes of 1/6 octave.
MOST_CHARGE, CLASSES = 12.0, 6
STEPS, SETTLED = 15, 1e-5


@dataclass(frozen=True)
class GainFit:
    """Gains as the frames have them.

    Attributes
    ----------
    gain, error : ndarray, shape (stacks,)
        One gain a commanded value, and its 1-sigma error; the commanded value and 0 where it
        cannot be measured.
    stack_gain, stack_error : ndarray, shape (stacks,)
        Of each stack alone.
    rays : ndarray, shape (stacks,)
        Density of small ray charges, share of the samples per electron; NaN where not fitted.
    """

    gain: Array
    error: Array
    stack_gain: Array
    stack_error: Array
    rays: Array


@dataclass(frozen=True)
class Samples:
    """A stack's histogram, and what is known of its pixels.

    ``electron`` is what one electron becomes (`one_electron`), which hardly changes with the gain.
    ``mixture`` holds charges and shares of hot pixels, ``ordinary`` the share of the others,
    ``spread`` the relative scatter of their charges.
    """

    edges: Array
    counts: Array
    total: float
    mixture: Array
    ordinary: float
    spread: float
    electron: Array = field(default_factory=EXPONENTIAL.copy)

    @classmethod
    def of(
        cls,
        histogram: Array,
        bins: HistogramBins,
        level_and_gain: tuple[float, float],
        mixture: Array,
        hot: float,
        spread: float,
    ) -> Samples:
        """The bins from 4 read noises below the level to 5 read noises and 8 gains above it."""
        level, g = level_and_gain
        edges, rn = bins.edges, bins.read_noise
        inside = (edges[:-1] >= level - BELOW * rn - 1) & (
            edges[1:] <= level + ABOVE_NOISE * rn + ABOVE_GAIN * g
        )
        at = np.flatnonzero(inside)
        ends = edges[at[0] : at[-1] + 2]
        return cls(ends, histogram[at] * 1.0, float(histogram.sum()), mixture, 1 - hot, spread)

    def expected(self, p: Array) -> Array:
        """Expected counts of gain, charge, level, width and ray density."""
        gain, charge, level, width, rays = p
        two = charge * np.array([1 - self.spread, 1 + self.spread])
        charges = np.concatenate([two, self.mixture[0]])
        shares = np.concatenate([np.full(2, self.ordinary / 2), self.mixture[1]])
        u = np.tile(self.edges - level, charges.size)
        P = statistics(u, np.repeat(charges, self.edges.size), gain, width, 0.0, self.electron)["P"]
        tail = shares @ P.reshape(charges.size, -1)
        flat = rays * np.diff(self.edges) / gain * (self.edges[:-1] > RAYS_FROM * gain)
        found: Array = self.total * np.maximum(tail[:-1] - tail[1:] + flat, 1e-15)
        return found

    def fit(self, start: Array, step: Array, most: Array) -> tuple[float, float, float]:
        """Gain, its error, and ray density: Fisher's scoring with numeric derivatives.

        Parameters
        ----------
        start, step, most : ndarray, shape (5,)
            Parameters to start from; steps of differences; largest changes.
        """
        p, first = start.copy(), start[0]
        # Gain, charge and width stay positive.
        least = np.array([0.2 * first, 1e-6, -np.inf, 0.2 * start[3], -np.inf])
        for _ in range(STEPS):
            m = self.expected(p)
            D = np.stack([(self.expected(p + s) - m) / s.sum() for s in np.diag(step)], axis=1)
            information = D.T @ (D / m[:, None])
            scaled = information + 1e-12 * np.diag(np.diag(information))
            by = np.clip(np.linalg.solve(scaled, D.T @ (self.counts / m - 1)), -most, most)
            p = np.maximum(p + by, least)
            if abs(by[0]) < SETTLED * first:
                break
        variance = float(np.linalg.inv(information)[0, 0])
        return float(p[0]), math.sqrt(variance) if variance > 0 else math.inf, float(p[4])


def fit_gains(
    stacks: CountedStacks, fit: CountingFit, histograms: Array, bins: HistogramBins
) -> GainFit:
    """Measure the EM gain of every commanded value of 3 read noises or more.

    Parameters
    ----------
    stacks : CountedStacks
        Stacks; bias-subtracted, so that all have one level.
    fit : CountingFit
        Their fit with the gains as they are taken to be.
    histograms : ndarray of int64, shape (stacks, bins)
        Good samples of the imaging area.
    bins : HistogramBins
        Their bins.
    """
    size = stacks.gain.size
    gain, error = stacks.gain.copy(), np.full(size, np.inf)
    rays = np.full(size, np.nan)
    for i in np.flatnonzero(stacks.commanded >= LEAST_GAIN * stacks.nominal_noise):
        one = _stack(stacks, fit, histograms[i], bins, int(i))
        if one is not None:
            # Too few samples tell nothing: the equations are singular.
            with suppress(np.linalg.LinAlgError):
                gain[i], error[i], rays[i] = one.fit(*_start(stacks, fit, int(i)))
    gain = np.where(np.isfinite(error), gain, stacks.gain)
    joint, joint_error = stacks.gain.copy(), np.zeros(size)
    for g in np.unique(stacks.commanded[np.isfinite(error)]):
        same = (stacks.commanded == g) & np.isfinite(error)
        weight = 1 / error[same] ** 2
        joint[stacks.commanded == g] = (weight * gain[same]).sum() / weight.sum()
        joint_error[stacks.commanded == g] = 1 / math.sqrt(weight.sum())
    return GainFit(joint, joint_error, gain, np.where(np.isfinite(error), error, 0.0), rays)


def _stack(
    stacks: CountedStacks, fit: CountingFit, histogram: Array, bins: HistogramBins, i: int
) -> Samples | None:
    """The part of a histogram that is fitted; None where it is empty."""
    mixture, hot = _mixture(stacks, fit, i)
    _, C, D = fit.level[1]
    charge = max(C + stacks.time[i] * D, 1e-4)
    spread = min(stacks.time[i] * math.sqrt(fit.spread[1, 1]) / charge, 0.9)
    place = stacks.T[i] - T_NOISE * stacks.nominal_noise, stacks.commanded[i]
    found = Samples.of(histogram, bins, place, mixture, hot, spread)
    if found.counts.sum() == 0:
        return None
    return replace(found, electron=stacks.electron[i])


def _mixture(stacks: CountedStacks, fit: CountingFit, i: int) -> tuple[Array, float]:
    """Charges and shares of classes of hot pixels, and the share of all of them."""
    imaging = stacks.imaging & (fit.group >= -2)
    hot = fit.hot & imaging
    charge = fit.values[1, hot] + stacks.time[i] * fit.values[2, hot]
    return classes_of(charge, stacks.n[i, hot] / max(float(stacks.n[i, imaging].sum()), 1.0))


def classes_of(charge: Array, share: Array) -> tuple[Array, float]:
    """Hot pixels in classes of 1/6 octave.

    Parameters
    ----------
    charge, share : ndarray, shape (pixels,)
        Charge of each, and its share of all samples.

    Returns
    -------
    mixture : ndarray, shape (2, classes)
        Charges and shares of the classes up to `MOST_CHARGE`.
    share : float
        That of all together.
    """
    classes = np.round(CLASSES * np.log2(np.clip(charge, 0.01, 200)))
    found = [(charge[classes == k].mean(), share[classes == k].sum()) for k in np.unique(classes)]
    kept = [(c, s) for c, s in found if s > 0 and c < MOST_CHARGE]
    return np.array(kept).reshape(-1, 2).T, float(share.sum())


def _start(stacks: CountedStacks, fit: CountingFit, i: int) -> tuple[Array, Array, Array]:
    """Parameters to start from, steps of differences, and largest changes."""
    rn, g, members = stacks.read_noise, stacks.gain[i], fit.members(1)
    kept = stacks.n[i, members] - stacks.beyond[i, members] * 1.0
    share = stacks.above[i, members].sum() / max(kept.sum(), 1.0)
    charge = max(share * math.exp(4 * rn / g), 1e-6)
    F = fit.values[0, members]
    start = np.array([g, charge, F.mean(), math.hypot(rn, F.std()), 1e-6])
    step = np.array([0.002 * g, 0.002 * charge, 0.005 * rn, 0.002 * rn, 1e-6])
    most = np.array([0.2 * g, 0.5 * charge + 1e-5, rn, 0.1 * rn, 1e-2])
    return start, step, most
