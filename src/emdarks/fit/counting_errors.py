"""Errors that a pixel would have with the charge of the pool: what tells hot pixels from others.

A hot pixel's own error is large because it is hot. Whether it lies far above the others is asked
with the error that its numbers of samples alone would leave it with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.fit.counting_terms import SCALE, statistics

Array = npt.NDArray[Any]
_THREE = ("K", "LO", "HI")


def information(
    u: float,
    distance: float,
    gain: float,
    time: float,
    read_noise: float,
    charge: float,
    electron: Array,
) -> Array:
    """Fisher's information on F, C and D of one sample, from K and LO; at distance 0, x below T.

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

    Returns
    -------
    ndarray, shape (3, 3)
    """
    found = statistics(u, charge, gain, read_noise, distance, electron)
    names = _THREE[: 2 if distance > 0 else 1]
    V = np.array([[_covariance(found, a, b) for b in names] for a in names])
    J = np.array(
        [[found[f"{a}_F"][0], *(found[f"{a}_l"][0] * np.array([1.0, time]))] for a in names]
    )
    matrix: Array = J.T @ np.linalg.solve(V, J)
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
