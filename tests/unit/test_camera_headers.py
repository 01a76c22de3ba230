"""What cameras make of headers: units, gains, sensitivity, settings, what they refuse."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emdarks.cameras import (
    BUILTIN,
    Camera,
    FrameRecord,
    Unit,
    Value,
    explain,
    load_camera,
    read_record,
)
from emdarks.cameras.units import UNITS, same, text_of
from emdarks.errors import EmdarksError, InputError, MissingKeywordError
from emdarks.simulate import Campaign, Effects, StackPlan
from emdarks.simulate.headers import plain_header
from loops import for_each

SPARC4 = {
    "EXPTIME": 3.5, "EMGAIN": 25, "GAIN": 3.88, "EMMODE": "Electron Multiplying",
    "PREAMP": "Gain 2", "READRATE": 1.0, "CCDSERN": 9914, "CCDTEMP": -69.9, "OBSTYPE": "DARK",
}  # fmt: skip
SHOC = {
    "EXPOSURE": 0.05, "GAIN": 40, "OUTPTAMP": "Electron Multiplying", "PREAMP": 2.4,
    "READTIME": 1.0000000116860974e-07, "SERNO": 5982, "TEMP": -70.0,
}  # fmt: skip
SOLIS = {
    "EXPOSURE": 0.03, "GAIN": 750, "EMREALGN": 0, "SNTVTY": 5.1, "TEMP": "-69,5",
    "UNSTTEMP": -999.0, "OUTPTAMP": "Electron Multiplying",
}  # fmt: skip
VAMPIRES = {"U_AQTINT": 1.1e6, "U_EMGAIN": 300, "U_CAMERA": 1, "DATA-TYP": "DARK"}


def record(camera: str | Camera, cards: dict[str, Any], **changes: Any) -> FrameRecord:
    """Record of a header; a change to None takes the card out."""
    header = {key: value for key, value in {**cards, **changes}.items() if value is not None}
    return read_record(load_camera(camera), "night/a.fits", (31, 47), (header, {}))


def own(tmp_path: Path, text: str, like: str = "sparc4") -> Camera:
    path = tmp_path / "own.toml"
    path.write_text(f'like = "{like}"\n{text}', encoding="utf-8")
    return load_camera(str(path))


# ---------------------------------------------------------------- single values


@given(st.floats(1e-6, 1e6), st.sampled_from(sorted(set(UNITS) - {"ISO"})))
def test_units_go_there_and_back(number: float, unit: str) -> None:
    value = Value(unit)
    assert value.stored(value.number(number)) == pytest.approx(number, rel=1e-9, abs=1e-6)


@for_each(
    "unit, raw, number",
    [
        ("ms", 1500, 1.5),
        ("us", 2e6, 2.0),
        ("min", 2, 120.0),
        ("K", 203.15, -70.0),
        ("Hz", 3e6, 3.0),
        ("s/pixel", 2e-7, 5.0),
        ("us/pixel", 0.1, 10.0),
        ("DN/e", 0.25, 4.0),
        ("JD", 2461041.5, 61041.0),
        ("ISO", "2026-01-01T12:00:00", 61041.5),
        ("ISO", "2026-01-01T14:00:00+02:00", 61041.5),
    ],
)
def test_units_of_headers(unit: str, raw: Any, number: float) -> None:
    assert Value(unit).number(raw) == pytest.approx(number)


@pytest.mark.parametrize("raw", ["soon", None, True, [1], "-70,5"])
def test_what_is_no_number_is_unknown(raw: Any) -> None:
    assert math.isnan(Value().number(raw))
    assert math.isnan(Value("ISO").number("soon"))


def test_marks_for_unknown_and_decimal_commas() -> None:
    value = Value(unknown=(-999, "n/a"), decimal_comma=True)
    assert math.isnan(value.number(-999.0))
    assert math.isnan(value.number("N/A"))
    assert value.number("-69,5") == -69.5
    assert value.number("-69.5") == -69.5
    assert value.number(-998.9) == -998.9


@for_each(
    "one, other, equal",
    [
        (10.0, 9.99999988, True),
        (3.0, 3.03, True),
        (9914, 9916, False),
        ("9914", 9914, True),
        (2.4, 2.5, False),
        ("2.4x", 2.4, True),
        ("Gain 1", "gain  1 ", True),
        ("Gain 1", "Gain 2", False),
        (True, "T", True),
        (True, 1, False),
        (0, 0.0, True),
    ],
)
def test_settings_that_are_the_same(one: Any, other: Any, equal: bool) -> None:
    assert same(one, other) is equal
    assert same(other, one) is equal


def test_settings_in_words() -> None:
    assert text_of(12345.0) == "12345"
    assert text_of(9.99999988) == "10"
    assert text_of(False) == "F"


# ---------------------------------------------------------------- the traps of real headers


def test_gain_is_the_sensitivity_in_one_camera_and_the_em_gain_in_another() -> None:
    found = record("sparc4", SPARC4)
    assert (found.em_gain, found.k_gain, found.exposure_time) == (25.0, 3.88, 3.5)
    assert (found.temperature, found.unit) == (-69.9, Unit.DN)
    found = record("shoc", SHOC)
    assert (found.em_gain, found.k_gain, found.mode) == (40.0, 24.35, "SHOC1, 10 MHz, EM, 2.4")
    assert (found.bias, found.saturation) == (403.0, 5907.0)


@pytest.mark.parametrize(
    ("camera", "cards", "key", "value"),
    [
        ("sparc4", SPARC4, "EMMODE", "Conventional"),
        ("shoc", SHOC | {"READTIME": 1e-6}, "OUTPTAMP", "Conventional"),
        ("ixon-solis", SOLIS, "OUTPTAMP", "Conventional"),
        ("ixon-897", VAMPIRES, "U_EMGAIN", 0),
    ],
)
def test_conventional_readout_has_gain_1_whatever_stands_in_the_header(
    camera: str, cards: dict[str, Any], key: str, value: Any
) -> None:
    found = record(camera, cards, **{key: value})
    assert (found.em_gain, found.commanded_gain) == (1.0, 1.0)
    assert dict(found.setting)["conventional"] == "T"
    em = record(camera, cards)
    assert em.em_gain > 1
    assert dict(em.setting)["conventional"] == "F"


def test_conventional_readout_needs_no_gain_and_has_its_own_sensitivity() -> None:
    found = record("shoc", SHOC, OUTPTAMP="Conventional", READTIME=1e-6, GAIN=None)
    assert (found.em_gain, found.k_gain, found.bias) == (1.0, 1.69, 399.0)


def test_better_gains_do_not_count_in_conventional_readout(tmp_path: Path) -> None:
    camera = own(tmp_path, '[keywords]\nbetter_gains = ["TRUEGAIN"]\n')
    assert record(camera, SPARC4, TRUEGAIN=24.1).em_gain == 24.1
    assert record(camera, SPARC4, TRUEGAIN=24.1, EMMODE="Conventional").em_gain == 1.0


def test_nobody_guesses_the_amplifier() -> None:
    with pytest.raises(MissingKeywordError, match=r"^night/a\.fits: the header has no EMMODE"):
        record("sparc4", SPARC4, EMMODE=None)
    with pytest.raises(InputError, match=r"a\.fits: EMMODE is 'Both'.*'Conventional'.*correct"):
        record("sparc4", SPARC4, EMMODE="Both")
    assert record("ixon-solis", SOLIS, OUTPTAMP=None).em_gain == 750.0  # absent = false


def test_a_real_gain_of_0_is_not_taken_for_the_gain() -> None:
    assert record("ixon-solis", SOLIS).em_gain == 750.0


def test_the_second_keyword_counts_where_the_first_is_missing() -> None:
    assert record("ixon-897", VAMPIRES).exposure_time == pytest.approx(1.1)
    assert record("ixon-897", VAMPIRES, EXPTIME=0.7).exposure_time == 0.7
    with pytest.raises(MissingKeywordError, match="EXPTIME or U_AQTINT"):
        record("ixon-897", VAMPIRES, U_AQTINT=None)


def test_temperature_from_whichever_keyword_knows_it() -> None:
    assert record("ixon-solis", SOLIS).temperature == -69.5
    warm = record("ixon-solis", SOLIS, TEMP=-999.0, UNSTTEMP="-12,25")
    assert warm.temperature == -12.25
    assert math.isnan(record("ixon-solis", SOLIS, TEMP=-999.0).temperature)


def test_an_exposure_time_that_says_unknown_is_refused(tmp_path: Path) -> None:
    camera = own(tmp_path, "[values]\nEXPTIME = { unknown = [-1] }\n")
    with pytest.raises(InputError, match=r"EXPTIME is -1, which stands for unknown"):
        record(camera, SPARC4, EXPTIME=-1)


def test_planes_of_a_cube_start_one_after_the_other() -> None:
    cards = SHOC | {"DATE-OBS": "2026-01-01T00:00:00", "KCT": 0.5}
    starts = [
        read_record(load_camera("shoc"), "a", (3, 5), (cards, {}), plane=plane).start
        for plane in (0, 1, 4)
    ]
    assert [(start - 61041) * 86400 for start in starts] == pytest.approx([0, 0.5, 2], abs=1e-4)


# ---------------------------------------------------------------- sensitivity


def test_sensitivity_from_the_table_where_the_header_has_none() -> None:
    assert record("sparc4", SPARC4, GAIN=None).k_gain == 3.88
    assert record("sparc4", SPARC4, GAIN=None, READRATE=30.0, PREAMP="Gain 1").k_gain == 17.2
    assert record("sparc4", SPARC4, GAIN=0.0).k_gain == 3.88
    assert record("sparc4", SPARC4, GAIN=4.2).k_gain == 4.2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"READRATE": 20.0, "PREAMP": "Gain 1"}, "READRATE = 20.0"),
        ({"CCDSERN": 9915}, "CCDSERN = 9915"),
        ({"PREAMP": "Gain 3"}, "PREAMP = 'Gain 3'"),
        ({"EMMODE": "Conventional"}, "EMMODE = 'Conventional'"),
        ({"CCDSERN": None}, "missing CCDSERN"),
    ],
)
def test_an_unknown_sensitivity_is_refused_with_what_to_do(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        record("sparc4", SPARC4, GAIN=None, **changes)
    message = str(caught.value)
    assert message.startswith("night/a.fits: ")
    assert said in message
    assert 'like = "sparc4"' in message
    assert "--kgain" in message
    assert "\n" not in message


def test_electrons_per_dn_given_by_hand_help_where_nothing_else_does() -> None:
    header = {key: value for key, value in SHOC.items() if key != "SERNO"}
    with pytest.raises(InputError, match="missing SERNO"):
        record("shoc", header)
    camera = load_camera("shoc")
    assert read_record(camera, "a", (3, 5), (header, {}), k_gain=7.5).k_gain == 7.5
    assert read_record(camera, "a", (3, 5), (SHOC, {}), k_gain=7.5).k_gain == 24.35


def test_own_modes_come_before_those_of_the_base(tmp_path: Path) -> None:
    text = (
        '[[modes]]\nname = "mine"\nwhen = { serial = 9915, rate = 1.0 }\nk_gain = 3.5\n'
        '[[modes]]\nname = "better"\nwhen = { serial = 9914, rate = 1.0 }\nk_gain = 3.9\n'
    )
    camera = own(tmp_path, text)
    assert record(camera, SPARC4, GAIN=None, CCDSERN=9915).k_gain == 3.5
    assert record(camera, SPARC4, GAIN=None).k_gain == 3.9
    assert record(camera, SPARC4, GAIN=None, READRATE=30.0).k_gain == 5.27


def test_a_fixed_sensitivity() -> None:
    assert record("ixon-897", VAMPIRES).k_gain == 4.5


# ---------------------------------------------------------------- darks, explanation


def test_which_frames_are_darks() -> None:
    assert record("sparc4", SPARC4).not_dark == ""
    assert record("sparc4", SPARC4, OBSTYPE="zero").not_dark == ""
    assert record("sparc4", SPARC4, OBSTYPE=None).not_dark == ""
    assert record("sparc4", SPARC4, OBSTYPE="OBJECT").not_dark == "OBSTYPE = 'OBJECT'"


def test_mirrored_frames_have_another_setting() -> None:
    one = dict(record("shoc", SHOC, READTIME=1e-6).setting)
    other = dict(record("shoc", SHOC, READTIME=1e-6, OUTPTAMP="Conventional").setting)
    assert (one["mirrored"], other["mirrored"]) == ("T", "F")


def test_explanation_says_where_everything_comes_from() -> None:
    lines = {line.quantity: line for line in explain(load_camera("shoc"), "a", (SHOC, {}))}
    assert lines["exposure time"][1:] == ("0.05 s", "EXPOSURE = 0.05", True)
    assert lines["setting rate"].value == "10"
    assert lines["setting window"].value == "unknown"
    assert lines["sensitivity"].value == "24.35 e-/DN"
    assert "SHOC1, 10 MHz, EM, 2.4" in lines["sensitivity"].source
    assert lines["bias"].value == "403 DN"
    assert lines["kind of frame"].value == "taken as a dark"
    assert all(line.fine for line in lines.values())


def test_explanation_of_a_header_that_cannot_be_used() -> None:
    lines = explain(load_camera("sparc4"), "a.fits", ({"EXPTIME": "long", "GAIN": 2.0}, {}))
    wrong = {line.quantity: line.source for line in lines if not line.fine}
    assert wrong["exposure time"] == "EXPTIME is 'long', which is not a finite number"
    assert "no EMMODE" in wrong["gain register"]
    assert wrong["EM gain, used"] == "see gain register"
    assert {line.quantity for line in lines if line.fine} >= {"unit", "temperature", "sensitivity"}


# ---------------------------------------------------------------- simulated headers


def cameras_and_modes() -> list[tuple[str, str]]:
    found = []
    for name in BUILTIN:
        camera = load_camera(name)
        if not camera.frames.err_and_dq:
            found += [(name, mode.name) for mode in camera.modes] or [(name, "")]
    return found


@for_each("name, mode", cameras_and_modes())
def test_a_camera_reads_the_headers_that_are_simulated_for_it(name: str, mode: str) -> None:
    camera = load_camera(name)
    camera = camera.in_mode(mode) if mode else camera
    chosen = camera.mode(mode)
    conventional = chosen is not None and chosen.when.get("conventional") is True
    gain = 1.0 if conventional else 27.0
    campaign = Campaign((StackPlan(gain, 4.25, 1),), camera, 0, "DN", Effects.none())
    facts = next(campaign.facts())
    found = read_record(camera, "a", (31, 47), (plain_header(facts, camera), {}))
    assert (found.em_gain, found.exposure_time) == (gain, 4.25)
    assert found.k_gain == pytest.approx(camera.noise.k_gain)
    assert found.mode == mode
    assert (found.unit, found.not_dark) == (Unit.DN, "")
    assert found.start == pytest.approx(61041.0)
    if camera.keywords.temperature:
        assert found.temperature == pytest.approx(camera.simulation.temperature, abs=0.2)
    if chosen is not None:
        assert camera.noise.read_noise == chosen.read_noise


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(InputError, match=r"camera sparc4 has no mode 'x'; it has: 9914, 30 MHz"):
        load_camera("sparc4").in_mode("x")
    assert load_camera("excam").mode("") is None


def test_conventional_modes_are_simulated_at_gain_1() -> None:
    camera = load_camera("shoc").in_mode("SHOC1, 1 MHz, CON, 2.4")
    with pytest.raises(InputError, match="EM gain 1"):
        Campaign((StackPlan(2.0, 1.0, 1),), camera, 0, "DN", Effects.none())


# ---------------------------------------------------------------- wrong files


@for_each(
    "text, said",
    [
        ("[frames]\nlayout = 'stack'\n", "key frames.layout"),
        ("[frames]\nbits = 14\n", "unknown key 'frames.bits'"),
        ("[frames]\nbit_depth = 17\n", "bit_depth is 17"),
        ("[frames]\nsaturation = -1.0\n", "saturation is -1.0"),
        ("[values]\nEXPTIME = { unit = 'h' }\n", "unit is 'h'"),
        ("[values]\nEXPTIME = { units = 's' }\n", "unknown key 'values.EXPTIME.units'"),
        ("[values]\nEXPTIME = { unit = 'K' }\n", "'K' is a unit of temperature, not of time"),
        ("[keywords]\nexposure_time = ''\n", "key keywords.exposure_time: names no keyword"),
        ("[keywords]\nexposure_time = ['A', 3]\n", "key keywords.exposure_time.1"),
        ("[keywords]\nk_gain = []\n", "key keywords.k_gain: names no keyword"),
        ("sensitivity = 'guess'\n", "key sensitivity.0"),
        ("sensitivity = []\n", "key sensitivity: is empty"),
        ("[settings]\nrate = 3\n", "key settings.rate"),
        ("[settings]\nmirrored = 'X'\n", "key settings: conventional and mirrored"),
        ("[conventional]\nkeyword = 'A'\nvalue = [1]\n", "unknown key 'conventional.value'"),
        ("[darks]\nvalues = ['D']\nkeyword = 3\n", "key darks.keyword"),
        ("[[modes]]\nname = 'a'\nwhen = { colour = 1 }\n", "modes.0.when.colour: is no setting"),
        ("[[modes]]\nname = 'a'\nwhen = {}\n", "key modes.0.when: is empty"),
        ("[[modes]]\nname = 'a'\n", "key modes.0.when"),
        ("[[modes]]\nname = 'a'\nwhen = { rate = 1 }\nk_gain = -2.0\n", "k_gain of 'a' is -2.0"),
        (
            "[[modes]]\nname = 'a'\nwhen = { rate = 1 }\nkgain = 2.0\n",
            "unknown key 'modes.0.kgain'",
        ),
        (
            "[[modes]]\nname = 'a'\nwhen = { rate = 1 }\n[[modes]]\nname = 'b'\n"
            "when = { rate = 1 }\n",
            "key modes.1.when: an earlier mode has the same",
        ),
        ("modes = 3\n", "key modes"),
        ("[bias]\nlevel = 3.0\nfile = 'b.fits'\n", "give one of level, file and region"),
        ("[bias]\n", "give one of level, file and region"),
        ("[bias]\nfile = 'none.fits'\n", "key bias.file"),
        ("[bias]\nregion = 'prescan'\n", "key bias.region: the geometry has no region 'prescan'"),
        ("[bias]\nlevel = 3.0\nnum_stds = 5\n", "key bias: num_stds needs a region"),
        ("[bias]\nregion = 'x'\nnum_stds = 0\n", "key bias: num_stds is 0.0; it must be positive"),
        ("[bias]\nregion = 'x'\nper = 'pixel'\n", "key bias.per: is 'pixel'; known are 'row'"),
        ("[raw]\nvalues = ['L1']\n", "key raw.keyword: is missing: the keyword that tells raw"),
        ("[raw]\nkeyword = 'A'\nvalues = []\n[raw.bias]\n", "key raw.bias: give one of level"),
        (
            "[raw]\nkeyword = 'A'\nvalues = ['L1']\n[raw.bias]\nfile = 'none.fits'\n",
            "key raw.bias.file: ",
        ),
        ("[raw]\nlevel = 'L1'\n", "unknown key 'raw.level'; it belongs into [bias]"),
        ("[cosmic_rays]\nsearch = 'yes'\n", "cosmic_rays.search: is 'yes'; known are 'off'"),
        (
            "[cosmic_rays]\nsearch = 'dark'\n",
            "key noise.full_well_image: is missing: full well of a pixel, electrons, for",
        ),
        ("[cosmic_rays]\nplateau = 0.0\n", "plateau is 0.0; it must be positive, in full wells"),
        ("[cosmic_rays]\nbox = -1\n", "box is -1; it counts pixels, 0 or more"),
        ("[cosmic_rays]\ntail = 3\ntail_per_gain = 0.1\n", "give one of tail and tail_per_gain"),
        ("[linearity]\nfile = 3\n", "key linearity.file: is 3, not a text"),
        ("[linearity]\nfile = 'table.fits'\n", "key linearity.file: "),
        ("[simulation]\nmode = 'x'\n", "key simulation.mode: there is no mode 'x'"),
        ("[simulation]\ngains = [5.0, 2.0]\n", "gains are [5.0, 2.0]"),
        ("[simulation]\nframes_per_file = 0\n", "frames_per_file is 0"),
        ("telemetry_rows = [-1]\n", "key frames.windows: nobody knows where the telemetry rows"),
        (
            "[geometry.FULL]\nframe_rows = 9\nframe_cols = 7\n"
            "image = { rows = 9, cols = 5, r0c0 = [0, 2] }\n"
            "prescan = { rows = 9, cols = 2, r0c0 = [0, 0] }\n",
            "key frames.windows: nobody knows where prescan are in a window",
        ),
    ],
)
def test_a_wrong_camera_file_names_the_file_and_the_key(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        own(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'own.toml'}: ")
    assert said in message
    assert "\n" not in message


def test_overscan_that_does_not_reach_over_all_rows_gives_no_bias(tmp_path: Path) -> None:
    text = (
        "[frames]\nwindows = false\n[bias]\nregion = 'serial_overscan'\n"
        "[geometry.FULL]\nframe_rows = 9\nframe_cols = 7\n"
        "image = { rows = 9, cols = 5, r0c0 = [0, 0] }\n"
        "serial_overscan = { rows = 8, cols = 2, r0c0 = [1, 5] }\n"
    )
    with pytest.raises(InputError, match="serial_overscan does not reach over all rows"):
        own(tmp_path, text)


def test_errors_of_a_header_are_errors_about_the_input() -> None:
    with pytest.raises(EmdarksError):
        record("sparc4", {})
