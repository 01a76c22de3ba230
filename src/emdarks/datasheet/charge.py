"""Charge that nobody wants: clock-induced, in the image and in the register, and dark current."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity
from emdarks.datasheet.samples import SampleChapter, of_stack
from emdarks.fit.campaign_charge import ClockCharge, clock_charge
from emdarks.fit.temperature import FrameLevels, dark_current_slope

Array = npt.NDArray[Any]

_HEADS = {
    1: ("clock_induced_charge", "clock-induced charge", "e⁻/pixel/frame"),
    2: ("dark_current", "dark current", "e⁻/pixel/s"),
}
_STACK = "frame_charge", "charge of the pixels in a frame", "e⁻/pixel/frame"
_BY_SAMPLES = (
    "charge of ordinary pixels as the samples of each stack show it, a straight line in time; "
    "cosmic rays and the charge of the register are parts of the law"
)


@dataclass(frozen=True)
class ChargeChapter:
    """Charge of ordinary pixels.

    Attributes
    ----------
    samples : SampleChapter
        Charges of the stacks.
    clock : ClockCharge or None
        Line through them; None where none is known.
    """

    samples: SampleChapter
    clock: ClockCharge | None

    @classmethod
    def of(cls, samples: SampleChapter) -> ChargeChapter:
        """Join the stacks."""
        if not any(samples.charges):
            return cls(samples, None)
        stacks = samples.evidence.stacks
        commanded = np.array([stack.commanded_gain for stack in stacks])
        return cls(samples, clock_charge(samples.charges, commanded, samples.evidence.time))

    @property
    def evidence(self) -> Evidence:
        """What they are from."""
        return self.samples.evidence

    def quantities(self) -> Iterator[Quantity]:
        """C and D, and how D depends on temperature."""
        yield from self._charges()
        yield from self._temperature()

    def _charges(self) -> Iterator[Quantity]:
        """Where C and D are not known, the charge of each stack."""
        clock = self.clock
        if clock is None or not math.isfinite(clock.dark.value):
            yield from (self._by_maps(k) for k in (1, 2))
            yield from self._of_stacks()
            return
        frames = self._frames
        for k, estimate in ((1, clock.image), (2, clock.dark)):
            yield Quantity.estimated(*_HEADS[k], estimate, _BY_SAMPLES, frames=frames)
        yield self._in_charge(clock)

    def _in_charge(self, clock: ClockCharge) -> Quantity:
        """Error of C where nobody knows of the register."""
        head = (
            "register_in_charge",
            "register charge that passes for clock-induced",
            "e⁻/pixel/frame",
        )
        if not any(each.low > 0 for each in clock.register):
            return Quantity.unknown(*head, "no charge that the register makes is found")
        return Quantity.measured(
            *head, clock.image_alone - clock.image.value, math.nan,
            "clock-induced charge of the same samples where that of the register is taken for "
            "charge of the pixels, less that above",
        )  # fmt: skip

    def _temperature(self) -> Iterator[Quantity]:
        evidence = self.evidence
        levels = [
            FrameLevels(stack.em_gain, stack.exposure_time, level, temperature)
            for stack, level, temperature in zip(
                evidence.stacks, _levels(evidence), evidence.temperatures, strict=True
            )
        ]
        found = dark_current_slope(levels)
        if math.isfinite(found.temperature):
            yield Quantity.measured(
                "temperature", "mean temperature", "°C", found.temperature, math.nan,
                "headers; weighted by what each frame says of the dark current",
                note=f"frames spread by {found.spread:.2g} degrees",
            )  # fmt: skip
        head = "dark_current_doubling", "dark current doubles every", "K"
        if max(len(each.level) for each in levels) < 2:
            yield Quantity.unknown(*head, "no stack has two frames")
            return
        if found.why_not:
            yield Quantity.unknown(*head, found.why_not)
            return
        yield Quantity.estimated(
            *head, found.doubling,
            "levels of single frames at their temperatures",
            note="cosmic rays that are not flagged lower the slope", frames=found.frames,
        )  # fmt: skip

    @property
    def _frames(self) -> int:
        """Frames of the stacks that tell it."""
        both = zip(self.evidence.stacks, self.samples.charges, strict=True)
        return sum(len(stack.frames) for stack, found in both if found is not None)

    def _of_stacks(self) -> Iterator[Quantity]:
        """Charge of each stack; where its samples do not tell it, the map of all of one time."""
        if self._has_one_time and not (any(self.samples.charges) or self.evidence.cut):
            yield self._mean(_STACK, 1)
        for stack, found in zip(self.evidence.stacks, self.samples.charges, strict=True):
            if found is not None:
                yield Quantity.estimated(
                    *_STACK, found.image,
                    "samples of the stack: clock-induced charge and dark current together",
                    frames=len(stack.frames), setting=of_stack(stack),
                )  # fmt: skip

    @property
    def _has_one_time(self) -> bool:
        """Whether what the maps have as C is clock-induced charge and dark current together."""
        return self.evidence.has(1) and not self.evidence.has(2)

    def _by_maps(self, k: int) -> Quantity:
        """C or D, where samples do not tell it."""
        if k == 1 and self._has_one_time:
            return Quantity.unknown(
                *_HEADS[k], "the stacks have one exposure time, which does not tell it from the "
                "dark current",
            )  # fmt: skip
        if not self.evidence.has(k) or self.evidence.cut:
            return Quantity.unknown(*_HEADS[k], self.evidence.cut or self.evidence.why_no[k])
        return self._mean(_HEADS[k], k)

    def _mean(self, head: tuple[str, str, str], k: int) -> Quantity:
        """Mean of a map."""
        maps = self.evidence.maps
        assert maps is not None
        ordinary = self.evidence.ordinary
        values, errors = maps.fit.values[k, ordinary], maps.fit.errors[k, ordinary]
        if not values.size:
            return Quantity.unknown(*head, "no pixel could be fitted")
        per, ratio = self.evidence.per_electron(k), self.evidence.gain_ratio
        mean, error = float(values.mean()) / per, math.sqrt(float((errors**2).sum())) / per
        by_gain = 0.0 if ratio is None else mean * ratio.error / ratio.value
        notes = "cosmic rays that are not flagged add to it", self.evidence.by_gains
        return Quantity.measured(
            *head, mean, math.hypot(error / values.size, by_gain),
            f"mean of the map over {values.size} pixels that are not hot",
            note="; ".join(filter(None, notes)), frames=self.evidence.frames,
        )  # fmt: skip


def _levels(evidence: Evidence) -> list[Array]:
    """Level of every frame of each stack, EM electrons."""
    return [np.array([each.level for each in figures]) for figures in evidence.figures]
