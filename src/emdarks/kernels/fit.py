"""The three-parameter weighted fit, a run of pixels at a time.

Model of the mean of stack i at a pixel, method page, eq. 1 (model):
y_i = F + g_i C + g_i t_i D. Nothing of size stacks x parameters x pixels is held.

Pixels are taken in runs of ``CHUNK``. A run's normal matrix, inverse and parameters are rows
of one flat scratch array that stays in a core's cache: loops go over the stacks outside, over
the pixels of the run inside, without branches, so that they become vector instructions. (All
rows lie in one array at fixed distances, since the compiler must know that they do not
overlap.) Sums over pixels are taken in an order that is fixed by the band of pixels alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.kernels._jit import inline, jit

__all__ = [
    "CHUNK",
    "PIVOT",
    "add_derivatives",
    "add_normal",
    "apply_inverse",
    "clear",
    "copy_row",
    "count_usable",
    "design_rank",
    "flag_unfittable",
    "invert",
    "plain_inverse",
    "reference_fit",
    "row_sum",
    "run_end",
    "smallest_variance",
    "to_errors",
    "without_absent",
]

Array = npt.NDArray[Any]
Six = tuple[float, float, float, float, float, float]

#: Smallest pivot, of 1, at which columns scaled to unit length still count as independent:
#: the design may come within 1e-4 of rank 2.
PIVOT = 1e-8

#: Pixels of a run: a few rows of the scratch fit in the first cache.
CHUNK = 256
#: Distance of rows. Not a power of two: rows would fight for the same places in the cache.
ROW = CHUNK + 8

# Rows of the scratch. Normal matrix of the columns 1, g, g t; later its inverse.
S_11, S_1G, S_1H, S_GG, S_GH, S_HH = (k * ROW for k in range(6))
# Right-hand side, parameters, 1 where the matrix has full rank.
R_1, R_G, R_H, F_, C_, D_, FULL = (k * ROW for k in range(6, 13))
# Free for each kernel.
X_, Y_, U_, V_, Z_ = (k * ROW for k in range(13, 18))
# Number of usable stacks.
USED = 18 * ROW
# Another matrix: errors and correlations of the unweighted fit, or a covariance.
Q_11, Q_1G, Q_1H, Q_GG, Q_GH, Q_HH = (k * ROW for k in range(19, 25))
ROWS = 25


@inline
def inverse3(sums: Six) -> tuple[Six, bool]:
    """Inverse of the symmetric matrix [[a b c] [b d e] [c e f]], and whether it has rank 3.

    Products are taken with the diagonal divided out, since the condition of the matrix (up to
    1e11) is almost all scaling. Zeros where the rank is less.
    """
    a, b, c, d, e, f = sums
    positive = (a > 0.0) & (d > 0.0) & (f > 0.0)
    u = 1.0 / (a if positive else 1.0)
    v = 1.0 / (d if positive else 1.0)
    w = 1.0 / (f if positive else 1.0)
    bu, bv, cu, cw, ev, ew = b * u, b * v, c * u, c * w, e * v, e * w
    pivot = 1.0 - bu * bv
    determinant = 1.0 + 2.0 * bu * ev * cw - bu * bv - cu * cw - ev * ew
    full = positive & (pivot > PIVOT) & (determinant > PIVOT * pivot)
    r = 1.0 / (determinant if full else 1.0)
    r = r if full else 0.0
    u, v, w = u * r, v * r, w * r
    return (
        (1.0 - ev * ew) * u,
        (cw * ev - bv) * u,
        (bv * ew - cw) * u,
        (1.0 - cu * cw) * v,
        (bu * cw - ew) * v,
        pivot * w,
    ), full


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
def smallest_variance(
    lo: int, hi: int, n: Array, m2: Array, err2: Array | None, single: Array, out: Array
) -> None:
    """Smallest positive squared error of the mean of each stack among some pixels.

    Parameters
    ----------
    lo, hi, n, m2, err2, single
        As in `reference_fit`.
    out : ndarray, shape (stacks,)
        Receives the squared errors; infinite where none is positive.
    """
    least = np.empty(CHUNK)
    for i in range(n.shape[0]):
        least[:] = np.inf
        alone = single[i]
        for p in range(lo, hi, CHUNK):
            for j in range(min(CHUNK, hi - p)):
                count = float(n[i, p + j])
                extra = 0.0 if err2 is None else err2[i, p + j] * count
                total = extra + (alone if count == 1.0 else m2[i, p + j])
                total = total if (count > 0.0) & (total > 0.0) else np.inf
                total /= count * count if count > 0.0 else 1.0
                least[j] = total if total < least[j] else least[j]
        out[i] = least.min()


@inline
def run_end(p: int, hi: int, imaging: Array) -> int:
    """End of the run of pixels from p that are alike, all inside or all outside ``imaging``."""
    last = min(p + CHUNK, hi)
    end = p + 1
    while end < last and imaging[end] == imaging[p]:
        end += 1
    return end


@jit
def clear(rows: Array, first: int, last: int) -> None:
    """Rows of the scratch from first to last become 0."""
    for j in range(first, last + CHUNK):
        rows[j] = 0.0


@jit
def row_sum(rows: Array, at: int, m: int) -> float:
    """Sum of the first m elements of a row, which is lost: its halves are added up again."""
    for j in range(m, CHUNK):
        rows[at + j] = 0.0
    for j in range(CHUNK // 2):
        rows[at + j] += rows[at + CHUNK // 2 + j]
    for j in range(CHUNK // 4):
        rows[at + j] += rows[at + CHUNK // 4 + j]
    for j in range(CHUNK // 8):
        rows[at + j] += rows[at + CHUNK // 8 + j]
    for j in range(CHUNK // 16):
        rows[at + j] += rows[at + CHUNK // 16 + j]
    total = 0.0
    for j in range(CHUNK // 16):
        total += rows[at + j]
    return total


@jit
def count_usable(p: int, m: int, n: Array, stacks_used: Array) -> None:
    """Number of usable stacks of m pixels from p."""
    stacks_used[p : p + m] = 0
    for i in range(n.shape[0]):
        for j in range(m):
            stacks_used[p + j] += np.int16(n[i, p + j] > 0)


@jit
def plain_inverse(
    p: int,
    m: int,
    has_c: bool,
    has_d: bool,
    g: Array,
    h: Array,
    n: Array,
    stacks_used: Array,
    plain: Array,
    rows: Array,
) -> None:
    """Inverse of X'X over the usable stacks of each pixel, in rows S; its rank in row FULL.

    Most pixels can use every stack, and one stands for all of them. ``has_c`` and ``has_d``
    say whether there are C and D to be fitted.
    """
    stacks, short = n.shape[0], 0
    for j in range(m):
        short += 1 if stacks_used[p + j] < stacks else 0
    if short > m // 4:
        mark_usable(p, 0, m, n, plain)
        _invert_plain(0, m, has_c, has_d, g, h, plain, rows)
        return
    for i in range(stacks):
        plain[i * ROW] = 1.0
    _invert_plain(0, 1, has_c, has_d, g, h, plain, rows)
    for at in range(S_11, S_HH + ROW, ROW):
        rows[at : at + m] = rows[at]
    rows[FULL : FULL + m] = rows[FULL]
    if short > 0:
        for j in range(m):
            if stacks_used[p + j] < stacks:
                mark_usable(p, j, j + 1, n, plain)
                _invert_plain(j, j + 1, has_c, has_d, g, h, plain, rows)


@jit
def mark_usable(p: int, first: int, last: int, n: Array, plain: Array) -> None:
    """1 for the stacks that pixels can use, 0 for others."""
    for i in range(n.shape[0]):
        for j in range(first, last):
            plain[i * ROW + j] = 1.0 if n[i, p + j] > 0 else 0.0


@jit
def _invert_plain(
    first: int,
    last: int,
    has_c: bool,
    has_d: bool,
    g: Array,
    h: Array,
    plain: Array,
    rows: Array,
) -> None:
    """Inverse of X'X of some pixels, by their marks."""
    for at in range(S_11, S_HH + ROW, ROW):
        for j in range(first, last):
            rows[at + j] = 0.0
    for i in range(0, g.size, 2):
        add_normal(first, last, i, g, h, plain, rows)
    without_absent(first, last, has_c, has_d, rows)
    invert(first, last, rows)


