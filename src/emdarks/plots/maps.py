"""Maps, side by side or one by one; large ones made smaller first."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Rectangle

from emdarks.plots.style import (
    BLUE,
    BOTH_SIGNS,
    NO_VALUE,
    SMALL,
    VALUES,
    WORDS,
    Array,
    Limits,
    axes_of,
    label,
    new_figure,
    robust_limits,
)

#: Box of pixels: rows and columns.
Box = tuple[slice, slice]


def shrink(
    values: npt.ArrayLike,
    most: int,
    *,
    keep: npt.ArrayLike | None = None,
    how: Literal["mean", "max", "min"] = "mean",
) -> Array:
    """Make a map small enough to be drawn: square blocks of pixels become one.

    Parameters
    ----------
    values : array_like, shape (rows, columns)
        The map; NaN is left out where a block has other values.
    most : int
        Largest number of rows and columns of the result.
    keep : array_like of bool, shape (rows, columns), optional
        Pixels that must stay visible, such as hot ones: a block that has any shows the
        largest of them instead of its mean.
    how : {"mean", "max", "min"}
        What a block shows.

    Returns
    -------
    ndarray of float
        The map itself where it is small enough.
    """
    array = np.asarray(values, dtype=np.float64)
    size = -(-max(array.shape) // most)
    if size <= 1:
        return array
    if how != "mean":
        worst = np.fmax if how == "max" else np.fmin
        return _blocks(worst, array, size)
    finite = np.isfinite(array)
    count = _blocks(np.add, finite.astype(np.int32), size)
    total = _blocks(np.add, np.where(finite, array, 0.0), size)
    small = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    if keep is not None:
        kept = _blocks(np.fmax, np.where(np.asarray(keep, dtype=bool), array, np.nan), size)
        small = np.where(np.isfinite(kept), kept, small)
    return small


def _blocks(combine: np.ufunc, array: Array, size: int) -> Array:
    rows, cols = (np.arange(0, length, size) for length in array.shape)
    merged: Array = combine.reduceat(combine.reduceat(array, rows, axis=0), cols, axis=1)
    return merged


def show_map(
    values: npt.ArrayLike,
    title: str = "",
    unit: str = "",
    *,
    limits: Limits | None = None,
    both_signs: bool = False,
    most: int | None = None,
    keep: npt.ArrayLike | None = None,
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
    most, keep : int and array_like of bool, optional
        Largest number of rows and columns to be drawn, and pixels that stay visible
        in a larger map; see `shrink`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 5.0, 4.2)
    full = np.asarray(values, dtype=np.float64)
    array = full if most is None else shrink(full, most, keep=keep)
    low, high = robust_limits(array, symmetric=both_signs) if limits is None else limits
    image = ax.imshow(
        np.ma.masked_invalid(array),
        origin="lower",
        interpolation="nearest",
        cmap=BOTH_SIGNS if both_signs else VALUES,
        vmin=low,
        vmax=high,
        extent=_extent(full),
    )
    ax.set_facecolor(NO_VALUE)
    label(ax, title)
    _bar(ax, image, unit, extend=_beyond(array, low, high))
    return ax


def _extent(array: Array) -> tuple[float, float, float, float]:
    """Edges of a map in pixels of the detector, whatever is drawn of it."""
    rows, cols = array.shape
    return -0.5, cols - 0.5, -0.5, rows - 0.5


def _bar(ax: Axes, image: Any, unit: str, **options: Any) -> None:
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(image, ax=ax, shrink=0.85, **options)
    bar.set_label(unit, fontsize=WORDS)
    bar.ax.tick_params(labelsize=SMALL)


def show_counts(
    values: npt.ArrayLike,
    title: str = "",
    unit: str = "",
    *,
    most: int | None = None,
    worst: Literal["max", "min"] = "max",
    ax: Axes | None = None,
) -> Axes:
    """Show a map of whole numbers, one colour each where they are few.

    Parameters
    ----------
    values : array_like of int, shape (rows, columns)
        The map.
    title, unit : str
        Above the map, and at its colour bar.
    most : int, optional
        Largest number of rows and columns to be drawn.
    worst : {"max", "min"}
        Which pixel of a block a smaller map shows.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 5.0, 4.2)
    full = np.asarray(values, dtype=np.float64)
    array = full if most is None else shrink(full, most, how=worst)
    finite = full[np.isfinite(full)]
    low, high = (int(finite.min()), int(finite.max())) if finite.size else (0, 0)
    options: dict[str, Any] = {"vmin": low, "vmax": max(high, low + 1)}
    few = high - low < 12
    if few:
        options = {"norm": BoundaryNorm(np.arange(low - 0.5, high + 1.0).tolist(), 256)}
    image = ax.imshow(
        np.ma.masked_invalid(array),
        origin="lower",
        interpolation="nearest",
        cmap=VALUES,
        extent=_extent(full),
        **options,
    )
    ax.set_facecolor(NO_VALUE)
    label(ax, title)
    _bar(ax, image, unit, **({"ticks": range(low, high + 1)} if few else {}))
    return ax


