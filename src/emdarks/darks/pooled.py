"""The pooled estimator: weights from variances pooled over pixels, errors that follow each.

Regions - the imaging area, and the pixels outside it - never share a number. The steps
are those of the method page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.darks.campaign import design
from emdarks.darks.fitting import Fit, bands
from emdarks.darks.noise import (
    GATE,
    NoiseModel,
    fit_noise,
    kurtosis_ratio,
    spread_of,
    weighted_level,
)
from emdarks.errors import CalDarksLSQException
from emdarks.execution import Executor
from emdarks.kernels.pooled import (
    COUNTS,
    EQUAL,
    POOLED,
    V_FLOOR,
    final_sweep,
    first_sweep,
    hot_scale_sweep,
    pool_sums,
    second_sweep,
)
from emdarks.stacks import Stack, StackStore

__all__ = ["PooledNoise", "fit_pooled"]

Array = npt.NDArray[Any]

HOT_MAD = 5.0
#: ln(1e4): how far the tail of one electron's gain reaches.
HOT_JUMP = 9.2
#: Weight of the noise model beside a stack's pool, in degrees of freedom.
MODEL_FREEDOM = 50.0
#: A pool below this share of the model comes from identical frames.
SUSPECT = 0.01


@dataclass(slots=True)
class Region:
    """Numbers of one region, by stack: variances, noise model, spread over pixels."""

    v: Array
    freedom: Array
    model: NoiseModel
    kind: int
    noiseless: bool
    level: Array = field(default_factory=lambda: np.zeros(2))
    spread: Array = field(default_factory=lambda: np.zeros(2))
    gate: Array = field(default_factory=lambda: np.zeros(2))

    @property
    def kappa(self) -> float:
        """Excess noise; 0 where frames have no noise at all."""
        return 0.0 if self.noiseless else self.model.kappa

    @property
    def floor(self) -> Array:
        """Least variance of a pixel in each stack."""
        low: Array = np.maximum(V_FLOOR * self.v, np.minimum(self.model.read_noise2, self.v))
        return low


@dataclass(frozen=True, slots=True)
class PooledNoise:
    """Noise as the fit found it: outside the imaging area, and in it (None where no pixel)."""

    outside: Region | None
    imaging: Region | None


@dataclass(slots=True)
class _Work:
    """What the sweeps share."""

    store: StackStore
    gain: Array
    time: Array
    imaging: Array
    ranges: list[tuple[int, int]]
    executor: Executor
    fitted: Array

    def sweep(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Run a kernel over all bands of pixels."""
        self.executor.map(lambda band: kernel(*band, self.gain, self.time, *arguments), self.ranges)

    def pools(self, keep: Array) -> tuple[Array, Array]:
        """Pooled variance and its degrees of freedom, [region, stack]."""
        shape = (2, self.gain.size, 2)

        def sums(band: tuple[int, int]) -> Array:
            out = np.empty(shape)
            pool_sums(*band, self.store.n, self.store.m2, self.imaging, keep, out)
            return out

        # Added band by band, in order: the same bits for any number of threads.
        total = np.zeros(shape)
        for part in self.executor.map(sums, self.ranges):
            total += part
        freedom = total[..., 1]
        v = np.where(freedom > 0, total[..., 0] / np.maximum(freedom, 1), np.nan)
        return v, freedom

    def members(self, region: int) -> Array:
        """Fittable pixels of a region."""
        return np.flatnonzero(self.fitted & (self.imaging == bool(region)))

    def charge(self, region: int, level: Array) -> Array:
        """C + t D of each stack."""
        charge: Array = level[0] + self.time * (level[1] if region else 0.0)
        return charge


