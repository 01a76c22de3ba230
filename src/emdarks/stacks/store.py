"""The moments of finished stacks, and how they get there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emdarks.execution import Executor, Sample, StackJob, StackSums
from emdarks.execution.blocks import FigureArea
from emdarks.kernels.moments import Moments
from emdarks.stacks.group import Stack

__all__ = ["StackStore", "accumulate_stacks", "jobs_of"]


class StackStore:
    """Moments of finished stacks, arrays of shape (stacks, pixels).

    About 22 bytes a pixel and stack, and 8 more where frames have errors.

    Attributes
    ----------
    n : ndarray of unsigned integers
        Good samples.
    mean, m2 : ndarray of float64
        Mean, and sum of squared deviations from it.
    err2 : ndarray of float64 or None
        Sum of squared errors; None where no frame has errors.
    flags : ndarray of unsigned integers
        Bitwise OR of all flags.
    """

    def __init__(self, jobs: Sequence[StackJob]):
        stacks = len(jobs)
        pixels = jobs[0].shape[0] * jobs[0].shape[1]
        shape = (stacks, pixels)
        frames = max(len(job.samples) for job in jobs)
        # Memory is touched stack by stack, as results arrive.
        self.n = np.empty(shape, np.uint16 if frames < 1 << 16 else np.uint32)
        self.mean = np.empty(shape)
        self.m2 = np.empty(shape)
        has_err = any(job.has_err for job in jobs)
        self.err2 = np.empty(shape) if has_err else None
        self.flags = np.empty(shape, np.result_type(*(job.flags_dtype for job in jobs)))

    def put(self, stack: int, moments: Moments) -> None:
        """Keep the closed sums of a stack."""
        self.n[stack] = moments.n
        self.mean[stack] = moments.mean
        self.m2[stack] = moments.m2
        self.flags[stack] = moments.flags
        if self.err2 is not None:
            self.err2[stack] = 0.0 if moments.err2 is None else moments.err2


def accumulate_stacks(
    jobs: Sequence[StackJob], executor: Executor
) -> tuple[StackStore, list[StackSums]]:
    """Stream all stacks, one after the other, and keep their moments.

    Returns
    -------
    store : StackStore
        Moments.
    sums : list of StackSums
        Figures and bytes read, stack by stack; their moments are no longer valid.
    """
    store = StackStore(jobs)
    finished = []
    for index, job in enumerate(jobs):
        sums = executor.sums(job)
        store.put(index, sums.moments)
        executor.release(sums.moments)
        finished.append(sums)
    return store, finished


def jobs_of(
    stacks: Sequence[Stack],
    factors: Sequence[Sequence[float]],
    mask: int,
    area: FigureArea | None,
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
    """
    return [
        StackJob(
            tuple(
                Sample(item.source, scale) for item, scale in zip(stack.frames, scales, strict=True)
            ),
            stack.frames[0].record.shape,
            mask,
            area,
        )
        for stack, scales in zip(stacks, factors, strict=True)
    ]
