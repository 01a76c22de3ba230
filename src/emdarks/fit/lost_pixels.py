"""Hot pixels that no map tells, since their samples are flagged where exposures are long.

A pixel of some tens of electrons at a large EM gain is above the full well in all frames of a long
stack, and what is left of its stacks does not tell F, C and D, or badly. Its samples of short
stacks are in the histograms: left out of the law, they make the gain too large.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Share of the usual number of good samples from which on those of a stack are no selection.
WHOLE = 0.8
#: Pixels that tell the usual number.
_SOME = 10_000
#: A pixel is hot so many standard errors, and electrons, above the others.
_SIGMAS, _ELECTRONS = 5.0, 2.0
#: Variance of what a register makes of one electron, and of their number: in gains squared.
_EXCESS = 2.0


def usual_number(n: Array) -> Array:
    """Good samples that a pixel of each stack usually has; of some pixels, which are enough."""
    return np.median(n[:, :: max(n.shape[1] // _SOME, 1)], axis=1)


class Samples(NamedTuple):
    """Good samples of the stacks whose gain shows electrons.

    Attributes
    ----------
    n, mean : ndarray, shape (stacks, pixels)
        Number and mean, EM electrons, of the pixels that no map tells.
    usual : ndarray, shape (stacks,)
        Number of good samples that other pixels have.
    gain, time : ndarray, shape (stacks,)
        EM gain; exposure time, s.
    read_noise : float
        Electrons.
    """

    n: Array
    mean: Array
    usual: Array
    gain: Array
    time: Array
    read_noise: float


def currents_of_lost(samples: Samples, level: Array) -> Array:
    """Dark currents of those pixels that are hot, as their unflagged stacks show them.

    Parameters
    ----------
    samples : Samples
        Of the pixels.
    level : ndarray, shape (3,)
        Means of F, C and D over ordinary pixels.

    Returns
    -------
    ndarray, shape (hot,)
        e-/s. They scatter as the pixels do: what their errors would add is taken off.
    """
    F, C, D = level.tolist()
    gain, time = samples.gain[:, None], samples.time[:, None]
    n = np.where(samples.n >= WHOLE * samples.usual[:, None], samples.n, 0.0)
    charge = (n * (np.where(n > 0, samples.mean, F) - F) / gain).sum(axis=0)
    expected = (n * (C + time * D)).sum(axis=0)
    noise = (n * (samples.read_noise / gain) ** 2).sum(axis=0)
    seconds = (n * time).sum(axis=0)
    excess = charge - expected
    hot = excess > _SIGMAS * np.sqrt(_EXCESS * np.maximum(expected, 0.0) + noise) + _ELECTRONS
    hot &= seconds > 0
    found: Array = D + excess[hot] / seconds[hot]
    if found.size < 2:
        return found
    variance = float(((_EXCESS * charge[hot] + noise[hot]) / seconds[hot] ** 2).mean())
    true = max(1.0 - variance / max(float(found.var()), np.finfo(float).tiny), 0.0)
    middle = float(found.mean())
    return middle + math.sqrt(true) * (found - middle)
