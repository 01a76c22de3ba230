"""Samples that a camera cut off at its ceiling, although no flag says so."""

from __future__ import annotations

import math
from collections.abc import Sequence

from emdarks.accumulate import FrameFigures

__all__ = ["samples_at_ceiling"]

#: Fewer samples of one frame say nothing.
ENOUGH = 10
#: Scatters above the level that noise alone does not reach.
BEYOND_NOISE = 6.0


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
    if count < ENOUGH or any(frame.noiseless for frame in reached):
        return 0
    return count if all(_is_cut(frame, step) for frame in reached) else 0


def _is_cut(frame: FrameFigures, step: float) -> bool:
    away = (frame.highest - frame.level) / frame.scatter
    beyond = 0.5 * math.erfc((away + 0.5 * step / frame.scatter) / math.sqrt(2.0))
    return away > BEYOND_NOISE or frame.pixels * beyond > ENOUGH
