"""Plan a campaign and stream it; again without the frames that turn out bad on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from emdarks.darks.options import Setting
from emdarks.errors import EmdarksWarning
from emdarks.execution import Executor, Sample, StackJob
from emdarks.execution.careful import Careful, Known, key_of
from emdarks.execution.executor import Count

__all__ = ["stream"]


class Plan(Protocol):
    """What a recipe decides by the headers."""

    @property
    def jobs(self) -> Sequence[StackJob]: ...


P = TypeVar("P", bound=Plan)
R = TypeVar("R")


def stream(
    job: Setting,
    plan: Callable[[Setting], P],
    accumulate: Callable[[P, Executor], R],
    without_lost: Callable[[R], R] | None = None,
) -> tuple[Setting, P, R]:
    """Stream what a plan says.

    Where frames turn out bad, they are left out (or refused, as ``job.skipping`` says), and
    the plan is made again without them. Sums that this changes are made again, too, and no
    others: the result is that of a campaign without these frames.

    Parameters
    ----------
    job : Setting
        The frames.
    plan : callable
        From the frames to a plan with its ``jobs``.
    accumulate : callable
        From a plan and an executor to sums.
    without_lost : callable, optional
        From sums to those without the stacks of which no frame is left; for plans of several
        stacks.

    Returns
    -------
    job : Setting
        The frames that were used.
    plan, sums
        Of these frames.
    """
    planned = plan(job)
    count, known = Count(None, 0, several=True), Known()
    while True:
        careful = Careful(job.executor, job.inputs, job.skipping, planned.jobs, count, known)
        sums = accumulate(planned, careful)
        if not careful.bad:
            break
        job, planned = _again(job, plan, careful)
        left = [samples for samples in careful.sampled if samples]
        if _same(left, [each.samples for each in planned.jobs]):
            if without_lost is not None:
                sums = without_lost(sums)
            break
        # Screening changes sums in place, so they serve only once.
        screened = any(each.kept for each in planned.jobs)
        known = Known() if screened else careful.found
    count.end()
    return job, planned, sums


def _again(job: Setting, plan: Callable[[Setting], P], careful: Careful) -> tuple[Setting, P]:
    """Plan without the frames that were found bad; its warnings were heard before."""
    left = job.without(careful.bad)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return left, plan(left)


def _same(done: Sequence[Sequence[Sample]], planned: Sequence[Sequence[Sample]]) -> bool:
    return [key_of(stack) for stack in done] == [key_of(stack) for stack in planned]
