"""An executor that watches for frames that make a product wrong while their pixels are read.

A file can fail after its headers were read: it vanishes, changes, cannot be unpacked. And
only pixels tell that a frame is a copy of another, or holds no noise. Such frames are
refused, or left out, and the sums of their stack are made again without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from emdarks.accumulate.blocks import (
    Blocks,
    FrameFigures,
    Sample,
    StackJob,
    StackSums,
)
from emdarks.accumulate.executor import Count, Executor, frames_of
from emdarks.errors import InputError, UnreadableFrameError
from emdarks.frames import FrameInput
from emdarks.frames.bad_frames import BadFrame, Skipping
from emdarks.moments import Moments
from emdarks.raw import over_saturated

A = TypeVar("A")
B = TypeVar("B")


#: Samples of a stack, and their sums.
Known = dict[tuple[tuple[int, float], ...], StackSums]


def key_of(samples: Sequence[Sample]) -> tuple[tuple[int, float], ...]:
    """What tells the samples of a stack from others in this process."""
    return tuple((id(sample.source), sample.scale) for sample in samples)


class Careful(Executor):
    """Sums of stacks without bad frames.

    Parameters
    ----------
    executor : Executor
        Who computes.
    inputs : sequence of FrameInput
        All frames.
    skipping : Skipping
        Whether bad frames are left out.
    jobs : sequence of StackJob
        All stacks that will be asked for, in one call or several.
    count : Count
        Counts frames over all calls.
    known : dict, optional
        Sums from an earlier attempt: these stacks are not read again.

    Attributes
    ----------
    bad : list of FrameInput
        Those found by their pixels.
    sampled : list of tuple
        For each stack that was summed the samples that it really has; none of a lost one.
    found : dict
        The sums themselves.
    """

    def __init__(
        self,
        executor: Executor,
        inputs: Sequence[FrameInput],
        skipping: Skipping,
        jobs: Sequence[StackJob],
        count: Count,
        known: Known | None = None,
    ):
        self.bad: list[FrameInput] = []
        self.sampled: list[tuple[Sample, ...]] = []
        self.found: Known = {}
        self._known = known or {}
        self._count = count
        self._coming = self._unread(jobs)
        count.expect(self._coming)
        self._executor = executor
        self._skipping = skipping
        self._frames = len(inputs) + len(skipping.bad)
        self._inputs = {id(item.source): item for item in inputs}
        self._seen: dict[str, FrameInput] = {}

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """See `Executor`."""
        return self._executor.map(function, items)

    def release(self, moments: Moments) -> None:
        """See `Executor`."""
        self._executor.release(moments)

    def stacks(
        self,
        jobs: Sequence[StackJob],
        into: Sequence[Moments] | None = None,
        blocks: Blocks | None = None,
        count: Count | None = None,
    ) -> Iterator[StackSums]:
        """See `Executor`; without the bad frames of the stacks. ``count`` is not used.

        All stacks go to the executor at once. Where a file cannot be read, its frames are
        taken out and the stacks that were not finished are begun again; where the pixels of
        a finished stack say that frames are bad, that stack alone is. A stack of which no frame
        is left is lost, which the others need not know.
        """
        left, done = list(jobs), 0
        self._coming -= self._unread(left)
        while done < len(left):
            rooms = None if into is None else into[done:]
            try:
                for sums in self._in_order(left[done:], rooms, blocks):
                    room = None if into is None else into[done]
                    yield self._settled(left, done, sums, room, blocks)
                    done += 1
            except UnreadableFrameError as error:
                left[done:] = self._readable(left[done:], error)
                self._count.expect(self._coming + self._unread(left[done:]))
                if into is not None:
                    _wipe(into[done])

    def _unread(self, jobs: Sequence[StackJob]) -> int:
        """Frames that have to be read."""
        return frames_of(job for job in jobs if key_of(job.samples) not in self._known)

    def _in_order(
        self, jobs: Sequence[StackJob], into: Sequence[Moments] | None, blocks: Blocks | None
    ) -> Iterator[StackSums]:
        """Sums of stacks: known ones, those that the executor computes, and lost ones."""
        read = [
            index
            for index, job in enumerate(jobs)
            if job.samples and key_of(job.samples) not in self._known
        ]
        rooms = None if into is None else [into[index] for index in read]
        computed: Iterator[StackSums] = iter(())
        if read:
            wanted = [jobs[index] for index in read]
            computed = self._executor.stacks(wanted, rooms, blocks, self._count)
        for index, job in enumerate(jobs):
            if index in read:
                yield next(computed)
            elif not job.samples:
                yield _lost(job, None if into is None else into[index])
            else:
                known = self._known[key_of(job.samples)]
                if into is not None:
                    into[index].take(known.moments)
                    known = replace(known, moments=into[index])
                yield known

    def _settled(
        self,
        left: list[StackJob],
        index: int,
        sums: StackSums,
        into: Moments | None,
        blocks: Blocks | None,
    ) -> StackSums:
        """Sums of a stack; again without bad frames, where its pixels name any."""
        sums = self._without_over_saturated(left, index, sums, into)
        rooms = None if into is None else [into]
        while found := self._suspects(left[index], sums.figures):
            for sample, reason in found:
                left[index] = self._without(left[index], [sample], reason)
            if not left[index].samples:
                sums = _lost(left[index], into)
                break
            if into is not None:
                _wipe(into)
            self._count.add(frames_of([left[index]]))
            (sums,) = self._executor.stacks([left[index]], rooms, blocks, self._count)
        self.sampled.append(left[index].samples)
        # Means along a sequence are many: whoever wants them again, reads again.
        if not (sums.lost or sums.sequence):
            self.found[key_of(left[index].samples)] = sums
        return sums

    def _without_over_saturated(
        self, left: list[StackJob], index: int, sums: StackSums, into: Moments | None
    ) -> StackSums:
        """The same sums, of which over-saturated frames are no part: they were not added."""
        job = left[index]
        gone = [figures.over_saturated for figures in sums.figures]
        if not any(gone):
            return sums
        bad = [
            BadFrame(self._item(sample).record.name, over_saturated(figures.saturated))
            for sample, figures in zip(job.samples, sums.figures, strict=True)
            if figures.over_saturated
        ]
        self._skipping.skip(bad, self._frames)
        self.bad += [self._item(s) for s, out in zip(job.samples, gone, strict=True) if out]
        kept = tuple(s for s, out in zip(job.samples, gone, strict=True) if not out)
        left[index] = replace(job, samples=kept)
        if not kept:
            return _lost(left[index], into)
        return replace(sums, figures=tuple(f for f in sums.figures if not f.over_saturated))

    def _item(self, sample: Sample) -> FrameInput:
        return self._inputs[id(sample.source)]

    def _readable(self, jobs: Sequence[StackJob], error: UnreadableFrameError) -> list[StackJob]:
        """The stacks without the frames of a file."""
        found = [[s for s in job.samples if self._item(s).is_in(error.path)] for job in jobs]
        if not any(found):
            raise error
        return [
            self._without(job, bad, error.reason) if bad else job
            for job, bad in zip(jobs, found, strict=True)
        ]

    def _without(self, job: StackJob, bad: Sequence[Sample], reason: str) -> StackJob:
        items = [self._item(sample) for sample in bad]
        found = [BadFrame(item.record.name, reason) for item in items]
        self._skipping.leave_out(found, self._frames)
        self.bad += items
        gone = {id(sample) for sample in bad}
        return replace(job, samples=tuple(s for s in job.samples if id(s) not in gone))

    def _suspects(self, job: StackJob, figures: Sequence[FrameFigures]) -> list[tuple[Sample, str]]:
        """Frames without noise, and copies; nothing where no figures were taken."""
        found = []
        new: dict[str, FrameInput] = {}
        for sample, frame in zip(job.samples, figures, strict=bool(figures)):
            item = self._item(sample)
            if not item.provenance.name:
                # Who made frames in memory without noise knows it; copies are told as a warning.
                continue
            if item.record.counted is not None and frame.level == 0:
                continue  # in a short exposure of a small frame no electron may be counted
            if frame.noiseless:
                found.append(
                    (
                        sample,
                        f"has no noise: every good pixel is {frame.level:.6g}; look at the "
                        "readout, or leave it out (--skip-bad-frames)",
                    )
                )
            elif frame.scatter > 0 and frame.content:
                twin = new.get(frame.content) or self._seen.get(frame.content)
                if twin is not None and twin is not item:
                    found.append((sample, self._copy_of(item, twin)))
                else:
                    new[frame.content] = item
        if not found:
            self._seen |= new
        return found

    @staticmethod
    def _copy_of(item: FrameInput, twin: FrameInput) -> str:
        def setting(frame: FrameInput) -> tuple[Any, ...]:
            record = frame.record
            return record.commanded_gain, record.k_gain, round(record.exposure_time, 3)

        name = item.record.name
        if setting(item) != setting(twin):
            raise InputError(
                f"{name}: has the same pixels as {twin.record.name}, but another EM gain, time or "
                "k-gain; nothing tells whose header is right: leave both out"
            )
        return (
            f"has the same pixels as {twin.record.name}; keep one of them (--skip-bad-frames "
            "leaves the copies out)"
        )


def _lost(job: StackJob, into: Moments | None) -> StackSums:
    return StackSums(job.kind.empty() if into is None else into, (), 0, lost=True)


def _wipe(moments: Moments) -> None:
    """Make sums as new: squared errors are expected to be 0."""
    moments.has_errors = False
    if moments.err2 is not None:
        moments.err2[:] = 0.0
