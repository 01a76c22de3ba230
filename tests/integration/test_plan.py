"""Planned campaigns: the errors foretold are those that come, and no sharing is better."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from scipy.optimize import linprog

from commands import run_command
from emdarks.accumulate import Threads
from emdarks.cameras import Camera, load_camera
from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset, DetectorParams, Image
from emdarks.errors import EmdarksWarning, InputError
from emdarks.planning import PlannedStack, Readout, predict, share_budget
from emdarks.simulate import (
    DEFAULT_STACKS,
    STAGES,
    Effects,
    StackPlan,
    excess_noise_squared,
    make_truth,
    simulate_stack,
)

NOISE = load_camera("excam").noise
REAL16 = [(g, t) for g in (2.0, 50.0, 500.0, 5000.0) for t in (2.0, 10.0, 40.0, 100.0)]
M9 = [(g, t) for g in (2.0, 100.0, 5000.0) for t in (2.0, 20.0, 100.0)]


def linear(side: int) -> list[tuple[float, float]]:
    gains, times = np.linspace(2, 5000, side), np.linspace(2, 100, side)
    return [(float(g), float(t)) for g in gains for t in times]


COMMAND = [(g, t) for g in (1.0, 50.0, 1000.0, 5000.0) for t in (2.0, 100.0)]
DARKS = [(2.0, 100.0), (500.0, 60.0), (1000.0, 60.0), (5000.0, 100.0), (200.0, 60.0)]


def with_frames(pairs: Any, frames: Any) -> list[PlannedStack]:
    frames = [frames] * len(pairs) if isinstance(frames, int) else frames
    return [PlannedStack(*pair, n) for pair, n in zip(pairs, frames, strict=True)]


def plain_covariance(stacks: Any, frames: Any = None) -> Any:
    """(X' W X)^-1, written out."""
    gain, time, n = np.array(stacks, dtype=float).T
    n = n if frames is None else np.asarray(frames, dtype=float)
    X = np.stack([np.ones_like(gain), gain, gain * time], axis=1)
    lam = NOISE.clock_induced_charge + time * NOISE.dark_current
    W = np.diag(n / (NOISE.read_noise**2 + 2 * gain**2 * lam))
    scale = np.diag(1 / np.linalg.norm(np.sqrt(W) @ X, axis=0))
    return scale @ np.linalg.inv(scale @ X.T @ W @ X @ scale) @ scale


# The errors that come


def wide_camera() -> Camera:
    """EXCAM's noise on frames that are nearly all imaging area: 100 x 118 pixels of it."""
    camera = load_camera("excam")
    geometry = {
        "frame_rows": 102,
        "frame_cols": 124,
        "image": {"rows": 100, "cols": 118, "r0c0": [0, 6]},
        "prescan": {"rows": 102, "cols": 6, "r0c0": [0, 0], "col_start": 0, "col_end": 6},
        "prescan_reliable": {"rows": 102, "cols": 6, "r0c0": [0, 0]},
        "parallel_overscan": {"rows": 2, "cols": 118, "r0c0": [100, 6]},
    }
    return replace(camera, name="wide", geometry={"SCI": geometry})


def simulated_errors(
    stacks: Any, seed: int, effects: Effects | None = None, **options: Any
) -> tuple[Any, Any]:
    """Estimates less truth, and truth, of F, C and D in the image region, (3, pixels)."""
    camera = wide_camera()
    truth = make_truth(camera, seed, hot_share=0.0)
    rng = np.random.default_rng(seed)
    images = []
    for stack in stacks:
        data, dq = simulate_stack(truth, *stack, rng, effects=effects)
        header = fits.Header(
            {
                "EXPTIME": stack.exposure_time,
                "EMGAIN_C": stack.gain,
                "KGAINPAR": truth.k_gain,
                "BUNIT": "detected EM electron",
            }
        )
        images += [
            Image(plane, fits.Header(), header.copy(), dq=flags)
            for plane, flags in zip(data, dq, strict=True)
        ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        maps = calibrate_darks_lsq(
            Dataset(images),
            DetectorParams({"TELRSTRT": -1, "TELREND": None}),
            camera=camera,
            executor=Threads(2),
            **options,
        )
    region = np.s_[:100, 6:124]
    fitted = np.stack([plane[region].ravel() for plane in maps.extra("SIGNED").astype(float)])
    planes = (truth.fixed_pattern, truth.clock_induced_charge, truth.dark_current)
    real = np.stack([plane[region].ravel() for plane in planes])
    return fitted - real, real


@pytest.mark.parametrize(
    ("name", "stacks"),
    [
        ("real16", with_frames(REAL16, 50)),
        ("m9", with_frames(M9, 80)),
        ("default", with_frames(DEFAULT_STACKS, [60, 40, 90, 70, 80, 120])),
    ],
)
def test_predictions_equal_the_simulated_scatter(name: str, stacks: list[PlannedStack]) -> None:
    cosmic_rays = Effects()
    readout = Readout(
        stages=STAGES,
        lost_per_frame=cosmic_rays.flagged,
        lost_per_second=cosmic_rays.flagged_per_second,
    )
    prediction = predict(stacks, NOISE, DARKS, readout=readout)
    off, _ = simulated_errors(stacks, seed=11)
    ratios = {
        goal: float(np.sqrt((values**2).mean()) / error)
        for goal, values, error in zip("FCD", off, prediction.errors, strict=True)
    }
    for dark in prediction.darks:
        residual = off[0] / dark.gain + off[1] + dark.exposure_time * off[2]
        rms = float(np.sqrt((residual**2).mean()))
        ratios[f"dark {dark.gain:g}, {dark.exposure_time:g}"] = rms / dark.error
    assert all(0.95 <= ratio <= 1.05 for ratio in ratios.values()), ratios
    measured = np.corrcoef(off)
    for (a, b), predicted in zip(((0, 1), (0, 2), (1, 2)), prediction.correlations, strict=True):
        assert measured[a, b] == pytest.approx(predicted, abs=0.05)
    # The ideal register is nearly the real one.
    ideal = predict(stacks, NOISE, readout=replace(readout, stages=None))
    np.testing.assert_allclose(ideal.errors, prediction.errors, rtol=0.02)


# What is foretold


def test_prediction_by_formula() -> None:
    stacks = with_frames(REAL16, list(range(20, 36)))
    prediction = predict(stacks, NOISE, DARKS, overhead=3.0)
    covariance = plain_covariance(stacks)
    np.testing.assert_allclose(prediction.covariance, covariance, rtol=1e-9)
    for dark, (gain, time) in zip(prediction.darks, DARKS, strict=True):
        c = np.array([1 / gain, 1.0, time])
        assert dark.error == pytest.approx(math.sqrt(c @ covariance @ c), rel=1e-9)
        assert dark.error == pytest.approx(prediction.error_of((gain, time)), rel=1e-9)
        assert dark.charge == pytest.approx(0.0088 + time * 1e-3)
    assert prediction.error_of("D") == pytest.approx(prediction.errors[2])
    assert prediction.frames == sum(range(20, 36))
    assert prediction.duration == sum(n * (t + 3) for _, t, n in stacks)


def test_statistics_of_the_specification() -> None:
    """Root-mean-square errors measured there: real16, 100 frames, cosmic rays flagged."""
    readout = Readout(lost_per_frame=0.003, lost_per_second=5e-4)
    # The figures of those simulations.
    noise = replace(NOISE, read_noise=120.0, clock_induced_charge=0.02, dark_current=8.33e-4)
    prediction = predict(with_frames(REAL16, 100), noise, readout=readout)
    assert prediction.errors == pytest.approx((4.18, 0.0140, 3.7e-4), rel=0.02)


def test_errors_scale() -> None:
    stacks = with_frames(M9, 25)
    once = predict(stacks, NOISE, DARKS)
    four = predict([s._replace(frames=100) for s in stacks], NOISE, DARKS)
    np.testing.assert_allclose(four.errors, np.array(once.errors) / 2, rtol=1e-12)
    half = predict(stacks, NOISE, readout=Readout(lost_per_frame=0.5))
    np.testing.assert_allclose(half.errors, np.array(once.errors) * math.sqrt(2), rtol=1e-12)
    shuffled = predict(stacks[::-1], NOISE, DARKS)
    np.testing.assert_allclose(shuffled.errors, once.errors, rtol=1e-12)


@pytest.mark.parametrize("gain", [1.0, 1.05, 2.0, 50.0, 1000.0, 5000.0])
def test_excess_noise_is_the_simulated_registers(gain: float) -> None:
    assert Readout(stages=STAGES).excess(gain) == pytest.approx(excess_noise_squared(gain), 1e-12)
    assert Readout().excess(gain) == 2.0


def test_stacks_of_the_simulator_will_do() -> None:
    plans = [StackPlan(*stack, 10) for stack in DEFAULT_STACKS]
    assert predict(plans, NOISE) == predict(with_frames(DEFAULT_STACKS, 10), NOISE)


def test_pixels_that_cosmic_rays_leave_without_a_fit() -> None:
    pairs = [(1.0, 0.0), (1.0, 100.0), (1000.0, 0.0), (1000.0, 100.0), (5000.0, 100.0)]
    stacks = with_frames(pairs, [2, 2, 3, 1, 2])
    lost = np.array([0.1, 0.3, 0.1, 0.3, 0.3]) ** [2, 2, 3, 1, 2]
    got = predict(stacks, NOISE, readout=Readout(lost_per_frame=0.1, lost_per_second=0.002))
    usable = np.random.default_rng(1).random((400_000, 5)) >= lost
    assert got.unfittable == pytest.approx((usable.sum(axis=1) < 4).mean(), rel=0.03)
    assert predict(stacks, NOISE).unfittable == 0.0


# The best sharing


def least_error(pairs: Any, budget: float, overhead: float, goal: Any) -> float:
    """Least error of any sharing, fractions of frames allowed, by linear programming.

    min (sum |l_i| sqrt(v_i cost_i))^2 / budget over all l with sum l_i x_i = c (Elfving
    1952; Harman and Jurik 2008).
    """
    gain, time = np.array(pairs).T
    X = np.stack([np.ones_like(gain), gain, gain * time])
    lam = NOISE.clock_induced_charge + time * NOISE.dark_current
    price = np.sqrt((NOISE.read_noise**2 + 2 * gain**2 * lam) * (time + overhead))
    vectors = {"F": [1, 0, 0], "C": [0, 1, 0], "D": [0, 0, 1]}
    c = np.array(vectors[goal] if goal in vectors else [1 / goal[0], 1, goal[1]])
    size, unit = np.linalg.norm(X, axis=1), price.min()
    A = X / size[:, None]
    solved = linprog(np.r_[price, price] / unit, A_eq=np.hstack([A, -A]), b_eq=c / size)
    return float(solved.fun * unit / math.sqrt(budget))


GOALS: list[Any] = ["F", "C", "D", (1000.0, 60.0), (5000.0, 100.0)]
SHARINGS = [(pairs, goal) for pairs in (COMMAND, REAL16) for goal in GOALS]
#: D on a grid of 49 takes as long as all others together.
SHARINGS += [(linear(5 if goal == "D" else 7), goal) for goal in GOALS]


@pytest.mark.parametrize(
    ("pairs", "goal"), SHARINGS, ids=[f"{len(pairs)}-{goal}" for pairs, goal in SHARINGS]
)
def test_no_sharing_is_better(pairs: Any, goal: Any) -> None:
    budget, overhead = 50_000.0, 7.0
    suggestion = share_budget(pairs, budget, NOISE, overhead, goal)
    stacks = suggestion.prediction.stacks
    assert len(stacks) >= 4
    assert min(stack.frames for stack in stacks) >= 2
    assert suggestion.prediction.duration <= budget
    assert budget - suggestion.prediction.duration < max(t for _, t in pairs) + overhead
    bound = least_error(pairs, budget, overhead, goal)
    assert bound * (1 - 1e-9) <= suggestion.error <= 1.005 * bound
    assert suggestion.equal is not None
    assert suggestion.equal_error is not None
    assert suggestion.error <= suggestion.equal_error
    equal_time = with_frames(pairs, [int(budget / len(pairs) / (t + overhead)) for _, t in pairs])
    assert suggestion.error <= predict(equal_time, NOISE).error_of(goal)


@pytest.mark.parametrize("budget", [2_500.0, 6_000.0, 50_000.0])
@pytest.mark.parametrize("goal", ["F", "C", "D", "dark:1000,60"])
@pytest.mark.parametrize("least", [0, 5])
def test_no_frame_is_better_spent_elsewhere(budget: float, goal: str, least: int) -> None:
    overhead = 7.0
    suggestion = share_budget(COMMAND, budget, NOISE, overhead, goal, least=least)
    taken = {(s.gain, s.exposure_time): s.frames for s in suggestion.prediction.stacks}
    frames = np.array([taken.get(pair, 0) for pair in COMMAND])
    assert frames.min() >= least
    cost = np.array([t + overhead for _, t in COMMAND])
    left = budget - frames @ cost
    for i in np.flatnonzero(frames > max(least, 2)):
        for j in range(len(COMMAND)):
            other = frames.copy()
            other[i] -= 1
            other[j] += int((left + cost[i]) // cost[j])
            if i != j and other[j] >= 2:
                kept = other > 0
                moved = with_frames(
                    [pair for pair, k in zip(COMMAND, kept, strict=True) if k],
                    [int(n) for n in other[kept]],
                )
                assert predict(moved, NOISE).error_of(goal) > 0.99 * suggestion.error
    # In fractions of frames, too, where one frame is little.
    stacks = with_frames(COMMAND, 1)
    for i in np.flatnonzero(frames > 100):
        for j in set(range(len(COMMAND))) - {int(i)}:
            other = frames.astype(float)
            other[i] -= 1
            other[j] += cost[i] / cost[j]
            covariance = plain_covariance(stacks, other)
            c = {"F": [1, 0, 0], "C": [0, 1, 0], "D": [0, 0, 1]}.get(goal, [1e-3, 1, 60])
            assert math.sqrt(np.array(c) @ covariance @ c) > 0.99 * suggestion.error


def test_a_small_budget_is_used_as_well_as_can_be() -> None:
    """Every campaign of up to 9 frames a pair, tried."""
    pairs = [(1.0, 2.0), (1.0, 100.0), (1000.0, 2.0), (1000.0, 100.0), (5000.0, 2.0)]
    budget, overhead = 500.0, 8.0
    cost = np.array([t + overhead for _, t in pairs])
    grid = np.stack(np.meshgrid(*[np.r_[0, 2:20]] * 5, indexing="ij")).reshape(5, -1).T
    grid = grid[(grid @ cost <= budget) & ((grid > 0).sum(axis=1) >= 4)]
    stacks = with_frames(pairs, 1)
    # All pairs but one always have rank 3 here, unless time 100 s is missing altogether.
    grid = grid[(grid[:, 1] > 0) | (grid[:, 3] > 0)]
    gain, time, _ = np.array(stacks).T
    X = np.stack([np.ones(5), gain / 1e3, gain * time / 1e5], axis=1)
    lam = NOISE.clock_induced_charge + time * NOISE.dark_current
    told = X[:, :, None] * X[:, None, :] / (NOISE.read_noise**2 + 2 * gain**2 * lam)[:, None, None]
    inverse = np.linalg.inv(np.tensordot(grid, told, axes=1))
    for k, (goal, unit) in enumerate((("F", 1.0), ("C", 1e3), ("D", 1e5))):
        best = math.sqrt(inverse[:, k, k].min()) / unit
        assert share_budget(pairs, budget, NOISE, overhead, goal).error <= 1.02 * best


def test_a_suggestion_keeps_the_campaign_broad() -> None:
    suggestion = share_budget(REAL16, 40_000.0, NOISE, 5.0, (1000.0, 60.0), DARKS, least=10)
    assert [s[:2] for s in suggestion.prediction.stacks] == REAL16
    assert min(s.frames for s in suggestion.prediction.stacks) >= 10
    assert len(suggestion.prediction.darks) == len(DARKS)
    narrow = share_budget(REAL16, 40_000.0, NOISE, 5.0, (1000.0, 60.0))
    assert narrow.error < suggestion.error < suggestion.equal_error


# By counts


def test_a_campaign_planned_for_counts_has_the_errors_that_were_predicted() -> None:
    """Under cosmic rays, too: as many as in orbit, of which the predictions know the number."""
    pairs = [(g, t) for g in (2.0, 100.0, 1000.0, 5000.0) for t in (2.0, 50.0)]
    readout = Readout().under_rays(5.0, wide_camera().simulation.pixel_size)
    asked: dict[str, Any] = {"least": 20, "readout": readout, "estimator": "counting"}
    suggestion = share_budget(pairs, 25_000.0, NOISE, 5.0, "D", **asked)
    stacks = suggestion.prediction.stacks
    assert len(stacks) == len(pairs)
    for effects in (Effects.none(), replace(Effects.none(), rays=5.0)):
        how: dict[str, Any] = {"estimator": "counting", "flag_level": 70_000.0}
        off, _ = simulated_errors(stacks, 12, effects, **how)
        found = np.sqrt(np.nanmean(off**2, axis=1))
        assert found == pytest.approx(suggestion.prediction.errors, rel=0.03)
        mean = np.nanmean(off, axis=1) / suggestion.prediction.errors
        assert np.abs(mean).max() < 0.06


def test_no_other_sharing_is_better_for_counts() -> None:
    """Of many that were drawn; nor is that for least squares."""
    budget, overhead, rng = 30_000.0, 5.0, np.random.default_rng(3)
    asked: dict[str, Any] = {"estimator": "counting"}
    cost = np.array([t + overhead for _, t in COMMAND])
    for goal in ("F", "C", "D", "dark:1000,60"):
        best = share_budget(COMMAND, budget, NOISE, overhead, goal, least=2, **asked)
        usual = share_budget(COMMAND, budget, NOISE, overhead, goal, least=2)
        usual_errors = predict(usual.prediction.stacks, NOISE, **asked)
        assert best.error <= usual_errors.error_of(goal)
        assert best.equal_error is not None
        assert best.error < best.equal_error
        for shares in rng.dirichlet(np.full(len(cost), 0.3), 200):
            frames = np.maximum((shares * (budget - 2 * cost.sum()) / cost).astype(int) + 2, 2)
            other = predict(with_frames(COMMAND, frames.tolist()), NOISE, **asked)
            assert best.error <= 1.001 * other.error_of(goal)


@pytest.mark.parametrize("goal", ["F", "C", "D"])
def test_a_low_gain_is_taken_at_two_times_for_counts(goal: str) -> None:
    """Which tells what rays leave below the threshold."""
    suggestion = share_budget(REAL16, 30_000.0, NOISE, 5.0, goal, estimator="counting")
    low = [s.gain for s in suggestion.prediction.stacks if s.gain < 2 * NOISE.read_noise]
    assert len(low) > len(set(low))
    # Pairs without any are planned as they are.
    high = [(g, t) for g in (500.0, 5000.0) for t in (2.0, 50.0, 100.0)]
    assert share_budget(high, 30_000.0, NOISE, 5.0, goal, estimator="counting").error > 0


def test_rays_take_samples() -> None:
    clean = Readout(lost_per_frame=0.01)
    struck = clean.under_rays(5.0, 13.0)
    assert struck.lost_per_frame == 0.01
    assert struck.lost_per_second == pytest.approx(5.0 * 70 * 1.69e-6)
    with pytest.raises(InputError, match=r"-1\.0 cosmic rays"):
        clean.under_rays(-1.0, 13.0)


# What is refused


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "at least 4 pairs of EM gain and exposure time; there are 0: none"),
        (M9[:3], r"there are 3: \(2, 2 s\)"),
        ([(5.0, t) for t in (1.0, 2.0, 3.0, 4.0)], "all pairs have EM gain 5"),
        ([(g, 7.0) for g in (1.0, 2.0, 3.0, 4.0)], "all pairs have exposure time 7 s"),
        # t = 10 + 20 / g: 1, g and g t are dependent.
        ([(1.0, 30.0), (2.0, 20.0), (4.0, 15.0), (5.0, 14.0)], "rank below 3"),
        ([*M9, (0.5, 2.0)], "EM gain 0.5 is below 1"),
        ([*M9, (math.nan, 2.0)], "EM gain nan is below 1 or no number"),
        ([*M9, (5.0, -2.0)], "exposure time -2 s"),
        ([*M9, (2.0, 2.0)], "are there twice"),
        ([*M9, (2.0, 20.0 * (1 + 1e-9))], "are there twice"),
        ([*M9, (20000.0, 2.0)], "above the register's full well"),
        ([*M9, (1.0, 1.2e8)], "overflow the full well of the image area"),
    ],
)
def test_designs_that_cannot_be_fitted(pairs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        predict(with_frames(pairs, 10), NOISE)
    with pytest.raises(InputError, match=message):
        share_budget(pairs, 1e12, NOISE, 5.0)


def test_other_refusals() -> None:
    with pytest.raises(InputError, match="every stack has one frame"):
        predict(with_frames(M9, 1), NOISE)
    with pytest.raises(InputError, match="0 frames; give a whole number"):
        predict(with_frames(M9, 0), NOISE)
    with pytest.raises(InputError, match=r"2\.5 frames"):
        predict([(*pair, 2.5) for pair in M9], NOISE)
    with pytest.raises(InputError, match="give EM gain, exposure time and number of frames"):
        predict(M9, NOISE)
    with pytest.raises(InputError, match="read noise -1"):
        predict(with_frames(M9, 9), replace(NOISE, read_noise=-1.0))
    with pytest.raises(InputError, match="frames without read noise"):
        predict(with_frames(M9, 9), replace(NOISE, read_noise=0.0))
    with pytest.raises(InputError, match="cosmic rays take every sample"):
        predict(with_frames(M9, 9), NOISE, readout=Readout(lost_per_second=0.02))
    with pytest.raises(InputError, match="the gain is at least 1"):
        predict(with_frames(M9, 9), NOISE, [(0.0, 60.0)])
    with pytest.raises(InputError, match="overhead -1"):
        predict(with_frames(M9, 9), NOISE, overhead=-1.0)
    for wrong in ({"kappa": 0.0}, {"stages": 0}, {"lost_per_frame": 1.0}, {"lost_per_second": -1}):
        with pytest.raises(InputError):
            Readout(**wrong)
    with pytest.raises(InputError, match="cannot come from 4 stages"):
        Readout(stages=4).excess(5000.0)


def test_budgets_that_are_refused() -> None:
    with pytest.raises(InputError, match=r"too small: 4 stacks .* 2 frames each, take 236 s"):
        share_budget(COMMAND, 235.0, NOISE, 3.0)
    assert share_budget(COMMAND, 236.0, NOISE, 3.0).prediction.frames == 8
    with pytest.raises(InputError, match=r"8 stacks .* with 20 frames each, take 8640 s"):
        share_budget(COMMAND, 8639.0, NOISE, 3.0, least=20)
    with pytest.raises(InputError, match="a frame of 0 s without overhead"):
        share_budget([*COMMAND, (5.0, 0.0)], 1e4, NOISE)
    with pytest.raises(InputError, match="budget nan"):
        share_budget(COMMAND, math.nan, NOISE)
    with pytest.raises(InputError, match="give 0, or 2 and more"):
        share_budget(COMMAND, 1e4, NOISE, least=1)
    for goal in ("E", "dark:1000", "dark:0.5,60", (1.0, 2.0, 3.0)):
        with pytest.raises(InputError):
            share_budget(COMMAND, 1e4, NOISE, 1.0, goal)  # type: ignore[arg-type]


# The command


def run(*arguments: Any) -> CompletedProcess[str]:
    return run_command(Path.cwd(), "plan", *arguments)


def test_the_command_shows_tables_to_people() -> None:
    made = run("--frames", 100, "--dark", "200,60", "--lost", "0.003,0.0005")
    assert made.returncode == 0, made.stderr
    assert made.stdout == ""
    assert "dark at gain 200, 60 s" in made.stderr
    assert "correlations F-C" in made.stderr
    made = run("--budget", 3000, "--overhead", 5, "--goal", "dark:1000,60", "--lost", "0.05,0.002")
    assert made.returncode == 0, made.stderr
    assert "goal dark:1000,60: error" in made.stderr
    assert "fewer than 4 usable stacks" in made.stderr
    assert "--at-least N" in made.stderr


def test_the_command_speaks_json() -> None:
    made = run("--json", "--frames", 100, "--read-noise", 100, "--stages", 604, "--dark", "7,8")
    noise = replace(NOISE, read_noise=100.0)
    expected = predict(with_frames(COMMAND, 100), noise, [(7, 8)], readout=Readout(stages=604))
    assert json.loads(made.stdout) == expected.as_dict()
    assert made.stderr == ""
    stacks = ["--stack", "1,2,30", "--stack", "1,100,20", "--stack", "500,2", "--stack", "2e3,90"]
    result = json.loads(run("--json", *stacks).stdout)
    assert [stack["frames"] for stack in result["stacks"]] == [30, 20, 1176, 1176]


def test_the_command_shares_a_budget() -> None:
    made = run("--budget", 20000, "--overhead", 4, "--goal", "C", "--at-least", 3, "--json")
    expected = share_budget(COMMAND, 20000.0, NOISE, 4.0, "C", [(1000.0, 60.0)], least=3)
    result = json.loads(made.stdout)
    assert result["goal"] == "C"
    assert result["suggested"]["duration_s"] <= result["budget_s"] == 20000
    assert result["goal_error"] == pytest.approx(expected.error, rel=1e-3)
    assert result["goal_error"] <= result["equal_goal_error"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--gains", "1,50", "--times", "100"], 1, "at least 4 pairs"),
        (["--budget", "100", "--overhead", "10"], 1, "too small"),
        (["--camera", "leica"], 1, "neither built in"),
        (["--budget", "100", "--frames", "10"], 2, "either --frames or --budget"),
        (["--gains", "1;50"], 2, "give numbers separated by commas"),
        (["--dark", "1000"], 2, "give 2 numbers"),
        (["--goal", "E", "--budget", "1000"], 2, "choose F, C, D, or dark:G,T"),
        (["--stack", "1,2,3", "--budget", "1000"], 2, "give --stack G,T"),
    ],
)
def test_faults_of_the_command(arguments: list[str], code: int, message: str) -> None:
    made = run(*arguments)
    assert made.returncode == code
    assert message in " ".join(made.stderr.replace("│", " ").split())
    assert "Traceback" not in made.stderr
    assert made.stdout == ""


def test_the_command_plans_for_counts_with_rays_and_without() -> None:
    command = "--estimator", "counting", "--budget", 36000, "--overhead", 5, "--rays", 5
    values = json.loads(run("--json", *command).stdout)
    without, suggested = values["without_rays"], values["suggested"]
    assert without["stacks"] == suggested["stacks"]
    assert 0.9 < without["error_dc_e_per_s"] / suggested["error_dc_e_per_s"] < 1
    shown = run(*command).stderr
    assert "without rays" in shown
    assert "frames each" in shown
    values = json.loads(run("--json", *command[:2], "--frames", 60, "--rays", 5).stdout)
    assert values["rays_per_cm2_s"] == 5
    assert values["without_rays"]["error_fpn_e"] < values["error_fpn_e"]
    made = run("--rays", 5)
    assert made.returncode == 2
    assert "--rays is for --estimator counting" in made.stderr
