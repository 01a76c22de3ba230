"""Fits of simulated stacks, and how they compare with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from validation.moments import Stacks, Truth, draw_stacks, draw_truth, grid, variance

from emdarks.accumulate import Threads
from emdarks.fit.least_squares import fit_reference
from emdarks.fit.pooled import fit_pooled
from emdarks.fit.statistics import pooled_bias_offset
from emdarks.products.synthesis import Maps, synthesize_arrays

__all__ = ["DARKS", "Case", "Figures", "bias_offsets", "mean_charge", "measure", "weighted_fit"]

Array = npt.NDArray[Any]

#: (EM gain, exposure time) of the synthesised darks.
DARKS = ((2, 100), (500, 60), (1000, 60), (5000, 100), (200, 60))
PARAMETERS = ("F", "C", "D")
_ONE_THREAD = Threads(1)


@dataclass(frozen=True)
class Estimate:
    """F, C, D with errors and correlations F-C, F-D, C-D; all of shape (3, pixels)."""

    values: Array
    errors: Array
    correlations: Array


def weighted_fit(gain: Array, time: Array, w: Array, y: Array) -> Estimate:
    """Least squares with weights w = 1 / variance; errors from the inverse normal matrix.

    Parameters
    ----------
    gain, time : ndarray, shape (stacks,)
        EM gain and exposure time.
    w, y : ndarray, shape (stacks, pixels)
        Weights and means.
    """
    X = np.column_stack([np.ones_like(gain), gain, gain * time])
    normal = np.einsum("ia,ip,ib->pab", X, w, X, optimize=True)
    scale = np.sqrt(np.einsum("paa->pa", normal))
    pairs = scale[:, :, None] * scale[:, None, :]
    inverse = np.linalg.inv(normal / pairs) / pairs
    values = np.einsum("pab,ib,ip,ip->ap", inverse, X, w, y, optimize=True)
    errors = np.sqrt(np.einsum("paa->ap", inverse))
    correlations = np.array(
        [inverse[:, a, b] / (errors[a] * errors[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    )
    return Estimate(values, errors, correlations)


def _estimates(stacks: Stacks, truth: Truth) -> dict[str, Estimate]:
    """All that are compared."""
    store, gain, time = stacks.store, stacks.gain, stacks.time
    imaging = np.ones(truth.F.size, dtype=bool)
    fit, noise = fit_pooled(store, stacks.stacks, True, imaging, (0, 0), _ONE_THREAD)
    reference = fit_reference(store, stacks.stacks, True, imaging, (0, 0), _ONE_THREAD)
    n = store.n.astype(float)
    assert noise.imaging is not None
    by_pool = weighted_fit(gain, time, n / noise.imaging.v[:, None], store.mean)
    return {
        "pooled": Estimate(fit.values, fit.errors, fit.correlations),
        "oracle": weighted_fit(gain, time, n / variance(gain, time, truth), store.mean),
        "reference": Estimate(reference.values, reference.errors, reference.correlations),
        "pool alone": by_pool,
    }


@dataclass
class _Tally:
    """Sums over realisations, for one estimator."""

    pulls: list[Array] = field(default_factory=list)
    hot: list[Array] = field(default_factory=list)
    bias: list[Array] = field(default_factory=list)
    squares: list[Array] = field(default_factory=list)
    darks: list[Array] = field(default_factory=list)
    clipped: list[Array] = field(default_factory=list)

    def add(self, found: Estimate, truth: Truth) -> None:
        ordinary = ~truth.hot
        residual = found.values - truth.maps
        pulls = residual / found.errors
        self.pulls.append(pulls[:, ordinary])
        self.hot.append(pulls[:, truth.hot])
        self.bias.append(residual[:, ordinary].mean(axis=1))
        self.squares.append((residual[:, ordinary] ** 2).mean(axis=1))
        for values, rows in ((found.values, self.darks), (_clip(found.values), self.clipped)):
            rows.append([_dark(values, found, truth, *setting)[:, ordinary] for setting in DARKS])


def _clip(values: Array) -> Array:
    """What is published: C and D not below 0."""
    return np.stack([values[0], np.maximum(values[1], 0), np.maximum(values[2], 0)])


def _dark(values: Array, found: Estimate, truth: Truth, gain: float, time: float) -> Array:
    """Residual of a synthesised dark, and its reported error."""
    flat = (slice(None), None)  # the product's function takes planes of rows and columns
    flags = np.zeros((3, 1, truth.F.size), np.uint16)
    maps = Maps(values[flat], found.errors[flat], found.correlations[flat], flags)
    data, err, _ = synthesize_arrays(maps, gain, time)
    return np.stack([data[0] - (truth.F / gain + truth.C + time * truth.D), err[0]])


@dataclass(frozen=True)
class Figures:
    """What one estimator reached; arrays in the order F, C, D or of `DARKS`."""

    pulls: Array
    bias: Array
    std: Array
    mean: Array
    one_sigma: Array
    two_sigma: Array
    rmse: Array
    hot: Array
    quarters: Array
    dark_ratio: Array
    dark_bias: Array
    clipped_bias: Array
    clipped_share: Array


@dataclass(frozen=True)
class Case:
    """One grid, number of frames and law of D; figures by estimator."""

    grid: str
    frames: int
    law: str
    stacks: int
    realisations: int
    of: dict[str, Figures]

    @property
    def name(self) -> str:
        """As it is printed."""
        return f"{self.grid}, N = {self.frames}"


def measure(name: str, frames: int, law: str, realisations: int, seed: int) -> Case:
    """Simulate and fit one case.

    Parameters
    ----------
    name : str
        Grid.
    frames : int
        Frames per stack.
    law : {"normal", "gamma4"}
        Spread of D over pixels.
    realisations, seed : int
        How many, and where chance starts.
    """
    gain, time = grid(name)
    tallies: dict[str, _Tally] = {}
    dark_current = []
    levels = np.zeros(len(DARKS))
    for realisation in range(realisations):
        rng = np.random.default_rng([seed, realisation, frames, gain.size, law == "gamma4"])
        truth = draw_truth(rng, law)
        stacks = draw_stacks(rng, gain, time, frames, truth)
        dark_current.append(truth.D[~truth.hot])
        levels += [float((truth.C + t * truth.D)[~truth.hot].mean()) for _, t in DARKS]
        for estimator, found in _estimates(stacks, truth).items():
            tallies.setdefault(estimator, _Tally()).add(found, truth)
    D = np.concatenate(dark_current)
    quarter = np.digitize(D, np.quantile(D, [0.25, 0.5, 0.75]))
    best = np.mean(tallies["oracle"].squares, axis=0)
    return Case(
        name,
        frames,
        law,
        gain.size,
        realisations,
        {
            key: _figures(tally, quarter, best, levels / realisations)
            for key, tally in tallies.items()
        },
    )


def _figures(tally: _Tally, quarter: Array, best: Array, levels: Array) -> Figures:
    pulls = np.concatenate(tally.pulls, axis=1)
    residual, reported = np.moveaxis(np.concatenate(tally.darks, axis=-1), 1, 0)
    clipped = np.concatenate(tally.clipped, axis=-1)[:, 0]
    return Figures(
        pulls=pulls,
        bias=np.mean(tally.bias, axis=0),
        std=pulls.std(axis=1),
        mean=pulls.mean(axis=1),
        one_sigma=(np.abs(pulls) < 1).mean(axis=1) * 100,
        two_sigma=(np.abs(pulls) < 2).mean(axis=1) * 100,
        rmse=np.sqrt(np.mean(tally.squares, axis=0) / best),
        hot=np.concatenate(tally.hot, axis=1).std(axis=1),
        quarters=np.array([pulls[2, quarter == k].std() for k in range(4)]),
        dark_ratio=np.sqrt((reported**2).mean(axis=1) / (residual**2).mean(axis=1)),
        dark_bias=residual.mean(axis=1) / _standard_error(residual),
        clipped_bias=clipped.mean(axis=1) / _standard_error(clipped),
        clipped_share=clipped.mean(axis=1) / levels * 100,
    )


def _standard_error(residual: Array) -> Array:
    return np.asarray(residual.std(axis=1) / np.sqrt(residual.shape[1]))


def mean_charge(
    name: str, numbers: Sequence[int], realisations: int, seed: int
) -> dict[str, list[float]]:
    """Mean of the estimated C over ordinary pixels against N, by kind of weights."""
    gain, time = grid(name)
    found: dict[str, list[float]] = {}
    for frames in numbers:
        sums: dict[str, list[float]] = {}
        for realisation in range(realisations):
            rng = np.random.default_rng([seed, realisation, frames, 7])
            truth = draw_truth(rng)
            stacks = draw_stacks(rng, gain, time, frames, truth)
            estimates = _estimates(stacks, truth)
            by_number = weighted_fit(gain, time, stacks.store.n.astype(float), stacks.store.mean)
            for label, one in (
                ("sample", estimates["reference"]),
                ("number", by_number),
                ("pooled", estimates["pooled"]),
            ):
                sums.setdefault(label, []).append(float(one.values[1, ~truth.hot].mean()))
        for label, values in sums.items():
            found.setdefault(label, []).append(float(np.mean(values)))
    return found


def bias_offsets(
    name: str, frames: int, campaigns: int, seed: int, shape: tuple[int, int] = (60, 54)
) -> tuple[float, float, float]:
    """Bias offset of many small campaigns: mean, scatter and mean reported error, DN.

    Pixels of a prescan: read noise, and a little charge of the register.
    """
    gain, time = grid(name)
    pixels = shape[0] * shape[1]
    nowhere = np.zeros(pixels, dtype=bool)
    values, errors = [], []
    for campaign in range(campaigns):
        rng = np.random.default_rng([seed, campaign, frames, gain.size, 61])
        drawn = draw_truth(rng, pixels=pixels, hot=0.0)
        truth = Truth(drawn.F, np.full(pixels, 0.005), np.zeros(pixels), nowhere)
        stacks = draw_stacks(rng, gain, time, frames, truth)
        store = stacks.store
        fit, noise = fit_pooled(store, stacks.stacks, True, nowhere, (0, 0), _ONE_THREAD)
        assert noise.outside is not None
        k_gains = [8.7] * gain.size
        at = np.arange(pixels)
        offset = pooled_bias_offset(
            fit, store, stacks.stacks, k_gains, at, noise.outside.v, shape[1], _ONE_THREAD
        )
        values.append(offset.value)
        errors.append(offset.error)
    return float(np.mean(values)), float(np.std(values, ddof=1)), float(np.mean(errors))
