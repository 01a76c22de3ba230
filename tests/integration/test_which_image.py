"""Which image of a file is the frame, what becomes of the others, and files of other formats."""

from __future__ import annotations

import gzip
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from typer.testing import CliRunner

from emdarks import build_trad_dark, calibrate_darks_lsq, load_camera, subtract_dark
from emdarks.cameras import Camera
from emdarks.cli.app import app
from emdarks.data import Dark, Dataset, Image
from emdarks.errors import EmdarksWarning, InputError, MissingKeywordError
from emdarks.fits import Scanner, scan_file
from emdarks.frames import frame_inputs, select_frames
from loops import for_each

ROWS, COLS = 7, 12
SIGMA = 3.0

LAB = """name = "lab"
description = "invented camera of 7 x 12 pixels"
arrtype = "FULL"
sensitivity = "fixed"
[frames]
layout = "LAYOUT"
err_and_dq = false
[geometry.FULL]
frame_rows = 7
frame_cols = 12
image = { rows = 7, cols = 12, r0c0 = [0, 0] }
[keywords]
exposure_time = "EXPTIME"
commanded_gain = "EMGAIN"
better_gains = ["EMREAL"]
k_gain = ""
temperature = "TEMP"
start = "DATE-OBS"
camera = ""
[settings]
rate = "READRATE"
[values]
DATE-OBS = { unit = "ISO" }
EMREAL = { unknown = [0] }
[units]
"" = "DN"
adu = "DN"
[noise]
k_gain = 4.0
read_noise = 12.0
clock_induced_charge = 0.01
dark_current = 0.002
"""
CARDS = {"EXPTIME": 5.0, "EMGAIN": 2.0, "TEMP": -80.0, "READRATE": 10.0}


def camera_file(folder: Path, layout: str = "single") -> Path:
    path = folder / f"{layout}.toml"
    path.write_text(LAB.replace("LAYOUT", layout), encoding="utf-8")
    return path


@pytest.fixture
def lab(tmp_path: Path) -> Camera:
    return load_camera(str(camera_file(tmp_path)))


def pixels(seed: int, shape: tuple[int, ...] = (ROWS, COLS), level: float = 300.0) -> Any:
    return np.random.default_rng(seed).normal(level, SIGMA, shape).astype(np.float32)


def header(**more: Any) -> fits.Header:
    return fits.Header({**CARDS, **more})


def write(path: Path, *hdus: Any) -> Path:
    fits.HDUList(list(hdus)).writeto(path, overwrite=True)
    return path


def primary(data: Any = None, **more: Any) -> fits.PrimaryHDU:
    return fits.PrimaryHDU(data, header(**more))


def mask_of(seed: int, shape: tuple[int, ...] = (ROWS, COLS)) -> Any:
    return np.random.default_rng(seed + 50).random(shape) < 0.1


def sigma_of(seed: int) -> Any:
    return np.random.default_rng(seed + 90).uniform(2.0, 5.0, (ROWS, COLS))


UNCERTAINTIES: dict[str, Callable[[Any], Any]] = {
    "standard deviation": StdDevUncertainty,
    "variance": lambda sigma: VarianceUncertainty(sigma**2),
    "inverse variance": lambda sigma: InverseVariance(sigma**-2),
}


def ccd_file(path: Path, seed: int, kind: str = "standard deviation", compressed: bool = False):
    """A frame as CCDData writes it: masked pixels are 20,000 too high."""
    mask, sigma = mask_of(seed), sigma_of(seed)
    data = pixels(seed) + np.float32(20_000) * mask
    ccd = CCDData(data, unit="adu", mask=mask, uncertainty=UNCERTAINTIES[kind](sigma), meta=CARDS)
    hdus = ccd.to_hdu()
    if compressed:
        kinds = {"compression_type": "GZIP_2", "quantize_level": 0.0}
        images = [fits.CompImageHDU(hdu.data, hdu.header, **kinds) for hdu in hdus]
        for image, hdu in zip(images[1:], hdus[1:], strict=True):
            image.name = hdu.name
        hdus = fits.HDUList([fits.PrimaryHDU(), *images])
    hdus.writeto(path, overwrite=True)
    return path


# ------------------------------------------------------------------- CCDData


