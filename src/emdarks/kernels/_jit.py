"""How kernels are compiled: one place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numba
from numba.core import event
from numba.core.caching import FunctionCache
from numba.core.sigutils import normalize_signature

__all__ = ["announce_compilation", "bare", "inline", "jit"]

Function = TypeVar("Function", bound=Callable[..., object])

#: Seconds of compilation that nobody needs to be told of.
PATIENCE = 1.0


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


class _Watch(event.Listener):  # type: ignore[misc]
    """Calls once, as soon as compilation has taken a while, all in all."""

    def __init__(self, say: Callable[[bool], None]):
        self._say = say
        self._kept = True
        self._spent = 0.0
        self._begun: list[float] = []
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._said = False

    def on_start(self, event: Any) -> None:
        """Begin to wait, at the outermost of kernels that compile one another."""
        with self._lock:
            self._begun.append(time.monotonic())
            if len(self._begun) == 1 and not self._said:
                self._kept = event.data["dispatcher"].stats.cache_path is not None
                self._timer = threading.Timer(max(PATIENCE - self._spent, 0.0), self._speak)
                self._timer.daemon = True
                self._timer.start()

    def on_end(self, event: Any) -> None:
        """Stop to wait."""
        with self._lock:
            begun = self._begun.pop()
            if not self._begun:
                self._spent += time.monotonic() - begun
                self.cancel()

    def cancel(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _speak(self) -> None:
        with self._lock:
            said, self._said = self._said, True
        if not said:
            self._say(self._kept)


@contextmanager
def announce_compilation(say: Callable[[bool], None]) -> Iterator[None]:
    """Call a function if kernels must be compiled meanwhile: that takes a while, once.

    Parameters
    ----------
    say : callable
        Called at most once, by another thread, when compilation has taken a second; with
        whether the compiled code will be there for the next run.
    """
    watch = _Watch(say)
    event.register("numba:compile", watch)
    try:
        yield
    finally:
        event.unregister("numba:compile", watch)
        watch.cancel()
