"""The counting estimator: F, C and D from counts and clipped sums of each stack.

Least squares on means cannot tell the charge of cosmic rays below the flagging level from dark
current. Counts of samples above a threshold and sums of what lies below it can: they are finer
than means where the register amplifies (an electron counts as one, however much it was
amplified), and the large charge of a ray counts as one, too, or not at all. The law of a sample
stands in `src/core/law.hpp`, the steps of the fit in `src/core/counting.hpp`; the steps here are
those of the method page.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks._core import HOT, UNFITTED
from emdarks.accumulate import Executor
from emdarks.counting_sums import LOW_GAIN
from emdarks.errors import CalDarksLSQException
from emdarks.fit.counting_errors import Expectations, curvature_bias, errors_of_the_pool
from emdarks.fit.counting_terms import SCALE, Pools, RayTerms, SlopeEquations
from emdarks.fit.least_squares import bands
from emdarks.one_electron import one_electron

Array = npt.NDArray[Any]

ROUNDS, STEPS = 3, 2
#: Hot: so many MAD above the median. Weak: an error of so many median errors.
HOT_MAD, WEAK = 6.0, 5.0
#: Robust scatter of ordinary pixels, at least, in median errors. Where more than half of the pixels
#: counted nothing, these are all alike, and a pixel that counted one electron would be hot.
LEAST_SCATTER = 0.9
#: Electrons counted in an ordinary pixel below which the fit goes astray.
LEAST_COUNTED = 0.1
#: A pixel above this charge that lost its stacks is still hot.
HOT_CHARGE = 0.5
#: Errors follow the pixel from c S = 0.12 on, fully at 0.22.
FOLLOW_FROM, FOLLOW_RANGE = 0.12, 0.1
#: Group of pixels that lost stacks: fitted as others, but in no pool.
WEAK_GROUP = -2
#: Pixels of a mean of matrices.
FEW_PIXELS = 20_000
_MAD = 1.4826
#: Where C and D stand in the six numbers of a covariance.
_CC, _DD = 3, 5


@dataclass(frozen=True, slots=True)
class CountedStacks:
    """Stacks with moments, counts and clipped sums.

    Attributes
    ----------
    gain, commanded, time : ndarray, shape (stacks,)
        EM gain of the law, as commanded, and exposure time.
    T, T2, flagged : ndarray, shape (stacks,)
        Thresholds, and the lowest level from which on samples may be flagged.
    read_noise : float
        Of the law, e-.
    nominal_noise : float
        Nominal: statistics are chosen by it.
    stages : float
        Stages of the gain register.
    n, mean, m2 : ndarray, shape (stacks, pixels)
        Moments.
    above, beyond, near, near_above, low, high : ndarray, shape (stacks, pixels)
        See `emdarks.counting_sums`; the last two in float32.
    imaging : ndarray of bool, shape (pixels,)
        Where there is dark current.
    shape : tuple of int
        Rows and columns.
    skip : tuple of int
        Pixels of the telemetry rows: first and last plus one.
    """

    gain: Array
    commanded: Array
    time: Array
    T: Array
    T2: Array
    flagged: Array
    read_noise: float
    nominal_noise: float
    stages: float
    n: Array
    mean: Array
    m2: Array
    above: Array
    beyond: Array
    near: Array
    near_above: Array
    low: Array
    high: Array
    imaging: Array
    shape: tuple[int, int]
    skip: tuple[int, int] = (0, 0)

    @property
    def is_low(self) -> Array:
        """Stacks of low gain."""
        low: Array = self.commanded < LOW_GAIN * self.nominal_noise
        return low

    @property
    def electron(self) -> Array:
        """What one electron becomes, shape (stacks, 5); see `one_electron`."""
        noise, stages = self.read_noise, self.stages
        each = [
            one_electron(g, noise, stages, T)
            for g, T in zip(self.gain.tolist(), self.T.tolist(), strict=True)
        ]
        return np.array(each)

    @property
    def squares(self) -> Array:
        """Mean square of what one electron becomes, shape (stacks,)."""
        n = np.arange(self.electron.shape[1])
        mean: Array = self.gain**2 * (self.electron @ (n * (n + 1.0)))
        return mean

    @property
    def counted(self) -> float:
        """Electrons counted in an ordinary pixel of the imaging area, in all stacks.

        By the share of pixels that counted none, which hot pixels hardly change.
        """
        inside = self.imaging & (self.n > 0).any(axis=0)
        some = np.zeros(self.imaging.shape, bool)
        for i in np.flatnonzero(~self.is_low):
            some |= self.above[i] > 0
        none = 1.0 - float(some[inside].mean()) if inside.any() else 1.0
        return abs(math.log(none)) if none > 0 else math.inf

    def data(self, error2: Array) -> _core.CountingData:
        """As the kernels take them."""
        settings = self.gain, self.commanded, self.time, self.T, self.T2, self.flagged
        counts = self.above, self.beyond, self.near, self.near_above, self.low, self.high
        moments = self.n, self.mean, self.m2
        noise = self.read_noise, self.nominal_noise
        return _core.CountingData(
            *settings, self.is_low, self.electron, noise, *moments, *counts, self.imaging, error2
        )

    def check(self) -> None:
        """Refuse stacks that the estimator cannot work with.

        Raises
        ------
        CalDarksLSQException
            Samples below T2 are flagged, there are too few settings, or too few electrons.
        """
        for gain, level, T2 in zip(self.commanded, self.flagged, self.T2, strict=True):
            if not level > T2:
                raise CalDarksLSQException(
                    f"EM gain {gain:g}: samples are flagged from {level:.6g} e- on, below the "
                    f"{T2:.6g} e- up to which the counting estimator needs them all; leave this "
                    "gain out, or use the pooled estimator"
                )
        if not _core.design_rank(self.gain, self.gain * self.time):
            raise CalDarksLSQException(
                "the gains and times of the stacks cannot tell F, C and D apart; the counting "
                "estimator needs two of each, or use the pooled estimator"
            )
        if self.counted < LEAST_COUNTED:
            raise CalDarksLSQException(
                f"{self.counted:.2g} electrons are counted in an ordinary pixel of all frames "
                f"together, and the counting estimator needs {LEAST_COUNTED:g}; add frames of high "
                "EM gain or of long exposure times, or use the pooled estimator"
            )


@dataclass(frozen=True, slots=True)
class Start:
    """What the pooled fit found: which pixels can be fitted, and hot ones.

    Attributes
    ----------
    values, errors : ndarray, shape (3, pixels)
        F, C, D and their errors; NaN errors where no fit is possible.
    """

    values: Array
    errors: Array


@dataclass(slots=True)
class CountingFit:
    """Result of the fit.

    Attributes
    ----------
    values : ndarray, shape (3, pixels)
        F, C and D, signed; D is 0 outside the imaging area.
    covariance : ndarray, shape (6, pixels)
        FF, FC, FD, CC, CD, DD; NaN where no fit is possible.
    chi2 : ndarray, shape (pixels,)
        Reduced chi-square of the statistics.
    group : ndarray of int8, shape (pixels,)
        0 outside and 1 inside the imaging area, HOT more where hot, UNFITTED, `WEAK_GROUP`.
    level : ndarray, shape (2, 3)
        Means of F, C and D over ordinary pixels, outside and in the imaging area.
    spread : ndarray, shape (2, 2)
        Variance of the true C and D over ordinary pixels.
    follow, inflation : ndarray, shape (2, 2)
        How far errors follow the pixel, and the factor on variances of C and D.
    rays : RayTerms
        What rays add.
    """

    values: Array
    covariance: Array
    chi2: Array
    group: Array
    level: Array
    spread: Array
    follow: Array
    inflation: Array
    rays: RayTerms

    @property
    def errors(self) -> Array:
        """Of F, C and D."""
        found: Array = np.sqrt(self.covariance[[0, _CC, _DD]])
        return found

    @property
    def correlations(self) -> Array:
        """F-C, F-D, C-D; 0 where an error is 0."""
        F, C, D = self.errors
        products = np.stack([F * C, F * D, C * D])
        found = np.zeros_like(products)
        np.divide(self.covariance[[1, 2, 4]], products, out=found, where=products > 0)
        return found

    def members(self, region: int) -> Array:
        """Ordinary pixels of a region."""
        ordinary: Array = self.group == region
        return ordinary

    @property
    def hot(self) -> Array:
        """Hot pixels."""
        hot: Array = self.group >= HOT
        return hot

    @property
    def weak(self) -> Array:
        """Pixels that lost stacks."""
        weak: Array = self.group == WEAK_GROUP
        return weak


@dataclass(slots=True)
class _Work:
    """The rounds of one fit."""

    stacks: CountedStacks
    executor: Executor
    fit: CountingFit
    error2: Array
    naive: Array
    ranges: list[tuple[int, int]] = field(default_factory=list)

    @property
    def regions(self) -> list[int]:
        """Regions that have pixels to fit: 0 outside, 1 inside the imaging area."""
        imaging = self.stacks.imaging[self.fit.group != UNFITTED]
        return [region for region in (0, 1) if (imaging if region else ~imaging).any()]

    def each(self, kernel: Callable[..., Any], *arguments: Any) -> None:
        """Run a kernel over all bands of pixels."""
        self.executor.map(lambda band: kernel(*band, *arguments), self.ranges)

    def terms(self) -> _core.CountingTerms:
        """What the pixels share, as the kernels take it."""
        fit = self.fit
        level = np.ascontiguousarray(fit.level[:, 1:])
        return _core.CountingTerms(level, fit.spread, fit.follow, *fit.rays.planes)

    def pools(self) -> tuple[Pools, Pools]:
        """Sums over ordinary pixels, outside and in the imaging area."""
        far = self._far()
        data, terms, fit = self.stacks.data(self.error2), self.terms(), self.fit

        def part(band: tuple[int, int]) -> Array:
            out = np.empty((2 * self.stacks.gain.size, len(_core.COUNTING_POOLS)))
            _core.counting_pools(*band, data, terms, fit.group, far, fit.values, out)
            return out

        total = np.zeros((2 * self.stacks.gain.size, len(_core.COUNTING_POOLS)))
        for some in self.executor.map(part, self.ranges):
            total += some
        return Pools.of(total, 0), Pools.of(total, 1)

    def _far(self) -> Array:
        """1 where no hot pixel is so near that its samples are cores of its neighbours."""
        near = self.fit.hot.reshape(self.stacks.shape)
        for axis in (0, 1):
            near = _dilated(near, axis, _core.CORE_REACH)
        return (~near.reshape(-1)).astype(np.int8)


def _dilated(mask: Array, axis: int, reach: int) -> Array:
    """Where the mask is set within ``reach`` along an axis."""
    found = mask.copy()
    for step in range(1, reach + 1):
        later = [slice(None)] * 2
        earlier = [slice(None)] * 2
        later[axis], earlier[axis] = slice(step, None), slice(None, -step)
        found[tuple(later)] |= mask[tuple(earlier)]
        found[tuple(earlier)] |= mask[tuple(later)]
    return found


def fit_counting(stacks: CountedStacks, start: Start, executor: Executor) -> CountingFit:
    """Fit F, C and D by counts and clipped sums.

    Parameters
    ----------
    stacks : CountedStacks
        The sums.
    start : Start
        The pooled fit.
    executor : Executor
        Who computes.

    Returns
    -------
    CountingFit
        Parameters, covariances, and what the pixels share.

    Raises
    ------
    CalDarksLSQException
        See `CountedStacks.check`; or the samples do not follow the law, so that the equations
        cannot be solved.
    """
    stacks.check()
    work = _begin(stacks, start, executor)
    try:
        for number in range(ROUNDS):
            _round(work, number)
    except (np.linalg.LinAlgError, ValueError) as error:
        raise CalDarksLSQException(
            f"the samples are far from what the counting estimator takes them for ({error}): read "
            f"noise {stacks.read_noise:.4g} EM electrons, thresholds for {stacks.nominal_noise:.4g}"
            "; look at unit, k-gain and read noise (read_noise, --read-noise), or use the pooled "
            "estimator"
        ) from None
    fit = work.fit
    for region in (0, 1):
        where = stacks.imaging == bool(region)
        factor = np.sqrt(np.array([1.0, *fit.inflation[region]]))
        for k, (a, b) in enumerate(((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))):
            if factor[a] * factor[b] != 1.0:
                fit.covariance[k, where] *= factor[a] * factor[b]
    lost = fit.group == UNFITTED
    fit.values[:, lost], fit.covariance[:, lost], fit.chi2[lost] = 0.0, np.nan, np.nan
    return fit


def _begin(stacks: CountedStacks, start: Start, executor: Executor) -> _Work:
    """Values to start from, and the groups of the pixels."""
    pixels = stacks.n.shape[1]
    group = np.where(np.isfinite(start.errors[0]), stacks.imaging, UNFITTED).astype(np.int8)
    fit = CountingFit(
        np.zeros((3, pixels)),
        np.full((6, pixels), np.nan),
        np.full(pixels, np.nan),
        group,
        np.zeros((2, 3)),
        np.zeros((2, 2)),
        np.zeros((2, 2)),
        np.ones((2, 2)),
        RayTerms.none(stacks.gain.size),
    )
    work = _Work(stacks, executor, fit, np.zeros((2, pixels)), np.full((6, pixels), np.nan))
    work.ranges = bands(pixels, stacks.skip)
    for region in (0, 1):
        members = fit.members(region)
        if members.any():
            _start_region(work, region, members, start)
    return work


def _start_region(work: _Work, region: int, members: Array, start: Start) -> None:
    """F from samples below T of the lowest gain; C, D and hot pixels from the pooled fit."""
    fit, k = work.fit, 1 + region
    x, e2 = start.values[k], start.errors[k] ** 2
    hot, _ = _hot_and_weak(x, np.zeros_like(x), members)
    cold = members & ~hot
    level = np.array(
        [_level_below(work.stacks, cold), *(start.values[k, cold].mean() for k in (1, 2))]
    )
    least = np.median(np.sqrt(np.maximum(e2[cold], 0))) / 10
    level[1:] = np.maximum(level[1:], [1e-4, least if region else 0.0])
    if region == 0:
        level[2] = 0.0
    fit.level[region] = level
    fit.values[:, members] = level[:, None]
    fit.values[k, hot] = np.maximum(x[hot], level[k])
    fit.group[hot] += HOT


def _level_below(stacks: CountedStacks, members: Array) -> float:
    """Median over pixels of the mean of the samples below T, at the lowest gain."""
    lowest = np.flatnonzero(stacks.commanded == stacks.commanded.min())
    total, count = np.zeros(members.sum()), np.zeros(members.sum())
    for i in lowest:
        n = stacks.n[i, members] * 1.0 - stacks.above[i, members] - stacks.beyond[i, members]
        total += stacks.T[i] * n + stacks.low[i, members]
        count += n
    return float(np.median(total[count > 0] / count[count > 0])) if (count > 0).any() else 0.0


def _hot_and_weak(x: Array, error2: Array, members: Array) -> tuple[Array, Array]:
    """Pixels far above the median, measured with their own errors; and those with large errors."""
    hot, weak = np.zeros(x.shape, bool), np.zeros(x.shape, bool)
    own, error = x[members], np.sqrt(np.maximum(error2[members], 0.0))
    if not own.size:
        return hot, weak
    middle, typical = np.median(own), max(float(np.median(error)), 1e-300)
    mad = _MAD * float(np.median(np.abs(own - middle)))
    mad = max(mad, LEAST_SCATTER * float(np.median(error)))
    hot[members] = own > middle + HOT_MAD * mad * np.maximum(error / typical, 1.0)
    weak[members] = error > WEAK * typical
    return hot, weak


def _round(work: _Work, number: int) -> None:
    """Fit, group the pixels, and bring what they share up to date."""
    fit, stacks = work.fit, work.stacks
    before = fit.values[1:].copy()
    if number == 0:
        fit.follow[:] = 0.0
    data, terms = stacks.data(work.error2), work.terms()
    sums = work.naive, fit.covariance, fit.chi2
    work.each(_core.counting_sweep, data, terms, fit.group, STEPS, fit.values, *sums)
    np.copyto(work.error2, work.naive[[_CC, _DD]])
    for region in work.regions:
        _straighten(work, region)
        _regroup(work, region, before[region])
        if fit.members(region).any():
            _spread(work, region, number)
    pools = work.pools()
    for region in work.regions:
        fit.rays.set_plain(region, pools[region], stacks.squares, stacks.read_noise)
    _rays(work, pools[1])


def _regroup(work: _Work, region: int, before: Array) -> None:
    """Tell ordinary, hot and weak pixels apart."""
    fit, k = work.fit, 1 + region
    where = (work.stacks.imaging == bool(region)) & (fit.group != UNFITTED)
    lost = where & ~(np.isfinite(fit.values).all(axis=0) & np.isfinite(work.naive[0]))
    fit.group[lost] = UNFITTED
    members = where & ~lost
    was_hot = fit.group >= HOT
    error2 = work.error2[region].copy()
    asked = np.flatnonzero(was_hot & members)
    error2[asked] = _errors_if_ordinary(work.stacks, fit.level[region], region, asked)
    hot, weak = _hot_and_weak(fit.values[k], error2, members)
    time = work.stacks.time.max() if region else 0.0
    charge = fit.level[region, 1] + time * before if region else before
    hot |= weak & was_hot & (charge > HOT_CHARGE)
    fit.group[members] = region
    fit.group[members & weak] = WEAK_GROUP
    fit.group[hot] = region + HOT
    ordinary = fit.members(region)
    if ordinary.any():
        fit.level[region] = fit.values[:, ordinary].mean(axis=1)


def _expectations(stacks: CountedStacks, level: Array, region: int) -> list[Expectations]:
    """Of one sample of each stack, with the charge of a region's pool."""
    F, C, D = level
    time = stacks.time if region else np.zeros_like(stacks.time)
    distance = np.where(stacks.is_low, 0.0, stacks.T2 - stacks.T)
    return [
        Expectations.of(T - F, d, g, t, stacks.read_noise, C + t * D, electron)
        for T, d, g, t, electron in zip(
            stacks.T, distance, stacks.gain, time, stacks.electron, strict=True
        )
    ]


