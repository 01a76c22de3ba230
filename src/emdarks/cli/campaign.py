"""Commands about campaigns of dark frames: make one up, look at one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emdarks.cli import talk
from emdarks.cli.options import (
    AsJson,
    CameraName,
    CheckpointFolder,
    DaskAddress,
    Frames,
    MaskBits,
    Overwrite,
    Params,
    ThreadCount,
    detector_params,
)
from emdarks.cli.running import executor

__all__ = ["inspect", "simulate"]


class Units(StrEnum):
    """What simulated frames count."""

    DN = "DN"
    e = "e"


class Size(StrEnum):
    """Built-in cameras by the size of their frames."""

    full = "full"
    small = "small"


_CAMERAS = {Size.full: "excam", Size.small: "excam-small"}


def simulate(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write to.", show_default=False)
    ],
    camera: Annotated[
        str | None, typer.Option("--camera", help="Built-in camera or camera file.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of each stack.")] = 10,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The same seed makes the same frames.")
    ] = 0,
    units: Annotated[Units, typer.Option("--units", help="DN, or EM electrons.")] = Units.DN,
    size: Annotated[
        Size | None,
        typer.Option("--size", help="Frames of 1200 x 2200 pixels (excam, default) or 120 x 220."),
    ] = None,
    unflagged: Annotated[
        float,
        typer.Option("--unflagged", min=0.0, max=1.0, help="Share of unnoticed cosmic rays."),
    ] = 0.0,
    threads: ThreadCount = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a dark campaign of six stacks whose true maps are known.

    The folder gets the frames, truth.fits and campaign.toml. Example:
    emdarks simulate darks --size small --frames 20
    """
    if camera is not None and size is not None:
        raise typer.BadParameter("give either --camera or --size")
    with talk.spoken():
        from emdarks.execution import available_cores
        from emdarks.simulate import Effects, simulate_campaign

        with talk.progress("simulating", "frames") as advance:
            files = simulate_campaign(
                directory,
                camera or _CAMERAS[size or Size.full],
                frames,
                seed,
                units.value,
                effects=Effects(unflagged=unflagged),
                overwrite=overwrite,
                threads=threads or available_cores(),
                progress=advance,
            )
        talk.result(
            {
                "folder": str(directory),
                "camera": files.campaign.camera.name,
                "stacks": len(files.campaign.stacks),
                "frames": len(files.paths),
                "megabytes": round(sum(path.stat().st_size for path in files.paths) / 1e6, 1),
                "seed": seed,
                "truth": str(files.truth_path),
            },
            as_json,
        )


def inspect(
    frames: Frames,
    camera: CameraName = None,
    params: Params = None,
    mask_bits: MaskBits = None,
    threads: ThreadCount = None,
    dask: DaskAddress = None,
    checkpoint: CheckpointFolder = None,
    single_frames: Annotated[
        bool, typer.Option("--single-frames", help="Figures of every frame, too, with --json.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the stacks of a campaign, what can be made of them, and what will go wrong.

    Example: emdarks inspect darks/
    """
    with talk.spoken():
        from emdarks.cli.tables import campaign_table
        from emdarks.frames import select_frames
        from emdarks.inspection import inspect_campaign

        with executor(threads, dask, checkpoint) as who:
            summary = inspect_campaign(
                select_frames(frames),
                camera=camera,
                mask_bits=mask_bits,
                executor=who,
                detector_params=detector_params(params),
            )
        if as_json:
            talk.json_out(summary.as_dict(single_frames))
            return
        rows, cols = summary.shape
        talk.say(
            f"{summary.frames} frames of {rows} x {cols} pixels, camera {summary.camera}, "
            f"{len(summary.stacks)} stacks"
        )
        if summary.stacks:
            talk.people.print(campaign_table(summary, talk.people.width), soft_wrap=False)
        for finding in summary.findings:
            talk.finding(finding.severity, finding.text)
