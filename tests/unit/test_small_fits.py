"""Both fits of few pixels, everything that comes out against the slow twins.

Small enough to run with compilation switched off; imaging pixels lie between others, an odd
number of stacks leaves one without a partner, and bands are short.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from validation.moments import Stacks, Truth, draw_stacks, draw_truth, grid

import oracles
import pooled_oracle
from emdarks.accumulate import Threads
from emdarks.errors import CalDarksLSQException
from emdarks.fit import least_squares
from emdarks.fit.least_squares import Fit, fit_reference
from emdarks.fit.pooled import PooledNoise, Region, fit_pooled
from loops import for_each

PIXELS, SKIP = 83, (41, 47)
IMAGING = np.arange(PIXELS) % 8 < 5
SIGNAL = (np.arange(PIXELS) < SKIP[0]) | (np.arange(PIXELS) >= SKIP[1])


@pytest.fixture(autouse=True)
def short_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(least_squares, "BAND_PIXELS", 23)


def drawn(
    name: str, frames: Any, law: str, seed: int = 9, pixels: int = PIXELS, masked: float = 0.05
) -> Stacks:
    """Stacks with telemetry, masked and noisy pixels, and a stack of one frame."""
    rng = np.random.default_rng(seed)
    known = draw_truth(
        rng, "normal" if law == "wide" else law, pixels, hot=0.06 if pixels == PIXELS else 0.02
    )
    imaging = np.resize(IMAGING, pixels)
    warm = np.where(np.arange(pixels) % 8 == 1, np.linspace(0, 0.03, pixels), 0.0)
    warm = warm if law == "normal" else 0.0 * warm
    bright = np.zeros(pixels)
    bright[[6, 14, 71]] = 1.0, 0.2, 3.0
    if law == "wide":  # C differs more than D
        bright += 0.3 * rng.gamma(2, 0.5, pixels)
    D = np.where(imaging, known.D + warm, 0)
    known = Truth(known.F, known.C + bright, D, known.hot & imaging)
    stacks = draw_stacks(rng, *grid(name), frames, known, masked=masked)
    s = stacks.store
    # Full rank, and not a stack more than parameters.
    s.n[~np.isin(np.arange(len(s.n)), [0, len(s.n) - 2, len(s.n) - 1]), 20] = 0
    s.n[~np.isin(np.arange(len(s.n)), [0, len(s.n) - 1]), 22] = 0
    s.flags[:] = np.where(s.n == 0, rng.choice([4, 8, 64], s.n.shape), 0)
    s.m2[2, :: 7 if pixels == PIXELS else 31] *= 9  # noisier than any model of them
    s.m2[1, 5] = 0.0
    s.n[:, SKIP[0] : SKIP[1]], s.mean[:, SKIP[0] : SKIP[1]] = 7, 1e7
    s.m2[:, SKIP[0] : SKIP[1]] = 1e13
    return stacks


def with_errors(stacks: Stacks) -> Stacks:
    s = stacks.store
    s.err2 = s.n * np.random.default_rng(1).uniform(10, 100, s.n.shape) ** 2
    return stacks


def pooled(stacks: Stacks, weighting: bool = True, **options: Any) -> tuple[Fit, PooledNoise]:
    imaging = np.resize(IMAGING, stacks.store.n.shape[1])
    return fit_pooled(stacks.store, stacks.stacks, weighting, imaging, SKIP, Threads(1), **options)


def twin(
    stacks: Stacks, weighting: bool = True, gain_error: float = 0.0, power: int | None = None
) -> pooled_oracle.Twin:
    """The slow twin, which knows nothing of telemetry: there nothing is good."""
    s, gone = stacks.store, slice(*SKIP)
    n = s.n.copy()
    n[:, gone] = 0
    imaging = np.resize(IMAGING, n.shape[1])
    return pooled_oracle.pooled_fit(
        stacks.gain, stacks.time, n, s.mean, s.m2, s.err2, imaging, weighting, gain_error, power
    )


def assert_the_same(found: Fit, slow: pooled_oracle.Twin, stacks: Stacks) -> None:
    n = stacks.store.n
    signal = np.ones(n.shape[1], bool)
    signal[slice(*SKIP)] = False
    np.testing.assert_array_equal(found.fitted, slow.fitted)
    known = slow.fitted
    error = np.where(slow.errors > 0, slow.errors, 1)[:, known]
    assert (np.abs(found.values - slow.values)[:, known] / error).max() < 1e-9
    np.testing.assert_allclose(found.errors, slow.errors, rtol=1e-9)
    np.testing.assert_allclose(
        found.correlations[:, signal], slow.correlations[:, signal], atol=1e-9
    )
    np.testing.assert_allclose(found.chi2, slow.chi2, rtol=1e-7)
    np.testing.assert_allclose(found.r_squared, slow.r_squared, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.gain_derivatives, slow.gain_derivatives, rtol=1e-8)
    np.testing.assert_array_equal(found.stacks_used, np.where(signal, (n > 0).sum(axis=0), 0))
    lost = np.bitwise_or.reduce(np.where(n == 0, stacks.store.flags, 0), axis=0)
    expected = np.where(known, 0, np.where(lost > 0, lost, 1))
    np.testing.assert_array_equal(found.dq, np.where(signal, expected, 1))
    assert (found.values[:, signal & ~known] == 0).all()
    for plane in (*found.values, *found.correlations, found.chi2):
        assert np.isnan(plane[~signal]).all()


def assert_the_same_noise(region: Region | None, slow: Any, gates: list[float]) -> None:
    assert region is not None
    read_noise2, kappa, v = slow
    assert region.model.read_noise2 == pytest.approx(read_noise2, rel=1e-9)
    assert region.kappa == pytest.approx(kappa, rel=1e-9)
    np.testing.assert_allclose(region.v, v, rtol=1e-9)
    np.testing.assert_allclose(region.onset[: len(gates)], gates, rtol=1e-7, atol=1e-9)


POOLED = [
    # grid, frames of a stack, law of D, input errors, weighting, gain error
    ("m9", 400, "gamma4", False, True, 0.0),
    ("m9", 400, "gamma4", True, True, 0.02),
    ("m9", 90, "normal", False, True, 0.0),
    ("m9", 60, "gamma4", True, False, 0.01),
    ("m9", 400, "gamma4", False, False, 0.0),
    ("real16", 30, "normal", True, True, 0.0),
    ("m9", 700, "wide", True, True, 0.0),
    ("m9", 700, "wide", False, False, 0.0),
]


@for_each("name, most, law, err, weighting, gain_error", POOLED)
def test_the_pooled_fit_equals_the_slow_twin(
    name: str, most: int, law: str, err: bool, weighting: bool, gain_error: float
) -> None:
    frames = np.full(grid(name)[0].size, most)
    frames[1], frames[3] = max(most // 3, 1), 1
    stacks = drawn(name, frames, law)
    if err:
        stacks = with_errors(stacks)
    found, noise = pooled(stacks, weighting, gain_error=gain_error)
    assert found.residual_variance is None  # errors are not made of residuals
    slow = twin(stacks, weighting, gain_error)
    assert 0.5 < slow.fitted.mean() < 0.93
    assert slow.hot.any()
    assert_the_same(found, slow, stacks)
    assert_the_same_noise(noise.imaging, slow.noise[True], slow.gates[True])
    assert_the_same_noise(noise.outside, slow.noise[False], slow.gates[False])


@for_each("err", [False, True])
@for_each("weighting, power", [(True, 2), (True, 1), (False, 2)])
def test_the_fit_by_numbers_of_samples_equals_the_slow_twin(
    weighting: bool, power: int, err: bool
) -> None:
    frames = np.array([400, 133, 400, 1, 90, 400, 250, 400, 400])
    stacks = drawn("m9", frames, "gamma4")
    if err:
        stacks = with_errors(stacks)
    found, noise = pooled(stacks, weighting, gain_error=0.01, weight_power=power)
    slow = twin(stacks, weighting, 0.01, power)
    assert slow.hot.any()
    assert_the_same(found, slow, stacks)
    assert_the_same_noise(noise.imaging, slow.noise[True], slow.gates[True])
    assert_the_same_noise(noise.outside, slow.noise[False], slow.gates[False])
    assert (found.errors[2, ~IMAGING & slow.fitted] > 0).all()


def test_what_the_cases_exercise() -> None:
    """Steps that no case takes would not be compared with anything."""
    stacks = drawn("m9", 400, "gamma4")
    assert any(gate > 0 for gate in twin(stacks).gates[True])
    assert not any(gate > 0 for gate in twin(drawn("m9", 90, "normal")).gates[True])
    wide = twin(drawn("m9", 700, "wide")).gates
    assert wide[True][0] > 0
    assert wide[False][0] > 0
    calm = drawn("m9", 400, "gamma4")
    calm.store.m2[2, ::7] /= 9
    assert (twin(stacks).errors > 1.02 * twin(calm).errors).any()


@pytest.mark.parametrize("few", [False, True])
def test_a_run_longer_than_the_scratch(few: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end at 256 pixels; where few pixels lack a stack these are inverted one by one."""
    monkeypatch.setattr(least_squares, "BAND_PIXELS", 1 << 16)
    stacks = drawn("m9", 60, "normal", pixels=701, masked=0.01 if few else 0.1)
    imaging = np.arange(701) < 600
    found, _ = fit_pooled(stacks.store, stacks.stacks, True, imaging, SKIP, Threads(1))
    s, n = stacks.store, stacks.store.n.copy()
    n[:, slice(*SKIP)] = 0
    slow = pooled_oracle.pooled_fit(
        stacks.gain, stacks.time, n, s.mean, s.m2, s.err2, imaging, True, 0.0
    )
    short = (s.n == 0).any(axis=0).mean()
    assert 0 < short < 0.25 if few else short > 0.5
    assert_the_same(found, slow, stacks)


