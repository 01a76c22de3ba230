"""Arguments and options that several commands have, each with the same words everywhere."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "AsJson",
    "CameraName",
    "CheckpointFolder",
    "DaskAddress",
    "Exclude",
    "Frames",
    "FullFrame",
    "KGain",
    "MapsModel",
    "MaskBits",
    "ModeName",
    "ModelName",
    "Output",
    "Overwrite",
    "Params",
    "SkipBad",
    "SkipKinds",
    "SkipShare",
    "ThreadCount",
    "Where",
    "conditions",
    "detector_params",
    "kinds",
]


def output_path(text: str) -> str:
    """The file or folder named, or a URL; a slash at the end means a folder, which must be there.

    Of a URL only a store knows whether it is; it makes its folders itself.
    """
    from emdarks.fits import is_url, local_path

    path = local_path(text) or text
    if not is_url(path) and path.endswith(("/", os.sep)) and not Path(path).is_dir():
        raise typer.BadParameter(f"{text}: no such folder; create it first")
    return text


class MapsModel(StrEnum):
    """What is fitted to the stacks of noise maps."""

    full = "full"
    level = "level"


ModelName = Annotated[
    MapsModel,
    typer.Option(
        "--model", help="level: two maps, from stacks of one EM gain or of one exposure time."
    ),
]
Frames = Annotated[
    list[str],
    typer.Argument(
        metavar="FRAMES",
        help="Files, folders, quoted patterns, URLs of these (s3://...), or @list.txt with one "
        "of these a line.",
        show_default=False,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        parser=output_path,
        metavar="PATH",
        help="File to write, or a folder (documented file name); or a URL, a folder with / at "
        "its end.",
        show_default=False,
    ),
]
CameraName = Annotated[
    str | None,
    typer.Option(
        "--camera",
        help="Built-in camera or camera file; default: emdarks.toml beside the frames, their "
        "CAMERA card, EMDARKS_CAMERA, else excam.",
    ),
]
Params = Annotated[
    Path | None, typer.Option("--params", help="Detector parameters (FITS): telemetry rows.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only frames of this readout setting of the camera, such as conventional=F; "
        "may be given again.",
        show_default=False,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="FRAMES",
        help="Files not to take: a file, folder, quoted pattern, URL or @list.txt; may be given "
        "again.",
        show_default=False,
    ),
]
ModeName = Annotated[
    str | None,
    typer.Option("--mode", help="Readout mode of the camera (emdarks cameras CAMERA --show)."),
]
KGain = Annotated[
    float | None, typer.Option("--kgain", help="Electrons per DN, instead of the headers'.")
]
MaskBits = Annotated[
    int | None,
    typer.Option("--mask-bits", min=0, help="DQ bits that exclude a sample; default: all."),
]
ThreadCount = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads; default: all cores.")
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad-frames", help="Leave out frames that cannot be used; the product lists them."
    ),
]
SkipKinds = Annotated[
    list[str] | None,
    typer.Option(
        "--skip",
        metavar="KIND",
        help="Leave out the frames that emdarks inspect names for this reason, too: saturated, "
        "empty, flags, light, cosmic, bias, level, noise, masked or temperature; may be given "
        "again.",
        show_default=False,
    ),
]
SkipShare = Annotated[
    float,
    typer.Option(
        "--skip-share",
        min=0.0,
        max=0.99,
        metavar="SHARE",
        help="With --skip-bad-frames or --skip: refuse where a larger share of the frames is bad.",
    ),
]
DaskAddress = Annotated[
    str | None,
    typer.Option(
        "--dask",
        metavar="ADDRESS|local",
        help="Run on a Dask cluster; local: a process for each core.",
    ),
]
CheckpointFolder = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="DIR",
        help="Keep finished blocks of frames here, and go on from them.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
FullFrame = Annotated[
    bool, typer.Option("--full-frame", help="Whole frame instead of the image region.")
]


def conditions(where: list[str] | None) -> dict[str, str]:
    """Settings and values of ``--where``.

    Raises
    ------
    typer.BadParameter
        One is not of the form KEY=VALUE, or a key is given twice.
    """
    found: dict[str, str] = {}
    for word in where or []:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not (name and equals and value):
            raise typer.BadParameter(f"--where {word}: give KEY=VALUE, such as conventional=F")
        if name in found:
            raise typer.BadParameter(f"--where {word}: {name} is given twice")
        found[name] = value
    return found


def kinds(skip: list[str] | None) -> tuple[str, ...]:
    """Reasons of ``--skip``.

    Raises
    ------
    typer.BadParameter
        There is no such reason.
    """
    if not skip:
        return ()
    from emdarks.checks.recipe_frames import KINDS

    for kind in skip:
        if kind not in KINDS:
            raise typer.BadParameter(f"--skip {kind}: give one of {', '.join(KINDS)}")
    return tuple(skip)


def detector_params(path: Path | None) -> Any:
    """Detector parameters in a file, or None where none is named."""
    from emdarks.data import DetectorParams

    return None if path is None else DetectorParams(path)
