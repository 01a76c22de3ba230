"""Read noise, as one number and as a map, and the excess noise of the register."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity
from emdarks.fit.em_gain import LEAST_GAIN
from emdarks.fit.excess_noise import ExcessNoise, Samples, measure_excess_noise
from emdarks.fit.pixel_noise import PixelNoise, pixel_noise
from emdarks.fit.read_noise import read_noise_of
from emdarks.one_electron import excess_noise

Array = npt.NDArray[Any]

#: Histograms drawn for the error of the width of one.
_DRAWS = 100
#: Scatter over that of theory from which on cosmic rays are in it, where chance is less likely.
RAY_RATIO, RAY_CHANCE = 1.5, 1e-3


@dataclass(frozen=True)
class NoiseChapter:
    """Read noise and excess noise.

    Attributes
    ----------
    evidence : Evidence
        What they are from.
    low : ndarray of bool, shape (stacks,)
        Stacks of so low a gain that charge hardly adds to the scatter.
    pixels : PixelNoise or None
        Of the imaging area, flat; None where there is no stack of low gain.
    excess : ExcessNoise or None
        None where C or D is not known.
    """

    evidence: Evidence
    low: Array
    pixels: PixelNoise | None
    excess: ExcessNoise | None

    @classmethod
    def of(cls, evidence: Evidence) -> NoiseChapter:
        """Measure."""
        commanded = np.array([stack.commanded_gain for stack in evidence.stacks])
        noise = math.nan if evidence.bins is None else evidence.bins.read_noise
        low = commanded < (LEAST_GAIN * noise if noise > 0 else 1.5)
        pixels = _pixels(evidence, low)
        return cls(evidence, low, pixels, _excess(evidence, low, pixels))

    def quantities(self) -> Iterator[Quantity]:
        """Numbers."""
        yield self._read_noise(0, "read_noise", "read noise")
        if self.evidence.frame.prescan.size:
            yield self._read_noise(1, "read_noise_prescan", "read noise, prescan")
        yield self._noisy()
        yield self._factor()

    @property
    def has_rays(self) -> bool:
        """Whether samples scatter far more than any register makes them."""
        if self.excess is None:
            return False
        return self.excess.ratio.value > RAY_RATIO and self.excess.p_value < RAY_CHANCE

    def _read_noise(self, region: int, key: str, label: str) -> Quantity:
        head, evidence = (key, label, "e⁻"), self.evidence
        if evidence.bins is None or evidence.store.histograms is None:
            return Quantity.unknown(
                *head, "no read noise is stated to make histograms by (read_noise, --read-noise)"
            )
        if not self.low.any():
            return Quantity.unknown(*head, "no stack has an EM gain below 3 read noises")
        histogram = evidence.store.histograms[self.low, region].sum(axis=0)
        spread = _spread(evidence, region)
        value = read_noise_of(histogram, evidence.bins, spread)
        if not math.isfinite(value):
            return Quantity.unknown(*head, "too few samples")
        rng = np.random.default_rng(0)
        drawn = [read_noise_of(rng.poisson(histogram), evidence.bins, spread)
                 for _ in range(_DRAWS)]  # fmt: skip
        frames = sum(len(s.frames) for s, low in zip(evidence.stacks, self.low, strict=True) if low)
        return Quantity.measured(
            *head, value, float(np.nanstd(drawn)),
            "width of the lower half of all samples of stacks of low EM gain, which neither "
            "charge nor cosmic rays reach; the pattern of the pixels taken off",
            note="of a sample as it is prepared: noise that a row shares is a part of it",
            frames=frames,
        )  # fmt: skip

    def _noisy(self) -> Quantity:
        head = "noisy_pixels", "noisy pixels", "pixels"
        if self.pixels is None:
            return Quantity.unknown(*head, "no stack has an EM gain below 3 read noises")
        return Quantity.estimated(
            *head, self.pixels.excess,
            "pixels whose scatter at low gain lies 3 standard deviations above that of all, beyond "
            f"the {self.pixels.expected:.0f} that chance puts there; cosmic rays add some",
        )  # fmt: skip

    def _factor(self) -> Quantity:
        head = "excess_noise_factor", "excess noise factor F²", ""
        if self.excess is None:
            why = self.evidence.why_no[1] or "no stack has an EM gain of 3 read noises"
            return Quantity.unknown(*head, self.evidence.no_maps or why)
        if not math.isfinite(self.excess.factor.value):
            return Quantity.unknown(*head, "no stack has charge enough beside its read noise")
        if self.has_rays:
            return Quantity.unknown(
                *head, "cosmic rays that are not flagged, or charge that is not linear, raise the "
                f"scatter to {self.excess.ratio.value:.1f} times that of theory",
            )  # fmt: skip
        stages = self.evidence.stages
        of = f"{stages:g} stages" if math.isfinite(stages) else "infinitely many stages"
        return Quantity.estimated(
            *head, self.excess.factor,
            "scatter of the samples of all stacks against their charge",
            note=f"theory of {of}: {self.excess.theory:.4g}",
            frames=self.evidence.frames,
        )  # fmt: skip


def _spread(evidence: Evidence, region: int) -> float:
    """Variance of the level over pixels: the pattern widens the histogram, and is no noise."""
    if evidence.maps is None:
        return 0.0
    fit = evidence.maps.fit
    inside = evidence.frame.imaging if region == 0 else ~evidence.frame.imaging
    known = inside & evidence.frame.signal & fit.fitted
    if not known.any():
        return 0.0
    return max(float(fit.values[0, known].var() - np.mean(fit.errors[0, known] ** 2)), 0.0)


def _pixels(evidence: Evidence, low: Array) -> PixelNoise | None:
    """Noise of the pixels of the imaging area, by stacks of low gain."""
    if not low.any():
        return None
    inside, store = evidence.frame.imaging, evidence.store
    charge = np.zeros((int(low.sum()), int(inside.sum())))
    if evidence.has(1) and evidence.maps is not None:
        values = np.nan_to_num(evidence.maps.fit.values[:, inside])
        for row, i in enumerate(np.flatnonzero(low)):
            g, t = float(evidence.gain[i]), float(evidence.time[i])
            electrons = np.maximum(values[1] + t * values[2], 0.0)
            charge[row] = excess_noise(g, evidence.stages) * g**2 * electrons
    return pixel_noise(store.n[low][:, inside], store.m2[low][:, inside], charge)


def _excess(evidence: Evidence, low: Array, pixels: PixelNoise | None) -> ExcessNoise | None:
    """Scatter against charge, of ordinary pixels that are not noisy at low gain."""
    if not evidence.has(1) or evidence.maps is None or low.all():
        return None
    fit, store = evidence.maps.fit, evidence.store
    use = evidence.ordinary.copy()
    if pixels is not None:
        use[evidence.frame.imaging] &= ~pixels.outlying
    planes = np.nan_to_num(fit.values[1]), np.nan_to_num(fit.values[2])
    samples = Samples(store.n, store.m2, evidence.maps.gain, evidence.time, *planes, use)
    return measure_excess_noise(samples, evidence.stages, _common_gain_error(evidence))


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
