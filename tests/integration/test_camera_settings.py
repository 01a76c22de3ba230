"""A camera file of one's own: what it must say, mixed readout settings, unknown units."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from emdarks import (
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    check_darks,
    subtract_dark,
)
from emdarks.cameras import Rule, Value, load_camera, read_record
from emdarks.checks import inspect_campaign
from emdarks.checks.unstated_settings import unstated_settings
from emdarks.cli.app import app
from emdarks.data import Dataset
from emdarks.errors import EmdarksError, EmdarksWarning, InputError
from emdarks.frames import frame_inputs, frames_where, select_frames
from emdarks.simulate import make_truth, simulate_campaign
from emdarks.stacks import check_frames, group_stacks
from loops import for_each

pytestmark = pytest.mark.filterwarnings("ignore:.*no pixel of any frame is flagged")

LAB = """
name = "lab"
description = "a window of our camera"
arrtype = "FULL"
sensitivity = "modes"

[frames]
dtype = "uint16"
bit_depth = 16
err_and_dq = false

[geometry.FULL]
frame_rows = 19
frame_cols = 31
image = { rows = 19, cols = 31, r0c0 = [0, 0] }

[keywords]
exposure_time = "TEXP"
commanded_gain = "GAIN"
better_gains = []
k_gain = ""

[units]
"" = "DN"

[conventional]
keyword = "AMP"
values = ["CONV"]
others = ["EM"]

[settings]
rate = "RATE"

[bias]
level = 310.0

[noise]
clock_induced_charge = 0.05
dark_current = 0.01

[[modes]]
name = "fast"
when = { rate = "10 MHz" }
k_gain = 4.2
read_noise = 41.0

