"""The EM gain of a stack by itself, against drawn samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from emdarks.counting_sums import HistogramBins
from emdarks.fit.stack_gain import LEAST_SAMPLES, gain_of_stack

NOISE, FRAMES, PIXELS = 160.0, 30, 20_000
BINS = HistogramBins.of(0.0, NOISE)


def drawn(gain: float, charge: float, frames: int = FRAMES, level: float = 0.0) -> tuple[Any, ...]:
    """Histogram, and sums of each pixel; 1 % of them is hot, rays hit some samples."""
    rng = np.random.default_rng(int(gain + 100 * frames))
    charges = charge * rng.gamma(8, 1 / 8, PIXELS)
    hot = rng.random(PIXELS) < 0.01
    charges[hot] = rng.uniform(1, 30, hot.sum())
    rays = rng.exponential(40, (frames, PIXELS)).round() * (rng.random((frames, PIXELS)) < 3e-3)
    electrons = rng.poisson(charges, (frames, PIXELS)) + rays
    x = level + rng.normal(0, NOISE, electrons.shape)
    x[electrons > 0] += gain * rng.standard_gamma(electrons[electrons > 0])
    counts = np.histogram(np.clip(x, BINS.edges[0], BINS.edges[-1]), BINS.edges)[0]
    return (
        np.stack([counts, 0 * counts]),
        np.full(PIXELS, frames),
        x.mean(axis=0),
        frames * x.var(axis=0),
    )


@pytest.mark.parametrize("charge", [0.02, 0.15])
@pytest.mark.parametrize("true", [600.0, 1000.0, 4000.0])
@pytest.mark.parametrize("off", [0.8, 1.0, 1.25])
def test_the_true_gain_is_found(true: float, off: float, charge: float) -> None:
    """Whatever the headers say, as long as it is near."""
    histogram, *sums = drawn(true, charge)
    gain, error = gain_of_stack(histogram, BINS, off * true, *sums)
    assert abs(gain - true) < 2.5 * error
    assert error < 0.06 * true


def test_hot_pixels_of_the_rest_do_not_move_the_gain() -> None:
    """A parallel overscan has some, whose samples reach far beyond those of single electrons."""
    true, rng = 5000.0, np.random.default_rng(7)
    histogram, *sums = drawn(true, 0.1)
    electrons = rng.poisson(0.01, 300_000)
    electrons[:6000] = rng.poisson(rng.uniform(1, 40, 6000))
    x = rng.normal(0, NOISE, electrons.size)
    x[electrons > 0] += true * rng.standard_gamma(electrons[electrons > 0])
    histogram[1] = np.histogram(np.clip(x, BINS.edges[0], BINS.edges[-1]), BINS.edges)[0]
    gain, error = gain_of_stack(histogram, BINS, 5000.0, *sums)
    assert abs(gain - true) < 2.5 * error
    assert error < 0.06 * true


def test_what_cannot_be_told_is_not() -> None:
    histogram, n, *sums = drawn(1000.0, 0.1)
    nothing = [
        (histogram, BINS, 400.0, n, *sums),  # of low gain
        (histogram, BINS, 1000.0, np.full_like(n, LEAST_SAMPLES - 1), *sums),
        (np.zeros_like(histogram), BINS, 1000.0, n, *sums),
        (histogram, BINS, 1000.0, 0 * n, *sums),
        (drawn(1000.0, 0.1, level=4 * NOISE)[0], BINS, 1000.0, n, *sums),  # with bias
        (drawn(1000.0, 3.0)[0], BINS, 1000.0, n, *sums),  # light
        (drawn(1000.0, 1e-5)[0] // 100, BINS, 1000.0, n, *sums),  # hardly a charge
    ]
    for each in nothing:
        assert all(map(math.isnan, gain_of_stack(*each)))
