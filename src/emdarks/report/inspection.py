"""The page of a campaign of dark frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emdarks import plots
from emdarks.checks import CampaignSummary
from emdarks.checks.formatting import count, in_sentences, observed
from emdarks.checks.stack_table import stack_name
from emdarks.checks.thresholds import ODD_FRAME
from emdarks.half_split import CheckReport
from emdarks.report.half_split import check_advice, check_figures
from emdarks.report.page import WIDTH, Page, Rendered, Section, render

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
    words = _render(summary)
    checked = render("check.html.j2", check_figures(check), check=check, unchecked="")
    findings = [finding for finding in summary.findings if finding.frames]
    named = render("named_frames.html.j2", findings=findings, most=NAMED)
    return Page.of(
        words,
        title="A campaign of dark frames",
        subtitle=f"{name} · {count(summary.frames)} {size} · camera {summary.camera}",
        observed=_observed(summary),
        advice=[*map(in_sentences, summary.findings), *check_advice(check)],
        more=[*checked.sections, *named.sections],
        untested=""
        if check
        else "Whether the frames agree with each other the check without "
        "truth tells: `emdarks check FRAMES`.",
    )


def campaign_sections(summary: CampaignSummary) -> list[Section]:
    """What is known of stacks and of single frames."""
    return _render(summary).sections


def _render(summary: CampaignSummary) -> Rendered:
    frames = [frame for stack in summary.stacks for frame in stack.frame_summaries]
    used = sum(stack.frames for stack in summary.stacks)
    ends = np.array([stack.temperature for stack in summary.stacks], dtype=np.float64)
    measured = bool(np.isfinite(ends).any())
    return render(
        "campaign.html.j2",
        _figures(summary) if summary.stacks else {},
        summary=summary,
        stacks=summary.stacks,
        masked=sum(stack.masked * stack.frames for stack in summary.stacks) / max(used, 1),
        temperatures=(np.nanmin(ends), np.nanmax(ends)) if measured else None,
        far=sum(abs(frame.sigmas) > ODD_FRAME for frame in frames),
        shown=len(frames),
        limit=ODD_FRAME,
    )


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


# Along the sequence


def _figures(summary: CampaignSummary) -> dict[str, plots.Figure]:
    levels = plots.frame_levels(summary, width=WIDTH)[0].get_figure(root=True)
    assert isinstance(levels, plots.Figure)
    return {"sequence": levels, "conditions": _conditions(summary)}


def _conditions(summary: CampaignSummary) -> plots.Figure:
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
    return figure


def _times(summary: CampaignSummary) -> tuple[list[npt.NDArray[np.float64]], str]:
    """Hours since the first frame; numbers of frames where starts are not known."""
    starts = [
        np.array([frame.start for frame in stack.frame_summaries]) for stack in summary.stacks
    ]
    every = np.concatenate(starts)
    if np.isfinite(every).all() and np.ptp(every) > 0:
        return [24 * (start - every.min()) for start in starts], "hours since the first frame"
    first = np.cumsum([0, *(start.size for start in starts)])
    return [first[i] + np.arange(start.size) for i, start in enumerate(starts)], "frame"
