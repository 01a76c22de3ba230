"""Stacks that might be taken, the noise of their samples, and whether they can be fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks._core import design_rank
from emdarks.arguments import is_number, is_whole
from emdarks.cameras import NoiseFigures
from emdarks.errors import InputError
from emdarks.fit.noise_model import HOT_JUMP
from emdarks.one_electron import excess_noise, stage_probability
from emdarks.stacks.design import MIN_STACKS

Array = npt.NDArray[np.float64]

#: Largest number that is taken for one: beyond, floating point gives out in what follows.
MOST = 1e12

#: Samples that a cosmic ray takes: its pixels, flagged neighbours and tail. 52 to 76 in simulated
#: frames of EM gain 1000 and 5000, few of lower gains.
SAMPLES_OF_A_RAY = 70

#: Frames that agree in time to this are one stack.
TIME_TOLERANCE = 1e-6


class PlannedStack(NamedTuple):
    """Frames of one setting.

    Attributes
    ----------
    gain : float
        EM gain.
    exposure_time : float
        Seconds.
    frames : int
        How many.
    """

    gain: float
    exposure_time: float
    frames: int

    def __str__(self) -> str:
        return f"EM gain {self.gain:g} and exposure time {self.exposure_time:g} s"


@dataclass(frozen=True)
class Readout:
    """What becomes of the electrons of a sample (a sample: one pixel of one frame).

    Attributes
    ----------
    kappa : float
        Excess noise of the gain register: variance over g^2 times the mean electrons.
        2 is that of an ideal register at high gain.
    stages : int, optional
        Stages of the register. Where given, kappa is that of so many stages at each gain
        (T. E. Harris, *The Theory of Branching Processes*, 1963, chapter I, eq. 5.3).
    lost_per_frame, lost_per_second : float
        Share of the samples lost to flagged cosmic rays: at exposure time 0, and what is
        added to it per second of exposure.
    """

    kappa: float = 2.0
    stages: int | None = None
    lost_per_frame: float = 0.0
    lost_per_second: float = 0.0

    def __post_init__(self) -> None:
        if not is_number(self.kappa) or not 0 < self.kappa <= MOST:
            raise InputError(f"excess noise {self.kappa}: give a number above 0, such as 2")
        if self.stages is not None and not (is_whole(self.stages) and self.stages >= 1):
            raise InputError(f"a register has at least one stage, not {self.stages}")
        for lost in (self.lost_per_frame, self.lost_per_second):
            if not is_number(lost) or not 0 <= lost < 1:
                raise InputError(f"share of lost samples {lost}: give a number from 0 to 1")

    def excess(self, gain: float) -> float:
        """Variance of the register's output over g^2 times the mean electrons that enter.

        Parameters
        ----------
        gain : float
            EM gain, at least 1.

        Returns
        -------
        float
            ``kappa``; or 1 + (1 - 1/g) (1 - p) / (1 + p) with p = g^(1/stages) - 1.

        Raises
        ------
        InputError
            No register of so many stages has this gain.
        """
        if self.stages is None:
            return self.kappa
        if stage_probability(gain, self.stages) > 1:
            raise InputError(f"EM gain {gain:g} cannot come from {self.stages} stages")
        return excess_noise(gain, self.stages)

    def under_rays(self, rate: float, pixel_size: float) -> Readout:
        """The same where cosmic rays take samples, too.

        Parameters
        ----------
        rate : float
            Rays per cm^2 and second.
        pixel_size : float
            Micrometres.

        Raises
        ------
        InputError
            No sample is left of a second.
        """
        if not is_number(rate) or not 0 <= rate <= MOST:
            raise InputError(f"{rate} cosmic rays per cm2 and s: give a number, 0 or more")
        lost = rate * SAMPLES_OF_A_RAY * (1e-4 * pixel_size) ** 2
        return replace(self, lost_per_second=self.lost_per_second + lost)

    def good_share(self, exposure_time: float) -> float:
        """Share of samples that are not lost, at an exposure time in seconds.

        Raises
        ------
        InputError
            None is left.
        """
        lost = self.lost_per_frame + self.lost_per_second * exposure_time
        if lost >= 1:
            raise InputError(
                f"at {exposure_time:g} s cosmic rays take every sample; expose for less time"
            )
        return 1.0 - lost


def information(
    gain: Array, exposure_time: Array, noise: NoiseFigures, readout: Readout
) -> tuple[Array, Array]:
    """Rows of the fit, and what one frame of each stack weighs in it.

    Parameters
    ----------
    gain, exposure_time : ndarray, shape (stacks,)
        EM gain; seconds.
    noise : NoiseFigures
        Read noise, C and D.
    readout : Readout
        Excess noise and lost samples.

    Returns
    -------
    rows : ndarray, shape (stacks, 3)
        1, g, g t.
    weight : ndarray, shape (stacks,)
        Expected share of good samples over the variance of a sample,
        v = rn^2 + kappa g^2 (C + t D), EM electrons squared.
    """
    rows = np.stack([np.ones_like(gain), gain, gain * exposure_time], axis=1)
    charge = noise.clock_induced_charge + exposure_time * noise.dark_current
    excess = np.array([readout.excess(g) for g in gain])
    good = np.array([readout.good_share(t) for t in exposure_time])
    return rows, good / (noise.read_noise**2 + excess * gain**2 * charge)


def distinguishes(stacks: Sequence[PlannedStack]) -> bool:
    """Whether stacks can tell F, C and D apart: rank 3, by the fit's own rule."""
    gain = np.array([stack.gain for stack in stacks])
    time = np.array([stack.exposure_time for stack in stacks])
    return design_rank(gain, gain * time)