@for_each("kind", UNCERTAINTIES)
@for_each("how", ["plain", "gzipped", "compressed", "remote"])
def test_planes_that_ccddata_writes_are_image_errors_and_flags(
    tmp_path: Path, how: str, kind: str
) -> None:
    path = ccd_file(tmp_path / "a.fits", 1, kind, how == "compressed")
    name: Any = path
    if how == "gzipped":
        name = tmp_path / "a.fits.gz"
        name.write_bytes(gzip.compress(path.read_bytes()))
    elif how == "remote":
        name = "memory://which/a.fits"
        fsspec.filesystem("memory").pipe("/which/a.fits", path.read_bytes())
    for frame in (Image(name), Dataset([name])[0]):
        assert np.array_equal(frame.data, pixels(1) + np.float32(20_000) * mask_of(1))
        assert np.allclose(frame.err[0], sigma_of(1), rtol=1e-12)
        assert np.array_equal(frame.dq, mask_of(1).astype(int))  # flag 1


@pytest.mark.parametrize("kind", UNCERTAINTIES)
def test_masked_samples_of_ccddata_stay_out_of_a_dark(
    tmp_path: Path, lab: Camera, kind: str
) -> None:
    paths = [ccd_file(tmp_path / f"{seed}.fits", seed, kind) for seed in range(6)]
    dark = build_trad_dark(Dataset(paths), None, camera=lab)
    planes = np.ma.masked_array([pixels(s) for s in range(6)], [mask_of(s) for s in range(6)])
    good = planes.count(axis=0) > 0
    assert np.allclose(dark.data[good], 2 * planes.mean(axis=0)[good], rtol=1e-6)
    assert 590 < dark.data[good].min() < dark.data[good].max() < 610
    # Errors of the frames count as standard deviations: k-gain 4, EM gain 2.
    var = np.ma.masked_array([sigma_of(s) ** 2 for s in range(6)], planes.mask)
    own = planes.var(axis=0, ddof=1) / planes.count(axis=0)
    expected = 2 * np.sqrt(own + var.sum(axis=0) / planes.count(axis=0) ** 2)
    many = planes.count(axis=0) > 1
    assert np.allclose(dark.err[0][many], expected[many], rtol=1e-5)


def test_every_value_but_0_masks_and_becomes_flag_1(tmp_path: Path) -> None:
    mask = np.zeros((ROWS, COLS), np.uint8)
    mask[1, 2], mask[3, 4] = 255, 32
    write(tmp_path / "a.fits", primary(pixels(1)), fits.ImageHDU(mask, name="MASK"))
    assert {int(flag) for flag in Image(tmp_path / "a.fits").dq.flat} == {0, 1}
    assert np.argwhere(Dataset([tmp_path / "a.fits"])[0].dq).tolist() == [[1, 2], [3, 4]]


def test_a_variance_below_0_and_no_inverse_mask_the_pixel(tmp_path: Path) -> None:
    for name, number, expected in (("VarianceUncertainty", -1, np.nan), ("IVAR", 0, np.inf)):
        plane = np.full((ROWS, COLS), 0.25, np.float32)
        plane[2, 3] = number
        hdu = fits.ImageHDU(plane, fits.Header({"UTYPE": name}), name="UNCERT")
        err = Image(write(tmp_path / "a.fits", primary(pixels(1)), hdu)).err[0]
        assert np.array_equal(err[2, 3], expected, equal_nan=True)
        assert err[0, 0] == (0.5 if number else 2.0)


def test_files_of_one_size_may_hold_errors_of_different_kinds(tmp_path: Path) -> None:
    """The scanner takes files for alike only where UTYPE agrees."""
    paths = [ccd_file(tmp_path / f"{i}.fits", i, kind) for i, kind in enumerate(UNCERTAINTIES)]
    assert len({path.stat().st_size for path in paths}) == 1
    for i, frame in enumerate(Dataset(paths)):
        assert np.allclose(frame.err[0], sigma_of(i), rtol=1e-12)


def test_a_cube_has_a_mask_of_its_own_shape(tmp_path: Path) -> None:
    cube, mask = pixels(4, (3, ROWS, COLS)), mask_of(4, (3, ROWS, COLS))
    path = write(
        tmp_path / "a.fits",
        primary(cube),
        fits.ImageHDU(mask.astype(np.uint8), name="MASK"),
    )
    frames = Dataset([path])
    assert len(frames) == 3
    for frame, data, masked in zip(frames, cube, mask, strict=True):
        assert np.array_equal(frame.data, data)
        assert np.array_equal(frame.dq, masked.astype(int))


