"""The pooled estimator once more, slow and obvious: whole arrays [stack, pixel], no loops saved.

Model of a stack's mean: F + g C + g t D in the imaging area, F + g C outside it. Variance of
a sample: rn^2 + kappa g^2 (C + t D). Its constants are written out again, on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any

FIRST_KAPPA = 2.0


@dataclass
class Twin:
    """Maps [F C D, pixel]; correlations F-C, F-D, C-D; per region what was found on the way."""

    values: Array
    errors: Array
    correlations: Array
    chi2: Array
    r_squared: Array
    fitted: Array
    hot: Array
    gates: dict[bool, list[float]]
    noise: dict[bool, tuple[float, float, Array]]
    gain_derivatives: Array


def ramp(u: Array) -> Array:
    u = np.clip(u, 0, 1)
    return u * u * (3 - 2 * u)


def share(top: Array, bottom: Array) -> Array:
    """top / bottom, 0 where bottom is."""
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1), 0)


def design(gain: Array, time: Array, dark: bool) -> Array:
    """Columns 1, g and, where there is dark current, g t."""
    columns = [np.ones_like(gain), gain] + ([gain * time] if dark else [])
    return np.column_stack(columns)


def can_be_fitted(X: Array, usable: Array) -> bool:
    """More usable stacks than parameters, and full rank with columns of unit length."""
    rows = X[usable]
    if len(rows) < X.shape[1] + 1:
        return False
    scaled = rows / np.linalg.norm(rows, axis=0)
    return bool(np.linalg.matrix_rank(scaled, tol=1e-4) == X.shape[1])


def solve(X: Array, w: Array, y: Array) -> tuple[Array, Array]:
    """Weighted least squares: parameters [k, pixel], and G with beta_k = sum_i G_ki y_i."""
    normal = np.einsum("ia,ip,ib->pab", X, w, X)
    scale = np.sqrt(np.einsum("paa->pa", normal))
    pairs = scale[:, :, None] * scale[:, None, :]
    inverse = np.linalg.inv(normal / pairs) / pairs
    G = np.einsum("pab,ib,ip->aip", inverse, X, w)
    return np.einsum("aip,ip->ap", G, y), G


def pool(m2: Array, n: Array, keep: Array) -> tuple[Array, Array]:
    """Pooled variance of each stack and its degrees of freedom."""
    use = keep & (n > 1)
    freedom = np.where(use, n - 1.0, 0).sum(axis=1)
    total = np.where(use, m2, 0).sum(axis=1)
    return np.where(freedom > 0, total / np.maximum(freedom, 1), np.nan), freedom


def noise_model(gain: Array, charge: Array, v: Array, freedom: Array) -> tuple[float, float, Array]:
    """rn^2, kappa and the variances they give: v = rn^2 + kappa g^2 charge over stacks."""
    signal = gain**2 * np.maximum(charge, 0)
    use = freedom > 0
    if not use.any() or not (v[use] > 0).any():
        return 0.0, FIRST_KAPPA, np.zeros(gain.shape)
    for kappa_is_free in (True, False):
        found = _iterated(gain[use], signal[use], v[use], freedom[use], kappa_is_free)
        if found is not None:
            break
    rn2, kappa = found
    return rn2, kappa, rn2 + kappa * signal


def _iterated(gain: Array, signal: Array, v: Array, freedom: Array, free: bool) -> Any:
    rn2, kappa = v.min(), FIRST_KAPPA
    for _ in range(50):
        model = np.maximum(rn2 + kappa * signal, 1e-12 * v.max())
        kurtosis = 3 * kappa**3 * gain**2 * signal / model**2
        w = 1 / (model**2 * ((2 + kurtosis) / np.maximum(freedom, 1) + 0.01**2))
        before = rn2, kappa
        if not free:
            kappa = FIRST_KAPPA
            rn2 = max((w * (v - kappa * signal)).sum() / w.sum(), 0.0)
        else:
            A = np.array(
                [[w.sum(), (w * signal).sum()], [(w * signal).sum(), (w * signal**2).sum()]]
            )
            b = np.array([(w * v).sum(), (w * signal * v).sum()])
            determinant = A[0, 0] * A[1, 1] - A[0, 1] ** 2
            if not determinant > 1e-14 * A[0, 0] * A[1, 1]:
                return None
            kappa = (A[0, 0] * b[1] - A[0, 1] * b[0]) / determinant
            error = np.sqrt(A[0, 0] / determinant)
            rn2 = (b[0] - A[0, 1] * kappa) / A[0, 0]
            if rn2 < 0:
                rn2, kappa, error = 0.0, b[1] / A[1, 1], A[1, 1] ** -0.5
            if not kappa > 4 * error:
                return None
            kappa = float(np.clip(kappa, 0.5, 8))
        if abs(kappa - before[1]) < 1e-12 * before[1] and abs(rn2 - before[0]) <= 1e-12 * rn2:
            break
    return rn2, kappa


def level_of(x: Array, error2: Array) -> float:
    """Mean with weights 1/error^2."""
    top = error2.max() if x.size else 0.0
    if not top > 0:
        return float(x.mean()) if x.size else 0.0
    return float(np.average(x, weights=1 / np.maximum(error2 / top, 1e-6)))


def spread_of(x: Array, error2: Array) -> float:
    """Variance of x beyond its errors, less two of its standard errors, not below 0."""
    if x.size < 3 or not error2.max() > 0:
        return 0.0
    w = 1 / np.maximum(error2 / error2.max(), 1e-6) ** 2
    w /= w.sum()
    beyond = (x - (w * x).sum()) ** 2 - error2
    mean = (w * beyond).sum()
    return max(float(mean - 2 * np.sqrt((w**2 * (beyond - mean) ** 2).sum())), 0.0)


@dataclass
class Region:
    """One region's pixels: moments [stack, pixel] and what is derived from them."""

    gain: Array
    time: Array
    X: Array
    n: Array
    y: Array
    m2: Array
    err2: Array

    @property
    def q(self) -> Array:
        """1/n, 0 where nothing is good."""
        return share(1.0, self.n)

    @property
    def from_err(self) -> Array:
        """Variance of the means that comes from input errors."""
        return self.err2 * self.q**2

    @property
    def per_charge(self) -> Array:
        """d(C + t D) / d(C, D), by stack."""
        return np.column_stack([np.ones_like(self.time), self.time])[:, : self.X.shape[1] - 1]


