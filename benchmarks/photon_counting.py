"""Counting electrons beside averaging: milliseconds a full-size frame.

    python benchmarks/photon_counting.py FOLDER --frames 24

Frames of EM gain 5000 are made once in the folder. Their file pages are in memory, so that
computing is measured, not the disk; the kinds take turns, and the least of some rounds counts.
What a product costs once is told apart from what each frame costs, by all frames and a quarter of
them.
"""

from __future__ import annotations

import argparse
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from clock import least

from emdarks import Dataset, Threads, build_photon_counted_dark, build_trad_dark
from emdarks.simulate import simulate_campaign

ROUNDS = 5


def frames(folder: Path, count: int) -> Dataset:
    """One stack."""
    paths = sorted((folder / "counted").glob("cgi_*.fits"))
    if len(paths) != count:
        made = simulate_campaign(
            folder / "counted", "excam", seed=20, stacks=[(5000.0, 10.0, count)], overwrite=True
        )
        paths = list(made.paths)
    return Dataset(paths)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    dataset = frames(given.folder, given.frames)
    some = dataset[: given.frames // 4]
    options: dict[str, Any] = {"full_frame": True, "executor": Threads(given.threads)}
    kinds = {
        "mean (`dark`)": partial(build_trad_dark, detector_params=None, **options),
        "counts (`dark --photon-counting`)": partial(build_photon_counted_dark, **options),
        "counts, `--estimator reference`": partial(
            build_photon_counted_dark, estimator="reference", **options
        ),
    }
    found = least(
        ROUNDS,
        {
            f"{name} {n}": partial(kind, data)
            for name, kind in kinds.items()
            for n, data in (("few", some), ("all", dataset))
        },
    )
    print("| dark | CPU ms a frame | CPU s once |\n| --- | --- | --- |")
    for name in kinds:
        few, every = (found[f"{name} {n}, CPU"] for n in ("few", "all"))
        frame = (every - few) / (len(dataset) - len(some))
        print(f"| {name} | {1000 * frame:.1f} | {few - frame * len(some):.2f} |")


if __name__ == "__main__":
    main()
