"""Numbers of a whole group of pixels, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emdarks import _core
from emdarks.accumulate import Threads
from emdarks.fit import noise_model
from emdarks.fit.robust_statistics import Group, intrinsic_variance, population

PIXELS = 150_001


def group(of: Any, member: int = 1, threads: int = 1, skip: int = 7) -> Group:
    """A group over bands that leave the first pixels out."""
    ranges = [(lo, min(lo + 40_000, of.size)) for lo in range(skip, of.size, 40_000)]
    return Group(of, member, ranges, Threads(threads))


def planes(seed: int = 3) -> tuple[Any, Any, Any]:
    """Groups, values with a slope over the frame, squared errors."""
    rng = np.random.default_rng(seed)
    of = rng.integers(-1, 3, PIXELS).astype(np.int8)
    x = rng.normal(size=PIXELS) + np.linspace(0, 2, PIXELS)
    return of, x, rng.uniform(0.5, 2.0, PIXELS)


def test_the_median_is_exact() -> None:
    of, x, _ = planes()
    for member in (0, 1):
        here = of == member
        assert here.sum() > _core.FEW_SAMPLES
        assert group(of, member).median(x) == np.median(x[here])
    of[200:] = -1
    assert group(of).median(x) == np.median(x[of == 1])
    assert np.isnan(group(of, 5).median(x))


def test_levels_and_spreads_equal_those_of_whole_arrays() -> None:
    of, x, error2 = planes()
    error2[11] = 1e9  # weights are cut at a millionth of the largest
    of[11] = 1
    here = np.flatnonzero(of == 1)
    here = here[here >= 7]
    members = group(of)
    found = population(members, x, error2)
    w = 1 / np.maximum(error2[here] / error2[here].max(), 1e-6)
    assert found.size == here.size
    assert found.mean == pytest.approx((w * x[here]).sum() / w.sum(), rel=1e-12)
    assert found.error2 == pytest.approx(error2[here].mean(), rel=1e-12)
    ordinary = error2[here] < 1e8
    of[here[~ordinary]] = -1
    found = population(members, x, error2)
    expected = noise_model.intrinsic_variance(x[here[ordinary]], error2[here[ordinary]])
    assert expected > 0.1
    assert intrinsic_variance(members, x, error2, found) == pytest.approx(expected, rel=1e-10)


def test_means_and_covariances() -> None:
    of, x, y = planes()
    here = np.flatnonzero(of == 1)
    here = here[here >= 7]
    size, means = group(of).means(np.array([x, y]))
    assert size == here.size
    np.testing.assert_allclose(means, [x[here].mean(), y[here].mean()], rtol=1e-13)
    covariance = group(of).covariance(x, y, means[0], means[1])
    assert covariance == pytest.approx(np.cov(x[here], y[here], ddof=0)[0, 1], rel=1e-9)
    assert group(of, 5).means(np.array([x])) == (0, 0.0)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    of, x, error2 = planes()
    one, two = (population(group(of, 1, threads), x, error2) for threads in (1, 2))
    assert one == two
    assert intrinsic_variance(group(of, 1, 1), x, error2, one) == intrinsic_variance(
        group(of, 1, 2), x, error2, two
    )