# The reference


def stand_ins(stacks: Stacks) -> tuple[Any, Any]:
    """For a lone sample and for an error of 0, over all pixels but telemetry."""
    s, single, floor = stacks.store, [], []
    err2 = np.zeros(s.n.shape) if s.err2 is None else s.err2
    for n, m2, e2 in zip(s.n[:, SIGNAL], s.m2[:, SIGNAL], err2[:, SIGNAL], strict=True):
        single.append(m2[np.flatnonzero(n == n.max())[0]] / n.max())
        variance = [
            e / k + (single[-1] if k == 1 else m / k**2)
            for k, m, e in zip(n.astype(float), m2, e2, strict=True)
            if k > 0
        ]
        positive = [each for each in variance if each > 0]
        floor.append(min(positive) if positive else np.inf)
    lowest = min(floor)
    return np.array(single), np.where(np.isfinite(floor), floor, lowest)


def derivatives(stacks: Stacks, found: Fit, variance: Any, weighted: bool) -> Any:
    """Mean of -G_i g_i (C + t_i D) over the fitted pixels of the imaging area."""
    g, t = stacks.gain, stacks.time
    moved = []
    for p in np.flatnonzero(IMAGING & found.fitted):
        use = stacks.store.n[:, p] > 0
        w = np.where(use, 1 / variance[:, p] if weighted else 1.0, 0.0)
        X = np.column_stack([np.ones_like(g), g, g * t])
        scale = np.linalg.norm(X, axis=0)
        normal = (X / scale).T @ ((X / scale) * w[:, None])
        G = np.linalg.inv(normal) @ ((X / scale).T * w) / scale[:, None]
        moved.append(-(G * g * (found.values[1, p] + t * found.values[2, p])).T)
    return np.mean(moved, axis=0)


