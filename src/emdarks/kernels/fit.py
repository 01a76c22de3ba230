"""The three-parameter weighted fit, pixel by pixel.

Model of the mean of stack i at a pixel, method page, eq. 1 (model):
y_i = F + g_i C + g_i t_i D. Nothing of
size stacks x parameters x pixels is held: each pixel's normal matrix lives in
registers. Columns are scaled to unit diagonal before the matrix is inverted,
since its condition (up to 1e11) is almost all scaling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import inline, jit

__all__ = [
    "PIVOT",
    "add_derivatives",
    "design_rank",
    "gather",
    "inverse3",
    "map_row",
    "normal_matrix",
    "reference_fit",
    "smallest_variance",
    "solve",
]

Array = npt.NDArray[Any]
Six = tuple[float, float, float, float, float, float]
Three = tuple[float, float, float]

#: Smallest pivot, of 1, at which columns scaled to unit length still count as independent:
#: the design may come within 1e-4 of rank 2.
PIVOT = 1e-8


@inline
def inverse3(sums: Six) -> tuple[Six, bool]:
    """Inverse of the symmetric matrix [[a b c] [b d e] [c e f]], and whether it has rank 3."""
    a, b, c, d, e, f = sums
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
def _stack_variance(n: float, m2: float, err2: float, single: float, floor: float) -> float:
    """Squared error of a stack's mean, sum(s^2)/n + M2/n^2: method page, eq. 10 (referr)."""
    scatter = single if n == 1.0 else m2 / (n * n)
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
    _, full = inverse3((float(gain.size), s_g, s_h, s_gg, s_gh, s_hh))
    return full


@jit
def smallest_variance(n: Array, m2: Array, err2: Array | None, single: float) -> float:
    """Smallest positive squared error of the mean among the pixels of a stack; 0 if none."""
    smallest = np.inf
    for p in range(n.size):
        if n[p] > 0:
            extra = 0.0 if err2 is None else err2[p]
            variance = _stack_variance(float(n[p]), m2[p], extra, single, 0.0)
            if 0.0 < variance < smallest:
                smallest = variance
    return smallest if np.isfinite(smallest) else 0.0


@inline
def normal_matrix(gain: Array, time: Array, w: Array) -> Six:
    """Normal matrix [1, g, g t] with weights, 0 for stacks that cannot be used."""
    s_1, s_g, s_h, s_gg, s_gh, s_hh = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(gain.size):
        g, h = gain[i], gain[i] * time[i]
        s_1 += w[i]
        s_g += w[i] * g
        s_h += w[i] * h
        s_gg += w[i] * g * g
        s_gh += w[i] * g * h
        s_hh += w[i] * h * h
    return s_1, s_g, s_h, s_gg, s_gh, s_hh


@inline
def solve(a: Six, gain: Array, time: Array, w: Array, y: Array) -> Three:
    """F, C, D; the second round removes what rounding left in the first."""
    F, C, D = 0.0, 0.0, 0.0
    for _ in range(2):
        r_0, r_1, r_2 = 0.0, 0.0, 0.0
        for i in range(gain.size):
            g, h = gain[i], gain[i] * time[i]
            r = w[i] * (y[i] - F - g * C - h * D)
            r_0 += r
            r_1 += g * r
            r_2 += h * r
        F += a[0] * r_0 + a[1] * r_1 + a[2] * r_2
        C += a[1] * r_0 + a[3] * r_1 + a[4] * r_2
        D += a[2] * r_0 + a[4] * r_1 + a[5] * r_2
    return F, C, D


@inline
def map_row(k: int, a: Six, w: float, g: float, h: float) -> float:
    """G_ki of a stack of weight w, gain g, and g t = h."""
    if k == 0:
        return w * (a[0] + a[1] * g + a[2] * h)
    if k == 1:
        return w * (a[1] + a[3] * g + a[4] * h)
    return w * (a[2] + a[4] * g + a[5] * h)


@inline
def add_derivatives(
    a: Six, C: float, D: float, gain: Array, time: Array, w: Array, out: Array
) -> None:
    """Add -G_i g_i (C + t_i D), what a too large gain does: method page, eq. 8 (gain)."""
    for i in range(gain.size):
        charge = gain[i] * (C + time[i] * D)
        for k in range(3):
            out[i, k] -= map_row(k, a, w[i], gain[i], gain[i] * time[i]) * charge
    for k in range(3):
        out[gain.size, k] += 1.0


