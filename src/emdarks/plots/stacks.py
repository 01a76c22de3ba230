"""Stacks and single frames of a campaign."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from emdarks.plots.style import (
    BLUE,
    GREEN,
    GREY,
    SMALL,
    VERMILION,
    WORDS,
    Array,
    axes_of,
    label,
    new_figure,
)

#: Shapes and colours by which stacks are told apart: never by colour alone.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
COLOURS = (BLUE, VERMILION, GREEN, GREY)


def significance(
    names: Sequence[str],
    sigmas: npt.ArrayLike,
    title: str = "",
    unit: str = "standard errors",
    *,
    limit: float = 5.0,
    ax: Axes | None = None,
) -> Axes:
    """One dot a stack: how many standard errors a value lies from 0.

    Parameters
    ----------
    names : sequence of str
        The stacks, from top to bottom.
    sigmas : array_like, shape (stacks,)
        Values over their standard errors; NaN leaves a line empty.
    title, unit : str
        Above the plot, and below it.
    limit : float
        Half the width of the band in which all is well; dots beyond it are open squares.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = around(names, sigmas, 0.0, limit, title, unit, ax=ax)
    reach = max(abs(end) for end in ax.get_xlim())
    ax.set_xlim(-reach, reach)
    return ax


def around(
    names: Sequence[str],
    values: npt.ArrayLike,
    middle: float,
    limit: float,
    title: str = "",
    unit: str = "",
    *,
    ax: Axes | None = None,
) -> Axes:
    """One dot a name, and the band in which it is expected.

    Parameters
    ----------
    names : sequence of str
        From top to bottom.
    values : array_like, shape (names,)
        NaN leaves a line empty.
    middle, limit : float
        Middle of the band, and half its width; values beyond it are open squares.
    title, unit : str
        Above the plot, and below it.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 5.0, 1.2 + 0.26 * len(names))
    x = np.asarray(values, dtype=np.float64)
    y = np.arange(len(names))
    beyond = np.abs(x - middle) > limit
    ax.axvspan(middle - limit, middle + limit, color=GREY, alpha=0.15, lw=0)
    ax.axvline(middle, color=GREY, lw=0.8)
    ax.plot(x[~beyond], y[~beyond], "o", color=BLUE, ms=5)
    ax.plot(x[beyond], y[beyond], "s", mfc="none", mew=1.8, color=VERMILION, ms=7)
    known = np.abs(x[np.isfinite(x)] - middle)
    reach = 1.2 * max(limit, float(known.max()) if known.size else 0.0)
    ax.set_xlim(middle - reach, middle + reach)
    ax.set_yticks(y, names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    label(ax, title, unit)
    return ax


def noise_against_signal(
    signal: npt.ArrayLike,
    scatter: npt.ArrayLike,
    read_noise: float,
    excess: float,
    title: str = "",
    *,
    ax: Axes | None = None,
) -> Axes:
    """Scatter of samples against signal, one dot a stack, and the noise model as a line.

    Parameters
    ----------
    signal : array_like, shape (stacks,)
        g sqrt(C + t D), EM electrons.
    scatter : array_like, shape (stacks,)
        Standard deviation of a sample, EM electrons.
    read_noise, excess : float
        Of the model sqrt(read_noise^2 + excess signal^2).
    title : str
        Above the plot.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 4.2, 3.2)
    x, y = (np.asarray(values, dtype=np.float64) for values in (signal, scatter))
    shown = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    if shown.any():
        line = np.geomspace(x[shown].min() / 1.5, x[shown].max() * 1.5, 200)
        variance = read_noise**2 + excess * line**2
        told = variance > 0  # a fitted excess noise may be negative
        if told.any():
            ax.plot(line[told], np.sqrt(variance[told]), color=GREY, ls="--", label="model")
        ax.plot(x[shown], y[shown], "o", color=BLUE, ms=5, label="stacks")
        ax.set_xscale("log")
        ax.set_yscale("log")
        # Labels between the powers of ten would lie on each other.
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.legend(fontsize=SMALL, frameon=False, loc="upper left")
    ax.grid(alpha=0.3)
    label(ax, title, "g √(C + t D), EM e⁻", "scatter of a sample, EM e⁻")
    return ax


