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
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import processes
from counting_report import photon_rows, photon_section
from frames import INDEX, SMALL, chosen, load, small
from fresh import Fresh, arguments, package
from lines import lines_of_kernels
from machine import description
from processes import TOGETHER, Finished, at_once, part, script
from raw_report import raw_rows, raw_section
from reached import compared
from report import beside, markdown, plain, rows, with_section

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "benchmarks.md"
#: Figures of version 0.1.0, whose kernels Numba compiled when they were first called.
BEFORE = HERE / "before.json"
#: The environment of the peer, which `make interchange` makes.
PEER = HERE.parent / ".venv-interchange"
SEARCHES = ("standard", "dark")
#: Seconds of CPU after which a run of the peer is stopped: by its recipe of noise maps, frames of
#: high gain take minutes each.
LIMIT = 300
ESTIMATORS = ("reference", "pooled")
#: Bytes that products need, at most.
ROOM = 1 << 32
#: Seconds of CPU of a first command that is too long to be repeated, or run many times at once.
LONG = 10.0
# How many of these files differ in a pixel or a row of a table.
DIFFERENT = """
import hashlib, sys
from astropy.io import fits
def digest(path):
    with fits.open(path) as file:
        planes = [hdu.data.tobytes() for hdu in file if hdu.data is not None]
    return hashlib.sha256(b"".join(planes)).digest()
print(len({digest(path) for path in sys.argv[1:]}))
"""


@dataclass(frozen=True)
class Size:
    """How much is measured: stacks, frames of a stack (many and few), repeats."""

    stacks: tuple[int, ...] = (6, 16, 49)
    many: int = 12
    few: int = 4
    growth: tuple[int, ...] = (3, 6, 12)
    repeats: int = 3
    #: Repeats of what takes a second or less.
    often: int = 7
    #: Frames of 120 x 220 pixels where raw ones are measured.
    small_raw: bool = False
    #: Frames whose electrons are counted.
    counted: int = 2000


FULL = Size()
QUICK = Size(
    stacks=(6, 16),
    many=8,
    few=2,
    growth=(2, 4, 8),
    repeats=1,
    often=2,
    small_raw=True,
    counted=48,
)


