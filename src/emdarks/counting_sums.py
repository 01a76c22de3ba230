"""Counts and clipped sums of a stack, beside its moments.

Per pixel, over the good samples x of a stack, with thresholds T < T2 <= T3:

==========  =======  ==============================================================
name        type     meaning
==========  =======  ==============================================================
above       uint16   K: number of T < x <= T2
beyond      uint16   R: number of x > T2
near        uint16   nc: number of x <= T2 with a core within two rows and columns of
                     the same frame; a core is any finite sample above T3, which is
                     infinite at low gain, where none is sought
near_above  uint16   Kc: those of them with x > T
low         float64  LO: sum of min(x - T, 0) over x <= T2
high        float64  HI: sum of max(x - T, 0) over x <= T2
==========  =======  ==============================================================

All are sums over frames. `CountsAbove` is what photon counting takes instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.errors import InputError

__all__ = [
    "COUNTING_SUMS",
    "LOW_GAIN",
    "MOST_FRAMES",
    "CountThreshold",
    "CountingSums",
    "CountsAbove",
    "FurtherSums",
    "HistogramBins",
    "Thresholds",
]

Array = npt.NDArray[Any]

#: Name of every sum.
COUNTING_SUMS = ("above", "beyond", "near", "near_above", "low", "high")
#: Frames of a stack; counts have 16 bits.
MOST_FRAMES = (1 << 16) - 1
#: T and T2 above the level: in read noises, and in gains. Rays whose charge stays below T2
#: everywhere are taken for dark current; of those of emccd-detect, 9 gains would leave twice as
#: much as 6.
T_NOISE, T2_NOISE, T2_GAIN = 4.0, 5.0, 6.0
#: Below so many nominal read noises a gain is low: the mean below T is used, and no cores.
LOW_GAIN = 2.0
#: The histogram starts so many read noises below the level; width of its even bins.
HISTOGRAM_BELOW, HISTOGRAM_WIDTH = 10.0, 0.25
#: Beside counts, frames of so many pixels enter the histogram one in `HISTOGRAM_EVERY`.
MANY_PIXELS, HISTOGRAM_EVERY = 1_000_000, 8
#: Without counts, one row in so many of every frame enters it, another one in the next frame.
HISTOGRAM_ROWS = 16


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The numbers that tell samples of a stack apart, in the unit of its sums.

    Attributes
    ----------
    T, T2, T3 : float
        See the head of this module.
    level : float
        Samples without charge have this mean: 0 where the bias is subtracted.
    """

    T: float
    T2: float
    T3: float
    level: float = 0.0

    @classmethod
    def of(cls, gain: float, read_noise: float, flag_level: float, level: float = 0.0) -> Self:
        """Thresholds of a stack: method page, eq. 19 (thresholds).

        Parameters
        ----------
        gain : float
            EM gain as commanded.
        read_noise : float
            Nominal, e-.
        flag_level : float
            The lowest level at which a sample can have been flagged, e-; infinite where none is.
        level : float
            Mean of samples without charge, e-.

        Raises
        ------
        InputError
            Samples below T2 are flagged.
        """
        T2 = level + T2_NOISE * read_noise + T2_GAIN * gain
        if not flag_level > T2:
            raise InputError(
                f"EM gain {gain:g}: samples are flagged from {flag_level:.6g} e- on, below the "
                f"{T2:.6g} e- up to which the counting estimator needs them all; leave these "
                "frames out, or use the pooled estimator"
            )
        T3 = T2 if gain >= LOW_GAIN * read_noise else math.inf
        return cls(level + T_NOISE * read_noise, T2, T3, level)

    def empty(self, size: int) -> CountingSums:
        """Sums for ``size`` pixels, not initialised."""
        return CountingSums.empty(size)

    def fits(self, sums: FurtherSums | None) -> bool:
        """Whether sums are those of such thresholds."""
        return isinstance(sums, CountingSums)


