"""Figures and facts that pages of several products show: maps, hot pixels, flags, provenance."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from emdarks import plots
from emdarks.bad_pixels import build_bad_pixel_map
from emdarks.checks.formatting import observed
from emdarks.checks.product_summary import Array, Plane, ProductSummary, ProductView
from emdarks.dq import DQ
from emdarks.errors import EmdarksError, EmdarksWarning
from emdarks.plots import Figure
from emdarks.products.provenance import mjd_of, parent_names
from emdarks.report.page import WIDTH, Section, render

#: Largest number of rows and columns of a map on a page.
MOST = 560
#: Hot pixels in the table.
LISTED = 10
#: Characters that fit a card of history; a space at its end is lost.
FULL_CARD = 72
#: Cards of a header that say nothing to readers.
_DULL = ("COMMENT", "HISTORY", "", "CHECKSUM", "DATASUM")


# Maps


def map_height(view: ProductView, width: float) -> float:
    """Height (inches) that a map of this width takes, colour bar and title included."""
    rows, cols = view.shape
    return 0.65 + 0.72 * width * min(max(rows / cols, 0.35), 1.3)


def map_block(view: ProductView) -> dict[str, Any] | None:
    """What a point of a map stands for, where it is several pixels."""
    size = -(-max(view.shape) // MOST)
    return None if size == 1 else {"size": size, "key": view.brightness.key}


def value_limits(view: ProductView, values: Array, both_signs: bool) -> tuple[float, float]:
    """Ends of the scale of a map: what its ordinary pixels show in the size of the page."""
    area = np.where(view.hot, np.nan, values[view.area])
    return plots.robust_limits(plots.shrink(area, MOST), symmetric=both_signs)


def draw_plane(view: ProductView, plane: Plane, value_ax: Any, error_ax: Any) -> None:
    """Values and errors of a plane side by side; hot pixels stay visible."""
    values, errors = plane.values * plane.scale, plane.errors * plane.scale
    hot = view.in_frame(view.hot) if plane is view.brightness else None
    limits = value_limits(view, values, plane.both_signs)
    plots.show_map(
        values, plane.title, plane.unit, limits=limits, both_signs=plane.both_signs,
        most=MOST, keep=hot, ax=value_ax,
    )  # fmt: skip
    shown = np.where(errors > 0, errors, np.nan)
    limits = value_limits(view, shown, False)
    plots.show_map(
        shown, f"error of {plane.key or 'the dark'}", plane.unit, limits=limits, most=MOST,
        keep=hot, ax=error_ax,
    )  # fmt: skip
    if not view.whole:
        for ax in (value_ax, error_ax):
            plots.outline(ax, view.area)


def draw_histograms(
    view: ProductView,
    plane: Plane,
    value_ax: Any,
    error_ax: Any,
    bins: Callable[[float, float], int] = lambda low, high: 120,
) -> None:
    """Distributions of the values and errors of a plane; ordinary pixels give the scale."""
    values, errors = (
        plane.scale * array[view.area][view.good] for array in (plane.values, plane.errors)
    )
    cold = plots.robust_limits(values[~view.hot[view.good]], 0.0005)
    limits = cold[0] - 0.1 * (cold[1] - cold[0]), cold[1] + 0.25 * (cold[1] - cold[0])
    plots.value_histogram(
        values, plane.title, plane.unit, limits=limits, bins=bins(*limits), ax=value_ax
    )
    plots.value_histogram(
        errors, f"error of {plane.key}" if plane.key else "error", plane.unit, ax=error_ax
    )


def panel_figure(panels: int, height: float) -> tuple[Figure, Sequence[Any]]:
    """A figure of the page's width with panels in a row."""
    figure = plots.new_figure(WIDTH, height)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    return figure, list(axes)


# Hot pixels


def hot_pixels(view: ProductView) -> dict[str, Any]:
    """How many pixels are hot, the brightest of them, and what `emdarks badpixels` would say."""
    rows, cols = np.nonzero(view.in_frame(view.hot))
    plane = view.brightness
    order = np.argsort(-plane.values[rows, cols], kind="stable")[:LISTED]
    brightest = [
        {
            "row": pixel[0],
            "col": pixel[1],
            "value": plane.scale * (value := plane.values[pixel]),
            "error": plane.scale * (error := plane.errors[pixel]),
            "ratio": value / error if error > 0 else np.nan,
        }
        for pixel in zip(rows[order], cols[order], strict=True)
    ]
    good = int(view.good.sum())
    return {"pixels": rows.size, "good": good, "rows": brightest, "listed": _bad_pixels(view)}


def _bad_pixels(view: ProductView) -> Any:
    """Header of the bad-pixel map of this product; None where there can be none."""
    # What is wrong with the product stands elsewhere on the page.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        try:
            made = build_bad_pixel_map(view.product, use_signed="SIGNED" in view.product.hdu_names)
        except EmdarksError:
            return None
    return made.ext_hdr


