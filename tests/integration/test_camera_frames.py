"""Frames of other cameras, from files to products: bias, saturation, settings, cubes, windows.

The campaigns are small windows of the built-in cameras, simulated with their headers.
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
from emdarks.accumulate import Threads
from emdarks.cameras import BUILTIN, Bias, Camera, load_camera
from emdarks.checks import inspect_campaign
from emdarks.cli.app import app
from emdarks.data import Dark, Dataset, DetectorNoiseMaps, Image
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits import unpacked
from emdarks.fits.pixels import Scratch
from emdarks.frames import frame_inputs, select_frames
from emdarks.half_split import check_darks
from emdarks.simulate import (
    CampaignFiles,
    Effects,
    default_stacks,
    load_campaign,
    load_truth,
    simulate_campaign,
    write_science_frame,
)
from emdarks.subtract import save_subtracted

ROWS, COLS, FRAMES = 37, 53, 40

# Frames without DQ plane are never flagged.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*no pixel of any frame is flagged"),
    pytest.mark.usefixtures("coarse_pictures"),
]


def small(name: str) -> Camera:
    """A window of a built-in camera, warm enough to show its dark current in few frames."""
    camera = load_camera(name).fitted_to((ROWS, COLS))
    noise = replace(camera.noise, clock_induced_charge=0.05, dark_current=0.01)
    return replace(camera, noise=noise)


@pytest.fixture(scope="module", params=["sparc4", "shoc"])
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    return simulate_campaign(folder, small(request.param), FRAMES, seed=4)


@pytest.fixture(scope="module")
def sparc4(tmp_path_factory: pytest.TempPathFactory) -> CampaignFiles:
    """Few frames of few stacks."""
    stacks = [(2, 2, 3), (2, 50, 2), (40, 20, 3), (300, 2, 2), (300, 50, 2)]
    return simulate_campaign(tmp_path_factory.mktemp("few"), small("sparc4"), 3, 5, stacks=stacks)


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def plain_frame(path: Path, data: Any, **cards: Any) -> Path:
    """A file like those of the cameras: pixels in the primary HDU."""
    header = fits.Header({key: value for key, value in cards.items() if value is not None})
    fits.PrimaryHDU(np.asarray(data), header=header).writeto(path)
    return path


SPARC4 = {
    "EXPTIME": 3.5, "EMGAIN": 25.0, "GAIN": 2.0, "EMMODE": "Electron Multiplying",
    "PREAMP": "Gain 2", "READRATE": 1.0, "CCDSERN": 9914, "OBSTYPE": "DARK",
}  # fmt: skip


def pulls(found: npt.NDArray[Any], truth: npt.NDArray[Any], err: npt.NDArray[Any]) -> Any:
    return (found - truth)[err > 0] / err[err > 0]


# ---------------------------------------------------------------- from frames to products


def test_files_have_the_layout_and_the_headers_of_the_camera(campaign: CampaignFiles) -> None:
    camera = campaign.campaign.camera
    with fits.open(campaign.paths[0]) as hdus:
        assert len(hdus) == 1
        assert hdus[0].data.dtype == np.uint16
        header = hdus[0].header
    if camera.name == "sparc4":
        assert (header["NAXIS"], len(campaign.paths)) == (2, 6 * FRAMES)
        assert {"EMMODE", "EMGAIN", "READRATE", "CCDSERN", "OBSTYPE"} <= set(header)
    else:
        assert (header["NAXIS"], header["NAXIS3"], len(campaign.paths)) == (3, FRAMES, 6)
        assert {"OUTPTAMP", "READTIME", "SERNO", "EXPOSURE"} <= set(header)
        assert header["GAIN"] == campaign.campaign.stacks[0].gain
        assert not {"EXPTIME", "KGAINPAR", "EMGAIN_C"} & set(header)
    assert "BUNIT" not in header
    assert header["BZERO"] == 32768


def test_noise_maps_are_the_truth_within_their_errors(campaign: CampaignFiles) -> None:
    camera, truth = campaign.campaign.camera, campaign.truth
    maps = calibrate_darks_lsq(Dataset(campaign.paths), None, camera=camera)
    signed, err = maps.extra("SIGNED"), maps.err[0]
    expected = (truth.fixed_pattern, truth.clock_induced_charge, truth.dark_current)
    for plane, (name, values) in enumerate(zip("FCD", expected, strict=True)):
        assert pulls(signed[plane], values, err[plane]).std() == pytest.approx(1, abs=0.06), name
        difference = signed[plane] - values
        assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(difference.size), name
    assert not maps.dq.any()
    history = " ".join(str(line) for line in maps.ext_hdr["HISTORY"])
    assert f"Camera {camera.name} has no prescan" in history
    assert maps.bias_offset == 0.0
    if camera.name == "sparc4":
        # No bias level is known: F holds it.
        assert "No bias level was subtracted" in history
        assert np.median(signed[0]) == pytest.approx(500 * 3.96, abs=10)
    else:
        assert "Bias subtracted from every frame: level 347 DN" in history
        assert abs(np.median(signed[0])) < 10
    assert "serial=" in maps.ext_hdr["READOUT"]


def test_a_dark_is_the_truth_within_its_errors(campaign: CampaignFiles) -> None:
    camera, truth = campaign.campaign.camera, campaign.truth
    records = [item.record for item in frame_inputs(Dataset(campaign.paths), camera)]
    chosen = [i for i, r in enumerate(records) if (r.em_gain, r.exposure_time) == (300.0, 100.0)]
    assert len(chosen) == FRAMES
    dark = build_trad_dark(Dataset(campaign.paths)[chosen], None, camera=camera, estimator="pooled")
    assert dark.data.shape == (ROWS, COLS)
    pull = pulls(dark.data, truth.mean(300.0, 100.0) / 300.0, dark.err[0])
    assert pull.std() == pytest.approx(1, abs=0.1)
    assert dark.ext_hdr["KGAINPAR"] == camera.noise.k_gain
    assert dark.ext_hdr["EMGAIN_C"] == 300.0
    assert dark.ext_hdr["READOUT"] == "; ".join(f"{k}={v}" for k, v in records[0].setting)


def test_a_dark_for_any_frame_leaves_its_light(campaign: CampaignFiles, tmp_path: Path) -> None:
    camera, truth = campaign.campaign.camera, campaign.truth
    maps = calibrate_darks_lsq(Dataset(campaign.paths), None, camera=camera)
    maps.save(tmp_path, "maps.fits")
    again = DetectorNoiseMaps(tmp_path / "maps.fits")
    frame = write_science_frame(tmp_path, truth, 150.0, 30.0, 40.0, effects=Effects.none())
    less = subtract_dark(Dataset([frame]), again, camera=camera)[0]
    assert less.data.mean() == pytest.approx(40.0, abs=4 * less.data.std() / np.sqrt(ROWS * COLS))
    assert less.data.std() < 12  # sqrt(2 * 40): nothing of the pattern is left
    history = " ".join(str(line) for line in less.ext_hdr["HISTORY"])
    assert ("Bias subtracted before: level 347 DN" in history) is (camera.name == "shoc")
    if camera.name == "shoc":  # a cube of one frame
        assert less.filename == "science_00001.fits"
    dark = build_synthesized_dark(Dataset([frame]), again, camera=camera)
    other = subtract_dark(Dataset([frame]), dark, camera=camera)[0]
    np.testing.assert_allclose(other.data, less.data, rtol=1e-12, atol=1e-12)


def test_planes_of_a_cube_become_files_of_their_own(
    campaign: CampaignFiles, tmp_path: Path
) -> None:
    camera = campaign.campaign.camera
    maps = calibrate_darks_lsq(Dataset(campaign.paths), None, camera=camera)
    less = subtract_dark(Dataset(campaign.paths)[:3], maps, camera=camera)
    paths = save_subtracted(less, tmp_path)
    expected = {"shoc": "dark_001_0002.fits", "sparc4": "dark_001_00003.fits"}
    assert paths[2].name == expected[camera.name]
    assert Image(paths[2]).ext_hdr["BUNIT"] == "photoelectron"


def test_a_bias_that_is_read_otherwise_is_refused(campaign: CampaignFiles) -> None:
    camera = campaign.campaign.camera
    maps = calibrate_darks_lsq(Dataset(campaign.paths), None, camera=camera)
    changed = replace(camera, bias=Bias(level=7.0), modes=())
    changed = replace(changed, sensitivity=("fixed",))
    with pytest.raises(InputError, match=r"the bias subtracted is: level 7 DN; from the frames of"):
        subtract_dark(Dataset(campaign.paths[:1]), maps, camera=changed)


def test_bad_pixels_of_a_window(campaign: CampaignFiles) -> None:
    """The built-in camera has the whole detector; the map follows the product."""
    camera = campaign.campaign.camera
    maps = calibrate_darks_lsq(Dataset(campaign.paths), None, camera=camera)
    found = build_bad_pixel_map(maps, camera=load_camera(camera.name), window=16)
    assert found.data.shape == (ROWS, COLS)
    hot = campaign.truth.dark_current > 0.3
    assert (found.data[hot] & 8 != 0).mean() > 0.9


def test_check_and_inspect_take_them(campaign: CampaignFiles) -> None:
    camera = campaign.campaign.camera
    report = check_darks(Dataset(campaign.paths), camera=camera)
    assert report.believable, report.words
    summary = inspect_campaign(Dataset(campaign.paths), camera=camera)
    assert summary.fittable
    assert summary.shape == (ROWS, COLS)
    assert [stack.frames for stack in summary.stacks] == [FRAMES] * 6


def test_from_memory_and_from_files_the_same_bits(campaign: CampaignFiles) -> None:
    camera = campaign.campaign.camera
    files = Dataset(campaign.paths)
    memory = [
        Image(frame.data, frame.pri_hdr, frame.ext_hdr, np.zeros(frame.data.shape), frame.dq)
        for frame in files
    ]
    one = calibrate_darks_lsq(files, None, camera=camera, executor=Threads(2))
    other = calibrate_darks_lsq(
        Dataset(memory), None, camera=camera, executor=Threads(1, run_pixels=100)
    )
    np.testing.assert_array_equal(one.data, other.data)
    np.testing.assert_array_equal(one.err, other.err)


def test_the_command_line_takes_them(tmp_path: Path) -> None:
    folder, maps = tmp_path / "darks", tmp_path / "maps.fits"
    text = (
        'like = "shoc"\nname = "window"\n[geometry.FULL]\nframe_rows = 19\nframe_cols = 31\n'
        "image = { rows = 19, cols = 31, r0c0 = [0, 0] }\n[simulation]\nframes_per_file = 3\n"
    )
    camera = tmp_path / "window.toml"
    camera.write_text(text)
    mode = "SHOC2, 1 MHz, EM, 5.2"
    made = run("simulate", folder, "--camera", camera, "--frames", 4, "--mode", mode, "--json")
    assert made.exit_code == 0, made.output
    counts = json.loads(made.stdout)
    assert (counts["frames"], counts["files"]) == (24, 12)
    assert (folder / "dark_006_X2.fits").exists()
    found = run("noisemaps", folder, "--camera", camera, "-o", maps)
    assert found.exit_code == 0, found.output
    assert "SHOC" not in found.output
    with fits.open(maps) as hdus:
        stacks = unpacked(hdus["STACKS"]).data
        assert stacks["KGAINPAR"] == pytest.approx(3.39)
        assert stacks["FRAMES"].tolist() == [4] * 6
        assert len(hdus["INPUTS"].data) == 24
    dark = tmp_path / "dark.fits"
    # A window of another size than the camera's detector: the geometry follows the maps.
    assert run("synthesize", maps, "--camera", "shoc", "-o", dark, "--gain", 9, "--exptime", 2,
               ).exit_code == 0  # fmt: skip
    assert Dark(dark).data.shape == (19, 31)
    trad = tmp_path / "trad.fits"
    assert run("dark", folder, "--camera", camera, "-o", trad, "--gain", 300, "--exptime", 100,
               ).exit_code == 0  # fmt: skip
    assert "read noise" in run("plan", "--camera", "shoc", "--mode", mode, "--json").stdout.replace(
        "_", " "
    )


@pytest.mark.parametrize("kind", ["region", "file"])
def test_maps_with_bias_from_overscan_or_from_a_frame(
    kind: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    regions = {
        "frame_rows": ROWS,
        "frame_cols": COLS,
        "image": {"rows": ROWS, "cols": 33, "r0c0": [0, 0]},
        "serial_overscan": {"rows": ROWS, "cols": 20, "r0c0": [0, 33]},
    }
    bias = Bias(region="serial_overscan")
    if kind == "file":
        plain_frame(tmp_path / "bias.fits", rng.normal(400, 9, (ROWS, COLS)).round())
        bias = Bias(file=str(tmp_path / "bias.fits"))
    base = small("sparc4")
    frames = replace(base.frames, windows=False)
    camera = replace(base, geometry={"FULL": regions}, bias=bias, frames=frames)
    files = simulate_campaign(tmp_path / "darks", camera, FRAMES, seed=6)
    maps = calibrate_darks_lsq(Dataset(files.paths), None, camera=camera)
    truth, area = files.truth, files.truth.imaging_area
    assert abs(np.median(truth.fixed_pattern)) < 5  # the level is gone
    signed = maps.extra("SIGNED")
    expected = (truth.fixed_pattern, truth.clock_induced_charge, truth.dark_current)
    for plane, values in enumerate(expected):
        pull = (signed[plane] - values)[area] / maps.err[0, plane][area]
        assert pull.std() == pytest.approx(1, abs=0.08)
    history = " ".join(str(line) for line in maps.ext_hdr["HISTORY"])
    words = {"region": "median of each row in serial_overscan", "file": "frame bias.fits"}
    assert maps.ext_hdr["BIASSUB"].startswith(words[kind])  # a bias frame has a hash, too
    assert words[kind] in history


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
def test_cosmic_rays_are_screened_with_the_noise_of_the_mode(tmp_path: Path) -> None:
    camera = small("shoc")
    files = simulate_campaign(tmp_path, camera, FRAMES, seed=7, effects=Effects(unflagged=0.002))
    truth = files.truth
    plain, screened = (
        calibrate_darks_lsq(Dataset(files.paths), None, camera=camera, screen=screen)
        for screen in (False, True)
    )
    off = [
        abs((maps.extra("SIGNED")[0] - truth.fixed_pattern).mean()) for maps in (plain, screened)
    ]
    assert off[0] > 3
    assert off[1] < 0.3
    hits = screened.extra("REJECTED").sum()
    assert hits == pytest.approx(0.002 * 6 * FRAMES * ROWS * COLS, rel=0.2)


# ---------------------------------------------------------------- simulated campaigns


def test_cubes_continue_in_further_files_and_can_be_overwritten(tmp_path: Path) -> None:
    camera = small("shoc")
    camera = replace(camera, simulation=replace(camera.simulation, frames_per_file=3))
    seen: list[tuple[int, int]] = []
    files = simulate_campaign(
        tmp_path, camera, stacks=[(2, 1, 7), (30, 2, 1)], progress=lambda *n: seen.append(n)
    )
    names = ["dark_001.fits", "dark_001_X2.fits", "dark_001_X3.fits", "dark_002.fits"]
    assert [path.name for path in files.paths] == names
    assert seen == [(3, 8), (6, 8), (7, 8), (8, 8)]
    assert len(Dataset(files.paths)) == 8
    assert load_campaign(tmp_path, camera) == files.campaign
    again = simulate_campaign(tmp_path, small("sparc4"), stacks=[(2, 1, 2)], overwrite=True)
    frames = ["dark_001_00001.fits", "dark_001_00002.fits"]
    assert [path.name for path in again.paths] == frames
    assert {path.name for path in tmp_path.glob("*.fits")} == {*frames, "truth.fits"}


def test_frames_are_the_same_whatever_cube_they_lie_in(tmp_path: Path) -> None:
    camera = small("shoc")
    short = replace(camera, simulation=replace(camera.simulation, frames_per_file=2))
    one = Dataset(simulate_campaign(tmp_path / "a", camera, stacks=[(90, 5, 5)]).paths)
    two = Dataset(simulate_campaign(tmp_path / "b", short, stacks=[(90, 5, 5)], threads=2).paths)
    np.testing.assert_array_equal(one.all_data, two.all_data)


def test_default_stacks_keep_to_the_gains_of_the_camera() -> None:
    for name in BUILTIN:
        camera = load_camera(name)
        gains = [gain for gain, _ in default_stacks(camera)]
        assert (min(gains), max(gains)) == camera.simulation.gains


def test_electrons_are_not_what_a_converter_delivers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames of camera shoc are in DN"):
        simulate_campaign(tmp_path, small("shoc"), 1, units="e")


def test_truth_of_a_camera_file_is_found_again(tmp_path: Path) -> None:
    files = simulate_campaign(tmp_path, small("sparc4"), 1, stacks=[(2, 1)])
    assert load_truth(files.truth_path).camera.name == "sparc4"
    assert load_truth(files.truth_path).k_gain == 3.96


# ---------------------------------------------------------------- bias and saturation


def levelled(path: Path, camera: Camera) -> tuple[Any, Any]:
    """What the functions get of a frame, read in runs that begin and end within rows."""
    item = frame_inputs(Dataset([path]), camera)[0]
    rows, cols = item.source.shape
    reader = item.source.open()
    runs = [reader.pixels(lo, min(lo + 17, rows * cols), Scratch(20))
            for lo in range(0, rows * cols, 17)]  # fmt: skip
    reader.close()
    data = np.concatenate([run[0] for run in runs]).reshape(rows, cols)
    flags = runs[0][2]
    if flags is None:
        return data, None
    return data, np.concatenate([run[2] for run in runs]).reshape(rows, cols)


@pytest.fixture
def numbers(rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    return rng.integers(90, 120, (7, 11)).astype(np.uint16)


def lab(bias: Bias | None, saturation: float | None = None, dq: bool = False) -> Camera:
    camera = load_camera("sparc4")
    frames = replace(camera.frames, windows=False, bit_depth=None, saturation=saturation)
    regions = {
        "frame_rows": 7,
        "frame_cols": 11,
        "image": {"rows": 7, "cols": 8, "r0c0": [0, 0]},
        "serial_overscan": {"rows": 7, "cols": 3, "r0c0": [0, 8]},
    }
    return replace(camera, frames=frames, bias=bias, geometry={"FULL": regions}, arrtype="FULL")


def test_a_level_is_subtracted(numbers: Any, tmp_path: Path) -> None:
    path = plain_frame(tmp_path / "a.fits", numbers, **SPARC4)
    data, flags = levelled(path, lab(Bias(level=99.5)))
    np.testing.assert_array_equal(data, numbers - 99.5)
    assert flags is None
    np.testing.assert_array_equal(levelled(path, lab(None))[0], numbers)


def test_a_level_of_electrons_is_not_subtracted(numbers: Any, tmp_path: Path) -> None:
    camera = replace(
        lab(Bias(level=99.5), 100.0),
        units={"e": load_camera("excam").units["detected em electron"]},
    )
    path = plain_frame(tmp_path / "a.fits", numbers, **SPARC4, BUNIT="e")
    data, flags = levelled(path, camera)
    np.testing.assert_array_equal(data, numbers)
    assert flags is None


def test_a_bias_frame_is_subtracted(numbers: Any, tmp_path: Path, rng: Any) -> None:
    frame = rng.normal(100, 3, (7, 11)).astype(np.float32)
    plain_frame(tmp_path / "bias.fits", frame)
    path = plain_frame(tmp_path / "a.fits", numbers, **SPARC4)
    data, _ = levelled(path, lab(Bias(file=str(tmp_path / "bias.fits"))))
    np.testing.assert_array_equal(data, numbers - frame.astype(np.float64))


def test_a_bias_frame_of_another_shape_is_refused_by_name(numbers: Any, tmp_path: Path) -> None:
    plain_frame(tmp_path / "bias.fits", np.zeros((11, 7)))
    path = plain_frame(tmp_path / "a.fits", numbers, **SPARC4)
    with pytest.raises(InputError, match=r"bias\.fits: the bias frame has shape \(11, 7\)"):
        levelled(path, lab(Bias(file=str(tmp_path / "bias.fits"))))


def test_a_bias_frame_is_found_beside_the_camera_file(tmp_path: Path) -> None:
    plain_frame(tmp_path / "bias.fits", np.zeros((3, 5)))
    (tmp_path / "c.toml").write_text('like = "sparc4"\n[bias]\nfile = "bias.fits"\n')
    assert load_camera(str(tmp_path / "c.toml")).bias == Bias(file=str(tmp_path / "bias.fits"))


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_overscan_gives_the_level_of_each_row(statistic: Any, numbers: Any, tmp_path: Path) -> None:
    numbers[4, 9] = 900  # saturated: does not count
    numbers[5, 8:] = 900  # a row without level
    path = plain_frame(tmp_path / "a.fits", numbers, **SPARC4)
    bias = Bias(region="serial_overscan", statistic=statistic)
    data, flags = levelled(path, lab(bias, 800.0))
    overscan = np.where(numbers[:, 8:] < 800, numbers[:, 8:], np.nan).astype(float)
    take = np.nanmedian if statistic == "median" else np.nanmean
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = numbers - take(overscan, axis=1)[:, np.newaxis]
    np.testing.assert_allclose(data, expected, rtol=1e-12)
    assert np.isnan(data[5]).all()
    assert not np.isnan(np.delete(data, 5, axis=0)).any()
    np.testing.assert_array_equal(flags == 32, numbers >= 800)


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_overscan_gives_one_level_for_the_frame(
    statistic: Any, numbers: Any, tmp_path: Path
) -> None:
    numbers[4, 9] = 900  # saturated: does not count
    path = plain_frame(tmp_path / "a.fits", numbers, **SPARC4)
    bias = Bias(region="serial_overscan", statistic=statistic, per="frame")
    data, _ = levelled(path, lab(bias, 800.0))
    overscan = numbers[:, 8:].astype(float)
    take = np.median if statistic == "median" else np.mean
    np.testing.assert_allclose(data, numbers - take(overscan[overscan < 800]), rtol=1e-12)


def test_the_level_of_a_spoiled_row_is_replaced(numbers: Any, tmp_path: Path) -> None:
    numbers[5, 8:] = 700
    path = plain_frame(tmp_path / "a.fits", numbers, **SPARC4)
    levels = np.median(numbers[:, 8:], axis=1)
    spread = np.abs(levels - np.median(levels)) / levels.std()
    assert spread.argmax() == 5
    expected = np.where(np.arange(7) == 5, np.median(levels), levels)
    for num_stds, wanted in ((2.0, expected), (0.999999 * spread[5], expected),
                             (1.000001 * spread[5], levels), (None, levels)):  # fmt: skip
        bias = Bias(region="serial_overscan", num_stds=num_stds)
        np.testing.assert_allclose(
            levelled(path, lab(bias))[0], numbers - wanted[:, np.newaxis], rtol=1e-12
        )


def test_saturated_samples_are_flagged_before_the_bias_is_off(numbers: Any, tmp_path: Path) -> None:
    path = plain_frame(tmp_path / "a.fits", numbers, **SPARC4)
    data, flags = levelled(path, lab(Bias(level=50.0), 110.0))
    np.testing.assert_array_equal(flags, np.where(numbers >= 110, 32, 0))
    np.testing.assert_array_equal(data, numbers - 50.0)
    assert (flags != 0).any()


def test_flags_of_the_file_are_kept(numbers: Any, tmp_path: Path) -> None:
    dq = np.where(numbers % 2 == 0, 128, 0).astype(np.uint16)
    primary = fits.PrimaryHDU(numbers, header=fits.Header(SPARC4))
    fits.HDUList([primary, fits.ImageHDU(dq, name="DQ")]).writeto(tmp_path / "a.fits")
    _, flags = levelled(tmp_path / "a.fits", lab(None, 110.0))
    np.testing.assert_array_equal(flags, dq | np.where(numbers >= 110, 32, 0).astype(np.uint16))


@pytest.mark.filterwarnings("ignore:.*no sample is flagged as a cosmic ray")
@pytest.mark.filterwarnings("ignore:the headers do not tell 4 readout settings")
def test_saturated_samples_do_not_count_in_a_dark(numbers: Any, tmp_path: Path) -> None:
    stack = np.stack([numbers, numbers + 1, numbers + 2, numbers + 3])
    stack[1, 3, 4] = 5000
    paths = [plain_frame(tmp_path / f"{i}.fits", f, **SPARC4) for i, f in enumerate(stack)]
    camera = lab(Bias(level=100.0), 4000.0)
    dark = build_trad_dark(Dataset(paths), None, camera=camera, full_frame=True)
    clean = np.where(stack < 4000, stack.astype(float), np.nan)
    # GAIN 2 electrons per DN, EM gain 25.
    expected = (np.nanmean(clean, axis=0) - 100) * 2 / 25
    np.testing.assert_allclose(dark.data, expected, rtol=1e-12)


# ---------------------------------------------------------------- what must not mix


def with_cards(files: CampaignFiles, folder: Path, number: int, **cards: Any) -> list[Path]:
    """The campaign's files, one of them with other cards; None takes a card out."""
    paths = list(files.paths)
    with fits.open(paths[number], do_not_scale_image_data=True) as hdus:
        for key, value in cards.items():
            if value is None:
                del hdus[0].header[key]
            else:
                hdus[0].header[key] = value
        paths[number] = folder / "changed.fits"
        hdus.writeto(paths[number])
    return paths


