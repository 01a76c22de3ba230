"""Which image of a file is the frame, and what becomes of the others."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty

from emdarks import Dataset, inspect_campaign
from emdarks.data import Image
from emdarks.errors import InputError
from emdarks.fitsio import scan_file
from emdarks.frames import select_frames

SHAPE = (3, 5)
FRAME = np.arange(15.0, dtype=np.float32).reshape(SHAPE) + 1200
MASK = np.zeros(SHAPE, np.uint8)
MASK[1, 2] = 1


def written(path: Path, *hdus: Any) -> Path:
    fits.HDUList(list(hdus)).writeto(path)
    return path


def image(data: Any, name: str = "", **cards: Any) -> fits.ImageHDU:
    hdu = fits.ImageHDU(data, name=name or None)
    hdu.header.update(cards)
    return hdu


@pytest.mark.parametrize("name", ["PREVIEW", "BIAS", ""])
def test_the_primary_is_the_frame_where_it_has_an_image(tmp_path: Path, name: str) -> None:
    other = image(np.full((2, 7), 40.0), name)
    path = written(tmp_path / "f.fits", fits.PrimaryHDU(FRAME), other)
    assert np.array_equal(Image(path).data, FRAME)
    assert scan_file(path).unread == ("HDU 1" + (f" ({name})" if name else ""),)


def test_an_image_named_sci_is_the_frame(tmp_path: Path) -> None:
    hdus = fits.PrimaryHDU(), image(np.ones((4, 6)), "PREVIEW"), image(FRAME, "SCI")
    layout = scan_file(written(tmp_path / "f.fits", *hdus))
    assert (layout.image.hdu, layout.unread) == (2, ("HDU 1 (PREVIEW)",))


def test_an_empty_primary_leaves_it_to_the_first_extension(tmp_path: Path) -> None:
    path = written(
        tmp_path / "f.fits", fits.PrimaryHDU(), image(FRAME), image(MASK.astype("u2"), "DQ")
    )
    frame = Image(path)
    assert np.array_equal(frame.data, FRAME)
    assert scan_file(path).unread == ()
    assert frame.dq[1, 2] == 1


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_files_of_ccddata_are_understood(tmp_path: Path, masked: bool, packed: bool) -> None:
    sigma = np.linspace(9.5, 11.5, 15).reshape(SHAPE)
    mask = MASK.astype(bool) if masked else None
    ccd = CCDData(FRAME, unit=units.adu, mask=mask, uncertainty=StdDevUncertainty(sigma))
    path = tmp_path / "f.fits"
    ccd.write(path)
    if packed:
        path = path.with_suffix(".fits.gz")
        path.write_bytes(gzip.compress((tmp_path / "f.fits").read_bytes()))
    frame = Image(path)
    assert np.array_equal(frame.data, FRAME)
    assert np.array_equal(frame.err, sigma[np.newaxis])
    assert np.array_equal(frame.dq, MASK if masked else np.zeros(SHAPE))
    assert scan_file(path).unread == ()


def test_variances_are_not_taken_for_errors(tmp_path: Path) -> None:
    ccd = CCDData(FRAME, unit=units.adu, uncertainty=VarianceUncertainty(FRAME))
    ccd.write(tmp_path / "f.fits")
    with pytest.raises(InputError, match=r"f\.fits: UNCERT has the type VAR"):
        Image(tmp_path / "f.fits")


def extensions(path: Path, compressed: bool = False) -> Path:
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    frames = [kind((FRAME + i).astype(np.int32), name=f"F{i}") for i in range(4)]
    for i, hdu in enumerate(frames):
        hdu.header["EXPTIME"] = 2.0 + i
    primary = fits.PrimaryHDU()
    primary.header["EMGAIN"] = 7
    return written(path, primary, *frames, image(MASK, "MASK"))


@pytest.mark.parametrize("compressed", [False, True])
def test_each_extension_can_be_a_frame(tmp_path: Path, compressed: bool) -> None:
    dataset = Dataset([extensions(tmp_path / "f.fits", compressed)], extensions=True)
    assert [float(frame.data[0, 0]) for frame in dataset] == [1200, 1201, 1202, 1203]
    assert [frame.ext_hdr["EXPTIME"] for frame in dataset] == [2, 3, 4, 5]
    assert {frame.pri_hdr["EMGAIN"] for frame in dataset} == {7}
    assert [frame.extension for frame in dataset] == [1, 2, 3, 4]
    with pytest.raises(InputError, match="holds other frames beside this one"):
        dataset[0].save()


def test_frames_of_one_image_stay_so_with_extensions(tmp_path: Path) -> None:
    path = written(tmp_path / "f.fits", fits.PrimaryHDU(), image(FRAME), image(MASK, "DQ"))
    (frame,) = Dataset([path], extensions=True)
    assert (frame.extension, frame.dq[1, 2]) == (None, 1)


LAB = """
like = "sparc4"
name = "lab"
[frames]
layout = "extensions"
"""


def test_the_camera_file_says_that_extensions_are_frames(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB)
    path = extensions(tmp_path / "f.fits")
    assert len(select_frames([str(path)], str(tmp_path / "lab.toml"))) == 4
    assert len(select_frames([str(path)], "sparc4")) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"II*\0" + bytes(99), "is a TIFF image, no FITS"),
        (b"PK\x03\x04" + bytes(99), "is a zip archive, no FITS"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, no FITS"),
        (b"\x89PNG\r\n" + bytes(99), "is a PNG image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", r"git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (gzip.compress(b"II*\0" + bytes(99)), "is a TIFF image, no FITS"),
        (b"", "is empty, no FITS"),
        (b"rubbish" * 9, "cannot be read as FITS"),
    ],
)
def test_files_that_are_no_fits_say_what_they_are(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "f.fits"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path}: .*{words}"):
        scan_file(path)


def test_images_that_are_not_read_are_said(tmp_path: Path) -> None:
    paths = []
    for i in range(2):
        hdus = fits.PrimaryHDU(FRAME + i), image(MASK, "PREVIEW"), image(MASK, "BIAS")
        hdus[0].header.update({"EXPTIME": 2.0, "EMGAIN_C": 10.0, "KGAINPAR": 8.7, "BUNIT": "DN"})
        paths.append(written(tmp_path / f"f{i}.fits", *hdus))
    summary = inspect_campaign(Dataset(paths), camera="excam")
    (found,) = (finding for finding in summary.findings if finding.topic == "file")
    assert found.severity == "warning"
    assert found.text.startswith("2 files hold further images that are not read")
    assert found.text.endswith("f0.fits: HDU 1 (PREVIEW)")  # BIAS is a known companion
