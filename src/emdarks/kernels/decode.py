"""From stored numbers to native ones: bytes in order, and what cannot be used made NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba.extending import overload

from emdarks.kernels._jit import bare, inline

__all__ = [
    "all_zero",
    "any_negative",
    "blank",
    "flip_bytes",
    "load_values",
    "swapped",
    "to_native",
    "unsigned",
]

Array = npt.NDArray[Any]

_B8, _B16, _B24 = np.uint32(8), np.uint32(16), np.uint32(24)
_LOW, _SECOND = np.uint32(0xFF), np.uint32(0xFF00)


@inline
def _swapped2(word: Any) -> Any:
    return np.uint16((word << 8) | (word >> 8))


@inline
def _swapped4(word: Any) -> Any:
    high = (word << _B24) | ((word & _SECOND) << _B8)
    return np.uint32(high | ((word >> _B8) & _SECOND) | (word >> _B24))


@inline
def _swapped8(word: Any) -> Any:
    low = np.uint64(_swapped4(np.uint32(word >> np.uint64(32))))
    high = np.uint64(_swapped4(np.uint32(word & np.uint64(0xFFFFFFFF))))
    return (high << np.uint64(32)) | low


@inline
def _swapped1(word: Any) -> Any:
    return word


def swapped(word: Any) -> Any:
    """Bytes of a word in the other order; chosen by its width when a kernel is compiled."""
    raise NotImplementedError("only compiled code calls this")


@overload(swapped, strict=False)  # type: ignore[untyped-decorator]
def _choose_swapped(word: Any) -> Any:
    swap = {8: _swapped1, 16: _swapped2, 32: _swapped4, 64: _swapped8}[word.bitwidth]
    return lambda word: swap(word)


@bare
def _to_native(words: Array, flip: Any) -> None:
    bits = words.dtype.type(flip)
    for i in range(words.size):
        words[i] = swapped(words[i]) ^ bits


@bare
def flip_bytes(words: Array, flip: Any) -> None:
    """Flip bits of words in place; there is nothing to swap."""
    bits = words.dtype.type(flip)
    for i in range(words.size):
        words[i] ^= bits


def to_native(words: Array, flip: int = 0) -> None:
    """Swap the bytes of unsigned integers in place, then XOR each with ``flip``.

    The XOR with the top bit turns FITS's offset integers (BZERO = 2^15 for
    uint16, 2^31 for uint32) into the unsigned numbers that they stand for.
    """
    if words.dtype.itemsize > 1 or flip:
        _to_native(words, np.uint64(flip))


def unsigned(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Native unsigned integer type of the same width (booleans count as one byte)."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")


# From here on (10^12) a number counts as not finite: no camera counts so far, and one such
# sample would spoil the pooled noise of its stack.
_HUGE = 2.0**40
_EXPONENT_4, _LIMIT_4 = np.uint32(0x7F800000), np.uint32((127 + 40) << 23)
_EXPONENT_8, _LIMIT_8 = np.uint64(0x7FF << 52), np.uint64((1023 + 40) << 52)


@inline
def _words_in_order(words: Array, swap: bool, out: Array, exponent: Any) -> Any:
    """Put words in native order into ``out``; returns the largest exponent among them."""
    worst = words.dtype.type(0)
    if swap:
        for p in range(words.size):
            word = swapped(words[p])
            out[p] = word
            worst = words.dtype.type(max(worst, words.dtype.type(word & exponent)))
    else:
        for p in range(words.size):
            word = words[p]
            out[p] = word
            worst = words.dtype.type(max(worst, words.dtype.type(word & exponent)))
    return worst


@bare
def _load_real4(stored: Array, swap: bool, flip: Any, out: Array) -> bool:
    worst = _words_in_order(stored.view(np.uint32), swap, out.view(np.uint32), _EXPONENT_4)
    return bool(worst < _LIMIT_4)


@bare
def _load_real8(stored: Array, swap: bool, flip: Any, out: Array) -> bool:
    worst = _words_in_order(stored.view(np.uint64), swap, out.view(np.uint64), _EXPONENT_8)
    return bool(worst < _LIMIT_8)


def _word(number: Any) -> Any:
    """An integer's bits, or a word itself; compiled code only."""
    raise NotImplementedError("only compiled code calls this")


