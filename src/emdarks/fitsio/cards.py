"""Headers kept as shared card texts.

A campaign has tens of thousands of headers that differ in a handful of cards.
Each header is kept as a tuple of card texts that are shared between frames:
about a kilobyte and a half a frame, where parsed headers take a hundred. A card is
parsed (by astropy) when its value is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from astropy.io import fits

__all__ = ["Cards"]

_WIDTH = 80
_COMMENTARY = frozenset({"", "COMMENT", "HISTORY"})


@lru_cache(maxsize=8192)
def _value(text: str) -> Any:
    card = fits.Card.fromstring(text)
    try:
        value = card.value
    except fits.VerifyError:  # not as the standard has it, like 12:30:00 without quotes
        card.verify("silentfix+ignore")
        value = card.value
    return None if isinstance(value, fits.card.Undefined) else value


@lru_cache(maxsize=1024)
def _hierarch_keyword(text: str) -> str:
    return str(fits.Card.fromstring(text).keyword).upper()


def _keyword(text: str) -> str:
    return _hierarch_keyword(text) if text.startswith("HIERARCH ") else text[:8].rstrip()


@lru_cache(maxsize=256)
def _positions(keywords: tuple[str, ...]) -> dict[str, int]:
    """First position of each keyword, shared by all headers of one structure."""
    return {keyword: i for i, keyword in reversed(list(enumerate(keywords)))}


class Cards(Mapping[str, Any]):
    """A read-only header: a tuple of card texts.

    Parameters
    ----------
    texts : iterable of str
        Cards of 80 characters; a long string's CONTINUE cards belong to one text.
    """

    __slots__ = ("_index", "texts")

    def __init__(self, texts: tuple[str, ...]):
        self.texts = tuple(sys.intern(text) for text in texts)
        self._index = _positions(tuple(sys.intern(_keyword(text)) for text in self.texts))

    @classmethod
    def from_bytes(cls, block: bytes) -> Cards:
        """Cut a header as it stands in a file, padding included, into cards."""
        # Other bytes than ASCII become question marks, as astropy reads them.
        text = block.decode("ascii", errors="replace").replace("\ufffd", "?")
        texts: list[str] = []
        for start in range(0, len(text), _WIDTH):
            card = text[start : start + _WIDTH]
            if card.rstrip() == "END":
                break
            if card.startswith("CONTINUE") and texts:
                texts[-1] += card
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
            header = fits.Header(dict(header or {}))
        return cls.from_bytes(header.tostring(endcard=False, padding=False).encode("ascii"))

    def to_header(self) -> fits.Header:
        """Parse all cards."""
        return fits.Header.fromstring("".join(self.texts))

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

    def same_keywords(self, other: Cards) -> bool:
        """Whether another header has the same keywords in the same order."""
        return self._index is other._index or self.keywords == other.keywords

    def text(self, keyword: str) -> str:
        """Card text of a keyword."""
        return self.texts[self._index[keyword]]
