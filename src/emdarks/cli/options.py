"""Options that several commands have: each is declared once, and given out in groups.

A new option of all commands that read frames is one line in `RawFrames`.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from emdarks.cli.command import REQUIRED, argument, group, option

# Values


def output_path(text: str) -> str:
    """The file or folder named, or a URL; a slash at the end means a folder, which must be there.

    Of a URL only a store knows whether it is; it makes its folders itself.
    """
    from emdarks.fits import is_url, local_path

    path = local_path(text) or text
    if not is_url(path) and path.endswith(("/", os.sep)) and not Path(path).is_dir():
        raise typer.BadParameter(f"{text}: no such folder; create it first")
    return text


def output_option(text: str) -> Any:
    """The option ``--output``: a file, a folder or a URL."""
    return option(
        REQUIRED, text, "--output", "-o", metavar="PATH", parser=output_path, in_file=False
    )


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


def k_gain(given: str | None) -> float | None:
    """Electrons per DN: a number, or that of a k-gain file."""
    from emdarks.frames import k_gain_of

    found = k_gain_of(given)
    return None if found is None else found.value


class CosmicRays(StrEnum):
    """Sets of parameters of the search for cosmic rays."""

    standard = "standard"
    dark = "dark"
    off = "off"


class MapsModel(StrEnum):
    """The model that is fitted to the stacks of noise maps."""

    full = "full"
    level = "level"


class GainSource(StrEnum):
    """EM gains of the counting estimator."""

    header = "header"
    fitted = "fitted"


# Options of several groups

CAMERA = option(
    None,
    "Built-in camera or camera file; default: emdarks.toml beside the frames, their CAMERA card, "
    "EMDARKS_CAMERA, else excam.",
)
MODE = option(None, "Readout mode of the camera (emdarks cameras CAMERA --show).")
MODEL = option(
    MapsModel.full, "level: two maps, from stacks of one EM gain or of one exposure time."
)
GAIN_SOURCE = option(
    GainSource.header,
    "EM gains of the counting estimator: the headers', or those that the frames show.",
    keyword="gain",
)
FLAG_LEVEL = option(
    None,
    "Counting estimator: lowest level at which a sample can have been flagged, EM electrons.",
    min=0.0,
)
READ_NOISE = option(None, "Counting estimator: nominal read noise, EM electrons.", min=0.0)
KGAIN = option(None, "Electrons per DN, instead of the headers'.")
KGAIN_OR_FILE = option(
    None,
    "Electrons per DN, instead of the headers': a number, or a k-gain file (FITS).",
    metavar="FILE|NUMBER",
    convert=k_gain,
)
MASK_BITS = option(None, "DQ bits that exclude a sample; default: all.", min=0)
FULL_FRAME = option(False, "Whole frame instead of the image region.")
CLIPPED = option(
    False,
    "Use the published maps, not the signed fit.",
    keyword="use_signed",
    convert=lambda clipped: not clipped,
)
LIBRARY = option(
    None,
    "Library of calibrations (emdarks library), out of which each frame gets its own.",
    metavar="DIR",
    in_file=False,
)
DAYS = option(
    None,
    "How far from a frame a product of the library may be that is not certified; default: 30 days "
    "for darks and maps.",
    metavar="DAYS",
    min=0.0,
    in_file=False,
)
THREADS = option(None, "Threads; default: all cores.", min=1)
AS_JSON = option(False, "Machine-readable result on stdout.", "--json", in_file=False)


# Groups


@group
class Selection:
    """Which of the frames that are named are taken."""

    where: list[str] | None = option(
        None,
        "Only frames of this readout setting of the camera, such as conventional=F; may be given "
        "again.",
        metavar="KEY=VALUE",
        convert=conditions,
    )
    exclude: list[str] | None = option(
        None,
        "Files not to take: a file, folder, quoted pattern, URL or @list.txt; may be given again.",
        metavar="FRAMES",
        convert=lambda exclude: exclude or (),
    )


@group
class Frames(Selection):
    """Input frames."""

    frames: list[str] = argument(
        REQUIRED,
        "Files, folders, quoted patterns, URLs of these (s3://...), or @list.txt with one of "
        "these a line.",
        metavar="FRAMES",
        keyword="arguments",
    )


@group
class RawFrames:
    """How headers and pixels of frames become electrons; the last three are for level 1 alone."""

    camera: str | None = CAMERA
    params: Path | None = option(
        None,
        "Detector parameters (FITS): telemetry rows; full wells of raw frames.",
        keyword="detector_params",
        convert=detector_params,
    )
    kgain: str | None = KGAIN_OR_FILE
    nonlinearity: str | None = option(
        None,
        "Raw frames: nonlinearity table (FITS), or none to take them as linear.",
        metavar="FILE|none",
        passed=False,
    )
    offset: str | None = option(
        None,
        "Raw frames: noise maps whose bias offset they have, or none. Noise maps need no offset.",
        metavar="MAPS|none",
        passed=False,
    )
    cosmic_rays: CosmicRays | None = option(
        None,
        "Raw frames: how cosmic rays are searched; default: the camera file's.",
        passed=False,
    )


@group
class BadSamples:
    """Samples and frames that are not used."""

    mask_bits: int | None = MASK_BITS
    skip_bad_frames: bool = option(
        False, "Leave out frames that cannot be used; the product lists them."
    )
    skip: list[str] | None = option(
        None,
        "Leave out the frames that emdarks inspect names for this reason, too: saturated, empty, "
        "flags, light, cosmic, bias, level, noise, masked, search or temperature; may be given "
        "again.",
        metavar="KIND",
        convert=kinds,
    )
    skip_share: float = option(
        0.1,
        "With --skip-bad-frames or --skip: refuse where a larger share of the frames is bad.",
        metavar="SHARE",
        min=0.0,
        max=0.99,
    )


@group
class Execution:
    """Who computes."""

    threads: int | None = THREADS
    dask: str | None = option(
        None,
        "Run on a Dask cluster; local: a process for each core.",
        metavar="ADDRESS|local",
        in_file=False,
    )
    checkpoint: Path | None = option(
        None,
        "Keep finished blocks of frames here, and go on from them.",
        metavar="DIR",
        in_file=False,
    )


@group
class Output:
    """How results are told, and whether files are replaced."""

    overwrite: bool = option(False, "Replace what is there.", in_file=False)
    as_json: bool = AS_JSON


@group
class ProductOutput(Output):
    """Where a product is written."""

    output: str = output_option(
        "File to write, or a folder (documented file name); or a URL, a folder with / at its end."
    )


@group
class CalibrationOutput(Output):
    """Where a calibration product is written: to a file, into a library, or both."""

    output: str | None = option(
        None,
        "File to write, or a folder (documented file name); or a URL, a folder with / at its end.",
        *("--output", "-o"),
        metavar="PATH",
        parser=output_path,
        in_file=False,
    )
    add: Path | None = option(
        None,
        "Put the result into this library, too, or, without --output, there alone.",
        metavar="DIR",
        in_file=False,
    )

    def __post_init__(self) -> None:
        """Refuse a result that goes nowhere."""
        if self.output is None and self.add is None:
            raise typer.BadParameter("give --output, or a library to --add the result to")
