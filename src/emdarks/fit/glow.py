"""Glow: a smooth surface in a map of dark current.

Amplifiers and the edges of a detector shine. A polynomial of second degree is fitted to the pixels
of the imaging area, hot ones left out. Whether it is flat is a chi-square test; its peak to valley
is never 0, whatever the truth, so that the interval comes from the law that noise gives it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import Estimate, bounded_estimate, chi_square_tail
from emdarks.fit.fixed_pattern import Layout, two_way
from emdarks.fit.matrix_product import product

Array = npt.NDArray[Any]

#: Degrees in rows and columns of the terms: Legendre polynomials of total degree 2.
TERMS = ((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0))
_ROWS, _COLUMNS = np.array(TERMS).T
#: Pixels farther from the surface, in robust scatters, are left out.
FAR = 4.0
_ROUNDS = 4
#: Width of the shell about the limit in which pixels are counted, in limits.
_SHELL = 0.3
#: Points of a side on which the peak and the valley are sought; surfaces drawn for their law.
_GRID, _DRAWS = 11, 2000


@dataclass(frozen=True, slots=True)
class Glow:
    """A surface of second degree.

    Attributes
    ----------
    amplitude : Estimate
        Peak to valley over the area, in the unit of the plane. What noise alone makes is taken
        off; the interval begins at 0 where there may be no glow.
    corners : tuple of Estimate
        Surface at the four corners (first and last column of the first row, then of the last
        one) less its mean. Signed, with normal errors.
    chi2, p_value : float
        Of the five terms that are not constant, in their errors: 5 degrees of freedom. The
        probability that a flat map gives as much.
    coefficients, covariance : ndarray, shape (6,), (6, 6)
        Of the terms in `TERMS`, over coordinates from -1 to 1.
    shape : tuple of int
        Rows and columns.
    pixels : int
        Pixels that told it.
    """

    amplitude: Estimate
    corners: tuple[Estimate, ...]
    chi2: float
    p_value: float
    coefficients: Array
    covariance: Array
    shape: tuple[int, int]
    pixels: int

    def surface(self) -> Array:
        """The surface, shape (rows, columns)."""
        return _surface(self.coefficients, [_legendre(size) for size in self.shape])


def fit_glow(values: Array) -> Glow:
    """Fit a surface to a map.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
        Dark current of the imaging area before clipping; NaN where it is not known.

    Returns
    -------
    Glow
        All NaN where fewer than 50 pixels are known.

    Notes
    -----
    Errors come from the scatter of the pixels about the surface. What rows, or columns, have in
    common beyond independent pixels counts as noise of the rows, or columns: a slope made of it is
    no glow.
    """
    bases = [_legendre(size) for size in values.shape]
    fitted = _robust(values, bases)
    used = int(fitted.use.sum())
    if used < 50 or not fitted.layout.variance > 0:
        nothing = Estimate.unknown()
        return Glow(
            nothing,
            (nothing,) * 4,
            np.nan,
            np.nan,
            np.full(6, np.nan),
            np.full((6, 6), np.nan),
            values.shape,
            used,
        )
    covariance = _covariance(fitted, bases)
    beta, rest = fitted.coefficients[1:], covariance[1:, 1:]
    chi2 = float(beta @ np.linalg.solve(rest, beta))
    return Glow(
        _amplitude(fitted.coefficients, covariance),
        _corners(fitted.coefficients, covariance),
        chi2,
        chi_square_tail(chi2, beta.size),
        fitted.coefficients,
        covariance,
        values.shape,
        used,
    )


class _Fitted(NamedTuple):
    """Coefficients, pixels that gave them, inverse of the normal matrix, what is left.

    ``widening`` is what leaving pixels out does to errors: those just at the limit come and go
    (P. J. Huber, *Robust Statistics*, 1981, section 3.2).
    """

    coefficients: Array
    use: Array
    inverse: Array
    layout: Layout
    widening: float


def _legendre(size: int) -> Array:
    """Legendre polynomials of degree 0 to 2 over the pixels of a side, shape (size, 3)."""
    z = np.linspace(-1.0, 1.0, size) if size > 1 else np.zeros(1)
    return np.column_stack([np.ones_like(z), z, 1.5 * z**2 - 0.5])


def _surface(coefficients: Array, bases: list[Array]) -> Array:
    matrix = np.zeros((3, 3))
    matrix[_ROWS, _COLUMNS] = coefficients
    return product(bases[0] @ matrix, bases[1].T)


def _robust(values: Array, bases: list[Array]) -> _Fitted:
    """Least squares, pixels that lie far off left out."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    use, coefficients = known, np.zeros(6)
    surface = np.full(values.shape, _middle(values, known))
    inverse = np.full((6, 6), np.nan)
    widening = 1.0
    for _ in range(_ROUNDS):
        rest = np.abs(values - surface - _middle(values - surface, known))
        limit = FAR * 1.4826 * _middle(rest, known)
        use = known & (np.where(known, rest, np.inf) <= limit)
        if use.sum() < 50:
            break
        at_limit = known & (np.abs(np.where(known, rest, 0.0) - limit) < 0.5 * _SHELL * limit)
        widening = 1.0 / (1.0 - min(at_limit.sum() / _SHELL / use.sum(), 0.5))
        inverse = np.linalg.pinv(_normal_matrix(use, bases))
        moments = bases[0].T @ product(np.where(use, filled, 0.0), bases[1])
        coefficients = inverse @ moments[_ROWS, _COLUMNS]
        surface = _surface(coefficients, bases)
    layout = two_way(np.where(use, values - surface, np.nan))
    return _Fitted(coefficients, use, inverse, layout, float(widening))


