"""The command that writes reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, argument, arguments, group, option
from emdarks.cli.options import (
    THREADS,
    BadSamples,
    Output,
    RawFrames,
    Selection,
    output_option,
)
from emdarks.cli.output_files import check_not_read, local_output, output_file
from emdarks.cli.prologue import campaign_name, figures_folder, prepared

if TYPE_CHECKING:
    from emdarks.data import Dataset
    from emdarks.report import Page


@group
class PageOutput(Output):
    """Where pages are written."""

    output: str = output_option(
        "File to write, or a folder: PRODUCT_report.html, campaign_report.html."
    )


@group
class Subjects:
    """Products and frames that pages are about, and files that they are compared with."""

    products: list[str] = argument(
        REQUIRED,
        "Noise maps, darks and bad-pixel maps, each a page of its own; or frames (files, folders, "
        "quoted patterns, @list.txt), which together are a campaign.",
        metavar="PRODUCT...",
    )
    png: str | None = option(None, "Folder for the figures as files.", metavar="DIR", in_file=False)
    against: Path | None = option(None, "Earlier product: has anything changed?", metavar="OLD")
    frames: list[str] | None = option(
        None,
        "Frames that noise maps were made of, for the check of their errors; may be repeated.",
        metavar="FRAMES",
        in_file=False,
    )
    check: Path | None = option(
        None, "Result of emdarks check --json, instead of --frames.", metavar="FILE"
    )

    def __post_init__(self) -> None:
        """Refuse two sources of the check."""
        if self.frames and self.check is not None:
            raise typer.BadParameter("give either --frames or --check")


def report(
    *,
    about: Subjects,
    selection: Selection,
    raw: RawFrames,
    bad: BadSamples,
    threads: int | None = THREADS,
    output: PageOutput,
) -> None:
    """Write a page about noise maps, darks, bad pixels or a campaign: figures, verdict, what to do.

    Each page is one HTML file that needs no other.
    Example: emdarks report maps.fits -o report.html --frames darks/
    """
    from emdarks.accumulate import Threads
    from emdarks.frames import select_products
    from emdarks.report import report_on

    settings = arguments(raw, bad)
    named, campaign = select_products(about.products)
    files = _reportable(named, bool(campaign))
    reads = (about.against, about.check, *vars(raw).values())
    paths = _targets(local_output(output.output), files, bool(campaign), output.overwrite, reads)
    figures = figures_folder(about.png)
    dataset = _opened(campaign, selection, raw, skip_bad_frames=True)
    checked = _opened(about.frames or [], selection, raw, bad.skip_bad_frames)
    subjects: list[Any] = [*files] if dataset is None else [*files, dataset]
    pages = [
        report_on(
            subject,
            against=about.against,
            frames=checked,
            check=about.check,
            name=campaign_name(campaign),
            executor=Threads(threads),
            **settings,
        )
        for subject in subjects
    ]
    for page, path in zip(pages, paths, strict=True):
        page.save(path, figures, f"{path.stem}_" if len(paths) > 1 else "")
        if not output.as_json:
            _tell(page, path)
    if output.as_json:
        made = [_result(page, path) for page, path in zip(pages, paths, strict=True)]
        console.json_out({"reports": made, "files_left_out": _left_out(dataset, checked)})


def _opened(
    names: Sequence[str], selection: Selection, raw: RawFrames, skip_bad_frames: bool
) -> Dataset | None:
    """Frames of these names; None where there are none."""
    from emdarks.frames import select_frames

    if not names:
        return None
    chosen = arguments(selection)
    opened = select_frames(names, raw.camera, **chosen, skip_bad_frames=skip_bad_frames)
    return prepared(opened, raw, skip_bad_frames)


def _left_out(*datasets: Dataset | None) -> list[dict[str, Any]]:
    """Files of folders that were not taken, counted by reason."""
    opened = [dataset for dataset in datasets if dataset is not None]
    return [file for each in opened for file in console.left_out(each)["files_left_out"]]


def _reportable(named: Sequence[Path], with_campaign: bool) -> list[Path]:
    """Products that there are pages of; others that a pattern may have caught are left out."""
    import warnings

    from emdarks.errors import EmdarksWarning
    from emdarks.report import can_report

    files = [path for path in named if can_report(path)]
    if not files and not with_campaign:
        return list(named)
    for path in named:
        if path not in files:
            warnings.warn(
                f"{path}: left out, is neither noise maps nor a dark nor a bad-pixel map",
                EmdarksWarning,
                stacklevel=2,
            )
    return files


def _targets(
    output: Path,
    files: Sequence[Path],
    with_campaign: bool,
    overwrite: bool,
    others: Sequence[str | Path | None] = (),
) -> list[Path]:
    """One file a page; several pages need a folder.

    Raises
    ------
    InputError
        There are several pages and no folder for them, or a file is there already.
    """
    from emdarks.errors import InputError

    names = [f"{path.name.split('.fits')[0]}_report.html" for path in files]
    names += ["campaign_report.html"] * with_campaign
    if len(names) > 1 and not output.is_dir():
        raise InputError(f"{output}: is no folder; {len(names)} reports need one, create it first")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{output / twice}: several reports would get this name; make them apart")
    targets = [output_file(output, name, overwrite) for name in names]
    for one in targets:
        check_not_read(one, (*files, *others))
    return [Path(str(one)) for one in targets]


def _result(page: Page, path: Path) -> dict[str, Any]:
    return {
        "report": str(path),
        "about": page.title,
        "subject": page.subtitle,
        "verdict": page.verdict.severity,
        "words": _plain(page.verdict.words),
        "findings": [
            {"severity": item.severity, "text": _plain(item.text), "remedy": _plain(item.remedy)}
            for item in page.advice
        ],
        "megabytes": round(path.stat().st_size / 1e6, 3),
    }


def _tell(page: Page, path: Path) -> None:
    console.say(f"{path}  {page.title}, {page.subtitle}")
    for item in page.advice:
        if item.severity in ("problem", "warning"):
            console.finding(item.severity, _plain(item.text))
    console.say(f"Can it be trusted? {_plain(page.verdict.words)}")


def _plain(text: str) -> str:
    """Words of a page where code cannot look like code."""
    return text.replace("`", "")
