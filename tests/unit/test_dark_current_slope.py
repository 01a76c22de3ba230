"""The slope of the dark current with temperature, of levels whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from emdarks.fit.temperature import FrameLevels, dark_current_slope

F, C, D, SLOPE, MIDDLE = 3.0, 0.009, 2e-3, math.log(2.0) / 7.0, -85.0
SETTINGS = ((1.0, 2.0), (1.0, 100.0), (30.0, 100.0), (1000.0, 2.0), (1000.0, 60.0), (5000.0, 30.0))
PIXELS = 1e4


def levels(rng: Any, **changes: Any) -> list[FrameLevels]:
    """Stacks that were taken one after the other, while the detector became warmer."""
    given = {"spread": 4.0, "frames": 20, "gain_error": 0.01, "settings": SETTINGS, "ramps": True}
    given |= changes
    stacks = []
    for i, (gain, time) in enumerate(given["settings"]):
        place = np.linspace(-0.5, 0.5, given["frames"])
        if not given["ramps"]:
            place = np.full(given["frames"], i / (len(given["settings"]) - 1) - 0.5)
        temperature = MIDDLE + given["spread"] * place
        charge = C + time * D * np.exp(SLOPE * (temperature - MIDDLE))
        true = gain * (1 + given["gain_error"] * rng.standard_normal() * (gain > 1))
        noise = np.sqrt((165.0**2 + 2 * gain**2 * charge) / PIXELS)
        level = F + true * charge + noise * rng.standard_normal(given["frames"])
        stacks.append(FrameLevels(gain, time, level, temperature))
    return stacks


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spread": 2.0, "frames": 60},
        {"gain_error": 0.0},
        {"gain_error": 0.04},
        {"settings": ((500.0, 2.0), (500.0, 40.0), (500.0, 90.0))},
    ],
    ids=str,
)
def test_intervals_cover(changes: Any) -> None:
    inside, at_T0, pulls, values = [], [], [], []
    for seed in range(100):
        found = dark_current_slope(levels(np.random.default_rng(seed), **changes))
        if found.why_not:
            continue
        inside.append(found.slope.low <= SLOPE <= found.slope.high)
        true = D * math.exp(SLOPE * (found.temperature - MIDDLE))
        at_T0.append(found.dark_current.low <= true <= found.dark_current.high)
        pulls.append((found.slope.value - SLOPE) / found.slope.error)
        values.append(found)
    assert len(values) > 90
    # 68.27 %, three binomial standard errors of 100.
    assert 0.54 < np.mean(inside) < 0.82
    # Gains are off by 1 % as far as the fit knows: more often where they are right, less where not.
    assert np.mean(at_T0) > (0.4 if changes.get("gain_error", 0.0) > 0.01 else 0.55)
    assert abs(np.median(pulls)) < 0.35
    assert np.std(pulls) < 1.35
    one = values[0]
    assert one.activation_energy.value == pytest.approx(one.slope.value * 8.617e-5 * 188.2**2, 0.02)
    assert one.doubling.value == pytest.approx(math.log(2) / one.slope.value)
    assert one.doubling.low < one.doubling.value < one.doubling.high


def test_stacks_of_different_temperatures() -> None:
    """No stack alone tells a slope."""
    pulls = []
    for seed in range(40):
        stacks = levels(np.random.default_rng(seed), ramps=False, spread=5.0)
        found = dark_current_slope(stacks)
        if found.why_not:
            continue  # chance has hidden it
        pulls.append((found.slope.value - SLOPE) / found.slope.error)
    assert len(pulls) > 24
    assert abs(np.median(pulls)) < 0.5
    assert np.mean(np.abs(pulls) < 1) > 0.5


def test_gains_far_off_do_not_move_the_slope() -> None:
    """By 10 %: stacks that disagree must not be given up together with what they say."""
    pulls = []
    for seed in range(100):
        found = dark_current_slope(levels(np.random.default_rng(seed), gain_error=0.1))
        pulls.append((found.slope.value - SLOPE) / found.slope.error)
    assert np.max(np.abs(pulls)) < 4.5
    assert 0.54 < np.mean(np.abs(pulls) < 1) < 0.82


def test_odd_frames_do_not_matter() -> None:
    stacks = levels(np.random.default_rng(1))
    usual = dark_current_slope(stacks)
    for stack in stacks:
        stack.level[3] += 50 * stack.level.std()
        stack.temperature[5] = np.nan
    found = dark_current_slope(stacks)
    assert found.frames == usual.frames - 2 * len(stacks)
    assert abs(found.slope.value - usual.slope.value) < usual.slope.error


def test_why_there_is_no_slope() -> None:
    rng = np.random.default_rng(2)
    assert (
        "spread by 1.5 degrees; a slope takes 2"
        in dark_current_slope(levels(rng, spread=1.5)).why_not
    )
    one = dark_current_slope(levels(rng, settings=((500.0, 20.0),)))
    assert one.why_not == "one exposure time tells no dark current"
    assert math.isnan(one.slope.value)
    assert one.spread == pytest.approx(4.0)
    unknown = [
        FrameLevels(s.gain, s.exposure_time, s.level, np.full(20, np.nan)) for s in levels(rng)
    ]
    assert "no headers tell the temperature" in dark_current_slope(unknown).why_not
    faint = [
        FrameLevels(s.gain, s.exposure_time, rng.normal(0, 50, 20), s.temperature)
        for s in levels(rng)
    ]
    assert "do not tell how the dark current changes" in dark_current_slope(faint).why_not
