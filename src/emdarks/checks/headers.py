"""Checks of what headers tell, or do not tell, before a pixel is read."""

from __future__ import annotations

from collections import Counter

from emdarks.cameras import Unit
from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.formatting import several
from emdarks.checks.unstated_settings import remedy_of_unstated, unstated_settings
from emdarks.detector import frame_shape
from emdarks.errors import InputError
from emdarks.stacks import check_frames
from emdarks.stacks.group import GAIN_TOLERANCE, GAIN_WARNING
from emdarks.stacks.outlier_frames import misfits, nearly_equal_times, unlike


def unusable_headers(context: Context) -> Findings:
    """Frames whose headers cannot be understood."""
    unusable = context.campaign.unusable
    if unusable:
        yield Finding(
            "problem",
            "headers",
            f"{several(len(unusable), 'frame', 'are')} left out here, for what is in them cannot "
            f"be used: {unusable[0][1]}",
            tuple(name for name, _ in unusable),
            "copy damaged files again, mend headers or the camera file, or leave them out "
            "(emdarks noisemaps --skip-bad-frames)",
        )


def odd_shapes(context: Context) -> Findings:
    """Frames of another shape than most."""
    odd = context.campaign.odd_shapes
    if odd:
        rows, cols = context.campaign.shape
        name, shape = odd[0]
        yield Finding(
            "problem",
            "shape",
            f"{several(len(odd), 'frame', 'have')} not the {rows} x {cols} pixels of the others, "
            f"the first {shape[0]} x {shape[1]}: {name}; left out here",
            tuple(name for name, _ in odd),
            "leave them out",
        )


def other_geometry(context: Context) -> Findings:
    """Frames of another shape than those of the camera."""
    expected = frame_shape(context.camera.arrtype, context.camera.regions)
    shape = context.campaign.shape
    if context.campaign.inputs and shape != expected:
        yield Finding(
            "problem",
            "camera",
            f"the frames have {shape[0]} x {shape[1]} pixels, those of camera "
            f"{context.camera.name} {expected[0]} x {expected[1]} (levels here are of the whole "
            "frame)",
            remedy="name the camera of these frames",
        )


def different_readout(context: Context) -> Findings:
    """Frames of different readout settings, and frames that are no darks."""
    try:
        check_frames(context.campaign.stacks)
    except InputError as error:
        yield Finding(
            "problem",
            "readout",
            f"these frames do not go together: {error}",
            remedy="calibrate frames of each readout setting by themselves (--where)",
        )


def unknown_settings(context: Context) -> Findings:
    """Readout settings of the camera that no header tells: frames may differ in them."""
    camera, inputs = context.camera, context.campaign.inputs
    unstated = unstated_settings(camera, inputs)
    if unstated:
        yield Finding(
            "warning",
            "readout",
            f"the headers do not tell {several(len(unstated), 'readout setting')} of camera "
            f"{camera.name}, so frames, or frames and a dark, that differ in them are not told "
            f"apart; of {inputs[0].record.name}: {'; '.join(unstated)}",
            remedy=remedy_of_unstated(camera),
        )


def spread_gains(context: Context) -> Findings:
    """Stacks whose measured gains differ from frame to frame."""
    inputs = context.campaign.inputs
    odd = misfits(inputs, None, GAIN_TOLERANCE) if inputs else []
    far = {id(item) for item, _ in odd}
    for stack in context.campaign.stacks:
        if stack.gain_spread > GAIN_WARNING:
            refused = stack.gain_spread > GAIN_TOLERANCE
            yield Finding(
                "problem" if refused else "warning",
                "gain",
                f"(gain {stack.commanded_gain:g}, {stack.exposure_time:g} s): the gains of its "
                f"frames spread by {stack.gain_spread:.2%}"
                + ("" if refused else "; their mean is used"),
                tuple(i.record.name for i in stack.frames if id(i) in far) if refused else (),
                "look for a wrong one in the headers",
            )


def unlike_others(context: Context) -> Findings:
    """Frames without errors or flags that the others have, or of another camera."""
    odd = unlike(context.campaign.inputs)
    if odd:
        item, reason = odd[0]
        yield Finding(
            "problem",
            "layout",
            f"{several(len(odd), 'frame', 'are')} not like the others, the first "
            f"{item.record.name}: {reason.partition(';')[0]}",
            tuple(item.record.name for item, _ in odd),
            "copy them again, or leave them out",
        )


def divided_by_gain(context: Context) -> Findings:
    """Frames in detected electrons, where EM electrons are needed."""
    divided = [
        item.record.name
        for stack in context.campaign.stacks
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


def counted_frames(context: Context) -> Findings:
    """Frames whose electrons are counted, where samples are needed."""
    counted = [item.record for item in context.campaign.inputs if item.record.counted is not None]
    if counted:
        single = all(each.counted is not None and each.counted.value == "count" for each in counted)
        use = (
            "count these frames (emdarks dark --photon-counting)"
            if single
            else "take a photon-counted dark off these frames (emdarks subtract)"
        )
        yield Finding(
            "problem",
            "unit",
            f"{several(len(counted), 'frame', 'hold')} {counted[0].counted}, the first "
            f"{counted[0].name} (levels here are times the EM gain): noise maps and traditional "
            "darks need samples",
            tuple(record.name for record in counted),
            f"{use}, or give those from before the threshold",
        )


def unknown_unit(context: Context) -> Findings:
    """Frames whose headers give no unit, or one that is not known."""
    unknown = [item.record for item in context.campaign.inputs if item.record.unit is Unit.UNKNOWN]
    if unknown:
        text = f"the unit {unknown[0].unit_text!r}" if unknown[0].unit_text else "no unit"
        yield Finding(
            "warning",
            "unit",
            f"{several(len(unknown), 'frame', 'have')} {text}, the first {unknown[0].name}; noise "
            "maps take them as EM electrons, traditional darks and what subtracts darks as "
            "detected electrons",
            tuple(record.name for record in unknown),
            "write the unit into their headers",
        )


def different_units(context: Context) -> Findings:
    """Frames of different units."""
    counts = Counter(item.record.unit for item in context.campaign.inputs)
    if len(counts) > 1:
        known = ", ".join(f"{count} in {unit.value}" for unit, count in counts.most_common())
        yield Finding(
            "warning",
            "unit",
            f"the frames have different units: {known}",
            remedy="look whether all headers are right",
        )


def split_stacks(context: Context) -> Findings:
    """Stacks whose exposure times hardly differ."""
    text = nearly_equal_times(context.campaign.stacks)
    if text:
        yield Finding("warning", "time", text, remedy="if they are one, correct the headers")
