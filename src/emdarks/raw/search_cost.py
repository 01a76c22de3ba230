"""What a search for cosmic rays costs where there are none: the law of clean samples.

A threshold below what the gain register makes of single electrons cuts into the charge of the
frame itself. The search then flags pairs of bright samples and all that is around them, and the
mean of the samples that are left is too low, since bright samples lie beside bright ones more
often in what was flagged than in what was not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emdarks.raw.search import CosmicRaySearch

Array = npt.NDArray[np.float64]

#: Charge per sample beyond which all samples count as this bright, electrons.
_MOST_CHARGE = 100.0
#: Pixels of the rank filter, less one, that are followed; wider filters are taken as this wide.
_WIDEST = 8
#: Nodes of the integral over the read noise.
_NODES = 40


@dataclass(frozen=True, slots=True)
class SearchCost:
    """What a search does to clean samples of one stack.

    Attributes
    ----------
    flagged : float
        Share of the clean samples that it flags.
    kept_mean : float
        Mean of the samples that are left, over the true mean; NaN where none is left.
    """

    flagged: float
    kept_mean: float


def search_cost(
    search: CosmicRaySearch, threshold: float, gain: float, charge: float, read_noise: float
) -> SearchCost:
    """Share of clean samples that a search flags, and what is left of their mean.

    Parameters
    ----------
    search : CosmicRaySearch
        Its filter, box and tail.
    threshold : float
        What the filtered row has to reach, EM electrons.
    gain : float
        EM gain.
    charge : float
        Mean electrons of a sample before the register, C + t D.
    read_noise : float
        Behind the register, electrons.

    Returns
    -------
    SearchCost

    Notes
    -----
    Method page, eq. 18 (searchcost). Samples are independent: n Poisson electrons become Erlang(n,
    g), with normal read noise. The samples of a row that reach the threshold are a sequence of
    independent bits. That no window of ``filter + 1`` samples has as many as its rank asks for,
    over all windows whose start would flag a pixel, is a product of transfer matrices over the
    last ``filter`` bits: once for the pixel's own row, with the pixel itself above and below the
    threshold, and once for each of the ``2 box`` rows beside it. Plateaus of three samples and
    more count as pairs do; the plateau's own threshold is taken as the search's.
    """
    if not charge > 0.0 or not gain >= 1.0:
        return SearchCost(0.0, 1.0)
    charge = min(charge, _MOST_CHARGE)
    p, above = above_threshold(threshold, gain, charge, read_noise)
    rule = _Windows(min(search.filter, _WIDEST), p)
    reach = max(search.filter + search.tail_at(gain), search.box)
    own = [rule.free(reach + rule.more, search.box, bit) for bit in (False, True)]
    beside = rule.free(2 * search.box + 1 + rule.more, 0, None) ** (2 * search.box)
    kept = ((1.0 - p) * own[0] + p * own[1]) * beside
    mean = gain * charge
    left = ((mean - above) * own[0] + above * own[1]) * beside
    return SearchCost(1.0 - kept, left / kept / mean if kept > 0.0 else math.nan)


def above_threshold(
    threshold: float, gain: float, charge: float, read_noise: float
) -> tuple[float, float]:
    """P(x >= threshold) of a clean sample x, and the mean of x there times this probability.

    Parameters
    ----------
    threshold : float
        EM electrons.
    gain, charge, read_noise : float
        As in `search_cost`.
    """
    noise, charge = max(read_noise, 1e-9), min(charge, _MOST_CHARGE)
    z, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    weight = weight / weight.sum()
    level = threshold - noise * z
    # Survival of Erlang(n, g) at the level, n = 1, 2, ...: S_n = S_(n-1) + u^(n-1) e^-u / (n-1)!.
    u = np.maximum(level, 0.0) / gain
    term = np.exp(-u)
    survival = term.copy()
    poisson = math.exp(-charge)
    none = 0.5 * math.erfc(threshold / noise / math.sqrt(2.0))
    normal = math.exp(-0.5 * (threshold / noise) ** 2) / math.sqrt(2.0 * math.pi)
    p, mean = poisson * none, poisson * noise * normal
    for n in range(1, int(charge + 10.0 * math.sqrt(charge) + 20.0)):
        poisson *= charge / n
        term = term * (u / n)
        following = survival + term
        p += poisson * float(weight @ survival)
        mean += poisson * float(weight @ (n * gain * following + noise * z * survival))
        survival = following
    return p, mean


class _Windows:
    """Rows of independent bits, and windows that hold too many of them."""

    def __init__(self, filter_: int, p: float):
        self._p = p
        states = 1 << filter_
        windows = np.arange(2 * states)
        ones = np.array([int(window).bit_count() for window in windows])
        # The rank filter's output is high where so many of its pixels are.
        self._passes = ones < filter_ + 1 - (filter_ + 1) // 2
        self._next = windows % states
        self._start: Array = p ** ones[:states] * (1.0 - p) ** (filter_ - ones[:states])
        #: A pair of neighbours flags around two starts, three pixels apart.
        self.more = 1 if filter_ >= 2 else 0

    def free(self, before: int, behind: int, bit: bool | None) -> float:
        """Probability that no window of so many places before and behind a pixel is too full.

        Given whether the pixel itself is bright, or not given.
        """
        states = self._start
        for _ in range(before):
            states = self._step(states, self._p)
        if bit is not None:
            states = self._step(states, float(bit))
        for _ in range(behind):
            states = self._step(states, self._p)
        return float(states.sum())

    def _step(self, states: Array, p: float) -> Array:
        """One place further: probabilities of the last bits, and that no window was too full."""
        windows = np.repeat(states, 2) * np.tile([1.0 - p, p], states.size) * self._passes
        found: Array = np.zeros(states.size)
        np.add.at(found, self._next, windows)
        return found
