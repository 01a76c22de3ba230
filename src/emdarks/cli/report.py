"""The command that writes reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from emdarks.cli import console
from emdarks.cli.options import (
    AsJson,
    CameraName,
    Exclude,
    KGain,
    MaskBits,
    Overwrite,
    Params,
    SkipBad,
    SkipKinds,
    SkipShare,
    ThreadCount,
    Where,
    conditions,
    detector_params,
    kinds,
    output_path,
)

__all__ = ["report"]


def report(
    products: Annotated[
        list[str],
        typer.Argument(
            metavar="PRODUCT...",
            help="Noise maps, darks and bad-pixel maps, each a page of its own; or frames (files, "
            "folders, quoted patterns, @list.txt), which together are a campaign.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            parser=output_path,
            metavar="PATH",
            help="File to write, or a folder: PRODUCT_report.html, campaign_report.html.",
            show_default=False,
        ),
    ],
    png: Annotated[
        Path | None, typer.Option("--png", metavar="DIR", help="Folder for the figures as files.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="OLD", help="Earlier product: has anything changed?"),
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option(
            "--frames",
            metavar="FRAMES",
            help="Frames that noise maps were made of, for the check of their errors; may be "
            "repeated.",
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check", metavar="FILE", help="Result of emdarks check --json, instead of --frames."
        ),
    ] = None,
    camera: CameraName = None,
    params: Params = None,
    kgain: KGain = None,
    mask_bits: MaskBits = None,
    where: Where = None,
    exclude: Exclude = None,
    skip_bad_frames: SkipBad = False,
    skip: SkipKinds = None,
    skip_share: SkipShare = 0.1,
    threads: ThreadCount = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a page about noise maps, darks, bad pixels or a campaign: figures, verdict, what to do.

    Each page is one HTML file that needs no other.
    Example: emdarks report maps.fits -o report.html --frames darks/
    """
    if frames and check is not None:
        raise typer.BadParameter("give either --frames or --check")
    wanted, reasons = conditions(where), kinds(skip)
    with console.spoken():
        from emdarks.accumulate import Threads
        from emdarks.errors import InputError
        from emdarks.fits import is_url, local_path
        from emdarks.frames import select_frames, select_products
        from emdarks.report import report_on

        named, campaign = select_products(products)
        files = _reportable(named, bool(campaign))
        if is_url(output) and local_path(output) is None:
            raise InputError(f"{output}: is a URL; name a folder or file of this machine")
        reads = (against, check, camera, params)
        folder = Path(local_path(output) or output)
        paths = _targets(folder, files, bool(campaign), overwrite, reads)
        subjects: list[Any] = [*files]
        if campaign:
            subjects.append(
                select_frames(campaign, camera, wanted, exclude=exclude or (), skip_bad_frames=True)
            )
        checked = (
            select_frames(
                frames, camera, wanted, exclude=exclude or (), skip_bad_frames=skip_bad_frames
            )
            if frames
            else None
        )
        pages = [
            report_on(
                subject,
                against=against,
                frames=checked,
                check=check,
                name=_campaign_name(campaign),
                camera=camera,
                kgain=kgain,
                mask_bits=mask_bits,
                skip_bad_frames=skip_bad_frames,
                skip=reasons,
                skip_share=skip_share,
                detector_params=detector_params(params),
                executor=Threads(threads),
            )
            for subject in subjects
        ]
        for page, path in zip(pages, paths, strict=True):
            page.save(path, png, f"{path.stem}_" if len(paths) > 1 else "")
            if not as_json:
                _tell(page, path)
        if as_json:
            both = zip(pages, paths, strict=True)
            opened = [each for each in (*subjects, checked) if hasattr(each, "left_out")]
            unused = [file for each in opened for file in console.left_out(each)["files_left_out"]]
            made = [_result(page, path) for page, path in both]
            console.json_out({"reports": made, "files_left_out": unused})


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
    targets = [console.target(output, name, overwrite) for name in names]
    for one in targets:
        console.spare_files(one, (*files, *others))
    return [Path(str(one)) for one in targets]


def _campaign_name(arguments: Sequence[str]) -> str:
    """The folder of the frames, where there is one."""
    folders = {str(Path(name) if Path(name).is_dir() else Path(name).parent) for name in arguments}
    return Path(folders.pop()).resolve().name if len(folders) == 1 else "frames"


def _result(page: Any, path: Path) -> dict[str, Any]:
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


def _tell(page: Any, path: Path) -> None:
    console.say(f"{path}  {page.title}, {page.subtitle}")
    for item in page.advice:
        if item.severity in ("problem", "warning"):
            console.finding(item.severity, _plain(item.text))
    console.say(f"Can it be trusted? {_plain(page.verdict.words)}")


def _plain(text: str) -> str:
    """Words of a page where code cannot look like code."""
    return text.replace("`", "")
