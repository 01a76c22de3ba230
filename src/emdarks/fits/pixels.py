"""Where pixels come from: a source puts a run of pixels into buffers.

A `FrameSource` stands for one frame. Opened, it becomes a `Reader` that
answers one question: the pixels ``lo`` to ``hi`` (flat, row by row) of image,
err and dq. Arrays give views of themselves; plain FITS files give positioned
reads into a thread's own `Scratch`; packed files are unpacked whole when they
are opened. Nobody downstream knows which.

Image and err come as native float32 or float64 in the unit of the file, dq as
native unsigned integers, err and dq as None where the frame has none.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.dq import DQ, unsigned
from emdarks.errors import InputError, UnreadableFrameError
from emdarks.fits.layout import FileLayout, PlaneLayout, open_whole, read_plane
from emdarks.fits.remote import read_ranges
from emdarks.raw import FrameScan

Array = npt.NDArray[Any]
#: The machine has too little of something; the file may be as good as any.
_NOT_ITS_FAULT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
Run = tuple[Array, "Array | None", "Array | None"]
Plane = TypeVar("Plane")
Known = TypeVar("Known")


class Scratch:
    """Buffers of one thread, made once: room for a run of each plane.

    ``bytes_read`` counts what was read into them.
    """

    def __init__(self, pixels: int):
        self.bytes_read = 0
        self._buffers = [np.empty(pixels * 8, np.uint8) for _ in range(3)]

    def bytes(self, plane: int, count: int) -> Array:
        """First ``count`` bytes of a plane's buffer, which grows where it is too short."""
        if self._buffers[plane].size < count:
            self._buffers[plane] = np.empty(count, np.uint8)
        return self._buffers[plane][:count]


@dataclass(frozen=True, slots=True)
class RawFrame:
    """Bytes of an open frame, for reading by compiled code.

    Attributes
    ----------
    file : int
        Descriptor, or `emdarks._core.IN_MEMORY`.
    path : str
        For messages.
    offsets : tuple of int
        Where image, err and dq start in the file, or their addresses; 0 where there is none.
    dtypes : tuple of (str or None)
        Their stored types, with the order of bytes.
    flips : tuple of int
        Bits to flip after swapping.
    calibration : emdarks._core.RowCalibration or None
        What makes electrons of the stored numbers; None where they are used as they are.
    scan : FrameScan or None
        What was learnt from the stored numbers for that.
    """

    file: int
    path: str
    offsets: tuple[int, int, int]
    dtypes: tuple[str | None, str | None, str | None]
    flips: tuple[int, int, int]
    calibration: _core.RowCalibration | None = None
    scan: FrameScan | None = None


def _three(
    planes: Sequence[Plane | None], known: Callable[[Plane], Known], missing: Known
) -> tuple[Known, Known, Known]:
    """Something of image, err and dq each; what is missing where there is no such plane."""
    image, err, dq = (missing if plane is None else known(plane) for plane in planes)
    return image, err, dq


