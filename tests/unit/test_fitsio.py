"""FITS: headers kept small, where pixels lie, and files that appear whole or not at all."""

from __future__ import annotations

import gzip
import os
import pickle
import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given
from hypothesis import strategies as st

from emdarks.errors import InputError
from emdarks.fits import (
    Cards,
    FileLayout,
    PlaneLayout,
    image_hdu,
    packed,
    read_plane,
    scan_file,
    table_hdu,
    unpacked,
    write_whole,
)
from emdarks.fits.layout import open_whole, read_others
from loops import for_each

ROWS, COLS, LAYERS, FRAMES = 7, 11, 2, 3
BLOCK = 2880


def pixels(*shape: int, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def flags(*shape: int, seed: int = 2) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.random.default_rng(seed).integers(0, 1 << 16, size=shape).astype(np.uint16)


def frame_hdus(err: bool = True, dq: bool = True, layers: int | None = 1) -> list[Any]:
    """A frame as the pipeline writes it."""
    primary = fits.PrimaryHDU()
    primary.header["VISITID"] = "0089"
    hdus = [primary, fits.ImageHDU(pixels(ROWS, COLS))]
    hdus[1].header["EXPTIME"] = 60.0
    shape = (ROWS, COLS) if layers is None else (layers, ROWS, COLS)
    if err:
        hdus.append(fits.ImageHDU(np.abs(pixels(*shape, seed=3)), name="ERR"))
    if dq:
        hdus.append(fits.ImageHDU(flags(ROWS, COLS), name="DQ"))
    return hdus


def write(path: Path, hdus: list[Any]) -> Path:
    fits.HDUList(hdus).writeto(path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        scan_file(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def stored_at(path: Path, plane: PlaneLayout) -> np.ndarray[Any, Any]:
    """The numbers that lie where a layout says."""
    found = np.frombuffer(
        path.read_bytes(), plane.dtype, plane.nbytes // np.dtype(plane.dtype).itemsize, plane.offset
    )
    return found.reshape(plane.shape)


# ---------------------------------------------------------------- cards

LONG = "An observer's remark, 'quoted' & long. " * 5


def rich_header() -> fits.Header:
    header = fits.Header()
    header["EXPTIME"] = (60.5, "seconds")
    header["NFRAMES"] = 12
    header["BUNIT"] = "DN"
    header["ISHOWFSC"] = True
    header["TINY"] = -1.5e-300
    header["NOTHING"] = None
    header["EMPTY"] = ""
    header["QUOTED"] = "O'Neill / not a comment"
    header["REMARK"] = (LONG, "goes on over several cards")
    header["HIERARCH ESO det Chip"] = "CCD201"
    header["COMMENT"] = "first comment"
    header["HISTORY"] = "was made"
    header["HISTORY"] = (
        "was changed, and this is a line that is much longer than a card can be " * 2
    )
    header["AFTER"] = 3
    return header


def ordinary(header: fits.Header) -> dict[str, Any]:
    return {key.upper(): header[key] for key in header if key not in ("COMMENT", "HISTORY", "")}


@pytest.mark.parametrize("route", ["header", "bytes", "padded bytes"])
def test_cards_hold_the_values_that_astropy_reads(route: str) -> None:
    header = rich_header()
    if route == "header":
        cards = Cards.from_header(header)
    else:
        padded = route == "padded bytes"
        cards = Cards.from_bytes(header.tostring(endcard=padded, padding=padded).encode())
    assert dict(cards) == ordinary(header)
    assert cards["REMARK"].strip() == LONG.strip()


def test_cards_go_back_to_the_same_header() -> None:
    header = rich_header()
    back = Cards.from_header(header).to_header()
    assert back.tostring() == header.tostring()
    assert list(back["HISTORY"]) == list(header["HISTORY"])
    assert back.comments["REMARK"] == header.comments["REMARK"]


def test_cards_of_a_file_are_those_that_astropy_reads(tmp_path: Path) -> None:
    hdus = frame_hdus()
    hdus[1].header.extend(rich_header(), end=True)
    path = write(tmp_path / "a.fits", hdus)
    layout = scan_file(path)
    planes = (layout.image, layout.err, layout.dq)
    for index, cards in enumerate([layout.primary, *(plane.cards for plane in planes if plane)]):
        header = fits.getheader(path, index)
        assert cards.to_header().tostring() == header.tostring()
        assert dict(cards) == ordinary(header)


def test_commentary_is_kept_and_not_iterated() -> None:
    cards = Cards.from_header(rich_header())
    assert "HISTORY" in cards
    assert not {"HISTORY", "COMMENT", ""} & set(cards)
    assert len(cards) == len(list(cards))


@pytest.mark.parametrize("keyword", ["EXPTIME", "exptime", "ExpTime"])
def test_keywords_are_found_in_any_case(keyword: str) -> None:
    cards = Cards.from_header(rich_header())
    assert keyword in cards
    assert cards[keyword] == 60.5
    assert cards.get(keyword) == 60.5


@pytest.mark.parametrize("keyword", ["ESO DET CHIP", "eso det chip", "ESO det Chip"])
def test_hierarch_keywords_are_found_as_astropy_finds_them(keyword: str) -> None:
    header = rich_header()
    assert Cards.from_header(header)[keyword] == header[keyword] == "CCD201"


def test_an_absent_keyword_is_absent() -> None:
    cards = Cards.from_header(rich_header())
    assert "GAIN" not in cards
    assert 5 not in cards
    assert cards.get("GAIN", -1) == -1
    with pytest.raises(KeyError):
        cards["GAIN"]


def test_a_card_without_a_value_is_none() -> None:
    header = fits.Header.fromstring(rich_header().tostring())
    assert header["NOTHING"] is None
    assert Cards.from_header(header)["NOTHING"] is None


def test_the_first_of_doubled_keywords_counts_as_in_astropy() -> None:
    header = fits.Header()
    header.append(("GAIN", 1.0), end=True)
    header.append(("GAIN", 2.0), end=True)
    assert Cards.from_header(header)["GAIN"] == header["GAIN"] == 1.0


def test_text_of_a_card_holds_all_its_continuations() -> None:
    text = Cards.from_header(rich_header()).text("REMARK")
    assert len(text) % 80 == 0
    assert text.count("CONTINUE") == len(text) // 80 - 1 > 0


def test_cards_of_cards_are_the_same_object() -> None:
    cards = Cards.from_header(rich_header())
    assert Cards.from_header(cards) is cards


@pytest.mark.parametrize("nothing", [None, {}, fits.Header()])
def test_cards_of_nothing_are_empty(nothing: Any) -> None:
    cards = Cards.from_header(nothing)
    assert len(cards) == 0
    assert len(cards.to_header()) == 0


def test_cards_of_a_dictionary() -> None:
    assert dict(Cards.from_header({"EXPTIME": 2.5, "BUNIT": "DN"})) == {
        "EXPTIME": 2.5,
        "BUNIT": "DN",
    }


def test_equal_cards_of_two_frames_are_one_text_in_memory() -> None:
    first, second = rich_header(), rich_header()
    second["EXPTIME"] = 61.0
    a, b = Cards.from_header(first), Cards.from_header(second)
    shared = [x is y for x, y in zip(a.texts, b.texts, strict=True)]
    assert shared.count(False) == 1
    assert a._index is b._index


def test_what_a_further_frame_costs_is_a_tuple(tmp_path: Path) -> None:
    cards = [Cards.from_header(rich_header()) for _ in range(3)]
    own = sys.getsizeof(cards[2]) + sys.getsizeof(cards[2].texts)
    assert own <= 120 + 8 * len(cards[2].texts)
    assert len({id(text) for each in cards for text in each.texts}) == len(set(cards[0].texts))


def test_cards_survive_pickling() -> None:
    cards = Cards.from_header(rich_header())
    back = pickle.loads(pickle.dumps(cards))
    assert back.texts == cards.texts
    assert dict(back) == dict(cards)


def test_cards_with_bytes_that_are_no_ascii_are_readable() -> None:
    header = fits.Header({"OBSERVER": "Bjorn", "EXPTIME": 3.0})
    block = header.tostring().encode().replace(b"Bjorn", b"Bj\xf8rn")
    cards = Cards.from_bytes(block)
    assert cards["EXPTIME"] == 3.0
    assert cards["OBSERVER"] == "Bj?rn"
    assert cards.to_header()["OBSERVER"] == "Bj?rn"


@pytest.mark.parametrize("text", ["12:30:00", "60.0 s", "1.0.0", "Bj?rn"])
def test_a_value_against_the_standard_is_read_as_text(text: str) -> None:
    block = fits.Header({"ODD": 5, "EXPTIME": 3.0}).tostring()
    block = f"ODD     = {text}".ljust(80) + block[80:]
    cards = Cards.from_bytes(block.encode())
    assert cards["EXPTIME"] == 3.0
    assert str(cards["ODD"]).startswith(text.split()[0])


keywords = st.from_regex(r"[A-Z][A-Z0-9_-]{0,7}", fullmatch=True).filter(
    lambda key: (
        key not in {"COMMENT", "HISTORY", "CONTINUE", "END", "HIERARCH", "SIMPLE", "XTENSION"}
    )
)
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150)
values = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    printable,
)


@given(st.dictionaries(keywords, values, max_size=12))
@example({"A": "ends with an ampersand &" * 4, "B": "'" * 70})
def test_any_header_is_read_as_astropy_reads_it(content: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        # astropy tells that it splits long texts
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        block = fits.Header(content).tostring()
        expected = fits.Header.fromstring(block)
        cards = Cards.from_bytes(block.encode())
        assert dict(cards) == dict(expected)
        assert cards.to_header().tostring() == expected.tostring()


# ---------------------------------------------------------------- scanning


def test_layout_of_a_frame_as_the_pipeline_writes_it(tmp_path: Path) -> None:
    path = write(tmp_path / "frame.fits", frame_hdus())
    layout = scan_file(path)
    status = path.stat()
    assert (layout.path, layout.size, layout.mtime_ns) == (
        str(path),
        status.st_size,
        status.st_mtime_ns,
    )
    assert layout.shape == (ROWS, COLS)
    assert layout.n_frames == 1
    assert not layout.packed
    assert layout.others == ()
    assert layout.primary["VISITID"] == "0089"
    assert layout.image.cards["EXPTIME"] == 60.0
    assert layout.err is not None
    assert layout.dq is not None
    assert [plane.hdu for plane in (layout.image, layout.err, layout.dq)] == [1, 2, 3]
    assert layout.err.shape == (1, ROWS, COLS)
    assert (layout.dq.bscale, layout.dq.bzero) == (1.0, 32768.0)


def test_pixels_lie_where_the_layout_says(tmp_path: Path) -> None:
    path = write(tmp_path / "frame.fits", frame_hdus(layers=LAYERS))
    layout = scan_file(path)
    assert layout.err is not None
    assert layout.dq is not None
    assert np.array_equal(stored_at(path, layout.image), pixels(ROWS, COLS))
    assert np.array_equal(stored_at(path, layout.err), np.abs(pixels(LAYERS, ROWS, COLS, seed=3)))
    stored = stored_at(path, layout.dq)
    assert np.array_equal(stored.astype(np.int64) + 32768, flags(ROWS, COLS))


@pytest.mark.parametrize("kind", [str, Path, os.fspath])
def test_a_path_may_come_in_any_form(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    path = write(tmp_path / "Ångström dark 1.fits", frame_hdus())
    assert scan_file(kind(path)).path == str(path)


@pytest.mark.parametrize("layers", [None, 1, LAYERS])
def test_err_with_and_without_a_layer_axis(tmp_path: Path, layers: int | None) -> None:
    layout = scan_file(write(tmp_path / "a.fits", frame_hdus(layers=layers)))
    assert layout.err is not None
    expected = (ROWS, COLS) if layers is None else (layers, ROWS, COLS)
    assert layout.err.shape == expected


@pytest.mark.parametrize(("err", "dq"), [(False, True), (True, False), (False, False)])
def test_err_and_dq_may_be_absent(tmp_path: Path, err: bool, dq: bool) -> None:
    layout = scan_file(write(tmp_path / "a.fits", frame_hdus(err=err, dq=dq)))
    assert (layout.err is not None, layout.dq is not None) == (err, dq)


def test_an_image_in_the_primary_hdu_only(tmp_path: Path) -> None:
    primary = fits.PrimaryHDU(pixels(ROWS, COLS))
    primary.header["EXPTIME"] = 2.0
    path = write(tmp_path / "a.fits", [primary])
    layout = scan_file(path)
    assert layout.image.hdu == 0
    assert layout.primary is layout.image.cards
    assert layout.primary["EXPTIME"] == 2.0
    assert np.array_equal(stored_at(path, layout.image), pixels(ROWS, COLS))


def test_an_image_in_the_primary_hdu_with_err_and_dq(tmp_path: Path) -> None:
    hdus = [fits.PrimaryHDU(pixels(ROWS, COLS)), *frame_hdus()[2:]]
    layout = scan_file(write(tmp_path / "a.fits", hdus))
    assert layout.image.hdu == 0
    assert layout.err is not None
    assert layout.dq is not None
    assert (layout.err.hdu, layout.dq.hdu) == (1, 2)


def test_a_table_before_the_image_leaves_the_primary_as_image(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("T", "D", array=np.arange(4.0))])
    layout = scan_file(write(tmp_path / "a.fits", [fits.PrimaryHDU(pixels(ROWS, COLS)), table]))
    assert layout.image.hdu == 0
    assert layout.others == (1,)


def test_a_cube_is_as_many_frames_as_it_has_planes(tmp_path: Path) -> None:
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(pixels(FRAMES, ROWS, COLS)),
        fits.ImageHDU(pixels(1, FRAMES, ROWS, COLS), name="ERR"),
        fits.ImageHDU(flags(FRAMES, ROWS, COLS), name="DQ"),
    ]
    layout = scan_file(write(tmp_path / "cube.fits", hdus))
    assert layout.n_frames == FRAMES
    assert layout.shape == (ROWS, COLS)


def test_a_cube_in_the_primary_hdu(tmp_path: Path) -> None:
    layout = scan_file(write(tmp_path / "cube.fits", [fits.PrimaryHDU(flags(FRAMES, ROWS, COLS))]))
    assert (layout.n_frames, layout.shape) == (FRAMES, (ROWS, COLS))
    assert (layout.image.dtype, layout.image.bzero) == (">i2", 32768.0)


def test_further_hdus_are_listed_and_read(tmp_path: Path) -> None:
    hdus = frame_hdus()
    hdus.insert(2, fits.ImageHDU(pixels(5, 4), name="BIAS"))
    hdus.append(table_hdu("STACKS", {"GAIN": (np.array([1.0, 2.0]), "")}))
    layout = scan_file(write(tmp_path / "a.fits", hdus))
    assert layout.others == (2, 5)
    assert layout.dq is not None
    assert layout.dq.hdu == 4
    others = read_others(layout)
    assert [hdu.name for hdu in others] == ["BIAS", "STACKS"]
    assert np.array_equal(others[0].data, pixels(5, 4))
    assert list(others[1].data["GAIN"]) == [1.0, 2.0]


def test_without_further_hdus_none_are_read(tmp_path: Path) -> None:
    layout = scan_file(write(tmp_path / "a.fits", frame_hdus()))
    assert len(read_others(layout)) == 0


def test_names_of_planes_are_found_in_any_case_and_order(tmp_path: Path) -> None:
    hdus = frame_hdus()
    hdus[2].header["EXTNAME"], hdus[3].header["EXTNAME"] = "err", "dq"
    hdus[2], hdus[3] = hdus[3], hdus[2]
    layout = scan_file(write(tmp_path / "a.fits", hdus))
    assert layout.err is not None
    assert layout.dq is not None
    assert (layout.dq.hdu, layout.err.hdu) == (2, 3)


@for_each(
    "kind, stored, bzero",
    [
        ("u1", ">u1", 0.0),
        ("i1", ">u1", -128.0),
        ("i2", ">i2", 0.0),
        ("i4", ">i4", 0.0),
        ("i8", ">i8", 0.0),
        ("f4", ">f4", 0.0),
        ("f8", ">f8", 0.0),
        ("u2", ">i2", 2.0**15),
        ("u4", ">i4", 2.0**31),
        ("u8", ">i8", 2.0**63),
    ],
)
def test_types_as_they_are_stored(tmp_path: Path, kind: str, stored: str, bzero: float) -> None:
    image = np.arange(ROWS * COLS).reshape(ROWS, COLS).astype(kind)
    layout = scan_file(write(tmp_path / "a.fits", [fits.PrimaryHDU(image)]))
    assert (layout.image.dtype, layout.image.bzero, layout.image.bscale) == (stored, bzero, 1.0)
    assert layout.image.nbytes == image.nbytes


def test_scaling_and_blank_come_from_the_header(tmp_path: Path) -> None:
    hdu = fits.ImageHDU(np.arange(ROWS * COLS, dtype=np.int16).reshape(ROWS, COLS))
    path = write(tmp_path / "a.fits", [fits.PrimaryHDU(), hdu])
    for keyword, value in (("BSCALE", 0.25), ("BZERO", 100.0), ("BLANK", -5)):
        fits.setval(path, keyword, value=value, ext=1)
    image = scan_file(path).image
    assert (image.bscale, image.bzero, image.blank) == (0.25, 100.0, -5)


def test_a_gzipped_file_is_packed_and_otherwise_the_same(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.fits", frame_hdus())
    packed = tmp_path / "b.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    one, two = scan_file(plain), scan_file(packed)
    assert two.packed
    assert two.size == packed.stat().st_size
    assert two.primary == one.primary
    for name in ("image", "err", "dq"):
        mine, theirs = getattr(one, name), getattr(two, name)
        assert (mine.dtype, mine.shape, mine.bzero) == (theirs.dtype, theirs.shape, theirs.bzero)
        assert mine.cards == theirs.cards
        with open_whole(two) as hdus:
            assert np.array_equal(read_plane(hdus, theirs), stored_at(plain, mine))


def test_gzip_is_known_by_content_not_by_name(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.fits", frame_hdus())
    packed = tmp_path / "b.fits"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert scan_file(packed).packed
    misnamed = tmp_path / "c.fits.gz"
    misnamed.write_bytes(plain.read_bytes())
    assert not scan_file(misnamed).packed


@pytest.mark.parametrize("kind", ["GZIP_1", "GZIP_2", "RICE_1"])
def test_tile_compressed_planes_keep_their_numbers(tmp_path: Path, kind: str) -> None:
    lossless = "GZIP_2" if kind == "RICE_1" else kind
    hdus = [
        fits.PrimaryHDU(),
        fits.CompImageHDU(pixels(ROWS, COLS), compression_type=lossless, quantize_level=0),
        fits.CompImageHDU(
            pixels(LAYERS, ROWS, COLS), name="ERR", compression_type=lossless, quantize_level=0
        ),
        fits.CompImageHDU(flags(ROWS, COLS), name="DQ", compression_type=kind),
    ]
    layout = scan_file(write(tmp_path / "a.fits.fz", hdus))
    assert layout.packed
    assert layout.shape == (ROWS, COLS)
    assert layout.err is not None
    assert layout.dq is not None
    assert layout.err.shape == (LAYERS, ROWS, COLS)
    with open_whole(layout) as opened:
        assert np.array_equal(read_plane(opened, layout.image), pixels(ROWS, COLS))
        assert np.array_equal(read_plane(opened, layout.err), pixels(LAYERS, ROWS, COLS))
        stored = read_plane(opened, layout.dq)
    assert stored.dtype == np.int16
    assert np.array_equal(stored.astype(np.int64) + 32768, flags(ROWS, COLS))


def test_a_file_with_one_compressed_plane_is_packed(tmp_path: Path) -> None:
    hdus = frame_hdus(dq=False)
    hdus.append(fits.CompImageHDU(flags(ROWS, COLS), name="DQ", compression_type="GZIP_2"))
    assert scan_file(write(tmp_path / "a.fits", hdus)).packed


def test_a_compressed_further_hdu_does_not_make_a_file_packed(tmp_path: Path) -> None:
    hdus = frame_hdus()
    hdus.append(fits.CompImageHDU(flags(5, 4), name="MORE", compression_type="GZIP_2"))
    layout = scan_file(write(tmp_path / "a.fits", hdus))
    assert not layout.packed
    assert layout.others == (4,)


def test_layouts_survive_pickling(tmp_path: Path) -> None:
    layout = scan_file(write(tmp_path / "a.fits", frame_hdus()))
    back = pickle.loads(pickle.dumps(layout))
    assert isinstance(back, FileLayout)
    assert back == layout


def test_scanning_reads_no_pixels(tmp_path: Path) -> None:
    """Counted by the system: a few header blocks of a file of megabytes."""
    counter = Path("/proc/self/io")
    if not counter.exists():
        pytest.skip("this system does not count what a process reads")
    big = [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.zeros((911, 1103))),
        fits.ImageHDU(np.zeros((911, 1103)), name="ERR"),
    ]
    path = write(tmp_path / "big.fits", big)
    scan_file(path)  # whatever is imported on the way is not counted

    def read() -> int:
        return int(counter.read_text().split()[1])

    overhead = -read() + read()
    before = read()
    scan_file(path)
    assert read() - before - overhead <= 12 * BLOCK
    assert path.stat().st_size > 10_000_000


# ---------------------------------------------------------------- what is refused


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.fits"
    path.touch()
    assert "is empty (0 bytes), no FITS file; copy the file again" in refusal(path)


@pytest.mark.parametrize("content", [b"x", b"GIF89a" * 1000, b"SIMPLE  = " * 600, b"\0" * 6000])
def test_what_is_no_fits_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    refusal(path)


def test_a_missing_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.fits")


def test_a_directory_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert "directory" in refusal(tmp_path)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.fits", frame_hdus())

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read everything, so it is acted
    assert "Permission denied" in refusal(path)


def test_pixels_that_are_cut_off_are_refused_with_their_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", frame_hdus())
    dq = scan_file(path).dq
    assert dq is not None
    os.truncate(path, dq.offset + dq.nbytes - 5)
    assert "cut short, 5 bytes" in refusal(path)


def test_no_cut_makes_planes_vanish_unnoticed(tmp_path: Path) -> None:
    """Cut anywhere but in the padding between two HDUs, a file of three planes is refused."""
    whole = write(tmp_path / "whole.fits", frame_hdus())
    content, layout = whole.read_bytes(), scan_file(whole)
    ends = [p.offset + p.nbytes for p in (layout.image, layout.err, layout.dq) if p]
    padding = [(end, end + -end % BLOCK) for end in ends]
    path = tmp_path / "cut.fits"
    accepted = []
    for size in [*range(0, len(content), 173), *ends, *(end - 1 for end in ends)]:
        path.write_bytes(content[:size])
        try:
            scan_file(path)
        except InputError:
            continue
        accepted.append(size)
    assert len(accepted) > 10
    assert all(any(lo <= size <= hi for lo, hi in padding) for size in accepted)


@for_each("cut", [0, 1, 8, 40, 500, 2879])
def test_a_header_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    """astropy would warn and go on without the flags."""
    path = write(tmp_path / "a.fits", frame_hdus())
    dq = scan_file(path).dq
    assert dq is not None
    header = dq.offset - len(dq.cards.to_header().tostring())
    os.truncate(path, header + cut)
    if cut == 0:  # nothing tells that there was more
        assert scan_file(path).dq is None
    else:
        assert "HDU 3 is cut short" in refusal(path)


def test_a_text_after_the_last_hdu_does_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", frame_hdus())
    path.write_bytes(path.read_bytes() + b"made by somebody")
    layout = scan_file(path)
    assert layout.dq is not None
    assert layout.others == ()


def test_a_header_with_a_negative_size_is_refused(tmp_path: Path) -> None:
    """astropy would read the same HDU again and again."""
    path = write(tmp_path / "a.fits", frame_hdus())
    content = path.read_bytes()
    axis = f"NAXIS2  = {ROWS:20d}".encode()
    # 4 * 11 * -66 bytes, padded, are one block backwards: the image's own header.
    path.write_bytes(content.replace(axis, f"NAXIS2  = {-66:20d}".encode(), 1))
    assert "negative size" in refusal(path)


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8, 0.98])
def test_a_gzipped_file_that_is_cut_off_is_refused(tmp_path: Path, keep: float) -> None:
    packed = gzip.compress(write(tmp_path / "a.fits", frame_hdus()).read_bytes())
    path = tmp_path / "b.fits.gz"
    path.write_bytes(packed[: int(keep * len(packed))])
    refusal(path)


