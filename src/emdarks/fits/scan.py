"""Scanning many files that are laid out alike.

A campaign has tens of thousands of files of one layout. astropy finds the layout of the
first; a later file of the same size, whose headers lie in the same places with the same
keywords in the same order and the same structural cards, is laid out the same, and only its
card texts are taken. Any other file goes through `scan_file`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from emdarks.errors import InputError
from emdarks.fits.header import Cards
from emdarks.fits.layout import FileLayout, PlaneLayout, found, scan_extensions, scan_file
from emdarks.fits.remote import RemoteFile, is_url, read_ranges

_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|EXTEND|EXTNAME|EXTVER|UTYPE|BSCALE|BZERO|BLANK|"
    r"THEAP|TFIELDS|Z[A-Z]+\d*"
)
_KEPT = 8
# Bytes between headers that are fetched with them.
_GAP = 1 << 16
# Files at URLs: scanned side by side, and so many before the first is needed.
_FETCHES, _CHUNK = 16, 64


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


File = str | os.PathLike[str] | RemoteFile
Ranges = Sequence[tuple[int, int]]
_Result = TypeVar("_Result")


def _bytes(file: str | RemoteFile, ranges: Ranges) -> list[bytes]:
    """Bytes at these places, as far as there are any."""
    if isinstance(file, str):
        with Path(file).open("rb", buffering=0) as opened:
            return [os.pread(opened.fileno(), hi - lo, lo) for lo, hi in ranges]
    # What lies close together comes in one request.
    joined: list[tuple[int, int]] = []
    for lo, hi in ranges:
        if joined and lo - joined[-1][1] <= _GAP:
            joined[-1] = joined[-1][0], hi
        else:
            joined.append((lo, hi))
    parts = dict(zip(joined, read_ranges(file, joined, check=False), strict=True))
    return [
        next(part[lo - a : hi - a] for (a, b), part in parts.items() if a <= lo and hi <= b)
        for lo, hi in ranges
    ]


def _read(file: str | RemoteFile, blocks: Ranges) -> tuple[Cards, ...] | None:
    """Headers at these places, or None where one of them does not end there."""
    cards = []
    for (start, stop), block in zip(blocks, _bytes(file, blocks), strict=True):
        if len(block) < stop - start or not block.rstrip(b" ").endswith(b"END"):
            return None
        cards.append(Cards.from_bytes(block))
    return tuple(cards)


class Scanner:
    """Scan files one after the other, learning from those before."""

    def __init__(self) -> None:
        self._templates: dict[int, _Template] = {}

    def scan(self, path: File) -> FileLayout:
        """Layout of a file; see `emdarks.fits.scan_file`."""
        file = found(path)
        return self._like_earlier(file) or self._from_scratch(file)

    def scan_all(self, paths: Iterable[File]) -> Iterator[FileLayout | InputError]:
        """Layouts of files, in order, or why there is none; those at URLs side by side."""
        return self._scan_side_by_side(paths, self._attempt)

    def scan_each(
        self, paths: Iterable[File], extensions: bool = False
    ) -> Iterator[tuple[FileLayout, ...] | InputError]:
        """The same, a tuple for each file: with ``extensions``, every image is a frame."""
        attempt = _attempt_extensions if extensions else self._attempt_one
        return self._scan_side_by_side(paths, attempt)

    def _scan_side_by_side(
        self, paths: Iterable[File], attempt: Callable[[File], _Result]
    ) -> Iterator[_Result]:
        left = iter(paths)
        with ThreadPoolExecutor(_FETCHES) as pool:
            while chunk := list(islice(left, _CHUNK)):
                if any(isinstance(path, RemoteFile) or is_url(path) for path in chunk):
                    yield attempt(chunk[0])  # the others are like it
                    yield from pool.map(attempt, chunk[1:])
                else:
                    yield from map(attempt, chunk)

    def _attempt_one(self, path: File) -> tuple[FileLayout, ...] | InputError:
        layout = self._attempt(path)
        return layout if isinstance(layout, InputError) else (layout,)

    def _attempt(self, path: File) -> FileLayout | InputError:
        try:
            return self.scan(path)
        except InputError as error:
            return error

    def _from_scratch(self, file: str | RemoteFile) -> FileLayout:
        layout = scan_file(file)
        if not layout.packed:
            cards = _read(file, layout.blocks)
            if len(self._templates) == _KEPT:
                self._templates.clear()
            if cards is not None:
                self._templates[layout.size] = _Template.of(layout, cards)
        return layout

    def _like_earlier(self, file: str | RemoteFile) -> FileLayout | None:
        try:
            status = file if isinstance(file, RemoteFile) else Path(file).stat()
            size = status.size if isinstance(status, RemoteFile) else status.st_size
            template = self._templates.get(size)
            if template is None or not _is_regular(status):
                return None  # opening a pipe would wait for somebody to write
            cards = _read(file, template.layout.blocks)
        except OSError:
            return None  # `scan_file` says what is wrong
        if not cards or not template.fits(cards):
            return None
        return _with_cards(template.layout, file, status, cards)


def _attempt_extensions(path: File) -> tuple[FileLayout, ...] | InputError:
    try:
        return scan_extensions(path)
    except InputError as error:
        return error


def _is_regular(status: os.stat_result | RemoteFile) -> bool:
    return isinstance(status, RemoteFile) or stat.S_ISREG(status.st_mode)


def _with_cards(
    layout: FileLayout,
    file: str | RemoteFile,
    status: os.stat_result | RemoteFile,
    cards: tuple[Cards, ...],
) -> FileLayout:
    def plane(known: PlaneLayout | None) -> PlaneLayout | None:
        return None if known is None else replace(known, cards=cards[known.hdu])

    return replace(
        layout,
        path=file if isinstance(file, str) else file.name,
        mtime_ns=status.mtime_ns if isinstance(status, RemoteFile) else status.st_mtime_ns,
        primary=cards[0],
        image=replace(layout.image, cards=cards[layout.image.hdu]),
        err=plane(layout.err),
        dq=plane(layout.dq),
        remote=file if isinstance(file, RemoteFile) else None,
    )
