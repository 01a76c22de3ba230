"""The command that takes darks off frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, arguments, group, option
from emdarks.cli.options import CLIPPED, Frames, Output, RawFrames

if TYPE_CHECKING:
    from emdarks.data import Dataset

__all__ = ["subtract"]


@group
class Subtraction(Output):
    """The dark, and where frames without it are written."""

    dark: Path = option(
        REQUIRED,
        "A dark of the frames' gain and time, or noise maps, for any gain and time.",
        metavar="DARK|MAPS",
    )
    output: str = option(
        REQUIRED,
        "Folder to write to, made if it is missing; files keep their names.",
        *("--output", "-o"),
        metavar="DIR",
        in_file=False,
    )


def subtract(
    *, clipped: bool = CLIPPED, frames: Frames, raw: RawFrames, result: Subtraction
) -> None:
    """Subtract darks from frames: photoelectrons, with errors and flags of both.

    Frames of any gains and times go together where --dark names noise maps.
    Example: emdarks subtract darks/ --dark maps.fits -o subtracted
    """
    from emdarks.subtract import save_subtracted, subtract_dark

    settings = arguments(raw)
    folder = _folder(result.output)
    dataset = _frames(frames, raw.camera)
    less = subtract_dark(dataset, result.dark, use_signed=not clipped, **settings)
    with console.progress("subtracting", "frames") as advance:
        save_subtracted(less, folder, overwrite=result.overwrite, progress=advance)
    shape = less[0].shape
    console.result(
        {
            "folder": str(folder),
            "frames": len(less),
            "dark": str(result.dark),
            "settings": len({frame.setting for frame in less}),
            "rows": shape[0],
            "columns": shape[1],
            "unit": less[0].ext_hdr["BUNIT"],
            **(console.left_out(dataset) if result.as_json else {}),
        },
        result.as_json,
    )


def _folder(name: str) -> Path:
    """The folder for the results.

    Raises
    ------
    InputError
        It is a URL or a file.
    """
    from emdarks.errors import InputError
    from emdarks.fits import is_url, local_path

    if is_url(name) and local_path(name) is None:
        raise InputError(f"{name}: is a URL; name a folder of this machine")
    folder = Path(local_path(name) or name)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the results")
    return folder


def _frames(frames: Frames, camera: str | None) -> Dataset:
    """Open the frames without the camera's rule for darks, which would leave out science frames."""
    from emdarks.frames import frames_where, reads_extensions, select_frames

    named = arguments(frames)
    wanted = named.pop("where")
    dataset = select_frames(**named, extensions=reads_extensions(camera))
    return frames_where(dataset, wanted, camera) if wanted else dataset
