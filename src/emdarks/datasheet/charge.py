"""Charge that nobody wants: clock-induced, and dark current."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
        by = "counts" if self.evidence.counted is not None else "means"
        return Quantity.measured(
            *head, float(values.mean()), random,
            f"mean of {values.size} pixels that are not hot, fitted by {by}",
            frames=self.evidence.frames,
        )  # fmt: skip
