"""Our products used by the steps of its pipeline."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beside import REGIONS, Ours, emdarks
from corgidrp import bad_pixel_calibration, data, l1_to_l2a, l2a_to_l2b
from corgidrp import darks as its_darks

from emdarks.data import Dark, Dataset, DetectorNoiseMaps
from emdarks.frames import prepare_frames
from emdarks.subtract import subtract_dark

#: Relative difference of float32.
SINGLE = 1e-6


@pytest.fixture
def detected(ours: Ours) -> data.Dataset:
    """Frames of one gain and time, divided by the gain by its own step."""
    return l2a_to_l2b.em_gain_division(data.Dataset(ours.of_dark))


def close(its: Any, our: Any, scale: float = 1.0) -> None:
    """Numbers, and where there are none, agree to single precision."""
    np.testing.assert_allclose(
        np.asarray(its, float), np.asarray(our, float), rtol=SINGLE, atol=SINGLE * scale
    )


@pytest.mark.parametrize("kind", ["dark", "average"])
def test_dark_subtraction(ours: Ours, detected: data.Dataset, camera: Path, kind: str) -> None:
    """dark_subtraction with our dark: the same as our subtraction"""
    path = getattr(ours, kind)
    done = l2a_to_l2b.dark_subtraction(detected, dark=data.Dark(path), detector_regions=REGIONS)
    for its, our in zip(
        done, subtract_dark(Dataset(ours.of_dark), path, camera=str(camera)), strict=True
    ):
        close(its.data[:-1], our.data[:-1])
        close(its.err[0, :-1], our.err[0, :-1])
        np.testing.assert_array_equal(its.dq, our.dq)
        assert its.ext_hdr["BUNIT"] == our.ext_hdr["BUNIT"] == "photoelectron"


def test_dark_subtraction_by_maps(ours: Ours, camera: Path, tmp_path: Path) -> None:
    """dark_subtraction with our noise maps, frames of several settings"""
    # Its own order is that of the settings.
    chosen = sorted(ours.frames[5::10], key=lambda path: its_setting(path))
    frames = l2a_to_l2b.em_gain_division(data.Dataset(chosen))
    maps = data.DetectorNoiseMaps(ours.maps)
    done = l2a_to_l2b.dark_subtraction(
        frames, noisemaps=maps, detector_regions=REGIONS, outputdir=str(tmp_path)
    )
    less = subtract_dark(Dataset(chosen), ours.maps, use_signed=False, camera=str(camera))
    for its, our in zip(done, less, strict=True):
        close(its.data[:-1], our.data[:-1], 100)


def its_setting(path: str) -> tuple[float, float]:
    header = data.fits.getheader(path, 1)
    return header["EXPTIME"], header["EMGAIN_C"]


def test_synthesized(ours: Ours, detected: data.Dataset, camera: Path) -> None:
    """build_synthesized_dark (its) of our noise maps: our dark of the published maps"""
    its = its_darks.build_synthesized_dark(
        detected, data.DetectorNoiseMaps(ours.maps), REGIONS, full_frame=True
    )
    emdarks(
        ours.folder,
        *("synthesize", "maps.fits", "-o", "clipped.fits", "--clipped", "--full-frame"),
        *("--gain", 1000, "--exptime", 60, "--overwrite", "--camera", camera),
    )
    our = Dark(ours.folder / "clipped.fits")
    close(its.data, our.data)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, camera: Path) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    emdarks(folder, "simulate", "raw", "--level", 1, "--camera", camera, "--frames", 1)
    return folder / "raw"


@pytest.mark.parametrize("full", [True, False], ids=["full", "image"])
def test_prescan_biassub(ours: Ours, raw: Path, camera: Path, full: bool) -> None:
    """prescan_biassub with our noise maps: bias and offset as ours"""
    paths = sorted(str(path) for path in raw.glob("cgi_*.fits"))
    maps = data.DetectorNoiseMaps(ours.maps)
    assert maps.ext_hdr["B_O"] != 0
    done = l1_to_l2a.prescan_biassub(data.Dataset(paths), maps, full, REGIONS)
    prepared = prepare_frames(
        Dataset(paths),
        offset=DetectorNoiseMaps(ours.maps),
        nonlinearity="none",
        cosmic_rays="off",
        camera=str(camera),
        image_only=not full,
        in_dn=True,
    )
    for its, our in zip(done, prepared, strict=True):
        close(its.hdu_list["BIAS"].data, our.hdu_list["BIAS"].data)
        close(its.data, our.data, 100)
        close(its.err[0], our.err[0])


def test_correct_bad_pixels(ours: Ours) -> None:
    """correct_bad_pixels with our map: its bad pixels, and no others, become NaN"""
    bad = data.BadPixelMap(ours.bad_pixels)
    shape = bad.data.shape
    assert 0 < np.count_nonzero(bad.data) < bad.data.size / 10
    prihdr, exthdr, errhdr, dqhdr, _ = mock_headers()
    frame = data.Image(np.ones(shape), pri_hdr=prihdr, ext_hdr=exthdr, err_hdr=errhdr, dq_hdr=dqhdr)
    done = l2a_to_l2b.correct_bad_pixels(data.Dataset([frame]), bad)
    np.testing.assert_array_equal(np.isnan(done[0].data), bad.data != 0)


def mock_headers() -> Any:
    from corgidrp.mocks import create_default_L2a_headers

    return create_default_L2a_headers()


def flat(dark: data.Dark) -> data.FlatField:
    """A flat of ones, but for a dead pixel."""
    prihdr, exthdr, *_ = mock_headers()
    values = np.ones(dark.data.shape)
    values[20, 30] = 0.1
    frame = data.Image(values, pri_hdr=prihdr, ext_hdr=exthdr)
    frame.filename = prihdr["FILENAME"]
    return data.FlatField(values, prihdr.copy(), exthdr.copy(), data.Dataset([frame]))


def test_create_bad_pixel_map(ours: Ours) -> None:
    """create_bad_pixel_map of our dark and a flat"""
    dark = data.Dark(ours.image_dark)
    made = bad_pixel_calibration.create_bad_pixel_map(None, dark, flat(dark))
    hot = dark.data > dark.data.mean() + 5 * dark.data.std()
    np.testing.assert_array_equal(made.data == 8, hot)
    assert made.data[20, 30] == 4


def test_its_noise_maps_of_our_frames(ours: Ours) -> None:
    """calibrate_darks_lsq (its) of our simulated frames: our maps of the same estimator"""
    from emdarks import calibrate_darks_lsq

    params = data.DetectorParams({})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        its = its_darks.calibrate_darks_lsq(
            data.Dataset(ours.frames), params, False, REGIONS, CR_threshold_check=False
        )
        our = calibrate_darks_lsq(
            data.Dataset(ours.frames), params, False, REGIONS, estimator="reference"
        )
    good = (its.dq == 0) & (our.dq == 0)
    assert good.mean() > 0.98
    np.testing.assert_allclose(our.data[good], its.data[good], rtol=1e-7, atol=1e-7)


def test_its_average_of_our_frames(ours: Ours, detected: data.Dataset) -> None:
    """build_trad_dark (its) of our simulated frames: our dark"""
    made = its_darks.build_trad_dark(detected, data.DetectorParams({}), REGIONS, full_frame=True)
    our = Dark(ours.average)
    close(made.data[:-1], our.data[:-1])
    np.testing.assert_array_equal(made.dq[:-1], our.dq[:-1])
