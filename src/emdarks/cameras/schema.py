"""The tables of a camera file: what each of them may say.

The classes are plain dataclasses, so that importing them loads no further library; pydantic
validates them when a file is loaded, and finds here what it needs (`Before`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from emdarks.cameras.units import Scalar, same

#: Setting that every camera with a rule for conventional readout has.
CONVENTIONAL = "conventional"


@dataclass(frozen=True)
class Before:
    """A short form becomes the full one: ``pydantic.BeforeValidator`` without its import.

    Attributes
    ----------
    function : callable
        Takes what stands in the file; may raise ValueError.
    """

    function: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.function, handler(source))


@dataclass(frozen=True)
class FileBeside:
    """A path relative to the folder of the camera file, pydantic's context: made whole.

    Attributes
    ----------
    or_none : bool
        The word "none" is no path.
    """

    or_none: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.with_info_after_validator_function(self._whole, handler(source))

    def _whole(self, file: str, info: Any) -> str:
        return file if self.or_none and file == "none" else str(info.context / file)


def listed(value: Any) -> Any:
    """One name as a tuple of one; an empty name as an empty tuple."""
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"is {value!r}, not a text or a list")
    return value


#: Keywords, best first; in a file, one may stand without brackets.
Names = Annotated[tuple[str, ...], Before(listed)]


@dataclass(frozen=True)
class Keywords:
    """Names of the header keywords.

    Each is a name or several, best first; a name alone is kept as a tuple of one.

    Attributes
    ----------
    exposure_time, commanded_gain : tuple of str
        Seconds; EM gain asked for. Needed in every frame.
    k_gain : tuple of str
        Electrons per DN; needed where the sensitivity comes from the header.
    better_gains : tuple of str
        EM gains to be preferred to the commanded one where they are above 0, best first.
    unit, temperature, start, camera : tuple of str
        Unit of the pixels; degrees Celsius; MJD; name of the camera. Optional.
    cycle_time : tuple of str
        Seconds from one plane of a cube to the next. Optional.
    """

    exposure_time: Names = ("EXPTIME",)
    commanded_gain: Names = ("EMGAIN_C",)
    k_gain: Names = ("KGAINPAR",)
    better_gains: Names = ("EMGAIN_M", "EMGAIN_A")
    unit: Names = ("BUNIT",)
    temperature: Names = ("EXCAMT",)
    start: Names = ("MJDSRT",)
    camera: Names = ("CAMERA",)
    cycle_time: Names = ()

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, listed(getattr(self, item.name)))


@dataclass(frozen=True)
class NoiseFigures:
    """Typical noise of the camera, for simulation, planning and screening.

    NaN is what the camera file leaves to its modes.

    Attributes
    ----------
    k_gain : float
        Electrons per DN; NaN where the camera file has none.
    read_noise : float
        Electrons, after the gain register.
    clock_induced_charge : float
        Electrons per pixel and frame.
    dark_current : float
        Electrons per pixel and second.
    full_well_image, full_well_register : float
        Electrons.
    register_stages : float
        Stages of the gain register; infinity where the camera file does not say: the law of a
        sample is then that of infinitely many.
    """

    k_gain: float = math.nan
    read_noise: float = math.nan
    clock_induced_charge: float = math.nan
    dark_current: float = math.nan
    full_well_image: float = math.inf
    full_well_register: float = math.inf
    register_stages: float = math.inf

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the figures that are not known."""
        return tuple(item.name for item in fields(self) if math.isnan(getattr(self, item.name)))


