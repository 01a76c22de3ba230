"""Noise maps by the counting estimator: options, sums from files, and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from campaigns import COLS, REGIONS, ROWS, params
from emdarks import Dataset, calibrate_darks_lsq
from emdarks.accumulate import Checkpoint, Threads
from emdarks.data import Image
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fit.read_noise import read_noise_of
from emdarks.frames import flagging_level, frame_inputs

NOISE, SATURATED = 150.0, 8000.0  # e-, DN
GAINS, TIMES, FRAMES = (2.0, 50.0, 600.0, 4000.0), (2.0, 100.0), 24
K_GAIN = 8.7
F, C, D = 5.0, 0.02, 0.002


def planes(gain: float, time: float, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """A frame in DN, its errors and flags; rays of 30 e- in one sample of a thousand."""
    row0, col0 = REGIONS["SCI"]["image"]["r0c0"]
    rows, cols = REGIONS["SCI"]["image"]["rows"], REGIONS["SCI"]["image"]["cols"]
    charge = np.full((ROWS, COLS), C)
    charge[row0 : row0 + rows, col0 : col0 + cols] += time * D
    electrons = rng.poisson(charge) + 30 * (rng.random(charge.shape) < 1e-3)
    x = F + rng.normal(0, NOISE, charge.shape)
    x[electrons > 0] += gain * rng.standard_gamma(electrons[electrons > 0])
    data = (x / K_GAIN).astype(np.float32)
    return data, np.zeros_like(data), np.where(data >= SATURATED, 32, 0).astype(np.uint16)


def header(gain: float, time: float, card: bool = True) -> fits.Header:
    found = fits.Header()
    found["EXPTIME"], found["EMGAIN_C"], found["KGAINPAR"] = time, gain, K_GAIN
    found["BUNIT"] = "DN"
    if card:
        found["SAT_DN"], found["RN"] = SATURATED, NOISE
    return found


def settings() -> list[tuple[float, float]]:
    return [(gain, time) for gain in GAINS for time in TIMES for _ in range(FRAMES)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder, rng = tmp_path_factory.mktemp("frames"), np.random.default_rng(5)
    paths = []
    for i, (gain, time) in enumerate(settings()):
        data, err, dq = planes(gain, time, rng)
        hdus = [fits.PrimaryHDU(), fits.ImageHDU(data, header(gain, time))]
        hdus += [fits.ImageHDU(err, name="ERR"), fits.ImageHDU(dq, name="DQ")]
        paths.append(str(folder / f"f{i:03d}_l2a.fits"))
        fits.HDUList(hdus).writeto(paths[-1])
    return paths


def maps(dataset: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        arguments = {"weighting": True} | options
        return calibrate_darks_lsq(dataset, params(), detector_regions=REGIONS, **arguments)


def means(product: Any) -> Any:
    row0, col0 = REGIONS["SCI"]["image"]["r0c0"]
    signed = product.extra("SIGNED")[:, row0 : row0 + 17, col0 : col0 + 15]
    return np.nanmean(signed, axis=(1, 2))


def test_right_under_rays(files: list[str]) -> None:
    counted = maps(Dataset(files), estimator="counting")
    usual = maps(Dataset(files))
    assert counted.ext_hdr["ESTIMATR"] == "counting"
    off = means(counted) - [F, C, D]
    errors = [np.nanmean(x.err[0], axis=(1, 2)) for x in (counted, usual)]
    assert (np.abs(off) < 5 * errors[0] / np.sqrt(255)).all()
    assert (errors[0][:2] < 0.9 * errors[1][:2]).all()


def test_beside_the_imaging_area_means_are_fitted(files: list[str]) -> None:
    """No charge is there to be counted: the maps, and the bias offset, are the pooled ones."""
    counted, usual = maps(Dataset(files), estimator="counting"), maps(Dataset(files))
    for keyword in ("B_O", "B_O_ERR"):
        assert counted.ext_hdr[keyword] == usual.ext_hdr[keyword]
    prescan = np.s_[:, :, :16]
    for found, expected in (
        (counted.extra("SIGNED"), usual.extra("SIGNED")),
        (counted.err[0], usual.err[0]),
    ):
        np.testing.assert_array_equal(found[prescan], expected[prescan])
    assert (means(counted) != means(usual)).all()


def test_who_computes_changes_no_bit(files: list[str], tmp_path: Path) -> None:
    first = maps(Dataset(files), estimator="counting", executor=Threads(1))
    others = [
        maps(Dataset([Image(path) for path in files]), estimator="counting", executor=Threads(3)),
        *(
            maps(Dataset(files), estimator="counting", executor=Checkpoint(Threads(2), tmp_path))
            for _ in range(2)
        ),
    ]
    for other in others:
        for plane in ("data", "err", "dq"):
            assert getattr(first, plane).tobytes() == getattr(other, plane).tobytes()
    # Pooled sums of the same frames are other sums.
    blocks = len(list(tmp_path.glob("*.block.npz")))
    maps(Dataset(files), executor=Checkpoint(Threads(2), tmp_path))
    assert len(list(tmp_path.glob("*.block.npz"))) == 2 * blocks


def test_fitted_gains_are_used_on_request(files: list[str]) -> None:
    usual, fitted = (
        maps(Dataset(files), estimator="counting", gain=gain) for gain in ("header", "fitted")
    )
    assert usual.data.tobytes() != fitted.data.tobytes()
    assert means(fitted)[1:] == pytest.approx(means(usual)[1:], rel=0.2)


def frame(card: bool = True, **cards: Any) -> Image:
    own = header(600.0, 2.0, card)
    own.update(cards)
    return Image(np.zeros((ROWS, COLS), np.float32), fits.Header(), own)


def test_flagging_level_of_a_frame() -> None:
    from emdarks.cameras import load_camera

    def level(image: Image) -> float:
        (item,) = frame_inputs(Dataset([image]), load_camera("excam").fitted_to((ROWS, COLS)))
        return flagging_level(item)

    assert level(frame()) == SATURATED
    assert level(frame(card=False)) == np.inf
    searched = frame()
    searched.ext_hdr["HISTORY"] = "Cosmic ray threshold of 7126.436781609195 used."
    assert level(searched) == 7126.436781609195
    searched.ext_hdr["SAT_DN"] = 5000.0
    assert level(searched) == 5000.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": False}, "weighting=False is not for the counting estimator"),
        ({"screen": True}, "screen is not for the counting estimator"),
        ({"model": "level"}, "the model 'level' is not for the counting estimator"),
        ({"gain_error": 0.1}, "gain_error is not for the counting estimator"),
        ({"flag_level": -1.0}, "flag_level is -1.0"),
        ({"read_noise": "x"}, "read_noise is 'x'"),
        ({"gain": "true"}, "gain is 'true'; it must be one of header, fitted"),
        ({"flag_level": 20_000.0}, "EM gain 4000: samples are flagged from 20000 e-"),
    ],
)
def test_refusals(files: list[str], options: dict[str, Any], message: str) -> None:
    arguments = {"estimator": "counting"} | options
    with pytest.raises(InputError, match=message):
        maps(Dataset(files), **arguments)


def test_its_options_are_for_it_alone(files: list[str]) -> None:
    for options in ({"flag_level": 1e5}, {"read_noise": 100.0}, {"gain": "fitted"}):
        with pytest.raises(InputError, match="for the counting estimator only"):
            maps(Dataset(files), **options)


def said(paths: list[str], **options: Any) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calibrate_darks_lsq(
            Dataset(paths), params(), True, REGIONS, estimator="counting", **options
        )
    return "\n".join(str(each.message) for each in caught)


def test_what_the_frames_do_not_tell_is_said(files: list[str]) -> None:
    assert "EM electrons, not 180; the fit takes theirs" in said(files, read_noise=180.0)
    high = [path for path, (gain, _) in zip(files, settings(), strict=True) if gain > 500]
    text = said(high)
    assert "no stack has an EM gain below 2 read noises" in text
    assert "EM electrons, not" not in text


def test_read_noise_of_a_histogram() -> None:
    from emdarks.counting_sums import HistogramBins

    rng, bins = np.random.default_rng(1), HistogramBins.of(0.0, 120.0)
    x = rng.normal(7.0, 100.0, 400_000) + np.where(rng.random(400_000) < 0.01, 5000.0, 0)
    counts = np.histogram(x, bins.edges)[0]
    assert read_noise_of(counts, bins) == pytest.approx(100.0, rel=0.005)
    assert read_noise_of(counts, bins, 60.0**2) == pytest.approx(80.0, rel=0.01)
    assert np.isnan(read_noise_of(np.zeros(192), bins))
