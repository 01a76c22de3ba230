"""Figures of maps, darks, campaigns and comparisons: the only place that knows Matplotlib.

Figures are made without pyplot: nothing is kept, no display is needed, and any thread
may draw. Colours are those of viridis (values) and of purple to orange (differences and
what has both signs): both read well to colour-blind people and in print. Lines, dots and
bands differ in shape, too, never in colour alone.
"""

from matplotlib.figure import Figure

from emdarks.plots.maps import (
    before_and_after,
    dots,
    map_grid,
    outline,
    show_counts,
    show_map,
    shrink,
    thumbnail,
)
from emdarks.plots.measured import measured_points
from emdarks.plots.pixels import (
    curves,
    exceedance,
    pull_histogram,
    recovered_against_truth,
    value_histogram,
)
from emdarks.plots.stacks import (
    around,
    frame_levels,
    noise_against_signal,
    sample_histogram,
    sequence,
    significance,
)
from emdarks.plots.style import (
    as_png,
    fewer_colours,
    new_figure,
    robust_limits,
    robust_scatter,
)
from emdarks.plots.trend import Panel, trend_panels

__all__ = [
    "Figure",
    "Panel",
    "around",
    "as_png",
    "before_and_after",
    "curves",
    "dots",
    "exceedance",
    "fewer_colours",
    "frame_levels",
    "map_grid",
    "measured_points",
    "new_figure",
    "noise_against_signal",
    "outline",
    "pull_histogram",
    "recovered_against_truth",
    "robust_limits",
    "robust_scatter",
    "sample_histogram",
    "sequence",
    "show_counts",
    "show_map",
    "shrink",
    "significance",
    "thumbnail",
    "trend_panels",
    "value_histogram",
]
