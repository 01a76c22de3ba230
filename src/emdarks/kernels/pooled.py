"""Sweeps of the pooled estimator over the pixels.

Model of the mean of stack i: y_i = F + g_i C + g_i t_i D inside the imaging area,
F + g_i C outside it; variance of a sample rn^2 + kappa g^2 (C + t D). The steps and their
reasons stand on the method page of the documentation. Every sweep gathers one pixel's
column of the moments into small local arrays and works there; G_ki is the linear map from
means to parameters, beta_k = sum_i G_ki y_i.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import inline, jit
from emdarks.kernels.fit import (
    PIVOT,
    Six,
    add_derivatives,
    gather,
    inverse3,
    map_row,
    normal_matrix,
    solve,
)

__all__ = ["final_sweep", "first_sweep", "hot_scale_sweep", "pool_sums", "second_sweep"]

Array = npt.NDArray[Any]

# Constants of the recipe; the method page gives the reason of each.
FOLLOW_LOW, FOLLOW_HIGH = 3.0, 5.0
JUMP_LOW, JUMP_HIGH = 4.6, 9.2
POWER = 0.4
ODD_LOW, ODD_RANGE = 5.0, 3.0
V_FLOOR = 0.1

EQUAL, COUNTS, POOLED = 0, 1, 2


@inline
def _invert(dark: bool, sums: Six) -> tuple[Six, bool]:
    """Inverse of the normal matrix, or of its part for F and C where there is no D."""
    if dark:
        return inverse3(sums)
    s_1, s_g, _, s_gg, _, _ = sums
    zero = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    if s_1 <= 0.0 or s_gg <= 0.0:
        return zero, False
    pivot = 1.0 - s_g * s_g / (s_1 * s_gg)
    if not pivot > PIVOT:
        return zero, False
    b = -s_g / (s_1 * s_gg * pivot)
    return (1.0 / (s_1 * pivot), b, 0.0, 1.0 / (s_gg * pivot), 0.0, 0.0), True


@inline
def _gather_err(p: int, err2: Array | None, counts: Array, q: Array, s: Array) -> None:
    """1/n, and what input errors add to the variance of a mean, sum(s^2) / n^2; 0 for n = 0."""
    for i in range(counts.size):
        q[i] = 1.0 / counts[i] if counts[i] > 0.0 else 0.0
        s[i] = 0.0
        if err2 is not None:
            s[i] = err2[i, p] * q[i] * q[i]


@inline
def _weigh(
    kind: int,
    counts: Array,
    q: Array,
    s: Array,
    v: Array,
    kappa: float,
    gain: Array,
    time: Array,
    above_c: float,
    above_d: float,
    w: Array,
) -> None:
    """Weights of a pixel's stacks: method page, eq. 4 (weights).

    Equal; n; or 1 / (v/n + s) with the pool's variance v, raised by the noise model where
    the pixel lies ``above`` the pool. Never the pixel's own scatter: it is correlated with
    the pixel's mean, and would bias the fit.
    """
    for i in range(counts.size):
        if counts[i] == 0.0:
            w[i] = 0.0
        elif kind == EQUAL:
            w[i] = 1.0
        elif kind == COUNTS:
            w[i] = counts[i]
        else:
            excess = kappa * gain[i] * gain[i] * (above_c + time[i] * above_d)
            w[i] = 1.0 / ((v[i] + max(excess, 0.0)) * q[i] + s[i])


@jit
def first_sweep(
    lo: int,
    hi: int,
    gain: Array,
    time: Array,
    n: Array,
    mean: Array,
    flags: Array,
    imaging: Array,
    first: Array,
    stacks_used: Array,
    fitted: Array,
    dq: Array,
) -> None:
    """Fit with weights n, and decide which pixels can be fitted.

    Parameters
    ----------
    lo, hi : int
        Range of pixels.
    gain, time : ndarray, shape (stacks,)
        EM gain and exposure time.
    n, mean, flags : ndarray, shape (stacks, pixels)
        Moments.
    imaging : ndarray of bool, shape (pixels,)
        Where there is dark current.
    first : ndarray, shape (2, pixels)
        Receives C and D.
    stacks_used, fitted, dq : ndarray, shape (pixels,)
        Receive the usable stacks, whether a fit is possible, and the flags where not.
    """
    counts, y, w = np.empty(gain.size), np.empty(gain.size), np.empty(gain.size)
    nothing = np.zeros(gain.size)
    for p in range(lo, hi):
        dark = imaging[p]
        used = gather(p, n, mean, counts, y)
        stacks_used[p] = used
        _weigh(EQUAL, counts, nothing, nothing, nothing, 0.0, gain, time, 0.0, 0.0, w)
        _, full = _invert(dark, normal_matrix(gain, time, w))
        fitted[p] = full and used >= (4 if dark else 3)
        first[0, p], first[1, p] = 0.0, 0.0
        dq[p] = dq.dtype.type(0)
        if not fitted[p]:
            flagged = dq.dtype.type(0)
            for i in range(gain.size):
                if n[i, p] == 0:
                    flagged |= flags[i, p]
            dq[p] = flagged if flagged != 0 else dq.dtype.type(1)
            continue
        _weigh(COUNTS, counts, nothing, nothing, nothing, 0.0, gain, time, 0.0, 0.0, w)
        a, _ = _invert(dark, normal_matrix(gain, time, w))
        _, first[0, p], first[1, p] = solve(a, gain, time, w, y)


@jit
def hot_scale_sweep(
    lo: int,
    hi: int,
    gain: Array,
    time: Array,
    n: Array,
    v0: Array,
    imaging: Array,
    fitted: Array,
    scale: Array,
    jump: Array,
) -> None:
    """How far noise, and one electron, can move C and D of the first fit.

    Parameters
    ----------
    v0 : ndarray, shape (2, stacks)
        Variances pooled over all pixels, outside and inside the imaging area.
    scale : ndarray, shape (2, pixels)
        Receives u^2 = sum_i G_ki^2 v0_i / n_i for C and D.
    jump : ndarray, shape (2, pixels)
        Receives max_i G_ki g_i / n_i, 0 at least.
    lo, hi, gain, time, n, imaging, fitted
        As in `first_sweep`.
    """
    counts, w = np.empty(gain.size), np.empty(gain.size)
    nothing = np.zeros(gain.size)
    for p in range(lo, hi):
        scale[:, p], jump[:, p] = 0.0, 0.0
        if not fitted[p]:
            continue
        for i in range(gain.size):
            counts[i] = n[i, p]
        dark = imaging[p]
        _weigh(COUNTS, counts, nothing, nothing, nothing, 0.0, gain, time, 0.0, 0.0, w)
        a, _ = _invert(dark, normal_matrix(gain, time, w))
        for i in range(gain.size):
            if counts[i] == 0.0:
                continue
            for k in range(2 if dark else 1):
                G = map_row(k + 1, a, w[i], gain[i], gain[i] * time[i])
                scale[k, p] += G * G * v0[int(dark), i] / counts[i]
                jump[k, p] = max(jump[k, p], G * gain[i] / counts[i])


@jit
def pool_sums(
    lo: int, hi: int, n: Array, m2: Array, imaging: Array, keep: Array, out: Array
) -> None:
    """Sums of M2 and n - 1 over the pixels to keep.

    Parameters
    ----------
    lo, hi, n, imaging
        As in `first_sweep`.
    m2 : ndarray, shape (stacks, pixels)
        Sums of squared deviations.
    keep : ndarray of bool, shape (pixels,)
        Which pixels count.
    out : ndarray, shape (2, stacks, 2)
        Receives, outside and inside the imaging area, sum of M2 and of n - 1.
    """
    out[:] = 0.0
    for i in range(n.shape[0]):
        for p in range(lo, hi):
            if keep[p] and n[i, p] > 1:
                region = int(imaging[p])
                out[region, i, 0] += m2[i, p]
                out[region, i, 1] += float(n[i, p]) - 1.0


@jit
def second_sweep(
    lo: int,
    hi: int,
    gain: Array,
    time: Array,
    n: Array,
    mean: Array,
    err2: Array | None,
    imaging: Array,
    fitted: Array,
    above: Array,
    v: Array,
    kappa: Array,
    kind: Array,
    values: Array,
    own: Array,
    slope: Array,
) -> None:
    """Fit with the final weights; what is needed to judge the spread over pixels.

    Parameters
    ----------
    above : ndarray, shape (2, pixels)
        C and D above the pool, for the weights of hot pixels; 0 for others.
    v, kappa, kind : ndarray, shape (2, stacks), (2,), (2,)
        Outside and inside the imaging area: variances, excess noise, kind of weights.
    values : ndarray, shape (3, pixels)
        Receives F, C, D.
    own, slope : ndarray, shape (2, pixels)
        Receive, for C and D, the error variance with the pool's v, and its derivative to
        the parameter.
    lo, hi, gain, time, n, mean, err2, imaging, fitted
        As in `first_sweep`.
    """
    counts, y = np.empty(gain.size), np.empty(gain.size)
    w, s, q = np.empty(gain.size), np.empty(gain.size), np.empty(gain.size)
    for p in range(lo, hi):
        values[:, p], own[:, p], slope[:, p] = 0.0, 0.0, 0.0
        if not fitted[p]:
            continue
        dark = imaging[p]
        region = int(dark)
        gather(p, n, mean, counts, y)
        _gather_err(p, err2, counts, q, s)
        _weigh(
            kind[region],
            counts,
            q,
            s,
            v[region],
            kappa[region],
            gain,
            time,
            above[0, p],
            above[1, p],
            w,
        )
        a, _ = _invert(dark, normal_matrix(gain, time, w))
        values[0, p], values[1, p], values[2, p] = solve(a, gain, time, w, y)
        for i in range(gain.size):
            if counts[i] == 0.0:
                continue
            for k in range(2 if dark else 1):
                G2 = map_row(k + 1, a, w[i], gain[i], gain[i] * time[i]) ** 2
                tau = 1.0 if k == 0 else time[i]
                own[k, p] += G2 * (v[region, i] * q[i] + s[i])
                slope[k, p] += G2 * kappa[region] * gain[i] * gain[i] * tau * q[i]


@inline
def _ramp(u: float) -> float:
    u = min(max(u, 0.0), 1.0)
    return u * u * (3.0 - 2.0 * u)


@inline
def _follow(
    x: float, e2: float, spread: float, slope: float, mu3: float, gate: float, jump: float
) -> float:
    """How far a pixel's variance follows its own estimate, as an offset of C or D.

    Method page, eq. 6 (follow) and eq. 7 (kappa).

    x is the estimate above the pool's mean, e2 its error variance, ``spread`` the variance of
    true values over pixels, ``slope`` d e2 / d(value), mu3 the third moment of the error,
    ``jump`` what one electron does.
    """
    if slope <= 0.0 or e2 <= 0.0:
        return 0.0
    c = slope / e2
    b = gate * (spread / (spread + e2)) ** POWER
    width = np.sqrt(spread + e2)
    near = FOLLOW_LOW * width + JUMP_LOW * jump
    far = _ramp((x - near) / (FOLLOW_HIGH * width + JUMP_HIGH * jump - near))
    # To second order, noise in the reported variance raises the mean square of pulls.
    gain = c * c * (b * b * (spread + 3.0 * e2) - b * spread) - c * b * mu3 / e2
    K = 1.0 + max(gain, 0.0) * (1.0 - far)
    moved: float = (b + (1.0 - b) * far) * x * K + (K - 1.0) / c
    return moved


@inline
def _offset(
    k: int,
    a: Six,
    gain: Array,
    time: Array,
    w: Array,
    q: Array,
    s: Array,
    V: Array,
    x: float,
    level: Array,
    spread: float,
    gate: float,
    kappa: float,
) -> float:
    """Offset from the pool's mean at which the variance of a pixel is taken (k: 1 C, 2 D)."""
    if x <= 0.0 and gate == 0.0:
        return 0.0
    e2, slope, mu3, jump = 0.0, 0.0, 0.0, 0.0
    k3 = 1.5 * kappa * kappa
    for i in range(gain.size):
        # Stacks that cannot be used have weight 0, and so G = 0.
        g = gain[i]
        G = map_row(k, a, w[i], g, g * time[i])
        step = G * g * q[i]
        tau = 1.0 if k == 1 else time[i]
        e2 += G * G * (V[i] * q[i] + s[i])
        slope += step * G * g * kappa * tau
        charge = max(level[0] + time[i] * level[1], 0.0)
        mu3 += step * step * G * g * k3 * charge
        jump = max(jump, step * kappa * 0.5)
    moved = _follow(x, e2, spread, slope, mu3, gate, jump)
    least = -max(float(level[k - 1]), 0.0)
    return max(moved, least)


