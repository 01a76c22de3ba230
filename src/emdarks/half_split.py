"""Can the errors be believed? A check without truth, from the frames alone.

Odd and even frames of every stack are fitted apart, from one pass: where the errors are
honest, the pulls of the difference have unit scatter. Each stack's mean is predicted from
all the others: a wrong gain or a light leak disagrees. Levels of single frames along the
sequence show drift.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from emdarks.accumulate import Executor, FrameFigures, StackJob, StackSums
from emdarks.cameras import Camera
from emdarks.checks.recipe_frames import ProductLook, named_in, refuse_problems, tell
from emdarks.checks.registry import HALF_SPLIT, REFUSED_LATER
from emdarks.checks.thresholds import FEW_FRAMES, GAIN_DISAGREES, SIGNIFICANT
from emdarks.darks.counting import (
    CountedFrames,
    CountingOptions,
    CountingPlan,
    CountingResult,
    fit_counts,
    refuse_options,
)
from emdarks.darks.frame_pixels import FramePixels
from emdarks.darks.rejection import check_kinds, kinds_of, stream
from emdarks.detector import Regions
from emdarks.errors import EmdarksWarning, InputError, TooFewFramesError
from emdarks.fit.least_squares import Fit
from emdarks.fit.pooled import PooledNoise, fit_pooled
from emdarks.frames.bad_frames import SKIP_SHARE
from emdarks.stacks import (
    Slope,
    Stack,
    StackStore,
    accumulate_stacks,
    check_frames,
    check_shape,
    common_slope,
    drop_lost,
    excess_scatter,
    figure_area,
    group_stacks,
    jobs_of,
    sequence_times,
    to_em_electrons,
)
from emdarks.stacks.calibration_inputs import CalibrationInputs, calibration_inputs, choose
from emdarks.stacks.design import design
from emdarks.stacks.model import MODELS, Model, model_of_stacks

__all__ = ["CheckReport", "StackVerdict", "check_darks"]

Array = npt.NDArray[Any]

ALL_WELL = "The errors can be believed: nothing in these frames speaks against them."
#: A drift within stacks from here on may be confirmed by one between stacks.
HINT = 2.5
#: How far the scatter of pulls may lie from 1; more where there are few pixels.
PULL_TOLERANCE = 0.1
#: Scatter of pulls down to which errors of few frames may be careful.
CAREFUL = 0.75
#: Stacks whose removal helps as much, to this change of chi-square, cannot be told apart.
SAME_CHI2 = 9.0


# Names in JSON, which tell the unit.
_MAPS = {"F": "fpn", "C": "cic", "D": "dc", "L": "level", "C + t D": "charge"}
_UNITS = (("gain", "em_gain"), ("exposure_time", "exposure_time_s"), ("misfit", "misfit_e"))


@dataclass(frozen=True, slots=True)
class StackVerdict:
    """How one stack agrees with all the others.

    Attributes
    ----------
    gain, exposure_time : float
        EM gain; seconds.
    misfit : float
        Image mean of the stack minus its prediction by the others, EM electrons.
    sigmas : float
        The same in standard errors.
    chi2_without : float
        Chi-square of the image means when this stack is left out.
    pull_median, pull_scatter : float
        Residuals of single pixels over the error that the pool's variance gives them:
        median, and robust scatter.
    """

    gain: float
    exposure_time: float
    misfit: float
    sigmas: float
    chi2_without: float
    pull_median: float
    pull_scatter: float


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Result of `check_darks`.

    Attributes
    ----------
    pull_std : dict of float
        Scatter of (odd - even) / error for F, C and D in the imaging area; 1 is right.
    pixels : int
        Pixels compared.
    stacks : tuple of StackVerdict
        One per stack that has a good pixel.
    disagreeing : tuple of int
        Index of the stack that disagrees with the others, if one does; of several, the most
        likely first, where the frames cannot tell which of them it is.
    drift : float
        Change of level along the sequence, EM electrons from first to last frame, common to
        all stacks.
    drift_sigmas : float
        The same in standard errors.
    few_frames : bool
        Whether some stack has so few frames that the pulls of D, and of C, are expected below 1:
        an electron that one half caught and the other did not raises the error with the
        difference.
    believable : bool
        Whether nothing speaks against the errors.
    words : tuple of str
        The same in words.
    """

    pull_std: dict[str, float]
    pixels: int
    stacks: tuple[StackVerdict, ...]
    disagreeing: tuple[int, ...]
    drift: float
    drift_sigmas: float
    few_frames: bool
    believable: bool
    words: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, with units in the names: ``_e`` EM electrons, ``_s`` seconds."""
        values = asdict(self)
        values["pull_std"] = {_MAPS[name]: std for name, std in self.pull_std.items()}
        values["drift_e"] = values.pop("drift")
        for stack in values["stacks"]:
            for short, full in _UNITS:
                stack[full] = stack.pop(short)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The report that `as_dict` made these values of, None where numbers are not known.

        Raises
        ------
        TypeError, KeyError, AttributeError
            The values are of something else.
        """
        known: dict[str, Any] = {k: np.nan if v is None else v for k, v in values.items()}
        known.pop("files_left_out", None)  # what the command says of its arguments
        stacks = []
        for stack in known["stacks"]:
            own = {name: np.nan if value is None else value for name, value in stack.items()}
            for short, full in _UNITS:
                own[short] = own.pop(full)
            stacks.append(StackVerdict(**own))
        names = {name: letter for letter, name in _MAPS.items()}
        pulls = {names[name]: std for name, std in known["pull_std"].items()}
        known["drift"] = known.pop("drift_e")
        for name in ("disagreeing", "words"):
            known[name] = tuple(known[name])
        known |= {"stacks": tuple(stacks), "pull_std": pulls}
        return cls(**known)


