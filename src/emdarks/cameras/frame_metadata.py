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
    #: Electrons were counted: what a number is says `Counted`.
    COUNT = "count"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Counted:
    """How the electrons of a frame were counted.

    Attributes
    ----------
    threshold : float
        T: a sample above it was counted, EM electrons.
    value : {"count", "sum", "share", "rate"}
        What a number of the frame is; see `emdarks.cameras.schema.Counting`.
    frames : int
        Over how many frames; 1 for "count".
    one : float
        Number that stands for a count.
    """

    threshold: float
    value: str = "count"
    frames: int = 1
    one: float = 1.0

    @property
    def step(self) -> float:
        """Number of the frame that stands for one count, or one electron, a frame."""
        return {"sum": self.frames * self.one, "rate": 1.0}.get(self.value, self.one)

    def __str__(self) -> str:
        number = f" of {self.frames} frames" if self.frames > 1 else ""
        return f"{_VALUES[self.value]}{number} above {self.threshold:g} EM electrons"


_VALUES = {
    "count": "counts",
    "sum": "sums of counts",
    "share": "means of counts",
    "rate": "rates of counts",
}


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
    counted : Counted or None
        How its electrons were counted; None where its samples are not counts.
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
    counted: Counted | None = None

    @property
    def in_dn(self) -> bool:
        """Whether its numbers are those of the converter."""
        return self.unit is Unit.DN
