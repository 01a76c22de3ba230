"""Checks of single frames: which files are bad, and why.

A frame is named once, for the first reason that applies. Thresholds are constants here;
docs/howto_inspect.md says how often noise alone crosses them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from emdarks.checks.context import Facts, Place
from emdarks.checks.formatting import in_stacks, several
from emdarks.checks.frame_statistics import (
    MIN_FRAMES,
    departures,
    frame_errors,
    full_well,
    jitter,
    scatter_errors,
)
from emdarks.checks.summary import Finding, FrameSummary, Severity, StackSummary

__all__ = ["bad_frames", "excursions", "flagged_saturated", "warm_or_cold"]

#: Standard errors from which on a level or a scatter is no chance.
SIGNIFICANT = 6.0
#: Offset of a level, in units of the scatter within a frame, below which it does no harm.
HARMLESS = 0.02
#: Factor between scatters from which on a frame is far noisier, or quieter, than its stack.
FAR = 1.5
#: Variance that light spread over a thirtieth of the area adds, in squares of its offset.
SPREAD = 30.0
#: Share of saturated samples, above that of the stack, from which on a frame is saturated.
SATURATED = 0.05
#: Share of masked samples from which on a frame is hardly usable.
MASKED = 0.3
#: Masked samples that a frame without any would be expected to have: chance of none is e^-30.
EXPECTED_FLAGS = 30.0
#: Share of the frames of a stack from which on those that are fainter may be the good ones.
SPLIT = 0.2
#: Degrees from the median of the stack, and the same in robust standard deviations.
EXCURSION, EXCURSION_SIGMAS = 0.5, 6.0

Found = Iterator[tuple[Finding, list[Place]]]


def bad_frames(facts: Facts) -> Iterator[Finding]:
    """Frames that should not be used, each named for one reason."""
    open_cases = list(facts.places())
    for judge in _JUDGES:
        for finding, places in judge(facts, open_cases):
            yield finding
            taken = {id(frame) for _, frame in places}
            open_cases = [place for place in open_cases if id(place[1]) not in taken]


def _leave_out(count: int, and_look: str) -> str:
    return f"leave {'it' if count == 1 else 'them'} out; look {and_look}"


def _verdict(
    places: Sequence[Place], topic: str, text: str, remedy: str, severity: Severity = "warning"
) -> tuple[Finding, list[Place]]:
    names = tuple(frame.name for _, frame in places)
    return Finding(severity, topic, text, names, remedy), list(places)


def _stacks(places: Sequence[Place]) -> str:
    return in_stacks([stack for stack, _ in places])


def flagged_saturated(stack: StackSummary, frame: FrameSummary) -> bool:
    """Whether far more samples have the saturation flag than in the stack's other frames."""
    usual = float(np.median([other.figures.saturated for other in stack.frame_summaries]))
    return frame.figures.saturated - usual > SATURATED


def _saturated(facts: Facts, places: Sequence[Place]) -> Found:
    full = [
        (stack, frame)
        for stack, frame in places
        if flagged_saturated(stack, frame)
        or frame.figures.level > full_well(facts.camera.noise, stack.em_gain)
    ]
    if full:
        full.sort(key=lambda place: -place[1].figures.saturated)
        most = full[0][1].figures
        how = (
            f"up to {most.saturated:.1%} of the samples have the flag 32"
            if most.saturated > SATURATED
            else "the level lies above the full well, and no flag says so"
        )
        yield _verdict(
            full,
            "saturated",
            f"{several(len(full), 'frame', 'are')} saturated {_stacks(full)}: {how}",
            _leave_out(len(full), "for light, or a wrong EM gain or exposure time"),
        )


def _empty(facts: Facts, places: Sequence[Place]) -> Found:
    flat = [place for place in places if place[1].figures.noiseless]
    if flat:
        yield _verdict(
            flat,
            "empty",
            f"{several(len(flat), 'frame', 'have')} no noise: all pixels are the same "
            f"{_stacks(flat)}",
            _leave_out(len(flat), "at the readout"),
            "problem",
        )
    blind = [place for place in places if math.isnan(place[1].figures.scatter)]
    if blind:
        yield _verdict(
            blind,
            "empty",
            f"{several(len(blind), 'frame', 'have')} no good pixel {_stacks(blind)}",
            _leave_out(len(blind), "at the flags"),
        )


