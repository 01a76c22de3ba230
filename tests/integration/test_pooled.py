"""estimator="pooled": kernels against the slow twin, scaling laws, pixels with few stacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from validation.moments import Stacks, Truth, draw_stacks, draw_truth, grid

import pooled_oracle
from campaigns import REGIONS, Campaign, params
from emdarks import _core
from emdarks.accumulate import Sample, StackJob, Threads
from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset
from emdarks.errors import CalDarksLSQException
from emdarks.fit import least_squares
from emdarks.fit.least_squares import Fit, fit_data
from emdarks.fit.pooled import PooledNoise, fit_pooled
from emdarks.fits.pixels import ArraySource
from emdarks.moments import Moments, merge
from loops import for_each

PIXELS, INSIDE = 2000, 1500
IMAGING = np.arange(PIXELS) < INSIDE


def truth(rng: np.random.Generator, law: str = "gamma4") -> Truth:
    """No dark current outside the imaging area."""
    found = draw_truth(rng, law, PIXELS)
    return Truth(found.F, found.C, np.where(IMAGING, found.D, 0), found.hot & IMAGING)


def simulated(
    name: str = "real16", frames: Any = 100, law: str = "gamma4", seed: int = 5, **options: Any
) -> Stacks:
    rng = np.random.default_rng(seed)
    return draw_stacks(rng, *grid(name), frames, truth(rng, law), **options)


def fit(
    stacks: Stacks, weighting: bool = True, imaging: Any = IMAGING, **options: Any
) -> tuple[Fit, PooledNoise]:
    return fit_pooled(
        stacks.store, stacks.stacks, weighting, imaging, (0, 0), Threads(1), **options
    )


def twin(stacks: Stacks, weighting: bool = True, gain_error: float = 0.0) -> pooled_oracle.Twin:
    s = stacks.store
    return pooled_oracle.pooled_fit(
        stacks.gain, stacks.time, s.n, s.mean, s.m2, s.err2, IMAGING, weighting, gain_error
    )


def changed(stacks: Stacks, **arrays: Any) -> Stacks:
    """The same stacks with other moments."""
    s = stacks.store
    now = {"n": s.n, "mean": s.mean, "m2": s.m2, "err2": s.err2, **arrays}
    return Stacks.of(stacks.gain, stacks.time, **now)


def chosen(stacks: Stacks, index: Any) -> Stacks:
    """Some stacks, in some order."""
    s = stacks.store
    err2 = None if s.err2 is None else s.err2[index]
    gain, time = stacks.gain[index], stacks.time[index]
    return Stacks.of(gain, time, s.n[index], s.mean[index], s.m2[index], err2)


def mask(stacks: Stacks, index: Any, pixel: int, flag: int = 4) -> None:
    """No good sample of a pixel in some stacks."""
    s = stacks.store
    s.n[index, pixel], s.mean[index, pixel], s.m2[index, pixel] = 0, 0.0, 0.0
    s.flags[index, pixel] = flag


def close_to(
    one: Fit, other: Fit, shift: float = 0.0, scale: float = 1.0, rtol: float = 1e-9
) -> None:
    """Equal to a small part of the errors, ``other`` times ``scale`` plus ``shift`` in F."""
    offset = np.array([[shift], [0.0], [0.0]])
    error = np.where(other.errors > 0, other.errors, 1.0) * scale
    assert (np.abs(one.values - other.values * scale - offset) / error).max() < rtol
    np.testing.assert_allclose(one.errors, other.errors * scale, rtol=rtol)
    np.testing.assert_allclose(one.correlations, other.correlations, atol=rtol)


# Against the twin

GRIDS = [
    ("real16", 100, "gamma4"),
    ("real16", 30, "normal"),
    ("m9", 40, "gamma4"),
    ("m4", 6, "normal"),
]


@for_each("weighting", [True, False])
@for_each("with_err", [False, True])
@for_each("name, most, law", GRIDS)
def test_every_pixel_equals_the_slow_twin(
    name: str, most: int, law: str, with_err: bool, weighting: bool
) -> None:
    frames = np.full(grid(name)[0].size, most)
    frames[1], frames[2] = max(most // 3, 1), 1  # a short stack, and a lone frame
    stacks = simulated(name, frames, law, masked=0.08)
    if with_err:
        rng = np.random.default_rng(1)
        shape = stacks.store.n.shape
        stacks = changed(stacks, err2=stacks.store.n * rng.uniform(10, 100, shape) ** 2)
    found, _ = fit(stacks, weighting, gain_error=0.01)
    slow = twin(stacks, weighting, gain_error=0.01)
    known = slow.fitted
    np.testing.assert_array_equal(found.fitted, known)
    assert known.mean() > 0.7
    assert slow.hot[:INSIDE].any()
    error = np.where(slow.errors > 0, slow.errors, 1)[:, known]
    assert (np.abs(found.values - slow.values)[:, known] / error).max() < 1e-10
    np.testing.assert_allclose(found.errors, slow.errors, rtol=1e-10)
    np.testing.assert_allclose(found.correlations, slow.correlations, atol=1e-10)
    np.testing.assert_allclose(found.chi2, slow.chi2, rtol=1e-8)
    np.testing.assert_array_equal(found.stacks_used, (stacks.store.n > 0).sum(axis=0))


def test_wide_dark_current_is_followed_and_narrow_is_not() -> None:
    """Otherwise the comparison with the twin says nothing about that step."""
    for law, followed in (("gamma4", True), ("normal", False)):
        stacks = simulated("real16", 100, law)
        _, noise = fit(stacks)
        assert noise.imaging is not None
        assert (noise.imaging.onset[1] > 0) == followed
        np.testing.assert_allclose(noise.imaging.onset, twin(stacks).gates[True], rtol=1e-9)


def test_pixels_outside_the_range_stay_untouched() -> None:
    stacks = simulated("m4", 6)
    s = stacks.store
    group, used = np.full(PIXELS, 7, np.int8), np.full(PIXELS, 7, np.int16)
    dq, values = np.full(PIXELS, 7, np.uint16), np.full((3, PIXELS), 7.0)
    scale, jump, sums = np.full((2, PIXELS), 7.0), np.full((2, PIXELS), 7.0), np.empty((2, 4, 2))
    lo, hi = 13, PIXELS - 1
    data = fit_data(s, stacks.stacks, IMAGING)
    _core.survey(lo, hi, data, group, used, dq, sums)
    v0 = sums[..., 0] / sums[..., 1]
    _core.first_sweep(lo, hi, data, v0, values, scale, jump)
    outside = np.r_[0:lo, hi]
    for plane in (group, used, dq, values, scale, jump):
        assert (plane[..., outside] == 7).all()
    assert (dq[lo:hi] == 0).all()
    assert (values[:, lo:hi] != 7).all()


def test_telemetry_pixels_enter_nothing() -> None:
    stacks = simulated("m9", 30)
    lo, hi = PIXELS - 100, PIXELS
    whole, _ = fit_pooled(stacks.store, stacks.stacks, True, IMAGING, (lo, hi), Threads(1))
    stacks.store.mean[:, lo:] = 1e9
    stacks.store.m2[:, lo:] = 1e12
    again, _ = fit_pooled(stacks.store, stacks.stacks, True, IMAGING, (lo, hi), Threads(1))
    np.testing.assert_array_equal(whole.values, again.values)
    assert np.isnan(whole.values[:, lo:]).all()
    assert (whole.dq[lo:] == 1).all()


def test_threads_and_bands_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(least_squares, "BAND_PIXELS", 256)
    stacks = simulated("real16", 30, masked=0.05)
    one, two = (
        fit_pooled(stacks.store, stacks.stacks, True, IMAGING, (900, 1000), Threads(threads))[0]
        for threads in (1, 2)
    )
    for name in ("values", "errors", "correlations", "chi2", "r_squared", "dq", "stacks_used"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes(), name


# Laws


@settings(max_examples=10)
@given(st.floats(0.5, 3.0), st.booleans())
def test_frames_times_a_constant(factor: float, weighting: bool) -> None:
    """Excess noise grows with the factor, so it must stay in its credible range."""
    stacks = simulated("real16", 100)
    s = stacks.store
    scaled = changed(stacks, mean=factor * s.mean, m2=factor**2 * s.m2)
    close_to(fit(scaled, weighting)[0], fit(stacks, weighting)[0], scale=factor)


@settings(max_examples=10)
@given(st.floats(-1e4, 1e4), st.booleans())
def test_a_constant_added_to_the_pattern(level: float, weighting: bool) -> None:
    stacks = simulated("m9", 30)
    moved = changed(stacks, mean=stacks.store.mean + level)
    close_to(fit(moved, weighting)[0], fit(stacks, weighting)[0], shift=level)


@settings(max_examples=10)
@given(st.permutations(range(16)))
def test_order_of_stacks(order: list[int]) -> None:
    stacks = simulated("real16", 30, masked=0.05)
    close_to(fit(chosen(stacks, np.array(order)))[0], fit(stacks)[0])


def test_order_of_frames(quirky: Campaign) -> None:
    frames = list(quirky.memory())
    order = np.random.default_rng(8).permutation(len(frames))
    one, other = (
        calibrate_darks_lsq(Dataset(some), params(), True, REGIONS)
        for some in (frames, [frames[i] for i in order])
    )
    error = np.where(one.err[0] > 0, one.err[0], 1.0)
    difference = np.abs(one.extra("SIGNED") - other.extra("SIGNED")) / error
    assert np.nanmax(difference) < 1e-10
    np.testing.assert_allclose(other.err, one.err, rtol=1e-10)
    np.testing.assert_array_equal(other.dq, one.dq)


def moments_of(frames: Any) -> Moments:
    samples = tuple(Sample(ArraySource(frame[None, :])) for frame in frames)
    return Threads(1).sums(StackJob(samples, (1, frames.shape[1]), 0)).moments


@pytest.mark.parametrize("first", [1, 7, 19])
def test_a_stack_split_and_merged(first: int) -> None:
    rng = np.random.default_rng(2)
    gain, time = grid("m4")
    known = truth(rng)

    def stacks(split: int) -> Stacks:
        rng = np.random.default_rng(3)
        rows = []
        for g, t in zip(gain, time, strict=True):
            shape = (20, PIXELS)
            electrons = rng.poisson(known.C + t * known.D, shape)
            frames = known.F + g * rng.standard_gamma(electrons) + rng.normal(0, 120, shape)
            sums = moments_of(frames[:split])
            if split < len(frames):
                merge(sums, moments_of(frames[split:]))
            rows.append((sums.n.copy(), sums.mean.copy(), sums.m2.copy()))
        return Stacks.of(gain, time, *(np.array(part) for part in zip(*rows, strict=True)))

    close_to(fit(stacks(first))[0], fit(stacks(20))[0], rtol=1e-8)


@pytest.mark.parametrize("dropped", [0, 5, 15])
def test_without_one_stack_errors_grow(dropped: int) -> None:
    stacks = simulated("real16", 100, "normal")
    fewer = chosen(stacks, np.delete(np.arange(16), dropped))
    whole, part = fit(stacks)[0], fit(fewer)[0]
    assert part.fitted.all()
    for k in range(3):
        pixels = slice(0, PIXELS if k < 2 else INSIDE)
        assert np.isfinite(part.values[k]).all()
        growth = part.errors[k, pixels] / whole.errors[k, pixels]
        assert np.median(growth) > 1
        assert (growth > 0.999).mean() > 0.98  # a hot pixel's weights may change
    assert np.isfinite(part.chi2).all()


def test_correlations_lie_between_minus_1_and_1() -> None:
    for weighting in (True, False):
        found, _ = fit(simulated("m4", 6, masked=0.05), weighting, gain_error=0.3)
        assert (np.abs(found.correlations) <= 1).all()
        # Outside the imaging area there is no D.
        assert (found.correlations[1:, INSIDE:] == 0).all()
        assert (found.values[2, INSIDE:] == 0).all()


@pytest.mark.parametrize("weighting", [True, False])
def test_gain_error_adds_the_spread_of_the_signal(weighting: bool) -> None:
    """var += sum_i G_ki^2 (e g_i (C + t_i D))^2, with G from the unchanged fit."""
    stacks = simulated("real16", 600, "normal")
    plain, noise = fit(stacks, weighting)
    added, _ = fit(stacks, weighting, gain_error=0.02)
    np.testing.assert_array_equal(added.values, plain.values)
    p = 3  # an ordinary pixel
    assert noise.imaging is not None
    n = stacks.store.n[:, p]
    w = n / noise.imaging.v if weighting else np.ones(n.size)
    X = np.column_stack([np.ones(n.size), stacks.gain, stacks.gain * stacks.time])
    scale = X.max(axis=0)
    G = np.linalg.solve((X / scale).T @ (w[:, None] * X / scale), (X / scale).T * w)
    G /= scale[:, None]
    signal = stacks.gain * (plain.values[1, p] + stacks.time * plain.values[2, p])
    expected = (G**2 * (0.02 * signal) ** 2).sum(axis=1)
    np.testing.assert_allclose(
        added.errors[:, p] ** 2 - plain.errors[:, p] ** 2, expected, rtol=1e-6
    )


# Few usable stacks

HIGHEST = np.flatnonzero(grid("real16")[0] == 5000)
BUT_THREE = np.r_[0:13]
CASES = [
    # masked stacks, fitted inside the imaging area, fitted outside it
    (np.array([6]), True, True),
    (BUT_THREE, False, False),  # three usable stacks, all of one gain
    (np.setdiff1d(np.arange(16), [0, 9, 15]), False, True),  # three that tell F and C apart
    (np.setdiff1d(np.arange(16), HIGHEST), False, False),  # four usable of one gain: no rank
    (np.arange(16), False, False),
]


@for_each("where", [700, 1800])
@for_each("stacks_masked, inside, outside", CASES)
@for_each("weighting", [True, False])
def test_a_pixel_with_few_usable_stacks(
    stacks_masked: Any, inside: bool, outside: bool, where: int, weighting: bool
) -> None:
    stacks = simulated("real16", 100, "normal")
    whole, _ = fit(stacks, weighting)
    mask(stacks, stacks_masked, where, flag=32)
    mask(stacks, stacks_masked[-1:], where, flag=4)
    found, _ = fit(stacks, weighting)
    assert found.stacks_used[where] == 16 - len(stacks_masked)
    if inside if where < INSIDE else outside:
        assert np.isfinite(found.errors[:, where]).all()
        assert found.dq[where] == 0
        slow = twin(stacks, weighting)
        np.testing.assert_allclose(found.errors[:, where], slow.errors[:, where], rtol=1e-10)
        np.testing.assert_allclose(found.values[:, where], slow.values[:, where], rtol=1e-7)
    else:
        assert (found.values[:, where] == 0).all()
        assert np.isnan(found.errors[:, where]).all()
        assert found.dq[where] == 36
    others = np.arange(PIXELS) != where
    assert (found.dq[others] == 0).all()
    assert found.fitted[others].all()
    # One of 1500 pixels less in the pools: no more than its share.
    error = np.where(whole.errors > 0, whole.errors, 1)
    moved = np.abs(found.values - whole.values) / error
    assert moved[:, others].max() < 0.02


def test_usable_stacks_of_rank_2_with_two_gains() -> None:
    """Times proportional to 1/g make g t constant: F and D cannot be told apart."""
    stacks = simulated("real16", 50, "normal")
    for index, (g, t) in enumerate(((2.0, 100.0), (20.0, 10.0), (50.0, 4.0), (100.0, 2.0))):
        stacks.stacks[index].em_gain, stacks.stacks[index].exposure_time = g, t
    mask(stacks, np.arange(4, 16), 10)
    found, _ = fit(stacks)
    assert np.isnan(found.errors[:, 10]).all()
    assert (found.values[:, 10] == 0).all()
    assert found.dq[10] == 4
    assert found.fitted[np.arange(PIXELS) != 10].all()


# Frames with little or no noise


def noise_free(err: float | None = None) -> tuple[Stacks, Truth]:
    rng = np.random.default_rng(4)
    known = truth(rng, "normal")
    gain, time = grid("real16")
    mean = known.F + gain[:, None] * (known.C + time[:, None] * known.D)
    n = np.full(mean.shape, 50)
    err2 = None if err is None else n * err**2
    return Stacks.of(gain, time, n, mean, np.zeros(mean.shape), err2), known


@pytest.mark.parametrize("weighting", [True, False])
def test_without_noise_the_truth_comes_back(weighting: bool) -> None:
    stacks, known = noise_free()
    found, _ = fit(stacks, weighting)
    np.testing.assert_allclose(found.values[0], known.F, atol=1e-9)
    np.testing.assert_allclose(found.values[1], known.C, atol=1e-12)
    np.testing.assert_allclose(found.values[2], known.D, atol=1e-13)
    assert (found.errors == 0).all()
    assert (found.correlations == 0).all()


@pytest.mark.parametrize("weighting", [True, False])
def test_input_errors_alone(weighting: bool) -> None:
    stacks, known = noise_free(err=10.0)
    found, _ = fit(stacks, weighting)
    slow = twin(stacks, weighting)
    np.testing.assert_allclose(found.values[0], known.F, atol=1e-9)
    np.testing.assert_allclose(found.errors, slow.errors, rtol=1e-5)
    gain, time = grid("real16")
    X = np.column_stack([np.ones(16), gain, gain * time])
    scale = X.max(axis=0)
    expected = np.sqrt(np.diag(np.linalg.inv((X / scale).T @ (X / scale)))) / scale
    np.testing.assert_allclose(found.errors[:, 0], 10 / np.sqrt(50) * expected, rtol=1e-5)


def test_one_stack_without_scatter_takes_the_model() -> None:
    rng = np.random.default_rng(7)
    known = truth(rng, "normal")
    stacks = draw_stacks(rng, *grid("real16"), 100, known)
    stacks.store.m2[3] = 0.0
    found, noise = fit(stacks)
    assert noise.imaging is not None
    assert noise.imaging.v[3] == pytest.approx(noise.imaging.model.variance[3], rel=1e-6)
    pulls = ((found.values - known.maps)[:2] / found.errors[:2])[:, ~known.hot]
    assert np.abs(pulls.std(axis=1) - 1).max() < 0.06


def test_pixels_without_scatter_have_finite_errors() -> None:
    stacks = simulated("real16", 50, "normal")
    stacks.store.m2[:, :5] = 0.0
    found, _ = fit(stacks)
    assert np.isfinite(found.errors).all()
    assert (found.errors[:, :5] > 0).all()


def test_single_frames_everywhere_cannot_be_judged() -> None:
    with pytest.raises(CalDarksLSQException, match="no pixel of any stack is good in two frames"):
        fit(simulated("real16", 1))


def test_a_stack_of_one_frame_takes_the_model() -> None:
    frames = np.full(16, 100)
    frames[-1] = 1
    found, noise = fit(simulated("real16", frames, "normal"))
    assert noise.imaging is not None
    assert noise.imaging.v[-1] == pytest.approx(noise.imaging.model.variance[-1], rel=1e-9)
    assert found.fitted.all()
