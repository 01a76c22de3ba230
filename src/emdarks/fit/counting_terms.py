"""What cosmic rays below the flagging level add to the statistics of the counting estimator.

One scalar each, from all ordinary pixels of the imaging area: a slope with time of the mean
below T of each low gain; wings, the small charges beside the core of a ray; and what rays add
to plain means and their variance, which hot pixels need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.one_electron import EXPONENTIAL

Array = npt.NDArray[Any]
#: C, D as they enter equations of the slope: scaled to columns of one size.
SCALE = np.array([1.0, 1e3, 1e4])


def statistics(
    u: Array | float,
    charge: Array | float,
    gain: float,
    read_noise: float,
    distance: float = 0.0,
    electron: Array = EXPONENTIAL,
) -> dict[str, Array]:
    """The law of a sample, and the statistics that it leads to; see `_core.counting_statistics`."""
    u, charge = np.broadcast_arrays(np.atleast_1d(np.asarray(u, float)), np.asarray(charge, float))
    out = np.empty((len(_core.COUNTING_STATISTICS), u.size))
    points = np.ascontiguousarray(u), np.ascontiguousarray(charge)
    _core.counting_statistics(*points, distance, gain, read_noise, electron, out)
    return dict(zip(_core.COUNTING_STATISTICS, out, strict=True))


@dataclass(frozen=True, slots=True)
class Pools:
    """Sums over ordinary pixels of a region, by stack; see `_core.counting_pools`."""

    sums: dict[str, Array]

    @classmethod
    def of(cls, out: Array, region: int) -> Pools:
        """Of what the kernel gave for both regions."""
        own = out.reshape(2, -1, len(_core.COUNTING_POOLS))[region]
        return cls(dict(zip(_core.COUNTING_POOLS, own.T, strict=True)))

    def __getitem__(self, name: str) -> Array:
        return self.sums[name]

    def per_pixel(self, name: str) -> Array:
        """Mean over the pixels that have samples; 0 where none has."""
        mean: Array = self[name] / np.maximum(self["pixels"], 1.0)
        return mean

    def variance(self) -> Array:
        """Pooled variance of a sample; NaN where no pixel has two."""
        with np.errstate(invalid="ignore", divide="ignore"):
            pooled: Array = self["m2"] / self["dof"]
        return pooled


@dataclass(slots=True)
class RayTerms:
    """What rays add, by region (outside, imaging area) and stack.

    Attributes
    ----------
    slope : ndarray, shape (2, stacks)
        Added to the mean below T of stacks of low gain, e-.
    mean_shift, ray_variance : ndarray, shape (2, stacks)
        Added to plain means and to the variance of a sample.
    wings : ndarray, shape (2, 3 * stacks)
        Added to K/n', LO/n' and HI/n'.
    rates, rate_errors : dict
        Slope by commanded gain, and its error: e- per pixel and second, behind the gain.
    """

    slope: Array
    mean_shift: Array
    ray_variance: Array
    wings: Array
    rates: dict[float, float] = field(default_factory=dict)
    rate_errors: dict[float, float] = field(default_factory=dict)

    @classmethod
    def none(cls, stacks: int) -> RayTerms:
        """No rays."""
        slope, mean_shift, ray_variance = (np.zeros((2, stacks)) for _ in range(3))
        return cls(slope, mean_shift, ray_variance, np.zeros((2, 3 * stacks)))

    @property
    def planes(self) -> tuple[Array, Array, Array, Array]:
        """As `_core.CountingTerms` takes them."""
        return self.slope, self.mean_shift, self.ray_variance, self.wings

    def set_wings(self, pools: Pools, high: Array) -> None:
        """Small charges beside a core, T < x <= T2, from the counts within two pixels of it."""
        for i in np.flatnonzero(high):
            kept, above = pools["kept"][i], pools["above"][i]
            if not (above > 0 and kept > above):
                self.wings[1, 3 * i : 3 * i + 3] = 0.0
                continue
            more = (pools["near_above"][i] - pools["near"][i] * above / kept) / kept
            low = pools["low"][i] / (kept - above)
            self.wings[1, 3 * i : 3 * i + 3] = more, -more * low, more * pools["high"][i] / above

    def set_plain(self, region: int, pools: Pools, squares: Array, read_noise: float) -> None:
        """Mean and variance of what rays leave in unflagged samples.

        ``squares`` is the mean square of what one electron becomes, by stack.
        """
        self.mean_shift[region] = pools.per_pixel("excess")
        noise = read_noise**2 + squares * pools.per_pixel("charge")
        self.ray_variance[region] = np.maximum(np.nan_to_num(pools.variance() - noise), 0.0)


@dataclass(frozen=True, slots=True)
class SlopeEquations:
    """What the slope of low-gain stacks is solved from.

    The image-mean residuals r of the mean below T, with mean weights w, follow the slopes A
    through Z (t where a stack has the gain, else 0), less what F, C and D take up of it:
    r = (1 - J Cm J' w) Z A.
    """

    gain: Array
    commanded: Array
    time: Array
    T: Array
    electron: Array
    read_noise: float

    def gains(self) -> list[float]:
        """Commanded gains with two times or more."""
        return [
            float(g)
            for g in np.unique(self.commanded)
            if np.unique(self.time[self.commanded == g]).size > 1
        ]

    def solve(
        self, pools: Pools, low: Array, level: Array, covariance: Array, terms: RayTerms
    ) -> None:
        """Add to the slopes what the residuals ask for.

        Parameters
        ----------
        pools : Pools
            Of the imaging area.
        low : ndarray of int
            The stacks of these equations.
        level : ndarray, shape (3,)
            Image mean of F, C and D.
        covariance : ndarray, shape (3, 3)
            Inverse of the mean inverse covariance of a pixel.
        terms : RayTerms
            Changed.
        """
        gains, pixels = self.gains(), pools["pixels"][low].max(initial=0.0)
        weight = pools["weight"][low] / max(pixels, 1.0)
        if not gains or not (weight > 0).all():
            return
        residual = pools["residual"][low] / pools["weight"][low]
        Z = np.stack([np.where(self.commanded == g, self.time, 0.0) for g in gains], axis=1)
        J = self._jacobian(level)
        taken_up = J @ covariance @ J.T * weight
        normal = Z.T @ (weight[:, None] * (Z - taken_up @ Z))
        if np.linalg.cond(normal) > 1e10:
            return
        added = np.linalg.solve(normal, Z.T @ (weight * residual))
        errors = np.sqrt(np.diag(np.linalg.inv(normal)) / pixels)
        for g, more, error in zip(gains, added, errors, strict=True):
            terms.rates[g] = terms.rates.get(g, 0.0) + float(more)
            terms.rate_errors[g] = float(error)
        terms.slope[1, low] = Z @ np.array([terms.rates[g] for g in gains])

    def _jacobian(self, level: Array) -> Array:
        F, C, D = level
        rows = []
        settings = zip(self.gain, self.time, self.T, self.electron, strict=True)
        for gain, time, T, electron in settings:
            found = statistics(T - F, C + time * D, gain, self.read_noise, electron=electron)
            by_F, by_charge = found["K_F"][0], found["K_l"][0]
            rows.append([by_F, by_charge, time * by_charge])
        return np.array(rows)