@jit
def without_absent(first: int, last: int, has_c: bool, has_d: bool, rows: Array) -> None:
    """Where there is no C or D, its place in the normal matrix is that of a unit matrix."""
    if not has_c:
        for j in range(first, last):
            rows[S_GG + j] = 1.0
    if not has_d:
        for j in range(first, last):
            rows[S_HH + j] = 1.0


@jit
def add_normal(first: int, last: int, i: int, g: Array, h: Array, w: Array, rows: Array) -> None:
    """Add the stacks i and i + 1, of gains g and g t = h, to the normal matrices of some pixels.

    Two at once, since the sums are loaded and stored as often as they are added to.
    """
    one, two = i * ROW, (i + 1) * ROW
    g_1, h_1, gg_1, gh_1, hh_1 = g[i], h[i], g[i] * g[i], g[i] * h[i], h[i] * h[i]
    i += 1
    g_2, h_2, gg_2, gh_2, hh_2 = g[i], h[i], g[i] * g[i], g[i] * h[i], h[i] * h[i]
    for j in range(first, last):
        x, y = w[one + j], w[two + j]
        rows[S_11 + j] += x + y
        rows[S_1G + j] += x * g_1 + y * g_2
        rows[S_1H + j] += x * h_1 + y * h_2
        rows[S_GG + j] += x * gg_1 + y * gg_2
        rows[S_GH + j] += x * gh_1 + y * gh_2
        rows[S_HH + j] += x * hh_1 + y * hh_2