@dataclass(frozen=True)
class HeaderRules:
    """How the headers of many frames become that of one product.

    Attributes
    ----------
    first, last : tuple of str
        Value of the earliest, of the latest frame.
    averaged : tuple of str
        Mean over the frames.
    deleted : tuple of str
        Left out.
    any_true : tuple of str
        1 where any frame has it set, else 0.
    calculated : tuple of str
        Set anew for the product.
    invalid : tuple of str
        Say nothing about a product of many frames: become -999 of their type.
    invalid_in_maps, kept_in_darks : tuple of str
        Added to ``invalid`` for noise maps; taken out of it for darks.
    """

    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    averaged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    any_true: tuple[str, ...] = ()
    calculated: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    invalid_in_maps: tuple[str, ...] = ()
    kept_in_darks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A yes or no that the value of one keyword decides.

    Attributes
    ----------
    keyword : str
        The keyword.
    values : tuple
        Its values that mean yes.
    others : tuple
        Its values that mean no; where some are given, any further value is refused.
    absent : bool or None
        The answer where the keyword is missing; None leaves it open.
    """

    keyword: str
    values: tuple[Scalar, ...]
    others: tuple[Scalar, ...] = ()
    absent: bool | None = None

    def answer(self, raw: Any) -> bool | None:
        """Yes, no, or None where the value is not among those known."""
        if any(same(raw, value) for value in self.values):
            return True
        known = not self.others or any(same(raw, value) for value in self.others)
        return False if known else None


@dataclass(frozen=True)
class ConventionalRule(Rule):
    """Which frames bypassed the gain register, and whether they join the others in a fit.

    Attributes
    ----------
    joins : bool
        Conventional frames have the fixed pattern, the sensitivity and the noise of the
        others, so that they may be fitted and averaged together, as frames of EM gain 1.
        By default they never are.
    """

    joins: bool = False


@dataclass(frozen=True)
class Mode:
    """Figures of one way of reading out.

    Attributes
    ----------
    name : str
        For people, and for ``--mode``.
    when : dict
        Values of settings (or ``conventional = true``) that select it.
    k_gain, read_noise, clock_induced_charge, dark_current : float or None
        As in `NoiseFigures`; None leaves the camera's.
    bias : float or None
        Level that stands in every pixel, DN.
    saturation : float or None
        DN as stored from which on a sample is saturated.
    """

    name: str
    when: dict[str, Scalar]
    k_gain: float | None = None
    read_noise: float | None = None
    clock_induced_charge: float | None = None
    dark_current: float | None = None
    bias: float | None = None
    saturation: float | None = None

    def __post_init__(self) -> None:
        for name in ("k_gain", "read_noise", "saturation"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} of {self.name!r} is {value}; it must be positive")

    def matches(self, settings: Mapping[str, Any]) -> bool:
        """Whether the readout settings of a frame select this mode."""
        return all(
            settings.get(name) is not None and same(settings[name], value)
            for name, value in self.when.items()
        )


@dataclass(frozen=True)
class Bias:
    """What is subtracted from frames that still hold their bias level.

    One of the three; a level given by a mode comes before ``level``.

    Attributes
    ----------
    level : float or None
        DN, the same in every pixel.
    file : str or None
        A bias frame (FITS), DN; relative to the folder of the camera file.
    region : str or None
        Region of the geometry (prescan or serial overscan) whose pixels give the level.
    statistic : {"median", "mean"}
        How they give it.
    per : {"row", "frame"}
        Whether they give one level for each row, or one for the frame.
    num_stds : float or None
        A row whose level is further than this many standard deviations (of the levels of all
        rows) from the median of them gets this median; by default none does.
    """

    level: float | None = None
    file: Annotated[str, FileBeside()] | None = None
    region: str | None = None
    statistic: Literal["median", "mean"] = "median"
    per: Literal["row", "frame"] = "row"
    num_stds: float | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.level, self.file, self.region)) != 1:
            raise ValueError("give one of level, file and region")
        if self.num_stds is not None and not self.num_stds > 0:
            raise ValueError(f"num_stds is {self.num_stds}; it must be positive")
        if self.num_stds is not None and (self.region is None or self.per != "row"):
            raise ValueError('num_stds needs a region that gives a level per = "row"')

    @property
    def of_region(self) -> str:
        """What a region gives, in words."""
        rows = "each row in " if self.per == "row" else ""
        return f"{self.statistic} of {rows}{self.region}"


@dataclass(frozen=True)
class RawFrames(Rule):
    """Which frames are raw (level 1), where the camera has others as well.

    Attributes
    ----------
    bias : Bias or None
        The bias level in raw frames; frames of later levels have lost it.
    """

    bias: Bias | None = None


@dataclass(frozen=True)
class Counting:
    """Frames whose electrons are counted already: which they are, and what their numbers mean.

    Attributes
    ----------
    threshold : float or str
        T: a sample above it was counted. A number, or the keyword that holds it. Frames without a
        positive number there are not counted.
    unit : {"EM electron", "read noise"}
        Unit of the threshold; the read noise is that of the header (RN), else the camera's.
    value : {"count", "sum", "share", "rate"}
        What a number of the frame is: "count": ``one`` where the sample was counted, else 0;
        "sum": how many samples of several frames were; "share": the same over the number of
        frames, their mean; "rate": electrons a frame by the series of third order, as the
        Coronagraph's pipeline writes them.
    frames : str
        Keyword of the number of frames that were added, or averaged; "count" has none.
    one : float
        Number that stands for a count.
    keyword : str
        Keyword that tells which frames are counted; empty: all are that have a threshold.
    values : tuple
        Its values that mean yes.
    """

    threshold: float | str
    unit: Literal["EM electron", "read noise"] = "EM electron"
    value: Literal["count", "sum", "share", "rate"] = "count"
    frames: str = ""
    one: float = 1.0
    keyword: str = ""
    values: tuple[Scalar, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.threshold, str):
            if not self.threshold:
                raise ValueError("threshold is empty; give a number or a keyword")
        elif not 0 < self.threshold < math.inf:
            raise ValueError(f"threshold is {self.threshold}; it must be positive")
        if not 0 < self.one < math.inf:
            raise ValueError(f"one is {self.one}; it must be positive")
        if self.value == "count" and self.frames:
            raise ValueError("value 'count' is of one frame; leave frames out")
        if self.value != "count" and not self.frames:
            raise ValueError(f"value {self.value!r} needs frames, the keyword of their number")
        if bool(self.keyword) != bool(self.values):
            raise ValueError("give keyword and values, or neither")

    def applies(self, raw: Any) -> bool:
        """Whether a frame is counted, by the value of ``keyword`` (None: it has none)."""
        return not self.keyword or any(raw is not None and same(raw, x) for x in self.values)


@dataclass(frozen=True)
class CosmicRays:
    """How cosmic rays are looked for in raw frames, along rows.

    The search needs ``full_well_image`` and ``full_well_register`` of `NoiseFigures`. What is
    None is as in the named set.

    Attributes
    ----------
    search : {"off", "standard", "dark"}
        The set of parameters: for all frames, or low thresholds for darks.
    saturation, plateau, threshold : float or None
        From where on a sample is saturated, belongs to the plateau of a ray, makes a ray;
        in full wells.
    filter, box : int or None
        Pixels of the filter along the row, less one; on each side of the start of a ray.
    tail : int or None
        Pixels behind it.
    tail_per_gain : float or None
        The same by the EM gain of the frame: pixels for each unit of it.
    """

    search: Literal["off", "standard", "dark"] = "off"
    saturation: float | None = None
    plateau: float | None = None
    threshold: float | None = None
    filter: int | None = None
    box: int | None = None
    tail: int | None = None
    tail_per_gain: float | None = None

    def __post_init__(self) -> None:
        for name in ("saturation", "plateau", "threshold"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; it must be positive, in full wells")
        for name in ("filter", "box", "tail", "tail_per_gain"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; it counts pixels, 0 or more")
        if self.tail is not None and self.tail_per_gain is not None:
            raise ValueError("give one of tail and tail_per_gain")


@dataclass(frozen=True)
class Linearity:
    """The table that makes raw frames linear.

    Attributes
    ----------
    file : str
        Its file (FITS), relative to the folder of the camera file; "none": the camera is linear.
    """

    file: Annotated[str, FileBeside(or_none=True)]

    @property
    def path(self) -> str | None:
        """The file; None where there is none."""
        return None if self.file == "none" else self.file


@dataclass(frozen=True)
class FrameFiles:
    """How frames lie in files.

    Attributes
    ----------
    layout : {"single", "cube", "extensions"}
        One frame a file; many, as planes of a cube; or one in each image of the file.
    err_and_dq : bool
        Whether files have ERR and DQ planes.
    dtype : {"float32", "uint16"}
        Type of the pixels.
    bit_depth : int or None
        Bits of the converter. Samples at its end are saturated.
    saturation : float or None
        DN as stored from which on a sample is flagged as saturated (DQ 32), in frames in
        DN; by default the end of the converter, where its bits are given.
    windows : bool
        Frames may be windows of the detector, or binned: the geometry is that of a frame
        without prescan and overscan, of whatever size the files have.
    recommended : int or None
        Frames of each stack that the makers of the camera recommend for noise maps.
    """

    layout: Literal["single", "cube", "extensions"] = "single"
    err_and_dq: bool = True
    dtype: Literal["float32", "uint16"] = "float32"
    bit_depth: int | None = None
    saturation: float | None = None
    windows: bool = False
    recommended: int | None = None

    def __post_init__(self) -> None:
        if self.bit_depth is not None and not 1 <= self.bit_depth <= 16:
            raise ValueError(f"bit_depth is {self.bit_depth}; give 1 to 16")
        if self.saturation is not None and not self.saturation > 0:
            raise ValueError(f"saturation is {self.saturation}; it must be positive")
        if self.recommended is not None and self.recommended < 1:
            raise ValueError(f"recommended is {self.recommended}; give 1 or more")

    @property
    def full_scale(self) -> float:
        """DN from which on a sample is saturated; infinite where that is not known."""
        if self.saturation is not None:
            return self.saturation
        return math.inf if self.bit_depth is None else 2.0**self.bit_depth - 1


@dataclass(frozen=True)
class Simulation:
    """What simulated frames of this camera are like.

    Attributes
    ----------
    mode : str
        Name of the mode they are taken in.
    gains : tuple of float
        Lowest and highest EM gain of the stacks.
    temperature : float
        Degrees Celsius.
    bias : float
        DN that stand in every pixel where neither the mode nor ``bias`` gives a level.
    row_bias : float
        At level 1, root mean square of the differences of the bias from row to row, DN.
    rays : float
        Cosmic rays per cm^2 and second.
    pixel_size : float
        Side of a pixel, micrometres.
    frames_per_file : int
        Frames of a cube; further ones go into further files.
    cards : dict
        Cards of every header.
    """

    mode: str = ""
    gains: tuple[float, float] = (1.0, 5000.0)
    temperature: float = -88.0
    bias: float = 300.0
    row_bias: float = 0.0
    rays: float = 0.0
    pixel_size: float = 13.0
    frames_per_file: int = 100
    cards: dict[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.gains[0] < self.gains[1] < math.inf:
            raise ValueError(f"gains are {list(self.gains)}; give two, ascending from 1")
        if self.frames_per_file < 1:
            raise ValueError(f"frames_per_file is {self.frames_per_file}; give 1 or more")
        for name, least in (("row_bias", 0.0), ("rays", 0.0), ("pixel_size", 1e-3)):
            value = getattr(self, name)
            if not least <= value < math.inf:
                raise ValueError(f"{name} is {value}; give {least:g} or more")