[[modes]]
name = "slow"
when = { rate = "1 MHz" }
k_gain = 3.9
read_noise = 17.0
"""
STACKS = [(1, 1), (1, 50), (300, 1), (300, 50)]


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write(folder: Path, text: str = LAB) -> Path:
    path = folder / "lab.toml"
    path.write_text(text)
    return path


def changed(old: str, new: str) -> str:
    assert LAB.count(old) == 1
    return LAB.replace(old, new)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """A campaign of one amplifier, and the same with its frames of gain 1 named conventional."""
    folder = tmp_path_factory.mktemp("mixed")
    camera = load_camera(str(write(folder)))
    files = simulate_campaign(folder / "em", camera, 6, stacks=STACKS, mode="fast", seed=5)
    copies = []
    for path in files.paths:
        with fits.open(path, do_not_scale_image_data=True) as hdus:
            header = hdus[0].header
            header["AMP"] = "CONV" if header["GAIN"] == 1 else "EM"
            header["GAIN"] = 300  # what the last EM exposure had
            copies.append(folder / path.name)
            hdus.writeto(copies[-1])
    return list(files.paths), copies


# ---------------------------------------------------------------- what a file must say


def test_frames_are_read_without_a_table_for_simulation(tmp_path: Path) -> None:
    camera = load_camera(str(write(tmp_path)))
    cards = {"TEXP": 2.0, "GAIN": 300, "AMP": "EM", "RATE": "1 MHz"}
    record = read_record(camera, "a.fits", (19, 31), (cards,))
    assert (record.k_gain, record.mode, record.bias) == (3.9, "slow", 310.0)
    assert camera.noise_in("slow").read_noise == 17.0
    assert camera.noise_in("slow").dark_current == 0.01
    assert camera.noise.unknown == ("k_gain", "read_noise")


def test_simulation_asks_for_the_mode(tmp_path: Path) -> None:
    path = write(tmp_path)
    outcome = run("simulate", tmp_path / "out", "--camera", path)
    assert outcome.exit_code == 1
    assert "--mode" in outcome.stderr
    assert "fast; slow" in outcome.stderr
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="in which mode"):
        make_truth(load_camera(str(path)), 0)
    assert make_truth(load_camera(str(path)).in_mode("slow"), 0).read_noise == 17.0


def test_plan_asks_for_the_mode_where_noise_depends_on_it(tmp_path: Path) -> None:
    path = write(tmp_path)
    outcome = run("plan", "--camera", path, "--frames", 10)
    assert outcome.exit_code == 1
    assert "gives read_noise by mode; choose one (--mode): fast; slow" in outcome.stderr
    assert run("plan", "--camera", path, "--frames", 10, "--mode", "slow").exit_code == 0
    assert run("plan", "--camera", path, "--frames", 10, "--read-noise", 20).exit_code == 0


@for_each(
    "old, new, said",
    [
        ("read_noise = 17.0\n", "", "noise.read_noise: is missing: read noise, electrons; give"),
        ("dark_current = 0.01\n", "", "noise.dark_current: is missing: dark current, electrons"),
        ('name = "lab"\n', "", "key name: is missing: what the camera is called"),
        ('keyword = "AMP"\n', "", "key conventional.keyword: is missing: the keyword that"),
        ("= 0.01\n", '= "low"\n', "key noise.dark_current: is 'low', not a number"),
        ('rate = "RATE"\n', "rate = 3\n", "key settings.rate: is 3, not a text or a list"),
        ('"" = "DN"\n', '"" = "adu"\n', """key units."": is 'adu'; known are 'DN', """),
        ("level = 310.0\n", "", "key bias: give one of level, file and region"),
        ("[noise]\n", "[noise]\nfull_well = 9.0\n", "did you mean full_well_image or full_well_r"),
        (
            "[noise]\n",
            "[noise]\nsaturation = 9.0\n",
            "it belongs into [[modes]] or [cosmic_rays] or [frames]",
        ),
        ("[units]\n", "[unit]\n", "unknown key 'unit'; did you mean units"),
        ("[noise]\n", "[noise]\nzzz = 9.0\n", "known here are k_gain, read_noise, "),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_camera(str(write(tmp_path, changed(old, new))))
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert "Value error" not in message


def test_a_wrong_keyword_is_to_be_mended_in_the_camera_file(tmp_path: Path) -> None:
    camera = load_camera(str(write(tmp_path)))
    good: dict[str, Any] = {"TEXP": 2.0, "GAIN": 300, "AMP": "EM", "RATE": "1 MHz"}
    for key, said in {
        "TEXP": "(keywords.exposure_time)",
        "GAIN": "(keywords.commanded_gain)",
        "AMP": "(conventional.keyword)",
        "RATE": "add such a [[modes]] to the camera file",
    }.items():
        cards = {name: value for name, value in good.items() if name != key}
        with pytest.raises(EmdarksError) as caught:
            read_record(camera, "a.fits", (19, 31), (cards,))
        assert said in str(caught.value)


# ---------------------------------------------------------------- frames of one setting


def test_frames_are_chosen_by_their_settings(tmp_path: Path, mixed: Any) -> None:
    camera, paths = str(write(tmp_path)), [str(path) for path in mixed[1]]
    for word in ("F", "false", "no", False):
        assert len(select_frames(paths, camera, {"conventional": word})) == 12
    both = select_frames(paths, camera, {"conventional": "T", "rate": "10 mhz"})
    assert [frame.pri_hdr["AMP"] for frame in both] == ["CONV"] * 12
    with pytest.raises(InputError, match=r"none of the 24 frames has rate=1 MHz; .* rate=10 MHz"):
        frames_where(Dataset(paths), {"rate": "1 MHz"}, camera)
    with pytest.raises(InputError, match="no setting 'speed'; it has: rate, conventional"):
        frames_where(Dataset(paths), {"speed": 1}, camera)


def test_a_frame_without_the_setting_is_left_out_where_wanted(tmp_path: Path, mixed: Any) -> None:
    camera, paths = str(write(tmp_path)), [str(path) for path in mixed[1]]
    bad = tmp_path / "bad.fits"
    with fits.open(paths[0], memmap=False) as hdus:
        del hdus[0].header["AMP"]
        hdus.writeto(bad)
    where = {"conventional": "F"}
    with pytest.raises(EmdarksError, match=r"bad\.fits"):
        select_frames([*paths, str(bad)], camera, where)
    chosen = select_frames([*paths, str(bad)], camera, where, skip_bad_frames=True)
    assert len(chosen) == 12
    assert [frame.name for frame in chosen.skipped] == ["bad.fits"]
    with pytest.raises(EmdarksError, match=r"bad\.fits"):
        select_frames([str(bad)], camera, where, skip_bad_frames=True)


def test_the_refusal_names_the_option_and_the_option_helps(tmp_path: Path, mixed: Any) -> None:
    camera, out = write(tmp_path), tmp_path / "dark.fits"
    common = (*mixed[1], "--camera", camera)
    for command in (("noisemaps", "-o", out), ("inspect", "-q"), ("check",)):
        outcome = run(*command, *common)
        assert outcome.exit_code == 1, command
        assert "by --where conventional=" in outcome.stderr, command
    chosen = ("--where", "conventional=T", "--exptime", 50)
    outcome = run("dark", "-o", out, *common, *chosen)
    assert outcome.exit_code == 0, outcome.stderr
    assert fits.getheader(out, 1)["EMGAIN_C"] == 1
    seen = run("inspect", *common, "--where", "conventional=F", "--json")
    assert seen.exit_code == 1  # two stacks make no maps
    assert '"frames": 12' in seen.stdout
    assert run("inspect", *common, "--where", "conventional").exit_code == 2
    assert run("check", *common, "--where", "rate=1", "--where", "rate=2").exit_code == 2


def test_conventional_frames_join_where_the_file_says_so(tmp_path: Path, mixed: Any) -> None:
    alone = load_camera(str(write(tmp_path)))
    joined = load_camera(str(write(tmp_path, changed("others = ", "joins = true\nothers = "))))
    with pytest.raises(InputError, match="conventional is"):
        calibrate_darks_lsq(Dataset(mixed[1]), None, camera=alone)
    maps = calibrate_darks_lsq(Dataset(mixed[1]), None, camera=joined)
    expected = calibrate_darks_lsq(Dataset(mixed[0]), None, camera=joined)
    np.testing.assert_array_equal(maps.data, expected.data)
    assert maps.ext_hdr["READOUT"] == "rate=10 MHz"
    # Still a setting to choose frames by.
    assert len(frames_where(Dataset(mixed[1]), {"conventional": True}, joined)) == 12


def test_frames_of_unlike_amplifiers_cannot_join(tmp_path: Path) -> None:
    text = changed("others = ", "joins = true\nothers = ") + (
        '[[modes]]\nname = "odd"\nwhen = { rate = "3 MHz" }\nk_gain = 4.2\nread_noise = 41.0\n'
        '[[modes]]\nname = "own"\nwhen = { rate = "3 MHz", conventional = true }\nk_gain = 1.1\n'
        "read_noise = 41.0\n"
    )
    with pytest.raises(InputError, match=r"conventional.joins: .*'own' and 'odd'.* k_gain"):
        load_camera(str(write(tmp_path, text)))
    assert load_camera(str(write(tmp_path, text.replace("1.1", "4.2")))).modes[3].k_gain == 4.2


# ---------------------------------------------------------------- units


def test_dn_are_never_taken_for_electrons(tmp_path: Path, mixed: Any) -> None:
    path = write(tmp_path, changed('"" = "DN"\n', ""))
    for attempt in (calibrate_darks_lsq, build_trad_dark):
        with pytest.raises(InputError, match=r'no unit \(BUNIT\).*\[units\] "" = "DN"'):
            attempt(Dataset(mixed[0]), None, camera=str(path))
    summary = inspect_campaign(Dataset(mixed[0]), camera=str(path))
    assert '[units] "" = "DN"' in summary.worst("problem")[0].text
    outcome = run("cameras", path, mixed[0][0])
    assert outcome.exit_code == 1
    assert "problem  unit: the header names no unit" in outcome.stderr


def test_a_unit_of_ones_own_is_to_be_named_in_the_file(tmp_path: Path) -> None:
    camera = load_camera(str(write(tmp_path)))
    cards = {"TEXP": 2.0, "GAIN": 300, "AMP": "EM", "RATE": "1 MHz", "BUNIT": "counts"}
    with pytest.raises(InputError, match=r"""'counts' is not known.*\[units\] "counts" = "DN\""""):
        read_record(camera, "a.fits", (19, 31), (cards,))


