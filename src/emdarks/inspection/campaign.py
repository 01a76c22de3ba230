"""One pass over the frames of a campaign, whatever state it is in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera, Unit, load_camera
from emdarks.darks.campaign import MIN_STACKS
from emdarks.darks.options import Setting, mask_of
from emdarks.detector import frame_shape
from emdarks.execution import Executor, FrameFigures, StackJob, StackSums, Threads
from emdarks.execution.blocks import FigureArea
from emdarks.frames import FrameInput, camera_named_in
from emdarks.inspection.findings import Facts, find
from emdarks.inspection.sorting import SortedFrames, sort_frames
from emdarks.inspection.summary import CampaignSummary, FrameSummary, PixelCounts, StackSummary
from emdarks.kernels.moments import Moments
from emdarks.stacks import Stack, figure_area, jobs_of

__all__ = ["inspect_campaign"]

Array = npt.NDArray[Any]


def inspect_campaign(
    dataset: Any,
    *,
    camera: str | Camera | None = None,
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
        An argument is wrong, there are no frames, or the pixels of one cannot be read.

    Notes
    -----
    Levels are EM electrons: DN times k-gain; frames that are already divided by the EM
    gain are multiplied by it.
    """
    chosen = load_camera(camera or camera_named_in(dataset))
    campaign = sort_frames(dataset, chosen)
    job = Setting(
        campaign.inputs, chosen, chosen.regions, executor or Threads(), mask_of(mask_bits)
    )
    look = _Look(job, _area(job, campaign, detector_params))
    factors = [[_em_electrons(stack, item) for item in stack.frames] for stack in campaign.stacks]
    jobs = jobs_of(campaign.stacks, factors, job.mask, look.area)
    summaries = tuple(map(look.at, campaign.stacks, jobs, job.executor.stacks(jobs)))
    pixels = look.counts()
    return CampaignSummary(
        camera=chosen.name,
        shape=campaign.shape,
        frames=campaign.frames,
        stacks=summaries,
        pixels=pixels,
        findings=tuple(find(Facts(chosen, campaign, summaries, pixels))),
    )


def _area(job: Setting, campaign: SortedFrames, detector_params: Any) -> FigureArea:
    """Imaging area without telemetry rows; the whole frame where the geometry does not fit."""
    telemetry = job.telemetry(detector_params)
    if campaign.shape == frame_shape(job.arrtype, job.regions):
        return figure_area(job.arrtype, job.regions, telemetry)
    rows, cols = campaign.shape
    return FigureArea((0, rows), (0, cols), (0, 0))


def _em_electrons(stack: Stack, item: FrameInput) -> float:
    """Factor to EM electrons; 1 where nothing tells."""
    unit = item.record.unit
    if unit is Unit.DN and stack.k_gain > 0:
        return stack.k_gain
    if unit is Unit.ELECTRON and stack.em_gain > 0:
        return stack.em_gain
    return 1.0


class _Look:
    """Looks at stack after stack and keeps what the summary says of all."""

    def __init__(self, job: Setting, area: FigureArea):
        self.area = area
        self._executor = job.executor
        self._noise = job.camera.noise
        size = (area.rows[1] - area.rows[0], area.cols[1] - area.cols[0])
        self._usable = np.zeros(size, dtype=np.int32)

    def counts(self) -> PixelCounts:
        """Pixels over all stacks seen."""
        return PixelCounts(
            imaging=self._usable.size, unfittable=int((self._usable < MIN_STACKS).sum())
        )

    def at(self, stack: Stack, job: StackJob, sums: StackSums) -> StackSummary:
        """What is to be said of a stack."""
        n, mean = self._cut(sums.moments, job.shape)
        self._usable += n > 0
        well = min(
            self._noise.full_well_register, self._noise.full_well_image * max(stack.em_gain, 1.0)
        )
        counts = {
            "most_good": int(n.max()),
            "lost_pixels": int((n == 0).sum()),
            "overfull_pixels": int((mean > well).sum()),
        }
        self._executor.release(sums.moments)
        return _summary(stack, sums.figures, counts)

    def _cut(self, moments: Moments, shape: tuple[int, int]) -> tuple[Array, Array]:
        part = slice(*self.area.rows), slice(*self.area.cols)
        return moments.n.reshape(shape)[part], moments.mean.reshape(shape)[part]


def _summary(stack: Stack, figures: Sequence[FrameFigures], counts: dict[str, int]) -> StackSummary:
    records = [item.record for item in stack.frames]
    gains = np.array([record.em_gain for record in records])
    return StackSummary(
        em_gain=stack.em_gain,
        commanded_gain=stack.commanded_gain,
        exposure_time=stack.exposure_time,
        k_gain=stack.k_gain,
        gain_spread=float(np.ptp(gains) / abs(gains.mean())) if gains.any() else 0.0,
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
        **counts,
    )


def _mean(values: Any) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _range(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (math.nan, math.nan)