class Reader(Protocol):
    """An open frame; ``bytes_unpacked`` counts what was read to open it."""

    bytes_unpacked: int

    @property
    def raw(self) -> RawFrame:
        """Where the bytes of the frame lie; valid until it is closed."""
        ...

    def pixels(self, lo: int, hi: int, scratch: Scratch) -> Run:
        """Image, err and dq of the pixels lo to hi; valid until the next call with ``scratch``."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class FrameSource(Protocol):
    """A frame that can be opened.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    has_err : bool
        Whether the frame has errors.
    flags_dtype : numpy.dtype or None
        Unsigned type that holds its flags.
    held_bytes : int
        Memory that the frame takes while it is open.
    """

    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def has_err(self) -> bool: ...  # noqa: D102
    @property
    def flags_dtype(self) -> np.dtype[Any] | None: ...  # noqa: D102
    @property
    def held_bytes(self) -> int: ...  # noqa: D102

    @property
    def is_remote(self) -> bool:
        """Whether opening the frame is waiting for a server."""
        ...

    @property
    def identity(self) -> tuple[Any, ...] | None:
        """What tells the frame from others and from other versions of it; None in memory."""
        ...

    def open(self) -> Reader:
        """Open the frame for reading."""
        ...

    def for_sending(self) -> FrameSource:
        """The same frame, found from elsewhere, without headers."""
        ...


def _as_float(array: Array) -> Array:
    """Flat, contiguous, native float32 or float64; a view where the array is that already."""
    dtype = array.dtype.newbyteorder("=")
    if dtype not in (np.float32, np.float64):
        dtype = np.dtype(np.float64)
    return np.ascontiguousarray(array, dtype=dtype).reshape(-1)


def _as_stored(array: Array) -> Array:
    """Flat, contiguous; integers as they are, others as real numbers."""
    if array.dtype.kind not in "iu":
        return _as_float(array)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(-1)


def _as_flags(array: Array) -> Array:
    dtype = unsigned(array.dtype)
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return native.reshape(-1).view(dtype)


class ArrayReader:
    """Reader of arrays in memory."""

    def __init__(
        self,
        data: Array,
        err: Array | None,
        dq: Array | None,
        bytes_unpacked: int = 0,
        keeps: object = None,
    ):
        self.bytes_unpacked = bytes_unpacked
        self._keeps = keeps
        self._data = _as_stored(data)
        self._err = None if err is None else _as_float(err)
        self._dq = None if dq is None else _as_flags(dq)

    @property
    def raw(self) -> RawFrame:
        """See `Reader`."""
        planes = (self._data, self._err, self._dq)
        return RawFrame(
            _core.IN_MEMORY,
            "a frame in memory",
            _three(planes, lambda plane: plane.ctypes.data, 0),
            _three(planes, lambda plane: plane.dtype.str, None),
            (0, 0, 0),
        )

    def pixels(self, lo: int, hi: int, scratch: Scratch) -> Run:
        """See `Reader`."""
        err, dq = self._err, self._dq
        return (
            _as_float(self._data[lo:hi]),
            None if err is None else err[lo:hi],
            None if dq is None else dq[lo:hi],
        )

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True, slots=True)
class ArraySource:
    """A frame in memory: image, err (layer 0) and dq, each of shape (rows, columns)."""

    data: Array
    err: Array | None = None
    dq: Array | None = None
    held_bytes: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.data.shape
        return rows, cols

    @property
    def has_err(self) -> bool:
        """Whether the frame has errors."""
        return self.err is not None

    @property
    def flags_dtype(self) -> np.dtype[Any] | None:
        """Unsigned type that holds the flags."""
        return None if self.dq is None else unsigned(self.dq.dtype)

    @property
    def is_remote(self) -> bool:
        """It is here."""
        return False

    @property
    def identity(self) -> None:
        """A frame in memory has none."""
        return None

    def open(self) -> Reader:
        """See `FrameSource`."""
        return ArrayReader(self.data, self.err, self.dq)

    def for_sending(self) -> ArraySource:
        """The frame as it is: it is all here."""
        return self

    def err_as_data(self) -> ArraySource:
        """The same frame with its errors in the place of the image."""
        err = np.zeros(self.shape) if self.err is None else self.err
        return ArraySource(err, None, self.dq)


@dataclass(frozen=True, slots=True)
class _Stored:
    """How to read one plane of one frame from a plain file."""

    offset: int
    dtype: np.dtype[Any]
    bscale: float
    bzero: float
    blank: int | None
    is_flags: bool
    integers: int
    meaning: str

    @classmethod
    def of(cls, plane: PlaneLayout, frame: int, pixels: int, is_flags: bool) -> _Stored:
        dtype = np.dtype(plane.dtype)
        return cls(
            offset=plane.offset + frame * pixels * dtype.itemsize,
            dtype=dtype,
            bscale=plane.bscale,
            bzero=plane.bzero,
            blank=plane.blank,
            is_flags=is_flags,
            integers=plane.offset_of_integers,
            meaning=plane.meaning,
        )

    @property
    def flip(self) -> int:
        """Bits to flip so that FITS's offset integers become those that they stand for.

        Pixels of one byte are left to the scaling: flipped, they would be signed.
        """
        if self.integers == 0 or self.bscale != 1.0 or self.bzero != self.integers:
            return 0
        flags = self.is_flags
        return abs(self.integers) if flags or (self.integers > 0 and self.blank is None) else 0

    @property
    def is_plain(self) -> bool:
        """Whether stored numbers are the physical ones but for the order of bytes, and a flip."""
        if self.meaning:
            return False
        if self.is_flags or self.flip:
            return True
        whole = self.dtype.kind == "f" or self.blank is None
        return whole and self.bscale == 1.0 and self.bzero == 0.0

    @property
    def streamed(self) -> str:
        """Type of the stored numbers, unsigned where bits are flipped."""
        unsigned_ = self.is_flags or self.flip
        return self.dtype.str.replace("i", "u") if unsigned_ else self.dtype.str

    def numbers(self, raw: Array) -> Array:
        """Physical numbers from stored bytes, which are overwritten."""
        words = raw.view(unsigned(self.dtype))
        _core.to_native(words, self.flip)
        return self.physical(words)

    def physical(self, words: Array) -> Array:
        """Physical numbers from native words: unscaled ones as they are, others as float64.

        Masks become flags, variances become standard deviations.
        """
        if self.meaning == "mask":
            return np.where(words != 0, DQ.BAD_UNSPECIFIED, 0).astype(words.dtype)
        if self.meaning:
            return _deviations(replace(self, meaning="").physical(words), self.meaning)
        if self.is_flags or self.flip:
            return words
        native = words.view(self.dtype.newbyteorder("="))
        if self.is_plain:
            return native
        with np.errstate(all="ignore"):  # what overflows counts as masked, like all such
            values = native.astype(np.float64)
            values *= self.bscale
            values += self.bzero
        if self.blank is not None and native.dtype.kind != "f":
            values[native == self.blank] = np.nan
        return values


def _deviations(values: Array, meaning: str) -> Array:
    """Standard deviations from variances or their inverses.

    A negative variance, and an infinite one, are no error: the pixel counts as masked.
    """
    with np.errstate(all="ignore"):
        variances: Array = values.astype(np.float64)
        if meaning == "inverse variance":
            variances = 1.0 / variances
        return np.asarray(np.sqrt(variances))


class PlainReader:
    """Positioned reads from a plain FITS file."""

    def __init__(self, layout: FileLayout, planes: tuple[_Stored | None, ...]):
        self.bytes_unpacked = 0
        self._path = layout.path
        self._planes = planes
        self._file = _open_unchanged(layout)

    @property
    def raw(self) -> RawFrame:
        """See `Reader`."""
        return RawFrame(
            self._file,
            self._path,
            _three(self._planes, lambda plane: plane.offset, 0),
            _three(self._planes, lambda plane: plane.streamed, None),
            _three(self._planes, lambda plane: plane.flip, 0),
        )

    def pixels(self, lo: int, hi: int, scratch: Scratch) -> Run:
        """See `Reader`."""
        data, err, dq = (
            None
            if plane is None
            else self.read(plane, lo, scratch.bytes(i, (hi - lo) * plane.dtype.itemsize))
            for i, plane in enumerate(self._planes)
        )
        scratch.bytes_read += sum(
            (hi - lo) * plane.dtype.itemsize for plane in self._planes if plane is not None
        )
        if data is None:
            data = np.zeros(hi - lo)
        return _as_float(data), None if err is None else _as_float(err), dq

    def read(self, plane: _Stored, lo: int, raw: Array) -> Array:
        """Fill ``raw`` with the bytes from pixel ``lo`` on and make numbers of them."""
        view = memoryview(raw.data)
        start = plane.offset + lo * plane.dtype.itemsize
        done = 0
        while done < len(view):
            count = os.preadv(self._file, [view[done:]], start + done)
            if count == 0:
                raise UnreadableFrameError(self._path, "ended while its pixels were read")
            done += count
        return plane.numbers(raw)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class FetchedReader(PlainReader):
    """The planes of a frame in a plain FITS file at a URL, fetched as they are stored."""

    def __init__(self, layout: FileLayout, planes: tuple[_Stored | None, ...], pixels: int):
        assert layout.remote is not None
        self._path = layout.path
        self._planes = planes
        known = [plane for plane in planes if plane is not None]
        ends = [plane.offset + pixels * plane.dtype.itemsize for plane in known]
        ranges = [(plane.offset, end) for plane, end in zip(known, ends, strict=True)]
        with _about(layout):
            parts = read_ranges(layout.remote, ranges)
        self._bytes = {
            plane.offset: np.frombuffer(part, np.uint8)
            for plane, part in zip(known, parts, strict=True)
        }
        self.bytes_unpacked = sum(len(part) for part in parts)

    @property
    def raw(self) -> RawFrame:
        """See `Reader`."""
        addresses = {offset: part.ctypes.data for offset, part in self._bytes.items()}
        return RawFrame(
            _core.IN_MEMORY,
            self._path,
            _three(self._planes, lambda plane: addresses[plane.offset], 0),
            _three(self._planes, lambda plane: plane.streamed, None),
            _three(self._planes, lambda plane: plane.flip, 0),
        )

    def read(self, plane: _Stored, lo: int, raw: Array) -> Array:
        """See `PlainReader`."""
        start = lo * plane.dtype.itemsize
        raw[:] = self._bytes[plane.offset][start : start + raw.size]
        return plane.numbers(raw)

    def close(self) -> None:
        """Let go of the bytes."""
        self._bytes = {}


def _reader(layout: FileLayout, planes: tuple[_Stored | None, ...], pixels: int) -> PlainReader:
    """Reader of so many pixels of planes of a plain file, wherever it is."""
    if layout.remote is not None:
        return FetchedReader(layout, planes, pixels)
    return PlainReader(layout, planes)


@contextmanager
def _about(layout: FileLayout) -> Iterator[None]:
    """What is wrong with this remote file, and not with the way to it, is the frame's fault."""
    try:
        yield
    except InputError as error:
        name = f"{layout.path}: "
        if layout.remote is None or not str(error).startswith(name):
            raise
        raise UnreadableFrameError(layout.path, str(error).removeprefix(name)) from None