def sample_histogram(
    edges: npt.ArrayLike,
    counts: npt.ArrayLike,
    law: npt.ArrayLike | None = None,
    title: str = "",
    *,
    thresholds: Sequence[float] = (),
    ax: Axes | None = None,
) -> Axes:
    """Samples of a stack by their size, and what a law gives for them.

    Parameters
    ----------
    edges : array_like, shape (bins + 1,)
        Edges of the bins, EM electrons.
    counts, law : array_like, shape (bins,)
        Samples in each bin, measured and expected.
    title : str
        Above the plot.
    thresholds : sequence of float
        Marked by lines, EM electrons.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 4.2, 3.2)
    x, n = np.asarray(edges, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    filled, width = np.flatnonzero(n > 0), np.diff(x)
    ax.stairs(n / width, x, color=BLUE, fill=True, alpha=0.35, label="samples")
    if law is not None:
        expected = np.nan_to_num(np.asarray(law, dtype=np.float64))
        ax.stairs(expected / width, x, color=VERMILION, lw=1.2, label="law without rays")
    for threshold in thresholds:
        ax.axvline(threshold, color=GREY, ls=":", lw=1.0)
    # Even bins below, octaves above: linear about 0, logarithmic beyond.
    linear = max(abs(x[0]), 1e-30)
    ax.set_xscale("symlog", linthresh=linear)
    if filled.size:
        ax.set_yscale("log")
        density = (n / width)[filled]
        ax.set_ylim(0.5 * density.min(), 3 * density.max())
        right = x[filled[-1] + 1] * 1.1
        ax.set_xlim(x[0], right)
        # Powers of ten that are far enough from 0 not to be written over it.
        highest = math.floor(math.log10(max(right, linear)))
        lowest = min(math.ceil(math.log10(linear / 3)), highest)
        ax.set_xticks([0.0, *(10.0**power for power in range(lowest, highest + 1))])
    ax.legend(fontsize=SMALL, frameon=False, loc="upper right")
    label(ax, title, "sample, EM e⁻", "samples per e⁻")
    return ax


def sequence(
    stacks: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    x: str,
    y: str,
    title: str = "",
    *,
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A figure of every frame along the sequence, stacks told apart by marker and colour.

    Parameters
    ----------
    stacks : mapping of str to (array_like, array_like)
        For each stack its name, times and values; values that are not finite are left out.
    x, y : str
        At the axes.
    title : str
        Above the plot.
    limit : float, optional
        Half the width of a band about 0 in which all is well.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = axes_of(ax, 10.4, 3.0)
    if limit is not None:
        ax.axhspan(-limit, limit, color=GREY, alpha=0.15, lw=0)
        ax.axhline(0.0, color=GREY, lw=0.8)
    total = sum(np.size(values) for _, values in stacks.values())
    size = 4.0 if total < 2000 else 2.0
    for number, (name, (times, values)) in enumerate(stacks.items()):
        t, v = _finite(times, values)
        marker = MARKERS[number % len(MARKERS)]
        colour = COLOURS[(number + number // len(MARKERS)) % len(COLOURS)]
        ax.plot(t, v, marker, color=colour, ms=size, alpha=0.7, mew=0, label=name)
    label(ax, title, x, y)
    if 1 < len(stacks) <= len(MARKERS) * len(COLOURS):
        figure = ax.get_figure(root=True)
        assert figure is not None
        columns = 4 if figure.get_figwidth() > 8 else 2
        # Every panel of a figure has the same stacks: one legend for all.
        if not figure.legends:
            handles, names = ax.get_legend_handles_labels()
            figure.legend(
                handles, names, fontsize=SMALL, frameon=False, loc="outside lower center",
                ncols=columns, markerscale=1.5,
            )  # fmt: skip
    return ax


def _finite(times: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Array, Array]:
    t, v = (np.asarray(given, dtype=np.float64) for given in (times, values))
    good = np.isfinite(t) & np.isfinite(v)
    return t[good], v[good]


def frame_levels(summary: Any, *, width: float | None = None) -> list[Axes]:
    """Levels of single frames along the sequence, a panel for each stack.

    Parameters
    ----------
    summary : CampaignSummary
        As `emdarks.checks.inspect_campaign` gives it.
    width : float, optional
        Of the figure, inches; what the panels need by default.

    Returns
    -------
    list of matplotlib.axes.Axes
        One for each stack, of one figure: levels in EM electrons against hours since the
        first frame, or against the number of the frame where starts are unknown. The line
        is the median, the band six standard errors around it; frames beyond are marked.
    """
    columns = min(4, math.ceil(math.sqrt(max(1, len(summary.stacks) / 2))))
    rows = math.ceil(len(summary.stacks) / columns)
    if width is not None:
        columns = max(1, min(columns, int(width / 3.2)))
        rows = math.ceil(len(summary.stacks) / columns)
    figure = new_figure(width or 4.2 * columns + 0.6, 1.8 * max(rows, 1) + 0.8)
    starts = [frame.start for stack in summary.stacks for frame in stack.frame_summaries]
    first = min(starts) if starts and np.isfinite(starts).all() else None
    axes = []
    for number, stack in enumerate(summary.stacks):
        ax = figure.add_subplot(rows, columns, number + 1)
        _stack_levels(ax, stack, first)
        axes.append(ax)
    figure.legend(handles=_level_marks(), fontsize=SMALL, frameon=False, ncols=3,
                  loc="outside upper left")  # fmt: skip
    figure.supxlabel("frame" if first is None else "hours since the first frame", fontsize=WORDS)
    figure.supylabel("level, EM e⁻", fontsize=WORDS)
    return axes


def _level_marks() -> list[Any]:
    """What the marks of `frame_levels` mean."""
    return [
        Line2D([], [], ls="", marker=".", ms=6, color=BLUE, label="frame"),
        Line2D([], [], ls="", marker="D", ms=5, color=VERMILION, label="beyond the band"),
        Patch(color=GREY, alpha=0.3, lw=0, label="median ± 6 standard errors"),
    ]


def _stack_levels(ax: Axes, stack: Any, first: float | None) -> None:
    frames = stack.frame_summaries
    level = np.array([frame.figures.level for frame in frames])
    sigmas = np.array([frame.sigmas for frame in frames])
    offset = np.array([frame.offset for frame in frames])
    time = np.arange(len(frames), dtype=np.float64)
    if first is not None:
        time = 24.0 * (np.array([frame.start for frame in frames]) - first)
    odd = np.abs(sigmas) > 6.0
    ax.plot(time[~odd], level[~odd], ".", ms=4, color=BLUE)
    ax.plot(time[odd], level[odd], "D", ms=4, color=VERMILION)
    judged = np.isfinite(sigmas) & (sigmas != 0)
    if judged.any():
        middle = float(np.median((level - offset)[judged]))
        error = float(np.median(offset[judged] / sigmas[judged]))
        ax.axhline(middle, color=GREY, lw=0.8)
        ax.axhspan(middle - 6 * error, middle + 6 * error, color=GREY, alpha=0.15, lw=0)
    ax.set_title(f"EM {stack}", fontsize=WORDS, loc="left")
    ax.tick_params(labelsize=SMALL)