def _kept(stacks: CountedStacks, pixels: Array) -> Array:
    """Samples that statistics of counts are made of, shape (stacks, pixels)."""
    low = stacks.is_low
    kept: Array = stacks.n[:, pixels] * 1.0 - stacks.beyond[:, pixels]
    kept[low] -= stacks.above[low][:, pixels]
    return kept


def _errors_if_ordinary(stacks: CountedStacks, level: Array, region: int, pixels: Array) -> Array:
    """Squared errors of D (outside the imaging area of C) that pixels would have if not hot."""
    each = np.array([one.information for one in _expectations(stacks, level, region)])
    return errors_of_the_pool(each, _kept(stacks, pixels), 1 + region)


def _straighten(work: _Work, region: int) -> None:
    """Take the bias of curvature off pixels that are not hot; it falls as their variances do."""
    fit, stacks = work.fit, work.stacks
    members = np.flatnonzero(fit.members(region))
    if not members.size:
        return
    each = _expectations(stacks, fit.level[region], region)
    kept = _kept(stacks, members[:: max(1, members.size // FEW_PIXELS)]).mean(axis=1)
    bias, covariance = curvature_bias(each, kept, bool(region))
    where = (stacks.imaging == bool(region)) & ~fit.hot & (fit.group != UNFITTED)
    variance = work.naive[_DD if region else _CC, where]
    fit.values[:, where] -= bias[:, None] * (variance / covariance[1 + region, 1 + region])


def _spread(work: _Work, region: int, number: int) -> None:
    """How far true C and D differ between pixels, and how far errors follow them."""
    fit, members = work.fit, work.fit.members(region)
    for k, place in ((0, _CC), (1, _DD)) if region else ((0, _CC),):
        x, error2 = fit.values[1 + k, members], work.naive[place, members]
        fit.spread[region, k] = spread = true_variance(x, error2)
        if number == 0:
            fit.follow[region, k] = 1.0
            continue
        e2, moved = float(np.median(error2)), x - x.mean()
        excess = fit.covariance[place, members] / error2 - 1.0
        share = fit.follow[region, k] * spread / max(spread + e2, 1e-300)
        slope = (moved * excess).sum() / max((moved * moved).sum(), 1e-300) / max(share, 1e-9)
        if number == 1:
            size = slope * np.sqrt(spread)
            fit.follow[region, k] = np.clip((size - FOLLOW_FROM) / FOLLOW_RANGE, 0.0, 1.0)
        else:
            more = slope**2 * (share**2 * (spread + 3 * e2) - share * spread)
            fit.inflation[region, k] = 1.0 + max(0.0, float(more))


def true_variance(x: Array, error2: Array) -> float:
    """Variance of the true values: that of estimates within 6 MAD, less the mean of their errors'.

    Percentiles would fail where estimates are discrete.
    """
    middle = np.median(x)
    away = np.abs(x - middle)
    kept = away < 6 * _MAD * np.median(away) + 1e-30
    if not kept.any():
        return 0.0
    return max(float(x[kept].var() - error2[kept].mean()), 0.0)


def _rays(work: _Work, pools: Pools) -> None:
    """Slopes of low gains and wings of high ones, in the imaging area."""
    stacks, fit = work.stacks, work.fit
    members = fit.members(1)
    if not members.any():
        return
    fit.rays.set_wings(pools, ~stacks.is_low)
    low = np.flatnonzero(stacks.is_low)
    if low.size:
        equations = SlopeEquations(
            stacks.gain[low],
            stacks.commanded[low],
            stacks.time[low],
            stacks.T[low],
            stacks.electron[low],
            stacks.read_noise,
        )
        mean = _mean_matrix(work.naive[:, members])
        equations.solve(pools, low, fit.level[1], mean, fit.rays)


def _mean_matrix(six: Array) -> Array:
    """Inverse of the mean inverse of symmetric matrices, given as six numbers each."""
    some = six[:, :: max(1, six.shape[1] // FEW_PIXELS)]
    matrices = some[[0, 1, 2, 1, 3, 4, 2, 4, 5]].T.reshape(-1, 3, 3)
    scaled = np.linalg.inv(matrices * SCALE[:, None] * SCALE)
    mean: Array = np.linalg.inv(scaled.mean(axis=0)) / SCALE[:, None] / SCALE
    return mean
