"""Options that every command has, whatever else it takes."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from emdarks.cli import console

__all__ = ["with_common"]

Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Say more: every file of a finding, time, memory, tracebacks."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]


def with_common(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--verbose`` and ``--quiet``."""

    @wraps(command)
    def run(*, verbose: bool, quiet: bool, **arguments: Any) -> None:
        if verbose and quiet:
            raise typer.BadParameter("give either --verbose or --quiet")
        console.set_loudness(
            console.Loudness.VERBOSE
            if verbose
            else console.Loudness.QUIET
            if quiet
            else console.Loudness.NORMAL
        )
        started = time.monotonic()
        command(**arguments)
        console.say_more(f"took {console.duration(time.monotonic() - started)}{_memory()}")

    # Typer reads the options from here.
    own = inspect.signature(command, eval_str=True).parameters.values()
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("verbose", Verbose), ("quiet", Quiet))
    ]
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own
    ] + added
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _memory() -> str:
    """Memory that the process took at most, where the system says."""
    try:
        import resource
    except ImportError:
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    megabytes = peak / (1e6 if sys.platform == "darwin" else 1e3)
    return f", {megabytes:.0f} MB of memory at most"