def _middle(values: Array, known: Array) -> float:
    return float(np.median(values[known])) if known.any() else 0.0


def _normal_matrix(use: Array, bases: list[Array]) -> Array:
    """Sums of products of the terms over the pixels used."""
    rows, columns = ((base[:, :, None] * base[:, None]).reshape(-1, 9) for base in bases)
    sums = (rows.T @ product(use.astype(np.float64), columns)).reshape(3, 3, 3, 3)
    normal: Array = sums[_ROWS[:, None], _ROWS, _COLUMNS[:, None], _COLUMNS]
    return normal


def _covariance(fitted: _Fitted, bases: list[Array]) -> Array:
    """Of the coefficients: independent pixels, and what rows and columns have in common."""
    rows, columns = bases
    use = fitted.use.astype(np.float64)
    along_rows, along_columns = product(use, columns), product(use.T, rows)
    row_sums = np.stack([rows[:, a] * along_rows[:, b] for a, b in TERMS])
    column_sums = np.stack([columns[:, b] * along_columns[:, a] for a, b in TERMS])
    inner = fitted.layout.variance * _normal_matrix(fitted.use, bases)
    inner += fitted.layout.component(0) * row_sums @ row_sums.T
    inner += fitted.layout.component(1) * column_sums @ column_sums.T
    covariance: Array = fitted.widening**2 * (fitted.inverse @ inner @ fitted.inverse)
    return covariance


def _points() -> Array:
    """Terms at the points of a grid over the area, shape (points, 6); corners included."""
    side = _legendre(_GRID)
    return np.column_stack([np.outer(side[:, a], side[:, b]).ravel() for a, b in TERMS])


def _corners(coefficients: Array, covariance: Array) -> tuple[Estimate, ...]:
    """Surface at the corners less its mean over the area, the constant term."""
    index = np.array([0, _GRID - 1, _GRID * (_GRID - 1), _GRID**2 - 1])
    points = _points()[index, 1:]
    errors = np.sqrt(np.einsum("ia,ab,ib->i", points, covariance[1:, 1:], points))
    return tuple(map(Estimate.normal, points @ coefficients[1:], errors))


def _amplitude(coefficients: Array, covariance: Array) -> Estimate:
    """Peak to valley of a surface of this shape, of which noise makes the peak to valley seen."""
    points = _points()
    signal = points @ coefficients
    width = float(np.ptp(signal))
    if not width > 0:
        return Estimate(0.0, 0.0, 0.0, 0.0)
    rng = np.random.default_rng(0)  # the same interval each time
    root = np.linalg.cholesky(covariance + 1e-15 * np.trace(covariance) * np.eye(6))
    noise = rng.standard_normal((_DRAWS, 6)) @ root.T @ points.T
    alone = float(np.median(np.ptp(noise, axis=1)))

    def below(a: float) -> float:
        return float(np.mean(np.ptp(noise + (a / width) * signal, axis=1) <= width))

    return bounded_estimate(below, math.sqrt(2.0) * alone)
