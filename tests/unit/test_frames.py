"""Frames: images, datasets, which files are meant, and runs of pixels from every kind of source."""

from __future__ import annotations

import gc
import gzip
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from emdarks.errors import InputError, MissingKeywordError
from emdarks.fits import pixels as source_module
from emdarks.fits import scan_file
from emdarks.fits.pixels import ArraySource, FileSource, Scratch, read_array
from emdarks.frames import Dataset, Image, frame_sources, select_frames
from loops import for_each

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
ROWS, COLS, LAYERS, FRAMES = 7, 11, 2, 3
PIXELS = ROWS * COLS

Array = np.ndarray[Any, Any]


def noise(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(100.0, 30.0, size=shape)


def flags(*shape: int, seed: int = 2) -> Array:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 1 << 16, size=shape) * (rng.random(shape) < 0.4)).astype(np.uint16)


def frame_hdus(seed: int = 1, **cards: Any) -> list[Any]:
    """A frame as the pipeline writes it: image and err float32, err with a layer axis."""
    primary = fits.PrimaryHDU()
    primary.header["VISITID"] = f"V{seed:03d}"
    image = fits.ImageHDU(noise(ROWS, COLS, seed=seed).astype(np.float32))
    image.header.update({"EXPTIME": 60.0, "EMGAIN_C": 5.0, "KGAINPAR": 8.7, **cards})
    err = np.abs(noise(1, ROWS, COLS, seed=seed + 1000)).astype(np.float32)
    hdus = [primary, image, fits.ImageHDU(err, name="ERR")]
    return [*hdus, fits.ImageHDU(flags(ROWS, COLS, seed=seed), name="DQ")]


def write(path: Path, hdus: list[Any]) -> str:
    fits.HDUList(hdus).writeto(path)
    return str(path)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that tests get copies of: Astropy takes longer to write them."""
    folder = tmp_path_factory.mktemp("written")
    write(folder / "frame_l2a.fits", frame_hdus())
    times, gains = (60.0, 2.0, 60.0, 2.0, 60.0), (5.0, 5.0, 5.0, 1.0, 5.0)
    for i, (time, gain) in enumerate(zip(times, gains, strict=True)):
        write(folder / f"dark_{i}.fits", frame_hdus(i, EXPTIME=time, EMGAIN_C=gain))
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(noise(FRAMES, ROWS, COLS).astype(np.float32)),
        fits.ImageHDU(noise(LAYERS, FRAMES, ROWS, COLS, seed=3).astype(np.float32), name="ERR"),
        fits.ImageHDU(flags(FRAMES, ROWS, COLS), name="DQ"),
    ]
    hdus[1].header.update({"EXPTIME": 60.0, "EMGAIN_C": 5.0, "KGAINPAR": 8.7})
    write(folder / "cube.fits", hdus)
    return folder


@pytest.fixture
def path(written: Path, tmp_path: Path) -> str:
    return shutil.copy(written / "frame_l2a.fits", str(tmp_path))


@pytest.fixture
def paths(written: Path, tmp_path: Path) -> list[str]:
    """Five frames of three kinds."""
    return [shutil.copy(written / f"dark_{i}.fits", str(tmp_path)) for i in range(5)]


@pytest.fixture
def cube(written: Path, tmp_path: Path) -> str:
    return shutil.copy(written / "cube.fits", str(tmp_path))


@pytest.fixture
def no_pixels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was read of pixels; in this test nothing may be."""
    seen: list[str] = []

    def watch(module: Any, name: str) -> None:
        original = getattr(module, name)

        def spy(*args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, spy)

    watch(os, "preadv")
    watch(source_module, "open_whole")
    watch(source_module, "read_plane")
    original = fits.hdu.base._BaseHDU._get_raw_data

    def raw(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append("_get_raw_data")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(fits.hdu.base._BaseHDU, "_get_raw_data", raw)
    return seen


def planes_of(frame: Any) -> tuple[Array, Array, Array]:
    return frame.data, frame.err, frame.dq


def same_planes(one: Any, two: Any) -> bool:
    return all(
        a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(planes_of(one), planes_of(two), strict=True)
    )


# ---------------------------------------------------------------- images from files


def test_an_image_from_a_file_holds_what_astropy_reads(path: str) -> None:
    image = Image(path)
    with fits.open(path) as hdus:
        assert np.array_equal(image.data, hdus[1].data.astype(np.float64))
        assert np.array_equal(image.err, hdus["ERR"].data.astype(np.float64))
        assert np.array_equal(image.dq, hdus["DQ"].data)
        for header, index in ((image.pri_hdr, 0), (image.ext_hdr, 1)):
            assert header.tostring() == hdus[index].header.tostring()
        assert image.err_hdr["EXTNAME"] == "ERR"
        assert image.dq_hdr["EXTNAME"] == "DQ"
    assert image.data.dtype == image.err.dtype == np.float64
    assert image.dq.dtype == np.uint16
    assert image.err.shape == (1, ROWS, COLS)


def test_an_image_knows_its_file(path: str) -> None:
    image = Image(path)
    assert (image.filename, image.filedir) == ("frame_l2a.fits", str(Path(path).parent))
    assert image.filepath == path


def test_a_file_in_the_working_folder(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(path).parent)
    image = Image("frame_l2a.fits")
    assert (image.filedir, image.filename) == (".", "frame_l2a.fits")
    assert Path(image.filepath).samefile(path)


def test_an_image_from_a_path_object(path: str) -> None:
    assert same_planes(Image(Path(path)), Image(path))


def test_pixels_of_an_image_can_be_changed(path: str) -> None:
    image = Image(path)
    image.data[2, 3] = -5.0
    image.err[0, 2, 3] = 7.0
    image.dq[2, 3] = 4
    assert (image.data[2, 3], image.err[0, 2, 3], image.dq[2, 3]) == (-5.0, 7.0, 4)


def test_an_image_that_was_read_needs_its_file_no_more(path: str) -> None:
    image, expected = Image(path), fits.getdata(path, 1).astype(np.float64)
    Path(path).unlink()
    assert np.array_equal(image.data, expected)
    assert len(image.hdu_list) == 0
    assert image.copy().dq.shape == (ROWS, COLS)


def test_absent_err_and_dq_are_zeros(tmp_path: Path) -> None:
    image = Image(write(tmp_path / "a.fits", frame_hdus()[:2]))
    assert image.err.shape == (1, ROWS, COLS)
    assert image.dq.shape == (ROWS, COLS)
    assert not image.err.any()
    assert not image.dq.any()
    assert image.dq.dtype == np.uint16
    assert len(image.err_hdr) == len(image.dq_hdr) == 0


def test_err_without_layer_axis_gets_one(tmp_path: Path) -> None:
    hdus = frame_hdus()
    hdus[2] = fits.ImageHDU(noise(ROWS, COLS), name="ERR")
    image = Image(write(tmp_path / "a.fits", hdus))
    assert image.err.shape == (1, ROWS, COLS)
    assert np.array_equal(image.err[0], noise(ROWS, COLS))


def test_all_layers_of_err_are_kept(tmp_path: Path) -> None:
    hdus = frame_hdus()
    hdus[2] = fits.ImageHDU(noise(LAYERS, ROWS, COLS), name="ERR")
    assert np.array_equal(Image(write(tmp_path / "a.fits", hdus)).err, noise(LAYERS, ROWS, COLS))


def test_integer_images_stay_integers(tmp_path: Path) -> None:
    numbers = flags(ROWS, COLS)
    image = Image(write(tmp_path / "a.fits", [fits.PrimaryHDU(), fits.ImageHDU(numbers)]))
    assert image.data.dtype == np.uint16
    assert np.array_equal(image.data, numbers)


def test_an_image_of_a_cube_has_all_frames(cube: str) -> None:
    image = Image(cube)
    assert image.data.shape == image.dq.shape == (FRAMES, ROWS, COLS)
    assert image.err.shape == (LAYERS, FRAMES, ROWS, COLS)


def test_further_hdus_travel_with_an_image(tmp_path: Path) -> None:
    hdus = [*frame_hdus(), fits.ImageHDU(noise(4, 5), name="BIAS")]
    image = Image(write(tmp_path / "a.fits", hdus))
    assert image.hdu_names == ["BIAS"]
    assert np.array_equal(image.hdu_list["BIAS"].data, noise(4, 5))


def test_arguments_replace_planes_of_the_file(path: str) -> None:
    image = Image(path, err=np.ones((ROWS, COLS)), dq=np.ones((ROWS, COLS), np.uint8))
    assert np.array_equal(image.err, np.ones((1, ROWS, COLS)))
    assert image.dq.dtype == np.uint8
    assert image.ext_hdr["EXPTIME"] == 60.0


@pytest.mark.parametrize("name", ["err", "dq"])
def test_arguments_of_another_shape_than_the_file_are_refused(path: str, name: str) -> None:
    with pytest.raises(InputError, match=rf"frame_l2a\.fits: {name} has shape"):
        Image(path, **{name: np.ones((COLS, ROWS), np.uint8)})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.fits"):
        Image(str(tmp_path / "absent.fits"))


# ---------------------------------------------------------------- images from arrays


def of_arrays(**changes: Any) -> Image:
    arguments = {
        "data_or_filepath": noise(ROWS, COLS),
        "pri_hdr": fits.Header({"VISITID": "V"}),
        "ext_hdr": fits.Header({"EXPTIME": 60.0}),
        **changes,
    }
    return Image(**arguments)


def test_an_image_from_arrays() -> None:
    err, dq = noise(LAYERS, ROWS, COLS, seed=5), flags(ROWS, COLS)
    image = of_arrays(err=err, dq=dq, err_hdr=fits.Header({"A": 1}), dq_hdr=fits.Header({"B": 2}))
    assert np.array_equal(image.data, noise(ROWS, COLS))
    assert np.array_equal(image.err, err)
    assert np.array_equal(image.dq, dq)
    assert (image.err_hdr["A"], image.dq_hdr["B"]) == (1, 2)
    assert (image.pri_hdr["VISITID"], image.ext_hdr["EXPTIME"]) == ("V", 60.0)
    assert (image.filename, image.filedir) == ("", ".")
    assert image.hdu_names == []


def test_arrays_without_err_and_dq_get_zeros() -> None:
    image = of_arrays()
    assert image.err.shape == (1, ROWS, COLS)
    assert image.dq.shape == (ROWS, COLS)
    assert not image.err.any()
    assert not image.dq.any()


def test_arrays_of_further_axes_are_taken() -> None:
    image = of_arrays(data_or_filepath=noise(FRAMES, ROWS, COLS))
    assert image.err.shape == (1, FRAMES, ROWS, COLS)


def test_further_hdus_may_be_given() -> None:
    image = of_arrays(input_hdulist=[fits.ImageHDU(noise(2, 3), name="X")])
    assert image.hdu_names == ["X"]


@pytest.mark.parametrize("header", ["pri_hdr", "ext_hdr"])
def test_arrays_need_both_headers(header: str) -> None:
    with pytest.raises(InputError, match="pri_hdr and ext_hdr"):
        of_arrays(**{header: None})


@pytest.mark.parametrize(
    "shape", [(COLS, ROWS), (ROWS,), (1, ROWS, COLS + 1), (1, 1, ROWS, COLS), ()]
)
def test_err_of_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="err has shape"):
        of_arrays(err=np.zeros(shape))
    with pytest.raises(InputError, match="err has shape"):
        of_arrays().err = np.zeros(shape)


