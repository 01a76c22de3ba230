"""What the samples of each stack show by their distribution: EM gain, charge of the register."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity
from emdarks.fit.em_gain import LEAST_GAIN, classes_of
from emdarks.fit.register_charge import StackCharges, StackHistograms, fit_charges
from emdarks.fit.sample_law import Charges
from emdarks.fit.stack_gain import charges_of_pixels
from emdarks.one_electron import one_electron
from emdarks.stacks import Stack

Array = npt.NDArray[Any]

#: A fit whose chi-square over its degrees of freedom is larger is not that of the samples.
LARGEST_MISFIT = 2.0
#: Samples with charge that a stack needs.
LEAST_CHARGED = 100
#: A gain with a larger relative error is none.
LARGEST_ERROR = 0.5

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
        """Fit all stacks."""
        found = [_fit(evidence, i) for i in range(len(evidence.stacks))]
        return cls(evidence, [each for each, _ in found], [why for _, why in found])

    def quantities(self) -> Iterator[Quantity]:
        """EM gains, against commanded ones, and the charge of the register."""
        for stack, found, why in zip(self.evidence.stacks, self.charges, self.why, strict=True):
            yield _gain(stack, found, why)
        yield from self._ratios()
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
            value, error = _mean([(c.gain.value, c.gain.error) for _, c in some])
            yield Quantity.measured(
                "em_gain_ratio", "EM gain over commanded", "", value / g, error / g,
                "gains of the stacks of this commanded gain, weighted by their errors",
                frames=sum(len(stack.frames) for stack, _ in some), setting={"em_gain": g},
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
            lifts = best.image_alone - best.image.value
            yield Quantity.estimated(
                *_REGISTER, best.register,
                "samples of the prescan, where only the register makes charge, and of the imaging "
                "area, by one likelihood; of the stack that tells it best",
                note=f"without it, the charge of the pixels would look {max(lifts, 0.0):.2g} larger",
                frames=len(stack.frames), setting={"em_gain": g},
            )  # fmt: skip
        if not known:
            yield Quantity.unknown(*_REGISTER, self._no_register())

    def _no_register(self) -> str:
        """Why the charge of the register is not known."""
        if not self._gains:
            return "no EM gain is 3 read noises or more, with enough samples"
        if self.evidence.store.histograms is not None and self.evidence.frame.prescan.size:
            return "the prescan holds whole electrons, so that it tells no register charge"
        return (
            f"camera {self.evidence.camera.name} has no prescan, where only the register "
            "makes charge"
        )


def _gain(stack: Stack, found: StackCharges | None, why: str) -> Quantity:
    setting = of_stack(stack)
    if found is None:
        return Quantity.unknown(*_GAIN, why, setting)
    return Quantity.estimated(
        *_GAIN, found.gain, "likelihood of the histogram of the stack's samples",
        frames=len(stack.frames), setting=setting,
        note=f"commanded {stack.commanded_gain:g}, by the headers {stack.em_gain:.6g}",
    )  # fmt: skip


def _mean(values: list[tuple[float, float]]) -> tuple[float, float]:
    """Mean weighted by errors, and its error."""
    value, error = np.array(values).T
    weight = 1 / error**2
    return float((weight * value).sum() / weight.sum()), float(weight.sum() ** -0.5)


def _fit(evidence: Evidence, i: int) -> tuple[StackCharges | None, str]:
    """What a stack's histograms show, or why they show nothing."""
    stack, bins, histograms = evidence.stacks[i], evidence.bins, evidence.store.histograms
    if bins is None or histograms is None:
        return None, "no read noise is stated to make histograms by (read_noise, --read-noise)"
    if stack.commanded_gain < LEAST_GAIN * bins.read_noise:
        return (
            None,
            f"single electrons drown in the read noise: it takes {LEAST_GAIN:g} read noises",
        )
    few = "too few samples with charge"
    level = StackHistograms(histograms[i], bins, stack.em_gain)
    if level.share(0) * histograms[i, 0].sum() < LEAST_CHARGED:
        return None, few
    electron = one_electron(stack.em_gain, bins.read_noise, evidence.stages, 4 * bins.read_noise)
    flagged = math.inf if evidence.plan is None else float(evidence.plan.flagged[i])
    charges = _charges(evidence, i)
    whole = StackHistograms(histograms[i], bins, stack.em_gain, flagged, charges, electron)
    found = _best(whole)
    if found is None or not found.gain.error < LARGEST_ERROR * found.gain.value:
        return None, few
    return found, ""


def _best(whole: StackHistograms) -> StackCharges | None:
    """With the prescan, unless it holds whole electrons; None where nothing can be fitted."""
    alone = StackHistograms(
        whole.counts * np.array([[1], [0]]), whole.bins, whole.gain, whole.flagged, whole.charges,
        whole.electron,
    )  # fmt: skip
    for histograms in (whole, alone) if whole.has_rest else (alone,):
        try:
            found = fit_charges(histograms)
        except np.linalg.LinAlgError:
            continue
        if found.misfit < LARGEST_MISFIT or histograms is alone:
            return found
    return None


def _charges(evidence: Evidence, i: int) -> Charges:
    """Charges of the pixels: those of the maps; without maps by the means of the stack."""
    store, counted, inside = evidence.store, evidence.counted, evidence.frame.imaging
    time = evidence.stacks[i].exposure_time
    if counted is None:
        planes = (plane[i, inside] for plane in (store.n, store.mean, store.m2))
        assert evidence.bins is not None
        assert store.histograms is not None
        return Charges(
            *charges_of_pixels(
                store.histograms[i, 0], evidence.bins, evidence.stacks[i].em_gain, *planes
            )
        )
    fit = counted.fit
    hot = fit.hot & inside
    own = fit.values[1, hot] + time * fit.values[2, hot]
    samples = max(float(store.n[i, inside & (fit.group >= -2)].sum()), 1.0)
    mixture, share = classes_of(own, store.n[i, hot] / samples)
    _, C, D = fit.level[1]
    spread = min(time * math.sqrt(fit.spread[1, 1]) / max(C + time * D, 1e-4), 0.9)
    return Charges(mixture, 1 - share, spread)
