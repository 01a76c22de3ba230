"""The bias of a curved law, against fits of drawn statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emdarks.fit.counting_errors import Expectations, curvature_bias
from emdarks.fit.counting_terms import statistics
from emdarks.one_electron import EXPONENTIAL

Array = Any
NOISE, T = 165.0, 660.0
TRUE = np.array([3.0, 0.0088, 0.001])
#: Gain and time of each stack; samples of each.
STACKS = ((50.0, 2.0), (50.0, 90.0), (500.0, 10.0), (5000.0, 5.0), (5000.0, 90.0))
KEPT = np.array([12.0, 9.0, 11.0, 10.0, 8.0])


def distance(gain: float) -> float:
    return NOISE + 6 * gain if gain > 2 * NOISE else 0.0


def expected(gain: float, time: float, at: Array) -> tuple[Array, Array]:
    """Statistics and derivatives where pixels are, shapes (names, pixels), (names, 3, pixels)."""
    F, C, D = at
    found = statistics(T - F, C + time * D, gain, NOISE, distance(gain))
    names = ("K", "LO") if distance(gain) else ("K",)
    slopes = [[found[f"{x}_F"], found[f"{x}_l"], time * found[f"{x}_l"]] for x in names]
    return np.array([found[x] for x in names]), np.array(slopes)


def fitted(noises: list[Array], each: list[Expectations]) -> Array:
    """F, C and D of drawn statistics, by Gauss-Newton with the weights of the truth."""
    pixels = noises[0].shape[1]
    right = np.repeat(TRUE[:, None], pixels, axis=1)
    found = right.copy()
    scale = np.array([1.0, 1e3, 1e4])
    for _ in range(8):
        A, b = np.zeros((pixels, 3, 3)), np.zeros((pixels, 3))
        for (gain, time), noise, one, n in zip(STACKS, noises, each, KEPT, strict=True):
            truth, _ = expected(gain, time, right)
            now, J = expected(gain, time, found)
            W = n * np.linalg.inv(one.variance)
            A += np.einsum("ikp,ij,jlp->pkl", J, W, J)
            b += np.einsum("ikp,ij,jp->pk", J, W, truth + noise - now)
        step = np.linalg.solve(A / scale[:, None] / scale, (b / scale)[:, :, None])[:, :, 0]
        found += (step / scale).T
    return found


def test_bias_of_curvature_is_that_of_fits() -> None:
    """Noise and its mirror image cancel but for what is curved; a quarter of it leaves no more."""
    rng = np.random.default_rng(6)
    F, C, D = TRUE
    each = [
        Expectations.of(T - F, distance(g), g, t, NOISE, C + t * D, EXPONENTIAL) for g, t in STACKS
    ]
    bias, covariance = curvature_bias(each, KEPT, dark=True)
    noises = []
    for one, n in zip(each, KEPT, strict=True):
        half = np.linalg.cholesky(one.variance / n) @ rng.standard_normal((len(one.variance), 2000))
        noises.append(0.25 * np.concatenate([half, -half], axis=1))
    found = fitted(noises, each) - TRUE[:, None]
    both = (found[:, :2000] + found[:, 2000:]) / 2 * 16
    error = both.std(axis=1) / np.sqrt(2000)
    assert (np.abs(both.mean(axis=1) - bias) < 4 * error).all()
    assert bias[2] > 8 * error[2]
    assert np.sqrt(np.diag(covariance)) / 4 == pytest.approx(found.std(axis=1), rel=0.06)


def test_no_dark_current_no_bias_of_it() -> None:
    each = [Expectations.of(T, distance(g), g, 0.0, NOISE, 0.0088, EXPONENTIAL) for g, _ in STACKS]
    bias, covariance = curvature_bias(each, KEPT, dark=False)
    assert bias[1] > 0 == bias[2] == covariance[2, 2]


def test_stacks_that_tell_nothing_apart_have_no_bias() -> None:
    each = [Expectations.of(T, distance(g), g, 2.0, NOISE, 0.01, EXPONENTIAL) for g, _ in STACKS]
    bias, covariance = curvature_bias(each, KEPT, dark=True)
    assert (bias == 0).all()
    assert np.isinf(covariance).all()
