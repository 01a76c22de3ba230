"""Darks taken off counted frames: 0 and 1, sums, means and rates; known truth, refusals, files."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from campaigns import COUNT_GAIN as GAIN
from campaigns import COUNT_NOISE as NOISE
from campaigns import em_electrons as samples
from campaigns import frames_to_count as frames
from commands import run_command
from emdarks import inspect_campaign, subtract_dark
from emdarks.cameras import Bias, Camera, Counting, load_camera
from emdarks.darks import build_photon_counted_dark, build_synthesized_dark, build_trad_dark
from emdarks.data import Dark, Dataset, DetectorNoiseMaps, DetectorParams, Image
from emdarks.errors import EmdarksError, EmdarksWarning, InputError
from emdarks.library import Library, subtract_by_library
from emdarks.photon_counts import CountLaw, SeriesLaw, third_order_rate
from emdarks.subtract import save_subtracted

T = 550.0
ROWS, COLS = 60, 70
SHAPE = ROWS, COLS
Array = np.ndarray[Any, Any]
pytestmark = pytest.mark.filterwarnings("ignore:no pixel of any frame is flagged")


def camera(**counting: Any) -> Camera:
    """EXCAM with frames that are all image, and counts above a threshold."""
    image = {"rows": ROWS, "cols": COLS, "r0c0": [0, 0]}
    geometry = {"SCI": {"frame_rows": ROWS, "frame_cols": COLS, "image": image}}
    table = Counting(**{"threshold": T, **counting})
    return replace(
        load_camera("excam"), geometry=geometry, telemetry_rows=(None, None), counting=table
    )


#: Of frames of 0 and 1; of samples.
COUNTS = camera()
SAMPLES = replace(COUNTS, counting=None)
NO_TELEMETRY = DetectorParams({"TELRSTRT": None})


def counts(rate: Any, count: int, seed: int, threshold: float = T) -> Array:
    """0 and 1 of such frames."""
    return (samples(rate, count, seed) > threshold).astype(np.uint8)


def dark_of(data: Any, seen_by: Camera = COUNTS, **options: Any) -> Dark:
    return build_photon_counted_dark(frames(data), None, None, True, camera=seen_by, **options)


#: Dark rates that differ from row to row, and light on the right half.
DARK = np.repeat(np.geomspace(0.02, 0.1, ROWS)[:, None], COLS, axis=1)
LIGHT = np.zeros(SHAPE)
LIGHT[:, COLS // 2 :] = 0.15
N_DARK, N_FRAMES = 500, 400


@pytest.fixture(scope="module")
def darks() -> Array:
    return counts(DARK, N_DARK, 1)


@pytest.fixture(scope="module")
def lit() -> Array:
    return counts(DARK + LIGHT, N_FRAMES, 2)


def as_told(above: Any, n: int, value: str, threshold: float = T) -> tuple[Dataset, Camera]:
    """One frame of the counts of n, as a camera writes it, and that camera."""
    numbers = {
        "sum": 3.0 * above,
        "share": 3.0 * above / n,
        "rate": third_order_rate(above, np.full(SHAPE, n), threshold, GAIN, 2),
    }[value]
    cards = {"PCTHRESH": threshold, "NUM_FR": n}
    seen_by = camera(
        threshold="PCTHRESH", value=value, frames="NUM_FR", one=1.0 if value == "rate" else 3.0
    )
    return frames(numbers[None].astype(np.float64), **cards), seen_by


def pulls(less: Image) -> Array:
    return np.asarray((less.data - LIGHT) / less.err[0])


def assert_is_true(less: Image) -> None:
    """Light and darkness within the errors, whose size is right."""
    for half in (LIGHT == 0, LIGHT > 0):
        residual = (less.data - LIGHT)[half]
        # Rates are too high by lambda / 2n.
        bias = ((DARK + LIGHT) / N_FRAMES - DARK / N_DARK)[half].mean() / 2.0
        assert abs(residual.mean() - bias) < 3.5 * residual.std() / np.sqrt(residual.size)
        # Errors go by shares that are moved a little towards the mean of the frame.
        assert 0.94 < pulls(less)[half].std() < 1.05
    assert 0.95 < pulls(less).std() < 1.05


@pytest.mark.parametrize("estimator", ["law", "reference"])
def test_frames_of_0_and_1(darks: Array, lit: Array, estimator: str) -> None:
    dark = dark_of(darks, estimator=estimator)
    (less,) = subtract_dark(frames(lit), dark, camera=COUNTS)
    if estimator == "law":
        assert_is_true(less)
        assert (less.err[0] > dark.err[0]).all()
    else:  # the register of the series has infinitely many stages: rates are 0.8 % too high
        assert 0.95 < pulls(less).std() < 1.05
        np.testing.assert_allclose(less.data[LIGHT > 0].mean(), 1.008 * 0.15, rtol=0.01)
    assert less.ext_hdr["BUNIT"] == "photoelectron"
    assert (less.ext_hdr["PCTHRESH"], less.ext_hdr["NUM_FR"]) == (T, N_FRAMES)
    assert less.filename == "frame_0399_l2a.fits"
    assert (less.dq == 0).all()


def test_the_difference_is_that_of_the_rates(darks: Array, lit: Array) -> None:
    dark = dark_of(darks)
    (less,) = subtract_dark(frames(lit), dark, camera=COUNTS)
    rate = CountLaw(T, GAIN, NOISE, 604).rate(lit.mean(axis=0, dtype=float))
    np.testing.assert_allclose(less.data, rate - dark.data, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("value", ["sum", "share", "rate"])
@pytest.mark.parametrize("estimator", ["law", "reference"])
def test_what_several_frames_were_counted_into(
    darks: Array, lit: Array, value: str, estimator: str
) -> None:
    dark = dark_of(darks, estimator=estimator)
    (one,) = subtract_dark(frames(lit), dark, camera=COUNTS)
    told, seen_by = as_told(lit.sum(axis=0, dtype=float), N_FRAMES, value)
    (less,) = subtract_dark(told, dark, camera=seen_by)
    # Two steps of Newton's rule leave 1e-6 of a rate.
    np.testing.assert_allclose(less.data, one.data, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(less.err, one.err, rtol=1e-4)
    assert (less.ext_hdr["PCTHRESH"], less.ext_hdr["NUM_FR"]) == (T, N_FRAMES)


def test_false_counts_of_a_low_threshold_are_not_light() -> None:
    """At 3 read noises; those of the frame that the series leaves in, too."""
    low = 3 * NOISE
    dark = dark_of(samples(DARK, N_DARK, 5), SAMPLES, threshold=low)
    above = counts(DARK + LIGHT, N_FRAMES, 6, low).sum(axis=0, dtype=float)
    for value in ("share", "rate"):
        told, seen_by = as_told(above, N_FRAMES, value, low)
        assert_is_true(subtract_dark(told, dark, camera=seen_by)[0])


def test_errors_of_a_frame_of_rates_are_its_own(darks: Array, lit: Array) -> None:
    told, seen_by = as_told(lit.sum(axis=0, dtype=float), N_FRAMES, "rate")
    dark = dark_of(darks, estimator="reference")
    own = np.full((1, *SHAPE), 0.03)
    own[0, 4, 5], own[0, 4, 6] = 0.0, np.nan
    told[0].err = own
    (less,) = subtract_dark(told, dark, camera=seen_by)
    np.testing.assert_allclose(less.err[0, :4], np.hypot(0.03, dark.err[0, :4]), rtol=1e-12)
    # The reference has errors of 0 where it counted nothing: those of the counts stand there.
    assert 0.005 < less.err[0, 4, 5] < 0.03
    assert np.isnan(less.err[0, 4, 6])
    assert less.dq[4, 6] == 1
    # By the law, whose register has 604 stages, errors go with the rates.
    other = dark_of(darks)
    (by_law,) = subtract_dark(told, other, camera=seen_by)
    law, series = CountLaw(T, GAIN, NOISE, 604), SeriesLaw(T, GAIN)
    rate = told[0].data[2, 3]
    share, slope = series.statistics(rate)
    expected = 0.03 * slope / law.statistics(law.rate(share))[1]
    assert by_law.err[0, 2, 3] == pytest.approx(np.hypot(expected, other.err[0, 2, 3]), rel=1e-9)


def test_flags_leave_samples_out_and_add_up(darks: Array, lit: Array) -> None:
    few = lit[:40].astype(np.float32)
    dq = (np.random.default_rng(3).random(few.shape) < 0.1).astype(np.uint16) * 128
    dq[:, 2, 3], dq[:, 5, 6] = 4, 0
    few[dq > 0] = 77.0  # whatever stands there
    few[:, 5, 6] = np.nan
    dark = dark_of(darks)
    dark.dq[8, 9], dark.data[9, 9] = 32, np.nan
    (less,) = subtract_dark(frames(few, dq=dq), dark, camera=COUNTS)
    n = ((dq == 0) & np.isfinite(few)).sum(axis=0)
    above = np.where(dq == 0, np.nan_to_num(few), 0).sum(axis=0)
    rate = CountLaw(T, GAIN, NOISE, 604).rate(above[20] / n[20])
    np.testing.assert_allclose(less.data[20], rate - dark.data[20], rtol=1e-9, atol=1e-12)
    assert np.isnan(less.data[2, 3])
    assert (less.dq[2, 3], less.dq[5, 6], less.dq[8, 9], less.dq[9, 9]) == (5, 1, 32, 1)
    assert (less.dq != 0).sum() == 4


def test_pixels_that_always_count_tell_no_rate(darks: Array, lit: Array) -> None:
    full = lit[:20].copy()
    full[:, 7, 8] = 1
    (less,) = subtract_dark(frames(full), dark_of(darks), camera=COUNTS)
    assert np.isnan(less.data[7, 8])
    assert less.dq[7, 8] == 1


def test_frames_that_the_built_in_camera_knows(lit: Array) -> None:
    """Those of the Coronagraph's pipeline have PCTHRESH above 0; others -999 or 0."""
    above = lit.sum(axis=0, dtype=float)
    told, _ = as_told(above, N_FRAMES, "rate")
    whole = {"SCI": COUNTS.geometry["SCI"]}
    maps = maps_of(np.zeros(SHAPE), DARK, np.zeros(SHAPE))
    (less,) = subtract_dark(told, maps, NO_TELEMETRY, whole, camera="excam")
    assert_is_true(less)
    for value in (-999.0, 0.0):
        told[0].ext_hdr["PCTHRESH"] = value
        (other,) = subtract_dark(told, maps, NO_TELEMETRY, whole, camera="excam")
        np.testing.assert_allclose(other.data, told[0].data / GAIN - maps.data[1], atol=1e-9)