def hot_pixels(r: Region, first: Array, G: Array, v0: Array, freedom0: Array) -> tuple[Any, Array]:
    """C or D above median + 5 MAD u + 9.2 J; also u^2 by parameter."""
    kappa = noise_model(r.gain, r.per_charge @ first[1:].mean(axis=1), v0, freedom0)[1]
    hot = np.zeros(r.n.shape[1], bool)
    scales = []
    for k in range(1, len(first)):
        u2 = (G[k] ** 2 * v0[:, None] * r.q).sum(axis=0)
        u = np.where(u2 > 0, np.sqrt(u2), 1)
        jump = (np.maximum(G[k], 0) * (r.gain * kappa / 2)[:, None] * r.q).max(axis=0)
        above = first[k] - np.median(first[k])
        mad = 1.4826 * np.median(np.abs(above) / u)
        hot |= above > 5 * mad * u + 9.2 * jump
        scales.append(u2)
    return hot, np.array(scales)


def with_model(r: Region, charge: Array, v: Array, freedom: Array, model: Any) -> Array:
    """Pools with the model beside them, worth 50 degrees of freedom."""
    _, kappa, expected = model
    v = np.nan_to_num(v)
    if not (v > 0).any():
        return np.zeros(v.shape)
    kurtosis = 3 * kappa**3 * r.gain**4 * np.maximum(charge, 0) / np.maximum(expected, 1e-300) ** 2
    counted = np.where(v < 0.01 * expected, 0, freedom * 2 / (2 + kurtosis))
    joint = (counted * v + 50 * expected) / (counted + 50)
    return np.maximum(joint, 1e-12 * joint.max())


def weights(
    r: Region, v: Array, kappa: float, above: Array, weighting: bool, power: int | None
) -> Array:
    usable = r.n > 0
    if not weighting:
        return usable.astype(float)
    if power is not None:
        return r.n.astype(float) ** power
    if not (v > 0).any():
        if not (r.err2 > 0).any():
            return r.n.astype(float)
        v = np.full_like(v, 1e-6 * np.median(r.err2[r.err2 > 0]))
    extra = np.maximum(kappa * (r.gain**2)[:, None] * (r.per_charge @ above), 0)
    variance = (v[:, None] + extra) * r.q + r.from_err
    return np.where(usable, share(1.0, variance), 0)


