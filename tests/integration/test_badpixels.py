"""build_bad_pixel_map: the formula, its parts, known truth, files, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy import stats
from validation.badpixels import LEVELS, false_alarms, scores, tailed
from validation.subtract import noise_maps

from campaigns import COLS, REGIONS, ROWS, Campaign, params, stand_in
from commands import run_command
from emdarks import build_bad_pixel_map
from emdarks.bad_pixels import ds9_regions, hot_pixel_table, neighbourhood
from emdarks.darks import build_trad_dark
from emdarks.data import BadPixelMap, Dark, DetectorNoiseMaps
from emdarks.errors import InputError
from emdarks.fit.noise_model import HOT_JUMP

SHAPE = (90, 130)
IMAGE = np.s_[2:19, 18:33]
Array = np.ndarray[Any, Any]


def dark_of(data: Array, err: Any, dq: Any = None, frames: int = 10**9) -> Dark:
    """A traditional dark of so many frames that single electrons do nothing, by default."""
    header = fits.Header()
    header["EXPTIME"], header["EMGAIN_C"], header["KGAINPAR"] = 60.0, 1000.0, 8.7
    header["DRPNFILE"], header["IS_SYNTH"] = frames, 0
    dark = Dark(data, fits.Header(), header, None, np.broadcast_to(err, data.shape).copy(), dq)
    dark.filename = "cgi_x_drk_cal.fits"
    return dark


REGION = {
    "SCI": {
        "frame_rows": SHAPE[0] + 5,
        "frame_cols": SHAPE[1] + 9,
        "image": {"rows": SHAPE[0], "cols": SHAPE[1], "r0c0": [2, 4]},
    }
}


def judge(dark: Any, **options: Any) -> BadPixelMap:
    return build_bad_pixel_map(dark, detector_regions=REGION, **options)


def test_the_formula_pixel_by_pixel() -> None:
    rng = np.random.default_rng(1)
    data, err = rng.gamma(4, 0.02, SHAPE), rng.uniform(0.01, 0.06, SHAPE)
    data[10, 20], data[40, 100] = 1.0, 0.6
    frames, k, window = 40, 4.0, 32
    made = judge(dark_of(data, err, frames=frames), sigmas=k, window=window)
    around = neighbourhood(data, err, np.ones(SHAPE, bool), window)
    step = 1 / frames
    for r in range(0, SHAPE[0], 5):
        for c in range(0, SHAPE[1], 5):
            m, s, typical = (plane[r, c] for plane in around)
            e0 = max(
                err[r, c] ** 2 - 2 * step * max(data[r, c] - m, 0), min(err[r, c], typical) ** 2
            )
            sigma = np.sqrt(max(s**2 - typical**2, 0) + e0)
            assert bool(made.data[r, c] & 8) == (data[r, c] - m > k * sigma + 9.2 * step)
            assert made.hdu_list["SIGMAS"].data[r, c] == pytest.approx((data[r, c] - m) / sigma)
    assert made.data[10, 20] == made.data[40, 100] == 8
    assert made.ext_hdr["NHOT"] == (made.data == 8).sum() == made.bad.sum()


def test_neighbourhood_by_windows() -> None:
    rng = np.random.default_rng(2)
    x, e = rng.normal(size=SHAPE), rng.uniform(1, 2, SHAPE)
    good = rng.random(SHAPE) > 0.1
    window = 41
    around = neighbourhood(x, e, good, window)
    # Rows: windows from 0, 16, 33, 49; columns: 0, 18, 36, 53, 71, 89.
    inside = good[33:74, 53:94]
    part = x[33:74, 53:94][inside]
    middle = np.median(part)
    scatter = 1.4826 * np.median(np.abs(part - middle))
    expected = middle, scatter, np.median(e[33:74, 53:94][inside])
    for plane, value in zip(around, expected, strict=True):
        assert plane[53, 73] == pytest.approx(value, rel=1e-9)
    # Between the middles of two windows, a line; beyond the outermost, the same.
    between = around.median[53, 73:92]
    np.testing.assert_allclose(np.diff(between), np.diff(between)[0], rtol=1e-9)
    np.testing.assert_array_equal(around.median[:, 0], around.median[:, 20])
    flat = neighbourhood(np.full(SHAPE, 3.0), np.ones(SHAPE), np.ones(SHAPE, bool), 500)
    np.testing.assert_allclose(flat.median, 3.0)
    np.testing.assert_allclose(flat.scatter, 0.0)


def test_a_gradient_and_hot_pixels_do_not_matter() -> None:
    """Where mean + 5 std over all pixels finds none of the warm ones."""
    rng = np.random.default_rng(3)
    slope = np.linspace(0, 4, SHAPE[1])
    data = slope + rng.normal(0, 0.1, SHAPE)
    hot = rng.random(SHAPE) < 0.02
    data[hot] += rng.uniform(3, 300, hot.sum())
    made = judge(dark_of(data, 0.1), window=32)
    np.testing.assert_array_equal(made.data & 8 != 0, hot)
    assert (data > data.mean() + 5 * data.std()).sum() < 0.8 * hot.sum()


def test_noise_alone_makes_no_pixel_hot() -> None:
    """A tenth of the pixels has ten times the noise; the error says so."""
    rng = np.random.default_rng(4)
    err = np.where(rng.random(SHAPE) < 0.1, 1.0, 0.1)
    data = rng.normal(0, err)
    assert judge(dark_of(data, err)).bad.sum() == 0
    assert judge(dark_of(data, 0.1)).bad.sum() > 200


def test_the_chance_of_a_false_alarm_is_what_the_documentation_says() -> None:
    """Poisson electrons of exponential charge, without read noise: the worst case."""
    assert stats.norm.sf(5) < 3e-7
    numbers = np.arange(1, 150)
    worst = 0.0
    for mean in (0.05, 0.2, 0.5, 0.65, 0.8, 1.2, 3, 20):
        shares = stats.poisson.pmf(numbers, mean)
        grid = np.linspace(0, 2 * mean, 400)
        above = np.array([(shares * stats.gamma.sf(x, numbers)).sum() for x in grid])
        median = float(np.interp(-0.5, -above, grid)) if above[0] > 0.5 else 0.0
        limit = median + 5 * np.sqrt(2 * mean) + HOT_JUMP
        worst = max(worst, float((shares * stats.gamma.sf(limit, numbers)).sum()))
    assert 2.5e-6 < worst < 3.5e-6


def test_flags_are_passed_on_and_unknown_pixels_flagged() -> None:
    data, err = np.random.default_rng(5).normal(0, 1, SHAPE), np.ones(SHAPE)
    dq = np.zeros(SHAPE, np.uint16)
    dq[3, 4], dq[5, 6] = 4, 160
    data[5, 6], err[5, 6] = 0.0, np.nan  # bad in every frame
    data[-1], err[-1], dq[-1] = np.nan, np.nan, 1  # telemetry
    data[7, 8], dq[7, 8] = 50.0, 2
    made = judge(dark_of(data, err, dq))
    assert (made.data[3, 4], made.data[5, 6], made.data[7, 8]) == (4, 161, 10)
    assert (made.data[-1] == 1).all()
    assert made.ext_hdr["NBADPIX"] == 3 + SHAPE[1]
    assert made.data.dtype == np.uint16


# Noise maps


def brighter(maps: DetectorNoiseMaps) -> DetectorNoiseMaps:
    """Maps with a warm and a hot pixel, in the fit as in the published planes."""
    changed = maps.copy()
    signed = changed.hdu_list["SIGNED"].data
    for (r, c), factor in (((4, 19), 20.0), ((10, 30), 90.0)):
        value = np.float32(factor * np.median(signed[2][IMAGE]))
        signed[2, r, c] = value
        changed.data[2, r, c] = value
    # Small errors, so that they stand out of this short campaign.
    changed.err[0, 2] *= 1e-3
    signed[2][IMAGE] = np.where(
        np.abs(signed[2][IMAGE]) < 15 * np.median(signed[2][IMAGE]), 1e-3, signed[2][IMAGE]
    )
    changed.data[2] = np.maximum(signed[2], 0)
    changed.hdu_list["STACKS"].data["GOOD"][:] = 10**6
    return changed


def test_warm_and_hot_pixels_of_maps(maps: DetectorNoiseMaps) -> None:
    changed = brighter(maps)
    made = build_bad_pixel_map(changed, detector_regions=REGIONS, window=8)
    assert made.shape == (17, 15)
    bright = {(4 - 2, 19 - 18), (10 - 2, 30 - 18)}
    assert bright <= {(int(r), int(c)) for r, c in zip(*np.nonzero(made.data & 8), strict=True)}
    ratio = made.hdu_list["RATIO"].data
    assert ratio[2, 1] < 50 < ratio[8, 12]
    assert (made.ext_hdr["NHOT"], made.ext_hdr["NWARM"]) == (
        ((made.data & 8 != 0) & ~(ratio < 50)).sum(),
        ((made.data & 8 != 0) & (ratio < 50)).sum(),
    )
    only = build_bad_pixel_map(changed, detector_regions=REGIONS, window=8, warm=50)
    assert only.ext_hdr["NWARM"] == 0
    # Unfittable: flags of the maps, and 1 since there is no value.
    assert made.data[3 - 2, 20 - 18] & 5 == 5


def test_the_whole_frame_is_judged_in_the_imaging_area_only(maps: DetectorNoiseMaps) -> None:
    whole = build_bad_pixel_map(brighter(maps), detector_regions=REGIONS, window=8, full_frame=True)
    cut = build_bad_pixel_map(brighter(maps), detector_regions=REGIONS, window=8)
    assert whole.shape == (ROWS, COLS)
    np.testing.assert_array_equal(whole.data[IMAGE], cut.data)
    outside = np.ones((ROWS, COLS), bool)
    outside[:20, 16:34] = False
    assert not (whole.data[outside] & 8).any()
    assert (whole.data[-1] == 1).all()


def test_what_one_electron_does(maps: DetectorNoiseMaps) -> None:
    """By hand: the weighted fit of a mean that one stack's electron raises by g/n."""
    table = maps.hdu_list["STACKS"].data
    g, t, n, v = (np.array(table[k], float) for k in ("EMGAIN", "EXPTIME", "GOOD", "VARIANCE"))
    X = np.column_stack([np.ones_like(g), g, g * t])
    weights = np.array([1 / 250.0, 1.0, 30.0])
    steps = []
    for i in range(len(g)):
        y = np.zeros(len(g))
        y[i] = g[i] / n[i]
        root = np.sqrt(n / v)
        steps.append(weights @ np.linalg.lstsq(X * root[:, None], y * root, rcond=None)[0])
    assert maps.electron_step(weights) == pytest.approx(max(steps), rel=1e-6)
    dark = maps.synthesize(250.0, 30.0)
    assert dark.ext_hdr["ONE_ELEC"] == maps.electron_step(weights)
    made = build_bad_pixel_map(dark, detector_regions=REGIONS, window=8)
    assert made.ext_hdr["BPSTEP"] == dark.ext_hdr["ONE_ELEC"]


