"""Checks of samples that are no numbers, and of stacks that were meant to be one."""

from __future__ import annotations

from collections.abc import Iterator

from emdarks.checks.context import Facts
from emdarks.checks.formatting import several
from emdarks.checks.summary import Finding
from emdarks.stacks.outlier_frames import nearly_equal_times

__all__ = ["not_finite", "split_stacks"]


def not_finite(facts: Facts) -> Iterator[Finding]:
    """Samples that are no numbers: they count as masked."""
    bad = [frame for _, frame in facts.places() if frame.figures.not_finite]
    if bad:
        bad.sort(key=lambda frame: -frame.figures.not_finite)
        samples = sum(frame.figures.not_finite for frame in bad)
        yield Finding(
            "warning",
            "samples",
            f"{several(samples, 'sample')} in {several(len(bad), 'frame')} not finite, beyond "
            "1e12, or with such an error or a negative one: counted as masked (flag 1), most "
            f"({bad[0].figures.not_finite}) in {bad[0].name}",
            tuple(frame.name for frame in bad),
            "look at what made them",
        )


def split_stacks(facts: Facts) -> Iterator[Finding]:
    """Stacks whose exposure times hardly differ."""
    text = nearly_equal_times(facts.campaign.stacks)
    if text:
        yield Finding("warning", "time", text, remedy="if they are one, correct the headers")
