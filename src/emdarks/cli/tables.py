"""Campaigns, and what is thought of them, as tables for people."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from emdarks.cameras import Camera, Explained
from emdarks.checks import CampaignSummary, StackSummary
from emdarks.checks.formatting import between, count, in_errors, measured, number
from emdarks.cli.console import one_line
from emdarks.datasheet import Change, DataSheet
from emdarks.half_split import CheckReport
from emdarks.library import Entry
from emdarks.products.provenance import iso_date

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


_SHEET_CAPTION = (
    "±: half of the interval that holds the true value in 68 % of all cases. frames: how many more "
    "of the same kind halve it"
)
_SHEET_COLUMNS: tuple[tuple[str, JustifyMethod], ...] = (
    ("quantity", "left"),
    ("gain, time", "left"),
    ("value", "right"),
    ("unit", "left"),
    ("frames", "right"),
)
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


def sheet_table(sheet: DataSheet) -> Table:
    """The quantities of a data sheet that are known."""
    table = Table(
        box=box.SIMPLE_HEAD, caption=_SHEET_CAPTION, caption_justify="left", padding=(0, 1, 0, 0)
    )
    for title, justify in _SHEET_COLUMNS:
        whole = title in ("value", "frames")
        table.add_column(title, justify=justify, no_wrap=whole, overflow="fold")
    for each in sheet.quantities:
        if each.known:
            value = between(each.value, each.low, each.high, each.unit == "pixels")
            more = count(each.frames_to_halve)
            table.add_row(*map(_plain, (each.label, each.of, value, each.unit, more)))
    return table


def _plain(text: str) -> str:
    """Text with plain spaces between thousands."""
    return one_line(text.replace("\N{NARROW NO-BREAK SPACE}", " "))


def changes_table(changes: Sequence[Change], name: str, other: str) -> Table:
    """Differences of two data sheets."""
    caption = f"difference: {one_line(name)} less {one_line(other)}, with its 1-sigma error"
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    titles = (
        "quantity",
        "gain, time",
        one_line(other),
        one_line(name),
        "difference",
        "sigmas",
        "unit",
    )
    for title in titles:
        table.add_column(
            title,
            justify="left" if title in ("quantity", "gain, time", "unit") else "right",
            no_wrap=title == "difference",
        )
    for each in changes:
        if each.told:
            values = (number(math.nan if q is None else q.value) for q in (each.before, each.after))
            words = (
                each.quantity.label,
                each.quantity.of,
                *values,
                measured(each.difference, each.error),
                in_errors(each.sigmas),
                each.quantity.unit,
            )
            table.add_row(*map(_plain, words))
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


_PRODUCTS_CAPTION = (
    "of: readout settings, EM gain, exposure time; those of the stacks of noise maps. error: that "
    "of a typical pixel of a dark, of noise maps at the largest gain and time; electrons"
)


def products_table(entries: Sequence[Entry]) -> Table:
    """Products of a library, one a row."""
    table = Table(box=box.SIMPLE_HEAD, caption=_PRODUCTS_CAPTION, caption_justify="left")
    for title in ("id", "kind", "camera", "of", "observed", "error", "use", "file"):
        table.add_column(title, justify="right" if title in ("id", "error") else "left")
    for entry in entries:
        words = (
            str(entry.id),
            entry.kind.words,
            entry.camera,
            _made_for(entry),
            iso_date(entry.begin)[:10] or "-",
            _typical_error(entry),
            _use(entry),
            entry.path,
        )
        style = "dim" if entry.rejected else ""
        table.add_row(*(Text(one_line(text), style=style) for text in words))
    return table


def _made_for(entry: Entry) -> str:
    known = (
        (entry.gain, "gain {:g}"),
        (entry.exposure_time, "{:g} s"),
        (entry.k_gain, "{:g} e-/DN"),
        (entry.threshold, "counted above {:g} e-"),
    )
    words = ["unknown settings" if entry.settings is None else entry.settings]
    words += [text.format(value) for value, text in known if math.isfinite(value)]
    if math.isfinite(entry.highest_gain):
        words += [
            f"gains {entry.lowest_gain:g} to {entry.highest_gain:g}, to {entry.longest_time:g} s"
        ]
    return ", ".join(filter(None, words)) or "-"


def _typical_error(entry: Entry) -> str:
    at = (
        entry.highest_gain if math.isfinite(entry.highest_gain) else entry.gain,
        entry.longest_time if math.isfinite(entry.longest_time) else entry.exposure_time,
    )
    error = entry.predicted_error(*at)
    return f"{error:.3g}" if math.isfinite(error) else "-"


def _use(entry: Entry) -> str:
    if entry.rejected:
        return f"rejected: {entry.rejected}"
    if not entry.certified:
        return "nearest in time"
    first, last = (iso_date(mjd)[:10] or "..." for mjd in (entry.valid_from, entry.valid_to))
    return f"{first} to {last}"
