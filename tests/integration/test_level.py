"""Two maps of stacks of one EM gain, or of one exposure time."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from validation.level import CASES, measure_level

from emdarks import (
    CalDarksLSQException,
    Dataset,
    build_bad_pixel_map,
    build_synthesized_dark,
    calibrate_darks_lsq,
    check_darks,
    subtract_dark,
)
from emdarks.data import DetectorNoiseMaps
from emdarks.errors import InputError
from emdarks.report import compare_products, report_on
from emdarks.simulate import load_truth, simulate_campaign

pytestmark = pytest.mark.usefixtures("coarse_pictures")

ONE_GAIN = [(1000.0, 2.0, 14), (1000.0, 21.0, 12), (1000.0, 60.0, 13), (1000.0, 100.0, 15)]
ONE_TIME = [(2.0, 60.0, 14), (50.0, 60.0, 12), (1000.0, 60.0, 13), (4000.0, 60.0, 15)]
WIDE = "D of wide spread"


@pytest.fixture(scope="module", params=[ONE_GAIN, ONE_TIME], ids=["one gain", "one time"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("level")
    simulate_campaign(path, "excam-sample", seed=5, stacks=request.param)
    return path


def frames(folder: Path) -> Dataset:
    return Dataset([str(path) for path in sorted(folder.glob("*_l2a.fits"))])


def true_maps(folder: Path) -> tuple[np.ndarray, ...]:
    truth = load_truth(folder / "truth.fits")
    planes = truth.fixed_pattern, truth.clock_induced_charge, truth.dark_current
    return tuple(plane.astype(np.float64) for plane in planes)


@pytest.fixture(scope="module")
def maps(folder: Path) -> DetectorNoiseMaps:
    made = calibrate_darks_lsq(frames(folder), None, model="level")
    made.save(str(folder), "maps.fits")
    return DetectorNoiseMaps(str(folder / "maps.fits"))


def one_gain(maps: DetectorNoiseMaps) -> bool:
    return bool(maps.ext_hdr["MODEL"] == "one-gain")


@pytest.mark.parametrize("name", [name for name in CASES if WIDE not in name])
def test_maps_and_darks_of_known_truth(name: str) -> None:
    """60,000 pixels: a pull std is known to 0.3 %; settings of darks are those of no stack."""
    found = measure_level(CASES[name], realisations=10, seed=21)
    assert np.abs(found.std - 1).max() < 0.03
    assert np.abs(found.dark_std - 1).max() < 0.03
    assert np.abs(found.bias).max() < 3.3
    assert np.abs(found.dark_bias).max() < 3.3
    assert np.abs(found.hot - 1).max() < 0.2


@pytest.mark.parametrize("name", [name for name in CASES if WIDE in name])
def test_wide_dark_current_gets_no_errors_that_are_too_small(name: str) -> None:
    found = measure_level(CASES[name], realisations=10, seed=22)
    pulls = np.concatenate([found.std, found.dark_std])
    assert pulls.max() < 1.03
    assert pulls.min() > 0.94
    assert np.abs(found.dark_bias).max() < 3.3


def test_the_model_is_chosen_by_name_only(folder: Path) -> None:
    with pytest.raises(CalDarksLSQException, match=r'model="level" \(emdarks noisemaps --model'):
        calibrate_darks_lsq(frames(folder), None)
    with pytest.raises(InputError, match="pooled estimator only"):
        calibrate_darks_lsq(frames(folder), None, model="level", estimator="reference")
    with pytest.raises(InputError, match="must be one of full, level"):
        calibrate_darks_lsq(frames(folder), None, model="levels")


def test_two_stacks_are_too_few(folder: Path) -> None:
    few = frames(folder)[:26]
    with pytest.raises(CalDarksLSQException, match="at least 3 stacks"):
        calibrate_darks_lsq(few, None, model="level")
    with pytest.raises(CalDarksLSQException) as caught:
        calibrate_darks_lsq(few, None)
    assert "--model" not in str(caught.value)


def test_planes_and_header_say_what_they_are(folder: Path, maps: DetectorNoiseMaps) -> None:
    gain, time = maps.ext_hdr.get("MAPGAIN"), maps.ext_hdr.get("MAPTIME")
    present = [0, 2] if one_gain(maps) else [0, 1]
    (absent,) = {0, 1, 2} - set(present)
    assert (gain, time) == ((1000.0, None) if one_gain(maps) else (None, 60.0))
    assert np.isnan(maps.data[absent]).all()
    assert np.isnan(maps.err[0, absent]).all()
    assert np.isfinite(maps.data[present]).mean() > 0.9
    assert (maps.dq[0] == maps.dq[absent]).all()
    means = [maps.ext_hdr[key] for key in ("FPN_IMM", "CIC_IMM", "DC_IMM")]
    assert means[absent] == -999
    assert (np.array(means)[present] != -999).all()
    assert "cannot be told apart" in "".join(maps.ext_hdr["HISTORY"])
    F, C, D = true_maps(folder)
    true = (F + 1000.0 * C, D) if one_gain(maps) else (F, C + 60.0 * D)
    inside = (maps.err[0, present[1]] > 0) & (maps.dq[0] == 0)
    for k, expected in zip(present, true, strict=True):
        residual = (maps.extra("SIGNED")[k] - expected)[inside]
        error = maps.err[0, k][inside]
        assert abs(residual.mean()) < 4 * np.sqrt((error**2).sum()) / inside.sum()
        assert 0.8 < (residual / error).std() < 1.15


def test_darks_of_other_settings(folder: Path, maps: DetectorNoiseMaps) -> None:
    gain, time = (1000.0, 40.0) if one_gain(maps) else (300.0, 60.0)
    dark = maps.synthesize(gain, time)
    F, C, D = true_maps(folder)
    expected = F / gain + C + time * D
    good = (dark.dq == 0) & (maps.err[0, 2 if one_gain(maps) else 1] > 0)
    residual, error = (dark.data - expected)[good], dark.err[0][good]
    assert good.mean() > 0.3
    assert abs(residual.mean()) < 4 * np.sqrt((error**2).sum()) / good.sum()
    assert 0.8 < (residual / error).std() < 1.15
    assert "MODEL" not in dark.ext_hdr
    other = (500.0, 40.0) if one_gain(maps) else (300.0, 61.0)
    with pytest.raises(InputError, match=r"make darks of any .* only, not at (500|61 s)"):
        maps.synthesize(*other)


def test_frames_get_their_dark_or_a_refusal(
    folder: Path, maps: DetectorNoiseMaps, tmp_path: Path
) -> None:
    own = frames(folder)[:1]
    header = own.frames[0].ext_hdr
    dark = build_synthesized_dark(own, maps)
    assert dark.ext_hdr["EXPTIME"] == header["EXPTIME"]
    done = subtract_dark(own, maps, camera="excam-sample")
    assert np.isfinite(done.frames[0].data).any()
    stacks = [(30.0, 45.0, 1)]
    simulate_campaign(tmp_path / "other", "excam-sample", seed=6, stacks=stacks)
    others = frames(tmp_path / "other")
    for use in (build_synthesized_dark, subtract_dark):
        with pytest.raises(InputError, match="these maps make darks of any"):
            use(others, maps)


def test_what_else_takes_maps(folder: Path, maps: DetectorNoiseMaps) -> None:
    bad = build_bad_pixel_map(maps)
    assert ("BPWARM" in bad.ext_hdr) == one_gain(maps)
    found = compare_products(maps, maps)
    assert [plane.key for plane in found.planes] == (
        ["L", "D"] if one_gain(maps) else ["F", "C + t D"]
    )
    checked = check_darks(frames(folder), model="level")
    assert list(checked.pull_std) == [plane.key for plane in found.planes]
    page = report_on(maps, frames=frames(folder))
    assert "cannot be told apart" in page.what
    html = page.html()
    assert re.search(r"[ >]nan[ <,;.]", html) is None
    assert "fitted to 54 dark frames in 4 stacks" in html


def test_pictures_show_the_maps_that_there_are(maps: DetectorNoiseMaps) -> None:
    words = ("level L", "dark current D") if one_gain(maps) else ("noise F", "charge C + t D")
    for draw in (maps.plot, maps.plot_histogram):
        titles = [axes.get_title() for axes in draw() if axes.axison]
        assert len(titles) == 2
        assert all(word in title for word, title in zip(words, titles, strict=True))
    assert maps._repr_html_().count("<figcaption>") == 2
    with pytest.raises(InputError, match=r"are two maps .*, without"):
        maps.to_ccddata(plane="CIC" if one_gain(maps) else "DC")


def test_a_header_that_lost_its_gain_is_refused(maps: DetectorNoiseMaps, tmp_path: Path) -> None:
    key = "MAPGAIN" if one_gain(maps) else "MAPTIME"
    maps.save(str(tmp_path), "maps.fits")
    with fits.open(tmp_path / "maps.fits", mode="update") as hdus:
        del hdus[1].header[key]
    with pytest.raises(InputError, match=rf"{key} is None"):
        DetectorNoiseMaps(str(tmp_path / "maps.fits"))


def test_gain_error_needs_c(folder: Path, maps: DetectorNoiseMaps) -> None:
    if one_gain(maps):
        with pytest.raises(InputError, match="gain_error needs C"):
            calibrate_darks_lsq(frames(folder), None, model="level", gain_error=0.01)
        with pytest.raises(InputError, match="depends on C"):
            maps.systematics(1000.0, 5.0)
    else:
        assert np.isfinite(maps.systematics(300.0, 60.0)["stacks"]).all()
