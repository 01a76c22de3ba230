"""What one pass over dark frames leaves, for all quantities of a data sheet.

Sums for the maps, counts, histograms, figures of single frames: each frame is read once. Where
maps cannot be fitted, or not by counts, the reason is kept, and the rest goes on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.accumulate import Checkpoint, Executor, FrameFigures
from emdarks.cameras import Camera
from emdarks.checks.recipe_frames import ProductLook
from emdarks.counting_sums import HistogramBins
from emdarks.darks.counting import (
    CountedFrames,
    CountingOptions,
    CountingPlan,
    CountingResult,
    flagged_levels,
)
from emdarks.darks.fitted_maps import FittedMaps
from emdarks.darks.frame_pixels import FramePixels
from emdarks.darks.planned_stacks import PlannedStacks, Sums, without_lost
from emdarks.darks.rejection import Streamed, judged
from emdarks.datasheet.telegraph import StackTelegraph, TelegraphSearch
from emdarks.errors import CalDarksLSQException, EmdarksWarning, InputError
from emdarks.fit.em_gain import LEAST_GAIN, stack_histograms
from emdarks.fit.estimate import Estimate
from emdarks.fit.noise_model import HOT_JUMP
from emdarks.fit.read_noise import read_noise_of
from emdarks.fit.register_charge import StackHistograms
from emdarks.stacks import (
    Stack,
    StackStore,
    check_frames,
    check_stack,
    group_stacks,
    to_em_electrons,
)
from emdarks.stacks.calibration_inputs import CalibrationInputs
from emdarks.stacks.design import MIN_LEVEL_STACKS, design
from emdarks.stacks.model import MODELS, Model, model_of_stacks

Array = npt.NDArray[Any]

#: Frames of a stack from which on telegraph pixels are looked for in it.
LEAST_SEQUENCE = 16
#: A pixel is hot so many robust scatters above the median of the dark current.
HOT_SCATTERS = 6.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one pass leaves; planes are flat in pixels.

    Attributes
    ----------
    job : CalibrationInputs
        The frames that were used.
    stacks : list of Stack
        Frames of one setting each, with the EM gain of the headers.
    store : StackStore
        Moments, counts and histograms of the stacks.
    figures : list of tuples of FrameFigures
        Of the frames of each stack, in their order.
    frame : FramePixels
        The regions.
    bins : HistogramBins or None
        Of all histograms; None where no read noise is known before the pass.
    plan : CountingPlan or None
        Thresholds; None as for ``bins``.
    maps : FittedMaps or None
        The fit of F, C and D, or of two maps; None where there is none.
    counted : CountingResult or None
        What the counting estimator found; None where the maps are not from it.
    telegraph : list of StackTelegraph
        Of the stacks that are long enough.
    no_maps, no_counts, no_telegraph : str
        Why there are none; empty where there are.
    notes : sequence of str
        What was noticed on the way.
    gain_ratio : Estimate or None
        EM gains that samples show over those that the maps go by, which are the headers' where no
        counts give them; None where nothing shows it.
    """

    job: CalibrationInputs
    stacks: list[Stack]
    store: StackStore
    figures: list[tuple[FrameFigures, ...]]
    frame: FramePixels
    bins: HistogramBins | None
    plan: CountingPlan | None
    maps: FittedMaps | None
    counted: CountingResult | None
    telegraph: list[StackTelegraph]
    no_maps: str = ""
    no_counts: str = ""
    no_telegraph: str = ""
    notes: Sequence[str] = ()
    gain_ratio: Estimate | None = None

    @property
    def camera(self) -> Camera:
        """Camera of the frames."""
        return self.job.camera

    @property
    def stages(self) -> float:
        """Stages of the gain register; infinity where nobody says."""
        return self.camera.noise.register_stages if self.plan is None else self.plan.stages

    @property
    def frames(self) -> int:
        """Frames that were used."""
        return len(self.job.inputs)

    @property
    def temperatures(self) -> list[Array]:
        """Temperature of every frame of each stack, degrees Celsius; NaN where unknown."""
        return self._records("temperature")

    @property
    def starts(self) -> list[Array]:
        """Start of every exposure of each stack, MJD; NaN where unknown."""
        return self._records("start")

    @property
    def gain(self) -> Array:
        """EM gain of each stack, by the headers."""
        return np.array([stack.em_gain for stack in self.stacks], dtype=np.float64)

    @property
    def time(self) -> Array:
        """Exposure time of each stack, s."""
        return np.array([stack.exposure_time for stack in self.stacks], dtype=np.float64)

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns of the imaging area."""
        inside = self.frame.imaging.reshape(self.frame.shape)
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def image(self, plane: Array) -> Array:
        """A plane, flat in pixels, as an image of the imaging area."""
        image: Array = plane.reshape(self.frame.shape)[self.area]
        return image

    def map(self, k: int) -> tuple[Array, Array]:
        """F, C or D of the imaging area, and its errors; NaN where there is no fit."""
        assert self.maps is not None
        per = self.per_electron(k)
        errors = self.image(self.maps.fit.errors[k]) / per
        values = self.image(self.maps.fit.values[k]) / per
        return np.where(np.isfinite(errors), values, np.nan), errors

    def per_electron(self, k: int) -> float:
        """What F, C or D of the maps have for one electron: other than 1 by another EM gain."""
        return 1.0 if k == 0 or self.gain_ratio is None else self.gain_ratio.value

    @property
    def by_gains(self) -> str:
        """Which EM gains C and D of the maps rest on; empty where the maps are by counts."""
        if self.counted is not None:
            return ""
        if self.gain_ratio is None:
            return "by the EM gains of the headers, which these frames do not check"
        return f"by the EM gains of the samples, {self.gain_ratio.value:.3g} times the headers'"

    def has(self, k: int) -> bool:
        """Whether the frames tell F, C or D."""
        return self.maps is not None and bool(self.maps.model.fitted[k])

    @property
    def ordinary(self) -> Array:
        """Pixels of the imaging area that are fitted and not hot; boolean, flat.

        An ordinary pixel that caught a lucky electron is not hot.
        """
        inside: Array = self.frame.imaging & self.frame.signal
        if self.maps is None:
            return inside
        inside = inside & self.maps.fit.fitted
        if self.has(2) and inside.any():
            D = self.maps.fit.values[2]
            middle = np.median(D[inside])
            scatter = 1.4826 * np.median(np.abs(D[inside] - middle))
            limit = middle + HOT_SCATTERS * scatter + HOT_JUMP * self.electron_step
            inside = inside & (limit > D)
        return inside

    @property
    def cut(self) -> str:
        """Why means and scatters of some stacks are too low; empty where no flags cut into them."""
        if self.plan is None or self.counted is not None:
            return ""
        both = zip(self.plan.flagged, self.plan.thresholds, self.stacks, strict=True)
        found = {stack.commanded_gain: level for level, at, stack in both if level <= at.T2}
        if not found:
            return ""
        gain, level = max(found.items())
        return (
            f"samples of EM gain {gain:g} are flagged from {level:.6g} e- on, where charge of the "
            "pixels reaches: means and scatters without them are too low"
        )

    def noise_share(self, k: int) -> float:
        """Share of the variance of F, C or D over ordinary pixels that is noise, 0 to 1.

        The rest is how pixels differ, however many frames there are.
        """
        noise, scatter2 = self._scatter(k)
        return noise / max(noise, scatter2, 1e-300)

    def spread(self, k: int) -> float:
        """Standard deviation of F, C or D over ordinary pixels, without that of noise."""
        noise, scatter2 = self._scatter(k)
        return float(np.sqrt(max(scatter2 - noise, 0.0))) / self.per_electron(k)

    def _scatter(self, k: int) -> tuple[float, float]:
        """Mean squared error of ordinary pixels of a map, and the square of their scatter."""
        if self.maps is None or not self.ordinary.any():
            return 1.0, 1.0
        fit, ordinary = self.maps.fit, self.ordinary
        values, noise = fit.values[k, ordinary], float((fit.errors[k, ordinary] ** 2).mean())
        scatter = 1.4826 * float(np.median(np.abs(values - np.median(values))))
        return noise, scatter**2

    @property
    def moments_inside(self) -> tuple[Array, Array, Array]:
        """Good samples, means, and squared deviations of the imaging area, (stacks, pixels)."""
        inside, store = self.frame.imaging, self.store
        return store.n[:, inside], store.mean[:, inside], store.m2[:, inside]

    @property
    def histograms(self) -> list[StackHistograms | None]:
        """Histograms of stacks with what the maps say of their pixels; None at low gain."""
        assert self.counted is not None
        assert self.plan is not None
        assert self.maps is not None
        frames = CountedFrames(self.store, self.maps.stacks, self.plan, self.frame)
        counted = frames.counted(self.counted.read_noise)
        assert self.store.histograms is not None
        return stack_histograms(counted, self.counted.fit, self.store.histograms, self.plan.bins)

    @property
    def level(self) -> float:
        """Where samples without charge lie, EM electrons; 0 where the bias is subtracted."""
        return 0.0 if self.bins is None else self.bins.level

    @property
    def read_noise(self) -> float:
        """Read noise of the frames by the histograms of the lowest gain, e-; NaN if unknown."""
        if self.counted is not None:
            return self.counted.read_noise
        if self.bins is None or self.store.histograms is None:
            return np.nan
        commanded = np.array([stack.commanded_gain for stack in self.stacks])
        lowest = commanded == commanded.min()
        if commanded.min() >= LEAST_GAIN * self.bins.read_noise:
            return np.nan
        return read_noise_of(self.store.histograms[lowest, 0].sum(axis=0), self.bins)

    @property
    def electron_step(self) -> float:
        """What one average electron does to D: the most that any sample can; 0 without D."""
        if not self.has(2) or self.maps is None:
            return 0.0
        gain, gain_time = design(self.maps.stacks)
        region = None if self.maps.noise is None else self.maps.noise.imaging
        n = self.store.n[:, self.frame.imaging].mean(axis=1)
        weight = n / (np.ones_like(gain) if region is None else np.maximum(region.v, 1e-9))
        A = np.column_stack([np.ones_like(gain), gain, gain_time])[:, self.maps.model.fitted]
        A = A / np.abs(A).max(axis=0)
        linear = np.linalg.pinv((weight * A.T) @ A)[-1] @ (weight * A.T)
        step = np.max(np.abs(linear) * gain / np.maximum(n, 1)) / np.abs(gain_time).max()
        return float(step) / self.per_electron(2)

    @property
    def why_no(self) -> Sequence[str]:
        """Why F, C, or D is not known."""
        if self.maps is None:
            return (self.no_maps,) * 3
        one_gain = "the stacks have one EM gain, which does not tell F and C apart"
        return ("", one_gain, "the stacks have one exposure time, which tells no current")

    def _records(self, name: str) -> list[Array]:
        return [
            np.array([getattr(item.record, name) for item in stack.frames], dtype=np.float64)
            for stack in self.stacks
        ]


def gather(
    job: CalibrationInputs,
    telemetry: slice,
    options: CountingOptions,
    skip: Sequence[str] = (),
) -> Evidence:
    """Stream the frames once, and fit what can be fitted.

    Parameters
    ----------
    job : CalibrationInputs
        The frames.
    telemetry : slice
        Rows of telemetry.
    options : CountingOptions
        Flagging level, read noise and stages, where they are given.
    skip : sequence of str
        Kinds of findings whose frames are left out.

    Raises
    ------
    InputError
        The frames are no darks, of different settings, or cannot be read.
    """
    recipe = _Recipe(job, telemetry, options)
    with recipe.noting():
        job, planned, (store, sums) = judged(
            job, recipe.plan, recipe.accumulate, skip, without_lost
        )
    job.skipping.tell(job.frames)
    frame = FramePixels.of(job, planned.stacks[0].frames[0].record.shape, telemetry)
    reasons = recipe.reasons
    maps = None
    if planned.model is not None:
        maps = recipe.fitted(planned, store, frame, job)
    return Evidence(
        job,
        planned.stacks,
        store,
        [each.figures for each in sums],
        frame,
        planned.jobs[0].histogram,
        planned.counting,
        maps,
        None if maps is None or maps.counting is None else maps.counting.result,
        list(recipe.telegraph.values()),
        reasons.get("maps", ""),
        reasons.get("counts", ""),
        reasons.get("telegraph", ""),
        tuple(dict.fromkeys(recipe.notes)),
    )


@dataclass(frozen=True, slots=True)
class _Recipe:
    """From frames to sums and maps; ``reasons`` says what cannot be had, and why."""

    job: CalibrationInputs
    telemetry: slice
    options: CountingOptions
    reasons: dict[str, str] = field(default_factory=dict)
    telegraph: dict[tuple[float, float], StackTelegraph] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def plan(self, job: CalibrationInputs) -> PlannedStacks:
        """Decide by the headers; refuses frames that are no darks."""
        stacks = group_stacks(job.inputs, job.gain_tolerance)
        check_frames(stacks)
        for stack in stacks:
            check_stack(stack, job.kgain)
        self.reasons.clear()
        return self._counted(stacks, job, self._model(stacks, job.kgain))

    def _model(self, stacks: list[Stack], kgain: float | None) -> Model | None:
        """F, C and D, else two maps, else none."""
        refused = []
        for name in MODELS:
            try:
                return model_of_stacks(stacks, name, kgain, 1)
            except CalDarksLSQException as error:
                refused.append(str(error))
        # Of few stacks, what the smaller fit lacks is nearer.
        self.reasons["maps"] = refused[-1 if len(stacks) < MIN_LEVEL_STACKS else 0]
        return None

    def _counted(
        self, stacks: list[Stack], job: CalibrationInputs, model: Model | None
    ) -> PlannedStacks:
        """With counts and histograms of all samples, as far as a read noise is known."""
        data = (stacks, job, self.telemetry, model)
        sequence = self._has_sequence(stacks, job)
        try:
            with self.noting():
                return PlannedStacks.of(*data, self.options, sequence=sequence)
        except InputError as error:
            self.reasons["counts"] = str(error)
        anything = replace(self.options, flag_level=np.inf)
        with warnings.catch_warnings(), suppress(InputError):
            # The histogram of all samples is worth having, though flags cut into the counts.
            warnings.simplefilter("ignore", EmdarksWarning)
            planned = PlannedStacks.of(*data, anything, sequence=sequence)
            assert planned.counting is not None
            scales = [to_em_electrons(stack, job.kgain) for stack in stacks]
            flagged = flagged_levels(stacks, scales, self.options.flag_level)
            return replace(planned, counting=replace(planned.counting, flagged=flagged))
        return PlannedStacks.of(*data, sequence=sequence)

    def _has_sequence(self, stacks: list[Stack], job: CalibrationInputs) -> bool:
        """Whether means of every few frames are taken, to look for telegraph pixels."""
        most = max(len(stack.frames) for stack in stacks)
        if isinstance(job.executor, Checkpoint):
            self.reasons["telegraph"] = (
                "checkpoints keep no means along the sequence; characterize without them"
            )
        elif most < LEAST_SEQUENCE:
            self.reasons["telegraph"] = (
                f"it takes {LEAST_SEQUENCE} frames of one stack, and there are {most}"
            )
        return "telegraph" not in self.reasons

    def accumulate(self, planned: PlannedStacks, executor: Executor) -> Streamed[Sums]:
        """Stream the stacks, and look at their sums."""
        look = ProductLook(self.job, self.telemetry, self.job.kgain, fit=planned.full)
        stacks, bins = planned.stacks, planned.jobs[0].histogram
        frame = FramePixels.of(self.job, stacks[0].frames[0].record.shape, self.telemetry)
        inside = frame.imaging & frame.signal
        search = TelegraphSearch(
            self.job.executor,
            self.job.camera.noise.register_stages,
            np.nan if bins is None else bins.read_noise,
            0.0 if bins is None else bins.level,
            sum(len(stack.frames) >= LEAST_SEQUENCE for stack in stacks),
            self.telegraph,
        )
        return planned.accumulate(
            executor, look, lambda i, sums: search.look(stacks[i], sums, inside)
        )

    def fitted(
        self, planned: PlannedStacks, store: StackStore, frame: FramePixels, job: CalibrationInputs
    ) -> FittedMaps:
        """The maps: by counts where F, C and D are fitted and no flags cut into the counts."""
        if not planned.full:
            self.reasons.setdefault("counts", "the counting estimator needs maps of F, C and D")
        with self.noting():
            if "counts" not in self.reasons:
                try:
                    return planned.fit(store, frame, job, gain="fitted")
                except CalDarksLSQException as error:
                    self.reasons["counts"] = (
                        f"{error}: maps are those of means, which cosmic rays move"
                    )
            return planned.fit(store, frame, job, counts=False)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Warnings about the campaign, findings about frames too, become notes of the sheet."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", EmdarksWarning)
            yield
        for each in caught:
            if issubclass(each.category, EmdarksWarning):
                self.notes.append(str(each.message))
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