@pytest.mark.parametrize(
    ("cards", "setting", "values"),
    [
        ({"PREAMP": "Gain 1"}, "preamp", ("Gain 1", "Gain 2")),
        ({"READRATE": 1.0}, "rate", ("1", "10")),
        ({"CCDSERN": 9915}, "serial", ("9915", "9914")),
        ({"VSHIFT": 0.6}, "vertical_shift", ("0.6", "4.33")),
        ({"TGTEMP": -60.0}, "target_temperature", ("-60", "-70")),
        ({"EMMODE": "Conventional"}, "conventional", ("T", "F")),
        ({"PREAMP": None}, "preamp", ("-", "Gain 2")),
    ],
)
def test_frames_of_different_settings_never_mix(
    sparc4: CampaignFiles,
    tmp_path: Path,
    cards: dict[str, Any],
    setting: str,
    values: tuple[str, str],
) -> None:
    camera = sparc4.campaign.camera
    paths = with_cards(sparc4, tmp_path, 1, **cards)
    # Which of the two comes first is left open.
    one, other = map(re.escape, values)
    message = rf"\.fits: {setting} is ({one}, but {other}|{other}, but {one}) in .*\.fits; "
    for attempt in (
        lambda: calibrate_darks_lsq(Dataset(paths), None, camera=camera),
        lambda: check_darks(Dataset(paths), camera=camera),
        lambda: build_trad_dark(Dataset(paths[:3]), None, camera=camera),
    ):
        with pytest.raises(InputError, match=message + ".*give those of one setting"):
            attempt()
    summary = inspect_campaign(Dataset(paths), camera=camera)
    found = [finding for finding in summary.findings if finding.topic == "readout"]
    assert [finding.severity for finding in found] == ["problem"]
    assert re.search(message, found[0].text)


