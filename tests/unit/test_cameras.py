"""Cameras: the built-in ones, camera files, and records made of headers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from emdarks.cameras import (
    BUILTIN,
    Bias,
    Camera,
    CosmicRays,
    Counted,
    Counting,
    FrameRecord,
    HeaderRules,
    Keywords,
    Linearity,
    NoiseFigures,
    RawFrames,
    Unit,
    explain,
    load_camera,
    read_record,
)
from emdarks.detector import detector_areas, imaging_area_geom, region_slices
from emdarks.errors import InputError, MissingKeywordError
from emdarks.fits import Cards
from loops import for_each

GEOMETRY = """
[geometry.FULL]
frame_rows = 19
frame_cols = 31
image = { rows = 11, cols = 17, r0c0 = [2, 9] }
prescan = { rows = 19, cols = 8, r0c0 = [0, 0], col_start = 1, col_end = 7 }
prescan_reliable = { rows = 19, cols = 5, r0c0 = [0, 2] }
"""

COMPLETE = f"""
name = "toy"
description = "a camera of our own"
arrtype = "FULL"
telemetry_rows = [17, 18]

[noise]
k_gain = 3.5
read_noise = 41.0
clock_induced_charge = 0.003
dark_current = 2e-4

[keywords]
exposure_time = "TEXP"
commanded_gain = "GSET"
better_gains = ["GTRUE"]
k_gain = "EPERADU"
unit = "UNIT"
temperature = "TCCD"

[units]
"counts" = "DN"
"EM e-" = "detected EM electron"

