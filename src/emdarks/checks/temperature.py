"""Checks of the detector's temperature, as headers tell it."""

from __future__ import annotations

import math

import numpy as np

from emdarks.checks.context import Context, Place
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.formatting import in_stacks, leave_out, several
from emdarks.checks.frame_statistics import finite_median, robust_deviation
from emdarks.checks.summary import StackSummary
from emdarks.checks.thresholds import (
    EXCURSION,
    EXCURSION_SIGMAS,
    FRAMES_TO_COMPARE,
    TEMPERATURE_SPREAD,
)

_KELVIN = (70.0, 330.0)


def impossible_temperatures(context: Context) -> Findings:
    """Temperatures that no detector has."""
    odd = [item.record for item in context.campaign.inputs if item.record.odd_temperature]
    if not odd:
        return
    keyword, _, value = odd[0].odd_temperature.partition(" = ")
    kelvin = _is_between(value, _KELVIN)
    yield Finding(
        "warning",
        "temperature",
        f"{several(len(odd), 'frame', 'have')} a temperature that no detector has, "
        f"{odd[0].odd_temperature} in {odd[0].name}: taken as unknown",
        tuple(record.name for record in odd),
        f'if it is in kelvin, say so in the camera file: [values] {keyword} = {{ unit = "K" }}'
        if kelvin
        else f"name the mark in the camera file: [values] {keyword} = {{ unknown = [{value}] }}",
    )


def _is_between(text: str, limits: tuple[float, float]) -> bool:
    try:
        return limits[0] <= float(text) <= limits[1]
    except ValueError:
        return False


def excursions(context: Context) -> Findings:
    """Frames at another temperature than the others of their stack."""
    odd, limit = _warm_or_cold(context)
    if odd:
        stack, most = odd[0]
        where = in_stacks(stack for stack, _ in odd)
        yield Finding(
            "warning",
            "temperature",
            f"{several(len(odd), 'frame', 'are')} more than {limit:.2g} degrees off the "
            f"temperature of the rest of the stack {where}, the most at "
            f"{most.temperature:.2f} instead of {_usual(stack):.2f}",
            tuple(frame.name for _, frame in odd),
            leave_out(len(odd), "at the cooling; dark current depends on temperature"),
        )


def _warm_or_cold(context: Context) -> tuple[list[Place], float]:
    """Frames that are too warm or too cold, the most so first, and from how many degrees on."""
    offsets = {
        id(frame): frame.temperature - _usual(stack)
        for stack in context.stacks
        if stack.frames >= FRAMES_TO_COMPARE
        for frame in stack.frame_summaries
    }
    known = np.array([offset for offset in offsets.values() if math.isfinite(offset)])
    if not known.size:
        return [], EXCURSION
    limit = max(EXCURSION, EXCURSION_SIGMAS * robust_deviation(known))
    odd = [place for place in context.places() if abs(offsets.get(id(place[1]), 0.0)) > limit]
    return sorted(odd, key=lambda place: -abs(offsets[id(place[1])])), limit


def _usual(stack: StackSummary) -> float:
    return finite_median([frame.temperature for frame in stack.frame_summaries])


def unsteady_temperature(context: Context) -> Findings:
    """A spread of temperatures over the campaign."""
    # Single frames that are off have a finding of their own.
    odd = {id(frame) for _, frame in _warm_or_cold(context)[0]}
    values = [frame.temperature for _, frame in context.places() if id(frame) not in odd]
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
