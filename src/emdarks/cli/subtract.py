"""The command that takes darks off frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, arguments, group, option
from emdarks.cli.options import CLIPPED, Frames, Output, RawFrames
from emdarks.cli.prologue import named_frames, output_folder, prepared

if TYPE_CHECKING:
    pass


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
    folder = output_folder(result.output)
    dataset = prepared(named_frames(frames, raw.camera), raw)
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
