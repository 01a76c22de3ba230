"""The campaign that comes with the package, and the README, whose examples run on it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from emdarks import calibrate_darks_lsq, load_camera, simulate
from emdarks.cli.app import app
from emdarks.data import Dataset, sample
from emdarks.detector import imaging_slice

pytestmark = pytest.mark.usefixtures("coarse_pictures")

ROOT = Path(__file__).parents[2]


def readme() -> str:
    path = ROOT / "README.md"
    if not path.exists():
        pytest.skip("the README is not beside the tests")
    return path.read_text(encoding="utf-8")


def test_sample_is_small_and_complete() -> None:
    paths = sample()
    assert len(paths) == 24
    assert paths == sorted(paths)
    folder = paths[0].parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 400_000
    assert folder.name == "sample_data"
    assert (folder / "README.md").exists()


def test_sample_is_what_its_note_says(tmp_path: Path) -> None:
    made = simulate.write_sample(tmp_path, compress=True)
    assert [path.name for path in made.paths] == [path.name for path in sample()]
    for ours, theirs in zip(Dataset(made.paths), Dataset(sample()), strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)
        np.testing.assert_array_equal(ours.dq, theirs.dq)
        stamps = {"CHECKSUM", "DATASUM"}
        assert {k: v for k, v in ours.ext_hdr.items() if k not in stamps} == {
            k: v for k, v in theirs.ext_hdr.items() if k not in stamps
        }
    folder = sample()[0].parent
    assert (tmp_path / "campaign.toml").read_text() == (folder / "campaign.toml").read_text()
    truth = simulate.load_truth(folder / "truth.fits.gz")
    np.testing.assert_array_equal(truth.dark_current, made.truth.dark_current)


def test_sample_gives_noise_maps() -> None:
    maps = calibrate_darks_lsq(Dataset(sample()), None)
    assert maps.data.shape == (3, 40, 62)
    camera = load_camera("excam-sample")
    for plane in (*maps.data, *maps.err[0]):
        assert np.isfinite(imaging_slice(camera.arrtype, plane, camera.regions)).all()


def test_sample_camera_is_built_in() -> None:
    camera = simulate.sample_camera()
    assert camera is load_camera("excam-sample")
    assert camera.noise == load_camera("excam").noise


def test_python_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", readme(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert Path("sample_maps.fits").exists()
    less, dark, darks = (names[name] for name in ("less", "dark", "darks"))
    frame = darks[12]  # type: ignore[index]
    for key in ("EMGAIN_C", "EXPTIME", "KGAINPAR"):
        assert frame.ext_hdr[key] == dark.ext_hdr[key]  # type: ignore[attr-defined]
    expected = frame.data * 8.7 / 1000 - dark.data  # type: ignore[attr-defined]
    np.testing.assert_allclose(less[12].data[:-1], expected[:-1])  # type: ignore[index]


def test_commands_in_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^    emdarks (.*)$", readme(), re.MULTILINE)
    assert len(lines) == 13
    for line in lines:
        # Fewer frames: the same commands, sooner done.
        arguments = line.replace("--frames 20", "--frames 4").split()
        outcome = CliRunner().invoke(app, arguments)
        assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in tmp_path.iterdir()} == {
        "darks",
        "maps.fits",
        "report.html",
        "dark.fits",
        "subtracted",
        "bad.fits",
        "hot.csv",
        "hot.reg",
        "traditional.fits",
        "raw",
        "raw_maps.fits",
        "raw_dark.fits",
    }


def test_picture_of_the_readme_is_small() -> None:
    # Badges come from elsewhere.
    (name,) = re.findall(r"!\[[^]]*\]\((?!https:)([^)]*)\)", readme())
    assert 10_000 < (ROOT / name).stat().st_size < 300_000
