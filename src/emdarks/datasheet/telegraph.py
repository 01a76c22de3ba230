"""Telegraph pixels: looked for in the means along the sequence, while a stack's are there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.accumulate import Executor, StackSums
from emdarks.fit.telegraph import THRESHOLD, SampleNoise, TelegraphPixels, telegraph_pixels
from emdarks.one_electron import excess_noise
from emdarks.stacks import Stack
from emdarks.stacks.read_noise import typical_noise

Array = npt.NDArray[Any]

#: Pixels of one call; threads take turns.
CHUNK = 1 << 17
#: Pixels whose means along the sequence are kept, to be shown.
EXAMPLES = 6


@dataclass(frozen=True)
class StackTelegraph:
    """Telegraph pixels of a stack.

    Attributes
    ----------
    stack : Stack
        The stack.
    found : TelegraphPixels
        Those of the imaging area.
    shown : ndarray of int
        Which of them are shown, those of the most evidence.
    middle : ndarray, shape (planes,)
        Number of the frame in the middle of each mean.
    means, errors : ndarray, shape (planes, shown)
        Their means along the sequence, and 1-sigma errors; NaN where no sample is good.
    """

    stack: Stack
    found: TelegraphPixels
    shown: Array
    middle: Array
    means: Array
    errors: Array


@dataclass(frozen=True, slots=True)
class TelegraphSearch:
    """Looks at the sums of stacks; what it found is in ``stacks``.

    Attributes
    ----------
    executor : Executor
        Who computes.
    stages : float
        Stages of the register.
    read_noise : float
        Nominal, EM electrons; NaN where unknown.
    level : float
        Where samples without charge lie, EM electrons. The same for all pixels: there is no map
        of the fixed pattern before all stacks are read.
    searched : int
        Stacks that are looked at: the more, the more evidence a pixel needs.
    """

    executor: Executor
    stages: float
    read_noise: float
    level: float
    searched: int
    stacks: dict[tuple[float, float], StackTelegraph] = field(default_factory=dict)

    def look(self, stack: Stack, sums: StackSums, inside: Array) -> None:
        """Look for telegraph pixels of a stack.

        Parameters
        ----------
        stack : Stack
            The stack.
        sums : StackSums
            Its sums, with means along the sequence.
        inside : ndarray of bool, shape (pixels,)
            Pixels to look at.
        """
        if not sums.sequence:
            return
        means = [plane for part in sums.sequence for plane in part.mean]
        n = [plane for part in sums.sequence for plane in part.n]
        noise = self._noise(stack, sums, inside)
        threshold = THRESHOLD + math.log(max(self.searched, 1))
        at = np.flatnonzero(inside)

        def some(lo: int) -> TelegraphPixels:
            chosen = np.zeros(inside.size, bool)
            chosen[at[lo : lo + CHUNK]] = True
            return telegraph_pixels(
                means, n, noise, offset=self.level, chosen=chosen, threshold=threshold
            )

        parts = list(self.executor.map(some, range(0, max(at.size, 1), CHUNK)))
        found = TelegraphPixels(
            **{name: np.concatenate([getattr(part, name) for part in parts])
               for name in TelegraphPixels.__slots__}
        )  # fmt: skip
        self.stacks[stack.commanded_gain, stack.exposure_time] = _shown(
            stack, found, means, n, noise, [size for part in sums.sequence for size in part.frames]
        )

    def _noise(self, stack: Stack, sums: StackSums, inside: Array) -> SampleNoise:
        """Noise of a sample; without a nominal one, that of the stack's median pixel."""
        typical = typical_noise(sums.moments.n[inside], sums.moments.m2[inside])
        noise = min(typical, self.read_noise) if self.read_noise > 0 else typical
        gain = stack.em_gain
        return SampleNoise(noise, gain * excess_noise(gain, self.stages) if gain > 1 else 1.0)


def _shown(
    stack: Stack,
    found: TelegraphPixels,
    means: list[Array],
    n: list[Array],
    noise: SampleNoise,
    frames: list[int],
) -> StackTelegraph:
    """With the means of the pixels of the most evidence."""
    shown = np.argsort(-found.evidence, kind="stable")[:EXAMPLES]
    at = found.pixel[shown]
    samples = np.array([plane[at] for plane in n], dtype=np.float64)
    values = np.array([plane[at] for plane in means], dtype=np.float64)
    ends = np.cumsum(frames)
    return StackTelegraph(
        stack,
        found,
        shown,
        ends - np.array(frames) / 2,
        np.where(samples > 0, values, np.nan),
        noise.read_noise / np.sqrt(np.maximum(samples, 1.0)),
    )
