"""What the checks of frames may look at. Those of products look at the product itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from emdarks.cameras import Camera, NoiseFigures
from emdarks.checks.classify import SortedFrames
from emdarks.checks.summary import FrameSummary, PixelCounts, StackSummary

#: A frame and its stack. Frames in memory may have no names: what they are is told by place.
Place = tuple[StackSummary, FrameSummary]


#: Stages of EXCAM's register; others change its excess noise by a few per cent at most.
_STAGES = 604


@dataclass(frozen=True, slots=True)
class FlaggingRule:
    """How far the charge of clean samples reaches, for levels at which samples are flagged.

    Attributes
    ----------
    fpn : float
        Fixed pattern, EM electrons.
    cic, dc : float or None
        Clock-induced charge, electrons a frame, and dark current, electrons a second; None takes
        those of the camera.
    num_stds : float
        Standard deviations above the mean.
    """

    fpn: float = 4.9
    cic: float | None = None
    dc: float | None = None
    num_stds: float = 4.0

    def charge(self, noise: NoiseFigures, time: float) -> float:
        """C + t D, electrons; NaN where nobody tells."""
        cic = noise.clock_induced_charge if self.cic is None else self.cic
        dc = noise.dark_current if self.dc is None else self.dc
        return cic + time * dc

    def reach(self, gain: float, charge: float) -> float:
        """Mean and so many standard deviations, EM electrons; method page, eq. 22 (reach)."""
        excess = 2.0 * (gain - 1.0) * gain ** (-(_STAGES + 1) / _STAGES) + 1.0 / gain
        deviation = gain * math.sqrt(excess * charge)
        return self.fpn + gain * charge + self.num_stds * deviation


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
    flagging : FlaggingRule
        How far the charge of clean samples reaches.
    """

    camera: Camera
    campaign: SortedFrames
    stacks: Sequence[StackSummary] = ()
    pixels: PixelCounts = field(default_factory=lambda: PixelCounts(0, 0))
    k_gain: float | None = None
    flagging: FlaggingRule = field(default_factory=FlaggingRule)

    def places(self) -> Iterator[Place]:
        """Every frame that was read."""
        for stack in self.stacks:
            for frame in stack.frame_summaries:
                yield stack, frame

    def of_samples(self) -> list[StackSummary]:
        """Stacks of frames that hold samples, no counts."""
        pairs = zip(self.campaign.stacks, self.stacks, strict=False)
        return [stack for own, stack in pairs if own.frames[0].record.counted is None]
