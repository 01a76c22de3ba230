"""What one electron becomes, against the distribution of a register stage by stage."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from emdarks.errors import InputError
from emdarks.fit.counting_terms import statistics
from emdarks.one_electron import (
    EXPONENTIAL,
    check_stages,
    excess_noise,
    one_electron,
)

Array = Any
#: T lies between two whole numbers of electrons.
NOISE, T = 165.0, 660.5
CHARGES = (0.001, 0.0108, 0.1088, 0.45, 1.5, 3.9)


@cache
def electrons(gain: float, stages: int) -> Array:
    """Transform of the numbers of electrons that leave for one, on a circle of whole numbers."""
    size = 1 << int(np.ceil(np.log2(60 * gain + 40 * NOISE)))
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    p = gain ** (1 / stages) - 1
    for _ in range(stages):
        z = (1 - p) * z + p * z**2
    return z


def samples(gain: float, stages: int, charge: float) -> tuple[Array, Array]:
    """Values and probabilities of samples, electrons rounded to whole numbers."""
    one = electrons(gain, stages)
    size = 2 * (one.size - 1)
    x = np.arange(size) - np.where(np.arange(size) > size - 20 * NOISE, size, 0)
    noise = np.fft.rfft(np.exp(-((x / NOISE) ** 2) / 2) / (NOISE * np.sqrt(2 * np.pi)))
    law = np.fft.irfft(np.exp(charge * (one - 1)) * noise, size)
    order = np.argsort(x)
    return x[order].astype(float), law[order]


def expected(gain: float, stages: int, charge: float, d: float) -> dict[str, float]:
    """K, LO and HI of samples below T + d, and their covariances."""
    x, law = samples(gain, stages, charge)
    kept = (x <= T + d) if d else (x <= T)
    law = np.where(kept, law, 0) / law[kept].sum()
    each = {"K": x > T, "LO": np.minimum(x - T, 0), "HI": np.maximum(x - T, 0)}
    if not d:
        each = {"K": x - T}
    found = {name: float((law * values).sum()) for name, values in each.items()}
    for a, one in each.items():
        for b, other in list(each.items())[list(each).index(a) :]:
            product = float((law * one * other).sum())
            found[f"V_{a[0]}{b[0]}"] = product - found[a] * found[b]
    return found


#: Relative errors of 604 stages. The mixture has the register's total, mean and variance, and its
#: probability and mean excess above T; nothing in it knows of the mean square up to T2, so that
#: V_HH, which only weights of warm pixels take, is the roughest.
COUNTED = {"K": 3.5e-4, "LO": 1e-3, "HI": 2.5e-3, "V_HH": 1.5e-2}
COUNTED |= {"V_KK": 1e-3, "V_KL": 1e-3, "V_LL": 1.2e-3, "V_KH": 2.5e-3, "V_LH": 2.5e-3}
BELOW = {"K": 1e-4, "V_KK": 4e-4}


@pytest.mark.parametrize("stages", [604, 150])
@pytest.mark.parametrize("gain", [2.0, 60.0, 200.0, 500.0, 1500.0, 5000.0])
def test_statistics_are_those_of_the_register(gain: float, stages: int) -> None:
    """Errors grow as the register is shorter."""
    electron = one_electron(gain, NOISE, stages, T)
    d = 0.0 if gain < 2 * NOISE else NOISE + 6 * gain
    for charge in CHARGES:
        found = statistics(T, charge, gain, NOISE, d, electron)
        for name, value in expected(gain, stages, charge, d).items():
            rough = (COUNTED if d else BELOW)[name] * 604 / stages
            assert found[name][0] == pytest.approx(value, rel=rough, abs=1e-9), (name, charge)


def test_an_exponential_would_be_off() -> None:
    value = expected(5000.0, 604, 0.0108, 45165.0)["K"]
    ratio = statistics(T, 0.0108, 5000.0, NOISE, 45165.0)["K"][0] / value
    assert ratio == pytest.approx(1 - 0.0045, abs=5e-4)


@pytest.mark.parametrize("gain", [50.0, 700.0, 6000.0])
def test_mean_and_variance_are_exact(gain: float) -> None:
    """Against simulated registers' own moments: total, mean and variance of one electron."""
    h = one_electron(gain, NOISE, 604, T)
    n = np.arange(5)
    assert h.sum() == pytest.approx(1, abs=1e-12)
    assert h @ n == pytest.approx(1, abs=1e-12)
    p = gain ** (1 / 604) - 1
    variance = sum((1 - p) * p * (1 + p) ** (2 * 603 - k) for k in range(604))
    assert h @ (n * (n + 1)) - 1 == pytest.approx(variance / gain**2, rel=1e-9)


def test_many_stages_are_an_exponential() -> None:
    many = one_electron(8000.0, NOISE, 10**5, T)
    np.testing.assert_allclose(many, EXPONENTIAL, atol=2e-3)
    np.testing.assert_array_equal(one_electron(800.0, NOISE, np.inf, T), EXPONENTIAL)
    assert excess_noise(5000.0, 604) == pytest.approx(1.972, abs=5e-4)


def test_slopes_against_differences() -> None:
    electron, d, h = one_electron(900.0, NOISE, 604, T), NOISE + 9 * 900.0, 5e-3
    for charge in (0.011, 0.3, 2.5):
        found = statistics(T, charge, 900.0, NOISE, d, electron)
        fewer, more = (statistics(T, charge + by, 900.0, NOISE, d, electron) for by in (-h, h))
        left, right = (statistics(T + by, charge, 900.0, NOISE, d, electron) for by in (-1, 1))
        for name in ("K", "LO", "HI"):
            slope = (more[name][0] - fewer[name][0]) / (2 * h)
            assert found[f"{name}_l"][0] == pytest.approx(slope, rel=1e-2), name
            slope = (left[name][0] - right[name][0]) / 2
            assert found[f"{name}_F"][0] == pytest.approx(slope, rel=1e-3), name


def test_short_registers_are_refused() -> None:
    check_stages(100)
    with pytest.raises(InputError, match="99 stages of the gain register are fewer than 100"):
        check_stages(99)
