"""Frames that are not what a camera's darks are: named, or refused, never averaged in silence."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from emdarks import (
    Dataset,
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    check_darks,
    inspect_campaign,
    load_camera,
    subtract_dark,
)
from emdarks.cameras import Camera
from emdarks.checks import CampaignSummary, Finding
from emdarks.data import DetectorNoiseMaps
from emdarks.errors import EmdarksWarning, InputError
from emdarks.simulate import simulate_campaign

STACKS = [(2.0, 1.0), (2.0, 90.0), (70.0, 1.0), (300.0, 1.5), (300.0, 90.0)]
#: Detector of the simulated mode, and of none.
KNOWN, OTHER = 9914, 9915
K, READ_NOISE, BIAS = 3.96, 39.5, 480.0
ROWS, COLS = 18, 26


def quiet(function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return function(*arguments, **more)


def warned(function: Callable[..., Any], *arguments: Any, **more: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*arguments, **more)
    return [str(each.message) for each in caught]


def frames(
    folder: Path,
    serial: int = KNOWN,
    noise: float = READ_NOISE,
    count: int = 5,
    change: Callable[[int, float, float, Any], Any] = lambda n, g, t, data: data,
    bzero: bool = True,
) -> list[Path]:
    """Frames of a SPARC4 of 10 MHz and Gain 2, windows of 18 x 26 pixels; F is BIAS times K."""
    rng = np.random.default_rng(noise.as_integer_ratio()[0])
    paths = []
    for n in range(count * len(STACKS)):
        gain, time = STACKS[n // count]
        electrons = rng.poisson(0.01 + 0.002 * time, (ROWS, COLS))
        signal = np.where(electrons, rng.gamma(np.maximum(electrons, 1), gain), 0.0)
        signal += rng.normal(0, noise, signal.shape)
        data = change(n % count, gain, time, np.round(BIAS + signal / K))
        stored = np.clip(data, 0, 65535).astype(np.uint16)
        hdu = fits.PrimaryHDU(stored if bzero else stored.view(np.int16))
        cards = {"EMGAIN": gain, "GAIN": K, "OBSTYPE": "DARK", "EXPTIME": time}
        cards |= {"PREAMP": "Gain 2", "READRATE": 10.0, "CCDSERN": serial, "VSHIFT": 4.33}
        cards |= {"EMMODE": "Electron Multiplying", "DATE-OBS": f"2026-01-01T00:{n:02d}:00"}
        for key, value in cards.items():
            hdu.header[key] = value
        paths.append(folder / f"d{n:03d}.fits")
        hdu.writeto(paths[-1])
    return paths


def look(paths: list[Path], **more: Any) -> CampaignSummary:
    summary: CampaignSummary = inspect_campaign(Dataset(paths), camera="sparc4", **more)
    return summary


def found(summary: CampaignSummary, topic: str) -> list[Finding]:
    return [finding for finding in summary.findings if finding.topic == topic]


def against_camera(summary: CampaignSummary) -> list[Finding]:
    return [each for each in found(summary, "noise") if "far from the camera's" in each.text]


def edit(path: Path, change: Callable[[Any], None]) -> None:
    with fits.open(path, mode="update") as hdus:
        change(hdus)


def small(folder: Path, frames: int = 4) -> list[Path]:
    stacks = [(1.0, 3.0), (1.0, 60.0), (1000.0, 3.0), (1000.0, 60.0)]
    files = simulate_campaign(folder, load_camera("excam-sample"), frames, stacks=stacks, seed=11)
    return list(files.paths)


# ---------------------------------------------------------------- noise of a mode


def test_frames_in_no_mode_have_no_read_noise() -> None:
    camera = load_camera("sparc4")
    assert camera.noise.read_noise == 39.5  # what is simulated
    assert math.isnan(camera.noise_in("").read_noise)
    assert camera.noise_in("").unknown == ("k_gain", "read_noise")
    assert camera.noise_in("").dark_current == 1.5e-4
    assert camera.noise_in("9914, 30 MHz, Gain 1").read_noise == 197.0
    other = camera.in_mode("9914, 30 MHz, Gain 1")
    assert other.noise.read_noise == 197.0
    assert math.isnan(other.noise_in("").read_noise)
    assert load_camera("ixon-897").noise_in("").read_noise == 89.0


def test_a_mode_never_takes_a_figure_of_the_simulated_one(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'like = "sparc4"\nname = "own"\n[noise]\nread_noise = 71.0\n'
        '[[modes]]\nname = "a"\nwhen = { serial = 1 }\nk_gain = 2.5\ndark_current = 0.3\n'
        '[[modes]]\nname = "b"\nwhen = { serial = 2 }\nk_gain = 3.5\n'
        '[simulation]\nmode = "a"\n'
    )
    camera = load_camera(str(path))
    assert (camera.noise.k_gain, camera.noise.dark_current) == (2.5, 0.3)
    assert camera.noise_in("b").dark_current == 1.5e-4
    assert camera.noise_in("").read_noise == 71.0
    path.write_text(path.read_text().replace("[noise]", "[noise_of_no_mode]"))
    with pytest.raises(InputError, match=r"unknown key 'noise_of_no_mode'"):
        load_camera(str(path))


def test_screening_is_refused_where_the_noise_is_not_known(tmp_path: Path) -> None:
    paths = frames(tmp_path, OTHER, 197.0)
    with pytest.raises(InputError, match=r"d000.fits: is in no mode of camera sparc4.*\(screen"):
        quiet(calibrate_darks_lsq, Dataset(paths), None, camera="sparc4", screen=True)
    remedy = found(look(paths), "flags")[0].remedy
    assert remedy == "flag them"
    assert not against_camera(look(paths))


def test_screening_with_the_right_noise_keeps_clean_samples(tmp_path: Path) -> None:
    paths = frames(tmp_path, count=12)
    maps = quiet(calibrate_darks_lsq, Dataset(paths), None, camera="sparc4", screen=True)
    rejected = maps.extra("REJECTED").sum()
    assert rejected <= 1
    signed, errors = maps.extra("SIGNED")[1], maps.err[0, 1]
    mean = (signed / errors**2).sum() / (errors**-2).sum()
    assert mean == pytest.approx(0.01, abs=4 * (errors**-2).sum() ** -0.5)
    assert not against_camera(look(paths))
    assert "--screen" in found(look(paths), "flags")[0].remedy


def test_screening_is_refused_with_a_noise_that_frames_do_not_have(tmp_path: Path) -> None:
    paths = frames(tmp_path, noise=118.0)
    words = (
        r"EM gain 2, .*: its noise is 11\d EM electrons.*read noise of 39.5: clean samples would"
    )
    with pytest.raises(InputError, match=words):
        quiet(calibrate_darks_lsq, Dataset(paths), None, camera="sparc4", screen=True)


# ---------------------------------------------------------------- noise against the camera's


@pytest.mark.parametrize("noise", [197.0, 103.0, 15.0])
def test_noise_of_another_mode_is_a_problem(tmp_path: Path, noise: float) -> None:
    summary = look(frames(tmp_path, noise=noise))
    (problem,) = against_camera(summary)
    assert problem.severity == "problem"
    measured = re.search(r": ([\d.]+) EM electrons a sample", problem.text)
    assert measured is not None
    assert float(measured[1]) == pytest.approx(noise, rel=0.08)
    assert "read noise of 39.5 that camera sparc4 states" in problem.text
    assert "read_noise in the camera file" in problem.remedy


def test_samples_in_the_upper_bits_are_a_problem(tmp_path: Path) -> None:
    paths = frames(tmp_path, change=lambda n, g, t, data: 16 * data)
    (problem,) = against_camera(look(paths))
    assert "12 bits stored in the upper ones of 16 give a factor of 16" in problem.text


def hot(n: int, gain: float, time: float, data: Any) -> Any:
    data[3:5, 2:9] += 3000 * (1 + n % 2)  # and unsteady
    return data


def lit(n: int, gain: float, time: float, data: Any) -> Any:
    return data + (900 if n == 2 and gain == 2.0 else 0)


@pytest.mark.parametrize("spoil", [hot, lit])
def test_hot_pixels_or_a_bright_frame_are_no_noise_of_the_camera(
    tmp_path: Path, spoil: Callable[..., Any]
) -> None:

    assert not against_camera(look(frames(tmp_path, change=spoil)))


@pytest.mark.parametrize("name", ["excam-sample", "sparc4", "shoc", "ixon-897", "ixon-solis"])
def test_simulated_campaigns_agree_with_their_camera(tmp_path: Path, name: str) -> None:
    camera = load_camera(name)
    if camera.frames.windows:
        camera = camera.fitted_to((24, 20))
    files = quiet(simulate_campaign, tmp_path, camera, 3, seed=5)
    summary = quiet(inspect_campaign, Dataset(list(files.paths)), camera=name)
    assert not against_camera(summary)
    assert not found(summary, "bias")
    assert not found(summary, "level")


# ---------------------------------------------------------------- unsigned without BZERO


def bright(n: int, gain: float, time: float, data: Any) -> Any:
    data[5, 7] = 40000 + 10 * n
    return data


def test_unsigned_samples_without_bzero_are_refused(tmp_path: Path) -> None:
    paths = frames(tmp_path, change=bright, bzero=False)
    words = r"d0\d\d.fits: has 1 sample below 0 DN.*without BZERO = 32768; write the file anew"
    with pytest.raises(InputError, match=words):
        quiet(calibrate_darks_lsq, Dataset(paths), None, camera="sparc4")
    with pytest.raises(InputError, match=words):
        quiet(build_trad_dark, Dataset(paths[:5]), None, camera="sparc4")
    problems = look(paths).worst("problem")
    assert any("BZERO" in problem.text for problem in problems)
    held = [SimpleFrame(path) for path in paths]
    with pytest.raises(InputError, match="BZERO"):
        quiet(calibrate_darks_lsq, held, None, camera="sparc4")


class SimpleFrame:
    """A frame in memory, as another program may hold it."""

    def __init__(self, path: Path):
        with fits.open(path) as hdus:
            self.data = np.array(hdus[0].data)
            self.ext_hdr, self.pri_hdr = hdus[0].header.copy(), fits.Header()
        self.err = self.dq = None
        self.err_hdr = self.dq_hdr = fits.Header()
        self.filename, self.filepath = path.name, str(path)


def test_unsigned_samples_are_right_with_bzero_and_signed_ones_below_32768(
    tmp_path: Path,
) -> None:
    (tmp_path / "with").mkdir()
    maps = quiet(
        calibrate_darks_lsq,
        Dataset(frames(tmp_path / "with", change=bright)),
        None,
        camera="sparc4",
    )
    # Hot by K times 40,000: beyond what the register holds, but a number of its own.
    assert maps.data[0, 5, 7] == pytest.approx(40020 * K, rel=1e-3)
    (tmp_path / "small").mkdir()
    paths = frames(tmp_path / "small", bzero=False)
    maps = quiet(calibrate_darks_lsq, Dataset(paths), None, camera="sparc4")
    assert maps.data[0].mean() == pytest.approx(BIAS * K, abs=5)


# ---------------------------------------------------------------- raw and photon-counted frames


def raw(hdus: Any) -> None:
    for hdu in hdus:
        if "DATALVL" in hdu.header:
            hdu.header["DATALVL"] = "L1"


def test_raw_frames_are_refused_by_level(tmp_path: Path) -> None:
    paths = small(tmp_path)
    maps = quiet(calibrate_darks_lsq, Dataset(paths), None, camera="excam-sample")
    assert maps.ext_hdr["FRAMELVL"] == "L2a"
    dark = quiet(build_trad_dark, Dataset(paths[:4]), None, camera="excam-sample")
    assert dark.ext_hdr["FRAMELVL"] == "L2a"
    for path in paths:
        edit(path, raw)
    data = Dataset(paths)
    words = re.escape("is a raw frame (DATALVL is 'L1'), with its bias level inside; prepare")
    for function, first in (
        (calibrate_darks_lsq, (data, None)),
        (build_trad_dark, (data[:4], None)),
        (check_darks, (data,)),
        (subtract_dark, (data, maps)),
        (build_synthesized_dark, (data[:1], maps)),
    ):
        with pytest.raises(InputError, match=words):
            function(*first, camera="excam-sample")
    problems = inspect_campaign(data, camera="excam-sample").worst("problem")
    assert any("is a raw frame" in problem.text for problem in problems)


def test_products_of_raw_frames_stay_with_raw_frames(tmp_path: Path) -> None:
    paths = small(tmp_path)
    maps = quiet(calibrate_darks_lsq, Dataset(paths), None, camera="excam-sample")
    maps.ext_hdr["FRAMELVL"] = "L1"
    with pytest.raises(InputError, match=r"is made of frames of level L1, .* is of level L2a"):
        subtract_dark(Dataset(paths), maps, camera="excam-sample")


def test_raw_frames_without_a_level_are_refused_by_their_prescan(tmp_path: Path) -> None:
    def lift(hdus: Any) -> None:
        for hdu in hdus:
            hdu.header.remove("DATALVL", ignore_missing=True)
        hdus[1].data = hdus[1].data + np.float32(2000.0)

    paths = small(tmp_path)
    for path in paths:
        edit(path, lift)
    data = Dataset(paths)
    words = (
        r"the prescan lies at 1[67]\d\d\d EM electrons in .*, and camera excam-sample has frames"
    )
    with pytest.raises(InputError, match=words):
        quiet(calibrate_darks_lsq, data, None, camera="excam-sample")
    with pytest.raises(InputError, match=words):
        quiet(build_trad_dark, data[12:], None, camera="excam-sample")
    with pytest.raises(InputError, match=words):
        quiet(check_darks, data, camera="excam-sample")
    (problem,) = found(inspect_campaign(data, camera="excam-sample"), "bias")
    assert problem.severity == "problem"
    assert "[bias]" in problem.remedy


def test_photon_counted_frames_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)

    def count(hdus: Any) -> None:
        hdus[1].data = (rng.random(hdus[1].data.shape) < 0.1).astype(np.float32)

    paths = small(tmp_path)
    for path in paths:
        edit(path, count)
    data = Dataset(paths)
    words = "are 0 or 1, the first .*: photon-counted frames are no analog ones"
    with pytest.raises(InputError, match=words):
        quiet(calibrate_darks_lsq, data, None, camera="excam-sample")
    with pytest.raises(InputError, match=words):
        quiet(build_trad_dark, data[12:], None, camera="excam-sample")
    with pytest.raises(InputError, match=words):
        quiet(check_darks, data, camera="excam-sample")
    summary = inspect_campaign(data, camera="excam-sample")
    assert any("are 0 or 1" in problem.text for problem in summary.worst("problem"))


# ---------------------------------------------------------------- light in most of a stack


@pytest.mark.parametrize("lit", [3, 4, 5])
def test_a_split_stack_keeps_its_fainter_frames(tmp_path: Path, lit: int) -> None:
    def leak(n: int, gain: float, time: float, data: Any) -> Any:
        return data + (20 + n % 2 if gain == 2.0 and time == 1.0 and n < lit else 0)

    count = 6 if lit < 5 else 5
    lit = min(lit, count - 1)
    summary = look(frames(tmp_path, count=count, change=leak))
    (finding,) = found(summary, "light")
    assert "its frames disagree" in finding.text
    assert f"{count - lit} frame" in finding.text
    assert finding.frames == ()
    assert "do not leave out the fainter ones" in finding.remedy
    assert not any("fainter than the rest" in each.text for each in summary.findings)


def test_few_bright_frames_are_named_as_before(tmp_path: Path) -> None:
    def leak(n: int, gain: float, time: float, data: Any) -> Any:
        return data + (25 if gain == 2.0 and time == 1.0 and n < 2 else 0)

    (finding,) = found(look(frames(tmp_path, count=6, change=leak)), "light")
    assert [Path(name).name for name in finding.frames] in (
        ["d000.fits", "d001.fits"],
        ["d001.fits", "d000.fits"],
    )


# ---------------------------------------------------------------- advice


def test_a_saturated_pixel_does_not_silence_the_advice(tmp_path: Path) -> None:
    def hot(n: int, gain: float, time: float, data: Any) -> Any:
        data[0, 0] = 65535
        return data

    paths = frames(tmp_path, change=hot)
    words = "no sample is flagged as a cosmic ray (128), though others have flags"
    texts = warned(calibrate_darks_lsq, Dataset(paths), None, camera="sparc4")
    assert sum(words in text for text in texts) == 1
    assert any(words in text for text in warned(build_trad_dark, Dataset(paths[:5]), None,
                                                camera="sparc4"))  # fmt: skip
    assert words in found(look(paths), "flags")[0].text


def test_masks_of_ones_own_that_differ_count_as_looked_for(tmp_path: Path) -> None:
    held = [SimpleFrame(path) for path in frames(tmp_path)]
    for n, frame in enumerate(held):
        frame.dq = np.zeros((ROWS, COLS), np.uint16)
        frame.dq[4, : 1 + n % 3] = 4
    assert not any(
        "cosmic" in text for text in warned(calibrate_darks_lsq, held, None, camera="sparc4")
    )
    for frame in held:
        frame.dq[:] = 0
        frame.dq[4, 2] = 4  # a defect that every frame has
    assert any(
        "cosmic" in text for text in warned(calibrate_darks_lsq, held, None, camera="sparc4")
    )


# ---------------------------------------------------------------- beyond what was measured


def test_darks_beyond_the_maps_are_said(tmp_path: Path) -> None:
    paths = small(tmp_path)
    maps: DetectorNoiseMaps = quiet(
        calibrate_darks_lsq, Dataset(paths), None, camera="excam-sample"
    )
    edit(paths[0], lambda hdus: hdus[1].header.set("EMGAIN_C", 6000.0))
    edit(paths[0], lambda hdus: hdus[1].header.set("EMGAIN_A", 6000.0))
    edit(paths[0], lambda hdus: hdus[1].header.set("EMGAIN_M", 6000.0))
    edit(paths[1], lambda hdus: hdus[1].header.set("EXPTIME", 500.0))
    gain = "EM gain 6000 is outside the gains of the maps, 1 to"
    with pytest.warns(EmdarksWarning, match=gain):
        dark = build_synthesized_dark(Dataset(paths[:1]), maps, camera="excam-sample")
    assert gain in " ".join(dark.ext_hdr["HISTORY"]).replace("\n", "").replace("  ", " ")
    with pytest.warns(EmdarksWarning, match="exposure time 500 s is far above the longest of the"):
        build_synthesized_dark(Dataset(paths[1:2]), maps, camera="excam-sample")
    texts = warned(subtract_dark, Dataset(paths), maps, camera="excam-sample")
    assert sum("whether the model holds there was not measured" in text for text in texts) == 1
    assert any("(and 1 more such darks)" in text for text in texts)
    edit(paths[2], lambda hdus: hdus[1].header.set("EXPTIME", 100.0))
    assert warned(build_synthesized_dark, Dataset(paths[2:3]), maps, camera="excam-sample") == []


def test_a_camera_keeps_its_noise_when_it_is_changed() -> None:
    camera: Camera = load_camera("sparc4")
    assert math.isnan(replace(camera, name="x").noise_in("").read_noise)
    warm = replace(camera, noise=replace(camera.noise, dark_current=0.25))
    fast = "9914, 30 MHz, Gain 1"
    assert (warm.noise_in(fast).dark_current, warm.noise_in(fast).read_noise) == (0.25, 197.0)
    assert warm.in_mode(fast).noise == warm.noise_in(fast)
    assert math.isnan(warm.in_mode(fast).noise_in("").read_noise)
    assert warm.in_mode(fast).noise_in("").dark_current == 0.25
