"""Whatever happens while a file is written: the earlier file, or the new one, never a part."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from validation.hostile_campaign import Place, write_good
from validation.hostile_run import file_permissions_count, invoke
from validation.hostile_writing import (
    full_disk,
    killed,
    parts,
    small_disk,
    swept,
    two_writers,
)

from emdarks.errors import InputError
from emdarks.fits import image_hdu, whole_file, write_whole
from emdarks.fits.write import _clean


def image(value: float, rows: int = 60) -> Callable[[Path], None]:
    pixels = np.full((rows, 997), value, np.float32)

    def write(path: Path) -> None:
        write_whole(
            [fits.PrimaryHDU(), image_hdu(pixels, name="A"), image_hdu(pixels, name="B")], path
        )

    return write


def page(value: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with whole_file(path) as file:
            for _ in range(100):
                file.write(value.encode() * 1000)

    return write


WRITERS = [("maps.fits", image(1.0), image(2.0)), ("report.html", page("old"), page("new"))]


@pytest.mark.parametrize(("name", "old", "new"), WRITERS)
def test_a_full_disk_leaves_the_earlier_file(
    tmp_path: Path, name: str, old: Callable[[Path], None], new: Callable[[Path], None]
) -> None:
    count = full_disk(tmp_path, name, old, new, steps=25)
    assert (count.attempts, count.refused, count.earlier) == (25, 25, 25)
    assert (count.finished, count.broken, count.leftovers) == (0, 0, 0)
    assert all(message.startswith("cannot be written (") for message in count.messages)


def test_a_small_disk_that_is_really_full() -> None:
    with small_disk(600) as folder:
        if folder is None:
            pytest.skip("no file system can be mounted here")
        path = folder / "maps.fits"
        image(1.0)(path)
        before = path.read_bytes()
        with pytest.raises(InputError, match=r"maps\.fits: cannot be written \(.*(space|full)"):
            image(2.0)(path)
        assert path.read_bytes() == before
        assert parts(folder) == []


@pytest.mark.parametrize(("name", "old", "new"), WRITERS)
def test_a_killed_process_leaves_no_half_file(
    tmp_path: Path, name: str, old: Callable[[Path], None], new: Callable[[Path], None]
) -> None:
    count = killed(tmp_path, name, old, new, times=25)
    assert count.killed == 25
    assert count.attempts == count.killed + count.finished == count.earlier + count.new
    assert count.broken == 0
    assert swept(tmp_path) == 0


def test_two_writers_leave_one_whole_file(tmp_path: Path) -> None:
    count = two_writers(tmp_path, "maps.fits", [image(1.0), image(2.0)], times=10)
    assert (count.attempts, count.finished) == (20, 20)
    assert (count.earlier + count.new, count.broken, count.leftovers) == (10, 0, 0)


def test_only_parts_that_nobody_writes_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".a.fits.x.emdarks-part", tmp_path / ".b.fits.y.emdarks-part"
    other = tmp_path / ".c.fits.z.part"
    for path in (old, young, other):
        path.touch()
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    _clean.cache_clear()
    with whole_file(tmp_path / "d.fits") as file:
        file.write(b"x")
        (mine,) = tmp_path.glob(".d.fits.*")
        os.utime(mine, (0, 0))
        _clean.cache_clear()
        _clean(tmp_path)
        assert mine.exists()
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)
    assert (tmp_path / "d.fits").read_bytes() == b"x"


def test_leftovers_are_no_frames(tmp_path: Path) -> None:
    good = write_good(tmp_path)
    (tmp_path / ".maps.fits.abc.emdarks-part").write_bytes(b"half")
    camera = ["--camera", str(tmp_path / "camera.toml")]
    outcome = invoke(["inspect", str(tmp_path), *camera], tmp_path)
    assert outcome.exit_code == 0
    assert f"{len(good)} frames" in outcome.text


COMMANDS = {
    "noisemaps": ("{frames}", "-o", "{out}/x.fits"),
    "dark": ("{frames}", "--gain", "2000", "-o", "{out}/x.fits"),
    "synthesize": ("{maps}", "--gain", "9", "--exptime", "9", "-o", "{out}/x.fits"),
    "badpixels": ("{maps}", "-o", "{out}/x.fits"),
    "report": ("{maps}", "-o", "{out}/x.html"),
    "subtract": ("{frames}", "--dark", "{maps}", "-o", "{out}"),
    "inspect": ("{frames}", "--plot", "{out}/x.png"),
}


@pytest.fixture(scope="module")
def campaign(good: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place.of(good, tmp_path_factory.mktemp("campaign") / "run")
    camera = ["--camera", str(place.folder / "camera.toml")]
    made = invoke(
        ["noisemaps", *place.arguments, "-o", str(place.folder / "maps.fits"), *camera],
        place.folder,
    )
    assert made.exit_code == 0, made.text
    return place


def _arguments(command: str, place: Place, out: Path) -> list[str]:
    known = {"frames": place.arguments[0], "maps": place.folder / "maps.fits", "out": out}
    words = [word.format(**known) for word in COMMANDS[command]]
    return [command, *words, "--camera", str(place.folder / "camera.toml")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_cannot_be_written(command: str, campaign: Place, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o555)
    with file_permissions_count():
        outcome = invoke(_arguments(command, campaign, out), out)
    assert (outcome.exit_code, outcome.escaped) == (1, "")
    assert "cannot be written" in outcome.message or "is not writable" in outcome.message
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_on_a_full_disk(command: str, campaign: Place, tmp_path: Path) -> None:
    from validation.hostile_writing import limited_size

    with limited_size(7000):
        outcome = invoke(_arguments(command, campaign, tmp_path), tmp_path)
    assert (outcome.exit_code, outcome.escaped) == (1, "")
    assert "cannot be written" in outcome.message
    assert outcome.written == ()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_not_replaced_unasked(campaign: Place, tmp_path: Path) -> None:
    for command in COMMANDS:
        arguments = _arguments(command, campaign, tmp_path)
        if command == "subtract":
            target = tmp_path / "frame_00_l2_.fits"
            continue
        target = Path(arguments[arguments.index("-o" if "-o" in arguments else "--plot") + 1])
        target.write_text("earlier")
        started = time.monotonic()
        outcome = invoke(arguments, tmp_path)
        assert outcome.exit_code == 1
        assert f"{target}: exists; choose another name or give --overwrite" in outcome.message
        assert target.read_text() == "earlier"
        assert time.monotonic() - started < 60