def hot_figure(view: ProductView) -> Figure:
    """Where hot pixels are, and how bright."""
    plane = view.brightness
    figure = plots.new_figure(WIDTH, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    rows, cols = np.nonzero(view.in_frame(view.hot))
    plots.dots(cols, rows, plane.values[rows, cols], view.area, "hot pixels", ax=left)
    plots.exceedance(
        plane.scale * plane.values[view.area][view.good],
        "how many pixels are how bright",
        plane.unit,
        threshold=plane.scale * view.hot_above,
        ax=right,
    )
    return figure


# Flags


def flag_counts(view: ProductSummary) -> dict[str, Any]:
    """How many pixels of the area carry each flag."""
    inside = view.flags[view.area][~view.telemetry].astype(np.uint64)
    counts = [int(((inside >> np.uint64(bit)) & np.uint64(1)).sum()) for bit in range(64)]
    return {
        "pixels": inside.size,
        "flagged": np.count_nonzero(inside),
        "rows": [
            {"value": 1 << bit, "name": _flag_name(bit), "pixels": number}
            for bit, number in enumerate(counts)
            if number
        ],
    }


def _flag_name(bit: int) -> str:
    try:
        return (DQ(1 << bit).name or "").replace("_", " ").lower() or "no name"
    except ValueError:
        return "no name"


# Where it comes from


def observed_dates(view: ProductSummary) -> str:
    """When the frames behind a product were taken, of its header."""
    begin, end = (mjd_of(view.card(keyword)) for keyword in ("DATE-BEG", "DATE-END"))
    if not np.isfinite(begin):  # products of the reference implementation
        begin, end = (mjd_of(view.card(keyword)) for keyword in ("MJDSRT", "MJDEND"))
    return observed(begin, end)


def provenance(view: ProductSummary) -> list[Section]:
    """Software, options, input files, history, header."""
    header = view.header
    cards = [card for card in header.cards if card.keyword not in _DULL and not _is_file(card)]
    return render(
        "provenance.html.j2",
        view=view,
        origin=_origin(view),
        inputs=_inputs(view),
        parents=parent_names(header),
        skipped=view.skipped,
        history=_history(header) if "HISTORY" in header else "",
        cards=[f"{c.keyword:<8} {c.value!s:<26} {c.comment}".rstrip() for c in cards],
    ).sections


def _history(header: Any) -> str:
    """Lines as they were written: a card that is full goes on in the next one."""
    text = ""
    for line in (str(line) for line in header["HISTORY"]):
        text += line.ljust(FULL_CARD) if len(line) >= FULL_CARD - 1 else f"{line}\n"
    return text.rstrip()


def _is_file(card: Any) -> bool:
    return re.fullmatch(r"FILE\d+", card.keyword) is not None


_ORIGIN = (
    ("made by", "CREATOR"),
    ("made at (UTC)", "DRPCTIME"),
    ("format", "FMTVERS"),
    ("camera", "CAMERA"),
    ("estimator", "ESTIMATR"),
    ("stacks weighted", "WEIGHTED"),
    ("power of the good samples that is a weight", "WGTPOWER"),
    ("stacks that flags cut into", "CRCHECK"),
    ("negative values became 0 in", "NONNEG"),
    ("cosmic rays screened", "SCREEN"),
    ("raw frames: nonlinearity table", "NONLIN"),
    ("raw frames: electrons per DN from", "KGAINSRC"),
    ("raw frames: bias offset from", "BIASOFF"),
    ("raw frames: search for cosmic rays", "CRSEARCH"),
    ("relative gain error in the errors", "GAINERR"),
    ("unit", "BUNIT"),
    ("EM gain, commanded", "EMGAIN_C"),
    ("EM gain, used", "EMGAIN_A"),
    ("exposure time, s", "EXPTIME"),
    ("k-gain, electrons per DN", "KGAINPAR"),
    ("frames combined", "NFRAMES"),
    ("input files", "DRPNFILE"),
)


def _origin(view: ProductSummary) -> list[tuple[str, str]]:
    found = [(name, keyword, view.card(keyword)) for name, keyword in _ORIGIN]
    return [
        (name, _card_text(keyword, value))
        for name, keyword, value in found
        if value not in (None, "", -999)
    ]


def _card_text(keyword: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if keyword == "DRPCTIME":
        return str(value)[:19].replace("T", " ")
    return f"{value:g}" if isinstance(value, float) else str(value).replace(",", ", ")


def _inputs(view: ProductSummary) -> list[dict[str, Any]]:
    """Input frames by stack, of the table INPUTS."""
    if "INPUTS" not in view.product.hdu_names:
        return []
    table = view.product.hdu_list["INPUTS"].data
    stack = np.asarray(table["STACK"])
    names = getattr(getattr(view, "stacks", None), "names", [])
    rows = []
    for index in np.unique(stack):
        members = table[stack == index]
        times = sorted(str(time)[:16].replace("T", " ") for time in members["MTIME"] if time)
        rows.append(
            {
                "name": names[index] if index < len(names) else str(index),
                "frames": len(members),
                "size": float(np.sum(members["SIZE"])),
                "sums": sum(bool(str(value).strip()) for value in members["DATASUM"]),
                "times": _ends(times or ["–"]),
                "files": _ends([str(name) for name in members["FILENAME"]]),
            }
        )
    return rows


def _ends(texts: Sequence[str]) -> str:
    """First and last, below each other; one line where they are the same."""
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]}\n{texts[-1]}"
