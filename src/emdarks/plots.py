"""Figures of maps, darks and comparisons: the only place that knows Matplotlib.

Figures are made without pyplot: nothing is kept, no display is needed, and any thread
may draw. Colours are those of viridis (values) and of purple to orange (differences and
what has both signs): both read well to colour-blind people and in print.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "before_and_after",
    "map_grid",
    "new_figure",
    "pull_histogram",
    "recovered_against_truth",
    "robust_limits",
    "robust_scatter",
    "show_map",
]

Array = npt.NDArray[Any]
Limits = tuple[float, float]

VALUES = "viridis"
BOTH_SIGNS = "PuOr_r"
#: Okabe and Ito's blue, vermilion and grey.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#666666"
_NO_VALUE = "#c8c8c8"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure.

    Parameters
    ----------
    width, height : float
        Inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    return Figure(figsize=(width, height), layout="constrained")


def robust_limits(values: npt.ArrayLike, share: float = 0.01, symmetric: bool = False) -> Limits:
    """Ends of a colour scale that outliers do not stretch.

    Parameters
    ----------
    values : array_like
        What is to be shown; values that are not finite are left out.
    share : float
        Share of the values that may lie beyond each end.
    symmetric : bool
        Equally far from 0.

    Returns
    -------
    tuple of float
        Lower and upper end, different from each other.
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if finite.size == 0:
        return -1.0, 1.0
    low, high = (float(end) for end in np.quantile(finite, [share, 1.0 - share]))
    if symmetric:
        high = max(abs(low), abs(high))
        low = -high
    if low == high:
        margin = abs(low) or 1.0
        return low - margin, high + margin
    return low, high


def robust_scatter(values: npt.ArrayLike) -> float:
    """Standard deviation of a normal law with the same median absolute deviation.

    Parameters
    ----------
    values : array_like
        Values that are not finite are left out.

    Returns
    -------
    float
        1.4826 times the median absolute deviation; NaN where there is no value.

    Examples
    --------
    >>> from emdarks.plots import robust_scatter
    >>> print(f"{robust_scatter([1.0, 2.0, 3.0, 1000.0]):.4f}")
    1.4826
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if finite.size == 0:
        return float("nan")
    return float(1.4826 * np.median(np.abs(finite - np.median(finite))))


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    return new_figure(width, height).add_subplot() if ax is None else ax


def show_map(
    values: npt.ArrayLike,
    title: str = "",
    unit: str = "",
    *,
    limits: Limits | None = None,
    both_signs: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Show a map with a robust stretch and a colour bar.

    Parameters
    ----------
    values : array_like, shape (rows, columns)
        The map; row 0 is at the bottom, pixels without a value are grey.
    title, unit : str
        Above the map, and at its colour bar.
    limits : tuple of float, optional
        Ends of the scale; `robust_limits` by default.
    both_signs : bool
        Purple to orange with 0 in the middle.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax, 5.0, 4.2)
    array = np.asarray(values, dtype=np.float64)
    low, high = robust_limits(array, symmetric=both_signs) if limits is None else limits
    image = ax.imshow(
        np.ma.masked_invalid(array),
        origin="lower",
        interpolation="nearest",
        cmap=BOTH_SIGNS if both_signs else VALUES,
        vmin=low,
        vmax=high,
    )
    ax.set_facecolor(_NO_VALUE)
    ax.set_title(title, fontsize=10)
    ax.tick_params(labelsize=7)
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(image, ax=ax, extend=_beyond(array, low, high), shrink=0.85)
    bar.set_label(unit, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return ax


def _beyond(array: Array, low: float, high: float) -> Literal["neither", "both", "min", "max"]:
    """At which ends of a colour bar values go on."""
    below, above = bool((array < low).any()), bool((array > high).any())
    if below and above:
        return "both"
    return "min" if below else "max" if above else "neither"


def map_grid(
    columns: Sequence[Mapping[str, npt.ArrayLike]],
    titles: Sequence[str],
    units: Sequence[str],
    both_signs: Sequence[bool],
    limits: Sequence[Limits | None] | None = None,
) -> Figure:
    """Show maps in columns; all maps of a column share one scale.

    Parameters
    ----------
    columns : sequence of mapping of str to array_like
        For each column its maps by their names, such as "fitted" and "true".
    titles, units : sequence of str
        For each column.
    both_signs : sequence of bool
        For each column, as in `show_map`.
    limits : sequence of (tuple of float or None), optional
        For each column the ends of its scale; None takes robust ones of all its maps.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = max(len(column) for column in columns)
    figure = new_figure(4.1 * len(columns), 3.5 * rows)
    grid = figure.subplots(rows, len(columns), squeeze=False)
    chosen = [None] * len(columns) if limits is None else limits
    described = zip(columns, titles, units, both_signs, chosen, strict=True)
    for axes, (maps, title, unit, signs, ends) in zip(grid.T, described, strict=True):
        if ends is None:
            every = np.concatenate([np.ravel(values) for values in maps.values()])
            ends = robust_limits(every, symmetric=signs)
        for ax, (name, values) in zip(axes, maps.items(), strict=False):
            show_map(values, f"{title}, {name}", unit, limits=ends, both_signs=signs, ax=ax)
    return figure


