"""The page of a data sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from emdarks import plots
from emdarks.checks.formatting import observed, several
from emdarks.checks.stack_table import stack_name
from emdarks.datasheet import UNLIKE, DataSheet, Evidence, Quantity, changes, unlike
from emdarks.datasheet.noise import NoiseChapter
from emdarks.datasheet.pixels import PixelChapter
from emdarks.datasheet.samples import SampleChapter
from emdarks.datasheet.structure import StructureChapter
from emdarks.report.page import Page, Verdict, render
from emdarks.report.sections import MOST, panel_figure

#: Histograms of so many stacks are shown.
MOST_SAMPLES = 3
#: Telegraph pixels, and commanded gains whose drift is drawn, that are shown.
MOST_TELEGRAPH, MOST_GAINS = 3, 3
#: More quantities than these are counted, not listed.
MOST_MISSING = 5

#: Titles of the table, and beginnings of the keys of the quantities under each.
GROUPS = {
    "Noise and gain": ("read_noise", "row_noise", "excess_noise", "em_gain"),
    "Charge": ("clock_induced", "register_", "dark_current", "frame_charge", "temperature"),
    "Pixels": ("hot_", "warm_", "noisy_", "telegraph_"),
    "Transfer": ("deferred_", "trail_"),
    "Structure and linearity": ("glow", "fixed_pattern", "nonlinearity"),
}


def datasheet_page(sheet: DataSheet, other: DataSheet | None = None) -> Page:
    """The page of a data sheet.

    Parameters
    ----------
    sheet : DataSheet
        What it shows; with figures where it was just made, without where it was read from a file.
    other : DataSheet, optional
        Of another device or date: a table of the differences.
    """
    found = [] if other is None else changes(sheet, other)
    differing = "" if other is None else "; ".join(unlike(sheet, other))
    figures = _figures(sheet)
    words = render(
        "datasheet.html.j2",
        figures,
        sheet=sheet,
        other=other,
        groups=_groups(sheet),
        changes=[each for each in found if each.told],
        unlike="" if not differing else f"{UNLIKE}{differing}.",
        compared=sum(math.isfinite(each.sigmas) for each in found),
        sources=_sources(sheet.quantities),
        drawn=set(figures),
    )
    size = " x ".join(map(str, sheet.shape))
    return Page.of(
        words,
        title="Data sheet",
        subtitle=f"{sheet.name} · camera {sheet.camera} · {size} · {_setting(sheet)}",
        observed=observed(*sheet.observed),
        advice=[],
        question="Is it complete?",
        answer=_verdict(sheet),
    )


def _setting(sheet: DataSheet) -> str:
    settings = [f"{name} {value}" for name, value in sheet.setting.items()]
    return ", ".join([*settings, several(sheet.frames, "frame")])


def _verdict(sheet: DataSheet) -> Verdict:
    """Whether all quantities are known."""
    missing = {each.label for each in sheet.quantities if not each.known}
    missing -= {each.label for each in sheet.quantities if each.known}
    if not missing:
        return Verdict("fine", "Yes: these frames tell every quantity.")
    if len(missing) > MOST_MISSING:
        known = len({each.label for each in sheet.quantities}) - len(missing)
        of = f"{known} of {known + len(missing)} quantities"
        return Verdict("note", f"These frames tell {of}; why not the others is said below.")
    return Verdict("note", f"These frames do not tell: {', '.join(sorted(missing))}.")


def _groups(sheet: DataSheet) -> list[tuple[str, list[Quantity]]]:
    """Known quantities under their titles."""
    found: dict[str, list[Quantity]] = {title: [] for title in [*GROUPS, "Others"]}
    for each in sheet.quantities:
        titles = (title for title, keys in GROUPS.items() if each.key.startswith(keys))
        if each.known:
            found[next(titles, "Others")].append(each)
    return [(title, rows) for title, rows in found.items() if rows]


def _sources(quantities: Iterable[Quantity]) -> list[tuple[str, str, str]]:
    """Label, source and notes of known quantities; of which stack a note is, where they differ."""
    notes: dict[tuple[str, str], dict[str, list[str]]] = {}
    for each in quantities:
        if each.known:
            found = notes.setdefault((each.label, each.source), {})
            found.setdefault(each.note, []).append(each.of)
    return [(*key, _joined(found)) for key, found in notes.items()]


def _joined(notes: Mapping[str, Sequence[str]]) -> str:
    """Different notes of one quantity, each behind the settings that it is of."""
    if len(notes) == 1:
        return next(iter(notes))
    return ". ".join(f"{'; '.join(of)}: {note}" for note, of in notes.items() if note)


def _figures(sheet: DataSheet) -> dict[str, plots.Figure]:
    """Figures of a sheet that was just made, by name."""
    evidence = sheet.evidence
    if evidence is None:
        return {}
    chapters = {type(each): each for each in sheet.chapters}
    drawn = {
        "samples": _samples(evidence),
        "drift": _drift(chapters[SampleChapter]),
        "read_noise": _read_noise(chapters[NoiseChapter]),
        "maps": _maps(chapters[StructureChapter]),
        "trails": _trails(chapters[PixelChapter]),
        "telegraph": _telegraph(evidence),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _samples(evidence: Evidence) -> plots.Figure | None:
    """Histograms of the stacks of the largest gains, and of the lowest; the law, by counts."""
    if evidence.bins is None or evidence.store.histograms is None:
        return None
    counting = None if evidence.maps is None else evidence.maps.counting
    law = None if counting is None else counting.histogram()["LAW"]
    order = np.argsort(-evidence.gain, kind="stable")
    shown = sorted({*order[: MOST_SAMPLES - 1].tolist(), int(order[-1])}, key=order.tolist().index)
    figure, axes = panel_figure(len(shown), 3.2)
    for i, ax in zip(shown, axes, strict=True):
        stack = evidence.stacks[i]
        title = stack_name(stack.commanded_gain, stack.exposure_time)
        counts = evidence.store.histograms[i, 0]
        expected = None if law is None else law[:, i]
        edges = evidence.bins.edges - evidence.level
        plots.sample_histogram(edges, counts, expected, title, ax=ax)
        if ax is not axes[0] and (legend := ax.get_legend()) is not None:
            legend.remove()  # it would lie over the curve of a low gain
    return figure


def _drift(chapter: SampleChapter) -> plots.Figure | None:
    """EM gains over commanded ones along the campaign, and the drift that they share."""
    drift = chapter.drift
    if drift is None:
        return None
    evidence = chapter.evidence
    commanded = np.array([stack.commanded_gain for stack in evidence.stacks])
    ratio, error = chapter.ratios
    known = np.isfinite(ratio) & np.isfinite(chapter.middle)
    several = [g for g in np.unique(commanded[known]) if (commanded[known] == g).sum() > 1]
    hours = 24 * float(np.ptp(np.concatenate(evidence.starts)))
    figure, axes = panel_figure(len(several[-MOST_GAINS:]), 3.0)
    for g, ax in zip(several[-MOST_GAINS:], axes, strict=True):
        these = known & (commanded == g)
        when, weight = chapter.middle[these], error[these] ** -2
        ends = np.array([when.min(), when.max()])
        straight = np.average(ratio[these], weights=weight) * np.exp(
            drift.slope.value * (ends - np.average(when, weights=weight))
        )
        plots.measured_points(
            hours * when,
            ratio[these],
            error[these],
            f"commanded EM gain {g:g}",
            ("hours from the first frame", "EM gain over commanded"),
            levels=[1.0],
            line=(hours * ends, straight),
            ax=ax,
        )
    return figure


def _read_noise(chapter: NoiseChapter) -> plots.Figure | None:
    """Map and histogram of the read noise."""
    if chapter.pixels is None or not np.isfinite(chapter.pixels.plane).any():
        return None
    evidence = chapter.evidence
    plane = np.full(evidence.frame.imaging.shape, np.nan)
    plane[evidence.frame.imaging] = chapter.pixels.plane
    figure, axes = panel_figure(2, 4.2)
    bulk = plots.robust_limits(chapter.pixels.plane[~chapter.pixels.outlying], 0.0005)
    plots.show_map(evidence.image(plane), "read noise", "e⁻", limits=bulk, most=MOST, ax=axes[0])
    limits = 0.8 * bulk[0], 1.4 * bulk[1]
    plots.value_histogram(
        chapter.pixels.plane, "read noise of the pixels", "e⁻", limits=limits, ax=axes[1]
    )
    return figure


def _maps(chapter: StructureChapter) -> plots.Figure | None:
    """Dark current with its glow, and the level, of the imaging area."""
    evidence = chapter.evidence
    if evidence.maps is None:
        return None
    panels = [("level F", evidence.map(0)[0] - evidence.level, "e⁻", True)]
    if chapter.glow is not None:
        panels = [
            ("dark current D", 1e3 * evidence.map(2)[0], "10⁻³ e⁻/s", False),
            ("glow in D", 1e3 * chapter.glow.surface(), "10⁻³ e⁻/s", False),
            *panels,
        ]
    figure, axes = panel_figure(len(panels), 3.0 if len(panels) > 1 else 3.6)
    hot = ~evidence.image(evidence.ordinary)
    for ax, (title, plane, unit, both_signs) in zip(axes, panels, strict=True):
        shown = plots.shrink(np.where(hot, np.nan, plane), MOST)
        limits = plots.robust_limits(shown, symmetric=both_signs)
        plots.show_map(plane, title, unit, limits=limits, both_signs=both_signs, most=MOST, ax=ax)
    return figure


def _trails(chapter: PixelChapter) -> plots.Figure | None:
    """Share of the charge of hot pixels that lies before and behind them."""
    if not any(each.pixels >= 3 for each in chapter.trails):
        return None
    figure, axes = panel_figure(2, 3.2)
    for ax, found, name in zip(axes, chapter.trails, ("columns", "rows"), strict=True):
        plots.measured_points(
            np.arange(1, found.trailing.size + 1),
            100 * (found.trailing - found.leading),
            100 * math.sqrt(2) * found.profile_error,
            f"along {name}",
            ("pixels behind a hot one", "% of its charge"),
            levels=[0.0],
            ax=ax,
        ).set_xticks(np.arange(1, found.trailing.size + 1))
    return figure


def _telegraph(evidence: Evidence) -> plots.Figure | None:
    """Means along the sequence of the pixels that switch most clearly."""
    some = [
        (float(each.found.evidence[k]), each, k, place)
        for each in evidence.telegraph
        for place, k in enumerate(each.shown)
    ]
    clearest = {
        int(one[1].found.pixel[one[2]]): one for one in sorted(some, key=lambda one: one[0])
    }
    if not clearest:
        return None
    # The last one of a pixel is that of the stack that shows it best.
    chosen = sorted(clearest.values(), key=lambda one: -one[0])[:MOST_TELEGRAPH]
    figure, axes = panel_figure(len(chosen), 3.0)
    for ax, (_, each, k, place) in zip(axes, chosen, strict=True):
        stack = stack_name(each.stack.commanded_gain, each.stack.exposure_time)
        row, column = divmod(int(each.found.pixel[k]), evidence.frame.shape[1])
        plots.measured_points(
            each.middle,
            each.means[:, place],
            each.errors[:, place],
            f"row {row}, column {column}\n{stack}",
            ("frame", "mean, EM e⁻"),
            levels=[float(each.found.low[k]), float(each.found.high[k])],
            ax=ax,
        )
    return figure
