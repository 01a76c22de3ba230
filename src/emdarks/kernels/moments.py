"""The sums that a stack accumulates: update, close, merge.

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

`SUMS` names them. While frames are added, the sums are *open* (`OpenSums`): they
are taken about the pixel's first good sample K, which needs no division and
loses no digits to a large level. `close` turns them into the moments about the
mean, `merge` joins two closed sets [1]_.

A sample that does not count is made NaN before it is added. So the inner loop knows
floating-point numbers only, all of the same width, and the compiler can use vector
registers.

References
----------
.. [1] Chan, Golub & LeVeque (1983), The American Statistician 37, 242,
   eq. 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import bare, jit
from emdarks.kernels.decode import swapped

__all__ = [
    "SUMS",
    "Moments",
    "OpenSums",
    "add_errors",
    "add_samples",
    "add_top",
    "close",
    "close_errors",
    "counts_dtype",
    "load_flags",
    "mask_samples",
    "merge",
    "reset",
]

Array = npt.NDArray[Any]

#: Name of every sum.
SUMS = ("n", "mean", "m2", "err2", "flags", "top")


@dataclass(slots=True)
class Moments:
    """Sums of some frames of a stack, one flat array of all pixels each.

    ``err2`` and ``top`` are None where they are not kept; ``top`` has shape (pixels, kept).
    ``has_errors`` is False where all of ``err2`` is 0: such memory is never touched.
    """

    n: Array
    mean: Array
    m2: Array
    err2: Array | None
    flags: Array
    top: Array | None = None
    has_errors: bool = False

    @classmethod
    def empty(
        cls, size: int, flags: npt.DTypeLike, has_err: bool, kept: int = 0, frames: int = 1
    ) -> Moments:
        """Sums for ``size`` pixels, not initialised, but for ``err2``."""
        return cls(
            np.empty(size, counts_dtype(frames)),
            np.empty(size),
            np.empty(size),
            np.zeros(size) if has_err else None,
            np.empty(size, flags),
            np.empty((size, kept)) if kept else None,
        )

    @property
    def kept(self) -> int:
        """Largest samples that are kept of a pixel."""
        return 0 if self.top is None else int(self.top.shape[1])

    def part(self, lo: int, hi: int) -> Moments:
        """Views of the pixels from ``lo`` up to ``hi``."""
        err2 = None if self.err2 is None else self.err2[lo:hi]
        top = None if self.top is None else self.top[lo:hi]
        part = slice(lo, hi)
        planes = (self.n[part], self.mean[part], self.m2[part], err2, self.flags[part], top)
        return Moments(*planes, self.has_errors)

    def take(self, other: Moments) -> None:
        """Receive copies of other sums of the same kind."""
        for name in SUMS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and (name != "err2" or other.has_errors):
                np.copyto(mine, theirs)
        self.has_errors = other.has_errors

    def equal(self, other: Moments) -> bool:
        """Whether all sums have the same bits."""
        pairs = [(getattr(self, name), getattr(other, name)) for name in SUMS]
        return all(
            (a is None) == (b is None) and (a is None or a.tobytes() == b.tobytes())
            for a, b in pairs
        )


def counts_dtype(frames: int) -> np.dtype[Any]:
    """Type of the number of good samples of so many frames, and as many again."""
    return np.dtype(np.uint16 if frames < 1 << 15 else np.uint32)


class OpenSums(NamedTuple):
    """Sums of a run of pixels while frames are added, one array each.

    ``first``, ``shifted`` and ``squares`` are K, sum (x - K) and sum (x - K)^2; K is NaN while
    no sample was good. ``err2`` and ``top`` are empty where they are not kept.
    """

    n: Array
    first: Array
    shifted: Array
    squares: Array
    err2: Array
    flags: Array
    top: Array

    @classmethod
    def empty(cls, size: int, flags: npt.DTypeLike, has_err: bool, kept: int = 0) -> OpenSums:
        """Uninitialised sums for ``size`` pixels."""
        return cls(
            np.empty(size, np.uint16),  # a block has fewer frames
            np.empty(size),
            np.empty(size),
            np.empty(size),
            np.empty(size if has_err else 0),
            np.empty(size, flags),
            np.empty((size if kept else 0, kept)),
        )


@bare
def reset(sums: OpenSums, lo: int, hi: int) -> None:
    """Start the sums of pixels lo to hi with no frame."""
    sums.n[lo:hi] = 0
    sums.first[lo:hi] = np.nan
    sums.shifted[lo:hi] = 0.0
    sums.squares[lo:hi] = 0.0
    sums.err2[lo:hi] = 0.0
    sums.flags[lo:hi] = 0
    sums.top[lo:hi] = -np.inf


@bare
def load_flags(
    stored: Array, swap: bool, flip: Any, mask: Any, flags: Array, n: Array, bad: Array
) -> np.uint64:
    """Take the flags of a frame's samples into the sums.

    Parameters
    ----------
    stored : ndarray of unsigned integers
        Flags as they were read; empty where a frame has none.
    swap, flip
        How to make native numbers of them; see `emdarks.kernels.decode`.
    mask : numpy.uint64
        Flag bits that exclude a sample.
    flags, n : ndarray of unsigned integers
        OR of the flags; number of good samples, increased here.
    bad : ndarray of uint16
        Receives 1 where a sample is excluded, else 0, unless the result is 0.

    Returns
    -------
    numpy.uint64
        OR of the flags of all these samples.
    """
    bits, xor = stored.dtype.type(mask), stored.dtype.type(flip)
    clean = swapped(xor) if swap else xor
    seen = stored.dtype.type(0)
    for p in range(stored.size):
        # The type is kept narrow: more of them fit a vector register.
        seen = stored.dtype.type(seen | stored.dtype.type(stored[p] ^ clean))
    if seen == 0:
        for p in range(n.size):
            n[p] = np.uint16(n[p] + np.uint16(1))
        return np.uint64(0)
    for p in range(stored.size):
        word = swapped(stored[p]) if swap else stored[p]
        flag = stored.dtype.type(word ^ xor)
        excluded = np.uint16((flag & bits) != 0)
        flags[p] = flags.dtype.type(flags[p] | flags.dtype.type(flag))
        n[p] = np.uint16(n[p] + np.uint16(np.uint16(1) - excluded))
        bad[p] = excluded
    return np.uint64(swapped(seen) if swap else seen)


@bare
def mask_samples(values: Array, bad: Array) -> None:
    """Make excluded samples NaN."""
    for p in range(values.size):
        values[p] = np.nan if bad[p] != 0 else values[p]


@bare
def _all_started(first: Array) -> bool:
    missing = 0
    for p in range(first.size):
        missing += first[p] != first[p]
    return missing == 0


@bare
def add_samples(values: Array, scale: float, first: Array, shifted: Array, squares: Array) -> None:
    """Add one frame's samples, NaN where they do not count, to open sums.

    Parameters
    ----------
    values : ndarray of float32 or float64
        Samples.
    scale : float
        Factor to the unit of the sums.
    first, shifted, squares : ndarray of float64
        See `OpenSums`.
    """
    if _all_started(first):
        for p in range(values.size):
            d = np.float64(values[p]) * scale - first[p]
            d = d if d == d else 0.0
            shifted[p] += d
            squares[p] += d * d
        return
    for p in range(values.size):
        x = np.float64(values[p]) * scale
        k = first[p]
        k = k if k == k else x
        first[p] = k
        d = x - k
        d = d if d == d else 0.0
        shifted[p] += d
        squares[p] += d * d


@bare
def add_errors(errors: Array, values: Array, scale: float, err2: Array) -> None:
    """Add the squared errors of the samples that count."""
    for p in range(errors.size):
        error = np.float64(errors[p]) * scale
        err2[p] += error * error if values[p] == values[p] else 0.0


@bare
def _insert(top: Array, p: int, x: float) -> None:
    """Put a sample into a pixel's ascending list, the smallest falls out."""
    i = 0
    while i + 1 < top.shape[1] and top[p, i + 1] < x:
        top[p, i] = top[p, i + 1]
        i += 1
    top[p, i] = x


