"""Noise maps from stacks of different gain and exposure time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emdarks import _core
from emdarks.accumulate import Executor, StackJob, StackSums
from emdarks.arguments import check_flag, check_names, is_number
from emdarks.cameras import Camera
from emdarks.checks.context import FlaggingRule
from emdarks.checks.recipe_frames import ProductLook
from emdarks.checks.search import ray_share
from emdarks.counting_sums import HistogramBins
from emdarks.darks.counting import (
    CountedFrames,
    CountingOptions,
    CountingPlan,
    fit_counts,
    refuse_options,
)
from emdarks.darks.counting_tables import CountingTables
from emdarks.darks.fitted_maps import Columns, FittedMaps
from emdarks.darks.frame_pixels import FramePixels
from emdarks.darks.rejection import Streamed, check_kinds, judged
from emdarks.darks.threshold_check import ThresholdCheck, check_left
from emdarks.detector import Regions
from emdarks.errors import InputError
from emdarks.fit.least_squares import fit_reference
from emdarks.fit.pooled import fit_pooled
from emdarks.fits import ascii_text
from emdarks.frames.bad_frames import SKIP_SHARE
from emdarks.products import DetectorNoiseMaps
from emdarks.products.model import model_cards, model_words
from emdarks.products.noise_maps import PLANES
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
from emdarks.stacks.calibration_inputs import CalibrationInputs, calibration_inputs, choose
from emdarks.stacks.model import FULL, MODELS, Model, model_of_stacks
from emdarks.stacks.nominal_noise import histograms_of

ESTIMATORS = ("pooled", "reference", "counting", "frames")
#: Powers of the number of good samples that are weights of "frames"; the first is the default.
WEIGHT_POWERS = (2, 1)


def calibrate_darks_lsq(
    dataset: Any,
    detector_params: Any,
    weighting: bool = True,
    detector_regions: Regions | None = None,
    *,
    estimator: str = "pooled",
    weight_power: int = 2,
    model: str = "full",
    nonnegative: Sequence[str] = ("CIC", "DC"),
    camera: str | Camera | None = None,
    kgain: float | None = None,
    mask_bits: int | None = None,
    gain_tolerance: float = 0.05,
    gain_error: float = 0.0,
    screen: bool = False,
    flag_level: float | None = None,
    read_noise: float | None = None,
    gain: str = "header",
    CR_threshold_check: bool | str = "warn",
    fpn_fid: float = 4.9,
    cic_fid: float | None = None,
    dc_fid: float | None = None,
    num_stds: float = 4.0,
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
        ``params["TELRSTRT"]`` and ``["TELREND"]`` say which rows are telemetry,
        ``["NEMGAIN"]`` of how many stages the law of the "counting" estimator is (0: infinitely
        many); None takes those of the camera.
    weighting : bool
        Weight the stacks, or treat all alike.
    detector_regions : mapping, optional
        Geometry; that of the camera by default.
    estimator : {"pooled", "reference", "counting", "frames"}
        "pooled": weights from variances pooled over the pixels of each stack, the
        covariance of that fit made honest pixel by pixel; outside the imaging area F and
        C only. "reference": weights 1/err_i^2 with the error of each pixel's mean, sqrt(sum
        s_j^2 / n + S^2 / n), errors from unweighted residuals: what the reference
        implementation documents, its defects mended. "counting": from counts of samples above
        thresholds and sums of what lies below them; finer where the register amplifies, and
        right where cosmic rays were too faint to be flagged. Needs 16 bytes more a pixel and
        stack. "frames": the values of the reference implementation since its version 5.1: its
        weight is the number n of good samples, and enters both sides of the equations squared,
        so that stacks count by n^2, where n would be right for equal noise; D is fitted outside
        the imaging area, too. The errors are those of a fit with these weights, from the
        variances of "pooled". Finest where all stacks have the same noise, which no two gains
        have.
    weight_power : {2, 1}
        Power of the number of good samples that is a stack's weight in the normal equations
        ("frames" only).
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
        to be added to the errors ("pooled" and "frames").
    screen : bool
        Take out samples that no clean pixel reaches, such as unflagged cosmic rays: see
        `emdarks._core.screen`. Needs 48 bytes more a pixel while a stack is
        accumulated. The number of rejected samples is kept in the HDU ``REJECTED``.
    flag_level : float, optional
        The lowest level at which a sample can have been flagged, EM electrons ("counting"
        only); that of the search of raw frames, of SAT_DN and HISTORY of others, by default.
    read_noise : float, optional
        Nominal read noise, EM electrons, that thresholds go by ("counting" only); that of the
        headers (RN) or of the camera by default.
    gain : {"header", "fitted"}
        EM gains of the law of a sample ("counting" only): those of the headers, or those that
        the histograms of the frames show.
    CR_threshold_check : {"warn", True, False}
        What is done with stacks in which samples are flagged from a level on that their own
        charge reaches, whatever the estimator: they are told, with what their means lose by the
        law of the register; True leaves them out, as if they had not been given; False is
        silent. The level is that of the search of raw frames, of HISTORY ("Cosmic ray threshold
        of ... used.") or SAT_DN of others, else the highest unflagged sample, where more should
        lie above it. It is too low where it does not exceed fpn_fid + g (cic_fid + t dc_fid) +
        num_stds standard deviations of that charge behind the register (the reference
        implementation forgets the g); where every sample above it is flagged, also where the
        mean loses more than 1 %.
    fpn_fid, cic_fid, dc_fid : float
        Fixed pattern (EM electrons), clock-induced charge (electrons a frame) and dark current
        (electrons a second) of an average pixel, for this check. None takes charge and current
        from the camera: 0.0088 and 0.001 for EXCAM.
    num_stds : float
        Standard deviations above the mean, for this check.
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
        The stacks cannot be fitted: too few, also since ``CR_threshold_check`` left others
        out, a single gain or time, duplicates. Where they
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
    counting = CountingOptions.of(flag_level, read_noise, gain, detector_params)
    threshold = ThresholdCheck(CR_threshold_check, FlaggingRule(fpn_fid, cic_fid, dc_fid, num_stds))
    options = _Options(
        weighting, estimator, model, nonnegative, gain_error, screen, counting, threshold,
        weight_power,
    )  # fmt: skip
    options.check()
    check_kinds(skip)
    threshold.check(skip)
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
    job = threshold.leave_out(job)
    recipe = _Recipe(options, job, job.telemetry(detector_params))
    job, planned, (store, sums) = judged(
        job, recipe.plan, recipe.accumulate, skip, _without_lost, threshold.apart
    )
    job.skipping.tell(job.frames)
    fitted = _fitted(options, job, planned, store, recipe.telemetry)
    return _product(options, fitted, _raw_columns(planned.stacks, sums))


@dataclass(frozen=True, slots=True)
class _Options:
    """How maps are estimated; see `calibrate_darks_lsq`."""

    weighting: bool
    estimator: str
    model: str
    nonnegative: Sequence[str]
    gain_error: float
    screen: bool
    counting: CountingOptions
    threshold: ThresholdCheck
    weight_power: int

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises
        ------
        InputError
            An option is wrong, or does not go with another.
        """
        if type(self.weighting) is not bool:
            raise InputError(f"weighting is {self.weighting!r}; it must be True or False")
        choose("estimator", self.estimator, ESTIMATORS)
        error = self.gain_error
        if not is_number(error) or not 0 <= error < 1:
            raise InputError(f"gain_error is {error!r}; it is relative, from 0 to 1")
        choose("model", self.model, MODELS)
        if self.estimator == "reference" and (error or self.model != "full"):
            name = "gain_error" if error else f"the model {self.model!r}"
            raise InputError(f"{name} is for the pooled estimator only")
        if self.estimator == "frames" and self.model != "full":
            raise InputError(f"the model {self.model!r} is for the pooled estimator only")
        self._check_power()
        self.counting.check(self.estimator == "counting")
        if self.estimator == "counting":
            refuse_options(self.weighting, self.screen, self.model, error)
        check_names("nonnegative", self.nonnegative, PLANES)
        check_flag("screen", self.screen)

    def _check_power(self) -> None:
        power = self.weight_power
        if isinstance(power, bool) or power not in WEIGHT_POWERS:
            raise InputError(f"weight_power is {power!r}; it must be 2 or 1")
        if power != WEIGHT_POWERS[0] and (self.estimator != "frames" or not self.weighting):
            raise InputError("weight_power is for weights of the estimator frames only")

    def cards(self, model: Model) -> dict[str, tuple[Any, str]]:
        """Header cards of the options, and of the model that the stacks were fitted with."""
        return {
            "ESTIMATR": (self.estimator, "how the maps were estimated"),
            "WEIGHTED": (self.weighting, "stacks weighted in the fit"),
            "NONNEG": (",".join(self.nonnegative), "negative values became 0"),
            "SCREEN": (self.screen, "unflagged cosmic rays screened"),
            "GAINERR": (self.gain_error, "relative gain error added to the errors"),
            **self._more_cards(),
            **model_cards(model.name, model.gain, model.time),
        }

    def _more_cards(self) -> dict[str, tuple[Any, str]]:
        """Those of the estimator "frames", and of a check that is not made as usual."""
        check = {"CRCHECK": (self.threshold.word, "stacks that flags cut into")}
        if self.estimator == "frames":
            power = self.weight_power if self.weighting else 0
            return {"WGTPOWER": (power, "power of the good samples that is a weight"), **check}
        return {} if self.threshold.mode == "warn" else check


