"""Drift of the levels of single frames: how often it is seen where there is none."""

import numpy as np
import pytest

from emdarks.checks.thresholds import SIGNIFICANT
from emdarks.stacks import common_slope, excess_scatter

STACKS = 16


def _said(rng, frames, drift, unit):
    """Whether a campaign's level is said to drift; errors are known up to a common factor."""
    noise = np.geomspace(1.0, 30.0, STACKS)
    times = list(np.linspace(0, 1, STACKS * frames).reshape(STACKS, frames))
    levels = [
        s * rng.standard_normal(frames) + drift * t for s, t in zip(noise, times, strict=True)
    ]
    errors = unit * noise
    floor = errors * excess_scatter(times, levels, errors)
    return abs(common_slope(times, levels, floor).sigmas) > SIGNIFICANT


@pytest.mark.parametrize("frames", [3, 4, 6, 11])
def test_clean_levels_do_not_drift(frames):
    rng = np.random.default_rng((5, frames))
    said = sum(_said(rng, frames, 0.0, 2.7) for _ in range(400))
    assert said <= 2


def test_a_drift_is_seen():
    rng = np.random.default_rng(6)
    assert sum(_said(rng, 11, 80.0, 0.4) for _ in range(50)) == 50


def test_scatter_in_units_of_errors():
    rng = np.random.default_rng(7)
    times = [np.linspace(0, 1, n) for n in (3, 4, 5, 7, 9) * 400]
    levels = [3.0 * rng.standard_normal(t.size) + 100 * t for t in times]
    assert excess_scatter(times, levels, np.full(len(times), 1.5)) == pytest.approx(2.0, rel=0.04)


def test_one_wild_frame_does_not_move_it():
    rng = np.random.default_rng(8)
    times = [np.linspace(0, 1, 8)] * STACKS
    levels = [rng.standard_normal(8) for _ in times]
    calm = excess_scatter(times, levels, np.ones(STACKS))
    levels[3][2] += 1e6
    assert excess_scatter(times, levels, np.ones(STACKS)) < 1.3 * calm


def test_nothing_tells_of_two_frames():
    times = [np.array([0.0, 1.0])] * 3
    assert excess_scatter(times, times, np.ones(3)) == 0.0
