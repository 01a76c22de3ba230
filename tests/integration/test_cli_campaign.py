"""emdarks simulate and emdarks inspect, as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from emdarks.cameras import load_camera
from emdarks.cli import console
from emdarks.cli.app import app
from emdarks.cli.simulate import _EFFECTS
from emdarks.data import Dataset, sample
from emdarks.frames import select_frames
from emdarks.simulate import Effects, load_campaign
from emdarks.simulate.campaign import default_stacks

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def darks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "darks"
    outcome = run("simulate", folder, "--camera", "excam-sample", "--frames", 2, "--threads", 1)
    assert outcome.exit_code == 0, outcome.output
    return folder


def test_simulate_says_what_it_made(tmp_path: Path) -> None:
    outcome = run(
        "simulate", tmp_path / "d", "--camera", "excam-sample", "--frames", 2, "--seed", 5,
        "--units", "e", "--unflagged", "0.001", "--json",
    )  # fmt: skip
    assert outcome.exit_code == 0
    made = json.loads(outcome.stdout)
    assert (made["camera"], made["stacks"], made["frames"], made["seed"]) == (
        "excam-sample",
        6,
        12,
        5,
    )
    campaign = load_campaign(tmp_path / "d")
    assert campaign.effects.unflagged == 0.001
    assert campaign.units == "e"
    assert len(select_frames([str(tmp_path / "d")])) == 12


@pytest.mark.parametrize(
    ("options", "rays", "tails", "spoiled", "flagged"),
    [
        (("--level", "1"), 5.0, 13, 0.0, 0.0),
        (("--level", "1", "--rays", 0), 0.0, 13, 0.0, 0.0),
        (("--level", "1", "--rays", 0.5, "--tails", "long", "--spoiled-rows", 2), 0.5, 60, 2, 0.0),
        (("--rays", 7, "--tails", 21), 7.0, 21, 0.0, 0.0),
        ((), 0.0, 13, 0.0, 0.003),
    ],
)
def test_rays_are_the_cameras_at_level_1_and_on_request_at_level_2a(
    options: tuple[Any, ...],
    rays: float,
    tails: int,
    spoiled: float,
    flagged: float,
    tmp_path: Path,
) -> None:
    outcome = run("simulate", tmp_path, "--camera", "excam-sample", "--frames", 1, *options)
    assert outcome.exit_code == 0, outcome.stderr
    effects = load_campaign(tmp_path).effects
    found = (effects.rays, effects.tails, effects.spoiled_rows, effects.flagged)
    assert found == (rays, tails, spoiled, flagged)


@pytest.mark.parametrize(
    ("options", "camera"), [((), "excam"), (("--size", "small"), "excam-small")]
)
def test_size_chooses_the_camera(
    options: tuple[str, ...], camera: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def stop(directory: Path, chosen: Any, *rest: Any, **more: Any) -> None:
        asked.append(chosen.name)
        raise KeyboardInterrupt

    monkeypatch.setattr("emdarks.simulate.simulate_campaign", stop)
    outcome = run("simulate", tmp_path / "d", *options)
    assert asked == [camera]
    assert outcome.exit_code == 130


def test_folder_is_overwritten_only_on_demand(darks: Path, tmp_path: Path) -> None:
    plan = (darks / "campaign.toml").read_text()
    arguments = ("simulate", darks, "--camera", "excam-sample", "--frames", 2)
    refused = run(*arguments)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"error: {darks}: is not empty")
    assert refused.stdout == ""
    assert run(*arguments, "--overwrite").exit_code == 0
    assert (darks / "campaign.toml").read_text() == plan


def test_stacks_and_effects_are_those_that_are_named(tmp_path: Path) -> None:
    outcome = run(
        "simulate", tmp_path / "d", "--camera", "excam-sample", "--frames", 3, "--threads", 1,
        "--stack", "1,2", "--stack", "5000,100,2", "--effect", "register_charge=0.002",
        "--effect", "warming=2",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.stderr
    campaign = load_campaign(tmp_path / "d")
    assert [tuple(stack)[:3] for stack in campaign.stacks] == [(1.0, 2.0, 3), (5000.0, 100.0, 2)]
    assert (campaign.effects.register_charge, campaign.effects.warming) == (0.002, 2.0)
    assert campaign.effects.flagged == 0.003


def test_every_effect_has_an_option() -> None:
    own = {"unflagged", "saturation", "rays", "tails", "spoiled_rows"}
    names = {field.name for field in fields(Effects)}
    assert names - own == set(_EFFECTS)


def test_conventional_readout_is_simulated_at_gain_1(tmp_path: Path) -> None:
    mode = "9914, 1 MHz, Gain 2"
    assert {gain for gain, _ in default_stacks(load_camera("sparc4").in_mode(mode))} != {1.0}
    mode = "SHOC1, 1 MHz, CON, 2.4"
    stacks = default_stacks(load_camera("shoc").in_mode(mode))
    assert stacks == ((1.0, 2.0), (1.0, 100.0), (1.0, 10.0), (1.0, 60.0))


def test_wrong_use_exits_2(tmp_path: Path) -> None:
    for options in (
        ("--units", "furlongs"),
        ("--frames", "0"),
        ("--size", "small", "--camera", "excam"),
        ("--unflagged", "2"),
        ("--level", "2b"),
        ("--rays", "-1"),
        ("--tails", "endless"),
        ("--spoiled-rows", "-1"),
        ("--stack", "1"),
        ("--stack", "1,2,3,4"),
        ("--stack", "one,2"),
        ("--stack", "1,2,2.5"),
        ("--effect", "rays=1"),
        ("--effect", "warming"),
        ("--effect", "warming=2", "--effect", "warming=3"),
    ):
        assert run("simulate", tmp_path / "d", *options).exit_code == 2
    assert run("inspect").exit_code == 2
    assert not (tmp_path / "d").exists()


def test_unknown_camera_exits_1(tmp_path: Path) -> None:
    outcome = run("simulate", tmp_path / "d", "--camera", "nikon")
    assert outcome.exit_code == 1
    assert "nikon" in outcome.stderr


def test_inspect_shows_stacks_findings_and_a_verdict(
    darks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.stderr, "_width", 100)
    outcome = run("inspect", darks)
    assert outcome.exit_code == 0
    assert outcome.stdout == ""
    text = outcome.stderr
    # Before the table it may say how far it is.
    lines = text.splitlines()
    first = "12 frames of 40 x 62 pixels, camera excam-sample, 6 stacks, k-gain 8.7"
    assert any(line.startswith(first) for line in lines)
    header = next(number for number, line in enumerate(lines) if "EM gain " in line)
    rows = [line.split() for line in lines[header + 2 : header + 8]]
    assert [row[:4] for row in rows] == [
        ["1", "2", "2", "-"],
        ["5000", "2", "2", "-"],
        ["50", "10", "2", "-"],
        ["1000", "60", "2", "-"],
        ["1", "100", "2", "-"],
        ["5000", "100", "2", "-"],
    ]
    assert "noise maps (F, C, D) can be fitted to these 6 stacks" in text
    assert lines[-1] == "verdict  usable"


def test_inspect_gives_json(darks: Path) -> None:
    outcome = run("inspect", f"{darks}/*.fits", "--json", "--threads", 1)
    # A pattern names the truth, too: it is a file that was asked for, and no frame.
    assert outcome.exit_code == 1
    found = json.loads(outcome.stdout)["findings"]
    assert [finding["frames"] for finding in found if finding["severity"] == "problem"] == [
        ["truth.fits"]
    ]
    outcome = run("inspect", darks, "--json")
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    summary = json.loads(outcome.stdout)
    assert summary["fittable"] is True
    assert [stack["frames"] for stack in summary["stacks"]] == [2] * 6
    assert {finding["severity"] for finding in summary["findings"]} == {"note", "fine"}
    assert summary["verdict"] == "usable"
    assert len(summary["stacks"][0]["single_frames"]) == 2


def test_inspect_explains_what_cannot_be_fitted() -> None:
    outcome = run("inspect", *sample()[:4])
    assert outcome.exit_code == 1
    assert "problem" in outcome.stderr
    assert "at least 4 stacks" in outcome.stderr


def test_inspect_of_nothing_exits_1(tmp_path: Path) -> None:
    outcome = run("inspect", tmp_path)
    assert outcome.exit_code == 1
    assert "holds no FITS file" in outcome.stderr


def test_truth_is_left_out_of_a_folder(darks: Path) -> None:
    assert (darks / "truth.fits").exists()
    names = [frame.filename for frame in select_frames([str(darks)])]
    assert len(names) == 12
    assert "truth.fits" not in names
    packed = sample()[0].parent
    assert len(select_frames([str(packed)])) == len(Dataset(sample()))


def test_dark_takes_the_stack_asked_for(darks: Path, tmp_path: Path) -> None:
    path = tmp_path / "dark.fits"
    outcome = run("dark", darks, "-o", path, "--gain", 1000, "--exptime", 60, "--json")
    assert outcome.exit_code == 0
    made = json.loads(outcome.stdout)
    assert (made["em_gain"], made["exposure_time_s"]) == (1000.0, 60.0)
    for options in ((), ("--gain", "5000")):
        several = run("dark", darks, "-o", tmp_path / "other.fits", *options)
        assert several.exit_code == 2
        assert "--gain 5000 --exptime 2" in several.stderr
        assert "these frames are" in several.stderr
    none = run("dark", darks, "-o", tmp_path / "other.fits", "--gain", 7)
    assert none.exit_code == 1
    assert "none of the 12 frames" in none.stderr


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from emdarks.cli import main\n"
        "sys.argv = ['emdarks', 'inspect', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('loaded', sorted({'numpy', 'astropy', 'matplotlib'} & set(sys.modules)))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert outcome.returncode == 0
    assert "Example: emdarks inspect darks/" in outcome.stdout
    assert outcome.stdout.splitlines()[-1] == "loaded []"


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from io import StringIO

    from rich.console import Console

    screen = StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=screen, force_terminal=True, width=80))
    with console.progress("simulating", "frames") as advance:
        advance(3, 4)
    assert "simulating" in screen.getvalue()
    assert "\r" in screen.getvalue() or "\x1b[" in screen.getvalue()
