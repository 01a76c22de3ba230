"""Raw frames made ready: by files of the reference, by camera files, in every function."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from emdarks import simulate
from emdarks.accumulate import Checkpoint, Threads
from emdarks.cameras import Camera, explain, load_camera
from emdarks.cameras.schema import CosmicRays
from emdarks.checks import inspect_campaign
from emdarks.darks import build_trad_dark, calibrate_darks_lsq
from emdarks.data import Dataset, DetectorParams, Image
from emdarks.dq import DQ
from emdarks.errors import EmdarksWarning, InputError, MissingKeywordError
from emdarks.fits.pixels import Scratch
from emdarks.frames import PreparedImage, frame_inputs, prepare_frames, raw_frames_in
from emdarks.frames.prepared import level_2a_name
from emdarks.frames.prepared_files import save_prepared
from emdarks.frames.raw_settings import raw_settings
from emdarks.simulate import Effects
from emdarks.subtract import subtract_dark

DATA = Path(__file__).parents[1] / "data" / "raw"
FILES = DATA / "files"
REGIONS = {
    "SCI": {
        "frame_rows": 80,
        "frame_cols": 200,
        "image": {"rows": 48, "cols": 72, "r0c0": [13, 104]},
        "prescan": {"rows": 80, "cols": 104, "r0c0": [0, 0], "col_start": 60, "col_end": 100},
        "prescan_reliable": {"rows": 80, "cols": 40, "r0c0": [0, 60]},
        "parallel_overscan": {"rows": 19, "cols": 88, "r0c0": [61, 104]},
        "serial_overscan": {"rows": 80, "cols": 8, "r0c0": [0, 192]},
    }
}


@pytest.fixture(scope="module")
def golden_camera() -> Camera:
    return replace(load_camera("excam"), geometry=REGIONS)


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two level 1 frames as the reference wrote them: edges, and an over-saturated one."""
    folder = tmp_path_factory.mktemp("golden")
    for path in sorted(FILES.glob("*_l1_.fits.gz")):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return folder


def with_files(frames: Any, camera: Camera, **changes: Any) -> Any:
    """The frames with the calibrations that the reference used."""
    given = {
        "nonlinearity": FILES / "n_nln_cal.fits",
        "kgain": FILES / "k_krn_cal.fits",
        "detector_params": FILES / "DetectorParams.fits",
    }
    return prepare_frames(frames, camera=camera, **(given | changes))


def test_a_frame_of_the_reference(golden: Path, golden_camera: Camera) -> None:
    """Against the arrays of its steps: campaign.npz, frame 24."""
    path = next(golden.glob("*0024_l1_.fits"))
    frame = with_files(Dataset([path]), golden_camera)[0]
    with np.load(DATA / "campaign.npz") as stored:
        np.testing.assert_allclose(frame.data.sum(), stored["sum_electrons"][24], rtol=1e-12)
        np.testing.assert_allclose(frame.err.sum(), stored["sum_err"][24], rtol=1e-12)
        # The tail by the frame's own gain: the reference took that of the last frame, 2000.
        np.testing.assert_array_equal(frame.dq, stored["dq_mode0"][24])
        np.testing.assert_array_equal(
            frame.hdu_list["BIAS"].data, stored["bias"][24].astype(np.float32)
        )
        assert frame.ext_hdr["SAT_DN"] == stored["sat_dn"][24]
    header = frame.ext_hdr
    assert (header["DATALVL"], header["BUNIT"]) == ("L2a", "detected EM electron")
    assert header["KGAINPAR"] == 8.75
    assert header["RN"] > 0
    assert not {"LOCAMT", "CYCLES", "LASTEXP"} & set(header)
    history = "".join(header["HISTORY"])
    assert "Cosmic ray threshold of 11400.0 used." in history
    assert "Data corrected for non-linearity with n_nln_cal.fits" in history


def test_only_the_image(golden: Path, golden_camera: Camera) -> None:
    path = next(golden.glob("*0024_l1_.fits"))
    frame = with_files(Dataset([path]), golden_camera, image_only=True)[0]
    assert frame.shape == (48, 72)
    with np.load(DATA / "campaign.npz") as stored:
        np.testing.assert_array_equal(frame.dq, stored["dq_image_mode0"][24])
        np.testing.assert_array_equal(
            frame.hdu_list["BIAS"].data, stored["bias_image"][24].astype(np.float32)
        )


