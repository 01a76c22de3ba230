"""Which pixels of a frame are which: signal, imaging area, prescan."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.detector import imaging_area_geom, region_slices
from emdarks.errors import GeometryError
from emdarks.stacks.calibration_inputs import CalibrationInputs

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class FramePixels:
    """The frame, flat in pixels: where there is signal, dark current, prescan.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    skip : tuple of int
        Pixels of the telemetry rows: first and last plus one.
    signal, imaging : ndarray of bool, shape (pixels,)
        Outside the telemetry rows; in the imaging area.
    prescan, reliable : ndarray of int
        Pixels of the prescan, and of its reliable columns; none where a camera has none.
    """

    shape: tuple[int, int]
    skip: tuple[int, int]
    signal: Array
    imaging: Array
    prescan: Array
    reliable: Array

    @classmethod
    def of(cls, job: CalibrationInputs, shape: tuple[int, int], telemetry: slice) -> FramePixels:
        """Frame of a geometry, telemetry rows left out."""
        rows, cols, (row0, col0) = imaging_area_geom(job.arrtype, job.regions)
        area = slice(row0, row0 + rows), slice(col0, col0 + cols)
        signal = np.ones(shape, dtype=bool)
        signal[telemetry] = False

        def region(name: str) -> Array:
            inside = np.zeros(shape, dtype=bool)
            # A camera without prescan has no bias offset.
            with suppress(GeometryError):
                inside[region_slices(job.arrtype, name, job.regions)] = True
            return np.flatnonzero(inside & signal)

        imaging = np.zeros(shape, dtype=bool)
        imaging[area] = True
        skip = (telemetry.start * shape[1], telemetry.stop * shape[1])
        return cls(
            shape,
            skip,
            signal.reshape(-1),
            imaging.reshape(-1),
            region("prescan"),
            region("prescan_reliable"),
        )
