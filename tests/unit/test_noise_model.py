"""Noise model, errors of a mean, and statistics of the maps, against slow formulas."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import pooled_oracle
from emdarks.accumulate import Threads
from emdarks.errors import EmdarksWarning
from emdarks.fit.least_squares import Fit
from emdarks.fit.mean_errors import mean_errors
from emdarks.fit.noise_model import NoiseModel, fit_noise, intrinsic_variance, kurtosis_ratio
from emdarks.fit.robust_statistics import Group, Population, population
from emdarks.fit.robust_statistics import intrinsic_variance as intrinsic_of
from emdarks.fit.statistics import bias_offset, image_statistics, pooled_bias_offset
from emdarks.moments import Moments
from loops import for_each

GAIN = np.array([1.0, 1.0, 40.0, 300.0, 1000.0, 5000.0])
CHARGE = np.array([0.02, 0.1, 0.03, 0.08, 0.05, 0.04])


# rn^2 + kappa g^2 lambda


def assert_equals_the_twin(charge: Any, v: Any, freedom: Any) -> NoiseModel:
    found = fit_noise(GAIN, charge, v, freedom)
    rn2, kappa, variance = pooled_oracle.noise_model(GAIN, charge, v, freedom)
    assert found.read_noise2 == pytest.approx(rn2, rel=1e-9, abs=1e-9)
    assert found.kappa == pytest.approx(kappa, rel=1e-9)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-9)
    signal = GAIN**2 * np.maximum(charge, 0)
    for i in range(GAIN.size):
        rest = v[i] - kappa * signal[i]
        known = freedom[i] > 0 and rest >= 0
        expected = np.sqrt(rest) if known else np.nan
        np.testing.assert_allclose(found.read_noise[i], expected, rtol=1e-6)
        known = freedom[i] > 0 and signal[i] > 0
        expected = (v[i] - rn2) / signal[i] if known else np.nan
        np.testing.assert_allclose(found.excess[i], expected, rtol=1e-6)
    return found


FREEDOM = np.array([5e4, 300, 0, 7e5, 6e4, 9e5])


@for_each("seed", range(4))
@for_each("kappa", [0.7, 2.0, 3.1])
def test_the_model_equals_the_slow_twin(seed: int, kappa: float) -> None:
    rng = np.random.default_rng(seed)
    v = (120.0**2 + kappa * GAIN**2 * CHARGE) * rng.normal(1, 0.02, GAIN.size)
    v[2] = np.nan  # says nothing
    found = assert_equals_the_twin(CHARGE, v, FREEDOM)
    assert found.kappa == pytest.approx(kappa, rel=0.15)


def test_exact_variances_give_the_model_back() -> None:
    v = 90.0**2 + 1.6 * GAIN**2 * CHARGE
    found = fit_noise(GAIN, CHARGE, v, np.full(6, 1e5))
    assert found.read_noise2 == pytest.approx(90.0**2, rel=1e-10)
    assert found.kappa == pytest.approx(1.6, rel=1e-10)
    np.testing.assert_allclose(found.read_noise, 90.0, rtol=1e-4)
    np.testing.assert_allclose(found.excess, 1.6, rtol=1e-4)


@pytest.mark.parametrize("kappa", [0.2, 30.0])
def test_the_excess_noise_stays_credible(kappa: float) -> None:
    v = 120.0**2 + kappa * GAIN**2 * CHARGE
    found = assert_equals_the_twin(CHARGE, v, np.full(6, 1e6))
    assert found.kappa == (0.5 if kappa < 1 else 8.0)


def test_excess_noise_that_cannot_be_measured_is_that_of_a_gamma_register() -> None:
    flat = 120.0**2 * np.array([1.0, 1.01, 0.99, 1.02, 1.0, 0.98])
    found = assert_equals_the_twin(1e-7 * CHARGE, flat, np.full(6, 40.0))
    assert found.kappa == 2.0
    # No charge at all: every stack has the same signal, 0.
    found = assert_equals_the_twin(-CHARGE, flat, np.full(6, 40.0))
    assert found.kappa == 2.0
    assert found.read_noise2 == pytest.approx(flat.mean(), rel=0.01)


def test_read_noise_is_never_negative() -> None:
    v = np.maximum(2 * GAIN**2 * CHARGE - 60.0**2, 0.001)
    found = assert_equals_the_twin(CHARGE, v, np.full(6, 1e4))
    assert found.read_noise2 >= 0
    few = assert_equals_the_twin(CHARGE, v / 1000, np.full(6, 1.0))
    assert few.read_noise2 >= 0


def test_variances_far_below_1() -> None:
    v = 0.01 * np.array([1.0, 1.02, 0.97, 1.01, 0.99, 1.0])
    found = assert_equals_the_twin(1e-12 * CHARGE, v, np.full(6, 900.0))
    assert found.read_noise2 == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize(("v", "freedom"), [(100.0, 0.0), (0.0, 50.0)])
def test_no_scatter_no_model(v: float, freedom: float) -> None:
    found = fit_noise(GAIN, CHARGE, np.full(6, v), np.full(6, freedom))
    assert (found.read_noise2, found.kappa) == (0.0, 2.0)
    assert (found.variance == 0).all()
    assert np.isnan([found.read_noise, found.excess]).all()


def test_the_fourth_cumulant_of_exponential_jumps() -> None:
    """Jumps J of mean 1, as often as Poisson(c) says: c E[J^4] = 24 c, and kappa = E[J^2] = 2."""
    assert kurtosis_ratio(2.0) == 24.0


def test_spread_beyond_the_errors() -> None:
    rng = np.random.default_rng(41)
    error2 = rng.uniform(0.5, 2, 400)
    x = rng.normal(3, np.sqrt(error2 + 4.0))
    assert intrinsic_variance(x, error2) == pytest.approx(
        pooled_oracle.spread_of(x, error2), rel=1e-12
    )
    error2[7] = 1e9
    assert intrinsic_variance(x, error2) == pytest.approx(
        pooled_oracle.spread_of(x, error2), rel=1e-12
    )
    assert intrinsic_variance(np.zeros(5), np.ones(5)) == 0.0
    assert intrinsic_variance(x, 0 * error2) == 0.0
    assert intrinsic_variance(x[:0], x[:0]) == 0.0
    assert intrinsic_variance(np.array([0.0, 9.0]), np.ones(2)) == 0.0
    three = np.array([0.0, 9.0, 30.0])
    assert intrinsic_variance(three, np.ones(3)) == pooled_oracle.spread_of(three, np.ones(3))


# Groups of pixels


def few(seed: int = 42) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    of = rng.integers(-1, 3, 90).astype(np.int8)
    return of, rng.normal(2, 3, 90), rng.uniform(0.5, 2.0, 90)


def group(of: Any, member: int = 1) -> Group:
    return Group(of, member, [(4, 40), (40, 83)], Threads(1))


def test_a_group_over_its_bands() -> None:
    of, x, error2 = few()
    part = slice(4, 83)
    here = of[part] == 1
    value, e2 = x[part][here], error2[part][here]
    assert group(of).median(x) == np.median(x[of == 1])
    found = population(group(of), x, error2)
    w = 1 / e2
    assert found.size == value.size
    assert found.top == e2.max()
    assert found.mean == pytest.approx(np.average(value, weights=w), rel=1e-12)
    assert found.centre == pytest.approx(np.average(value, weights=w**2), rel=1e-12)
    assert found.error2 == pytest.approx(e2.mean(), rel=1e-12)
    expected = pooled_oracle.spread_of(value, e2)
    assert expected > 1
    assert intrinsic_of(group(of), x, error2, found) == pytest.approx(expected, rel=1e-10)
    assert population(Group(of, 1, [], Threads(1)), x, error2).size == 0


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_small_groups(size: int) -> None:
    of, x, error2 = few()
    of[:] = 0
    at = [10, 50, 70][:size]
    of[at] = 1
    x[at] = [7.0, 50.0, 120.0][:size]
    found = population(group(of), x, error2)
    assert found.size == size
    if size == 0:
        assert found == Population(0, 0.0, 0.0, 0.0, 0.0, 0.0)
    counted, (mean,) = group(of).means(x[None])
    assert (counted, mean) == (size, x[at].mean() if size else 0.0)
    assert group(of).covariance(x, x, 1.0, 2.0) == pytest.approx(
        ((x[at] - 1) * (x[at] - 2)).mean() if size else 0.0
    )
    assert found.mean == pytest.approx(pooled_oracle.level_of(x[at], error2[at]))
    expected = pooled_oracle.spread_of(x[at], error2[at])
    assert (expected > 0) == (size == 3)
    assert intrinsic_of(group(of), x, error2, found) == pytest.approx(expected, rel=1e-10)
    assert intrinsic_of(group(of), x, 0 * error2, population(group(of), x, 0 * error2)) == 0.0


# Errors of a mean


def moments(
    rng: Any, pixels: int = 60, frames: int = 30, err: bool = True, shape: float = 2.0
) -> tuple[Any, Any, Any]:
    """Sums whose variances spread by a gamma law of that shape in the imaging area."""
    imaging = np.arange(pixels) % 5 > 1
    n = rng.integers(2, frames, pixels).astype(float)
    n[[0, 7]], n[[3, 9]], n[10:18] = 0.0, 1.0, 2.0
    spreads = np.where(imaging, 3 * rng.gamma(shape, 1 / shape, pixels), 1.0)
    m2 = np.where(n > 1, 3 * spreads * rng.chisquare(np.maximum(n - 1, 1)), 0.0)
    mean = rng.normal(5, 0.3, pixels)
    mean[[20, 31, 42]] += [40.0, 9.0, 300.0]  # hot
    for p, widths in ((52, 5.5), (57, 4.6), (51, 5.5), (56, 4.6)):  # above or below 5 MAD
        region = (imaging == imaging[p]) & (n > 0)
        median = np.median(mean[region])
        mad = 1.4826 * np.median(np.abs(mean[region] - median))
        mean[p] = median + widths * mad + 9.2 / n[p]
    mean[n == 0] = 0.0
    err2 = n * rng.uniform(0.5, 2, pixels) if err else None
    return Moments(n, mean, m2, err2, np.zeros(pixels, np.uint16)), n, imaging


@for_each("err", [True, False])
@for_each("seed, frames, shape", [(1, 30, 2.0), (2, 30, 2.0), (3, 9000, 30.0), (4, 9000, 40.0)])
@for_each("estimator", ["sample", "pooled", "reference"])
def test_errors_of_a_mean_equal_the_slow_twin(
    estimator: str, seed: int, frames: int, shape: float, err: bool
) -> None:
    pixels = 60 if frames < 100 else 300
    rng = np.random.default_rng(seed)
    sums, n, imaging = moments(rng, pixels, frames, err, shape)
    found = mean_errors(sums, n, imaging, estimator)
    err2 = np.zeros(n.size) if sums.err2 is None else sums.err2
    first = next(p for p in range(n.size) if n[p] == n.max())
    variance = np.zeros(n.size)
    for region in (imaging, ~imaging):
        variance[region] = slow_variances(sums, n, region, estimator)
    for p in range(n.size):
        if estimator == "reference":
            own = sums.m2[first] / n[first] if n[p] == 1 else sums.m2[p] / max(n[p], 1) ** 2
            expected = np.sqrt(err2[p] / n[p] + own) if n[p] else 0.0
        else:
            expected = np.sqrt(err2[p] / n[p] ** 2 + variance[p] / n[p]) if n[p] else np.nan
        np.testing.assert_allclose(found[p], expected, rtol=1e-11)


def slow_variances(sums: Moments, n: Any, region: Any, estimator: str) -> Any:
    """Variance of a sample of each pixel of a region: its own, the pool's, or between them."""
    at = np.flatnonzero(region)
    k, m2, mean = n[at], sums.m2[at], sums.mean[at]
    own = np.array([m / (c - 1) if c > 1 else np.nan for c, m in zip(k, m2, strict=True)])
    pool = np.nansum(m2[k > 1]) / (k[k > 1] - 1).sum()
    if estimator == "sample":
        return np.where(k > 1, own, pool)
    seen = mean[k > 0]
    mad = 1.4826 * np.median(np.abs(seen - np.median(seen)))
    hot = (k > 0) & (mean > np.median(seen) + 5 * mad + 9.2 / np.maximum(k, 1))
    cold = (k > 1) & ~hot
    v = m2[cold].sum() / (k[cold] - 1).sum()

    def relative(variance: Any, count: Any) -> Any:
        """kappa_4 / kappa / V = 24 / 2 / V over n, and 2 / (n - 1)."""
        return 12 / variance / count + 2 / np.maximum(count - 1, 1)

    scatter = v**2 * relative(v, np.maximum(k, 1))
    true = pooled_oracle.spread_of(own[cold], scatter[cold])
    gate = min(max((np.sqrt(true) / v - 0.12) / (0.22 - 0.12), 0), 1)
    out = []
    for p in range(at.size):
        V = v if k[p] < 2 else v + gate * true / (true + scatter[p]) * (own[p] - v)
        if hot[p]:
            V = v + 2 * max(mean[p] - mean[cold].mean(), 0)
        width = np.sqrt(relative(V, max(k[p], 1)))
        if k[p] > 1 and hot[p]:
            low, high = own[p] / (1 + 3 * width), own[p] * (1 + 3 * width)
            V = min(max(V, low), high)
        elif k[p] > 1:
            V = max(V, own[p] / (1 + 5 * width))
        out.append(max(V, 0.1 * v))
    return np.array(out)


