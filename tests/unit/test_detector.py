"""Geometry: what each readout mode says, and the functions that cut and paste by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emdarks.detector import (
    detector_areas,
    embed,
    frame_shape,
    imaging_area_geom,
    imaging_slice,
    region_slices,
    slice_section,
    unpack_geom,
)
from emdarks.errors import EmdarksError, GeometryError
from loops import for_each

# rows, columns, first row, first column of every region (contract.md 3.1).
EXPECTED: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "SCI": {
        "image": (1024, 1024, 13, 1088),
        "prescan": (1200, 1088, 0, 0),
        "prescan_reliable": (1200, 200, 0, 800),
        "parallel_overscan": (163, 1056, 1037, 1088),
        "serial_overscan": (1200, 56, 0, 2144),
    },
    "ENG": {
        "image": (1024, 1024, 13, 1088),
        "prescan": (2200, 1088, 0, 0),
        "prescan_reliable": (2200, 200, 0, 800),
        "parallel_overscan": (1163, 1056, 1037, 1088),
        "serial_overscan": (2200, 56, 0, 2144),
    },
    "ENG_EM": {
        "image": (2048, 1024, 13, 1088),
        "lower_image": (1024, 1024, 13, 1088),
        "upper_image": (1024, 1024, 1037, 1088),
        "prescan": (2200, 1088, 0, 0),
        "prescan_reliable": (2200, 200, 0, 800),
        "parallel_overscan": (130, 1056, 2070, 1088),
        "serial_overscan": (2200, 56, 0, 2144),
    },
    "ENG_CONV": {
        "image": (2048, 1024, 13, 48),
        "lower_image": (1024, 1024, 13, 48),
        "upper_image": (1024, 1024, 1037, 48),
        "prescan": (2200, 1128, 0, 1072),
        "prescan_reliable": (2200, 200, 0, 1200),
        "parallel_overscan": (130, 1056, 2070, 16),
        "serial_overscan": (2200, 16, 0, 0),
    },
}
SHAPES = {
    "SCI": (1200, 2200),
    "ENG": (2200, 2200),
    "ENG_EM": (2200, 2200),
    "ENG_CONV": (2200, 2200),
}
BIAS_COLUMNS = {
    "SCI": (800, 1000),
    "ENG": (800, 1000),
    "ENG_EM": (800, 1000),
    "ENG_CONV": (1200, 1400),
}
IMAGING = {
    "SCI": (1037, 1056, [0, 1088]),
    "ENG": (1037, 1056, [0, 1088]),
    "ENG_EM": (2070, 1056, [0, 1088]),
    "ENG_CONV": (2070, 1056, [0, 16]),
}
MODES = sorted(EXPECTED)
CASES = [(mode, key) for mode in MODES for key in EXPECTED[mode]]

# A camera of our own; every size differs, so that a mixed-up axis shows.
TOY: dict[str, dict[str, Any]] = {
    "SCI": {
        "frame_rows": 17,
        "frame_cols": 29,
        "image": {"rows": 9, "cols": 13, "r0c0": [2, 8]},
        "prescan": {"rows": 17, "cols": 7, "r0c0": [0, 0], "col_start": 2, "col_end": 6},
        "prescan_reliable": {"rows": 17, "cols": 4, "r0c0": [0, 2]},
        "parallel_overscan": {"rows": 5, "cols": 19, "r0c0": [12, 7]},
        "serial_overscan": {"rows": 17, "cols": 3, "r0c0": [0, 26]},
    }
}


def toy_frame() -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.arange(17.0 * 29).reshape(17, 29)


def toy_with(**changes: Any) -> dict[str, dict[str, Any]]:
    mode = {**TOY["SCI"], **changes}
    return {"SCI": {key: region for key, region in mode.items() if region is not None}}


def region(rows: int, cols: int, row0: int, col0: int) -> dict[str, Any]:
    return {"rows": rows, "cols": cols, "r0c0": [row0, col0]}


# ---------------------------------------------------------------- the table


def test_detector_areas_has_the_four_modes_and_no_other() -> None:
    assert sorted(detector_areas) == MODES


@pytest.mark.parametrize("mode", MODES)
def test_frame_shape_of_each_mode(mode: str) -> None:
    assert frame_shape(mode) == SHAPES[mode]


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_has_exactly_the_documented_regions(mode: str) -> None:
    found = {key for key, value in detector_areas[mode].items() if isinstance(value, dict)}
    assert found == set(EXPECTED[mode])


@for_each("mode, key", CASES)
def test_unpack_geom_gives_rows_columns_and_origin(mode: str, key: str) -> None:
    rows, cols, r0c0 = unpack_geom(mode, key)
    assert (rows, cols, *r0c0) == EXPECTED[mode][key]


@pytest.mark.parametrize("mode", MODES)
def test_prescan_says_which_columns_the_row_bias_comes_from(mode: str) -> None:
    prescan = detector_areas[mode]["prescan"]
    assert (prescan["col_start"], prescan["col_end"]) == BIAS_COLUMNS[mode]
    _, cols, (_, col0) = unpack_geom(mode, "prescan")
    assert col0 <= prescan["col_start"] < prescan["col_end"] <= col0 + cols


@for_each("mode, key", CASES)
def test_every_region_lies_inside_its_frame(mode: str, key: str) -> None:
    rows, cols, row0, col0 = EXPECTED[mode][key]
    frame = np.broadcast_to(np.float32(0), frame_shape(mode))
    assert slice_section(frame, mode, key).shape == (rows, cols)
    assert row0 >= 0
    assert col0 >= 0


@pytest.mark.parametrize("mode", ["ENG_EM", "ENG_CONV"])
def test_lower_and_upper_image_together_are_the_image(mode: str) -> None:
    lower, upper, whole = (
        region_slices(mode, key) for key in ("lower_image", "upper_image", "image")
    )
    assert lower[1] == upper[1] == whole[1]
    assert (lower[0].start, upper[0].stop) == (whole[0].start, whole[0].stop)
    assert lower[0].stop == upper[0].start


# ---------------------------------------------------------------- the imaging area


@pytest.mark.parametrize("mode", MODES)
def test_imaging_area_of_each_mode(mode: str) -> None:
    assert imaging_area_geom(mode) == IMAGING[mode]


@pytest.mark.parametrize("mode", MODES)
def test_imaging_area_is_what_prescan_and_overscan_leave(mode: str) -> None:
    taken = np.zeros(frame_shape(mode), dtype=bool)
    for key in ("prescan", "serial_overscan", "parallel_overscan"):
        taken[region_slices(mode, key)] = True
    # The rows of the parallel overscan are none of the imaging area's anywhere.
    taken[region_slices(mode, "parallel_overscan")[0]] = True
    area = np.zeros_like(taken)
    imaging_slice(mode, area)[...] = True
    assert np.array_equal(area, ~taken)


@pytest.mark.parametrize("mode", MODES)
def test_imaging_area_contains_the_image(mode: str) -> None:
    rows, cols, (row0, col0) = imaging_area_geom(mode)
    image_rows, image_cols = region_slices(mode, "image")
    assert row0 <= image_rows.start < image_rows.stop <= row0 + rows
    assert col0 <= image_cols.start < image_cols.stop <= col0 + cols


def test_imaging_area_of_a_geometry_of_ones_own() -> None:
    assert imaging_area_geom("SCI", TOY) == (12, 19, [0, 7])


def test_imaging_area_may_lie_above_the_parallel_overscan() -> None:
    regions = toy_with(parallel_overscan=region(5, 19, 0, 7))
    assert imaging_area_geom("SCI", regions) == (12, 19, [5, 7])


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ("prescan", (12, 26, [0, 0])),
        ("serial_overscan", (12, 22, [0, 7])),
        ("parallel_overscan", (17, 19, [0, 7])),
    ],
)
def test_a_region_that_a_camera_lacks_takes_nothing_away(
    absent: str, expected: tuple[int, int, list[int]]
) -> None:
    assert imaging_area_geom("SCI", toy_with(**{absent: None})) == expected


def test_without_prescan_and_overscan_all_is_imaging_area() -> None:
    regions = toy_with(prescan=None, serial_overscan=None, parallel_overscan=None)
    assert imaging_area_geom("SCI", regions) == (17, 29, [0, 0])


@pytest.mark.parametrize(
    "changes",
    [
        {"prescan": region(17, 26, 0, 0)},
        {"parallel_overscan": region(17, 19, 0, 7)},
        {"prescan": region(17, 7, 0, 11)},
        {"parallel_overscan": region(2, 19, 6, 7)},
    ],
    ids=["no column left", "no row left", "two blocks of columns", "two blocks of rows"],
)
def test_an_imaging_area_that_is_no_rectangle_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(GeometryError, match="imaging area"):
        imaging_area_geom("SCI", toy_with(**changes))


@given(st.data())
def test_imaging_area_complements_any_prescan_and_overscan(data: st.DataObject) -> None:
    rows, cols = data.draw(st.integers(2, 12)), data.draw(st.integers(3, 15))
    left = data.draw(st.integers(0, cols - 1))
    right = data.draw(st.integers(0, cols - left - 1))
    bottom = data.draw(st.integers(0, rows - 1))
    regions = {
        "X": {
            "frame_rows": rows,
            "frame_cols": cols,
            "prescan": region(rows, left, 0, 0),
            "serial_overscan": region(rows, right, 0, cols - right),
            "parallel_overscan": region(bottom, cols - left - right, rows - bottom, left),
        }
    }
    assert imaging_area_geom("X", regions) == (rows - bottom, cols - left - right, [0, left])


# ---------------------------------------------------------------- cutting


@pytest.mark.parametrize("key", [key for key in TOY["SCI"] if not key.startswith("frame")])
def test_slice_section_cuts_the_region(key: str) -> None:
    frame = toy_frame()
    entry = TOY["SCI"][key]
    (row0, col0), rows, cols = entry["r0c0"], entry["rows"], entry["cols"]
    cut = slice_section(frame, "SCI", key, TOY)
    assert cut.shape == (rows, cols)
    # The value of a pixel tells its place: 29 times the row plus the column.
    assert cut[0, 0] == 29 * row0 + col0
    assert cut[-1, -1] == 29 * (row0 + rows - 1) + col0 + cols - 1


def test_slice_section_is_a_view() -> None:
    frame = toy_frame()
    slice_section(frame, "SCI", "image", TOY)[0, 0] = -1.0
    assert frame[2, 8] == -1.0


def test_imaging_slice_is_a_view_of_the_imaging_area() -> None:
    frame = toy_frame()
    area = imaging_slice("SCI", frame, TOY)
    assert np.array_equal(area, frame[0:12, 7:26])
    area[...] = 0.0
    assert frame[:12, 7:26].sum() == 0.0


def test_slices_keep_the_type_of_the_frame() -> None:
    flags = np.zeros((17, 29), np.uint16)
    assert slice_section(flags, "SCI", "image", TOY).dtype == np.uint16
    assert imaging_slice("SCI", flags, TOY).dtype == np.uint16


def test_a_region_without_a_pixel_in_the_frame_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"image.*\(2, 29\)"):
        slice_section(toy_frame()[:2], "SCI", "image", TOY)


@pytest.mark.parametrize("function", [unpack_geom, region_slices])
def test_an_unknown_array_type_names_the_known_ones(function: Any) -> None:
    with pytest.raises(GeometryError, match=r"'XYZ'.*SCI.*ENG.*ENG_EM.*ENG_CONV"):
        function("XYZ", "image")


@pytest.mark.parametrize("key", ["upper_image", "frame_rows"])
def test_what_is_no_region_is_refused(key: str) -> None:
    with pytest.raises(GeometryError, match=f"SCI.*{key}"):
        unpack_geom("SCI", key)
    with pytest.raises(GeometryError, match=key):
        slice_section(toy_frame(), "SCI", key, TOY)


def test_imaging_functions_refuse_an_unknown_array_type() -> None:
    with pytest.raises(GeometryError, match="'ENG'"):
        imaging_area_geom("ENG", TOY)
    with pytest.raises(GeometryError, match="'ENG'"):
        imaging_slice("ENG", toy_frame(), TOY)
    with pytest.raises(GeometryError, match="'ENG'"):
        frame_shape("ENG", TOY)


def test_a_geometry_error_is_also_a_value_error() -> None:
    assert issubclass(GeometryError, ValueError)
    assert issubclass(GeometryError, EmdarksError)


# ---------------------------------------------------------------- pasting


def test_embed_fills_the_rest_of_the_frame() -> None:
    data = np.arange(9.0 * 13).reshape(9, 13)
    full = embed(data, "SCI", "image", pad_val=-2.5, detector_regions=TOY)
    assert full.shape == (17, 29)
    assert np.array_equal(full[2:11, 8:21], data)
    outside = np.ones(full.shape, dtype=bool)
    outside[2:11, 8:21] = False
    assert np.all(full[outside] == -2.5)


def test_embed_pads_with_zero_and_gives_float64() -> None:
    full = embed(np.ones((9, 13), np.int16), "SCI", "image", detector_regions=TOY)
    assert full.dtype == np.float64
    assert full.sum() == 9 * 13


def test_embed_accepts_nan_as_padding() -> None:
    full = embed(np.ones((9, 13)), "SCI", "image", np.nan, TOY)
    assert np.isfinite(full).sum() == 9 * 13


@pytest.mark.parametrize("key", [key for key in TOY["SCI"] if not key.startswith("frame")])
@given(seed=st.integers(0, 2**32 - 1))
def test_slice_section_undoes_embed(key: str, seed: int) -> None:
    rows, cols, _ = unpack_geom("SCI", key, TOY)
    data = np.random.default_rng(seed).normal(size=(rows, cols))
    assert np.array_equal(slice_section(embed(data, "SCI", key, 7.0, TOY), "SCI", key, TOY), data)


@for_each("shape", [(13, 9), (9, 12), (8, 13), (1, 1), (13,), (1, 9, 13), ()])
def test_embed_refuses_data_that_have_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(GeometryError, match=r"'image'.*\(9, 13\)"):
        embed(np.zeros(shape), "SCI", "image", detector_regions=TOY)


def test_embed_refuses_a_region_that_leaves_the_frame() -> None:
    regions = toy_with(image=region(9, 13, 10, 8))
    with pytest.raises(GeometryError, match=r"\(9, 13\).*\(7, 13\)"):
        embed(np.zeros((9, 13)), "SCI", "image", detector_regions=regions)
