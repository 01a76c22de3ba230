"""Frames that make a product wrong, as far as headers tell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from emdarks.errors import EmdarksError
from emdarks.frames import FrameInput
from emdarks.stacks.group import Stack, check_stack, group_stacks

#: A frame, and what is wrong with it.
Suspect = tuple[FrameInput, str]
_Found = Iterator[Suspect]

#: Relative difference of exposure times below which two stacks were meant to be one.
NEARLY = 1e-3


def unlike(inputs: Sequence[FrameInput]) -> list[Suspect]:
    """Frames that are not laid out like the others, or come from another camera.

    A file that was cut exactly between two HDUs has lost its errors or flags, and nothing in
    it says so: the other frames do.
    """
    found: dict[int, Suspect] = {}
    for judge in (_without("ERR", _has_err), _without("DQ", _has_dq), _of_other_camera):
        for item, reason in judge(inputs):
            found.setdefault(id(item), (item, reason))
    return list(found.values())


def _inner(item: FrameInput) -> Any:
    return getattr(item.source, "inner", item.source)


def _has_err(item: FrameInput) -> bool:
    return bool(_inner(item).has_err)


def _has_dq(item: FrameInput) -> bool:
    return _inner(item).flags_dtype is not None


def _without(name: str, has: Callable[[FrameInput], bool]) -> Callable[..., _Found]:
    def judge(inputs: Sequence[FrameInput]) -> _Found:
        bare = [item for item in inputs if not has(item)]
        if not bare or len(bare) == len(inputs):
            return
        reason = (
            f"has no {name}, which {len(inputs) - len(bare)} of {len(inputs)} frames have; was it "
            "cut short? copy the file again or leave it out (--skip-bad-frames)"
        )
        for item in bare:
            yield item, reason

    return judge


def _camera_card(item: FrameInput) -> str:
    cards = (item.headers[name].get("CAMERA") for name in ("ext", "pri"))
    return next((str(card).strip() for card in cards if card), "")


def _of_other_camera(inputs: Sequence[FrameInput]) -> _Found:
    cards = [_camera_card(item) for item in inputs]
    known = Counter(card for card in cards if card)
    if len(known) < 2:
        return
    usual, count = known.most_common(1)[0]
    for item, card in zip(inputs, cards, strict=True):
        if card not in ("", usual):
            yield (
                item,
                f"is of camera {card!r}, {count} other frames of {usual!r}; leave it out "
                "(--skip-bad-frames)",
            )


def misfits(
    inputs: Sequence[FrameInput], k_gain: float | None, gain_tolerance: float
) -> list[Suspect]:
    """Frames that a campaign without them would not be refused for.

    Those of another shape than most, those that are no darks, those with numbers that no
    camera has, and those whose gain is far from that of their stack.
    """
    shape = Counter(item.record.shape for item in inputs).most_common(1)[0][0]
    found: list[Suspect] = []
    good = []
    for item in inputs:
        record = item.record
        if record.shape != shape:
            rows, cols = record.shape
            reason = f"has {rows} x {cols} pixels, most frames {shape[0]} x {shape[1]}"
        elif record.not_dark:
            reason = f"is no dark ({record.not_dark})"
        else:
            good.append(item)
            continue
        found.append((item, reason))
    stacks = group_stacks(good, math.inf) if good else []
    return found + [bad for stack in stacks for bad in _odd_numbers(stack, k_gain, gain_tolerance)]


def _odd_numbers(stack: Stack, k_gain: float | None, tolerance: float) -> Iterable[Suspect]:
    try:
        check_stack(stack, k_gain)
    except EmdarksError as error:
        reason = str(error).split(": ", 1)[1]
        return [(item, reason) for item in stack.frames]
    gains = np.array([item.record.em_gain for item in stack.frames])
    order = np.argsort(-np.abs(gains - np.median(gains)), kind="stable")
    # Those farthest off go first, until the others agree.
    far = next(i for i in range(gains.size) if _spread(gains[order[i:]]) <= tolerance)
    usual = float(np.median(gains[order[far:]]))
    return [
        (
            stack.frames[i],
            f"EM gain {gains[i]:g}, that of the other frames of its stack is {usual:g}",
        )
        for i in sorted(order[:far])
    ]


def _spread(gains: Any) -> float:
    return float(np.ptp(gains) / gains.mean())


def nearly_equal_times(stacks: Sequence[Stack]) -> str:
    """Which stacks differ so little in time that they were meant to be one; empty if none do."""
    by_setting: dict[Any, list[Stack]] = {}
    for stack in stacks:
        key = stack.commanded_gain, stack.k_gain, stack.setting
        by_setting.setdefault(key, []).append(stack)
    close = [
        (one, other)
        for alike in by_setting.values()
        for one, other in pairwise(alike)
        if other.exposure_time - one.exposure_time <= NEARLY * other.exposure_time
    ]
    if not close:
        return ""
    one, other = close[0]
    few = min(close[0], key=lambda stack: len(stack.frames))
    return (
        f"{few.frames[0].record.name}: exposure times {one.exposure_time:.10g} s and "
        f"{other.exposure_time:.10g} s at EM gain {one.commanded_gain:g} make two stacks of "
        f"{len(one.frames)} and {len(other.frames)} frames ({len(close)} such pairs)"
    )