def test_errors_of_a_mean_where_a_region_says_nothing() -> None:
    sums, n, imaging = moments(np.random.default_rng(5), err=False)
    n[~imaging] = np.minimum(n[~imaging], 1)
    sums.m2[~imaging] = 0.0
    for estimator in ("sample", "pooled"):
        found = mean_errors(sums, n, imaging, estimator)
        use = n > 1
        pool = sums.m2[use].sum() / (n[use] - 1).sum()
        lone = ~imaging & (n == 1)
        variance = np.full(lone.sum(), pool)
        if estimator == "pooled":  # pixel 20 is hot: its signal has noise of its own
            above = sums.mean[20] - np.median(sums.mean[lone])
            variance[np.flatnonzero(lone) == 20] += 2 * above
        np.testing.assert_allclose(found[lone], np.sqrt(variance), rtol=1e-12)
    n[~imaging] = 0.0
    assert np.isnan(mean_errors(sums, n, imaging, "pooled")[~imaging]).all()


def test_errors_of_a_mean_without_scatter_or_with_hot_pixels_only() -> None:
    sums, n, imaging = moments(np.random.default_rng(6), err=False)
    calm = Moments(sums.n, sums.mean, 0 * sums.m2, None, sums.flags)
    assert (mean_errors(calm, n, imaging, "pooled")[n > 0] == 0).all()
    # In this region only hot pixels are good twice.
    n[imaging], sums.mean[imaging] = 1.0, 5.0
    n[[22, 32]], sums.mean[[22, 32]], sums.m2[[22, 32]] = 9.0, 400.0, 16.0
    found = mean_errors(sums, n, imaging, "pooled")
    assert np.isfinite(found[imaging]).all()
    # Their pool is (16 + 16) / (8 + 8) = 2, and their own scatter the same.
    np.testing.assert_allclose(found[imaging & (n == 1)], np.sqrt(2.0), rtol=1e-12)


