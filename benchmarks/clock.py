"""Timing: medians of repeats, taken in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds(function: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def medians(repeats: int, functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each; called in turn, so that a disturbance meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: statistics.median(values) for name, values in times.items()}
