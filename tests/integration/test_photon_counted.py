"""build_photon_counted_dark: the reference's numbers, a slow twin, known truth, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from campaigns import COUNT_GAIN as GAIN
from campaigns import COUNT_NOISE as NOISE
from campaigns import RawCampaign, em_electrons
from campaigns import frames_to_count as frames
from emdarks.accumulate import Checkpoint, Threads
from emdarks.darks import build_photon_counted_dark
from emdarks.data import Dark, Dataset, DetectorParams
from emdarks.errors import EmdarksWarning, InputError, SeveralStacksError
from emdarks.frames import prepare_frames
from emdarks.photon_counts import CountLaw, third_order_rate
from emdarks.raw import (
    FramePlan,
    FullWell,
    Linearity,
    RawCalibration,
    RowBias,
    prepare,
    scan,
    stored_bytes,
)

DATA = Path(__file__).parents[1] / "data" / "raw"
pytestmark = pytest.mark.filterwarnings("ignore:no pixel of any frame is flagged")
#: No telemetry row.
NONE = DetectorParams({"TELRSTRT": None})


def regions(rows: int, cols: int) -> Any:
    """A frame that is all image."""
    return {
        "SCI": {
            "frame_rows": rows,
            "frame_cols": cols,
            "image": {"rows": rows, "cols": cols, "r0c0": [0, 0]},
        }
    }


def reference(dataset: Dataset, **options: Any) -> Dark:
    rows, cols = dataset[0].data.shape
    return build_photon_counted_dark(
        dataset, NONE, regions(rows, cols), True, estimator="reference", t_factor=5, **options
    )


def golden() -> dict[str, Any]:
    with np.load(DATA / "pc_dark.npz") as stored:
        return dict(stored)


def assert_is_golden(dark: Dark, name: str) -> None:
    stored = golden()
    np.testing.assert_allclose(dark.data, stored[name], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dark.err, stored[f"{name}_err"], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(dark.dq, stored[f"{name}_dq"])
    assert dark.data.ndim == 2


@pytest.mark.filterwarnings("ignore:the level drifts")
def test_special_cases_are_those_of_the_reference() -> None:
    stored = golden()
    data, dq = stored["made_e"], stored["made_dq"]
    err = stored["made_err"][:, None, None] * np.ones(data.shape)
    dark = reference(frames(data, err, dq))
    assert_is_golden(dark, "made_dark")
    assert (dark.dq == 256).any()
    assert dark.ext_hdr["PC_STAT"] == "photon-counted master dark"
    assert (dark.ext_hdr["PCTHRESH"], dark.ext_hdr["NUM_FR"]) == (550.0, 28)
    assert dark.ext_hdr["IS_SYNTH"] == 0


def prepared() -> tuple[Any, Any, Any]:
    """Electrons, errors and flags of the raw frames, image region."""
    stored = golden()
    with np.load(DATA / "campaign.npz") as campaign:
        k_gain, error = (float(x) for x in campaign["kgain"])
        offset = [float(x) for x in campaign["bias_offset"]]
        well = FullWell(*(float(x) for x in campaign["fwc"]))
        table = Linearity.from_table(campaign["table"])
    calibration = RawCalibration(
        RowBias(columns=(60, 100), offset=offset[0], offset_error=offset[1]),
        k_gain,
        error,
        well,
        linearity=table,
        area=(13, 61, 104, 176),
    )
    made = []
    for raw in stored["raw"]:
        plan, frame = FramePlan(calibration, GAIN), stored_bytes(raw)
        learnt = scan(frame, raw.shape, plan)
        assert learnt is not None
        made.append(prepare(frame, raw.shape, plan, learnt))
    planes = [np.array([getattr(each, name) for each in made]) for name in ("data", "err", "dq")]
    return planes[0], planes[1], planes[2]


def test_raw_frames_become_the_dark_of_the_reference() -> None:
    data, err, dq = prepared()
    np.testing.assert_array_equal(dq, golden()["dq"])
    assert_is_golden(reference(frames(data, err, dq)), "dark")


def drawn(rate: Any, count: int, seed: int = 5) -> Any:
    return em_electrons(rate, count, seed)


RATES = np.tile(np.geomspace(0.02, 0.3, 13), (11, 1))


def counted(dataset: Dataset, **options: Any) -> Dark:
    rows, cols = dataset[0].data.shape
    return build_photon_counted_dark(dataset, NONE, regions(rows, cols), True, **options)


def flagged(count: int) -> tuple[Any, Any, Any]:
    """Frames with errors, flags and samples that are no numbers."""
    rng = np.random.default_rng(8)
    data = drawn(RATES, count)
    dq = (rng.random(data.shape) < 0.1).astype(np.uint16) * 128
    dq[:, 3, 5], dq[:-1, 4, 4] = 4, 4
    data[rng.random(data.shape) < 0.02] = np.nan
    err = rng.uniform(20, 90, data.shape).astype(np.float32)
    return data, err, dq


@pytest.mark.parametrize("executor", [None, Threads(3, run_pixels=13, batch_files=7)])
def test_counts_are_those_of_a_slow_twin(executor: Any, tmp_path: Path) -> None:
    data, err, dq = flagged(150)
    dark = counted(frames(data, err, dq), executor=executor)
    good = np.isfinite(data) & (dq == 0)
    n, above = good.sum(axis=0), (good & (data > 550.0)).sum(axis=0)
    np.testing.assert_array_equal(dark.hdu_list["NGOOD"].data, n)
    np.testing.assert_array_equal(dark.hdu_list["NABOVE"].data, above)
    law = CountLaw(550.0, GAIN, NOISE, 604)
    for row, col in ((0, 2), (10, 12), (5, 7)):
        share = above[row, col] / n[row, col]
        assert float(law.share(dark.data[row, col])) == pytest.approx(share, rel=1e-9, abs=1e-12)
        assert dark.err[0, row, col] > 0
    assert (dark.data[3, 5], dark.dq[3, 5]) == (0, 5)
    assert np.isnan(dark.err[0, 3, 5])
    assert np.isfinite(dark.err[0, 4, 4])


def test_errors_move_samples_over_the_threshold() -> None:
    data, err, dq = flagged(140)
    good = np.isfinite(data) & (dq == 0)
    dark = reference(frames(data, err, dq), executor=Threads(2, run_pixels=26))
    plain = reference(frames(data, None, dq))
    np.testing.assert_array_equal(dark.data, plain.data)
    # Where the error moves samples over the threshold, the rate with them is higher by this.
    n, above = (dark.hdu_list[name].data.astype(float) for name in ("NGOOD", "NABOVE"))
    plus, minus = ((good & (data + s * err > 550.0)).sum(axis=0) for s in (1.0, -1.0))
    rate, high, low = (third_order_rate(x, n, 550.0, GAIN, 2) for x in (above, plus, minus))
    more = np.maximum(high - rate, rate - low)
    assert (more > 0).sum() > 20
    np.testing.assert_allclose(dark.err[0], plain.err[0] + more, rtol=1e-12)


def test_a_checkpoint_keeps_counts(tmp_path: Path) -> None:
    data, err, dq = flagged(9)
    folder = tmp_path / "frames"
    folder.mkdir()
    frames(data, err, dq).save(str(folder))
    files = Dataset(sorted(str(path) for path in folder.glob("*.fits")))
    for estimator in ("law", "reference"):
        first, again = (
            counted(files, estimator=estimator, executor=Checkpoint(Threads(), tmp_path / "kept"))
            for _ in range(2)
        )
        expected = counted(files, estimator=estimator)
        for dark in (first, again):
            np.testing.assert_array_equal(dark.data, expected.data)
            np.testing.assert_array_equal(dark.err, expected.err)


@pytest.mark.parametrize("rate", [0.02, 0.2])
@pytest.mark.parametrize("factor", [3.0, 5.0, 7.0])
def test_known_rates(factor: float, rate: float) -> None:
    rates = rate * np.random.default_rng(1).lognormal(0.0, 0.2, (60, 50))
    dark = counted(frames(drawn(rates, 400)), t_factor=factor)
    residual, err = dark.data - rates, dark.err[0]
    assert abs(residual.mean()) < 3 * residual.std() / np.sqrt(residual.size)
    assert dark.ext_hdr["NEMGAIN"] == 604
    assert 0.95 < (residual / err).std() < 1.05
    assert abs((np.abs(residual) < err).mean() - 0.683) < 0.03


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    dark = counted(frames(drawn(RATES, 40)), threshold=600.0)
    dark.save(str(tmp_path), "dark.fits")
    again = Dark(str(tmp_path / "dark.fits"))
    assert (again.photon_counted, again.threshold) == (True, 600.0)
    for mine, theirs in zip(dark.rate_interval(0.9), again.rate_interval(0.9), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    low, high = dark.rate_interval(0.9)
    assert ((low <= dark.data) & (dark.data < high)).all()
    assert "photon-counted" in repr(again)


def test_telemetry_rows_tell_nothing() -> None:
    data = drawn(RATES, 5)
    where = regions(11, 13)
    where["SCI"]["image"]["rows"] = 10
    dark = build_photon_counted_dark(frames(data), DetectorParams({}), where, True)
    low, high = dark.rate_interval()
    for plane in (dark.data, dark.err[0], low, high):
        assert np.isnan(plane[-1]).all()
        assert np.isfinite(plane[:-1]).all()
    assert (dark.dq[-1] == 1).all()
    cut = build_photon_counted_dark(frames(data), DetectorParams({}), where)
    np.testing.assert_array_equal(cut.data, dark.data[:10])
    assert cut.hdu_list["NGOOD"].data.shape == (10, 13)


def test_intervals_need_counts_and_a_confidence() -> None:
    dark = counted(frames(drawn(RATES, 3)))
    with pytest.raises(InputError, match="between 0 and 1"):
        dark.rate_interval(68)
    dark.hdu_list.clear()
    with pytest.raises(InputError, match="holds no counts"):
        dark.rate_interval()


def test_a_pixel_of_counts_only_tells_no_rate() -> None:
    data = np.random.default_rng(3).normal(0, 50, (5, 11, 13)).astype(np.float32)
    data[:, 2, 3] = 4000.0
    dark = counted(frames(data))
    assert np.isnan(dark.data[2, 3])
    assert dark.dq[2, 3] == 1
    assert (dark.data[0, 0] <= 0) & (dark.err[0, 0, 0] > 0)


def test_the_parameters_of_a_detector_hold_unless_others_are_given() -> None:
    params = DetectorParams({"TELRSTRT": None, "TFACTOR": 4.0, "PCECNTMX": 0.02})
    dataset, where = frames(drawn(RATES * 0.1, 3)), regions(11, 13)
    dark = build_photon_counted_dark(dataset, params, where, True)
    assert dark.threshold == 440.0
    dark = build_photon_counted_dark(dataset, params, where, True, t_factor=6.0, read_noise=100.0)
    assert dark.threshold == 600.0
    with pytest.raises(InputError, match=r"too many to count one by one; the most is 0\.02"):
        build_photon_counted_dark(frames(drawn(RATES, 3)), params, where, True)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"threshold": -1.0}, "threshold is -1.0; it must be a positive number"),
    ({"t_factor": 0}, "t_factor is 0"),
    ({"read_noise": float("nan")}, "read_noise is nan"),
    ({"max_rate": "many"}, "max_rate is 'many'"),
    ({"iterations": 0}, "iterations is 0"),
    ({"estimator": "best"}, "estimator is 'best'; it must be one of law, reference"),
    ({"threshold": 5000.0}, "the threshold of 5000 EM electrons is not below the EM gain 5000"),
    ({"max_rate": 0.01}, "too many to count one by one"),
    ({"threshold": 500.0, "t_factor": 5}, "threshold is 500.0 and t_factor 5; give one of them"),
]


@pytest.mark.parametrize(("options", "words"), REFUSED, ids=lambda x: str(x)[:30])
def test_refused_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        counted(frames(drawn(RATES, 2)), **options)


def test_refused_frames() -> None:
    data = drawn(RATES, 2)
    with pytest.raises(InputError, match="is the only frame"):
        counted(frames(data[:1]))
    with pytest.raises(InputError, match="already divided by the EM gain"):
        counted(frames(data, BUNIT="detected electron"))
    mixed = frames(data)
    mixed[1].ext_hdr["ISPC"] = 0
    with pytest.raises(InputError, match="is not for photon counting"):
        counted(mixed)
    other = frames(data)
    other[1].ext_hdr["EXPTIME"] = 20.0
    with pytest.raises(SeveralStacksError, match="a photon-counted dark needs frames of one"):
        counted(other)


def test_frames_that_were_not_taken_for_counting_are_named() -> None:
    with pytest.warns(EmdarksWarning, match="is not marked as a frame for photon counting"):
        counted(frames(drawn(RATES, 2), ISPC=0))


def test_a_threshold_in_the_noise_is_said() -> None:
    words = r"read noise alone lies above 100 EM electrons in 0\.\d+ of the samples"
    with pytest.warns(EmdarksWarning, match=words):
        counted(frames(drawn(RATES, 9)), threshold=100.0)


@pytest.mark.filterwarnings("ignore::emdarks.errors.EmdarksWarning")
def test_raw_frames_are_counted_while_they_are_read(tmp_path: Path) -> None:
    """With the errors of their bias and k-gain, as frames that were made ready before."""
    raw = RawCampaign.small(tmp_path, [(2000.0, 2.0, 6)])
    prepared = prepare_frames(
        Dataset(raw.paths),
        nonlinearity=tmp_path / "nonlinearity.fits",
        kgain=tmp_path / "kgain.fits",
        detector_params=tmp_path / "params.fits",
        offset="none",
    )
    whole = Dataset([frame.in_memory() for frame in prepared])
    for estimator in ("law", "reference"):
        streamed, made = (
            build_photon_counted_dark(each, None, full_frame=True, estimator=estimator)
            for each in (prepared, whole)
        )
        assert (streamed.hdu_list["NABOVE"].data[:100] > 0).any()
        for name in ("data", "err", "dq"):
            np.testing.assert_array_equal(getattr(streamed, name), getattr(made, name), name)


def test_darks_from_maps_are_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small version of the validation."""
    from validation import photon_counting as page

    for name, value in {
        "TIMES": (10.0,),
        "MAP_FACTORS": (3.0, 5.0),
        "MAP_FRAMES": 40,
        "DARK_FRAMES": 80,
    }.items():
        monkeypatch.setattr(page, name, value)
    for each in page.compared(3):
        assert abs(each.pulls.mean()) < 0.03
        assert 0.97 < each.pulls.std() < 1.03
        assert 30 < each.frames < 80