def test_a_whole_traditional_dark(quirky: Campaign) -> None:
    dark = build_trad_dark(quirky.stack(300.0, 50.0).files(), params(), REGIONS, True)
    made = build_bad_pixel_map(dark, detector_regions=REGIONS, window=8)
    assert made.ext_hdr["BPSTEP"] == 1 / 5
    assert made.shape == (17, 15)
    assert "RATIO" not in made.hdu_names


# Files


def test_a_map_is_the_same_after_saving(tmp_path: Path) -> None:
    data = np.random.default_rng(6).normal(0, 1, SHAPE)
    data[3, 4] = 100.0
    made = judge(dark_of(data, 1.0))
    assert made.filename == "cgi_x_bpm_cal.fits"
    made.save(tmp_path)
    with fits.open(tmp_path / made.filename) as hdus:
        hdus.verify("exception")
        header = hdus[1].header
        assert hdus[1].data.dtype == np.uint16
        assert (header["DATATYPE"], header["DATALVL"]) == ("BadPixelMap", "CAL")
        assert [hdu.name for hdu in hdus[2:]] == ["ERR", "DQ", "SIGMAS"]
        assert header["DRPNFILE"] == 10**9
        assert (header["NHOT"], header["NWARM"], header["BPSIGMA"]) == (1, 0, 5.0)
        assert "IS_SYNTH" not in header
    again = BadPixelMap(tmp_path / made.filename)
    np.testing.assert_array_equal(again.data, made.data)
    assert again.bad[3, 4]


