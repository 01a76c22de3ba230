"""inspect_campaign: figures of the stacks, and every finding, also where nothing can be fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import Campaign, frame_hdus
from emdarks import data, simulate
from emdarks._core import design_rank
from emdarks.accumulate import Threads
from emdarks.cameras import load_camera
from emdarks.checks import CampaignSummary, inspect_campaign
from emdarks.data import Dataset
from emdarks.errors import CalDarksLSQException, InputError

pytestmark = pytest.mark.usefixtures("coarse_pictures")

CAMERA = load_camera("excam-sample")
SHAPE = 40, 62
AREA = np.s_[0:35, 28:59]
STACKS = ((1.0, 2.0), (1.0, 100.0), (50.0, 10.0), (1000.0, 60.0))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> simulate.CampaignFiles:
    return simulate.simulate_campaign(tmp_path_factory.mktemp("sim"), CAMERA, frames=5, seed=3)


def write(
    folder: Path, stacks: Any = STACKS, frames: int = 2, *, shape: Any = SHAPE, **options: Any
) -> list[Path]:
    """A campaign of quiet noise, one flagged sample in each frame."""
    # No two calls make the same frames.
    rng = np.random.default_rng([4, frames, *(round(gain + time) for gain, time in stacks)])
    paths = []
    for gain, time in stacks:
        for _ in range(frames):
            dq = np.zeros(shape, np.uint16)
            dq[3, 30] = 128
            number = len(paths)
            path = folder / f"{len(list(folder.iterdir())):03d}.fits"
            values = rng.normal(0, 100, shape).astype(np.float32)
            settings: dict[str, Any] = {"gain": gain, "time": time, "dq": dq, "number": number}
            frame_hdus(values, **(settings | options)).writeto(path)
            paths.append(path)
    return paths


def look(paths: Any, **options: Any) -> CampaignSummary:
    return inspect_campaign(Dataset(paths), camera=options.pop("camera", CAMERA), **options)


def texts(summary: CampaignSummary, topic: str, severity: str | None = None) -> list[str]:
    return [
        finding.text
        for finding in summary.findings
        if finding.topic == topic and severity in (None, finding.severity)
    ]


def test_stacks_are_as_the_frames_are(simulated: simulate.CampaignFiles) -> None:
    summary = inspect_campaign(Dataset(simulated.paths))
    assert (summary.camera, summary.shape, summary.frames) == ("excam-sample", SHAPE, 30)
    assert summary.fittable
    assert len(summary.stacks) == 6
    for stack in summary.stacks:
        frames = [
            frame
            for frame in Dataset(simulated.paths)
            if (frame.ext_hdr["EMGAIN_C"], frame.ext_hdr["EXPTIME"])
            == (stack.commanded_gain, stack.exposure_time)
        ]
        pixels = [
            np.where(frame.dq == 0, frame.data * 8.7, np.nan)[AREA].reshape(-1) for frame in frames
        ]
        levels = [np.nanmean(values) for values in pixels]
        assert stack.frames == len(stack.frame_summaries) == 5
        assert stack.level == pytest.approx(np.mean(levels), rel=1e-9)
        assert stack.scatter == pytest.approx(
            np.sqrt(np.mean([np.nanstd(values) ** 2 for values in pixels])), rel=1e-9
        )
        assert stack.masked == pytest.approx(np.isnan(pixels).mean())
        assert [frame.figures.level for frame in stack.frame_summaries] == pytest.approx(levels)
        low, high = stack.temperature
        assert low == min(frame.ext_hdr["EXCAMT"] for frame in frames)
        assert high == max(frame.ext_hdr["EXCAMT"] for frame in frames)


def test_summary_is_plain_for_json(simulated: simulate.CampaignFiles) -> None:
    summary = inspect_campaign(Dataset(simulated.paths), executor=Threads(1))
    brief = json.loads(json.dumps(summary.as_dict(), allow_nan=False))
    assert brief["fittable"] is True
    assert brief["shape"] == [40, 62]
    assert "single_frames" not in brief["stacks"][0]
    full = summary.as_dict(single_frames=True)
    frames = [frame for stack in full["stacks"] for frame in stack["single_frames"]]
    assert {frame["name"] for frame in frames} == {str(path) for path in simulated.paths}
    assert len({frame["content"] for frame in frames}) == 30
    frame = full["stacks"][0]["single_frames"][0]
    assert set(frame) >= {
        "name", "start_mjd", "temperature_c", "level_e", "scatter_e", "masked", "saturated",
        "offset_e", "sigmas",
    }  # fmt: skip
    assert full["verdict"] == summary.verdict


def test_units_do_not_change_levels(tmp_path: Path) -> None:
    levels = []
    for units in ("DN", "e"):
        files = simulate.simulate_campaign(tmp_path / units, CAMERA, 2, 3, units)
        summary = inspect_campaign(Dataset(files.paths))
        assert {unit for stack in summary.stacks for unit in stack.units} == {
            "DN" if units == "DN" else "detected EM electron"
        }
        levels.append([stack.level for stack in summary.stacks])
    np.testing.assert_allclose(*levels, rtol=1e-5)


def test_a_good_campaign_has_no_problem(tmp_path: Path) -> None:
    summary = look(write(tmp_path))
    assert summary.fittable
    assert "4 stacks" in texts(summary, "maps", "fine")[0]
    assert "EM gains 1 to 1000 and exposure times 2 to 100 s" in texts(summary, "maps", "fine")[0]
    assert texts(summary, "darks", "fine") == [
        "a traditional master dark can be made of each stack"
    ]
    # The pixel that is flagged in every frame.
    assert [stack.lost_pixels for stack in summary.stacks] == [1] * 4
    assert summary.pixels.unfittable == 1
    assert texts(summary, "masked", "note")[0].startswith("1 pixel (0.09% of the imaging area)")
    severities = [finding.severity for finding in summary.findings]
    assert severities == sorted(severities, key=["problem", "warning", "note", "fine"].index)


@pytest.mark.parametrize(
    ("stacks", "reason"),
    [
        (STACKS[:3], "at least 4 stacks"),
        (STACKS[:1], "at least 4 stacks"),
        ([(50.0, time) for time in (1, 2, 3, 4)], "one EM gain"),
        ([(gain, 5.0) for gain in (1, 2, 3, 4)], "one exposure time"),
        ([(1.0, 2.0), (1.0 + 1e-9, 9.0), (1.0, 70.0), (1.0, 99.0)], "rank"),
        ([(0.5, 2.0), *STACKS], "below 1"),
    ],
)
def test_what_the_fit_refuses_is_said_in_its_own_words(
    tmp_path: Path, stacks: Any, reason: str
) -> None:
    paths = write(tmp_path, stacks)
    summary = look(paths)
    assert not summary.fittable
    assert reason in texts(summary, "maps", "problem")[0]
    assert texts(summary, "maps", "fine") == []
    from emdarks.darks import calibrate_darks_lsq

    with pytest.raises(CalDarksLSQException, match=reason):
        calibrate_darks_lsq(Dataset(paths), None, camera=CAMERA)


def test_rank_case_is_of_low_rank() -> None:
    gain = np.array([1.0, 1.0 + 1e-9, 1.0, 1.0])
    assert not design_rank(gain, gain * [2.0, 9.0, 70.0, 99.0])


def test_single_frames_cannot_be_fitted(tmp_path: Path) -> None:
    paths = write(tmp_path, STACKS[:3]) + write(tmp_path, STACKS[3:], frames=1)
    summary = look(paths)
    assert not summary.fittable
    assert "1 stack, (gain 1000, 60 s)" in texts(summary, "frames", "problem")[0]
    dark = texts(summary, "darks")[0]
    assert "(gain 1, 2 s)" in dark
    assert "1000" not in dark


def test_gains_that_spread(tmp_path: Path) -> None:
    write(tmp_path)
    for applied, severity in ((990.0, "warning"), (700.0, "problem")):
        folder = tmp_path / severity
        folder.mkdir()
        (odd,) = write(folder, STACKS[3:], frames=1, cards={"EMGAIN_A": applied})
        summary = look([*sorted(tmp_path.glob("*.fits")), odd])
        assert [finding.severity for finding in summary.findings if finding.topic == "gain"] == [
            severity
        ]
        assert summary.fittable == (severity == "warning")


def test_frames_divided_by_gain(tmp_path: Path) -> None:
    paths = write(tmp_path, unit="detected electron")
    summary = look(paths)
    assert not summary.fittable
    (finding,) = [finding for finding in summary.findings if finding.topic == "unit"]
    assert "divided by the EM gain" in finding.text
    # At gain 1 nothing was divided.
    assert finding.frames == tuple(map(str, paths[4:]))
    assert summary.stacks[-1].scatter / summary.stacks[0].scatter == pytest.approx(1, rel=0.1)
    high = next(stack for stack in summary.stacks if stack.em_gain == 1000)
    assert high.scatter == pytest.approx(1e5, rel=0.1)


def test_unknown_and_mixed_units(tmp_path: Path) -> None:
    write(tmp_path, STACKS[:2], unit=None)
    write(tmp_path, STACKS[2:], unit="furlong")
    summary = look(sorted(tmp_path.glob("*.fits")))
    assert summary.fittable
    assert texts(summary, "unit")[0].startswith("8 frames have no unit")
    write(tmp_path, [(5000.0, 3.0)], unit="dn")
    summary = look(sorted(tmp_path.glob("*.fits")))
    assert "8 in unknown, 2 in DN" in texts(summary, "unit")[-1]


def test_frames_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    good = write(tmp_path)
    bad = write(tmp_path, STACKS[:1], frames=1, cards={"EXPTIME": None})
    summary = look([*good, *bad])
    assert summary.frames == 9
    assert sum(stack.frames for stack in summary.stacks) == 8
    (finding,) = [finding for finding in summary.findings if finding.topic == "headers"]
    assert "EXPTIME" in finding.text
    assert finding.frames == (str(bad[0]),)
    assert not summary.fittable


def test_a_campaign_without_one_usable_frame(tmp_path: Path) -> None:
    summary = look(write(tmp_path, STACKS[:1], cards={"EMGAIN_C": "high"}))
    assert (summary.shape, summary.stacks, summary.fittable) == ((0, 0), (), False)
    assert "2 frames are left out" in texts(summary, "headers")[0]
    json.dumps(summary.as_dict(), allow_nan=False)


def test_other_shapes_are_left_out(tmp_path: Path) -> None:
    good = write(tmp_path)
    odd = write(tmp_path, STACKS[:1], frames=1, shape=(41, 62))
    summary = look([*odd, *good])
    assert summary.shape == SHAPE
    (finding,) = [finding for finding in summary.findings if finding.topic == "shape"]
    assert finding.frames == (str(odd[0]),)
    assert "41 x 62" in finding.text
    assert not summary.fittable


def test_a_wrong_camera_is_named(tmp_path: Path) -> None:
    summary = look(write(tmp_path), camera="excam")
    assert "camera excam 1200 x 2200" in texts(summary, "camera", "problem")[0]
    assert summary.pixels.imaging == 40 * 62


def test_flags_temperature_and_full_wells(tmp_path: Path) -> None:
    write(tmp_path, STACKS[:2])
    write(tmp_path, STACKS[2:3], dq=np.zeros(SHAPE, np.uint16))
    write(tmp_path, STACKS[3:], cards={"EXCAMT": -85.0})
    data = np.full(SHAPE, 10.0)
    data[5, 40] = 2e5
    data[6, 3] = 2e5  # in the prescan: does not count
    write(tmp_path, [(5000.0, 3.0)], cards={"EXCAMT": None})
    path = tmp_path / "full.fits"
    frame_hdus(data, gain=4000.0, time=3.0, dq=np.ones(SHAPE, np.uint8) * (data > 3e5)).writeto(
        path
    )
    summary = look(sorted(tmp_path.glob("*.fits")))
    assert "2 stacks" in texts(summary, "flags")[0]
    assert "spreads by 3." in texts(summary, "temperature")[0]
    assert "the mean of 1 pixel" in texts(summary, "saturation")[0]
    assert "(gain 4000, 3 s)" in texts(summary, "saturation")[0]


def test_masked_stacks(tmp_path: Path) -> None:
    write(tmp_path)
    dq = np.zeros(SHAPE, np.uint16)
    dq[:20] = 4
    write(tmp_path, [(5000.0, 3.0)], dq=dq)
    paths = sorted(tmp_path.glob("*.fits"))
    assert "at most 57.1%: (gain 5000, 3 s)" in texts(look(paths), "masked")[0]
    free = look(paths, mask_bits=128)
    assert len(texts(free, "masked")) == 1
    with pytest.raises(InputError, match="mask_bits"):
        look(paths, mask_bits=-1)


def test_copies_and_empty_frames_are_named(tmp_path: Path) -> None:
    paths = write(tmp_path)
    twin = tmp_path / "twin.fits"
    twin.write_bytes(paths[3].read_bytes())
    stuck = tmp_path / "stuck.fits"
    frame_hdus(np.full(SHAPE, 7.0), gain=1.0, time=2.0).writeto(stuck)
    summary = look([*paths, twin, stuck])
    found = {finding.topic: finding for finding in summary.findings}
    assert found["copies"].frames == (str(paths[3]), str(twin))
    assert found["empty"].frames == (str(stuck),)


def test_foreign_frames_and_figures_in_any_blocks(quirky: Campaign) -> None:
    from_files = look(quirky.files())
    from_memory = look(quirky.memory(), executor=Threads(3, run_pixels=74, batch_files=2))
    assert [stack.level for stack in from_files.stacks] == [
        stack.level for stack in from_memory.stacks
    ]
    foreign = inspect_campaign(quirky.foreign(with_data=True), camera=CAMERA)
    assert foreign.stacks[0].level == from_files.stacks[0].level


def test_sample_is_a_campaign_to_show() -> None:
    summary = inspect_campaign(Dataset(data.sample()))
    assert summary.fittable
    assert summary.camera == "excam-sample"
