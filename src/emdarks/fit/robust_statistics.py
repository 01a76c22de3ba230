"""Numbers of a whole group of pixels: median, mean, intrinsic variance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.accumulate import Executor

Array = npt.NDArray[Any]

#: An intrinsic variance must exceed its own error by this many standard errors.
INTRINSIC_ERRORS = 2.0


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

    def median(self, x: Array) -> float:
        """Median of a plane over the group, exactly; NaN where the group is empty."""
        return _core.median(x, self.of, self.member)

    def means(self, planes: Array) -> tuple[int, Array]:
        """Number of pixels, and means of planes, shape (planes, pixels), over them."""
        found = [self.sums(_core.product_sum, x, None, 0.0, 0.0, *self.pixels) for x in planes]
        size = found[0][0]
        return int(size), np.array([total for _, total in found]) / max(size, 1.0)

    def covariance(self, x: Array, y: Array, x_0: float, y_0: float) -> float:
        """Mean of (x - x_0) (y - y_0)."""
        count, total = self.sums(_core.product_sum, x, y, x_0, y_0, *self.pixels)
        return total / max(count, 1.0)

    @property
    def pixels(self) -> tuple[Array, int]:
        """What kernels need of the group."""
        return self.of, self.member

    def sums(self, kernel: Callable[..., tuple[float, ...]], *arguments: Any) -> list[float]:
        """Sums of a kernel over all bands: the same bits for any executor."""
        parts = self.executor.map(lambda band: kernel(*band, *arguments), self.ranges)
        # Of no band the sums are those of no pixel.
        return [math.fsum(each) for each in zip(*parts or [kernel(0, 0, *arguments)], strict=True)]


@dataclass(frozen=True, slots=True)
class Population:
    """What estimates of a group have in common.

    Attributes
    ----------
    size : int
        How many.
    mean : float
        Prior mean of a pixel: mean with weights 1/error^2, by which pixels with many masked
        stacks count less.
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
    mean: float
    error2: float
    top: float
    centre: float
    weight: float


def population(group: Group, x: Array, error2: Array) -> Population:
    """Means of estimates x of error variance ``error2``; of nothing they are 0."""

    def top_of(band: tuple[int, int]) -> float:
        return _core.largest(*band, error2, *group.pixels)

    top = max(group.executor.map(top_of, group.ranges), default=0.0)
    w, wx, w2, w2x, size, total = group.sums(_core.weighted_sums, x, error2, *group.pixels, top)
    if size == 0:
        return Population(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return Population(int(size), wx / w, total / size, top, w2x / w2, w2)


def intrinsic_variance(group: Group, x: Array, error2: Array, found: Population) -> float:
    """Intrinsic variance: of the true values behind estimates x of error variance ``error2``.

    Reduced by two of its own standard errors; never negative.
    """
    if found.size < 3 or not found.top > 0:
        return 0.0
    w2e, w4, w4e, w4e2 = group.sums(
        _core.excess_sums, x, error2, *group.pixels, found.top, found.centre
    )
    mean = w2e / found.weight
    error = math.sqrt(max(w4e2 - 2 * mean * w4e + mean**2 * w4, 0.0)) / found.weight
    return max(mean - INTRINSIC_ERRORS * error, 0.0)