def with_prescan(rows: int, cols: int, prescan: int) -> Any:
    """A frame whose first columns are prescan."""
    mode = {
        "frame_rows": rows,
        "frame_cols": cols,
        "image": {"rows": rows, "cols": cols - prescan, "r0c0": [0, prescan]},
        "prescan": {"rows": rows, "cols": prescan, "r0c0": [0, 0]},
    }
    return {"SCI": mode}


def test_counts_of_the_prescan_are_in_the_header() -> None:
    rates = np.where(np.arange(17) < 6, 0.001, 0.1) * np.ones((11, 1))
    data = drawn(rates, 300)
    dark = build_photon_counted_dark(frames(data), NONE, with_prescan(11, 17, 6))
    assert dark.data.shape == (11, 11)
    above = float((data[:, :, :6] > 5 * NOISE).sum())
    total = data[:, :, :6].size
    assert above > 0
    assert dark.ext_hdr["PCPRESC"] == pytest.approx(above / total)
    assert dark.ext_hdr["PCPRESE"] == pytest.approx(np.sqrt(above) / total, rel=0.1)
    assert "PCPRESC" not in counted(frames(data)).ext_hdr


def page_of(folder: Path, dark: Dark) -> str:
    from emdarks.report import write_report

    dark.save(str(folder), "dark.fits")
    write_report(folder / "dark.fits", folder / "page.html")
    return " ".join((folder / "page.html").read_text(encoding="utf-8").split())


