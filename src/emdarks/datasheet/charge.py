"""Charge that nobody wants: clock-induced, and dark current."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity

Array = npt.NDArray[Any]

_HEADS = (
    ("fixed_pattern_mean", "mean level F", "e⁻"),
    ("clock_induced_charge", "clock-induced charge", "e⁻/pixel/frame"),
    ("dark_current", "dark current", "e⁻/pixel/s"),
)


@dataclass(frozen=True)
class ChargeChapter:
    """Means of the maps over ordinary pixels.

    Attributes
    ----------
    evidence : Evidence
        What they are from.
    """

    evidence: Evidence

    @classmethod
    def of(cls, evidence: Evidence) -> ChargeChapter:
        """Take the maps."""
        return cls(evidence)

    def quantities(self) -> Iterator[Quantity]:
        """Means of C and D."""
        for k, head in enumerate(_HEADS[1:], 1):
            yield self._mean(k, head)

    def _mean(self, k: int, head: tuple[str, str, str]) -> Quantity:
        maps = self.evidence.maps
        if maps is None or not self.evidence.has(k):
            return Quantity.unknown(*head, self.evidence.why_no[k])
        ordinary = self.evidence.ordinary
        values, errors = maps.fit.values[k, ordinary], maps.fit.errors[k, ordinary]
        if not values.size:
            return Quantity.unknown(*head, "no pixel could be fitted")
        random = math.sqrt(float((errors**2).sum())) / values.size
        of_gains = _gain_error(self.evidence, k)
        by = "counts" if self.evidence.counted is not None else "means"
        return Quantity.measured(
            *head, float(values.mean()), math.hypot(random, of_gains),
            f"mean of {values.size} pixels that are not hot, fitted by {by}",
            note=f"of the error, {of_gains:.2g} come from the errors of the EM gains",
            frames=self.evidence.frames,
        )  # fmt: skip


def _gain_error(evidence: Evidence, k: int) -> float:
    """What errors of the EM gains, one of each commanded gain, do to the mean of C or D.

    A share exp(-T / g) of the electrons is counted above the threshold T: by a gain that is too
    large by a share e, T / g e too few are thought to be missing.
    """
    counted, plan = evidence.counted, evidence.plan
    if counted is None or plan is None:
        return 0.0
    gains = counted.gains
    high = np.flatnonzero(gains.error > 0)
    if not high.size:
        return 0.0
    charge = np.maximum(counted.fit.level[1] @ _columns(evidence, high), 1e-9)
    design = np.column_stack([np.ones(high.size), evidence.time[high]])
    frames = np.array([len(evidence.stacks[i].frames) for i in high])
    weight = frames / charge
    linear = np.linalg.pinv((weight * design.T) @ design) @ (weight * design.T)
    T = np.array([plan.thresholds[i].T for i in high])
    moves = linear[k - 1] * charge * T * gains.error[high] / gains.gain[high] ** 2
    commanded = np.array([evidence.stacks[i].commanded_gain for i in high])
    return math.hypot(*(float(moves[commanded == g].sum()) for g in np.unique(commanded)))


def _columns(evidence: Evidence, stacks: Array) -> Array:
    """What F, C and D are in the charge of some stacks, shape (3, stacks)."""
    time = evidence.time[stacks]
    return np.stack([np.zeros_like(time), np.ones_like(time), time])
