"""Geometry of the detector: which pixels are what.

A geometry is a dictionary ``{array type: {region: {...}}}`` in the shape the
Roman Coronagraph pipeline uses. Every region has ``rows``, ``cols`` and
``r0c0`` (row and column of its first pixel); ``prescan`` also has
``col_start`` and ``col_end``, the columns that the row bias is taken from.
Axis order is ``[row, column]`` throughout.

The imaging area is every pixel outside prescan and overscan. It is larger
than the ``image`` region, since it includes shielded rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from emdarks.errors import GeometryError

__all__ = [
    "Regions",
    "detector_areas",
    "embed",
    "frame_shape",
    "imaging_area_geom",
    "imaging_slice",
    "region_slices",
    "slice_section",
    "unpack_geom",
]

Regions = Mapping[str, Mapping[str, Any]]
Slices = tuple[slice, slice]
ScalarT = TypeVar("ScalarT", bound=np.generic)


def _region(rows: int, cols: int, row0: int, col0: int, **more: int) -> dict[str, Any]:
    return {"rows": rows, "cols": cols, "r0c0": [row0, col0], **more}


#: Geometry of EXCAM in its four readout modes.
detector_areas: dict[str, dict[str, Any]] = {
    "SCI": {
        "frame_rows": 1200,
        "frame_cols": 2200,
        "image": _region(1024, 1024, 13, 1088),
        "prescan": _region(1200, 1088, 0, 0, col_start=800, col_end=1000),
        "prescan_reliable": _region(1200, 200, 0, 800),
        "parallel_overscan": _region(163, 1056, 1037, 1088),
        "serial_overscan": _region(1200, 56, 0, 2144),
    },
    "ENG": {
        "frame_rows": 2200,
        "frame_cols": 2200,
        "image": _region(1024, 1024, 13, 1088),
        "prescan": _region(2200, 1088, 0, 0, col_start=800, col_end=1000),
        "prescan_reliable": _region(2200, 200, 0, 800),
        "parallel_overscan": _region(1163, 1056, 1037, 1088),
        "serial_overscan": _region(2200, 56, 0, 2144),
    },
    "ENG_EM": {
        "frame_rows": 2200,
        "frame_cols": 2200,
        "image": _region(2048, 1024, 13, 1088),
        "lower_image": _region(1024, 1024, 13, 1088),
        "upper_image": _region(1024, 1024, 1037, 1088),
        "prescan": _region(2200, 1088, 0, 0, col_start=800, col_end=1000),
        "prescan_reliable": _region(2200, 200, 0, 800),
        "parallel_overscan": _region(130, 1056, 2070, 1088),
        "serial_overscan": _region(2200, 56, 0, 2144),
    },
    # Read out through the conventional amplifier: what leaves the register
    # first is on the other side, so prescan and serial overscan change places.
    "ENG_CONV": {
        "frame_rows": 2200,
        "frame_cols": 2200,
        "image": _region(2048, 1024, 13, 48),
        "lower_image": _region(1024, 1024, 13, 48),
        "upper_image": _region(1024, 1024, 1037, 48),
        "prescan": _region(2200, 1128, 0, 1072, col_start=1200, col_end=1400),
        "prescan_reliable": _region(2200, 200, 0, 1200),
        "parallel_overscan": _region(130, 1056, 2070, 16),
        "serial_overscan": _region(2200, 16, 0, 0),
    },
}


def _mode(arrtype: str, regions: Regions | None) -> Mapping[str, Any]:
    known = detector_areas if regions is None else regions
    try:
        return known[arrtype]
    except KeyError:
        raise GeometryError(
            f"array type {arrtype!r} is not in the geometry, which has {', '.join(known)}"
        ) from None


def frame_shape(arrtype: str, regions: Regions | None = None) -> tuple[int, int]:
    """Shape ``(rows, columns)`` of a whole frame."""
    mode = _mode(arrtype, regions)
    return int(mode["frame_rows"]), int(mode["frame_cols"])


def unpack_geom(
    arrtype: str, key: str, detector_regions: Regions | None = None
) -> tuple[int, int, Any]:
    """Look a region up.

    Parameters
    ----------
    arrtype : str
        Array type: SCI, ENG, ENG_EM or ENG_CONV for EXCAM.
    key : str
        Name of the region.
    detector_regions : mapping, optional
        The geometry; `detector_areas` by default.

    Returns
    -------
    rows, cols : int
        Size of the region in pixels.
    r0c0 : sequence of int
        Row and column of its first pixel.

    Raises
    ------
    GeometryError
        The array type or the region is unknown.
    """
    mode = _mode(arrtype, detector_regions)
    if key not in mode or not isinstance(mode[key], Mapping):
        raise GeometryError(f"array type {arrtype} has no region {key!r}")
    region = mode[key]
    return int(region["rows"]), int(region["cols"]), region["r0c0"]


def region_slices(arrtype: str, key: str, detector_regions: Regions | None = None) -> Slices:
    """Row and column slices of a region (parameters as in `unpack_geom`)."""
    rows, cols, (row0, col0) = unpack_geom(arrtype, key, detector_regions)
    return slice(row0, row0 + rows), slice(col0, col0 + cols)


def slice_section(
    frame: npt.NDArray[ScalarT], arrtype: str, key: str, detector_regions: Regions | None = None
) -> npt.NDArray[ScalarT]:
    """Cut a region out of a frame.

    Parameters
    ----------
    frame : ndarray, shape (rows, columns)
        A whole frame.
    arrtype, key, detector_regions
        As in `unpack_geom`.

    Returns
    -------
    ndarray
        A view of the region.

    Raises
    ------
    GeometryError
        The region is unknown or has no pixel in this frame.

    Examples
    --------
    >>> import numpy as np
    >>> from emdarks.detector import slice_section
    >>> slice_section(np.zeros((1200, 2200)), "SCI", "image").shape
    (1024, 1024)
    """
    section = frame[region_slices(arrtype, key, detector_regions)]
    if section.size == 0:
        raise GeometryError(
            f"region {key!r} of {arrtype} has no pixel in a frame of shape {frame.shape}"
        )
    return section


def _free(length: int, *taken: tuple[int, int]) -> tuple[int, int]:
    """First index and number of the indices that no interval ``(start, count)`` covers."""
    free = np.ones(length, dtype=bool)
    for start, count in taken:
        free[start : start + count] = False
    index = np.flatnonzero(free)
    if index.size == 0 or index[-1] - index[0] + 1 != index.size:
        raise GeometryError("prescan and overscan leave no single block as the imaging area")
    return int(index[0]), int(index.size)


def imaging_area_geom(
    arrtype: str, detector_regions: Regions | None = None
) -> tuple[int, int, list[int]]:
    """Geometry of the imaging area: all that is neither prescan nor overscan.

    The rows are those outside the parallel overscan, the columns those outside
    prescan and serial overscan. (Deriving them from the ``image`` region
    instead gives negative rows in ENG_EM and ENG_CONV.)

    Parameters
    ----------
    arrtype, detector_regions
        As in `unpack_geom`. Regions that a camera lacks take nothing away.

    Returns
    -------
    rows, cols : int
        Size in pixels.
    r0c0 : list of int
        Row and column of the first pixel.

    Raises
    ------
    GeometryError
        What is left is empty or not one rectangle.
    """
    mode = _mode(arrtype, detector_regions)
    frame_rows, frame_cols = frame_shape(arrtype, detector_regions)
    sides = [mode[key] for key in ("prescan", "serial_overscan") if key in mode]
    ends = [mode[key] for key in ("parallel_overscan",) if key in mode]
    row0, rows = _free(frame_rows, *((side["r0c0"][0], side["rows"]) for side in ends))
    col0, cols = _free(frame_cols, *((side["r0c0"][1], side["cols"]) for side in sides))
    return rows, cols, [row0, col0]


def imaging_slice(
    arrtype: str, frame: npt.NDArray[ScalarT], detector_regions: Regions | None = None
) -> npt.NDArray[ScalarT]:
    """View of the imaging area of a frame (see `imaging_area_geom`)."""
    rows, cols, (row0, col0) = imaging_area_geom(arrtype, detector_regions)
    return frame[row0 : row0 + rows, col0 : col0 + cols]


def embed(
    data: npt.ArrayLike,
    arrtype: str,
    key: str,
    pad_val: float = 0.0,
    detector_regions: Regions | None = None,
) -> npt.NDArray[np.float64]:
    """Put the pixels of a region into an otherwise constant frame.

    Parameters
    ----------
    data : array_like, shape of the region
        Pixels of the region.
    arrtype, key, detector_regions
        As in `unpack_geom`.
    pad_val : float
        Value of all other pixels.

    Returns
    -------
    ndarray of float64, shape (rows, columns) of the frame

    Raises
    ------
    GeometryError
        ``data`` has not the shape of the region, or the region leaves the frame.

    Examples
    --------
    >>> import numpy as np
    >>> from emdarks.detector import embed
    >>> embed(np.ones((1024, 1024)), "SCI", "image").shape
    (1200, 2200)
    """
    full = np.full(frame_shape(arrtype, detector_regions), pad_val, dtype=np.float64)
    target = full[region_slices(arrtype, key, detector_regions)]
    values = np.asarray(data)
    if target.shape != values.shape:
        raise GeometryError(
            f"data of shape {values.shape} do not fit region {key!r} of {arrtype}, "
            f"which has {target.shape} pixels in the frame"
        )
    target[...] = values
    return full
