"""Pixels as histograms and against each other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from emdarks.plots.style import (
    BLUE,
    GREEN,
    GREY,
    SMALL,
    VERMILION,
    WORDS,
    Array,
    Limits,
    axes_of,
    label,
    robust_limits,
    robust_scatter,
)


def pull_histogram(
    pulls: npt.ArrayLike,
    title: str = "",
    quantity: str = "(recovered - true) / error",
    *,
    ax: Axes | None = None,
) -> Axes:
    """Histogram of pulls over the unit normal law that honest errors would give.

    Parameters
    ----------
    pulls : array_like
        Differences over their errors; values that are not finite are left out.
    title, quantity : str
        Above the histogram, and below it.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 4.2, 3.2)
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
        text = (
            f"median {np.median(finite):+.2f}\nrobust std {robust_scatter(finite):.2f}\n"
            f"std {np.std(finite):.2f}"
        )
        ax.text(0.03, 0.96, text, transform=ax.transAxes, va="top", fontsize=WORDS)
    label(ax, title, quantity)
    ax.set_yticks([])
    ax.legend(fontsize=SMALL, loc="upper right", frameon=False)
    return ax


def value_histogram(
    values: npt.ArrayLike,
    title: str = "",
    unit: str = "",
    *,
    limits: Limits | None = None,
    expected: float | None = None,
    bins: int = 120,
    ax: Axes | None = None,
) -> Axes:
    """Histogram with a logarithmic scale of numbers, its mean and median marked.

    Parameters
    ----------
    values : array_like
        Values that are not finite are left out; the few beyond the ends of the axis are
        counted in the first and the last bin.
    title, unit : str
        Above the histogram, and below it.
    limits : tuple of float, optional
        Ends of the axis; a bit more than robust ones by default.
    expected : float, optional
        A value to be marked, too.
    bins : int
        Number of bins.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 4.2, 3.0)
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    finite = array[np.isfinite(array)]
    low, high = _wider(robust_limits(finite, 0.001), 1.15) if limits is None else limits
    counts, edges = np.histogram(np.clip(finite, low, high), bins, (low, high))
    ax.stairs(counts, edges, color=BLUE, fill=True, alpha=0.45)
    if finite.size:
        ax.axvline(float(finite.mean()), color=VERMILION, lw=1.4, label="mean")
        ax.axvline(float(np.median(finite)), color="black", ls="--", lw=1.2, label="median")
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.7)
    if expected is not None:
        ax.axvline(expected, color=GREY, ls=":", lw=1.6, label=f"expected: {expected:g}")
    label(ax, title, unit, "pixels")
    ax.legend(fontsize=SMALL, frameon=False)
    return ax


def exceedance(
    values: npt.ArrayLike,
    title: str = "",
    unit: str = "",
    *,
    threshold: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Number of pixels above each value, both axes logarithmic.

    Parameters
    ----------
    values : array_like
        Values that are not positive and finite are left out.
    title, unit : str
        Above the plot, and below it.
    threshold : float, optional
        A value to be marked: where pixels begin to count as hot.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 4.2, 3.0)
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    positive = np.sort(array[np.isfinite(array) & (array > 0)])
    if positive.size:
        edges = np.geomspace(positive[0], positive[-1] * 1.0001, 400)
        # The bulk needs no more than a few percent of its range.
        edges = edges[edges >= np.quantile(positive, 0.02)]
        above = positive.size - np.searchsorted(positive, edges)
        ax.step(edges, np.maximum(above, 0.7), where="post", color=BLUE)
        ax.set_xscale("log")
        ax.set_yscale("log")
    if threshold is not None and threshold > 0:
        ax.axvline(threshold, color=VERMILION, ls="--", lw=1.2, label="hot from here on")
        ax.legend(fontsize=SMALL, frameon=False)
    ax.grid(alpha=0.3)
    label(ax, title, unit, "pixels above")
    return ax


def curves(
    x: npt.ArrayLike,
    lines: Mapping[str, npt.ArrayLike],
    title: str = "",
    quantities: tuple[str, str] = ("", ""),
    *,
    marked: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Several quantities against one.

    Parameters
    ----------
    x : array_like
        The quantity they depend on.
    lines : mapping of str to array_like
        For each its name and its values, of the shape of ``x``.
    title : str
        Above the plot.
    quantities : tuple of str
        At both axes.
    marked : mapping of str to float, optional
        Values of ``x`` that are named.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 4.2, 3.0)
    looks = zip(itertools.cycle((BLUE, VERMILION, GREEN)), itertools.cycle(("-", "--", "-.", ":")))
    for (name, values), (colour, dash) in zip(lines.items(), looks, strict=False):
        ax.plot(np.asarray(x), np.asarray(values), color=colour, ls=dash, lw=1.8, label=name)
    for name, value in (marked or {}).items():
        ax.axvline(value, color=GREY, lw=1.2, label=name)
    ax.grid(alpha=0.3)
    label(ax, title, *quantities)
    ax.legend(fontsize=SMALL, frameon=False)
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
    ax = axes_of(ax, 4.2, 3.6)
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
    label(ax, title, f"true, {unit}", f"recovered, {unit}")
    ax.legend(fontsize=SMALL, loc="upper left", frameon=False, markerscale=2)
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
