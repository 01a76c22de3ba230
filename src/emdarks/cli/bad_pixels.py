"""The command that finds bad pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from emdarks.cli import console
from emdarks.cli.options import AsJson, CameraName, FullFrame, Output, Overwrite

__all__ = ["badpixels"]

#: Endings of tables, and Astropy's names of their formats.
_TABLES = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}


def badpixels(
    product: Annotated[
        Path,
        typer.Argument(metavar="MAPS|DARK", help="Noise maps or a master dark (FITS)."),
    ],
    output: Output,
    sigmas: Annotated[
        float, typer.Option("--sigmas", help="How far above its neighbourhood a pixel must lie.")
    ] = 5.0,
    warm: Annotated[
        float,
        typer.Option("--warm", help="Dark current over the local median, from which on warm."),
    ] = 5.0,
    hot: Annotated[
        float, typer.Option("--hot", help="Dark current over the local median, from which on hot.")
    ] = 50.0,
    window: Annotated[
        int, typer.Option("--window", min=8, help="Side of the neighbourhood, pixels.")
    ] = 64,
    full_frame: FullFrame = False,
    clipped: Annotated[
        bool, typer.Option("--clipped", help="Use the published maps, not the signed fit.")
    ] = False,
    regions: Annotated[
        Path | None,
        typer.Option("--regions", metavar="FILE", help="Hot and warm pixels as regions for DS9."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table", metavar="FILE", help="Hot and warm pixels as a table, .csv or .ecsv."
        ),
    ] = None,
    camera: CameraName = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a map of bad pixels: hot, warm, unfittable, flagged.

    --warm and --hot count for noise maps; in a dark every pixel that stands out is hot.

    Example: emdarks badpixels maps.fits -o bad.fits --table hot.csv
    """
    if table is not None and table.suffix not in _TABLES:
        raise typer.BadParameter(f"--table {table}: give a name that ends in .csv or .ecsv")
    with console.spoken():
        from emdarks.bad_pixels import build_bad_pixel_map, ds9_regions, hot_pixel_table
        from emdarks.fits import whole_file
        from emdarks.products import load_product
        from emdarks.products.header import product_name

        path = console.target(output, product_name(product.name, "_bpm_cal"), overwrite)
        lists = _lists(path, regions, table, overwrite, (product, camera))
        console.spare_files(path, (product, camera))
        judged = load_product(product)
        made = build_bad_pixel_map(
            judged,
            sigmas=sigmas,
            warm=warm,
            hot=hot,
            window=window,
            full_frame=full_frame,
            use_signed=not clipped,
            camera=camera,
        )
        made.filename = path.name
        texts: dict[Path, str] = {}
        if regions is not None:
            texts[lists[0]] = ds9_regions(made)
        if table is not None:
            found = hot_pixel_table(made, judged, use_signed=not clipped, camera=camera)
            texts[lists[-1]] = _written(found, _TABLES[table.suffix])
        made.save(path.parent, path.name)
        for file, text in texts.items():
            with whole_file(file) as stream:
                stream.write(text.encode("utf-8"))
        header = made.ext_hdr
        console.result(
            {
                "bad_pixel_map": str(path),
                "pixels": int(made.data.size),
                "bad_pixels": int(header["NBADPIX"]),
                "hot_pixels": int(header["NHOT"]),
                "warm_pixels": int(header["NWARM"]),
                "not_finite": int(((made.data & 1) != 0).sum()),
                **({} if regions is None else {"regions": str(regions)}),
                **({} if table is None else {"table": str(table)}),
            },
            as_json,
        )


def _lists(
    path: console.Target,
    regions: Path | None,
    table: Path | None,
    overwrite: bool,
    reads: tuple[Path | str | None, ...],
) -> list[Path]:
    """Files that list pixels, each one that may be written, and not twice the same."""
    from emdarks.errors import InputError

    taken = [str(path)]
    for file, name in ((regions, "hot.reg"), (table, "hot.csv")):
        if file is None:
            continue
        target = console.target(file, name, overwrite)
        console.spare_files(target, reads)
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
