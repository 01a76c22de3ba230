"""What frames tell by counts and clipped sums, for predictions of the counting estimator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emdarks.cameras import NoiseFigures
from emdarks.counting_sums import LOW_GAIN, Thresholds
from emdarks.errors import InputError
from emdarks.fit.counting_errors import Expectations
from emdarks.fit.counting_terms import statistics
from emdarks.one_electron import check_stages, one_electron
from emdarks.planning.design import PlannedStack, Readout

Array = npt.NDArray[np.float64]

#: Samples are flagged from this share of a full well on.
FLAGGED = 0.9
#: Excess noise of the register whose law the estimator has.
IDEAL = 2.0


def counted_information(
    stacks: Sequence[PlannedStack], noise: NoiseFigures, readout: Readout
) -> Array:
    """Fisher's information on F, C and D of one frame of each stack: method page, eq. 20 (law).

    Parameters
    ----------
    stacks : sequence of PlannedStack
        The stacks; numbers of frames do not matter.
    noise : NoiseFigures
        Read noise, C and D, full wells.
    readout : Readout
        Lost samples; cosmic rays above T2 are lost ones, too.

    Returns
    -------
    ndarray, shape (stacks, 3, 3)
        From the mean of the samples below T of gains below 2 read noises, else from K and LO.
        HI, which pixels of more than half an electron use, would add to it.

    Raises
    ------
    InputError
        The register is known by its excess noise only, or has few stages, or samples below T2
        would be flagged.
    """
    if readout.stages is None and readout.kappa != IDEAL:
        raise InputError(
            "the counting estimator has the law of a register of so many stages: give them "
            "(stages, --stages) in the place of kappa (--kappa), or take the pooled estimator"
        )
    check_stages(_stages(readout))
    return np.array([_of_stack(stack, noise, readout) for stack in stacks])


def has_low_gain(gain: Array, noise: NoiseFigures) -> npt.NDArray[np.bool_]:
    """Which gains are so low that cosmic rays below the threshold stay in the mean.

    A slope with time takes them out: it needs two times of such a gain.
    """
    low: npt.NDArray[np.bool_] = gain < LOW_GAIN * noise.read_noise
    return low


def _stages(readout: Readout) -> float:
    return math.inf if readout.stages is None else readout.stages


def _of_stack(stack: PlannedStack, noise: NoiseFigures, readout: Readout) -> Array:
    gain, time, _ = stack
    charge = noise.clock_induced_charge + time * noise.dark_current
    full = min(noise.full_well_register, gain * noise.full_well_image)
    at = Thresholds.of(gain, noise.read_noise, FLAGGED * full)
    low = bool(has_low_gain(np.array(gain), noise))
    electron = one_electron(gain, noise.read_noise, _stages(readout), at.T)
    end = at.T if low else at.T2
    used = statistics(end, charge, gain, noise.read_noise, electron=electron)["P"][0]
    good = readout.good_share(time) * (1 - used)
    distance = 0.0 if low else at.T2 - at.T
    expectations = Expectations.of(at.T, distance, gain, time, noise.read_noise, charge, electron)
    found: Array = good * expectations.information
    return found
