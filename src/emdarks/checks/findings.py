"""The findings: what can be made of a campaign, and what will go wrong, in words.

Each check is a function from the facts to findings; `CHECKS` lists them. What the
fit itself refuses is asked of the fit's own checks, so that both use the same words.
Checks of the design are in `coverage`, of single frames in `single_frames`, along the
sequence in `sequence`; the others are here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from emdarks.cameras import Unit
from emdarks.checks.against_camera import (
    bias_not_subtracted,
    noise_of_another,
    photon_counted,
)
from emdarks.checks.context import Facts
from emdarks.checks.design import (
    can_be_fitted,
    ill_conditioned,
    incomplete_grid,
    short_stacks,
)
from emdarks.checks.drift import drift
from emdarks.checks.formatting import named, several
from emdarks.checks.frames import (
    bad_frames,
    excursions,
    flagged_saturated,
    warm_or_cold,
)
from emdarks.checks.headers import impossible_temperatures, unknown_settings
from emdarks.checks.samples import not_finite, split_stacks
from emdarks.checks.summary import Finding, Severity, StackSummary
from emdarks.checks.warnings import TEMPERATURE_SPREAD
from emdarks.detector import frame_shape
from emdarks.errors import InputError
from emdarks.stacks import check_frames
from emdarks.stacks.group import GAIN_WARNING
from emdarks.stacks.outlier_frames import misfits, unlike

__all__ = ["CHECKS", "Facts", "find", "find_in_product"]

#: Relative spread of gains that a fit refuses by default.
GAIN_TOLERANCE = 0.05
#: Share of masked samples above which a stack is worth a word.
MUCH_MASKED = 0.3
#: Share of the imaging area up to which spoilt pixels are no reason to wait.
FEW_PIXELS = 0.01

_ORDER: dict[Severity, int] = {"problem": 0, "warning": 1, "note": 2, "fine": 3}


def find(facts: Facts) -> list[Finding]:
    """Make every check; problems come first, then warnings, then notes."""
    found = [finding for check in CHECKS for finding in check(facts)]
    blocked = any(finding.severity == "problem" for finding in found)
    found += _possible(facts, blocked)
    return sorted(found, key=lambda finding: _ORDER[finding.severity])


def find_in_product(facts: Facts, fit: bool) -> list[Finding]:
    """Problems and warnings about the frames that a product is being made of.

    Parameters
    ----------
    facts : Facts
        The frames, and what their sums tell.
    fit : bool
        Whether F, C and D are fitted; else the checks of the design are not made.

    Returns
    -------
    list of Finding
        As `find` gives them, without what the recipe refuses by itself: it has accepted these
        frames. Copies and frames without noise that are left are arrays in memory, whose
        maker knows it.
    """
    passed_over = OF_RECIPE if fit else (*OF_RECIPE, *OF_FIT)
    found = [
        finding
        for check in CHECKS
        if check not in passed_over
        for finding in check(facts)
        if finding.severity in ("problem", "warning")
        and not (finding.severity == "problem" and finding.topic in ("copies", "empty"))
    ]
    return sorted(found, key=lambda finding: _ORDER[finding.severity])


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
            "each stack" if len(averaged) == len(facts.stacks) else f"the stacks {named(averaged)}"
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
            f"{several(len(unusable), 'frame', 'are')} left out here, since nothing tells what "
            f"they are: {unusable[0][1]}",
            tuple(name for name, _ in unusable),
            "mend their headers or the camera file, or leave them out",
        )


def _odd_shapes(facts: Facts) -> Iterator[Finding]:
    odd = facts.campaign.odd_shapes
    if odd:
        rows, cols = facts.campaign.shape
        name, shape = odd[0]
        yield Finding(
            "problem",
            "shape",
            f"{several(len(odd), 'frame', 'have')} not the {rows} x {cols} pixels of the others, "
            f"the first {shape[0]} x {shape[1]}: {name}; left out here",
            tuple(name for name, _ in odd),
            "leave them out",
        )


def _geometry(facts: Facts) -> Iterator[Finding]:
    expected = frame_shape(facts.camera.arrtype, facts.camera.regions)
    shape = facts.campaign.shape
    if facts.campaign.inputs and shape != expected:
        yield Finding(
            "problem",
            "camera",
            f"the frames have {shape[0]} x {shape[1]} pixels, those of camera "
            f"{facts.camera.name} {expected[0]} x {expected[1]} (levels here are of the whole "
            "frame)",
            remedy="name the camera of these frames",
        )


def _readout(facts: Facts) -> Iterator[Finding]:
    try:
        check_frames(facts.campaign.stacks)
    except InputError as error:
        yield Finding(
            "problem",
            "readout",
            f"these frames do not go together: {error}",
            remedy="calibrate frames of each readout setting by themselves (--where)",
        )


def _single_frames(facts: Facts) -> Iterator[Finding]:
    single = [stack for stack in facts.stacks if stack.most_good < 2]
    if single:
        yield Finding(
            "problem",
            "frames",
            f"no pixel is good in two frames of {several(len(single), 'stack')}, "
            f"{named(single)}: nothing tells the noise there",
            remedy="add frames to them, or leave them out",
        )


def _gains(facts: Facts) -> Iterator[Finding]:
    inputs = facts.campaign.inputs
    odd = misfits(inputs, None, GAIN_TOLERANCE) if inputs else []
    far = [item.record.name for item, _ in odd]
    for stack in facts.stacks:
        if stack.gain_spread > GAIN_WARNING:
            refused = stack.gain_spread > GAIN_TOLERANCE
            named = {frame.name for frame in stack.frame_summaries}
            yield Finding(
                "problem" if refused else "warning",
                "gain",
                f"({stack}): the gains of its frames spread by {stack.gain_spread:.2%}"
                + ("" if refused else "; their mean is used"),
                tuple(name for name in far if name in named) if refused else (),
                "look for a wrong one in the headers",
            )


def _unlike(facts: Facts) -> Iterator[Finding]:
    odd = unlike(facts.campaign.inputs)
    if odd:
        item, reason = odd[0]
        yield Finding(
            "problem",
            "layout",
            f"{several(len(odd), 'frame', 'are')} not like the others, the first "
            f"{item.record.name}: {reason}",
            tuple(item.record.name for item, _ in odd),
            "copy them again, or leave them out",
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
            f"{several(len(divided), 'frame', 'are')} divided by the EM gain already, the first "
            f"{divided[0]} (levels here are multiplied by it again)",
            tuple(divided),
            "noise maps need frames in DN or EM electrons: give those",
        )


def _unknown_unit(facts: Facts) -> Iterator[Finding]:
    unknown = [item.record for item in facts.campaign.inputs if item.record.unit is Unit.UNKNOWN]
    if unknown:
        text = f"the unit {unknown[0].unit_text!r}" if unknown[0].unit_text else "no unit"
        yield Finding(
            "warning",
            "unit",
            f"{several(len(unknown), 'frame', 'have')} {text}, the first {unknown[0].name}; noise "
            "maps take them as EM electrons, traditional darks as detected electrons",
            tuple(record.name for record in unknown),
            "write the unit into their headers",
        )


def _mixed_units(facts: Facts) -> Iterator[Finding]:
    counts = Counter(item.record.unit for item in facts.campaign.inputs)
    if len(counts) > 1:
        known = ", ".join(f"{count} in {unit.value}" for unit, count in counts.most_common())
        yield Finding(
            "warning",
            "unit",
            f"the frames have different units: {known}",
            remedy="look whether all headers are right",
        )


# What makes the products worse


def _few_frames(facts: Facts) -> Iterator[Finding]:
    """Stacks of fewer frames than the makers of the camera recommend."""
    enough = facts.camera.frames.recommended
    counts = [stack.frames for stack in facts.stacks]
    few = sum(count < enough for count in counts) if enough is not None else 0
    if few:
        how = "all stacks have" if few == len(counts) else f"{few} of {len(counts)} stacks have"
        yield Finding(
            "note",
            "frames",
            f"{how} fewer than the {enough} frames that are recommended for {facts.camera.name} "
            f"(the smallest {min(counts)}); the maps will be noisier",
            remedy="emdarks plan predicts the errors",
        )


def _unflagged(facts: Facts) -> Iterator[Finding]:
    nowhere = not any(stack.cosmic_rays for stack in facts.stacks)
    bare = [stack for stack in facts.stacks if nowhere or stack.masked == 0]
    if bare:
        what = f"no pixel of any frame is flagged in {several(len(bare), 'stack')}, {named(bare)}"
        if any(stack.masked > 0 for stack in bare):
            what = "no sample is flagged as a cosmic ray (128), though others have flags"
        # Screening needs to know the noise of the frames' mode.
        known = not math.isnan(facts.camera.noise.read_noise)
        yield Finding(
            "warning",
            "flags",
            f"{what}; were cosmic rays looked for?",
            remedy="flag them" + (", or give --screen to emdarks noisemaps" if known else ""),
        )


def _much_masked(facts: Facts) -> Iterator[Finding]:
    heavy = [stack for stack in facts.stacks if stack.masked > MUCH_MASKED]
    if heavy:
        worst = max(stack.masked for stack in heavy)
        yield Finding(
            "warning",
            "masked",
            f"{several(len(heavy), 'stack', 'have')} more than {MUCH_MASKED:.0%} of their samples "
            f"masked, at most {worst:.1%}: {named(heavy)}",
            remedy="look at their flags; --mask-bits chooses which of them count",
        )


def _spoilt(facts: Facts, count: int) -> Severity:
    return "note" if count <= FEW_PIXELS * facts.pixels.imaging else "warning"


def _share(facts: Facts, count: int) -> str:
    return f"{several(count, 'pixel')} ({count / facts.pixels.imaging:.2%} of the imaging area)"


def _unfittable(facts: Facts) -> Iterator[Finding]:
    count = facts.pixels.unfittable
    if len(facts.stacks) >= 4 and count:
        yield Finding(
            _spoilt(facts, count),
            "masked",
            f"{_share(facts, count)} will have no value: good in fewer than four stacks",
        )


def _overfull(facts: Facts) -> Iterator[Finding]:
    """Unflagged samples that no camera can have measured rightly."""
    full = [stack for stack in facts.stacks if stack.overfull_pixels]
    if full:
        most = max(full, key=lambda stack: stack.overfull_pixels)
        count = most.overfull_pixels
        yield Finding(
            _spoilt(facts, count),
            "saturation",
            f"the mean of {_share(facts, count)}, hot ones as a rule, lies above the full well in "
            f"({most}){_elsewhere(full)}, and no flag says so; a camera measures too little there, "
            "and their maps will be too low",
            remedy="flag saturated samples (32): these stacks are then left out of the pixels' fit",
        )


def _partly_saturated(facts: Facts) -> Iterator[Finding]:
    """Pixels of which only the fainter samples count."""
    full = [
        stack
        for stack in facts.stacks
        # A whole frame that is saturated has a finding of its own.
        if stack.partly_saturated
        and not any(flagged_saturated(stack, frame) for frame in stack.frame_summaries)
    ]
    if full:
        most = max(full, key=lambda stack: stack.partly_saturated)
        count = most.partly_saturated
        yield Finding(
            _spoilt(facts, count),
            "saturation",
            f"{_share(facts, count)} {'is' if count == 1 else 'are'} saturated in some frames of "
            f"({most}) and not in others{_elsewhere(full)}; only the fainter samples count there, "
            "and their maps will be too low",
            remedy="treat them as hot pixels; a lower gain or a shorter time would measure them",
        )


def _cut_off(facts: Facts) -> Iterator[Finding]:
    """Samples at a ceiling of the camera."""
    cut = [stack for stack in facts.stacks if stack.cut_off_samples]
    if cut:
        most = max(cut, key=lambda stack: stack.cut_off_samples)
        count = most.cut_off_samples
        yield Finding(
            _spoilt(facts, count),
            "saturation",
            f"{several(count, 'sample')} of each frame ({count / facts.pixels.imaging:.2%} of the "
            f"imaging area) of ({most}) lie at its highest value{_elsewhere(cut)}: they are cut "
            "off, no flag says so, and their means are too low",
            remedy="flag such samples (32), or take a lower gain or a shorter time",
        )


def _elsewhere(stacks: Sequence[StackSummary]) -> str:
    return f", fewer in {several(len(stacks) - 1, 'other stack')}" if len(stacks) > 1 else ""


def _temperature(facts: Facts) -> Iterator[Finding]:
    # Single frames that are off have a finding of their own.
    odd = {id(frame) for _, frame in warm_or_cold(facts)[0]}
    values = [frame.temperature for _, frame in facts.places() if id(frame) not in odd]
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return
    low, high = min(known), max(known)
    if high - low > TEMPERATURE_SPREAD:
        yield Finding(
            "warning",
            "temperature",
            f"the detector temperature spreads by {high - low:.2f} degrees ({low:.2f} to "
            f"{high:.2f}); dark current depends on it",
            remedy="leave out frames that were taken before it had settled",
        )


# All of them

#: In the order of their findings, among those of one severity.
CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    _unusable,
    _odd_shapes,
    _geometry,
    _readout,
    unknown_settings,
    impossible_temperatures,
    can_be_fitted,
    _single_frames,
    _gains,
    _unlike,
    _divided,
    _unknown_unit,
    _mixed_units,
    photon_counted,
    bias_not_subtracted,
    noise_of_another,
    split_stacks,
    bad_frames,
    excursions,
    not_finite,
    drift,
    _temperature,
    ill_conditioned,
    short_stacks,
    incomplete_grid,
    _unflagged,
    _much_masked,
    _unfittable,
    _overfull,
    _partly_saturated,
    _cut_off,
    _few_frames,
)

#: What every recipe refuses by itself, before it reads pixels.
OF_RECIPE = (_unusable, _odd_shapes, _geometry, _readout, can_be_fitted, _divided)
#: What matters where F, C and D are fitted.
OF_FIT = (ill_conditioned, short_stacks, incomplete_grid, _unfittable)
