"""Bad input: one clear line before any pixel is read, wherever headers can tell."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import COLS, REGIONS, ROWS, Campaign, SimpleDataset, frame_hdus, params, stand_in
from emdarks.accumulate import Threads
from emdarks.darks import CalDarksLSQException, build_trad_dark, calibrate_darks_lsq, mean_combine
from emdarks.data import Dataset
from emdarks.errors import EmdarksError, GeometryError, InputError
from loops import for_each

GOOD = [(1.0, 2.0), (1.0, 90.0), (40.0, 11.0), (300.0, 50.0)]


@pytest.fixture
def no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(os, "preadv", refuse)
    monkeypatch.setattr(Threads, "sums", refuse)


Maker = Callable[..., Dataset]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    def write(stacks: Any, each: int = 2, shape: Any = (ROWS, COLS), **options: Any) -> Dataset:
        paths: list[Path] = []
        rng = np.random.default_rng(5)
        for gain, time in stacks:
            for _ in range(each):
                number = len(paths)
                path = tmp_path / f"f{number}.fits"
                data = rng.normal(1, 1, shape).astype(np.float32)
                frame_hdus(data, gain=gain, time=time, number=number, **options).writeto(path)
                paths.append(path)
        return Dataset(paths)

    return write


def fit(dataset: Any, **options: Any) -> Any:
    return calibrate_darks_lsq(dataset, params(), True, REGIONS, **options)


@pytest.mark.parametrize(
    ("stacks", "message"),
    [
        (GOOD[:3], r"at least 4 stacks.*there are 3 .*\(1, 2 s\), \(40, 11 s\)"),
        ([(5.0, t) for t in (1.0, 2.0, 3.0, 4.0)], "all stacks have one EM gain"),
        ([(g, 5.0) for g in (1.0, 2.0, 3.0, 4.0)], "all stacks have one exposure time"),
        ([(0.5, 2.0), *GOOD[1:]], r"f0\.fits: EM gain 0\.5 is below 1"),
        ([(1.0, -2.0), *GOOD[1:]], r"f0\.fits: exposure time -2 s is negative"),
        (
            [(1.0, 5.0), (100.0, 8.0), (1.0, 5.0 + 1e-5), (100.0, 8.0 + 1e-4)],
            "rank below 3",
        ),
    ],
)
@pytest.mark.usefixtures("no_pixels")
def test_campaigns_that_cannot_be_fitted(make: Maker, stacks: Any, message: str) -> None:
    with pytest.raises(CalDarksLSQException, match=message):
        fit(make(stacks))


@pytest.mark.usefixtures("no_pixels")
def test_the_same_gain_and_time_twice(make: Maker) -> None:
    dataset = make(GOOD)
    for frame in dataset.frames[:1]:
        frame.ext_hdr["KGAINPAR"] = 9.1
    with pytest.raises(CalDarksLSQException, match=r"two stacks have EM gain 1 .* time 2 s"):
        fit(dataset)


@pytest.mark.usefixtures("no_pixels")
def test_a_k_gain_that_is_not_positive(make: Maker) -> None:
    dataset = make(GOOD, cards={"KGAINPAR": 0.0})
    with pytest.raises(CalDarksLSQException, match=r"f0\.fits: k-gain 0 is not positive"):
        fit(dataset)


@pytest.mark.parametrize("keyword", ["EXPTIME", "EMGAIN_C", "KGAINPAR"])
@pytest.mark.usefixtures("no_pixels")
def test_a_missing_keyword_is_named_with_its_file(make: Maker, keyword: str) -> None:
    dataset = make(GOOD, cards={keyword: None})
    with pytest.raises(KeyError, match=rf"f0\.fits: the header has no {keyword}"):
        fit(dataset)


@pytest.mark.usefixtures("no_pixels")
def test_a_keyword_that_is_no_number(make: Maker) -> None:
    with pytest.raises(InputError, match=r"f0\.fits: EXPTIME is 'long'"):
        fit(make(GOOD, cards={"EXPTIME": "long"}))


@pytest.mark.usefixtures("no_pixels")
def test_frames_of_different_shapes(make: Maker, tmp_path: Path) -> None:
    dataset = make(GOOD)
    odd = tmp_path / "odd.fits"
    frame_hdus(np.zeros((ROWS, COLS + 1), np.float32), time=2.0).writeto(odd)
    mixed = Dataset([*dataset.frames, *Dataset([odd]).frames])
    with pytest.raises(InputError, match=r"different shapes.*odd\.fits"):
        fit(mixed)
    with pytest.raises(InputError, match="different shapes"):
        mean_combine(mixed, None)


@pytest.mark.usefixtures("no_pixels")
def test_frames_that_do_not_fit_the_geometry(make: Maker) -> None:
    with pytest.raises(InputError, match=r"f0\.fits: has 23 x 37 pixels, the geometry 1200 x 2200"):
        calibrate_darks_lsq(make(GOOD), params(), True)


@pytest.mark.parametrize("rows", [(0, 5), (18, 21), (10, None)])
@pytest.mark.usefixtures("no_pixels")
def test_telemetry_rows_inside_the_image(make: Maker, rows: Any) -> None:
    dataset = make(GOOD)
    for function in (
        lambda: calibrate_darks_lsq(dataset, params(*rows), True, REGIONS),
        lambda: build_trad_dark(dataset[:2], params(*rows), REGIONS),
    ):
        with pytest.raises(GeometryError, match="reach into the image region"):
            function()


@pytest.mark.usefixtures("no_pixels")
def test_frames_divided_by_gain_make_no_noise_maps(make: Maker) -> None:
    dataset = make(GOOD, unit="detected electron")
    with pytest.raises(InputError, match="already divided by the EM gain"):
        fit(dataset)


@pytest.mark.usefixtures("no_pixels")
def test_gains_that_spread_too_much_within_a_stack(make: Maker) -> None:
    dataset = make(GOOD, each=3)
    dataset[1].ext_hdr["EMGAIN_M"] = 1.2
    with pytest.raises(InputError, match=r"f1\.fits: EM gain 1\.2 .*spread by"):
        fit(dataset)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "guess"}, "estimator is 'guess'; it must be one of"),
        ({"nonnegative": ("XYZ",)}, "nonnegative is 'XYZ'"),
        ({"kgain": -1.0}, "kgain is -1.0"),
        ({"kgain": float("nan")}, "kgain is nan"),
        ({"mask_bits": -4}, "mask_bits is -4"),
        ({"camera": "nikon"}, "camera 'nikon' is neither built in"),
    ],
)
@pytest.mark.usefixtures("no_pixels")
def test_options_out_of_range(make: Maker, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(make(GOOD), **options)


@pytest.mark.parametrize("weighting", [1, None, np.bool_(True), "yes"])
def test_weighting_must_be_a_bool(make: Maker, weighting: Any) -> None:
    with pytest.raises(ValueError, match="must be True or False"):
        calibrate_darks_lsq(make(GOOD), params(), weighting, REGIONS)


def test_no_frames() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        Dataset([])
    with pytest.raises(ValueError, match="has no frames"):
        fit(SimpleDataset([]))
    with pytest.raises(ValueError, match="give a list of files"):
        Dataset("one.fits")


def test_an_unreadable_file_is_named(make: Maker, tmp_path: Path) -> None:
    bad = tmp_path / "bad file ü.fits"
    bad.write_bytes(b"this is not FITS" * 300)
    with pytest.raises(InputError, match=r"bad file ü\.fits: cannot be read as FITS"):
        Dataset([bad])


def test_a_file_that_vanishes_is_named(make: Maker) -> None:
    dataset = make(GOOD)
    Path(dataset[3].filepath).unlink()
    with pytest.raises(InputError, match=r"f3\.fits: cannot be read"):
        fit(dataset)


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
def test_a_stack_in_which_every_frame_is_bad(make: Maker) -> None:
    dq = np.full((ROWS, COLS), 4, np.uint16)
    dataset = make(GOOD, dq=dq)
    with pytest.raises(EmdarksError, match="no pixel is good in two frames"):
        fit(dataset, estimator="reference")
    with pytest.raises(EmdarksError, match="no pixel of any stack is good in two frames"):
        fit(dataset)


@pytest.mark.usefixtures("no_pixels")
def test_a_stack_of_one_frame(make: Maker) -> None:
    with pytest.raises(CalDarksLSQException, match="every stack has a single frame"):
        fit(make(GOOD, each=1))


@pytest.mark.usefixtures("no_pixels")
def test_one_lone_frame_among_stacks(make: Maker) -> None:
    dataset = make(GOOD)
    with pytest.raises(CalDarksLSQException, match=r"f0\.fits: is the only frame of the stack"):
        fit(dataset[[0, *range(2, 8)]], estimator="reference")


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ({"KGAINPAR": -999.0}, "k-gain -999 is not positive"),
        ({"EXPTIME": -5.0}, "exposure time -5 s is negative"),
        ({"EMGAIN_C": 0.5}, "EM gain 0.5 is below 1"),
    ],
)
@pytest.mark.usefixtures("no_pixels")
def test_a_traditional_dark_of_impossible_settings(
    make: Maker, cards: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_trad_dark(make(GOOD[:1], cards=cards, unit="DN"), params(), REGIONS)


def test_a_gain_error_means_nothing_to_the_reference(make: Maker) -> None:
    with pytest.raises(InputError, match="pooled estimator only"):
        fit(make(GOOD), estimator="reference", gain_error=0.02)


def test_detector_parameters_that_are_no_rows(make: Maker) -> None:
    dataset = make(GOOD)
    with pytest.raises(GeometryError, match="must be whole numbers"):
        calibrate_darks_lsq(dataset, params(-1.0), True, REGIONS)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="make a Dataset"):
        calibrate_darks_lsq([frame.filepath for frame in dataset], params(), True, REGIONS)


def test_foreign_frames_with_wrong_planes(quirky: Campaign) -> None:
    frame = stand_in(quirky.paths[0], True)
    frame.dq = frame.dq.astype(float)
    with pytest.raises(InputError, match="not bit flags"):
        mean_combine(SimpleDataset([frame]), None)
    frame.dq = np.zeros((3, 3), int)
    with pytest.raises(InputError, match="err or dq has shape"):
        mean_combine(SimpleDataset([frame]), None)
    frame.data = np.zeros((2, 3, 4))
    with pytest.raises(InputError, match="rows and columns"):
        mean_combine(SimpleDataset([frame]), None)


# mean_combine's documented TypeErrors

IMAGE = np.ones((3, 4))
GOOD_MAP = np.zeros((3, 4), int)


@for_each(
    "images, maps",
    [
        ((IMAGE,), [GOOD_MAP]),
        ("frames", [GOOD_MAP]),
        (None, [GOOD_MAP]),
        (7.0, [GOOD_MAP]),
        (1j, [GOOD_MAP]),
        (np.float64(3), [GOOD_MAP]),
        (np.ones(5), [GOOD_MAP]),
        (np.ones((2, 2, 3, 4)), [GOOD_MAP]),
        ([IMAGE], (GOOD_MAP,)),
        ([IMAGE], None),
        ([IMAGE, IMAGE], [GOOD_MAP]),
        ([], []),
        ([np.ones(3)], [GOOD_MAP]),
        ([IMAGE, np.ones((4, 3))], [GOOD_MAP, GOOD_MAP]),
        ([IMAGE * 1j], [GOOD_MAP]),
        ([IMAGE], [np.zeros(4, int)]),
        ([IMAGE], [GOOD_MAP + 2]),
        ([IMAGE], [GOOD_MAP * 1.0]),
        ([IMAGE], [np.zeros((4, 3), int)]),
        ([[[1.0, 2.0], [3.0]]], [GOOD_MAP]),
    ],
)
def test_mean_combine_refuses(images: Any, maps: Any) -> None:
    with pytest.raises(TypeError):
        mean_combine(images, maps)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, bool, int])
def test_mean_combine_takes_maps_of_any_integer_type(dtype: Any) -> None:
    images = [IMAGE * k for k in (1.0, 2.0, 6.0)]
    maps = [GOOD_MAP.astype(dtype) for _ in images]
    maps[2][0, 1] = 1
    for m in maps:
        m[1, 1] = 1
    image, bad, count, enough = mean_combine(images, maps)
    assert (image[0, 0], image[0, 1], image[1, 1]) == (3.0, 1.5, 0.0)
    assert bad.sum() == bad[1, 1] == 1
    assert (count[0, 0], count[0, 1], count[1, 1]) == (3, 2, 0)
    assert not enough
    stack, _, _, half = mean_combine(np.array(images), np.array([GOOD_MAP, GOOD_MAP, GOOD_MAP]))
    assert (stack == 3.0).all()
    assert half
    single = mean_combine(IMAGE, GOOD_MAP)
    assert (single[0] == 1.0).all()


def test_exactly_half_is_enough() -> None:
    maps = [GOOD_MAP.copy(), GOOD_MAP.copy()]
    maps[0][2, 3] = 1
    assert mean_combine([IMAGE, IMAGE], maps)[3]


def test_the_lists_handed_over_are_left_alone() -> None:
    images, maps = [[[1.0, 2.0]], [[3.0, 4.0]]], [[[0, 0]], [[0, 1]]]
    image = mean_combine(images, maps)[0]
    assert image.tolist() == [[2.0, 2.0]]
    assert images == [[[1.0, 2.0]], [[3.0, 4.0]]]


def test_err_mode_is_the_root_mean_square() -> None:
    errors = [np.full((3, 4), 3.0)] * 4
    assert (mean_combine(errors, [GOOD_MAP] * 4, err=True)[0] == 3.0).all()