@jit
def invert(first: int, last: int, rows: Array) -> None:
    """Inverse matrices in place of the normal ones; zeros where the rank is below 3."""
    for j in range(first, last):
        s, full = inverse3(
            (
                rows[S_11 + j],
                rows[S_1G + j],
                rows[S_1H + j],
                rows[S_GG + j],
                rows[S_GH + j],
                rows[S_HH + j],
            )
        )
        rows[S_11 + j], rows[S_1G + j], rows[S_1H + j] = s[0], s[1], s[2]
        rows[S_GG + j], rows[S_GH + j], rows[S_HH + j] = s[3], s[4], s[5]
        rows[FULL + j] = 1.0 if full else 0.0


@jit
def to_errors(m: int, at: int, rows: Array) -> None:
    """Six rows of a covariance become errors, and correlations (0 where an error is 0)."""
    a, b, c, d, e, f = at, at + ROW, at + 2 * ROW, at + 3 * ROW, at + 4 * ROW, at + 5 * ROW
    for one in (a, d, f):
        for j in range(m):
            rows[one + j] = np.sqrt(rows[one + j])
    for both, one, other in ((b, a, d), (c, a, f), (e, d, f)):
        for j in range(m):
            product = rows[one + j] * rows[other + j]
            found = rows[both + j] / (product if product > 0.0 else 1.0)
            rows[both + j] = found if product > 0.0 else 0.0


@jit
def add_products(
    p: int, m: int, i: int, g: Array, h: Array, mean: Array, w: Array, rows: Array
) -> None:
    """Add the means of the stacks i and i + 1 to the right-hand sides, and to row Y."""
    one, two, last = i * ROW, (i + 1) * ROW, min(i + 1, mean.shape[0] - 1)
    g_1, h_1, g_2, h_2 = g[i], h[i], g[i + 1], h[i + 1]
    for j in range(m):
        x_1, x_2 = w[one + j], w[two + j]
        y_1, y_2 = mean[i, p + j], mean[last, p + j]
        y_1, y_2 = (y_1 if x_1 > 0.0 else 0.0), (y_2 if x_2 > 0.0 else 0.0)
        r_1, r_2 = x_1 * y_1, x_2 * y_2
        rows[Y_ + j] += y_1 + y_2
        rows[R_1 + j] += r_1 + r_2
        rows[R_G + j] += g_1 * r_1 + g_2 * r_2
        rows[R_H + j] += h_1 * r_1 + h_2 * r_2


