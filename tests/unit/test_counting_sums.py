"""Counts, clipped sums and histograms of a stack against a slow twin."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from emdarks import _core
from emdarks.accumulate import Checkpoint, Sample, StackJob, Threads
from emdarks.accumulate.blocks import FigureArea
from emdarks.counting_sums import (
    COUNTING_SUMS,
    CountingSums,
    CountsAbove,
    CountThreshold,
    HistogramBins,
    Thresholds,
)
from emdarks.errors import InputError
from emdarks.fits.pixels import ArraySource
from emdarks.moments import Moments

ROWS, COLS, FRAMES, MASK = 13, 133, 11, 4  # columns: marks are looked at 64 at a time
SCALE = 2.5
AT = Thresholds(40.0, 90.0, 150.0)
BINS = HistogramBins(-100.0, 2.5)
AREA = FigureArea((1, 11), (3, 127), (0, 2))
TELEMETRY = (12, 13)
LIMITS = (0, -np.inf), (-1, np.inf)
WIDE = 4000  # with few rows: wider than a run


def planes(seed: int = 5, frames: int = FRAMES) -> tuple[Any, Any, Any]:
    """Noise, charges on both sides of all thresholds, flags, and samples that are no numbers."""
    rng = np.random.default_rng(seed)
    shape = (frames, ROWS, COLS)
    data = rng.normal(0, 10 / SCALE, shape)
    data += np.where(rng.random(shape) < 0.1, rng.exponential(60 / SCALE, shape), 0)
    err = np.where(rng.random(shape) < 0.1, rng.integers(-1, 2, shape), 0)
    dq = np.where(rng.random(shape) < 0.1, rng.choice([2, 4, 6], shape), 0)
    dq[:, 4, 5] = 4
    data[:, 6, 0] = 1000.0  # a core in every frame, at the edge
    dq[3, 6, 0] = 4  # and one that is flagged
    data[2, 3, 3], data[2, 9, 9], data[4, 5, 5] = np.nan, np.inf, 1e13
    return data, err, dq


def near_a_core(core: Any) -> Any:
    found = np.zeros_like(core)
    for row, col in np.argwhere(core):
        found[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3] = True
    return found


def slow(data: Any, err: Any, dq: Any, scale: float = SCALE) -> dict[str, Any]:
    """The sums, frame by frame, as they are defined."""
    names = dict.fromkeys(COUNTING_SUMS)
    found = {name: np.zeros((ROWS, COLS)) for name in names}
    edges, bins = BINS.edges, len(BINS.edges) - 1
    histogram = np.zeros((2, bins), np.int64)
    place = np.ones((ROWS, COLS), np.int64)
    place[slice(*AREA.rows), slice(*AREA.cols)] = 0
    place[slice(*TELEMETRY)] = -1
    for x, e, q in zip(data.astype(float), err, dq, strict=True):
        finite = np.isfinite(x) & (x < 2.0**40)
        good = finite & (e >= 0) & ((q & MASK) == 0)
        core = finite & (x * scale > AT.T3) & (place >= 0)
        x = np.where(good, x, np.nan) * scale
        kept, d = good & (x <= AT.T2), x - AT.T
        near = near_a_core(core) & kept & (place >= 0)
        found["above"] += kept & (d > 0)
        found["beyond"] += good & (x > AT.T2)
        found["near"] += near
        found["near_above"] += near & (d > 0)
        found["low"] += np.where(kept, np.minimum(d, 0), 0)
        found["high"] += np.where(kept, np.maximum(d, 0), 0)
        for region in (0, 1):
            some = x[good & (place == region)]
            at = np.clip(np.searchsorted(edges, some, side="right") - 1, 0, bins - 1)
            np.add.at(histogram[region], at, 1)
    return {**{k: v.ravel() for k, v in found.items()}, "histogram": histogram}


def job_of(data: Any, err: Any, dq: Any, kinds: tuple[str, str, str]) -> StackJob:
    data, err, dq = (x.astype(kind) for x, kind in zip((data, err, dq), kinds, strict=True))
    samples = (Sample(ArraySource(*frame), SCALE) for frame in zip(data, err, dq, strict=True))
    return StackJob(tuple(samples), (ROWS, COLS), MASK, AREA, 0, AT, BINS, TELEMETRY)


def assert_equals(found: Moments, expected: dict[str, Any]) -> None:
    assert found.counting is not None
    for name, sums in zip(COUNTING_SUMS, found.counting.sums(), strict=True):
        if sums.dtype == np.uint16:
            np.testing.assert_array_equal(sums, expected[name], name)
        else:
            np.testing.assert_allclose(sums, expected[name], 1e-12, 1e-9, err_msg=name)
    np.testing.assert_array_equal(found.histogram, expected["histogram"])


EXECUTORS = [
    {"threads": 1, "run_pixels": 1 << 20, "batch_files": 100},
    {"threads": 1, "run_pixels": 1, "batch_files": 2},
    {"threads": 3, "run_pixels": 3 * COLS, "batch_files": 4},
]
KINDS = [
    ("f4", "i2", ">u2"),
    (">f4", ">f4", "u1"),
    (">f8", "f8", "u4"),
    ("f8", "f4", "u8"),
]


@pytest.mark.parametrize(("kinds", "options"), list(itertools.product(KINDS, EXECUTORS)), ids=str)
def test_counting_sums_of_arrays(kinds: Any, options: Any) -> None:
    data, err, dq = planes()
    data = data.astype(kinds[0]).astype(float)
    found = Threads(**options).sums(job_of(data, err, dq, kinds)).moments
    assert_equals(found, slow(data, err, dq))


@pytest.mark.parametrize("kind", ["u2", ">i2", ">i4"])
def test_counting_sums_of_whole_numbers(kind: str) -> None:
    data, err, dq = planes()
    data = np.nan_to_num(data, nan=7.0, posinf=9.0).clip(0, 30000).round()
    for options in EXECUTORS:
        found = Threads(**options).sums(job_of(data, err, dq, (kind, "f4", "u2"))).moments
        assert_equals(found, slow(data, err, dq))


@given(
    kind=st.sampled_from(["f4", "f8", ">f4"]),
    scale=st.floats(0.01, 100.0),
    at=st.floats(-1e4, 1e5),
)
def test_samples_at_a_threshold(kind: str, scale: float, at: float) -> None:
    # Samples as stored are compared with limits that must be those of their values in electrons.
    middle = np.dtype(kind).newbyteorder("=").type(at / scale)
    values = [middle]
    for _ in range(4):
        low, high = (np.nextafter(values[i], middle.dtype.type(to)) for i, to in LIMITS)
        values = [low, *values, high]
    row = np.array(values).astype(kind)
    x = row.astype(float) * scale
    sample = Sample(ArraySource(row[None], None, None), scale)
    thresholds = Thresholds(at, x[6], x[6])
    assume(at < x[6])
    job = StackJob((sample,), (1, row.size), 0, thresholds=thresholds)
    counts = Threads(1).sums(job).moments.counting
    assert counts is not None
    near = near_a_core(x[None] > thresholds.T3)[0] & (x <= thresholds.T2)
    np.testing.assert_array_equal(counts.near, near)
    np.testing.assert_array_equal(counts.near_above, near & (x > at))
    np.testing.assert_array_equal(counts.above, (x > at) & (x <= thresholds.T2))


def test_no_core_is_sought_where_the_gain_is_low() -> None:
    low = Thresholds.of(319.0, 160.0, 1e5)
    assert np.isinf(low.T3)
    assert Thresholds.of(320.0, 160.0, 1e5).T3 == 800 + 6 * 320
    image = np.full((5, 7), 2 * low.T2)
    image[2, 3] = image[4, 6] = 0.0
    job = StackJob((Sample(ArraySource(image, None, None)),), (5, 7), 0, thresholds=low)
    counts = Threads(1).sums(job).moments.counting
    assert counts is not None
    assert counts.beyond.sum() == 33
    assert not counts.near.any()


def test_other_sums_are_the_same_without() -> None:
    job = job_of(*planes(), KINDS[0])
    plain = StackJob(job.samples, job.shape, job.mask, job.area)
    counted, usual = (Threads(1).sums(each).moments for each in (job, plain))
    assert usual.counting is None
    assert usual.histogram is None
    for name in ("n", "mean", "m2", "err2", "flags"):
        np.testing.assert_array_equal(getattr(counted, name), getattr(usual, name))


def test_cutting_changes_no_bit() -> None:
    """Neither runs, batches nor threads, across blocks."""
    frames = 131
    jobs = [job_of(*planes(6, frames), KINDS[0]) for _ in EXECUTORS]
    all_sums = [
        Threads(**options).sums(job).moments for options, job in zip(EXECUTORS, jobs, strict=True)
    ]
    data, err, dq = planes(6, frames)
    assert_equals(all_sums[0], slow(data.astype("f4").astype(float), err, dq))
    assert all(all_sums[0].equal(other) for other in all_sums[1:])


def test_sums_of_two_sets_of_frames_merge() -> None:
    from emdarks.moments import merge

    data, err, dq = planes(7, 20)
    one, other, both = (
        Threads(1).sums(job_of(data[part], err[part], dq[part], KINDS[2])).moments
        for part in (slice(0, 9), slice(9, 20), slice(0, 20))
    )
    assert not one.equal(both)
    merge(one, other)
    one.add_histogram(other)
    np.testing.assert_array_equal(one.histogram, both.histogram)
    assert one.counting is not None
    assert both.counting is not None
    for mine, theirs in zip(one.counting.sums(), both.counting.sums(), strict=True):
        np.testing.assert_allclose(mine, theirs, 1e-12)


def test_one_frame_in_eight_of_large_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emdarks.accumulate.threads.MANY_PIXELS", ROWS * COLS)
    data, err, dq = planes(8, 20)
    for options in EXECUTORS:
        found = Threads(**options).sums(job_of(data, err, dq, ("f8", "f8", "u2"))).moments
        expected = slow(data[::8], err[::8], dq[::8])["histogram"]
        np.testing.assert_array_equal(found.histogram, expected)


def test_one_row_in_sixteen_without_counts() -> None:
    """Another one in the next frame, also across blocks."""
    frames = 131
    data, err, dq = planes(9, frames)
    number = np.arange(frames)[:, None, None] + np.arange(ROWS)[:, None]
    expected = slow(data, err, np.where(number % 16, MASK, dq))["histogram"]
    assert 0 < expected.sum() < data.size / 15
    for options in EXECUTORS:
        job = replace(job_of(data, err, dq, ("f8", "f8", "u2")), thresholds=None)
        moments = Threads(**options).sums(job).moments
        assert moments.counting is None
        np.testing.assert_array_equal(moments.histogram, expected)


def test_bins_are_those_of_their_edges() -> None:
    """Just below, at and above every edge."""
    edges = HistogramBins(0.0, 1.0).edges
    assert edges[96] == 96.0
    assert edges[-1] == 96.0 * 2**12
    inner = edges[1:-1]
    values = np.concatenate([[-5.0], inner * (1 - 1e-12), inner * (1 + 1e-12), [1e9]])
    # One of the rows is counted.
    samples = (Sample(ArraySource(np.tile(values, (16, 1)), None, None)),)
    shape = 16, len(values)
    job = StackJob(samples, shape, 0, None, 0, None, HistogramBins(0.0, 1.0))
    found = Threads(1).sums(job).moments.histogram
    assert found is not None
    np.testing.assert_array_equal(found[1], 2)
    assert found[0].sum() == 0


def test_a_checkpoint_keeps_counts(tmp_path: Path) -> None:
    from emdarks.fits.layout import scan_file
    from emdarks.fits.pixels import FileSource

    data, err, dq = planes(9, 5)
    from astropy.io import fits

    samples = []
    for i, frame in enumerate(zip(data, abs(err), dq, strict=True)):
        image, error, flags = (x.astype(t) for x, t in zip(frame, ("f4", "f4", "u2"), strict=True))
        path = tmp_path / f"f{i}.fits"
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(image), fits.ImageHDU(error, name="ERR")]
        fits.HDUList([*hdus, fits.ImageHDU(flags, name="DQ")]).writeto(path)
        samples.append(Sample(FileSource(scan_file(str(path))), SCALE))
    job = StackJob(tuple(samples), (ROWS, COLS), MASK, AREA, 0, AT, BINS, TELEMETRY)
    first, again = (Checkpoint(Threads(1), tmp_path / "kept").sums(job) for _ in range(2))
    assert first.bytes_read > 0 == again.bytes_read
    assert first.moments.equal(again.moments)
    # Sums with other thresholds, or none, are other sums.
    for other in (
        StackJob(job.samples, job.shape, MASK, AREA),
        StackJob(job.samples, job.shape, MASK, AREA, 0, Thresholds(41.0, 90.0, 150.0), BINS),
    ):
        assert Checkpoint(Threads(1), tmp_path / "kept").sums(other).bytes_read > 0


def test_thresholds_of_a_stack() -> None:
    at = Thresholds.of(500.0, 160.0, 1e5, level=10.0)
    assert (at.T, at.T2, at.T3) == (650.0, 10 + 800 + 3000, 10 + 800 + 3000)
    with pytest.raises(InputError, match=r"EM gain 500: samples are flagged from 3800 e- on.*3800"):
        Thresholds.of(500.0, 160.0, 3800.0)


def test_too_many_frames_are_refused() -> None:
    sample = Sample(ArraySource(np.zeros((1, 1)), None, None))
    StackJob((sample,) * 65535, (1, 1), 0, thresholds=AT)
    StackJob((sample,) * 65536, (1, 1), 0)
    with pytest.raises(InputError, match=r"65536 frames.*up to 65535"):
        StackJob((sample,) * 65536, (1, 1), 0, thresholds=AT)


def test_what_the_core_refuses() -> None:
    planes = CountingSums.empty(6).sums()
    short = CountingSums.empty(5).sums()
    with pytest.raises(ValueError, match=r"low must have shape \(6,\)"):
        _core.CountingSums(*planes[:4], short[4], planes[5], (1.0, 2.0, 3.0), (0, 0))
    with pytest.raises(ValueError, match="ascend"):
        _core.CountingSums(*planes, (2.0, 1.0, 3.0), (0, 0))
    counts = np.zeros((2, 192), np.int64)
    with pytest.raises(ValueError, match="counts must have shape"):
        _core.Histogram(counts[:1], 0.0, 1.0, 1, 0, False, (0, 0), (0, 0))
    with pytest.raises(ValueError, match="width"):
        _core.Histogram(counts, 0.0, 0.0, 1, 0, False, (0, 0), (0, 0))
    with pytest.raises(ValueError, match="every"):
        _core.Histogram(counts, 0.0, 1.0, 0, 0, False, (0, 0), (0, 0))


def slow_above(data: Any, err: Any, dq: Any, T: float, scale: float = SCALE) -> list[Any]:
    """Good samples above a threshold, and with their errors added and taken off."""
    good = np.isfinite(data) & (data < 2.0**40) & (err >= 0) & ((dq & MASK) == 0)
    x, s = np.where(good, data, np.nan) * scale, err * scale
    return [(moved > T).sum(axis=0).ravel() for moved in (x, x + s, x - s)]


@pytest.mark.parametrize("errors", [False, True])
@pytest.mark.parametrize(("kinds", "options"), list(itertools.product(KINDS, EXECUTORS)), ids=str)
def test_counts_above_a_threshold(kinds: Any, options: Any, errors: bool) -> None:
    data, err, dq = planes()
    err *= 3
    data, err = data.astype(kinds[0]).astype(float), err.astype(kinds[1]).astype(float)
    job = replace(
        job_of(data, err, dq, kinds), thresholds=CountThreshold(12.0, errors), histogram=None
    )
    counts = Threads(**options).sums(job).moments.counting
    assert isinstance(counts, CountsAbove)
    above, plus, minus = slow_above(data, err, dq, 12.0)
    assert (plus > above).any()
    assert (minus < above).any()
    np.testing.assert_array_equal(counts.above, above)
    np.testing.assert_array_equal(counts.plus, plus if errors else [])
    np.testing.assert_array_equal(counts.minus, minus if errors else [])


def test_counts_above_of_several_blocks() -> None:
    frames = 131
    data, err, dq = planes(6, frames)
    for errors in (True, False):
        at = CountThreshold(30.0, errors)
        job = replace(job_of(data, err, dq, KINDS[2]), thresholds=at, histogram=None)
        found = [Threads(**options).sums(job).moments for options in EXECUTORS]
        assert all(found[0].equal(other) for other in found[1:])
        assert found[0].counting is not None
        expected = slow_above(data, err.astype("f8"), dq, 30.0)
        np.testing.assert_array_equal(found[0].counting.sums()[0], expected[0])


def test_room_is_given_again_to_sums_of_the_same_kind_only() -> None:
    threads = Threads(1)
    job = job_of(*planes(), KINDS[0])
    kinds: list[Any] = [AT, CountThreshold(12.0), CountThreshold(12.0, True), None]
    for at in [*kinds, *reversed(kinds)]:
        moments = threads.sums(replace(job, thresholds=at, histogram=None)).moments
        sums = () if moments.counting is None else moments.counting.sums()
        sizes = {AT: [ROWS * COLS] * 6, CountThreshold(12.0): [ROWS * COLS, 0, 0], None: []}
        assert [each.size for each in sums] == sizes.get(at, [ROWS * COLS] * 3)
        threads.release(moments)


def test_a_cluster_merges_counts() -> None:
    from emdarks.accumulate.dask import _merge

    data, err, dq = planes(7, 20)
    jobs = [
        replace(
            job_of(data[part], err[part], dq[part], KINDS[2]),
            thresholds=CountThreshold(12.0, True),
            histogram=None,
        )
        for part in (slice(0, 9), slice(9, 20), slice(0, 20))
    ]
    one, other, both = (Threads(1).sums(job).moments for job in jobs)
    before = one.counting and one.counting.copy()
    made = _merge(one, other)
    assert made.counting is not None
    assert both.counting is not None
    assert before is not None
    assert one.counting is not None
    for name, found in made.counting.named().items():
        np.testing.assert_array_equal(found, both.counting.named()[name])
        np.testing.assert_array_equal(one.counting.named()[name], before.named()[name])


def test_counts_above_of_the_wrong_size() -> None:
    above, short = np.zeros(6, np.uint16), np.zeros(5, np.uint16)
    with pytest.raises(ValueError, match="plus"):
        _core.CountsAbove(above, short, above, 1.0)
    with pytest.raises(ValueError, match="given together"):
        _core.CountsAbove(above, above, None, 1.0)
