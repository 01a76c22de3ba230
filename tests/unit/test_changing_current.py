"""Simulated detectors whose dark current changes along a campaign."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from emdarks.errors import InputError
from emdarks.simulate import Effects, load_campaign, make_truth, simulate_campaign, simulate_stack
from emdarks.simulate.changing import changed_current, telegraph_of

QUIET = Effects.none()


def truth() -> Any:
    return make_truth("excam-small", seed=3)


def test_telegraph_pixels_have_two_levels() -> None:
    effects = replace(QUIET, telegraph=0.02, telegraph_current=0.4, telegraph_cycle=1000.0)
    made = truth()
    pixels = telegraph_of(made, effects)
    assert pixels.pixel.size == round(0.02 * made.imaging_area.sum())
    times = np.arange(0.0, 40_000.0, 7.0)
    high = np.array([pixels.is_high(time) for time in times])
    np.testing.assert_allclose(high.mean(axis=0), pixels.share, atol=0.04)
    rises = (high[1:] & ~high[:-1]).sum(axis=0)
    np.testing.assert_allclose(rises, times[-1] / pixels.cycle, atol=1.1)
    added = changed_current(made, times[5], effects)
    np.testing.assert_array_equal(np.flatnonzero(added), pixels.pixel[high[5]])
    np.testing.assert_allclose(added[added > 0], 0.4)


def test_frames_follow_the_current() -> None:
    effects = replace(QUIET, telegraph=0.1, telegraph_current=30.0, telegraph_cycle=300.0)
    made = truth()
    frames, _ = simulate_stack(made, 20.0, 10.0, 12, np.random.default_rng(1), effects=effects)
    usual, _ = simulate_stack(made, 20.0, 10.0, 12, np.random.default_rng(1), effects=QUIET)
    pixels = telegraph_of(made, effects)
    high = np.array([pixels.is_high(20.0 * i) for i in range(12)])
    signal = frames.reshape(12, -1)[:, pixels.pixel]
    assert signal[high].mean() == pytest.approx(20 * 10 * 30.0, rel=0.02)
    assert abs(signal[~high].mean()) < 30.0
    others = np.ones(made.shape, bool)
    others.reshape(-1)[pixels.pixel] = False
    assert abs(frames[:, others].mean() - usual[:, others].mean()) < 3.0


def test_a_detector_that_becomes_warmer(tmp_path: Path) -> None:
    effects = replace(QUIET, warming=14.0)
    stacks = ((1.0, 2.0, 1), (1000.0, 900.0, 5))
    files = simulate_campaign(tmp_path, "excam-small", stacks=stacks, effects=effects, seed=3)
    temperatures = np.array([fits.getval(path, "EXCAMT", 1) for path in files.paths])
    elapsed = np.array([0.0, *(12.0 + 910.0 * np.arange(5))])
    np.testing.assert_allclose(np.diff(temperatures), np.diff(14.0 * elapsed / 3600.0), atol=0.2)
    made = truth()
    factor = 2.0 ** (14.0 * elapsed[-1] / 3600.0 / 7.0)
    added = changed_current(made, elapsed[-1], effects)
    np.testing.assert_allclose(added, made.dark_current * (factor - 1), rtol=1e-5, atol=1e-9)
    assert load_campaign(tmp_path).effects == effects


def test_nothing_changes_by_default() -> None:
    assert changed_current(truth(), 1e6, Effects()) is None


@pytest.mark.parametrize("wrong", [{"telegraph": 1.2}, {"telegraph_cycle": 0.0}, {"warming": -1.0}])
def test_senseless_changes(wrong: Any) -> None:
    with pytest.raises(InputError):
        Effects(**wrong)
