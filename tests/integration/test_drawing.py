"""Anything can be drawn: maps and values without a finite number among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emdarks import plots


@pytest.mark.parametrize("values", [np.full((3, 4), np.nan), np.zeros((3, 4)), np.arange(12.0)])
def test_anything_can_be_drawn(values: np.ndarray, tmp_path: Path) -> None:
    image = values.reshape(3, 4)
    figures = [
        plots.show_map(image, "map", "e-", both_signs=True).figure,
        plots.pull_histogram(values).figure,
        plots.recovered_against_truth(values, 2 * values, linear_below=0.1).figure,
        plots.map_grid([{"a": image, "b": image}], ["t"], ["u"], [False]),
        plots.before_and_after({"before": image, "after": image}),
    ]
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.png", dpi=40)


@pytest.mark.parametrize("values", [[], [np.nan], [-1.0, 0.0], [1.0, 2.0, 1e6]])
def test_odd_values_can_be_drawn(values: list[float], tmp_path: Path) -> None:
    figures = [
        plots.value_histogram(values, "v", "e", expected=1.0).figure,
        plots.exceedance(values, threshold=2.0).figure,
        plots.dots(values, values, np.abs(values), (slice(0, 5), slice(0, 7))).figure,
        plots.noise_against_signal(values, values, np.nan, 2.0).figure,
        plots.sequence({"a": (values, values), "b": (values, values)}, "x", "y", limit=1).figure,
        plots.sample_histogram(
            np.arange(-1.0, len(values) + 1), [0] + [np.isfinite(v) for v in values]
        ).figure,
        plots.show_counts(np.reshape(values or [np.nan], (1, -1))).figure,
    ]
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.png", dpi=40)


@pytest.mark.filterwarnings("error")
def test_a_negative_excess_noise_draws_no_root_of_it() -> None:
    """A fit may give one; the model is drawn as far as its variance is positive."""
    ax = plots.noise_against_signal([1.0, 30.0], [10.0, 9.0], 10.0, -0.5)
    line = ax.get_lines()[0]
    assert np.isfinite(line.get_ydata()).all()
    assert max(line.get_xdata()) < 10 / np.sqrt(0.5)
    assert len(plots.noise_against_signal([1.0], [2.0], 0.0, -1.0).get_lines()) == 1