@pytest.mark.parametrize(
    ("plane", "words"),
    [
        (np.zeros((COLS, ROWS), np.uint8), r"MASK has shape \(12, 7\), the image \(7, 12\)"),
        (np.zeros((ROWS, COLS), np.float32), "MASK holds floating-point numbers"),
    ],
)
def test_a_mask_that_is_none_is_refused(tmp_path: Path, plane: Any, words: str) -> None:
    write(tmp_path / "a.fits", primary(pixels(1)), fits.ImageHDU(plane, name="MASK"))
    with pytest.raises(InputError, match=words):
        Dataset([tmp_path / "a.fits"])


def test_errors_of_an_unknown_kind_are_named_and_not_read(tmp_path: Path) -> None:
    hdu = fits.ImageHDU(pixels(2), fits.Header({"UTYPE": "Percentiles"}), name="UNCERT")
    write(tmp_path / "a.fits", primary(pixels(1)), hdu)
    with pytest.warns(EmdarksWarning, match="1 image of a file not read.*HDU 1 UNCERT"):
        frame = Dataset([tmp_path / "a.fits"])[0]
    assert np.array_equal(frame.data, pixels(1))
    assert not frame.err.any()


# ------------------------------------------------- other images beside the frame


@for_each("name", ["", "PREVIEW", "BIAS", "MASKED", "FRAME2"])
@for_each("packed", [False, True])
def test_the_image_of_the_primary_hdu_is_the_frame(tmp_path: Path, name: str, packed: bool) -> None:
    paths = []
    for i in range(3):
        hdus = [primary(pixels(i)), fits.ImageHDU(pixels(i + 10), name=name or None)]
        path = write(tmp_path / f"{i}.fits", *hdus)
        if packed:
            path.with_suffix(".fits.gz").write_bytes(gzip.compress(path.read_bytes()))
        paths.append(path.with_suffix(".fits.gz") if packed else path)
    with pytest.warns(EmdarksWarning) as told:
        frames = Dataset(paths)
    (text,) = [str(warning.message) for warning in told]
    spoken = f"HDU 1 {name}".rstrip()
    assert text.startswith(f"3 images of 3 files not read, the first in {paths[0]}: {spoken};")
    assert ("extensions" in text) == (name not in ("PREVIEW", "BIAS"))
    for i, frame in enumerate(frames):
        assert np.array_equal(frame.data, pixels(i))
        assert not frame.dq.any()


@pytest.mark.parametrize("with_err_and_dq", [False, True])
def test_an_image_named_sci_is_the_frame_wherever_it_stands(
    tmp_path: Path, with_err_and_dq: bool
) -> None:
    planes = [
        fits.ImageHDU(np.full((ROWS, COLS), 0.5), name="ERR"),
        fits.ImageHDU(np.eye(ROWS, COLS, dtype=np.uint16), name="DQ"),
    ]
    hdus = [primary(), fits.ImageHDU(pixels(9, (3, 4)), name="PREVIEW")]
    hdus.append(fits.ImageHDU(pixels(1), header(), name="SCI"))
    path = write(tmp_path / "a.fits", *hdus, *(planes if with_err_and_dq else []))
    with pytest.warns(EmdarksWarning, match=r"HDU 1 PREVIEW; the frame is HDU 2 SCI$"):
        frame = Dataset([path])[0]
    assert np.array_equal(frame.data, pixels(1))
    assert np.array_equal(frame.dq, np.eye(ROWS, COLS) * with_err_and_dq)


def test_a_preview_before_the_frame_is_passed_over(tmp_path: Path) -> None:
    preview = fits.ImageHDU(pixels(9), name="PREVIEW")
    path = write(tmp_path / "a.fits", primary(), preview, fits.ImageHDU(pixels(1)))
    with pytest.warns(EmdarksWarning, match=r"HDU 1 PREVIEW; the frame is HDU 2$"):
        assert np.array_equal(Dataset([path])[0].data, pixels(1))


