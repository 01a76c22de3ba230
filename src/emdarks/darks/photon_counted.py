"""The photon-counted master dark: electrons a frame from counts above a threshold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.accumulate import Executor, StackJob, StackSums
from emdarks.arguments import check_flag, is_number, is_whole
from emdarks.cameras import Camera, Counted
from emdarks.checks.recipe_frames import ProductLook
from emdarks.counting_sums import CountsAbove, CountThreshold
from emdarks.darks.counting import stages_in
from emdarks.darks.master_dark import dark_headers
from emdarks.darks.rejection import Streamed, check_kinds, judged
from emdarks.detector import Regions, frame_shape, imaging_area_geom, region_slices
from emdarks.dq import DQ
from emdarks.errors import EmdarksWarning, GeometryError, InputError, SeveralStacksError
from emdarks.frames.bad_frames import SKIP_SHARE
from emdarks.frames.prepared import check_offset
from emdarks.one_electron import check_stages
from emdarks.photon_counts import (
    CountLaw,
    SeriesLaw,
    expected_shares,
    third_order_rate,
    third_order_variance,
)
from emdarks.products import Dark
from emdarks.products.dark import PHOTON_COUNTED, count_hdus, write_law, write_unexposed
from emdarks.products.synthesis import check_threshold, warn_of_noise
from emdarks.stacks import (
    Stack,
    bias_history,
    check_frames,
    check_shape,
    check_stack,
    figure_area,
    group_stacks,
    jobs_of,
    to_em_electrons,
)
from emdarks.stacks.calibration_inputs import CalibrationInputs, calibration_inputs, choose
from emdarks.stacks.counts import counted_alike, of_counts
from emdarks.stacks.nominal_noise import nominal_noise

Array = npt.NDArray[Any]

ESTIMATORS = ("law", "reference")
#: Where neither the caller nor detector parameters say otherwise.
T_FACTOR, MAX_RATE = 5.0, 0.25
_MOST_ITERATIONS = 20


def build_photon_counted_dark(
    dataset: Any,
    detector_params: Any = None,
    detector_regions: Regions | None = None,
    full_frame: bool = False,
    *,
    threshold: float | None = None,
    t_factor: float | None = None,
    iterations: int = 2,
    read_noise: float | None = None,
    max_rate: float | None = None,
    estimator: str = "law",
    camera: str | Camera | None = None,
    kgain: float | None = None,
    mask_bits: int | None = None,
    gain_tolerance: float = 0.05,
    skip_bad_frames: bool = False,
    skip: Sequence[str] = (),
    skip_share: float = SKIP_SHARE,
    executor: Executor | None = None,
) -> Dark:
    """Count electrons in one stack of dark frames of high EM gain.

    A sample above the threshold is one electron. The share of a pixel's good samples that lie
    above it becomes a mean number of electrons: method page, eq. 25 (rate).

    Parameters
    ----------
    dataset : Dataset, or an object like it
        Full frames of one exposure time, EM gain and k-gain: bias subtracted, cosmic rays
        flagged, linearised. In DN or EM electrons (not divided by gain), or raw frames. Or frames
        of counts, 0 and 1, of which the camera file tells the threshold (table ``[counting]``).
    detector_params : DetectorParams, or an object like it, optional
        ``params["TFACTOR"]`` and ``["PCECNTMX"]`` are ``t_factor`` and ``max_rate`` where these
        are not given; ``["TELRSTRT"]`` and ``["TELREND"]`` say which rows are telemetry,
        ``["NEMGAIN"]`` of how many stages the register of the law is (0: infinitely many).
    detector_regions : mapping, optional
        Geometry; that of the camera by default.
    full_frame : bool
        Whole frames instead of the image region.
    threshold : float, optional
        T, EM electrons above the bias.
    t_factor : float, optional
        The threshold in read noises, where it is not given; 5 by default.
    iterations : int
        Steps of Newton's rule with the estimator "reference".
    read_noise : float, optional
        EM electrons; by default that of the headers (card RN), else the camera's.
    max_rate : float, optional
        Largest mean number of electrons a frame: above, too many pixels hold two; 0.25 by
        default.
    estimator : {"law", "reference"}
        "law": the rate at which the law of a sample (all stages of the register, read noise)
        makes the observed share of counts: what read noise alone counts is taken off, electrons
        below the threshold and those that share a frame are added. The rate is signed.
        "reference": the numbers of the reference implementation, a series of third order without
        read noise; negative rates become 0 with flag 256, as there.
    camera, kgain, mask_bits, gain_tolerance, skip_bad_frames, skip, skip_share, executor
        See `build_trad_dark`.

    Returns
    -------
    Dark
        Rate and error in detected electrons a frame, shape (rows, columns) of the image region
        or the frame; ``photon_counted`` is True, ``threshold`` is T. The fixed pattern F of a
        pixel is not known here: a pixel with F above 0 has its threshold lower by F, as in all
        frames of its setting that are counted in the same way. HDUs ``NGOOD`` and ``NABOVE``
        hold the counts themselves, of which ``Dark.rate_interval`` makes intervals. A pixel that is
        bad in every frame is 0, its error NaN, its flags the OR of all. One with so many counts
        that they tell no rate is NaN with flag 1. Telemetry rows are NaN with flag 1.

    Raises
    ------
    InputError, MissingKeywordError, GeometryError
        A frame or argument cannot be used: several settings, one frame, frames that are not of
        photon counting (card ISPC), a threshold at or above the EM gain, no read noise, or more
        charge than ``max_rate``.

    Examples
    --------
    >>> from emdarks import Dataset, build_photon_counted_dark
    >>> from emdarks.data import sample
    >>> stacks, settings = Dataset(sample()).split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])
    >>> settings[4]
    (5000.0, 2.0)
    >>> for frame in stacks[4]:  # they were taken for noise maps
    ...     frame.ext_hdr["ISPC"] = 1
    >>> dark = build_photon_counted_dark(stacks[4], read_noise=165.0)
    >>> dark.photon_counted, dark.threshold
    (True, 825.0)
    """
    choose("estimator", estimator, ESTIMATORS)
    if threshold is not None and t_factor is not None:
        raise InputError(
            f"threshold is {threshold!r} and t_factor {t_factor!r}; give one of them (--threshold, "
            "--t-factor)"
        )
    check_flag("full_frame", full_frame)
    check_kinds(skip)
    check_offset(dataset, "a photon-counted dark")
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
    choice = _Choice(
        t_factor is not None or threshold is not None,
        threshold,
        _parameter("t_factor", t_factor, detector_params, "TFACTOR", T_FACTOR),
        read_noise,
        _parameter("max_rate", max_rate, detector_params, "PCECNTMX", MAX_RATE),
        iterations,
        estimator,
        stages_in(detector_params),
    )

    def plan(job: CalibrationInputs) -> _Plan:
        stacks = group_stacks(job.inputs, gain_tolerance)
        check_frames(stacks)
        return _Plan.of(job, _only_stack(stacks), kgain, telemetry, choice)

    def accumulate(made: _Plan, executor: Executor) -> Streamed[StackSums]:
        look = ProductLook(job, telemetry, kgain, fit=False)
        sums = executor.sums(made.jobs[0])
        look.at(made.stack, sums.moments)
        return Streamed(sums, look, [sums.figures])

    job, planned, sums = judged(job, plan, accumulate, skip)
    job.skipping.tell(job.frames)
    _check_rate(sums, job, telemetry, planned, choice.max_rate)
    planes = _planes(sums, planned, job, telemetry, choice)
    return _dark(planes, job, planned, kgain, choice, full_frame)


def _dark(
    planes: dict[str, Array],
    job: CalibrationInputs,
    planned: _Plan,
    kgain: float | None,
    choice: _Choice,
    full_frame: bool,
) -> Dark:
    """The product of planes of whole frames; of the imaging area unless it is to be whole."""
    unexposed = _unexposed(planes, job)
    if not full_frame:
        section = region_slices(job.arrtype, "image", job.regions)
        planes = {name: np.ascontiguousarray(plane[section]) for name, plane in planes.items()}
    dark = _product(planes, job, planned, kgain, choice)
    if unexposed is not None:
        write_unexposed(dark.ext_hdr, *unexposed)
    dark.record_skipped(job.skipping.bad)
    return dark


@dataclass(frozen=True, slots=True)
class _Choice:
    """What was asked for; see `build_photon_counted_dark`.

    ``asked`` is whether a caller chose the threshold.
    """

    asked: bool
    threshold: float | None
    t_factor: float
    read_noise: float | None
    max_rate: float
    iterations: int
    estimator: str
    stages: float | None

    def __post_init__(self) -> None:
        for name in ("threshold", "t_factor", "read_noise", "max_rate"):
            value = getattr(self, name)
            if value is not None and not (is_number(value) and value > 0):
                raise InputError(f"{name} is {value!r}; it must be a positive number")
        if not (is_whole(self.iterations) and 1 <= self.iterations <= _MOST_ITERATIONS):
            raise InputError(
                f"iterations is {self.iterations!r}; it must be a whole number from 1 to "
                f"{_MOST_ITERATIONS}"
            )

    def law(self, stack: Stack, camera: Camera) -> CountLaw:
        """The law of the counts of a stack.

        Raises
        ------
        InputError
            No read noise is known, or the threshold is one that electrons do not pass, or
            another than that of frames that are counted already.
        """
        at = self.threshold
        counted = counted_alike(stack)
        if counted is not None:
            at = self._threshold_of(counted, stack)
        noise = nominal_noise(stack, camera) if self.read_noise is None else self.read_noise
        if not noise > 0:
            raise InputError(
                f"camera {camera.name} has no read noise for {stack.frames[0].record.name}, nor "
                "has its header (RN), and the threshold goes by it; give it (read_noise, "
                "--read-noise)"
            )
        at = self.t_factor * noise if at is None else at
        check_threshold(str(stack), at, stack.em_gain)
        stages = camera.noise.register_stages if self.stages is None else self.stages
        check_stages(stages)
        law = CountLaw(float(at), float(stack.em_gain), float(noise), float(stages))
        warn_of_noise(str(stack), law)
        return law

    def _threshold_of(self, counted: Counted, stack: Stack) -> float:
        """That of frames that are counted already."""
        if self.asked:
            raise InputError(
                f"{stack.frames[0].record.name}: is counted already, above "
                f"{counted.threshold:g} EM electrons: leave the threshold out "
                "(threshold, t_factor, --threshold, --t-factor)"
            )
        return counted.threshold


def _parameter(name: str, given: float | None, params: Any, key: str, default: float) -> float:
    """An argument, else the value of detector parameters, else the default."""
    if given is not None or params is None:
        return default if given is None else given
    try:
        value: float = params.params[key]
    except KeyError:
        raise InputError(f"the detector parameters have no {key!r}; give {name}") from None
    return value


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the headers decide: the stack, the law of its counts, and the work that it is."""

    stack: Stack
    law: CountLaw
    jobs: list[StackJob]

    @property
    def stacks(self) -> list[Stack]:
        """The stack, as one of one."""
        return [self.stack]

    @classmethod
    def of(
        cls,
        job: CalibrationInputs,
        stack: Stack,
        kgain: float | None,
        telemetry: slice,
        choice: _Choice,
    ) -> _Plan:
        """Plan to stream this stack."""
        check_stack(stack, kgain)
        check_shape([stack], job.arrtype, job.regions)
        _check_kind(stack)
        law = choice.law(stack, job.camera)
        area = figure_area(job.arrtype, job.regions, telemetry)
        at = CountThreshold(law.threshold, errors=choice.estimator == "reference")
        if counted_alike(stack) is None:
            scales = to_em_electrons(stack, kgain)
        else:
            scales, at = of_counts(stack)
        jobs = jobs_of([stack], [scales], job.mask, area, counting=[(at, None)])
        return cls(stack, law, jobs)

    def mean_rate(self, mean: float) -> float:
        """Electrons a frame of a mean of samples, EM electrons; a count is one of g of them."""
        share = mean / self.stack.em_gain
        return share if counted_alike(self.stack) is None else float(self.law.rate(share))


