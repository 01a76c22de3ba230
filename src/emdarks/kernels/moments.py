"""The sums that a stack accumulates: update, close, merge.

Per pixel, over the good samples x_j (finite, no masking flag) with errors s_j:

========  ========  ==========================================================
name      type      meaning
========  ========  ==========================================================
n         int32     number of good samples
mean      float64   mean of x_j                 (while open: the first x_j, K)
m2        float64   sum of (x_j - mean)^2       (while open: sum of (x_j - K)^2)
err2      float64   sum of s_j^2                (absent where no frame has err)
flags     unsigned  bitwise OR of all flags, masked samples included; bit 1
                    where x_j or s_j is not finite
top       float64   the largest x_j, ascending (only where samples are screened)
========  ========  ==========================================================

`SUMS` is that table as data. While frames are added, the sums are *open*: they
are taken about the pixel's first good sample K, which needs no division and
loses no digits to a large level; ``shifted`` holds sum (x_j - K). `close`
turns them into the moments about the mean, `merge` joins two closed sets [1]_.

References
----------
.. [1] Chan, Golub & LeVeque (1983), The American Statistician 37, 242,
   eq. 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import jit

__all__ = ["SUMS", "Moments", "close", "merge", "reset", "update", "update_open"]

Array = npt.NDArray[Any]

#: Name and type of every sum; the type of ``flags`` is that of the widest DQ plane.
SUMS: dict[str, str | None] = {
    "n": "i4",
    "mean": "f8",
    "m2": "f8",
    "err2": "f8",
    "flags": None,
    "top": "f8",
}


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums of some frames of a stack, one flat array of all pixels each.

    ``err2`` and ``top`` are None where they are not kept; ``top`` has shape (pixels, kept).
    """

    n: Array
    mean: Array
    m2: Array
    err2: Array | None
    flags: Array
    top: Array | None = None

    @classmethod
    def empty(cls, size: int, flags: npt.DTypeLike, has_err: bool, kept: int = 0) -> Moments:
        """Uninitialised sums for ``size`` pixels (`reset` fills them)."""
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(SUMS, (size,))
        shapes["top"] = (size, kept)
        absent = {"err2": not has_err, "top": kept == 0}
        arrays: dict[str, Any] = {
            name: None if absent.get(name) else np.empty(shapes[name], dtype or flags)
            for name, dtype in SUMS.items()
        }
        return cls(**arrays)

    @property
    def kept(self) -> int:
        """Largest samples that are kept of a pixel."""
        return 0 if self.top is None else int(self.top.shape[1])

    def part(self, lo: int, hi: int) -> Moments:
        """Views of the pixels from ``lo`` up to ``hi``."""
        err2 = None if self.err2 is None else self.err2[lo:hi]
        top = None if self.top is None else self.top[lo:hi]
        part = slice(lo, hi)
        return Moments(self.n[part], self.mean[part], self.m2[part], err2, self.flags[part], top)

    def equal(self, other: Moments) -> bool:
        """Whether all sums have the same bits."""
        pairs = [(getattr(self, name), getattr(other, name)) for name in SUMS]
        return all(
            (a is None) == (b is None) and (a is None or a.tobytes() == b.tobytes())
            for a, b in pairs
        )


def reset(moments: Moments, shifted: Array) -> None:
    """Start open sums with no frame."""
    for name in SUMS:
        array = getattr(moments, name)
        if array is not None:
            array[:] = -np.inf if name == "top" else 0
    shifted[:] = 0.0


@jit
def update_open(
    data: Array,
    err: Array | None,
    dq: Array | None,
    mask: np.uint64,
    scale: float,
    n: Array,
    first: Array,
    shifted: Array,
    squares: Array,
    err2: Array | None,
    flags: Array,
) -> None:
    """Add one frame's pixels to open sums, given as arrays; see `update`."""
    bits = flags.dtype.type(mask)  # flags wider than the type cannot occur
    none = flags.dtype.type(0)
    nonfinite = flags.dtype.type(1)
    for p in range(data.size):
        x = np.float64(data[p]) * scale
        finite = (x - x) == 0.0
        error = 0.0
        if err is not None:
            error = np.float64(err[p]) * scale
            finite = finite and (error - error) == 0.0
        flag = none
        if dq is not None:
            flag = flags.dtype.type(dq[p])
        flags[p] |= flag | (none if finite else nonfinite)
        good = finite and (flag & bits) == none
        k = x if n[p] == 0 else first[p]
        d = x - k if good else 0.0
        first[p] = k if good else first[p]
        n[p] += 1 if good else 0
        shifted[p] += d
        squares[p] += d * d
        if err2 is not None:
            err2[p] += error * error if good else 0.0


def update(
    moments: Moments,
    shifted: Array,
    data: Array,
    err: Array | None,
    dq: Array | None,
    mask: np.uint64,
    scale: float,
) -> None:
    """Add one frame's pixels to open sums.

    Parameters
    ----------
    moments : Moments
        Open sums of the same pixels.
    shifted : ndarray of float64
        Sum of (x - K), for `close`.
    data : ndarray of float32 or float64
        Pixel values.
    err : ndarray of float32 or float64, or None
        1-sigma errors, in the unit of ``data``.
    dq : ndarray of unsigned integers, or None
        Flags.
    mask : numpy.uint64
        Flag bits that exclude a sample.
    scale : float
        Factor from the unit of ``data`` to the unit of the sums.
    """
    update_open(
        data,
        err,
        dq,
        mask,
        scale,
        moments.n,
        moments.mean,
        shifted,
        moments.m2,
        moments.err2,
        moments.flags,
    )
    if moments.top is not None:
        _update_top(data, err, dq, mask, scale, moments.top)


@jit
def _insert(top: Array, p: int, x: float) -> None:
    """Put a sample into a pixel's ascending list, the smallest falls out."""
    i = 0
    while i + 1 < top.shape[1] and top[p, i + 1] < x:
        top[p, i] = top[p, i + 1]
        i += 1
    top[p, i] = x


@jit
def _update_top(
    data: Array, err: Array | None, dq: Array | None, mask: np.uint64, scale: float, top: Array
) -> None:
    for p in range(data.size):
        x = data[p] * scale
        if not x > top[p, 0] or not np.isfinite(x):
            continue
        if err is not None and not np.isfinite(err[p]):
            continue
        if dq is None or (np.uint64(dq[p]) & mask) == 0:
            _insert(top, p, x)


@jit
def _close(n: Array, first: Array, shifted: Array, squares: Array) -> None:
    for p in range(n.size):
        if n[p] > 0:
            shift = shifted[p] / n[p]
            first[p] += shift
            squares[p] = max(squares[p] - shift * shifted[p], 0.0)


def close(moments: Moments, shifted: Array) -> None:
    """Turn open sums into moments about the mean, in place."""
    _close(moments.n, moments.mean, shifted, moments.m2)


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
        into.err2,
        into.flags,
        other.n,
        other.mean,
        other.m2,
        other.err2,
        other.flags,
    )
    if into.top is not None and other.top is not None:
        _merge_top(into.top, other.top)