def test_report_of_a_photon_counted_dark(tmp_path: Path) -> None:
    dark = build_photon_counted_dark(
        frames(drawn(0.05 * np.ones((31, 27)), 20)), NONE, with_prescan(31, 27, 6)
    )
    page = page_of(tmp_path, dark)
    for words in (
        "Photon-counted master dark",
        "from counts above 550 EM electrons in 20 dark frames",
        "550 EM e⁻ (5 read noises)",
        "EM gain used</dt><dd>5000",
        "read noise used</dt><dd>110 EM e⁻",
        "counts in 20 frames",
        "68 % interval",
        "pixels without a count",
        "prescan counts a frame",
        "F of a pixel",
    ):
        assert words in page.replace("\N{NO-BREAK SPACE}", " "), words
    # A row for each threshold, the dark's own in bold.
    assert "<td><b>550</b></td>" in page
    assert "<td>330</td>" in page


def test_report_of_a_dark_that_tells_no_rate(tmp_path: Path) -> None:
    """Without any count there is no rate that thresholds could be judged by."""
    noise = NOISE * np.random.default_rng(1).standard_normal((9, 7, 13))
    dark = counted(frames(np.minimum(noise, 4 * NOISE).astype(np.float32)))
    page = page_of(tmp_path, dark)
    assert "Counts and thresholds" in page
    assert "read noise +1 %" not in page


