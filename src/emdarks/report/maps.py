"""The page of noise maps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from emdarks import plots
from emdarks.checks import Finding
from emdarks.checks.counting_summary import CountingSummary
from emdarks.checks.product_summary import Array, MapsView
from emdarks.checks.products import chi2_values, stack_misfits
from emdarks.checks.registry import NOISE_MAPS, find
from emdarks.checks.stack_table import Misfits, Stacks
from emdarks.half_split import CheckReport
from emdarks.products.model import dark_formula, model_words
from emdarks.products.synthesis import synthesize_arrays
from emdarks.report.half_split import check_advice, check_figures
from emdarks.report.page import WIDTH, Page, Section, render
from emdarks.report.sections import (
    MOST,
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

#: Settings in the table of darks: more would not be read.
SETTINGS = 12
#: Histograms of stacks on a page.
PANELS = 24


def maps_page(
    view: MapsView,
    check: CheckReport | None = None,
    more: Sequence[Section] = (),
    advice: Sequence[Finding] = (),
    unchecked: str = "",
) -> Page:
    """Report on noise maps.

    Parameters
    ----------
    view : MapsView
        The maps.
    check : CheckReport, optional
        What their frames say.
    more : sequence of Section
        Sections in front of the provenance, such as a comparison.
    advice : sequence of Finding
        What these have found.
    unchecked : str
        Why the frames could not be checked, where they were to be.
    """
    counts = _counts(view)
    own = {} if view.stacks is None else _stacks(view, view.stacks)
    counted = CountingSummary.of(view.product)
    figures = _figures(view, counts["varied"], own.get("misfits")) | check_figures(check)
    if counted is not None and view.stacks is not None:
        figures["samples"] = _samples(view.stacks, counted)
    words = render(
        "maps.html.j2",
        figures,
        view=view,
        quoted=shlex.quote(view.name),
        model=(model_words(view.header) or ("",))[0],
        statistics=[(plane, view.statistics(plane)) for plane in view.planes],
        hot=hot_pixels(view),
        block=map_block(view),
        has_chi2=view.extra("CHI2") is not None,
        chi2=chi2_values(view),
        read_noise=view.number_in("RN_EST"),
        clipped=str(view.card("NONNEG", "CIC,DC")).replace(",", ", "),
        **counts,
        flags=flag_counts(view),
        counted=counted,
        check=check,
        unchecked=unchecked,
        **own,
    )
    return Page.of(
        words,
        title="Noise maps",
        subtitle=view.subtitle,
        observed=observed_dates(view),
        advice=[*find(NOISE_MAPS, view), *check_advice(check), *advice],
        more=[*more, *provenance(view)],
        untested=""
        if check
        else "Whether the errors are right only the frames can tell: see "
        "“The check without truth”.",
    )


def _figures(
    view: MapsView, varied: dict[str, tuple[Array, str]], misfits: Misfits | None
) -> dict[str, plots.Figure]:
    figures = {
        "maps": _maps(view),
        "histograms": _histograms(view),
        "hot_pixels": hot_figure(view),
    }
    chi2 = view.extra("CHI2")
    if chi2 is not None:
        figures["chi2"] = _chi2(view, chi2.astype(np.float64))
    if varied:
        figures["counts"] = _count_maps(view, varied)
    if view.stacks is not None and misfits is not None:
        figures["stacks"] = _stack_figure(view, view.stacks, misfits)
    return figures


def _maps(view: MapsView) -> plots.Figure:
    figure = plots.new_figure(WIDTH, len(view.planes) * map_height(view, WIDTH / 2))
    for plane, axes in zip(view.planes, figure.subplots(len(view.planes), 2), strict=True):
        draw_plane(view, plane, *axes)
    return figure


def _histograms(view: MapsView) -> plots.Figure:
    figure = plots.new_figure(WIDTH, 5.2)
    for plane, axes in zip(view.planes, figure.subplots(2, len(view.planes)).T, strict=True):
        draw_histograms(view, plane, *axes)
    return figure


# Quality


def _chi2(view: MapsView, chi2: Array) -> plots.Figure:
    figure, (left, right) = panel_figure(2, map_height(view, WIDTH / 2))
    fitted = np.where(np.isfinite(view.planes[0].errors), chi2, np.nan)
    inside = fitted[view.area]
    limits = (0.0, plots.robust_limits(plots.shrink(inside, MOST), 0.01)[1])
    plots.show_map(fitted, "reduced chi-square", limits=limits, most=MOST, ax=left)
    if not view.whole:
        plots.outline(left, view.area)
    plots.value_histogram(inside, "imaging area", "reduced chi-square", expected=1.0, ax=right)
    return figure


_COUNTS = (
    ("NSTACKS", "stacks that entered the fit", "min"),
    ("NBAD", "stacks with most frames masked", "max"),
    ("REJECTED", "samples screened out", "max"),
)


def _counts(view: MapsView) -> dict[str, Any]:
    """Counts that are the same everywhere by title, and the maps of those that are not."""
    same: dict[str, float] = {}
    varied: dict[str, tuple[Array, str]] = {}
    for name, title, worst in _COUNTS:
        plane = view.extra(name)
        if plane is None or not view.good.any():
            continue
        shown = np.where(np.isnan(view.planes[0].values), np.nan, plane.astype(np.float64))
        inside = shown[view.area]
        low, high = np.nanmin(inside), np.nanmax(inside)
        if low == high:
            same[title] = low
        else:
            varied[title] = shown, worst
    return {"same": same, "varied": varied}


def _count_maps(view: MapsView, varied: dict[str, tuple[Array, Any]]) -> plots.Figure:
    panels = max(len(varied), 2)
    figure, axes = panel_figure(panels, map_height(view, WIDTH / panels))
    for ax, (title, (plane, worst)) in zip(axes, varied.items(), strict=False):
        plots.show_counts(plane, title, most=MOST, worst=worst, ax=ax)
    for ax in axes[len(varied) :]:
        ax.set_axis_off()
    return figure


# Stacks


def _stacks(view: MapsView, stacks: Stacks) -> dict[str, Any]:
    """What a page tells of the stacks, and of the darks made for their settings."""
    return {
        "misfits": stack_misfits(view),
        "darks": [_dark(view, stacks, i) for i in _settings(stacks)],
        "formula": dark_formula(view.header),
        "gain_error": view.number_in("GAINERR"),
    }


def _stack_figure(view: MapsView, stacks: Stacks, misfits: Misfits) -> plots.Figure:
    figure, (left, right) = panel_figure(2, max(3.2, 1.4 + 0.24 * len(stacks)))
    plots.significance(
        stacks.names, misfits.sigmas, "misfit of each stack", "standard errors", ax=left
    )
    C, D = _charges(view)
    signal = stacks.signal(C, D)
    read_noise = view.number_in("RN_EST")
    if view.absent[1]:
        at_zero = float(np.median(stacks.variance - stacks.kappa * signal**2))
        read_noise = float(np.sqrt(max(at_zero, 0.0)))
    plots.noise_against_signal(
        signal, np.sqrt(stacks.variance), read_noise, stacks.kappa,
        "noise of each stack", ax=right,
    )  # fmt: skip
    return figure


def _samples(stacks: Stacks, counted: CountingSummary) -> plots.Figure:
    """Samples of each stack, and the law on them; three panels in a row."""
    order = np.lexsort((stacks.time, stacks.gain))[:PANELS]
    rows = -(-len(order) // 3)
    figure = plots.new_figure(WIDTH, 2.7 * rows)
    axes = list(figure.subplots(rows, 3, squeeze=False).flat)
    for i, ax in zip(order, axes, strict=False):
        columns = counted.columns
        plots.sample_histogram(
            counted.edges, counted.counts[:, i], counted.law[:, i], stacks.names[i],
            thresholds=(columns["T"][i], columns["T2"][i]), ax=ax,
        )  # fmt: skip
    for ax in axes[len(order) :]:
        ax.set_axis_off()
    return figure


def _charges(view: MapsView) -> tuple[float, float]:
    """C and D of ordinary pixels, 0 for a map that the stacks cannot tell."""
    found = iter([view.statistics(plane).ordinary for plane in view.planes[1:]])
    C, D = (0.0 if absent else next(found) for absent in view.absent[1:])
    return C, D


def _settings(stacks: Stacks) -> list[int]:
    """The stacks whose settings are shown, in order of gain and time."""
    order = np.argsort(-stacks.gain * stacks.time, kind="stable")[:SETTINGS]
    return sorted(order.tolist(), key=lambda i: (stacks.gain[i], stacks.time[i]))


def _dark(view: MapsView, stacks: Stacks, i: int) -> dict[str, Any]:
    """The dark of a stack's setting, and what wrong gains would do to it."""
    gain, time = float(stacks.gain[i]), float(stacks.time[i])
    data, err, _ = synthesize_arrays(view.maps_of_area(), gain, time)
    dark = {
        "gain": gain,
        "time": time,
        "level": data[view.good].mean(),
        "error": np.median(err[view.good]),
        "moved": None,
    }
    if not view.absent[1]:  # how gains move a dark depends on C
        moved = view.product.systematics(gain, time)
        worst = int(np.argmax(np.abs(moved["stacks"])))
        dark["moved"] = {**moved, "stack": stacks.names[worst], "worst": moved["stacks"][worst]}
    return dark
