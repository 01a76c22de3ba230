"""The three-parameter weighted fit, pixel by pixel.

Model of the mean of stack i at a pixel: y_i = F + g_i C + g_i t_i D. Nothing of
size stacks x parameters x pixels is held: each pixel's normal matrix lives in
registers. Columns are scaled to unit diagonal before the matrix is inverted,
since its condition (up to 1e11) is almost all scaling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import inline, jit

__all__ = ["PIVOT", "design_rank", "reference_fit", "smallest_variance"]

Array = npt.NDArray[Any]
Six = tuple[float, float, float, float, float, float]

#: Smallest pivot, of 1, at which columns scaled to unit length still count as independent:
#: the design may come within 1e-4 of rank 2.
PIVOT = 1e-8


@inline
def inverse3(a: float, b: float, c: float, d: float, e: float, f: float) -> tuple[Six, bool]:
    """Inverse of the symmetric matrix [[a b c] [b d e] [c e f]], and whether it has rank 3."""
    zero = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    if a <= 0.0 or d <= 0.0 or f <= 0.0:
        return zero, False
    u, v, w = 1.0 / np.sqrt(a), 1.0 / np.sqrt(d), 1.0 / np.sqrt(f)
    b, c, e = b * u * v, c * u * w, e * v * w
    pivot = 1.0 - b * b
    determinant = 1.0 + 2.0 * b * c * e - b * b - c * c - e * e
    if not (pivot > PIVOT and determinant > PIVOT * pivot):
        return zero, False
    r = 1.0 / determinant
    return (
        (1.0 - e * e) * r * u * u,
        (c * e - b) * r * u * v,
        (b * e - c) * r * u * w,
        (1.0 - c * c) * r * v * v,
        (b * c - e) * r * v * w,
        pivot * r * w * w,
    ), True


@inline
def _stack_variance(n: int, m2: float, err2: float, single: float, floor: float) -> float:
    """Squared error of a stack's mean: sum(s^2)/n + M2/n^2, with the rules for n = 1 and 0."""
    scatter = single if n == 1 else m2 / n / n
    variance = err2 / n + scatter
    return variance if variance > 0.0 else floor


@jit
def design_rank(gain: Array, gain_time: Array) -> bool:
    """Whether stacks of these g and g t can tell F, C and D apart."""
    s_g, s_h, s_gg, s_gh, s_hh = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(gain.size):
        g, h = gain[i], gain_time[i]
        s_g += g
        s_h += h
        s_gg += g * g
        s_gh += g * h
        s_hh += h * h
    _, full = inverse3(float(gain.size), s_g, s_h, s_gg, s_gh, s_hh)
    return full


@jit
def smallest_variance(n: Array, m2: Array, err2: Array | None, single: float) -> float:
    """Smallest positive squared error of the mean among the pixels of a stack; 0 if none."""
    smallest = np.inf
    for p in range(n.size):
        if n[p] > 0:
            extra = 0.0 if err2 is None else err2[p]
            variance = _stack_variance(n[p], m2[p], extra, single, 0.0)
            if 0.0 < variance < smallest:
                smallest = variance
    return smallest if np.isfinite(smallest) else 0.0


@inline
def _normal_sums(
    p: int,
    gain: Array,
    gain_time: Array,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    flags: Array,
    single: Array,
    floor: Array,
    weighted: bool,
) -> tuple[int, Any, float, Six, Six]:
    """Sums of a pixel over its usable stacks.

    Number of them; OR of the flags in the others; sum of y; normal matrix without and
    with weights.
    """
    used = 0
    flagged = flags.dtype.type(0)
    s_y = 0.0
    o_1, o_g, o_h, o_gg, o_gh, o_hh = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    w_1, w_g, w_h, w_gg, w_gh, w_hh = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(gain.size):
        if n[i, p] == 0:
            flagged |= flags[i, p]
            continue
        used += 1
        g, h = gain[i], gain_time[i]
        w = 1.0
        if weighted:
            extra = 0.0 if err2 is None else err2[i, p]
            w = 1.0 / _stack_variance(n[i, p], m2[i, p], extra, single[i], floor[i])
        s_y += mean[i, p]
        o_1 += 1.0
        o_g += g
        o_h += h
        o_gg += g * g
        o_gh += g * h
        o_hh += h * h
        w_1 += w
        w_g += w * g
        w_h += w * h
        w_gg += w * g * g
        w_gh += w * g * h
        w_hh += w * h * h
    plain = (o_1, o_g, o_h, o_gg, o_gh, o_hh)
    weights = (w_1, w_g, w_h, w_gg, w_gh, w_hh)
    return used, flagged, s_y, plain, weights


