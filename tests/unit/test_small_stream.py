"""From stored bytes to sums, few pixels: every layout of the planes against the slow twin."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import oracles
from emdarks import _core
from emdarks.accumulate import FrameFigures, Sample, StackJob, Threads
from emdarks.accumulate.blocks import FigureArea
from emdarks.errors import UnreadableFrameError
from emdarks.fits import pixels
from emdarks.fits.layout import scan_file
from emdarks.fits.pixels import ArraySource, FileSource
from emdarks.moments import Moments, counts_dtype
from loops import for_each

ROWS, COLS, FRAMES = 3, 517, 7  # wider than a chunk, more frames than a group
MASK = 4 | 128


def planes(seed: int = 61) -> tuple[Any, Any, Any]:
    """Whole numbers, which every type can hold, so that sums are exact."""
    rng = np.random.default_rng(seed)
    shape = (FRAMES, ROWS, COLS)
    data = rng.integers(0, 100, shape).astype(float)
    err = rng.integers(0, 4, shape).astype(float)
    dq = np.where(rng.random(shape) < 0.1, rng.choice([2, 4, 32, 128, 132], shape), 0)
    dq[:, 1, 7] = 4  # never good
    dq[:-1, 2, 9] = 128  # good once
    dq[0] = 0  # no flag in a whole frame
    err[1] = 0.0
    return data, err, dq


def slow(data: Any, err: Any, dq: Any, scale: float = 1.0) -> dict[str, Any]:
    flat = [None if x is None else x.reshape(len(x), -1) for x in (data, err, dq)]
    return oracles.moments(*flat, MASK, scale)


def assert_equals(found: Moments, expected: dict[str, Any], rtol: float = 1e-12) -> None:
    np.testing.assert_array_equal(found.n, expected["n"])
    np.testing.assert_array_equal(found.flags, expected["flags"])
    np.testing.assert_allclose(found.mean, expected["mean"], rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(found.m2, expected["m2"], rtol=rtol, atol=1e-8)
    if found.err2 is not None:
        np.testing.assert_allclose(found.err2, expected["err2"], rtol=rtol)
    assert found.has_errors == bool(expected["err2"].any())


EXECUTORS = [
    {"run_pixels": 1 << 20, "batch_files": 100},
    {"run_pixels": 1, "batch_files": 2},  # row by row, sums stay open between batches
    {"run_pixels": 2 * COLS, "batch_files": 4},
]
KINDS = [
    ("f4", ">f4", "u2"),
    (">f4", "f4", ">u2"),
    ("f8", ">f4", "u1"),
    (">f8", "f8", ">u4"),
    ("u2", ">i2", ">u2"),
    (">i4", "u1", "u8"),
    ("f4", None, ">u2"),
    (">f8", "f4", None),
    (">u2", None, None),
]


@for_each(
    "kinds, options",
    [(KINDS[0], EXECUTORS[0]), (KINDS[1], EXECUTORS[1])] + [(k, EXECUTORS[2]) for k in KINDS],
    ids=str,
)
def test_sums_of_arrays(kinds: Any, options: Any) -> None:
    data, err, dq = (
        None if kind is None else plane.astype(kind)
        for plane, kind in zip(planes(), kinds, strict=True)
    )
    assert data is not None
    each = (
        ArraySource(data[i], None if err is None else err[i], None if dq is None else dq[i])
        for i in range(FRAMES)
    )
    job = StackJob(tuple(Sample(source, 2.5) for source in each), (ROWS, COLS), MASK)
    assert_equals(Threads(1, **options).sums(job).moments, slow(data, err, dq, 2.5))


def write(
    folder: Path, kinds: tuple[str, str, str] = ("f4", "f8", "i2"), given: Any = None
) -> list[Path]:
    paths = []
    for i, frame in enumerate(zip(*(given or planes()), strict=True)):
        image, err, dq = (plane.astype(kind) for plane, kind in zip(frame, kinds, strict=True))
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(image), fits.ImageHDU(err, name="ERR")]
        paths.append(folder / f"f{i}_l2a.fits")
        fits.HDUList([*hdus, fits.ImageHDU(dq, name="DQ")]).writeto(paths[-1])
    return paths


@pytest.mark.parametrize(
    ("kinds", "options"),
    [
        (("f4", "f8", "u2"), EXECUTORS[0]),
        (("u2", "f4", "u1"), EXECUTORS[1]),
        (("i4", "i2", "u4"), EXECUTORS[2]),
    ],
    ids=str,
)
def test_sums_of_files(tmp_path: Path, kinds: Any, options: Any) -> None:
    each = (FileSource(scan_file(str(path))) for path in write(tmp_path, kinds))
    job = StackJob(tuple(Sample(source) for source in each), (ROWS, COLS), MASK)
    assert_equals(Threads(1, **options).sums(job).moments, slow(*planes()))


@pytest.mark.parametrize("plane", [1, 2, 3], ids=["image", "err", "dq"])
def test_a_file_that_ends_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plane: int
) -> None:
    paths = write(tmp_path)
    samples = tuple(Sample(FileSource(scan_file(str(path)))) for path in paths)
    with fits.open(paths[5]) as hdus:
        start = hdus[plane].fileinfo()["datLoc"]
    os.truncate(paths[5], start + 1000)
    # It was whole when it was opened.
    monkeypatch.setattr(pixels, "_open_unchanged", lambda layout: os.open(layout.path, os.O_RDONLY))
    for options in EXECUTORS:
        with pytest.raises(UnreadableFrameError, match=r"f5_l2a\.fits: ended"):
            Threads(1, **options).sums(StackJob(samples, (ROWS, COLS), MASK))


def test_a_file_that_cannot_be_read_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder can be opened, but no read of it ever succeeds."""
    paths = write(tmp_path)
    samples = tuple(Sample(FileSource(scan_file(str(path)))) for path in paths)

    def wrong(layout: Any) -> int:
        return os.open(tmp_path if layout.path == str(paths[2]) else layout.path, os.O_RDONLY)

    monkeypatch.setattr(pixels, "_open_unchanged", wrong)
    with pytest.raises(UnreadableFrameError, match=r"f2_l2a\.fits: ended"):
        Threads(1).sums(StackJob(samples, (ROWS, COLS), MASK))


