"""The pages on cameras: figures as in the files, and a guide that works as it stands."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from emdarks.cameras import BUILTIN, load_camera, read_record
from emdarks.cameras.units import UNITS
from emdarks.cli.app import app
from emdarks.data import Dark, DetectorNoiseMaps, Image
from emdarks.simulate import load_truth

pytestmark = pytest.mark.usefixtures("coarse_pictures")

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "howto_camera.md").read_text()


def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_cameras", DOCS / "write_cameras.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figures_on_the_page_are_those_of_the_files() -> None:
    text = (DOCS / "cameras.md").read_text()
    assert writer().page(text) == text, "run: python docs/write_cameras.py"
    assert [line[3:] for line in text.splitlines() if line[3:] in BUILTIN] == list(BUILTIN)


def test_every_built_in_camera_names_the_source_of_its_figures() -> None:
    for name in ("sparc4", "shoc", "ixon-solis", "ixon-897", "nuvu"):
        words = writer()._sources(name)
        assert "Sources." in words
        assert "inference" in words  # and says what is none


def blocks() -> list[dict[str, Any]]:
    return [tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)]


def test_the_steps_of_the_guide_add_up_to_its_file() -> None:
    *steps, complete = blocks()
    assert len(steps) == 8
    merged: dict[str, Any] = {}
    for step in steps:
        assert not set(merged) & set(step)
        merged |= step
    assert merged == complete


def test_the_guide_names_every_unit() -> None:
    for unit in UNITS:
        assert f"`{unit}`" in GUIDE


def test_the_header_on_the_page_is_read_as_the_page_says(tmp_path: Path) -> None:
    camera = load_camera(str(guide_camera(tmp_path)))
    cards: dict[str, Any] = {}
    listing = re.search(r"```text\n(.*?)```", GUIDE, re.DOTALL)
    assert listing is not None
    for line in listing[1].splitlines():
        key, value = line.split("=", 1)
        value = value.split(" /")[0].strip()
        cards[key.strip()] = value.strip("' ") if "'" in value else float(value)
    record = read_record(camera, "dark.fits", (64, 96), (cards, {}))
    assert (record.exposure_time, record.em_gain, record.mode) == (2.0, 300.0, "10 MHz, 2")
    assert record.temperature == pytest.approx(-80.0)
    assert (record.k_gain, record.bias, record.saturation) == (4.2, 310.0, 65535.0)
    stale = read_record(
        camera, "dark.fits", (64, 96), (cards | {"AMP": "CONV", "RATE": "1 MHz"}, {})
    )
    assert (stale.em_gain, stale.k_gain) == (1.0, 0.8)


def guide_camera(folder: Path) -> Path:
    path = folder / "lab.toml"
    path.write_text(re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)[-1])
    return path


@pytest.mark.filterwarnings("ignore:.*no pixel of any frame is flagged")
def test_the_commands_of_the_guide_work_and_find_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    guide_camera(tmp_path)
    commands = re.findall(r"^    emdarks (.*)$", GUIDE, re.MULTILINE)
    assert len(commands) == 9
    for command in commands:
        outcome = CliRunner().invoke(app, shlex.split(command))
        assert outcome.exit_code == 0, (command, outcome.output)
    truth, maps = load_truth("try/truth.fits", "lab.toml"), DetectorNoiseMaps("maps.fits")
    area = truth.imaging_area
    signed = maps.extra("SIGNED")
    assert signed is not None
    expected = (truth.fixed_pattern, truth.clock_induced_charge, truth.dark_current)
    for plane, values in enumerate(expected):
        difference = (signed[plane] - values)[area]
        assert (difference / maps.err[0, plane][area]).std() == pytest.approx(1, abs=0.06)
        assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(difference.size)
    assert abs(Image("less/dark_004_00001.fits").data.mean()) < 0.05
    assert (Dark("dark.fits").data.shape, Dark("traditional.fits").data.shape) == ((64, 80),) * 2
