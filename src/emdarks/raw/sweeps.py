"""The two sweeps over a raw frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.raw.calibration import FramePlan, RawCalibration

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class FrameScan:
    """What the first sweep learnt from a frame.

    Attributes
    ----------
    bias, error : ndarray of float64, shape (rows,)
        Bias b_r of each row and its error s_r, DN: the standard deviation of the bias columns by
        the root of their number, and the error of the bias offset. That of a row whose bias was
        replaced stays that of its own columns.
    repaired : int
        Rows of the area whose bias was replaced.
    saturated, over : int
        Pixels of the area that reach the saturation, and that exceed it.
    flagged : int
        Pixels that cosmic rays hit.
    pixels : int
        Pixels of the area.
    over_saturated : bool
        Whether so many exceed the saturation that the frame was not searched, and is of no use.
    first, runs : ndarray of int32, shapes (rows + 1,) and (runs, 2)
        First run of each row; columns of flagged pixels.
    """

    bias: Array
    error: Array
    repaired: int
    saturated: int
    over: int
    flagged: int
    pixels: int
    over_saturated: bool
    first: Array = field(repr=False)
    runs: Array = field(repr=False)

    def calibration(self, plan: FramePlan, cols: int) -> _core.RowCalibration:
        """What makes electrons of the rows, for the compiled core."""
        settings: RawCalibration = plan.calibration
        linearity, stored = settings.linearity, settings.stored_saturation
        return _core.RowCalibration(
            self.bias,
            self.error,
            (plan.saturation, False) if stored is None else (stored, True),
            (settings.k_gain, settings.k_gain_error),
            None if linearity is None else linearity.curve(plan.gain),
            self.first,
            self.runs,
            cols,
        )


def over_saturated(share: float) -> str:
    """What is wrong with a frame of which so large a share exceeds the saturation."""
    return f"is over-saturated: {100.0 * share:.2f} % of its pixels exceed the saturation"


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """A frame made ready: the area that was asked for.

    Attributes
    ----------
    data, err : ndarray of float64, shape (rows, columns)
        Electrons (or linear DN) and their errors.
    dq : ndarray of uint16, shape (rows, columns)
        Flags 32 and 128.
    """

    data: Array
    err: Array
    dq: Array


def stored_bytes(raw: Array) -> _core.FrameBytes:
    """Where the numbers of an array lie; valid as long as the array is.

    Parameters
    ----------
    raw : ndarray, shape (rows, columns), C order
        Integers or real numbers of any width and order of bytes.
    """
    rows, cols = raw.shape
    assert raw.flags.c_contiguous
    return _core.FrameBytes(_core.IN_MEMORY, raw.ctypes.data, raw.dtype.str, 0, rows, cols)


def scan(frame: _core.FrameBytes, shape: tuple[int, int], plan: FramePlan) -> FrameScan | None:
    """First sweep: bias of the rows, saturated pixels, cosmic rays.

    Parameters
    ----------
    frame : FrameBytes
        The stored numbers.
    shape : tuple of int
        Rows and columns of the frame.
    plan : FramePlan
        What is to be done to it.

    Returns
    -------
    FrameScan or None
        None where the file ended too early.
    """
    rows, settings = shape[0], plan.calibration
    if plan.needs_no_scan:
        return _unseen(rows, plan)
    row_lo, row_hi, col_lo, col_hi = area = plan.area(shape)
    bias, error, repaired = np.empty(rows), np.empty(rows), np.empty(rows, np.uint8)
    whole, first, runs, saturated, over, flagged = _core.scan_raw(
        frame,
        area,
        settings.bias.rule(),
        plan.saturation,
        settings.most_saturated,
        plan.search(),
        bias,
        error,
        repaired,
    )
    if not whole:
        return None
    pixels = (row_hi - row_lo) * (col_hi - col_lo)
    return FrameScan(
        bias=bias,
        error=error if settings.bias.with_errors else np.zeros(rows),
        repaired=int(repaired[row_lo:row_hi].sum()),
        saturated=saturated,
        over=over,
        flagged=flagged,
        pixels=pixels,
        over_saturated=100.0 * over / pixels > settings.most_saturated,
        first=first,
        runs=runs,
    )


def _unseen(rows: int, plan: FramePlan) -> FrameScan:
    """What is known of a frame without a look at it."""
    bias = plan.calibration.bias
    error = bias.offset_error if bias.with_errors else 0.0
    return FrameScan(
        bias=np.full(rows, bias.level - bias.offset),
        error=np.full(rows, error),
        repaired=0,
        saturated=0,
        over=0,
        flagged=0,
        pixels=1,
        over_saturated=False,
        first=np.zeros(rows + 1, np.int32),
        runs=np.zeros((0, 2), np.int32),
    )


def prepare(
    frame: _core.FrameBytes, shape: tuple[int, int], plan: FramePlan, learnt: FrameScan
) -> PreparedFrame | None:
    """Second sweep over one frame: electrons, errors and flags of the area.

    Parameters
    ----------
    frame : FrameBytes
        The stored numbers.
    shape : tuple of int
        Rows and columns of the frame.
    plan : FramePlan
        What is to be done to it.
    learnt : FrameScan
        Of the first sweep.

    Returns
    -------
    PreparedFrame or None
        None where the file ended too early.
    """
    row_lo, row_hi, col_lo, col_hi = area = plan.area(shape)
    size = row_hi - row_lo, col_hi - col_lo
    made = PreparedFrame(np.empty(size), np.empty(size), np.empty(size, np.uint16))
    calibration = learnt.calibration(plan, shape[1])
    whole = _core.prepare_frame(frame, calibration, area, made.data, made.err, made.dq)
    return made if whole else None
