"""Full-size frames for the benchmarks, made once in a folder.

    python benchmarks/frames.py FOLDER 49 12 4

One campaign serves all measurements: its first 6 stacks are a campaign by themselves, its
first 16, too; those have 12 frames each, the other 33 have 4.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

GAINS = (2.0, 10.0, 50.0, 200.0, 500.0, 1500.0, 5000.0)
TIMES = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 100.0)
SIX = ((2.0, 2.0), (2.0, 100.0), (50.0, 10.0), (500.0, 40.0), (5000.0, 2.0), (5000.0, 100.0))
SIXTEEN = tuple((g, t) for g in (2.0, 50.0, 500.0, 5000.0) for t in (2.0, 10.0, 40.0, 100.0))
ALL = tuple((g, t) for g in GAINS for t in TIMES)
INDEX = "frames.json"
#: A campaign of small frames: six stacks of eight, 120 x 220 pixels.
SMALL = "small"

Stacks = list[list[str]]


def settings(stacks: int) -> list[tuple[float, float]]:
    """EM gain and exposure time of the stacks: six, ten more, 33 more."""
    return list(dict.fromkeys(SIX + SIXTEEN + ALL))[:stacks]


def make(folder: Path, stacks: int, long: int, short: int) -> None:
    """Write the frames, and which of them belong together."""
    from emdarks.simulate import simulate_campaign

    plan = [(*pair, long if i < 16 else short) for i, pair in enumerate(settings(stacks))]
    files = simulate_campaign(
        folder / "campaign",
        "excam",
        seed=2026,
        stacks=plan,
        overwrite=True,
        threads=len(os.sched_getaffinity(0)),
    )
    paths = iter(str(path) for path in files.paths)
    index = [[next(paths) for _ in range(frames)] for *_, frames in plan]
    (folder / INDEX).write_text(json.dumps(index))


def make_small(folder: Path) -> None:
    """Write the campaign of small frames."""
    from emdarks.simulate import simulate_campaign

    simulate_campaign(folder / SMALL, "excam-small", frames=8, seed=2026, overwrite=True)


def small(folder: Path) -> Path:
    """List of the small frames."""
    target = folder / "list_small.txt"
    target.write_text("\n".join(map(str, sorted((folder / SMALL).glob("cgi_*.fits")))) + "\n")
    return target


def load(folder: Path) -> Stacks:
    """Paths of the frames, stack by stack."""
    index: Stacks = json.loads((folder / INDEX).read_text())
    return index


def chosen(folder: Path, stacks: int, frames: int) -> Path:
    """List (one path a line) of the first frames of the first stacks."""
    target = folder / f"list_{stacks}_{frames}.txt"
    paths = [path for stack in load(folder)[:stacks] for path in stack[:frames]]
    target.write_text("\n".join(paths) + "\n")
    return target


def paths_in(listed: str | Path) -> list[str]:
    """Paths of a list."""
    return Path(listed).read_text().split("\n")[:-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("stacks", type=int, nargs="?", default=49)
    parser.add_argument("long", type=int, nargs="?", default=12, help="frames of the first 16")
    parser.add_argument("short", type=int, nargs="?", default=4, help="frames of the others")
    parser.add_argument("--small", action="store_true", help="a campaign of small frames instead")
    arguments = parser.parse_args()
    if arguments.small:
        make_small(arguments.folder)
    else:
        make(arguments.folder, arguments.stacks, arguments.long, arguments.short)


if __name__ == "__main__":
    main()