@dataclass(frozen=True, slots=True)
class _Plan:
    """Stacks of the frames, the model that is fitted to them, and the work that they are."""

    stacks: list[Stack]
    jobs: list[StackJob]
    screenings: list[Screening] | None
    model: Model
    counting: CountingPlan | None = None

    def unused_bins(self, stack: int) -> HistogramBins | None:
        """Bins of a histogram that no fit of the maps takes the EM gain from."""
        return None if self.counting else self.jobs[stack].histogram


#: Sums of all stacks, together and one by one.
_Found = tuple[StackStore, list[StackSums]]


@dataclass(frozen=True, slots=True)
class _Recipe:
    """From frames to sums of stacks."""

    options: _Options
    job: CalibrationInputs
    telemetry: slice

    def plan(self, job: CalibrationInputs) -> _Plan:
        """Decide by the headers; refuses stacks that cannot be fitted."""
        stacks = group_stacks(job.inputs, job.gain_tolerance)
        check_left(stacks, job, self.options.model)
        check_frames(stacks)
        model = _model(stacks, self.options, job.kgain)
        check_shape(stacks, job.arrtype, job.regions)
        area = figure_area(job.arrtype, job.regions, self.telemetry)
        scales = [to_em_electrons(stack, job.kgain) for stack in stacks]
        screen = self.options.screen
        kept, counting = _core.KEPT if screen else 0, None
        if self.options.estimator == "counting":
            counting = self.options.counting.plan(stacks, job.camera, scales)
        ways = counting.ways if counting else histograms_of(stacks, job.camera)
        telemetry = self.telemetry.start, self.telemetry.stop
        jobs = jobs_of(stacks, scales, job.mask, area, kept, ways, telemetry)
        screenings = [_screening(stack, job.camera) for stack in stacks] if screen else None
        return _Plan(stacks, jobs, screenings, model, counting)

    def accumulate(self, planned: _Plan, executor: Executor) -> Streamed[_Found]:
        """Stream the stacks, and look at their sums before they are screened."""
        look = ProductLook(
            self.job,
            self.telemetry,
            self.job.kgain,
            fit=planned.model.name == FULL.name,
            screened=self.options.screen,
            flagging=self.options.threshold.rule,
            silent=self.options.threshold.silent,
        )
        found = accumulate_stacks(
            planned.jobs,
            executor,
            planned.screenings,
            lambda i, sums: look.at(planned.stacks[i], sums.moments, bins=planned.unused_bins(i)),
        )
        return _streamed(found, look)


