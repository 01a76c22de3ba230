"""Counting electrons beside averaging: milliseconds that a full-size frame takes in the stream.

    python benchmarks/photon_counting.py FOLDER [--files 24] [--frames 2000]

Frames of EM gain 5000 are made once in the folder, and taken again and again until there are as
many as are wanted: their file pages are in memory, so that computing is measured, not the disk.
The kinds take turns, and the least of some rounds counts. `bench.py` runs this as its part
"counting".
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
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

THRESHOLD = 825.0


def frames(folder: Path, files: int, count: int) -> StackJob:
    """One stack of so many frames, of fewer files."""
    made = folder / "counted"
    paths = sorted(made.glob("cgi_*.fits"))[:files]
    if len(paths) < files:
        stack = [(5000.0, 10.0, files)]
        paths = [*simulate_campaign(made, "excam", seed=20, stacks=stack, overwrite=True).paths]
    sources = [FileSource(scan_file(str(path))) for path in paths]
    samples = itertools.islice(itertools.cycle(map(Sample, sources)), count)
    return StackJob(tuple(samples), sources[0].shape, ALL_BITS)


def main() -> None:
    """Measure, and print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    job, threads = frames(given.folder, given.files, given.frames), Threads(given.threads)
    at = CountThreshold(THRESHOLD)
    jobs = {
        "mean": job,
        "counts": replace(job, thresholds=at),
        "reference": replace(job, thresholds=replace(at, errors=True)),
    }
    found = least(given.rounds, {name: partial(threads.sums, each) for name, each in jobs.items()})
    figures = {"frames": given.frames, "load": load, "load after": os.getloadavg()[0]}
    print(json.dumps(figures | {"seconds": found}))


if __name__ == "__main__":
    main()
