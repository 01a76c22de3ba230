"""Frames as a camera stored them, made ready while they are read.

The functions of emdarks take frames whose bias is subtracted and whose saturated samples
are flagged. Frames of other cameras still hold a bias level and have no flags: a `RawSource` stands
for such a frame of integers and does both row by row, while the frame is added; a `LevelledSource`
for one that also needs a bias frame, a mean or real numbers, and does both when it is opened.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.cameras import Camera, FrameRecord
from emdarks.detector import frame_shape, region_slices
from emdarks.errors import InputError, UnreadableFrameError
from emdarks.fits import scan_file
from emdarks.fits.pixels import (
    ArrayReader,
    ArraySource,
    FileSource,
    Reader,
    Scratch,
    read_array,
)
from emdarks.frames.raw_source import RawSource
from emdarks.raw import FramePlan, RawCalibration, RowBias

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
    per : {"row", "frame"}
        Whether the columns give a level for each row, or one for all.
    num_stds : float or None
        See `emdarks.cameras.Bias`.
    saturation : float
        Stored number from which on a sample gets the flag 32.
    least : float
        The least number that the camera stores; a frame with a lesser one is refused.
    """

    bias: float = 0.0
    frame: str = ""
    columns: tuple[int, int] = (0, 0)
    statistic: Literal["median", "mean"] = "median"
    per: Literal["row", "frame"] = "row"
    num_stds: float | None = None
    saturation: float = math.inf
    least: float = -math.inf

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return self != Levels(statistic=self.statistic, per=self.per, num_stds=self.num_stds)


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
        """Memory that the frame takes while it is open: numbers, errors, flags."""
        return self.inner.held_bytes + 24 * math.prod(self.shape)

    @property
    def is_remote(self) -> bool:
        """Whether opening the frame waits for a server."""
        return self.inner.is_remote

    @property
    def identity(self) -> tuple[Any, ...] | None:
        """That of the stored frame, and what is done to it."""
        inner, levels = self.inner.identity, self.levels
        if inner is None:
            return None
        file = Path(levels.frame)
        changed = file.stat().st_mtime_ns if levels.frame and file.exists() else 0
        return *inner, *astuple(levels), changed

    def for_sending(self) -> LevelledSource:
        """See `emdarks.fits.pixels.FrameSource`."""
        return replace(self, inner=self.inner.for_sending())

    def open(self) -> Reader:
        """See `emdarks.fits.pixels.FrameSource`; the whole frame is made ready at once."""
        rows, cols = self.shape
        scratch = Scratch(rows * cols)
        reader = self.inner.open()
        try:
            stored, err, dq = reader.pixels(0, rows * cols, scratch)
            if not math.isinf(self.levels.least):
                _refuse_below(self.levels.least, stored, self.inner)
            # Fresh memory is expensive: numbers that were made from a file are this frame's
            # own, unless they are read-only, as those of a packed cube, which its frames share.
            own = isinstance(self.inner, FileSource) and stored.dtype == np.float64
            data = stored if own and stored.flags.writeable else np.empty(stored.size)
            flags = np.empty(stored.size, np.uint16)
            frame = bias_frame(self.levels.frame, self.shape) if self.levels.frame else None
            _core.level_run(stored, self.levels.bias, frame, self.levels.saturation, data, flags)
            unpacked = reader.bytes_unpacked + scratch.bytes_read
            if not math.isinf(self.levels.saturation):
                dq = flags if dq is None else flags | dq
        finally:
            reader.close()
        left, right = self.levels.columns
        if left < right:
            image = data.reshape(rows, cols)
            flagged = None if dq is None else dq.reshape(rows, cols)[:, left:right] != 0
            image -= _levels_of(image[:, left:right], flagged, self.levels)
        return ArrayReader(data, err, dq, bytes_unpacked=unpacked)


def _refuse_below(least: float, stored: Array, source: Source) -> None:
    """Refuse numbers that the camera cannot have stored: the bright samples among them are wrong.

    Raises
    ------
    UnreadableFrameError
        There is one.
    """
    count = int((stored < least).sum())
    if count:
        name = source.layout.path if isinstance(source, FileSource) else "a frame in memory"
        raise UnreadableFrameError(
            name,
            f"has {count} sample{'s' * (count > 1)} below 0 DN, and its camera file says that "
            "samples are unsigned: bright ones were written as signed integers, without BZERO = "
            '32768; write the file anew, or say dtype = "float32" in [frames] of the camera file '
            "if negative numbers are right",
        )


def _levels_of(columns: Array, flagged: Array | None, levels: Levels) -> Array:
    """Level of each row, shape (rows, 1), from its good pixels; NaN where it has none.

    That of all rows where the camera says so.
    """
    samples = columns.copy()
    if flagged is not None:
        samples[flagged] = np.nan
    samples[~np.isfinite(samples)] = np.nan
    take = np.nanmedian if levels.statistic == "median" else np.nanmean
    if levels.per == "frame":
        return np.full((len(samples), 1), take(samples) if np.isfinite(samples).any() else np.nan)
    blind = np.isnan(samples).all(axis=1)
    samples[blind] = 0.0
    level: Array = take(samples, axis=1)
    level[blind] = np.nan
    return _repaired(level, levels.num_stds)[:, np.newaxis]