def test_jitter_of_a_readout_time_is_no_other_setting(tmp_path: Path) -> None:
    files = simulate_campaign(tmp_path, small("shoc"), stacks=[(2, 1, 3), (9, 1, 3)])
    paths = with_cards(files, tmp_path, 1, READTIME=3.3333334e-07)
    inputs = frame_inputs(Dataset(paths), files.campaign.camera)
    assert len({item.record.setting for item in inputs}) == 1


def test_a_frame_of_another_kind_is_refused_by_name(sparc4: CampaignFiles, tmp_path: Path) -> None:
    camera = sparc4.campaign.camera
    paths = with_cards(sparc4, tmp_path, 1, OBSTYPE="OBJECT")
    with pytest.raises(InputError, match=r"changed\.fits: is no dark \(OBSTYPE = 'OBJECT'\)"):
        build_trad_dark(Dataset(paths[:3]), None, camera=camera)
    with pytest.raises(InputError, match="leave it out"):
        calibrate_darks_lsq(Dataset(paths), None, camera=camera)
    paths[0] = paths[1]
    with pytest.raises(InputError, match="nor are 1 others of 3 frames"):
        build_trad_dark(Dataset(paths[:3]), None, camera=camera)


def test_in_a_folder_other_frames_are_left_out(sparc4: CampaignFiles, tmp_path: Path) -> None:
    with_cards(sparc4, tmp_path, 0, OBSTYPE="OBJECT")
    plain_frame(tmp_path / "a.fits", np.zeros((3, 5)), **SPARC4)
    plain_frame(tmp_path / "b.fits", np.zeros((3, 5)), **(SPARC4 | {"OBSTYPE": "ZERO"}))
    assert len(select_frames([str(tmp_path)])) == 3
    with pytest.warns(EmdarksWarning, match="1 file is no dark and was left out"):
        assert len(select_frames([str(tmp_path)], "sparc4")) == 2
    assert len(select_frames([str(tmp_path / "changed.fits")], "sparc4")) == 1


