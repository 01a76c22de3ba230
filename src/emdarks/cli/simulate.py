"""The command that makes up a campaign whose true maps are known."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
#: Names of what drifts, as `emdarks.simulate.Drift` has it.
_DRIFTS = {
    "F": "fixed_pattern",
    "C": "clock_induced_charge",
    "D": "dark_current",
    "gain": "gain",
    "noise": "read_noise",
}
#: Effects that have no option of their own, as `emdarks.simulate.Effects` has them.
_EFFECTS = (
    "flagged",
    "flagged_per_second",
    "row_bias",
    "err",
    "deferred_rows",
    "deferred_columns",
    "register_charge",
    "warming",
    "telegraph",
    "telegraph_current",
    "telegraph_cycle",
)
_CAMERAS = {Size.full: "excam", Size.small: "excam-small"}


@group
class Simulation:
    """The campaign that is made."""

    directory: Path = argument(REQUIRED, "Folder to write to.", metavar="DIR")
    camera: str | None = option(None, "Built-in camera or camera file.")
    mode: str | None = MODE
    frames: int = option(10, "Frames of each stack.", min=1)
    stack: list[str] | None = option(
        None,
        "A stack: EM gain, exposure time in seconds, and its frames where they are not --frames; "
        "may be repeated; default: six stacks.",
        metavar="GAIN,TIME[,FRAMES]",
        in_file=False,
    )
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
    detector: Path | None = option(
        None,
        "truth.fits of an earlier campaign: the same detector again.",
        metavar="TRUTH",
        in_file=False,
    )
    date: str | None = option(
        None, "When the first frame begins (ISO 8601, UTC); default: 2026-01-01.", in_file=False
    )
    drift: list[str] | None = option(
        None,
        "How the detector has changed: D=1.1, C=, gain=, noise= are factors, F=2 is added (EM e-); "
        "may be repeated.",
        metavar="NAME=NUMBER",
        in_file=False,
    )
    effect: list[str] | None = option(
        None,
        "What else disturbs the frames: register_charge=0.002 (e-/pixel/frame), warming=2 (K an "
        "hour), deferred_rows=, deferred_columns=, telegraph= (shares), telegraph_current= (e-/s), "
        "telegraph_cycle= (s), row_bias=, err= (EM e-), flagged=, flagged_per_second= (shares); "
        "may be repeated.",
        metavar="NAME=NUMBER",
        in_file=False,
    )
    saturation: bool = option(False, "Cut samples at the full wells and flag them (32).")
    threads: int | None = THREADS

    def __post_init__(self) -> None:
        """Refuse two cameras, tails without length, and what is not of the form that it needs."""
        if self.camera is not None and self.size is not None:
            raise typer.BadParameter("give either --camera or --size")
        self.tail_length()
        self.drifts()
        self.stacks()
        self.more_effects()

    def chosen_camera(self) -> Camera:
        """The camera that is named, else that of the detector, else the default."""
        from emdarks.cameras import load_camera
        from emdarks.simulate import load_truth

        if self.detector is not None and self.camera is None and self.size is None:
            camera = load_truth(self.detector).camera
        else:
            camera = load_camera(self.camera or _CAMERAS[self.size or Size.full])
        return camera if self.mode is None else camera.in_mode(self.mode)

    def drifts(self) -> dict[str, float]:
        """Changes of ``--drift``, by the names of `emdarks.simulate.Drift`.

        Raises
        ------
        typer.BadParameter
            One is not of the form NAME=NUMBER, its name is unknown, or given twice.
        """
        return {
            _DRIFTS[name]: amount
            for name, amount in _assigned("drift", self.drift, "D=1.1", _DRIFTS).items()
        }

    def more_effects(self) -> dict[str, float]:
        """Effects of ``--effect``, by the names of `emdarks.simulate.Effects`.

        Raises
        ------
        typer.BadParameter
            As of `drifts`.
        """
        return _assigned("effect", self.effect, "register_charge=0.002", _EFFECTS)

    def stacks(self) -> list[tuple[float, float, int]] | None:
        """Stacks of ``--stack``; None where none is given.

        Raises
        ------
        typer.BadParameter
            One is not of the form GAIN,TIME or GAIN,TIME,FRAMES.
        """
        found = []
        for word in self.stack or []:
            try:
                gain, time, *own = word.split(",")
                (frames,) = own or (self.frames,)
                found.append((float(gain), float(time), int(frames)))
            except ValueError:
                raise typer.BadParameter(
                    f"--stack {word}: give GAIN,TIME or GAIN,TIME,FRAMES, as 1000,60,20"
                ) from None
        return found or None

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
            **self.more_effects(),
        )


def _assigned(
    of: str, words: Sequence[str] | None, example: str, names: Collection[str]
) -> dict[str, float]:
    """Numbers that are given as NAME=NUMBER, each name once."""
    found: dict[str, float] = {}
    for word in words or []:
        name, _, value = (part.strip() for part in word.partition("="))
        try:
            amount = float(value)
        except ValueError:
            raise typer.BadParameter(f"--{of} {word}: give NAME=NUMBER, as {example}") from None
        if name not in names:
            raise typer.BadParameter(f"--{of} {word}: the names are {', '.join(names)}")
        if name in found:
            raise typer.BadParameter(f"--{of} {word}: {name} is given twice")
        found[name] = amount
    return found


def simulate(*, made: Simulation, output: Output) -> None:
    """Write a dark campaign whose true maps are known.

    It has six stacks, or those of --stack. The folder gets the frames, truth.fits and
    campaign.toml.

    Example: emdarks simulate darks --size small --frames 20

    Example: emdarks simulate raw --level 1 --size small --rays 5 --tails long

    Example: emdarks simulate one --size small --stack 1000,60 --effect warming=2

    Example: emdarks simulate later --detector darks/truth.fits --date 2026-02-01
    """
    from emdarks.accumulate import available_cores
    from emdarks.simulate import Drift, simulate_campaign

    camera = made.chosen_camera()
    with console.progress("simulating", "frames") as advance:
        files = simulate_campaign(
            made.directory,
            camera,
            made.frames,
            made.seed,
            made.units.value,
            made.stacks(),
            effects=made.effects(camera),
            level=made.level.value,
            detector=made.detector,
            date=made.date,
            drift=Drift(**made.drifts()),
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