def check_darks(
    dataset: Any,
    detector_params: Any = None,
    detector_regions: Regions | None = None,
    *,
    estimator: str = "pooled",
    model: str = "full",
    flag_level: float | None = None,
    read_noise: float | None = None,
    gain: str = "header",
    camera: str | Camera | None = None,
    kgain: float | None = None,
    mask_bits: int | None = None,
    skip_bad_frames: bool = False,
    skip: Sequence[str] = (),
    skip_share: float = SKIP_SHARE,
    executor: Executor | None = None,
) -> CheckReport:
    """Check a campaign of dark frames against itself.

    Parameters
    ----------
    dataset, detector_params, detector_regions, model, flag_level, read_noise, gain, camera, \
    kgain, mask_bits, skip_bad_frames, skip, skip_share, executor
        As in `emdarks.darks.calibrate_darks_lsq`. Every stack needs four frames at least.
    estimator : {"pooled", "counting"}
        Whose errors are asked for. With "counting" stacks are not compared with each other, since
        their means hold cosmic rays that the maps do not, but EM gains of the headers are compared
        with those that the frames show.

    Returns
    -------
    CheckReport

    Raises
    ------
    InputError, TooFewFramesError, CalDarksLSQException
        The campaign cannot be fitted in halves.

    Notes
    -----
    Each frame is read once; the moments of both halves are held, twice the memory of
    `emdarks.darks.calibrate_darks_lsq`.

    Examples
    --------
    >>> from emdarks import Dataset, check_darks
    >>> from emdarks.data import sample
    >>> report = check_darks(Dataset(sample()))
    >>> report.believable, report.disagreeing
    (True, ())
    """
    check_kinds(skip)
    choose("model", model, MODELS)
    choose("estimator", estimator, ("pooled", "counting"))
    counting = CountingOptions.of(flag_level, read_noise, gain, detector_params)
    counting.check(estimator == "counting")
    if estimator == "counting":
        refuse_options(True, False, model, 0.0)
    job = calibration_inputs(
        dataset,
        camera,
        detector_regions,
        executor,
        mask_bits,
        kgain,
        skip_bad_frames=skip_bad_frames,
        skip_share=skip_share,
    )
    options = counting if estimator == "counting" else None
    asked = _Asked(model, options, job.telemetry(detector_params))
    frames = job.frames
    report = _checked(job, asked, skip)
    job.skipping.tell(frames)
    return report