def _only_stack(stacks: list[Stack]) -> Stack:
    if len(stacks) > 1:
        known = "; ".join(f"{len(stack.frames)} frames in {stack}" for stack in stacks)
        raise SeveralStacksError(
            f"a photon-counted dark needs frames of one exposure time, EM gain and k-gain; "
            f"these are {len(stacks)} stacks: {known}",
            tuple(stacks),
        )
    stack = stacks[0]
    first = stack.frames[0].record
    if first.counted is not None and first.counted.value != "count":
        raise InputError(
            f"{first.name}: holds {first.counted}; a dark is made of single frames: give frames of "
            "0 and 1, or those from before the threshold"
        )
    if len(stack.frames) < 2:
        raise InputError(
            f"{first.name}: is the only frame; a share of counts needs two at "
            "least, and hundreds to tell a rate"
        )
    return stack


def _check_kind(stack: Stack) -> None:
    """Refuse frames of which some are for photon counting and some not; say where none is."""
    taken = [item for item in stack.frames if item.record.counted is None]
    kinds = {item.record.name: item.headers["ext"].get("ISPC", 1) for item in taken}
    others = [name for name, kind in kinds.items() if kind not in (1, "1")]
    if not others:
        return
    if len(others) < len(kinds):
        raise InputError(
            f"{others[0]}: is not for photon counting (ISPC = {kinds[others[0]]}), nor are "
            f"{len(others) - 1} others of {len(kinds)} frames: give frames of one kind"
        )
    warnings.warn(
        f"{others[0]}: is not marked as a frame for photon counting (ISPC = {kinds[others[0]]}), "
        f"nor is any other of the {len(kinds)} frames; they are counted all the same",
        EmdarksWarning,
        stacklevel=7,
    )


