"""Raw frames as sources of the stream: they are read as stored, and made ready row by row.

A `RawSource` stands for a frame whose stored numbers still hold bias, and whose cosmic rays are
not flagged. Open, it looks once at all stored bytes (the first sweep, a few kB of results), and
hands the bytes to the stream with what makes electrons of them. The second reading of a plain file
is served by the system's page cache.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.errors import UnreadableFrameError
from emdarks.fits.pixels import ArraySource, FileSource, RawFrame, Reader, Run, Scratch
from emdarks.raw import FramePlan, FrameScan, scan

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class RawSource:
    """A raw frame: electrons (or linear DN), errors and flags of its stored numbers.

    Attributes
    ----------
    inner : ArraySource or FileSource
        The stored frame.
    plan : FramePlan
        What is to be done to it.
    """

    inner: ArraySource | FileSource
    plan: FramePlan

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.inner.shape

    @property
    def has_err(self) -> bool:
        """Whether the frame has errors: its own, or those of bias and k-gain."""
        return self.inner.has_err or self.plan.calibration.has_errors

    @property
    def flags_dtype(self) -> np.dtype[Any] | None:
        """Unsigned type that holds the flags."""
        if not self.plan.flags:
            return self.inner.flags_dtype
        return np.result_type(np.uint16, self.inner.flags_dtype or np.uint16)

    @property
    def held_bytes(self) -> int:
        """Memory that the frame takes while it is open."""
        return self.inner.held_bytes

    @property
    def is_remote(self) -> bool:
        """Whether opening the frame waits for a server."""
        return self.inner.is_remote

    @property
    def identity(self) -> tuple[Any, ...] | None:
        """That of the stored frame, and what is done to it."""
        inner = self.inner.identity
        return None if inner is None else (*inner, *self.plan.identity())

    def for_sending(self) -> RawSource:
        """See `emdarks.fits.pixels.FrameSource`."""
        return replace(self, inner=self.inner.for_sending())

    def err_as_data(self) -> ArraySource:
        """The same frame with its errors in the place of the image."""
        rows, cols = self.shape
        with closing(self.open()) as reader:
            _, err, dq = reader.pixels(0, rows * cols, Scratch(1))
        flags = None if dq is None else dq.reshape(self.shape)
        return ArraySource(
            np.zeros(self.shape) if err is None else err.reshape(self.shape), None, flags
        )

    def open(self) -> Reader:
        """See `emdarks.fits.pixels.FrameSource`."""
        return RawReader(self.inner.open(), self)


class RawReader:
    """Reader of a raw frame; the first sweep is made when it is first needed."""

    def __init__(self, inner: Reader, source: RawSource):
        self.bytes_unpacked = inner.bytes_unpacked
        self._inner = inner
        self._source = source

    @cached_property
    def raw(self) -> RawFrame:
        """See `emdarks.fits.pixels.Reader`; with what makes electrons of the rows."""
        learnt, cols = self.scan, self._source.shape[1]
        calibration = learnt.calibration(self._source.plan, cols)
        return replace(self._inner.raw, scan=learnt, calibration=calibration)

    @cached_property
    def scan(self) -> FrameScan:
        """What the first sweep learnt."""
        learnt = scan(self._bytes, self._source.shape, self._source.plan)
        return self._whole(learnt)

    @property
    def _bytes(self) -> _core.FrameBytes:
        stored = self._inner.raw
        dtype = stored.dtypes[0]
        assert dtype is not None
        shape = self._source.shape
        return _core.FrameBytes(stored.file, stored.offsets[0], dtype, stored.flips[0], *shape)

    def _whole(self, learnt: FrameScan | None) -> FrameScan:
        if learnt is None:
            raise UnreadableFrameError(self._inner.raw.path, "ended while its pixels were read")
        return learnt

    def pixels(self, lo: int, hi: int, scratch: Scratch) -> Run:
        """See `emdarks.fits.pixels.Reader`; electrons or linear DN."""
        cols = self._source.shape[1]
        area = first, last, _, _ = (lo // cols, -(-hi // cols), 0, cols)
        shape = last - first, cols
        data, dq = np.empty(shape), np.empty(shape, np.uint16)
        err = np.empty(shape) if self._source.plan.calibration.has_errors else None
        calibration = self.scan.calibration(self._source.plan, cols)
        if not _core.prepare_frame(self._bytes, calibration, area, data, err, dq):
            self._whole(None)
        part = slice(lo - first * cols, hi - first * cols)
        own = None if err is None else err.reshape(-1)[part]
        flags = dq.reshape(-1)[part] if self._source.plan.flags else None
        return self._with_stored(data.reshape(-1)[part], own, flags, lo, hi)

    def _with_stored(
        self, data: Array, err: Array | None, dq: Array | None, lo: int, hi: int
    ) -> Run:
        """The same with stored errors and flags, where the frame has any."""
        _, has_err, has_dq = self._inner.raw.dtypes
        if has_err is None and has_dq is None:
            return data, err, dq
        _, stored_err, stored_dq = self._inner.pixels(lo, hi, Scratch(hi - lo))
        if stored_err is not None:
            in_unit = stored_err * self._source.plan.calibration.k_gain
            err = in_unit if err is None else np.hypot(err, in_unit)
        if dq is None or stored_dq is None:
            return data, err, stored_dq if dq is None else dq
        return data, err, dq | stored_dq

    def close(self) -> None:
        """Let go of the file."""
        self._inner.close()
