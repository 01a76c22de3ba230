"""The steps of `calibrate_darks_lsq`: their times, and what they were called with."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from emdarks.darks import noise_maps, planned_stacks

#: Functions that the recipe calls, and what they do; and the modules that call them.
STEPS = {
    "accumulate_stacks": "streaming",
    "fit_reference": "fit",
    "fit_pooled": "fit",
}
CALLERS = noise_maps, planned_stacks


@dataclass
class Stages:
    """Seconds by step, their arguments, seconds of the whole call, and what it made."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)
    total: float = 0.0
    product: Any = None

    def named(self) -> dict[str, float]:
        """Seconds by what was done, and what is left of the whole."""
        steps = {STEPS[name]: value for name, value in self.seconds.items()}
        return {**steps, "everything else": self.total - sum(steps.values())}


@contextmanager
def watched() -> Iterator[Stages]:
    """Keep an eye on the steps while a recipe runs."""
    stages = Stages()
    originals = [
        (module, name, getattr(module, name))
        for module in CALLERS
        for name in STEPS
        if hasattr(module, name)
    ]

    def watch(name: str, step: Any) -> Any:
        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = step(*arguments, **options)
            stages.seconds[name] = time.perf_counter() - start
            stages.calls[name] = arguments, options
            return result

        return timed

    for module, name, step in originals:
        setattr(module, name, watch(name, step))
    try:
        yield stages
    finally:
        for module, name, step in originals:
            setattr(module, name, step)


def calibrate(dataset: Any, estimator: str, threads: int | None = None) -> Stages:
    """Make noise maps, and say what took how long."""
    from emdarks.accumulate import Threads

    with watched() as stages, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.perf_counter()
        stages.product = noise_maps.calibrate_darks_lsq(
            dataset, None, estimator=estimator, executor=Threads(threads)
        )
        stages.total = time.perf_counter() - start
    return stages
