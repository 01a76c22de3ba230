"""Products: attributes, checks, round trips, pickles, files whole or not at all."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from campaigns import COLS, REGIONS, ROWS, Campaign, params
from emdarks.darks import build_trad_dark
from emdarks.data import Dark, DetectorNoiseMaps, DetectorParams, Image
from emdarks.errors import InputError
from emdarks.products.header import product_name
from loops import for_each

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


@pytest.fixture(scope="module")
def dark(quirky: Campaign) -> Dark:
    return build_trad_dark(quirky.stack(300.0, 50.0).files(), params(), REGIONS, True)


def test_attributes_of_noise_maps(maps: DetectorNoiseMaps) -> None:
    for plane, name in enumerate(("FPN", "CIC", "DC")):
        np.testing.assert_array_equal(getattr(maps, f"{name}_map"), maps.data[plane])
        np.testing.assert_array_equal(getattr(maps, f"{name}_err"), maps.err[0, plane])
    assert maps.bias_offset == maps.ext_hdr["B_O"]
    assert maps.bias_offset_err == maps.ext_hdr["B_O_ERR"]
    assert maps.data.dtype == maps.err.dtype == np.float64
    assert maps.err.shape == (1, 3, ROWS, COLS)
    assert maps.dq.shape == (3, ROWS, COLS)
    assert maps.hdu_names == [
        "SIGNED",
        "CORR",
        "CHI2",
        "RSQ",
        "NSTACKS",
        "NBAD",
        "STACKS",
        "INPUTS",
    ]


def test_the_file_of_noise_maps(maps: DetectorNoiseMaps, tmp_path: Path) -> None:
    before = maps.data.copy()
    maps.save(tmp_path)
    np.testing.assert_array_equal(maps.data, before)
    assert maps.data.dtype == np.float64
    with fits.open(tmp_path / maps.filename, checksum=True) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus][:4] == ["PRIMARY", "", "ERR", "DQ"]
        assert [hdus[i].header["BITPIX"] for i in range(1, 10)] == [-32, -32, 16] + [-32] * 4 + [
            16,
            16,
        ]
        for hdu in hdus:
            assert "CHECKSUM" in hdu.header
        np.testing.assert_array_equal(hdus[1].data, maps.data.astype(np.float32))
        np.testing.assert_array_equal(hdus["DQ"].data, maps.dq)
        assert hdus[0].data is None


def test_noise_maps_come_back(maps: DetectorNoiseMaps, tmp_path: Path) -> None:
    maps.save(tmp_path)
    again = DetectorNoiseMaps(tmp_path / maps.filename)
    np.testing.assert_array_equal(again.data, maps.data.astype(np.float32))
    np.testing.assert_array_equal(again.err, maps.err.astype(np.float32))
    np.testing.assert_array_equal(again.dq, maps.dq)
    assert again.hdu_names == maps.hdu_names
    assert again.bias_offset == maps.bias_offset
    for name in ("STACKS", "INPUTS"):
        one, other = maps.hdu_list[name].data, again.hdu_list[name].data
        assert one.names == other.names
        for column in one.names:
            assert list(one[column]) == list(other[column])
    again.save(tmp_path, "again.fits")
    third = DetectorNoiseMaps(tmp_path / "again.fits")
    np.testing.assert_array_equal(third.data, again.data)


@pytest.mark.parametrize("reload", [False, True])
def test_products_pickle(maps: DetectorNoiseMaps, dark: Dark, tmp_path: Path, reload: bool) -> None:
    for product in (maps, dark):
        if reload:
            product.save(tmp_path)
            product = type(product)(tmp_path / product.filename)
        twin = pickle.loads(pickle.dumps(product))
        assert type(twin) is type(product)
        np.testing.assert_array_equal(twin.data, product.data)
        np.testing.assert_array_equal(twin.err, product.err)
        assert twin.ext_hdr.tostring() == product.ext_hdr.tostring()
        assert twin.filename == product.filename
        assert twin.hdu_names == product.hdu_names


def test_copies_are_independent(maps: DetectorNoiseMaps) -> None:
    twin = maps.copy()
    twin.data[0, 0, 0] += 1
    twin.ext_hdr["B_O"] = 99.0
    twin.hdu_list["SIGNED"].data[0, 0, 0] += 1
    assert twin.data[0, 0, 0] != maps.data[0, 0, 0]
    assert maps.bias_offset != 99.0
    assert twin.hdu_list["SIGNED"].data[0, 0, 0] != maps.hdu_list["SIGNED"].data[0, 0, 0]


def test_a_dark_comes_back(dark: Dark, tmp_path: Path) -> None:
    dark.save(tmp_path)
    again = Dark(tmp_path / dark.filename)
    np.testing.assert_array_equal(again.data, dark.data.astype(np.float32))
    assert again.err.shape == (1, ROWS, COLS)
    for key in ("PC_STAT", "PCTHRESH", "NUM_FR", "FRMSEL01", "FRMSEL02", "FRMSEL06", "IS_SYNTH"):
        assert again.ext_hdr[key] == dark.ext_hdr[key]


def test_products_of_the_reference_open() -> None:
    maps = DetectorNoiseMaps(GOLDEN / "expected_noisemaps_weighted.fits")
    assert maps.FPN_map.shape == (60, 110)
    dark = Dark(GOLDEN / "expected_trad_dark_g1_t2_full.fits")
    assert dark.ext_hdr["PC_STAT"] == "analog master dark"
    detector = DetectorParams(GOLDEN / "detector_params.fits")
    assert (detector.params["TELRSTRT"], detector.params["TELREND"]) == (59, 60)
    assert detector.params["KGAINPAR"] == 8.7
    assert "READ_N" not in detector.ext_hdr  # of the third version
    assert detector.params["READ_N"] == 165.0


def header(**cards: Any) -> fits.Header:
    made = fits.Header()
    for key, value in cards.items():
        made[key] = value
    return made


def test_noise_maps_are_checked() -> None:
    planes, good = np.zeros((3, 4, 5)), {"B_O": 0.0, "B_O_ERR": 0.0, "DRPNFILE": 1}
    with pytest.raises(ValueError, match="3 planes"):
        DetectorNoiseMaps(planes[:2], header(), header(**good))
    with pytest.raises(ValueError, match="B_O"):
        DetectorNoiseMaps(planes, header(), header(DRPNFILE=1))
    with pytest.raises(ValueError, match="DRPNFILE"):
        DetectorNoiseMaps(planes, header(), header(B_O=0.0, B_O_ERR=0.0))
    with pytest.raises(ValueError, match="err"):
        DetectorNoiseMaps(planes, header(), header(**good), err=np.zeros((2, 3, 4, 5)))
    with pytest.raises(ValueError, match="dq"):
        DetectorNoiseMaps(planes, header(), header(**good), dq=np.zeros((4, 5), int))
    made = DetectorNoiseMaps(planes, header(), header(**good))
    assert made.ext_hdr["FPN_IMM"] == -999.0
    assert made.ext_hdr["DATATYPE"] == "DetectorNoiseMaps"


def test_files_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="is no dark"):
        Dark(GOLDEN / "detector_params.fits")
    with pytest.raises(InputError, match="planes"):
        DetectorNoiseMaps(GOLDEN / "expected_trad_dark_g1_t2_full.fits")
    k_gain = GOLDEN.parent / "raw" / "files" / "k_krn_cal.fits"
    message = r"k_krn_cal\.fits: is no file of detector parameters, its DATATYPE is 'KGain'; give"
    with pytest.raises(InputError, match=message):
        DetectorParams(k_gain)
    with pytest.raises(InputError, match="no file of detector parameters, its DATATYPE is 'Dark'"):
        DetectorParams(GOLDEN / "expected_trad_dark_g1_t2_full.fits")
    with pytest.raises(ValueError, match="dict or a file"):
        DetectorParams(3)  # type: ignore[arg-type]


def test_a_dark_from_a_dataset_names_its_parents(quirky: Campaign) -> None:
    frames = quirky.stack(300.0, 50.0).files()
    made = Dark(np.zeros((4, 5)), header(), header(EXPTIME=50.0, EMGAIN_C=300.0), frames)
    assert made.ext_hdr["DRPNFILE"] == len(frames)
    assert made.ext_hdr["FILE1"] == frames[1].filename
    assert made.filename == frames.frames[-1].filename.replace("_l2a", "_drk_cal")
    with pytest.raises(ValueError, match="DRPNFILE"):
        Dark(np.zeros((4, 5)), header(), header())


@pytest.mark.parametrize("stop", [None, 60])
def test_detector_parameters_come_back(tmp_path: Path, stop: int | None) -> None:
    made = DetectorParams(
        {"TELRSTRT": 59, "TELREND": stop, "KGAINPAR": 8.8}, datetime(2023, 11, 1, tzinfo=UTC)
    )
    assert made.filename == "DetectorParams_60249.0.fits"
    made.save(tmp_path)
    again = DetectorParams(tmp_path / made.filename)
    assert again.params == made.params
    assert again.params["TELREND"] == stop
    assert again.params["NEMGAIN"] == 604


def test_older_names_of_parameters_are_read(tmp_path: Path) -> None:
    made = DetectorParams({})
    del made.ext_hdr["TELRSTRT"]
    made.ext_hdr["HIERARCH telem_rows_start"] = -1
    made.ext_hdr.rename_keyword("KGAINPAR", "KGAIN")
    made.save(tmp_path, "old.fits")
    assert DetectorParams(tmp_path / "old.fits").params["KGAINPAR"] == 8.7
    assert DetectorParams(tmp_path / "old.fits").params["TELRSTRT"] == -1
    del made.ext_hdr["NEMGAIN"]
    made.save(tmp_path, "bad.fits")
    with pytest.raises(InputError, match="has no NEMGAIN"):
        DetectorParams(tmp_path / "bad.fits")


@for_each(
    "frame, suffix, expected",
    [
        ("cgi_02_20260101t000_l2a.fits", "_dnm_cal", "cgi_02_20260101t000_dnm_cal.fits"),
        ("cgi_02_20260101t000_l1_.fits", "_drk_cal", "cgi_02_20260101t000_drk_cal.fits"),
        ("cgi_02_dnm_cal.fits", "_drk_cal", "cgi_02_drk_cal.fits"),
        ("night7.fits.gz", "_drk_cal", "night7_drk_cal.fits"),
        ("dark_l2.fits", "_dnm_cal", "dark_dnm_cal.fits"),
        ("dark_l2a_0007.fits", "_dnm_cal", "dark_0007_dnm_cal.fits"),
        ("dark_l1_0007.fits", "_dnm_cal", "dark_0007_dnm_cal.fits"),
        ("night_l10_03.fits", "_dnm_cal", "night_l10_03_dnm_cal.fits"),
        ("dark.fit", "_drk_cal", "dark_drk_cal.fits"),
        ("Dark.FITS.fz", "_drk_cal", "Dark_drk_cal.fits"),
        ("a.fitted.fts", "_bpm_cal", "a.fitted_bpm_cal.fits"),
        ("_l1_.fits", "_dnm_cal", "dnm_cal.fits"),
        ("cgi_02_20260101t000_im1.fits", "_dnm_cal", "cgi_02_20260101t000_dnm_cal.fits"),
        ("cgi_02_im2_.fits", "_drk_cal", "cgi_02_drk_cal.fits"),
        ("cgi_02_im1_0007.fits", "_drk_cal", "cgi_02_0007_drk_cal.fits"),
        ("night_im10_03.fits", "_dnm_cal", "night_im10_03_dnm_cal.fits"),
        ("night_image1.fits", "_dnm_cal", "night_image1_dnm_cal.fits"),
        ("", "_dnm_cal", "dnm_cal.fits"),
    ],
)
def test_file_names(frame: str, suffix: str, expected: str) -> None:
    assert product_name(frame, suffix) == expected


def test_flags_above_16_bits_are_not_lost(tmp_path: Path) -> None:
    dq = np.zeros((4, 5), np.uint32)
    dq[1, 2] = 1 << 20
    image = Image(np.zeros((4, 5)), header(), header(), dq=dq)
    image.save(tmp_path, "wide.fits")
    np.testing.assert_array_equal(Image(tmp_path / "wide.fits").dq, dq)
