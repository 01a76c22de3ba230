"""The counting estimator of noise maps: thresholds before the first frame, the fit after the last.

T, T2 and T3 of a stack go by the commanded gain and the nominal read noise, so that they are known
from headers; the law of the fit takes the gain that the maps are computed with, or that of the
histograms, and the read noise that stacks of low gain show.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks._core import UNFITTED
from emdarks.accumulate import Executor
from emdarks.arguments import is_number
from emdarks.cameras import Camera
from emdarks.counting_sums import HistogramBins, Thresholds
from emdarks.darks.frame_pixels import FramePixels
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fit.counting import CountedStacks, CountingFit, Start, fit_counting
from emdarks.fit.em_gain import LEAST_GAIN, GainFit, fit_gains
from emdarks.fit.least_squares import Fit
from emdarks.fit.read_noise import read_noise_of
from emdarks.frames import flagging_level
from emdarks.one_electron import check_stages
from emdarks.stacks import Stack, StackStore
from emdarks.stacks.calibration_inputs import choose
from emdarks.stacks.nominal_noise import nominal_noise

Array = npt.NDArray[Any]

GAIN_SOURCES = ("header", "fitted")
#: A measured read noise that differs more from the nominal one is said.
NOTABLE_NOISE = 0.02


def refuse_options(weighting: bool, screen: bool, model: str, gain_error: float) -> None:
    """Refuse what the counting estimator does not know.

    Raises
    ------
    InputError
        An option is for other estimators.
    """
    given = {
        "weighting=False": not weighting,
        "screen": screen,
        f"the model {model!r}": model != "full",
        "gain_error": bool(gain_error),
    }
    for name in (name for name, used in given.items() if used):
        raise InputError(f"{name} is not for the counting estimator, which needs no such thing")


def stages_in(detector_params: Any) -> float | None:
    """Stages of the register that detector parameters name (NEMGAIN; 0: infinitely many)."""
    stages = None if detector_params is None else detector_params.params.get("NEMGAIN")
    return math.inf if stages == 0 else stages


@dataclass(frozen=True, slots=True)
class CountingOptions:
    """Options of the counting estimator; see `emdarks.calibrate_darks_lsq`.

    ``stages`` are those of detector parameters; None takes the camera's. ``level`` is where samples
    without charge lie, EM electrons: 0 where the bias is subtracted.
    """

    flag_level: float | None = None
    read_noise: float | None = None
    gain: str = "header"
    stages: float | None = None
    level: float = 0.0

    @classmethod
    def of(
        cls, flag_level: float | None, read_noise: float | None, gain: str, detector_params: Any
    ) -> CountingOptions:
        """With the stages of the register that detector parameters name."""
        return cls(flag_level, read_noise, gain, stages_in(detector_params))

    def check(self, used: bool) -> None:
        """Refuse what makes no sense, or does not go with the estimator.

        Raises
        ------
        InputError
            An option has no meaning.
        """
        choose("gain", self.gain, GAIN_SOURCES)
        if not used and replace(self, stages=None) != CountingOptions():
            raise InputError("flag_level, read_noise and gain are for the counting estimator only")
        for name in ("flag_level", "read_noise"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and value > 0):
                raise InputError(f"{name} is {value!r}; it must be a positive number of electrons")

    def plan(
        self, stacks: Sequence[Stack], camera: Camera, factors: Sequence[Sequence[float]]
    ) -> CountingPlan:
        """What is counted; see `CountingPlan.of`."""
        register = camera.noise.register_stages if self.stages is None else self.stages
        check_stages(register)
        plan = CountingPlan.of(
            stacks, camera, factors, self.flag_level, self.read_noise, self.level
        )
        return replace(plan, stages=register)


@dataclass(frozen=True, slots=True)
class CountingPlan:
    """What is counted in the frames of each stack.

    Attributes
    ----------
    read_noise : float
        Nominal, EM electrons.
    flagged : ndarray, shape (stacks,)
        Lowest level at which samples can have been flagged, EM electrons.
    thresholds : list of Thresholds
        Of each stack.
    bins : HistogramBins
        Of the histograms of all stacks.
    stages : float
        Stages of the gain register; infinity where nobody says.
    """

    read_noise: float
    flagged: Array
    thresholds: list[Thresholds]
    bins: HistogramBins
    stages: float = math.inf

    @classmethod
    def of(
        cls,
        stacks: Sequence[Stack],
        camera: Camera,
        factors: Sequence[Sequence[float]],
        flag_level: float | None = None,
        read_noise: float | None = None,
        level: float = 0.0,
    ) -> CountingPlan:
        """By the headers.

        Parameters
        ----------
        stacks : sequence of Stack
            The stacks.
        camera : Camera
            Knows the read noise where headers do not.
        factors : sequence of sequences of float
            Factor of every frame to EM electrons.
        flag_level, read_noise : float, optional
            Instead of those of the headers, EM electrons.
        level : float
            Where samples without charge lie, EM electrons.

        Raises
        ------
        InputError
            No read noise is known, or samples below T2 of a stack are flagged.
        """
        noise = _nominal_noise(stacks, camera) if read_noise is None else read_noise
        flagged = flagged_levels(stacks, factors, flag_level).tolist()
        if not all(map(math.isfinite, flagged)):
            warnings.warn(
                "no header says from which level on samples are flagged (SAT_DN), so large charges "
                "of hot pixels are taken to be whole; give it (flag_level, --flag-level)",
                EmdarksWarning,
                stacklevel=5,
            )
        thresholds = [
            Thresholds.of(stack.commanded_gain, noise, top, level)
            for stack, top in zip(stacks, flagged, strict=True)
        ]
        return cls(noise, np.array(flagged), thresholds, HistogramBins.of(level, noise))

    @property
    def ways(self) -> list[tuple[Thresholds | None, HistogramBins]]:
        """As `emdarks.stacks.jobs_of` takes them."""
        return [(at, self.bins) for at in self.thresholds]


def flagged_levels(
    stacks: Sequence[Stack], factors: Sequence[Sequence[float]], flag_level: float | None = None
) -> Array:
    """Lowest level of each stack at which samples can have been flagged; arguments as `of`'s."""
    levels = [
        _flagged(stack, scales) if flag_level is None else flag_level
        for stack, scales in zip(stacks, factors, strict=True)
    ]
    return np.array(levels, dtype=np.float64)


