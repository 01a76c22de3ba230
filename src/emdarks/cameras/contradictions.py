"""A keyword that stands in the headers of a frame more than once, with different values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from emdarks.cameras.units import Value, text_of
from emdarks.errors import InputError

#: Relative difference up to which two numbers are one: headers round them.
_ROUNDING = 1e-6
_PLACES = ("the header of the image", "the primary header")


class _Card(NamedTuple):
    value: Any
    place: str


def refuse_contradictions(
    name: str, headers: tuple[Mapping[str, Any], ...], keyword: str, meaning: Value
) -> None:
    """Refuse a frame whose headers say two things of one keyword.

    Values that stand for unknown, and empty ones, say nothing.

    Parameters
    ----------
    name : str
        The frame, for messages.
    headers : tuple of mappings
        Image header, primary header; one object twice where they are the same.
    keyword : str
        The keyword.
    meaning : Value
        What its value means.

    Raises
    ------
    InputError
        Names both values and where they stand.
    """
    cards = _cards(headers, keyword)
    if len(cards) < 2:
        return
    known = [card for card in cards if not meaning.is_unknown(card.value)]
    for card in known[1:]:
        if not _equal(known[0].value, card.value, meaning):
            raise InputError(f"{name}: {keyword} is {_both(known[0], card)}; correct one of them")


def _cards(headers: tuple[Mapping[str, Any], ...], keyword: str) -> list[_Card]:
    """Every card of a keyword, and the header that it stands in."""
    found = []
    for i, header in enumerate(headers):
        if keyword not in header or any(header is earlier for earlier in headers[:i]):
            continue
        place = _PLACES[i] if i < len(_PLACES) else "a header"
        found += [_Card(value, place) for value in _values(header, keyword)]
    return found


def _values(header: Any, keyword: str) -> list[Any]:
    """Values of a keyword in one header: headers of FITS files may have it more than once."""
    if hasattr(header, "values_of"):
        return list(header.values_of(keyword))
    if hasattr(header, "count") and hasattr(header, "cards"):
        return [header[keyword, i] for i in range(header.count(keyword))]
    return [header[keyword]]


def _equal(one: Any, other: Any, meaning: Value) -> bool:
    if type(one) is type(other) and one == other:
        return True
    a, b = meaning.number(one), meaning.number(other)
    if math.isfinite(a) and math.isfinite(b):
        return math.isclose(a, b, rel_tol=_ROUNDING, abs_tol=1e-12)
    return text_of(one).casefold() == text_of(other).casefold()


def _both(one: _Card, other: _Card) -> str:
    if one.place == other.place:
        return f"{one.value!r} and {other.value!r} in {one.place}, which has it twice"
    return f"{one.value!r} in {one.place} and {other.value!r} in {other.place}"
