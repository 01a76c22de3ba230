"""Data sheets: quantities, JSON, differences, and how they are told."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emdarks.checks.formatting import between, count, in_errors, measured
from emdarks.cli.tables import changes_table, sheet_table
from emdarks.datasheet import DataSheet, Quantity, StackRow, changes, unlike
from emdarks.errors import InputError
from emdarks.report.datasheet import GROUPS, datasheet_page


def sheet(name: str = "a", *more: Quantity, gain: float = 980.0) -> DataSheet:
    setting = {"em_gain": 1000.0, "exposure_time": 60.0}
    quantities = (
        Quantity.measured("read_noise", "read noise", "e⁻", 100.0, 0.5, "width", frames=40),
        Quantity.measured("em_gain", "EM gain", "", gain, 14.0, "likelihood", setting=setting),
        Quantity("glow", "glow", "e⁻/s", 1e-5, 2e-5, 0.0, 4e-5, "surface"),
        Quantity.unknown("dark_current", "dark current", "e⁻/s", "one exposure time"),
        *more,
    )
    rows = (StackRow(1000.0, 990.0, 60.0, 7, math.nan), StackRow(1.0, 1.0, 2.0, 5, -85.25))
    return DataSheet(
        name, "ixon", (37, 41), {"rate": "10"}, (61041.0, math.nan), rows, quantities, ("no maps",)
    )


def test_an_error_that_falls_with_frames_says_how_many_more_halve_it() -> None:
    found = sheet()
    assert found["read_noise"].frames_to_halve == 120
    assert math.isnan(found["em_gain"].frames_to_halve)
    assert (found["em_gain"].low, found["em_gain"].high) == (966.0, 994.0)


@pytest.mark.parametrize(("falling", "more"), [(1.0, 120.0), (0.9, 200.0), (0.75, math.nan)])
def test_what_pixels_differ_by_is_left_of_an_error(falling: float, more: float) -> None:
    found = Quantity.measured("glow", "glow", "", 1.0, 0.5, "map", frames=40, falling=falling)
    assert found.frames_to_halve == pytest.approx(more, nan_ok=True)
    if falling == 0.9:  # (1 - f) + f 40 / (40 + 200) is a quarter
        assert pytest.approx(0.25) == 0.1 + 0.9 * 40 / 240


def test_json_gives_the_same_sheet_again(tmp_path: Path) -> None:
    found = sheet()
    path = found.save(tmp_path / "sheet.json")
    again = DataSheet.load(path)
    assert again.json() == found.json()
    assert again["glow"] == found["glow"]
    assert not again["dark_current"].known
    assert again["dark_current"].note == "one exposure time"
    assert again.stacks[1] == found.stacks[1]
    assert math.isnan(again.stacks[0].temperature)
    assert again.frames == 12
    assert "NaN" not in path.read_text()


def test_what_is_no_data_sheet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sheet.json"
    values: dict[str, Any] = json.loads(sheet().json())
    for spoilt in ({**values, "kind": "check"}, {**values, "schema": 99}, {"stacks": 3}, [1]):
        path.write_text(json.dumps(spoilt))
        with pytest.raises(InputError, match="no data sheet of this version; make one with"):
            DataSheet.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        DataSheet.load(tmp_path / "none.json")


def test_a_key_that_is_there_several_times_is_not_guessed() -> None:
    other = Quantity.unknown("em_gain", "EM gain", "", "low gain", {"em_gain": 1.0})
    found = sheet("a", other)
    with pytest.raises(KeyError, match="2 quantities"):
        found["em_gain"]
    assert len(found.all("em_gain")) == 2


def test_differences_have_the_errors_of_the_sides_that_face_each_other() -> None:
    after = sheet("after", gain=1030.0)
    before = sheet("before", Quantity.measured("hot_pixels", "hot pixels", "", 9.0, 1.0, "count"))
    found = {change.quantity.key: change for change in changes(after, before)}
    gain = found["em_gain"]
    assert gain.difference == 50.0
    assert gain.error == pytest.approx(14.0 * math.sqrt(2))
    assert gain.sigmas == pytest.approx(50.0 / (14.0 * math.sqrt(2)))
    assert gain.as_dict()["setting"] == {"em_gain": 1000.0, "exposure_time": 60.0}
    assert found["hot_pixels"].after is None
    assert math.isnan(found["hot_pixels"].sigmas)
    assert found["hot_pixels"].as_dict()["after"] is None
    assert math.isnan(found["dark_current"].difference)
    uneven = Quantity("x", "x", "", 5.0, 2.0, 4.0, 8.0, "a")
    higher = Quantity("x", "x", "", 9.0, 2.0, 8.0, 12.0, "a")
    change = changes(sheet("b", higher), sheet("a", uneven))[-1]
    assert change.error == pytest.approx(math.hypot(9.0 - 8.0, 8.0 - 5.0))
    change = changes(sheet("b", uneven), sheet("a", higher))[-1]
    assert change.error == pytest.approx(math.hypot(8.0 - 5.0, 9.0 - 8.0))


def test_what_makes_two_sheets_unlike_is_named() -> None:
    one = replace(sheet(), stages=604.0)
    assert unlike(one, replace(one, name="b", observed=(61225.0, 61226.0))) == []
    assert unlike(one, replace(one, stages=math.nan)) == []  # of a file that does not tell them
    stacks = tuple(replace(row, exposure_time=9.0, temperature=-70.0) for row in one.stacks)
    quantities = (replace(one.quantities[0], unit="DN", error=2.0), *one.quantities[1:])
    other = replace(
        one,
        camera="nuvu",
        shape=(37, 40),
        setting={"rate": "20", "gain": "high"},
        stages=math.inf,
        stacks=stacks,
        quantities=quantities,
    )
    assert unlike(one, other) == [
        "camera: ixon, against nuvu",
        "size of a frame: 37 x 41, against 37 x 40",
        "rate: 10, against 20",
        "gain: not stated, against high",
        "stages of the gain register: 604, against very many",
        "unit of read noise: e⁻, against DN",
        "mean temperature: -85.2 °C, against -70.0 °C",
        "EM gains and times of the stacks: 1, 2 s; 1000, 60 s, against 1, 9 s; 1000, 9 s",
    ]
    # A difference of two units is none.
    assert math.isnan(changes(one, other)[0].difference)
    page = datasheet_page(one, other).html()
    assert "differ in more than time, and numbers may differ for that: camera: ixon" in page
    assert "more than time" not in datasheet_page(one, one).html()


@pytest.mark.parametrize("stages", [604.0, math.inf, math.nan])
def test_stages_are_part_of_the_file(stages: float) -> None:
    found = replace(sheet(), stages=stages)
    values = json.loads(found.json())
    assert DataSheet.from_dict(values).stages == pytest.approx(stages, nan_ok=True)
    del values["register_stages"]
    assert math.isnan(DataSheet.from_dict(values).stages)


def test_intervals_in_words() -> None:
    assert between(100.0, 99.5, 100.5) == "100.00 ± 0.50"
    assert between(1e-5, 0.0, 4e-5) == "0.000010 +0.000030 −0.000010"
    assert between(0.0, 0.0, 0.3) == "0 to 0.30"
    assert between(0.01, 0.0, 0.3) == "0 to 0.30"
    assert between(0.0, -0.3, 0.3) == "0.00 ± 0.30"
    assert between(7.0, math.nan, math.nan) == "7.00"
    assert between(math.nan, math.nan, math.nan) == "–"
    assert between(1.18e-5, 0.29e-5, 2.07e-5) == "(1.18 ± 0.89) × 10⁻⁵"
    assert between(-8.4e-6, -17.5e-6, 0.7e-6) == "(−8.4 ± 9.1) × 10⁻⁶"
    assert between(1.9e-6, 1.2e-6, 3.3e-6) == "(1.9 +1.4 −0.7) × 10⁻⁶"
    assert between(1.012e-4, 0.993e-4, 1.031e-4) == "(1.012 ± 0.019) × 10⁻⁴"
    assert measured(1.18e-5, 1e-13) == "1.18 × 10⁻⁵ ± 1.0 × 10⁻¹³"
    # Numbers of things are whole.
    assert between(10486.0, 10485.98, 10486.02, True) == "10\N{NARROW NO-BREAK SPACE}486"
    assert between(7.9, 4.9, 11.7, True) == "8 +4 −3"
    assert between(21.9, 18.0, 25.8, True) == "22 ± 4"
    assert between(0.0, 0.0, 0.99, True) == "0 to 0.99"
    assert (count(math.nan), count(27.0)) == ("–", "27")
    words = [in_errors(x) for x in (math.nan, -0.03, 2.449, -1293.4)]
    assert words == ["–", "+0.0", "+2.4", "−1293.4"]


def test_every_known_quantity_is_on_the_page_and_each_reason() -> None:
    page = datasheet_page(sheet("darks <b>"), sheet("earlier")).html()
    for text in ("100.00 ± 0.50", "1000, 60 s", "one exposure time", "earlier", "120"):
        assert text in page, text
    assert "darks &lt;b&gt;" in page
    assert "do not tell: dark current" in page
    assert "Others" not in page  # every key has a title
    assert next(iter(GROUPS)) in page


def test_tables_for_people() -> None:
    found = sheet()
    assert sheet_table(found).row_count == 3
    # What neither sheet tells is no row.
    assert changes_table(changes(found, sheet("b")), "a", "b").row_count == 3


def test_quantities_that_are_not_known_for_one_reason_stand_together() -> None:
    low = Quantity.unknown("em_gain", "EM gain", "", "low gain", {"em_gain": 1.0})
    none = Quantity.unknown("hot_pixels", "hot pixels", "", "one exposure time")
    lower = Quantity.unknown("em_gain", "EM gain", "", "low gain", {"em_gain": 2.0})
    assert sheet("a", low, none, lower).unknown == [
        ("dark current; hot pixels", "one exposure time"),
        ("EM gain (1; 2)", "low gain"),
    ]


def test_a_page_counts_what_is_not_known_where_it_is_much() -> None:
    more = [Quantity.unknown(f"x{i}", f"x{i}", "", "one stack") for i in range(5)]
    assert "These frames tell 3 of 9 quantities" in datasheet_page(sheet("a", *more)).html()


def test_notes_that_differ_are_all_on_the_page_with_what_they_are_of() -> None:
    ratios = [
        Quantity.measured("em_gain_ratio", "ratio", "", 1.0, 0.1, "mean", note=note, setting=of)
        for note, of in (("", {"em_gain": 5.0}), ("apart", {"em_gain": 7.0}))
    ]
    assert "7: apart" in datasheet_page(sheet("a", *ratios)).html()
