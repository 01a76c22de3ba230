"""Bad products, cameras, arrays and outputs: one line, nothing written, no silent wrong result."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from validation.hostile_campaign import CAMERA, write_good
from validation.hostile_run import Outcome, invoke, same_planes

from emdarks.cameras import load_camera
from emdarks.darks import mean_combine
from emdarks.data import Dark, Dataset, DetectorNoiseMaps, Image
from emdarks.errors import EmdarksWarning, InputError, InputTypeError
from emdarks.fits import packed, unpacked

pytestmark = pytest.mark.filterwarnings("default::emdarks.errors.EmdarksWarning")

Change = Callable[[fits.HDUList], Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames, noise maps and a dark made of them."""
    folder = tmp_path_factory.mktemp("good")
    write_good(folder)
    camera = ["--camera", str(folder / "camera.toml")]
    maps, dark = str(folder / "maps.fit"), str(folder / "dark.fit")
    frames = f"{folder}/frame_*.fits"
    assert invoke(["noisemaps", frames, "-o", maps, *camera], folder).exit_code == 0
    options = ["--gain", "2000", "--exptime", "80", "-o", dark, *camera]
    assert invoke(["synthesize", maps, *options], folder).exit_code == 0
    return folder


def changed(source: Path, target: Path, change: Change) -> Path:
    with fits.open(source, memmap=False) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for hdu in hdus:
            _ = hdu.data
        made = change(hdus)
        fits.HDUList(list(hdus if made is None else made)).writeto(target, output_verify="ignore")
    return target


def without(name: str) -> Change:
    return lambda hdus: [hdu for hdu in hdus if hdu.name != name]


def put(name: str | int, change: Callable[[Any], Any]) -> Change:
    def act(hdus: fits.HDUList) -> None:
        index = hdus.index_of(name)
        hdus[index] = fits.ImageHDU(change(hdus[index].data), hdus[index].header)

    return act


def card(keyword: str, value: Any) -> Change:
    return lambda hdus: hdus[1].header.__setitem__(keyword, value)


def column(name: str, value: float | None) -> Change:
    def act(hdus: fits.HDUList) -> None:
        table = unpacked(hdus["STACKS"])
        if value is None:
            kept = [each for each in table.columns if each.name != name]
            table = fits.BinTableHDU.from_columns(kept, name="STACKS")
        else:
            table.data[name] = value
        hdus["STACKS"] = packed(table)

    return act


BAD_MAPS: dict[str, tuple[Change, str]] = {
    **{
        f"cut before {name}": (without(name), f"has no {name}, which .* cut short")
        for name in ("ERR", "DQ", "SIGNED", "CORR", "NBAD", "STACKS", "INPUTS")
    },
    **{
        f"{name} of another shape": (put(name, lambda d: d[..., :-1]), f"{name} has shape")
        for name in ("SIGNED", "CORR", "CHI2", "NSTACKS")
    },
    "SIGNED twice": (lambda h: [*h, h["SIGNED"].copy()], "more than one HDU named SIGNED"),
    "only NaN": (put(1, lambda d: d * np.nan), "no pixel is good"),
    "only huge errors": (put("ERR", lambda d: np.full(d.shape, 1e300)), "no pixel is good"),
    "correlations of 1e300": (put("CORR", lambda d: np.full(d.shape, 1e300)), "no pixel is good"),
    "no column GOOD": (column("GOOD", None), "STACKS has no column GOOD"),
    "no good frames": (column("GOOD", np.nan), "values in its column GOOD"),
    "EM gain 0": (column("EMGAIN", 0.0), "values in its column EMGAIN"),
    "STACKS an image": (put("STACKS", lambda d: np.zeros((3, 4))), "STACKS is no table"),
    "STACKS cut": (put("STACKS", lambda d: d[:, :-1]), "STACKS is no table"),
    "STACKS no bytes": (put("STACKS", lambda d: d + 300.0), "STACKS is no table"),
    "INPUTS cut": (put("INPUTS", lambda d: d[:, :-1]), "INPUTS is no table"),
    "INPUTS without names": (
        lambda h: h["INPUTS"].header.set("COL1", "NAME"),
        "INPUTS has no column FILENAME",
    ),
    "a word as B_O": (card("B_O", "x"), "B_O is 'x', which is not a finite number"),
    "a later format": (card("FMTVERS", 99), "is of format 99"),
    "in DN": (card("BUNIT", "DN"), "is in 'DN'"),
    "planes swapped": (put(1, lambda d: d[::-1]), "negative values.*in this order"),
}