def _open_unchanged(layout: FileLayout) -> int:
    try:
        file = os.open(layout.path, os.O_RDONLY)
    except OSError as error:
        if error.errno in _NOT_ITS_FAULT:
            raise InputError(f"{layout.path}: cannot be opened ({error.strerror})") from None
        raise UnreadableFrameError(layout.path, f"cannot be read ({error.strerror})") from None
    status = os.fstat(file)
    if (status.st_size, status.st_mtime_ns) != (layout.size, layout.mtime_ns):
        os.close(file)
        raise UnreadableFrameError(layout.path, "changed after its header was read; run again")
    return file


@contextmanager
def _opened(layout: FileLayout) -> Iterator[Any]:
    """Open a packed file, refusing one that changed, with errors that name it."""
    if layout.remote is None:
        os.close(_open_unchanged(layout))
    try:
        # What overflows in damaged bytes shows in what is made of them.
        with _about(layout), np.errstate(all="ignore"), open_whole(layout) as hdus:
            yield hdus
    except InputError:
        raise
    except Exception as error:  # damaged bytes can fail anywhere inside the decompression
        reason = " ".join(str(error).split())
        raise UnreadableFrameError(
            layout.path, f"cannot be unpacked ({reason}); copy the file again or leave it out"
        ) from None


