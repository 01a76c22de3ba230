"""Frames, cameras and products that do not go together are told so, never mixed silently."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from emdarks import (
    build_bad_pixel_map,
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    subtract_dark,
)
from emdarks.cameras import Bias, Camera, load_camera
from emdarks.check import check_darks
from emdarks.cli.app import app
from emdarks.data import Dataset, DetectorNoiseMaps
from emdarks.errors import EmdarksWarning, InputError
from emdarks.frames import select_frames
from emdarks.inspection import inspect_campaign
from emdarks.simulate import CampaignFiles, simulate_campaign

ROWS, COLS = 22, 31
STACKS = [(2, 2, 3), (2, 50, 2), (40, 20, 3), (300, 2, 2), (300, 50, 2)]

pytestmark = pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def camera_file(folder: Path) -> Path:
    """A user's camera, "mine", with frames of its own shape."""
    file = folder / "mine.toml"
    file.write_text(
        'like = "sparc4"\nname = "mine"\n[geometry.FULL]\n'
        f"frame_rows = {ROWS}\nframe_cols = {COLS}\n"
        f"image = {{ rows = {ROWS}, cols = {COLS}, r0c0 = [0, 0] }}\n"
    )
    return file


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return camera_file(tmp_path_factory.mktemp("camera"))


@pytest.fixture(scope="module")
def darks(mine: Path, tmp_path_factory: pytest.TempPathFactory) -> CampaignFiles:
    folder = tmp_path_factory.mktemp("darks")
    return simulate_campaign(folder, load_camera(str(mine)), 3, 5, stacks=STACKS)


@pytest.fixture(scope="module")
def maps(darks: CampaignFiles, mine: Path) -> DetectorNoiseMaps:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return calibrate_darks_lsq(Dataset(darks.paths), None, camera=str(mine))


@pytest.fixture(scope="module")
def maps_file(maps: DetectorNoiseMaps, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    maps.save(folder, "maps.fits")
    return folder / "maps.fits"


def changed(paths: Any, folder: Path, *, data: Any = None, **cards: Any) -> list[Path]:
    """Copies of frames with other cards, and pixels made anew."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for path in paths:
        pixels, header = fits.getdata(path), fits.getheader(path)
        header.update(cards)
        pixels = pixels if data is None else data(pixels)
        made.append(folder / Path(path).name)
        fits.PrimaryHDU(pixels, header=header).writeto(made[-1])
    return made


# ---------------------------------------------------------------- science frames in folders


def test_science_frames_of_a_folder_are_subtracted(
    darks: CampaignFiles, mine: Path, maps_file: Path, tmp_path: Path
) -> None:
    changed(darks.paths[:2], tmp_path / "mixed", OBSTYPE="OBJECT")
    changed(darks.paths[2:3], tmp_path / "mixed")
    done = run("subtract", tmp_path / "mixed", "--dark", maps_file, "-o", tmp_path / "out",
               "--camera", mine, "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["frames"] == 3


def test_a_folder_without_darks_says_why_nothing_is_found(
    darks: CampaignFiles, mine: Path, tmp_path: Path
) -> None:
    changed(darks.paths[:2], tmp_path / "science", OBSTYPE="OBJECT")
    with pytest.raises(InputError, match=r"2 files are no darks .* \(OBSTYPE = 'OBJECT'\)"):
        select_frames([str(tmp_path / "science")], str(mine))


def test_a_report_of_a_folder_leaves_other_frames_out(
    darks: CampaignFiles, mine: Path, tmp_path: Path
) -> None:
    changed(darks.paths, tmp_path / "all")
    changed([darks.paths[0]], tmp_path / "all" / "x", OBSTYPE="OBJECT")
    (tmp_path / "all" / "x" / Path(darks.paths[0]).name).rename(tmp_path / "all" / "object.fits")
    page = tmp_path / "campaign.html"
    done = run("report", tmp_path / "all", "-o", page, "--camera", mine, "--json")
    assert done.exit_code == 0, done.output
    findings = json.loads(done.stdout)["reports"][0]["findings"]
    assert not any("is no dark" in finding["text"] for finding in findings)


# ---------------------------------------------------------------- bias


def with_overscan(camera: Camera, columns: int = 5) -> Camera:
    """Columns at the right give the level of each row."""
    geometry = {
        "FULL": {
            "frame_rows": ROWS,
            "frame_cols": COLS,
            "image": {"rows": ROWS, "cols": COLS - columns, "r0c0": [0, 0]},
            "overscan": {"rows": ROWS, "cols": columns, "r0c0": [0, COLS - columns]},
        }
    }
    return replace(camera, geometry=geometry, bias=Bias(region="overscan"))


@pytest.mark.parametrize("kept", [np.s_[:, : COLS - 5], np.s_[:, 3:], np.s_[4:, :]])
def test_a_region_for_the_bias_needs_whole_frames(
    kept: Any, darks: CampaignFiles, mine: Path, tmp_path: Path
) -> None:
    camera = with_overscan(load_camera(str(mine)))
    cut = changed(darks.paths[:2], tmp_path, data=lambda pixels: pixels[kept])
    rows, cols = fits.getdata(cut[0]).shape
    with (
        warnings.catch_warnings(),
        pytest.raises(
            InputError,
            match=f"bias comes from region overscan, which a frame of {rows} x {cols} pixels",
        ),
    ):
        warnings.simplefilter("error")
        build_trad_dark(Dataset(cut), None, camera=camera)
