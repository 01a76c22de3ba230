"""Raw frames (level 1) and cosmic rays of the simulator, against their laws and undone by NumPy.

What undoes a raw frame here shares no code with the package: bias of the prescan, factors of the
file, electrons per DN.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from scipy.integrate import trapezoid

from emdarks import simulate
from emdarks.cameras import load_camera
from emdarks.data import DetectorParams
from emdarks.detector import region_slices
from emdarks.dq import DQ
from emdarks.errors import InputError
from emdarks.frames import select_frames
from emdarks.raw import FramePlan, Linearity, RawCalibration, RowBias, prepare, scan, stored_bytes
from emdarks.simulate import Effects, invented_linearity
from emdarks.simulate.level_1 import raw_signal

SIGMAS = 4.5
CAMERA = load_camera("excam-small")
ROWS, COLUMNS = 120, 220
QUIET = replace(Effects.of_level_1(CAMERA), rays=0.0)
FIRST, LAST = 108, 215  # columns of the imaging area; 106 rows
AREA_CM2 = 106 * 107 * 13e-4**2


def generator(*key: int) -> np.random.Generator:
    return np.random.default_rng([32, *key])


@pytest.fixture(scope="module")
def truth() -> simulate.Truth:
    return simulate.make_truth(CAMERA, 5, level="1")


@pytest.fixture(scope="module")
def silent(truth: simulate.Truth) -> simulate.Truth:
    """Without read noise: the charge alone, hot enough to be seen at every gain."""
    warm = truth.dark_current * np.float32(40)
    return replace(truth, read_noise=0.0, dark_current=warm)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> simulate.CampaignFiles:
    effects = replace(Effects.of_level_1(CAMERA), spoiled_rows=1.5, rays=60.0)
    return simulate.simulate_campaign(
        tmp_path_factory.mktemp("raw") / "frames",
        CAMERA,
        seed=7,
        stacks=[(1, 2, 3), (200, 100, 2), (5000, 20, 4)],
        effects=effects,
        level="1",
    )


# ---------------------------------------------------------------- undone


def row_bias(raw: np.ndarray) -> np.ndarray:
    """Median of the prescan of each row, those far off replaced by the median of all."""
    rows = np.median(raw[:, 80:100].astype(float), axis=1)
    middle, spread = np.median(rows), rows.std()
    return np.where(np.abs(rows - middle) > 5 * spread, middle, rows)


def factors(table: np.ndarray, gain: float, signal: np.ndarray) -> np.ndarray:
    """Bilinear in a table as files hold it: gains above, signals at the left."""
    gains, counts = table[0, 1:].astype(float), table[1:, 0].astype(float)
    column = [np.interp(gain, gains, row) for row in table[1:, 1:].astype(float)]
    return np.interp(signal, counts, column)


def file_of(folder: Path, name: str) -> Any:
    with fits.open(folder / name) as hdus:
        return hdus[1].data.copy()


def electrons(raw: np.ndarray, gain: float, table: np.ndarray, k: float) -> np.ndarray:
    signal = raw - row_bias(raw)[:, None]
    return signal * factors(table, gain, signal) * k


def invented_table() -> np.ndarray:
    made = invented_linearity()
    corner = np.array([[math.nan]])
    return np.block([[corner, made.gains[None, :]], [made.counts[:, None], made.factors]])


@pytest.mark.parametrize("gain", [1.0, 3.3, 40.0, 700.0, 4000.0])
def test_exact_tables_give_the_charge_back(silent: simulate.Truth, gain: float) -> None:
    raw = simulate.simulate_raw_frame(silent, gain, 50.0, generator(1), effects=QUIET)
    exact = simulate.simulate_frame(silent, gain, 50.0, generator(1), effects=Effects.none())
    assert raw.data.dtype == np.uint16
    found = (raw.data - raw.bias[:, None])[:-1]
    linear = found * factors(invented_table(), gain, found) * silent.k_gain
    unsaturated = (raw.dq == 0)[:-1]
    assert unsaturated.mean() > 0.5
    # Half a DN of rounding, times the factor and its slope.
    off = np.abs(linear - exact.data[:-1])[unsaturated]
    assert off.max() < 0.5 * silent.k_gain * 1.3
    assert off.max() > 0.4 * silent.k_gain


def test_frames_undone_have_the_means_of_the_truth(truth: simulate.Truth) -> None:
    gain, time, frames = 300.0, 100.0, 120
    table = invented_table()
    total = np.zeros((ROWS, COLUMNS))
    for i in range(frames):
        raw = simulate.simulate_raw_frame(truth, gain, time, generator(2, i), effects=QUIET)
        total += electrons(raw.data, gain, table, truth.k_gain)
    off = total / frames - truth.mean(gain, time)
    area = truth.imaging_area
    error = np.sqrt(truth.variance(gain, time) / frames)
    # The bias of a row is common to it: 1.25 read noises over the root of 20 columns and frames.
    common = 1.2533 * truth.read_noise / math.sqrt(20 * frames * 105)
    mean_error = math.hypot(common, math.sqrt((error[area] ** 2).sum()) / area.sum())
    assert abs(off[area].mean()) < SIGMAS * mean_error
    prescan = np.s_[:-1, 20:FIRST]
    assert abs(off[prescan].mean()) < SIGMAS * common


def test_bias_differs_from_row_to_row(truth: simulate.Truth) -> None:
    frames = [
        simulate.simulate_raw_frame(truth, 1.0, 2.0, generator(3, i), effects=QUIET)
        for i in range(40)
    ]
    bias = np.array([frame.bias for frame in frames])
    level, rms = CAMERA.simulation.bias, CAMERA.simulation.row_bias
    assert rms == 2.0
    assert abs(bias.mean() - level) < SIGMAS * rms / math.sqrt(bias.size)
    assert bias.std() == pytest.approx(rms, rel=SIGMAS / math.sqrt(2 * bias.size))
    seen = np.array([np.median(frame.data[:, 80:100], axis=1) for frame in frames])[:, :-1]
    off = seen - bias[:, :-1]
    noise = 1.2533 * truth.read_noise / truth.k_gain / math.sqrt(20)
    assert off.std() == pytest.approx(noise, rel=0.1)
    assert abs(off.mean()) < SIGMAS * noise / math.sqrt(off.size)


def test_prescan_and_overscan_hold_no_charge(truth: simulate.Truth) -> None:
    rest = ~truth.imaging_area
    assert not truth.clock_induced_charge[rest].any()
    assert not truth.dark_current[rest].any()
    assert truth.clock_induced_charge[truth.imaging_area].min() > 0
    pattern = truth.fixed_pattern[:-1, 80:100].mean(axis=1)
    np.testing.assert_allclose(pattern, 0, atol=1e-4)


def test_spoiled_rows_have_a_wrong_prescan_and_a_right_image(truth: simulate.Truth) -> None:
    effects = replace(QUIET, spoiled_rows=3.0)
    spoiled = 0
    for i in range(60):
        raw = simulate.simulate_raw_frame(truth, 50.0, 2.0, generator(4, i), effects=effects)
        clean = simulate.simulate_raw_frame(truth, 50.0, 2.0, generator(4, i), effects=QUIET)
        spoiled += int(raw.spoiled.sum())
        differs = raw.data != clean.data
        assert set(np.flatnonzero(differs[:-1].any(axis=1))) == set(
            np.flatnonzero(raw.spoiled[:-1])
        )
        assert not differs[:, :80].any()
        assert not differs[:, 100:].any()
        excess = raw.data[raw.spoiled, 80:100].astype(int) - clean.data[raw.spoiled, 80:100]
        assert excess[:-1].min(initial=400) >= 399
        assert excess.max(initial=0) <= 601
    assert abs(spoiled - 180) < SIGMAS * math.sqrt(180)


def test_telemetry_stands_behind_the_prescan_and_is_no_plateau(truth: simulate.Truth) -> None:
    raw = simulate.simulate_raw_frame(truth, 50.0, 2.0, generator(13), effects=QUIET)
    words = raw.data[-1, 100:]
    assert words.std() > 2000
    assert words.max() < 0.85 * CAMERA.noise.full_well_image / CAMERA.noise.k_gain
    assert raw.data[-1, :100].std() < 25
    assert not raw.dq[-1].any()


@pytest.mark.parametrize(("gain", "well"), [(1.0, 90000.0), (1.1, 99000.0), (2000.0, 105000.0)])
def test_full_wells_are_levels_of_the_raw_signal(
    silent: simulate.Truth, gain: float, well: float
) -> None:
    pattern = 0 * silent.fixed_pattern
    bright = replace(silent, fixed_pattern=pattern, dark_current=silent.dark_current + 2e5)
    raw = simulate.simulate_raw_frame(bright, gain, 1.0, generator(5), effects=QUIET)
    rows, columns = region_slices("SCI", "image", CAMERA.regions)
    assert (raw.dq[rows, columns] == DQ.SATURATED).all()
    signal = (raw.data - raw.bias[:, None])[rows, columns]
    assert signal.mean() == pytest.approx(well / silent.k_gain, abs=2.0)
    # The register multiplies what the pixel's well cut, and adds its own noise.
    assert signal.std() < (20.0 if gain == 1.1 else 0.6)


def test_numbers_stay_in_the_range_of_the_converter(truth: simulate.Truth) -> None:
    endless = replace(CAMERA.noise, full_well_image=1e9, full_well_register=1e9)
    low = replace(CAMERA.simulation, bias=10.0)
    camera = replace(CAMERA, noise=endless, simulation=low)
    dark = np.where(truth.imaging_area, np.float32(1e3), np.float32(0))
    hot = replace(truth, camera=camera, dark_current=dark)
    raw = simulate.simulate_raw_frame(hot, 500.0, 1.0, generator(6), effects=QUIET)
    assert raw.data.min() == 0
    assert raw.data.max() == 2**14 - 1


def test_cameras_without_prescan_have_no_level_1(tmp_path: Path) -> None:
    regions = {k: v for k, v in CAMERA.geometry["SCI"].items() if not k.startswith("prescan")}
    camera = replace(CAMERA, geometry={"SCI": regions})
    with pytest.raises(InputError, match="has no prescan"):
        simulate.simulate_campaign(tmp_path / "new", camera, 1, level="1")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"level": "2b"}, "level '2b'"), ({"level": "1", "units": "e"}, "raw frames .* are in DN")],
)
def test_wrong_levels_are_refused(tmp_path: Path, wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        simulate.simulate_campaign(tmp_path / "new", CAMERA, 1, **wrong)
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------- nonlinearity


def test_invented_factors_are_as_calibrations_must_be() -> None:
    made = invented_linearity()
    assert made.factors.shape == (made.counts.size, made.gains.size)
    for axis in (made.counts, made.gains):
        assert (np.diff(axis) > 0).all()
    assert (made.factors.min(axis=0) <= 1).all()
    assert (made.factors.max(axis=0) >= 1).all()
    assert made.counts[-1] > CAMERA.noise.full_well_register / CAMERA.noise.k_gain
    for gain in (1.0, 77.0, 8000.0):
        signal = np.linspace(-100, 16000, 30001)
        assert (np.diff(signal * factors(invented_table(), gain, signal)) > 0).all()
    # They differ by gain, and from 1 by more than noise hides.
    spread = made.factors.max(axis=0) - made.factors.min(axis=0)
    assert spread[-1] > 1.5 * spread[0] > 0.05


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0, 999.0, 1e4])
def test_raw_is_the_inverse_of_the_factors(gain: float) -> None:
    raw = np.concatenate([np.linspace(-300, 16000, 4001), [800.0, 14000.0]])
    table = invented_table()
    linear = (raw * factors(table, gain, raw)).astype(np.float32)
    np.testing.assert_allclose(
        raw_signal(linear, invented_linearity(), gain), raw, rtol=2e-7, atol=2e-3
    )


def test_a_linear_detector_is_possible(silent: simulate.Truth) -> None:
    none = Linearity(np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.ones((2, 2)))
    raw = simulate.simulate_raw_frame(
        silent, 20.0, 50.0, generator(7), effects=QUIET, linearity=none
    )
    exact = simulate.simulate_frame(silent, 20.0, 50.0, generator(7), effects=Effects.none())
    found = (raw.data - raw.bias[:, None]) * silent.k_gain
    good = raw.dq == 0
    good[-1] = False
    assert np.abs(found - exact.data)[good].max() < 0.51 * silent.k_gain


# ---------------------------------------------------------------- cosmic rays


def many_rays(rate: float = 5.0, time: float = 100.0, frames: int = 300) -> list[simulate.Rays]:
    effects = replace(QUIET, rays=rate)
    return [simulate.rays_in_frame(CAMERA, time, generator(8, i), effects) for i in range(frames)]


def landau_cumulative(points: np.ndarray) -> np.ndarray:
    """Landau's law by the integral of its density, as he gave it."""
    grid = np.linspace(-6.0, 80.0, 8601)
    t = np.linspace(1e-9, 40.0, 8001)
    density = np.array(
        [
            trapezoid(np.exp(-t * np.log(t) - x * t) * np.sin(math.pi * t), t) / math.pi
            if x > -4
            else 0.0
            for x in grid[::10]
        ]
    )
    density = np.interp(grid, grid[::10], density).clip(0)
    cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)]) * 0.01
    return np.interp(points, grid, cumulative)


