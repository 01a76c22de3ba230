"""The calibration database of the Coronagraph's pipeline: a CSV file, one row a product."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from emdarks.cameras import Camera
from emdarks.errors import EmdarksError, InputError
from emdarks.fits import whole_file
from emdarks.library.entry import KINDS, Entry, Kind, headers_of_product
from emdarks.library.folder import Library
from emdarks.products.provenance import mjd_of

#: Columns of corgidrp 5.1.1 that are cards of the image header of the same name.
_CARDS = ("OPMODE", "EMGAIN_C", "EXCAMT", "CFAMNAME", "DPAMNAME", "FPAMNAME", "FSAMNAME")
_MORE_CARDS = ("SPAMNAME", "PC_STAT")
COLUMNS = (
    *("Filepath", "Type", "MJD", "EXPTIME", "Files Used", "Date Created", "Hash", "DRPVERSN"),
    *("OBSNUM", "NAXIS1", "NAXIS2", *_CARDS, *_MORE_CARDS),
)
#: Names of kinds in the column Type.
_TYPES = {kind: name for name, kind in KINDS.items()} | {Kind.COUNTED_DARK: "Dark"}


class Imported(NamedTuple):
    """What came of a database.

    Attributes
    ----------
    entries : list of Entry
        Products that are in the library now.
    others : list of (str, str)
        Files of kinds that a library does not keep, and their kind.
    refused : list of (str, str)
        Files that could not be added, and why.
    """

    entries: list[Entry]
    others: list[tuple[str, str]]
    refused: list[tuple[str, str]]


def import_caldb(
    library: Library,
    path: str | os.PathLike[str],
    *,
    camera: str | Camera | None = None,
    copy: bool = False,
) -> Imported:
    """Add the products of a calibration database of the Coronagraph's pipeline.

    Parameters
    ----------
    library : Library
        The library.
    path : str or path-like
        The CSV file; its paths may be relative to its folder.
    camera : str or Camera, optional
        Whose products they are; by default ``excam``, whose keywords they have.
    copy : bool
        Copy the files into the library; else where they lie is recorded.

    Raises
    ------
    InputError
        The file cannot be read, or has no columns Filepath and Type.
    """
    found = Imported([], [], [])
    for row in _rows(Path(path)):
        file = str(Path(path).parent / row["Filepath"])
        if row["Type"] not in KINDS:
            found.others.append((file, row["Type"]))
            continue
        try:
            found.entries.append(library.add(file, camera=camera, copy=copy))
        except EmdarksError as error:
            found.refused.append((file, str(error)))
    return found


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: is no CSV file ({error})") from None
    for row in rows:
        if not (row.get("Filepath") and row.get("Type")):
            raise InputError(
                f"{path}: is no calibration database: a row has no Filepath or no Type; give the "
                "caldb.csv of corgidrp"
            )
    return iter(rows)


def export_caldb(library: Library, path: str | os.PathLike[str]) -> list[Entry]:
    """Write a calibration database that the Coronagraph's pipeline reads.

    Products that are rejected are left out: the pipeline knows no such thing, nor a validity.

    Parameters
    ----------
    library : Library
        The library.
    path : str or path-like
        The CSV file, which appears whole or not at all.

    Returns
    -------
    list of Entry
        The products that it names.

    Raises
    ------
    InputError
        It cannot be written, or the file of a product is gone or has changed.
    """
    entries = [entry for entry in library.list() if not entry.rejected]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        writer.writerow(_row(library.verified(entry), entry))
    with whole_file(path) as file:
        file.write(text.getvalue().encode("utf-8"))
    return entries


def _row(path: Path, entry: Entry) -> dict[str, Any]:
    """A row as the pipeline itself would write it; its hash is another in every process."""
    image, primary = headers_of_product(path)
    values = {name: image.get(name) for name in (*_CARDS, *_MORE_CARDS)}
    shape = [image.get(name) for name in ("NAXIS1", "NAXIS2")]
    row = {
        "Filepath": str(path.absolute()),
        "Type": _TYPES[entry.kind],
        "MJD": image.get("MJDSRT", entry.begin),
        "EXPTIME": image.get("EXPTIME"),
        "Files Used": image.get("DRPNFILE", -1),
        "Date Created": mjd_of(entry.made.partition("+")[0] or None),
        "DRPVERSN": image.get("DRPVERSN"),
        "OBSNUM": primary.get("OBSNUM"),
        "NAXIS1": shape[0],
        "NAXIS2": shape[1] or 0,
        **values,
    }
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> Any:
    """An empty cell is what nobody knows."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return value
