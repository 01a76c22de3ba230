"""Commands about campaigns of dark frames: make one up, look at one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emdarks.cli import console
from emdarks.cli.options import (
    AsJson,
    CameraName,
    CheckpointFolder,
    DaskAddress,
    Exclude,
    Frames,
    KGain,
    MaskBits,
    ModeName,
    Overwrite,
    Params,
    ThreadCount,
    Where,
    conditions,
    detector_params,
)

if TYPE_CHECKING:
    from emdarks.checks import CampaignSummary

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
    mode: ModeName = None,
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
    saturation: Annotated[
        bool,
        typer.Option("--saturation", help="Cut samples at the full wells and flag them (32)."),
    ] = False,
    threads: ThreadCount = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a dark campaign of six stacks whose true maps are known.

    The folder gets the frames, truth.fits and campaign.toml.

    Example: emdarks simulate darks --size small --frames 20
    """
    if camera is not None and size is not None:
        raise typer.BadParameter("give either --camera or --size")
    with console.spoken():
        from emdarks.accumulate import available_cores
        from emdarks.simulate import Effects, simulate_campaign

        with console.progress("simulating", "frames") as advance:
            files = simulate_campaign(
                directory,
                camera or _CAMERAS[size or Size.full],
                frames,
                seed,
                units.value,
                effects=Effects(unflagged=unflagged, saturation=saturation),
                mode=mode,
                overwrite=overwrite,
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
                "seed": seed,
                "truth": str(files.truth_path),
            },
            as_json,
        )


_PICTURES = (".png", ".pdf", ".svg")


def inspect(
    frames: Frames,
    where: Where = None,
    exclude: Exclude = None,
    camera: CameraName = None,
    params: Params = None,
    kgain: KGain = None,
    mask_bits: MaskBits = None,
    threads: ThreadCount = None,
    dask: DaskAddress = None,
    checkpoint: CheckpointFolder = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw the levels of all frames to this file (.png, .pdf, .svg).",
        ),
    ] = None,
    write_good: Annotated[
        Path | None,
        typer.Option(
            "--write-good",
            metavar="FILE",
            help="List the files that no problem or warning names here; @FILE gives them to other "
            "commands.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Show the stacks of a campaign, what can be made of them, and what is wrong.

    Bad frames are named, with what to do; the last line says whether the campaign is usable.

    Exit 1 where it is not.

    Example: emdarks inspect darks/

    Example: emdarks inspect darks/ --quiet --plot levels.png
    """
    if plot is not None and plot.suffix.lower() not in _PICTURES:
        raise typer.BadParameter(f"--plot {plot}: give a file name that ends in .png, .pdf or .svg")
    wanted = conditions(where)
    with console.spoken():
        from emdarks.checks import inspect_campaign
        from emdarks.frames import select_frames

        picture = plot and Path(str(console.target(plot, "levels.png", overwrite)))
        good = write_good and Path(str(console.target(write_good, "good.txt", overwrite)))
        dataset = select_frames(frames, camera, wanted, exclude=exclude or (), skip_bad_frames=True)
        with console.streaming(
            "inspecting", len(dataset), threads, "judging", dask, checkpoint
        ) as executor:
            summary = inspect_campaign(
                dataset,
                camera=camera,
                kgain=kgain,
                mask_bits=mask_bits,
                executor=executor,
                detector_params=detector_params(params),
            )
        if picture is not None:
            _draw(summary, picture)
        if as_json:
            console.json_out(summary.as_dict(single_frames=True) | console.left_out(dataset))
        else:
            _show(summary)
        if good is not None:
            _list_good(dataset, summary, good)
        if not summary.fittable:
            raise typer.Exit(1)


def _show(summary: CampaignSummary) -> None:
    """Table, findings and verdict, for people."""
    from emdarks.cli.tables import campaign_table

    rows, cols = summary.shape
    size = f" of {rows} x {cols} pixels" if summary.stacks else ", none of them usable"
    k_gains = {stack.k_gain for stack in summary.stacks}
    console.say(
        f"{summary.frames} frames{size}, camera {summary.camera}, "
        f"{len(summary.stacks)} {'stack' if len(summary.stacks) == 1 else 'stacks'}"
        + (f", k-gain {k_gains.pop():g}" if len(k_gains) == 1 else "")
    )
    if summary.stacks:
        console.show(campaign_table(summary))
    for finding in summary.findings:
        console.finding(finding.severity, finding.text, finding.remedy, finding.frames)
    console.verdict(summary.verdict)


def _list_good(dataset: Any, summary: CampaignSummary, path: Path) -> None:
    """Write the list of good files, and say what is on it."""
    import warnings

    from emdarks.checks.good_files import good_files, write_list
    from emdarks.errors import EmdarksWarning

    files, mixed = good_files(dataset, summary)
    if mixed:
        warnings.warn(
            f"{path}: {console.file_names(mixed)} not listed, since a list takes whole cubes, and "
            "some of their frames are named; leave those out by --skip or --skip-bad-frames",
            EmdarksWarning,
            stacklevel=2,
        )
    write_list(path, files)
    console.say(f"{path}: lists {len(files)} {'file' if len(files) == 1 else 'files'}")


def _draw(summary: Any, path: Path) -> None:
    """Levels of single frames as a figure file, whole or not at all."""
    from emdarks.errors import InputError
    from emdarks.fits import whole_file
    from emdarks.plots import frame_levels

    axes = frame_levels(summary)
    if not axes:
        raise InputError(f"{path}: not written, there is no frame to draw")
    figure: Any = axes[0].figure
    ending = path.suffix.lower().removeprefix(".")
    with whole_file(path) as file:
        figure.savefig(file, format=ending, dpi=150)
