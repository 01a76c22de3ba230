"""Raw frames against corgidrp 5.1.1: what its steps made of simulated level 1 frames."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emdarks.raw import (
    DARK,
    STANDARD,
    CosmicRaySearch,
    FramePlan,
    FrameScan,
    FullWell,
    Linearity,
    PreparedFrame,
    RawCalibration,
    RowBias,
    prepare,
    scan,
    stored_bytes,
)

DATA = Path(__file__).parents[1] / "data" / "raw"
BIAS = RowBias(columns=(60, 100))
ROWS, COLS = 80, 200
IMAGE = (13, 61, 104, 176)
IMAGING_AREA = (0, 61, 104, 192)


@cache
def golden() -> dict[str, Any]:
    with np.load(DATA / "campaign.npz") as stored:
        return dict(stored)


def gains() -> list[float]:
    return [float(gain) for gain in golden()["gain_used"]]


def campaign(**changes: Any) -> RawCalibration:
    k_gain, error = (float(number) for number in golden()["kgain"])
    well = FullWell(*(float(number) for number in golden()["fwc"]))
    table = Linearity.from_table(golden()["table"])
    # The tail follows from the last frame of the call: one of gain 2000.
    usual = RawCalibration(BIAS, k_gain, error, well, linearity=table, tail_gain=2000.0)
    return replace(usual, **changes)


def ready(
    index: int, calibration: RawCalibration, **of_frame: Any
) -> tuple[FrameScan, PreparedFrame]:
    raw = golden()["raw"][index]
    frame, plan = stored_bytes(raw), FramePlan(calibration, gains()[index], **of_frame)
    learnt = scan(frame, raw.shape, plan)
    assert learnt is not None
    made = prepare(frame, raw.shape, plan, learnt)
    assert made is not None
    return learnt, made


def all_ready(calibration: RawCalibration) -> list[tuple[FrameScan, PreparedFrame]]:
    return [ready(i, calibration) for i in range(len(gains()))]


def biases(calibration: RawCalibration) -> Any:
    return np.array([learnt.bias for learnt, _ in all_ready(calibration)], np.float32)


def test_bias_and_its_repair() -> None:
    found = all_ready(campaign())
    bias = np.array([learnt.bias for learnt, _ in found])
    np.testing.assert_array_equal(bias.astype(np.float32), golden()["bias"])
    errors = np.array([learnt.error for learnt, _ in found])
    np.testing.assert_allclose(errors, golden()["err_row"], rtol=1e-13)
    changed = golden()["bias"] != golden()["bias_unrepaired"]
    # A replaced bias may have been right by chance.
    assert all(
        learnt.repaired >= rows
        for (learnt, _), rows in zip(found, changed.sum(axis=1), strict=True)
    )
    assert max(learnt.repaired for learnt, _ in found) == changed.sum(axis=1).max() > 1


@pytest.mark.parametrize(
    ("name", "stds"), [("bias_unrepaired", 1e9), ("bias_2_stds", 2.0)], ids=str
)
def test_bias_of_other_limits(name: str, stds: float) -> None:
    found = biases(campaign(bias=replace(BIAS, num_stds=stds)))
    np.testing.assert_array_equal(found, golden()[name])


@pytest.mark.parametrize(
    ("name", "area"), [("bias_image", IMAGE), ("bias_imaging_area", IMAGING_AREA)]
)
def test_bias_of_a_part(name: str, area: tuple[int, int, int, int]) -> None:
    found = biases(campaign(area=area))[:, area[0] : area[1]]
    np.testing.assert_array_equal(found, golden()[name])


def test_bias_with_an_offset() -> None:
    offset, error = (float(number) for number in golden()["bias_offset"])
    found = all_ready(campaign(bias=replace(BIAS, offset=offset, offset_error=error)))
    bias = np.array([learnt.bias for learnt, _ in found], np.float32)
    np.testing.assert_array_equal(bias, golden()["bias_with_offset"])
    errors = np.array([learnt.error for learnt, _ in found])
    np.testing.assert_allclose(errors, golden()["err_with_offset"], rtol=1e-13)


def test_saturation_and_over_saturated_frames() -> None:
    plans = [FramePlan(campaign(), gain) for gain in gains()]
    assert [plan.saturation for plan in plans] == golden()["sat_dn"].tolist()
    other = [FramePlan(campaign(k_gain=8.7), gain) for gain in gains()]
    assert [plan.saturation for plan in other] == golden()["sat_dn_no_kgain"].tolist()
    for area, name in ((None, "is_bad"), (IMAGE, "is_bad_image")):
        found = [learnt.over_saturated for learnt, _ in all_ready(campaign(area=area))]
        assert found == golden()[name].tolist()
    kept = [i for i, bad in enumerate(golden()["is_bad"]) if not bad]
    assert kept == golden()["kept"].tolist()


SEARCHES: dict[str, tuple[float, CosmicRaySearch]] = {
    "mode0": (0.95, STANDARD),
    "mode0_recipe_thresholds": (0.95, replace(DARK, tail=10)),
    "mode0_f1": (0.95, replace(STANDARD, filter=1)),
    "mode0_f0_bare": (0.95, replace(STANDARD, filter=0, box=0, tail=0)),
    "mode0_tail_60": (0.95, replace(STANDARD, tail=60)),
    "mode0_old": (0.7, CosmicRaySearch(0.7, 0.7, 1)),
    "mode0_plat_low": (0.95, CosmicRaySearch(0.9, 0.5)),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_flags_of_full_frames(name: str) -> None:
    saturation, search = SEARCHES[name]
    calibration = campaign(saturation=saturation, search=search)
    found = np.array([made.dq for _, made in all_ready(calibration)])
    np.testing.assert_array_equal(found, golden()[f"dq_{name}"])


@pytest.mark.parametrize("name", ["mode0", "mode0_tail_60"])
def test_flags_of_images(name: str) -> None:
    calibration = campaign(search=SEARCHES[name][1], area=IMAGE)
    found = np.array([made.dq for _, made in all_ready(calibration)])
    np.testing.assert_array_equal(found, golden()[f"dq_image_{name}"])


def test_flagged_pixels_are_counted() -> None:
    for learnt, made in all_ready(campaign()):
        assert learnt.flagged == (made.dq & 128 > 0).sum()
        assert learnt.saturated == (made.dq & 32 > 0).sum()


def test_a_tail_by_the_gain_of_each_frame_differs_at_gain_1_only() -> None:
    found = np.array([made.dq for _, made in all_ready(campaign(tail_gain=None))])
    other = (found != golden()["dq_mode0"]).any(axis=(1, 2))
    assert other.any()
    assert set(np.array(gains())[other]) == {1.0}


def test_a_disc_that_is_not_searched() -> None:
    row, col = (float(number) for number in golden()["iwa_center"])
    frames = golden()["iwa_frames"].tolist()
    calibration = campaign(tail_gain=gains()[frames[-1]])
    found = [ready(i, calibration, discs=((row, col, 7.0),))[1].dq for i in frames]
    np.testing.assert_array_equal(found, golden()["dq_iwa"])
    assert (golden()["dq_iwa"][1] != golden()["dq_mode0"][frames[1]]).any()


def test_linear_counts_electrons_and_errors() -> None:
    for place, index in enumerate(golden()["selected"]):
        _, made = ready(index, campaign())
        _, in_dn = ready(index, campaign().in_dn)
        expected = {name: golden()[f"sel_{name}"][place] for name in ("linear", "electrons")}
        errors = golden()["sel_electrons_err"][place]
        np.testing.assert_allclose(in_dn.data[::4], expected["linear"], rtol=1e-12)
        np.testing.assert_allclose(made.data[::4], expected["electrons"], rtol=1e-12)
        np.testing.assert_allclose(made.err[::4], errors, rtol=1e-12)
        np.testing.assert_array_equal(in_dn.dq, made.dq)


def test_sums_of_all_frames() -> None:
    found = [made for _, made in all_ready(campaign())]
    data = np.array([made.data.sum() for made in found])
    np.testing.assert_allclose(data, golden()["sum_electrons"], rtol=1e-11)
    errors = np.array([made.err.sum() for made in found])
    np.testing.assert_allclose(errors, golden()["sum_err"], rtol=1e-11)
    np.testing.assert_allclose(data / gains(), golden()["sum_divided"], rtol=1e-11)


@pytest.mark.parametrize("image", [False, True], ids=["full", "image"])
def test_a_frame_of_real_size(image: bool) -> None:
    with np.load(DATA / "full_frame.npz") as stored:
        full = dict(stored)
    rows, cols = shape = full["raw"].shape
    assert shape == (1200, 2200)
    area = (13, 1037, 1088, 2112) if image else None
    calibration = RawCalibration(RowBias(columns=(800, 1000)), 8.7, area=area)
    raw, plan = full["raw"], FramePlan(calibration, float(full["gain"]))
    learnt = scan(stored_bytes(raw), shape, plan)
    assert learnt is not None
    made = prepare(stored_bytes(raw), shape, plan, learnt)
    assert made is not None
    assert plan.saturation == full["sat_dn"]
    lo, hi = (13, 1037) if image else (0, rows)
    bias = full["bias_image" if image else "bias_full"]
    np.testing.assert_array_equal(learnt.bias[lo:hi].astype(np.float32), bias)
    np.testing.assert_array_equal(made.dq, full["dq_image_mode0" if image else "dq_full_mode0"])
    assert made.data.shape == ((1024, 1024) if image else (rows, cols))
