"""What disturbs a frame: cosmic rays, the bias and what its subtraction leaves, full wells."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera, NoiseFigures
from emdarks.dq import DQ
from emdarks.errors import InputError
from emdarks.simulate.rays import TAILS

Flags = npt.NDArray[np.uint16]

#: Charge of a cosmic ray in a sample, EM electrons, evenly distributed.
CHARGE = (5e3, 5e4)


@dataclass(frozen=True)
class Effects:
    """Disturbances of the simulated frames; the defaults are EXCAM's, well calibrated.

    Each has its own source of chance: switched on or off, it leaves the rest of the frame
    as it is. Cosmic rays come in two kinds. The shares ``flagged`` and ``unflagged`` hit samples
    independently (a sample: one pixel of one frame) and add 5e3 to 5e4 EM electrons, evenly
    distributed. ``rays`` are like real ones: they spread over several pixels, are multiplied by
    the register, fill it and leave tails.

    Attributes
    ----------
    flagged : float
        Share of samples hit by cosmic rays that are flagged (DQ 128), at exposure time 0.
    flagged_per_second : float
        What is added to that share per second of exposure.
    unflagged : float
        Share of samples hit by cosmic rays that nobody noticed.
    row_bias : float
        Root mean square of an offset per row, EM electrons. At level 2a, what the bias
        subtraction left; at level 1, how the bias differs from row to row.
    saturation : bool
        Cut at the camera's full wells, flagged (DQ 32). Rays imply it.
    err : float
        Value of the ERR plane, EM electrons.
    rays : float
        Cosmic rays per cm^2 and second, as `emdarks.simulate` describes them. At level 2a they
        are flagged (DQ 128) where a search for plateaus finds them.
    tails : int
        Samples from the start of a plateau to the end of its tail; 0: no tails. `TAILS` has
        names for two lengths. There is no tail at EM gain 1.
    spoiled_rows : float
        At level 1, mean number of rows in a frame whose prescan got charge that is not theirs,
        so that their bias cannot be measured.
    deferred_rows, deferred_columns : float
        Share of the charge of each pixel that comes one transfer late: in the next row, and in the
        next column. Not of that of rays.
    register_charge : float
        Electrons that the register makes by itself, per sample of the frame, prescan and overscan
        included: a Poisson number, each made at any of its stages alike.
    warming : float
        Degrees by which the detector becomes warmer in an hour; its dark current doubles every 7.
    telegraph : float
        Share of the pixels of the imaging area whose dark current has two levels in time.
    telegraph_current : float
        What the high level has more, electrons per second.
    telegraph_cycle : float
        Mean time from one rise to the next, seconds.
    """

    flagged: float = 0.003
    flagged_per_second: float = 5e-4
    unflagged: float = 0.0
    row_bias: float = 0.0
    saturation: bool = False
    err: float = 0.0
    rays: float = 0.0
    tails: int = TAILS["short"]
    spoiled_rows: float = 0.0
    deferred_rows: float = 0.0
    deferred_columns: float = 0.0
    register_charge: float = 0.0
    warming: float = 0.0
    telegraph: float = 0.0
    telegraph_current: float = 0.5
    telegraph_cycle: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise InputError(f"effect {field.name} is {value!r}; give a number, 0 or more")
        if self.tails != int(self.tails):
            raise InputError(f"effect tails is {self.tails!r}; give a whole number of samples")
        if self.unflagged > 1 or self.flagged > 1:
            raise InputError("the share of samples hit by cosmic rays is at most 1")
        if self.deferred_rows > 1 or self.deferred_columns > 1:
            raise InputError("the share of charge that comes late is at most 1")
        if self.telegraph > 1 or not self.telegraph_cycle:
            raise InputError("telegraph pixels: a share of at most 1, and a cycle above 0 s")

    @classmethod
    def none(cls) -> Effects:
        """No disturbance at all: frames that follow theory."""
        return cls(flagged=0.0, flagged_per_second=0.0)

    @classmethod
    def of_level_1(cls, camera: Camera) -> Effects:
        """Disturbances of raw frames: the camera's rays and row bias, full wells, no flags."""
        simulation = camera.simulation
        # The electrons per DN may not be known, which is said elsewhere.
        row_bias = simulation.row_bias * camera.noise.k_gain if simulation.row_bias else 0.0
        return cls(
            flagged=0.0,
            flagged_per_second=0.0,
            row_bias=row_bias,
            saturation=True,
            rays=simulation.rays,
        )

    @property
    def fills_wells(self) -> bool:
        """Whether samples are cut at the full wells."""
        return self.saturation or self.rays > 0

    def warmer(self, elapsed: float) -> float:
        """Degrees by which the detector is warmer than when the campaign began, seconds ago."""
        return self.warming * elapsed / 3600.0

    def flagged_share(self, exposure_time: float) -> float:
        """Share of samples that carry DQ 128 at an exposure time in seconds."""
        return min(1.0, self.flagged + self.flagged_per_second * exposure_time)


