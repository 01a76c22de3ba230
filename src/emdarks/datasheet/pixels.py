"""Pixels that are unlike the others: hot, warm and telegraph ones, and trails of hot ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.bad_pixels import StandingOut, standing_out
from emdarks.checks.formatting import count, number, percent
from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity
from emdarks.fit.deferred_charge import DeferredCharge, deferred_charge
from emdarks.fit.estimate import Estimate
from emdarks.fit.hot_counts import HotCount, hot_counts
from emdarks.fit.pixel_noise import share_interval

Array = npt.NDArray[Any]

#: Dark currents over the median from which on a pixel is warm, and hot; as `emdarks badpixels`.
WARM, HOT = 5.0, 50.0
#: Standard deviations above the neighbourhood, and side of the neighbourhood, likewise.
SIGMAS, WINDOW = 5.0, 64
#: Probability that noise lifts an ordinary pixel above 5 standard deviations and a lucky electron.
FALSE_RATE = 1e-6

#: Pixels with one level that are taken for telegraph pixels, at most.
FALSE_TELEGRAPH = 1e-4

_AXES = (("columns", "along columns"), ("rows", "along rows"))


@dataclass(frozen=True)
class PixelChapter:
    """Hot and warm pixels, and what lies behind them.

    Attributes
    ----------
    evidence : Evidence
        What they are from.
    standing : StandingOut or None
        From which dark current on a pixel stands out; None where D is not known.
    counts : list of HotCount
        Of warm, and of hot pixels.
    trails : list of DeferredCharge
        Along columns, and along rows.
    """

    evidence: Evidence
    standing: StandingOut | None
    counts: list[HotCount]
    trails: list[DeferredCharge]

    @classmethod
    def of(cls, evidence: Evidence) -> PixelChapter:
        """Find them."""
        if not evidence.has(2):
            return cls(evidence, None, [], [])
        values, errors = evidence.map(2)
        good = np.isfinite(values)
        step = evidence.electron_step
        standing = standing_out(values, errors, good, SIGMAS, WINDOW, step)
        median = float(np.median(values[good])) if good.any() else np.nan
        thresholds = [WARM * median, HOT * median]
        counts = hot_counts(values, errors, standing.limit, FALSE_RATE, thresholds)
        trails = [deferred_charge(values, errors, axis, step=step) for axis in (0, 1)]
        return cls(evidence, standing, counts, trails)

    def quantities(self) -> Iterator[Quantity]:
        """Numbers of pixels, and trails."""
        yield from self._counts()
        yield self._telegraph()
        yield from self._trails()

    def _counts(self) -> Iterator[Quantity]:
        for key, times, i in (("warm_pixels", WARM, 0), ("hot_pixels", HOT, 1)):
            head = key, key.replace("_", " "), "pixels"
            if not self.counts:
                yield Quantity.unknown(*head, self.evidence.why_no[2])
                continue
            found = self.counts[i]
            share = percent(found.hidden)
            hidden = f"in {share} of the pixels noise hides that much: a lower limit"
            yield Quantity.estimated(
                *head, found.count,
                f"pixels of more than {times:g} times the median dark current, "
                f"{number(found.threshold, 2)} e⁻/s, that stand out of the noise by {SIGMAS:g} "
                "standard deviations",
                note=hidden if found.hidden > 0.01 else "",
            )  # fmt: skip

    def _telegraph(self) -> Quantity:
        head, evidence = ("telegraph_pixels", "telegraph pixels", "pixels"), self.evidence
        if not evidence.telegraph:
            return Quantity.unknown(*head, evidence.no_telegraph)
        pixels = np.unique(np.concatenate([each.found.pixel for each in evidence.telegraph]))
        among = int((evidence.frame.imaging & evidence.frame.signal).sum())
        low, high = share_interval(pixels.size, among)
        stacks = ", ".join(str(len(each.stack.frames)) for each in evidence.telegraph)
        found = Estimate(pixels.size, 0.5 * (high - low) * among, low * among, high * among)
        return Quantity.estimated(
            *head, found,
            f"pixels with two levels in time, in means of every few frames of stacks of {stacks} "
            "frames",
            note=f"of {count(among)} pixels up to {number(FALSE_TELEGRAPH * among, 2)} may be "
            "found by chance; charge noise of large EM gains hides small steps",
        )  # fmt: skip

    def _trails(self) -> Iterator[Quantity]:
        for (name, words), i in zip(_AXES, range(2), strict=True):
            heads = (
                (f"deferred_charge_{name}", f"deferred charge, {words}", "%"),
                (f"trail_{name}", f"charge of the trail, {words}", "e⁻/s"),
            )
            if not self.trails:
                for head in heads:
                    yield Quantity.unknown(*head, self.evidence.why_no[2])
                continue
            found = self.trails[i]
            few = f"it takes 3 isolated hot pixels, and there are {found.pixels}"
            source = (
                f"neighbours of {found.pixels} isolated hot pixels, on the trailing side less on "
                f"the leading side; mean charge {number(found.hot_charge)} e⁻/s"
            )
            estimates = found.share.scaled(100.0), found.charge
            for head, estimate in zip(heads, estimates, strict=True):
                if np.isfinite(estimate.value):
                    yield Quantity.estimated(
                        *head, estimate, source,
                        note=self.evidence.by_gains if head[2] == "e⁻/s" else "",
                        frames=self.evidence.frames, falling=self.evidence.noise_share(2),
                    )  # fmt: skip
                else:
                    yield Quantity.unknown(*head, few)
