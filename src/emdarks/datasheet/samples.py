"""What the samples of each stack show by their distribution: EM gain, charge of the register."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.checks.formatting import number
from emdarks.counting_sums import T_NOISE, HistogramBins
from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity
from emdarks.fit.campaign_charge import (
    GainDrift,
    disagree,
    gain_drift,
    powers_of_others,
    weighted_mean,
)
from emdarks.fit.em_gain import LEAST_GAIN, classes_of, suits
from emdarks.fit.estimate import Estimate
from emdarks.fit.lost_pixels import WHOLE, Samples, currents_of_lost, usual_number
from emdarks.fit.register_charge import (
    ANY_POWER,
    RayPower,
    StackCharges,
    StackHistograms,
    fit_charges,
)
from emdarks.fit.sample_law import Charges
from emdarks.fit.stack_gain import LEAST_SAMPLES, MOST_SPREAD, STRUCK, charges_of_stack
from emdarks.one_electron import one_electron
from emdarks.stacks import Stack

Array = npt.NDArray[Any]

#: A gain with a larger relative error is none.
LARGEST_ERROR = 0.5

#: An EM gain so far from the commanded one, as a share and in errors, is worth a note.
FAR, FAR_ERRORS = 0.05, 5.0
#: What is said where stacks of one gain do not agree.
_APART = (
    "stacks of one commanded gain disagree by more than chance: the gain moved between them, or "
    "tails of cosmic rays are not flagged where exposures are long (raw frames: --cosmic-rays dark)"
)
_GAIN = "em_gain", "EM gain", ""
_REGISTER = "register_charge", "charge made in the register", "e⁻/pixel/frame"


def of_stack(stack: Stack) -> dict[str, float | str]:
    """The setting of a quantity of one stack."""
    return {"em_gain": stack.commanded_gain, "exposure_time": stack.exposure_time}


@dataclass(frozen=True)
class SampleChapter:
    """Likelihoods of the histograms of stacks.

    Attributes
    ----------
    evidence : Evidence
        What they are from.
    charges : list of (StackCharges or None)
        Of each stack; None where the samples do not tell it.
    why : list of str
        Why not.
    """

    evidence: Evidence
    charges: list[StackCharges | None]
    why: list[str]

    @classmethod
    def of(cls, evidence: Evidence) -> SampleChapter:
        """Fit all stacks; what the others say of the power of ray charges is known to each."""
        size = len(evidence.stacks)
        counted = evidence.histograms if evidence.counted is not None else [None] * size
        alone = [_fit(evidence, i, counted[i], 0.0)[0] for i in range(size)]
        powers = powers_of_others(alone)
        found = [_fit(evidence, i, counted[i], 1.0, powers[i]) for i in range(size)]
        charges = [each for each, _ in found]
        if evidence.counted is None:
            evidence = replace(evidence, gain_ratio=_over_headers(evidence.stacks, charges))
        return cls(evidence, charges, [why for _, why in found])

    def quantities(self) -> Iterator[Quantity]:
        """EM gains, against commanded ones, and the charge of the register."""
        for stack, found, why in zip(self.evidence.stacks, self.charges, self.why, strict=True):
            yield _gain(stack, found, why)
        yield from self._ratios()
        yield self._drift()
        yield from self._register()

    def _of_gain(self, gain: float) -> list[tuple[Stack, StackCharges]]:
        """Stacks of a commanded gain that tell something."""
        both = zip(self.evidence.stacks, self.charges, strict=True)
        return [(stack, c) for stack, c in both if c and stack.commanded_gain == gain]

    @property
    def _gains(self) -> list[float]:
        """Commanded gains that are measured."""
        both = zip(self.evidence.stacks, self.charges, strict=True)
        return sorted({stack.commanded_gain for stack, found in both if found})

    def _ratios(self) -> Iterator[Quantity]:
        for g in self._gains:
            some = self._of_gain(g)
            yield Quantity.estimated(
                "em_gain_ratio", "EM gain over commanded", "",
                self._ratio(g),
                "gains of the stacks of this commanded gain, weighted by their errors",
                frames=sum(len(stack.frames) for stack, _ in some), setting={"em_gain": g},
                note=_APART if g in self._apart else "",
            )  # fmt: skip

    @property
    def notes(self) -> Sequence[str]:
        """Of commanded gains whose stacks disagree, or are far from what was commanded."""
        apart = ", ".join(f"{g:g}" for g in self._apart)
        found = [f"EM gain {apart}: {_APART}"] if apart else []
        for g in self._gains:
            ratio = self._ratio(g)
            if abs(ratio.value - 1) > max(FAR_ERRORS * ratio.error, FAR):
                found.append(
                    f"EM gain {g:g} comes out {ratio.value:.3g} times as large: the register has "
                    "aged, or headers are wrong"
                )
        return found

    def _ratio(self, gain: float) -> Estimate:
        """EM gain over a commanded one."""
        return weighted_mean([c.gain for _, c in self._of_gain(gain)]).scaled(1 / gain)

    @property
    def _apart(self) -> list[float]:
        """Commanded gains whose stacks disagree by more than chance."""
        some = {g: [c.gain for _, c in self._of_gain(g)] for g in self._gains}
        return [g for g, gains in some.items() if disagree(gains)]

    @property
    def middle(self) -> Array:
        """Middle of each stack, as a share of the campaign; NaN where times are unknown."""
        starts = self.evidence.starts
        everything = np.concatenate(starts)
        length = float(np.ptp(everything)) if np.isfinite(everything).all() else math.nan
        if not length > 0:
            return np.full(len(starts), np.nan)
        return np.array([(each.mean() - everything.min()) / length for each in starts])

    @property
    def ratios(self) -> tuple[Array, Array]:
        """EM gain of each stack over the commanded one, and its error; NaN where not measured."""
        commanded = np.array([stack.commanded_gain for stack in self.evidence.stacks])
        none = math.nan, math.nan
        gains = [none if c is None else (c.gain.value, c.gain.error) for c in self.charges]
        value, error = np.array(gains).T / commanded
        return value, error

    @property
    def drift(self) -> GainDrift | None:
        """Along the campaign; None where no commanded gain is measured at two times."""
        commanded = np.array([stack.commanded_gain for stack in self.evidence.stacks])
        return gain_drift(self.middle, commanded, *self.ratios)

    def _drift(self) -> Quantity:
        head, found = ("em_gain_drift", "drift of the EM gain in these frames", "%"), self.drift
        if found is None:
            return Quantity.unknown(*head, "no EM gain is measured in two stacks at known times")
        return Quantity.estimated(
            *head, found.slope.scaled(100.0),
            "gains of stacks of one commanded gain along the campaign, first to last frame",
            note=f"chance gives as much with a probability of {number(found.p_value, 2)}"
            + (f"; {_APART}" if self._apart else ""),
            frames=self.evidence.frames,
        )  # fmt: skip

    def _register(self) -> Iterator[Quantity]:
        known = False
        for g in self._gains:
            some = [(s, c) for s, c in self._of_gain(g) if math.isfinite(c.register.value)]
            if not some:
                continue
            known = True
            # Near 0 intervals are not symmetric, and no weights make a mean that covers.
            stack, best = min(some, key=lambda each: each[1].register.high - each[1].register.low)
            yield Quantity.estimated(
                *_REGISTER, best.register,
                "samples of the prescan, where only the register makes charge, and of the imaging "
                "area, by one likelihood; of the stack that tells it best",
                note=_on_register(best), frames=len(stack.frames), setting={"em_gain": g},
            )  # fmt: skip
        if not known:
            yield Quantity.unknown(*_REGISTER, self._no_register())

    def _no_register(self) -> str:
        """Why the charge of the register is not known."""
        if not self._gains:
            return "no EM gain is 3 read noises or more, with enough samples"
        return (
            f"camera {self.evidence.camera.name} has no prescan, where only the register "
            "makes charge"
        )


def _over_headers(
    stacks: Sequence[Stack], charges: Sequence[StackCharges | None]
) -> Estimate | None:
    """EM gains of the samples over those of the headers; None where no samples show any."""
    both = zip(stacks, charges, strict=True)
    gains = [found.gain.scaled(1 / stack.em_gain) for stack, found in both if found is not None]
    return weighted_mean(gains) if gains else None


def _gain(stack: Stack, found: StackCharges | None, why: str) -> Quantity:
    setting = of_stack(stack)
    if found is None:
        return Quantity.unknown(*_GAIN, why, setting)
    return Quantity.estimated(
        *_GAIN, found.gain, "likelihood of the histogram of the stack's samples",
        frames=len(stack.frames), setting=setting,
        note=f"commanded {stack.commanded_gain:g}, by the headers {stack.em_gain:.6g}",
    )  # fmt: skip


def _on_register(found: StackCharges) -> str:
    """What the charge of the register does to that of the pixels, and what it rests on."""
    lifts = max(found.image_alone - found.image.value, 0.0)
    words = []
    if lifts > 0:
        words.append(f"without it, the charge of the pixels would look {number(lifts, 2)} larger")
    if math.isfinite(found.rest_charge.value):
        words.append("the prescan holds whole electrons, too, so that the shape alone tells it")
    return "; ".join(words)


def _fit(
    evidence: Evidence,
    i: int,
    histograms: StackHistograms | None,
    sigmas: float,
    power: RayPower = ANY_POWER,
) -> tuple[StackCharges | None, str]:
    """What a stack's histograms show, or why they show nothing."""
    stack, bins, store = evidence.stacks[i], evidence.bins, evidence.store
    if bins is None or store.histograms is None:
        return None, "no read noise is stated to make histograms by (read_noise, --read-noise)"
    noise = evidence.read_noise
    if not suits(noise, bins):
        return None, (
            f"histograms are made for a read noise of {bins.read_noise:.4g} e-, and frames have "
            f"{noise:.4g}: give it (read_noise, --read-noise)"
        )
    if stack.commanded_gain < LEAST_GAIN * bins.read_noise:
        return None, f"single electrons drown in the noise: it takes {LEAST_GAIN:g} read noises"
    if histograms is None and evidence.has(2):
        histograms = _of_maps(evidence, i)
    if histograms is None:
        found = _of_means(evidence, i, sigmas, power)
    else:
        found = fit_charges(histograms, sigmas, power)
    if found is None or not found.gain.error < LARGEST_ERROR * found.gain.value:
        return None, _too_few(stack, histograms)
    return found, ""


