"""Counting electrons beside averaging: milliseconds that a full-size frame takes in the stream.

    python benchmarks/photon_counting.py FOLDER --frames 24

Frames of EM gain 5000 are made once in the folder. Their file pages are in memory, so that
computing is measured, not the disk; the kinds take turns, and the least of some rounds counts.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from clock import least

from emdarks import Threads
from emdarks.accumulate import Sample, StackJob
from emdarks.counting_sums import CountThreshold
from emdarks.dq import ALL_BITS
from emdarks.fits import scan_file
from emdarks.fits.pixels import FileSource
from emdarks.simulate import simulate_campaign

ROUNDS, THRESHOLD = 7, 825.0


def frames(folder: Path, count: int) -> StackJob:
    """One stack."""
    made = folder / "counted"
    paths = sorted(made.glob("cgi_*.fits"))[:count]
    if len(paths) < count:
        stack = [(5000.0, 10.0, count)]
        paths = [*simulate_campaign(made, "excam", seed=20, stacks=stack, overwrite=True).paths]
    sources = [FileSource(scan_file(str(path))) for path in paths]
    return StackJob(tuple(Sample(source) for source in sources), sources[0].shape, ALL_BITS)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    job, threads = frames(given.folder, given.frames), Threads(given.threads)
    jobs = {
        "mean (`dark`)": job,
        "counts (`dark --photon-counting`)": replace(job, thresholds=CountThreshold(THRESHOLD)),
        "counts, `--estimator reference`": replace(
            job, thresholds=CountThreshold(THRESHOLD, errors=True)
        ),
    }
    found = least(ROUNDS, {name: partial(threads.sums, each) for name, each in jobs.items()})
    print("| sums of | ms a frame | CPU ms a frame |\n| --- | --- | --- |")
    for name in jobs:
        whole, busy = (1000 * found[key] / given.frames for key in (name, f"{name}, CPU"))
        print(f"| {name} | {whole:.1f} | {busy:.1f} |")


if __name__ == "__main__":
    main()