@pytest.mark.parametrize("row", [0, ROWS - 1])
@pytest.mark.parametrize("value", ["count", "share"])
def test_telemetry_is_no_count(lit: Array, value: str, row: int) -> None:
    """Words in a row; nothing is made of them, and nothing is refused for them."""
    if value == "count":
        data, seen_by = lit[:60].astype(np.float32), COUNTS
    else:
        told, seen_by = as_told(lit.sum(axis=0, dtype=float), N_FRAMES, "share")
        data = told[0].data[None].astype(np.float32)
    image = {"rows": ROWS - 1, "cols": COLS, "r0c0": [int(row == 0), 0]}
    geometry = {"SCI": {"frame_rows": ROWS, "frame_cols": COLS, "image": image}}
    camera_ = replace(seen_by, geometry=geometry, telemetry_rows=(row, row + 1))
    cards = {"PCTHRESH": T, "NUM_FR": N_FRAMES}
    maps = maps_of(np.zeros(SHAPE), DARK, np.zeros(SHAPE))
    (plain,) = subtract_dark(frames(data, **cards), maps, camera=camera_)
    data[:, row] = 513.0
    (less,) = subtract_dark(frames(data, **cards), maps, camera=camera_)
    others = np.arange(ROWS) != row
    np.testing.assert_array_equal(less.data[others], plain.data[others])
    assert (less.dq[row] & 1 == 1).all()
    assert (less.dq[others] == 0).all()


