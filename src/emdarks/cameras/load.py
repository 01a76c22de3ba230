"""Camera files: TOML in, a validated `Camera` out."""

from __future__ import annotations

import tomllib
from dataclasses import is_dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from emdarks.cameras.camera import Camera
from emdarks.detector import imaging_area_geom
from emdarks.errors import GeometryError, InputError

__all__ = ["BUILTIN", "load_camera"]

#: Cameras that come with the package.
BUILTIN = ("excam", "excam-small", "excam-sample")


def load_camera(name: str | Camera) -> Camera:
    """Get a camera by name or from a file.

    Parameters
    ----------
    name : str or Camera
        A built-in camera (see `BUILTIN`), the path of a camera file (TOML), or
        a camera, which is returned as it is.

    Returns
    -------
    Camera

    Raises
    ------
    InputError
        There is no such camera, or the file is wrong; names the file and the key.

    Examples
    --------
    >>> from emdarks import load_camera
    >>> camera = load_camera("excam")
    >>> camera.noise.k_gain, camera.keywords.exposure_time
    (8.7, 'EXPTIME')
    """
    if isinstance(name, Camera):
        return name
    if name in BUILTIN:
        return _builtin(name)
    path = Path(name)
    if not path.is_file():
        raise InputError(
            f"camera {name!r} is neither built in ({', '.join(BUILTIN)}) nor a camera file"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    return _parse(text, str(path))


@cache
def _builtin(name: str) -> Camera:
    file = resources.files("emdarks.cameras") / "builtin" / f"{name}.toml"
    return _parse(file.read_text(encoding="utf-8"), f"built-in camera {name}")


def _parse(text: str, origin: str) -> Camera:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{origin}: is not valid TOML ({error})") from None
    base = tables.pop("like", None)
    if base is not None:
        tables = _overlay(_tables_of(base, origin), tables)
    return _validate(tables, origin)


def _tables_of(base: Any, origin: str) -> dict[str, Any]:
    if base not in BUILTIN:
        raise InputError(f"{origin}: like = {base!r} is not a built-in camera")
    file = resources.files("emdarks.cameras") / "builtin" / f"{base}.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    parent = tables.pop("like", None)
    return tables if parent is None else _overlay(_tables_of(parent, origin), tables)


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables of ``over`` on ``base``, key by key; the geometry is replaced whole."""
    merged = dict(base)
    for key, value in over.items():
        deeper = key != "geometry" and isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _overlay(base[key], value) if deeper else value
    return merged


def _validate(tables: dict[str, Any], origin: str) -> Camera:
    # Imported here: validation is needed only when a camera is loaded.
    from pydantic import TypeAdapter, ValidationError

    if isinstance(rows := tables.get("telemetry_rows"), list):
        # TOML has no null: an empty list means none, a missing stop "to the end".
        tables["telemetry_rows"] = [*rows, None, None][: max(2, len(rows))]
    if isinstance(units := tables.get("units"), dict):
        tables["units"] = {spelling.lower(): unit for spelling, unit in units.items()}
    _check_keys(tables, Camera, origin)
    try:
        camera = TypeAdapter(Camera).validate_python(tables)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{origin}: key {key}: {first['msg']}") from None
    _check_geometry(camera, origin)
    return camera


def _check_keys(tables: dict[str, Any], kind: type, origin: str, above: str = "") -> None:
    """Refuse keys that mean nothing: a misspelt one would leave a default in force."""
    known = get_type_hints(kind)
    for key, value in tables.items():
        if key not in known:
            raise InputError(f"{origin}: unknown key {above + key!r}")
        if is_dataclass(known[key]) and isinstance(value, dict):
            _check_keys(value, known[key], origin, f"{above}{key}.")


def _check_geometry(camera: Camera, origin: str) -> None:
    mode = camera.geometry.get(camera.arrtype)
    if mode is None:
        raise InputError(f"{origin}: geometry has no array type {camera.arrtype!r}")
    for key in ("frame_rows", "frame_cols", "image"):
        if key not in mode:
            raise InputError(f"{origin}: key geometry.{camera.arrtype}.{key} is missing")
    for name, value in mode.items():
        where = f"{origin}: key geometry.{camera.arrtype}.{name}"
        if name in ("frame_rows", "frame_cols"):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{where}: is {value!r}, not a number of pixels")
        else:
            _check_region(value, where, mode)
    try:
        imaging_area_geom(camera.arrtype, camera.geometry)
    except GeometryError as error:
        raise InputError(f"{origin}: key geometry.{camera.arrtype}: {error}") from None


def _check_region(region: Any, where: str, mode: dict[str, Any]) -> None:
    try:
        rows, cols, (row0, col0) = region["rows"], region["cols"], region["r0c0"]
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{where}: needs rows, cols and r0c0 = [row, column]") from None
    if not all(isinstance(number, int) for number in (rows, cols, row0, col0)):
        raise InputError(f"{where}: rows, cols and r0c0 must be whole numbers")
    inside = 0 <= row0 < row0 + rows <= mode["frame_rows"]
    if not (inside and 0 <= col0 < col0 + cols <= mode["frame_cols"]):
        raise InputError(f"{where}: does not lie inside the frame")
