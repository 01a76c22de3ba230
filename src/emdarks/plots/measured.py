"""Measured points with their errors, and lines that they are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from emdarks.plots.style import BLUE, GREY, VERMILION, axes_of, label


def measured_points(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    errors: npt.ArrayLike | None = None,
    title: str = "",
    axes: tuple[str, str] = ("", ""),
    *,
    levels: Sequence[float] = (),
    line: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Points with error bars.

    Parameters
    ----------
    x, y : array_like, shape (points,)
        Places and values; those that are not finite are left out.
    errors : array_like, shape (points,), optional
        1-sigma errors.
    title : str
        Above the plot.
    axes : tuple of str
        At the axes.
    levels : sequence of float
        Values that are marked by lines.
    line : tuple of (array_like, array_like), optional
        Places and values of a line that the points are compared with.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 4.2, 3.2)
    places, values = (np.asarray(given, dtype=np.float64) for given in (x, y))
    bars = np.zeros_like(values) if errors is None else np.asarray(errors, dtype=np.float64)
    good = np.isfinite(places) & np.isfinite(values)
    ax.errorbar(
        places[good], values[good], np.nan_to_num(bars[good]), fmt="o", ms=4, color=BLUE,
        elinewidth=1.0,
    )  # fmt: skip
    for level in levels:
        ax.axhline(level, color=GREY, ls="--", lw=1.0)
    if line is not None:
        ax.plot(*line, color=VERMILION, lw=1.2)
    ax.grid(alpha=0.3)
    label(ax, title, *axes)
    return ax
