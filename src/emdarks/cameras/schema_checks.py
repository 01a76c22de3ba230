"""Whether the tables of a camera file fit each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emdarks.cameras.camera import Camera
from emdarks.cameras.frame_metadata import Unit
from emdarks.cameras.schema import CONVENTIONAL
from emdarks.cameras.schema_errors import MEANINGS
from emdarks.detector import frame_shape, imaging_area_geom
from emdarks.errors import GeometryError, InputError

#: What the keywords of `emdarks.cameras.Keywords` measure, where that has units.
_QUANTITIES = {
    "exposure_time": "time",
    "cycle_time": "time",
    "k_gain": "sensitivity",
    "temperature": "temperature",
    "start": "date",
}
#: Rows or columns of a frame; what goes through the geometry takes memory for each.
_MOST_PIXELS = 1_000_000

#: Keys, and what is wrong with them.
Problems = Iterator[tuple[str, str]]


def check_camera(camera: Camera, origin: str) -> None:
    """Refuse a camera whose tables contradict each other.

    Parameters
    ----------
    camera : Camera
        The camera, its types already validated.
    origin : str
        Its file, for messages.

    Raises
    ------
    InputError
        Names the file and the key.
    """
    checks = (
        _geometry,
        _regions,
        _keywords,
        _noise,
        _values,
        _modes,
        _joins,
        _bias,
        _files,
        _full_wells,
        _windows,
        _counts,
    )
    for check in checks:
        for key, problem in check(camera):
            raise InputError(f"{origin}: key {key}: {problem}")


def _geometry(camera: Camera) -> Problems:
    table = camera.geometry.get(camera.arrtype)
    if table is None:
        yield "geometry", f"has no array type {camera.arrtype!r}"
        return
    where = f"geometry.{camera.arrtype}"
    for key in ("frame_rows", "frame_cols", "image"):
        if key not in table:
            yield f"{where}.{key}", "is missing"
    for key in ("frame_rows", "frame_cols"):
        if type(table[key]) is not int or table[key] < 1:
            yield f"{where}.{key}", f"is {table[key]!r}, not a number of pixels"
        if table[key] > _MOST_PIXELS:
            yield f"{where}.{key}", f"is {table[key]}; no camera has more than {_MOST_PIXELS}"


def _regions(camera: Camera) -> Problems:
    table = camera.geometry[camera.arrtype]
    where = f"geometry.{camera.arrtype}"
    for name, region in table.items():
        problem = _problem_of(region, table["frame_rows"], table["frame_cols"])
        if problem and name not in ("frame_rows", "frame_cols"):
            yield f"{where}.{name}", problem
    try:
        imaging_area_geom(camera.arrtype, camera.geometry)
    except GeometryError as error:
        yield where, str(error)


def _problem_of(region: Any, frame_rows: int, frame_cols: int) -> str:
    try:
        rows, cols, (row0, col0) = region["rows"], region["cols"], region["r0c0"]
    except (KeyError, TypeError, ValueError):
        return "needs rows, cols and r0c0 = [row, column]"
    if not all(isinstance(number, int) for number in (rows, cols, row0, col0)):
        return "rows, cols and r0c0 must be whole numbers"
    inside = 0 <= row0 < row0 + rows <= frame_rows and 0 <= col0 < col0 + cols <= frame_cols
    return "" if inside else "does not lie inside the frame"


def _keywords(camera: Camera) -> Problems:
    for name in ("exposure_time", "commanded_gain"):
        if not getattr(camera.keywords, name):
            yield f"keywords.{name}", "names no keyword; every frame needs one"
    if "header" in camera.sensitivity and not camera.keywords.k_gain:
        yield "keywords.k_gain", 'names no keyword, but sensitivity has "header"'
    if not camera.sensitivity:
        yield "sensitivity", "is empty; give header, modes or fixed"
    if "fixed" in camera.sensitivity and math.isnan(camera.noise.k_gain):
        yield "noise.k_gain", 'is missing: electrons per DN, for sensitivity = "fixed"'


def _noise(camera: Camera) -> Problems:
    """Figures without which cosmic rays cannot be screened, nor a campaign be planned."""
    stages = camera.noise.register_stages
    if not (stages >= 1 and (math.isinf(stages) or stages == round(stages))):
        yield "noise.register_stages", "is no number of stages; give one of 1 or more"
    for name in camera.noise.unknown:
        if name != "k_gain" and not camera.modes:
            yield f"noise.{name}", f"is missing: {MEANINGS[f'noise.{name}']}"
        without = [mode.name for mode in camera.modes if getattr(mode, name, None) is None]
        if name != "k_gain" and without:
            yield (
                f"noise.{name}",
                f"is missing: {MEANINGS[f'noise.{name}']}; give it in [noise] or in every "
                f"[[modes]] (mode {without[0]!r} has none)",
            )


def _values(camera: Camera) -> Problems:
    """A unit of time for a temperature would give numbers that mean nothing."""
    for name, quantity in _QUANTITIES.items():
        for keyword in getattr(camera.keywords, name):
            value = camera.values.get(keyword)
            if value is not None and value.quantity not in ("", quantity):
                yield (
                    f"values.{keyword}.unit",
                    f"{value.unit!r} is a unit of {value.quantity}, not of {quantity}",
                )


def _modes(camera: Camera) -> Problems:
    known = set(camera.settings) | ({CONVENTIONAL} if camera.conventional else set())
    if CONVENTIONAL in camera.settings or "mirrored" in camera.settings:
        yield "settings", "conventional and mirrored are settings by their own tables"
    for i, mode in enumerate(camera.modes):
        if not mode.when:
            yield f"modes.{i}.when", "is empty; every frame would be in this mode"
        for name in mode.when:
            if name not in known:
                yield f"modes.{i}.when.{name}", "is no setting of this camera"
    if "modes" in camera.sensitivity and not any(mode.k_gain for mode in camera.modes):
        yield "sensitivity", 'has "modes", but no mode has k_gain'


def _joins(camera: Camera) -> Problems:
    """Frames of both amplifiers in one fit must have one sensitivity and one noise."""
    if camera.conventional is None or not camera.conventional.joins:
        return
    pairs = [
        (one, other)
        for one in camera.modes
        for other in camera.modes
        if one.when == {**other.when, CONVENTIONAL: True}
        and other.when.get(CONVENTIONAL) is not True
    ]
    for one, other in pairs:
        for name in ("k_gain", "read_noise"):
            if getattr(one, name) != getattr(other, name):
                yield (
                    "conventional.joins",
                    f"frames of modes {one.name!r} and {other.name!r} would be fitted together, "
                    f"but their {name} differs",
                )


def _bias(camera: Camera) -> Problems:
    """The region of a bias must be there, and be as high as the frame."""
    region = None if camera.bias is None else camera.bias.region
    table = camera.geometry[camera.arrtype]
    if region is not None and not isinstance(table.get(region), dict):
        yield "bias.region", f"the geometry has no region {region!r}"
    elif region is not None and table[region]["rows"] != table["frame_rows"]:
        yield "bias.region", f"{region} does not reach over all rows"


def _files(camera: Camera) -> Problems:
    raw_bias = None if camera.raw is None else camera.raw.bias
    files = {
        "bias.file": None if camera.bias is None else camera.bias.file,
        "raw.bias.file": None if raw_bias is None else raw_bias.file,
        "linearity.file": None if camera.linearity is None else camera.linearity.path,
    }
    for key, file in files.items():
        if file is not None and not Path(file).is_file():
            yield key, f"{file}: no such file"


def _full_wells(camera: Camera) -> Problems:
    for name in ("full_well_image", "full_well_register"):
        if camera.cosmic_rays.search != "off" and math.isinf(getattr(camera.noise, name)):
            yield f"noise.{name}", f"is missing: {MEANINGS[f'noise.{name}']}, for [cosmic_rays]"


def _windows(camera: Camera) -> Problems:
    if not camera.frames.windows:
        return
    regions = set(camera.geometry[camera.arrtype]) - {"frame_rows", "frame_cols", "image"}
    if regions:
        yield "frames.windows", f"nobody knows where {', '.join(sorted(regions))} are in a window"
    rows, cols = frame_shape(camera.arrtype, camera.regions)
    image = camera.geometry[camera.arrtype]["image"]
    if (image["rows"], image["cols"]) != (rows, cols):
        yield "frames.windows", "the image region of such a camera is the whole frame"
    if camera.telemetry_rows[0] is not None:
        yield "frames.windows", "nobody knows where the telemetry rows are in a window"


def _counts(camera: Camera) -> Problems:
    for spelling, unit in camera.units.items():
        if unit is Unit.COUNT:
            yield f"units.{spelling}", "is no unit of samples; say by [counting] what is counted"
