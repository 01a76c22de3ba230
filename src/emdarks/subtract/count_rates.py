"""Rates of frames whose electrons are counted, by the law of their dark."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Counted
from emdarks.darks.photon_counted import rates_and_errors
from emdarks.errors import EmdarksWarning, InputError
from emdarks.photon_counts import CountLaw, SeriesLaw

Array = npt.NDArray[Any]

#: Errors of a frame below this share of the binomial ones are none: a pixel's own share makes them
#: scatter, masked samples make them larger.
LEAST_ERROR = 0.5


@dataclass(frozen=True, slots=True)
class CountRates:
    """How counts of frames become electrons a frame: as those of the dark that is taken off them.

    Method page, eq. 29 (countdiff), by the series of eq. 27 (thirdorder) for a dark of the
    reference. Both rates are corrected before one is taken off the other: counts are no straight
    function of the rate.

    Attributes
    ----------
    law : CountLaw or SeriesLaw
        With threshold and EM gain of the frames, read noise and register of the dark.
    """

    law: CountLaw | SeriesLaw

    def of_counts(self, n: Array, above: Array) -> tuple[Array, Array]:
        """Rates of counts of several frames, and their binomial errors.

        Parameters
        ----------
        n, above : ndarray
            Good samples, and those of them above the threshold.

        Returns
        -------
        rate, err : ndarray
            Electrons a frame; NaN where no sample is good, or the counts tell no rate.
        """
        rate, err = rates_and_errors(n.reshape(-1), above.reshape(-1), self.law)
        rate[n.reshape(-1) == 0] = np.nan
        return rate.reshape(n.shape), err.reshape(n.shape)

    def of_frame(
        self, values: Array, err: Array, counted: Counted, name: str
    ) -> tuple[Array, Array]:
        """Rates of a frame that several others were counted into.

        Parameters
        ----------
        values, err : ndarray
            Its numbers and their errors.
        counted : Counted
            What they are.
        name : str
            The frame, for messages.

        Returns
        -------
        rate, err : ndarray
            As `of_counts`. The errors of rates are the frame's, where it has any.

        Raises
        ------
        InputError
            A number is none of this kind.
        """
        known = np.isfinite(values)
        n = np.where(known, counted.frames, 0)
        shares = np.where(known, values / counted.step, 0.0)
        series = SeriesLaw(self.law.threshold, self.law.gain)
        slope: Array | float = 1.0
        if counted.value == "rate":
            shares, slope = series.statistics(shares)
        _check_shares(shares, counted, name)
        if counted.value == "sum":
            _check_whole(shares * counted.frames, name)
        rate, binomial = self.of_counts(n, np.rint(shares * n))
        if counted.value == "rate" and isinstance(self.law, SeriesLaw):
            rate = np.where(known, values, np.nan)
        else:
            rate = np.where(known, _of_each(self.law, shares), np.nan)
        if counted.value != "rate":
            return rate, binomial
        with np.errstate(invalid="ignore"):
            own = err * slope / self.law.statistics(np.nan_to_num(rate))[1]
        # Where the reference counted nothing, its errors are 0.
        own = np.where(err > 0, own, np.where(np.isnan(err), err, binomial))
        return rate, binomial if _too_small(own, binomial, counted, name) else own


def _of_each(law: CountLaw | SeriesLaw, shares: Array) -> Array:
    """Rates of shares, each computed once: there are as many as there were frames."""
    kinds, where = np.unique(shares, return_inverse=True)
    return np.asarray(law.rate(kinds)[where].reshape(shares.shape))


def _too_small(own: Array, binomial: Array, counted: Counted, name: str) -> bool:
    """Whether errors of a frame are far below those of its counts; says so."""
    known = (own > 0) & (binomial > 0)
    ratio = float(np.median(own[known] / binomial[known])) if known.any() else 1.0
    if ratio < LEAST_ERROR:
        warnings.warn(
            f"{name}: its errors (ERR) are {ratio:.2g} of what counts of {counted.frames} frames "
            "have, as where variances were written for errors; those of the counts are used",
            EmdarksWarning,
            stacklevel=2,
        )
    return ratio < LEAST_ERROR


def _check_whole(sums: Array, name: str) -> None:
    """Refuse sums of counts that are no whole numbers.

    Raises
    ------
    InputError
        One is not.
    """
    wrong = np.abs(sums - np.rint(sums)) > 1e-3
    if wrong.any():
        raise InputError(
            f"{name}: {int(wrong.sum())} of its numbers are no sums of whole counts, the first "
            f"{sums[wrong][0]:.6g}: give the sums themselves, or look at [counting] of the camera "
            "file (value, one)"
        )


def _check_shares(shares: Array, counted: Counted, name: str) -> None:
    """Refuse numbers that are no shares of samples.

    Raises
    ------
    InputError
        One is below 0 or above 1.
    """
    wrong = (shares < -1e-9) | (shares > 1.0 + 1e-9)
    if wrong.any():
        worst = float(shares[wrong][np.argmax(np.abs(shares[wrong] - 0.5))])
        raise InputError(
            f"{name}: {int(wrong.sum())} of its numbers are no {counted}: counts in {worst:.4g} of "
            "the frames; look at [counting] of the camera file"
        )
