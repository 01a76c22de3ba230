"""Frames as a camera stored them, made ready while they are read.

The functions of emdarks take frames whose bias is subtracted and whose saturated samples
are flagged. Frames of other cameras still hold a bias level and have no flags: a
`LevelledSource` stands for such a frame and its readers do both, run by run. Nobody
downstream knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera, FrameRecord
from emdarks.detector import region_slices
from emdarks.errors import InputError
from emdarks.fitsio import scan_file
from emdarks.frames.source import ArraySource, FileSource, Reader, Run, Scratch, read_array
from emdarks.kernels.levels import level_run

__all__ = ["LevelledSource", "Levels", "bias_frame", "levelled"]

Array = npt.NDArray[Any]
Source = ArraySource | FileSource


@dataclass(frozen=True, slots=True)
class Levels:
    """What is to be done to the numbers of a frame.

    Attributes
    ----------
    bias : float
        Level to be subtracted from every pixel.
    frame : str
        Bias frame to be subtracted; empty where there is none.
    columns : tuple of int
        First and last-plus-one column whose pixels give the level of each row; equal where
        none do.
    statistic : {"median", "mean"}
        How they give it.
    saturation : float
        Stored number from which on a sample gets the flag 32.
    """

    bias: float = 0.0
    frame: str = ""
    columns: tuple[int, int] = (0, 0)
    statistic: Literal["median", "mean"] = "median"
    saturation: float = math.inf

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return self != Levels(statistic=self.statistic)


@dataclass(frozen=True, slots=True)
class LevelledSource:
    """A frame with its bias subtracted and its saturated samples flagged."""

    inner: Source
    levels: Levels

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.inner.shape

    @property
    def has_err(self) -> bool:
        """Whether the frame has errors."""
        return self.inner.has_err

    @property
    def flags_dtype(self) -> np.dtype[Any] | None:
        """Unsigned type that holds the flags."""
        own = self.inner.flags_dtype
        if math.isinf(self.levels.saturation):
            return own
        return np.result_type(np.uint16, own or np.uint16)

    @property
    def held_bytes(self) -> int:
        """Memory that the frame takes while it is open."""
        return self.inner.held_bytes

    def open(self) -> Reader:
        """See `emdarks.frames.source.FrameSource`."""
        frame = bias_frame(self.levels.frame, self.shape) if self.levels.frame else None
        return LevelledReader(self.inner.open(), self.levels, frame, self.shape[1])


class LevelledReader:
    """Reader of a `LevelledSource`; what it delivers is its own."""

    raw = None

    def __init__(self, inner: Reader, levels: Levels, frame: Array | None, cols: int):
        self.bytes_unpacked = inner.bytes_unpacked
        self._inner = inner
        self._levels = levels
        self._frame = frame
        self._cols = cols

    def pixels(self, lo: int, hi: int, scratch: Scratch) -> Run:
        """See `emdarks.frames.source.Reader`."""
        left, right = self._levels.columns
        if left == right:
            return self._levelled(lo, hi, scratch)
        # The level of a row takes the whole row.
        first, last = lo // self._cols, -(-hi // self._cols)
        data, err, dq = self._levelled(first * self._cols, last * self._cols, scratch)
        rows = data.reshape(-1, self._cols)
        rows -= self._row_levels(rows, dq)[:, np.newaxis]
        cut = slice(lo - first * self._cols, hi - first * self._cols)
        return data[cut], None if err is None else err[cut], None if dq is None else dq[cut]

    def _levelled(self, lo: int, hi: int, scratch: Scratch) -> Run:
        """Without bias level or bias frame, saturated samples flagged."""
        stored, err, dq = self._inner.pixels(lo, hi, scratch)
        data, flags = np.empty(stored.size), np.empty(stored.size, np.uint16)
        frame = None if self._frame is None else self._frame[lo:hi]
        level_run(stored, self._levels.bias, frame, self._levels.saturation, data, flags)
        if math.isinf(self._levels.saturation):
            return data, err, dq
        return data, err, flags if dq is None else flags | dq

    def _row_levels(self, rows: Array, flags: Array | None) -> Array:
        """Level of each row from its unflagged pixels in the bias columns; NaN without any."""
        columns = slice(*self._levels.columns)
        samples = rows[:, columns].copy()
        if flags is not None:
            samples[flags.reshape(rows.shape)[:, columns] != 0] = np.nan
        samples[~np.isfinite(samples)] = np.nan
        blind = np.isnan(samples).all(axis=1)
        samples[blind] = 0.0
        take = np.nanmedian if self._levels.statistic == "median" else np.nanmean
        level: Array = take(samples, axis=1)
        level[blind] = np.nan
        return level

    def close(self) -> None:
        """Let go of the file."""
        self._inner.close()


@lru_cache(maxsize=4)
def bias_frame(path: str, shape: tuple[int, int]) -> Array:
    """Pixels of a bias frame, flat; held once for all frames."""
    layout = scan_file(path)
    if layout.image.shape != shape:
        raise InputError(
            f"{path}: the bias frame has shape {layout.image.shape}, the frames {shape}; name one "
            "of their shape in the camera file"
        )
    values: Array = np.ascontiguousarray(read_array(layout, "image"), dtype=np.float64).reshape(-1)
    values.flags.writeable = False
    return values


def levelled(source: Source, record: FrameRecord, camera: Camera) -> Source | LevelledSource:
    """The frame as the functions of emdarks take it.

    Parameters
    ----------
    source : ArraySource or FileSource
        Its pixels as they are stored.
    record : FrameRecord
        What the camera made of its headers.
    camera : Camera
        Says where bias comes from.

    Raises
    ------
    InputError
        The bias frame cannot be read, or is of another shape.
    """
    levels = _levels(record, camera)
    if levels.frame:
        # Before pixels are read: a wrong bias frame is found with the headers.
        bias_frame(levels.frame, source.shape)
    return LevelledSource(source, levels) if levels.needed else source


def _levels(record: FrameRecord, camera: Camera) -> Levels:
    bias = camera.bias
    columns, frame = (0, 0), ""
    if not record.in_dn or bias is None:
        return Levels(record.bias, saturation=record.saturation)
    if bias.region is not None:
        inside = region_slices(camera.arrtype, bias.region, camera.regions)[1]
        columns = inside.start, inside.stop
    if bias.file is not None:
        frame = str(Path(bias.file).absolute())
    return Levels(record.bias, frame, columns, bias.statistic, record.saturation)
