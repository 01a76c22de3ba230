"""From a function with groups of options to a command."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Any

import typer

from emdarks.cli import console
from emdarks.cli.options import Verbosity, hints_of

__all__ = ["command"]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose arguments are options, or groups of options.

    A group is a dataclass whose fields are options: each becomes an option of the command, and
    the function gets the object. Every command has the options of `Verbosity`, too. Errors and
    warnings of emdarks become one line each.

    Parameters
    ----------
    function : callable
        Its docstring is the help of the command.

    Returns
    -------
    callable
        With the signature that Typer reads: keywords only, in the order of the arguments,
        options that must be given before all others.

    Raises
    ------
    TypeError
        Two arguments or fields have the same name.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())
    verbosity = inspect.Parameter("verbosity", _KEYWORD, annotation=Verbosity)
    options = _expanded([*own, verbosity])

    @wraps(function)
    def run(**given: Any) -> None:
        console.set_loudness(_loudness(_value(verbosity, given)))
        started = time.monotonic()
        with console.spoken():
            function(**{parameter.name: _value(parameter, given) for parameter in own})
        console.say_more(f"took {console.duration(time.monotonic() - started)}{_memory()}")

    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _expanded(parameters: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    """The options that arguments stand for, those without a default first."""
    found: list[inspect.Parameter] = []
    for parameter in parameters:
        if is_dataclass(parameter.annotation):
            found += _options(parameter.annotation)
        else:
            found.append(parameter.replace(kind=_KEYWORD))
    names = [option.name for option in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"options of the same name: {', '.join(sorted(twice))}")
    return sorted(found, key=lambda option: option.default is not option.empty)


def _options(group: Any) -> list[inspect.Parameter]:
    """The options of a group."""
    hints = hints_of(group)
    return [
        inspect.Parameter(
            field.name,
            _KEYWORD,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


def _value(parameter: inspect.Parameter, given: Mapping[str, Any]) -> Any:
    """Value of an argument: that of the option, or the object of a group."""
    group: Any = parameter.annotation
    if not is_dataclass(group):
        return given[parameter.name]
    return group(**{field.name: given[field.name] for field in fields(group)})  # type: ignore[operator]


def _loudness(verbosity: Verbosity) -> console.Loudness:
    if verbosity.verbose and verbosity.quiet:
        raise typer.BadParameter("give either --verbose or --quiet")
    if verbosity.verbose:
        return console.Loudness.VERBOSE
    return console.Loudness.QUIET if verbosity.quiet else console.Loudness.NORMAL


def _memory() -> str:
    """Memory that the process took at most, where the system says."""
    try:
        import resource
    except ImportError:
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    megabytes = peak / (1e6 if sys.platform == "darwin" else 1e3)
    return f", {megabytes:.0f} MB of memory at most"
