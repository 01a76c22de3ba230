"""What maps of the counting estimator say of gains and cosmic rays, for checks and the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class FittedGain(NamedTuple):
    """EM gain as commanded, as the frames show it, its error, and the one that was used."""

    commanded: float
    gain: float
    error: float
    used: float

    @property
    def off(self) -> float:
        """How far the gain that was used lies from that of the frames, relative."""
        return self.used / self.gain - 1

    @property
    def sigmas(self) -> float:
        """The same in standard errors."""
        return (self.used - self.gain) / self.error if self.error > 0 else 0.0


class RaySlope(NamedTuple):
    """Low EM gain as commanded; what rays add to its mean below T, EM electrons per second."""

    commanded: float
    rate: float
    error: float


@dataclass(frozen=True, slots=True)
class CountingSummary:
    """Gains, rays and histograms of a product.

    Attributes
    ----------
    gains : list of FittedGain
        By commanded value.
    slopes : list of RaySlope
        By commanded value.
    source : str
        Where the gains of the fit are from, header or fitted.
    nominal_noise, noise : float
        Read noise that thresholds go by, and that of the fit, EM electrons.
    columns : dict of ndarray, shape (stacks,)
        T, T2, RAY_WING, RAY_MEAN of each stack.
    edges : ndarray, shape (bins + 1,)
        EM electrons.
    counts, law : ndarray, shape (bins, stacks)
        Samples of the imaging area, and what the law gives.
    """

    gains: list[FittedGain]
    slopes: list[RaySlope]
    source: str
    nominal_noise: float
    noise: float
    columns: dict[str, Array]
    edges: Array
    counts: Array
    law: Array

    @classmethod
    def of(cls, product: Any) -> CountingSummary | None:
        """Read it off a product; None where this was not made by the counting estimator."""
        header, names = product.ext_hdr, product.hdu_names
        if header.get("ESTIMATR") != "counting" or not {"STACKS", "HISTOGRAM"} <= set(names):
            return None
        table, bins = (product.hdu_list[name].data for name in ("STACKS", "HISTOGRAM"))
        wanted = ("T", "T2", "RAY_LOW", "RAY_WING", "RAY_MEAN", "RN_NOM", "RN_LAW")
        if not {*wanted, "GAIN_FIT", "GAIN_FIT_ERR"} <= set(table.names):
            return None
        columns = {name: np.array(table[name], dtype=np.float64) for name in wanted}
        edges = np.append(bins["LOWER"], bins["UPPER"][-1:]).astype(np.float64)
        counts, law = (np.array(bins[name], dtype=np.float64) for name in ("COUNTS", "LAW"))
        noises = float(columns["RN_NOM"][0]), float(columns["RN_LAW"][0])
        source = str(header.get("GAINSRC", "header"))
        shown = edges, counts, law
        return cls(_gains(table), _slopes(header), source, *noises, columns, *shown)

    def beyond(self, stack: int) -> float:
        """Share of the samples above T2 that the law does not give: rays."""
        above = self.edges[:-1] >= self.columns["T2"][stack]
        more = self.counts[above, stack].sum() - self.law[above, stack].sum()
        return float(max(more, 0.0) / max(self.counts[:, stack].sum(), 1.0))


def _gains(table: Any) -> list[FittedGain]:
    commanded = np.array(table["EMGAIN_C"], dtype=np.float64)
    measured = np.isfinite(table["GAIN_FIT"]) & (np.asarray(table["GAIN_FIT_ERR"]) > 0)
    found = []
    for g in np.unique(commanded[measured]):
        i = int(np.flatnonzero((commanded == g) & measured)[0])
        own = (float(table[name][i]) for name in ("GAIN_FIT", "GAIN_FIT_ERR", "EMGAIN"))
        found.append(FittedGain(float(g), *own))
    return found


def _slopes(header: Any) -> list[RaySlope]:
    found, number = [], 1
    while f"RSLPC{number}" in header:
        cards = (float(header[f"{key}{number}"]) for key in ("RSLPC", "RSLP", "RSLPE"))
        found.append(RaySlope(*cards))
        number += 1
    return found
