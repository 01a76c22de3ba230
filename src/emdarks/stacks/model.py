"""Which of F, C and D the stacks of a campaign can tell.

Method page, eq. 15 (level).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emdarks.errors import CalDarksLSQException
from emdarks.stacks.design import MIN_LEVEL_STACKS, check_campaign, check_each, design, fits_level
from emdarks.stacks.group import Stack

#: Values of the keyword ``model``.
MODELS = ("full", "level")

#: Relative spread of times, or gains, below which two maps cannot be told apart.
LEAST_SPREAD = 1e-4


@dataclass(frozen=True, slots=True)
class Model:
    """What is fitted to the mean of a stack of EM gain g and time t.

    Attributes
    ----------
    name : {"full", "one-gain", "one-time"}
        F + g C + g t D; L + g t D, where all stacks have one gain and F and C become one
        level L = F + g C, in the place of F; F + g C', where all have one time and C and D
        become C' = C + t D, in the place of C.
    gain, time : float
        The one EM gain, or the one exposure time (s); NaN where there are several.
    """

    name: str = "full"
    gain: float = np.nan
    time: float = np.nan

    @property
    def has_c(self) -> bool:
        """Whether the plane of C is fitted."""
        return self.name != "one-gain"

    @property
    def has_d(self) -> bool:
        """Whether the plane of D is fitted, in the imaging area."""
        return self.name != "one-time"

    @property
    def fitted(self) -> npt.NDArray[np.bool_]:
        """Whether F, C and D are fitted."""
        return np.array([True, self.has_c, self.has_d])

    @property
    def planes(self) -> list[tuple[int, str]]:
        """Index and name of each map that is fitted."""
        names = "L" if not self.has_c else "F", "C" if self.has_d else "C + t D", "D"
        return [(k, name) for k, name in enumerate(names) if self.fitted[k]]


FULL = Model()


def model_of_stacks(
    stacks: Sequence[Stack], model: str, k_gain: float | None, min_frames: int
) -> Model:
    """What is fitted to these stacks; refuses those that it cannot be fitted to.

    Parameters
    ----------
    stacks : sequence of Stack
        The stacks.
    model : {"full", "level"}
        What was asked for.
    k_gain : float or None
        K-gain that overrides the headers'.
    min_frames : int
        Frames that each stack needs.
    """
    if model == "full":
        check_campaign(stacks, k_gain, min_frames)
        return FULL
    return check_level_campaign(stacks, k_gain, min_frames)


def check_level_campaign(stacks: Sequence[Stack], k_gain: float | None, min_frames: int) -> Model:
    """Refuse stacks that a fit of two maps cannot use; say which fit it is.

    Raises
    ------
    CalDarksLSQException
        Fewer than three stacks, several gains and several times, or what
        `emdarks.stacks.design.check_campaign` refuses of single stacks.
    """
    known = ", ".join(f"({stack.em_gain:g}, {stack.exposure_time:g} s)" for stack in stacks)
    known = f"there are {len(stacks)} (EM gain, time): {known}"
    if len(stacks) < MIN_LEVEL_STACKS:
        raise CalDarksLSQException(
            f"a fit of two parameters needs at least {MIN_LEVEL_STACKS} stacks of different "
            f"exposure times at one EM gain, or of different gains at one time; {known}"
        )
    check_each(stacks, k_gain, min_frames)
    common = fits_level(stacks)
    if not common:
        raise CalDarksLSQException(
            "the model 'level' is for stacks of one EM gain and several exposure times, or of one "
            f"time and several gains; fit the full model to these, or take fewer; {known}"
        )
    gain, gain_time = design(stacks)
    one_gain = common == "EM gain"
    column = gain_time if one_gain else gain
    if not np.ptp(column) > LEAST_SPREAD * column.max():
        raise CalDarksLSQException(
            f"these {'exposure times' if one_gain else 'EM gains'} lie too close together to tell "
            f"two maps apart; {known}"
        )
    if one_gain:
        return Model("one-gain", gain=float(gain.mean()))
    return Model("one-time", time=float(stacks[0].exposure_time))
