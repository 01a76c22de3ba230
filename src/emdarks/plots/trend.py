"""Numbers of many nights: a panel a quantity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from emdarks.plots.style import BLUE, GREY, VERMILION, label, new_figure

#: MJD of the day from which Matplotlib counts.
_EPOCH = 40587.0
_HEIGHT = 2.5


class Panel(NamedTuple):
    """What one panel shows.

    Attributes
    ----------
    title, unit : str
        Above it, and at its axis.
    times : array_like, shape (nights,)
        MJD.
    values, errors : array_like, shape (nights,)
        Errors that are not finite are not drawn.
    line : tuple of (array_like, array_like)
        MJD and values of what the numbers are compared with; it may be empty.
    changed : bool
        It has changed: the line is then drawn in another colour and style.
    """

    title: str
    unit: str
    times: npt.ArrayLike
    values: npt.ArrayLike
    errors: npt.ArrayLike
    line: tuple[npt.ArrayLike, npt.ArrayLike]
    changed: bool


def trend_panels(
    panels: Sequence[Panel], width: float
) -> tuple[Figure, list[list[tuple[float, float]]]]:
    """A panel a quantity, values with error bars against dates.

    Parameters
    ----------
    panels : sequence of Panel
        One or more.
    width : float
        Of the figure, inches.

    Returns
    -------
    matplotlib.figure.Figure
    list of list of (float, float)
        For each panel the places of its points in the figure, as shares of its width and height
        from the left and from the top.
    """
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    figure = new_figure(width, _HEIGHT * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax, panel in zip(axes, panels, strict=False):
        _draw(ax, panel)
    figure.draw_without_rendering()
    return figure, [_places(figure, ax, panel) for ax, panel in zip(axes, panels, strict=False)]


def _days(times: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(times, dtype=np.float64) - _EPOCH


def _draw(ax: Axes, panel: Panel) -> None:
    errors = np.nan_to_num(np.asarray(panel.errors, dtype=np.float64), posinf=0.0)
    ax.errorbar(_days(panel.times), panel.values, errors, fmt="o", ms=4, color=BLUE, elinewidth=0.9)
    colour, style = (VERMILION, "-") if panel.changed else (GREY, "--")
    ax.plot(_days(panel.line[0]), panel.line[1], style, color=colour, lw=1.4)
    locator: Any = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    ax.margins(x=0.04)
    ax.grid(alpha=0.3)
    label(ax, panel.title, "", panel.unit)
    ax.title.set_fontsize(10.5)


def _places(figure: Figure, ax: Axes, panel: Panel) -> list[tuple[float, float]]:
    points = np.column_stack([_days(panel.times), np.asarray(panel.values, dtype=np.float64)])
    x, y = figure.transFigure.inverted().transform(ax.transData.transform(points)).T
    return list(zip(x.tolist(), (1.0 - y).tolist(), strict=True))