def test_a_gzipped_file_with_a_damaged_byte_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(write(tmp_path / "a.fits", frame_hdus()).read_bytes())
    path = tmp_path / "b.fits.gz"
    for at in range(20, len(packed), 37):
        damaged = bytearray(packed)
        damaged[at] ^= 0x5A
        path.write_bytes(damaged)
        refusal(path)


@pytest.mark.parametrize("at", [0.3, 0.5, 0.7, 0.9])
def test_wrong_pixels_in_a_gzipped_file_are_refused_by_its_checksum(
    tmp_path: Path, at: float
) -> None:
    """Noise does not compress, so a changed byte is a changed pixel; astropy reads on."""
    plain = write(tmp_path / "a.fits", [fits.PrimaryHDU(), fits.ImageHDU(pixels(71, 113))])
    damaged = bytearray(gzip.compress(plain.read_bytes()))
    damaged[int(at * len(damaged))] ^= 0x01
    path = tmp_path / "b.fits.gz"
    path.write_bytes(damaged)
    refusal(path)


@for_each(
    "hdus",
    [
        [fits.PrimaryHDU()],
        [fits.PrimaryHDU(), fits.ImageHDU()],
        [fits.PrimaryHDU(np.zeros(COLS))],
        [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("T", "D", array=[1.0])])],
        [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((ROWS, COLS)), name="ERR")],
        [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((ROWS, COLS), np.uint8), name="DQ")],
    ],
    ids=["no data", "no pixels", "one axis", "table", "only ERR", "only DQ"],
)
def test_a_file_without_an_image_is_refused(tmp_path: Path, hdus: list[Any]) -> None:
    assert "no image" in refusal(write(tmp_path / "a.fits", hdus))