@pytest.mark.parametrize("shape", [(COLS, ROWS), (1, ROWS, COLS), (ROWS,), ()])
def test_dq_of_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="dq has shape"):
        of_arrays(dq=np.zeros(shape, np.uint16))
    with pytest.raises(InputError, match="dq has shape"):
        of_arrays().dq = np.zeros(shape, np.uint16)


def test_a_number_is_no_image() -> None:
    with pytest.raises(InputError, match="array of pixels or the path"):
        of_arrays(data_or_filepath=5.0)


# ---------------------------------------------------------------- what images do


def test_masked_data_hide_every_flagged_pixel(path: str) -> None:
    image = Image(path)
    image.dq[0, :3] = [0, 1, 256]
    masked = image.get_masked_data()
    assert np.array_equal(masked.mask, image.dq != 0)
    assert np.array_equal(masked.data, image.data)
    assert list(masked.mask[0, :3]) == [False, True, True]


def test_an_error_term_adds_in_quadrature_to_the_combined_layer() -> None:
    err, term = np.abs(noise(LAYERS, ROWS, COLS, seed=5)), np.abs(noise(ROWS, COLS, seed=6))
    image = of_arrays(err=err)
    image.add_error_term(term, "read noise")
    assert np.allclose(image.err[0], np.sqrt(err[0] ** 2 + term**2), rtol=1e-15, atol=0)
    assert np.array_equal(image.err[1], err[1])
    assert "read noise" in str(image.err_hdr["HISTORY"])
    assert image.err_hdr["LAYER_1"] == "combined_error"


def test_an_error_term_leaves_the_callers_array_alone() -> None:
    err = np.ones((1, ROWS, COLS))
    image = of_arrays(err=err)
    image.add_error_term(np.ones((ROWS, COLS)), "x")
    assert np.all(err == 1.0)


def test_an_error_term_may_be_added_to_a_frame_of_a_dataset(path: str) -> None:
    frame = Dataset([path])[0]
    before = frame.err.copy()
    frame.add_error_term(np.full((ROWS, COLS), 3.0), "x")
    assert np.allclose(frame.err, np.hypot(before, 3.0), rtol=1e-15, atol=0)


@pytest.mark.parametrize("shape", [(COLS, ROWS), (1, ROWS, COLS), ()])
def test_an_error_term_of_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="error term has shape"):
        of_arrays().add_error_term(np.ones(shape), "x")


def test_the_picture_of_an_image_in_words(path: str) -> None:
    assert repr(Image(path)) == "<Image frame_l2a.fits (7, 11)>"
    assert "unnamed" in repr(of_arrays())


# ---------------------------------------------------------------- copies and pickles


def make_loaded(path: str) -> Image:
    return Image(path)


def make_lazy(path: str) -> Image:
    frame: Image = Dataset([path])[0]
    return frame


def make_of_arrays(path: str) -> Image:
    loaded = Image(path)
    return Image(*planes_of(loaded)[:1], loaded.pri_hdr, loaded.ext_hdr, loaded.err, loaded.dq)


MAKERS = [make_loaded, make_lazy, make_of_arrays]


@pytest.mark.parametrize("make", MAKERS)
def test_a_copy_is_independent(path: str, make: Callable[[str], Image]) -> None:
    image, untouched = make(path), Image(path)
    twin = image.copy()
    assert same_planes(twin, untouched)
    for name in ("data", "err", "dq"):
        setattr(twin, name, getattr(twin, name) + 1)
        getattr(twin, name)[...] = 1
    twin.ext_hdr["EXPTIME"] = -1.0
    twin.pri_hdr["NEW"] = 1
    twin.filename = "other.fits"
    assert same_planes(image, untouched)
    assert image.ext_hdr["EXPTIME"] == 60.0
    assert "NEW" not in image.pri_hdr
    assert image.filename != "other.fits"


@pytest.mark.parametrize("make", [make_loaded, make_of_arrays])
def test_a_copy_shares_no_memory(path: str, make: Callable[[str], Image]) -> None:
    image = make(path)
    twin = image.copy()
    for one, two in zip(planes_of(image), planes_of(twin), strict=True):
        assert not np.shares_memory(one, two)
    shallow = image.copy(copy_data=False)
    for one, two in zip(planes_of(image), planes_of(shallow), strict=True):
        assert np.shares_memory(one, two)
    shallow.ext_hdr["EXPTIME"] = -1.0
    assert image.ext_hdr["EXPTIME"] == 60.0


def test_a_copy_has_its_own_further_hdus(tmp_path: Path) -> None:
    image = Image(write(tmp_path / "a.fits", [*frame_hdus(), fits.ImageHDU(noise(2, 3), name="X")]))
    twin = image.copy()
    twin.hdu_list["X"].data[...] = 0.0
    twin.hdu_list["X"].header["NEW"] = 1
    assert np.array_equal(image.hdu_list["X"].data, noise(2, 3))
    assert "NEW" not in image.hdu_list["X"].header


@pytest.mark.parametrize("make", MAKERS)
def test_images_survive_pickling(path: str, make: Callable[[str], Image]) -> None:
    image = make(path)
    image.ext_hdr["NOTE"] = "changed"
    back = pickle.loads(pickle.dumps(image))
    assert same_planes(back, image)
    assert back.ext_hdr.tostring() == image.ext_hdr.tostring()
    assert back.pri_hdr.tostring() == image.pri_hdr.tostring()
    assert back.filepath == image.filepath


def test_a_pickled_lazy_frame_is_small_even_while_its_pixels_are_looked_at(path: str) -> None:
    frame = make_lazy(path)
    held = frame.data
    assert len(pickle.dumps(frame)) < 10_000
    assert held.shape == (ROWS, COLS)


# ---------------------------------------------------------------- saving


@pytest.mark.parametrize("make", MAKERS)
def test_saving_and_loading_gives_the_same_numbers(
    path: str, tmp_path: Path, make: Callable[[str], Image]
) -> None:
    image = make(path)
    image.save(filedir=str(tmp_path), filename="new.fits")
    back = Image(str(tmp_path / "new.fits"))
    assert same_planes(back, Image(path))
    assert back.ext_hdr["EXPTIME"] == 60.0
    assert back.pri_hdr["FILENAME"] == "new.fits"
    assert (image.filedir, image.filename) == (str(tmp_path), "new.fits")


