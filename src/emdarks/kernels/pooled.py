"""Sweeps of the pooled estimator over the pixels.

Model of the mean of stack i: y_i = F + g_i C + g_i t_i D inside the imaging area,
F + g_i C outside it; variance of a sample rn^2 + kappa g^2 (C + t D). Stacks of one gain tell
no C, those of one time no D (``has_c``, ``has_d``): its column counts as 0. The steps and their
reasons stand on the method page of the documentation. Pixels are taken in runs, as in
`emdarks.kernels.fit`; those of a run are all inside or all outside the imaging area, where
g t counts as 0. G_ki is the linear map from means to parameters, beta_k = sum_i G_ki y_i.

Arrays of a run by stack - weights w, q = 1/n, what input errors add to the variance of a mean
s = sum(s_j^2) / n^2, variances V - have a row for each stack; a stack that cannot be used has
w = 0 and so G = 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import inline, jit
from emdarks.kernels.fit import (
    C_,
    CHUNK,
    D_,
    F_,
    FULL,
    Q_1G,
    Q_1H,
    Q_11,
    Q_GG,
    Q_GH,
    Q_HH,
    R_1,
    R_G,
    R_H,
    ROW,
    ROWS,
    S_1G,
    S_1H,
    S_11,
    S_GG,
    S_GH,
    S_HH,
    U_,
    V_,
    X_,
    Y_,
    Z_,
    add_derivatives,
    add_normal,
    add_products,
    add_residuals,
    apply_inverse,
    clear,
    copy_row,
    count_usable,
    flag_unfittable,
    invert,
    padded,
    plain_inverse,
    put_row,
    put_rows,
    row_sum,
    run_end,
    to_errors,
    without_absent,
)

__all__ = ["HOT", "final_sweep", "first_sweep", "pool_sweep", "second_sweep", "survey"]

Array = npt.NDArray[Any]

# Constants of the recipe; the method page gives the reason of each.
FOLLOW_LOW, FOLLOW_HIGH = 3.0, 5.0
JUMP_LOW, JUMP_HIGH = 4.6, 9.2
POWER = 0.4
ODD_LOW, ODD_RANGE = 5.0, 3.0
V_FLOOR = 0.1

EQUAL, COUNTS, POOLED = 0, 1, 2

#: Groups of pixels: 0 outside and 1 inside the imaging area, 2 more where hot, else not fitted.
HOT, UNFITTED = 2, -1

# Rows of the final sweep: sum of weights, offsets of C and D, 1 where errors are the pixel's own.
TOTAL, OFFSET_C, OFFSET_D, OWN = R_1, R_G, R_H, FULL


@jit
def _design(gain: Array, time: Array, has_c: bool, has_d: bool) -> tuple[Array, Array, Array]:
    """Columns g and g t, 0 where nothing belongs to them; and a column of zeros."""
    none = padded(0.0 * gain)
    return (
        padded(gain) if has_c else none,
        padded(gain * time) if has_d else none,
        none,
    )


@jit
def _add_pools(p: int, m: int, n: Array, m2: Array, rows: Array, out: Array) -> None:
    """Add M2 and n - 1 of the pixels whose row Z is 1."""
    for i in range(n.shape[0]):
        for j in range(m):
            count = float(n[i, p + j])
            use = (count > 1.0) & (rows[Z_ + j] > 0.0)
            rows[X_ + j] = m2[i, p + j] if use else 0.0
            rows[Y_ + j] = count - 1.0 if use else 0.0
        out[i, 0] += row_sum(rows, X_, m)
        out[i, 1] += row_sum(rows, Y_, m)


@jit
def survey(
    lo: int,
    hi: int,
    gain: Array,
    time: Array,
    has_c: bool,
    has_d: bool,
    n: Array,
    m2: Array,
    flags: Array,
    imaging: Array,
    group: Array,
    stacks_used: Array,
    dq: Array,
    out: Array,
) -> None:
    """Decide which pixels can be fitted, and add up their scatter.

    Parameters
    ----------
    lo, hi : int
        Range of pixels.
    gain, time : ndarray, shape (stacks,)
        EM gain and exposure time.
    has_c, has_d : bool
        Whether C and D are fitted, the latter in the imaging area only.
    n, m2, flags : ndarray, shape (stacks, pixels)
        Moments.
    imaging : ndarray of bool, shape (pixels,)
        Where there is dark current.
    group, stacks_used, dq : ndarray of integers, shape (pixels,)
        Receive 0 outside and 1 inside the imaging area, -1 where no fit is possible; the
        usable stacks; the flags where no fit is possible.
    out : ndarray, shape (2, stacks, 2)
        Receives, outside and inside the imaging area, sum of M2 and of n - 1.
    """
    out[:] = 0.0
    g, h, none = _design(gain, time, has_c, has_d)
    rows, plain = np.empty(ROWS * ROW), np.zeros(g.size * ROW)
    p = lo
    while p < hi:
        m = run_end(p, hi, imaging) - p
        dark = imaging[p]
        count_usable(p, m, n, stacks_used)
        has_dark = dark and has_d
        h_here = h if dark else none
        plain_inverse(p, m, has_c, has_dark, g, h_here, n, stacks_used, plain, rows)
        _decide(p, m, dark, 2 + has_c + has_dark, n, flags, group, stacks_used, dq, rows)
        _add_pools(p, m, n, m2, rows, out[int(dark)])
        p += m


@jit
def _decide(
    p: int,
    m: int,
    dark: bool,
    least: int,
    n: Array,
    flags: Array,
    group: Array,
    stacks_used: Array,
    dq: Array,
    rows: Array,
) -> None:
    """Groups and flags of a run; row Z: 1 where a fit is possible."""
    member = 1 if dark else 0
    unfitted = 0
    for j in range(m):
        fit = (rows[FULL + j] > 0.0) & (stacks_used[p + j] >= least)
        rows[Z_ + j] = 1.0 if fit else 0.0
        unfitted += 0 if fit else 1
    group[p : p + m] = member
    dq[p : p + m] = 0
    if unfitted > 0:
        for j in range(m):
            if rows[Z_ + j] == 0.0:
                group[p + j] = UNFITTED
                flag_unfittable(p + j, n, flags, dq)


@jit
def pool_sweep(
    lo: int, hi: int, n: Array, m2: Array, imaging: Array, group: Array, out: Array
) -> None:
    """Sums of M2 and n - 1 over the pixels that are fitted and not hot.

    Parameters
    ----------
    group : ndarray of int8, shape (pixels,)
        Groups of the pixels.
    lo, hi, n, m2, imaging, out
        As in `survey`.
    """
    out[:] = 0.0
    rows = np.empty(ROWS * ROW)
    p = lo
    while p < hi:
        m = run_end(p, hi, imaging) - p
        region = int(imaging[p])
        _mark_cold(p, m, group, region, rows)
        _add_pools(p, m, n, m2, rows, out[region])
        p += m


@jit
def _mark_cold(p: int, m: int, group: Array, region: int, rows: Array) -> None:
    """Row Z: 1 for the pixels of a region that are fitted and not hot."""
    for j in range(m):
        rows[Z_ + j] = 1.0 if group[p + j] == region else 0.0


@jit
def first_sweep(
    lo: int,
    hi: int,
    gain: Array,
    time: Array,
    has_c: bool,
    has_d: bool,
    n: Array,
    mean: Array,
    v0: Array,
    imaging: Array,
    values: Array,
    scale: Array,
    jump: Array,
) -> None:
    """Fit with weights n; how far noise, and one electron, can move C and D of that fit.

    Parameters
    ----------
    mean : ndarray, shape (stacks, pixels)
        Means.
    v0 : ndarray, shape (2, stacks)
        Variances pooled over all pixels, outside and inside the imaging area.
    values : ndarray, shape (3, pixels)
        Receives F, C and D; any number where no fit is possible.
    scale : ndarray, shape (2, pixels)
        Receives u^2 = sum_i G_ki^2 v0_i / n_i for C and D.
    jump : ndarray, shape (2, pixels)
        Receives max_i G_ki g_i / n_i, 0 at least.
    lo, hi, gain, time, has_c, has_d, n, imaging
        As in `survey`.
    """
    g, h, none = _design(gain, time, has_c, has_d)
    rows, w = np.empty(ROWS * ROW), np.zeros(g.size * ROW)
    p = lo
    while p < hi:
        m = run_end(p, hi, imaging) - p
        dark = imaging[p]
        h_here = h if dark else none
        for i in range(gain.size):
            at = i * ROW
            for j in range(m):
                w[at + j] = float(n[i, p + j])
        clear(rows, S_11, FULL)
        for i in range(0, g.size, 2):
            add_normal(0, m, i, g, h_here, w, rows)
            add_products(p, m, i, g, h_here, mean, w, rows)
        without_absent(0, m, has_c, dark and has_d, rows)
        invert(0, m, rows)
        apply_inverse(m, rows)
        put_rows(p, m, rows, (F_, C_, D_), values)
        for k in range(2):
            _reach(m, k + 1, gain, h_here, v0[int(dark)], w, rows)
            put_row(p, m, rows, X_, scale[k])
            put_row(p, m, rows, Y_, jump[k])
        p += m


@inline
def _columns(k: int) -> tuple[int, int, int]:
    """Rows of the inverse that make parameter k (1 C, 2 D): G_ki = w_i (a + b g_i + c g_i t_i)."""
    return (S_1G, S_GG, S_GH) if k == 1 else (S_1H, S_GH, S_HH)


@jit
def _reach(m: int, k: int, gain: Array, h: Array, v0: Array, w: Array, rows: Array) -> None:
    """Rows X and Y: sum_i G_ki^2 v0_i / n_i and max_i G_ki g_i / n_i, with weights w = n."""
    a, b, c = _columns(k)
    clear(rows, X_, Y_)
    for i in range(v0.size):
        at, g_i, h_i, v_i = i * ROW, gain[i], h[i], v0[i]
        for j in range(m):
            each = rows[a + j] + rows[b + j] * g_i + rows[c + j] * h_i
            rows[X_ + j] += each * each * w[at + j] * v_i
            moved = each * g_i if w[at + j] > 0.0 else 0.0
            rows[Y_ + j] = moved if moved > rows[Y_ + j] else rows[Y_ + j]


@jit
def _weigh(
    p: int,
    m: int,
    kind: int,
    n: Array,
    err2: Array | None,
    v: Array,
    w: Array,
    q: Array,
    s: Array,
) -> None:
    """Weights of a run's stacks: method page, eq. 4 (weights).

    Equal; n; or 1 / (v/n + s) with the pool's variance v. Never the pixel's own scatter: it is
    correlated with the pixel's mean, and would bias the fit.
    """
    for i in range(v.size):
        at, v_i = i * ROW, v[i]
        inverse = 1.0 / v_i if v_i > 0.0 else 0.0
        for j in range(m):
            count = float(n[i, p + j])
            each = 1.0 / (count if count > 0.0 else 1.0)
            q[at + j] = each if count > 0.0 else 0.0
            w[at + j] = count * inverse
        if err2 is not None:
            for j in range(m):
                s[at + j] = err2[i, p + j] * q[at + j] * q[at + j]
                variance = v_i * q[at + j] + s[at + j]
                weight = 1.0 / (variance if variance > 0.0 else 1.0)
                w[at + j] = weight if variance > 0.0 else 0.0
        if kind != POOLED:
            for j in range(m):
                count = float(n[i, p + j])
                usable = 1.0 if count > 0.0 else 0.0
                w[at + j] = count if kind == COUNTS else usable


@jit
def _weigh_hot(
    p: int,
    m: int,
    gain: Array,
    time: Array,
    v: Array,
    kappa: float,
    hot: Array,
    above: Array,
    start: int,
    w: Array,
    q: Array,
    s: Array,
) -> int:
    """Variances raised by the noise model where a pixel lies above the pool; next hot pixel."""
    while start < hot.size and hot[start] < p + m:
        j = hot[start] - p
        for i in range(gain.size):
            if q[i * ROW + j] > 0.0:
                charge = above[0, start] + time[i] * above[1, start]
                excess = max(kappa * gain[i] * gain[i] * charge, 0.0)
                w[i * ROW + j] = 1.0 / ((v[i] + excess) * q[i * ROW + j] + s[i * ROW + j])
        start += 1
    return start


@jit
def second_sweep(
    lo: int,
    hi: int,
    gain: Array,
    time: Array,
    has_c: bool,
    has_d: bool,
    n: Array,
    mean: Array,
    err2: Array | None,
    imaging: Array,
    group: Array,
    hot: Array,
    above: Array,
    v: Array,
    kappa: Array,
    kind: Array,
    values: Array,
    own: Array,
    out: Array,
) -> None:
    """Fit with the final weights; what is needed to judge the spread over pixels.

    Parameters
    ----------
    err2 : ndarray, shape (stacks, pixels), or None
        Sums of squared errors.
    hot, above : ndarray, shape (hot pixels,), (2, hot pixels)
        Hot pixels, ascending, and their C and D above the pool.
    v, kappa, kind : ndarray, shape (2, stacks), (2,), (2,)
        Outside and inside the imaging area: variances, excess noise, kind of weights.
    values : ndarray, shape (3, pixels)
        F, C, D of the first fit, from which this one starts; receives F, C, D.
    own : ndarray, shape (2, pixels)
        Receives, for C and D, the error variance with the pool's v, of pixels not hot.
    out : ndarray, shape (2, 2)
        Receives, by region, for C and D, the sum over pixels not hot of the derivative of
        ``own`` to the parameter.
    lo, hi, gain, time, has_c, has_d, n, mean, imaging, group
        As in `first_sweep` and `pool_sweep`.
    """
    out[:] = 0.0
    g, h, none = _design(gain, time, has_c, has_d)
    rows, w = np.empty(ROWS * ROW), np.zeros(g.size * ROW)
    q, s = np.zeros(w.size), np.zeros(w.size)
    p, next_hot = lo, int(np.searchsorted(hot, lo))
    while p < hi:
        m = run_end(p, hi, imaging) - p
        dark = imaging[p]
        z, h_here = int(dark), h if dark else none
        _weigh(p, m, kind[z], n, err2, v[z], w, q, s)
        if kind[z] == POOLED:
            next_hot = _weigh_hot(p, m, gain, time, v[z], kappa[z], hot, above, next_hot, w, q, s)
        _load(p, m, values, rows)
        clear(rows, S_11, R_H)
        for i in range(0, g.size, 2):
            add_normal(0, m, i, g, h_here, w, rows)
            add_residuals(p, m, i, g, h_here, mean, w, rows)
        without_absent(0, m, has_c, dark and has_d, rows)
        invert(0, m, rows)
        apply_inverse(m, rows)
        _mark_cold(p, m, group, z, rows)
        put_rows(p, m, rows, (F_, C_, D_), values)
        for k in range(1 if has_c else 2, 3 if dark and has_d else 2):
            _own_errors(m, k, gain, h_here, kappa[z], time, v[z], w, q, s, rows)
            put_row(p, m, rows, X_, own[k - 1])
            out[z, k - 1] += row_sum(rows, Y_, m)
        p += m


@jit
def _load(p: int, m: int, values: Array, rows: Array) -> None:
    """F, C, D of a run."""
    for j in range(m):
        rows[F_ + j] = values[0, p + j]
    for j in range(m):
        rows[C_ + j] = values[1, p + j]
    for j in range(m):
        rows[D_ + j] = values[2, p + j]


@jit
def _own_errors(
    m: int,
    k: int,
    gain: Array,
    h: Array,
    kappa: float,
    time: Array,
    v: Array,
    w: Array,
    q: Array,
    s: Array,
    rows: Array,
) -> None:
    """Rows X and Y: error variance of C (k = 1) or D, and its derivative, 0 for hot pixels."""
    a, b, c = _columns(k)
    clear(rows, X_, Y_)
    for i in range(v.size):
        at, g_i, h_i, v_i = i * ROW, gain[i], h[i], v[i]
        slope = kappa * g_i * g_i * (1.0 if k == 1 else time[i])
        for j in range(m):
            G = w[at + j] * (rows[a + j] + rows[b + j] * g_i + rows[c + j] * h_i)
            rows[X_ + j] += G * G * (v_i * q[at + j] + s[at + j])
            rows[Y_ + j] += G * G * slope * q[at + j]
    for j in range(m):
        rows[Y_ + j] = rows[Y_ + j] if rows[Z_ + j] > 0.0 else 0.0


@inline
def _ramp(u: float) -> float:
    u = min(max(u, 0.0), 1.0)
    return u * u * (3.0 - 2.0 * u)


@jit
def _follow(
    x: float, e2: float, spread: float, slope: float, mu3: float, gate: float, jump: float
) -> float:
    """How far a pixel's variance follows its own estimate, as an offset of C or D.

    Method page, eq. 6 (follow) and eq. 7 (kappa).

    x is the estimate above the pool's mean, e2 its error variance, ``spread`` the variance of
    true values over pixels, ``slope`` d e2 / d(value), mu3 the third moment of the error,
    ``jump`` what one electron does.
    """
    if slope <= 0.0 or e2 <= 0.0 or (x <= 0.0 and gate == 0.0):
        return 0.0
    c = slope / e2
    b = gate * (spread / (spread + e2)) ** POWER if gate > 0.0 else 0.0
    width = np.sqrt(spread + e2)
    near = FOLLOW_LOW * width + JUMP_LOW * jump
    far = _ramp((x - near) / (FOLLOW_HIGH * width + JUMP_HIGH * jump - near))
    # To second order, noise in the reported variance raises the mean square of pulls.
    gain = c * c * (b * b * (spread + 3.0 * e2) - b * spread) - c * b * mu3 / e2
    K = 1.0 + max(gain, 0.0) * (1.0 - far)
    moved: float = (b + (1.0 - b) * far) * x * K + (K - 1.0) / c
    return moved


@jit
def _error_variances(
    m: int, k: int, g: Array, h: Array, w: Array, q: Array, s: Array, V: Array, rows: Array
) -> None:
    """Row X: error variance of C (k = 1) or D with the variances V."""
    a, b, c = _columns(k)
    clear(rows, X_, X_)
    for i in range(g.size):
        at, g_i, h_i = i * ROW, g[i], h[i]
        for j in range(m):
            G = w[at + j] * (rows[a + j] + rows[b + j] * g_i + rows[c + j] * h_i)
            rows[X_ + j] += G * G * (V[at + j] * q[at + j] + s[at + j])


@jit
def _offsets(
    first: int,
    last: int,
    k: int,
    gain: Array,
    h: Array,
    time: Array,
    w: Array,
    q: Array,
    s: Array,
    V: Array,
    level: Array,
    spread: float,
    gate: float,
    kappa: float,
    rows: Array,
) -> None:
    """Offsets from the pool's mean at which the variances of some pixels are taken (k: 1 C, 2 D).

    Row X, Y, U, V: error variance, its slope, third moment, what one electron does.
    """
    a, b, c = _columns(k)
    for at in (X_, Y_, U_, V_):
        for j in range(first, last):
            rows[at + j] = 0.0
    for i in range(gain.size):
        at, g_i, h_i = i * ROW, gain[i], h[i]
        tau = 1.0 if k == 1 else time[i]
        per_slope, per_jump = g_i * kappa * tau, kappa * 0.5
        third = g_i * 1.5 * kappa * kappa * max(level[0] + time[i] * level[1], 0.0)
        for j in range(first, last):
            G = w[at + j] * (rows[a + j] + rows[b + j] * g_i + rows[c + j] * h_i)
            step = G * g_i * q[at + j]
            rows[X_ + j] += G * G * (V[at + j] * q[at + j] + s[at + j])
            rows[Y_ + j] += step * G * per_slope
            rows[U_ + j] += step * step * G * third
            one = step * per_jump
            rows[V_ + j] = one if one > rows[V_ + j] else rows[V_ + j]
    value, out = (C_, OFFSET_C) if k == 1 else (D_, OFFSET_D)
    middle, least = level[k - 1], -max(level[k - 1], 0.0)
    for j in range(first, last):
        x = rows[value + j] - middle
        moved = _follow(x, rows[X_ + j], spread, rows[Y_ + j], rows[U_ + j], gate, rows[V_ + j])
        rows[out + j] = max(moved, least)


@jit
def _raise(
    first: int,
    last: int,
    gain: Array,
    time: Array,
    v: Array,
    floor: Array,
    kappa: float,
    V: Array,
    rows: Array,
) -> None:
    """Variances by the noise model at the offsets of C and D."""
    for i in range(gain.size):
        at, v_i, least, time_i = i * ROW, v[i], floor[i], time[i]
        each = kappa * gain[i] * gain[i]
        for j in range(first, last):
            raised = v_i + each * (rows[OFFSET_C + j] + time_i * rows[OFFSET_D + j])
            V[at + j] = raised if raised > least else least


@jit
def _candidates(
    p: int, m: int, k: int, group: Array, level: float, spread: float, rows: Array
) -> int:
    """Pixels that may lie beyond the scatter of the population (row Y); how many.

    Row X has the error variance, which for hot pixels may be too large.
    """
    value, width = C_ if k == 1 else D_, FOLLOW_LOW * FOLLOW_LOW * (1.0 - 1e-9)
    found = 0
    for j in range(m):
        x = rows[value + j] - level
        far = (x > 0.0) & ((x * x > width * (spread + rows[X_ + j])) | (group[p + j] >= HOT))
        rows[Y_ + j] = 1.0 if far else 0.0
        found += 1 if far else 0
    return found


@jit
def _follow_run(
    p: int,
    m: int,
    k: int,
    group: Array,
    pooled: bool,
    gain: Array,
    h: Array,
    time: Array,
    w: Array,
    q: Array,
    s: Array,
    v: Array,
    floor: Array,
    level: Array,
    spread: float,
    gate: float,
    kappa: float,
    V: Array,
    rows: Array,
    marks: Array,
) -> None:
    """Let the variances of a run follow C (k = 1) or D; ``marks`` where they do.

    ``pooled`` says that variances are the pool's so far, and weights their inverse.
    """
    if gate > 0.0:
        _offsets(0, m, k, gain, h, time, w, q, s, V, level, spread, gate, kappa, rows)
        _raise(0, m, gain, time, v, floor, kappa, V, rows)
        marks[:m] = True
        return
    # Only what lies far beyond the population is followed: few pixels.
    if pooled:
        copy_row(m, rows, S_GG if k == 1 else S_HH, X_)
    else:
        _error_variances(m, k, gain, h, w, q, s, V, rows)
    if _candidates(p, m, k, group, level[k - 1], spread, rows) > 0:
        for j in range(m):
            if rows[Y_ + j] == 0.0:
                continue
            _offsets(j, j + 1, k, gain, h, time, w, q, s, V, level, spread, gate, kappa, rows)
            _raise(j, j + 1, gain, time, v, floor, kappa, V, rows)
            marks[j] = True


@jit
def _own_scatter(n: float, m2: float, V: float, g: float, charge: float, kappa: float) -> float:
    """Variance where a pixel is noisier than any model of it: then its own scatter counts."""
    excess = m2 - V * (n - 1.0)
    if n < 2.0 or V <= 0.0 or excess <= 0.0:
        return V
    f = excess / (V * (n - 1.0))
    k4 = 3.0 * kappa * kappa * kappa
    g2 = g * g
    deviation = np.sqrt(k4 * g2 * g2 * max(charge, 0.0) / (V * V * n) + 2.0 / (n - 1.0))
    jump = (JUMP_HIGH * g * kappa * 0.5) ** 2 / (V * n)
    share = _ramp(((f - jump) / deviation - ODD_LOW) / ODD_RANGE)
    return V + V * f * share


@jit
def _see_scatter(
    p: int,
    m: int,
    n: Array,
    m2: Array,
    gain: Array,
    charges: Array,
    time: Array,
    kappa: float,
    q: Array,
    V: Array,
    rows: Array,
    marks: Array,
) -> None:
    """Own scatter of pixels and stacks that are too noisy for ``V``; ``marks`` where.

    The test of `_own_scatter` without its divisions tells the few.
    """
    for i in range(gain.size):
        at, g = i * ROW, gain[i]
        fourth, jump = (
            3.0 * kappa * kappa * kappa * g * g * g * g,
            (JUMP_HIGH * g * kappa * 0.5) ** 2,
        )
        charge, time_i = charges[i], time[i]
        odd = 0
        for j in range(m):
            more = float(n[i, p + j]) - 1.0
            away = m2[i, p + j] - V[at + j] * more - jump * q[at + j] * more
            here = charge + rows[OFFSET_C + j] + time_i * rows[OFFSET_D + j]
            here = here if here > 0.0 else 0.0
            width = more * (more * fourth * here * q[at + j] + 2.0 * V[at + j] * V[at + j])
            far = (away > 0.0) & (away * away > 0.999 * ODD_LOW * ODD_LOW * width)
            rows[Y_ + j] = 1.0 if far & (more > 0.0) else 0.0
            odd += 1 if far else 0
        if odd > 0:
            for j in range(m):
                if rows[Y_ + j] == 0.0:
                    continue
                here = charge + rows[OFFSET_C + j] + time_i * rows[OFFSET_D + j]
                count = float(n[i, p + j])
                V[at + j] = _own_scatter(count, m2[i, p + j], V[at + j], g, here, kappa)
                marks[j] = True


@jit
def _pixel_variances(
    p: int,
    m: int,
    has_c: bool,
    has_d: bool,
    pooled: bool,
    n: Array,
    m2: Array,
    group: Array,
    gain: Array,
    h: Array,
    time: Array,
    v: Array,
    floor: Array,
    level: Array,
    spread: Array,
    gate: Array,
    kappa: float,
    w: Array,
    q: Array,
    s: Array,
    V: Array,
    rows: Array,
    marks: Array,
) -> None:
    """Variance of a sample in each stack, as each pixel has it; ``marks`` where not the pool's."""
    clear(rows, OFFSET_C, OFFSET_D)
    for i in range(gain.size):
        V[i * ROW : i * ROW + m] = v[i]
    if kappa > 0.0:
        for k in range(2 if has_d else 1, 0 if has_c else 1, -1):
            _follow_run(
                p,
                m,
                k,
                group,
                pooled and (k == 2 or gate[1] == 0.0),
                gain,
                h,
                time,
                w,
                q,
                s,
                v,
                floor,
                level,
                spread[k - 1],
                gate[k - 1],
                kappa,
                V,
                rows,
                marks,
            )
    charges = level[0] + time * level[1]
    _see_scatter(p, m, n, m2, gain, charges, time, kappa, q, V, rows, marks)


