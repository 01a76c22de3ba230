"""Kernels on few pixels against a line of NumPy each: sums, order statistics, screening."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emdarks.kernels import decode, figures, screen, select, statistics
from emdarks.kernels.fit import CHUNK, ROW, row_sum
from emdarks.kernels.levels import level_run

PIXELS, LO, HI = 611, 5, 603
PART = slice(LO, HI)


@pytest.fixture
def plane() -> tuple[Any, Any, Any]:
    """Values, squared errors and groups; runs of 256 pixels do not divide them."""
    rng = np.random.default_rng(31)
    x = rng.normal(3.0, 2.0, PIXELS)
    error2 = rng.uniform(0.5, 2.0, PIXELS)
    group = rng.integers(-1, 4, PIXELS).astype(np.int8)
    outside = np.r_[0:LO, HI:PIXELS]
    x[outside], error2[outside], group[outside] = 1e9, 1e9, 1
    return x, error2, group


def test_the_chunk_can_be_halved() -> None:
    """The fixed order of sums takes it so; rows must not overlap."""
    assert CHUNK % 16 == 0
    assert ROW >= CHUNK


@pytest.mark.parametrize("m", [1, 7, 16, 100, 255, 256])
@pytest.mark.parametrize("row", [0, 2])
def test_the_sum_of_a_row(m: int, row: int) -> None:
    rows = np.full(3 * ROW, 1e6)
    values = np.random.default_rng(m).normal(size=m)
    rows[row * ROW : row * ROW + m] = values
    others = np.delete(rows, np.arange(row * ROW, row * ROW + CHUNK)).copy()
    assert row_sum(rows, row * ROW, m) == pytest.approx(values.sum(), abs=1e-13)
    left = np.delete(rows, np.arange(row * ROW, row * ROW + CHUNK))
    np.testing.assert_array_equal(left, others)


def test_values_between_bounds(plane: tuple[Any, Any, Any]) -> None:
    x, _, group = plane
    here = x[PART][group[PART] == 1]
    low, high = np.sort(here)[[30, 70]]  # both belong to it
    out = np.empty(HI - LO)
    count, below, inside = select.between(LO, HI, x, group, 1, low, high, out)
    assert (count, below, inside) == (here.size, 30, 41)
    np.testing.assert_array_equal(out[:inside], here[(here >= low) & (here <= high)])


def test_the_largest_of_a_group(plane: tuple[Any, Any, Any]) -> None:
    x, error2, group = plane
    for member in (-1, 0, 1, 3):
        assert select.largest(LO, HI, x, group, member) == x[PART][group[PART] == member].max()
    assert select.largest(LO, HI, -error2, group, 1) == 0.0
    assert select.largest(LO, HI, x, group, 7) == 0.0


@pytest.mark.parametrize("top", [2.0, 0.0])
def test_weighted_sums(plane: tuple[Any, Any, Any], top: float) -> None:
    x, error2, group = plane
    error2[LO + 20 : LO + 40] = 1e-9  # more than a millionth below the largest
    error2 = error2 if top else 0.0 * error2
    out = np.full(6, 7.0)
    select.weighted_sums(LO, HI, x, error2, group, 1, top, out)
    here = group[PART] == 1
    value, e2 = x[PART][here], error2[PART][here]
    w = 1 / np.maximum(e2 / top, 1e-6) if top else np.ones(e2.size)
    expected = [w, w * value, w**2, w**2 * value, w**0, e2]
    np.testing.assert_allclose(out, [each.sum() for each in expected], rtol=1e-12)


def test_excess_sums(plane: tuple[Any, Any, Any]) -> None:
    x, error2, group = plane
    error2[LO + 20 : LO + 40] = 1e-9
    out = np.full(4, 7.0)
    select.excess_sums(LO, HI, x, error2, group, 2, 2.0, 3.1, out)
    here = group[PART] == 2
    value, e2 = x[PART][here], error2[PART][here]
    w2 = 1 / np.maximum(e2 / 2.0, 1e-6) ** 2
    e = (value - 3.1) ** 2 - e2
    expected = [w2 * e, w2**2, w2**2 * e, w2**2 * e**2]
    np.testing.assert_allclose(out, [each.sum() for each in expected], rtol=1e-10)


def test_plain_and_cross_sums(plane: tuple[Any, Any, Any]) -> None:
    x, error2, group = plane
    here = group[PART] == 0
    out = np.full(3, 7.0)
    select.plain_sums(LO, HI, np.array([x, error2]), group, 0, out)
    expected = [here.sum(), x[PART][here].sum(), error2[PART][here].sum()]
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    pair = np.full(2, 7.0)
    select.cross_sums(LO, HI, x, error2, 2.5, 0.75, group, 0, pair)
    product = ((x[PART] - 2.5) * (error2[PART] - 0.75))[here].sum()
    np.testing.assert_allclose(pair, [here.sum(), product], rtol=1e-12)


def test_deviations_in_units_of_the_error(plane: tuple[Any, Any, Any]) -> None:
    x, error2, _ = plane
    error2[LO + 3] = 0.0
    out = np.full(PIXELS, -7.0)
    select.deviations(LO, HI, x, error2, 2.0, out)
    u = np.where(error2 > 0, np.sqrt(error2), 1.0)
    np.testing.assert_allclose(out[PART], (np.abs(x - 2.0) / u)[PART], rtol=1e-15)
    assert (out[:LO] == -7.0).all()
    assert (out[HI:] == -7.0).all()


def test_hot_pixels_lie_above_the_limits_of_their_region() -> None:
    #              C of region 0, of 1, D of 1, D of 0, at the limit, u of 0, none
    group = np.array([0, 0, 1, 1, 1, 0, 1, 0, -1, 1], np.int8)
    x = np.zeros((2, 10))
    scale, jump = np.full((2, 10), 4.0), np.full((2, 10), 0.5)
    limits = np.array([[[1.0, 5.0, 9.0], [0.0, 0.0, 0.0]], [[2.0, 3.0, 8.0], [3.0, 2.0, 6.0]]])
    # Limits: C outside 1 + 5 * 2 + 9 / 2 = 15.5; inside C 2 + 6 + 4 = 12, D 3 + 4 + 3 = 10.
    x[0] = [15.6, 15.4, 12.1, 11.9, 0, 0, 12.0, 15.5, 99, 0]
    x[1] = [0, 0, 0, 0, 10.1, 99, 10.0, 0, 99, 9.9]
    select.mark_hot(0, 10, x, scale, jump, limits, group)
    np.testing.assert_array_equal(group, [2, 0, 3, 1, 3, 0, 1, 0, -1, 1])
    scale[:] = 0.0  # then u counts as 1
    group[:] = 0
    x[0] = 1 + 5 + 4.5 + 0.1
    x[0, :4] -= 0.2
    select.mark_hot(1, 9, x, scale, jump, limits, group)
    np.testing.assert_array_equal(group, [0, 0, 0, 0, 2, 2, 2, 2, 2, 0])


# Numbers of a finished fit


def finished(stacks: int = 3) -> dict[str, Any]:
    rng = np.random.default_rng(32)
    n = rng.integers(0, 6, (stacks, PIXELS)).astype(np.uint16)
    return {
        "n": n,
        "mean": rng.normal(5, 3, n.shape),
        "m2": rng.uniform(1, 2, n.shape),
        "values": rng.normal(size=(3, PIXELS)),
        "inside": (np.arange(PIXELS) % 3 > 0) & (np.arange(PIXELS) < 300),
    }


@pytest.mark.parametrize("with_m2", [True, False])
def test_sums_of_stacks(with_m2: bool) -> None:
    s = finished()
    g, h, least = np.array([1.0, 20, 300]), np.array([2.0, 900, 700]), np.array([2, 3, 5], "u2")
    unreliable, out = np.full(PIXELS, 7, np.int16), np.full((3, 5), 7.0)
    m2 = s["m2"] if with_m2 else None
    arrays = s["n"], s["mean"], m2, s["values"], s["inside"]
    statistics.stack_sums(LO, HI, g, h, least, *arrays, unreliable, out)
    inside = s["inside"].copy()
    inside[:LO] = inside[HI:] = False
    for i in range(3):
        n = s["n"][i].astype(float)
        use = inside & (n > 0)
        F, C, D = s["values"]
        residual = s["mean"][i] - F - g[i] * C - h[i] * D
        scatter = s["m2"][i][inside].sum() if with_m2 else 0.0
        expected = [n[PART].sum(), residual[use].sum(), use.sum(), (n[use] - 1).sum(), scatter]
        np.testing.assert_allclose(out[i], expected, rtol=1e-11)
    np.testing.assert_array_equal(unreliable[PART], (s["n"] < least[:, None]).sum(axis=0)[PART])
    assert (unreliable[:LO] == 7).all()
    assert (unreliable[HI:] == 7).all()


def test_residuals_between_bounds() -> None:
    s = finished()
    n, mean, values = s["n"][0], s["mean"][0], s["values"]
    errors = np.random.default_rng(1).uniform(0.1, 0.3, values.shape)
    pixels = np.arange(2, PIXELS, 5)
    low, high = np.array([-10.0, -20.0, 0.0]), np.array([20.0, 10.0, 9.0])
    found, out = np.empty((3, 3), np.int64), np.empty((3, pixels.size))
    arguments = n, mean, values, errors, 3.0, 7.0
    statistics.residuals_between(pixels, *arguments, low, high, found, out)
    use = pixels[n[pixels] > 0]
    for k, sign in enumerate((0, -1, 1)):
        F, C, D = (values + sign * errors)[:, use]
        residual = mean[use] - F - 3 * C - 7 * D
        inside = (residual >= low[k]) & (residual <= high[k])
        assert found[k].tolist() == [use.size, (residual < low[k]).sum(), inside.sum()]
        assert 0 < inside.sum() < use.size
        np.testing.assert_allclose(out[k, : inside.sum()], residual[inside], rtol=1e-12)
    # Bounds belong to it.
    edge = out[:, 3].copy()
    statistics.residuals_between(pixels, *arguments, edge, edge, found, out)
    np.testing.assert_array_equal(found[:, 2], 1)


def test_dark_current_is_removed_outside() -> None:
    outside = np.array([True, True, False, True, False])
    planes = [np.arange(1.0, 16).reshape(3, 5) for _ in range(3)]
    values, errors, correlations = planes
    errors[:, 1] = np.nan
    statistics.remove_dark_current(0, 4, outside, values, errors, correlations)
    np.testing.assert_array_equal(values[2], [0, 0, 13, 0, 15])
    np.testing.assert_array_equal(errors[2], [0, np.nan, 13, 0, 15])
    np.testing.assert_array_equal(correlations[1:], [[0, 0, 8, 0, 10], [0, 0, 13, 0, 15]])
    np.testing.assert_array_equal(values[:2], np.arange(1.0, 11).reshape(2, 5))
    np.testing.assert_array_equal(correlations[0], [1, 2, 3, 4, 5])


# Bias and saturation


def test_bias_off_and_saturation_flagged() -> None:
    data = np.array([10.0, 99.5, 100.0, 101.0], np.float32)
    clean, flags = np.empty(4), np.empty(4, np.uint16)
    level_run(data, 3.0, None, 100.0, clean, flags)
    np.testing.assert_array_equal(clean, [7, 96.5, 97, 98])
    np.testing.assert_array_equal(flags, [0, 0, 32, 32])
    level_run(data, 3.0, np.array([1.0, 2, 3, 4]), 99.5, clean, flags)
    np.testing.assert_array_equal(clean, [9, 97.5, 97, 97])
    np.testing.assert_array_equal(flags, [0, 32, 32, 32])


# Screening


KEPT = 6


def closed(samples: list[Any]) -> dict[str, Any]:
    """Sums of lists of samples, one a pixel, with the largest of each."""
    top = np.full((len(samples), KEPT), -np.inf)
    for p, some in enumerate(samples):
        best = np.sort(some)[-KEPT:]
        top[p, KEPT - len(best) :] = best
    return {
        "n": np.array([len(some) for some in samples], np.uint16),
        "mean": np.array([np.mean(some) if len(some) else 0.0 for some in samples]),
        "m2": np.array([np.var(some) * len(some) if len(some) else 0.0 for some in samples]),
        "err2": np.array([4.0 * len(some) for some in samples]),
        "flags": np.full(len(samples), 4, np.uint16),
        "top": top,
    }


SIZES = (0, 1, 2, 3, 5, 7, 8, 20, 23, 24, 25, 40)


def test_means_without_the_largest() -> None:
    rng = np.random.default_rng(33)
    samples = [rng.normal(10, 3, size) for size in SIZES]
    s, out = closed(samples), np.empty(len(SIZES))
    screen.trimmed_means(s["n"], s["mean"], s["top"], out)
    assert np.isnan(out[0])
    for some, found in zip(samples[1:], out[1:], strict=True):
        size = len(some)
        aside = min(6, max(size // 4, 1), size - 1)
        assert found == pytest.approx(np.sort(some)[: size - aside].mean(), rel=1e-12)


@pytest.mark.parametrize("with_err", [True, False])
@pytest.mark.parametrize("hits", [0, 1, 3, 5, 6, 8])
def test_screening_equals_sums_without_the_hits(hits: int, with_err: bool) -> None:
    rng = np.random.default_rng(34)
    level, gain, noise, charge = 50.0, 20.0, 4.0, 0.3
    samples = [rng.normal(level, 3.0, size) for size in SIZES]
    samples[7] += 500.0  # a pixel with a charge of its own
    trimmed = np.array([np.mean(some) if len(some) else np.nan for some in samples])
    ceilings = []
    for some, own in zip(samples, trimmed, strict=True):
        above = charge + 1.5 * max(float(own) - level, 0.0) / gain
        ceilings.append(level + 5 * noise + gain * (above + 5 * np.sqrt(2 * above) + 9.2))
        some[:hits] = ceilings[-1] + rng.uniform(0.01, 40, some[:hits].size)
        some[hits : hits + 1] = ceilings[-1]  # at the ceiling: not above it
    s = closed(samples)
    err2 = s["err2"].copy() if with_err else None
    rejected = np.full(len(SIZES), 10, np.int32)
    arrays = s["n"], s["mean"], s["m2"], err2, s["flags"], s["top"], trimmed
    screen.screen(*arrays, level, gain, noise, charge, rejected)
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


# Stored numbers


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8"])
def test_bytes_are_swapped(kind: str) -> None:
    width = np.dtype(kind).itemsize
    raw = np.arange(1, 5 * width + 1, dtype=np.uint8)
    words = raw.view(kind).copy()
    decode.to_native(words)
    np.testing.assert_array_equal(words, raw.view(f">{kind}").astype(kind))
    flip = int(np.iinfo(kind).max) // 3
    decode.flip_bytes(words, np.uint64(flip))
    np.testing.assert_array_equal(words, raw.view(f">{kind}").astype(kind) ^ np.array(flip, kind))
    assert decode.unsigned(kind) == np.dtype(kind)


def test_one_byte_is_flipped_without_a_swap() -> None:
    words = np.array([0, 1, 200], np.uint8)
    decode.to_native(words, 0x80)
    np.testing.assert_array_equal(words, [128, 129, 72])


def test_whether_a_number_is_negative() -> None:
    assert not decode.any_negative(np.array([0.0, 0.5, 2.0]))
    assert decode.any_negative(np.array([0.0, -1e-3, 2.0]))
    assert decode.any_negative(np.array([0.0, -1e-3, -1.0]))


@pytest.mark.parametrize("least", [None, 0.0])
def test_numbers_that_cannot_be_true_are_blanked(least: float | None) -> None:
    huge = 2.0**40
    values = np.array([1.0, np.nan, np.inf, -np.inf, huge, np.nextafter(huge, 0), -huge, -huge * 2])
    values = np.append(values, [0.0, np.nan])
    bad = np.zeros(10, np.uint16)
    bad[9] = 1  # left out already: counted once
    n, flags = np.full(10, 5, np.uint16), np.full(10, 2, np.uint8)
    where = np.arange(10.0)
    options = () if least is None else (least,)
    count = decode.blank(values, where, flags, n, bad, *options)
    wrong = ~((values >= (-huge if least is None else least)) & (values < huge))
    assert count == wrong.sum()
    np.testing.assert_array_equal(np.isnan(where), wrong)
    np.testing.assert_array_equal(flags, np.where(wrong, 3, 2))
    np.testing.assert_array_equal(n, np.where(wrong & (np.arange(10) < 9), 4, 5))
    np.testing.assert_array_equal(bad, wrong)


# Figures of frames


@pytest.mark.parametrize("kind", ["u1", "u2", "u4"])
@pytest.mark.parametrize("swap", [False, True])
def test_saturated_samples_are_counted(kind: str, swap: bool) -> None:
    flags = np.array([0, 32, 33, 4, 96, 31, 64], kind)
    flip = np.iinfo(kind).max // 2 + 1
    stored = flags ^ np.array(flip, kind)
    stored = stored.byteswap() if swap else stored
    assert figures.count_saturated(stored, swap, np.uint64(flip)) == 3


def test_the_fingerprint_is_a_weighted_sum_of_every_31st_sample() -> None:
    values = np.random.default_rng(35).normal(size=200).astype(np.float32)
    values[62] = np.nan
    values[93] = np.inf
    expected = sum(float(values[i]) * (i + 1) for i in range(0, 200, 31) if i not in (62, 93))
    assert figures.fingerprint(values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("highest", [(61,), (206,), (61, 92, 187), (61, 206)])
def test_figures_of_a_row(highest: tuple[int, ...]) -> None:
    rng = np.random.default_rng(36)
    values = rng.normal(100, 9, 210)
    values[[0, 25, 70, 130, 209]] = np.nan
    values[[3, 208]] = 999.0  # beside the area
    values[list(highest)] = 130.0  # in whole runs of lanes, from 60 to 187, and behind them
    columns = np.array([60, 207, 11, 55])  # neither is a whole number of lanes
    lanes, out = np.full((2, figures.LANES), 7.0), np.full(len(figures.COLUMNS), 7.0)
    figures.row_figures(values, 1.5, columns, 3, 11.0, 5, lanes, out)
    area, prescan = 1.5 * values[60:207], 1.5 * values[11:55]
    area, prescan = area[~np.isnan(area)], prescan[~np.isnan(prescan)]
    expected = [area.size, 147 - area.size, 3, area.sum(), (area**2).sum()]
    expected += [prescan.size, prescan.sum(), 11.0, 5, area.max(), (area == area.max()).sum()]
    assert expected[-2:] == [195.0, len(highest)]
    np.testing.assert_allclose(out, expected, rtol=1e-13)
