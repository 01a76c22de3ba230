"""What emdarks inspect finds: each planted defect by name, and nothing in a clean campaign."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from validation.false_alarms import rates

from emdarks import calibrate_darks_lsq, plots, simulate
from emdarks.accumulate import Checkpoint, Threads
from emdarks.cameras import load_camera
from emdarks.checks import CampaignSummary, Finding, inspect_campaign
from emdarks.checks.formatting import and_more, several
from emdarks.checks.frame_statistics import departures
from emdarks.data import Dataset
from emdarks.stacks import sequence_times

CAMERA = load_camera("excam-sample")
SHAPE = 40, 62
AREA = np.s_[0:35, 28:59]
FRAMES = 9
K = CAMERA.noise.k_gain


def look(paths: Any) -> CampaignSummary:
    return inspect_campaign(Dataset(list(paths)), camera=CAMERA, executor=Threads(1))


def found(summary: CampaignSummary, topic: str) -> Finding:
    (finding,) = [finding for finding in summary.findings if finding.topic == topic]
    return finding


def warned(summary: CampaignSummary) -> list[str]:
    return [f.topic for f in summary.findings if f.severity in ("problem", "warning")]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("pristine")
    return simulate.simulate_campaign(folder, CAMERA, FRAMES, seed=12).paths


@pytest.fixture
def paths(pristine: tuple[Path, ...], tmp_path: Path) -> list[Path]:
    """A copy to plant defects in."""
    return [Path(shutil.copy(path, tmp_path)) for path in pristine]


def plant(path: Path, change: Callable[[Any, Any, Any], None]) -> None:
    """Change image (in EM electrons), flags and header of a frame."""
    with fits.open(path, mode="update", memmap=False) as hdus:
        electrons = hdus[1].data * K
        change(electrons, hdus["DQ"].data, hdus[1].header)
        hdus[1].data[:] = electrons / K


def frame_of(paths: list[Path], stack: int, frame: int) -> Path:
    return paths[stack * FRAMES + frame]


# Nothing where nothing is


@pytest.mark.parametrize(("seed", "frames"), [(0, 30), (1, 9), (2, 4)])
def test_a_clean_campaign_is_usable(seed: int, frames: int, tmp_path: Path) -> None:
    made = simulate.simulate_campaign(tmp_path, CAMERA, frames, seed=seed)
    summary = look(made.paths)
    assert warned(summary) == []
    assert summary.verdict == "usable"
    topics = [finding.topic for finding in summary.findings if finding.severity == "note"]
    # Both are true: hot pixels above the full well, and fewer frames than recommended.
    assert set(topics) <= {"saturation", "frames"}
    # Levels scatter as their errors say, and the campaign jitters no more.
    sigmas = [frame.sigmas for stack in summary.stacks for frame in stack.frame_summaries]
    assert 0.5 < np.std(sigmas) < 1.2


@pytest.mark.parametrize(
    "effects",
    [simulate.Effects(row_bias=100.0), simulate.Effects(saturation=True)],
    ids=["jitter of the bias", "saturation flags"],
)
def test_jitter_and_flagged_saturation_are_no_defects(
    effects: simulate.Effects, tmp_path: Path
) -> None:
    made = simulate.simulate_campaign(tmp_path, CAMERA, 9, seed=5, effects=effects)
    summary = look(made.paths)
    assert warned(summary) == []
    if effects.saturation:
        finding = found(summary, "saturation")
        assert "saturated in some frames" in finding.text
        assert max(stack.partly_saturated for stack in summary.stacks) > 0


@pytest.mark.parametrize("frames", [4, 10, 30])
@pytest.mark.parametrize("ratio", [1.0, 5.0])
def test_false_alarms_are_as_rare_as_documented(frames: int, ratio: float) -> None:
    """Six stacks of normal levels, scattering as noise says, or five times as much."""
    found = rates(frames, [ratio] * 6, 400)
    assert found.drifts == 0
    assert found.odd <= (0 if ratio == 1 else 0.03 if frames < 10 else 0.005)


def test_a_level_is_judged_by_the_jitter_of_the_others() -> None:
    rng = np.random.default_rng(3)
    quiet = rng.standard_normal(20)
    quiet[7] = 30.0
    errors = [np.ones(20), np.ones(20)]
    _, sigmas = departures([quiet, rng.standard_normal(20)], errors)
    assert np.argmax(np.abs(sigmas[0])) == 7
    assert sigmas[0][7] > 20
    # The same frame among frames that jitter ten times as much is nothing special.
    _, sigmas = departures([10 * rng.standard_normal(20) + quiet, quiet], errors)
    assert abs(sigmas[0][7]) < 6
    # Three frames, or values without a number, say nothing.
    few, none = np.array([0.0, 1.0, 99.0]), np.full(5, np.nan)
    _, sigmas = departures([few, none], [np.ones(3), np.ones(5)])
    assert all(np.isnan(z).all() for z in sigmas)


# Planted defects


def test_a_truncated_frame_does_not_hide_what_the_others_are_good_for(paths: list[Path]) -> None:
    short = frame_of(paths, 2, 1)
    short.write_bytes(short.read_bytes()[:20_000])
    dataset = Dataset([str(path) for path in paths], skip_bad_frames=True)
    summary = inspect_campaign(dataset, camera=CAMERA, executor=Threads(1))
    problem = found(summary, "headers")
    assert "1 frame is left out here" in problem.text
    assert "cut short" in problem.text
    assert "nothing tells" not in problem.text
    assert "copy damaged files again" in problem.remedy
    maps = found(summary, "maps")
    assert maps.severity == "fine"
    assert "6 stacks, without the frames that are left out here (emdarks noise" in maps.text


def test_a_light_leak_is_named(paths: list[Path]) -> None:
    rng = np.random.default_rng(1)
    weak, strong = frame_of(paths, 0, 3), frame_of(paths, 3, 6)

    def shine(photons: float, gain: float) -> Callable[[Any, Any, Any], None]:
        def change(image: Any, dq: Any, header: Any) -> None:
            hit = rng.poisson(photons, image[AREA].shape)
            image[AREA] += gain * rng.gamma(np.maximum(hit, 1e-9)) if gain > 1 else hit

        return change

    plant(weak, shine(60.0, 1.0))
    plant(strong, shine(1.0, 1000.0))
    summary = look(paths)
    light = found(summary, "light")
    assert light.frames == (str(strong), str(weak))
    assert light.severity == "warning"
    assert light.remedy.startswith("leave them out; look for a light leak")
    assert "(gain 1000, 60 s), (gain 1, 2 s)" in light.text
    assert warned(summary) == ["light"]
    assert summary.verdict == "usable with care: 1 warning (light)"
    stack = next(stack for stack in summary.stacks if stack.commanded_gain == 1000)
    frame = stack.frame_summaries[6]
    assert frame.offset == pytest.approx(1000, rel=0.2)
    assert frame.sigmas > 20


def test_a_jump_of_the_bias_is_told_from_light(paths: list[Path]) -> None:
    def lift(image: Any, dq: Any, header: Any) -> None:
        image += 80.0

    plant(frame_of(paths, 1, 2), lift)
    summary = look(paths)
    assert warned(summary) == ["bias"]
    assert found(summary, "bias").frames == (str(frame_of(paths, 1, 2)),)
    assert "+8" in found(summary, "bias").text


def test_a_wrong_exposure_is_named(paths: list[Path]) -> None:
    def darken(image: Any, dq: Any, header: Any) -> None:
        image[AREA] *= 0.02

    plant(frame_of(paths, 5, 0), darken)
    summary = look(paths)
    assert warned(summary) == ["level"]
    assert "fainter than the rest" in found(summary, "level").text


def test_unflagged_cosmic_rays_are_told_from_light(paths: list[Path]) -> None:
    def strike(image: Any, dq: Any, header: Any) -> None:
        dq[20, 40:43] = 0
        image[20, 40:43] = 4e4

    plant(frame_of(paths, 0, 5), strike)
    summary = look(paths)
    assert warned(summary) == ["cosmic"]
    assert found(summary, "cosmic").frames == (str(frame_of(paths, 0, 5)),)


def test_a_repeated_and_a_stuck_frame_are_named(paths: list[Path]) -> None:
    source, copy = frame_of(paths, 2, 1), frame_of(paths, 2, 2)
    with fits.open(source) as hdus:
        pixels, flags = hdus[1].data.copy(), hdus["DQ"].data.copy()

    def repeat(image: Any, dq: Any, header: Any) -> None:
        image[:], dq[:] = pixels * K, flags

    def stick(image: Any, dq: Any, header: Any) -> None:
        image[:] = 7 * K

    plant(copy, repeat)
    plant(frame_of(paths, 4, 0), stick)
    summary = look(paths)
    assert found(summary, "copies").frames == (str(source), str(copy))
    assert found(summary, "empty").frames == (str(frame_of(paths, 4, 0)),)
    assert sorted(warned(summary)) == ["copies", "empty"]


def test_saturated_frames_are_named(paths: list[Path]) -> None:
    flagged, silent = frame_of(paths, 1, 0), frame_of(paths, 2, 4)

    def fill(image: Any, dq: Any, header: Any) -> None:
        image[AREA] = 105_000.0
        dq[AREA] |= 32

    def clip(image: Any, dq: Any, header: Any) -> None:
        image[AREA] = 16383 * K + np.arange(31)

    plant(flagged, fill)
    plant(silent, clip)
    summary = look(paths)
    assert found(summary, "saturated").frames == (str(flagged), str(silent))
    assert warned(summary) == ["saturated"]


def test_temperature_excursions_are_named(paths: list[Path]) -> None:
    def warm(image: Any, dq: Any, header: Any) -> None:
        header["EXCAMT"] = -87.2

    plant(frame_of(paths, 5, 8), warm)
    summary = look(paths)
    assert warned(summary) == ["temperature"]
    finding = found(summary, "temperature")
    assert finding.frames == (str(frame_of(paths, 5, 8)),)
    assert "-87.20 instead of -87.91" in finding.text


def test_frames_far_noisier_than_others_are_named(paths: list[Path]) -> None:
    rng = np.random.default_rng(2)

    def disturb(image: Any, dq: Any, header: Any) -> None:
        image += rng.normal(0, 400, image.shape)

    plant(frame_of(paths, 0, 1), disturb)
    summary = look(paths)
    noise = found(summary, "noise")
    assert noise.frames == (str(frame_of(paths, 0, 1)),)
    assert "up to 2." in noise.text
    assert warned(summary) == ["noise"]


def test_flags_that_one_frame_lacks_or_is_full_of(paths: list[Path]) -> None:
    def clear(image: Any, dq: Any, header: Any) -> None:
        dq[:] = 0

    def cover(image: Any, dq: Any, header: Any) -> None:
        dq[5:20] |= 128

    plant(frame_of(paths, 5, 3), clear)
    plant(frame_of(paths, 5, 4), cover)
    summary = look(paths)
    bare, heavy = found(summary, "flags"), found(summary, "masked")
    assert bare.frames == (str(frame_of(paths, 5, 3)),)
    assert heavy.frames == (str(frame_of(paths, 5, 4)),)


def drifting(amount: Callable[[float], float]) -> Callable[[Any, Any, Any], None]:
    """Lift a frame by an amount that depends on the day since the campaign began."""

    def change(image: Any, dq: Any, header: Any) -> None:
        image += amount(header["MJDSRT"] - 61041.0)

    return change


def test_drift_of_the_campaign_and_of_a_stack(paths: list[Path]) -> None:
    with fits.open(paths[-1]) as hdus:
        span = hdus[1].header["MJDSRT"] - 61041.0
    for path in paths:
        plant(path, drifting(lambda day: 200.0 * day / span))
    summary = look(paths)
    finding = found(summary, "drift")
    change = float(finding.text.split("by ")[1].split()[0])
    assert change == pytest.approx(200, rel=0.15)
    assert finding.remedy
    # Frames of a drifting stack are not bad frames.
    assert warned(summary) == ["drift"]
    for number in range(FRAMES):
        plant(frame_of(paths, 1, number), drifting(lambda day: -6e4 * day))
    texts = [f.text for f in look(paths).findings if f.topic == "drift"]
    assert any("within (gain 1, 100 s) by -" in text for text in texts)


def test_a_stack_settles(paths: list[Path]) -> None:
    for number in range(FRAMES):
        plant(frame_of(paths, 0, number), drifting(lambda day: 5e4 * day))
    summary = look(paths)
    assert warned(summary) == ["drift"]
    text = found(summary, "drift").text
    assert text.startswith("the level drifts within (gain 1, 2 s) by +")
    # Eight steps of 12 s.
    assert float(text.split("by ")[1].split()[0]) == pytest.approx(5e4 * 96 / 86400, rel=0.2)


def test_time_or_order() -> None:
    known = [np.array([10.0, 11.0]), np.array([14.0, 12.0])]
    assert [list(t) for t in sequence_times(known)] == [[0.0, 0.25], [1.0, 0.5]]
    for unknown in ([np.array([np.nan, 1.0, 2.0])], [np.full(3, 7.0)]):
        assert [list(t) for t in sequence_times(unknown)] == [[0.0, 0.5, 1.0]]
    assert sequence_times([]) == []


# Stacks


@pytest.mark.parametrize(
    ("lost", "wanted"),
    [
        (4, "a stack of EM gain 5000 and a short time, such as 2 s (it tells C)"),
        (None, None),
    ],
)
def test_a_missing_stack_is_named(paths: list[Path], lost: int | None, wanted: str | None) -> None:
    kept = [path for i, path in enumerate(paths) if i // FRAMES != lost]
    summary = look(kept)
    if wanted is None:
        assert "design" not in [finding.topic for finding in summary.findings]
        return
    finding = found(summary, "design")
    assert finding.severity == "warning"
    assert wanted in finding.remedy
    assert "hardly tell C and D apart" in finding.text


def test_what_a_refused_campaign_lacks(paths: list[Path]) -> None:
    high = [path for i, path in enumerate(paths) if i // FRAMES in (4, 5)]
    finding = found(look(high), "maps")
    assert finding.severity == "problem"
    assert "low EM gain" in finding.remedy
    low = [path for i, path in enumerate(paths) if i // FRAMES in (0, 1, 2)]
    summary = look(low)
    assert "short time" in found(summary, "maps").remedy
    assert "long time" in found(summary, "maps").remedy
    assert summary.verdict.startswith("not usable: noise maps cannot be fitted")


def test_low_gains_only(tmp_path: Path) -> None:
    stacks = [(1, 2), (1, 100), (50, 2), (50, 100)]
    made = simulate.simulate_campaign(tmp_path, CAMERA, 4, stacks=stacks)
    finding = found(look(made.paths), "design")
    assert "at EM gain 50 an electron stays below the noise" in finding.text
    assert "far above the read noise of 165 electrons" in finding.remedy


def test_a_short_stack_is_named(paths: list[Path]) -> None:
    summary = look(paths[:-8])
    (finding,) = [f for f in summary.findings if f.topic == "frames" and f.severity == "warning"]
    assert "(gain 5000, 100 s): 1 frame, the median is 9" in finding.text


def test_a_hole_in_a_grid_is_noted(tmp_path: Path) -> None:
    grid = [(g, t) for g in (1, 300, 5000) for t in (2, 100) if (g, t) != (300, 100)]
    made = simulate.simulate_campaign(tmp_path, CAMERA, 2, stacks=grid)
    finding = found(look(made.paths), "design")
    assert finding.severity == "note"
    assert "only (gain 300, 100 s) is missing" in finding.text


# Words and pictures


def test_words() -> None:
    assert several(1, "frame", "have") == "1 frame has"
    assert several(2, "frame", "are") == "2 frames are"
    assert and_more(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_verdicts(paths: list[Path]) -> None:
    def warm(image: Any, dq: Any, header: Any) -> None:
        header["EXCAMT"] = -80.0

    plant(paths[0], warm)
    assert look(paths).verdict == "usable with care: 1 warning (temperature)"
    summary = look(paths[: 2 * FRAMES])
    assert summary.verdict.startswith("not usable: ")
    assert summary.as_dict()["verdict"] == summary.verdict


def test_levels_are_drawn(paths: list[Path], tmp_path: Path) -> None:
    def shine(image: Any, dq: Any, header: Any) -> None:
        image[AREA] += 90.0

    plant(frame_of(paths, 0, 3), shine)
    summary = look(paths)
    axes = plots.frame_levels(summary)
    assert len(axes) == 6
    assert {ax.get_title(loc="left") for ax in axes} == {f"EM {stack}" for stack in summary.stacks}
    first = axes[0]
    assert len(first.lines[0].get_xdata()) == FRAMES - 1
    (odd,) = first.lines[1].get_ydata()
    assert odd == pytest.approx(summary.stacks[0].frame_summaries[3].figures.level)
    first.figure.savefig(tmp_path / "levels.png", dpi=40)
    assert plots.frame_levels(inspect_campaign(Dataset(paths[:1]), camera=CAMERA))


@pytest.fixture(scope="module")
def amplified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Enough frames for their samples to show the EM gain."""
    stacks = [(1, 2, 3), (1, 100, 3), (1000, 60, 60), (5000, 100, 60)]
    folder = tmp_path_factory.mktemp("amplified")
    return simulate.simulate_campaign(folder, load_camera("excam-small"), stacks=stacks).paths


