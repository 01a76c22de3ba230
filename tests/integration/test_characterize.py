"""characterize: small cameras whose truth is known, and what few frames cannot tell."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import run_command
from emdarks import Dataset, Image, calibrate_darks_lsq, characterize
from emdarks.datasheet import DataSheet, samples
from emdarks.errors import EmdarksWarning
from emdarks.fits import fits
from emdarks.simulate import Effects, make_truth, simulate_campaign, simulate_stack
from emdarks.simulate.changing import telegraph_of
from emdarks.simulate.headers import PAUSE

#: EM gain, exposure time (s) and frames of the stacks.
STACKS = [
    (1.0, 2.0, 24), (1.0, 100.0, 24), (1000.0, 60.0, 40), (5000.0, 2.0, 40), (5000.0, 100.0, 40),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return simulate_campaign(
        tmp_path_factory.mktemp("sheet") / "darks", "excam-small", seed=4, stacks=STACKS, threads=2
    )


@pytest.fixture(scope="module")
def sheet(made: Any) -> DataSheet:
    return characterize(Dataset(made.paths))


def of_stack(made: Any, *settings: tuple[float, float]) -> Dataset:
    """Frames of some stacks."""
    first = np.cumsum([0] + [n for *_, n in STACKS])
    chosen = [i for i, (g, t, _) in enumerate(STACKS) if (g, t) in settings]
    return Dataset([path for i in chosen for path in made.paths[first[i] : first[i + 1]]])


def test_truth_is_met(made: Any, sheet: DataSheet) -> None:
    truth = made.truth
    inside = truth.imaging_area
    hot = truth.dark_current[inside] > 20 * np.median(truth.dark_current[inside])
    expected = {
        "read_noise": truth.read_noise,
        "clock_induced_charge": truth.clock_induced_charge[inside][~hot].mean(),
        "dark_current": truth.dark_current[inside][~hot].mean(),
        "deferred_charge_rows": 0.0,
        "deferred_charge_columns": 0.0,
        "nonlinearity_time": 0.0,
        "nonlinearity_gain": 0.0,
    }
    for key, value in expected.items():
        found = sheet[key]
        assert abs(found.value - value) < 4 * found.error, (key, found.value, found.error, value)
    for found in sheet.all("em_gain"):
        if found.known:
            gain = found.setting["em_gain"]
            assert abs(found.value - float(gain)) < 4 * found.error
            assert found.error < 0.1 * float(gain)
    assert sheet["dark_current"].error < 0.02 * expected["dark_current"]


def test_pixels_are_counted(made: Any, sheet: DataSheet) -> None:
    D = made.truth.dark_current[made.truth.imaging_area]
    true = int((50 * np.median(D) < D).sum())
    assert true > 10
    assert abs(sheet["hot_pixels"].value - true) < max(4 * sheet["hot_pixels"].error, 3)
    assert sheet["telegraph_pixels"].value <= 5


def test_numbers_in_sentences_are_those_of_people(sheet: DataSheet) -> None:
    for each in sheet.quantities:
        assert not re.search(r"\de[+-]?\d", each.source + each.note), (each.source, each.note)


def test_low_gains_say_why_they_are_not_measured(sheet: DataSheet) -> None:
    unknown = [each for each in sheet.all("em_gain") if not each.known]
    assert {each.setting["em_gain"] for each in unknown} == {1.0}
    assert all("read noise" in each.note for each in unknown)


def test_one_stack_tells_what_it_can(made: Any) -> None:
    found = characterize(of_stack(made, (5000.0, 100.0)))
    assert abs(found["em_gain"].value - 5000) < 5 * found["em_gain"].error
    assert "at least 3 stacks" in found["dark_current"].note
    # The width of the histogram, with the scatter of the level over pixels.
    noise = found["read_noise"]
    F = made.truth.fixed_pattern[made.truth.imaging_area]
    assert abs(noise.value - np.hypot(made.truth.read_noise, F.std())) < 4 * noise.error
    assert "scatter of the level" in noise.note
    assert all(each.known or each.note for each in found.quantities)


def test_stacks_of_one_time_tell_no_current(made: Any) -> None:
    found = characterize(of_stack(made, (1.0, 2.0), (5000.0, 2.0)))
    assert found["read_noise"].known
    assert not found["dark_current"].known
    three = characterize(of_stack(made, (1.0, 100.0), (5000.0, 100.0), (1000.0, 60.0)))
    assert all(each.known or each.note for each in three.quantities)


@pytest.mark.parametrize("rays", [0.0, 5.0])
def test_telegraph_pixels_are_those_of_the_truth(rays: float) -> None:
    """3 read noises apart, an eighth of 200 frames or more at each level, amid a fixed pattern."""
    gain, time, frames = 100.0, 10.0, 200
    truth, rng = make_truth("excam-small", seed=8), np.random.default_rng(8)
    cycle = frames * (time + PAUSE)
    current = 3 * truth.read_noise / (gain * time)
    effects = replace(
        Effects.none(), rays=rays, telegraph=0.05, telegraph_current=current, telegraph_cycle=cycle
    )
    images = []
    for g, t, n in ((1.0, 2.0, 20), (1.0, 10.0, 20), (gain, time, frames)):
        data, dq = simulate_stack(truth, g, t, n, rng, effects=effects)
        cards = {"EXPTIME": t, "EMGAIN_C": g, "KGAINPAR": 8.7, "CAMERA": "excam-small",
                 "BUNIT": "detected EM electron"}  # fmt: skip
        images += [
            Image(frame, fits.Header(), fits.Header(cards), dq=flags)
            for frame, flags in zip(data, dq, strict=True)
        ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        found = characterize(Dataset(images))
    assert found.evidence is not None
    pixels = telegraph_of(truth, effects)
    high = np.mean([pixels.is_high(i * (time + PAUSE)) for i in range(frames)], axis=0)
    sought = pixels.pixel[(high >= 1 / 8) & (high <= 7 / 8)]
    seen = np.unique(np.concatenate([each.found.pixel for each in found.evidence.telegraph]))
    assert sought.size > 400
    assert np.isin(sought, seen).mean() > 0.95
    assert np.setdiff1d(seen, pixels.pixel).size <= 2  # of 11,000
    assert found["telegraph_pixels"].value == seen.size


def of_arrays(
    settings: Any, bias: float, rng: np.random.Generator, ratio: float = 1.0, flagged: float = 1e6
) -> Dataset:
    """Frames in DN (6 e-) with a prescan: C 0.02 e-, D 0.001 e-/s, noise 100 e-."""
    images = []
    for gain, time in settings:
        for _ in range(12):
            electrons = np.zeros((60, 100))
            electrons[:, 40:] = rng.poisson(0.02 + 1e-3 * time, (60, 60))
            signal = electrons
            if gain > 1:
                signal = rng.gamma(np.maximum(electrons, 1e-9), ratio * gain)
            signal = signal + rng.normal(0.0, 100.0, signal.shape)
            dq = np.where(signal > flagged, 32, 0).astype(np.uint16)
            frame = np.rint((signal + bias) / 6)
            cards = {"EXPTIME": time, "EMGAIN_C": gain, "KGAINPAR": 6.0, "BUNIT": "DN"}
            headers = fits.Header(), fits.Header(cards)
            images.append(Image(frame.astype(np.int32), *headers, dq=dq))
    return Dataset(images)


@pytest.fixture
def prescan_camera(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(
        """