def test_a_map_of_the_reference_is_read(tmp_path: Path) -> None:
    """It stores flags as real numbers."""
    image = fits.ImageHDU(np.array([[0, 8, 4], [0, 0, 12]], np.float32))
    image.header["DATATYPE"] = "BadPixelMap"
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "a_bpm_cal.fits")
    read = BadPixelMap(tmp_path / "a_bpm_cal.fits")
    np.testing.assert_array_equal(read.bad, [[0, 1, 1], [0, 0, 1]])


def test_a_new_map_says_what_it_was_made_of() -> None:
    flags = np.zeros((3, 4), np.uint16)
    with pytest.raises(InputError, match="needs the products it was made of"):
        BadPixelMap(flags, fits.Header(), fits.Header())
    parent = SimpleNamespace(filename="cgi_y_l2a_dnm_cal.fits")
    made = BadPixelMap(flags, fits.Header(), fits.Header(), [parent])
    assert (made.filename, made.ext_hdr["FILE0"]) == ("cgi_y_bpm_cal.fits", parent.filename)


# What is refused


def test_refused(maps: DetectorNoiseMaps, quirky: Campaign) -> None:
    dark = dark_of(np.zeros(SHAPE), 1.0)
    for options, message in (
        ({"sigmas": 0}, "sigmas is 0"),
        ({"warm": 9, "hot": 3}, "give 0 <= warm <= hot"),
        ({"window": 4}, "at least 8"),
        ({"full_frame": True}, "covers the image region only"),
    ):
        with pytest.raises(InputError, match=message):
            judge(dark, **options)
    with pytest.raises(InputError, match="has 90 x 130 pixels, the camera's frames 1200 x 2200"):
        build_bad_pixel_map(dark)
    with pytest.raises(InputError, match="neither noise maps nor a dark"):
        build_bad_pixel_map(quirky.files()[0], detector_regions=REGIONS)
    cube = SimpleNamespace(
        ext_hdr={"DATATYPE": "Dark"}, data=np.zeros((2, *SHAPE)), err=None, filename="pc.fits"
    )
    with pytest.raises(InputError, match=r"pc.fits: is a photon-counted dark"):
        judge(cube)
    blind = dark_of(np.zeros(SHAPE), np.nan)
    with pytest.raises(InputError, match="no window of 64 pixels has 30 good ones"):
        judge(blind)


