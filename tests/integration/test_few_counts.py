"""The counting estimator where a pixel counts less than one electron in all frames together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emdarks import Dataset, Image, Threads, calibrate_darks_lsq
from emdarks.data import DetectorNoiseMaps
from emdarks.errors import CalDarksLSQException
from emdarks.fits import fits
from emdarks.simulate import Effects, Truth, make_truth, simulate_stack

STACKS = ((1.0, 2.0), (1.0, 100.0), (1000.0, 60.0), (5000.0, 2.0), (5000.0, 40.0), (5000.0, 100.0))


def truth_with(charge: float) -> Truth:
    """A detector whose C and D are so many times those of EXCAM."""
    truth = make_truth("excam-small", 5, level="1")
    C, D = (charge * plane for plane in (truth.clock_induced_charge, truth.dark_current))
    return replace(truth, clock_induced_charge=C, dark_current=D)


def maps_of(truth: Truth, frames: int) -> DetectorNoiseMaps:
    rng = np.random.default_rng(11)
    images = []
    for gain, time in STACKS:
        data, dq = simulate_stack(
            truth, truth.true_gain(gain), time, frames, rng, effects=Effects.none()
        )
        cards = {"EXPTIME": time, "EMGAIN_C": gain, "KGAINPAR": 8.7, "CAMERA": "excam-small",
                 "BUNIT": "detected EM electron"}  # fmt: skip
        images += [
            Image(frame, fits.Header(), fits.Header(cards), dq=flags)
            for frame, flags in zip(data, dq, strict=True)
        ]
    return calibrate_darks_lsq(
        Dataset(images), None, estimator="counting", flag_level=81_000.0, executor=Threads(1)
    )


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
@pytest.mark.parametrize("charge", [0.2, 1.0])
def test_means_are_right_though_most_pixels_counted_nothing(charge: float) -> None:
    truth = truth_with(charge)
    maps = maps_of(truth, frames=3)
    signed, errors = maps.extra("SIGNED"), np.asarray(maps.err).reshape(3, *maps.data.shape[1:])
    assert signed is not None
    inside = truth.imaging_area
    cold = truth.dark_current[inside] < 5 * np.median(truth.dark_current[inside])
    for k, true in ((1, truth.clock_induced_charge), (2, truth.dark_current)):
        found, own = signed[k][inside][cold], errors[k][inside][cold]
        error = np.sqrt((own**2).mean() / own.size)
        assert abs(found.mean() - true[inside][cold].mean()) < 4 * error, k
    hot = truth.dark_current[inside] > 300 * np.median(truth.dark_current[inside])
    assert np.median(signed[2][inside][hot] / truth.dark_current[inside][hot]) == pytest.approx(
        1, abs=0.1
    )


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
def test_hardly_any_counts_are_refused_in_one_line() -> None:
    with pytest.raises(CalDarksLSQException, match=r"0\.0\d+ electrons are counted in an ordinary"):
        maps_of(truth_with(0.03), frames=3)