@pytest.mark.parametrize("name", ["ERR", "DQ"])
def test_a_doubled_plane_is_refused(tmp_path: Path, name: str) -> None:
    hdus = frame_hdus()
    double = flags(ROWS, COLS) if name == "DQ" else pixels(ROWS, COLS)
    hdus.append(fits.ImageHDU(double, name=name))
    assert f"more than one HDU named {name}" in refusal(write(tmp_path / "a.fits", hdus))


@for_each("shape", [(COLS, ROWS), (ROWS, COLS + 1), (ROWS + 1, COLS)])
@for_each("name", ["ERR", "DQ"])
def test_planes_of_another_shape_are_refused(
    tmp_path: Path, name: str, shape: tuple[int, int]
) -> None:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels(ROWS, COLS))]
    hdus.append(fits.ImageHDU(flags(*shape) if name == "DQ" else pixels(*shape), name=name))
    message = refusal(write(tmp_path / "a.fits", hdus))
    assert f"{name} has shape {shape}, the image {(ROWS, COLS)}" in message


def test_dq_with_a_layer_axis_is_refused(tmp_path: Path) -> None:
    hdus = [*frame_hdus(dq=False), fits.ImageHDU(flags(1, ROWS, COLS), name="DQ")]
    assert "DQ has shape" in refusal(write(tmp_path / "a.fits", hdus))


