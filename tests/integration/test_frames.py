"""estimator="frames": the maps of corgidrp 5.1.1, with errors that hold for its weights."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from validation.moments import draw_stacks, draw_truth, grid

from emdarks.accumulate import Checkpoint, Threads
from emdarks.checks.stack_table import Stacks
from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset, DetectorNoiseMaps, Image, sample
from emdarks.errors import EmdarksWarning
from emdarks.fit.pooled import fit_pooled
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
from emdarks.report import write_report

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
    # There a stack without a good sample counts as 0, with a weight of 1 / (100 frames) or 1; here
    # it is left out.
    gone, signal = dead(check)[rows], (rows != TELEMETRY)[:, None]
    same = ~gone & signal
    assert same.mean() > 0.7
    assert gone.any() == (not check)
    away = np.abs(found.data[:, rows] - expected)[:, gone & signal].max(axis=1, initial=0.0)
    if not check:
        assert (away < [1e-3, 1e-6, 1e-6] if weighting else away > [100.0, 0.05, 0.01]).all()
    for plane, of_pipeline in zip(found.data[:, rows], expected, strict=True):
        largest = np.abs(of_pipeline[same]).max()
        assert np.abs(plane - of_pipeline)[same].max() < 1e-10 * largest


def test_means_in_the_header_are_those_of_the_pipeline() -> None:
    """But for CIC_IMM, which it takes after clipping."""
    found = maps(CR_threshold_check=True)
    _, _, F, _, D, median, _ = golden()["maps_numbers_w1_c1"]
    told = [found.ext_hdr[name] for name in ("FPN_IMM", "DC_IMM", "FPN_IMME")]
    np.testing.assert_allclose(told, [F, D, median], rtol=1e-8)
    assert (found.data[2][:, :104][:TELEMETRY] == 0).all()
    assert (found.err[0, 2][:, :104][:TELEMETRY] == 0).all()


def test_cards_tell_the_weights() -> None:
    card = maps(CR_threshold_check="warn").ext_hdr
    assert (card["ESTIMATR"], card["WGTPOWER"], card["CRCHECK"]) == ("frames", 2, "warn")
    assert maps(weight_power=1).ext_hdr["WGTPOWER"] == 1
    assert maps(weighting=False).ext_hdr["WGTPOWER"] == 0
    pooled = maps(estimator="pooled", CR_threshold_check="warn").ext_hdr
    assert "WGTPOWER" not in pooled
    assert "CRCHECK" not in pooled


def test_unweighted_is_pooled_unweighted_where_both_have_a_dark_current() -> None:
    ours, pooled = maps(weighting=False), maps(weighting=False, estimator="pooled")
    inside = np.s_[..., 0:61, 104:192]
    np.testing.assert_array_equal(ours.data[inside], pooled.data[inside])
    np.testing.assert_array_equal(ours.err[inside], pooled.err[inside])


def test_screening_changes_the_frames_not_the_weights() -> None:
    """Screened samples are gone for every estimator."""
    ours, pooled = (maps(screen=True, estimator=name) for name in ("frames", "pooled"))
    assert ours.ext_hdr["SCREEN"] is True
    np.testing.assert_array_equal(ours.extra("REJECTED"), pooled.extra("REJECTED"))
    assert ours.extra("REJECTED").sum() > 0
    assert not np.array_equal(ours.data, maps().data, equal_nan=True)


def test_sums_of_a_checkpoint_serve_every_estimator(tmp_path: Path) -> None:
    frames, folder = Dataset(sample()), tmp_path / "kept"
    calibrate_darks_lsq(frames, None, executor=Checkpoint(None, folder))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = calibrate_darks_lsq(frames, None, executor=Checkpoint(None, folder), estimator="frames")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    expected = calibrate_darks_lsq(frames, None, estimator="frames")
    np.testing.assert_array_equal(again.data, expected.data)


def test_the_report_says_what_the_weights_are(tmp_path: Path) -> None:
    made = calibrate_darks_lsq(Dataset(sample()), None, estimator="frames")
    made.save(str(tmp_path), "maps.fits")
    write_report(tmp_path / "maps.fits", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Stacks counted by the squared number of their good samples" in page
    assert "power of the good samples that is a weight" in page
    found = Stacks.of(made)
    assert found is not None
    # By these image means of stacks are predicted from others: the weights are those of the fit.
    X = np.column_stack([np.ones_like(found.gain), found.gain, found.gain * found.time])
    w = found.good**2
    expected = np.linalg.inv((X.T * w) @ X) @ (X.T * w)
    np.testing.assert_allclose(found.solution, expected, rtol=1e-6)


# Errors


@pytest.mark.parametrize("power", [2, 1])
@pytest.mark.parametrize("name", ["real16", "m9"])
def test_pulls_have_unit_spread_with_stacks_of_all_sizes(name: str, power: int) -> None:
    """20,000 pulls of each map: their scatter is known to 0.5 %, their mean to 0.007."""
    pulls, residual = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth, (gain, time) = draw_truth(rng), grid(name)
        frames = np.resize([30, 200, 60, 400, 45, 120, 90], gain.size)
        stacks = draw_stacks(rng, gain, time, frames, truth, masked=0.05)
        imaging = np.ones(truth.F.size, bool)
        found, _ = fit_pooled(
            stacks.store, stacks.stacks, True, imaging, (0, 0), Threads(1), weight_power=power
        )
        ordinary = found.fitted & ~truth.hot
        pulls.append(((found.values - truth.maps) / found.errors)[:, ordinary])
        # What the pipeline reports: unweighted residuals and normal matrix.
        X = np.column_stack([np.ones_like(gain), gain, gain * time])
        s2 = ((stacks.store.mean - X @ found.values) ** 2).sum(axis=0) / (gain.size - 3)
        theirs = np.sqrt(s2 * np.diag(np.linalg.inv(X.T @ X))[:, None])
        whole = ordinary & (stacks.store.n > 0).all(axis=0)
        residual.append(((found.values - truth.maps) / theirs)[:, whole])
    all_pulls = np.concatenate(pulls, axis=1)
    spread = all_pulls.std(axis=1)
    assert (spread > 0.96).all()
    assert (spread < 1.05).all()
    assert np.abs(all_pulls.mean(axis=1)).max() < 0.03
    assert np.abs((np.abs(all_pulls) < 2).mean(axis=1) - 0.954).max() < 0.01
    # Those errors would not pass.
    spread = np.concatenate(residual, axis=1).std(axis=1)
    assert np.abs(np.log(spread)).max() > 0.3
