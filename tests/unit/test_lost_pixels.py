"""Hot pixels without maps: their dark currents by the stacks that are not flagged."""

from __future__ import annotations

import numpy as np
import pytest

from emdarks.fit.lost_pixels import Samples, currents_of_lost

GAIN, NOISE = np.array([5000.0, 5000.0]), 160.0
TIME, LEVEL = np.array([2.0, 60.0]), np.array([7.0, 0.01, 1e-3])
FRAMES = 10


def drawn(current: np.ndarray, seed: int = 1) -> Samples:
    """Means of two stacks; samples above 90,000 electrons are flagged."""
    rng = np.random.default_rng(seed)
    n, mean = np.zeros((2, current.size)), np.zeros((2, current.size))
    for i in range(2):
        charge = rng.poisson(LEVEL[1] + TIME[i] * current, (FRAMES, current.size))
        x = LEVEL[0] + rng.gamma(np.maximum(charge, 1e-9), GAIN[i])
        x += rng.normal(0, NOISE, x.shape)
        good = x < 90_000
        n[i] = good.sum(axis=0)
        mean[i] = np.where(good, x, 0).sum(axis=0) / np.maximum(n[i], 1)
    return Samples(n, mean, np.full(2, float(FRAMES)), GAIN, TIME, NOISE)


def test_currents_of_saturated_pixels_scatter_as_the_true_ones() -> None:
    true = np.random.default_rng(2).uniform(0.5, 1.0, 2000)
    found = currents_of_lost(drawn(true), LEVEL)
    assert found.size > 0.95 * true.size  # the rest made hardly an electron in 10 times 2 s
    assert found.sum() == pytest.approx(true.sum(), rel=0.04)
    assert (found**2).sum() == pytest.approx((true**2).sum(), rel=0.06)


def test_pixels_as_all_others_are_not_hot() -> None:
    """They may have lost a stack for another reason."""
    samples = drawn(np.full(20_000, LEVEL[2]))
    assert currents_of_lost(samples, LEVEL).size < 20
    without = samples._replace(n=samples.n * np.array([[1.0], [0.0]]))
    assert currents_of_lost(without, LEVEL).size < 60


def test_what_is_flagged_everywhere_tells_nothing() -> None:
    samples = drawn(np.full(5, 0.7))
    assert currents_of_lost(samples._replace(n=0 * samples.n), LEVEL).size == 0
    assert currents_of_lost(drawn(np.empty(0)), LEVEL).size == 0
