"""The page of a campaign of dark frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import plots
from emdarks.check import CheckReport
from emdarks.inspection import CampaignSummary, StackSummary
from emdarks.report.checking import check_advice, check_section
from emdarks.report.numbers import count, number, percent
from emdarks.report.page import (
    WIDTH,
    Advice,
    Block,
    Column,
    Facts,
    Page,
    Picture,
    Section,
    Source,
    Table,
    Text,
)
from emdarks.report.stacks import stack_name

__all__ = ["campaign_page", "campaign_sections"]

Array = npt.NDArray[Any]

#: Names of frames shown for one finding.
NAMED = 40


def campaign_page(summary: CampaignSummary, name: str, check: CheckReport | None = None) -> Page:
    """Report on a campaign.

    Parameters
    ----------
    summary : CampaignSummary
        What one look at every frame has found.
    name : str
        What the campaign is called: its folder.
    check : CheckReport, optional
        The check without truth.
    """
    rows, cols = summary.shape
    size = f"frames of {rows} × {cols} pixels" if summary.stacks else "frames, none usable"
    return Page(
        title="A campaign of dark frames",
        subtitle=f"{name} · {count(summary.frames)} {size} · camera {summary.camera}",
        what=_what(summary),
        advice=[*_advice(summary), *check_advice(check)],
        steps=_steps(summary, name),
        glance=[Facts(_glance(summary))],
        sections=[*campaign_sections(summary), check_section(check), *_frames(summary)],
        untested=""
        if check
        else "Whether the frames agree with each other the check without "
        "truth tells: `emdarks check FRAMES`.",
    )


def campaign_sections(summary: CampaignSummary) -> list[Section]:
    """What is known of stacks and of single frames."""
    sections = [Section("campaign", "The frames, by stack", [_intro(summary), _table(summary)])]
    if summary.stacks:
        sections.append(_sequence(summary))
    return sections


# In front


def _what(summary: CampaignSummary) -> str:
    if not summary.stacks:
        return "Frames of which none can be used."
    gains = [stack.em_gain for stack in summary.stacks]
    times = [stack.exposure_time for stack in summary.stacks]
    return (
        f"{count(summary.frames)} dark frames in {len(summary.stacks)} stacks, of EM gains "
        f"{min(gains):,.6g} to {max(gains):,.6g} and exposure times {min(times):g} to "
        f"{max(times):g} s. Noise maps and master darks are made of them."
    )


def _advice(summary: CampaignSummary) -> list[Advice]:
    return [
        Advice(finding.severity, _sentence(finding.text), _sentence(finding.remedy))
        for finding in summary.findings
    ]


def _sentence(text: str) -> str:
    end = "" if not text or text.endswith("?") else "."
    return f"{text[:1].upper()}{text[1:]}{end}"


def _steps(summary: CampaignSummary, name: str) -> list[str]:
    if not summary.fittable:
        return ["Solve the problems above; `emdarks inspect FRAMES` looks again."]
    return [
        "Fit noise maps: `emdarks noisemaps FRAMES -o maps.fits`.",
        "Look at them, and let the frames check their errors: "
        "`emdarks report maps.fits --frames FRAMES -o maps.html`.",
    ]


def _glance(summary: CampaignSummary) -> list[tuple[str, str]]:
    facts = [
        ("frames", count(summary.frames)),
        ("stacks", count(len(summary.stacks))),
        ("noise maps can be fitted", "yes" if summary.fittable else "no"),
    ]
    if summary.stacks:
        used = sum(stack.frames for stack in summary.stacks)
        masked = sum(stack.masked * stack.frames for stack in summary.stacks) / used
        facts.append(("samples masked", percent(masked)))
    ends = np.array([stack.temperature for stack in summary.stacks], dtype=np.float64)
    if ends.size and np.isfinite(ends).any():
        low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
        facts.append(("detector temperature", f"{number(low, 4)} to {number(high, 4)} °C"))
    few = f"{count(summary.pixels.unfittable)} of {count(summary.pixels.imaging)}"
    facts.append(("pixels good in fewer than 4 stacks", few))
    return facts


# The stacks


def _intro(summary: CampaignSummary) -> Text:
    return Text(
        "Frames of one exposure time, EM gain and k-gain make a stack. Levels and scatters are EM "
        "electrons in the imaging area, flagged samples left out."
    )


def _table(summary: CampaignSummary) -> Table:
    rows = [
        [
            f"{stack.commanded_gain:,.6g}",
            f"{stack.em_gain:,.6g}",
            f"{stack.exposure_time:g}",
            number(stack.k_gain),
            count(stack.frames),
            percent(stack.masked),
            percent(stack.saturated),
            number(stack.level),
            number(stack.scatter),
            number(stack.prescan_level),
            count(stack.lost_pixels),
        ]
        for stack in summary.stacks
    ]
    return Table(
        [
            Column("EM gain", "asked for"),
            Column("EM gain", "used"),
            Column("time", "s"),
            Column("k-gain", "e⁻/DN"),
            Column("frames"),
            Column("masked", "of samples"),
            Column("saturated", "of samples"),
            Column("level", "EM e⁻"),
            Column("scatter", "EM e⁻"),
            Column("prescan", "EM e⁻"),
            Column("lost", "pixels"),
        ],
        rows,
        "Level and scatter: mean and standard deviation within a frame. Prescan: its level. Lost: "
        "pixels that are masked in every frame of the stack.",
    )


# Along the sequence


def _sequence(summary: CampaignSummary) -> Section:
    times, x = _times(summary)
    names = [stack_name(s.commanded_gain, s.exposure_time) for s in summary.stacks]
    levels = [_deviations(stack, summary.pixels.imaging) for stack in summary.stacks]
    shares = [
        np.array([100 * frame.figures.masked for frame in stack.frame_summaries])
        for stack in summary.stacks
    ]
    temperatures = [
        np.array([frame.temperature for frame in stack.frame_summaries]) for stack in summary.stacks
    ]
    warm = any(np.isfinite(values).any() for values in temperatures)
    panels = [("level", "standard errors", levels, 5.0), ("masked samples", "%", shares, None)]
    if warm:
        panels.append(("detector temperature", "°C", temperatures, None))
    figure = plots.new_figure(WIDTH, 2.5 * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (title, unit, values, limit) in zip(axes, panels, strict=True):
        stacks = dict(zip(names, zip(times, values, strict=True), strict=False))
        plots.sequence(stacks, x if ax is axes[-1] else "", unit, title, limit=limit, ax=ax)
        if ax is not axes[0] and ax.get_legend() is not None:
            ax.get_legend().remove()
    beyond = sum(int((np.abs(level) > 5).sum()) for level in levels)
    text = Text(
        "Each dot is a frame. Its level is shown against the median of its stack, in standard "
        "errors that follow from the scatter within the frame, hot pixels included. A trend is a "
        "drift of bias or dark current; a single frame far off saw light, or has a wrong gain. "
        f"{count(beyond)} of {count(sum(level.size for level in levels))} frames lie beyond 5 "
        "standard errors."
    )
    picture = Picture.of(
        "sequence",
        figure,
        "Level, share of masked samples and temperature of every frame along the sequence",
        "Grey: within 5 standard errors. Stacks differ in the shape and colour of their dots.",
    )
    return Section("sequence", "Along the sequence", [text, picture])


def _times(summary: CampaignSummary) -> tuple[list[Array], str]:
    """Hours since the first frame; numbers of frames where starts are not known."""
    starts = [
        np.array([frame.start for frame in stack.frame_summaries]) for stack in summary.stacks
    ]
    every = np.concatenate(starts)
    if np.isfinite(every).all() and np.ptp(every) > 0:
        return [24 * (start - every.min()) for start in starts], "hours since the first frame"
    first = np.cumsum([0, *(start.size for start in starts)])
    return [first[i] + np.arange(start.size) for i, start in enumerate(starts)], "frame"


def _deviations(stack: StackSummary, pixels: int) -> Array:
    """Levels of the frames above their stack's median, in standard errors."""
    frames = [frame.figures for frame in stack.frame_summaries]
    level = np.array([frame.level for frame in frames])
    good = np.maximum(pixels * (1 - np.array([frame.masked for frame in frames])), 1)
    error = np.array([frame.scatter for frame in frames]) / np.sqrt(good)
    known = level[np.isfinite(level)]
    # The median: one bright frame must not make the others look dark.
    usual = np.median(known) if known.size else np.nan
    out: Array = np.divide(level - usual, error, where=error > 0, out=np.full_like(level, np.nan))
    return out


# Frames that findings name


def _frames(summary: CampaignSummary) -> list[Section]:
    blocks: list[Block] = []
    for finding in summary.findings:
        if finding.frames:
            shown: Sequence[str] = finding.frames[:NAMED]
            rest = len(finding.frames) - len(shown)
            text = "\n".join([*shown, *([f"and {rest} more"] if rest else [])])
            title = f"{finding.severity}: {finding.topic} ({count(len(finding.frames))} frames)"
            blocks.append(Source(title, text))
    return [Section("frames", "Frames that were named", blocks)] if blocks else []