@dataclass(frozen=True, slots=True)
class _Asked:
    """How frames are fitted; `counting` is None for the pooled estimator."""

    model: str
    counting: CountingOptions | None
    telemetry: slice


def _checked(job: CalibrationInputs, asked: _Asked, skip: Sequence[str]) -> CheckReport:
    """Stream and compare; once more without the frames to skip, where there are any."""
    job, planned, halves = stream(
        job,
        lambda job: _plan(job, asked),
        _accumulate,
        lambda halves: [drop_lost(*half) for half in halves],
    )
    stacks = planned.stacks
    ordered = [_interleaved(*two) for two in zip(*(sums for _, sums in halves), strict=True)]
    look = ProductLook(job, asked.telemetry, job.kgain, fit=True)
    refuse_problems(look.findings(job, stacks, ordered, checks=REFUSED_LATER))
    frame = FramePixels.of(job, stacks[0].frames[0].record.shape, asked.telemetry)
    compared = _compared(halves, planned, frame, job.executor)
    (store, _), (odd, _) = halves
    store.merge(odd, job.executor)
    for i, stack in enumerate(stacks):
        look.at(stack, store.moments(i))
    found = (
        named_in(look.findings(job, stacks, ordered), kinds_of(skip), job.inputs) if skip else []
    )
    if found:
        job.skipping.skip([bad for _, bad in found], job.frames)
        return _checked(job.without(item for item, _ in found), asked, ())
    tell(look.findings(job, stacks, ordered, checks=HALF_SPLIT), stacklevel=4)
    return _report(store, planned, frame, compared, job.executor)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Stacks, and the work that their halves are: first the even, then the odd frames."""

    stacks: list[Stack]
    jobs: list[StackJob]
    model: Model
    counting: CountingPlan | None = None
    gain: str = "header"


@dataclass(frozen=True, slots=True)
class _Compared:
    """Both halves beside each other.

    Attributes
    ----------
    differences : dict of ndarray
        Even less odd, of each plane, one value a pixel.
    variances : dict of float
        Median over pixels of the variance of this difference, from the errors of both.
    pixels : ndarray of int
        Pixels that were fitted in both.
    figures : list of list
        Figures of single frames, by half and stack.
    """

    differences: dict[str, Array]
    variances: dict[str, float]
    pixels: Array
    figures: list[list[tuple[FrameFigures, ...]]]


#: Moments of one half.
_Half = tuple[StackStore, list[StackSums]]


def _compared(
    halves: Sequence[_Half], planned: _Plan, frame: FramePixels, executor: Executor
) -> _Compared:
    """Fit each half by itself, and compare them where both could be fitted."""
    with warnings.catch_warnings():
        # What is said of the fit is said of that of all frames.
        warnings.simplefilter("ignore", EmdarksWarning)
        even, odd = (_fit(store, planned, frame, executor)[0] for store, _ in halves)
    pixels = np.flatnonzero(frame.imaging & frame.signal & even.fitted & odd.fitted)
    _check_pixels(pixels)
    figures = [[stack.figures for stack in sums] for _, sums in halves]
    planes = planned.model.planes
    differences = {name: even.values[k, pixels] - odd.values[k, pixels] for k, name in planes}
    variances = {
        name: float(np.median(even.errors[k, pixels] ** 2 + odd.errors[k, pixels] ** 2))
        for k, name in planes
    }
    return _Compared(differences, variances, pixels, figures)


def _report(
    store: StackStore, planned: _Plan, frame: FramePixels, halves: _Compared, executor: Executor
) -> CheckReport:
    """Fit all frames, and judge."""
    stacks, model = planned.stacks, planned.model
    fit, noise, counted = _fit(store, planned, frame, executor)
    pixels = halves.pixels[fit.fitted[halves.pixels]]
    _check_pixels(pixels)
    seen = [i for i in range(len(stacks)) if (store.n[i, pixels] > 0).any()]
    shown = [stacks[i] for i in seen]
    figures = [[part[i] for i in seen] for part in halves.figures]
    level_noise = _level_noise(store, pixels, seen)
    verdicts: tuple[StackVerdict, ...] = ()
    if counted is None:
        means = _image_means(fit, noise, store, stacks, pixels, seen, model)
        verdicts = _verdicts(means, shown)
        drift = _drift(means, shown, figures, level_noise)
    else:
        drift = _within(_times(shown), figures, level_noise)
    disagreeing = _disagreeing(verdicts)
    # Two maps rest on few stacks, and so on few electrons.
    enough = FEW_FRAMES if model.fitted.all() else 3 * FEW_FRAMES
    few = min(len(stack.frames) for stack in stacks) < enough
    pulls = _pulls(halves, fit, model)
    against = _words(pulls, pixels.size, few, verdicts, disagreeing, drift)
    words = _blind(stacks, seen) + against
    words += () if counted is None else _of_gains(stacks, counted)
    return CheckReport(
        pull_std={name: scatter.std for name, scatter in pulls.items()},
        pixels=int(pixels.size),
        stacks=verdicts,
        disagreeing=disagreeing,
        drift=drift.value,
        drift_sigmas=drift.sigmas,
        few_frames=few,
        believable=len(words) == 0,
        words=words or (ALL_WELL,),
    )


def _fit(
    store: StackStore, planned: _Plan, frame: FramePixels, executor: Executor
) -> tuple[Fit, PooledNoise, CountingResult | None]:
    """Maps of some frames; by the counting estimator what it found besides, too."""
    fit, noise = fit_pooled(
        store, planned.stacks, True, frame.imaging, frame.skip, executor, model=planned.model
    )
    if planned.counting is None:
        return fit, noise, None
    frames = CountedFrames(store, planned.stacks, planned.counting, frame)
    return fit, noise, fit_counts(frames, fit, executor, planned.gain)


def _plan(job: CalibrationInputs, asked: _Asked) -> _Plan:
    """Decide by the headers."""
    stacks = group_stacks(job.inputs)
    check_frames(stacks)
    fitted = model_of_stacks(stacks, asked.model, job.kgain, min_frames=2)
    check_shape(stacks, job.arrtype, job.regions)
    for stack in stacks:
        if len(stack.frames) < 4:
            raise TooFewFramesError(
                f"{stack} has {len(stack.frames)} frames; to compare odd with even ones every "
                "stack needs at least 4"
            )
    area = figure_area(job.arrtype, job.regions, asked.telemetry)
    scales = [to_em_electrons(stack, job.kgain) for stack in stacks]
    counting, ways, options = None, None, asked.counting
    if options is not None:
        counting = options.plan(stacks, job.camera, scales)
        ways = counting.ways
    telemetry = asked.telemetry.start, asked.telemetry.stop
    jobs = jobs_of(stacks, scales, job.mask, area, 0, ways, telemetry)
    halves = [_half(each, parity) for parity in (0, 1) for each in jobs]
    return _Plan(stacks, halves, fitted, counting, "header" if options is None else options.gain)


def _accumulate(planned: _Plan, executor: Executor) -> list[_Half]:
    """Moments of both halves."""
    count = len(planned.stacks)
    return [
        accumulate_stacks(jobs, executor) for jobs in (planned.jobs[:count], planned.jobs[count:])
    ]


def _check_pixels(pixels: Array) -> None:
    """Refuse frames that leave nothing to compare."""
    if not pixels.size:
        raise InputError(
            "no pixel of the imaging area can be fitted in both halves of the frames: it needs a "
            "good sample in four stacks of each; look at the flags (emdarks inspect), or choose "
            "which of them mark a sample as bad (mask_bits, --mask-bits)"
        )


def _interleaved(even: StackSums, odd: StackSums) -> tuple[FrameFigures, ...]:
    """Figures of the frames of both halves of a stack, in the order of the frames."""
    pairs = zip_longest(even.figures, odd.figures)
    return tuple(figures for pair in pairs for figures in pair if figures is not None)


def _half(job: StackJob, parity: int) -> StackJob:
    return replace(job, samples=job.samples[parity::2])


class _Scatter(NamedTuple):
    """Scatter of the difference of the halves over its error, and what chance does to it."""

    std: float
    error: float

    @classmethod
    def of(cls, pulls: Array) -> Self:
        """By the fourth moment: pulls of few electrons have longer tails than normal ones."""
        std = float(np.std(pulls))
        if std == 0:
            return cls(0.0, 0.0)
        kurtosis = float(np.mean(((pulls - pulls.mean()) / std) ** 4))
        return cls(std, std * math.sqrt((kurtosis - 1) / (4 * pulls.size)))


def _pulls(halves: _Compared, fit: Fit, model: Model) -> dict[str, _Scatter]:
    """Scatter of the difference of the halves over its error.

    How the error differs from pixel to pixel comes from the fit of all frames: an error follows
    its own estimate, and both halves' errors would follow their difference, too.
    """
    found = {}
    fitted = fit.fitted[halves.pixels]
    for k, name in model.planes:
        error2 = fit.errors[k, halves.pixels[fitted]] ** 2
        use = error2 > 0
        found[name] = _Scatter(0.0, 0.0)
        if use.any() and halves.variances[name] > 0:
            error2 = error2[use] * halves.variances[name] / np.median(error2[use])
            difference = halves.differences[name][fitted][use]
            found[name] = _Scatter.of(difference / np.sqrt(error2))
    return found


@dataclass(frozen=True, slots=True)
class _Means:
    """Image means of the stacks' residuals, their errors, and pulls of single pixels."""

    X: Array
    mean: Array
    error: Array
    pull_median: Array
    pull_scatter: Array


