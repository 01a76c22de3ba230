"""build_synthesized_dark and DetectorNoiseMaps.synthesize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import COLS, REGIONS, ROWS, Campaign, params
from emdarks.darks import build_synthesized_dark, calibrate_darks_lsq
from emdarks.data import Dark, DetectorNoiseMaps
from emdarks.errors import EmdarksWarning, InputError, InputTypeError
from emdarks.photon_counts import CountLaw


@pytest.fixture(scope="module")
def maps(quirky: Campaign) -> DetectorNoiseMaps:
    return calibrate_darks_lsq(quirky.files(), params(), False, REGIONS)


def test_value_and_error_by_formula(maps: DetectorNoiseMaps) -> None:
    g, t = 250.0, 30.0
    dark = maps.synthesize(g, t)
    F, C, D = maps.extra("SIGNED")
    sigma, corr = maps.err[0], maps.extra("CORR")
    np.testing.assert_allclose(dark.data[:-1], (F / g + C + t * D)[:-1], rtol=1e-12)
    for r, c in ((0, 5), (9, 20), (15, 30)):
        v = np.array([1 / g, 1.0, t]) * sigma[:, r, c]
        R = np.eye(3)
        R[0, 1] = R[1, 0] = corr[0, r, c]
        R[0, 2] = R[2, 0] = corr[1, r, c]
        R[1, 2] = R[2, 1] = corr[2, r, c]
        assert dark.err[0, r, c] == pytest.approx(np.sqrt(v @ R @ v), rel=1e-10)


def test_unfittable_and_telemetry_pixels(maps: DetectorNoiseMaps) -> None:
    dark = maps.synthesize(250.0, 30.0)
    assert dark.data[3, 20] == 0
    assert np.isnan(dark.err[0, 3, 20])
    assert dark.dq[3, 20] & 4
    assert np.isnan(dark.data[-1]).all()
    assert np.isnan(dark.err[0, -1]).all()
    assert (dark.dq[-1] == 1).all()


def test_the_dark_for_frames_matches_them(maps: DetectorNoiseMaps, quirky: Campaign) -> None:
    stack = quirky.stack(300.0, 50.0)
    dark = build_synthesized_dark(stack.files(), maps, REGIONS)
    assert dark.data.shape == (17, 15)
    frame = stack.files()[0].ext_hdr
    for key in ("EXPTIME", "EMGAIN_C", "KGAINPAR"):
        assert dark.ext_hdr[key] == frame[key]
    assert dark.ext_hdr["EMGAIN_A"] == 300.0
    assert (dark.ext_hdr["DATATYPE"], dark.ext_hdr["IS_SYNTH"]) == ("Dark", 1)
    assert "B_O" not in dark.ext_hdr
    assert dark.filename == maps.filename.replace("_dnm_cal", "_drk_cal")
    history = " ".join(str(line) for line in dark.ext_hdr["HISTORY"])
    assert "exptime = 50.0 s and commanded EM gain = 300.0" in history
    assert "the signed maps" in history


def test_the_gain_used_may_differ_from_the_one_commanded(
    maps: DetectorNoiseMaps, quirky: Campaign
) -> None:
    dataset = quirky.stack(300.0, 50.0).memory()
    for frame in dataset:
        frame.ext_hdr["EMGAIN_A"] = 310.0
    dark = build_synthesized_dark(dataset, maps, REGIONS, True)
    np.testing.assert_array_equal(dark.data, maps.synthesize(310.0, 50.0).data)
    assert (dark.ext_hdr["EMGAIN_C"], dark.ext_hdr["EMGAIN_A"]) == (300.0, 310.0)


def test_saved_maps_make_the_same_dark(maps: DetectorNoiseMaps, tmp_path: Path) -> None:
    maps.copy().save(tmp_path)
    reloaded = DetectorNoiseMaps(tmp_path / maps.filename)
    one, other = maps.synthesize(40.0, 11.0), reloaded.synthesize(40.0, 11.0)
    np.testing.assert_allclose(other.data, one.data, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(other.err, one.err, rtol=1e-4)
    assert "the signed maps" in str(other.ext_hdr["HISTORY"]).replace("\n", "")
    assert other.ext_hdr["KGAINPAR"] == 8.7


def test_published_planes_can_be_forced(maps: DetectorNoiseMaps) -> None:
    dark = maps.synthesize(250.0, 30.0, use_signed=False)
    F, C, D = maps.data
    np.testing.assert_allclose(dark.data[:-1], (F / 250 + C + 30 * D)[:-1], rtol=1e-12)
    sigma = maps.err[0]
    expected = np.sqrt((sigma[0] / 250) ** 2 + sigma[1] ** 2 + (30 * sigma[2]) ** 2)
    np.testing.assert_allclose(dark.err[0], expected, rtol=1e-12)
    assert dark.data[9, 20] >= maps.synthesize(250.0, 30.0).data[9, 20]


def test_an_edited_pixel_is_believed_and_the_others_stay(maps: DetectorNoiseMaps) -> None:
    edited = maps.copy()
    edited.data[1, 9, 20] = 0.5
    with pytest.warns(EmdarksWarning, match="in 1 pixels the published maps are not those"):
        dark = edited.synthesize(250.0, 30.0)
    F, C, D = edited.data[:, 9, 20]
    assert dark.data[9, 20] == pytest.approx(F / 250 + C + 30 * D)
    sigma = edited.err[0, :, 9, 20] * [1 / 250, 1, 30]
    assert dark.err[0, 9, 20] == pytest.approx(np.sqrt((sigma**2).sum()))
    untouched = maps.synthesize(250.0, 30.0)
    others = np.ones(dark.data.shape, bool)
    others[9, 20] = False
    np.testing.assert_array_equal(dark.data[others], untouched.data[others])
    np.testing.assert_array_equal(dark.err[0][others], untouched.err[0][others])
    edited.data[2, 9, 20] = -1.0
    with pytest.raises(InputTypeError, match="map of D has negative"):
        edited.synthesize(250.0, 30.0)


def test_unclipped_published_maps_cannot_be_forced(quirky: Campaign) -> None:
    signed = calibrate_darks_lsq(quirky.files(), params(), True, REGIONS, nonnegative=())
    assert signed.synthesize(250.0, 30.0).data.shape == (ROWS, COLS)
    with pytest.raises(InputTypeError, match="has negative values"):
        signed.synthesize(250.0, 30.0, use_signed=False)


def test_maps_without_signed_planes(maps: DetectorNoiseMaps, quirky: Campaign) -> None:
    plain = DetectorNoiseMaps(
        maps.data.copy(), maps.pri_hdr.copy(), maps.ext_hdr.copy(), None, maps.err, maps.dq
    )
    assert plain.hdu_names == []
    frames = quirky.stack(300.0, 50.0).files()
    dark = build_synthesized_dark(frames, plain, REGIONS, True)
    forced = build_synthesized_dark(frames, maps, REGIONS, True, use_signed=False)
    np.testing.assert_array_equal(dark.data, forced.data)
    plain.data[2, 4, 20] = -1e-3
    with pytest.raises(InputTypeError, match="map of D has negative"):
        build_synthesized_dark(frames, plain, REGIONS)
    plain.data[2, 4, 20], plain.data[1, 4, 20] = 0.0, -1.0
    with pytest.raises(InputTypeError, match="map of C has negative"):
        build_synthesized_dark(frames, plain, REGIONS)


def test_refused(maps: DetectorNoiseMaps, quirky: Campaign) -> None:
    with pytest.raises(InputError, match="these are 5"):
        build_synthesized_dark(quirky.files(), maps, REGIONS)
    low = quirky.stack(300.0, 50.0).memory()
    for frame in low:
        frame.ext_hdr["EMGAIN_C"] = 0.5
    with pytest.raises(TypeError, match="below 1"):
        build_synthesized_dark(low, maps, REGIONS)
    with pytest.raises(TypeError, match=rf"shape \({ROWS}, {COLS}\)"):
        build_synthesized_dark(quirky.stack(300.0, 50.0).files(), maps)
    for gain, time in ((0.9, 1.0), (2.0, -1.0), (np.nan, 1.0), (2.0, np.inf)):
        with pytest.raises(InputError, match="must"):
            maps.synthesize(gain, time)


def test_stacks_of_different_k_gain_have_none_in_common(
    maps: DetectorNoiseMaps,
) -> None:
    mixed = maps.copy()
    mixed.hdu_list["STACKS"].data["KGAINPAR"][0] = 9.0
    with pytest.warns(EmdarksWarning, match="no common k-gain"):
        dark = mixed.synthesize(250.0, 30.0)
    assert dark.ext_hdr["KGAINPAR"] == -999.0
    assert mixed.synthesize(250.0, 30.0, kgain=8.5).ext_hdr["KGAINPAR"] == 8.5


def test_a_dark_is_a_dark_after_saving(maps: DetectorNoiseMaps, tmp_path: Path) -> None:
    dark: Any = maps.synthesize(250.0, 30.0)
    dark.save(tmp_path)
    again = Dark(tmp_path / dark.filename)
    np.testing.assert_allclose(again.data, dark.data, rtol=1e-6)
    assert again.ext_hdr["IS_SYNTH"] == 1


LAW = CountLaw(90.0, 300.0, 20.0)


def counted(maps: DetectorNoiseMaps, **options: Any) -> Dark:
    given: dict[str, Any] = {"threshold": LAW.threshold, "read_noise": LAW.read_noise}
    return maps.synthesize(LAW.gain, 50.0, **(given | options))


def signed(maps: DetectorNoiseMaps, row: int, col: int) -> Any:
    values = maps.extra("SIGNED")
    assert values is not None
    return values[:, row, col].astype(float)


def test_counts_that_maps_expect(maps: DetectorNoiseMaps) -> None:
    dark = counted(maps)
    assert (dark.photon_counted, dark.threshold) == (True, 90.0)
    for row, col in ((0, 5), (9, 20), (15, 30)):
        F, C, D = signed(maps, row, col)
        counts = float(LAW.share(C + 50.0 * D, F))
        assert dark.hdu_list["COUNTS"].data[row, col] == pytest.approx(counts, rel=1e-6)
        # As a rate it is what shows these counts where F is not known.
        assert float(LAW.share(dark.data[row, col])) == pytest.approx(counts, rel=1e-9)
    assert dark.ext_hdr["PC_STAT"] == "photon-counted master dark"
    assert dark.ext_hdr["PCFALSE"] == pytest.approx(3.4e-6, rel=0.02)
    assert (dark.dq[-1] == 1).all()


def test_errors_of_expected_counts_follow_from_the_covariance(maps: DetectorNoiseMaps) -> None:
    rng = np.random.default_rng(2)
    dark = counted(maps)
    sigma, corr = maps.err[0], maps.extra("CORR")
    assert corr is not None
    for row, col in ((0, 20), (9, 22)):
        R = np.eye(3)
        for value, (a, b) in zip(corr[:, row, col], ((0, 1), (0, 2), (1, 2)), strict=True):
            R[a, b] = R[b, a] = value
        s = sigma[:, row, col]
        # Small steps: the law is not straight.
        drawn = rng.multivariate_normal(np.zeros(3), R * np.outer(s, s), 40_000) * 1e-3
        F, C, D = (signed(maps, row, col) + drawn).T
        counts = LAW.share(C + 50.0 * D, F)
        error = counts.std() * 1e3
        assert dark.hdu_list["COUNTERR"].data[row, col] == pytest.approx(error, rel=0.02)
        rates = LAW.rate(counts)
        assert dark.err[0, row, col] == pytest.approx(rates.std() * 1e3, rel=0.02)


def test_a_pixel_that_always_counts_tells_no_rate(maps: DetectorNoiseMaps) -> None:
    hot = DetectorNoiseMaps(
        maps.data.copy(), maps.pri_hdr, maps.ext_hdr, None, maps.err, maps.dq, maps.err_hdr
    )
    hot.data[2, 4, 21] = 1.0  # 50 electrons a frame
    dark = counted(hot, kgain=5.0)
    assert np.isnan(dark.data[4, 21])
    assert np.isnan(dark.err[0, 4, 21])
    assert dark.dq[4, 21] & 1
    assert dark.hdu_list["COUNTS"].data[4, 21] > 0.999


def test_a_photon_counted_dark_for_frames(maps: DetectorNoiseMaps, quirky: Campaign) -> None:
    stack = quirky.stack(300.0, 50.0)
    made = build_synthesized_dark(stack.files(), maps, REGIONS, threshold=90.0, read_noise=20.0)
    assert made.threshold == 90.0
    np.testing.assert_array_equal(made.data, counted(maps).data[2:19, 18:33])
    assert made.hdu_list["COUNTS"].data.shape == made.data.shape


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"threshold": None}, "read_noise is for photon-counted darks; give threshold, too"),
    ({"threshold": -2.0}, "threshold is -2.0; it must be a positive number of EM electrons"),
    ({"read_noise": 0}, "read_noise is 0"),
    ({"threshold": 300.0}, "is not below the EM gain 300"),
]


@pytest.mark.parametrize(("options", "words"), WRONG, ids=str)
def test_photon_counted_darks_that_cannot_be_made(
    maps: DetectorNoiseMaps, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        counted(maps, **options)
