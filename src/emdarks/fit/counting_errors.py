"""Errors and bias that a pixel would have with the charge of the pool.

A hot pixel's own error is large because it is hot. Whether it lies far above the others is asked
with the error that its numbers of samples alone would leave it with. The bias is that of a curved
law: of 30 frames, that of D is half a per cent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.fit.counting_terms import SCALE, statistics

Array = npt.NDArray[Any]
_THREE = ("K", "LO", "HI")
#: Steps in F, read noises, and in lambda, of second derivatives.
_STEPS = 0.01, 1e-3


@dataclass(frozen=True, slots=True)
class Expectations:
    """Statistics of one sample of a stack, with the charge of the pool: K and LO, or x below T.

    Attributes
    ----------
    slopes : ndarray, shape (statistics, 3)
        Derivatives to F, C and D.
    curves : ndarray, shape (statistics, 3, 3)
        Second derivatives.
    variance : ndarray, shape (statistics, statistics)
        Their covariance.
    """

    slopes: Array
    curves: Array
    variance: Array

    @classmethod
    def of(
        cls,
        u: float,
        distance: float,
        gain: float,
        time: float,
        read_noise: float,
        charge: float,
        electron: Array,
    ) -> Expectations:
        """Of a stack.

        Parameters
        ----------
        u : float
            T - F.
        distance : float
            T2 - T; 0 where the gain is low.
        gain, time, read_noise, charge : float
            Of the law of a sample.
        electron : ndarray, shape (5,)
            Of the law of one electron; see `one_electron`.
        """
        by_F, by_charge = _STEPS[0] * read_noise, _STEPS[1]
        around = np.array([[0, 0], [-by_F, 0], [by_F, 0], [0, by_charge], [0, -by_charge]])
        at = around + np.array([u, charge])
        found = statistics(at[:, 0], at[:, 1], gain, read_noise, distance, electron)
        names = _THREE[: 2 if distance > 0 else 1]
        F, charge_ = (np.array([found[f"{name}_{x}"] for name in names]) for x in "Fl")
        FF, Fl = ((x[:, 1] - x[:, 2]) / (2 * by_F) for x in (F, charge_))
        ll = (charge_[:, 3] - charge_[:, 4]) / (2 * by_charge)
        to = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, time]])
        second = np.moveaxis(np.array([[FF, Fl], [Fl, ll]]), 2, 0)
        V = np.array([[_covariance(found, a, b) for b in names] for a in names])
        return cls(np.stack([F[:, 0], charge_[:, 0]], axis=1) @ to, to.T @ second @ to, V)

    @property
    def weighted(self) -> Array:
        """Slopes times the inverse of the covariance, shape (3, statistics)."""
        weighted: Array = np.linalg.solve(self.variance, self.slopes).T
        return weighted

    @property
    def information(self) -> Array:
        """Fisher's information on F, C and D of one sample, shape (3, 3)."""
        matrix: Array = self.weighted @ self.slopes
        return matrix


def _covariance(found: dict[str, Array], a: str, b: str) -> float:
    first, second = sorted((a[0], b[0]), key="KLH".index)
    return float(found[f"V_{first}{second}"][0])


def errors_of_the_pool(each: Array, kept: Array, parameter: int) -> Array:
    """Squared errors of C (1) or D (2) of some pixels, were they as the others.

    Parameters
    ----------
    each : ndarray, shape (stacks, 3, 3)
        Information of one sample.
    kept : ndarray, shape (stacks, pixels)
        Numbers of samples.
    parameter : int
        Which; of C, D is taken to be known.
    """
    total = np.tensordot(kept.T.astype(float), each / SCALE[:, None] / SCALE, axes=1)
    size = parameter + 1
    with np.errstate(all="ignore"):
        singular = np.linalg.cond(total[:, :size, :size]) > 1e13
        total[singular] = np.nan
        squares = np.linalg.inv(total[:, :size, :size])[:, parameter, parameter]
    found: Array = np.where(np.isfinite(squares), squares, np.inf) / SCALE[parameter] ** 2
    return found


def curvature_bias(each: list[Expectations], kept: Array, dark: bool) -> tuple[Array, Array]:
    """Bias of F, C and D that comes from the curvature of the expectations, and their covariance.

    To second order, -1/2 A^-1 sum n J' V^-1 tr(H A^-1) with the second derivatives H of each
    expectation and the normal matrix A (M. J. Box, 1971, J. R. Stat. Soc. B 33, 171).

    Parameters
    ----------
    each : list of Expectations
        Of the stacks.
    kept : ndarray, shape (stacks,)
        Numbers of samples.
    dark : bool
        Whether there is dark current; else the bias of D is 0.

    Returns
    -------
    bias : ndarray, shape (3,)
    covariance : ndarray, shape (3, 3)
        Infinite where the stacks cannot tell the parameters apart; the bias is 0 then.
    """
    size = 3 if dark else 2
    normal = sum(n * one.information for n, one in zip(kept, each, strict=True)) / SCALE[:, None]
    normal = (normal / SCALE)[:size, :size]
    bias, covariance = np.zeros(3), np.zeros((3, 3))
    if np.linalg.cond(normal) > 1e13:
        return bias, np.full((3, 3), np.inf)
    scale = SCALE[:size]
    covariance[:size, :size] = np.linalg.inv(normal) / scale[:, None] / scale
    pull = sum(
        n * one.weighted @ (one.curves * covariance).sum(axis=(1, 2))
        for n, one in zip(kept, each, strict=True)
    )
    bias = -0.5 * covariance @ pull
    return bias, covariance
