"""Samples that are not what their headers say: a result or none, and no warnings of NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emdarks.counting_sums import HistogramBins
from emdarks.fit.histogram_fit import Likelihood
from emdarks.fit.register_charge import StackHistograms, fit_charges
from emdarks.fit.sample_law import CHARGE, Charges


def histograms(
    seed: int, true: float, stated: float, charge: float, noise: float, flagged: float = math.inf
) -> StackHistograms:
    """Samples of one gain that are said to have another, with hot pixels that are not there."""
    rng = np.random.default_rng(seed)
    bins = HistogramBins.of(0.0, noise)
    electrons = rng.poisson(charge, 20_000)
    out = rng.gamma(np.maximum(electrons, 1e-9), true) if true > 1 else electrons
    samples = out + rng.normal(0, noise, electrons.size), rng.normal(0, noise, 6000)
    counts = np.stack([np.histogram(each, bins.edges)[0] for each in samples])
    hot = Charges(np.array([[1.0, 39.0], [0.003, 0.002]]), 0.995, 0.9)
    return StackHistograms(counts, bins, stated, flagged, hot)


@pytest.mark.parametrize(
    ("seed", "true", "stated", "charge", "noise", "flagged"),
    [
        (2, 2.0, 300.0, 50.0, 13.0, 900.0),
        (1, 1000.0, 300.0, 10.0, 13.0, math.inf),
        (1, 30.0, 300.0, 10.0, 13.0, 900.0),
        (1, 5000.0, 1000.0, 0.1, 100.0, 3000.0),
        (1, 1.0, 5000.0, 0.0, 100.0, math.inf),
    ],
)
def test_wrong_labels_make_no_warnings(
    seed: int, true: float, stated: float, charge: float, noise: float, flagged: float
) -> None:
    """Every warning is an error here."""
    found = fit_charges(histograms(seed, true, stated, charge, noise, flagged))
    if found is not None:
        assert math.isfinite(found.gain.value)
        assert found.gain.error > 0


def test_flags_from_the_noise_on_leave_nothing_to_fit() -> None:
    assert fit_charges(histograms(2, 1000.0, 1000.0, 50.0, 160.0, 3000.0)) is None


def test_a_law_that_says_nothing_is_no_fit() -> None:
    stack = histograms(1, 300.0, 300.0, 0.1, 13.0)
    part = stack.part(0)
    unknown = stack.start()
    unknown[CHARGE] = -1e6
    likelihood = Likelihood([part], np.full(11, -np.inf), np.full(11, np.inf), *np.ones((2, 11)))
    with pytest.raises(np.linalg.LinAlgError, match="says nothing"):
        likelihood.maximum(unknown)