def _check_rate(
    sums: StackSums, job: CalibrationInputs, telemetry: slice, planned: _Plan, most: float
) -> None:
    """Refuse frames with so much charge that counts of one electron a pixel tell little.

    Raises
    ------
    InputError
        The mean number of electrons in the imaging area is above the largest.
    """
    stack, moments = planned.stack, sums.moments
    means = moments.mean[_imaging(job, telemetry).reshape(-1) & (moments.n > 0)]
    if not means.size:
        raise InputError(f"{stack}: no pixel of the imaging area is good in any frame")
    rate = planned.mean_rate(float(means.mean()))
    if not rate <= most:
        raise InputError(
            f"{stack}: {rate:.3g} electrons a pixel and frame on average are too many to count one "
            f"by one; the most is {most:g} (max_rate, --max-rate): count shorter exposures, or "
            "average these frames (emdarks dark)"
        )


def _imaging(job: CalibrationInputs, telemetry: slice) -> Array:
    """Whether pixels lie in the imaging area, without telemetry rows."""
    rows, cols, (row0, col0) = imaging_area_geom(job.arrtype, job.regions)
    inside = np.zeros(frame_shape(job.arrtype, job.regions), dtype=bool)
    inside[row0 : row0 + rows, col0 : col0 + cols] = True
    inside[telemetry] = False
    return inside


