"""Photon counting: electrons a frame from the share of frames above a threshold.

Method page, eq. 24 (counts). Of n good samples of a pixel, a lie above
the threshold T, and a is a binomial number with the probability P(x > T; lambda) of the law of a
sample: electrons below the threshold, pixels with two electrons that count once, and read noise
that counts as an electron are all in it. `CountLaw` solves for lambda. `third_order_rate` is the
published series instead, which knows the first two of these: Nemati (2020), Proc. SPIE 11443,
114435F; Basden, Haniff & Mackay (2003), MNRAS 345, 985.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.one_electron import one_electron

__all__ = [
    "MOST_RATE",
    "CountLaw",
    "SeriesLaw",
    "beta_quantile",
    "binomial_interval",
    "expected_shares",
    "rate_interval",
    "third_order_rate",
    "third_order_variance",
]

Array = npt.NDArray[Any]

#: Rates that the law is solved for, electrons a frame: a noisy share may ask for less than none.
LEAST_RATE, MOST_RATE = -0.5, 12.0
#: Steps of Newton's rule; in the logarithm of the share below it needs three or four.
_STEPS = 8
#: Beyond so many standard deviations a pixel is not like the others; how often these are sought.
FAR, _ROUNDS = 5.0, 8


@dataclass(frozen=True, slots=True)
class CountLaw:
    """The law of counts: how often a sample lies above a threshold.

    Attributes
    ----------
    threshold : float
        T, EM electrons.
    gain : float
        EM gain.
    read_noise : float
        Standard deviation, EM electrons.
    stages : float
        Stages of the gain register; infinite: what one electron becomes is exponential.
    """

    threshold: float
    gain: float
    read_noise: float
    stages: float = math.inf

    def share(self, rate: npt.ArrayLike, level: npt.ArrayLike = 0.0) -> Array:
        """P(x > T), the expected counts of a pixel in a frame; false ones included.

        Parameters
        ----------
        rate : array_like
            Mean number of electrons lambda.
        level : array_like
            Mean of samples without charge, EM electrons: F of the pixel.
        """
        return self.statistics(rate, level)[0]

    def statistics(
        self, rate: npt.ArrayLike, level: npt.ArrayLike = 0.0
    ) -> tuple[Array, Array, Array]:
        """P(x > T), and its derivatives to the rate and to the level.

        Parameters
        ----------
        rate, level : array_like
            As in `share`.

        Returns
        -------
        share, by_rate, by_level : ndarray
            Of the shape of both parameters together.
        """
        charge, F = np.broadcast_arrays(np.asarray(rate, float), np.asarray(level, float))
        out = np.empty((len(_core.COUNTING_STATISTICS), charge.size))
        points = np.ascontiguousarray(self.threshold - F.reshape(-1)), np.ravel(charge).copy()
        electron = one_electron(self.gain, self.read_noise, self.stages, self.threshold)
        _core.counting_statistics(*points, 0.0, self.gain, self.read_noise, electron, out)
        found = dict(zip(_core.COUNTING_STATISTICS, out, strict=True))
        share, by_rate, by_level = (found[name].reshape(charge.shape) for name in ("P", "dP", "p"))
        return share, by_rate, by_level

    def rate(self, share: npt.ArrayLike, level: npt.ArrayLike = 0.0) -> Array:
        """The rate at which this share of samples is expected above the threshold.

        Method page, eq. 25 (rate). Newton's rule for log(1 - P), which is nearly straight.

        Parameters
        ----------
        share : array_like
            Share of the samples above the threshold.
        level : array_like
            As in `share`.

        Returns
        -------
        ndarray
            Electrons a frame, signed: without charge read noise alone gives a share. NaN where
            the share is that of more than ``MOST_RATE`` electrons, or all.
        """
        p, F = np.broadcast_arrays(np.asarray(share, float), np.asarray(level, float))
        most = self.share(MOST_RATE, F)
        known = p < most
        wanted = np.log1p(-np.where(known, p, 0.0))
        rate = np.zeros(p.shape)
        for _ in range(_STEPS):
            P, by_rate, _ = self.statistics(rate, F)
            step = (np.log1p(-P) - wanted) * (1.0 - P) / by_rate
            rate = np.clip(rate + step, LEAST_RATE, MOST_RATE)
        return np.where(known, rate, np.nan)

    def false_counts(self) -> float:
        """Counts of a pixel in a frame that read noise alone makes: P(x > T) without charge."""
        return float(self.share(0.0))

    def lost(self) -> float:
        """Share of single electrons that stay below the threshold."""
        with_none, by_rate, _ = self.statistics(0.0)
        return float(1.0 - with_none - by_rate)

    def coincidence(self, rate: float) -> float:
        """Share of the counts of single electrons that are missing since pixels hold several.

        Parameters
        ----------
        rate : float
            Mean number of electrons, above 0.
        """
        with_none, by_rate, _ = self.statistics(0.0)
        return float(1.0 - (self.share(rate) - with_none) / (rate * by_rate))

    def error(self, rate: float, frames: float) -> float:
        """Error of a rate that is counted in so many frames, electrons a frame.

        Method page, eq. 26 (counterr), with the expected share. Counting each electron would
        have sqrt(rate / frames).

        Parameters
        ----------
        rate : float
            Mean number of electrons.
        frames : float
            Good samples of the pixel.
        """
        share, by_rate, _ = self.statistics(rate)
        return float(np.sqrt(share * (1.0 - share) / frames) / by_rate)


def expected_shares(above: Array, n: Array, pixels: Array) -> Array:
    """Shares of counts that errors go by: those of alike pixels, followed as far as they differ.

    A pixel's own share makes a poor error: 0 where nothing was counted, and small wherever few
    counts happened to fall, so that means weighted by it are too low. The variance of true
    shares is what the observed ones scatter more than the binomial; with it, a share is moved
    towards the mean of all (empirical Bayes). Pixels far from all others keep their own, by
    Laplace's rule of succession: (above + 1) / (n + 2). Method page, eq. 26 (counterr).

    Parameters
    ----------
    above, n : ndarray, shape (kinds,)
        Samples above the threshold, and all good ones.
    pixels : ndarray, shape (kinds,)
        How many pixels have these.

    Returns
    -------
    ndarray, shape (kinds,)
        Shares, neither 0 nor 1.
    """
    own, good = above / np.maximum(n, 1), np.maximum(n, 1)
    weight = np.where(n > 0, pixels, 0)
    alike = n > 0
    for _ in range(_ROUNDS):
        chosen = np.where(alike, weight, 0)
        mean = ((chosen * above).sum() + 1.0) / ((chosen * n).sum() + 2.0)
        noise = mean * (1.0 - mean) / good
        excess = (own - mean) ** 2 - noise
        spread = max(float((chosen * excess).sum()) / max(int(chosen.sum()), 1), 0.0)
        alike = (n > 0) & (excess <= (FAR**2 - 1.0) * noise + FAR**2 * spread)
    shrunk = mean + spread / (spread + noise) * (own - mean)
    return np.where(alike, shrunk, (above + 1.0) / (n + 2.0))


def binomial_interval(
    above: npt.ArrayLike, n: npt.ArrayLike, confidence: float = 0.6827
) -> tuple[Array, Array]:
    """Central interval of the probability of which ``above`` of ``n`` are a draw.

    Clopper & Pearson (1934), Biometrika 26, 404: it covers the truth at least as often as it
    says, whatever the probability.

    Parameters
    ----------
    above, n : array_like of int
        Samples above the threshold, and all good ones.
    confidence : float
        Probability with which the interval holds the truth, at least.

    Returns
    -------
    low, high : ndarray
        Its ends; 0 and 1 where n is 0.
    """
    a, size = np.broadcast_arrays(np.asarray(above, float), np.asarray(n, float))
    pairs, places = np.unique(np.stack([a.ravel(), size.ravel()]), axis=1, return_inverse=True)
    k, m = pairs
    tail = (1.0 - confidence) / 2.0
    low = np.where(k > 0, beta_quantile(tail, np.maximum(k, 1), m - k + 1), 0.0)
    high = np.where(k < m, beta_quantile(1.0 - tail, k + 1, np.maximum(m - k, 1)), 1.0)
    where = places.reshape(-1)
    return low[where].reshape(a.shape), high[where].reshape(a.shape)


def rate_interval(above: Array, n: Array, law: CountLaw, confidence: float) -> tuple[Array, Array]:
    """Intervals of rates from those of shares.

    Parameters
    ----------
    above, n : ndarray
        Samples above the threshold, and all good ones.
    law : CountLaw
        The law of the counts.
    confidence : float
        As in `binomial_interval`.

    Returns
    -------
    low, high : ndarray
        Electrons a frame; NaN where n is 0, an infinite end where the counts tell none.
    """
    shares = binomial_interval(above, n, confidence)
    low, high = (law.rate(share) for share in shares)
    low, high = np.where(np.isnan(low), MOST_RATE, low), np.where(np.isnan(high), np.inf, high)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def beta_quantile(probability: float, a: Array, b: Array) -> Array:
    """Where the cumulative beta distribution of parameters a and b reaches a probability.

    Halving: 60 times, so to the last bits of a double.
    """
    low, high = np.zeros(a.shape), np.ones(a.shape)
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = _cumulative_beta(middle, a, b) < probability
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def _cumulative_beta(x: Array, a: Array, b: Array) -> Array:
    """Regularised incomplete beta function I_x(a, b): DLMF, eq. 8.17.22, by Lentz's rule."""
    swapped = x > (a + 1.0) / (a + b + 2.0)
    x, a, b = np.where(swapped, 1.0 - x, x), np.where(swapped, b, a), np.where(swapped, a, b)
    front = np.exp(_log_beta_factor(a, b) + a * np.log(x) + b * np.log1p(-x)) / a
    part = front * _beta_fraction(x, a, b)
    found: Array = np.where(swapped, 1.0 - part, part)
    return found