def test_files_have_the_documented_types_and_order(tmp_path: Path) -> None:
    image = of_arrays(dq=flags(ROWS, COLS), input_hdulist=[fits.ImageHDU(noise(2, 3), name="X")])
    image.save(tmp_path, "new.fits")
    with fits.open(tmp_path / "new.fits", checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "", "ERR", "DQ", "X"]
        assert [hdu.header["BITPIX"] for hdu in hdus[1:]] == [-32, -32, 16, -32]
        assert hdus["DQ"].header["BZERO"] == 32768
        assert hdus["ERR"].shape == (1, ROWS, COLS)


def test_saving_leaves_the_object_as_it_is(tmp_path: Path) -> None:
    image = of_arrays(err=noise(1, ROWS, COLS), dq=flags(ROWS, COLS).astype(np.int64))
    data, err, dq = planes_of(image)
    image.save(tmp_path, "new.fits")
    assert (image.data is data, image.err is err, image.dq is dq) == (True, True, True)
    assert (data.dtype, err.dtype, dq.dtype) == (np.float64, np.float64, np.int64)
    assert np.array_equal(data, noise(ROWS, COLS))


@for_each(
    "kind, bit",
    [
        (kind, bit)
        for kind in (np.uint8, np.uint16, np.int32, np.int64, np.uint64)
        for bit in (7, 8, 15, 16, 30, 31, 32, 62, 63)
        if bit <= np.iinfo(kind).max.bit_length() - 1
    ],
)
def test_no_flag_is_lost_in_a_file(tmp_path: Path, kind: type, bit: int) -> None:
    dq = np.zeros((ROWS, COLS), kind)
    dq[3, 5] = kind(1) << kind(bit)
    of_arrays(dq=dq).save(tmp_path, "new.fits")
    back = Image(tmp_path / "new.fits").dq
    assert np.array_equal(back, dq)
    assert (back.dtype == np.uint16) == (bit <= 15)


def test_an_image_without_a_name_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file name"):
        of_arrays().save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_saving_into_a_missing_folder_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    image = of_arrays()
    with pytest.raises(InputError, match="cannot be written"):
        image.save(tmp_path / "absent", "new.fits")
    assert (image.filedir, image.filename) == (".", "")


@pytest.mark.parametrize("make", [make_loaded, make_lazy])
def test_a_frame_may_be_saved_over_its_own_file(path: str, make: Callable[[str], Image]) -> None:
    frame, untouched = make(path), Image(path)
    frame.data = frame.data * 2.0
    frame.ext_hdr["NOTE"] = "doubled"
    frame.save()
    for image in (frame, Image(path), Dataset([path])[0]):
        assert np.array_equal(image.data, untouched.data * 2.0)
        assert np.array_equal(image.err, untouched.err)
        assert np.array_equal(image.dq, untouched.dq)
        assert image.ext_hdr["NOTE"] == "doubled"


def test_a_frame_of_a_cube_does_not_replace_the_cube(cube: str, tmp_path: Path) -> None:
    before = Path(cube).read_bytes()
    with pytest.raises(InputError, match=r"cube\.fits: is the cube"):
        Dataset([cube])[1].save()
    assert Path(cube).read_bytes() == before
    Dataset([cube])[1].save(tmp_path, "one.fits")
    back = Image(tmp_path / "one.fits")
    assert np.array_equal(back.data, Image(cube).data[1])
    assert np.array_equal(back.err, Image(cube).err[:1, 1])


# ---------------------------------------------------------------- datasets: lazy


@pytest.mark.parametrize("kind", ["plain", "gzip", "tiles", "cube"])
def test_a_dataset_of_files_reads_headers_only(
    tmp_path: Path, cube: str, no_pixels: list[str], kind: str
) -> None:
    if kind == "cube":
        file = cube
    elif kind == "tiles":
        hdus = [fits.CompImageHDU(noise(ROWS, COLS), compression_type="GZIP_2", quantize_level=0)]
        file = write(tmp_path / "t.fits", [fits.PrimaryHDU(), *hdus])
    else:
        file = write(tmp_path / "a.fits", frame_hdus())
        if kind == "gzip":
            Path(file).write_bytes(gzip.compress(Path(file).read_bytes()))
    no_pixels.clear()
    dataset = Dataset([file])
    dataset.split_dataset(exthdr_keywords=["NAXIS1"])
    for frame in dataset.copy()[:]:
        assert frame.ext_hdr["NAXIS1"] == COLS
        assert "EXTNAME" not in frame.pri_hdr
        assert frame.source is not None
    frame_sources(dataset)
    assert no_pixels == []
    assert dataset[0].data.shape == (ROWS, COLS)
    assert no_pixels != []


def test_frames_of_files_and_loaded_images_have_the_same_planes(paths: list[str]) -> None:
    for frame, path in zip(Dataset(paths), paths, strict=True):
        assert same_planes(frame, Image(path))


def test_the_golden_frames_are_read_as_astropy_reads_them() -> None:
    files = sorted(GOLDEN.glob("cgi_*.fits"))
    dataset = Dataset(files)
    assert len(dataset) == len(files) == 36
    for frame, file in list(zip(dataset, files, strict=True))[::7]:
        with fits.open(file) as hdus:
            assert np.array_equal(frame.data, hdus[1].data.astype(np.float64))
            assert np.array_equal(frame.err[0], np.squeeze(hdus["ERR"].data).astype(np.float64))
            assert np.array_equal(frame.dq, hdus["DQ"].data)
            assert frame.ext_hdr.tostring() == hdus[1].header.tostring()


@pytest.mark.parametrize("name", ["data", "err", "dq"])
def test_pixels_of_a_lazy_frame_are_read_only(path: str, name: str) -> None:
    frame = Dataset([path])[0]
    with pytest.raises(ValueError, match="read-only"):
        getattr(frame, name)[...] = 0


@pytest.mark.parametrize("name", ["data", "err", "dq"])
def test_an_assigned_plane_sticks_and_can_be_written(path: str, name: str) -> None:
    frame, untouched = Dataset([path])[0], Image(path)
    setattr(frame, name, getattr(frame, name).copy())
    getattr(frame, name)[...] = 1
    assert np.all(getattr(frame, name) == 1)
    for other in {"data", "err", "dq"} - {name}:
        assert np.array_equal(getattr(frame, other), getattr(untouched, other))
    assert frame.source is None


def test_a_lazy_frame_does_not_keep_its_pixels(paths: list[str]) -> None:
    """Looping over a campaign must not fill the memory."""
    dataset = Dataset(paths)
    held = dataset[0].data
    assert dataset[0].data is held
    for frame in dataset:
        assert frame.data.size == PIXELS
    gc.collect()
    assert all(frame._data is None for frame in dataset)
    lent = [frame._lent["data"]() for frame in dataset]
    assert lent[0] is held
    assert lent[1:] == [None] * 4


def test_a_header_of_a_lazy_frame_can_be_changed(path: str) -> None:
    frame = Dataset([path])[0]
    frame.ext_hdr["EXPTIME"] = 3.0
    assert frame.ext_hdr["EXPTIME"] == 3.0
    assert frame.cards("ext")["EXPTIME"] == 3.0
    frame.pri_hdr = fits.Header({"NEW": 1})
    assert dict(frame.pri_hdr) == {"NEW": 1}
    assert fits.getval(path, "EXPTIME", 1) == 60.0


@pytest.mark.parametrize("kind", ["plain", "gzip"])
@pytest.mark.parametrize("how", ["vanished", "grew", "rewritten", "replaced by a folder"])
def test_a_file_that_changed_after_the_scan_is_refused_by_name(
    path: str, kind: str, how: str
) -> None:
    file = Path(path)
    if kind == "gzip":
        file.write_bytes(gzip.compress(file.read_bytes()))
    frame = Dataset([path])[0]
    layout, content = scan_file(path), file.read_bytes()
    if how == "grew":
        file.write_bytes(content + b" ")
        os.utime(file, ns=(layout.mtime_ns, layout.mtime_ns))
    elif how == "rewritten":
        os.utime(file, ns=(layout.mtime_ns + 1, layout.mtime_ns + 1))
    else:
        file.unlink()
        if how == "replaced by a folder":
            file.mkdir()
    for read in (lambda: frame.data, lambda: frame.dq, lambda: FileSource(layout).open()):
        with pytest.raises(InputError, match=r"frame_l2a\.fits: (changed after|cannot be read)"):
            read()


def test_a_file_that_ends_while_it_is_read_is_refused_by_name(path: str) -> None:
    reader = FileSource(scan_file(path)).open()
    os.truncate(path, 6000)
    with pytest.raises(InputError, match=r"frame_l2a\.fits: ended"):
        reader.pixels(0, PIXELS, Scratch(PIXELS))
    reader.close()


def test_damaged_tiles_are_refused_by_name(tmp_path: Path) -> None:
    hdu = fits.CompImageHDU(noise(50, 60), compression_type="GZIP_2", quantize_level=0)
    path = write(tmp_path / "tiles.fits", [fits.PrimaryHDU(), hdu])
    content = bytearray(Path(path).read_bytes())
    heap = content.index(b"\x1f\x8b")
    content[heap + 20 : heap + 40] = b"\xff" * 20
    Path(path).write_bytes(content)
    with pytest.raises(InputError, match=r"tiles\.fits: cannot be unpacked"):
        FileSource(scan_file(path)).open()


