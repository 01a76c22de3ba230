"""Can these stacks be fitted? Decided from headers, before a pixel is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emdarks._core import design_rank
from emdarks.errors import CalDarksLSQException, InputError
from emdarks.stacks.group import Stack, check_stack

#: One more than there are parameters.
MIN_STACKS = 4
#: The same for a fit of two maps, for stacks of one gain or of one time.
MIN_LEVEL_STACKS = 3
#: Relative spread of the measured gains of stacks of one commanded gain.
SAME_GAIN = 0.01


def design(stacks: Sequence[Stack]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Columns g and g t of the fit, one entry a stack."""
    gain = np.array([stack.em_gain for stack in stacks], dtype=np.float64)
    return gain, gain * np.array([stack.exposure_time for stack in stacks], dtype=np.float64)


def _pairs(stacks: Sequence[Stack]) -> str:
    return ", ".join(f"({stack.em_gain:g}, {stack.exposure_time:g} s)" for stack in stacks)


def check_campaign(stacks: Sequence[Stack], k_gain: float | None, min_frames: int) -> None:
    """Refuse stacks that cannot tell F, C and D apart.

    Raises
    ------
    CalDarksLSQException
        Too few stacks, a single gain or time, a gain below 1, a negative time, a
        k-gain that is not positive, the same (gain, time) twice, a design of rank
        below 3, or a stack of fewer frames than ``min_frames``.
    """
    known = f"there are {len(stacks)} (EM gain, time): {_pairs(stacks)}"
    if len(stacks) < MIN_STACKS:
        raise CalDarksLSQException(
            f"a fit of three parameters needs at least {MIN_STACKS} stacks of different EM gain "
            f"and exposure time; {known}{_of_level(stacks)}"
        )
    _check_stacks(stacks, k_gain)
    if len({stack.em_gain for stack in stacks}) < 2:
        raise CalDarksLSQException(
            f"all stacks have one EM gain; at least two are needed; {known}{_of_level(stacks)}"
        )
    if len({stack.exposure_time for stack in stacks}) < 2:
        raise CalDarksLSQException(
            f"all stacks have one exposure time; at least two are needed; {known}"
            f"{_of_level(stacks)}"
        )
    _check_twins(stacks)
    if not design_rank(*design(stacks)):
        raise CalDarksLSQException(
            "these EM gains and exposure times cannot tell F, C and D apart (rank below 3); "
            f"vary the time at a high gain; {known}"
        )
    _check_frames(stacks, min_frames)


def check_each(stacks: Sequence[Stack], k_gain: float | None, min_frames: int) -> None:
    """Refuse stacks that no fit can use, whatever the others are.

    Raises
    ------
    CalDarksLSQException
        As `check_campaign` says of gain, time, k-gain, twins and frames.
    """
    _check_stacks(stacks, k_gain)
    _check_twins(stacks)
    _check_frames(stacks, min_frames)


def _check_stacks(stacks: Sequence[Stack], k_gain: float | None) -> None:
    for stack in stacks:
        try:
            check_stack(stack, k_gain)
        except InputError as error:
            raise CalDarksLSQException(str(error)) from None


def fits_level(stacks: Sequence[Stack]) -> str:
    """What three stacks or more have in common, EM gain or exposure time; "" where nothing."""
    if len(stacks) < MIN_LEVEL_STACKS:
        return ""
    if len({stack.exposure_time for stack in stacks}) == 1:
        return "exposure time"
    gains = [stack.em_gain for stack in stacks]
    commanded = {stack.commanded_gain for stack in stacks}
    # Measured gains of one commanded gain differ a little.
    same = len(commanded) == 1 and max(gains) - min(gains) < SAME_GAIN * min(gains)
    return "EM gain" if same or len(set(gains)) == 1 else ""


def _of_level(stacks: Sequence[Stack]) -> str:
    """The way out where two maps can be fitted instead of three."""
    common = fits_level(stacks)
    if not common:
        return ""
    return (
        f'; two maps that make darks of this {common} can be fitted: model="level" '
        "(emdarks noisemaps --model level)"
    )


def _check_twins(stacks: Sequence[Stack]) -> None:
    """Refuse the same gain and time twice."""
    seen: dict[tuple[float, float], Stack] = {}
    for stack in stacks:
        twin = seen.setdefault((stack.em_gain, stack.exposure_time), stack)
        if twin is not stack:
            raise CalDarksLSQException(
                f"two stacks have EM gain {stack.em_gain:g} and exposure time "
                f"{stack.exposure_time:g} s: {twin} and {stack}"
            )


def _check_frames(stacks: Sequence[Stack], min_frames: int) -> None:
    """Refuse stacks too small to tell a scatter."""
    if max(len(stack.frames) for stack in stacks) < 2:
        raise CalDarksLSQException(
            "every stack has a single frame, so no scatter tells the error; add frames"
        )
    for stack in stacks:
        if len(stack.frames) < min_frames:
            raise CalDarksLSQException(
                f"{stack.frames[0].record.name}: is the only frame of {stack}; this estimator "
                f"needs at least {min_frames}, since their scatter tells the error"
            )
