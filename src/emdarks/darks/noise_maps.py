"""Noise maps from stacks of different gain and exposure time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.accumulate import Executor, StackJob, StackSums
from emdarks.arguments import check_flag, check_names, is_number
from emdarks.cameras import Camera
from emdarks.checks.recipe_frames import ProductLook
from emdarks.darks.rejection import Streamed, check_kinds, judged
from emdarks.detector import Regions, imaging_area_geom, region_slices
from emdarks.errors import GeometryError, InputError
from emdarks.fit.least_squares import Fit, bands, fit_reference
from emdarks.fit.pooled import PooledNoise, fit_pooled
from emdarks.fit.robust_statistics import Group
from emdarks.fit.statistics import (
    NO_OFFSET,
    BiasOffset,
    ImageStatistics,
    bias_offset,
    image_statistics,
    pooled_bias_offset,
)
from emdarks.fits import ascii_text
from emdarks.frames.bad_frames import SKIP_SHARE
from emdarks.products import DetectorNoiseMaps
from emdarks.products.model import model_cards, model_words
from emdarks.products.noise_maps import PLANES
from emdarks.products.noise_maps_file import MEANS, VARIANCES
from emdarks.stacks import (
    Screening,
    Stack,
    StackStore,
    accumulate_stacks,
    bias_history,
    check_frames,
    check_shape,
    drop_lost,
    figure_area,
    group_stacks,
    jobs_of,
    k_gain_card,
    product_cards,
    to_em_electrons,
)
from emdarks.stacks.design import design
from emdarks.stacks.model import FULL, MODELS, Model, model_of_stacks
from emdarks.stacks.options import Setting, choose, setting

__all__ = ["FramePixels", "calibrate_darks_lsq"]

Array = npt.NDArray[Any]

ESTIMATORS = ("pooled", "reference")


def calibrate_darks_lsq(
    dataset: Any,
    detector_params: Any,
    weighting: bool = True,
    detector_regions: Regions | None = None,
    *,
    estimator: str = "pooled",
    model: str = "full",
    nonnegative: Sequence[str] = ("CIC", "DC"),
    camera: str | Camera | None = None,
    kgain: float | None = None,
    mask_bits: int | None = None,
    gain_tolerance: float = 0.05,
    gain_error: float = 0.0,
    screen: bool = False,
    skip_bad_frames: bool = False,
    skip: Sequence[str] = (),
    skip_share: float = SKIP_SHARE,
    executor: Executor | None = None,
) -> DetectorNoiseMaps:
    """Fit fixed-pattern noise F, clock-induced charge C and dark current D of every pixel.

    The mean of a stack of EM gain g and exposure time t is F + g C + g t D.

    Parameters
    ----------
    dataset : Dataset, or an object like it
        Full frames of at least four (EM gain, exposure time) pairs: bias subtracted,
        cosmic rays flagged, linearised, not desmeared, without shot noise in their
        errors, not divided by EM gain. In DN or EM electrons.
    detector_params : DetectorParams, or an object like it
        ``params["TELRSTRT"]`` and ``["TELREND"]`` say which rows are telemetry; None
        takes those of the camera.
    weighting : bool
        Weight the stacks, or treat all alike.
    detector_regions : mapping, optional
        Geometry; that of the camera by default.
    estimator : {"pooled", "reference"}
        "pooled": weights from variances pooled over the pixels of each stack, the
        covariance of that fit made honest pixel by pixel; outside the imaging area F and
        C only. "reference": weights 1/err_i^2 with the error of each pixel's mean, sqrt(sum
        s_j^2 / n + S^2 / n), errors from unweighted residuals: what the reference
        implementation documents, its defects mended.
    model : {"full", "level"}
        "full": F, C and D. "level": two maps, from at least three stacks of one EM gain and
        several times, or of one time and several gains ("pooled" only). One gain g: the level
        L = F + g C in the place of F, C is NaN, D as ever; darks of any time at that gain. One
        time t: F, and C + t D in the place of C, D is NaN; darks of any gain at that time. The
        cards MODEL, MAPGAIN and MAPTIME say so, and other darks are refused.
    nonnegative : sequence of {"FPN", "CIC", "DC"}
        Published planes in which negative values become 0. The fit as it is stays
        in the HDU ``SIGNED``.
    camera : str or Camera, optional
        Meaning of the headers; the one that the frames' CAMERA card names, else ``excam``.
    kgain : float, optional
        Electrons per DN, instead of the headers'.
    mask_bits : int, optional
        Flag bits that mark a sample as bad; all by default.
    gain_tolerance : float
        Largest relative spread of the measured gains of a stack.
    gain_error : float
        Relative 1-sigma error of the EM gain of each stack, independent of each other,
        to be added to the errors ("pooled" only).
    screen : bool
        Take out samples that no clean pixel reaches, such as unflagged cosmic rays: see
        `emdarks._core.screen`. Needs 48 bytes more a pixel while a stack is
        accumulated. The number of rejected samples is kept in the HDU ``REJECTED``.
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
    DetectorNoiseMaps
        F (EM electrons), C (electrons per pixel and frame), D (electrons per pixel and
        second), shape (3, rows, columns), with errors and flags. A pixel with fewer than
        four usable stacks ("pooled" outside the imaging area: three), or whose usable
        stacks cannot tell the parameters apart, is 0 with error NaN and the OR of its
        flags. Telemetry rows are NaN with flag 1.

    Raises
    ------
    CalDarksLSQException
        The stacks cannot be fitted: too few, a single gain or time, duplicates. Where they
        have one gain or one time, the message says whether ``model="level"`` can.
    InputError, MissingKeywordError, GeometryError
        A frame or argument cannot be used. All are raised before pixels are read
        wherever headers can tell.

    Examples
    --------
    >>> from emdarks import Dataset, calibrate_darks_lsq
    >>> from emdarks.data import sample
    >>> maps = calibrate_darks_lsq(Dataset(sample()), None)
    >>> maps.data.shape, maps.err.shape
    ((3, 40, 62), (1, 3, 40, 62))
    >>> maps.hdu_names
    ['SIGNED', 'CORR', 'CHI2', 'RSQ', 'NSTACKS', 'NBAD', 'STACKS', 'INPUTS']
    """
    if type(weighting) is not bool:
        raise InputError(f"weighting is {weighting!r}; it must be True or False")
    choose("estimator", estimator, ESTIMATORS)
    if not is_number(gain_error) or not 0 <= gain_error < 1:
        raise InputError(f"gain_error is {gain_error!r}; it is relative, from 0 to 1")
    choose("model", model, MODELS)
    if estimator == "reference" and (gain_error or model != "full"):
        name = "gain_error" if gain_error else f"the model {model!r}"
        raise InputError(f"{name} is for the pooled estimator only")
    check_names("nonnegative", nonnegative, PLANES)
    check_flag("screen", screen)
    check_kinds(skip)
    job = setting(
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

    def plan(job: Setting) -> _Plan:
        stacks = group_stacks(job.inputs, gain_tolerance)
        check_frames(stacks)
        fitted = _model(stacks, model, kgain, gain_error, 2 if estimator == "reference" else 1)
        return _Plan.of(job, stacks, fitted, kgain, telemetry, screen)

    def accumulate(made: _Plan, executor: Executor) -> Streamed[_Found]:
        look = ProductLook(job, telemetry, kgain, fit=made.model.name == FULL.name, screened=screen)
        found = accumulate_stacks(
            made.jobs,
            executor,
            made.screenings,
            lambda i, moments: look.at(made.stacks[i], moments),
        )
        return _streamed(found, look)

    job, planned, (store, _) = judged(
        job,
        plan,
        accumulate,
        skip,
        lambda made: _streamed(drop_lost(*made.sums), made.look),
    )
    stacks = planned.stacks
    job.skipping.tell(job.frames)

    frame = FramePixels.of(job, stacks[0].frames[0].record.shape, telemetry)
    if estimator == "reference":
        fit = fit_reference(store, stacks, weighting, frame.imaging, frame.skip, job.executor)
        noise = None
    else:
        fit, noise = fit_pooled(
            store,
            stacks,
            weighting,
            frame.imaging,
            frame.skip,
            job.executor,
            gain_error,
            planned.model,
        )
    numbers, counts, table = _content(fit, noise, store, stacks, job, kgain, frame, planned.model)
    stack_of = {id(item): i for i, stack in enumerate(stacks) for item in stack.frames}
    maps = DetectorNoiseMaps.from_fit(
        fit,
        numbers,
        counts,
        table,
        job.inputs,
        [stack_of[id(item)] for item in job.inputs],
        job.camera.header_rules,
        {
            "CAMERA": (ascii_text(job.camera.name), "camera by which headers were read"),
            "ESTIMATR": (estimator, "how the maps were estimated"),
            "WEIGHTED": (weighting, "stacks weighted in the fit"),
            "NONNEG": (",".join(nonnegative), "negative values became 0"),
            "SCREEN": (screen, "unflagged cosmic rays screened"),
            "GAINERR": (gain_error, "relative gain error added to the errors"),
            **model_cards(planned.model.name, planned.model.gain, planned.model.time),
        },
    )
    cards = product_cards(stacks[0], job.camera)
    maps.ext_hdr.update({**cards, **k_gain_card(stacks, kgain)})
    lines = *bias_history(stacks[0], job.camera), *_offset_history(job, frame)
    for line in (*lines, *model_words(maps.ext_hdr)):
        maps.ext_hdr["HISTORY"] = line
    maps.record_skipped(job.skipping.bad)
    return maps


#: Columns of the table STACKS, and those of how the maps move with a stack's gain.
_Columns = dict[str, list[Any]]
_DERIVATIVES = ("DFPN_DG", "DCIC_DG", "DDC_DG")

#: Sums of all stacks, and what else was learnt of each.
_Found = tuple[StackStore, list[StackSums]]


def _streamed(found: _Found, look: ProductLook) -> Streamed[_Found]:
    return Streamed(found, look, [sums.figures for sums in found[1]])


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the headers decide: stacks, and the work that they are."""

    stacks: list[Stack]
    jobs: list[StackJob]
    screenings: list[Screening] | None
    model: Model

    @classmethod
    def of(
        cls,
        job: Setting,
        stacks: list[Stack],
        model: Model,
        kgain: float | None,
        telemetry: slice,
        screen: bool,
    ) -> _Plan:
        """Plan to stream these stacks."""
        check_shape(stacks, job.arrtype, job.regions)
        area = figure_area(job.arrtype, job.regions, telemetry)
        scales = [to_em_electrons(stack, kgain) for stack in stacks]
        jobs = jobs_of(stacks, scales, job.mask, area, _core.KEPT if screen else 0)
        screenings = [_screening(stack, job.camera) for stack in stacks] if screen else None
        return cls(stacks, jobs, screenings, model)


