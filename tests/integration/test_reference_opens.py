"""What the classes of the reference pipeline need of our files, tried without the pipeline."""

from __future__ import annotations

import pickle
import re
import warnings
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from emdarks import (
    build_bad_pixel_map,
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    prepare_frames,
    subtract_dark,
)
from emdarks.data import Dataset, DetectorNoiseMaps, DetectorParams, sample
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits import packed, unpacked
from emdarks.simulate import simulate_campaign
from emdarks.subtract import save_subtracted

STACKS = [(gain, time, 4) for gain in (1.0, 30.0, 1000.0) for time in (2.0, 60.0)]
#: Cards that hold a date by their names; MJDSRT and the like are numbers.
DATES = re.compile(r"DATE.*|.*TIME|.*UTC|SCTSRT|SCTEND")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.fits*") if path.is_file())


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Products of the sample, by name, saved under that name."""
    folder = tmp_path_factory.mktemp("products")
    empty = folder / "empty.fits"
    empty.touch()
    darks = Dataset(sample())
    stack = darks.split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])[0][3]
    skipping = Dataset([*(frame.filepath for frame in stack), empty], skip_bad_frames=True)
    maps = calibrate_darks_lsq(darks, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        whole = build_trad_dark(
            skipping, None, full_frame=True, skip_bad_frames=True, skip_share=0.5
        )
        counted = calibrate_darks_lsq(darks, None, estimator="counting")
    made = {
        "maps": maps,
        "counted": counted,
        "traditional": build_trad_dark(stack, None),
        "traditional, whole frame": whole,
        "synthesised": build_synthesized_dark(stack, maps),
        "synthesised, whole frame": build_synthesized_dark(stack, maps, full_frame=True),
        "bad pixels": build_bad_pixel_map(maps),
        "bad pixels of a dark": build_bad_pixel_map(build_synthesized_dark(stack, maps)),
        "parameters": DetectorParams({}),
    }
    empty.unlink()
    for name, product in made.items():
        product.save(folder, f"{name}.fits")
    save_subtracted(subtract_dark(stack, maps), folder / "subtracted")
    return made


@pytest.fixture(scope="module")
def written(products: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every kind of file that we write."""
    folder = tmp_path_factory.mktemp("frames")
    raw = simulate_campaign(folder / "raw", "excam-small", 2, 1, stacks=STACKS[:1], level="1")
    simulate_campaign(folder / "l2a", "excam-small", 2, 1, stacks=STACKS[:1])
    prepared = prepare_frames(Dataset(raw.paths), nonlinearity="none")
    (folder / "prepared").mkdir()
    for frame in prepared:
        frame.save(folder / "prepared")
    return files(Path(products["maps"].filedir)) + files(folder)


def test_dates_are_dates_of_fits(written: list[Path]) -> None:
    found = set()
    for path in written:
        with fits.open(path) as hdus:
            for hdu in map(unpacked, hdus):
                for key, value in hdu.header.items():
                    if DATES.fullmatch(key) and isinstance(value, str) and value != "-999":
                        assert Time(value).scale == "utc", (path.name, key, value)
                        found.add(key)
                if hdu.name == "INPUTS":
                    assert (Time(list(hdu.data["MTIME"])) > Time("2020-01-01")).all()
    assert {"DRPCTIME", "FILETIME", "DATE-BEG", "DATE-END", "SCTSRT", "SCTEND"} <= found


def test_the_hour_is_that_of_utc(products: dict[str, Any]) -> None:
    for name in ("maps", "traditional", "parameters"):
        made = Time(products[name].ext_hdr["DRPCTIME"])
        assert abs(Time.now() - made).to_datetime() < timedelta(hours=1), name


def test_images_alone_are_copied_and_pickled(products: dict[str, Any]) -> None:
    for name, product in products.items():
        with fits.open(product.filepath) as hdus:
            copies = [hdu.copy() for hdu in hdus]
        assert all(hdu.is_image for hdu in copies), name
        twins = pickle.loads(pickle.dumps(copies))
        for twin, hdu in zip(twins, copies, strict=True):
            assert hdu.data is None or np.array_equal(twin.data, hdu.data, equal_nan=True)


def test_headers_in_memory_state_the_shape(products: dict[str, Any]) -> None:
    for name, product in products.items():
        again = type(product)(product.filepath)
        for one in (product, again, pickle.loads(pickle.dumps(product)), product.copy()):
            for header, plane in (
                (one.ext_hdr, one.data),
                (one.err_hdr, one.err),
                (one.dq_hdr, one.dq),
            ):
                keys = [f"NAXIS{i}" for i in range(1, 9) if f"NAXIS{i}" in header]
                assert tuple(header[key] for key in keys) == plane.shape[::-1], name
                assert header["NAXIS"] == plane.ndim, name


def test_headers_of_cut_frames_state_their_shape(
    products: dict[str, Any], written: list[Path]
) -> None:
    raw = Dataset([str(path) for path in written if path.name.endswith("_l1_.fits")])
    prepared = prepare_frames(raw, nonlinearity="none", image_only=True).frames[0]
    subtracted = subtract_dark(Dataset(sample()[12:16]), products["synthesised"]).frames[0]
    for frame in (prepared, subtracted):
        header = frame.ext_hdr
        assert (header["NAXIS2"], header["NAXIS1"]) == frame.data.shape
    assert subtracted.err_hdr["NAXIS3"] == 1
    assert subtracted.dq_hdr["NAXIS1"] == subtracted.dq.shape[1]


