"""Tests of changed sources, each in a private copy of the tree."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from validation.mutants_find import Mutant

__all__ = ["Bench", "How", "Outcome", "Tests"]

#: What one run of pytest is given: files, and what to select from them.
Tests = tuple[str, ...]

How = Literal["killed", "timeout", "survived"]

#: Seconds that any test run may take, and how many times as long as without a mutant.
LEAST_TIME, TIMES = 20.0, 4.0
#: A mutant that asks for memory without end gets no more than this, KiB.
MEMORY = 6_000_000
#: An editable installation finds the checkout's package before all others.
CUSTOMIZE = """import sys

sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in type(each).__module__]
"""
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-n", "0", "--hypothesis-seed=0", "--tb=no")


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes
    ----------
    mutant : Mutant
        The change.
    how : {"killed", "timeout", "survived"}
        A test failed, or did not end, or none did.
    seconds : float
        How long that took.
    """

    mutant: Mutant
    how: How
    seconds: float


def _environment(tree: Path, keep: bool) -> dict[str, str]:
    """Settings of a test run: the tree's own package, nothing written beside its sources."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    clean["PYTHONPATH"] = str(tree / "src")
    # One thread each: mutants run side by side.
    clean |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # A changed file must never be taken for one that was compiled before.
    return clean if keep else clean | {"PYTHONDONTWRITEBYTECODE": "1"}


def _take_core(sources: Path) -> None:
    """Put the compiled core into a copy of the sources, and make Python take that copy."""
    core = find_spec("emdarks._core")
    assert core is not None
    assert core.origin is not None
    shutil.copy2(core.origin, sources / "emdarks")
    (sources / "sitecustomize.py").write_text(CUSTOMIZE)


def _check_taken(tree: Path) -> None:
    """Stop where tests would import another package than the one whose lines are changed."""
    made = subprocess.run(
        [sys.executable, "-c", "import emdarks; print(emdarks.__file__)"],
        cwd=tree,
        env=_environment(tree, keep=False),
        capture_output=True,
        text=True,
        check=True,
    )
    if made.stdout.strip() != str(tree / "src" / "emdarks" / "__init__.py"):
        raise SystemExit(f"tests would run with {made.stdout.strip()}, which no mutant changes")


def _pytest(tree: Path, tests: Tests, timeout: float | None, keep: bool = False) -> tuple[int, str]:
    """Exit status and output of a run of pytest; -1 where it took too long."""
    command = [sys.executable, "-m", "pytest", *PYTEST, *tests]
    limited = ["sh", "-c", f'ulimit -v {MEMORY}; exec "$@"', "sh", *command]
    process = subprocess.Popen(
        limited,
        cwd=tree,
        env=_environment(tree, keep),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return -1, "took too long"
    return process.returncode, output


class Bench:
    """Copies of the tree, one for each that works at a time.

    Parameters
    ----------
    root : Path
        The checkout; never changed.
    folder : Path
        Where the copies are made.
    workers : int
        How many.
    plans : dict
        By file of the package, the test runs: quick ones first.
    """

    def __init__(
        self, root: Path, folder: Path, workers: int, plans: dict[str, tuple[Tests, ...]]
    ) -> None:
        self._plans = plans
        self._limits: dict[Tests, float] = {}
        self._trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._workers = workers
        self._folders = [folder / f"tree{i}" for i in range(workers)]
        for tree in self._folders:
            for part in ("src", "tests", "validation"):
                shutil.copytree(
                    root / part, tree / part, ignore=shutil.ignore_patterns("__pycache__")
                )
            shutil.copy2(root / "pyproject.toml", tree)
            _take_core(tree / "src")
            self._trees.put(tree)

    def measure(self, say: Callable[[str], None]) -> None:
        """Run all tests without a mutant, on every tree: they must pass, and tell the limits."""
        for tree in self._folders:
            _check_taken(tree)
            for tests in dict.fromkeys(tests for plan in self._plans.values() for tests in plan):
                start = time.monotonic()
                status, output = _pytest(tree, tests, None, keep=True)
                if status != 0:
                    raise SystemExit(f"pytest {' '.join(tests)} fails without a mutant:\n{output}")
                took = time.monotonic() - start
                self._limits[tests] = max(LEAST_TIME, TIMES * took, self._limits.get(tests, 0.0))
                say(f"{took:6.1f} s  pytest {' '.join(tests)}")

    def run(self, mutants: Sequence[Mutant]) -> Iterator[Outcome]:
        """Outcomes, in the order of the mutants."""
        with ThreadPoolExecutor(self._workers) as pool:
            yield from pool.map(self._one, mutants)

    def _one(self, mutant: Mutant) -> Outcome:
        tree = self._trees.get()
        path = tree / "src" / "emdarks" / mutant.module
        kept = path.with_suffix(".kept")
        start = time.monotonic()
        try:
            shutil.copy2(path, kept)
            path.write_text(mutant.source, encoding="utf-8")
            how = self._judge(tree, self._plans[mutant.module])
        finally:
            kept.replace(path)
            self._trees.put(tree)
        return Outcome(mutant, how, time.monotonic() - start)

    def _judge(self, tree: Path, plan: Sequence[Tests]) -> Literal["killed", "timeout", "survived"]:
        for tests in plan:
            status, _ = _pytest(tree, tests, self._limits[tests])
            if status != 0:
                return "timeout" if status == -1 else "killed"
        return "survived"
