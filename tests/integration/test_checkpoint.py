"""Finished blocks on disk: killed runs go on, campaigns grow, frames that changed are redone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from campaigns import COLS, REGIONS, ROWS, Campaign, params, quirky_campaign
from emdarks.accumulate import (
    Checkpoint,
    Sample,
    StackJob,
    Threads,
    blocks,
    checkpoint,
    sums_version,
)
from emdarks.accumulate.blocks import FigureArea
from emdarks.checks import inspect_campaign
from emdarks.darks import build_trad_dark, calibrate_darks_lsq, mean_combine
from emdarks.data import Dataset
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits import PART, scan_file
from emdarks.fits.pixels import FileSource
from emdarks.moments import Moments
from test_same_bits import assert_same_product

BLOCK = 3


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_FRAMES", BLOCK)


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    folder = tmp_path / "frames"
    folder.mkdir()
    return quirky_campaign(folder)


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


def maps(dataset: Any, executor: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*saturated in some frames of")
        warnings.filterwarnings("ignore", "these stacks hardly tell")
        warnings.filterwarnings("ignore", ".*not finite, beyond 1e12")
        return calibrate_darks_lsq(dataset, params(), True, REGIONS, executor=executor, **options)


def names(paths: list[str]) -> set[str]:
    return {Path(path).name for path in paths}


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.block.npz"))


def assert_close(one: Any, other: Any) -> None:
    """As design.md has it for another order of frames."""
    known = ~np.isnan(other.err[0])
    np.testing.assert_array_equal(known, ~np.isnan(one.err[0]))
    difference = np.abs(one.data - other.data)[known]
    assert (difference <= 1e-10 * other.err[0][known] + 1e-300).all()
    np.testing.assert_array_equal(one.dq, other.dq)


@pytest.mark.parametrize("screen", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_checkpoint_does_not_change_a_bit(
    campaign: Campaign, tmp_path: Path, opened: Counter[str], screen: bool, threads: int
) -> None:
    expected = maps(campaign.files(), Threads(1), screen=screen)
    opened.clear()
    folder = tmp_path / "kept"
    first = maps(campaign.files(), Checkpoint(Threads(threads), folder), screen=screen)
    assert_same_product(first, expected)
    assert opened == dict.fromkeys(names(campaign.paths), 1)
    again = maps(campaign.files(), Checkpoint(None, folder), screen=screen)
    assert_same_product(again, expected)
    assert opened == dict.fromkeys(names(campaign.paths), 1)
    assert len(stored(folder)) == sum(-(-n // BLOCK) for n in (5, 4, 6, 5, 7))


def test_what_is_kept(campaign: Campaign, tmp_path: Path) -> None:
    """Moments in float64 and the raw OR of the flags, readable with NumPy alone."""
    stack = campaign.stack(1.0, 2.0)
    mean_combine(stack.files(), None, executor=Checkpoint(None, tmp_path / "kept"))
    sizes = []
    for path in stored(tmp_path / "kept"):
        with np.load(path, allow_pickle=False) as block:
            assert {str(block[n].dtype) for n in ("mean", "m2", "err2")} == {"float64"}
            told = json.loads(block["spec"].tobytes())
            frames = [json.loads(text) for text in told["frames"]]
            dq = [fits.getdata(frame[0], "DQ") for frame in frames]
            np.testing.assert_array_equal(
                block["flags"].reshape(ROWS, COLS) & 0xFE, np.bitwise_or.reduce(dq) & 0xFE
            )
            sizes.append(len(frames))
    assert sorted(sizes) == [2, 3]


def test_a_traditional_dark_and_an_inspection_go_on_too(
    campaign: Campaign, tmp_path: Path, opened: Counter[str]
) -> None:
    stack = campaign.stack(300.0, 50.0)
    expected = build_trad_dark(stack.files(), params(), REGIONS, True)
    summary = inspect_campaign(campaign.files())
    folder = tmp_path / "kept"
    for _ in range(2):
        executor = Checkpoint(None, folder)
        assert_same_product(
            build_trad_dark(stack.files(), params(), REGIONS, True, executor=executor), expected
        )
        found = inspect_campaign(campaign.files(), executor=executor)
        assert json.dumps(found.as_dict(True)) == json.dumps(summary.as_dict(True))
    # Without and with the folder: two passes for the dark, two for the table.
    inside = names(stack.paths)
    assert opened == {n: 4 if n in inside else 2 for n in names(campaign.paths)}


def test_added_frames_alone_are_read(
    campaign: Campaign, tmp_path: Path, opened: Counter[str]
) -> None:
    """Ten frames after the old ones, in all stacks, then a whole new stack."""
    more = tmp_path / "more"
    more.mkdir()
    added = quirky_campaign(more, ((1.0, 2.0, 3), (1.0, 90.0, 4), (2000.0, 80.0, 3)), seed=8)
    added.paths[:] = [rename(path, f"added_{i}") for i, path in enumerate(added.paths)]
    folder = tmp_path / "kept"
    maps(campaign.files(), Checkpoint(None, folder))
    opened.clear()
    grown = Campaign(campaign.paths + added.paths)
    found = maps(grown.files(), Checkpoint(None, folder))
    assert opened == dict.fromkeys(names(added.paths), 1)
    assert len(added.paths) == 10
    opened.clear()
    assert_same_product(maps(grown.files(), Checkpoint(None, folder)), found)
    assert not opened
    assert_close(found, maps(grown.files(), Threads(1)))

    new = tmp_path / "new"
    new.mkdir()
    stack = quirky_campaign(new, ((5000.0, 20.0, 4),))
    stack.paths[:] = [rename(path, f"stack_{i}") for i, path in enumerate(stack.paths)]
    opened.clear()
    with_stack = Campaign(stack.paths + grown.paths)
    maps(with_stack.files(), Checkpoint(None, folder))
    assert opened == dict.fromkeys(names(stack.paths), 1)
    opened.clear()
    assert_same_product(maps(grown.files(), Checkpoint(None, folder)), found)
    assert not opened  # and a stack can be left out again


def rename(path: str, name: str) -> str:
    return str(Path(path).rename(Path(path).with_name(f"{name}.fits")))


@pytest.mark.parametrize("where", ["before", "between"])
def test_frames_added_elsewhere_than_at_the_end(
    campaign: Campaign, tmp_path: Path, opened: Counter[str], where: str
) -> None:
    folder, at = tmp_path / "kept", 0 if where == "before" else 11
    *old, last = campaign.paths
    maps(Dataset(old), Checkpoint(None, folder))
    opened.clear()
    grown = [*old[:at], last, *old[at:]]
    found = maps(Dataset(grown), Checkpoint(None, folder))
    assert opened == {Path(last).name: 1}
    assert_close(found, maps(Dataset(grown), Threads(1)))


def test_moments_of_a_grown_stack_agree_to_1e_12(campaign: Campaign, tmp_path: Path) -> None:
    stack = campaign.stack(2000.0, 80.0)
    sources = [FileSource(scan_file(path)) for path in stack.paths]
    area = FigureArea((1, 20), (16, 33), (9, 14))

    def sums(some: Any, executor: Any) -> Any:
        job = StackJob(tuple(Sample(s, 8.7) for s in some), (ROWS, COLS), 255, area, kept=2)
        return executor.sums(job)

    kept = Checkpoint(None, tmp_path / "kept")
    for count in (2, 4, 5):
        sums(sources[:count], kept)
    found, expected = sums(sources, kept), sums(sources, Threads(1))
    n, mean, m2 = expected.moments.n, expected.moments.mean, expected.moments.m2
    # A mean near 0 of large samples is as good as they are.
    typical = np.sqrt(mean**2 + m2 / np.maximum(n, 1))
    assert (np.abs(found.moments.mean - mean) <= 1e-12 * typical).all()
    # Deviations are as good as the level that they are taken from.
    spread = np.sqrt(n * m2) * np.abs(mean)
    assert (np.abs(found.moments.m2 - m2) <= 1e-12 * (m2 + spread)).all()
    np.testing.assert_allclose(found.moments.err2, expected.moments.err2, rtol=1e-12, atol=0)
    for name in ("n", "flags", "top"):
        one, other = getattr(found.moments, name), getattr(expected.moments, name)
        np.testing.assert_array_equal(one, other)
    assert found.figures == expected.figures


@pytest.mark.parametrize("change", ["content", "time", "size"])
def test_a_frame_that_changed_is_noticed(
    campaign: Campaign, tmp_path: Path, opened: Counter[str], change: str
) -> None:
    folder, path = tmp_path / "kept", Path(campaign.paths[4])
    maps(campaign.files(), Checkpoint(None, folder))
    status = path.stat()
    with fits.open(path, memmap=False) as hdus:
        if change == "content":
            hdus[1].data[12, 25] += 500
        elif change == "size":
            hdus.append(fits.ImageHDU(np.zeros(3), name="MORE"))
        hdus.writeto(path, overwrite=True)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(path, ns=times if change == "size" else (times[0], times[1] + 1))
    expected = maps(campaign.files(), Threads(1))
    opened.clear()
    found = maps(campaign.files(), Checkpoint(None, folder))
    assert opened[path.name] == 1
    assert len(opened) <= BLOCK
    assert_same_product(found, expected)


@pytest.mark.parametrize("option", [{"mask_bits": 4}, {"kgain": 1.5}, {"screen": True}])
def test_sums_made_otherwise_are_not_taken(
    campaign: Campaign, tmp_path: Path, opened: Counter[str], option: dict[str, Any]
) -> None:
    for path in campaign.paths:  # of which k-gain makes electrons
        fits.setval(path, "BUNIT", value="DN", ext=1)
        fits.setval(path, "KGAINPAR", value=2.0, ext=1)
    folder = tmp_path / "kept"
    maps(campaign.files(), Checkpoint(None, folder))
    expected = maps(campaign.files(), Threads(1), **option)
    opened.clear()
    assert_same_product(maps(campaign.files(), Checkpoint(None, folder), **option), expected)
    assert len(opened) == len(campaign.paths)


DAMAGES = ["cut", "empty", "a byte", "spec", "foreign", "another block", "another version"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_block_is_named_and_done_again(
    campaign: Campaign, tmp_path: Path, opened: Counter[str], damage: str
) -> None:
    folder = tmp_path / "kept"
    expected = maps(campaign.files(), Checkpoint(None, folder))
    victim, other = stored(folder)[2], stored(folder)[3]
    _damage(victim, other, damage)
    opened.clear()
    with pytest.warns(EmdarksWarning) as caught:
        found = calibrate_darks_lsq(
            campaign.files(), params(), True, REGIONS, executor=Checkpoint(None, folder)
        )
    told = [str(w.message) for w in caught if "checkpoint" in str(w.message)]
    assert len(told) == 1
    assert str(victim) in told[0]
    assert 1 <= len(opened) <= BLOCK
    assert_same_product(found, expected)
    opened.clear()
    assert_same_product(maps(campaign.files(), Checkpoint(None, folder)), expected)
    assert not opened


def _damage(victim: Path, other: Path, damage: str) -> None:
    content = bytearray(victim.read_bytes())
    if damage == "cut":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        victim.write_bytes(b"")
    elif damage == "a byte":
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    elif damage == "foreign":
        np.save(victim.with_suffix(".npy"), np.zeros(3))
        victim.with_suffix(".npy").rename(victim)
    elif damage == "another block":
        shutil.copy(other, victim)
    else:
        with np.load(victim) as block:
            arrays = dict(block)
        spec = json.loads(arrays["spec"].tobytes())
        spec = {**spec, "format": 0} if damage == "another version" else [1]
        arrays["spec"] = np.frombuffer(json.dumps(spec).encode(), np.uint8)
        with victim.open("wb") as file:
            np.savez(file, **arrays)


def test_sums_that_other_code_has_made_are_not_taken(
    campaign: Campaign, tmp_path: Path, opened: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key follows the code that makes the sums; old blocks are told of once."""
    folder = tmp_path / "kept"
    expected = maps(campaign.files(), Checkpoint(None, folder))
    old = stored(folder)
    opened.clear()
    monkeypatch.setattr(checkpoint, "sums_version", lambda: "other")
    with pytest.warns(EmdarksWarning) as caught:
        found = calibrate_darks_lsq(
            campaign.files(), params(), True, REGIONS, executor=Checkpoint(None, folder)
        )
    told = [str(w.message) for w in caught if "another version" in str(w.message)]
    assert told == [
        f"{folder}: holds {len(old)} blocks that another version of emdarks has made; they are "
        "not used, and can be removed"
    ]
    assert_same_product(found, expected)
    assert opened == dict.fromkeys(names(campaign.paths), 1)
    assert len(stored(folder)) == 2 * len(old)


