"""Tests that search: any header, frame or campaign ends well, or in one clear line."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, Phase, given, settings
from validation.fuzz import corpus, guided_run, random_run
from validation.hostile_campaign import Place, write_good
from validation.hostile_run import invoke

from emdarks.accumulate import Threads
from emdarks.bad_pixels import build_bad_pixel_map
from emdarks.cameras import BUILTIN, load_camera, read_record
from emdarks.darks import build_trad_dark, calibrate_darks_lsq, mean_combine
from emdarks.data import Dataset
from emdarks.errors import EmdarksError
from emdarks.fits import Cards, unpacked
from strategies import Frames, campaigns, frames, headers, planes

QUICK = settings(
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    # A campaign takes seconds to shrink.
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_good(tmp_path_factory.mktemp("good"))


@given(headers())
@settings(max_examples=200, derandomize=True)
def test_any_header_becomes_a_record_or_a_clear_error(header: fits.Header) -> None:
    cards = Cards.from_header(header)
    for name in BUILTIN:
        message = ""
        try:
            record = read_record(load_camera(name), "f.fits", (23, 37), (cards,))
        except EmdarksError as error:
            message = str(error)
        if message:
            assert "f.fits: " in message
            assert len(message.splitlines()) == 1
            continue
        assert np.isfinite([record.exposure_time, record.commanded_gain, record.k_gain]).all()
        assert np.isfinite(record.em_gain)


@given(frames())
@QUICK
def test_any_frame_is_read_as_it_was_written(tmp_path: Path, hdus: fits.HDUList) -> None:
    path = tmp_path / "f.fits"
    hdus.writeto(path, overwrite=True)
    (frame,) = Dataset([path]).frames
    assert np.array_equal(frame.data, hdus[1].data, equal_nan=True)
    names = [hdu.name for hdu in hdus]
    if "DQ" in names:
        assert np.array_equal(frame.dq, hdus["DQ"].data)
    if "ERR" in names:
        assert np.array_equal(frame.err, hdus["ERR"].data, equal_nan=True)


@given(planes(), planes())
@QUICK
def test_bad_samples_are_masked_and_never_spread(one: Any, other: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        data = [np.where(np.abs(plane[0]) < 2.0**40, plane[0], np.nan) for plane in (one, other)]
        images = [plane[0] for plane in (one, other)]
        bad = [(plane[2] != 0).astype(int) for plane in (one, other)]
        mean, none, count, _ = mean_combine(images, bad)
    masked = np.ma.masked_array(data, np.array(bad, bool) | ~np.isfinite(data))
    assert np.array_equal(count, masked.count(axis=0))
    assert np.array_equal(none == 1, masked.count(axis=0) == 0)
    np.testing.assert_allclose(mean, masked.mean(axis=0).filled(0.0), rtol=1e-6, atol=1e-6)


@given(campaigns)
@QUICK
def test_any_campaign_gives_a_product_or_a_clear_error(good: list[Path], changes: Frames) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Place.of(good, Path(name) / "run")
        changes.write(place.folder / "frames")
        camera = ["--camera", str(place.folder / "camera.toml")]
        output = ["-o", str(place.folder / "maps.fits"), "--skip-bad-frames"]
        for command in (["inspect"], ["noisemaps", *output]):
            outcome = invoke([*command, *place.arguments, *camera], place.folder)
            assert outcome.escaped == ""
            assert outcome.exit_code in (0, 1)
        if outcome.exit_code == 1:
            assert outcome.message.startswith("error: ")
            assert outcome.written == ()
            return
        assert outcome.product is not None
        with fits.open(outcome.product) as hdus:
            used = set(unpacked(hdus["INPUTS"]).data["FILENAME"])
            skipped = unpacked(hdus["SKIPPED"]).data["FILENAME"] if "SKIPPED" in hdus else ()
            left = set(skipped)
            fitted = hdus["NSTACKS"].data >= 4
            assert np.isfinite(hdus["SIGNED"].data[:, fitted]).all()
        assert used | left == {path.name for path in good}
        assert not used & left


def test_mutated_files_end_in_clear_errors() -> None:
    target = random_run(executions=600, seed=20260101)
    assert {kind: text for kind, (text, _) in target.crashes.items()} == {}
    assert target.executions == 600
    # Not everything is refused, nor accepted.
    assert 100 < target.accepted < 550


def test_the_corpus_holds_frames_that_can_be_read() -> None:
    assert len(corpus()) == 16
    target = random_run(executions=0)
    assert target.accepted >= 14
    assert target.crashes == {}


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_guided_fuzzing_for_a_few_seconds() -> None:
    found = guided_run(5.0)
    assert found["ended"] == 0, found["said"]
    assert found["executions"] >= len(corpus())
    assert found["crashes"] == {}


def test_many_threads_get_the_same_bits(good: list[Path]) -> None:
    camera = str(good[0].parent / "camera.toml")
    dataset = Dataset(good)
    stack = dataset[18:24]

    def one(number: int) -> list[bytes]:
        executor = Threads(1 + number % 3)
        maps = calibrate_darks_lsq(dataset, None, camera=camera, executor=executor)
        dark = build_trad_dark(stack, None, camera=camera, full_frame=True, executor=executor)
        mean, _, _, _ = mean_combine(stack, None, executor=executor)
        synthesised = maps.synthesize(gain=100.0, exptime=30.0)
        bad = build_bad_pixel_map(maps, camera=camera)
        arrays = (maps.data, maps.err, maps.dq, dark.data, dark.err, mean, synthesised.data)
        return [np.asarray(array).tobytes() for array in (*arrays, bad.data)]

    alone = one(0)
    with ThreadPoolExecutor(8) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for together in pool.map(one, range(24)):
            assert together == alone
