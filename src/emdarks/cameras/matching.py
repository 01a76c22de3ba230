"""Which built-in cameras the keywords of a header fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from emdarks.cameras.camera import Camera
from emdarks.cameras.load import BUILTIN, load_camera
from emdarks.detector import frame_shape

#: Share of a camera's keywords that a header must have for the camera to be suggested.
LEAST_SHARE = 0.5


class Fit(NamedTuple):
    """How many of a camera's keywords a header has.

    Attributes
    ----------
    name : str
        The camera.
    found, known : int
        Quantities and settings whose keyword is in the header, and all that the camera reads.
    """

    name: str
    found: int
    known: int


def cameras_that_fit(
    headers: tuple[Mapping[str, Any], ...], shape: tuple[int, int] | None = None
) -> list[Fit]:
    """Built-in cameras that could have written a header, best first.

    A camera fits if the header has every keyword without which the camera reads no frame, and
    at least half of all that it knows, and if the frame is not larger than its detector.

    Parameters
    ----------
    headers : tuple of mappings
        Searched in this order: image header, primary header.
    shape : tuple of int, optional
        Rows and columns of the frame.

    Returns
    -------
    list of Fit
        None of them is more than a suggestion: keywords do not prove which camera it was.
    """
    fits = []
    for name in BUILTIN:
        camera = load_camera(name)
        if (shape is not None and not _has_room(camera, shape)) or not all(
            _has(headers, keywords) for keywords in _needed(camera)
        ):
            continue
        known = [_has(headers, keywords) for keywords in _known(camera)]
        if sum(known) >= LEAST_SHARE * len(known):
            fits.append(Fit(name, sum(known), len(known)))
    return sorted(fits, key=lambda fit: (-fit.found / fit.known, -fit.found))


def _has(headers: tuple[Mapping[str, Any], ...], keywords: tuple[str, ...]) -> bool:
    return any(keyword in header for keyword in keywords for header in headers)


def _has_room(camera: Camera, shape: tuple[int, int]) -> bool:
    full = frame_shape(camera.arrtype, camera.regions)
    if camera.frames.windows:
        return shape[0] <= full[0] and shape[1] <= full[1]
    return shape == full


def _needed(camera: Camera) -> Iterator[tuple[str, ...]]:
    """Keywords without which the camera refuses a frame."""
    yield camera.keywords.exposure_time
    yield camera.keywords.commanded_gain
    if camera.sensitivity == ("header",):
        yield camera.keywords.k_gain
    if camera.conventional is not None and camera.conventional.absent is None:
        yield (camera.conventional.keyword,)


def _known(camera: Camera) -> Iterator[tuple[str, ...]]:
    """Keywords of each quantity and setting; those of the unit are every camera's."""
    keys = camera.keywords
    yield from (keys.exposure_time, keys.commanded_gain)
    yield from (names for names in (keys.temperature, keys.start) if names)
    if "header" in camera.sensitivity:
        yield keys.k_gain
    # A setting whose card may be missing says little about the camera.
    for names in camera.settings.values():
        meanings = (camera.values.get(name) for name in names)
        if not any(meaning is not None and meaning.absent is not None for meaning in meanings):
            yield names
    for rule in (camera.conventional, camera.darks, camera.mirrored):
        if rule is not None and (rule.keyword,) != keys.commanded_gain:
            yield (rule.keyword,)