def followed(
    r: Region,
    k: int,
    beta: Array,
    G: Array,
    V: Array,
    v: Array,
    kappa: float,
    cold: Array,
    base: Any,
) -> tuple[Array, float]:
    """Offset of C (k = 1) or D (k = 2) at which each pixel's variance is taken, and the gate."""
    levels, charge = base
    g = r.gain[:, None]
    own = (G[k] ** 2 * (v[:, None] * r.q + r.from_err)).sum(axis=0)
    tau_i = r.per_charge[:, k - 1][:, None]
    slope = (G[k] ** 2 * kappa * g**2 * tau_i * r.q).sum(axis=0)
    spread = spread_of(beta[k, cold], own[cold])
    tau = np.sqrt(spread) * slope[cold].mean() / own[cold].mean()
    gate = float(np.clip((tau - 0.12) / 0.10, 0, 1))

    e2 = (G[k] ** 2 * (V * r.q + r.from_err)).sum(axis=0)
    third = 1.5 * kappa**2 * g**3 * np.maximum(charge, 0)[:, None]
    mu3 = (G[k] ** 3 * third * r.q**2).sum(axis=0)
    jump = (np.maximum(G[k], 0) * g * kappa / 2 * r.q).max(axis=0)
    x, c = beta[k] - levels[k - 1], slope / e2
    b = gate * (spread / (spread + e2)) ** 0.4
    width = np.sqrt(spread + e2)
    near, end = 3 * width + 4.6 * jump, 5 * width + 9.2 * jump
    far = ramp((x - near) / (end - near))
    excess = c**2 * (b**2 * (spread + 3 * e2) - b * spread) - c * b * mu3 / e2
    K = 1 + np.maximum(excess, 0) * (1 - far)
    offset = (b + (1 - b) * far) * x * K + (K - 1) / c
    return np.maximum(offset, -max(levels[k - 1], 0)), gate


def own_scatter(r: Region, V: Array, charge: Array, kappa: float) -> Array:
    """Where a pixel is noisier than any model of it, its own scatter counts."""
    n, g = np.maximum(r.n, 1), r.gain[:, None]
    freedom = np.maximum(n - 1, 1)
    f = np.where(V > 0, r.m2 / freedom / np.where(V > 0, V, 1) - 1, 0)
    safe = np.where(V > 0, V, 1)
    fourth = 3 * kappa**3 * g**4 * np.maximum(charge, 0)
    deviation = np.sqrt(fourth / safe**2 / n + 2 / freedom)
    jump = (9.2 * g * kappa / 2) ** 2 / safe / n
    part = ramp(((f - jump) / deviation - 5) / 3)
    return np.where((r.n > 1) & (f > 0), V * (1 + f * part), V)


def pixel_variances(
    r: Region, beta: Array, G: Array, v: Array, rn2: float, kappa: float, cold: Array
) -> tuple[Array, list[float]]:
    """Variance of a sample as each pixel has it, and the gates of C and D."""
    V = np.repeat(v[:, None], r.n.shape[1], axis=1)
    offsets, gates = np.zeros((len(beta) - 1, r.n.shape[1])), [0.0] * (len(beta) - 1)
    own = (G**2 * (v[:, None] * r.q + r.from_err)).sum(axis=1)
    levels = np.array([level_of(beta[k, cold], own[k, cold]) for k in range(1, len(beta))])
    floor = np.maximum(0.1 * v, np.minimum(rn2, v))[:, None]
    if kappa > 0:
        base = levels, r.per_charge @ levels
        for k in range(len(beta) - 1, 0, -1):  # D first, then C with the variances so far
            offsets[k - 1], gates[k - 1] = followed(r, k, beta, G, V, v, kappa, cold, base)
            more = kappa * (r.gain**2)[:, None] * (r.per_charge @ offsets)
            V = np.maximum(v[:, None] + more, floor)
    return own_scatter(r, V, r.per_charge @ (levels[:, None] + offsets), kappa), gates


