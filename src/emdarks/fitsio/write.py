"""Files that appear whole or not at all.

A file is written beside its final name, flushed to the disk, and renamed over
it: whoever looks finds the earlier file or the new one.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from emdarks.errors import InputError
from emdarks.fitsio.remote import is_url, local_path, put

__all__ = ["PART", "from_bytes", "image_hdu", "table_hdu", "to_bytes", "whole_file", "write_whole"]

#: How the names of files end that are being written.
PART = ".part"


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
        fits.HDUList(list(hdus)).writeto(file, output_verify="silentfix+ignore", checksum=True)


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
        handle, part = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PART, dir=target.parent)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(0o666 & ~_umask())
        Path(part).replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from None
    finally:
        Path(part).unlink(missing_ok=True)


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def image_hdu(
    data: npt.NDArray[Any] | None, header: fits.Header | None = None, name: str | None = None
) -> fits.ImageHDU:
    """Image HDU of an array; the structural cards follow the array, the others the header."""
    hdu = fits.ImageHDU(data, header=None if header is None else header.copy())
    if name is not None:
        hdu.header["EXTNAME"] = name
    return hdu


def table_hdu(name: str, columns: Mapping[str, tuple[npt.ArrayLike, str]]) -> fits.BinTableHDU:
    """Binary table of columns ``{name: (values, unit)}``; texts become fixed-width strings."""
    made = []
    for label, (values, unit) in columns.items():
        array = np.asarray(values)
        if array.dtype.kind == "U":
            array = np.char.encode(array, "utf-8")
        code = f"{max(1, array.dtype.itemsize)}A" if array.dtype.kind == "S" else None
        made.append(
            fits.Column(name=label, array=array, unit=unit or None, format=code or _code(array))
        )
    return fits.BinTableHDU.from_columns(made, name=name)


def _code(array: npt.NDArray[Any]) -> str:
    codes = {"f8": "D", "f4": "E", "i8": "K", "i4": "J", "i2": "I", "u1": "B", "b1": "L"}
    return codes[array.dtype.str[1:]]


def to_bytes(hdus: Sequence[Any]) -> bytes:
    """HDUs as the bytes of a FITS file, for pickling: astropy's own objects hold files."""
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *(hdu.copy() for hdu in hdus)]).writeto(
        buffer, output_verify="silentfix+ignore"
    )
    return buffer.getvalue()


def from_bytes(content: bytes) -> fits.HDUList:
    """HDUs from what `to_bytes` made."""
    with fits.open(io.BytesIO(content), memmap=False) as hdus:
        return fits.HDUList([hdu.copy() for hdu in hdus[1:]])
