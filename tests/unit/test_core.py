"""The compiled core as such: what it refuses, and of which sources it was made."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emdarks import _core
from emdarks.moments import Moments, merge
from loops import for_each


def frames(**changes: Any) -> _core.Frames:
    arguments: dict[str, Any] = {
        "files": np.full(2, _core.IN_MEMORY, np.int32),
        "offsets": np.zeros((3, 2), np.int64),
        "scales": np.ones(2),
        "stored": ("<f4", None, None),
        "flips": (0, 0, 0),
        "mask": 1,
    }
    return _core.Frames(**arguments | changes)


@for_each(
    "changes, error, said",
    [
        ({"files": np.zeros(2, np.int64)}, TypeError, "incompatible"),
        ({"files": np.zeros((1, 2), np.int32)}, ValueError, r"files must have shape \(any,\)"),
        ({"offsets": np.zeros((2, 2), np.int64)}, ValueError, r"offsets must have shape \(3, 2\)"),
        ({"offsets": np.zeros((2, 3), np.int64).T}, TypeError, "incompatible"),
        ({"scales": np.ones(3)}, ValueError, r"scales must have shape \(2,\)"),
        ({"scales": np.ones(4)[::2]}, TypeError, "incompatible"),
        ({"stored": (None, None, None)}, TypeError, "must have an image"),
        ({"stored": ("<f2", None, None)}, TypeError, "image: no stored type <f2"),
        ({"stored": ("<c8", None, None)}, TypeError, "image: no stored type <c8"),
        ({"stored": ("<f4", None, "<f4")}, TypeError, "dq: no stored type <f4"),
        ({"stored": ("<f4", "<f44", None)}, TypeError, "err: no stored type <f44"),
        ({"mask": -1}, TypeError, "incompatible"),
    ],
)
def test_frames_that_cannot_be(changes: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        frames(**changes)


PIXELS, COLS = 6, 3


def band(**changes: Any) -> tuple[int, bool]:
    data = np.ones((2, PIXELS), np.float32)
    offsets = np.zeros((3, 2), np.int64)
    offsets[0] = [data.ctypes.data, data[1].ctypes.data]
    arguments: dict[str, Any] = {
        "frames": frames(offsets=offsets),
        "room": _core.Room(COLS, COLS),
        "sums": None,
        "lo": 0,
        "hi": PIXELS,
        "fresh": True,
        "closed": True,
        "imaging": (1, 3),
        "prescan": (0, 1),
        "figures": np.empty((2, PIXELS // COLS, len(_core.ROW_FIGURES))),
        "n": np.empty(PIXELS, np.uint16),
        "mean": np.empty(PIXELS),
        "m2": np.empty(PIXELS),
        "err2": None,
        "flags": np.empty(PIXELS, np.uint16),
        "top": None,
    }
    return _core.add_band(**arguments | changes)


def test_a_band_that_can_be() -> None:
    n, mean = np.empty(PIXELS, np.uint16), np.empty(PIXELS)
    assert band(n=n, mean=mean) == (-1, False)
    assert n.tolist() == [2] * PIXELS
    assert mean.tolist() == [1.0] * PIXELS


def with_errors() -> _core.Frames:
    return frames(stored=("<f4", "<f4", None))


@for_each(
    "changes, error, said",
    [
        ({"lo": -3}, ValueError, "lo and hi must be a range"),
        ({"hi": PIXELS + COLS}, ValueError, "lo and hi must be a range"),
        ({"lo": 5, "hi": 3}, ValueError, "lo and hi must be a range"),
        ({"lo": 1}, ValueError, "first pixels of rows"),
        ({"room": _core.Room(4, 4)}, ValueError, "first pixels of rows"),
        ({"imaging": (0, COLS + 1)}, ValueError, "must be a range"),
        ({"prescan": (-1, 1)}, ValueError, "must be a range"),
        ({"fresh": False}, ValueError, "between batches"),
        ({"closed": False}, ValueError, "between batches"),
        ({"sums": _core.OpenSums(PIXELS + 1, False)}, ValueError, "sums must fit"),
        ({"figures": np.empty((2, 2, 5))}, ValueError, "figures must have shape"),
        ({"figures": np.empty((1, 2, len(_core.ROW_FIGURES)))}, ValueError, "figures must have"),
        ({"n": np.empty(PIXELS, np.int16)}, TypeError, "n must be unsigned"),
        ({"n": np.empty(PIXELS, np.uint8)}, TypeError, "n must be unsigned"),
        ({"n": np.empty(PIXELS - 1, np.uint16)}, ValueError, "n and flags must have"),
        ({"flags": np.empty(PIXELS + 1, np.uint16)}, ValueError, "n and flags must have"),
        ({"flags": np.empty(2 * PIXELS, np.uint16)[::2]}, TypeError, "incompatible"),
        ({"mean": np.empty(PIXELS, np.float32)}, TypeError, "incompatible"),
        ({"m2": np.empty(PIXELS - 1)}, ValueError, rf"m2 must have shape \({PIXELS},\)"),
        ({"err2": np.empty(2)}, ValueError, "err2 must have shape"),
        ({"top": np.empty((PIXELS, 2))}, ValueError, "needed for the largest samples"),
        ({"frames": with_errors()}, ValueError, "err2 is needed"),
        ({"frames": frames(offsets=np.full((3, 2), -5))}, ValueError, "offsets must be places"),
        (
            {"frames": frames(offsets=np.full((3, 2), 2**63 - 9))},
            ValueError,
            "offsets must be places",
        ),
    ],
)
def test_bands_that_cannot_be(changes: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        band(**changes)


def test_what_is_written_to_is_never_a_copy() -> None:
    """Arrays that cannot be written, or lie otherwise in memory, are refused."""
    mean = np.empty(PIXELS)
    mean.flags.writeable = False
    with pytest.raises(TypeError, match="incompatible"):
        band(mean=mean)
    with pytest.raises(TypeError, match="incompatible"):
        _core.to_native(np.arange(6, dtype=np.uint16)[::2])
    with pytest.raises(TypeError, match="unsigned"):
        _core.to_native(np.arange(6, dtype=np.int16))


def test_only_sums_of_one_kind_are_merged() -> None:
    def sums(**options: Any) -> Moments:
        made = Moments.empty(**{"size": 3, "flags": np.uint16, "has_err": False} | options)
        for plane in made.sums():
            if plane is not None:
                plane[:] = 0
        return made

    merge(sums(), sums())
    with_err = sums(has_err=True)
    merge(sums(), with_err)  # whose errors are all 0
    with_err.has_errors = True
    for other in (
        sums(size=4),
        sums(flags=np.uint32),
        sums(frames=1 << 20),
        sums(kept=2),
        with_err,
    ):
        with pytest.raises(ValueError, match="same kind"):
            merge(sums(), other)


def test_the_room_of_a_run_is_whole_rows() -> None:
    for pixels, cols in ((7, 3), (0, 3), (3, 0), (-3, 3)):
        with pytest.raises(ValueError, match="whole rows"):
            _core.Room(pixels, cols)


SOURCES = Path(__file__).parents[2] / "src" / "core"


def test_the_core_was_built_from_these_sources() -> None:
    hashes = (hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(SOURCES.iterdir()))
    now = hashlib.sha256("".join(hashes).encode()).hexdigest()
    assert _core.sources == now, "the core is older than src/core: make test builds it anew"


def test_kernels_know_arrays_only() -> None:
    """No Python in loops; and no code that the linker could take from another level."""
    seen, left = set(), {"level.cpp"}
    while left:
        text = (SOURCES / left.pop()).read_text()
        found = set(re.findall(r'#include "(.*)"', text)) - seen
        seen |= found
        left |= found
        assert set(re.findall(r"#include <(.*)>", text)) <= {
            *("cerrno", "cstddef", "cstdint", "cstdio", "cstdlib", "type_traits", "unistd.h")
        }
        used = set(re.findall(r"std::(\w+)", text))
        compiled_away = {name for name in used if re.search("_t$|_v$|^is_|^type_", name)}
        assert used - compiled_away <= {"abort", "aligned_alloc", "fprintf", "free"}
    assert {"stream.hpp", "pooled.hpp", "statistics.hpp"} <= seen
    assert "binding.hpp" not in seen
