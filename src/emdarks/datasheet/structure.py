"""What is not alike over the detector, and not linear: glow, fixed pattern, residuals of stacks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.checks.formatting import number
from emdarks.datasheet.evidence import Evidence
from emdarks.datasheet.quantity import Quantity
from emdarks.datasheet.samples import SampleChapter
from emdarks.fit.fixed_pattern import FixedPattern, fixed_pattern
from emdarks.fit.glow import Glow, fit_glow
from emdarks.fit.linearity import ImageMeans, Linearity, image_means, linearity
from emdarks.fit.row_noise import NO_ROW_NOISE, RowNoise, row_noise

Array = npt.NDArray[Any]

#: Stacks whose samples show their charge that are enough for C, D and a square.
LEAST_STACKS = 3
#: By so much, as a share, squares of the errors of maps of means may be off: few frames and cosmic
#: rays that are not flagged make them larger than the scatter.
ERRORS_OF_MEANS = 0.04


@dataclass(frozen=True)
class StructureChapter:
    """Glow, fixed pattern and linearity.

    Attributes
    ----------
    evidence : Evidence
        What they are from.
    glow : Glow or None
        Surface of D; None where D is not known.
    pattern : FixedPattern or None
        Of the level F; None where there are no maps.
    linearity : Linearity or None
        Of the image means; None where there are no maps.
    rows : RowNoise
        What all pixels of a row have in common in a frame.
    """

    evidence: Evidence
    glow: Glow | None
    pattern: FixedPattern | None
    linearity: Linearity | None
    rows: RowNoise = NO_ROW_NOISE

    @classmethod
    def of(cls, evidence: Evidence, samples: SampleChapter) -> StructureChapter:
        """Measure; signals of stacks as their samples show them, where three stacks do."""
        glow = fit_glow(evidence.map(2)[0]) if evidence.has(2) else None
        if evidence.maps is None:
            return cls(evidence, glow, None, None)
        moments, gain = evidence.moments_inside, evidence.maps.gain
        ordinary = evidence.image(evidence.ordinary)
        fitted = evidence.maps.model.fitted.tolist()
        rows = row_noise(*moments, gain, evidence.time, ordinary, fitted)
        uncertain = ERRORS_OF_MEANS if evidence.counted is None else 0.0
        pattern = fixed_pattern(*evidence.map(0), _rows_of_level(evidence, rows), uncertain)
        if sum(each is not None for each in samples.charges) >= LEAST_STACKS:
            signals = _signals(samples)
            by_samples = linearity(evidence.gain, evidence.time, signals, (False, True, True))
            return cls(evidence, glow, pattern, by_samples, rows)
        if evidence.cut:
            return cls(evidence, glow, pattern, None, rows)
        use = evidence.image(evidence.maps.fit.fitted)
        size = use.shape[0]
        means = image_means(*moments, use.reshape(-1), max(rows.variance, 0.0), size)
        means = _with_gain_errors(evidence, means, gain)
        straight = linearity(gain, evidence.time, means, fitted)
        return cls(evidence, glow, pattern, straight, rows)

    def quantities(self) -> Iterator[Quantity]:
        """Amplitudes."""
        yield self._glow()
        yield self._row_noise()
        yield from self._pattern()
        yield from self._linearity()

    def _glow(self) -> Quantity:
        head = "glow", "glow, peak to valley", "e⁻/pixel/s"
        if self.glow is None:
            return Quantity.unknown(*head, self.evidence.why_no[2])
        if not np.isfinite(self.glow.amplitude.value):
            return Quantity.unknown(*head, "too few pixels are fitted")
        return Quantity.estimated(
            *head, self.glow.amplitude,
            f"surface of second degree in D, over {self.glow.pixels} pixels that are not hot; "
            f"a flat detector gives as much with a probability of {number(self.glow.p_value, 2)}",
            note="; ".join(
                filter(None, [
                    "tails of cosmic rays that are not flagged look like glow along the rows",
                    self.evidence.by_gains,
                ])
            ),
            frames=self.evidence.frames, falling=self.evidence.noise_share(2),
        )  # fmt: skip

    def _row_noise(self) -> Quantity:
        head = "row_noise", "noise that a row shares", "e⁻"
        if not np.isfinite(self.rows.frame.value):
            return Quantity.unknown(*head, self.evidence.no_maps or "too few stacks tell it")
        return Quantity.estimated(
            *head, self.rows.frame,
            "what means of rows differ by from stack to stack, of one frame; low EM gains tell it",
            note="a part of the read noise: the bias of a row is subtracted with an error",
        )  # fmt: skip

    def _pattern(self) -> Iterator[Quantity]:
        for name in ("rows", "columns", "pixels"):
            head = f"fixed_pattern_{name}", f"pattern of {name}, rms", "e⁻"
            if self.pattern is None:
                yield Quantity.unknown(*head, self.evidence.no_maps)
                continue
            estimate = getattr(self.pattern, name)
            # Means of rows differ by their pixels, too, which more frames do not make alike.
            falling = 1.0 if name == "pixels" else self.evidence.noise_share(0)
            if np.isfinite(estimate.value):
                yield Quantity.estimated(
                    *head, estimate,
                    f"what {name} of F differ by beyond noise, {self.pattern.pixels_used} pixels",
                    frames=self.evidence.frames, falling=falling,
                )  # fmt: skip
            else:
                yield Quantity.unknown(*head, "too few pixels are fitted")

    def _linearity(self) -> Iterator[Quantity]:
        for name, words in (("time", "exposure time"), ("gain", "EM gain")):
            head = f"nonlinearity_{name}", f"nonlinearity in {words}", "%"
            estimate = None if self.linearity is None else getattr(self.linearity, name)
            if estimate is None:
                yield Quantity.unknown(*head, self.evidence.no_maps or self.evidence.cut)
            elif np.isfinite(estimate.value):
                yield Quantity.estimated(
                    *head, estimate.scaled(100.0),
                    f"share of the signal at the largest {words} that grows with its square; the "
                    "rest taken as linear",
                    frames=self.evidence.frames,
                )  # fmt: skip
            else:
                yield Quantity.unknown(*head, f"too few stacks of different {words} tell it")


def _rows_of_level(evidence: Evidence, rows: RowNoise) -> tuple[float, float]:
    """Variance of rows of F by the noise that they have in common, and its error.

    Counted maps take F from all stacks, means from those of low gain alone. In counted ones it is
    the same share of the error of a pixel as of the noise of a sample.
    """
    if evidence.counted is None:
        return rows.of_map(0)
    errors = evidence.map(0)[1]
    share = float(np.nanmedian(errors**2)) / evidence.counted.read_noise**2
    return share * rows.variance, share * rows.error


def _with_gain_errors(evidence: Evidence, means: ImageMeans, gain: Array) -> ImageMeans:
    """Errors of measured gains move the means of stacks that they multiply."""
    if evidence.counted is None:
        return means
    relative = evidence.counted.gains.error / gain
    signal = means.mean - means.mean[int(np.argmin(gain))]
    return means._replace(error=np.hypot(means.error, relative * signal))


def _signals(samples: SampleChapter) -> ImageMeans:
    """Charge of ordinary pixels times gain, as the samples of each stack show it.

    Cosmic rays are part of the law of samples; they move means far more than a detector departs
    from a line.
    """
    gain = samples.evidence.gain
    none = math.nan, math.nan
    found = [none if c is None else (c.image.value, c.image.error) for c in samples.charges]
    charge, error = np.array(found).T
    return ImageMeans(gain * charge, gain * error, int(samples.evidence.frame.imaging.sum()))