def _streamed(found: _Found, look: ProductLook) -> Streamed[_Found]:
    return Streamed(found, look, [sums.figures for sums in found[1]])


def _without_lost(made: Streamed[_Found]) -> Streamed[_Found]:
    """The sums without stacks of which no frame is left."""
    return _streamed(drop_lost(*made.sums), made.look)


def _model(stacks: list[Stack], options: _Options, kgain: float | None) -> Model:
    """The model that is fitted to these stacks; refuses those that it cannot be fitted to."""
    min_frames = 2 if options.estimator == "reference" else 1
    found = model_of_stacks(stacks, options.model, kgain, min_frames)
    if options.gain_error and not found.has_c:
        raise InputError(
            "gain_error needs C, the charge that a gain multiplies, and stacks of one EM gain do "
            "not tell it; leave it out"
        )
    return found


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


def _fitted(
    options: _Options,
    job: CalibrationInputs,
    planned: _Plan,
    store: StackStore,
    telemetry: slice,
) -> FittedMaps:
    """Fit the moments of the stacks."""
    stacks, model = planned.stacks, planned.model
    frame = FramePixels.of(job, stacks[0].frames[0].record.shape, telemetry)
    data = (store, stacks, options.weighting, frame.imaging, frame.skip, job.executor)
    if options.estimator == "reference":
        return FittedMaps(fit_reference(*data), None, store, stacks, model, frame, job)
    power = options.weight_power if options.estimator == "frames" else None
    fit, noise = fit_pooled(*data, options.gain_error, model, power)
    if planned.counting is None:
        return FittedMaps(fit, noise, store, stacks, model, frame, job)
    assert store.histograms is not None
    frames = CountedFrames(store, stacks, planned.counting, frame)
    counted = fit_counts(frames, fit, job.executor, options.counting.gain)
    gains = counted.law_gain.tolist()
    stacks = [replace(stack, em_gain=g) for stack, g in zip(stacks, gains, strict=True)]
    tables = CountingTables(counted, planned.counting, stacks, store.n, store.histograms)
    return FittedMaps(fit, noise, store, stacks, model, frame, job, tables)


