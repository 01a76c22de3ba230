"""All options that several commands have: each is declared once, and groups of them are classes.

A command takes groups as its arguments and gets one object for each; `emdarks.cli.command` makes
the options of the command line from the fields. The name of a field is the keyword of the public
functions that take the option, and the long name of the option is its key in ``emdarks.toml``;
`Use` states where that is different.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer


@dataclass(frozen=True, slots=True)
class Use:
    """How an option is used, where its name and type do not tell it.

    Attributes
    ----------
    argument : str, optional
        Keyword of the public functions; the name of the field by default.
    convert : callable, optional
        From the value of the option to that of the argument.
    in_file : bool
        Whether ``emdarks.toml`` may set it. A file beside frames may not choose where to write,
        what to replace, whom to connect to, or how a result is shown: whoever made the folder
        must not choose these.
    """

    argument: str = ""
    convert: Callable[[Any], Any] | None = None
    in_file: bool = True

    @classmethod
    def of(cls, annotation: Any) -> Use:
        """The use of an option by its annotation."""
        given = getattr(annotation, "__metadata__", ())
        return next((each for each in given if isinstance(each, cls)), cls())


#: For options that ``emdarks.toml`` may not set.
COMMAND_LINE_ONLY = Use(in_file=False)


def hints_of(group: type) -> dict[str, Any]:
    """Fields of a group of options, each with its annotation."""
    hints = get_type_hints(group, include_extras=True)
    return {field.name: hints[field.name] for field in fields(group)}


def arguments(*groups: Any) -> dict[str, Any]:
    """Keyword arguments of public functions that groups of options stand for.

    Raises
    ------
    typer.BadParameter
        The value of an option is wrong.
    InputError
        A file that an option names cannot be read.
    """
    found = {}
    for group in groups:
        for name, annotation in hints_of(type(group)).items():
            use, value = Use.of(annotation), getattr(group, name)
            convert = use.convert or _plain
            found[use.argument or name] = convert(value)
    return found


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


# ---------------------------------------------------------------- from text to values


def output_path(text: str) -> str:
    """The file or folder named, or a URL; a slash at the end means a folder, which must be there.

    Of a URL only a store knows whether it is; it makes its folders itself.
    """
    from emdarks.fits import is_url, local_path

    path = local_path(text) or text
    if not is_url(path) and path.endswith(("/", os.sep)) and not Path(path).is_dir():
        raise typer.BadParameter(f"{text}: no such folder; create it first")
    return text


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


# ---------------------------------------------------------------- options of several groups


class MapsModel(StrEnum):
    """The model that is fitted to the stacks of noise maps."""

    full = "full"
    level = "level"


CameraName = Annotated[
    str | None,
    typer.Option(
        "--camera",
        help="Built-in camera or camera file; default: emdarks.toml beside the frames, their "
        "CAMERA card, EMDARKS_CAMERA, else excam.",
    ),
]
ModeName = Annotated[
    str | None,
    typer.Option("--mode", help="Readout mode of the camera (emdarks cameras CAMERA --show)."),
]
ModelName = Annotated[
    MapsModel,
    typer.Option(
        "--model", help="level: two maps, from stacks of one EM gain or of one exposure time."
    ),
]
KGain = Annotated[
    float | None, typer.Option("--kgain", help="Electrons per DN, instead of the headers'.")
]
MaskBits = Annotated[
    int | None,
    typer.Option("--mask-bits", min=0, help="DQ bits that exclude a sample; default: all."),
]
FullFrame = Annotated[
    bool, typer.Option("--full-frame", help="Whole frame instead of the image region.")
]
Clipped = Annotated[
    bool,
    typer.Option("--clipped", help="Use the published maps, not the signed fit."),
    Use("use_signed", lambda clipped: not clipped),
]
ThreadCount = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads; default: all cores.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Machine-readable result on stdout."), COMMAND_LINE_ONLY
]


# ---------------------------------------------------------------- groups


@dataclass(frozen=True, kw_only=True)
class Verbosity:
    """How much is said; every command has it."""

    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Say more: every file of a finding, time, memory, tracebacks."
        ),
        COMMAND_LINE_ONLY,
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Say nothing but warnings and errors."),
        COMMAND_LINE_ONLY,
    ] = False


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which of the frames that are named are taken."""

    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="KEY=VALUE",
            help="Only frames of this readout setting of the camera, such as conventional=F; "
            "may be given again.",
            show_default=False,
        ),
        Use(convert=conditions),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="FRAMES",
            help="Files not to take: a file, folder, quoted pattern, URL or @list.txt; may be "
            "given again.",
            show_default=False,
        ),
        Use(convert=lambda exclude: exclude or ()),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Frames(Selection):
    """Input frames."""

    frames: Annotated[
        list[str],
        typer.Argument(
            metavar="FRAMES",
            help="Files, folders, quoted patterns, URLs of these (s3://...), or @list.txt with "
            "one of these a line.",
            show_default=False,
        ),
        Use("arguments"),
    ]


@dataclass(frozen=True, kw_only=True)
class RawFrames:
    """How pixels and headers of frames become electrons."""

    camera: CameraName = None
    params: Annotated[
        Path | None,
        typer.Option("--params", help="Detector parameters (FITS): telemetry rows."),
        Use("detector_params", detector_params),
    ] = None
    kgain: KGain = None


@dataclass(frozen=True, kw_only=True)
class BadSamples:
    """Samples and frames that are not used."""

    mask_bits: MaskBits = None
    skip_bad_frames: Annotated[
        bool,
        typer.Option(
            "--skip-bad-frames",
            help="Leave out frames that cannot be used; the product lists them.",
        ),
    ] = False
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip",
            metavar="KIND",
            help="Leave out the frames that emdarks inspect names for this reason, too: "
            "saturated, empty, flags, light, cosmic, bias, level, noise, masked or temperature; "
            "may be given again.",
            show_default=False,
        ),
        Use(convert=kinds),
    ] = None
    skip_share: Annotated[
        float,
        typer.Option(
            "--skip-share",
            min=0.0,
            max=0.99,
            metavar="SHARE",
            help="With --skip-bad-frames or --skip: refuse where a larger share of the frames is "
            "bad.",
        ),
    ] = 0.1


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Who computes."""

    threads: ThreadCount = None
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="ADDRESS|local",
            help="Run on a Dask cluster; local: a process for each core.",
        ),
        COMMAND_LINE_ONLY,
    ] = None
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="DIR",
            help="Keep finished blocks of frames here, and go on from them.",
        ),
        COMMAND_LINE_ONLY,
    ] = None


@dataclass(frozen=True, kw_only=True)
class Output:
    """How results are told, and whether files are replaced."""

    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there."), COMMAND_LINE_ONLY
    ] = False
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class ProductOutput(Output):
    """Where a product is written."""

    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            parser=output_path,
            metavar="PATH",
            help="File to write, or a folder (documented file name); or a URL, a folder with / "
            "at its end.",
            show_default=False,
        ),
        COMMAND_LINE_ONLY,
    ]
