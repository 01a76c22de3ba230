"""Steps, odd nights and drifts are found where they are, and hardly ever where there is none."""

from __future__ import annotations

import math
import sys

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from emdarks.fit.changes import Shape, find_change, threshold, ways
from loops import for_each

NIGHTS, NUMBERS, SEASONS = 40, 8, 1000
LIMIT = threshold(NUMBERS * ways(NIGHTS))


def exact(t: npt.NDArray[np.float64], y: npt.NDArray[np.float64], s: npt.NDArray[np.float64]):
    """All changes one by one, by least squares of two columns: best shape, night, size, sigmas."""
    n, found = len(t), []
    for shape, night in [
        *((Shape.STEP, k) for k in range(1, n)),
        *((Shape.ODD, k) for k in range(1, n - 1)),
        *([(Shape.DRIFT, 0)] if n > 2 else []),
    ]:
        column = {
            Shape.STEP: [float(i >= night) for i in range(n)],
            Shape.ODD: [float(i == night) for i in range(n)],
            Shape.DRIFT: list((t - t[0]) / (t[-1] - t[0])),
        }[shape]
        design = np.stack([np.ones(n), column], axis=1) / s[:, None]
        covariance = np.linalg.inv(design.T @ design)
        size = (covariance @ design.T @ (y / s))[1]
        found.append((abs(size) / math.sqrt(covariance[1, 1]), shape, night, size))
    return max(found, key=lambda each: each[0])