def _model(
    stacks: list[Stack], model: str, kgain: float | None, gain_error: float, min_frames: int
) -> Model:
    """What is fitted to these stacks; refuses those that it cannot be fitted to."""
    found = model_of_stacks(stacks, model, kgain, min_frames)
    if gain_error and not found.has_c:
        raise InputError(
            "gain_error needs C, the charge that a gain multiplies, and stacks of one EM gain do "
            "not tell it; leave it out"
        )
    return found


def _offset_history(job: Setting, frame: FramePixels) -> list[str]:
    """A word on the bias offset of a camera that has no place to measure it."""
    if frame.prescan.size or frame.reliable.size:
        return []
    return [
        f"Camera {job.camera.name} has no prescan: B_O is no measurement, and whatever level the "
        "bias subtraction left is part of the fixed pattern"
    ]


@dataclass(frozen=True, slots=True)
class FramePixels:
    """The frame, flat in pixels: where there is signal, dark current, prescan.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    skip : tuple of int
        Pixels of the telemetry rows: first and last plus one.
    signal, imaging : ndarray of bool, shape (pixels,)
        Outside the telemetry rows; in the imaging area.
    prescan, reliable : ndarray of int
        Pixels of the prescan, and of its reliable columns; none where a camera has none.
    """

    shape: tuple[int, int]
    skip: tuple[int, int]
    signal: Array
    imaging: Array
    prescan: Array
    reliable: Array

    @classmethod
    def of(cls, job: Setting, shape: tuple[int, int], telemetry: slice) -> FramePixels:
        """Frame of a geometry, telemetry rows left out."""
        rows, cols, (row0, col0) = imaging_area_geom(job.arrtype, job.regions)
        area = slice(row0, row0 + rows), slice(col0, col0 + cols)
        signal = np.ones(shape, dtype=bool)
        signal[telemetry] = False

        def region(name: str) -> Array:
            inside = np.zeros(shape, dtype=bool)
            # A camera without prescan has no bias offset.
            with suppress(GeometryError):
                inside[region_slices(job.arrtype, name, job.regions)] = True
            return np.flatnonzero(inside & signal)

        imaging = np.zeros(shape, dtype=bool)
        imaging[area] = True
        skip = (telemetry.start * shape[1], telemetry.stop * shape[1])
        return cls(
            shape,
            skip,
            signal.reshape(-1),
            imaging.reshape(-1),
            region("prescan"),
            region("prescan_reliable"),
        )


