"""Campaigns, and what is thought of them, as tables for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from emdarks.cameras import Camera, Explained
from emdarks.check import CheckReport
from emdarks.inspection import CampaignSummary, StackSummary

__all__ = ["cameras_table", "campaign_table", "check_table", "explained_table"]

_CAPTION = (
    "masked: share of the samples in the imaging area. level, scatter: mean and standard "
    "deviation within a frame, EM electrons"
)
#: Widths that the grid takes: of its first column, and of each time, borders included.
_FIRST, _CELL = 11, 17


def campaign_table(summary: CampaignSummary, width: int) -> Table:
    """Gain x time grid of the stacks; a list of them where the grid would be too wide."""
    times = sorted({stack.exposure_time for stack in summary.stacks})
    if _FIRST + _CELL * len(times) > width:
        return _list(summary)
    return _grid(summary, times)


def _grid(summary: CampaignSummary, times: list[float]) -> Table:
    k_gains = {stack.k_gain for stack in summary.stacks}
    cells: dict[tuple[float, float], list[str]] = defaultdict(list)
    for stack in summary.stacks:
        key = stack.commanded_gain, stack.exposure_time
        cells[key].append(_cell(stack, with_k_gain=len(k_gains) > 1))
    table = Table(box=box.SIMPLE_HEAD, caption=_CAPTION, caption_justify="left", show_lines=True)
    table.add_column("EM gain", justify="right")
    for time in times:
        table.add_column(f"{time:g} s")
    for gain in sorted({stack.commanded_gain for stack in summary.stacks}):
        texts = ("\n".join(cells[gain, time]) if (gain, time) in cells else "-" for time in times)
        table.add_row(f"{gain:g}", *texts)
    return table


def _cell(stack: StackSummary, with_k_gain: bool) -> str:
    lines = [
        f"{stack.frames} frames" if stack.frames > 1 else "1 frame",
        f"masked {stack.masked:.2%}",
        f"level {_electrons(stack.level)}",
        f"scatter {_electrons(stack.scatter)}",
    ]
    if with_k_gain:
        lines.insert(0, f"k-gain {stack.k_gain:g}")
    return "\n".join(lines)


def _list(summary: CampaignSummary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, caption=_CAPTION, caption_justify="left")
    for title in ("EM gain", "time, s", "k-gain", "frames", "masked", "level", "scatter"):
        table.add_column(title, justify="right")
    for stack in summary.stacks:
        table.add_row(
            f"{stack.commanded_gain:g}",
            f"{stack.exposure_time:g}",
            f"{stack.k_gain:g}",
            f"{stack.frames}",
            f"{stack.masked:.2%}",
            _electrons(stack.level),
            _electrons(stack.scatter),
        )
    return table


def _electrons(value: float) -> str:
    """A tenth of an electron below 1000, whole ones above."""
    # Adding 0 turns -0.0 into 0.0.
    return f"{round(value, 1) + 0.0:.1f}" if abs(value) < 1000 else f"{value:,.0f}"


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
            *(Text(text, style=style) for text in (line.quantity, line.value or "-", line.source))
        )
    return table