def fit_pooled(
    store: StackStore,
    stacks: Sequence[Stack],
    weighting: bool,
    imaging: Array,
    skip: tuple[int, int],
    executor: Executor,
    gain_error: float = 0.0,
) -> tuple[Fit, PooledNoise]:
    """Fit F, C and D with honest errors.

    Parameters
    ----------
    store : StackStore
        Moments.
    stacks : sequence of Stack
        Gains and times.
    weighting : bool
        Weights by pooled variances, or equal ones; errors from the same variances.
    imaging : ndarray of bool, shape (pixels,)
        Where there is dark current.
    skip : tuple of int
        Pixels of the telemetry rows: first and last plus one.
    executor : Executor
        Who computes.
    gain_error : float
        Relative 1-sigma error of each stack's gain, added to the errors.

    Returns
    -------
    fit : Fit
        Parameters, errors, correlations, quality.
    noise : PooledNoise
        Variances and noise model.

    Raises
    ------
    CalDarksLSQException
        No pixel of any stack is good in two frames.
    """
    pixels = store.n.shape[1]
    fit = Fit.empty(len(stacks), pixels, store.flags.dtype, residuals=False)
    gain, _ = design(stacks)
    time = np.array([stack.exposure_time for stack in stacks], dtype=np.float64)
    work = _Work(
        store, gain, time, imaging, bands(pixels, skip), executor, np.zeros(pixels, dtype=bool)
    )
    first = _first_fit(work, fit)
    hot, scale = _hot_pixels(work, first)
    regions = _noise(work, first, hot, scale)
    above = _above(work, regions, first, hot)
    del first
    for region in regions:
        if region is not None:
            region.kind = _kind(region, store.err2, weighting)
    # The buffer of the scales is not needed any more.
    own, slope = scale, np.empty_like(scale)
    _second_fit(work, fit, above, _tables(regions, gain.size), own, slope)
    for index, region in enumerate(regions):
        if region is not None:
            _spread(work, index, region, hot, fit.values[1:], own, slope)
    parts = _final(work, fit, above, _tables(regions, gain.size), gain_error)
    fit.mean_derivatives(parts)
    fit.blank(*skip)
    return fit, PooledNoise(*regions)


def _first_fit(work: _Work, fit: Fit) -> Array:
    """C and D with weights n, shape (2, pixels); which pixels can be fitted."""
    first = np.empty((2, work.imaging.size))
    work.sweep(
        first_sweep,
        work.store.n,
        work.store.mean,
        work.store.flags,
        work.imaging,
        first,
        fit.stacks_used,
        work.fitted,
        fit.dq,
    )
    return first


def _second_fit(
    work: _Work, fit: Fit, above: Array, tables: dict[str, Array], own: Array, slope: Array
) -> None:
    """F, C and D with the final weights."""
    work.sweep(
        second_sweep,
        work.store.n,
        work.store.mean,
        work.store.err2,
        work.imaging,
        work.fitted,
        above,
        tables["v"],
        tables["kappa"],
        tables["kind"],
        fit.values,
        own,
        slope,
    )


def _final(
    work: _Work, fit: Fit, above: Array, tables: dict[str, Array], gain_error: float
) -> list[Array]:
    """Last sweep: errors and quality; returns the bands' sums of gain derivatives."""
    store = work.store

    def finish(band: tuple[int, int]) -> Array:
        moved = np.empty((work.gain.size + 1, 3))
        final_sweep(
            *band,
            work.gain,
            work.time,
            store.n,
            store.mean,
            store.m2,
            store.err2,
            work.imaging,
            work.fitted,
            above,
            tables["v"],
            tables["kappa"],
            tables["kind"],
            tables["floor"],
            tables["level"],
            tables["spread"],
            tables["gate"],
            gain_error,
            fit.values,
            fit.errors,
            fit.correlations,
            fit.chi2,
            fit.r_squared,
            moved,
        )
        return moved

    return work.executor.map(finish, work.ranges)


def _hot_pixels(work: _Work, first: Array) -> tuple[Array, Array]:
    """Pixels that even a lucky electron cannot explain, and the scale u^2 of C and D.

    Method page, eq. 3 (hot): C or D of the first fit above median + 5 MAD u +
    9.2 J, where u puts pixels with different masks on one scale and J is what one average
    electron does.
    """
    pixels = work.imaging.size
    v0, freedom0 = work.pools(work.fitted)
    if not (freedom0 > 0).any():
        raise CalDarksLSQException(
            "no pixel of any stack is good in two frames, so no scatter tells the error; add frames"
        )
    known = [np.nanmax(row) if np.isfinite(row).any() else np.nanmax(v0) for row in v0]
    v0 = np.where(np.isfinite(v0), v0, np.array(known)[:, None])
    scale, jump = np.empty((2, pixels)), np.empty((2, pixels))
    work.sweep(hot_scale_sweep, work.store.n, v0, work.imaging, work.fitted, scale, jump)
    hot = np.zeros(pixels, dtype=bool)
    for region in (0, 1):
        at = work.members(region)
        if at.size == 0:
            continue
        level = np.array([first[0, at].mean(), first[1, at].mean()])
        kappa = fit_noise(work.gain, work.charge(region, level), v0[region], freedom0[region]).kappa
        for k in range(1 + region):
            above = first[k, at] - np.median(first[k, at])
            u = np.sqrt(scale[k, at])
            u = np.where(u > 0, u, 1.0)
            mad = 1.4826 * np.median(np.abs(above) / u)
            hot[at] |= above > HOT_MAD * mad * u + HOT_JUMP * kappa / 2 * jump[k, at]
    return hot, scale


