"""Means of every few frames along a stack, against NumPy; all other sums keep their bits."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emdarks import _core
from emdarks.accumulate import Checkpoint, Sample, SequenceMeans, StackJob, Threads
from emdarks.accumulate.blocks import FigureArea, mean_frames
from emdarks.counting_sums import HistogramBins, Thresholds
from emdarks.errors import InputError
from emdarks.fits.pixels import ArraySource

ROWS, COLS = 5, 7
SCALE = 1.5
MASK = 4
AREA = FigureArea((1, 4), (2, 6), (0, 1))
EXECUTORS = [
    {"threads": 1, "run_pixels": 1 << 20, "batch_files": 100},
    {"threads": 1, "run_pixels": 1, "batch_files": 3},
    {"threads": 3, "run_pixels": 2 * COLS, "batch_files": 7},
]


def frames_of(count: int) -> tuple[Any, Any]:
    """Frames with a pixel that is never good, one that is late, and others masked now and then."""
    rng = np.random.default_rng(count)
    data = rng.normal(300.0, 40.0, (count, ROWS, COLS)).astype(np.float32)
    dq = np.where(rng.random(data.shape) < 0.2, MASK, 0).astype(np.uint16)
    data[rng.random(data.shape) < 0.03] = np.nan
    dq[:, 0, 0] = MASK
    dq[: count // 2, 1, 1] = MASK
    return data, dq


def job_of(data: Any, dq: Any, length: int, kind: str = "f4") -> StackJob:
    samples = (
        Sample(ArraySource(x.astype(kind), None, q), SCALE) for x, q in zip(data, dq, strict=True)
    )
    return StackJob(tuple(samples), (ROWS, COLS), MASK, AREA, mean_frames=length)


def means_of(data: Any, dq: Any, length: int) -> tuple[list[int], Any, Any]:
    """Frames, means and numbers of good samples of each plane."""
    good = np.isfinite(data) & (dq & MASK == 0)
    firsts = [
        lo
        for block in range(0, len(data), 128)
        for lo in range(block, min(block + 128, len(data)), length)
    ]
    ends = [*firsts[1:], len(data)]
    x = np.where(good, data.astype(float) * SCALE, 0.0)
    n = np.array([good[lo:hi].sum(axis=0) for lo, hi in zip(firsts, ends, strict=True)])
    sums = np.array([x[lo:hi].sum(axis=0) for lo, hi in zip(firsts, ends, strict=True)])
    with np.errstate(invalid="ignore"):
        means = sums / n
    frames = [hi - lo for lo, hi in zip(firsts, ends, strict=True)]
    return frames, means.reshape(len(n), -1), n.reshape(len(n), -1)


def joined(sequence: tuple[SequenceMeans, ...]) -> tuple[list[int], Any, Any]:
    frames = [count for part in sequence for count in part.frames]
    return (
        frames,
        np.concatenate([s.mean for s in sequence]),
        np.concatenate([s.n for s in sequence]),
    )


CASES = list(itertools.product((3, 23, 128, 150), (1, 4, 6, 8, 128)))


@pytest.mark.parametrize(("count", "length"), CASES)
def test_means_are_those_of_the_frames(count: int, length: int) -> None:
    data, dq = frames_of(count)
    expected = means_of(data, dq, length)
    for options in EXECUTORS:
        frames, mean, n = joined(Threads(**options).sums(job_of(data, dq, length)).sequence)
        assert frames == expected[0]
        np.testing.assert_array_equal(n, expected[2])
        np.testing.assert_allclose(mean, expected[1], 1e-6)
    assert np.isnan(mean[:, 0]).all()


@pytest.mark.parametrize("kind", ["f4", ">f8", ">i2"])
def test_other_sums_keep_their_bits(kind: str) -> None:
    data, dq = frames_of(150)
    data = np.nan_to_num(data) if "i" in kind else data
    more = {
        "thresholds": Thresholds(500.0, 520.0, 560.0),
        "histogram": HistogramBins(200.0, 10.0),
    }
    for added, kept, options in itertools.product(({}, more), (0, 2), EXECUTORS):
        job = replace(job_of(data, dq, 6, kind), kept=kept, **added)
        without = Threads(**options).sums(replace(job, mean_frames=0))
        found = Threads(**options).sums(job)
        assert without.sequence == ()
        assert found.moments.equal(without.moments)
        assert repr(found.figures) == repr(without.figures)  # some are NaN


def test_at_most_64_planes_of_few_frames() -> None:
    lengths = {count: mean_frames(count) for count in (1, 200, 512, 513, 1000, 1176, 8192, 50000)}
    assert lengths == {1: 8, 200: 8, 512: 8, 513: 16, 1000: 16, 1176: 32, 8192: 128, 50000: 128}


def test_no_checkpoint_keeps_them(tmp_path: Path) -> None:
    job = job_of(*frames_of(9), 4)
    with pytest.raises(InputError, match="not kept in a checkpoint; do without one"):
        Checkpoint(Threads(1), tmp_path).sums(job)
    assert Checkpoint(Threads(1), tmp_path).sums(replace(job, mean_frames=0)).sequence == ()


def test_the_kernel_refuses_planes_that_do_not_fit() -> None:
    mean, n = np.empty((2, 35), np.float32), np.empty((2, 35), np.uint8)
    wrong: list[tuple[Any, ...]] = [
        (mean, n[:1], 4, 0),
        (mean, n, 0, 0),
        (mean, n, 256, 0),
        (mean, n, 4, -1),
    ]
    for arguments in wrong:
        with pytest.raises(ValueError, match=r"n must|length must|first must"):
            _core.SequenceMeans(*arguments)
    with pytest.raises(TypeError):
        _core.SequenceMeans(mean.astype(float), n, 4, 0)


def test_means_of_one_stack_are_held_at_a_time() -> None:
    """Those of finished stacks are gone, and those of stacks that are read again come again."""
    from emdarks.stacks import accumulate_stacks

    data, dq = frames_of(23)
    jobs = [job_of(data, dq, 4), job_of(data[:9], dq[:9], 4)]
    seen: list[list[int]] = []
    _, sums = accumulate_stacks(
        jobs, Threads(1), look=lambda _, sums: seen.append(joined(sums.sequence)[0])
    )
    assert seen == [[4, 4, 4, 4, 4, 3], [4, 4, 1]]
    assert [each.sequence for each in sums] == [(), ()]
