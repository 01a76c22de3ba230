"""The command that finds bad pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emdarks.cli import talk
from emdarks.cli.options import AsJson, CameraName, FullFrame, Output, Overwrite

__all__ = ["badpixels"]


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
    camera: CameraName = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a map of bad pixels: hot, warm, unfittable, flagged.

    --warm and --hot count for noise maps; in a dark every pixel that stands out is hot.
    Example: emdarks badpixels maps.fits -o bad.fits
    """
    with talk.spoken():
        from emdarks.badpixels import build_bad_pixel_map
        from emdarks.products.header import product_name

        path = talk.target(output, product_name(product.name, "_bpm_cal"), overwrite)
        talk.spare_files(path, (product, camera))
        made = build_bad_pixel_map(
            product,
            sigmas=sigmas,
            warm=warm,
            hot=hot,
            window=window,
            full_frame=full_frame,
            use_signed=not clipped,
            camera=camera,
        )
        made.save(path.parent, path.name)
        header = made.ext_hdr
        talk.result(
            {
                "bad_pixel_map": str(path),
                "pixels": int(made.data.size),
                "bad_pixels": int(header["NBADPIX"]),
                "hot_pixels": int(header["NHOT"]),
                "warm_pixels": int(header["NWARM"]),
                "not_finite": int(((made.data & 1) != 0).sum()),
            },
            as_json,
        )
