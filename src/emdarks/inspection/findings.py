"""The findings: what can be made of a campaign, and what will go wrong, in words.

Each check is a function from the facts to findings; `CHECKS` lists them. What the
fit itself refuses is asked of the fit's own checks, so that both use the same words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emdarks.cameras import Camera, Unit
from emdarks.darks.campaign import check_campaign
from emdarks.detector import frame_shape
from emdarks.errors import CalDarksLSQException, InputError
from emdarks.inspection.sorting import SortedFrames
from emdarks.inspection.summary import Finding, PixelCounts, Severity, StackSummary
from emdarks.stacks import check_frames
from emdarks.stacks.advice import ENOUGH_FRAMES, TEMPERATURE_SPREAD
from emdarks.stacks.group import GAIN_WARNING

__all__ = ["CHECKS", "Facts", "find"]

#: Relative spread of gains that a fit refuses by default.
GAIN_TOLERANCE = 0.05
#: Share of masked samples above which a stack is worth a word.
MUCH_MASKED = 0.3

_ORDER: dict[Severity, int] = {"problem": 0, "warning": 1, "fine": 2}


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the checks may look at."""

    camera: Camera
    campaign: SortedFrames
    stacks: Sequence[StackSummary]
    pixels: PixelCounts


def find(facts: Facts) -> list[Finding]:
    """Make every check; problems come first, then warnings."""
    found = [finding for check in CHECKS for finding in check(facts)]
    blocked = any(finding.severity == "problem" for finding in found)
    found += _possible(facts, blocked)
    return sorted(found, key=lambda finding: _ORDER[finding.severity])


_SINGULAR = {"have": "has", "are": "is"}


def _several(count: int, noun: str, verb: str = "") -> str:
    """A count in words: 1 frame has, 2 frames have."""
    words = (
        (str(count), noun, _SINGULAR.get(verb, ""))
        if count == 1
        else (str(count), f"{noun}s", verb)
    )
    return " ".join(words).rstrip()


def _named(stacks: Iterable[StackSummary], most: int = 3) -> str:
    """A few stacks by name."""
    names = [f"({stack})" for stack in stacks]
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


# What can be made


def _possible(facts: Facts, blocked: bool) -> Iterator[Finding]:
    if not blocked:
        yield Finding(
            "fine",
            "maps",
            f"noise maps (F, C, D) can be fitted to these {len(facts.stacks)} stacks, and master "
            f"darks synthesised from them; they are measured for {_reach(facts.stacks)}",
        )
    averaged = [stack for stack in facts.stacks if stack.most_good > 1 and stack.em_gain >= 1]
    if averaged:
        which = (
            "each stack" if len(averaged) == len(facts.stacks) else f"the stacks {_named(averaged)}"
        )
        yield Finding("fine", "darks", f"a traditional master dark can be made of {which}")


def _reach(stacks: Sequence[StackSummary]) -> str:
    gains = [stack.em_gain for stack in stacks]
    times = [stack.exposure_time for stack in stacks]
    return (
        f"EM gains {min(gains):g} to {max(gains):g} and exposure times {min(times):g} to "
        f"{max(times):g} s"
    )


# What stops the fit


def _unusable(facts: Facts) -> Iterator[Finding]:
    unusable = facts.campaign.unusable
    if unusable:
        yield Finding(
            "problem",
            "headers",
            f"{_several(len(unusable), 'frame', 'are')} left out here, since nothing tells what "
            f"they are: {unusable[0][1]}",
            tuple(name for name, _ in unusable),
        )


def _odd_shapes(facts: Facts) -> Iterator[Finding]:
    odd = facts.campaign.odd_shapes
    if odd:
        rows, cols = facts.campaign.shape
        name, shape = odd[0]
        yield Finding(
            "problem",
            "shape",
            f"{_several(len(odd), 'frame', 'have')} not the {rows} x {cols} pixels of the others, "
            f"the first {shape[0]} x {shape[1]}: {name}; left out here",
            tuple(name for name, _ in odd),
        )


def _geometry(facts: Facts) -> Iterator[Finding]:
    expected = frame_shape(facts.camera.arrtype, facts.camera.regions)
    shape = facts.campaign.shape
    if facts.campaign.inputs and shape != expected:
        yield Finding(
            "problem",
            "camera",
            f"the frames have {shape[0]} x {shape[1]} pixels, those of camera "
            f"{facts.camera.name} {expected[0]} x {expected[1]}; name their camera (levels here "
            "are of the whole frame)",
        )


def _readout(facts: Facts) -> Iterator[Finding]:
    try:
        check_frames(facts.campaign.stacks)
    except InputError as error:
        yield Finding("problem", "readout", f"these frames do not go together: {error}")


def _design(facts: Facts) -> Iterator[Finding]:
    try:
        # Stacks of one frame have a finding of their own.
        check_campaign(facts.campaign.stacks, None, min_frames=1)
    except CalDarksLSQException as error:
        yield Finding("problem", "maps", f"noise maps cannot be fitted: {error}")


def _single_frames(facts: Facts) -> Iterator[Finding]:
    single = [stack for stack in facts.stacks if stack.most_good < 2]
    if single:
        yield Finding(
            "problem",
            "frames",
            f"no pixel is good in two frames of {_several(len(single), 'stack')}, "
            f"{_named(single)}: nothing tells the noise there; add frames or leave them out",
        )


def _gains(facts: Facts) -> Iterator[Finding]:
    for stack in facts.stacks:
        if stack.gain_spread > GAIN_WARNING:
            refused = stack.gain_spread > GAIN_TOLERANCE
            yield Finding(
                "problem" if refused else "warning",
                "gain",
                f"({stack}): the gains of its frames spread by {stack.gain_spread:.2%}; "
                + ("look for a wrong one" if refused else "their mean is used"),
            )


