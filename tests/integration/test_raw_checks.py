"""What is said of the search for cosmic rays in raw frames, and what it costs."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emdarks import load_camera, simulate
from emdarks.checks import CampaignSummary, inspect_campaign
from emdarks.checks.classify import SortedFrames
from emdarks.checks.context import Context
from emdarks.checks.saturation import cut_off, overfull
from emdarks.darks import build_trad_dark, calibrate_darks_lsq
from emdarks.data import Dataset, DetectorNoiseMaps
from emdarks.errors import EmdarksWarning
from emdarks.frames import prepare_frames
from emdarks.raw import (
    DARK,
    STANDARD,
    CosmicRaySearch,
    FramePlan,
    RawCalibration,
    RowBias,
    prepare,
    scan,
    search_cost,
    stored_bytes,
)
from emdarks.report.inspection import campaign_page
from emdarks.simulate.register import multiply

STACKS = [(1, 2), (1, 100), (20, 50), (50, 10), (100, 40), (5000, 2)]
FRAMES = 4


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("raw")
    made = simulate.simulate_campaign(
        folder / "frames", "excam-small", FRAMES, seed=3, stacks=STACKS, level="1"
    )
    return made.paths


def dataset(paths: tuple[Path, ...], search: str, **given: Any) -> Dataset:
    folder = paths[0].parent
    return prepare_frames(
        Dataset([str(path) for path in paths]),
        nonlinearity=folder / "nonlinearity.fits",
        kgain=folder / "kgain.fits",
        cosmic_rays=search,
        **given,
    )


def look(paths: tuple[Path, ...], search: str) -> CampaignSummary:
    return inspect_campaign(dataset(paths, search))


def topics(summary: CampaignSummary, severity: Any = "warning") -> list[str]:
    return [finding.topic for finding in summary.worst(severity)]


# What is said


def test_nobody_asks_for_cosmic_rays_that_were_searched(paths: tuple[Path, ...]) -> None:
    assert "flags" not in topics(look(paths, "standard"))


def test_it_is_asked_where_none_were_searched(paths: tuple[Path, ...]) -> None:
    summary = look(paths, "off")
    (finding,) = [f for f in summary.worst("warning") if f.topic == "flags"]
    assert "were cosmic rays looked for?" in finding.text
    assert all(stack.search is None and stack.ray_share == 0 for stack in summary.stacks)


def test_a_search_that_cuts_the_charge_names_the_stack_and_the_bias(
    paths: tuple[Path, ...],
) -> None:
    (finding,) = [f for f in look(paths, "dark").worst("warning") if f.topic == "search"]
    assert set(finding.frames) == {str(path) for path in paths[-FRAMES:]}
    assert "(gain 5000, 2 s): 4.8% flagged, mean 0.959 of the true one" in finding.text
    assert "--skip search" in finding.remedy


def test_what_it_names_is_left_out_on_request(paths: tuple[Path, ...]) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", EmdarksWarning)
        maps = calibrate_darks_lsq(dataset(paths, "dark"), None, skip=["search"], skip_share=0.5)
    assert any("search: the search for cosmic rays cuts" in str(w.message) for w in heard)
    assert maps.ext_hdr["NSKIPPED"] == FRAMES
    assert maps.extra("STACKS")["EMGAIN_C"].max() == 100


def test_the_threshold_check_leaves_it_out_however_many_frames_it_is(
    paths: tuple[Path, ...],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        maps = calibrate_darks_lsq(dataset(paths, "dark"), None, CR_threshold_check=True)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", EmdarksWarning)
        silent = calibrate_darks_lsq(dataset(paths, "dark"), None, CR_threshold_check=False)
    assert not any("cuts into" in str(w.message) for w in heard)
    assert maps.ext_hdr["NSKIPPED"] == FRAMES
    assert maps.extra("STACKS")["EMGAIN_C"].max() == 100
    assert silent.extra("STACKS")["EMGAIN_C"].max() == 5000


def test_the_figures_of_raw_frames_are_a_note(paths: tuple[Path, ...]) -> None:
    summary = look(paths, "standard")
    (note,) = [f for f in summary.worst("note") if f.topic == "raw"]
    assert note.text.startswith(f"{len(paths)} raw frames: ")
    bright = max(summary.stacks, key=lambda stack: stack.ray_share)
    assert f"most ({bright.ray_share:.2%}) in ({bright})" in note.text
    assert "nonlinearity nonlinearity.fits" in summary.preparation
    plain = summary.as_dict()
    assert plain["stacks"][0]["search"]["parameters"]["filter"] == 2
    assert plain["stacks"][0]["repaired_rows"] == 0


def test_nobody_asks_to_flag_saturation_that_is_flagged_already(paths: tuple[Path, ...]) -> None:
    summary = look(paths, "standard")
    raw = replace(summary.stacks[0], overfull_pixels=2, cut_off_samples=3)
    camera, campaign = load_camera("excam-small"), SortedFrames(1, (1, 1), [], [], [], [])
    for stack, flags in ((raw, False), (replace(raw, ray_share=float("nan")), True)):
        context = Context(camera, campaign, [stack], summary.pixels)
        for check in (overfull, cut_off):
            (finding,) = check(context)
            assert finding.remedy.startswith("flag ") == flags
            assert ("--params" in finding.remedy) != flags


# What products tell


def quiet_maps(dataset: Dataset) -> DetectorNoiseMaps:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return calibrate_darks_lsq(dataset, None)


def test_products_state_what_raw_frames_were_made_ready_with(
    paths: tuple[Path, ...], tmp_path: Path
) -> None:
    maps = quiet_maps(dataset(paths, "standard"))
    cards = ("NONLIN", "KGAINSRC", "BIASOFF", "CRSEARCH")
    told = [maps.ext_hdr[card] for card in cards]
    assert told == ["nonlinearity.fits", "kgain.fits", "none", "standard"]
    maps.save(tmp_path, "maps.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        dark = build_trad_dark(
            dataset(paths[-FRAMES:], "dark", offset=tmp_path / "maps.fits"), None
        )
    told = [dark.ext_hdr[card] for card in cards]
    assert told == ["nonlinearity.fits", "kgain.fits", "maps.fits", "dark"]


def test_stacks_tell_flags_and_repaired_rows(paths: tuple[Path, ...]) -> None:
    table = quiet_maps(dataset(paths, "standard")).extra("STACKS")
    summary = look(paths, "standard")
    by_setting = {(row["EMGAIN_C"], row["EXPTIME"]): row for row in table}
    for stack in summary.stacks:
        row = by_setting[stack.commanded_gain, stack.exposure_time]
        assert row["SATURATD"] == pytest.approx(stack.saturated)
        assert row["RAYSHARE"] == pytest.approx(stack.ray_share)
        assert row["REPAIRED"] == stack.repaired_rows
    assert table["RAYSHARE"].max() > 0


def test_maps_of_other_frames_have_no_such_columns(tmp_path: Path) -> None:
    made = simulate.simulate_campaign(tmp_path, "excam-sample", 4, seed=3)
    maps = quiet_maps(Dataset([str(path) for path in made.paths]))
    assert "RAYSHARE" not in maps.extra("STACKS").dtype.names
    assert "CRSEARCH" not in maps.ext_hdr


def test_the_page_of_a_campaign_tells_them(paths: tuple[Path, ...]) -> None:
    summary = look(paths, "standard")
    html = campaign_page(summary, "raw").html()
    assert "Raw frames" in html
    assert summary.preparation.split(";")[0] in html


# What it costs


@pytest.mark.parametrize(
    ("search", "gain", "time"),
    [
        (DARK, 1000.0, 100.0),
        (DARK, 2000.0, 60.0),
        (DARK, 5000.0, 2.0),
        (DARK, 5000.0, 100.0),
        (STANDARD, 5000.0, 100.0),
        (CosmicRaySearch(0.03, 0.03, filter=2, box=3, tail=10), 5000.0, 100.0),
        (CosmicRaySearch(0.05, 0.05, filter=4, box=4, tail=20), 8000.0, 200.0),
        (CosmicRaySearch(0.1, 0.1, filter=0, box=1, tail=4), 5000.0, 10.0),
    ],
)
def test_the_law_is_that_of_simulated_frames(
    search: CosmicRaySearch, gain: float, time: float
) -> None:
    """The figures of 3 million samples, by the register of the simulator and the search itself."""
    charge, k_gain, read_noise = 0.0088 + 0.001 * time, 8.7, 165.0
    plan = FramePlan(
        RawCalibration(RowBias("level", level=300.0), k_gain=k_gain, search=search), gain
    )
    rng = np.random.default_rng([17, int(gain), int(time)])
    kept, total, good = 0.0, 0.0, 0
    shape = 600, 1000
    for _ in range(5):
        signal = multiply(rng.poisson(charge, shape), gain, rng)
        noisy = (signal + rng.normal(0, read_noise, shape)) / k_gain + 300
        raw = np.clip(np.rint(noisy), 0, 65535).astype(np.uint16)
        learnt = scan(stored_bytes(raw), shape, plan)
        assert learnt is not None
        made = prepare(stored_bytes(raw), shape, plan, learnt)
        assert made is not None
        clean = (made.dq & 128) == 0
        kept, good = kept + made.data[clean].sum(), good + int(clean.sum())
        total += made.data.sum()
    samples = 5 * shape[0] * shape[1]
    cost = search_cost(search, search.threshold * plan.well * k_gain, gain, charge, read_noise)
    flagged = 1 - good / samples
    assert cost.flagged == pytest.approx(flagged, rel=0.15, abs=3e-4)
    left = kept / max(good, 1) / (total / samples)
    assert 1 - cost.kept_mean == pytest.approx(1 - left, rel=0.12, abs=4e-3)


@pytest.mark.parametrize(("gain", "charge"), [(5000.0, 0.0), (0.0, 0.1), (float("nan"), 0.1)])
def test_without_charge_or_gain_nothing_is_cut(gain: float, charge: float) -> None:
    cost = search_cost(DARK, 1785.0, gain, charge, 165.0)
    assert (cost.flagged, cost.kept_mean) == (0.0, 1.0)


def test_where_nothing_is_left_there_is_no_mean() -> None:
    cost = search_cost(DARK, 1785.0, 5000.0, 1e9, 165.0)
    assert cost.flagged == pytest.approx(1.0)
