"""The law of a sample against numeric integration, and its derivatives against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from emdarks import _core
from emdarks.one_electron import EXPONENTIAL

Array = Any
NOISE = 165.0
THREE = ("K", "LO", "HI")


def statistics(
    u: Array,
    charge: Array,
    distance: float,
    gain: float,
    noise: float = NOISE,
    electron: Array = EXPONENTIAL,
) -> dict[str, Array]:
    u, charge = np.broadcast_arrays(np.atleast_1d(u).astype(float), charge)
    out = np.empty((len(_core.COUNTING_STATISTICS), u.size))
    arguments = np.ascontiguousarray(u), np.ascontiguousarray(charge, float)
    _core.counting_statistics(*arguments, distance, gain, noise, electron, out)
    return dict(zip(_core.COUNTING_STATISTICS, out, strict=True))


def density(gain: float, charge: float, noise: float) -> tuple[Array, Array]:
    """Probability of samples on a fine grid: the register's law convolved with the noise."""
    step = min(gain, noise) / 200
    electrons = np.arange(1, 40)
    weight = stats.poisson.pmf(electrons, charge)
    most = stats.gamma.isf(1e-13, 12, scale=gain) if charge < 2 else 60 * gain
    y = np.arange(0, int(most / step) + 1) * step
    edges = np.concatenate([[0], y + step / 2])
    register = np.zeros(y.size)
    for n, w in zip(electrons, weight, strict=True):
        if w > 1e-16:
            register += w * np.diff(stats.gamma.cdf(edges, n, scale=gain))
    register[0] += np.exp(-charge)
    z = np.arange(-int(12 * noise / step), int(12 * noise / step) + 1) * step
    gauss = np.diff(stats.norm.cdf(np.append(z, z[-1] + step) - step / 2, scale=noise))
    size = register.size + gauss.size - 1
    mixed = np.fft.irfft(np.fft.rfft(register, size) * np.fft.rfft(gauss, size), size)
    return z[0] + np.arange(size) * step, mixed


@pytest.mark.parametrize(
    ("gain", "charge"),
    [(5000.0, 0.02), (500.0, 0.11), (500.0, 3.0), (100.0, 0.3), (50.0, 0.1), (165.0, 1.2)],
)
def test_law_against_a_convolution(gain: float, charge: float) -> None:
    x, weight = density(gain, charge, NOISE)
    step = x[1] - x[0]  # thresholds lie between two cells
    u, d = (round(4 * NOISE / step) - 0.5) * step, round((NOISE + 9 * gain) / step) * step
    found = statistics(u, charge, d, gain)
    above = np.maximum(x - u, 0)
    expected = {"P": weight[x > u].sum(), "H": (weight * above).sum()}
    expected["Q"] = (weight * above**2).sum()
    kept = x <= u + d
    share = weight[kept].sum()
    each = {
        "K": ((x > u) & kept).astype(float),
        "LO": np.minimum(x - u, 0) * kept,
        "HI": above * kept,
    }
    for name, values in each.items():
        expected[name] = (weight * values).sum() / share
    for one, other in [("K", "K"), ("K", "L"), ("K", "H"), ("L", "L"), ("L", "H"), ("H", "H")]:
        a, b = (each[next(n for n in THREE if n[0] == key)] for key in (one, other))
        product = (weight * a * b).sum() / share
        expected[f"V_{one}{other}"] = product - (weight * a).sum() * (weight * b).sum() / share**2
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, rel=1e-4), name


def test_law_against_samples() -> None:
    """Four million samples, within five standard errors."""
    rng = np.random.default_rng(3)
    gain, charge, u, size = 1000.0, 0.3, 600.0, 4_000_000
    electrons = rng.poisson(charge, size)
    x = rng.normal(0, NOISE, size)
    x[electrons > 0] += rng.gamma(electrons[electrons > 0], gain)
    found = statistics(u, charge, 9000.0, gain)
    for name, values in {
        "P": x > u,
        "H": np.maximum(x - u, 0),
        "Q": np.maximum(x - u, 0) ** 2,
    }.items():
        error = values.std() / np.sqrt(size)
        assert abs(values.mean() - found[name][0]) < 5 * error, name
    kept = x[x <= u + 9000.0] - u
    three = np.stack([kept > 0, np.minimum(kept, 0), np.maximum(kept, 0)])
    for row, name in zip(three, THREE, strict=True):
        assert abs(row.mean() - found[name][0]) < 5 * row.std() / np.sqrt(kept.size), name
    expected = np.array(
        [
            [found[f"V_{''.join(sorted(p, key='KLH'.index))}"][0] for p in (a + b for b in "KLH")]
            for a in "KLH"
        ]
    )
    np.testing.assert_allclose(np.cov(three), expected, rtol=0.01)


