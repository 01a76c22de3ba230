"""The moments of finished stacks, and how they get there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.accumulate import Executor, FrameFigures, Sample, StackJob, StackSums
from emdarks.accumulate.blocks import FigureArea, mean_frames
from emdarks.counting_sums import CountingSums, CountThreshold, HistogramBins, Thresholds
from emdarks.errors import InputError
from emdarks.moments import HISTOGRAM_BINS, Moments, counts_dtype, merge
from emdarks.stacks.group import Stack
from emdarks.stacks.read_noise import FAR_NOISE, bulk_noise, shows_read_noise, typical_noise

Array = npt.NDArray[Any]

RUN_PIXELS = 1 << 16


class StackStore:
    """Moments of finished stacks, arrays of shape (stacks, pixels).

    About 22 bytes a pixel and stack, and 8 more where frames have errors.

    Attributes
    ----------
    n : ndarray of unsigned integers
        Good samples.
    mean, m2 : ndarray of float64
        Mean, and sum of squared deviations from it.
    flags : ndarray of unsigned integers
        Bitwise OR of all flags.
    rejected : ndarray of int, shape (pixels,), or None
        Samples taken out by screening, over all stacks.
    counting : CountingSums or None
        Counts and clipped sums, 16 bytes a pixel and stack.
    histograms : ndarray of int64, shape (stacks, 2, bins), or None
        Good samples by value, in the imaging area and in the rest of the frame.
    """

    def __init__(self, jobs: Sequence[StackJob]):
        stacks = len(jobs)
        pixels = jobs[0].shape[0] * jobs[0].shape[1]
        shape = (stacks, pixels)
        frames = max(len(job.samples) for job in jobs)
        # Memory is touched stack by stack, as frames are streamed; errors only where one is
        # not 0.
        self.n = np.empty(shape, counts_dtype(frames))
        self.mean = np.empty(shape)
        self.m2 = np.empty(shape)
        self.flags = np.empty(shape, np.result_type(*(job.flags_dtype for job in jobs)))
        self.rejected: Array | None = None
        self.counting: CountingSums | None = None
        self.histograms: Array | None = None
        if jobs[0].thresholds is not None:
            self.counting = CountingSums.stored(shape)
        if jobs[0].histogram is not None:
            self.histograms = np.zeros((stacks, 2, HISTOGRAM_BINS), np.int64)
        self._err2 = np.zeros(shape) if any(job.has_err for job in jobs) else None
        self._has_errors = [False] * stacks

    @property
    def err2(self) -> Array | None:
        """Sum of squared errors; None where all errors are 0."""
        return self._err2 if any(self._has_errors) else None

    def moments(self, stack: int) -> Moments:
        """Moments of a stack, as views: what is written to them is kept."""
        err2 = None if self._err2 is None else self._err2[stack]
        return Moments(
            self.n[stack],
            self.mean[stack],
            self.m2[stack],
            err2,
            self.flags[stack],
            has_errors=self._has_errors[stack],
            histogram=None if self.histograms is None else self.histograms[stack],
        )

    def keep(self, stack: int, moments: Moments) -> None:
        """Take note of what was written to the moments of a stack; of its counts, a copy."""
        self._has_errors[stack] = moments.has_errors
        if self.counting is not None and moments.counting is not None:
            self.counting.stack(stack).take(moments.counting)

    def drop(self, lost: Collection[int]) -> None:
        """Forget some stacks; the others move up in the same memory."""
        kept = [index for index in range(len(self.n)) if index not in lost]
        for name in ("n", "mean", "m2", "flags", "_err2", "histograms"):
            if getattr(self, name) is not None:
                setattr(self, name, _moved_up(getattr(self, name), kept))
        if self.counting is not None:
            self.counting = CountingSums(*(_moved_up(x, kept) for x in self.counting.sums()))
        self._has_errors = [self._has_errors[index] for index in kept]

    def merge(self, other: StackStore, executor: Executor) -> None:
        """Join the moments of other frames of the same stacks into these."""
        if other.err2 is not None and self._err2 is None:
            self._err2 = np.zeros(self.mean.shape)

        def join(stack: int) -> None:
            mine, theirs = self.moments(stack), other.moments(stack)
            merge(mine, theirs)
            mine.add_histogram(theirs)
            self.keep(stack, mine)
            if self.counting is not None and other.counting is not None:
                self.counting.stack(stack).add(other.counting.stack(stack))

        executor.map(join, range(len(self.n)))


def _moved_up(planes: Array, kept: Sequence[int]) -> Array:
    """Those of some stacks, in the same memory."""
    for index, old in enumerate(kept):
        if index != old:
            planes[index] = planes[old]
    return planes[: len(kept)]


@dataclass(frozen=True, slots=True)
class Screening:
    """What the screening of a stack needs to know: see `emdarks._core.screen`."""

    gain: float
    read_noise: float
    charge: float
    name: str = "the stack"

    def check(self, moments: Moments, figures: Sequence[FrameFigures]) -> None:
        """Refuse samples that are far noisier than what they would be screened with.

        Raises
        ------
        InputError
            Clean samples would be taken for cosmic rays.
        """
        if not shows_read_noise(self.gain, self.charge, self.read_noise):
            return
        noise = bulk_noise(typical_noise(moments.n, moments.m2), figures)
        if noise > FAR_NOISE * self.read_noise:
            raise InputError(
                f"{self.name}: its noise is {noise:.3g} EM electrons, and screening would go by "
                f"the camera file's read noise of {self.read_noise:g}: clean samples would be "
                "taken for cosmic rays; give a camera file with the read noise of these frames, "
                "or do without screening (screen, --screen)"
            )


def screen_stack(
    moments: Moments, screening: Screening, rejected: Array, executor: Executor
) -> None:
    """Take unflagged cosmic rays out of the closed sums of a stack.

    Parameters
    ----------
    moments : Moments
        Changed in place.
    screening : Screening
        Gain, read noise and nominal charge of the stack.
    rejected : ndarray of integers, shape (pixels,)
        Increased by the number of samples taken out.
    executor : Executor
        Who computes.
    """
    assert moments.top is not None
    top = moments.top
    trimmed = np.empty(moments.n.size)
    runs = [(lo, lo + RUN_PIXELS) for lo in range(0, trimmed.size, RUN_PIXELS)]

    def trim(run: tuple[int, int]) -> None:
        part = slice(*run)
        _core.trimmed_means(moments.n[part], moments.mean[part], top[part], trimmed[part])

    executor.map(trim, runs)
    level = _core.median(trimmed)

    def take_out(run: tuple[int, int]) -> None:
        part, cut = moments.part(*run), slice(*run)
        assert part.top is not None
        _core.screen(
            part.n,
            part.mean,
            part.m2,
            part.err2,
            part.flags,
            part.top,
            trimmed[cut],
            level,
            screening.gain,
            screening.read_noise,
            screening.charge,
            rejected[cut],
        )

    executor.map(take_out, runs)


def accumulate_stacks(
    jobs: Sequence[StackJob],
    executor: Executor,
    screenings: Sequence[Screening] | None = None,
    look: Callable[[int, StackSums], None] | None = None,
) -> tuple[StackStore, list[StackSums]]:
    """Stream all stacks and keep their moments.

    Parameters
    ----------
    jobs : sequence of StackJob
        The stacks; with ``kept`` samples where they are to be screened.
    executor : Executor
        Who computes.
    screenings : sequence of Screening, optional
        Screen each stack when it is finished.
    look : callable, optional
        Called with the index and the sums of each finished stack, before it is screened. Means
        along the sequence are seen here alone, so that those of one stack are held at a time.

    Returns
    -------
    store : StackStore
        Moments.
    sums : list of StackSums
        Figures and bytes read, stack by stack; their moments are those in the store. Those of
        stacks that were lost mean nothing; `drop_lost` takes them out.
    """
    store = StackStore(jobs)
    if screenings is not None:
        store.rejected = np.zeros(store.n.shape[1], np.int32)
    tops = np.empty((store.n.shape[1], jobs[0].kept)) if jobs[0].kept else None
    into = [store.moments(index) for index in range(len(jobs))]
    # One stack's counts at a time are held with all their digits.
    counting = CountingSums.empty(store.n.shape[1]) if store.counting is not None else None
    for moments in into:
        moments.top, moments.counting = tops, counting
    finished = []
    for index, sums in enumerate(executor.stacks(jobs, into)):
        finished.append(replace(sums, sequence=()))
        if sums.lost:
            continue
        if look is not None:
            look(index, sums)
        if screenings is not None:
            assert store.rejected is not None
            screenings[index].check(into[index], sums.figures)
            screen_stack(into[index], screenings[index], store.rejected, executor)
        store.keep(index, into[index])
    return store, finished


def drop_lost(store: StackStore, sums: Sequence[StackSums]) -> tuple[StackStore, list[StackSums]]:
    """What `accumulate_stacks` gave, without the stacks that no frame was left of."""
    store.drop({index for index, stack in enumerate(sums) if stack.lost})
    kept = [stack for stack in sums if not stack.lost]
    return store, [replace(s, moments=store.moments(index)) for index, s in enumerate(kept)]


def jobs_of(
    stacks: Sequence[Stack],
    factors: Sequence[Sequence[float]],
    mask: int,
    area: FigureArea | None,
    kept: int = 0,
    counting: Sequence[tuple[Thresholds | CountThreshold | None, HistogramBins | None]]
    | None = None,
    telemetry: tuple[int, int] = (0, 0),
    sequence: bool = False,
) -> list[StackJob]:
    """Work of each stack.

    Parameters
    ----------
    stacks : sequence of Stack
        The stacks.
    factors : sequence of sequences of float
        Factor of every frame to the unit of the sums.
    mask : int
        Flag bits that exclude a sample.
    area : FigureArea or None
        Where to take the figures of single frames.
    kept : int
        Largest samples to keep of each pixel, for screening.
    counting : sequence of ((Count)Thresholds or None, HistogramBins or None), optional
        Of each stack, where its counts, or its histogram, are wanted.
    telemetry : tuple of int
        First and last-plus-one row without signal.
    sequence : bool
        Whether the means of every few frames are wanted (`emdarks.accumulate.SequenceMeans`).
    """
    ways = [(None, None)] * len(stacks) if counting is None else counting
    return [
        StackJob(
            tuple(
                Sample(item.source, scale) for item, scale in zip(stack.frames, scales, strict=True)
            ),
            stack.frames[0].record.shape,
            mask,
            area,
            kept,
            *way,
            telemetry,
            mean_frames(len(stack.frames)) if sequence else 0,
        )
        for stack, scales, way in zip(stacks, factors, ways, strict=True)
    ]