@overload(_word, strict=False)  # type: ignore[untyped-decorator]
def _choose_word(number: Any) -> Any:
    word = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}[number.bitwidth]
    return lambda number: word(number)


@bare
def _load_integers(stored: Array, swap: bool, flip: Any, out: Array) -> bool:
    kind = stored.dtype.type
    for p in range(stored.size):
        word = _word(stored[p])
        bits = swapped(word) if swap else word
        out[p] = kind(bits ^ _word(kind(flip)))
    # Only 8 bytes hold whole numbers that no camera counts.
    return bool(stored.itemsize < 8)


def load_values(stored: Array, swap: bool, flip: Any, out: Array) -> bool:
    """Stored numbers as native floating-point numbers; compiled code only.

    Parameters
    ----------
    stored : ndarray
        Numbers as they were read; integers are overwritten.
    swap : bool
        Whether their bytes are in the other order.
    flip : numpy.uint64
        Bits to flip after swapping, of integers.
    out : ndarray of float32 or float64
        Receives them: real numbers in their own width, integers as float64.

    Returns
    -------
    bool
        Whether all of them are known to be finite, and none is too large to be true.
    """
    raise NotImplementedError("only compiled code calls this")


@overload(load_values, strict=False)  # type: ignore[untyped-decorator]
def _choose_loader(stored: Any, swap: Any, flip: Any, out: Any) -> Any:
    load = {"float32": _load_real4, "float64": _load_real8}.get(stored.dtype.name, _load_integers)
    return lambda stored, swap, flip, out: load(stored, swap, flip, out)


@bare
def any_negative(values: Array) -> bool:
    """Whether a number is below 0."""
    count = 0
    for p in range(values.size):
        count += values[p] < 0.0
    return count > 0


@bare
def blank(
    values: Array, where: Array, flags: Array, n: Array, bad: Array, least: float = -_HUGE
) -> int:
    """Make samples NaN where a number is not finite or too large to be true, with flag 1.

    Parameters
    ----------
    values : ndarray
        Samples, or their errors.
    where : ndarray
        Samples that become NaN there; ``values`` itself or the samples of these errors.
    flags, n, bad
        As `emdarks.kernels.moments.load_flags` left them; changed to match.
    least : float
        Smallest number that can be true; 0 for errors.

    Returns
    -------
    int
        How many.
    """
    count = 0
    for p in range(values.size):
        if not least <= np.float64(values[p]) < _HUGE:
            count += 1
            flags[p] |= flags.dtype.type(1)
            where[p] = np.nan
            if bad[p] == 0:
                bad[p] = 1
                n[p] -= 1
    return count


@inline
def _no_bit(words: Array) -> bool:
    seen = words.dtype.type(0)
    for p in range(words.size):
        # The type is kept narrow: more of them fit a vector register.
        seen = words.dtype.type(seen | words[p])
    return bool(seen == 0)


@bare
def _all_zero4(stored: Array) -> bool:
    return _no_bit(stored.view(np.uint32))


@bare
def _all_zero8(stored: Array) -> bool:
    return _no_bit(stored.view(np.uint64))


@bare
def _all_zero_integers(stored: Array) -> bool:
    return _no_bit(stored)


def all_zero(stored: Array) -> bool:
    """Whether all bits of stored numbers are 0; compiled code only."""
    raise NotImplementedError("only compiled code calls this")


@overload(all_zero, strict=False)  # type: ignore[untyped-decorator]
def _choose_all_zero(stored: Any) -> Any:
    check = {"float32": _all_zero4, "float64": _all_zero8}.get(stored.dtype.name)
    check = check or _all_zero_integers
    return lambda stored: check(stored)
