"""CR_threshold_check: stacks whose own charge is flagged are told, or left out."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from commands import run_command
from emdarks import simulate
from emdarks.cameras import load_camera
from emdarks.checks import inspect_campaign
from emdarks.checks.context import FlaggingRule
from emdarks.darks import build_trad_dark, calibrate_darks_lsq
from emdarks.data import Dataset, DetectorNoiseMaps
from emdarks.errors import CalDarksLSQException, EmdarksWarning, InputError
from emdarks.raw import above_threshold

CAMERA = load_camera("excam-sample")
K = CAMERA.noise.k_gain
AREA = np.s_[0:35, 28:59]
STACKS = [(1, 2), (1, 100), (300, 50), (2000, 10), (3000, 100)]
FRAMES = 12
LEVEL = 1785.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("clean")
    return simulate.simulate_campaign(folder, CAMERA, FRAMES, seed=21, stacks=STACKS)


@pytest.fixture
def clean(made: Any) -> tuple[Path, ...]:
    paths: tuple[Path, ...] = made.paths
    return paths


@pytest.fixture(scope="module")
def cut(made: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every sample from a level on is flagged; no header says so."""
    folder = tmp_path_factory.mktemp("cut")
    paths = [Path(shutil.copy(path, folder)) for path in made.paths]
    for path in paths[3 * FRAMES :]:
        with fits.open(path, mode="update", memmap=False) as hdus:
            hdus["DQ"].data[hdus[1].data * K >= LEVEL] |= 128
    return paths


def with_cards(paths: list[Path], folder: Path, text: str = "", **cards: Any) -> list[Path]:
    """Copies whose headers say more."""
    copies = [Path(shutil.copy(path, folder)) for path in paths]
    for path in copies:
        with fits.open(path, mode="update", memmap=False) as hdus:
            hdus[1].header.update(cards)
            if text:
                hdus[1].header["HISTORY"] = text
    return copies


