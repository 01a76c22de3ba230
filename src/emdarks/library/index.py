"""The index of a library: one SQLite file, whose changes happen whole or not at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from emdarks.errors import InputError
from emdarks.library.entry import Covariance, Entry, Kind, Number

FILE = "library.sqlite"
#: Says to SQLite, and to ``file``, whose file it is ("emdk"), and of which format.
_APPLICATION, _FORMAT = 0x656D646B, 1
#: Seconds to wait for another process that writes.
_PATIENCE = 60.0
#: Times that somebody who may not write tries to read.
_TRIES = 20
#: File systems of several machines, where a write-ahead log would need memory that they share.
_REMOTE = ("nfs", "cifs", "smb", "fuse", "9p", "lustre", "gpfs", "beegfs", "afs", "ceph", "panfs")

_TEXTS = (
    *("path", "sha256", "kind", "camera", "settings", "level", "bias", "model", "version"),
    *("made", "added", "rejected", "k_gains_used"),
)
_INTEGERS = ("size", "rows", "columns", "certified")
_COVARIANCES = tuple(each.name for each in fields(Covariance))
_COLUMNS = (
    *(each.name for each in fields(Entry) if each.name not in ("id", "covariance", "numbers")),
    *_COVARIANCES,
)


def _column(name: str) -> str:
    kind = "TEXT" if name in _TEXTS else "INTEGER" if name in _INTEGERS else "REAL"
    # The file is the product: one is never in the index twice.
    return f'"{name}" {kind}{" UNIQUE NOT NULL" if name == "sha256" else ""}'


_SCHEMA = f"""
CREATE TABLE products (id INTEGER PRIMARY KEY AUTOINCREMENT, {", ".join(map(_column, _COLUMNS))});
CREATE TABLE numbers (product INTEGER, name TEXT, value REAL, error REAL, unit TEXT,
                      PRIMARY KEY (product, name)) WITHOUT ROWID;
CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, product INTEGER, file TEXT, "when" TEXT,
                     who TEXT, what TEXT, why TEXT);
