"""The command that asks whether errors can be believed."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from emdarks.cli import console
from emdarks.cli.command import arguments, group, option
from emdarks.cli.options import (
    AS_JSON,
    FLAG_LEVEL,
    GAIN_SOURCE,
    MODEL,
    READ_NOISE,
    BadSamples,
    Execution,
    Frames,
    GainSource,
    MapsModel,
    RawFrames,
)
from emdarks.cli.prologue import open_frames, streaming

if TYPE_CHECKING:
    from emdarks.half_split import CheckReport


class CheckedEstimator(StrEnum):
    """Estimators whose errors can be checked."""

    pooled = "pooled"
    counting = "counting"


@group
class CheckedFit:
    """The fit whose errors are asked for."""

    estimator: CheckedEstimator = option(CheckedEstimator.pooled, "How values are estimated.")
    model: MapsModel = MODEL
    gain_source: GainSource = GAIN_SOURCE
    flag_level: float | None = FLAG_LEVEL
    read_noise: float | None = READ_NOISE


def check(
    *,
    fit: CheckedFit,
    frames: Frames,
    raw: RawFrames,
    bad: BadSamples,
    execution: Execution,
    as_json: bool = AS_JSON,
) -> None:
    """Can the errors be believed? Odd against even frames, drift, disagreeing stacks.

    Example: emdarks check darks/
    """
    from emdarks.half_split import check_darks

    settings = arguments(fit, raw, bad)
    dataset = open_frames(frames, raw, bad.skip_bad_frames)
    with streaming(execution, "reading", len(dataset), "fitting") as executor:
        report = check_darks(dataset, executor=executor, **settings)
    if as_json:
        console.json_out(report.as_dict() | console.left_out(dataset))
    else:
        _show(report)


def _show(report: CheckReport) -> None:
    """Table and words, for people."""
    from emdarks.cli.tables import check_table

    if report.stacks:
        console.show(check_table(report))
    pulls = ", ".join(f"{name} {std:.3f}" for name, std in report.pull_std.items())
    right = "1 is right, below 1 with so few frames" if report.few_frames else "1 is right"
    console.say(f"odd against even frames, scatter over error ({right}): {pulls}")
    for text in report.words:
        console.finding("fine" if report.believable else "problem", text)
