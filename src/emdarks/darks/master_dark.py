"""The traditional master dark: the mean of one stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.accumulate import Executor, StackJob, StackSums
from emdarks.arguments import check_flag
from emdarks.cameras import Camera
from emdarks.checks.recipe_frames import ProductLook
from emdarks.darks.rejection import Streamed, check_kinds, judged
from emdarks.detector import Regions, imaging_area_geom, region_slices
from emdarks.errors import InputError, SeveralStacksError
from emdarks.fit.mean_errors import ESTIMATORS, mean_errors
from emdarks.fits import ascii_text
from emdarks.fits import astropy_fits as fits
from emdarks.frames.bad_frames import SKIP_SHARE
from emdarks.frames.prepared import check_offset
from emdarks.moments import Moments
from emdarks.products import Dark
from emdarks.products.header import merge_headers, stamp
from emdarks.products.provenance import input_names, name_inputs
from emdarks.stacks import (
    Stack,
    bias_history,
    check_frames,
    check_shape,
    check_stack,
    figure_area,
    group_stacks,
    jobs_of,
    k_gain_card,
    product_cards,
    to_detected_electrons,
)
from emdarks.stacks.calibration_inputs import CalibrationInputs, calibration_inputs, choose

Array = npt.NDArray[Any]


def build_trad_dark(
    dataset: Any,
    detector_params: Any,
    detector_regions: Regions | None = None,
    full_frame: bool = False,
    *,
    estimator: str = "sample",
    camera: str | Camera | None = None,
    kgain: float | None = None,
    mask_bits: int | None = None,
    gain_tolerance: float = 0.05,
    skip_bad_frames: bool = False,
    skip: Sequence[str] = (),
    skip_share: float = SKIP_SHARE,
    executor: Executor | None = None,
) -> Dark:
    """Average one stack of dark frames into a master dark.

    Parameters
    ----------
    dataset : Dataset, or an object like it
        Full frames of one exposure time, EM gain and k-gain: bias subtracted, cosmic
        rays flagged, linearised, not desmeared, without shot noise in their errors.
        In DN, EM electrons or detected electrons (divided by gain).
    detector_params : DetectorParams, or an object like it
        ``params["TELRSTRT"]`` and ``["TELREND"]`` say which rows are telemetry; None
        takes those of the camera.
    detector_regions : mapping, optional
        Geometry; that of the camera by default.
    full_frame : bool
        Whole frames instead of the image region.
    estimator : {"sample", "pooled", "reference"}
        How the error is estimated. "sample": sqrt(sum s_j^2 / n^2 + s^2 / n) with the
        sample variance s^2 (n - 1 in the denominator); pixels with one good frame take
        the pooled scatter of their region. "pooled": variances pooled over each region,
        followed by the pixel's own scatter as far as pixels really differ: honest for few
        frames, where the sample variance of skewed samples is not. "reference": the errors
        of the reference implementation, sqrt(sum s_j^2 / n + S^2 / n) with the population
        variance.
    camera : str or Camera, optional
        Meaning of the headers; the one that the frames' CAMERA card names, else ``excam``.
    kgain : float, optional
        Electrons per DN, instead of the headers'.
    mask_bits : int, optional
        Flag bits that mark a sample as bad; all by default.
    gain_tolerance : float
        Largest relative spread of measured gains.
    skip_bad_frames : bool
        Leave out frames that make the product wrong or cannot be read, also where that turns
        out while their pixels are read; the product is that of the other frames, and lists
        them in its HDU ``SKIPPED``. By default the first of them is an error.
    skip : sequence of str
        Leave out the frames that `emdarks.checks.inspect_campaign` names in a problem or
        warning of these kinds, too: "saturated", "empty", "flags", "light", "cosmic",
        "bias", "level", "noise", "masked", "temperature". Frames are then read twice.
    skip_share : float
        Share of all frames that may be left out.
    executor : Executor, optional
        Who computes; the threads of this process by default.

    Returns
    -------
    Dark
        Mean and error in detected electrons, of shape (rows, columns) of the image
        region or the frame. A pixel that is bad in every frame is 0, its error NaN (0
        with "reference"), its flags the OR of all; other pixels have flags 0. Telemetry
        rows are NaN with flag 1.

    Raises
    ------
    InputError, MissingKeywordError, GeometryError
        A frame or argument cannot be used. Raised before pixels are read wherever
        headers can tell.

    Examples
    --------
    >>> from emdarks import Dataset, build_trad_dark
    >>> from emdarks.data import sample
    >>> darks = Dataset(sample())
    >>> stacks, settings = darks.split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])
    >>> settings[3]
    (1000.0, 60.0)
    >>> dark = build_trad_dark(stacks[3], None)
    >>> dark.data.shape, dark.ext_hdr["BUNIT"]
    ((32, 29), 'detected electron')
    """
    choose("estimator", estimator, ESTIMATORS)
    check_flag("full_frame", full_frame)
    check_kinds(skip)
    check_offset(dataset, "a traditional dark")
    job = calibration_inputs(
        dataset,
        camera,
        detector_regions,
        executor,
        mask_bits,
        kgain,
        gain_tolerance,
        skip_bad_frames,
        skip_share,
    )
    telemetry = job.telemetry(detector_params)

    def plan(job: CalibrationInputs) -> _Plan:
        stacks = group_stacks(job.inputs, gain_tolerance)
        check_frames(stacks)
        return _Plan.of(job, _only_stack(stacks), kgain, telemetry)

    def accumulate(made: _Plan, executor: Executor) -> Streamed[StackSums]:
        look = ProductLook(job, telemetry, kgain, fit=False)
        sums = executor.sums(made.jobs[0])
        look.at(made.stack, sums.moments, made.stack.em_gain)
        return Streamed(sums, look, [sums.figures], [made.stack.em_gain])

    job, planned, sums = judged(job, plan, accumulate, skip)
    stack = planned.stack
    job.skipping.tell(job.frames)

    err = _errors(sums.moments, stack, job, telemetry, estimator)
    planes = _planes(sums.moments, err, stack, telemetry)
    if not full_frame:
        section = region_slices(job.arrtype, "image", job.regions)
        data, err_plane, dq = (np.ascontiguousarray(plane[section]) for plane in planes)
        planes = data, err_plane, dq
    dark = _product(planes, job, stack, kgain)
    dark.record_skipped(job.skipping.all)
    return dark


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the headers decide: the stack, and the work that it is."""

    stack: Stack
    jobs: list[StackJob]

    @property
    def stacks(self) -> list[Stack]:
        """The stack, as one of one."""
        return [self.stack]

    @classmethod
    def of(
        cls, job: CalibrationInputs, stack: Stack, kgain: float | None, telemetry: slice
    ) -> _Plan:
        """Plan to stream this stack."""
        check_stack(stack, kgain)
        check_shape([stack], job.arrtype, job.regions)
        area = figure_area(job.arrtype, job.regions, telemetry)
        scales = to_detected_electrons(stack, kgain)
        return cls(stack, jobs_of([stack], [scales], job.mask, area))


