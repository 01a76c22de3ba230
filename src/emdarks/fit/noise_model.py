"""The noise of a camera, as its own dark frames show it.

Variance of a sample, method page, eq. 2 (noise): rn^2 + kappa g^2 (C + t D), with read noise
rn after the register and excess noise kappa (2 for an ideal register at high gain).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core

Array = npt.NDArray[Any]

#: Excess noise of a gamma register, where none can be measured, and its credible range.
IDEAL_KAPPA = 2.0
KAPPA_RANGE = (0.5, 8.0)
#: "Measured" means a relative error below this.
KAPPA_ERROR = 0.25
#: Relative misfit of the model that pooled variances may have.
MISFIT = 0.01
#: ln(1e4), in average electrons: how far the tail of one electron's gain reaches.
HOT_JUMP = 9.2
#: Least variance of a pixel, as a share of the pool's.
V_FLOOR = 0.1
#: Relative spread of the error variance over pixels below and above which the shrinkage weight
#: of a pixel's own estimate is 0, and as it is.
ONSET = (0.12, 0.22)
#: An intrinsic variance must exceed its own error by this many standard errors.
INTRINSIC_ERRORS = 2.0


def kurtosis_ratio(kappa: float) -> float:
    """Fourth cumulant of the register's output over g^4 (C + t D), for exponential jumps."""
    return 3.0 * kappa**3


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Read noise and excess noise fitted over stacks.

    Attributes
    ----------
    read_noise2 : float
        rn^2, EM electrons squared.
    kappa : float
        Excess noise.
    variance : ndarray, shape (stacks,)
        rn^2 + kappa g^2 lambda of each stack.
    read_noise, excess : ndarray, shape (stacks,)
        What each stack alone gives for rn and kappa, with the other one fixed; NaN where
        it cannot tell.
    """

    read_noise2: float
    kappa: float
    variance: Array
    read_noise: Array
    excess: Array


def _solve(signal: Array, v: Array, w: Array, fixed: bool) -> tuple[float, float] | None:
    """rn^2 and kappa by weighted least squares; None where kappa cannot be measured."""
    a11, a12, a22 = w.sum(), (w * signal).sum(), (w * signal**2).sum()
    b1, b2 = (w * v).sum(), (w * signal * v).sum()
    if fixed:
        return max((b1 - a12 * IDEAL_KAPPA) / a11, 0.0), IDEAL_KAPPA
    determinant = a11 * a22 - a12**2
    if not determinant > 1e-14 * a11 * a22:
        return None
    kappa, error = (a11 * b2 - a12 * b1) / determinant, math.sqrt(a11 / determinant)
    read_noise2 = (b1 - a12 * kappa) / a11
    if read_noise2 < 0:
        read_noise2, kappa, error = 0.0, b2 / a22, a22**-0.5
    if not kappa > error / KAPPA_ERROR:
        return None
    return max(read_noise2, 0.0), float(np.clip(kappa, *KAPPA_RANGE))


def _iterate(gain: Array, signal: Array, v: Array, dof: Array, fixed: bool) -> Any:
    use = dof > 0
    read_noise2, kappa = float(v[use].min()), IDEAL_KAPPA
    for _ in range(50):
        model = np.maximum(read_noise2 + kappa * signal, 1e-12 * v[use].max())
        kurtosis = kurtosis_ratio(kappa) * gain**2 * signal / model**2
        error2 = model**2 * ((2 + kurtosis) / np.maximum(dof, 1) + MISFIT**2)
        found = _solve(signal, v, np.where(use, 1 / error2, 0.0), fixed)
        if found is None:
            return None
        change = abs(found[1] - kappa) / kappa, abs(found[0] - read_noise2)
        read_noise2, kappa = found
        if change[0] < 1e-12 and change[1] <= 1e-12 * read_noise2:
            break
    return read_noise2, kappa


def fit_noise(gain: Array, charge: Array, v: Array, dof: Array) -> NoiseModel:
    """Fit v_i = rn^2 + kappa g_i^2 lambda_i over stacks.

    Parameters
    ----------
    gain : ndarray, shape (stacks,)
        EM gain.
    charge : ndarray, shape (stacks,)
        Mean C + t D of the pixels in the pool; negative counts as 0.
    v : ndarray, shape (stacks,)
        Pooled variances.
    dof : ndarray, shape (stacks,)
        Their degrees of freedom; 0 where a stack says nothing.

    Notes
    -----
    Weighted by the expected scatter of v, with the register's kurtosis. Where kappa cannot
    be measured it is 2, and rn^2 alone is fitted.
    """
    signal = gain**2 * np.maximum(charge, 0)
    use = dof > 0
    unknown = np.full(gain.shape, np.nan)
    if not use.any() or not (v[use] > 0).any():
        return NoiseModel(0.0, IDEAL_KAPPA, np.zeros(gain.shape), unknown, unknown)
    given = np.where(use, v, 0.0)
    read_noise2, kappa = _iterate(gain, signal, given, dof, False) or _iterate(
        gain, signal, given, dof, True
    )
    rest = given - kappa * signal
    return NoiseModel(
        read_noise2,
        kappa,
        read_noise2 + kappa * signal,
        np.where(use & (rest >= 0), np.sqrt(np.maximum(rest, 0)), np.nan),
        np.where(
            use & (signal > 0), (given - read_noise2) / np.where(signal > 0, signal, 1), np.nan
        ),
    )


def intrinsic_variance(x: Array, error2: Array) -> float:
    """Intrinsic variance: of the true values behind estimates x of error variance ``error2``.

    Reduced by two of its own standard errors; never negative.
    """
    top = error2.max() if x.size else 0.0
    if x.size < 3 or not top > 0:
        return 0.0
    w = 1 / np.maximum(error2 / top, _core.LEAST) ** 2
    w /= w.sum()
    excess = (x - (w * x).sum()) ** 2 - error2
    mean = (w * excess).sum()
    return max(float(mean - INTRINSIC_ERRORS * np.sqrt((w**2 * (excess - mean) ** 2).sum())), 0.0)
