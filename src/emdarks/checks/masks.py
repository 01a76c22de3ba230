"""Checks of which samples count: flags, masks, numbers that are not finite."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emdarks.accumulate import FrameFigures
from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.formatting import named, several
from emdarks.checks.saturation import severity_of_pixels, share_of_area
from emdarks.checks.thresholds import MASKED_STACK


def masks_differ(frames: Sequence[FrameFigures]) -> bool:
    """Whether frames of a stack have masks that differ, as those of cosmic rays do.

    Flags of saturated or blank samples come from reading, those of defects are the same in
    every frame: they are left out.
    """
    # Samples without a number are counted beyond the imaging area, too.
    own = {
        max(0, round((frame.masked - frame.saturated) * frame.pixels) - frame.not_finite)
        for frame in frames
    }
    return len(own) > 1


def not_finite(context: Context) -> Findings:
    """Samples that are no numbers: they count as masked."""
    bad = [frame for _, frame in context.places() if frame.figures.not_finite]
    if bad:
        bad.sort(key=lambda frame: -frame.figures.not_finite)
        samples = sum(frame.figures.not_finite for frame in bad)
        yield Finding(
            "warning",
            "samples",
            f"{several(samples, 'sample')} in {several(len(bad), 'frame')} not finite, beyond "
            "1e12, or with such an error or a negative one: counted as masked (flag 1), most "
            f"({bad[0].figures.not_finite}) in {bad[0].name}",
            tuple(frame.name for frame in bad),
            "look at what made them",
        )


def single_samples(context: Context) -> Findings:
    """Stacks in which no pixel is good twice."""
    single = [stack for stack in context.stacks if stack.most_good < 2]
    if single:
        yield Finding(
            "problem",
            "frames",
            f"no pixel is good in two frames of {several(len(single), 'stack')}, "
            f"{named(single)}: nothing tells the noise there",
            remedy="add frames to them, or leave them out",
        )


def unflagged(context: Context) -> Findings:
    """Stacks without any flag of cosmic rays."""
    nowhere = not any(stack.cosmic_rays for stack in context.stacks)
    bare = [
        stack for stack in context.stacks if not stack.searched and (nowhere or stack.masked == 0)
    ]
    if bare:
        what = f"no pixel of any frame is flagged in {several(len(bare), 'stack')}, {named(bare)}"
        if any(stack.masked > 0 for stack in bare):
            what = "no sample is flagged as a cosmic ray (128), though others have flags"
        # Screening needs to know the noise of the frames' mode.
        known = not math.isnan(context.camera.noise.read_noise)
        yield Finding(
            "warning",
            "flags",
            f"{what}; were cosmic rays looked for?",
            remedy="flag them" + (", or give --screen to emdarks noisemaps" if known else ""),
        )


def masked_stacks(context: Context) -> Findings:
    """Stacks much of which is masked."""
    heavy = [stack for stack in context.stacks if stack.masked > MASKED_STACK]
    if heavy:
        worst = max(stack.masked for stack in heavy)
        yield Finding(
            "warning",
            "masked",
            f"{several(len(heavy), 'stack', 'have')} more than {MASKED_STACK:.0%} of their samples "
            f"masked, at most {worst:.1%}: {named(heavy)}",
            remedy="look at their flags; --mask-bits chooses which of them count",
        )


def unfittable(context: Context) -> Findings:
    """Pixels that are good in too few stacks."""
    count = context.pixels.unfittable
    if len(context.stacks) >= 4 and count:
        yield Finding(
            severity_of_pixels(context, count),
            "masked",
            f"{share_of_area(context, count)} will have no value: good in fewer than four stacks",
        )