def test_costs_of_a_threshold_are_those_of_the_law() -> None:
    from emdarks.checks.product_summary import DarkView
    from emdarks.report.counted_dark import CountedDark

    dark = counted(frames(drawn(0.05 * np.ones((31, 27)), 50)), threshold=500.0)
    found = CountedDark.of(DarkView(dark))
    assert found is not None
    assert found.rate == pytest.approx(0.05, rel=0.1)
    rows = list(found.choices())
    thresholds = [row.law.threshold for row in rows]
    assert thresholds == sorted(thresholds)
    assert 500.0 in thresholds
    for row in rows:
        true = CountLaw(row.law.threshold, GAIN, 1.01 * NOISE, row.law.stages)
        off = row.law.rate(true.share(row.rate)) / row.rate - 1
        assert row.moved("read_noise") == pytest.approx(float(off))
        assert row.noise > 1
    assert rows[0].moved("read_noise") > 10 * abs(rows[-1].moved("read_noise"))
    assert [row.law.lost() for row in rows] == sorted(row.law.lost() for row in rows)


def test_counted_darks_are_compared_with_their_own_kind(tmp_path: Path) -> None:
    from emdarks.darks import build_trad_dark
    from emdarks.report import compare_products

    dataset = frames(drawn(RATES, 40))
    one, other = counted(dataset), counted(frames(drawn(RATES, 40, seed=6)), t_factor=4.0)
    assert not compare_products(one, other).drifted
    mean = build_trad_dark(dataset, NONE, regions(11, 13), True)
    with pytest.raises(InputError, match=r"is a photon-counted dark and .* is not"):
        compare_products(mean, one)