def test_hits_come_at_their_rate() -> None:
    expected = 5.0 * AREA_CM2 * 100.0
    assert simulate.expected_hits(CAMERA, 5.0, 100.0) == pytest.approx(expected)
    hits = [rays.row.size for rays in many_rays()]
    assert abs(np.mean(hits) - expected) < SIGMAS * math.sqrt(expected / len(hits))
    assert np.var(hits) == pytest.approx(expected, rel=SIGMAS * math.sqrt(2 / len(hits)))
    # About nine a second in the whole imaging area of EXCAM.
    full = simulate.expected_hits(load_camera("excam"), 5.0, 1.0)
    assert full == pytest.approx(5.0 * 1037 * 1056 * 13e-4**2)


def test_hits_fall_evenly() -> None:
    rays = many_rays(rate=50.0, frames=60)
    row = np.concatenate([each.row for each in rays])
    column = np.concatenate([each.column for each in rays])
    assert (row.min(), row.max()) == (0, 105)
    assert (column.min(), column.max()) == (FIRST, LAST - 1)
    for values, start, size in ((row, 0, 106), (column, FIRST, 107)):
        counts = np.bincount(values - start, minlength=size)
        chi2 = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert abs(chi2 - size + 1) < SIGMAS * math.sqrt(2 * (size - 1))
    assert abs(np.corrcoef(row, column)[0, 1]) < SIGMAS / math.sqrt(row.size)


