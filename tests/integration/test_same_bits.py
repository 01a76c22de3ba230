"""One code path: in memory or from files, any threads, any I/O batch: the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from campaigns import REGIONS, Campaign, params
from emdarks import characterize
from emdarks.accumulate import Sample, StackJob, Threads
from emdarks.cameras import load_camera
from emdarks.darks import (
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    mean_combine,
)
from emdarks.errors import EmdarksWarning
from emdarks.fits import pixels
from emdarks.fits.layout import scan_file
from emdarks.fits.pixels import ArraySource, FileSource
from emdarks.moments import Moments
from loops import for_each

# Times of making, and what only a file has.
VOLATILE = {"FILETIME", "DRPCTIME", "CHECKSUM", "DATASUM"}


def cards(header: Any) -> list[str]:
    return [str(card) for card in header.cards if card.keyword not in VOLATILE]


def assert_same_product(one: Any, other: Any) -> None:
    for plane in ("data", "err", "dq"):
        a, b = getattr(one, plane), getattr(other, plane)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes(), plane
    for header in ("pri_hdr", "ext_hdr", "err_hdr", "dq_hdr"):
        assert cards(getattr(one, header)) == cards(getattr(other, header)), header
    assert one.hdu_names == other.hdu_names
    for a, b in zip(one.hdu_list, other.hdu_list, strict=True):
        if a.name != "INPUTS":  # names, sizes and times of files, which plain objects lack
            assert np.asarray(a.data).tobytes() == np.asarray(b.data).tobytes(), a.name
    assert one.filename == other.filename


def noise_maps(dataset: Any, executor: Any = None, weighting: bool = True) -> Any:
    return calibrate_darks_lsq(
        dataset, params(), weighting, REGIONS, estimator="reference", executor=executor
    )


def trad_dark(dataset: Any, executor: Any = None, **options: Any) -> Any:
    return build_trad_dark(dataset, params(), REGIONS, True, executor=executor, **options)


EXECUTORS = {
    "one thread": lambda: Threads(1),
    "two threads": lambda: Threads(2),
    "three threads, one file, one row": lambda: Threads(3, run_pixels=1, batch_files=1),
    "two files, four rows": lambda: Threads(2, run_pixels=160, batch_files=2),
}


@pytest.fixture(params=list(EXECUTORS))
def executor(request: pytest.FixtureRequest) -> Threads:
    return EXECUTORS[request.param]()


SOURCES = ["files", "memory", "foreign with data", "foreign without data"]


@pytest.fixture(params=SOURCES)
def as_given(request: pytest.FixtureRequest) -> Any:
    def give(campaign: Campaign) -> Any:
        if request.param.startswith("foreign"):
            return campaign.foreign(with_data=request.param.endswith("with data"))
        return getattr(campaign, request.param)()

    return give


@pytest.mark.parametrize("weighting", [True, False])
def test_noise_maps(quirky: Campaign, as_given: Any, executor: Threads, weighting: bool) -> None:
    expected = noise_maps(quirky.files(), Threads(1), weighting)
    assert_same_product(noise_maps(as_given(quirky), executor, weighting), expected)


@pytest.mark.parametrize("estimator", ["sample", "reference"])
def test_traditional_dark(
    quirky: Campaign, as_given: Any, executor: Threads, estimator: str
) -> None:
    stack = quirky.stack(300.0, 50.0)
    expected = trad_dark(stack.files(), Threads(1), estimator=estimator)
    assert_same_product(trad_dark(as_given(stack), executor, estimator=estimator), expected)


@pytest.mark.parametrize("err", [False, True])
def test_mean_combine(quirky: Campaign, as_given: Any, executor: Threads, err: bool) -> None:
    stack = quirky.stack(2000.0, 80.0)
    expected = mean_combine(stack.files(), None, err, executor=Threads(1))
    result = mean_combine(as_given(stack), None, err, executor=executor)
    for one, other in zip(result, expected, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_synthesised_dark(quirky: Campaign, as_given: Any) -> None:
    maps = noise_maps(quirky.files())
    stack = quirky.stack(300.0, 50.0)
    expected = build_synthesized_dark(stack.files(), maps, REGIONS)
    assert_same_product(build_synthesized_dark(as_given(stack), maps, REGIONS), expected)


def test_more_than_one_block(tmp_path: Path, rng: np.random.Generator) -> None:
    """300 frames make blocks of 128, 128 and 44, whoever computes."""
    data = rng.normal(0, 100, (300, 3, 5)).astype(np.float32)
    bad = (rng.random(data.shape) < 0.1).astype(np.uint8)
    results = [
        mean_combine(list(data), list(bad), executor=Threads(threads, batch_files=files))
        for threads, files in ((1, 7), (2, 128), (2, 1000))
    ]
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    masked = np.ma.masked_array(data.astype(float), bad > 0)
    np.testing.assert_allclose(results[0][0], masked.mean(axis=0), rtol=1e-12, atol=1e-12)


def test_the_order_of_frames_changes_maps_by_less_than_1e_10_of_an_error(
    quirky: Campaign, rng: np.random.Generator
) -> None:
    one = noise_maps(quirky.files())
    shuffled = Campaign([quirky.paths[i] for i in rng.permutation(len(quirky.paths))])
    other = noise_maps(shuffled.files())
    np.testing.assert_array_equal(np.isnan(one.err), np.isnan(other.err))
    known = ~np.isnan(one.err[0])
    difference = np.abs(one.data - other.data)[known]
    assert (difference <= 1e-10 * one.err[0][known] + 1e-300).all()
    np.testing.assert_array_equal(one.dq, other.dq)


def test_nothing_that_was_handed_over_is_changed(quirky: Campaign) -> None:
    dataset = quirky.memory()
    before = [(f.data.copy(), f.err.copy(), f.dq.copy(), f.ext_hdr.tostring()) for f in dataset]
    maps = noise_maps(dataset)
    held = maps.data.copy(), maps.ext_hdr.tostring()
    build_synthesized_dark(quirky.stack(300.0, 50.0).memory(), maps, REGIONS)
    for frame, (data, err, dq, header) in zip(dataset, before, strict=True):
        np.testing.assert_array_equal(frame.data, data)
        np.testing.assert_array_equal(frame.err, err)
        np.testing.assert_array_equal(frame.dq, dq)
        assert frame.ext_hdr.tostring() == header
    np.testing.assert_array_equal(maps.data, held[0])
    assert maps.ext_hdr.tostring() == held[1]
    rules = load_camera("excam").headers
    assert "EXPTIME" in rules.invalid  # the reference loses it after its first dark


SHAPE = (5, 23)
TYPES = ["f4", ">f4", "f8", ">f8", "u1", "i2", ">i2", "u2", ">u2", "i4", ">i4", "u4", "i8", "u8"]


def whole_numbers(rng: np.random.Generator, frames: int) -> tuple[Any, Any]:
    """Frames that any type can hold, and flags."""
    data = rng.integers(0, 255, (frames, *SHAPE)).astype(np.float64)
    dq = np.where(rng.random(data.shape) < 0.2, rng.integers(1, 128, data.shape), 0)
    dq[:, 0, 0] = 4
    dq[1:, 0, 1] = 8
    return data, dq.astype(np.uint16)


def moments(sources: Any, executor: Threads | None = None, scale: float = 1.7) -> Moments:
    job = StackJob(tuple(Sample(source, scale) for source in sources), SHAPE, (1 << 64) - 1)
    return (executor or Threads(1)).sums(job).moments


@for_each("kind", TYPES)
def test_types_and_byte_orders_of_images(rng: np.random.Generator, kind: str) -> None:
    data, dq = whole_numbers(rng, 7)
    expected = moments(ArraySource(*planes) for planes in zip(data, data % 3, dq, strict=True))
    typed = (
        ArraySource(x.astype(kind), (x % 3).astype(kind), q) for x, q in zip(data, dq, strict=True)
    )
    assert moments(typed).equal(expected)


@for_each("kind", ["u1", "u2", ">u2", "i2", ">u4", "u4", "u8", ">u8"])
def test_types_and_byte_orders_of_flags(rng: np.random.Generator, kind: str) -> None:
    data, dq = whole_numbers(rng, 7)
    expected = moments(ArraySource(x, None, q) for x, q in zip(data, dq, strict=True))
    found = moments(ArraySource(x, None, q.astype(kind)) for x, q in zip(data, dq, strict=True))
    assert (found.flags == expected.flags).all()
    found.flags = expected.flags
    assert found.equal(expected)


@for_each("kind", ["f4", "f8", "u1", "i2", "u2", "i4", "u4", "i8"])
def test_files_of_every_type(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    data, dq = whole_numbers(rng, 6)
    sources = []
    for i, (x, q) in enumerate(zip(data, dq, strict=True)):
        path = tmp_path / f"frame{i}.fits"
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(x.astype(kind)), fits.ImageHDU(q, name="DQ")]
        fits.HDUList(hdus).writeto(path)
        sources.append(FileSource(scan_file(str(path))))
    expected = moments(ArraySource(x, None, q) for x, q in zip(data, dq, strict=True))
    assert moments(sources).equal(expected)
    assert moments(sources, Threads(2, run_pixels=30, batch_files=4)).equal(expected)


def test_a_stack_of_many_types(rng: np.random.Generator) -> None:
    """Each change of type starts another batch; the sums stay open in between."""
    data, dq = whole_numbers(rng, len(TYPES))
    expected = moments(ArraySource(x, None, q) for x, q in zip(data, dq, strict=True))
    mixed = [
        ArraySource(x.astype(kind), None, q) for kind, x, q in zip(TYPES, data, dq, strict=True)
    ]
    for executor in (Threads(1), Threads(3, run_pixels=1, batch_files=3)):
        assert moments(mixed, executor).equal(expected)


def test_errors_and_flags_that_only_some_frames_have(rng: np.random.Generator) -> None:
    data, dq = whole_numbers(rng, 260)
    zero, none = np.zeros(SHAPE), np.zeros(SHAPE, np.uint16)
    late = [
        ArraySource(x, x % 3 if i > 200 else None, q if i % 2 else None)
        for i, (x, q) in enumerate(zip(data, dq, strict=True))
    ]
    full = [
        ArraySource(x, x % 3 if i > 200 else zero, q if i % 2 else none)
        for i, (x, q) in enumerate(zip(data, dq, strict=True))
    ]
    expected = moments(full)
    assert expected.err2 is not None
    assert expected.err2.any()
    for executor in (Threads(1), Threads(2, batch_files=3)):
        assert moments(late, executor).equal(expected)


def test_an_executor_used_again_has_forgotten(rng: np.random.Generator) -> None:
    data, dq = whole_numbers(rng, 9)
    with_errors = [ArraySource(x, x % 3, q) for x, q in zip(data, dq, strict=True)]
    without = [ArraySource(x, np.zeros(SHAPE), q) for x, q in zip(data, dq, strict=True)]
    executor = Threads(2, batch_files=4)
    executor.release(moments(with_errors, executor))
    again = moments(without, executor)
    assert again.equal(moments(without))
    executor.release(again)
    assert moments(with_errors, executor).equal(moments(with_errors))


def test_numbers_that_no_camera_counts_count_as_not_finite(rng: np.random.Generator) -> None:
    data, dq = whole_numbers(rng, 5)
    data[2, 1, 1], data[3, 2, 2] = 1e200, -1.2e12
    found = moments(ArraySource(x, None, q * 0) for x, q in zip(data, dq, strict=True))
    flags, n = found.flags.reshape(SHAPE), found.n.reshape(SHAPE)
    assert (flags[1, 1], flags[2, 2], flags.sum()) == (1, 1, 2)
    assert (n[1, 1], n[2, 2], n.sum()) == (4, 4, 5 * data[0].size - 2)
    assert np.isfinite(found.m2).all()
    data = np.full((4, *SHAPE), 1e12)
    large = moments([ArraySource(x) for x in data], scale=1.0)
    assert (large.mean == 1e12).all()
    assert (large.m2 == 0).all()


def test_memory_given_again_has_forgotten_errors(rng: np.random.Generator) -> None:
    data, dq = whole_numbers(rng, 6)
    with_errors = [ArraySource(x, x % 3, q) for x, q in zip(data, dq, strict=True)]
    without = [ArraySource(x, np.zeros(SHAPE), q) for x, q in zip(data, dq, strict=True)]
    executor = Threads(2)
    room = moments(with_errors, executor)
    assert room.has_errors
    job = StackJob(tuple(Sample(frame, 1.7) for frame in without), SHAPE, (1 << 64) - 1)
    again = executor.sums(job, room).moments
    assert again.equal(moments(without))
    assert not again.has_errors


def test_one_executor_serves_several_callers(rng: np.random.Generator) -> None:
    data, dq = whole_numbers(rng, 40)
    levels = [100.0 * k for k in range(6)]
    expected = {
        level: moments(ArraySource(x + level, None, q) for x, q in zip(data, dq, strict=True))
        for level in levels
    }
    executor = Threads(2, run_pixels=30, batch_files=7)

    def one(level: float) -> bool:
        sources = [ArraySource(x + level, None, q) for x, q in zip(data, dq, strict=True)]
        return all(moments(sources, executor).equal(expected[level]) for _ in range(5))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, levels))


def test_a_packed_cube_is_unpacked_once(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = whole_numbers(rng, 9)
    plain, packed = tmp_path / "cube.fits", tmp_path / "cube.fits.gz"
    fits.PrimaryHDU(data.astype(">i2")).writeto(plain)
    fits.PrimaryHDU(data.astype(">i2")).writeto(packed)
    opened: list[str] = []
    original = pixels.open_whole

    def counted(layout: Any) -> Any:
        opened.append(layout.path)
        return original(layout)

    monkeypatch.setattr(pixels, "open_whole", counted)
    sums = [
        moments((FileSource(scan_file(str(path)), i) for i in range(9)), Threads(2))
        for path in (plain, packed)
    ]
    assert sums[0].equal(sums[1])
    assert opened == [str(packed)]


SHEET = """
import warnings
warnings.simplefilter("ignore")
from emdarks import Dataset, characterize
from emdarks.data import sample
print(characterize(Dataset(sample())).json())
"""


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.0.0",
    reason="older OpenBLAS solves small systems of equations with all its threads, in other bits",
)
def test_threads_of_the_linear_algebra_change_no_bit_of_a_data_sheet() -> None:
    """OpenBLAS reads the number of its threads once, when a process begins."""
    found = [
        subprocess.run(
            [sys.executable, "-c", SHEET],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    ]
    assert '"em_gain"' in found[0]
    assert found[0] == found[1]


def sheet_of(dataset: Any, executor: Any = None) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return characterize(dataset, params(), REGIONS, executor=executor).json()


def test_data_sheet(quirky: Campaign, as_given: Any, executor: Threads) -> None:
    assert sheet_of(as_given(quirky), executor) == sheet_of(quirky.files(), Threads(1))
