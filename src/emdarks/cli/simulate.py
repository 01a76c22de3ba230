"""The command that makes up a campaign whose true maps are known."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, argument, group, option
from emdarks.cli.options import MODE, THREADS, Output

if TYPE_CHECKING:
    from emdarks.cameras import Camera
    from emdarks.simulate import Effects


class Units(StrEnum):
    """Units of simulated frames."""

    DN = "DN"
    e = "e"


class Size(StrEnum):
    """Built-in cameras by the size of their frames."""

    full = "full"
    small = "small"


class Level(StrEnum):
    """Levels of simulated frames."""

    raw = "1"
    reduced = "2a"


#: Names of lengths, as `emdarks.simulate.TAILS`, which would take long to import for this.
_TAILS = {"short": 13, "long": 60}
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
    level: Level = option(Level.reduced, "1: raw frames, with their calibrations and emdarks.toml.")
    rays: float | None = option(
        None,
        "Cosmic rays per cm2 and s; default: the camera's at level 1 (excam 5), none at 2a.",
        min=0.0,
        metavar="RATE",
    )
    tails: str = option(
        "short",
        "Samples from the start of a full plateau to the end of its tail: short 13, long 60.",
        metavar="short|long|NUMBER",
    )
    spoiled_rows: float = option(
        0.0,
        "At level 1, rows a frame (mean) with charge in the prescan that is not theirs.",
        min=0.0,
        metavar="NUMBER",
    )
    unflagged: float = option(0.0, "Share of unnoticed cosmic rays.", min=0.0, max=1.0)
    saturation: bool = option(False, "Cut samples at the full wells and flag them (32).")
    threads: int | None = THREADS

    def __post_init__(self) -> None:
        """Refuse two cameras, and tails without length."""
        if self.camera is not None and self.size is not None:
            raise typer.BadParameter("give either --camera or --size")
        self.tail_length()

    def tail_length(self) -> int:
        """Samples of ``--tails``.

        Raises
        ------
        typer.BadParameter
            Neither a name nor a whole number.
        """
        text = self.tails
        if text in _TAILS:
            return _TAILS[text]
        if text.isascii() and text.isdigit() and len(text) <= 4:
            return int(text)
        raise typer.BadParameter(
            f"--tails {text}: give {', '.join(_TAILS)} or a whole number of samples up to 9999"
        )

    def effects(self, camera: Camera) -> Effects:
        """Disturbances of the frames: of raw ones as the camera says, else shares of samples.

        Rays that are asked for stand in the place of the shares.
        """
        from emdarks.simulate import Effects

        if self.level is Level.raw:
            usual = Effects.of_level_1(camera)
        else:
            usual = Effects() if self.rays is None else Effects.none()
        return replace(
            usual,
            unflagged=self.unflagged,
            saturation=usual.saturation or self.saturation,
            rays=usual.rays if self.rays is None else self.rays,
            tails=self.tail_length(),
            spoiled_rows=self.spoiled_rows,
        )


def simulate(*, made: Simulation, output: Output) -> None:
    """Write a dark campaign of six stacks whose true maps are known.

    The folder gets the frames, truth.fits and campaign.toml.

    Example: emdarks simulate darks --size small --frames 20

    Example: emdarks simulate raw --level 1 --size small --rays 5 --tails long
    """
    from emdarks.accumulate import available_cores
    from emdarks.cameras import load_camera
    from emdarks.simulate import simulate_campaign

    camera = load_camera(made.camera or _CAMERAS[made.size or Size.full])
    camera = camera if made.mode is None else camera.in_mode(made.mode)
    with console.progress("simulating", "frames") as advance:
        files = simulate_campaign(
            made.directory,
            camera,
            made.frames,
            made.seed,
            made.units.value,
            effects=made.effects(camera),
            level=made.level.value,
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
