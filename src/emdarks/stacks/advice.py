"""What a user should know of a campaign: warnings that can be acted on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.errors import EmdarksWarning
from emdarks.execution import FrameFigures
from emdarks.flags import DQ
from emdarks.stacks.ceiling import samples_at_ceiling
from emdarks.stacks.group import Stack
from emdarks.stacks.suspects import warn_nearly_equal_times
from emdarks.stacks.units import warn_unknown_unit

__all__ = [
    "cosmic_rays_sought",
    "warn_ceiling",
    "warn_few_frames",
    "warn_headers",
    "warn_pixels",
    "warn_temperature",
    "warn_unflagged",
]

Array = npt.NDArray[Any]
_Figures = Sequence[tuple[FrameFigures, ...]]

ENOUGH_FRAMES = 1176
TEMPERATURE_SPREAD = 1.0
#: Share of the samples that may be cut off: hot pixels, as a rule.
FEW_SAMPLES = 0.01


def warn_headers(stacks: Sequence[Stack], assumed_unit: str) -> None:
    """Warn of what headers tell, whatever is made of the stacks."""
    warn_unknown_unit(stacks, assumed_unit)
    warn_temperature(stacks)
    warn_nearly_equal_times(stacks)


def warn_pixels(
    stacks: Sequence[Stack], figures: _Figures, steps: Sequence[float], sought: Sequence[bool]
) -> None:
    """Warn of what pixels tell.

    ``steps`` is one DN of each stack in the unit of the figures; ``sought`` says in which stacks
    cosmic rays were looked for.
    """
    warn_unflagged(stacks, figures, sought)
    warn_blind(stacks, figures)
    warn_not_finite(stacks, figures)
    warn_ceiling(stacks, figures, steps)


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


def cosmic_rays_sought(frames: Sequence[FrameFigures], flags: Array, mask: int) -> bool:
    """Whether somebody looked for cosmic rays in the frames of a stack.

    Flags of saturated or blank samples come from reading, those of defects are the same in
    every frame: they are no sign of it. The flag of cosmic rays is, and so are masks of one's
    own that differ from frame to frame.

    Parameters
    ----------
    frames : sequence of FrameFigures
        The frames.
    flags : ndarray of unsigned integers
        OR of the flags of all frames, pixel by pixel.
    mask : int
        Flag bits that exclude a sample.
    """
    if (flags & flags.dtype.type(mask & DQ.COSMIC_RAY)).any():
        return True
    # Samples without a number are counted beyond the imaging area, too.
    own = {
        max(0, round((frame.masked - frame.saturated) * frame.pixels) - frame.not_finite)
        for frame in frames
    }
    return len(own) > 1


def warn_unflagged(
    stacks: Sequence[Stack], figures: _Figures, sought: Sequence[bool] | None = None
) -> None:
    """Warn of stacks without a masked sample: perhaps nobody looked for cosmic rays.

    Where none is masked for its cosmic rays in the whole campaign, other flags do not help.
    """
    nowhere = sought is not None and not any(sought)
    bare = [
        stack
        for stack, frames in zip(stacks, figures, strict=True)
        if frames and all(frame.masked == 0 or (nowhere and frame.masked < 1) for frame in frames)
    ]
    # Frames without DQ are so in every stack: one word is enough.
    names = [str(stack) for stack in bare]
    if 1 < len(bare) == len(stacks):
        names = [f"all {len(bare)} stacks"]
    what = "no pixel of any frame is flagged"
    if nowhere and any(frame.masked > 0 for frames in figures for frame in frames):
        what = "no sample is flagged as a cosmic ray (128), though others have flags"
    for name in names:
        warnings.warn(f"{name}: {what}; were cosmic rays looked for?", EmdarksWarning, stacklevel=3)


def _pairs(stacks: Sequence[Stack], figures: _Figures) -> list[tuple[str, FrameFigures]]:
    """Name and figures of every frame that has them."""
    return [
        (item.record.name, frame)
        for stack, frames in zip(stacks, figures, strict=True)
        if frames
        for item, frame in zip(stack.frames, frames, strict=True)
    ]


def warn_blind(stacks: Sequence[Stack], figures: _Figures) -> None:
    """Warn of frames that say nothing, since no pixel is good."""
    blind = [name for name, frame in _pairs(stacks, figures) if frame.masked == 1]
    if blind:
        frames = "frame has" if len(blind) == 1 else "frames have"
        warnings.warn(
            f"{len(blind)} {frames} no good pixel in the imaging area, the first {blind[0]}; look "
            "at the flags, or leave them out",
            EmdarksWarning,
            stacklevel=3,
        )


def warn_not_finite(stacks: Sequence[Stack], figures: _Figures) -> None:
    """Warn of samples that are no numbers: they count as masked."""
    bad = [(frame.not_finite, name) for name, frame in _pairs(stacks, figures) if frame.not_finite]
    if bad:
        count, name = max(bad)
        samples = sum(number for number, _ in bad)
        warnings.warn(
            f"{samples} sample{'s' * (samples > 1)} in {len(bad)} frame{'s' * (len(bad) > 1)} not "
            f"finite, beyond 1e12, or with such an error or a negative one: counted as masked "
            f"(flag 1), most ({count}) in {name}",
            EmdarksWarning,
            stacklevel=3,
        )


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
