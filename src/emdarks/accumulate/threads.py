"""The embedded executor: the threads of one process.

Thread safety: a band of rows is one thread's from reading to closing, bands do not
overlap, and each thread has its own room to work in. Files are opened and closed by the
calling thread; positioned reads need no shared offset.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.accumulate.blocks import (
    BLOCK_FRAMES,
    Block,
    Blocks,
    FrameFigures,
    Kind,
    Sample,
    SequenceMeans,
    StackJob,
    StackSums,
    finish,
    join,
    merge_tree,
)
from emdarks.accumulate.executor import Count, Executor, Progress
from emdarks.accumulate.open_files import OPEN_FILES, files_allowed, files_open
from emdarks.accumulate.prefetch import ReadAhead
from emdarks.arguments import whole_number
from emdarks.counting_sums import (
    HISTOGRAM_EVERY,
    HISTOGRAM_ROWS,
    MANY_PIXELS,
    CountingSums,
    CountsAbove,
    CountThreshold,
    Thresholds,
)
from emdarks.errors import UnreadableFrameError
from emdarks.fits.pixels import RawFrame, Reader, let_go_of_cubes
from emdarks.moments import Moments, counts_dtype, merge
from emdarks.raw import FrameScan, over_saturated

Array = npt.NDArray[Any]
A = TypeVar("A")
B = TypeVar("B")

# A run's pixels, as stored and as numbers, and its sums stay in the caches of a core.
RUN_PIXELS = 1 << 15
# Packed and remote files are held whole while they are open: a batch, and the next one.
BATCH_BYTES = 1 << 27
# Any number that is given must be below.
_MOST = (1 << 31) - 1
# Bands of rows for each thread: enough to share the work evenly.
BANDS = 8


def available_cores() -> int:
    """Cores that this process may use; of the machine, where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Alike:
    """Open frames that one compiled call can stream: they are laid out alike."""

    first: int
    raw: list[RawFrame]
    scales: list[float]

    @classmethod
    def groups(cls, batch: Sequence[Sample], frames: Sequence[RawFrame]) -> list[_Alike]:
        """Consecutive frames of one layout, in order, without over-saturated ones.

        One group at least; it may be without frames.
        """
        groups: list[_Alike] = []
        for i, (sample, raw) in enumerate(zip(batch, frames, strict=True)):
            if _is_over_saturated(raw):
                continue
            if not groups or groups[-1].end != i or groups[-1].kind != _kind(raw):
                groups.append(cls(i, [], []))
            groups[-1].raw.append(raw)
            groups[-1].scales.append(sample.scale)
        return groups or [cls(0, [], [])]

    @property
    def end(self) -> int:
        """Where the next frame stands in the batch."""
        return self.first + len(self.raw)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What the frames have in common."""
        return _kind(self.raw[0])

    @property
    def bytes_of_a_pixel(self) -> int:
        """What is read of a pixel of all frames."""
        return sum(
            np.dtype(dtype).itemsize
            for frame in self.raw
            if frame.file != _core.IN_MEMORY
            for dtype in frame.dtypes
            if dtype is not None
        )

    def frames(self, mask: int) -> _core.Frames:
        """What the kernel needs to know."""
        one = self.raw[0] if self.raw else _NO_FRAME
        calibrations = [raw.calibration for raw in self.raw if raw.calibration is not None]
        return _core.Frames(
            np.array([frame.file for frame in self.raw], np.int32),
            np.array([frame.offsets for frame in self.raw], np.int64).reshape(-1, 3).T.copy(),
            np.array(self.scales, np.float64),
            (one.dtypes[0], one.dtypes[1], one.dtypes[2]),
            one.flips,
            mask,
            calibrations or None,
        )


#: Layout of no frames at all.
_NO_FRAME = RawFrame(_core.IN_MEMORY, "", (0, 0, 0), ("|u1", None, None), (0, 0, 0))


def _kind(raw: RawFrame) -> tuple[Any, ...]:
    """What frames must have in common to be streamed by one compiled call."""
    return raw.dtypes, raw.flips, raw.file == _core.IN_MEMORY, raw.calibration is None


def _is_over_saturated(raw: RawFrame) -> bool:
    return raw.scan is not None and raw.scan.over_saturated


def _stored(reader: Reader) -> RawFrame:
    """Where the bytes of a frame lie; raw frames are looked through for that."""
    return reader.raw


@dataclass(frozen=True, slots=True)
class _Part:
    """Some frames of a block, where they stand in it, and how many were added before them."""

    group: _Alike
    first: int
    added: int
    figures: Array
    fresh: bool
    closed: bool


@dataclass(slots=True)
class _Read:
    """What was learnt of the frames of a block.

    ``rows`` holds figures (frame, row, figure), ``scans`` what was learnt from raw frames,
    ``added`` how many were not left out.
    """

    rows: Array
    added: int = 0
    scans: list[FrameScan | None] = field(default_factory=list)
    bytes_read: int = 0
    left_out: tuple[str, ...] = ()

    def take(self, frames: Sequence[RawFrame], told: bool) -> None:
        """Keep what is known of frames; ``told``: say which are left out."""
        self.scans += [frame.scan for frame in frames]
        if told:
            self.left_out += tuple(
                f"{frame.path}: {over_saturated(frame.scan.over / frame.scan.pixels)}; left out"
                for frame in frames
                if frame.scan is not None and frame.scan.over_saturated
            )

    def frame_figures(self, block: StackJob) -> tuple[FrameFigures, ...]:
        """Figures of the frames; none where they were not asked for."""
        if block.area is None:
            return ()
        rows = block.area.rows
        return tuple(
            FrameFigures.of_frame(figures, rows, learnt)
            for figures, learnt in zip(self.rows, self.scans, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _OpenSequence:
    """Where the means along the sequence of a block go."""

    length: int
    mean: Array
    n: Array

    @classmethod
    def of(cls, block: StackJob, pixels: int) -> _OpenSequence | None:
        """Fresh memory; None where none are wanted."""
        if not block.mean_frames:
            return None
        shape = -(-len(block.samples) // block.mean_frames), pixels
        return cls(block.mean_frames, np.empty(shape, np.float32), np.empty(shape, np.uint8))

    def after(self, added: int) -> _core.SequenceMeans:
        """What the kernel needs to know, so many frames having been added."""
        return _core.SequenceMeans(self.mean, self.n, self.length, added)

    def closed(self, added: int) -> SequenceMeans:
        """All means, so many frames having been added."""
        firsts = range(0, added, self.length)
        frames = tuple(min(self.length, added - first) for first in firsts)
        return SequenceMeans(frames, self.mean[: len(frames)], self.n[: len(frames)])


class Threads(Executor):
    """Run on the threads of this process.

    Parameters
    ----------
    threads : int, optional
        How many; all cores that this process may use, by default.
    run_pixels : int, optional
        Pixels of a run, rounded to whole rows.
    batch_files : int, optional
        Files open at a time.
    progress : callable, optional
        Called with the numbers of frames done and of all, as blocks are finished.

    Notes
    -----
    None of these changes a bit of any result.
    """

    def __init__(
        self,
        threads: int | None = None,
        run_pixels: int = RUN_PIXELS,
        batch_files: int = BLOCK_FRAMES,
        progress: Progress | None = None,
    ):
        self.progress = progress
        self.threads = available_cores()
        if threads is not None:
            self.threads = whole_number("threads", threads, 1, _MOST)
        self._run_pixels = whole_number("run_pixels", run_pixels, 1, _MOST)
        self._batch_files = min(whole_number("batch_files", batch_files, 1, _MOST), files_allowed())
        self._spare: list[Moments] = []
        # Memory that was touched once is used again: rooms of threads, and open sums.
        self._rooms: dict[tuple[int, int], list[_core.Room]] = {}
        self._whole: dict[tuple[int, bool], _core.OpenSums] = {}
        # One block at a time has them.
        self._turn = Lock()

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """See `Executor`."""
        if self.threads == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(function, items))

    def stacks(
        self,
        jobs: Sequence[StackJob],
        into: Sequence[Moments] | None = None,
        blocks: Blocks | None = None,
        count: Count | None = None,
    ) -> Iterator[StackSums]:
        """See `Executor`."""
        blocks = blocks or Blocks()
        count = Count.of(count, self.progress, jobs)
        try:
            for index, job in enumerate(jobs):
                cut = blocks.cut(job)
                room = [] if into is None else [into[index]]
                leaves = (
                    count.after(block, blocks.sums(block, self, room.pop() if room else None))
                    for block in cut
                )
                sums = merge_tree(leaves, lambda left, right: join(left, right, self._merge))
                yield finish(sums, cut)
        finally:
            let_go_of_cubes()

    def add(self, block: Block, into: Moments | None = None) -> StackSums:
        """See `Adder`."""
        with self._turn:
            moments = self.room(block.kind) if into is None else into
            if moments.has_errors and moments.err2 is not None:
                moments.err2[:] = 0.0
            moments.has_errors = False
            sequence = _OpenSequence.of(block.job, moments.n.size)
            made = self._accumulate(block.job, moments, sequence)
        figures = made.frame_figures(block.job)
        means = () if sequence is None else (sequence.closed(made.added),)
        return StackSums(moments, figures, made.bytes_read, made.left_out, sequence=means)

    def room(self, kind: Kind) -> Moments:
        """See `Adder`."""
        wanted = np.dtype(kind.flags), kind.has_err, kind.kept, counts_dtype(kind.frames)
        for i, moments in enumerate(self._spare):
            found = moments.flags.dtype, moments.err2 is not None, moments.kept, moments.n.dtype
            if not kind.counted_alike(moments):
                continue
            if moments.n.size == kind.size and found == wanted:
                return self._spare.pop(i)
        return kind.empty()

    def release(self, moments: Moments) -> None:
        """See `Executor`."""
        # Squared errors that are not 0 would have to be wiped out.
        if not moments.has_errors:
            self._spare.append(moments)

    def _accumulate(
        self, block: StackJob, moments: Moments, sequence: _OpenSequence | None
    ) -> _Read:
        """Sums of one block."""
        batches = list(self._batches(block.samples))
        ahead = ReadAhead([batch for _, batch in batches], self.threads)
        # Other executors of this process may be reading, too.
        with OPEN_FILES.taken(files_open([batch for _, batch in batches], ahead.opens_ahead)):
            return self._accumulate_batches(block, moments, sequence, batches, ahead)

    def _accumulate_batches(
        self,
        block: StackJob,
        moments: Moments,
        sequence: _OpenSequence | None,
        batches: Sequence[tuple[int, Sequence[Sample]]],
        ahead: ReadAhead,
    ) -> _Read:
        rows = block.shape[0] if block.area is not None else 0
        read = _Read(np.empty((len(block.samples), rows, len(_core.ROW_FIGURES))))
        for number, (first, batch) in enumerate(batches):
            with ahead.opened(number) as readers:
                read.bytes_read += sum(reader.bytes_unpacked for reader in readers)
                # Raw frames are looked through here, each by one thread.
                frames = self.map(_stored, readers)
                read.take(frames, told=block.area is None)
                groups = _Alike.groups(batch, frames)
                only = len(batches) == len(groups) == 1
                for group in groups:
                    part = _Part(
                        group,
                        first + group.first,
                        read.added,
                        read.rows[first + group.first :],
                        fresh=number == 0 and group is groups[0],
                        closed=number == len(batches) - 1 and group is groups[-1],
                    )
                    self._add(block, moments, sequence, part, only)
                    read.added += len(group.raw)
                    read.bytes_read += moments.n.size * group.bytes_of_a_pixel
        return read

    def _add(
        self,
        block: StackJob,
        moments: Moments,
        sequence: _OpenSequence | None,
        part: _Part,
        only: bool,
    ) -> None:
        """Add frames of one layout to the sums of a block."""
        frames = part.group.frames(block.mask)
        area = block.area
        imaging, prescan = ((0, 0), (0, 0)) if area is None else (area.cols, area.prescan_cols)
        figures = None if area is None else part.figures
        whole = None if only and not block.kept else self._open(moments)
        counting, above = _counting(block, moments)
        means = None if sequence is None else sequence.after(part.added)
        bands = self._bands(block.shape)
        histograms = _histograms(block, moments, part.first, len(bands))
        rooms: SimpleQueue[_core.Room] = SimpleQueue()
        for room in self._rooms_for(block.shape[1]):
            rooms.put(room)

        def add(number: int) -> bool:
            room = rooms.get()
            try:
                failed, has_errors = _core.add_band(
                    frames,
                    room,
                    whole,
                    *bands[number],
                    part.fresh,
                    part.closed,
                    imaging,
                    prescan,
                    figures,
                    moments.n,
                    moments.mean,
                    moments.m2,
                    moments.err2,
                    moments.flags,
                    moments.top,
                    counting,
                    histograms[number][0] if histograms else None,
                    above,
                    means,
                )
            finally:
                rooms.put(room)
            if failed >= 0:
                path = part.group.raw[failed].path
                raise UnreadableFrameError(path, "ended while its pixels were read")
            return has_errors

        if any(self.map(add, range(len(bands)))):
            moments.has_errors = True
        if moments.histogram is not None:
            moments.histogram[:] = 0 if part.fresh else moments.histogram
            for _, counts in histograms:
                moments.histogram += counts

    def _open(self, moments: Moments) -> _core.OpenSums:
        """Open sums of a whole frame."""
        kind = moments.n.size, moments.err2 is not None
        if kind not in self._whole:
            self._whole[kind] = _core.OpenSums(*kind)
        return self._whole[kind]

    def _rooms_for(self, cols: int) -> list[_core.Room]:
        """Room to work in, of each thread."""
        pixels = self._run_rows(cols) * cols
        if (pixels, cols) not in self._rooms:
            self._rooms[pixels, cols] = [_core.Room(pixels, cols) for _ in range(self.threads)]
        return self._rooms[pixels, cols]

    def _run_rows(self, cols: int) -> int:
        return max(1, self._run_pixels // cols)

    def _bands(self, shape: tuple[int, int]) -> list[tuple[int, int]]:
        """First and last-plus-one pixels of the bands: whole runs."""
        rows, cols = shape
        run = self._run_rows(cols)
        step = run * cols * max(1, rows // (run * BANDS * self.threads))
        return [(lo, min(lo + step, rows * cols)) for lo in range(0, rows * cols, step)]

    def _batches(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Sequence[Sample]]]:
        """Frames to be open together, with the index of the first."""
        start, held, most = 0, 0, self._batch_files
        if any(sample.source.held_bytes for sample in samples):
            most = min(most, max(1, files_allowed() // 2))  # two batches are open at a time
        for i, sample in enumerate(samples):
            cost = sample.source.held_bytes
            if i > start and (i - start == most or held + cost > BATCH_BYTES):
                yield start, samples[start:i]
                start, held = i, 0
            held += cost
        yield start, samples[start:]

    def _merge(self, left: Moments, right: Moments) -> Moments:
        step = -(-left.n.size // (BANDS * self.threads))
        parts = [(lo, lo + step) for lo in range(0, left.n.size, step)]
        self.map(lambda part: merge(left.part(*part), right.part(*part)), parts)
        left.has_errors |= right.has_errors
        left.add_histogram(right)
        self.release(right)
        return left


def _counting(
    block: StackJob, moments: Moments
) -> tuple[_core.CountingSums | None, _core.CountsAbove | None]:
    """Where the counts and clipped sums of a block go, or its counts above a threshold."""
    at, sums = block.thresholds, moments.counting
    if isinstance(at, Thresholds) and isinstance(sums, CountingSums):
        thresholds = (at.T, at.T2, at.T3)
        return _core.CountingSums(*sums.sums(), thresholds, block.telemetry), None
    if isinstance(at, CountThreshold) and isinstance(sums, CountsAbove):
        plus, minus = (sums.plus, sums.minus) if at.errors else (None, None)
        return None, _core.CountsAbove(sums.above, plus, minus, at.T)
    return None, None


def _histograms(
    block: StackJob, moments: Moments, first: int, bands: int
) -> list[tuple[_core.Histogram, Array]]:
    """Where the histogram of each band of frames from number ``first`` on goes, and its counts."""
    bins = block.histogram
    if bins is None or moments.histogram is None:
        return []
    place, rows = (bins.start, bins.width), (0, 0) if block.area is None else block.area.rows
    by_rows = block.thresholds is None
    every = HISTOGRAM_ROWS if by_rows else _frames_every(moments.n.size)
    counts = np.zeros((bands, *moments.histogram.shape), np.int64)
    return [
        (_core.Histogram(own, *place, every, first, by_rows, rows, block.telemetry), own)
        for own in counts
    ]


def _frames_every(pixels: int) -> int:
    """Of how many frames one is counted, where their gains enter maps."""
    return HISTOGRAM_EVERY if pixels >= MANY_PIXELS else 1
