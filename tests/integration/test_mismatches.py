"""Frames, cameras and products that do not go together are told so, never mixed silently."""

from __future__ import annotations

import json
import shutil
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
from emdarks.checks import inspect_campaign
from emdarks.cli.app import app
from emdarks.data import Dataset, DetectorNoiseMaps, sample
from emdarks.errors import EmdarksWarning, InputError
from emdarks.frames import select_frames
from emdarks.half_split import check_darks
from emdarks.products.dark import step_of_dark
from emdarks.simulate import CampaignFiles, simulate_campaign

ROWS, COLS = 22, 31
STACKS = [(2, 2, 3), (2, 50, 2), (40, 20, 3), (300, 2, 2), (300, 50, 2)]

pytestmark = [
    pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning"),
    pytest.mark.usefixtures("coarse_pictures"),
]


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
    words = f"bias comes from region overscan, which a frame of {rows} x {cols} pixels"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=words):
            build_trad_dark(Dataset(cut), None, camera=camera)


def test_two_bias_frames_of_one_name_are_not_the_same(
    darks: CampaignFiles, mine: Path, tmp_path: Path
) -> None:
    cameras = []
    for folder, level in (("one", 500.0), ("two", 700.0)):
        (tmp_path / folder).mkdir()
        fits.PrimaryHDU(np.full((ROWS, COLS), level, np.float32)).writeto(
            tmp_path / folder / "bias.fits"
        )
        bias = Bias(file=str(tmp_path / folder / "bias.fits"))
        cameras.append(replace(load_camera(str(mine)), bias=bias))
    stack = Dataset(darks.paths[:3])
    dark = build_trad_dark(stack, None, camera=cameras[0])
    assert len(subtract_dark(stack, dark, camera=cameras[0])) == 3
    with pytest.raises(InputError, match="the bias subtracted is: frame bias"):
        subtract_dark(stack, dark, camera=cameras[1])


def in_electrons(paths: Any, folder: Path) -> Dataset:
    """Frames in EM electrons, their bias subtracted before."""
    made = changed(
        paths, folder, data=lambda dn: ((dn - 500.0) * 3.96).astype(np.float32),
        BUNIT="detected EM electron",
    )  # fmt: skip
    return Dataset(made)


def test_of_frames_in_electrons_nobody_knows_the_bias(
    darks: CampaignFiles, mine: Path, tmp_path: Path
) -> None:
    dark = build_trad_dark(in_electrons(darks.paths[:3], tmp_path), None, camera=str(mine))
    assert "BIASSUB" not in dark.ext_hdr
    assert "bias level was subtracted" not in str(dark.ext_hdr["HISTORY"])


# ---------------------------------------------------------------- frames without their dark


def test_frames_less_their_dark_are_no_darks(
    darks: CampaignFiles, mine: Path, maps: DetectorNoiseMaps
) -> None:
    camera = load_camera(str(mine))
    less = subtract_dark(Dataset(darks.paths), maps, camera=camera)
    assert less[0].ext_hdr["BUNIT"] == "photoelectron"
    refused = "a dark was subtracted from it already"
    with pytest.raises(InputError, match=refused):
        build_trad_dark(less[:3], None, camera=camera)
    with pytest.raises(InputError, match=refused):
        calibrate_darks_lsq(less, None, camera=camera)
    with pytest.raises(InputError, match=refused):
        check_darks(less, camera=camera)
    findings = inspect_campaign(less[:3], camera=camera).findings
    assert any(refused in finding.text for finding in findings)


def test_check_warns_of_an_unknown_unit(darks: CampaignFiles, mine: Path, tmp_path: Path) -> None:
    odd = changed(darks.paths, tmp_path / "with bias", BUNIT="furlong")
    with pytest.raises(InputError, match="'furlong' is not known"):
        check_darks(Dataset(odd), camera=str(mine))
    odd = [Path(shutil.copy(path, tmp_path)) for path in sample()]
    for path in odd:
        fits.setval(path, "BUNIT", value="furlong", ext=1)
    with pytest.warns(EmdarksWarning, match="the unit 'furlong', .* as EM electrons"):
        check_darks(Dataset(odd))


# ---------------------------------------------------------------- k-gain and camera


def test_a_dark_with_another_k_gain_is_refused(darks: CampaignFiles, mine: Path) -> None:
    camera, stack = load_camera(str(mine)), Dataset(darks.paths[:3])
    plain = build_trad_dark(stack, None, camera=camera)
    other = build_trad_dark(stack, None, camera=camera, kgain=8.0)
    used = stack[0].pri_hdr["GAIN"]
    assert (plain.ext_hdr["KGAINUSE"], other.ext_hdr["KGAINUSE"]) == (used, 8.0)
    with pytest.raises(InputError, match=r"was made with k-gain 8, .* give --kgain .* 8 here, too"):
        subtract_dark(stack, other, camera=camera)
    with pytest.raises(InputError, match="leave --kgain"):
        subtract_dark(stack, plain, camera=camera, kgain=8.0)
    less = subtract_dark(stack, other, camera=camera, kgain=8.0)
    assert abs(np.mean([frame.data.mean() for frame in less])) < 1e-6


