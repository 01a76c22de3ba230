"""What a file is that is no FITS file, told by how it begins."""

from __future__ import annotations

from typing import Any

from emdarks.errors import InputError

_HEAD = 560
_CONVERT = "export the frames as FITS, or leave it out"
_UNPACK = "unpack it and give the files inside"
_FETCH = "fetch the file itself"

#: What files begin with, what they then are, and what to do.
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"II*\0", "a TIFF image", _CONVERT),
    (b"MM\0*", "a TIFF image", _CONVERT),
    (b"II+\0", "a TIFF image", _CONVERT),
    (b"MM\0+", "a TIFF image", _CONVERT),
    (b"\x89PNG", "a PNG image", _CONVERT),
    (b"\xff\xd8\xff", "a JPEG image", _CONVERT),
    (b"GIF8", "a GIF image", _CONVERT),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _CONVERT),
    (b"\x93NUMPY", "a NumPy file", _CONVERT),
    (b"#ASDF", "an ASDF file", _CONVERT),
    (b"XISF0100", "an XISF image", _CONVERT),
    (b"LUCAM-RECORDER", "a SER video", _CONVERT),
    (b"Andor Technology", "an Andor SIF file", _CONVERT),
    (b"%PDF", "a PDF document", "leave it out"),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"PK\x05\x06", "a zip archive without files", "leave it out"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"\x1f\x8b", "gzipped twice", "unpack it with gunzip"),
    (b"BZh", "compressed by bzip2", "unpack it with bunzip2"),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it with unzstd"),
    (b"\x1f\x9d", "compressed by compress", "unpack it with uncompress"),
    (b"\x1f\xa0", "compressed by compress", "unpack it with uncompress"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file it stands for",
        f"{_FETCH} with git lfs pull",
    ),
    (
        b"/annex/objects/",
        "a git-annex pointer, not the file it stands for",
        f"{_FETCH} with git annex get",
    ),
)
_PAGES = (b"<!doctype html", b"<html")


def refuse_other_formats(stream: Any, path: str) -> None:
    """Refuse a file of another format, by its first bytes, and say what it is.

    Parameters
    ----------
    stream : binary file
        At its start, and left there; unpacked where the file is gzipped.
    path : str
        For messages.

    Raises
    ------
    InputError
        It is empty, or of a format that is known and is not FITS.
    """
    head = stream.peek(_HEAD)[:_HEAD]
    if head.startswith(b"SIMPLE"):
        return
    known = _other_format(head)
    if known is not None:
        what, remedy = known
        raise InputError(f"{path}: is {what}, no FITS file; {remedy}")


def _other_format(head: bytes) -> tuple[str, str] | None:
    """What a file is that begins so, and what to do; None where that is not known."""
    if not head:
        return "empty (0 bytes)", "copy the file again or leave it out"
    for beginning, what, remedy in _BEGINNINGS:
        if head.startswith(beginning):
            return what, remedy
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return "a page of a web site", "fetch the file again; some sites ask for a login first"
    if head.startswith(b"<?xml"):
        return "an XML document", _CONVERT
    if head[257:262] == b"ustar":
        return "a tar archive", _UNPACK
    return None