@jit
def _sandwich(
    first: int,
    last: int,
    g: Array,
    h: Array,
    time: Array,
    gain_error: float,
    w: Array,
    q: Array,
    s: Array,
    V: Array,
    rows: Array,
) -> None:
    """Sandwich G diag(V) G', V the variances of the means: method page, eq. 5 (cov).

    Of the inverse matrix in rows S, in rows Q.
    """
    for k in range(6):
        for j in range(first, last):
            rows[Q_11 + k * ROW + j] = 0.0
    for i in range(time.size):
        at, each, time_i, g_i, h_i = i * ROW, gain_error * g[i], time[i], g[i], h[i]
        for j in range(first, last):
            b, c, e = rows[S_1G + j], rows[S_1H + j], rows[S_GH + j]
            F = w[at + j] * (rows[S_11 + j] + b * g_i + c * h_i)
            C = w[at + j] * (b + rows[S_GG + j] * g_i + e * h_i)
            D = w[at + j] * (c + e * g_i + rows[S_HH + j] * h_i)
            moved = each * (rows[C_ + j] + time_i * rows[D_ + j])
            variance = V[at + j] * q[at + j] + s[at + j] + moved * moved
            rows[Q_11 + j] += F * F * variance
            rows[Q_1G + j] += F * C * variance
            rows[Q_1H + j] += F * D * variance
            rows[Q_GG + j] += C * C * variance
            rows[Q_GH + j] += C * D * variance
            rows[Q_HH + j] += D * D * variance


