"""Kernels against their slow twins, and the laws they obey."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracles
from emdarks import _core
from emdarks._core import FitData, design_rank, reference_fit, smallest_variance
from emdarks.accumulate import FrameFigures, Sample, StackJob, StackSums, Threads
from emdarks.accumulate.blocks import FigureArea, merge_tree
from emdarks.fits.pixels import ArraySource
from emdarks.moments import Moments, merge
from loops import for_each

ALL = np.uint64((1 << 64) - 1)


def accumulate(data: Any, err: Any, dq: Any, mask: int = int(ALL), scale: float = 1.0) -> Moments:
    """Sums of frames of one row."""
    samples = tuple(
        Sample(
            ArraySource(
                data[j : j + 1],
                None if err is None else err[j : j + 1],
                None if dq is None else dq[j : j + 1],
            ),
            scale,
        )
        for j in range(len(data))
    )
    return Threads(1).sums(StackJob(samples, (1, data.shape[1]), mask)).moments


def samples(
    rng: np.random.Generator, frames: int, pixels: int, dtype: Any = np.float32
) -> tuple[Any, Any, Any]:
    data = rng.normal(5, 100, (frames, pixels)).astype(dtype)
    err = rng.uniform(0, 3, (frames, pixels)).astype(dtype)
    dq = np.where(rng.random((frames, pixels)) < 0.3, rng.integers(1, 512, (frames, pixels)), 0)
    dq = dq.astype(np.uint16)
    dq[:, 0] = 4
    data[0, 1], err[-1, 2], data[-1, 3] = np.nan, np.inf, -np.inf
    return data, err, dq


@for_each("dtype", [np.float32, np.float64])
@for_each("with_err, with_dq", [(True, True), (False, True), (True, False)])
@for_each("mask, scale", [(int(ALL), 1.0), (128 | 4, 8.7)])
def test_moments_equal_the_slow_twin(
    rng: np.random.Generator, dtype: Any, with_err: bool, with_dq: bool, mask: int, scale: float
) -> None:
    data, err, dq = samples(rng, 11, 29, dtype)
    given_err, given_dq = err if with_err else None, dq if with_dq else None
    sums = accumulate(data, given_err, given_dq, mask, scale)
    slow = oracles.moments(data, given_err, given_dq, mask, scale)
    np.testing.assert_array_equal(sums.n, slow["n"])
    np.testing.assert_array_equal(sums.flags, slow["flags"])
    np.testing.assert_allclose(sums.mean, slow["mean"], rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(sums.m2, slow["m2"], rtol=1e-11, atol=1e-9)
    if with_err:
        np.testing.assert_allclose(sums.err2, slow["err2"], rtol=1e-13)
    else:
        assert sums.err2 is None


def test_constant_samples_have_exactly_no_scatter() -> None:
    data = np.full((9, 4), 12345.678)
    sums = accumulate(data, None, None)
    assert (sums.m2 == 0).all()
    assert (sums.mean == 12345.678).all()


def test_small_integers_are_exact() -> None:
    data = np.arange(24.0).reshape(6, 4) ** 2
    sums = accumulate(data, None, None)
    np.testing.assert_allclose(sums.mean, data.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(sums.m2, data.var(axis=0) * 6, rtol=1e-14)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.floats(-1e6, 1e6))
def test_filling_two_and_merging_is_filling_one(
    seed: int, first: int, second: int, level: float
) -> None:
    rng = np.random.default_rng(seed)
    data, err, dq = samples(rng, first + second, 7, np.float64)
    data += level
    whole = accumulate(data, err, dq)
    left = accumulate(data[:first], err[:first], dq[:first])
    right = accumulate(data[first:], err[first:], dq[first:])
    merge(left, right)
    np.testing.assert_array_equal(left.n, whole.n)
    np.testing.assert_array_equal(left.flags, whole.flags)
    tolerance = 1e-12 * (abs(level) + 100)
    np.testing.assert_allclose(left.mean, whole.mean, rtol=1e-12, atol=tolerance)
    np.testing.assert_allclose(left.m2, whole.m2, rtol=1e-11, atol=tolerance)
    np.testing.assert_allclose(left.err2, whole.err2, rtol=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 20))
def test_the_order_of_frames_hardly_matters(seed: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    data, err, dq = samples(rng, frames, 7, np.float64)
    order = rng.permutation(frames)
    one, other = accumulate(data, err, dq), accumulate(data[order], err[order], dq[order])
    np.testing.assert_array_equal(one.n, other.n)
    np.testing.assert_array_equal(one.flags, other.flags)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(one.m2, other.m2, rtol=1e-12, atol=1e-9)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_scaling_samples_scales_moments(seed: int, factor: float) -> None:
    data, err, dq = samples(np.random.default_rng(seed), 6, 7, np.float64)
    plain, scaled = accumulate(data, err, dq), accumulate(data, err, dq, scale=factor)
    np.testing.assert_allclose(scaled.mean, factor * plain.mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(scaled.m2, factor**2 * plain.m2, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(scaled.err2, factor**2 * plain.err2, rtol=1e-12)


@for_each("leaves", [1, 2, 3, 4, 5, 7, 8, 13])
def test_the_merge_tree_is_fixed_and_keeps_order(leaves: int) -> None:
    tree = merge_tree((str(i) for i in range(leaves)), lambda a, b: f"({a} {b})")
    assert [int(x) for x in tree.replace("(", "").replace(")", "").split()] == list(range(leaves))
    if leaves == 7:
        assert tree == "(((0 1) (2 3)) ((4 5) 6))"


@pytest.mark.parametrize(
    ("stored", "flip", "native"),
    [
        (">u2", 1 << 15, "u2"),
        (">u4", 1 << 31, "u4"),
        (">u8", 0, "u8"),
        (">u8", 1 << 63, "u8"),
        (">u1", 0, "u1"),
    ],
)
def test_decoding_swaps_bytes_and_flips_the_sign_bit(stored: str, flip: int, native: str) -> None:
    values = np.array([0, 1, 2, 77, 129, 200], dtype=native)
    size = np.dtype(stored).itemsize
    raw = (values ^ np.array(flip, dtype=native)).astype(stored).view(np.uint8)
    words = raw.view(f"u{size}")
    _core.to_native(words, flip)
    np.testing.assert_array_equal(words, values)


def figures_of(
    data: Any, dq: Any, area: FigureArea, scale: float = 1.0, err: Any = None
) -> FrameFigures:
    job = StackJob((Sample(ArraySource(data, err, dq), scale),), data.shape, int(ALL), area)
    sums: StackSums = Threads(1).sums(job)
    return sums.figures[0]


@for_each("dtype", [np.float32, np.float64, np.uint16])
@for_each("flags", ["u1", "u2", ">u2", "u4"])
def test_frame_figures_equal_numpy(rng: np.random.Generator, dtype: Any, flags: str) -> None:
    rows, cols = 9, 211
    data = rng.normal(300, 40, (rows, cols)).astype(dtype)
    err = np.zeros((rows, cols), np.float32)
    if np.dtype(dtype).kind == "f":
        data[2, 100] = np.nan
    err[3, 150] = np.inf
    dq = np.where(rng.random((rows, cols)) < 0.1, 32, 0).astype(flags)
    figures = figures_of(data, dq, FigureArea((1, 8), (90, 200), (10, 60)), 2.0, err)
    window = (slice(1, 8), slice(90, 200))
    good = (dq[window] == 0) & np.isfinite(data[window]) & np.isfinite(err[window])
    values = 2.0 * data[window].astype(float)[good]
    assert figures.level == pytest.approx(values.mean(), rel=1e-12)
    assert figures.scatter == pytest.approx(values.std(), rel=1e-10)
    assert figures.masked == pytest.approx(1 - good.mean())
    assert figures.saturated == pytest.approx((dq[window] == 32).mean())
    prescan = 2.0 * data[1:8, 10:60].astype(float)[dq[1:8, 10:60] == 0]
    assert figures.prescan_level == pytest.approx(prescan.mean(), rel=1e-12)


def test_copies_share_a_fingerprint_and_others_do_not(rng: np.random.Generator) -> None:
    def fingerprint(data: Any, dq: Any = None) -> str:
        return figures_of(data, dq, FigureArea((0, 5), (0, 67), (0, 0))).content

    data = rng.normal(size=(5, 67)).astype(np.float32)
    flagged = np.zeros(data.shape, np.uint16)
    flagged[2, 31] = 4
    assert fingerprint(data) == fingerprint(data.astype(np.float64))
    assert fingerprint(data) == fingerprint(data, flagged)
    assert fingerprint(data) != fingerprint(rng.normal(size=(5, 67)).astype(np.float32))


def stack_moments(rng: np.random.Generator, stacks: int, pixels: int) -> dict[str, Any]:
    gain = np.array([1.0, 1.0, 50.0, 200.0, 1000.0, 5000.0])[:stacks]
    time = np.array([2.0, 100.0, 10.0, 60.0, 5.0, 100.0])[:stacks]
    n = rng.integers(2, 9, (stacks, pixels)).astype(np.uint16)
    n[:, 0] = 0
    n[1:, 1] = 0
    n[2, 2:6] = 0
    n[3, 5:9] = 1
    n[2:4, 9] = 0
    n[:3, 10] = 0
    n[4:, 11] = 0  # what is left has gains 1, 1, 50, 200: still of rank 3
    variance = 100.0**2 + 2 * (gain[:, None] ** 2) * 0.03
    mean = rng.normal(0, np.sqrt(variance / 5), (stacks, pixels))
    m2 = np.where(n > 1, variance * (n - 1) * rng.uniform(0.5, 2, n.shape), 0.0)
    m2[:, 12] = 0.0
    err2 = n * rng.uniform(0.5, 2, n.shape)
    err2[:, 12] = 0.0
    flags = rng.integers(0, 4, n.shape).astype(np.uint16) * 2
    return {
        "gain": gain,
        "time": time,
        "n": n,
        "mean": mean,
        "m2": m2,
        "err2": err2,
        "flags": flags,
    }


@pytest.mark.parametrize("weighted", [True, False])
def test_the_fit_equals_the_slow_twin(rng: np.random.Generator, weighted: bool) -> None:
    stacks, pixels = 6, 31
    s = stack_moments(rng, stacks, pixels)
    single, floor = rng.uniform(1e3, 1e4, stacks), rng.uniform(1, 2, stacks)
    values, errors, corr = (np.full((3, pixels), -7.0) for _ in range(3))
    chi2, rsq, s2 = (np.full(pixels, -7.0) for _ in range(3))
    used, dq = np.zeros(pixels, np.int16), np.zeros(pixels, np.uint16)
    derivatives = np.empty((stacks + 1, 3))
    unknown = reference_fit(
        0,
        pixels - 2,
        FitData(**s, imaging=np.arange(pixels) % 3 > 0),
        single,
        floor,
        weighted,
        values,
        errors,
        corr,
        chi2,
        rsq,
        s2,
        used,
        dq,
        derivatives,
    )
    assert unknown == 0
    for p in range(pixels - 2):
        slow = oracles.reference_fit(
            s["gain"],
            s["time"],
            s["n"][:, p],
            s["mean"][:, p],
            s["m2"][:, p],
            s["err2"][:, p],
            single,
            floor,
            weighted,
        )
        assert used[p] == slow["used"]
        np.testing.assert_allclose(errors[:, p], slow["errors"], rtol=1e-8)
        scale = np.nan_to_num(slow["errors"]) + 1e-12
        assert (np.abs(values[:, p] - slow["values"]) <= 1e-7 * scale).all()
        if np.isnan(slow["errors"]).any():
            empty = s["n"][:, p] == 0
            expected = np.bitwise_or.reduce(s["flags"][empty, p], initial=0) or 1
            assert dq[p] == expected
            continue
        assert dq[p] == 0
        np.testing.assert_allclose(corr[:, p], slow["corr"], rtol=1e-8, atol=1e-12)
        for mine, name in ((chi2, "chi2"), (rsq, "rsq"), (s2, "s2")):
            np.testing.assert_allclose(mine[p], slow[name], rtol=1e-8)
    assert (values[:, -2:] == -7.0).all()  # outside the range: untouched
    assert np.isnan(errors[0, [0, 1, 10]]).all()


def test_pixels_whose_errors_have_no_stand_in_are_counted(rng: np.random.Generator) -> None:
    stacks, pixels = 6, 31
    s = stack_moments(rng, stacks, pixels)
    s["m2"][3, 20] = s["err2"][3, 20] = 0.0
    s["n"][3, 20] = 4
    zero = (s["n"] > 1) & (s["m2"] + s["err2"] == 0)
    results = [np.empty((3, pixels)) for _ in range(3)] + [np.empty(pixels) for _ in range(3)]
    unknown = reference_fit(
        0,
        pixels,
        FitData(**s, imaging=np.ones(pixels, bool)),
        np.full(stacks, 9.0),
        np.full(stacks, np.nan),
        True,
        *results,
        np.zeros(pixels, np.int16),
        np.zeros(pixels, np.uint16),
        np.empty((stacks + 1, 3)),
    )
    assert unknown == zero.any(axis=0).sum() == 2


def test_rank_of_designs() -> None:
    gain = np.array([1.0, 100.0, 1.0, 100.0])
    assert design_rank(gain, gain * np.array([1.0, 1.0, 90.0, 90.0]))
    assert not design_rank(gain, gain * 5.0)  # one time
    same = np.full(4, 7.0)
    assert not design_rank(same, same * np.arange(4.0))  # one gain
    # Two gains, the time varied in proportion to nothing but the gain.
    assert not design_rank(gain, gain * np.where(gain == 1, 3.0, 8.0))


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_rank_does_not_depend_on_the_unit_of_time(unit: float) -> None:
    gain = np.array([1.0, 100.0, 1.0, 100.0, 30.0])
    time = unit * np.array([1.0, 1.0, 90.0, 90.0, 7.0])
    assert design_rank(gain, gain * time)
    assert design_rank(gain[[1, 2, 3]], (gain * time)[[1, 2, 3]])
    assert not design_rank(gain[[0, 2]], (gain * time)[[0, 2]])
    assert not design_rank(gain, gain * unit)


def for_variance(n: Any, m2: Any, err2: Any) -> FitData:
    """Two stacks, of which the smallest error is sought."""
    two, flags = np.ones(2), np.zeros(n.shape, np.uint8)
    return FitData(two, two, n, m2, m2, err2, flags, np.zeros(n.shape[1], bool))


def test_smallest_variance_ignores_empty_pixels_and_zeros() -> None:
    n = np.array([[0, 2, 1, 4], [1, 2, 2, 0]], np.uint16)
    m2 = np.array([[0.0, 0.0, 0.0, 8.0], [0.0, 8.0, 0.0, 0.0]])
    single, out = np.array([3.0, 7.0]), np.empty(2)
    smallest_variance(0, 4, for_variance(n, m2, None), single, out)
    np.testing.assert_array_equal(out, [0.5, 2.0])
    smallest_variance(0, 1, for_variance(n, m2, None), single, out)
    np.testing.assert_array_equal(out, [np.inf, 7.0])


@pytest.mark.parametrize("err", [True, False])
def test_smallest_variance_of_many_pixels(rng: np.random.Generator, err: bool) -> None:
    """err^2 = sum(s^2)/n + M2/n^2, a lone sample's stand-in for M2."""
    lo, hi, pixels = 3, 600, 611
    n = rng.integers(0, 5, (2, pixels)).astype(np.uint16)
    m2, err2 = rng.uniform(5, 90, n.shape), rng.uniform(1, 9, n.shape)
    m2[:, [100, 400]] = 0.0
    m2[:, :lo] = m2[:, hi:] = err2[:, :lo] = err2[:, hi:] = 1e-9
    single, out = np.array([30.0, 0.7]), np.empty(2)
    smallest_variance(lo, hi, for_variance(n, m2, err2 if err else None), single, out)
    for i in range(2):
        found = []
        for p in range(lo, hi):
            k = float(n[i, p])
            if k > 0:
                own = single[i] if k == 1 else m2[i, p]
                found.append((err2[i, p] / k if err else 0.0) + own / k**2)
        assert out[i] == pytest.approx(min(x for x in found if x > 0), rel=1e-14)