def check_noise(noise: NoiseFigures) -> None:
    """Refuse noise figures that are none.

    Raises
    ------
    InputError
        One is negative or not finite, or there is no read noise.
    """
    figures = {
        "read noise": noise.read_noise,
        "clock-induced charge": noise.clock_induced_charge,
        "dark current": noise.dark_current,
    }
    for name, value in figures.items():
        if not 0 <= value <= MOST:
            raise InputError(f"{name} {value:g}: give a number, 0 or more")
    if noise.read_noise == 0:
        raise InputError("read noise 0: frames without read noise need no plan; give the camera's")


def check_design(stacks: Sequence[PlannedStack], noise: NoiseFigures) -> None:
    """Refuse pairs of EM gain and exposure time that cannot be fitted, or taken.

    Parameters
    ----------
    stacks : sequence of PlannedStack
        The pairs; numbers of frames do not matter.
    noise : NoiseFigures
        Full wells, C and D.

    Raises
    ------
    InputError
        A gain below 1, a negative time, a pair given twice, fewer than 4 pairs, a single
        gain or time, pairs that cannot tell F, C and D apart, or a pair beyond the full
        wells.
    """
    for stack in stacks:
        if not 1 <= stack.gain <= MOST:
            raise InputError(f"EM gain {stack.gain:g} is below 1 or no number; a register has >= 1")
        if stack.frames > MOST:
            raise InputError(f"more than {MOST:g} frames of EM gain {stack.gain:g}: give fewer")
        if not 0 <= stack.exposure_time <= MOST:
            raise InputError(f"exposure time {stack.exposure_time:g} s: give a number, 0 or more")
    _check_twins(stacks)
    known = ", ".join(f"({stack.gain:g}, {stack.exposure_time:g} s)" for stack in stacks)
    if len(stacks) < MIN_STACKS:
        raise InputError(
            f"a fit of F, C and D needs at least {MIN_STACKS} pairs of EM gain and exposure time; "
            f"there are {len(stacks)}: {known or 'none'}"
        )
    if len({stack.gain for stack in stacks}) < 2:
        raise InputError(
            f"all pairs have EM gain {stacks[0].gain:g}: F and C cannot be told apart; "
            "add a second gain"
        )
    if len({stack.exposure_time for stack in stacks}) < 2:
        raise InputError(
            f"all pairs have exposure time {stacks[0].exposure_time:g} s: C and D cannot be "
            "told apart; add a second time"
        )
    if not distinguishes(stacks):
        raise InputError(
            "these pairs cannot tell F, C and D apart (rank below 3); "
            f"vary the time at a high gain: {known}"
        )
    for stack in stacks:
        _check_wells(stack, noise)


def _check_twins(stacks: Sequence[PlannedStack]) -> None:
    for i, stack in enumerate(stacks):
        for other in stacks[:i]:
            if stack.gain == other.gain and math.isclose(
                stack.exposure_time, other.exposure_time, rel_tol=TIME_TOLERANCE
            ):
                raise InputError(f"{stack} are there twice; give them once, with all frames")


def _check_wells(stack: PlannedStack, noise: NoiseFigures) -> None:
    """All but 1 in 10,000 samples must stay below both full wells.

    Poisson electrons, lam on average, reach lam + 5 sqrt(lam); behind the register the
    bright tail ends at g (lam + 5 sqrt(2 lam) + 9.2), with 9.2 = ln(1e4) for the gain of
    a single electron.
    """
    charge = noise.clock_induced_charge + stack.exposure_time * noise.dark_current
    if charge + 5 * math.sqrt(charge) > noise.full_well_image:
        raise InputError(
            f"{stack}: {charge:.3g} electrons overflow the full well of the image area "
            f"({noise.full_well_image:g} e-); expose for less time"
        )
    tail = stack.gain * (charge + 5 * math.sqrt(2 * charge) + HOT_JUMP)
    if tail > noise.full_well_register:
        raise InputError(
            f"{stack}: the bright tail of {charge:.3g} electrons a sample reaches {tail:.3g} EM "
            f"electrons, above the register's full well ({noise.full_well_register:g}); lower "
            "the gain"
        )


def as_stacks(stacks: Sequence[Sequence[Any]]) -> tuple[PlannedStack, ...]:
    """Planned stacks from triples (gain, exposure time in s, frames).

    Raises
    ------
    InputError
        They are no triples of numbers, or a number of frames is not whole or below 1.
    """
    planned = []
    for stack in stacks:
        try:
            gain, time, frames = stack
            planned.append(PlannedStack(float(gain), float(time), int(frames)))
            whole = int(frames) == frames
        except (TypeError, ValueError):
            raise InputError(
                f"stack {stack!r}: give EM gain, exposure time and number of frames"
            ) from None
        if not whole or frames < 1:
            raise InputError(f"{planned[-1]}: {frames:g} frames; give a whole number, 1 or more")
    return tuple(planned)