SPARC4_OLD = {
    "EXPTIME": 2.0,
    "EMGAIN": 100,
    "GAIN": 16.0,
    "EMMODE": "Electron Multiplying",
    "READOUT": "30 MHz",
    "SERN": 9914,
    "PREAMP": "Gain 1",
    "VCLOCK": "0",
    "FRAME_T": "ON",
    "VSHIFT": "3",
    "TEMP": 65467,
    "OBSTYPE": "DARK",
}


def test_a_text_with_its_unit_is_the_number_that_it_says() -> None:
    sparc4 = load_camera("sparc4")
    record = read_record(sparc4, "f", (3, 5), (SPARC4_OLD,))
    assert dict(record.setting)["rate"] == "30"
    assert dict(record.setting)["serial"] == "9914"
    assert record.mode == "9914, 30 MHz, Gain 1"
    assert sparc4.noise_in(record.mode).read_noise == 197.0
    for raw in ("30 MHz", "30000 kHz", "30MHz", 30, 30.0):
        same = read_record(sparc4, "f", (3, 5), ({**SPARC4_OLD, "READOUT": raw},))
        assert same.setting == record.setting, raw
    for text, number in (("10 MHz", 10.0), ("20000 kHz", 20.0), ("1e6 Hz", 1.0)):
        assert Value(unit="MHz").number(text) == pytest.approx(number, rel=1e-12)
    assert Value(unit="s").number("250 ms") == 0.25
    assert Value().number("-80 C") == -80.0
    assert Value().number("193.15 K") == pytest.approx(-80.0)
    for text in ("10 MHz", "ten s", "3", "3 parsecs"):
        assert math.isnan(Value(unit="s").number(text))