@bare
def add_top(values: Array, scale: float, top: Array) -> None:
    """Keep the largest samples of each pixel."""
    for p in range(values.size):
        x = np.float64(values[p]) * scale
        if x > top[p, 0]:
            _insert(top, p, x)


@bare
def close(sums: OpenSums, lo: int, hi: int, n: Array, mean: Array, m2: Array, flags: Array) -> None:
    """Write the moments about the mean of the pixels lo to hi of open sums."""
    for p in range(n.size):
        count = np.float64(sums.n[lo + p])
        shifted, first = sums.shifted[lo + p], sums.first[lo + p]
        shift = shifted / max(count, 1.0)
        squares = sums.squares[lo + p] - shift * shifted
        mean[p] = first + shift if count > 0.0 else 0.0
        m2[p] = squares if squares > 0.0 else 0.0
    for p in range(n.size):
        n[p] = sums.n[lo + p]
        flags[p] = sums.flags[lo + p]


@bare
def close_errors(sums: OpenSums, lo: int, hi: int, err2: Array) -> None:
    """Write the squared errors of the pixels lo to hi of open sums."""
    for p in range(err2.size):
        err2[p] = sums.err2[lo + p]


@jit
def _merge_top(top: Array, other: Array) -> None:
    for p in range(top.shape[0]):
        for i in range(other.shape[1]):
            if other[p, i] > top[p, 0]:
                _insert(top, p, other[p, i])


@jit
def _merge(
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    flags: Array,
    n_b: Array,
    mean_b: Array,
    m2_b: Array,
    err2_b: Array | None,
    flags_b: Array,
) -> None:
    for p in range(n.size):
        flags[p] |= flags_b[p]
        if err2 is not None and err2_b is not None:
            err2[p] += err2_b[p]
        if n_b[p] == 0:
            continue
        if n[p] == 0:
            n[p] = n_b[p]
            mean[p] = mean_b[p]
            m2[p] = m2_b[p]
            continue
        total = float(n[p]) + float(n_b[p])
        share = n_b[p] / total
        difference = mean_b[p] - mean[p]
        mean[p] += difference * share
        m2[p] += m2_b[p] + difference * difference * n[p] * share
        n[p] += n_b[p]


def merge(into: Moments, other: Moments) -> None:
    """Join closed sums: afterwards ``into`` holds those of both sets of frames."""
    _merge(
        into.n,
        into.mean,
        into.m2,
        into.err2 if other.has_errors else None,
        into.flags,
        other.n,
        other.mean,
        other.m2,
        other.err2 if other.has_errors else None,
        other.flags,
    )
    into.has_errors |= other.has_errors
    if into.top is not None and other.top is not None:
        _merge_top(into.top, other.top)