def fill_wells(electrons: npt.NDArray[Any], noise: NoiseFigures) -> npt.NDArray[np.bool_]:
    """Cut electrons at the full well of the image area, in place; True where cut."""
    return _cut(electrons, noise.full_well_image)


def defer(
    electrons: npt.NDArray[Any], effects: Effects, rng: np.random.Generator
) -> npt.NDArray[Any]:
    """Let a share of the electrons come one transfer late, first along columns, then along rows.

    Parameters
    ----------
    electrons : ndarray of integers, shape (rows, columns)
        Those that enter the register; as they are where no charge is deferred.
    effects : Effects
        The shares.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    ndarray of integers, shape (rows, columns)
        None is lost: those of the last row, or column, stay there.
    """
    for axis, share in enumerate((effects.deferred_rows, effects.deferred_columns)):
        if share:
            late = np.moveaxis(rng.binomial(electrons, share), axis, 0)
            late[-1] = 0
            electrons = np.moveaxis(electrons, axis, 0) - late
            electrons[1:] += late[:-1]
            electrons = np.moveaxis(electrons, 0, axis)
    return electrons


def disturb(
    signal: npt.NDArray[np.float32],
    exposure_time: float,
    effects: Effects,
    noise: NoiseFigures,
    rng: np.random.Generator,
) -> Flags:
    """Add cosmic rays to what leaves the register and cut it at its full well, in place.

    Parameters
    ----------
    signal : ndarray of float32, shape (rows, columns)
        EM electrons.
    exposure_time : float
        Seconds.
    effects : Effects
        What to add.
    noise : NoiseFigures
        The full well.
    rng : numpy.random.Generator
        Source of chance; only its children are used, one for each effect.

    Returns
    -------
    ndarray of uint16, shape (rows, columns)
        Flags.
    """
    noticed, unnoticed = rng.spawn(2)
    flags = np.zeros(signal.shape, dtype=np.uint16)
    hit = _strike(signal, effects.flagged_share(exposure_time), noticed)
    flags.reshape(-1)[hit] |= np.uint16(DQ.COSMIC_RAY)
    _strike(signal, effects.unflagged, unnoticed)
    if effects.fills_wells:
        flags[_cut(signal, noise.full_well_register)] |= np.uint16(DQ.SATURATED)
    return flags


def _strike(
    signal: npt.NDArray[np.float32], share: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Let cosmic rays hit a share of the samples; flat indices of those hit."""
    hits = int(rng.binomial(signal.size, share))
    hit = rng.choice(signal.size, hits, replace=False, shuffle=False)
    signal.reshape(-1)[hit] += rng.uniform(*CHARGE, hits).astype(np.float32)
    return hit


def _cut(values: npt.NDArray[Any], ceiling: float) -> npt.NDArray[np.bool_]:
    full: npt.NDArray[np.bool_] = values > ceiling
    if full.any():  # an infinite ceiling would not go into whole numbers
        values[full] = ceiling
    return full