# ---------------------------------------------------------------- datasets: a sequence


@pytest.fixture(params=["files", "memory"])
def dataset(request: pytest.FixtureRequest, paths: list[str]) -> Dataset:
    return Dataset(paths if request.param == "files" else [Image(path) for path in paths])


def test_length_iteration_and_frames_agree(dataset: Dataset) -> None:
    assert len(dataset) == len(dataset.frames) == 5
    assert all(one is two for one, two in zip(dataset, dataset.frames, strict=True))
    assert repr(dataset) == "<Dataset of 5 frames>"


@for_each("index", [0, 4, -1, np.int64(2), np.uint8(3), np.int16(-2)])
def test_an_integer_gives_a_frame(dataset: Dataset, index: int) -> None:
    assert dataset[index] is dataset.frames[int(index)]


@for_each("index", [5, -6, np.int64(5)])
def test_an_integer_outside_is_an_index_error(dataset: Dataset, index: int) -> None:
    with pytest.raises(IndexError):
        dataset[index]


@for_each(
    "index, chosen",
    [
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -2), [4, 2, 0]),
        (slice(-2, None), [3, 4]),
        ([3, 0, 3], [3, 0, 3]),
        ((1, -1), [1, 4]),
        (np.array([2, 1]), [2, 1]),
        (np.array([2, 1], np.uint8), [2, 1]),
        ([True, False, False, True, False], [0, 3]),
        (np.array([False, True, True, False, True]), [1, 2, 4]),
    ],
    ids=str,
)
def test_all_other_indices_give_a_dataset(dataset: Dataset, index: Any, chosen: list[int]) -> None:
    part = dataset[index]
    assert isinstance(part, Dataset)
    assert [dataset.frames.index(frame) for frame in part] == chosen


@for_each("index", [[True], np.ones(6, bool), [0, 9], [-6]], ids=str)
def test_an_index_that_does_not_fit_is_refused(dataset: Dataset, index: Any) -> None:
    with pytest.raises(IndexError):
        dataset[index]


@for_each("index", [[0.5, 1.0], "0", ["a"], 1.0, None], ids=repr)
def test_what_is_no_index_is_refused(dataset: Dataset, index: Any) -> None:
    with pytest.raises(TypeError):
        dataset[index]


@for_each("empty", [[], slice(3, 3), np.zeros(5, bool)], ids=str)
def test_an_empty_choice_is_refused(dataset: Dataset, empty: Any) -> None:
    with pytest.raises(InputError, match="at least one frame"):
        dataset[empty]


@pytest.mark.parametrize("nothing", [[], (), iter([]), np.array([])])
def test_a_dataset_of_nothing_is_refused(nothing: Any) -> None:
    with pytest.raises(InputError, match="at least one frame"):
        Dataset(nothing)


def test_paths_may_come_from_an_iterator_and_as_path_objects(paths: list[str]) -> None:
    dataset = Dataset(Path(path) for path in paths)
    assert [frame.filepath for frame in dataset] == paths


def test_a_bad_file_among_good_ones_is_named(paths: list[str], tmp_path: Path) -> None:
    bad = tmp_path / "bad.fits"
    bad.write_text("no frame")
    with pytest.raises(InputError, match=r"bad\.fits"):
        Dataset([*paths, str(bad)])


def test_frames_in_memory_are_kept_as_they_are(paths: list[str]) -> None:
    images = [Image(path) for path in paths]
    dataset = Dataset(images)
    assert all(one is two for one, two in zip(dataset, images, strict=True))


def test_stacked_planes(dataset: Dataset) -> None:
    assert dataset.all_data.shape == dataset.all_dq.shape == (5, ROWS, COLS)
    assert dataset.all_err.shape == (5, 1, ROWS, COLS)
    for i, frame in enumerate(dataset):
        assert np.array_equal(dataset.all_data[i], frame.data)
        assert np.array_equal(dataset.all_err[i], frame.err)
        assert np.array_equal(dataset.all_dq[i], frame.dq)
    dataset.all_data[...] = 0.0
    assert dataset[0].data.any()


# ---------------------------------------------------------------- datasets: splitting


def names(dataset: Dataset) -> list[str]:
    return [frame.filename for frame in dataset]


def test_splitting_sorts_groups_and_keeps_the_order_in_them(dataset: Dataset) -> None:
    groups, values = dataset.split_dataset(exthdr_keywords=["EXPTIME", "EMGAIN_C"])
    assert values == [(2.0, 1.0), (2.0, 5.0), (60.0, 5.0)]
    assert [names(group) for group in groups] == [
        ["dark_3.fits"],
        ["dark_1.fits"],
        ["dark_0.fits", "dark_2.fits", "dark_4.fits"],
    ]


def test_splitting_by_one_keyword_gives_plain_values(dataset: Dataset) -> None:
    groups, values = dataset.split_dataset(exthdr_keywords=["EXPTIME"])
    assert values == [2.0, 60.0]
    assert [len(group) for group in groups] == [2, 3]


def test_splitting_by_both_headers_takes_the_primary_first(dataset: Dataset) -> None:
    _, values = dataset[:2].split_dataset(["VISITID"], ["EXPTIME"])
    assert values == [("V000", 60.0), ("V001", 2.0)]


def test_splitting_follows_a_changed_header(dataset: Dataset) -> None:
    dataset[0].ext_hdr["EXPTIME"] = 7.0
    assert dataset.split_dataset(exthdr_keywords=["EXPTIME"])[1] == [2.0, 7.0, 60.0]


def test_splitting_by_values_of_mixed_types_has_an_order(dataset: Dataset) -> None:
    dataset[1].ext_hdr["EXPTIME"] = "long"
    groups, values = dataset.split_dataset(exthdr_keywords=["EXPTIME"])
    assert values == [2.0, 60.0, "long"]
    assert [len(group) for group in groups] == [1, 3, 1]


def test_every_frame_is_in_exactly_one_group(dataset: Dataset) -> None:
    groups, _ = dataset.split_dataset(["VISITID"], ["EMGAIN_C"])
    found = [id(frame) for group in groups for frame in group]
    assert sorted(found) == sorted(map(id, dataset))


@for_each("keywords", [(None, None), ([], []), ((), None)])
def test_splitting_without_keywords_is_refused(dataset: Dataset, keywords: Any) -> None:
    with pytest.raises(InputError, match="at least one keyword"):
        dataset.split_dataset(*keywords)


def test_splitting_names_the_frame_that_lacks_the_keyword(dataset: Dataset) -> None:
    del dataset[3].ext_hdr["EMGAIN_C"]
    with pytest.raises(MissingKeywordError, match=r"dark_3\.fits.*EMGAIN_C"):
        dataset.split_dataset(exthdr_keywords=["EMGAIN_C"])


# ---------------------------------------------------------------- datasets: side by side


def disturb_nothing(dataset: Dataset) -> None:
    dataset[::-1]
    dataset[[0, 0, 2]]
    dataset.split_dataset(exthdr_keywords=["EXPTIME"])
    Dataset(dataset.frames)
    Dataset(list(dataset))
    frame_sources(dataset[1:])


def test_a_second_dataset_over_the_same_frames_does_not_disturb_the_first(
    dataset: Dataset,
) -> None:
    frames = list(dataset.frames)
    planes = [[plane.copy() for plane in planes_of(frame)] for frame in frames]
    held = [frame._data for frame in frames]
    disturb_nothing(dataset)
    assert all(one is two for one, two in zip(dataset.frames, frames, strict=True))
    assert all(frame._data is data for frame, data in zip(frames, held, strict=True))
    for frame, before in zip(frames, planes, strict=True):
        for now, then in zip(planes_of(frame), before, strict=True):
            assert np.array_equal(now, then)


def test_both_datasets_see_a_change_of_a_frame(dataset: Dataset) -> None:
    second = dataset[1:3]
    second[0].data = np.full((ROWS, COLS), 9.0)
    assert np.all(dataset[1].data == 9.0)
    assert np.all(dataset.all_data[1] == 9.0)
    assert np.all(second.all_data[0] == 9.0)


def test_a_change_of_one_list_of_frames_is_none_of_the_other(dataset: Dataset) -> None:
    second = Dataset(dataset.frames)
    del second.frames[0]
    assert (len(dataset), len(second)) == (5, 4)


def test_a_copied_dataset_is_independent(dataset: Dataset, paths: list[str]) -> None:
    twin = dataset.copy()
    for frame in twin:
        frame.data = np.zeros((ROWS, COLS))
        frame.ext_hdr["EXPTIME"] = 0.0
    for frame, path in zip(dataset, paths, strict=True):
        assert same_planes(frame, Image(path))
        assert frame.ext_hdr["EXPTIME"] > 0


