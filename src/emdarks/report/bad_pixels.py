"""The page of a bad-pixel map."""

from __future__ import annotations

from typing import Any

import numpy as np

from emdarks import plots
from emdarks.checks.product_summary import BadPixelView
from emdarks.checks.registry import BAD_PIXEL_MAP, find
from emdarks.report.page import WIDTH, Page, render
from emdarks.report.sections import LISTED, flag_counts, observed_dates, provenance


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
    return Page.of(
        words,
        title="Bad-pixel map",
        subtitle=view.subtitle,
        observed=observed_dates(view),
        advice=find(BAD_PIXEL_MAP, view),
        more=provenance(view),
    )


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
