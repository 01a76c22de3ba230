"""Checks of what was measured against what the camera file says.

Each is a function from the context to findings, as in `findings`. Figures of a camera file are
typical ones: only what no detector of that kind does is a problem.
"""

from __future__ import annotations

import math

from emdarks.accumulate import FrameFigures
from emdarks.cameras import NoiseFigures
from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.formatting import named, several
from emdarks.checks.frame_statistics import finite_median
from emdarks.checks.summary import StackSummary
from emdarks.checks.thresholds import FAR_FROM_ZERO
from emdarks.stacks import bias_text
from emdarks.stacks.read_noise import FAR_NOISE, bulk_noise, shows_read_noise

#: Relative rounding of what sums tell of samples that are all 0 or 1.
_ROUNDING = 1e-6
#: Numbers that stand for a count.
ONES = (1.0, 255.0)


def photon_counted(context: Context) -> Findings:
    """Frames whose samples are 0 or 1, and others that are said to be."""
    counts, others = [], []
    for of_frames, stack in zip(context.campaign.stacks, context.stacks, strict=False):
        told = of_frames.frames[0].record.counted
        for frame in stack.frame_summaries if stack.em_gain > 0 else ():
            if told is None:
                seen = _is_thresholded(frame.figures, stack.k_gain, stack.em_gain)
                counts += [frame.name] if seen else []
            elif told.value == "count" and not holds_counts(frame.figures, stack.em_gain):
                others.append(frame.name)
    if counts:
        yield Finding(
            "problem",
            "level",
            f"all samples of {several(len(counts), 'frame', 'are')} 0 or 1, the first {counts[0]}: "
            "photon-counted frames are no analog ones",
            tuple(counts),
            "give the frames from before the threshold, or say in a camera file how they are "
            "counted ([counting])",
        )
    if others:
        yield Finding(
            "problem",
            "level",
            f"{several(len(others), 'frame', 'hold')} other numbers than counts, the first "
            f"{others[0]}, and camera {context.camera.name} has them as counted",
            tuple(others),
            "look at [counting] of the camera file: which frames it names, and what one count is",
        )


def holds_counts(frame: FrameFigures, one: float) -> bool:
    """Whether all good samples of a frame are 0 or one number; all may be 0.

    Parameters
    ----------
    frame : FrameFigures
        The frame.
    one : float
        What a count has become in the unit of the figures.
    """
    empty = frame.highest == 0 and frame.scatter == 0
    counts = _is_near(frame.step, one) and _is_near(frame.highest, one)
    return empty or math.isnan(frame.highest) or counts


def _is_thresholded(frame: FrameFigures, k_gain: float, em_gain: float) -> bool:
    """Whether all good samples are 0 or 1 (or 255), less a bias perhaps, and some are each."""
    step, low = frame.step, frame.highest - frame.step
    # What 1 DN, 1 EM electron or 1 detected electron may be in any of these units.
    units = (1.0, k_gain, em_gain, 1 / em_gain, k_gain / em_gain)
    return low <= _ROUNDING * step and any(
        _is_near(step, one * unit) for one in ONES for unit in units
    )


def _is_near(number: float, other: float) -> bool:
    return math.isclose(number, other, rel_tol=_ROUNDING)


def bias_not_subtracted(context: Context) -> Findings:
    """Prescans that lie where only a bias level can put them."""
    camera = context.camera
    for sorted_stack, stack in zip(context.campaign.stacks, context.stacks, strict=False):
        level = finite_median([frame.figures.prescan_level for frame in stack.frame_summaries])
        first = sorted_stack.frames[0].record
        noise = camera.noise_in(first.mode).read_noise
        if bias_text(sorted_stack, camera) is None and abs(level) > FAR_FROM_ZERO * noise:
            yield Finding(
                "problem",
                "bias",
                f"the prescan lies at {level:.5g} EM electrons in {first.name} and others like it, "
                f"and camera {camera.name} has frames whose bias is subtracted",
                remedy="give such frames (level L2a), or a camera file that says how to subtract "
                "it ([bias])",
            )
            return


def noise_of_another(context: Context) -> Findings:
    """Stacks whose noise is far from what the camera file says of frames of their mode."""
    noise = context.camera.noise
    if not noise.read_noise > 0:
        return  # no figure for these frames
    far = [(ratio, stack) for stack in context.of_samples() if (ratio := _far(stack, noise))]
    if far:
        ratio = max((each for each, _ in far), key=lambda each: abs(math.log(each)))
        measured = ratio * noise.read_noise
        yield Finding(
            "problem",
            "noise",
            f"the noise of {several(len(far), 'stack')} is far from the camera's, "
            f"{named(each for _, each in far)}: {measured:.3g} EM electrons a sample, "
            f"{_times(ratio)} the read noise of {noise.read_noise:g} that camera "
            f"{context.camera.name} states" + _likely(ratio),
            remedy="look whether this is the camera and the readout mode of these frames, whether "
            "k-gain and unit are right, and whether numbers were scaled; or mend read_noise in "
            "the camera file",
        )


def _far(stack: StackSummary, noise: NoiseFigures) -> float:
    """Measured over stated noise, where they are far apart; else 0.

    Below: read noise alone is a bound that every sample exceeds. Above: amplified charge adds
    to it, so that only stacks in which even much charge adds little can tell.
    """
    figures = [frame.figures for frame in stack.frame_summaries]
    least = bulk_noise(stack.typical_noise, figures) / noise.read_noise
    most = stack.typical_noise / noise.read_noise
    if 0 < most < 1 / FAR_NOISE:
        return most
    charge = noise.clock_induced_charge + noise.dark_current * stack.exposure_time
    low = shows_read_noise(stack.em_gain, charge, noise.read_noise)
    return least if least > FAR_NOISE and low else 0.0


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if ratio > 1 else f"1/{1 / ratio:.3g} of"


def _likely(ratio: float) -> str:
    """What a factor is known for."""
    for factor, words in (
        (4.0, "14 bits stored in the upper ones of 16 give a factor of 4"),
        (16.0, "12 bits stored in the upper ones of 16 give a factor of 16"),
        (1 / 65535, "numbers scaled to 0 to 1 give a factor of 1/65535"),
    ):
        if abs(math.log(ratio / factor)) < 0.25:
            return f" ({words})"
    return ""
