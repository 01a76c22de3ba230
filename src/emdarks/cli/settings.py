"""Defaults of options: ``emdarks.toml`` beside the frames, and the variable ``EMDARKS_CAMERA``.

An option on the command line comes before the file; the file comes before the CAMERA card of
the frames, and that before the variable: what is set once for all must not overrule frames
that say what they are. Only the commands look at these; functions of Python never do.
"""

from __future__ import annotations

import inspect
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from typer.core import TyperCommand

from emdarks.cli import console
from emdarks.cli.command import Option
from emdarks.errors import InputError

FILE = "emdarks.toml"
VARIABLE = "EMDARKS_CAMERA"

#: Arguments that name frames, or products and frames.
_FRAMES = ("frames", "products")
#: Arguments that name a product; its CAMERA card counts as that of frames does.
_PRODUCTS = ("maps", "product")
#: Words for files in the metavar of an option, beside which words in lower case are choices.
_FILE_WORDS = frozenset({"FILE", "FRAMES", "MAPS"})
_TOLD = "emdarks.defaults"

#: What a value must be, by the type of its option.
_KINDS: dict[type, tuple[type | tuple[type, ...], str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
}


class WithDefaults(TyperCommand):
    """A command whose options have defaults that a user may set once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; options that it does not name are looked up elsewhere."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        ctx.default_map = _Defaults(self, ctx)
        with console.cli_errors():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Say what was looked up, then run the command."""
        told = ctx.meta.get(_TOLD)
        if told and not ctx.params.get("quiet"):
            console.set_loudness(console.Loudness.NORMAL)
            for line in told:
                console.say(line)
        return super().invoke(ctx)


class _Defaults(dict[str, Any]):
    """Values of options, found when the first of them is asked for.

    Arguments, and options of the command line, are parsed before an option that is not given
    asks here for its value: the frames are known then.
    """

    def __init__(self, command: Any, ctx: Any):
        super().__init__()
        self._command = command
        self._ctx = ctx
        self._looked = False

    def get(self, name: str, default: Any = None) -> Any:
        """Value of an option by the name of its parameter."""
        is_option = any(
            item.name == name and item.param_type_name == "option" and not item.is_eager
            for item in self._command.params
        )
        if is_option and not self._looked:
            self._looked = True
            self._look()
        return super().get(name, default)

    def _look(self) -> None:
        given = self._ctx.params
        told = []
        frames = _named(given, _FRAMES)
        path = _file_beside(frames)
        if path is not None:
            self.update(_values(path, self._command, _commands(self._ctx)))
            told += _telling(path, self, self._command, given)
        if "camera" not in self and "camera" not in given:
            camera = _camera_of_all(self._command, frames or _named(given, _PRODUCTS))
            if camera:
                self["camera"] = camera
                told.append(f"from {VARIABLE}: camera {camera}")
        self._ctx.meta[_TOLD] = told


def _named(given: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Files that the arguments of these names give; the first argument that gives any."""
    for name in names:
        value = given.get(name)
        if isinstance(value, (list, tuple)) and value:
            return [str(item) for item in value]
        if isinstance(value, (str, Path)):
            return [str(value)]
    return []


def _file_beside(frames: list[str]) -> Path | None:
    """The file of defaults in the folder of the first frame; none for a URL."""
    if not frames:  # as for --help, which loads nothing
        return None
    from emdarks.fits import is_url, local_path
    from emdarks.frames import first_file

    if is_url(frames[0]) and not local_path(frames[0]):
        return None
    first = first_file(frames[:1])
    path = first.parent / FILE if isinstance(first, Path) else None
    return path if path is not None and path.is_file() else None


def _camera_of_all(command: Any, files: list[str]) -> str:
    """The camera that the variable names, for commands and frames that it may serve."""
    named = os.environ.get(VARIABLE, "")
    takes_files = any(item.name in (*_FRAMES, *_PRODUCTS) for item in _arguments(command))
    serves = command.name == "plan" or (takes_files and "camera" in _options(command))
    if not (named and serves):
        return ""
    return "" if files and _says_its_camera(files) else named


def _says_its_camera(files: list[str]) -> bool:
    """Whether the first file has the CAMERA card of a built-in camera."""
    from emdarks.cameras import BUILTIN
    from emdarks.fits import Scanner
    from emdarks.frames import first_file

    first = first_file(files)
    try:
        layout = None if first is None else Scanner().scan(first)
    except InputError:  # said when the file is read
        return False
    if layout is None:
        return False
    cards = layout.image.cards.get("CAMERA"), layout.primary.get("CAMERA")
    return any(card in BUILTIN for card in cards)


# Commands and options


@dataclass(frozen=True, slots=True)
class _Option:
    """What a command says of one of its options.

    Attributes
    ----------
    name : str
        Of its parameter.
    kind : type
        Of its value, or of each of several.
    several : bool
        Whether it may be given more than once.
    info : Option
        The rest, as it was written down: the smallest value, the metavar.
    """

    name: str
    kind: type
    several: bool
    info: Option


def _commands(ctx: Any) -> list[Any]:
    """All commands, those of groups of commands among them."""
    top = ctx.find_root().command
    return list(_within(top)) if hasattr(top, "commands") else [ctx.command]


def _within(group: Any) -> Iterator[Any]:
    for each in group.commands.values():
        yield from _within(each) if hasattr(each, "commands") else [each]


def _takes_frames(command: Any) -> bool:
    return any(item.name in _FRAMES and item.nargs == -1 for item in _arguments(command))


def _arguments(command: Any) -> list[Any]:
    return [item for item in command.params if item.param_type_name == "argument"]


def _options(command: Any) -> dict[str, _Option]:
    """Options of a command by their long names; types are those of its function."""
    hints = inspect.signature(command.callback).parameters
    return {
        name.removeprefix("--"): _option(item.name, *_declared(hints[item.name].annotation))
        for item in command.params
        if item.param_type_name == "option" and item.name in hints
        for name in item.opts
        if name.startswith("--")
    }


def _declared(annotation: Any) -> tuple[Any, Option]:
    """Type of the value, and the option."""
    return annotation.__origin__, annotation.__metadata__[-1]


def _option(name: str, kind: Any, info: Option) -> _Option:
    parts = [part for part in get_args(kind) if part is not type(None)]
    if get_origin(kind) is not list and parts:  # X or None
        kind = parts[0]
    several = get_origin(kind) is list
    return _Option(name, get_args(kind)[0] if several else kind, several, info)


def allowed_keys(commands: Iterable[Any]) -> dict[str, Any]:
    """Keys of the file, each with the option of the first command that takes frames and has it."""
    every: dict[str, Any] = {}
    for command in filter(_takes_frames, commands):
        for key, option in _options(command).items():
            if option.info.in_file:
                every.setdefault(key, option)
    return every


def _refused_keys(commands: Iterable[Any]) -> set[str]:
    """Keys that only the command line may give."""
    every = (item for command in commands for item in _options(command).items())
    return {"help"} | {key for key, option in every if not option.info.in_file}


# The file


def _values(path: Path, command: Any, commands: list[Any]) -> dict[str, Any]:
    """Values of the file for one command, by the names of its parameters; all are checked.

    Raises
    ------
    InputError
        The file cannot be read, or a key or value is wrong; names the file and the key.
    """
    known, own = allowed_keys(commands), _options(command)
    refused = _refused_keys(commands)
    values: dict[str, Any] = {}
    for key, value in _read(path).items():
        if key in refused:
            raise InputError(f"{path}: key {key!r}: only the command line may give this option")
        if key not in known:
            close = get_close_matches(key, known, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"known are {_list(known)}"
            raise InputError(f"{path}: unknown key {key!r}; {hint}")
        option = own.get(key)
        found = _checked(path, key, option or known[key], value)
        if option is not None:
            values[option.name] = found
    return values


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    # A number of thousands of digits, and brackets in brackets, fail in their own ways.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid TOML ({error}); mend it") from None


def _checked(path: Path, key: str, option: _Option, value: Any) -> Any:
    """A value as its option takes it."""
    if not option.several:
        return _one(path, key, option, value)
    return [_one(path, key, option, item) for item in (value if type(value) is list else [value])]


def _one(path: Path, key: str, option: _Option, value: Any) -> Any:
    kind, words = _KINDS.get(option.kind, (str, "a text"))
    if "NUMBER" in (option.info.metavar or "") and type(value) in (int, float):
        value = str(value)  # of an option that takes a file or a number
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{path}: key {key!r}: is {value!r}, not {words}")
    if issubclass(option.kind, Enum) and value not in (known := [str(x) for x in option.kind]):
        raise InputError(
            f"{path}: key {key!r}: is {value!r}; this command knows {', '.join(known)}"
        )
    low, high = option.info.min, option.info.max
    number: Any = value
    if (low is not None and not number >= low) or (high is not None and not number <= high):
        limits = " to ".join(f"{x:g}" for x in (low, high) if x is not None)
        limits += " or more" if high is None else ""
        raise InputError(f"{path}: key {key!r}: is {value!r}; give {limits}")
    choices = [word for word in (option.info.metavar or "").split("|") if word.islower()]
    if isinstance(value, str) and value not in choices and _names_file(key, option):
        return _located(path.parent, key, value)
    return value


def _names_file(key: str, option: _Option) -> bool:
    words = (option.info.metavar or "").split("|")
    return key == "camera" or option.kind is Path or not _FILE_WORDS.isdisjoint(words)


def _located(folder: Path, key: str, value: str) -> str:
    """A path relative to the file; names of built-in cameras, URLs and numbers as they are.

    A list of frames keeps its ``@``.
    """
    from emdarks.cameras import BUILTIN
    from emdarks.fits import is_url

    if is_url(value) or (key == "camera" and value in BUILTIN):
        return value
    try:
        float(value)
    except ValueError:
        mark = "@" if value.startswith("@") else ""
        return mark + str(folder / value.removeprefix(mark))
    return value


def _telling(
    path: Path, values: Mapping[str, Any], command: Any, given: Mapping[str, Any]
) -> list[str]:
    """What of the file counts for this command: what the command line does not give."""
    words = [
        f"{key} {_word(found)}"
        for key, option in _options(command).items()
        if option.name not in given and (found := values.get(option.name)) is not None
    ]
    return [f"from {path}: {', '.join(words)}"] if words else []


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if type(value) is list else str(value)