def _too_few(stack: Stack, histograms: StackHistograms | None) -> str:
    """Why a histogram tells no gain."""
    if histograms is None and len(stack.frames) < LEAST_SAMPLES:
        return f"without maps it takes {LEAST_SAMPLES} frames to tell hot pixels from chance"
    return "too few samples with charge, or none that a register of about this gain makes"


def _of_maps(evidence: Evidence, i: int) -> StackHistograms:
    """With the charges of hot pixels as maps of means have them."""
    stack, bins, store = evidence.stacks[i], evidence.bins, evidence.store
    assert bins is not None
    assert store.histograms is not None
    assert evidence.maps is not None
    values, inside = evidence.maps.fit.values, evidence.frame.imaging & (store.n > 0).any(axis=0)
    high = np.array([s.commanded_gain for s in evidence.stacks]) >= LEAST_GAIN * bins.read_noise
    n, mean, gain, time = (x[high] for x in (store.n, store.mean, evidence.gain, evidence.time))
    usual = usual_number(n[:, inside])
    level = values[:, evidence.ordinary].mean(axis=1) * evidence.maps.model.fitted
    charge = np.maximum(level[1] + np.multiply.outer(time, values[2]), 0.0)
    # Of what one pass leaves, the scatter tells one large charge from a pixel that is hot.
    variance = bins.read_noise**2 + 2 * gain[:, None] ** 2 * charge
    struck = (store.m2[high] > STRUCK * np.maximum(n - 1.0, 0.0) * variance).any(axis=0)
    hot = inside & evidence.maps.fit.fitted & ~evidence.ordinary & ~struck
    lost = inside & ~evidence.maps.fit.fitted | hot & (n < WHOLE * usual[:, None]).any(axis=0)
    of_lost = currents_of_lost(
        Samples(n[:, lost], mean[:, lost], usual, gain, time, bins.read_noise), level
    )
    current = np.concatenate([values[2, hot & ~lost], of_lost])
    own = np.maximum(level[1] + stack.exposure_time * current, 0.0)
    mixture, share = classes_of(own, np.full(own.size, 1.0 / max(int(inside.sum()), 1)))
    noise = bins.read_noise
    found = StackHistograms(
        store.histograms[i], bins, stack.em_gain,
        math.inf if evidence.plan is None else float(evidence.plan.flagged[i]),
        electron=one_electron(stack.em_gain, noise, evidence.stages, T_NOISE * noise),
    )  # fmt: skip
    scatter = stack.exposure_time * evidence.spread(2)
    spread = min(scatter / max(found.charge, scatter, np.finfo(float).tiny), MOST_SPREAD)
    return replace(found, charges=Charges(mixture, 1 - share, spread))


def _of_means(evidence: Evidence, i: int, sigmas: float, power: RayPower) -> StackCharges | None:
    """With the charges of hot pixels as the means of the stack have them."""
    stack, store, bins = evidence.stacks[i], evidence.store, evidence.bins
    assert bins is not None
    assert store.histograms is not None
    n, mean, m2 = (evidence.image(plane[i]) for plane in (store.n, store.mean, store.m2))
    noise = bins.read_noise
    from_zero = HistogramBins.of(0.0, noise)
    return charges_of_stack(
        store.histograms[i], from_zero, stack.em_gain, n, mean - evidence.level, m2,
        flagged=math.inf if evidence.plan is None else float(evidence.plan.flagged[i]),
        electron=one_electron(stack.em_gain, noise, evidence.stages, T_NOISE * noise),
        sigmas=sigmas,
        power=power,
    )  # fmt: skip
