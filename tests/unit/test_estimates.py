"""Numbers with intervals: laws against SciPy, coverage where the truth is at its bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from emdarks.fit.estimate import (
    COVERAGE,
    Estimate,
    bounded_estimate,
    chi_square_tail,
    mixture_quantile,
    normal_tail,
)
from emdarks.fit.pixel_noise import share_interval
from loops import for_each


@for_each("freedom", [1, 2, 3, 8, 97])
@for_each("noncentrality", [0.0, 0.3, 11.0, 240.0])
def test_tail_of_chi_square(freedom: int, noncentrality: float) -> None:
    law = stats.ncx2(freedom, noncentrality) if noncentrality else stats.chi2(freedom)
    for x in law.ppf([0.001, 0.2, 0.9, 0.9999]):
        assert chi_square_tail(float(x), freedom, noncentrality) == pytest.approx(
            law.sf(x), rel=1e-7, abs=1e-11
        )


@for_each("freedom, noncentrality", [(1100, 0.0), (5, 4000.0), (900, 700.0)])
def test_tail_of_many_degrees_of_freedom(freedom: int, noncentrality: float) -> None:
    law = stats.ncx2(freedom, noncentrality) if noncentrality else stats.chi2(freedom)
    for probability in (0.001, 0.16, 0.5, 0.84, 0.999):
        x = float(law.isf(probability))
        assert chi_square_tail(x, freedom, noncentrality) == pytest.approx(probability, abs=2e-3)


def test_ends_of_laws() -> None:
    assert chi_square_tail(0.0, 3) == 1.0
    assert math.isnan(chi_square_tail(math.nan, 3))
    assert normal_tail(-1.96) == pytest.approx(0.05, abs=1e-4)


def test_estimates() -> None:
    assert Estimate.normal(3.0, 0.5).scaled(2.0) == Estimate(6.0, 1.0, 5.0, 7.0)
    assert math.isnan(Estimate.unknown().low)


def of_normal(x: float) -> Estimate:
    """Amplitude of a normal law of scatter 1 that gave x."""
    return bounded_estimate(lambda a: 0.5 * math.erfc((a - x) / math.sqrt(2.0)), 1.0)


@for_each("truth", [0.0, 0.3, 1.0, 2.5, 9.0])
def test_bounded_intervals_cover(truth: float) -> None:
    x = truth + stats.norm.ppf((np.arange(400) + 0.5) / 400)
    found = [of_normal(float(each)) for each in x]
    assert np.mean([e.low <= truth <= e.high for e in found]) == pytest.approx(COVERAGE, abs=0.006)


def test_bounded_estimates_become_normal_ones_far_from_the_bound() -> None:
    far = of_normal(12.0)
    np.testing.assert_allclose(
        (far.value, far.error, far.low, far.high), (12, 1, 11, 13), atol=1e-6
    )
    near = of_normal(-3.0)
    assert near.value == near.low == 0.0
    assert 0 < near.high < 1


def test_the_interval_of_a_share() -> None:
    assert share_interval(0, 0) == pytest.approx((math.nan, math.nan), nan_ok=True)
    low, high = share_interval(3, 50)
    q = (1 - COVERAGE) / 2
    assert (low, high) == pytest.approx(stats.beta.ppf([q, 1 - q], 3.5, 47.5))
    assert share_interval(0, 7)[0] == 0.0
    assert share_interval(7, 7)[1] == 1.0


@for_each("freedom", [2, 5])
def test_quantiles_of_normal_laws_whose_size_few_numbers_tell(freedom: int) -> None:
    """They are those of Student's law."""
    shares = np.full(20_000, 1 / 20_000)
    variances = freedom / stats.chi2(freedom).ppf(np.cumsum(shares) - shares / 2)
    for probability in (0.00135, 0.158655, 0.5, 0.841345):
        found = mixture_quantile(probability, np.full(20_000, 3.0), variances, shares)
        assert found == pytest.approx(3.0 + stats.t(freedom).ppf(probability), rel=0.01)