# Offset of the bias, image statistics


def finished(seed: int = 51, pixels: int = 120, stacks: int = 5) -> tuple[Fit, Any, Any]:
    """A fit of made-up numbers, its moments and stacks."""
    rng = np.random.default_rng(seed)
    fit = Fit.empty(stacks, pixels, np.uint16, residuals=True)
    fit.values[:] = rng.normal(size=(3, pixels)) * np.array([[5.0], [0.02], [1e-3]])
    fit.errors[:] = rng.uniform(0.1, 0.5, (3, pixels)) * np.array([[1.0], [0.004], [2e-4]])
    fit.errors[:, 13] = np.nan
    assert fit.residual_variance is not None
    fit.residual_variance[:] = rng.uniform(1, 2, pixels)
    gain = np.array([1.0, 30.0, 300.0, 300.0, 1.0])[:stacks]
    time = np.array([2.0, 5.0, 11.0, 70.0, 90.0])[:stacks]
    n = rng.integers(1, 9, (stacks, pixels)).astype(np.uint16)
    n[2, ::6] = 0
    model = fit.values[0] + gain[:, None] * (fit.values[1] + time[:, None] * fit.values[2])
    mean = np.where(n > 0, model + rng.normal(2.0, 6.0, n.shape), 0.0)
    store = SimpleNamespace(n=n, mean=mean, m2=None, err2=n * rng.uniform(1, 2, n.shape))
    of = [SimpleNamespace(em_gain=g, exposure_time=t) for g, t in zip(gain, time, strict=True)]
    return fit, store, of


