"""subtract_dark: value, error and flags by formula, units, sections, what is refused, files."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from validation.subtract import Residual, residuals

from campaigns import COLS, REGIONS, ROWS, Campaign, SimpleDataset, frame_hdus, params, stand_in
from commands import run_command
from emdarks import subtract_dark
from emdarks.darks import build_synthesized_dark, build_trad_dark
from emdarks.data import Dark, Dataset, DetectorNoiseMaps, DetectorParams, Image
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits.pixels import FileSource
from emdarks.subtract import save_subtracted

IMAGE = np.s_[2:19, 18:33]
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def dark(quirky: Campaign) -> Dark:
    return build_trad_dark(quirky.stack(300.0, 50.0).files(), params(), REGIONS, True)


def frames_like(folder: Path, unit: str, scale: float, **more: Any) -> Dataset:
    """Two frames at gain 300 and 50 s whose numbers are electrons after the gain over scale."""
    rng = np.random.default_rng(8)
    paths = []
    for number in range(2):
        dq = np.where(rng.random((ROWS, COLS)) < 0.1, 128, 0).astype(np.uint16)
        hdus = frame_hdus(
            (rng.normal(900, 300, (ROWS, COLS)) / scale).astype(np.float32),
            gain=300.0, time=50.0, unit=unit, dq=dq, number=number,
            err=(rng.uniform(60, 90, (1, ROWS, COLS)) / scale).astype(np.float32), **more,
        )  # fmt: skip
        paths.append(folder / f"cgi_{number}_l2a.fits")
        hdus.writeto(paths[-1])
    return Dataset(paths)


@pytest.mark.parametrize(
    ("unit", "scale", "factor"),
    [
        ("DN", 8.7, 8.7 / 300.0),
        ("detected EM electron", 1.0, 1 / 300.0),
        ("detected electron", 300.0, 1.0),
    ],
)
def test_value_error_and_flags_by_formula(
    dark: Dark, tmp_path: Path, unit: str, scale: float, factor: float
) -> None:
    frames = frames_like(tmp_path, unit, scale)
    less = subtract_dark(frames, dark, params(), REGIONS)
    for frame, made in zip(frames, less, strict=True):
        np.testing.assert_allclose(
            made.data[:-1], factor * frame.data[:-1] - dark.data[:-1], rtol=1e-12, atol=1e-12
        )
        err = np.sqrt((factor * frame.err[0]) ** 2 + dark.err[0] ** 2)
        np.testing.assert_allclose(made.err[0, :-1], err[:-1], rtol=1e-12)
        assert made.err.shape == (1, ROWS, COLS)
        expected = frame.dq | dark.dq
        bad = ~np.isfinite(made.data) | ~np.isfinite(made.err[0])
        expected[bad] |= 1
        expected[-1] |= 1
        np.testing.assert_array_equal(made.dq, expected)
        assert dark.dq[3, 20] & 4
        assert made.dq[3, 20] & 5 == 5  # its error is not known
        assert np.isnan(made.err[0, 3, 20])


def test_telemetry_rows_pass_through_flagged(dark: Dark, tmp_path: Path) -> None:
    frames = frames_like(tmp_path, "DN", 8.7)
    made = subtract_dark(frames, dark, params(), REGIONS)[0]
    np.testing.assert_array_equal(made.data[-1], frames[0].data[-1])
    np.testing.assert_array_equal(made.err[0, -1], frames[0].err[0, -1])
    assert (made.dq[-1] & 1 == 1).all()
    # A dark of the reference has zeros there: the camera's rows count all the same.
    plain = dark.copy()
    plain.data[-1], plain.err[0, -1], plain.dq[-1] = 0.0, 0.0, 0
    again = subtract_dark(frames, plain, params(), REGIONS)[0]
    for name in ("data", "err", "dq"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    # And where nobody declares them, rows that the dark has no value for.
    none = subtract_dark(frames, dark, params(None), REGIONS)[0]
    np.testing.assert_array_equal(none.data, made.data)


def test_every_stack_gets_its_own_dark_in_the_order_of_the_frames(
    maps: DetectorNoiseMaps, quirky: Campaign
) -> None:
    frames = quirky.files()
    less = subtract_dark(frames, maps, params(), REGIONS)
    assert len({frame.setting for frame in less}) == 5
    for frame, made in zip(frames, less, strict=True):
        header = frame.ext_hdr
        alone = build_synthesized_dark([frame], maps, REGIONS, True)
        expected = frame.data / header["EMGAIN_C"] - alone.data
        np.testing.assert_allclose(made.data[:-1], expected[:-1], rtol=1e-12, atol=1e-12)
        assert (made.ext_hdr["DARKGAIN"], made.ext_hdr["DARKTIME"]) == (
            header["EMGAIN_C"],
            header["EXPTIME"],
        )
        assert made.filename == frame.filename


def test_files_memory_and_foreign_frames_give_the_same(
    maps: DetectorNoiseMaps, quirky: Campaign
) -> None:
    few = Campaign(quirky.paths[:3])
    kinds = [few.files(), few.memory(), few.foreign(True), few.foreign(False)]
    first, *others = [subtract_dark(frames, maps, params(), REGIONS) for frames in kinds]
    for other in others:
        for one, two in zip(first, other, strict=True):
            for name in ("data", "err", "dq"):
                np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_headers_say_what_was_done(maps: DetectorNoiseMaps, quirky: Campaign) -> None:
    frames = quirky.stack(300.0, 50.0).files()
    before = frames[0].ext_hdr.tostring()
    made = subtract_dark(frames, maps, params(), REGIONS)[0]
    ext = made.ext_hdr
    assert (ext["BUNIT"], made.err_hdr["BUNIT"]) == ("photoelectron", "photoelectron")
    assert ext["DARKFILE"] == maps.filename
    assert ext["DARKSYNT"] is True
    assert (ext["EXPTIME"], ext["EMGAIN_C"], ext["DATALVL"]) == (50.0, 300.0, "L2a")
    history = "".join(ext["HISTORY"])
    assert "F/g + C + t D with EM gain g = 300 and t = 50 s" in history
    assert "(detected EM electron) times 0.003333333333 to detected electrons" in history
    assert made.err_hdr["LAYER_1"] == "combined_error"
    assert "dark_error" in str(made.err_hdr["HISTORY"])
    assert frames[0].ext_hdr.tostring() == before


def test_a_measured_gain_counts(maps: DetectorNoiseMaps, quirky: Campaign) -> None:
    frames = quirky.stack(300.0, 50.0).memory()
    for frame in frames:
        frame.ext_hdr["EMGAIN_A"] = 310.0
    made = subtract_dark(frames, maps, params(), REGIONS)[0]
    expected = frames[0].data / 310.0 - maps.synthesize(310.0, 50.0).data
    np.testing.assert_allclose(made.data[:-1], expected[:-1], rtol=1e-12, atol=1e-12)


def test_k_gain_of_the_caller(dark: Dark, tmp_path: Path) -> None:
    frames = frames_like(tmp_path, "DN", 8.7)
    made = subtract_dark(frames, dark, params(), REGIONS, kgain=9.0)[0]
    expected = frames[0].data[0] * 9.0 / 300.0 - dark.data[0]
    np.testing.assert_allclose(made.data[0], expected, rtol=1e-12)


# Whole frames and image regions


def test_a_whole_frame_is_cut_to_a_dark_of_the_image_region(dark: Dark, tmp_path: Path) -> None:
    frames = frames_like(tmp_path, "detected electron", 300.0, cards={"CRPIX1": 30.0, "CRPIX2": 9})
    small = image_region_of(dark)
    made = subtract_dark(frames, small, params(), REGIONS)[0]
    whole = subtract_dark(frames, dark, params(), REGIONS)[0]
    assert made.shape == (17, 15)
    for name in ("data", "dq"):
        np.testing.assert_array_equal(getattr(made, name), getattr(whole, name)[IMAGE])
    np.testing.assert_array_equal(made.err[0], whole.err[0][IMAGE])
    assert (made.ext_hdr["CRPIX1"], made.ext_hdr["CRPIX2"]) == (12.0, 7)
    assert "Cut to the image region" in str(made.ext_hdr["HISTORY"])


def image_region_of(dark: Dark) -> Dark:
    """The image region of a dark."""
    small = dark.copy()
    small.data = dark.data[IMAGE]
    small.err, small.dq = dark.err[:, 2:19, 18:33], dark.dq[IMAGE]
    return small


def test_frames_of_the_image_region_meet_a_whole_dark(
    dark: Dark, maps: DetectorNoiseMaps, tmp_path: Path
) -> None:
    frame = frames_like(tmp_path, "detected electron", 300.0)[0]
    data = frame.data[IMAGE]
    cut = Image(
        data, fits.Header(), frame.ext_hdr, err=frame.err[:, 2:19, 18:33], dq=frame.dq[IMAGE]
    )
    made = subtract_dark(Dataset([cut]), dark, params(), REGIONS)[0]
    np.testing.assert_allclose(made.data, data - dark.data[IMAGE], rtol=1e-12)
    synthesised = subtract_dark(Dataset([cut]), maps, params(), REGIONS)[0]
    expected = data - maps.synthesize(300.0, 50.0).data[IMAGE]
    np.testing.assert_allclose(synthesised.data, expected, rtol=1e-12, atol=1e-12)


# What is refused


def change(dark: Dark, **cards: Any) -> Dark:
    changed = dark.copy()
    changed.ext_hdr.update(cards)
    return changed


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"EXPTIME": 60.0}, "exposure time 60 of the dark, 50 of the frame"),
        ({"EMGAIN_C": 200.0}, "EM gain 200 of the dark, 300 of the frame"),
        ({"KGAINPAR": -999.0}, "k-gain -999 of the dark, 8.7 of the frame"),
        ({"CAMERA": "excam-small"}, "comes from camera 'excam-small'.*'excam'"),
        ({"PC_STAT": "photon-counted master dark"}, "photon-counted dark"),
        ({"DATATYPE": "BadPixelMap"}, "neither a dark nor noise maps"),
    ],
)
def test_a_dark_that_does_not_match(
    dark: Dark, tmp_path: Path, cards: dict[str, Any], message: str
) -> None:
    frames = frames_like(tmp_path, "DN", 8.7)
    with pytest.raises(InputError, match=message):
        subtract_dark(frames, change(dark, **cards), params(), REGIONS)


def test_every_difference_is_named(dark: Dark, quirky: Campaign) -> None:
    with pytest.raises(InputError) as caught:
        subtract_dark(quirky.files(), dark, params(), REGIONS)
    text = str(caught.value)
    assert "does not match 5 of the frames, the first" in text
    assert "exposure time 50 of the dark, 2 of the frame; EM gain 300 of the dark, 1 of" in text


def test_shapes_that_do_not_fit(dark: Dark, maps: DetectorNoiseMaps, tmp_path: Path) -> None:
    frames = frames_like(tmp_path, "DN", 8.7)
    odd = dark.copy()
    odd.data, odd.err, odd.dq = odd.data[:5], odd.err[:, :5], odd.dq[:5]
    with pytest.raises(InputError, match="has 5 x 37 pixels, the frames 23 x 37"):
        subtract_dark(frames, odd, params(), REGIONS)
    odd = dark.copy()
    with pytest.raises(InputError, match="the camera's whole frames have 1200 x 2200"):
        subtract_dark(frames, image_region_of(odd), params())
    missing = dark.copy()
    del missing.ext_hdr["KGAINPAR"]
    with pytest.raises(InputError, match="header has no KGAINPAR"):
        subtract_dark(frames, missing, params(), REGIONS)


def test_a_dark_is_subtracted_once(maps: DetectorNoiseMaps, quirky: Campaign) -> None:
    once = subtract_dark(quirky.files()[:2], maps, params(), REGIONS)
    with pytest.raises(InputError, match=r"subtracted from it already \(as from 2 of 2"):
        subtract_dark(once, maps, params(), REGIONS)


def test_what_else_is_refused(maps: DetectorNoiseMaps, quirky: Campaign, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kgain is -1"):
        subtract_dark(quirky.files(), maps, params(), REGIONS, kgain=-1)
    DetectorParams({}).save(tmp_path, "params.fits")
    with pytest.raises(InputError, match="neither a dark nor noise maps"):
        subtract_dark(quirky.files(), tmp_path / "params.fits", params(), REGIONS)
    with pytest.raises(InputError, match="is no product of emdarks"):
        subtract_dark(quirky.files(), quirky.paths[0], params(), REGIONS)


def test_warnings_that_a_user_can_act_on(
    dark: Dark, maps: DetectorNoiseMaps, tmp_path: Path
) -> None:
    frames = frames_like(tmp_path, "DN", 8.7)
    with pytest.warns(EmdarksWarning, match=r"was taken at -60.00 degrees, frames at -88"):
        subtract_dark(frames, change(dark, EXCAMT=-60.0), params(), REGIONS)
    subtract_dark(frames, change(dark, EXCAMT=-999.0), params(), REGIONS)
    synthesised = build_synthesized_dark(frames, maps, REGIONS, True)
    subtract_dark(frames, synthesised, params(), REGIONS)
    with pytest.warns(EmdarksWarning, match="computed for an EM gain of 280"):
        subtract_dark(frames, change(synthesised, EMGAIN_A=280.0), params(), REGIONS)
    bare = Dataset([Image(str(frames[0].filepath))])
    del bare[0].ext_hdr["BUNIT"]
    with pytest.warns(
        EmdarksWarning, match=r"1 frame has no unit, the first .* as detected electrons"
    ):
        made = subtract_dark(bare, dark, params(), REGIONS)[0]
    np.testing.assert_allclose(made.data[0], bare[0].data[0] - dark.data[0], rtol=1e-12)


# Files


def test_saved_frames_are_what_was_computed(
    maps: DetectorNoiseMaps, quirky: Campaign, tmp_path: Path
) -> None:
    with fits.open(quirky.paths[0]) as hdus:
        hdus.append(fits.ImageHDU(np.arange(ROWS, dtype=np.float32), name="BIAS"))
        hdus.writeto(tmp_path / "with_bias_l2a.fits")
    frames = Dataset([*quirky.paths[:3], tmp_path / "with_bias_l2a.fits"])
    less = subtract_dark(frames, maps, params(), REGIONS)
    seen: list[tuple[int, int]] = []
    out = tmp_path / "new" / "out"
    paths = save_subtracted(less, out, progress=lambda *n: seen.append(n))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [path.name for path in paths] == [frame.filename for frame in frames]
    for path, made in zip(paths, less, strict=True):
        with fits.open(path) as hdus:
            hdus.verify("exception")
            assert [hdu.header["BITPIX"] for hdu in hdus[1:4]] == [-32, -32, 16]
        read = Image(path)
        np.testing.assert_array_equal(read.data, made.data.astype(np.float32))
        np.testing.assert_array_equal(read.err, made.err.astype(np.float32))
        np.testing.assert_array_equal(read.dq, made.dq)
        assert read.pri_hdr["FILENAME"] == path.name
        assert read.ext_hdr["DARKFILE"] == maps.filename
    assert Image(paths[3]).hdu_names == ["BIAS"]
    assert not list(out.glob(".*"))


def test_frames_are_light_until_pixels_are_asked_for(
    maps: DetectorNoiseMaps, quirky: Campaign, tmp_path: Path
) -> None:
    copies = [shutil.copy(path, tmp_path) for path in quirky.paths[:2]]
    less = subtract_dark(Dataset(copies), maps, params(), REGIONS)
    Path(copies[1]).unlink()
    assert less[1].shape == (ROWS, COLS)
    assert less[1].ext_hdr["BUNIT"] == "photoelectron"
    with pytest.raises(InputError, match="cannot be read"):
        _ = less[1].data
    first = less[0].data
    assert not first.flags.writeable
    again = pickle.loads(pickle.dumps(less[0]))
    np.testing.assert_array_equal(again.data, first)


def test_a_frame_is_read_once_for_all_its_planes(
    dark: Dark, quirky: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = FileSource.open

    def count(self: FileSource) -> Any:
        opened.append(Path(self.layout.path).name)
        return original(self)

    monkeypatch.setattr(FileSource, "open", count)
    stack = quirky.stack(300.0, 50.0)
    less = subtract_dark(stack.files()[:2], dark, params(), REGIONS)
    alone = len(pickle.dumps(less[0]))
    for made in less:
        assert made.data.shape == made.err.shape[1:] == made.dq.shape == (ROWS, COLS)
        made.copy().save(tmp_path)
    assert opened == [Path(path).name for path in stack.paths[:2]]
    assert len(pickle.dumps(less[0])) == alone  # without the pixels that are kept


def test_an_assigned_plane_stays(maps: DetectorNoiseMaps, quirky: Campaign, tmp_path: Path) -> None:
    made = subtract_dark(quirky.files()[:1], maps, params(), REGIONS)[0]
    made.dq = made.dq | 4
    made.save(tmp_path)
    assert (Image(tmp_path / made.filename).dq & 4 == 4).all()


def test_inputs_are_never_replaced(
    maps: DetectorNoiseMaps, quirky: Campaign, tmp_path: Path
) -> None:
    copies = [Path(shutil.copy(path, tmp_path)) for path in quirky.paths[:2]]
    before = [path.read_bytes() for path in copies]
    less = subtract_dark(Dataset(copies), maps, params(), REGIONS)
    for save in (
        lambda: save_subtracted(less, tmp_path, overwrite=True),
        lambda: less[0].save(),
        lambda: less[0].save(tmp_path, copies[1].name),
        lambda: less.save(),
    ):
        with pytest.raises(InputError, match="is one of the frames that a dark is subtracted"):
            save()
    assert [path.read_bytes() for path in copies] == before
    out = tmp_path / "out"
    save_subtracted(less, out)
    with pytest.raises(InputError, match="exists; choose another folder"):
        save_subtracted(less, out)
    save_subtracted(less, out, overwrite=True)


def test_frames_of_one_name_are_refused_before_anything_is_written(
    maps: DetectorNoiseMaps, quirky: Campaign, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    twin = shutil.copy(quirky.paths[0], tmp_path / "other")
    less = subtract_dark(Dataset([quirky.paths[0], twin]), maps, params(), REGIONS)
    with pytest.raises(InputError, match="2 frames have this name"):
        save_subtracted(less, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cube_becomes_a_file_a_frame(dark: Dark, tmp_path: Path) -> None:
    frames = 3
    cube = np.random.default_rng(5).normal(100, 20, (frames, ROWS, COLS)).astype(np.float32)
    dq = np.zeros(cube.shape, np.uint16)
    dq[1, 4, 5] = 32
    frame_hdus(cube, gain=300.0, time=50.0, unit="DN", dq=dq).writeto(tmp_path / "cube.fits")
    less = subtract_dark(Dataset([tmp_path / "cube.fits"]), dark, params(), REGIONS)
    paths = save_subtracted(less, tmp_path / "out")
    assert [path.name for path in paths] == [f"cube_{i:04d}.fits" for i in range(frames)]
    for plane, path in zip(cube.astype(np.float64), paths, strict=True):
        expected = plane * 8.7 / 300 - dark.data
        np.testing.assert_allclose(Image(path).data[:-1], expected[:-1], rtol=1e-6, atol=1e-6)
    assert [int(Image(path).dq[4, 5]) for path in paths] == [0, 32, 0]


def test_a_packed_frame_is_written_plain(dark: Dark, tmp_path: Path) -> None:
    whole = np.arange(ROWS * COLS, dtype=np.uint16).reshape(ROWS, COLS)
    frame_hdus(whole, gain=300.0, time=50.0, unit="DN").writeto(tmp_path / "a.fits.gz")
    less = subtract_dark(Dataset([tmp_path / "a.fits.gz"]), dark, params(), REGIONS)
    (path,) = save_subtracted(less, tmp_path / "out")
    assert path.name == "a.fits"
    assert path.read_bytes().startswith(b"SIMPLE")
    expected = whole * 8.7 / 300 - dark.data
    np.testing.assert_allclose(Image(path).data[:-1], expected[:-1], rtol=1e-6, atol=1e-6)


# Statistics, as `python -m validation.subtract` has them in full


@pytest.fixture(scope="module")
def measured() -> list[Residual]:
    return list(residuals("normal", 40, seed=12))


def test_residuals_are_unbiased_and_their_errors_honest(measured: list[Residual]) -> None:
    """Nine kinds of frames: spread known to 0.7 %, the limits are 3 %; means within 3 s.e."""
    assert len({(r.gain, r.exposure_time) for r in measured}) == 3
    for found in measured:
        assert found.residual.size > 9000
        assert abs(found.bias) < 3
        assert 0.97 < found.pulls.std() < 1.03
    dominated = [r for r in measured if r.averaged == 0]
    for found in dominated:
        assert np.median(found.err) == pytest.approx(found.dark_err)
    for found in (r for r in measured if r.averaged == 1):
        assert np.median(found.err) > 5 * found.dark_err


# The command


CAMERA = f"""
like = "excam"
name = "quirky"
description = "EXCAM in a small test geometry"

