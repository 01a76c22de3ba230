"""From stored big-endian numbers to native ones, in the buffer where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import jit

__all__ = ["flip_bytes", "swap2", "swap4", "swap8", "to_native", "unsigned"]

Array = npt.NDArray[Any]


@jit
def swap2(words: Array, flip: Any) -> None:
    """Swap the bytes of 16-bit words in place, then flip bits."""
    bits = words.dtype.type(flip)
    for i in range(words.size):
        word = words[i]
        words[i] = np.uint16((word << 8) | (word >> 8)) ^ bits


@jit
def swap4(words: Array, flip: Any) -> None:
    """Swap the bytes of 32-bit words in place, then flip bits."""
    bits = words.dtype.type(flip)
    for i in range(words.size):
        word = words[i]
        word = np.uint32(
            (word << 24) | ((word & 0xFF00) << 8) | ((word >> 8) & 0xFF00) | (word >> 24)
        )
        words[i] = word ^ bits


@jit
def swap8(words: Array, flip: Any) -> None:
    """Swap the bytes of 64-bit words in place, then flip bits."""
    bits = words.dtype.type(flip)
    for i in range(words.size):
        word = words[i]
        high = np.uint64(0)
        for _ in range(8):
            high = (high << np.uint64(8)) | (word & np.uint64(0xFF))
            word >>= np.uint64(8)
        words[i] = high ^ bits


@jit
def flip_bytes(words: Array, flip: Any) -> None:
    """Flip bits of bytes in place; there is nothing to swap."""
    bits = words.dtype.type(flip)
    for i in range(words.size):
        words[i] ^= bits


_SWAPS: dict[int, Any] = {1: flip_bytes, 2: swap2, 4: swap4, 8: swap8}


def to_native(words: Array, flip: int = 0) -> None:
    """Swap the bytes of unsigned integers in place, then XOR each with ``flip``.

    The XOR with the top bit turns FITS's offset integers (BZERO = 2^15 for
    uint16, 2^31 for uint32) into the unsigned numbers that they stand for.
    """
    if words.dtype.itemsize > 1 or flip:
        _SWAPS[words.dtype.itemsize](words, np.uint64(flip))


def unsigned(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Native unsigned integer type of the same width (booleans count as one byte)."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")
