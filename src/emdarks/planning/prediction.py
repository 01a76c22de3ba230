"""The errors that a campaign will give, before it is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.arguments import is_number
from emdarks.cameras import NoiseFigures
from emdarks.errors import InputError
from emdarks.planning.counting import counted_information
from emdarks.planning.design import (
    MOST,
    PlannedStack,
    Readout,
    as_stacks,
    check_design,
    check_noise,
    information,
)
from emdarks.stacks.design import MIN_STACKS

Array = npt.NDArray[np.float64]

#: F, C or D; "dark:G,T", or the pair (gain, exposure time in s) of a synthesised dark.
Goal = str | tuple[float, float]

#: Estimators whose errors are predicted.
ESTIMATORS = ("pooled", "counting")
_PARAMETERS = ("F", "C", "D")


def _dark_of(goal: Goal) -> tuple[float, float]:
    """Gain and time of the synthesised dark that is the goal."""
    words = goal.removeprefix("dark:").split(",") if isinstance(goal, str) else goal
    try:
        gain, time = (float(word) for word in words)
    except (TypeError, ValueError):
        raise InputError(
            f"goal {goal!r} is unknown; choose F, C, D, or dark:GAIN,TIME such as dark:1000,60"
        ) from None
    if not (1 <= gain <= MOST and 0 <= time <= MOST):
        raise InputError(f"a dark of EM gain {gain:g} and {time:g} s: the gain is at least 1")
    return gain, time


def goal_name(goal: Goal) -> str:
    """F, C, D or dark:G,T."""
    if goal in _PARAMETERS:
        return str(goal)
    gain, time = _dark_of(goal)
    return f"dark:{gain:g},{time:g}"


def goal_vector(goal: Goal) -> Array:
    """The goal as a linear function of F, C and D: F/g + C + t D for a synthesised dark.

    Raises
    ------
    InputError
        The goal is unknown.
    """
    if goal in _PARAMETERS:
        return np.array([float(goal == name) for name in _PARAMETERS])
    gain, time = _dark_of(goal)
    return np.array([1.0 / gain, 1.0, time])


@dataclass(frozen=True)
class DarkPrediction:
    """Predicted error of a synthesised dark.

    Attributes
    ----------
    gain : float
        EM gain.
    exposure_time : float
        Seconds.
    charge : float
        C + t D, detected electrons: what the dark is there to subtract, but for F/g.
    error : float
        Standard error of F/g + C + t D, correlations included, detected electrons.
    """

    gain: float
    exposure_time: float
    charge: float
    error: float


@dataclass(frozen=True)
class Prediction:
    """Predicted errors of a campaign: standard errors per pixel of the imaging area.

    Attributes
    ----------
    stacks : tuple of PlannedStack
        The campaign.
    noise : NoiseFigures
        The pixel's noise.
    readout : Readout
        Excess noise and lost samples.
    overhead : float
        Seconds per frame on top of the exposure.
    errors : tuple of float
        Of F (EM electrons), C (electrons per frame) and D (electrons per second).
    correlations : tuple of float
        F-C, F-D, C-D.
    unfittable : float
        Expected share of pixels that cosmic rays leave with fewer than 4 usable stacks.
    darks : tuple of DarkPrediction
        Synthesised darks that were asked for.
    """

    stacks: tuple[PlannedStack, ...]
    noise: NoiseFigures
    readout: Readout
    overhead: float
    errors: tuple[float, float, float]
    correlations: tuple[float, float, float]
    unfittable: float
    darks: tuple[DarkPrediction, ...] = ()

    @property
    def frames(self) -> int:
        """Number of all frames."""
        return sum(stack.frames for stack in self.stacks)

    @property
    def duration(self) -> float:
        """Seconds that all frames take, overhead included."""
        return math.fsum(s.frames * (s.exposure_time + self.overhead) for s in self.stacks)

    @property
    def covariance(self) -> Array:
        """Of F, C and D, shape (3, 3)."""
        fc, fd, cd = self.correlations
        correlation = np.array([[1.0, fc, fd], [fc, 1.0, cd], [fd, cd, 1.0]])
        covariance: Array = correlation * np.outer(self.errors, self.errors)
        return covariance

    def error_of(self, goal: Goal) -> float:
        """Standard error of F, C or D, or of a synthesised dark.

        Parameters
        ----------
        goal : str or tuple of float
            "F", "C", "D"; "dark:G,T" or (gain, exposure time in s).

        Returns
        -------
        float

        Raises
        ------
        InputError
            The goal is unknown.
        """
        c = goal_vector(goal)
        return math.sqrt(c @ self.covariance @ c)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, texts, lists and dictionaries, with units in the names."""
        fc, fd, cd = self.correlations
        return {
            "stacks": [
                {
                    "em_gain": stack.gain,
                    "exposure_time_s": stack.exposure_time,
                    "frames": stack.frames,
                    "duration_s": stack.frames * (stack.exposure_time + self.overhead),
                }
                for stack in self.stacks
            ],
            "frames": self.frames,
            "overhead_s": self.overhead,
            "duration_s": self.duration,
            "noise": {
                "read_noise_e": self.noise.read_noise,
                "clock_induced_charge_e_per_frame": self.noise.clock_induced_charge,
                "dark_current_e_per_s": self.noise.dark_current,
                **asdict(self.readout),
            },
            "error_fpn_e": self.errors[0],
            "error_cic_e_per_frame": self.errors[1],
            "error_dc_e_per_s": self.errors[2],
            "correlation_fpn_cic": fc,
            "correlation_fpn_dc": fd,
            "correlation_cic_dc": cd,
            "unfittable_share": self.unfittable,
            "darks": [
                {
                    "em_gain": dark.gain,
                    "exposure_time_s": dark.exposure_time,
                    "charge_e": dark.charge,
                    "error_e": dark.error,
                }
                for dark in self.darks
            ],
        }


