"""Two data sheets beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from emdarks.datasheet.quantity import Quantity
from emdarks.datasheet.sheet import DataSheet

#: Beginning of the warning that names what `unlike` finds.
UNLIKE = "the two differ in more than time, and numbers may differ for that: "
#: Degrees between two means from which on the temperatures of sheets are said to differ.
_DEGREES = 1.0
#: Stacks that are named.
_MOST = 3


@dataclass(frozen=True, slots=True)
class Change:
    """A quantity of two data sheets.

    Attributes
    ----------
    before, after : Quantity or None
        Of the earlier, or other, sheet, and of this one; None where a sheet lacks it.
    difference, error : float
        After less before, and its 1-sigma error; NaN where one is not known.
    """

    before: Quantity | None
    after: Quantity | None
    difference: float = math.nan
    error: float = math.nan

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for numbers that are not known."""
        numbers = {
            "before": math.nan if self.before is None else self.before.value,
            "after": math.nan if self.after is None else self.after.value,
            "difference": self.difference,
            "error": self.error,
            "sigmas": self.sigmas,
        }
        names = {"key": self.quantity.key, "unit": self.quantity.unit}
        plain = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
        return names | {"setting": dict(self.quantity.setting)} | plain

    @property
    def told(self) -> bool:
        """Whether either sheet knows it."""
        return any(each is not None and each.known for each in (self.before, self.after))

    @property
    def quantity(self) -> Quantity:
        """One of both, for its names."""
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def sigmas(self) -> float:
        """The difference in standard errors; NaN where nothing tells."""
        return self.difference / self.error if self.error > 0 else math.nan


def changes(after: DataSheet, before: DataSheet) -> list[Change]:
    """Compare two data sheets, of two devices or of two dates.

    Parameters
    ----------
    after, before : DataSheet
        The sheets; a difference is the first less the second.

    Returns
    -------
    list of Change
        In the order of the first sheet; what the second alone has comes last.
    """
    earlier = {each.name: each for each in before.quantities}
    found = [_change(earlier.pop(each.name, None), each) for each in after.quantities]
    return found + [Change(each, None) for each in earlier.values()]


def _change(before: Quantity | None, after: Quantity) -> Change:
    """Errors of the sides of both intervals that face each other."""
    known = before is not None and before.known and after.known
    if before is None or not known or before.unit != after.unit:
        return Change(before, after)
    difference = after.value - before.value
    sides = [after.value - after.low, before.high - before.value]
    if difference < 0:
        sides = [after.high - after.value, before.value - before.low]
    return Change(before, after, difference, math.hypot(*sides))


def unlike(after: DataSheet, before: DataSheet) -> list[str]:
    """What else differs between two sheets, so that differences may be no change of the device.

    Parameters
    ----------
    after, before : DataSheet
        The sheets; each line names what the first has, then what the second has.

    Returns
    -------
    list of str
        Empty where camera, size of a frame, readout settings, stages of the gain register, units
        and, within a degree, temperatures are the same, and some stack of both, too.
    """
    found = (
        f"{what}: {one}, against {other}"
        for what, (one, other) in _compared(after, before)
        if one != other
    )
    return list(dict.fromkeys(found))


def _compared(after: DataSheet, before: DataSheet) -> Iterator[tuple[str, list[str]]]:
    """Name of what should be the same, and how each sheet has it."""
    both = after, before
    yield "camera", [each.camera for each in both]
    yield "size of a frame", [" x ".join(map(str, each.shape)) for each in both]
    for name in dict.fromkeys([*after.setting, *before.setting]):
        yield name, [each.setting.get(name, "not stated") for each in both]
    if not any(math.isnan(each.stages) for each in both):
        words = [f"{s.stages:g}" if math.isfinite(s.stages) else "very many" for s in both]
        yield "stages of the gain register", words
    earlier = {each.name: each.unit for each in before.quantities}
    for each in after.quantities:
        yield f"unit of {each.label}", [each.unit, earlier.get(each.name, each.unit)]
    degrees = [_temperature(each) for each in both]
    if abs(degrees[0] - degrees[1]) >= _DEGREES:
        yield "mean temperature", [f"{each:.1f} °C" for each in degrees]
    stacks = [{(row.commanded_gain, row.exposure_time) for row in each.stacks} for each in both]
    if not stacks[0] & stacks[1]:
        yield "EM gains and times of the stacks", [_settings(each) for each in stacks]


def _temperature(sheet: DataSheet) -> float:
    """Mean over the frames whose temperature is known; NaN where none is."""
    known = [row for row in sheet.stacks if math.isfinite(row.temperature)]
    frames = sum(row.frames for row in known)
    return sum(row.frames * row.temperature for row in known) / frames if frames else math.nan


def _settings(stacks: set[tuple[float, float]]) -> str:
    """The first few stacks."""
    named = [f"{gain:g}, {time:g} s" for gain, time in sorted(stacks)]
    return "; ".join(named if len(named) <= _MOST else [*named[:_MOST], "..."])
