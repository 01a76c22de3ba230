"""Noise maps with the estimator of corgidrp 5.1.1, of the same frames by both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from beside import REGIONS, Ours
from corgidrp import darks as its_darks
from corgidrp import data
from corgidrp.detector import imaging_slice

import emdarks

pytestmark = pytest.mark.filterwarnings("ignore")
#: Of the error of each pixel.
CLOSE = 1e-6


def both(frames: Any, weighting: bool, check: bool) -> tuple[Any, Any]:
    """Its maps and ours."""
    params = data.DetectorParams({})
    its = its_darks.calibrate_darks_lsq(
        frames, params, weighting, REGIONS, CR_threshold_check=check
    )
    our = emdarks.calibrate_darks_lsq(
        frames, params, weighting, REGIONS, estimator="frames", CR_threshold_check=check
    )
    return its, our


def same_maps(its: Any, our: Any) -> None:
    """F, C, D agree, but in telemetry rows; so do flags."""
    rows = slice(None, -1)
    error = np.where(our.err[0, :, rows] > 0, our.err[0, :, rows], 1.0)
    apart = np.abs(its.data[:, rows] - our.data[:, rows]) / error
    fitted = (its.dq[:, rows] == 0) & (our.dq[:, rows] == 0)
    assert fitted.mean() > 0.98
    assert np.max(apart[fitted]) < CLOSE
    assert np.array_equal(its.dq[:, rows] != 0, our.dq[:, rows] != 0)


def masked(ours: Ours) -> data.Dataset:
    """Frames of which some pixels are masked in a half."""
    frames = data.Dataset(ours.frames)
    for frame in frames[::2]:
        frame.dq[20:30, 150:160] = 128
    return frames


@pytest.mark.parametrize("weighting", [True, False], ids=["weighted", "unweighted"])
def test_estimator(ours: Ours, weighting: bool) -> None:
    """calibrate_darks_lsq (its) and ours with estimator="frames": maps within 1e-6 of the errors"""
    same_maps(*both(masked(ours), weighting, False))


def test_lost_stack(ours: Ours) -> None:
    """A pixel that one stack has lost, unweighted: its fit takes 0 for it, ours leaves it out"""
    frames = data.Dataset(ours.frames)
    for frame in frames[:10]:
        frame.dq[40, 160] = 32
    lost, whole = both(frames, False, False), both(data.Dataset(ours.frames), False, False)
    drift = abs(lost[0].data[0, 40, 160] - whole[0].data[0, 40, 160])
    error = whole[1].err[0, 0, 40, 160]
    assert drift > 0.1 * error
    same_maps(*both(frames, True, False))


def test_threshold(ours: Ours) -> None:
    """The same with its check of thresholds: the same stack is left out"""
    frames = data.Dataset(ours.frames)
    for frame in frames:
        # Simulated frames have 0 there, as its mocks have: all stacks would be left out by its own.
        frame.ext_hdr["SAT_DN"] = 0.95 * 105000 / frame.ext_hdr["KGAINPAR"]
    for frame in frames[10:20]:
        frame.ext_hdr["HISTORY"] = "Cosmic ray threshold of 0.1 used."
    its, our = both(frames, True, True)
    # Its number is that of the good frames, on average; ours of the files.
    assert its.ext_hdr["DRPNFILE"] in (49, 50)
    assert our.ext_hdr["DRPNFILE"] == 50
    same_maps(its, our)


def test_bias_offset(ours: Ours) -> None:
    """Bias offset and means of the image area in the headers of both"""
    its, our = both(data.Dataset(ours.frames), True, False)
    assert abs(our.bias_offset - its.bias_offset) < 1e-3 * its.ext_hdr["B_O_ERR"]
    for card in "FPN_IMM", "DC_IMM":
        assert our.ext_hdr[card] == pytest.approx(its.ext_hdr[card], rel=1e-6), card
    assert np.mean(imaging_slice("SCI", our.CIC_map, REGIONS)) > our.ext_hdr["CIC_IMM"]
    assert its.ext_hdr["CIC_IMM"] > our.ext_hdr["CIC_IMM"]  # of C after clipping
