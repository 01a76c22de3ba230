"""What noise maps of the counting estimator hold beside their planes.

Columns of the table STACKS, cards, and the table HISTOGRAM: samples of each stack, with the law
that the fit gives for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks._core import HOT
from emdarks.darks.counting import CountingPlan, CountingResult
from emdarks.fit.counting_terms import statistics
from emdarks.products.header import NOT_SUPPLIED
from emdarks.stacks import Stack

Array = npt.NDArray[Any]
Cards = dict[str, tuple[Any, str]]

#: Hot pixels enter the law in classes of 1/6 octave of their charge.
CLASSES = 6
#: From this charge on a sample is as good as normal.
MANY_ELECTRONS = 60.0
#: Beyond so many scatters and gains above the mean there is nothing, and the law's series ends.
FAR = 12.0


@dataclass(frozen=True, slots=True)
class CountingTables:
    """What the counting estimator found besides the maps, as a product holds it.

    Attributes
    ----------
    result : CountingResult
        Fit, gains and read noises.
    plan : CountingPlan
        Thresholds and bins.
    stacks : sequence of Stack
        The stacks.
    n : ndarray, shape (stacks, pixels)
        Good samples.
    histograms : ndarray of int64, shape (stacks, 2, bins)
        Samples in and outside the imaging area.
    """

    result: CountingResult
    plan: CountingPlan
    stacks: Sequence[Stack]
    n: Array
    histograms: Array

    @property
    def _measured(self) -> Array:
        """Stacks whose gain the frames show."""
        measured: Array = self.result.gains.error > 0
        return measured

    @property
    def _times(self) -> Array:
        return np.array([stack.exposure_time for stack in self.stacks], dtype=np.float64)

    def columns(self) -> dict[str, list[Any]]:
        """Columns of STACKS that only these maps have."""
        result, measured, thresholds = self.result, self._measured, self.plan.thresholds
        gains, rays = result.gains, result.fit.rays
        count = len(self.stacks)
        values: dict[str, Any] = {
            "GAIN_FIT": np.where(measured, gains.gain, np.nan),
            "GAIN_FIT_ERR": np.where(measured, gains.error, np.nan),
            **{name: [getattr(at, name) for at in thresholds] for name in ("T", "T2", "T3")},
            "RN_NOM": [result.nominal_noise] * count,
            "RN_LAW": [result.read_noise] * count,
            "RAY_LOW": rays.slope[1],
            "RAY_WING": rays.wings[1, ::3],
            "RAY_MEAN": rays.mean_shift[1],
            "RAY_VAR": rays.ray_variance[1],
            "RAY_DENS": gains.rays,
        }
        return {name: np.asarray(column, dtype=float).tolist() for name, column in values.items()}

    def cards(self) -> Cards:
        """Gains by commanded value, and what rays add to all pixels."""
        return {**self._settings(), **self._gain_cards(), **self._ray_cards()}

    def _settings(self) -> Cards:
        lowest = float(self.plan.flagged.min())
        known = lowest if math.isfinite(lowest) else NOT_SUPPLIED
        stages = self.plan.stages
        return {
            "GAINSRC": (self.result.source, "EM gains of the law: header or fitted"),
            "FLAGLEV": (known, "e-, from here on samples may be flagged"),
            "NEMGAIN": (
                int(stages) if math.isfinite(stages) else NOT_SUPPLIED,
                "stages of the gain register in the law",
            ),
        }

    def _gain_cards(self) -> Cards:
        commanded = np.array([stack.commanded_gain for stack in self.stacks])
        gains, cards = self.result.gains, {}
        for number, g in enumerate(np.unique(commanded[self._measured]), 1):
            first = int(np.flatnonzero(commanded == g)[0])
            cards[f"GFITC{number}"] = (float(g), "EM gain commanded")
            cards[f"GFIT{number}"] = (float(gains.gain[first]), "EM gain that the frames show")
            cards[f"GFITE{number}"] = (float(gains.error[first]), "its error")
        return cards

    def _ray_cards(self) -> Cards:
        rays, cards = self.result.fit.rays, {}
        for number, g in enumerate(sorted(rays.rates), 1):
            cards[f"RSLPC{number}"] = (g, "EM gain commanded, a low one")
            cards[f"RSLP{number}"] = (rays.rates[g], "EM e-/s, rays in its mean below T")
            cards[f"RSLPE{number}"] = (rays.rate_errors[g], "its error")
        high = rays.wings[1, ::3] != 0
        cards["RAYWING"] = (self._rate(rays.wings[1, ::3], high), "1/s, samples beside rays' cores")
        density = self.result.gains.rays
        cards["RAYDENS"] = (self._rate(density, np.isfinite(density)), "1/e-/s, small ray charges")
        return cards

    def _rate(self, values: Array, used: Array) -> float:
        """Per second; -999 where no stack tells."""
        seconds = self._times[used].sum()
        return float(values[used].sum() / seconds) if seconds > 0 else NOT_SUPPLIED

    def histogram(self) -> dict[str, Array]:
        """Columns of HISTOGRAM, a row a bin, an entry a stack."""
        edges, inside = self.plan.bins.edges, self.histograms[:, 0]
        laws = [self._law(i, edges) * inside[i].sum() for i in range(len(self.stacks))]
        return {
            "LOWER": edges[:-1],
            "UPPER": edges[1:],
            "COUNTS": inside.T,
            "OUTSIDE": self.histograms[:, 1].T,
            "LAW": np.array(laws, dtype=np.float32).T,
        }

    def _law(self, i: int, edges: Array) -> Array:
        """Share of the samples of a stack in each bin, without rays: eq. 20 (law)."""
        charges, shares = self._charges(i)
        F, spread = self._levels()
        gain, noise = float(self.result.law_gain[i]), math.hypot(self.result.read_noise, spread)
        electron = self.result.electron[i]
        tail = np.zeros(edges.size)
        for charge, share in zip(charges, shares, strict=True):
            tail += share * _tail(edges - F, float(charge), gain, noise, electron)
        below = tail[:-1] - tail[1:]
        below[-1] += tail[-1]  # the last bin has what lies beyond it, too
        return np.maximum(below, 0.0)

    def _levels(self) -> tuple[float, float]:
        """Mean of F over ordinary pixels, and how far true values differ."""
        fit, members = self.result.fit, self.result.fit.members(1)
        if not members.any():
            return 0.0, 0.0
        F = fit.values[0, members]
        variance = float(F.var() - fit.covariance[0, members].mean())
        return float(F.mean()), math.sqrt(max(variance, 0.0))

    def _charges(self, i: int) -> tuple[Array, Array]:
        """Charges of ordinary pixels, at two points, and of classes of hot ones; their shares."""
        fit, time = self.result.fit, float(self._times[i])
        _, C, D = fit.level[1]
        scatter = math.sqrt(fit.spread[1, 0] + time**2 * fit.spread[1, 1])
        charge = max(C + time * D, 0.0)
        scatter = min(scatter, 0.9 * charge)
        hot = fit.group == 1 + HOT
        own = np.maximum(fit.values[1, hot] + time * fit.values[2, hot], 1e-3)
        n, ordinary = self.n[i, hot].astype(float), float(self.n[i, fit.members(1)].sum())
        classes = np.round(CLASSES * np.log2(own))
        found = [
            ((own * n)[classes == k].sum() / n[classes == k].sum(), n[classes == k].sum())
            for k in np.unique(classes[n > 0])
        ]
        pairs = [(charge - scatter, ordinary / 2), (charge + scatter, ordinary / 2), *found]
        charges, numbers = np.array(pairs).T
        return charges, numbers / max(numbers.sum(), 1.0)


def _tail(u: Array, charge: float, gain: float, noise: float, electron: Array) -> Array:
    """Probability of a sample above ``u``."""
    scatter = math.hypot(noise, gain * math.sqrt(2 * charge))
    far = u > gain * charge + FAR * (scatter + 2 * gain)
    if charge > MANY_ELECTRONS:
        u, charge, noise = u - gain * charge, 0.0, scatter
    found = statistics(np.where(far, 0.0, u), charge, gain, noise, electron=electron)["P"]
    return np.where(far, 0.0, found)