def test_the_version_of_the_sums_is_that_of_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = sums_version.sums_version()
    original = sums_version.inspect.getsource
    for changed in sums_version.MADE_BY:
        sums_version.sums_version.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(
                sums_version.inspect,
                "getsource",
                lambda module, name=changed: original(module) + "#" * (module.__name__ == name),
            )
            assert sums_version.sums_version() != usual, changed
    sums_version.sums_version.cache_clear()
    assert sums_version.sums_version() == usual


def test_a_block_without_its_frames_is_of_no_use(campaign: Campaign, tmp_path: Path) -> None:
    """Frames that are gone cannot be asked for: names come from the campaign, not the folder."""
    folder = tmp_path / "kept"
    maps(campaign.files(), Checkpoint(None, folder))
    fewer = [path for path in campaign.paths if path != campaign.paths[3]]
    Path(campaign.paths[3]).unlink()
    assert_close(maps(Dataset(fewer), Checkpoint(None, folder)), maps(Dataset(fewer), Threads(1)))


def test_frames_in_memory_are_not_kept(campaign: Campaign, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    found = maps(campaign.memory(), Checkpoint(None, folder))
    assert_same_product(found, maps(campaign.files(), Threads(1)))
    assert not stored(folder)


def test_the_same_file_twice_counts_twice(campaign: Campaign, tmp_path: Path) -> None:
    source = FileSource(scan_file(campaign.paths[0]))

    def moments(count: int, executor: Any) -> Moments:
        job = StackJob(tuple(Sample(source) for _ in range(count)), (ROWS, COLS), 255)
        result: Moments = executor.sums(job).moments
        return result

    kept = Checkpoint(None, tmp_path / "kept")
    moments(2, kept)
    assert moments(5, kept).n.max() == 5
    assert moments(4, kept).equal(moments(4, Threads(1)))


def test_what_cannot_be_a_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match=r"file: cannot be used as a checkpoint \(File exists"):
        Checkpoint(None, file)
    with pytest.raises(InputError, match="needs a folder of a file system"):
        Checkpoint(None, "s3://bucket/kept")