def test_charge_follows_landaus_law() -> None:
    rays = many_rays(rate=50.0, frames=200)
    charge = np.concatenate([each.charge.sum(axis=(1, 2)) for each in rays])
    error = charge.std() / math.sqrt(charge.size)
    # A per cent of the wings lies beside the window.
    assert abs(charge.mean() - simulate.MEAN_CHARGE) < SIGMAS * error + 5
    assert charge.max() < 2e4 + 600
    edges = np.array([600.0, 900.0, 1500.0, 2500.0, 5000.0, 10000.0])
    within = landau_cumulative((np.array([2e4]) - 1156.7) / 320.0)
    expected = landau_cumulative((edges - 1156.7) / 320.0) / within
    found = np.array([(charge < edge).mean() for edge in edges])
    np.testing.assert_allclose(found, expected, atol=0.006 + SIGMAS * 0.5 / math.sqrt(charge.size))


def test_footprints_cover_one_to_nine_pixels_and_wings() -> None:
    charge = np.concatenate([rays.charge for rays in many_rays(rate=50.0, frames=60)])
    total = charge.sum(axis=(1, 2))
    core = charge[:, 2:5, 2:5].sum(axis=(1, 2)) / total
    # Half a pixel off the centre and 0.6 wide: 96 % of each axis at the worst; a part of the wings.
    assert core.mean() == pytest.approx(0.985, abs=0.01)
    assert np.quantile(core, 0.01) > 0.85
    pixels = (charge > 0.1 * total[:, None, None]).sum(axis=(1, 2))
    assert pixels.min() == 1
    assert pixels.max() <= 9
    assert {1, 2, 3, 4} <= set(pixels)
    # As many pixels as in frames of emccd-detect 2.6.2: 1.3 % in 100 s, at 8.45e-4 hits a pixel.
    assert (charge > 0).sum(axis=(1, 2)).mean() * 5 * 100 * 13e-4**2 == pytest.approx(
        0.013, rel=0.1
    )
    # Symmetric on the average.
    mean = charge.mean(axis=0)
    np.testing.assert_allclose(mean, mean[::-1, ::-1], rtol=0.15, atol=3.0)
    np.testing.assert_allclose(mean, mean.T, rtol=0.15, atol=3.0)


