"""The command that makes up a campaign whose true maps are known."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import typer

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, argument, group, option
from emdarks.cli.options import MODE, THREADS, Output

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


@group
class Simulation:
    """The campaign that is made."""

    directory: Path = argument(REQUIRED, "Folder to write to.", metavar="DIR")
    camera: str | None = option(None, "Built-in camera or camera file.")
    mode: str | None = MODE
    frames: int = option(10, "Frames of each stack.", min=1)
    seed: int = option(0, "The same seed makes the same frames.", min=0)
    units: Units = option(Units.DN, "DN, or EM electrons.")
    size: Size | None = option(None, "Frames of 1200 x 2200 pixels (excam, default) or 120 x 220.")
    unflagged: float = option(0.0, "Share of unnoticed cosmic rays.", min=0.0, max=1.0)
    saturation: bool = option(False, "Cut samples at the full wells and flag them (32).")
    threads: int | None = THREADS

    def __post_init__(self) -> None:
        """Refuse two cameras."""
        if self.camera is not None and self.size is not None:
            raise typer.BadParameter("give either --camera or --size")


def simulate(*, made: Simulation, output: Output) -> None:
    """Write a dark campaign of six stacks whose true maps are known.

    The folder gets the frames, truth.fits and campaign.toml.

    Example: emdarks simulate darks --size small --frames 20
    """
    from emdarks.accumulate import available_cores
    from emdarks.simulate import Effects, simulate_campaign

    with console.progress("simulating", "frames") as advance:
        files = simulate_campaign(
            made.directory,
            made.camera or _CAMERAS[made.size or Size.full],
            made.frames,
            made.seed,
            made.units.value,
            effects=Effects(unflagged=made.unflagged, saturation=made.saturation),
            mode=made.mode,
            overwrite=output.overwrite,
            threads=made.threads or available_cores(),
            progress=advance,
        )
    console.result(
        {
            "folder": str(made.directory),
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
