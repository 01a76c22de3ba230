"""The same detector again, on another date, after it has drifted."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from emdarks import simulate
from emdarks.cli.app import app
from emdarks.errors import InputError
from emdarks.simulate import Drift
from loops import for_each

STACKS = ((1.0, 2.0), (1000.0, 60.0))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> simulate.CampaignFiles:
    folder = tmp_path_factory.mktemp("first")
    return simulate.simulate_campaign(folder, "excam-sample", 2, 5, stacks=STACKS)


def again(folder: Path, first: simulate.CampaignFiles, **more: object) -> simulate.CampaignFiles:
    options = {"stacks": STACKS, "detector": first.truth_path, **more}
    return simulate.simulate_campaign(folder, "excam-sample", 2, 5, **options)  # type: ignore[arg-type]


def test_the_same_detector_on_another_date(first: simulate.CampaignFiles, tmp_path: Path) -> None:
    made = again(tmp_path, first, date="2026-03-04T05:06:07+01:00")
    for name in ("fixed_pattern", "clock_induced_charge", "dark_current"):
        assert np.array_equal(getattr(made.truth, name), getattr(first.truth, name))
    with fits.open(made.paths[0]) as hdus:
        assert hdus[1].header["MJDSRT"] == pytest.approx(61103 + (4 * 3600 + 6 * 60 + 7) / 86400)
        assert hdus[0].header["FILETIME"].startswith("2026-03-04T04:06:07")
    for ours, theirs in zip(made.paths, first.paths, strict=True):
        assert not np.array_equal(fits.getdata(ours, 1), fits.getdata(theirs, 1))
    # The same date and seed give the same frames, from memory, too.
    other = again(tmp_path / "other", first, date="2026-03-04T04:06:07")
    assert [path.name for path in other.paths] == [path.name for path in made.paths]
    for pair in zip(made.paths, other.paths, strict=True):
        # Checksums say in words when they were made.
        difference = fits.FITSDiff(*pair, ignore_keywords=["CHECKSUM"], ignore_comments=["DATASUM"])
        assert difference.identical, difference.report()
    loaded = simulate.load_campaign(tmp_path)
    assert loaded == made.campaign
    rng = simulate.frame_generator(5, 1, 0, loaded.start)
    frame = simulate.simulate_frame(
        made.truth, 1000.0, 60.0, rng, effects=loaded.effects, units="DN"
    )
    assert np.array_equal(frame.data, fits.getdata(made.paths[2], 1))


def test_overwriting_leaves_nothing_of_the_earlier_date(
    first: simulate.CampaignFiles, tmp_path: Path
) -> None:
    again(tmp_path, first, date="2026-03-04")
    made = again(tmp_path, first, date="2026-03-05", overwrite=True)
    assert sorted(tmp_path.glob("cgi_*")) == sorted(made.paths)


def test_drifts_of_the_detector(first: simulate.CampaignFiles, tmp_path: Path) -> None:
    drift = Drift(3.0, 1.25, 1.5, 1.02, 1.1)
    made, old = again(tmp_path, first, drift=drift).truth, first.truth
    area = old.imaging_area
    assert np.allclose((made.fixed_pattern - old.fixed_pattern)[area], 3.0, atol=1e-4)
    assert np.array_equal(made.fixed_pattern[~area], old.fixed_pattern[~area])
    assert np.allclose(made.clock_induced_charge, 1.25 * old.clock_induced_charge)
    assert np.allclose(made.dark_current, 1.5 * old.dark_current)
    assert made.read_noise == pytest.approx(1.1 * old.read_noise)
    assert (made.true_gain(1.0), made.true_gain(1001.0)) == (1.0, pytest.approx(1021.0))
    # It is kept, and goes on from there.
    kept = simulate.load_truth(tmp_path / "truth.fits")
    assert kept.gain_factor == pytest.approx(1.02)
    assert kept.drifted(Drift(gain=2.0)).gain_factor == pytest.approx(2.04)


def test_frames_show_the_drift_and_headers_do_not(
    first: simulate.CampaignFiles, tmp_path: Path
) -> None:
    drift = Drift(gain=3.0, clock_induced_charge=100.0)
    stacks = ((1000.0, 0.0, 4),)
    none = {"effects": simulate.Effects.none(), "units": "e", "stacks": stacks}
    made = again(tmp_path, first, drift=drift, **none)
    assert fits.getheader(made.paths[0], 1)["EMGAIN_C"] == 1000.0
    level = np.mean([fits.getdata(path, 1)[made.truth.imaging_area] for path in made.paths])
    truth = made.truth.mean(made.truth.true_gain(1000.0), 0.0)[made.truth.imaging_area]
    samples = 4 * truth.size
    error = math.sqrt(made.truth.variance(2998.0, 0.0)[made.truth.imaging_area].mean() / samples)
    assert level == pytest.approx(truth.mean(), abs=5 * error)
    # By the commanded gain it would be a third.
    assert truth.mean() - 1000 * 100 * first.truth.clock_induced_charge.mean() > 10 * error


@for_each(
    "wrong, words",
    [
        ({"date": "tomorrow"}, "2026-03-01"),
        ({"date": "1066-01-01"}, "1900"),
        ({"drift": Drift(gain=-1.0)}, "drift of gain"),
        ({"drift": Drift(dark_current=math.nan)}, "drift of dark current"),
        ({"detector": "none.fits"}, "none.fits"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(
    wrong: dict[str, object], words: str, first: simulate.CampaignFiles, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        again(tmp_path, first, **wrong)


def test_a_detector_of_another_camera_is_refused(
    first: simulate.CampaignFiles, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is a detector of camera excam-sample"):
        simulate.simulate_campaign(tmp_path / "new", "excam-small", detector=first.truth_path)
    with pytest.raises(InputError, match="the detector is one of camera excam-sample with"):
        simulate.simulate_campaign(tmp_path / "new", "excam-small", detector=first.truth)
    assert not (tmp_path / "new").exists()


def test_a_camera_of_a_file_in_another_mode_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('like = "excam-sample"\nname = "own"\n[noise]\nk_gain = 5.0\n')
    made = simulate.simulate_campaign(tmp_path / "a", file, 1, stacks=STACKS)
    later = simulate.simulate_campaign(
        tmp_path / "b", file, 1, stacks=STACKS, detector=made.truth_path, date="2026-02-01"
    )
    assert later.truth.camera.name == "own"
    file.write_text(file.read_text().replace("5.0", "6.0"))
    with pytest.raises(InputError, match=r"with 5 e-/DN, not of own with 6; give its camera and"):
        simulate.simulate_campaign(tmp_path / "c", file, 1, detector=made.truth_path)


def test_a_detector_of_level_2a_gives_raw_frames(
    first: simulate.CampaignFiles, tmp_path: Path
) -> None:
    made = again(tmp_path, first, level="1", date="2026-02-01")
    assert (made.truth.clock_induced_charge[~made.truth.imaging_area] == 0).all()
    assert made.paths[0].name.endswith("_l1_.fits")


def test_the_command(first: simulate.CampaignFiles, tmp_path: Path) -> None:
    words = ["simulate", str(tmp_path / "new"), "--detector", str(first.truth_path)]
    dated = [*words, "--date", "2026-02-01", "--frames", "1"]
    outcome = CliRunner().invoke(app, [*dated, "--drift", "D=2", "--drift", "F=-1"])
    assert outcome.exit_code == 0, outcome.output
    made = simulate.load_truth(tmp_path / "new" / "truth.fits")
    assert np.allclose(made.dark_current, 2 * first.truth.dark_current)
    for wrong in ("D", "D=x", "E=1"):
        outcome = CliRunner().invoke(app, [*words, "--drift", wrong])
        assert outcome.exit_code == 2
    outcome = CliRunner().invoke(app, [*words, "--drift", "D=1", "--drift", "D=2"])
    assert "given twice" in outcome.output
