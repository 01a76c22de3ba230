"""Our files, opened by its classes: read, pickled, copied, saved again."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beside import Ours
from corgidrp import data

from emdarks.data import BadPixelMap, Dark, DetectorNoiseMaps, Image

#: Which of our files, its class for it, and ours.
KINDS = {
    "maps": (data.DetectorNoiseMaps, DetectorNoiseMaps),
    "dark": (data.Dark, Dark),
    "image_dark": (data.Dark, Dark),
    "average": (data.Dark, Dark),
    "bad_pixels": (data.BadPixelMap, BadPixelMap),
    "subtracted": (data.Image, Image),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def path_of(ours: Ours, kind: str) -> str:
    found = getattr(ours, kind)
    return found if isinstance(found, str) else found[0]


def same(one: Any, other: Any) -> None:
    """Pixels, errors and flags are equal, and so are the names of further HDUs."""
    np.testing.assert_array_equal(np.asarray(one.data, "f4"), np.asarray(other.data, "f4"))
    np.testing.assert_array_equal(np.asarray(one.err, "f4"), np.asarray(other.err, "f4"))
    np.testing.assert_array_equal(one.dq, other.dq)


def test_opened(ours: Ours, kind: str) -> None:
    """Our file opened by its class."""
    path = path_of(ours, kind)
    its, our = KINDS[kind]
    same(its(path), our(path))


def test_autoload(ours: Ours, kind: str) -> None:
    """Our file opened by its autoload: it finds the class by DATATYPE."""
    assert type(data.autoload(path_of(ours, kind))) is KINDS[kind][0]


def test_pickled(ours: Ours, kind: str) -> None:
    """Our file opened by its class, pickled and back."""
    opened = KINDS[kind][0](path_of(ours, kind))
    back = pickle.loads(pickle.dumps(opened))
    same(back, opened)
    assert [hdu.name for hdu in back.hdu_list] == [hdu.name for hdu in opened.hdu_list]


def test_copied(ours: Ours, kind: str) -> None:
    """Our file opened by its class, and copied."""
    opened = KINDS[kind][0](path_of(ours, kind))
    same(opened.copy(), opened)


def test_saved_again(ours: Ours, kind: str, tmp_path: Path) -> None:
    """Our file opened and saved by its class, then opened by ours: nothing is lost."""
    path = path_of(ours, kind)
    its, our = KINDS[kind]
    its(path).save(filedir=str(tmp_path), filename="again.fits")
    again, before = our(str(tmp_path / "again.fits")), our(path)
    same(again, before)
    assert again.hdu_names == before.hdu_names
    for name in before.hdu_names:
        if before.hdu_list[name].is_image:
            np.testing.assert_array_equal(
                np.asarray(again.hdu_list[name].data, "f4"),
                np.asarray(before.hdu_list[name].data, "f4"),
                err_msg=name,
            )
