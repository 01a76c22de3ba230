"""Frames of other cameras, made ready row by row: the bits of frames made ready whole."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emdarks.accumulate import Sample, StackJob, Threads
from emdarks.accumulate.blocks import FigureArea
from emdarks.fits.pixels import ArraySource, Scratch
from emdarks.frames.bias import LevelledSource, Levels, _can_stream, _streamed
from emdarks.frames.raw_source import RawSource

SHAPE = ROWS, COLS = 9, 61
AREA = FigureArea((1, 8), (4, 50), (51, 61))

CASES = [
    Levels(bias=99.5),
    Levels(bias=100.37, saturation=160.0),
    Levels(saturation=150.0),
    Levels(columns=(50, 61)),
    Levels(columns=(50, 60), saturation=150.0),
    Levels(columns=(50, 60), saturation=150.0, num_stds=1.5),
    Levels(columns=(50, 61), per="frame", saturation=150.5),
    Levels(columns=(50, 60), per="frame"),
]


def frames(dtype: str) -> list[ArraySource]:
    rng = np.random.default_rng(23)
    numbers = rng.integers(90, 120, (5, *SHAPE)) + (rng.random((5, *SHAPE)) < 0.1) * 50
    numbers[1, 3] += 9  # a row apart
    numbers[2, 5, 50:] = 165  # a row without bias, where saturated samples do not count
    return [ArraySource(each.astype(dtype)) for each in numbers]


@pytest.mark.parametrize("dtype", ["<u2", ">i2", "u1", "<i4"])
@pytest.mark.parametrize("levels", CASES, ids=str)
def test_same_bits(levels: Levels, dtype: str) -> None:
    whole = [LevelledSource(each, levels) for each in frames(dtype)]
    rows = [_streamed(each, levels) for each in frames(dtype)]
    assert all(_can_stream(each, levels) for each in frames(dtype))
    found = []
    for sources in (whole, rows):
        samples = tuple(Sample(source, 0.3) for source in sources)
        found.append(Threads(1).sums(StackJob(samples, SHAPE, 1 | 32, AREA)))
    assert found[0].moments.equal(found[1].moments)
    plain = tuple(replace(each, repaired_rows=0) for each in found[1].figures)
    assert repr(found[0].figures) == repr(plain)
    for one, other in zip(whole, rows, strict=True):
        assert_same_pixels(one, other)
        assert other.has_err == one.has_err


def assert_same_pixels(one: LevelledSource, other: RawSource) -> None:
    planes = []
    for source in (one, other):
        reader = source.open()
        data, err, dq = reader.pixels(0, ROWS * COLS, Scratch(ROWS * COLS))
        assert err is None
        planes.append((data.tobytes(), np.zeros(ROWS * COLS) if dq is None else dq))
        reader.close()
    assert planes[0][0] == planes[1][0]
    np.testing.assert_array_equal(planes[0][1], planes[1][1])


@pytest.mark.parametrize(
    ("source", "levels"),
    [
        (ArraySource(np.zeros(SHAPE)), Levels(bias=1.0)),
        (ArraySource(np.zeros(SHAPE, np.int64)), Levels(bias=1.0)),
        (ArraySource(np.zeros(SHAPE, np.int16)), Levels(bias=1.0, least=0.0)),
        (ArraySource(np.zeros(SHAPE, np.int16)), Levels(frame="bias.fits")),
        (ArraySource(np.zeros(SHAPE, np.int16)), Levels(columns=(1, 4), statistic="mean")),
        (ArraySource(np.zeros(SHAPE, np.int16)), Levels(1.5, columns=(1, 4))),
        (
            ArraySource(np.zeros(SHAPE, np.int16), None, np.zeros(SHAPE, np.uint8)),
            Levels(columns=(1, 4), saturation=math.inf),
        ),
    ],
    ids=str,
)
def test_others_are_made_ready_whole(source: Any, levels: Levels) -> None:
    assert not _can_stream(source, levels)
