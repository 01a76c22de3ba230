"""Where in a frame: telemetry rows, shape, and the area of single-frame figures."""

from __future__ import annotations

from collections.abc import Sequence

from emdarks.accumulate.blocks import FigureArea
from emdarks.detector import Regions, frame_shape, imaging_area_geom, unpack_geom
from emdarks.errors import GeometryError, InputError
from emdarks.stacks.group import Stack


def telemetry_slice(
    telemetry_rows: tuple[int | None, int | None], arrtype: str, regions: Regions | None
) -> slice:
    """Rows without signal, as a slice with plain bounds; empty where there are none.

    Parameters
    ----------
    telemetry_rows : tuple of (int or None)
        Start and stop of a slice; start None means none.
    arrtype, regions
        Geometry, see `emdarks.detector`.

    Raises
    ------
    GeometryError
        Telemetry rows reach into the image region.
    """
    rows = frame_shape(arrtype, regions)[0]
    if telemetry_rows[0] is None:
        return slice(0, 0)
    try:
        start, stop, _ = slice(*telemetry_rows).indices(rows)
    except TypeError:
        raise GeometryError(
            f"telemetry rows {telemetry_rows[0]!r} to {telemetry_rows[1]!r}: TELRSTRT and TELREND "
            "of the detector parameters must be whole numbers"
        ) from None
    stop = max(start, stop)
    image_rows, _, (row0, _) = unpack_geom(arrtype, "image", regions)
    if start < row0 + image_rows and stop > row0:
        raise GeometryError(
            f"telemetry rows {start} to {stop - 1} reach into the image region (rows {row0} to "
            f"{row0 + image_rows - 1}); check TELRSTRT and TELREND of the detector parameters"
        )
    return slice(start, stop)


def check_shape(stacks: Sequence[Stack], arrtype: str, regions: Regions | None) -> None:
    """Compare the frames with the geometry.

    Raises
    ------
    InputError
        Their shapes differ.
    """
    record = stacks[0].frames[0].record
    expected = frame_shape(arrtype, regions)
    if record.shape != expected:
        raise InputError(
            f"{record.name}: has {record.shape[0]} x {record.shape[1]} pixels, the geometry "
            f"{expected[0]} x {expected[1]}; give the camera or detector_regions of these frames"
        )


def figure_area(arrtype: str, regions: Regions | None, telemetry: slice) -> FigureArea:
    """Where figures of single frames are taken: imaging area without telemetry rows."""
    rows, cols, (row0, col0) = imaging_area_geom(arrtype, regions)
    first, last = row0, row0 + rows
    if telemetry.stop > telemetry.start:
        # Telemetry rows lie before or after the image, never inside it.
        first = telemetry.stop if telemetry.start <= first < telemetry.stop else first
        last = telemetry.start if telemetry.start < last <= telemetry.stop else last
    try:
        _, width, (_, start) = unpack_geom(arrtype, "prescan_reliable", regions)
    except GeometryError:
        width, start = 0, 0
    return FigureArea((first, last), (col0, col0 + cols), (start, start + width))