def test_a_dataset_survives_pickling(dataset: Dataset) -> None:
    back = pickle.loads(pickle.dumps(dataset))
    assert names(back) == names(dataset)
    assert all(same_planes(one, two) for one, two in zip(back, dataset, strict=True))


# ---------------------------------------------------------------- datasets: saving, cubes


def test_a_saved_dataset_is_the_same_frames_elsewhere(dataset: Dataset, tmp_path: Path) -> None:
    target = tmp_path / "saved"
    target.mkdir()
    originals = [frame.copy() for frame in dataset]
    dataset.save(str(target))
    assert sorted(path.name for path in target.iterdir()) == [f"dark_{i}.fits" for i in range(5)]
    for frame, original in zip(Dataset(sorted(target.iterdir())), originals, strict=True):
        assert same_planes(frame, original)
        assert frame.ext_hdr["EXPTIME"] == original.ext_hdr["EXPTIME"]
    assert all(frame.filedir == str(target) for frame in dataset)


def test_a_dataset_may_be_saved_under_new_names(dataset: Dataset, tmp_path: Path) -> None:
    dataset.save(tmp_path, [f"new {i}.fits" for i in range(5)])
    assert same_planes(Image(tmp_path / "new 3.fits"), dataset[3])
    assert names(dataset) == [f"new {i}.fits" for i in range(5)]


def test_a_dataset_may_be_saved_in_place(dataset: Dataset, paths: list[str]) -> None:
    before = [frame.data.copy() for frame in dataset]
    for frame in dataset:
        frame.ext_hdr["NOTE"] = "seen"
    dataset.save()
    for frame, path, data in zip(dataset, paths, before, strict=True):
        assert np.array_equal(frame.data, data)
        assert np.array_equal(Image(path).data, data)
        assert fits.getval(path, "NOTE", 1) == "seen"


