"""What all figures have in common: size, colours, scales, and how they become files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emdarks import _core

Array = npt.NDArray[Any]
Limits = tuple[float, float]

VALUES = "viridis"
BOTH_SIGNS = "PuOr_r"
#: Okabe and Ito's blue, vermilion, green, and a grey.
BLUE, VERMILION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
#: Pixels without a value.
NO_VALUE = "#c8c8c8"


#: Sizes of text, points: titles, labels, and what stands at ticks and in legends. A page draws
#: figures ten inches wide; on a phone they are two thirds of that.
TITLE, WORDS, SMALL = 12.0, 10.5, 9.5


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
    return 1.4826 * _core.median(np.abs(finite - _core.median(finite)))


def axes_of(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes given, or those of a new figure of this size (inches)."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def label(ax: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Title, labels and ticks in the sizes of all figures."""
    ax.set_title(title, fontsize=TITLE)
    ax.set_xlabel(x, fontsize=WORDS)
    ax.set_ylabel(y, fontsize=WORDS)
    ax.tick_params(which="both", labelsize=SMALL)


def as_png(figure: Figure, dpi: int = 110, colours: int | None = None) -> bytes:
    """The figure as a PNG file.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to draw.
    dpi : int
        Pixels per inch.
    colours : int, optional
        Of how many colours, 256 at most: a third of the size. All, by default.

    Returns
    -------
    bytes
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    if colours is None:
        return drawn.getvalue()
    return fewer_colours(PIL.Image.open(drawn), colours)


def fewer_colours(image: PIL.Image.Image, colours: int) -> bytes:
    """A picture as a PNG file of few colours.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture.
    colours : int
        How many, 256 at most.

    Returns
    -------
    bytes
    """
    # Trees keep the hues of a colour scale, which median cut shifts, but not the white of paper.
    few = image.convert("RGB").quantize(
        colours, PIL.Image.Quantize.FASTOCTREE, dither=PIL.Image.Dither.NONE
    )
    palette = few.getpalette() or []
    lightest = max(range(len(palette) // 3), key=lambda i: sum(palette[3 * i : 3 * i + 3]))
    palette[3 * lightest : 3 * lightest + 3] = [255, 255, 255]
    few.putpalette(palette)
    stored = io.BytesIO()
    few.save(stored, "png", optimize=True)
    return stored.getvalue()