@pytest.mark.parametrize("level", ["1", "2a"])
@pytest.mark.parametrize("gain", [1.0, 300.0])
def test_rays_change_nothing_but_the_samples_that_they_hit(level: str, gain: float) -> None:
    truth = simulate.make_truth(CAMERA, 5, level=level)
    with_rays = replace(QUIET, row_bias=0.0, rays=20.0)
    make = simulate.simulate_raw_frame if level == "1" else simulate.simulate_frame
    one = make(truth, gain, 60.0, generator(9), effects=with_rays)
    none = make(truth, gain, 60.0, generator(9), effects=replace(with_rays, rays=0.0))
    rays = simulate.rays_in_frame(CAMERA, 60.0, generator(9), with_rays)
    may = np.zeros((ROWS, COLUMNS), dtype=bool)
    for row, column in zip(rays.row, rays.column, strict=True):
        may[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4] = True
        for line in range(max(row - 3, 0), row + 4):  # tails run on into the next row
            may.reshape(-1)[line * COLUMNS + column : line * COLUMNS + column + 16] = True
    differs = one.data != none.data
    assert not (differs & ~may).any()
    assert not differs[:, 13:FIRST].any()
    gained = (one.data.astype(float) - none.data)[rays.row, rays.column]
    assert (gained > 0).mean() > 0.95
    assert set(np.unique(one.dq)) <= {0, 32, 128, 160}


def test_charge_of_rays_is_multiplied(silent: simulate.Truth) -> None:
    endless = replace(CAMERA.noise, full_well_image=math.inf, full_well_register=math.inf)
    wide = replace(silent, camera=replace(CAMERA, noise=endless))
    effects = replace(Effects.none(), rays=50.0)
    gain, ratio = 30.0, []
    for i in range(40):
        one = simulate.simulate_frame(wide, gain, 60.0, generator(10, i), effects=effects)
        none = simulate.simulate_frame(wide, gain, 60.0, generator(10, i), effects=Effects.none())
        rays = simulate.rays_in_frame(CAMERA, 60.0, generator(10, i), effects)
        excess = (one.data.astype(float) - none.data)[:-1].sum()
        ratio.append(excess / gain / rays.total(CAMERA).sum())
        assert not one.dq.any()
    assert np.mean(ratio) == pytest.approx(1.0, abs=SIGMAS * np.std(ratio) / math.sqrt(40))