name = "own"
description = "with a prescan"
arrtype = "SCI"
[noise]
k_gain = 6.0
read_noise = 100.0
clock_induced_charge = 0.02
dark_current = 1e-3
[frames]
err_and_dq = false
[keywords]
exposure_time = "EXPTIME"
commanded_gain = "EMGAIN_C"
k_gain = "KGAINPAR"
better_gains = []
unit = "BUNIT"
temperature = ""
start = ""
[units]
"dn" = "DN"
[linearity]
file = "none"
[geometry.SCI]
frame_rows = 60
frame_cols = 100
image = { rows = 60, cols = 60, r0c0 = [0, 40] }
prescan = { rows = 60, cols = 40, r0c0 = [0, 0], col_start = 5, col_end = 35 }
prescan_reliable = { rows = 60, cols = 30, r0c0 = [0, 5] }
"""
    )
    return path


SETTINGS = ((1.0, 2.0), (1.0, 60.0), (1000.0, 60.0), (5000.0, 2.0), (5000.0, 60.0))


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
@pytest.mark.parametrize("bias", [0.0, 1500.0])
def test_a_bias_that_nothing_subtracted_changes_nothing(prescan_camera: Path, bias: float) -> None:
    frames, camera = of_arrays(SETTINGS, bias, np.random.default_rng(3)), str(prescan_camera)
    found = characterize(frames, camera=camera, flag_level=1e6)
    assert found.evidence is not None
    assert found.evidence.counted is not None
    expected = {
        "read_noise": 100.0,
        "clock_induced_charge": 0.02,
        "dark_current": 1e-3,
        "excess_noise_factor": 2.0,
    }
    for key, value in expected.items():
        assert abs(found[key].value - value) < 4 * found[key].error, key
    for each in found.all("em_gain_ratio"):
        assert abs(each.value - 1) < 4 * each.error < 0.4
    # Findings about the frames are part of the sheet, and of its JSON.
    assert any("no pixel of any frame is flagged" in note for note in found.notes)
    maps = calibrate_darks_lsq(
        frames, None, camera=camera, estimator="counting", flag_level=1e6
    ).extra("SIGNED")
    assert maps is not None
    F, C, D = maps[:, :, 40:].mean(axis=(1, 2))
    assert bias - 3 < F < bias + 3
    assert pytest.approx(0.02, abs=0.002) == C
    assert pytest.approx(1e-3, rel=0.05) == D


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
def test_frames_in_memory_that_are_there_twice_are_told(prescan_camera: Path) -> None:
    """Files that are copies are refused; arrays have no names to refuse."""
    frames = of_arrays(SETTINGS, 0.0, np.random.default_rng(5))
    camera = str(prescan_camera)
    told = characterize(frames, camera=camera, flag_level=1e6).notes
    assert not any("same pixels" in note for note in told)
    twice = Dataset([*frames, *of_arrays(SETTINGS, 0.0, np.random.default_rng(5))])
    told = characterize(twice, camera=camera, flag_level=1e6).notes
    (found,) = (note for note in told if "same pixels" in note)
    assert found.startswith("120 frames have the same pixels as another in (gain 1, 2 s)")


def test_one_time_does_not_tell_clock_charge_from_dark_current(prescan_camera: Path) -> None:
    rng = np.random.default_rng(4)
    of_samples = (*SETTINGS[2:5:2], (1.0, 60.0))
    of_maps = ((1.0, 60.0), (120.0, 60.0), (280.0, 60.0))
    for settings in (of_samples, of_maps):
        frames = of_arrays(settings, 0.0, rng)
        found = characterize(frames, camera=str(prescan_camera), flag_level=1e6)
        assert "does not tell it from the dark current" in found["clock_induced_charge"].note
        assert not found["dark_current"].known
        for charge in found.all("frame_charge"):
            assert abs(charge.value - 0.08) < 4 * charge.error < 0.08
        assert found.all("frame_charge")


def test_a_gain_that_is_not_what_headers_say_is_told(made: Any, sheet: DataSheet) -> None:
    assert not any("headers are wrong" in note for note in sheet.notes)
    frames = of_stack(made, (5000.0, 2.0))
    for frame in frames:
        frame.ext_hdr["EMGAIN_C"] = 4000.0
    found = characterize(frames)
    assert [note for note in found.notes if "EM gain 4000 comes out 1.2" in note]


def test_few_frames_without_maps_say_how_many_it_takes(made: Any) -> None:
    found = characterize(Dataset(made.paths[88:94]))
    assert "it takes 10 frames" in found["em_gain"].note
    assert "nor has one above it" in found["read_noise"].note


def test_one_read_noise_a_mode_and_one_a_stack(made: Any, sheet: DataSheet) -> None:
    stacks = sheet.all("read_noise_of_stack")
    assert len(stacks) == len(STACKS)
    F = made.truth.fixed_pattern[made.truth.imaging_area]
    for each in stacks:
        pattern = F.std() if each.setting["em_gain"] > 1 else 0.0
        assert abs(each.value - np.hypot(made.truth.read_noise, pattern)) < 4 * each.error
    mode = sheet["read_noise"]
    low = [each.error for each in stacks if each.setting["em_gain"] == 1.0]
    # What rays add with time is told by the other exposure time, which leaves that of 2 s.
    assert mode.error == pytest.approx(low[0], rel=0.15)
    assert mode.frames_to_halve == 3 * 48


def test_whole_numbers_of_a_converter_and_cosmic_rays_do_not_move_the_read_noise(
    tmp_path: Path,
) -> None:
    camera = tmp_path / "small.toml"
    camera.write_text(
        'like = "ixon-897"\nname = "small"\n[geometry.FULL]\nframe_rows = 64\nframe_cols = 96\n'
        "image = { rows = 64, cols = 96, r0c0 = [0, 0] }\n"
        "[noise]\nread_noise = 13.0\nk_gain = 9.0\n"
    )
    stacks = [(2.0, 2.0, 20), (2.0, 100.0, 20), (900.0, 50.0, 8), (900.0, 2.0, 20)]
    effects = Effects(flagged=0.0, flagged_per_second=0.0, rays=0.5)
    made = simulate_campaign(
        tmp_path / "darks", str(camera), seed=3, stacks=stacks, effects=effects, threads=2
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        found = characterize(Dataset(made.paths), camera=str(camera))
    noise = found["read_noise"]
    expected = np.hypot(made.truth.read_noise, 9.0 / np.sqrt(12))
    assert abs(noise.value - expected) < 3.5 * noise.error
    assert noise.error < 0.006 * expected


def test_command(made: Any, sheet: DataSheet, tmp_path: Path) -> None:
    folder = made.paths[0].parent
    arguments = ("characterize", folder, "-o", "sheet.html", "-o", "sheet.json", "--png", "figures")
    outcome = run_command(tmp_path, *arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert "hot pixels" in outcome.stderr
    kept = DataSheet.load(tmp_path / "sheet.json")
    assert kept["dark_current"] == sheet["dark_current"]
    assert "<table" in (tmp_path / "sheet.html").read_text()
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert {"samples", "drift", "read_noise", "maps", "trails"} <= names
    again = run_command(tmp_path, *arguments)
    assert again.returncode == 1
    assert "exists" in again.stderr


def test_command_against_an_earlier_sheet(made: Any, sheet: DataSheet, tmp_path: Path) -> None:
    sheet.save(tmp_path / "old.json")
    folder = made.paths[0].parent
    outcome = run_command(tmp_path, "characterize", folder, "--against", "old.json", "--json")
    assert outcome.returncode == 0, outcome.stderr
    values = json.loads(outcome.stdout)
    assert values["against"] == "darks"
    known = [each for each in values["changes"] if each["sigmas"] is not None]
    assert len(known) > 10
    assert all(each["difference"] == 0 for each in known)
    assert values["unlike"] == []


def test_command_against_another_camera_says_so(
    made: Any, sheet: DataSheet, tmp_path: Path
) -> None:
    replace(sheet, camera="another").save(tmp_path / "old.json")
    outcome = run_command(
        tmp_path, "characterize", made.paths[0].parent, "--against", "old.json", "-q"
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "numbers may differ for that: camera: excam-small, against another" in " ".join(
        outcome.stderr.split()
    )


def test_command_refuses_what_makes_no_sense(made: Any, tmp_path: Path) -> None:
    folder = made.paths[0].parent
    for words, text in (
        (("-o", "sheet.pdf"), ".html or .json"),
        (("--png", "figures"), "give -o FILE.html"),
        (("--against", "none.json"), "cannot be read"),
        (("-o", "memory://sheets/sheet.json"), "memory://sheets/sheet.json: is a URL"),
        (("-o", "sheet.html", "--png", made.paths[0]), "is a file; name a folder"),
        (("-o", "sheet.html", "--png", "memory://figures"), "is a URL"),
    ):
        outcome = run_command(tmp_path, "characterize", folder, *words)
        assert outcome.returncode in (1, 2)
        assert text in " ".join(outcome.stderr.split()), outcome.stderr
        assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
def test_maps_of_means_go_by_the_gains_that_samples_show(
    prescan_camera: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = of_arrays(SETTINGS, 0.0, np.random.default_rng(8), ratio=0.8)
    monkeypatch.setattr("emdarks.fit.counting.LEAST_COUNTED", 1e9)
    found = characterize(frames, camera=str(prescan_camera), flag_level=1e6)
    assert found.evidence is not None
    assert found.evidence.counted is None
    for each in found.all("em_gain_ratio"):
        assert abs(each.value - 0.8) < 4 * each.error < 0.4
    factor = found["excess_noise_factor"]
    assert abs(factor.value - 2.0) < 4 * factor.error < 0.8


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
@pytest.mark.parametrize("measured", [True, False])
def test_charge_of_maps_of_means_is_by_the_gains_that_samples_show(
    prescan_camera: Path, monkeypatch: pytest.MonkeyPatch, measured: bool
) -> None:
    """Samples of one time alone tell no dark current, but they tell the gain."""
    settings = [(1.0, 2.0), (250.0, 2.0), (250.0, 60.0), (1000.0, 60.0), (5000.0, 60.0)]
    frames = of_arrays(settings, 0.0, np.random.default_rng(11), ratio=0.5)
    monkeypatch.setattr("emdarks.fit.counting.LEAST_COUNTED", 1e9)
    if not measured:
        monkeypatch.setattr("emdarks.datasheet.samples.LARGEST_ERROR", 0.0)
    found = characterize(frames, camera=str(prescan_camera), flag_level=1e6)
    current, true = found["dark_current"], 1e-3 if measured else 0.5e-3
    assert "mean of the map" in current.source
    assert abs(current.value - true) < 4 * current.error < 0.4 * true
    for key in ("dark_current", "clock_induced_charge", "glow"):
        words = "of the samples, 0." if measured else "of the headers, which"
        assert words in found[key].note


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
def test_flags_that_cut_into_charge_are_no_charge_that_is_missing(prescan_camera: Path) -> None:
    level = 20_000.0  # 4 gains: 2 % of the electrons are above
    frames = of_arrays(SETTINGS, 0.0, np.random.default_rng(9), flagged=level)
    found = characterize(frames, camera=str(prescan_camera), flag_level=level)
    assert "flagged from 20000 e-" in found["excess_noise_factor"].note
    assert any("are flagged from 20000 e- on, where charge" in note for note in found.notes)
    for each in found.all("em_gain_ratio"):
        assert abs(each.value - 1.0) < 4 * each.error < 0.4
    for key, true in (("clock_induced_charge", 0.02), ("dark_current", 1e-3)):
        assert abs(found[key].value - true) < 4 * found[key].error < true
    level = 6000.0  # nothing but the maps would tell it
    frames = of_arrays(SETTINGS[:2] + SETTINGS[3:], 0.0, np.random.default_rng(9), flagged=level)
    found = characterize(frames, camera=str(prescan_camera), flag_level=level)
    for key, true in (("clock_induced_charge", 0.02), ("dark_current", 1e-3)):
        each = found[key]
        assert not each.known or abs(each.value - true) < 4 * each.error


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
@pytest.mark.parametrize("stated", [10.0, 300.0])
def test_a_wrong_read_noise_makes_no_wrong_gain(prescan_camera: Path, stated: float) -> None:
    frames = of_arrays(SETTINGS, 0.0, np.random.default_rng(10))
    found = characterize(frames, camera=str(prescan_camera), flag_level=1e6, read_noise=stated)
    assert abs(found["read_noise"].value - 100) < 2
    for each in found.all("em_gain"):
        assert not each.known
        assert f"made for a read noise of {stated:g} e-" in each.note
    assert abs(found["dark_current"].value - 1e-3) < 4 * found["dark_current"].error
    factor = found["excess_noise_factor"]
    assert not factor.known or abs(factor.value - 2) < 4 * factor.error < 2


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
def test_hot_pixels_that_saturate_in_long_stacks_are_in_the_law_of_short_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No map tells them, but their samples are in the histogram: the gain was 2 % too large."""
    stacks = [(1.0, 2.0, 10), (1.0, 60.0, 10), (5000.0, 2.0, 100), (5000.0, 60.0, 10)]
    made = simulate_campaign(tmp_path / "darks", "excam-small", seed=3, stacks=stacks, threads=2)
    frames = [Image(path) for path in made.paths]
    for frame in frames:
        frame.dq[frame.data > 90_000] |= 32
    inside = made.truth.imaging_area
    charge = made.truth.clock_induced_charge[inside] + 2.0 * made.truth.dark_current[inside]
    true = charge[charge > 3 * np.median(charge)].sum() / charge.size
    found = characterize(Dataset(frames), flag_level=90_000.0).evidence
    assert found is not None
    histograms = found.histograms[1]
    assert histograms is not None
    monkeypatch.setattr("emdarks.fit.counting.LEAST_COUNTED", 1e9)
    of_means = characterize(Dataset(frames), flag_level=90_000.0).evidence
    assert of_means is not None
    assert of_means.counted is None
    for charges in (histograms.charges, samples._of_maps(of_means, 1).charges):
        assert (charges.mixture[0] * charges.mixture[1]).sum() == pytest.approx(true, rel=0.06)


def test_rays_of_one_gain_make_no_hot_pixels(tmp_path: Path) -> None:
    """One ray lifts the mean of a pixel as a hot one; its scatter is larger (gain was 7 % low)."""
    stacks = [(1000.0, 10.0, 20), (1000.0, 60.0, 20), (1000.0, 120.0, 30)]
    made = simulate_campaign(
        tmp_path / "darks",
        "excam-small",
        seed=8,
        stacks=stacks,
        effects=Effects(rays=5.0),
        threads=2,
    )
    found = characterize(Dataset(made.paths), flag_level=81_000.0)
    assert found.evidence is not None
    assert found.evidence.counted is None
    for each in found.all("em_gain"):
        assert abs(each.value - 1000.0) < 3 * each.error
        assert each.error < 70.0
    assert not any("aged" in note for note in found.notes)