def fitted(paths: Any, **options: Any) -> tuple[DetectorNoiseMaps, list[str]]:
    """Maps, and what was said of the search."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", EmdarksWarning)
        maps = calibrate_darks_lsq(Dataset([*paths]), None, camera=CAMERA, **options)
    told = [str(w.message) for w in heard if issubclass(w.category, EmdarksWarning)]
    return maps, [text for text in told if "flags cut" in text or "left out" in text]


# The rule and the law


def test_the_rule_is_that_of_the_pipeline_but_for_the_gain() -> None:
    """Without the charge that it forgets, the gains at which 1785 e- are too low are known."""
    rule = FlaggingRule()
    limits = {0.0: 3377, 2.0: 3048, 10.0: 2310, 60.0: 1207, 100.0: 960, 1000.0: 315}
    for time, gain in limits.items():
        charge = rule.charge(CAMERA.noise, time)
        published = [rule.reach(g, charge) - (g - 1) * charge for g in (gain - 1, gain + 1)]
        assert published[0] < LEVEL < published[1]
        assert rule.reach(gain, charge) > LEVEL + 0.9 * gain * charge


def test_the_law_is_that_of_drawn_samples() -> None:
    rng = np.random.default_rng(4)
    gain, charge, noise, size = 3000.0, 0.11, 165.0, 2_000_000
    electrons = rng.poisson(charge, size)
    samples = gain * rng.standard_gamma(np.where(electrons > 0, electrons, 1.0))
    samples = np.where(electrons > 0, samples, 0.0) + noise * rng.standard_normal(size)
    p, mean = above_threshold(LEVEL, gain, charge, noise)
    seen = samples >= LEVEL
    assert p == pytest.approx(seen.mean(), rel=0.01)
    assert mean == pytest.approx((samples * seen).mean(), rel=0.01)
    # The mean of what is left, over all.
    left = (gain * charge - mean) / (1 - p)
    assert left == pytest.approx(samples[~seen].mean(), abs=1.0)


# What is told


def finding_in(paths: Any) -> Any:
    summary = inspect_campaign(Dataset([*paths]), camera=CAMERA)
    found = [finding for finding in summary.findings if finding.topic == "search"]
    return found[0] if found else None


def test_clean_frames_are_not_told(clean: tuple[Path, ...], tmp_path: Path) -> None:
    assert finding_in(clean) is None
    saturated = with_cards([*clean], tmp_path, SAT_DN=11_000.0)
    assert finding_in(saturated) is None
    assert fitted(saturated, CR_threshold_check=True)[1] == []


def lost_of(text: str, stack: str) -> float:
    """The share that the mean of a stack loses, as it is told."""
    part = text.split(f"({stack}): ")[1]
    return float(part.split("%")[0].split()[-1]) / 100


def test_the_highest_unflagged_sample_tells_where_nothing_else_does(
    made: Any, cut: list[Path]
) -> None:
    finding = finding_in(cut)
    assert "flags cut into the charge of 2 stacks" in finding.text
    assert "by the highest unflagged sample" in finding.text
    assert set(finding.frames) == {str(path) for path in cut[3 * FRAMES :]}
    # What is told is what is lost, of pixels that are no hot ones.
    truth = made.truth
    D = truth.dark_current[AREA]
    for first, (gain, time) in list(enumerate(STACKS))[3:]:
        charge = truth.clock_induced_charge[AREA] + time * D
        paths = cut[first * FRAMES : (first + 1) * FRAMES]
        images = np.array([fits.getdata(path, 1)[AREA] * K for path in paths])
        good = np.array([fits.getdata(path, "DQ")[AREA] == 0 for path in paths]) & (D < 0.003)
        signal = images - truth.fixed_pattern[AREA]
        lost = 1 - signal[good].mean() / (gain * charge[D < 0.003].mean())
        assert lost_of(finding.text, f"gain {gain}, {time} s") == pytest.approx(lost, abs=0.08)
        assert lost > 0.5


@pytest.mark.parametrize(
    ("text", "cards", "by"),
    [
        ("Cosmic ray threshold of 205.17241379310346 used.", {}, "the search for cosmic rays"),
        ("", {"SAT_DN": 205.17241379310346}, "saturation"),
        # The lower one counts.
        ("Cosmic ray threshold of 205.17241379310346 used.", {"SAT_DN": 11e3}, "the search"),
    ],
)
def test_headers_tell_the_level(
    text: str, cards: dict[str, Any], by: str, clean: tuple[Path, ...], tmp_path: Path
) -> None:
    finding = finding_in(with_cards([*clean], tmp_path, text, **cards))
    assert f"(gain 3000, 100 s): from 1785 e- on, by {by}" in finding.text
    # A search asks for several samples: what a single one would lose is the bound.
    assert ("up to" in finding.text) == bool(text)
    summary = inspect_campaign(Dataset([*tmp_path.glob("*.fits")]), camera=CAMERA)
    assert summary.as_dict()["stacks"][0]["flagged_from_e"] == pytest.approx(1785)


def test_a_traditional_dark_tells_it_too(clean: tuple[Path, ...], tmp_path: Path) -> None:
    paths = with_cards([*clean[4 * FRAMES :]], tmp_path, SAT_DN=205.2)
    with pytest.warns(EmdarksWarning, match="flags cut into the charge of 1 stack"):
        build_trad_dark(Dataset(paths), None, camera=CAMERA)


# What is done


@pytest.mark.parametrize("estimator", ["pooled", "reference", "frames"])
def test_stacks_are_told_left_out_or_neither(
    estimator: str, clean: tuple[Path, ...], tmp_path: Path
) -> None:
    text = "Cosmic ray threshold of 205.17241379310346 used."
    paths = with_cards([*clean], tmp_path, text)
    told, words = fitted(paths, estimator=estimator)
    assert len(words) == 1
    assert "flags cut into the charge of 1 stack" in words[0]
    silent, words = fitted(paths, estimator=estimator, CR_threshold_check=False)
    assert words == []
    np.testing.assert_array_equal(silent.data, told.data)
    assert silent.ext_hdr["CRCHECK"] == "off"
    without, words = fitted(paths, estimator=estimator, CR_threshold_check=True)
    assert len(words) == 1
    assert f"{FRAMES} of {len(paths)} frames left out" in words[0]
    # As if they had not been given, everywhere.
    alone, _ = fitted(paths[: 4 * FRAMES], estimator=estimator)
    np.testing.assert_array_equal(without.data, alone.data)
    np.testing.assert_array_equal(without.err, alone.err)
    for name in ("NSTACKS", "NBAD", "CHI2"):
        np.testing.assert_array_equal(without.extra(name), alone.extra(name))
    assert len(without.hdu_list["STACKS"].data) == 4
    assert without.ext_hdr["DRPNFILE"] == without.ext_hdr["NFRAMES"] == 4 * FRAMES
    assert without.ext_hdr["NSKIPPED"] == FRAMES
    assert without.ext_hdr["CRCHECK"] == "leave out"
    assert "from 1785 e- on" in without.hdu_list["SKIPPED"].data["REASON"][0]


def test_what_only_pixels_tell_is_left_out_too(cut: list[Path]) -> None:
    """Here two stacks of five, so that the three that are left are too few."""
    with pytest.raises(CalDarksLSQException, match="needs at least 4 stacks, and 3 are left") as e:
        fitted(cut, CR_threshold_check=True)
    assert "\n" not in str(e.value)
    assert "24 frames are of stacks that flags cut into" in str(e.value)
    one = [*cut[: 4 * FRAMES], *cut[4 * FRAMES :]]
    del one[3 * FRAMES : 4 * FRAMES]
    assert "flags cut into the charge of 1 stack" in fitted([*one, *cut[36:37]])[1][0]


def test_too_few_are_refused_before_a_pixel_is_read(
    clean: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = with_cards([*clean], tmp_path, SAT_DN=1.0)
    monkeypatch.setattr(
        "emdarks.darks.planned_stacks.accumulate_stacks", lambda *_: pytest.fail("read")
    )
    with pytest.raises(CalDarksLSQException, match=r"and 2 are left .*--threshold-check warn"):
        fitted(paths, CR_threshold_check=True)
    with pytest.raises(CalDarksLSQException, match=r"and 0 are left \(none\)"):
        fitted(paths, CR_threshold_check=True, fpn_fid=1e6)


def test_expected_charge_decides(clean: tuple[Path, ...], tmp_path: Path) -> None:
    paths = with_cards([*clean], tmp_path, "Cosmic ray threshold of 205.17241379310346 used.")
    told = [
        fitted(paths, cic_fid=cic, dc_fid=dc, num_stds=stds)[1]
        for cic, dc, stds in [(0.0088, 0.001, 4), (1e-4, 1e-6, 4), (0.0088, 0.001, 0.5)]
    ]
    assert [len(words) for words in told] == [1, 0, 0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"CR_threshold_check": "yes"}, "must be True"),
        ({"CR_threshold_check": 1}, "must be True"),
        ({"num_stds": -1}, "num_stds is -1"),
        ({"cic_fid": float("nan")}, "cic_fid is nan"),
        ({"weight_power": 3, "estimator": "frames"}, "weight_power is 3"),
        ({"weight_power": 1}, "for weights of the estimator frames only"),
        ({"weight_power": 1, "estimator": "frames", "weighting": False}, "for weights of"),
        ({"estimator": "frames", "model": "level"}, "for the pooled estimator only"),
        ({"skip": "search", "CR_threshold_check": False}, "give one of them"),
    ],
)
def test_what_makes_no_sense_is_refused(
    options: dict[str, Any], words: str, clean: tuple[Path, ...]
) -> None:
    with pytest.raises(InputError, match=words):
        calibrate_darks_lsq(Dataset([*clean]), None, camera=CAMERA, **options)


# By command


def test_the_command_does_the_same(clean: tuple[Path, ...], tmp_path: Path) -> None:
    (tmp_path / "darks").mkdir()
    text = "Cosmic ray threshold of 205.17241379310346 used."
    paths = with_cards([*clean], tmp_path / "darks", text)
    words = "noisemaps", "darks", "--camera", "excam-sample", "--estimator", "frames", "-o"
    options = "--weight-power", 1, "--threshold-check", "leave-out"
    made = run_command(tmp_path, *words, "maps.fits", *options)
    assert made.returncode == 0
    assert "(--threshold-check" not in made.stderr
    expected, _ = fitted(paths, estimator="frames", weight_power=1, CR_threshold_check=True)
    found = DetectorNoiseMaps(str(tmp_path / "maps.fits"))
    np.testing.assert_array_equal(found.data, expected.data.astype(np.float32))
    assert (found.ext_hdr["WGTPOWER"], found.ext_hdr["CRCHECK"]) == (1, "leave out")
    told = run_command(tmp_path, *words, "told.fits")
    assert "flags cut into the charge of 1 stack" in told.stderr.replace("\n", " ")
    silent = run_command(tmp_path, *words, "silent.fits", "--threshold-check", "off")
    assert "flags cut" not in silent.stderr


@pytest.mark.parametrize("command", [("check", "darks"), ("plan", "darks")])
def test_commands_that_know_nothing_of_these_weights_say_so(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    made = run_command(tmp_path, *command, "--estimator", "frames")
    assert made.returncode == 2
    assert "'frames' is not one of 'pooled', 'counting'" in " ".join(made.stderr.split())
