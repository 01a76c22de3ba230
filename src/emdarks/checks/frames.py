"""Checks of single frames: which files are bad, and why.

A frame is named once, for the first reason that applies.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from emdarks.checks.context import Context, Place
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.formatting import in_stacks, leave_out, several
from emdarks.checks.frame_statistics import (
    departures,
    finite_median,
    frame_errors,
    jitter,
    scatter_errors,
)
from emdarks.checks.saturation import flagged_saturated, full_well
from emdarks.checks.summary import FrameSummary, StackSummary
from emdarks.checks.thresholds import (
    EXPECTED_FLAGS,
    FAR_SCATTER,
    FRAMES_TO_COMPARE,
    HARMLESS,
    MASKED_FRAME,
    ODD_FRAME,
    SATURATED_FRAME,
    SPLIT_STACK,
    SPREAD_OF_LIGHT,
)

#: Findings, each with the frames that it names.
Named = Iterator[tuple[Finding, Sequence[Place]]]


def bad_frames(context: Context) -> Findings:
    """Frames that should not be used, each named for one reason."""
    open_cases = list(context.places())
    for judge in _JUDGES:
        for finding, places in judge(context, open_cases):
            yield finding
            taken = {id(frame) for _, frame in places}
            open_cases = [place for place in open_cases if id(place[1]) not in taken]


def _names(places: Sequence[Place]) -> tuple[str, ...]:
    return tuple(frame.name for _, frame in places)


def _stacks(places: Sequence[Place]) -> str:
    return in_stacks([stack for stack, _ in places])


def _usual(stack: StackSummary, figure: str) -> float:
    """Median of a figure over the frames of a stack."""
    return _median(stack.frame_summaries, figure)


def _median(frames: Sequence[FrameSummary], figure: str) -> float:
    return finite_median([getattr(frame.figures, figure) for frame in frames])


def _saturated(context: Context, places: Sequence[Place]) -> Named:
    full = [
        (stack, frame)
        for stack, frame in places
        if flagged_saturated(stack, frame)
        or frame.figures.level > full_well(context.camera.noise, stack.em_gain)
    ]
    if full:
        full.sort(key=lambda place: -place[1].figures.saturated)
        most = full[0][1].figures
        how = (
            f"up to {most.saturated:.1%} of the samples have the flag 32"
            if most.saturated > SATURATED_FRAME
            else "the level lies above the full well, and no flag says so"
        )
        finding = Finding(
            "warning",
            "saturated",
            f"{several(len(full), 'frame', 'are')} saturated {_stacks(full)}: {how}",
            _names(full),
            leave_out(len(full), "for light, or a wrong EM gain or exposure time"),
        )
        yield finding, full


def _empty(context: Context, places: Sequence[Place]) -> Named:
    inputs = context.campaign.inputs
    counted = {item.record.name for item in inputs if item.record.counted is not None}
    flat = [
        (stack, frame)
        for stack, frame in places
        if frame.figures.noiseless and not (frame.figures.level == 0 and frame.name in counted)
    ]
    if flat:
        finding = Finding(
            "problem",
            "empty",
            f"{several(len(flat), 'frame', 'have')} no noise: all pixels are the same "
            f"{_stacks(flat)}",
            _names(flat),
            leave_out(len(flat), "at the readout"),
        )
        yield finding, flat
    blind = [place for place in places if math.isnan(place[1].figures.scatter)]
    if blind:
        finding = Finding(
            "warning",
            "empty",
            f"{several(len(blind), 'frame', 'have')} no good pixel {_stacks(blind)}",
            _names(blind),
            leave_out(len(blind), "at the flags"),
        )
        yield finding, blind


def _copies(context: Context, places: Sequence[Place]) -> Named:
    same: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        if not place[1].figures.noiseless:  # these are told as such
            same[place[1].figures.content].append(place)
    groups = [found for content, found in same.items() if content and len(found) > 1]
    if groups:
        copies = [place for found in groups for place in found]
        others = "as another " if len(groups) > 1 else ""
        finding = Finding(
            "problem",
            "copies",
            f"{len(copies)} frames have the same pixels {others}{_stacks(copies)}: a file given "
            "twice, or a readout that stuck",
            _names(copies),
            "keep one of each" if others else "keep one of them",
        )
        yield finding, copies


def _split(context: Context, places: Sequence[Place]) -> Named:
    """Stacks whose frames fall into two groups, of which the fainter is no larger.

    The median lies in the brighter group or between them, and says nothing of which is right:
    light makes a dark brighter, nothing makes it fainter.
    """
    left = {id(frame) for _, frame in places}
    usual = _jitter_everywhere(context)
    for stack in context.stacks:
        frames = [frame for frame in stack.frame_summaries if id(frame) in left]
        if len(frames) < FRAMES_TO_COMPARE:
            continue
        faint, bright = _two_groups(frames)
        if not _disagree(stack, faint, bright, usual, context.pixels.imaging):
            continue
        distance = _median(bright, "level") - _median(faint, "level")
        finding = Finding(
            "warning",
            "light",
            f"({stack}): its frames disagree: {several(len(faint), 'frame')}, the first "
            f"{faint[0].name}, and {several(len(bright), 'frame')}, the first {bright[0].name}, "
            f"brighter by {distance:.3g} EM electrons; light makes "
            "darks too bright, nothing makes them too faint",
            remedy="look at the brighter frames for a light leak, and at the EM gain and exposure "
            "time of all; do not leave out the fainter ones because they are fewer",
        )
        yield finding, [(stack, frame) for frame in frames]


def _jitter_everywhere(context: Context) -> float:
    """Scatter of levels about the medians of their stacks, in errors that noise gives them."""
    scaled = [
        np.array([frame.offset for frame in stack.frame_summaries])
        / frame_errors(stack, context.pixels.imaging)
        for stack in context.stacks
        if stack.noise > 0
    ]
    return jitter(np.concatenate(scaled)) if scaled else 1.0


def _two_groups(frames: Sequence[FrameSummary]) -> tuple[list[FrameSummary], list[FrameSummary]]:
    """The fainter and the brighter frames, either side of the widest gap of their levels."""
    ordered = sorted(frames, key=lambda frame: frame.figures.level)
    levels = np.array([frame.figures.level for frame in ordered])
    cut = int(np.argmax(np.diff(levels))) + 1
    return ordered[:cut], ordered[cut:]


def _disagree(
    stack: StackSummary,
    faint: Sequence[FrameSummary],
    bright: Sequence[FrameSummary],
    usual: float,
    pixels: int,
) -> bool:
    """Whether neither group can be called odd, and they lie far apart."""
    count = len(faint) + len(bright)
    if len(faint) > len(bright) or len(faint) < SPLIT_STACK * count:
        return False
    gap = bright[0].figures.level - faint[-1].figures.level
    within = max(group[-1].figures.level - group[0].figures.level for group in (faint, bright))
    error = float(np.median(frame_errors(stack, pixels)))
    if not gap > max(ODD_FRAME * usual * error, HARMLESS * _usual(stack, "scatter"), within):
        return False
    moved = _median(bright, "prescan_level") - _median(faint, "prescan_level")
    distance = _median(bright, "level") - _median(faint, "level")
    # A step of the bias is seen in the prescan; without one nothing tells it from light.
    return not moved > 0.5 * distance


def _off_level(context: Context, places: Sequence[Place]) -> Named:
    """Frames brighter or fainter than the others of their stack, by likely cause."""
    kinds: dict[str, list[Place]] = defaultdict(list)
    for stack, frame in places:
        if abs(frame.sigmas) > ODD_FRAME:
            kinds[_kind(stack, frame)].append((stack, frame))
    for kind, found in sorted(kinds.items()):
        found.sort(key=lambda place: -abs(place[1].sigmas))
        topic, words, remedy = _KINDS[kind]
        stack, most = found[0]
        text = (
            f"{several(len(found), 'frame', 'are')} {words} {_stacks(found)}, the most by "
            f"{most.offset:+.3g} EM electrons ({abs(most.sigmas):.0f} standard errors, "
            f"{abs(most.offset) / _usual(stack, 'scatter'):.2f} of the scatter within a frame)"
        )
        harmless = kind == "harmless"
        if not harmless and kind != "spikes":
            remedy = leave_out(len(found), remedy)
        finding = Finding("note" if harmless else "warning", topic, text, _names(found), remedy)
        yield finding, found


_KINDS = {
    "light": (
        "light",
        "brighter than the rest of the stack, though not in the prescan,",
        "for a light leak, or a wrong EM gain or exposure time",
    ),
    "spikes": (
        "cosmic",
        "brighter than the rest of the stack, because of few very bright samples,",
        "flag their cosmic rays, or give --screen to emdarks noisemaps",
    ),
    "bias": (
        "bias",
        "off the level of the rest of the stack, in the prescan, too,",
        "at the bias subtraction",
    ),
    "faint": (
        "level",
        "fainter than the rest of the stack, though not in the prescan,",
        "for a wrong EM gain or exposure time in the headers",
    ),
    "harmless": (
        "level",
        "off the level of the rest of the stack",
        "nothing need be done: this is far below the noise of a pixel",
    ),
}


def _kind(stack: StackSummary, frame: FrameSummary) -> str:
    """Likely cause of a level that is off."""
    offset, usual = frame.offset, _usual(stack, "scatter")
    if abs(offset) < HARMLESS * usual:
        return "harmless"
    # Light makes noise of its own, amplified, and a pattern where it is not even. Cosmic rays
    # in few samples scatter far more for the same mean.
    gain = max(stack.em_gain, 1.0)
    if frame.figures.scatter**2 - usual**2 > 2 * gain * abs(offset) + SPREAD_OF_LIGHT * offset**2:
        return "spikes"
    shift = frame.figures.prescan_level - _usual(stack, "prescan_level")
    # Without a prescan nothing tells light from bias.
    if math.isfinite(shift) and shift / offset > 0.5:
        return "bias"
    return "light" if offset > 0 else "faint"


def _off_scatter(context: Context, places: Sequence[Place]) -> Named:
    """Frames far noisier or far quieter than the others of their stack."""
    values, errors = [], []
    for stack in context.stacks:
        scatter = np.array([frame.figures.scatter for frame in stack.frame_summaries])
        values.append(np.log(scatter, out=np.full(scatter.shape, np.nan), where=scatter > 0))
        errors.append(scatter_errors(stack, context.pixels.imaging))
    offsets, sigmas = departures(values, errors)
    ratio = {
        id(frame): (math.exp(offset), z)
        for stack, of_stack, of_sigmas in zip(context.stacks, offsets, sigmas, strict=True)
        for frame, offset, z in zip(stack.frame_summaries, of_stack, of_sigmas, strict=True)
    }
    for words, sign in (("more", 1), ("less", -1)):
        odd = [
            place
            for place in places
            if ratio[id(place[1])][0] ** sign > FAR_SCATTER
            and ratio[id(place[1])][1] * sign > ODD_FRAME
        ]
        if odd:
            odd.sort(key=lambda place: -sign * ratio[id(place[1])][0])
            most = ratio[id(odd[0][1])][0]
            finding = Finding(
                "warning",
                "noise",
                f"{several(len(odd), 'frame', 'have')} far {words} noise than the rest of the "
                f"stack {_stacks(odd)}: up to {most:.2g} times the usual scatter",
                _names(odd),
                leave_out(len(odd), "for interference, unflagged cosmic rays, or a wrong EM gain"),
            )
            yield finding, odd


def _bare(context: Context, places: Sequence[Place]) -> Named:
    """Frames without flags among frames with flags."""
    bare = []
    for stack, frame in places:
        if (
            not stack.searched
            and frame.figures.masked == 0
            and _usual(stack, "masked") * context.pixels.imaging > EXPECTED_FLAGS
        ):
            bare.append((stack, frame))
    if bare:
        finding = Finding(
            "warning",
            "flags",
            f"{several(len(bare), 'frame', 'have')} no flagged sample {_stacks(bare)}, where "
            "the other frames have",
            _names(bare),
            "flag the cosmic rays, or leave these frames out",
        )
        yield finding, bare


def _masked(context: Context, places: Sequence[Place]) -> Named:
    """Frames that are masked much more than their stack."""
    heavy = [
        (stack, frame)
        for stack, frame in places
        if frame.figures.masked > MASKED_FRAME
        and frame.figures.masked > 2 * _usual(stack, "masked")
    ]
    if heavy:
        heavy.sort(key=lambda place: -place[1].figures.masked)
        finding = Finding(
            "warning",
            "masked",
            f"{several(len(heavy), 'frame', 'have')} more than {MASKED_FRAME:.0%} of their samples "
            f"masked, up to {heavy[0][1].figures.masked:.0%}, twice as many as the rest of the "
            f"stack or more {_stacks(heavy)}",
            _names(heavy),
            "look at the flags; what is left is used",
        )
        yield finding, heavy


_JUDGES: tuple[Callable[[Context, Sequence[Place]], Named], ...] = (
    _saturated,
    _empty,
    _copies,
    _bare,
    _split,
    _off_level,
    _off_scatter,
    _masked,
)
