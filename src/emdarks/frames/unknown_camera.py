"""Frames that the default camera did not write: what to say instead of reading them by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emdarks.cameras import load_camera
from emdarks.cameras.matching import cameras_that_fit
from emdarks.errors import MissingKeywordError

Headers = tuple[Mapping[str, Any], ...]


def has_keywords_of(camera: str, headers: Headers) -> bool:
    """Whether a header has a keyword by which this camera tells its EM gain or its k-gain.

    Exposure times have the same keyword in many cameras, and say nothing.
    """
    keys = load_camera(camera).keywords
    own = (*keys.commanded_gain, *keys.k_gain)
    return any(keyword in header for keyword in own for header in headers)


def foreign_frames(
    default: str, frames: int, path: str, headers: Headers, shape: tuple[int, int] | None
) -> MissingKeywordError:
    """The error that names the cameras which may be meant; none is ever chosen by itself.

    Parameters
    ----------
    default : str
        The camera that is taken where none is named.
    frames : int
        How many there are.
    path : str
        The first of them; empty where it has no file.
    headers : tuple of mappings
        Its headers.
    shape : tuple of int or None
        Its rows and columns.

    Returns
    -------
    MissingKeywordError
    """
    keys = load_camera(default).keywords
    lacking = " and no ".join((*keys.commanded_gain, *keys.k_gain))
    file = path or "FRAME"
    named = next((header["CAMERA"] for header in headers if "CAMERA" in header), None)
    text = (
        f"{path or 'the first frame'}{f' and {frames - 1} more' if frames > 1 else ''}: no camera "
        f"was given, and the header has no {lacking}, as frames of {default}, the default, have"
    )
    if named is not None:
        text += f"; its CAMERA card says {str(named)!r}: give that camera's file"
    fits = cameras_that_fit(headers, shape)
    if fits:
        listed = ", ".join(f"{fit.name} ({fit.found} of {fit.known} keywords)" for fit in fits)
        first = fits[0].name
        text += (
            f"; built-in cameras that fit it: {listed}; see how one reads it (emdarks cameras "
            f'{first} {file}) and choose it (--camera {first}, camera="{first}")'
        )
        text += f"; for any other: emdarks cameras --new NAME {file}"
    else:
        text += (
            f"; no built-in camera fits it: emdarks cameras --new NAME {file} writes a camera file "
            'to fill in; then choose it (--camera NAME.toml, camera="NAME.toml")'
        )
    return MissingKeywordError(text)
