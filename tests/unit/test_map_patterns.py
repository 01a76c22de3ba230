"""What maps show as a whole: trails of hot pixels, glow, rows and columns, hot pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from emdarks.fit.deferred_charge import COMPANION, deferred_charge
from emdarks.fit.fixed_pattern import fixed_pattern, two_way
from emdarks.fit.glow import fit_glow
from emdarks.fit.hot_counts import hot_counts
from loops import for_each

SHAPE = (61, 83)


def hot_map(share: float, axis: int, seed: int = 2) -> tuple[Any, Any]:
    """Hot pixels with trails of two pixels, 3 : 1; noise."""
    rng = np.random.default_rng(seed)
    D = 1e-3 * rng.standard_gamma(4, SHAPE) / 4
    hot = rng.random(SHAPE) < 0.01
    D[hot] = rng.uniform(0.2, 1.0, int(hot.sum()))
    turned = np.moveaxis(D.copy(), axis, 0)
    shown = turned.copy()
    shown[1:] += 0.75 * share * turned[:-1]
    shown[2:] += 0.25 * share * turned[:-2]
    errors = np.full(SHAPE, 4e-4)
    return np.moveaxis(shown, 0, axis) + errors * rng.standard_normal(SHAPE), errors


# Deferred charge


@for_each("axis", [0, 1])
def test_trails_of_hot_pixels(axis: int) -> None:
    values, errors = hot_map(0.04, axis)
    found = deferred_charge(values, errors, axis)
    assert abs(found.share.value - 0.04) < 4 * found.share.error
    assert found.share.error < 0.002
    assert found.pixels > 15
    assert found.charge.value == pytest.approx(found.share.value * found.hot_charge)
    expected = np.array([0.03, 0.01, 0.0])
    assert (np.abs(found.trailing - expected) < 5 * found.profile_error).all()
    assert (np.abs(found.leading) < 5 * found.profile_error).all()
    # Along the other axis there is no trail, and from behind it is one with the other sign.
    across = deferred_charge(values, errors, 1 - axis).share
    assert abs(across.value) < 4 * across.error
    back = deferred_charge(values, errors, axis, direction=-1)
    assert back.share.value == pytest.approx(-found.share.value, rel=1e-6)
    np.testing.assert_allclose(back.leading, found.trailing, rtol=1e-12)


def test_hot_pixels_with_companions_tell_nothing() -> None:
    values, errors = np.zeros((40, 57)), np.full((40, 57), 1e-3)
    values += 1e-3 * np.random.default_rng(1).standard_normal(values.shape)
    for row in (5, 13, 21, 29):
        values[row, 11] = values[row, 31] = 1.0
    assert deferred_charge(values, errors, 1).pixels == 8
    values[13, 33] = 1.1 * COMPANION
    values[21, 12] = np.nan  # no trailing neighbour
    found = deferred_charge(values, errors, 1)
    assert found.pixels == 6
    assert abs(found.share.value) < 5 * found.share.error


def test_without_hot_pixels_nothing_is_known() -> None:
    values = np.random.default_rng(3).standard_normal((17, 23))
    for plane in (values, np.full((17, 23), np.nan)):
        found = deferred_charge(plane, np.ones((17, 23)), 0)
        assert found.pixels == 0
        assert math.isnan(found.share.value)


def test_a_plane_without_noise() -> None:
    values = np.zeros((40, 57))
    values[5:30:8, 7:50:8] = 2.0
    values[5:30:8, 8:50:8] = 0.1
    found = deferred_charge(values, np.zeros_like(values), 1)
    assert found.share.value == pytest.approx(0.05)
    assert found.pixels == 24


def test_a_lucky_electron_is_no_hot_pixel() -> None:
    values, errors = hot_map(0.0, 1)
    assert deferred_charge(values, errors, 1, step=0.2).pixels == 0


# Rows and columns


def test_the_layout_of_a_plane_with_holes() -> None:
    rng = np.random.default_rng(4)
    rows, columns = rng.standard_normal(SHAPE[0]), 2 * rng.standard_normal(SHAPE[1])
    values = 7 + rows[:, None] + columns + 1e-3 * rng.standard_normal(SHAPE)
    values[rng.random(SHAPE) < 0.05] = np.nan
    values[9] = np.nan
    found = two_way(values)
    known = np.arange(SHAPE[0]) != 9
    assert (found.rows - rows)[known].std() < 1e-3
    assert (found.columns - columns).std() < 1e-3
    assert np.isnan(found.rows[9])
    assert found.variance == pytest.approx(1e-6, rel=0.1)


def test_amplitudes_of_a_fixed_pattern() -> None:
    rng = np.random.default_rng(5)
    rows, columns = 1.2 * rng.standard_normal(SHAPE[0]), 0.7 * rng.standard_normal(SHAPE[1])
    pixels, errors = 4 * rng.standard_normal(SHAPE), np.full(SHAPE, 3.0)
    values = rows[:, None] + columns + pixels + errors * rng.standard_normal(SHAPE)
    values[11, 13] = 1e4
    found = fixed_pattern(values, errors)
    assert found.pixels_used == values.size - 1
    for estimate, truth in (
        (found.rows, rows.std()),
        (found.columns, columns.std()),
        (found.pixels, pixels.std()),
    ):
        assert abs(estimate.value - truth) < 3 * estimate.error
        assert 0 < estimate.error < 0.15


def test_noise_of_rows_is_no_pattern() -> None:
    rng = np.random.default_rng(10)
    errors = np.full(SHAPE, 3.0)
    values = errors * rng.standard_normal(SHAPE) + rng.standard_normal((SHAPE[0], 1))
    assert fixed_pattern(values, errors).rows.low > 0.8
    found = fixed_pattern(values, errors, (1.0, 0.1))
    assert found.rows.low < 0.2
    assert found.columns == fixed_pattern(values, errors).columns
    vague = fixed_pattern(values, errors, (1.0, 0.5))
    assert vague.rows.high > found.rows.high


def test_errors_that_hold_noise_of_rows_do_not_hide_the_pattern_of_pixels() -> None:
    rng = np.random.default_rng(8)
    errors = np.sqrt(1.3) * (1 + 1e-3 * rng.standard_normal(SHAPE))
    plane = rng.standard_normal(SHAPE) + 0.4 * rng.standard_normal(SHAPE)
    found = fixed_pattern(plane, errors, (0.3, 0.01)).pixels
    assert abs(found.value - 0.4) < 3 * found.error
    assert fixed_pattern(plane, errors).pixels.value == 0.0
    vague = fixed_pattern(plane, errors, (0.3, 0.01), 0.03).pixels
    assert vague.error > 1.5 * found.error
    # A large error of one pixel changes nothing.
    odd = errors.copy()
    odd[3, 5] = 100.0
    again = fixed_pattern(plane, odd, (0.3, 0.01)).pixels
    assert again.value == pytest.approx(found.value, rel=0.02)


def test_no_pattern_and_no_pixel() -> None:
    rng = np.random.default_rng(6)
    errors = np.full(SHAPE, 3.0)
    found = fixed_pattern(errors * rng.standard_normal(SHAPE), errors)
    for estimate in (found.rows, found.columns, found.pixels):
        assert estimate.low < 0.3
        assert 0 < estimate.high < 0.6
    nothing = fixed_pattern(np.full(SHAPE, np.nan), errors)
    assert nothing.pixels_used == 0
    assert math.isnan(nothing.rows.value)
    assert math.isnan(fixed_pattern(np.zeros(SHAPE), errors).rows.value)


# Glow


def test_glow_of_a_corner() -> None:
    rng = np.random.default_rng(7)
    y, x = np.ogrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    truth = 5 * ((1 + x) / 2 + (1 + y) / 2) ** 2 / 4
    values = truth + rng.standard_gamma(4, SHAPE)
    values[rng.random(SHAPE) < 0.01] += 100
    values[:, 5] = np.nan
    found = fit_glow(values)
    assert abs(found.amplitude.value - 5) < 3 * found.amplitude.error
    assert found.amplitude.error < 0.4
    assert found.p_value < 1e-6
    corners = truth[[0, 0, -1, -1], [0, -1, 0, -1]] - truth.mean()
    for estimate, corner in zip(found.corners, corners, strict=True):
        assert abs(estimate.value - corner) < 4 * estimate.error
    assert np.abs(found.surface() - found.surface().mean() - truth + truth.mean()).max() < 0.4


def test_glow_of_none() -> None:
    rng = np.random.default_rng(8)
    found = fit_glow(rng.standard_gamma(4, SHAPE))
    assert found.p_value > 0.01
    assert found.amplitude.low < 0.1
    few = fit_glow(np.full((7, 9), np.nan))
    assert math.isnan(few.amplitude.value)
    assert few.surface().shape == (7, 9)


def test_rows_that_differ_are_no_glow() -> None:
    """Twice as noisy rows widen the errors of slopes along them."""
    rng = np.random.default_rng(9)
    plane = rng.standard_normal(SHAPE)
    quiet = fit_glow(plane)
    striped = fit_glow(plane + 0.5 * rng.standard_normal((SHAPE[0], 1)))
    widening = np.sqrt(np.diag(striped.covariance) / np.diag(quiet.covariance))
    assert widening[2] > 3  # along rows' numbers
    assert widening[1] == pytest.approx(1, rel=0.1)


# Hot pixels


def test_counts_of_hot_pixels() -> None:
    values = np.array([0.1, 0.2, 0.9, 1.1, 3.0, 5.0, np.nan, 7.0])
    errors = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, np.nan])
    limit = np.array([0.5, 0.5, 0.5, 0.5, 4.0, 0.5, 0.5, 0.5])
    one, low = hot_counts(values, errors, limit, 1e-3, [1.0, 0.3])
    assert (one.counted, low.counted) == (2, 3)
    # 3.0 does not stand out: one pixel of six hides what lies above 1.
    assert one.hidden == pytest.approx(1 / 6)
    assert one.expected_false == pytest.approx(1e-3)
    assert low.hidden == 1.0
    assert low.expected_false == pytest.approx(6e-3)
    p = 0.5 * math.erfc(1 / math.sqrt(2))
    error = math.sqrt(2 * p * (1 - p) + 1e-3)
    assert one.count.value == pytest.approx(2 - 1e-3)
    # Less than 1 but more than 1/2 is 1 of whole numbers; one more pixel is hidden.
    assert 0.5 < error < 1
    assert one.count.low == pytest.approx(one.count.value - 1)
    assert one.count.high == 2 + 1 + 1
    assert one.count.error == pytest.approx(error + 0.5)
    assert one.share.value == pytest.approx(2 / 6)
    assert one.share.low < 2 / 6 < one.share.high
    # Two false pixels among those above .3, none above 1: what lies above 1 lies above .3, too.
    low, one = hot_counts(values, errors, limit, 0.5, [0.3, 1.0])
    assert one.count.value == 2 - 0.5
    assert low.count.value == one.count.value
    assert low.count.low == max(0.0, one.count.low)
    assert low.count.high >= one.count.high
    nothing = hot_counts(values * np.nan, errors, limit, 1e-3, [1.0, 2.0])[0]
    assert math.isnan(nothing.share.value)
