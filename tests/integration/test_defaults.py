"""Defaults that a user sets once: emdarks.toml beside the frames, and EMDARKS_CAMERA."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from astropy.io import fits
from typer.testing import CliRunner

from emdarks import build_trad_dark
from emdarks.cli.app import app
from emdarks.cli.command import Option
from emdarks.cli.settings import FILE, VARIABLE, _one, _option, allowed_keys
from emdarks.data import Dark, Dataset
from emdarks.errors import MissingKeywordError
from loops import for_each

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no pixel of any frame is flagged", "ignore:.*fewer than 1176 frames"
)
DOCS = Path(__file__).parents[2] / "docs"
GROUP: Any = typer.main.get_command(app)
SHAPE = (19, 34)
LEVEL = 300
#: Electrons per DN of the camera file; the level of a dark at gain 2 is LEVEL * K / 2.
K = 4.0
CAMERA = f"""
name = "lab"
description = "a camera"
arrtype = "FULL"
sensitivity = "fixed"
[frames]
dtype = "uint16"
err_and_dq = false
windows = true
[geometry.FULL]
frame_rows = 19
frame_cols = 34
image = {{ rows = 19, cols = 34, r0c0 = [0, 0] }}
[keywords]
exposure_time = "EXPTIME"
commanded_gain = "EMGAIN"
better_gains = []
k_gain = ""
[units]
"" = "DN"
[settings]
rate = "RATE"
[noise]
k_gain = {K}
read_noise = 40.0
clock_induced_charge = 0.01
dark_current = 0.002
"""


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Three frames at EM gain 2 in each of two rates, and the camera file beside them."""
    folder = tmp_path / "night"
    folder.mkdir()
    random = np.random.default_rng(5)
    for i in range(6):
        hdu = fits.PrimaryHDU(random.integers(LEVEL - 9, LEVEL + 10, SHAPE).astype(np.uint16))
        hdu.header.update({"EXPTIME": 1.5, "EMGAIN": 2, "RATE": "slow" if i % 2 else "fast"})
        hdu.writeto(folder / f"d{i}.fits")
    (folder / "lab.toml").write_text(CAMERA)
    return folder


def defaults(night: Path, text: str) -> Path:
    path = night / FILE
    path.write_text(text)
    return path


BOTH = 'camera = "lab.toml"\nwhere = ["rate=slow"]\n'


def dark(night: Path, *more: Any) -> tuple[float, Any]:
    """Mean of the dark that the frames make, and what the command said."""
    path = night.parent / "dark.fits"
    done = run("dark", night, "-o", path, "--overwrite", *more)
    assert done.exit_code == 0, done.output
    return float(np.median(Dark(str(path)).data)), done


# ---------------------------------------------------------------- what counts


def test_options_come_from_the_file_beside_the_frames(night: Path) -> None:
    path = defaults(night, BOTH + "kgain = 5\nthreads = 1\n")
    level, done = dark(night)
    assert level == pytest.approx(LEVEL * 5 / 2, rel=0.03)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("from ")]
    assert set(line.removeprefix(f"from {path}: ").split(", ")) == {
        f"camera {night / 'lab.toml'}",
        "where rate=slow",
        "kgain 5",
        "threads 1",
    }
    assert Dark(str(night.parent / "dark.fits")).ext_hdr["DRPNFILE"] == 3


@pytest.mark.parametrize("name", ["d1.fits", "d*.fits", "@list.txt"])
def test_frames_may_be_named_in_every_way(name: str, night: Path, tmp_path: Path) -> None:
    defaults(night, BOTH)
    (tmp_path / "list.txt").write_text("night/d1.fits\nnight/d3.fits\n")
    named = f"@{tmp_path / 'list.txt'}" if name.startswith("@") else night / name
    done = run("inspect", named, "--json")
    assert f"from {night / FILE}: " in done.stderr
    assert json.loads(done.stdout)["camera"] == "lab"


def test_the_command_line_comes_before_the_file(night: Path) -> None:
    defaults(night, BOTH + "kgain = 5\n")
    level, done = dark(night, "--kgain", 6)
    assert level == pytest.approx(LEVEL * 6 / 2, rel=0.03)
    assert "kgain" not in done.stderr
    _, done = dark(night, "--where", "rate=fast")
    assert "where" not in done.stderr
    setting = Dark(str(night.parent / "dark.fits")).ext_hdr["READOUT"]
    assert "fast" in setting


