"""How commands speak: errors, warnings, results, output names."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from emdarks.errors import EmdarksError, EmdarksWarning, InputError, without_secrets

#: Seconds between two lines about progress, where there is no terminal.
PAUSE = 5.0

_WORDS = {name.lower(): name for name in ("FPN", "CIC", "DC", "DN", "EM")}

#: For people: standard error.
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def one_line(text: object) -> str:
    r"""Text that does nothing to a terminal and stays on its line.

    Names of files and cameras may hold any character: what is not printable becomes an
    escape, like \x1b. What is secret in a URL is not shown.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in without_secrets(str(text))
    )


def result(values: dict[str, Any], as_json: bool) -> None:
    """Report what a command made: JSON on standard output, or lines for stderr."""
    if as_json:
        json_out(values)
        return
    if _loudness < Loudness.NORMAL:
        return
    width = max(len(key) for key in values)
    for key, value in values.items():
        stderr.print(f"{_spelled(key):<{width}}  {_plain(value)}", markup=False)


def _spelled(key: str) -> str:
    """A key of JSON in words: mean_fpn_e becomes mean FPN e."""
    return " ".join(_WORDS.get(word, word) for word in key.split("_"))


def left_out(dataset: Any) -> dict[str, Any]:
    """Files of folders that were not taken, counted by reason, as JSON has them."""
    reasons = Counter(file.reason for file in dataset.left_out)
    return {"files_left_out": [{"reason": why, "files": n} for why, n in reasons.most_common()]}


def json_out(values: dict[str, Any]) -> None:
    """Write one line of JSON to standard output.

    Raises
    ------
    InputError
        Standard output is closed, or the disk that it goes to is full.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        sys.stdout.write(json.dumps(_finite(values), allow_nan=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has read enough
        raise
    except OSError as error:
        if sys.stdout is not None:
            # What is left in its buffer would be tried again, and fail again, at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InputError(f"standard output: cannot be written ({error.strerror})") from None


def _finite(value: Any) -> Any:
    """JSON has no NaN: null stands for a number that is not to be had."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Loudness(IntEnum):
    """How much is said to stderr."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


_loudness = Loudness.NORMAL


def set_loudness(loudness: Loudness) -> None:
    """Choose how much is said from now on."""
    global _loudness
    _loudness = loudness


def say(text: str, least: Loudness = Loudness.NORMAL) -> None:
    """A line for people, at a loudness or above."""
    if _loudness >= least:
        _print(Text(one_line(text)))


def _print(text: Text) -> None:
    """One line for a log; broken between words on a terminal."""
    stderr.print(text, soft_wrap=not stderr.is_terminal)


def say_more(text: str) -> None:
    """A line for people who want to know more."""
    say(text, Loudness.VERBOSE)


def show(table: Table) -> None:
    """A table for stderr."""
    if _loudness >= Loudness.NORMAL:
        stderr.print(table, soft_wrap=False)


_STYLES = {"problem": "bold red", "warning": "yellow", "note": "cyan", "fine": "green"}


def finding(severity: str, text: str, remedy: str = "", files: Sequence[str] = ()) -> None:
    """A finding, its severity in front; the first few files, and what to do, below.

    Problems and warnings are said whatever the loudness.
    """
    if _loudness < Loudness.NORMAL and severity not in ("problem", "warning"):
        return
    label = Text(f"{severity:<8}", style=_STYLES[severity])
    body = [Text(one_line(text))]
    if files:
        most = None if _loudness == Loudness.VERBOSE else 3
        body.append(Text(file_names(files, most), style="dim"))
    if remedy:
        body.append(Text(one_line(f"-> {remedy}")))
    _labelled(label, body)


def _labelled(label: Text, body: Sequence[Text]) -> None:
    """A label, and beside it lines: broken between words on a terminal, whole in a log."""
    if stderr.is_terminal:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(label, Text("\n").join(body))
        stderr.print(grid, soft_wrap=False)
        return
    indent = " " * (len(label) + 1)
    stderr.print(Text(" ").join([label, Text("\n" + indent).join(body)]))


def file_names(names: Sequence[str], most: int | None = 3) -> str:
    """Files without their folders, the first few and a count; all of them with None."""
    short = [one_line(Path(name).name) for name in names[:most]]
    rest = len(names) - len(short)
    return ", ".join(short) + (f" and {rest} more" if rest else "")


def verdict(text: str) -> None:
    """The last line of `emdarks inspect`."""
    if _loudness >= Loudness.NORMAL:
        _labelled(Text("verdict ", style="bold"), [Text(one_line(text))])


@contextmanager
def progress(verb: str, noun: str, then: str = "") -> Iterator[Callable[[int, int], None]]:
    """Show how far long work has come: a bar on a terminal, a line now and then elsewhere.

    Parameters
    ----------
    verb, noun : str
        What is being done to what: "simulating", "frames".
    then : str
        What is done after the last of them, while the bar is still shown: "fitting".

    Yields
    ------
    callable
        To be called with the numbers done and of all.
    """
    if _loudness == Loudness.QUIET:
        yield lambda done, total: None
        return
    if not stderr.is_interactive:
        yield _plain_progress(verb, noun)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(noun),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task(verb, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if then and done >= total:
                bar.update(task, description=then)

        yield advance


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / task.elapsed:.3g}/s" if task.elapsed else "")


def _plain_progress(verb: str, noun: str) -> Callable[[int, int], None]:
    """Lines for a log, none for work that takes no longer than it takes to read one."""
    started = said = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        rate = done / max(now - started, 1e-9)
        if done >= total:
            if said > started:
                say(f"{verb}: {total} {noun} in {duration(now - started)}, {rate:.3g}/s")
        elif done and now - said >= PAUSE:
            said = now
            left = duration((total - done) / rate)
            say(f"{verb}: {done} of {total} {noun}, {rate:.3g}/s, {left} left")

    return advance


def duration(seconds: float) -> str:
    """Seconds in words: 7.3 s, 2 min 5 s, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return "not measured" if math.isnan(value) else f"{value:.6g}"
    return one_line(value)


@contextmanager
def cli_errors() -> Iterator[None]:
    """Turn errors about the input into one line and exit 1; warnings into one line each."""

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, EmdarksWarning):
            _print(Text(f"warning: {one_line(message)}", style="yellow"))
        else:
            original(message, category, *rest, **more)

    original = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always", EmdarksWarning)
        warnings.showwarning = show
        try:
            yield
        except EmdarksError as error:
            _fail(error)
        except MemoryError as error:
            _fail(
                f"there is not enough memory ({error or 'none is left'}); give the job more, fewer "
                "stacks, or fewer --threads"
            )
        except KeyboardInterrupt:
            interrupted()
            raise typer.Exit(130) from None


def _fail(reason: object) -> NoReturn:
    if _loudness == Loudness.VERBOSE:
        stderr.print(traceback.format_exc(), markup=False, style="dim")
    say_error(reason)
    raise typer.Exit(1) from None


def say_error(reason: object) -> None:
    """One line about what ends a command."""
    _print(Text(f"error: {one_line(reason)}", style="red"))


def wrong_use(reason: object) -> NoReturn:
    """End a command that was used wrongly: one line, as for any other error, and exit code 2."""
    say_error(reason)
    raise typer.Exit(2)


def is_quiet() -> bool:
    """Whether nothing but warnings and errors is said."""
    return _loudness < Loudness.NORMAL


_interrupted = False


def interrupted() -> None:
    """What is said after Ctrl-C, once: files appear whole or not at all."""
    global _interrupted
    if not _interrupted:
        stderr.print("interrupted; no file was left half written", markup=False)
    _interrupted = True
