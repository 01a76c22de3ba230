"""Its objects handed to our functions, and what comes out of these back to its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beside import REGIONS, Ours
from corgidrp import data, l2a_to_l2b

import emdarks
from emdarks.data import Dark, DetectorNoiseMaps

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=["in memory", "without data"])
def frames(ours: Ours, request: pytest.FixtureRequest) -> data.Dataset:
    """Its dataset of our frames."""
    return data.Dataset(ours.frames, no_data=request.param == "without data")


def test_noise_maps(ours: Ours, camera: Path, frames: data.Dataset) -> None:
    """calibrate_darks_lsq of its Dataset and DetectorParams: the maps of the files"""
    params = data.DetectorParams({})
    made = emdarks.calibrate_darks_lsq(frames, params, camera=str(camera))
    from_files = DetectorNoiseMaps(ours.maps)
    np.testing.assert_array_equal(made.data.astype("f4"), from_files.data)
    np.testing.assert_array_equal(made.err.astype("f4"), from_files.err)
    np.testing.assert_array_equal(made.dq, from_files.dq)


def test_flags_of_64_bits(ours: Ours, camera: Path) -> None:
    """calibrate_darks_lsq of its frames made in memory, whose flags are of 64 bits"""
    frames = data.Dataset([data.Image(path) for path in ours.frames])
    for frame in frames:
        frame.dq = frame.dq.astype(int)
    made = emdarks.calibrate_darks_lsq(frames, data.DetectorParams({}), camera=str(camera))
    np.testing.assert_array_equal(made.data.astype("f4"), DetectorNoiseMaps(ours.maps).data)


def test_regions(ours: Ours, frames: data.Dataset) -> None:
    """calibrate_darks_lsq of its Dataset with its detector_areas as geometry"""
    params = data.DetectorParams({})
    made = emdarks.calibrate_darks_lsq(frames, params, True, REGIONS)
    np.testing.assert_array_equal(made.data.astype("f4"), DetectorNoiseMaps(ours.maps).data)


def test_average(ours: Ours, camera: Path) -> None:
    """build_trad_dark of its Dataset"""
    frames = data.Dataset(ours.of_dark)
    made = emdarks.build_trad_dark(
        frames, data.DetectorParams({}), full_frame=True, camera=str(camera)
    )
    np.testing.assert_array_equal(made.data.astype("f4"), Dark(ours.average).data)


def test_mean_combine(ours: Ours) -> None:
    """mean_combine of its Dataset: the result of its own"""
    from corgidrp.darks import mean_combine

    for its, our in zip(
        mean_combine(data.Dataset(ours.of_dark), []),
        emdarks.mean_combine(data.Dataset(ours.of_dark), []),
        strict=True,
    ):
        np.testing.assert_allclose(our, its, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("kind", ["file", "object"])
def test_synthesized(ours: Ours, camera: Path, kind: str) -> None:
    """build_synthesized_dark of its object of our noise maps: from the signed maps, as ever"""
    frames = data.Dataset(ours.of_dark)
    of_class = data.DetectorNoiseMaps if kind == "object" else DetectorNoiseMaps
    made = emdarks.build_synthesized_dark(
        frames, of_class(ours.maps), full_frame=True, camera=str(camera)
    )
    np.testing.assert_allclose(made.data, Dark(ours.dark).data, rtol=1e-6, atol=1e-6)
    assert (made.ext_hdr["NAXIS1"], made.ext_hdr["NAXIS2"]) == made.data.shape[::-1]


def test_synthesized_image(ours: Ours, camera: Path) -> None:
    """The same for the image region: NAXIS1 and NAXIS2 are those of its pixels"""
    frames = data.Dataset(ours.of_dark)
    maps = data.DetectorNoiseMaps(ours.maps)
    made = emdarks.build_synthesized_dark(frames, maps, camera=str(camera))
    assert (made.ext_hdr["NAXIS1"], made.ext_hdr["NAXIS2"]) == made.data.shape[::-1]
    np.testing.assert_allclose(made.data, Dark(ours.image_dark).data, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["maps", "dark"])
def test_subtract_and_back(ours: Ours, camera: Path, tmp_path: Path, kind: str) -> None:
    """subtract_dark of its Dataset with its object; the result's arrays back in its Dataset"""
    frames = data.Dataset(ours.of_dark)
    product = {"maps": data.DetectorNoiseMaps, "dark": data.Dark}[kind](getattr(ours, kind))
    less = emdarks.subtract_dark(frames, product, camera=str(camera))
    back = data.Dataset([image_of(frame) for frame in less])
    bad = data.BadPixelMap(ours.bad_pixels)
    cut = REGIONS["SCI"]["image"]
    (row, column), rows, columns = cut["r0c0"], cut["rows"], cut["cols"]
    section = slice(row, row + rows), slice(column, column + columns)
    image = data.Dataset([image_of(frame, section) for frame in less])
    done = l2a_to_l2b.correct_bad_pixels(image, bad)
    assert np.isnan(done[0].data[bad.data != 0]).all()
    assert back[0].ext_hdr["BUNIT"] == "photoelectron"
    back.save(str(tmp_path))
    assert len(list(tmp_path.glob("*.fits"))) == len(back)


def image_of(frame: Any, section: Any = ...) -> data.Image:
    """Its frame of ours."""
    headers = (header.copy() for header in (frame.pri_hdr, frame.ext_hdr))
    made = data.Image(
        frame.data[section].copy(),
        *headers,
        err=frame.err[(slice(None), *section) if section is not ... else ...].copy(),
        dq=frame.dq[section].copy(),
    )
    made.filename = frame.filename
    return made


def test_bad_pixels(ours: Ours, camera: Path) -> None:
    """build_bad_pixel_map of its object of our noise maps: the map of the file"""
    made = emdarks.build_bad_pixel_map(data.DetectorNoiseMaps(ours.maps), camera=str(camera))
    from_file = emdarks.data.BadPixelMap(ours.bad_pixels)
    np.testing.assert_array_equal(made.data, from_file.data)


def test_bad_pixels_in_memory(ours: Ours, camera: Path) -> None:
    """build_bad_pixel_map of its Dark made in memory, whose flags are of 64 bits"""
    dark = data.Dark(ours.image_dark)
    dark.dq = dark.dq.astype(int)
    made = emdarks.build_bad_pixel_map(dark, camera=str(camera))
    from_file = emdarks.build_bad_pixel_map(ours.image_dark, camera=str(camera))
    np.testing.assert_array_equal(made.data, from_file.data)


def test_our_object_in_its_step(ours: Ours) -> None:
    """Our Dark object as `dark`: refused by its step, which asks for its very class"""
    frames = l2a_to_l2b.em_gain_division(data.Dataset(ours.of_dark))
    with pytest.raises(Exception, match="No appropriate calibration"):
        l2a_to_l2b.dark_subtraction(frames, dark=Dark(ours.dark), detector_regions=REGIONS)


def test_our_dataset_in_its_function(ours: Ours, camera: Path) -> None:
    """build_trad_dark (its) of our Dataset: the dark of its own"""
    from corgidrp.darks import build_trad_dark

    params = data.DetectorParams({})
    made = build_trad_dark(emdarks.Dataset(ours.of_dark), params, REGIONS)
    own = build_trad_dark(data.Dataset(ours.of_dark), params, REGIONS)
    np.testing.assert_allclose(made.data, own.data, rtol=1e-6, atol=1e-6)