PRESCAN = np.arange(3, 118)


def design(stacks: Any) -> tuple[Any, Any]:
    gain = np.array([stack.em_gain for stack in stacks])
    return gain, gain * np.array([stack.exposure_time for stack in stacks])


def residuals(fit: Fit, store: Any, stacks: Any, i: int, p: int, sign: int) -> float:
    gain, gain_time = design(stacks)
    F, C, D = fit.values[:, p] + sign * fit.errors[:, p]
    return float(store.mean[i, p] - F - gain[i] * C - gain_time[i] * D)


def test_the_offset_of_the_bias_with_bounds() -> None:
    fit, store, stacks = finished()
    k_gains = [8.0, 7.0, 9.0, 6.0, 5.0]
    found = bias_offset(fit, store, stacks, k_gains, PRESCAN, Threads(1))
    medians = [
        [
            np.median(
                [
                    residuals(fit, store, stacks, i, p, sign)
                    for p in PRESCAN
                    if store.n[i, p] > 0 and p != 13
                ]
            )
            / k_gains[i]
            for i in range(5)
        ]
        for sign in (0, -1, 1)
    ]
    value, upper, lower = np.mean(medians, axis=1)
    assert found.value == pytest.approx(value, rel=1e-12)
    assert found.upper == pytest.approx(upper, rel=1e-12)
    assert found.lower == pytest.approx(lower, rel=1e-12)
    assert found.error == pytest.approx(max(upper - value, value - lower), rel=1e-12)


