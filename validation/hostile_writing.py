"""Writing under bad conditions: the disk full, the process killed, two at a time.

Each experiment counts what was found under the product's name: the earlier file, the new one,
or anything else, which must never be.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from astropy.io import fits

from emdarks.errors import InputError
from emdarks.fits.write import _clean

__all__ = ["Count", "full_disk", "killed", "limited_size", "small_disk", "two_writers"]

Write = Callable[[Path], None]


@dataclass
class Count:
    """What was found.

    Attributes
    ----------
    attempts, finished, refused, killed : int
        How often a write was tried, came to its end, failed with a message, was killed.
    earlier, new, broken : int
        Files found afterwards under the name: as before, the new one, neither.
    leftovers : int
        Hidden parts of files found afterwards.
    messages : set of str
        What was said, without the name of the file.
    """

    attempts: int = 0
    finished: int = 0
    refused: int = 0
    killed: int = 0
    earlier: int = 0
    new: int = 0
    broken: int = 0
    leftovers: int = 0
    messages: set[str] = field(default_factory=set)

    def look(self, path: Path, earlier: str, new: str) -> None:
        """See which file is there."""
        found = digest(path)
        if found == earlier:
            self.earlier += 1
        elif found == new:
            self.new += 1
        else:
            self.broken += 1


def digest(path: Path) -> str:
    """Fingerprint of a file, without the dates that checksums carry; empty if there is none.

    A FITS file whose checksums do not hold counts as damaged.
    """
    if not path.exists():
        return ""
    content = path.read_bytes()
    if path.suffix == ".fits":
        with fits.open(path, memmap=False, checksum=False) as hdus:
            whole = all(hdu.verify_checksum() and hdu.verify_datasum() for hdu in hdus)
            ends = hdus[-1].fileinfo()
            complete = ends["datLoc"] + ends["datSpan"] == len(content)
            data = b"".join(hdu.data.tobytes() for hdu in hdus if hdu.data is not None)
        return hashlib.sha256(data).hexdigest() if whole and complete else "damaged"
    return hashlib.sha256(content).hexdigest()


@contextmanager
def limited_size(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: the system refuses to write more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def full_disk(folder: Path, name: str, old: Write, new: Write, steps: int) -> Count:
    """Write over an earlier file, refused after ever more bytes."""
    path = folder / name
    new(path)
    size, fresh = path.stat().st_size, digest(path)
    old(path)
    before, count = digest(path), Count()
    for step in range(steps):
        count.attempts += 1
        try:
            with limited_size(size * step // steps):
                new(path)
            count.finished += 1
        except InputError as error:
            count.refused += 1
            count.messages.add(str(error).removeprefix(f"{path}: "))
        count.look(path, before, fresh)
        count.leftovers += len(parts(folder))
    return count


@contextmanager
def small_disk(kilobytes: int) -> Iterator[Path | None]:
    """Mount a file system in memory of a few kilobytes; None where that is not allowed."""
    with tempfile.TemporaryDirectory() as name:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", name]
        try:
            done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except OSError:
            done = False
        try:
            yield Path(name) if done else None
        finally:
            if done:
                subprocess.run(["umount", name], check=True)


def parts(folder: Path) -> list[Path]:
    """Hidden parts of files."""
    return list(folder.glob(".*.emdarks-part"))


def killed(folder: Path, name: str, old: Write, new: Write, times: int, seed: int = 1) -> Count:
    """Kill processes, at random moments, that write the new file over the old.

    Those that came to their end before do not count among the ``times``.
    """
    path, rng = folder / name, random.Random(seed)
    new(path)
    fresh = digest(path)
    old(path)  # imports what is needed; only then is the time a usual one
    started = time.monotonic()
    old(path)
    usual = time.monotonic() - started
    before, count = digest(path), Count()
    while count.killed < times and count.attempts < 10 * times:
        old(path)
        count.attempts += 1
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                new(path)
            os._exit(0)
        time.sleep(rng.uniform(0, 3 * usual))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        count.killed += os.WIFSIGNALED(status)
        count.finished += not os.WIFSIGNALED(status)
        count.look(path, before, fresh)
    count.leftovers = len(parts(folder))
    return count


def swept(folder: Path) -> int:
    """Parts left when the next process, a while later, has cleaned the folder."""
    for part in parts(folder):
        os.utime(part, (0, 0))
    _clean.cache_clear()
    _clean(folder.resolve())
    return len(parts(folder))


def two_writers(folder: Path, name: str, writers: Sequence[Write], times: int) -> Count:
    """Let processes write one file at the same time."""
    path, count = folder / name, Count()
    known = []
    for write in writers:
        write(path)
        known.append(digest(path))
    for _ in range(times):
        children = []
        for write in writers:
            child = os.fork()
            if child == 0:
                with contextlib.suppress(BaseException):
                    write(path)
                    os._exit(0)
                os._exit(1)
            children.append(child)
        for child in children:
            count.attempts += 1
            count.finished += os.waitpid(child, 0)[1] == 0
        count.look(path, known[0], known[1])
    count.leftovers = len(parts(folder))
    return count
