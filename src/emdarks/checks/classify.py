"""Which frames can be looked at together, and which cannot be used."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from emdarks.cameras import Camera
from emdarks.errors import EmdarksError
from emdarks.frames import BadFrame, FrameInput, frame_inputs
from emdarks.frames.frame_input import frame_name
from emdarks.stacks import Stack, group_stacks


@dataclass(frozen=True, slots=True)
class SortedFrames:
    """The frames of a campaign in whatever state it is.

    Attributes
    ----------
    frames : int
        All frames.
    shape : tuple of int
        The shape that most have; (0, 0) where none can be used.
    inputs : list of FrameInput
        Frames of that shape whose headers can be understood.
    stacks : list of Stack
        The same, in stacks; also where their gains spread.
    unusable : list of tuple of str
        Name of each frame whose headers cannot be understood, and why.
    odd_shapes : list of tuple
        Name and shape of each frame of another shape.
    """

    frames: int
    shape: tuple[int, int]
    inputs: list[FrameInput]
    stacks: list[Stack]
    unusable: list[tuple[str, str]]
    odd_shapes: list[tuple[str, tuple[int, int]]]


def sort_frames(dataset: Any, camera: Camera, kgain: float | None = None) -> SortedFrames:
    """Prepare every frame by itself; reads headers at most.

    Parameters
    ----------
    dataset : Dataset or an object like it
        The frames.
    camera : Camera
        Tells what their headers mean.
    kgain : float, optional
        Electrons per DN of frames whose camera does not know them.
    """
    frames = list(dataset.frames) if hasattr(dataset, "frames") else list(dataset)
    unread = [(frame.name, f"{frame.path}: {frame.reason}") for frame in _skipped(dataset)]
    usable, unusable = _prepare(frames, camera, kgain)
    unusable = unread + unusable
    shapes = Counter(item.record.shape for item in usable)
    shape = shapes.most_common(1)[0][0] if shapes else (0, 0)
    odd = [item.record for item in usable if item.record.shape != shape]
    inputs = [item for item in usable if item.record.shape == shape]
    stacks = group_stacks(inputs, math.inf)
    return SortedFrames(
        frames=len(frames) + len(unread),
        shape=shape,
        inputs=inputs,
        stacks=stacks,
        unusable=unusable,
        odd_shapes=[(record.name, record.shape) for record in odd],
    )


def _skipped(dataset: Any) -> tuple[BadFrame, ...]:
    return tuple(getattr(dataset, "skipped", ()))


def _prepare(
    frames: list[Any], camera: Camera, kgain: float | None
) -> tuple[list[FrameInput], list[tuple[str, str]]]:
    usable: list[FrameInput] = []
    unusable: list[tuple[str, str]] = []
    for frame in frames:
        try:
            usable += frame_inputs([frame], camera, kgain)
        except EmdarksError as error:
            unusable.append((frame_name(frame), str(error)))
    return usable, unusable
