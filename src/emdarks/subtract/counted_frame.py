"""Counted frames less their dark, in electrons a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.accumulate import Threads
from emdarks.accumulate.blocks import FigureArea, FrameFigures
from emdarks.cameras import Counted
from emdarks.checks.against_camera import holds_counts
from emdarks.counting_sums import CountsAbove
from emdarks.dq import ALL_BITS, DQ
from emdarks.errors import InputError
from emdarks.fits import astropy_fits as fits
from emdarks.photon_counts import SeriesLaw
from emdarks.stacks import Stack, jobs_of
from emdarks.stacks.counts import of_counts
from emdarks.subtract.count_rates import CountRates
from emdarks.subtract.subtracted_frame import SubtractedFrame

Array = npt.NDArray[Any]

#: Electrons a frame up to which two steps of Newton's rule solve the series of third order: beyond,
#: frames of the Coronagraph's pipeline may have other rates than their counts make.
MOST_OF_SERIES = 1.5


class CountedFrame(SubtractedFrame):
    """The rate of counted electrons less that of the dark.

    Of a frame that several were counted into, or of all single frames of a stack: one count tells
    no rate.
    """

    @property
    def _counted(self) -> Counted:
        assert self.counted is not None
        return self.counted

    @property
    def _rates(self) -> CountRates:
        rates = self._step.darks.rates(self._step.stack)
        assert rates is not None
        return rates

    @property
    def frames_counted(self) -> int:
        """Frames in which the electrons were counted."""
        single = self._counted.value == "count"
        return len(self._step.stack.frames) if single else self._counted.frames

    def _pixels(self) -> tuple[Array, Array, Array]:
        if self._counted.value == "count":
            return self._of_stack()
        values, err, flags = super()._pixels()
        values[self._step.telemetry] = np.nan
        rate, noise = self._rates.of_frame(values, err, self._counted, self.source_name)
        if self._counted.value == "rate":
            bright = (values > MOST_OF_SERIES) * np.uint16(DQ.TOO_BRIGHT)
            flags = np.bitwise_or(flags, bright)
        return rate, noise, flags

    def _check_numbers(self, values: Array, telemetry: Array) -> None:
        """Rates of counts are checked when they are made."""

    def _of_stack(self) -> tuple[Array, Array, Array]:
        stack, section = self._step.stack, self._step.sections.frame
        shape = stack.frames[0].record.shape
        scales, at = of_counts(stack)
        (job,) = jobs_of([stack], [scales], ALL_BITS, self._area(shape), counting=[(at, None)])
        sums = Threads().sums(job)
        _check_counts(stack, sums.figures)
        counts = sums.moments.counting
        assert isinstance(counts, CountsAbove)
        n, above = (x.reshape(shape)[section] for x in (sums.moments.n, counts.above))
        rate, err = self._rates.of_counts(n, above)
        flags = sums.moments.flags.reshape(shape)[section]
        return rate, err, np.where(n > 0, 0, flags).astype(flags.dtype)

    def _area(self, shape: tuple[int, int]) -> FigureArea:
        """The pixels that are used, telemetry left out."""
        (first, last, _), (left, right, _) = (
            part.indices(size) for part, size in zip(self._step.sections.frame, shape, strict=True)
        )
        rows = self._step.telemetry
        if rows.stop > rows.start:  # before or behind the image, never inside it
            first, last = (rows.stop, last) if rows.start <= first else (first, rows.start)
        return FigureArea((first, last), (left, right), (0, 0))

    def _what_was_done(self) -> str:
        law, own = self._rates.law, self._counted
        names = [item.record.name for item in self._step.stack.frames]
        which = f" ({names[0]} to {names[-1]})" if own.value == "count" else ""
        by = "the series of third order" if isinstance(law, SeriesLaw) else "the law of a sample"
        return (
            f"{own}, {self.frames_counted} frames{which}, to electrons a frame by {by} at EM gain "
            f"{law.gain:.6g}"
        )

    def _describe(self, header: fits.Header) -> None:
        super()._describe(header)
        header["PCTHRESH"] = (self._counted.threshold, "threshold, EM electrons")
        header["NUM_FR"] = (self.frames_counted, "frames counted")


def _check_counts(stack: Stack, figures: tuple[FrameFigures, ...]) -> None:
    """Refuse frames of other numbers than counts.

    Raises
    ------
    InputError
        Names the first.
    """
    for item, frame in zip(stack.frames, figures, strict=True):
        if not holds_counts(frame, stack.em_gain):
            raise InputError(
                f"{item.record.name}: holds other numbers than counts of 0 and "
                f"{item.record.counted.one if item.record.counted else 1:g}; look at [counting] of "
                "the camera file"
            )
