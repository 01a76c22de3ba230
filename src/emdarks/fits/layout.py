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
import re
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.errors import InputError
from emdarks.fits import astropy_fits as fits
from emdarks.fits.hdu_roles import Found, Roles, UnreadImage, frames_and_planes, roles_of
from emdarks.fits.header import Cards
from emdarks.fits.not_fits import refuse_other_formats
from emdarks.fits.remote import (
    RangeFile,
    RemoteFile,
    is_url,
    local_path,
    look_up,
    read_whole,
)
from emdarks.fits.tables import copied, unpacked

_DTYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_GZIP = b"\x1f\x8b"

#: Headers of a file that are longer together are no headers.
_MOST_HEADER = 32 << 20
#: Compressed files that would expand to more are refused: nobody holds them in memory.
_MOST_EXPANDED = 4 << 30
#: Bytes that may follow the last HDU of a compressed file: padding, perhaps rubbish.
_MOST_TRAILING = 1 << 20
_AGAIN = "copy the file again or leave it out"


class _HeaderBytes:
    """Counts what astropy reads to find the headers; pixels are skipped, not read."""

    def __init__(self, path: str):
        self._path = path
        self._left = _MOST_HEADER

    def count(self, block: bytes) -> bytes:
        self._left -= len(block)
        if self._left < 0:
            raise InputError(
                f"{self._path}: has a header of more than {_MOST_HEADER >> 20} MB, which no frame "
                f"has; {_AGAIN}"
            )
        return block


class _Plain(io.BufferedReader):
    """A file of which no more is read than headers can take."""

    def __init__(self, raw: io.RawIOBase, path: str, piece: int):
        super().__init__(raw, buffer_size=piece)
        self._headers = _HeaderBytes(path)

    def read(self, size: int | None = -1, /) -> bytes:
        return self._headers.count(super().read(size))


