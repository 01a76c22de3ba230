"""Fixed pattern: how rows, columns and single pixels of a map differ, with the noise taken off.

A plane is a mean, an effect of each row, one of each column, and what is left in each pixel
(two-way layout; H. Scheffé, *The Analysis of Variance*, 1959, chapter 4). Means of rows differ even
where rows do not: by the rest of the pixels, averaged. So the root mean square of the effects comes
from the noncentral law of their sum of squares, with an interval that begins at 0 where they may be
none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import Estimate, bounded_estimate, chi_square_tail

Array = npt.NDArray[Any]

#: Pixels farther from their row and column, in robust scatters, are left out.
FAR = 6.0
#: Means of rows and columns in turns: exact at once where no pixel is missing.
_SWEEPS = 4


@dataclass(frozen=True, slots=True)
class FixedPattern:
    """Amplitudes of a fixed pattern, in the unit of the plane.

    Attributes
    ----------
    rows, columns : Estimate
        Root mean square of the effects of rows, and of columns: what their means differ by beyond
        what independent pixels make of it.
    pixels : Estimate
        Root mean square of what is left in a pixel, its error taken off.
    pixels_used : int
        Pixels that told it.
    """

    rows: Estimate
    columns: Estimate
    pixels: Estimate
    pixels_used: int


class Layout(NamedTuple):
    """A plane taken apart.

    Attributes
    ----------
    level : float
        Mean.
    rows, columns : ndarray, shape (rows,), (columns,)
        Effects; NaN where nothing is known.
    rest : ndarray, shape (rows, columns)
        What is left; NaN where a pixel is not used.
    row_pixels, column_pixels : ndarray of int
        Pixels used in each.
    freedom : int
        Degrees of freedom of the rest.
    variance : float
        Mean square of the rest, for these.
    """

    level: float
    rows: Array
    columns: Array
    rest: Array
    row_pixels: Array
    column_pixels: Array
    freedom: int
    variance: float

    def component(self, axis: int) -> float:
        """Variance of the effects of rows (0) or columns (1), noise taken off.

        Signed, so that it is right on average, but no lower than minus half of the noise.
        """
        effects, pixels = self._of(axis)
        if effects.size < 2:
            return 0.0
        noise = self.variance * float(np.mean(1.0 / pixels))
        return max(float(effects.var(ddof=1)) - noise, -0.5 * noise)

    def amplitude(self, axis: int, common: tuple[float, float] = (0.0, 0.0)) -> Estimate:
        """Root mean square of the effects of rows (0) or columns (1).

        ``common`` is the variance of a noise that the pixels of each have in common, and its
        error.
        """
        effects, pixels = self._of(axis)
        if effects.size < 2 or not self.variance > 0:
            return Estimate.unknown()
        middle = np.average(effects, weights=pixels)
        freedom = effects.size - 1
        mean_square = float(np.average((effects - middle) ** 2, weights=pixels))
        single = self.variance / float(pixels.mean())
        noise = single + max(common[0], -0.5 * single)
        # A noise that is not known well is one of few degrees of freedom.
        known = 2.0 / (2.0 / freedom + (common[1] / noise) ** 2)
        mean_square *= effects.size / freedom
        return _root_mean_square(
            mean_square, noise, max(round(known), 1), known * effects.size / freedom
        )

    def _of(self, axis: int) -> tuple[Array, Array]:
        effects = self.rows if axis == 0 else self.columns
        pixels = self.row_pixels if axis == 0 else self.column_pixels
        return effects[pixels > 0], pixels[pixels > 0]


def fixed_pattern(
    values: Array,
    errors: Array,
    row_noise: tuple[float, float] = (0.0, 0.0),
    uncertain: float = 0.0,
) -> FixedPattern:
    """Measure how much rows, columns and pixels of a map differ.

    Parameters
    ----------
    values, errors : ndarray, shape (rows, columns)
        A map before clipping, such as F in the imaging area, and its errors; NaN where it is not
        known.
    row_noise : tuple of float
        Variance of a noise that all pixels of a row have in common, and its error
        (`emdarks.fit.row_noise.RowNoise.of_map`), which the errors hold: without it that noise
        counts as a pattern of rows, and hides that of pixels.
    uncertain : float
        Relative error of the squares of the errors, alike in all pixels.

    Returns
    -------
    FixedPattern

    Notes
    -----
    Pixels whose error lies far off those of the others are left out. The pattern of pixels is as
    right as the errors: where it is as large as these, 2 % more of them
    make it 2 % less. Those of rows and columns do not depend on them.
    """
    fitted = np.isfinite(errors)
    # A cosmic ray that nobody flagged makes an error large; where it moves the value little, that
    # error would hide the pattern of all others.
    layout = two_way(np.where(fitted & ~_far(errors, fitted), values, np.nan))
    used = np.isfinite(layout.rest)
    if used.sum() < 2 or not layout.variance > 0:
        nothing = Estimate.unknown()
        return FixedPattern(nothing, nothing, nothing, int(used.sum()))
    # The noise of a row is in the error of its pixels, and gone with the effects of rows.
    whole = float((errors[used] ** 2).mean())
    noise = max(whole - max(row_noise[0], 0.0), 0.0)
    known = math.hypot(uncertain * whole, row_noise[1])
    told = 2.0 / layout.freedom + ((known / noise) ** 2 if noise > 0 else 0.0)
    # Effects of rows and columns take the same share of true squares as of noise.
    pixels = _root_mean_square(layout.variance, noise, max(round(2.0 / told), 1), 2.0 / told)
    return FixedPattern(
        layout.amplitude(0, row_noise), layout.amplitude(1), pixels, int(used.sum())
    )


def _root_mean_square(mean_square: float, noise: float, freedom: int, number: float) -> Estimate:
    """Of ``number`` true values whose estimates, of this error variance, have this mean square."""
    if not (noise > 0 and freedom > 0):
        return Estimate.unknown()
    chi2, unit = freedom * mean_square / noise, number / noise

    def below(a: float) -> float:
        return 1.0 - chi_square_tail(chi2, freedom, unit * a**2)

    return bounded_estimate(below, math.sqrt(2.0 * math.sqrt(2.0 * freedom) / unit))


def two_way(values: Array) -> Layout:
    """Take effects of rows and columns off a plane; pixels that lie far off are left out.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
        NaN where nothing is known.
    """
    known = np.isfinite(values)
    rest = values - _medians(values, 1)
    rest -= _medians(rest, 0)
    use = known & ~_far(rest, known)
    found = _effects(values, use)
    rest = values - found.level - found.rows[:, None] - found.columns
    return _effects(values, known & ~_far(rest, known))


def _medians(values: Array, axis: int) -> Array:
    """Medians of rows (axis 1) or columns (0); 0 where nothing is known."""
    told = np.isfinite(values).any(axis=axis, keepdims=True)
    medians: Array = np.nanmedian(np.where(told, values, 0.0), axis=axis, keepdims=True)
    return medians


def _far(rest: Array, known: Array) -> Array:
    """Pixels that lie far off."""
    told = rest[known & np.isfinite(rest)]
    middle = float(np.median(told)) if told.size else 0.0
    width = 1.4826 * float(np.median(np.abs(told - middle))) if told.size else 0.0
    far: Array = np.abs(np.nan_to_num(rest - middle)) > (FAR * width if width > 0 else np.inf)
    return far


def _effects(values: Array, use: Array) -> Layout:
    """Effects by alternating means of rows and columns."""
    x = np.where(use, values, 0.0)
    counts = [use.sum(axis=1), use.sum(axis=0)]
    level = x.sum() / max(int(use.sum()), 1)
    x -= np.where(use, level, 0.0)
    effects = [np.zeros(size) for size in values.shape]
    for _ in range(_SWEEPS):
        for axis in (0, 1):
            change = x.sum(axis=1 - axis) / np.maximum(counts[axis], 1)
            effects[axis] += change
            x -= np.where(use, np.expand_dims(change, 1 - axis), 0.0)
    freedom = max(int(use.sum()) - sum(int((n > 0).sum()) for n in counts) + 1, 1)
    rows, columns = (np.where(n > 0, e, np.nan) for n, e in zip(counts, effects, strict=True))
    rest = np.where(use, x, np.nan)
    variance = float((x**2).sum()) / freedom
    return Layout(float(level), rows, columns, rest, counts[0], counts[1], freedom, variance)