def _image_means(
    fit: Fit,
    noise: PooledNoise,
    store: StackStore,
    stacks: Sequence[Stack],
    pixels: Array,
    seen: Sequence[int],
    model: Model,
) -> _Means:
    gain, gain_time = design(stacks)
    X = np.column_stack([np.ones_like(gain), gain, gain_time]) * model.fitted
    assert noise.imaging is not None  # it is where a pixel was fitted
    rows, values = [], fit.values[:, pixels]
    for i in seen:
        n = store.n[i, pixels].astype(np.float64)
        good = n > 0
        # Not by BLAS, whose threads would wait at full load for the next stack.
        expected = np.einsum("k,kp->p", X[i], values)
        residual = (store.mean[i, pixels] - expected)[good]
        sigma = np.sqrt(noise.imaging.v[i] / n[good])
        pulls = residual / np.where(sigma > 0, sigma, 1.0)
        centre = np.median(pulls)
        scatter = 1.4826 * np.median(np.abs(pulls - centre))
        rows.append((residual.mean(), _error_of_mean(store, i, pixels), centre, scatter))
    mean, error, pull_median, pull_scatter = np.array(rows).T
    least = error[error > 0].min() if (error > 0).any() else 1.0
    error = np.where(error > 0, error, least)
    # A residual scatters less than its stack: the fit has taken part of the noise.
    v = np.array([noise.imaging.v[i] / max(store.n[i, pixels].mean(), 1) for i in seen])
    X = X[seen]
    v = np.where(v > 0, v, 1.0)
    _, inverse = _solve(X / np.sqrt(v)[:, None], np.zeros_like(v))
    left = np.sqrt(np.maximum(1 - np.einsum("ia,ab,ib->i", X, inverse, X) / v, 1e-6))
    return _Means(X, mean, error, pull_median / left, pull_scatter / left)