def test_maps_of_another_setting_make_no_dark(sparc4: CampaignFiles, tmp_path: Path) -> None:
    camera = sparc4.campaign.camera
    maps = calibrate_darks_lsq(Dataset(sparc4.paths), None, camera=camera)
    same = build_synthesized_dark(Dataset(sparc4.paths[:1]), maps, camera=camera)
    assert same.ext_hdr["READOUT"] == maps.ext_hdr["READOUT"]
    other = with_cards(sparc4, tmp_path, 0, PREAMP="Gain 1", READRATE=1.0)[0]
    with pytest.raises(
        InputError, match=r"changed\.fits: has rate=1, preamp=Gain 1, but .*_dnm_cal"
    ):
        build_synthesized_dark(Dataset([other]), maps, camera=camera)
    del maps.ext_hdr["READOUT"]
    with pytest.warns(EmdarksWarning, match="does not say the readout setting"):
        build_synthesized_dark(Dataset([other]), maps, camera=camera)


def test_frames_of_unknown_sensitivity_are_refused_in_one_line(
    sparc4: CampaignFiles, tmp_path: Path
) -> None:
    path = with_cards(sparc4, tmp_path, 0, GAIN=None, READRATE=5.0)[0]
    refused = run("dark", path, "--camera", "sparc4", "-o", tmp_path / "d.fits")
    assert refused.exit_code == 1
    line = refused.stderr.strip()
    assert "\n" not in line
    assert line.startswith(f"error: {path}: ")
    assert "READRATE = 5.0" in line
    assert "--kgain" in line
    assert not (tmp_path / "d.fits").exists()
    (tmp_path / "another").mkdir()
    other = with_cards(sparc4, tmp_path / "another", 1, GAIN=None, READRATE=5.0)[1]
    made = run("dark", path, other, "--camera", "sparc4", "--kgain", 4, "--gain", 2, "-o",
               tmp_path / "d.fits")  # fmt: skip
    assert made.exit_code == 0, made.output


