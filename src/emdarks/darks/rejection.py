"""Plan a campaign and stream it; again without the frames that turn out bad on the way."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from emdarks.accumulate import Executor, FrameFigures, Sample, StackJob
from emdarks.accumulate.bad_frames import Careful, Known, key_of
from emdarks.accumulate.executor import Count
from emdarks.arguments import check_names
from emdarks.checks.finding import Finding
from emdarks.checks.recipe_frames import KINDS, ProductLook, named_in, refuse_problems, tell
from emdarks.checks.registry import REFUSED_LATER, Checks
from emdarks.errors import EmdarksWarning
from emdarks.stacks import Stack
from emdarks.stacks.calibration_inputs import CalibrationInputs


class Plan(Protocol):
    """What a recipe decides by the headers."""

    @property
    def jobs(self) -> Sequence[StackJob]: ...  # noqa: D102


class StacksPlan(Plan, Protocol):
    """One that knows its stacks."""

    @property
    def stacks(self) -> Sequence[Stack]: ...  # noqa: D102


P = TypeVar("P", bound=Plan)
S = TypeVar("S", bound=StacksPlan)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Streamed(Generic[R]):
    """Sums of stacks, and the look that was taken at them.

    Attributes
    ----------
    sums
        What the recipe goes on with.
    look : ProductLook
        Has seen the sums of every stack.
    figures : sequence of sequences of FrameFigures
        Of the frames of each stack.
    scales : sequence of float or None
        Factors of the figures to EM electrons, if not 1.
    """

    sums: R
    look: ProductLook
    figures: Sequence[Sequence[FrameFigures]]
    scales: Sequence[float] | None = None


class _Run:
    """What several streams of one run share: the count of frames, and sums that still hold."""

    def __init__(self) -> None:
        self.count = Count(None, 0, several=True)
        self.known = Known()


def check_kinds(skip: Sequence[str]) -> None:
    """Refuse kinds of frames to skip that there are not.

    Raises
    ------
    InputError
        One is not among `KINDS`.
    """
    check_names("skip", (skip,) if isinstance(skip, str) else skip, KINDS)


def kinds_of(skip: Sequence[str]) -> tuple[str, ...]:
    """Kinds of frames to skip; one may be given by itself."""
    return (skip,) if isinstance(skip, str) else tuple(skip)


def judged(
    job: CalibrationInputs,
    plan: Callable[[CalibrationInputs], S],
    accumulate: Callable[[S, Executor], Streamed[R]],
    skip: Sequence[str] = (),
    without_lost: Callable[[Streamed[R]], Streamed[R]] | None = None,
    apart: Sequence[str] = (),
) -> tuple[CalibrationInputs, S, R]:
    """Stream what a plan says, and say what an inspection would say of the frames.

    Frames that it names for one of the reasons to skip are left out, and the others are
    streamed again: the result is that of a campaign without these frames.

    Parameters
    ----------
    job, plan, without_lost
        As in `stream`.
    accumulate : callable
        From a plan and an executor to sums that were looked at.
    skip : sequence of str
        Some of `emdarks.checks.recipe_frames.KINDS`.
    apart : sequence of str
        Further ones, whose frames may be any share of all.

    Returns
    -------
    job, plan, sums
        As in `stream`.
    """
    run = _Run()
    job, planned, made = _stream(job, plan, accumulate, without_lost, run)
    refuse_problems(_findings(job, planned, made, REFUSED_LATER))
    findings = _findings(job, planned, made)
    left = _without_named(job, findings, kinds_of(skip), apart)
    if len(left.inputs) < len(job.inputs):
        job, planned, made = _stream(left, plan, accumulate, without_lost, run)
        findings = _findings(job, planned, made)
    run.count.end()
    tell(findings, stacklevel=4)
    return job, planned, made.sums


def _without_named(
    job: CalibrationInputs, findings: Sequence[Finding], skip: Sequence[str], apart: Sequence[str]
) -> CalibrationInputs:
    """The frames without those that findings of some kinds name."""
    frames = job.frames
    found = named_in(findings, apart, job.inputs)
    job.skipping.set_aside(bad for _, bad in found)
    left = job.without(item for item, _ in found)
    found = named_in(findings, skip, left.inputs)
    job.skipping.skip([bad for _, bad in found], frames)
    return left.without(item for item, _ in found)


def _findings(
    job: CalibrationInputs, planned: StacksPlan, made: Streamed[R], checks: Checks | None = None
) -> list[Finding]:
    return made.look.findings(job, planned.stacks, made.figures, made.scales, checks)


def stream(
    job: CalibrationInputs,
    plan: Callable[[CalibrationInputs], P],
    accumulate: Callable[[P, Executor], R],
    without_lost: Callable[[R], R] | None = None,
) -> tuple[CalibrationInputs, P, R]:
    """Stream what a plan says.

    Where frames turn out bad, they are left out (or refused, as ``job.skipping`` says), and
    the plan is made again without them. Sums that this changes are made again, too, and no
    others: the result is that of a campaign without these frames.

    Parameters
    ----------
    job : CalibrationInputs
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
    job : CalibrationInputs
        The frames that were used.
    plan, sums
        Of these frames.
    """
    run = _Run()
    found = _stream(job, plan, accumulate, without_lost, run)
    run.count.end()
    return found


def _stream(
    job: CalibrationInputs,
    plan: Callable[[CalibrationInputs], P],
    accumulate: Callable[[P, Executor], R],
    without_lost: Callable[[R], R] | None,
    run: _Run,
) -> tuple[CalibrationInputs, P, R]:
    """See `stream`; one of several, perhaps."""
    planned = plan(job)
    while True:
        careful = Careful(
            job.executor, job.inputs, job.skipping, planned.jobs, run.count, run.known
        )
        sums = accumulate(planned, careful)
        # Screening changes sums in place, and counts are kept of one stack at a time: these
        # serve only once.
        screened = any(each.kept or each.thresholds is not None for each in planned.jobs)
        run.known = Known() if screened else careful.found
        if not careful.bad:
            break
        job, planned = _again(job, plan, careful)
        left = [samples for samples in careful.sampled if samples]
        if _same(left, [each.samples for each in planned.jobs]):
            if without_lost is not None and len(left) < len(careful.sampled):
                sums = without_lost(sums)
                run.known = Known()  # they have moved
            break
    return job, planned, sums


def _again(
    job: CalibrationInputs, plan: Callable[[CalibrationInputs], P], careful: Careful
) -> tuple[CalibrationInputs, P]:
    """Plan without the frames that were found bad; its warnings were heard before."""
    left = job.without(careful.bad)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return left, plan(left)


def _same(done: Sequence[Sequence[Sample]], planned: Sequence[Sequence[Sample]]) -> bool:
    return [key_of(stack) for stack in done] == [key_of(stack) for stack in planned]
