"""From open files to sums in one compiled call: read, swap, accumulate.

For plain frames that are laid out alike. A run of pixels of every frame of a batch is
read into cache-sized buffers and added at once: each byte crosses main memory once, and no
step waits for the interpreter. Files are descriptors and byte offsets here; what they mean
is the caller's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from emdarks.kernels._jit import inline, jit
from emdarks.kernels.decode import flip_bytes, swap2, swap4, swap8
from emdarks.kernels.figures import row_figures
from emdarks.kernels.moments import update_open

__all__ = ["stream_run"]

Array = npt.NDArray[Any]

# The C library's positioned read: no shared file offset, no lock.
_pread = types.ExternalFunction(
    "pread", types.int64(types.int32, types.intp, types.uint64, types.int64)
)
# A read may be interrupted by a signal; a file that ended gives 0 at once.
_RETRIES = 100


@inline
def _read(file: int, raw: Array, offset: int) -> bool:
    """Fill a buffer of bytes; whether that was possible."""
    done, failures = 0, 0
    while done < raw.size:
        count = _pread(
            np.int32(file), raw.ctypes.data + done, np.uint64(raw.size - done), offset + done
        )
        if count == 0 or failures == _RETRIES:
            return False
        if count < 0:
            failures += 1
        else:
            done += count
    return True


def _swap(words: Array, flip: Any) -> None:
    """Swap bytes in place; chosen by the width of the words when a kernel is compiled."""
    raise NotImplementedError("only compiled code calls this")


@overload(_swap, strict=False)  # type: ignore[untyped-decorator]
def _choose_swap(words: Any, flip: Any) -> Any:
    swap = {8: flip_bytes, 16: swap2, 32: swap4, 64: swap8}[words.dtype.bitwidth]
    return lambda words, flip: swap(words, flip)


@jit
def stream_run(
    files: Array,
    offsets: Array,
    run: tuple[int, int],
    data_words: Array,
    data: Array,
    err_words: Array | None,
    err: Array | None,
    dq_words: Array | None,
    flips: Array,
    mask: np.uint64,
    scales: Array,
    n: Array,
    first: Array,
    shifted: Array,
    squares: Array,
    err2: Array | None,
    flags: Array,
    cols: int,
    columns: Array,
    figures: Array,
) -> int:
    """Add a run of pixels of every frame of a batch to open sums.

    Parameters
    ----------
    files : ndarray of int32, shape (frames,)
        Open file descriptors.
    offsets : ndarray of int64, shape (3, frames)
        Byte at which image, err and dq of each frame start.
    run : tuple of int
        First and last-plus-one pixel: whole rows.
    data_words, err_words, dq_words : ndarray of unsigned integers, shape (pixels of the run,)
        Buffers; None where frames have no err or dq.
    data, err : ndarray of float32 or float64
        The same memory as numbers.
    flips : ndarray of uint64, shape (3,)
        Bits to flip after swapping.
    mask, n, first, shifted, squares, err2, flags
        As in `emdarks.kernels.moments.update`.
    scales : ndarray of float64, shape (frames,)
        Factor of each frame to the unit of the sums.
    cols : int
        Columns of a frame.
    columns : ndarray of int64, shape (4,)
        Columns of `row_figures`; last column 0 takes no figures.
    figures : ndarray of float64, shape (frames, rows of the run, figures)
        Receives the figures.

    Returns
    -------
    int
        Index of a frame whose file ended too early, or -1.
    """
    for f in range(files.size):
        start = offsets[0, f] + run[0] * data_words.itemsize
        if not _read(files[f], data_words.view(np.uint8), start):
            return f
        _swap(data_words, flips[0])
        if err_words is not None:
            start = offsets[1, f] + run[0] * err_words.itemsize
            if not _read(files[f], err_words.view(np.uint8), start):
                return f
            _swap(err_words, flips[1])
        if dq_words is not None:
            start = offsets[2, f] + run[0] * dq_words.itemsize
            if not _read(files[f], dq_words.view(np.uint8), start):
                return f
            _swap(dq_words, flips[2])
        update_open(data, err, dq_words, mask, scales[f], n, first, shifted, squares, err2, flags)
        if columns[1] > 0:
            row_figures(
                data,
                dq_words,
                mask,
                scales[f],
                cols,
                columns[0],
                columns[1],
                columns[2],
                columns[3],
                figures[f],
            )
    return -1