def test_err_of_another_number_of_frames_is_refused(tmp_path: Path) -> None:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels(FRAMES, ROWS, COLS))]
    hdus.append(fits.ImageHDU(pixels(FRAMES + 1, ROWS, COLS), name="ERR"))
    assert "ERR has shape" in refusal(write(tmp_path / "a.fits", hdus))


def test_four_axes_are_no_frame(tmp_path: Path) -> None:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels(2, FRAMES, ROWS, COLS))]
    assert "(2, 3, 7, 11)" in refusal(write(tmp_path / "a.fits", hdus))


def test_dq_of_real_numbers_is_refused(tmp_path: Path) -> None:
    hdus = [*frame_hdus(dq=False), fits.ImageHDU(pixels(ROWS, COLS), name="DQ")]
    assert "floating-point" in refusal(write(tmp_path / "a.fits", hdus))


@pytest.mark.parametrize(("keyword", "value"), [("BSCALE", 2.0), ("BZERO", 100.0), ("BZERO", 1.5)])
def test_scaled_dq_is_refused(tmp_path: Path, keyword: str, value: float) -> None:
    hdus = [*frame_hdus(dq=False), fits.ImageHDU(np.ones((ROWS, COLS), np.int16), name="DQ")]
    path = write(tmp_path / "a.fits", hdus)
    fits.setval(path, keyword, value=value, extname="DQ")
    assert "DQ is scaled" in refusal(path)


