"""The page of a master dark."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import numpy as np

from emdarks import plots
from emdarks.products.provenance import frames_combined
from emdarks.report.advice import advise_dark
from emdarks.report.numbers import count, measured, percent, setting, value_in
from emdarks.report.page import WIDTH, Advice, Block, Facts, Page, Picture, Section
from emdarks.report.shared import (
    about_blocks,
    draw_plane,
    flag_table,
    hot_pixels,
    map_height,
    observed_dates,
    panel_figure,
    provenance,
    skipped_advice,
)
from emdarks.report.view import DarkView

__all__ = ["dark_page", "dark_sections"]


def dark_page(view: DarkView, more: Sequence[Section] = (), advice: Sequence[Advice] = ()) -> Page:
    """Report on a master dark.

    Parameters
    ----------
    view : DarkView
        The dark.
    more : sequence of Section
        Sections in front of the provenance, such as a comparison.
    advice : sequence of Advice
        What these have found.
    """
    rows, cols = view.shape
    kind = "Synthesised" if view.synthesised else "Traditional"
    return Page(
        title=f"{kind} master dark",
        subtitle=f"{view.name} · {rows} × {cols} pixels · {_setting(view)}",
        what=_what(view),
        observed=observed_dates(view),
        advice=[*advise_dark(view), *skipped_advice(view), *advice],
        steps=[
            "Subtract it from frames of this EM gain and exposure time, divided by the gain: "
            f"its unit is detected electrons. `emdarks report OTHER.fits --against "
            f"{shlex.quote(view.name)} -o report.html` compares another dark with it."
        ],
        glance=[Facts(_glance(view))],
        sections=[*dark_sections(view), *more, provenance(view)],
    )


def dark_sections(view: DarkView) -> list[Section]:
    """What the dark itself shows."""
    return [_maps(view), _histograms(view), hot_pixels(view), _flags(view)]


def _setting(view: DarkView) -> str:
    return f"EM gain {setting(view.gain)}, {setting(view.exposure_time)} s"


def _what(view: DarkView) -> str:
    match = f"It matches frames of {_setting(view)}."
    if view.synthesised:
        return (
            "The dark that a frame of this setting is expected to have, made from noise maps as "
            f"F/g + C + t D, in detected electrons, with its error. {match}"
        )
    frames = frames_combined(view.product.ext_hdr)
    number_of = f"{count(frames)} dark frames" if np.isfinite(frames) else "dark frames"
    return (
        f"The mean of {number_of} of one EM gain and exposure time, bad samples left out, in "
        f"detected electrons, with its error. {match}"
    )


def _glance(view: DarkView) -> list[tuple[str, str]]:
    plane = view.planes[0]
    s = view.statistics(plane)
    hot = int(view.hot.sum())
    return [
        ("image mean", f"{measured(s.mean, s.mean_error)} {plane.unit}"),
        ("median", value_in(s.median, plane.unit)),
        ("error of a pixel, median", value_in(s.error, plane.unit)),
        ("scatter of pixels, not hot", value_in(s.scatter, plane.unit)),
        ("real differences", value_in(s.spread, plane.unit) if s.spread > 0 else "not seen"),
        ("negative pixels", percent(s.negative)),
        ("hot pixels", f"{count(hot)} ({percent(hot / max(int(view.good.sum()), 1))})"),
        ("pixels without a value", f"{count(view.valueless)} of {count(view.pixels)}"),
    ]


def _maps(view: DarkView) -> Section:
    figure, axes = panel_figure(2, map_height(view, WIDTH / 2))
    draw_plane(view, view.planes[0], *axes)
    frame = "" if view.whole else " The dashed frame is the imaging area."
    picture = Picture.of(
        "dark",
        figure,
        "Map of the dark, left, and of its errors, right",
        f"The dark, left, and its errors, right. Grey: no value.{frame}{about_blocks(view)} "
        "The scales leave out one percent at either end.",
    )
    return Section("maps", "The dark", [picture])


def _histograms(view: DarkView) -> Section:
    plane = view.planes[0]
    values, errors = (array[view.area][view.good] for array in (plane.values, plane.errors))
    figure, (left, right) = panel_figure(2, 3.0)
    cold = plots.robust_limits(values[~view.hot[view.good]], 0.0005)
    limits = cold[0] - 0.1 * (cold[1] - cold[0]), cold[1] + 0.25 * (cold[1] - cold[0])
    plots.value_histogram(values, "dark", plane.unit, limits=limits, ax=left)
    plots.value_histogram(errors, "error", plane.unit, ax=right)
    where = "" if view.whole else " of the imaging area"
    picture = Picture.of(
        "histograms",
        figure,
        "Histograms of the values and errors of the dark",
        f"All {count(values.size)} pixels{where} that have a value. Pixels beyond the ends are "
        "counted in the first and last bins.",
    )
    return Section("histograms", "How values and errors are distributed", [picture])


def _flags(view: DarkView) -> Section:
    blocks: list[Block] = flag_table(view)
    return Section("flags", "Flags", blocks)
