"""Every byte of every frame is read once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import REGIONS, Campaign, frame_hdus, params
from emdarks.accumulate import Sample, StackJob, StackSums, Threads
from emdarks.accumulate.blocks import Block
from emdarks.data import Dataset
from emdarks.frames import frame_sources
from emdarks.moments import Moments

BYTES_PER_PIXEL = 4 + 4 + 2


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that the executor read, block by block."""
    counts: list[int] = []
    original = Threads.add

    def counted(self: Threads, block: Block, into: Moments | None = None) -> StackSums:
        sums = original(self, block, into)
        counts.append(sums.bytes_read)
        return sums

    monkeypatch.setattr(Threads, "add", counted)
    return counts


def run(name: str, campaign: Campaign) -> tuple[Any, int]:
    from emdarks.darks import build_trad_dark, calibrate_darks_lsq, mean_combine

    if name == "calibrate_darks_lsq":
        return calibrate_darks_lsq(campaign.files(), params(), True, REGIONS), len(campaign.paths)
    stack = campaign.stack(300.0, 50.0)
    dataset = stack.files()
    if name == "build_trad_dark":
        return build_trad_dark(dataset, params(), REGIONS), len(dataset)
    return mean_combine(dataset, None), len(dataset)


@pytest.mark.parametrize("name", ["calibrate_darks_lsq", "build_trad_dark", "mean_combine"])
def test_every_byte_of_the_planes_is_read_once(
    quirky: Campaign, reads: list[int], name: str
) -> None:
    _, frames = run(name, quirky)
    pixels = REGIONS["SCI"]["frame_rows"] * REGIONS["SCI"]["frame_cols"]
    assert sum(reads) == frames * pixels * BYTES_PER_PIXEL


def test_the_mean_of_errors_reads_no_image(quirky: Campaign, reads: list[int]) -> None:
    from emdarks.darks import mean_combine

    dataset = quirky.stack(300.0, 50.0).files()
    mean_combine(dataset, None, err=True)
    pixels = REGIONS["SCI"]["frame_rows"] * REGIONS["SCI"]["frame_cols"]
    assert sum(reads) == len(dataset) * pixels * 6


def test_the_executor_counts_what_it_read(quirky: Campaign) -> None:
    sources = frame_sources(quirky.files())
    job = StackJob(tuple(Sample(source) for source in sources), sources[0].shape, 1)
    sums = Threads(2, run_pixels=100, batch_files=3).sums(job)
    assert sums.bytes_read == len(sources) * sources[0].shape[0] * sources[0].shape[1] * 10


PROGRAM = """
import sys
from emdarks.data import Dataset
from emdarks.darks import build_trad_dark, calibrate_darks_lsq, mean_combine
from emdarks.cameras import load_camera
def rchar():
    return int(open("/proc/self/io").read().split()[1])
name, paths = sys.argv[1], sys.argv[2:]
import warnings
warnings.simplefilter("ignore")
run = {
    "mean_combine": lambda d: mean_combine(d, None),
    "build_trad_dark": lambda d: build_trad_dark(d, None),
    "calibrate_darks_lsq": lambda d: calibrate_darks_lsq(d, None),
}[name]
run(Dataset(paths))  # loads the compiled kernels
dataset = Dataset(paths)
before = rchar()
run(dataset)
print(rchar() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="no I/O counter on this system")
@pytest.mark.parametrize("name", ["calibrate_darks_lsq", "build_trad_dark", "mean_combine"])
def test_the_counter_of_the_system_agrees(
    tmp_path: Path, rng: np.random.Generator, name: str
) -> None:
    rows, cols = 120, 220
    stacks = [(1.0, 2.0), (1.0, 100.0), (50.0, 10.0), (1000.0, 60.0)]
    paths = []
    for gain, time in stacks if name == "calibrate_darks_lsq" else stacks[:1]:
        for _ in range(3):
            path = tmp_path / f"f{len(paths)}_l2a.fits"
            dq = np.zeros((rows, cols), np.uint16)
            dq[1, 2] = 128
            frame_hdus(
                rng.normal(0, 100, (rows, cols)).astype(np.float32),
                gain=gain,
                time=time,
                err=np.ones((1, rows, cols), np.float32),
                dq=dq,
                cards={"CAMERA": "excam-small"},
            ).writeto(path)
            paths.append(str(path))
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, *paths], capture_output=True, text=True, check=True
    )
    size = sum(Path(path).stat().st_size for path in paths)
    assert 0.85 * size < int(result.stdout) <= 1.05 * size


def test_scanning_reads_headers_only(tmp_path: Path, rng: np.random.Generator) -> None:
    """Of frames whose pixels are a thousand times as large as their headers."""
    path = tmp_path / "frame.fits"
    frame_hdus(rng.normal(size=(1100, 1300)).astype(np.float32)).writeto(path)
    counter = Path("/proc/self/io")
    if not counter.exists():
        pytest.skip("no I/O counter on this system")

    def rchar() -> int:
        return int(counter.read_text().split()[1])

    Dataset([path])
    before = rchar()
    dataset = Dataset([path])
    assert dataset[0].ext_hdr["EXPTIME"] == 1.0
    assert rchar() - before < 100_000 < path.stat().st_size / 50
