"""How far the figures of single frames lie from those of their stack.

A frame's level is a mean over many pixels, so noise alone moves it little and by a known
amount (`frame_errors`). Real levels jitter more where the bias subtraction leaves a
residue; `jitter` measures by how much, from the bulk of the frames, which single bad ones
cannot move. A frame is suspect where both together do not explain its level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.checks.summary import StackSummary
from emdarks.checks.thresholds import FRAMES_TO_COMPARE, MANY_STEPS

Array = npt.NDArray[Any]

#: From median absolute deviation to standard deviation, for a normal law.
NORMAL_MAD = 1.4826


def frame_errors(stack: StackSummary, pixels: int) -> Array:
    """Standard errors that noise gives the levels of a stack's frames.

    Parameters
    ----------
    stack : StackSummary
        The stack.
    pixels : int
        Pixels of the imaging area.

    Returns
    -------
    ndarray of float64, shape (frames,)
        EM electrons.

    Notes
    -----
    With the variance v of a pixel's samples, the variance S^2 of the pixels' means and the
    share m of masked samples, sqrt((v + m S^2) / good samples): a mask that changes from
    frame to frame samples the fixed pattern anew.
    """
    masked = np.array([frame.figures.masked for frame in stack.frame_summaries])
    scatter = np.array([frame.figures.scatter for frame in stack.frame_summaries])
    scatter2 = finite_median(scatter) ** 2
    # One wild frame raises the variance of all samples, not the median of the scatters.
    variance = min(stack.noise**2, scatter2) if math.isfinite(stack.noise) else scatter2
    good = np.maximum((1 - masked) * pixels, 1)
    errors: Array = np.sqrt((variance + masked * (scatter2 - variance)) / good)
    return errors


def scatter_errors(stack: StackSummary, pixels: int) -> Array:
    """Relative standard errors that noise gives the scatters of a stack's frames.

    Notes
    -----
    The error of a variance is the fourth moment's root over the number of samples. Read noise
    is normal, with 2 v^2 for a variance v. Electrons multiplied by a gain g are few and skewed:
    12 g^2 v. Where a few hot pixels rule the scatter, a mask that hides one of them shows:
    k S^4 for the pattern's variance S^2 and kurtosis k.
    """
    masked = np.array([frame.figures.masked for frame in stack.frame_summaries])
    scatter = finite_median(np.array([frame.figures.scatter for frame in stack.frame_summaries]))
    total = scatter**2
    noise = min(stack.noise**2, total) if math.isfinite(stack.noise) else total
    pattern = total - noise
    fourth = 2 * noise**2 + 12 * stack.em_gain**2 * noise
    if math.isfinite(stack.kurtosis):
        fourth += stack.kurtosis * pattern**2
    good = np.maximum((1 - masked) * pixels, 1)
    errors: Array = 0.5 * np.sqrt(fourth / good) / total if total > 0 else np.full(good.shape, 0.0)
    return errors


def departures(values: Sequence[Array], errors: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """How far values lie from the medians of their stacks.

    Parameters
    ----------
    values, errors : sequence of ndarray
        Figures of the frames of each stack, and the errors that noise gives them.

    Returns
    -------
    offsets, sigmas : list of ndarray
        Value minus median, and the same over error times jitter; NaN in stacks of fewer
        than four frames, and where a value is NaN.
    """
    offsets = [_offsets(level) for level in values]
    scaled = [_over(offset, error) for offset, error in zip(offsets, errors, strict=True)]
    everywhere = jitter(np.concatenate([z * _few(z) for z in scaled])) if scaled else 1.0
    return offsets, [z / max(everywhere, jitter(z)) for z in scaled]


def jitter(sigmas: Array) -> float:
    """Scatter of values in units of their errors; 1 at least."""
    finite = np.abs(sigmas[np.isfinite(sigmas)])
    if finite.size < FRAMES_TO_COMPARE:
        return 1.0
    return max(1.0, _few(finite) * robust_deviation(finite))


def robust_deviation(deviations: Array) -> float:
    """Standard deviation of a normal law with the median of these absolute deviations."""
    return NORMAL_MAD * float(np.median(np.abs(deviations)))


def _few(values: Array) -> float:
    """Factor for the median of few absolute deviations, which is too small on average."""
    count = int(np.isfinite(values).sum())
    return count / (count - 0.8) if count >= FRAMES_TO_COMPARE else 1.0


def step_jitter(values: Array, errors: Array) -> Array:
    """Steps from frame to frame, less their median, in units of their errors.

    A steady drift is the same in each step, and a bad frame is in two: neither moves the
    bulk of what is left. Few steps are left as they are: their median would take too much.
    """
    steps = np.diff(values)
    middle = np.nanmedian(steps) if np.isfinite(steps).sum() >= MANY_STEPS else 0.0
    return _over(steps - middle, np.hypot(errors[1:], errors[:-1]))


def _offsets(values: Array) -> Array:
    enough = np.isfinite(values).sum() >= FRAMES_TO_COMPARE
    offsets: Array = values - np.nanmedian(values) if enough else np.full(values.shape, np.nan)
    return offsets


def _over(offsets: Array, errors: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        sigmas: Array = offsets / errors
    # Without noise nothing can be judged.
    judged: Array = np.where(np.isfinite(sigmas), sigmas, np.nan)
    return judged


def finite_median(values: npt.ArrayLike) -> float:
    """Median of the finite values; NaN where there is none."""
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    return float(np.median(finite)) if finite.size else math.nan