def _screening(stack: Stack, camera: Camera) -> Screening:
    record = stack.frames[0].record
    noise = camera.noise_in(record.mode)
    if set(noise.unknown) - {"k_gain"}:
        raise InputError(
            f"{record.name}: is in no mode of camera {camera.name}, which has its noise by mode, "
            "and cosmic rays cannot be told from it; add the mode or [noise] to the camera file, "
            "or do without screening (screen, --screen)"
        )
    charge = noise.clock_induced_charge + stack.exposure_time * noise.dark_current
    return Screening(stack.em_gain, noise.read_noise, charge, str(stack))


def _content(
    fit: Fit,
    noise: PooledNoise | None,
    store: StackStore,
    stacks: Sequence[Stack],
    job: Setting,
    kgain: float | None,
    frame: FramePixels,
    model: Model,
) -> tuple[dict[str, float], dict[str, Array], _Columns]:
    """Numbers, counts and stacks of the product; D taken out of all but the imaging area."""
    k_gains = [kgain or stack.k_gain for stack in stacks]
    read_noise = None
    if noise is None:
        offset = bias_offset(fit, store, stacks, k_gains, frame.prescan, job.executor)
    else:
        offset = NO_OFFSET
        if noise.outside is not None:
            v, cols = noise.outside.v, frame.shape[1]
            offset = pooled_bias_offset(
                fit, store, stacks, k_gains, frame.reliable, v, cols, job.executor
            )
        region = noise.imaging or noise.outside
        # With one gain, what is left at time 0 is read noise and the noise of C.
        read_noise = float("nan")
        if region is not None and model.has_c:
            read_noise = float(np.sqrt(region.model.read_noise2))
    ranges = bands(frame.signal.size, frame.skip)
    inside = frame.imaging & frame.signal & fit.fitted
    image = Group(inside, True, ranges, job.executor)
    statistics = image_statistics(fit, store, stacks, image, read_noise)
    table, unreliable = _stack_columns(fit, noise, store, stacks, k_gains, image)
    _remove_dark_current(fit, ~frame.imaging & frame.signal)
    numbers = _numbers(offset, statistics)
    if not model.fitted.all():
        _remove_absent(fit, model, numbers, table)
    counts = {"NBAD": unreliable}
    if store.rejected is not None:
        counts["REJECTED"] = store.rejected
    return numbers, {name: count.reshape(frame.shape) for name, count in counts.items()}, table


