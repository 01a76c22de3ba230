"""One number of a data sheet: with its error, its interval, where it is from, and its plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Protocol, Self

#: Share of trials in which an interval of one standard error holds the true value.
COVERAGE = 0.6827
#: Three times as many frames again halve an error that falls with the root of their number.
MORE_TO_HALVE = 3

_NUMBERS = ("value", "error", "low", "high", "frames_to_halve")


class Estimate(Protocol):
    """A number with its error and its interval."""

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def error(self) -> float: ...  # noqa: D102
    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity of a data sheet.

    Attributes
    ----------
    key : str
        Name in JSON, in snake case.
    label : str
        Name on the page.
    unit : str
        Unit of all its numbers; empty for a ratio or a count.
    value : float
        NaN where it cannot be known; ``note`` says why.
    error : float
        1-sigma error; NaN where there is none, or an interval alone.
    low, high : float
        Interval that holds the true value in 68.27 % of all such measurements.
    source : str
        What it was taken from, in one sentence.
    note : str
        A caveat, or why it is not known.
    setting : mapping of str to float or str
        Of which stack or mode it is: ``em_gain``, ``exposure_time`` (s), ...; empty for the
        whole device.
    frames_to_halve : float
        How many more frames like these halve its error; NaN where frames do not help, or where
        that is not known.
    """

    key: str
    label: str
    unit: str
    value: float
    error: float
    low: float
    high: float
    source: str
    note: str = ""
    setting: Mapping[str, float | str] = field(default_factory=dict)
    frames_to_halve: float = math.nan

    @classmethod
    def measured(
        cls,
        key: str,
        label: str,
        unit: str,
        value: float,
        error: float,
        source: str,
        *,
        frames: int = 0,
        falling: float = 1.0,
        note: str = "",
        setting: Mapping[str, float | str] | None = None,
    ) -> Self:
        """A value with an error that is the same on both sides.

        Parameters
        ----------
        key, label, unit, value, error, source, note, setting
            As the attributes.
        frames : int
            Frames that the error falls with, by the root of their number; 0 where it does not.
        falling : float
            Share of the square of the error that does; the rest, such as how pixels differ, stays.
        """
        value, error = float(value), float(error)
        # A square of s + f / N is a quarter of what it was, if f is more than three quarters.
        helps = MORE_TO_HALVE * falling - MORE_TO_HALVE + falling
        more = MORE_TO_HALVE * frames / helps if frames and error > 0 and helps > 0 else math.nan
        ends = value - error, value + error
        return cls(key, label, unit, value, error, *ends, source, note, setting or {}, more)

    @classmethod
    def estimated(
        cls,
        key: str,
        label: str,
        unit: str,
        estimate: Estimate,
        source: str,
        *,
        frames: int = 0,
        falling: float = 1.0,
        note: str = "",
        setting: Mapping[str, float | str] | None = None,
    ) -> Self:
        """A value with an interval that need not be symmetric; arguments as of `measured`."""
        found = cls.measured(
            key, label, unit, estimate.value, estimate.error, source,
            frames=frames, falling=falling, note=note, setting=setting,
        )  # fmt: skip
        return replace(found, low=float(estimate.low), high=float(estimate.high))

    @classmethod
    def unknown(
        cls,
        key: str,
        label: str,
        unit: str,
        note: str,
        setting: Mapping[str, float | str] | None = None,
    ) -> Self:
        """One that cannot be known, and why."""
        none = math.nan
        return cls(key, label, unit, none, none, none, none, "", note, setting or {})

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.value)

    @property
    def name(self) -> tuple[str, tuple[tuple[str, float | str], ...]]:
        """Key and setting: two sheets have the same quantity where these are equal."""
        return self.key, tuple(sorted(self.setting.items()))

    @property
    def of(self) -> str:
        """The setting in words, EM gain and time first; empty for the whole device."""
        units = {"exposure_time": " s"}
        return ", ".join(
            value if isinstance(value, str) else f"{value:g}{units.get(name, '')}"
            for name, value in self.setting.items()
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for numbers that are not known."""
        values = asdict(self) | {"setting": dict(self.setting)}
        for name in _NUMBERS:
            values[name] = values[name] if math.isfinite(values[name]) else None
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The quantity that `as_dict` made these values of.

        Raises
        ------
        TypeError, KeyError, ValueError
            The values are of something else.
        """
        found = {each.name: values[each.name] for each in fields(cls)}
        for name in _NUMBERS:
            found[name] = math.nan if found[name] is None else float(found[name])
        found["setting"] = dict(found["setting"])
        return cls(**found)
