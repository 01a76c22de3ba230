"""What the headers of one frame say, in a few numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class Unit(Enum):
    """What a frame's numbers count."""

    DN = "DN"
    EM_ELECTRON = "detected EM electron"
    ELECTRON = "detected electron"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame, as far as headers tell.

    Attributes
    ----------
    name : str
        File path, with the plane of a cube; for messages.
    shape : tuple of int
        Rows and columns.
    exposure_time : float
        Seconds.
    commanded_gain : float
        EM gain that was asked for; frames are grouped by it.
    em_gain : float
        EM gain to compute with: measured, else applied, else commanded.
    k_gain : float
        Electrons per DN.
    unit : Unit
        Unit of image and err.
    unit_text : str
        The unit as the header spells it.
    start : float
        Start of the exposure, MJD; NaN where unknown.
    temperature : float
        Detector temperature, degrees Celsius; NaN where unknown.
    odd_temperature : str
        A card of the temperature whose value no detector has; empty where there is none.
    setting : tuple of (str, str)
        Readout settings, name and value; frames that differ in one never mix.
    mode : str
        Name of the camera's mode, or empty.
    bias : float
        Level to be subtracted from every pixel, DN.
    saturation : float
        DN as stored from which on a sample is to be flagged as saturated.
    not_dark : str
        The card that says that the frame is no dark; empty where none does.
    """

    name: str
    shape: tuple[int, int]
    exposure_time: float
    commanded_gain: float
    em_gain: float
    k_gain: float
    unit: Unit
    unit_text: str
    start: float
    temperature: float
    setting: tuple[tuple[str, str], ...] = ()
    mode: str = ""
    bias: float = 0.0
    saturation: float = math.inf
    not_dark: str = ""
    odd_temperature: str = ""

    @property
    def in_dn(self) -> bool:
        """Whether its numbers are those of the converter."""
        return self.unit is Unit.DN