def _only_stack(stacks: list[Stack]) -> Stack:
    if len(stacks) > 1:
        known = "; ".join(f"{len(stack.frames)} frames in {stack}" for stack in stacks)
        raise SeveralStacksError(
            f"a traditional dark needs frames of one exposure time, EM gain and k-gain; "
            f"these are {len(stacks)} stacks: {known}",
            tuple(stacks),
        )
    stack = stacks[0]
    if len(stack.frames) < 2:
        raise InputError(
            f"{stack.frames[0].record.name}: is the only frame; a dark needs two at least, since "
            "their scatter tells the error"
        )
    return stack


def _errors(
    moments: Moments, stack: Stack, job: CalibrationInputs, telemetry: slice, estimator: str
) -> Array:
    """Error of the mean of every pixel, flat; NaN or 0 where no sample is good."""
    shape = stack.frames[0].record.shape
    n = moments.n.astype(np.float64).reshape(shape)
    n[telemetry] = 0
    if n.max() <= 1:
        raise InputError(
            f"{stack}: no pixel is good in two frames, so no scatter tells the error; add frames"
        )
    rows, cols, (row0, col0) = imaging_area_geom(job.arrtype, job.regions)
    imaging = np.zeros(shape, dtype=bool)
    imaging[row0 : row0 + rows, col0 : col0 + cols] = True
    return mean_errors(moments, n.reshape(-1), imaging.reshape(-1), estimator)


def _planes(
    moments: Moments, err: Array, stack: Stack, telemetry: slice
) -> tuple[Array, Array, Array]:
    shape = stack.frames[0].record.shape
    data = moments.mean.reshape(shape)
    dq = np.where(moments.n > 0, 0, moments.flags).astype(moments.flags.dtype).reshape(shape)
    err = err.reshape(shape)
    data[telemetry], err[telemetry], dq[telemetry] = np.nan, np.nan, 1
    return data, err, dq


def dark_headers(
    job: CalibrationInputs, stack: Stack, kgain: float | None
) -> dict[str, fits.Header]:
    """Headers of a dark that is made of the frames of one stack: "pri", "ext", "err" and "dq"."""
    rules = job.camera.header_rules
    invalid = set(rules.invalid) - set(rules.kept_in_darks)
    headers = merge_headers(job.inputs, rules, invalid)
    ext = headers["ext"]
    # The keywords of the product's format, whatever the camera's are.
    ext["EXPTIME"], ext["EMGAIN_C"] = stack.exposure_time, stack.commanded_gain
    ext["KGAINPAR"] = stack.k_gain
    ext["IS_SYNTH"] = 0
    ext["CAMERA"] = (ascii_text(job.camera.name), "camera by which headers were read")
    ext.update({**product_cards(stack, job.camera), **k_gain_card([stack], kgain)})
    name_inputs(ext, input_names(job.inputs), len(job.inputs), len(job.inputs))
    stamp(ext)
    return headers


def _product(
    planes: tuple[Array, ...], job: CalibrationInputs, stack: Stack, kgain: float | None
) -> Dark:
    headers = dark_headers(job, stack, kgain)
    data, err, dq = planes
    dark = Dark(data, headers["pri"], headers["ext"], None, err, dq, headers["err"], headers["dq"])
    dark.ext_hdr["HISTORY"] = (
        f"Traditional analog master dark: mean of {len(job.inputs)} frames, not made from noise "
        f"maps; EM gain used {stack.em_gain:.6g}"
    )
    for line in bias_history(stack, job.camera):
        dark.ext_hdr["HISTORY"] = line
    dark.named_after(job.inputs[-1].provenance.name)
    return dark