def refused(outcome: Outcome, words: str, file: str) -> None:
    assert outcome.escaped == ""
    assert outcome.exit_code == 1, outcome.text
    assert outcome.written == ()
    errors = [line for line in outcome.text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, outcome.text
    assert file in errors[0]
    assert re.search(words, errors[0]), errors[0]


def commands(good: Path, product: Path, folder: Path) -> list[list[str]]:
    camera = ["--camera", str(good / "camera.toml")]
    output = ["-o", str(folder / "made"), *camera]
    return [
        ["synthesize", str(product), "--gain", "100", "--exptime", "20", *output],
        ["subtract", str(good / "frame_20.fits"), "--dark", str(product), *output],
        ["badpixels", str(product), *output],
    ]


@pytest.mark.parametrize("name", BAD_MAPS)
def test_bad_noise_maps(name: str, good: Path, tmp_path: Path) -> None:
    change, words = BAD_MAPS[name]
    spoilt = changed(good / "maps.fit", tmp_path / "spoilt.fits", change)
    for arguments in commands(good, spoilt, tmp_path):
        refused(invoke(arguments, tmp_path), words, "spoilt.fits")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("ERR"), "has no ERR"),
        (card("EXPTIME", "x"), "EXPTIME is 'x'"),
        (card("EMGAIN_A", "x"), "EMGAIN_A is 'x'"),
        (card("BUNIT", "DN"), "is in 'DN'"),
        (put(1, lambda d: np.full(d.shape, 1e300)), "no pixel is good"),
    ],
)
def test_bad_darks(change: Change, words: str, good: Path, tmp_path: Path) -> None:
    spoilt = changed(good / "dark.fit", tmp_path / "spoilt.fits", change)
    for arguments in commands(good, spoilt, tmp_path)[1:]:
        refused(invoke(arguments, tmp_path), words, "spoilt.fits")


def test_single_bad_pixels_of_a_product_are_flagged_and_counted(good: Path, tmp_path: Path) -> None:
    spoilt = changed(good / "dark.fit", tmp_path / "spoilt.fits", spoil_dark)
    with pytest.warns(EmdarksWarning, match=r"spoilt.fits: 5 values are not finite.*flag 1"):
        dark = Dark(spoilt)
    whole = Dark(good / "dark.fit")
    bad = np.zeros(dark.data.shape, bool)
    bad[3, :3] = bad[5, :2] = True
    assert ((dark.dq & 1) == bad).all()
    assert np.isnan(dark.data[3, :3]).all()
    assert np.isnan(dark.err[0, 5, :2]).all()
    assert np.array_equal(dark.data[~bad], whole.data[~bad])


def spoil_dark(hdus: fits.HDUList) -> None:
    hdus[1].data[3, :3] = np.inf, 1e30, np.nan
    hdus["ERR"].data[0, 5, :2] = -1.0, np.inf


def test_maps_of_others_may_lack_what_is_ours(good: Path, tmp_path: Path) -> None:
    def strip(hdus: fits.HDUList) -> list[Any]:
        for keyword in ("FMTVERS", "CREATOR"):
            del hdus[1].header[keyword]
        return [hdus[0], hdus[1]]

    stripped = changed(good / "maps.fit", tmp_path / "other.fits", strip)
    with pytest.warns(EmdarksWarning, match="has no ERR and no DQ: its errors count as 0"):
        maps = DetectorNoiseMaps(stripped)
    assert maps.planes_for_darks()[1] == "the published maps"


def test_outputs_spare_what_is_read(good: Path, tmp_path: Path) -> None:
    camera = tmp_path / "camera.toml"
    camera.write_text(CAMERA)
    maps, frame = tmp_path / "maps.fits", tmp_path / "frame_20.fits"
    maps.write_bytes((good / "maps.fit").read_bytes())
    frame.write_bytes((good / "frame_20.fits").read_bytes())
    (tmp_path / "link.fits").symlink_to(maps)
    options = ["--camera", str(camera), "--overwrite"]
    setting = ["--gain", "5", "--exptime", "5"]
    for arguments in (
        ["synthesize", str(maps), *setting, "-o", str(maps)],
        ["synthesize", str(maps), *setting, "-o", str(tmp_path / "link.fits")],
        ["synthesize", str(maps), *setting, "-o", str(camera)],
        ["synthesize", str(maps), "--like", str(frame), "-o", str(frame)],
        ["badpixels", str(maps), "-o", str(maps)],
        ["report", str(maps), "-o", str(maps)],
        ["report", str(good / "maps.fit"), "--against", str(maps), "-o", str(maps)],
    ):
        refused(invoke([*arguments, *options], tmp_path), "is read by this command", "")
    other = tmp_path / "frames"
    other.mkdir()
    named_alike = other / "maps.fits"
    named_alike.write_bytes(frame.read_bytes())
    over_dark = ["subtract", str(named_alike), "--dark", str(maps), "-o", str(tmp_path)]
    refused(invoke([*over_dark, *options], tmp_path), "or the dark", "maps.fits")