def reference_stacks(name: str, err: bool) -> Stacks:
    frames = np.full(grid(name)[0].size, 12)
    frames[3] = 2
    stacks = drawn(name, frames, "normal")
    s = stacks.store
    s.m2[0, SIGNAL] = np.where(np.arange(SIGNAL.sum()) % 9 == 0, 0.0, s.m2[0, SIGNAL])
    s.m2[:, 11] = 0.0
    s.n[4, 1::5] = np.minimum(s.n[4, 1::5], 1)  # lone samples
    s.m2[s.n < 2] = 0.0
    return with_errors(stacks) if err else stacks


@for_each("weighted", [True, False])
@for_each("err", [True, False])
@for_each("name", ["m9", "real16"])
def test_the_reference_fit_equals_the_slow_twin(name: str, err: bool, weighted: bool) -> None:
    stacks = reference_stacks(name, err)
    s = stacks.store
    found = fit_reference(s, stacks.stacks, weighted, IMAGING, SKIP, Threads(1))
    err2 = np.zeros(s.n.shape) if s.err2 is None else s.err2
    single, floor = stand_ins(stacks)
    k = np.maximum(s.n.astype(float), 1)
    variance = err2 / k + np.where(s.n == 1, single[:, None], s.m2 / k**2)
    variance = np.where(variance > 0, variance, floor[:, None])
    assert found.residual_variance is not None
    for p in np.flatnonzero(SIGNAL):
        slow = oracles.reference_fit(
            stacks.gain,
            stacks.time,
            s.n[:, p].astype(float),
            s.mean[:, p],
            s.m2[:, p],
            err2[:, p],
            single,
            floor,
            weighted,
        )
        assert found.stacks_used[p] == slow["used"]
        np.testing.assert_allclose(found.errors[:, p], slow["errors"], rtol=1e-8)
        if np.isnan(slow["errors"][0]):
            lost = np.bitwise_or.reduce(s.flags[s.n[:, p] == 0, p], initial=0)
            assert found.dq[p] == (lost or 1)
            assert (found.values[:, p] == 0).all()
            assert (found.correlations[:, p] == 0).all()
            assert np.isnan([found.chi2[p], found.r_squared[p], found.residual_variance[p]]).all()
            continue
        assert found.dq[p] == 0
        assert (np.abs(found.values[:, p] - slow["values"]) <= 1e-8 * slow["errors"]).all()
        np.testing.assert_allclose(found.correlations[:, p], slow["corr"], atol=1e-9)
        assert found.chi2[p] == pytest.approx(slow["chi2"], rel=1e-8)
        assert found.r_squared[p] == pytest.approx(slow["rsq"], rel=1e-8)
        assert found.residual_variance[p] == pytest.approx(slow["s2"], rel=1e-8)
    expected = derivatives(stacks, found, variance, weighted)
    np.testing.assert_allclose(found.gain_derivatives, expected, rtol=1e-7)
    gone = slice(*SKIP)
    for plane in (found.values, found.errors, found.correlations):
        assert np.isnan(plane[:, gone]).all()
    assert np.isnan(found.residual_variance[gone]).all()
    assert (found.dq[gone] == 1).all()
    assert (found.stacks_used[gone] == 0).all()


