"""Checks along the sequence: drift of the level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.frame_statistics import frame_errors, jitter, step_jitter
from emdarks.checks.summary import StackSummary
from emdarks.checks.thresholds import FRAMES_FOR_SLOPE, HARMLESS, ODD_FRAME, SIGNIFICANT
from emdarks.stacks import Slope, common_slope, sequence_times

Array = npt.NDArray[Any]


def drift(context: Context) -> Findings:
    """Levels against time: a slope that stacks share, and stacks with one of their own."""
    stacks = list(context.stacks)
    times = sequence_times([_of(stack, "start") for stack in stacks])
    levels = [_ordinary_levels(stack) for stack in stacks]
    errors = _errors(stacks, times, levels, context.pixels.imaging)
    slopes = [
        common_slope([time], [level], [error])
        for time, level, error in zip(times, levels, errors, strict=True)
    ]
    shared, agreeing = _shared(slopes)
    together = len(agreeing) > 1 and abs(shared.sigmas) > SIGNIFICANT
    if together:
        yield _campaign(stacks, shared)
    own = [
        (stack, slope.value * float(np.ptp(time)), slope.sigmas)
        for i, (stack, slope, time) in enumerate(zip(stacks, slopes, times, strict=True))
        if abs(slope.sigmas) > SIGNIFICANT and stack.frames >= FRAMES_FOR_SLOPE
        if not (together and i in agreeing)
    ]
    if own:
        yield _single(own, together)


def _shared(slopes: Sequence[Slope]) -> tuple[Slope, set[int]]:
    """Mean of the slopes that agree with each other, and which they are."""
    left = [i for i, slope in enumerate(slopes) if 0 < slope.error < math.inf]
    while left:
        value = np.array([slopes[i].value for i in left])
        weight = np.array([slopes[i].error ** -2.0 for i in left])
        total = float(weight.sum())
        shared = Slope(float((weight * value).sum()) / total, total**-0.5)
        if len(left) == 1:
            break
        # Each against the mean of all the others; a difference would lose light ones.
        rest = np.array([np.delete(weight, i).sum() for i in range(weight.size)])
        pulls = np.abs(value - shared.value) * np.sqrt(total * weight / rest)
        if pulls.max() <= SIGNIFICANT:
            break
        del left[int(np.argmax(pulls))]
    return (shared, set(left)) if left else (Slope(0.0, math.inf), set())


def _of(stack: StackSummary, name: str) -> Array:
    return np.array([getattr(frame, name) for frame in stack.frame_summaries])


def _ordinary_levels(stack: StackSummary) -> Array:
    """Levels; NaN for frames that are named for it: a bad frame is no drift."""
    levels = np.array([frame.figures.level for frame in stack.frame_summaries])
    return np.where(np.abs(_of(stack, "sigmas")) > ODD_FRAME, np.nan, levels)


def _errors(
    stacks: Sequence[StackSummary], times: Sequence[Array], levels: Sequence[Array], pixels: int
) -> list[float]:
    """Least error of a level, stack by stack: noise, and the jitter from frame to frame."""
    noise = [frame_errors(stack, pixels) for stack in stacks]
    steps = []
    for time, level, error in zip(times, levels, noise, strict=True):
        order = np.argsort(time, kind="stable")
        steps.append(step_jitter(level[order], error[order]))
    everywhere = jitter(np.concatenate(steps)) if steps else 1.0
    return [
        float(np.median(error)) * max(everywhere, jitter(step))
        for error, step in zip(noise, steps, strict=True)
    ]


def _campaign(stacks: Sequence[StackSummary], shared: Slope) -> Finding:
    quiet = min(stack.scatter for stack in stacks if stack.scatter > 0)
    harmless = abs(shared.value) < HARMLESS * quiet
    return Finding(
        "note" if harmless else "warning",
        "drift",
        f"the level drifts by {shared.value:+.3g} EM electrons from the first frame to the last "
        f"({abs(shared.sigmas):.0f} standard errors, {abs(shared.value) / quiet:.2f} of the "
        "smallest scatter within a frame)",
        remedy="look at bias subtraction and temperature; emdarks check says what the maps suffer",
    )


def _single(own: Sequence[tuple[StackSummary, float, float]], also: bool) -> Finding:
    order = sorted(own, key=lambda one: -abs(one[2]))
    parts = [
        f"({stack}) by {change:+.3g} EM electrons ({abs(sigmas):.0f} standard errors, "
        f"{abs(change) / stack.scatter:.2f} of the scatter within a frame)"
        for stack, change, sigmas in order[:3]
    ]
    rest = f" and {len(order) - 3} more" if len(order) > 3 else ""
    harmless = all(abs(change) < HARMLESS * stack.scatter for stack, change, _ in order)
    return Finding(
        "note" if harmless else "warning",
        "drift",
        f"the level drifts {'in its own way ' if also else ''}within {', '.join(parts)}{rest}",
        remedy="look at temperature, bias and light during that time; leave out what is unsettled",
    )
