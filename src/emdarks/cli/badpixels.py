"""The command that finds bad pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, argument, arguments, group, option
from emdarks.cli.options import CAMERA, CLIPPED, FULL_FRAME, CalibrationOutput
from emdarks.cli.output_files import Target, check_not_read, output_file
from emdarks.cli.prologue import calibration_file, save_calibration

if TYPE_CHECKING:
    from emdarks.data import BadPixelMap

#: Endings of tables, and Astropy's names of their formats.
_TABLES = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}


@group
class Criteria:
    """When a pixel is bad."""

    sigmas: float = option(5.0, "How far above its neighbourhood a pixel must lie.")
    warm: float = option(5.0, "Dark current over the local median, from which on warm.")
    hot: float = option(50.0, "Dark current over the local median, from which on hot.")
    window: int = option(64, "Side of the neighbourhood, pixels.", min=8)
    full_frame: bool = FULL_FRAME
    clipped: bool = CLIPPED


@group
class Lists:
    """Files that list hot and warm pixels."""

    regions: Path | None = option(
        None, "Hot and warm pixels as regions for DS9.", metavar="FILE", in_file=False
    )
    table: Path | None = option(
        None, "Hot and warm pixels as a table, .csv or .ecsv.", metavar="FILE", in_file=False
    )

    def __post_init__(self) -> None:
        """Refuse a table of an unknown format."""
        if self.table is not None and self.table.suffix not in _TABLES:
            raise typer.BadParameter(
                f"--table {self.table}: give a name that ends in .csv or .ecsv"
            )

    @property
    def values(self) -> dict[str, str]:
        """Names of those that are asked for."""
        return {name: str(file) for name, file in vars(self).items() if file is not None}


PRODUCT = argument(REQUIRED, "Noise maps or a master dark (FITS).", metavar="MAPS|DARK")


def badpixels(
    *,
    product: Path = PRODUCT,
    criteria: Criteria,
    lists: Lists,
    camera: str | None = CAMERA,
    output: CalibrationOutput,
) -> None:
    """Make a map of bad pixels: hot, warm, unfittable, flagged.

    --warm and --hot count for noise maps; in a dark every pixel that stands out is hot.

    Example: emdarks badpixels maps.fits -o bad.fits --table hot.csv
    """
    from emdarks.bad_pixels import build_bad_pixel_map, ds9_regions, hot_pixel_table
    from emdarks.fits import whole_file
    from emdarks.products import load_product
    from emdarks.products.header import product_name

    path = calibration_file(output, product_name(product.name, "_bpm_cal"))
    targets = _targets(path, lists, output.overwrite, (product, camera))
    judged = load_product(product)
    made = build_bad_pixel_map(judged, camera=camera, **arguments(criteria))
    made.filename = path.name
    texts: dict[Path, str] = {}
    if lists.regions is not None:
        texts[targets[0]] = ds9_regions(made)
    if lists.table is not None:
        found = hot_pixel_table(made, judged, use_signed=not criteria.clipped, camera=camera)
        texts[targets[-1]] = _written(found, _TABLES[lists.table.suffix])
    kept, number = save_calibration(made, output, path, camera)
    for file, text in texts.items():
        with whole_file(file) as stream:
            stream.write(text.encode("utf-8"))
    console.result(
        {"bad_pixel_map": str(kept)} | _values(made) | number | lists.values, output.as_json
    )


def _values(made: BadPixelMap) -> dict[str, int]:
    """Numbers of pixels."""
    header = made.ext_hdr
    return {
        "pixels": int(made.data.size),
        "bad_pixels": int(header["NBADPIX"]),
        "hot_pixels": int(header["NHOT"]),
        "warm_pixels": int(header["NWARM"]),
        "not_finite": int(((made.data & 1) != 0).sum()),
    }


def _targets(
    path: Target,
    lists: Lists,
    overwrite: bool,
    reads: tuple[Path | str | None, ...],
) -> list[Path]:
    """Files that list pixels, each one that may be written, and not twice the same."""
    from emdarks.errors import InputError

    check_not_read(path, reads)
    taken = [str(path)]
    for file, name in ((lists.regions, "hot.reg"), (lists.table, "hot.csv")):
        if file is None:
            continue
        target = output_file(file, name, overwrite)
        check_not_read(target, reads)
        if str(target) in taken:
            raise InputError(f"{target}: is named for two outputs; give each its own name")
        taken.append(str(target))
    return [Path(name) for name in taken[1:]]


def _written(table: Any, kind: str) -> str:
    """A table of Astropy as the text of a file."""
    import io

    text = io.StringIO()
    table.write(text, format=kind)
    return text.getvalue()