def test_linear_dn(golden: Path, golden_camera: Camera) -> None:
    path = next(golden.glob("*0024_l1_.fits"))
    electrons = with_files(Dataset([path]), golden_camera)[0]
    dn = with_files(Dataset([path]), golden_camera, in_dn=True)[0]
    assert (dn.ext_hdr["BUNIT"], dn.ext_hdr["KGAINPAR"]) == ("DN", 8.75)
    np.testing.assert_allclose(dn.data * 8.75, electrons.data, rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(dn.dq, electrons.dq)


# ---------------------------------------------------------------- a simulated campaign


SEED = 20261128
STACKS = ((1.0, 2.0), (1.0, 90.0), (40.0, 10.0), (300.0, 60.0), (2000.0, 80.0))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of five stacks of five raw frames, with cosmic rays."""
    folder = tmp_path_factory.mktemp("raw")
    simulate.simulate_campaign(folder, "excam-small", level="1", frames=5, seed=SEED, stacks=STACKS)
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*_l1_.fits"))


def ready(folder: Path, **changes: Any) -> Any:
    given = {
        "nonlinearity": folder / "nonlinearity.fits",
        "kgain": folder / "kgain.fits",
        "detector_params": folder / "params.fits",
    }
    return prepare_frames(Dataset(files(folder)), **(given | changes))


def maps(dataset: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return calibrate_darks_lsq(dataset, None, **options)


def planes(product: Any) -> list[bytes]:
    return [plane.tobytes() for plane in (product.data, product.err, product.dq)]


def test_the_same_bits_whoever_computes(raw: Path, tmp_path: Path) -> None:
    wanted = planes(maps(ready(raw), executor=Threads(1)))
    assert planes(maps(ready(raw), executor=Threads(2, batch_files=3))) == wanted
    kept = tmp_path / "kept"
    for _ in range(2):
        assert planes(maps(ready(raw), executor=Checkpoint(Threads(1), kept))) == wanted
    held = Dataset([Image(path) for path in files(raw)])
    in_memory = prepare_frames(
        held,
        nonlinearity=raw / "nonlinearity.fits",
        kgain=raw / "kgain.fits",
        detector_params=raw / "params.fits",
    )
    assert planes(maps(in_memory)) == wanted


def test_a_checkpoint_of_other_settings_is_not_used(raw: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first = planes(maps(ready(raw), executor=Checkpoint(Threads(1), kept)))
    other = ready(raw, nonlinearity="none", cosmic_rays="off")
    found = planes(maps(other, executor=Checkpoint(Threads(1), kept)))
    assert found != first
    assert found == planes(maps(other))


def test_prepared_files_give_the_same_maps(raw: Path, tmp_path: Path) -> None:
    """float32 files: values to 1e-6 of the errors, flags and numbers of frames exactly."""
    dataset = ready(raw, offset="none")
    made = save_prepared(dataset, tmp_path / "l2a", threads=2)
    assert [path.name for path in made.files] == [level_2a_name(p.name) for p in files(raw)]
    direct, by_files = maps(ready(raw)), maps(Dataset(made.files))
    np.testing.assert_array_equal(direct.dq, by_files.dq)
    for name in ("NSTACKS", "NBAD"):
        np.testing.assert_array_equal(direct.extra(name), by_files.extra(name))
    use = direct.err[0] > 0
    off = np.abs(direct.extra("SIGNED") - by_files.extra("SIGNED"))[use] / direct.err[0][use]
    # Samples of 1e5 electrons are rounded by 4e-3.
    assert off.max() < 1e-5
    assert np.median(off) < 1e-6
    np.testing.assert_allclose(direct.err, by_files.err, rtol=1e-5, atol=1e-9)
    first = Image(made.files[0])
    np.testing.assert_array_equal(first.data.astype(np.float32), dataset[0].data.astype("f4"))
    np.testing.assert_array_equal(first.dq, dataset[0].dq)
    assert first.hdu_names == ["BIAS"]
    assert first.ext_hdr["DATALVL"] == "L2a"


def test_prepared_files_are_known_to_have_been_searched(raw: Path, tmp_path: Path) -> None:
    """Low gains have no flag, since no ray fills the register there."""
    for search, asked in (("standard", False), ("off", True)):
        dataset = ready(raw, offset="none", cosmic_rays=search)
        made = save_prepared(dataset, tmp_path / search)
        for found in (inspect_campaign(dataset), inspect_campaign(Dataset(made.files))):
            texts = [finding.text for finding in found.findings]
            assert any("were cosmic rays looked for" in text for text in texts) == asked


def test_every_function_takes_them(raw: Path) -> None:
    few = ready(raw, offset="none")[:5]
    assert raw_frames_in(Dataset(files(raw)))
    assert not raw_frames_in(few)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        dark = build_trad_dark(few, None)
        less = subtract_dark(few, dark)
    assert less[0].shape == dark.shape
    assert abs(np.median(less[0].data)) < 50
    assert inspect_campaign(ready(raw)).frames == 25


def test_a_bias_offset_is_added(raw: Path) -> None:
    noise_maps = maps(ready(raw))
    noise_maps.ext_hdr["B_O"], noise_maps.ext_hdr["B_O_ERR"] = 2.0, 0.5
    with_offset = ready(raw, offset=noise_maps, nonlinearity="none")[0]
    without = ready(raw, offset="none", nonlinearity="none")[0]
    np.testing.assert_allclose(with_offset.data - without.data, 2.0 * with_offset.k_gain)
    assert (with_offset.err > without.err).all()


# ---------------------------------------------------------------- what is refused, or left out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nonlinearity": None}, "need a nonlinearity table: .*--nonlinearity FILE.* or 'none'"),
        ({"nonlinearity": "kgain.fits"}, "kgain.fits: is no nonlinearity table"),
        ({"kgain": "nonlinearity.fits"}, "nonlinearity.fits: is no k-gain file"),
        ({"kgain": 0}, "kgain is 0; it must be a positive number"),
        ({"offset": "params.fits"}, "params.fits: has no bias offset"),
        ({"detector_params": "kgain.fits"}, "kgain.fits"),
        ({"cosmic_rays": "all"}, "cosmic_rays is 'all'; it must be one of standard, dark, off"),
    ],
)
def test_what_is_missing_or_wrong(raw: Path, changes: dict[str, Any], words: str) -> None:
    named = {
        key: raw / value if isinstance(value, str) and value.endswith(".fits") else value
        for key, value in changes.items()
    }
    with pytest.raises(InputError, match=words):
        ready(raw, **named)


@pytest.mark.parametrize("function", [build_trad_dark, subtract_dark])
def test_darks_need_an_offset(raw: Path, function: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"needs the bias offset of noise maps: .*'none'"):
        function(ready(raw)[:5], None)


def test_raw_frames_as_they_are_are_refused(raw: Path) -> None:
    with pytest.raises(InputError, match=r"is a raw frame .* prepare the frames \(prepare_frames"):
        calibrate_darks_lsq(Dataset(files(raw)), None)


def test_levels_are_not_mixed(raw: Path, tmp_path: Path) -> None:
    made = save_prepared(ready(raw, offset="none")[:1], tmp_path)
    with pytest.raises(InputError, match="is no raw frame; give raw frames alone"):
        prepare_frames(Dataset([*files(raw)[:2], *made.files]), nonlinearity="none", kgain=8.7)


def test_raw_frames_are_never_written_over(raw: Path, tmp_path: Path) -> None:
    dataset = ready(raw, offset="none")[:1]
    with pytest.raises(InputError, match="exists"):
        save_prepared(dataset, save_prepared(dataset, tmp_path / "l2a").files[0].parent)
    for name in ("x.fits", "x_l2a.fits"):
        (tmp_path / name).write_bytes(files(raw)[0].read_bytes())
    both = Dataset([tmp_path / "x.fits", tmp_path / "x_l2a.fits"])
    both = prepare_frames(both, nonlinearity="none", kgain=8.7, offset="none")
    with pytest.raises(InputError, match=r"x_l2a\.fits: is a raw frame; write to another folder"):
        save_prepared(both, tmp_path, overwrite=True)


def test_a_k_gain_of_zero_is_none(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "x_l1_.fits"
    path.write_bytes(files(raw)[0].read_bytes())
    assert prepare_frames(Dataset([path]), nonlinearity="none")[0].k_gain == 8.7
    fits.setval(path, "KGAINPAR", value=0.0, ext=1)
    with pytest.raises(InputError, match=r"x_l1_.fits: its header has a k-gain of 0; give the"):
        prepare_frames(Dataset([path]), nonlinearity="none")


def test_setup_frames_and_bad_ones_are_left_out(raw: Path, tmp_path: Path) -> None:
    for path in files(raw)[:4]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    setup, bad, *rest = files(tmp_path)
    for path, key, value in ((setup, "ISACQ", 1), (bad, "IS_BAD", True)):
        with fits.open(path, mode="update") as file:
            file[1].header[key] = value
    with pytest.warns(EmdarksWarning, match=r"2 of 4 raw frames left out: .*setup \(ISACQ = 1\)"):
        found = prepare_frames(Dataset(files(tmp_path)), nonlinearity="none", kgain=8.7)
    assert [frame.filename for frame in found] == [path.name for path in rest]
    assert [left.name for left in found.left_out] == [setup.name, bad.name]
    assert found.unused == found.left_out


def test_products_list_the_frames_of_setup(raw: Path, tmp_path: Path) -> None:
    """Which no share of bad frames limits."""
    for path in files(raw)[:4]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    setup, *_ = files(tmp_path)
    fits.setval(setup, "ISACQ", value=1, ext=1)
    with pytest.warns(EmdarksWarning, match="1 of 4 raw frames left out"):
        found = prepare_frames(
            Dataset(files(tmp_path)), nonlinearity="none", kgain=8.7, offset="none"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        dark = build_trad_dark(found, None)
    assert dark.ext_hdr["NSKIPPED"] == 1
    (row,) = dark.hdu_list["SKIPPED"].data
    assert row["FILENAME"] == setup.name
    assert "setup" in row["REASON"]


def test_a_header_that_says_too_little(raw: Path, tmp_path: Path) -> None:
    for path in files(raw)[:3]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    bare = files(tmp_path)[1]
    with fits.open(bare, mode="update") as file:
        del file[1].header["EMGAIN_C"]
    given: dict[str, Any] = {"nonlinearity": "none", "kgain": 8.7}
    with pytest.raises(MissingKeywordError, match=f"{bare.name}: the header has no EMGAIN_C"):
        prepare_frames(Dataset(files(tmp_path)), **given)
    found = prepare_frames(Dataset(files(tmp_path)), **given, skip_bad_frames=True)
    assert len(found) == 2
    assert [bad.name for bad in found.skipped] == [bare.name]


def test_what_is_understood_of_a_raw_header(raw: Path) -> None:
    frame = Image(files(raw)[0])
    told = explain(load_camera("excam"), "frame", (frame.cards("ext"), frame.cards("pri")))
    bias = next(line for line in told if line.quantity == "bias")
    assert (bias.value, bias.source) == ("median of each row", "region prescan_reliable")


def test_over_saturated_frames_are_left_out_and_named(raw: Path, tmp_path: Path) -> None:
    for path in files(raw):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    full = files(tmp_path)[7]
    with fits.open(full, mode="update") as file:
        file[1].data[:60, 110:] = 16000
    given = {name: raw / f"{name}.fits" for name in ("nonlinearity", "kgain")}
    dataset = prepare_frames(Dataset(files(tmp_path)), **given, offset="none")
    with pytest.warns(EmdarksWarning) as told:
        product = calibrate_darks_lsq(dataset, None)
    assert any(full.name in str(w.message) and "over-saturated" in str(w.message) for w in told)
    assert product.ext_hdr["NSKIPPED"] == 1
    others = Dataset([path for path in files(tmp_path) if path != full])
    assert planes(product) == planes(maps(prepare_frames(others, **given)))
    with pytest.warns(EmdarksWarning, match="1 of 25 raw frames left out"):
        made = save_prepared(dataset, tmp_path / "l2a")
    assert (len(made.files), [bad.name for bad in made.left_out]) == (24, [full.name])


# ---------------------------------------------------------------- camera files


def camera(**tables: Any) -> Camera:
    """A camera of which every frame is raw, with wells of 50,000 electrons."""
    known = load_camera("ixon-897")
    noise = replace(known.noise, full_well_image=5e4, full_well_register=5e4)
    return replace(known, noise=noise, **tables)


def test_a_camera_file_asks_for_the_search(tmp_path: Path) -> None:
    plain = simulate.simulate_campaign(
        tmp_path, "ixon-897", frames=2, seed=1, effects=Effects(rays=500.0)
    )
    dataset = Dataset(plain.paths)
    off = frame_inputs(dataset, camera())[8].source
    on = frame_inputs(dataset, camera(cosmic_rays=CosmicRays("standard")))[8].source

    def read(source: Any) -> Any:
        rows, cols = source.shape
        with closing(source.open()) as reader:
            return [
                np.array(plane)
                for plane in reader.pixels(0, rows * cols, Scratch(1))
                if plane is not None
            ]

    data_off, *flags_off = read(off)
    data_on, *_, dq_on = read(on)
    np.testing.assert_allclose(data_on, data_off, atol=1e-9)
    assert not any((np.asarray(plane).astype(int) & DQ.COSMIC_RAY).any() for plane in flags_off)
    assert (dq_on & DQ.COSMIC_RAY).any()


def test_a_search_needs_full_wells() -> None:
    known = load_camera("ixon-897")
    blind = replace(known, cosmic_rays=CosmicRays("standard"))
    if np.isfinite(blind.noise.full_well_image):
        blind = replace(blind, noise=replace(blind.noise, full_well_image=np.inf))
    with pytest.raises(InputError, match="shares of the full well, which camera ixon-897 does not"):
        raw_settings(blind)


def test_detector_parameters_in_memory(raw: Path) -> None:
    params = DetectorParams({"FWC_PP_E": 50_000.0, "FWC_EM_E": 60_000.0})
    frame = ready(raw, detector_params=params)[-1]
    assert isinstance(frame, PreparedImage)
    assert (frame.ext_hdr["FWC_PP_E"], frame.ext_hdr["FWC_EM_E"]) == (50_000.0, 60_000.0)
    assert frame.plan.well == pytest.approx(60_000.0 / frame.k_gain)
