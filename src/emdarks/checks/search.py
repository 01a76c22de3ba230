"""Checks of the search for cosmic rays, which is made while raw frames are read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emdarks.accumulate import FrameFigures
from emdarks.cameras import NoiseFigures
from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.formatting import several
from emdarks.checks.summary import StackSearch, StackSummary
from emdarks.checks.thresholds import CUT_CHARGE
from emdarks.frames.raw_source import RawSource
from emdarks.raw import SearchCost, search_cost
from emdarks.stacks import Stack

#: Stacks of which a finding tells the figures.
_NAMED = 4


def search_of(stack: Stack, k_gain: float) -> StackSearch | None:
    """The search that is made in the frames of a stack; None where none is.

    Parameters
    ----------
    stack : Stack
        The stack; its frames are searched alike.
    k_gain : float
        Electrons per DN.
    """
    source = stack.frames[0].source
    if not isinstance(source, RawSource) or source.plan.search() is None:
        return None
    search = source.plan.calibration.search
    assert search is not None
    return StackSearch(search.threshold * source.plan.well * k_gain, search)


def ray_share(stack: Stack, figures: Sequence[FrameFigures]) -> float:
    """Share of the pixels that the search flagged; NaN where the frames are not raw."""
    if not isinstance(stack.frames[0].source, RawSource):
        return math.nan
    return sum(frame.cosmic_rays for frame in figures) / max(len(figures), 1)


def cost_in(stack: StackSummary, noise: NoiseFigures) -> SearchCost | None:
    """What the search costs clean samples of a stack; None where none is made.

    By the clock-induced charge and the dark current that the camera file names; where it does
    not, by the level of the frames.
    """
    search = stack.search
    if search is None or not (stack.em_gain >= 1 and search.threshold_e > 0):
        return None
    charge = noise.clock_induced_charge + stack.exposure_time * noise.dark_current
    if math.isnan(charge):
        charge = stack.level / stack.em_gain
    read_noise = noise.read_noise
    if math.isnan(read_noise):
        read_noise = stack.typical_noise
    if not (math.isfinite(charge) and math.isfinite(read_noise)):
        return None
    return search_cost(search.parameters, search.threshold_e, stack.em_gain, charge, read_noise)


def cuts_charge(stack: StackSummary, noise: NoiseFigures) -> bool:
    """Whether the search in raw frames takes away more than a little of a stack's charge."""
    cost = cost_in(stack, noise)
    return cost is not None and not cost.kept_mean >= 1 - CUT_CHARGE


def cut_charge(context: Context) -> Findings:
    """Stacks whose own charge the search for cosmic rays cuts."""
    costs = [(stack, cost_in(stack, context.camera.noise)) for stack in context.stacks]
    cut = [
        (stack, cost)
        for stack, cost in costs
        if cost is not None and not cost.kept_mean >= 1 - CUT_CHARGE
    ]
    if cut:
        cut.sort(key=lambda pair: -pair[1].flagged)
        told = "; ".join(
            f"({stack}): {_share(cost.flagged)} flagged, mean {cost.kept_mean:.3f} of the true one"
            for stack, cost in cut[:_NAMED]
        )
        rest = f"; and {len(cut) - _NAMED} more" if len(cut) > _NAMED else ""
        yield Finding(
            "warning",
            "search",
            f"the search for cosmic rays cuts into the charge of {several(len(cut), 'stack')}. "
            f"Share of clean samples, and what is left: {told}{rest}",
            tuple(frame.name for stack, _ in cut for frame in stack.frame_summaries),
            "search with --cosmic-rays standard, or leave these stacks out (emdarks noisemaps "
            "--skip search, with --skip-share above their share of the frames)",
        )


def raw_figures(context: Context) -> Findings:
    """How much of raw frames is saturated, hit by cosmic rays, or has a repaired bias."""
    raw = [stack for stack in context.stacks if not math.isnan(stack.ray_share)]
    if raw:
        searched = any(stack.search is not None for stack in raw)
        frames = sum(stack.frames for stack in raw)
        full = sum(stack.saturated * stack.frames for stack in raw) / frames
        hit = sum(stack.ray_share * stack.frames for stack in raw) / frames
        rows = sum(stack.repaired_rows for stack in raw)
        most = max(raw, key=lambda stack: stack.ray_share)
        rays = (
            f"{hit:.2%} of all pixels are flagged as cosmic rays (128), most "
            f"({most.ray_share:.2%}) in ({most})"
            if searched
            else "no cosmic rays are searched"
        )
        yield Finding(
            "note",
            "raw",
            f"{several(frames, 'raw frame')}: {full:.2%} of the imaging area is saturated (32), "
            f"{rays}, and the bias of {several(rows, 'row')} was replaced",
        )


def _share(share: float) -> str:
    """A share in per cent, with two digits."""
    return f"{100 * share:.2g}%"
