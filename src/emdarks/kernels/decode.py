"""From stored big-endian numbers to native ones, in the buffer where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import jit

__all__ = ["to_native", "unsigned"]

Array = npt.NDArray[Any]


@jit
def _swap2(words: Array, flip: np.uint16) -> None:
    for i in range(words.size):
        word = words[i]
        words[i] = np.uint16((word << 8) | (word >> 8)) ^ flip


@jit
def _swap4(words: Array, flip: np.uint32) -> None:
    for i in range(words.size):
        word = words[i]
        word = np.uint32(
            (word << 24) | ((word & 0xFF00) << 8) | ((word >> 8) & 0xFF00) | (word >> 24)
        )
        words[i] = word ^ flip


@jit
def _swap8(words: Array, flip: np.uint64) -> None:
    for i in range(words.size):
        word = words[i]
        high = np.uint64(0)
        for _ in range(8):
            high = (high << np.uint64(8)) | (word & np.uint64(0xFF))
            word >>= np.uint64(8)
        words[i] = high ^ flip


_SWAPS: dict[int, tuple[Any, Any]] = {
    2: (_swap2, np.uint16),
    4: (_swap4, np.uint32),
    8: (_swap8, np.uint64),
}


def to_native(words: Array, flip: int = 0) -> None:
    """Swap the bytes of unsigned integers in place, then XOR each with ``flip``.

    The XOR with the top bit turns FITS's offset integers (BZERO = 2^15 for
    uint16, 2^31 for uint32) into the unsigned numbers that they stand for.
    """
    size = words.dtype.itemsize
    if size == 1:
        if flip:
            words ^= words.dtype.type(flip)
        return
    swap, kind = _SWAPS[size]
    swap(words, kind(flip))


def unsigned(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Native unsigned integer type of the same width (booleans count as one byte)."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")
