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
    ordinary : ndarray of bool, shape (pixels,)
        Pixels of the imaging area that are fitted and not hot.
    """

    evidence: Evidence
    ordinary: Array

    @classmethod
    def of(cls, evidence: Evidence) -> ChargeChapter:
        """Find the ordinary pixels."""
        inside = evidence.frame.imaging & evidence.frame.signal
        if evidence.maps is not None:
            inside = inside & evidence.maps.fit.fitted
            D = evidence.maps.fit.values[2]
            if evidence.maps.model.has_d and inside.any():
                middle = np.median(D[inside])
                scatter = 1.4826 * np.median(np.abs(D[inside] - middle))
                inside = inside & (middle + 6 * scatter > D)
        return cls(evidence, inside)

    def quantities(self) -> Iterator[Quantity]:
        """Means of C and D."""
        for k, head in enumerate(_HEADS[1:], 1):
            yield self._mean(k, head)

    def _mean(self, k: int, head: tuple[str, str, str]) -> Quantity:
        maps = self.evidence.maps
        if maps is None:
            return Quantity.unknown(*head, self.evidence.no_maps)
        if not maps.model.fitted[k]:
            why = "stacks of one EM gain" if k == 1 else "stacks of one exposure time"
            return Quantity.unknown(*head, f"{why} do not tell it")
        values, errors = maps.fit.values[k, self.ordinary], maps.fit.errors[k, self.ordinary]
        if not values.size:
            return Quantity.unknown(*head, "no pixel could be fitted")
        random = math.sqrt(float((errors**2).sum())) / values.size
        by = "counts" if self.evidence.counted is not None else "means"
        return Quantity.measured(
            *head, float(values.mean()), random,
            f"mean of {values.size} pixels that are not hot, fitted by {by}",
            frames=self.evidence.frames,
        )  # fmt: skip
