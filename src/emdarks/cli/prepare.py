"""The command that makes frames of level 2a of raw frames."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, group, option
from emdarks.cli.options import THREADS, Frames, Output, RawFrames
from emdarks.cli.prologue import named_frames, output_folder, preparation


class Unit(StrEnum):
    """Units of prepared frames."""

    electron = "electron"
    dn = "dn"


@group
class Preparation(Output):
    """What becomes of raw frames, and where."""

    output: str = option(
        REQUIRED,
        "Folder to write to, made if it is missing.",
        *("--output", "-o"),
        metavar="DIR",
        in_file=False,
    )
    unit: Unit = option(Unit.electron, "EM electrons, or linear DN.", in_file=False)
    image_only: bool = option(
        False, "The image region alone, as science frames are used.", in_file=False
    )


def prepare(
    *, frames: Frames, raw: RawFrames, threads: int | None = THREADS, result: Preparation
) -> None:
    """Write raw frames (level 1) as frames of level 2a: no bias, flags, linear, electrons.

    The same steps that the other commands make of raw frames while they read them; --offset must
    be given, since darks need it: noise maps, or none.
    Example: emdarks prepare raw/ -o level_2a --offset none
    """
    from emdarks.frames import prepare_frames
    from emdarks.frames.prepared import check_offset
    from emdarks.frames.prepared_files import save_prepared

    folder = output_folder(result.output)
    dataset = prepare_frames(
        named_frames(frames, raw.camera),
        camera=raw.camera,
        image_only=result.image_only,
        in_dn=result.unit is Unit.dn,
        **preparation(raw),
    )
    check_offset(dataset, "a frame of level 2a")
    console.say(f"raw frames: {dataset.preparation}")
    with console.progress("preparing", "frames") as advance:
        advance(0, len(dataset))
        made = save_prepared(
            dataset, folder, overwrite=result.overwrite, threads=threads, progress=advance
        )
    values: dict[str, Any] = {
        "folder": str(folder),
        "frames": len(made.files),
        "over_saturated_frames": len(made.left_out),
        "repaired_rows": made.repaired_rows,
        "saturated_share": made.saturated,
        "cosmic_ray_share": made.cosmic_rays,
        "unit": result.unit.value,
    }
    unused = console.left_out(dataset) if result.as_json else {}
    console.result(values | unused, result.as_json)
