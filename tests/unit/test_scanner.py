"""Scanning many files of one layout gives what scanning each alone gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from campaigns import frame_hdus
from emdarks.errors import InputError
from emdarks.fits import Scanner, scan_file
from loops import for_each

SHAPE = (30, 41)


def write(path: Path, number: int = 0, **options: Any) -> Path:
    data = np.full(SHAPE, float(number), np.float32)
    options.setdefault("err", np.ones((1, *SHAPE), np.float32))
    options.setdefault("dq", np.zeros(SHAPE, np.uint16))
    frame_hdus(options.pop("data", data), number=number, **options).writeto(path)
    return path


def learned(folder: Path) -> Scanner:
    scanner = Scanner()
    scanner.scan(write(folder / "first.fits"))
    return scanner


def test_files_of_one_layout_are_read_without_astropy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = learned(tmp_path)
    other = write(tmp_path / "other.fits", 7, gain=300.0, time=12.5)
    expected = scan_file(other)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("astropy was asked")

    monkeypatch.setattr(fits, "open", refuse)
    found = scanner.scan(other)
    assert found == expected
    for name in ("image", "err", "dq"):
        assert getattr(found, name).cards.texts == getattr(expected, name).cards.texts
    assert found.image.cards["EMGAIN_C"] == 300.0


VARIANTS: dict[str, dict[str, Any]] = {
    "another type of pixels": {"data": np.zeros(SHAPE, np.int32)},
    "rows and columns exchanged": {
        "data": np.zeros(SHAPE[::-1], np.float32),
        "err": None,
        "dq": None,
    },
    "a scale": {"data": np.zeros(SHAPE, np.float32), "cards": {"BSCALE": 2.0}},
    "one card more": {"cards": {"EXTRA": 1}},
    "no flags": {"dq": None},
    "signed flags": {"dq": np.zeros(SHAPE, np.int16)},
}


@for_each("variant", list(VARIANTS))
def test_another_layout_is_not_taken_for_the_same(tmp_path: Path, variant: str) -> None:
    scanner = learned(tmp_path)
    path = write(tmp_path / "odd.fits", **VARIANTS[variant])
    assert scanner.scan(path) == scan_file(path)


@pytest.mark.parametrize("damage", ["end", "name", "cut", "empty"])
def test_damaged_files_are_refused_as_ever(tmp_path: Path, damage: str) -> None:
    scanner = learned(tmp_path)
    path = write(tmp_path / "bad.fits")
    raw = path.read_bytes()
    if damage == "end":
        raw = raw.replace(b"END" + b" " * 77, b" " * 80, 1)
    elif damage == "name":
        raw = raw.replace(b"XTENSION", b"XTENSIQN")
    raw = {"cut": raw[:-3000], "empty": b""}.get(damage, raw)
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"bad\.fits"):
        scan_file(path)
    with pytest.raises(InputError, match=r"bad\.fits"):
        scanner.scan(path)