class _Unpacked:
    """Planes of a packed file as they are stored; frames of a cube share them."""

    def __init__(self, layout: FileLayout, planes: Sequence[PlaneLayout | None]):
        with _opened(layout) as hdus:
            self.planes = [None if plane is None else read_plane(hdus, plane) for plane in planes]
        if layout.n_frames > 1:
            # Readers of other frames, in other threads, have views of the same memory.
            for plane in self.planes:
                if plane is not None:
                    plane.flags.writeable = False


# While a frame of a cube is open, the others need not unpack the file again; nor need they
# while the frames of the cube are opened one after the other.
_unpacked: WeakValueDictionary[Any, _Unpacked] = WeakValueDictionary()
_latest: list[_Unpacked] = []
_unpacking = Lock()


def let_go_of_cubes() -> None:
    """Free the packed cube that was unpacked last, once no frame of it is open."""
    _latest.clear()


def _unpacked_file(layout: FileLayout, planes: Sequence[PlaneLayout | None]) -> _Unpacked:
    if layout.n_frames == 1:
        return _Unpacked(layout, planes)
    version = layout.remote.version if layout.remote else ""
    hdus = tuple(p and p.hdu for p in planes)
    key = layout.absolute, layout.size, layout.mtime_ns, version, hdus
    with _unpacking:
        known = _unpacked.get(key)
        if known is None:
            # Before the next one needs memory.
            _latest.clear()
            known = _unpacked[key] = _Unpacked(layout, planes)
            _latest.append(known)
    return known


