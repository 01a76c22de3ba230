"""Campaigns, and what is thought of them, as tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from emdarks.cameras import Camera, Explained
from emdarks.checks import CampaignSummary, StackSummary
from emdarks.cli.console import one_line
from emdarks.half_split import CheckReport

_CAPTION = (
    "odd: frames that a warning names. masked: share of the samples in the imaging area. level, "
    "scatter: mean and standard deviation within a frame; noise: that of a pixel from frame to "
    "frame; EM electrons"
)
_GAIN_CAPTION = ". gain: EM gain that the samples show"


def campaign_table(summary: CampaignSummary) -> Table:
    """A row for each stack."""
    warnings = (*summary.worst("problem"), *summary.worst("warning"))
    odd = {name for finding in warnings for name in finding.frames}
    shown = any(math.isfinite(stack.fitted_gain) for stack in summary.stacks)
    caption = _CAPTION + (_GAIN_CAPTION if shown else "")
    table = Table(
        box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", padding=(0, 1, 0, 0)
    )
    # One k-gain for all stands above the table.
    several = len({stack.k_gain for stack in summary.stacks}) > 1
    titles = (*_SETTING, *(("k-gain",) if several else ()), *_FOUND, *(("gain",) if shown else ()))
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for stack in summary.stacks:
        named = sum(frame.name in odd for frame in stack.frame_summaries)
        table.add_row(
            f"{stack.commanded_gain:g}",
            f"{stack.exposure_time:g}",
            *((f"{stack.k_gain:g}",) if several else ()),
            f"{stack.frames}",
            f"{named or '-'}",
            f"{stack.masked:.2%}",
            _electrons(stack.level),
            _electrons(stack.noise),
            _electrons(stack.scatter),
            _degrees(stack),
            *((_shown_gain(stack),) if shown else ()),
            style="yellow" if named else None,
        )
    return table


_SETTING = ("EM gain", "time, s")
_FOUND = ("frames", "odd", "masked", "level", "noise", "scatter", "deg C")


def _shown_gain(stack: StackSummary) -> str:
    """EM gain that the samples show, and its error."""
    gain, error = stack.fitted_gain, stack.fitted_gain_error
    return f"{gain:.0f}±{error:.0f}" if math.isfinite(gain) else "-"


def _degrees(stack: StackSummary) -> str:
    """Temperature; lowest and highest where they differ visibly."""
    low, high = stack.temperature
    if not math.isfinite(low):
        return "-"
    return f"{(low + high) / 2:.1f}" if high - low < 0.5 else f"{low:.1f} {high:.1f}"


def _electrons(value: float) -> str:
    """A tenth of an electron below 1000, whole ones above."""
    if not math.isfinite(value):
        return "-"
    # Adding 0 turns -0.0 into 0.0.
    return f"{round(value, 1) + 0.0:.1f}" if abs(value) < 1000 else f"{value:.0f}"


_CHECK_CAPTION = (
    "misfit: image mean of the stack minus what all other stacks predict, EM electrons, and in "
    "standard errors. pulls: residuals of single pixels over their errors, median and robust "
    "scatter"
)


def check_table(report: CheckReport) -> Table:
    """How each stack agrees with the others."""
    table = Table(box=box.SIMPLE_HEAD, caption=_CHECK_CAPTION, caption_justify="left")
    for title in ("EM gain", "time, s", "misfit", "sigmas", "pull median", "pull scatter"):
        table.add_column(title, justify="right")
    for stack in report.stacks:
        table.add_row(
            f"{stack.gain:g}",
            f"{stack.exposure_time:g}",
            f"{stack.misfit:+.3g}",
            f"{stack.sigmas:+.1f}",
            f"{stack.pull_median:+.3f}",
            f"{stack.pull_scatter:.3f}",
        )
    return table


def cameras_table(cameras: Sequence[Camera]) -> Table:
    """Names and descriptions."""
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("camera", "description", "modes"):
        table.add_column(title, justify="right" if title == "modes" else "left")
    for camera in cameras:
        table.add_row(camera.name, camera.description, str(len(camera.modes) or "-"))
    return table


def explained_table(lines: Sequence[Explained]) -> Table:
    """What a camera makes of a header, line by line; what is wrong in red."""
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("quantity", "understood as", "from"):
        table.add_column(title, overflow="fold")
    for line in lines:
        style = "" if line.fine else "red"
        table.add_row(
            *(
                Text(one_line(text), style=style)
                for text in (line.quantity, line.value or "-", line.source)
            )
        )
    return table