def tail_of(truth: simulate.Truth, gain: float, tails: int) -> tuple[np.ndarray, np.ndarray]:
    """What tails add to a frame, and the frame without them, EM electrons."""
    effects = replace(Effects.none(), rays=80.0, tails=tails)
    args = (truth, gain, 30.0)
    frame = simulate.simulate_frame(*args, generator(11), effects=effects)
    bare = simulate.simulate_frame(*args, generator(11), effects=replace(effects, tails=0))
    np.testing.assert_array_equal(frame.dq, bare.dq)
    return frame.data[:-1] - bare.data[:-1], bare.data[:-1]


def plateau_starts(bare: np.ndarray, well: float) -> list[tuple[int, int]]:
    """Starts of runs above .85 of the well that hold two samples above .95, one after the other."""
    found = []
    for row, line in enumerate(bare):
        column = 0
        while column < line.size:
            if line[column] < 0.85 * well:
                column += 1
                continue
            start = column
            while column < line.size and line[column] >= 0.85 * well:
                column += 1
            full = line[start:column] >= 0.95 * well
            if (full[1:] & full[:-1]).any():
                found.append((row, start))
    return found


@pytest.mark.parametrize("length", [13, 25])
def test_tails_follow_plateaus_and_end(silent: simulate.Truth, length: int) -> None:
    cool = replace(silent, dark_current=0 * silent.dark_current)
    added, bare = tail_of(cool, 1500.0, length)
    starts = plateau_starts(bare, CAMERA.noise.full_well_register)
    assert len(starts) > 50
    allowed = np.zeros(bare.size, dtype=bool)
    for row, start in starts:
        first = row * COLUMNS + start
        allowed[first + 2 : first + length] = True
    changed = added.ravel() > 1
    assert not (changed & ~allowed).any()
    assert (changed & allowed).sum() > 5 * len(starts)
    row, start = next(
        (r, s)
        for r, s in starts
        if bare[r, s + 6 : s + length].max() < 1000 and s + length < COLUMNS
    )
    fall = added[row, start + 6 : start + length]
    steps = np.exp(-1 / (0.2 * length))
    np.testing.assert_allclose(fall[1:] / fall[:-1], steps, rtol=1e-3)
    assert 0.1 * fall[0] < fall[0] < 0.1 * CAMERA.noise.full_well_register


def test_tails_run_on_into_the_next_row(silent: simulate.Truth) -> None:
    cool = replace(silent, dark_current=0 * silent.dark_current)
    added, bare = tail_of(cool, 1500.0, 60)
    starts = plateau_starts(bare, CAMERA.noise.full_well_register)
    late = [row for row, start in starts if start + 60 > COLUMNS + 5 and row + 1 < 106]
    assert late
    assert all(added[row + 1, :5].min() > 0 for row in late)


def test_no_tail_at_gain_one(truth: simulate.Truth) -> None:
    assert not tail_of(truth, 1.0, 60)[0].any()


def test_rays_of_level_2a_are_flagged_where_they_fill_the_register(
    truth: simulate.Truth,
) -> None:
    effects = replace(Effects.none(), rays=60.0)
    quiet = replace(truth, read_noise=0.0, fixed_pattern=0 * truth.fixed_pattern)
    frame = simulate.simulate_frame(quiet, 1500.0, 30.0, generator(12), effects=effects)
    well = CAMERA.noise.full_well_register
    expected = np.zeros((ROWS, COLUMNS), dtype=bool)
    for row, start in plateau_starts(frame.data[:-1], well):
        expected.reshape(-1)[row * COLUMNS + start : row * COLUMNS + start + 13] = True
        expected[max(row - 3, 0) : row + 4, start - 3 : start + 4] = True
    expected[-1] = False
    flagged = (frame.dq & DQ.COSMIC_RAY) != 0
    assert expected.sum() > 1000
    # A tail may lift a sample behind its plateau to the level of one.
    assert (flagged != expected).sum() < 0.01 * expected.sum()
    saturated = (frame.dq & DQ.SATURATED) != 0
    np.testing.assert_array_equal(saturated[:-1], frame.data[:-1] >= well)