CREATE INDEX events_of ON events (product);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
"""


class Event(NamedTuple):
    """Something that was done with a product.

    Attributes
    ----------
    product : int
        Its number.
    file : str
        Its file, relative to the library.
    when, who : str
        Time, UTC, and the user.
    what, why : str
        Such as "rejected", and the reason that was given.
    """

    product: int
    file: str
    when: str
    who: str
    what: str
    why: str


class Index:
    """The SQLite file of a library.

    Parameters
    ----------
    folder : Path
        Of the library.

    Raises
    ------
    InputError
        There is no index, it is of another program, of a later format, or damaged.
    """

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / FILE
        if not self.path.is_file():
            raise InputError(
                f"{folder}: is no library (it has no {FILE}); make one with emdarks library init "
                f"{folder}"
            )
        with self.reading() as connection:
            application, version = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            )
        if application != _APPLICATION:
            raise InputError(f"{self.path}: is no index of emdarks; is it of another program?")
        if version > _FORMAT:
            raise InputError(
                f"{self.path}: is of format {version}, and this emdarks knows formats up to "
                f"{_FORMAT}; use a later version of emdarks"
            )

    @classmethod
    def create(cls, folder: Path) -> Index:
        """Make the index of a new library.

        Raises
        ------
        InputError
            There is one already, or it cannot be written.
        """
        path = folder / FILE
        if path.exists():
            raise InputError(f"{folder}: is a library already")
        # Whoever looks finds no index, or a whole one.
        part = folder / f".{FILE}.{os.getpid()}"
        with _told(path):
            try:
                # SQLite itself would leave out the group's right to write, whatever the mask.
                os.close(os.open(part, os.O_CREAT | os.O_RDWR, 0o666))
                connection = sqlite3.connect(part)
                connection.executescript(_SCHEMA)
                connection.close()
                _appear(part, path)
            except FileExistsError:
                raise InputError(f"{folder}: is a library already") from None
            finally:
                part.unlink(missing_ok=True)
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA journal_mode = {'DELETE' if is_remote(folder) else 'WAL'}")
        connection.close()
        return cls(folder)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the index, also on a read-only disk."""
        with _told(self.path), tempfile.TemporaryDirectory() as spare:
            connection = self._reader(Path(spare))
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                connection.close()

    def _reader(self, spare: Path) -> sqlite3.Connection:
        if self._is_ours():
            return _connected(self.path, "mode=rw")
        for _ in range(_TRIES):
            # Others may write meanwhile: their log comes and goes.
            with suppress(FileNotFoundError, sqlite3.OperationalError):
                return self._read_only(spare)
            time.sleep(0.01)
        return self._read_only(spare)

    def _read_only(self, spare: Path) -> sqlite3.Connection:
        log, shared = (self.path.with_name(f"{FILE}-{ending}") for ending in ("wal", "shm"))
        # A write-ahead log needs a file beside it that changes, even to read.
        if shared.is_file() and not _is_read_only(self.folder):
            connection = _connected(self.path, "mode=ro")
            connection.execute("SELECT id FROM products LIMIT 1").fetchall()
            return connection
        if log.is_file() and log.stat().st_size:
            for file in (self.path, log):
                shutil.copy(file, spare)
            return _connected(spare / FILE, "mode=rw")
        return _connected(self.path, "immutable=1")

    def _is_ours(self) -> bool:
        """Whether this user may write: a log of somebody who may not shuts the owner out."""
        may = all(os.access(path, os.W_OK) for path in (self.folder, self.path))
        return may and not _is_read_only(self.folder)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: what is done within happens whole or not at all.

        Other processes that write wait; those that read see the state before.

        Raises
        ------
        InputError
            The disk is full or read-only, or another process holds the index for a minute.
        """
        if not self._is_ours():
            raise InputError(
                f"{self.path}: cannot be written by this user, or lies on a read-only disk"
            )
        with _told(self.path):
            connection = _connected(self.path, "mode=rw")
            try:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
            finally:
                connection.close()

    def problems(self) -> list[str]:
        """What SQLite finds wrong with the file itself."""
        with self.reading() as connection:
            rows = connection.execute("PRAGMA integrity_check").fetchall()
        return [str(text) for (text,) in rows if text != "ok"]


def is_remote(folder: Path) -> bool:
    """Whether a folder is on a file system of several machines, as far as Linux tells."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    real = f"{folder.resolve()}/"
    mounts = [line.split()[1:3] for line in lines]
    within = [(len(at), kind) for at, kind in mounts if real.startswith(f"{at.rstrip('/')}/")]
    return bool(within) and max(within)[1].startswith(_REMOTE)