def _numbers(offset: BiasOffset, statistics: ImageStatistics) -> dict[str, float]:
    """Numbers of the fit, by their keywords."""
    return {
        "B_O": offset.value,
        "B_O_ERR": offset.error,
        "B_O_UP": offset.upper,
        "B_O_LO": offset.lower,
        **dict(zip(MEANS, statistics.means, strict=True)),
        "FPN_IMME": statistics.median_f,
        **dict(zip(VARIANCES, statistics.variances, strict=True)),
        "RN_EST": statistics.read_noise,
    }


def _remove_absent(fit: Fit, model: Model, numbers: dict[str, float], table: _Columns) -> None:
    """NaN, in place, for what the stacks cannot tell: a map, its correlations, its numbers."""
    absent = ~model.fitted
    fit.values[absent] = fit.errors[absent] = np.nan
    # F-C, F-D, C-D
    fit.correlations[[absent[1], absent[2], absent[1] or absent[2]]] = np.nan
    for i in np.flatnonzero(absent):
        numbers[MEANS[i]] = numbers[VARIANCES[i]] = np.nan
    # How a gain moves the maps depends on the charge that it multiplies, C included.
    lost = [_DERIVATIVES[i] for i in range(3) if absent[i] or not model.has_c]
    for name in (*lost, *(() if model.has_c else ("READNOIS",))):
        table[name] = [np.nan] * len(table[name])


