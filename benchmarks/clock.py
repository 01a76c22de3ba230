"""Timing: the least of repeats, taken in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def taken(function: Callable[[], Any]) -> tuple[float, float]:
    """How long one call takes: seconds, and seconds of CPU of all threads."""
    start, busy = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start, time.process_time() - busy


def seconds(function: Callable[[], Any]) -> float:
    """How long one call takes."""
    return taken(function)[0]


def least(repeats: int, functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Least seconds of each, and "NAME, CPU".

    They are called in turn, so that a disturbance meets all of them. Each does the same work
    every time: what takes longer than the least was disturbed.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(taken(function))
    whole = {name: min(s for s, _ in values) for name, values in times.items()}
    return whole | {f"{name}, CPU": min(c for _, c in values) for name, values in times.items()}