@inline
def _own_scatter(n: float, m2: float, V: float, g: float, charge: float, kappa: float) -> float:
    """Variance where a pixel is noisier than any model of it: then its own scatter counts."""
    excess = m2 - V * (n - 1.0)
    if n < 2.0 or V <= 0.0 or excess <= 0.0:
        return V
    f = excess / (V * (n - 1.0))
    if f * f * (n - 1.0) < 2.0 * ODD_LOW * ODD_LOW:
        return V  # not even against the least that a sample variance scatters
    k4 = 3.0 * kappa * kappa * kappa
    g2 = g * g
    deviation = np.sqrt(k4 * g2 * g2 * max(charge, 0.0) / (V * V * n) + 2.0 / (n - 1.0))
    jump = (JUMP_HIGH * g * kappa * 0.5) ** 2 / (V * n)
    share = _ramp(((f - jump) / deviation - ODD_LOW) / ODD_RANGE)
    return V + V * f * share


@jit
def final_sweep(
    lo: int,
    hi: int,
    gain: Array,
    time: Array,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    imaging: Array,
    fitted: Array,
    above: Array,
    v: Array,
    kappa: Array,
    kind: Array,
    floor: Array,
    level: Array,
    spread: Array,
    gate: Array,
    gain_error: float,
    values: Array,
    errors: Array,
    correlations: Array,
    chi2: Array,
    r_squared: Array,
    derivatives: Array,
) -> None:
    """Errors, correlations, chi-square and R^2 of the fit; what errors of the gain do.

    Parameters
    ----------
    m2 : ndarray, shape (stacks, pixels)
        Sums of squared deviations.
    floor : ndarray, shape (2, stacks)
        Least variance of a pixel.
    level, spread, gate : ndarray, shape (2, 2)
        By region, for C and D: mean, variance of the true values over pixels, and how far
        a pixel's variance follows the pixel.
    gain_error : float
        Relative 1-sigma error of each stack's gain, independent of each other.
    values : ndarray, shape (3, pixels)
        F, C, D of `second_sweep`.
    errors, correlations : ndarray, shape (3, pixels)
        Receive errors and the correlations F-C, F-D, C-D.
    chi2, r_squared : ndarray, shape (pixels,)
        Receive the reduced chi-square and the adjusted R^2.
    derivatives : ndarray, shape (stacks + 1, 3)
        Receives the sums over the imaging area of d(F, C, D)/d(relative gain error), by
        stack, and in the last row the number of pixels.
    lo, hi, gain, time, n, mean, err2, imaging, fitted, above, v, kappa, kind
        As in `second_sweep`.
    """
    counts, y = np.empty(gain.size), np.empty(gain.size)
    w, s, V = np.empty(gain.size), np.empty(gain.size), np.empty(gain.size)
    q = np.empty(gain.size)
    derivatives[:, :] = 0.0
    for p in range(lo, hi):
        correlations[:, p] = 0.0
        if not fitted[p]:
            values[:, p], errors[:, p] = 0.0, np.nan
            chi2[p], r_squared[p] = np.nan, np.nan
            continue
        dark = imaging[p]
        z = int(dark)
        used = gather(p, n, mean, counts, y)
        _gather_err(p, err2, counts, q, s)
        _weigh(kind[z], counts, q, s, v[z], kappa[z], gain, time, above[0, p], above[1, p], w)
        a, _ = _invert(dark, normal_matrix(gain, time, w))
        F, C, D = values[0, p], values[1, p], values[2, p]
        _follow_pixel(
            p,
            dark,
            a,
            gain,
            time,
            w,
            counts,
            q,
            s,
            m2,
            C,
            D,
            v[z],
            floor[z],
            level[z],
            spread[z],
            gate[z],
            kappa[z],
            V,
        )
        for i in range(gain.size):
            moved = gain_error * gain[i] * (C + time[i] * D)
            V[i] = V[i] * q[i] + s[i] + moved * moved
        _covariance(p, dark, a, gain, time, w, V, errors, correlations)
        if dark:
            add_derivatives(a, C, D, gain, time, w, derivatives)
        chi2[p], r_squared[p] = _quality(
            F,
            C,
            D,
            gain,
            time,
            w,
            y,
            used,
            3 if dark else 2,
            kind[z],
            q,
            s,
            v[z],
        )


