"""EM gain of each stack, as its samples show it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity
from emdarks.fit.em_gain import LEAST_GAIN
from emdarks.fit.stack_gain import gain_of_stack
from emdarks.stacks import Stack

Array = npt.NDArray[Any]


def of_stack(stack: Stack) -> dict[str, float | str]:
    """The setting of a quantity of one stack."""
    return {"em_gain": stack.commanded_gain, "exposure_time": stack.exposure_time}


@dataclass(frozen=True)
class SampleChapter:
    """EM gains by the likelihood of histograms.

    Attributes
    ----------
    evidence : Evidence
        What they are from.
    gain, error : ndarray, shape (stacks,)
        Of each stack alone, NaN where it cannot be measured.
    """

    evidence: Evidence
    gain: Array
    error: Array

    @classmethod
    def of(cls, evidence: Evidence) -> SampleChapter:
        """Measure."""
        if evidence.counted is not None:
            gains = evidence.counted.gains
            known = gains.stack_error > 0
            gain, error = (
                np.where(known, each, np.nan) for each in (gains.stack_gain, gains.stack_error)
            )
        else:
            gain, error = _gains(evidence)
        return cls(evidence, gain, error)

    def quantities(self) -> Iterator[Quantity]:
        """EM gains, against commanded ones."""
        for i, stack in enumerate(self.evidence.stacks):
            yield self._gain(i, stack)
        yield from self._ratios()

    def _gain(self, i: int, stack: Stack) -> Quantity:
        head = "em_gain", "EM gain", ""
        bins = self.evidence.bins
        setting = of_stack(stack)
        if math.isfinite(self.gain[i]):
            return Quantity.measured(
                *head, self.gain[i], self.error[i],
                "likelihood of the histogram of the stack's samples",
                frames=len(stack.frames), setting=setting,
                note=f"commanded {stack.commanded_gain:g}, by the headers {stack.em_gain:.6g}",
            )  # fmt: skip
        if bins is None:
            why = "no read noise is known before the frames are read (read_noise, --read-noise)"
        elif stack.commanded_gain < LEAST_GAIN * bins.read_noise:
            why = f"single electrons drown in the read noise: it takes {LEAST_GAIN:g} read noises"
        else:
            why = "too few samples with charge"
        return Quantity.unknown(*head, why, setting)

    def _ratios(self) -> Iterator[Quantity]:
        commanded = np.array([stack.commanded_gain for stack in self.evidence.stacks])
        known = np.isfinite(self.gain)
        for g in np.unique(commanded[known]):
            same = known & (commanded == g)
            weight = 1 / self.error[same] ** 2
            value = float((weight * self.gain[same]).sum() / weight.sum())
            frames = sum(
                len(stack.frames)
                for stack, use in zip(self.evidence.stacks, same, strict=True)
                if use
            )
            yield Quantity.measured(
                "em_gain_ratio", "EM gain over commanded", "",
                value / g, 1 / math.sqrt(weight.sum()) / g,
                "gains of the stacks of this commanded gain, weighted by their errors",
                frames=frames, setting={"em_gain": float(g)},
            )  # fmt: skip


def _gains(evidence: Evidence) -> tuple[Array, Array]:
    """Of each stack by itself, without maps."""
    found = np.full((2, len(evidence.stacks)), np.nan)
    store, inside = evidence.store, evidence.frame.imaging
    if evidence.bins is None or store.histograms is None:
        return found[0], found[1]
    for i, stack in enumerate(evidence.stacks):
        planes = (store.n[i, inside], store.mean[i, inside], store.m2[i, inside])
        found[:, i] = gain_of_stack(
            store.histograms[i, 0], evidence.bins, stack.em_gain, *(p[:, None] for p in planes)
        )
    return found[0], found[1]