# Noise maps


def maps_of(F: Array, C: Array, D: Array, error: float = 1e-4) -> DetectorNoiseMaps:
    header = fits.Header({"B_O": 0.0, "B_O_ERR": 0.0, "DRPNFILE": 99, "RN": NOISE, "NEMGAIN": 604})
    planes = np.stack([F, C, D])
    err = np.stack([np.full(SHAPE, s) for s in (error * 1000.0, error, error / 100)])
    return DetectorNoiseMaps(planes, fits.Header(), header, err=err[None])


def test_maps_make_the_dark_of_any_threshold(lit: Array) -> None:
    error = 0.004
    noisy = DARK - 0.02 + error * np.random.default_rng(9).standard_normal(SHAPE)
    maps = maps_of(np.zeros(SHAPE), noisy.clip(0), np.full(SHAPE, 2e-3), error)
    (less,) = subtract_dark(frames(lit), maps, camera=COUNTS)
    whole = DARK > 0.035  # no map was clipped there
    assert 0.95 < pulls(less)[whole].std() < 1.05
    assert abs((less.data - LIGHT)[whole].mean()) < 0.001
    made = maps.synthesize(GAIN, 10.0, 8.75, threshold=T)
    (same,) = subtract_dark(frames(lit, EMGAIN_A=GAIN), made, camera=COUNTS)
    np.testing.assert_allclose(same.data, less.data, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(same.err, less.err, rtol=1e-12)
    assert less.ext_hdr["DARKSYNT"]
    assert "photon-counted, as counts above 550 EM electrons" in history(less)


def history(frame: Image) -> str:
    return "".join(str(line).ljust(72) for line in frame.ext_hdr["HISTORY"])


def test_the_fixed_pattern_moves_the_threshold_of_both(lit: Array) -> None:
    """A pixel with F has its threshold lower in frames and dark alike."""
    F = np.where(np.arange(COLS) % 2 == 0, 150.0, 0.0) * np.ones(SHAPE)
    electrons = samples(DARK, N_FRAMES, 12) + F.astype(np.float32)
    told = (electrons > 2.7 * NOISE).astype(np.uint8)
    maps = maps_of(F, DARK, np.zeros(SHAPE))
    (less,) = subtract_dark(frames(told), maps, camera=camera(threshold=2.7 * NOISE))
    for column in (0, 1):
        data, err = less.data[:, column::2], less.err[0, :, column::2]
        assert abs(data.mean()) < 3.5 * data.std() / np.sqrt(data.size)
        assert 0.95 < (data / err).std() < 1.05


def test_a_dark_like_counted_frames_is_one_for_them(lit: Array) -> None:
    maps = maps_of(np.zeros(SHAPE), DARK, np.zeros(SHAPE))
    told = frames(lit[:5], EMGAIN_A=GAIN)
    for options in ({}, {"threshold": T}):
        dark = build_synthesized_dark(told, maps, None, True, camera=COUNTS, **options)
        assert (dark.photon_counted, dark.threshold) == (True, T)
        assert len(subtract_dark(told, dark, camera=COUNTS)) == 1
    with pytest.raises(InputError, match="a dark of threshold 600 does not serve"):
        build_synthesized_dark(told, maps, None, True, camera=COUNTS, threshold=600.0)


# Refusals


def refused(dataset: Dataset, product: Any, seen_by: Camera) -> str:
    with pytest.raises(EmdarksError) as caught:
        subtract_dark(dataset, product, camera=seen_by)[0].data  # noqa: B018
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_mixtures(darks: Array, lit: Array) -> None:
    counted = dark_of(darks[:30])
    plain = build_trad_dark(frames(samples(DARK, 9, 3)), None, None, True, camera=SAMPLES)
    analog = frames(samples(DARK, 3, 4))
    text = refused(frames(lit[:9]), plain, COUNTS)
    assert "is a dark of means, ./frame_0000_l2a.fits holds counts above 550 EM" in text
    assert "--photon-counting --threshold 550" in text
    text = refused(analog, counted, SAMPLES)
    assert "is a photon-counted dark; frames that were not" in text
    told, seen_by = as_told(lit.sum(axis=0, dtype=float), 400, "rate")
    both = Dataset([*told, *analog])
    assert "holds samples, ./frame_0000_l2a.fits rates of counts of 400" in refused(
        both, counted, seen_by
    )
    other = frames(samples(DARK, 3, 4), EXPTIME=20.0)
    assert "subtract darks from the frames of each kind by themselves" in refused(
        Dataset([*told, *other]), counted, seen_by
    )
    deep = counted.copy()
    deep.data = deep.data[None]
    assert "has 3 axes" in refused(frames(lit[:9]), deep, COUNTS)


def test_another_threshold(darks: Array, lit: Array) -> None:
    dark = dark_of(darks[:30])
    text = refused(frames(lit[:9]), dark, camera(threshold=660.0))
    assert "threshold 550 EM electrons of the dark, 660 of the frame (+20.00%; at 550 " in text
    assert "of single electrons are lost and read noise alone counts 2.9e-07 a frame" in text
    assert len(subtract_dark(frames(lit[:9]), dark, camera=camera(threshold=550.3))) == 1
    del dark.ext_hdr["PCTHRESH"]
    assert "no threshold (PCTHRESH)" in refused(frames(lit[:9]), dark, COUNTS)
    told, seen_by = as_told(lit[0], 20, "share")
    told[0].ext_hdr["PCTHRESH"] = 500.0
    more, _ = as_told(lit[0], 20, "share")
    assert "above 550 EM electrons, ./frame_0000_l2a.fits means of counts of 20" in refused(
        Dataset([*told, *more]), dark, seen_by
    )


def test_a_dark_of_the_reference_without_a_read_noise(darks: Array, lit: Array) -> None:
    dark = dark_of(darks[:30])
    for name in ("PCGAIN", "PCNOISE", "NEMGAIN", "PCESTIM"):
        del dark.ext_hdr[name]
    unknown = replace(camera(threshold=660.0), noise=replace(COUNTS.noise, read_noise=float("nan")))
    told = frames(lit[:9])
    for frame in told:
        del frame.ext_hdr["RN"]
    assert "(+20.00%; at 550 electrons below 0.11 gains are lost" in refused(told, dark, unknown)


def test_numbers_that_are_no_counts(darks: Array, lit: Array) -> None:
    dark = dark_of(darks)
    odd = lit[:5].copy()
    odd[3, 4, 5] = 2
    assert "frame_0003_l2a.fits: holds other numbers than counts of 0 and 1" in refused(
        frames(odd), dark, COUNTS
    )
    assert "other numbers than counts of 0 and 7" in refused(frames(lit[:5]), dark, camera(one=7.0))
    told, seen_by = as_told(lit[0], 1, "share")
    told[0].data[2, 2] = 9.0
    assert "1 of its numbers are no means of counts above 550 EM electrons" in refused(
        told, dark, seen_by
    )
    assert "one count tells no rate" in refused(frames(lit[:1]), dark, COUNTS)


def test_sums_are_of_whole_counts(darks: Array, lit: Array) -> None:
    told, seen_by = as_told(lit.sum(axis=0), N_FRAMES, "sum")
    told[0].data[5, 6] += 1.2
    assert "1 of its numbers are no sums of whole counts, the first" in refused(
        told, dark_of(darks[:30]), seen_by
    )


def test_sums_of_more_frames_than_a_stack_can_have(darks: Array) -> None:
    n, law = 200_000, CountLaw(T, GAIN, NOISE, 604.0)
    above = np.random.default_rng(11).binomial(n, law.share(DARK + LIGHT))
    told, seen_by = as_told(above, n, "sum")
    dark = dark_of(darks)
    (less,) = subtract_dark(told, dark, camera=seen_by)
    assert (less.dq == 0).all()
    assert 0.95 < pulls(less).std() < 1.05
    np.testing.assert_allclose(less.err[0].mean(), dark.err[0].mean(), rtol=0.02)


def test_rates_beyond_the_series_are_flagged(darks: Array, lit: Array) -> None:
    above = lit.sum(axis=0)
    above[3, 4], above[5, 6] = N_FRAMES, 0.7 * N_FRAMES
    told, seen_by = as_told(above, N_FRAMES, "rate")
    (less,) = subtract_dark(told, dark_of(darks[:30]), camera=seen_by)
    assert less.dq[3, 4] == 256
    assert (less.dq != 0).sum() == 1


def test_variances_in_the_place_of_errors(darks: Array, lit: Array) -> None:
    told, seen_by = as_told(lit.sum(axis=0), N_FRAMES, "rate")
    (plain,) = subtract_dark(told, dark_of(darks), camera=seen_by)
    told[0].err = np.full((1, *SHAPE), 0.02**2)
    (less,) = subtract_dark(told, dark_of(darks), camera=seen_by)
    with pytest.warns(EmdarksWarning, match=r"\(ERR\) are 0\.0\d+ of what counts of 400 frames"):
        np.testing.assert_array_equal(less.err, plain.err)


def test_counts_of_which_nobody_tells(darks: Array, lit: Array) -> None:
    plain = build_trad_dark(frames(samples(DARK, 9, 3)), None, None, True, camera=SAMPLES)
    told = frames(lit[:5], BUNIT="detected electron")
    assert "all samples are 0 or 1: its electrons are counted; say in a camera" in refused(
        told, plain, SAMPLES
    )
    with pytest.raises(InputError, match=r"5 frames are 0 or 1, .*\(\[counting\]\)"):
        dark_of(lit[:5], SAMPLES)
    summary = inspect_campaign(frames(lit[:5]), camera=SAMPLES)
    assert any("[counting]" in finding.remedy for finding in summary.findings)
    biased = replace(SAMPLES, bias=Bias(level=300.0))
    for one in (1, 255):
        assert "0 or 1" in refused(frames(one * lit[:5].astype(np.uint8)), plain, SAMPLES)
        with pytest.raises(InputError, match=r"5 frames are 0 or 1, .*\(\[counting\]\)"):
            dark_of(one * lit[:5].astype(np.uint8), biased)


def test_frames_of_few_counts_are_no_copies() -> None:
    """In a small frame of a short exposure the same pixels count by chance, or none."""
    told = counts(np.full(SHAPE, 0.0005), 60, 21)
    assert (told.sum(axis=(1, 2)) == 0).sum() > 3  # empty ones
    dark = dark_of(told)
    assert dark.ext_hdr["NUM_FR"] == 60
    np.testing.assert_array_equal(dark.hdu_list["NABOVE"].data, told.sum(axis=0))
    summary = inspect_campaign(frames(told), camera=COUNTS)
    assert not {"copies", "empty"} & {finding.topic for finding in summary.findings}


@pytest.mark.parametrize("seen_by", [COUNTS, SAMPLES], ids=["told", "not told"])
def test_copies_of_counted_frames_are_found(lit: Array, seen_by: Camera) -> None:
    told = lit[[0, 1, 2, 3, 1]]
    if seen_by is COUNTS:
        with pytest.raises(InputError, match=r"0004_l2a\.fits: has the same pixels as .*0001_l2a"):
            dark_of(told)
    findings = inspect_campaign(frames(told), camera=seen_by).findings
    copies = [finding for finding in findings if finding.topic == "copies"]
    assert [len(finding.frames) for finding in copies] == [2]


def test_inspect_knows_counts(lit: Array) -> None:
    summary = inspect_campaign(frames(lit[:50]), camera=COUNTS)
    problems = [each for each in summary.findings if each.severity == "problem"]
    assert "50 frames hold counts above 550 EM electrons" in " ".join(x.text for x in problems)
    assert "count these frames (emdarks dark --photon-counting)" in problems[-1].remedy
    fine = [each.text for each in summary.findings if each.severity == "fine"]
    assert fine == ["a photon-counted dark can be made of each stack"]
    assert summary.stacks[0].level == pytest.approx(GAIN * lit[:50].mean(), rel=1e-6)
    told, seen_by = as_told(lit[0], 20, "share")
    more, _ = as_told(lit[1], 20, "share")
    added = inspect_campaign(Dataset([*told, *more]), camera=seen_by).findings
    assert "fine" not in {each.severity for each in added}
    assert any("take a photon-counted dark off these" in each.remedy for each in added)
    odd = lit[:50].astype(np.float32) + 0.25
    found = inspect_campaign(frames(odd), camera=COUNTS).findings
    assert any("50 frames hold other numbers than counts" in each.text for each in found)


# Darks of counted frames


def test_darks_of_frames_that_are_counted_already(lit: Array) -> None:
    electrons = samples(DARK, 60, 8)
    for options in ({}, {"estimator": "reference"}):
        own = dark_of(electrons, SAMPLES, threshold=T, **options)
        told = dark_of(7.0 * (electrons > T), camera(one=7.0), **options)
        for plane in ("NGOOD", "NABOVE"):
            np.testing.assert_array_equal(told.hdu_list[plane].data, own.hdu_list[plane].data)
        np.testing.assert_array_equal(told.data, own.data)
        np.testing.assert_array_equal(told.err, own.err)
        assert told.threshold == T
    by_noise = dark_of(electrons > T, camera(threshold=5.0, unit="read noise"))
    np.testing.assert_array_equal(by_noise.data, dark_of(electrons, SAMPLES, threshold=T).data)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": 500.0}, "is counted already, above 550 EM electrons: leave the threshold"),
        ({"t_factor": 5.0}, "leave the threshold out"),
        ({"max_rate": 0.02}, "electrons a pixel and frame on average are too many"),
    ],
    ids=str,
)
def test_darks_that_cannot_be_made(darks: Array, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        dark_of(darks[:9], **options)


def test_what_is_said_of_samples_is_not_said_of_counts(recwarn: pytest.WarningsRecorder) -> None:
    """Flags, so that nothing cuts rays off; a card of samples; the noise of counts."""
    told = counts(DARK, 40, 14)
    dq = np.zeros(told.shape, np.uint16)
    dq[3, 5, 6] = 128
    dataset = frames(told, dq=dq, ISPC=0)
    build_photon_counted_dark(dataset, None, None, True, camera=COUNTS)
    assert [str(each.message) for each in recwarn] == []


def test_darks_of_sums_and_of_both_kinds(darks: Array, lit: Array) -> None:
    told, seen_by = as_told(lit[0], 20, "share")
    with pytest.raises(InputError, match="a dark is made of single frames"):
        build_photon_counted_dark(told, None, None, True, camera=seen_by)
    only = camera(keyword="PCFRAME", values=(True,))
    some = frames(darks[:5])
    some[2].ext_hdr["PCFRAME"] = True
    with pytest.raises(InputError, match=r"frame_0002_l2a\.fits: holds counts above 550"):
        build_photon_counted_dark(some, None, None, True, camera=only)
    with pytest.raises(InputError, match="no samples: give the frames from before"):
        build_trad_dark(frames(darks[:5]), None, None, True, camera=COUNTS)


# Files, the command, the library


CAMERA_FILE = """
name = "excam"
like = "excam"
telemetry_rows = []
[geometry.SCI]
frame_rows = {rows}
frame_cols = {cols}
image = {{ rows = {rows}, cols = {cols}, r0c0 = [0, 0] }}
[counting]
threshold = 550.0
keyword = "PCFRAME"
values = [true]
"""


@pytest.fixture
def night(tmp_path: Path, darks: Array, lit: Array) -> Path:
    """Counted darks and frames in files, and their camera."""
    (tmp_path / "mine.toml").write_text(CAMERA_FILE.format(rows=ROWS, cols=COLS))
    for name, data in (("darks", darks[:60]), ("lit", lit[:50])):
        (tmp_path / name).mkdir()
        frames(data, dq=np.zeros(data.shape, np.uint16), PCFRAME=True).save(str(tmp_path / name))
    return tmp_path


def files(folder: Path) -> Dataset:
    return Dataset(sorted(str(path) for path in folder.glob("*.fits")))


def test_commands_from_counts_to_photoelectrons(night: Path, darks: Array, lit: Array) -> None:
    seen_by = "--camera", "mine.toml"
    made = run_command(
        night, "dark", "darks", *seen_by, "--photon-counting", "--full-frame", "-o", "dark.fits"
    )
    assert made.returncode == 0, made.stderr
    less = run_command(
        night, "subtract", "lit", *seen_by, "--dark", "dark.fits", "-o", "less", "--json"
    )
    assert less.returncode == 0, less.stderr
    told = json.loads(less.stdout)
    assert (told["frames"], told["counted_frames"], told["unit"]) == (1, 50, "photoelectron")
    (expected,) = subtract_dark(frames(lit[:50]), dark_of(darks[:60]), camera=COUNTS)
    found = Image(str(night / "less" / "frame_0049_l2a.fits"))
    np.testing.assert_allclose(found.data, expected.data, atol=1e-7)
    np.testing.assert_allclose(found.err, expected.err, rtol=1e-6)
    np.testing.assert_array_equal(found.dq, expected.dq)
    shown = run_command(night, "cameras", "mine.toml", "lit/frame_0000_l2a.fits", "--json")
    assert "counts above 550 EM electrons" in shown.stdout
    again = run_command(night, "subtract", "less", *seen_by, "--dark", "dark.fits", "-o", "x")
    assert again.returncode == 1
    assert "subtracted from it already" in again.stderr
    wrong = run_command(night, "subtract", "lit", *seen_by, "--dark", "lit/frame_0000_l2a.fits",
                        "-o", "x")  # fmt: skip
    assert wrong.returncode == 1


def test_files_memory_and_pickles(night: Path, lit: Array, darks: Array) -> None:
    dark = dark_of(darks)
    (one,) = subtract_dark(frames(lit[:50]), dark, camera=COUNTS)
    (less,) = subtract_dark(files(night / "lit"), dark, camera=COUNTS)
    np.testing.assert_array_equal(less.data, one.data)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(less)).data, one.data)
    with pytest.raises(InputError, match="is one of the frames"):
        save_subtracted(Dataset([less]), night / "lit", overwrite=True)


