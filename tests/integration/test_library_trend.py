"""Trends of a library: what is followed, what is named, and the page that shows it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from emdarks.cli.app import app
from emdarks.library import Entry, Kind, Library, Number, Trend, find_trends
from emdarks.library import index as sql
from emdarks.report import trend_page
from loops import for_each

FIRST, NIGHTS = 61041.2, 30
MODES = (("excam", None), ("nuvu", "mode=1"), ("nuvu", "mode=2"), ("shoc", "mode=1"))


def entry(night: int, camera: str, settings: str | None, rng: Any, **more: Any) -> Entry:
    numbers = {
        "mean_d": Number(2e-3 + 1e-4 * rng.standard_normal(), 1e-4, "e⁻/s"),
        "mean_f": Number(0.3 + 0.2 * rng.standard_normal(), 0.2, "EM e⁻"),
        "gain_1000": Number(950.0 + rng.standard_normal(), 1.0),
        "hot_pixels": Number(40.0, math.sqrt(40.0), "pixels"),
        "bias_offset": Number(0.0, math.nan, "DN"),
    }
    own = Entry(
        path=f"{camera}_{settings}_{night}.fits",
        size=1,
        sha256=f"{camera}{settings}{night}",
        kind=Kind.NOISE_MAPS,
        camera=camera,
        settings=settings,
        begin=FIRST + night,
        end=FIRST + night + 0.1,
        made="2026-03-01T00:00:00",
        numbers=numbers,
    )
    return replace(own, **more)


def with_number(own: Entry, name: str, change: float) -> Entry:
    number = own.numbers[name]
    return replace(own, numbers={**own.numbers, name: number._replace(value=number.value + change)})


def season() -> Iterator[Entry]:
    """D of one mode of one camera rises by 5 errors at mid-season; nothing else changes."""
    rng = np.random.default_rng(3)
    for night in range(NIGHTS):
        for camera, settings in MODES:
            own = entry(night, camera, settings, rng)
            changed = (camera, settings) == MODES[2] and night >= NIGHTS // 2
            yield with_number(own, "mean_d", 5e-4 if changed else 0.0)


def filled(folder: Path, entries: Any) -> Library:
    library = Library.init(folder)
    with library.index.writing() as connection:
        for each in entries:
            sql.insert(connection, each)
    return library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return filled(tmp_path_factory.mktemp("trend") / "library", season())


@pytest.fixture(scope="module")
def trend(library: Library) -> Trend:
    return find_trends(library)


def test_cameras_and_settings_are_never_mixed(trend: Trend) -> None:
    assert sorted((g.entry.camera, g.entry.settings or "") for g in trend.groups) == sorted(
        (camera, settings or "") for camera, settings in MODES
    )
    for group in trend.groups:
        own = {(each.camera, each.settings) for each in group.entries}
        assert own == {(group.entry.camera, group.entry.settings)}
        assert len(group.entries) == NIGHTS
        assert [series.name for series in group.series] == [
            "mean_f", "mean_d", "hot_pixels", "bias_offset", "gain_1000"
        ]  # fmt: skip


def test_the_step_is_named_with_its_mode_and_night(trend: Trend) -> None:
    (group, series), = [(g, s) for g in trend.groups for s in g.series if s.alarm]  # fmt: skip
    assert (group.entry.camera, group.entry.settings) == MODES[2]
    assert series.name == "mean_d"
    assert series.nights()[0] == "2026-01-16"
    assert series.verdict.startswith("step since 2026-01-16")
    finding, = trend.findings  # fmt: skip
    assert finding.severity == "warning"
    for words in ("nuvu", "mode=2", "image mean of D", "rose", "2026-01-16", "stayed so"):
        assert words in finding.text


def test_what_has_no_errors_is_shown_and_not_judged(trend: Trend) -> None:
    for group in trend.groups:
        offset = next(series for series in group.series if series.name == "bias_offset")
        assert len(offset.points) == NIGHTS
        assert offset.change is None
        assert not offset.alarm
        assert "not judged" in offset.verdict


def test_products_that_cannot_be_followed_are_left_out_and_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    good = [entry(night, "excam", None, rng) for night in range(4)]
    again = replace(good[2], path="again.fits", sha256="again", made="2026-04-01T00:00:00")
    others = [
        entry(5, "excam", None, rng, rejected="light"),
        entry(6, "excam", None, rng, begin=math.nan, end=math.nan),
        entry(7, "excam", None, rng, numbers={}, kind=Kind.NONLINEARITY),
        again,
    ]
    found = find_trends(filled(tmp_path / "library", [*good, *others]))
    (group,) = found.groups
    assert [each.path for each in group.entries] == [
        good[0].path, good[1].path, "again.fits", good[3].path
    ]  # fmt: skip
    assert sorted(found.left_out.values()) == [1, 1, 1, 1]
    assert {why.split()[0] for why in found.left_out} == {"rejected", "no", "the"}


@for_each("what", [{"gain": 2.0}, {"level": "L1"}, {"bias": "nothing"}, {"rows": 9}], ids=str)
def test_products_of_other_frames_are_a_group_of_their_own(
    what: dict[str, Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    made = [entry(0, "excam", None, rng), entry(1, "excam", None, rng, **what)]
    assert len(find_trends(filled(tmp_path / "library", made)).groups) == 2


def test_modes_of_one_camera_are_told_apart(library: Library, trend: Trend) -> None:
    page = trend_page(library, trend)
    assert [section.title for section in page.sections] == [
        "excam: noise maps", "nuvu: noise maps, mode 1 of 2", "nuvu: noise maps, mode 2 of 2",
        "shoc: noise maps", "How changes are found",
    ]  # fmt: skip


@for_each(
    "name, changes, words",
    [
        ("mean_f", [9.0 * (n == 19) for n in range(20)], "with the night of 2026-01-20, the last"),
        (
            "gain_1000",
            [-1.0 * n for n in range(20)],
            "1000 fell steadily by 20 from",
        ),
        (
            "mean_f",
            [2.0 * (n == 9) for n in range(20)],
            "e⁻ too high in the night of 2026-01-10",
        ),
        ("mean_f", [-2.0 * (n == 9) for n in range(20)], "too low in the night of 2026-01-10"),
    ],
    ids=str,
)
def test_drifts_and_odd_nights_in_words(
    name: str, changes: list[float], words: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(4)
    made = [
        with_number(entry(night, "excam", None, rng), name, change)
        for night, change in enumerate(changes)
    ]
    found = find_trends(filled(tmp_path / "library", made))
    (finding,) = [each for each in found.findings if each.severity == "warning"]
    assert words in finding.text
    assert "  " not in finding.text


def test_nothing_to_follow_is_said(tmp_path: Path) -> None:
    library = Library.init(tmp_path / "library")
    found = find_trends(library)
    assert (found.groups, found.alarms, found.findings) == ((), 0, [])
    page = trend_page(library, found, tmp_path)
    assert page.verdict.severity == "note"
    assert page.verdict.words.startswith("Nobody can tell")


def test_points_of_the_page_lead_to_reports_and_products(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    made = [entry(night, "excam", None, rng) for night in range(3)]
    library = filled(tmp_path / "library", made)
    for own in made[:2]:
        library.file(own).write_bytes(b" ")
    report = tmp_path / "pages" / made[1].name.replace(".fits", "_report.html")
    report.parent.mkdir()
    report.write_text("a report")
    page = trend_page(library, find_trends(library), report.parent)
    text = page.html()
    numbers = len(made[0].numbers)
    assert text.count(f'<a href="../library/{made[0].name}" title=') == numbers
    assert text.count(f'<a href="{report.name}" title=') == numbers
    assert made[2].name not in text.replace(f"{made[2].name} (gone)", "")
    assert "No: nothing changed" in text
    for place in text.split('style="left:')[1:]:
        left, top = (float(part.split("%")[0]) for part in place.split(";top:"))
        assert 0 < left < 100
        assert 0 < top < 100


def test_the_command(library: Library, trend: Trend, tmp_path: Path) -> None:
    run = CliRunner().invoke
    page, folder = tmp_path / "trend.html", str(library.folder)
    outcome = run(app, ["library", "trend", folder, "-o", str(tmp_path), "--png", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert "2026-01-16" in outcome.output
    assert "changed? Yes: 1 number changed." in outcome.output
    assert "Yes: 1 number changed." in page.read_text(encoding="utf-8")
    assert len(list(tmp_path.glob("trend_trend_*.png"))) == len(MODES)
    outcome = run(app, ["library", "trend", folder, "--camera", "nuvu", "--json"])
    told = json.loads(outcome.stdout)
    assert [group["settings"] for group in told["groups"]] == ["mode=1", "mode=2"]
    assert told["changed"] == 1
    (changed,) = [s for g in told["groups"] for s in g["numbers"] if s["changed"]]
    assert (changed["number"], changed["night"]) == ("mean_d", "2026-01-16")
    assert len(changed["points"]) == NIGHTS
    assert run(app, ["library", "trend", folder, "-o", str(page)]).exit_code == 1
    assert run(app, ["library", "trend", folder, "--png", str(tmp_path)]).exit_code == 2
