"""All that is set for the raw frames of a campaign, and what follows for one frame."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np

from emdarks import _core
from emdarks.errors import InputError
from emdarks.raw.bias import RowBias
from emdarks.raw.linearity import Linearity
from emdarks.raw.search import STANDARD, CosmicRaySearch

Area = tuple[int, int, int, int]
Disc = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class FullWell:
    """What a pixel and the gain register hold, electrons (FWC_PP_E and FWC_EM_E)."""

    pixel: float = 90_000.0
    register: float = 105_000.0

    def counts(self, gain: float, k_gain: float) -> float:
        """The lesser of both behind the register, DN above the bias."""
        return min(gain * (self.pixel / k_gain), self.register / k_gain)


@dataclass(frozen=True, slots=True)
class RawCalibration:
    """From stored numbers to electrons: settings of a campaign; can be pickled.

    Attributes
    ----------
    bias : RowBias
        Where the bias comes from.
    k_gain, k_gain_error : float
        Electrons per DN, and its error.
    full_well : FullWell or float
        Full well, electrons; or the counts from which on pixels are saturated, DN above the bias,
        where a camera knows these: then they are the unit of the search, too.
    saturation : float
        Share of the full well from which on a pixel gets the flag 32.
    search : CosmicRaySearch or None
        How cosmic rays are searched; None does not.
    linearity : Linearity or None
        Nonlinearity table; None takes counts as linear.
    area : tuple of int or None
        First and last-plus-one row and column of the image, where only that is wanted: its rows
        alone say which bias is repaired, its pixels whether a frame is over-saturated, and tails
        end with its rows. None takes the whole frame, where tails run on into the next row.
    most_saturated : float
        Per cent of the area: a frame with more pixels above the saturation is over-saturated.
    stored_saturation : float or None
        The stored number, bias included, from which on a pixel gets the flag 32, where a camera
        knows that; None takes the share of the full well.
    tail_gain : float or None
        EM gain that gives the tail, for all frames (that of the last frame of a call, in
        corgidrp 5.1.1); None takes each frame's own.

    Raises
    ------
    InputError
        A number is not above 0.
    """

    bias: RowBias
    k_gain: float = 1.0
    k_gain_error: float = 0.0
    full_well: FullWell | float = FullWell()
    saturation: float = 0.95
    search: CosmicRaySearch | None = STANDARD
    linearity: Linearity | None = None
    area: Area | None = None
    most_saturated: float = 20.0
    stored_saturation: float | None = None
    tail_gain: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.k_gain) and self.k_gain > 0.0):
            raise InputError(f"k-gain = {self.k_gain} must be a number above 0")
        if not self.saturation > 0.0:
            raise InputError(f"saturation = {self.saturation} must be above 0")

    @property
    def has_errors(self) -> bool:
        """Whether electrons have errors; method page, eq. 17 (rawerr)."""
        return self.bias.has_errors or self.k_gain_error != 0.0

    @property
    def in_dn(self) -> RawCalibration:
        """The same with linear DN in the place of electrons.

        The full well keeps its DN.
        """
        well = self.full_well
        if isinstance(well, FullWell):
            well = FullWell(well.pixel / self.k_gain, well.register / self.k_gain)
        return replace(self, k_gain=1.0, k_gain_error=0.0, full_well=well)

    def identity(self) -> tuple[Any, ...]:
        """What tells the settings from others, as plain numbers and texts."""
        well = self.full_well
        return (
            *astuple(self.bias),
            self.k_gain,
            self.k_gain_error,
            *(astuple(well) if isinstance(well, FullWell) else (well,)),
            self.saturation,
            *(() if self.search is None else astuple(self.search)),
            None if self.linearity is None else self.linearity.identity,
            self.area,
            self.most_saturated,
            self.stored_saturation,
            self.tail_gain,
        )


@dataclass(frozen=True, slots=True)
class FramePlan:
    """What is to be done to one frame.

    Attributes
    ----------
    calibration : RawCalibration
        Settings of the campaign.
    gain : float
        EM gain of the frame.
    discs : tuple of tuple of float
        Row, column and radius, pixels of the frame, of circles that are not searched for cosmic
        rays.
    """

    calibration: RawCalibration
    gain: float
    discs: tuple[Disc, ...] = ()

    @property
    def well(self) -> float:
        """Full well, DN above the bias."""
        well = self.calibration.full_well
        return (
            well.counts(self.gain, self.calibration.k_gain) if isinstance(well, FullWell) else well
        )

    @property
    def saturation(self) -> float:
        """From here on a pixel gets the flag 32 (SAT_DN), DN above the bias."""
        return self.calibration.saturation * self.well

    @property
    def tail(self) -> int:
        """Pixels of the tail of a cosmic ray."""
        search, given = self.calibration.search, self.calibration.tail_gain
        return 0 if search is None else search.tail_at(self.gain if given is None else given)

    @property
    def flags(self) -> bool:
        """Whether any pixel can get a flag."""
        stored = self.calibration.stored_saturation
        limit = self.saturation if stored is None else stored
        return math.isfinite(limit) or self.search() is not None

    @property
    def needs_no_scan(self) -> bool:
        """Whether rows can be made ready without a look at the whole frame."""
        known = self.calibration.bias.source == "level" and math.isinf(self.saturation)
        return known and self.search() is None

    def identity(self) -> tuple[Any, ...]:
        """What tells the plan from others, as plain numbers and texts."""
        return *self.calibration.identity(), self.gain, *self.discs

    def area(self, shape: tuple[int, int]) -> Area:
        """First and last-plus-one row and column that are searched."""
        return self.calibration.area or (0, shape[0], 0, shape[1])

    def search(self) -> _core.CosmicRaySearch | None:
        """The search for the compiled core."""
        search = self.calibration.search
        if search is None or not math.isfinite(self.well):
            return None
        # As the reference forms it: this matters where a pixel equals a threshold.
        well = self.saturation / self.calibration.saturation
        return _core.CosmicRaySearch(
            search.threshold * well,
            search.plateau * well,
            (search.filter, search.box, self.tail),
            self.calibration.area is None,
            np.array(self.discs, np.float64).reshape(-1, 3) if self.discs else None,
        )
