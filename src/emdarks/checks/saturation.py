"""Checks of samples that a camera cut off: at a ceiling, above the full well, flagged or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter

import numpy as np

from emdarks.accumulate import FrameFigures
from emdarks.cameras import NoiseFigures
from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings, Severity
from emdarks.checks.formatting import several
from emdarks.checks.summary import FrameSummary, StackSummary
from emdarks.checks.thresholds import (
    BEYOND_NOISE,
    FEW_PIXELS,
    SAMPLES_AT_CEILING,
    SATURATED_FRAME,
)


def full_well(noise: NoiseFigures, em_gain: float) -> float:
    """Largest signal at an EM gain, EM electrons: that of the well that overflows first."""
    return min(noise.full_well_register, noise.full_well_image * max(em_gain, 1.0))


def samples_at_ceiling(frames: Sequence[FrameFigures], step: float) -> int:
    """How many samples of each frame of a stack lie at a ceiling; 0 where there is none.

    The highest sample of half of the frames or more is the very same number, several samples
    of a frame have it, and noise of the frames' scatter would have gone beyond. Numbers of
    whole DN may be equal by chance: there the next DN is what would have been reached.

    Parameters
    ----------
    frames : sequence of FrameFigures
        The frames of the stack.
    step : float
        One DN in the unit of the figures; 0 where it is not known.
    """
    known = [frame for frame in frames if math.isfinite(frame.highest)]
    top = max((frame.highest for frame in known), default=math.nan)
    reached = [frame for frame in known if frame.highest == top]
    if len(reached) < 2 or 2 * len(reached) < len(known):
        return 0
    count = min(frame.at_highest for frame in reached)
    if count < SAMPLES_AT_CEILING or any(frame.noiseless for frame in reached):
        return 0
    return count if all(_is_cut(frame, step) for frame in reached) else 0


def _is_cut(frame: FrameFigures, step: float) -> bool:
    away = (frame.highest - frame.level) / frame.scatter
    beyond = 0.5 * math.erfc((away + 0.5 * step / frame.scatter) / math.sqrt(2.0))
    return away > BEYOND_NOISE or frame.pixels * beyond > SAMPLES_AT_CEILING


def flagged_saturated(stack: StackSummary, frame: FrameSummary) -> bool:
    """Whether far more samples have the saturation flag than in the stack's other frames."""
    usual = float(np.median([other.figures.saturated for other in stack.frame_summaries]))
    return frame.figures.saturated - usual > SATURATED_FRAME


def severity_of_pixels(context: Context, count: int) -> Severity:
    """How much so many spoilt pixels matter."""
    return "note" if count <= FEW_PIXELS * context.pixels.imaging else "warning"


#: What to do where saturated samples of raw frames, which are flagged as they are read, are not.
_FULL_WELLS = (
    "give the full wells of these frames (--params FILE): samples are flagged from there on; or "
    "take a lower gain or a shorter time"
)


def share_of_area(context: Context, count: int) -> str:
    """A number of pixels in words."""
    return f"{several(count, 'pixel')} ({count / context.pixels.imaging:.2%} of the imaging area)"


def _most(stacks: Sequence[StackSummary], count: str) -> tuple[StackSummary, int, str] | None:
    """The stack with most such pixels, their number, and a word on other stacks."""
    having = [stack for stack in stacks if getattr(stack, count)]
    if not having:
        return None
    most = max(having, key=attrgetter(count))
    others = len(having) - 1
    elsewhere = f", fewer in {several(others, 'other stack')}" if others else ""
    return most, getattr(most, count), elsewhere


def overfull(context: Context) -> Findings:
    """Unflagged samples that no camera can have measured rightly."""
    if found := _most(context.stacks, "overfull_pixels"):
        stack, count, elsewhere = found
        yield Finding(
            severity_of_pixels(context, count),
            "saturation",
            f"the mean of {share_of_area(context, count)}, hot ones as a rule, lies above the full "
            f"well in ({stack}){elsewhere}, and no flag says so; a camera measures too little "
            "there, and their maps will be too low",
            remedy=_FULL_WELLS
            if stack.raw
            else "flag saturated samples (32): these stacks are then left out of the pixels' fit",
        )


def partly_saturated(context: Context) -> Findings:
    """Pixels of which only the fainter samples count."""
    # A whole frame that is saturated has a finding of its own.
    ordinary = [
        stack
        for stack in context.stacks
        if not any(flagged_saturated(stack, frame) for frame in stack.frame_summaries)
    ]
    if found := _most(ordinary, "partly_saturated"):
        stack, count, elsewhere = found
        yield Finding(
            severity_of_pixels(context, count),
            "saturation",
            f"{share_of_area(context, count)} {'is' if count == 1 else 'are'} saturated in some "
            f"frames of ({stack}) and not in others{elsewhere}; only the fainter samples count "
            "there, and their maps will be too low",
            remedy="treat them as hot pixels; a lower gain or a shorter time would measure them",
        )


def cut_off(context: Context) -> Findings:
    """Samples at a ceiling of the camera."""
    if found := _most(context.stacks, "cut_off_samples"):
        stack, count, elsewhere = found
        yield Finding(
            severity_of_pixels(context, count),
            "saturation",
            f"{several(count, 'sample')} of each frame ({count / context.pixels.imaging:.2%} of "
            f"the imaging area) of ({stack}) lie at its highest value{elsewhere}: they are cut "
            "off, no flag says so, and their means are too low",
            remedy=_FULL_WELLS
            if stack.raw
            else "flag such samples (32), or take a lower gain or a shorter time",
        )
