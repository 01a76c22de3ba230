"""Checks of what the headers do not tell, or tell and cannot be."""

from __future__ import annotations

from collections.abc import Iterator

from emdarks.checks.context import Facts
from emdarks.checks.formatting import several
from emdarks.checks.summary import Finding
from emdarks.stacks.unstated import untold_remedy, untold_settings

__all__ = ["impossible_temperatures", "unknown_settings"]

_KELVIN = (70.0, 330.0)


def impossible_temperatures(facts: Facts) -> Iterator[Finding]:
    """Temperatures that no detector has."""
    odd = [item.record for item in facts.campaign.inputs if item.record.odd_temperature]
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


def unknown_settings(facts: Facts) -> Iterator[Finding]:
    """Readout settings of the camera that no header tells: frames may differ in them."""
    camera, inputs = facts.camera, facts.campaign.inputs
    told = untold_settings(camera, inputs)
    if told:
        yield Finding(
            "warning",
            "readout",
            f"the headers do not tell {several(len(told), 'readout setting')} of camera "
            f"{camera.name}, so frames that differ in them would be mixed; of "
            f"{inputs[0].record.name}: {'; '.join(told)}",
            remedy=untold_remedy(camera),
        )
