"""The page of a library over time: how its numbers change, and whether that is chance."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from emdarks import plots
from emdarks.checks.formatting import count, observed
from emdarks.fit.changes import FALSE_ALARMS, Change, Shape
from emdarks.library import Entry, Library
from emdarks.library.trend import Group, Point, Series, Trend
from emdarks.report.page import WIDTH, Page, Section, Verdict, render


class Place(NamedTuple):
    """A point of a figure that leads to a product.

    Attributes
    ----------
    left, top : float
        Where it is in the figure, percent.
    address : str
        Of the report, or of the product where there is none.
    words : str
        Shown beside it.
    """

    left: float
    top: float
    address: str
    words: str


class Links:
    """Addresses of products and their reports, as a page in a folder sees them.

    Parameters
    ----------
    library : Library
        The library.
    folder : Path
        Of the page.
    """

    def __init__(self, library: Library, folder: Path):
        self._library, self._folder = library, folder.resolve()

    def product(self, entry: Entry) -> str:
        """Address of the file; empty where there is none."""
        return self._address(self._library.file(entry))

    def report(self, entry: Entry) -> str:
        """Address of the report that `emdarks report` makes; empty where there is none.

        It may be beside the page, in the library or beside the product.
        """
        name = f"{entry.name.split('.fits')[0]}_report.html"
        folders = self._folder, self._library.folder.resolve(), self._library.file(entry).parent
        return next((found for each in folders if (found := self._address(each / name))), "")

    def best(self, entry: Entry) -> str:
        """The report, or else the product."""
        return self.report(entry) or self.product(entry)

    def _address(self, path: Path) -> str:
        return quote(Path(os.path.relpath(path, self._folder)).as_posix()) if path.exists() else ""


def trend_page(library: Library, trend: Trend, folder: str | os.PathLike[str] = ".") -> Page:
    """A page about the numbers of a library over time.

    Parameters
    ----------
    library : Library
        The library.
    trend : Trend
        What `emdarks.library.find_trends` has found.
    folder : str or path-like
        Where the page will be: its points lead from there to reports and products.

    Returns
    -------
    Page
    """
    links = Links(library, Path(folder))
    words = render("trend.html.j2", trend=trend, chance=FALSE_ALARMS)
    # Numbers before how they were judged.
    words.sections[:0] = [
        _section(f"trend_{i}", title, group, links)
        for i, (title, group) in enumerate(zip(_titles(trend), trend.groups, strict=True), 1)
    ]
    entries = [entry for group in trend.groups for entry in group.entries]
    cameras = sorted({entry.camera for entry in entries})
    begin = min((entry.begin for entry in entries), default=float("nan"))
    end = max((entry.end for entry in entries), default=float("nan"))
    return Page.of(
        words,
        title="Trend of a library",
        subtitle=f"{library.folder.resolve().name} · {count(len(entries))} products · "
        f"{', '.join(cameras) or 'no camera'}",
        observed=observed(begin, end),
        advice=trend.findings,
        question="Has anything changed?",
        answer=Verdict(*trend.answer),
    )


def _titles(trend: Trend) -> list[str]:
    """Titles of the groups; modes of one camera are numbered."""
    own = [group.title for group in trend.groups]
    return [
        f"{title}, mode {own[:i].count(title) + 1} of {own.count(title)}"
        if own.count(title) > 1
        else title
        for i, title in enumerate(own)
    ]


def _section(name: str, title: str, group: Group, links: Links) -> Section:
    panels = [_panel(series) for series in group.series]
    figure, places = plots.trend_panels(panels, WIDTH)
    points = [
        Place(100 * x, 100 * y, links.best(point.entry), _told(series, point))
        for series, positions in zip(group.series, places, strict=True)
        for point, (x, y) in zip(series.points, positions, strict=True)
    ]
    rows = [(entry, links.product(entry), links.report(entry)) for entry in group.entries]
    found = render(
        "trend_group.html.j2",
        {name: figure},
        key=name,
        title=title,
        group=group,
        points=[point for point in points if point.address],
        rows=rows,
        nights={entry.id: Point(entry, 0.0, 0.0).night for entry in group.entries},
    )
    return found.sections[0]


def _told(series: Series, point: Point) -> str:
    return f"{point.night}, {point.entry.name}: {series.title} {point.value:.6g} {series.unit}"


def _panel(series: Series) -> plots.Panel:
    times, values, errors = ([getattr(p, name) for p in series.points] for name in _COLUMNS)
    changed = f": {series.verdict.partition(' (')[0]}" if series.alarm else ""
    title = f"{series.title}{changed}"
    return plots.Panel(title, series.unit, times, values, errors, _line(series), series.alarm)


_COLUMNS = ("time", "value", "error")


def _line(series: Series) -> tuple[list[float], list[float]]:
    """What the numbers are compared with: the change, or their mean."""
    change, points = series.change, series.judged
    if change is None:
        return [], []
    times = [point.time for point in points]
    if not series.alarm:
        weights = [point.error**-2 for point in points]
        mean = sum(w * p.value for w, p in zip(weights, points, strict=True)) / sum(weights)
        return [times[0], times[-1]], [mean, mean]
    return _changed(change, times)


def _changed(change: Change, times: list[float]) -> tuple[list[float], list[float]]:
    before, after, at = change.before, change.after, change.at
    if change.shape is Shape.DRIFT:
        return [times[0], times[-1]], [before, after]
    edge = (times[at - 1] + times[at]) / 2 if at else times[0]
    if change.shape is Shape.STEP:
        return [times[0], edge, edge, times[-1]], [before, before, after, after]
    back = (times[at] + times[at + 1]) / 2
    x = [times[0], edge, edge, back, back, times[-1]]
    return x, [before, before, after, after, before, before]