def test_a_library_follows_numbers_of_counted_darks(tmp_path: Path) -> None:
    from emdarks.library import Library, find_trends

    library = Library.init(tmp_path / "library")
    for night in range(6):
        rates = (0.04 if night < 3 else 0.06) * np.ones((31, 27))
        dataset = frames(drawn(rates, 60, seed=night))
        for i, frame in enumerate(dataset):
            frame.ext_hdr["MJDSRT"] = 61406.0 + night + i / 1440
        dark = build_photon_counted_dark(dataset, NONE, with_prescan(31, 27, 6))
        dark.save(str(tmp_path), f"dark_{night}.fits")
        library.add(tmp_path / f"dark_{night}.fits", camera="excam")
    trend = find_trends(library)
    assert not trend.left_out
    (group,) = trend.groups
    assert "above 550 EM e⁻" in group.title
    series = {each.name: each for each in group.series}
    assert list(series) == [
        "mean",
        "prescan_counts",
        "false_counts",
        "read_noise_used",
        "hot_pixels",
    ]
    rate = series["mean"]
    assert rate.alarm
    assert rate.nights()[0] == "2027-01-04"
    pulls = [(p.value - (0.04 if i < 3 else 0.06)) / p.error for i, p in enumerate(rate.points)]
    assert np.abs(pulls).max() < 4
    assert series["prescan_counts"].alarm  # the whole frame was made brighter
    assert series["false_counts"].change is None
    assert group.as_dict()["threshold"] == 550.0