def test_stacks_without_a_good_sample_in_the_prescan_count_nothing() -> None:
    fit, store, stacks = finished()
    store.n[3] = 0
    k_gains = [8.0, 7.0, 9.0, 6.0, 5.0]
    others = [0, 1, 2, 4]
    expected = bias_offset(
        fit,
        SimpleNamespace(n=store.n[others], mean=store.mean[others]),
        [stacks[i] for i in others],
        [k_gains[i] for i in others],
        PRESCAN,
        Threads(1),
    )
    assert bias_offset(fit, store, stacks, k_gains, PRESCAN, Threads(1)) == expected
    none = bias_offset(fit, store, stacks, k_gains, np.array([13]), Threads(1))
    assert (none.value, none.error, none.upper, none.lower) == (0, 0, 0, 0)


COLS = 11


@for_each("err", [True, False])
@for_each("rows", [1, 3, 9])
def test_the_pooled_offset_and_its_jackknife(rows: int, err: bool) -> None:
    fit, store, stacks = finished()
    if not err:
        store.err2 = None
    store.n[4] = 0  # a stack without good samples
    prescan = np.array([r * COLS + c for r in range(1, 1 + rows) for c in (2, 3, 5, 7)])
    v = np.array([4.0, 9.0, 25.0, 0.0 if not err else 30.0, 50.0])
    k_gains = [8.0, 7.0, 9.0, 6.0, 5.0]
    found = pooled_bias_offset(fit, store, stacks, k_gains, prescan, v, COLS, Threads(1))
    groups = min(rows, 6)
    member = {p: (p // COLS - 1) * groups // rows for p in prescan}

    def offset(left_out: int) -> float:
        top, bottom = 0.0, 0.0
        for i, stack in enumerate(stacks):
            use = [p for p in prescan if p != 13 and store.n[i, p] > 0 and member[p] != left_out]
            if not use:
                continue
            n, r, w = store.n[i], [], []
            for p in use:
                charge = fit.values[1, p] + stack.exposure_time * fit.values[2, p]
                r.append(store.mean[i, p] - fit.values[0, p] - stack.em_gain * charge)
                own = 0.0 if store.err2 is None else store.err2[i, p] / n[p] ** 2
                error2 = v[i] / n[p] + own
                w.append(1 / error2 if error2 > 0 else float(n[p]))
            top += np.mean(w) * np.median(r) / k_gains[i]
            bottom += np.mean(w)
        return top / bottom

    value = offset(-1)
    assert found.value == pytest.approx(value, rel=1e-12)
    error = 0.0
    if groups > 1:
        parts = np.array([offset(j) for j in range(groups)])
        error = np.sqrt((groups - 1) / groups * ((parts - parts.mean()) ** 2).sum())
    assert found.error == pytest.approx(error, rel=1e-10)
    assert found.upper == pytest.approx(value + error, rel=1e-12)
    assert found.lower == pytest.approx(value - error, rel=1e-12)
    nothing = pooled_bias_offset(fit, store, stacks, k_gains, np.array([13]), v, COLS, Threads(1))
    assert (nothing.value, nothing.error) == (0, 0)


def image(pixels: int = 120) -> tuple[Group, Any]:
    inside = (np.arange(pixels) % 4 > 0) & (np.arange(pixels) != 13)
    return Group(inside, True, [(0, 50), (50, pixels)], Threads(1)), inside


@pytest.mark.parametrize("pooled", [False, True])
def test_image_statistics(pooled: bool) -> None:
    fit, store, stacks = finished()
    members, inside = image()
    own = fit.residual_variance
    assert own is not None
    given = 7.5 if pooled else None
    if pooled:
        fit = dataclasses.replace(fit, residual_variance=None)
    store.n[0] = 5  # the read noise is told from this stack
    rng = np.random.default_rng(2)
    common = rng.normal(0, 50, 120)
    store.mean[0], store.mean[4] = common + rng.normal(0, 20, 120), common
    found = image_statistics(fit, store, stacks, members, given)
    F, C, D = fit.values[:, inside]
    np.testing.assert_allclose(found.means, [F.mean(), C.mean(), D.mean()], rtol=1e-12)
    assert found.median_f == np.median(F)
    gain, gain_time = design(stacks)
    X = np.column_stack([np.ones(5), gain, gain_time])
    Q = np.linalg.inv(X.T @ X)
    expected = (
        (fit.errors[:, inside] ** 2).mean(axis=1) if pooled else own[inside].mean() * np.diag(Q)
    )
    np.testing.assert_allclose(found.variances, expected, rtol=1e-8)
    if pooled:
        assert found.read_noise == 7.5
        return
    # Lowest g t: stack 0. No other has its time: the second lowest g t is stack 4.
    y, other = store.mean[0, inside], store.mean[4, inside]
    rho = np.corrcoef(y, other)[0, 1]
    variance = 5 * y.var() - (C + 2.0 * D).var() - ((5 - 1) * rho + 1) * F.var()
    assert found.read_noise == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_the_read_noise_takes_the_next_gain_of_the_same_time() -> None:
    fit, store, stacks = finished()
    for i, (g, t) in enumerate([(900, 2), (3, 2), (40, 2), (1, 50), (2, 11)]):
        stacks[i].em_gain, stacks[i].exposure_time = float(g), float(t)
    members, inside = image()
    common = np.random.default_rng(3).normal(0, 50, 120)
    store.mean[1] = common + np.random.default_rng(4).normal(0, 30, 120)
    store.mean[2] = common
    store.n[1] = 4
    found = image_statistics(fit, store, stacks, members)
    F, C, D = fit.values[:, inside]
    y, other = store.mean[1, inside], store.mean[2, inside]
    rho = np.corrcoef(y, other)[0, 1]
    variance = 4 * y.var() - 9 * (C + 2.0 * D).var() - ((4 - 1) * rho + 1) * F.var()
    assert found.read_noise == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_a_negative_variance_gives_no_read_noise_but_a_warning() -> None:
    fit, store, stacks = finished()
    fit.values[0] *= 1000
    members, _ = image()
    with pytest.warns(EmdarksWarning, match="read noise cannot be estimated"):
        assert np.isnan(image_statistics(fit, store, stacks, members).read_noise)
    nobody = Group(np.zeros(120, bool), True, [(0, 120)], Threads(1))
    nothing = image_statistics(fit, store, stacks, nobody)
    assert np.isnan([*nothing.means, *nothing.variances, nothing.median_f]).all()
    assert np.isnan(nothing.read_noise)
