"""The embedded executor: the threads of one process.

Thread safety: a run of pixels is one thread's from reading to accumulation,
runs do not overlap, and each thread has its own `Scratch`. Files are opened
and closed by the calling thread; positioned reads need no shared offset.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from emdarks.errors import InputError
from emdarks.execution.blocks import FrameFigures, Sample, StackJob, StackSums, merge_tree
from emdarks.frames.source import RawFrame, Reader, Scratch
from emdarks.kernels.decode import unsigned
from emdarks.kernels.figures import COLUMNS, row_figures
from emdarks.kernels.moments import Moments, close, merge, reset, update
from emdarks.kernels.stream import stream_run

__all__ = ["Executor", "Threads", "available_cores"]

Array = npt.NDArray[Any]
A = TypeVar("A")
B = TypeVar("B")

# A run's pixels, raw and decoded, and its sums stay in a core's cache.
RUN_PIXELS = 1 << 15
# Few files open at a time; within a batch the sums cross main memory once.
BATCH_FILES = 32
# Packed files are held whole while they are open.
BATCH_BYTES = 1 << 28


def _alike(readers: Sequence[Reader], block: StackJob) -> list[RawFrame] | None:
    """Raw frames of a batch that one compiled call can stream: plain, and of one layout."""
    raw = [frame for frame in (reader.raw for reader in readers) if frame is not None]
    kinds = {(frame.dtypes, frame.flips) for frame in raw}
    if len(raw) < len(readers) or len(kinds) > 1 or block.kept:
        return None
    return raw


class Executor(Protocol):
    """Who computes."""

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """Results of a function for each item, in order."""
        ...

    def sums(self, job: StackJob) -> StackSums:
        """Accumulate all blocks of a stack and merge them."""
        ...

    def release(self, moments: Moments) -> None:
        """Hand sums back, to be used again for another stack."""
        ...


def available_cores() -> int:
    """Cores that this process may use; of the machine, where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Threads:
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
        Called with the number of frames of each batch when it is finished.

    Notes
    -----
    None of them changes a bit of any result.
    """

    def __init__(
        self,
        threads: int | None = None,
        run_pixels: int = RUN_PIXELS,
        batch_files: int = BATCH_FILES,
        progress: Callable[[int], None] | None = None,
    ):
        self.progress = progress
        self.threads = threads or available_cores()
        self._run_pixels = run_pixels
        self._batch_files = batch_files
        self._spare: list[Moments] = []
        self._shifted = np.empty(0)

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """See `Executor`."""
        if self.threads == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(function, items))

    def sums(self, job: StackJob) -> StackSums:
        """See `Executor`."""
        figures: list[FrameFigures] = []
        counted: list[int] = []

        def leaf(block: StackJob) -> Moments:
            moments, rows, count = self._accumulate(block)
            counted.append(count)
            if block.area is not None:
                figures.extend(FrameFigures.from_rows(frame, block.area.rows) for frame in rows)
            return moments

        moments = merge_tree(map(leaf, job.blocks()), self._merge)
        return StackSums(moments, tuple(figures), sum(counted))

    def release(self, moments: Moments) -> None:
        """See `Executor`."""
        self._spare.append(moments)

    def _take(self, job: StackJob) -> Moments:
        size = job.shape[0] * job.shape[1]
        for i, moments in enumerate(self._spare):
            kind = moments.n.size, moments.flags.dtype, moments.err2 is not None, moments.kept
            if kind == (size, job.flags_dtype, job.has_err, job.kept):
                return self._spare.pop(i)
        return Moments.empty(size, job.flags_dtype, job.has_err, job.kept)

    def _runs(self, shape: tuple[int, int]) -> list[tuple[int, int]]:
        rows, cols = shape
        step = max(1, self._run_pixels // cols) * cols
        return [(lo, min(lo + step, rows * cols)) for lo in range(0, rows * cols, step)]

    def _accumulate(self, block: StackJob) -> tuple[Moments, Array, int]:
        """Sums of one block, its row figures (frame, row, figure), and bytes read."""
        moments = self._take(block)
        if self._shifted.size != moments.n.size:
            self._shifted = np.empty(moments.n.size)
        runs = self._runs(block.shape)
        scratches: SimpleQueue[Scratch] = SimpleQueue()
        owned = [Scratch(runs[0][1]) for _ in range(self.threads)]
        for scratch in owned:
            scratches.put(scratch)
        rows = block.shape[0] if block.area is not None else 0
        figures = np.empty((len(block.samples), rows, len(COLUMNS)))
        unpacked = 0
        self.map(lambda run: reset(moments.part(*run), self._shifted[slice(*run)]), runs)
        for first, batch in self._batches(block.samples):
            with self._opened(batch) as readers:
                unpacked += sum(reader.bytes_unpacked for reader in readers)

                raw = _alike(readers, block)
                later = figures[first : first + len(batch)]

                def add(
                    run: tuple[int, int], batch: Any = batch, raw: Any = raw, later: Array = later
                ) -> None:
                    scratch = scratches.get()
                    try:
                        if raw is None:
                            self._add_run(block, moments, batch, readers, run, scratch, later)
                        else:
                            self._stream_run(block, moments, batch, raw, run, scratch, later)
                    finally:
                        scratches.put(scratch)

                self.map(add, runs)
            if self.progress is not None:
                self.progress(len(batch))
        self.map(lambda run: close(moments.part(*run), self._shifted[slice(*run)]), runs)
        return moments, figures, unpacked + sum(scratch.bytes_read for scratch in owned)

    def _add_run(
        self,
        block: StackJob,
        moments: Moments,
        batch: Sequence[Sample],
        readers: Sequence[Reader],
        run: tuple[int, int],
        scratch: Scratch,
        figures: Array,
    ) -> None:
        """Add one run of pixels of every frame of a batch."""
        part = moments.part(*run)
        shifted = self._shifted[slice(*run)]
        cols, area = block.shape[1], block.area
        mask = np.uint64(block.mask)
        rows = slice(run[0] // cols, run[1] // cols)
        for i, (sample, reader) in enumerate(zip(batch, readers, strict=True)):
            data, err, dq = reader.pixels(*run, scratch)
            update(part, shifted, data, err, dq, mask, sample.scale)
            if area is not None:
                columns = (*area.cols, *area.prescan_cols)
                row_figures(data, dq, mask, sample.scale, cols, *columns, figures[i, rows])

    def _stream_run(
        self,
        block: StackJob,
        moments: Moments,
        batch: Sequence[Sample],
        raw: Sequence[RawFrame],
        run: tuple[int, int],
        scratch: Scratch,
        figures: Array,
    ) -> None:
        """The same in one compiled call, for plain frames that are laid out alike."""
        part = moments.part(*run)
        cols, area = block.shape[1], block.area
        pixels = run[1] - run[0]
        words: list[Any] = []
        numbers: list[Any] = []
        for i, stored in enumerate(raw[0].dtypes):
            dtype = np.dtype(stored or "u1")
            buffer = scratch.bytes(i, pixels * dtype.itemsize)
            words.append(None if stored is None else buffer.view(unsigned(dtype)))
            numbers.append(None if stored is None else buffer.view(dtype.newbyteorder("=")))
        failed = stream_run(
            np.array([frame.file for frame in raw], np.int32),
            np.array([frame.offsets for frame in raw], np.int64).T,
            run,
            words[0],
            numbers[0],
            words[1],
            numbers[1],
            words[2],
            np.array(raw[0].flips, np.uint64),
            np.uint64(block.mask),
            np.array([sample.scale for sample in batch]),
            part.n,
            part.mean,
            self._shifted[slice(*run)],
            part.m2,
            part.err2,
            part.flags,
            cols,
            np.array([0, 0, 0, 0] if area is None else [*area.cols, *area.prescan_cols]),
            figures[:, run[0] // cols : run[1] // cols],
        )
        if failed >= 0:
            raise InputError(f"{raw[failed].path}: ended while its pixels were read")
        scratch.bytes_read += len(raw) * sum(word.nbytes for word in words if word is not None)

    def _batches(self, samples: Sequence[Sample]) -> Iterator[tuple[int, Sequence[Sample]]]:
        """Frames to be open together, with the index of the first."""
        start, held = 0, 0
        for i, sample in enumerate(samples):
            cost = sample.source.held_bytes
            if i > start and (i - start == self._batch_files or held + cost > BATCH_BYTES):
                yield start, samples[start:i]
                start, held = i, 0
            held += cost
        yield start, samples[start:]

    @contextmanager
    def _opened(self, batch: Sequence[Sample]) -> Iterator[list[Reader]]:
        readers: list[Reader] = []
        try:
            if any(sample.source.held_bytes for sample in batch):
                # Unpacking is work: share it.
                readers = self.map(lambda sample: sample.source.open(), batch)
            else:
                readers.extend(sample.source.open() for sample in batch)
            yield readers
        finally:
            for reader in readers:
                reader.close()

    def _merge(self, left: Moments, right: Moments) -> Moments:
        runs = self._runs((1, left.n.size))
        self.map(lambda run: merge(left.part(*run), right.part(*run)), runs)
        self.release(right)
        return left
