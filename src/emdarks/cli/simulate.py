"""The command that makes up a campaign whose true maps are known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emdarks.cli import console
from emdarks.cli.options import ModeName, Output, ThreadCount

__all__ = ["simulate"]


class Units(StrEnum):
    """Units of simulated frames."""

    DN = "DN"
    e = "e"


class Size(StrEnum):
    """Built-in cameras by the size of their frames."""

    full = "full"
    small = "small"


_CAMERAS = {Size.full: "excam", Size.small: "excam-small"}


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The campaign that is made."""

    camera: Annotated[
        str | None, typer.Option("--camera", help="Built-in camera or camera file.")
    ] = None
    mode: ModeName = None
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of each stack.")] = 10
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The same seed makes the same frames.")
    ] = 0
    units: Annotated[Units, typer.Option("--units", help="DN, or EM electrons.")] = Units.DN
    size: Annotated[
        Size | None,
        typer.Option("--size", help="Frames of 1200 x 2200 pixels (excam, default) or 120 x 220."),
    ] = None
    unflagged: Annotated[
        float,
        typer.Option("--unflagged", min=0.0, max=1.0, help="Share of unnoticed cosmic rays."),
    ] = 0.0
    saturation: Annotated[
        bool,
        typer.Option("--saturation", help="Cut samples at the full wells and flag them (32)."),
    ] = False

    def __post_init__(self) -> None:
        """Refuse two cameras."""
        if self.camera is not None and self.size is not None:
            raise typer.BadParameter("give either --camera or --size")


def simulate(
    *,
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write to.", show_default=False)
    ],
    made: Simulation,
    threads: ThreadCount = None,
    output: Output,
) -> None:
    """Write a dark campaign of six stacks whose true maps are known.

    The folder gets the frames, truth.fits and campaign.toml.

    Example: emdarks simulate darks --size small --frames 20
    """
    from emdarks.accumulate import available_cores
    from emdarks.simulate import Effects, simulate_campaign

    with console.progress("simulating", "frames") as advance:
        files = simulate_campaign(
            directory,
            made.camera or _CAMERAS[made.size or Size.full],
            made.frames,
            made.seed,
            made.units.value,
            effects=Effects(unflagged=made.unflagged, saturation=made.saturation),
            mode=made.mode,
            overwrite=output.overwrite,
            threads=threads or available_cores(),
            progress=advance,
        )
    console.result(
        {
            "folder": str(directory),
            "camera": files.campaign.camera.name,
            "stacks": len(files.campaign.stacks),
            "frames": sum(stack.frames for stack in files.campaign.stacks),
            "files": len(files.paths),
            "megabytes": round(sum(path.stat().st_size for path in files.paths) / 1e6, 1),
            "seed": made.seed,
            "truth": str(files.truth_path),
        },
        output.as_json,
    )
