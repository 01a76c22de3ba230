"""How fast, and in how much memory: every figure of docs/benchmarks.md in one run.

    python benchmarks/bench.py            the whole: a quarter of an hour, 9 GB of disk
    python benchmarks/bench.py --quick    fewer frames; prints, writes nothing

Makes full-size frames, reads them all once so that they are in the page cache, measures,
and prints one table. The README beside this says what each part measures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frames import INDEX, chosen, load
from processes import EMDARKS, Finished, compilations, noise_maps, part, run, script
from report import markdown, plain, rows

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks.md"
ESTIMATORS = ("reference", "pooled")


@dataclass(frozen=True)
class Size:
    """How much is measured: stacks, frames of a stack (many and few), repeats."""

    stacks: tuple[int, ...] = (6, 16, 49)
    many: int = 12
    few: int = 4
    growth: tuple[int, ...] = (3, 6, 12)
    repeats: int = 3


FULL = Size()
QUICK = Size(stacks=(6, 16), many=8, few=2, growth=(2, 4, 8), repeats=1)


class Bench:
    """One run; what was found so far is in `found`."""

    def __init__(self, folder: Path, size: Size):
        self.folder = folder
        self.size = size
        self.began = time.perf_counter()
        self.found: dict[str, Any] = {
            "load": os.getloadavg()[0],
            "threads": len(os.sched_getaffinity(0)),
            "stacks": size.stacks,
            "many": size.many,
            "few": size.few,
        }

    def say(self, text: str) -> None:
        """Progress, on standard error."""
        print(f"{time.perf_counter() - self.began:6.0f} s  {text}", file=sys.stderr, flush=True)

    def listed(self, stacks: int, frames: int) -> Path:
        """List of the first frames of the first stacks."""
        return chosen(self.folder, stacks, frames)

    def frames(self) -> None:
        """Make the frames, where they are not there, and warm the page cache."""
        size = self.size
        if not (self.folder / INDEX).exists():
            self.say("making frames")
            script("frames", self.folder, max(size.stacks), size.many, size.few)
        stacks = load(self.folder)
        if len(stacks) < max(size.stacks) or len(stacks[0]) < size.many:
            raise SystemExit(f"{self.folder} has fewer frames than are needed; choose another")
        self.say("reading all once")
        buffer = bytearray(1 << 20)
        for path in (path for stack in stacks for path in stack):
            with Path(path).open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    def inside(self) -> None:
        """What happens inside one process, on 16 stacks of many frames."""
        size, found = self.size, self.found
        campaign = self.listed(16, size.many)
        for name in ("streaming", "fits", "steps"):
            self.say(name)
            found[name] = part(name, campaign, "--repeats", size.repeats)
        self.say("same bits")
        found["bits"] = part("bits", self.listed(6, size.few))
        self.say("one stack, and ccdproc")
        found["combine"] = part("combine", self.listed(1, size.many), "--repeats", size.repeats)

    def growth(self) -> None:
        """Cost against frames and stacks."""
        size = self.size
        self.say("growth with frames and stacks")
        self.found["frames"] = {
            n: part("growth", self.listed(16, n), "--repeats", size.repeats) for n in size.growth
        }
        self.found["by_stacks"] = {
            n: part("growth", self.listed(n, size.few), "--repeats", size.repeats)
            for n in size.stacks
        }

    def commands(self) -> None:
        """Whole processes: time and peak memory."""
        size = self.size
        self.say("whole commands")
        campaign = self.listed(16, size.many)
        runs: dict[str, list[Finished]] = {}
        for repeat in range(size.repeats):
            for estimator in ESTIMATORS:
                for threads in (None, 1) if repeat == 0 else (None,):
                    made = noise_maps(campaign, estimator, threads)
                    runs.setdefault(f"{estimator}, {threads or 'all'}", []).append(made)
        self.found["commands"] = {name: _summary(made) for name, made in runs.items()}
        self.say("memory")
        self.found["memory"] = [
            {
                "stacks": stacks,
                "frames": frames,
                "estimator": estimator,
                **_summary([noise_maps(self.listed(stacks, frames), estimator)]),
            }
            for stacks in size.stacks
            for frames in ((size.few, size.many) if stacks <= 16 else (size.few,))
            for estimator in ESTIMATORS
        ]

    def start_up(self) -> None:
        """Help against importing NumPy, and what the second call compiles."""
        self.say("start-up")
        importing = [sys.executable, "-c", "import numpy"]
        pairs = [(run([str(EMDARKS), "--help"]), run(importing)) for _ in range(7)]
        helped, imported = (statistics.median(p[i].seconds for p in pairs) for i in (0, 1))
        first, second = (
            compilations(self.listed(6, self.size.few), self.folder / "cache") for _ in range(2)
        )
        self.found["start_up"] = {
            "help": helped,
            "numpy": imported,
            "first": (first[0], first[1].seconds),
            "second": (second[0], second[1].seconds),
        }

    def textbook(self) -> None:
        """The same job in textbook NumPy, once: it is long."""
        self.say("textbook NumPy")
        done = script("textbook", self.listed(16, self.size.many), self.size.many)
        self.found["textbook"] = {**json.loads(done.output), **_summary([done])}

    def all(self) -> dict[str, Any]:
        """Measure everything."""
        self.frames()
        for step in (self.start_up, self.inside, self.growth, self.commands, self.textbook):
            step()
        self.say("done")
        return self.found


def _summary(made: Sequence[Finished]) -> dict[str, float]:
    return {
        "seconds": statistics.median(each.seconds for each in made),
        "peak": max(each.peak for each in made),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer frames; writes nothing")
    parser.add_argument("--folder", type=Path, help="keep the frames here, and use them again")
    parser.add_argument("--figures", type=Path, help="write all figures here, too (JSON)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="emdarks-bench-") as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        found = Bench(folder, QUICK if arguments.quick else FULL).all()
    if arguments.figures:
        arguments.figures.write_text(json.dumps(found, indent=1))
    found = json.loads(json.dumps(found))
    print(plain(rows(found)))
    if not arguments.quick:
        DOCS.write_text(markdown(found))
        print(f"written: docs/{DOCS.name}")


if __name__ == "__main__":
    main()