def _log_beta_factor(a: Array, b: Array) -> Array:
    """-log B(a, b)."""
    return np.array(
        [math.lgamma(p + q) - math.lgamma(p) - math.lgamma(q) for p, q in zip(a, b, strict=True)]
    )


def _beta_fraction(x: Array, a: Array, b: Array) -> Array:
    """The continued fraction of DLMF, eq. 8.17.22, x below (a + 1) / (a + b + 2)."""
    tiny = 1e-300
    d = 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    c, value = np.ones(x.shape), d
    for m in range(1, 400):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / np.maximum(1.0 + term * d, tiny)
            c = np.maximum(1.0 + term / c, tiny)
            value = value * (c * d)
        if np.all(np.abs(c * d - 1.0) < 1e-14):
            break
    return value


def third_order_rate(
    above: Array, n: Array, threshold: float, gain: float, iterations: int
) -> Array:
    """Rate from counts by the published series: method page, eq. 27 (thirdorder).

    Parameters
    ----------
    above, n : ndarray
        Samples above the threshold, and all good ones.
    threshold : float
        EM electrons.
    gain : float
        EM gain.
    iterations : int
        Steps of Newton's rule.

    Returns
    -------
    ndarray
        Electrons a frame, 0 where nothing was counted. Negative where so many frames count that
        the series is left.
    """
    counted = (above > 0) & (n > 0)
    share = np.where(counted, above / np.maximum(n, 1), 0.0)
    below = 1.0 - share * math.exp(threshold / gain)
    rate = np.where(below > 0, -np.log(np.where(below > 0, below, 1.0)), share)
    for _ in range(iterations):
        expected, slope = _third_order(rate, threshold, gain)
        rate = np.where(counted, rate - (expected - share) / slope, 0.0)
    return rate