@pytest.mark.filterwarnings("ignore:.*The dark is made of only 9 frames")
@pytest.mark.filterwarnings("ignore:some_dnm_cal")
def test_the_library_gives_counted_frames_their_dark(
    night: Path, darks: Array, lit: Array, tmp_path: Path
) -> None:
    library = Library.init(tmp_path / "library")
    seen_by = load_camera(str(night / "mine.toml"))
    plain = build_trad_dark(frames(samples(DARK, 9, 3)), None, None, True, camera=SAMPLES)
    for name, dark in (("plain", plain), ("counted", dark_of(darks)), ("low", dark_of(darks))):
        if name == "low":
            dark.ext_hdr["PCTHRESH"] = 500.0
        dark.save(tmp_path, f"{name}_drk_cal.fits")
        entry = library.add(tmp_path / f"{name}_drk_cal.fits", camera=seen_by, accept="made up")
        library.certify(entry.id)
    analog = frames(samples(DARK, 2, 4))
    for frame in analog:
        frame.filename = f"analog_{frame.filename}"
    both = Dataset([*analog, *files(night / "lit")])
    found = subtract_by_library(library, both, camera=seen_by, days=1e6)
    assert [share.dark.name for share in found.shares] == [
        "plain_drk_cal.fits",
        "counted_drk_cal.fits",
    ]
    written = found.save(tmp_path / "less")
    assert len(written) == 3
    (one,) = subtract_dark(frames(lit[:50]), dark_of(darks), camera=COUNTS)
    np.testing.assert_allclose(Image(str(written[-1])).data, one.data, atol=1e-7)
    library.reject(2, "none")
    (match, *_) = library.find(files(night / "lit"), camera=seen_by, days=1e6)
    assert match.entry is None
    assert "counted above 500 EM electrons, the frame above 550" in match.missing
    assert "--photon-counting --threshold 550 --add DIR" in match.missing
    # Maps make one of any threshold.
    maps_of(np.zeros(SHAPE), DARK, np.zeros(SHAPE)).save(tmp_path, "some_dnm_cal.fits")
    library.certify(library.add(tmp_path / "some_dnm_cal.fits", camera=seen_by, accept="so").id)
    found = subtract_by_library(library, files(night / "lit"), camera=seen_by)
    assert [share.dark.name for share in found.shares] == ["some_dnm_cal.fits"]
    (frame,) = next(iter(found))
    assert abs(frame.data[LIGHT == 0].mean()) < 0.003
    assert "From the library, dark: product 4" in history(frame)