@pytest.mark.parametrize("every", [True, False])
def test_a_stack_without_scatter_takes_the_smallest_error_of_all(every: bool) -> None:
    """And 1 where there is none at all: weights stay finite."""
    stacks = reference_stacks("m9", False)
    s = stacks.store
    s.m2[slice(None) if every else 5] = 0.0
    found = fit_reference(s, stacks.stacks, True, IMAGING, SKIP, Threads(1))
    single, floor = stand_ins(stacks) if not every else (np.zeros(9), np.ones(9))
    for p in np.flatnonzero(SIGNAL & found.fitted):
        slow = oracles.reference_fit(
            stacks.gain,
            stacks.time,
            s.n[:, p].astype(float),
            s.mean[:, p],
            s.m2[:, p],
            np.zeros(9),
            single,
            floor,
            True,
        )
        assert (np.abs(found.values[:, p] - slow["values"]) <= 1e-8 * slow["errors"]).all()
        assert found.chi2[p] == pytest.approx(slow["chi2"], rel=1e-7)


def test_a_stack_of_lone_samples_is_refused_by_name() -> None:
    stacks = reference_stacks("m9", False)
    stacks.store.n[4, SIGNAL] = np.minimum(stacks.store.n[4, SIGNAL], 1)
    named = [SimpleNamespace(**vars(stack)) for stack in stacks.stacks]
    with pytest.raises(CalDarksLSQException, match="no pixel is good in two frames"):
        fit_reference(stacks.store, named, True, IMAGING, SKIP, Threads(1))


