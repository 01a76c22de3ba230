"""The search for cosmic rays along rows, and its two sets of parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from emdarks.errors import InputError


@dataclass(frozen=True, slots=True)
class CosmicRaySearch:
    """Parameters of the search (corgidrp 5.1.1, ``detect_cosmic_rays``, median_filter_mode 0).

    In each row whose highest pixel reaches the threshold, a rank filter of ``filter + 1`` pixels
    (the median; of an even number the upper one of the two in the middle) has to reach it, too.
    From there the row is followed back to the first pixel of the plateau. That pixel is the start
    of a cosmic ray: the box around it and the tail behind it get the flag 128.

    Attributes
    ----------
    threshold, plateau : float
        What the filtered row has to reach, and what belongs to the plateau, in full wells.
    filter : int
        Pixels of the rank filter, less one.
    box : int
        Pixels on each side of the start, in rows and columns.
    tail : int or None
        The start, ``filter`` and ``tail`` pixels are flagged; None takes the tail by the EM gain.
    tail_per_gain : float
        Pixels of the tail per EM gain, where that gives it.

    Raises
    ------
    InputError
        A parameter is no number, or below 0.
    """

    threshold: float = 0.95
    plateau: float = 0.85
    filter: int = 2
    box: int = 3
    tail: int | None = 10
    tail_per_gain: float = 40 / 1000

    def __post_init__(self) -> None:
        for name in ("threshold", "plateau", "tail_per_gain"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise InputError(f"cosmic rays: {name} = {value} must be a number, 0 or above")
        for name in ("filter", "box", "tail"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1 << 24:
                raise InputError(f"cosmic rays: {name} = {value} must be a number of pixels")

    def tail_at(self, gain: float) -> int:
        """Pixels of the tail at an EM gain; a half is rounded to even, and none at gain 1."""
        if gain == 1.0:
            return 0
        return round(gain * self.tail_per_gain) if self.tail is None else self.tail


#: For darks and science frames: finds rays that saturate.
STANDARD = CosmicRaySearch()
#: Low thresholds: finds most rays of dark frames, and cuts into the charge of bright stacks.
DARK = CosmicRaySearch(threshold=0.017, plateau=0.017, filter=3, box=4, tail=None)
