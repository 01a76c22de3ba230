"""Kernels as plain Python, for tests with NUMBA_DISABLE_JIT=1.

Numba then leaves its functions as they are. What only its compiler can resolve - functions
chosen by the type of an argument, and calls of the C library - gets a stand-in here; the
choice itself is still made by the kernels' own choosers.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numba

from emdarks.kernels import decode, figures, moments, stream

__all__ = ["INTERPRETED", "stand_in"]

#: Whether nothing is compiled.
INTERPRETED = bool(numba.config.DISABLE_JIT)


def _swapped(word: Any) -> Any:
    return decode._choose_swapped(numba.typeof(word))(word)


def _word(number: Any) -> Any:
    return decode._choose_word(numba.typeof(number))(number)


def _load_values(stored: Any, swap: Any, flip: Any, out: Any) -> bool:
    return decode._choose_loader(stored, swap, flip, out)(stored, swap, flip, out)


def _all_zero(stored: Any) -> bool:
    return decode._choose_all_zero(stored)(stored)


def _pread(file: int, address: int, size: int, offset: int) -> int:
    if size < 0 or offset < 0:
        return -1
    try:
        part = os.pread(int(file), int(size), int(offset))
    except OSError:
        return -1
    ctypes.memmove(int(address), part, len(part))
    return len(part)


def _memcpy(target: int, source: int, size: int) -> int:
    ctypes.memmove(int(target), int(source), int(size))
    return target


def stand_in() -> None:
    """Put the stand-ins in the places of what only compiled code can call."""
    for module in (decode, figures, moments, stream):
        for name, function in (
            ("swapped", _swapped),
            ("load_values", _load_values),
            ("all_zero", _all_zero),
        ):
            if hasattr(module, name):
                setattr(module, name, function)
    decode._word = _word
    stream._pread, stream._memcpy = _pread, _memcpy