class _Gzipped(gzip.GzipFile):
    """The same for a compressed file."""

    def __init__(self, packed: Any, path: str):
        super().__init__(fileobj=packed)
        self._headers = _HeaderBytes(path)

    def read(self, size: int | None = -1) -> bytes:
        return self._headers.count(super().read(size))

    def skip_to_end(self) -> int:
        """Read what is left, up to the checksum, which raises where it does not hold."""
        rest = 0
        while rest <= _MOST_TRAILING and (block := super().read(1 << 18)):
            rest += len(block)
        return rest


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
    meaning : {"", "mask", "variance", "inverse variance"}
        What the numbers are, where they are no flags, or no standard deviations: not 0 for a
        masked pixel, or errors to be converted.
    """

    hdu: int
    offset: int
    dtype: str
    shape: tuple[int, ...]
    bscale: float
    bzero: float
    blank: int | None
    cards: Cards
    meaning: str = ""

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
    unread : tuple of UnreadImage
        Further images, which are not read.
    extension : str
        Which image of the file the frame is, where each is a frame (`scan_extensions`): its
        EXTNAME or the number of its HDU. Empty where the file has one frame, or one cube.
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
    unread: tuple[UnreadImage, ...] = ()
    extension: str = ""

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
    from astropy.utils.exceptions import AstropyUserWarning

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


#: Astropy's decompression writes beyond its memory where the bytes of a tile are damaged.
_UNSAFE = ("HCOMPRESS_1",)


def _check_tiles(index: int, hdu: Any, stream: Any, path: str) -> None:
    """Refuse a compressed image whose tiles are not those of its shape.

    The decompression trusts them: with others it writes beyond its memory.
    """
    info = hdu.fileinfo()
    stream.seek(info["hdrLoc"])
    cards = Cards.from_bytes(stream.read(info["datLoc"] - info["hdrLoc"]))
    if cards.get("ZCMPTYPE") in _UNSAFE:
        raise InputError(
            f"{path}: HDU {index} is compressed by {cards['ZCMPTYPE']}, which is not read: where a "
            "file is damaged it ends the process; unpack the file (funpack), or leave it out"
        )
    sizes = [int(cards[f"ZNAXIS{i}"]) for i in range(1, int(cards["ZNAXIS"]) + 1)]
    # By default, a tile is a row.
    usual = [sizes[0], *[1] * (len(sizes) - 1)]
    tiles = [int(cards.get(f"ZTILE{i}", one)) for i, one in enumerate(usual, 1)]
    rows = int(cards["NAXIS2"])
    if min(tiles) < 1 or math.prod(-(-n // t) for n, t in zip(sizes, tiles, strict=True)) != rows:
        raise InputError(
            f"{path}: HDU {index} has {rows} compressed tiles, which do not make an image of its "
            f"shape; {_AGAIN}"
        )


def _check_scaling(cards: Cards, index: int, path: str) -> None:
    """Refuse a header that says two things of what the stored numbers are."""
    for keyword in ("BITPIX", "BSCALE", "BZERO", "BLANK"):
        values = cards.values_of(keyword)
        if len(set(map(str, values))) > 1:
            raise InputError(
                f"{path}: {keyword} is {values[0]!r} and {values[1]!r} in the header of HDU "
                f"{index}, which has it twice; remove one of them"
            )


def _plane(index: int, hdu: Any, stream: Any, path: str) -> PlaneLayout:
    if isinstance(hdu, fits.CompImageHDU):
        _check_tiles(index, hdu, stream, path)
    cards = _header_cards(hdu, stream)
    _check_scaling(cards, index, path)
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
        raise InputError(
            f"{path}: the header of HDU {index} is damaged ({error}); {_AGAIN}"
        ) from None
    if not (math.isfinite(plane.bzero) and math.isfinite(plane.bscale) and plane.bscale):
        raise InputError(
            f"{path}: BSCALE {plane.bscale:g} and BZERO {plane.bzero:g} of HDU {index} make no "
            "numbers of its pixels; correct them or leave the file out"
        )
    return plane


def _found(hdu: Any) -> Found:
    """What tells the role of an HDU."""
    header = hdu.header
    shape = tuple(getattr(hdu, "shape", ())) if hdu.is_image else ()
    uncertainty = str(header.get("UTYPE", "")).strip().upper()
    return Found(hdu.name.upper(), int(hdu.ver), shape, uncertainty)


def _check_anything(hdus: fits.HDUList, path: str) -> None:
    if len(hdus) == 1 and not hdus[0].fileinfo()["datSpan"]:
        raise InputError(f"{path}: has no image, nor anything else; {_AGAIN}")


def _check_shapes(layout: FileLayout) -> None:
    image = layout.image.shape
    if len(image) not in (2, 3) or min(image) < 1:
        raise InputError(
            f"{layout.path}: the image has shape {image}; a frame has rows and columns, "
            "a cube one more axis in front"
        )
    # ERR has its layers before the axes of the image, or none.
    if layout.err is not None and layout.err.shape[-len(image) :] != image:
        raise InputError(
            f"{layout.path}: {_name(layout.err, 'ERR')} has shape {layout.err.shape}, the image "
            f"{image}; mend the file or leave it out"
        )
    if layout.dq is not None:
        name = _name(layout.dq, "DQ")
        if layout.dq.shape != image:
            raise InputError(
                f"{layout.path}: {name} has shape {layout.dq.shape}, the image {image}; mend the "
                "file or leave it out"
            )
        if np.dtype(layout.dq.dtype).kind == "f":
            raise InputError(
                f"{layout.path}: {name} holds floating-point numbers, not bit flags; store "
                "integers or leave the file out"
            )
        if layout.dq.bscale != 1.0 or layout.dq.bzero not in (0.0, layout.dq.offset_of_integers):
            raise InputError(
                f"{layout.path}: {name} is scaled (BSCALE, BZERO), so it holds no bit flags; store "
                "integers or leave the file out"
            )


def _name(plane: PlaneLayout, usual: str) -> str:
    return str(plane.cards.get("EXTNAME", usual)).strip().upper()


def _check_length(layout: FileLayout) -> None:
    if layout.packed:
        _check_expanded(layout)
        return
    for plane in (layout.image, layout.err, layout.dq):
        if plane is not None and plane.offset + plane.nbytes > layout.size:
            missing = plane.offset + plane.nbytes - layout.size
            raise InputError(
                f"{layout.path}: cut short, {missing} bytes of pixels are missing; {_AGAIN}"
            )


def _check_expanded(layout: FileLayout) -> None:
    planes = (layout.image, layout.err, layout.dq)
    expanded = sum(plane.nbytes for plane in planes if plane is not None)
    if expanded > _MOST_EXPANDED:
        raise InputError(
            f"{layout.path}: would expand to {expanded / 1e9:.1f} GB in memory, more than the "
            f"{_MOST_EXPANDED >> 30} GB allowed; uncompress the file, or leave it out"
        )


def _check_end(hdus: fits.HDUList, stream: Any, path: str) -> None:
    """Refuse a file that ends within an HDU: its flags must not vanish unnoticed.

    astropy leaves out an HDU whose header is cut off or damaged, and what lies
    behind the cut in a gzipped file.
    """
    last = hdus[-1].fileinfo()
    stream.seek(last["datLoc"] + last["datSpan"])
    rest = stream.read(8)
    if isinstance(stream, _Gzipped) and stream.skip_to_end() > _MOST_TRAILING:
        raise InputError(
            f"{path}: would expand to more than a megabyte beyond its last HDU; {_AGAIN}"
        )
    if rest and b"XTENSION".startswith(rest):
        raise InputError(f"{path}: the header of HDU {len(hdus)} is cut short or damaged; {_AGAIN}")


@contextmanager
def _opened(
    file: str | RemoteFile,
) -> Iterator[tuple[_Plain | _Gzipped, RemoteFile | os.stat_result]]:
    """A file to be read in small pieces, unpacked where it is gzipped, and what is known of it."""
    status: RemoteFile | os.stat_result
    raw: io.RawIOBase
    if isinstance(file, RemoteFile):
        name, status = file.name, file
        raw, piece = RangeFile(file), 1 << 16  # every piece is a request: large ones
    else:
        name, status = file, Path(file).stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(
                f"{name}: is no regular file but a pipe, a device or a folder; leave it out"
            )
        # Headers come in a few small reads; buffering would fetch pixels with them.
        raw, piece = Path(file).open("rb", buffering=0), 2880  # noqa: SIM115  closed below
    with _Plain(raw, name, piece) as plain:
        if plain.peek(2)[:2] != _GZIP:
            yield plain, status
            return
        raw.seek(0)
        packed = read_whole(file) if isinstance(file, RemoteFile) else io.BufferedReader(raw)
        with _Gzipped(packed, name) as unpacked:
            yield unpacked, status


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
    (layout,) = _scan(path, _only_frame)
    return layout


def scan_extensions(path: str | os.PathLike[str] | RemoteFile) -> tuple[FileLayout, ...]:
    """Read the headers of a file each of whose images is a frame (or a cube).

    Parameters
    ----------
    path : str, path-like or RemoteFile
        As for `scan_file`.

    Returns
    -------
    tuple of FileLayout
        One for each image, in the order of the file.

    Raises
    ------
    InputError
        As `scan_file`; or errors or flags belong to no single frame.
    """
    return _scan(path, frames_and_planes)


def _only_frame(hdus: Sequence[Found], path: str) -> Iterator[tuple[str, Roles]]:
    yield "", roles_of(hdus, path)


def _scan(
    path: str | os.PathLike[str] | RemoteFile,
    choose: Callable[[Sequence[Found], str], Iterator[tuple[str, Roles]]],
) -> tuple[FileLayout, ...]:
    """Layouts of the frames that ``choose`` finds in a file."""
    file = found(path)
    name = file if isinstance(file, str) else file.name
    try:
        with _opened(file) as (stream, status):
            refuse_other_formats(stream, name)
            with _open(stream) as hdus:
                _check_end(hdus, stream, name)
                _check_anything(hdus, name)
                layouts = _layouts(name, status, hdus, stream, choose)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name}: cannot be read as FITS ({_reason(error)}); {_AGAIN}") from None
    except Exception as error:  # a damaged header can fail anywhere inside astropy
        raise InputError(
            f"{name}: cannot be read as FITS ({type(error).__name__}: {_reason(error)}); {_AGAIN}"
        ) from None
    for layout in layouts:
        _check_shapes(layout)
        _check_length(layout)
    return layouts


class SmallFile(NamedTuple):
    """A file of a few numbers that is no frame, such as a k-gain; all of it."""

    name: str
    cards: Cards
    image: npt.NDArray[Any]
    err: npt.NDArray[Any] | None


def read_small(path: str | os.PathLike[str]) -> SmallFile:
    """Read a calibration file of a few numbers: its first image, and HDU ERR where there is one.

    Raises
    ------
    InputError
        The file cannot be read, or has no image.
    """
    file = found(path)
    name = file if isinstance(file, str) else file.name
    try:
        with _opened(file) as (stream, _):
            refuse_other_formats(stream, name)
            with _open(stream) as hdus:
                images = [hdu for hdu in hdus if hdu.is_image and hdu.size]
                if not images:
                    raise InputError(f"{name}: has no image, nor a table of numbers")
                first = images[0]
                err = next((np.array(hdu.data) for hdu in images if hdu.name == "ERR"), None)
                cards = Cards.from_header(first.header)
                return SmallFile(name, cards, np.array(first.data), err)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({_reason(error)})") from None
    except Exception as error:  # a damaged header can fail anywhere inside astropy
        raise InputError(
            f"{name}: cannot be read as FITS ({type(error).__name__}: {_reason(error)}); {_AGAIN}"
        ) from None


def found(path: str | os.PathLike[str] | RemoteFile) -> str | RemoteFile:
    """A path as text, or what a server says of the file at a URL."""
    if isinstance(path, RemoteFile):
        return path
    name = os.fspath(path)
    if not is_url(name):
        return name
    return local_path(name) or look_up(name)


def _reason(error: Exception) -> str:
    """What astropy says, in one line, without its advice to programmers."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or "no reason given"
    return re.split(r"\.? If this is really a FITS file", text)[0]


