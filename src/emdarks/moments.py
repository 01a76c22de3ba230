"""The sums that a stack accumulates, after they were closed.

Per pixel, over the good samples x_j (finite, no masking flag) with errors s_j:

========  ========  ==========================================================
name      type      meaning
========  ========  ==========================================================
n         unsigned  number of good samples
mean      float64   mean of x_j
m2        float64   sum of (x_j - mean)^2
err2      float64   sum of s_j^2                (absent where no frame has err)
flags     unsigned  bitwise OR of all flags, masked samples included; bit 1
                    where x_j or s_j is not finite
top       float64   the largest x_j, ascending (only where samples are screened)
========  ========  ==========================================================

Beside them, where they are wanted, are counts and clipped sums
(`emdarks.counting_sums`), and the histogram of all good samples: int64, one row
for the imaging area and one for the rest of the frame without telemetry rows.

`SUMS` names them. The compiled core adds frames to them (`src/core/moments.hpp`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.counting_sums import FurtherSums

__all__ = ["SUMS", "Moments", "counts_dtype", "merge"]

Array = npt.NDArray[Any]

#: Bins of the histogram.
HISTOGRAM_BINS = _core.LINEAR_BINS + _core.OCTAVE_BINS
#: Name of every sum.
SUMS = ("n", "mean", "m2", "err2", "flags", "top")


@dataclass(slots=True)
class Moments:
    """Sums of some frames of a stack, one flat array of all pixels each.

    ``err2`` and ``top`` are None where they are not kept; ``top`` has shape (pixels, kept).
    ``counting`` and ``histogram`` are None where they were not asked for.
    ``has_errors`` is False where all of ``err2`` is 0: such memory is never touched.
    """

    n: Array
    mean: Array
    m2: Array
    err2: Array | None
    flags: Array
    top: Array | None = None
    has_errors: bool = False
    counting: FurtherSums | None = None
    histogram: Array | None = None

    @classmethod
    def empty(
        cls,
        size: int,
        flags: npt.DTypeLike,
        has_err: bool,
        kept: int = 0,
        frames: int = 1,
        counting: FurtherSums | None = None,
        histogram: bool = False,
    ) -> Moments:
        """Sums for ``size`` pixels, not initialised, but for ``err2``; ``counting`` is kept."""
        return cls(
            np.empty(size, counts_dtype(frames)),
            np.empty(size),
            np.empty(size),
            np.zeros(size) if has_err else None,
            np.empty(size, flags),
            np.empty((size, kept)) if kept else None,
            counting=counting,
            histogram=np.zeros((2, HISTOGRAM_BINS), np.int64) if histogram else None,
        )

    @property
    def kept(self) -> int:
        """Largest samples that are kept of a pixel."""
        return 0 if self.top is None else int(self.top.shape[1])

    def sums(self) -> tuple[Array, Array, Array, Array | None, Array, Array | None]:
        """All of them, in the order of `SUMS`."""
        return self.n, self.mean, self.m2, self.err2, self.flags, self.top

    def part(self, lo: int, hi: int) -> Moments:
        """Views of the pixels from ``lo`` up to ``hi``; the histogram belongs to no part."""
        err2 = None if self.err2 is None else self.err2[lo:hi]
        top = None if self.top is None else self.top[lo:hi]
        part = slice(lo, hi)
        planes = (self.n[part], self.mean[part], self.m2[part], err2, self.flags[part], top)
        counting = None if self.counting is None else self.counting.part(lo, hi)
        return Moments(*planes, self.has_errors, counting)

    def take(self, other: Moments) -> None:
        """Receive copies of other sums of the same kind."""
        for name in SUMS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and (name != "err2" or other.has_errors):
                np.copyto(mine, theirs)
        self.has_errors = other.has_errors
        if self.counting is not None and other.counting is not None:
            self.counting.take(other.counting)
        if self.histogram is not None and other.histogram is not None:
            np.copyto(self.histogram, other.histogram)

    def add_histogram(self, other: Moments) -> None:
        """Count the samples of other frames in the same bins."""
        if self.histogram is not None and other.histogram is not None:
            self.histogram += other.histogram

    def equal(self, other: Moments) -> bool:
        """Whether all sums have the same bits."""
        mine, theirs = (x.counting and x.counting.sums() for x in (self, other))
        pairs = [(getattr(self, name), getattr(other, name)) for name in (*SUMS, "histogram")]
        pairs += zip(mine or (), theirs or (), strict=True)
        return (mine is None) == (theirs is None) and all(
            (a is None) == (b is None) and (a is None or a.tobytes() == b.tobytes())
            for a, b in pairs
        )


def counts_dtype(frames: int) -> np.dtype[Any]:
    """Type of the number of good samples of so many frames, and as many again."""
    return np.dtype(np.uint16 if frames < 1 << 15 else np.uint32)


def merge(into: Moments, other: Moments) -> None:
    """Join closed sums: afterwards ``into`` holds those of both sets of frames.

    Histograms, which belong to no part of a frame, are left to `Moments.add_histogram`.
    """
    err2 = other.err2 if other.has_errors else None
    _core.merge(*into.sums(), other.n, other.mean, other.m2, err2, other.flags, other.top)
    into.has_errors |= other.has_errors
    if into.counting is not None and other.counting is not None:
        into.counting.add(other.counting)
