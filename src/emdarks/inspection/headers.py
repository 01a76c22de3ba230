"""Checks of what the headers do not tell, or tell and cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from emdarks.frames import FrameInput
from emdarks.inspection.facts import Facts
from emdarks.inspection.summary import Finding
from emdarks.inspection.words import several

__all__ = ["impossible_temperatures", "unknown_settings"]

#: How alike two keywords are of which one may be meant by the other.
_ALIKE = 0.6
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
    """Readout settings of the camera that no header tells: frames may differ in them.

    Frames of which some tell a setting and others do not are refused as different.
    """
    camera, inputs = facts.camera, facts.campaign.inputs
    known = {name for item in inputs for name, value in item.record.setting if value != "-"}
    unknown = [name for name in camera.settings if name not in known]
    if not (unknown and inputs):
        return
    item = inputs[0]
    used = {key for keywords in camera.settings.values() for key in keywords}
    told = [
        f"{name} (no {' or '.join(keywords)}{_instead(item, keywords, used)})"
        for name in unknown
        for keywords in [camera.settings[name]]
    ]
    yield Finding(
        "warning",
        "readout",
        f"the headers do not tell {several(len(told), 'readout setting')} of camera {camera.name}, "
        f"so frames that differ in them would be mixed; of {item.record.name}: {'; '.join(told)}",
        remedy=f'name the keywords in a camera file (like = "{camera.name}", [settings] name = '
        '"KEYWORD"), or there what a missing one means ([values] KEYWORD = { absent = 0 })',
    )


def _instead(item: FrameInput, keywords: Sequence[str], used: set[str]) -> str:
    """Cards of the header whose keywords are like those looked for."""
    cards = {
        key: header[key] for header in (item.headers["pri"], item.headers["ext"]) for key in header
    }
    others = [key for key in cards if key not in used]
    alike = {
        key: None for wanted in keywords for key in get_close_matches(wanted, others, 2, _ALIKE)
    }
    text = ", ".join(f"{key} = {cards[key]!r}" for key in alike)
    return f", but {text}" if text else ""