def _copies(facts: Facts, places: Sequence[Place]) -> Found:
    same: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        same[place[1].figures.content].append(place)
    for copies in same.values():
        if len(copies) > 1:
            yield _verdict(
                copies,
                "copies",
                f"{len(copies)} frames have the same pixels {_stacks(copies)}: a file given twice, "
                "or a readout that stuck",
                "keep one of them",
                "problem",
            )


def _split(facts: Facts, places: Sequence[Place]) -> Found:
    """Stacks whose frames fall into two groups, of which the fainter is no larger.

    The median lies in the brighter group or between them, and says nothing of which is right:
    light makes a dark brighter, nothing makes it fainter.
    """
    left = {id(frame) for _, frame in places}
    usual = _jitter_everywhere(facts)
    for stack in facts.stacks:
        frames = [frame for frame in stack.frame_summaries if id(frame) in left]
        if len(frames) < MIN_FRAMES:
            continue
        faint, bright = _two_groups(frames)
        if not _disagree(stack, faint, bright, usual, facts.pixels.imaging):
            continue
        distance = _level(bright) - _level(faint)
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


def _jitter_everywhere(facts: Facts) -> float:
    """Scatter of levels about the medians of their stacks, in errors that noise gives them."""
    scaled = [
        np.array([frame.offset for frame in stack.frame_summaries])
        / frame_errors(stack, facts.pixels.imaging)
        for stack in facts.stacks
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
    if len(faint) > len(bright) or len(faint) < SPLIT * count:
        return False
    gap = bright[0].figures.level - faint[-1].figures.level
    within = max(group[-1].figures.level - group[0].figures.level for group in (faint, bright))
    error = float(np.median(frame_errors(stack, pixels)))
    if not gap > max(SIGNIFICANT * usual * error, HARMLESS * _scatter(stack), within):
        return False
    moved = _level(bright, "prescan_level") - _level(faint, "prescan_level")
    distance = _level(bright) - _level(faint)
    # A step of the bias is seen in the prescan; without one nothing tells it from light.
    return not moved > 0.5 * distance


def _level(frames: Sequence[FrameSummary], name: str = "level") -> float:
    return float(np.median([getattr(frame.figures, name) for frame in frames]))


def _off_level(facts: Facts, places: Sequence[Place]) -> Found:
    """Frames brighter or fainter than the others of their stack, by likely cause."""
    kinds: dict[str, list[Place]] = defaultdict(list)
    for stack, frame in places:
        if abs(frame.sigmas) > SIGNIFICANT:
            kinds[_kind(stack, frame)].append((stack, frame))
    for kind, found in sorted(kinds.items()):
        found.sort(key=lambda place: -abs(place[1].sigmas))
        topic, words, remedy = _KINDS[kind]
        stack, most = found[0]
        text = (
            f"{several(len(found), 'frame', 'are')} {words} {_stacks(found)}, the most by "
            f"{most.offset:+.3g} EM electrons ({abs(most.sigmas):.0f} standard errors, "
            f"{abs(most.offset) / _scatter(stack):.2f} of the scatter within a frame)"
        )
        harmless = kind == "harmless"
        if not harmless and kind != "spikes":
            remedy = _leave_out(len(found), remedy)
        yield _verdict(found, topic, text, remedy, "note" if harmless else "warning")


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
    offset, usual = frame.offset, _scatter(stack)
    if abs(offset) < HARMLESS * usual:
        return "harmless"
    # Light makes noise of its own, amplified, and a pattern where it is not even. Cosmic rays
    # in few samples scatter far more for the same mean.
    gain = max(stack.em_gain, 1.0)
    if frame.figures.scatter**2 - usual**2 > 2 * gain * abs(offset) + SPREAD * offset**2:
        return "spikes"
    prescans = np.array([other.figures.prescan_level for other in stack.frame_summaries])
    shift = frame.figures.prescan_level - float(np.median(prescans))
    # Without a prescan nothing tells light from bias.
    if math.isfinite(shift) and shift / offset > 0.5:
        return "bias"
    return "light" if offset > 0 else "faint"


def _scatter(stack: StackSummary) -> float:
    """Usual scatter within a frame."""
    return float(np.nanmedian([frame.figures.scatter for frame in stack.frame_summaries]))


def _off_scatter(facts: Facts, places: Sequence[Place]) -> Found:
    """Frames far noisier or far quieter than the others of their stack."""
    values, errors = [], []
    for stack in facts.stacks:
        scatter = np.array([frame.figures.scatter for frame in stack.frame_summaries])
        values.append(np.log(scatter, out=np.full(scatter.shape, np.nan), where=scatter > 0))
        errors.append(scatter_errors(stack, facts.pixels.imaging))
    offsets, sigmas = departures(values, errors)
    ratio = {
        id(frame): (math.exp(offset), z)
        for stack, of_stack, of_sigmas in zip(facts.stacks, offsets, sigmas, strict=True)
        for frame, offset, z in zip(stack.frame_summaries, of_stack, of_sigmas, strict=True)
    }
    for words, sign in (("more", 1), ("less", -1)):
        odd = [
            place
            for place in places
            if ratio[id(place[1])][0] ** sign > FAR and ratio[id(place[1])][1] * sign > SIGNIFICANT
        ]
        if odd:
            odd.sort(key=lambda place: -sign * ratio[id(place[1])][0])
            most = ratio[id(odd[0][1])][0]
            yield _verdict(
                odd,
                "noise",
                f"{several(len(odd), 'frame', 'have')} far {words} noise than the rest of the "
                f"stack {_stacks(odd)}: up to {most:.2g} times the usual scatter",
                _leave_out(len(odd), "for interference, unflagged cosmic rays, or a wrong EM gain"),
            )


def _bare(facts: Facts, places: Sequence[Place]) -> Found:
    """Frames without flags among frames with flags."""
    bare = []
    for stack, frame in places:
        usual = float(np.median([other.figures.masked for other in stack.frame_summaries]))
        if frame.figures.masked == 0 and usual * facts.pixels.imaging > EXPECTED_FLAGS:
            bare.append((stack, frame))
    if bare:
        yield _verdict(
            bare,
            "flags",
            f"{several(len(bare), 'frame', 'have')} no flagged sample {_stacks(bare)}, where "
            "the other frames have",
            "flag the cosmic rays, or leave these frames out",
        )


def _masked(facts: Facts, places: Sequence[Place]) -> Found:
    """Frames that are masked much more than their stack."""
    heavy = [
        (stack, frame)
        for stack, frame in places
        if frame.figures.masked > MASKED
        and frame.figures.masked
        > 2 * float(np.median([other.figures.masked for other in stack.frame_summaries]))
    ]
    if heavy:
        heavy.sort(key=lambda place: -place[1].figures.masked)
        yield _verdict(
            heavy,
            "masked",
            f"{several(len(heavy), 'frame', 'have')} more than {MASKED:.0%} of their samples "
            f"masked, up to {heavy[0][1].figures.masked:.0%}, twice as many as the rest of the "
            f"stack or more {_stacks(heavy)}",
            "look at the flags; what is left is used",
        )


_JUDGES: tuple[Callable[[Facts, Sequence[Place]], Found], ...] = (
    _saturated,
    _empty,
    _copies,
    _bare,
    _split,
    _off_level,
    _off_scatter,
    _masked,
)


# Temperature, which headers tell


def excursions(facts: Facts) -> Iterator[Finding]:
    """Frames at another temperature than the others of their stack."""
    odd, limit = warm_or_cold(facts)
    if odd:
        stack, most = odd[0]
        yield Finding(
            "warning",
            "temperature",
            f"{several(len(odd), 'frame', 'are')} more than {limit:.2g} degrees off the "
            f"temperature of the rest of the stack {_stacks(odd)}, the most at "
            f"{most.temperature:.2f} instead of {_usual(stack):.2f}",
            tuple(frame.name for _, frame in odd),
            _leave_out(len(odd), "at the cooling; dark current depends on temperature"),
        )


def warm_or_cold(facts: Facts) -> tuple[list[Place], float]:
    """Frames that are too warm or too cold, the most so first, and from how many degrees on."""
    offsets = {
        id(frame): frame.temperature - _usual(stack)
        for stack in facts.stacks
        if stack.frames >= MIN_FRAMES
        for frame in stack.frame_summaries
    }
    known = np.array([offset for offset in offsets.values() if math.isfinite(offset)])
    if not known.size:
        return [], EXCURSION
    limit = max(EXCURSION, EXCURSION_SIGMAS * 1.4826 * float(np.median(np.abs(known))))
    odd = [place for place in facts.places() if abs(offsets.get(id(place[1]), 0.0)) > limit]
    return sorted(odd, key=lambda place: -abs(offsets[id(place[1])])), limit


def _usual(stack: StackSummary) -> float:
    values = [frame.temperature for frame in stack.frame_summaries]
    finite = [value for value in values if math.isfinite(value)]
    return float(np.median(finite)) if finite else math.nan