@pytest.mark.parametrize("keyword", ["BSCALE", "BZERO", "BLANK"])
def test_a_scaling_that_is_no_number_is_refused(tmp_path: Path, keyword: str) -> None:
    hdu = fits.ImageHDU(np.ones((ROWS, COLS), np.int16))
    path = write(tmp_path / "a.fits", [fits.PrimaryHDU(), hdu])
    fits.setval(path, keyword, value=1, ext=1)
    content = path.read_bytes()
    at = content.index(keyword.encode())
    path.write_bytes(content[: at + 10] + b"'much'".ljust(21) + content[at + 31 :])
    refusal(path)


# ---------------------------------------------------------------- writing


def small_hdus(value: float = 1.0) -> list[Any]:
    return [fits.PrimaryHDU(), image_hdu(np.full((ROWS, COLS), value, np.float32))]


def only(folder: Path, *names: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_a_written_file_is_whole_and_its_checksums_hold(tmp_path: Path) -> None:
    path = tmp_path / "out.fits"
    write_whole([*small_hdus(2.5), table_hdu("T", {"A": (["x", "yy"], "")})], path)
    with fits.open(path, checksum=True) as hdus:  # a wrong sum would warn
        assert np.all(hdus[1].data == 2.5)
        for hdu in hdus:
            assert "CHECKSUM" in hdu.header
            assert "DATASUM" in hdu.header
            assert hdu.verify_checksum() == 1
            assert hdu.verify_datasum() == 1
    assert only(tmp_path, "out.fits")


def test_an_earlier_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.fits"
    write_whole(small_hdus(1.0), path)
    write_whole(small_hdus(2.0), str(path))
    assert np.all(fits.getdata(path) == 2.0)
    assert only(tmp_path, "out.fits")


def test_whoever_has_the_earlier_file_open_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "out.fits"
    write_whole(small_hdus(1.0), path)
    before = path.read_bytes()
    with path.open("rb") as file:
        write_whole(small_hdus(2.0), path)
        assert file.read() == before


def test_a_written_file_has_the_permissions_of_an_ordinary_one(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    write_whole(small_hdus(), tmp_path / "out.fits")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def disk_is_full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def a_kernel_breaks(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError


def somebody_interrupts(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (disk_is_full, InputError),
        (a_kernel_breaks, ZeroDivisionError),
        (somebody_interrupts, KeyboardInterrupt),
    ],
)
@pytest.mark.parametrize("where", ["writeto", "fsync", "replace"])
def test_a_failing_write_leaves_what_was_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    earlier: bool,
    failure: Callable[..., None],
    raised: type[BaseException],
    where: str,
) -> None:
    path = tmp_path / "out.fits"
    if earlier:
        write_whole(small_hdus(1.0), path)
    before = path.read_bytes() if earlier else b""
    with monkeypatch.context() as patch:
        if where == "writeto":
            original = fits.HDUList.writeto

            def half(self: fits.HDUList, file: Any, *args: Any, **kwargs: Any) -> None:
                original(self[:1], file, *args, **kwargs)
                failure()

            patch.setattr(fits.HDUList, "writeto", half)
        elif where == "fsync":
            patch.setattr(os, "fsync", failure)
        else:
            patch.setattr(Path, "replace", failure)
        with pytest.raises(raised):
            write_whole(small_hdus(2.0), path)
    if earlier:
        assert only(tmp_path, "out.fits")
        assert path.read_bytes() == before
    else:
        assert only(tmp_path)


def test_a_full_disk_is_named_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", disk_is_full)
    with pytest.raises(InputError, match=r"out\.fits: cannot be written \(No space left"):
        write_whole(small_hdus(), tmp_path / "out.fits")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out\.fits: cannot be written \(No such file"):
        write_whole(small_hdus(), tmp_path / "absent" / "out.fits")
    assert only(tmp_path)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.fits").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_whole(small_hdus(), tmp_path / "out.fits")
    assert only(tmp_path, "out.fits")


def test_names_with_spaces_and_other_letters_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "Dunkel für Größe 1.fits"
    write_whole(small_hdus(), path)
    assert scan_file(path).shape == (ROWS, COLS)


def test_image_hdu_keeps_the_callers_header(tmp_path: Path) -> None:
    header = fits.Header({"EXPTIME": 3.0})
    hdu = image_hdu(pixels(ROWS, COLS), header, "ERR")
    assert (hdu.name, hdu.header["EXPTIME"]) == ("ERR", 3.0)
    assert list(header) == ["EXPTIME"]


def test_image_hdu_describes_the_array_not_the_old_header() -> None:
    stale = fits.ImageHDU(flags(5, 4)).header
    hdu = image_hdu(pixels(ROWS, COLS), stale)
    assert (hdu.header["BITPIX"], hdu.header["NAXIS1"], hdu.header["NAXIS2"]) == (-32, COLS, ROWS)
    assert "BZERO" not in hdu.header


def test_tables_keep_numbers_texts_and_units(tmp_path: Path) -> None:
    columns: dict[str, tuple[Any, str]] = {
        "GAIN": (np.array([1.5, 2.5, 3.5]), ""),
        "TIME": (np.array([1, 2, 3], np.float32), "s"),
        "N": (np.array([7, 8, 9]), ""),
        "GOOD": (np.array([True, False, True]), ""),
        "FILE": (["a.fits", "Größe.fits", ""], ""),
    }
    path = tmp_path / "t.fits"
    write_whole([fits.PrimaryHDU(), table_hdu("STACKS", columns)], path)
    with fits.open(path) as hdus:
        table = hdus["STACKS"]
        assert table.columns["TIME"].unit == "s"
        for name in ("GAIN", "TIME", "N", "GOOD"):
            assert np.array_equal(table.data[name], columns[name][0])
        raw = table.data.view(np.recarray)["FILE"]
        names = [bytes(text).rstrip(b"\0").decode() for text in raw]
    assert names == ["a.fits", r"Gr\xf6\xdfe.fits", ""]


TYPES = ("f8", "f4", "i8", "i4", "i2", "u1", "b1", "S1", "S7")


@given(st.data())
def test_tables_survive_as_images_of_bytes(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 4))
    kinds = data.draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=12))
    columns = {}
    for i, kind in enumerate(kinds):
        shape = (n, *data.draw(st.sampled_from([(), (3,)] if kind[0] != "S" else [()])))
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        content = data.draw(st.binary(min_size=size, max_size=size))
        if kind[0] in "Sb":  # printable texts, logical values
            content = bytes(65 + byte % 26 if kind[0] == "S" else byte % 2 for byte in content)
        columns[f"C{i}"] = (np.frombuffer(content, kind).reshape(shape), "s" * (i % 2))
    table = table_hdu("T", columns)
    # As the classes of the reference have it: copied, pickled, written as real numbers.
    image = pickle.loads(pickle.dumps(packed(table).copy()))
    for data_type in (np.uint8, np.float32, np.float64):
        again = unpacked(fits.ImageHDU(image.data.astype(data_type), image.header))
        assert [c.name for c in again.columns] == list(columns)
        assert [c.format for c in again.columns] == [c.format for c in table.columns]
        assert [c.unit or "" for c in again.columns] == [unit for _, unit in columns.values()]
        for name in columns:
            assert np.asarray(again.data[name]).tobytes() == np.asarray(table.data[name]).tobytes()


