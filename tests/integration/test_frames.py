"""estimator="frames": the maps of corgidrp 5.1.1, with errors that hold for its weights."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset, DetectorNoiseMaps, Image
from emdarks.errors import EmdarksWarning
from emdarks.raw import (
    FramePlan,
    FullWell,
    Linearity,
    RawCalibration,
    RowBias,
    prepare,
    scan,
    stored_bytes,
)

DATA = Path(__file__).parents[1] / "data" / "raw"
ROWS, COLS, TELEMETRY = 80, 200, 79
REGIONS: dict[str, Any] = {
    "SCI": {
        "frame_rows": ROWS,
        "frame_cols": COLS,
        "image": {"rows": 48, "cols": 72, "r0c0": [13, 104]},
        "prescan": {"rows": ROWS, "cols": 104, "r0c0": [0, 0], "col_start": 60, "col_end": 100},
        "prescan_reliable": {"rows": ROWS, "cols": 40, "r0c0": [0, 60]},
        "parallel_overscan": {"rows": 19, "cols": 88, "r0c0": [61, 104]},
        "serial_overscan": {"rows": ROWS, "cols": 8, "r0c0": [0, 192]},
    }
}


@cache
def golden() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("campaign.npz", "maps.npz"):
        with np.load(DATA / name) as stored:
            found |= dict(stored)
    return found


@cache
def electrons() -> Any:
    """EM electrons of all frames, from raw ones."""
    k_gain, error = (float(number) for number in golden()["kgain"])
    well = FullWell(*(float(number) for number in golden()["fwc"]))
    table = Linearity.from_table(golden()["table"])
    calibration = RawCalibration(RowBias(columns=(60, 100)), k_gain, error, well, linearity=table)
    made = []
    for raw, gain in zip(golden()["raw"], golden()["gain_used"], strict=True):
        frame, plan = stored_bytes(raw), FramePlan(calibration, float(gain))
        learnt = scan(frame, raw.shape, plan)
        assert learnt is not None
        ready = prepare(frame, raw.shape, plan, learnt)
        made.append(None if ready is None else ready.data)
    return made


def frames(history: bool = True, **cards: Any) -> Dataset:
    """The frames that 5.1.1 kept, flagged by its dark recipe."""
    from astropy.io.fits import Header

    made = []
    for i in golden()["kept"]:
        header = Header()
        header["EXPTIME"] = golden()["exptime"][i]
        header["EMGAIN_C"] = golden()["gain"][i]
        header["EMGAIN_A"] = golden()["gain_used"][i]
        header["KGAINPAR"] = golden()["kgain"][0]
        header["BUNIT"] = "detected EM electron"
        header.update(cards)
        if history:
            header["HISTORY"] = f"Cosmic ray threshold of {golden()['threshold'][i]} used."
        data, dq = electrons()[i], golden()["dq_mode2_recipe"][i]
        frame = Image(copy.copy(data), Header(), header, dq=dq)
        frame.filename = f"frame_{i:02d}.fits"
        made.append(frame)
    return Dataset(made)


def maps(dataset: Dataset | None = None, **options: Any) -> DetectorNoiseMaps:
    """The maps; the frames have saturated ones among them, which is said."""
    options = {"estimator": "frames", "CR_threshold_check": False} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return calibrate_darks_lsq(
            dataset or frames(), None, detector_regions=REGIONS, camera="excam", **options
        )


def dead(left_out: bool) -> Any:
    """Whether a pixel is masked in all frames of a stack that is used."""
    kept = golden()["kept"]
    good = golden()["dq_mode2_recipe"][kept] == 0
    stack = kept // 6
    used = range(6 if left_out else 7)
    return np.any([~good[stack == i].any(axis=0) for i in used], axis=0)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("weighting", [True, False])
def test_values_are_those_of_the_pipeline(weighting: bool, check: bool) -> None:
    found = maps(weighting=weighting, CR_threshold_check=check)
    expected = golden()[f"maps_w{weighting:d}_c{check:d}"]
    rows = golden()["rows"]
    # There a stack without a good sample counts as 0 +- something; here it is left out.
    same = ~dead(check)[rows] & (rows != TELEMETRY)[:, None]
    assert same.mean() > 0.7
    for plane, of_pipeline in zip(found.data[:, rows], expected, strict=True):
        largest = np.abs(of_pipeline[same]).max()
        assert np.abs(plane - of_pipeline)[same].max() < 1e-10 * largest
