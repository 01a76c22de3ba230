"""Is the dark signal linear in exposure time and in gain? Image means of stacks against the model.

The image mean of a stack is F + g C + g t D, method page, eq. 1 (model), with an error of a few
thousandths of the error of a pixel: departures far below what a pixel shows stand out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import Estimate, bounded_estimate, chi_square_tail

Array = npt.NDArray[Any]

#: A signal tells a departure where it is so many times its error, at least.
LEAST_SIGNAL = 3.0
_DRAWS = 20_000
#: A square that is known no better than this, of the signal, is not known.
_VAGUE = 1.0
#: Rounds in which C and D settle beside a square.
_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Linearity:
    """Departures of stacks from a model that is linear in time and in gain.

    Attributes
    ----------
    residuals, errors : ndarray, shape (stacks,)
        Image mean less the model, of the stack's signal g (C + t D), and its 1-sigma error; NaN
        where a stack has no signal. A residual holds what the fit leaves of a departure.
    chi2, freedom, p_value : float
        Of all residuals in their errors, and the probability that a linear detector gives as
        much.
    largest : Estimate
        Residual of the stack that lies farthest from the model in its error, of its signal.
    stack : int
        Which one; -1 where none has a signal.
    p_largest : float
        Probability that the largest of so many residuals lies as far off.
    rms : Estimate
        Root mean square of the residuals, of the signal, noise taken off, weighted by (signal /
        error)^2.
    time, gain : Estimate
        How much of the signal at the longest time, and at the highest gain, is a square: a of a
        signal proportional to t (1 - a + a t / t_max), or g (1 - a + a g / g_max). NaN where the
        stacks do not tell it.
    """

    residuals: Array
    errors: Array
    chi2: float
    freedom: int
    p_value: float
    largest: Estimate
    stack: int
    p_largest: float
    rms: Estimate
    time: Estimate
    gain: Estimate


class ImageMeans(NamedTuple):
    """Means of stacks over the same pixels.

    Attributes
    ----------
    mean, error : ndarray, shape (stacks,)
        EM electrons, and 1-sigma errors from the scatter of the samples; NaN where unknown.
    pixels : int
        Pixels that are good in all stacks.
    """

    mean: Array
    error: Array
    pixels: int


def image_means(
    n: Array, mean: Array, m2: Array, use: Array, row_variance: float = 0.0, rows: int = 1
) -> ImageMeans:
    """Means of stacks over the pixels that are good at least twice in all of them.

    Parameters
    ----------
    n, mean, m2 : ndarray, shape (stacks, pixels)
        Moments.
    use : ndarray of bool, shape (pixels,)
        Pixels of the imaging area to take; hot ones belong to it.
    row_variance : float
        Variance in a frame of a noise that all pixels of a row have in common
        (`emdarks.fit.row_noise`).
    rows : int
        Rows of the imaging area.
    """
    good = use & (n > 1).all(axis=0)
    pixels = int(good.sum())
    if pixels == 0:
        nothing = np.full(len(n), np.nan)
        return ImageMeans(nothing, nothing, 0)
    means, errors = [], []
    for i in range(len(n)):
        samples = n[i, good].astype(np.float64)
        means.append(float(mean[i, good].mean()))
        single = float((m2[i, good] / (samples * (samples - 1))).sum()) / pixels**2
        common = max(row_variance, 0.0) / (rows * float(samples.mean()))
        errors.append(math.sqrt(single + common))
    return ImageMeans(np.array(means), np.array(errors), pixels)


def linearity(
    gain: Array, time: Array, means: ImageMeans, fitted: Sequence[bool] = (True, True, True)
) -> Linearity:
    """Compare image means with a linear model.

    Parameters
    ----------
    gain, time : ndarray, shape (stacks,)
        EM gain, and exposure time, seconds.
    means : ImageMeans
        Of the stacks. A floor of the errors (drift of the level, noise of the bias of rows) has
        to be in them already.
    fitted : sequence of bool
        Whether F, C and D are part of the model.

    Returns
    -------
    Linearity
    """
    known = np.isfinite(means.mean) & (means.error > 0)
    g, t, y, error = gain[known], time[known], means.mean[known], means.error[known]
    columns = np.column_stack([np.ones_like(g), g, g * t])
    design = columns[:, np.array(fitted)]
    base = _fit(design, y, error)
    if base is None:
        return _nothing(gain.size)
    beta = np.zeros(3)
    beta[np.array(fitted)] = base.beta
    signal = columns[:, 1:] @ beta[1:]
    # The mean frame of no charge takes up residuals, too: its signal tells nothing.
    tells = signal > LEAST_SIGNAL * error
    residual, left = y - design @ base.beta, np.sqrt(np.maximum(base.left, 0.0)) * error
    tells &= base.left > 1e-9
    relative = np.full((2, gain.size), np.nan)
    at = np.flatnonzero(known)[tells]
    relative[:, at] = residual[tells] / signal[tells], left[tells] / signal[tells]
    freedom = y.size - design.shape[1]
    chi2 = float(((residual / error) ** 2).sum())
    stack = -1
    if at.size:
        stack = int(at[np.argmax(np.abs(residual[tells] / left[tells]))])
    return Linearity(
        relative[0],
        relative[1],
        chi2,
        freedom,
        chi_square_tail(chi2, freedom) if freedom > 0 else np.nan,
        Estimate.normal(*relative[:, stack]) if stack >= 0 else Estimate.unknown(),
        stack,
        _largest(relative, base.hat, tells, at),
        _rms(chi2, freedom, float(((signal / error)[tells] ** 2).sum())),
        _departure(
            columns, fitted, y, error, beta, (0.0, t / t.max() - 1) if t.max() > 0 else None
        ),
        _departure(columns, fitted, y, error, beta, (g / g.max() - 1,) * 2),
    )


class _Fit(NamedTuple):
    """Parameters, what a residual keeps of its variance, and the projection on the model.

    Whitened: in units of the errors.
    """

    beta: Array
    left: Array
    hat: Array
    covariance: Array


def _fit(design: Array, y: Array, error: Array) -> _Fit | None:
    """Weighted least squares; None where the stacks do not tell the parameters."""
    if y.size < design.shape[1] or y.size == 0:
        return None
    A = design / error[:, None]
    scale = np.linalg.norm(A, axis=0)
    if not (scale > 0).all():
        return None
    U, sizes, Vt = np.linalg.svd(A / scale, full_matrices=False)
    if sizes[-1] < 1e-7 * sizes[0]:
        return None
    inverse = (Vt.T / sizes) @ U.T
    covariance = (Vt.T / sizes**2) @ Vt / np.outer(scale, scale)
    hat = U @ U.T
    return _Fit(inverse @ (y / error) / scale, 1.0 - np.diag(hat), hat, covariance)


def _nothing(stacks: int) -> Linearity:
    nothing, unknown = np.full(stacks, np.nan), Estimate.unknown()
    return Linearity(
        nothing, nothing, np.nan, 0, np.nan, unknown, -1, np.nan, unknown, unknown, unknown
    )


def _largest(relative: Array, hat: Array, tells: Array, at: Array) -> float:
    """Probability that the largest residual, in its error, lies as far off by chance."""
    if at.size == 0:
        return math.nan
    seen = float(np.abs(relative[0, at] / relative[1, at]).max())
    draws = np.random.default_rng(0).standard_normal((_DRAWS, hat.shape[0]))
    left = np.eye(hat.shape[0]) - hat
    pulls = (draws @ left)[:, tells] / np.sqrt(np.diag(left)[tells])
    farther = int((np.abs(pulls).max(axis=1) >= seen).sum())
    return (farther + 1) / (_DRAWS + 1)


def _rms(chi2: float, freedom: int, unit: float) -> Estimate:
    """Root mean square by the noncentral law of chi-square."""
    if freedom < 1 or not unit > 0:
        return Estimate.unknown()

    def below(a: float) -> float:
        return 1.0 - chi_square_tail(chi2, freedom, unit * a**2)

    return bounded_estimate(below, math.sqrt(2.0 * math.sqrt(2.0 * freedom) / unit))


def _departure(
    columns: Array,
    fitted: Sequence[bool],
    y: Array,
    error: Array,
    start: Array,
    shapes: Sequence[Any] | None,
) -> Estimate:
    """Factor of one more column: what squares add to g C and to g t D, by these shapes."""
    if shapes is None:
        return Estimate.unknown()
    chosen, beta, found = np.flatnonzero(fitted), start.copy(), None
    for _ in range(_ROUNDS):
        # C and D are those of the longest time, or highest gain: they move with the factor.
        more = sum(beta[k] * columns[:, k] * shapes[k - 1] for k in (1, 2))
        found = _fit(np.column_stack([columns[:, chosen], more]), y, error)
        if found is None:
            return Estimate.unknown()
        beta[chosen] = found.beta[:-1]
    assert found is not None
    sigma = math.sqrt(found.covariance[-1, -1])
    return Estimate.normal(found.beta[-1], sigma) if sigma < _VAGUE else Estimate.unknown()