def test_images_that_are_no_tables_stay_images() -> None:
    whole = packed(table_hdu("T", {"A": (np.arange(3.0), ""), "B": (["x", "yy", ""], "")}))
    for pixels_ in (whole.data[:, :-1], whole.data + 300.0, whole.data[0], None):
        hdu = fits.ImageHDU(pixels_, whole.header)
        assert unpacked(hdu) is hdu
    forms = "7Q", "", "-8A", "99999999999A"
    cards = (*(("FORM1", form) for form in forms), ("FORM2", "xA"), ("COL2", "A"))
    for card, value in cards:
        hdu = fits.ImageHDU(whole.data, whole.header.copy())
        hdu.header[card] = value
        assert unpacked(hdu) is hdu, value
    plain = image_hdu(pixels(ROWS, COLS))
    assert unpacked(plain) is plain
    assert packed(plain) is plain
    complexes = fits.BinTableHDU.from_columns([fits.Column("Z", "M", array=np.ones(2, complex))])
    assert packed(complexes) is complexes


def test_tables_with_more_than_columns_stay_tables() -> None:
    shaped = fits.Column("A", "4D", dim="(2,2)", array=np.arange(12.0).reshape(3, 2, 2))
    words = fits.Column("A", "2A", dim="(1,2)", array=np.array([["a", "b"], ["c", "d"]]))
    unknown = fits.Column("A", "J", null=7, array=np.array([3, 7]))
    for column in (shaped, words, unknown, fits.Column("A", "D", array=np.zeros(0))):
        table = fits.BinTableHDU.from_columns([column], name="T")
        assert packed(table) is table
    noted = table_hdu("T", {"A": ([1.5, 2.5], "s")})
    assert packed(noted) is not noted
    noted.header["OBSERVER"] = "somebody"
    assert packed(noted) is noted