[geometry.SCI]
frame_rows = {ROWS}
frame_cols = {COLS}
image = {{ rows = 17, cols = 15, r0c0 = [2, 18] }}
prescan = {{ rows = {ROWS}, cols = 16, r0c0 = [0, 0], col_start = 9, col_end = 14 }}
parallel_overscan = {{ rows = 3, cols = 18, r0c0 = [20, 16] }}
serial_overscan = {{ rows = {ROWS}, cols = 3, r0c0 = [0, 34] }}
"""


def test_the_command(maps: DetectorNoiseMaps, quirky: Campaign, tmp_path: Path) -> None:
    (tmp_path / "quirky.toml").write_text(CAMERA)
    named = maps.copy()
    named.ext_hdr["CAMERA"] = "quirky"
    named.save(tmp_path, "maps.fits")
    command = ["subtract", *quirky.paths[:4], "--dark", "maps.fits", "-o", "out"]
    made = run_command(tmp_path, *command, "--camera", "quirky.toml", "--json")
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout)
    assert (result["frames"], result["rows"], result["unit"]) == (4, ROWS, "photoelectron")
    expected = subtract_dark(
        Campaign(quirky.paths[:4]).files(), tmp_path / "maps.fits", camera=tmp_path / "quirky.toml"
    )
    for frame in expected:
        read = Image(tmp_path / "out" / frame.filename)
        np.testing.assert_array_equal(read.data, frame.data.astype(np.float32))

    again = run_command(tmp_path, *command, "--camera", "quirky.toml")
    assert (again.returncode, "exists" in again.stderr) == (1, True)
    wrong = run_command(tmp_path, *command)
    assert wrong.returncode == 1
    assert "comes from camera 'quirky', the frames are read as those of 'excam'" in wrong.stderr
    assert run_command(tmp_path, "subtract", quirky.paths[0], "-o", "out").returncode == 2
    onto = run_command(tmp_path, *command[:-1], "maps.fits", "--camera", "quirky.toml")
    assert (onto.returncode, "is a file" in onto.stderr) == (1, True)


def test_foreign_darks_are_taken(dark: Dark, quirky: Campaign, tmp_path: Path) -> None:
    dark.copy().save(tmp_path, "dark.fits")
    frames = quirky.stack(300.0, 50.0)
    ours = subtract_dark(frames.files(), tmp_path / "dark.fits", params(), REGIONS)
    other = stand_in(str(tmp_path / "dark.fits"), True)
    theirs = subtract_dark(SimpleDataset(frames.foreign(True).frames), other, params(), REGIONS)
    np.testing.assert_array_equal(ours[0].data, theirs[0].data)
