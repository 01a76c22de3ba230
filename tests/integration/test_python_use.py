"""Frames and products in notebooks: how they show themselves, plots, CCDData."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, VarianceUncertainty
from astropy.wcs import WCS

from campaigns import COLS, REGIONS, ROWS, Campaign, params
from emdarks import build_bad_pixel_map, plots, subtract_dark
from emdarks.darks import build_trad_dark
from emdarks.data import (
    BadPixelMap,
    Dark,
    Dataset,
    DetectorNoiseMaps,
    DetectorParams,
    Image,
)
from emdarks.errors import InputError

MAP_NAMES = ["fixed-pattern noise F", "clock-induced charge C", "dark current D"]


@pytest.fixture(scope="module")
def dark(quirky: Campaign) -> Dark:
    return build_trad_dark(quirky.stack(300.0, 50.0).files(), params(), REGIONS, True)


def pictures(html: str) -> list[PIL.Image.Image]:
    codes = re.findall(r"src='data:image/png;base64,([A-Za-z0-9+/=]+)'", html)
    return [PIL.Image.open(io.BytesIO(base64.b64decode(code))) for code in codes]


# What notebooks show


def test_plain_representations(maps: DetectorNoiseMaps, dark: Dark, quirky: Campaign) -> None:
    assert re.fullmatch(
        r"<DetectorNoiseMaps cgi_\d{4}_dnm_cal.fits \(3, 23, 37\), "
        r"image means F \S+ e- C \S+ e- D \S+ e-/s>",
        repr(maps),
    )
    assert repr(dark).endswith("_drk_cal.fits (23, 37), EM gain 300, 50 s, traditional>")
    assert repr(maps.synthesize(2000.0, 9.5)).endswith("EM gain 2000, 9.5 s, synthesised>")
    assert repr(DetectorParams({})).endswith(">")
    assert "valid from MJD 6" in repr(DetectorParams({}))
    assert repr(quirky.files()) == "<Dataset of 27 frames>"
    assert repr(Image(np.zeros((2, 3)), fits.Header(), fits.Header())) == "<Image (unnamed) (2, 3)>"
    flags = BadPixelMap(np.eye(3, 5, dtype=np.uint16), fits.Header(), fits.Header(), [])
    assert repr(flags) == "<BadPixelMap bpm_cal.fits (3, 5), 3 bad pixels>"


def test_an_image_in_a_notebook(quirky: Campaign) -> None:
    frame = quirky.files()[0]
    html = frame._repr_html_()
    good = frame.data[(frame.dq == 0) & np.isfinite(frame.data)]
    assert "<b>Image</b>" in html
    assert frame.filename in html
    assert "23 x 37" in html
    assert f"{np.median(good):.4g}" in html
    assert f"{(frame.dq != 0).mean():.2%}" in html
    (picture,) = pictures(html)
    assert picture.size == (COLS, ROWS)


def test_products_in_a_notebook(maps: DetectorNoiseMaps, dark: Dark) -> None:
    html = maps._repr_html_()
    assert [html.count(name) > 1 for name in MAP_NAMES] == [True] * 3
    assert "<th style='text-align:left'>stacks</th><td style='text-align:left'>5</td>" in html
    error = np.median(maps.DC_err[maps.DC_err > 0])
    assert f"image mean {maps.ext_hdr['DC_IMM']:.4g}, error of a pixel {error:.2g}" in html
    assert [picture.size for picture in pictures(html)] == [(COLS, ROWS)] * 3

    html = dark._repr_html_()
    assert "traditional" in html
    assert len(pictures(html)) == 1

    html = DetectorParams({"NEMGAIN": 599})._repr_html_()
    assert "NEMGAIN" in html
    assert "599" in html
    assert not pictures(html)

    bad = build_bad_pixel_map(dark, detector_regions=REGIONS, window=8)
    assert str(np.count_nonzero(bad.data)) in bad._repr_html_()
    assert len(pictures(bad._repr_html_())) == 1


def test_a_dataset_in_a_notebook(quirky: Campaign, maps: DetectorNoiseMaps) -> None:
    frames = quirky.files()
    html = frames._repr_html_()
    assert "27" in html
    assert "<th style='text-align:left'>EM gain 2000, 80 s, k-gain 8.7</th>" in html
    assert html.count(" frames</td>") == 5
    assert [picture.size for picture in pictures(html)] == [(COLS, ROWS)]
    # The settings come from headers alone: no pixels of 27 frames.
    less = subtract_dark(frames, maps, params(), REGIONS)
    assert less._repr_html_().count(" frames</td>") == 5
    assert all(frame._data is None for frame in less)


def test_names_are_escaped_and_missing_files_no_harm(quirky: Campaign, tmp_path: Path) -> None:
    image = Image(np.zeros((2, 3)), fits.Header(), fits.Header())
    image.filename = "<script>.fits"
    assert "<script>" not in image._repr_html_()
    path = tmp_path / "gone.fits"
    path.write_bytes(Path(quirky.paths[0]).read_bytes())
    frames = Dataset([path])
    path.unlink()
    assert "cannot be read" in frames[0]._repr_html_()
    assert not pictures(frames._repr_html_())
    headless = Dataset([Image(np.zeros((2, 3)), fits.Header(), fits.Header())])
    assert "the header has no EMGAIN_C and no KGAINPAR" in headless._repr_html_()


def test_thumbnails_of_large_images_are_small() -> None:
    rows, cols = 700, 1201
    values = np.zeros((rows, cols))
    values[:350] = 10.0
    values[:, 600:] = np.nan
    picture = PIL.Image.open(io.BytesIO(plots.thumbnail(values))).convert("RGB")
    assert picture.size == (172, 100)  # every seventh
    low, high = picture.getpixel((5, 5)), picture.getpixel((5, 95))
    assert low != high  # row 0 is at the bottom
    assert picture.getpixel((160, 50)) == (200, 200, 200)


# Plots


def test_images_plot_themselves(dark: Dark) -> None:
    ax = dark.plot()
    shown = ax.images[0].get_array()
    expected = np.where(dark.dq == 0, dark.data, np.nan)
    np.testing.assert_array_equal(shown.filled(np.nan), expected)
    assert "EM gain 300, 50 s" in ax.get_title()
    every = dark.plot(flagged=True).images[0].get_array()
    np.testing.assert_array_equal(every.filled(np.nan), dark.data)
    own = plots.new_figure(3, 3).add_subplot()
    assert dark.plot(own) is own
    counted = dark.plot_histogram(bins=20)
    heights = counted.patches[0].get_data().values
    assert (len(heights), sum(heights)) == (20, np.isfinite(expected).sum())
    assert counted.get_xlabel() == "detected electron"


def test_noise_maps_plot_three_maps(maps: DetectorNoiseMaps) -> None:
    axes = maps.plot()
    assert [ax.get_title() for ax in axes] == MAP_NAMES
    good = maps.dq[0] == 0
    for ax, plane in zip(axes, maps.data, strict=True):
        expected = np.where(good, plane, np.nan)
        np.testing.assert_array_equal(ax.images[0].get_array().filled(np.nan), expected)
    own = plots.new_figure(9, 3).subplots(3, 1)
    assert list(maps.plot_histogram(own)) == list(own)
    with pytest.raises(InputError, match="give three axes, not 1"):
        maps.plot(own[0])


def test_what_cannot_be_plotted() -> None:
    cube = Image(np.zeros((2, 3, 4)), fits.Header(), fits.Header())
    with pytest.raises(InputError, match=r"pixels of shape \(2, 3, 4\)"):
        cube.plot()
    flags = BadPixelMap(np.eye(3, 5, dtype=np.uint16) * 8, fits.Header(), fits.Header(), [])
    np.testing.assert_array_equal(flags.plot().images[0].get_array(), np.eye(3, 5))


def test_importing_loads_no_matplotlib() -> None:
    program = (
        "import sys\n"
        "import emdarks\n"
        "from emdarks import Dark, Dataset, DetectorNoiseMaps, Image, subtract_dark\n"
        "import emdarks.bad_pixels\n"
        "print([m for m in ('matplotlib', 'astropy.nddata', 'emdarks.plots') if m in sys.modules])"
    )
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert made.stdout == "[]\n", made.stderr


# CCDData


def test_there_and_back(quirky: Campaign) -> None:
    frame = quirky.files()[0]
    ccd = frame.to_ccddata()
    assert isinstance(ccd, CCDData)
    assert ccd.unit == units.electron
    assert isinstance(ccd.uncertainty, StdDevUncertainty)
    np.testing.assert_array_equal(ccd.mask, frame.dq != 0)
    assert (ccd.meta["EXPTIME"], ccd.meta["BUNIT"]) == (
        frame.ext_hdr["EXPTIME"],
        "detected EM electron",
    )
    ccd.data[0, 0] += 1.0  # a copy
    assert frame.data[0, 0] == ccd.data[0, 0] - 1.0
    ccd.data[0, 0] -= 1.0
    again = Image.from_ccddata(ccd, frame.pri_hdr)
    np.testing.assert_array_equal(again.data, frame.data)
    np.testing.assert_array_equal(again.err, frame.err)
    np.testing.assert_array_equal(again.dq, frame.dq)
    assert again.dq.dtype == frame.dq.dtype
    assert again.ext_hdr.tostring() == frame.ext_hdr.tostring()
    assert again.pri_hdr.tostring() == frame.pri_hdr.tostring()
    assert again.pri_hdr is not frame.pri_hdr


def test_through_a_file_of_ccddata(quirky: Campaign, tmp_path: Path) -> None:
    frame = quirky.files()[1]
    frame.to_ccddata().write(tmp_path / "ccd.fits")
    read = Image.from_ccddata(CCDData.read(tmp_path / "ccd.fits", unit="electron"))
    np.testing.assert_array_equal(read.data, frame.data)
    np.testing.assert_array_equal(read.err, frame.err)
    np.testing.assert_array_equal(read.dq != 0, frame.dq != 0)


def test_darks_and_maps(dark: Dark, maps: DetectorNoiseMaps) -> None:
    again = Dark.from_ccddata(dark.to_ccddata())
    np.testing.assert_array_equal(again.data, dark.data)
    assert again.ext_hdr["DRPNFILE"] == dark.ext_hdr["DRPNFILE"]
    for i, (plane, unit) in enumerate(
        (("FPN", "electron"), ("CIC", "electron"), ("DC", "electron/s"))
    ):
        ccd = maps.to_ccddata(plane=plane)
        np.testing.assert_array_equal(ccd.data, maps.data[i])
        np.testing.assert_array_equal(ccd.uncertainty.array, maps.err[0, i])
        assert ccd.unit == units.Unit(unit)
    with pytest.raises(InputError, match="must be one of FPN, CIC, DC"):
        maps.to_ccddata(plane="X")
    with pytest.raises(InputError, match="one map of three"):
        DetectorNoiseMaps.from_ccddata(ccd)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("DN", units.adu),
        ("photoelectron", units.electron),
        ("", units.dimensionless_unscaled),
        ("electron / s", units.electron / units.s),
    ],
)
def test_units(text: str, unit: Any) -> None:
    header = fits.Header([("BUNIT", text)] if text else [])
    image = Image(np.ones((2, 3)), fits.Header(), header)
    ccd = image.to_ccddata()
    assert ccd.unit == unit
    assert Image.from_ccddata(ccd).ext_hdr.get("BUNIT", "") == text


def test_units_that_are_none() -> None:
    image = Image(np.ones((2, 3)), fits.Header(), fits.Header([("BUNIT", "counts per moon")]))
    with pytest.raises(InputError, match="no unit that astropy knows"):
        image.to_ccddata()
    assert image.to_ccddata("adu").unit == units.adu
    # BUNIT follows a unit that has changed.
    assert Image.from_ccddata(image.to_ccddata("adu")).ext_hdr["BUNIT"] == "DN"
    assert Image.from_ccddata(image.to_ccddata("electron")).ext_hdr["BUNIT"] == "electron"


def test_what_others_put_into_a_ccddata() -> None:
    data = np.arange(6.0).reshape(2, 3)
    bare = Image.from_ccddata(CCDData(data, unit="adu"))
    np.testing.assert_array_equal(bare.err, np.zeros((1, 2, 3)))
    assert not bare.dq.any()
    assert bare.ext_hdr["BUNIT"] == "DN"
    mask = data > 4
    full = CCDData(
        data, unit="electron", mask=mask, uncertainty=VarianceUncertainty(np.full((2, 3), 9.0)),
        wcs=WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 2.0, "CRVAL1": 80.0}),
    )  # fmt: skip
    image = Image.from_ccddata(full)
    np.testing.assert_array_equal(image.err[0], np.full((2, 3), 3.0))
    np.testing.assert_array_equal(image.dq, mask.astype(int))
    assert (image.ext_hdr["CTYPE1"], image.ext_hdr["CRVAL1"]) == ("RA---TAN", 80.0)
    flagged = CCDData(data, unit="adu", mask=mask, flags=np.full((2, 3), 4, np.uint8) * (data == 5))
    np.testing.assert_array_equal(Image.from_ccddata(flagged).dq, 4 * (data == 5))
    flagged.mask = data > 3
    assert Image.from_ccddata(flagged).dq[1, 1] == 1
    with pytest.raises(InputError, match="flags are float64"):
        Image.from_ccddata(CCDData(data, unit="adu", flags=data))
    with pytest.raises(InputError, match="do not go into a FITS header"):
        Image.from_ccddata(CCDData(data, unit="adu", meta={"a": object()}))


# The page that shows all this


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    page = (Path(__file__).parents[2] / "docs" / "howto_python.md").read_text()
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "howto_python.md", "exec"), names)
    assert {path.name for path in tmp_path.iterdir()} == {"dark.png", "changed.fits"}
    said = re.search(r">>> maps\n<DetectorNoiseMaps cgi_\.\.\.(.*)>", page)
    assert said is not None
    assert repr(names["maps"]).endswith(f"{said[1]}>")
