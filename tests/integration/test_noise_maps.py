"""calibrate_darks_lsq: what the golden campaign does not exercise, by formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oracles
from campaigns import COLS, REGIONS, ROWS, STACKS, Campaign, frame_hdus, params, quirky_campaign
from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset, DetectorNoiseMaps, Image
from emdarks.errors import EmdarksWarning
from emdarks.simulate import make_truth, simulate_stack

SIX_STACKS = [
    (1.0, 2.0),
    (1.0, 100.0),
    (50.0, 10.0),
    (1000.0, 60.0),
    (5000.0, 2.0),
    (5000.0, 100.0),
]
IMAGING = np.zeros((ROWS, COLS), bool)
IMAGING[0:20, 16:34] = True
GAINS = np.array([1.0, 40.0, 300.0, 2000.0, 1.0])
TIMES = np.array([2.0, 11.0, 50.0, 80.0, 90.0])


def fit(dataset: Any, weighting: bool = True, **options: Any) -> DetectorNoiseMaps:
    """Fit with the small geometry, last row telemetry."""
    return calibrate_darks_lsq(
        dataset, params(), weighting, REGIONS, estimator="reference", **options
    )


def exact_frame(gain: float, time: float, scatter: Any = 0.0, **options: Any) -> Image:
    """A frame of the model, noiseless but for what is given."""
    F = np.linspace(-20, 30, ROWS * COLS).reshape(ROWS, COLS)
    C = np.full((ROWS, COLS), 0.02)
    D = np.where(IMAGING, 1e-3, 0.0)
    data = F + gain * (C + time * D) + scatter
    dq = options.pop("dq", np.zeros((ROWS, COLS), np.uint16))
    hdus = frame_hdus(data, gain=gain, time=time, **options)
    return Image(data, hdus[0].header, hdus[1].header, dq=dq)


def exact_dataset(noise: float = 0.0, **options: Any) -> Dataset:
    rng = np.random.default_rng(4)
    dq = np.zeros((ROWS, COLS), np.uint16)
    dq[1, 20] = 128
    return Dataset(
        [
            exact_frame(g, t, noise * rng.normal(size=(ROWS, COLS)), dq=dq * (i == 0), **options)
            for g, t in zip(GAINS, TIMES, strict=True)
            for i in range(3)
        ]
    )


@pytest.fixture(scope="module")
def stack_arrays(quirky: Campaign) -> dict[str, Any]:
    """Moments of the campaign by the slow twin: [stack, row, column]."""
    found: dict[str, list[Any]] = {name: [] for name in ("n", "mean", "m2", "err2", "flags")}
    for gain, time in zip(GAINS, TIMES, strict=True):
        frames = quirky.stack(gain, time).memory()
        data = np.array([frame.data.ravel() for frame in frames])
        err = np.array([frame.err[0].ravel() for frame in frames])
        dq = np.array([frame.dq.ravel() for frame in frames])
        for name, value in oracles.moments(data, err, dq, (1 << 64) - 1).items():
            found[name].append(value.reshape(ROWS, COLS))
    return {name: np.array(values) for name, values in found.items()}


def stand_ins(s: dict[str, Any]) -> tuple[Any, Any]:
    single, floor = [], []
    for n, m2, err2 in zip(s["n"], s["m2"], s["err2"], strict=True):
        n, m2, err2 = n[:-1].ravel(), m2[:-1].ravel(), err2[:-1].ravel()
        single.append(m2[np.argmax(n == n.max())] / n.max())
        ok = n > 0
        var = err2[ok] / n[ok] + np.where(n[ok] == 1, single[-1], m2[ok] / n[ok] ** 2)
        floor.append(var[var > 0].min())
    return np.array(single), np.array(floor)


@pytest.mark.parametrize("weighting", [True, False])
def test_every_pixel_equals_the_slow_twin(
    quirky: Campaign, stack_arrays: dict[str, Any], weighting: bool
) -> None:
    maps = fit(quirky.files(), weighting)
    s = stack_arrays
    single, floor = stand_ins(s)
    signed, corr, chi2, rsq = (
        np.asarray(maps.extra(name), float) for name in ("SIGNED", "CORR", "CHI2", "RSQ")
    )
    for r, c in np.ndindex(ROWS - 1, COLS):
        slow = oracles.reference_fit(
            GAINS,
            TIMES,
            *(s[k][:, r, c] for k in ("n", "mean", "m2", "err2")),
            single,
            floor,
            weighted=weighting,
        )
        assert maps.extra("NSTACKS")[r, c] == slow["used"]
        planes = slice(0, 3 if IMAGING[r, c] else 2)
        np.testing.assert_allclose(maps.err[0][planes, r, c], slow["errors"][planes], rtol=1e-7)
        if np.isnan(slow["errors"][0]):
            assert (signed[:, r, c] == 0).all()
            empty = s["n"][:, r, c] == 0
            flags = np.bitwise_or.reduce(s["flags"][empty, r, c])
            assert (maps.dq[:, r, c] == flags).all()
            continue
        assert (maps.dq[:, r, c] == 0).all()
        np.testing.assert_allclose(
            signed[planes, r, c], slow["values"][planes], rtol=1e-7, atol=1e-12
        )
        if IMAGING[r, c]:
            np.testing.assert_allclose(corr[:, r, c], slow["corr"], rtol=1e-7)
        else:
            assert (corr[1:, r, c] == 0).all()
            assert (signed[2, r, c], maps.err[0, 2, r, c]) == (0, 0)
        assert chi2[r, c] == pytest.approx(slow["chi2"], rel=1e-7)
        assert rsq[r, c] == pytest.approx(slow["rsq"], rel=1e-6)


def test_published_planes_are_clipped_and_the_fit_is_kept(quirky: Campaign) -> None:
    maps = fit(quirky.files())
    signed = maps.extra("SIGNED")
    known = ~np.isnan(signed)
    assert (signed[0][known[0]] < 0).any()
    assert (signed[1][known[1]] < 0).any()
    np.testing.assert_array_equal(maps.FPN_map, signed[0])
    np.testing.assert_array_equal(maps.CIC_map[:-1], np.maximum(signed[1][:-1], 0))
    np.testing.assert_array_equal(maps.DC_map[:-1], np.maximum(signed[2][:-1], 0))
    every = fit(quirky.files(), nonnegative=("FPN", "CIC", "DC"))
    np.testing.assert_array_equal(every.FPN_map[:-1], np.maximum(signed[0][:-1], 0))
    assert every.ext_hdr["NONNEG"] == "FPN,CIC,DC"
    none = fit(quirky.files(), nonnegative=())
    np.testing.assert_array_equal(none.data[:, :-1], signed[:, :-1])


def test_telemetry_rows_are_nan_with_flag_1(quirky: Campaign) -> None:
    maps = fit(quirky.files())
    assert np.isnan(maps.data[:, -1]).all()
    assert np.isnan(maps.err[:, :, -1]).all()
    assert (maps.dq[:, -1] == 1).all()
    assert not np.isnan(maps.data[:, :-1]).any()


def test_no_telemetry_rows(quirky: Campaign) -> None:
    maps = calibrate_darks_lsq(quirky.files(), params(None), True, REGIONS)
    assert not np.isnan(maps.data).any()


def test_unreliable_pixels_are_counted(quirky: Campaign, stack_arrays: dict[str, Any]) -> None:
    frames = np.array(
        [next(n for g, t, n in STACKS if (g, t) == pair) for pair in zip(GAINS, TIMES, strict=True)]
    )
    expected = (stack_arrays["n"] < frames[:, None, None] / 2).sum(axis=0)
    np.testing.assert_array_equal(fit(quirky.files()).extra("NBAD"), expected)
    assert expected.max() == 5


def test_bias_offset_with_bounds(quirky: Campaign, stack_arrays: dict[str, Any]) -> None:
    maps = fit(quirky.files())
    single, floor = stand_ins(stack_arrays)
    s = stack_arrays
    residuals = []
    for r, c in np.ndindex(ROWS - 1, 16):
        slow = oracles.reference_fit(
            GAINS, TIMES, *(s[k][:, r, c] for k in ("n", "mean", "m2", "err2")), single, floor, True
        )
        if np.isnan(slow["errors"][0]):
            continue
        X = np.column_stack([np.ones(5), GAINS, GAINS * TIMES])
        base = np.where(s["n"][:, r, c] > 0, s["mean"][:, r, c], np.nan)
        residuals.append([base - X @ (slow["values"] + k * slow["errors"]) for k in (0, -1, 1)])
    medians = np.nanmedian(np.array(residuals), axis=0) / 8.7
    value, upper, lower = medians.mean(axis=1)
    assert maps.bias_offset == pytest.approx(value, rel=1e-6)
    assert maps.ext_hdr["B_O_UP"] == pytest.approx(upper, rel=1e-6)
    assert maps.ext_hdr["B_O_LO"] == pytest.approx(lower, rel=1e-6)
    assert maps.bias_offset_err == pytest.approx(max(upper - value, value - lower), rel=1e-6)
    assert maps.ext_hdr["B_O_UNIT"] == "DN"


def test_image_means_are_taken_before_clipping(quirky: Campaign) -> None:
    maps = fit(quirky.files())
    signed = maps.extra("SIGNED")
    use = IMAGING & ~np.isnan(maps.err[0, 0])
    for plane, key in enumerate(("FPN_IMM", "CIC_IMM", "DC_IMM")):
        assert maps.ext_hdr[key] == pytest.approx(signed[plane][use].mean(), rel=1e-12)
    assert maps.ext_hdr["CIC_IMM"] < maps.CIC_map[use].mean()
    assert maps.ext_hdr["FPN_IMME"] == pytest.approx(np.median(signed[0][use]), rel=1e-12)


def test_variances_and_read_noise(quirky: Campaign, stack_arrays: dict[str, Any]) -> None:
    maps = fit(quirky.files())
    signed, s = maps.extra("SIGNED"), stack_arrays
    use = IMAGING & ~np.isnan(maps.err[0, 0])
    X = np.column_stack([np.ones(5), GAINS, GAINS * TIMES])
    norm = np.linalg.norm(X, axis=0)
    Q = np.diag(np.linalg.inv((X / norm).T @ (X / norm))) / norm**2
    usable = s["n"][:, use] > 0
    fitted = np.einsum("ik,kp->ip", X, signed[:, use])
    squares = np.where(usable, (s["mean"][:, use] - fitted) ** 2, 0).sum(axis=0)
    s2 = (squares / (usable.sum(axis=0) - 3)).mean()
    for k, key in enumerate(("FPN_VAR", "CIC_VAR", "DC_VAR")):
        assert maps.ext_hdr[key] == pytest.approx(s2 * Q[k], rel=1e-6)
    # Smallest g t: gain 1, 2 s. No larger gain has that time: the second smallest is gain 1, 90 s.
    low, other = s["mean"][0][use], s["mean"][4][use]
    F, C, D = signed[:, use]
    n = s["n"][0].mean()
    rho = np.corrcoef(low, other)[0, 1]
    variance = n * low.var() - np.var(2.0 * D + C) - ((n - 1) * rho + 1) * F.var()
    assert variance > 0
    assert maps.ext_hdr["RN_EST"] == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_read_noise_that_cannot_be_told_warns() -> None:
    # The stack of lowest g t shows less of the pattern than the fit finds in all.
    dataset = exact_dataset(noise=1.0)
    for frame in dataset:
        if frame.ext_hdr["EXPTIME"] == 2.0:
            frame.data = 0.2 * frame.data
    with pytest.warns(EmdarksWarning, match="read noise cannot be estimated"):
        maps = fit(dataset, weighting=False)
    assert maps.ext_hdr["RN_EST"] == -999.0


@pytest.mark.parametrize("weighting", [True, False])
def test_a_noiseless_model_is_recovered(weighting: bool) -> None:
    maps = fit(exact_dataset(noise=1e-6), weighting)
    F = np.linspace(-20, 30, ROWS * COLS).reshape(ROWS, COLS)
    np.testing.assert_allclose(maps.FPN_map[:-1], F[:-1], atol=1e-4)
    np.testing.assert_allclose(maps.CIC_map[:-1], 0.02, atol=1e-5)
    np.testing.assert_allclose(maps.DC_map[:-1], np.where(IMAGING, 1e-3, 0)[:-1], atol=1e-6)


def test_no_scatter_at_all_gives_no_infinite_weight() -> None:
    with pytest.warns(EmdarksWarning, match="15 frames have the same pixels as another"):
        maps = fit(exact_dataset())
    assert np.isfinite(maps.data[:, :-1]).all()
    np.testing.assert_allclose(maps.CIC_map[:-1], 0.02, atol=1e-9)


# Gains, units, headers


def dataset_with(**cards: Any) -> Dataset:
    dataset = exact_dataset(noise=1.0)
    for frame in dataset:
        for key, value in cards.items():
            frame.ext_hdr[key] = value(frame.ext_hdr["EMGAIN_C"]) if callable(value) else value
    return dataset


def gains_in(maps: DetectorNoiseMaps) -> list[float]:
    return sorted(float(g) for g in maps.hdu_list["STACKS"].data["EMGAIN"])


def test_measured_gain_before_applied_before_commanded() -> None:
    applied = fit(dataset_with(EMGAIN_A=lambda g: 1.01 * g))
    assert gains_in(applied) == pytest.approx(sorted(1.01 * GAINS))
    measured = fit(dataset_with(EMGAIN_A=lambda g: 1.01 * g, EMGAIN_M=lambda g: 1.02 * g))
    assert gains_in(measured) == pytest.approx(sorted(1.02 * GAINS))
    assert measured.ext_hdr["EMGAIN_M"] == -999.0
    unknown = fit(dataset_with(EMGAIN_A=-1.0, EMGAIN_M=-999.0))
    assert gains_in(unknown) == sorted(GAINS)


def test_the_mean_gain_of_a_stack_is_used_and_a_spread_warns() -> None:
    dataset = dataset_with()
    for i, frame in enumerate(dataset):
        frame.ext_hdr["EMGAIN_M"] = frame.ext_hdr["EMGAIN_C"] * (1 + 0.01 * (i % 3))
    with pytest.warns(EmdarksWarning, match=r"the gains of its frames spread by 1\.98%") as caught:
        maps = fit(dataset)
    spreads = [str(w.message) for w in caught if "gains" in str(w.message)]
    assert len(set(spreads)) == len(spreads) == len(GAINS)  # a stack, a line
    assert gains_in(maps) == pytest.approx(sorted(1.01 * GAINS))


def test_dn_and_electrons_give_the_same_maps(tmp_path: Path) -> None:
    electrons = exact_dataset(noise=5.0)
    dn = Dataset([frame.copy() for frame in electrons])
    for frame in dn:
        frame.data = frame.data / 8.7
        frame.err = frame.err / 8.7
        frame.ext_hdr["BUNIT"] = "DN"
    expected, converted = fit(electrons), fit(dn)
    np.testing.assert_allclose(converted.data[:, :-1], expected.data[:, :-1], rtol=1e-9, atol=1e-12)
    other = fit(dn, kgain=17.4)
    np.testing.assert_allclose(other.FPN_map[:-1], 2 * expected.FPN_map[:-1], rtol=1e-9)
    assert (other.hdu_list["STACKS"].data["KGAINPAR"] == 17.4).all()


@pytest.mark.parametrize("unit", [None, "furlong"])
def test_an_unknown_unit_is_taken_as_em_electrons_with_one_warning(unit: str | None) -> None:
    dataset = exact_dataset(noise=5.0)
    expected = fit(dataset)
    for frame in dataset:
        if unit is None:
            del frame.ext_hdr["BUNIT"]
        else:
            frame.ext_hdr["BUNIT"] = unit
    with pytest.warns(EmdarksWarning, match="noise maps take them as EM electrons") as caught:
        maps = fit(dataset)
    assert sum("take them as" in str(w.message) for w in caught) == 1
    np.testing.assert_array_equal(maps.data, expected.data)


def test_times_that_differ_by_rounding_are_one_stack() -> None:
    dataset = exact_dataset(noise=1.0)
    for frame in list(dataset)[::2]:
        frame.ext_hdr["EXPTIME"] *= 1 + 4e-7
    assert len(fit(dataset).hdu_list["STACKS"].data) == 5


def test_warnings_of_temperature_and_of_missing_flags() -> None:
    dataset = dataset_with()
    dataset[0].ext_hdr["EXCAMT"] = -86.5
    with pytest.warns(EmdarksWarning, match="temperature spreads by 1.50"):
        fit(dataset)
    dataset = exact_dataset(noise=1.0)
    for frame in dataset:
        frame.dq = np.zeros_like(frame.dq)
    with pytest.warns(EmdarksWarning, match="no pixel of any frame is flagged"):
        fit(dataset)


def test_mask_bits_choose_which_flags_mask(quirky: Campaign) -> None:
    """With only bit 4 masking, cosmic rays count as good samples."""
    maps = fit(quirky.files(), mask_bits=4)
    assert maps.extra("NSTACKS")[6, 22] == 5  # flag 8 in three stacks
    assert maps.extra("NSTACKS")[3, 20] == 0
    assert fit(quirky.files()).extra("NSTACKS")[6, 22] == 2


def test_headers_of_many_frames_become_one(quirky: Campaign) -> None:
    maps = fit(quirky.files())
    frames = [frame.ext_hdr for frame in quirky.files()]
    ext = maps.ext_hdr
    assert ext["MJDSRT"] == min(header["MJDSRT"] for header in frames)
    assert ext["EXCAMT"] == pytest.approx(np.mean([header["EXCAMT"] for header in frames]))
    assert maps.pri_hdr["VISTYPE"] == "-999"
    assert maps.pri_hdr["OBSNUM"] == "001"
    assert ext["OVEREXP"] == 0
    assert (ext["DATATYPE"], ext["DATALVL"]) == ("DetectorNoiseMaps", "CAL")
    assert ext["BUNIT"] == maps.err_hdr["BUNIT"] == "detected electron"
    assert [ext[f"FILE{i}"] for i in range(len(frames))] == [Path(p).name for p in quirky.paths]
    assert ext["DRPNFILE"] == len(frames)
    assert maps.filename == Path(quirky.paths[-1]).name.replace("_l2a.fits", "_dnm_cal.fits")


def test_any_frame_overexposed_is_remembered() -> None:
    dataset = exact_dataset(noise=1.0)
    dataset[2].ext_hdr["OVEREXP"] = 1
    assert fit(dataset).ext_hdr["OVEREXP"] == 1


def test_the_inputs_table_names_every_file(quirky: Campaign) -> None:
    table = fit(quirky.files()).hdu_list["INPUTS"].data
    assert list(table["FILENAME"]) == [Path(path).name for path in quirky.paths]
    assert list(table["SIZE"]) == [Path(path).stat().st_size for path in quirky.paths]
    stacks = quirky.files()
    gains = np.array([frame.ext_hdr["EMGAIN_C"] for frame in stacks])
    rows = fit(stacks).hdu_list["STACKS"].data
    np.testing.assert_array_equal(rows["EMGAIN_C"][table["STACK"]], gains)


def test_a_stack_with_two_k_gains_keeps_them_apart(tmp_path: Path) -> None:
    campaign = quirky_campaign(tmp_path)
    maps = fit(campaign.files())
    history = " ".join(str(line) for line in maps.ext_hdr["HISTORY"])
    assert "[2.0, 1.0, " in history.replace("\n", "")


# Systematics


def test_derivatives_to_the_gain_are_those_of_a_fit_with_changed_gains() -> None:
    dataset = exact_dataset(noise=20.0)
    base = fit(dataset, weighting=False)
    table = base.hdu_list["STACKS"].data
    use = IMAGING & ~np.isnan(base.err[0, 0])
    step = 1e-5
    for i, gain in enumerate(table["EMGAIN_C"]):
        moved = Dataset([frame.copy() for frame in dataset])
        for frame in moved:
            same = frame.ext_hdr["EMGAIN_C"] == gain
            if same and frame.ext_hdr["EXPTIME"] == table["EXPTIME"][i]:
                frame.ext_hdr["EMGAIN_M"] = gain * (1 + step)
        changed = fit(moved, weighting=False)
        difference = changed.extra("SIGNED") - base.extra("SIGNED")
        for plane, name in enumerate(("DFPN_DG", "DCIC_DG", "DDC_DG")):
            expected = difference[plane][use].mean() / step
            # Means of noisy residuals add a little to the derivative of the model.
            size = np.abs(table[name]).max()
            assert table[name][i] == pytest.approx(expected, abs=0.05 * size)


def test_derivatives_of_a_weighted_fit_with_hot_pixels() -> None:
    """Hot pixels dominate the mean charge, and have weights of their own."""
    truth = make_truth("excam-sample", 5)
    rng = np.random.default_rng(6)
    images = []
    for gain, time in SIX_STACKS:
        data, dq = simulate_stack(truth, gain, time, 12, rng)
        for pixels, flags in zip(data, dq, strict=True):
            hdus = frame_hdus(pixels, gain=gain, time=time, cards={"CAMERA": "excam-sample"})
            images.append(Image(pixels, hdus[0].header, hdus[1].header, dq=flags))
    base = calibrate_darks_lsq(Dataset(images), None)
    table = base.hdu_list["STACKS"].data
    step = 1e-3
    for gain, time in ((1000.0, 60.0), (5000.0, 100.0)):
        moved = [image.copy(copy_data=False) for image in images]
        for image in moved:
            if (image.ext_hdr["EMGAIN_C"], image.ext_hdr["EXPTIME"]) == (gain, time):
                image.ext_hdr["EMGAIN_M"] = gain * (1 + step)
        changed = calibrate_darks_lsq(Dataset(moved), None)
        row = table[(table["EMGAIN_C"] == gain) & (table["EXPTIME"] == time)]
        for name, key in (("DFPN_DG", "FPN_IMM"), ("DCIC_DG", "CIC_IMM"), ("DDC_DG", "DC_IMM")):
            expected = (changed.ext_hdr[key] - base.ext_hdr[key]) / step
            # Pools and weights move a little, too.
            assert row[name][0] == pytest.approx(
                expected, rel=0.15, abs=0.02 * np.abs(table[name]).max()
            )


def test_all_gains_together_move_charge_only(quirky: Campaign) -> None:
    maps = fit(quirky.files())
    table = maps.hdu_list["STACKS"].data
    means = [maps.ext_hdr[key] for key in ("FPN_IMM", "CIC_IMM", "DC_IMM")]
    assert table["DFPN_DG"].sum() == pytest.approx(0, abs=1e-9)
    assert table["DCIC_DG"].sum() == pytest.approx(-means[1], rel=1e-9)
    assert table["DDC_DG"].sum() == pytest.approx(-means[2], rel=1e-9)
    moved = maps.systematics(300.0, 50.0)
    assert moved["stacks"].shape == (5,)
    dark = means[0] / 300 + means[1] + 50 * means[2]
    assert moved["k_gain"] == pytest.approx(dark)
    assert moved["all_gains"] == pytest.approx(-dark)


def test_a_stated_gain_error_adds_to_the_errors(quirky: Campaign) -> None:
    plain = calibrate_darks_lsq(quirky.files(), params(), True, REGIONS)
    wider = calibrate_darks_lsq(quirky.files(), params(), True, REGIONS, gain_error=0.05)
    known = ~np.isnan(plain.err[0, 0])
    np.testing.assert_array_equal(plain.data, wider.data)
    assert (wider.err[0, 1][known] >= plain.err[0, 1][known]).all()
    assert (wider.err[0, 1][known] > plain.err[0, 1][known]).any()
    assert wider.ext_hdr["GAINERR"] == 0.05


def test_flags_of_64_bits_are_flags(quirky: Campaign) -> None:
    frames = quirky.memory()
    for frame in frames:
        frame.dq = frame.dq.astype(np.int64)
    wide = calibrate_darks_lsq(frames, params(), True, REGIONS)
    plain = calibrate_darks_lsq(quirky.files(), params(), True, REGIONS)
    np.testing.assert_array_equal(wide.data, plain.data)
    np.testing.assert_array_equal(wide.dq, plain.dq)