def _appear(part: Path, path: Path) -> None:
    """Give a whole file its name, which no other file has."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError from None
        part.rename(path)


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _connected(path: Path, how: str) -> sqlite3.Connection:
    # Transactions begin and end where it is said.
    address = f"file:{quote(str(path.absolute()))}?{how}"
    return sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite says as an error that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        advice = "; another process holds it: try again" if "locked" in text else ""
        advice = "; make room on the disk" if "full" in text else advice
        raise InputError(f"{path}: cannot be used ({text}){advice}") from None
    except sqlite3.DatabaseError as error:
        raise InputError(
            f"{path}: is damaged ({error}); emdarks library check {path.parent} --mend makes it "
            "anew"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


# Rows


def insert(connection: sqlite3.Connection, entry: Entry) -> int:
    """Put an entry in; its number.

    Parameters
    ----------
    connection : Connection
        Within a transaction.
    entry : Entry
        Of a file that is not in the index; it keeps its number where it has one.
    """
    row = _row(entry) | ({"id": entry.id} if entry.id else {})
    names = ", ".join(f'"{name}"' for name in row)
    values = list(row.values())
    marks = ", ".join("?" * len(values))
    cursor = connection.execute(f"INSERT INTO products ({names}) VALUES ({marks})", values)
    number = int(cursor.lastrowid or 0)
    connection.executemany(
        "INSERT INTO numbers VALUES (?, ?, ?, ?, ?)",
        [
            (number, name, _real(x.value), _real(x.error), x.unit)
            for name, x in entry.numbers.items()
        ],
    )
    return number


def _row(entry: Entry) -> dict[str, Any]:
    values = {each.name: getattr(entry, each.name) for each in fields(Entry)}
    del values["id"], values["numbers"]
    covariance = values.pop("covariance")
    values |= {name: getattr(covariance, name, None) for name in _COVARIANCES}
    values["kind"] = entry.kind.value
    values["k_gains_used"] = json.dumps(entry.k_gains_used)
    return {name: _real(value) for name, value in values.items()}


def _real(value: Any) -> Any:
    """SQLite has no NaN."""
    return None if isinstance(value, float) and value != value else value


def change(connection: sqlite3.Connection, product: int, values: Mapping[str, Any]) -> None:
    """Change columns of a product."""
    names = ", ".join(f'"{name}" = ?' for name in values)
    given = [*map(_real, values.values()), product]
    connection.execute(f"UPDATE products SET {names} WHERE id = ?", given)


def drop(connection: sqlite3.Connection, product: int) -> None:
    """Take a product out of the index; its events stay."""
    connection.execute("DELETE FROM numbers WHERE product = ?", (product,))
    connection.execute("DELETE FROM products WHERE id = ?", (product,))


def note(
    connection: sqlite3.Connection, product: int, file: str, what: str, why: str, who: str
) -> None:
    """Keep that something was done."""
    keep(connection, Event(product, file, now(), who, what, why))


def keep(connection: sqlite3.Connection, event: Event) -> None:
    """Put an event in."""
    connection.execute(
        'INSERT INTO events (product, file, "when", who, what, why) VALUES (?, ?, ?, ?, ?, ?)',
        event,
    )


def now() -> str:
    """The time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def entries(
    connection: sqlite3.Connection,
    where: str = "1",
    values: Iterable[Any] = (),
    *,
    numbers: bool = True,
) -> list[Entry]:
    """Products that a condition holds for, by number; without their numbers for choosing."""
    names, given = ", ".join(f'"{name}"' for name in _READ), tuple(values)
    rows = connection.execute(
        f"SELECT {names} FROM products WHERE {where} ORDER BY id", given
    ).fetchall()
    known = _numbers(connection, where, given) if numbers else {}
    return [_entry(row, known.get(row[0], {})) for row in rows]


def _numbers(
    connection: sqlite3.Connection, where: str, values: tuple[Any, ...]
) -> dict[int, dict[str, Number]]:
    found: dict[int, dict[str, Number]] = {}
    rows = connection.execute(
        "SELECT product, name, value, error, unit FROM numbers "
        f"WHERE product IN (SELECT id FROM products WHERE {where})",
        values,
    )
    for product, name, value, error, unit in rows:
        found.setdefault(product, {})[name] = Number(_float(value), _float(error), unit)
    return found


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


_READ = ("id", *_COLUMNS)
_UNKNOWN = dict.fromkeys(frozenset(_COLUMNS) - {*_TEXTS, *_INTEGERS, *_COVARIANCES}, math.nan)


def _entry(row: tuple[Any, ...], numbers: dict[str, Number]) -> Entry:
    # One NaN for all, so that entries are equal to themselves.
    values = _UNKNOWN | {n: x for n, x in zip(_READ, row, strict=True) if x is not None}
    covariance = [values.pop(name) for name in _COVARIANCES if name in values]
    values["kind"] = Kind(values["kind"])
    values["certified"] = bool(values["certified"])
    values["k_gains_used"] = _k_gains(values["k_gains_used"])
    known = Covariance(*covariance) if covariance else None
    return Entry(**values, covariance=known, numbers=numbers)


@lru_cache(maxsize=256)
def _k_gains(text: str) -> tuple[float, ...]:
    return tuple(json.loads(text))


def events(connection: sqlite3.Connection, product: int | None = None) -> list[Event]:
    """What was done, in order; with one product, or all."""
    where, values = ("1", ()) if product is None else ("product = ?", (product,))
    rows = connection.execute(
        f'SELECT product, file, "when", who, what, why FROM events WHERE {where} ORDER BY id',
        values,
    )
    return [Event(*row) for row in rows]
