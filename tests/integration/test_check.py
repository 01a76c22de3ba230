"""check_darks: says yes to clean frames, and names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import frame_hdus
from commands import run_command
from emdarks.data import Dataset, Image
from emdarks.errors import CalDarksLSQException, InputError
from emdarks.half_split import check_darks
from emdarks.simulate import make_truth, simulate_campaign, simulate_stack

STACKS = [(1.0, 2.0), (1.0, 100.0), (50.0, 10.0), (200.0, 60.0), (1000.0, 5.0), (1000.0, 60.0),
          (5000.0, 2.0), (5000.0, 100.0)]  # fmt: skip
FRAMES = 12


@pytest.fixture(scope="module")
def truth() -> Any:
    return make_truth("excam-small", 3)


def campaign(truth: Any, number: int = FRAMES, **fault: Any) -> Dataset:
    """Frames of every stack one after the other, with one fault."""
    rng = np.random.default_rng(8)
    images: list[Image] = []
    total = len(STACKS) * number
    for gain, time in STACKS:
        data, dq = simulate_stack(truth, gain, time, number, rng)
        for j in range(number):
            pixels = data[j].astype(float) + fault.get("drift", 0.0) * len(images) / total
            if fault.get("leak") == (gain, time):
                pixels[truth.imaging_area] += gain * 0.03
            said = gain * (1.1 if fault.get("gain") == (gain, time) else 1.0)
            hdus = frame_hdus(
                pixels, gain=said, time=time, number=len(images), cards={"CAMERA": "excam-small"}
            )
            images.append(Image(pixels, hdus[0].header, hdus[1].header, dq=dq[j]))
    return Dataset(images)


def test_clean_frames_are_believed(truth: Any) -> None:
    report = check_darks(campaign(truth))
    assert report.believable
    assert report.words == (
        "The errors can be believed: nothing in these frames speaks against them.",
    )
    assert report.disagreeing == ()
    # 11,000 pixels: the scatter of pulls is known to 0.7 %. D differs by half of its mean, and
    # its errors with it: by those of the halves themselves the pulls would scatter by 0.85.
    assert report.pull_std["F"] == pytest.approx(1, abs=0.03)
    assert report.pull_std["C"] == pytest.approx(1, abs=0.06)
    assert report.pull_std["D"] == pytest.approx(1, abs=0.06)
    assert abs(report.drift_sigmas) < 4
    assert len(report.as_dict()["stacks"]) == len(STACKS)


@pytest.mark.parametrize(
    ("fault", "stack"),
    # A tenth of the charge at gain 200 would be 1.4 electrons, lost in the noise.
    [("leak", (1000.0, 60.0)), ("leak", (200.0, 60.0)), ("gain", (1000.0, 60.0))],
)
def test_a_leak_or_a_wrong_gain_names_the_stack(
    truth: Any, fault: str, stack: tuple[float, float]
) -> None:
    report = check_darks(campaign(truth, **{fault: stack}))
    assert not report.believable
    first = report.stacks[report.disagreeing[0]]
    assert first.exposure_time == stack[1]
    assert first.gain == pytest.approx(stack[0], rel=0.11)
    assert any("disagrees with the others" in text for text in report.words)


def test_a_drift_is_seen(truth: Any) -> None:
    report = check_darks(campaign(truth, drift=20.0))
    assert not report.believable
    assert report.drift == pytest.approx(20, abs=6)
    assert "drifts by" in report.words[0]


def test_too_few_frames_or_stacks(truth: Any) -> None:
    with pytest.raises(InputError, match="needs at least 4"):
        check_darks(campaign(truth, number=3))
    dataset = campaign(truth, number=4)
    with pytest.raises(CalDarksLSQException, match="at least 4 stacks"):
        check_darks(dataset[:12])


def test_the_command(tmp_path: Path) -> None:
    simulate_campaign(tmp_path / "darks", "excam-small", frames=6, seed=4)
    said = run_command(tmp_path, "check", "darks")
    assert said.returncode == 0, said.stderr
    assert "odd against even frames" in said.stderr
    assert said.stdout == ""
    made = run_command(tmp_path, "check", "darks", "--json")
    report = json.loads(made.stdout)
    assert len(report["stacks"]) == 6
    assert set(report["pull_std"]) == {"fpn", "cic", "dc"}
    assert report["believable"], report["words"]


def test_a_stack_without_a_good_pixel_is_named(truth: Any) -> None:
    """It must not hide what is wrong with the others."""
    dataset = campaign(truth, gain=(1000.0, 60.0))
    for frame in dataset[:FRAMES]:
        frame.dq = frame.dq | np.uint16(4)
    report = check_darks(dataset)
    assert not report.believable
    assert "has no good pixel in the imaging area" in report.words[0]
    assert len(report.stacks) == len(STACKS) - 1
    assert all(np.isfinite(stack.sigmas) for stack in report.stacks)
    assert any("disagrees with the others" in text for text in report.words)


@pytest.mark.parametrize("flagged", ["all frames", "the odd ones"])
def test_no_pixel_to_compare_is_one_error(truth: Any, flagged: str) -> None:
    dataset = campaign(truth, 4)
    for number, frame in enumerate(dataset):
        if flagged == "all frames" or number % 2:
            dq = frame.dq.copy()
            dq[truth.imaging_area] |= np.uint16(1)
            frame.dq = dq
    with pytest.raises(InputError, match="no pixel of the imaging area can be fitted in both"):
        check_darks(dataset)