def test_masked_entries_of_arrays_count_as_masked() -> None:
    rng = np.random.default_rng(5)
    frames = rng.normal(100, 5, (4, 5, 7))
    mask = np.zeros(frames.shape, bool)
    mask[0, 2, 3] = mask[:, 4, 6] = True
    spoilt = np.where(mask, 1e6, frames)
    expected = mean_combine(frames, mask.astype(int))
    given = mean_combine(list(np.ma.masked_array(spoilt, mask)), np.zeros(frames.shape, int))
    for one, other in zip(given, expected, strict=True):
        assert np.array_equal(one, other)
    header = fits.Header
    pairs = zip(spoilt, mask, strict=True)
    images = [Image(np.ma.masked_array(f, m), header(), header()) for f, m in pairs]
    assert np.array_equal(mean_combine(Dataset(images), None)[0], expected[0])


@pytest.mark.parametrize(
    "values", [np.ones((3, 4), complex), np.ones((3, 4), "M8[s]"), [[1, 2], [3]], [["a"]]]
)
def test_arrays_of_no_numbers_are_refused(values: Any) -> None:
    with pytest.raises(InputError, match="image: data"):
        Image(values, fits.Header(), fits.Header())
    with pytest.raises(InputTypeError):
        mean_combine([values], [np.zeros((3, 4), int)])


@pytest.mark.parametrize("frames", [None, 5, [None], [5], ["a.fits", Image], [b"a.fits"]])
def test_datasets_of_no_frames_are_refused(frames: Any) -> None:
    with pytest.raises(InputError, match="dataset"):
        mean_combine(Dataset(frames), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"a = {'[' * 5000}", "is not valid TOML"),
        (CAMERA.replace("rows = 17", f"rows = {'9' * 5000}"), "is not valid TOML"),
        (CAMERA.replace("frame_rows = 23", "frame_rows = 2000000000"), "no camera has more"),
        (CAMERA.replace("frame_rows = 23", "frame_rows = true"), "not a number of pixels"),
    ],
)
def test_camera_files_that_break_parsers(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "camera.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_camera(str(path))
    assert "camera.toml: " in str(caught.value)


def test_names_do_nothing_to_the_terminal(good: Path, tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\nerror: b.fits").write_text("x")
    outcome = invoke(["inspect", str(tmp_path)], tmp_path)
    assert outcome.exit_code == 1
    assert "\x1b" not in outcome.text
    assert "a\\x1b[31m\\nerror: b.fits" in outcome.text
    outcome = invoke(["dark", str(tmp_path), "-o", str(tmp_path / "d.fits")], tmp_path)
    refused(outcome, "cannot be read as FITS", "a\\x1b[31m\\nerror: b.fits")


@pytest.mark.parametrize(
    "arguments",
    [
        ["synthesize", "MAPS", "--gain", "5", "--exptime", "1e308"],
        ["synthesize", "MAPS", "--gain", "1e308", "--exptime", "5"],
        ["synthesize", "MAPS", "--gain", "5", "--exptime", "5", "--kgain", "inf"],
        ["noisemaps", "FRAMES", "--kgain", "1e-308"],
        ["noisemaps", "FRAMES", "--kgain", "1e308"],
    ],
)
def test_numbers_beyond_floating_point(arguments: list[str], good: Path, tmp_path: Path) -> None:
    known = {"MAPS": str(good / "maps.fit"), "FRAMES": f"{good}/frame_*.fits"}
    full = [known.get(word, word) for word in arguments]
    options = ["-o", str(tmp_path / "made.fits"), "--camera", str(good / "camera.toml")]
    refused(invoke([*full, *options], tmp_path), "1e\\+?-?308|inf", "")


def test_flags_with_the_highest_bit_are_kept(tmp_path: Path) -> None:
    dq = np.zeros((3, 4), np.int64)
    dq[1, 2] = np.iinfo(np.int64).min
    image = Image(np.zeros((3, 4)), fits.Header(), fits.Header(), dq=dq)
    image.save(tmp_path, "a.fits")
    assert np.argwhere(Image(tmp_path / "a.fits").dq).tolist() == [[1, 2]]


def test_a_damaged_mark_of_a_checkpoint(good: Path, tmp_path: Path) -> None:
    folder, made = tmp_path / "kept", tmp_path / "maps.fits"
    options = ["--checkpoint", str(folder), "--camera", str(good / "camera.toml"), "--overwrite"]
    arguments = ["noisemaps", f"{good}/frame_*.fits", "-o", str(made), *options]
    assert invoke(arguments, tmp_path).exit_code == 0
    marks = [path for path in folder.iterdir() if path.suffix != ".npz"]
    assert marks
    for path in folder.iterdir():
        path.write_bytes(b"\x80\xff\x00" * 50)
    outcome = invoke(arguments, tmp_path)
    assert (outcome.exit_code, outcome.escaped) == (0, "")
    assert "is no whole block of a checkpoint" in outcome.text
    assert same_planes(made, good / "maps.fit")
