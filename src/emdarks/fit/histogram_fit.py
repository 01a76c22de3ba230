"""Maximum likelihood of histograms of samples, with intervals of the profile likelihood.

Given how many samples lie within its bins, a histogram is multinomial. Histograms of several
regions may share parameters. Steps are those of Fisher's scoring, halved until the likelihood
grows; what it expects of the information is the Cramer-Rao bound (C. R. Rao, 1945, Bull. Calcutta
Math. Soc. 37, 81). Intervals end where the likelihood, at its largest over all other parameters,
has fallen by z^2 / 2 (D. R. Cox and D. V. Hinkley, 1974, *Theoretical Statistics*, 9.3): they
cover where few electrons tell a charge, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.fit.estimate import Estimate
from emdarks.fit.sample_law import GAIN, RAY_POWER, WIDTH, SampleLaw

Array = npt.NDArray[Any]

#: Steps at most, halvings of one, and the gain of the log likelihood that ends them.
STEPS, HALVINGS, SETTLED = 40, 12, 1e-4
#: In the first steps, so many, this share of a charge is left.
_FIRST, _LEFT = 4, 0.1
#: Largest relative change of gain and width in a step, and change of the power of rays.
_LARGEST = 0.3
#: The least probability of a bin.
_TINY = 1e-14
#: Bins of fewer expected samples tell nothing of the fit.
_FEW = 5.0
#: Electrons in all samples from which on their number tells its own error.
_ELECTRONS = 3.0
#: Degrees of freedom that the unknowns take from the bins of noise, or from those above it.
_UNKNOWNS_OF_BINS = 4
#: Chi-square over its degrees of freedom, so many of its sigma above 1, widens the errors.
_MISFIT_SIGMAS = 4.0
#: Steps to an end of an interval, and how near it is in sigma.
_TRIES, _NEAR = 8, 0.02


@dataclass(frozen=True)
class Part:
    """The histogram of one region.

    Attributes
    ----------
    law : SampleLaw
        Law of its samples.
    counts : ndarray, shape (bins,)
        Samples in each bin.
    where : ndarray of int, shape (7,)
        Which unknown each of `PARAMETERS` is; -1: as in ``fixed``.
    fixed : ndarray, shape (7,)
        Numbers of the others.
    noise : int
        The first bins, so many, hold mostly samples without charge.
    """

    law: SampleLaw
    counts: Array
    where: Array
    fixed: Array
    noise: int = 0

    def parameters(self, unknown: Array) -> Array:
        """All parameters of the region."""
        found: Array = np.where(self.where >= 0, unknown[self.where], self.fixed)
        return found


class Point(NamedTuple):
    """Log likelihood, its gradient, and the information expected."""

    value: float
    score: Array
    information: Array


class Misfit(NamedTuple):
    """Agreement of samples with a law.

    Attributes
    ----------
    ratio : float
        Chi-square over its degrees of freedom.
    wider : float
        Its root where that is too large for chance, else 1: a factor on errors.
    """

    ratio: float
    wider: float

    @classmethod
    def of(cls, chi2: Array) -> Misfit:
        """From what single bins add to chi-square."""
        freedom = max(chi2.size - _UNKNOWNS_OF_BINS, 1)
        ratio = float(chi2.sum()) / freedom
        notable = ratio > 1 + _MISFIT_SIGMAS * math.sqrt(2 / freedom)
        return cls(ratio, math.sqrt(ratio) if notable else 1.0)


@dataclass(frozen=True)
class Likelihood:
    """That of some parts.

    Attributes
    ----------
    parts : sequence of Part
        Regions.
    least, most : ndarray, shape (unknowns,)
        No unknown is less, or more.
    known, known_error : ndarray, shape (unknowns,)
        What is known of them beforehand, as of a normal law; infinite errors: nothing.
    """

    parts: Sequence[Part]
    least: Array
    most: Array
    known: Array
    known_error: Array

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.least.size

    def at(self, unknown: Array) -> Point:
        """Log likelihood, gradient and information."""
        pull = (unknown - self.known) / self.known_error
        value, score = -0.5 * float(pull @ pull), -pull / self.known_error
        information = np.diag(1 / self.known_error**2)
        for part in self.parts:
            P, J = part.law.expected(part.parameters(unknown))
            free = np.flatnonzero(part.where >= 0)
            to, by = part.where[free], J[:, free] * (P > _TINY)[:, None]
            P = np.maximum(P, _TINY)
            share = P / P.sum()
            by = by / P[:, None] - by.sum(axis=0) / P.sum()
            value += float(part.counts @ np.log(share))
            np.add.at(score, to, part.counts @ by)
            np.add.at(information, np.ix_(to, to), part.counts.sum() * (by.T * share) @ by)
        return Point(value, score, information)

    def maximum(self, start: Array, held: Sequence[int] = ()) -> tuple[Array, Point]:
        """The unknowns of the largest likelihood.

        Parameters
        ----------
        start : ndarray, shape (unknowns,)
            Where to begin.
        held : sequence of int
            Unknowns that stay.

        Returns
        -------
        unknown : ndarray, shape (unknowns,)
        point : tuple
            Log likelihood, gradient and information there.

        Raises
        ------
        numpy.linalg.LinAlgError
            The histograms do not tell the unknowns.
        """
        loose = np.setdiff1d(np.arange(self.size), held)
        unknown, point = start, self.at(start)
        if not math.isfinite(point.value):
            raise np.linalg.LinAlgError("the law says nothing of these samples")
        for number in range(STEPS):
            step = self._step(unknown, point, loose)
            # From a charge of 0, there may be no way back.
            share = _LEFT if number < _FIRST else 0.0
            least = self.least + share * np.where(self.least > -np.inf, unknown - self.least, 0.0)
            if float(point.score @ step) < SETTLED:
                break
            for _ in range(HALVINGS):
                next_one = np.clip(unknown + step, least, self.most)
                there = self.at(next_one)
                if there.value > point.value:
                    break
                step *= 0.5
            else:
                break
            unknown, point = next_one, there
        return unknown, point

    def _step(self, unknown: Array, point: Point, loose: Array) -> Array:
        """A step of Fisher's scoring of those unknowns that no bound keeps."""
        kept = (unknown <= self.least) & (point.score <= 0)
        kept |= (unknown >= self.most) & (point.score >= 0)
        free = loose[~kept[loose]]
        step = np.zeros(self.size)
        step[free] = _solve(point.information[np.ix_(free, free)], point.score[free])
        return step * self._shorter(unknown, step)

    def _shorter(self, unknown: Array, step: Array) -> float:
        """Share of a step that changes no gain, no width and no power of rays too much."""
        most = 0.0
        for part in self.parts:
            for i in part.where[[GAIN, WIDTH, RAY_POWER]]:
                size = 1.0 if i == part.where[RAY_POWER] else unknown[i]
                most = max(most, abs(step[i] / size) if i >= 0 and size > 0 else 0.0)
        return min(1.0, _LARGEST / max(most, 1e-9))

    def misfit(self, unknown: Array) -> tuple[Misfit, Misfit]:
        """How the bins of noise, and those above it, agree with the law."""
        sums: list[list[Array]] = [[], []]
        for part in self.parts:
            P = np.maximum(part.law.expected(part.parameters(unknown))[0], _TINY)
            m = part.counts.sum() * P / P.sum()
            chi2 = np.where(m > _FEW, (part.counts - m) ** 2 / m, np.nan)
            for some, of in zip(sums, (chi2[: part.noise], chi2[part.noise :]), strict=True):
                some.append(of[np.isfinite(of)])
        core, tail = (Misfit.of(np.concatenate(some)) for some in sums)
        return core, tail

    def estimate(
        self,
        best: Array,
        point: Point,
        index: int,
        held: Sequence[int] = (),
        sigmas: float = 1.0,
        wider: float = 1.0,
    ) -> Estimate:
        """An unknown with its error, and its interval of the profile likelihood.

        Parameters
        ----------
        best : ndarray, shape (unknowns,)
            Where the likelihood is largest.
        point : tuple
            Log likelihood, gradient and information there.
        index : int
            The unknown.
        held : sequence of int
            Unknowns that stay.
        sigmas : float
            The interval covers as a normal law does between so many sigma; 0: it is the error.
        wider : float
            Factor on error and interval.
        """
        # Where a charge is 0, one electron more would contradict any number of samples.
        samples = sum(part.counts.sum() for part in self.parts)
        tellable = self.at(np.maximum(best, self.least + _ELECTRONS / samples))
        free = np.setdiff1d(np.arange(self.size), held)
        column = np.zeros(self.size)
        one = (free == index) * 1.0
        column[free] = _solve(tellable.information[np.ix_(free, free)], one)
        if not column[index] > 0:
            raise np.linalg.LinAlgError("the histograms do not tell this unknown")
        error = math.sqrt(column[index])
        if not sigmas:
            return Estimate.normal(best[index], wider * error)
        way = sigmas * wider * column / error
        keep = [*held, index]
        low, high = (self._end(best, point, keep, side * way, sigmas * wider) for side in (-1, 1))
        return Estimate(float(best[index]), wider * error, low, high)

    def _end(
        self, best: Array, point: Point, held: Sequence[int], way: Array, sigmas: float
    ) -> float:
        """Where the profile has fallen enough, by the secant of its signed root."""
        index = held[-1]
        before, at, start = (0.0, -sigmas), 1.0, best + way
        for _ in range(_TRIES):
            start[index] = best[index] + at * way[index]
            if start[index] <= self.least[index]:
                start[index] = self.least[index]
                at = (start[index] - best[index]) / way[index]
            found, there = self.maximum(np.clip(start, self.least, self.most), held)
            root = math.sqrt(max(2 * (point.value - there.value), 0.0)) - sigmas
            at_bound = start[index] == self.least[index] and (root < 0 or at == 0)
            if abs(root) < _NEAR or root == before[1] or at_bound:
                break
            step = -root * (at - before[0]) / (root - before[1])
            before, at = (at, root), min(max(at + step, 0.2 * at), 3 * at)
            start = best + (found - best) * (at / before[0])
        return float(best[index] + at * way[index])


def _solve(information: Array, right: Array) -> Array:
    """Solve with a scaled matrix: the unknowns have different sizes."""
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    scaled = information / np.multiply.outer(scale, scale)
    found: Array = np.linalg.solve(scaled, right / scale) / scale
    return found