@jit
def add_residuals(
    p: int, m: int, i: int, g: Array, h: Array, mean: Array, w: Array, rows: Array
) -> None:
    """Add what F + g C + h D leaves of the stacks i and i + 1 to the right-hand sides."""
    one, two, last = i * ROW, (i + 1) * ROW, min(i + 1, mean.shape[0] - 1)
    g_1, h_1, g_2, h_2 = g[i], h[i], g[i + 1], h[i + 1]
    for j in range(m):
        F, C, D = rows[F_ + j], rows[C_ + j], rows[D_ + j]
        x_1, x_2 = w[one + j], w[two + j]
        y_1 = mean[i, p + j] - (F + g_1 * C + h_1 * D)
        y_2 = mean[last, p + j] - (F + g_2 * C + h_2 * D)
        r_1 = x_1 * (y_1 if x_1 > 0.0 else 0.0)
        r_2 = x_2 * (y_2 if x_2 > 0.0 else 0.0)
        rows[R_1 + j] += r_1 + r_2
        rows[R_G + j] += g_1 * r_1 + g_2 * r_2
        rows[R_H + j] += h_1 * r_1 + h_2 * r_2


@jit
def apply_inverse(m: int, rows: Array) -> None:
    """Add inverse times right-hand side to F, C, D."""
    for j in range(m):
        r_1, r_g, r_h = rows[R_1 + j], rows[R_G + j], rows[R_H + j]
        b, c, e = rows[S_1G + j], rows[S_1H + j], rows[S_GH + j]
        rows[F_ + j] += rows[S_11 + j] * r_1 + b * r_g + c * r_h
        rows[C_ + j] += b * r_1 + rows[S_GG + j] * r_g + e * r_h
        rows[D_ + j] += c * r_1 + e * r_g + rows[S_HH + j] * r_h


@jit
def add_derivatives(m: int, g: Array, h: Array, w: Array, rows: Array, out: Array) -> None:
    """Add -G_i g_i (C + t_i D), what a too large gain does: method page, eq. 8 (gain)."""
    for i in range(len(out) - 1):
        g_i, h_i, at = g[i], h[i], i * ROW
        for j in range(m):
            b, c, e = rows[S_1G + j], rows[S_1H + j], rows[S_GH + j]
            moved = -w[at + j] * (g_i * rows[C_ + j] + h_i * rows[D_ + j])
            rows[X_ + j] = moved * (rows[S_11 + j] + b * g_i + c * h_i)
            rows[Y_ + j] = moved * (b + rows[S_GG + j] * g_i + e * h_i)
            rows[U_ + j] = moved * (c + e * g_i + rows[S_HH + j] * h_i)
        out[i, 0] += row_sum(rows, X_, m)
        out[i, 1] += row_sum(rows, Y_, m)
        out[i, 2] += row_sum(rows, U_, m)


@jit
def flag_unfittable(p: int, n: Array, flags: Array, dq: Array) -> None:
    """The flags of the stacks that a pixel cannot use; 1 where they have none."""
    flagged = dq.dtype.type(0)
    for i in range(n.shape[0]):
        if n[i, p] == 0:
            flagged |= flags[i, p]
    dq[p] = flagged if flagged != 0 else dq.dtype.type(1)


@jit
def _weigh(
    p: int,
    m: int,
    n: Array,
    m2: Array,
    err2: Array | None,
    single: Array,
    floor: Array,
    inverse: Array,
) -> None:
    """1/err^2 of each stack, 0 where it cannot be used.

    err^2 = sum(s^2)/n + M2/n^2: method page, eq. 10 (referr).
    """
    for i in range(n.shape[0]):
        at, alone, least = i * ROW, single[i], floor[i]
        for j in range(m):
            count = float(n[i, p + j])
            extra = 0.0 if err2 is None else err2[i, p + j] * count
            total = extra + (alone if count == 1.0 else m2[i, p + j])
            total = total if total > 0.0 else least * count * count
            total = total if count > 0.0 else 1.0
            inverse[at + j] = count * count / total


@jit
def padded(column: Array) -> Array:
    """A column of the design, a 0 behind it where its length is odd: stacks are added in twos."""
    out = np.zeros(column.size + column.size % 2)
    out[: column.size] = column
    return out