def fit_region(
    r: Region, weighting: bool, gain_error: float, power: int | None = None
) -> dict[str, Any]:
    """Everything for one region, all of whose pixels can be fitted."""
    first, G = solve(r.X, r.n, r.y)
    v0, freedom0 = pool(r.m2, r.n, np.ones(r.n.shape[1], bool))
    v0 = np.where(np.isfinite(v0), v0, np.nanmax(v0))  # silent stacks count as the noisiest
    hot, u2 = hot_pixels(r, first, G, v0, freedom0)
    cold = ~hot
    v, freedom = pool(r.m2, r.n, cold)
    levels = np.array([level_of(first[k + 1, cold], u2[k, cold]) for k in range(len(u2))])
    charge = r.per_charge @ levels
    rn2, kappa, expected = noise_model(r.gain, charge, v, freedom)
    v = with_model(r, charge, v, freedom, (rn2, kappa, expected))
    if not (v > 0).any():
        kappa = 0.0  # frames without noise

    above = np.where(hot, first[1:] - levels[:, None], 0)
    w = weights(r, v, kappa, above, weighting, power)
    beta, G = solve(r.X, w, r.y)
    V, gates = pixel_variances(r, beta, G, v, rn2, kappa, cold)
    signal = r.gain[:, None] * (r.per_charge @ beta[1:])
    variance = np.where(r.n > 0, V * r.q + r.from_err + (gain_error * signal) ** 2, 0)
    used = (r.n > 0).sum(axis=0)
    freedom = used - r.X.shape[1]
    centre = (w * r.y).sum(axis=0) / w.sum(axis=0)
    total = (w * (r.y - centre) ** 2).sum(axis=0)
    left = (w * (r.y - r.X @ beta) ** 2).sum(axis=0)
    by_noise = (
        w if weighting and power is None else share(1.0, v[:, None] * r.q + r.from_err) * (r.n > 0)
    )
    return {
        "beta": beta,
        "covariance": np.einsum("aip,ip,bip->pab", G, variance, G),
        "chi2": (by_noise * (r.y - r.X @ beta) ** 2).sum(axis=0) / freedom,
        "r_squared": 1 - left / total * (used - 1) / freedom,
        "derivatives": -(G * signal).mean(axis=2).T,
        "noise": (rn2, kappa, v),
        "hot": hot,
        "gates": gates,
    }


def pooled_fit(
    gain: Array,
    time: Array,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    imaging: Array,
    weighting: bool = True,
    gain_error: float = 0.0,
    power: int | None = None,
) -> Twin:
    """F, C, D of all pixels; moments [stack, pixel], ``imaging`` where there is dark current.

    With weights that are a power of n, D is fitted everywhere.
    """
    pixels = n.shape[1]
    n, err2 = n.astype(float), np.zeros(n.shape) if err2 is None else err2
    twin = Twin(
        values=np.zeros((3, pixels)),
        errors=np.full((3, pixels), np.nan),
        correlations=np.zeros((3, pixels)),
        chi2=np.full(pixels, np.nan),
        r_squared=np.full(pixels, np.nan),
        fitted=np.zeros(pixels, bool),
        hot=np.zeros(pixels, bool),
        gates={},
        noise={},
        gain_derivatives=np.zeros((gain.size, 3)),
    )
    for dark in (False, True):
        X = design(gain, time, dark or power is not None)
        at = [p for p in np.flatnonzero(imaging == dark) if can_be_fitted(X, n[:, p] > 0)]
        if not at:
            continue
        use = n[:, at] > 0
        y = np.where(use, mean[:, at], 0)
        region = Region(gain, time, X, n[:, at], y, m2[:, at], err2[:, at])
        found = fit_region(region, weighting, gain_error, power)
        _put(twin, at, found, X.shape[1])
        twin.gates[dark], twin.noise[dark] = found["gates"], found["noise"]
        if dark:
            twin.gain_derivatives = found["derivatives"]
    return twin


def _put(twin: Twin, at: Any, found: dict[str, Any], parameters: int) -> None:
    covariance = found["covariance"]
    sigma = np.sqrt(np.einsum("paa->ap", covariance))
    twin.fitted[at] = True
    twin.values[:parameters, at] = found["beta"]
    twin.errors[:, at] = 0
    twin.errors[:parameters, at] = sigma
    for k, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
        if b < parameters:
            twin.correlations[k, at] = share(covariance[:, a, b], sigma[a] * sigma[b])
    twin.chi2[at], twin.r_squared[at] = found["chi2"], found["r_squared"]
    twin.hot[at] = found["hot"]