# What counts as no number


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [("f4", np.nan), (">f8", np.inf), ("f4", -0.5), (">f8", -1e-3), (">f4", 2.0**40)],
)
def test_errors_that_cannot_be_true_mask_their_samples(kind: str, wrong: float) -> None:
    data, err, dq = planes()
    err[3, 1, 20] = err[4, 2, 500] = wrong
    dq[3, 1, 20], dq[4, 2, 500] = 0, 4
    each = (ArraySource(data[i], err[i].astype(kind), dq[i].astype("u2")) for i in range(FRAMES))
    job = StackJob(tuple(Sample(source) for source in each), (ROWS, COLS), MASK)
    expected = err.copy()
    expected[[3, 4], [1, 2], [20, 500]] = np.nan
    assert_equals(Threads(1).sums(job).moments, slow(data, expected, dq))


@pytest.mark.parametrize(
    ("kind", "beyond"),
    [("f4", 2.0**40), (">f4", 2.0**41), (">f8", 2.0**40), ("i8", 2.0**41), (">u8", 2.0**40)],
)
def test_samples_that_no_camera_counts(kind: str, beyond: float) -> None:
    """10^12, whatever the type; what is just below counts."""
    data, _, dq = planes()
    signed = not kind.endswith("u8")
    data[2, 1, 30] = beyond
    data[3, 1, 31] = -1.01 * beyond if signed else 0
    data[4, 1, 32] = 2.0**40 - 2.0**17
    dq[2:5, 1, 30:33] = 0
    each = (ArraySource(data[i].astype(kind), None, dq[i].astype("u2")) for i in range(FRAMES))
    job = StackJob(tuple(Sample(source) for source in each), (ROWS, COLS), MASK)
    expected = data.copy()
    expected[2, 1, 30] = np.nan
    expected[3, 1, 31] = np.nan if signed else 0
    assert_equals(Threads(1).sums(job).moments, slow(expected, None, dq), rtol=1e-9)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_files_with_samples_and_errors_that_are_no_numbers(tmp_path: Path, kind: str) -> None:
    """Each alone in its frame: a single one must be seen."""
    data, err, dq = planes()
    dq[:, 1, 20] = 0
    for i, wrong in enumerate((np.nan, np.inf, -np.inf, 2.0**40, -(2.0**41))):
        data[i, 1, 20] = wrong
    err[5, 1, 20], err[6, 1, 20] = np.nan, 2.0**40
    paths = write(tmp_path, (kind, kind, "u2"), (data, err, dq))
    each = (FileSource(scan_file(str(path))) for path in paths)
    job = StackJob(tuple(Sample(source) for source in each), (ROWS, COLS), MASK)
    data[:5, 1, 20] = err[6, 1, 20] = np.nan
    found = Threads(1).sums(job).moments
    assert found.n[COLS + 20] == 0
    assert_equals(found, slow(data, err, dq))


@pytest.mark.parametrize("kind", ["i4", "i8"])
def test_files_of_integers_that_no_camera_counts(tmp_path: Path, kind: str) -> None:
    data, err, dq = planes()
    dq[:3, 1, 20] = 0
    data[:3, 1, 20] = (2**40, 2**40 - 1, -(2**40) - 1) if kind == "i8" else (2**31 - 1, 5, 2**30)
    paths = write(tmp_path, (kind, "f4", "u2"), (data, err, dq))
    each = (FileSource(scan_file(str(path))) for path in paths)
    job = StackJob(tuple(Sample(source) for source in each), (ROWS, COLS), MASK)
    if kind == "i8":
        data[[0, 2], 1, 20] = np.nan
    assert_equals(Threads(1).sums(job).moments, slow(data, err, dq), rtol=1e-9)