@pytest.mark.parametrize(
    "wrong", [{"rays": -1.0}, {"rays": math.nan}, {"tails": 2.5}, {"spoiled_rows": math.inf}]
)
def test_impossible_effects_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Effects(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- files


PRIMARY = """SIMPLE BITPIX NAXIS EXTEND VISITID CDMSVERS FSWDVERS MOCK TELESCOP INSTRUME DETECTOR
    ORIGIN FILETIME DATAVERS PROGNUM EXECNUM CAMPAIGN SEGMENT OBSNUM VISNUM CPGSFILE AUXFILE
    VISTYPE TARGET RA DEC EQUINOX RAPM DECPM PSFREF OPGAIN PHTCNT FRAMET PA_V3 PA_APER RA_BORE
    DEC_BORE RA_APER DEC_APER SVB_1 SVB_2 SVB_3 ROLL PITCH YAW FILENAME OBSNAME WBJ_1 WBJ_2
    WBJ_3"""
IMAGE = """XTENSION BITPIX NAXIS NAXIS1 NAXIS2 PCOUNT GCOUNT BSCALE BZERO BUNIT ARRTYPE SCTSRT
    SCTEND FRMTYPE ISHOWFSC ISACQ SPBAL ISFLAT SATSPOTS STATUS HVCBIAS OPMODE EXPTIME EMGAIN_C
    UNITYG EMGAINA1 EMGAINA2 EMGAINA3 EMGAINA4 EMGAINA5 GAINTCAL EXCAMT LOCAMT EMGAIN_A KGAINPAR
    CYCLES LASTEXP BLNKTIME BLNKCYC EXPCYC OVEREXP NOVEREXP ISPC PROXET FCMLOOP FCMPOS FSMINNER
    FSMLOS FSMPRFL FSMRSTR FSMSG1 FSMSG2 FSMSG3 FSMX FSMY EACQ_ROW EACQ_COL SB_FP_DX SB_FP_DY
    SB_FS_DX SB_FS_DY DMZLOOP 1SVALID Z2AVG Z2RES Z2VAR Z3AVG Z3RES Z3VAR 10SVALID Z4AVG Z4RES
    Z5AVG Z5RES Z6AVG Z6RES Z7AVG Z7RES Z8AVG Z8RES Z9AVG Z9RES Z10AVG Z10RES Z11AVG Z11RES
    Z12AVG Z13AVG Z14AVG DATETIME FTIMEUTC MJDSRT MJDEND FILE0 DATALVL MISSING"""
WHEELS = {
    wheel + part
    for wheel in ("SPAM", "FPAM", "LSAM", "FSAM", "CFAM", "DPAM")
    for part in ("_H", "_V", "NAME", "SP_H", "SP_V")
}
OWN = {"CAMERA", "CHECKSUM", "DATASUM"}


def test_headers_are_those_of_level_1(campaign: simulate.CampaignFiles) -> None:
    for number, path in ((0, campaign.paths[0]), (8, campaign.paths[-1])):
        assert re.fullmatch(r"cgi_\d{19}_\d{8}t\d{7}_l1_\.fits", path.name)
        with fits.open(path) as hdus:
            assert len(hdus) == 2
            primary, image = hdus[0].header, hdus[1].header
            assert hdus[0].data is None
            assert hdus[1].data.dtype == np.uint16
        assert set(PRIMARY.split()) ^ set(primary) <= OWN
        assert (set(IMAGE.split()) | WHEELS) ^ set(image) <= OWN
        stack = campaign.campaign.stacks[0 if number == 0 else 2]
        expected = {
            "VISTYPE": "CGIVST_CAL_DRK", "FILENAME": path.name, "ARRTYPE": "SCI", "DATALVL": "L1",
            "BUNIT": "DN", "EMGAIN_C": stack.gain, "EXPTIME": stack.exposure_time, "ISACQ": 0,
            "KGAINPAR": 8.7, "CFAMNAME": "DARK", "DPAMNAME": "IMAGING", "LSAMNAME": "NFOV",
            "BITPIX": 16, "BZERO": 32768, "BSCALE": 1, "NAXIS1": COLUMNS, "NAXIS2": ROWS,
            "EACQ_ROW": 0.0, "EACQ_COL": 0.0, "ISPC": 0, "CAMERA": "excam-small",
        }  # fmt: skip
        cards = {**dict(image), **{key: primary[key] for key in ("VISTYPE", "FILENAME")}}
        assert {key: cards[key] for key in expected} == expected
        assert image["EMGAIN_A"] <= 0
        assert isinstance(image["SATSPOTS"], bool)
        assert isinstance(image["EACQ_ROW"], float)
        assert image["SCTSRT"] == primary["FILETIME"]
        seconds = np.datetime64(image["SCTEND"]) - np.datetime64(image["SCTSRT"])
        assert seconds / np.timedelta64(1, "s") == stack.exposure_time
        assert (image["MJDEND"] - image["MJDSRT"]) * 86400 == pytest.approx(
            stack.exposure_time, abs=1e-3
        )


def test_files_beside_the_frames_are_their_calibration(campaign: simulate.CampaignFiles) -> None:
    folder = campaign.plan_path.parent
    names = tomllib.loads((folder / "emdarks.toml").read_text())
    assert names == {
        "nonlinearity": "nonlinearity.fits",
        "kgain": "kgain.fits",
        "params": "params.fits",
    }
    with fits.open(folder / "nonlinearity.fits") as hdus:
        assert hdus[1].header["DATATYPE"] == "NonLinearityCalibration"
        assert hdus[1].data.dtype == ">f4"
        np.testing.assert_array_equal(hdus[1].data, invented_table().astype(np.float32))
    with fits.open(folder / "kgain.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "", "ERR", "PTC"]
        assert hdus[1].data.shape == hdus["ERR"].data.shape == (1,)
        assert hdus[1].data[0] == np.float32(8.7)
        assert 0 < hdus["ERR"].data[0] < 0.1
        header = hdus[1].header
        assert header["DATATYPE"] == "KGain"
        assert (header["RN"], header["BUNIT"]) == (
            campaign.truth.read_noise,
            "detected EM electron/DN",
        )
        assert 0 < header["RN_ERR"] < 0.1 * header["RN"]
    params = DetectorParams(folder / "params.fits").params
    noise = CAMERA.noise
    assert params["FWC_PP_E"] == noise.full_well_image
    assert params["FWC_EM_E"] == noise.full_well_register
    assert (params["KGAINPAR"], params["TELRSTRT"], params["TELREND"]) == (8.7, -1, None)


def test_frames_are_told_from_what_stands_beside_them(campaign: simulate.CampaignFiles) -> None:
    found = select_frames([str(campaign.plan_path.parent)])
    assert len(found) == len(campaign.paths) == 9


def test_undone_with_the_files_beside_it_a_frame_is_its_charge(
    campaign: simulate.CampaignFiles,
) -> None:
    folder = campaign.plan_path.parent
    table = file_of(folder, "nonlinearity.fits")
    k = float(file_of(folder, "kgain.fits")[0])
    effects = replace(campaign.campaign.effects, spoiled_rows=0.0, row_bias=0.0)
    for number, stack, frame, gain, time in ((0, 0, 0, 1.0, 2.0), (4, 1, 1, 200.0, 100.0)):
        raw = file_of(folder, campaign.paths[number].name)
        rng = simulate.frame_generator(7, stack, frame)
        exact = simulate.simulate_frame(campaign.truth, gain, time, rng, effects=effects)
        off = electrons(raw, gain, table, k) - exact.data
        below = (exact.dq & DQ.SATURATED) == 0
        below[-1] = False
        rng = simulate.frame_generator(7, stack, frame)
        known = simulate.simulate_raw_frame(
            campaign.truth, gain, time, rng, effects=campaign.campaign.effects
        )
        below[known.spoiled] = False
        # What is left is the error of the bias of each row; a few plateaus are found at one of
        # the two levels only, by less than a per cent of the full well, and have a tail there.
        assert abs(off[below].mean()) < 15
        bias_error = 1.2533 * campaign.truth.read_noise / math.sqrt(20)
        assert np.quantile(np.abs(off[below]), 0.68) < 1.3 * bias_error
        rows = np.median(off, axis=1)
        left = np.abs(off - rows[:, None])[below]
        assert np.quantile(left, 0.99) < k


def test_the_reading_side_makes_the_charge_of_it(campaign: simulate.CampaignFiles) -> None:
    """Bias with its repair, flags, factors and electrons as `emdarks.raw` makes them."""
    folder = campaign.plan_path.parent
    k = float(file_of(folder, "kgain.fits")[0])
    settings = RawCalibration(
        RowBias(columns=(80, 100)),
        k_gain=k,
        linearity=Linearity.from_table(file_of(folder, "nonlinearity.fits")),
    )
    path, gain, time = campaign.paths[4], 200.0, 100.0
    raw, plan = file_of(folder, path.name).astype(np.uint16), FramePlan(settings, gain)
    learnt = scan(stored_bytes(raw), raw.shape, plan)
    assert learnt is not None
    made = prepare(stored_bytes(raw), raw.shape, plan, learnt)
    assert made is not None
    rng, effects = simulate.frame_generator(7, 1, 1), campaign.campaign.effects
    known = simulate.simulate_raw_frame(campaign.truth, gain, time, rng, effects=effects)
    rng, same = simulate.frame_generator(7, 1, 1), replace(effects, row_bias=0.0)
    exact = simulate.simulate_frame(campaign.truth, gain, time, rng, effects=same)
    good = (made.dq == 0) & ~known.spoiled[:, None]
    good[-1] = False
    assert good.sum() > 10_000
    assert abs((made.data - exact.data)[good].mean()) < 15
    # Flags: what is full, and what follows it, but for a few samples at the edge of full.
    full = (known.dq & DQ.SATURATED) != 0
    assert ((made.dq & DQ.SATURATED) != 0)[:-1][full[:-1]].all()
    rays, found = ((dq[:-1] & DQ.COSMIC_RAY) != 0 for dq in (known.dq, made.dq))
    assert rays.sum() > 1000
    assert (rays & ~found).sum() < 0.02 * rays.sum()
    assert (found & ~rays).sum() < 0.05 * rays.sum()


def test_truth_lists_the_rays_of_every_frame(campaign: simulate.CampaignFiles) -> None:
    with fits.open(campaign.truth_path) as hdus:
        table = hdus["RAYS"].data.copy()
        units = hdus["RAYS"].columns.units
    assert units == ["", "pixel", "pixel", "electron"]
    number = 0
    for stack, plan in enumerate(campaign.campaign.stacks):
        for frame in range(plan.frames):
            rng = simulate.frame_generator(7, stack, frame)
            rays = simulate.rays_in_frame(
                CAMERA, plan.exposure_time, rng, campaign.campaign.effects
            )
            mine = table[table["FRAME"] == number]
            np.testing.assert_array_equal(mine["ROW"], rays.row)
            np.testing.assert_array_equal(mine["COLUMN"], rays.column)
            np.testing.assert_array_equal(mine["CHARGE"], rays.total(CAMERA))
            number += 1
    assert table["FRAME"].max() == number - 1 == 8
    again = simulate.load_truth(campaign.truth_path)
    np.testing.assert_array_equal(again.clock_induced_charge, campaign.truth.clock_induced_charge)


def test_frames_depend_on_nothing_but_their_key(
    campaign: simulate.CampaignFiles, tmp_path: Path
) -> None:
    other = simulate.simulate_campaign(
        tmp_path,
        CAMERA,
        seed=7,
        stacks=[(1, 2, 2), (200, 100, 3), (5000, 20, 1)],
        effects=campaign.campaign.effects,
        level="1",
        threads=3,
    )
    for i, j in ((0, 0), (1, 1), (3, 2), (4, 3), (5, 5)):
        ours, theirs = campaign.paths[i], other.paths[j]
        np.testing.assert_array_equal(
            file_of(ours.parent, ours.name), file_of(theirs.parent, theirs.name)
        )
    alone = simulate.simulate_raw_frame(
        campaign.truth,
        200.0,
        100.0,
        simulate.frame_generator(7, 1, 1),
        effects=campaign.campaign.effects,
    )
    np.testing.assert_array_equal(
        alone.data, file_of(campaign.paths[4].parent, campaign.paths[4].name)
    )
    assert (alone.data != file_of(campaign.paths[3].parent, campaign.paths[3].name)).mean() > 0.8


def test_description_makes_the_campaign_again(campaign: simulate.CampaignFiles) -> None:
    again = simulate.load_campaign(campaign.plan_path.parent)
    assert again == campaign.campaign
    assert again.level == "1"
    assert [facts.filename for facts in again.facts()] == [path.name for path in campaign.paths]


def test_levels_replace_each_other(tmp_path: Path) -> None:
    first = simulate.simulate_campaign(tmp_path, CAMERA, 1, stacks=[(1, 2)], level="1")
    assert len(list(tmp_path.iterdir())) == 1 + 2 + 4
    second = simulate.simulate_campaign(tmp_path, CAMERA, 1, stacks=[(1, 2)], overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {
        second.paths[0].name,
        "truth.fits",
        "campaign.toml",
    }
    again = simulate.simulate_campaign(
        tmp_path, CAMERA, 1, stacks=[(1, 2)], level="1", overwrite=True
    )
    assert again.paths == first.paths
    assert len(list(tmp_path.iterdir())) == 7


# ---------------------------------------------------------------- other cameras


@pytest.mark.parametrize(("name", "side"), [("sparc4", 13.0), ("ixon-897", 16.0)])
def test_raw_frames_of_other_cameras_get_rays(tmp_path: Path, name: str, side: float) -> None:
    camera = load_camera(name)
    rows = columns = 512 if name == "ixon-897" else 1024
    expected = simulate.expected_hits(camera, 30.0, 4.0)
    assert expected == pytest.approx(30 * 4 * rows * columns * (side * 1e-4) ** 2)
    frames = []
    for rays in (0.0, 30.0):
        effects = replace(Effects.none(), rays=rays)
        made = simulate.simulate_campaign(
            tmp_path / f"{rays}", camera, seed=3, stacks=[(2, 4, 1)], effects=effects, level="1"
        )
        with fits.open(made.paths[0]) as hdus:
            frames.append(hdus[0].data.squeeze().astype(int))
        assert not (tmp_path / f"{rays}" / "emdarks.toml").exists()
    with fits.open(made.truth_path) as hdus:
        table = hdus["RAYS"].data.copy()
    assert abs(len(table) - expected) < SIGMAS * math.sqrt(expected)
    gained = (frames[1] - frames[0]).sum() * camera.noise.k_gain / 2
    assert gained == pytest.approx(table["CHARGE"].sum(), rel=0.05)


def test_other_cameras_have_no_rays_unless_they_are_asked_for(tmp_path: Path) -> None:
    made = simulate.simulate_campaign(tmp_path, "ixon-897", stacks=[(2, 4, 1)], level="1")
    assert made.campaign.effects.rays == 0
    with fits.open(made.truth_path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "FPN", "CIC", "DC"]
