"""Sections that products have in common: hot pixels, flags, where they come from."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from emdarks import plots
from emdarks.badpixels import build_bad_pixel_map
from emdarks.errors import EmdarksError, EmdarksWarning
from emdarks.flags import DQ
from emdarks.plots import Figure
from emdarks.products.provenance import mjd_of, parent_names
from emdarks.report.numbers import count, number, observed, percent, size
from emdarks.report.page import (
    WIDTH,
    Advice,
    Block,
    Column,
    Facts,
    Picture,
    Section,
    Source,
    Table,
    Text,
)
from emdarks.report.view import Plane, ProductView

__all__ = [
    "MOST",
    "about_blocks",
    "draw_plane",
    "flag_table",
    "hot_pixels",
    "map_height",
    "observed_dates",
    "provenance",
    "skipped_advice",
    "value_limits",
]

Array = npt.NDArray[Any]

#: Largest number of rows and columns of a map on a page.
MOST = 560
#: Hot pixels in the table.
LISTED = 10
#: Characters that fit a card of history; a space at its end is lost.
FULL_CARD = 72
#: Cards of a header that say nothing to readers.
_DULL = ("COMMENT", "HISTORY", "", "CHECKSUM", "DATASUM")


class Shown(Protocol):
    """What flags and provenance are told of."""

    product: Any
    area: tuple[slice, slice]

    @property
    def name(self) -> str:
        """File name."""

    @property
    def header(self) -> Any:
        """Header of the image."""

    @property
    def flags(self) -> Array:
        """Flags of every pixel, shape (rows, columns)."""

    @property
    def telemetry(self) -> Array:
        """Rows of the area without any value."""

    def card(self, keyword: str, default: Any = None) -> Any:
        """A card of the image header, else of the primary one."""


def map_height(view: ProductView, width: float) -> float:
    """Height (inches) that a map of this width takes, colour bar and title included."""
    rows, cols = view.shape
    return 0.65 + 0.72 * width * min(max(rows / cols, 0.35), 1.3)


def about_blocks(view: ProductView) -> str:
    """What a point of a map shows, where it stands for several pixels."""
    size = -(-max(view.shape) // MOST)
    if size == 1:
        return ""
    which = f" in {view.brightness.key}" if view.brightness.key else ""
    return (
        f" Each point is the mean of {size} × {size} pixels; where one of them is hot it shows the "
        f"brightest{which}."
    )


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


# Hot pixels


def hot_pixels(view: ProductView) -> Section:
    """Where hot pixels are, how bright, and the brightest by name."""
    plane, hot = view.brightness, view.hot
    total, number_hot = int(view.good.sum()), int(hot.sum())
    what = f"{plane.key} above the median" if plane.key else "dark above the median"
    tail = (
        f", and by the reach of one electron's gain ({plane.show(plane.tail)})"
        if plane.tail
        else ""
    )
    intro = Text(
        f"{count(number_hot)} of {count(total)} pixels are hot ({_share(number_hot, total)}): "
        f"{what} by 5 times the robust scatter of all pixels, or their median error, whichever is "
        f"more{tail}; that is from {plane.show(view.hot_above)} on. It must stand out by 3 of the "
        "pixel's own errors, too."
    )
    blocks: list[Block] = [intro, Text(_other_hot(view)), _hot_picture(view)]
    if number_hot:
        blocks.append(_hottest(view))
    return Section("hot", "Hot pixels", blocks)


def _other_hot(view: ProductView) -> str:
    """What `emdarks.badpixels` calls hot, which is another question, and how many these are."""
    text = (
        "These are the pixels that must not count as ordinary ones in the figures of this page, so "
        "all are measured against the whole detector. `emdarks badpixels` asks which pixels to "
        "leave out of frames: those that stand out of the pixels around them"
    )
    if view.brightness.key:
        text += ", with at least 5 times their dark current (warm) or 50 times (hot)"
    # What is wrong with the product stands elsewhere on the page.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        try:
            made = build_bad_pixel_map(view.product, use_signed="SIGNED" in view.product.hdu_names)
        except EmdarksError:
            return f"{text}."
    hot, warm = (int(made.ext_hdr[keyword]) for keyword in ("NHOT", "NWARM"))
    found = f"{count(hot)} hot and {count(warm)} warm" if view.brightness.key else f"{count(hot)}"
    return f"{text}; by this rule there are {found} pixels."


def _share(part: int, total: int) -> str:
    return percent(part / total if total else 0.0)


def _hot_picture(view: ProductView) -> Picture:
    plane = view.brightness
    figure = plots.new_figure(WIDTH, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _hot_map(view, left)
    plots.exceedance(
        plane.scale * plane.values[view.area][view.good],
        "how many pixels are how bright",
        plane.unit,
        threshold=plane.scale * view.hot_above,
        ax=right,
    )
    return Picture.of(
        "hot_pixels",
        figure,
        "Positions of hot pixels, and the number of pixels above each level",
        "Left: hot pixels; the larger the dot, the brighter the pixel. Right: number of pixels "
        "above each level.",
    )


def _hot_map(view: ProductView, ax: Any) -> None:
    rows, cols = np.nonzero(view.in_frame(view.hot))
    values = view.brightness.values[rows, cols]
    plots.dots(cols, rows, values, view.area, "hot pixels", ax=ax)


def _hottest(view: ProductView) -> Table:
    plane = view.brightness
    rows, cols = np.nonzero(view.in_frame(view.hot))
    values, errors = plane.values[rows, cols], plane.errors[rows, cols]
    order = np.argsort(-values, kind="stable")[:LISTED]
    table = [
        [
            str(rows[i]),
            str(cols[i]),
            number(plane.scale * values[i], 4),
            number(plane.scale * errors[i], 2),
            number(values[i] / errors[i]) if errors[i] > 0 else "–",
        ]
        for i in order
    ]
    shown = f"The {len(order)} brightest. " if len(values) > LISTED else ""
    return Table(
        [
            Column("row"),
            Column("column"),
            Column(plane.key or plane.name, plane.unit),
            Column("error", plane.unit),
            Column("value over error"),
        ],
        table,
        f"{shown}Rows and columns count from 0, in the array of the file.",
    )


# Flags


def flag_table(view: Shown) -> list[Block]:
    """How many pixels of the area carry each flag."""
    inside = view.flags[view.area][~view.telemetry]
    flagged = int((inside != 0).sum())
    if not flagged:
        return [Text(f"None of the {count(inside.size)} pixels is flagged.")]
    rows = []
    for bit in range(64):
        number_set = int(((inside.astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)).sum())
        if number_set:
            rows.append([str(1 << bit), _flag_name(bit), count(number_set)])
    return [
        Text(
            f"{count(flagged)} of {count(inside.size)} pixels are flagged "
            f"({_share(flagged, inside.size)}). A pixel may carry several flags."
        ),
        Table([Column("flag"), Column("meaning", words=True), Column("pixels")], rows),
    ]


def _flag_name(bit: int) -> str:
    try:
        return (DQ(1 << bit).name or "").replace("_", " ").lower() or "no name"
    except ValueError:
        return "no name"


# Where it comes from


def observed_dates(view: Shown) -> str:
    """When the frames behind a product were taken, of its header."""
    begin, end = (mjd_of(view.card(keyword)) for keyword in ("DATE-BEG", "DATE-END"))
    if not np.isfinite(begin):  # products of the reference implementation
        begin, end = (mjd_of(view.card(keyword)) for keyword in ("MJDSRT", "MJDEND"))
    return observed(begin, end)


def provenance(view: Shown) -> Section:
    """Software, options, input files, history, header."""
    blocks: list[Block] = [Facts(_origin(view))]
    blocks += _inputs(view)
    blocks += _skipped(view)
    header = view.header
    if "HISTORY" in header:
        blocks.append(Source("History", _history(header)))
    cards = [card for card in header.cards if card.keyword not in _DULL and not _is_file(card)]
    text = "\n".join(f"{c.keyword:<8} {c.value!s:<26} {c.comment}".rstrip() for c in cards)
    blocks.append(Source(f"Header of the image, {len(cards)} cards", text, folded=True))
    return Section("provenance", "Where it comes from", blocks)


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
    ("negative values became 0 in", "NONNEG"),
    ("cosmic rays screened", "SCREEN"),
    ("relative gain error in the errors", "GAINERR"),
    ("unit", "BUNIT"),
    ("EM gain, commanded", "EMGAIN_C"),
    ("EM gain, used", "EMGAIN_A"),
    ("exposure time, s", "EXPTIME"),
    ("k-gain, electrons per DN", "KGAINPAR"),
    ("frames combined", "NFRAMES"),
    ("input files", "DRPNFILE"),
)


def _origin(view: Shown) -> list[tuple[str, str]]:
    facts = [("file", view.name)]
    for name, keyword in _ORIGIN:
        value = view.card(keyword)
        if value in (None, "", -999):
            continue
        facts.append((name, _card_text(keyword, value)))
    return facts


def _card_text(keyword: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if keyword == "DRPCTIME":
        return str(value)[:19].replace("T", " ")
    return f"{value:g}" if isinstance(value, float) else str(value).replace(",", ", ")


def _inputs(view: Shown) -> list[Block]:
    product = view.product
    if "INPUTS" in product.hdu_names and len(product.hdu_list["INPUTS"].data):
        return [_input_table(product.hdu_list["INPUTS"].data, view)]
    names = parent_names(view.header)
    if not names:
        return []
    shown = names if len(names) <= 6 else [*names[:3], "…", *names[-3:]]
    return [Source(f"Input files ({len(names)})", "\n".join(shown))]


def _input_table(table: Any, view: Shown) -> Table:
    stack = np.asarray(table["STACK"])
    names = getattr(getattr(view, "stacks", None), "names", None)
    rows = []
    for index in np.unique(stack):
        members = table[stack == index]
        files = [str(name) for name in members["FILENAME"]]
        times = sorted(_minute(str(time)) for time in members["MTIME"] if time) or ["–"]
        sums = sum(bool(str(value).strip()) for value in members["DATASUM"])
        rows.append(
            [
                names[index] if names and index < len(names) else str(index),
                count(len(files)),
                size(float(np.sum(members["SIZE"]))),
                count(sums),
                _ends(times),
                _ends(files),
            ]
        )
    columns = [
        Column("stack", words=True),
        Column("frames"),
        Column("size"),
        Column("with DATASUM"),
        Column("written (UTC)", words=True),
        Column("first and last file", words=True),
    ]
    return Table(
        columns,
        rows,
        "Input frames by stack, in input order; the table INPUTS of the product names every one.",
    )


def _skipped_rows(view: Shown) -> list[list[str]]:
    if "SKIPPED" not in view.product.hdu_names:
        return []
    table = view.product.hdu_list["SKIPPED"].data
    return [
        [str(name), str(reason)]
        for name, reason in zip(table["FILENAME"], table["REASON"], strict=True)
    ]


def _skipped(view: Shown) -> list[Block]:
    rows = _skipped_rows(view)
    if not rows:
        return []
    columns = [Column("left out", words=True), Column("why", words=True)]
    return [Table(columns, rows, "Bad frames that this product was made without (table SKIPPED).")]


def skipped_advice(view: ProductView) -> list[Advice]:
    """A word on frames that were left out."""
    rows = _skipped_rows(view)
    if not rows:
        return []
    frames = "1 bad frame was" if len(rows) == 1 else f"{len(rows)} bad frames were"
    return [
        Advice(
            "note",
            f"{frames} left out: {rows[0][0]}{', …' if len(rows) > 1 else ''}; the table under "
            "“Where it comes from” says why.",
        )
    ]


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _ends(texts: Sequence[str]) -> str:
    """First and last, below each other; one line where they are the same."""
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]}\n{texts[-1]}"


def panel_figure(panels: int, height: float) -> tuple[Figure, Sequence[Any]]:
    """A figure of the page's width with panels in a row."""
    figure = plots.new_figure(WIDTH, height)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    return figure, list(axes)
