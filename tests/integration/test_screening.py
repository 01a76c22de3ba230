"""Screening of unflagged cosmic rays: one-sided, gain-aware, unbiased on clean frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from campaigns import REGIONS, Campaign, params
from emdarks._core import KEPT
from emdarks.accumulate import Sample, StackJob, Threads
from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset
from emdarks.errors import EmdarksWarning
from emdarks.fits.pixels import ArraySource
from emdarks.moments import Moments
from emdarks.stacks.stack_moments import Screening, screen_stack

SHAPE = (17, 61)
READ_NOISE = 120.0


def charge(time: float, rng: np.random.Generator) -> tuple[Any, Any]:
    """C + t D of every pixel, one in twenty hot, and which are."""
    hot = rng.random(SHAPE) < 0.05
    dark = np.where(hot, 10 ** rng.uniform(-2, 0, SHAPE), 8.3e-4)
    return 0.02 + time * dark, hot


def frames(gain: float, lam: Any, number: int, rng: np.random.Generator) -> Any:
    electrons = rng.poisson(lam, (number, *SHAPE))
    signal = np.where(electrons > 0, rng.gamma(np.maximum(electrons, 1e-9), gain), 0.0)
    return rng.normal(0, 12, SHAPE) + signal + rng.normal(0, READ_NOISE, electrons.shape)


def sums(data: Any, kept: int = KEPT, executor: Threads | None = None) -> Moments:
    job = StackJob(tuple(Sample(ArraySource(x)) for x in data), SHAPE, 1, None, kept)
    return (executor or Threads(1)).sums(job).moments


def screened(data: Any, gain: float, time: float, executor: Threads | None = None) -> Any:
    moments = sums(data, executor=executor)
    rejected = np.zeros(data[0].size, np.int32)
    nominal = Screening(gain, READ_NOISE, 0.02 + time * 8.33e-4)
    screen_stack(moments, nominal, rejected, executor or Threads(1))
    return moments, rejected


CASES = [(2.0, 2.0), (2.0, 100.0), (50.0, 40.0), (500.0, 10.0), (5000.0, 100.0)]


@pytest.mark.parametrize(("gain", "time"), CASES)
def test_clean_frames_are_left_alone_hot_pixels_too(gain: float, time: float) -> None:
    rng = np.random.default_rng(11)
    lam, _ = charge(time, rng)
    data = frames(gain, lam, 100, rng)
    moments, rejected = screened(data, gain, time)
    # 100 frames of 1037 pixels: a clean sample passes the ceiling once in a million.
    assert rejected.sum() <= 2
    difference = (moments.mean.reshape(SHAPE) - data.mean(axis=0)) / gain
    assert abs(difference.mean()) < 1e-4


@pytest.mark.parametrize(("gain", "time"), CASES[:4])
def test_hits_are_taken_out_as_if_they_had_been_flagged(gain: float, time: float) -> None:
    rng = np.random.default_rng(12)
    data = frames(gain, np.full(SHAPE, 0.02 + time * 8.3e-4), 60, rng)
    hits = rng.random(data.shape) < 1e-3
    bright = data + hits * 5e4
    moments, rejected = screened(bright, gain, time)
    assert rejected.sum() == hits.sum() > 30
    kept = np.ma.masked_array(data, hits)
    np.testing.assert_array_equal(moments.n.reshape(SHAPE), kept.count(axis=0))
    np.testing.assert_allclose(moments.mean.reshape(SHAPE), kept.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        moments.m2.reshape(SHAPE), ((kept - kept.mean(axis=0)) ** 2).sum(axis=0), rtol=1e-7
    )
    touched = hits.any(axis=0)
    assert (moments.flags.reshape(SHAPE)[touched] == 128).all()
    assert (moments.flags.reshape(SHAPE)[~touched] == 0).all()


def test_more_hits_than_are_kept_leave_the_stack_out() -> None:
    rng = np.random.default_rng(13)
    data = frames(2.0, np.full(SHAPE, 0.02), 40, rng)
    data[: KEPT - 1, 3, 4] += 4e4
    data[:KEPT, 5, 6] += 4e4
    moments, rejected = screened(data, 2.0, 2.0)
    n = moments.n.reshape(SHAPE)
    assert n[3, 4] == 40 - (KEPT - 1)
    assert n[5, 6] == 0
    assert moments.flags.reshape(SHAPE)[5, 6] == 128
    assert rejected.reshape(SHAPE)[5, 6] == KEPT


@pytest.mark.parametrize("number", [2, 3, 5])
def test_few_frames(number: int) -> None:
    rng = np.random.default_rng(14)
    data = frames(2.0, np.full(SHAPE, 0.02), number, rng)
    data[0, 3, 4] += 4e4
    moments, rejected = screened(data, 2.0, 2.0)
    assert rejected.sum() == 1
    assert moments.n.reshape(SHAPE)[3, 4] == number - 1


def test_a_lone_frame_cannot_be_screened_away() -> None:
    rng = np.random.default_rng(15)
    data = frames(2.0, np.full(SHAPE, 0.02), 1, rng)
    data[0, 3, 4] += 4e4
    moments, rejected = screened(data, 2.0, 2.0)
    assert rejected.sum() == 0
    assert (moments.n == 1).all()


def test_the_largest_samples_do_not_depend_on_threads_or_blocks() -> None:
    rng = np.random.default_rng(16)
    data = frames(50.0, np.full(SHAPE, 0.05), 300, rng)  # three blocks
    one = sums(data)
    other = sums(data, executor=Threads(3, run_pixels=70, batch_files=7))
    assert one.equal(other)
    expected = np.sort(data.reshape(300, -1), axis=0)[-KEPT:].T
    np.testing.assert_array_equal(one.top, expected)


def test_screened_maps_say_so(quirky: Campaign) -> None:
    plain = calibrate_darks_lsq(quirky.files(), params(), True, REGIONS)
    maps = calibrate_darks_lsq(quirky.files(), params(), True, REGIONS, screen=True)
    assert (plain.ext_hdr["SCREEN"], maps.ext_hdr["SCREEN"]) == (False, True)
    assert plain.extra("REJECTED") is None
    assert maps.extra("REJECTED").shape == plain.data.shape[1:]
    dataset = quirky.memory()
    index = next(i for i, f in enumerate(dataset) if f.ext_hdr["EMGAIN_C"] == 1.0)
    dataset[index].data[12, 20] = 3e4
    dataset[index].dq[12, 20] = 0
    hit = calibrate_darks_lsq(dataset, params(), True, REGIONS, screen=True)
    assert hit.extra("REJECTED")[12, 20] == maps.extra("REJECTED")[12, 20] + 1
    with pytest.warns(EmdarksWarning, match="because of few very bright samples"):
        spoilt = calibrate_darks_lsq(dataset, params(), True, REGIONS)
    clean = maps.extra("SIGNED")[0, 12, 20]
    assert abs(hit.extra("SIGNED")[0, 12, 20] - clean) < 100
    assert abs(spoilt.extra("SIGNED")[0, 12, 20] - clean) > 500


def test_from_files_and_memory_the_same_bits(quirky: Campaign) -> None:
    datasets: list[Dataset] = [quirky.files(), quirky.memory()]
    one, other = (calibrate_darks_lsq(d, params(), True, REGIONS, screen=True) for d in datasets)
    assert one.data.tobytes() == other.data.tobytes()
    assert one.extra("REJECTED").tobytes() == other.extra("REJECTED").tobytes()