@pytest.mark.parametrize("weighted", [True, False])
def test_stacks_that_weigh_nothing_do_not_help_to_tell_parameters_apart(weighted: bool) -> None:
    """Where only stacks of one gain have a finite error, a weighted fit is not possible."""
    stacks = reference_stacks("real16", False)
    s = stacks.store
    s.n[:, 30], s.flags[:, 30] = 12, 0
    s.m2[:, 30] = np.where(stacks.gain == 2, 1e4, 1e40)
    found = fit_reference(s, stacks.stacks, weighted, IMAGING, SKIP, Threads(1))
    assert found.fitted[30] == (not weighted)
    assert found.dq[30] == (1 if weighted else 0)
    assert (found.values[:, 30] == 0).all() == weighted


def test_a_region_that_is_never_good_twice_takes_the_scatter_of_the_other() -> None:
    stacks = drawn("m9", 400, "normal", seed=2)
    s = stacks.store
    s.n[:, ~IMAGING] = np.minimum(s.n[:, ~IMAGING], 1)
    s.m2[:, ~IMAGING] = 0.0
    found, noise = pooled(stacks)
    inside, outside = noise.imaging, noise.outside
    assert inside is not None
    assert outside is not None
    assert (outside.dof == 0).all()
    # 20000 degrees of freedom beside the 50 of the model.
    np.testing.assert_allclose(outside.v, inside.v, rtol=0.1)
    lone = SIGNAL & ~IMAGING & found.fitted
    assert lone.sum() > 10
    assert np.isfinite(found.errors[:2, lone]).all()


@pytest.mark.parametrize("err", [1e-6, 10.0])
def test_input_errors_alone_in_any_unit(err: float) -> None:
    """Weights are 1/err^2 of each stack, and the errors those of least squares."""
    gain, time = grid("real16")
    charge = np.full(PIXELS, 0.02)
    charge[[8, 14]] = 5.0  # hot, but without noise
    mean = np.outer(gain, charge) + np.linspace(-5, 5, PIXELS)
    n = np.full(mean.shape, 50)
    each = err * np.linspace(1, 3, 16)
    stacks = Stacks.of(gain, time, n, mean, np.zeros(mean.shape), n * each[:, None] ** 2)
    found, _ = pooled(stacks)
    for p in (0, 6, 8, 14):  # inside, outside, hot ones
        X = np.column_stack([np.ones(16), gain, gain * time][: 3 if IMAGING[p] else 2])
        scale = X.max(axis=0)
        weighted = X / scale / each[:, None]
        expected = np.sqrt(np.diag(np.linalg.inv(weighted.T @ weighted)) / 50) / scale
        np.testing.assert_allclose(found.errors[: expected.size, p], expected, rtol=1e-6)


@pytest.mark.parametrize("inside", [True, False])
def test_a_frame_of_one_region(inside: bool) -> None:
    stacks = drawn("m9", 90, "normal")
    imaging = np.full(PIXELS, inside)
    found, noise = fit_pooled(stacks.store, stacks.stacks, True, imaging, SKIP, Threads(1))
    assert (noise.imaging is not None) == inside
    assert (noise.outside is None) == inside
    s, n = stacks.store, stacks.store.n.copy()
    n[:, slice(*SKIP)] = 0
    slow = pooled_oracle.pooled_fit(
        stacks.gain, stacks.time, n, s.mean, s.m2, s.err2, imaging, True, 0.0
    )
    assert slow.hot.any()
    assert_the_same(found, slow, stacks)
