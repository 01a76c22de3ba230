"""The EM gain that a stack shows by itself, before there are maps.

Its histograms are compared with the law of a sample as in `emdarks.fit.em_gain`.
Charges of hot pixels come from the means of the pixels, which few frames hardly tell from the
chance of a single electron, and cosmic rays raise, too: that leaves some per cent of error.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.counting_sums import HistogramBins
from emdarks.fit.em_gain import LEAST_GAIN, classes_of
from emdarks.fit.noise_model import HOT_JUMP
from emdarks.fit.register_charge import (
    ANY_POWER,
    RayPower,
    StackCharges,
    StackHistograms,
    fit_charges,
)
from emdarks.fit.sample_law import ALIKE, Charges
from emdarks.one_electron import EXPONENTIAL

Array = npt.NDArray[Any]

#: Good samples of most pixels below which nothing tells hot pixels from chance.
LEAST_SAMPLES = 10
#: Rows of about so many pixels tell which share of them is how hot.
ENOUGH_PIXELS = 100_000
#: Samples with charge that a gain needs.
LEAST_CHARGED = 300
#: Charge of an ordinary pixel up to which it is told by samples above the noise.
MOST_CHARGE = 0.5
#: Hot pixels lie so many scatters, robust ones, above the others.
HOT = 6.0
#: Variance over that of a pixel's charge from which on few samples hold it: a cosmic ray hit it.
STRUCK = 3.0
#: The law of ordinary pixels takes no more relative scatter.
MOST_SPREAD = 0.9
#: How far the level may lie from that of subtracted bias, read noises.
FAR_LEVEL = 3.0
#: Relative error that hot pixels and cosmic rays leave in the gain of a stack.
SYSTEMATIC = 0.03
#: A gain with a larger relative error is none.
LARGEST_ERROR = 0.2


def gain_of_stack(
    histograms: Array, bins: HistogramBins, gain: float, n: Array, mean: Array, m2: Array
) -> tuple[float, float]:
    """Measure the EM gain of a stack of bias-subtracted dark frames.

    Parameters
    ----------
    histograms, bins, gain, n, mean, m2
        As `charges_of_stack` takes them.

    Returns
    -------
    gain, error : float
        And its 1-sigma error, `SYSTEMATIC` included; NaN where it cannot be told.
    """
    found = charges_of_stack(histograms, bins, gain, n, mean, m2, sigmas=0.0)
    if found is None:
        return math.nan, math.nan
    g = found.gain.value
    return g, math.hypot(found.gain.error, SYSTEMATIC * g)


def charges_of_stack(
    histograms: Array,
    bins: HistogramBins,
    gain: float,
    n: Array,
    mean: Array,
    m2: Array,
    flagged: float = math.inf,
    electron: Array = EXPONENTIAL,
    sigmas: float = 1.0,
    power: RayPower = ANY_POWER,
) -> StackCharges | None:
    """Measure EM gain, read noise and charges of a stack of bias-subtracted dark frames.

    Parameters
    ----------
    histograms : ndarray of int64, shape (2, bins)
        Good samples of the imaging area, and of prescan and overscan; EM electrons.
    bins : HistogramBins
        Their bins.
    gain : float
        EM gain as the headers have it.
    n, mean, m2 : ndarray, shape (rows, ...)
        Good samples of each pixel of the imaging area, their mean, and the sum of their squared
        deviations from it.
    flagged : float
        The lowest level from which on samples may be flagged, e-.
    electron : ndarray, shape (5,)
        What one electron becomes (`one_electron`).
    sigmas : float
        Intervals cover as a normal law does between so many sigma; 0: they are the errors.
    power : RayPower
        What is known of the power of ray charges.

    Returns
    -------
    StackCharges or None
        None where nothing can be told: gains below 3 read noises, few frames, little charge, or
        much.
    """
    every = max(1, n.size // ENOUGH_PIXELS)
    n, mean, m2 = (plane[::every].reshape(-1) for plane in (n, mean, m2))
    if gain < LEAST_GAIN * bins.read_noise or np.median(n) < LEAST_SAMPLES:
        return None
    stack = StackHistograms(histograms, bins, gain, flagged, electron=electron)
    level, share = stack.level(0), stack.share(0)
    charge = stack.charge
    far = abs(level) > FAR_LEVEL * bins.read_noise
    if far or share * histograms[0].sum() < LEAST_CHARGED or not charge < MOST_CHARGE:
        return None
    charges = charges_of_pixels(stack, n, mean, m2)
    found = fit_charges(replace(stack, charges=charges), sigmas, power)
    return found if found and found.gain.error < LARGEST_ERROR * found.gain.value else None


def charges_of_pixels(stack: StackHistograms, n: Array, mean: Array, m2: Array) -> Charges:
    """How image charge is distributed over the pixels of a stack, by their means.

    Parameters
    ----------
    stack : StackHistograms
        Its histograms.
    n, mean, m2 : ndarray, any shape
        As `charges_of_stack` takes them.
    """
    read_noise, gain = stack.bins.read_noise, stack.gain
    charge = stack.charge
    if not (n > 1).any() or not charge > 0:
        return ALIKE
    n, mean, m2 = (plane[n > 1] for plane in (n, mean, m2))
    middle = float(np.median(mean))
    scatter = 1.4826 * float(np.median(np.abs(mean - middle)))
    own = np.maximum(charge + (mean - middle) / gain, 0.0)
    struck = m2 / (n - 1) > STRUCK * (read_noise**2 + 2 * gain**2 * own)
    # What the gain makes of few electrons in an ordinary pixel is below this, but for 1 in 10,000.
    chance = gain * (5 * np.sqrt(2 * charge / n) + HOT_JUMP / n)
    high = mean > middle + np.maximum(HOT * scatter, chance)
    hot = high & ~struck
    noise = (read_noise**2 + 2 * gain**2 * charge) / np.median(n)
    more = max(float(mean[~high].var()) - noise, 0.0)
    # Flags cut into means and samples of the hottest pixels alike.
    mixture, share = classes_of(own[hot], n[hot] / n.sum())
    spread = min(math.sqrt(more) / (gain * charge), MOST_SPREAD)
    return Charges(mixture, 1 - share, spread)
