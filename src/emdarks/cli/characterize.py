"""The command that makes the data sheet of a camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import arguments, group, option
from emdarks.cli.options import (
    AS_JSON,
    FLAG_LEVEL,
    READ_NOISE,
    BadSamples,
    Execution,
    Frames,
    RawFrames,
)
from emdarks.cli.output_files import check_not_a_frame, check_not_read, local_output, output_file
from emdarks.cli.prologue import (
    campaign_name,
    figures_folder,
    open_frames,
    prepared,
    streaming,
)

if TYPE_CHECKING:
    from emdarks.datasheet import DataSheet
    from emdarks.frames import Dataset

#: Endings of the files that are written.
_ENDINGS = (".html", ".json")


@group
class SheetOutput:
    """Where the data sheet is written, and what it is compared with."""

    against: list[str] | None = option(
        None,
        "Frames of another device or date, or the data sheet (.json) of an earlier run: one table "
        "of the differences; may be repeated.",
        metavar="FRAMES|FILE",
        in_file=False,
    )
    output: list[str] | None = option(
        None,
        "File to write: a page (.html), or the data sheet for programs (.json); may be repeated.",
        *("--output", "-o"),
        metavar="FILE",
        in_file=False,
    )
    png: str | None = option(
        None, "Folder for the figures of the page as files.", metavar="DIR", in_file=False
    )
    overwrite: bool = option(False, "Replace what is there.", in_file=False)
    as_json: bool = AS_JSON

    def __post_init__(self) -> None:
        """Refuse files of an unknown kind, and figures of a page that is not made."""
        names = self.output or []
        for name in names:
            if Path(name).suffix not in _ENDINGS:
                raise typer.BadParameter(f"--output {name}: give a name in .html or .json")
        if self.png is not None and not any(name.endswith(".html") for name in names):
            raise typer.BadParameter("--png takes the figures of a page: give -o FILE.html, too")


@group
class SheetNoise:
    """What headers and camera do not say of the noise."""

    flag_level: float | None = FLAG_LEVEL
    read_noise: float | None = READ_NOISE


def characterize(
    *,
    noise: SheetNoise,
    frames: Frames,
    raw: RawFrames,
    bad: BadSamples,
    execution: Execution,
    output: SheetOutput,
) -> None:
    """Make the data sheet of a camera from its dark frames: noise, gain, charge, bad pixels.

    Frames of several EM gains and times tell most; of one stack alone the sheet says what it
    cannot know, and why.

    Example: emdarks characterize darks/ -o sheet.html
    """
    settings = arguments(noise, raw, bad)
    dataset = open_frames(frames, raw, bad.skip_bad_frames)
    paths, figures = _targets(output, dataset, raw), figures_folder(output.png)
    other = _other(output.against, raw, bad, execution, settings)
    sheet = _made(dataset, frames.frames, execution, settings)
    for path in paths:
        if path.suffix == ".json":
            sheet.save(path)
        else:
            _page(sheet, other).save(path, figures)
    if output.as_json:
        console.json_out(_values(sheet, other, paths) | console.left_out(dataset))
    else:
        _show(sheet, other, paths)


def _made(
    dataset: Dataset, names: Sequence[str], execution: Execution, settings: dict[str, Any]
) -> DataSheet:
    """Characterize, and show how far it has come."""
    from emdarks.datasheet import characterize

    with streaming(execution, "reading", len(dataset), "fitting") as executor:
        return characterize(dataset, name=campaign_name(names), executor=executor, **settings)


def _other(
    against: Sequence[str] | None,
    raw: RawFrames,
    bad: BadSamples,
    execution: Execution,
    settings: dict[str, Any],
) -> DataSheet | None:
    """The data sheet that the new one is compared with."""
    from emdarks.datasheet import DataSheet
    from emdarks.frames import select_frames

    if not against:
        return None
    if len(against) == 1 and against[0].endswith(".json"):
        return DataSheet.load(against[0])
    skipping = bad.skip_bad_frames
    opened = select_frames(against, camera=raw.camera, skip_bad_frames=skipping)
    return _made(prepared(opened, raw, skipping), against, execution, settings)


def _targets(output: SheetOutput, dataset: Dataset, raw: RawFrames) -> list[Path]:
    """Files to write; none that the command reads."""
    found = []
    for name in output.output or []:
        target = output_file(local_output(name), name, output.overwrite)
        check_not_a_frame(target, dataset)
        check_not_read(target, [*vars(raw).values(), *(output.against or [])])
        found.append(Path(str(target)))
    return found


def _page(sheet: DataSheet, other: DataSheet | None) -> Any:
    from emdarks.report.datasheet import datasheet_page

    return datasheet_page(sheet, other)


def _values(sheet: DataSheet, other: DataSheet | None, paths: Sequence[Path]) -> dict[str, Any]:
    """The data sheet, the differences, and what was written."""
    from emdarks.datasheet import changes, unlike

    values = sheet.as_dict() | {"files": [str(path) for path in paths]}
    if other is not None:
        values["against"] = other.name
        values["changes"] = [each.as_dict() for each in changes(sheet, other)]
        values["unlike"] = unlike(sheet, other)
    return values


def _show(sheet: DataSheet, other: DataSheet | None, paths: Sequence[Path]) -> None:
    """Tables, for people."""
    from emdarks.cli.tables import changes_table, sheet_table
    from emdarks.datasheet import UNLIKE, changes, unlike

    console.show(sheet_table(sheet))
    if other is not None:
        console.show(changes_table(changes(sheet, other), sheet.name, other.name))
        differing = "; ".join(unlike(sheet, other))
        if differing:
            console.finding("warning", f"{UNLIKE}{differing}")
    for what, why in sheet.unknown:
        console.finding("note", f"{why}; therefore not known: {what}")
    for note in sheet.notes:
        console.finding("note", note)
    for path in paths:
        console.say(f"written: {path}")
