"""Where the pixels of a frame lie in its file, found without reading them.

astropy reads the headers and says at which byte the data of each HDU start;
what is kept of a file is small (see `Cards`). Files whose pixels do not lie
there as plain numbers (gzip, tile compression) are marked `packed`: they are
read as a whole, through `read_plane`.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from emdarks.errors import InputError, NoImageError
from emdarks.fitsio.cards import Cards
from emdarks.fitsio.remote import (
    RangeFile,
    RemoteFile,
    is_url,
    local_path,
    look_up,
    read_whole,
)

__all__ = ["FileLayout", "PlaneLayout", "read_plane", "scan_file"]

_DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """Image, err or dq pixels of a file.

    Attributes
    ----------
    hdu : int
        Index of the HDU.
    offset : int
        Byte at which the pixels start; meaningless where the file is packed.
    dtype : str
        NumPy type of the stored numbers, big-endian.
    shape : tuple of int
        Shape of the stored array, as NumPy has it.
    bscale, bzero : float
        Physical value = bscale * stored + bzero.
    blank : int or None
        Stored integer that means "no value".
    cards : Cards
        The header.
    """

    hdu: int
    offset: int
    dtype: str
    shape: tuple[int, ...]
    bscale: float
    bzero: float
    blank: int | None
    cards: Cards

    @property
    def offset_of_integers(self) -> int:
        """BZERO by which FITS stores the integers that it has no type for.

        Unsigned ones of two bytes and more, signed ones of one; 0 for real numbers.
        """
        offsets = {8: -(1 << 7), 16: 1 << 15, 32: 1 << 31, 64: 1 << 63}
        dtype = np.dtype(self.dtype)
        return 0 if dtype.kind == "f" else offsets[8 * dtype.itemsize]

    @property
    def nbytes(self) -> int:
        """Bytes of the stored array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class FileLayout:
    """One FITS file of frames: headers, and where the pixels are.

    Attributes
    ----------
    path : str
        The file.
    size, mtime_ns : int
        As found; a file that differs when its pixels are read is refused.
    primary : Cards
        Primary header.
    image : PlaneLayout
        Image of shape (rows, columns), or (frames, rows, columns) in a cube.
    err, dq : PlaneLayout or None
        Error (with a leading layer axis or without) and flags.
    others : tuple of int
        Indices of all further HDUs.
    packed : bool
        Pixels are compressed.
    blocks : tuple of (int, int)
        First and last-plus-one byte of each HDU's header.
    remote : RemoteFile or None
        Where the file is, if at a URL; ``path`` is then what can be shown of it.
    """

    path: str
    size: int
    mtime_ns: int
    primary: Cards
    image: PlaneLayout
    err: PlaneLayout | None
    dq: PlaneLayout | None
    others: tuple[int, ...]
    packed: bool
    blocks: tuple[tuple[int, int], ...]
    remote: RemoteFile | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of one frame."""
        rows, cols = self.image.shape[-2:]
        return rows, cols

    @property
    def n_frames(self) -> int:
        """Number of frames in the file: planes of a cube, else 1."""
        return self.image.shape[0] if len(self.image.shape) == 3 else 1

    @property
    def absolute(self) -> str:
        """The path from any working folder; links are not followed."""
        return self.path if self.remote else os.path.abspath(self.path)  # noqa: PTH100

    def without_cards(self) -> FileLayout:
        """All that is needed to read pixels, from any working folder: headers are empty."""

        def bare(plane: PlaneLayout | None) -> PlaneLayout | None:
            return None if plane is None else replace(plane, cards=Cards(()))

        return replace(
            self,
            path=self.absolute,
            primary=Cards(()),
            image=replace(self.image, cards=Cards(())),
            err=bare(self.err),
            dq=bare(self.dq),
        )


def _open(file: Any) -> fits.HDUList:
    with warnings.catch_warnings():
        # A file that is too short is found below, with its name.
        warnings.simplefilter("ignore", AstropyUserWarning)
        hdus = fits.open(file, memmap=False, do_not_scale_image_data=True, ignore_missing_end=False)
        _read_headers(hdus)
    return hdus


def _read_headers(hdus: fits.HDUList) -> None:
    """Read the headers up to the last one; a negative size would lead astropy in circles."""
    for index in count():
        try:
            hdu = hdus[index]
        except IndexError:
            return
        if hdu.fileinfo()["datSpan"] < 0:
            raise ValueError(f"HDU {index} has a negative size")


def _header_cards(hdu: Any, stream: Any) -> Cards:
    """Cards of an HDU: its bytes where they are plain, else what astropy makes of them."""
    if isinstance(hdu, fits.CompImageHDU) or isinstance(stream, gzip.GzipFile):
        return Cards.from_header(hdu.header)
    info = hdu.fileinfo()
    stream.seek(info["hdrLoc"])
    return Cards.from_bytes(stream.read(info["datLoc"] - info["hdrLoc"]))


def _shape(cards: Cards) -> tuple[int, ...]:
    return tuple(int(cards[f"NAXIS{i}"]) for i in range(int(cards.get("NAXIS", 0)), 0, -1))


def _plane(index: int, hdu: Any, stream: Any, path: str) -> PlaneLayout:
    cards = _header_cards(hdu, stream)
    blank = cards.get("BLANK")
    try:
        plane = PlaneLayout(
            hdu=index,
            offset=int(hdu.fileinfo()["datLoc"]),
            dtype=_DTYPES[int(cards["BITPIX"])],
            shape=_shape(cards),
            bscale=float(cards.get("BSCALE", 1.0)),
            bzero=float(cards.get("BZERO", 0.0)),
            blank=None if blank is None else int(blank),
            cards=cards,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: the header of HDU {index} is damaged ({error})") from None
    return plane


def _is_image(hdu: Any) -> bool:
    return bool(hdu.is_image) and hdu.header.get("NAXIS", 0) >= 2


def _pick_planes(hdus: fits.HDUList, path: str) -> tuple[int, int | None, int | None]:
    """Indices of image, ERR and DQ: the image is HDU 1, or the primary where that has one."""
    names = [hdu.name.upper() for hdu in hdus]
    for name in ("ERR", "DQ"):
        if names.count(name) > 1:
            raise InputError(f"{path}: has more than one HDU named {name}")
    image = 1 if len(hdus) > 1 and _is_image(hdus[1]) and names[1] not in ("ERR", "DQ") else 0
    if not _is_image(hdus[image]):
        raise NoImageError(f"{path}: has no image in its first or second HDU; is it a frame?")
    err, dq = (names.index(name) if name in names else None for name in ("ERR", "DQ"))
    return image, err, dq


def _check_shapes(layout: FileLayout) -> None:
    image = layout.image.shape
    if len(image) not in (2, 3) or 0 in image:
        raise InputError(
            f"{layout.path}: the image has shape {image}; a frame has rows and columns, "
            "a cube one more axis in front"
        )
    # ERR has its layers before the axes of the image, or none.
    if layout.err is not None and layout.err.shape[-len(image) :] != image:
        raise InputError(f"{layout.path}: ERR has shape {layout.err.shape}, the image {image}")
    if layout.dq is not None:
        if layout.dq.shape != image:
            raise InputError(f"{layout.path}: DQ has shape {layout.dq.shape}, the image {image}")
        if np.dtype(layout.dq.dtype).kind == "f":
            raise InputError(f"{layout.path}: DQ holds floating-point numbers, not bit flags")
        if layout.dq.bscale != 1.0 or layout.dq.bzero not in (0.0, layout.dq.offset_of_integers):
            raise InputError(
                f"{layout.path}: DQ is scaled (BSCALE, BZERO), so it holds no bit flags"
            )


def _check_length(layout: FileLayout) -> None:
    for plane in (layout.image, layout.err, layout.dq):
        if plane is not None and plane.offset + plane.nbytes > layout.size:
            missing = plane.offset + plane.nbytes - layout.size
            raise InputError(
                f"{layout.path}: cut short, {missing} bytes of pixels are missing; "
                "copy the file again or leave it out"
            )


def _check_end(hdus: fits.HDUList, stream: Any, path: str) -> None:
    """Refuse a file that ends within an HDU: its flags must not vanish unnoticed.

    astropy leaves out an HDU whose header is cut off or damaged, and what lies
    behind the cut in a gzipped file.
    """
    last = hdus[-1].fileinfo()
    stream.seek(last["datLoc"] + last["datSpan"])
    rest = stream.read(8)
    if isinstance(stream, gzip.GzipFile):
        while stream.read(1 << 20):
            pass  # up to the checksum, which raises where it does not hold
    if rest and b"XTENSION".startswith(rest):
        raise InputError(
            f"{path}: the header of HDU {len(hdus)} is cut short or damaged; "
            "copy the file again or leave it out"
        )


@contextmanager
def _opened(file: str | RemoteFile) -> Iterator[tuple[Any, RemoteFile | os.stat_result]]:
    """A file to be read in small pieces, and what is known of it."""
    if isinstance(file, RemoteFile):
        # Every piece is a request: large ones.
        with io.BufferedReader(RangeFile(file), buffer_size=1 << 16) as stream:
            gzipped = stream.peek(2)[:2] == _GZIP
            yield (read_whole(file) if gzipped else stream), file
        return
    status = Path(file).stat()
    with Path(file).open("rb", buffering=0) as raw:
        # Headers come in a few small reads; buffering would fetch pixels with them.
        yield io.BufferedReader(raw, buffer_size=2880), status


def scan_file(path: str | os.PathLike[str] | RemoteFile) -> FileLayout:
    """Read the headers of a file of frames.

    Parameters
    ----------
    path : str, path-like or RemoteFile
        A FITS file, plain, gzipped or tile-compressed; a URL where it is a text that looks so.

    Returns
    -------
    FileLayout

    Raises
    ------
    InputError
        The file cannot be read, is no FITS file, or is no frame.
    """
    file = found(path)
    name = file if isinstance(file, str) else file.name
    try:
        with _opened(file) as (plain, status):
            gzipped = plain.read(2) == _GZIP
            plain.seek(0)
            with (
                gzip.GzipFile(fileobj=plain) if gzipped else plain as stream,
                _open(stream) as hdus,
            ):
                _check_end(hdus, stream, name)
                layout = _layout(name, status, hdus, stream, gzipped)
    except InputError:
        raise
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise InputError(f"{name}: cannot be read as FITS ({reason})") from None
    except Exception as error:  # a damaged header can fail anywhere inside astropy
        raise InputError(
            f"{name}: cannot be read as FITS ({type(error).__name__}: {error})"
        ) from None
    _check_shapes(layout)
    if not layout.packed:
        _check_length(layout)
    return layout


def found(path: str | os.PathLike[str] | RemoteFile) -> str | RemoteFile:
    """A path as text, or what a server says of the file at a URL."""
    if isinstance(path, RemoteFile):
        return path
    name = os.fspath(path)
    if not is_url(name):
        return name
    return local_path(name) or look_up(name)


def _layout(
    path: str,
    status: os.stat_result | RemoteFile,
    hdus: fits.HDUList,
    stream: Any,
    gzipped: bool,
) -> FileLayout:
    remote = status if isinstance(status, RemoteFile) else None
    size, mtime_ns = (
        (status.size, status.mtime_ns)
        if isinstance(status, RemoteFile)
        else (status.st_size, status.st_mtime_ns)
    )
    image, err, dq = _pick_planes(hdus, path)
    chosen = {i for i in (image, err, dq) if i is not None}
    planes = {i: _plane(i, hdus[i], stream, path) for i in chosen}
    return FileLayout(
        path=path,
        size=size,
        mtime_ns=mtime_ns,
        primary=planes[0].cards if image == 0 else _header_cards(hdus[0], stream),
        image=planes[image],
        err=None if err is None else planes[err],
        dq=None if dq is None else planes[dq],
        others=tuple(i for i in range(1, len(hdus)) if i not in chosen),
        packed=gzipped or any(isinstance(hdus[i], fits.CompImageHDU) for i in chosen),
        blocks=tuple((info["hdrLoc"], info["datLoc"]) for info in (h.fileinfo() for h in hdus)),
        remote=remote,
    )


def read_plane(hdus: fits.HDUList, plane: PlaneLayout) -> npt.NDArray[Any]:
    """Stored numbers of a plane of an open file, unpacked but not scaled."""
    data = hdus[plane.hdu].data
    stored = np.dtype(plane.dtype)
    return np.asarray(data).astype(stored.newbyteorder("="), copy=False)


def _whole(layout: FileLayout) -> Any:
    """What astropy can read all of: it unpacks local files itself."""
    if layout.remote is None:
        return layout.path
    content = read_whole(layout.remote)
    return gzip.GzipFile(fileobj=content) if content.getvalue()[:2] == _GZIP else content


def open_whole(layout: FileLayout) -> fits.HDUList:
    """Open a file to read its arrays as a whole."""
    return _open(_whole(layout))


def read_others(layout: FileLayout) -> fits.HDUList:
    """Read the HDUs that are neither image, ERR nor DQ, in file order."""
    if not layout.others:
        return fits.HDUList([])
    with fits.open(_whole(layout), memmap=False) as hdus:
        return fits.HDUList([hdus[i].copy() for i in layout.others])
