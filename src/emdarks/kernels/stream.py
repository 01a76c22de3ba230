"""From open files to sums in one compiled call: read, swap, accumulate.

A band of rows is worked through run by run, a run being a few rows. Of each run, some frames
are read into buffers that stay in a core's cache, and added while they are there; the sums of
the run stay there, too, until all frames are in. So each byte crosses main memory once, and
no step waits for the interpreter. Frames are descriptors or addresses here, and byte offsets;
what they mean is the caller's business.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from emdarks.kernels._jit import bare, inline
from emdarks.kernels.decode import all_zero, any_negative, blank, load_values
from emdarks.kernels.figures import LANES, SATURATED, count_saturated, fingerprint, row_figures
from emdarks.kernels.moments import (
    OpenSums,
    add_errors,
    add_samples,
    add_top,
    close,
    close_errors,
    load_flags,
    mask_samples,
    reset,
)

__all__ = ["IN_MEMORY", "Frames", "Scratch", "add_band"]

Array = npt.NDArray[Any]

#: Frames that are read before they are added.
GROUP = 4
#: In the place of a file descriptor: offsets are addresses.
IN_MEMORY = -1

# The C library's positioned read: no shared file offset, no lock.
_pread = types.ExternalFunction(
    "pread", types.int64(types.int32, types.intp, types.uint64, types.int64)
)
_memcpy = types.ExternalFunction("memcpy", types.intp(types.intp, types.intp, types.uint64))
# A read may be interrupted by a signal; a file that ended gives 0 at once.
_RETRIES = 100
# Sums of so many pixels stay in the first-level cache while a group of frames is added.
_CHUNK = 512


class Frames(NamedTuple):
    """A batch of open frames that are laid out alike.

    ``files``, int32, shape (frames,), are descriptors or `IN_MEMORY`; ``offsets``, int64, shape
    (3, frames), where image, err and dq start; ``scales``, float64, shape (frames,), the factor
    of each frame to the unit of the sums. ``swaps``, bool, and ``flips``, uint64, shape (3,),
    say how stored numbers of each plane become native ones; ``mask``, uint64, which flags
    exclude a sample.
    """

    files: Array
    offsets: Array
    scales: Array
    swaps: Array
    flips: Array
    mask: Any


class Scratch(NamedTuple):
    """One thread's buffers: ``data``, ``err`` and ``dq`` as stored, shape (GROUP, pixels of a run).

    ``err`` and ``dq`` have no columns where frames have none. ``values``, shape (GROUP, columns),
    and ``errors``, shape (columns,), are a row as numbers, ``bad`` which of them are
    excluded, ``lanes`` for `row_figures`.
    """

    data: Array
    err: Array
    dq: Array
    values: Array
    errors: Array
    bad: Array
    lanes: Array

    @classmethod
    def empty(cls, dtypes: tuple[Any, Any, Any], rows: int, cols: int) -> Scratch:
        """Buffers for frames of these native types (None: no such plane), runs of ``rows``."""
        data, err, dq = dtypes
        room = (GROUP, rows * cols)
        return cls(
            np.empty(room, data),
            np.empty((GROUP, 0) if err is None else room, err or np.float32),
            np.empty((GROUP, 0) if dq is None else room, dq or np.uint16),
            np.empty((GROUP, cols), _number(data)),
            np.empty(cols, _number(err or np.float32)),
            np.empty(cols, np.uint16),
            np.empty((2, LANES)),
        )


def _number(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Floating-point type that holds the numbers of a stored type."""
    dtype = np.dtype(dtype)
    return dtype if dtype.kind == "f" else np.dtype(np.float64)


@inline
def _read(file: int, buffer: Array, offset: int) -> bool:
    """Fill a buffer; whether that was possible."""
    count = buffer.size * buffer.itemsize
    if file == IN_MEMORY:
        _memcpy(buffer.ctypes.data, offset, np.uint64(count))
        return True
    done, failures = 0, 0
    while done < count:
        left = np.uint64(count - done)
        got = _pread(np.int32(file), buffer.ctypes.data + done, left, offset + done)
        if got == 0 or failures == _RETRIES:
            return False
        if got < 0:
            failures += 1
        else:
            done += got
    return True


@bare
def _read_frame(frames: Frames, f: int, lo: int, hi: int, scratch: Scratch, g: int) -> bool:
    """Read the pixels lo to hi of a frame into row g of the buffers."""
    pixels = hi - lo
    file = frames.files[f]
    data = scratch.data[g, :pixels]
    if not _read(file, data, frames.offsets[0, f] + lo * data.itemsize):
        return False
    if scratch.err.shape[1] > 0:
        err = scratch.err[g, :pixels]
        if not _read(file, err, frames.offsets[1, f] + lo * err.itemsize):
            return False
    if scratch.dq.shape[1] > 0:
        dq = scratch.dq[g, :pixels]
        if not _read(file, dq, frames.offsets[2, f] + lo * dq.itemsize):
            return False
    return True


