"""Bias, flags and electrons of random raw frames against a slow twin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

import raw_twin
from emdarks import _core
from emdarks.errors import InputError
from emdarks.raw import (
    DARK,
    STANDARD,
    CosmicRaySearch,
    FramePlan,
    FullWell,
    Linearity,
    RawCalibration,
    RowBias,
    prepare,
    scan,
    stored_bytes,
)
from raw_twin import RIGHT, Rules, Search

CASES = 5000
LEVEL = 300  # bias, DN
STORED = [">u2", "<u2", ">i2", "<i2", "u1", "i1", ">u4", "<i4", ">i8", "u8"]
REAL = [">f4", "<f4", ">f8", "<f8"]


@dataclass(frozen=True)
class Case:
    """A small frame and how it is searched."""

    raw: Any
    columns: tuple[int, int]
    num_stds: float
    search: Search
    saturation: float

    def calibration(self, **changes: Any) -> RawCalibration:
        own = self.search
        # A full well of 1 DN: thresholds are DN.
        search = CosmicRaySearch(own.threshold, own.plateau, own.filter, own.box, own.tail)
        usual = RawCalibration(
            RowBias(columns=self.columns, num_stds=self.num_stds),
            full_well=1.0,
            saturation=self.saturation,
            search=search,
            area=None if own.spill else (0, *self.raw.shape[:1], 0, self.raw.shape[1]),
            most_saturated=100.0,
        )
        return replace(usual, **changes)


def draw(seed: int) -> Case:
    """Rays of all lengths and strengths anywhere, in the bias columns, too; ties at thresholds."""
    rng = np.random.default_rng([17, seed])
    rows, cols = int(rng.integers(1, 7)), int(rng.integers(6, 27))
    raw = LEVEL + rng.integers(-2, 3, (rows, cols))
    lo = int(rng.integers(0, cols - 2))
    columns = lo, int(rng.integers(lo + 1, cols + 1))
    for _ in range(rng.integers(0, 6)):
        r, c = int(rng.integers(rows)), int(rng.integers(-2, cols))
        length = int(rng.choice([1, 2, 3, 4, 5, 8, cols]))
        raw[r, max(c, 0) : max(c + length, 0)] += rng.choice([6, 8, 9, 10, 11, 12, 20, 40])
    for _ in range(rng.integers(0, 3)):
        raw[rng.integers(rows)] += rng.choice([-7, 5, 30])
    search = Search(
        threshold=float(rng.choice([8.0, 9.5, 10.0, 12.0])),
        plateau=float(rng.choice([6.0, 8.0, 10.0, 14.0])),
        filter=int(rng.integers(0, 5)),
        box=int(rng.integers(0, 4)),
        tail=int(rng.choice([0, 1, 3, 10, 30, 60])),
        spill=bool(rng.random() < 0.7),
    )
    num_stds = float(rng.choice([0.5, 1.0, 1.5, 2.0, 5.0]))
    return Case(raw, columns, num_stds, search, float(rng.choice([9.0, 10.0, 20.0])))


def found(case: Case, dtype: str = "<u2", **changes: Any) -> tuple[Any, Any]:
    raw = np.ascontiguousarray(case.raw.astype(dtype))
    plan = FramePlan(case.calibration(**changes), 2.0)
    learnt = scan(stored_bytes(raw), raw.shape, plan)
    assert learnt is not None
    made = prepare(stored_bytes(raw), raw.shape, plan, learnt)
    assert made is not None
    return learnt, made


def expected(case: Case, rules: Rules = RIGHT) -> tuple[Any, Any, Any, Any]:
    """Bias, its error, data and flags."""
    bias, error, _ = raw_twin.row_bias(case.raw, case.columns, case.num_stds, rules)
    x = case.raw - bias[:, np.newaxis]
    flags = np.where(x >= case.saturation, 32, 0)
    flags[raw_twin.cosmic_rays(x, case.search, rules)] |= 128
    return bias, error, x, flags


def assert_agrees(case: Case, dtype: str = "<u2") -> None:
    learnt, made = found(case, dtype)
    bias, error, x, flags = expected(case)
    np.testing.assert_array_equal(learnt.bias, bias)
    np.testing.assert_allclose(learnt.error, error, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(made.data, x)
    np.testing.assert_array_equal(made.dq, flags)


def test_random_frames() -> None:
    for seed in range(CASES):
        assert_agrees(draw(seed))


@pytest.mark.parametrize("rule", ["walk", "upper", "last_pixel", "strictly"])
def test_a_changed_rule_would_be_noticed(rule: str) -> None:
    changed = replace(RIGHT, **{rule: False})
    differ = (
        seed
        for seed in range(CASES)
        if not np.array_equal(expected(draw(seed))[3], expected(draw(seed), changed)[3])
    )
    assert len(list(islice(differ, 5))) == 5


@pytest.mark.parametrize("dtype", STORED + REAL)
def test_every_stored_type(dtype: str) -> None:
    for seed in range(100):
        case = draw(seed)
        if np.dtype(dtype).itemsize == 1:
            # Counts of one byte: the level is another one.
            case = replace(case, raw=np.clip(case.raw - LEVEL + 20, 0, 127))
        assert_agrees(case, dtype)


@pytest.mark.parametrize("dtype", REAL)
def test_real_numbers_that_are_none(dtype: str) -> None:
    """They count for no bias, belong to no plateau, and stay what they are."""
    case = replace(draw(3), columns=(0, 4))
    raw = np.full((3, 12), float(LEVEL))
    raw[0, :2] = np.nan, np.inf
    raw[1, 6:9] += 50
    raw[1, 7] = np.nan
    raw[2, :4] = np.nan
    search = Search(threshold=10.0, plateau=8.0, filter=0, box=0, tail=0)
    learnt, made = found(replace(case, raw=raw, search=search, num_stds=5.0, saturation=1e4), dtype)
    np.testing.assert_array_equal(learnt.bias, [LEVEL, LEVEL, np.nan])
    flagged = np.argwhere(made.dq & 128).tolist()
    assert flagged == [[0, 1], [1, 6], [1, 8]]
    assert np.isnan(made.data).sum() == 2 + 12


def test_one_median_of_the_whole_frame_and_a_fixed_level() -> None:
    for seed in range(200):
        case = draw(seed)
        columns = case.raw[:, slice(*case.columns)].astype(float)
        for dtype in ("<u2", "<f8"):
            learnt, _ = found(case, dtype, bias=RowBias("frame", case.columns))
            np.testing.assert_array_equal(learnt.bias, np.median(columns))
            error = columns.std() / np.sqrt(columns.size)
            np.testing.assert_allclose(learnt.error, error, rtol=1e-13, atol=1e-15)
            learnt, made = found(case, dtype, bias=RowBias("level", level=300.25, offset=1.0))
            np.testing.assert_array_equal(learnt.bias, 299.25)
            np.testing.assert_array_equal(made.data, case.raw - 299.25)
            np.testing.assert_array_equal(learnt.error, 0.0)


def test_only_the_rows_of_the_image_count() -> None:
    case = draw(1)
    rng = np.random.default_rng(5)
    raw = LEVEL + rng.integers(-2, 3, (9, 20))
    raw[:4, :6] += 200  # rows of other areas
    case = replace(case, raw=raw, columns=(0, 6), num_stds=5.0)
    learnt, made = found(case, area=(4, 9, 8, 20))
    inside = np.median(raw[4:, :6].astype(float), axis=1)
    np.testing.assert_array_equal(learnt.bias[4:], inside)
    assert learnt.repaired == 0
    np.testing.assert_array_equal(made.data, (raw[4:] - inside[:, np.newaxis])[:, 8:])


TABLE = Linearity([1.0, 10.0, 300.0], [-5.0, 0.0, 7.0, 40.0, 41.0], [
    [1.0, 1.1, 0.9], [1.0, 1.0, 1.2], [1.05, 0.97, 1.0], [1.1, 1.0, 0.95], [1.3, 1.0, 0.9],
])  # fmt: skip


@pytest.mark.parametrize("gain", [0.5, 1.0, 4.0, 10.0, 123.4, 300.0, 1e4])
def test_linearity_against_numpy(gain: float) -> None:
    rng = np.random.default_rng(11)
    raw = (LEVEL + rng.normal(0, 30, (5, 333))).round(2)
    for table in (TABLE, Linearity(TABLE.gains[:1], TABLE.counts, TABLE.factors[:, :1])):
        calibration = RawCalibration(
            RowBias("level", level=LEVEL), 2.5, 0.125, search=None, linearity=table
        )
        plan = FramePlan(calibration, gain)
        learnt = scan(stored_bytes(raw), raw.shape, plan)
        assert learnt is not None
        made = prepare(stored_bytes(raw), raw.shape, plan, learnt)
        assert made is not None
        y = raw_twin.linear(raw - LEVEL, gain, table.gains, table.counts, table.factors)
        np.testing.assert_allclose(made.data, 2.5 * y, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(made.err, 0.125 * np.abs(y), rtol=1e-12, atol=1e-13)


def test_uneven_counts_of_a_table() -> None:
    counts = np.array([0.0, 1e-6, 2e-6, 5.0, 6.0, 5e5, 1e6])
    curve = np.array([1.0, 1.5, 0.5, 2.0, 1.0, 3.0, 1.0])
    x = np.concatenate([counts, counts + 1e-7, counts - 1e-7, np.linspace(-5, 1.1e6, 999)])
    table = Linearity([1.0], counts, curve[:, np.newaxis])
    calibration = RawCalibration(RowBias("level"), search=None, linearity=table)
    plan = FramePlan(calibration, 1.0)
    raw = x[np.newaxis]
    learnt = scan(stored_bytes(raw), raw.shape, plan)
    assert learnt is not None
    made = prepare(stored_bytes(raw), raw.shape, plan, learnt)
    assert made is not None
    np.testing.assert_allclose(made.data[0], x * np.interp(x, counts, curve), rtol=1e-12)


def test_many_starts() -> None:
    """More than there is room for at first."""
    raw = np.full((40, 600), LEVEL)
    raw[:, 20::2] += 50
    search = Search(threshold=10.0, plateau=8.0, filter=0, box=1, tail=0)
    assert_agrees(Case(raw, (0, 20), 5.0, search, 1e4))


def test_the_tail_by_gain() -> None:
    assert [DARK.tail_at(gain) for gain in (1.0, 12.5, 37.5, 1000.0)] == [0, 0, 2, 40]
    assert [STANDARD.tail_at(gain) for gain in (1.0, 1000.0)] == [0, 10]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CosmicRaySearch(threshold=-1.0), "threshold = -1.0"),
        (lambda: CosmicRaySearch(box=-2), "box = -2"),
        (lambda: RowBias(columns=(5, 5)), "columns must be a range"),
        (lambda: RowBias("median", (0, 5)), "source must be"),  # type: ignore[arg-type]
        (lambda: RawCalibration(RowBias(columns=(0, 5)), 0.0), "k-gain = 0.0"),
        (lambda: RawCalibration(RowBias(columns=(0, 5)), saturation=0.0), "saturation = 0.0"),
        (lambda: Linearity([1.0, 1.0], [0.0], [[1.0, 1.0]]), "gains must increase"),
        (lambda: Linearity([1.0, np.nan], [0.0], [[1.0, 1.0]]), "finite"),
        (lambda: Linearity([1.0, 2.0], [0.0], [[1.0]]), "have shape"),
        (lambda: Linearity([1.0, 2.0], [0.0], [[1.0, 0.0]]), "not above 0"),
        (lambda: Linearity.from_table([1.0, 2.0]), "no factors"),
    ],
)
def test_wrong_settings(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_arrays_that_do_not_fit() -> None:
    raw = np.zeros((3, 8), np.uint16)
    frame = stored_bytes(raw)
    rule = RowBias(columns=(0, 9)).rule()
    three = np.empty(3), np.empty(3), np.empty(3, np.uint8)
    with pytest.raises(ValueError, match="columns must be among"):
        _core.scan_raw(frame, (0, 3, 0, 8), rule, 1.0, 20.0, None, *three)
    with pytest.raises(ValueError, match="area must be"):
        _core.scan_raw(frame, (0, 4, 0, 8), rule, 1.0, 20.0, None, *three)
    rule = RowBias(columns=(0, 4)).rule()
    with pytest.raises(ValueError, match="row_bias must have shape"):
        _core.scan_raw(frame, (0, 3, 0, 8), rule, 1.0, 20.0, None, np.empty(2), *three[1:])
    none = np.zeros(4, np.int32), np.zeros((0, 2), np.int32)
    for first, runs in (
        (np.array([0, 1, 0, 0], np.int32), none[1]),
        (np.array([0, 0, 0, 1], np.int32), np.array([[3, 9]], np.int32)),
        (np.array([0, 0, 0, 1], np.int32), none[1]),
    ):
        with pytest.raises(ValueError, match="runs of columns"):
            _core.RowCalibration(
                np.zeros(3), np.zeros(3), (1.0, False), (1.0, 0.0), None, first, runs, 8
            )
    good = _core.RowCalibration(np.zeros(3), np.zeros(3), (1.0, False), (1.0, 0.0), None, *none, 8)
    other = stored_bytes(np.zeros((4, 8), np.uint16))
    planes = np.empty((4, 8)), None, np.empty((4, 8), np.uint16)
    with pytest.raises(ValueError, match="calibration must have the rows"):
        _core.prepare_frame(other, good, (0, 4, 0, 8), *planes)
    with pytest.raises(ValueError, match="data must have shape"):
        _core.prepare_frame(frame, good, (0, 3, 0, 8), *planes)
    with pytest.raises(ValueError, match="counts must be finite numbers that increase"):
        _core.LinearityCurve(np.array([1.0, 1.0]), np.ones(2))


def test_the_full_well_of_a_gain() -> None:
    well = FullWell(90_000.0, 105_000.0)
    assert well.counts(1.0, 8.7) == 90_000.0 / 8.7
    assert well.counts(2.0, 8.7) == 105_000.0 / 8.7
