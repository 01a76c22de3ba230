"""What it writes, used by our commands: frames of its mocks, its noise maps and darks."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beside import REGIONS, emdarks
from corgidrp import darks as its_darks
from corgidrp import data, l1_to_l2a, l2a_to_l2b, mocks
from corgidrp.detector import detector_areas

from commands import run_command
from emdarks.data import Dark, Dataset, DetectorNoiseMaps, Image
from emdarks.frames import prepare_frames

#: Gain, exposure time and number of frames of its stacks.
STACKS = ((1.0, 2.0, 6), (1.0, 100.0, 5), (20.0, 100.0, 6), (300.0, 2.0, 7), (300.0, 100.0, 5))
C, D, NOISE, K = 0.02, 1e-3, 100.0, 7.0


@dataclass(frozen=True)
class Its:
    """Files that its classes wrote, of frames with the headers of its mocks."""

    folder: Path
    camera: Path
    frames: list[str]
    maps: str
    dark: str
    image_dark: str
    average: str


def frame(gain: float, time: float, values: Any, number: int) -> data.Image:
    """A frame of level 2a in EM electrons."""
    prihdr, exthdr, errhdr, dqhdr, _ = mocks.create_default_L2a_headers()
    exthdr.update(
        {
            "EMGAIN_C": gain,
            "EXPTIME": time,
            "KGAINPAR": K,
            "BUNIT": "detected EM electron",
            "SAT_DN": 105000 / K,
            "SCTSRT": f"2027-01-01T00:{number // 60:02}:{number % 60:02}",
            "MJDSRT": 61406.0 + number / 1440,
        }
    )
    made = data.Image(values, pri_hdr=prihdr, ext_hdr=exthdr, err_hdr=errhdr, dq_hdr=dqhdr)
    made.filename = (
        f"cgi_0200001001001001001_20270101t00{number // 60:02}{number % 60:02}0_l2a.fits"
    )
    made.pri_hdr["FILENAME"] = made.filename
    return made


@pytest.fixture(scope="module")
def its(tmp_path_factory: pytest.TempPathFactory, camera: Path) -> Its:
    """A campaign of its classes, and what its functions make of it."""
    rng = np.random.default_rng(19)
    folder = tmp_path_factory.mktemp("its")
    shape = REGIONS["SCI"]["frame_rows"], REGIONS["SCI"]["frame_cols"]
    pattern = rng.normal(0, 5, shape)
    frames = []
    for gain, time, count in STACKS:
        for _ in range(count):
            electrons = rng.poisson(C + time * D, shape)
            values = rng.gamma(np.maximum(electrons, 1e-9), gain) + rng.normal(pattern, NOISE)
            frames.append(frame(gain, time, values, len(frames)))
            frames[-1].dq[rng.random(shape) < 1e-3] = 128
    (folder / "frames").mkdir()
    dataset = data.Dataset(frames)
    dataset.save(str(folder / "frames"))
    params = data.DetectorParams({})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = its_darks.calibrate_darks_lsq(dataset, params, True, REGIONS)
        last = data.Dataset(frames[-5:])
        dark = its_darks.build_synthesized_dark(last, maps, REGIONS, full_frame=True)
        image_dark = its_darks.build_synthesized_dark(last, maps, REGIONS)
        single = data.Dataset([made.copy() for made in frames[:6]])
        for made in single:
            made.ext_hdr["BUNIT"] = "detected electron"
        average = its_darks.build_trad_dark(single, params, REGIONS, full_frame=True)
    named = {"maps": maps, "dark": dark, "image_dark": image_dark, "average": average}
    for name, product in named.items():
        product.save(str(folder), f"{name}.fits")
    paths = sorted(str(path) for path in folder.glob("frames/*.fits"))
    return Its(folder, camera, paths, *(str(folder / f"{name}.fits") for name in named))


def run(its: Its, *words: Any) -> str:
    """What a command of ours prints; it must succeed."""
    return emdarks(its.folder, *words, "--camera", its.camera)


def test_inspect(its: Its) -> None:
    """emdarks inspect of its frames: no problem"""
    assert "problem" not in run(its, "inspect", "frames")


def test_noisemaps(its: Its, tmp_path: Path) -> None:
    """emdarks noisemaps of its frames, unweighted: its maps"""
    run(
        its,
        *("noisemaps", "frames", "-o", tmp_path / "maps.fits"),
        *("--unweighted", "--estimator", "reference"),
    )
    our = DetectorNoiseMaps(tmp_path / "maps.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = its_darks.calibrate_darks_lsq(
            data.Dataset(its.frames), data.DetectorParams({}), False, REGIONS
        )
    good = (plain.dq == 0) & (our.dq == 0)
    assert good.mean() > 0.95
    np.testing.assert_allclose(our.data[good], plain.data[good], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["maps", "dark", "image_dark", "average"])
def test_opened(its: Its, name: str) -> None:
    """Its product opened by our class"""
    kind = {"maps": (DetectorNoiseMaps, data.DetectorNoiseMaps)}.get(name, (Dark, data.Dark))
    our, theirs = (of(getattr(its, name)) for of in kind)
    np.testing.assert_array_equal(our.data, theirs.data)
    np.testing.assert_array_equal(our.err, theirs.err)
    # Pixels that are no number are flagged when ours opens the file.
    np.testing.assert_array_equal(our.dq, theirs.dq | ~np.isfinite(theirs.data))


def test_dark(its: Its, tmp_path: Path) -> None:
    """emdarks dark of its frames: its dark"""
    run(
        its,
        *("dark", "frames", "-o", tmp_path / "dark.fits", "--full-frame", "--estimator"),
        *("reference", "--gain", 1, "--exptime", 2),
    )
    our, theirs = Dark(tmp_path / "dark.fits"), data.Dark(its.average)
    np.testing.assert_allclose(our.data[:-1], theirs.data[:-1], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(our.dq[:-1], theirs.dq[:-1])


def test_synthesize(its: Its, tmp_path: Path) -> None:
    """emdarks synthesize of its noise maps: its dark"""
    like = "--gain", 300, "--exptime", 100, "--full-frame"
    run(its, "synthesize", "maps.fits", "-o", tmp_path / "dark.fits", *like)
    our, theirs = Dark(tmp_path / "dark.fits"), data.Dark(its.dark)
    good = (theirs.dq == 0) & (our.dq == 0)
    assert good.mean() > 0.95
    np.testing.assert_allclose(our.data[good], theirs.data[good], rtol=1e-5, atol=1e-6)


def test_subtract(its: Its, tmp_path: Path) -> None:
    """emdarks subtract with its noise maps: frames of all settings"""
    run(its, "subtract", "frames", "--dark", "maps.fits", "-o", tmp_path / "all")
    assert len(list((tmp_path / "all").glob("*.fits"))) == len(its.frames)
    last = its.frames[-1]
    done = Image(tmp_path / "all" / Path(last).name)
    expected = data.Image(last).data / STACKS[-1][0] - data.Dark(its.dark).data
    np.testing.assert_allclose(done.data[:-1], expected[:-1], rtol=1e-5, atol=1e-5)
    assert done.ext_hdr["BUNIT"] == "photoelectron"


def test_subtract_average(its: Its, tmp_path: Path) -> None:
    """emdarks subtract with its average of frames"""
    first = its.frames[:6]
    run(its, "subtract", *first, "--dark", "average.fits", "-o", tmp_path / "done")
    done = Image(tmp_path / "done" / Path(first[0]).name)
    expected = data.Image(first[0]).data - data.Dark(its.average).data
    np.testing.assert_allclose(done.data[:-1], expected[:-1], rtol=1e-5, atol=1e-4)


def test_subtract_synthesized(its: Its, tmp_path: Path) -> None:
    """Its synthesised dark, saved: k-gain -999, refused by emdarks subtract and by its own step"""
    last = its.frames[-5:]
    words = "subtract", *last, "--dark", "dark.fits", "-o", tmp_path, "--camera", its.camera
    made = run_command(its.folder, *words)
    assert made.returncode == 1
    assert "k-gain -999" in made.stderr
    frames = l2a_to_l2b.em_gain_division(data.Dataset(last))
    with pytest.raises(Exception, match="KGAINPAR"):
        l2a_to_l2b.dark_subtraction(frames, dark=data.Dark(its.dark), detector_regions=REGIONS)


@pytest.mark.parametrize("name", ["maps", "dark"])
def test_badpixels(its: Its, tmp_path: Path, name: str) -> None:
    """emdarks badpixels of its product: few pixels of a detector without hot ones"""
    run(its, "badpixels", f"{name}.fits", "-o", tmp_path / "bad.fits")
    flags = data.BadPixelMap(str(tmp_path / "bad.fits")).data
    assert np.mean(flags & 8 != 0) < 1e-3


def test_report_against(its: Its, tmp_path: Path) -> None:
    """emdarks report of our maps --against its maps of the same frames: nothing has changed"""
    run(its, "noisemaps", "frames", "-o", tmp_path / "maps.fits")
    run(
        its,
        *("report", tmp_path / "maps.fits", "--against", "maps.fits"),
        *("-o", tmp_path / "page.html"),
    )
    page = (tmp_path / "page.html").read_text()
    assert "standard errors" not in page or "fell" not in page


def test_report(its: Its, tmp_path: Path) -> None:
    """emdarks report of its noise maps and darks: pages"""
    for name in "maps", "dark", "average":
        run(its, "report", f"{name}.fits", "-o", tmp_path / f"{name}.html")
        assert (tmp_path / f"{name}.html").stat().st_size > 10_000


def test_raw_frames(tmp_path: Path) -> None:
    """Raw frames of its mocks (1200 x 2200): bias of every row as by prescan_biassub"""
    made = mocks.create_prescan_files(str(tmp_path / "raw"), numfiles=2)
    paths = sorted(str(path) for path in tmp_path.glob("raw/*.fits"))
    done = l1_to_l2a.prescan_biassub(made, return_full_frame=True)
    nothing = {"nonlinearity": "none", "cosmic_rays": "off", "offset": "none"}
    prepared = prepare_frames(Dataset(paths), kgain=1.0, in_dn=True, **nothing)
    for theirs, our in zip(done, prepared, strict=True):
        np.testing.assert_allclose(our.data, theirs.data, atol=1e-4)


def test_its_mock_darks(tmp_path: Path) -> None:
    """emdarks dark of create_dark_calib_files (1200 x 2200), whose level is put right"""
    made = mocks.create_dark_calib_files(str(tmp_path / "darks"), numfiles=4)
    for one in made:
        one.ext_hdr["DATALVL"] = "L2a"
        one.save()
    emdarks(tmp_path, "dark", "darks", "-o", "dark.fits", "--full-frame")
    theirs = its_darks.build_trad_dark(made, data.DetectorParams({}), full_frame=True)
    our = Dark(tmp_path / "dark.fits")
    np.testing.assert_allclose(our.data[:-1], theirs.data[:-1], rtol=1e-6)
    assert our.data.shape == (
        detector_areas["SCI"]["frame_rows"],
        detector_areas["SCI"]["frame_cols"],
    )


def test_its_mock_darks_as_they_are(tmp_path: Path) -> None:
    """The same as they are, electrons that call themselves raw (L1): refused with a reason"""
    mocks.create_dark_calib_files(str(tmp_path / "darks"), numfiles=2)
    made = run_command(tmp_path, "dark", "darks", "-o", "dark.fits")
    assert made.returncode == 1
    assert not (tmp_path / "dark.fits").exists()


def test_json_of_inspect(its: Its) -> None:
    """emdarks inspect --json of its frames: its stacks"""
    found = json.loads(run(its, "inspect", "frames", "--json"))
    assert len(found["stacks"]) == len(STACKS)
