"""The pooled estimator: weights from variances pooled over pixels, errors shrunk towards them.

The estimator "frames" is the same with other weights: powers of the number of good samples.

Regions - the imaging area, and the pixels outside it - never share a number. The steps
are those of the method page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks._core import COUNTS, EQUAL, HOT, POOLED, SQUARES, UNFITTED
from emdarks.accumulate import Executor
from emdarks.errors import CalDarksLSQException
from emdarks.fit.least_squares import Fit, bands, fit_data
from emdarks.fit.noise_model import HOT_JUMP, ONSET, V_FLOOR, NoiseModel, fit_noise, kurtosis_ratio
from emdarks.fit.robust_statistics import Group, intrinsic_variance, population
from emdarks.stacks import Stack, StackStore
from emdarks.stacks.design import design
from emdarks.stacks.model import FULL, Model

Array = npt.NDArray[Any]

HOT_MAD = 5.0
#: Weight of the noise model beside a stack's pool, in degrees of freedom.
MODEL_DOF = 50.0
#: A pool below this share of the model comes from identical frames.
SUSPECT = 0.01
#: Kinds of weights that are a power of the number of good samples.
_POWERS = {1: COUNTS, 2: SQUARES}


@dataclass(slots=True)
class Region:
    """Numbers of one region, by stack: variances, noise model, prior of C and D."""

    v: Array
    dof: Array
    model: NoiseModel
    kind: int
    noiseless: bool
    prior_mean: Array = field(default_factory=lambda: np.zeros(2))
    intrinsic: Array = field(default_factory=lambda: np.zeros(2))
    onset: Array = field(default_factory=lambda: np.zeros(2))

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
    """What the sweeps share; ``group`` tells region, hot and unfittable pixels apart."""

    data: _core.FitData
    gain: Array
    time: Array
    ranges: list[tuple[int, int]]
    executor: Executor
    group: Array
    model: Model = FULL
    d_everywhere: bool = False

    def parameters(self, region: int) -> list[int]:
        """Which of C (0) and D (1) are fitted in a region."""
        has_d = self.model.has_d and (region == 1 or self.d_everywhere)
        return [0] * self.model.has_c + [1] * has_d

    def sweep(self, kernel: Callable[..., None], *arguments: Any) -> None:
        """Run a kernel over all bands of pixels."""
        self.executor.map(lambda band: kernel(*band, *arguments), self.ranges)

    def sums(self, shape: tuple[int, ...], kernel: Callable[..., None], *arguments: Any) -> Array:
        """Sums that a kernel takes over bands, added in order: the same for any executor."""

        def part(band: tuple[int, int]) -> Array:
            out = np.empty(shape)
            kernel(*band, *arguments, out)
            return out

        total = np.zeros(shape)
        for some in self.executor.map(part, self.ranges):
            total += some
        return total

    def members(self, region: int) -> Group:
        """Pixels of a region that are fitted and, once that is known, not hot."""
        return Group(self.group, region, self.ranges, self.executor)

    def charge(self, level: Array) -> Array:
        """C + t D of each stack; D is 0 where it is not fitted."""
        charge: Array = level[0] + self.time * level[1]
        return charge


def fit_pooled(
    store: StackStore,
    stacks: Sequence[Stack],
    weighting: bool,
    imaging: Array,
    skip: tuple[int, int],
    executor: Executor,
    gain_error: float = 0.0,
    model: Model = FULL,
    weight_power: int | None = None,
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
    model : Model
        Which of F, C and D are fitted; the others are 0.
    weight_power : {1, 2}, optional
        The estimator "frames": weights are this power of the number of good samples instead, and
        D is fitted outside the imaging area, too. Method page, eq. 21 (nweights).

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
    everywhere = weight_power is not None
    data = fit_data(store, stacks, imaging, model, everywhere)
    group = np.full(pixels, UNFITTED, np.int8)
    work = _Work(data, gain, time, bands(pixels, skip), executor, group, model, everywhere)
    v0, dof0 = _survey(work, fit)
    # Planes of the result that are not yet needed hold what is needed on the way.
    scale, jump = fit.errors[1:], fit.correlations[1:]
    work.sweep(_core.first_sweep, data, v0, fit.values, scale, jump)
    _mark_hot(work, v0, dof0, fit.values[1:], scale, jump)
    regions = _noise(work, fit.values[1:], scale)
    hot, excess = _excess(work, regions, fit.values[1:])
    for region in regions:
        if region is not None:
            region.kind = _kind(region, store.err2, weighting, weight_power)
    error2 = fit.errors[1:]
    tables = _tables(regions, gain.size, hot, excess)
    slopes = work.sums((2, 2), _core.second_sweep, data, group, tables, fit.values, error2)
    for index, region in enumerate(regions):
        if region is not None:
            _prior(work, index, region, fit.values[1:], error2, slopes[index])
    _final(work, fit, _tables(regions, gain.size, hot, excess), gain_error)
    fit.blank(*skip)
    return fit, PooledNoise(*regions)


def _survey(work: _Work, fit: Fit) -> tuple[Array, Array]:
    """Which pixels can be fitted; pooled variances, [region, stack], and degrees of freedom."""
    total = work.sums(
        (2, work.gain.size, 2),
        _core.survey,
        work.data,
        work.group,
        fit.stacks_used,
        fit.dq,
    )
    v0, dof = _pools(total)
    if not (dof > 0).any():
        raise CalDarksLSQException(
            "no pixel of any stack is good in two frames, so no scatter tells the error; add frames"
        )
    known = [np.nanmax(row) if np.isfinite(row).any() else np.nanmax(v0) for row in v0]
    return np.where(np.isfinite(v0), v0, np.array(known)[:, None]), dof


def _pools(total: Array) -> tuple[Array, Array]:
    """Pooled variance and its degrees of freedom of sums of M2 and n - 1."""
    dof = total[..., 1]
    return np.where(dof > 0, total[..., 0] / np.maximum(dof, 1), np.nan), dof


def _final(work: _Work, fit: Fit, tables: _core.NoiseTables, gain_error: float) -> None:
    """Last sweep: errors and quality."""

    def finish(band: tuple[int, int]) -> Array:
        moved = np.empty((work.gain.size + 1, 3))
        _core.final_sweep(
            *band,
            work.data,
            work.group,
            tables,
            gain_error,
            fit.stacks_used,
            fit.values,
            fit.errors,
            fit.correlations,
            fit.chi2,
            fit.r_squared,
            moved,
        )
        return moved

    fit.mean_derivatives(work.executor.map(finish, work.ranges))


def _mark_hot(work: _Work, v0: Array, dof0: Array, first: Array, scale: Array, jump: Array) -> None:
    """Mark the pixels that even a lucky electron cannot explain.

    Method page, eq. 3 (hot): C or D of the first fit above median + 5 MAD u +
    9.2 J, where u puts pixels with different masks on one scale and J is what one average
    electron does.
    """
    limits = np.full((2, 2, 3), np.inf)
    for region in (0, 1):
        members = work.members(region)
        count, level = members.means(first)
        if count == 0:
            continue
        level = _known(work, region, level)
        kappa = fit_noise(work.gain, work.charge(level), v0[region], dof0[region]).kappa
        for k in work.parameters(region):
            middle = members.median(first[k])
            mad = 1.4826 * _core.median_deviation(first[k], scale[k], middle, *members.pixels)
            limits[region, k] = middle, HOT_MAD * mad, HOT_JUMP * kappa / 2
    work.sweep(_core.mark_hot, first, scale, jump, limits, work.group)


def _noise(work: _Work, first: Array, scale: Array) -> list[Region | None]:
    """Pools over the pixels that are not hot, and the noise model of each region."""
    shape = 2, work.gain.size, 2
    v, dof = _pools(work.sums(shape, _core.pool_sweep, work.data, work.group))
    regions: list[Region | None] = []
    for region in (0, 1):
        cold = work.members(region)
        if not ((work.group == region) | (work.group == region + HOT)).any():
            regions.append(None)
            continue
        # A region in which no pixel is good twice takes the variances of the other.
        source = region if (dof[region] > 0).any() else 1 - region
        level = np.zeros(2)
        for k in work.parameters(region):
            level[k] = population(cold, first[k], scale[k]).mean
        charge = work.charge(level)
        model = fit_noise(work.gain, charge, v[source], dof[source])
        pooled = _with_model(work.gain, charge, v[source], dof[source], model)
        noiseless = not (pooled > 0).any()
        _charge_at_zero(work, model, level)
        regions.append(Region(pooled, dof[region], model, COUNTS, noiseless, level))
    return regions


def _known(work: _Work, region: int, level: Array) -> Array:
    """C and D, 0 where they are not fitted."""
    fitted = work.parameters(region)
    return np.array([level[k] if k in fitted else 0.0 for k in (0, 1)])


def _charge_at_zero(work: _Work, model: NoiseModel, level: Array) -> None:
    """Charge of a frame of no exposure in the place of C, where all stacks have one gain.

    What is left of the variance at time 0 is read noise and the noise of C, and nothing tells
    them apart. As charge it has the longer tail: no tail is then taken for a noisy pixel, and
    where it is read noise the tail is short beside it.
    """
    if not work.model.has_c and model.kappa > 0:
        level[0] = model.read_noise2 / (model.kappa * work.gain[0] ** 2)


def _with_model(gain: Array, charge: Array, v: Array, dof: Array, model: NoiseModel) -> Array:
    """Pools with the noise model beside them: nothing for many pixels, all for a lone frame."""
    if not (np.nan_to_num(v) > 0).any():
        return np.zeros(gain.shape)
    kurtosis = kurtosis_ratio(model.kappa) * gain**4 * np.maximum(charge, 0)
    effective = dof * 2 / (2 + kurtosis / np.maximum(model.variance, 1e-300) ** 2)
    effective = np.where(np.nan_to_num(v) < SUSPECT * model.variance, 0.0, effective)
    joint = (effective * np.nan_to_num(v) + MODEL_DOF * model.variance) / (effective + MODEL_DOF)
    positive: Array = np.maximum(joint, 1e-12 * joint.max())
    return positive


def _excess(work: _Work, regions: Sequence[Region | None], first: Array) -> tuple[Array, Array]:
    """Hot pixels, and their C and D above the pool, for their weights."""
    hot = np.flatnonzero(work.group >= HOT)
    excess = np.zeros((2, hot.size))
    for index, region in enumerate(regions):
        at = np.flatnonzero(work.group[hot] == HOT + index)
        for k in work.parameters(index) if region is not None else []:
            assert region is not None
            excess[k, at] = first[k, hot[at]] - region.prior_mean[k]
    return hot, excess


def _kind(region: Region, err2: Array | None, weighting: bool, weight_power: int | None) -> int:
    if not weighting:
        return EQUAL
    if weight_power is not None:
        return _POWERS[weight_power]
    if region.noiseless:
        if err2 is None or not (err2 > 0).any():
            return COUNTS  # nothing tells the stacks apart but their frames
        # Input errors alone: keep weights finite where a pixel has none.
        region.v = np.full_like(region.v, 1e-9 * float(np.median(err2[err2 > 0])))
    return POOLED


def _prior(
    work: _Work, index: int, region: Region, values: Array, error2: Array, slopes: Array
) -> None:
    """Prior mean and intrinsic variance of C and D over pixels, and the onset of shrinkage."""
    cold = work.members(index)
    for k in work.parameters(index):
        found = population(cold, values[k], error2[k])
        region.prior_mean[k], region.intrinsic[k] = (
            found.mean,
            intrinsic_variance(cold, values[k], error2[k], found),
        )
        if found.error2 > 0:
            tau = np.sqrt(region.intrinsic[k]) * slopes[k] / found.size / found.error2
            region.onset[k] = np.clip((tau - ONSET[0]) / (ONSET[1] - ONSET[0]), 0.0, 1.0)


def _tables(
    regions: Sequence[Region | None], stacks: int, hot: Array, excess: Array
) -> _core.NoiseTables:
    """Numbers of both regions as the kernels take them: [region, stack] or [region, C or D]."""

    def table(name: str, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
        out = np.zeros((2, *shape), dtype)
        for index, region in enumerate(regions):
            if region is not None:
                out[index] = getattr(region, name)
        return out

    return _core.NoiseTables(
        v=table("v", (stacks,)),
        kappa=table("kappa", ()),
        kind=table("kind", (), np.int64),
        floor=table("floor", (stacks,)),
        prior_mean=table("prior_mean", (2,)),
        intrinsic=table("intrinsic", (2,)),
        onset=table("onset", (2,)),
        hot=hot,
        excess=excess,
    )
