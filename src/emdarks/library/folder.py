"""A library: an index of calibration products over time, beside the products in a folder."""

from __future__ import annotations

import getpass
import hashlib
import math
import os
import sqlite3
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from emdarks.cameras import Camera
from emdarks.checks.finding import Finding
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits import whole_file
from emdarks.library import index as sql
from emdarks.library.entry import Entry, Kind, describe, sha256_of
from emdarks.library.index import Event, Index
from emdarks.library.match import Catalogue, Match
from emdarks.library.request import Request, requests_of
from emdarks.products.provenance import iso_date, mjd_of

_PIECE = 1 << 20
#: MJD of 1941 and 2132: numbers beyond them are something else.
_FIRST_DAY, _LAST_DAY = 30_000.0, 100_000.0

# `Library.list` takes the name away from annotations of the class.
Entries: TypeAlias = list[Entry]
Events: TypeAlias = list[Event]
Matches: TypeAlias = list[Match]
Paths: TypeAlias = list[Path]


class Library:
    """Calibration products of many nights, and which of them is for a frame.

    Parameters
    ----------
    folder : str or path-like
        The folder of the library.

    Raises
    ------
    InputError
        It holds no library, or one that cannot be read.

    Examples
    --------
    >>> from emdarks.library import Library
    >>> library = Library.init("calibrations")  # doctest: +SKIP
    >>> library.add("maps.fits")  # doctest: +SKIP
    >>> library.find(frames)[0].entry  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)
        self.index = Index(self.folder)

    @classmethod
    def init(cls, folder: str | os.PathLike[str]) -> Library:
        """Make a new, empty library.

        Parameters
        ----------
        folder : str or path-like
            Made if it is missing.

        Raises
        ------
        InputError
            It is a library already, or cannot be written.
        """
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot be made ({error.strerror})") from None
        Index.create(path)
        return cls(path)

    # What it holds

    def list(self, kind: Kind | None = None, camera: str | None = None) -> Entries:
        """All products, those that are rejected among them.

        Parameters
        ----------
        kind : Kind, optional
            Only of this kind.
        camera : str, optional
            Only of this camera.
        """
        wanted = {"kind": kind and kind.value, "camera": camera}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join(f'"{name}" = ?' for name in given) or "1"
        with self.index.reading() as connection:
            return sql.entries(connection, where, given.values())

    def show(self, product: int) -> Entry:
        """One product, by its number.

        Raises
        ------
        InputError
            There is none of this number.
        """
        with self.index.reading() as connection:
            return self._entry(connection, product)

    def _entry(self, connection: sqlite3.Connection, product: int) -> Entry:
        found = sql.entries(connection, "id = ?", (product,))
        if not found:
            raise InputError(
                f"{self.folder}: has no product {product}; emdarks library list {self.folder} "
                "tells their numbers"
            )
        return found[0]

    def history(self, product: int | None = None) -> Events:
        """What was done with a product, or with all: what, when, by whom, why."""
        with self.index.reading() as connection:
            return sql.events(connection, product)

    def file(self, entry: Entry) -> Path:
        """File of a product."""
        return Path(os.path.normpath(self.folder.resolve() / entry.path))

    def verified(self, entry: Entry) -> Path:
        """File of a product, after a look at every byte of it.

        Raises
        ------
        InputError
            It is gone, or not what it was when it was added.
        """
        path = self._there(entry)
        if sha256_of(path) != entry.sha256:
            raise self._changed(entry, "other bytes")
        return path

    def _there(self, entry: Entry) -> Path:
        """File of a product, which is there and has the size that it had."""
        path = self.file(entry)
        try:
            size = path.stat().st_size
        except OSError as error:
            raise self._changed(entry, error.strerror or "it is gone") from None
        if size != entry.size:
            raise self._changed(entry, f"{size} bytes instead of {entry.size}")
        return path

    def _changed(self, entry: Entry, how: str) -> InputError:
        return InputError(
            f"{self.file(entry)}: product {entry.id} of {self.folder} is not as it was added "
            f"({how}); emdarks library check {self.folder} --mend looks for it, or takes it out "
            "of use"
        )

    # Changes

    def add(
        self,
        path: str | os.PathLike[str],
        *,
        camera: str | Camera | None = None,
        copy: bool = True,
        accept: str = "",
    ) -> Entry:
        """Add a product: open it with all its checks, copy it, and keep what choosing needs.

        Parameters
        ----------
        path : str or path-like
            The file. One that lies within the library stays where it is.
        camera : str or Camera, optional
            Whose product it is, where its header does not say it.
        copy : bool
            Copy a file from elsewhere into the library; else where it lies is recorded.
        accept : str
            Why a product is added though its checks find a problem.

        Returns
        -------
        Entry
            The new one; of a file that is in the library already, the one that it has.

        Raises
        ------
        InputError
            The file is no product, its checks find a problem, or it cannot be copied.

        Warns
        -----
        EmdarksWarning
            What the checks of the product warn of.
        """
        entry, findings = describe(path, camera)
        self._judge(path, findings, accept)
        why = f"{accept} ({Path(path).absolute()})" if accept else str(Path(path).absolute())
        copied: Paths = []
        try:
            with self.index.writing() as connection:
                return self._add(connection, Path(path), entry, why, copied if copy else None)
        except BaseException:
            for file in copied:
                with suppress(OSError):
                    file.unlink()
            raise

    def _judge(self, path: Any, findings: Iterable[Finding], accept: str) -> None:
        name = Path(path).name
        for finding in findings:
            if finding.severity == "problem" and not accept:
                raise InputError(
                    f"{name}: {finding.text} Make it anew, or say why it is right: --accept WHY "
                    "(accept=)"
                )
            if finding.severity in ("problem", "warning"):
                warnings.warn(f"{name}: {finding.text}", EmdarksWarning, stacklevel=4)

    def _add(
        self,
        connection: sqlite3.Connection,
        path: Path,
        entry: Entry,
        why: str,
        copied: Paths | None,
    ) -> Entry:
        same = sql.entries(connection, "sha256 = ?", (entry.sha256,))
        if same and same[0].camera != entry.camera:
            raise InputError(
                f"{path}: is product {same[0].id} already, as one of camera {same[0].camera}; "
                f"first emdarks library remove {self.folder} {same[0].id}, if that is wrong"
            )
        if same and self._is_there(same[0]):
            return same[0]
        place = self._place(path, entry, copied)
        if same:
            sql.change(connection, same[0].id, {"path": place})
            sql.note(connection, same[0].id, place, "found again", why, user())
            return replace(same[0], path=place)
        entry = replace(entry, path=place, added=sql.now())
        number = sql.insert(connection, entry)
        sql.note(connection, number, place, "added", why, user())
        return replace(entry, id=number)

    def _is_there(self, entry: Entry) -> bool:
        try:
            self.verified(entry)
        except InputError:
            return False
        return True

    def _place(self, path: Path, entry: Entry, copied: Paths | None) -> str:
        """Where the product lies from now on, relative to the library."""
        real, root = path.resolve(), self.folder.resolve()
        named = path.parent.resolve() / path.name
        if named.is_relative_to(root):  # also a link to elsewhere
            real = named
        elif not real.is_relative_to(root) and copied is not None:
            target = self._free_name(path, entry)
            if not target.exists():
                copied.append(target)
            self._copy(path, target, entry)
            return target.name
        return Path(os.path.relpath(real, root)).as_posix()

    def _free_name(self, path: Path, entry: Entry) -> Path:
        """A name that no other file of the library has; nobody else adds at this time.

        A process that was killed may have copied this very file, and not recorded it.
        """
        target = self.folder / path.name
        if not target.exists() or sha256_of(target) == entry.sha256:
            return target
        return self.folder / f"{entry.sha256[:8]}_{path.name}"

    def _copy(self, path: Path, target: Path, entry: Entry) -> None:
        digest = hashlib.sha256()
        with path.open("rb") as source, whole_file(target) as file:
            while piece := source.read(_PIECE):
                digest.update(piece)
                file.write(piece)
            if digest.hexdigest() != entry.sha256:
                raise InputError(f"{path}: changed while it was added; add it again")

    def certify(
        self,
        product: int,
        first: str | float | None = None,
        last: str | float | None = None,
        *,
        why: str = "",
    ) -> Entry:
        """Say from when to when a product is valid.

        Parameters
        ----------
        product : int
            Its number.
        first, last : str or float, optional
            Date (ISO 8601, UTC) or MJD; without one, that side is open.
        why : str
            Kept with the time and the user.

        Returns
        -------
        Entry
            As it is now. One that was rejected is in use again.

        Raises
        ------
        InputError
            A date is none, or the last is before the first.
        """
        begin, end = moment(first), moment(last)
        if end < begin:
            raise InputError(f"the validity ends ({last}) before it begins ({first})")
        words = f"valid {_words(begin, end)}"
        values = {"valid_from": begin, "valid_to": end, "certified": 1, "rejected": ""}
        return self._decide(product, values, words, why)

    def reject(self, product: int, why: str) -> Entry:
        """Take a product out of use without deleting it; `undo` and `certify` put it back.

        Raises
        ------
        InputError
            No reason is given.
        """
        if not why.strip():
            raise InputError(f"say why product {product} is rejected")
        return self._decide(product, {"rejected": why}, "rejected", why)

    def undo(self, product: int, why: str = "") -> Entry:
        """Take back validity and rejection: the product is as when it was added."""
        values = {"valid_from": None, "valid_to": None, "certified": 0, "rejected": ""}
        return self._decide(product, values, "neither certified nor rejected", why)

    def _decide(self, product: int, values: dict[str, Any], what: str, why: str) -> Entry:
        with self.index.writing() as connection:
            entry = self._entry(connection, product)
            sql.change(connection, product, values)
            sql.note(connection, product, entry.path, what, why, user())
            return self._entry(connection, product)

    def remove(self, product: int, why: str = "") -> Entry:
        """Take a product out of the library, and delete its file where this lies within.

        What was done with it stays in `history`. A file that has changed, or is another product,
        too, stays where it is.

        Returns
        -------
        Entry
            What was removed.
        """
        with self.index.writing() as connection:
            entry = self._entry(connection, product)
            sql.drop(connection, product)
            sql.note(connection, product, entry.path, "removed", why, user())
            others = sql.entries(connection, "path = ?", (entry.path,))
        if not (others or entry.path.startswith("../")) and self._is_there(entry):
            try:
                self.file(entry).unlink()
            except OSError as error:
                raise InputError(
                    f"{self.file(entry)}: is no product of {self.folder} any more, and cannot be "
                    f"deleted ({error.strerror})"
                ) from None
        return entry

    # Choosing

    def find(
        self,
        frames: Any,
        kind: Kind = Kind.DARK,
        *,
        camera: str | Camera | None = None,
        kgain: float | None = None,
        days: float | None = None,
        threshold: float | None = None,
    ) -> Matches:
        """Choose the product for each frame.

        Parameters
        ----------
        frames : Dataset, or a list of frames
            Of any cameras and settings; raw ones, too.
        kind : Kind
            What is wanted; ``Kind.DARK`` is answered by darks and by noise maps, of frames whose
            electrons are counted by photon-counted darks and by noise maps.
        camera : str or Camera, optional
            Of all frames; by default the one that each frame's CAMERA card names, else ``excam``.
        kgain : float, optional
            Electrons per DN, instead of the headers'.
        days : float, optional
            How far from the frame a product that is not certified may be, in days; by default 30
            for noise maps, darks and bad-pixel maps, 1000 for others.
        threshold : float, optional
            By which the frames are counted, EM electrons, for photon-counted darks; by default
            that of their headers (card PCTHRESH).

        Returns
        -------
        list of Match
            In the order of the frames: the product, or what is missing, and why.

        Raises
        ------
        InputError
            A header cannot be used, or the file of a product that is chosen is gone or has
            another size.
        """
        return self.match(requests_of(frames, camera, kgain, kind, threshold), days, kgain)

    def match(
        self, requests: Sequence[Request], days: float | None = None, kgain: float | None = None
    ) -> Matches:
        """As `find`, of requests that were read from the frames before."""
        if days is not None and not days >= 0:
            raise InputError(f"days is {days!r}; it must be a number from 0 on")
        with self.index.reading() as connection:
            entries = sql.entries(connection, numbers=False)
        catalogue = Catalogue(entries)
        if kgain is None:
            requests = [_with_k_gain(request, catalogue) for request in requests]
        found = [catalogue.find(request, days) for request in requests]
        chosen = {match.entry.id: match.entry for match in found if match.entry is not None}
        for entry in chosen.values():
            self._there(entry)
        return found


def _with_k_gain(request: Request, catalogue: Catalogue) -> Request:
    """A raw frame is multiplied by the k-gain of the library, where it has one."""
    if not request.raw or request.kind is Kind.K_GAIN:
        return request
    found = catalogue.find(replace(request, kind=Kind.K_GAIN)).entry
    return request if found is None else replace(request, k_gain=found.k_gain)


def user() -> str:
    """Who is asking."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return str(os.getuid())


def moment(given: str | float | None) -> float:
    """MJD of a date or of a number as a text; NaN of nothing.

    Raises
    ------
    InputError
        It is neither.
    """
    if given is None:
        return math.nan
    with suppress(ValueError):
        given = float(given)
    found = mjd_of(given)
    # A year, 2027, and digits without dashes, 20270131, are numbers, too.
    if not _FIRST_DAY < found < _LAST_DAY:
        raise InputError(f"{given!r} is no date; give one such as 2027-01-31 or 61437.5 (MJD)")
    return found


def _words(begin: float, end: float) -> str:
    if math.isnan(begin) and math.isnan(end):
        return "at any time"
    known = [
        f"{word} {iso_date(mjd)}"
        for word, mjd in (("from", begin), ("to", end))
        if not math.isnan(mjd)
    ]
    return " ".join(known)