class Bench:
    """One run; what was found so far is in `found`."""

    def __init__(self, folder: Path, output: Path, size: Size, peer: Path):
        self.folder = folder
        self.size = size
        self.peer = peer
        self.began = time.perf_counter()
        self.output = output
        self.settled = Fresh(folder / "settled", self.output, bytecode=True)
        self.found: dict[str, Any] = {
            "machine": description(),
            "load": os.getloadavg()[0],
            "threads": len(os.sched_getaffinity(0)),
            "stacks": size.stacks,
            "many": size.many,
            "few": size.few,
            "lines": lines_of_kernels(package()),
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
        if not (self.folder / SMALL).exists():
            script("frames", self.folder, "--small")
        self.say("reading all once")
        buffer = bytearray(1 << 20)
        for path in (path for stack in stacks for path in stack):
            with Path(path).open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass

    def campaigns(self) -> dict[str, Path]:
        """Lists of the frames of three campaigns: full-size, and two small ones."""
        sample = self.folder / "sample.txt"
        paths = [path for folder in package() for path in folder.glob("sample_data/cgi_*.gz")]
        sample.write_text("\n".join(map(str, sorted(paths))) + "\n")
        six = self.listed(6, self.size.few)
        return {"six": six, "sample": sample, "small": small(self.folder)}

    def first(self) -> None:
        """The first command ever, and the second."""
        campaigns, found = self.campaigns(), self.found.setdefault("first", {})
        for name in ("six", "sample"):
            for kind, bytecode in (("bytecode", True), ("bare", False)):
                self.say(f"first command ever: {name}, {kind}")
                pairs: list[list[Finished]] = []
                while len(pairs) < self.size.repeats and not _long(pairs):
                    with Fresh(self.folder / "fresh", self.output, bytecode) as fresh:
                        pairs.append([fresh.noise_maps(campaigns[name]) for _ in range(2)])
                first, second = (_summary(made) for made in zip(*pairs, strict=True))
                found[f"{name}, {kind}"] = {"first": first, "second": second, "times": len(pairs)}

    def start_up(self) -> None:
        """Imports and small commands against importing NumPy."""
        self.say("start-up")
        settled, campaigns = self.settled, self.campaigns()
        ways = {
            "numpy": lambda: settled.code("import numpy"),
            "darks": lambda: settled.code("import emdarks.darks"),
            "help": lambda: settled.emdarks("--help"),
            "sample": lambda: settled.noise_maps(campaigns["sample"]),
            "small": lambda: settled.noise_maps(campaigns["small"]),
        }
        runs: dict[str, list[Finished]] = {name: [] for name in ways}
        for repeat in range(self.size.often + 1):
            for name, run in ways.items():
                done = run()
                if repeat:  # the first may have had something to prepare
                    runs[name].append(done)
        self.found["start_up"] = {name: _summary(made) for name, made in runs.items()}

    def together(self) -> None:
        """Many commands at once: as later ones, and as the first ones ever."""
        self.say(f"{TOGETHER} commands at once")
        found = self.found["together"] = {"later": self._together(self.settled)}
        first = self.found.get("first", {}).get("sample, bare", {}).get("first", {})
        if first.get("cpu", LONG) < LONG:
            with Fresh(self.folder / "fresh", self.output, bytecode=False) as fresh:
                found["first"] = self._together(fresh)

    def _together(self, environment: Fresh) -> dict[str, float]:
        listed = self.campaigns()["sample"]
        outputs = [self.output / f"{number}.fits" for number in range(TOGETHER)]
        commands = [[str(environment.command), *arguments(listed, to)] for to in outputs]
        seconds, codes = at_once(commands, environment.environment)
        made = [output for output in outputs if output.exists()]
        different = int(environment.code(DIFFERENT, *made).output)
        for output in made:
            output.unlink()
        failed = sum(code != 0 for code in codes)
        return {"seconds": seconds, "failed": failed, "different": different}

    def streaming(self) -> None:
        """Reading, streaming and the fit inside one process, on 16 stacks of many frames."""
        for name in ("streaming", "fits"):
            self.say(name)
            campaign = self.listed(16, self.size.many)
            self.found[name] = part(name, campaign, "--repeats", self.size.often)

    def combine(self) -> None:
        """One stack, and ccdproc."""
        self.say("one stack, and ccdproc")
        listed = self.listed(1, self.size.many)
        self.found["combine"] = part("combine", listed, "--repeats", self.size.repeats)

    def inside(self) -> None:
        """What else happens inside one process."""
        size, found = self.size, self.found
        self.say("steps")
        found["steps"] = part("steps", self.listed(16, size.many), "--repeats", size.repeats)
        self.say("same bits")
        found["bits"] = part("bits", self.listed(6, size.few))

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
        """Whole commands, and the same a second time in one process."""
        size, settled = self.size, self.settled
        self.say("whole commands")
        campaign = self.listed(16, size.many)
        runs: dict[str, list[Finished]] = {}
        second = []
        for repeat in range(size.repeats):
            for estimator in ESTIMATORS:
                for threads in (None, 1) if repeat == 0 else (None,):
                    made = settled.noise_maps(campaign, estimator, threads)
                    runs.setdefault(f"{estimator}, {threads or 'all'}", []).append(made)
            second.append(settled.second(campaign))
        self.found["commands"] = {name: _summary(made) for name, made in runs.items()}
        self.found["second call"] = min(second)

    def memory(self) -> None:
        """Peak memory of whole commands."""
        size = self.size
        self.say("memory")
        self.found["memory"] = [
            {
                "stacks": stacks,
                "frames": frames,
                "estimator": estimator,
                **_summary([self.settled.noise_maps(self.listed(stacks, frames), estimator)]),
            }
            for stacks in size.stacks
            for frames in ((size.few, size.many) if stacks <= 16 else (size.few,))
            for estimator in ESTIMATORS
        ]

    def textbook(self) -> None:
        """The same job in textbook NumPy, once: it is long."""
        self.say("textbook NumPy")
        done = script("textbook", self.listed(16, self.size.many), self.size.many)
        self.found["textbook"] = {**json.loads(done.output), **_summary([done])}

    def raw(self) -> None:
        """Raw frames: times, memory, bytes that are read, and the peer on the same frames."""
        folder = self.folder / ("raw_small" if self.size.small_raw else "raw")
        if not (folder / "l2a").exists():
            self.say("making raw frames")
            script("raw", "make", folder, *(["--small"] if self.size.small_raw else []))
        self.say("raw frames")
        found: dict[str, Any] = {
            "load": os.getloadavg()[0],
            "small": self.size.small_raw,
            "limit": LIMIT,
        }
        for name in ("streaming", "bytes"):
            done = script("raw", name, folder, "--repeats", 3 * self.size.often)
            found[name] = json.loads(done.output)
        found["memory"] = {
            listed.stem: _summary([self.settled.noise_maps(listed)])
            for listed in sorted(folder.glob("*.txt"))
        }
        found["peer"] = self._peer(folder / "four")
        self.found["raw"] = found | {"load after": os.getloadavg()[0]}

    def counting(self) -> None:
        """Counting electrons beside averaging."""
        self.say("photon counting")
        done = script("photon_counting", self.folder, "--frames", self.size.counted)
        self.found["counting"] = json.loads(done.output)

    def _peer(self, frames: Path) -> dict[str, Any]:
        """CPU seconds a frame of the peer, by search; nothing where it cannot be run."""
        python = self.peer / "bin" / "python"
        # It needs frames of full size, and writes to its home folder.
        if self.size.small_raw or not python.exists():
            return {}
        home = self.folder / "home_of_peer"
        home.mkdir(exist_ok=True)
        environment = {**self.settled.environment, "HOME": str(home)}
        found = {}
        for search in SEARCHES:
            self.say(f"peer, {search}")
            command = [str(python), str(HERE / "peer.py"), str(frames), search]
            command += ["--limit", str(LIMIT)]
            done = processes.run(command, environment)
            found[search] = {**json.loads(done.output), **_summary([done])}
        return found

    def measure(self, parts: Sequence[str]) -> dict[str, Any]:
        """Measure these parts."""
        if set(parts) - set(SECTIONS):
            self.frames()
        for name in parts:
            getattr(self, name)()
        self.say("done")
        return self.found


#: Parts of a run; the first are those that are compared with the version before.
COMPARED = ("first", "start_up", "together", "commands", "streaming", "combine", "textbook")
PARTS = (*COMPARED, "inside", "growth", "memory", "raw", "counting")
#: Those with frames and a section of the page of their own.
SECTIONS = {"raw": raw_section, "counting": photon_section}


def _summary(made: Sequence[Finished]) -> dict[str, float]:
    return {
        "seconds": min(each.seconds for each in made),
        "cpu": min(each.cpu for each in made),
        "peak": max(each.peak for each in made),
    }


def _long(pairs: list[list[Finished]]) -> bool:
    return any(first.cpu > LONG for first, _ in pairs)


def _memory(otherwise: Path) -> Path:
    """Where products are written: memory, where it can be had; no disk is measured here."""
    memory = Path("/dev/shm")
    large = memory.is_dir() and shutil.disk_usage(memory).free > ROOM
    return memory if large else otherwise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer frames; writes nothing")
    parser.add_argument("--folder", type=Path, help="keep the frames here, and use them again")
    parser.add_argument("--peer", type=Path, default=PEER, help="environment with corgidrp")
    parser.add_argument("--figures", type=Path, help="write all figures here, too (JSON)")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        help="only these; with --figures, the others stay in the file; of the page, only the "
        "sections of raw frames and of photon counting are written",
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="emdarks-bench-") as temporary:
        folder = (chosen.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="emdarks-bench-", dir=_memory(folder)) as output:
            bench = Bench(folder, Path(output), QUICK if chosen.quick else FULL, chosen.peer)
            found = bench.measure(chosen.parts)
    if chosen.figures:
        kept = json.loads(chosen.figures.read_text()) if chosen.figures.exists() else {}
        chosen.figures.write_text(json.dumps(kept | found, indent=1) + "\n")
    found, before = json.loads(json.dumps(found)), json.loads(BEFORE.read_text())
    aims, table = compared(before, found), beside(rows(found), before)
    print(plain([*aims, *table, *raw_rows(found), *photon_rows(found)]))
    own = [name for name in SECTIONS if name in chosen.parts]
    whole = set(chosen.parts) == set(PARTS)
    if chosen.quick or not own:
        return
    page = markdown(aims, table, before, found) if whole else DOCS.read_text()
    for name in own:
        page = with_section(page, SECTIONS[name](found))
    DOCS.write_text(page)
    print(f"written: docs/{DOCS.name}" + ("" if whole else f", {' and '.join(own)} alone"))


if __name__ == "__main__":
    main()