@pytest.mark.parametrize("file_names", [["a.fits"], ["a.fits"] * 6])
def test_a_wrong_number_of_names_is_refused(
    dataset: Dataset, tmp_path: Path, file_names: list[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=f"{len(file_names)} file names for 5 frames"):
        dataset.save(tmp_path, file_names)
    assert sorted(tmp_path.iterdir()) == before


def test_frames_that_would_overwrite_each_other_are_refused(
    dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"a\.fits: several frames"):
        dataset.save(tmp_path, ["a.fits", "b.fits", "c.fits", "a.fits", "d.fits"])
    assert not (tmp_path / "a.fits").exists()


def test_a_cube_is_as_many_frames_as_planes(cube: str, path: str) -> None:
    dataset, whole = Dataset([path, cube]), Image(cube)
    assert len(dataset) == 1 + FRAMES
    assert [frame.frame for frame in dataset] == [None, 0, 1, 2]
    for i, frame in enumerate(dataset[1:]):
        assert np.array_equal(frame.data, whole.data[i])
        # of several layers the first one, which is the combined error
        assert np.array_equal(frame.err, whole.err[:1, i])
        assert np.array_equal(frame.dq, whole.dq[i])
        assert frame.filename == "cube.fits"


def test_frames_of_a_cube_are_saved_only_under_names_of_their_own(
    cube: str, tmp_path: Path
) -> None:
    dataset, before = Dataset([cube]), Path(cube).read_bytes()
    with pytest.raises(InputError, match=r"cube\.fits: several frames"):
        dataset.save()
    assert Path(cube).read_bytes() == before
    originals = [frame.data.copy() for frame in dataset]
    dataset.save(tmp_path, [f"plane{i}.fits" for i in range(FRAMES)])
    for i, data in enumerate(originals):
        assert np.array_equal(Image(tmp_path / f"plane{i}.fits").data, data)


# ---------------------------------------------------------------- which files


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames, products and other things, with names as people give them."""
    folder = tmp_path_factory.mktemp("nights")
    for i, name in enumerate(["b dark.fits", "a_dunkel_ä.FITS", "c.fit", "d.fts"]):
        write(folder / name, frame_hdus(i))
    plain = Path(write(folder / "plain", frame_hdus(7)))
    (folder / "e.fits.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    tiles = fits.CompImageHDU(noise(ROWS, COLS), compression_type="GZIP_2", quantize_level=0)
    write(folder / "f.fits.fz", [fits.PrimaryHDU(), tiles])
    for i, kind in enumerate(["Dark", "DetectorNoiseMaps", "DetectorParams", "BadPixelMap"]):
        write(folder / f"a product {i}.fits", frame_hdus(20, DATATYPE=kind))
    truth = frame_hdus(30)
    truth[0].header["DATATYPE"] = "Truth"
    write(folder / "truth.fits", truth)
    (folder / "notes.txt").write_text("not a frame")
    (folder / ".hidden.fits").write_text("not a frame")
    (folder / "sub.fits").mkdir()
    return folder


@pytest.fixture
def folder(nights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nights, tmp_path / "Nächte 2026"))


FOUND = ["a_dunkel_ä.FITS", "b dark.fits", "c.fit", "d.fts", "e.fits.gz", "f.fits.fz"]


def test_a_folder_is_its_frames_in_order_of_name(folder: Path) -> None:
    assert names(select_frames([str(folder)])) == FOUND


def test_selecting_reads_headers_only(folder: Path, no_pixels: list[str]) -> None:
    select_frames([str(folder)])
    assert no_pixels == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_product_that_is_named_is_no_frame(folder: Path, order: int) -> None:
    for more in ([], [str(folder)]):
        arguments = [*more, str(folder / "a product 0.fits")][::order]
        with pytest.raises(InputError, match=r"a product 0\.fits: is no frame but a product"):
            select_frames(arguments)


def test_files_come_in_the_order_that_they_are_named(folder: Path) -> None:
    given_names = ["d.fts", "b dark.fits", "a_dunkel_ä.FITS"]
    assert names(select_frames([str(folder / name) for name in given_names])) == given_names


def test_a_pattern_gives_the_matches_in_order_of_name(folder: Path) -> None:
    assert names(select_frames([str(folder / "[b-d]*.f*t*")])) == [
        "b dark.fits",
        "c.fit",
        "d.fts",
    ]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    write(tmp_path / "dark[1].fits", frame_hdus(1))
    write(tmp_path / "dark1.fits", frame_hdus(2))
    assert names(select_frames([str(tmp_path / "dark[1].fits")])) == ["dark[1].fits"]


def test_a_file_that_is_named_twice_counts_once(folder: Path) -> None:
    arguments = [str(folder / "c.fit"), str(folder), str(folder / "c*"), f"{folder}/./c.fit"]
    assert names(select_frames(arguments)) == ["c.fit", *[n for n in FOUND if n != "c.fit"]]


def test_relative_and_absolute_names_of_a_file_are_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert len(select_frames(["c.fit", str(folder / "c.fit"), "./c.fit"])) == 1


def test_two_links_to_one_file_are_two_frames(folder: Path) -> None:
    os.link(folder / "c.fit", folder / "c2.fit")
    assert names(select_frames([str(folder / "c*.fit")])) == ["c.fit", "c2.fit"]


def test_a_list_names_files_folders_and_patterns_relative_to_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (folder / "list.txt").write_text(
        f"# frames of the night\n\n  b dark.fits  \nc*\n{folder / 'd.fts'}\n.\na_dunkel_ä.FITS\n",
        encoding="utf-8",
    )
    expected = ["b dark.fits", "c.fit", "d.fts", "a_dunkel_ä.FITS", "e.fits.gz", "f.fits.fz"]
    assert names(select_frames([f"@{folder / 'list.txt'}"])) == expected


def test_a_list_in_a_list_is_relative_to_the_outer_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lists = folder / "lists"
    lists.mkdir()
    (lists / "inner.txt").write_text("../c.fit\n")
    (folder / "outer.txt").write_text("@lists/inner.txt\nd.fts\n")
    monkeypatch.chdir(tmp_path)
    assert names(select_frames([f"@{folder / 'outer.txt'}"])) == ["c.fit", "d.fts"]


def test_a_cube_in_a_selection_is_its_planes(cube: str, path: str) -> None:
    chosen = select_frames([cube, path])
    assert [frame.frame for frame in chosen] == [0, 1, 2, None]


@pytest.mark.parametrize("argument", ["absent.fits", "absent_*.fits", "@absent.txt", "empty"])
def test_an_argument_that_names_nothing_is_named(folder: Path, argument: str) -> None:
    (folder / "empty").mkdir()
    text = f"@{folder}/{argument[1:]}" if argument.startswith("@") else f"{folder}/{argument}"
    with pytest.raises(InputError) as caught:
        select_frames([str(folder / "c.fit"), text])
    assert argument.lstrip("@") in str(caught.value)


def test_an_entry_of_a_list_that_names_nothing_is_named(folder: Path) -> None:
    (folder / "list.txt").write_text("c.fit\nabsent.fits\n")
    with pytest.raises(InputError, match=r"absent\.fits"):
        select_frames([f"@{folder / 'list.txt'}"])


def test_a_folder_of_products_alone_has_no_frames(folder: Path, tmp_path: Path) -> None:
    products = tmp_path / "products"
    products.mkdir()
    shutil.copy(folder / "truth.fits", products)
    with pytest.raises(InputError, match=r"no frames found in .*products"):
        select_frames(str(argument) for argument in [products])


def test_no_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="no frames"):
        select_frames([])


def test_a_bad_file_in_a_folder_is_named(folder: Path) -> None:
    (folder / "bad.fits").write_text("no frame")
    with pytest.raises(InputError, match=r"bad\.fits"):
        select_frames([str(folder)])


# ---------------------------------------------------------------- sources: every kind of file


@dataclass
class Case:
    """A file, and for each of its frames the numbers that are true of it."""

    path: str
    data: Array  # [frame, row, column], as physical numbers
    err: Array | None
    dq: Array | None


def reference(path: str) -> tuple[Array, Array | None, Array | None]:
    """Physical numbers in float64 from what astropy reads without scaling, by the standard."""

    def physical(hdu: Any) -> Array:
        header, stored = hdu.header, hdu.data
        scale, zero = header.get("BSCALE", 1.0), header.get("BZERO", 0.0)
        if scale == 1 and zero == int(zero) and stored.dtype.kind != "f":
            # Python's integers: a sum of two large numbers in float64 would round twice.
            numbers = (stored.astype(object) + int(zero)).astype(np.float64)
        else:
            numbers = stored.astype(np.float64) * scale + zero
        if stored.dtype.kind != "f" and "BLANK" in header:
            numbers[stored == header["BLANK"]] = np.nan
        return numbers

    with fits.open(path, do_not_scale_image_data=True) as hdus:
        found = {hdu.name: hdu for hdu in hdus}
        image = hdus[1] if len(hdus) > 1 and hdus[1].name not in ("ERR", "DQ") else hdus[0]
        data = physical(image)
        data = data if data.ndim == 3 else data[np.newaxis]
        err = physical(found["ERR"]).reshape(-1, *data.shape)[0] if "ERR" in found else None
    if "DQ" not in found:
        return data, err, None
    with fits.open(path) as hdus:
        dq = np.asarray(hdus["DQ"].data).reshape(data.shape)
    return data, err, dq.astype(f"u{dq.dtype.itemsize}")


SHAPE = (ROWS, COLS)
INTEGERS = {
    kind: np.random.default_rng(8).integers(
        np.iinfo(kind).min, np.iinfo(kind).max, SHAPE, kind, endpoint=True
    )
    for kind in ("u1", "i1", "i2", "i4", "i8", "u2", "u4", "u8")
}


def image_of(array: Array, **cards: Any) -> list[Any]:
    hdu = fits.ImageHDU(array)
    hdu.header.update(cards)
    return [fits.PrimaryHDU(), hdu]


def with_nan(array: Array) -> Array:
    array = array.copy()
    array[1, 2], array[3, 4], array[5, 6] = np.nan, np.inf, -np.inf
    return array


def tiles(array: Array, name: str | None = None, kind: str = "GZIP_2") -> Any:
    # Tiles of two rows: the last one is not full.
    shape = (1,) * (array.ndim - 2) + (2, COLS)
    return fits.CompImageHDU(
        array, name=name, compression_type=kind, tile_shape=shape, quantize_level=0
    )


F4, F8 = noise(*SHAPE).astype(np.float32), noise(*SHAPE, seed=4)
ERR = np.abs(noise(*SHAPE, seed=5)).astype(np.float32)
DQ = flags(*SHAPE)
CUBE = noise(FRAMES, *SHAPE).astype(np.float32)
CUBE_ERR = np.abs(noise(LAYERS, FRAMES, *SHAPE, seed=5)).astype(np.float32)
CUBE_DQ = flags(FRAMES, *SHAPE)


def err(array: Array) -> Any:
    return fits.ImageHDU(array, name="ERR")


def dq(array: Array) -> Any:
    return fits.ImageHDU(array, name="DQ")


CONTENTS: dict[str, Callable[[], list[Any]]] = {
    "float32": lambda: image_of(F4),
    "float64": lambda: image_of(F8),
    "float32 with nan": lambda: image_of(with_nan(F4)),
    **{f"integers {kind}": lambda a=array: image_of(a) for kind, array in INTEGERS.items()},
    "primary only": lambda: [fits.PrimaryHDU(F4)],
    "primary with err and dq": lambda: [fits.PrimaryHDU(INTEGERS["u2"]), err(ERR), dq(DQ)],
    "err without layer axis": lambda: [*image_of(F4), err(ERR), dq(DQ)],
    "err with a layer axis": lambda: [*image_of(F4), err(ERR[np.newaxis]), dq(DQ)],
    "err of two layers": lambda: [*image_of(F4), err(np.stack([ERR, 2 * ERR])), dq(DQ)],
    "err of float64": lambda: [*image_of(F4), err(F8), dq(DQ)],
    "err of integers": lambda: [*image_of(F4), err(INTEGERS["u2"]), dq(DQ)],
    "no err": lambda: [*image_of(F4), dq(DQ)],
    "no dq": lambda: [*image_of(F4), err(ERR)],
    **{f"flags {kind}": lambda a=array: [*image_of(F4), dq(a)] for kind, array in INTEGERS.items()},
    "all at once": lambda: [
        *image_of(INTEGERS["i4"]),
        fits.ImageHDU(noise(2, 3), name="OTHER"),
        dq(INTEGERS["u4"]),
        err(np.stack([F8, F8 + 1])),
    ],
    "cube": lambda: [*image_of(CUBE), err(CUBE_ERR), dq(CUBE_DQ)],
    "cube, err without layers": lambda: [*image_of(CUBE), err(CUBE_ERR[0]), dq(CUBE_DQ)],
    "cube of unsigned integers": lambda: [fits.PrimaryHDU(CUBE_DQ)],
    "tiles": lambda: [fits.PrimaryHDU(), tiles(F4), tiles(ERR[np.newaxis], "ERR"), tiles(DQ, "DQ")],
    "tiles with nan": lambda: [fits.PrimaryHDU(), tiles(with_nan(F4))],
    "tiles of float64": lambda: [fits.PrimaryHDU(), tiles(F8), tiles(F8 + 1, "ERR", "GZIP_1")],
    "tiles of int16": lambda: [fits.PrimaryHDU(), tiles(INTEGERS["i2"], kind="RICE_1")],
    "tiles of uint8": lambda: [fits.PrimaryHDU(), tiles(INTEGERS["u1"])],
    "tiles of uint16": lambda: [fits.PrimaryHDU(), tiles(INTEGERS["u2"], kind="RICE_1")],
    "tiles of uint32": lambda: [fits.PrimaryHDU(), tiles(INTEGERS["u4"])],
    "tiles of a cube": lambda: [
        fits.PrimaryHDU(),
        tiles(CUBE),
        tiles(CUBE_ERR[0], "ERR"),
        tiles(CUBE_DQ, "DQ"),
    ],
    "tiles beside plain planes": lambda: [*image_of(F4), err(ERR), tiles(DQ, "DQ")],
}

# Stored integers, scaled by the header; the keywords are put in afterwards, so that astropy
# does not scale while it writes.
SCALED: dict[str, tuple[str, dict[str, Any]]] = {
    "scaled uint8": ("u1", {"BSCALE": 0.125, "BZERO": -3.0}),
    "scaled int16": ("i2", {"BSCALE": 0.01, "BZERO": 300.5}),
    "scaled int32": ("i4", {"BSCALE": -2.5, "BZERO": 1e5}),
    "scaled int64": ("i8", {"BSCALE": 1e-6}),
    "shifted int16": ("i2", {"BZERO": 1000.0}),
    "scaled float32": ("f4", {"BSCALE": 1.5, "BZERO": -7.0}),
    "scaled float64": ("f8", {"BSCALE": 1e-3, "BZERO": 2.0}),
    "blank uint8": ("u1", {"BLANK": 255}),
    "blank int16": ("i2", {"BLANK": -32768}),
    "blank int32, scaled": ("i4", {"BLANK": -1, "BSCALE": 0.5, "BZERO": 3.0}),
    "blank int64": ("i8", {"BLANK": 12}),
    "blank uint16": ("i2", {"BLANK": 77, "BZERO": 32768.0}),
    "blank that no integer of the type is": ("i2", {"BLANK": -99999}),
    "blank of real numbers means nothing": ("f4", {"BLANK": 0}),
}


def scaled_array(kind: str, cards: dict[str, Any]) -> Array:
    array = {"f4": F4, "f8": F8}.get(kind, INTEGERS.get(kind)).copy()
    blank = cards.get("BLANK")
    if blank is not None and (kind[0] == "f" or np.iinfo(kind).min <= blank):
        array[0, 3] = array[4, 1] = array[6, 10] = blank
    return array


def build(folder: Path, name: str) -> str:
    path = folder / f"{name.replace(' ', '_')}.fits"
    if name in CONTENTS:
        return write(path, CONTENTS[name]())
    kind, cards = SCALED[name]
    hdu = fits.ImageHDU(scaled_array(kind, cards))
    # Room for the keywords: the header keeps its length, the pixels stay.
    write(path, [fits.PrimaryHDU(), hdu])
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[1].header.update(cards)
    return str(path)


ALL = [*CONTENTS, *SCALED]
GZIPPED = [
    "float32",
    "err of two layers",
    "integers u2",
    "scaled int16",
    "blank int16",
    "cube",
    "flags i1",
    "float32 with nan",
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    folder = tmp_path_factory.mktemp("cases")
    made = {}
    with warnings.catch_warnings():
        # One case has a BLANK where the standard allows none.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        for name in ALL:
            path = build(folder, name)
            made[name] = Case(path, *reference(path))
            if name in GZIPPED:
                packed = Path(f"{path}.gz")
                packed.write_bytes(gzip.compress(Path(path).read_bytes()))
                made[f"gzip {name}"] = Case(str(packed), *reference(path))
    return made


NAMES = [*ALL, *(f"gzip {name}" for name in GZIPPED)]


def file_sources(case: Case) -> list[FileSource]:
    layout = scan_file(case.path)
    return [FileSource(layout, i) for i in range(layout.n_frames)]


def run_of(source: Any, lo: int, hi: int, scratch: Scratch | None = None) -> list[Array | None]:
    reader = source.open()
    try:
        planes = reader.pixels(lo, hi, scratch or Scratch(PIXELS))
        return [None if plane is None else plane.copy() for plane in planes]
    finally:
        reader.close()


def equal(found: Array | None, expected: Array | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return found.shape == expected.shape and np.array_equal(
        found, expected, equal_nan=expected.dtype.kind == "f"
    )


@for_each("name", NAMES)
def test_a_run_of_a_whole_frame_is_what_astropy_reads(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    sources = file_sources(case)
    assert len(sources) == case.data.shape[0]
    for i, source in enumerate(sources):
        data, err_, dq_ = run_of(source, 0, PIXELS)
        assert data is not None
        assert equal(data.astype(np.float64), case.data[i].ravel())
        assert equal(err_, None if case.err is None else case.err[i].ravel())
        assert equal(dq_, None if case.dq is None else case.dq[i].ravel())


@for_each("name", NAMES)
def test_numbers_agree_with_those_that_astropy_scales(cases: dict[str, Case], name: str) -> None:
    """To single precision only: astropy scales 16-bit integers in float32."""
    case = cases[name]
    with warnings.catch_warnings(), fits.open(case.path) as hdus:
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        index = 1 if len(hdus) > 1 and hdus[1].name not in ("ERR", "DQ") else 0
        expected = np.asarray(hdus[index].data, dtype=np.float64).reshape(case.data.shape)
    if name == "blank uint16":
        # astropy takes BZERO = 32768 for unsigned numbers and lets BLANK go.
        expected = np.where(np.isnan(case.data), np.nan, expected)
    for i, source in enumerate(file_sources(case)):
        found = run_of(source, 0, PIXELS)[0]
        assert np.allclose(found, expected[i].ravel(), rtol=3e-7, atol=1e-4, equal_nan=True)


@for_each("name", NAMES)
def test_runs_have_native_types(cases: dict[str, Case], name: str) -> None:
    source = file_sources(cases[name])[0]
    data, err_, dq_ = run_of(source, 5, 40)
    assert source.shape == (ROWS, COLS)
    assert data is not None
    assert data.dtype in (np.dtype("=f4"), np.dtype("=f8"))
    assert data.dtype.isnative
    assert (err_ is not None) == source.has_err
    assert err_ is None or (err_.dtype.kind == "f" and err_.dtype.isnative)
    if dq_ is None:
        assert source.flags_dtype is None
    else:
        assert dq_.dtype == source.flags_dtype
        assert (dq_.dtype.kind, dq_.dtype.isnative) == ("u", True)


def test_real_numbers_keep_their_width(cases: dict[str, Case]) -> None:
    widths = {name: run_of(file_sources(cases[name])[0], 0, 5)[0].dtype for name in NAMES[:2]}  # type: ignore[union-attr]
    assert widths == {"float32": np.float32, "float64": np.float64}


@settings(max_examples=150)
@given(data=st.data())
def test_any_run_is_that_part_of_the_frame(cases: dict[str, Case], data: st.DataObject) -> None:
    """Several runs through one reader and one scratch, as the stream asks for them."""
    case = cases[data.draw(st.sampled_from(NAMES))]
    i = data.draw(st.integers(0, case.data.shape[0] - 1))
    reader = file_sources(case)[i].open()
    scratch = Scratch(data.draw(st.integers(1, PIXELS)))
    bounds = st.tuples(st.integers(0, PIXELS), st.integers(0, PIXELS)).map(sorted)
    try:
        for lo, hi in data.draw(st.lists(bounds, min_size=1, max_size=4)):
            found, err_, dq_ = reader.pixels(lo, hi, scratch)
            assert equal(found.astype(np.float64), case.data[i].ravel()[lo:hi])
            assert equal(err_, None if case.err is None else case.err[i].ravel()[lo:hi])
            assert equal(dq_, None if case.dq is None else case.dq[i].ravel()[lo:hi])
    finally:
        reader.close()


@for_each("name", NAMES)
def test_arrays_in_memory_give_the_same_runs_as_the_file(cases: dict[str, Case], name: str) -> None:
    """Loaded frames and lazy ones, and both against the file."""
    layout = scan_file(cases[name].path)
    sources = file_sources(cases[name])
    for i, source in enumerate(sources):
        lazy = Image.lazy(layout, i if len(layout.image.shape) == 3 else None)
        held = ArraySource(lazy.data, lazy.err[0], lazy.dq)
        data, err_, dq_ = run_of(source, 3, 71)
        memory = run_of(held, 3, 71)
        assert equal(memory[0], data.astype(np.float64))  # type: ignore[union-attr]
        assert equal(memory[1], np.zeros(68) if err_ is None else err_.astype(np.float64))
        assert equal(memory[2], np.zeros(68, np.uint16) if dq_ is None else dq_)
        assert dq_ is None or memory[2].dtype == dq_.dtype  # type: ignore[union-attr]


@for_each("name", NAMES)
def test_planes_read_whole_are_the_same_numbers(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    layout = scan_file(case.path)
    for i in range(layout.n_frames):
        found = read_array(layout, "image", i)
        assert equal(found.astype(np.float64), case.data[i])
        assert found.dtype.kind != "f" or found.dtype == np.float64
        assert found.flags.writeable
        assert found.flags.owndata
        if case.err is not None:
            assert equal(read_array(layout, "err", i).astype(np.float64), case.err[i])
        if case.dq is not None:
            assert equal(read_array(layout, "dq", i), case.dq[i])


def test_every_plane_is_counted_as_it_is_read(cases: dict[str, Case]) -> None:
    scratch = Scratch(PIXELS)
    source = file_sources(cases["err of float64"])[0]
    run_of(source, 4, 30, scratch)
    assert scratch.bytes_read == 26 * (4 + 8 + 2)
    run_of(source, 0, 0, scratch)
    assert scratch.bytes_read == 26 * (4 + 8 + 2)


def test_a_packed_file_is_counted_when_it_is_opened(cases: dict[str, Case]) -> None:
    case = cases["tiles"]
    source = file_sources(case)[0]
    reader = source.open()
    assert reader.bytes_unpacked == Path(case.path).stat().st_size
    assert source.held_bytes >= PIXELS * (4 + 4 + 2)
    reader.close()
    assert file_sources(cases["float32"])[0].held_bytes == 0


def test_a_closed_reader_has_let_go_of_its_file(cases: dict[str, Case]) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    readers = [file_sources(cases["float32"])[0].open() for _ in range(9)]
    assert len(list(Path("/dev/fd").iterdir())) == before + 9
    for reader in readers:
        reader.close()
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_sources_survive_pickling(cases: dict[str, Case]) -> None:
    source = file_sources(cases["cube"])[2]
    back = pickle.loads(pickle.dumps(source))
    assert all(
        equal(one, two) for one, two in zip(run_of(back, 0, 50), run_of(source, 0, 50), strict=True)
    )


# ---------------------------------------------------------------- sources: err in the image's place


@for_each("name", NAMES)
def test_err_in_the_place_of_the_image(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    for i, source in enumerate(file_sources(case)):
        turned = source.err_as_data()
        expected = np.zeros(PIXELS) if case.err is None else case.err[i].ravel()
        data, none, dq_ = run_of(turned, 2, 61)
        assert data is not None
        assert equal(data.astype(np.float64), expected[2:61])
        assert none is None
        assert not turned.has_err
        assert equal(dq_, None if case.dq is None else case.dq[i].ravel()[2:61])
        assert turned.shape == source.shape
        assert turned.flags_dtype == source.flags_dtype


def test_err_in_the_place_of_the_image_reads_no_image(cases: dict[str, Case]) -> None:
    scratch = Scratch(PIXELS)
    run_of(file_sources(cases["err of float64"])[0].err_as_data(), 0, 10, scratch)
    assert scratch.bytes_read == 10 * (8 + 2)


def test_err_in_the_place_of_the_image_reads_nothing_before_it_is_opened(
    cases: dict[str, Case], no_pixels: list[str]
) -> None:
    sources = [file_sources(cases[name])[0] for name in ("no err", "err of float64", "tiles")]
    no_pixels.clear()
    for source in sources:
        source.err_as_data()
    assert no_pixels == []


def test_err_in_the_place_of_the_image_in_memory() -> None:
    data, err_, dq_ = run_of(ArraySource(F8, ERR, DQ).err_as_data(), 1, 9)
    assert equal(data, ERR.ravel()[1:9])
    assert err_ is None
    assert equal(dq_, DQ.ravel()[1:9])
    assert equal(run_of(ArraySource(F8).err_as_data(), 1, 9)[0], np.zeros(8))


# ---------------------------------------------------------------- sources: arrays in memory


def swapped(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("S"))


def transposed(array: Array) -> Array:
    return np.asfortranarray(array)


def strided(array: Array) -> Array:
    room = np.zeros((2 * ROWS, 3 * COLS), array.dtype)
    room[::2, ::3] = array
    return room[::2, ::3]


def reversed_view(array: Array) -> Array:
    return array[::-1, ::-1].copy()[::-1, ::-1]


def locked(array: Array) -> Array:
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array: Array) -> Array:
    room = np.zeros(array.nbytes + 1, np.uint8)
    view = room[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


LAYOUTS = [swapped, transposed, strided, reversed_view, locked, unaligned]


@for_each("arrange", LAYOUTS)
@for_each("kind", ["f4", "f8", "i2", "u2", "i4", "u8", "f2"])
def test_arrays_however_they_lie_in_memory(arrange: Callable[[Array], Array], kind: str) -> None:
    array = INTEGERS[kind] if kind in INTEGERS else F8.astype(kind)
    before = array.copy()
    source = ArraySource(arrange(array), arrange(array), arrange(DQ))
    data, err_, dq_ = run_of(source, 6, 70)
    assert equal(data, array.astype(np.float64).ravel()[6:70])
    assert equal(err_, array.astype(np.float64).ravel()[6:70])
    assert equal(dq_, DQ.ravel()[6:70])
    for plane in (data, err_, dq_):
        assert plane is not None
        assert plane.dtype.isnative
        assert plane.ndim == 1
    assert np.array_equal(array, before)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_plain_real_arrays_are_not_copied(kind: str) -> None:
    array = F8.astype(kind)
    data = ArraySource(array).open().pixels(3, 20, Scratch(1))[0]
    assert np.shares_memory(data, array)
    assert data.dtype == kind


@for_each("kind", ["?", "i1", "u1", "i2", "u2", "i4", "i8", "u8"])
def test_flags_of_any_integer_type_become_unsigned_ones_of_that_width(kind: str) -> None:
    array = INTEGERS.get(kind, DQ > 0)
    source = ArraySource(F8, None, array)
    found = run_of(source, 0, PIXELS)[2]
    assert found is not None
    assert found.dtype == source.flags_dtype == np.dtype(f"u{array.itemsize}")
    assert np.array_equal(found.view(array.dtype), array.ravel())


@settings(max_examples=60)
@given(
    rows=st.integers(1, 6),
    cols=st.integers(1, 9),
    kind=st.sampled_from(["f4", ">f4", "f8", ">f8", "i2", ">u2", "i8", "u1", "?"]),
    fortran=st.booleans(),
    data=st.data(),
)
def test_any_run_of_any_array(
    rows: int, cols: int, kind: str, fortran: bool, data: st.DataObject
) -> None:
    numbers = np.random.default_rng(rows * 10 + cols).integers(0, 2, (rows, cols)).astype(kind)
    array = np.asfortranarray(numbers) if fortran else numbers
    lo, hi = sorted(data.draw(st.tuples(*[st.integers(0, rows * cols)] * 2)))
    found = run_of(ArraySource(array), lo, hi)[0]
    expected = [float(numbers[i // cols, i % cols]) for i in range(lo, hi)]
    assert found is not None
    assert list(found) == expected


# ---------------------------------------------------------------- sources of datasets


def test_sources_of_files_and_of_loaded_frames(paths: list[str]) -> None:
    lazy, loaded = Dataset(paths), Dataset([Image(path) for path in paths])
    for one, two in zip(frame_sources(lazy), frame_sources(loaded), strict=True):
        assert isinstance(one, FileSource)
        assert isinstance(two, ArraySource)
        for a, b in zip(run_of(one, 5, 50), run_of(two, 5, 50), strict=True):
            assert equal(a, b)


def test_an_assigned_plane_counts_in_the_source(path: str) -> None:
    frame = Dataset([path])[0]
    frame.dq = np.full((ROWS, COLS), 4, np.uint8)
    (source,) = frame_sources(Dataset([frame]))
    data, err_, dq_ = run_of(source, 0, PIXELS)
    untouched = Image(path)
    assert equal(data, untouched.data.ravel())
    assert equal(err_, untouched.err[0].ravel())
    assert equal(dq_, np.full(PIXELS, 4, np.uint8))


@pytest.mark.parametrize("kind", ["own", "foreign"])
def test_of_several_layers_of_err_the_first_one_counts(kind: str) -> None:
    layers = np.stack([ERR, 2 * ERR, 3 * ERR])
    if kind == "own":
        frame: Any = of_arrays(err=layers)
    else:
        frame = Foreign(data=F8, err=layers, dq=None, filepath="x.fits")
    assert equal(run_of(frame_sources([frame])[0], 0, PIXELS)[1], ERR.ravel())


def test_sources_of_a_cube(cube: str) -> None:
    whole = Image(cube)
    for i, source in enumerate(frame_sources(Dataset([cube]))):
        assert equal(run_of(source, 0, PIXELS)[0], whole.data[i].ravel())


class Foreign:
    """A frame of somebody else: the documented attributes, nothing more."""

    def __init__(self, **attributes: Any):
        self.__dict__.update(attributes)


def test_foreign_frames_with_and_without_pixels(path: str) -> None:
    own = Image(path)
    held = Foreign(data=own.data, err=own.err, dq=own.dq, filepath="nowhere.fits")
    light = Foreign(data=None, err=None, dq=None, filepath=path)
    for frame in (held, light):
        for dataset in (Foreign(frames=[frame]), [frame]):
            (source,) = frame_sources(dataset)
            data, err_, dq_ = run_of(source, 0, PIXELS)
            assert equal(data, own.data.ravel())
            assert equal(err_, own.err[0].ravel())
            assert equal(dq_, own.dq.ravel())


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"data": np.zeros((2, *SHAPE))}, r"x\.fits: has pixels of shape"),
        ({"data": F8, "err": np.zeros((COLS, ROWS))}, r"x\.fits: err or dq has shape"),
        ({"data": F8, "dq": np.zeros((2, *SHAPE), np.uint16)}, r"x\.fits: err or dq has shape"),
        ({"data": F8, "dq": np.zeros(SHAPE)}, r"x\.fits: dq holds float64"),
    ],
)
def test_foreign_frames_that_do_not_fit_are_named(attributes: dict[str, Any], said: str) -> None:
    frame = Foreign(**{"err": None, "dq": None, "filepath": "x.fits", **attributes})
    with pytest.raises(InputError, match=said):
        frame_sources([frame])


def test_a_foreign_frame_without_pixels_must_not_be_a_cube(cube: str) -> None:
    with pytest.raises(InputError, match=r"cube\.fits: is a cube"):
        frame_sources([Foreign(data=None, filepath=cube)])


def test_frames_of_different_shapes_are_refused(path: str) -> None:
    other = of_arrays(data_or_filepath=noise(ROWS + 1, COLS))
    with pytest.raises(InputError, match="different shapes"):
        frame_sources([*Dataset([path]), other])


def test_no_frames_have_no_sources() -> None:
    with pytest.raises(InputError, match="no frames"):
        frame_sources([])


def test_a_table_appended_to_no_further_hdus_is_the_only_one(tmp_path: Path) -> None:
    """Astropy puts an empty primary HDU in front of it."""
    image = Image(noise(4, 5), fits.Header(), fits.Header())
    image.hdu_list.append(
        fits.BinTableHDU.from_columns([fits.Column("A", "1J", array=[7, 8, 9])], name="EXTRA")
    )
    assert image.hdu_names == ["EXTRA"]
    image.save(tmp_path, "f.fits")
    with fits.open(tmp_path / "f.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "", "ERR", "DQ", "EXTRA"]
        assert hdus["EXTRA"].data["A"].tolist() == [7, 8, 9]
