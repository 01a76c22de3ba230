"""One campaign at a time: fit by counts and by the pooled estimator, and compare with the truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from validation.counting_frames import (
    CAMERAS,
    PIXELS,
    Camera,
    Campaign,
    Effects,
    Truth,
    draw_campaign,
    settings,
)

from emdarks.accumulate import Threads
from emdarks.fit.counting import CountingFit, Start, fit_counting
from emdarks.fit.em_gain import fit_gains
from emdarks.fit.pooled import fit_pooled

__all__ = ["DARKS", "HOT_CLASSES", "Case", "Result", "measure", "run"]

Array = npt.NDArray[Any]

#: (EM gain, exposure time) of the synthesised darks.
DARKS = ((1, 100), (100, 60), (1000, 60), (5000, 100))
#: Limits of D of hot pixels, e-/s.
HOT_CLASSES = (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 1.0)
_ONE_THREAD = Threads(1)


@dataclass(frozen=True)
class Case:
    """A row of the tables.

    Attributes
    ----------
    grid : str
        Gains and times.
    frames, realisations : int
        Frames of a stack; campaigns.
    camera : str
        Noise and charges.
    effects : Effects
        Rays and errors of gains.
    law : str
        Law of the true D over pixels.
    hot : float
        Share of hot pixels.
    charge : tuple of float
        Range of their D.
    fit_gain : bool
        Measure the gains and fit again with them.
    """

    grid: str
    frames: int
    realisations: int
    camera: str = "flight"
    effects: Effects = field(default_factory=Effects)
    law: str = "lognormal"
    hot: float = 0.01
    charge: tuple[float, float] = (0.01, 1.0)
    fit_gain: bool = False

    def truth(self) -> Truth:
        """The same pixels in every realisation."""
        return Truth.draw(CAMERAS[self.camera], self.law, self.hot, self.charge)


@dataclass(frozen=True)
class Estimate:
    """F, C, D and their covariance, FF, FC, FD, CC, CD, DD; which pixels count."""

    values: Array
    covariance: Array
    ordinary: Array

    @classmethod
    def counting(cls, fit: CountingFit) -> Estimate:
        """Of the counting estimator."""
        return cls(fit.values, fit.covariance, fit.members(1))


@dataclass(frozen=True)
class Result:
    """Figures of one realisation; arrays in the order F, C, D.

    Attributes
    ----------
    bias, ratio2, variance, pull, within : ndarray, shape (3,)
        Mean residual; mean square over that of the oracle; variance and mean of pulls; share
        within one sigma.
    darks : ndarray, shape (len(DARKS),)
        Mean square of synthesised darks over that of the oracle.
    quarters : list of ndarray
        Pulls of D by quarter of true D, and of the brightest tenth.
    hot : list of tuple
        Residuals over true D, pulls, and the oracle's variance over D^2, by class of D.
    hot_bias : ndarray
        Residual and pull of F in hot pixels, shape (2, pixels).
    """

    bias: Array
    ratio2: Array
    variance: Array
    pull: Array
    within: Array
    darks: Array
    quarters: list[Array]
    hot: list[tuple[Array, Array, Array]]
    hot_bias: Array
    lost: tuple[int, int]


def oracle(camera: Camera, truth: Truth, grid: str, frames: int) -> Array:
    """Covariance of least squares on means with true variances, no rays, nothing masked."""
    gain, time = settings(grid)
    X = np.stack([np.ones_like(gain), gain, gain * time], axis=1) / _SCALE
    v = camera.read_noise**2 + 2 * gain[:, None] ** 2 * (truth.C + time[:, None] * truth.D)
    normal = np.einsum("ip,ij,ik->pjk", frames / v, X, X, optimize=True)
    return np.linalg.inv(normal) / _SCALE[:, None] / _SCALE


_SCALE = np.array([1.0, 1e3, 1e4])


def compare(found: Estimate, truth: Truth, best: Array) -> Result:
    """Figures of an estimate."""
    keep = found.ordinary & ~truth.hot
    residual = found.values - truth.maps
    errors = np.sqrt(found.covariance[[0, 3, 5]])
    own = np.einsum("pii->ip", best)
    d, pulls = residual[:, keep], (residual / errors)[:, keep]
    x = np.array([[1, g, g * t] for g, t in DARKS])
    dark2 = ((x @ d) ** 2).mean(axis=1)
    dark_best = np.einsum("ki,pij,kj->kp", x, best[keep], x, optimize=True).mean(axis=1)
    edges = np.quantile(truth.D[keep], [0.25, 0.5, 0.75, 0.9])
    part = np.digitize(truth.D[keep], edges)
    return Result(
        d.mean(axis=1),
        (d**2).mean(axis=1) / own[:, keep].mean(axis=1),
        pulls.var(axis=1),
        pulls.mean(axis=1),
        (np.abs(pulls) < 1).mean(axis=1),
        dark2 / dark_best,
        [pulls[2, part == k] for k in range(5)],
        _hot_classes(residual[2], errors[2], truth, own[2]),
        np.stack([residual[0], residual[0] / errors[0]])[:, truth.hot],
        (int((~found.ordinary & ~truth.hot).sum()), int((found.ordinary & truth.hot).sum())),
    )


def _hot_classes(
    residual: Array, error: Array, truth: Truth, best: Array
) -> list[tuple[Array, Array, Array]]:
    classes = []
    for lo, hi in pairwise(HOT_CLASSES):
        some = truth.hot & (lo <= truth.D) & (hi > truth.D) & np.isfinite(error)
        D = truth.D[some]
        classes.append((residual[some] / D, residual[some] / error[some], best[some] / D**2))
    return classes


def pooled(campaign: Campaign) -> tuple[Start, Estimate]:
    """The estimator of today: where the fit starts, and for comparison."""
    s = campaign.stacks
    store: Any = SimpleNamespace(n=s.n, mean=s.mean, m2=s.m2, err2=None, flags=campaign.flags)
    stacks: Any = [
        SimpleNamespace(em_gain=g, exposure_time=t) for g, t in zip(s.gain, s.time, strict=True)
    ]
    fit, _ = fit_pooled(store, stacks, True, s.imaging, (0, 0), _ONE_THREAD)
    a, b = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 1, 2, 2])
    r = np.ones((6, PIXELS))
    r[[1, 2, 4]] = fit.correlations
    weak = fit.errors[2] > 5 * np.nanmedian(fit.errors[2])
    covariance = r * fit.errors[a] * fit.errors[b]
    return Start(fit.values, fit.errors), Estimate(fit.values, covariance, ~weak & fit.fitted)


def measure(case: Case, realisation: int, seed: int) -> dict[str, Any]:
    """Simulate and fit one campaign."""
    rng = np.random.default_rng([seed, case.frames, realisation])
    camera, truth = CAMERAS[case.camera], case.truth()
    campaign = draw_campaign(rng, camera, truth, case.grid, case.frames, case.effects)
    best = oracle(camera, truth, case.grid, case.frames)
    start, usual = pooled(campaign)
    fit = fit_counting(campaign.stacks, start, _ONE_THREAD)
    found: dict[str, Any] = {
        "pooled": compare(usual, truth, best),
        "counting": compare(Estimate.counting(fit), truth, best),
        "rays": fit.rays.rates,
    }
    if case.fit_gain:
        gains = fit_gains(campaign.stacks, fit, campaign.histograms, campaign.bins)
        again = fit_counting(campaign.with_gains(gains.gain), start, _ONE_THREAD)
        found["fitted gains"] = compare(Estimate.counting(again), truth, best)
        found["gains"] = [
            (g, x / t - 1, e / t)
            for g, x, e, t in zip(
                campaign.stacks.gain, gains.gain, gains.error, campaign.gains, strict=True
            )
            if e > 0
        ]
    return found


def run(task: tuple[Case, int, int]) -> dict[str, Any]:
    """One task of a pool of processes."""
    return measure(*task)


def without_rays(case: Case) -> Case:
    """The same campaign without rays."""
    return replace(case, effects=replace(case.effects, rays=""))