# Known truth, as `python -m validation.badpixels` has it in full


def test_completeness_and_purity() -> None:
    """One detector of 10,608 pixels, 100 frames a stack: shares known to 2 %."""
    truth = tailed(77)
    found = scores(truth, noise_maps(truth, 100, 77))
    for level in LEVELS:
        ours, other = found["ours", level], found["reference", level]
        assert ours.above > 60
        assert ours.completeness > (0.85 if level == 5 else 0.93)
        assert ours.purity > 0.93
        if level < 50:
            assert other.completeness < 0.6


def test_few_frames_make_no_false_alarm() -> None:
    """Where median + 5 MAD has hundreds."""
    for _, (ours, plain, judged) in false_alarms(10, 78):
        assert (ours, judged) == (0, 10608)
        assert plain > 20


# The command


def test_the_command(maps: DetectorNoiseMaps, tmp_path: Path) -> None:
    (tmp_path / "quirky.toml").write_text(
        'like = "excam"\nname = "quirky"\ndescription = "small"\n[geometry.SCI]\n'
        f"frame_rows = {ROWS}\nframe_cols = {COLS}\n"
        "image = { rows = 17, cols = 15, r0c0 = [2, 18] }\n"
        f"prescan = {{ rows = {ROWS}, cols = 16, r0c0 = [0, 0], col_start = 9, col_end = 14 }}\n"
        "parallel_overscan = { rows = 3, cols = 18, r0c0 = [20, 16] }\n"
        f"serial_overscan = {{ rows = {ROWS}, cols = 3, r0c0 = [0, 34] }}\n"
    )
    brighter(maps).save(tmp_path, "cgi_a_l2a_dnm_cal.fits")
    command = ["badpixels", "cgi_a_l2a_dnm_cal.fits", "--camera", "quirky.toml", "-o", "."]

    made = run_command(tmp_path, *command, "--window", "8", "--json")
    assert made.returncode == 0, made.stderr
    result = json.loads(made.stdout)
    product = BadPixelMap(tmp_path / result["bad_pixel_map"])
    assert product.filename == "cgi_a_bpm_cal.fits"
    assert result["bad_pixels"] == product.bad.sum()
    assert result["hot_pixels"] + result["warm_pixels"] == (product.data & 8 != 0).sum() >= 2
    again = run_command(tmp_path, *command)
    assert (again.returncode, "exists" in again.stderr) == (1, True)
    wrong = run_command(tmp_path, "badpixels", "cgi_a_l2a_dnm_cal.fits", "-o", "x.fits")
    assert (wrong.returncode, "give the camera" in wrong.stderr) == (1, True)
    assert not (tmp_path / "x.fits").exists()