# Units


def _divided(facts: Facts) -> Iterator[Finding]:
    divided = [
        item.record.name
        for stack in facts.campaign.stacks
        for item in stack.frames
        if item.record.unit is Unit.ELECTRON and stack.em_gain > 1
    ]
    if divided:
        yield Finding(
            "problem",
            "unit",
            f"{_several(len(divided), 'frame', 'are')} divided by the EM gain already, the first "
            f"{divided[0]} (levels here are multiplied by it again); noise maps need frames in "
            "DN or EM electrons",
            tuple(divided),
        )


def _unknown_unit(facts: Facts) -> Iterator[Finding]:
    unknown = [item.record for item in facts.campaign.inputs if item.record.unit is Unit.UNKNOWN]
    if unknown:
        text = f"the unit {unknown[0].unit_text!r}" if unknown[0].unit_text else "no unit"
        yield Finding(
            "warning",
            "unit",
            f"{_several(len(unknown), 'frame', 'have')} {text}, the first {unknown[0].name}; noise "
            "maps take them as EM electrons, traditional darks as detected electrons",
            tuple(record.name for record in unknown),
        )


def _mixed_units(facts: Facts) -> Iterator[Finding]:
    counts = Counter(item.record.unit for item in facts.campaign.inputs)
    if len(counts) > 1:
        known = ", ".join(f"{count} in {unit.value}" for unit, count in counts.most_common())
        yield Finding("warning", "unit", f"the frames have different units: {known}")


# What makes the products worse


def _few_frames(facts: Facts) -> Iterator[Finding]:
    counts = [stack.frames for stack in facts.stacks]
    few = sum(count < ENOUGH_FRAMES for count in counts)
    if few:
        how = "all stacks have" if few == len(counts) else f"{few} of {len(counts)} stacks have"
        yield Finding(
            "warning",
            "frames",
            f"{how} fewer than the recommended {ENOUGH_FRAMES} frames (the smallest "
            f"{min(counts)}); the maps will be noisier",
        )


def _unflagged(facts: Facts) -> Iterator[Finding]:
    bare = [stack for stack in facts.stacks if stack.masked == 0]
    if bare:
        yield Finding(
            "warning",
            "flags",
            f"no pixel of any frame is flagged in {_several(len(bare), 'stack')}, {_named(bare)}; "
            "were cosmic rays looked for?",
        )


def _much_masked(facts: Facts) -> Iterator[Finding]:
    heavy = [stack for stack in facts.stacks if stack.masked > MUCH_MASKED]
    if heavy:
        worst = max(stack.masked for stack in heavy)
        yield Finding(
            "warning",
            "masked",
            f"{_several(len(heavy), 'stack', 'have')} more than {MUCH_MASKED:.0%} of their samples "
            f"masked, at most {worst:.1%}: {_named(heavy)}",
        )


def _unfittable(facts: Facts) -> Iterator[Finding]:
    pixels = facts.pixels
    if len(facts.stacks) >= 4 and pixels.unfittable:
        yield Finding(
            "warning",
            "masked",
            f"{_several(pixels.unfittable, 'pixel', 'are')} good in fewer than four stacks and "
            f"will have no value ({pixels.unfittable / pixels.imaging:.2%} of the imaging area)",
        )


def _full_wells(facts: Facts) -> Iterator[Finding]:
    full = [stack for stack in facts.stacks if stack.overfull_pixels]
    if full:
        most = max(full, key=lambda stack: stack.overfull_pixels)
        yield Finding(
            "warning",
            "saturation",
            f"{_several(most.overfull_pixels, 'pixel', 'have')} unflagged samples whose mean lies "
            f"above the full well in ({most}){_elsewhere(full)}; saturated samples need the flag "
            "32, or they spoil the fit",
        )


def _elsewhere(stacks: Sequence[StackSummary]) -> str:
    return f", fewer in {_several(len(stacks) - 1, 'other stack')}" if len(stacks) > 1 else ""


def _temperature(facts: Facts) -> Iterator[Finding]:
    ends = np.array([stack.temperature for stack in facts.stacks])
    if not np.isfinite(ends).any():
        return
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    if high - low > TEMPERATURE_SPREAD:
        yield Finding(
            "warning",
            "temperature",
            f"the detector temperature spreads by {high - low:.2f} degrees ({low:.2f} to "
            f"{high:.2f}); dark current depends on it",
        )


# Single frames


def _copies(facts: Facts) -> Iterator[Finding]:
    same: dict[str, list[str]] = defaultdict(list)
    for stack in facts.stacks:
        for frame in stack.frame_summaries:
            same[frame.figures.content].append(frame.name)
    for names in same.values():
        if len(names) > 1:
            yield Finding(
                "warning",
                "copies",
                f"{_several(len(names), 'frame', 'have')} the same pixels, keep one: "
                f"{_listed(names)}",
                tuple(names),
            )


def _empty_frames(facts: Facts) -> Iterator[Finding]:
    names = [
        frame.name
        for stack in facts.stacks
        for frame in stack.frame_summaries
        if not frame.figures.scatter > 0
    ]
    if names:
        yield Finding(
            "warning",
            "empty",
            f"{_several(len(names), 'frame')} without noise or without a good pixel: "
            f"{_listed(names)}",
            tuple(names),
        )


def _listed(names: Sequence[str], most: int = 3) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _unusable,
    _odd_shapes,
    _geometry,
    _readout,
    _design,
    _single_frames,
    _gains,
    _divided,
    _unknown_unit,
    _mixed_units,
    _few_frames,
    _unflagged,
    _much_masked,
    _unfittable,
    _full_wells,
    _temperature,
    _copies,
    _empty_frames,
)
