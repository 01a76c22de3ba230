"""One frame or product plane: pixels, errors, flags and their headers."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from emdarks.dq import unsigned
from emdarks.errors import EmdarksError, InputError
from emdarks.fits import (
    Cards,
    ascii_text,
    copied,
    from_bytes,
    image_hdu,
    is_url,
    join,
    shown,
    to_bytes,
    write_whole,
)
from emdarks.fits import astropy_fits as fits
from emdarks.fits.layout import FileLayout, read_others, scan_file
from emdarks.fits.pixels import FileSource, read_array
from emdarks.frames.array_checks import flags_plane, number_plane
from emdarks.frames.html import Picture, Rows, size_text, table_with_pictures
from emdarks.frames.unread_images import UnreadImages

Array = npt.NDArray[Any]

#: Types of the planes in files.
IMAGE_DTYPE = np.float32
DQ_DTYPE = np.uint16


def _header_property(name: str, doc: str) -> property:
    def get(self: Image) -> fits.Header:
        return self._header(name)

    def put(self: Image, header: fits.Header) -> None:
        self._headers[name] = header

    return property(get, put, doc=doc)


class Image:
    """Pixels with errors, flags and headers.

    Parameters
    ----------
    data_or_filepath : str, path-like or array_like
        A FITS file, which is read whole (its layout where the headers were read already),
        or the pixels, of shape (rows, columns) or with further axes in front.
    pri_hdr, ext_hdr : Header
        Primary header and image header. Needed with pixels.
    err : array_like, optional
        1-sigma errors, of the shape of the data, with a leading layer axis or
        without; layer 0 is the combined error. Zeros by default.
    dq : array_like of int, optional
        Bit flags, 0 is good (see `emdarks.dq.DQ`). Zeros by default.
    err_hdr, dq_hdr : Header, optional
        Headers of the two.
    input_hdulist : list of HDUs, optional
        Further HDUs that travel with the image.

    Attributes
    ----------
    data, err, dq : ndarray
        As above; ``err`` always has the layer axis. Floating-point planes from a
        file are float64. Frames of a `Dataset` of files read them each time they
        are asked for, as read-only arrays; assign an array to replace them.
    hdu_list : HDUList
        Further HDUs.
    filename, filedir : str
        Name and folder of the file.

    Raises
    ------
    InputError
        A header is missing, shapes do not fit, or the file cannot be read.
    """

    def __init__(
        self,
        data_or_filepath: str | os.PathLike[str] | FileLayout | npt.ArrayLike,
        pri_hdr: fits.Header | None = None,
        ext_hdr: fits.Header | None = None,
        err: npt.ArrayLike | None = None,
        dq: npt.ArrayLike | None = None,
        err_hdr: fits.Header | None = None,
        dq_hdr: fits.Header | None = None,
        input_hdulist: Any = None,
    ):
        self._begin()
        if isinstance(data_or_filepath, (str, os.PathLike)):
            data_or_filepath = scan_file(data_or_filepath)
        if isinstance(data_or_filepath, FileLayout):
            layout = data_or_filepath
            self._attach(layout, None)
            self._load()
            if any(image.like_frame for image in layout.unread):  # others are in `hdu_list`
                unread = UnreadImages()
                unread.note(layout)
                unread.tell()
        else:
            if pri_hdr is None or ext_hdr is None:
                raise InputError("an image made of pixels needs pri_hdr and ext_hdr")
            self.data = data_or_filepath
            if self.data.ndim < 1:
                raise InputError("an image needs an array of pixels or the path of a file")
            self._headers.update(pri=pri_hdr, ext=ext_hdr)
        self._take(err, dq, err_hdr, dq_hdr, input_hdulist)

    def _begin(self) -> None:
        self.filename = ""
        self.filedir = "."
        self._layout: FileLayout | None = None
        self._frame: int | None = None
        self._data: Array | None = None
        self._err: Array | None = None
        self._dq: Array | None = None
        self._headers: dict[str, fits.Header] = {}
        self._hdu_list: fits.HDUList | None = None
        self._lent: dict[str, weakref.ref[Array]] = {}

    def _take(
        self,
        err: npt.ArrayLike | None,
        dq: npt.ArrayLike | None,
        err_hdr: fits.Header | None,
        dq_hdr: fits.Header | None,
        hdus: Any,
    ) -> None:
        if err is not None or self._err is None:
            self.err = np.zeros((1, *self.data.shape)) if err is None else err
        if dq is not None or self._dq is None:
            self.dq = np.zeros(self.data.shape, DQ_DTYPE) if dq is None else dq
        for name, header in (("err", err_hdr), ("dq", dq_hdr)):
            if header is not None or (name not in self._headers and self._layout is None):
                self._headers[name] = fits.Header() if header is None else header
        if hdus is not None:
            self._hdu_list = fits.HDUList(list(hdus))

    @classmethod
    def lazy(cls, layout: FileLayout, frame: int | None = None) -> Self:
        """A frame whose headers and pixels stay in the file until they are asked for.

        Parameters
        ----------
        layout : FileLayout
            The file.
        frame : int, optional
            Which plane, where the file is a cube.
        """
        image = cls.__new__(cls)
        image._begin()
        image._attach(layout, frame)
        return image

    def _attach(self, layout: FileLayout, frame: int | None) -> None:
        self._layout, self._frame = layout, frame
        self.filedir, self.filename = os.path.split(layout.path)
        self.filedir = self.filedir or "."

    def _load(self) -> None:
        """Read all planes and hold them."""
        assert self._layout is not None
        for name in ("data", "err", "dq"):
            setattr(self, f"_{name}", self._read(name))
        self._hdu_list = read_others(self._layout)

    # Pixels

    @property
    def source(self) -> FileSource | None:
        """The file that the pixels still lie in; None where any plane is in memory."""
        held = (self._data, self._err, self._dq)
        if self._layout is None or any(plane is not None for plane in held):
            return None
        if len(self._layout.image.shape) == 3 and self._frame is None:
            return None
        return FileSource(self._layout, self._frame or 0)

    def _plane(self, name: str) -> Array:
        held: Array | None = getattr(self, f"_{name}")
        if held is not None:
            return held
        lent = self._lent[name]() if name in self._lent else None
        if lent is None:
            lent = self._read(name)
            lent.flags.writeable = False
            # Lent, not kept: looping over a campaign must not fill the memory.
            self._lent[name] = weakref.ref(lent)
        return lent

    def _read(self, name: str) -> Array:
        layout = self._layout
        assert layout is not None
        plane = "image" if name == "data" else name
        if getattr(layout, plane) is not None:
            array = read_array(layout, plane, self._frame)
            return self._layered(array) if name == "err" else array
        if name == "err":
            return np.zeros((1, *self._shape()))
        return np.zeros(self._shape(), DQ_DTYPE)

    @property
    def data(self) -> Array:
        """Pixels."""
        return self._plane("data")

    @data.setter
    def data(self, values: npt.ArrayLike) -> None:
        self._data = number_plane(values, f"{self.filename or 'image'}: data")

    @property
    def err(self) -> Array:
        """Errors, with a leading layer axis."""
        return self._plane("err")

    @err.setter
    def err(self, values: npt.ArrayLike) -> None:
        self._err = self._layered(number_plane(values, f"{self.filename or 'image'}: err"))

    def _layered(self, err: Array) -> Array:
        shape = self._shape()
        layered = err[np.newaxis] if err.ndim == len(shape) else err
        if layered.shape[1:] != shape or not len(layered):
            raise InputError(
                f"{self.filename or 'image'}: err has shape {err.shape}, the data {shape}"
            )
        return layered

    @property
    def dq(self) -> Array:
        """Flags."""
        return self._plane("dq")

    @dq.setter
    def dq(self, values: npt.ArrayLike) -> None:
        dq = flags_plane(values, f"{self.filename or 'image'}: dq")
        if dq.shape != self._shape():
            raise InputError(
                f"{self.filename or 'image'}: dq has shape {dq.shape}, the data {self._shape()}"
            )
        self._dq = dq

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the pixels, known without reading them."""
        return self._shape()

    def _shape(self) -> tuple[int, ...]:
        if self._data is not None:
            return self._data.shape
        assert self._layout is not None
        shape = self._layout.image.shape
        return shape if self._frame is None else shape[1:]

    # Headers

    def cards(self, name: str) -> Cards:
        """One of the headers (pri, ext, err, dq) in its small form."""
        if name in self._headers:
            return Cards.from_header(self._headers[name])
        layout = self._layout
        assert layout is not None
        if name == "pri":
            return layout.primary
        plane = {"ext": layout.image, "err": layout.err, "dq": layout.dq}[name]
        return Cards(()) if plane is None else plane.cards

    def _header(self, name: str) -> fits.Header:
        if name not in self._headers:
            self._headers[name] = self.cards(name).to_header()
        return self._headers[name]

    pri_hdr = _header_property("pri", "Primary header.")
    ext_hdr = _header_property("ext", "Header of the image.")
    err_hdr = _header_property("err", "Header of the errors.")
    dq_hdr = _header_property("dq", "Header of the flags.")

    # Further HDUs and the file

    @property
    def hdu_list(self) -> fits.HDUList:
        """HDUs other than image, ERR and DQ."""
        if self._hdu_list is None:
            self._hdu_list = fits.HDUList([]) if self._layout is None else read_others(self._layout)
        return self._hdu_list

    @property
    def hdu_names(self) -> list[str]:
        """Names of the further HDUs."""
        return [hdu.name for hdu in self.hdu_list if not _is_filler(hdu)]

    @property
    def filepath(self) -> str:
        """Folder and name of the file."""
        return os.path.join(self.filedir, self.filename)  # noqa: PTH118  a plain string, as documented

    @property
    def layout(self) -> FileLayout | None:
        """The file that the frame came from."""
        return self._layout

    @property
    def frame(self) -> int | None:
        """Plane of the cube that the frame is, or None."""
        return self._frame

    @property
    def part(self) -> str:
        """Which frame of its file it is, like ``[3]`` or ``[FRAME3]``; empty for the only one."""
        extension = self._layout.extension if self._layout else ""
        parts = (extension, "" if self._frame is None else str(self._frame))
        return "".join(f"[{part}]" for part in parts if part)

    def save(
        self, filedir: str | os.PathLike[str] | None = None, filename: str | None = None
    ) -> None:
        """Write the image to a FITS file, whole or not at all.

        Image, err and further images are written as float32, flags as uint16; the
        object keeps its own arrays. An earlier file of that name is replaced; a
        cube is not replaced by one of its frames.

        Parameters
        ----------
        filedir, filename : str, optional
            Where to; afterwards the folder and name of this object.

        Raises
        ------
        InputError
            There is no name, or the file cannot be written.
        """
        directory = self.filedir if filedir is None else os.fspath(filedir)
        name = self.filename if filename is None else filename
        if not name:
            raise InputError("the image has no file name yet; give one to save()")
        target = join(directory, name)
        layout = self._layout
        in_place = layout is not None and _same_file(layout, target)
        if layout and in_place and self._frame is not None and layout.n_frames > 1:
            raise InputError(f"{target}: is the cube that holds this frame; give another name")
        if layout and in_place and layout.extension:
            raise InputError(
                f"{target}: is the file that holds this frame and others; give another name"
            )
        self.pri_hdr["FILENAME"] = ascii_text(name)
        write_whole(self.hdus(), target)
        self.filedir, self.filename = directory, name
        if in_place:
            # What was not in memory is now where the new file has it.
            self._layout, self._frame, self._lent = scan_file(target), None, {}

    def hdus(self) -> list[Any]:
        """The image as HDUs, in the types and the order of the file."""
        err_hdr = self.err_hdr.copy()
        # Errors were read as standard deviations, whatever the file had.
        err_hdr.remove("UTYPE", ignore_missing=True)
        return [
            fits.PrimaryHDU(header=self.pri_hdr.copy()),
            image_hdu(_stored(self.data), self.ext_hdr),
            image_hdu(_stored(self.err), err_hdr, "ERR"),
            image_hdu(_stored_flags(self.dq), self.dq_hdr, "DQ"),
            *(_stored_hdu(hdu) for hdu in self.hdu_list if not _is_filler(hdu)),
        ]

    # What users do with it

    def copy(self, copy_data: bool = True) -> Self:
        """An independent copy; without ``copy_data`` it shares the arrays, not the headers."""
        # copy.copy would pickle the further HDUs, which are copied below.
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._headers = {name: header.copy() for name, header in self._headers.items()}
        twin._hdu_list = (
            None
            if self._hdu_list is None
            else fits.HDUList([copied(hdu) for hdu in self._hdu_list])
        )
        twin._lent = {}
        if copy_data:
            for name in ("_data", "_err", "_dq"):
                plane = getattr(self, name)
                setattr(twin, name, None if plane is None else plane.copy())
        return twin

    def get_masked_data(self) -> np.ma.MaskedArray[Any, Any]:
        """Pixels as a masked array, flagged ones masked."""
        return np.ma.masked_array(self.data, self.dq > 0)

    def add_error_term(self, input_error: npt.ArrayLike, err_name: str) -> None:
        """Add an independent error in quadrature to layer 0.

        Parameters
        ----------
        input_error : array_like, shape of the data
            1-sigma errors.
        err_name : str
            Said in the history of the error header.
        """
        term = np.asarray(input_error)
        if term.shape != self._shape():
            raise InputError(f"the error term has shape {term.shape}, the data {self._shape()}")
        err = np.array(self.err, dtype=np.float64)
        np.hypot(err[0], term, out=err[0])
        self.err = err
        self.err_hdr["LAYER_1"] = "combined_error"
        self.err_hdr["HISTORY"] = f"Added error term: {err_name}"

    def __getstate__(self) -> dict[str, Any]:
        hdus = None if self._hdu_list is None else to_bytes(self._hdu_list)
        return {**self.__dict__, "_lent": {}, "_hdu_list": hdus}

    def __setstate__(self, state: dict[str, Any]) -> None:
        hdus = state.pop("_hdu_list")
        self.__dict__.update(state)
        self._hdu_list = None if hdus is None else from_bytes(hdus)

    def to_ccddata(self, unit: Any = None) -> Any:
        """Copy the image into a `astropy.nddata.CCDData`.

        Parameters
        ----------
        unit : astropy.units.Unit or str, optional
            Unit of the pixels; by default adu or electron, as BUNIT says.

        Returns
        -------
        astropy.nddata.CCDData
            ``data``; ``uncertainty`` of layer 0 of the errors; ``flags``; ``mask``, True
            where a flag is set; ``meta``, the image header, BUNIT included. The primary
            header and further HDUs have no place in it.

        Raises
        ------
        InputError
            BUNIT is no unit that is known.
        """
        from emdarks.frames.ccddata import ccddata, unit_of

        known = unit_of(str(self.ext_hdr.get("BUNIT", ""))) if unit is None else unit
        return ccddata(self.data, self.err[0], self.dq, self.ext_hdr, known)

    @classmethod
    def from_ccddata(cls, ccd: Any, pri_hdr: fits.Header | None = None) -> Self:
        """Make an image of a `astropy.nddata.CCDData`.

        Parameters
        ----------
        ccd : astropy.nddata.CCDData
            Errors of any kind become 1-sigma errors; a masked pixel without a flag gets
            flag 1; ``meta`` becomes the image header.
        pri_hdr : Header, optional
            Primary header, which a CCDData does not hold; empty by default.

        Returns
        -------
        Image
            It has no file name yet.

        Raises
        ------
        InputError
            The meta data do not go into a FITS header, or flags are no integers.
        """
        from emdarks.frames.ccddata import planes_of_ccddata

        data, err, dq, header = planes_of_ccddata(ccd)
        primary = fits.Header() if pri_hdr is None else pri_hdr.copy()
        return cls(data, pri_hdr=primary, ext_hdr=header, err=err, dq=dq)

    # How it shows itself: Matplotlib is imported when one of these is called

    def plot(self, ax: Any = None, *, flagged: bool = False) -> Any:
        """Show the pixels as a map.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure (``.figure`` of the result) by default. Noise maps
            take three axes, for F, C and D.
        flagged : bool
            Show flagged pixels, too; by default they are grey.

        Returns
        -------
        matplotlib.axes.Axes, or an array of three
            Where it was drawn.

        Raises
        ------
        InputError
            There is no map to show: the pixels have more than two axes.
        """
        from emdarks import plots

        return plots.show_map(self._map(flagged), self._title(), self._unit(), ax=ax)

    def plot_histogram(self, ax: Any = None, *, bins: int = 100, flagged: bool = False) -> Any:
        """Show how the values of the pixels are distributed.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            As for `plot`.
        bins : int
            Number of bins, over the central 99.8 % of the values.
        flagged : bool
            Count flagged pixels, too.

        Returns
        -------
        matplotlib.axes.Axes, or an array of three
            Where it was drawn.

        Raises
        ------
        InputError
            As for `plot`.
        """
        from emdarks import plots

        values = self._map(flagged)
        return plots.value_histogram(values, self._title(), self._unit(), bins=bins, ax=ax)

    def _map(self, flagged: bool) -> Array:
        """Pixels as a map; flagged ones are NaN, unless they are to be shown."""
        if len(self.shape) != 2:
            raise InputError(
                f"{self.filename or 'the image'}: has pixels of shape {self.shape}; a map has "
                "rows and columns"
            )
        return self.data if flagged else np.where(self.dq == 0, self.data, np.nan)

    def _title(self) -> str:
        """Title of plots."""
        return self.filename

    def _unit(self) -> str:
        return str(self.ext_hdr.get("BUNIT", ""))

    def _repr_html_(self) -> str:
        rows = [("file", self.filename or "(unnamed)"), *self._rows()]
        return table_with_pictures(type(self).__name__, rows, self._pictures())

    def _rows(self) -> Rows:
        """What the table in notebooks says beside the name of the file."""
        ext = self.ext_hdr
        known = (("unit", "BUNIT"), ("exposure time, s", "EXPTIME"), ("EM gain", "EMGAIN_C"))
        rows = [("shape", size_text(self.shape))]
        rows += [(name, str(ext[key])) for name, key in known if key in ext]
        rows += self._kind_rows()
        try:
            data, dq = self.data, self.dq
        except EmdarksError as error:
            return [*rows, ("pixels", str(error))]
        good = data[(dq == 0) & np.isfinite(data)]
        if good.size:
            rows.append(("median", f"{np.median(good):.4g}"))
        rows.append(("flagged", f"{np.count_nonzero(dq) / max(dq.size, 1):.2%}"))
        return rows

    def _kind_rows(self) -> Rows:
        """Which of its kind it is, for the table."""
        return []

    def _pictures(self) -> Iterator[Picture]:
        """Pictures beside the table."""
        from emdarks import plots

        if len(self.shape) == 2:
            yield "pixels", plots.thumbnail(self.data)

    def __repr__(self) -> str:
        facts = "".join(f", {fact}" for fact in self._facts())
        return f"<{type(self).__name__} {self.filename or '(unnamed)'} {self._shape()}{facts}>"

    def _facts(self) -> list[str]:
        """What is worth saying beside name and shape."""
        return []