def test_foreign_products_are_taken(maps: DetectorNoiseMaps, tmp_path: Path) -> None:
    changed = brighter(maps)
    changed.save(tmp_path, "maps.fits")
    stranger = stand_in(str(tmp_path / "maps.fits"), True)
    stacks = [[t, g, 1e6] for t in (2.0, 30.0, 90.0) for g in (1.0, 300.0, 2000.0)]
    name_stacks(stranger.ext_hdr, stacks)
    made = build_bad_pixel_map(stranger, detector_regions=REGIONS, window=8)
    assert made.ext_hdr["BPSTEP"] == pytest.approx(step_by_hand(stacks, (0, 0, 1)), rel=1e-6)
    assert made.data[8, 12] & 8
    del stranger.ext_hdr["HISTORY"]
    with pytest.raises(InputError, match="HISTORY names no stacks"):
        build_bad_pixel_map(stranger, detector_regions=REGIONS, window=8)


def name_stacks(header: Any, stacks: Any) -> None:
    """HISTORY of noise maps of the reference, which fills several cards."""
    header["HISTORY"] = f"[[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]] of maps before; {'x' * 90}"
    header["HISTORY"] = (
        "Detector noise maps created with the following sets of (exposure time (in s), EM gain, "
        f"and number of frames):  {stacks}"
    )


def step_by_hand(stacks: Any, weights: Any) -> float:
    """Of the fit of 5.1.1, whose weights are the numbers of frames squared."""
    t, g, n = np.array(stacks).T
    X = np.column_stack([np.ones_like(g), g, g * t])
    means = np.diag(g / n)
    fitted = np.linalg.lstsq(X * n[:, None], means * n[:, None], rcond=None)[0]
    return float((np.asarray(weights) @ fitted).max())