@settings(max_examples=60)
@given(
    gain=st.sampled_from([1.0, 20.0, 41.0, 42.0, 100.0, 370.0, 2000.0, 5000.0]),
    charge=st.floats(-0.3, 8.0),
    u=st.floats(300.0, 900.0),
    low=st.booleans(),
)
def test_derivatives_against_differences(gain: float, charge: float, u: float, low: bool) -> None:
    if gain < NOISE / 4:  # an approximation; the mean below T alone is taken from it
        low, charge = True, min(charge, NOISE / gain, 4.0)
    distance = 0.0 if low else NOISE + 9 * gain
    found = statistics(u, charge, distance, gain)
    # The number of terms of the Poisson series changes at some charges, which a smaller step would
    # make a slope of.
    step, h = 1e-2, 2e-2
    less, more = (statistics(u + by, charge, distance, gain) for by in (step, -step))
    fewer, extra = (statistics(u, charge + by, distance, gain) for by in (-h, h))
    same_sign = statistics(u, abs(charge), distance, gain)
    for name in THREE[:1] if low else THREE:
        # Below rn/4 the law is an approximation, whose derivatives are those of the true law.
        rough = 1e-4 if gain > NOISE / 4 else 5e-2
        size = max(abs(found["H"][0]), abs(found[name][0]), 1e-3)
        by_F = (more[name][0] - less[name][0]) / (2 * step)
        by_charge = (extra[name][0] - fewer[name][0]) / (2 * h)
        least = 1e-5 * rough * size + 1e-10
        assert found[f"{name}_F"][0] == pytest.approx(by_F, rel=rough, abs=least), name
        # Below 0 terms of both signs nearly cancel: what is left is as exact as each of them.
        term = abs(same_sign[f"{name}_l"][0]) if charge < 0 else 0.0
        assert found[f"{name}_l"][0] == pytest.approx(
            by_charge, rel=max(2e-2, 10 * rough), abs=1e-4 * size + 3e-2 * term
        ), name


def test_a_point_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(4)
    u, charge = rng.uniform(-500, 3000, 37), rng.uniform(-0.5, 12, 37)
    together = statistics(u, charge, 4000.0, 500.0)
    for i in range(37):
        alone = statistics(u[i], charge[i], 4000.0, 500.0)
        for name, values in together.items():
            assert values[i] == alone[name][0]


def test_without_charge_samples_are_noise() -> None:
    u = np.linspace(-900, 900, 50)
    found = statistics(u, 0.0, 0.0, 500.0)
    z = u / NOISE
    np.testing.assert_allclose(found["P"], stats.norm.sf(z), 1e-11, 1e-15)
    excess = NOISE * stats.norm.pdf(z) - u * stats.norm.sf(z)
    np.testing.assert_allclose(found["H"], excess, 1e-9, 1e-12)


def test_many_electrons() -> None:
    """A hot pixel below the full well: the sum of many gains is nearly normal."""
    gain, charge = 500.0, 100.0
    sigma = np.sqrt(NOISE**2 + 2 * gain**2 * charge)
    found = statistics(gain * charge, charge, 0.0, gain)
    assert found["P"][0] == pytest.approx(0.5, abs=0.02)
    assert found["H"][0] == pytest.approx(sigma / np.sqrt(2 * np.pi), rel=0.01)


def test_refusals() -> None:
    out = np.empty((21, 1))
    one = np.ones(1)
    with pytest.raises(ValueError, match="positive"):
        _core.counting_statistics(one, one, 1.0, 0.0, 1.0, EXPONENTIAL, out)
    with pytest.raises(ValueError, match="charge must have shape"):
        _core.counting_statistics(one, np.ones(2), 1.0, 1.0, 1.0, EXPONENTIAL, out)