@inline
def gather(p: int, n: Array, mean: Array, counts: Array, y: Array) -> int:
    """Good samples and means of a pixel; returns the number of usable stacks."""
    used = 0
    for i in range(counts.size):
        counts[i] = n[i, p]
        y[i] = mean[i, p] if n[i, p] > 0 else 0.0
        used += 1 if n[i, p] > 0 else 0
    return used


@inline
def _weigh(
    p: int,
    counts: Array,
    m2: Array,
    err2: Array | None,
    single: Array,
    floor: Array,
    weighted: bool,
    inverse: Array,
    w: Array,
    plain: Array,
) -> None:
    """Of a pixel's stacks: 1/err^2, the fit's weights, and 1 for those that can be used."""
    for i in range(counts.size):
        inverse[i], w[i], plain[i] = 0.0, 0.0, 0.0
        if counts[i] > 0.0:
            extra = 0.0 if err2 is None else err2[i, p]
            inverse[i] = 1.0 / _stack_variance(counts[i], m2[i, p], extra, single[i], floor[i])
            w[i] = inverse[i] if weighted else 1.0
            plain[i] = 1.0


@inline
def _residuals(
    F: float,
    C: float,
    D: float,
    used: int,
    gain: Array,
    time: Array,
    y: Array,
    plain: Array,
    inverse: Array,
) -> tuple[float, float, float]:
    """Squared residuals, squared distances of the fit from the mean, and chi-square."""
    centre = 0.0
    for i in range(gain.size):
        centre += plain[i] * y[i]
    centre /= used
    sse, ssr, chi = 0.0, 0.0, 0.0
    for i in range(gain.size):
        fitted = F + gain[i] * C + gain[i] * time[i] * D
        square = plain[i] * (y[i] - fitted) ** 2
        sse += square
        ssr += plain[i] * (centre - fitted) ** 2
        chi += square * inverse[i]
    return sse, ssr, chi


@jit
def reference_fit(
    lo: int,
    hi: int,
    gain: Array,
    time: Array,
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
    imaging: Array,
    derivatives: Array,
) -> None:
    """Fit the pixels lo to hi as the reference does, stacks without good samples left out.

    Weights are 1/err_i^2 or 1. The errors are sqrt(s^2 Q_kk) with the unweighted
    s^2 = sum r_i^2 / (M - 3) and Q = (X'X)^-1, M and X over the usable stacks.

    Parameters
    ----------
    lo, hi : int
        Range of pixels.
    gain, time : ndarray, shape (stacks,)
        EM gain and exposure time.
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
    imaging : ndarray of bool, shape (pixels,)
        The imaging area.
    derivatives : ndarray, shape (stacks + 1, 3)
        Receives the sums over the imaging area of d(F, C, D)/d(relative gain error), by
        stack, and in the last row the number of pixels.
    """
    derivatives[:, :] = 0.0
    size = gain.size
    counts, y, w = np.empty(size), np.empty(size), np.empty(size)
    inverse, plain = np.empty(size), np.empty(size)
    for p in range(lo, hi):
        used = gather(p, n, mean, counts, y)
        stacks_used[p] = used
        _weigh(p, counts, m2, err2, single, floor, weighted, inverse, w, plain)
        (q00, q01, q02, q11, q12, q22), full = inverse3(normal_matrix(gain, time, plain))
        a, solved = inverse3(normal_matrix(gain, time, w))
        if used < 4 or not full or not solved:
            flagged = dq.dtype.type(0)
            for i in range(size):
                if n[i, p] == 0:
                    flagged |= flags[i, p]
            values[:, p], errors[:, p], correlations[:, p] = 0.0, np.nan, 0.0
            chi2[p], r_squared[p], residual_variance[p] = np.nan, np.nan, np.nan
            dq[p] = flagged if flagged != 0 else dq.dtype.type(1)
            continue
        F, C, D = solve(a, gain, time, w, y)
        if imaging[p]:
            add_derivatives(a, C, D, gain, time, w, derivatives)
        sse, ssr, chi = _residuals(F, C, D, used, gain, time, y, plain, inverse)
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