@inline
def _follow_pixel(
    p: int,
    dark: bool,
    a: Six,
    gain: Array,
    time: Array,
    w: Array,
    counts: Array,
    q: Array,
    s: Array,
    m2: Array,
    C: float,
    D: float,
    v: Array,
    floor: Array,
    level: Array,
    spread: Array,
    gate: Array,
    kappa: float,
    V: Array,
) -> None:
    """Variance of a sample in each stack, as this pixel has it."""
    for i in range(gain.size):
        V[i] = v[i]
    d_c, d_d = 0.0, 0.0
    if kappa > 0.0:
        if dark:
            d_d = _offset(
                2, a, gain, time, w, q, s, V, D - level[1], level, spread[1], gate[1], kappa
            )
            for i in range(gain.size):
                V[i] = max(v[i] + kappa * gain[i] * gain[i] * time[i] * d_d, floor[i])
        d_c = _offset(1, a, gain, time, w, q, s, V, C - level[0], level, spread[0], gate[0], kappa)
        if d_c != 0.0 or d_d != 0.0:
            for i in range(gain.size):
                more = kappa * gain[i] * gain[i] * (d_c + time[i] * d_d)
                V[i] = max(v[i] + more, floor[i])
    for i in range(gain.size):
        charge = level[0] + d_c + time[i] * (level[1] + d_d if dark else 0.0)
        V[i] = _own_scatter(counts[i], m2[i, p], V[i], gain[i], charge, kappa)