[headers]
averaged = ["TCCD"]
{GEOMETRY}"""


def write(folder: Path, text: str, name: str = "own.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    path = write(folder, text)
    with pytest.raises(InputError) as caught:
        load_camera(str(path))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- built in


def test_excam_geometry_is_that_of_detector_areas() -> None:
    camera = load_camera("excam")
    assert camera.arrtype == "SCI"
    assert camera.geometry["SCI"] == detector_areas["SCI"]
    assert camera.regions is camera.geometry


@for_each("name", BUILTIN)
def test_every_built_in_camera_loads_under_its_name(name: str) -> None:
    camera = load_camera(name)
    assert camera.name == name
    rows, cols, _ = imaging_area_geom(camera.arrtype, camera.regions)
    assert rows > 0
    assert cols > 0


def test_excam_small_differs_from_excam_in_geometry_only() -> None:
    small, full = load_camera("excam-small"), load_camera("excam")
    mode = small.geometry["SCI"]
    assert (mode["frame_rows"], mode["frame_cols"]) == (120, 220)
    alike = replace(small, name=full.name, description=full.description, geometry=full.geometry)
    assert alike == full


def test_the_last_row_of_excam_is_telemetry() -> None:
    assert load_camera("excam").telemetry_rows == (-1, None)


def test_noise_figures_of_excam() -> None:
    noise = load_camera("excam").noise
    assert noise.k_gain == 8.7
    assert 100 <= noise.read_noise <= 165
    assert noise.full_well_image == 90000.0


@pytest.mark.parametrize("name", ["excam", "excam-small", "excam-sample"])
def test_excam_says_how_raw_frames_are_treated(name: str) -> None:
    camera = load_camera(name)
    assert camera.raw is not None
    assert camera.raw.bias is not None
    answers = [camera.raw.answer(level) for level in ("L1", "L0", "L2a")]
    assert (camera.raw.keyword, answers) == ("DATALVL", [True, True, False])
    assert camera.raw.bias == Bias(region="prescan_reliable", num_stds=5.0)
    region = camera.geometry["SCI"]["prescan"]
    columns = region_slices("SCI", "prescan_reliable", camera.regions)[1]
    assert (columns.start, columns.stop) == (region["col_start"], region["col_end"])
    assert camera.bias is None  # frames of later levels have none
    assert camera.cosmic_rays == CosmicRays("standard")
    assert camera.linearity is None
    wells = camera.noise.full_well_register, camera.noise.full_well_image
    assert wells == (105000.0, 90000.0)


def test_tables_for_raw_frames_in_a_camera_file(tmp_path: Path) -> None:
    (tmp_path / "table.fits").touch()
    text = (
        'like = "excam"\n[cosmic_rays]\nthreshold = 0.5\ntail_per_gain = 0.04\n'
        '[linearity]\nfile = "table.fits"\n[raw.bias]\nlevel = 7\n'
    )
    camera = load_camera(str(write(tmp_path, text)))
    assert camera.cosmic_rays == CosmicRays("standard", threshold=0.5, tail_per_gain=0.04)
    assert camera.linearity == Linearity(str(tmp_path / "table.fits"))
    assert camera.raw == RawFrames("DATALVL", ("L0", "L1"), bias=Bias(level=7.0))
    assert load_camera("sparc4").linearity == Linearity("none")
    assert load_camera("sparc4").cosmic_rays.search == "off"


def test_a_camera_is_returned_as_it_is() -> None:
    camera = load_camera("excam-small")
    assert load_camera(camera) is camera


def test_neither_a_name_nor_a_file_names_the_built_in_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'excma'.*excam, excam-small"):
        load_camera("excma")
    with pytest.raises(InputError, match="neither built in"):
        load_camera(str(tmp_path))


# ---------------------------------------------------------------- camera files


def test_a_complete_camera_file(tmp_path: Path) -> None:
    camera = load_camera(str(write(tmp_path, COMPLETE)))
    assert (camera.name, camera.arrtype, camera.telemetry_rows) == ("toy", "FULL", (17, 18))
    assert camera.noise == NoiseFigures(3.5, 41.0, 0.003, 2e-4)
    assert camera.noise.full_well_image == math.inf
    assert camera.keywords == Keywords(
        exposure_time="TEXP",
        commanded_gain="GSET",
        better_gains=("GTRUE",),
        k_gain="EPERADU",
        unit="UNIT",
        temperature="TCCD",
    )
    assert camera.headers == HeaderRules(averaged=("TCCD",))
    assert imaging_area_geom("FULL", camera.regions) == (19, 23, [0, 8])


def test_a_camera_file_may_be_given_as_a_path(tmp_path: Path) -> None:
    assert load_camera(write(tmp_path, COMPLETE)).name == "toy"  # type: ignore[arg-type]


def test_like_overlays_key_by_key(tmp_path: Path) -> None:
    text = 'like = "excam"\nname = "mine"\n[noise]\nread_noise = 7.5\n[keywords]\nunit = "U"\n'
    camera, base = load_camera(str(write(tmp_path, text))), load_camera("excam")
    assert camera.name == "mine"
    assert camera.noise == replace(base.noise, read_noise=7.5)
    assert camera.keywords == replace(base.keywords, unit="U")
    assert camera.geometry == base.geometry
    assert camera.units == base.units
    assert camera.headers == base.headers


def test_like_replaces_the_geometry_whole(tmp_path: Path) -> None:
    camera = load_camera(str(write(tmp_path, f'like = "excam"\narrtype = "FULL"\n{GEOMETRY}')))
    assert set(camera.geometry) == {"FULL"}
    assert "serial_overscan" not in camera.geometry["FULL"]


def test_like_replaces_how_frames_are_counted_whole(tmp_path: Path) -> None:
    assert load_camera("excam").counting.frames  # which single counts have none of
    camera = load_camera(
        str(write(tmp_path, 'like = "excam"\nname = "mine"\n[counting]\nthreshold = 825\n'))
    )
    assert camera.counting == Counting(threshold=825)


def test_like_follows_a_camera_that_is_like_another(tmp_path: Path) -> None:
    camera = load_camera(str(write(tmp_path, 'like = "excam-small"\nname = "x"\n')))
    assert camera.geometry == load_camera("excam-small").geometry
    assert camera.keywords == load_camera("excam").keywords


def test_a_camera_file_does_not_change_its_base(tmp_path: Path) -> None:
    before = load_camera("excam")
    load_camera(str(write(tmp_path, 'like = "excam"\n[units]\n"cts" = "DN"\n')))
    assert load_camera("excam") == before
    assert "cts" not in load_camera("excam").units


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("[]", (None, None)),
        ("[-2]", (-2, None)),
        ("[118, 119]", (118, 119)),
    ],
)
def test_telemetry_rows_in_a_camera_file(
    tmp_path: Path, text: str, rows: tuple[int | None, int | None]
) -> None:
    path = write(tmp_path, f'like = "excam-small"\ntelemetry_rows = {text}\n')
    assert load_camera(str(path)).telemetry_rows == rows


def test_units_are_known_however_their_letters_are_written(tmp_path: Path) -> None:
    camera = load_camera(str(write(tmp_path, COMPLETE)))
    for spelling in ("COUNTS", "counts", " Counts "):
        record = read_record(camera, "f", (3, 5), ({**TOY_HEADER, "UNIT": spelling},))
        assert record.unit is Unit.DN
    record = read_record(camera, "f", (3, 5), ({**TOY_HEADER, "UNIT": "em E-"},))
    assert record.unit is Unit.EM_ELECTRON


def geometry_with(old: str, new: str) -> str:
    assert old in GEOMETRY
    return f'like = "excam"\narrtype = "FULL"\n{GEOMETRY.replace(old, new)}'


def counting(text: str) -> str:
    return f'like = "excam"\n[counting]\n{text}\n'


IMAGE = "image = { rows = 11, cols = 17, r0c0 = [2, 9] }"


@for_each(
    "text, said",
    [
        ("name = ", "not valid TOML"),
        ('like = "nocam"\n', "like = 'nocam'"),
        ("like = 3\n", "like = 3"),
        ('like = "excam"\ncolour = "red"\n', "unknown key 'colour'"),
        ('like = "excam"\n[keywords]\nexposure = "T"\n', "unknown key 'keywords.exposure'"),
        ('like = "excam"\n[noise]\nreadnoise = 3.0\n', "unknown key 'noise.readnoise'"),
        ('like = "excam"\n[headers]\nfirsts = []\n', "unknown key 'headers.firsts'"),
        ('like = "excam"\nnoise = 3\n', "key noise"),
        ('like = "excam"\n[noise]\nread_noise = "loud"\n', "key noise.read_noise"),
        ('like = "excam"\n[keywords]\nunit = 5\n', "key keywords.unit"),
        ('like = "excam"\n[keywords]\nbetter_gains = 5\n', "key keywords.better_gains"),
        ('like = "excam"\n[units]\n"adu" = "furlong"\n', "key units.adu"),
        ('like = "excam"\ntelemetry_rows = ["last"]\n', "key telemetry_rows.0"),
        ('like = "excam"\ntelemetry_rows = [1, 2, 3]\n', "key telemetry_rows"),
        ('like = "excam"\nnoise_of_no_mode = {}\n', "unknown key 'noise_of_no_mode'"),
        ('like = "excam"\ngeometry = 4\n', "key geometry"),
        ('like = "excam"\n[geometry]\nSCI = 4\n', "key geometry.SCI"),
        ('like = "excam"\narrtype = "FULL"\n', "no array type 'FULL'"),
        (COMPLETE.replace('name = "toy"\n', ""), "key name"),
        (
            'sensitivity = "fixed"\n' + COMPLETE.replace("k_gain = 3.5\n", ""),
            "key noise.k_gain: is missing: electrons per DN",
        ),
        (geometry_with("frame_rows = 19", ""), "geometry.FULL.frame_rows: is missing"),
        (geometry_with("frame_cols = 31", ""), "geometry.FULL.frame_cols: is missing"),
        (geometry_with(IMAGE, ""), "geometry.FULL.image: is missing"),
        (geometry_with("frame_rows = 19", 'frame_rows = "19"'), "geometry.FULL.frame_rows"),
        (geometry_with("frame_rows = 19", "frame_rows = 19.5"), "geometry.FULL.frame_rows"),
        (geometry_with("frame_cols = 31", "frame_cols = 0"), "geometry.FULL.frame_cols"),
        (geometry_with(IMAGE, "image = 7"), "geometry.FULL.image"),
        (geometry_with("cols = 17, ", ""), "geometry.FULL.image: needs rows, cols and r0c0"),
        (geometry_with("r0c0 = [2, 9]", "r0c0 = 2"), "geometry.FULL.image: needs"),
        (geometry_with("r0c0 = [2, 9]", "r0c0 = [2, 9, 1]"), "geometry.FULL.image: needs"),
        (geometry_with("rows = 11", 'rows = "11"'), "geometry.FULL.image"),
        (geometry_with("rows = 11", "rows = 11.5"), "geometry.FULL.image"),
        (geometry_with("rows = 11", "rows = 0"), "geometry.FULL.image: does not lie inside"),
        (geometry_with("[2, 9]", "[-1, 9]"), "geometry.FULL.image: does not lie inside"),
        (geometry_with("[2, 9]", "[9, 9]"), "geometry.FULL.image: does not lie inside"),
        (geometry_with("[2, 9]", "[2, 15]"), "geometry.FULL.image: does not lie inside"),
        (geometry_with("cols = 5", "cols = 30"), "geometry.FULL.prescan_reliable: does not"),
        (counting("threshold = 0"), "key counting: threshold is 0.0; it must be positive"),
        (counting('threshold = ""'), "key counting: threshold is empty"),
        (counting("one = 1"), "key counting.threshold: is missing: the threshold of the counts"),
        (counting("threshold = [5]"), "key counting.threshold"),
        (counting("threshold = 5\none = -1"), "key counting: one is -1.0; it must be positive"),
        (counting('threshold = 5\nunit = "DN"'), "key counting.unit: is 'DN'; known are"),
        (counting('threshold = 5\nvalue = "sum"'), "value 'sum' needs frames, the keyword"),
        (counting('threshold = 5\nframes = "N"'), "value 'count' is of one frame; leave frames"),
        (counting('threshold = 5\nkeyword = "K"'), "give keyword and values, or neither"),
        (counting("threshold = 5\nvalues = [1]"), "give keyword and values, or neither"),
        (counting("treshold = 5"), "unknown key 'counting.treshold'; did you mean threshold?"),
        ('like = "excam"\n[units]\n"n" = "count"\n', "key units.n: is no unit of samples"),
        (geometry_with("cols = 8", "cols = 31"), "geometry.FULL: prescan and overscan leave"),
    ],
)
def test_a_wrong_camera_file_names_the_file_and_the_key(
    tmp_path: Path, text: str, said: str
) -> None:
    assert said in refusal(tmp_path, text)


def test_the_largest_region_that_fits_is_accepted(tmp_path: Path) -> None:
    largest = "image = { rows = 17, cols = 22, r0c0 = [2, 9] }"
    path = write(tmp_path, geometry_with(IMAGE, largest))
    assert load_camera(str(path)).geometry["FULL"]["image"]["rows"] == 17


def test_a_camera_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"own\.toml: cannot be read"):
        load_camera(str(path))


# ---------------------------------------------------------------- records

TOY_HEADER = {"TEXP": 2.0, "GSET": 30, "EPERADU": 3.5}
HEADER = {"EXPTIME": 60.0, "EMGAIN_C": 200.0, "KGAINPAR": 8.7}


@pytest.fixture(scope="module")
def excam() -> Camera:
    return load_camera("excam")


def record_of(camera: Camera, **cards: Any) -> FrameRecord:
    return read_record(camera, "dir/a b.fits[2]", (3, 5), ({**HEADER, **cards}, {}))


def test_a_record_holds_what_the_header_says(excam: Camera) -> None:
    record = record_of(excam, EMGAIN_M=198.5, BUNIT="DN", MJDSRT=61000.25, EXCAMT=-105.5, OTHER="x")
    assert record == FrameRecord(
        name="dir/a b.fits[2]",
        shape=(3, 5),
        exposure_time=60.0,
        commanded_gain=200.0,
        em_gain=198.5,
        k_gain=8.7,
        unit=Unit.DN,
        unit_text="DN",
        start=61000.25,
        temperature=-105.5,
    )


def test_start_and_temperature_may_be_unknown(excam: Camera) -> None:
    record = record_of(excam)
    assert math.isnan(record.start)
    assert math.isnan(record.temperature)
    assert (record.unit, record.unit_text) == (Unit.UNKNOWN, "")


NOT_KNOWN = [-999, -999.0, -1, -1.0, 0, 0.0, "absent", None, "", "N/A", True]


@for_each("measured", NOT_KNOWN, ids=repr)
@for_each("applied", [*NOT_KNOWN, 150.0], ids=repr)
def test_gain_precedence_is_measured_then_applied_then_commanded(
    excam: Camera, measured: Any, applied: Any
) -> None:
    cards = {"EMGAIN_M": measured, "EMGAIN_A": applied}
    present = {key: value for key, value in cards.items() if value != "absent"}
    record = record_of(excam, **present)
    assert record.em_gain == (150.0 if applied == 150.0 else 200.0)
    assert record.commanded_gain == 200.0
    assert record_of(excam, **{**present, "EMGAIN_M": 190.0}).em_gain == 190.0


positive = st.floats(1e-3, 1e4)
sentinel = st.one_of(st.none(), st.floats(-1e4, 0.0))


@given(
    measured=st.one_of(positive, sentinel), applied=st.one_of(positive, sentinel), asked=positive
)
def test_the_first_positive_gain_counts(
    measured: float | None, applied: float | None, asked: float
) -> None:
    cards = {"EMGAIN_M": measured, "EMGAIN_A": applied, "EMGAIN_C": asked}
    present = {key: value for key, value in cards.items() if value is not None}
    expected = next(value for value in (measured, applied, asked) if value and value > 0)
    record = read_record(load_camera("excam"), "f", (3, 5), ({**HEADER, **present},))
    assert record.em_gain == expected


@for_each(
    "text, unit",
    [
        ("DN", Unit.DN),
        ("dn", Unit.DN),
        ("ADU", Unit.DN),
        ("detected EM electron", Unit.EM_ELECTRON),
        ("Detected EM Electrons", Unit.EM_ELECTRON),
        ("detected electron", Unit.ELECTRON),
        ("photoelectrons", Unit.ELECTRON),
        (" photoelectron ", Unit.ELECTRON),
        ("", Unit.UNKNOWN),
        ("erg", Unit.UNKNOWN),
    ],
)
def test_units_of_excam(excam: Camera, text: str, unit: Unit) -> None:
    record = record_of(excam, BUNIT=text)
    assert (record.unit, record.unit_text) == (unit, text.strip())


def counted_by(tmp_path: Path, table: str) -> Camera:
    return load_camera(str(write(tmp_path, counting(table))))


def test_the_built_in_camera_knows_rates_of_counts(excam: Camera) -> None:
    counted = record_of(excam, PCTHRESH=825.0, NUM_FR=300, BUNIT="detected EM electron")
    assert counted.counted == Counted(825.0, "rate", 300)
    assert (counted.unit, counted.in_dn) == (Unit.COUNT, False)
    assert str(counted.counted) == "rates of counts of 300 frames above 825 EM electrons"
    for cards in ({}, {"PCTHRESH": -999.0, "NUM_FR": -999}, {"PCTHRESH": 0.0}):
        assert record_of(excam, **cards).counted is None
    with pytest.raises(MissingKeywordError, match="no NUM_FR"):
        record_of(excam, PCTHRESH=825.0)
    with pytest.raises(InputError, match=r"NUM_FR is 2\.5, no number of frames"):
        record_of(excam, PCTHRESH=825.0, NUM_FR=2.5)


def test_counts_of_a_camera_file(tmp_path: Path) -> None:
    camera = counted_by(tmp_path, 'threshold = 5.0\nunit = "read noise"\none = 255')
    assert record_of(camera, RN=100.0, BUNIT="furlong").counted == Counted(500.0, one=255.0)
    assert record_of(camera, RN=-999.0).counted == Counted(825.0, one=255.0)
    unknown = replace(camera, noise=replace(camera.noise, read_noise=math.nan))
    with pytest.raises(InputError, match=r"goes by the read noise, which neither header \(RN\)"):
        record_of(unknown)
    told = explain(camera, "f", ({**HEADER, "RN": 100.0},))
    assert [line[1:3] for line in told if line.quantity == "counted"] == [
        ("counts above 500 EM electrons", "the camera file")
    ]


def test_a_keyword_tells_which_frames_are_counted(tmp_path: Path) -> None:
    camera = counted_by(tmp_path, 'threshold = "THR"\nkeyword = "MODE"\nvalues = ["PC", 7]')
    for mode in ("pc", 7):
        counted = record_of(camera, MODE=mode, THR=450).counted
        assert counted == Counted(450.0)
        assert counted.step == 1.0
    for cards in ({}, {"MODE": "EM"}, {"THR": 450}):
        assert record_of(camera, **cards).counted is None
    with pytest.raises(InputError, match="MODE says that its electrons are counted, but THR = -1"):
        record_of(camera, MODE="PC", THR=-1)
    with pytest.raises(MissingKeywordError, match="no THR"):
        record_of(camera, MODE="PC")


def test_what_stands_for_an_electron_a_frame() -> None:
    steps = {"count": 3.0, "sum": 60.0, "share": 3.0, "rate": 1.0}
    for value, step in steps.items():
        assert Counted(5.0, value, 20, 3.0).step == step


@pytest.mark.parametrize("keyword", ["EXPTIME", "EMGAIN_C", "KGAINPAR"])
def test_a_missing_keyword_is_named_with_its_file(excam: Camera, keyword: str) -> None:
    header = {key: value for key, value in HEADER.items() if key != keyword}
    with pytest.raises(MissingKeywordError, match=rf"^some/x\.fits: .*\b{keyword}\b"):
        read_record(excam, "some/x.fits", (3, 5), (header, {}))
    with pytest.raises(KeyError):
        read_record(excam, "some/x.fits", (3, 5), (header, {}))


@for_each("keyword", ["EXPTIME", "EMGAIN_C", "KGAINPAR"])
@for_each("value", ["60", "", True, float("nan"), float("inf"), 1j, [1]], ids=repr)
def test_what_is_no_finite_number_is_named_with_its_file(
    excam: Camera, keyword: str, value: Any
) -> None:
    with pytest.raises(InputError, match=rf"^dir/a b\.fits\[2\]: {keyword} is .*number"):
        record_of(excam, **{keyword: value})


@pytest.mark.parametrize("keyword", ["EXPTIME", "EMGAIN_C", "KGAINPAR"])
def test_a_keyword_without_a_value_is_missing(excam: Camera, keyword: str) -> None:
    cards = Cards.from_header(fits.Header({**HEADER, keyword: None}))
    with pytest.raises(MissingKeywordError, match=keyword):
        read_record(excam, "f", (3, 5), (cards, {}))


def test_a_unit_without_a_value_is_unknown(excam: Camera) -> None:
    cards = Cards.from_header(fits.Header({**HEADER, "BUNIT": None, "EXCAMT": None}))
    record = read_record(excam, "f", (3, 5), (cards, {}))
    assert (record.unit, record.unit_text) == (Unit.UNKNOWN, "")
    assert math.isnan(record.temperature)


def test_the_image_header_goes_before_the_primary_header(excam: Camera) -> None:
    """What decides no number may differ: a file and its images have starts of their own."""
    primary = {"MJDSRT": 61000.0, "KGAINPAR": 2.0, "EMGAIN_A": 17.0}
    image = {"MJDSRT": 61000.5, "EXPTIME": 60.0, "EMGAIN_C": 200.0}
    record = read_record(excam, "f", (3, 5), (image, primary))
    assert (record.start, record.exposure_time) == (61000.5, 60.0)
    assert (record.k_gain, record.em_gain) == (2.0, 17.0)


def test_records_do_not_judge_values(excam: Camera) -> None:
    """Whether a time or a gain makes sense is for the function that uses it."""
    record = record_of(excam, EXPTIME=-3, EMGAIN_C=0.5, KGAINPAR=0)
    assert (record.exposure_time, record.em_gain, record.k_gain) == (-3.0, 0.5, 0.0)


def test_a_camera_of_our_own_reads_its_own_keywords(tmp_path: Path) -> None:
    camera = load_camera(str(write(tmp_path, COMPLETE)))
    header = {**TOY_HEADER, **HEADER, "GTRUE": 28.0, "TCCD": -70, "EMGAIN_M": 999.0}
    record = read_record(camera, "f", (3, 5), (header,))
    assert (record.exposure_time, record.commanded_gain, record.em_gain) == (2.0, 30.0, 28.0)
    assert (record.k_gain, record.temperature) == (3.5, -70.0)


def test_records_are_the_same_from_a_dictionary_and_from_cards(excam: Camera) -> None:
    header = {**HEADER, "EMGAIN_A": 180.25, "BUNIT": "DN", "EXCAMT": -1e-7, "MJDSRT": 61000.5}
    cards = Cards.from_header(fits.Header(header))
    assert read_record(excam, "f", (3, 5), (cards,)) == read_record(excam, "f", (3, 5), (header,))
