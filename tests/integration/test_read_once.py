"""Frames that turn out bad while they are read: the others are read once, and counted once."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from emdarks import Dataset, Threads, calibrate_darks_lsq, check_darks
from emdarks.accumulate import Checkpoint
from emdarks.checks import inspect_campaign
from emdarks.checks.recipe_frames import KINDS
from emdarks.data import sample
from emdarks.errors import EmdarksWarning
from emdarks.fits.pixels import FileSource

SKIP: dict[str, Any] = {"skip_bad_frames": True, "skip_share": 0.5}
EACH = 4  # frames of a stack


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Copies of the sample that may be spoilt, stack after stack."""
    found = []
    for source in sample():
        path = tmp_path / source.name.removesuffix(".gz")
        with fits.open(source) as hdus:
            hdus.writeto(path)
        found.append(path)
    keys = ["EMGAIN_C", "EXPTIME"]
    stacks, _ = Dataset(found).split_dataset(exthdr_keywords=keys)
    return [Path(frame.filepath) for stack in stacks for frame in stack]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each frame was opened for its pixels."""
    counted: Counter[str] = Counter()
    original = FileSource.open

    def count(self: FileSource) -> Any:
        counted[Path(self.layout.path).name] += 1
        return original(self)

    monkeypatch.setattr(FileSource, "open", count)
    return counted


def flat(path: Path) -> None:
    """Make a frame without noise."""
    with fits.open(path, mode="update") as hdus:
        hdus[1].data[:] = 7.0


def assert_told(calls: list[tuple[int, int]], last: int) -> None:
    """Progress only grows, stays within its total, and is complete at the end alone."""
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert all(done < total for done, total in calls[:-1])
    assert calls[-1] == (last, last)


@pytest.mark.parametrize("screen", [False, True])
@pytest.mark.parametrize("stack", [0, 2, 5])
def test_one_lost_stack_costs_no_other(
    paths: list[Path], opened: Counter[str], stack: int, screen: bool
) -> None:
    lost = paths[stack * EACH : (stack + 1) * EACH]
    for path in lost:
        flat(path)
    kept = [path for path in paths if path not in lost]
    expected = calibrate_darks_lsq(Dataset(kept), None, screen=screen)
    opened.clear()
    calls: list[tuple[int, int]] = []
    executor = Threads(2, progress=lambda *numbers: calls.append(numbers))
    with pytest.warns(EmdarksWarning, match="4 of 24 frames left out"):
        found = calibrate_darks_lsq(Dataset(paths), None, screen=screen, executor=executor, **SKIP)
    assert opened == {path.name: 1 for path in paths}
    assert_told(calls, 24)
    for name in ("data", "err", "dq"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.hdu_names == [*expected.hdu_names, "SKIPPED"]


def test_a_copy_costs_its_own_stack(paths: list[Path], opened: Counter[str]) -> None:
    copy = paths[5].with_name("copy.fits")
    shutil.copy(paths[5], copy)
    calls: list[tuple[int, int]] = []
    executor = Threads(1, progress=lambda *numbers: calls.append(numbers))
    with pytest.warns(EmdarksWarning, match="1 of 25 frames left out: copy.fits"):
        found = calibrate_darks_lsq(Dataset([*paths, copy]), None, executor=executor, **SKIP)
    again = {path.name for path in paths[EACH : 2 * EACH]}
    assert opened == {path.name: 2 if path.name in again else 1 for path in [*paths, copy]}
    assert_told(calls, 25 + EACH)
    expected = calibrate_darks_lsq(Dataset(paths), None)
    np.testing.assert_array_equal(found.data, expected.data)
    np.testing.assert_array_equal(found.err, expected.err)


def _flat_stack(paths: list[Path]) -> list[Path]:
    for path in paths[3 * EACH : 4 * EACH]:
        flat(path)
    return [path for i, path in enumerate(paths) if i // EACH != 3]


def _with_copy(paths: list[Path]) -> list[Path]:
    good = list(paths)
    copy = paths[0].with_name("copy.fits")
    shutil.copy(paths[EACH + 1], copy)
    paths.insert(EACH + 2, copy)
    return good


@pytest.mark.parametrize(("spoil", "again"), [(_flat_stack, 0), (_with_copy, EACH)])
def test_check_reads_only_what_changed(
    paths: list[Path],
    opened: Counter[str],
    spoil: Callable[[list[Path]], list[Path]],
    again: int,
) -> None:
    """A frame less makes other halves of its stack, and leaves those of the others."""
    expected = check_darks(Dataset(spoil(paths)))
    opened.clear()
    calls: list[tuple[int, int]] = []
    executor = Threads(1, progress=lambda *numbers: calls.append(numbers))
    with pytest.warns(EmdarksWarning, match="frames left out"):
        found = check_darks(Dataset(paths), executor=executor, **SKIP)
    assert json.dumps(found.as_dict()) == json.dumps(expected.as_dict())
    twice = [name for name, count in opened.items() if count > 1]
    assert len(twice) <= again
    assert_told(calls, sum(opened.values()))


def test_check_without_a_bad_frame_is_complete_once(paths: list[Path]) -> None:
    calls: list[tuple[int, int]] = []
    check_darks(
        Dataset(paths), executor=Threads(1, progress=lambda *numbers: calls.append(numbers))
    )
    assert_told(calls, 24)


@pytest.mark.parametrize("command", ["maps", "inspect"])
def test_a_file_that_vanishes_is_counted_right(
    paths: list[Path], tmp_path: Path, command: str
) -> None:
    dataset = Dataset(paths)
    paths[14].unlink()
    calls: list[tuple[int, int]] = []
    threads = Threads(1, progress=lambda *numbers: calls.append(numbers))
    executor = Checkpoint(threads, tmp_path / "kept")
    if command == "maps":
        with pytest.warns(EmdarksWarning, match="1 of 24 frames left out"):
            calibrate_darks_lsq(dataset, None, executor=executor, **SKIP)
    else:
        inspect_campaign(dataset, executor=executor)
    assert_told(calls, 23)


@pytest.mark.parametrize("screen", [False, True])
def test_kinds_that_are_skipped_cost_their_own_stack(
    paths: list[Path], opened: Counter[str], screen: bool
) -> None:
    """A frame that is far off is found when all were read; the other stacks are known by then."""
    with fits.open(paths[6], mode="update") as hdus:
        hdus[1].data[:] = hdus[1].data + 500.0
    calls: list[tuple[int, int]] = []
    executor = Threads(1, progress=lambda *numbers: calls.append(numbers))
    options: dict[str, Any] = {"screen": screen, "skip": KINDS, "skip_share": 0.5}
    with pytest.warns(EmdarksWarning):
        found = calibrate_darks_lsq(Dataset(paths), None, executor=executor, **options)
    assert found.ext_hdr["NSKIPPED"] == 1
    again = {path.name for path in (paths if screen else paths[EACH : 2 * EACH])} - {paths[6].name}
    assert {name for name, count in opened.items() if count == 2} == again
    assert_told(calls, sum(opened.values()))
    kept = [path for path in paths if path != paths[6]]
    expected = calibrate_darks_lsq(Dataset(kept), None, screen=screen)
    np.testing.assert_array_equal(found.data, expected.data)
    np.testing.assert_array_equal(found.err, expected.err)
