"""The reference implementation's own results on a small campaign.

One test for each row of the campaign's table of expectations, through files and
through arrays in memory. The last row is telemetry and compared nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from emdarks.darks import (
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    mean_combine,
)
from emdarks.data import Dataset, DetectorNoiseMaps

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
SIGNAL = slice(0, -1)
STACKS = [(1.0, 2.0), (200.0, 60.0)]
AREAS = [(True, "full"), (False, "image")]


def stack(dataset: Dataset, gain: float, time: float) -> Dataset:
    datasets, pairs = dataset.split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])
    return datasets[pairs.index((gain, time))]


def rows(full: bool) -> slice:
    return SIGNAL if full else slice(None)


@pytest.mark.parametrize(("weighting", "name"), [(True, "weighted"), (False, "unweighted")])
def test_noise_maps_are_the_mended_reference(
    golden_dataset: Dataset, golden_params: Any, golden_regions: Any, weighting: bool, name: str
) -> None:
    maps = calibrate_darks_lsq(
        golden_dataset, golden_params, weighting, golden_regions, estimator="reference"
    )
    expected = np.load(GOLDEN / f"expected_noisemaps_{name}_mended.npz")
    signed = maps.extra("SIGNED").astype(float)
    imaging = np.zeros(signed.shape[1:], bool)
    imaging[:51, 54:107] = True
    for mine, theirs in (
        (maps.data, expected["maps"]),
        (maps.err[0], expected["err"].reshape(maps.data.shape)),
        (signed[:2], expected["signed"][:2]),
        (signed[2] * imaging, expected["signed"][2] * imaging),
    ):
        np.testing.assert_allclose(mine[..., SIGNAL, :], theirs[..., SIGNAL, :], rtol=1e-6)
    for plane in maps.dq:
        np.testing.assert_array_equal(plane[SIGNAL], expected["dq"][SIGNAL])
    assert maps.bias_offset == pytest.approx(float(expected["B_O"]), rel=1e-6)
    assert maps.bias_offset_err == pytest.approx(float(expected["B_O_ERR"]), rel=1e-6)


@pytest.mark.parametrize("name", ["weighted", "unweighted"])
def test_noise_maps_equal_the_reference_where_it_has_no_defect(
    golden_dataset: Dataset, golden_params: Any, golden_regions: Any, name: str
) -> None:
    maps = calibrate_darks_lsq(
        golden_dataset, golden_params, name == "weighted", golden_regions, estimator="reference"
    )
    with fits.open(GOLDEN / f"expected_noisemaps_{name}.fits") as hdus:
        theirs, err = hdus[1].data, hdus["ERR"].data[0]
        dq = hdus["DQ"].data
        offset = hdus[1].header["B_O"]
    # Masked in the whole of one, two or three stacks, or in every frame (defect B4).
    known = [(8, 58), (11, 61), (12, 62), (5, 60), (20, 70), (30, 72)]
    usable = np.ones(theirs.shape[1:], bool)
    usable[tuple(np.transpose(known))] = False
    usable[-1] = False
    np.testing.assert_allclose(maps.data[:, usable], theirs[:, usable], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(maps.err[0][:, usable], err[:, usable], rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(maps.dq[:, SIGNAL], dq[:, SIGNAL])
    assert maps.bias_offset == pytest.approx(offset, abs=1e-5)


@pytest.mark.parametrize(("gain", "time"), STACKS)
@pytest.mark.parametrize(("full", "area"), AREAS)
def test_traditional_dark(
    golden_dataset: Dataset,
    golden_params: Any,
    golden_regions: Any,
    gain: float,
    time: float,
    full: bool,
    area: str,
) -> None:
    frames = stack(golden_dataset, gain, time)
    dark = build_trad_dark(
        frames, golden_params, golden_regions, full_frame=full, estimator="reference"
    )
    with fits.open(GOLDEN / f"expected_trad_dark_g{gain:g}_t{time:g}_{area}.fits") as hdus:
        cut = rows(full)
        np.testing.assert_allclose(dark.data[cut], hdus[1].data[cut], rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(dark.dq[cut], hdus["DQ"].data[cut])
        np.testing.assert_allclose(
            dark.err[0][cut], hdus["ERR"].data[0][cut], rtol=1e-12, atol=1e-12
        )
        for key in ("EXPTIME", "EMGAIN_C", "KGAINPAR", "BUNIT", "DATATYPE", "PC_STAT", "IS_SYNTH"):
            assert dark.ext_hdr[key] == hdus[1].header[key], key
        ours, theirs = set(dark.ext_hdr), set(hdus[1].header)
        assert {
            key for key in theirs - ours if not key.startswith(("NAXIS", "B", "PC", "GC", "XT"))
        } == set()


@pytest.mark.parametrize(("gain", "time"), STACKS)
@pytest.mark.parametrize(("full", "area"), AREAS)
def test_synthesised_dark(
    golden_dataset: Dataset, golden_regions: Any, gain: float, time: float, full: bool, area: str
) -> None:
    maps = DetectorNoiseMaps(GOLDEN / "expected_noisemaps_weighted.fits")
    dark = build_synthesized_dark(
        stack(golden_dataset, gain, time), maps, golden_regions, full_frame=full
    )
    with fits.open(GOLDEN / f"expected_synth_dark_g{gain:g}_t{time:g}_{area}.fits") as hdus:
        cut = rows(full)
        np.testing.assert_allclose(dark.data[cut], hdus[1].data[cut], rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(
            dark.err[0][cut], hdus["ERR"].data[0][cut], rtol=1e-6, atol=1e-12
        )
        np.testing.assert_array_equal(dark.dq[cut], hdus["DQ"].data[cut])
        assert dark.filename.endswith("_drk_cal.fits")
        assert dark.ext_hdr["KGAINPAR"] == 8.7  # -999 in the reference's, which matches nothing


@pytest.mark.parametrize(("gain", "time"), STACKS)
@pytest.mark.parametrize("as_list", [False, True])
def test_mean_combine(golden_dataset: Dataset, gain: float, time: float, as_list: bool) -> None:
    frames = stack(golden_dataset, gain, time)
    expected = np.load(GOLDEN / f"expected_mean_combine_g{gain:g}_t{time:g}.npz")
    first: Any = frames
    second: Any = frames
    bad = None
    if as_list:
        first = [frame.data for frame in frames]
        second = [frame.err[0] for frame in frames]
        bad = [(frame.dq > 0).astype(int) for frame in frames]
    image, bpmap, count, enough = mean_combine(first, bad)
    err = mean_combine(second, bad, err=True)[0]
    np.testing.assert_allclose(image, expected["image"], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(bpmap, expected["bpmap"])
    np.testing.assert_array_equal(count, expected["map_im"])
    assert enough == bool(expected["enough_for_rn"])
    np.testing.assert_allclose(err, expected["err"], rtol=1e-12, atol=1e-12)


def test_the_reference_reads_what_we_write(
    golden_dataset: Dataset, golden_params: Any, golden_regions: Any, tmp_path: Path
) -> None:
    """The product has every card and HDU that the reference's own product has."""
    maps = calibrate_darks_lsq(golden_dataset, golden_params, True, golden_regions)
    maps.save(tmp_path)
    with (
        fits.open(GOLDEN / "expected_noisemaps_weighted.fits") as theirs,
        fits.open(tmp_path / maps.filename, checksum=True) as ours,
    ):
        assert maps.filename == "cgi_0089001001001001035_20260101t0035000_dnm_cal.fits"
        assert ours[0].header["FILENAME"] == maps.filename
        assert [hdu.name for hdu in ours][:4] == [hdu.name for hdu in theirs]
        for i in range(1, 4):
            assert ours[i].shape == theirs[i].shape
        assert [ours[i].header["BITPIX"] for i in (1, 2, 3)] == [-32, -32, 16]
        assert ours["DQ"].header["BZERO"] == 32768
        for i in range(4):
            volatile = ("BITPIX", "BZERO", "BSCALE")
            assert {k for k in theirs[i].header if k not in volatile} <= set(ours[i].header)
        text = "".join(str(line) for line in ours[1].header["HISTORY"])
        assert "DetectorNoiseMaps" in text
        assert "[2.0, 1.0, 5.9" in text
        for key in ("EXPTIME", "EMGAIN_C", "EMGAIN_A", "KGAINPAR"):
            assert ours[1].header[key] == -999.0
        assert ours[1].header["DRPNFILE"] == 36
        names = [ours[1].header[f"FILE{i}"] for i in range(36)]
        assert names == [Path(name).name for name in names]
        assert names == sorted(names)
