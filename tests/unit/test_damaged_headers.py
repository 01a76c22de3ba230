"""What fuzzing found in headers and further HDUs, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from emdarks.data import Dataset
from emdarks.errors import InputError
from emdarks.fits import Cards, scan_file, write_whole
from emdarks.fits.layout import read_others
from loops import for_each

ROWS, COLS = 7, 11


def block(*cards: str) -> bytes:
    """Cards as they stand in a file."""
    return b"".join(card.ljust(80).encode("latin-1") for card in (*cards, "END"))


@for_each("text", ["1.2.3.4", "--7", "12:30:00", "(1.0, 2", "1E", "'begun"])
def test_a_value_that_nobody_can_parse_is_its_text(text: str) -> None:
    cards = Cards.from_bytes(block(f"ODD     = {text}", "EXPTIME =                 60.5"))
    assert cards["ODD"] == text
    assert cards["EXPTIME"] == 60.5


@pytest.mark.parametrize("text", ["1.2.3.4", "--7", "(1.0, 2", "1E", "'begun"])
def test_a_header_with_a_damaged_card_can_be_written(tmp_path: Path, text: str) -> None:
    cards = Cards.from_bytes(block(f"ODD     = {text}", "EXPTIME =                 60.5"))
    header = cards.to_header()
    assert header["EXPTIME"] == 60.5
    write_whole([fits.PrimaryHDU(header=header)], tmp_path / "f.fits")
    with fits.open(tmp_path / "f.fits") as hdus:
        assert text in str(hdus[0].header)
        assert hdus[0].header["EXPTIME"] == 60.5


def test_a_continuation_of_nothing_is_a_comment() -> None:
    cards = Cards.from_bytes(
        block(
            "CONTINUE  'of what?'",
            "EXPTIME =                 60.5",
            "CONTINUE  'a number has none'",
            "NAME    = 'begun &'",
            "CONTINUE  'and ended'",
        )
    )
    assert cards["EXPTIME"] == 60.5
    assert cards["NAME"] == "begun and ended"
    comments = list(cards.to_header()["COMMENT"])
    assert [text.split("'")[1] for text in comments] == ["of what?", "a number has none"]


def test_control_characters_become_question_marks() -> None:
    cards = Cards.from_bytes(block("NAME    = 'a\x07b\x1b[31mc\xe9'"))
    assert cards["NAME"] == "a?b?[31mc?"
    assert cards.to_header()["NAME"] == "a?b?[31mc?"


def test_keywords_in_small_letters_are_found() -> None:
    cards = Cards.from_bytes(block("exptime =                 60.5"))
    assert cards["EXPTIME"] == 60.5


def frame(path: Path, *others: Any) -> Path:
    image = np.random.default_rng(4).normal(100, 9, (ROWS, COLS)).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image), *others]).writeto(path)
    return path


def damaged(path: Path, old: bytes, new: bytes) -> Path:
    """A file in which one card is another."""
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new.ljust(len(old))))
    return path


@pytest.mark.parametrize("form", ["7Q", "-3E", "P", "99999999999E"])
def test_a_damaged_table_beside_the_image_is_named(tmp_path: Path, form: str) -> None:
    column = fits.Column("T", "1E", array=np.arange(3.0))
    path = frame(tmp_path / "f.fits", fits.BinTableHDU.from_columns([column], name="EXTRA"))
    damaged(path, b"TFORM1  = '1E      '    ", f"TFORM1  = '{form}'".encode())
    with pytest.raises(InputError, match=rf"^{path}: .*HDU 2 cannot be read \(.*\); ") as caught:
        read_others(scan_file(path))
    assert "\n" not in str(caught.value)


def test_an_axis_of_negative_length_is_refused(tmp_path: Path) -> None:
    path = frame(tmp_path / "f.fits")
    damaged(path, b"NAXIS1  =                   11", b"NAXIS1  =                  -11")
    with pytest.raises(InputError, match=rf"^{path}: "):
        scan_file(path)


def test_a_scaling_beyond_all_numbers_says_nothing_to_numpy(tmp_path: Path) -> None:
    image = np.arange(ROWS * COLS, dtype=np.int16).reshape(ROWS, COLS)
    path = tmp_path / "f.fits"
    hdu = fits.ImageHDU(image)
    hdu.header["REPLACED"] = 7
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    damaged(path, b"REPLACED=                    7", b"BSCALE  =                1E308")
    with np.errstate(all="raise"):
        values = Dataset([path]).frames[0].data
    assert np.isinf(values).sum() == ROWS * COLS - 2
    assert values[0, :2].tolist() == [0.0, 1e308]


def test_a_signalling_nan_says_nothing_to_numpy(tmp_path: Path) -> None:
    words = np.full((ROWS, COLS), 0x42C80000, ">u4")  # 100.0
    words[2, 3] = 0x7F800001
    path = tmp_path / "f.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(words.view(">f4"))]).writeto(path)
    assert path.read_bytes().count(b"\x7f\x80\x00\x01") == 1
    with np.errstate(all="raise"):
        values = Dataset([path]).frames[0].data
    assert np.isnan(values[2, 3])
    assert (values == 100.0).sum() == ROWS * COLS - 1
