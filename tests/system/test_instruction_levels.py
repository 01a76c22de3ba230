"""The same bits at every instruction level: of kernels, of sums and of whole products."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from emdarks import _core

TESTS = Path(__file__).parents[1]

PROGRAM = """
import hashlib, json, sys
from pathlib import Path
import numpy as np
from emdarks import _core
from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset, DetectorParams
import test_fit_kernels
import test_small_kernels
from test_small_stream import KINDS, MASK, planes
from emdarks.accumulate import Sample, StackJob, Threads
from emdarks.accumulate.blocks import FigureArea
from emdarks.counting_sums import HistogramBins, Thresholds
from emdarks.fits.pixels import ArraySource

made = hashlib.sha256()
for kinds in KINDS:
    data, err, dq = (
        None if kind is None else plane.astype(kind)
        for plane, kind in zip(planes(), kinds, strict=True)
    )
    frames, rows, cols = data.shape
    noisy = data * 1.1 if data.dtype.kind == "f" else data
    sources = [
        ArraySource(noisy[i], None if err is None else err[i], None if dq is None else dq[i])
        for i in range(frames)
    ]
    area = FigureArea((1, 3), (90, 500), (10, 60))
    samples = tuple(Sample(source, 1.7) for source in sources)
    sums = Threads(1).sums(StackJob(samples, (rows, cols), MASK, area, 3))
    for plane in sums.moments.sums():
        made.update(b"" if plane is None else plane.tobytes())
    made.update(repr(sums.figures).encode())
    counted = samples, (rows, cols), MASK, area, 0, Thresholds(40, 90, 120), HistogramBins(-9, 1.5)
    moments = Threads(1).sums(StackJob(*counted, (2, 3))).moments
    for plane in (*moments.counting.sums(), moments.histogram):
        made.update(plane.tobytes())

folder = Path(sys.argv[1])
dataset = Dataset(sorted(str(path) for path in folder.glob("cgi_*.fits")))
regions = json.loads((folder / "campaign.json").read_text())["geometry"]
params = DetectorParams(folder / "detector_params.fits")
for options in ({}, {"estimator": "reference"}, {"screen": True}, {"estimator": "counting"}):
    maps = calibrate_darks_lsq(dataset, params, True, regions, executor=Threads(2), **options)
    for plane in (maps.data, maps.err, maps.dq):
        made.update(plane.tobytes())
made.update(test_fit_kernels.digest().encode() + test_small_kernels.everything().encode())
print(_core.level, made.hexdigest())
"""


def run(level: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "EMDARKS_CPU_LEVEL"}
    if level is not None:
        environment["EMDARKS_CPU_LEVEL"] = level
    folders = TESTS / "unit", TESTS, TESTS.parent
    environment["PYTHONPATH"] = os.pathsep.join(str(folder) for folder in folders)
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )


def test_every_instruction_level_gives_the_same_bits() -> None:
    assert _core.levels[-1] == "baseline"
    folder = str(TESTS / "data" / "golden")
    made = {}
    for level in _core.levels:
        done = run(level, PROGRAM, folder)
        assert done.returncode == 0, done.stderr
        name, made[level] = done.stdout.split()
        assert name == level
    assert len(set(made.values())) == 1, made


def test_the_best_level_is_used_unless_another_is_asked_for() -> None:
    program = "from emdarks import _core; print(_core.level)"
    assert run(None, program).stdout.split() == [_core.levels[0]]
    assert run("", program).stdout.split() == [_core.levels[0]]
    refused = run("v9", program)
    assert refused.returncode != 0
    assert f"EMDARKS_CPU_LEVEL=v9: this machine has {', '.join(_core.levels)}" in refused.stderr