def _same_file(layout: FileLayout, target: str) -> bool:
    if layout.remote or is_url(target):
        return layout.path == shown(target)
    return Path(layout.path).absolute() == Path(target).absolute()


def _stored(array: Array) -> Array:
    """Floating-point arrays in the type of the files, integers as they are.

    What is too large for the type becomes infinite, and counts as masked where it is read.
    """
    if array.dtype.kind != "f":
        return np.asarray(array)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(IMAGE_DTYPE)


def _stored_flags(dq: Array) -> Array:
    """Flags in 16 bits, or in 32 or 64 where a higher bit is set: no flag is lost."""
    # A negative number has its highest bit set.
    dq = dq.astype(unsigned(dq.dtype), copy=False)
    highest = int(dq.max()) if dq.size else 0
    types = (DQ_DTYPE, np.uint32, np.uint64)
    return dq.astype(next(kind for kind in types if highest <= np.iinfo(kind).max))


def _is_filler(hdu: Any) -> bool:
    """Whether astropy put it in front of a table that was appended to an empty list."""
    return isinstance(hdu, fits.PrimaryHDU) and hdu.data is None


def _stored_hdu(hdu: Any) -> Any:
    if not hdu.is_image or hdu.data is None:
        return copied(hdu)
    return image_hdu(_stored(hdu.data), hdu.header, hdu.name)
