"""Arguments of the wrong kind: one line that names them, whatever function they are given to."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emdarks import (
    Dataset,
    Threads,
    build_bad_pixel_map,
    build_synthesized_dark,
    build_trad_dark,
    calibrate_darks_lsq,
    check_darks,
    inspect_campaign,
    load_camera,
    mean_combine,
    subtract_dark,
)
from emdarks.data import sample
from emdarks.errors import EmdarksError
from emdarks.planning import Readout, predict, share_budget
from emdarks.simulate import simulate_campaign
from loops import for_each

NAN, INF = float("nan"), float("inf")
NO_NUMBER = [NAN, INF, "3", True, [1]]
NO_WHOLE = [*NO_NUMBER, 1.5, -1, 1 << 80]
NO_FLAG = [NAN, 1, "yes", None]
FIT = [(1.0, 2.0, 9), (1.0, 100.0, 9), (5000.0, 2.0, 9), (5000.0, 100.0, 9)]


@cache
def darks() -> Dataset:
    return Dataset(sample())


@cache
def stack() -> Dataset:
    stacks, _ = darks().split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])
    return stacks[3]


@cache
def maps() -> Any:
    return calibrate_darks_lsq(darks(), None)


def fit(**options: Any) -> Any:
    return calibrate_darks_lsq(darks(), None, **options)


def dark(**options: Any) -> Any:
    return build_trad_dark(stack(), None, **options)


def synthesized(**options: Any) -> Any:
    return build_synthesized_dark(stack(), maps(), **options)


def less(**options: Any) -> Any:
    return subtract_dark(stack(), maps(), **options)


def check(**options: Any) -> Any:
    return check_darks(darks(), **options)


def inspect(**options: Any) -> Any:
    return inspect_campaign(darks(), **options)


def mean(**options: Any) -> Any:
    return mean_combine(stack(), None, **options)


def bad_pixels(**options: Any) -> Any:
    return build_bad_pixel_map(maps(), **options)


def at(**options: Any) -> Any:
    return maps().synthesize(**{"gain": 2000, "exptime": 30, **options})


def foretell(**options: Any) -> Any:
    return predict(FIT, load_camera("excam").noise, **options)


def share(**options: Any) -> Any:
    pairs = [(gain, time) for gain, time, _ in FIT]
    return share_budget(pairs, noise=load_camera("excam").noise, **{"budget": 5000, **options})


def readout(**options: Any) -> Any:
    return Readout(**options)


#: Function, argument, values that it must refuse.
TABLE: list[tuple[Callable[..., Any], str, list[Any]]] = [
    *((f, "kgain", [*NO_NUMBER, 0, -2.5]) for f in (fit, dark, synthesized, less, check, inspect)),
    *((f, "mask_bits", NO_WHOLE) for f in (fit, dark, check, inspect, mean)),
    *((f, "gain_tolerance", [*NO_NUMBER, None, -0.1]) for f in (fit, dark, synthesized, less)),
    *((f, "skip_share", [*NO_NUMBER, None, -0.1, 1]) for f in (fit, dark, check)),
    *((f, "skip_bad_frames", NO_FLAG) for f in (fit, dark, check)),
    *((f, "executor", [NAN, 3, "x", True, [1]]) for f in (fit, dark, check, inspect, mean)),
    *((f, "camera", [NAN, 3, "no such", True, [1]]) for f in (fit, dark, check, inspect)),
    *((f, "use_signed", NO_FLAG) for f in (synthesized, less, bad_pixels)),
    *((f, "full_frame", NO_FLAG) for f in (dark, synthesized, bad_pixels)),
    (fit, "weighting", NO_FLAG),
    (fit, "screen", NO_FLAG),
    (fit, "gain_error", [*NO_NUMBER, None, -0.1, 1]),
    (fit, "nonnegative", [NAN, 3, "CIC", True, None, ["F"], [NAN], [[1]]]),
    *((f, "skip", [NAN, 3, True, None, [NAN], "x"]) for f in (fit, dark, check)),
    (fit, "estimator", [NAN, 3, "best", True, None, ["pooled"]]),
    (mean, "err", NO_FLAG),
    (bad_pixels, "window", [*NO_NUMBER, None, 7, 16.5]),
    (readout, "kappa", [*NO_NUMBER, None, 0]),
    (readout, "stages", [*NO_WHOLE[:-1], 0]),
    (readout, "lost_per_frame", [*NO_NUMBER, None, 1]),
    (readout, "lost_per_second", [*NO_NUMBER, None, -0.1]),
    (bad_pixels, "sigmas", [*NO_NUMBER, None, 0]),
    (bad_pixels, "warm", [*NO_NUMBER, None, -1]),
    (bad_pixels, "hot", [*NO_NUMBER, None, 1]),
    (at, "gain", [*NO_NUMBER, None, 0.5]),
    (at, "exptime", [*NO_NUMBER, None, -1]),
    (at, "kgain", [*NO_NUMBER, 0]),
    (share, "budget", [*NO_NUMBER, None, -1]),
    (share, "overhead", [*NO_NUMBER, None, -1]),
    (share, "least", [*NO_WHOLE, None]),
    (foretell, "overhead", [*NO_NUMBER, None, -1]),
    (Threads, "threads", [*NO_WHOLE, 0]),
    (Threads, "run_pixels", [*NO_WHOLE, None, 0]),
    (Threads, "batch_files", [*NO_WHOLE, None, 0]),
]
CASES = [(f, name, value) for f, name, values in TABLE for value in values]


@for_each(
    "function, name, value",
    CASES,
    ids=lambda case: f"{case[0].__name__}, {case[1]}={case[2]!r}",
)
def test_a_bad_argument_is_one_line(function: Callable[..., Any], name: str, value: Any) -> None:
    with pytest.raises(EmdarksError) as caught:
        function(**{name: value})
    assert "\n" not in str(caught.value)


def test_good_arguments_of_other_types_are_taken() -> None:
    expected = bad_pixels(window=16)
    for window in (16.0, np.int16(16), np.float32(16)):
        found = bad_pixels(window=window)
        np.testing.assert_array_equal(found.data, expected.data)
        assert found.ext_hdr["BPWINDOW"] == 16
    assert dark(mask_bits=np.uint8(255), kgain=np.float32(8.5), full_frame=np.bool_(True))
    assert Threads(2.0).threads == 2


@for_each("value", [*NO_WHOLE, None])
@for_each("name", ["frames", "seed"])
def test_a_simulation_of_no_number(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(EmdarksError):
        simulate_campaign(tmp_path / "new", "excam-small", **{name: value})
    assert not list(tmp_path.rglob("*.fits"))