def _flagged(stack: Stack, scales: Sequence[float]) -> float:
    """EM electrons; SAT_DN is DN, whatever the unit of the frames."""
    levels = (flagging_level(item) * item.record.k_gain for item in stack.frames)
    in_dn = (
        flagging_level(item) * scale if item.record.in_dn else level
        for item, scale, level in zip(stack.frames, scales, levels, strict=True)
    )
    return min(in_dn)


def _nominal_noise(stacks: Sequence[Stack], camera: Camera) -> float:
    """RN of the headers, else the camera's in the mode of the frames; one for all stacks."""
    found = {nominal_noise(stack, camera) for stack in stacks}
    if not all(x > 0 and math.isfinite(x) for x in found):
        raise InputError(
            f"camera {camera.name} has no read noise for these frames, nor do their headers (RN), "
            "and thresholds go by it; give it (read_noise, --read-noise)"
        )
    if max(found) > 1.001 * min(found):
        values = ", ".join(f"{x:g}" for x in sorted(found))
        raise InputError(
            f"the stacks have different read noises ({values} EM electrons), and the counting "
            "estimator takes one; give it (read_noise, --read-noise)"
        )
    return float(np.mean(list(found)))


@dataclass(frozen=True, slots=True)
class CountingResult:
    """What the counting estimator found besides the maps.

    Attributes
    ----------
    fit : CountingFit
        Maps, and what the pixels share.
    gains : GainFit
        EM gains as the histograms have them.
    read_noise, nominal_noise : float
        That of the law, and the nominal one.
    law_gain : ndarray, shape (stacks,)
        EM gains of the law.
    electron : ndarray, shape (stacks, 5)
        What one electron becomes; see `one_electron`.
    source : {"header", "fitted"}
        Where these are from.
    """

    fit: CountingFit
    gains: GainFit
    read_noise: float
    nominal_noise: float
    law_gain: Array
    electron: Array
    source: str


