"""EM gain, read noise, and the charge of image and register, from a stack's two histograms.

Only the register makes charge in prescan and overscan; in the imaging area there is the charge of
the pixels, too. Both histograms share the gain and the charge of the register, and are fitted
together by maximum likelihood: gain, image charge, register charge, the power of the ray charges
(`emdarks.fit.sample_law`), and their share, level and width of the noise in each region. What an
overscan has of hot pixels counts as rays there, too. Bins run from
4 read noises below the level to 5 read noises and 16 gains above it, or to where samples are
flagged.

Charge made in the register is a number of electrons a pixel and frame, made at any stage alike:
one of stage k of N leaves as g^(1 - k/N). With r of them, electrons of mean r (1 - 1/g) / ln g
times the gain leave, which without a prescan look like so much image charge and more, since few
of them reach the full gain. Where the histogram of the rest shows charge that did (rows of an
overscan that were shifted through the image, rays), that is one more unknown, and the shape of the
histograms alone tells the charge of the register.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.counting_sums import T_NOISE, HistogramBins
from emdarks.fit.estimate import Estimate
from emdarks.fit.histogram_fit import Likelihood, Part, Point
from emdarks.fit.sample_law import (
    ALIKE,
    CHARGE,
    GAIN,
    RAY_POWER,
    RAYS,
    REGISTER,
    WIDTH,
    Charges,
    SampleLaw,
)
from emdarks.one_electron import EXPONENTIAL

Array = npt.NDArray[Any]

#: The range of a histogram: read noises below the level, and above it with gains.
BELOW, ABOVE_NOISE, ABOVE_GAIN = 4.0, 5.0, 16.0
#: Rays of a higher power would look like charge of the register.
MOST_POWER = 1.8
#: Which unknown each parameter of the law is, in the imaging area and in the rest.
_IMAGING = np.array([0, 1, 2, 3, 4, 5, 6])
_REST_LEVEL, _REST_WIDTH, _REST_CHARGE, _REST_RAYS = 7, 8, 9, 10
_REST = np.array([0, 9, 2, 7, 8, 10, 6])
_UNKNOWNS = 11
_LEAST = np.array([1.01, 0.0, 0.0, -np.inf, 0.0, 0.0, -np.inf, -np.inf, 0.0, 0.0, 0.0])
_MOST = np.where(np.arange(_UNKNOWNS) == RAY_POWER, MOST_POWER, np.inf)
_NO_REST = [REGISTER, _REST_LEVEL, _REST_WIDTH, _REST_CHARGE, _REST_RAYS]
#: So many even bins above the noise become one.
_MERGED = 4
#: So many gains above the noise are hardly any samples but of rays; the number of the smallest ray
#: charges is about this share of theirs.
_RAYS_FROM, _RAYS_OF = 8.0, 0.1
#: Whole electrons in the rest are believed from so many sigma on, register charge without a rest
#: from so many: hot pixels look like it. What to start from, e-.
_NOTABLE, _NOTABLE_ALONE, _LITTLE = 3.0, 6.0, 1e-5
#: Samples that tell less than this share of what was known of the power tell nothing.
_NOTHING = 1e-3
#: Samples that a region needs.
LEAST_SAMPLES = 1000


class RayPower(NamedTuple):
    """What is known of the power b of ray charges before a stack is looked at; a normal law.

    Attributes
    ----------
    value, error : float
        And its 1-sigma error. By default what rays of detectors may have: simulated ones have 0.4
        to 1.4.
    """

    value: float = 1.0
    error: float = 0.5


#: Where only the kind of detector is known.
ANY_POWER = RayPower()


@dataclass(frozen=True)
class StackCharges:
    """What the histograms of a stack show.

    Attributes
    ----------
    gain : Estimate
        EM gain.
    image : Estimate
        Charge of ordinary pixels, e-/pixel/frame: clock-induced and dark.
    register : Estimate
        Charge made in the register, e-/pixel/frame; NaN where there is no prescan nor overscan and
        the imaging area by itself shows none, and none is taken to be there.
    width, rest_width : Estimate
        Read noise and scatter of the level over pixels, in the imaging area and in the rest; e-.
    rest_charge : Estimate
        Charge of the rest that went through the whole register, e-/pixel/frame; NaN where the
        samples show none, and none is taken to be there.
    rays : ndarray, shape (2,)
        Ray charges of q electrons are in a q^-b of the samples: a and b.
    power : RayPower
        What this stack's samples by themselves say of b; an infinite error: nothing.
    image_alone : float
        Charge of ordinary pixels where charge of the register is taken for theirs.
    misfit : float
        Chi-square over its degrees of freedom, of the samples above the noise. Where it is too
        large for chance, errors and intervals are wider by its root; those of the widths by that
        of the other samples, in whose bins the steps of a converter may show.
    """

    gain: Estimate
    image: Estimate
    register: Estimate
    width: Estimate
    rest_width: Estimate
    rest_charge: Estimate
    rays: Array
    power: RayPower
    image_alone: float
    misfit: float

    def ray_density(self, electrons: float) -> float:
        """Share of samples, per electron, in which a ray left so many electrons."""
        return float(self.rays[0] * electrons ** -self.rays[1])


@dataclass(frozen=True)
class StackHistograms:
    """A stack's histograms, and what is known of its pixels.

    Attributes
    ----------
    counts : ndarray of int64, shape (2, bins)
        Good samples of the imaging area, and of the prescan and overscan; EM electrons.
    bins : HistogramBins
        Their bins.
    gain : float
        EM gain, roughly.
    flagged : float
        The lowest level from which on samples may be flagged, e-.
    charges : Charges
        How image charge is distributed over pixels.
    electron : ndarray, shape (5,)
        What one electron becomes (`one_electron`).
    """

    counts: Array
    bins: HistogramBins
    gain: float
    flagged: float = math.inf
    charges: Charges = ALIKE
    electron: Array = field(default_factory=EXPONENTIAL.copy)

    @property
    def has_rest(self) -> bool:
        """Whether there is a prescan or overscan."""
        return bool(self.counts[1].sum() >= LEAST_SAMPLES)

    def level(self, region: int) -> float:
        """The fullest bin, e-."""
        even = self.counts[region, : self.bins.even]
        return self.bins.middle(int(np.argmax(even)))

    def share(self, region: int, gains: float = 0.0) -> float:
        """Share of samples above the noise, or so many gains more."""
        from_here = self.level(region) + T_NOISE * self.bins.read_noise + gains * self.gain
        above = self.bins.edges[:-1] >= from_here
        return float(self.counts[region, above].sum() / max(self.counts[region].sum(), 1))

    @property
    def charge(self) -> float:
        """Charge of a pixel, roughly: of all together, by the share of samples above the noise."""
        return self.share(0) * math.exp(T_NOISE * self.bins.read_noise / self.gain)

    def part(self, region: int) -> Part:
        """The histogram of a region as it is fitted."""
        level, noise, edges = self.level(region), self.bins.read_noise, self.bins.edges
        top = min(level + ABOVE_NOISE * noise + ABOVE_GAIN * self.gain, self.flagged)
        inside = (edges[:-1] >= level - BELOW * noise - 1) & (edges[1:] <= top)
        at = np.flatnonzero(inside)
        # Above the noise the law bends slowly; wide bins hold many numbers of the converter.
        narrow = edges[at] < level + T_NOISE * noise
        if not narrow.any():
            raise np.linalg.LinAlgError("samples are flagged from the noise on")
        first = at[narrow | (at >= self.bins.even) | ((at - at[narrow].max()) % _MERGED == 1)]
        law = SampleLaw(
            edges[[*first, at[-1] + 1]],
            noise,
            ALIKE if region else self.charges,
            self.electron,
        )
        counts = np.add.reduceat(self.counts[region, at] * 1.0, first - at[0])
        where = _REST if region else _IMAGING
        return Part(law, counts, where, np.zeros(where.size), int(narrow.sum()))

    def start(self) -> Array:
        """Unknowns to start from."""
        noise = self.bins.read_noise
        factor = math.exp(T_NOISE * noise / self.gain)
        register = self.share(1) * factor * math.log(self.gain) if self.has_rest else 0.0
        image = max(self.share(0) - (self.share(1) if self.has_rest else 0.0), 1e-6) * factor
        levels = self.level(0), self.level(1)
        rays, rest_rays = (
            max(_RAYS_OF * self.share(region, _RAYS_FROM), _LITTLE) for region in (0, 1)
        )
        inside = [self.gain, image, register, levels[0], noise, rays, ANY_POWER.value]
        rest = [levels[1], noise, 0.0, rest_rays if self.has_rest else 0.0]
        return np.array([*inside, *rest])


def fit_charges(
    stack: StackHistograms, sigmas: float = 1.0, power: RayPower = ANY_POWER
) -> StackCharges | None:
    """Fit gain, read noise and charges of a stack.

    Parameters
    ----------
    stack : StackHistograms
        Its histograms.
    sigmas : float
        Intervals cover as a normal law does between so many sigma: 1 is 68.27 per
        cent; 0: they are the errors.
    power : RayPower
        What is known of the power of ray charges.

    Returns
    -------
    StackCharges or None
        None where too few samples, or too few of them with charge, tell the unknowns.
    """
    # Where the law is none of these samples, the equations may be singular.
    with suppress(np.linalg.LinAlgError):
        return _fit(stack, sigmas, power)
    return None


def _fit(stack: StackHistograms, sigmas: float, power: RayPower) -> StackCharges | None:
    """The fit; None where the imaging area has too few samples."""
    if stack.counts[0].sum() < LEAST_SAMPLES:
        return None
    parts = [stack.part(0), *([stack.part(1)] if stack.has_rest else [])]
    of_power = np.arange(_UNKNOWNS) == RAY_POWER
    known, error = np.where(of_power, power.value, 0.0), np.where(of_power, power.error, np.inf)
    likelihood = Likelihood(parts, _LEAST, _MOST, known, error)
    best, point, held = _maximum(likelihood, stack)
    core, tail = likelihood.misfit(best)

    def estimate(index: int) -> Estimate:
        if index in held:
            return Estimate.unknown()
        wider = (core if index in (WIDTH, _REST_WIDTH) else tail).wider
        return likelihood.estimate(best, point, index, held, sigmas, wider)

    alone = best.copy()
    alone[CHARGE] += best[REGISTER] / math.log(best[GAIN])
    alone[REGISTER] = 0.0
    alone, _ = replace(likelihood, parts=parts[:1]).maximum(alone, [*_NO_REST, RAYS, RAY_POWER])
    return StackCharges(
        gain=estimate(GAIN),
        image=estimate(CHARGE),
        register=estimate(REGISTER),
        width=estimate(WIDTH),
        rest_width=estimate(_REST_WIDTH),
        rest_charge=estimate(_REST_CHARGE),
        rays=best[[RAYS, RAY_POWER]],
        power=_told(likelihood.estimate(best, point, RAY_POWER, held, 0.0), power),
        image_alone=float(alone[CHARGE]),
        misfit=tail.ratio,
    )


def _told(found: Estimate, known: RayPower) -> RayPower:
    """What the samples say of the power, without what was known before."""
    weight = 1 / found.error**2 - 1 / known.error**2
    if not weight > _NOTHING / known.error**2:
        return RayPower(known.value, math.inf)
    moved = (found.value - known.value) / (found.error**2 * weight)
    return RayPower(known.value + moved, 1 / math.sqrt(weight))


def _maximum(likelihood: Likelihood, stack: StackHistograms) -> tuple[Array, Point, list[int]]:
    """The unknowns of the largest likelihood, and those that are not fitted."""
    start, simple = stack.start(), [_REST_CHARGE] if stack.has_rest else _NO_REST
    best, point = likelihood.maximum(start, simple)
    # The simple case, unless the samples show another one: half of what reaches the rest went
    # through the whole register; or, without a rest, half of the image charge is the register's.
    start = best.copy()
    if stack.has_rest:
        start[_REST_CHARGE] = 0.5 * best[REGISTER] / math.log(best[GAIN]) + _LITTLE
        start[REGISTER] *= 0.5
        free, sigmas = [], _NOTABLE
    else:
        start[REGISTER] = 0.5 * best[CHARGE] * math.log(best[GAIN]) + _LITTLE
        start[CHARGE] *= 0.5
        free, sigmas = [i for i in _NO_REST if i != REGISTER], _NOTABLE_ALONE
    other, there = likelihood.maximum(start, free)
    if there.value - point.value > 0.5 * sigmas**2:
        return other, there, free
    return best, point, simple
