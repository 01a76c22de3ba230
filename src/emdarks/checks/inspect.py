"""One pass over the frames of a campaign, whatever state it is in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.accumulate import Executor, FrameFigures, StackJob, Threads
from emdarks.accumulate.blocks import FigureArea
from emdarks.accumulate.executor import Count, frames_of
from emdarks.cameras import Camera, NoiseFigures, Unit, load_camera
from emdarks.checks.classify import SortedFrames, sort_frames
from emdarks.checks.context import Context
from emdarks.checks.frame_statistics import departures, frame_errors
from emdarks.checks.masks import masks_differ
from emdarks.checks.registry import find_in_campaign
from emdarks.checks.saturation import full_well, samples_at_ceiling
from emdarks.checks.search import ray_share, search_of
from emdarks.checks.summary import CampaignSummary, FrameSummary, PixelCounts, StackSummary
from emdarks.counting_sums import HistogramBins
from emdarks.detector import frame_shape
from emdarks.dq import DQ
from emdarks.errors import UnreadableFrameError
from emdarks.fit.stack_gain import gain_of_stack
from emdarks.frames import FrameInput, camera_named_in
from emdarks.frames.flagging import flagging_level, is_searched
from emdarks.moments import Moments
from emdarks.stacks import Stack, figure_area, jobs_of
from emdarks.stacks.calibration_inputs import (
    CalibrationInputs,
    check_executor,
    check_k_gain,
    mask_of,
)
from emdarks.stacks.design import MIN_STACKS
from emdarks.stacks.nominal_noise import histograms_of
from emdarks.stacks.read_noise import typical_noise

Array = npt.NDArray[Any]


def inspect_campaign(
    dataset: Any,
    *,
    camera: str | Camera | None = None,
    kgain: float | None = None,
    mask_bits: int | None = None,
    executor: Executor | None = None,
    detector_params: Any = None,
) -> CampaignSummary:
    """Look at a campaign: its stacks, what can be made of them, and what will go wrong.

    A campaign that cannot be fitted is explained, not refused: frames that cannot be
    used are named and left out. Every other frame is read once.

    Parameters
    ----------
    dataset : Dataset, or an object like it
        The frames, of any number of stacks.
    camera : str or Camera, optional
        Meaning of the headers; the one that the frames' CAMERA card names, else ``excam``.
    kgain : float, optional
        Electrons per DN, instead of the headers'.
    mask_bits : int, optional
        Flag bits that mark a sample as bad; all by default.
    executor : Executor, optional
        Who computes; the threads of this process by default.
    detector_params : DetectorParams, or an object like it, optional
        Say which rows are telemetry; by default the camera does.

    Returns
    -------
    CampaignSummary

    Raises
    ------
    InputError, GeometryError
        An argument is wrong, or there are no frames.

    Notes
    -----
    Levels are EM electrons: DN times k-gain; frames that are already divided by the EM
    gain are multiplied by it.

    Examples
    --------
    >>> from emdarks import Dataset, inspect_campaign
    >>> from emdarks.data import sample
    >>> summary = inspect_campaign(Dataset(sample()))
    >>> summary.frames, len(summary.stacks), summary.fittable
    (24, 6, True)
    >>> summary.stacks[3].frames, str(summary.stacks[3])
    (4, 'gain 1000, 60 s')
    """
    check_k_gain(kgain)
    check_executor(executor)
    chosen = load_camera(camera or camera_named_in(dataset))
    campaign = sort_frames(dataset, chosen, kgain)
    chosen = in_mode_of(campaign.inputs, chosen.fitted_to(campaign.shape))
    job = CalibrationInputs(
        campaign.inputs, chosen, chosen.regions, executor or Threads(), mask_of(mask_bits)
    )
    area = _area(job, campaign, detector_params)
    look = PixelLook(area, chosen.noise, job.mask)
    factors = [
        [_em_electrons(stack, item, kgain) for item in stack.frames] for stack in campaign.stacks
    ]
    samples = all(item.record.counted is None for item in campaign.inputs)
    ways = histograms_of(campaign.stacks, chosen) if samples else None
    jobs = jobs_of(campaign.stacks, factors, job.mask, area, counting=ways)
    found = _look_at_all(campaign, jobs, look, job, kgain)
    pixels = look.counts()
    summaries = compared(found, pixels.imaging)
    return CampaignSummary(
        camera=chosen.name,
        shape=campaign.shape,
        frames=campaign.frames,
        stacks=summaries,
        pixels=pixels,
        findings=tuple(find_in_campaign(Context(chosen, campaign, summaries, pixels, kgain))),
        preparation=getattr(dataset, "preparation", ""),
    )


def in_mode_of(inputs: Sequence[FrameInput], camera: Camera) -> Camera:
    """The camera with the noise of the mode that most frames have."""
    modes = Counter(item.record.mode for item in inputs)
    return camera.with_noise_in(modes.most_common(1)[0][0]) if modes else camera


def _area(job: CalibrationInputs, campaign: SortedFrames, detector_params: Any) -> FigureArea:
    """Imaging area without telemetry rows; the whole frame where the geometry does not fit."""
    telemetry = job.telemetry(detector_params)
    if campaign.shape == frame_shape(job.arrtype, job.regions):
        return figure_area(job.arrtype, job.regions, telemetry)
    rows, cols = campaign.shape
    return FigureArea((0, rows), (0, cols), (0, 0))


def _em_electrons(stack: Stack, item: FrameInput, kgain: float | None) -> float:
    """Factor to EM electrons; 1 where nothing tells. One count is one electron."""
    unit = item.record.unit
    if item.record.counted is not None:
        return stack.em_gain / item.record.counted.step
    k_gain = kgain or stack.k_gain
    if unit is Unit.DN and k_gain > 0:
        return k_gain
    if unit is Unit.ELECTRON and stack.em_gain > 0:
        return stack.em_gain
    return 1.0


#: What `PixelLook.at` gives where no sums were looked at.
NO_COUNTS: dict[str, Any] = {
    "noise": math.nan,
    "typical_noise": math.nan,
    "cosmic_rays": False,
    "kurtosis": math.nan,
    "most_good": 0,
    "lost_pixels": 0,
    "overfull_pixels": 0,
    "partly_saturated": 0,
    "fitted_gain": math.nan,
    "fitted_gain_error": math.nan,
}


class PixelLook:
    """Looks at the sums of stack after stack, over the imaging area.

    Parameters
    ----------
    area : FigureArea
        The imaging area.
    noise : NoiseFigures
        Tell the full well.
    mask : int
        Flag bits that exclude a sample.
    """

    def __init__(self, area: FigureArea, noise: NoiseFigures, mask: int):
        self._area = area
        self._noise = noise
        self._mask = mask
        size = (area.rows[1] - area.rows[0], area.cols[1] - area.cols[0])
        self._usable = np.zeros(size, dtype=np.int32)

    def counts(self) -> PixelCounts:
        """Pixels over all stacks seen."""
        return PixelCounts(
            imaging=self._usable.size, unfittable=int((self._usable < MIN_STACKS).sum())
        )

    def at(
        self,
        moments: Moments,
        shape: tuple[int, int],
        em_gain: float,
        scale: float = 1.0,
        bins: HistogramBins | None = None,
    ) -> dict[str, Any]:
        """What the sums of a stack tell, as a `StackSummary` has it; ``scale`` to EM electrons.

        The EM gain, too, where there are ``bins`` of its histogram, in EM electrons.
        """
        part = slice(*self._area.rows), slice(*self._area.cols)
        n, mean, m2, flags = (
            getattr(moments, name).reshape(shape)[part] for name in ("n", "mean", "m2", "flags")
        )
        good = n > 0
        self._usable += good
        well = full_well(self._noise, em_gain) / scale
        # What a cosmic ray saturates is no pixel that is too bright.
        both = flags.dtype.type(DQ.SATURATED | DQ.COSMIC_RAY)
        saturated = (flags & both) == DQ.SATURATED
        gain, error = math.nan, math.nan
        if bins is not None and moments.histogram is not None:
            gain, error = gain_of_stack(moments.histogram, bins, em_gain, n, mean, m2)
        return {
            "noise": _noise(n, m2) * scale,
            "typical_noise": typical_noise(n, m2) * scale,
            "cosmic_rays": bool((flags & flags.dtype.type(self._mask & DQ.COSMIC_RAY)).any()),
            "kurtosis": _kurtosis(mean[good]),
            "most_good": int(n.max()),
            "lost_pixels": int(n.size - np.count_nonzero(good)),
            "overfull_pixels": int((mean > well).sum()),
            "partly_saturated": int((saturated & good).sum()),
            "fitted_gain": gain,
            "fitted_gain_error": error,
        }


def _look_at_all(
    campaign: SortedFrames,
    jobs: Sequence[StackJob],
    pixels: PixelLook,
    job: CalibrationInputs,
    kgain: float | None,
) -> list[StackSummary]:
    """What is to be said of every stack; files that cannot be read join the unusable ones.

    All stacks go to the executor at once. Where a file cannot be read, its frames are
    taken out, and the stacks that were not yet looked at are begun again.
    """
    found: list[StackSummary] = []
    left = list(zip(campaign.stacks, jobs, strict=True))
    count = Count(None, 0, several=True)
    while left:
        count.expect(frames_of(each for _, each in left))
        try:
            for sums in job.executor.stacks([each for _, each in left], count=count):
                stack, done = left.pop(0)
                bins = done.histogram
                counts = pixels.at(sums.moments, done.shape, stack.em_gain, bins=bins)
                job.executor.release(sums.moments)
                found.append(summary_of(stack, sums.figures, counts, kgain))
        except UnreadableFrameError as error:
            left = _without(left, error, campaign)
    count.end()
    return found


def _without(
    left: Sequence[tuple[Stack, StackJob]], error: UnreadableFrameError, campaign: SortedFrames
) -> list[tuple[Stack, StackJob]]:
    """Stacks without the frames of a file, which becomes an unusable one."""
    kept, gone = [], []
    for stack, job in left:
        good = [i for i, item in enumerate(stack.frames) if not item.is_in(error.path)]
        gone += [item for item in stack.frames if item.is_in(error.path)]
        if good:
            frames = tuple(stack.frames[i] for i in good)
            samples = tuple(job.samples[i] for i in good)
            kept.append((replace(stack, frames=frames), replace(job, samples=samples)))
    if not gone:
        raise error
    path = gone[0].layout.path if gone[0].layout else error.path
    campaign.unusable.append((path, f"{path}: {error.reason}"))
    return kept


def _noise(n: Array, m2: Array) -> float:
    """Scatter of samples about the means of their pixels, root mean square."""
    twice = n > 1
    freedom = int(n[twice].sum()) - int(twice.sum())
    return math.sqrt(float(m2[twice].sum()) / freedom) if freedom else math.nan


def _kurtosis(values: Array) -> float:
    square = (values - values.mean()) ** 2 if values.size else values
    variance = float(square.mean()) if values.size else 0.0
    return float((square**2).mean()) / variance**2 if variance > 0 else math.nan


def summary_of(
    stack: Stack,
    figures: Sequence[FrameFigures],
    counts: dict[str, Any],
    kgain: float | None,
) -> StackSummary:
    """What is known of a stack.

    Parameters
    ----------
    stack : Stack
        The stack.
    figures : sequence of FrameFigures
        Of its frames, EM electrons.
    counts : dict
        What its sums tell: see `PixelLook`.
    kgain : float or None
        K-gain that overrides the headers', if any.
    """
    k_gain = kgain or stack.k_gain
    records = [item.record for item in stack.frames]
    search = search_of(stack, k_gain)
    looked = search is not None or counts["cosmic_rays"] or masks_differ(figures)
    return StackSummary(
        em_gain=stack.em_gain,
        commanded_gain=stack.commanded_gain,
        k_gain=k_gain,
        exposure_time=stack.exposure_time,
        gain_spread=stack.gain_spread,
        units=tuple(sorted({record.unit_text for record in records})),
        frames=len(records),
        masked=_mean(frame.masked for frame in figures),
        saturated=_mean(frame.saturated for frame in figures),
        level=_mean(frame.level for frame in figures),
        scatter=math.sqrt(_mean(frame.scatter**2 for frame in figures)),
        prescan_level=_mean(frame.prescan_level for frame in figures),
        temperature=_range([record.temperature for record in records]),
        frame_summaries=tuple(
            FrameSummary(record.name, record.start, record.temperature, frame)
            for record, frame in zip(records, figures, strict=True)
        ),
        cut_off_samples=0 if records[0].counted else samples_at_ceiling(figures, k_gain),
        searched=is_searched(stack.frames[0]),
        search=search,
        ray_share=ray_share(stack, figures),
        repaired_rows=sum(frame.repaired_rows for frame in figures),
        flagged_from=min(map(flagging_level, stack.frames)) * k_gain,
        **{**counts, "cosmic_rays": looked},
    )


def compared(stacks: Sequence[StackSummary], pixels: int) -> tuple[StackSummary, ...]:
    """The stacks, each frame compared with the others of its own."""
    levels = [
        np.array([frame.figures.level for frame in stack.frame_summaries]) for stack in stacks
    ]
    errors = [frame_errors(stack, pixels) for stack in stacks]
    compared = []
    for stack, offsets, sigmas in zip(stacks, *departures(levels, errors), strict=True):
        frames = tuple(
            replace(frame, offset=float(offset), sigmas=float(z))
            for frame, offset, z in zip(stack.frame_summaries, offsets, sigmas, strict=True)
        )
        compared.append(replace(stack, frame_summaries=frames))
    return tuple(compared)


def _mean(values: Any) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _range(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (math.nan, math.nan)
