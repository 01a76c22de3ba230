"""Telegraph pixels: two levels in time, found in the means of every few frames.

Model. A mean of n frames at the level m, EM electrons, has the variance V(m) / n with

    V(m) = rn^2 + e (m - F),

with the read noise rn, the offset F of the pixel, and e = variance of the register's output over
its mean, EM electrons (2 g at high EM gain g). The root of

    N = n (m - F + rn^2 / e) / e

then scatters by 1/2 at any level (M. S. Bartlett, *J. R. Stat. Soc. Suppl.* 3, 1936, 68). With the
mean L of N, a mean costs

    min(2 (sqrt N - sqrt L)^2, c)

Where read noise rules this is half the squared deviation of the normal law. Where charge does it is
the exponent of the law of what the register makes of lambda = 2 L electrons, exponentials in a
Poisson number: -ln of its density at x is (sqrt(x / g) - sqrt lambda)^2 up to slower terms. So a
mean without charge speaks against a level with lambda electrons as loudly as it should.

The ceiling c makes a single outlying mean, such as one with a cosmic ray, count as an outlier of
either level. No level lies below that of a pixel without charge.

A pixel without levels costs the least sum S0 over one L, or over one whose charge changes evenly
with time by 20 % up and down: a hot pixel follows the temperature of the detector. A pixel with two
has the least sum S2 over two levels and all ways of switching between them, each switch costing w:
the best way is found by dynamic programming (Viterbi, *IEEE Trans. Inf. Theory* 13, 1967, 260), the
levels are those of the least cost for the means that are at them, and both are repeated from
several starts. A mean within which the level switches may lie anywhere between both. It is a
telegraph pixel where S0 - S2 is above a threshold, and each level lasts so long that two means in a
row, which rays may have hit both, do not make it.

Only pixels are looked at closely of which neighbouring means deviate alike, the sum of
(d_i + d_(i+1))^2 over the deviations d of one level.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Most that a mean costs; a switch; and what two levels must explain of the cost. Together: a lower
#: ceiling bears more rays and leaves less evidence of short levels.
CEILING, SWITCH, THRESHOLD = 6.0, 2.0, 8.25
#: Most that a mean costs that lies between both levels, where one switches to the other.
_BETWEEN = 1.0
#: Candidates: this share of the pixels, and all whose neighbouring means deviate alike by so
#: many standard deviations more than those of most pixels.
_CANDIDATES, _ALIKE = 0.04, 2.0
#: Starts of the two levels, and of one: shares of the means that are below them.
_STARTS = ((0.1, 0.9), (0.3, 0.7), (0.5, 0.96), (0.04, 0.5))
_LEVELS = (0.2, 0.5, 0.8)
#: Rounds from each start; for all pixels, from their mean.
_ROUNDS, _FEW_ROUNDS = 3, 2
#: Share of the threshold that the first round must reach.
_NEAR = 0.25
#: Most that the charge of a pixel with one level changes with time, as a share, up and down: that
#: of dark current within two degrees.
DRIFT = 0.2
#: Means that a level must have, outliers not counted.
_FEWEST_MEANS = 2
#: How long it must last, with its share of those means within which it switches: so many means, or
#: this share of the sequence where that is less.
_SHORTEST, _LEAST_SHARE = 2.4, 0.1
# Half the deviance, cut at the first: its mean, and its deviation over that, by the law of
# chi-square.
_CUT, _CUT_MEAN, _CUT_DEVIATION = 1.5, 0.429, 1.114
#: Pixels at a time.
_CHUNK = 1 << 13


@dataclass(frozen=True, slots=True)
class TelegraphPixels:
    """Pixels with two levels in time, arrays of shape (found,).

    Attributes
    ----------
    pixel : ndarray of int
        Where they are, ascending.
    low, high : ndarray
        Levels, in the unit of the means.
    low_error, high_error : ndarray
        Their standard errors.
    occupancy : ndarray
        Share of the frames at the high level.
    switches : ndarray of int
        How often the level changes along the sequence.
    evidence : ndarray
        What two levels explain of the cost, in units of the logarithm of a likelihood.
    """

    pixel: Array
    low: Array
    high: Array
    low_error: Array
    high_error: Array
    occupancy: Array
    switches: Array
    evidence: Array


@dataclass(frozen=True, slots=True)
class SampleNoise:
    """Variance of a sample: read_noise^2 + excess (level - offset).

    Attributes
    ----------
    read_noise : float
        In the unit of the means.
    excess : float
        Variance over mean of what charge becomes, in the unit of the means: the EM gain times the
        square of its excess noise factor; 1 without gain.
    """

    read_noise: float
    excess: float

    @property
    def shift(self) -> float:
        """The charge whose variance is that of the read noise."""
        return self.read_noise**2 / self.excess

    @property
    def least_root(self) -> float:
        """Root of the counts per frame of a pixel without charge."""
        return self.read_noise / self.excess

    def counts(self, level: Array) -> Array:
        """Counts of a Poisson law with the same scatter, from levels above the offset."""
        return (level + self.shift) / self.excess

    def level(self, counts: Array) -> Array:
        """The inverse of `counts`."""
        return counts * self.excess - self.shift


def telegraph_pixels(
    means: Sequence[Array] | Array,
    n: Sequence[Array] | Array,
    noise: SampleNoise,
    *,
    offset: Array | float = 0.0,
    chosen: Array | None = None,
    threshold: float = THRESHOLD,
) -> TelegraphPixels:
    """Find pixels with two levels in time.

    Parameters
    ----------
    means : sequence of ndarray, shape (planes,) of (pixels,)
        Means of every few frames, in order of time, in EM electrons; not looked at where ``n`` is
        0. Those of `emdarks.accumulate.SequenceMeans`.
    n : sequence of ndarray of integers, shape (planes,) of (pixels,)
        Numbers of good samples.
    noise : SampleNoise
        Of a sample.
    offset : ndarray, shape (pixels,), or float
        What a sample without charge reads, EM electrons (the fixed pattern). It matters where
        charge makes most of the noise.
    chosen : ndarray of bool, shape (pixels,), optional
        Look at these pixels alone, and take the drift that all pixels share from them.
    threshold : float
        Evidence from which on a pixel has two levels. By the default 1 pixel in 10,000 with one
        level is found at most, whatever its noise is made of.

    Returns
    -------
    TelegraphPixels
        None where there are fewer than four planes.

    Notes
    -----
    What all pixels share, the median of each plane, is taken off first: no drift of the bias makes
    levels.
    """
    size = means[0].size
    offsets = np.broadcast_to(np.asarray(offset, np.float64), (size,))
    wanted = np.arange(size) if chosen is None else np.flatnonzero(chosen)
    if len(means) < 2 * _FEWEST_MEANS or not wanted.size:
        return _joined([])
    drift = _common_drift(means, n, wanted)
    found = []
    for lo in range(0, wanted.size, _CHUNK):
        some = wanted[lo : lo + _CHUNK]
        frames = np.stack([plane[some] for plane in n]).astype(np.float32)
        levels = np.stack([plane[some] for plane in means]).astype(np.float32)
        levels -= drift[:, None].astype(np.float32)
        levels -= offsets[some].astype(np.float32)
        levels[frames == 0] = 0.0
        found.append(_found_in(_Series.of(levels, frames, noise), some, offsets, threshold))
    return _joined(found)


def _common_drift(means: Sequence[Array] | Array, n: Sequence[Array] | Array, at: Array) -> Array:
    """What each plane has more than the others in all pixels."""
    some = at[:: max(1, at.size >> 16)]
    levels = np.stack([plane[some] for plane in means]).astype(np.float64)
    levels[np.stack([plane[some] for plane in n]) == 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels and planes without samples
        levels -= np.nanmean(levels, axis=0)
        drift = np.nan_to_num(np.nanmedian(levels, axis=1))
    found: Array = drift - drift.mean()
    return found


@dataclass(frozen=True, slots=True)
class _Series:
    """Counts per frame N / n of means, their roots, and the frames n, shape (planes, pixels)."""

    counts: Array
    roots: Array
    frames: Array
    noise: SampleNoise

    @classmethod
    def of(cls, levels: Array, frames: Array, noise: SampleNoise) -> _Series:
        counts = noise.counts(levels)
        return cls(counts, np.sqrt(np.maximum(counts, 0.0)), frames, noise)

    def of_pixels(self, some: Array) -> _Series:
        counts, roots, frames = (x[:, some] for x in (self.counts, self.roots, self.frames))
        return _Series(counts, roots, frames, self.noise)

    def costs(self, root: Array) -> Array:
        """What each mean costs at a level, given as its root."""
        found: Array = self.roots - root
        found *= found
        found *= self.frames
        found *= 2.0
        return np.minimum(found, CEILING, out=found)

    def root(self, weights: Array) -> Array:
        """The level of the least cost for those means that have a weight."""
        weights = weights * self.frames
        root: Array = (weights * self.roots).sum(axis=0) / np.maximum(weights.sum(axis=0), 1.0)
        return np.maximum(root, self.noise.least_root)

    def rate(self, weights: Array) -> Array:
        """Mean counts of those means that have a weight."""
        weights = weights * self.frames
        rate: Array = (weights * self.counts).sum(axis=0) / np.maximum(weights.sum(axis=0), 1.0)
        return rate

    def one_level(self, root: Array, rounds: int = _ROUNDS) -> tuple[Array, Array]:
        """Level without outliers, and the cost of each mean, begun at a level."""
        costs = self.costs(root)
        for _ in range(rounds):
            root = self.root(costs < CEILING)
            costs = self.costs(root)
        return root, costs

    def drifting_costs(self, root: Array) -> Array:
        """Cost of each mean, where the charge changes evenly with time; begun with one level."""
        time = np.linspace(-1.0, 1.0, len(self.counts), dtype=self.counts.dtype)[:, None]
        empty = max(self.noise.least_root**2, 1e-9)
        rate = np.maximum(root**2, empty)
        costs = self.costs(root)
        for _ in range(_ROUNDS):
            w = np.where(costs < CEILING, self.frames / rate, 0.0)
            total, x, y = w.sum(axis=0), (w * time).sum(axis=0), (w * self.counts).sum(axis=0)
            xx, xy = (w * time**2).sum(axis=0), (w * time * self.counts).sum(axis=0)
            slope = (total * xy - x * y) / np.maximum(total * xx - x**2, 1e-30)
            middle = (y - slope * x) / np.maximum(total, 1e-30)
            most = DRIFT * np.maximum(middle - empty, 0.0)
            slope = np.clip(slope, -most, most)
            middle = (y - slope * x) / np.maximum(total, 1e-30)
            rate = np.maximum(middle + slope * time, empty)
            costs = self.costs(np.sqrt(rate))
        return costs


def _found_in(series: _Series, pixels: Array, offsets: Array, threshold: float) -> TelegraphPixels:
    """Those of some pixels that have two levels."""
    likely = np.flatnonzero(_candidates(series, threshold))
    series = series.of_pixels(likely)
    one = _one_level_cost(series)
    # Most candidates are far from it, which the first round shows.
    near = one - _best_levels(series, 1).cost > _NEAR * threshold
    likely, one, series = likely[near], one[near], series.of_pixels(near)
    best = _best_levels(series)
    noisy = best.excess_noise
    evidence = (one - best.cost) / noisy
    sure = (evidence > threshold) & best.has_two_levels(series)
    return best.pixels(series, noisy, evidence, np.flatnonzero(sure), pixels[likely], offsets)


def _candidates(series: _Series, threshold: float) -> Array:
    """Pixels of which neighbouring means deviate alike more than those of most pixels do.

    None whose one level costs too little for two to explain so much of it.
    """
    planes = len(series.roots)
    lower = np.ones(series.roots.shape, bool)
    np.put_along_axis(lower, series.roots.argmax(axis=0)[None], False, axis=0)
    root, costs = series.one_level(series.root(lower), _FEW_ROUNDS)
    deviations = np.copysign(np.sqrt(2 * costs), series.roots - root)
    alike = ((deviations[1:] + deviations[:-1]) ** 2).sum(axis=0)
    middle, most = (float(np.quantile(alike, share)) for share in (0.5, 1.0 - _CANDIDATES))
    # Of independent deviations the mean is 2 a mean, the variance 12.
    limit = max(middle, 2.0 * planes) * (1.0 + _ALIKE * math.sqrt(3.0 / planes))
    found: Array = (alike > min(most, limit)) & (costs.sum(axis=0) > threshold + SWITCH)
    return found


def _one_level_cost(series: _Series) -> Array:
    """The least cost of one level, or of one that changes evenly with time."""
    found = []
    for share in _LEVELS:
        root, costs = series.one_level(_quantile(series, share))
        found += [costs.sum(axis=0), series.drifting_costs(root).sum(axis=0)]
    least: Array = np.min(found, axis=0)
    return least


def _quantile(series: _Series, share: float) -> Array:
    """The root that a share of the means is below."""
    at = round(share * (len(series.roots) - 1))
    found: Array = np.partition(series.roots, at, axis=0)[at]
    return np.maximum(found, series.noise.least_root)


@dataclass(slots=True)
class _TwoLevels:
    """The best two levels, as roots (2, pixels); where each mean is, and what it costs."""

    roots: Array
    high: Array
    switching: Array
    costs: Array
    cost: Array

    def has_two_levels(self, series: _Series) -> Array:
        """Whether each lasts long enough, in means that are no outliers."""
        good = (self.costs < CEILING) & ~self.switching
        low, high = self.roots**2
        share = np.clip((series.counts - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
        share *= self.switching
        at_high = (good & self.high).sum(axis=0)
        at_low = (good & ~self.high).sum(axis=0)
        enough = np.minimum(at_high, at_low) >= _FEWEST_MEANS
        at_high = at_high + share.sum(axis=0)
        at_low = at_low + (self.switching - share).sum(axis=0)
        shortest = min(_SHORTEST, _LEAST_SHARE * len(self.costs))
        both: Array = enough & (np.minimum(at_high, at_low) >= shortest) & (high > low)
        return both

    @property
    def excess_noise(self) -> Array:
        """Variance of the means over the expected one, 1 where it may be by chance."""
        scatter = np.minimum(self.costs, _CUT).mean(axis=0) / _CUT_MEAN
        noisy: Array = np.maximum(1.0, scatter - 2 * _CUT_DEVIATION / np.sqrt(len(self.costs)))
        return noisy

    def steady(self, some: Array) -> tuple[Array, Array]:
        """Means of some pixels that belong to the low and the high level, shape (planes, pixels).

        Not beside a switch, which is somewhere within such a mean, unless there are too few others.
        """
        high, good = self.high[:, some], self.costs[:, some] < CEILING
        switch = high[1:] != high[:-1]
        none = np.zeros((1, high.shape[1]), bool)
        beside = np.concatenate([none, switch]) | np.concatenate([switch, none])
        found = []
        for state in (good & ~high, good & high):
            enough = (state & ~beside).sum(axis=0) >= _FEWEST_MEANS
            found.append(state & ~(beside & enough))
        return found[0], found[1]

    def take(self, other: _TwoLevels) -> None:
        """Receive what is better in another one."""
        better = other.cost < self.cost
        for name in ("roots", "high", "switching", "costs", "cost"):
            getattr(self, name)[..., better] = getattr(other, name)[..., better]

    def pixels(
        self,
        series: _Series,
        noisy: Array,
        evidence: Array,
        some: Array,
        pixels: Array,
        offsets: Array,
    ) -> TelegraphPixels:
        """Those that were found."""
        at, high = pixels[some], self.high[:, some]
        series, steady = series.of_pixels(some), np.stack(self.steady(some))
        frames = series.frames
        rates = np.stack([series.rate(state) for state in steady])
        levels = series.noise.level(rates)
        least = series.noise.least_root**2
        variance = series.noise.excess**2 * np.maximum(rates, least) * noisy[some]
        errors = np.sqrt(variance / np.maximum((frames * steady).sum(axis=1), 1.0))
        return TelegraphPixels(
            pixel=at,
            low=levels[0] + offsets[at],
            high=levels[1] + offsets[at],
            low_error=errors[0],
            high_error=errors[1],
            occupancy=(frames * high).sum(axis=0) / np.maximum(frames.sum(axis=0), 1.0),
            switches=(high[1:] != high[:-1]).sum(axis=0),
            evidence=evidence[some],
        )


def _best_levels(series: _Series, rounds: int = _ROUNDS) -> _TwoLevels:
    """The best two levels from several starts."""
    own = np.sort(series.roots, axis=0)
    best = None
    for shares in _STARTS:
        roots = own[[round(share * (len(own) - 1)) for share in shares]]
        roots = np.maximum(roots, series.noise.least_root)
        for _ in range(rounds):
            found = _best_way(series, roots)
            good = (found.costs < CEILING) & ~found.switching
            levels = (series.root(good & state) for state in (~found.high, found.high))
            roots = np.sort(np.stack(list(levels)), axis=0)
        if best is None:
            best = found
        else:
            best.take(found)
    assert best is not None
    return best


def _best_way(series: _Series, roots: Array) -> _TwoLevels:
    """The cheapest way of switching between two levels.

    A switch is within a mean, which then may lie anywhere between both, or between two means.
    """
    costs = np.stack([series.costs(root) for root in roots], axis=1)
    planes, _, pixels = costs.shape
    between = (series.roots > roots[0]) & (series.roots < roots[1])
    within = costs.min(axis=1)
    within[between] = np.minimum(within[between], _BETWEEN)
    within += np.float32(1e-3)  # where it is as good at a level, it is there
    came = np.zeros((planes, 2, pixels), np.uint8)  # 1: from the other level, 2: within a mean
    before, total = costs[0], costs[0]
    for plane in range(1, planes):
        other = total[::-1] + SWITCH
        came[plane] = other < total
        best = np.minimum(total, other)
        if plane > 1:
            other = before[::-1] + (within[plane - 1] + SWITCH)
            came[plane][other < best] = 2
            best = np.minimum(best, other)
        before, total = total, best + costs[plane]
    high = np.empty((planes, pixels), bool)
    switching = np.zeros((planes, pixels), bool)
    high[-1] = total[1] < total[0]
    for plane in range(planes - 1, 0, -1):
        way = np.where(high[plane], came[plane, 1], came[plane, 0])
        way[switching[plane]] = 0
        high[plane - 1] = high[plane] ^ (way > 0)
        switching[plane - 1] = way == 2
    own = np.where(high, costs[:, 1], costs[:, 0])
    own = np.where(switching, within, own)
    middle = 0.5 * (roots[0] + roots[1])
    high = np.where(switching, series.roots > middle, high)
    return _TwoLevels(roots, high, switching, own, total.min(axis=0))


def _joined(parts: Sequence[TelegraphPixels]) -> TelegraphPixels:
    names = TelegraphPixels.__slots__
    if not parts:
        whole = np.zeros(0, np.int64)
        return TelegraphPixels(
            **{n: whole if n in ("pixel", "switches") else np.zeros(0) for n in names}
        )
    return TelegraphPixels(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
