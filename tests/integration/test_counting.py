"""The counting estimator against a known truth, from frames to maps."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from validation.counting_cases import Estimate, compare, oracle, pooled
from validation.counting_frames import (
    CAMERAS,
    PIXELS,
    SHAPE,
    Campaign,
    Effects,
    Truth,
    draw_campaign,
)

from emdarks._core import HOT
from emdarks.accumulate import Threads
from emdarks.errors import CalDarksLSQException
from emdarks.fit.counting import CountedStacks, fit_counting
from emdarks.fit.em_gain import fit_gains

FLIGHT = CAMERAS["flight"]
UNIT = np.array([1.0, 100 / FLIGHT.C, 100 / FLIGHT.D])
FRAMES = 60
Array = Any


@cache
def campaign(rays: str = "", gain_error: float = 0.0) -> tuple[Campaign, Truth]:
    truth = Truth.draw(FLIGHT)
    rng = np.random.default_rng([18, len(rays), int(100 * gain_error)])
    effects = Effects(rays, gain_error=gain_error)
    return draw_campaign(rng, FLIGHT, truth, "real16", FRAMES, effects), truth


@pytest.mark.parametrize("rays", ["", "edet", "even"])
def test_finer_than_least_squares_and_right_under_rays(rays: str) -> None:
    drawn, truth = campaign(rays)
    best = oracle(FLIGHT, truth, "real16", FRAMES)
    start, usual = pooled(drawn)
    fit = fit_counting(drawn.stacks, start, Threads(1))
    found, before = (compare(e, truth, best) for e in (Estimate.counting(fit), usual))
    own = best[~truth.hot].mean(axis=0)
    error = np.sqrt(np.diag(own) / PIXELS)
    assert (np.abs(found.bias) < 4 * error + np.array([0.15, 0, 0.006 * FLIGHT.D])).all()
    assert (np.sqrt(found.ratio2) < [0.84, 0.75, 0.91]).all()
    assert np.sqrt(found.variance) == pytest.approx(np.ones(3), abs=0.04)
    assert found.within == pytest.approx(np.full(3, 0.683), abs=0.03)
    if rays:
        assert before.bias[0] > 1.5
        assert before.bias[2] > 0.01 * FLIGHT.D
        assert fit.rays.rates[2.0] > 2 * fit.rays.rate_errors[2.0]
    wings = fit.rays.wings[1].reshape(-1, 3)[:, 0]
    if rays == "edet":  # faint charges beside the heads, at 500 and 100 s
        assert wings[14] > 5e-4
    if not rays:
        assert abs(wings).max() < 1e-4
    chi2 = fit.chi2[fit.members(1)]
    assert chi2.mean() == pytest.approx(1, abs=0.05)


def test_hot_pixels() -> None:
    drawn, truth = campaign("edet")
    fit = fit_counting(drawn.stacks, pooled(drawn)[0], Threads(1))
    assert fit.hot[truth.hot].all()
    assert (fit.hot & ~truth.hot).sum() < 20
    D, error = fit.values[2, truth.hot], fit.errors[2, truth.hot]
    pull = (D - truth.D[truth.hot]) / error
    assert abs(pull.mean()) < 0.6
    assert 0.8 < pull.std() < 1.25
    assert np.median(error / D) < 0.15


def test_pixels_without_dark_current_have_two_parameters() -> None:
    inside = np.zeros(SHAPE, bool)
    inside[20:, 10:90] = True
    truth = Truth.draw(FLIGHT)
    truth = replace(truth, D=np.where(inside.ravel(), truth.D, 0.0))
    drawn = draw_campaign(np.random.default_rng(4), FLIGHT, truth, "real16", 40, Effects(""))
    stacks = replace(drawn.stacks, imaging=inside.ravel())
    start, _ = pooled(replace(drawn, stacks=stacks))
    fit = fit_counting(stacks, start, Threads(1))
    rest = ~inside.ravel()
    assert (fit.values[2, rest] == 0).all()
    assert (fit.errors[2, rest] == 0).all()
    assert (fit.rays.slope[0] == 0).all()
    assert (fit.rays.wings[0] == 0).all()
    for region, where in ((0, rest), (1, inside.ravel())):
        assert set(np.unique(fit.group[where])) <= {region, region + HOT, -2}
        own = where & fit.members(region)
        for k in (0, 1):
            pull = (fit.values[k] - truth.maps[k])[own] / fit.errors[k, own]
            assert abs(pull.mean()) < 5 / np.sqrt(own.sum()) + 0.02
            assert pull.std() == pytest.approx(1, abs=0.07)


def test_threads_change_no_bit() -> None:
    drawn, _ = campaign("edet")
    start, _ = pooled(drawn)
    one, three = (fit_counting(drawn.stacks, start, Threads(n)) for n in (1, 3))
    assert one.values.tobytes() == three.values.tobytes()
    assert one.covariance.tobytes() == three.covariance.tobytes()


def test_pixels_without_samples_are_not_fitted() -> None:
    drawn, _ = campaign()
    n = drawn.stacks.n.copy()
    n[:, 5] = 0
    n[3:, 6] = 0
    n[2, 7] = 0
    lost = replace(drawn, stacks=replace(drawn.stacks, n=n))
    fit = fit_counting(lost.stacks, pooled(lost)[0], Threads(1))
    assert np.isnan(fit.errors[:, [5, 6]]).all()
    assert (fit.values[:, [5, 6]] == 0).all()
    assert np.isfinite(fit.errors[:, 7]).all()
    assert np.isfinite(fit.errors).sum() == 3 * (PIXELS - 2)


def test_gains_are_measured() -> None:
    drawn, _ = campaign("edet", 0.15)
    start, _ = pooled(drawn)
    fit = fit_counting(drawn.stacks, start, Threads(1))
    gains = fit_gains(drawn.stacks, fit, drawn.histograms, drawn.bins)
    high = drawn.stacks.gain >= 3 * FLIGHT.read_noise
    assert (gains.error[~high] == 0).all()
    assert (gains.gain[~high] == drawn.stacks.gain[~high]).all()
    pull = (gains.gain - drawn.gains)[high] / gains.error[high]
    assert (np.abs(pull) < 4).all()
    assert (gains.error[high] < 0.015 * drawn.gains[high]).all()
    again = fit_counting(drawn.with_gains(gains.gain), start, Threads(1))
    off, right = (abs(f.level[1, 1:] / [FLIGHT.C, FLIGHT.D] - 1).max() for f in (fit, again))
    assert right < 0.03
    assert right < off


def test_a_gain_that_nothing_tells_is_not_measured() -> None:
    drawn, _ = campaign()
    fit = fit_counting(drawn.stacks, pooled(drawn)[0], Threads(1))
    few = np.zeros_like(drawn.histograms)
    few[:, :, 40] = 3
    for histograms in (0 * few, few):
        gains = fit_gains(drawn.stacks, fit, histograms, drawn.bins)
        assert np.isfinite(gains.gain).all()
        assert (gains.gain > 0).all()
        unknown = gains.error == 0
        assert (gains.gain[unknown] == drawn.stacks.gain[unknown]).all()


def refused(stacks: CountedStacks, text: str) -> None:
    start, _ = pooled(campaign()[0])
    with pytest.raises(CalDarksLSQException, match=text):
        fit_counting(stacks, start, Threads(1))


def test_refusals() -> None:
    stacks = campaign()[0].stacks
    flagged = np.where(stacks.commanded == 5000, 20_000.0, stacks.flagged)
    refused(replace(stacks, flagged=flagged), r"EM gain 5000: samples are flagged from 20000 e-")
    refused(replace(stacks, time=np.full(16, 5.0)), "cannot tell F, C and D apart")