@dataclass(frozen=True, slots=True)
class CountedFrames:
    """Sums, settings and thresholds of the stacks, and the regions of their frames."""

    store: StackStore
    stacks: Sequence[Stack]
    plan: CountingPlan
    frame: FramePixels

    @property
    def histograms(self) -> Array:
        """Of the imaging area and of the rest, shape (stacks, 2, bins)."""
        assert self.store.histograms is not None
        return self.store.histograms

    def law_noise(self, pooled: Fit) -> float:
        """Read noise that stacks below 3 nominal read noises show; else the nominal one."""
        nominal = self.plan.read_noise
        low = [i for i, s in enumerate(self.stacks) if s.commanded_gain < LEAST_GAIN * nominal]
        known = self.frame.imaging & pooled.fitted
        spread = 0.0
        if known.any():
            F, error = pooled.values[0, known], pooled.errors[0, known]
            spread = max(float(F.var() - np.mean(error**2)), 0.0)
        if not low:
            return nominal
        noise = read_noise_of(self.histograms[low, 0].sum(axis=0), self.plan.bins, spread)
        return noise if math.isfinite(noise) else nominal

    def counted(self, noise: float) -> CountedStacks:
        """As the fit takes them."""
        store, stacks, counts = self.store, self.stacks, self.store.counting
        assert counts is not None
        return CountedStacks(
            gain=np.array([stack.em_gain for stack in stacks], dtype=np.float64),
            commanded=np.array([stack.commanded_gain for stack in stacks], dtype=np.float64),
            time=np.array([stack.exposure_time for stack in stacks], dtype=np.float64),
            T=np.array([at.T for at in self.plan.thresholds]),
            T2=np.array([at.T2 for at in self.plan.thresholds]),
            flagged=self.plan.flagged,
            read_noise=noise,
            nominal_noise=self.plan.read_noise,
            stages=self.plan.stages,
            n=store.n,
            mean=store.mean,
            m2=store.m2,
            above=counts.above,
            beyond=counts.beyond,
            near=counts.near,
            near_above=counts.near_above,
            low=counts.low,
            high=counts.high,
            imaging=self.frame.imaging,
            shape=self.frame.shape,
            skip=self.frame.skip,
        )


def fit_counts(
    frames: CountedFrames, pooled: Fit, executor: Executor, gain: str = "header"
) -> CountingResult:
    """Fit by counts; the result takes the place of the pooled one in ``pooled``.

    Parameters
    ----------
    frames : CountedFrames
        Sums, settings and thresholds.
    pooled : Fit
        The pooled fit, from which this one starts; changed.
    executor : Executor
        Who computes.
    gain : {"header", "fitted"}
        Gains of the law: those that the maps are computed with, or those of the histograms.
    """
    noise, nominal = frames.law_noise(pooled), frames.plan.read_noise
    if abs(noise / nominal - 1) > NOTABLE_NOISE:
        _say(
            f"the frames have a read noise of {noise:.4g} EM electrons, not {nominal:.4g}; "
            "the fit takes theirs, the thresholds go by the other (read_noise, --read-noise)"
        )
    counted = frames.counted(noise)
    _say_what_is_missing(counted)
    # Where no pixel is, no charge is: counts of nothing tell no C, and F would go with it. The
    # pooled fit stays there, and with it the bias offset.
    start = Start(pooled.values.copy(), np.where(counted.imaging, pooled.errors, np.nan))
    fit = fit_counting(counted, start, executor)
    gains = fit_gains(counted, fit, frames.histograms, frames.plan.bins)
    if gain == "fitted":
        counted = replace(counted, gain=gains.gain)
        fit = fit_counting(counted, start, executor)
    _replace(pooled, fit, counted)
    return CountingResult(fit, gains, noise, nominal, counted.gain, counted.electron, gain)


def _say(text: str) -> None:
    warnings.warn(text, EmdarksWarning, stacklevel=6)


def _say_what_is_missing(counted: CountedStacks) -> None:
    """What a campaign does not tell, and what follows from that."""
    low = counted.is_low
    if not low.any():
        text = "no stack has an EM gain below 2 read noises, so F rests on amplified frames"
    elif all(
        np.unique(counted.time[counted.commanded == g]).size < 2 for g in counted.commanded[low]
    ):
        text = "no low EM gain has two times, so cosmic rays below the threshold stay in F"
    else:
        return
    _say(f"{text}; its error may be some tenths of an electron")


def _replace(pooled: Fit, fit: CountingFit, counted: CountedStacks) -> None:
    """Put the maps in the place of those of the pooled fit, which stays beside the imaging area."""
    inside = counted.imaging
    none = inside & (fit.group == UNFITTED)
    pooled.dq[none & pooled.fitted] |= 1
    pooled.values[:, inside], pooled.errors[:, inside] = (
        fit.values[:, inside],
        fit.errors[:, inside],
    )
    pooled.correlations[:, inside], pooled.chi2[inside] = (
        fit.correlations[:, inside],
        fit.chi2[inside],
    )
    pooled.correlations[:, none], pooled.r_squared[none] = 0.0, np.nan
    pooled.blank(*counted.skip)