def _layouts(
    path: str,
    status: os.stat_result | RemoteFile,
    hdus: fits.HDUList,
    stream: Any,
    choose: Callable[[Sequence[Found], str], Iterator[tuple[str, Roles]]],
) -> tuple[FileLayout, ...]:
    chosen = list(choose([_found(hdu) for hdu in hdus], path))
    # What belongs to one frame is none of the further HDUs of another.
    read = {i for _, roles in chosen for i in (roles.image, roles.err, roles.dq) if i is not None}
    others = tuple(i for i in range(1, len(hdus)) if i not in read)
    return tuple(
        replace(_layout(path, status, hdus, stream, roles), extension=label, others=others)
        for label, roles in chosen
    )


def _layout(
    path: str,
    status: os.stat_result | RemoteFile,
    hdus: fits.HDUList,
    stream: Any,
    roles: Roles,
) -> FileLayout:
    remote = status if isinstance(status, RemoteFile) else None
    size, mtime_ns = (
        (status.size, status.mtime_ns)
        if isinstance(status, RemoteFile)
        else (status.st_size, status.st_mtime_ns)
    )
    image, err, dq = roles.image, roles.err, roles.dq
    chosen = {i for i in (image, err, dq) if i is not None}
    planes = {
        i: replace(_plane(i, hdus[i], stream, path), meaning=roles.meanings.get(i, ""))
        for i in chosen
    }
    packed = isinstance(stream, _Gzipped)
    return FileLayout(
        path=path,
        size=size,
        mtime_ns=mtime_ns,
        primary=planes[0].cards if image == 0 else _header_cards(hdus[0], stream),
        image=planes[image],
        err=None if err is None else planes[err],
        dq=None if dq is None else planes[dq],
        others=(),
        packed=packed or any(isinstance(hdus[i], fits.CompImageHDU) for i in chosen),
        blocks=tuple((info["hdrLoc"], info["datLoc"]) for info in (h.fileinfo() for h in hdus)),
        remote=remote,
        unread=roles.unread,
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
    """Read the HDUs that are neither image, ERR nor DQ, in file order.

    Raises
    ------
    InputError
        One of them is damaged.
    """
    if not layout.others:
        return fits.HDUList([])
    number = layout.others[0]
    try:
        with fits.open(_whole(layout), memmap=False) as hdus, np.errstate(all="ignore"):
            found = []
            for number in layout.others:
                found.append(unpacked(copied(hdus[number])))
            return fits.HDUList(found)
    except Exception as error:  # damaged tables can fail anywhere inside astropy
        raise InputError(
            f"{layout.path}: HDU {number} cannot be read ({type(error).__name__}: "
            f"{_reason(error)}); {_AGAIN}"
        ) from None
