"""What the value of a header card means: its unit, its marks for "unknown", its spelling.

Times become seconds, temperatures degrees Celsius, rates MHz, sensitivities electrons
per DN and dates MJD.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

#: What a card may hold.
Scalar = bool | int | float | str

_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
#: Relative difference up to which numbers of a setting count as equal: rates are computed
#: from readout times that headers round.
_TOLERANCE = 0.02


class _Conversion(NamedTuple):
    """From the unit of a header to ours and back."""

    quantity: str
    to: Callable[[Any], float]
    back: Callable[[float], Any]


def _times(quantity: str, factor: float) -> _Conversion:
    return _Conversion(quantity, lambda x: float(x) * factor, lambda x: x / factor)


def _over(quantity: str, factor: float) -> _Conversion:
    def invert(x: Any) -> float:
        return factor / float(x) if float(x) else math.inf

    return _Conversion(quantity, invert, invert)


def _plus(quantity: str, offset: float) -> _Conversion:
    return _Conversion(quantity, lambda x: float(x) + offset, lambda x: x - offset)


def _from_iso(text: Any) -> float:
    moment = datetime.fromisoformat(str(text).strip())
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) / timedelta(days=1)


def _to_iso(mjd: float) -> str:
    moment = _EPOCH + timedelta(days=mjd)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


#: Units that a camera file may name, by what they measure.
UNITS: dict[str, _Conversion] = {
    "s": _times("time", 1.0),
    "ms": _times("time", 1e-3),
    "us": _times("time", 1e-6),
    "min": _times("time", 60.0),
    "C": _plus("temperature", 0.0),
    "K": _plus("temperature", -273.15),
    "MHz": _times("rate", 1.0),
    "kHz": _times("rate", 1e-3),
    "Hz": _times("rate", 1e-6),
    "s/pixel": _over("rate", 1e-6),
    "us/pixel": _over("rate", 1.0),
    "e/DN": _times("sensitivity", 1.0),
    "DN/e": _over("sensitivity", 1.0),
    "MJD": _plus("date", 0.0),
    "JD": _plus("date", -2400000.5),
    "ISO": _Conversion("date", _from_iso, _to_iso),
}


#: Other spellings of them, in lower case.
_SPELLINGS = {
    **{unit.lower(): unit for unit in UNITS if unit not in ("MJD", "JD", "ISO", "DN/e", "e/DN")},
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("usec", "microsecond", "microseconds", "µs"), "us"),
    **dict.fromkeys(("minute", "minutes"), "min"),
    **dict.fromkeys(("deg c", "degc", "deg. c", "°c", "celsius"), "C"),
    **dict.fromkeys(("deg k", "kelvin"), "K"),
}
_WITH_UNIT = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*?)\s*")


def number_with_unit(raw: Any, quantity: str = "") -> float:
    """The number that a text like "30 MHz" says, in our unit; NaN where it says none.

    Parameters
    ----------
    raw : object
        Value of a card.
    quantity : str
        What the unit must measure; anything by default.
    """
    found = _WITH_UNIT.fullmatch(raw) if isinstance(raw, str) else None
    unit = UNITS.get(_SPELLINGS.get(found[2].lower(), "")) if found else None
    if found is None or unit is None or quantity not in ("", unit.quantity):
        return math.nan
    return unit.to(float(found[1]))


@dataclass(frozen=True)
class Value:
    """How to understand the value of one keyword.

    Attributes
    ----------
    unit : str
        One of ``UNITS``; empty means our own unit for it.
    unknown : tuple
        Values that stand for "not known", such as -999.
    decimal_comma : bool
        Numbers may be texts, with a decimal comma or point.
    absent : bool, int, float, str or None
        What a frame has whose header lacks the keyword, such as 0 for a flip or 1 for a
        binning: for settings that older headers do not name.
    """

    unit: str = ""
    unknown: tuple[Scalar, ...] = ()
    decimal_comma: bool = False
    absent: Scalar | None = None

    def __post_init__(self) -> None:
        if self.unit and self.unit not in UNITS:
            raise ValueError(f"unit is {self.unit!r}; known are {', '.join(UNITS)}")

    def is_unknown(self, raw: Any) -> bool:
        """Whether a card says that nobody knows."""
        if raw is None or not self.unknown:
            return raw is None
        return any(same(raw, mark, tolerance=1e-6) for mark in self.unknown)

    def number(self, raw: Any) -> float:
        """The value of a card in our unit; NaN where it is unknown or no number."""
        if self.is_unknown(raw):
            return math.nan
        try:
            if self.unit == "ISO":
                return _from_iso(raw)
            stated = number_with_unit(raw, self.quantity)
            if math.isfinite(stated):
                return stated
            plain = self._plain(raw)
            return UNITS[self.unit].to(plain) if self.unit else plain
        except (TypeError, ValueError, OverflowError):
            return math.nan

    def _plain(self, raw: Any) -> float:
        if isinstance(raw, str) and self.decimal_comma:
            return float(raw.replace(",", "."))
        if isinstance(raw, (bool, str)):
            return math.nan
        return float(raw)

    def stored(self, number: float) -> Any:
        """What a header holds for a number in our unit."""
        conversion = UNITS.get(self.unit)
        return number if conversion is None else conversion.back(number)

    @property
    def quantity(self) -> str:
        """What its unit measures; empty where no unit is given."""
        return UNITS[self.unit].quantity if self.unit else ""


def _as_number(value: Any) -> float:
    if isinstance(value, bool):
        return math.nan
    try:
        return float(str(value).strip().removesuffix("x"))
    except ValueError:
        return number_with_unit(value)


def same(one: Any, other: Any, tolerance: float = _TOLERANCE) -> bool:
    """Whether two settings are the same: numbers nearly, texts but for case and spaces.

    Whole numbers must be equal: serial numbers differ by little. A text that is a number
    counts as one, also in the forms "2.4x" and "30 MHz".
    """
    a, b = _as_number(one), _as_number(other)
    if math.isfinite(a) and math.isfinite(b):
        if a.is_integer() and b.is_integer():
            return a == b
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-12)
    return text_of(one).casefold() == text_of(other).casefold()


def text_of(value: Any) -> str:
    """A setting in words, numbers that are not whole with four digits."""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return " ".join(str(value).split())
