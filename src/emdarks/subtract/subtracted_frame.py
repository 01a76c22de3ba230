"""A frame less its dark, computed when its pixels are asked for."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Counted
from emdarks.checks.against_camera import ONES
from emdarks.darks.synthesized_dark import dark_setting
from emdarks.dq import DQ, unsigned
from emdarks.errors import InputError
from emdarks.fits import Cards, ascii_text, copied, state_shape
from emdarks.fits import astropy_fits as fits
from emdarks.fits.layout import read_others
from emdarks.fits.pixels import Scratch
from emdarks.frames import FrameInput, Image
from emdarks.products.header import stamp
from emdarks.products.synthesis import DarkSetting
from emdarks.products.validation import HUGE
from emdarks.stacks import SUBTRACTED_UNIT, Stack
from emdarks.subtract.dark_source import DarkPlanes, DarkSource, Sections

Array = npt.NDArray[Any]

_STALE = ("CHECKSUM", "DATASUM", "BLANK", "BSCALE", "BZERO")


class LastPlanes:
    """Planes of the frame that was computed last.

    Users ask for data, err and dq of one frame after each other; frames themselves keep no
    pixels, so that looping over a campaign does not fill the memory.
    """

    def __init__(self) -> None:
        self._kept: tuple[FrameInput, dict[str, Array]] | None = None

    def of(self, frame: FrameInput, compute: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        """Planes of a frame, computed unless they are those of the last one."""
        kept = self._kept
        if kept is None or kept[0] is not frame:
            # Threads may compute them twice; whichever stay, they are the same.
            kept = self._kept = frame, compute()
        return kept[1]

    def __reduce__(self) -> tuple[type[LastPlanes], tuple[()]]:
        return LastPlanes, ()  # frames travel to other processes without pixels


@dataclass(frozen=True, slots=True, eq=False)
class StackStep:
    """What is done to every frame of a stack.

    Attributes
    ----------
    stack : Stack
        The frames.
    darks : DarkSource
        Gives their dark.
    sections : Sections
        What is cut out of frames and dark.
    telemetry : slice
        Rows of the cut frame that the camera says carry no signal.
    unit_keyword : str
        Keyword of the unit.
    inputs : frozenset of str
        Real paths of all input files, which are not to be replaced.
    bias : str
        What reading subtracted, in words; empty where frames come without bias.
    last : LastPlanes
        Shared by all frames of a dataset.
    """

    stack: Stack
    darks: DarkSource
    sections: Sections
    telemetry: slice
    unit_keyword: str
    inputs: frozenset[str]
    bias: str
    last: LastPlanes

    def dark(self) -> DarkPlanes:
        """The dark, cut to the frame."""
        return self.darks.planes(self.stack, self.sections.dark)

    def telemetry_rows(self, dark: DarkPlanes) -> npt.NDArray[np.bool_]:
        """True in rows without signal: those of the camera, and where the dark is all NaN."""
        rows = np.asarray(np.isnan(dark.data).all(axis=1))
        rows[self.telemetry] = True
        return rows


class SubtractedFrame(Image):
    """A frame less its dark: headers at once, pixels when they are asked for.

    Made by `subtract_dark`. Pixels are read and computed when they are asked for, as
    read-only arrays; those of the last frame are kept. Assign an array to replace them.

    Attributes
    ----------
    place : int
        Where the frame stood in the dataset.
    """

    place: int

    _origin: Any
    _input: FrameInput
    _scale: float
    _step: StackStep
    _notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, origin: Any, item: FrameInput, scale: float, step: StackStep, place: int) -> Self:
        """Put a frame together.

        Parameters
        ----------
        origin : Image, or an object like it
            The frame; its further HDUs travel along.
        item : FrameInput
            The frame, prepared.
        scale : float
            What makes detected electrons of its numbers.
        step : StackStep
            What is done to it.
        place : int
            Where it stands in the dataset.
        """
        frame = cls.__new__(cls)
        frame._begin()
        frame._origin, frame._input, frame._scale, frame._step = origin, item, scale, step
        frame.place = place
        frame.filename = _result_name(item)
        frame.filedir = str(Path(item.provenance.path).parent)
        return frame

    @property
    def setting(self) -> DarkSetting:
        """Gain, time and k-gain of the frame's stack, for which its dark is."""
        return dark_setting(self._step.stack)

    @property
    def source_name(self) -> str:
        """The frame that the dark is taken off: its file, with the plane of a cube."""
        return self._input.record.name

    @property
    def counted(self) -> Counted | None:
        """How its electrons were counted; None where it held samples."""
        return self._input.record.counted

    def note(self, notes: Iterable[str]) -> None:
        """Say more in the history of the header, such as where the dark is from."""
        self._notes = tuple(notes)
        self._headers.pop("ext", None)

    # Pixels

    def _shape(self) -> tuple[int, ...]:
        if self._data is not None:
            return self._data.shape
        rows, cols = self._step.sections.frame
        height, width = self._input.source.shape
        return len(range(*rows.indices(height))), len(range(*cols.indices(width)))

    def _read(self, name: str) -> Array:
        return self._step.last.of(self._input, self._computed)[name]

    def _computed(self) -> dict[str, Array]:
        """All planes from one reading; data and err float64, err with its layer axis."""
        values, err, flags = self._pixels()
        dark = self._step.dark()
        telemetry = self._step.telemetry_rows(dark)
        self._check_numbers(values, telemetry)
        data = self._scale * values - dark.data
        noise = np.hypot(self._scale * err, dark.err)
        # What telemetry words mean is not touched.
        data[telemetry], noise[telemetry] = values[telemetry], err[telemetry]
        own = dark.dq.astype(unsigned(dark.dq.dtype), copy=False)
        dq = np.bitwise_or(flags, own)
        dq[~((np.abs(data) <= HUGE) & (np.abs(noise) <= HUGE))] |= dq.dtype.type(DQ.BAD_UNSPECIFIED)
        dq[telemetry] |= dq.dtype.type(DQ.BAD_UNSPECIFIED)
        return {"data": data, "err": noise[np.newaxis], "dq": dq}

    def _pixels(self) -> tuple[Array, Array, Array]:
        """Numbers, errors and flags of the frame, cut, in its own unit."""
        source, section = self._input.source, self._step.sections.frame
        reader = source.open()
        try:
            values, err, dq = reader.pixels(0, math.prod(source.shape), Scratch(0))
        finally:
            reader.close()
        cut = values.reshape(source.shape)[section].astype(np.float64)
        noise = np.zeros_like(cut) if err is None else err.reshape(source.shape)[section]
        flags = np.zeros(cut.shape, np.uint16) if dq is None else dq.reshape(source.shape)[section]
        return cut, noise.astype(np.float64, copy=False), flags

    def _check_numbers(self, values: Array, telemetry: Array) -> None:
        """Refuse counts that nobody has told to be counts.

        Raises
        ------
        InputError
            The frame has two different numbers, one (or 255) apart.
        """
        # One row is enough to tell a frame of samples.
        if _kinds(values[np.flatnonzero(~telemetry)[:1]]).size > 2:
            return
        kinds = _kinds(values[~telemetry])
        if kinds.size != 2 or np.ptp(kinds) not in ONES:
            return
        raise InputError(
            f"{self.source_name}: all samples are 0 or 1: its electrons are counted; say in a "
            "camera file above which threshold ([counting]), and give a photon-counted dark"
        )

    # Headers and further HDUs

    def cards(self, name: str) -> Cards:
        """One of the headers (pri, ext, err, dq) in its small form."""
        kept = name in self._headers
        return Cards.from_header(self._headers[name] if kept else self._made_header(name))

    def _header(self, name: str) -> fits.Header:
        if name not in self._headers:
            self._headers[name] = self._made_header(name)
        return self._headers[name]

    def _made_header(self, name: str) -> fits.Header:
        header = self._input.headers[name].to_header()
        for keyword in _STALE:
            header.remove(keyword, ignore_missing=True)
        if name == "ext":
            self._describe(header)
        elif name == "pri" and self._step.unit_keyword in header:
            # The header of a file's only HDU: the image gets one of its own.
            header[self._step.unit_keyword] = SUBTRACTED_UNIT
        elif name == "err":
            self._describe_errors(header)
        if name != "pri":
            state_shape(header, self.shape if name != "err" else (1, *self.shape))
        return header

    def _what_was_done(self) -> str:
        """How pixels became electrons, for the history."""
        was = self._input.record.unit_text or "no unit"
        return f"pixels ({was}) times {self._scale:.10g} to detected electrons"

    def _describe(self, header: fits.Header) -> None:
        facts, step = self._step.darks.facts(self._step.stack), self._step
        header[step.unit_keyword] = header["BUNIT"] = SUBTRACTED_UNIT
        # Without a comment: names are long, and astropy warns of comments that are cut off.
        header["DARKFILE"] = ascii_text(facts.name)
        header["DARKSYNT"] = (facts.synthesised, "the dark was made from noise maps")
        header["DARKGAIN"] = (facts.gain, "EM gain that the dark is for")
        header["DARKTIME"] = (facts.exposure_time, "s, exposure time that the dark is for")
        _shift_reference_pixel(header, step.sections)
        stamp(header)
        header["HISTORY"] = ascii_text(
            f"Dark subtracted: {self._what_was_done()}, less {facts.words}"
        )
        if step.bias and step.bias != "nothing":
            header["HISTORY"] = f"Bias subtracted before: {step.bias}"
        if step.sections.frame[0].start is not None:
            header["HISTORY"] = "Cut to the image region, which is all that the dark covers"
        for text in self._notes:
            header["HISTORY"] = ascii_text(text)

    def _describe_errors(self, header: fits.Header) -> None:
        for keyword in [key for key in header if re.fullmatch(r"LAYER_\d+", key)]:
            del header[keyword]
        header["BUNIT"] = SUBTRACTED_UNIT
        header["TRK_ERRS"] = False
        header["LAYER_1"] = "combined_error"
        header["HISTORY"] = "Added error term: dark_error"

    @property
    def hdu_list(self) -> fits.HDUList:
        """HDUs other than image, ERR and DQ, as the frame has them."""
        if self._hdu_list is None:
            layout = self._input.layout
            own = read_others(layout) if layout else getattr(self._origin, "hdu_list", ())
            self._hdu_list = fits.HDUList([copied(hdu) for hdu in own])
        return self._hdu_list

    def save(
        self, filedir: str | os.PathLike[str] | None = None, filename: str | None = None
    ) -> None:
        """Write the frame, whole or not at all; see `Image.save`.

        Raises
        ------
        InputError
            As `Image.save`; or the file is one of those that dark is being subtracted from.
        """
        directory = self.filedir if filedir is None else os.fspath(filedir)
        target = Path(directory) / (self.filename if filename is None else filename)
        self.refuse_inputs(target)
        super().save(filedir, filename)

    def refuse_inputs(self, target: Path) -> None:
        """Refuse to write over a frame that goes in.

        Raises
        ------
        InputError
            The file is one.
        """
        if target.is_file() and os.path.realpath(target) in self._step.inputs:
            raise InputError(
                f"{target}: is one of the frames that a dark is subtracted from, or the dark; "
                "name another folder for the results"
            )


def _result_name(item: FrameInput) -> str:
    """Name of the result: that of the frame, unpacked, with the plane where it is a cube's."""
    name = re.sub(r"\.(gz|fz)$", "", item.provenance.name)
    layout, index = item.layout, item.provenance.frame
    parts = [] if item.provenance.hdu is None else [f"hdu{item.provenance.hdu:02d}"]
    if layout is not None and layout.n_frames > 1 and index is not None:
        parts.append(f"{index:04d}")
    stem, ending = os.path.splitext(name)  # noqa: PTH122  a name, not a path
    return "_".join((stem, *parts)) + ending


def _shift_reference_pixel(header: fits.Header, sections: Sections) -> None:
    """Keep world coordinates right where the frame is cut."""
    rows, cols = sections.frame
    for keyword, start in (("CRPIX1", cols.start), ("CRPIX2", rows.start)):
        if start and isinstance(header.get(keyword), (int, float)):
            header[keyword] = header[keyword] - start


def _kinds(values: Array) -> Array:
    """The different numbers among some."""
    found: Array = np.unique(values)
    return found[np.isfinite(found)]