@jit
def _covariances(
    m: int,
    has_c: bool,
    has_d: bool,
    pooled: bool,
    g: Array,
    h: Array,
    time: Array,
    gain_error: float,
    w: Array,
    q: Array,
    s: Array,
    V: Array,
    rows: Array,
    marks: Array,
) -> None:
    """Covariances of a run in rows Q.

    Where variances are the pool's, and weights their inverse (``pooled``, and no mark), the
    sandwich is the inverse matrix.
    """
    if not pooled or marks[:m].sum() > m // 8:
        _sandwich(0, m, g, h, time, gain_error, w, q, s, V, rows)
        return
    for k in range(6):
        copy_row(m, rows, S_11 + k * ROW, Q_11 + k * ROW)
    if not has_c:
        clear(rows, Q_GG, Q_GG)
    if not has_d:
        clear(rows, Q_HH, Q_HH)
    for j in range(m):
        if marks[j]:
            _sandwich(j, j + 1, g, h, time, gain_error, w, q, s, V, rows)


@jit
def _quality(
    p: int,
    m: int,
    parameters: int,
    kind: int,
    g: Array,
    h: Array,
    mean: Array,
    stacks_used: Array,
    v: Array,
    w: Array,
    q: Array,
    s: Array,
    rows: Array,
) -> None:
    """Reduced chi-square by the pool's variances (row X), adjusted R^2 with the fit's weights (U).

    Sums of squares about the weighted mean are those about F, less what the mean is off.
    """
    clear(rows, X_, V_)
    for i in range(v.size):
        at, g_i, h_i, v_i = i * ROW, g[i], h[i], v[i]
        for j in range(m):
            weight = w[at + j]
            away = mean[i, p + j] - rows[F_ + j]
            away = away if weight > 0.0 else 0.0
            residual = away - (g_i * rows[C_ + j] + h_i * rows[D_ + j])
            rows[X_ + j] += weight * residual * residual
            rows[Y_ + j] += weight * away
            rows[U_ + j] += weight * away * away
        if kind != POOLED:
            for j in range(m):
                residual = mean[i, p + j] - rows[F_ + j] - g_i * rows[C_ + j] - h_i * rows[D_ + j]
                residual = residual if q[at + j] > 0.0 else 0.0
                variance = v_i * q[at + j] + s[at + j]
                square = residual * residual / (variance if variance > 0.0 else 1.0)
                rows[V_ + j] += square if variance > 0.0 else 0.0
    for j in range(m):
        used = float(stacks_used[p + j])
        freedom = used - parameters
        sse, total = rows[X_ + j], rows[TOTAL + j]
        sst = rows[U_ + j] - rows[Y_ + j] * rows[Y_ + j] / (total if total > 0.0 else 1.0)
        share = 1.0 - sse / (sst if sst > 0.0 else 1.0) * (used - 1.0) / freedom
        rows[U_ + j] = share if sst > 0.0 else np.nan
        rows[X_ + j] = (sse if kind == POOLED else rows[V_ + j]) / freedom


