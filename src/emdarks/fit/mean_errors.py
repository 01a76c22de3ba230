"""The error of the mean of one stack, in detected electrons."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.fit.noise_model import (
    HOT_JUMP,
    IDEAL_KAPPA,
    ONSET,
    V_FLOOR,
    intrinsic_variance,
    kurtosis_ratio,
)
from emdarks.moments import Moments

Array = npt.NDArray[Any]

ESTIMATORS = ("sample", "pooled", "reference")

HOT_MAD = 5.0
# In units of the scatter that a sample variance has: how far a pixel's own may lie away.
ODD, ODD_HOT = 5.0, 3.0


def mean_errors(moments: Moments, n: Array, imaging: Array, estimator: str) -> Array:
    """Error of every pixel's mean.

    Parameters
    ----------
    moments : Moments
        Sums in detected electrons.
    n : ndarray of float64, shape (pixels,)
        Good samples, 0 in telemetry rows.
    imaging : ndarray of bool, shape (pixels,)
        The imaging area; variances are pooled in it and outside it apart.
    estimator : {"sample", "pooled", "reference"}
        See `emdarks.darks.build_trad_dark`.

    Returns
    -------
    ndarray, shape (pixels,)
        NaN where no sample is good ("reference": 0).
    """
    err2 = np.zeros_like(n) if moments.err2 is None else moments.err2
    good = np.maximum(n, 1)
    if estimator == "reference":
        # One pixel stands for all with a single good frame: the first with the most.
        first = int(np.argmax(n == n.max()))
        scatter = np.where(n == 1, moments.m2[first] / n.max(), moments.m2 / good**2)
        reference: Array = np.where(n > 0, np.sqrt(err2 / good + scatter), 0.0)
        return reference
    variance = np.empty_like(n)
    for region in (imaging, ~imaging):
        variance_of = _shrunk if estimator == "pooled" else _sample
        pool = _pool(moments.m2, n, region)
        variance[region] = variance_of(moments.mean[region], moments.m2[region], n[region], pool)
    errors: Array = np.where(n > 0, np.sqrt(err2 / good**2 + variance / good), np.nan)
    return errors


def _pool(m2: Array, n: Array, region: Array) -> float:
    """Sum M2 / sum (n - 1) of a region, or of all pixels where it has no scatter."""
    dof = np.maximum(n - 1, 0)
    use = region & (dof > 0)
    if not use.any():
        use = dof > 0
    return float(m2[use].sum() / dof[use].sum())


def _sample(mean: Array, m2: Array, n: Array, pool: float) -> Array:
    """Sample variance; the pool's for a lone sample."""
    variance: Array = np.where(n > 1, m2 / np.maximum(n - 1, 1), pool)
    return variance


def _hot(mean: Array, n: Array) -> Array:
    """Pixels above what noise and a lucky electron explain."""
    seen = n > 0
    median = _core.median(mean, seen)
    mad = 1.4826 * _core.median(np.abs(mean - median), seen)
    hot: Array = seen & (mean > median + HOT_MAD * mad + HOT_JUMP / np.maximum(n, 1))
    return hot


def _relative_variance(V: Array, n: Array) -> Array:
    """Relative variance of a sample variance: kurtosis of the register, and n - 1."""
    kurtosis = kurtosis_ratio(IDEAL_KAPPA) / IDEAL_KAPPA / np.maximum(V, 1e-300)
    relative: Array = kurtosis / np.maximum(n, 1) + 2 / np.maximum(n - 1, 1)
    return relative


def _shrunk(mean: Array, m2: Array, n: Array, pool: float) -> Array:
    """Empirical-Bayes variance: the pixel's own, shrunk towards the pool's."""
    if not (n > 0).any():
        return np.full(n.shape, pool)
    hot, two = _hot(mean, n), n > 1
    use = two & ~hot
    if not use.any():
        use = two
    v = float(m2[use].sum() / (n[use] - 1).sum()) if use.any() else pool
    if not v > 0:
        return np.zeros(n.shape)
    s2 = np.where(two, m2 / np.maximum(n - 1, 1), v)
    q = v**2 * _relative_variance(np.full(n.shape, v), n)
    intrinsic = intrinsic_variance(s2[use], q[use])
    onset = np.clip((np.sqrt(intrinsic) / v - ONSET[0]) / (ONSET[1] - ONSET[0]), 0.0, 1.0)
    V = v + np.where(two, onset * intrinsic / (intrinsic + q), 0.0) * (s2 - v)
    if hot.any():
        base = mean[use].mean() if use.any() else _core.median(mean, n > 0)
        V = np.where(hot, v + IDEAL_KAPPA * np.maximum(mean - base, 0.0), V)
    width = np.sqrt(_relative_variance(V, n))
    low = s2 / (1 + np.where(hot, ODD_HOT, ODD) * width)
    high = np.where(hot, s2 * (1 + ODD_HOT * width), np.inf)
    V = np.where(two, np.clip(V, low, np.maximum(high, low)), V)
    shrunk: Array = np.maximum(V, V_FLOOR * v)
    return shrunk
