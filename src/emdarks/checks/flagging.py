"""Stacks whose samples are flagged within the stack's own charge.

What is left of such a stack has too low a mean, and no error says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from emdarks.cameras import NoiseFigures
from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.formatting import several
from emdarks.checks.search import cost_in, cuts_charge
from emdarks.checks.summary import StackSummary
from emdarks.checks.thresholds import CUT_CHARGE, EXPECTED_FLAGS
from emdarks.raw import above_threshold

#: Stacks of which the finding tells the figures.
_NAMED = 4


@dataclass(frozen=True, slots=True)
class _Cut:
    """A stack that is cut."""

    stack: StackSummary
    level: float
    by: str
    lost: float
    charge: float

    def __str__(self) -> str:
        least = "up to " if self.by == "search" else ""
        lost = f"{100 * self.lost:.2g}% ({self.lost * self.charge:.2g} e-)"
        return f"({self.stack}): from {self.level:.4g} e- on, by {_SOURCES[self.by]}, {least}{lost}"


_SOURCES = {
    "search": "the search for cosmic rays",
    "saturation": "saturation",
    "highest": "the highest unflagged sample",
}


def within_charge(context: Context) -> Findings:
    """Stacks of which samples are flagged that belong to their own charge.

    Method page, eq. 22 (reach) and eq. 23 (truncated). What the search in raw frames costs is
    told by `emdarks.checks.search.cut_charge`, which knows how it is made.
    """
    cuts = [cut for stack in context.stacks if (cut := _cut_of(stack, context)) is not None]
    # The highest number of a frame of counts is that of one count.
    samples = {id(stack) for stack in context.of_samples()}
    cuts = [cut for cut in cuts if cut.by != "highest" or id(cut.stack) in samples]
    if cuts:
        cuts.sort(key=lambda cut: -cut.lost)
        rest = f"; and {len(cuts) - _NAMED} more" if len(cuts) > _NAMED else ""
        yield Finding(
            "warning",
            "search",
            f"flags cut into the charge of {several(len(cuts), 'stack')}. What the mean loses by "
            "the law of the register, with detected electrons a pixel and frame: "
            + "; ".join(str(cut) for cut in cuts[:_NAMED])
            + rest,
            tuple(frame.name for cut in cuts for frame in cut.stack.frame_summaries),
            "flag from a higher level on, or leave these stacks out: CR_threshold_check=True "
            "(emdarks noisemaps --threshold-check leave-out)",
        )


def _cut_of(stack: StackSummary, context: Context) -> _Cut | None:
    """How a stack is cut; None where it is not, or where the search in raw frames tells it."""
    noise = context.camera.noise
    if not stack.em_gain >= 1 or cuts_charge(stack, noise):
        return None
    charge = context.flagging.charge(noise, stack.exposure_time)
    if math.isnan(charge):
        charge = stack.level / stack.em_gain
    if not charge > 0:
        return None
    read_noise = _read_noise(stack, noise)
    level, by = _level_of(stack, charge, read_noise)
    if not math.isfinite(level):
        return None
    cost = cost_in(stack, noise)
    lost = _lost(level, stack.em_gain, charge, read_noise) if cost is None else 1.0 - cost.kept_mean
    # A search asks for several samples: of the law of a single one it is the bound.
    cut = level <= context.flagging.reach(stack.em_gain, charge)
    return (
        _Cut(stack, level, by, lost, charge)
        if cut or (by != "search" and lost > CUT_CHARGE)
        else None
    )


def _read_noise(stack: StackSummary, noise: NoiseFigures) -> float:
    """Behind the register, EM electrons: the camera's, unless the frames show less."""
    known = [x for x in (noise.read_noise, stack.typical_noise) if math.isfinite(x)]
    return min(known, default=0.0)


def _level_of(stack: StackSummary, charge: float, read_noise: float) -> tuple[float, str]:
    """From which level on samples are flagged, EM electrons, and what tells it."""
    if math.isfinite(stack.flagged_from):
        return stack.flagged_from, "search" if stack.searched else "saturation"
    highest = _highest(stack, charge, read_noise)
    return highest, "highest"


def _highest(stack: StackSummary, charge: float, read_noise: float) -> float:
    """The highest unflagged sample, if many should lie above it; else infinite."""
    figures = [frame.figures for frame in stack.frame_summaries]
    highest = max((f.highest for f in figures if math.isfinite(f.highest)), default=math.inf)
    judged = stack.masked > 0 and not stack.cut_off_samples and stack.em_gain > 2 * read_noise
    if not (judged and 0 < highest < math.inf):
        return math.inf
    # What is left of an electron is less than the gain makes of it: half of the level, at most.
    left = stack.level / min(stack.em_gain, highest / 2)
    if not left > 0 or stack.typical_noise**2 < 0.5 * stack.level**2 / math.expm1(min(left, 100.0)):
        return math.inf  # such samples scatter less than any number of electrons does
    above, _ = above_threshold(highest, stack.em_gain, min(charge, left), read_noise)
    samples = sum(f.pixels for f in figures)
    return highest if samples * above > EXPECTED_FLAGS else math.inf


def _lost(level: float, gain: float, charge: float, read_noise: float) -> float:
    """Share of the mean that is missing where samples from a level on are; eq. 23 (truncated)."""
    p, above = above_threshold(level, gain, charge, read_noise)
    mean = gain * charge
    return min(1.0 - (mean - above) / (1.0 - p) / mean, 1.0) if p < 1.0 else 1.0
