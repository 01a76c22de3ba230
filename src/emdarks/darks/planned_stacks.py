"""Stacks are planned by headers, streamed and fitted: for noise maps, and for data sheets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from emdarks import _core
from emdarks.accumulate import Executor, StackJob, StackSums, Threads
from emdarks.cameras import Camera
from emdarks.checks.recipe_frames import ProductLook
from emdarks.checks.thresholds import FAR_FROM_ZERO
from emdarks.counting_sums import HistogramBins
from emdarks.darks.counting import CountedFrames, CountingOptions, CountingPlan, fit_counts
from emdarks.darks.counting_tables import CountingTables
from emdarks.darks.fitted_maps import FittedMaps
from emdarks.darks.frame_pixels import FramePixels
from emdarks.darks.rejection import Streamed
from emdarks.errors import EmdarksError, InputError
from emdarks.fit.pooled import fit_pooled
from emdarks.stacks import (
    Screening,
    Stack,
    StackStore,
    accumulate_stacks,
    check_shape,
    drop_lost,
    figure_area,
    jobs_of,
    to_em_electrons,
)
from emdarks.stacks.calibration_inputs import CalibrationInputs
from emdarks.stacks.model import FULL, Model
from emdarks.stacks.nominal_noise import histograms_of

#: Sums of all stacks, together and one by one.
Sums = tuple[StackStore, list[StackSums]]


@dataclass(frozen=True, slots=True)
class PlannedStacks:
    """Stacks of the frames, the model that is fitted to them, and the work that they are.

    Attributes
    ----------
    stacks : list of Stack
        The stacks.
    jobs : list of StackJob
        How they are accumulated.
    screenings : list of Screening or None
        How unflagged cosmic rays are taken out, if they are.
    model : Model or None
        None where no maps can be fitted.
    counting : CountingPlan or None
        What is counted, if anything is.
    """

    stacks: list[Stack]
    jobs: list[StackJob]
    screenings: list[Screening] | None
    model: Model | None
    counting: CountingPlan | None = None

    @classmethod
    def of(
        cls,
        stacks: list[Stack],
        job: CalibrationInputs,
        telemetry: slice,
        model: Model | None,
        counting: CountingOptions | None = None,
        screen: bool = False,
        sequence: bool = False,
    ) -> PlannedStacks:
        """What is done with these stacks, whose frames can be used.

        Parameters
        ----------
        stacks : list of Stack
            The stacks.
        job : CalibrationInputs
            The frames.
        telemetry : slice
            Rows of telemetry.
        model : Model or None
            What is fitted, if anything is.
        counting : CountingOptions, optional
            How samples are counted, if they are.
        screen : bool
            Take unflagged cosmic rays out.
        sequence : bool
            Means of every few frames are wanted.

        Raises
        ------
        InputError
            The frames do not have the camera's shape, or cannot be counted or screened.
        """
        check_shape(stacks, job.arrtype, job.regions)
        area = figure_area(job.arrtype, job.regions, telemetry)
        scales = [to_em_electrons(stack, job.kgain) for stack in stacks]
        if counting is not None:
            level = _level(stacks, job, telemetry, counting.read_noise)
            counting = replace(counting, level=level)
        counted = counting.plan(stacks, job.camera, scales) if counting else None
        ways = counted.ways if counted else histograms_of(stacks, job.camera)
        rows = telemetry.start, telemetry.stop
        kept = _core.KEPT if screen else 0
        jobs = jobs_of(stacks, scales, job.mask, area, kept, ways, rows, sequence)
        screenings = [_screening(stack, job.camera) for stack in stacks] if screen else None
        return cls(stacks, jobs, screenings, model, counted)

    @property
    def full(self) -> bool:
        """Whether F, C and D are fitted."""
        return self.model is not None and self.model.name == FULL.name

    def unused_bins(self, stack: int) -> HistogramBins | None:
        """Bins of a histogram that no fit of the maps takes the EM gain from."""
        return None if self.counting else self.jobs[stack].histogram

    def accumulate(
        self,
        executor: Executor,
        look: ProductLook,
        each: Callable[[int, StackSums], None] | None = None,
    ) -> Streamed[Sums]:
        """Stream the stacks, and look at their sums before they are screened.

        Parameters
        ----------
        executor : Executor
            Who computes.
        look : ProductLook
            Looks at the sums of every stack.
        each : callable, optional
            Takes the index of a stack and its sums, means along the sequence included.
        """

        def finished(i: int, sums: StackSums) -> None:
            look.at(self.stacks[i], sums.moments, bins=self.unused_bins(i))
            if each is not None:
                each(i, sums)

        return _streamed(accumulate_stacks(self.jobs, executor, self.screenings, finished), look)

    def fit(
        self,
        store: StackStore,
        frame: FramePixels,
        job: CalibrationInputs,
        *,
        weighting: bool = True,
        gain_error: float = 0.0,
        weight_power: int | None = None,
        counts: bool = True,
        gain: str = "header",
    ) -> FittedMaps:
        """Fit the model by variances that are pooled; then by counts where they were taken.

        Parameters
        ----------
        store : StackStore
            Sums of the stacks.
        frame : FramePixels
            The regions.
        job : CalibrationInputs
            The frames.
        weighting, gain_error, weight_power
            As in `emdarks.fit.pooled.fit_pooled`.
        counts : bool
            Whether counts are used where there are any.
        gain : {"header", "fitted"}
            EM gains that counts are fitted with.
        """
        stacks, model = self.stacks, self.model
        assert model is not None
        data = (store, stacks, weighting, frame.imaging, frame.skip, job.executor)
        fit, noise = fit_pooled(*data, gain_error, model, weight_power)
        if self.counting is None or not counts:
            return FittedMaps(fit, noise, store, stacks, model, frame, job)
        assert store.histograms is not None
        frames = CountedFrames(store, stacks, self.counting, frame)
        counted = fit_counts(frames, fit, job.executor, gain)
        gains = counted.law_gain.tolist()
        stacks = [replace(stack, em_gain=g) for stack, g in zip(stacks, gains, strict=True)]
        tables = CountingTables(counted, self.counting, stacks, store.n, store.histograms)
        return FittedMaps(fit, noise, store, stacks, model, frame, job, tables)


def without_lost(made: Streamed[Sums]) -> Streamed[Sums]:
    """The sums without stacks of which no frame is left."""
    return _streamed(drop_lost(*made.sums), made.look)


def _level(
    stacks: Sequence[Stack], job: CalibrationInputs, telemetry: slice, read_noise: float | None
) -> float:
    """Where samples without charge lie, EM electrons, by one frame of the lowest gain.

    0 where the frames have a prescan and lie near 0: their bias is subtracted.
    """
    lowest = min(stacks, key=lambda stack: stack.commanded_gain)
    record = lowest.frames[0].record
    frame = FramePixels.of(job, record.shape, telemetry)
    one = replace(lowest, frames=lowest.frames[:1])
    plain = jobs_of([one], [to_em_electrons(one, job.kgain)], job.mask, None)
    # A frame that cannot be read is told, or left out, in the pass.
    with suppress(EmdarksError):
        sums = next(iter(Threads(1).stacks(plain)))
        level = float(np.median(sums.moments.mean[frame.imaging & frame.signal]))
        near = FAR_FROM_ZERO * (read_noise or job.camera.noise_in(record.mode).read_noise)
        return 0.0 if frame.prescan.size and not abs(level) > near else level
    return 0.0


def _streamed(found: Sums, look: ProductLook) -> Streamed[Sums]:
    return Streamed(found, look, [sums.figures for sums in found[1]])


def _screening(stack: Stack, camera: Camera) -> Screening:
    record = stack.frames[0].record
    noise = camera.noise_in(record.mode)
    if set(noise.unknown) - {"k_gain"}:
        raise InputError(
            f"{record.name}: is in no mode of camera {camera.name}, which has its noise by mode, "
            "and cosmic rays cannot be told from it; add the mode or [noise] to the camera file, "
            "or do without screening (screen, --screen)"
        )
    charge = noise.clock_induced_charge + stack.exposure_time * noise.dark_current
    return Screening(stack.em_gain, noise.read_noise, charge, str(stack))