@jit
def copy_row(m: int, rows: Array, source: int, target: int) -> None:
    """Copy a row of the scratch to another."""
    for j in range(m):
        rows[target + j] = rows[source + j]


@jit
def _solve(
    p: int, m: int, g: Array, h: Array, mean: Array, w: Array, inverse: Array, rows: Array
) -> None:
    """F, C, D; sums of squares of residuals (row U), of what is fitted (V), and chi-square (X).

    The second round removes what rounding left in the first; the sums do not feel it.
    """
    clear(rows, S_11, FULL)
    clear(rows, Y_, Y_)
    for i in range(0, g.size, 2):
        add_normal(0, m, i, g, h, w, rows)
        add_products(p, m, i, g, h, mean, w, rows)
    invert(0, m, rows)
    apply_inverse(m, rows)
    for j in range(m):
        rows[Y_ + j] /= rows[USED + j]
    clear(rows, R_1, R_H)
    clear(rows, X_, X_)
    clear(rows, U_, V_)
    for i in range(0, g.size, 2):
        _add_squares(p, m, i, g, h, mean, w, inverse, rows)
    apply_inverse(m, rows)


@jit
def _add_squares(
    p: int, m: int, i: int, g: Array, h: Array, mean: Array, w: Array, inverse: Array, rows: Array
) -> None:
    """Add the residuals of two stacks to the right-hand sides and to the sums of squares."""
    one, two, last = i * ROW, (i + 1) * ROW, min(i + 1, mean.shape[0] - 1)
    g_1, h_1, g_2, h_2 = g[i], h[i], g[i + 1], h[i + 1]
    for j in range(m):
        F, C, D, centre = rows[F_ + j], rows[C_ + j], rows[D_ + j], rows[Y_ + j]
        fit_1, fit_2 = F + g_1 * C + h_1 * D, F + g_2 * C + h_2 * D
        v_1, v_2 = inverse[one + j], inverse[two + j]
        y_1, y_2 = mean[i, p + j] - fit_1, mean[last, p + j] - fit_2
        y_1, y_2 = (y_1 if v_1 > 0.0 else 0.0), (y_2 if v_2 > 0.0 else 0.0)
        z_1, z_2 = (centre - fit_1 if v_1 > 0.0 else 0.0), (centre - fit_2 if v_2 > 0.0 else 0.0)
        r_1, r_2 = w[one + j] * y_1, w[two + j] * y_2
        rows[R_1 + j] += r_1 + r_2
        rows[R_G + j] += g_1 * r_1 + g_2 * r_2
        rows[R_H + j] += h_1 * r_1 + h_2 * r_2
        y_1, y_2 = y_1 * y_1, y_2 * y_2
        rows[U_ + j] += y_1 + y_2
        rows[V_ + j] += z_1 * z_1 + z_2 * z_2
        rows[X_ + j] += v_1 * y_1 + v_2 * y_2


@jit
def _put(
    p: int,
    m: int,
    stacks_used: Array,
    rows: Array,
    values: Array,
    errors: Array,
    correlations: Array,
    chi2: Array,
    r_squared: Array,
    residual_variance: Array,
) -> None:
    """Results of pixels that could be fitted."""
    for j in range(m):
        used = rows[USED + j]
        freedom = used - 3.0
        sse, total = rows[U_ + j], rows[U_ + j] + rows[V_ + j]
        rows[U_ + j] = sse / freedom
        rows[X_ + j] /= freedom
        share = sse / (total if total > 0.0 else 1.0)
        share = 1.0 - share * (used - 1.0) / freedom
        rows[V_ + j] = share if total > 0.0 else np.nan
    put_row(p, m, rows, U_, residual_variance)
    put_row(p, m, rows, X_, chi2)
    put_row(p, m, rows, V_, r_squared)
    put_rows(p, m, rows, (F_, C_, D_), values)
    put_rows(p, m, rows, (Q_1G, Q_1H, Q_GH), correlations)
    for j in range(m):
        deviation = np.sqrt(rows[U_ + j])
        rows[Q_11 + j] *= deviation
        rows[Q_GG + j] *= deviation
        rows[Q_HH + j] *= deviation
    put_rows(p, m, rows, (Q_11, Q_GG, Q_HH), errors)