def _raw_columns(stacks: Sequence[Stack], sums: Sequence[StackSums]) -> Columns:
    """Columns of STACKS on raw frames; none where no frame was raw."""
    rays = [ray_share(stack, each.figures) for stack, each in zip(stacks, sums, strict=True)]
    if np.isnan(rays).all():
        return {}
    figures = [each.figures for each in sums]
    return {
        "SATURATD": [float(np.mean([one.saturated for one in some])) for some in figures],
        "RAYSHARE": rays,
        "REPAIRED": [sum(one.repaired_rows for one in some) for some in figures],
    }


def _product(options: _Options, fitted: FittedMaps, raw_columns: Columns) -> DetectorNoiseMaps:
    """The product of a fit, with its cards and history."""
    job, stacks = fitted.job, fitted.stacks
    stack_of = {id(item): i for i, stack in enumerate(stacks) for item in stack.frames}
    numbers, counts, table = fitted.content()
    maps = DetectorNoiseMaps.from_fit(
        fitted.fit,
        numbers,
        counts,
        {**table, **raw_columns},
        job.inputs,
        [stack_of[id(item)] for item in job.inputs],
        job.camera.header_rules,
        {
            "CAMERA": (ascii_text(job.camera.name), "camera by which headers were read"),
            **options.cards(fitted.model),
            **({} if fitted.counting is None else fitted.counting.cards()),
        },
    )
    if fitted.counting is not None:
        maps.record_histogram(fitted.counting.histogram())
    cards = product_cards(stacks[0], job.camera)
    maps.ext_hdr.update({**cards, **k_gain_card(stacks, job.kgain)})
    lines = *bias_history(stacks[0], job.camera), *_offset_history(job, fitted.frame)
    for line in (*lines, *model_words(maps.ext_hdr)):
        maps.ext_hdr["HISTORY"] = line
    maps.record_skipped(job.skipping.all)
    return maps


def _offset_history(job: CalibrationInputs, frame: FramePixels) -> list[str]:
    """A word on the bias offset of a camera that has no place to measure it."""
    if frame.prescan.size or frame.reliable.size:
        return []
    return [
        f"Camera {job.camera.name} has no prescan: B_O is no measurement, and whatever level the "
        "bias subtraction left is part of the fixed pattern"
    ]
