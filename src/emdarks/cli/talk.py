"""How commands speak: errors, warnings, results, output names."""

from __future__ import annotations

import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from emdarks.errors import EmdarksError, EmdarksWarning, InputError

__all__ = [
    "Target",
    "finding",
    "json_out",
    "people",
    "progress",
    "result",
    "say",
    "spoken",
    "target",
]

#: For people: standard error.
people = Console(stderr=True, highlight=False, soft_wrap=True)


def result(values: dict[str, Any], as_json: bool) -> None:
    """Report what a command made: JSON on standard output, or lines for people."""
    if as_json:
        json_out(values)
        return
    width = max(len(key) for key in values)
    for key, value in values.items():
        people.print(f"{key.replace('_', ' '):<{width}}  {_plain(value)}", markup=False)


def json_out(values: dict[str, Any]) -> None:
    """Write one line of JSON to standard output."""
    sys.stdout.write(json.dumps(_finite(values), allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no NaN: null stands for a number that is not to be had."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(text: str) -> None:
    """A line for people."""
    people.print(text, markup=False)


_STYLES = {"problem": "bold red", "warning": "yellow", "fine": "green"}


def finding(severity: str, text: str) -> None:
    """A finding of `emdarks inspect`, its severity in front."""
    label = Text(f"{severity:<8} ", style=_STYLES[severity])
    people.print(label.append(text, style="default"))


@contextmanager
def progress(verb: str, noun: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far long work has come: a bar on a terminal, some plain lines elsewhere.

    Parameters
    ----------
    verb, noun : str
        What is being done to what: "simulating", "frames".

    Yields
    ------
    callable
        To be called with the numbers done and of all.
    """
    if not people.is_terminal:
        yield _plain_progress(verb, noun)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(noun),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=people, transient=True) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain_progress(verb: str, noun: str) -> Callable[[int, int], None]:
    """Ten lines in all, for logs."""

    def advance(done: int, total: int) -> None:
        if 10 * done // total > 10 * (done - 1) // total:
            say(f"{verb}: {done} of {total} {noun}")

    return advance


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@contextmanager
def spoken() -> Iterator[None]:
    """Turn errors about the input into one line and exit 1; warnings into one line each."""

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, EmdarksWarning):
            people.print(f"warning: {message}", markup=False, style="yellow")
        else:
            original(message, category, *rest, **more)

    original = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always", EmdarksWarning)
        warnings.showwarning = show
        try:
            yield
        except EmdarksError as error:
            people.print(f"error: {error}", markup=False, style="red")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            people.print("interrupted; nothing was left half written", markup=False)
            raise typer.Exit(130) from None


@dataclass(frozen=True, slots=True)
class Target:
    """A file to write, by folder and name; the folder may be a URL."""

    parent: str
    name: str

    def __str__(self) -> str:
        from emdarks.fitsio import join

        return join(self.parent, self.name)


def target(output: str | Path, documented_name: str, overwrite: bool) -> Target:
    """File to write: the one named, or the documented name in a folder.

    Raises
    ------
    InputError
        The folder does not exist, or the file does and may not be replaced.
    """
    from emdarks.fitsio import is_url, local_path

    if is_url(output):
        output = str(output)
        if local_path(output) is None:
            return _remote_target(output, documented_name, overwrite)
        output = str(local_path(output))
    output = Path(output)
    path = output / documented_name if output.is_dir() else output
    if not path.parent.is_dir():
        raise InputError(f"{path.parent}: no such folder; create it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path.parent}: is not writable")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists; choose another name or give --overwrite")
    return Target(str(path.parent), path.name)


def _remote_target(url: str, documented_name: str, overwrite: bool) -> Target:
    from emdarks.fitsio.remote import exists

    parent, _, name = url.rpartition("/")
    made = Target(parent, name or documented_name)
    if not overwrite and exists(str(made)):
        raise InputError(f"{made}: exists; choose another name or give --overwrite")
    return made
