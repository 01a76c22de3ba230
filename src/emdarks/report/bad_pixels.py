"""The page of a bad-pixel map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from emdarks import plots
from emdarks.data import BadPixelMap
from emdarks.dq import DQ, unsigned
from emdarks.report.formatting import percent
from emdarks.report.page import WIDTH, Advice, Page, render
from emdarks.report.product_summary import Array, ProductSummary
from emdarks.report.sections import LISTED, flag_counts, observed_dates, provenance

#: Shares of the pixels from which on bad ones are worth a warning, and are a problem.
MANY, TOO_MANY = 0.05, 0.5


class BadPixelView(ProductSummary):
    """A bad-pixel map as a report looks at it.

    Parameters
    ----------
    product : BadPixelMap
        The map.
    """

    def __init__(self, product: BadPixelMap):
        super().__init__(product)
        data = np.asarray(product.data)
        flags: Array = data.astype(unsigned(data.dtype), copy=False)
        self.flags = flags
        self.telemetry = np.asarray(((flags & DQ.BAD_UNSPECIFIED) != 0).all(axis=1))
        self.hot: Array = np.asarray((flags & DQ.HOT) != 0)
        #: Dark current over that of the neighbourhood; None where a dark was judged.
        self.ratio = self._plane("RATIO")
        #: Excess over the neighbourhood, in its standard deviations; NaN where not judged.
        self.sigmas = self._plane("SIGMAS", np.full(self.shape, np.nan))

    def _plane(self, name: str, default: Any = None) -> Any:
        if name not in self.product.hdu_names:
            return default
        return np.asarray(self.product.hdu_list[name].data, dtype=np.float64)


def bad_pixel_page(view: BadPixelView) -> Page:
    """Report on a bad-pixel map.

    Parameters
    ----------
    view : BadPixelView
        The map.
    """
    counted = {"hot pixels": view.card("NHOT"), "warm pixels": view.card("NWARM")}
    counts = {name: value for name, value in counted.items() if isinstance(value, int)}
    if view.telemetry.any():
        counts["rows without a value"] = int(view.telemetry.sum())
    words = render(
        "bad_pixels.html.j2",
        {"bad_pixels": _figure(view)},
        view=view,
        bad=np.count_nonzero(view.flags),
        counts=counts,
        flags=flag_counts(view),
        hottest=_hottest(view),
        number_hot=int(view.hot.sum()),
    )
    return Page(
        title="Bad-pixel map",
        subtitle=view.subtitle,
        observed=observed_dates(view),
        what=words.what,
        advice=list(_advice(view)),
        steps=words.steps,
        glance=words.glance,
        sections=[*words.sections, *provenance(view)],
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


def _figure(view: BadPixelView) -> plots.Figure:
    figure = plots.new_figure(WIDTH, 4.2)
    left, right = figure.subplots(1, 2)
    others = (view.flags != 0) & ~view.hot & ~view.telemetry[:, None]
    for ax, mask, size, title in (
        (left, view.hot, np.nan_to_num(view.sigmas), "hot and warm pixels"),
        (right, others, np.ones(view.shape), "other bad pixels"),
    ):
        rows, cols = np.nonzero(mask)
        plots.dots(cols, rows, size[rows, cols], view.area, title, ax=ax)
    return figure


def _hottest(view: BadPixelView) -> list[dict[str, Any]]:
    rows, cols = np.nonzero(view.hot)
    order = np.argsort(-np.nan_to_num(view.sigmas[rows, cols]), kind="stable")[:LISTED]
    return [
        {
            "row": pixel[0],
            "col": pixel[1],
            "sigmas": view.sigmas[pixel],
            "ratio": None if view.ratio is None else view.ratio[pixel],
            "flags": view.flags[pixel],
        }
        for pixel in zip(rows[order], cols[order], strict=True)
    ]