@for_each("camera", ["ixon-solis", "shoc"])
@for_each("keyword", ["FLIPX", "FLIPY", "NUMACC", "HBIN", "VBIN"])
def test_orientation_binning_and_sums_are_settings(camera: str, keyword: str) -> None:
    cards = {"EXPOSURE": 2.0, "GAIN": 100, "SNTVTY": 4.0, "OUTPTAMP": "Electron Multiplying"}
    cards |= {"SERNO": 5982, "READTIME": 1e-6 / 3, "PREAMP": 4.9, "HBIN": 1, "VBIN": 1}
    known = load_camera(camera)
    usual = read_record(known, "f", (3, 5), (cards,)).setting
    number = 0 if keyword.startswith("FLIP") else 1
    assert read_record(known, "f", (3, 5), ({**cards, keyword: number},)).setting == usual
    other = read_record(known, "f", (3, 5), ({**cards, keyword: number + 1},)).setting
    (differing,) = set(other) - set(usual)
    assert differing[1] == str(number + 1)


@pytest.mark.parametrize("raw", [-999, 65467, 999.0, 193.15, "200 K"])
def test_temperatures_that_no_detector_has_are_unknown(raw: Any) -> None:
    header = {**SPARC4_OLD, "TEMP": raw}
    record = read_record(load_camera("sparc4"), "f", (3, 5), (header,))
    if raw == "200 K":
        assert record.temperature == pytest.approx(-73.15)
        assert record.odd_temperature == ""
    else:
        assert math.isnan(record.temperature)
        assert record.odd_temperature == f"TEMP = {raw!r}"


def sparc4_file(path: Path, number: int, **cards: Any) -> Path:
    hdu = fits.PrimaryHDU(np.random.default_rng(number).integers(480, 520, (6, 9)).astype("u2"))
    hdu.header.update({**SPARC4_OLD, "TEMP": -70.5, **cards})
    hdu.writeto(path)
    return path


def test_settings_that_no_header_states_are_told(tmp_path: Path) -> None:
    paths = [sparc4_file(tmp_path / f"f{i}.fits", i) for i in range(3)]
    for path in paths:
        fits.setval(path, "READOUT", value="20 MHz")
        fits.setval(path, "CLOCKV", value="2")
        fits.delval(path, "VCLOCK")
    found = inspect_campaign(Dataset(paths), camera="sparc4").findings
    (finding,) = (each for each in found if each.topic == "readout")
    assert finding.severity == "warning"
    assert "do not tell 2 readout settings of camera sparc4" in finding.text
    assert "clock_amplitude (no VCLKAMP or VCLOCK, but CLOCKV = '2')" in finding.text
    # CCDTEMP and DATE are alike, but the camera reads them for what they are.
    assert finding.text.endswith("target_temperature (no TGTEMP)")


