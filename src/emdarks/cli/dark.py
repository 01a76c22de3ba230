"""The command that averages frames into a traditional master dark."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import arguments, group, option
from emdarks.cli.options import (
    FULL_FRAME,
    BadSamples,
    CalibrationOutput,
    Execution,
    Frames,
    RawFrames,
    k_gain,
)
from emdarks.cli.output_files import Target
from emdarks.cli.prologue import open_frames, product_target, save_calibration, streaming
from emdarks.cli.stack_choice import one_stack_of_several

if TYPE_CHECKING:
    from emdarks.data import Dark, Dataset


class DarkEstimator(StrEnum):
    """Estimators of the error of a traditional dark, and of the rate of a photon-counted one."""

    sample = "sample"
    pooled = "pooled"
    law = "law"
    reference = "reference"


_OF_MEANS = (DarkEstimator.sample, DarkEstimator.pooled, DarkEstimator.reference)
_OF_COUNTS = (DarkEstimator.law, DarkEstimator.reference)


@group
class OneStack:
    """The stack of which the dark is made."""

    gain: float | None = option(None, "Take only frames of this commanded EM gain.")
    exptime: float | None = option(None, "Take only frames of this exposure time, s.")


@group
class MeanDark:
    """How the dark is made."""

    full_frame: bool = FULL_FRAME
    estimator: DarkEstimator | None = option(
        None, "How errors (default: sample) or counted rates (default: law) are estimated."
    )


@group
class CountedDark:
    """How electrons are counted."""

    photon_counting: bool = option(
        False, "Photon-counted dark: count samples above a threshold.", passed=False
    )
    threshold: float | None = option(None, "Threshold of the counts, EM electrons.")
    t_factor: float | None = option(None, "Threshold in read noises; default: 5.")
    read_noise: float | None = option(
        None, "Read noise of the counts, EM electrons; default: headers, camera."
    )
    max_rate: float | None = option(
        None, "Largest mean number of electrons a frame; default: 0.25."
    )

    def __post_init__(self) -> None:
        """Refuse what means nothing for a traditional dark."""
        given = (self.threshold, self.t_factor, self.read_noise, self.max_rate)
        if not self.photon_counting and any(value is not None for value in given):
            raise typer.BadParameter(
                "--threshold, --t-factor, --read-noise and --max-rate go with --photon-counting"
            )


def dark(
    *,
    stack: OneStack,
    frames: Frames,
    mean: MeanDark,
    counted: CountedDark,
    raw: RawFrames,
    bad: BadSamples,
    execution: Execution,
    output: CalibrationOutput,
) -> None:
    """Average frames of one EM gain and exposure time into a traditional master dark.

    With --photon-counting, count the electrons in them instead.

    Example: emdarks dark darks/ -o traditional.fits --gain 1000 --exptime 60
    """
    from emdarks.darks import build_photon_counted_dark, build_trad_dark

    counting = counted.photon_counting
    build: Callable[..., Dark] = build_photon_counted_dark if counting else build_trad_dark
    settings = arguments(mean, raw, bad) | (arguments(counted) if counting else {})
    settings["estimator"] = _estimator(mean.estimator, counting)
    dataset = open_frames(frames, raw, bad.skip_bad_frames)
    if stack != OneStack():
        dataset = _of_stack(dataset, stack, raw, bad.skip_bad_frames)
    path = product_target(output, dataset, "_drk_cal", raw)
    with (
        one_stack_of_several(),
        streaming(execution, "reading", len(dataset), "combining") as executor,
    ):
        product = build(dataset, executor=executor, **settings)
    file, kept = save_calibration(product, output, path, raw.camera)
    values = dark_values(product, file) | kept
    values["skipped_frames"] = int(product.ext_hdr.get("NSKIPPED", 0))
    unused = console.left_out(dataset) if output.as_json else {}
    console.result(values | unused, output.as_json)


def _estimator(given: DarkEstimator | None, counting: bool) -> str:
    known = _OF_COUNTS if counting else _OF_MEANS
    if given is not None and given not in known:
        kind = "photon-counted" if counting else "traditional"
        raise typer.BadParameter(f"--estimator of a {kind} dark is one of {', '.join(known)}")
    return (given or known[0]).value


def _of_stack(dataset: Dataset, stack: OneStack, raw: RawFrames, skip_bad_frames: bool) -> Dataset:
    """Those frames of a dataset that have the EM gain and exposure time asked for."""
    from emdarks.cameras import load_camera
    from emdarks.errors import EmdarksError, InputError
    from emdarks.frames import BadFrame, camera_named_in, frame_inputs

    camera = load_camera(raw.camera or camera_named_in(dataset))
    chosen = []
    for i, frame in enumerate(dataset):
        try:
            record = frame_inputs([frame], camera, k_gain(raw.kgain))[0].record
        except EmdarksError as error:
            if not skip_bad_frames:
                raise
            dataset.skipped += (BadFrame.of(frame.filepath, error),)
            continue
        if _close(record.commanded_gain, stack.gain, 1e-9) and _close(
            record.exposure_time, stack.exptime, 1e-6
        ):
            chosen.append(i)
    if not chosen:
        raise InputError(
            f"none of the {len(dataset)} frames has the gain and time asked for; "
            "emdarks inspect shows which there are"
        )
    return dataset[chosen]


def _close(value: float, wanted: float | None, tolerance: float) -> bool:
    return wanted is None or math.isclose(value, wanted, rel_tol=tolerance)


def dark_values(dark: Dark, path: Path | Target) -> dict[str, Any]:
    """Numbers about a master dark and its file; NaN for a median where no pixel is finite."""
    header = dark.ext_hdr
    counted = {"threshold_e": dark.threshold} if dark.photon_counted else {}
    return counted | {
        "dark": str(path),
        "em_gain": float(header["EMGAIN_C"]),
        "exposure_time_s": float(header["EXPTIME"]),
        "median_e": _median(dark.data),
        "median_error_e": _median(dark.err[0]),
        "flagged_pixels": int((dark.dq != 0).sum()),
    }


def _median(plane: Any) -> float:
    import numpy as np

    known = plane[np.isfinite(plane)]
    return float(np.median(known)) if known.size else math.nan
