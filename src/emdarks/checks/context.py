"""What the checks of frames may look at. Those of products look at the product itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from emdarks.cameras import Camera
from emdarks.checks.classify import SortedFrames
from emdarks.checks.summary import FrameSummary, PixelCounts, StackSummary

#: A frame and its stack. Frames in memory may have no names: what they are is told by place.
Place = tuple[StackSummary, FrameSummary]


@dataclass(frozen=True, slots=True)
class Context:
    """Frames, and what is known of them.

    Attributes
    ----------
    camera : Camera
        Tells what headers mean.
    campaign : SortedFrames
        The frames, and their headers.
    stacks : sequence of StackSummary
        What pixels tell of each stack; none where pixels were not read.
    pixels : PixelCounts
        What they tell of all stacks together.
    k_gain : float or None
        Overrides the headers', if it is given.
    """

    camera: Camera
    campaign: SortedFrames
    stacks: Sequence[StackSummary] = ()
    pixels: PixelCounts = field(default_factory=lambda: PixelCounts(0, 0))
    k_gain: float | None = None

    def places(self) -> Iterator[Place]:
        """Every frame that was read."""
        for stack in self.stacks:
            for frame in stack.frame_summaries:
                yield stack, frame
