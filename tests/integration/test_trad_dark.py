"""build_trad_dark: errors, units, flags, headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import COLS, REGIONS, ROWS, Campaign, frame_hdus, params
from emdarks.darks import build_trad_dark
from emdarks.data import Dark, Dataset, Image
from emdarks.errors import EmdarksWarning, InputError


def dark(dataset: Any, **options: Any) -> Dark:
    return build_trad_dark(dataset, params(), REGIONS, True, **options)


def stack(
    rng: np.random.Generator, frames: int = 5, unit: str = "detected electron", **options: Any
) -> Dataset:
    images = []
    for number in range(frames):
        data = rng.normal(3.0, 10.0, (ROWS, COLS))
        dq = np.where(rng.random((ROWS, COLS)) < 0.1, 128, 0).astype(np.uint16)
        dq[4, 19] = 4 if number else 132
        dq[5, 20] = 0 if number == 2 else 8
        err = rng.uniform(1, 2, (1, ROWS, COLS))
        hdus = frame_hdus(data, number=number, unit=unit, **options)
        images.append(Image(data, hdus[0].header, hdus[1].header, err=err, dq=dq))
        images[-1].filename = f"d{number}_l2a.fits"
    return Dataset(images)


def masked(dataset: Dataset) -> tuple[Any, Any]:
    bad = np.array([frame.dq > 0 for frame in dataset])
    data = np.ma.masked_array([frame.data for frame in dataset], bad)
    err = np.ma.masked_array([frame.err[0] for frame in dataset], bad)
    return data, err


def test_sample_errors_by_formula(rng: np.random.Generator) -> None:
    dataset = stack(rng)
    product = dark(dataset)
    data, err = masked(dataset)
    n = data.count(axis=0)
    expected = np.ma.sqrt((err**2).sum(axis=0) / n**2 + data.var(axis=0, ddof=1) / n)
    many = n > 1
    many[-1] = False
    np.testing.assert_allclose(product.data[many], data.mean(axis=0)[many], atol=1e-12)
    np.testing.assert_allclose(product.err[0][many], expected[many], rtol=1e-10)


def test_a_pixel_good_once_takes_the_scatter_of_its_region(rng: np.random.Generator) -> None:
    dataset = stack(rng)
    product = dark(dataset)
    data, err = masked(dataset)
    n = data.count(axis=0)
    region = np.zeros((ROWS, COLS), bool)
    region[0:20, 16:34] = True
    use = region & (n > 1)
    use[-1] = False
    deviations = ((data - data.mean(axis=0)) ** 2).sum(axis=0)
    pooled = deviations[use].sum() / (n[use] - 1).sum()
    assert n[5, 20] == 1
    only = float(err[:, 5, 20].compressed()[0])
    assert product.err[0][5, 20] == pytest.approx(np.sqrt(only**2 + pooled), rel=1e-10)


def test_reference_errors_by_formula(rng: np.random.Generator) -> None:
    dataset = stack(rng)
    product = dark(dataset, estimator="reference")
    data, err = masked(dataset)
    n = data.count(axis=0)
    expected = np.ma.sqrt((err**2).sum(axis=0) / n + data.var(axis=0) / n)
    many = n > 1
    many[-1] = False
    np.testing.assert_allclose(product.err[0][many], expected[many], rtol=1e-10)
    first = np.unravel_index(np.argmax(n == n.max()), n.shape)
    only = float(err[:, 5, 20].compressed()[0])
    single = np.sqrt(only**2 + data.var(axis=0)[first])
    assert product.err[0][5, 20] == pytest.approx(single, rel=1e-10)


@pytest.mark.parametrize(("estimator", "error"), [("sample", np.nan), ("reference", 0.0)])
def test_a_pixel_bad_in_every_frame(rng: np.random.Generator, estimator: str, error: float) -> None:
    product = dark(stack(rng), estimator=estimator)
    assert product.data[4, 19] == 0
    np.testing.assert_equal(product.err[0][4, 19], error)
    assert product.dq[4, 19] == 132
    others = product.dq.copy()
    others[4, 19] = others[-1] = 0
    assert not others.any()


def test_telemetry_rows_are_nan_with_flag_1(rng: np.random.Generator) -> None:
    product = dark(stack(rng))
    assert np.isnan(product.data[-1]).all()
    assert np.isnan(product.err[0, -1]).all()
    assert (product.dq[-1] == 1).all()


def test_the_image_region_is_cut_out(rng: np.random.Generator) -> None:
    dataset = stack(rng)
    full, image = dark(dataset), build_trad_dark(dataset, params(), REGIONS)
    assert image.data.shape == (17, 15)
    np.testing.assert_array_equal(image.data, full.data[2:19, 18:33])
    np.testing.assert_array_equal(image.err[0], full.err[0][2:19, 18:33])
    assert image.ext_hdr["DRPNFILE"] == full.ext_hdr["DRPNFILE"] == 5


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("DN", 8.7 / 40), ("detected EM electron", 1 / 40), ("photoelectron", 1.0)],
)
def test_units_become_detected_electrons(
    rng: np.random.Generator, unit: str, factor: float
) -> None:
    dataset = stack(rng, unit=unit, gain=40.0)
    product = dark(dataset)
    data, _ = masked(dataset)
    many = data.count(axis=0) > 1
    many[-1] = False
    np.testing.assert_allclose(product.data[many], factor * data.mean(axis=0)[many], atol=1e-12)
    assert product.ext_hdr["BUNIT"] == "detected electron"
    assert product.ext_hdr["EMGAIN_C"] == 40.0


def test_an_unknown_unit_is_taken_as_detected_electrons(rng: np.random.Generator) -> None:
    with pytest.warns(EmdarksWarning, match="traditional darks and what subtracts"):
        dark(stack(rng, unit="parsec"))


def test_a_nan_pixel_is_masked_not_spread(rng: np.random.Generator) -> None:
    dataset = stack(rng)
    dataset[1].data[6, 7] = np.nan
    dataset[0].dq[6, 7] = dataset[1].dq[6, 7] = 0
    product = dark(dataset)
    assert np.isfinite(product.data[6, 7])
    others = [frame.data[6, 7] for frame in dataset if frame.dq[6, 7] == 0]
    assert product.data[6, 7] == pytest.approx(np.nanmean(others), rel=1e-12)


def test_one_frame_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="is the only frame"):
        dark(stack(rng, frames=1))


def test_two_stacks_are_refused_by_name(quirky: Campaign) -> None:
    with pytest.raises(InputError, match=r"these are 5 stacks.*EM gain 40"):
        dark(quirky.files())


def test_headers(rng: np.random.Generator, tmp_path: Path) -> None:
    product = dark(stack(rng))
    ext = product.ext_hdr
    assert (ext["DATATYPE"], ext["PC_STAT"], ext["IS_SYNTH"]) == ("Dark", "analog master dark", 0)
    assert (ext["EXPTIME"], ext["EMGAIN_C"], ext["KGAINPAR"]) == (1.0, 1.0, 8.7)
    assert product.pri_hdr["OBSNUM"] == "001"
    assert product.pri_hdr["VISTYPE"] == "-999"
    history = " ".join(str(line) for line in ext["HISTORY"])
    assert "exptime = 1.0 s and commanded EM gain = 1.0 created from 5" in history
    assert "raditional" in history
    assert product.filename == "d4_drk_cal.fits"
    assert product.err_hdr["LAYER_1"] == "combined_error"


def test_a_second_dark_has_the_same_cards(rng: np.random.Generator) -> None:
    """The reference loses ten keywords for every product after the first."""
    dataset = stack(rng)
    assert set(dark(dataset).ext_hdr) == set(dark(dataset).ext_hdr)
    assert "EXPTIME" in dark(dataset).ext_hdr


def test_honest_error_of_the_mean(rng: np.random.Generator) -> None:
    """Pulls of the mean against the true level have unit scatter."""
    images = []
    for number in range(30):
        data = rng.normal(3.0, 10.0, (ROWS, COLS))
        hdus = frame_hdus(data, number=number, unit="detected electron")
        dq = np.zeros((ROWS, COLS), np.uint16)
        dq[0, 20] = 128 if number == 0 else 0
        images.append(Image(data, hdus[0].header, hdus[1].header, dq=dq))
    product = dark(Dataset(images))
    pulls = ((product.data - 3.0) / product.err[0])[:-1]
    # 814 pulls of a t law with 29 degrees of freedom: std 1.035 +- 0.027.
    assert abs(pulls.std() - 1.035) < 0.11
    assert abs(pulls.mean()) < 0.15


@pytest.mark.parametrize(("gain", "frames"), [(5000.0, 5), (200.0, 8), (1.0, 4)])
def test_pooled_errors_are_honest_for_few_skewed_samples(gain: float, frames: int) -> None:
    """Register noise makes sample variances of few frames useless; pooled ones hold."""
    rng = np.random.default_rng(5)
    shape = (ROWS, COLS)
    lam = 0.02 + 60 * rng.gamma(4, 2e-4, shape)
    images = []
    for number in range(frames):
        electrons = rng.poisson(lam)
        signal = np.where(electrons > 0, rng.gamma(np.maximum(electrons, 1e-9), gain), 0.0)
        data = (signal + rng.normal(0, 120, shape)) / gain
        hdus = frame_hdus(data, gain=gain, number=number, unit="detected electron")
        dq = np.zeros(shape, np.uint16)
        dq[0, 20] = 128 if number == 0 else 0
        images.append(Image(data, hdus[0].header, hdus[1].header, dq=dq))
    pulls = {
        name: ((p := dark(Dataset(images), estimator=name)).data - lam)[:-1] / p.err[0][:-1]
        for name in ("pooled", "sample")
    }
    # 814 pulls of skewed samples.
    assert abs(pulls["pooled"].std() - 1) < 0.12
    assert pulls["pooled"].std() < pulls["sample"].std()


def test_the_dark_is_matched_by_the_commanded_gain(rng: np.random.Generator) -> None:
    """It is computed with the measured one."""
    dataset = stack(rng, unit="detected EM electron", gain=40.0)
    plain = dark(dataset)
    for frame in dataset:
        frame.ext_hdr["EMGAIN_M"] = 50.0
    measured = dark(dataset)
    assert measured.ext_hdr["EMGAIN_C"] == 40.0
    np.testing.assert_allclose(measured.data[:-1], plain.data[:-1] * 40 / 50, atol=1e-12)
    assert "EM gain used 50" in " ".join(str(line) for line in measured.ext_hdr["HISTORY"])


def test_files_of_one_name_in_two_folders_are_two_inputs(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for frame in stack(rng, frames=2):
            frame.save(tmp_path / folder)
            paths.append(tmp_path / folder / frame.filename)
    header = dark(Dataset(paths)).ext_hdr
    assert header["DRPNFILE"] == 4
    assert [header[f"FILE{i}"] for i in range(4)] == [path.name for path in paths]