def _remove_dark_current(fit: Fit, outside: Array) -> None:
    """No light-sensitive pixel, no dark current: D and its error are 0 there.

    The error stays NaN where the fit was not possible.
    """
    for plane in (fit.values[2], *fit.correlations[1:]):
        np.copyto(plane, 0.0, where=outside)
    np.copyto(fit.errors[2], 0.0, where=outside & ~np.isnan(fit.errors[0]))


def _stack_columns(
    fit: Fit,
    noise: PooledNoise | None,
    store: StackStore,
    stacks: Sequence[Stack],
    k_gains: Sequence[float],
    image: Group,
) -> tuple[_Columns, Array]:
    """Table of stacks; and at each pixel in how many over half of the frames are masked."""
    region = None if noise is None else noise.imaging or noise.outside
    pixels = store.n.shape[1]
    unreliable = np.empty(pixels, np.int16)
    least = np.array([(len(stack.frames) + 1) // 2 for stack in stacks], dtype=np.float64)
    m2 = store.m2 if region is None else None
    gain, gain_time = design(stacks)

    def part(band: tuple[int, int]) -> Array:
        out = np.empty((len(stacks), 5))
        _core.stack_sums(
            *band,
            gain,
            gain_time,
            least,
            store.n,
            store.mean,
            m2,
            fit.values,
            image.of,
            unreliable,
            out,
        )
        return out

    total = np.zeros((len(stacks), 5))
    for some in image.executor.map(part, bands(pixels, (0, 0))):
        total += some
    good, residual, seen, dof, scatter = total.T.tolist()
    own = [_ratio(*pair) for pair in zip(scatter, dof, strict=True)]
    unknown = [np.nan] * len(stacks)
    table: _Columns = {
        "EMGAIN": [stack.em_gain for stack in stacks],
        "EMGAIN_C": [stack.commanded_gain for stack in stacks],
        "EXPTIME": [stack.exposure_time for stack in stacks],
        "KGAINPAR": list(k_gains),
        "FRAMES": [len(stack.frames) for stack in stacks],
        "GOOD": [number / pixels for number in good],
        "VARIANCE": own if region is None else region.v.tolist(),
        "RESIDUAL": [_ratio(*pair) for pair in zip(residual, seen, strict=True)],
        "READNOIS": unknown if region is None else region.model.read_noise.tolist(),
        "EXCESS": unknown if region is None else region.model.excess.tolist(),
    }
    for name, values in zip(_DERIVATIVES, fit.gain_derivatives.T, strict=True):
        table[name] = values.tolist()
    return table, unreliable


def _ratio(sum_of_all: float, number: float) -> float:
    return sum_of_all / number if number else np.nan
