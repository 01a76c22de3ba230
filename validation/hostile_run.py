"""Run commands on bad input within this process, and see what they did."""

from __future__ import annotations

import ctypes
import os
import resource
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from typer.testing import CliRunner
from validation.hostile_campaign import Place
from validation.hostile_cases import Case

from emdarks.accumulate import Threads
from emdarks.cli import console
from emdarks.cli.app import app
from emdarks.fits import unpacked

__all__ = [
    "Outcome",
    "few_descriptors",
    "file_permissions_count",
    "invoke",
    "product_planes",
    "run_case",
    "same_planes",
    "without_bad",
]

SKIP = "--skip-bad-frames"


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes
    ----------
    exit_code : int
        Of the command; -1 where an exception escaped.
    lines : tuple of str
        What it said to people, but for results.
    text : str
        All that it said.
    written : tuple of str
        Files that were not there before, or changed, relative to the folder.
    product : Path or None
        The noise maps.
    escaped : str
        An exception that would have been a traceback.
    """

    exit_code: int
    lines: tuple[str, ...]
    text: str
    written: tuple[str, ...]
    product: Path | None
    escaped: str

    @property
    def message(self) -> str:
        """The line that says what is wrong: the error, else the warnings."""
        errors = [line for line in self.lines if line.startswith("error: ")]
        return (errors or [" | ".join(line for line in self.lines if _DESIGN not in line)])[0]


#: True of the campaign that all cases start from.
_DESIGN = "these stacks hardly tell C and D apart"


@contextmanager
def file_permissions_count() -> Iterator[None]:
    """Give up, for a while, what lets the superuser read every file."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    kept = data[0]
    data[0] = kept & ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        data[0] = kept
        libc.capset(header, data)


@contextmanager
def few_descriptors(count: int = 64) -> Iterator[None]:
    """Allow few open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def _between_headers_and_pixels(place: Place) -> Iterator[None]:
    """Do what the case wants when the first pixels are asked for."""
    if place.between is None:
        yield
        return
    original, waiting = Threads.stacks, [place.between]

    def stacks(self: Threads, *arguments: Any, **more: Any) -> Any:
        if waiting:
            waiting.pop()()
        return original(self, *arguments, **more)

    Threads.stacks = stacks  # type: ignore[method-assign]
    try:
        yield
    finally:
        Threads.stacks = original  # type: ignore[method-assign]


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        status = path.stat()
        found[os.fsencode(path.relative_to(folder)).decode(errors="replace")] = (
            status.st_ino,
            status.st_mtime_ns,
        )
    return found


def invoke(arguments: Sequence[str], folder: Path) -> Outcome:
    """Run a command; warnings of NumPy are errors."""
    before = _snapshot(folder)
    with warnings.catch_warnings():
        for category in (RuntimeWarning, DeprecationWarning, FutureWarning):
            warnings.simplefilter("error", category)
        result = CliRunner().invoke(app, list(arguments))
    console.set_loudness(console.Loudness.NORMAL)
    after = _snapshot(folder)
    escaped = result.exception
    if isinstance(escaped, SystemExit):
        escaped = None
    written = tuple(
        name
        for name, state in after.items()
        # Frames that a case changes meanwhile are not the command's doing.
        if before.get(name) != state and not name.startswith("frames/")
    )
    made = [folder / name for name in written if name.endswith(".fits")]
    return Outcome(
        exit_code=-1 if escaped is not None else result.exit_code,
        lines=tuple(line for line in result.output.splitlines() if ": " in line),
        text=result.output,
        written=written,
        product=made[0] if made else None,
        escaped="" if escaped is None else f"{type(escaped).__name__}: {escaped}",
    )


def run_case(
    case: Case, good: Sequence[Path], folder: Path, skip: bool = False, command: str = "noisemaps"
) -> tuple[Outcome, Place]:
    """Spoil a copy of the good campaign, and run a command on it."""
    place = Place.of(good, folder)
    case.make(place)
    camera = ["--camera", str(place.folder / "camera.toml")]
    output = ["-o", f"{place.folder}/{place.output}"] if command == "noisemaps" else []
    with _between_headers_and_pixels(place), file_permissions_count():
        options = [*output, *camera, *place.options, *([SKIP] if skip else [])]
        outcome = invoke([command, *place.arguments, *options], place.folder)
    return outcome, place


def without_bad(place: Place, good: Sequence[Path], folder: Path) -> Outcome:
    """The product of the frames that were not spoilt."""
    other = Place.of(good, folder)
    camera = folder / "camera.toml"
    camera.unlink()
    camera.write_text((place.folder / "camera.toml").read_text())
    for path in place.bad:
        (other.folder / "frames" / path.name.removesuffix(".gz")).unlink()
    return invoke(
        ["noisemaps", *other.arguments, "-o", str(folder / "maps.fits"), "--camera", str(camera)],
        folder,
    )


def product_planes(path: Path) -> dict[str, Any]:
    """All planes of a product, and the table of stacks."""
    with fits.open(path, memmap=False) as hdus:
        found = {hdu.name or str(i): unpacked(hdu) for i, hdu in enumerate(hdus)}
        planes = {name: hdu.data for name, hdu in found.items() if hdu.is_image}
        planes["STACKS"] = np.array(found["STACKS"].data.tolist())
    return planes


def same_planes(one: Path, other: Path) -> bool:
    """Whether two products have the same bits."""
    a, b = product_planes(one), product_planes(other)
    return a.keys() == b.keys() and all(
        (a[name] is None and b[name] is None) or np.array_equal(a[name], b[name], equal_nan=True)
        for name in a
    )
