"""Numbers of a whole group of pixels: median, mean, spread of the true values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.execution import Executor
from emdarks.kernels.select import (
    between,
    cross_sums,
    excess_sums,
    largest,
    plain_sums,
    weighted_sums,
)

__all__ = [
    "FEW_SAMPLES",
    "Group",
    "Population",
    "bracket",
    "middle",
    "population",
    "spread",
    "stride",
]

Array = npt.NDArray[Any]

#: A spread must exceed its own error by this many standard errors.
SPREAD_ERRORS = 2.0
#: Samples of fewer pixels tell nothing: all are sorted.
FEW_SAMPLES = 1 << 10
#: Pixels that tell where about a median lies.
SAMPLE = 1 << 14


@dataclass(frozen=True, slots=True)
class Group:
    """Pixels of one group, and how to go over them.

    Attributes
    ----------
    of : ndarray of integers, shape (pixels,)
        Group of each pixel.
    member : int
        The group that is meant.
    ranges : list of tuple
        Bands of pixels.
    executor : Executor
        Who computes.
    """

    of: Array
    member: int
    ranges: Sequence[tuple[int, int]]
    executor: Executor

    def values(self, x: Array) -> Array:
        """Values of the group's pixels."""
        parts = [x[lo:hi][self.of[lo:hi] == self.member] for lo, hi in self.ranges]
        return np.concatenate(parts) if parts else x[:0]

    def median(self, x: Array) -> float:
        """Median of a plane over the group, exactly; NaN where the group is empty.

        A sample tells between which two values the median lies; the others are only counted.
        """
        step = stride(x.size)
        sample = x[::step][self.of[::step] == self.member]
        if sample.size < FEW_SAMPLES:
            return _median(self.values(x))
        low, high = bracket(sample)

        def part(band: tuple[int, int]) -> tuple[int, int, Array]:
            out = np.empty(band[1] - band[0])
            count, below, inside = between(*band, x, self.of, self.member, low, high, out)
            return count, below, out[:inside].copy()

        counts, belows, insides = zip(*self.executor.map(part, self.ranges), strict=True)
        found = middle(sum(counts), sum(belows), np.concatenate(insides))
        return _median(self.values(x)) if found is None else found

    def means(self, planes: Array) -> tuple[int, Array]:
        """Number of pixels, and means of planes, shape (planes, pixels), over them."""
        size, *total = self.sums(plain_sums, 1 + len(planes), planes, self.of, self.member)
        return int(size), np.array(total) / max(size, 1.0)

    def covariance(self, x: Array, y: Array, x_0: float, y_0: float) -> float:
        """Mean of (x - x_0) (y - y_0)."""
        count, total = self.sums(cross_sums, 2, x, y, x_0, y_0, self.of, self.member)
        return float(total / max(count, 1.0))

    def sums(self, kernel: Any, size: int, *arguments: Any) -> Array:
        """Sums of a kernel over the bands, added in order."""

        def part(band: tuple[int, int]) -> Array:
            out = np.empty(size)
            kernel(*band, *arguments, out)
            return out

        total = np.zeros(size)
        for some in self.executor.map(part, self.ranges):
            total += some
        return total


def stride(size: int) -> int:
    """Step of a sample of so many pixels: odd, so as not to keep in step with columns."""
    return max(size // SAMPLE, 1) | 1


def bracket(sample: Array) -> tuple[float, float]:
    """Two values between which the median lies: six standard errors about the sample's."""
    ordered, reach = np.sort(sample), 3.0 * np.sqrt(sample.size)
    last = sample.size - 1
    low, high = int(sample.size / 2 - reach), int(sample.size / 2 + reach)
    return float(ordered[max(low, 0)]), float(ordered[min(high, last)])


def middle(count: int, below: int, inside: Array) -> float | None:
    """Median of ``count`` values, of which some lie below and some inside a bracket.

    None where it does not lie in it.
    """
    ranks = (count - 1) // 2 - below, count // 2 - below
    if ranks[0] < 0 or ranks[1] >= inside.size:
        return None
    inside.partition(ranks)
    return float((inside[ranks[0]] + inside[ranks[1]]) / 2)


def _median(x: Array) -> float:
    return float(np.median(x)) if x.size else float("nan")


@dataclass(frozen=True, slots=True)
class Population:
    """What estimates of a group have in common.

    Attributes
    ----------
    size : int
        How many.
    level : float
        Mean with weights 1/error^2: pixels with many masked stacks count less.
    error2 : float
        Mean squared error.
    top : float
        Largest squared error.
    centre : float
        Mean with weights 1/error^4.
    weight : float
        Sum of these weights.
    """

    size: int
    level: float
    error2: float
    top: float
    centre: float
    weight: float


def population(group: Group, x: Array, error2: Array) -> Population:
    """Means of estimates x of error variance ``error2``; of nothing they are 0."""
    of, member = group.of, group.member
    tops = group.executor.map(lambda band: largest(*band, error2, of, member), group.ranges)
    top = max(tops, default=0.0)
    sums = group.sums(weighted_sums, 6, x, error2, of, member, top)
    size = int(sums[4])
    if size == 0:
        return Population(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    level, centre = float(sums[1] / sums[0]), float(sums[3] / sums[2])
    return Population(size, level, float(sums[5] / size), top, centre, float(sums[2]))


def spread(group: Group, x: Array, error2: Array, found: Population) -> float:
    """Variance of the true values behind estimates x of error variance ``error2``.

    Reduced by two of its own standard errors; never negative.
    """
    if found.size < 3 or not found.top > 0:
        return 0.0
    sums = group.sums(excess_sums, 4, x, error2, group.of, group.member, found.top, found.centre)
    mean = sums[0] / found.weight
    squares = sums[3] - 2 * mean * sums[2] + mean**2 * sums[1]
    error = np.sqrt(max(squares, 0.0)) / found.weight
    return max(float(mean - SPREAD_ERRORS * error), 0.0)
