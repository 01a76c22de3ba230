"""Camera files: TOML in, a validated `Camera` out."""

from __future__ import annotations

import os
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from emdarks.cameras.camera import Camera
from emdarks.cameras.schema_checks import check_camera
from emdarks.cameras.schema_errors import first_problem
from emdarks.errors import InputError

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
    camera = _in_its_mode(_validated(tables, origin, folder), origin)
    check_camera(camera, origin)
    return camera


def _tables_of(base: Any, origin: str) -> dict[str, Any]:
    if base not in BUILTIN:
        raise InputError(f"{origin}: like = {base!r} is not a built-in camera")
    tables = tomllib.loads(camera_text(base))
    parent = tables.pop("like", None)
    return tables if parent is None else _overlay(_tables_of(parent, origin), tables)


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables of ``over`` on ``base``, key by key.

    Geometry, bias and how frames are counted are replaced whole; own modes come before the others.
    """
    merged = dict(base)
    for key, value in over.items():
        known = base.get(key)
        whole = key in ("geometry", "bias", "counting")
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


def _validated(tables: dict[str, Any], origin: str, folder: Path) -> Camera:
    # Imported here: validation is needed only when a camera is loaded.
    from pydantic import ValidationError

    try:
        camera: Camera = _adapter().validate_python(tables, context=folder)
    except ValidationError as error:
        raise InputError(f"{origin}: {first_problem(error.errors(), Camera)}") from None
    return camera


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Camera)


def _in_its_mode(camera: Camera, origin: str) -> Camera:
    """The camera with the noise of the mode that is simulated, where the file names one."""
    wanted = camera.simulation.mode
    if wanted and camera.mode(wanted) is None:
        raise InputError(f"{origin}: key simulation.mode: there is no mode {wanted!r}")
    return camera.with_noise_in(wanted) if wanted else camera
