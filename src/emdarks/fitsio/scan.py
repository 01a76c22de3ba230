"""Scanning many files that are laid out alike.

A campaign has tens of thousands of files of one layout. astropy finds the layout of the
first; a later file of the same size, whose headers lie in the same places with the same
keywords in the same order and the same structural cards, is laid out the same, and only its
card texts are taken. Any other file goes through `scan_file`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from emdarks.fitsio.cards import Cards
from emdarks.fitsio.layout import FileLayout, PlaneLayout, scan_file

__all__ = ["Scanner"]

_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|EXTEND|EXTNAME|BSCALE|BZERO|BLANK|"
    r"THEAP|TFIELDS|Z[A-Z]+\d*"
)
_KEPT = 8


@dataclass(frozen=True, slots=True)
class _Template:
    """Layout of a file, what its headers say, and which of their cards are structural."""

    layout: FileLayout
    cards: tuple[Cards, ...]
    structure: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, layout: FileLayout, cards: tuple[Cards, ...]) -> _Template:
        structure = tuple(
            tuple(i for i, key in enumerate(each.keywords) if _STRUCTURE.fullmatch(key))
            for each in cards
        )
        return cls(layout, cards, structure)

    def fits(self, cards: tuple[Cards, ...]) -> bool:
        """Whether headers have the same keywords in the same order, and the same structure."""
        for mine, theirs, structure in zip(self.cards, cards, self.structure, strict=True):
            if not mine.same_keywords(theirs):
                return False
            if any(mine.texts[i] != theirs.texts[i] for i in structure):
                return False
        return True


def _read(file: int, blocks: tuple[tuple[int, int], ...]) -> tuple[Cards, ...] | None:
    """Headers at these places, or None where one of them does not end there."""
    cards = []
    for start, stop in blocks:
        block = os.pread(file, stop - start, start)
        if len(block) < stop - start or not block.rstrip(b" ").endswith(b"END"):
            return None
        cards.append(Cards.from_bytes(block))
    return tuple(cards)


class Scanner:
    """Scan files one after the other, learning from those before."""

    def __init__(self) -> None:
        self._templates: dict[int, _Template] = {}

    def scan(self, path: str | os.PathLike[str]) -> FileLayout:
        """Layout of a file; see `emdarks.fitsio.scan_file`."""
        name = os.fspath(path)
        return self._like_earlier(name) or self._from_scratch(name)

    def _from_scratch(self, path: str) -> FileLayout:
        layout = scan_file(path)
        if not layout.packed:
            with Path(path).open("rb", buffering=0) as file:
                cards = _read(file.fileno(), layout.blocks)
            if len(self._templates) == _KEPT:
                self._templates.clear()
            if cards is not None:
                self._templates[layout.size] = _Template.of(layout, cards)
        return layout

    def _like_earlier(self, path: str) -> FileLayout | None:
        try:
            with Path(path).open("rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                template = self._templates.get(status.st_size)
                cards = template and _read(file.fileno(), template.layout.blocks)
        except OSError:
            return None  # `scan_file` says what is wrong
        if template is None or not cards or not template.fits(cards):
            return None
        return _with_cards(template.layout, path, status, cards)


def _with_cards(
    layout: FileLayout, path: str, status: os.stat_result, cards: tuple[Cards, ...]
) -> FileLayout:
    def plane(known: PlaneLayout | None) -> PlaneLayout | None:
        return None if known is None else replace(known, cards=cards[known.hdu])

    return FileLayout(
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        primary=cards[0],
        image=replace(layout.image, cards=cards[layout.image.hdu]),
        err=plane(layout.err),
        dq=plane(layout.dq),
        others=layout.others,
        packed=False,
        blocks=layout.blocks,
    )
