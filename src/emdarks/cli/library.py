"""Commands about a library of calibrations: what it holds, and which product is for a frame."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, argument, arguments, command, group, option
from emdarks.cli.options import AS_JSON, CAMERA, DAYS, KGAIN_OR_FILE, Frames, output_option
from emdarks.cli.output_files import output_file
from emdarks.cli.prologue import figures_folder, named_frames
from emdarks.cli.settings import WithDefaults

if TYPE_CHECKING:
    from emdarks.library import Entry, Match

DIR = argument(REQUIRED, "Folder of the library.", metavar="DIR")
ID = argument(REQUIRED, "Number of a product (emdarks library list DIR).", metavar="ID")
WHY = option("", "Why; kept with the time and the user.", metavar="WORDS", in_file=False)
MEND = option(False, "Mend what can be mended; nothing is deleted.", in_file=False)
CALDB = argument(REQUIRED, "The database.", metavar="CALDB.csv")
COPY = option(
    False, "Copy the products into DIR, instead of recording where they lie.", in_file=False
)


class Kinds(StrEnum):
    """Kinds of products; those of `emdarks.library.Kind`, which is slow to import."""

    noise_maps = "noise-maps"
    dark = "dark"
    counted_dark = "counted-dark"
    bad_pixel_map = "bad-pixel-map"
    nonlinearity = "nonlinearity"
    k_gain = "k-gain"
    detector_params = "detector-params"


def init(*, folder: Path = DIR, as_json: bool = AS_JSON) -> None:
    """Make a new, empty library.

    Example: emdarks library init library
    """
    from emdarks.library import Library

    Library.init(folder)
    console.result({"library": str(folder)}, as_json)


@group
class Adding:
    """How products are added."""

    link: bool = option(
        False, "Record where the files lie, instead of copying them into DIR.", in_file=False
    )
    accept: str = option(
        "",
        "Add a product though its checks find a problem, and keep why.",
        metavar="WHY",
        in_file=False,
    )


FILES = argument(REQUIRED, "Products (FITS).", metavar="FILE")


def add(
    *,
    folder: Path = DIR,
    products: list[Path] = FILES,
    camera: str | None = CAMERA,
    adding: Adding,
    as_json: bool = AS_JSON,
) -> None:
    """Add products: noise maps, darks, bad-pixel maps, nonlinearity tables, k-gains, parameters.

    Each is opened with all its checks, and copied into the library. Exit 1 where one is refused.

    Example: emdarks library add library maps.fits bad.fits
    """
    from emdarks.errors import EmdarksError
    from emdarks.library import Library

    library, added = Library(folder), []
    for path in products:
        try:
            entry = library.add(path, camera=camera, copy=not adding.link, accept=adding.accept)
        except EmdarksError as error:  # the others are added
            console.say_error(error)
        else:
            added.append(entry)
    if added or as_json:
        _tell_entries(added, as_json)
    if len(added) < len(products):
        raise typer.Exit(1)


@group
class Only:
    """Which products are listed."""

    kind: Kinds | None = option(None, "Only products of this kind.", in_file=False)
    camera: str | None = option(None, "Only products of this camera.")


def list_(
    *,
    folder: Path = DIR,
    only: Only,
    as_json: bool = AS_JSON,
) -> None:
    """List the products of a library.

    Example: emdarks library list library
    """
    from emdarks.library import Kind, Library

    kind = None if only.kind is None else Kind(only.kind.value)
    _tell_entries(Library(folder).list(kind, only.camera), as_json)


def show(*, folder: Path = DIR, product: int = ID, as_json: bool = AS_JSON) -> None:
    """Show what a library keeps of a product, and what was done with it.

    Example: emdarks library show library 1
    """
    from emdarks.library import Library

    library = Library(folder)
    entry = library.show(product)
    history = [event._asdict() for event in library.history(product)]
    if as_json:
        console.json_out(_values(entry) | {"history": history})
        return
    console.result(_spelled(entry), False)
    for event in history:
        why = f": {event['why']}" if event["why"] else ""
        console.say(f"{event['when']}  {event['who']}  {event['what']}{why}")


def _spelled(entry: Entry) -> dict[str, Any]:
    """The same for people: what is known, moments as dates."""
    from emdarks.products.provenance import iso_date

    values = _values(entry)
    for name in ("begin", "end", "valid_from", "valid_to"):
        values[name] = iso_date(values[name]) if values[name] == values[name] else ""
    del values["numbers"], values["covariance"]
    known = {key: x for key, x in values.items() if x not in ("", None, ()) and x == x}
    numbers = {key: f"{x.value:.4g} +- {x.error:.2g} {x.unit}" for key, x in entry.numbers.items()}
    return known | {"k_gains_used": " ".join(map(str, entry.k_gains_used))} | numbers


@group
class Choice:
    """What is wanted of the library."""

    kind: Kinds = option(Kinds.dark, "What is wanted; dark: a dark or noise maps.", in_file=False)
    kgain: str | None = KGAIN_OR_FILE
    days: float | None = DAYS
    threshold: float | None = option(
        None,
        "By which the frames are counted, EM electrons, with --kind counted-dark; default: that of "
        "their headers.",
        in_file=False,
        min=0.0,
    )


def find(
    *,
    folder: Path = DIR,
    frames: Frames,
    camera: str | None = CAMERA,
    choice: Choice,
    as_json: bool = AS_JSON,
) -> None:
    """Find the product for each frame, and say rule by rule why it and not the others.

    Same camera and settings; not rejected; certified for the frame's time, else the nearest in
    time; of those the one whose dark has the smallest predicted error. Exit 1 where a frame has
    none.

    Example: emdarks library find library darks/cgi_*0000000_l2a.fits
    """
    from emdarks.library import Kind, Library

    options = arguments(choice) | {"kind": Kind(choice.kind.value)}
    dataset = named_frames(frames, camera)
    found = Library(folder).find(dataset, camera=camera, **options)
    if as_json:
        console.json_out({"frames": [match.as_dict() for match in found]})
    else:
        for match in found:
            _tell_match(match)
    missing = [match for match in found if match.entry is None]
    if missing:
        raise typer.Exit(1)


def _tell_match(match: Match) -> None:
    entry = match.entry
    if entry is None:
        console.say_error(match.missing)
        return
    error = match.predicted_error
    predicted = f", predicted error {error:.4g} e-" if error == error else ""
    console.say(f"{match.request.name}: product {entry.id}, {entry.path}{predicted}")
    for step in match.steps:
        console.say(f"  {step.rule}: {step.words}; {step.left} left")
    if match.beyond:
        console.say(f"  beyond what was measured: {match.beyond}")


def remove(
    *, folder: Path = DIR, product: int = ID, why: str = WHY, as_json: bool = AS_JSON
) -> None:
    """Take a product out of a library; its file is deleted where it lies within DIR.

    Example: emdarks library remove library 2 --why "a trial"
    """
    from emdarks.library import Library

    entry = Library(folder).remove(product, why)
    console.result({"removed": entry.id, "file": entry.path}, as_json)


@group
class Certificate:
    """Validity of a product, or why it has none."""

    first: str | None = option(
        None,
        "Valid from this date (ISO 8601, UTC) or MJD; default: no limit.",
        *("--from",),
        metavar="DATE",
        in_file=False,
    )
    last: str | None = option(
        None,
        "Valid to this one (a day alone: its beginning); default: no limit.",
        *("--to",),
        metavar="DATE",
        in_file=False,
    )
    reject: str = option(
        "",
        "Take the product out of use without deleting it, and keep why.",
        metavar="WHY",
        in_file=False,
    )
    undo: bool = option(
        False, "Take back validity and rejection, as when it was added.", in_file=False
    )
    why: str = WHY

    def __post_init__(self) -> None:
        """Refuse several at once."""
        if sum(map(bool, (self.reject, self.first or self.last, self.undo))) > 1:
            raise typer.BadParameter("give one of --reject, --undo, a validity (--from, --to)")


def certify(
    *, folder: Path = DIR, product: int = ID, certificate: Certificate, as_json: bool = AS_JSON
) -> None:
    """Say from when to when a product is valid, or take it out of use.

    Within its validity a product comes before those that are not certified; it is never used
    outside. One that was rejected is in use again; --undo puts it back as it was added.

    Example: emdarks library certify library 1 --from 2026-01-01 --to 2026-02-01
    """
    from emdarks.library import Library

    library = Library(folder)
    if certificate.undo:
        entry = library.undo(product, certificate.why)
    elif certificate.reject:
        entry = library.reject(product, certificate.reject)
    else:
        entry = library.certify(product, certificate.first, certificate.last, why=certificate.why)
    _tell_entries([entry], as_json)


def check(
    *,
    folder: Path = DIR,
    mend: bool = MEND,
    as_json: bool = AS_JSON,
) -> None:
    """Look at every byte of a library, and say what is wrong; mend what can be mended.

    --mend finds files that were moved within DIR, takes products out of use whose file is gone or
    has changed, adds files that are not in the index, and makes a damaged index anew. It deletes
    nothing. Exit 1 where a problem is left.

    Example: emdarks library check library
    """
    from dataclasses import asdict

    from emdarks.library import check_library

    found = check_library(folder, mend)
    if as_json:
        console.json_out({"findings": [asdict(finding) for finding in found]})
    else:
        for finding in found:
            console.finding(finding.severity, finding.text, finding.remedy)
        console.say(f"{folder}: {len(found) or 'nothing'} found")
    if any(finding.severity == "problem" for finding in found):
        raise typer.Exit(1)


@group
class Following:
    """What is followed, and where the page is written."""

    kind: Kinds | None = option(None, "Only products of this kind.", in_file=False)
    camera: str | None = option(None, "Only products of this camera.")
    output: Path | None = option(
        None,
        "Page to write (HTML), or a folder (trend.html).",
        *("--output", "-o"),
        metavar="PATH",
        in_file=False,
    )
    png: str | None = option(None, "Folder for the figures as files.", metavar="DIR", in_file=False)
    overwrite: bool = option(False, "Replace what is there.", in_file=False)

    def __post_init__(self) -> None:
        """Refuse figures of no page."""
        if self.png is not None and self.output is None:
            raise typer.BadParameter("--png needs a page: give -o")


def trend(*, folder: Path = DIR, following: Following, as_json: bool = AS_JSON) -> None:
    """Follow image means, read noise, gains and hot pixels over time, and say what has changed.

    Cameras and readout settings are never mixed. Chance raises an alarm in at most 1 of 100
    libraries where nothing has changed.

    Example: emdarks library trend library -o trend.html
    """
    from emdarks.library import Kind, Library, find_trends
    from emdarks.report import trend_page

    target = None
    if following.output is not None:
        target = Path(str(output_file(following.output, "trend.html", following.overwrite)))
    figures = figures_folder(following.png)
    library = Library(folder)
    kind = None if following.kind is None else Kind(following.kind.value)
    found = find_trends(library, kind, following.camera)
    page = None if target is None else trend_page(library, found, target.parent)
    if page is not None and target is not None:
        page.save(target, figures, f"{target.stem}_")
    if as_json:
        console.json_out(found.as_dict() | {"page": target and str(target)})
        return
    for finding in found.findings:
        console.finding(
            finding.severity, finding.text.replace("`", ""), finding.remedy.replace("`", "")
        )
    console.say(f"{target or folder}: has anything changed? {found.answer[1]}")


def import_(
    *,
    folder: Path = DIR,
    database: Path = CALDB,
    copy: bool = COPY,
    camera: str | None = CAMERA,
    as_json: bool = AS_JSON,
) -> None:
    """Add the products of a calibration database of corgidrp (CSV).

    Exit 1 where a product could not be added.

    Example: emdarks library import library caldb.csv
    """
    from emdarks.library import Library, import_caldb

    found = import_caldb(Library(folder), database, camera=camera, copy=copy)
    for file, why in found.refused:
        console.say_error(why if why.startswith(file) else f"{file}: {why}")
    kinds = sorted({kind for _, kind in found.others})
    console.result(
        {
            "products": [entry.id for entry in found.entries],
            "refused": len(found.refused),
            "of_other_kinds": len(found.others),
            "other_kinds": ", ".join(kinds),
        },
        as_json,
    )
    if found.refused:
        raise typer.Exit(1)


@group
class Exporting:
    """What is written, and where."""

    corgidrp: bool = option(
        False, "A calibration database of corgidrp (CSV), the one format.", in_file=False
    )
    output: str = output_option("File to write, or a folder (caldb.csv).")
    overwrite: bool = option(False, "Replace what is there.", in_file=False)

    def __post_init__(self) -> None:
        """Refuse to guess the format."""
        if not self.corgidrp:
            raise typer.BadParameter("say the format: --corgidrp")


def export(*, folder: Path = DIR, exporting: Exporting, as_json: bool = AS_JSON) -> None:
    """Write a calibration database that corgidrp reads; rejected products are left out.

    Example: emdarks library export library --corgidrp -o caldb.csv
    """
    from emdarks.library import Library, export_caldb

    target = output_file(exporting.output, "caldb.csv", exporting.overwrite)
    entries = export_caldb(Library(folder), str(target))
    console.result({"database": str(target), "products": len(entries)}, as_json)


def _tell_entries(entries: list[Entry], as_json: bool) -> None:
    if as_json:
        console.json_out({"products": [_values(entry) for entry in entries]})
        return
    from emdarks.cli.tables import products_table

    console.show(products_table(entries))


def _values(entry: Entry) -> dict[str, Any]:
    """What a library keeps of a product, for machines."""
    from dataclasses import asdict

    values = asdict(entry)
    values["numbers"] = {name: number._asdict() for name, number in entry.numbers.items()}
    return values


app = typer.Typer(
    name="library",
    help="A library of calibrations: which product is for this frame, and why.",
    no_args_is_help=True,
)
# In the order of the help, which is that of work.
COMMANDS: dict[str, Callable[..., None]] = {
    "init": init,
    "add": add,
    "list": list_,
    "show": show,
    "find": find,
    "certify": certify,
    "remove": remove,
    "check": check,
    "trend": trend,
    "export": export,
    "import": import_,
}
for name, function in COMMANDS.items():
    app.command(name, cls=WithDefaults)(command(function))
