"""The page of a campaign of dark frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import plots
from emdarks.check import CheckReport
from emdarks.inspection import CampaignSummary
from emdarks.report.checking import check_advice, check_section
from emdarks.report.numbers import count, number, observed, percent, setting
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

#: Standard errors from which on a frame is told of, as in the figure of levels.
BEYOND = 6.0
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
        observed=_observed(summary),
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
        f"{setting(min(gains))} to {setting(max(gains))} and exposure times {min(times):g} to "
        f"{max(times):g} s. Noise maps and master darks are made of them."
    )


def _advice(summary: CampaignSummary) -> list[Advice]:
    return [
        Advice(finding.severity, _sentence(finding.text), _sentence(finding.remedy))
        for finding in summary.findings
    ]


def _observed(summary: CampaignSummary) -> str:
    """From the start of the first exposure to the end of the last one."""
    ends = [
        (frame.start, frame.start + stack.exposure_time / 86400)
        for stack in summary.stacks
        for frame in stack.frame_summaries
        if np.isfinite(frame.start)
    ]
    if not ends:
        return observed(np.nan, np.nan)
    return observed(min(begin for begin, _ in ends), max(end for _, end in ends))


#: Names of commands and options are typed as they are, also where a sentence begins.
_TYPED = re.compile(r"(?:emdarks|--)")


def _sentence(text: str) -> str:
    end = "" if not text or text.endswith("?") else "."
    first = text[:1] if _TYPED.match(text) else text[:1].upper()
    return f"{first}{text[1:]}{end}"


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
            setting(stack.commanded_gain),
            setting(stack.em_gain),
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
    levels = plots.frame_levels(summary, width=WIDTH)[0].get_figure(root=True)
    assert isinstance(levels, plots.Figure)
    frames = [frame for stack in summary.stacks for frame in stack.frame_summaries]
    beyond = sum(abs(frame.sigmas) > BEYOND for frame in frames)
    text = Text(
        "Each dot is a frame, each panel a stack in its own units. The band is what noise and the "
        "jitter of the other frames explain. A trend is a drift of bias or dark current; a single "
        f"frame far off saw light, or has a wrong gain. {count(beyond)} of {count(len(frames))} "
        f"frames lie beyond {BEYOND:g} standard errors."
    )
    blocks: list[Block] = [
        text,
        Picture.of(
            "sequence",
            levels,
            "Level of every frame along the sequence, a panel for each stack",
            "Levels of the frames, stack by stack. Stacks of fewer than four frames have no band.",
        ),
    ]
    return Section("sequence", "Along the sequence", [*blocks, _conditions(summary)])


def _conditions(summary: CampaignSummary) -> Picture:
    """What else changes along the sequence: masked samples, temperature."""
    times, x = _times(summary)
    names = [stack_name(s.commanded_gain, s.exposure_time) for s in summary.stacks]
    shares = [
        np.array([100 * frame.figures.masked for frame in stack.frame_summaries])
        for stack in summary.stacks
    ]
    temperatures = [
        np.array([frame.temperature for frame in stack.frame_summaries]) for stack in summary.stacks
    ]
    panels = [("masked samples", "%", shares)]
    if any(np.isfinite(values).any() for values in temperatures):
        panels.append(("detector temperature", "°C", temperatures))
    figure = plots.new_figure(WIDTH, 2.4 * len(panels) + 0.26 * -(-len(names) // 4))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (title, unit, values) in zip(axes, panels, strict=True):
        stacks = dict(zip(names, zip(times, values, strict=True), strict=False))
        plots.sequence(stacks, x if ax is axes[-1] else "", unit, title, ax=ax)
    return Picture.of(
        "conditions",
        figure,
        "Share of masked samples and temperature of every frame along the sequence",
        "Stacks differ in the shape and colour of their dots.",
    )


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