def _planes(
    sums: StackSums, planned: _Plan, job: CalibrationInputs, telemetry: slice, choice: _Choice
) -> dict[str, Array]:
    """Rate, error, flags and counts of the whole frame."""
    moments, counts = sums.moments, sums.moments.counting
    assert isinstance(counts, CountsAbove)
    n, above, plus, minus = (np.asarray(x, np.float64) for x in (moments.n, *counts.sums()))
    if not plus.size:
        plus = minus = above
    if choice.estimator == "reference":
        data, err, extra = _reference_rates(n, (above, plus, minus), planned.law, choice.iterations)
    else:
        imaging = _imaging(job, telemetry).reshape(-1)
        data, err, extra = _law_rates(n, above, imaging, planned.law)
    dq = np.where(moments.n > 0, extra, moments.flags).astype(moments.flags.dtype)
    shape = planned.stack.frames[0].record.shape
    found = {"data": data, "err": err, "dq": dq}
    found |= {"NGOOD": moments.n.astype(np.uint16), "NABOVE": counts.above}
    planes = {name: plane.reshape(shape) for name, plane in found.items()}
    for name, value in (("data", np.nan), ("err", np.nan), ("dq", 1), ("NGOOD", 0), ("NABOVE", 0)):
        planes[name][telemetry] = value
    return planes