def test_products_span_the_time_of_their_frames(products: dict[str, Any]) -> None:
    headers = [frame.ext_hdr for frame in Dataset(sample())]
    begin, end = min(h["SCTSRT"] for h in headers), max(h["SCTEND"] for h in headers)
    for name in ("maps", "counted", "synthesised", "bad pixels"):
        header = products[name].ext_hdr
        assert (header["SCTSRT"], header["SCTEND"]) == (begin, end), name
    stack = products["traditional"].ext_hdr
    assert begin < stack["SCTSRT"] < stack["SCTEND"] < end
    assert (Time(end) - Time(begin)).sec > 60


def test_frames_of_the_third_version_lack_the_new_standard(tmp_path: Path) -> None:
    for path in sample():
        with fits.open(path) as hdus:
            del hdus[1].header["SCTSRT"], hdus[1].header["SCTEND"]
            hdus.writeto(tmp_path / path.name)
    header = calibrate_darks_lsq(Dataset(files(tmp_path)), None).ext_hdr
    assert header["SCTSRT"] == header["DATE-BEG"] == "2026-01-01T00:00:00"
    assert header["SCTEND"] == header["DATE-END"]


def test_files_with_binary_tables_are_read(products: dict[str, Any], tmp_path: Path) -> None:
    maps = products["counted"]
    path = tmp_path / "version_1.fits"
    with fits.open(maps.filepath) as hdus:
        hdus[1].header["FMTVERS"] = 1
        tables = [unpacked(hdu) for hdu in hdus]
        fits.HDUList(tables).writeto(path, checksum=True)
    again = DetectorNoiseMaps(path)
    assert sum(isinstance(hdu, fits.BinTableHDU) for hdu in tables) == 3
    for name in ("STACKS", "INPUTS", "HISTOGRAM"):
        one, other = maps.hdu_list[name].data, again.hdu_list[name].data
        assert one.names == other.names
        for column in one.names:
            np.testing.assert_array_equal(one[column], other[column])
    again.save(tmp_path, "again.fits")
    with fits.open(path) as old, fits.open(tmp_path / "again.fits") as new:
        assert not any(isinstance(hdu, fits.BinTableHDU) for hdu in new)
        np.testing.assert_array_equal(new["INPUTS"].data, packed(old["INPUTS"]).data)


def as_the_reference_opens(path: str) -> SimpleNamespace:
    """An object of its class: real numbers of all images are of 8 bytes, HDUs are copies."""
    with fits.open(path) as hdus:
        others = fits.HDUList([hdu.copy() for hdu in hdus[4:]])
        for hdu in others:
            if hdu.data.dtype.kind == "f":
                hdu.data = hdu.data.astype(np.float64)
        return SimpleNamespace(
            data=hdus[1].data.astype(np.float64),
            err=hdus["ERR"].data.astype(np.float64),
            dq=hdus["DQ"].data.copy(),
            **{
                f"{name}_hdr": hdus[hdu].header.copy()
                for name, hdu in (("pri", 0), ("ext", 1), ("err", "ERR"), ("dq", "DQ"))
            },
            hdu_list=others,
            hdu_names=["ERR", "DQ", *(hdu.name for hdu in others)],
            filename=Path(path).name,
            filedir=str(Path(path).parent),
            filepath=path,
        )


def assert_same(one: Any, other: Any) -> None:
    for name in ("data", "err", "dq"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for keyword in ("HISTORY", "ONE_ELEC", "BPSTEP", "DARKFILE"):
        assert str(one.ext_hdr.get(keyword)) == str(other.ext_hdr.get(keyword))


def test_an_object_of_a_file_counts_as_the_file(products: dict[str, Any]) -> None:
    stack = Dataset(sample()[12:16])
    path = products["maps"].filepath
    file, theirs = DetectorNoiseMaps(path), as_the_reference_opens(path)
    dark = build_synthesized_dark(stack, theirs)
    assert_same(dark, build_synthesized_dark(stack, file))
    assert "the signed maps" in str(dark.ext_hdr["HISTORY"])
    assert_same(subtract_dark(stack, theirs).frames[0], subtract_dark(stack, file).frames[0])
    assert_same(build_bad_pixel_map(theirs), build_bad_pixel_map(file))
    assert "SIGNED" in theirs.hdu_names  # it is left as it was
    assert theirs.ext_hdr["DATATYPE"] == "DetectorNoiseMaps"
    theirs.data[1, 20, 40] = 9.0
    with pytest.warns(EmdarksWarning, match="in 1 pixels the published maps are not those"):
        build_synthesized_dark(stack, theirs)


def test_an_object_is_checked_as_a_file(products: dict[str, Any]) -> None:
    stack, path = Dataset(sample()[12:16]), products["maps"].filepath
    for change, words in (
        (lambda maps: maps.hdu_list.pop(0), "has no SIGNED"),
        (lambda maps: maps.ext_hdr.set("BUNIT", "DN"), "is in 'DN'"),
        (lambda maps: maps.ext_hdr.remove("B_O"), "need B_O"),
        (lambda maps: setattr(maps, "data", maps.data[:2]), "err has shape"),
    ):
        theirs = as_the_reference_opens(path)
        change(theirs)
        with pytest.raises(InputError, match=words):
            build_synthesized_dark(stack, theirs)
