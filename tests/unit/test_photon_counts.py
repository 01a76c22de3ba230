"""Rates from counts above a threshold: law, intervals, the published series."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from emdarks.photon_counts import (
    CountLaw,
    beta_quantile,
    binomial_interval,
    expected_shares,
    rate_interval,
    third_order_rate,
    third_order_variance,
)

LAW = CountLaw(threshold=500.0, gain=5000.0, read_noise=110.0)


def share_by_hand(rate: float, law: CountLaw, level: float = 0.0) -> float:
    """P(x > T): the Poisson mixture of gamma laws, smeared with the read noise."""
    z = np.linspace(-9, 9, 40001)
    noise = stats.norm.pdf(z)
    noise /= noise.sum()
    left = law.threshold - level - law.read_noise * z
    found = stats.poisson.pmf(0, rate) * (noise * (left < 0)).sum()
    for n in range(1, 40):
        tail = np.where(left < 0, 1.0, stats.gamma.sf(np.maximum(left, 0), n, scale=law.gain))
        found += stats.poisson.pmf(n, rate) * (noise * tail).sum()
    return float(found)


@pytest.mark.parametrize("rate", [0.0, 0.004, 0.2, 1.5, 8.0])
@pytest.mark.parametrize("level", [0.0, 80.0])
def test_share_is_that_of_the_mixture(rate: float, level: float) -> None:
    found = LAW.share(rate, level)
    assert float(found) == pytest.approx(share_by_hand(rate, LAW, level), rel=2e-4, abs=2e-7)


@given(
    rate=st.floats(-0.3, 11.0),
    level=st.floats(-200.0, 200.0),
    factor=st.floats(2.0, 7.0),
    noise=st.floats(0.02, 0.1),
)
def test_rate_undoes_the_share(rate: float, level: float, factor: float, noise: float) -> None:
    law = CountLaw(factor * noise * 3000.0, 3000.0, noise * 3000.0)
    share = law.share(rate, level)
    # Near many electrons all samples are above: a bit of the share is much of the rate.
    slope = law.statistics(rate, level)[1]
    tolerance = 1e-9 + 1e-15 / float(slope)
    assert float(law.rate(share, level)) == pytest.approx(rate, abs=tolerance)


def test_slopes_are_those_of_differences() -> None:
    rate, level = np.array([0.01, 0.3, 2.0]), np.array([-30.0, 0.0, 60.0])
    _, by_rate, by_level = LAW.statistics(rate, level)
    d = 1e-4
    up, down = LAW.share(rate + d, level), LAW.share(rate - d, level)
    np.testing.assert_allclose(by_rate, (up - down) / (2 * d), rtol=1e-5)
    up, down = LAW.share(rate, level + 1.0), LAW.share(rate, level - 1.0)
    np.testing.assert_allclose(by_level, (up - down) / 2.0, rtol=1e-4)


def test_all_samples_above_tell_no_rate() -> None:
    found = LAW.rate(np.array([0.0, 0.5, 1.0]))
    assert np.isnan(found).tolist() == [False, False, True]
    assert found[0] < 0 < found[1]


def test_false_and_lost_counts() -> None:
    law = CountLaw(330.0, 5000.0, 110.0)
    assert law.false_counts() == pytest.approx(stats.norm.sf(3.0), rel=1e-6)
    assert law.lost() == pytest.approx(1 - math.exp(-330 / 5000 + (110 / 5000) ** 2 / 2), rel=1e-3)


@pytest.mark.parametrize("rate", [0.01, 0.3, 1.5])
def test_electrons_that_share_a_pixel_count_once(rate: float) -> None:
    """Without read noise and threshold only frames without electrons do not count."""
    law = CountLaw(threshold=1e-3, gain=5000.0, read_noise=1e-5)
    assert law.coincidence(rate) == pytest.approx(1 + math.expm1(-rate) / rate, rel=1e-4)


def test_error_of_a_rate_is_its_scatter() -> None:
    rng = np.random.default_rng(2)
    share = float(LAW.share(0.1))
    rates = LAW.rate(rng.binomial(2000, share, 20_000) / 2000)
    assert LAW.error(0.1, 2000) == pytest.approx(rates.std(), rel=0.02)


def test_fewer_stages_lose_fewer_electrons() -> None:
    """What passes T, from electrons that go through every stage."""
    rng, gain, stages, T = np.random.default_rng(6), 2000.0, 200, 400.0
    electrons = np.ones(20_000, np.int64)
    for _ in range(stages):
        electrons += rng.binomial(electrons, gain ** (1 / stages) - 1)
    passed = (electrons + rng.normal(0, 50, electrons.size) > T).mean()
    law = CountLaw(T, gain, 50.0, stages)
    assert 1 - law.lost() == pytest.approx(passed, abs=3 * math.sqrt(0.16 * 0.84 / 20_000))
    assert law.lost() < 0.95 * CountLaw(T, gain, 50.0).lost()


@settings(max_examples=40)
@given(n=st.integers(1, 3000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.999))
def test_interval_is_clopper_and_pearsons(n: int, share: float, confidence: float) -> None:
    above = round(share * n)
    low, high = binomial_interval(above, n, confidence)
    expected = stats.binomtest(above, n).proportion_ci(confidence, "exact")
    assert float(low) == pytest.approx(expected.low, rel=1e-7, abs=1e-12)
    assert float(high) == pytest.approx(expected.high, rel=1e-7, abs=1e-12)


def test_quantiles_far_out() -> None:
    a, b = np.array([1.0, 60000.0, 3.5]), np.array([65535.0, 2.0, 0.5])
    for q in (1e-4, 0.5, 0.9999):
        np.testing.assert_allclose(beta_quantile(q, a, b), stats.beta.ppf(q, a, b), rtol=1e-7)


@pytest.mark.parametrize("confidence", [0.6827, 0.9545])
def test_intervals_cover_at_least_as_often_as_they_say(confidence: float) -> None:
    n, above = 40, np.arange(41)
    low, high = rate_interval(above, np.full(41, n), LAW, confidence)
    for rate in np.geomspace(0.002, 1.0, 60):
        weight = stats.binom.pmf(above, n, LAW.share(rate))
        assert weight[(low <= rate) & (rate <= high)].sum() >= confidence


def test_intervals_of_nothing_and_of_everything() -> None:
    low, high = rate_interval(np.array([0, 0, 9]), np.array([0, 9, 9]), LAW, 0.68)
    assert np.isnan([low[0], high[0]]).all()
    assert low[1] < 0 < high[1]
    assert low[2] > 1
    assert math.isinf(high[2])


def test_shares_of_alike_pixels_are_one() -> None:
    rng = np.random.default_rng(4)
    above, pixels = np.unique(rng.binomial(300, 0.01, 20_000), return_counts=True)
    found = expected_shares(above.astype(float), np.full(above.size, 300.0), pixels)
    # The luckiest of 20,000 pixels may look hot.
    np.testing.assert_allclose(found[:-1], 0.01, rtol=0.1)


def test_shares_follow_pixels_that_differ_and_leave_hot_ones() -> None:
    rng = np.random.default_rng(4)
    true = 0.2 * (1 + 0.5 * rng.uniform(-1, 1, 20_000))
    counts = np.concatenate([rng.binomial(2000, true), np.full(40, 1500)])
    above, pixels = np.unique(counts, return_counts=True)
    found = expected_shares(above.astype(float), np.full(above.size, 2000.0), pixels)
    np.testing.assert_allclose(found, above / 2000, rtol=0.05)
    assert found[-1] == pytest.approx(1501 / 2002)


def test_shares_are_neither_0_nor_1() -> None:
    zeros, ones = np.zeros(2), np.array([4.0, 0.0])
    found = expected_shares(zeros, ones, np.array([5, 3]))
    assert (found > 0).all()
    assert (expected_shares(ones, ones, np.array([5, 3])) < 1).all()


def series(rate: float, T: float, g: float) -> float:
    """Up to three electrons: their weights, and what exceeds T of each."""
    u = T / g
    above = [math.exp(-u), math.exp(-u) * (1 + u), math.exp(-u) * (1 + u + u**2 / 2)]
    weights = [rate**k / math.factorial(k) for k in range(4)]
    return sum(w * p for w, p in zip(weights[1:], above, strict=True)) / sum(weights)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_third_order_solves_its_series(rate: float) -> None:
    n = np.array([1e6])
    share = series(rate, 500.0, 5000.0)
    found = third_order_rate(n * share, n, 500.0, 5000.0, 8)
    assert float(found[0]) == pytest.approx(rate, rel=1e-9)


def test_third_order_variance_is_the_binomials_at_few_counts() -> None:
    rate, n = np.array([0.01]), np.array([1000.0])
    share = series(0.01, 500.0, 5000.0)
    slope = math.exp(0.1) * (1 + 0.01)
    expected = share * (1 - share) / 1000 * slope**2
    found: Any = third_order_variance(rate, n, 500.0, 5000.0)
    assert float(found[0]) == pytest.approx(expected, rel=0.01)
