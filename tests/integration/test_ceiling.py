"""Samples that a camera cut off without a flag are told from the highest ones of noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from validation.hostile_campaign import write_good

from emdarks.accumulate import Sample, StackJob, Threads
from emdarks.accumulate.blocks import FigureArea
from emdarks.checks import inspect_campaign
from emdarks.checks.saturation import samples_at_ceiling
from emdarks.darks import build_trad_dark, calibrate_darks_lsq
from emdarks.data import Dataset
from emdarks.errors import EmdarksWarning
from emdarks.fits.pixels import ArraySource
from emdarks.half_split import check_darks
from loops import for_each

ROWS, COLS = 97, 211
AREA = FigureArea((3, 90), (20, 200), (2, 9))
PIXELS = 87 * 180


def count(frames: list[Any], step: float, scale: float = 1.0) -> int:
    samples = tuple(Sample(ArraySource(frame), scale) for frame in frames)
    job = StackJob(samples, frames[0].shape, 0xFFFF, AREA)
    figures = Threads(1).sums(job).figures
    own = [np.asarray(frame, float)[3:90, 20:200] * scale for frame in frames]
    assert [figure.highest for figure in figures] == [each.max() for each in own]
    assert [figure.at_highest for figure in figures] == [
        int((each == each.max()).sum()) for each in own
    ]
    assert {figure.pixels for figure in figures} == {PIXELS}
    return samples_at_ceiling(figures, step)


@for_each("scatter", [0.4, 0.7, 1.0, 1.5, 2.5, 12.0])
@for_each("whole", [False, True])
def test_noise_has_no_ceiling(scatter: float, whole: bool) -> None:
    """Also where it is a few DN, so that many samples share the highest."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        frames = [rng.normal(500, scatter, (ROWS, COLS)) for _ in range(4)]
        stored = [frame.round() if whole else frame for frame in frames]
        assert count(stored, 1.0) == 0
        assert count([frame.astype(np.float32) for frame in stored], 8.7, 8.7) == 0


def test_charge_of_a_register_has_no_ceiling() -> None:
    rng = np.random.default_rng(4)
    for gain in (3.0, 50.0, 2000.0):
        frames = [
            (rng.poisson(0.2, (ROWS, COLS)) * rng.exponential(gain, (ROWS, COLS))).round()
            + rng.normal(200, 5, (ROWS, COLS)).round()
            for _ in range(5)
        ]
        assert count(frames, 1.0) == 0


@pytest.mark.parametrize(("scatter", "above"), [(1.5, 2.0), (12.0, 0.5), (12.0, 2.5)])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_noise_that_is_cut_off_is_told(scatter: float, above: float, dtype: Any) -> None:
    rng = np.random.default_rng(5)
    top = round(500 + above * scatter)
    frames = [rng.normal(500, scatter, (ROWS, COLS)).round().clip(None, top) for _ in range(4)]
    found = count([frame.astype(dtype) for frame in frames], 1.0)
    assert found == min(int((frame[3:90, 20:200] == top).sum()) for frame in frames)
    assert found > 50


def test_hot_pixels_at_the_full_scale_are_told() -> None:
    rng = np.random.default_rng(6)
    hot = rng.random((ROWS, COLS)) < 0.002
    frames = [rng.normal(500, 2, (ROWS, COLS)).round() for _ in range(3)]
    for frame in frames:
        frame[hot] = 16383
    assert count(frames, 1.0) == int(hot[3:90, 20:200].sum()) > 10
    frames[0][hot], frames[1][hot] = 12000, 11000  # then it is that frame's own
    assert count(frames, 1.0) == 0


def test_products_of_frames_that_are_cut_off_say_so(tmp_path: Path) -> None:
    dataset = Dataset(write_good(tmp_path)).copy()
    camera = str(tmp_path / "camera.toml")
    for frame in dataset[18:24]:
        assert (frame.data > 120).mean() > 0.05
        frame.data = np.minimum(frame.data, 120.0)
    words = "lie at its highest value: they are cut off, no flag says so"
    with pytest.warns(EmdarksWarning, match=words):
        calibrate_darks_lsq(dataset, None, camera=camera)
    with pytest.warns(EmdarksWarning, match=words):
        build_trad_dark(dataset[18:24], None, camera=camera)
    with pytest.warns(EmdarksWarning, match=words):
        check_darks(dataset, camera=camera)
    summary = inspect_campaign(dataset, camera=camera)
    (finding,) = [each for each in summary.findings if "lie at its highest" in each.text]
    assert (finding.severity, finding.topic) == ("warning", "saturation")