def _error_of_mean(store: StackStore, stack: int, pixels: Array) -> float:
    """Error of the image mean, from the samples' own scatter: right for hot pixels, too."""
    n = store.n[stack, pixels].astype(np.float64)
    two = n > 1
    if not two.any():
        return 0.0
    variance = store.m2[stack, pixels][two] / ((n[two] - 1) * n[two])
    return float(np.sqrt(variance.sum()) / two.sum())


def _verdicts(means: _Means, stacks: Sequence[Stack]) -> tuple[StackVerdict, ...]:
    """Image means of each stack against the fit of all the others."""
    rows = []
    for i, stack in enumerate(stacks):
        misfit, sigma, chi2 = _predict(means, i)
        rows.append(
            StackVerdict(
                gain=stack.em_gain,
                exposure_time=stack.exposure_time,
                misfit=misfit,
                sigmas=misfit / sigma,
                chi2_without=chi2,
                pull_median=float(means.pull_median[i]),
                pull_scatter=float(means.pull_scatter[i]),
            )
        )
    return tuple(rows)


def _solve(A: Array, y: Array) -> tuple[Array, Array]:
    """Least squares, and the inverse of the normal matrix, columns scaled."""
    scale = np.linalg.norm(A, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    beta = np.linalg.lstsq(A / scale, y, rcond=None)[0] / scale
    inverse: Array = np.linalg.pinv((A / scale).T @ (A / scale)) / np.outer(scale, scale)
    return beta, inverse


def _predict(means: _Means, i: int) -> tuple[float, float, float]:
    """Misfit of one stack to the fit of the others, its error, and the others' chi-square."""
    others = np.arange(means.mean.size) != i
    A, y = means.X[others] / means.error[others, None], means.mean[others] / means.error[others]
    beta, inverse = _solve(A, y)
    x = means.X[i]
    error = np.sqrt(means.error[i] ** 2 + x @ inverse @ x)
    return float(means.mean[i] - x @ beta), float(error), float(((y - A @ beta) ** 2).sum())


def _disagreeing(verdicts: Sequence[StackVerdict]) -> tuple[int, ...]:
    """Stacks without which the others agree best, the best first; none where all agree."""
    if max((abs(v.sigmas) for v in verdicts), default=0.0) < SIGNIFICANT:
        return ()
    chi2 = np.array([v.chi2_without for v in verdicts])
    order = np.argsort(chi2)
    return tuple(int(i) for i in order if chi2[i] < chi2.min() + SAME_CHI2)


def _drift(
    means: _Means,
    stacks: Sequence[Stack],
    figures: Sequence[Sequence[Sequence[FrameFigures]]],
    noise: Array,
) -> Slope:
    """Drift of the level along the sequence.

    Within stacks frames show it directly; between stacks it is a fourth column of the fit of
    image means. A wrong stack may look like the second, so the first must agree.
    """
    times = _times(stacks)
    within = _within(times, figures, noise)
    between = _between(means, np.array([t.mean() for t in times]))
    if abs(within.sigmas) < HINT or within.value * between.value <= 0:
        return within
    weights = np.array([within.error, between.error]) ** -2.0
    joint = (weights * [within.value, between.value]).sum() / weights.sum()
    return Slope(float(joint), float(weights.sum() ** -0.5))


def _times(stacks: Sequence[Stack]) -> list[Array]:
    """Of every frame along the sequence, from 0 to 1."""
    starts = [np.array([item.record.start for item in stack.frames]) for stack in stacks]
    return sequence_times(starts)


def _within(times: Sequence[Array], figures: Sequence[Any], noise: Array) -> Slope:
    """Common slope of frame levels, each stack with a level of its own.

    Few frames tell their own scatter badly, so all stacks tell it together, as a multiple of what
    the noise of the pixels makes of a level.
    """
    levels = [np.empty(time.size) for time in times]
    for index, level in enumerate(levels):
        for parity in (0, 1):
            level[parity::2] = [frame.level for frame in figures[parity][index]]
    return common_slope(times, levels, noise * excess_scatter(times, levels, noise))


def _level_noise(store: StackStore, pixels: Array, seen: Sequence[int]) -> Array:
    """Error of the level of one frame that the noise of its pixels makes, stack by stack."""
    rows = np.asarray(seen)[:, None]
    freedom = np.maximum(store.n[rows, pixels] - 1.0, 0.0).sum(axis=1)
    variance = store.m2[rows, pixels].sum(axis=1) / np.maximum(freedom, 1.0)
    error: Array = np.sqrt(variance / pixels.size)
    return error


def _between(means: _Means, times: Array) -> Slope:
    """Slope of the stacks' image means with time, beside F, C and D."""
    if times.size < 5 or np.ptp(times) == 0:
        return Slope(0.0, np.inf)
    A = np.column_stack([means.X, times]) / means.error[:, None]
    beta, inverse = _solve(A, means.mean / means.error)
    return Slope(float(beta[3]), float(np.sqrt(inverse[3, 3])))


def _blind(stacks: Sequence[Stack], seen: Sequence[int]) -> tuple[str, ...]:
    """Stacks that say nothing, since all their pixels are flagged."""
    return tuple(
        f"{str(stack)[0].upper()}{str(stack)[1:]} has no good pixel in the imaging area; look at "
        "its flags, or leave it out."
        for i, stack in enumerate(stacks)
        if i not in seen
    )


def _of_gains(stacks: Sequence[Stack], counted: CountingResult) -> tuple[str, ...]:
    """Commanded gains whose gain in use the frames contradict."""
    words, gains = {}, counted.gains
    for i in np.flatnonzero(gains.error > 0).tolist():
        off = counted.law_gain[i] / gains.gain[i] - 1
        if abs(off) > max(GAIN_DISAGREES, SIGNIFICANT * gains.error[i] / gains.gain[i]):
            words[stacks[i].commanded_gain] = (
                f"The frames show an EM gain of {gains.gain[i]:.4g} +- {gains.error[i]:.2g} where "
                f"{stacks[i].commanded_gain:g} was commanded and {counted.law_gain[i]:.4g} used; "
                "fit with those of the frames (emdarks noisemaps --estimator counting "
                "--gain-source fitted)."
            )
    return tuple(words.values())


#: What else stacks may disagree for, where an estimator helps.
_RAYS = (
    " Cosmic rays too faint to be flagged do this, too: emdarks noisemaps --estimator counting "
    "(estimator) is right under them."
)


def _words(
    pulls: dict[str, _Scatter],
    pixels: int,
    few: bool,
    verdicts: Sequence[StackVerdict],
    disagreeing: Sequence[int],
    drift: Slope,
) -> tuple[str, ...]:
    """What speaks against the errors; nothing where all is well."""
    words = []
    tolerance = max(PULL_TOLERANCE, SIGNIFICANT / np.sqrt(2 * max(pixels, 1)))
    for name, (std, error) in pulls.items():
        # Cosmic rays make tails and errors that are too small: there tails excuse few frames only.
        excused = few or std < 1
        reach = math.hypot(PULL_TOLERANCE, SIGNIFICANT * error) if excused else tolerance
        # Half of a few frames get careful errors; that says nothing about those of all.
        if std > 1 + reach or std < (CAREFUL if few else 1.0) - reach:
            kind = "small" if std > 1 else "large"
            words.append(
                f"The errors of {name} are too {kind}: odd and even frames differ by {std:.2f} "
                f"times what they say (1 +- {reach:.2f} is expected)."
            )
    drifting = abs(drift.sigmas) > SIGNIFICANT
    if drifting:
        words.append(
            f"The level drifts by {drift.value:+.3g} EM electrons from the first frame to the last "
            f"({abs(drift.sigmas):.0f} standard errors); look at bias and temperature."
        )
    if disagreeing:
        rays = _RAYS if set(pulls) == {"F", "C", "D"} and not drifting else ""
        words.append(_of_stacks(verdicts, disagreeing, drifting) + rays)
    return tuple(words)


def _of_stacks(verdicts: Sequence[StackVerdict], disagreeing: Sequence[int], drifting: bool) -> str:
    first = verdicts[disagreeing[0]]
    names = [f"EM gain {verdicts[i].gain:g}, {verdicts[i].exposure_time:g} s" for i in disagreeing]
    text = (
        f"The stack of {names[0]} disagrees with the others: its image mean is off by "
        f"{first.misfit:+.3g} EM electrons ({abs(first.sigmas):.0f} standard errors). "
    )
    if len(names) > 1:
        text += f"It may be another one instead: {'; '.join(names[1:])}. "
    if drifting:
        return text + "The drift may be the cause."
    return text + "Look for a wrong gain or time in its headers, or light; or leave it out."
