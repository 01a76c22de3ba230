"""What the histograms of all stacks say together: clock-induced charge, and drifts of the gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import Estimate, chi_square_tail
from emdarks.fit.register_charge import ANY_POWER, RayPower, StackCharges

Array = npt.NDArray[Any]

#: The power of ray charges below the flagging level differs between gains by about so much.
_BETWEEN = 0.15
#: Below this probability stacks scatter more than chance, and errors are wider by as much.
_UNLIKELY = 2 * NormalDist().cdf(-3.0)


@dataclass(frozen=True)
class ClockCharge:
    """Charge of image and register, from all stacks.

    Attributes
    ----------
    image, dark : Estimate
        Clock-induced charge of ordinary pixels, e-/pixel/frame, and dark current, e-/pixel/s:
        unknown where stacks have one time.
    image_alone : float
        Clock-induced charge where that of the register is taken for charge of the image.
    gains : ndarray, shape (gains,)
        Commanded EM gains.
    register : sequence of Estimate
        Charge made in the register at each of them, e-/pixel/frame.
    """

    image: Estimate
    dark: Estimate
    image_alone: float
    gains: Array
    register: Sequence[Estimate]

    @property
    def raised(self) -> float:
        """Relative error of the clock-induced charge that ignores the register."""
        return self.image_alone / self.image.value - 1 if self.image.value else math.nan

    def effective(self, index: int) -> Estimate:
        """Charge of the register over the gain: as if so many electrons had entered it."""
        g = float(self.gains[index])
        return self.register[index].scaled((1 - 1 / g) / math.log(g))


def clock_charge(
    charges: Sequence[StackCharges | None], commanded: Array, time: Array
) -> ClockCharge:
    """Join the charges of stacks.

    Parameters
    ----------
    charges : sequence of StackCharges or None
        Of each stack; None where it tells none.
    commanded, time : ndarray, shape (stacks,)
        Its EM gain as commanded, and exposure time, s.

    Returns
    -------
    ClockCharge
        Image charge is a straight line in time.
    """
    known = [i for i, found in enumerate(charges) if found is not None]
    found = [each for each in charges if each is not None]
    t, g = time[known], commanded[known]
    design = np.stack([np.ones(t.size), t], axis=1)
    value, error = (
        np.array([getattr(each.image, k) for each in found]) for k in ("value", "error")
    )
    image, dark = _line(design, value, error)
    alone, _ = _line(design, np.array([each.image_alone for each in found]), error)
    gains = np.unique(g)
    register = [
        weighted_mean([each.register for each, own in zip(found, g, strict=True) if own == gain])
        for gain in gains
    ]
    return ClockCharge(image, dark, alone.value, gains, register)


def powers_of_others(charges: Sequence[StackCharges | None]) -> list[RayPower]:
    """What all other stacks of a campaign say of the power of ray charges, for each stack.

    Rays are those of one detector, but what is flagged of them depends on the gain.
    """
    told = [None if found is None else found.power for found in charges]

    def of_others(i: int) -> RayPower:
        some = [each for k, each in enumerate(told) if each is not None and k != i]
        value = np.array([each.value for each in some])
        error2 = np.array([each.error**2 for each in some])
        weight = 1 / (error2 + _BETWEEN**2)
        total = weight.sum() + 1 / ANY_POWER.error**2
        mean = (weight @ value + ANY_POWER.value / ANY_POWER.error**2) / total
        return RayPower(float(mean), 1 / math.sqrt(total))

    return [of_others(i) for i in range(len(told))]


def weighted_mean(some: Sequence[Estimate]) -> Estimate:
    """Mean of estimates of one number, weighted by their errors; of one, itself."""
    known = [each for each in some if math.isfinite(each.error)]
    if len(known) < 2:
        return known[0] if known else Estimate.unknown()
    return _common(known)[0][0]


def disagree(some: Sequence[Estimate]) -> bool:
    """Whether estimates of one number scatter by more than chance."""
    known = [each for each in some if math.isfinite(each.error)]
    return len(known) > 1 and _common(known)[1] < _UNLIKELY


def _common(known: Sequence[Estimate]) -> tuple[list[Estimate], float]:
    """Their mean, and the probability of so much scatter."""
    value, error = (np.array([getattr(each, k) for each in known]) for k in ("value", "error"))
    return _weighted_fit(np.ones((value.size, 1)), value, error)


@dataclass(frozen=True)
class GainDrift:
    """How the EM gain changes along a campaign.

    Attributes
    ----------
    slope : Estimate
        Relative change per unit of time.
    p_value : float
        Probability of a slope at least so far from 0 by chance.
    spread_p_value : float
        Probability that chance scatters the gains about the line at least so much.
    """

    slope: Estimate
    p_value: float
    spread_p_value: float


def gain_drift(when: Array, commanded: Array, gain: Array, error: Array) -> GainDrift | None:
    """Measure the drift of the gain from stacks in time order.

    Stacks of one commanded gain share what that gain really is; all share the relative slope.

    Parameters
    ----------
    when : ndarray, shape (stacks,)
        Middle of each stack, in any unit of time.
    commanded, gain, error : ndarray, shape (stacks,)
        EM gain as commanded, as measured, and its 1-sigma error; NaN or 0: not measured.

    Returns
    -------
    GainDrift or None
        None where no commanded gain was measured at two times.
    """
    known = np.isfinite(gain) & (error > 0) & np.isfinite(when)
    when, commanded, gain, error = (x[known] for x in (when, commanded, gain, error))
    groups = np.unique(commanded)
    same = (commanded[:, None] == groups) * 1.0
    design = np.concatenate([(when - when[:1])[:, None], same], axis=1)
    if not _determined(design):
        return None
    (slope, *_), chance = _weighted_fit(design, np.log(gain), error / gain)
    return GainDrift(slope, math.erfc(abs(slope.value) / slope.error / math.sqrt(2)), chance)


def _line(design: Array, value: Array, error: Array) -> tuple[Estimate, Estimate]:
    """First and last coefficient of a weighted fit; unknown where the design does not tell them."""
    if not _determined(design):
        return Estimate.unknown(), Estimate.unknown()
    found, _ = _weighted_fit(design, value, error)
    return found[0], found[-1]


def _determined(design: Array) -> bool:
    # Older NumPy has no rank of a matrix without rows.
    return len(design) > 0 and int(np.linalg.matrix_rank(design)) == design.shape[1]


def _weighted_fit(design: Array, value: Array, error: Array) -> tuple[list[Estimate], float]:
    """Coefficients, and the probability of so much scatter, with which their errors grow."""
    A, y = design / error[:, None], value / error
    covariance = np.linalg.inv(A.T @ A)
    found = covariance @ (A.T @ y)
    freedom = value.size - design.shape[1]
    chi2 = float(((y - A @ found) ** 2).sum())
    chance = chi_square_tail(chi2, freedom) if freedom else 1.0
    if chance < _UNLIKELY:
        covariance *= chi2 / freedom
    errors = np.sqrt(np.diag(covariance))
    return [Estimate.normal(*each) for each in zip(found, errors, strict=True)], chance
