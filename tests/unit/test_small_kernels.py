"""Statistics, screening and bias of the core on few pixels, against a line of NumPy each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emdarks import _core
from loops import for_each

PIXELS, LO, HI = 611, 5, 603
PART = slice(LO, HI)
#: Eight pixels are computed at a time.
SIZES = [1, 7, 8, 9, HI - LO]
COUNTS = [np.uint16, np.uint32]
FLAGS = [np.uint16, np.uint32, np.uint64]


@pytest.fixture(params=SIZES)
def hi(request: pytest.FixtureRequest) -> int:
    return LO + int(request.param)


@pytest.fixture
def plane() -> tuple[Any, Any, Any]:
    """Values, squared errors and groups; what is beside the range must not count."""
    rng = np.random.default_rng(31)
    x = rng.normal(3.0, 2.0, PIXELS)
    error2 = rng.uniform(0.5, 2.0, PIXELS)
    group = rng.integers(-1, 4, PIXELS).astype(np.int8)
    group[LO : LO + 4] = 0, 1, 2, 1
    outside = np.r_[0:LO, HI:PIXELS]
    x[outside], error2[outside], group[outside] = 1e9, 1e9, 1
    x[LO + 10 : HI : 7] = error2[LO + 10 : HI : 7] = np.nan  # not fitted
    group[LO + 10 : HI : 7] = -1
    return x, error2, group


def those(group: Any, member: int, lo: int, hi: int) -> Any:
    here = group == member
    here[:lo] = here[hi:] = False
    return here


# Sums over a group


@pytest.mark.parametrize("kind", [np.int8, np.bool_])
def test_the_largest_of_a_group(plane: tuple[Any, Any, Any], hi: int, kind: Any) -> None:
    x, error2, group = plane
    for member in (0, 1, 3):
        of = group if kind is np.int8 else group == member
        name = member if kind is np.int8 else 1
        here = those(group, member, LO, hi)
        assert _core.largest(LO, hi, error2, of, name) == error2[here].max(initial=0.0)
        assert _core.largest(LO, hi, -error2, of, name) == 0.0
    assert _core.largest(LO, hi, x, group, 7) == 0.0


@pytest.mark.parametrize("top", [2.0, 0.0])
def test_weighted_sums(plane: tuple[Any, Any, Any], hi: int, top: float) -> None:
    x, error2, group = plane
    error2[LO + 20 : LO + 40] *= 1e-9  # more than a millionth below the largest
    error2 = error2 if top else 0.0 * error2
    here = those(group, 1, LO, hi)
    value, e2 = x[here], error2[here]
    w = 1 / np.maximum(e2 / top, _core.LEAST) if top else np.ones(e2.size)
    expected = [w, w * value, w**2, w**2 * value, w**0, e2]
    found = _core.weighted_sums(LO, hi, x, error2, group, 1, top)
    np.testing.assert_allclose(found, [each.sum() for each in expected], rtol=1e-12)


def test_excess_sums(plane: tuple[Any, Any, Any], hi: int) -> None:
    x, error2, group = plane
    error2[LO + 20 : LO + 40] *= 1e-9
    here = those(group, 2, LO, hi)
    value, e2 = x[here], error2[here]
    w2 = 1 / np.maximum(e2 / 2.0, _core.LEAST) ** 2
    e = (value - 3.1) ** 2 - e2
    expected = [w2 * e, w2**2, w2**2 * e, w2**2 * e**2]
    found = _core.excess_sums(LO, hi, x, error2, group, 2, 2.0, 3.1)
    np.testing.assert_allclose(found, [each.sum() for each in expected], rtol=1e-10)


def test_sums_and_products(plane: tuple[Any, Any, Any], hi: int) -> None:
    x, error2, group = plane
    here = those(group, 0, LO, hi)
    alone = _core.product_sum(LO, hi, x, None, 0.5, 0.0, group, 0)
    np.testing.assert_allclose(alone, [here.sum(), (x[here] - 0.5).sum()], rtol=1e-12)
    pair = _core.product_sum(LO, hi, x, error2, 2.5, 0.75, group, 0)
    product = ((x - 2.5) * (error2 - 0.75))[here].sum()
    np.testing.assert_allclose(pair, [here.sum(), product], rtol=1e-11)


# Medians


def skewed(size: int, seed: int = 41) -> Any:
    return np.random.default_rng(seed).gamma(0.5, 3.0, size)


@for_each("size", [1, 2, 7, 8, 9, 500, 4001, 30_000, 200_003])
def test_the_median_is_exact(size: int) -> None:
    x = skewed(size)
    assert _core.median(x) == np.median(x)
    group = np.random.default_rng(2).integers(-1, 2, size).astype(np.int8)
    group[0] = 1
    x[group < 0] = np.nan
    assert _core.median(x, group, 1) == np.median(x[group == 1])
    assert _core.median(x, group == 1) == np.median(x[group == 1])
    assert _core.median(x) == np.nanmedian(x)


def test_the_median_of_nothing() -> None:
    for x in (np.empty(0), np.full(9, np.nan), np.full(100_000, np.nan)):
        assert np.isnan(_core.median(x))
    assert np.isnan(_core.median(np.ones(20), np.zeros(20, np.int8), 1))


@for_each("size", [5, 60_001])
@for_each("case", ["equal", "two", "ascending", "descending", "infinite", "zeros"])
def test_medians_of_numbers_in_some_order(size: int, case: str) -> None:
    x = skewed(size)
    x = {
        "equal": np.full(size, 2.5),
        "two": np.where(np.arange(size) % 2, 1.0, 2.0),
        "ascending": np.sort(x),
        "descending": np.sort(x)[::-1].copy(),
        "infinite": np.where(np.arange(size) % 3, np.inf, -np.inf),
        "zeros": np.where(np.arange(size) % 5 < 4, 0.0, x),
    }[case]
    assert _core.median(x) == np.median(x)


def test_a_sample_that_misleads_changes_nothing() -> None:
    """Every pixel that the sample has is far above all others, or far below."""
    x = skewed(150_001)
    step = ((x.size // _core.SAMPLE) | 1) * 8
    assert x.size / step * 8 > _core.FEW_SAMPLES
    in_sample = np.arange(x.size) % step < 8
    for shift in (100.0, -100.0):
        moved = np.where(in_sample, x + shift, x)
        assert _core.median(moved) == np.median(moved)


@for_each("size", [1, 7, 8, 9, 611, 40_000])
def test_the_median_deviation_in_units_of_the_error(size: int) -> None:
    rng = np.random.default_rng(43)
    x, scale = rng.normal(3, 2, size), rng.uniform(0.5, 2.0, size)
    group = rng.integers(-1, 2, size).astype(np.int8)
    group[0], scale[size // 2] = 0, 0.0
    deviation = np.abs(x - 2.0) / np.where(scale > 0, np.sqrt(scale), 1.0)
    assert _core.median_deviation(x, scale, 2.0) == np.median(deviation)
    expected = np.median(deviation[group == 0])
    assert _core.median_deviation(x, scale, 2.0, group, 0) == expected


def test_hot_pixels_lie_above_the_limits_of_their_region() -> None:
    #              C of region 0, of 1, D of 1, D of 0, at the limit, u of 0, none
    group = np.array([0, 0, 1, 1, 1, 0, 1, 0, -1, 1], np.int8)
    x = np.zeros((2, 10))
    scale, jump = np.full((2, 10), 4.0), np.full((2, 10), 0.5)
    limits = np.array([[[1.0, 5.0, 9.0], [0.0, 0.0, 0.0]], [[2.0, 3.0, 8.0], [3.0, 2.0, 6.0]]])
    # Limits: C outside 1 + 5 * 2 + 9 / 2 = 15.5; inside C 2 + 6 + 4 = 12, D 3 + 4 + 3 = 10.
    x[0] = [15.6, 15.4, 12.1, 11.9, 0, 0, 12.0, 15.5, 99, 0]
    x[1] = [0, 0, 0, 0, 10.1, 99, 10.0, 0, 99, 9.9]
    _core.mark_hot(0, 10, x, scale, jump, limits, group)
    np.testing.assert_array_equal(group, [2, 0, 3, 1, 3, 0, 1, 0, -1, 1])
    scale[:] = 0.0  # then u counts as 1
    group[:] = 0
    x[0] = 1 + 5 + 4.5 + 0.1
    x[0, :4] -= 0.2
    _core.mark_hot(1, 9, x, scale, jump, limits, group)
    np.testing.assert_array_equal(group, [0, 0, 0, 0, 2, 2, 2, 2, 2, 0])


# Numbers of a finished fit


def finished(kind: Any = np.uint16, stacks: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(32)
    n = rng.integers(0, 6, (stacks, PIXELS)).astype(kind)
    n[:, LO + 2] = 0  # never good
    n[:, LO + 3] = 1  # good once
    return {
        "n": n,
        "mean": rng.normal(5, 3, n.shape),
        "m2": rng.uniform(1, 2, n.shape),
        "values": rng.normal(size=(3, PIXELS)),
        "inside": (np.arange(PIXELS) % 3 > 0) & (np.arange(PIXELS) < 300),
    }


@pytest.mark.parametrize("kind", COUNTS)
@pytest.mark.parametrize("with_m2", [True, False])
def test_sums_of_stacks(hi: int, kind: Any, with_m2: bool) -> None:
    s = finished(kind)
    g, h, least = np.array([1.0, 20, 300]), np.array([2.0, 900, 700]), np.array([2.0, 3, 5])
    unreliable, out = np.full(PIXELS, 7, np.int16), np.full((3, 5), 7.0)
    m2 = s["m2"] if with_m2 else None
    arrays = s["n"], s["mean"], m2, s["values"], s["inside"]
    _core.stack_sums(LO, hi, g, h, least, *arrays, unreliable, out)
    part, inside = slice(LO, hi), s["inside"].copy()
    inside[:LO] = inside[hi:] = False
    for i in range(3):
        n = s["n"][i].astype(float)
        use = inside & (n > 0)
        F, C, D = s["values"]
        residual = s["mean"][i] - F - g[i] * C - h[i] * D
        scatter = s["m2"][i][inside].sum() if with_m2 else 0.0
        expected = [n[part].sum(), residual[use].sum(), use.sum(), (n[use] - 1).sum(), scatter]
        np.testing.assert_allclose(out[i], expected, rtol=1e-11)
    np.testing.assert_array_equal(unreliable[part], (s["n"] < least[:, None]).sum(axis=0)[part])
    assert (unreliable[:LO] == 7).all()
    assert (unreliable[hi:] == 7).all()


def test_many_stacks_are_unreliable_and_none_has_samples() -> None:
    n = np.zeros((300, 9), np.uint16)
    ones, planes = np.ones(300), np.ones((3, 9))
    unreliable, out = np.empty(9, np.int16), np.empty((300, 5))
    moments = n, np.ones(n.shape), None
    inside = np.ones(9, dtype=bool)
    _core.stack_sums(0, 9, ones, ones, ones, *moments, planes, inside, unreliable, out)
    assert (unreliable == 300).all()
    assert not out.any()


@for_each("kind", COUNTS)
@for_each("size", [1, 7, 8, 9, PIXELS])
def test_median_residuals(kind: Any, size: int) -> None:
    s = finished(kind)
    n, mean = s["n"][0, :size].copy(), s["mean"][0, :size].copy()
    values = s["values"][:, :size].copy()
    errors = np.random.default_rng(1).uniform(0.1, 0.3, values.shape)
    n[0] = 3
    use = s["inside"][:size].copy()
    use[0] = True
    for shift in (0.0, -1.0, 1.0):
        F, C, D = values + shift * errors
        residual = mean - F - 3 * C - 7 * D
        found = _core.residual_median(n, mean, values, errors, 3.0, 7.0, shift, use)
        assert found == pytest.approx(np.median(residual[use & (n > 0)]), rel=1e-12)
        found = _core.residual_median(n, mean, values, errors, 3.0, 7.0, shift)
        assert found == pytest.approx(np.median(residual[n > 0]), rel=1e-12)
    n[:] = 0
    assert np.isnan(_core.residual_median(n, mean, values, errors, 3.0, 7.0, 0.0))


# Bias and saturation


@for_each("kind", [np.float32, np.float64])
@for_each("size", [1, 7, 8, 9, 611])
def test_bias_off_and_saturation_flagged(kind: Any, size: int) -> None:
    rng = np.random.default_rng(44)
    data, frame = rng.normal(100, 10, size).astype(kind), rng.normal(90, 1, size)
    data[1::5], data[2::5], data[3::5] = np.nan, np.inf, 105.0
    frame.flags.writeable = False
    for bias in (None, frame):
        clean, flags = np.empty(size), np.empty(size, np.uint16)
        _core.level_run(data, 97.0, bias, 105.0, clean, flags)
        np.testing.assert_array_equal(clean, data.astype(float) - (97.0 if bias is None else bias))
        np.testing.assert_array_equal(flags, np.where(data >= 105.0, 32, 0))
    if kind is np.float64:  # in place
        expected = data - 97.0
        _core.level_run(data, 97.0, None, np.inf, data, flags)
        np.testing.assert_array_equal(data, expected)


# Screening


KEPT = _core.KEPT


def closed(samples: list[Any], kind: Any = np.uint16, flag: Any = np.uint16) -> dict[str, Any]:
    """Sums of lists of samples, one a pixel, with the largest of each."""
    top = np.full((len(samples), KEPT), -np.inf)
    for p, some in enumerate(samples):
        best = np.sort(some)[-KEPT:]
        top[p, KEPT - len(best) :] = best
    return {
        "n": np.array([len(some) for some in samples], kind),
        "mean": np.array([np.mean(some) if len(some) else 0.0 for some in samples]),
        "m2": np.array([np.var(some) * len(some) if len(some) else 0.0 for some in samples]),
        "err2": np.array([4.0 * len(some) for some in samples]),
        "flags": np.full(len(samples), 4, flag),
        "top": top,
    }


SAMPLES = (0, 1, 2, 3, 5, 7, 8, 20, 23, 24, 25, 40)


@pytest.mark.parametrize("kind", COUNTS)
def test_means_without_the_largest(kind: Any) -> None:
    rng = np.random.default_rng(33)
    samples = [rng.normal(10, 3, size) for size in SAMPLES]
    s, out = closed(samples, kind), np.empty(len(SAMPLES))
    _core.trimmed_means(s["n"], s["mean"], s["top"], out)
    assert np.isnan(out[0])
    for some, found in zip(samples[1:], out[1:], strict=True):
        size = len(some)
        aside = min(6, max(size // 4, 1), size - 1)
        assert found == pytest.approx(np.sort(some)[: size - aside].mean(), rel=1e-12)


@for_each("with_err", [True, False])
@for_each("hits", [0, 1, 3, 5, 6, 8])
@for_each("kind, flag", [(k, f) for k in COUNTS for f in FLAGS])
def test_screening_equals_sums_without_the_hits(
    hits: int, with_err: bool, kind: Any, flag: Any
) -> None:
    rng = np.random.default_rng(34)
    level, gain, noise, charge = 50.0, 20.0, 4.0, 0.3
    samples = [rng.normal(level, 3.0, size) for size in SAMPLES]
    samples[7] += 500.0  # a pixel with a charge of its own
    trimmed = np.array([np.mean(some) if len(some) else np.nan for some in samples])
    ceilings = []
    for some, own in zip(samples, trimmed, strict=True):
        above = charge + 1.5 * max(float(own) - level, 0.0) / gain
        ceilings.append(level + 5 * noise + gain * (above + 5 * np.sqrt(2 * above) + 9.2))
        some[:hits] = ceilings[-1] + rng.uniform(0.01, 40, some[:hits].size)
        some[hits : hits + 1] = ceilings[-1]  # at the ceiling: not above it
    s = closed(samples, kind, flag)
    err2 = s["err2"].copy() if with_err else None
    rejected = np.full(len(SAMPLES), 10, np.int32)
    arrays = s["n"], s["mean"], s["m2"], err2, s["flags"], s["top"], trimmed
    _core.screen(*arrays, level, gain, noise, charge, rejected)
    for p, (some, ceiling) in enumerate(zip(samples, ceilings, strict=True)):
        above = np.sort(some[some > ceiling])
        out = min(above.size, max(len(some) - 1, 0), KEPT)
        assert rejected[p] - 10 == out
        assert s["flags"][p] == (132 if out else 4)
        if out == KEPT and len(some) > KEPT:
            assert s["n"][p] == 0
            continue
        kept = np.sort(some)[: len(some) - out]
        assert s["n"][p] == kept.size
        if kept.size:
            assert s["mean"][p] == pytest.approx(kept.mean(), rel=1e-10)
            assert s["m2"][p] == pytest.approx(np.var(kept) * kept.size, rel=1e-6, abs=1e-6)
        if err2 is not None:
            assert err2[p] == pytest.approx(4.0 * kept.size, rel=1e-14)


# What is refused, and what never differs


def test_arrays_that_do_not_fit_are_refused() -> None:
    x, group = np.ones(9), np.zeros(9, np.int8)
    with pytest.raises(ValueError, match="of must have shape"):
        _core.median(x, group[:8])
    with pytest.raises(TypeError, match="of must be int8 or bool"):
        _core.median(x, group.astype(np.int16))
    with pytest.raises(TypeError):
        _core.median(x[::2], group)
    with pytest.raises(TypeError):
        _core.median(x.astype(np.float32), group)
    with pytest.raises(ValueError, match="range of the pixels"):
        _core.largest(0, 10, x, group, 1)
    with pytest.raises(ValueError, match="member"):
        _core.largest(0, 9, x, group, 1000)
    planes, n = np.ones((3, 9)), np.ones(9, np.uint16)
    with pytest.raises(ValueError, match="n must have the shape of mean"):
        _core.residual_median(n[:8], x, planes, planes, 1.0, 1.0, 0.0)
    with pytest.raises(TypeError, match="n must be unsigned"):
        _core.residual_median(n.astype(np.int16), x, planes, planes, 1.0, 1.0, 0.0)
    with pytest.raises(TypeError, match="data must be float32"):
        _core.level_run(n, 1.0, None, 2.0, x, n.copy())
    with pytest.raises(ValueError, match="limits must have shape"):
        _core.mark_hot(0, 9, planes[:2], planes[:2], planes[:2], np.ones((2, 3, 2)), group)


def everything() -> str:
    """All bits of what the kernels give, on a plane of odd size."""
    rng = np.random.default_rng(45)
    size = 40_013
    x, error2 = rng.gamma(2.0, 2.0, (2, size)), rng.uniform(0.5, 2.0, (2, size))
    group = rng.integers(-1, 2, size).astype(np.int8)
    lo, hi = 3, size - 2
    where = group, 1
    found: list[Any] = [
        _core.largest(lo, hi, error2[0], *where),
        _core.weighted_sums(lo, hi, x[0], error2[0], *where, 2.0),
        _core.excess_sums(lo, hi, x[0], error2[0], *where, 2.0, 3.9),
        _core.product_sum(lo, hi, x[0], x[1], 0.1, 0.2, *where),
        _core.median(x[0], *where),
        _core.median_deviation(x[0], error2[0], 3.0, *where),
    ]
    limits = np.full((2, 2, 3), 2.0)
    hot = group.copy()
    _core.mark_hot(lo, hi, x, error2, error2, limits, hot)
    n = rng.integers(0, 30, (2, size)).astype(np.uint16)
    m2 = rng.gamma(2.0, 2.0, (2, size))
    values = rng.normal(size=(3, size))
    numbers = np.array([1.0, 300.0])
    unreliable, sums = np.zeros(size, np.int16), np.empty((2, 5))
    stacks = numbers, 7 * numbers, 9 * numbers, n, x, m2, values, group > 0
    _core.stack_sums(lo, hi, *stacks, unreliable, sums)
    found.append(_core.residual_median(n[0], x[0], values, values**2, 1.0, 7.0, -1.0, *where))
    top = np.sort(rng.gamma(2.0, 3.0, (size, _core.KEPT)), axis=1)
    trimmed, rejected, flags = np.empty(size), np.zeros(size, np.int32), np.zeros(size, np.uint16)
    _core.trimmed_means(n[0], x[0], top, trimmed)
    level = _core.median(trimmed)
    screened = n[0], x[0], m2[0], error2[0], flags, top
    _core.screen(*screened, trimmed, level, 0.5, 1.0, 0.3, rejected)
    clean, saturated = np.empty(size), np.empty(size, np.uint16)
    _core.level_run(x[1].astype(np.float32), 0.3, None, 9.0, clean, saturated)
    assert rejected.any()
    assert (hot > 1).any()
    arrays = hot, unreliable, sums, trimmed, *screened, rejected, clean, saturated
    return repr(found) + "".join(array.tobytes().hex() for array in arrays)