def test_a_full_disk_is_told_and_what_was_kept_stays(
    campaign: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Counter[str]
) -> None:
    folder = tmp_path / "kept"
    original, calls = np.savez, []

    def savez(file: Any, **arrays: Any) -> None:
        calls.append(file)
        if len(calls) == 4:
            file.write(b"some")
            raise OSError(28, "No space left on device")
        original(file, **arrays)

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(InputError, match=r"block.npz: cannot be written \(No space left"):
        maps(campaign.files(), Checkpoint(None, folder))
    assert len(stored(folder)) == 3
    assert not list(folder.glob(f"*{PART}"))
    opened.clear()
    maps(campaign.files(), Checkpoint(None, folder))
    assert len(opened) == len(campaign.paths) - len(read_frames(folder, 3))


def read_frames(folder: Path, first: int) -> list[str]:
    """Frames of the blocks that were written first."""
    files = sorted(stored(folder), key=lambda path: path.stat().st_mtime_ns)[:first]
    found = []
    for path in files:
        with np.load(path) as block:
            found += json.loads(block["spec"].tobytes())["frames"]
    return found


def test_what_killed_runs_were_writing_goes_away(campaign: Campaign, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    old, young = folder / f".old{PART}", folder / f".young{PART}"
    old.write_text("")
    young.write_text("")
    os.utime(old, (1, 1))
    Checkpoint(None, folder)
    assert not old.exists()
    assert young.exists()


def test_another_folder_of_the_same_name_is_noticed(campaign: Campaign, tmp_path: Path) -> None:
    """As on a worker's own disk."""
    kept = Checkpoint(None, tmp_path / "kept")
    shutil.rmtree(tmp_path / "kept")
    with pytest.raises(InputError, match="kept: is not the checkpoint"):
        maps(campaign.files(), kept)
    Checkpoint(None, tmp_path / "kept")
    with pytest.raises(InputError, match="must be on a file system that all workers share"):
        maps(campaign.files(), kept)


@pytest.mark.parametrize(("times", "more"), [(20, []), (8, ["raw"])])
def test_killed_at_random_moments(tmp_path: Path, times: int, more: list[str]) -> None:
    """Kill -9 many times, then once to the end: see `kill_runs.py`."""
    script = Path(__file__).parents[1] / "kill_runs.py"
    made = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(times), *more],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["killed"] == times
    assert told["same_bits"]
    assert told["read_again"] == []
    # Runs were killed at many stages, not all before or after the work.
    assert len(set(told["blocks_when_killed"])) >= times // 4, told


def test_two_runs_at_once(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "kill_runs.py"
    made = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "together"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout) == {"same_bits": True, "exit": [0, 0, 0], "left": []}


def test_from_the_command_line(campaign: Campaign, tmp_path: Path, opened: Counter[str]) -> None:
    from typer.testing import CliRunner

    from emdarks.cli.app import app
    from emdarks.data import sample

    paths = [str(path) for path in sample()]
    opened.clear()
    outputs = [tmp_path / f"maps{i}.fits" for i in range(3)]
    for i, output in enumerate(outputs):
        options = ["--checkpoint", str(tmp_path / "kept")] if i else []
        outcome = CliRunner().invoke(app, ["noisemaps", *paths, "-o", str(output), *options])
        assert outcome.exit_code == 0, outcome.output
    assert set(opened.values()) == {2}  # the third run read none
    for output in outputs[1:]:
        for plane in (1, "ERR", "DQ", "SIGNED"):
            one, other = fits.getdata(output, plane), fits.getdata(outputs[0], plane)
            assert one.tobytes() == other.tobytes()
    text = CliRunner().invoke(app, ["check", *paths, "--checkpoint", paths[0]])
    assert text.exit_code == 1
    assert "cannot be used as a checkpoint" in text.stderr