def _physical(
    array: Array, layout: FileLayout, plane: PlaneLayout, frame: int | None, is_flags: bool
) -> Array:
    """Physical numbers of a plane of a packed file: of one frame (its layer 0), or all."""
    if frame is not None:
        axes = len(layout.image.shape)
        layer = array.reshape(-1, *array.shape[array.ndim - axes :])[0]
        array = layer[frame] if axes == 3 else layer
    stored = _Stored.of(plane, 0, 0, is_flags)
    words = np.ascontiguousarray(array).view(unsigned(array.dtype))
    if stored.flip:
        words = words ^ words.dtype.type(stored.flip)
    return stored.physical(words)


def read_array(layout: FileLayout, name: str, frame: int | None = None) -> Array:
    """Read a plane whole, for users: floats as float64, integers as they are.

    Parameters
    ----------
    layout : FileLayout
        The file.
    name : {"image", "err", "dq"}
        Which plane.
    frame : int, optional
        Which frame of a cube (layer 0 of its errors); all of them by default.

    Returns
    -------
    ndarray
        A new array.
    """
    plane: PlaneLayout = getattr(layout, name)
    if layout.packed:
        with _opened(layout) as hdus:
            array = _physical(read_plane(hdus, plane), layout, plane, frame, name == "dq")
    else:
        array = _read_plain(layout, plane, frame, name == "dq")
    with np.errstate(invalid="ignore"):  # a signalling NaN is one like all others
        return np.array(array, dtype=np.float64 if array.dtype.kind == "f" else array.dtype)


def _read_plain(layout: FileLayout, plane: PlaneLayout, frame: int | None, is_flags: bool) -> Array:
    shape = plane.shape if frame is None else layout.shape
    pixels = math.prod(shape)
    stored = _Stored.of(plane, frame or 0, pixels, is_flags)
    reader = _reader(layout, (stored,), pixels)
    try:
        raw = np.empty(pixels * stored.dtype.itemsize, np.uint8)
        return reader.read(stored, 0, raw).reshape(shape)
    finally:
        reader.close()


