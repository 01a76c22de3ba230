"""Whole processes: how long they take, and their peak memory.

The caller must be a small process itself: a child's peak counts what its parent held
when it was started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: Commands that are started at once.
TOGETHER = 20


@dataclass(frozen=True)
class Finished:
    """A process that ended well.

    Seconds, seconds of CPU (its own and the system's for it), peak memory in GB (1e9 bytes),
    what it wrote.
    """

    seconds: float
    cpu: float
    peak: float
    output: str
    errors: str


def run(command: list[str], environment: dict[str, str] | None = None) -> Finished:
    """Run a command to its end; stop the benchmark where it fails."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        taken = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        written = output.read(), errors.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{written[1]}")
    busy = usage.ru_utime + usage.ru_stime
    return Finished(taken, busy, usage.ru_maxrss * 1024 / 1e9, *written)


def at_once(
    commands: Sequence[Sequence[str]], environment: dict[str, str]
) -> tuple[float, list[int]]:
    """Start all, wait for all: seconds, and exit codes."""
    start = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    children = [subprocess.Popen(command, env=environment, **quiet) for command in commands]
    codes = [child.wait() for child in children]
    return time.perf_counter() - start, codes


def script(name: str, *arguments: object) -> Finished:
    """Run a script beside this one in a process of its own."""
    return run([sys.executable, str(HERE / f"{name}.py"), *map(str, arguments)])


def part(name: str, *arguments: object) -> dict[str, Any]:
    """One part of ``inside.py``: its figures."""
    figures: dict[str, Any] = json.loads(script("inside", name, *arguments).output)
    return figures