@dataclass(frozen=True, slots=True)
class HistogramBins:
    """Bins of a stack's histogram, in the unit of its sums.

    Attributes
    ----------
    start : float
        Lower edge of the first bin.
    width : float
        Width of the even bins; bins of an eighth of an octave follow.
    """

    start: float
    width: float

    @classmethod
    def of(cls, level: float, read_noise: float) -> Self:
        """Bins for samples without charge at ``level``, with this read noise."""
        return cls(level - HISTOGRAM_BELOW * read_noise, HISTOGRAM_WIDTH * read_noise)

    @property
    def read_noise(self) -> float:
        """Read noise that they were made for."""
        return self.width / HISTOGRAM_WIDTH

    @property
    def level(self) -> float:
        """Mean of samples without charge that they were made for."""
        return self.start + HISTOGRAM_BELOW * self.read_noise

    @property
    def even(self) -> int:
        """How many are even."""
        return _core.LINEAR_BINS

    def middle(self, index: int) -> float:
        """Middle of an even bin."""
        return self.start + self.width * (index + 0.5)

    @property
    def edges(self) -> Array:
        """Edges of all bins; the last is closed."""
        even = np.arange(_core.LINEAR_BINS)
        octaves = _core.LINEAR_BINS * 2.0 ** (np.arange(_core.OCTAVE_BINS + 1) / 8)
        return self.start + self.width * np.concatenate([even, octaves])


class FurtherSums:
    """Sums over frames beside the moments, one flat array of all pixels each."""

    __slots__ = ()

    def named(self) -> dict[str, Array]:
        """All of them by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]

    def sums(self) -> tuple[Array, ...]:
        """All of them."""
        return tuple(self.named().values())

    def part(self, lo: int, hi: int) -> Self:
        """Views of the pixels from ``lo`` up to ``hi``."""
        return type(self)(*(plane[lo:hi] for plane in self.sums()))

    def copy(self) -> Self:
        """The same in memory of their own."""
        return type(self)(*(plane.copy() for plane in self.sums()))

    def take(self, other: FurtherSums) -> None:
        """Receive copies of other sums of the same kind."""
        for mine, theirs in zip(self.sums(), other.sums(), strict=True):
            np.copyto(mine, theirs, casting="same_kind")

    def add(self, other: FurtherSums) -> None:
        """Add sums of other frames with the same thresholds."""
        for mine, theirs in zip(self.sums(), other.sums(), strict=True):
            np.add(mine, theirs, out=mine)


@dataclass(slots=True)
class CountingSums(FurtherSums):
    """Counts and clipped sums of some frames of a stack; see the head of this module."""

    above: Array
    beyond: Array
    near: Array
    near_above: Array
    low: Array
    high: Array

    def sums(self) -> tuple[Array, Array, Array, Array, Array, Array]:
        """All of them, in the order of `COUNTING_SUMS`."""
        return self.above, self.beyond, self.near, self.near_above, self.low, self.high

    @classmethod
    def stored(cls, shape: tuple[int, int]) -> Self:
        """Sums of finished stacks, shape (stacks, pixels): LO and HI in float32."""
        above, beyond, near, near_above = (np.empty(shape, np.uint16) for _ in range(4))
        low, high = np.empty(shape, np.float32), np.empty(shape, np.float32)
        return cls(above, beyond, near, near_above, low, high)

    @classmethod
    def empty(cls, size: int) -> Self:
        """Sums for ``size`` pixels, not initialised."""
        above, beyond, near, near_above = (np.empty(size, np.uint16) for _ in range(4))
        return cls(above, beyond, near, near_above, np.empty(size), np.empty(size))

    def stack(self, index: int) -> CountingSums:
        """Views of one stack."""
        return CountingSums(*(plane[index] for plane in self.sums()))


@dataclass(slots=True)
class CountsAbove(FurtherSums):
    """How many good samples x of some frames lie above a threshold T, uint16.

    ``above``: x > T. ``plus`` and ``minus``: x + s > T and x - s > T with s the error of the
    sample, where these are wanted; else without entries.
    """

    above: Array
    plus: Array
    minus: Array


@dataclass(frozen=True, slots=True)
class CountThreshold:
    """Threshold of `CountsAbove`, in the unit of the sums.

    Attributes
    ----------
    T : float
        The threshold.
    errors : bool
        Whether counts of samples with their errors added and taken off are wanted, too.
    """

    T: float
    errors: bool = False

    def empty(self, size: int) -> CountsAbove:
        """Sums for ``size`` pixels, not initialised."""
        more = size if self.errors else 0
        return CountsAbove(*(np.empty(each, np.uint16) for each in (size, more, more)))

    def fits(self, sums: FurtherSums | None) -> bool:
        """Whether sums are those of such a threshold."""
        return isinstance(sums, CountsAbove) and (sums.plus.size > 0) == self.errors
