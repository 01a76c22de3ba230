"""A library of real products: what it keeps of them, what it refuses, which it gives to a frame."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from campaigns import RawCampaign
from emdarks import Dataset, build_synthesized_dark, build_trad_dark, calibrate_darks_lsq, simulate
from emdarks.bad_pixels import build_bad_pixel_map
from emdarks.checks import Finding
from emdarks.cli import console
from emdarks.cli.app import app
from emdarks.data import DetectorNoiseMaps
from emdarks.errors import EmdarksWarning, InputError
from emdarks.library import (
    Kind,
    Library,
    check_library,
    export_caldb,
    import_caldb,
    subtract_by_library,
)
from emdarks.library.entry import describe
from emdarks.subtract import subtract_dark

pytestmark = pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")

STACKS = ((1.0, 2.0, 8), (1.0, 90.0, 8), (40.0, 11.0, 8), (300.0, 50.0, 9), (2000.0, 80.0, 10))
STACKS += ((5000.0, 2.0, 9),)


@pytest.fixture(autouse=True)
def _normal() -> Iterator[None]:
    yield
    console.set_loudness(console.Loudness.NORMAL)


class Night:
    """Frames of a night, and what was made of them."""

    def __init__(self, folder: Path):
        made = simulate.simulate_campaign(
            folder / "darks", "excam-small", seed=3, stacks=[*STACKS], overwrite=True
        )
        self.folder, self.frames = folder, Dataset([str(path) for path in made.paths])
        self.maps, self.dark, self.bad = (
            folder / name for name in ("maps.fits", "dark.fits", "bad.fits")
        )
        maps = calibrate_darks_lsq(self.frames, None)
        maps.save(folder, self.maps.name)
        build_trad_dark(self.stack(300.0), None).save(folder, self.dark.name)
        build_bad_pixel_map(maps).save(folder, self.bad.name)

    def stack(self, gain: float) -> Dataset:
        return Dataset([f.filepath for f in self.frames if f.ext_hdr["EMGAIN_C"] == gain])


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return Night(tmp_path_factory.mktemp("night"))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.init(tmp_path / "library")


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def changed(path: Path, to: Path, **cards: Any) -> Path:
    """A product with other cards in the header of its image, or a copy that has them."""
    if path != to:
        shutil.copy(path, to)
    with fits.open(to, mode="update") as hdus:
        for name, value in cards.items():
            hdus[1].header[name] = value
    return to


# What is kept


def test_of_maps_is_kept_what_choosing_and_trends_need(night: Night, library: Library) -> None:
    entry = library.add(night.maps)
    product = DetectorNoiseMaps(night.maps)
    header = product.ext_hdr
    assert (entry.kind, entry.camera, entry.settings) == (Kind.NOISE_MAPS, "excam-small", "")
    assert (entry.rows, entry.columns) == product.data.shape[1:]
    assert (entry.lowest_gain, entry.highest_gain, entry.longest_time) == (1.0, 5000.0, 90.0)
    assert entry.k_gains_used == (8.7,)
    assert entry.temperature == pytest.approx(header["EXCAMT"])
    spans = [(f.ext_hdr["MJDSRT"], f.ext_hdr["EXPTIME"] / 86400) for f in night.frames]
    assert entry.begin == pytest.approx(min(start for start, _ in spans), abs=1e-5)
    assert entry.end == pytest.approx(max(start + length for start, length in spans), abs=1e-5)
    assert entry.frames == len(night.frames)
    assert entry.numbers["mean_d"].value == pytest.approx(header["DC_IMM"], rel=0.05)
    assert entry.numbers["bias_offset"] == (header["B_O"], header["B_O_ERR"], "DN")
    assert {"mean_f", "mean_c", "hot_pixels", "chi_square", "read_noise"} <= set(entry.numbers)
    assert library.show(entry.id) == entry
    assert library.list() == [entry]


def test_the_predicted_error_is_that_of_darks_that_are_made(night: Night, library: Library) -> None:
    """A quadratic form of medians is not the median of quadratic forms, but near it."""
    entry = library.add(night.maps)
    maps = DetectorNoiseMaps(night.maps)
    for gain, time, _ in STACKS:
        dark = build_synthesized_dark(night.stack(gain)[:1], maps)
        error = float(np.median(dark.err[0][dark.dq == 0]))
        if gain != 1.0:  # two times of this gain
            assert entry.predicted_error(gain, time) == pytest.approx(error, rel=0.01)


def test_of_other_products_too(night: Night, library: Library) -> None:
    dark, bad = library.add(night.dark), library.add(night.bad)
    assert (dark.kind, dark.gain, dark.exposure_time, dark.k_gain) == (Kind.DARK, 300.0, 50.0, 8.7)
    assert bad.kind is Kind.BAD_PIXEL_MAP
    assert bad.numbers["bad_pixels"].value == fits.getheader(night.bad, 1)["NBADPIX"]
    assert [entry.id for entry in library.list(Kind.DARK)] == [dark.id]
    assert library.list(camera="nuvu") == []


def test_adding_twice_is_adding_once(night: Night, library: Library) -> None:
    first = library.add(night.maps)
    copy = Path(shutil.copy(night.maps, night.folder / "copy.fits"))
    assert library.add(copy) == first == library.add(night.maps)
    assert len(list(library.folder.glob("*.fits"))) == 1


def test_two_products_of_one_name_are_both_kept(
    night: Night, library: Library, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    changed(night.maps, other / "maps.fits", OBSERVER="B")
    entries = [library.add(night.maps), library.add(other / "maps.fits")]
    assert len({entry.path for entry in entries}) == 2
    for entry in entries:
        library.verified(entry)


def test_a_file_elsewhere_is_recorded_where_it_lies(night: Night, library: Library) -> None:
    entry = library.add(night.maps, copy=False)
    assert entry.path.startswith("../")
    assert library.verified(entry).samefile(night.maps)
    moved = library.folder.parent / "moved"
    library.folder.rename(moved)  # beside its products as before
    assert Library(moved).verified(entry).samefile(night.maps)


# What is refused


def test_what_is_no_product_is_refused(night: Night, library: Library, tmp_path: Path) -> None:
    (tmp_path / "text.fits").write_text("no FITS")
    frame = night.frames[0].filepath
    for path, words in (
        (tmp_path / "text.fits", "FITS"),
        (tmp_path / "none.fits", "cannot be read"),
        (frame, "is no product that a library keeps"),
        (night.folder / "darks" / "truth.fits", "DATATYPE is 'Truth'"),
        (changed(night.maps, tmp_path / "m.fits", DRPVERSN="1", CREATOR="x", B_O="a"), "B_O is"),
    ):
        with pytest.raises(InputError, match=words):
            library.add(path)
    assert library.list() == []
    assert list(library.folder.glob("*.fits")) == []


def test_a_product_of_another_camera_is_refused(night: Night, library: Library) -> None:
    with pytest.raises(InputError, match="comes from camera 'excam-small', not 'nuvu'"):
        library.add(night.maps, camera="nuvu")


def test_findings_of_the_product_are_told_and_problems_refused(
    night: Night, library: Library, tmp_path: Path
) -> None:
    with fits.open(night.maps) as hdus:
        for name in (1, "SIGNED"):
            hdus[name].data[2] -= 1.0  # a negative dark current
        hdus.writeto(tmp_path / "negative.fits")
    with pytest.raises(InputError, match=r"negative.*--accept WHY"):
        library.add(tmp_path / "negative.fits")
    with pytest.warns(EmdarksWarning, match="negative"):
        entry = library.add(tmp_path / "negative.fits", accept="a trial")
    assert library.history(entry.id)[0].why.startswith("a trial")


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no library.*library init"):
        Library(tmp_path)
    (tmp_path / "library.sqlite").write_bytes(b"no database at all" * 99)
    with pytest.raises(InputError, match="is damaged"):
        Library(tmp_path)
    with pytest.raises(InputError, match="is a library already"):
        Library.init(tmp_path)


# Choosing


def test_frames_get_their_product(night: Night, library: Library) -> None:
    maps, dark = library.add(night.maps), library.add(night.dark)
    for match in library.find(night.frames):
        asked = match.request
        assert match.entry is not None
        errors = {maps.id: maps.predicted_error(asked.gain, asked.exposure_time)}
        if asked.gain == 300.0:
            errors[dark.id] = dark.predicted_error(300.0, 50.0)
        assert match.entry.id == min(errors, key=lambda number: errors[number])
    assert all(m.entry.kind is Kind.BAD_PIXEL_MAP for m in _bad(night, library))


def _bad(night: Night, library: Library) -> list[Any]:
    library.add(night.bad)
    return library.find(night.frames, Kind.BAD_PIXEL_MAP)


def test_validity_and_rejection_are_kept_with_who_when_and_why(
    night: Night, library: Library
) -> None:
    entry = library.add(night.maps)
    library.certify(entry.id, "2025-12-01", "61060.5", why="looked at")
    assert library.show(entry.id).valid_to == 61060.5
    library.reject(entry.id, "light leak")
    assert all(match.entry is None for match in library.find(night.frames))
    library.certify(entry.id)
    assert all(match.entry is not None for match in library.find(night.frames))
    what = [(event.what, event.why) for event in library.history(entry.id)][1:]
    assert what == [
        ("valid from 2025-12-01T00:00:00 to 2026-01-20T12:00:00", "looked at"),
        ("rejected", "light leak"),
        ("valid at any time", ""),
    ]
    assert all(event.who and event.when.startswith("20") for event in library.history())


def test_validity_and_rejection_can_be_taken_back(night: Night, library: Library) -> None:
    """To certify what was rejected would put it before all others."""
    added = library.add(night.maps)
    library.certify(added.id, "2026-01-01", "2026-02-01")
    library.reject(added.id, "a light was on")
    assert run("library", "certify", library.folder, added.id, "--undo").exit_code == 0
    assert library.show(added.id) == added
    assert len(library.history(added.id)) == 4


def test_dates_of_other_time_zones(night: Night, library: Library) -> None:
    entry = library.certify(library.add(night.maps).id, "2026-01-01T05:00+09:00", "2026-01-02")
    assert entry.valid_from == 61040 + 20 / 24
    assert entry.valid_to == 61042


def test_names_that_headers_cannot_hold(night: Night, library: Library, tmp_path: Path) -> None:
    library.add(shutil.copy(night.maps, tmp_path / "Kälte.fits"))
    ((less, *_),) = subtract_by_library(library, night.frames[:1])
    assert less.ext_hdr["DARKFILE"] == r"K\xe4lte.fits"
    assert r"From the library, dark: product 1 (K\xe4lte.fits" in str(less.ext_hdr["HISTORY"])


def test_a_link_within_the_library_stays_a_link(night: Night, library: Library) -> None:
    link = library.folder / "link.fits"
    link.symlink_to(night.maps)
    assert library.add(link).path == "link.fits"
    assert link.is_symlink()


def test_what_lay_there_before_outlives_an_addition_that_fails(
    night: Night, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path(shutil.copy(night.maps, library.folder))

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("emdarks.library.index.insert", fail)
    with pytest.raises(InputError, match="No space left"):
        library.add(night.maps)
    assert there.read_bytes() == night.maps.read_bytes()


def test_a_product_is_not_of_two_cameras(night: Night, library: Library, tmp_path: Path) -> None:
    with fits.open(changed(night.maps, tmp_path / "m.fits"), mode="update") as hdus:
        for hdu in hdus[:2]:
            hdu.header.remove("CAMERA", ignore_missing=True)
    first = library.add(tmp_path / "m.fits", camera="excam")
    with pytest.raises(InputError, match=r"is product 1 already, as one of camera excam;.* remove"):
        library.add(tmp_path / "m.fits", camera="excam-small")
    assert library.list() == [first]


def test_errors_of_0_are_not_the_smallest(night: Night, library: Library, tmp_path: Path) -> None:
    """Nobody knows the error of such a dark."""
    shutil.copy(night.dark, tmp_path / "no_error.fits")
    with fits.open(tmp_path / "no_error.fits", mode="update") as hdus:
        hdus["ERR"].data[:] = 0
    known, unknown = library.add(night.dark), library.add(tmp_path / "no_error.fits")
    assert unknown.covariance is None
    (match,) = library.find(night.stack(300.0)[:1])
    assert match.entry is not None
    assert match.entry.id == known.id


def test_a_group_may_write_where_the_mask_lets_it(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        library = Library.init(tmp_path / "library")
    finally:
        os.umask(before)
    assert library.index.path.stat().st_mode & 0o777 == 0o664


def test_a_library_where_files_have_one_name_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have no hard links."""

    def none(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", none)
    assert Library.init(tmp_path / "library").list() == []
    with pytest.raises(InputError, match="is a library already"):
        Library.init(tmp_path / "library")


def test_wrong_dates_and_numbers_are_refused(night: Night, library: Library) -> None:
    entry = library.add(night.maps)
    with pytest.raises(InputError, match="is no date"):
        library.certify(entry.id, "yesterday")
    with pytest.raises(InputError, match="before it begins"):
        library.certify(entry.id, "2026-02-01", "2026-01-01")
    with pytest.raises(InputError, match="has no product 7"):
        library.certify(7)
    with pytest.raises(InputError, match="say why"):
        library.reject(entry.id, " ")


def test_what_is_removed_is_gone_and_remembered(night: Night, library: Library) -> None:
    inside, outside = library.add(night.maps), library.add(night.dark, copy=False)
    for entry in (inside, outside):
        library.remove(entry.id, "a trial")
    assert library.list() == []
    assert list(library.folder.glob("*.fits")) == []
    assert night.dark.is_file()
    assert [event.what for event in library.history()] == ["added", "added", "removed", "removed"]
    assert library.add(night.maps).id == 3  # numbers are not given twice


def test_a_file_that_changed_is_added_anew_and_outlives_what_it_was(
    night: Night, library: Library
) -> None:
    old = library.add(night.maps)
    path = library.file(old)
    changed(path, path, OBSERVER="B")
    check_library(library.folder, mend=True)
    new = library.add(path)
    assert (new.path, new.id == old.id) == (old.path, False)
    assert library.show(old.id).rejected
    library.remove(old.id)
    assert library.verified(new) == path


def test_a_file_that_changes_while_it_is_added_is_refused(
    night: Night, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = changed(night.maps, tmp_path / "maps.fits")
    entry, findings = describe(path)
    monkeypatch.setattr("emdarks.library.folder.describe", lambda *given: (entry, findings))
    changed(path, path, OBSERVER="B")
    with pytest.raises(InputError, match="changed while it was added; add it again"):
        library.add(path)
    assert list(library.folder.glob("*.fits")) == library.list() == []


# Subtraction


def test_each_frame_gets_its_own_dark_subtracted(night: Night, library: Library) -> None:
    library.add(night.maps)
    library.certify(library.add(night.dark).id)  # it comes first, where it serves
    found = subtract_by_library(library, night.frames)
    assert [share.dark.kind for share in found.shares] == [Kind.NOISE_MAPS, Kind.DARK]
    seen = {}
    for less in found:
        for frame in less:
            seen[frame.source_name] = frame
    assert len(seen) == len(night.frames)
    for match, frame in zip(found.matches, night.frames, strict=True):
        assert match.entry is not None
        own = subtract_dark(Dataset([frame]), library.file(match.entry))
        mine = seen[match.request.name]
        np.testing.assert_array_equal(mine.data, own[0].data)
        history = " ".join(str(mine.ext_hdr["HISTORY"]).split("\n"))
        assert mine.ext_hdr["DARKFILE"] == match.entry.name
        assert match.entry.sha256 in history.replace(" ", "")


def test_frames_that_would_become_one_file_are_refused(
    night: Night, library: Library, tmp_path: Path
) -> None:
    library.add(night.maps)
    library.certify(library.add(night.dark).id)
    low, high = night.stack(1.0)[0].filepath, night.stack(300.0)[0].filepath  # of two products
    (tmp_path / "other").mkdir()
    twin = shutil.copy(high, tmp_path / "other" / Path(low).name)
    found = subtract_by_library(library, Dataset([low, twin]))
    assert len(found.shares) == 2
    with pytest.raises(InputError, match="2 frames have this name"):
        found.save(tmp_path / "less")
    assert not (tmp_path / "less").exists()


def test_a_frame_without_a_product_is_an_error_that_says_what_would_make_it(
    night: Night, library: Library
) -> None:
    library.add(night.dark)
    with pytest.raises(InputError, match="emdarks noisemaps DARKS --add DIR") as caught:
        subtract_by_library(library, night.frames)
    assert "emdarks dark DARKS --gain 1 --exptime 2 --add DIR" in str(caught.value)
    assert "(and 42 more frames without one)" in str(caught.value)


def test_a_product_that_changed_is_not_used(night: Night, library: Library) -> None:
    entry = library.add(night.maps)
    content = bytearray(library.file(entry).read_bytes())
    content[-3000] ^= 1
    library.file(entry).write_bytes(content)
    with pytest.raises(InputError, match=r"is not as it was added \(other bytes\)"):
        list(subtract_by_library(library, night.frames))
    library.file(entry).write_bytes(content[:-2880])
    with pytest.raises(InputError, match="bytes instead of"):
        library.find(night.frames)


def test_raw_frames_get_their_calibrations(tmp_path: Path, library: Library) -> None:
    raw = RawCampaign.small(tmp_path / "raw")
    maps = calibrate_darks_lsq(raw.files(), None)
    maps.save(tmp_path, "maps.fits")
    wanted = subtract_dark(_prepared(raw, tmp_path / "maps.fits"), tmp_path / "maps.fits")
    frames = Dataset(raw.paths)
    library.add(tmp_path / "maps.fits")
    with pytest.raises(InputError, match="no nonlinearity table for it"):
        subtract_by_library(library, frames)
    for name in ("nonlinearity.fits", "kgain.fits", "params.fits"):
        entry = library.add(raw.folder / name, camera="excam-small")
        library.certify(entry.id)
    (less,) = subtract_by_library(library, frames)
    for mine, other in zip(less, wanted, strict=True):
        np.testing.assert_array_equal(mine.data, other.data)
        np.testing.assert_array_equal(mine.dq, other.dq)
    history = str(less[0].ext_hdr["HISTORY"]).replace("\n", "")
    for words in ("dark", "nonlinearity", "kgain", "detector params", "offset"):
        assert f"From the library, {words}: product" in history


def test_a_dark_of_raw_frames_goes_with_its_own_bias_offset(
    tmp_path: Path, library: Library
) -> None:
    """Not with that of newer maps, even of the same name."""
    raw = RawCampaign.small(tmp_path / "raw")
    maps = calibrate_darks_lsq(raw.files(), None)
    maps.save(tmp_path, "maps.fits")
    gain = Dataset(raw.paths)[-1].ext_hdr["EMGAIN_C"]
    last = [f for f in _prepared(raw, tmp_path / "maps.fits") if f.ext_hdr["EMGAIN_C"] == gain]
    time = last[-1].ext_hdr["EXPTIME"]
    dark = build_trad_dark([f for f in last if f.ext_hdr["EXPTIME"] == time], None)
    dark.save(tmp_path, "dark.fits")
    (tmp_path / "newer").mkdir()
    newer = changed(
        tmp_path / "maps.fits", tmp_path / "newer" / "maps.fits", B_O=3.0, DRPCTIME="2040-01-01"
    )
    for name in ("nonlinearity.fits", "kgain.fits", "params.fits"):
        library.add(raw.folder / name, camera="excam-small")
    library.certify(library.add(tmp_path / "dark.fits").id)
    library.add(newer)
    frames = Dataset(raw.paths[-1:])
    with pytest.raises(InputError, match=r"1 not maps\.fits \(.* DN\), whose bias .*--offset MAPS"):
        subtract_by_library(library, frames)
    own = library.add(tmp_path / "maps.fits")
    (less,) = subtract_by_library(library, frames)
    assert less[0].ext_hdr["BIASOFFV"] == maps.ext_hdr["B_O"]
    assert f"offset: product {own.id} (" in str(less[0].ext_hdr["HISTORY"]).replace("\n", "")


def _prepared(raw: RawCampaign, maps: Path) -> Dataset:
    from emdarks.frames import prepare_frames

    names = {"nonlinearity": "nonlinearity", "kgain": "kgain", "detector_params": "params"}
    files = {name: raw.folder / f"{file}.fits" for name, file in names.items()}
    return prepare_frames(Dataset(raw.paths), offset=maps, **files)


# Checks


def test_a_good_library_has_no_findings(night: Night, library: Library) -> None:
    library.add(night.maps)
    library.add(night.dark, copy=False)
    assert check_library(library.folder) == []


def test_check_says_what_happened_behind_its_back_and_mends_it(
    night: Night, library: Library, tmp_path: Path
) -> None:
    moved, gone, spoilt = (library.add(path) for path in (night.maps, night.dark, night.bad))
    (library.folder / "sub").mkdir()
    library.file(moved).rename(library.folder / "sub" / "m.fits")
    library.file(gone).unlink()
    with library.file(spoilt).open("r+b") as file:
        file.write(b"simple")
    changed(night.maps, library.folder / "new.fits", OBSERVER="B")
    (library.folder / "odd.fits").write_text("no FITS")

    found = check_library(library.folder)
    assert sorted((f.severity, f.topic) for f in found) == [
        ("problem", "changed"),
        ("problem", "gone"),
        ("problem", "moved"),
        ("warning", "unknown"),
        ("warning", "unknown"),
    ]
    assert check_library(library.folder) == found  # it only looked

    check_library(library.folder, mend=True)
    assert library.show(moved.id).path == "sub/m.fits"
    assert library.show(gone.id).rejected == "its file is gone"
    assert library.show(spoilt.id).rejected == "its file has changed"
    assert [entry.name for entry in library.list()][3:] == ["new.fits"]
    left = check_library(library.folder)
    assert {f.severity for f in left} == {"note", "warning"}
    assert [f.text for f in left if f.severity == "warning"] == [
        "odd.fits lies in the library and is not in its index."
    ]
    # What was brought back is as it was.
    shutil.copy(night.dark, library.folder)
    library.certify(gone.id)
    assert [f.topic for f in check_library(library.folder)] == ["unknown", "changed"]


def test_a_damaged_index_is_made_anew(night: Night, library: Library) -> None:
    entries = [library.add(path) for path in (night.maps, night.dark, night.bad)]
    library.reject(entries[1].id, "light")
    path = library.folder / "library.sqlite"
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)  # the page of the products
    path.write_bytes(content)
    (problem,) = check_library(library.folder)
    assert (problem.severity, problem.topic) == ("problem", "index")
    check_library(library.folder, mend=True)
    assert {f.severity for f in check_library(library.folder)} <= {"note"}
    again = Library(library.folder)
    assert {entry.sha256 for entry in again.list()} == {entry.sha256 for entry in entries}
    assert (library.folder / "library.sqlite.damaged").is_file()


# Other places


def test_databases_of_corgidrp_come_and_go(night: Night, library: Library, tmp_path: Path) -> None:
    for path in (night.maps, night.dark, night.bad):
        library.add(path)
    rejected = library.add(changed(night.dark, tmp_path / "other.fits", OBSERVER="B"))
    library.reject(rejected.id, "light")
    export_caldb(library, tmp_path / "caldb.csv")
    rows = list(csv.DictReader((tmp_path / "caldb.csv").read_text().splitlines()))
    assert [row["Type"] for row in rows] == ["DetectorNoiseMaps", "Dark", "BadPixelMap"]
    dark = rows[1]
    assert (float(dark["EXPTIME"]), float(dark["EMGAIN_C"])) == (50.0, 300.0)
    assert (dark["PC_STAT"], dark["Hash"]) == ("analog master dark", "")
    assert Path(dark["Filepath"]).is_absolute()
    with (tmp_path / "caldb.csv").open("a") as file:
        file.write("/none.fits,FlatField\n/none.fits,Dark\n")
    other = Library.init(tmp_path / "other")
    found = import_caldb(other, tmp_path / "caldb.csv")
    assert {e.sha256 for e in found.entries} == {e.sha256 for e in library.list()[:3]}
    assert found.others == [("/none.fits", "FlatField")]
    assert [file for file, _ in found.refused] == ["/none.fits"]
    assert not list(other.folder.glob("*.fits"))
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is no calibration database"):
        import_caldb(other, tmp_path / "no.csv")


# The command line


def test_the_commands_from_frames_to_frames(night: Night, tmp_path: Path) -> None:
    folder, darks = tmp_path / "library", night.folder / "darks"
    steps = (
        ("library", "init", folder),
        ("noisemaps", darks, "--add", folder),
        ("badpixels", night.maps, "--add", folder, "-o", tmp_path / "bad.fits"),
        ("dark", darks, "--gain", 300, "--exptime", 50, "--add", folder),
        ("library", "certify", folder, 1, "--from", "2026-01-01", "--why", "good"),
        ("library", "find", folder, darks),
        ("library", "show", folder, 1),
        ("library", "list", folder, "--kind", "dark"),
        ("subtract", darks, "--library", folder, "-o", tmp_path / "less"),
        ("library", "export", folder, "--corgidrp", "-o", tmp_path / "caldb.csv"),
        ("library", "import", folder, tmp_path / "caldb.csv"),
        ("library", "check", folder),
        ("library", "remove", folder, 2, "--why", "a trial"),
    )
    found = {}
    for step in steps:
        done = run(*step, "--json", "--quiet")
        assert done.exit_code == 0, (step, done.output)
        found[step[:2]] = json.loads(done.stdout)
    assert found["library", "find"]["frames"][0]["product"] == 1
    assert found["library", "find"]["frames"][0]["rules"][-1]["words"].startswith("1 certified")
    assert found["library", "check"] == {"findings": []}
    assert found["library", "show"]["history"][1]["why"] == "good"
    assert len(list((tmp_path / "less").glob("*.fits"))) == len(night.frames)
    assert (tmp_path / "bad.fits").is_file()
    for step in steps[5:8]:  # for people
        done = run(*step)
        assert done.exit_code == 0
        assert "maps" in done.output or "dark" in done.output


def test_raw_frames_by_commands(tmp_path: Path) -> None:
    """Beside them lies ``emdarks.toml``, which names their calibrations."""
    raw, folder = RawCampaign.small(tmp_path / "raw").folder, tmp_path / "library"
    files = [raw / name for name in ("nonlinearity.fits", "kgain.fits", "params.fits")]
    for step in (
        ("library", "init", folder),
        ("noisemaps", raw, "--add", folder),
        ("library", "add", folder, *files, "--camera", "excam-small"),
        ("library", "find", folder, raw, "--kind", "k-gain"),
        ("library", "find", folder, raw),
        ("subtract", raw, "--library", folder, "-o", tmp_path / "less"),
    ):
        done = run(*step, "--quiet")
        assert done.exit_code == 0, (step, done.output)
    assert len(list((tmp_path / "less").glob("*.fits"))) == 27


def test_a_frame_that_gets_nothing_ends_with_1(night: Night, library: Library) -> None:
    done = run("library", "find", library.folder, night.folder / "darks", "--json")
    assert done.exit_code == 1
    first = json.loads(done.stdout)["frames"][0]
    assert first["product"] is None
    assert math.isnan(first["predicted_error_e"] or math.nan)
    assert "emdarks noisemaps DARKS --add DIR" in first["missing"]


def test_one_file_that_is_refused_does_not_hinder_the_others(
    night: Night, library: Library
) -> None:
    done = run("library", "add", library.folder, night.frames[0].filepath, night.dark, "--json")
    assert done.exit_code == 1
    assert "is no product that a library keeps" in done.output
    assert [entry.name for entry in library.list()] == [night.dark.name]


def test_what_goes_together_is_said(night: Night, library: Library) -> None:
    for arguments, words in (
        (("subtract", "x", "-o", "y"), "give either --dark or --library"),
        (("subtract", "x", "-o", "y", "--dark", "d", "--days", "3"), "--days goes with --library"),
        (("noisemaps", "x"), "give --output, or a library"),
        (("library", "certify", "x", "1", "--reject", "a", "--to", "b"), "give one of --reject"),
        (("library", "export", "x", "-o", "y"), "say the format: --corgidrp"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2
        assert words in done.output


def test_a_product_with_a_problem_is_kept_and_not_used(
    night: Night, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames took a night: it is not lost because a check found something."""

    def spoilt(view: Any) -> Iterator[Finding]:
        yield Finding("problem", "planes", "Nothing of this is right.")

    monkeypatch.setattr("emdarks.library.entry.NOISE_MAPS", (spoilt,))
    done = run("noisemaps", night.folder / "darks", "--add", library.folder)
    assert done.exit_code == 0, done.output
    assert "Nothing of this is right." in done.output
    (entry,) = library.list()
    assert "Nothing of this is right." in entry.rejected
