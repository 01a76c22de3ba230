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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
EMDARKS = Path(sys.executable).with_name("emdarks")

# Counts what Numba compiles while a command runs.
COUNTING = """
import atexit, sys
from numba.core import event
compiled = event.RecordingListener()
event.register("numba:compile", compiled)
def tell():
    ended = [e for _, e in compiled.buffer if e.is_end]
    print("compiled", len(ended), file=sys.stderr)
atexit.register(tell)
from emdarks.cli import main
main()
"""


@dataclass(frozen=True)
class Finished:
    """A process that ended well: seconds, peak memory in GB (1e9 bytes), what it wrote."""

    seconds: float
    peak: float
    output: str
    errors: str


def run(command: list[str], **environment: str) -> Finished:
    """Run a command to its end; stop the benchmark where it fails."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        child = subprocess.Popen(
            command, stdout=output, stderr=errors, env={**os.environ, **environment}
        )
        _, status, usage = os.wait4(child.pid, 0)
        taken = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        written = output.read(), errors.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{written[1]}")
    return Finished(taken, usage.ru_maxrss * 1024 / 1e9, *written)


def script(name: str, *arguments: object) -> Finished:
    """Run a script beside this one in a process of its own."""
    return run([sys.executable, str(HERE / f"{name}.py"), *map(str, arguments)])


def part(name: str, *arguments: object) -> dict[str, Any]:
    """One part of ``inside.py``: its figures."""
    figures: dict[str, Any] = json.loads(script("inside", name, *arguments).output)
    return figures


def noise_maps(listed: Path, estimator: str, threads: int | None = None) -> Finished:
    """Run ``emdarks noisemaps`` as a user does."""
    return run([str(EMDARKS), *_arguments(listed, estimator, threads)])


def compilations(listed: Path, cache: Path) -> tuple[int, Finished]:
    """Functions compiled by ``emdarks noisemaps`` with its kernels kept in a folder."""
    command = [sys.executable, "-c", COUNTING, *_arguments(listed, "pooled", None)]
    done = run(command, NUMBA_CACHE_DIR=str(cache))
    return int(done.errors.split("compiled ")[-1].split()[0]), done


def _arguments(listed: Path, estimator: str, threads: int | None) -> list[str]:
    output = listed.with_name("maps.fits")
    more = [] if threads is None else ["--threads", str(threads)]
    return [
        *("noisemaps", f"@{listed}", "-o", str(output), "--overwrite"),
        *("--estimator", estimator, *more),
    ]