def _third_order(rate: Array, T: float, g: float) -> tuple[Array, Array]:
    """Expected share of counts up to three electrons, and its slope."""
    L = rate
    above = 2 * g**2 * (6 + 3 * L + L**2) + 2 * g * T * L * (3 + L) + T**2 * L**2
    above_by = 2 * g**2 * (3 + 2 * L) + 2 * g * T * (3 + 2 * L) + 2 * T**2 * L
    all_, all_by = 6 + 6 * L + 3 * L**2 + L**3, 6 + 6 * L + 3 * L**2
    factor = math.exp(-T / g) / (2 * g**2)
    share = factor * L * above / all_
    slope = factor * ((above + L * above_by) / all_ - L * above * all_by / all_**2)
    return share, slope


@dataclass(frozen=True, slots=True)
class SeriesLaw:
    """The published series in the place of `CountLaw`: method page, eq. 27 (thirdorder).

    Attributes
    ----------
    threshold, gain : float
        T, EM electrons; EM gain.
    """

    threshold: float
    gain: float

    def statistics(self, rate: npt.ArrayLike) -> tuple[Array, Array]:
        """Share of samples above the threshold, and its derivative to the rate."""
        return _third_order(np.asarray(rate, float), self.threshold, self.gain)

    def rate(self, share: npt.ArrayLike) -> Array:
        """Electrons a frame, by two steps of Newton's rule; NaN where they leave the series."""
        p = np.asarray(share, float)
        rate = third_order_rate(p, np.ones(p.shape), self.threshold, self.gain, 2)
        return np.where(rate < 0, np.nan, rate)


def third_order_variance(rate: Array, n: Array, threshold: float, gain: float) -> Array:
    """Variance of `third_order_rate` as it is published: Nemati (2020).

    Parameters
    ----------
    rate, n : ndarray
        Its result, and the number of good samples.
    threshold, gain : float
        As there.
    """
    T, g, N = threshold, gain, np.maximum(n, 1)
    share, _ = _third_order(rate, T, g)
    up = math.exp(T / g)
    slope = (
        up / N
        + up**2 * (g - T) / (g * N**2) * (N * share)
        + up**3 * (4 * g**2 - 8 * g * T + 5 * T**2) / (4 * g**2 * N**3) * (N * share) ** 2
    )
    variance: Array = N * share * (1.0 - share) * slope**2
    return variance
