"""The command that takes darks off frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, arguments, group, option
from emdarks.cli.options import CLIPPED, DAYS, LIBRARY, Frames, Output, RawFrames
from emdarks.cli.prologue import named_frames, output_folder, preparation, prepared

if TYPE_CHECKING:
    from emdarks.data import Dataset


@group
class Subtraction(Output):
    """The dark, and where frames without it are written."""

    dark: Path | None = option(
        None,
        "A dark of the frames' gain and time, or noise maps, for any gain and time.",
        metavar="DARK|MAPS",
    )
    library: Path | None = LIBRARY
    days: float | None = DAYS
    output: str = option(
        REQUIRED,
        "Folder to write to, made if it is missing; files keep their names.",
        *("--output", "-o"),
        metavar="DIR",
        in_file=False,
    )

    def __post_init__(self) -> None:
        """Refuse no dark, and two."""
        if (self.dark is None) == (self.library is None):
            raise typer.BadParameter("give either --dark or --library")
        if self.library is None and self.days is not None:
            raise typer.BadParameter("--days goes with --library")


def subtract(
    *, clipped: bool = CLIPPED, frames: Frames, raw: RawFrames, result: Subtraction
) -> None:
    """Subtract darks from frames: photoelectrons, with errors and flags of both.

    Frames of any gains and times go together where --dark names noise maps, frames of any cameras,
    settings and nights with --library; raw frames get their calibrations there, too. Counted frames
    ([counting] of the camera file) take a photon-counted dark or maps; of frames of 0 and 1 those
    of one setting become one.

    Example: emdarks subtract darks/ --dark maps.fits -o subtracted
    """
    settings = arguments(raw) | {"use_signed": not clipped}
    folder = output_folder(result.output)
    dataset = named_frames(frames, raw.camera)
    with console.progress("subtracting", "frames") as advance:
        if result.library is None:
            told = _one(prepared(dataset, raw), folder, result, settings, advance)
        else:
            told = _of_library(dataset, raw, folder, result, settings, advance)
    console.result({"folder": str(folder), **told}, result.as_json)


Advance = Callable[[int, int], None]


def _one(
    dataset: Dataset, folder: Path, result: Subtraction, settings: dict[str, Any], advance: Advance
) -> dict[str, Any]:
    """Subtract one dark, or those of one file of maps."""
    from emdarks.subtract import save_subtracted, subtract_dark

    less = subtract_dark(dataset, result.dark, **settings)
    save_subtracted(less, folder, overwrite=result.overwrite, progress=advance)
    shape = less[0].shape
    return {
        "frames": len(less),
        **_of_counts(less),
        "dark": str(result.dark),
        "settings": len({frame.setting for frame in less}),
        "rows": shape[0],
        "columns": shape[1],
        "unit": less[0].ext_hdr["BUNIT"],
        **(console.left_out(dataset) if result.as_json else {}),
    }


def _of_counts(less: Dataset) -> dict[str, int]:
    """In how many frames the electrons were counted, where they were."""
    found = [int(frame.ext_hdr["NUM_FR"]) for frame in less if frame.counted is not None]
    return {"counted_frames": sum(found)} if found else {}


def _of_library(
    dataset: Dataset,
    raw: RawFrames,
    folder: Path,
    result: Subtraction,
    settings: dict[str, Any],
    advance: Advance,
) -> dict[str, Any]:
    """Subtract from each frame the dark that a library has for it."""
    from emdarks.library import Library, subtract_by_library

    assert result.library is not None
    found = subtract_by_library(
        Library(result.library), dataset, days=result.days, preparation=preparation(raw), **settings
    )
    files = found.save(folder, overwrite=result.overwrite, progress=advance)
    darks = {share.dark.id: share.dark for share in found.shares}
    shown = {f"product_{number}": entry.path for number, entry in darks.items()}
    listed = {"products": list(darks), **console.left_out(dataset)}
    told = listed if result.as_json else shown
    return {"frames": len(files), "library": str(result.library), **told}
