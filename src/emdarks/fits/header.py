"""Headers kept as shared card texts.

A campaign has tens of thousands of headers that differ in a handful of cards.
Each header is kept as a tuple of card texts that are shared between frames:
about a kilobyte and a half a frame, where parsed headers take a hundred. A card is
parsed (by astropy) when its value is asked for.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from emdarks.fits import astropy_fits as fits

_WIDTH = 80
_COMMENTARY = frozenset({"", "COMMENT", "HISTORY"})


#: Other bytes than printable ASCII become question marks.
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord("?") for byte in range(256))
_BEGUN = re.compile(r"(?:[^ =]{1,8} *= |HIERARCH [^=]*= |CONTINUE) *'.*&' *(?:/.*)?")
_CONTINUED = re.compile(r"CONTINUE *'.*' *(?:/.*)?")


def _goes_on(text: str, card: str) -> bool:
    """Whether a CONTINUE card goes on with the text of the card before."""
    return bool(_BEGUN.fullmatch(text) and _CONTINUED.fullmatch(card))


def _comment(text: str) -> str:
    return f"COMMENT {text[: _WIDTH - 8]}".ljust(_WIDTH)


def _storable(keyword: Any, value: Any) -> tuple[Any, Any]:
    """A card of a mapping; FITS has no NaN and no infinity, so those stand there as a text."""
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return keyword, str(value)
    return keyword, value


def _mended(card: Any) -> str:
    try:
        return str(card)
    except (fits.VerifyError, ValueError):
        return _comment(f"{card.keyword} is damaged")


@lru_cache(maxsize=8192)
def _is_readable(text: str) -> bool:
    card = fits.Card.fromstring(text)
    try:
        card.verify("silentfix+ignore")
        _ = card.value, str(card)
    except (fits.VerifyError, ValueError):
        return False
    return True


@lru_cache(maxsize=8192)
def _value(text: str) -> Any:
    card = fits.Card.fromstring(text)
    try:
        try:
            value = card.value
        except fits.VerifyError:  # not as the standard has it, like 12:30:00 without quotes
            card.verify("silentfix+ignore")
            value = card.value
    except (fits.VerifyError, ValueError):  # beyond repair: the text as it stands there
        return text[10:].strip()
    return None if isinstance(value, fits.card.Undefined) else value


@lru_cache(maxsize=1024)
def _card_text(keyword: str, value: Any, comment: str) -> str:
    return str(fits.Card(keyword, value, comment))


@lru_cache(maxsize=1024)
def _hierarch_keyword(text: str) -> str:
    return str(fits.Card.fromstring(text).keyword).upper()


def _keyword(text: str) -> str:
    return _hierarch_keyword(text) if text.startswith("HIERARCH ") else text[:8].rstrip().upper()


@lru_cache(maxsize=256)
def _positions(keywords: tuple[str, ...]) -> dict[str, int]:
    """First position of each keyword, shared by all headers of one structure."""
    return {keyword: i for i, keyword in reversed(list(enumerate(keywords)))}


@lru_cache(maxsize=256)
def _repeated(keywords: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Positions of the keywords that stand there more than once, commentary apart."""
    places: dict[str, list[int]] = {}
    for i, keyword in enumerate(keywords):
        if keyword not in _COMMENTARY:
            places.setdefault(keyword, []).append(i)
    return {keyword: tuple(found) for keyword, found in places.items() if len(found) > 1}


class Cards(Mapping[str, Any]):
    """A read-only header: a tuple of card texts.

    Parameters
    ----------
    texts : iterable of str
        Cards of 80 characters; a long string's CONTINUE cards belong to one text.
    """

    __slots__ = ("_index", "_repeats", "texts")

    def __init__(self, texts: tuple[str, ...]):
        self.texts = tuple(sys.intern(text) for text in texts)
        keywords = tuple(sys.intern(_keyword(text)) for text in self.texts)
        self._index, self._repeats = _positions(keywords), _repeated(keywords)

    @classmethod
    def from_bytes(cls, block: bytes) -> Cards:
        """Cut a header as it stands in a file, padding included, into cards."""
        # Other bytes than printable ASCII become question marks, as astropy reads them.
        text = block.translate(_PRINTABLE).decode("ascii")
        texts: list[str] = []
        for start in range(0, len(text), _WIDTH):
            card = text[start : start + _WIDTH]
            if card.rstrip() == "END":
                break
            if card.startswith("CONTINUE"):
                if texts and _goes_on(texts[-1][-_WIDTH:], card):
                    texts[-1] += card
                else:  # of a text that is none
                    texts.append(_comment(card))
            else:
                texts.append(card)
        while texts and not texts[-1].strip():
            texts.pop()
        return cls(tuple(texts))

    @classmethod
    def from_header(cls, header: Any) -> Cards:
        """Take over a parsed header (`astropy.io.fits.Header`) or a mapping."""
        if isinstance(header, Cards):
            return header
        if not isinstance(header, fits.Header):
            header = fits.Header([_storable(*item) for item in dict(header or {}).items()])
        try:
            text = header.tostring(endcard=False, padding=False)
        except (fits.VerifyError, ValueError):
            text = "".join(map(_mended, header.cards))
        return cls.from_bytes(text.encode("ascii", "replace"))

    def to_header(self) -> fits.Header:
        """Parse all cards; those that nobody can read become comments."""
        texts = (text if _is_readable(text) else _comment(text) for text in self.texts)
        return fits.Header.fromstring("".join(texts))

    def __getitem__(self, keyword: str) -> Any:
        return _value(self.texts[self._index[keyword.upper()]])

    def __contains__(self, keyword: object) -> bool:
        return isinstance(keyword, str) and keyword.upper() in self._index

    def __iter__(self) -> Iterator[str]:
        return (keyword for keyword in self._index if keyword not in _COMMENTARY)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def keywords(self) -> tuple[str, ...]:
        """Keyword of every card, in order."""
        return tuple(_keyword(text) for text in self.texts)

    def edited(
        self,
        values: Mapping[str, tuple[Any, str]],
        without: Collection[str] = (),
        history: Collection[str] = (),
    ) -> Cards:
        """The header with other values, each with its comment, and without some keywords.

        Cards that are there keep their place; new ones come last, and behind them lines of history.
        """
        texts = {k: _card_text(k, *given) for k, given in values.items()}
        kept = [
            texts.pop(keyword, text) if keyword in values else text
            for keyword, text in zip(self.keywords, self.texts, strict=True)
            if keyword not in without
        ]
        width = _WIDTH - len("HISTORY ")
        parts = (line[i : i + width] for line in history for i in range(0, len(line), width))
        told = (f"HISTORY {part}".ljust(_WIDTH) for part in parts)
        return Cards((*kept, *texts.values(), *told))

    def same_keywords(self, other: Cards) -> bool:
        """Whether another header has the same keywords in the same order."""
        return self._index is other._index or self.keywords == other.keywords

    def values_of(self, keyword: str) -> list[Any]:
        """Values of all cards of a keyword, in order; mostly one."""
        places = self._repeats.get(keyword.upper())
        if places is None:
            return [self[keyword]] if keyword in self else []
        return [_value(self.texts[i]) for i in places]

    def text(self, keyword: str) -> str:
        """Card text of a keyword."""
        return self.texts[self._index[keyword]]
