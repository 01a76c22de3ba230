"""A dark current that changes along a campaign: with temperature, and in telegraph pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.simulate.effects import Effects
from emdarks.simulate.truth import Truth, generator

#: Degrees in which the dark current doubles.
DOUBLING = 7.0
#: Shortest and longest cycle of a telegraph pixel over the mean one; shares of it at the high
#: level.
_CYCLES, _SHARES = (0.5, 2.0), (0.125, 0.875)


@dataclass(frozen=True, eq=False)
class Telegraph:
    """Pixels whose dark current has two levels in time, arrays of shape (pixels,).

    Attributes
    ----------
    pixel : ndarray of int
        Where they are, flat in the frame.
    cycle : ndarray
        Seconds from one rise to the next.
    phase, share : ndarray
        Where in its cycle each is when the campaign begins, and the share of it at the high level.
    """

    pixel: npt.NDArray[Any]
    cycle: npt.NDArray[Any]
    phase: npt.NDArray[Any]
    share: npt.NDArray[Any]

    def is_high(self, elapsed: float) -> npt.NDArray[np.bool_]:
        """Which are at the high level so many seconds after the campaign began."""
        high: npt.NDArray[np.bool_] = (elapsed / self.cycle + self.phase) % 1.0 < self.share
        return high


@lru_cache(maxsize=2)
def telegraph_of(truth: Truth, effects: Effects) -> Telegraph:
    """The telegraph pixels of a detector; ``effects.telegraph`` is their share."""
    rng = generator(truth.seed, 4)
    inside = np.flatnonzero(truth.imaging_area)
    pixel = np.sort(rng.choice(inside, round(effects.telegraph * inside.size), replace=False))
    shortest, longest = (math.log(ratio) for ratio in _CYCLES)
    cycle = effects.telegraph_cycle * np.exp(rng.uniform(shortest, longest, pixel.size))
    return Telegraph(pixel, cycle, rng.random(pixel.size), rng.uniform(*_SHARES, pixel.size))


def changed_current(truth: Truth, elapsed: float, effects: Effects) -> Any:
    """What is added to the dark current so many seconds after a campaign began.

    Parameters
    ----------
    truth : Truth
        The detector.
    elapsed : float
        Seconds.
    effects : Effects
        How its dark current changes.

    Returns
    -------
    ndarray of float64, shape (rows, columns), or None
        Electrons per pixel and second; None where nothing changes.
    """
    if not (effects.warming or effects.telegraph):
        return None
    factor = 2.0 ** (effects.warmer(elapsed) / DOUBLING)
    added = truth.dark_current * (factor - 1.0)
    if effects.telegraph:
        pixels = telegraph_of(truth, effects)
        high = pixels.pixel[pixels.is_high(elapsed)]
        added.reshape(-1)[high] += factor * effects.telegraph_current
    return added
