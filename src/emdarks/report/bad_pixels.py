"""The page of a bad-pixel map."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import plots
from emdarks.data import BadPixelMap
from emdarks.flags import DQ, unsigned
from emdarks.report.numbers import count, number, percent, setting
from emdarks.report.page import (
    WIDTH,
    Advice,
    Block,
    Column,
    Facts,
    Page,
    Picture,
    Section,
    Table,
    Text,
)
from emdarks.report.shared import LISTED, flag_table, observed_dates, provenance

__all__ = ["BadPixelView", "bad_pixel_page"]

Array = npt.NDArray[Any]

#: Shares of the pixels from which on bad ones are worth a warning, and are a problem.
MANY, TOO_MANY = 0.05, 0.5


class BadPixelView:
    """A bad-pixel map as a report looks at it.

    Parameters
    ----------
    product : BadPixelMap
        The map.
    """

    def __init__(self, product: BadPixelMap):
        self.product = product
        data = np.asarray(product.data)
        self.flags: Array = data.astype(unsigned(data.dtype), copy=False)
        self.area = slice(0, data.shape[0]), slice(0, data.shape[1])

    @property
    def name(self) -> str:
        """File name."""
        return str(self.product.filename or "(not saved)")

    @property
    def header(self) -> Any:
        """Header of the image."""
        return self.product.ext_hdr

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.flags.shape
        return rows, cols

    @cached_property
    def telemetry(self) -> Array:
        """Rows in which every pixel is without a value."""
        return np.asarray(((self.flags & DQ.BAD_UNSPECIFIED) != 0).all(axis=1))

    def card(self, keyword: str, default: Any = None) -> Any:
        """A card of the image header, else of the primary one."""
        for header in (self.product.ext_hdr, self.product.pri_hdr):
            if keyword in header:
                return header[keyword]
        return default

    @property
    def hot(self) -> Array:
        """Hot and warm pixels."""
        return np.asarray((self.flags & DQ.HOT) != 0)

    @property
    def ratio(self) -> Array | None:
        """Dark current over that of the neighbourhood; None where a dark was judged."""
        return self._plane("RATIO")

    @property
    def sigmas(self) -> Array:
        """Excess over the neighbourhood, in its standard deviations; NaN where not judged."""
        found = self._plane("SIGMAS")
        return np.full(self.shape, np.nan) if found is None else found

    def _plane(self, name: str) -> Array | None:
        if name not in self.product.hdu_names:
            return None
        return np.asarray(self.product.hdu_list[name].data, dtype=np.float64)


def bad_pixel_page(view: BadPixelView) -> Page:
    """Report on a bad-pixel map.

    Parameters
    ----------
    view : BadPixelView
        The map.
    """
    rows, cols = view.shape
    camera = view.card("CAMERA")
    parts = [view.name, f"{rows} × {cols} pixels", f"camera {camera}" if camera else ""]
    judged = view.card("DARKFILE")
    return Page(
        title="Bad-pixel map",
        subtitle=" · ".join(part for part in parts if part),
        observed=observed_dates(view),
        what="Pixels to be left out of every frame of this detector: those that are hot or warm, "
        "could not be calibrated, or were flagged before"
        + (f". It was made of `{judged}`." if judged else "."),
        advice=list(_advice(view)),
        steps=[
            "Set these flags in the DQ of your frames: `frame.dq |= bad.data` in Python, where "
            "both cover the same pixels.",
            "`emdarks badpixels MAPS --regions hot.reg --table hot.csv` writes the hot and warm "
            "pixels as regions of DS9 and as a table.",
        ],
        glance=[Facts(_glance(view))],
        sections=[_hot(view), Section("flags", "Flags", flag_table(view)), provenance(view)],
    )


def _advice(view: BadPixelView) -> Iterator[Advice]:
    inside = view.flags[~view.telemetry]
    share = float((inside != 0).mean()) if inside.size else 0.0
    if share > MANY:
        yield Advice(
            "problem" if share > TOO_MANY else "warning",
            f"{percent(share)} of the pixels are bad, telemetry rows not counted.",
            "Look at the flags below: what is masked or could not be fitted, and why.",
        )
    elif not (inside != 0).any():
        yield Advice("note", "No pixel is bad.", "Is this the map that was meant?")
    else:
        yield Advice("fine", f"{percent(share)} of the pixels are bad.")


def _glance(view: BadPixelView) -> list[tuple[str, str]]:
    facts = [("pixels", count(view.flags.size))]
    facts.append(("bad pixels", count(int(np.count_nonzero(view.flags)))))
    for name, keyword in (("hot pixels", "NHOT"), ("warm pixels", "NWARM")):
        value = view.card(keyword)
        if isinstance(value, int):
            facts.append((name, count(value)))
    if view.telemetry.any():
        facts.append(("rows without a value", count(int(view.telemetry.sum()))))
    return facts


def _hot(view: BadPixelView) -> Section:
    text = "A pixel is hot here where it stands out of the pixels around it"
    if (sigmas := view.card("BPSIGMA")) is not None:
        text += f" by more than {setting(sigmas)} standard deviations"
    if (window := view.card("BPWINDOW")) is not None:
        text += f", in windows of {window} × {window} pixels"
    text += "."
    warm, hot = view.card("BPWARM"), view.card("BPHOT")
    if warm is not None and hot is not None:
        text += (
            f" Its dark current must be {setting(warm)} times theirs, too; from {setting(hot)} "
            "times on it is hot, below that warm."
        )
    blocks: list[Block] = [Text(text), _picture(view)]
    if view.hot.any():
        blocks.append(_hottest(view))
    return Section("hot", "Hot and warm pixels", blocks)


def _picture(view: BadPixelView) -> Picture:
    figure = plots.new_figure(WIDTH, 4.2)
    left, right = figure.subplots(1, 2)
    others = (view.flags != 0) & ~view.hot & ~view.telemetry[:, None]
    for ax, mask, size, title in (
        (left, view.hot, np.nan_to_num(view.sigmas), "hot and warm pixels"),
        (right, others, np.ones(view.shape), "other bad pixels"),
    ):
        rows, cols = np.nonzero(mask)
        plots.dots(cols, rows, size[rows, cols], view.area, title, ax=ax)
    return Picture.of(
        "bad_pixels",
        figure,
        "Positions of hot and warm pixels, left, and of other bad pixels, right",
        "Left: hot and warm pixels; the larger the dot, the further above its neighbourhood. "
        "Right: pixels that are bad for another reason.",
    )


def _hottest(view: BadPixelView) -> Table:
    rows, cols = np.nonzero(view.hot)
    sigmas, ratio = view.sigmas[rows, cols], view.ratio
    order = np.argsort(-np.nan_to_num(sigmas), kind="stable")[:LISTED]
    table = []
    for i in order:
        row = [str(rows[i]), str(cols[i]), number(sigmas[i])]
        if ratio is not None:
            row.append(number(ratio[rows[i], cols[i]]))
        table.append([*row, str(view.flags[rows[i], cols[i]])])
    shown = f"The {len(order)} that stand out most. " if rows.size > LISTED else ""
    columns = [Column("row"), Column("column"), Column("above neighbours", "std. deviations")]
    if ratio is not None:
        columns.append(Column("dark current", "over neighbours'"))
    return Table(
        [*columns, Column("flags")],
        table,
        f"{shown}Rows and columns count from 0, in the array of the file.",
    )