def test_maps_with_another_k_gain_are_refused(darks: CampaignFiles, mine: Path) -> None:
    camera, stack = load_camera(str(mine)), Dataset(darks.paths[:3])
    maps = calibrate_darks_lsq(Dataset(darks.paths), None, camera=camera, kgain=8.0)
    for make in (subtract_dark, build_synthesized_dark):
        with pytest.raises(InputError, match="was made with k-gain 8"):
            make(stack, maps, camera=camera)
    dark = build_synthesized_dark(stack, maps, camera=camera, kgain=8.0)
    by_number = maps.synthesize(2.0, 2.0)
    for source in (maps, dark, by_number):
        assert len(subtract_dark(stack, source, camera=camera, kgain=8.0)) == 3
    with pytest.raises(InputError, match="k-gain"):
        subtract_dark(stack, by_number, camera=camera)


def test_maps_of_several_k_gains_serve_frames_of_each(
    darks: CampaignFiles, mine: Path, tmp_path: Path
) -> None:
    camera = load_camera(str(mine))
    others = changed(darks.paths[:3], tmp_path, GAIN=4.5)
    maps = calibrate_darks_lsq(Dataset([*others, *darks.paths[3:]]), None, camera=camera)
    assert maps.ext_hdr["KGAINUSE"] == -999
    for path in (others[0], darks.paths[5]):
        assert len(subtract_dark(Dataset([path]), maps, camera=camera)) == 1
    with pytest.raises(InputError, match=r"made with k-gain \S+ and 4.5"):
        subtract_dark(Dataset(others), maps, camera=camera, kgain=7.0)


def test_synthesize_like_takes_a_k_gain(
    darks: CampaignFiles, mine: Path, maps_file: Path, tmp_path: Path
) -> None:
    words = ("synthesize", maps_file, "-o", tmp_path / "d.fits", "--like", darks.paths[0])
    done = run(*words, "--camera", mine, "--kgain", 8)
    assert (done.exit_code, "was made with k-gain" in done.output) == (1, True), done.output


def test_maps_of_another_camera_make_no_dark(
    darks: CampaignFiles, mine: Path, maps: DetectorNoiseMaps
) -> None:
    other = replace(load_camera(str(mine)), name="other")
    for make in (subtract_dark, build_synthesized_dark):
        with pytest.raises(InputError, match=r"comes from camera 'mine'.*'other'"):
            make(Dataset(darks.paths[:3]), maps, camera=other)


def test_a_product_of_a_users_camera_asks_for_its_file(
    maps: DetectorNoiseMaps, maps_file: Path, mine: Path, tmp_path: Path
) -> None:
    words = "was made with camera 'mine', which is not built in; give its file"
    with pytest.raises(InputError, match=words):
        build_bad_pixel_map(maps)
    assert build_bad_pixel_map(maps, camera=str(mine)).data.shape == (ROWS, COLS)
    command = ("synthesize", maps_file, "-o", tmp_path / "dark.fits", "--gain", 5, "--exptime", 3)
    done = run(*command)
    assert done.exit_code == 1
    assert "camera 'mine'" in done.output
    done = run(*command, "--camera", mine)
    assert done.exit_code == 0, done.output


def test_inspect_takes_a_k_gain(darks: CampaignFiles, mine: Path) -> None:
    both = [
        inspect_campaign(Dataset(darks.paths[:3]), camera=str(mine), kgain=kgain).stacks[0]
        for kgain in (None, 8.0)
    ]
    assert both[1].k_gain == 8.0
    assert both[1].level / both[0].level == pytest.approx(8.0 / both[0].k_gain)
    done = run("inspect", *darks.paths[:3], "--camera", mine, "--kgain", 8)
    assert "1 stack, k-gain 8" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("cards", "step"),
    [
        ({"DRPNFILE": 8, "EMGAIN_C": 300.0, "IS_SYNTH": 0}, 1 / 8),
        ({"DRPNFILE": 8, "EMGAIN_C": 1.0, "IS_SYNTH": 0}, 0.0),
        ({"EMGAIN_C": 300.0}, 0.0),
        ({"DRPNFILE": 8, "EMGAIN_C": 300.0, "IS_SYNTH": 1, "ONE_ELEC": 0.25}, 0.25),
    ],
)
def test_what_an_electron_does_to_a_dark(cards: dict[str, Any], step: float) -> None:
    assert step_of_dark(cards) == step


def test_the_history_of_a_map_of_a_dark_names_cards_that_it_has(
    darks: CampaignFiles, mine: Path
) -> None:
    dark = build_trad_dark(Dataset(darks.paths[:3]), None, camera=str(mine))
    made = build_bad_pixel_map(dark, camera=str(mine))
    named = [key for key in ("BPSIGMA", "BPWARM", "BPHOT") if key in str(made.ext_hdr["HISTORY"])]
    assert named == [key for key in ("BPSIGMA", "BPWARM", "BPHOT") if key in made.ext_hdr]