def test_a_mask_alone_is_no_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", primary(), fits.ImageHDU(pixels(1), name="UNCERT"))
    with pytest.raises(InputError, match="has UNCERT, but no image"):
        Dataset([path])


@pytest.mark.parametrize("compressed", [False, True])
def test_an_image_after_an_empty_primary_hdu_is_the_frame(tmp_path: Path, compressed: bool) -> None:
    kind = fits.CompImageHDU if compressed else fits.ImageHDU
    data = pixels(1).astype(np.int16)
    path = write(tmp_path / "a.fits", primary(), kind(data))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(Dataset([path])[0].data, data)
        assert np.array_equal(Image(path).data, data)


def test_tables_are_no_images(tmp_path: Path) -> None:
    columns = [fits.Column("X", "E", array=np.arange(ROWS, dtype=np.float32))]
    tables = [fits.BinTableHDU.from_columns(columns, name=name) for name in ("LOG", "MASK")]
    path = write(tmp_path / "a.fits", primary(pixels(1)), *tables)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = Dataset([path])[0]
    assert np.array_equal(frame.data, pixels(1))
    assert not frame.dq.any()


def test_what_subtract_writes_back_is_read_the_same(tmp_path: Path, lab: Camera) -> None:
    """Image of the primary HDU, mask and variance become HDU 1, DQ and ERR; units agree."""
    paths = [ccd_file(tmp_path / f"{seed}.fits", seed, "variance") for seed in range(4)]
    dark = build_trad_dark(Dataset(paths), None, camera=lab)
    less = subtract_dark(Dataset(paths), dark, camera=lab)
    (tmp_path / "less").mkdir()
    less[2].save(filedir=str(tmp_path / "less"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = Dataset([tmp_path / "less" / "2.fits"])
    assert np.allclose(back[0].data, 2 * Image(paths[2]).data - dark.data, rtol=1e-5, atol=1e-3)
    assert np.allclose(back[0].err[0], np.hypot(2 * sigma_of(2), dark.err[0]), rtol=1e-5)
    assert np.array_equal(back[0].dq & 1, mask_of(2) | (dark.dq & 1))
    assert "UTYPE" not in back[0].err_hdr
    assert frame_inputs(back, lab)[0].record.unit_text == "photoelectron"


def test_cameras_and_inspect_say_which_image_it_is(tmp_path: Path) -> None:
    camera, frames = camera_file(tmp_path), tmp_path / "frames"
    frames.mkdir()
    for i in range(3):
        hdu = fits.ImageHDU(pixels(i + 10), name="PREVIEW")
        write(frames / f"{i}.fits", primary(pixels(i)), hdu)
    run = CliRunner().invoke
    told = run(app, ["cameras", str(camera), str(frames / "0.fits"), "--json"])
    lines = {line["quantity"]: line for line in json.loads(told.stdout)["read"]}
    assert lines["file"]["source"] == "the primary HDU, not read: HDU 1 PREVIEW"
    told = run(app, ["inspect", str(frames), "--camera", str(camera)])
    assert told.output.count("3 images of 3 files not read") == 1


# ------------------------------------------------------- frames in extensions


def many(path: Path, first: int, kind: Any = fits.ImageHDU, **more: Any) -> Path:
    """Three frames in the extensions of a file, the last with a gain card of its own."""
    names = ["FRAME0", "FRAME1", "FRAME2"]
    images = [kind(pixels(first + i).astype(np.float32), name=names[i]) for i in range(3)]
    return write(path, primary(**more), *images)


def test_frames_in_extensions_are_named_where_they_are_not_read(tmp_path: Path) -> None:
    paths = [many(tmp_path / f"{i}.fits", 3 * i) for i in range(4)]
    remedy = r'HDU 2 FRAME1, HDU 3 FRAME2; the frame is HDU 1 FRAME0; .*layout = "extensions"'
    with pytest.warns(EmdarksWarning, match=f"8 images of 4 files not read, .*{remedy}"):
        assert len(Dataset(paths)) == 4
    with pytest.warns(EmdarksWarning, match=remedy):
        Image(paths[0])


@pytest.mark.parametrize("how", ["plain", "gzipped", "remote"])
def test_frames_in_extensions_are_frames_with_that_layout(tmp_path: Path, how: str) -> None:
    camera = load_camera(str(camera_file(tmp_path, "extensions")))
    names: list[str] = []
    for i in range(4):
        path = many(tmp_path / f"{i}.fits", 3 * i)
        names.append(str(path))
        if how == "gzipped":
            names[-1] += ".gz"
            Path(names[-1]).write_bytes(gzip.compress(path.read_bytes()))
        elif how == "remote":
            names[-1] = f"memory://ext/{i}.fits"
            fsspec.filesystem("memory").pipe(f"/ext/{i}.fits", path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = select_frames(names, camera)
    assert len(frames) == 12
    assert len(Dataset(names, extensions=True)) == 12
    for i, frame in enumerate(frames):
        assert np.array_equal(frame.data, pixels(i))
        assert frame.ext_hdr["EXTNAME"] == f"FRAME{i % 3}"
        assert frame.pri_hdr["EXPTIME"] == 5.0
    records = [item.record for item in frame_inputs(frames, camera)]
    assert records[4].name.endswith(f"{Path(names[1]).name}[FRAME1]")
    assert {record.exposure_time for record in records} == {5.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dark = build_trad_dark(frames, None, camera=camera)
    expected = 2 * np.mean([pixels(i) for i in range(12)], axis=0, dtype=float)
    assert np.allclose(dark.data, expected, rtol=1e-6)
    assert dark.ext_hdr["DRPNFILE"] == 4


def test_functions_refuse_one_frame_of_a_file_of_many(tmp_path: Path) -> None:
    camera = load_camera(str(camera_file(tmp_path, "extensions")))
    with pytest.warns(EmdarksWarning, match="2 images of a file not read"):
        frames = Dataset([many(tmp_path / "a.fits", 1)])
    with pytest.raises(InputError, match=r"a\.fits: holds more frames.*extensions=True"):
        build_trad_dark(frames, None, camera=camera)


def test_frames_of_one_file_keep_apart_in_subtraction_and_maps(tmp_path: Path) -> None:
    path = camera_file(tmp_path, "extensions")
    camera = load_camera(str(path))
    grid = [(1, 1.0), (1, 90.0), (200, 1.0), (200, 90.0), (600, 1.0), (600, 90.0)]
    names = [
        many(tmp_path / f"{i}.fits", 3 * i, EMGAIN=float(g), EXPTIME=t)
        for i, (g, t) in enumerate(grid)
    ]
    frames = Dataset(names, extensions=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = calibrate_darks_lsq(frames, None, camera=camera)
        dark = build_trad_dark(frames[:3], None, camera=camera)
    rows = maps.hdu_list["INPUTS"].data
    assert rows["HDU"].tolist() == [1, 2, 3] * 6
    assert set(rows["FRAME"]) == {-1}
    assert np.isclose(np.mean(maps.FPN_map), 1200, rtol=0.01)
    less = subtract_dark(frames[:3], dark, camera=camera)
    assert [frame.filename for frame in less] == [f"0_hdu{i:02d}.fits" for i in (1, 2, 3)]
    for i, frame in enumerate(less):
        assert np.allclose(frame.data, 4 * pixels(i) - dark.data, rtol=1e-5)
    with pytest.raises(InputError, match="holds this frame and others; give another name"):
        frames[0].save()


def test_errors_and_flags_belong_to_the_frame_of_their_version(tmp_path: Path) -> None:
    hdus = [primary()]
    for version in (1, 2):
        flags = np.zeros((ROWS, COLS), np.uint16)
        flags[version, 3] = 4
        for name, data in (("SCI", pixels(version)), ("DQ", flags)):
            hdus.append(fits.ImageHDU(data, name=name, ver=version))
    path = write(tmp_path / "a.fits", *hdus)
    frames = Dataset([path], extensions=True)
    assert [np.argwhere(frame.dq).tolist() for frame in frames] == [[[1, 3]], [[2, 3]]]
    assert [frame.part for frame in frames] == ["[HDU 1]", "[HDU 3]"]
    with pytest.raises(InputError, match="more than one HDU named DQ"):
        Dataset([path])
    for hdu in hdus[1:]:
        hdu.ver = 1
    with pytest.raises(InputError, match=r"HDU 2 DQ \(EXTVER 1\) belongs to 2 of its 2 frames"):
        Dataset([write(path, *hdus)], extensions=True)


def test_a_preview_is_no_frame_of_that_layout_either(tmp_path: Path) -> None:
    path = many(tmp_path / "a.fits", 1)
    fits.append(path, pixels(9), fits.Header({"EXTNAME": "PREVIEW"}))
    with pytest.warns(EmdarksWarning, match=r"1 image of a file not read, .*: HDU 4 PREVIEW$"):
        assert len(Dataset([path], extensions=True)) == 3


def test_the_cubes_of_extensions_are_taken_apart(tmp_path: Path) -> None:
    cubes = [pixels(i, (2, ROWS, COLS)) for i in range(3)]
    path = write(tmp_path / "a.fits", primary(), *(fits.ImageHDU(cube) for cube in cubes))
    frames = Dataset([path], extensions=True)
    assert [frame.part for frame in frames[:3]] == ["[HDU 1][0]", "[HDU 1][1]", "[HDU 2][0]"]
    assert np.array_equal(frames.all_data, np.concatenate(cubes))


# ------------------------------------------------------- headers that contradict


def record(frame: Path, camera: Camera) -> Any:
    return frame_inputs(Dataset([frame]), camera)[0].record


@pytest.mark.parametrize(
    ("keyword", "one", "other"),
    [
        ("EXPTIME", 5.0, 100.0),
        ("EMGAIN", 2.0, 200.0),
        ("EMREAL", 2.5, 3.5),
        ("BUNIT", "adu", "electron"),
        ("READRATE", 10.0, 1.0),
        ("TEMP", -80.0, -60.0),
    ],
)
def test_a_keyword_that_says_two_things_is_refused(
    tmp_path: Path, keyword: str, one: Any, other: Any
) -> None:
    text = LAB.replace("LAYOUT", "single").replace('camera = ""', 'camera = ""\nunit = "BUNIT"')
    (tmp_path / "lab.toml").write_text(text, encoding="utf-8")
    lab = load_camera(str(tmp_path / "lab.toml"))
    twice = header(**{keyword: one})
    twice.append((keyword, other), end=True)
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(pixels(1), twice))
    with pytest.raises(InputError) as caught:
        record(path, lab)
    assert str(caught.value) == (
        f"{path}: {keyword} is {one!r} and {other!r} in the header of the image, which has it "
        "twice; correct one of them"
    )
    image = fits.ImageHDU(pixels(1), fits.Header({keyword: other}))
    write(path, primary(**{keyword: one}), image)
    with pytest.raises(InputError) as caught:
        record(path, lab)
    assert str(caught.value) == (
        f"{path}: {keyword} is {other!r} in the header of the image and {one!r} in the primary "
        "header; correct one of them"
    )


@pytest.mark.parametrize(
    ("keyword", "one", "other"),
    [
        ("EXPTIME", 5.0, 5),
        ("EXPTIME", 5.0, 5.0000001),
        ("READRATE", "Fast", "FAST "),
        ("EMREAL", 2.5, 0),  # stands for unknown
        ("DATE-OBS", "2026-01-01T00:00:00", "2026-01-01T00:00:07"),
        ("OBSERVER", "A", "B"),
    ],
)
def test_a_keyword_that_says_one_thing_twice_is_fine(
    tmp_path: Path, lab: Camera, keyword: str, one: Any, other: Any
) -> None:
    image = fits.ImageHDU(pixels(1), fits.Header({keyword: one}))
    found = record(write(tmp_path / "a.fits", primary(**{keyword: other}), image), lab)
    assert found.exposure_time == pytest.approx(5.0)
    assert found.em_gain == (2.5 if keyword == "EMREAL" else 2.0)


def test_contradicting_frames_are_left_out_and_named(tmp_path: Path) -> None:
    camera = camera_file(tmp_path)
    (tmp_path / "frames").mkdir()
    for i in range(12):
        cards = header()
        if i == 7:
            cards.append(("EXPTIME", 1.0), end=True)
        write(tmp_path / "frames" / f"{i:02d}.fits", fits.PrimaryHDU(pixels(i), cards))
    run = CliRunner().invoke
    told = run(app, ["inspect", str(tmp_path / "frames"), "--camera", str(camera)])
    assert "07.fits: EXPTIME is 5.0 and 1.0" in " ".join(told.output.split())
    out = tmp_path / "dark.fits"
    line = ["dark", str(tmp_path / "frames"), "--camera", str(camera), "-o", str(out)]
    assert run(app, line).exit_code == 1
    assert run(app, [*line, "--skip-bad-frames"]).exit_code == 0
    dark = Dark(out)
    expected = 2 * np.mean([pixels(i) for i in range(12) if i != 7], axis=0, dtype=float)
    assert np.allclose(dark.data, expected, rtol=1e-6)
    assert dark.hdu_list["SKIPPED"].data["FILENAME"].tolist() == ["07.fits"]


def test_two_scalings_in_one_header_are_refused(tmp_path: Path) -> None:
    cards = header()
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(pixels(1).astype(np.uint16), cards))
    raw = path.read_bytes()
    end = raw.index(b"END".ljust(80))
    card = b"BZERO   =                  0.0".ljust(80)
    path.write_bytes(raw[:end] + card + b"END".ljust(80) + raw[end + 160 :])
    with pytest.raises(InputError, match=r"BZERO is 32768 and 0\.0 in the header of HDU 0"):
        scan_file(path)


def test_a_missing_keyword_is_still_missing(tmp_path: Path, lab: Camera) -> None:
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(pixels(1), fits.Header({"EMGAIN": 2.0})))
    with pytest.raises(MissingKeywordError, match="no EXPTIME"):
        record(path, lab)


# ------------------------------------------------------------- other formats


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.fits", b"SIMPLE")
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2880\n"
FORMATS = {
    "a TIFF image": b"II*\0\x08\0\0\0",
    "a PNG image": b"\x89PNG\r\n\x1a\n",
    "a JPEG image": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n\0",
    "an Andor SIF file": b"Andor Technology Multi-Channel File\n",
    "a zip archive": zipped(),
    "a Git LFS pointer, not the file it stands for": POINTER,
    "a page of a web site": b"\n <!DOCTYPE html>\n<html><body>404</body></html>",
    "compressed by bzip2": b"BZh91AY&SY",
    "a tar archive": b"a.fits".ljust(257, b"\0") + b"ustar\0" + b"00",
    "empty (0 bytes)": b"",
}


@for_each("packed", [False, True])
@for_each("what", FORMATS)
def test_a_file_of_another_format_says_what_it_is(tmp_path: Path, what: str, packed: bool) -> None:
    content = FORMATS[what]
    path = tmp_path / "dark_003.fits"
    path.write_bytes(gzip.compress(content) if packed else content)
    for read in (scan_file, Image, Scanner().scan, lambda file: Dataset([file])):
        with pytest.raises(InputError) as caught:
            read(path)
        start = f"{path}: is {what}, no FITS file; "
        assert str(caught.value).startswith(start)
        assert len(str(caught.value)) > len(start) + 8  # what to do


def test_a_pointer_at_a_url_says_what_it_is() -> None:
    fsspec.filesystem("memory").pipe("/which/pointer.fits", POINTER)
    with pytest.raises(InputError, match=r"is a Git LFS pointer.*; fetch .* with git lfs pull"):
        Dataset(["memory://which/pointer.fits"])


def test_a_simulated_camera_of_that_layout_is_read_back(tmp_path: Path) -> None:
    text = LAB.replace("LAYOUT", "extensions") + "[simulation]\nframes_per_file = 4\n"
    (tmp_path / "lab.toml").write_text(text, encoding="utf-8")
    run = CliRunner().invoke
    folder, camera = str(tmp_path / "made"), str(tmp_path / "lab.toml")
    made = run(app, ["simulate", folder, "--camera", camera, "--frames", "7", "--seed", "3"])
    assert made.exit_code == 0, made.output
    frames = select_frames([folder], camera)
    assert len(frames) == 6 * 7
    assert len({frame.filename for frame in frames}) == 6 * 2


def test_the_subtracted_bias_of_a_level_2a_frame_needs_no_word(tmp_path: Path) -> None:
    planes = [
        fits.ImageHDU(np.ones((5, 7))),
        fits.ImageHDU(np.ones((1, 5, 7)), name="ERR"),
        fits.ImageHDU(np.zeros((5, 7), "u2"), name="DQ"),
        fits.ImageHDU(np.ones(5 * 7).reshape(5, 7), name="BIAS"),
    ]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "f.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Dataset([tmp_path / "f.fits"])) == 1
