"""The page of a data sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from emdarks import plots
from emdarks.checks.formatting import observed, several
from emdarks.checks.stack_table import stack_name
from emdarks.datasheet import DataSheet, Evidence, Quantity, changes
from emdarks.report.page import Page, Verdict, render
from emdarks.report.sections import MOST, panel_figure

#: Histograms of so many stacks are shown.
MOST_SAMPLES = 3

#: Titles of the table, and the quantities under each.
GROUPS = {
    "Noise and gain": ("read_noise", "em_gain", "em_gain_ratio"),
    "Charge": ("clock_induced_charge", "dark_current"),
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
    figures = _figures(sheet)
    words = render(
        "datasheet.html.j2",
        figures,
        sheet=sheet,
        other=other,
        groups=_groups(sheet),
        unknown=_unknown(sheet.quantities),
        changes=found,
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
    return Verdict("note", f"These frames do not tell: {', '.join(sorted(missing))}.")


def _groups(sheet: DataSheet) -> list[tuple[str, list[Quantity]]]:
    """Known quantities under their titles."""
    found = [
        (title, [each for key in keys for each in sheet.all(key) if each.known])
        for title, keys in GROUPS.items()
    ]
    named = {key for keys in GROUPS.values() for key in keys}
    others = [each for each in sheet.quantities if each.known and each.key not in named]
    return [(title, rows) for title, rows in [*found, ("Others", others)] if rows]


class _Rows:
    """Quantities that are told in one row."""

    def __init__(self, first: Quantity):
        self.label, self.source, self.note, self.of = first.label, first.source, first.note, ""


def _unknown(quantities: Iterable[Quantity]) -> list[_Rows]:
    """What is not known, once a reason."""
    rows: dict[tuple[str, str], _Rows] = {}
    for each in quantities:
        if not each.known:
            row = rows.setdefault((each.label, each.note), _Rows(each))
            row.of = "; ".join(filter(None, [row.of, each.of]))
    return list(rows.values())


def _sources(quantities: Iterable[Quantity]) -> list[_Rows]:
    """What known quantities are from, once a sentence."""
    rows: dict[tuple[str, str], _Rows] = {}
    for each in quantities:
        if each.known:
            row = rows.setdefault((each.label, each.source), _Rows(each))
            row.note = row.note if row.note == each.note else ""
    return list(rows.values())


def _figures(sheet: DataSheet) -> dict[str, plots.Figure]:
    """Figures of a sheet that was just made, by name."""
    evidence = sheet.evidence
    if evidence is None:
        return {}
    drawn = {"samples": _samples(evidence), "maps": _maps(evidence)}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _samples(evidence: Evidence) -> plots.Figure | None:
    """Histograms of the stacks of the largest gains, and of the lowest."""
    if evidence.maps is None or evidence.maps.counting is None:
        return None
    table = evidence.maps.counting.histogram()
    order = np.argsort(-evidence.gain, kind="stable")
    shown = sorted({*order[: MOST_SAMPLES - 1].tolist(), int(order[-1])}, key=order.tolist().index)
    figure, axes = panel_figure(len(shown), 3.2)
    edges = np.append(table["LOWER"], table["UPPER"][-1])
    for i, ax in zip(shown, axes, strict=True):
        stack = evidence.stacks[i]
        title = stack_name(stack.commanded_gain, stack.exposure_time)
        plots.sample_histogram(edges, table["COUNTS"][:, i], table["LAW"][:, i], title, ax=ax)
    return figure


def _maps(evidence: Evidence) -> plots.Figure | None:
    """Maps of dark current and level, of the imaging area."""
    maps = evidence.maps
    if maps is None:
        return None
    frame = evidence.frame
    box = (
        np.flatnonzero(frame.imaging.reshape(frame.shape).any(axis=1)),
        np.flatnonzero(frame.imaging.reshape(frame.shape).any(axis=0)),
    )
    area = tuple(slice(int(at[0]), int(at[-1]) + 1) for at in box)
    figure, axes = panel_figure(2, 4.2)
    for ax, k, title, unit in zip(axes, (2, 0), ("D", "F"), ("e⁻/s", "e⁻"), strict=True):
        plane = maps.fit.values[k].reshape(frame.shape)[area]
        plots.show_map(plane, title, unit, both_signs=k == 0, most=MOST, ax=ax)
    return figure