@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_the_best_change_is_that_of_a_search_through_all(nights: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.uniform(0.5, 3.0, nights))
    s = rng.uniform(0.5, 2.0, nights)
    y = 5.0 + 2.0 * s * rng.standard_normal(nights)
    sigmas, shape, night, size = exact(t, y, s)
    found = find_change(t, y, s)
    assert (found.shape, found.at) == (shape, night)
    assert found.size == pytest.approx(size, rel=1e-9)
    assert abs(found.size) / found.error == pytest.approx(sigmas, rel=1e-9)
    assert abs(found.sigmas) <= sigmas * (1 + 1e-9)
    assert found.after - found.before == pytest.approx(found.size)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_zero_and_unit_of_the_numbers_do_not_matter(zero: float, unit: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    t, s = np.arange(12.0), rng.uniform(0.5, 2.0, 12)
    y = s * rng.standard_normal(12)
    one, other = find_change(t, y, s), find_change(t, zero + unit * y, unit * s)
    assert other.shape is one.shape
    assert (other.at, other.first, other.last) == (one.at, one.first, one.last)
    assert other.sigmas == pytest.approx(one.sigmas, rel=1e-6, abs=1e-6)
    assert other.size == pytest.approx(unit * one.size, rel=1e-6, abs=1e-9 * unit)


@for_each("understated", [1.0, 1.5, 3.0], ids=str)
def test_at_most_one_of_a_hundred_clean_seasons_raises_an_alarm(understated: float) -> None:
    """With errors that are right, and with errors that are too small by the same factor."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(SEASONS):
        t = np.arange(NIGHTS) + rng.uniform(0, 0.3, NIGHTS)
        s = rng.uniform(0.7, 1.6, NIGHTS)
        numbers = understated * s * rng.standard_normal((NUMBERS, NIGHTS))
        alarms += any(abs(find_change(t, y, s).sigmas) > LIMIT for y in numbers)
    words = f"{alarms} of {SEASONS} clean seasons raise an alarm (limit {LIMIT:.2f})"
    sys.stdout.write(f"\n{words}, errors {understated:g} times too small\n")
    assert alarms <= SEASONS / 100


@for_each("understated", [1.0, 1.5], ids=str)
def test_a_step_of_three_standard_errors_is_named_with_its_night(understated: float) -> None:
    """One in seven is named a night or two beside it: no method can tell; the range says so."""
    rng, middle = np.random.default_rng(8), NIGHTS // 2
    found = []
    for _ in range(SEASONS):
        y = understated * rng.standard_normal(NIGHTS)
        y[middle:] += 3.0 * understated
        found.append(find_change(np.arange(NIGHTS), y, np.ones(NIGHTS)))
    named = [one for one in found if one.sigmas > LIMIT]
    steps = [one for one in named if one.shape is Shape.STEP]
    right = sum(one.at == middle for one in steps)
    within = sum(one.first <= middle <= one.last for one in steps)
    width = np.mean([one.last - one.first + 1 for one in steps])
    sys.stdout.write(
        f"\n{len(named)} of {SEASONS} steps found; {right} at its very night, {within} within the "
        f"nights that are named ({width:.1f} on average)\n"
    )
    assert len(named) == SEASONS
    assert len(steps) > 0.98 * SEASONS
    assert right > 0.8 * SEASONS
    assert within > 0.97 * SEASONS
    assert width < 5


def test_a_drift_and_an_odd_night_are_named() -> None:
    rng = np.random.default_rng(9)
    noise, t = rng.standard_normal((2, NIGHTS)), np.arange(NIGHTS)
    drift = find_change(t, noise[0] + 0.3 * t, np.ones(NIGHTS))
    odd = find_change(t, noise[1] - 9.0 * (t == 11), np.ones(NIGHTS))
    assert drift.shape is Shape.DRIFT
    assert drift.sigmas > LIMIT
    assert drift.size == pytest.approx(0.3 * (NIGHTS - 1), abs=4 * drift.error)
    assert (odd.shape, odd.at, odd.first, odd.last) == (Shape.ODD, 11, 11, 11)
    assert odd.sigmas < -LIMIT


def test_numbers_that_are_all_alike_have_not_changed() -> None:
    found = find_change(np.arange(NIGHTS), np.full(NIGHTS, 0.1), np.full(NIGHTS, 0.3))
    assert (found.sigmas, found.size, found.scatter) == (0.0, 0.0, 0.0)
    assert (found.before, found.after) == (0.1, 0.1)


def test_a_night_without_error_to_speak_of() -> None:
    s = np.array([1.0, 1.0, 1e-9, 1.0, 1.0])
    found = find_change(np.arange(5), [0.0, 0.1, 0.0, 9.0, 9.1], s)
    assert (found.shape, found.at) == (Shape.STEP, 3)
    assert found.size == pytest.approx(9.05)
    assert found.error == pytest.approx(math.sqrt(0.5))


def test_two_nights_are_compared_by_their_errors() -> None:
    found = find_change([1.0, 2.0], [5.0, 11.0], [1.2, 1.6])
    assert (found.shape, found.at) == (Shape.STEP, 1)
    assert (found.before, found.after) == pytest.approx((5.0, 11.0), rel=1e-12)
    assert found.sigmas == pytest.approx(6.0 / 2.0)
    assert math.isnan(found.scatter)


@for_each("scatter", [1.7, 4.0], ids=str)
@for_each("nights", [12, 40], ids=str)
def test_students_law_judges_where_nights_scatter(nights: int, scatter: float) -> None:
    """Against the tails of the law itself, to 1 percent of the deviate."""
    rng = np.random.default_rng(nights)
    noise = rng.standard_normal(nights)
    y = scatter * (noise - noise.mean()) / noise.std() + 4.0 * scatter * (np.arange(nights) > 5)
    found = find_change(np.arange(nights), y, np.ones(nights))
    assert found.excess > 1.7
    t = found.size / found.error / found.scatter
    wanted = stats.norm.isf(stats.t.sf(t, nights - 2))
    assert found.sigmas == pytest.approx(wanted, rel=0.01)


def test_excess_is_the_tail_of_chi_square() -> None:
    rng = np.random.default_rng(1)
    y = 1.4 * rng.standard_normal(NIGHTS)
    found = find_change(np.arange(NIGHTS), y, np.ones(NIGHTS))
    chi2 = found.scatter**2 * (NIGHTS - 2)
    assert found.excess == pytest.approx(stats.norm.isf(stats.chi2.sf(chi2, NIGHTS - 2)), abs=0.05)


def test_the_limit_follows_from_how_much_is_tried() -> None:
    assert ways(2) == 2
    assert ways(NIGHTS) == 39 + 38 + 1 + 1
    assert threshold(1, 0.05) == pytest.approx(1.95996, abs=1e-5)
    assert threshold(1000) == pytest.approx(stats.norm.isf(0.01 / 2000))
