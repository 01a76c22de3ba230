"""Numbers, counts and the table of stacks that a product has beside its fitted maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.darks.counting_tables import CountingTables
from emdarks.darks.frame_pixels import FramePixels
from emdarks.fit.least_squares import Fit, bands
from emdarks.fit.pooled import PooledNoise
from emdarks.fit.robust_statistics import Group
from emdarks.fit.statistics import (
    NO_OFFSET,
    BiasOffset,
    ImageStatistics,
    bias_offset,
    image_statistics,
    pooled_bias_offset,
)
from emdarks.products.noise_maps_file import MEANS, VARIANCES
from emdarks.stacks import Stack, StackStore
from emdarks.stacks.calibration_inputs import CalibrationInputs
from emdarks.stacks.design import design
from emdarks.stacks.model import Model

Array = npt.NDArray[Any]

#: Columns of the table STACKS, and those of how the maps move with a stack's gain.
Columns = dict[str, list[Any]]
_DERIVATIVES = ("DFPN_DG", "DCIC_DG", "DDC_DG")


@dataclass(frozen=True, slots=True)
class FittedMaps:
    """A fit, and what it was made of.

    Attributes
    ----------
    fit : Fit
        Planes, flat in pixels.
    noise : PooledNoise or None
        Variances of the regions; None where each pixel has its own.
    store : StackStore
        Moments of the stacks.
    stacks : sequence of Stack
        The stacks, in the order of the moments.
    model : Model
        Which maps the stacks tell.
    frame : FramePixels
        The regions.
    job : CalibrationInputs
        The frames that were used.
    counting : CountingTables or None
        What the counting estimator found besides.
    """

    fit: Fit
    noise: PooledNoise | None
    store: StackStore
    stacks: Sequence[Stack]
    model: Model
    frame: FramePixels
    job: CalibrationInputs
    counting: CountingTables | None = None

    def content(self) -> tuple[dict[str, float], dict[str, Array], Columns]:
        """Numbers, counts and stacks of the product.

        Changes the fit in place: D is taken out of all but the imaging area, and maps that the
        stacks do not tell become NaN.
        """
        fit, frame = self.fit, self.frame
        offset = self._bias_offset()
        inside = frame.imaging & frame.signal & fit.fitted
        image = Group(inside, True, bands(frame.signal.size, frame.skip), self.job.executor)
        statistics = image_statistics(fit, self.store, self.stacks, image, self._read_noise())
        sums, unreliable = self._sums_of_stacks(image)
        table = self._table(sums)
        _remove_dark_current(fit, ~frame.imaging & frame.signal)
        numbers = _numbers(offset, statistics)
        if not self.model.fitted.all():
            _remove_absent(fit, self.model, numbers, table)
        counts = {"NBAD": unreliable}
        if self.store.rejected is not None:
            counts["REJECTED"] = self.store.rejected
        return numbers, {name: count.reshape(frame.shape) for name, count in counts.items()}, table

    @property
    def gain(self) -> Array:
        """EM gain of each stack that the maps were fitted with."""
        return np.array([stack.em_gain for stack in self.stacks], dtype=np.float64)

    @property
    def _k_gains(self) -> list[float]:
        return [self.job.kgain or stack.k_gain for stack in self.stacks]

    @property
    def _region(self) -> Any:
        """Noise of the imaging area, else of all other pixels; None where nothing was pooled."""
        return None if self.noise is None else self.noise.imaging or self.noise.outside

    def _bias_offset(self) -> BiasOffset:
        """Level that the bias subtraction left, from the prescan."""
        data = self.fit, self.store, self.stacks, self._k_gains
        if self.noise is None:
            return bias_offset(*data, self.frame.prescan, self.job.executor)
        if self.noise.outside is None:
            return NO_OFFSET
        v, cols = self.noise.outside.v, self.frame.shape[1]
        return pooled_bias_offset(*data, self.frame.reliable, v, cols, self.job.executor)

    def _read_noise(self) -> float | None:
        """Read noise of the pooled model; None where the statistics are to estimate it."""
        if self.noise is None:
            return None
        # With one gain, what is left at time 0 is read noise and the noise of C.
        if self._region is None or not self.model.has_c:
            return float("nan")
        return float(np.sqrt(self._region.model.read_noise2))

    def _sums_of_stacks(self, image: Group) -> tuple[Array, Array]:
        """Sums of each stack; and at each pixel in how many over half of the frames are masked.

        Returns
        -------
        sums : ndarray, shape (5, stacks)
            Good samples; residuals in the imaging area, and their number; degrees of freedom,
            and squared deviations, in the order of `emdarks._core.stack_sums`.
        unreliable : ndarray of int16, shape (pixels,)
        """
        store, stacks = self.store, self.stacks
        pixels = store.n.shape[1]
        unreliable = np.empty(pixels, np.int16)
        half = np.array([(len(stack.frames) + 1) // 2 for stack in stacks], dtype=np.float64)
        m2 = store.m2 if self._region is None else None
        gain, gain_time = design(stacks)

        def part(band: tuple[int, int]) -> Array:
            out = np.empty((len(stacks), 5))
            _core.stack_sums(
                *band,
                gain,
                gain_time,
                half,
                store.n,
                store.mean,
                m2,
                self.fit.values,
                image.of,
                unreliable,
                out,
            )
            return out

        total = np.zeros((len(stacks), 5))
        for some in image.executor.map(part, bands(pixels, (0, 0))):
            total += some
        return total.T, unreliable

    def _table(self, sums: Array) -> Columns:
        """Columns of the table STACKS."""
        good, residual, seen, dof, scatter = sums.tolist()
        stacks, region = self.stacks, self._region
        own = [_ratio(*pair) for pair in zip(scatter, dof, strict=True)]
        unknown = [np.nan] * len(stacks)
        table: Columns = {
            "EMGAIN": [stack.em_gain for stack in stacks],
            "EMGAIN_C": [stack.commanded_gain for stack in stacks],
            "EXPTIME": [stack.exposure_time for stack in stacks],
            "KGAINPAR": self._k_gains,
            "FRAMES": [len(stack.frames) for stack in stacks],
            "GOOD": [number / self.store.n.shape[1] for number in good],
            "VARIANCE": own if region is None else region.v.tolist(),
            "RESIDUAL": [_ratio(*pair) for pair in zip(residual, seen, strict=True)],
            "READNOIS": unknown if region is None else region.model.read_noise.tolist(),
            "EXCESS": unknown if region is None else region.model.excess.tolist(),
        }
        for name, values in zip(_DERIVATIVES, self.fit.gain_derivatives.T, strict=True):
            table[name] = values.tolist()
        if self.counting is not None:
            table |= self.counting.columns()
        return table


def _ratio(sum_of_all: float, number: float) -> float:
    return sum_of_all / number if number else np.nan


def _numbers(offset: BiasOffset, statistics: ImageStatistics) -> dict[str, float]:
    """Numbers of the fit, by their keywords."""
    return {
        "B_O": offset.value,
        "B_O_ERR": offset.error,
        "B_O_UP": offset.upper,
        "B_O_LO": offset.lower,
        **dict(zip(MEANS, statistics.means, strict=True)),
        "FPN_IMME": statistics.median_f,
        **dict(zip(VARIANCES, statistics.variances, strict=True)),
        "RN_EST": statistics.read_noise,
    }


def _remove_absent(fit: Fit, model: Model, numbers: dict[str, float], table: Columns) -> None:
    """NaN, in place, for what the stacks cannot tell: a map, its correlations, its numbers."""
    absent = ~model.fitted
    fit.values[absent] = fit.errors[absent] = np.nan
    # F-C, F-D, C-D
    fit.correlations[[absent[1], absent[2], absent[1] or absent[2]]] = np.nan
    for i in np.flatnonzero(absent):
        numbers[MEANS[i]] = numbers[VARIANCES[i]] = np.nan
    # How a gain moves the maps depends on the charge that it multiplies, C included.
    lost = [_DERIVATIVES[i] for i in range(3) if absent[i] or not model.has_c]
    for name in (*lost, *(() if model.has_c else ("READNOIS",))):
        table[name] = [np.nan] * len(table[name])


def _remove_dark_current(fit: Fit, outside: Array) -> None:
    """No light-sensitive pixel, no dark current: D and its error are 0 there.

    The error stays NaN where the fit was not possible.
    """
    for plane in (fit.values[2], *fit.correlations[1:]):
        np.copyto(plane, 0.0, where=outside)
    np.copyto(fit.errors[2], 0.0, where=outside & ~np.isnan(fit.errors[0]))
