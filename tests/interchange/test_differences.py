"""Where the two differ, each difference by itself: the table of the page on corgidrp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beside import REGIONS, Ours
from corgidrp import darks as its_darks
from corgidrp import data, l2a_to_l2b

import emdarks
from emdarks.data import Dark, DetectorNoiseMaps

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def its_maps(ours: Ours) -> dict[bool, Any]:
    """Its maps of our frames, by weighting."""
    params = data.DetectorParams({})
    return {
        weighting: its_darks.calibrate_darks_lsq(
            data.Dataset(ours.frames), params, weighting, REGIONS, CR_threshold_check=False
        )
        for weighting in (True, False)
    }


def test_telemetry_of_maps(ours: Ours, its_maps: dict[bool, Any]) -> None:
    """Telemetry rows of noise maps: its F is 1 and not flagged, ours NaN with flag 1"""
    our = DetectorNoiseMaps(ours.maps)
    assert np.isnan(our.data[:, -1]).all()
    assert (our.dq[:, -1] & 1).all()
    assert not np.isnan(its_maps[True].data[0, -1]).any()
    assert not its_maps[True].dq[0, -1].any()


def test_clipped(ours: Ours, its_maps: dict[bool, Any]) -> None:
    """Its synthesised dark, of clipped maps, lies above the one of the same fit before clipping"""
    frames = data.Dataset(ours.of_dark)
    our = emdarks.calibrate_darks_lsq(
        frames_of(ours), None, True, REGIONS, estimator="frames", CR_threshold_check=False
    )
    signed = emdarks.build_synthesized_dark(frames, our, REGIONS)
    single = l2a_to_l2b.em_gain_division(frames)
    clipped = its_darks.build_synthesized_dark(single, its_maps[True].copy(), REGIONS)
    assert np.mean(clipped.data) > np.mean(signed.data)


def test_correlations(ours: Ours) -> None:
    """Errors of dark pixels from the same maps: larger by its step, which knows no correlations"""
    single = l2a_to_l2b.em_gain_division(data.Dataset(ours.of_dark))
    maps = data.DetectorNoiseMaps(ours.maps)
    its = its_darks.build_synthesized_dark(single, maps, REGIONS)
    our = Dark(ours.image_dark)
    assert np.nanmedian(its.err[0]) > 1.05 * np.nanmedian(our.err[0])


def frames_of(ours: Ours) -> data.Dataset:
    return data.Dataset(ours.frames)


@pytest.fixture
def some_masked(ours: Ours, tmp_path: Path) -> list[str]:
    """Files of frames in detected electrons, one of which has flags."""
    frames = l2a_to_l2b.em_gain_division(data.Dataset(ours.of_dark))
    frames[0].dq[20:30, 150:160] = 128
    frames.save(str(tmp_path))
    return sorted(str(path) for path in tmp_path.glob("*.fits"))


def test_masked_in_files(some_masked: list[str]) -> None:
    """Error of a traditional dark, a sample masked: its differs from files to memory, ours not"""
    params = data.DetectorParams({})
    modes = [data.Dataset(some_masked, no_data=no_data) for no_data in (False, True)]
    its = [its_darks.build_trad_dark(frames, params, REGIONS, True).err[0] for frames in modes]
    modes = [data.Dataset(some_masked, no_data=no_data) for no_data in (False, True)]
    our = [emdarks.build_trad_dark(frames, params, REGIONS, True).err[0] for frames in modes]
    where = slice(20, 30), slice(150, 160)
    assert not np.allclose(its[0][where], its[1][where], rtol=1e-3)
    np.testing.assert_array_equal(our[0], our[1])


def test_standard_error(ours: Ours) -> None:
    """Error of a traditional dark: its scatter is that of a population, ours by n - 1"""
    frames = l2a_to_l2b.em_gain_division(data.Dataset(ours.of_dark))
    its = its_darks.build_trad_dark(frames, data.DetectorParams({}), REGIONS, full_frame=True)
    our = Dark(ours.average)
    good = np.all(frames.all_dq == 0, axis=0)[:-1]
    count = len(frames)
    ratio = (our.err[0, :-1] / its.err[0, :-1])[good]
    np.testing.assert_allclose(ratio, np.sqrt(count / (count - 1)), rtol=1e-5)


def test_not_a_number(ours: Ours) -> None:
    """A NaN in one frame: its mean is NaN there, ours is that of the others"""
    frames = l2a_to_l2b.em_gain_division(data.Dataset(ours.of_dark))
    frames[0].data[0, 0] = np.nan
    params = data.DetectorParams({})
    assert np.isnan(its_darks.build_trad_dark(frames, params, REGIONS, full_frame=True).data[0, 0])
    assert np.isfinite(emdarks.build_trad_dark(frames, params, REGIONS, True).data[0, 0])


def test_unit(ours: Ours, its_maps: dict[bool, Any]) -> None:
    """Frames that say DN: its maps are the same numbers, ours are converted"""
    frames = frames_of(ours)
    for frame in frames:
        frame.ext_hdr["BUNIT"] = "DN"
    params = data.DetectorParams({})
    its = its_darks.calibrate_darks_lsq(frames, params, False, REGIONS, CR_threshold_check=False)
    np.testing.assert_array_equal(its.data, its_maps[False].data)
    our = emdarks.calibrate_darks_lsq(frames, params, False, REGIONS, estimator="frames")
    k_gain = frames[0].ext_hdr["KGAINPAR"]
    np.testing.assert_allclose(
        our.data[0, :-1], k_gain * its.data[0, :-1], rtol=1e-6, atol=1e-6 * k_gain
    )


def test_divided(ours: Ours) -> None:
    """Frames that say they are divided by the gain: refused by ours, taken by its own"""
    frames = l2a_to_l2b.em_gain_division(frames_of(ours))
    params = data.DetectorParams({})
    its_darks.calibrate_darks_lsq(frames, params, False, REGIONS, CR_threshold_check=False)
    with pytest.raises(ValueError, match="already divided by the EM gain"):
        emdarks.calibrate_darks_lsq(frames, params, False, REGIONS)


def test_note(ours: Ours, capsys: pytest.CaptureFixture[str]) -> None:
    """The 1176 frames that it asks for: printed by each call of its own, not by ours"""
    params = data.DetectorParams({})
    its_darks.calibrate_darks_lsq(frames_of(ours), params, False, REGIONS, CR_threshold_check=False)
    assert "1176" in capsys.readouterr().out
    emdarks.calibrate_darks_lsq(frames_of(ours), params, False, REGIONS)
    assert not capsys.readouterr().out


def test_unflagged_level(ours: Ours) -> None:
    """Frames whose SAT_DN is 0, with its check on: its own leaves out all stacks and fails"""
    params = data.DetectorParams({})
    with pytest.raises(ValueError, match="at least one array"):
        its_darks.calibrate_darks_lsq(frames_of(ours), params, True, REGIONS)
    emdarks.calibrate_darks_lsq(frames_of(ours), params, True, REGIONS)


def test_image_dark_of_whole_frames(ours: Ours) -> None:
    """A dark of the image region for whole frames: a broadcast error in its step"""
    frames = l2a_to_l2b.em_gain_division(data.Dataset(ours.of_dark))
    dark = data.Dark(ours.image_dark)
    with pytest.raises(ValueError, match="broadcast"):
        l2a_to_l2b.dark_subtraction(frames, dark=dark, detector_regions=REGIONS)
