"""Files that appear whole or not at all.

A file is written beside its final name, flushed to the disk, and renamed over
it: whoever looks finds the earlier file or the new one. What a killed process leaves is a
hidden file that ends in `.emdarks-part`, which nothing takes for a frame or a product; the
next process that writes into the folder removes it.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt

from emdarks.errors import InputError
from emdarks.fits import astropy_fits as fits
from emdarks.fits.remote import PART, is_url, local_path, put
from emdarks.fits.tables import copied

#: Seconds in which a part may not be locked yet.
_YOUNG = 60.0


def write_whole(hdus: Sequence[Any], path: str | os.PathLike[str]) -> None:
    """Write HDUs to a file, with checksums, replacing an earlier file of that name.

    Parameters
    ----------
    hdus : sequence of HDUs
        Primary first.
    path : str or path-like
        The file, or a URL; its folder must exist.

    Raises
    ------
    InputError
        The folder is missing or cannot be written, or the disk is full. An earlier
        file of that name is then as it was.
    """
    if is_url(path) and not local_path(str(path)):
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "product.fits"
            write_whole(hdus, local)
            put(local, str(path))
        return
    with whole_file(path) as file:
        try:
            fits.HDUList(list(hdus)).writeto(file, output_verify="silentfix+ignore", checksum=True)
        except AttributeError as error:
            # Where the disk is full, astropy stumbles over its own message.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name when all is written, or never.

    Parameters
    ----------
    path : str or path-like
        The file; its folder must exist.

    Yields
    ------
    binary file

    Raises
    ------
    InputError
        The folder is missing or cannot be written, or the disk is full. An earlier
        file of that name is then as it was.
    """
    target = Path(local_path(os.fspath(path)) or path)
    try:
        _clean(target.parent.resolve())
        # Names near the limit of the file system leave no room for more.
        part = target.parent / f".{target.name[:40]}.{uuid.uuid4().hex[:12]}{PART}"
        # The system takes the process's mask off the mode; to ask for the mask would change
        # it for all threads.
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from None
    try:
        _lock(handle)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        reason = error.strerror or f"disk full? {error}"
        raise InputError(f"{target}: cannot be written ({reason})") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _lock(handle: int) -> bool:
    """Take a file for this process, as long as it is open; False where another has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@lru_cache(maxsize=1024)
def _clean(folder: Path) -> None:
    """Remove what killed processes left in a folder; once, folders may be large.

    Parts that are being written are locked; young ones may be so in a moment.
    """
    for part in folder.glob(f".*{PART}"):
        with suppress(OSError):
            if part.is_symlink() or time.time() - part.stat().st_mtime < _YOUNG:
                continue
            handle = os.open(part, os.O_RDWR)
            try:
                if _lock(handle):
                    part.unlink()
            finally:
                os.close(handle)


def image_hdu(
    data: npt.NDArray[Any] | None, header: fits.Header | None = None, name: str | None = None
) -> fits.ImageHDU:
    """Image HDU of an array; the structural cards follow the array, the others the header."""
    hdu = fits.ImageHDU(data, header=None if header is None else header.copy())
    if name is not None:
        hdu.header["EXTNAME"] = name
    return hdu


def state_shape(header: fits.Header, shape: tuple[int, ...]) -> None:
    """Write NAXIS and NAXISn of an array, in the place of those that a header brought along."""
    for keyword in {key for key in header if re.fullmatch(r"NAXIS\d+", key)}:
        del header[keyword]
    header["NAXIS"] = len(shape)
    for i, length in enumerate(reversed(shape), 1):
        header[f"NAXIS{i}"] = length


def to_bytes(hdus: Sequence[Any]) -> bytes:
    """HDUs as the bytes of a FITS file, for pickling: astropy's own objects hold files."""
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *map(copied, hdus)]).writeto(
        buffer, output_verify="silentfix+ignore"
    )
    return buffer.getvalue()


def from_bytes(content: bytes) -> fits.HDUList:
    """HDUs from what `to_bytes` made."""
    with fits.open(io.BytesIO(content), memmap=False) as hdus:
        return fits.HDUList([copied(hdu) for hdu in hdus[1:]])