def test_quiet_says_nothing_of_it(night: Path) -> None:
    defaults(night, BOTH)
    _, done = dark(night, "--quiet")
    assert not [line for line in done.stderr.splitlines() if line.startswith("from ")]


def test_the_camera_by_option_file_card_variable_in_this_order(
    night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = night.parent / "other.toml"
    other.write_text(CAMERA.replace(f"k_gain = {K}", "k_gain = 7.0"))
    third = night.parent / "third.toml"
    third.write_text(CAMERA.replace(f"k_gain = {K}", "k_gain = 9.0"))
    slow = ("--where", "rate=slow")
    monkeypatch.setenv(VARIABLE, str(other))
    level, done = dark(night, *slow)
    assert level == pytest.approx(LEVEL * 7 / 2, rel=0.03)
    assert f"from {VARIABLE}: camera {other}" in done.stderr.splitlines()
    defaults(night, BOTH)
    level, done = dark(night, *slow)
    assert level == pytest.approx(LEVEL * K / 2, rel=0.03)
    assert VARIABLE not in done.stderr
    level, _ = dark(night, "--camera", third, *slow)
    assert level == pytest.approx(LEVEL * 9 / 2, rel=0.03)


def test_frames_that_name_their_camera_are_not_overruled_by_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("simulate", tmp_path / "sim", "--size", "small", "--frames", 1).exit_code == 0
    monkeypatch.setenv(VARIABLE, "shoc")
    done = run("inspect", tmp_path / "sim", "--json")
    assert json.loads(done.stdout)["camera"] == "excam-small"
    assert VARIABLE not in done.stderr
    # A file beside them is about them.
    defaults(tmp_path / "sim", 'camera = "sparc4"')
    done = run("inspect", tmp_path / "sim", "--json")
    assert json.loads(done.stdout)["camera"] == "sparc4"


def test_the_variable_serves_plan_and_not_simulate(
    night: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = json.loads(run("plan", "--frames", 10, "--json").stdout)
    monkeypatch.setenv(VARIABLE, str(night / "lab.toml"))
    done = run("plan", "--frames", 10, "--json")
    named = json.loads(run("plan", "--frames", 10, "--json", "--camera", night / "lab.toml").stdout)
    assert json.loads(done.stdout) == named
    assert named["error_fpn_e"] != usual["error_fpn_e"]
    made = run("simulate", night.parent / "sim", "--size", "small", "--frames", 1, "--json")
    assert json.loads(made.stdout)["camera"] == "excam-small"


def test_functions_of_python_look_at_neither(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults(night, BOTH)
    monkeypatch.setenv(VARIABLE, str(night / "lab.toml"))
    with pytest.raises(MissingKeywordError, match="no camera was given"):
        build_trad_dark(Dataset(sorted(night.glob("d*.fits"))), None)


def test_every_command_that_takes_frames_takes_the_file(night: Path, tmp_path: Path) -> None:
    defaults(night, BOTH + f'dark = "{tmp_path / "dark.fits"}"\nskip-bad-frames = true\n')
    dark(night)
    for command, more in {
        "inspect": [],
        "subtract": ["-o", tmp_path / "less"],
        "report": ["-o", tmp_path / "page.html"],
        "noisemaps": ["-o", tmp_path / "maps.fits"],
        "check": [],
    }.items():
        frames = night / "d1.fits" if command == "subtract" else night
        done = run(command, frames, *more)
        assert f"from {night / FILE}: " in done.stderr, (command, done.output)
        assert "no camera was given" not in done.output
    subtracted = fits.getdata(tmp_path / "less" / "d1.fits", 1)
    assert abs(float(np.mean(subtracted))) < 2.0  # of 600


def test_a_report_with_frames_takes_the_file_beside_those(night: Path, tmp_path: Path) -> None:
    path = defaults(night, 'mask-bits = "x"')
    done = run("report", tmp_path / "maps.fits", "--frames", night, "-o", tmp_path / "page.html")
    assert f"{path}: key 'mask-bits'" in done.output


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kgian = 4", "unknown key 'kgian'; did you mean kgain"),
        ("mask_bits = 1", "unknown key 'mask_bits'; did you mean mask-bits?"),
        ("zzzzzzzz = 4", "unknown key 'zzzzzzzz'; known are against, "),
        ("[dark]\nkgain = 4", "key 'dark': is {'kgain': 4}, not a text"),
        ("threads = '4'", "key 'threads': is '4', not a whole number"),
        ("kgain = true", "key 'kgain': is True, not a text"),
        ("mask-bits = true", "key 'mask-bits': is True, not a whole number"),
        ("mask-bits = 1.5", "key 'mask-bits': is 1.5, not a whole number"),
        ("mask-bits = -1", "key 'mask-bits': is -1; give 0 or more"),
        ("skip-share = 1.0", "key 'skip-share': is 1.0; give 0 to 0.99"),
        ("skip-share = nan", "key 'skip-share': is nan; give 0 to 0.99"),
        ("threads = 0", "key 'threads': is 0; give 1 or more"),
        ("camera = 5", "key 'camera': is 5, not a text"),
        ("skip-bad-frames = 1", "key 'skip-bad-frames': is 1, not true or false"),
        ("where = [1]", "key 'where': is 1, not a text"),
        ("estimator = 'best'", "key 'estimator': is 'best'; this command knows sample, pooled"),
        ("kgain = [", "is not valid TOML"),
        ("a = " + "[" * 3000, "is not valid TOML"),
        ("camera = 'lab.toml'\nparams = 'no.fits'", "no.fits"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(text: str, words: str, night: Path) -> None:
    path = defaults(night, text)
    done = run("dark", night, "-o", night.parent / "dark.fits")
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert words in line
    assert str(path) in line or str(night / "no.fits") in line
    assert not (night.parent / "dark.fits").exists()


def test_a_file_that_is_no_text_is_named(night: Path) -> None:
    path = night / FILE
    path.write_bytes(b"\xff\xfe\x00")
    done = run("inspect", night)
    assert done.exit_code == 1
    assert f"{path}: cannot be read" in done.stderr


@pytest.mark.parametrize(
    "key",
    ["output", "overwrite", "json", "plot", "png", "checkpoint", "dask", "verbose", "quiet"],
)
def test_where_to_write_is_for_the_command_line_alone(key: str, night: Path) -> None:
    defaults(night, f'{key} = "x"')
    done = run("inspect", night)
    assert done.exit_code == 1
    assert f"key {key!r}: only the command line may give this option" in done.stderr


def test_no_key_writes(night: Path) -> None:
    """An option that is new here must be looked at: may a folder that someone sent set it?"""
    takers = [GROUP.commands[n] for n in ("inspect", "noisemaps", "dark", "subtract", "check")]
    keys = allowed_keys([*takers, GROUP.commands["report"]])
    writers = re.compile(r"\b(write|draw|replace|keep|save|made if|figures as files)\b", re.I)
    harmless = {"unweighted", "nonnegative"}
    found = {key for key, option in keys.items() if writers.search(option.info.help or "")}
    assert found <= harmless, found
    assert {"camera", "kgain", "params", "mask-bits", "threads", "where", "dark"} <= set(keys)


@for_each(
    "metavar, value, found",
    [
        ("FILE|NUMBER", 5.25, "5.25"),
        ("FILE|NUMBER", "5.25", "5.25"),
        ("FILE|NUMBER", "k.fits", "night/k.fits"),
        ("FILE|none", "none", "none"),
        ("MAPS|none", "maps.fits", "night/maps.fits"),
        ("FRAMES", "d1*.fits", "night/d1*.fits"),
        ("FRAMES", "@bad.txt", "@night/bad.txt"),
        ("FRAMES", "s3://store/d1.fits", "s3://store/d1.fits"),
        ("FILE", "/elsewhere/k.fits", "/elsewhere/k.fits"),
        ("KEY=VALUE", "rate=10", "rate=10"),
    ],
)
def test_paths_are_relative_to_the_file(metavar: str, value: Any, found: str) -> None:
    option = _option("x", str | None, Option(None, "", metavar=metavar))
    assert _one(Path("night") / FILE, "x", option, value) == found


def test_the_example_of_the_page_is_taken(night: Path) -> None:
    page = (DOCS / "cameras.md").read_text()
    (text,) = re.findall(r"```toml\n(# emdarks\.toml.*?)```", page, re.DOTALL)
    assert tomllib.loads(text)["where"] == ["rate=10 MHz"]
    defaults(night, text.replace("10 MHz", "slow"))
    level, _ = dark(night)
    assert level == pytest.approx(LEVEL * 5.1 / 2, rel=0.03)


def test_help_needs_no_good_file(night: Path) -> None:
    defaults(night, "kgian = 4")
    assert run("inspect", night, "--help").exit_code == 0
