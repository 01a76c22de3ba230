"""One code path: in memory or from files, any threads, any I/O batch: the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import REGIONS, Campaign, params
from emdarks.cameras import load_camera
from emdarks.darks import (
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    mean_combine,
)
from emdarks.execution import Threads

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