def _noise(work: _Work, first: Array, hot: Array, scale: Array) -> list[Region | None]:
    """Pools over the pixels that are not hot, and the noise model of each region."""
    v, freedom = work.pools(work.fitted & ~hot)
    regions: list[Region | None] = []
    for region in (0, 1):
        at = work.members(region)
        cold = at[~hot[at]]
        if at.size == 0:
            regions.append(None)
            continue
        # A region in which no pixel is good twice takes the variances of the other.
        source = region if (freedom[region] > 0).any() else 1 - region
        level = np.zeros(2)
        for k in range(1 + region):
            level[k] = weighted_level(first[k, cold], scale[k, cold])
        charge = work.charge(region, level)
        model = fit_noise(work.gain, charge, v[source], freedom[source])
        pooled = _with_model(work.gain, charge, v[source], freedom[source], model)
        noiseless = not (pooled > 0).any()
        regions.append(Region(pooled, freedom[region], model, COUNTS, noiseless, level))
    return regions


def _with_model(gain: Array, charge: Array, v: Array, freedom: Array, model: NoiseModel) -> Array:
    """Pools with the noise model beside them: nothing for many pixels, all for a lone frame."""
    if not (np.nan_to_num(v) > 0).any():
        return np.zeros(gain.shape)
    kurtosis = kurtosis_ratio(model.kappa) * gain**4 * np.maximum(charge, 0)
    effective = freedom * 2 / (2 + kurtosis / np.maximum(model.variance, 1e-300) ** 2)
    effective = np.where(np.nan_to_num(v) < SUSPECT * model.variance, 0.0, effective)
    joint = (effective * np.nan_to_num(v) + MODEL_FREEDOM * model.variance) / (
        effective + MODEL_FREEDOM
    )
    positive: Array = np.maximum(joint, 1e-12 * joint.max())
    return positive


def _above(work: _Work, regions: Sequence[Region | None], first: Array, hot: Array) -> Array:
    """C and D of hot pixels above the pool, for their weights; 0 for all others."""
    above = np.zeros_like(first)
    for index, region in enumerate(regions):
        if region is None:
            continue
        at = np.flatnonzero(hot & (work.imaging == bool(index)))
        for k in range(1 + index):
            above[k, at] = first[k, at] - region.level[k]
    return above


def _kind(region: Region, err2: Array | None, weighting: bool) -> int:
    if not weighting:
        return EQUAL
    if region.noiseless:
        if err2 is None or not (err2 > 0).any():
            return COUNTS  # nothing tells the stacks apart but their frames
        # Input errors alone: keep weights finite where a pixel has none.
        region.v = np.full_like(region.v, 1e-9 * float(np.median(err2[err2 > 0])))
    return POOLED


def _spread(
    work: _Work, index: int, region: Region, hot: Array, values: Array, own: Array, slope: Array
) -> None:
    """How much C and D differ between pixels, beyond their errors, and whether to follow."""
    at = work.members(index)
    cold = at[~hot[at]]
    for k in range(1 + index):
        x, error2 = values[k, cold], own[k, cold]
        region.level[k] = weighted_level(x, error2)
        region.spread[k] = spread_of(x, error2)
        mean = error2.mean() if cold.size else 0.0
        if mean > 0:
            tau = np.sqrt(region.spread[k]) * slope[k, cold].mean() / mean
            region.gate[k] = np.clip((tau - GATE[0]) / (GATE[1] - GATE[0]), 0.0, 1.0)


def _tables(regions: Sequence[Region | None], stacks: int) -> dict[str, Array]:
    """Numbers of both regions as the kernels take them: [region, stack] or [region, C or D]."""

    def table(name: str, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
        out = np.zeros((2, *shape), dtype)
        for index, region in enumerate(regions):
            if region is not None:
                out[index] = getattr(region, name)
        return out

    return {
        "v": table("v", (stacks,)),
        "kappa": table("kappa", ()),
        "kind": table("kind", (), np.int64),
        "floor": table("floor", (stacks,)),
        "level": table("level", (2,)),
        "spread": table("spread", (2,)),
        "gate": table("gate", (2,)),
    }
