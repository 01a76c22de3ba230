"""The command that looks at a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import arguments, group, option
from emdarks.cli.options import MASK_BITS, Execution, Frames, Output, RawFrames
from emdarks.cli.output_files import output_file
from emdarks.cli.prologue import open_frames, streaming

if TYPE_CHECKING:
    from emdarks.checks import CampaignSummary

_PICTURES = (".png", ".pdf", ".svg")


@group
class Files:
    """Files that are written beside the result."""

    plot: Path | None = option(
        None,
        "Draw the levels of all frames to this file (.png, .pdf, .svg).",
        metavar="FILE",
        in_file=False,
    )
    write_good: Path | None = option(
        None,
        "List the files that no problem or warning names here; @FILE gives them to other commands.",
        metavar="FILE",
        in_file=False,
    )

    def __post_init__(self) -> None:
        """Refuse a picture of an unknown format."""
        if self.plot is not None and self.plot.suffix.lower() not in _PICTURES:
            raise typer.BadParameter(
                f"--plot {self.plot}: give a file name that ends in .png, .pdf or .svg"
            )


def inspect(
    *,
    frames: Frames,
    raw: RawFrames,
    mask_bits: int | None = MASK_BITS,
    execution: Execution,
    files: Files,
    output: Output,
) -> None:
    """Show the stacks of a campaign, what can be made of them, and what is wrong.

    Bad frames are named, with what to do; the last line says whether the campaign is usable.

    Exit 1 where it is not.

    Example: emdarks inspect darks/

    Example: emdarks inspect darks/ --quiet --plot levels.png
    """
    from emdarks.checks import inspect_campaign

    settings = arguments(raw)
    picture = _target(files.plot, "levels.png", output)
    good = _target(files.write_good, "good.txt", output)
    dataset = open_frames(frames, raw, skip_bad_frames=True)
    with streaming(execution, "inspecting", len(dataset), "judging") as executor:
        summary = inspect_campaign(dataset, mask_bits=mask_bits, executor=executor, **settings)
    if picture is not None:
        _draw(summary, picture)
    if output.as_json:
        console.json_out(summary.as_dict(single_frames=True) | console.left_out(dataset))
    else:
        _show(summary)
    if good is not None:
        _list_good(dataset, summary, good)
    if not summary.fittable:
        raise typer.Exit(1)


def _target(file: Path | None, name: str, output: Output) -> Path | None:
    """A file that may be written, or the one of a folder; None where none is asked for."""
    return None if file is None else Path(str(output_file(file, name, output.overwrite)))


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
