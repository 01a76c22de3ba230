"""What a user should know of a campaign: warnings that can be acted on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from emdarks.accumulate import FrameFigures
from emdarks.errors import EmdarksWarning
from emdarks.stacks.group import Stack
from emdarks.stacks.saturation import samples_at_ceiling

__all__ = ["TEMPERATURE_SPREAD", "masks_differ", "warn_ceiling"]

_Figures = Sequence[tuple[FrameFigures, ...]]

TEMPERATURE_SPREAD = 1.0
#: Share of the samples that may be cut off: hot pixels, as a rule.
FEW_SAMPLES = 0.01


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


def warn_ceiling(stacks: Sequence[Stack], figures: _Figures, steps: Sequence[float]) -> None:
    """Warn of stacks of which a good part is cut off, without a flag."""
    cut = []
    for stack, frames, step in zip(stacks, figures, steps, strict=True):
        count = samples_at_ceiling(frames, step)
        if count and count > FEW_SAMPLES * frames[0].pixels:
            cut.append((count / frames[0].pixels, stack))
    if cut:
        share, stack = max(cut, key=lambda each: each[0])
        others = f", and of {len(cut) - 1} others" if len(cut) > 1 else ""
        warnings.warn(
            f"{stack}: {share:.0%} of the samples of each frame{others} are cut off at its highest "
            "value, and no flag says so: means are too low; flag such samples (32), or take a "
            "lower gain or a shorter time",
            EmdarksWarning,
            stacklevel=3,
        )
