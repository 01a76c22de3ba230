"""What stacks show as a whole: excess noise, read noise of pixels, linearity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from emdarks.fit.excess_noise import Samples, agreement, measure_excess_noise
from emdarks.fit.linearity import ImageMeans, image_means, linearity
from emdarks.fit.pixel_noise import pixel_noise, typical_variance
from emdarks.fit.row_noise import NO_ROW_NOISE, row_noise
from emdarks.one_electron import excess_noise
from emdarks.simulate.register import multiply
from loops import for_each

GAIN = np.array([1.0, 1.0, 30.0, 300.0, 1000.0, 1000.0])
TIME = np.array([2.0, 60.0, 20.0, 30.0, 5.0, 70.0])
FRAMES = np.array([14, 15, 12, 11, 17, 13])
PIXELS, NOISE, STAGES = 1001, 60.0, 250


def moments(**change: float) -> tuple[Any, Any, Any, Any]:
    """n, mean, M2 and fitted maps of a campaign; signals with squares of time or gain."""
    rng = np.random.default_rng(11)
    C, D, F = 0.02, 0.004 / 4 * rng.standard_gamma(4, PIXELS), 10 * rng.standard_normal(PIXELS)
    n, mean, m2 = np.zeros((3, GAIN.size, PIXELS))
    for i, (g, t, k) in enumerate(zip(GAIN, TIME, FRAMES, strict=True)):
        charge = C + t * D * (1 + change.get("time", 0.0) * t / 70)
        electrons = rng.poisson(charge, (k, PIXELS))
        x = multiply(electrons, g, rng, STAGES) * (1 + change.get("gain", 0.0) * g / 1000)
        x = x + F + NOISE * rng.standard_normal((k, PIXELS))
        n[i], mean[i], m2[i] = k, x.mean(axis=0), ((x - x.mean(axis=0)) ** 2).sum(axis=0)
    design = np.column_stack([np.ones(GAIN.size), GAIN, GAIN * TIME])
    weight = FRAMES / (NOISE**2 + 2 * GAIN**2 * (C + 0.004 * TIME))
    fitted = np.linalg.solve((weight * design.T) @ design, (weight * design.T) @ mean)
    return n, mean, m2, fitted


EVERY = np.ones(PIXELS, bool)


# Excess noise


def test_excess_noise_beside_its_theory() -> None:
    n, _, m2, (_, C, D) = moments()
    samples = Samples(n, m2, GAIN, TIME, C, D, EVERY)
    found = measure_excess_noise(samples, STAGES)
    assert found.theory == excess_noise(1000.0, STAGES)
    assert abs(found.ratio.value - 1) < 3 * found.ratio.error
    assert 0.005 < found.ratio.error < 0.05
    assert found.factor.value == pytest.approx(found.ratio.value * found.theory)
    assert abs(found.read_noise.value - NOISE) < 3 * found.read_noise.error
    pulls = (found.stacks - found.stack_theory)[2:] / found.errors[2:]
    assert (np.abs(pulls) < 4).all()
    assert agreement(found, range(2, 6)) > 1e-3
    assert found.p_value > 1e-3
    # Of a register of infinitely many stages the theory would be 2.
    assert measure_excess_noise(samples).theory == pytest.approx(2 - 1 / 1000)
    wider = measure_excess_noise(samples, STAGES, gain_error=0.1)
    assert wider.ratio.error == pytest.approx(
        math.hypot(found.ratio.error, 0.1 * found.ratio.value)
    )


def test_excess_noise_of_exact_sums() -> None:
    """Sums without chance give the numbers that they were made of."""
    D = np.linspace(0.01, 0.03, 77)
    C = np.full(77, 0.1)
    charge = C + TIME[:, None] * D
    v = NOISE**2 + 1.5 * np.array([excess_noise(g, 604) * g**2 for g in GAIN])[:, None] * charge
    n = np.broadcast_to(FRAMES[:, None], v.shape)
    use = np.arange(77) % 7 != 3
    found = measure_excess_noise(
        Samples(n, np.where(use, (n - 1) * v, 1e12), GAIN, TIME, C, D, use), 604
    )
    assert found.ratio.value == pytest.approx(1.5, rel=1e-9)
    assert found.read_noise.value == pytest.approx(NOISE, rel=1e-9)
    np.testing.assert_allclose(found.stacks, 1.5 * found.stack_theory, rtol=1e-6)


def test_excess_noise_that_nothing_tells() -> None:
    n, m2 = np.full((2, 9), 5), np.full((2, 9), 4.0)
    nothing = np.zeros(9)
    samples = Samples(n, m2, GAIN[:2], TIME[:2], nothing, nothing, np.ones(9, bool))
    assert math.isnan(measure_excess_noise(samples).factor.value)
    lone = samples._replace(n=np.ones((2, 9), int))
    assert math.isnan(measure_excess_noise(lone).ratio.value)


# Read noise of pixels


def test_read_noise_as_a_number_and_as_a_map() -> None:
    rng = np.random.default_rng(12)
    n = np.array([[9], [14]]) * np.ones((2, 4001), int)
    true = np.full(4001, 5.0)
    true[:30] = 20.0
    m2 = (true**2 + np.array([[1.0], [4.0]])) * rng.chisquare(n - 1)
    n[:, 4000] = 1
    found = pixel_noise(n, m2, np.array([1.0, 4.0]))
    assert abs(found.read_noise.value - 5) < 3 * found.read_noise.error
    assert found.read_noise.error < 0.03
    assert np.isnan(found.plane[4000])
    assert found.noisy[:30].all()
    assert found.counted == found.noisy.sum()
    assert found.expected == pytest.approx(4000 * 0.00135, rel=0.001)
    assert abs(found.excess.value - 30) < 3 * found.excess.error
    assert 1 < found.excess.error < 4
    within = np.abs(found.plane - true)[:4000] < found.errors[:4000]
    assert within.mean() == pytest.approx(0.6827, abs=0.03)
    by_pixel = pixel_noise(n, m2, np.array([[1.0], [4.0]]) * np.ones((2, 4001)))
    np.testing.assert_array_equal(by_pixel.plane, found.plane)


@pytest.mark.parametrize("dof", [1, 2, 7, 38])
def test_cosmic_rays_do_not_raise_the_typical_variance(dof: int) -> None:
    rng = np.random.default_rng(dof)
    added = rng.uniform(0.0, 2.0, 20_011)
    variance = (9.0 + added) * rng.chisquare(dof, added.size) / dof
    variance[:400] += 1e4
    found, error = typical_variance(variance, np.full(added.size, dof), added)
    # Two per cent of the pixels are hit: of few degrees of freedom, some look like others.
    assert abs(found - 9.0) < 3.5 * error + (0.5 if dof < 7 else 0.0)
    plain, _ = typical_variance(variance[400:], np.full(added.size - 400, dof), added[400:])
    assert abs(plain - 9.0) < 3.5 * error


def test_the_error_of_the_typical_variance_is_that_of_rows() -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        row_noise = rng.normal(0.0, 2.0, (9, 30, 1))
        samples = rng.normal(0.0, 2.0, (9, 30, 40)) + row_noise
        variance = samples.var(axis=0, ddof=1).reshape(-1)
        dof, row = np.full(1200, 8), np.arange(1200) // 40
        found.append(typical_variance(variance, dof, row=row))
    values, errors = np.array(found).T
    assert np.std(values) == pytest.approx(errors.mean(), rel=0.3)
    assert abs(values.mean() - 8.0) < 0.3


def test_read_noise_of_nothing() -> None:
    found = pixel_noise(np.ones((2, 5), int), np.zeros((2, 5)), np.zeros(2))
    assert math.isnan(found.read_noise.value)
    assert found.counted == 0


# Linearity


def means_of(**change: float) -> ImageMeans:
    n, mean, m2, _ = moments(**change)
    return image_means(n, mean, m2, EVERY)


def test_a_linear_detector() -> None:
    found = linearity(GAIN, TIME, means_of())
    assert found.freedom == 3
    assert found.p_value > 0.01
    assert found.p_largest > 0.01
    for estimate in (found.time, found.gain, found.largest):
        assert abs(estimate.value) < 3 * estimate.error
    assert found.rms.low < 0.03
    known = np.isfinite(found.residuals)
    assert known[-1]
    assert not known[0]


@for_each("name, truth", [("time", 2.0 / 3.0), ("gain", -0.2 / 0.8)])
def test_squares_of_time_and_gain(name: str, truth: float) -> None:
    found = linearity(GAIN, TIME, means_of(**{name: truth / (1 - truth)}))
    estimate = getattr(found, name)
    assert abs(estimate.value - truth) < 3 * estimate.error
    assert abs(truth) > 3 * estimate.error


def test_residuals_equal_those_of_a_plain_fit() -> None:
    means = ImageMeans(np.array([3.0, 4.5, 9.0, 60.0, 55.0, 300.0]), np.arange(1.0, 7.0) / 10, 9)
    found = linearity(GAIN, TIME, means)
    A = np.column_stack([np.ones(6), GAIN, GAIN * TIME]) / means.error[:, None]
    beta, chi2, *_ = np.linalg.lstsq(A, means.mean / means.error, rcond=None)
    assert found.chi2 == pytest.approx(chi2[0], rel=1e-6)
    signal = GAIN * (beta[1] + TIME * beta[2])
    expected = (means.mean / means.error - A @ beta) * means.error / signal
    told = np.isfinite(found.residuals)
    np.testing.assert_allclose(found.residuals[told], expected[told], rtol=1e-6)
    left = 1 - np.diag(A @ np.linalg.pinv(A))
    np.testing.assert_allclose(
        found.errors[told], (np.sqrt(left) * means.error / signal)[told], rtol=1e-6
    )
    pulls = found.residuals / found.errors
    assert found.stack == np.nanargmax(np.abs(pulls))
    assert found.largest.value == found.residuals[found.stack]


def test_squares_that_are_not_known() -> None:
    means = means_of()
    vague = linearity(GAIN, TIME, means._replace(error=30 * means.error))
    assert math.isnan(vague.time.value)
    assert math.isfinite(linearity(GAIN, TIME, means).time.value)


def test_stacks_that_do_not_tell() -> None:
    few = ImageMeans(np.array([1.0, 2.0]), np.array([0.1, 0.1]), 5)
    found = linearity(GAIN[:2], TIME[:2], few)
    assert found.stack == -1
    assert math.isnan(found.p_value)
    # One gain: nothing tells squares of the gain.
    one = ImageMeans(np.array([30.0, 55.0, 82.0, 160.0]), np.full(4, 0.5), 5)
    gain, time = np.full(4, 50.0), np.array([1.0, 2.0, 3.0, 6.0])
    found = linearity(gain, time, one, (True, False, True))
    assert found.freedom == 2
    assert math.isfinite(found.time.value)
    assert math.isnan(found.gain.value)
    assert math.isnan(image_means(np.ones((2, 3)), few.mean, few.mean, EVERY[:3]).mean[0])


def test_noise_of_rows_makes_image_means_worse() -> None:
    n, mean, m2, _ = moments()
    single = image_means(n, mean, m2, EVERY)
    both = image_means(n, mean, m2, EVERY, row_variance=9.0, rows=7)
    np.testing.assert_allclose(both.error**2 - single.error**2, 9 / (7 * FRAMES), rtol=1e-9)
    below = image_means(n, mean, m2, EVERY, row_variance=-1.0, rows=7)
    np.testing.assert_array_equal(below.error, single.error)


# Noise that a row has in common


@for_each("level", [0.0, 30.0])
def test_noise_of_rows(level: float) -> None:
    rng = np.random.default_rng(13)
    shape = 77, 13
    n, mean, m2, _ = moments()
    use = np.ones(shape, bool)
    use[5, 3] = use[8] = False
    common = level * rng.standard_normal((GAIN.size, 77)) / np.sqrt(FRAMES)[:, None]
    mean += np.repeat(common, 13, axis=1) + np.repeat(5 * rng.standard_normal(77), 13)
    found = row_noise(n, mean, m2, GAIN, TIME, use)
    assert abs(found.variance - level**2) < 3 * found.error
    assert 20 < found.error < 60 + 0.15 * level**2
    assert found.frame.low - found.frame.error < math.sqrt(max(found.variance, 0.0))
    assert abs(found.frame.value - level) < 6 * found.frame.error
    # F of a row is the mean of six stacks, most of it that of the first two.
    assert found.of_map(0) == (found.maps[0] * found.variance, found.maps[0] * found.error)
    assert 1 / FRAMES.sum() < found.maps[0] < 1 / FRAMES[0]


def test_noise_of_rows_that_nothing_tells() -> None:
    n, mean, m2, _ = moments()
    use = np.ones((7, 143), bool)
    assert row_noise(n[:3], mean[:3], m2[:3], GAIN[:3], TIME[:3], use) is NO_ROW_NOISE
    assert row_noise(n, mean, m2, GAIN, TIME, ~use) is NO_ROW_NOISE
    two = row_noise(n[:3], mean[:3], m2[:3], GAIN[:3], TIME[:3], use, (True, False, True))
    assert two.maps[1] == 0
    assert two.maps[0] > 0