@for_each("raw", ["", "  ", "unknown", "N/A", "-", -999, -999.0, "-999"])
def test_a_card_that_says_nothing_is_no_setting(tmp_path: Path, raw: Any) -> None:
    paths = [sparc4_file(tmp_path / f"f{i}.fits", i, TGTEMP=-70, READOUT=raw) for i in range(3)]
    (finding,) = (
        each
        for each in inspect_campaign(Dataset(paths), camera="sparc4").findings
        if each.topic == "readout"
    )
    assert "do not tell 1 readout setting of camera sparc4" in finding.text
    stored = fits.getheader(paths[0])["READOUT"]
    assert finding.text.endswith(f"rate (READOUT = {stored!r}, which tells nothing)")
    # Where another frame says it, they are told apart.
    paths.append(sparc4_file(tmp_path / "other.fits", 3, TGTEMP=-70, READOUT="10 MHz"))
    with pytest.raises(InputError, match=r"rate is (-, but 10|10, but -) in "):
        check_frames(group_stacks(frame_inputs(Dataset(paths), load_camera("sparc4"), None)))


def untold_campaign(folder: Path) -> list[Path]:
    """Frames for noise maps, of two rates that stand in a card of another name."""
    rng = np.random.default_rng(5)
    paths = []
    for gain, time in ((2, 1.0), (2, 80.0), (90, 1.0), (90, 80.0), (250, 80.0)):
        for i in range(5):
            cards = {**SPARC4_OLD, "TEMP": -70.5, "EMGAIN": gain, "EXPTIME": time}
            del cards["READOUT"]
            cards |= {"RDRATE": ("10 MHz", "30 MHz")[i % 2], "TGTEMP": -70, "OBSTYPE": "DARK"}
            charge = gain * (0.2 + 0.01 * time)
            hdu = fits.PrimaryHDU(rng.normal(500 + charge, 5, (7, 11)).astype("u2"))
            hdu.header.update(cards)
            paths.append(folder / f"g{gain}_t{time:g}_{i}.fits")
            hdu.writeto(paths[-1])
    return paths


def untold(run: Callable[[], Any]) -> list[str]:
    """What is said of settings that no header states."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run()
    texts = [str(each.message) for each in said if issubclass(each.category, EmdarksWarning)]
    return [text for text in texts if "do not tell" in text]


def test_whatever_uses_frames_tells_settings_that_no_header_states(tmp_path: Path) -> None:
    paths = untold_campaign(tmp_path)
    frames, pair = Dataset(paths), Dataset(paths[2:4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = calibrate_darks_lsq(frames, None, camera="sparc4")
    own = "rate (no READRATE or READOUT, but RDRATE = '10 MHz' or '30 MHz')"
    uses: dict[str, Callable[[], Any]] = {
        "maps": lambda: calibrate_darks_lsq(frames, None, camera="sparc4"),
        "dark": lambda: build_trad_dark(Dataset(paths[:5]), None, camera="sparc4"),
        "check": lambda: check_darks(frames, camera="sparc4"),
        "synthesized": lambda: build_synthesized_dark(pair, maps, camera="sparc4"),
        "subtracted": lambda: subtract_dark(pair, maps, camera="sparc4"),
    }
    for name, use in uses.items():
        (text,) = untold(use)
        assert text.startswith("the headers do not tell 1 readout setting of camera sparc4"), name
        assert own in text, name
        assert "frames, or frames and a dark, that differ in them are not told apart" in text


def test_orientation_that_no_header_states_is_told(tmp_path: Path) -> None:
    sparc4 = load_camera("sparc4")
    camera = replace(sparc4, mirrored=Rule("MIRROR", (True,)))
    paths = [sparc4_file(tmp_path / f"f{i}.fits", i, TGTEMP=-70) for i in range(2)]
    inputs = frame_inputs(Dataset(paths), camera, None)
    assert unstated_settings(sparc4, inputs) == []
    assert unstated_settings(camera, inputs) == ["mirrored (no MIRROR)"]


def test_impossible_temperatures_are_said_and_not_averaged(tmp_path: Path) -> None:
    temperatures = (-70.5, 65467, -69.5, -999)
    paths = [
        sparc4_file(tmp_path / f"f{i}.fits", i, CCDTEMP=value)
        for i, value in enumerate(temperatures)
    ]
    for path in paths:
        fits.delval(path, "TEMP")
    found = inspect_campaign(Dataset(paths), camera="sparc4").findings
    (finding,) = (each for each in found if each.topic == "temperature")
    assert finding.text.startswith("2 frames have a temperature that no detector has")
    assert "CCDTEMP = 65467" in finding.text
    assert len(finding.frames) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dark = build_trad_dark(Dataset(paths), None, camera="sparc4")
    assert (dark.ext_hdr.get("CCDTEMP") or dark.pri_hdr["CCDTEMP"]) == -70.0
