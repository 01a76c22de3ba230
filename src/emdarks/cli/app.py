"""The commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from emdarks.cli import talk

__all__ = ["app", "main"]

app = typer.Typer(
    name="emdarks",
    help="Dark calibration for EMCCD cameras: dark frames in, master darks and noise maps out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Frames = Annotated[
    list[str],
    typer.Argument(
        metavar="FRAMES...",
        help="Files, folders, quoted patterns, or @list.txt with one of these a line.",
    ),
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", help="File to write, or a folder (documented file name)."),
]
CameraName = Annotated[
    str | None,
    typer.Option(
        "--camera",
        help="Built-in camera or camera file; default: the frames' CAMERA card, else excam.",
    ),
]
Params = Annotated[
    Path | None, typer.Option("--params", help="Detector parameters (FITS): telemetry rows.")
]
KGain = Annotated[
    float | None, typer.Option("--kgain", help="Electrons per DN, instead of the headers'.")
]
MaskBits = Annotated[
    int | None, typer.Option("--mask-bits", help="DQ bits that exclude a sample; default: all.")
]
ThreadCount = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads; default: all cores.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
FullFrame = Annotated[
    bool, typer.Option("--full-frame", help="Whole frame instead of the image region.")
]


def _version(wanted: bool) -> None:
    if wanted:
        from emdarks import __version__

        typer.echo(f"emdarks {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


def _params(path: Path | None) -> Any:
    from emdarks.data import DetectorParams

    return None if path is None else DetectorParams(path)


@app.command()
def noisemaps(
    frames: Frames,
    output: Output,
    unweighted: Annotated[
        bool, typer.Option("--unweighted", help="Treat all stacks alike in the fit.")
    ] = False,
    estimator: Annotated[str, typer.Option(help="How values and errors are estimated.")] = (
        "reference"
    ),
    nonnegative: Annotated[
        str, typer.Option(help="Published planes in which negative values become 0.")
    ] = "CIC,DC",
    camera: CameraName = None,
    params: Params = None,
    kgain: KGain = None,
    mask_bits: MaskBits = None,
    threads: ThreadCount = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fit fixed-pattern noise, clock-induced charge and dark current, pixel by pixel.

    Frames of at least four pairs of EM gain and exposure time are needed. Example:
    emdarks noisemaps darks/ -o maps.fits
    """
    with talk.spoken():
        import numpy as np

        from emdarks.darks import calibrate_darks_lsq
        from emdarks.execution import Threads
        from emdarks.frames import select_frames
        from emdarks.products.header import product_name

        dataset = select_frames(frames)
        path = talk.target(output, product_name(dataset.frames[-1].filename, "_dnm_cal"), overwrite)
        maps = calibrate_darks_lsq(
            dataset,
            _params(params),
            weighting=not unweighted,
            estimator=estimator,
            nonnegative=[name.strip() for name in nonnegative.split(",") if name.strip()],
            camera=camera,
            kgain=kgain,
            mask_bits=mask_bits,
            executor=Threads(threads),
        )
        maps.save(path.parent, path.name)
        header = maps.ext_hdr
        talk.result(
            {
                "noise_maps": str(path),
                "frames": len(dataset),
                "stacks": len(maps.hdu_list["STACKS"].data),
                "estimator": estimator,
                "mean_FPN_e": header["FPN_IMM"],
                "mean_CIC_e_per_frame": header["CIC_IMM"],
                "mean_DC_e_per_s": header["DC_IMM"],
                "bias_offset_DN": header["B_O"],
                "unfittable_pixels": int(((maps.dq[0] != 0) & ~np.isnan(maps.data[0])).sum()),
            },
            as_json,
        )


@app.command()
def dark(
    frames: Frames,
    output: Output,
    full_frame: FullFrame = False,
    estimator: Annotated[str, typer.Option(help="How errors are estimated.")] = "sample",
    camera: CameraName = None,
    params: Params = None,
    kgain: KGain = None,
    mask_bits: MaskBits = None,
    threads: ThreadCount = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Average frames of one EM gain and exposure time into a traditional master dark.

    Example: emdarks dark 'darks/*_g1000_t60_*.fits' -o dark.fits
    """
    with talk.spoken():
        from emdarks.darks import build_trad_dark
        from emdarks.execution import Threads
        from emdarks.frames import select_frames
        from emdarks.products.header import product_name

        dataset = select_frames(frames)
        path = talk.target(output, product_name(dataset.frames[-1].filename, "_drk_cal"), overwrite)
        product = build_trad_dark(
            dataset,
            _params(params),
            full_frame=full_frame,
            estimator=estimator,
            camera=camera,
            kgain=kgain,
            mask_bits=mask_bits,
            executor=Threads(threads),
        )
        product.save(path.parent, path.name)
        talk.result(_dark_result(product, path), as_json)


@app.command()
def synthesize(
    maps: Annotated[Path, typer.Argument(metavar="MAPS", help="Noise maps (FITS).")],
    output: Output,
    like: Annotated[
        str | None, typer.Option("--like", help="Frame whose gain and time the dark is for.")
    ] = None,
    gain: Annotated[float | None, typer.Option("--gain", help="EM gain.")] = None,
    exptime: Annotated[float | None, typer.Option("--exptime", help="Exposure time, s.")] = None,
    kgain: KGain = None,
    full_frame: FullFrame = False,
    clipped: Annotated[
        bool, typer.Option("--clipped", help="Use the published maps, not the signed fit.")
    ] = False,
    camera: CameraName = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Make a master dark for any EM gain and exposure time from noise maps.

    Example: emdarks synthesize maps.fits -o dark.fits --gain 1000 --exptime 60
    """
    if (like is None) == (gain is None or exptime is None):
        raise typer.BadParameter("give either --like FRAME, or --gain and --exptime")
    with talk.spoken():
        from emdarks.cameras import load_camera
        from emdarks.darks import build_synthesized_dark
        from emdarks.data import DetectorNoiseMaps
        from emdarks.detector import region_slices
        from emdarks.frames import select_frames
        from emdarks.products.header import product_name

        product = DetectorNoiseMaps(maps)
        path = talk.target(output, product_name(product.filename, "_drk_cal"), overwrite)
        if like is not None:
            made = build_synthesized_dark(
                select_frames([like]),
                product,
                full_frame=full_frame,
                use_signed=not clipped,
                camera=camera,
            )
        else:
            assert gain is not None
            assert exptime is not None
            section = None
            if not full_frame:
                chosen = load_camera(camera or _camera_of(product))
                section = region_slices(chosen.arrtype, "image", chosen.regions)
            made = product.synthesize(gain, exptime, kgain, section, use_signed=not clipped)
        made.save(path.parent, path.name)
        talk.result(_dark_result(made, path), as_json)


def _camera_of(product: Any) -> str:
    from emdarks.cameras import BUILTIN

    name = product.ext_hdr.get("CAMERA", product.pri_hdr.get("CAMERA"))
    return name if name in BUILTIN else BUILTIN[0]


def _dark_result(product: Any, path: Path) -> dict[str, Any]:
    import numpy as np

    header = product.ext_hdr
    return {
        "dark": str(path),
        "EM_gain": float(header["EMGAIN_C"]),
        "exposure_time_s": float(header["EXPTIME"]),
        "median_e": float(np.nanmedian(product.data)),
        "median_error_e": float(np.nanmedian(product.err[0])),
        "flagged_pixels": int((product.dq != 0).sum()),
    }


def main() -> None:
    """Run the command line."""
    app()
