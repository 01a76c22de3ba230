"""Figures: what axes show."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from emdarks import plots


def test_limits_are_robust() -> None:
    values = np.concatenate([np.linspace(0, 1, 999), [1e9, np.nan]])
    low, high = plots.robust_limits(values)
    assert 0 <= low < 0.02
    assert 0.98 < high <= 1
    assert plots.robust_limits([-1.0, 3.0], 0.0, symmetric=True) == (-3.0, 3.0)
    assert plots.robust_limits([np.nan]) == (-1.0, 1.0)
    assert plots.robust_limits([2.0, 2.0]) == (0.0, 4.0)


def test_robust_scatter_is_that_of_a_normal_law(rng: np.random.Generator) -> None:
    values = rng.normal(5.0, 2.0, 100_000)
    values[:100] = 1e6
    assert plots.robust_scatter(values) == pytest.approx(2.0, rel=0.02)
    assert np.isnan(plots.robust_scatter([np.nan]))


def test_a_map_says_where_values_go_on() -> None:
    ax = plots.show_map([[0.0, 5.0]], limits=(1.0, 2.0))
    assert ax.images[0].colorbar.extend == "both"
    assert ax.images[0].get_clim() == (1.0, 2.0)


def test_small_maps_keep_what_matters() -> None:
    values = np.arange(5.0 * 7).reshape(5, 7)
    values[0, 0] = np.nan
    np.testing.assert_array_equal(plots.shrink(values, 7), values)
    small = plots.shrink(values, 4)  # blocks of 2 x 2, the last ones smaller
    assert small.shape == (3, 4)
    assert small[0, 0] == pytest.approx((1 + 7 + 8) / 3)
    assert small[2, 3] == 34
    hot = np.zeros(values.shape, dtype=bool)
    hot[2, 3] = True
    kept = plots.shrink(values, 4, keep=hot)
    assert kept[1, 1] == values[2, 3]
    assert (kept != small).sum() == 1
    assert plots.shrink(values, 4, how="max")[0, 0] == 8
    assert plots.shrink(values, 4, how="min")[0, 0] == 1
    assert np.isnan(plots.shrink(np.full((5, 7), np.nan), 4)).all()


def test_a_hot_pixel_is_seen_in_a_large_map() -> None:
    values = np.zeros((60, 90))
    values[31, 47] = 1.0
    ax = plots.show_map(values, most=20, keep=values > 0.5, limits=(0.0, 1.0))
    drawn = ax.images[0].get_array()
    assert drawn.shape == (12, 18)
    assert drawn.max() == 1.0
    # The axes count pixels of the detector, whatever is drawn.
    assert tuple(ax.images[0].get_extent()) == (-0.5, 89.5, -0.5, 59.5)


def test_files_of_few_colours_keep_the_white_of_paper() -> None:
    ax = plots.show_map(np.arange(30.0).reshape(5, 6), "title")
    full, few = plots.as_png(ax.figure, 60), plots.as_png(ax.figure, 60, 64)
    assert len(few) < len(full)
    image = PIL.Image.open(io.BytesIO(few))
    assert image.mode == "P"
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_what_lies_beyond_is_shown_by_shape_too() -> None:
    ax = plots.significance(["a", "b", "c"], [0.5, -7.0, np.nan])
    inside, beyond = ax.lines[1:]
    assert (inside.get_marker(), list(inside.get_ydata())) == ("o", [0, 2])
    assert (beyond.get_marker(), list(beyond.get_ydata())) == ("s", [1])
    low, high = ax.get_xlim()
    assert -low == high > 7


def test_samples_are_shown_by_electron() -> None:
    edges, counts, law = [-2.0, 0.0, 1.0, 5.0], [4, 6, 0], [4.0, np.nan, 8.0]
    ax = plots.sample_histogram(edges, counts, law, "t", thresholds=(1.0, 3.0))
    measured, expected = (patch.get_data() for patch in ax.patches)
    np.testing.assert_array_equal(measured.values, [2.0, 6.0, 0.0])
    np.testing.assert_array_equal(expected.values, [2.0, 0.0, 2.0])
    assert [float(np.asarray(line.get_xdata())[0]) for line in ax.lines] == [1.0, 3.0]
    assert ax.get_ylim() == (1.0, 18.0)
    assert ax.get_xlim() == pytest.approx((-2.0, 1.1))


def test_points_of_a_trend_are_where_they_are_said_to_be() -> None:
    times, values = [61041.0, 61043.5, 61050.0], [1.0, 3.0, 2.0]
    panel = plots.Panel("n", "e", times, values, [np.nan] * 3, ([], []), False)
    figure, places = plots.trend_panels([panel] * 3, 10.4)
    assert [len(points) for points in places] == [3, 3, 3]
    image = PIL.Image.open(io.BytesIO(plots.as_png(figure, 150))).convert("RGB")
    for x, y in [place for points in places for place in points]:
        at = round(x * image.width), round(y * image.height)
        assert image.getpixel(at) == (0, 0x72, 0xB2)
