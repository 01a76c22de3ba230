"""Commands run within this process: the same words and exit codes, a second sooner."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from typer.testing import CliRunner

from emdarks.cli import console
from emdarks.cli.app import app


def run_command(folder: Path, *arguments: Any) -> CompletedProcess[str]:
    """Run a command in a folder, and tell what a process would have: its code and its words.

    An exception that a process would have ended with, in a traceback, is raised.
    """
    words = [str(argument) for argument in arguments]
    with chdir(folder):
        made = CliRunner().invoke(app, words, prog_name="emdarks")
    console.set_loudness(console.Loudness.NORMAL)
    if made.exception is not None and not isinstance(made.exception, SystemExit):
        raise made.exception
    return CompletedProcess(words, made.exit_code, made.stdout, made.stderr)
