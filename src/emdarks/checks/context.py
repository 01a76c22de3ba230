"""What the checks may look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emdarks.cameras import Camera
from emdarks.checks.classify import SortedFrames
from emdarks.checks.summary import FrameSummary, PixelCounts, StackSummary

__all__ = ["Facts", "Place"]

#: A frame and its stack. Frames in memory may have no names: what they are is told by place.
Place = tuple[StackSummary, FrameSummary]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the checks may look at; ``k_gain`` overrides the headers', if it is given."""

    camera: Camera
    campaign: SortedFrames
    stacks: Sequence[StackSummary]
    pixels: PixelCounts
    k_gain: float | None = None

    def places(self) -> Iterator[Place]:
        """Every frame that was read."""
        for stack in self.stacks:
            for frame in stack.frame_summaries:
                yield stack, frame