def _repaired(level: Array, num_stds: float | None) -> Array:
    """Levels of rows, those far from the median of them replaced by it."""
    if num_stds is None or np.isnan(level).all():
        return level
    middle, spread = np.nanmedian(level), np.nanstd(level)
    return np.where(np.abs(level - middle) > num_stds * spread, middle, level)


def bias_frame(path: str, shape: tuple[int, int]) -> Array:
    """Pixels of a bias frame, flat; held once for all frames.

    Raises
    ------
    InputError
        The file cannot be read, or has another shape.
    """
    file = Path(path)
    return _bias_frame(path, shape, file.stat().st_mtime_ns if file.exists() else 0)


@lru_cache(maxsize=4)
def _bias_frame(path: str, shape: tuple[int, int], _time: int) -> Array:
    layout = scan_file(path)
    if layout.image.shape != shape:
        raise InputError(
            f"{path}: the bias frame has shape {layout.image.shape}, the frames {shape}; name one "
            "of their shape in the camera file"
        )
    values: Array = np.ascontiguousarray(read_array(layout, "image"), dtype=np.float64).reshape(-1)
    values.flags.writeable = False
    return values


def levelled(
    source: Source, record: FrameRecord, camera: Camera
) -> Source | LevelledSource | RawSource:
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
        The bias frame cannot be read, or is of another shape; or bias comes from a region of
        whole frames, and this is none.
    """
    levels = replace(_levels(record, camera), least=_least(source, record, camera))
    if levels.frame:
        # Before pixels are read: a wrong bias frame is found with the headers.
        bias_frame(levels.frame, source.shape)
    if levels.columns != (0, 0):
        _check_whole(source.shape, record, camera)
    if not levels.needed:
        return source
    return (
        _streamed(source, levels) if _can_stream(source, levels) else LevelledSource(source, levels)
    )


def _can_stream(source: Source, levels: Levels) -> bool:
    """Whether rows can be made ready one by one, with the same bits as whole frames.

    They are integers, of which half numbers are subtracted: that is exact.
    """
    by_columns = levels.columns[0] < levels.columns[1]
    simple = levels.bias == 0.0 and levels.statistic == "median" and source.flags_dtype is None
    if levels.frame or math.isfinite(levels.least) or (by_columns and not simple):
        return False
    if isinstance(source, ArraySource):
        dtype, scaled = source.data.dtype, False
    else:
        plane = source.layout.image
        dtype = np.dtype(plane.dtype)
        scaled = plane.bscale != 1.0 or not float(plane.bzero).is_integer()
    return dtype.kind in "iu" and dtype.itemsize <= 4 and not scaled


def _streamed(source: Source, levels: Levels) -> RawSource:
    """The frame, made ready row by row."""
    by_columns = levels.columns[0] < levels.columns[1]
    bias = RowBias(
        source=levels.per if by_columns else "level",
        columns=levels.columns,
        level=levels.bias,
        num_stds=math.inf if levels.num_stds is None else levels.num_stds,
        below=levels.saturation,
        with_errors=False,
    )
    calibration = RawCalibration(
        bias,
        full_well=math.inf,
        search=None,
        stored_saturation=levels.saturation,
        most_saturated=math.inf,
    )
    return RawSource(source, FramePlan(calibration, 1.0))


def _least(source: Source, record: FrameRecord, camera: Camera) -> float:
    """0 where the camera's samples are unsigned, and these integers are not."""
    if not record.in_dn or camera.frames.dtype != "uint16":
        return -math.inf
    if isinstance(source, FileSource):
        plane = source.layout.image
        signed = np.dtype(plane.dtype).kind == "i" and plane.bzero == 0 and plane.bscale == 1
    else:
        signed = source.data.dtype.kind == "i"
    return 0.0 if signed else -math.inf


def _check_whole(shape: tuple[int, int], record: FrameRecord, camera: Camera) -> None:
    """Columns of a region are those of a whole frame; in a part of one they mean others."""
    whole = frame_shape(camera.arrtype, camera.regions)
    if shape != whole and camera.bias is not None:
        raise InputError(
            f"{record.name}: bias comes from region {camera.bias.region}, which a frame of "
            f"{shape[0]} x {shape[1]} pixels does not have; give whole frames "
            f"({whole[0]} x {whole[1]})"
        )


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
    return Levels(
        bias=record.bias,
        frame=frame,
        columns=columns,
        statistic=bias.statistic,
        per=bias.per,
        num_stds=bias.num_stds,
        saturation=record.saturation,
    )
