"""Frames of another camera: which cameras are suggested, and a camera file to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from emdarks import build_trad_dark, calibrate_darks_lsq, check_darks, inspect_campaign
from emdarks.cameras import BUILTIN, load_camera, read_record
from emdarks.cameras.load import _parse
from emdarks.cameras.matching import cameras_that_fit
from emdarks.cameras.template import NewFrame, new_camera_text
from emdarks.cli.app import app
from emdarks.data import Dataset, Image
from emdarks.errors import MissingKeywordError
from emdarks.frames import frames_where
from emdarks.simulate import Campaign, Effects, StackPlan
from emdarks.simulate.headers import plain_header

pytestmark = pytest.mark.usefixtures("coarse_pictures")

SHAPE = (24, 33)
#: Cards as Andor Solis exports them, and as an invented camera of a laboratory writes them.
SOLIS: dict[str, Any] = {
    "EXPOSURE": 0.03,
    "GAIN": 750,
    "SNTVTY": 5.1,
    "TEMP": "-80,5",
    "DATE-OBS": "2026-01-01T00:00:00",
    "READTIME": 1e-7,
    "PREAMP": 2.0,
    "OUTPTAMP": "Electron Multiplying",
    "SERNO": 7,
    "ACQMODE": "Kinetics",
    "HBIN": 1,
    "VBIN": 1,
}
LAB: dict[str, Any] = {"EXPTIME": 2.5, "EMGAIN": 40, "TEMP": -80.0, "DATE-OBS": "2026-01-01"}
VAMPIRES: dict[str, Any] = {"EXPTIME": 1.0, "U_EMGAIN": 300, "U_CAMERA": 1, "DATA-TYP": "DARK"}


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(path: Path, cards: dict[str, Any], pixels: Any = None) -> Path:
    data = np.full(SHAPE, 307, np.uint16) if pixels is None else pixels
    hdu = fits.PrimaryHDU(data)
    hdu.header.update(cards)
    hdu.writeto(path)
    return path


def folder(path: Path, cards: dict[str, Any], count: int = 3) -> Path:
    path.mkdir()
    for i in range(count):
        write(path / f"d{i}.fits", cards)
    return path


# ---------------------------------------------------------------- which camera fits


def test_cameras_are_ranked_by_the_keywords_found() -> None:
    assert [fit[:] for fit in cameras_that_fit((SOLIS, {}), SHAPE)] == [
        ("ixon-solis", 12, 15),
        ("shoc", 12, 16),
    ]
    # EXPTIME, U_EMGAIN, U_CAMERA and DATA-TYP of nine; with the crop it is enough.
    assert not cameras_that_fit((VAMPIRES, {}), SHAPE)
    crop = {"PRD-MIN1": 0}
    assert [fit[:] for fit in cameras_that_fit((crop, VAMPIRES), SHAPE)] == [("ixon-897", 5, 9)]


def test_what_a_camera_cannot_do_without_must_be_there() -> None:
    for needed in ("EXPOSURE", "GAIN"):
        cards = {key: value for key, value in SOLIS.items() if key != needed}
        assert not cameras_that_fit((cards, {}), SHAPE)
    # Without SNTVTY the table of SHOC may still tell the electrons per DN.
    cards = {key: value for key, value in SOLIS.items() if key != "SNTVTY"}
    assert [fit.name for fit in cameras_that_fit((cards, {}), SHAPE)] == ["shoc"]
    assert not cameras_that_fit((LAB, {}), SHAPE)


def test_a_frame_larger_than_the_detector_is_not_of_that_camera() -> None:
    assert cameras_that_fit((SOLIS, {}), (1024, 1024))
    assert not cameras_that_fit((SOLIS, {}), (1025, 1024))


# ---------------------------------------------------------------- what is said


@pytest.mark.parametrize("command", ["inspect", "noisemaps", "dark", "check", "subtract", "report"])
def test_every_command_suggests_the_cameras_in_one_line(command: str, tmp_path: Path) -> None:
    darks = folder(tmp_path / "night", SOLIS)
    more = {
        "noisemaps": ["-o", tmp_path / "maps.fits"],
        "dark": ["-o", tmp_path / "dark.fits"],
        "subtract": ["--dark", darks / "d0.fits", "-o", tmp_path / "less"],
        "report": ["-o", tmp_path / "page.html"],
    }
    done = run(command, darks, *more.get(command, []))
    assert done.exit_code == 1
    (line,) = [line for line in done.output.splitlines() if line.startswith("error")]
    first = darks / "d0.fits"
    assert line == (
        f"error: {first} and 2 more: no camera was given, and the header has no EMGAIN_C and no "
        "KGAINPAR, as frames of excam, the default, have; built-in cameras that fit it: "
        "ixon-solis (12 of 15 keywords), shoc (12 of 16 keywords); see how one reads it (emdarks "
        f'cameras ixon-solis {first}) and choose it (--camera ixon-solis, camera="ixon-solis"); '
        f"for any other: emdarks cameras --new NAME {first}"
    )


def test_frames_that_no_built_in_camera_fits(tmp_path: Path) -> None:
    darks = folder(tmp_path / "night", LAB)
    done = run("inspect", darks, "--json")
    assert done.exit_code == 1
    assert "0 x 0" not in done.output
    assert f"no built-in camera fits it: emdarks cameras --new NAME {darks}/d0.fits" in done.output


def test_a_wrong_camera_does_not_make_frames_of_no_pixels(tmp_path: Path) -> None:
    darks = folder(tmp_path / "night", LAB)
    done = run("inspect", darks, "--camera", "shoc")
    assert done.exit_code == 1
    assert "3 frames, none of them usable, camera shoc, 0 stacks" in done.output
    page = tmp_path / "page.html"
    assert run("report", darks, "--camera", "shoc", "-o", page).exit_code == 0
    assert "3 frames, none usable" in page.read_text()
    assert "0 × 0" not in page.read_text()


@pytest.mark.parametrize("use", [calibrate_darks_lsq, build_trad_dark])
def test_functions_that_take_parameters_say_the_same(use: Any, tmp_path: Path) -> None:
    frames = Dataset(sorted(folder(tmp_path / "night", SOLIS).iterdir()))
    with pytest.raises(MissingKeywordError, match=r"ixon-solis \(12 of 15 keywords\), shoc"):
        use(frames, None)


@pytest.mark.parametrize(
    "use", [inspect_campaign, check_darks, lambda frames: frames_where(frames, {"rate": 10})]
)
def test_functions_say_the_same(use: Any, tmp_path: Path) -> None:
    frames = Dataset(sorted(folder(tmp_path / "night", SOLIS).iterdir()))
    with pytest.raises(MissingKeywordError, match=r"ixon-solis \(12 of 15 keywords\), shoc"):
        use(frames)


def test_frames_in_memory_and_cards_of_unknown_cameras() -> None:
    header = fits.Header()
    header["CAMERA"] = "our own"
    frames = Dataset([Image(np.zeros((5, 7)), fits.Header(), header)])
    with pytest.raises(MissingKeywordError, match="says 'our own': give that camera's file"):
        inspect_campaign(frames)


def test_one_damaged_frame_among_good_ones_is_still_a_bad_frame(tmp_path: Path) -> None:
    bare = write(tmp_path / "a.fits", {})
    excam = {"EXPTIME": 2.0, "EMGAIN_C": 10.0, "KGAINPAR": 8.7}
    good = [write(tmp_path / f"b{i}.fits", excam) for i in range(2)]
    summary = inspect_campaign(Dataset([bare, *good]))
    assert [stack.frames for stack in summary.stacks] == [2]
    with pytest.raises(MissingKeywordError, match=r"a\.fits: the header has no KGAINPAR; add it"):
        build_trad_dark(Dataset([bare, *good]), None)


# ---------------------------------------------------------------- a file to start from


def made(tmp_path: Path, cards: dict[str, Any], pixels: Any = None) -> tuple[Any, Path, Path]:
    frame = write(tmp_path / "first.fits", cards, pixels)
    path = tmp_path / "mine.toml"
    done = run("cameras", "--new", tmp_path / "mine", frame, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    lines = path.read_text().splitlines()
    assert [i for i, line in enumerate(lines, 1) if "FILL IN" in line and i > 3] == result[
        "lines_to_fill_in"
    ]
    return result, path, frame


def test_a_new_file_of_a_laboratory_waits_for_the_sensitivity(tmp_path: Path) -> None:
    _, path, frame = made(tmp_path, LAB)
    camera = load_camera(str(path))
    assert (camera.name, camera.frames.layout, camera.frames.dtype) == ("mine", "single", "uint16")
    assert camera.geometry["FULL"]["frame_rows"] == 24
    assert camera.geometry["FULL"]["frame_cols"] == 33
    done = run("cameras", path, frame)
    assert done.exit_code == 1  # nothing stands for electrons per DN
    assert "sensitivity: the header has no FILL-IN" in done.output
    record = read_record(camera, "a", SHAPE, (LAB, {}), k_gain=4.0)
    assert (record.exposure_time, record.em_gain, record.k_gain) == (2.5, 40.0, 4.0)
    assert (record.temperature, record.start) == (-80.0, 61041.0)
    with pytest.raises(MissingKeywordError, match="FILL-IN"):
        build_trad_dark(Dataset([frame]), None, camera=camera)
    path.write_text(
        path.read_text()
        .replace('sensitivity = "header"', 'sensitivity = "fixed"')
        .replace("# k_gain = 5.0", "k_gain = 4.5")
    )
    assert run("cameras", path, frame).exit_code == 0
    assert read_record(load_camera(str(path)), "a", SHAPE, (LAB, {})).k_gain == 4.5


def test_a_new_file_of_a_solis_export_can_be_used_as_it_is(tmp_path: Path) -> None:
    cards = SOLIS | {"IMAGETYP": "Dark", "BUNIT": "ADU"}
    _, path, frame = made(tmp_path, cards, np.zeros((3, *SHAPE), np.float32))
    camera = load_camera(str(path))
    assert (camera.frames.layout, camera.frames.dtype) == ("cube", "float32")
    assert run("cameras", path, frame).exit_code == 0
    record = read_record(camera, "a", SHAPE, (cards, {}))
    assert (record.exposure_time, record.em_gain, record.k_gain) == (0.03, 750.0, 5.1)
    assert (record.temperature, record.unit.value) == (-80.5, "DN")
    stale = read_record(camera, "a", SHAPE, (cards | {"OUTPTAMP": "Conventional"}, {}))
    assert stale.em_gain == 1.0
    assert dict(record.setting) | {"rate": "-"} == {
        "serial": "7",
        "rate": "-",
        "preamp": "2",
        "acquisition": "Kinetics",
        "horizontal_binning": "1",
        "vertical_binning": "1",
        "conventional": "F",
    }


def test_gain_is_never_guessed(tmp_path: Path) -> None:
    _, path, _ = made(tmp_path, {"EXPTIME": 1.0, "GAIN": 3.96})
    keywords = load_camera(str(path)).keywords
    assert (keywords.commanded_gain, keywords.k_gain) == (("FILL-IN",), ("FILL-IN",))
    assert "GAIN = 3.96 is the EM gain in some cameras, electrons per DN" in path.read_text()


@pytest.mark.parametrize(
    ("cards", "temperature", "start"),
    [
        ({"TCCD": 193.15, "MJD-OBS": 61041.25}, -80.0, 61041.25),
        ({"CCD-TEMP": -70.0, "JD": 2461041.75}, -70.0, 61041.25),
        ({"TEMP": -999, "DATE-OBS": "soon"}, np.nan, np.nan),
    ],
)
def test_units_of_temperature_and_date(
    cards: dict[str, Any], temperature: float, start: float, tmp_path: Path
) -> None:
    _, path, _ = made(tmp_path, LAB | {"TEMP": None, "DATE-OBS": None} | cards)
    camera = load_camera(str(path))
    record = read_record(
        camera, "a", SHAPE, (LAB | {"TEMP": None, "DATE-OBS": None} | cards, {}), k_gain=2
    )
    np.testing.assert_allclose([record.temperature, record.start], [temperature, start])


def test_a_frame_that_tells_nothing_gives_a_file_that_loads(tmp_path: Path) -> None:
    _, path, frame = made(tmp_path, {})
    assert load_camera(str(path)).keywords.exposure_time == ("FILL-IN",)
    assert run("cameras", path, frame).exit_code == 1


def test_texts_of_headers_and_names_cannot_break_the_file() -> None:
    cards = LAB | {"PREAMP": 'a"]\n[noise]\nread_noise = 1', "IMAGETYP": 'dark\\ "x"'}
    frame = NewFrame('x"\ny.fits', SHAPE, False, False, False, (cards,))
    name = 'q"\\\x1b\udc80'
    text = new_camera_text(name, frame)
    camera = _parse(text, "new", Path())
    assert camera.name == 'q"\\\x1b?'
    assert camera.noise.read_noise == 50.0
    assert camera.darks is not None
    assert camera.darks.values == ('dark\\ "x"',)


def test_nothing_is_replaced_and_no_built_in_name_is_taken(tmp_path: Path) -> None:
    frame = write(tmp_path / "first.fits", LAB)
    there = tmp_path / "mine.toml"
    there.write_text("kept")
    done = run("cameras", "--new", there, frame)
    assert done.exit_code == 1
    assert "mine.toml: exists; choose another name" in done.output
    assert there.read_text() == "kept"
    for name in BUILTIN:
        done = run("cameras", "--new", tmp_path / name, frame)
        assert done.exit_code == 1
        assert "is the name of a built-in camera" in done.output
    assert run("cameras", "--new", "only-a-name").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.fits", "mine.toml"]


def test_the_nuvu_camera_refuses_frames_without_electrons_per_dn() -> None:
    camera = load_camera("nuvu")
    cards = {"EXPTIME": 0.5, "EMGAIN": 3000, "CCD_TEMP": -85.0}
    with pytest.raises(MissingKeywordError, match="no EGAIN"):
        read_record(camera, "a", SHAPE, (cards, {}))
    record = read_record(camera, "a", SHAPE, (cards | {"EGAIN": 6.2}, {}))
    assert (record.em_gain, record.k_gain, record.temperature) == (3000.0, 6.2, -85.0)
    assert camera.noise.clock_induced_charge == 0.0015


@pytest.mark.parametrize("name", [name for name in BUILTIN if not name.startswith("excam")])
def test_the_camera_of_a_simulated_frame_is_suggested_first(name: str) -> None:
    camera = load_camera(name)
    camera = camera.in_mode(camera.modes[0].name) if camera.modes else camera
    campaign = Campaign((StackPlan(27.0, 4.25, 1),), camera, 0, "DN", Effects.none())
    header = plain_header(next(campaign.facts()), camera)
    best, *others = cameras_that_fit((header, {}), (31, 47))
    assert best.name == name
    assert all(best.found / best.known > other.found / other.known for other in others)
