"""EM gains from the frames: maximum likelihood of each stack's histograms of samples.

The samples of dark frames hold the gain of the register: what one electron becomes is
exponential with the gain as its mean. Histograms of all good samples are compared with the law of
a sample (`emdarks.fit.register_charge`); charges of ordinary pixels spread as the fit found, and
hot pixels enter with the charges of their fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks._core import UNFITTED
from emdarks.counting_sums import HistogramBins
from emdarks.fit.counting import CountedStacks, CountingFit
from emdarks.fit.lost_pixels import WHOLE, Samples, currents_of_lost, usual_number
from emdarks.fit.register_charge import StackCharges, StackHistograms, fit_charges
from emdarks.fit.sample_law import Charges

Array = npt.NDArray[Any]

#: Gains from so many read noises on can be fitted.
LEAST_GAIN = 3.0
#: Read noise over that which the bins were made for: histograms tell gains between these.
LEAST_NOISE, MOST_NOISE = 0.6, 4.0
#: Hot pixels up to this charge enter, in classes of 1/6 octave. Of those above, hardly a sample in
#: 100,000 lies in the bins; those of 24 to 40 left out would look like flat ray charges.
MOST_CHARGE, CLASSES = 40.0, 6
#: So many standard deviations from C of the others, a hot pixel has a C of its own.
_UNLIKE = 3.0
#: Where C and D stand in the six numbers of a covariance.
_CC, _CD = 3, 4


@dataclass(frozen=True)
class GainFit:
    """Gains as the frames have them.

    Attributes
    ----------
    gain, error : ndarray, shape (stacks,)
        One gain a commanded value, and its 1-sigma error; the commanded value and 0 where it
        cannot be measured.
    stack_gain, stack_error : ndarray, shape (stacks,)
        Of each stack alone.
    charges : sequence of StackCharges or None
        What the histograms of each stack show, with 1-sigma errors in place of intervals; None
        where they tell no gain.
    """

    gain: Array
    error: Array
    stack_gain: Array
    stack_error: Array
    charges: Sequence[StackCharges | None]

    @property
    def rays(self) -> Array:
        """Share of samples per electron of ray charges of 4 electrons; NaN where not fitted."""
        return np.array([each.ray_density(4.0) if each else math.nan for each in self.charges])


def fit_gains(
    stacks: CountedStacks, fit: CountingFit, histograms: Array, bins: HistogramBins
) -> GainFit:
    """Measure the EM gain of every commanded value of 3 read noises or more.

    Parameters
    ----------
    stacks : CountedStacks
        Stacks; bias-subtracted, so that all have one level.
    fit : CountingFit
        Their fit with the gains as they are taken to be.
    histograms : ndarray of int64, shape (stacks, 2, bins)
        Good samples of the imaging area, and of the rest.
    bins : HistogramBins
        Their bins.
    """
    size = stacks.gain.size
    gain, error = stacks.gain.copy(), np.full(size, np.inf)
    parts = stack_histograms(stacks, fit, histograms, bins)
    charges = [None if part is None else fit_charges(part, 0.0) for part in parts]
    for i, found in enumerate(charges):
        if found is not None:
            gain[i], error[i] = found.gain.value, found.gain.error
    gain = np.where(np.isfinite(error), gain, stacks.gain)
    joint, joint_error = stacks.gain.copy(), np.zeros(size)
    for g in np.unique(stacks.commanded[np.isfinite(error)]):
        same = (stacks.commanded == g) & np.isfinite(error)
        weight = 1 / error[same] ** 2
        joint[stacks.commanded == g] = (weight * gain[same]).sum() / weight.sum()
        joint_error[stacks.commanded == g] = 1 / math.sqrt(weight.sum())
    return GainFit(joint, joint_error, gain, np.where(np.isfinite(error), error, 0.0), charges)


def stack_histograms(
    stacks: CountedStacks, fit: CountingFit, histograms: Array, bins: HistogramBins
) -> list[StackHistograms | None]:
    """Histograms of stacks with what their maps say of the pixels; see `fit_gains`.

    Returns
    -------
    list of StackHistograms or None
        None at gains below 3 read noises, and where the bins do not suit the read noise.
    """
    high = stacks.commanded >= LEAST_GAIN * stacks.nominal_noise
    high &= suits(stacks.read_noise, bins)
    lost = _Lost.of(stacks, fit)
    return [
        StackHistograms(
            histograms[i],
            bins,
            float(stacks.gain[i]),
            float(stacks.flagged[i]),
            _charges(stacks, fit, lost, i),
            stacks.electron[i],
        )
        if high[i]
        else None
        for i in range(high.size)
    ]


def suits(read_noise: float, bins: HistogramBins) -> bool:
    """Whether bins are neither too narrow nor too wide for a read noise, e-; NaN suits."""
    ratio = read_noise / bins.read_noise
    return not (ratio < LEAST_NOISE or ratio > MOST_NOISE)


@dataclass(frozen=True)
class _Lost:
    """Pixels that maps do not tell, and dark currents of those that are hot."""

    pixels: Array
    current: Array

    @classmethod
    def of(cls, stacks: CountedStacks, fit: CountingFit) -> _Lost:
        high, inside = ~stacks.is_low, stacks.imaging
        n, usual = stacks.n[high], usual_number(stacks.n[high][:, inside])
        cut = (n < WHOLE * usual[:, None]).any(axis=0)
        lost = inside & ((fit.group == UNFITTED) | fit.weak | (fit.hot & cut))
        mean, gain, time = stacks.mean[high][:, lost], stacks.gain[high], stacks.time[high]
        samples = Samples(n[:, lost], mean, usual, gain, time, stacks.read_noise)
        return cls(lost, currents_of_lost(samples, fit.level[1]))


def _charges(stacks: CountedStacks, fit: CountingFit, lost: _Lost, i: int) -> Charges:
    """How the image charge of a stack is distributed."""
    mixture, hot = _mixture(stacks, fit, lost, i)
    _, C, D = fit.level[1]
    charge = max(C + stacks.time[i] * D, 1e-4)
    spread = min(stacks.time[i] * math.sqrt(fit.spread[1, 1]) / charge, 0.9)
    return Charges(mixture, 1 - hot, spread)


def _mixture(stacks: CountedStacks, fit: CountingFit, lost: _Lost, i: int) -> tuple[Array, float]:
    """Charges and shares of classes of hot pixels, and the share of all of them."""
    imaging = stacks.imaging & (stacks.n > 0).any(axis=0)
    time = float(stacks.time[i])
    of_lost = fit.level[1, 1] + time * lost.current
    charge = np.concatenate([_charge_of(fit, fit.hot & imaging & ~lost.pixels, time), of_lost])
    # Not their share of good samples: flags take samples off the hottest pixels, which the law,
    # that ends where samples are flagged, says by itself.
    return classes_of(charge, np.full(charge.size, 1.0 / max(int(imaging.sum()), 1)))


def _charge_of(fit: CountingFit, hot: Array, time: float) -> Array:
    """Charge of hot pixels at an exposure time, with the clock-induced charge that others have.

    Their own C, in part the noise of a large D, would make them differ more than they do. It
    counts where it is unlike that of others: the mean of C and D given both.
    """
    C, D = fit.values[1:, hot]
    own, both = fit.covariance[_CC, hot], fit.covariance[_CD, hot]
    off, variance = fit.level[1, 1] - C, np.maximum(fit.spread[1, 0] + own, np.finfo(float).tiny)
    taken = np.where(off**2 < _UNLIKE**2 * variance, off / variance, 0.0)
    charge: Array = C + own * taken + time * (D + both * taken)
    return charge


def classes_of(charge: Array, share: Array) -> tuple[Array, float]:
    """Hot pixels in classes of 1/6 octave.

    Parameters
    ----------
    charge, share : ndarray, shape (pixels,)
        Charge of each, and its share of all samples.

    Returns
    -------
    mixture : ndarray, shape (2, classes)
        Charges and shares of the classes up to `MOST_CHARGE`.
    share : float
        That of all together.
    """
    classes = np.round(CLASSES * np.log2(np.clip(charge, 0.01, 200)))
    found = [(charge[classes == k].mean(), share[classes == k].sum()) for k in np.unique(classes)]
    kept = [(max(c, 0.0), s) for c, s in found if s > 0 and c < MOST_CHARGE]
    return np.array(kept).reshape(-1, 2).T, float(share.sum())
