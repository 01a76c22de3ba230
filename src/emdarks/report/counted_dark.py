"""What an observer wants to know of a photon-counted dark: counts, thresholds, what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from emdarks import plots
from emdarks.checks.product_summary import Array, DarkView
from emdarks.photon_counts import CountLaw, rate_interval
from emdarks.report.page import WIDTH
from emdarks.report.sections import panel_figure

#: Thresholds of the table, and ends of the figure, in read noises.
FACTORS, ENDS = (3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0), (2.5, 8.0)
#: Rates of the figure beside that of the dark, electrons a frame.
RATES = (0.03, 0.1, 0.3)
#: Bins of a histogram, at most.
BINS = 120
#: Two sigma: the confidence of the limit of pixels without a count.
SURE = 0.9545


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """What a threshold costs where a rate is counted.

    Attributes
    ----------
    law : CountLaw
        With this threshold.
    rate : float
        Electrons a frame.
    """

    law: CountLaw
    rate: float

    @property
    def factor(self) -> float:
        """The threshold in read noises."""
        return self.law.threshold / self.law.read_noise

    @property
    def noise(self) -> float:
        """Error over that of counting every electron, and nothing else."""
        return self.law.error(self.rate, 1.0) / math.sqrt(self.rate)

    @property
    def coincidence(self) -> float:
        """Share of the electrons that share a pixel with others, and count once."""
        return self.law.coincidence(self.rate)

    def moved(self, name: str) -> float:
        """By how much, relatively, the rate is too high where 1 % more of a number is true."""
        true = replace(self.law, **{name: 1.01 * getattr(self.law, name)})
        return float(self.law.rate(true.share(self.rate))) / self.rate - 1.0


@dataclass(frozen=True, slots=True)
class CountedDark:
    """Counts of a photon-counted dark, for its page.

    Attributes
    ----------
    view : DarkView
        The dark.
    law : CountLaw
        Of its counts.
    rate : float
        Mean of the ordinary pixels, electrons a frame.
    """

    view: DarkView
    law: CountLaw
    rate: float

    @classmethod
    def of(cls, view: DarkView) -> CountedDark | None:
        """None of a dark that was not counted, or of which the header has no law."""
        if view.law is None:
            return None
        return cls(view, view.law, view.statistics(view.planes[0]).ordinary)

    @property
    def factor(self) -> float:
        """Its threshold in read noises."""
        return self.law.threshold / self.law.read_noise

    def choices(self) -> Iterator[ThresholdChoice]:
        """Thresholds beside the one used, that included; none without a positive rate."""
        own = self.law.threshold
        other = (factor * self.law.read_noise for factor in FACTORS)
        known = sorted([own, *(T for T in other if not math.isclose(T, own, rel_tol=1e-3))])
        for T in known if self.rate > 0 else ():
            if self.law.gain > T:
                yield ThresholdChoice(replace(self.law, threshold=T), self.rate)

    def plane(self, name: str) -> Array | None:
        """An HDU of counts in the pixels of the area that have a value."""
        if name not in self.view.product.hdu_names:
            return None
        found: Array = np.asarray(self.view.product.hdu_list[name].data, dtype=np.float64)
        return found[self.view.area][self.view.good]

    def typical(self) -> tuple[float, float, float, float, float] | None:
        """Counts and samples of a pixel of the median rate; this, and its interval."""
        n, above = self.plane("NGOOD"), self.plane("NABOVE")
        if n is None or above is None or not n.size:
            return None
        rates = self.view.planes[0].values[self.view.area][self.view.good]
        k = int(np.argsort(rates, kind="stable")[rates.size // 2])
        low, high = rate_interval(above[k : k + 1], n[k : k + 1], self.law, 0.6827)
        return float(above[k]), float(n[k]), float(rates[k]), float(low[0]), float(high[0])

    def uncounted(self) -> tuple[float, float] | None:
        """Share of the pixels without a count, and a limit of their rates; None where none is."""
        n, above = self.plane("NGOOD"), self.plane("NABOVE")
        if n is None or above is None or (above > 0).all():
            return None
        least = n[above == 0].min(keepdims=True)
        high = rate_interval(np.zeros(1), least, self.law, SURE)[1]
        return float((above == 0).mean()), float(high[0])

    def worth(self) -> float:
        """Frames of which a measured dark is as good as this one from maps; NaN of others."""
        errors = self.plane("COUNTERR")
        if errors is None or not (self.rate > 0 and errors.size and np.median(errors) > 0):
            return math.nan
        share = float(self.law.share(self.rate))
        return share * (1.0 - share) / float(np.median(errors)) ** 2

    def bins(self, low: float, high: float) -> int:
        """Bins of a histogram of rates between two ends: one a count, where counts are known."""
        n = self.plane("NGOOD")
        if n is None or not n.size:
            return BINS
        one = 1.0 / (float(np.median(n)) * float(self.law.statistics(0.0)[1]))
        return max(min(math.ceil((high - low) / one), BINS), 10)

    def figure(self) -> plots.Figure:
        """What a threshold costs, and how noisy rates are, by threshold."""
        figure, (left, right) = panel_figure(2, 0.36 * WIDTH)
        ends = ENDS[0], min(max(ENDS[1], self.factor), 0.98 * self.law.gain / self.law.read_noise)
        factors = np.linspace(*ends, 56)
        laws = [replace(self.law, threshold=float(f * self.law.read_noise)) for f in factors]
        marked, x = {"used": self.factor}, "threshold, read noises"
        losses = {
            "false counts": [100 * law.false_counts() / self.rate for law in laws],
            "below the threshold": [100 * law.lost() for law in laws],
            "coincidence": [100 * law.coincidence(self.rate) for law in laws],
        }
        plots.curves(
            factors, losses, "losses and false counts", (x, "% of the rate"), marked=marked, ax=left
        )
        left.set_yscale("log")
        left.set_ylim(0.01, 200)
        rates = sorted({float(f"{self.rate:.2g}"), *RATES})
        noise = {
            f"{rate:g} e⁻ a frame": [ThresholdChoice(law, rate).noise for law in laws]
            for rate in rates
        }
        plots.curves(
            factors, noise, "noise of a rate", (x, "over perfect counting"), marked=marked, ax=right
        )
        right.set_ylim(1.0, min(right.get_ylim()[1], 2.0))
        return figure
