"""Few open files: frames are closed again, and Dask does not wait for ever."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from validation.hostile_campaign import write_good
from validation.hostile_run import few_descriptors, invoke

from emdarks.data import Dataset
from emdarks.errors import ClusterError, InputError


@pytest.mark.parametrize("threads", ["1", "16"])
def test_a_campaign_of_120_frames_with_40_descriptors(tmp_path: Path, threads: str) -> None:
    (tmp_path / "good").mkdir()
    good = write_good(tmp_path / "good")
    more = tmp_path / "more"
    more.mkdir()
    rng = np.random.default_rng(5)
    for frame in Dataset(good):
        for number in range(5):
            other = frame.copy()
            other.data = other.data + rng.normal(0, 3, other.data.shape)
            other.save(more, f"{number}_{frame.filename}")
    options = ["--camera", str(tmp_path / "good/camera.toml"), "--threads", threads]
    with few_descriptors(40):
        outcome = invoke(["noisemaps", str(more), "-o", str(tmp_path / "m.fits"), *options], more)
    assert (outcome.exit_code, outcome.escaped) == (0, ""), outcome
    assert "frames                120" in outcome.text


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    good = write_good(tmp_path)
    good[20].write_bytes(good[20].read_bytes()[:4000])
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("open files are not listed here")
    before = None
    for _ in range(50):
        for frame in Dataset(good, skip_bad_frames=True):
            assert frame.dq.shape == frame.data.shape
        with pytest.raises(InputError):
            Dataset([good[20]])
        before = before or len(os.listdir(folder))  # noqa: PTH208
    assert len(os.listdir(folder)) == before  # noqa: PTH208


def test_dask_says_that_it_needs_more_descriptors() -> None:
    cluster = pytest.importorskip("emdarks.accumulate.dask")
    with few_descriptors(40), pytest.raises(ClusterError, match=r"2 processes need 56 open files"):
        cluster.Dask("local", threads=2)
