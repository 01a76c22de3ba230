"""Telegraph pixels of known truth, and those that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emdarks.fit.telegraph import SampleNoise, TelegraphPixels, telegraph_pixels

READ_NOISE = 165.0
FRAMES, LENGTH = 200, 8


def means_of(electrons: Any, gain: float, rng: Any, rays: float = 0.0) -> tuple[Any, Any]:
    """Means of every few frames, shape (planes, pixels), of mean electrons (frames, pixels)."""
    firsts = np.arange(0, len(electrons), LENGTH)
    charge = np.add.reduceat(electrons, firsts, axis=0)
    frames = np.add.reduceat(np.ones(len(electrons)), firsts)[:, None]
    entered = rng.poisson(charge)
    sums = gain * rng.standard_gamma(entered) if gain > 1 else entered.astype(float)
    sums += READ_NOISE * np.sqrt(frames) * rng.standard_normal(sums.shape)
    hit = rng.random(sums.shape) < rays * frames
    sums += hit * 10.0 ** rng.uniform(3.0, 5.0, sums.shape)
    n = np.broadcast_to(frames, sums.shape).astype(np.uint8)
    return (sums / frames).astype(np.float32), n


def found_in(electrons: Any, gain: float, seed: int = 1, **options: Any) -> TelegraphPixels:
    rays = options.pop("rays", 0.0)
    means, n = means_of(electrons, gain, np.random.default_rng(seed), rays)
    noise = SampleNoise(READ_NOISE, 2 * gain if gain > 1 else 1.0)
    return telegraph_pixels(means, n, noise, **options)


def one_time(pixels: int, share: float, seed: int = 2) -> Any:
    """At the high level for a share of the sequence, once, anywhere: shape (frames, pixels)."""
    high = round(share * FRAMES)
    start = np.random.default_rng(seed).integers(0, FRAMES - high + 1, pixels)
    time = np.arange(FRAMES)[:, None]
    return with_steady((time >= start) & (time < start + high))


def with_steady(high: Any) -> Any:
    """With pixels that are always low behind them: most of a detector."""
    return np.hstack([high, np.zeros((len(high), 15 * high.shape[1]), bool)])


@pytest.mark.parametrize("share", [1 / 8, 1 / 2, 7 / 8])
@pytest.mark.parametrize("gain", [1.0, 10.0, 100.0])
def test_two_levels_3_read_noises_apart_are_found(gain: float, share: float) -> None:
    pixels = 1000
    high = one_time(pixels, share)
    found = found_in(0.05 + 3 * READ_NOISE / gain * high, gain, rays=2e-4)
    # Where charge makes most of the noise, and most of the time, a drift does nearly as well.
    assert found.pixel.size >= (0.78 if gain == 100.0 and share > 0.8 else 0.95) * pixels
    assert found.pixel.max() < pixels
    levels = np.array([0.05 * gain, 0.05 * gain + 3 * READ_NOISE])
    for level, values, errors in zip(
        levels, (found.low, found.high), (found.low_error, found.high_error), strict=True
    ):
        pulls = (values - level) / errors
        # Of three means in a level, two may hold a switch.
        assert abs(np.median(pulls)) < (0.3 if share == 0.5 else 0.65)
        assert 0.8 < np.quantile(abs(pulls), 0.6827) < 1.4
    np.testing.assert_allclose(np.median(found.occupancy), share, atol=0.02)
    true = np.count_nonzero(high[1:] != high[:-1], axis=0)[found.pixel]
    # Less than a mean before the first switch, or behind the last, may not be seen.
    assert (found.switches == true).mean() > 0.55
    assert (abs(found.switches - true) <= 1).mean() > 0.93


@pytest.mark.parametrize(
    ("gain", "electrons", "rays"),
    [
        (1.0, 0.0, 3e-4),
        (10.0, 0.5, 3e-4),
        (100.0, 20.0, 0.0),  # hot
        (1000.0, 5.0, 3e-4),
        (5000.0, 0.01, 3e-4),
        (5000.0, 0.1, 1e-3),
    ],
)
def test_one_level_in_10_000_pixels(gain: float, electrons: float, rays: float) -> None:
    pixels = 40_000
    found = found_in(np.full((FRAMES, pixels), electrons), gain, rays=rays)
    assert found.pixel.size <= 4


def test_telegraph_signal_with_several_switches() -> None:
    rng = np.random.default_rng(4)
    pixels, gain = 500, 20.0
    switches = rng.random((FRAMES, pixels)) < 1 / 40
    high = (np.cumsum(switches, axis=0) + rng.integers(0, 2, pixels)) % 2 == 1
    share, high = high.mean(axis=0), with_steady(high)
    both = (share > 0.2) & (share < 0.8)
    found = found_in(0.1 + 3 * READ_NOISE / gain * high, gain)
    assert np.isin(np.flatnonzero(both), found.pixel).mean() > 0.97
    assert np.quantile(abs(found.occupancy - share[found.pixel]), 0.95) < 0.09
    assert np.corrcoef(found.switches, switches[1:].sum(axis=0)[found.pixel])[0, 1] > 0.6


def test_a_drift_of_all_pixels_makes_no_levels() -> None:
    rng = np.random.default_rng(5)
    means, n = means_of(np.full((FRAMES, 5000), 0.1), 10.0, rng)
    drift = 400.0 * (np.arange(len(means)) > 20)[:, None]
    assert not telegraph_pixels(means + drift, n, SampleNoise(READ_NOISE, 20.0)).pixel.size


def test_hot_pixels_that_follow_the_temperature_have_one_level() -> None:
    """By 3 degrees along the sequence; steps are found all the same."""
    warmer = 2.0 ** (np.linspace(-1.5, 1.5, FRAMES) / 7.0)
    hot = np.geomspace(0.5, 500.0, 3000) * warmer[:, None]
    steady = np.full((FRAMES, 6000), 0.1)
    assert found_in(np.hstack([hot, steady]), 50.0).pixel.size <= 3
    steps = 0.1 + 3 * READ_NOISE / 50.0 * (np.arange(FRAMES) > 100)
    found = found_in(np.hstack([np.repeat(steps[:, None], 500, 1), steady]), 50.0)
    assert found.pixel.size > 0.98 * 500


def test_pixels_without_samples_and_those_not_chosen() -> None:
    rng = np.random.default_rng(6)
    means, n = means_of(0.1 + 40.0 * one_time(30, 0.5), 100.0, rng)
    noise = SampleNoise(READ_NOISE, 200.0)
    n[:, 3] = 0
    means[:, 3] = np.nan
    n[10:15, 4] = 0
    means[10:15, 4] = np.nan
    chosen = (np.arange(90) < 10) | (np.arange(90) > 29)
    found = telegraph_pixels(list(means), list(n), noise, chosen=chosen)
    assert found.pixel.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert telegraph_pixels(means[:3], n[:3], noise).pixel.size == 0


def test_the_offset_belongs_to_the_levels() -> None:
    rng = np.random.default_rng(7)
    means, n = means_of(0.1 + 30.0 * one_time(300, 0.5), 100.0, rng)
    offset = rng.normal(0.0, 200.0, means.shape[1])
    noise = SampleNoise(READ_NOISE, 200.0)
    plain = telegraph_pixels(means, n, noise)
    moved = telegraph_pixels(means + offset.astype(np.float32), n, noise, offset=offset)
    np.testing.assert_array_equal(moved.pixel, plain.pixel)
    np.testing.assert_allclose(moved.low, plain.low + offset[plain.pixel], atol=0.5)
    np.testing.assert_allclose(moved.high, plain.high + offset[plain.pixel], atol=0.5)