def predict(
    stacks: Sequence[Sequence[Any]],
    noise: NoiseFigures,
    darks: Sequence[tuple[float, float]] = (),
    *,
    readout: Readout | None = None,
    overhead: float = 0.0,
    estimator: str = "pooled",
) -> Prediction:
    """Predict the errors of noise maps from a campaign that is yet to be taken.

    The means of the stacks, y_i = F + g_i C + g_i t_i D, are fitted with weights n_i / v_i,
    v_i = rn^2 + kappa g_i^2 (C + t_i D), as ``estimator="pooled"`` does. The covariance is
    then (X' W X)^-1, with X the rows (1, g_i, g_i t_i) and W the diagonal of the weights
    (least squares with known weights; Aitken 1935), n_i the expected number of good samples.

    Parameters
    ----------
    stacks : sequence of (gain, exposure time in s, frames)
        The campaign, such as `PlannedStack` or `emdarks.simulate.StackPlan`.
    noise : NoiseFigures
        Read noise, C and D of the pixel, and the full wells: ``load_camera("excam").noise``.
    darks : sequence of (gain, exposure time in s)
        Synthesised darks whose errors are wanted.
    readout : Readout, optional
        Excess noise and samples lost to cosmic rays; kappa = 2 and none by default.
    overhead : float
        Seconds per frame on top of the exposure; goes into the duration only.
    estimator : {"pooled", "counting"}
        "counting": the covariance is the inverse of Fisher's information of the counts and
        clipped sums that this estimator takes. Cosmic rays that are not flagged do not enter
        then; what they take of the samples is that of ``readout``. With "pooled" they would be
        signal, which no error tells.

    Returns
    -------
    Prediction
        Standard errors for a pixel of the imaging area. Errors of the gain and of the
        k-gain are not in them.

    Raises
    ------
    InputError
        The campaign cannot be fitted or taken (see the message), or an argument makes no
        sense.

    Examples
    --------
    >>> from emdarks import load_camera
    >>> from emdarks.planning import predict
    >>> stacks = [(gain, time, 100) for gain in (1, 5000) for time in (2, 100)]
    >>> prediction = predict(stacks, load_camera("excam").noise, [(1000, 60)])
    >>> prediction.frames, prediction.duration
    (400, 20400.0)
    >>> print(f"{prediction.errors[2]:.1e}")  # e-/s, of D
    5.0e-04
    """
    planned = as_stacks(stacks)
    check_noise(noise)
    check_design(planned, noise)
    if not is_number(overhead) or not 0 <= overhead <= MOST:
        raise InputError(f"overhead {overhead} s: give a number, 0 or more")
    if max(stack.frames for stack in planned) < 2:
        raise InputError("every stack has one frame, so no scatter tells the error; add frames")
    readout = readout or Readout()
    frames = np.array([stack.frames for stack in planned], dtype=np.float64)
    told = information_of(planned, noise, readout, estimator)
    covariance = _inverse(np.tensordot(frames, told, axes=1))
    errors = np.sqrt(np.diagonal(covariance))
    correlation = covariance / np.outer(errors, errors)
    return Prediction(
        planned,
        noise,
        readout,
        float(overhead),
        (float(errors[0]), float(errors[1]), float(errors[2])),
        (float(correlation[0, 1]), float(correlation[0, 2]), float(correlation[1, 2])),
        _unfittable(planned, readout),
        tuple(_dark(dark, covariance, noise) for dark in darks),
    )


def information_of(
    stacks: Sequence[PlannedStack], noise: NoiseFigures, readout: Readout, estimator: str
) -> Array:
    """What one frame of each stack tells of F, C and D, shape (stacks, 3, 3).

    Raises
    ------
    InputError
        The errors of the estimator are not predicted, or not for these figures.
    """
    if estimator not in ESTIMATORS:
        raise InputError(f"estimator is {estimator!r}; it must be one of {', '.join(ESTIMATORS)}")
    if estimator == "counting":
        return counted_information(stacks, noise, readout)
    gain = np.array([stack.gain for stack in stacks])
    time = np.array([stack.exposure_time for stack in stacks])
    rows, weight = information(gain, time, noise, readout)
    told: Array = weight[:, None, None] * rows[:, :, None] * rows[:, None, :]
    return told


def _inverse(normal: Array) -> Array:
    """Columns scaled to unit diagonal: the normal matrix's condition is almost all scaling."""
    scale = np.sqrt(np.diagonal(normal))
    inverse: Array = np.linalg.inv(normal / np.outer(scale, scale)) / np.outer(scale, scale)
    return inverse


def _unfittable(stacks: Sequence[PlannedStack], readout: Readout) -> float:
    """Probability of fewer than 4 stacks with a good sample, stack after stack."""
    usable = np.zeros(MIN_STACKS + 1)  # probabilities of 0, 1, 2, 3, and 4 or more
    usable[0] = 1.0
    for stack in stacks:
        all_lost = (1.0 - readout.good_share(stack.exposure_time)) ** stack.frames
        more = usable * (1.0 - all_lost)
        usable *= all_lost
        usable[1:] += more[:-1]
        usable[-1] += more[-1]
    return float(usable[:-1].sum())


def _dark(dark: tuple[float, float], covariance: Array, noise: NoiseFigures) -> DarkPrediction:
    gain, time = _dark_of(dark)
    c = goal_vector(dark)
    charge = noise.clock_induced_charge + time * noise.dark_current
    return DarkPrediction(gain, time, charge, math.sqrt(c @ covariance @ c))
