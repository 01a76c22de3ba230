"""What a user should know of a campaign: warnings that can be acted on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from emdarks.errors import EmdarksWarning
from emdarks.execution import FrameFigures
from emdarks.stacks.group import Stack

__all__ = ["warn_few_frames", "warn_temperature", "warn_unflagged"]

ENOUGH_FRAMES = 1176
TEMPERATURE_SPREAD = 1.0


def warn_temperature(stacks: Sequence[Stack]) -> None:
    """Warn of a temperature spread that moves the dark current."""
    values = np.array([item.record.temperature for stack in stacks for item in stack.frames])
    values = values[np.isfinite(values)]
    if values.size and np.ptp(values) > TEMPERATURE_SPREAD:
        warnings.warn(
            f"the detector temperature spreads by {np.ptp(values):.2f} degrees "
            f"({values.min():.2f} to {values.max():.2f}); dark current depends on it",
            EmdarksWarning,
            stacklevel=3,
        )


def warn_few_frames(stacks: Sequence[Stack]) -> None:
    """Warn of stacks below the recommended number of frames."""
    few = [len(stack.frames) for stack in stacks if len(stack.frames) < ENOUGH_FRAMES]
    if few:
        warnings.warn(
            f"{len(few)} of {len(stacks)} stacks have fewer than {ENOUGH_FRAMES} frames "
            f"(the smallest {min(few)}); the maps are noisier than recommended",
            EmdarksWarning,
            stacklevel=3,
        )


def warn_unflagged(stacks: Sequence[Stack], figures: Sequence[tuple[FrameFigures, ...]]) -> None:
    """Warn of stacks without a masked sample: perhaps nobody looked for cosmic rays."""
    bare = [
        stack
        for stack, frames in zip(stacks, figures, strict=True)
        if frames and all(frame.masked == 0 for frame in frames)
    ]
    # Frames without DQ are so in every stack: one word is enough.
    names = [str(stack) for stack in bare]
    if 1 < len(bare) == len(stacks):
        names = [f"all {len(bare)} stacks"]
    for name in names:
        warnings.warn(
            f"{name}: no pixel of any frame is flagged; were cosmic rays looked for?",
            EmdarksWarning,
            stacklevel=3,
        )
