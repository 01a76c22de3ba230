"""The command that takes darks off frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emdarks.cli import console
from emdarks.cli.options import (
    AsJson,
    CameraName,
    Exclude,
    Frames,
    KGain,
    Overwrite,
    Params,
    Where,
    conditions,
    detector_params,
)

__all__ = ["subtract"]


def subtract(
    frames: Frames,
    dark: Annotated[
        Path,
        typer.Option(
            "--dark",
            metavar="DARK|MAPS",
            help="A dark of the frames' gain and time, or noise maps, for any gain and time.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder to write to, made if it is missing; files keep their names.",
            show_default=False,
        ),
    ],
    clipped: Annotated[
        bool, typer.Option("--clipped", help="Use the published maps, not the signed fit.")
    ] = False,
    camera: CameraName = None,
    params: Params = None,
    where: Where = None,
    exclude: Exclude = None,
    kgain: KGain = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Subtract darks from frames: photoelectrons, with errors and flags of both.

    Frames of any gains and times go together where --dark names noise maps.
    Example: emdarks subtract darks/ --dark maps.fits -o subtracted
    """
    wanted = conditions(where)
    with console.spoken():
        from emdarks.errors import InputError
        from emdarks.fits import is_url, local_path
        from emdarks.frames import frames_where, reads_extensions, select_frames
        from emdarks.subtract import save_subtracted, subtract_dark

        if is_url(output) and local_path(output) is None:
            raise InputError(f"{output}: is a URL; name a folder of this machine")
        folder = Path(local_path(output) or output)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder}: is a file; name a folder for the results")
        # Without the camera: its rule for darks would leave out what darks are taken off.
        dataset = select_frames(frames, exclude=exclude or (), extensions=reads_extensions(camera))
        if wanted:
            dataset = frames_where(dataset, wanted, camera)
        less = subtract_dark(
            dataset,
            dark,
            detector_params(params),
            use_signed=not clipped,
            camera=camera,
            kgain=kgain,
        )
        with console.progress("subtracting", "frames") as advance:
            save_subtracted(less, folder, overwrite=overwrite, progress=advance)
        shape = less[0].shape
        console.result(
            {
                "folder": str(folder),
                "frames": len(less),
                "dark": str(dark),
                "settings": len({frame.setting for frame in less}),
                "rows": shape[0],
                "columns": shape[1],
                "unit": less[0].ext_hdr["BUNIT"],
                **(console.left_out(dataset) if as_json else {}),
            },
            as_json,
        )