@inline
def _gradient(
    p: int,
    F: float,
    C: float,
    D: float,
    gain: Array,
    gain_time: Array,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    single: Array,
    floor: Array,
    weighted: bool,
) -> tuple[float, float, float]:
    """Weighted sums of r, g r and g t r, with the residual r = y - F - g C - g t D."""
    v_1, v_g, v_h = 0.0, 0.0, 0.0
    for i in range(gain.size):
        if n[i, p] == 0:
            continue
        w = 1.0
        if weighted:
            extra = 0.0 if err2 is None else err2[i, p]
            w = 1.0 / _stack_variance(n[i, p], m2[i, p], extra, single[i], floor[i])
        residual = w * (mean[i, p] - F - gain[i] * C - gain_time[i] * D)
        v_1 += residual
        v_g += gain[i] * residual
        v_h += gain_time[i] * residual
    return v_1, v_g, v_h


@inline
def _residuals(
    p: int,
    F: float,
    C: float,
    D: float,
    centre: float,
    gain: Array,
    gain_time: Array,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    single: Array,
    floor: Array,
) -> tuple[float, float, float]:
    """Squared residuals, squared distances of the fit from the centre, and chi-square."""
    sse, ssr, chi = 0.0, 0.0, 0.0
    for i in range(gain.size):
        if n[i, p] == 0:
            continue
        fitted = F + gain[i] * C + gain_time[i] * D
        residual = mean[i, p] - fitted
        extra = 0.0 if err2 is None else err2[i, p]
        sse += residual * residual
        ssr += (centre - fitted) ** 2
        chi += residual**2 / _stack_variance(n[i, p], m2[i, p], extra, single[i], floor[i])
    return sse, ssr, chi


@jit
def reference_fit(
    lo: int,
    hi: int,
    gain: Array,
    gain_time: Array,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    flags: Array,
    single: Array,
    floor: Array,
    weighted: bool,
    values: Array,
    errors: Array,
    correlations: Array,
    chi2: Array,
    r_squared: Array,
    residual_variance: Array,
    stacks_used: Array,
    dq: Array,
) -> None:
    """Fit the pixels lo to hi as the reference does, stacks without good samples left out.

    Weights are 1/err_i^2 or 1. The errors are sqrt(s^2 Q_kk) with the unweighted
    s^2 = sum r_i^2 / (M - 3) and Q = (X'X)^-1, M and X over the usable stacks.

    Parameters
    ----------
    lo, hi : int
        Range of pixels.
    gain, gain_time : ndarray, shape (stacks,)
        g and g t.
    n, mean, m2, err2, flags : ndarray, shape (stacks, pixels)
        Moments; err2 may be None.
    single, floor : ndarray, shape (stacks,)
        Variance that stands in where one sample is good; squared error that stands in
        for 0.
    weighted : bool
        Whether to weight.
    values, errors, correlations : ndarray, shape (3, pixels)
        Receive F, C, D; their errors; correlations F-C, F-D, C-D.
    chi2, r_squared, residual_variance : ndarray, shape (pixels,)
        Receive reduced chi-square, adjusted R^2 and s^2.
    stacks_used, dq : ndarray of integers, shape (pixels,)
        Receive the number of usable stacks, and the flags of unfittable pixels.
    """
    for p in range(lo, hi):
        used, flagged, s_y, plain, weights = _normal_sums(
            p, gain, gain_time, n, mean, m2, err2, flags, single, floor, weighted
        )
        stacks_used[p] = used
        (q00, q01, q02, q11, q12, q22), full = inverse3(*plain)
        (a00, a01, a02, a11, a12, a22), solved = inverse3(*weights)
        if used < 4 or not full or not solved:
            values[:, p], errors[:, p], correlations[:, p] = 0.0, np.nan, 0.0
            chi2[p], r_squared[p], residual_variance[p] = np.nan, np.nan, np.nan
            dq[p] = flagged if flagged != 0 else dq.dtype.type(1)
            continue
        F, C, D = 0.0, 0.0, 0.0
        for _ in range(2):  # the second round removes what rounding left in the first
            v_1, v_g, v_h = _gradient(
                p, F, C, D, gain, gain_time, n, mean, m2, err2, single, floor, weighted
            )
            F += a00 * v_1 + a01 * v_g + a02 * v_h
            C += a01 * v_1 + a11 * v_g + a12 * v_h
            D += a02 * v_1 + a12 * v_g + a22 * v_h
        sse, ssr, chi = _residuals(
            p, F, C, D, s_y / used, gain, gain_time, n, mean, m2, err2, single, floor
        )
        freedom = used - 3
        variance = sse / freedom
        total = sse + ssr
        values[0, p], values[1, p], values[2, p] = F, C, D
        errors[0, p] = np.sqrt(variance * q00)
        errors[1, p] = np.sqrt(variance * q11)
        errors[2, p] = np.sqrt(variance * q22)
        correlations[0, p] = q01 / np.sqrt(q00 * q11)
        correlations[1, p] = q02 / np.sqrt(q00 * q22)
        correlations[2, p] = q12 / np.sqrt(q11 * q22)
        chi2[p] = chi / freedom
        r_squared[p] = 1.0 - sse / total * (used - 1) / freedom if total > 0.0 else np.nan
        residual_variance[p] = variance
        dq[p] = dq.dtype.type(0)
