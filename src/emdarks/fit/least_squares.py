"""The fit over the whole frame: kernels over bands of rows, and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.accumulate import Executor
from emdarks.errors import CalDarksLSQException
from emdarks.stacks import Stack, StackStore
from emdarks.stacks.design import design
from emdarks.stacks.model import FULL, Model

Array = npt.NDArray[Any]

BAND_PIXELS = 1 << 16


@dataclass(frozen=True, slots=True)
class Fit:
    """Result of the fit, flat in pixels; NaN in telemetry rows.

    Attributes
    ----------
    values, errors : ndarray, shape (3, pixels)
        F, C, D before clipping, D also outside the imaging area; unfittable pixels are 0
        with error NaN.
    correlations : ndarray, shape (3, pixels)
        F-C, F-D, C-D.
    chi2, r_squared : ndarray, shape (pixels,)
        Reduced chi-square and adjusted R^2.
    residual_variance : ndarray, shape (pixels,), or None
        The unweighted s^2, where errors are made of it.
    stacks_used, dq : ndarray of integers, shape (pixels,)
        Usable stacks, and the flags.
    gain_derivatives : ndarray, shape (stacks, 3)
        How the image means of F, C and D move per unit of relative error of each stack's
        gain, for a gain that was used too large: the mean of -G_i g_i (C + t_i D) over the
        imaging area, where beta = sum_i G_i y_i is the fit. All gains together move them by
        (0, -C, -D).
    """

    values: Array
    errors: Array
    correlations: Array
    chi2: Array
    r_squared: Array
    residual_variance: Array | None
    stacks_used: Array
    dq: Array
    gain_derivatives: Array

    @classmethod
    def empty(cls, stacks: int, pixels: int, flags: npt.DTypeLike, residuals: bool) -> Fit:
        """Room for the result."""
        return cls(
            values=np.empty((3, pixels)),
            errors=np.empty((3, pixels)),
            correlations=np.empty((3, pixels)),
            chi2=np.empty(pixels),
            r_squared=np.empty(pixels),
            residual_variance=np.empty(pixels) if residuals else None,
            stacks_used=np.empty(pixels, np.int16),
            dq=np.zeros(pixels, flags),
            gain_derivatives=np.zeros((stacks, 3)),
        )

    @property
    def fitted(self) -> Array:
        """Where the fit was possible; boolean, shape (pixels,)."""
        fitted: Array = np.isfinite(self.errors[0])
        return fitted

    def mean_derivatives(self, parts: Sequence[Array]) -> None:
        """Take the mean of the sums that bands of pixels gave, added in order."""
        total = np.zeros((len(self.gain_derivatives) + 1, 3))
        for part in parts:
            total += part
        self.gain_derivatives[:] = total[:-1] / max(total[-1, 0], 1.0)

    def blank(self, lo: int, hi: int) -> None:
        """Telemetry rows: no value, flag 1."""
        for array in (self.values, self.errors, self.correlations):
            array[:, lo:hi] = np.nan
        for plane in (self.chi2, self.r_squared, self.residual_variance):
            if plane is not None:
                plane[lo:hi] = np.nan
        self.stacks_used[lo:hi] = 0
        self.dq[lo:hi] = 1


def bands(pixels: int, skip: tuple[int, int]) -> list[tuple[int, int]]:
    """Ranges of pixels to be computed one by one, without those to skip."""
    parts = [(0, skip[0]), (skip[1], pixels)] if skip[1] > skip[0] else [(0, pixels)]
    return [
        (lo, min(lo + BAND_PIXELS, end))
        for start, end in parts
        for lo in range(start, end, BAND_PIXELS)
    ]


def fit_data(
    store: StackStore,
    stacks: Sequence[Stack],
    imaging: Array,
    model: Model = FULL,
    d_everywhere: bool = False,
) -> _core.FitData:
    """Stacks as the kernels take them."""
    gain, _ = design(stacks)
    time = np.array([stack.exposure_time for stack in stacks], dtype=np.float64)
    moments = store.n, store.mean, store.m2, store.err2, store.flags
    return _core.FitData(gain, time, *moments, imaging, model.has_c, model.has_d, d_everywhere)


def fit_reference(
    store: StackStore,
    stacks: Sequence[Stack],
    weighted: bool,
    imaging: Array,
    skip: tuple[int, int],
    executor: Executor,
) -> Fit:
    """Fit as the reference does.

    Parameters
    ----------
    store : StackStore
        Moments.
    stacks : sequence of Stack
        Their gains and times.
    weighted : bool
        Weights 1/err^2, or equal ones.
    imaging : ndarray of bool, shape (pixels,)
        The imaging area.
    skip : tuple of int
        Pixels of the telemetry rows: first and last plus one.
    executor : Executor
        Who computes.

    Raises
    ------
    CalDarksLSQException
        A stack has no pixel with two good samples.
    """
    pixels = store.n.shape[1]
    fit = Fit.empty(len(stacks), pixels, store.flags.dtype, residuals=True)
    assert fit.residual_variance is not None
    residual_variance = fit.residual_variance
    ranges = bands(pixels, skip)
    single = _lone_variances(store, stacks, ranges, executor)
    data = fit_data(store, stacks, imaging)

    def solve(band: tuple[int, int], floor: Array) -> tuple[Array, int]:
        moved = np.empty((len(stacks) + 1, 3))
        unknown = _core.reference_fit(
            *band,
            data,
            single,
            floor,
            weighted,
            fit.values,
            fit.errors,
            fit.correlations,
            fit.chi2,
            fit.r_squared,
            residual_variance,
            fit.stacks_used,
            fit.dq,
            moved,
        )
        return moved, unknown

    # Few campaigns have an error of 0: what stands in for it is sought only then.
    missing = np.full(len(stacks), np.nan)
    results = executor.map(lambda band: solve(band, missing), ranges)
    again = [i for i, (_, unknown) in enumerate(results) if unknown]
    if again:
        floor = _floors(data, single, ranges, executor)
        repeated = executor.map(lambda i: solve(ranges[i], floor), again)
        for i, result in zip(again, repeated, strict=True):
            results[i] = result
    fit.mean_derivatives([moved for moved, _ in results])
    fit.blank(*skip)
    return fit


def _lone_variances(
    store: StackStore,
    stacks: Sequence[Stack],
    ranges: Sequence[tuple[int, int]],
    executor: Executor,
) -> Array:
    """Variance of each stack that stands in where a single sample is good."""
    most = np.max(executor.map(lambda band: store.n[:, slice(*band)].max(axis=1), ranges), axis=0)
    single = np.empty(len(stacks))
    for i, stack in enumerate(stacks):
        if most[i] <= 1:
            raise CalDarksLSQException(
                f"{stack}: no pixel is good in two frames; add frames or leave the stack out"
            )
        single[i] = store.m2[i, _first(store.n[i], most[i], ranges)] / most[i]
    return single


def _floors(
    data: _core.FitData, single: Array, ranges: Sequence[tuple[int, int]], executor: Executor
) -> Array:
    """Squared error of each stack's mean that stands in for 0."""

    def least(band: tuple[int, int]) -> Array:
        out = np.empty(single.size)
        _core.smallest_variance(*band, data, single, out)
        return out

    floor: Array = np.min(executor.map(least, ranges), axis=0)
    # A stack without any scatter takes the smallest error there is; 1 where there is none.
    known = np.isfinite(floor)
    return np.where(known, floor, floor[known].min() if known.any() else 1.0)


def _first(counts: Array, most: int, ranges: Sequence[tuple[int, int]]) -> int:
    """First pixel with that count."""
    for lo, hi in ranges:
        at = int(np.argmax(counts[lo:hi] == most))
        if counts[lo + at] == most:
            return lo + at
    raise AssertionError(f"no pixel has {most} good samples")
