"""Frames whose pixels show that they are not what master darks are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from emdarks.accumulate import FrameFigures
from emdarks.cameras import Camera
from emdarks.errors import InputError
from emdarks.stacks.compatibility import bias_text
from emdarks.stacks.group import Stack

#: Read noises from 0 from which on the level of the prescan is a bias, no residue of one.
FAR_FROM_ZERO = 5.0
#: Relative rounding of sums of samples that are all 0 or 1.
_ROUNDING = 1e-6


def is_thresholded(frame: FrameFigures, steps: Sequence[float]) -> bool:
    """Whether all good samples of a frame are 0 or 1, and some are each.

    Parameters
    ----------
    frame : FrameFigures
        The frame.
    steps : sequence of float
        What a 1 may have become in the unit of the figures.
    """
    top = frame.highest
    if not top > 0 or not any(math.isclose(top, step, rel_tol=_ROUNDING) for step in steps):
        return False
    # Samples of 0 and s alone have a mean square of s times their mean.
    square, expected = frame.scatter**2 + frame.level**2, top * frame.level
    return frame.scatter > 0 and math.isclose(square, expected, rel_tol=_ROUNDING)


def steps_of(k_gain: float, em_gain: float) -> tuple[float, ...]:
    """What 1 DN, 1 EM electron or 1 detected electron may be in any of these units."""
    return (1.0, k_gain, em_gain, 1 / em_gain, k_gain / em_gain)


def bias_inside(prescan: Sequence[float], unit: float, stack: Stack, camera: Camera) -> float:
    """Level of the prescan, EM electrons, where it shows that bias was not subtracted; else 0.

    Parameters
    ----------
    prescan : sequence of float
        Levels of the frames of a stack; NaN where there is no prescan.
    unit : float
        Unit of these levels, EM electrons.
    stack : Stack
        The frames.
    camera : Camera
        Says whether its frames come with their bias subtracted.
    """
    known = [level for level in prescan if math.isfinite(level)]
    if not known or bias_text(stack, camera) is not None:
        return 0.0
    level = float(np.median(known)) * unit
    noise = camera.noise_in(stack.frames[0].record.mode).read_noise
    return level if abs(level) > FAR_FROM_ZERO * noise else 0.0


def refuse_unfit(
    stacks: Sequence[Stack],
    figures: Sequence[Sequence[FrameFigures]],
    units: Sequence[float],
    camera: Camera,
    k_gain: float | None = None,
) -> None:
    """Refuse frames that were photon-counted, or hold their bias still.

    Parameters
    ----------
    stacks : sequence of Stack
        The stacks.
    figures : sequence of sequences of FrameFigures
        Figures of their frames.
    units : sequence of float
        Unit of the figures of each stack, EM electrons.
    camera : Camera
        Of the frames.
    k_gain : float, optional
        K-gain that overrides the headers'.

    Raises
    ------
    InputError
        Names the first such frame, and what to do.
    """
    for stack, frames, unit in zip(stacks, figures, units, strict=True):
        name = stack.frames[0].record.name
        steps = steps_of(k_gain or stack.k_gain, stack.em_gain)
        for item, frame in zip(stack.frames, frames, strict=bool(frames)):
            if is_thresholded(frame, steps):
                raise InputError(
                    f"{item.record.name}: all of its samples are 0 or 1: photon-counted frames are "
                    "no analog ones; give the frames from before the threshold"
                )
        level = bias_inside([frame.prescan_level for frame in frames], unit, stack, camera)
        if level:
            raise InputError(f"{name}: {bias_words(level, camera)}")


def bias_words(level: float, camera: Camera) -> str:
    """What is wrong with frames whose bias was not subtracted, and what to do."""
    return (
        f"the prescan lies at {level:.5g} EM electrons, and camera {camera.name} has frames whose "
        "bias is subtracted; give such frames (level L2a), or a camera file that says how to "
        "subtract it ([bias])"
    )