@bare
def _load_row(
    frames: Frames, scratch: Scratch, g: int, at: int, flags: Array, n: Array
) -> tuple[np.uint64, bool, float, int]:
    """Make a row of numbers of what was read, NaN where a sample does not count.

    ``at`` is the row's first pixel in the buffers; ``flags`` and ``n`` are its sums. Returns
    the OR of all flags, whether any error is not 0, the fingerprint, and how many samples are
    no numbers.
    """
    cols, values, errors, bad = scratch.bad.size, scratch.values[g], scratch.errors, scratch.bad
    swaps, flips = frames.swaps, frames.flips
    finite = load_values(scratch.data[g, at : at + cols], swaps[0], flips[0], values)
    content = fingerprint(values)
    stored = scratch.dq[g, at : at + cols]
    seen = load_flags(stored, swaps[2], flips[2], frames.mask, flags, n, bad)
    if seen == 0:
        bad[:] = 0
    not_finite = 0
    if not finite:
        not_finite += blank(values, values, flags, n, bad)
    has_errors = False
    if scratch.err.shape[1] > 0:
        err = scratch.err[g, at : at + cols]
        has_errors = not all_zero(err)
        if has_errors:
            finite = load_values(err, swaps[1], flips[1], errors)
            if not finite or any_negative(errors):
                not_finite += blank(errors, values, flags, n, bad, 0.0)
    if seen != 0:
        mask_samples(values, bad)
    return seen, has_errors, content, not_finite


@bare
def _prepare_row(
    frames: Frames,
    f: int,
    scratch: Scratch,
    g: int,
    at: int,
    sums: OpenSums,
    base: int,
    columns: Array,
    row: int,
    figures: Array,
) -> bool:
    """Load a row of frame f and add everything but the samples themselves.

    ``base`` is the row's first pixel in the sums, ``row`` its index among the frame's
    figures. Returns whether any error is not 0.
    """
    cols, values, scale = scratch.bad.size, scratch.values[g], frames.scales[f]
    flags, n = sums.flags[base : base + cols], sums.n[base : base + cols]
    seen, has_errors, content, not_finite = _load_row(frames, scratch, g, at, flags, n)
    if has_errors:
        add_errors(scratch.errors, values, scale, sums.err2[base : base + cols])
    if columns[1] > 0:
        saturated = 0
        if (seen & np.uint64(SATURATED)) != 0:
            area = scratch.dq[g, at + columns[0] : at + columns[1]]
            saturated = count_saturated(area, frames.swaps[2], frames.flips[2])
        out = figures[row]
        row_figures(values, scale, columns, saturated, content, not_finite, scratch.lanes, out)
    if sums.top.shape[0] > 0:
        add_top(values, scale, sums.top[base : base + cols])
    return has_errors


@inline
def _add_rows(
    frames: Frames, first: int, last: int, scratch: Scratch, sums: OpenSums, base: int
) -> None:
    """Add one row of a group of frames, a chunk of pixels at a time."""
    cols = scratch.bad.size
    for c in range(0, cols, _CHUNK):
        d = min(c + _CHUNK, cols)
        K = sums.first[base + c : base + d]
        shifted, squares = sums.shifted[base + c : base + d], sums.squares[base + c : base + d]
        for f in range(first, last):
            add_samples(scratch.values[f - first, c:d], frames.scales[f], K, shifted, squares)


@bare
def _add_run(
    frames: Frames,
    lo: int,
    hi: int,
    scratch: Scratch,
    sums: OpenSums,
    base: int,
    columns: Array,
    figures: Array,
) -> tuple[int, bool]:
    """Add the pixels lo to hi of all frames.

    Returns the index of one whose file ended, or -1, and whether any error is not 0.
    """
    cols, has_errors = scratch.bad.size, False
    for first in range(0, frames.files.size, GROUP):
        last = min(first + GROUP, frames.files.size)
        for f in range(first, last):
            if not _read_frame(frames, f, lo, hi, scratch, f - first):
                return f, False
        for at in range(0, hi - lo, cols):
            row = (lo + at) // cols
            for f in range(first, last):
                has_errors |= _prepare_row(
                    frames, f, scratch, f - first, at, sums, base + at, columns, row, figures[f]
                )
            _add_rows(frames, first, last, scratch, sums, base + at)
    return -1, has_errors


@bare
def add_band(
    frames: Frames,
    band: tuple[int, int],
    scratch: Scratch,
    sums: OpenSums,
    kept: bool,
    fresh: bool,
    columns: Array,
    figures: Array,
    closed: bool,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array,
    flags: Array,
) -> tuple[int, bool]:
    """Add a band of rows of every frame of a batch to open sums; close them if it is the last.

    Parameters
    ----------
    frames : Frames
        The batch.
    band : tuple of int
        First and last-plus-one pixel: whole rows.
    scratch : Scratch
        Buffers of this thread.
    sums : OpenSums
        Sums of the whole frame where ``kept``; else this thread's room for one run.
    kept : bool
        Whether batches came before or will follow.
    fresh : bool
        Whether this is the first batch.
    columns : ndarray of int64, shape (4,)
        Columns of `row_figures`; last column 0 takes no figures.
    figures : ndarray of float64, shape (frames, rows, figures)
        Receives the figures.
    closed : bool
        Whether this is the last batch: then the moments are written.
    n, mean, m2, err2, flags : ndarray, shape (pixels,)
        Receive the moments of the band; err2, all 0 before, only where there may be any.

    Returns
    -------
    failed : int
        Index of a frame whose file ended too early, or -1.
    any_errors : bool
        Whether any error of these frames is not 0.
    """
    step = scratch.data.shape[1]
    any_errors = False
    for lo in range(band[0], band[1], step):
        hi = min(lo + step, band[1])
        base = lo if kept else 0
        if fresh:
            reset(sums, base, base + hi - lo)
        failed, has_errors = _add_run(frames, lo, hi, scratch, sums, base, columns, figures)
        if failed >= 0:
            return failed, False
        any_errors |= has_errors
        if closed:
            close(sums, base, base + hi - lo, n[lo:hi], mean[lo:hi], m2[lo:hi], flags[lo:hi])
            # Memory that holds zeros only is not touched.
            if has_errors or (kept and err2.size > 0):
                close_errors(sums, base, base + hi - lo, err2[lo:hi])
    return -1, any_errors