def outline(ax: Axes, box: Box) -> None:
    """Draw a dashed frame around a part of a map.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The map.
    box : tuple of slices
        Rows and columns.
    """
    rows, cols = box
    corner = cols.start - 0.5, rows.start - 0.5
    size = cols.stop - cols.start, rows.stop - rows.start
    # Black on white shows on any colour.
    for style, colour in (("-", "white"), ("--", "black")):
        ax.add_patch(Rectangle(corner, *size, fill=False, ls=style, lw=1.1, ec=colour))


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


def dots(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    values: npt.ArrayLike,
    box: Box,
    title: str = "",
    *,
    ax: Axes | None = None,
) -> Axes:
    """Show single pixels of a map as dots, brighter ones larger.

    Parameters
    ----------
    x, y : array_like
        Columns and rows.
    values : array_like
        Brightness; positive.
    box : tuple of slices
        Part of the map to be shown.
    title : str
        Above the map.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 5.0, 4.2)
    brightness = np.asarray(values, dtype=np.float64)
    # Many dots must not cover the map.
    largest = float(np.clip(1e4 / max(brightness.size, 1), 5.0, 60.0))
    area = np.full(brightness.shape, largest)
    if brightness.size and brightness.max() > 0:
        area = np.clip(largest * brightness / brightness.max(), largest / 15, largest)
    ax.scatter(x, y, s=area, color=BLUE, alpha=0.6, linewidths=0, rasterized=True)
    rows, cols = box
    ax.set_xlim(cols.start - 0.5, cols.stop - 0.5)
    ax.set_ylim(rows.start - 0.5, rows.stop - 0.5)
    ax.set_aspect("equal")
    label(ax, title, "column", "row")
    return ax


def thumbnail(values: npt.ArrayLike, *, both_signs: bool = False, size: int = 200) -> bytes:
    """Small picture of a map, without axes.

    Parameters
    ----------
    values : array_like, shape (rows, columns)
        The map; of large ones, blocks of pixels are averaged. Row 0 is at the bottom, pixels
        without a value are grey.
    both_signs : bool
        As in `show_map`.
    size : int
        Most rows and columns of the picture.

    Returns
    -------
    bytes
        A PNG file.
    """
    small = shrink(values, size)
    # Of a small frame, telemetry rows are more than a hundredth.
    low, high = robust_limits(small, 0.03, symmetric=both_signs)
    colours = colormaps[BOTH_SIGNS if both_signs else VALUES].with_extremes(bad=NO_VALUE)
    out = io.BytesIO()
    shown = np.ma.masked_invalid(small)
    imsave(out, shown, vmin=low, vmax=high, cmap=colours, origin="lower", format="png")
    return out.getvalue()
