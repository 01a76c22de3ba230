"""Camera files: TOML in, a validated `Camera` out."""

from __future__ import annotations

import math
import os
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from emdarks.cameras.camera import Camera
from emdarks.cameras.schema_checks import check_camera
from emdarks.cameras.schema_errors import dataclass_in, problem_of, similar
from emdarks.errors import InputError

__all__ = ["BUILTIN", "camera_of_product", "camera_text", "load_camera"]

#: Cameras that come with the package.
BUILTIN = (
    "excam",
    "excam-small",
    "excam-sample",
    "sparc4",
    "shoc",
    "ixon-solis",
    "ixon-897",
    "nuvu",
)

#: What loading makes of the other keys; no camera file has it.
_MADE = "noise_of_no_mode"
#: Figures of a mode that stand for those of the camera when it is simulated.
_FIGURES = ("k_gain", "read_noise", "clock_induced_charge", "dark_current")


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
    >>> camera.name, camera.noise.k_gain
    ('excam', 8.7)
    """
    if not isinstance(name, (str, os.PathLike, Camera)):
        raise InputError(f"camera is {name!r}; give the name of a camera or of its file")
    if isinstance(name, Camera):
        return name
    if name in BUILTIN:
        return _builtin(name)
    path = Path(name)
    return _parse(camera_text(name), str(path), path.parent)


def camera_of_product(
    product: Any, camera: str | Camera | None = None, unknown_is_none: bool = False
) -> Camera | None:
    """Get the camera asked for, else the built-in one that a product's CAMERA card names.

    Parameters
    ----------
    product : Dark, DetectorNoiseMaps, or an object like one
        Has headers.
    camera : str or Camera, optional
        What a user asked for.
    unknown_is_none : bool
        None, no error, where the card names a camera that is not built in.

    Returns
    -------
    Camera or None
        With the geometry of whole frames; None where there is no card.

    Raises
    ------
    InputError
        The card names a camera that is not built in, and none was asked for.
    """
    if camera is not None:
        return load_camera(camera)
    headers = (getattr(product, name, None) or {} for name in ("ext_hdr", "pri_hdr"))
    named = next((header["CAMERA"] for header in headers if "CAMERA" in header), None)
    if named in BUILTIN:
        return load_camera(named)
    if named is None or unknown_is_none:
        return None
    raise InputError(
        f"{getattr(product, 'filename', '') or 'the product'}: was made with camera {named!r}, "
        "which is not built in; give its file (--camera, camera=)"
    )


def camera_text(name: str) -> str:
    """Text of a camera file, as it stands there.

    Parameters
    ----------
    name : str
        A built-in camera or the path of a camera file.

    Returns
    -------
    str

    Raises
    ------
    InputError
        There is no such camera, or the file cannot be read.
    """
    if name in BUILTIN:
        file = resources.files("emdarks.cameras") / "builtin" / f"{name}.toml"
        return file.read_text(encoding="utf-8")
    path = Path(name)
    if not path.is_file():
        raise InputError(
            f"camera {str(name)!r} is neither built in ({', '.join(BUILTIN)}) nor a camera file"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


@cache
def _builtin(name: str) -> Camera:
    return _parse(camera_text(name), f"built-in camera {name}", Path())


def _parse(text: str, origin: str, folder: Path) -> Camera:
    try:
        tables = tomllib.loads(text)
    # A number of thousands of digits, and brackets in brackets, fail in their own ways.
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{origin}: is not valid TOML ({error}); mend it") from None
    _check_twins(tables.get("modes"), origin)
    base = tables.pop("like", None)
    if base is not None:
        tables = _overlay(_tables_of(base, origin), tables)
    return _validate(tables, origin, folder)


def _tables_of(base: Any, origin: str) -> dict[str, Any]:
    if base not in BUILTIN:
        raise InputError(f"{origin}: like = {base!r} is not a built-in camera")
    tables = tomllib.loads(camera_text(base))
    parent = tables.pop("like", None)
    return tables if parent is None else _overlay(_tables_of(parent, origin), tables)


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables of ``over`` on ``base``, key by key.

    The geometry is replaced whole, and so is the bias; own modes come before the others.
    """
    merged = dict(base)
    for key, value in over.items():
        known = base.get(key)
        whole = key in ("geometry", "bias")
        if key == "modes" and isinstance(value, list) and isinstance(known, list):
            merged[key] = [*value, *known]
        elif not whole and isinstance(value, dict) and isinstance(known, dict):
            merged[key] = _overlay(known, value)
        else:
            merged[key] = value
    return merged


