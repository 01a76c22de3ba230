"""Frames of a cube count as frames, and share the memory of what was unpacked."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import emdarks.fits.pixels as source_module
from emdarks import Dataset, build_bad_pixel_map, build_trad_dark, calibrate_darks_lsq
from emdarks.accumulate import Sample, StackJob, Threads
from emdarks.data import sample
from emdarks.fits import scan_file
from emdarks.fits.pixels import FileSource
from emdarks.frames.bias import LevelledSource, Levels
from emdarks.products.dark import step_of_dark
from emdarks.products.provenance import frames_combined

SHAPE = (20, 30)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cube") / "cube.fits.gz"
    fits.PrimaryHDU(np.random.default_rng(0).normal(500, 5, (12, *SHAPE))).writeto(path)
    return path


def frames_of(path: Path, bias: float) -> list[Any]:
    layout = scan_file(path)
    plain = [FileSource(layout, i) for i in range(layout.n_frames)]
    return [LevelledSource(each, Levels(bias=bias)) for each in plain] if bias else plain


def mean_of(sources: list[Any], threads: int) -> float:
    job = StackJob(tuple(Sample(each) for each in sources), SHAPE, (1 << 64) - 1)
    return float(Threads(threads).sums(job).moments.mean.mean())


@pytest.mark.parametrize("bias", [0.0, 400.0])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_packed_cube_is_unpacked_once(
    packed: Path, bias: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    unpack = source_module.open_whole
    monkeypatch.setattr(
        source_module, "open_whole", lambda layout: opened.append(1) or unpack(layout)
    )
    # So few at a time that frames are closed before others are opened.
    monkeypatch.setattr("emdarks.accumulate.threads.BATCH_BYTES", 3 * 24 * SHAPE[0] * SHAPE[1])
    assert mean_of(frames_of(packed, bias), threads) == pytest.approx(500 - bias, abs=0.5)
    assert len(opened) == 1
    assert not source_module._latest  # and let go of


def test_runs_side_by_side_do_not_write_to_the_cube_that_they_share(packed: Path) -> None:
    sources = frames_of(packed, 400.0)
    alone = mean_of(sources, 1)
    assert alone == pytest.approx(100, abs=0.5)
    for _ in range(10):
        means: list[float] = []
        threads = [
            threading.Thread(target=lambda out: out.append(mean_of(sources, 2)), args=(means,))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert means == [alone] * 3


def test_a_frame_opened_twice_has_its_bias_subtracted_once(packed: Path) -> None:
    plain, levelled = frames_of(packed, 0.0)[1], frames_of(packed, 400.0)[0]
    held = plain.open()
    scratch = source_module.Scratch(600)
    means = [float(levelled.open().pixels(0, 600, scratch)[0].mean()) for _ in range(2)]
    held.close()
    assert means[0] == means[1] == pytest.approx(100, abs=1)


@pytest.fixture(scope="module")
def stack() -> Dataset:
    groups, _ = Dataset(sample()).split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])
    return groups[3]


def as_cubes(stack: Dataset, folder: Path, sizes: tuple[int, ...]) -> list[Path]:
    paths, frames = [], list(stack)
    for number, size in enumerate(sizes):
        some, frames = frames[:size], frames[size:]
        planes = (
            fits.ImageHDU(np.stack([f.data for f in some]), some[0].ext_hdr.copy()),
            fits.ImageHDU(np.stack([f.err[0] for f in some]), name="ERR"),
            fits.ImageHDU(np.stack([f.dq for f in some]).astype("u2"), name="DQ"),
        )
        hdus = fits.HDUList([fits.PrimaryHDU(header=some[0].pri_hdr.copy()), *planes])
        paths.append(folder / f"cube{number}.fits")
        hdus.writeto(paths[-1])
    return paths


@pytest.mark.parametrize(("sizes", "words"), [((4,), "4 frames in 1 file"), ((3, 1), "in 2 files")])
def test_a_dark_of_cubes_is_that_of_single_files(
    stack: Dataset, tmp_path: Path, sizes: tuple[int, ...], words: str
) -> None:
    single = build_trad_dark(stack, None)
    cubes = build_trad_dark(Dataset(as_cubes(stack, tmp_path, sizes)), None)
    assert np.array_equal(single.data, cubes.data, equal_nan=True)
    assert (single.ext_hdr["DRPNFILE"], single.ext_hdr["NFRAMES"]) == (4, 4)
    assert (cubes.ext_hdr["DRPNFILE"], cubes.ext_hdr["NFRAMES"]) == (len(sizes), 4)
    assert words in "".join(str(line) for line in cubes.ext_hdr["HISTORY"])
    assert step_of_dark(single.ext_hdr) == step_of_dark(cubes.ext_hdr) == 0.25
    hot = []
    for dark in (single, cubes):
        dark.data[10, 10], dark.err[0, 10, 10], dark.dq[10, 10] = 5.0, 0.1, 0
        bad = build_bad_pixel_map(dark, camera="excam-sample")
        assert bad.data[10, 10] == 8
        hot.append(bad.ext_hdr["NHOT"])
    assert hot[0] == hot[1] == 7


def test_maps_say_how_many_frames_they_were_made_of() -> None:
    maps = calibrate_darks_lsq(Dataset(sample()), None)
    assert (maps.ext_hdr["DRPNFILE"], maps.ext_hdr["NFRAMES"]) == (24, 24)


@pytest.mark.parametrize(
    ("cards", "frames"),
    [
        ({"NFRAMES": 20, "DRPNFILE": 2}, 20),
        ({"DRPNFILE": 7}, 7),
        ({"NFRAMES": -999}, None),
        ({}, None),
    ],
)
def test_products_without_a_number_of_frames(cards: dict[str, int], frames: int | None) -> None:
    found = frames_combined(fits.Header(cards))
    assert np.isnan(found) if frames is None else found == frames
