"""The command that makes noise maps."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import arguments, group, option
from emdarks.cli.options import (
    FLAG_LEVEL,
    GAIN_SOURCE,
    MODEL,
    READ_NOISE,
    BadSamples,
    CalibrationOutput,
    Execution,
    Frames,
    GainSource,
    MapsModel,
    RawFrames,
)
from emdarks.cli.prologue import open_frames, product_target, save_calibration, streaming

if TYPE_CHECKING:
    from emdarks.data import DetectorNoiseMaps


class MapsEstimator(StrEnum):
    """Estimators of noise maps."""

    pooled = "pooled"
    reference = "reference"
    counting = "counting"
    frames = "frames"


class ThresholdCheck(StrEnum):
    """What is done with stacks that flags cut into."""

    warn = "warn"
    leave_out = "leave-out"
    off = "off"


#: As `emdarks.calibrate_darks_lsq` takes them.
_CHECKS: dict[ThresholdCheck, str | bool] = {
    ThresholdCheck.warn: "warn",
    ThresholdCheck.leave_out: True,
    ThresholdCheck.off: False,
}


def planes(nonnegative: str) -> list[str]:
    """Names of ``--nonnegative``.

    Raises
    ------
    typer.BadParameter
        There is no such plane.
    """
    names = [name.strip() for name in nonnegative.split(",") if name.strip()]
    if not set(names) <= {"FPN", "CIC", "DC"}:
        raise typer.BadParameter("--nonnegative takes names out of FPN,CIC,DC")
    return names


@group
class MapsFit:
    """How noise maps are fitted."""

    unweighted: bool = option(
        False,
        "Treat all stacks alike in the fit.",
        keyword="weighting",
        convert=lambda unweighted: not unweighted,
    )
    estimator: MapsEstimator = option(MapsEstimator.pooled, "How values and errors are estimated.")
    weight_power: int = option(
        2,
        "Estimator frames: power of the number of good samples that is a stack's weight.",
        min=1,
        max=2,
    )
    threshold_check: ThresholdCheck = option(
        ThresholdCheck.warn,
        "What is done with stacks whose own charge is flagged.",
        keyword="CR_threshold_check",
        convert=_CHECKS.__getitem__,
    )
    nonnegative: str = option(
        "CIC,DC", "Published planes in which negative values become 0.", convert=planes
    )
    model: MapsModel = MODEL
    screen: bool = option(False, "Take out unflagged cosmic rays.")
    gain_error: float = option(0.0, "Relative error of each stack's EM gain, added to err.")
    gain_source: GainSource = GAIN_SOURCE
    flag_level: float | None = FLAG_LEVEL
    read_noise: float | None = READ_NOISE


def noisemaps(
    *,
    fit: MapsFit,
    frames: Frames,
    raw: RawFrames,
    bad: BadSamples,
    execution: Execution,
    output: CalibrationOutput,
) -> None:
    """Fit fixed-pattern noise, clock-induced charge and dark current, pixel by pixel.

    Frames of at least four pairs of EM gain and exposure time are needed. With --model level,
    three stacks of one gain and several times give the maps of darks of any time at that gain,
    three stacks of one time and several gains those of darks of any gain at that time.

    Example: emdarks noisemaps darks/ -o maps.fits
    """
    from emdarks.darks import calibrate_darks_lsq
    from emdarks.frames import camera_named_in
    from emdarks.products.model import model_words

    settings = arguments(fit, raw, bad)
    dataset = open_frames(frames, raw, bad.skip_bad_frames)
    path = product_target(output, dataset, "_dnm_cal", raw)
    with streaming(execution, "reading", len(dataset), "fitting") as executor:
        maps = calibrate_darks_lsq(dataset, executor=executor, **settings)
    file, kept = save_calibration(maps, output, path, raw.camera)
    values = (
        {"noise_maps": str(file)} | _values(maps, raw.camera or camera_named_in(dataset)) | kept
    )
    if output.as_json:
        values |= console.left_out(dataset)
    console.result(values, output.as_json)
    for words in () if output.as_json else model_words(maps.ext_hdr):
        console.say(words)


def _values(maps: DetectorNoiseMaps, camera: str) -> dict[str, Any]:
    """Numbers about noise maps; NaN for those that are not measured."""
    import numpy as np

    from emdarks.cameras import load_camera
    from emdarks.products.model import model_of

    header = maps.ext_hdr
    chosen = load_camera(camera)
    has_prescan = "prescan" in chosen.geometry[chosen.arrtype]
    rejected = maps.extra("REJECTED")
    return {
        "frames": len(maps.hdu_list["INPUTS"].data),
        "skipped_frames": int(header.get("NSKIPPED", 0)),
        "stacks": len(maps.hdu_list["STACKS"].data),
        "estimator": header["ESTIMATR"],
        "model": model_of(header),
        **_means(header),
        "bias_offset_dn": header["B_O"] if has_prescan else math.nan,
        **({} if rejected is None else {"rejected_samples": int(rejected.sum())}),
        "unfittable_pixels": int(((maps.dq[0] != 0) & ~np.isnan(maps.data[0])).sum()),
    }


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
