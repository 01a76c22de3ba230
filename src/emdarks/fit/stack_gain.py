"""The EM gain that a stack shows by itself, before there are maps.

The histogram of its samples is compared with the law of a sample as in `emdarks.fit.em_gain`.
Charges of hot pixels come from the means of the pixels, which few frames hardly tell from the
chance of a single electron, and cosmic rays raise, too: that leaves some per cent of error.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.counting_sums import T_NOISE, HistogramBins
from emdarks.fit.em_gain import LEAST_GAIN, Samples, classes_of
from emdarks.fit.noise_model import HOT_JUMP

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
#: How far the level may lie from that of subtracted bias, read noises.
FAR_LEVEL = 3.0
#: Relative error that hot pixels and cosmic rays leave in the gain of a stack.
SYSTEMATIC = 0.03
#: A gain with a larger relative error is none.
LARGEST_ERROR = 0.2


def gain_of_stack(
    histogram: Array, bins: HistogramBins, gain: float, n: Array, mean: Array, m2: Array
) -> tuple[float, float]:
    """Measure the EM gain of a stack of bias-subtracted dark frames.

    Parameters
    ----------
    histogram : ndarray of int64, shape (bins,)
        Good samples of the imaging area, EM electrons.
    bins : HistogramBins
        Their bins.
    gain : float
        EM gain as the headers have it.
    n, mean, m2 : ndarray, shape (rows, ...)
        Good samples of each pixel of the imaging area, their mean, and the sum of their squared
        deviations from it.

    Returns
    -------
    gain, error : float
        And its 1-sigma error, `SYSTEMATIC` included; NaN where it cannot be told: gains below 3
        read noises, few frames, little charge, or much.
    """
    none = math.nan, math.nan
    every = max(1, n.size // ENOUGH_PIXELS)
    n, mean, m2 = (plane[::every].reshape(-1) for plane in (n, mean, m2))
    if gain < LEAST_GAIN * bins.read_noise or np.median(n) < LEAST_SAMPLES:
        return none
    level = bins.middle(int(np.argmax(histogram[: bins.even])))
    above = histogram[bins.edges[:-1] >= level + T_NOISE * bins.read_noise].sum()
    charge = float(above / max(histogram.sum(), 1)) * math.exp(T_NOISE * bins.read_noise / gain)
    far = abs(level) > FAR_LEVEL * bins.read_noise
    if far or above < LEAST_CHARGED or not charge < MOST_CHARGE:
        return none
    found, error = none
    # Where the law is none of these samples, the equations may be singular.
    with suppress(np.linalg.LinAlgError):
        pixels = _Pixels(n[n > 1], mean[n > 1], m2[n > 1])
        samples = _samples(histogram, bins, gain, charge, level, pixels)
        found, error, _ = samples.fit(*_start(gain, charge, level, bins.read_noise))
    if not (error < LARGEST_ERROR * found and found > 0):
        return none
    return found, math.hypot(error, SYSTEMATIC * found)


def charges_of_pixels(
    histogram: Array, bins: HistogramBins, gain: float, n: Array, mean: Array, m2: Array
) -> tuple[Array, float, float]:
    """How charge is distributed over the pixels of a stack, by their means.

    Parameters
    ----------
    histogram, bins, gain, n, mean, m2
        As of `gain_of_stack`; of any shape.

    Returns
    -------
    mixture : ndarray, shape (2, classes)
        Charges of classes of hot pixels, and their shares of the samples.
    ordinary, spread : float
        Share of the ordinary pixels, and relative scatter of their charges.
    """
    level = bins.middle(int(np.argmax(histogram[: bins.even])))
    above = histogram[bins.edges[:-1] >= level + T_NOISE * bins.read_noise].sum()
    charge = float(above / max(histogram.sum(), 1)) * math.exp(T_NOISE * bins.read_noise / gain)
    if not (n > 1).any() or not charge > 0:
        return np.empty((2, 0)), 1.0, 0.0
    found = _samples(
        histogram, bins, gain, charge, level, _Pixels(n[n > 1], mean[n > 1], m2[n > 1])
    )
    return found.mixture, found.ordinary, found.spread


def _start(gain: float, charge: float, level: float, noise: float) -> tuple[Array, Array, Array]:
    """Parameters to start from, steps of differences, and largest changes."""
    start = np.array([gain, charge, level, noise, 1e-6])
    step = np.array([0.002 * gain, 0.002 * charge, 0.005 * noise, 0.002 * noise, 1e-6])
    most = np.array([0.2 * gain, 0.5 * charge + 1e-5, noise, 0.1 * noise, 1e-2])
    return start, step, most


class _Pixels(NamedTuple):
    """Sums of pixels that have two samples or more."""

    n: Array
    mean: Array
    m2: Array


def _samples(
    histogram: Array, bins: HistogramBins, gain: float, charge: float, level: float, pixels: _Pixels
) -> Samples:
    """The histogram, with what the sums of the pixels say of their charges."""
    n, mean, m2 = pixels
    middle = float(np.median(mean))
    scatter = 1.4826 * float(np.median(np.abs(mean - middle)))
    own = np.maximum(charge + (mean - middle) / gain, 0.0)
    struck = m2 / (n - 1) > STRUCK * (bins.read_noise**2 + 2 * gain**2 * own)
    # What the gain makes of few electrons in an ordinary pixel is below this, but for 1 in 10,000.
    chance = gain * (5 * np.sqrt(2 * charge / n) + HOT_JUMP / n)
    high = mean > middle + np.maximum(HOT * scatter, chance)
    hot = high & ~struck
    noise = (bins.read_noise**2 + 2 * gain**2 * charge) / np.median(n)
    more = max(float(mean[~high].var()) - noise, 0.0)
    mixture, share = classes_of(own[hot], n[hot] / n.sum())
    spread = min(math.sqrt(more) / (gain * charge), 0.9)
    return Samples.of(histogram, bins, (level, gain), mixture, share, spread)
