"""Stacks of frames whose electrons are counted already."""

from __future__ import annotations

import math
from typing import Any

from emdarks.arguments import is_number
from emdarks.cameras import Counted
from emdarks.counting_sums import CountThreshold
from emdarks.errors import InputError
from emdarks.stacks.group import Stack

#: Relative difference of thresholds that is rounding.
SAME_THRESHOLD = 1e-3


def counted_alike(stack: Stack) -> Counted | None:
    """How the frames of a stack are counted; None where they hold samples.

    Raises
    ------
    InputError
        Some are and some are not, or they are in different ways.
    """
    first, *others = (item.record for item in stack.frames)
    for record in others:
        if not _alike(first.counted, record.counted):
            raise InputError(
                f"{record.name}: holds {record.counted or 'samples'}, {first.name} "
                f"{first.counted or 'samples'}: give frames of one kind"
            )
    return first.counted


def same_threshold(one: Any, other: float) -> bool:
    """Whether two thresholds differ by rounding at most; False where one is no number."""
    return is_number(one) and math.isclose(one, other, rel_tol=SAME_THRESHOLD)


def _alike(one: Counted | None, other: Counted | None) -> bool:
    if one is None or other is None:
        return one is other
    same = same_threshold(one.threshold, other.threshold)
    return same and (one.value, one.one) == (other.value, other.one)


def of_counts(stack: Stack) -> tuple[list[float], CountThreshold]:
    """Factors by which frames of counts become EM electrons, and the threshold that counts them.

    A count is the EM gain, which is what one electron becomes on average.
    """
    return (
        [stack.em_gain / item.record.counted.step for item in stack.frames if item.record.counted],
        CountThreshold(0.5 * stack.em_gain),
    )
