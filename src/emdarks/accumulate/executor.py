"""What an executor is: who computes, and nobody else knows which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from emdarks.accumulate.blocks import Block, Blocks, StackJob, StackSums
from emdarks.moments import Moments

A = TypeVar("A")
B = TypeVar("B")
#: Told the numbers of frames done and of all.
Progress = Callable[[int, int], None]


def frames_of(jobs: Iterable[StackJob]) -> int:
    """Number of frames of some stacks."""
    return sum(len(job.samples) for job in jobs)


class Executor(ABC):
    """Who computes."""

    @abstractmethod
    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """Results of a function for each item, in order."""

    @abstractmethod
    def stacks(
        self,
        jobs: Sequence[StackJob],
        into: Sequence[Moments] | None = None,
        blocks: Blocks | None = None,
        count: Count | None = None,
    ) -> Iterator[StackSums]:
        """Accumulate and merge the blocks of stacks; gives their sums in order.

        Parameters
        ----------
        jobs : sequence of StackJob
            The stacks.
        into : sequence of Moments, optional
            Receive the moments of each. They are not looked at, nor written to, before the
            stack's turn has come, so stacks may share memory that is read in between.
        blocks : Blocks, optional
            How stacks are cut, and where the sums of blocks come from.
        count : Count, optional
            Counts the frames of a run of several calls.
        """

    def sums(self, job: StackJob, into: Moments | None = None) -> StackSums:
        """Sums of one stack."""
        (sums,) = self.stacks([job], None if into is None else [into])
        return sums

    def release(self, moments: Moments) -> None:  # noqa: B027  most have no use for them
        """Hand sums back, to be used again for another stack."""


class Count:
    """Counts frames and tells of them.

    Parameters
    ----------
    progress : callable or None
        Who is told.
    frames : int
        How many there will be.
    several : bool
        Whether more frames may come than that, as in a run of several calls: then only `end`
        tells that all are done.
    """

    def __init__(self, progress: Progress | None, frames: int, several: bool = False):
        self._progress = progress
        self._several = several
        self._done = 0
        self._all = frames

    @classmethod
    def of(cls, count: Count | None, progress: Progress | None, jobs: Sequence[StackJob]) -> Count:
        """The count of a run, which this executor's progress hears of; or a new one."""
        if count is None:
            return cls(progress, frames_of(jobs))
        count._progress = progress or count._progress
        return count

    def expect(self, frames: int) -> None:
        """So many are still to be read."""
        self._all = self._done + frames

    def add(self, frames: int) -> None:
        """So many more are to be read."""
        self._all += frames

    def end(self) -> None:
        """All are done."""
        self._several = False
        self._all = self._done
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None and not (self._several and self._done >= self._all):
            self._progress(self._done, self._all)

    def block(self, block: Block) -> None:
        """One more block is finished."""
        self._done += len(block.indices)
        self._tell()

    def after(self, block: Block, sums: StackSums) -> StackSums:
        """The sums of a block, counted."""
        self.block(block)
        return sums
