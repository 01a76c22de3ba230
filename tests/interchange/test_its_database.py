"""Our products in its calibration database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from beside import Ours, emdarks
from corgidrp import caldb, data

KINDS = {
    "maps": data.DetectorNoiseMaps,
    "dark": data.Dark,
    "average": data.Dark,
    "bad_pixels": data.BadPixelMap,
}


@pytest.fixture
def database(tmp_path: Path) -> caldb.CalDB:
    return caldb.CalDB(str(tmp_path / "caldb.csv"))


@pytest.mark.parametrize("kind", KINDS)
def test_entry(ours: Ours, database: caldb.CalDB, kind: str) -> None:
    """create_entry of our product, and get_calib for a frame"""
    path = getattr(ours, kind)
    database.create_entry(KINDS[kind](path))
    found = database.get_calib(data.Image(ours.of_dark[0]), KINDS[kind])
    assert type(found) is KINDS[kind]
    assert found.filepath == path


def test_scanned(ours: Ours, database: caldb.CalDB) -> None:
    """scan_dir_for_new_entries of the folder with all our products and frames"""
    database.scan_dir_for_new_entries(str(ours.folder))
    found = caldb.CalDB(database.filepath)._db
    assert {
        ours.maps,
        ours.dark,
        ours.image_dark,
        ours.average,
        ours.bad_pixels,
    } <= set(found["Filepath"])
    assert not found.isin(ours.frames + ours.subtracted).any(axis=None)


def test_columns(ours: Ours, database: caldb.CalDB) -> None:
    """The columns that its rules go by: type, MJD, time, gain, PC_STAT"""
    dark = data.Dark(ours.dark)
    database.create_entry(dark)
    row = caldb.CalDB(database.filepath)._db.iloc[0]
    assert (row["Type"], row["EXPTIME"], row["EMGAIN_C"]) == ("Dark", 60.0, 1000.0)
    assert row["PC_STAT"] == "analog master dark"
    assert np.isfinite(row["MJD"])
    assert row["MJD"] == dark.ext_hdr["MJDSRT"]
    assert abs(row["Date Created"] - caldb.time.Time.now().mjd) < 1
    assert (row["NAXIS1"], row["NAXIS2"]) == dark.data.shape[::-1]


def test_other_setting(ours: Ours, database: caldb.CalDB) -> None:
    """get_calib for a frame of another exposure time: our dark is not taken"""
    database.create_entry(data.Dark(ours.dark))
    frame = data.Image(ours.of_dark[0])
    frame.ext_hdr["EXPTIME"] = 59.0
    with pytest.raises(ValueError, match="EXPTIME"):
        database.get_calib(frame, data.Dark)


def test_library_exported(ours: Ours, tmp_path: Path) -> None:
    """emdarks library export --corgidrp: its get_calib finds our products in the written file"""
    emdarks(tmp_path, "library", "init", "library")
    products = [ours.maps, ours.dark, ours.bad_pixels]
    emdarks(tmp_path, "library", "add", "library", *products)
    emdarks(tmp_path, "library", "export", "library", "--corgidrp", "-o", "caldb.csv")
    database = caldb.CalDB(str(tmp_path / "caldb.csv"))
    frame = data.Image(ours.of_dark[0])
    for kind, path in zip(("maps", "dark", "bad_pixels"), products, strict=True):
        found = database.get_calib(frame, KINDS[kind])
        assert type(found) is KINDS[kind]
        np.testing.assert_array_equal(found.data, KINDS[kind](path).data)
