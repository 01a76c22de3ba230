"""Reports: what pages say, of good products and of bad ones."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import frame_hdus
from emdarks.checks import Finding, inspect_campaign
from emdarks.checks.formatting import (
    count,
    measured,
    number,
    observed,
    percent,
    setting,
    signed,
    size,
    tied,
    value_in,
)
from emdarks.checks.products import stack_misfits
from emdarks.checks.registry import DARK, NOISE_MAPS, find
from emdarks.checks.thresholds import FEW_FRAMES
from emdarks.darks import build_synthesized_dark, build_trad_dark, calibrate_darks_lsq
from emdarks.data import Dark, Dataset, DetectorNoiseMaps, Image, sample
from emdarks.errors import InputError
from emdarks.half_split import check_darks
from emdarks.report import (
    DarkView,
    MapsView,
    Page,
    Verdict,
    campaign_page,
    compare_products,
    dark_page,
    maps_page,
    open_product,
    render,
    report_on,
    write_report,
)
from emdarks.report.compare import _lift
from emdarks.report.half_split import load_check
from emdarks.simulate import make_truth, simulate_stack
from loops import for_each

pytestmark = pytest.mark.usefixtures("coarse_pictures")

STACKS = [(1.0, 2.0), (1.0, 100.0), (50.0, 10.0), (1000.0, 5.0), (1000.0, 60.0), (5000.0, 2.0),
          (5000.0, 100.0)]  # fmt: skip
FRAMES = 14


@pytest.fixture(scope="module")
def truth() -> Any:
    return make_truth("excam-small", 5)


def campaign(truth: Any, seed: int, **fault: Any) -> Dataset:
    """Frames in memory; ``gain`` and ``leak`` spoil one stack."""
    rng = np.random.default_rng(seed)
    images = []
    for gain, time in STACKS:
        data, dq = simulate_stack(truth, gain, time, FRAMES, rng)
        said = gain * (1.3 if fault.get("gain") == (gain, time) else 1.0)
        for j in range(FRAMES):
            pixels = data[j].astype(float)
            if fault.get("leak") == (gain, time):
                pixels[truth.imaging_area] += gain * 0.02
            cards = {"CAMERA": "excam-small"}
            hdus = frame_hdus(pixels, gain=said, time=time, number=len(images), cards=cards)
            name = f"s{seed}_{len(images):03d}.fits"
            image = Image(pixels, hdus[0].header, hdus[1].header, dq=dq[j])
            image.filename = name
            images.append(image)
    return Dataset(images)


@pytest.fixture(scope="module")
def frames(truth: Any) -> Dataset:
    return campaign(truth, 1)


@pytest.fixture(scope="module")
def maps(frames: Dataset) -> DetectorNoiseMaps:
    return calibrate_darks_lsq(frames, None)


@pytest.fixture(scope="module")
def later(truth: Any) -> DetectorNoiseMaps:
    return calibrate_darks_lsq(campaign(truth, 2), None)


@pytest.fixture(scope="module")
def dark(frames: Dataset) -> Dark:
    return build_trad_dark(frames[4 * FRAMES : 5 * FRAMES], None)


@pytest.fixture(scope="module")
def page(maps: DetectorNoiseMaps) -> Page:
    """A page, its pictures drawn."""
    return report_on(maps)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch, page: Page) -> None:
    """Figures are made, but not drawn: that takes most of the time."""
    drawn = page.pictures[0].png
    monkeypatch.setattr("emdarks.plots.as_png", lambda *rest: drawn)


def severities(found: list[Finding]) -> list[str]:
    return sorted({item.severity for item in found})


def said(found: list[Finding], severity: str) -> str:
    return " ".join(item.text for item in found if item.severity == severity)


# Numbers


@for_each(
    "value, text",
    [
        (0.0, "0"),
        (0.000834, "0.000834"),
        (-12.345, "−12.3"),
        (15987.4, "15\u202f987"),
        (5000.0, "5000"),
        (3e-12, "3.00 × 10⁻¹²"),
        (-2.5e12, "−2.50 × 10¹²"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_numbers_show_the_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_numbers_stay_with_their_units() -> None:
    text = "2.79 ± 0.02 × 10⁻³ e⁻/s, 120 EM e⁻ in 60 s; 3 standard errors, 2 stacks, 0.3%"
    assert tied(text).replace("\xa0", "_") == (
        "2.79_±_0.02_×_10⁻³_e⁻/s, 120_EM_e⁻ in 60_s; 3_standard_errors, 2 stacks, 0.3_%"
    )
    assert [setting(x) for x in (1.0, 5000.0, 12000.0, 0.25)] == [
        "1",
        "5000",
        "12\u202f000",
        "0.25",
    ]


@pytest.mark.parametrize(
    ("begin", "end", "text"),
    [
        (61041.0, 61041.03125, "observed 2026-01-01, 00:00 to 00:45 UTC"),
        (61041.5, 61041.5, "observed 2026-01-01, 12:00 UTC"),
        (61041.75, 61043.25, "observed 2026-01-01 to 2026-01-03 (UTC)"),
        (61041.5, math.nan, "observed 2026-01-01, 12:00 UTC"),
        (math.nan, math.nan, "date of the observations: not stated"),
        (-999.0, 1e9, "date of the observations: not stated"),
    ],
)
def test_dates_of_observations(begin: float, end: float, text: str) -> None:
    assert observed(begin, end) == text


def test_code_in_a_verdict_looks_like_code_and_stays_as_typed() -> None:
    page = Page("t", "s", "w", [], [], [], untested="See `emdarks --gain 60 s` for 60 s.")
    assert "<code>emdarks --gain 60 s</code> for 60\xa0s." in page.html()
    assert "`" not in page.html().split("<body>")[1]


def test_values_have_the_decimals_of_their_errors() -> None:
    assert measured(0.0209461, 0.00041) == "0.02095 ± 0.00041"
    assert measured(-0.0361, 0.12) == "−0.04 ± 0.12"
    assert measured(-0.001, 0.12) == "0.00 ± 0.12"
    assert measured(12345.6, 17.0) == "12\u202f346 ± 17"
    assert measured(1.0, math.nan) == "1.00"
    assert measured(2e-10, 3e-11) == "(2.00 ± 0.30) × 10⁻¹⁰"


def test_shares_counts_and_sizes() -> None:
    assert [percent(x) for x in (0, 2e-7, 0.00123, 0.0345, 0.5, 1, math.nan)] == [
        "0 %", "below 0.001 %", "0.12 %", "3.5 %", "50 %", "100 %", "–",
    ]  # fmt: skip
    assert (count(1234567.0), signed(0.5), signed(-0.5)) == (
        "1\u202f234\u202f567",
        "+0.500",
        "−0.500",
    )
    assert [size(x) for x in (12, 8.73e6, 4.5e15)] == ["12 byte", "8.73 MB", "4500 TB"]
    assert value_in(2.774, "10⁻³ e⁻/s") == "2.77 × 10⁻³ e⁻/s"
    assert value_in(math.nan, "e⁻") == "–"


# Pages


def page_of(content: str = "", advice: Any = (), **values: Any) -> Page:
    template = f'{{% call section("s", "Section") %}}\n{content}\n{{% endcall %}}'
    return Page(
        "Title", "subtitle", "what", advice, ["`step`"], render(template, **values).sections
    )


EVERY_PART = """
{% call p() %}{{ evil }}{% endcall %}
{{ fact(evil, evil) }}
{{ source(evil, evil) }}
{{ flag_table({"pixels": 1, "flagged": 1, "rows": [{"value": evil, "name": evil, "pixels": 1}]}) }}
{% call(row) table([evil], [evil ~ "|" ~ evil, evil ~ "|words"], evil) %}
{{ words([row]) }}{{ cells([row]) }}
{% endcall %}
"""


def test_text_of_headers_cannot_become_markup() -> None:
    evil = '<script>alert("x")</script><img src="http://evil.example/x.png">'
    page = page_of(EVERY_PART, [Finding("note", "topic", evil, remedy=evil)], evil=evil).html()
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") == 15


@pytest.mark.usefixtures("undrawn")
def test_evil_headers_of_a_product_are_escaped(dark: Dark) -> None:
    evil = dark.copy()
    evil.filename = "<b>d</b>.fits"
    evil.ext_hdr["CREATOR"] = "<script>alert(1)</script>"
    evil.ext_hdr["HISTORY"] = "</pre><script>alert(2)</script>"
    text = dark_page(DarkView(evil)).html()
    assert "<script" not in text
    assert "<b>d</b>" not in text
    assert text.count("&lt;script&gt;alert(1)") == 2  # a fact, and the whole header


def test_pages_ask_nobody_for_anything(page: Page) -> None:
    text = page.html()
    assert not re.search(r"(src|href)=\"(?!data:image/png;base64,|#)", text)
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert not re.search(r">(nan|None)<", text)


def test_words_between_backticks_are_code() -> None:
    text = page_of("{% call p() %}{{ text }}{% endcall %}", text="run `emdarks <x>` now").html()
    assert "run <code>emdarks &lt;x&gt;</code> now" in text


def test_the_worst_advice_decides() -> None:
    fine, note = Finding("fine", "topic", "a"), Finding("note", "topic", "b")
    warning, problem = Finding("warning", "topic", "c"), Finding("problem", "topic", "d")
    assert Verdict.of([fine, note], "Not tested.").words == (
        "Yes: nothing speaks against it. Not tested."
    )
    assert Verdict.of([fine, warning, warning]) == Verdict(
        "warning", "Yes, with care: 2 warnings to be read."
    )
    assert Verdict.of([warning, problem, fine]).severity == "problem"
    text = page_of(advice=[fine, warning, problem]).html()
    assert text.index(">d<") < text.index(">c<") < text.index(">a<")


def test_pages_and_pictures_are_written_whole(page: Page, tmp_path: Path) -> None:
    written = page.save(tmp_path / "r.html", tmp_path / "png", "maps_")
    assert written.read_text(encoding="utf-8") == page.html()
    names = sorted(path.name for path in (tmp_path / "png").iterdir())
    assert names == sorted(f"maps_{picture.name}.png" for picture in page.pictures)
    assert len(set(names)) == len(names)
    with pytest.raises(InputError, match="cannot be written"):
        page.save(tmp_path / "no" / "r.html")
    assert not list(tmp_path.glob(".*.emdarks-part"))


# Noise maps


def test_clean_maps_can_be_trusted(maps: DetectorNoiseMaps) -> None:
    found = find(NOISE_MAPS, MapsView(maps))
    assert severities(found) == ["fine", "note"]
    assert "reduced chi-square is" in said(found, "fine")
    assert "image mean that the other stacks predict" in said(found, "fine")


def test_page_has_every_section(page: Page) -> None:
    assert [section.key for section in page.sections] == [
        "maps", "histograms", "quality", "stacks", "hot", "systematics", "check", "provenance",
    ]  # fmt: skip
    assert {picture.name for picture in page.pictures} == {
        "maps", "histograms", "chi2", "stacks", "hot_pixels",
    }  # fmt: skip
    text = page.html()
    assert f"{len(STACKS) * FRAMES} dark frames in {len(STACKS)} stacks" in text
    assert "10⁻³ e⁻/s" in text


def test_imaging_area_is_where_dark_current_is(maps: DetectorNoiseMaps, truth: Any) -> None:
    view = MapsView(maps)
    inside = np.zeros(view.shape, dtype=bool)
    inside[view.area] = True
    np.testing.assert_array_equal(inside, truth.imaging_area)
    assert np.isnan(view.planes[2].values[~inside]).all()
    assert view.pixels == truth.imaging_area.sum()


def test_statistics_are_those_of_the_detector(maps: DetectorNoiseMaps, truth: Any) -> None:
    view = MapsView(maps)
    area = truth.imaging_area
    for plane, true in zip(
        view.planes,
        (truth.fixed_pattern, truth.clock_induced_charge, truth.dark_current),
        strict=True,
    ):
        s = view.statistics(plane)
        assert abs(s.mean - true[area].mean()) < 4 * s.mean_error
    spread = view.statistics(view.planes[0]).spread
    assert spread == pytest.approx(truth.fixed_pattern[area].std(), rel=0.15)


def test_hot_pixels_are_the_true_ones(maps: DetectorNoiseMaps, truth: Any) -> None:
    view = MapsView(maps)
    true = truth.dark_current[view.area]
    sure = true > 1.5 * view.hot_above
    assert sure.sum() > 20
    assert view.hot[sure].all()
    # Not one pixel that is far from hot.
    assert true[view.hot].min() > 0.5 * view.hot_above


def test_misfits_are_those_of_the_check(maps: DetectorNoiseMaps, frames: Dataset) -> None:
    misfits = stack_misfits(MapsView(maps))
    verdicts = check_darks(frames).stacks
    stacks = MapsView(maps).stacks
    assert stacks is not None
    for i, verdict in enumerate(verdicts):
        assert (stacks.gain[i], stacks.time[i]) == (verdict.gain, verdict.exposure_time)
        assert misfits.sigmas[i] == pytest.approx(verdict.sigmas, abs=1.0)
        assert misfits.error[i] == pytest.approx(abs(verdict.misfit / verdict.sigmas), rel=0.4)


@pytest.mark.parametrize("fault", ["gain", "leak"])
def test_a_wrong_stack_is_seen(truth: Any, fault: str) -> None:
    with warnings.catch_warnings(record=True) as said_before:
        warnings.simplefilter("always")
        spoiled = calibrate_darks_lsq(campaign(truth, 1, **{fault: (1000.0, 60.0)}), None)
    shown = [each for each in said_before if "show another EM gain" in str(each.message)]
    assert len(shown) == (fault == "gain")
    findings = find(NOISE_MAPS, MapsView(spoiled))
    assert "disagrees with the others" in said(findings, "warning")
    assert any("rays" in each.remedy and "--estimator counting" in each.remedy for each in findings)


def test_stacks_of_few_frames_are_not_judged(maps: DetectorNoiseMaps) -> None:
    few = maps.copy()
    few.hdu_list["STACKS"].data["FRAMES"][2] = FEW_FRAMES - 1
    for kept, judged in ((maps, True), (few, False)):
        text = said(find(NOISE_MAPS, MapsView(kept)), "fine")
        assert ("image mean that the other stacks predict" in text) is judged


def test_maps_of_the_reference_are_not_trusted(frames: Dataset) -> None:
    found = find(NOISE_MAPS, MapsView(calibrate_darks_lsq(frames, None, estimator="reference")))
    assert "published formula of the reference method" in said(found, "warning")
    unweighted = find(NOISE_MAPS, MapsView(calibrate_darks_lsq(frames, None, weighting=False)))
    assert severities(unweighted) == ["fine", "note"]
    assert "counted alike" in said(unweighted, "note")


def test_edited_maps_are_noticed(maps: DetectorNoiseMaps) -> None:
    edited = maps.copy()
    edited.data[1, 30, 150] += 1.0
    assert "not those of the fit" in said(find(NOISE_MAPS, MapsView(edited)), "warning")


@pytest.mark.usefixtures("undrawn")
def test_maps_without_our_tables_are_shown(maps: DetectorNoiseMaps) -> None:
    bare = DetectorNoiseMaps(
        maps.data.copy(), maps.pri_hdr.copy(), maps.ext_hdr.copy(), None, maps.err, maps.dq
    )
    view = MapsView(bare)
    assert "HDU SIGNED" in said(find(NOISE_MAPS, view), "warning")
    page = maps_page(view)
    assert [section.key for section in page.sections] == [
        "maps", "histograms", "quality", "hot", "check", "provenance",
    ]  # fmt: skip
    bare.data[2, 30, 150] = -1.0
    assert "negative" in said(find(NOISE_MAPS, MapsView(bare)), "warning")


def test_pixels_without_a_value_are_counted(maps: DetectorNoiseMaps) -> None:
    holes = maps.copy()
    rows, cols = MapsView(maps).area
    holes.err[0, :, rows.start : rows.start + 40, cols] = np.nan
    view = MapsView(holes)
    assert view.valueless == 40 * (cols.stop - cols.start)
    assert severities(find(NOISE_MAPS, view))[-2:] == ["note", "problem"]


def test_negative_charge_is_a_problem(maps: DetectorNoiseMaps) -> None:
    odd = maps.copy()
    odd.hdu_list["SIGNED"].data[1] -= 0.1
    odd.data[1] = np.maximum(odd.hdu_list["SIGNED"].data[1], 0)
    assert "no clock-induced charge can be" in said(find(NOISE_MAPS, MapsView(odd)), "problem")


def test_few_stacks_and_few_frames_are_named() -> None:
    few = Dataset([frame for frame in Dataset(sample()) if frame.ext_hdr["EMGAIN_C"] != 50])
    text = said(find(NOISE_MAPS, MapsView(calibrate_darks_lsq(few, None))), "warning")
    assert "rest on 5 stacks, 2 more than" in text
    assert "only 4 frames" in text


@pytest.mark.usefixtures("undrawn")
def test_check_is_part_of_the_page(
    maps: DetectorNoiseMaps, frames: Dataset, tmp_path: Path
) -> None:
    page = report_on(maps, frames=frames)
    assert page.verdict.words == "Yes: nothing speaks against it."
    assert "check" in {picture.name for picture in page.pictures}
    assert "Not done here" not in page.html()
    others = report_on(maps, frames=frames[: len(frames) - 1])
    assert "1 of these are missing, 0 are others" in said(list(others.advice), "warning")


def test_a_saved_check_is_the_same(frames: Dataset, tmp_path: Path) -> None:
    report = check_darks(frames)
    path = tmp_path / "check.json"
    path.write_text(json.dumps(report.as_dict()))
    assert load_check(path) == report
    for content in ("{}", "[1]", "no json", '{"stacks": [{"gain": 1}]}'):
        path.write_text(content)
        with pytest.raises(InputError, match=r"check.json: is no result of a check"):
            load_check(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_check(tmp_path / "none.json")


# Darks


@pytest.mark.usefixtures("undrawn")
def test_darks_have_their_page(dark: Dark, maps: DetectorNoiseMaps, frames: Dataset) -> None:
    page = report_on(dark)
    assert page.title == "Traditional master dark"
    assert page.verdict.severity == "fine"
    assert f"mean of {FRAMES} dark frames" in page.what
    made = report_on(build_synthesized_dark(frames[4 * FRAMES : 4 * FRAMES + 1], maps))
    assert made.title == "Synthesised master dark"
    assert "EM gain 1000, 60 s" in made.subtitle


def test_full_frames_are_measured_in_the_imaging_area(frames: Dataset, truth: Any) -> None:
    full = build_trad_dark(frames[4 * FRAMES : 5 * FRAMES], None, full_frame=True)
    view = DarkView(full)
    inside = np.zeros(view.shape, dtype=bool)
    inside[view.area] = True
    np.testing.assert_array_equal(inside, truth.imaging_area)
    full.ext_hdr["CAMERA"] = "another"
    assert DarkView(full).whole
    # Telemetry rows are no missing pixels.
    assert DarkView(full).valueless == 0


def test_faults_of_darks_are_named(dark: Dark) -> None:
    bad = dark.copy()
    bad.ext_hdr["KGAINPAR"] = -999.0
    bad.ext_hdr["NFRAMES"] = 3
    bad.err[0, :20] = 0.0
    bad.dq[-50:] = 4
    found = find(DARK, DarkView(bad))
    text = said(found, "warning")
    assert "no k-gain" in text
    assert "only 3 frames" in text
    assert "an error of 0" in text
    assert "49 % of the pixels are flagged" in said(found, "problem")


# Campaigns


@pytest.mark.usefixtures("undrawn")
def test_a_campaign_has_its_page() -> None:
    dataset = Dataset(sample())
    page = report_on(dataset, name="sample")
    assert page.title == "A campaign of dark frames"
    assert [section.key for section in page.sections][:3] == ["campaign", "sequence", "check"]
    summary = inspect_campaign(dataset)
    assert len(page.advice) == len(summary.findings)
    text = page.html()
    assert text.count("<tr>") >= len(summary.stacks)
    with pytest.raises(InputError, match="give a product"):
        report_on(dataset, against=dataset)  # type: ignore[arg-type]


@pytest.mark.usefixtures("undrawn")
def test_frames_far_off_are_counted(truth: Any) -> None:
    bright = campaign(truth, 3)
    odd = bright[5]
    odd.data = odd.data + 50.0
    page = campaign_page(inspect_campaign(bright), "campaign")
    text = page.html()
    assert f"1 of {len(bright)} frames lie beyond 6" in text


# Comparison


def test_the_same_detector_has_not_drifted(
    maps: DetectorNoiseMaps, later: DetectorNoiseMaps
) -> None:
    found = compare_products(later, maps)
    assert found.words == ()
    assert not found.drifted
    assert found.shared == 0
    for plane in found.planes:
        assert abs(plane.sigmas) < 4
        assert plane.pulls == pytest.approx(1, abs=0.12)
        assert plane.changed == 0
    assert found.kept_hot > 40


def aged(truth: Any) -> Any:
    """More dark current everywhere, and 25 pixels that became hot."""
    current = truth.dark_current.copy()
    current[truth.imaging_area] += 2e-4
    cold = np.argwhere(truth.imaging_area & (truth.dark_current < 2e-3))
    for row, col in cold[:: len(cold) // 24][:25]:
        current[row, col] = 0.2
    return replace(truth, dark_current=current)


@pytest.mark.usefixtures("undrawn")
def test_ageing_is_seen(maps: DetectorNoiseMaps, truth: Any) -> None:
    new = calibrate_darks_lsq(campaign(aged(truth), 4), None)
    found = compare_products(new, maps)
    F, C, D = found.planes
    assert D.drifted
    assert D.mean == pytest.approx(0.2, abs=4 * D.error)  # 10^-3 electrons per second
    assert not F.drifted
    assert not C.drifted
    assert found.new_hot == 25
    assert found.gone_hot == 0
    assert D.changed == 25
    words = " ".join(found.words)
    assert "The dark current rose" in words
    assert "25 pixels became hot" in words
    page = report_on(new, against=maps)
    assert page.verdict.severity == "warning"
    assert "Verdict: it has changed." in page.html()
    back = compare_products(maps, new)
    assert (back.new_hot, back.gone_hot) == (0, 25)
    assert "The dark current fell" in " ".join(back.words)


def test_a_wrong_gain_looks_like_one(maps: DetectorNoiseMaps, truth: Any) -> None:
    brighter = replace(
        truth,
        clock_induced_charge=1.25 * truth.clock_induced_charge,
        dark_current=np.where(truth.dark_current < 0.01, 1.25, 1) * truth.dark_current,
    )
    found = compare_products(calibrate_darks_lsq(campaign(brighter, 6), None), maps)
    assert "C and D changed by the same share" in " ".join(found.words)


def test_products_of_the_same_frames_say_so(maps: DetectorNoiseMaps, frames: Dataset) -> None:
    found = compare_products(calibrate_darks_lsq(frames, None, weighting=False), maps)
    assert found.shared == len(frames)


def test_a_dark_is_compared_with_maps(
    dark: Dark, maps: DetectorNoiseMaps, later: DetectorNoiseMaps
) -> None:
    found = compare_products(dark, later)
    assert not found.drifted
    (plane,) = found.planes
    assert plane.changed == 0
    assert plane.pixels > 10_000
    synthesised = later.synthesize(1000, 60)
    with pytest.raises(InputError, match="only products of one shape"):
        compare_products(dark, synthesised)


def as_published(maps: DetectorNoiseMaps) -> DetectorNoiseMaps:
    """Maps as the reference writes them: nothing but the published planes."""
    twin = maps.copy()
    for name in maps.hdu_names:
        del twin.hdu_list[name]
    twin.ext_hdr.remove("FMTVERS")
    twin.filename = "published.fits"
    return twin


def test_published_maps_are_compared_with_published_ones(
    maps: DetectorNoiseMaps, later: DetectorNoiseMaps
) -> None:
    theirs = as_published(maps)
    for pair in ((maps, theirs), (theirs, maps), (theirs, theirs)):
        found = compare_products(*pair)
        assert found.published == "published.fits"
        assert found.words == ()
        assert [plane.mean for plane in found.planes] == [0, 0, 0]
        F, C, D = found.planes
        assert F.lift == 0 < C.lift
        assert 0 < D.lift < 0.3  # 10^-3 electrons per second
    assert compare_products(maps, maps).published == ""
    for pair in ((later, theirs), (theirs, later)):
        found = compare_products(*pair)
        assert found.words == ()
        assert max(abs(plane.sigmas) for plane in found.planes) < 4


@pytest.mark.usefixtures("undrawn")
def test_ageing_is_seen_against_published_maps(maps: DetectorNoiseMaps, truth: Any) -> None:
    current = np.where(truth.dark_current > 0, truth.dark_current + 1e-3, 0.0)
    new = calibrate_darks_lsq(campaign(replace(truth, dark_current=current), 4), None)
    found = compare_products(new, as_published(maps))
    assert [plane.drifted for plane in found.planes] == [False, False, True]
    page = report_on(new, against=as_published(maps)).html()
    assert "the published maps of both are compared" in page
    assert "clipping" in page
    assert "clipping</th>" not in report_on(new, against=maps).html()


def test_noise_that_was_clipped_lifts_the_mean_no_more_than_is_allowed() -> None:
    """Normal noise, and that of few electrons with a gain: other noise, the same mean."""
    rng = np.random.default_rng(8)
    n = 200_000
    for mean in (0.3, 1.0, 2.0):
        loud, quiet = rng.normal(mean, 1, n), rng.normal(mean, 0.2, n)
        skewed = rng.gamma(rng.poisson(mean, n) + 1e-9, 1.0) + rng.normal(0, 0.3, n)
        for other in (quiet, skewed):
            a, b = np.maximum(loud, 0), np.maximum(other, 0)
            assert abs(a.mean() - b.mean()) < max(_lift(a), _lift(b)) + 0.02
    assert _lift(rng.normal(9, 1, n)) == 0
    mostly = np.maximum(rng.normal(-1, 1, n), 0)
    assert _lift(mostly) == mostly.mean()


def test_a_dark_is_compared_with_published_maps(dark: Dark, later: DetectorNoiseMaps) -> None:
    found = compare_products(dark, as_published(later))
    assert found.published == "published.fits"
    assert found.planes[0].lift > 0
    assert not found.drifted


def test_what_cannot_be_compared_is_refused(dark: Dark, maps: DetectorNoiseMaps) -> None:
    with pytest.raises(InputError, match="cannot be compared with noise maps"):
        compare_products(maps, dark)
    other = dark.copy()
    other.ext_hdr["EXPTIME"] = 61.0
    with pytest.raises(InputError, match="only darks of one setting"):
        compare_products(dark, other)
    empty = dark.copy()
    empty.err[:] = np.nan
    with pytest.raises(InputError, match="no pixel with a value in common"):
        compare_products(dark, empty)
    small = calibrate_darks_lsq(Dataset(sample()), None)
    with pytest.raises(InputError, match="has 40 x 62 pixels"):
        compare_products(maps, small)
    with pytest.raises(InputError, match="make it with emdarks dark --full-frame"):
        compare_products(dark, small)


# Files


@pytest.mark.usefixtures("undrawn")
def test_files_are_opened_by_what_they_hold(
    maps: DetectorNoiseMaps, dark: Dark, tmp_path: Path
) -> None:
    maps.copy().save(tmp_path, "maps.fits")
    dark.copy().save(tmp_path, "dark.fits")
    assert type(open_product(tmp_path / "maps.fits")) is DetectorNoiseMaps
    assert type(open_product(tmp_path / "dark.fits")) is Dark
    page = write_report(tmp_path / "dark.fits", tmp_path / "r.html", against=tmp_path / "maps.fits")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page.html()
    assert "Compared with maps.fits" in page.html()
    with pytest.raises(InputError, match="neither noise maps nor a master dark"):
        open_product(sample()[0])
    with pytest.raises(InputError, match="the check of frames belongs to noise maps"):
        report_on(tmp_path / "dark.fits", frames=Dataset(sample()))
    with pytest.raises(InputError, match="give either"):
        report_on(tmp_path / "maps.fits", frames=Dataset(sample()), check="c.json")