@pytest.mark.filterwarnings("ignore:the headers do not tell 4 readout settings")
def test_a_stale_em_gain_does_not_count(tmp_path: Path, rng: np.random.Generator) -> None:
    cards = SPARC4 | {"EMMODE": "Conventional", "EMGAIN": 300.0}
    stack = rng.normal(400, 5, (4, 7, 11)).round().astype(np.uint16)
    paths = [plain_frame(tmp_path / f"{i}.fits", f, **cards) for i, f in enumerate(stack)]
    dark = build_trad_dark(Dataset(paths), None, camera="sparc4")
    np.testing.assert_allclose(dark.data, stack.mean(0) * 2.0, rtol=1e-12)
    assert dark.ext_hdr["EMGAIN_C"] == 1.0


def test_windows_of_the_detector(sparc4: CampaignFiles) -> None:
    """The built-in camera, whose detector is larger, takes them as they are."""
    maps = calibrate_darks_lsq(Dataset(sparc4.paths), None, camera="sparc4")
    assert maps.data.shape == (3, ROWS, COLS)
    camera = load_camera("sparc4")
    assert camera.fitted_to((1024, 1024)) is camera
    assert camera.fitted_to((2048, 8)) is camera
    assert load_camera("excam").fitted_to((5, 7)) is load_camera("excam")