@inline
def _covariance(
    p: int,
    dark: bool,
    a: Six,
    gain: Array,
    time: Array,
    w: Array,
    V: Array,
    errors: Array,
    correlations: Array,
) -> None:
    """Sandwich G diag(V) G', V the variances of the means: method page, eq. 5 (cov)."""
    c00, c01, c02, c11, c12, c22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(gain.size):
        h = gain[i] * time[i]
        G0 = map_row(0, a, w[i], gain[i], h)
        G1 = map_row(1, a, w[i], gain[i], h)
        G2 = map_row(2, a, w[i], gain[i], h) if dark else 0.0
        c00 += G0 * G0 * V[i]
        c01 += G0 * G1 * V[i]
        c02 += G0 * G2 * V[i]
        c11 += G1 * G1 * V[i]
        c12 += G1 * G2 * V[i]
        c22 += G2 * G2 * V[i]
    errors[0, p], errors[1, p], errors[2, p] = np.sqrt(c00), np.sqrt(c11), np.sqrt(c22)
    correlations[0, p] = c01 / np.sqrt(c00 * c11) if c00 * c11 > 0.0 else 0.0
    correlations[1, p] = c02 / np.sqrt(c00 * c22) if c00 * c22 > 0.0 else 0.0
    correlations[2, p] = c12 / np.sqrt(c11 * c22) if c11 * c22 > 0.0 else 0.0


@inline
def _quality(
    F: float,
    C: float,
    D: float,
    gain: Array,
    time: Array,
    w: Array,
    y: Array,
    used: int,
    parameters: int,
    kind: int,
    q: Array,
    s: Array,
    v: Array,
) -> tuple[float, float]:
    """Reduced chi-square by the pool's variances, and adjusted R^2 with the fit's weights."""
    total, centre = 0.0, 0.0
    for i in range(gain.size):
        total += w[i]
        centre += w[i] * y[i]
    centre /= total
    chi, sse, sst = 0.0, 0.0, 0.0
    for i in range(gain.size):
        if q[i] == 0.0:
            continue
        residual = y[i] - F - gain[i] * C - gain[i] * time[i] * D
        weight = w[i]
        if kind != POOLED:
            variance = v[i] * q[i] + s[i]
            weight = 1.0 / variance if variance > 0.0 else 0.0
        chi += weight * residual * residual
        sse += w[i] * residual * residual
        sst += w[i] * (y[i] - centre) ** 2
    freedom = used - parameters
    r_squared = 1.0 - sse / sst * (used - 1) / freedom if sst > 0.0 else np.nan
    return chi / freedom, r_squared