def test_a_dark_of_the_reference_has_the_step_of_its_stacks() -> None:
    stacks = [[t, g, n] for t, n in ((2.0, 7.25), (60.0, 5.5), (90.0, 9.0)) for g in (1.0, 900.0)]
    dark = dark_of(np.random.default_rng(3).gamma(4, 0.02, SHAPE), 0.01)
    dark.ext_hdr["IS_SYNTH"] = 1
    assert judge(dark).ext_hdr["BPSTEP"] == 0  # nobody tells
    name_stacks(dark.ext_hdr, stacks)
    expected = step_by_hand(stacks, (1 / 1000, 1, 60))
    assert judge(dark).ext_hdr["BPSTEP"] == pytest.approx(expected, rel=1e-9)
    for damage in ("[[1.0, 2.0], [3.0]]", "[[1.0, 2.0, 3.0], [4.0,]]", "[[1.0, 2.0]]"):
        dark.ext_hdr["HISTORY"] = damage
        assert judge(dark).ext_hdr["BPSTEP"] == 0


def maps_of(dark_current: Array, error: float) -> DetectorNoiseMaps:
    """Noise maps as the reference writes them: no table, negative dark current 0."""
    header = fits.Header({"B_O": 0.0, "B_O_ERR": 0.0, "DRPNFILE": 10**9})
    planes = np.stack([np.zeros(SHAPE), np.zeros(SHAPE), np.maximum(dark_current, 0)])
    maps = DetectorNoiseMaps(planes, fits.Header(), header, err=np.full((1, *planes.shape), error))
    name_stacks(maps.ext_hdr, [[t, g, 1e9] for t in (2.0, 30.0, 90.0) for g in (1.0, 300.0)])
    return maps


WHOLE = {
    "SCI": {
        "frame_rows": SHAPE[0],
        "frame_cols": SHAPE[1],
        "image": {"rows": SHAPE[0], "cols": SHAPE[1], "r0c0": [0, 0]},
        "prescan": {"rows": SHAPE[0], "cols": 0, "r0c0": [0, 0]},
        "parallel_overscan": {"rows": 0, "cols": SHAPE[1], "r0c0": [SHAPE[0], 0]},
        "serial_overscan": {"rows": SHAPE[0], "cols": 0, "r0c0": [0, SHAPE[1]]},
    }
}


@pytest.mark.parametrize("mean", [2.0, 1.0, 0.5, 0.2])
def test_dark_current_that_was_clipped(mean: float) -> None:
    """Up to 42 % of ordinary pixels are 0: those do not narrow the scatter of the others."""
    drawn = np.random.default_rng(4).normal(mean, 1.0, SHAPE)
    drawn[30, 40] = 12.0
    for error in (0.1, 1.0):  # errors of the reference say little of the scatter
        made = build_bad_pixel_map(
            maps_of(drawn, error), detector_regions=WHOLE, warm=0, hot=0, window=64
        )
        assert made.data[30, 40] == 8
        assert made.ext_hdr["NHOT"] + made.ext_hdr["NWARM"] <= 1 + 1


def test_dark_current_that_was_mostly_clipped_is_refused() -> None:
    drawn = np.random.default_rng(5).normal(-0.2, 1.0, SHAPE)
    with pytest.raises(InputError, match=r"5\d% of the dark current .* SIGNED\) are missing"):
        build_bad_pixel_map(maps_of(drawn, 0.1), detector_regions=WHOLE)


