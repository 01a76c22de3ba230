"""What is wrong with a library, and what of it can be mended."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from emdarks.checks.finding import Finding, worst_first
from emdarks.errors import EmdarksError, InputError
from emdarks.library import index as sql
from emdarks.library.entry import Entry, sha256_of
from emdarks.library.folder import Library, user
from emdarks.library.index import FILE, Event, Index

#: Endings of products' files.
_ENDINGS = (".fits", ".fits.gz", ".fits.fz", ".fit", ".fts")
_DAMAGED = f"{FILE}.damaged"


def check_library(folder: str | os.PathLike[str], mend: bool = False) -> list[Finding]:
    """Look at every byte of a library: the index, and the file of every product.

    Parameters
    ----------
    folder : str or path-like
        Of the library.
    mend : bool
        Mend what can be mended: find files that were moved within the library, take products out
        of use whose file is gone or has changed, add files that lie there and are not in the
        index, and make a damaged index anew of what can be read of it. Nothing is deleted.

    Returns
    -------
    list of Finding
        The worst first; a problem is what is not mended. Their topics: index, changed, gone,
        moved, unknown.

    Raises
    ------
    InputError
        There is no library, or it cannot be written.
    """
    path = Path(folder)
    found = list(_index(path, mend))
    if any(finding.severity == "problem" for finding in found):
        return found
    library = Library(path)
    entries = library.list()
    strange = _strange_files(library, entries)
    for entry in entries:
        found += _product(library, entry, strange, mend)
    for file in strange:
        found += _unknown(library, file, entries, mend)
    return worst_first(found)


# The index


def _index(folder: Path, mend: bool) -> Iterator[Finding]:
    """What is wrong with the index itself."""
    if not (folder / FILE).is_file():
        Index(folder)  # says so
    wrong = _damage(folder)
    if not wrong:
        return
    if not mend:
        yield Finding(
            "problem",
            "index",
            f"The index {FILE} is damaged ({wrong}).",
            remedy=f"emdarks library check {folder} --mend makes it anew of what can be read of "
            "it and of the products.",
        )
        return
    kept, lost = _rebuild(folder)
    yield Finding(
        "warning",
        "index",
        f"The index was damaged ({wrong}) and made anew of {kept} products that could be read of "
        f"it; {lost} could not: what was certified of them is lost.",
        remedy=f"The damaged one is kept as {_DAMAGED}.",
    )


def _damage(folder: Path) -> str:
    try:
        return "; ".join(Index(folder).problems()[:3])
    except InputError as error:
        if not _reads_as_database(folder / FILE):
            return "it is no SQLite file"
        if "is damaged" in str(error):
            return "SQLite cannot read it"
        raise


def _reads_as_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\x00"


def _rebuild(folder: Path) -> tuple[int, int]:
    """Make the index anew; numbers of products that could be read of the old one, or not."""
    damaged = folder / _DAMAGED
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            (folder / f"{FILE}{ending}").rename(f"{damaged}{ending}")
    entries, events, lost = _salvaged(damaged)
    with Index.create(folder).writing() as connection:
        for entry in entries:
            sql.insert(connection, entry)
        for event in events:
            sql.keep(connection, event)
    return len(entries), lost


def _salvaged(path: Path) -> tuple[list[Entry], list[Event], int]:
    """What can be read of a damaged index, row by row, and how many rows cannot."""
    entries: list[Entry] = []
    events: list[Event] = []
    lost = 0
    with closing(sqlite3.connect(path)) as connection:
        for number in range(1, _last(connection) + 1):
            try:
                entries += sql.entries(connection, "id = ?", (number,))
                events += sql.events(connection, number)
            except (sqlite3.Error, ValueError, TypeError):
                lost += 1
    return entries, events, lost


def _last(connection: sqlite3.Connection) -> int:
    """The largest number that was ever given."""
    query = "SELECT seq FROM sqlite_sequence WHERE name = 'products'"
    with suppress(sqlite3.Error, TypeError):
        return int(connection.execute(query).fetchone()[0])
    return 0


# The products


def _strange_files(library: Library, entries: list[Entry]) -> list[Path]:
    """Files within the folder that look like products and are not in the index."""
    known = {library.file(entry) for entry in entries}
    root = library.folder.resolve()
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.name.lower().endswith(_ENDINGS)
        and not path.name.startswith(".")
        and path not in known
        and path.is_file()
    ]


def _product(library: Library, entry: Entry, strange: list[Path], mend: bool) -> Iterator[Finding]:
    try:
        library.verified(entry)
        return
    except InputError:
        gone = not library.file(entry).exists()
    what = f"Product {entry.id} ({entry.path})"
    moved = next((file for file in strange if _is(file, entry)), None)
    if moved is not None:
        yield _moved(library, entry, moved, what, mend)
        strange.remove(moved)
        return
    text = f"{what} is gone." if gone else f"{what} has changed since it was added."
    topic = "gone" if gone else "changed"
    if entry.rejected:
        yield Finding("note", topic, f"{text} It is rejected: {entry.rejected}")
    elif mend:
        library.reject(entry.id, f"its file {'is gone' if gone else 'has changed'}")
        yield Finding(
            "warning",
            topic,
            f"{text} It was taken out of use.",
            remedy=f"Bring the file back as it was, then emdarks library certify "
            f"{library.folder} {entry.id} --undo; or add the product anew.",
        )
    else:
        yield Finding(
            "problem",
            topic,
            text,
            remedy=f"Bring it back as it was, or take it out of use: emdarks library check "
            f"{library.folder} --mend.",
        )


def _is(file: Path, entry: Entry) -> bool:
    with suppress(OSError, InputError):
        return file.stat().st_size == entry.size and sha256_of(file) == entry.sha256
    return False


def _moved(library: Library, entry: Entry, to: Path, what: str, mend: bool) -> Finding:
    place = to.relative_to(library.folder.resolve()).as_posix()
    if not mend:
        return Finding(
            "problem",
            "moved",
            f"{what} was moved to {place}.",
            remedy=f"emdarks library check {library.folder} --mend records it.",
        )
    with library.index.writing() as connection:
        sql.change(connection, entry.id, {"path": place})
        sql.note(connection, entry.id, place, "moved", f"from {entry.path}", user())
    return Finding("warning", "moved", f"{what} was moved to {place}, which is recorded now.")


def _unknown(library: Library, file: Path, entries: list[Entry], mend: bool) -> Iterator[Finding]:
    place = file.relative_to(library.folder.resolve()).as_posix()
    twin = next((entry for entry in entries if _is(file, entry)), None)
    if twin is not None:
        yield Finding("note", "unknown", f"{place} is a copy of product {twin.id} ({twin.path}).")
        return
    if not mend:
        yield Finding(
            "warning",
            "unknown",
            f"{place} lies in the library and is not in its index.",
            remedy=f"emdarks library add {library.folder} {file}; emdarks library check "
            f"{library.folder} --mend adds all such.",
        )
        return
    try:
        entry = library.add(file)
    except EmdarksError as error:
        yield Finding("warning", "unknown", f"{place} is not in the index: {error}")
        return
    yield Finding("warning", "unknown", f"{place} was not in the index; it is product {entry.id}.")
