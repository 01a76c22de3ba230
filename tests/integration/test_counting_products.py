"""What products of the counting estimator hold beside their maps."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from campaigns import COLS, REGIONS, ROWS, params
from emdarks import Dataset, calibrate_darks_lsq, check_darks, load_camera
from emdarks.cli.app import app
from emdarks.data import DetectorNoiseMaps, Image
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits import packed, unpacked
from emdarks.planning import Readout, predict
from test_counting_maps import NOISE, SATURATED, C, D, F, header, planes

GAINS, TIMES, FRAMES = (2.0, 600.0, 4000.0), (2.0, 100.0), 30


def frames(wrong: float = 1.0) -> list[Image]:
    """A campaign whose gains are too small by the factor ``wrong`` in the headers."""
    rng, made = np.random.default_rng(8), []
    for gain in GAINS:
        for time in TIMES:
            for _ in range(FRAMES):
                true = gain * wrong if gain > 100 else gain
                data, err, dq = planes(true, time, rng)
                own = header(gain, time)
                made.append(Image(data, fits.Header(), own, err, dq))
    return made


def maps(wrong: float = 1.0, **options: Any) -> DetectorNoiseMaps:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return calibrate_darks_lsq(
            Dataset(frames(wrong)), params(), True, REGIONS, estimator="counting", **options
        )


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> DetectorNoiseMaps:
    folder = tmp_path_factory.mktemp("maps")
    maps().save(folder, "maps.fits")
    return DetectorNoiseMaps(str(folder / "maps.fits"))


def inside(product: Any) -> Any:
    area = REGIONS["SCI"]["image"]
    row, col = area["r0c0"]
    return slice(row, row + area["rows"]), slice(col, col + area["cols"])


def test_columns_and_cards(product: DetectorNoiseMaps) -> None:
    table, ext = product.hdu_list["STACKS"].data, product.ext_hdr
    assert (table["T"] == 4 * NOISE).all()
    assert (table["RN_NOM"] == NOISE).all()
    assert table["T2"] == pytest.approx(5 * NOISE + 6 * table["EMGAIN_C"])
    low = table["EMGAIN_C"] < 2 * NOISE
    np.testing.assert_array_equal(table["T3"], np.where(low, np.inf, table["T2"]))
    assert table["RN_LAW"] == pytest.approx(NOISE, rel=0.03)
    high = table["EMGAIN_C"] > 100
    assert np.isnan(table["GAIN_FIT"][~high]).all()
    assert np.isnan(table["RAY_DENS"][~high]).all()
    error = table["GAIN_FIT_ERR"][high]
    assert (np.abs(table["GAIN_FIT"] - table["EMGAIN_C"])[high] < 4 * error).all()
    assert (table["RAY_WING"][~high] == 0).all()
    assert (table["RAY_LOW"][high] == 0).all()
    assert ext["GAINSRC"] == "header"
    assert ext["FLAGLEV"] == pytest.approx(SATURATED * 8.7)
    assert [ext["GFITC1"], ext["GFITC2"], ext["RSLPC1"]] == [600.0, 4000.0, 2.0]
    assert ext["GFIT2"] == table["GAIN_FIT"][table["EMGAIN_C"] == 4000.0][0]
    assert "GFITC3" not in ext
    assert "RSLPC2" not in ext
    slope = ext["RSLP1"] * table["EXPTIME"][~high]
    assert table["RAY_LOW"][~high] == pytest.approx(slope)


def test_histogram_and_law(product: DetectorNoiseMaps) -> None:
    table, bins = product.hdu_list["STACKS"].data, product.hdu_list["HISTOGRAM"].data
    counts, law, lower = bins["COUNTS"], bins["LAW"], bins["LOWER"]
    assert counts.shape == law.shape == (bins["LOWER"].size, 6)
    assert (bins["UPPER"][:-1] == lower[1:]).all()
    pixels = int((product.err[0, 2] > 0).sum())
    assert counts.sum(axis=0) == pytest.approx(pixels * FRAMES, rel=0.02)
    assert law.sum(axis=0) == pytest.approx(counts.sum(axis=0), rel=1e-5)
    for i in range(6):
        core = (lower >= -2 * NOISE) & (bins["UPPER"] <= 3 * NOISE)
        excess = (counts[:, i] - law[:, i]) / np.sqrt(np.maximum(law[:, i], 1))
        assert np.abs(excess[core]).max() < 5, i
        # One sample in a thousand has 30 electrons more: none of them is in the law.
        rays = counts[:, i].sum() * 1e-3
        beyond = lower > table["T2"][i]
        if 100 < table["EMGAIN"][i] < 2000:  # not flagged
            more = counts[beyond, i].sum() - law[beyond, i].sum()
            assert abs(more - rays) < 5 * np.sqrt(rays), i


def test_synthesised_darks_have_the_covariance(product: DetectorNoiseMaps) -> None:
    dark = product.synthesize(600.0, 50.0)
    part = inside(product)
    truth = F / 600.0 + C + 50.0 * D
    pulls = (dark.data - truth)[part] / dark.err[0][part]
    assert abs(pulls.mean()) < 5 / np.sqrt(pulls.size)
    assert 0.85 < pulls.std() < 1.15
    corr = product.extra("CORR")[(slice(None), *part)]
    assert (np.abs(corr) <= 1).all()
    assert (corr[0] < 0).mean() > 0.9
    assert "GFIT1" not in dark.ext_hdr
    assert dark.ext_hdr["GAINSRC"] == "header"


def test_gains_of_the_law_are_those_of_the_table() -> None:
    fitted = maps(1.2, gain="fitted")
    table = fitted.hdu_list["STACKS"].data
    assert fitted.ext_hdr["GAINSRC"] == "fitted"
    high = table["EMGAIN_C"] > 100
    assert (table["EMGAIN"][high] == table["GAIN_FIT"][high]).all()
    assert table["EMGAIN"][high] == pytest.approx(1.2 * table["EMGAIN_C"][high], rel=0.1)
    assert (table["EMGAIN"][~high] == 2.0).all()


def gain_findings(product: DetectorNoiseMaps) -> list[Any]:
    from emdarks.checks.product_summary import MapsView
    from emdarks.checks.registry import NOISE_MAPS, find

    return [finding for finding in find(NOISE_MAPS, MapsView(product)) if finding.topic == "gains"]


def test_gains_that_disagree_are_found(product: DetectorNoiseMaps) -> None:
    (good,) = gain_findings(product)
    assert good.severity == "fine"
    (wrong,) = gain_findings(maps(1.4))
    assert wrong.severity == "warning"
    assert "--gain-source fitted" in wrong.remedy
    (used,) = gain_findings(maps(1.4, gain="fitted"))
    assert used.severity == "note"


def test_the_report_shows_gains_rays_and_histograms(
    product: DetectorNoiseMaps, tmp_path: Path
) -> None:
    from emdarks.report import write_report

    write_report(product, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert 'id="counting"' in page
    assert "Histograms of the samples of each stack" in page
    assert "rays above T₂" in page
    assert "disagrees with the others" not in page


def check(wrong: float = 1.0, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return check_darks(Dataset(frames(wrong)), params(), REGIONS, **options)


def test_halves_are_compared_by_counting() -> None:
    report = check(estimator="counting")
    assert report.believable, report.words
    assert report.stacks == report.disagreeing == ()
    assert all(0.85 < std < 1.15 for std in report.pull_std.values())
    assert report.pull_std != check().pull_std
    assert type(report).from_dict(report.as_dict()) == report


def test_the_check_says_gains_that_disagree() -> None:
    wrong = check(1.4, estimator="counting")
    text = " ".join(wrong.words)
    assert "where 600 was commanded and 600 used" in text
    assert text.count("The frames show an EM gain") == 2
    fitted = " ".join(check(1.4, estimator="counting", gain="fitted").words)
    assert "The frames show an EM gain" not in fitted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"estimator": "reference"},
            "estimator is 'reference'; it must be one of pooled, counting",
        ),
        ({"read_noise": 100.0}, "for the counting estimator only"),
        ({"estimator": "counting", "model": "level"}, "the model 'level' is not for the counting"),
    ],
)
def test_options_of_the_check(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(**options)


def test_the_report_checks_frames_by_the_estimator_of_the_maps(
    product: DetectorNoiseMaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emdarks.report import write, write_report

    asked: dict[str, Any] = {}

    def made(frames: Any, **options: Any) -> Any:
        asked.update(options)
        return check(estimator="counting")

    monkeypatch.setattr(write, "check_darks", made)
    write_report(product, tmp_path / "report.html", frames=Dataset(frames()))
    assert asked["estimator"] == "counting"
    assert (asked["gain"], asked["read_noise"], asked["model"]) == ("header", NOISE, "full")
    assert "Stacks were not compared with each other" in (tmp_path / "report.html").read_text()


def planned(**options: Any) -> Any:
    figures = {"read_noise": NOISE, "clock_induced_charge": C, "dark_current": D}
    noise = replace(load_camera("excam").noise, **figures)
    stacks = [(gain, time, FRAMES) for gain in GAINS for time in TIMES]
    return predict(stacks, noise, **options)


def test_errors_are_those_that_were_predicted(product: DetectorNoiseMaps) -> None:
    lit = (slice(None), *inside(product))
    errors = np.nanmedian(product.err[0][lit], axis=(1, 2))
    prediction = planned(estimator="counting")
    assert errors == pytest.approx(prediction.errors, rel=0.1)
    usual = planned()
    assert all(a < b for a, b in zip(prediction.errors, usual.errors, strict=True))
    lossy = planned(estimator="counting", readout=Readout(lost_per_frame=0.19))
    assert lossy.errors == pytest.approx([error / 0.9 for error in prediction.errors])


def test_what_cannot_be_predicted() -> None:
    with pytest.raises(InputError, match="estimator is 'reference'"):
        planned(estimator="reference")
    with pytest.raises(InputError, match="a register of so many stages: give them"):
        planned(estimator="counting", readout=Readout(kappa=1.9))


def test_plans_on_the_command_line() -> None:
    def run(*options: str) -> Any:
        return CliRunner().invoke(app, ["plan", "--estimator", "counting", *options])

    counted = json.loads(run("--frames", "60", "--json").stdout)
    usual = json.loads(run("--frames", "60", "--json", "--estimator", "pooled").stdout)
    assert counted["error_dc_e_per_s"] < usual["error_dc_e_per_s"]
    shared = json.loads(run("--budget", "36000", "--overhead", "5", "--json").stdout)
    assert shared["goal_error"] < shared["equal_goal_error"]


def test_a_histogram_of_other_stacks_is_refused(product: DetectorNoiseMaps, tmp_path: Path) -> None:
    path = tmp_path / "cut.fits"
    with fits.open(product.filepath) as hdus:
        table = unpacked(hdus["STACKS"])
        table.data = table.data[:5]
        hdus["STACKS"] = packed(table)
        hdus.writeto(path, checksum=True)
    with pytest.raises(InputError, match="HISTOGRAM has not the columns of its format for 5"):
        DetectorNoiseMaps(str(path))


def test_frames_have_every_dimension_different() -> None:
    assert len({ROWS, COLS, FRAMES, len(GAINS), len(TIMES)}) == 5
