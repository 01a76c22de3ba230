"""From groups of options to a command.

A group is a class whose fields are options::

    @group
    class Execution:
        threads: int | None = option(None, "Threads; default: all cores.", min=1)

A command takes groups as its keyword arguments and gets one object for each. The name of a field
is the name of the option, its key in ``emdarks.toml`` and the keyword of the public functions
that take it; `Option` states where one of these is different.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum
from functools import wraps
from typing import Annotated, Any, TypeVar, dataclass_transform, get_type_hints

import typer

from emdarks.cli import console

#: Default of an option that must be given.
REQUIRED: Any = inspect.Parameter.empty

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_Group = TypeVar("_Group")


@dataclass(frozen=True, slots=True)
class Option:
    """An option of the command line, or an argument.

    Attributes
    ----------
    default : object
        Value where it is not given; `REQUIRED`.
    help : str
        Line of the help.
    names : tuple of str
        Names on the command line; ``--name`` of the field by default.
    metavar : str, optional
        Word for the value in the help.
    min, max : float, optional
        Limits of a number.
    parser : callable, optional
        From the text to the value.
    positional : bool
        It is an argument.
    keyword : str
        Keyword of the public functions; the name of the field by default.
    convert : callable, optional
        From the value of the option to that of the keyword.
    passed : bool
        Whether the public functions take it; else the command itself uses it.
    in_file : bool
        Whether ``emdarks.toml`` may set it. A file beside frames may not choose where to write,
        what to replace, whom to connect to, or how a result is shown: whoever made the folder
        must not choose these.
    """

    default: Any
    help: str
    names: tuple[str, ...] = ()
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    parser: Callable[[str], Any] | None = None
    positional: bool = False
    keyword: str = ""
    convert: Callable[[Any], Any] | None = None
    passed: bool = True
    in_file: bool = True

    def parameter(self, name: str, kind: Any) -> inspect.Parameter:
        """The parameter that Typer makes an option of.

        Parameters
        ----------
        name : str
            Of the field.
        kind : type
            Of the value.
        """
        info: Any
        if self.positional:
            info = typer.Argument(metavar=self.metavar, help=self.help, show_default=False)
        else:
            names = self.names or (f"--{name.replace('_', '-')}",)
            info = typer.Option(
                *names,
                help=self.help,
                metavar=self.metavar,
                min=self.min,
                max=self.max,
                parser=self.parser,
            )
        return inspect.Parameter(
            name, _KEYWORD, default=self.default, annotation=Annotated[kind, info, self]
        )


def option(default: Any, text: str, *names: str, **more: Any) -> Any:
    """A field that is an option; see `Option`."""
    return Option(default, text, names, **more)


def argument(default: Any, text: str, **more: Any) -> Any:
    """A field that is an argument of the command line; see `Option`."""
    return Option(default, text, positional=True, **more)


@dataclass_transform(kw_only_default=True, frozen_default=True)
def group(cls: type[_Group]) -> type[_Group]:
    """Make a frozen dataclass of a class whose fields are options."""
    for name in cls.__annotations__:
        own = vars(cls)[name]
        default = MISSING if own.default is REQUIRED else own.default
        setattr(cls, name, field(default=default, metadata={"option": own}))
    return dataclass(frozen=True, kw_only=True)(cls)


def arguments(*groups: Any) -> dict[str, Any]:
    """Keyword arguments of public functions that groups of options stand for.

    Raises
    ------
    typer.BadParameter
        The value of an option is wrong.
    InputError
        A file that an option names cannot be read.
    """
    found = {}
    for each in groups:
        for item in fields(each):
            own: Option = item.metadata["option"]
            if own.passed:
                found[own.keyword or item.name] = (own.convert or _plain)(getattr(each, item.name))
    return found


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


@group
class Verbosity:
    """How much is said; every command has it."""

    verbose: bool = option(
        False,
        "Say more: every file of a finding, time, memory, tracebacks.",
        *("--verbose", "-v"),
        in_file=False,
    )
    quiet: bool = option(
        False, "Say nothing but warnings and errors.", "--quiet", "-q", in_file=False
    )

    @property
    def loudness(self) -> console.Loudness:
        """The same in one value.

        Raises
        ------
        typer.BadParameter
            Both are asked for.
        """
        if self.verbose and self.quiet:
            raise typer.BadParameter("give either --verbose or --quiet")
        if self.verbose:
            return console.Loudness.VERBOSE
        return console.Loudness.QUIET if self.quiet else console.Loudness.NORMAL


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose arguments are groups of options, or options.

    Every command has the options of `Verbosity`, too. Errors and warnings of emdarks become one
    line each.

    Parameters
    ----------
    function : callable
        Its docstring is the help of the command. An argument has the type of a group, or an
        `Option` as its default.

    Returns
    -------
    callable
        With the signature that Typer reads: keywords only, in the order of the arguments,
        options that must be given before all others.

    Raises
    ------
    TypeError
        Two options have the same name, or an argument is no option.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())
    verbosity = inspect.Parameter("verbosity", _KEYWORD, annotation=Verbosity)
    options = _expanded([*own, verbosity])

    @wraps(function)
    def run(**given: Any) -> None:
        console.set_loudness(_value(verbosity, given).loudness)
        started = time.monotonic()
        with console.cli_errors():
            function(**{parameter.name: _value(parameter, given) for parameter in own})
        console.say_more(f"took {console.duration(time.monotonic() - started)}{_memory()}")

    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in options}
    return run


def _expanded(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    """The options that arguments stand for, those that must be given first."""
    found: list[inspect.Parameter] = []
    for each in parameters:
        found += _options(each.annotation) if is_dataclass(each.annotation) else [_option(each)]
    names = [each.name for each in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TypeError(f"options of the same name: {', '.join(sorted(twice))}")
    return sorted(found, key=lambda each: each.default is not REQUIRED)


def _options(group: Any) -> list[inspect.Parameter]:
    """The options of a group."""
    kinds = get_type_hints(group)
    return [
        item.metadata["option"].parameter(item.name, kinds[item.name]) for item in fields(group)
    ]


def _option(parameter: inspect.Parameter) -> inspect.Parameter:
    """The option that one argument is."""
    if not isinstance(parameter.default, Option):
        raise TypeError(f"{parameter.name}: is neither an option nor a group of them")
    return parameter.default.parameter(parameter.name, parameter.annotation)


def _value(parameter: inspect.Parameter, given: Mapping[str, Any]) -> Any:
    """Value of an argument: that of the option, or the object of a group."""
    kind: Any = parameter.annotation
    if not is_dataclass(kind):
        return given[parameter.name]
    return kind(**{item.name: given[item.name] for item in fields(kind)})  # type: ignore[operator]


def _memory() -> str:
    """Memory that the process took at most, where the system says."""
    try:
        import resource
    except ImportError:
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    megabytes = peak / (1e6 if sys.platform == "darwin" else 1e3)
    return f", {megabytes:.0f} MB of memory at most"
