"""Raw frames inside one process: from files to moments, and the bytes that this reads.

    python benchmarks/raw.py make FOLDER [--small]   frames, and the same as level 2a
    python benchmarks/raw.py streaming FOLDER        times, in seconds for all frames
    python benchmarks/raw.py bytes FOLDER            bytes read, and bytes of the files

FOLDER has six stacks of 12 raw frames with cosmic rays; those of the first four of each stack, as
level 2a, in `l2a`; and links to these four in `four`, with their calibrations.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clock import least
from inside import BUFFER, jobs_in, moments, read_all, read_shared
from stages import calibrate

from emdarks.accumulate import Threads
from emdarks.darks.noise_maps import ESTIMATORS
from emdarks.data import Dataset
from emdarks.frames import prepare_frames

#: Frames of a stack, many and few: peak memory must not depend on them.
MANY, FEW = 12, 4
CALIBRATIONS = ("nonlinearity.fits", "kgain.fits", "params.fits", "emdarks.toml")
SEARCHES = ("standard", "dark", "off")


def make(folder: Path, small: bool) -> dict[str, Any]:
    """Frames, as anybody makes them: by commands."""
    size = "small" if small else "full"
    _emdarks("simulate", folder, "--level", "1", "--frames", MANY, "--seed", 2026, "--size", size)
    four = folder / "four"
    four.mkdir()
    for path in [*few(folder), *(folder / name for name in CALIBRATIONS)]:
        (four / path.name).symlink_to(path)
    _emdarks("prepare", four, "-o", folder / "l2a", "--offset", "none")
    for name, paths in (("many", many(folder)), ("few", few(folder))):
        (folder / f"{name}.txt").write_text("\n".join(map(str, paths)) + "\n")
    return {"frames": len(many(folder))}


def _emdarks(*arguments: object) -> None:
    command = [sys.executable, "-m", "emdarks", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def many(folder: Path) -> list[Path]:
    """All raw frames, in the order in which they were taken."""
    return sorted(folder.glob("cgi_*_l1_.fits"))


def few(folder: Path) -> list[Path]:
    """The first of each stack."""
    return [path for number, path in enumerate(many(folder)) if number % MANY < FEW]


def prepared(paths: list[str], search: str) -> Any:
    """The frames of level 2a that raw frames become while they are read."""
    folder = Path(paths[0]).parent
    return prepare_frames(
        Dataset(paths),
        nonlinearity=folder / "nonlinearity.fits",
        kgain=folder / "kgain.fits",
        detector_params=folder / "params.fits",
        cosmic_rays=search,
    )


def streaming(folder: Path, repeats: int) -> dict[str, Any]:
    """Reading limits, and pixels to moments, of 24 raw frames and the same as level 2a."""
    raw = [str(path) for path in few(folder)]
    l2a = sorted(str(path) for path in (folder / "l2a").glob("cgi_*_l2a.fits"))
    once, everywhere = Threads(1), Threads(2)
    buffer = bytearray(BUFFER)
    ways: dict[str, Callable[[], Any]] = {
        "reading": lambda: read_all(raw, buffer),
        "reading, two threads": lambda: read_shared(raw, 2),
        "L2a, reading": lambda: read_all(l2a, buffer),
        "L2a, reading, two threads": lambda: read_shared(l2a, 2),
        "headers": lambda: prepared(raw, "standard"),
    }
    jobs = {search: jobs_in(calibrate(prepared(raw, search), "pooled")) for search in SEARCHES}
    jobs["L2a"] = jobs_in(calibrate(Dataset(l2a), "pooled"))
    if "counting" in ESTIMATORS:
        jobs["counting"] = jobs_in(calibrate(prepared(raw, "standard"), "counting"))
        jobs["L2a, counting"] = jobs_in(calibrate(Dataset(l2a), "counting"))
    for name, found in jobs.items():
        ways[f"{name}, two threads"] = lambda found=found: moments(found, everywhere)
        ways[f"{name}, one thread"] = lambda found=found: moments(found, once)
    sizes = {"bytes": _bytes(raw), "L2a, bytes": _bytes(l2a), "frames": len(raw)}
    return sizes | least(repeats, ways)


def _bytes(paths: list[str]) -> int:
    return sum(Path(path).stat().st_size for path in paths)


def count_bytes(folder: Path, repeats: int) -> dict[str, Any]:
    """What streaming reads from storage, from the page cache, and by its own count."""
    raw = [str(path) for path in few(folder)]
    jobs = jobs_in(calibrate(prepared(raw, "standard"), "pooled"))
    executor = Threads(2)
    forget(raw)
    before = counters()
    own = 0
    for job in jobs:
        sums = executor.sums(job)
        own += sums.bytes_read
        executor.release(sums.moments)
    after = counters()
    read = {name: after[name] - before[name] for name in before}
    return {"files": _bytes(raw), "own count": own, **read}


def forget(paths: list[str]) -> None:
    """Take files out of the page cache."""
    for path in paths:
        with Path(path).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def counters() -> dict[str, int]:
    """This process's own, of the kernel: fetched from storage, and handed over by `read`."""
    lines = Path("/proc/self/io").read_text().splitlines()
    found = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    return {"storage": found["read_bytes"], "handed over": found["rchar"]}


PARTS = {"streaming": streaming, "bytes": count_bytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["make", *PARTS])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="frames of 120 x 220 pixels")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if given.part == "make":
        print(json.dumps(make(given.folder, given.small)))
    else:
        print(json.dumps(PARTS[given.part](given.folder, given.repeats)))


if __name__ == "__main__":
    main()
