"""Has a number changed over a series of nights? A step, one odd night, or a slow drift.

Every possible change is a column x that is added to a constant: 0 before a night and 1 from it on
(a step), 1 in one night alone, or the time itself (a drift). With weights w = 1 / error^2 and x
without its weighted mean, the least-squares height of the change is h = sum(w x y) / sum(w x^2),
its standard error s = sum(w x^2)^(-1/2), and chi-square falls by (h / s)^2 (Bevington and Robinson,
Data Reduction and Error Analysis, chapters 6 and 7). Without any change h / s follows the normal
law, whatever the errors of the nights are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Chance that any clean series of those that are judged together raises an alarm.
FALSE_ALARMS = 0.01
#: Nights beyond the two that a change takes, from which on their scatter tells whether the errors
#: are right; of fewer only a scatter counts that right errors have with this chance.
_MANY, _SCATTERED = 10, 0.05
#: Chance that the true night of a change is among those that are named.
_CONFIDENCE = 0.99


class Shape(StrEnum):
    """How a number changed."""

    STEP = "step"
    ODD = "odd night"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Change:
    """The change that explains a series best, whether it is one or chance.

    Attributes
    ----------
    shape : Shape
        Step, odd night or drift.
    at : int
        Index of the first night after a step, or of the odd night; 0 of a drift.
    first, last : int
        Indices of the first and the last night at which it may as well be (99 %).
    size, error : float
        New minus old, in the unit of the series; of a drift, of the last night minus the first.
    sigmas : float
        Its size in standard errors; by Student's law, as the equivalent of the normal one, where
        the nights scatter by more than their errors say.
    scatter : float
        Standard deviation of the nights about it, over their errors; NaN where none are left over.
    excess : float
        How far the scatter is above 1, in standard deviations of a normal law.
    before, after : float
        Mean of the nights before and after a step; of a drift, its first and last value; of an odd
        night, the mean of all others, and its own value.
    """

    shape: Shape
    at: int
    first: int
    last: int
    size: float
    error: float
    sigmas: float
    scatter: float
    excess: float
    before: float
    after: float


def find_change(times: npt.ArrayLike, values: npt.ArrayLike, errors: npt.ArrayLike) -> Change:
    """Find the change that explains a series best.

    Parameters
    ----------
    times : array_like, shape (nights,)
        In order.
    values, errors : array_like, shape (nights,)
        Finite; errors above 0. 2 nights at least.

    Returns
    -------
    Change
        It is a change where `sigmas`, or its negative, is above a `threshold`.
    """
    t, y, s = (np.asarray(given, dtype=np.float64) for given in (times, values, errors))
    first_value = float(y[0])
    y = y - first_value  # so that numbers that are all alike leave no rounding
    weights = s**-2.0
    heights, precision = _heights(t, y, weights)
    z = heights * np.sqrt(precision)
    best = int(np.argmax(np.abs(z)))
    named = _names(t.size)
    (shape, night), column = named[best], _column(*named[best], t)
    size, error = float(heights[best]), float(precision[best] ** -0.5)
    base = float(weights @ (y - size * column) / weights.sum())
    left = float(weights @ (y - base - size * column) ** 2)
    free = t.size - 2
    same = np.array([other is shape for other, _ in named])
    first, last = _as_likely(z / max(1.0, math.sqrt(left / max(free, 1))), same, named, best)
    return Change(
        shape=shape,
        at=night,
        first=first,
        last=last,
        size=size,
        error=error,
        sigmas=_significance(float(z[best]), left, free),
        scatter=math.sqrt(left / free) if free else math.nan,
        excess=_excess(left, free),
        before=first_value + base,
        after=first_value + base + size,
    )


def ways(nights: int) -> int:
    """Number of ways in which a series of nights may raise an alarm, that of its scatter too."""
    return len(_names(nights)) + 1


def threshold(tested: int, chance: float = FALSE_ALARMS) -> float:
    """Standard errors from which on a change is no chance.

    Parameters
    ----------
    tested : int
        Ways to raise an alarm of all series together (`ways`).
    chance : float
        That any of them does where nothing has changed. It is at most this, however the series
        depend on each other (Bonferroni's inequality).
    """
    return NormalDist().inv_cdf(1.0 - chance / (2.0 * max(tested, 1)))


def _names(nights: int) -> list[tuple[Shape, int]]:
    """Possible changes. At the ends, an odd night is a step."""
    named = [(Shape.STEP, night) for night in range(1, nights)]
    named += [(Shape.ODD, night) for night in range(1, nights - 1)]
    return named + [(Shape.DRIFT, 0)] * (nights > 2)


def _heights(times: Array, values: Array, weights: Array) -> tuple[Array, Array]:
    """Least-squares height of every possible change, and the inverse of its variance.

    Of a step the latter is w1 w2 / (w1 + w2), with the sums of the weights before and after it.
    """
    w, total = weights, weights.sum()
    wy = w * (values - w @ values / total)
    before, after = w.cumsum(), w[::-1].cumsum()[::-1]
    drifts = _column(Shape.DRIFT, 0, times)[None, :][: int(times.size > 2)]
    drifts = drifts - (drifts @ w / total)[:, None]
    products = (wy[::-1].cumsum()[::-1][1:], wy[1:-1], drifts @ wy)
    precisions = (
        before[:-1] * after[1:] / total,
        w[1:-1] * (before[:-2] + after[2:]) / total,
        drifts**2 @ w,
    )
    precision = np.concatenate(precisions)
    return np.concatenate(products) / precision, precision


def _column(shape: Shape, night: int, times: Array) -> Array:
    if shape is Shape.DRIFT:
        drift: Array = (times - times[0]) / np.ptp(times)
        return drift
    number = np.arange(times.size)
    found: Array = number >= night if shape is Shape.STEP else number == night
    return found.astype(np.float64)


def _as_likely(z: Array, same: Array, named: list[tuple[Shape, int]], best: int) -> tuple[int, int]:
    """Nights at which the change may as well be: the likeliest, until 99 % are together."""
    likelihood = np.where(same, np.exp((z**2 - z[best] ** 2) / 2), 0.0)
    order = np.argsort(-likelihood, kind="stable")
    shares = np.cumsum(likelihood[order]) / likelihood.sum()
    nights = [named[i][1] for i in order[: int(np.searchsorted(shares, _CONFIDENCE)) + 1]]
    return min(nights), max(nights)


def _significance(z: float, left: float, free: int) -> float:
    """Standard errors of a change; by Student's law where that is more careful.

    Student's t as a normal deviate: Wallace, Annals of Mathematical Statistics 30 (1959) 1124.
    """
    few = free < _MANY and _excess(left, free) < NormalDist().inv_cdf(1.0 - _SCATTERED)
    if few or left <= free:
        return z
    t = z * math.sqrt(free / left)
    student = math.sqrt(free * math.log1p(t**2 / free)) * (8 * free + 1) / (8 * free + 3)
    return math.copysign(min(student, abs(z)), z)


def _excess(chi2: float, free: int) -> float:
    """Chi-square as a normal deviate: Wilson and Hilferty, PNAS 17 (1931) 684."""
    if not free:
        return -math.inf
    share = 2.0 / (9.0 * free)
    return float(((chi2 / free) ** (1.0 / 3.0) - (1.0 - share)) / math.sqrt(share))