def _unexposed(planes: dict[str, Array], job: CalibrationInputs) -> tuple[float, float] | None:
    """Counts of a pixel in a frame of the prescan, and their error; None without one.

    No light and no dark current is there: this is what read noise and the register do.
    """
    for name in ("prescan_reliable", "prescan"):
        with suppress(GeometryError):
            where = region_slices(job.arrtype, name, job.regions)
            n, above = (float(planes[key][where].sum()) for key in ("NGOOD", "NABOVE"))
            p = (above + 1.0) / (n + 2.0)
            return (above / n, math.sqrt(p * (1.0 - p) / n)) if n else None
    return None


def _law_rates(n: Array, above: Array, imaging: Array, law: CountLaw) -> tuple[Array, Array, Array]:
    """Rates, errors and flags; errors go by the pixels of the imaging area, or of the rest."""
    rate, err = np.empty(n.shape), np.empty(n.shape)
    for region in (imaging, ~imaging):
        rate[region], err[region] = rates_and_errors(n[region], above[region], law)
    return rate, err, np.where(np.isnan(rate), DQ.BAD_UNSPECIFIED, 0)


def rates_and_errors(n: Array, above: Array, law: CountLaw | SeriesLaw) -> tuple[Array, Array]:
    """Rates and errors of the pixels of one region; those of the same counts have the same.

    Parameters
    ----------
    n, above : ndarray of whole numbers, shape (pixels,)
        Good samples, and those of them above the threshold.
    law : CountLaw or SeriesLaw
        The law of the counts.

    Returns
    -------
    rate, err : ndarray, shape (pixels,)
        Method page, eq. 25 (rate) and eq. 26 (counterr). Where no sample is good, 0 and NaN;
        where the counts tell no rate, NaN.
    """
    # Frames that were added up elsewhere may be of more frames than a stack of ours can have.
    base = np.int64(n.max(initial=0)) + 1
    kinds, where, pixels = np.unique(
        n.astype(np.int64) * base + above.astype(np.int64), return_inverse=True, return_counts=True
    )
    size, counts = (part.astype(np.float64) for part in np.divmod(kinds, base))
    seen, good = size > 0, np.maximum(size, 1)
    rate = np.where(seen, law.rate(counts / good), 0.0)
    share = expected_shares(counts, size, pixels)
    slope = law.statistics(np.nan_to_num(law.rate(share)))[1]
    err = np.sqrt(share * (1.0 - share) / good) / slope
    err[~seen | np.isnan(rate)] = np.nan
    return rate[where], err[where]


def _reference_rates(
    n: Array, counts: tuple[Array, Array, Array], law: CountLaw, iterations: int
) -> tuple[Array, Array, Array]:
    """Those of the reference implementation, from counts of samples, and with errors added."""
    T, g = law.threshold, law.gain
    rate, high, low = (third_order_rate(above, n, T, g, iterations) for above in counts)
    negative = rate < 0
    known = ~negative & (n > 0)
    err = np.sqrt(third_order_variance(rate, n, T, g), where=known, out=np.full(n.shape, np.nan))
    err += np.maximum(high - rate, rate - low)
    return np.maximum(rate, 0.0), err, np.where(negative, DQ.TOO_BRIGHT, 0)


def _product(
    planes: dict[str, Array],
    job: CalibrationInputs,
    planned: _Plan,
    kgain: float | None,
    choice: _Choice,
) -> Dark:
    headers = dark_headers(job, planned.stack, kgain)
    ext, law = headers["ext"], planned.law
    ext["PC_STAT"] = PHOTON_COUNTED
    ext["NUM_FR"] = (len(job.inputs), "frames counted")
    ext["PCESTIM"] = (choice.estimator, "estimator of the rate")
    write_law(ext, law)
    dark = Dark(
        planes["data"],
        headers["pri"],
        ext,
        None,
        planes["err"],
        planes["dq"],
        headers["err"],
        headers["dq"],
        count_hdus(planes["NGOOD"], planes["NABOVE"]),
    )
    dark.ext_hdr["HISTORY"] = (
        f"Photon-counted master dark: counts above {law.threshold:.6g} EM electrons in "
        f"{len(job.inputs)} frames; EM gain used {law.gain:.6g}, read noise {law.read_noise:.6g}, "
        f"estimator {choice.estimator}; F of a pixel, which moves its threshold, is not corrected"
    )
    for line in bias_history(planned.stack, job.camera):
        dark.ext_hdr["HISTORY"] = line
    dark.named_after(job.inputs[-1].provenance.name)
    return dark