def test_regions_and_table_name_the_pixels() -> None:
    """Rows and columns differ; DS9 counts both from 1, columns first."""
    rng = np.random.default_rng(6)
    data = rng.normal(0, 0.01, SHAPE)
    data[3, 71], data[80, 6] = 8.5, 2.25
    dark = dark_of(data, 0.01)
    made = judge(dark)
    made.filename = "bad.fits"
    assert ds9_regions(made).splitlines() == [
        "# Region file format: DS9 version 4.1",
        "# hot (red) and warm (orange) pixels of bad.fits",
        "image",
        "box(72,4,1,1,0) # color=red tag={hot}",
        "box(7,81,1,1,0) # color=red tag={hot}",
    ]
    table = hot_pixel_table(made, dark, detector_regions=REGION)
    assert [tuple(row) for row in table["row", "col", "x", "y", "kind", "flags"]] == [
        (3, 71, 72, 4, "hot", 8), (80, 6, 7, 81, "hot", 8),
    ]  # fmt: skip
    np.testing.assert_allclose(table["dark"], [8.5, 2.25])
    np.testing.assert_allclose(table["dark_err"], 0.01)
    assert str(table["dark"].unit) == "electron"
    other = dark_of(data[:, :-1], 0.01)
    with pytest.raises(InputError, match=r"their image region 90 x 130; give the camera"):
        hot_pixel_table(made, other, detector_regions=REGION)


def test_lists_of_the_command_are_written_whole_or_not_at_all(
    maps: DetectorNoiseMaps, tmp_path: Path
) -> None:
    changed = brighter(maps)
    made = build_bad_pixel_map(changed, detector_regions=REGIONS, window=8)
    table = hot_pixel_table(made, changed, detector_regions=REGIONS)
    whole = build_bad_pixel_map(changed, detector_regions=REGIONS, window=8, full_frame=True)
    wide = hot_pixel_table(whole, changed, detector_regions=REGIONS)
    rows, cols = np.nonzero(made.data & 8)
    assert list(table["row"]) == list(rows)
    assert list(table["col"]) == list(cols)
    # The image region begins at row 2 and column 18 of the frame; outside it flags are passed on.
    inside = (wide["row"] >= 2) & (wide["row"] < 19) & (wide["col"] >= 18) & (wide["col"] < 33)
    wide = wide[inside]
    assert list(wide["x"]) == [x + 18 for x in table["x"]]
    assert list(wide["y"]) == [y + 2 for y in table["y"]]
    np.testing.assert_array_equal(wide["D"], table["D"])
    signed = changed.extra("SIGNED")[2][IMAGE]
    np.testing.assert_array_equal(table["D"], signed[rows, cols])
    np.testing.assert_array_equal(table["kind"] == "warm", table["ratio"] < 50)
    # The command
    dark = dark_of(np.where(np.eye(1024)[:, ::-1] * (np.arange(1024) == 1000) > 0, 9.0, 0.0), 0.01)
    dark.save(tmp_path, "dark.fits")

    def run(*more: str) -> CompletedProcess[str]:
        return run_command(tmp_path, "badpixels", "dark.fits", "-o", "bad.fits", *more)

    (tmp_path / "old.reg").write_text("mine")
    refused = run("--regions", "old.reg", "--table", "hot.csv")
    assert (refused.returncode, "old.reg: exists" in refused.stderr) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dark.fits", "old.reg"]
    assert run("--table", "hot.txt").returncode == 2
    twice = run("--regions", "hot.csv", "--table", "hot.csv")
    assert (twice.returncode, "named for two outputs" in twice.stderr) == (1, True)
    good = run("--regions", "old.reg", "--table", "hot.csv", "--overwrite")
    assert good.returncode == 0, good.stderr
    # Row 23 and column 1000: DS9 calls it (1001, 24).
    assert (tmp_path / "old.reg").read_text().splitlines()[3:] == [
        "box(1001,24,1,1,0) # color=red tag={hot}"
    ]
    header, row = (tmp_path / "hot.csv").read_text().splitlines()
    assert header == "row,col,x,y,kind,dark,dark_err,sigmas,flags"
    assert row.startswith("23,1000,1001,24,hot,9.0,")
    assert run("--table", "hot.ecsv", "--overwrite").returncode == 0
    again = Table.read(tmp_path / "hot.ecsv")
    assert (again["row"][0], again["col"][0], str(again["dark"].unit)) == (23, 1000, "electron")
