"""Read noise, as one number and as a map, and the excess noise of the register."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity
from emdarks.datasheet.samples import SampleChapter, of_stack
from emdarks.fit.campaign_charge import weighted_mean
from emdarks.fit.em_gain import LEAST_GAIN
from emdarks.fit.estimate import Estimate
from emdarks.fit.excess_noise import ExcessNoise, Samples, measure_excess_noise
from emdarks.fit.pixel_noise import PixelNoise, pixel_noise, typical_variance
from emdarks.fit.read_noise import read_noise_of
from emdarks.one_electron import excess_noise

Array = npt.NDArray[Any]

#: Histograms drawn for the error of the width of one.
_DRAWS = 100
#: Up to this share of a read noise charge adds nothing to the scatter of samples at an EM gain.
QUIET = 0.1
#: Exposure times of stacks of low gain that differ by such a factor tell what rays add.
UNLIKE_TIMES = 3.0
#: Scatter over that of theory from which on cosmic rays are in it, where chance is less likely.
RAY_RATIO, RAY_CHANCE = 1.5, 1e-3

_BY_PIXELS = "scatter of the samples of pixels, in stacks of low EM gain, that no cosmic ray hit"
_BY_LOWER_HALF = "width of the lower half of all samples of stacks of low EM gain"
_BY_LAW = "width of the histograms of stacks whose EM gain is measured"
_WITH_PATTERN = "the scatter of the level over pixels is a part of it"


@dataclass(frozen=True)
class NoiseChapter:
    """Read noise and excess noise.

    Attributes
    ----------
    samples : SampleChapter
        Widths of the histograms of stacks.
    low : ndarray of bool, shape (stacks,)
        Stacks of so low a gain that single electrons drown in the noise.
    quiet : ndarray of bool, shape (stacks,)
        Those in which charge adds nothing to the scatter, or those of the lowest gain.
    pixels : PixelNoise or None
        Of the imaging area, flat; None where there is no stack of low gain.
    excess : ExcessNoise or None
        None where C or D is not known.
    """

    samples: SampleChapter
    low: Array
    quiet: Array
    pixels: PixelNoise | None
    excess: ExcessNoise | None

    @classmethod
    def of(cls, samples: SampleChapter) -> NoiseChapter:
        """Measure."""
        evidence = samples.evidence
        commanded = np.array([stack.commanded_gain for stack in evidence.stacks])
        noise = math.nan if evidence.bins is None else evidence.bins.read_noise
        low = commanded < (LEAST_GAIN * noise if noise > 0 else 1.5)
        limit = commanded.min() if not noise > 0 else max(commanded.min(), QUIET * noise)
        quiet = low & (commanded <= limit)
        pixels = _pixels(evidence, quiet)
        return cls(samples, low, quiet, pixels, _excess(samples, low, pixels))

    @property
    def evidence(self) -> Evidence:
        """What they are from."""
        return self.samples.evidence

    def quantities(self) -> Iterator[Quantity]:
        """Numbers."""
        yield self._read_noise(0, "read_noise", "read noise")
        if self.evidence.frame.prescan.size:
            yield self._read_noise(1, "read_noise_prescan", "read noise, prescan")
        yield from self._of_stacks()
        yield self._noisy()
        yield self._factor()

    @property
    def notes(self) -> Sequence[str]:
        """What rays do to other numbers."""
        if not self.has_rays:
            return ()
        return (
            "cosmic rays that are not flagged add to noisy, warm and hot pixels, to glow and to "
            "nonlinearity, and hide the pattern of pixels",
        )

    @property
    def has_rays(self) -> bool:
        """Whether samples scatter far more than any register makes them."""
        if self.excess is None:
            return False
        return self.excess.ratio.value > RAY_RATIO and self.excess.p_value < RAY_CHANCE

    @property
    def _has_little(self) -> bool:
        """Whether samples scatter far less than any register makes them."""
        if self.excess is None:
            return False
        return self.excess.ratio.value < 1 / RAY_RATIO and self.excess.p_value < RAY_CHANCE

    def _read_noise(self, region: int, key: str, label: str) -> Quantity:
        """One number of the mode: by low gains, where there are any, else by the others."""
        head = key, label, "e⁻"
        used = self.quiet
        found, source, note = _by_pixels(self.evidence, used, region), _BY_PIXELS, ""
        if not math.isfinite(found.value) and self.low.any():
            used = self.low
            found, source, note = self._by_lower_half(region), _BY_LOWER_HALF, _WITH_PATTERN
        elif not math.isfinite(found.value):
            found, source, note = self._by_law(region), _BY_LAW, _WITH_PATTERN
            used = np.array([each is not None for each in self.samples.charges])
        if not math.isfinite(found.value):
            return Quantity.unknown(
                *head, "no stack of an EM gain below 3 read noises has samples enough, nor has "
                "one above it"
            )  # fmt: skip
        frames = sum(
            len(s.frames) for s, use in zip(self.evidence.stacks, used, strict=True) if use
        )
        words = "of a sample as it is prepared: noise that a row shares is a part of it"
        note = f"{words}; {note}" if note else words
        return Quantity.estimated(*head, found, source, note=note, frames=frames)

    def _of_stacks(self) -> Iterator[Quantity]:
        """Read noise of each stack, where there are several."""
        stacks, charges = self.evidence.stacks, self.samples.charges
        for i, (stack, known) in enumerate(zip(stacks, charges, strict=True)):
            this = np.arange(len(stacks)) == i
            found = _by_pixels(self.evidence, this & self.low, 0)
            source, note = _BY_PIXELS, ""
            if known is not None and not self.low[i]:
                found, source, note = known.width, _BY_LAW, _WITH_PATTERN
            if math.isfinite(found.value) and len(stacks) > 1:
                yield Quantity.estimated(
                    "read_noise_of_stack", "read noise of a stack", "e⁻", found, source,
                    note=note, frames=len(stack.frames), setting=of_stack(stack),
                )  # fmt: skip

    def _by_law(self, region: int) -> Estimate:
        """Mean of the widths of the histograms of high gain."""
        known = [each for each in self.samples.charges if each is not None]
        return weighted_mean([each.rest_width if region else each.width for each in known])

    def _by_lower_half(self, region: int) -> Estimate:
        """Width of the lower half of the samples of stacks of low gain."""
        bins, histograms = self.evidence.bins, self.evidence.store.histograms
        if bins is None or histograms is None:
            return Estimate.unknown()
        histogram = histograms[self.low, region].sum(axis=0)
        value = read_noise_of(histogram, bins)
        if not math.isfinite(value):
            return Estimate.unknown()
        rng = np.random.default_rng(0)
        drawn = [read_noise_of(rng.poisson(histogram), bins) for _ in range(_DRAWS)]
        return Estimate.normal(value, float(np.nanstd(drawn)))

    def _noisy(self) -> Quantity:
        head = "noisy_pixels", "noisy pixels", "pixels"
        if self.pixels is None:
            return Quantity.unknown(*head, "no stack has an EM gain below 3 read noises")
        if not math.isfinite(self.pixels.excess.value):
            return Quantity.unknown(*head, "no stack of low EM gain has two frames")
        return Quantity.estimated(
            *head, self.pixels.excess,
            "pixels whose scatter at low gain lies 3 standard deviations above that of all, beyond "
            f"the {self.pixels.expected:.0f} that chance puts there; cosmic rays add some",
        )  # fmt: skip

    def _factor(self) -> Quantity:
        head = "excess_noise_factor", "excess noise factor F²", ""
        if self.excess is None:
            why = self.evidence.why_no[1] or "no stack has an EM gain of 3 read noises"
            return Quantity.unknown(*head, self.evidence.no_maps or self.evidence.cut or why)
        if not math.isfinite(self.excess.factor.value):
            return Quantity.unknown(*head, "no stack has charge enough beside its read noise")
        if self.has_rays:
            return Quantity.unknown(
                *head, "cosmic rays that are not flagged, or charge that is not linear, raise the "
                f"scatter to {self.excess.ratio.value:.1f} times that of theory",
            )  # fmt: skip
        if self._has_little:
            return Quantity.unknown(
                *head, "samples scatter by less than any register makes them, "
                f"{self.excess.ratio.value:.2g} times theory: EM gains, k-gain or bias of these "
                "frames are not what they are said to be",
            )  # fmt: skip
        stages = self.evidence.stages
        of = f"{stages:g} stages" if math.isfinite(stages) else "infinitely many stages"
        return Quantity.estimated(
            *head, self.excess.factor,
            "scatter of the samples of all stacks against their charge",
            note=f"theory of {of}: {self.excess.theory:.4g}",
            frames=self.evidence.frames,
        )  # fmt: skip


def _by_pixels(evidence: Evidence, stacks: Array, region: int) -> Estimate:
    """Scatter of the samples of each pixel; neither its level nor a converter's steps count.

    In the imaging area small charges of cosmic rays hide in the scatter of many pixels, the more
    the longer the exposures: where these differ, it is the scatter that a straight line has at 0 s.
    """
    time = np.where(stacks, evidence.time, np.nan)
    times = np.unique(time[stacks])
    if region or times.size < 2 or times[-1] < UNLIKE_TIMES * times[0]:
        found = [_variance(evidence, stacks, region)]
    else:
        found = [_variance(evidence, time == each, region) for each in times]
    known = [i for i, (variance, _) in enumerate(found) if variance > 0]
    if not known:
        return Estimate.unknown()
    variance, error = np.array([found[i] for i in known]).T
    if len(known) > 1:
        t = times[known]
        A = np.stack([np.ones_like(t), t / t.max()], axis=1) / error[:, None]
        covariance = np.linalg.inv(A.T @ A)
        value, size = float((covariance @ (A.T @ (variance / error)))[0]), covariance[0, 0] ** 0.5
    else:
        value, size = float(variance[0]), float(error[0])
    if not value > 0:
        return Estimate.unknown()
    return Estimate.normal(math.sqrt(value), 0.5 * size / math.sqrt(value))


def _variance(evidence: Evidence, stacks: Array, region: int) -> tuple[float, float]:
    """Of the samples of pixels of some stacks together, and its error; NaN where nothing tells."""
    if not stacks.any():
        return math.nan, math.nan
    store, inside = evidence.store, _inside(evidence, region)
    n, m2 = store.n[stacks][:, inside], store.m2[stacks][:, inside]
    freedom = np.maximum(n.astype(np.float64) - 1.0, 0.0)
    dof = freedom.sum(axis=0)
    own = 0.0 if region else _charge_variance(evidence, stacks, inside)
    safe = np.maximum(dof, 1.0)
    return typical_variance(
        m2.sum(axis=0) / safe,
        dof,
        (freedom * own).sum(axis=0) / safe,
        np.flatnonzero(inside) // evidence.frame.shape[1],
    )


def _inside(evidence: Evidence, region: int) -> Array:
    """Imaging area, or prescan; what the bias is from has less noise, once it is subtracted."""
    frame = evidence.frame
    if region == 0:
        imaging: Array = frame.imaging & frame.signal
        return imaging
    chosen = np.setdiff1d(frame.prescan, frame.reliable)
    inside = np.zeros(frame.imaging.size, bool)
    inside[chosen if chosen.size else frame.prescan] = True
    return inside


def _charge_variance(evidence: Evidence, stacks: Array, inside: Array) -> Array:
    """What charge adds to the variance of samples, shape (stacks, pixels); 0 without maps."""
    chosen = np.flatnonzero(stacks)
    charge = np.zeros((chosen.size, int(inside.sum())))
    if evidence.has(1) and evidence.maps is not None:
        values = np.nan_to_num(evidence.maps.fit.values[:, inside]) / evidence.per_electron(1)
        for row, i in enumerate(chosen):
            g, t = float(evidence.gain[i]), float(evidence.time[i])
            electrons = np.maximum(values[1] + t * values[2], 0.0)
            charge[row] = excess_noise(g, evidence.stages) * g**2 * electrons
    return charge


def _pixels(evidence: Evidence, low: Array) -> PixelNoise | None:
    """Noise of the pixels of the imaging area, by stacks of low gain."""
    if not low.any():
        return None
    inside, store = evidence.frame.imaging, evidence.store
    charge = _charge_variance(evidence, low, inside)
    row = np.flatnonzero(inside) // evidence.frame.shape[1]
    return pixel_noise(store.n[low][:, inside], store.m2[low][:, inside], charge, row)


def _excess(chapter: SampleChapter, low: Array, pixels: PixelNoise | None) -> ExcessNoise | None:
    """Scatter against charge, of ordinary pixels that are not noisy at low gain."""
    evidence = chapter.evidence
    if not evidence.has(1) or evidence.maps is None or low.all() or evidence.cut:
        return None
    fit, store = evidence.maps.fit, evidence.store
    use = evidence.ordinary.copy()
    if pixels is not None:
        use[evidence.frame.imaging] &= ~pixels.outlying
    gain, error, ratio = evidence.maps.gain, _common_gain_error(evidence), evidence.gain_ratio
    if ratio is not None:
        gain, error = np.where(low, gain, gain * ratio.value), ratio.error / ratio.value
    C, D = (np.nan_to_num(fit.values[k]) / evidence.per_electron(k) for k in (1, 2))
    samples = Samples(store.n, store.m2, gain, evidence.time, C, D, use)
    return measure_excess_noise(samples, evidence.stages, error)


def _common_gain_error(evidence: Evidence) -> float:
    """What a common error of the EM gains is to F^2, relative, where C is counted: twice it."""
    if evidence.counted is None:
        return 0.0
    gains = evidence.counted.gains
    known = gains.error > 0
    if not known.any():
        return 0.0
    _, first = np.unique(gains.gain[known], return_index=True)
    relative = (gains.error / gains.gain)[known][first]
    return 2.0 / math.sqrt(float((1.0 / relative**2).sum()))