def _check_twins(modes: Any, origin: str) -> None:
    """Refuse two modes of one file that the same settings select: one would never count."""
    if not isinstance(modes, list):
        return
    seen = [mode.get("when") for mode in modes if isinstance(mode, dict)]
    for i, when in enumerate(seen):
        if when is not None and when in seen[:i]:
            raise InputError(f"{origin}: key modes.{i}.when: an earlier mode has the same")


def _validate(tables: dict[str, Any], origin: str, folder: Path) -> Camera:
    # Imported here: validation is needed only when a camera is loaded.
    from pydantic import TypeAdapter, ValidationError

    _check_keys(tables, Camera, origin)
    tables = _with_figures_of_mode(_normal(tables, folder), origin)
    try:
        camera = TypeAdapter(Camera).validate_python(tables)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) or '""' for part in first["loc"])
        raise InputError(f"{origin}: key {key}: {problem_of(first)}") from None
    check_camera(camera, origin)
    return camera


def _normal(tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Short forms of a camera file in full."""
    full = dict(tables)
    if isinstance(rows := full.get("telemetry_rows"), list):
        # TOML has no null: an empty list means none, a missing stop "to the end".
        full["telemetry_rows"] = [*rows, None, None][: max(2, len(rows))]
    if isinstance(units := full.get("units"), dict):
        full["units"] = {spelling.lower(): unit for spelling, unit in units.items()}
    for table in ("keywords", "settings"):
        if isinstance(names := full.get(table), dict):
            full[table] = {key: _listed(value) for key, value in names.items()}
    if "sensitivity" in full:
        full["sensitivity"] = _listed(full["sensitivity"])
    if isinstance(bias := full.get("bias"), dict) and isinstance(bias.get("file"), str):
        full["bias"] = {**bias, "file": str(folder / bias["file"])}
    return full


def _listed(value: Any) -> Any:
    """One name as a list of one; an empty name as none."""
    return ([value] if value else []) if isinstance(value, str) else value


def _with_figures_of_mode(tables: dict[str, Any], origin: str) -> dict[str, Any]:
    """The noise of the mode that is simulated, where the file names one."""
    simulation, noise = tables.get("simulation"), tables.get("noise", {})
    if isinstance(noise, dict):
        # What is in none of the two is looked for by the checks, or when it is needed.
        noise = dict.fromkeys(_FIGURES, math.nan) | noise
        tables = {**tables, "noise": noise}
    modes = tables.get("modes", [])
    if not isinstance(modes, list):
        raise InputError(f"{origin}: key modes: is {modes!r}, not a list of tables")
    wanted = simulation.get("mode") if isinstance(simulation, dict) else None
    if not wanted or not isinstance(noise, dict):
        return tables
    for mode in modes:
        if isinstance(mode, dict) and mode.get("name") == wanted:
            own = {key: mode[key] for key in _FIGURES if key in mode}
            return {**tables, "noise": {**noise, **own}, _MADE: noise}
    raise InputError(f"{origin}: key simulation.mode: there is no mode {wanted!r}")


def _check_keys(tables: dict[str, Any], kind: type, origin: str, above: str = "") -> None:
    """Refuse keys that mean nothing: a misspelt one would leave a default in force."""
    known = get_type_hints(kind)
    known.pop(_MADE, None)
    for key, value in tables.items():
        if key not in known:
            hint = similar(key, value, kind, Camera)
            raise InputError(f"{origin}: unknown key {above + key!r}; {hint}")
        inner = dataclass_in(known[key])
        if inner is None:
            continue
        for name, table in _tables_in(value, known[key], f"{above}{key}"):
            _check_keys(table, inner, origin, f"{name}.")


def _tables_in(value: Any, hint: Any, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Tables of one kind below a key: the value, or those of its list or dict."""
    if isinstance(value, list):
        found = [(f"{name}.{i}", item) for i, item in enumerate(value)]
    elif isinstance(value, dict) and getattr(hint, "__origin__", None) is dict:
        found = [(f"{name}.{key}", item) for key, item in value.items()]
    else:
        found = [(name, value)]
    return [(key, item) for key, item in found if isinstance(item, dict)]
