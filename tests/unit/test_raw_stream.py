"""Raw frames in the stream: the same as frames that were made ready before."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import oracles
from emdarks import _core
from emdarks.accumulate import Sample, StackJob, StackSums, Threads
from emdarks.accumulate.bad_frames import Careful
from emdarks.accumulate.blocks import FigureArea
from emdarks.accumulate.executor import Count
from emdarks.counting_sums import HistogramBins, Thresholds
from emdarks.errors import EmdarksWarning, UnreadableFrameError
from emdarks.fits import pixels
from emdarks.fits.layout import scan_file
from emdarks.fits.pixels import ArraySource, FileSource, Scratch
from emdarks.frames.bad_frames import Skipping
from emdarks.frames.raw_source import RawSource
from emdarks.raw import (
    DARK,
    FramePlan,
    FullWell,
    Linearity,
    PreparedFrame,
    RawCalibration,
    RowBias,
    prepare,
    scan,
    stored_bytes,
)

DATA = Path(__file__).parents[1] / "data" / "raw"
MASK = 4 | 32 | 128
AREA = FigureArea((13, 61), (104, 176), (60, 100))
EXECUTORS = [
    {"threads": 1, "run_pixels": 1 << 20, "batch_files": 100},
    {"threads": 2, "run_pixels": 1, "batch_files": 2},  # row by row, sums stay open
    {"threads": 2, "run_pixels": 700, "batch_files": 5},
]


@cache
def golden() -> dict[str, Any]:
    with np.load(DATA / "campaign.npz") as stored:
        return dict(stored)


def calibration(**changes: Any) -> RawCalibration:
    k_gain, error = (float(number) for number in golden()["kgain"])
    well = FullWell(*(float(number) for number in golden()["fwc"]))
    table = Linearity.from_table(golden()["table"])
    bias = RowBias(columns=(60, 100), offset=0.25, offset_error=0.0625)
    usual = RawCalibration(bias, k_gain, error, well, linearity=table, tail_gain=2000.0)
    return replace(usual, **changes)


def plans(frames: Any, **changes: Any) -> list[FramePlan]:
    of_all = calibration(**changes)
    return [FramePlan(of_all, float(golden()["gain_used"][i])) for i in frames]


def ready(raw: Any, plan: FramePlan) -> PreparedFrame:
    learnt = scan(stored_bytes(raw), raw.shape, plan)
    assert learnt is not None
    made = prepare(stored_bytes(raw), raw.shape, plan, learnt)
    assert made is not None
    return made


def in_memory(frames: Any, dtype: str = "<u2", **changes: Any) -> list[RawSource]:
    raw = golden()["raw"]
    each = zip(frames, plans(frames, **changes), strict=True)
    return [RawSource(ArraySource(raw[i].astype(dtype)), plan) for i, plan in each]


def written(folder: Path, frames: Any) -> list[FileSource]:
    sources = []
    for i in frames:
        path = folder / f"f{i}_l1_.fits"
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(golden()["raw"][i])]).writeto(path)
        sources.append(FileSource(scan_file(str(path))))
    return sources


def in_files(folder: Path, frames: Any, **changes: Any) -> list[RawSource]:
    each = zip(written(folder, frames), plans(frames, **changes), strict=True)
    return [RawSource(source, plan) for source, plan in each]


def sums(sources: Any, scale: float = 0.125, **options: Any) -> StackSums:
    area = options.pop("area", AREA)
    shape = sources[0].shape
    job = StackJob(tuple(Sample(source, scale) for source in sources), shape, MASK, area)
    return Threads(**(options or EXECUTORS[0])).sums(job)


STACK = range(18, 24)
WITH_OVER = range(6, 12)  # frame 9 is over-saturated
TWO_GAINS = range(22, 30)


@pytest.mark.parametrize("frames", [STACK, TWO_GAINS], ids=str)
def test_the_stream_adds_what_is_made_ready(frames: Any) -> None:
    raw = golden()["raw"]
    made = [ready(raw[i], plan) for i, plan in zip(frames, plans(frames), strict=True)]
    before = [ArraySource(each.data, each.err, each.dq) for each in made]
    first, second = sums(in_memory(frames)), sums(before)
    for name in ("n", "mean", "m2", "flags"):
        found, wanted = getattr(first.moments, name), getattr(second.moments, name)
        assert found.tobytes() == wanted.tobytes(), name
    assert first.moments.err2 is not None
    assert second.moments.err2 is not None
    np.testing.assert_allclose(first.moments.err2, second.moments.err2, rtol=1e-13)
    assert first.moments.has_errors
    for mine, theirs in zip(first.figures, second.figures, strict=True):
        plain = replace(mine, repaired_rows=0, cosmic_rays=0.0)
        assert plain == theirs or plain.highest != plain.highest
    planes = [
        np.array([getattr(each, name).reshape(-1) for each in made])
        for name in ("data", "err", "dq")
    ]
    slow = oracles.moments(*planes, MASK, 0.125)
    np.testing.assert_array_equal(first.moments.n, slow["n"])
    np.testing.assert_allclose(first.moments.mean, slow["mean"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", EXECUTORS, ids=str)
def test_counts_of_raw_frames(options: Any) -> None:
    """Cores beside a run of rows are made ready, too."""
    raw = golden()["raw"]
    made = [ready(raw[i], plan) for i, plan in zip(TWO_GAINS, plans(TWO_GAINS), strict=True)]
    before = [ArraySource(each.data, each.err, each.dq) for each in made]
    at, bins = Thresholds(40.0, 90.0, 120.0), HistogramBins(-200.0, 7.5)
    found = []
    for sources, executor in ((in_memory(TWO_GAINS), options), (before, EXECUTORS[0])):
        samples = tuple(Sample(source, 0.125) for source in sources)
        job = StackJob(samples, sources[0].shape, MASK, AREA, 0, at, bins, (0, 3))
        moments = Threads(**executor).sums(job).moments
        assert moments.counting is not None
        found.append((*moments.counting.sums(), moments.histogram))
    for mine, theirs in zip(*found, strict=True):
        assert mine.tobytes() == theirs.tobytes()
    assert all(plane.any() for plane in found[0])


@pytest.mark.parametrize("options", EXECUTORS, ids=str)
def test_same_bits_of_files_bands_and_threads(tmp_path: Path, options: Any) -> None:
    expected = sums(in_memory(STACK))
    found = sums(in_files(tmp_path, STACK), **options)
    assert found.moments.equal(expected.moments)
    assert found.figures == expected.figures
    assert found.bytes_read == 2 * 80 * 200 * len(STACK)


@pytest.mark.parametrize("dtype", [">u2", "<i2", ">i4", "<u8", ">f4", "<f8"])
def test_same_bits_of_every_stored_type(dtype: str) -> None:
    expected, found = sums(in_memory(STACK)), sums(in_memory(STACK, dtype))
    assert found.moments.equal(expected.moments)
    assert found.figures == expected.figures


def test_what_is_learnt_is_told() -> None:
    frames = (24, 26, 19)
    figures = sums(in_memory(frames)).figures
    for i, plan, each in zip(frames, plans(frames), figures, strict=True):
        raw = golden()["raw"][i]
        learnt = scan(stored_bytes(raw), raw.shape, plan)
        assert learnt is not None
        dq = ready(raw, plan).dq
        assert each.repaired_rows == learnt.repaired
        assert each.cosmic_rays == (dq & 128 > 0).mean()
        assert each.saturated == (dq & 32 > 0)[13:61, 104:176].mean()
        assert not each.over_saturated
    assert any(each.repaired_rows for each in figures)


@pytest.mark.parametrize("options", EXECUTORS, ids=str)
def test_over_saturated_frames_are_not_added(options: Any) -> None:
    found = sums(in_memory(WITH_OVER), **options)
    kept = [i for i in WITH_OVER if not golden()["is_bad"][i]]
    assert len(kept) == len(WITH_OVER) - 1
    expected = sums(in_memory(kept))
    assert found.moments.equal(expected.moments)
    bad = [i for i, each in zip(WITH_OVER, found.figures, strict=True) if each.over_saturated]
    assert bad == [9]
    assert found.figures[3].saturated == pytest.approx(0.3, abs=0.01)
    assert [each for each in found.figures if not each.over_saturated] == list(expected.figures)


@pytest.mark.parametrize("options", EXECUTORS, ids=str)
def test_means_along_the_sequence_of_frames_that_are_added(options: Any) -> None:
    def job(frames: Any) -> StackJob:
        samples = tuple(Sample(source, 0.125) for source in in_memory(frames))
        return StackJob(samples, golden()["raw"].shape[1:], MASK, AREA, mean_frames=2)

    (found,) = Threads(**options).sums(job(WITH_OVER)).sequence
    kept = [i for i in WITH_OVER if not golden()["is_bad"][i]]
    assert found.frames == (2, 2, 1)
    for plane, first in enumerate(range(0, len(kept), 2)):
        alone = sums(in_memory(kept[first : first + 2])).moments
        np.testing.assert_array_equal(found.n[plane], alone.n)
        good = alone.n > 0
        np.testing.assert_allclose(found.mean[plane][good], alone.mean[good], 1e-6, 1e-5)
    assert Threads(**options).sums(job([9, 9])).sequence[0].frames == ()


@pytest.mark.parametrize("options", EXECUTORS, ids=str)
def test_a_stack_of_over_saturated_frames(options: Any) -> None:
    found = sums(in_memory([9, 9, 9]), **options)
    assert all(each.over_saturated for each in found.figures)
    assert not found.moments.n.any()
    assert not found.moments.flags.any()
    assert not found.moments.has_errors


def test_without_figures_over_saturated_frames_are_told() -> None:
    with pytest.warns(EmdarksWarning, match=r"over-saturated: 30\.\d+ % .*; left out"):
        sums(in_memory(WITH_OVER), area=None)


def test_frames_that_are_raw_and_others() -> None:
    raw = golden()["raw"]
    made = [ready(raw[i], plan) for i, plan in zip(STACK, plans(STACK), strict=True)]
    mixed: list[Any] = in_memory(STACK)
    for i in (1, 2, 5):
        mixed[i] = ArraySource(made[i].data, made[i].err, made[i].dq)
    first, second = sums(in_memory(STACK)), sums(mixed)
    for name in ("n", "mean", "m2", "flags"):
        assert getattr(first.moments, name).tobytes() == getattr(second.moments, name).tobytes()


def test_stored_errors_and_flags_count_too() -> None:
    """The traditional dark of the reference: its own flags, our electrons and errors."""
    chosen = np.flatnonzero((golden()["gain"] == 300) & (golden()["exptime"] == 100))
    bias = RowBias(columns=(60, 100))
    usual = calibration(bias=bias, saturation=1e9, search=None)
    gain = float(golden()["gain_used"][chosen[0]])
    flags = golden()["dq_mode2_recipe"]
    sources = [
        RawSource(ArraySource(golden()["raw"][i], None, flags[i]), FramePlan(usual, gain))
        for i in chosen
    ]
    found = sums(sources, 1.0 / gain).moments
    assert found.err2 is not None
    n = found.n.astype(float)
    several = (n > 1) & (np.arange(n.size) < 79 * 200)  # the last row is telemetry
    dark, error = (golden()[name].reshape(-1)[several] for name in ("trad_dark", "trad_dark_err"))
    np.testing.assert_allclose(found.mean[several], dark, rtol=1e-12, atol=1e-12)
    n = n[several]
    squares = found.err2[several] / n + found.m2[several] / n / n
    np.testing.assert_allclose(np.sqrt(squares), error, rtol=1e-12)


def test_stored_errors_are_in_dn() -> None:
    raw = golden()["raw"]
    own = np.full(raw[0].shape, 2.0)
    usual = RawCalibration(RowBias("level", level=200.0), 8.0, search=None)
    source = RawSource(ArraySource(raw[0], own), FramePlan(usual, 1.0))
    found = sums([source], 0.5).moments
    assert found.err2 is not None
    np.testing.assert_array_equal(found.err2[found.n > 0], (2.0 * 8.0 * 0.5) ** 2)


def test_pixels_of_a_source(tmp_path: Path) -> None:
    (source,) = in_files(tmp_path, [24])
    made = ready(golden()["raw"][24], source.plan)
    reader = source.open()
    for lo, hi in ((0, 16000), (0, 1), (333, 2077), (15999, 16000)):
        data, err, dq = reader.pixels(lo, hi, Scratch(1))
        assert err is not None
        assert dq is not None
        np.testing.assert_array_equal(data, made.data.reshape(-1)[lo:hi])
        np.testing.assert_array_equal(err, made.err.reshape(-1)[lo:hi])
        np.testing.assert_array_equal(dq, made.dq.reshape(-1)[lo:hi])
    reader.close()
    stored = ArraySource(golden()["raw"][24], np.ones((80, 200)), np.ones((80, 200), np.uint8))
    reader = RawSource(stored, source.plan).open()
    _, err, dq = reader.pixels(0, 16000, Scratch(1))
    np.testing.assert_allclose(err, np.hypot(made.err.reshape(-1), source.plan.calibration.k_gain))
    np.testing.assert_array_equal(dq, made.dq.reshape(-1) | 1)


def test_a_packed_file(tmp_path: Path) -> None:
    paths = []
    for i in STACK:
        path = tmp_path / f"f{i}_l1_.fits.gz"
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(golden()["raw"][i])]).writeto(path)
        paths.append(path)
    sources = [
        RawSource(FileSource(scan_file(str(path))), plan)
        for path, plan in zip(paths, plans(STACK), strict=True)
    ]
    assert sums(sources).moments.equal(sums(in_memory(STACK)).moments)


@pytest.mark.parametrize("kept", [1000, 20_000])
def test_a_file_that_ends_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    sources = in_files(tmp_path, STACK)
    path = tmp_path / "f20_l1_.fits"
    os.truncate(path, 5760 + kept)
    monkeypatch.setattr(pixels, "_open_unchanged", lambda layout: os.open(layout.path, os.O_RDONLY))
    with pytest.raises(UnreadableFrameError, match=r"f20_l1_\.fits: ended"):
        sums(sources)
    reader = sources[2].open()
    with pytest.raises(UnreadableFrameError, match=r"f20_l1_\.fits: ended"):
        reader.pixels(0, 100, Scratch(1))
    reader.close()


def test_identity_and_sending(tmp_path: Path) -> None:
    one, other = in_files(tmp_path, [24]), in_memory([24])
    assert other[0].identity is None
    assert one[0].identity == one[0].for_sending().identity
    again = pickle.loads(pickle.dumps(one[0]))
    assert again.identity == one[0].identity
    changed = [
        calibration(search=DARK),
        calibration(search=None),
        calibration(linearity=None),
        calibration(bias=RowBias(columns=(61, 100))),
        calibration(k_gain=8.7),
        calibration(tail_gain=None),
    ]
    plan = one[0].plan
    known = {one[0].identity} | {
        replace(one[0], plan=replace(plan, calibration=each)).identity for each in changed
    }
    known |= {replace(one[0], plan=replace(plan, gain=2.0)).identity}
    known |= {replace(one[0], plan=replace(plan, discs=((1.0, 2.0, 3.0),))).identity}
    assert len(known) == 3 + len(changed)


def watched(stacks: Any, wanted: bool = False) -> tuple[Careful, list[StackSums]]:
    """Sums of stacks of sources by an executor that leaves bad frames out."""
    inputs: list[Any] = []
    for i, source in enumerate(source for stack in stacks for source in stack):
        provenance = SimpleNamespace(name=f"f{i}.fits")
        record = SimpleNamespace(name=f"f{i}.fits", counted=None)
        inputs.append(SimpleNamespace(source=source, record=record, provenance=provenance))
    jobs = [StackJob(tuple(map(Sample, stack)), (80, 200), MASK, AREA) for stack in stacks]
    careful = Careful(Threads(1), inputs, Skipping(wanted, 0.9), jobs, Count(None, 0, True))
    return careful, list(careful.stacks(jobs))


def test_over_saturated_frames_are_left_out_and_named() -> None:
    """Also where bad frames are refused: they belong to every campaign with cosmic rays."""
    stacks = [in_memory(WITH_OVER), in_memory(STACK)]
    careful, found = watched(stacks)
    (left_out,) = careful._skipping.bad
    assert left_out.path == "f3.fits"
    assert left_out.reason.startswith("is over-saturated: 30.")
    assert [item.record.name for item in careful.bad] == ["f3.fits"]
    assert [len(samples) for samples in careful.sampled] == [5, 6]
    assert [len(each.figures) for each in found] == [5, 6]
    kept = sums([each for i, each in enumerate(stacks[0]) if i != 3], 1.0)
    assert found[0].moments.equal(kept.moments)


def test_a_lost_stack_of_over_saturated_frames() -> None:
    careful, (lost, found) = watched([in_memory([9, 9]), in_memory(STACK)])
    assert lost.lost
    assert not found.lost
    assert [len(samples) for samples in careful.sampled] == [0, 6]
    assert len(careful.bad) == 2


def test_frames_from_files_of_float32(tmp_path: Path) -> None:
    """Made ready and written before: the same but for their rounding."""
    raw = golden()["raw"]
    made = [ready(raw[i], plan) for i, plan in zip(STACK, plans(STACK), strict=True)]
    before = [
        ArraySource(each.data.astype(np.float32), each.err.astype(np.float32), each.dq)
        for each in made
    ]
    first, second = sums(in_memory(STACK)).moments, sums(before).moments
    np.testing.assert_array_equal(first.n, second.n)
    np.testing.assert_array_equal(first.flags, second.flags)
    assert first.err2 is not None
    assert second.err2 is not None
    error = np.sqrt(first.err2 + first.m2) + 1e-12
    assert (np.abs(first.mean - second.mean) / error).max() < 1e-6
    np.testing.assert_allclose(first.err2, second.err2, rtol=1e-6)


def digest() -> str:
    """Of all that the core makes of raw frames of several types."""
    made = hashlib.sha256()
    for dtype in ("<u2", ">i2", ">f4"):
        for frames in (STACK, TWO_GAINS, WITH_OVER):
            found = sums(in_memory(frames, dtype))
            for name in ("n", "mean", "m2", "err2", "flags"):
                made.update(getattr(found.moments, name).tobytes())
            made.update(repr(found.figures).encode())
    for i, plan in zip(TWO_GAINS, plans(TWO_GAINS, search=DARK), strict=True):
        learnt = scan(stored_bytes(golden()["raw"][i]), (80, 200), plan)
        assert learnt is not None
        frame = ready(golden()["raw"][i], plan)
        for part in (learnt.bias, learnt.error, learnt.runs, frame.data, frame.err, frame.dq):
            made.update(part.tobytes())
    return made.hexdigest()


@pytest.mark.parametrize("level", _core.levels)
def test_bits_are_the_same_at_every_level(level: str) -> None:
    here = str(Path(__file__).parent)
    folders = os.pathsep.join([here, str(Path(__file__).parents[1])])
    told = subprocess.run(
        [sys.executable, "-c", "import test_raw_stream; print(test_raw_stream.digest())"],
        env={**os.environ, "EMDARKS_CPU_LEVEL": level, "PYTHONPATH": folders},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == digest()


def test_frames_and_calibrations_must_fit() -> None:
    raw = golden()["raw"][0]
    none = np.zeros(81, np.int32), np.zeros((0, 2), np.int32)
    rows = np.zeros(80)

    def frames(calibrations: Any) -> _core.Frames:
        place = np.array([[raw.ctypes.data], [0], [0]], np.int64)
        minus = np.array([-1], np.int32)
        kinds = ("<u2", None, None)
        return _core.Frames(minus, place, np.ones(1), kinds, (0, 0, 0), MASK, calibrations)

    one = _core.RowCalibration(rows, rows, (1.0, False), (1.0, 0.0), None, *none, 200)
    with pytest.raises(ValueError, match="one a frame"):
        frames([one, one])
    planes = np.empty(16000, np.uint16), np.empty(16000), np.empty(16000)
    flags = np.empty(16000, np.uint16)

    def add(calibration: Any, err2: Any = None) -> None:
        room = _core.Room(16000, 200)
        around = True, True, (0, 0), (0, 0), None
        _core.add_band(
            frames([calibration]), room, None, 0, 16000, *around, *planes, err2, flags, None
        )

    add(one)
    with pytest.raises(ValueError, match="calibration must have"):
        add(_core.RowCalibration(rows, rows, (1.0, False), (1.0, 0.0), None, *none, 100))
    with pytest.raises(ValueError, match="err2 is needed"):
        add(_core.RowCalibration(rows, rows, (1.0, False), (1.0, 0.5), None, *none, 200))
