"""What is known of a campaign after one look at every frame."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from emdarks.accumulate import FrameFigures
from emdarks.checks.finding import Finding, Severity
from emdarks.raw import CosmicRaySearch


@dataclass(frozen=True, slots=True)
class FrameSummary:
    """One frame.

    Attributes
    ----------
    name : str
        File, with the plane of a cube.
    start : float
        Start of the exposure, MJD; NaN where unknown.
    temperature : float
        Degrees Celsius; NaN where unknown.
    figures : FrameFigures
        Level, scatter, shares, fingerprint; EM electrons.
    offset : float
        Level minus the median level of the stack, EM electrons; NaN in stacks of fewer than
        four frames.
    sigmas : float
        The same in standard errors: what noise, and the jitter of the other frames, explain.
    """

    name: str
    start: float
    temperature: float
    figures: FrameFigures
    offset: float = math.nan
    sigmas: float = math.nan


@dataclass(frozen=True, slots=True)
class StackSearch:
    """How cosmic rays are searched in the raw frames of a stack.

    Attributes
    ----------
    threshold_e : float
        What the filtered row has to reach, EM electrons.
    parameters : CosmicRaySearch
        The parameters of the search.
    """

    threshold_e: float
    parameters: CosmicRaySearch


@dataclass(frozen=True, slots=True)
class StackSummary:
    """One stack; levels and scatters in EM electrons, over the imaging area.

    Attributes
    ----------
    em_gain, commanded_gain, exposure_time, k_gain : float
        As of ``emdarks.stacks.Stack``.
    gain_spread : float
        Relative spread of the frames' gains.
    units : tuple of str
        Units that its frames are in, as the headers spell them.
    frames : int
        How many.
    masked, saturated : float
        Shares of all samples.
    level : float
        Mean of the frames' mean levels.
    scatter : float
        Root mean square of the frames' standard deviations: noise and fixed pattern.
    noise : float
        Standard deviation of a pixel's samples from frame to frame, root mean square over the
        pixels; NaN where no pixel is good twice.
    kurtosis : float
        Fourth moment of the pixels' means over the square of their variance: 3 for a normal
        law, large where a few hot pixels rule the scatter.
    prescan_level : float
        Mean level of the reliable prescan columns; NaN without prescan.
    temperature : tuple of float
        Lowest and highest, degrees Celsius; NaN where unknown.
    most_good : int
        Good samples of the pixel that has most.
    lost_pixels : int
        Pixels that are masked in every frame.
    overfull_pixels : int
        Pixels whose mean unflagged sample lies above the camera's full well.
    partly_saturated : int
        Pixels with the saturation flag in some frames, and good in others.
    cut_off_samples : int
        Samples of each frame that lie at its highest value, a ceiling, and have no flag.
    frame_summaries : tuple of FrameSummary
        The frames, in input order.
    typical_noise : float
        As ``noise``, the median over the pixels instead, which few hot pixels and cosmic rays
        do not move; NaN where no pixel is good twice.
    cosmic_rays : bool
        Whether cosmic rays were looked for: samples have their flag, masks differ from frame to
        frame, or they are searched while raw frames are read.
    searched : bool
        Whether cosmic rays were searched in its frames, as they or their headers tell.
    search : StackSearch or None
        That search of raw frames; None where there is none.
    ray_share : float
        Share of the pixels of raw frames that it flagged (128); NaN for other frames.
    repaired_rows : int
        Rows of raw frames whose bias was replaced, in all frames together.
    fitted_gain, fitted_gain_error : float
        EM gain that the samples show, and its 1-sigma error; NaN where they cannot tell.
    flagged_from : float
        Lowest level at which a sample can have been flagged, EM electrons: that of the search for
        cosmic rays, where ``searched``, else that of saturation; infinite where nothing tells.
    """

    em_gain: float
    commanded_gain: float
    exposure_time: float
    k_gain: float
    gain_spread: float
    units: tuple[str, ...]
    frames: int
    masked: float
    saturated: float
    level: float
    scatter: float
    noise: float
    kurtosis: float
    prescan_level: float
    temperature: tuple[float, float]
    most_good: int
    lost_pixels: int
    overfull_pixels: int
    partly_saturated: int
    cut_off_samples: int
    frame_summaries: tuple[FrameSummary, ...]
    typical_noise: float = math.nan
    cosmic_rays: bool = True
    searched: bool = False
    search: StackSearch | None = None
    ray_share: float = math.nan
    repaired_rows: int = 0
    fitted_gain: float = math.nan
    fitted_gain_error: float = math.nan
    flagged_from: float = math.inf

    def __str__(self) -> str:
        return f"gain {self.commanded_gain:g}, {self.exposure_time:g} s"

    @property
    def raw(self) -> bool:
        """Whether its frames are raw: cosmic rays and saturation are flagged as they are read."""
        return math.isfinite(self.ray_share)


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Pixels of the imaging area.

    Attributes
    ----------
    imaging : int
        All of them.
    unfittable : int
        Those with good samples in fewer than four stacks.
    """

    imaging: int
    unfittable: int


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """A campaign.

    Attributes
    ----------
    camera : str
        The camera that the headers were read with.
    shape : tuple of int
        Rows and columns of a frame; (0, 0) where no frame can be used.
    frames : int
        Frames handed over, also those that cannot be used.
    stacks : tuple of StackSummary
        By exposure time, gain and k-gain.
    pixels : PixelCounts
        Counts over all stacks.
    findings : tuple of Finding
        Problems first.
    preparation : str
        What raw frames were made ready with, in words; empty for other frames.
    """

    camera: str
    shape: tuple[int, int]
    frames: int
    stacks: tuple[StackSummary, ...]
    pixels: PixelCounts
    findings: tuple[Finding, ...]
    preparation: str = ""

    @property
    def fittable(self) -> bool:
        """Whether `emdarks.darks.calibrate_darks_lsq` will accept the campaign."""
        return not self.worst("problem")

    def worst(self, severity: Severity) -> list[Finding]:
        """Findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def verdict(self) -> str:
        """One line: usable, usable with care, or not usable, and why."""
        problems, warnings = self.worst("problem"), self.worst("warning")
        if problems:
            return f"not usable: {problems[0].text}" + _others(len(problems) - 1)
        if warnings:
            topics = dict.fromkeys(finding.topic for finding in warnings)
            count = len(warnings)
            return (
                f"usable with care: {count} warning{'s' if count > 1 else ''} ({', '.join(topics)})"
            )
        return "usable"

    def as_dict(self, single_frames: bool = False) -> dict[str, Any]:
        """Plain numbers, texts, lists and dicts, ready for JSON; None for NaN.

        Parameters
        ----------
        single_frames : bool
            With the figures of every frame.

        Returns
        -------
        dict
            Units are in the names: ``_e`` EM electrons, ``_s`` seconds, ``_c`` degrees
            Celsius, ``_mjd`` days.
        """
        values = asdict(self)
        values |= {"verdict": self.verdict, "fittable": self.fittable}
        for stack in values["stacks"]:
            frames = stack.pop("frame_summaries")
            if single_frames:
                stack["single_frames"] = [frame | frame.pop("figures") for frame in frames]
        plain: dict[str, Any] = _plain(values)
        return plain


def _others(count: int) -> str:
    return f" (and {count} more problem{'s' if count > 1 else ''})" if count > 0 else ""


_UNITS = {
    "exposure_time": "exposure_time_s",
    "level": "level_e",
    "scatter": "scatter_e",
    "noise": "noise_e",
    "typical_noise": "typical_noise_e",
    "offset": "offset_e",
    "prescan_level": "prescan_level_e",
    "flagged_from": "flagged_from_e",
    "k_gain": "k_gain_e_per_dn",
    "start": "start_mjd",
    "temperature": "temperature_c",
}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_UNITS.get(key, key): _plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