@dataclass(frozen=True, slots=True)
class FileSource:
    """A frame in a FITS file: plane ``frame`` of a cube, or the only one.

    ``data_plane`` chooses what is delivered as image: the image, or ERR
    (for the mean of errors, which then needs no image bytes), zeros without one.
    """

    layout: FileLayout
    frame: int = 0
    data_plane: str = "image"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.layout.shape

    @property
    def has_err(self) -> bool:
        """Whether the frame has errors."""
        return self.layout.err is not None and self.data_plane == "image"

    @property
    def flags_dtype(self) -> np.dtype[Any] | None:
        """Unsigned type that holds the flags."""
        return None if self.layout.dq is None else unsigned(self.layout.dq.dtype)

    @property
    def held_bytes(self) -> int:
        """Memory held while open: all planes of a packed, scaled or remote file, else none."""
        planes = [plane for plane in self._planes() if plane is not None]
        if self.layout.packed:
            # A cube is held once, whole, by all of its frames.
            return 2 * sum(plane.nbytes for plane in planes) // self.layout.n_frames
        pixels = math.prod(self.shape)
        fetched = pixels * sum(np.dtype(plane.dtype).itemsize for plane in planes)
        held = 0 if self._is_plain(self._stored()) else 16 * len(planes) * pixels
        return held + (fetched if self.layout.remote else 0)

    def err_as_data(self) -> FrameSource:
        """The same frame with its errors in the place of the image."""
        return replace(self, data_plane="err")

    @property
    def is_remote(self) -> bool:
        """Whether the file is at a URL."""
        return self.layout.remote is not None

    @property
    def identity(self) -> tuple[Any, ...]:
        """The file as it was found, and which of its frames and planes this is."""
        layout = self.layout
        other = layout.remote.version if layout.remote else ""
        version = layout.size, layout.mtime_ns, other
        # Where a file holds several images, which is which depends on the camera.
        planes = tuple(plane and plane.hdu for plane in (layout.image, layout.err, layout.dq))
        return layout.absolute, *version, planes, self.frame, self.data_plane

    def for_sending(self) -> FileSource:
        """The same frame by its absolute path; a block's headers would be megabytes."""
        return replace(self, layout=self.layout.without_cards())

    def _planes(self) -> tuple[PlaneLayout | None, ...]:
        layout = self.layout
        if self.data_plane == "err":
            return layout.err, None, layout.dq
        return layout.image, layout.err, layout.dq

    def _stored(self) -> tuple[_Stored | None, ...]:
        pixels = math.prod(self.shape)
        return tuple(
            None if plane is None else _Stored.of(plane, self.frame, pixels, i == 2)
            for i, plane in enumerate(self._planes())
        )

    @staticmethod
    def _is_plain(stored: tuple[_Stored | None, ...]) -> bool:
        return stored[0] is not None and all(plane is None or plane.is_plain for plane in stored)

    def open(self) -> Reader:
        """See `FrameSource`."""
        if self.layout.packed:
            return self._unpack()
        stored = self._stored()
        reader = _reader(self.layout, stored, math.prod(self.shape))
        return reader if self._is_plain(stored) else self._hold(reader)

    def _hold(self, reader: PlainReader) -> Reader:
        """Numbers that need scaling are made of the whole frame at once."""
        pixels = math.prod(self.shape)
        scratch = Scratch(pixels)
        try:
            planes = reader.pixels(0, pixels, scratch)
        finally:
            reader.close()
        return ArrayReader(*planes, bytes_unpacked=scratch.bytes_read)

    def _unpack(self) -> Reader:
        planes = self._planes()
        whole = _unpacked_file(self.layout, planes)
        data, err, dq = (
            None
            if plane is None or array is None
            else _physical(array, self.layout, plane, self.frame, i == 2)
            for i, (plane, array) in enumerate(zip(planes, whole.planes, strict=True))
        )
        data = np.zeros(self.shape) if data is None else data
        # Of a cube, every frame counts for its part, and keeps the whole from being let go of.
        part = self.layout.size // self.layout.n_frames
        return ArrayReader(data, err, dq, bytes_unpacked=part, keeps=whole)
