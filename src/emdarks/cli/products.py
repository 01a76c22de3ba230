"""Commands that make products: noise maps, master darks."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any

import typer

from emdarks.cli import console
from emdarks.cli.options import (
    AsJson,
    CameraName,
    CheckpointFolder,
    DaskAddress,
    Exclude,
    Frames,
    FullFrame,
    KGain,
    MapsModel,
    MaskBits,
    ModelName,
    Output,
    Overwrite,
    Params,
    SkipBad,
    SkipKinds,
    SkipShare,
    ThreadCount,
    Where,
    conditions,
    detector_params,
    kinds,
)
from emdarks.cli.stack_choice import one_stack_of_several

__all__ = ["dark", "noisemaps", "synthesize"]


class MapsEstimator(StrEnum):
    """Estimators of noise maps."""

    pooled = "pooled"
    reference = "reference"


class DarkEstimator(StrEnum):
    """Estimators of the error of a traditional dark."""

    sample = "sample"
    pooled = "pooled"
    reference = "reference"


def noisemaps(
    frames: Frames,
    output: Output,
    unweighted: Annotated[
        bool, typer.Option("--unweighted", help="Treat all stacks alike in the fit.")
    ] = False,
    estimator: Annotated[
        MapsEstimator, typer.Option(help="How values and errors are estimated.")
    ] = MapsEstimator.pooled,
    nonnegative: Annotated[
        str, typer.Option(help="Published planes in which negative values become 0.")
    ] = "CIC,DC",
    model: ModelName = MapsModel.full,
    screen: Annotated[
        bool, typer.Option("--screen", help="Take out unflagged cosmic rays.")
    ] = False,
    gain_error: Annotated[
        float,
        typer.Option("--gain-error", help="Relative error of each stack's EM gain, added to err."),
    ] = 0.0,
    where: Where = None,
    exclude: Exclude = None,
    camera: CameraName = None,
    params: Params = None,
    kgain: KGain = None,
    mask_bits: MaskBits = None,
    skip_bad_frames: SkipBad = False,
    skip: SkipKinds = None,
    skip_share: SkipShare = 0.1,
    threads: ThreadCount = None,
    dask: DaskAddress = None,
    checkpoint: CheckpointFolder = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fit fixed-pattern noise, clock-induced charge and dark current, pixel by pixel.

    Frames of at least four pairs of EM gain and exposure time are needed. With --model level,
    three stacks of one gain and several times give the maps of darks of any time at that gain,
    three stacks of one time and several gains those of darks of any gain at that time.

    Example: emdarks noisemaps darks/ -o maps.fits
    """
    planes = [name.strip() for name in nonnegative.split(",") if name.strip()]
    if not set(planes) <= {"FPN", "CIC", "DC"}:
        raise typer.BadParameter("--nonnegative takes names out of FPN,CIC,DC")
    wanted, reasons = conditions(where), kinds(skip)
    with console.spoken():
        import numpy as np

        from emdarks.cameras import load_camera
        from emdarks.darks import calibrate_darks_lsq
        from emdarks.frames import camera_named_in, select_frames
        from emdarks.products.header import product_name
        from emdarks.products.model import model_of, model_words

        dataset = select_frames(
            frames, camera, wanted, exclude=exclude or (), skip_bad_frames=skip_bad_frames
        )
        path = console.target(
            output, product_name(dataset.frames[-1].filename, "_dnm_cal"), overwrite
        )
        console.spare_inputs(path, dataset)
        console.spare_files(path, (params, camera))
        with console.streaming(
            "reading", len(dataset), threads, "fitting", dask, checkpoint
        ) as executor:
            maps = calibrate_darks_lsq(
                dataset,
                detector_params(params),
                weighting=not unweighted,
                estimator=estimator.value,
                model=model.value,
                nonnegative=planes,
                camera=camera,
                kgain=kgain,
                mask_bits=mask_bits,
                skip_bad_frames=skip_bad_frames,
                skip=reasons,
                skip_share=skip_share,
                gain_error=gain_error,
                screen=screen,
                executor=executor,
            )
        maps.save(path.parent, path.name)
        header = maps.ext_hdr
        chosen = load_camera(camera or camera_named_in(dataset))
        has_prescan = "prescan" in chosen.geometry[chosen.arrtype]
        rejected = maps.extra("REJECTED")
        console.result(
            {
                "noise_maps": str(path),
                "frames": len(maps.hdu_list["INPUTS"].data),
                "skipped_frames": int(header.get("NSKIPPED", 0)),
                "stacks": len(maps.hdu_list["STACKS"].data),
                "estimator": estimator.value,
                "model": model_of(header),
                **_means(header),
                "bias_offset_dn": header["B_O"] if has_prescan else math.nan,
                **({} if rejected is None else {"rejected_samples": int(rejected.sum())}),
                "unfittable_pixels": int(((maps.dq[0] != 0) & ~np.isnan(maps.data[0])).sum()),
                **(console.left_out(dataset) if as_json else {}),
            },
            as_json,
        )
        for words in () if as_json else model_words(header):
            console.say(words)