@jit
def final_sweep(
    lo: int,
    hi: int,
    gain: Array,
    time: Array,
    has_c: bool,
    has_d: bool,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    imaging: Array,
    group: Array,
    hot: Array,
    above: Array,
    v: Array,
    kappa: Array,
    kind: Array,
    floor: Array,
    level: Array,
    spread: Array,
    gate: Array,
    gain_error: float,
    stacks_used: Array,
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
    stacks_used : ndarray of integers, shape (pixels,)
        Usable stacks.
    values : ndarray, shape (3, pixels)
        F, C, D of `second_sweep`; 0 where no fit is possible.
    errors, correlations : ndarray, shape (3, pixels)
        Receive errors and the correlations F-C, F-D, C-D.
    chi2, r_squared : ndarray, shape (pixels,)
        Receive the reduced chi-square and the adjusted R^2.
    derivatives : ndarray, shape (stacks + 1, 3)
        Receives the sums over the imaging area of d(F, C, D)/d(relative gain error), by
        stack, and in the last row the number of pixels.
    lo, hi, gain, time, has_c, has_d, n, mean, err2, imaging, group, hot, above, v, kappa, kind
        As in `second_sweep`.
    """
    derivatives[:, :] = 0.0
    g, h, none = _design(gain, time, has_c, has_d)
    rows, w = np.empty(ROWS * ROW), np.zeros(g.size * ROW)
    q, s, V = np.zeros(w.size), np.zeros(w.size), np.zeros(w.size)
    marks = np.empty(CHUNK, np.bool_)
    p, next_hot = lo, int(np.searchsorted(hot, lo))
    while p < hi:
        m = run_end(p, hi, imaging) - p
        dark = imaging[p]
        z, h_here = int(dark), h if dark else none
        _weigh(p, m, kind[z], n, err2, v[z], w, q, s)
        if kind[z] == POOLED:
            next_hot = _weigh_hot(p, m, gain, time, v[z], kappa[z], hot, above, next_hot, w, q, s)
        fitted = _load_fitted(p, m, group, values, marks, rows)
        clear(rows, S_11, S_HH)
        for i in range(0, g.size, 2):
            add_normal(0, m, i, g, h_here, w, rows)
        copy_row(m, rows, S_11, TOTAL)
        without_absent(0, m, has_c, dark and has_d, rows)
        invert(0, m, rows)
        if dark:
            add_derivatives(m, g, h, w, rows, derivatives)
            derivatives[gain.size, :] += fitted
        has_dark = dark and has_d
        many = 1 + has_c + has_dark
        _quality(p, m, many, kind[z], g, h_here, mean, stacks_used, v[z], w, q, s, rows)
        put_row(p, m, rows, X_, chi2)
        put_row(p, m, rows, U_, r_squared)
        pooled = kind[z] == POOLED
        _pixel_variances(
            p,
            m,
            has_c,
            has_dark,
            pooled,
            n,
            m2,
            group,
            gain,
            h_here,
            time,
            v[z],
            floor[z],
            level[z],
            spread[z],
            gate[z],
            kappa[z],
            w,
            q,
            s,
            V,
            rows,
            marks,
        )
        pooled = pooled and gain_error == 0.0
        _covariances(
            m, has_c, has_dark, pooled, g, h_here, time, gain_error, w, q, s, V, rows, marks
        )
        to_errors(m, Q_11, rows)
        put_rows(p, m, rows, (Q_11, Q_GG, Q_HH), errors)
        put_rows(p, m, rows, (Q_1G, Q_1H, Q_GH), correlations)
        if fitted < m:
            _leave_out(p, m, group, values, errors, correlations, chi2, r_squared)
        p += m


@jit
def _load_fitted(p: int, m: int, group: Array, values: Array, marks: Array, rows: Array) -> int:
    """F, C, D of a run, 0 where not fitted; mark hot pixels; number of those fitted."""
    _load(p, m, values, rows)
    fitted = 0
    for j in range(m):
        here = group[p + j] >= 0
        fitted += 1 if here else 0
        marks[j] = group[p + j] >= HOT
        rows[C_ + j] = rows[C_ + j] if here else 0.0
        rows[D_ + j] = rows[D_ + j] if here else 0.0
    return fitted


@jit
def _leave_out(
    p: int,
    m: int,
    group: Array,
    values: Array,
    errors: Array,
    correlations: Array,
    chi2: Array,
    r_squared: Array,
) -> None:
    """Results of the pixels of a run that cannot be fitted."""
    for at in range(p, p + m):
        if group[at] == UNFITTED:
            values[:, at], errors[:, at], correlations[:, at] = 0.0, np.nan, 0.0
            chi2[at], r_squared[at] = np.nan, np.nan