def pull_histogram(pulls: npt.ArrayLike, title: str = "", *, ax: Axes | None = None) -> Axes:
    """Histogram of pulls over the unit normal law that honest errors would give.

    Parameters
    ----------
    pulls : array_like
        (Recovered - true) / error; values that are not finite are left out.
    title : str
        Above the histogram.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax, 4.2, 3.2)
    array = np.asarray(pulls, dtype=np.float64)
    finite = array[np.isfinite(array)]
    edges = np.linspace(-6.0, 6.0, 61).tolist()
    ax.hist(
        np.clip(finite, -5.999, 5.999), edges, density=finite.size > 0, color=BLUE, alpha=0.55,
        label="measured",
    )  # fmt: skip
    x = np.linspace(-6.0, 6.0, 301)
    law = np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi)
    ax.plot(x, law, color=VERMILION, ls="--", label="honest errors")
    if finite.size:
        text = f"median {np.median(finite):+.2f}\nrobust std {robust_scatter(finite):.2f}"
        ax.text(0.03, 0.96, text, transform=ax.transAxes, va="top", fontsize=8)
    ax.set_xlabel("(recovered - true) / error", fontsize=8)
    ax.set_yticks([])
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=7, loc="upper right", frameon=False)
    ax.set_title(title, fontsize=10)
    return ax


def recovered_against_truth(
    truth: npt.ArrayLike,
    recovered: npt.ArrayLike,
    title: str = "",
    unit: str = "",
    *,
    linear_below: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Recovered values against true ones, pixel by pixel, with medians in bins of truth.

    Parameters
    ----------
    truth, recovered : array_like, same shape
        Pairs that are not finite are left out.
    title, unit : str
        Above the plot, and at both axes.
    linear_below : float, optional
        Logarithmic axes that are linear below this value; linear ones by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = _axes(ax, 4.2, 3.6)
    x, y = (np.asarray(values, dtype=np.float64).reshape(-1) for values in (truth, recovered))
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    ax.plot(x, y, ".", ms=1.5, alpha=0.25, color=BLUE, rasterized=True, label="pixels")
    if x.size:
        ends = np.array([x.min(), x.max()])
        ax.plot(ends, ends, color=GREY, lw=1, label="equal")
        _medians(ax, x, y)
    if linear_below is not None:
        ax.set_xscale("symlog", linthresh=linear_below)
        ax.set_yscale("symlog", linthresh=linear_below)
    elif y.size:
        ax.set_ylim(*_wider(robust_limits(y, 0.002), 1.2))
    ax.set_xlabel(f"true, {unit}", fontsize=8)
    ax.set_ylabel(f"recovered, {unit}", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=7, loc="upper left", frameon=False, markerscale=2)
    ax.set_title(title, fontsize=10)
    return ax


def _wider(limits: Limits, factor: float) -> Limits:
    middle, half = (limits[0] + limits[1]) / 2, factor * (limits[1] - limits[0]) / 2
    return middle - half, middle + half


def _medians(ax: Axes, x: Array, y: Array, bins: int = 12) -> None:
    """Median and central 68 % of y in bins of x that hold about the same number of pixels.

    The last bins are narrower in number, so that rare large values have some of their own.
    """
    shares = np.unique(np.concatenate([np.linspace(0, 0.99, bins), np.linspace(0.99, 1, 5)]))
    edges = np.unique(np.quantile(x, shares))
    middles, centres, lows, highs = [], [], [], []
    for low, high in itertools.pairwise(edges):
        inside = (x >= low) & (x <= high)
        if not inside.any():
            continue
        q16, q50, q84 = np.quantile(y[inside], [0.16, 0.5, 0.84])
        middles.append(float(np.median(x[inside])))
        centres.append(q50)
        lows.append(q50 - q16)
        highs.append(q84 - q50)
    ax.errorbar(
        middles, centres, [lows, highs], fmt="o", ms=4, color=VERMILION, lw=1.2,
        label="median, 68 %",
    )  # fmt: skip


def before_and_after(
    panels: Mapping[str, npt.ArrayLike], unit: str = "", *, limits: Limits | None = None
) -> Figure:
    """A frame before and after the subtraction of a dark, and whatever goes with it.

    Parameters
    ----------
    panels : mapping of str to array_like
        Images by their titles, in a row; all on one scale.
    unit : str
        At the colour bars.
    limits : tuple of float, optional
        Ends of the scale; by default robust ones of the first panel.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if limits is None:
        limits = robust_limits(next(iter(panels.values())), 0.005)
    figure = new_figure(4.1 * len(panels), 3.5)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, values) in zip(axes, panels.items(), strict=True):
        show_map(values, title, unit, limits=limits, ax=ax)
    return figure
