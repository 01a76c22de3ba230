"""Plan a campaign and stream it; again without the frames that turn out bad on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from emdarks.errors import EmdarksWarning
from emdarks.execution import Executor, Sample, StackJob
from emdarks.execution.careful import Careful, StackLostError
from emdarks.stacks.options import Setting

__all__ = ["stream"]


class Plan(Protocol):
    """What a recipe decides by the headers."""

    @property
    def jobs(self) -> Sequence[StackJob]: ...


P = TypeVar("P", bound=Plan)
R = TypeVar("R")


def stream(
    job: Setting, plan: Callable[[Setting], P], accumulate: Callable[[P, Executor], R]
) -> tuple[Setting, P, R]:
    """Stream what a plan says.

    Where frames turn out bad, they are left out (or refused, as ``job.skipping`` says), and
    the plan is made again without them. Sums that this changes are made again, too: the
    result is that of a campaign without these frames.

    Parameters
    ----------
    job : Setting
        The frames.
    plan : callable
        From the frames to a plan with its ``jobs``.
    accumulate : callable
        From a plan and an executor to sums.

    Returns
    -------
    job : Setting
        The frames that were used.
    plan, sums
        Of these frames.
    """
    planned = plan(job)
    while True:
        careful = Careful(job.executor, job.inputs, job.skipping)
        try:
            sums = accumulate(planned, careful)
        except StackLostError:
            job, planned = _again(job, plan, careful)
            continue
        if not careful.bad:
            return job, planned, sums
        job, planned = _again(job, plan, careful)
        if _same(careful.sampled, [each.samples for each in planned.jobs]):
            return job, planned, sums


def _again(job: Setting, plan: Callable[[Setting], P], careful: Careful) -> tuple[Setting, P]:
    """Plan without the frames that were found bad; its warnings were heard before."""
    left = job.without(careful.bad)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return left, plan(left)


def _same(done: Sequence[Sequence[Sample]], planned: Sequence[Sequence[Sample]]) -> bool:
    def plain(stacks: Sequence[Sequence[Sample]]) -> list[list[tuple[int, float]]]:
        return [[(id(sample.source), sample.scale) for sample in stack] for stack in stacks]

    return plain(done) == plain(planned)
