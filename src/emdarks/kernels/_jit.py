"""How kernels are compiled: one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

__all__ = ["bare", "inline", "jit"]

Function = TypeVar("Function", bound=Callable[..., object])


def jit(function: Function) -> Function:
    """Compile a kernel, releasing the interpreter lock and keeping the code on disk.

    Without fast-math: the order of floating-point operations is part of what
    "the same bits" means.
    """
    compiled = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    return cast("Function", compiled)


def bare(function: Function) -> Function:
    """Compile a kernel that makes no arrays, but many views of those that it is given.

    Views are counted references, and counting is an atomic operation, on memory that threads
    share; without Numba's run-time they are plain pointers.
    """
    compiled = numba.njit(nogil=True, cache=True, error_model="numpy", _nrt=False)(function)
    return cast("Function", compiled)


def inline(function: Function) -> Function:
    """Compile a helper that kernels call in their inner loops."""
    compiled = numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")(function)
    return cast("Function", compiled)
