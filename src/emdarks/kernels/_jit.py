"""How kernels are compiled: one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache
from numba.core.sigutils import normalize_signature

__all__ = ["bare", "inline", "jit"]

Function = TypeVar("Function", bound=Callable[..., object])


def jit(function: Function) -> Function:
    """Compile a kernel, releasing the interpreter lock and keeping the code on disk.

    Without fast-math: the order of floating-point operations is part of what
    "the same bits" means.
    """
    return _compiled(function, {"nogil": True, "error_model": "numpy"})


def bare(function: Function) -> Function:
    """Compile a kernel that makes no arrays, but many views of those that it is given.

    Views are counted references, and counting is an atomic operation, on memory that threads
    share; without Numba's run-time they are plain pointers.
    """
    return _compiled(function, {"nogil": True, "error_model": "numpy", "_nrt": False})


def inline(function: Function) -> Function:
    """Compile a helper that kernels call in their inner loops."""
    return _compiled(function, {"nogil": True, "error_model": "numpy", "inline": "always"})


class _Kept(FunctionCache):  # type: ignore[misc]
    """Numba's compiled code on disk, taken only if it is for the types that were asked for.

    Two processes that save code for different types at the same time may give their files the
    same name. Nothing notices later: code for float32 reads int32 as if they were float32.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was kept for these types; None leads to compilation, and to another file."""
        found = super().load_overload(sig, target_context)
        if found is None or found.signature.args == normalize_signature(sig)[0]:
            return found
        return None


def _compiled(function: Function, options: dict[str, Any]) -> Function:
    try:
        kernel = numba.njit(cache=True, **options)(function)
        if not numba.config.DISABLE_JIT:
            kernel._cache = _Kept(function)
        return cast("Function", kernel)
    except RuntimeError:
        # Neither the package's folder nor the user's cache nor NUMBA_CACHE_DIR can be
        # written: every run compiles anew, which is better than none.
        return cast("Function", numba.njit(**options)(function))
