"""Photon-counted darks of the frames of its mocks, by both, and in its steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corgidrp import data, l2a_to_l2b, mocks
from corgidrp.photon_counting import get_pc_mean

import emdarks
from emdarks.data import Dark, DetectorParams

pytestmark = pytest.mark.filterwarnings("ignore")
BIAS, K, SIDE = 20000.0, 7.0, 50
#: A frame that is all image, without telemetry rows.
WHOLE: dict[str, Any] = {
    "SCI": {
        "frame_rows": SIDE,
        "frame_cols": SIDE,
        "image": {"rows": SIDE, "cols": SIDE, "r0c0": [0, 0]},
    }
}


@pytest.fixture(scope="module")
def counted() -> dict[str, Any]:
    """Illuminated frames and darks in EM electrons, and what was simulated."""
    np.random.seed(19)  # noqa: NPY002  # its mocks draw from it
    light, dark, with_light, without = mocks.create_photon_countable_frames(
        Nbrights=60, Ndarks=80, full_frame=False, smear=False
    )
    for frame in (*light, *dark):
        frame.data = frame.data * K - BIAS
        frame.ext_hdr.update({"RN": 100.0, "DATALVL": "L2a", "BUNIT": "detected EM electron"})
        frame.ext_hdr["HISTORY"] = ""
    light, dark = data.Dataset(light.frames), data.Dataset(dark.frames)
    dark.all_dq[:40, 3, 3] = 1
    return {"light": light, "dark": dark, "rate": with_light - without}


def our_dark(counted: dict[str, Any], folder: Path, estimator: str) -> data.Dark:
    """Ours, saved, opened by its class."""
    made = emdarks.build_photon_counted_dark(
        counted["dark"], DetectorParams({"TELRSTRT": None}), WHOLE, True, estimator=estimator
    )
    made.save(str(folder), "dark.fits")
    return data.Dark(str(folder / "dark.fits"))


def test_reference(counted: dict[str, Any], tmp_path: Path) -> None:
    """build_photon_counted_dark, estimator="reference": rates, errors, flags of get_pc_mean"""
    its = get_pc_mean(counted["dark"].copy(), inputmode="darks")
    our = our_dark(counted, tmp_path, "reference")
    np.testing.assert_allclose(our.data, its.data, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(our.err, its.err, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(our.dq, its.dq)
    for card in "PC_STAT", "PCTHRESH", "NUM_FR":
        assert our.ext_hdr[card] == its.ext_hdr[card], card


@pytest.mark.parametrize("estimator", ["law", "reference"])
def test_subtracted(counted: dict[str, Any], tmp_path: Path, estimator: str) -> None:
    """get_pc_mean of illuminated frames with our photon-counted dark: the simulated rate"""
    dark = our_dark(counted, tmp_path, estimator)
    done = get_pc_mean(counted["light"].copy(), pc_master_dark=dark)
    assert np.mean(done.all_data) == pytest.approx(counted["rate"], rel=0.03)
    assert "yes" in str(done[0].ext_hdr["HISTORY"])


def test_passed_on(counted: dict[str, Any], tmp_path: Path) -> None:
    """dark_subtraction of photon-counting frames with it: passed on as they are"""
    frames = counted["light"].copy()
    done = l2a_to_l2b.dark_subtraction(frames, dark=our_dark(counted, tmp_path, "law"))
    np.testing.assert_array_equal(done.all_data, frames.all_data)


def test_opened(counted: dict[str, Any], tmp_path: Path) -> None:
    """Its own photon-counted dark, saved, opened by our class: photon-counted, its threshold"""
    its = get_pc_mean(counted["dark"].copy(), inputmode="darks")
    its.save(str(tmp_path), "its.fits")
    our = Dark(tmp_path / "its.fits")
    assert our.photon_counted
    assert our.threshold == its.ext_hdr["PCTHRESH"] == 500
    np.testing.assert_array_equal(our.data, its.data.astype("f4"))


@pytest.mark.parametrize("estimator", ["law", "reference"])
def test_its_counted_frames(counted: dict[str, Any], tmp_path: Path, estimator: str) -> None:
    """get_pc_mean of illuminated frames, saved: subtract_dark with our dark, as it subtracts it"""
    dark = our_dark(counted, tmp_path, estimator)
    (mean,) = get_pc_mean(counted["light"].copy())
    mean.save(str(tmp_path), "its_mean.fits")
    done = get_pc_mean(counted["light"].copy(), pc_master_dark=dark)[0]
    (our,) = emdarks.subtract_dark(
        emdarks.Dataset([str(tmp_path / "its_mean.fits")]),
        str(tmp_path / "dark.fits"),
        DetectorParams({"TELRSTRT": None}),
        WHOLE,
        camera="excam",
    )
    assert (our.ext_hdr["PCTHRESH"], our.ext_hdr["NUM_FR"]) == (500.0, 60)
    assert our.ext_hdr["BUNIT"] == done.ext_hdr["BUNIT"] == "photoelectron"
    assert our.data.mean() == pytest.approx(counted["rate"], rel=0.03)
    if estimator == "reference":
        # It sets what is negative to 0.
        np.testing.assert_allclose(np.maximum(our.data, 0.0), done.data, rtol=1e-5, atol=1e-6)
        # Where it counted nothing, its error is 0, and ours that of such counts.
        known = mean.err > 0
        np.testing.assert_allclose(our.err[known], done.err[known], rtol=1e-5)
        assert (our.err[~known] > done.err[~known]).all()
        assert 0 < (~known).sum() < 200
        np.testing.assert_array_equal(our.dq, done.dq)
    else:
        # The law has a register of stages; and it takes false counts off.
        assert np.corrcoef(our.data.ravel(), done.data.ravel())[0, 1] > 0.99


def test_its_counted_frames_and_other_darks(counted: dict[str, Any], tmp_path: Path) -> None:
    """The same with a dark of means, and its dark of them with samples: refused by both names"""
    (mean,) = get_pc_mean(counted["light"].copy())
    plain = emdarks.build_trad_dark(
        counted["dark"], DetectorParams({"TELRSTRT": None}), WHOLE, True
    )
    with pytest.raises(ValueError, match=r"is a dark of means, .* holds rates of counts of 60"):
        emdarks.subtract_dark([mean], plain, DetectorParams({"TELRSTRT": None}), WHOLE)
    its = get_pc_mean(counted["dark"].copy(), inputmode="darks")
    with pytest.raises(ValueError, match="is a photon-counted dark"):
        emdarks.subtract_dark(counted["light"], its, DetectorParams({"TELRSTRT": None}), WHOLE)