def _means(header: Any) -> dict[str, float]:
    """Image means of the maps that there are; NaN for one that the stacks cannot tell."""
    from emdarks.products.model import absent_planes

    keys = ("FPN_IMM", "CIC_IMM", "DC_IMM")
    names = ("mean_fpn_e", "mean_cic_e_per_frame", "mean_dc_e_per_s")
    absent = absent_planes(header)
    return {
        name: math.nan if gone else header[key]
        for name, key, gone in zip(names, keys, absent, strict=True)
    }


def dark(
    frames: Frames,
    output: Output,
    gain: Annotated[
        float | None, typer.Option("--gain", help="Take only frames of this commanded EM gain.")
    ] = None,
    exptime: Annotated[
        float | None, typer.Option("--exptime", help="Take only frames of this exposure time, s.")
    ] = None,
    where: Where = None,
    exclude: Exclude = None,
    full_frame: FullFrame = False,
    estimator: Annotated[
        DarkEstimator, typer.Option(help="How errors are estimated.")
    ] = DarkEstimator.sample,
    camera: CameraName = None,
    params: Params = None,
    kgain: KGain = None,
    mask_bits: MaskBits = None,
    skip_bad_frames: SkipBad = False,
    skip: SkipKinds = None,
    skip_share: SkipShare = 0.1,
    threads: ThreadCount = None,
    dask: DaskAddress = None,
    checkpoint: CheckpointFolder = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Average frames of one EM gain and exposure time into a traditional master dark.

    Example: emdarks dark darks/ -o traditional.fits --gain 1000 --exptime 60
    """
    wanted, reasons = conditions(where), kinds(skip)
    with console.spoken():
        from emdarks.darks import build_trad_dark
        from emdarks.frames import select_frames
        from emdarks.products.header import product_name

        found = select_frames(
            frames, camera, wanted, exclude=exclude or (), skip_bad_frames=skip_bad_frames
        )
        dataset = _chosen(found, camera, gain, exptime, kgain, skip_bad_frames)
        path = console.target(
            output, product_name(dataset.frames[-1].filename, "_drk_cal"), overwrite
        )
        console.spare_inputs(path, dataset)
        console.spare_files(path, (params, camera))
        with (
            one_stack_of_several(),
            console.streaming(
                "reading", len(dataset), threads, "combining", dask, checkpoint
            ) as executor,
        ):
            product = build_trad_dark(
                dataset,
                detector_params(params),
                full_frame=full_frame,
                estimator=estimator.value,
                camera=camera,
                kgain=kgain,
                mask_bits=mask_bits,
                skip_bad_frames=skip_bad_frames,
                skip=reasons,
                skip_share=skip_share,
                executor=executor,
            )
        product.save(path.parent, path.name)
        skipped = {"skipped_frames": int(product.ext_hdr.get("NSKIPPED", 0))}
        unused = console.left_out(dataset) if as_json else {}
        console.result(_dark_result(product, path) | skipped | unused, as_json)


def _chosen(
    dataset: Any,
    camera: str | None,
    gain: float | None,
    exptime: float | None,
    kgain: float | None,
    skip_bad_frames: bool,
) -> Any:
    """Those frames of a dataset that have the EM gain and exposure time asked for."""
    from emdarks.cameras import load_camera
    from emdarks.errors import EmdarksError, InputError
    from emdarks.frames import BadFrame, camera_named_in, frame_inputs

    if gain is None and exptime is None:
        return dataset
    known = load_camera(camera or camera_named_in(dataset))
    chosen = []
    for i, frame in enumerate(dataset):
        try:
            record = frame_inputs([frame], known, kgain)[0].record
        except EmdarksError as error:
            if not skip_bad_frames:
                raise
            dataset.skipped += (BadFrame.of(frame.filepath, error),)
            continue
        if (gain is None or math.isclose(record.commanded_gain, gain)) and (
            exptime is None or math.isclose(record.exposure_time, exptime, rel_tol=1e-6)
        ):
            chosen.append(i)
    if not chosen:
        raise InputError(
            f"none of the {len(dataset)} frames has the gain and time asked for; "
            "emdarks inspect shows which there are"
        )
    return dataset[chosen]


def synthesize(
    maps: Annotated[str, typer.Argument(metavar="MAPS", help="Noise maps (FITS), or their URL.")],
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
    if like is not None and (gain is not None or exptime is not None):
        raise typer.BadParameter("--like takes gain and time from the frame")
    if like is None and (gain is None or exptime is None):
        raise typer.BadParameter("give either --like FRAME, or --gain and --exptime")
    with console.spoken():
        from emdarks.cameras import BUILTIN, camera_of_product, load_camera
        from emdarks.darks import build_synthesized_dark
        from emdarks.data import DetectorNoiseMaps
        from emdarks.detector import frame_shape, region_slices
        from emdarks.errors import InputError
        from emdarks.frames import reads_extensions, select_frames
        from emdarks.products.header import product_name

        product = DetectorNoiseMaps(maps)
        path = console.target(output, product_name(product.filename, "_drk_cal"), overwrite)
        console.spare_files(path, (maps, like, camera))
        if like is not None:
            made = build_synthesized_dark(
                select_frames([like], extensions=reads_extensions(camera)),
                product,
                full_frame=full_frame,
                use_signed=not clipped,
                camera=camera,
                kgain=kgain,
            )
        else:
            assert gain is not None
            assert exptime is not None
            section = None
            if not full_frame:
                chosen = camera_of_product(product, camera) or load_camera(BUILTIN[0])
                chosen = chosen.fitted_to(product.data.shape[1:])
                expected = frame_shape(chosen.arrtype, chosen.regions)
                if product.data.shape[1:] != expected:
                    raise InputError(
                        f"{maps}: has {product.data.shape[1]} x {product.data.shape[2]} pixels, "
                        f"camera {chosen.name} {expected[0]} x {expected[1]}; give --camera"
                    )
                section = region_slices(chosen.arrtype, "image", chosen.regions)
            made = product.synthesize(gain, exptime, kgain, section, use_signed=not clipped)
        made.save(path.parent, path.name)
        console.result(_dark_result(made, path), as_json)


def _median(plane: Any) -> float:
    """Median of what is finite; NaN where nothing is."""
    import numpy as np

    known = plane[np.isfinite(plane)]
    return float(np.median(known)) if known.size else math.nan


def _dark_result(product: Any, path: console.Target) -> dict[str, Any]:
    header = product.ext_hdr
    return {
        "dark": str(path),
        "em_gain": float(header["EMGAIN_C"]),
        "exposure_time_s": float(header["EXPTIME"]),
        "median_e": _median(product.data),
        "median_error_e": _median(product.err[0]),
        "flagged_pixels": int((product.dq != 0).sum()),
    }