# ---------------------------------------------------------------- the command


def test_cameras_lists_shows_and_checks(tmp_path: Path, sparc4: CampaignFiles) -> None:
    listed = json.loads(run("cameras", "--json").stdout)["cameras"]
    assert [camera["camera"] for camera in listed] == list(BUILTIN)
    assert "sparc4" in run("cameras").stderr
    shown = run("cameras", "sparc4", "--show").stdout
    copy = tmp_path / "copy.toml"
    copy.write_text(shown)
    assert load_camera(str(copy)) == load_camera("sparc4")
    assert json.loads(run("cameras", "shoc", "--show", "--json").stdout)["units"][""] == "DN"
    assert json.loads(run("cameras", copy, "--json").stdout)["modes"] == 7


def test_check_says_how_a_header_is_understood(tmp_path: Path, sparc4: CampaignFiles) -> None:
    outcome = run("cameras", "sparc4", sparc4.paths[0], "--json")
    assert outcome.exit_code == 0
    read = {line["quantity"]: line for line in json.loads(outcome.stdout)["read"]}
    assert read["shape"]["source"] == "a window, or binned"
    assert read["mode"]["value"] == "9914, 10 MHz, Gain 2"
    told = run("cameras", "sparc4", sparc4.paths[0])
    assert "READRATE = 10.0" in told.stderr
    assert told.stdout == ""


def test_check_of_a_frame_that_cannot_be_used_is_an_error(
    tmp_path: Path, sparc4: CampaignFiles
) -> None:
    outcome = run("cameras", "shoc", sparc4.paths[0])
    assert outcome.exit_code == 1
    assert "no EXPOSURE" in " ".join(outcome.stderr.split())
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('like = "shoc"\ncolour = 3\n')
    outcome = run("cameras", wrong)
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith(f"error: {wrong}: unknown key 'colour'; known here are name, ")
    assert outcome.stderr.count("\n") == 1
    assert run("cameras", "--show").exit_code == 2


def test_a_frame_larger_than_the_detector_is_named(tmp_path: Path) -> None:
    path = plain_frame(tmp_path / "a.fits", np.zeros((3, 1025), np.uint16), **SPARC4)
    outcome = run("cameras", "sparc4", path)
    assert outcome.exit_code == 1
    assert "the camera's have 1024 x 1024" in " ".join(outcome.stderr.split())