@for_each("options", EXECUTORS, ids=str)
@for_each("kept", [1, 3])
def test_the_largest_samples_are_kept(kept: int, options: Any) -> None:
    data, _, dq = planes()
    each = (ArraySource(data[i], None, dq[i].astype("u2")) for i in range(FRAMES))
    samples = tuple(Sample(source, 0.5) for source in each)
    found = Threads(1, **options).sums(StackJob(samples, (ROWS, COLS), MASK, None, kept)).moments
    good = np.where((dq & MASK) == 0, 0.5 * data, -np.inf).reshape(FRAMES, -1)
    np.testing.assert_array_equal(found.top, np.sort(good, axis=0)[-kept:].T)
    assert_equals(found, slow(data, None, dq, 0.5))


# Figures of frames


def figures(sources: Any, area: FigureArea, scale: float = 1.0) -> list[FrameFigures]:
    job = StackJob(tuple(Sample(source, scale) for source in sources), (ROWS, COLS), MASK, area)
    return Threads(1, run_pixels=1, batch_files=4).sums(job).figures


@pytest.mark.parametrize("kind", ["u1", "u2", ">u4"])
def test_figures_of_frames(kind: str) -> None:
    data, err, dq = planes()
    data[2, 1, 100], err[5, 2, 40], err[5, 0, 300] = np.nan, -1.0, np.inf
    each = (ArraySource(data[i], err[i], dq[i].astype(kind)) for i in range(FRAMES))
    area = FigureArea((1, 3), (90, 500), (10, 60))
    found = figures(each, area, 2.0)
    for i in range(FRAMES):
        good = (dq[i] & MASK) == 0
        good &= np.isfinite(data[i]) & np.isfinite(err[i]) & (err[i] >= 0)
        window, prescan = (slice(1, 3), slice(90, 500)), (slice(1, 3), slice(10, 60))
        values = 2.0 * data[i][window][good[window]]
        assert found[i].level == pytest.approx(values.mean(), rel=1e-12)
        assert found[i].scatter == pytest.approx(values.std(), rel=1e-10)
        assert found[i].masked == pytest.approx(1 - good[window].mean())
        assert found[i].saturated == pytest.approx(((dq[i][window] & 32) > 0).mean())
        level = 2.0 * data[i][prescan][good[prescan]].mean()
        assert found[i].prescan_level == pytest.approx(level, rel=1e-12)
        wrong = ~np.isfinite(data[i]) | ~np.isfinite(err[i]) | (err[i] < 0)
        assert found[i].not_finite == wrong[1:3].sum()


# Sums as such


def test_room_for_counts() -> None:
    """Two sums of so many frames can be joined, and few frames take little memory."""
    for frames in (1, 100, (1 << 15) - 1, 1 << 15, 1 << 16, 1 << 20):
        dtype = counts_dtype(frames)
        assert np.iinfo(dtype).max >= 2 * frames
        assert dtype == (np.uint16 if frames < 1 << 15 else np.uint32)


@pytest.mark.parametrize(("has_err", "kept"), [(True, 0), (False, 3)])
def test_empty_sums(has_err: bool, kept: int) -> None:
    sums = Moments.empty(7, np.uint32, has_err, kept)
    assert not sums.has_errors
    assert (sums.err2 is not None) == has_err
    assert not has_err or not np.asarray(sums.err2).any()
    assert sums.kept == kept
    assert sums.top is None if kept == 0 else sums.top is not None and sums.top.shape == (7, 3)
    part = sums.part(2, 5)
    assert part.n.size == part.mean.size == part.m2.size == part.flags.size == 3
    assert (part.err2 is not None) == has_err
    assert part.kept == kept
    part.n[:] = 9
    assert (sums.n[2:5] == 9).all()


def test_sums_are_copied_and_compared() -> None:
    rng = np.random.default_rng(62)
    one, other = Moments.empty(5, np.uint16, True, 2), Moments.empty(5, np.uint16, True, 2)
    for name in ("n", "mean", "m2", "err2", "flags", "top"):
        plane = getattr(one, name)
        plane[:] = rng.integers(1, 9, plane.shape)
        getattr(other, name)[:] = 0
    one.has_errors = True
    other.take(one)
    assert other.equal(one)
    assert other.has_errors
    for name in ("n", "mean", "m2", "err2", "flags", "top"):
        getattr(other, name)[3] += 1
        assert not other.equal(one), name
        getattr(other, name)[3] -= 1
    assert not one.equal(Moments(one.n, one.mean, one.m2, None, one.flags, one.top, True))


def test_words_of_any_width_are_swapped_and_flipped() -> None:
    words = np.array([0x0102, 0xA0B0], np.uint16)
    _core.to_native(words, 0x8000)
    assert words.tolist() == [0x8201, 0x30A0]