def test_gains_of_the_headers_are_those_that_the_samples_show(amplified: tuple[Path, ...]) -> None:
    summary = inspect_campaign(Dataset(list(amplified)), executor=Threads(1))
    *low, first, second = sorted(summary.stacks, key=lambda stack: stack.em_gain)
    assert all(np.isnan(stack.fitted_gain) for stack in low)
    for stack in first, second:
        assert abs(stack.fitted_gain - stack.em_gain) < 3 * stack.fitted_gain_error
    gains = found(summary, "gains")
    assert gains.severity == "fine"
    assert str(first) in gains.text
    (row,) = [s for s in summary.as_dict()["stacks"] if s["commanded_gain"] == 5000]
    assert row["fitted_gain"] == second.fitted_gain


def test_a_wrong_gain_in_the_headers_is_seen_in_the_samples(amplified: tuple[Path, ...]) -> None:
    """By an inspection, and while maps are fitted by any estimator."""

    def wrong() -> Dataset:
        dataset = Dataset(list(amplified))
        for frame in dataset:
            if frame.ext_hdr["EMGAIN_C"] == 5000:
                frame.ext_hdr["EMGAIN_C"] = 3900.0
        return dataset

    finding = found(inspect_campaign(wrong(), executor=Threads(1)), "gains")
    assert finding.severity == "warning"
    assert "gain 3900, 100 s" in finding.text
    assert "instead of 3900" in finding.text
    assert "--gain-source fitted" in finding.remedy
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        calibrate_darks_lsq(wrong(), None)
    assert any("another EM gain than the headers say" in str(each.message) for each in said)


def test_who_computes_changes_no_bit_of_a_gain(amplified: tuple[Path, ...], tmp_path: Path) -> None:
    """Also where finished blocks come from a checkpoint."""
    executors = [Threads(1), Threads(3)] + [Checkpoint(Threads(2), tmp_path) for _ in range(2)]
    first, *others = [
        [(s.fitted_gain, s.fitted_gain_error) for s in summary.stacks if s.fitted_gain > 0]
        for summary in (inspect_campaign(Dataset(list(amplified)), executor=e) for e in executors)
    ]
    assert len(first) == 2
    assert all(other == first for other in others)


def test_without_a_read_noise_no_gain_is_looked_for(amplified: tuple[Path, ...]) -> None:
    camera = load_camera("excam-small")
    silent = replace(camera, noise=replace(camera.noise, read_noise=float("nan")), modes=())
    summary = inspect_campaign(Dataset(list(amplified)), camera=silent, executor=Threads(1))
    assert not [f for f in summary.findings if f.topic == "gains"]
    assert all(np.isnan(stack.fitted_gain) for stack in summary.stacks)