@jit
def put_rows(p: int, m: int, rows: Array, at: tuple[int, int, int], out: Array) -> None:
    """Copy three rows of the scratch to m pixels from p of three planes."""
    for k in range(3):
        for j in range(m):
            out[k, p + j] = rows[at[k] + j]


@jit
def put_row(p: int, m: int, rows: Array, at: int, out: Array) -> None:
    """Copy a row of the scratch to m pixels from p."""
    for j in range(m):
        out[p + j] = rows[at + j]


@jit
def _leave_out(
    p: int,
    m: int,
    n: Array,
    flags: Array,
    rows: Array,
    values: Array,
    errors: Array,
    correlations: Array,
    chi2: Array,
    r_squared: Array,
    residual_variance: Array,
    dq: Array,
) -> None:
    """Results of the pixels whose row Z is 0."""
    for j in range(m):
        if rows[Z_ + j] == 0.0:
            q = p + j
            values[:, q], errors[:, q], correlations[:, q] = 0.0, np.nan, 0.0
            chi2[q], r_squared[q], residual_variance[q] = np.nan, np.nan, np.nan
            flag_unfittable(q, n, flags, dq)


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
) -> int:
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

    Returns
    -------
    int
        Number of pixels with a stack whose error is 0 and whose ``floor`` is NaN.
    """
    derivatives[:, :] = 0.0
    g, h = padded(gain), padded(gain * time)
    rows = np.empty(ROWS * ROW)
    inverse, plain = np.zeros(g.size * ROW), np.zeros(g.size * ROW)
    w = inverse if weighted else plain
    unknown, p = 0, lo
    while p < hi:
        m = run_end(p, hi, imaging) - p
        count_usable(p, m, n, stacks_used)
        for j in range(m):
            rows[USED + j] = float(stacks_used[p + j])
        plain_inverse(p, m, True, True, g, h, n, stacks_used, plain, rows)
        to_errors(m, S_11, rows)
        for k in range(6):
            copy_row(m, rows, S_11 + k * ROW, Q_11 + k * ROW)
        copy_row(m, rows, FULL, Z_)
        _weigh(p, m, n, m2, err2, single, floor, inverse)
        if not weighted:
            mark_usable(p, 0, m, n, plain)
        _solve(p, m, g, h, mean, w, inverse, rows)
        unknown += _unknown(m, rows)
        fitted = _fitted(m, rows)
        _put(
            p,
            m,
            stacks_used,
            rows,
            values,
            errors,
            correlations,
            chi2,
            r_squared,
            residual_variance,
        )
        if imaging[p]:
            add_derivatives(m, g, h, w, rows, derivatives)
            derivatives[gain.size, :] += fitted
        dq[p : p + m] = 0
        if fitted < m:
            _leave_out(
                p,
                m,
                n,
                flags,
                rows,
                values,
                errors,
                correlations,
                chi2,
                r_squared,
                residual_variance,
                dq,
            )
        p += m
    return unknown


@jit
def _unknown(m: int, rows: Array) -> int:
    """Pixels whose chi-square is not a number, since a stack's error is 0 and has no stand-in."""
    unknown = 0
    for j in range(m):
        unknown += 1 if np.isnan(rows[X_ + j]) else 0
    return unknown


@jit
def _fitted(m: int, rows: Array) -> int:
    """Which pixels can be fitted (row Z), F, C, D of the others 0; returns how many."""
    for j in range(m):
        fit = (rows[USED + j] >= 4.0) & (rows[Z_ + j] > 0.0) & (rows[FULL + j] > 0.0)
        rows[Z_ + j] = 1.0 if fit else 0.0
        rows[F_ + j] = rows[F_ + j] if fit else 0.0
        rows[C_ + j] = rows[C_ + j] if fit else 0.0
        rows[D_ + j] = rows[D_ + j] if fit else 0.0
    fitted = 0
    for j in range(m):
        fitted += 1 if rows[Z_ + j] > 0.0 else 0
    return fitted
