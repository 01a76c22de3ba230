"""The page of a master dark."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import numpy as np

from emdarks.checks import Finding
from emdarks.checks.product_summary import DarkView
from emdarks.checks.registry import DARK, find
from emdarks.checks.stack_table import stack_name
from emdarks.products.provenance import frames_combined
from emdarks.report.counted_dark import CountedDark
from emdarks.report.page import WIDTH, Page, Section, render
from emdarks.report.sections import (
    draw_histograms,
    draw_plane,
    flag_counts,
    hot_figure,
    hot_pixels,
    map_block,
    map_height,
    observed_dates,
    panel_figure,
    provenance,
)


def dark_page(view: DarkView, more: Sequence[Section] = (), advice: Sequence[Finding] = ()) -> Page:
    """Report on a master dark.

    Parameters
    ----------
    view : DarkView
        The dark.
    more : sequence of Section
        Sections in front of the provenance, such as a comparison.
    advice : sequence of Finding
        What these have found.
    """
    plane = view.planes[0]
    dark, axes = panel_figure(2, map_height(view, WIDTH / 2))
    draw_plane(view, plane, *axes)
    histograms, axes = panel_figure(2, 3.0)
    counted = CountedDark.of(view)
    draw_histograms(view, plane, *axes, **({"bins": counted.bins} if counted else {}))
    setting = stack_name(view.gain, view.exposure_time)
    frames = frames_combined(view.product.ext_hdr)
    rows = list(counted.choices()) if counted else []
    figures = {"dark": dark, "histograms": histograms, "hot_pixels": hot_figure(view)}
    if counted and rows:
        figures["thresholds"] = counted.figure()
    words = render(
        "dark.html.j2",
        figures,
        view=view,
        counted=counted,
        rows=rows,
        setting=setting,
        quoted=shlex.quote(view.name),
        frames=frames if np.isfinite(frames) else None,
        statistics=[(plane, view.statistics(plane))],
        block=map_block(view),
        hot=hot_pixels(view),
        flags=flag_counts(view),
    )
    return Page.of(
        words,
        title=_title(view),
        subtitle=f"{view.name} · {view.size} · {setting}",
        observed=observed_dates(view),
        advice=[*find(DARK, view), *advice],
        more=[*more, *provenance(view)],
    )


def _title(view: DarkView) -> str:
    if not view.photon_counted:
        return f"{'Synthesised' if view.synthesised else 'Traditional'} master dark"
    return f"{'Synthesised photon' if view.synthesised else 'Photon'}-counted master dark"
