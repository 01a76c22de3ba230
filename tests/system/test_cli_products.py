"""The commands that make products, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from commands import run_command
from emdarks.data import Dark, DetectorNoiseMaps

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
FRAMES = str(GOLDEN / "cgi_*.fits")
STACK = [str(GOLDEN / f"cgi_008900100100100100{i}_20260101t000{i}000_l2a.fits") for i in range(6)]

CAMERA = """
like = "excam"
name = "golden"
description = "EXCAM in a small test geometry"
telemetry_rows = [59, 60]

[geometry.SCI]
frame_rows = 60
frame_cols = 110
image = { rows = 50, cols = 51, r0c0 = [1, 54] }
prescan = { rows = 60, cols = 54, r0c0 = [0, 0], col_start = 40, col_end = 50 }
prescan_reliable = { rows = 60, cols = 10, r0c0 = [0, 40] }
parallel_overscan = { rows = 9, cols = 53, r0c0 = [51, 54] }
serial_overscan = { rows = 60, cols = 3, r0c0 = [0, 107] }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    (path / "golden.toml").write_text(CAMERA)
    return path


def process(folder: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "emdarks", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def maps(folder: Path) -> Path:
    made = process(
        folder,
        "noisemaps",
        FRAMES,
        "--camera",
        "golden.toml",
        "-o",
        "maps.fits",
        "--estimator",
        "reference",
    )
    assert made.returncode == 0, made.stderr
    return folder / "maps.fits"


def test_noise_maps_of_the_golden_campaign(folder: Path, maps: Path) -> None:
    expected = np.load(GOLDEN / "expected_noisemaps_weighted_mended.npz")
    with fits.open(maps) as hdus:
        hdus.verify("exception")
        np.testing.assert_allclose(
            hdus[1].data[:, :-1], expected["maps"][:, :-1], rtol=1e-5, atol=1e-5
        )
    product = DetectorNoiseMaps(maps)
    assert product.bias_offset == pytest.approx(float(expected["B_O"]), rel=1e-6)
    again = process(folder, "noisemaps", FRAMES, "--camera", "golden.toml", "-o", "again.fits")
    assert "1176" not in again.stderr  # a remark, which an inspection makes
    assert again.stdout == ""


def test_json_goes_to_standard_output(folder: Path) -> None:
    made = process(folder, "noisemaps", FRAMES, "--camera", "golden.toml", "-o", "j.fits", "--json")
    result = json.loads(made.stdout)
    assert (result["frames"], result["stacks"], result["unfittable_pixels"]) == (36, 6, 4)
    assert (folder / result["noise_maps"]).exists()


def test_a_list_of_frames_and_a_folder_for_output(folder: Path) -> None:
    listed = folder / "list.txt"
    listed.write_text("# golden\n" + "\n".join(str(p) for p in sorted(GOLDEN.glob("cgi_*.fits"))))
    (folder / "out").mkdir()
    made = run_command(folder, "noisemaps", "@list.txt", "--camera", "golden.toml", "-o", "out")
    assert made.returncode == 0, made.stderr
    assert [p.name for p in (folder / "out").iterdir()] == [
        "cgi_0089001001001001035_20260101t0035000_dnm_cal.fits"
    ]


def test_a_folder_of_frames_leaves_products_out(folder: Path) -> None:
    made = run_command(
        folder, "noisemaps", GOLDEN, "--camera", "golden.toml", "-o", "f.fits", "--json"
    )
    assert json.loads(made.stdout)["frames"] == 36


def test_traditional_dark(folder: Path) -> None:
    made = process(
        folder,
        "dark",
        *STACK,
        "--camera",
        "golden.toml",
        "-o",
        "d.fits",
        "--estimator",
        "reference",
    )
    assert made.returncode == 0, made.stderr
    with fits.open(GOLDEN / "expected_trad_dark_g1_t2_image.fits") as hdus:
        dark = Dark(folder / "d.fits")
        np.testing.assert_allclose(dark.data, hdus[1].data, rtol=1e-6)
        np.testing.assert_allclose(dark.err, hdus["ERR"].data, rtol=1e-6)


@pytest.mark.parametrize("how", [["--gain", 200, "--exptime", 60], ["--like", STACK[0]]])
def test_synthesised_dark(folder: Path, maps: Path, how: list[Any]) -> None:
    made = run_command(
        folder, "synthesize", maps, "--camera", "golden.toml", "-o", "s.fits", "--overwrite", *how
    )
    assert made.returncode == 0, made.stderr
    dark = Dark(folder / "s.fits")
    gain, time = (1.0, 2.0) if how[0] == "--like" else (200.0, 60.0)
    F, C, D = DetectorNoiseMaps(maps).extra("SIGNED")[:, 1:51, 54:105].astype(float)
    np.testing.assert_allclose(dark.data, F / gain + C + time * D, rtol=1e-5, atol=1e-5)
    assert (dark.ext_hdr["EMGAIN_C"], dark.ext_hdr["EXPTIME"]) == (gain, time)


def test_photon_counted_darks(folder: Path, maps: Path) -> None:
    from emdarks.data import sample

    setting = ["--gain", 5000, "--exptime", 2]
    counting = ["--photon-counting", "--threshold", 600, "--read-noise", 150, "--overwrite"]
    how = ["--max-rate", 0.5, "--full-frame", "-o", "pc.fits", "--json"]
    made = run_command(folder, "dark", sample()[0].parent, *setting, *counting, *how)
    assert made.returncode == 0, made.stderr
    assert "is not marked as a frame for photon counting" in " ".join(made.stderr.split())
    assert json.loads(made.stdout)["threshold_e"] == 600.0
    dark = Dark(folder / "pc.fits")
    assert (dark.photon_counted, dark.threshold, dark.data.shape) == (True, 600.0, (40, 62))
    header = dark.ext_hdr
    assert (header["PCGAIN"], header["PCNOISE"], header["PCESTIM"]) == (5000.0, 150.0, "law")
    made = run_command(
        folder, "synthesize", maps, *setting, *counting, "--full-frame", "-o", "s.fits"
    )
    assert made.returncode == 0, made.stderr
    dark = Dark(folder / "s.fits")
    assert (dark.photon_counted, dark.threshold) == (True, 600.0)
    assert dark.hdu_names == ["COUNTS", "COUNTERR"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["noisemaps", *STACK, "--camera", "golden.toml", "-o", "x.fits"], 1, "at least 4 stacks"),
        (["noisemaps", "nowhere.fits", "-o", "x.fits"], 1, "nowhere.fits: no such file"),
        (["noisemaps", FRAMES, "-o", "x.fits"], 1, "has 60 x 110 pixels, the geometry 1200 x 2200"),
        (["noisemaps", FRAMES, "--camera", "golden.toml", "-o", "no/x.fits"], 1, "no such folder"),
        (["noisemaps", FRAMES, "--camera", "leica", "-o", "x.fits"], 1, "neither built in"),
        (["noisemaps", FRAMES], 2, "--output"),
        (["noisemaps", FRAMES, "-o", "x.fits", "--estimator", "guess"], 2, "--estimator"),
        (["noisemaps", FRAMES, "-o", "x.fits", "--nonnegative", "XYZ"], 2, "FPN,CIC,DC"),
        (["noisemaps", FRAMES, "-o", "x.fits", "--mask-bits", "-1"], 2, "--mask-bits"),
        (["synthesize", "maps.fits", "-o", "x.fits", "--gain", "7"], 2, "--exptime"),
        (
            ["synthesize", "maps.fits", "-o", "x.fits", "--like", STACK[0], "--gain", "3"],
            2,
            "--like",
        ),
        (
            ["synthesize", "maps.fits", "-o", "x.fits", "--gain", "9", "--exptime", "3"],
            1,
            "was made with camera 'golden', which is not built in; give its file",
        ),
        (["noisemaps", "@none.txt", "-o", "x.fits"], 1, "cannot be read as a list"),
        (
            ["dark", *STACK, "-o", "x.fits", "--camera", "golden.toml", "--photon-counting"],
            1,
            "the threshold of 825 EM electrons is not below the EM gain 1, which is what one",
        ),
        (["dark", *STACK, "-o", "x.fits", "--threshold", "500"], 2, "go with --photon-counting"),
        (
            ["dark", *STACK, "-o", "x.fits", "--photon-counting", "--estimator", "pooled"],
            2,
            "--estimator of a photon-counted dark is one of law, reference",
        ),
        (
            ["dark", *STACK, "-o", "x.fits", "--estimator", "law"],
            2,
            "--estimator of a traditional dark is one of sample, pooled, reference",
        ),
        (
            ["synthesize", "maps.fits", "-o", "x.fits", "--like", STACK[0], "--photon-counting"],
            2,
            "--photon-counting needs --threshold",
        ),
        (
            ["synthesize", "maps.fits", "-o", "x.fits", "--like", STACK[0], "--read-noise", "90"],
            2,
            "--threshold and --read-noise go with --photon-counting",
        ),
    ],
)
def test_faults_say_what_is_wrong_and_write_nothing(
    folder: Path, maps: Path, arguments: list[str], code: int, message: str
) -> None:
    made = run_command(folder, *arguments)
    assert made.returncode == code
    assert message in " ".join(made.stderr.split())
    assert "Traceback" not in made.stderr
    assert not (folder / "x.fits").exists()
    assert not list(folder.glob(".*.emdarks-part"))


def test_an_existing_file_is_kept_unless_told(folder: Path, maps: Path) -> None:
    before = maps.read_bytes()
    command = ["noisemaps", FRAMES, "--camera", "golden.toml", "-o", maps]
    made = run_command(folder, *command)
    assert made.returncode == 1
    assert "exists" in made.stderr
    assert maps.read_bytes() == before


def test_a_table_in_a_folder_of_frames_is_left_out(folder: Path) -> None:
    mixed = folder / "mixed"
    mixed.mkdir()
    for path in STACK:
        (mixed / Path(path).name).symlink_to(path)
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([])]).writeto(mixed / "t.fits")
    made = run_command(folder, "dark", "mixed", "--camera", "golden.toml", "-o", "mixed.fits")
    assert made.returncode == 0, made.stderr


def test_version_and_help(folder: Path) -> None:
    assert process(folder, "--version").stdout.startswith("emdarks 0.")
    assert "noisemaps" in process(folder, "--help").stdout


def test_help_loads_no_heavy_library(folder: Path) -> None:
    program = (
        "import sys\n"
        "try:\n"
        "    from emdarks.cli import main; sys.argv = ['emdarks', '--help']; main()\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'matplotlib', 'dask', 'astropy', 'numpy'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))\n"
    )
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "heavy: []" in made.stdout


def test_frames_of_several_stacks_are_shown_with_the_options_that_choose(folder: Path) -> None:
    from emdarks.data import sample

    frames = sample()[0].parent
    made = run_command(folder, "dark", frames, "-o", "chosen.fits")
    assert made.returncode == 2
    rows = [line.split() for line in made.stderr.splitlines() if "--gain" in line]
    assert [row[:3] for row in rows] == [
        ["1", "2", "4"], ["5000", "2", "4"], ["50", "10", "4"],
        ["1000", "60", "4"], ["1", "100", "4"], ["5000", "100", "4"],
    ]  # fmt: skip
    assert rows[2][3:] == ["--gain", "50", "--exptime", "10"]
    assert "error: a dark is made of one stack, and these frames are 6" in made.stderr
    assert not (folder / "chosen.fits").exists()
    quiet = run_command(folder, "dark", frames, "-o", "chosen.fits", "--gain", "5000", "-q")
    assert quiet.returncode == 2
    assert len(quiet.stderr.splitlines()) == 1
    assert "(--gain 5000 --exptime 2; --gain 5000 --exptime 100)" in quiet.stderr
    made = run_command(folder, "dark", frames, "-o", "chosen.fits", *rows[2][3:])
    assert made.returncode == 0, made.stderr
    assert Dark(folder / "chosen.fits").ext_hdr["EXPTIME"] == 10.0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["dark", "x", "--foo"], "error: no such option: --foo; see emdarks dark --help"),
        (["foo"], "error: no such command 'foo'; see emdarks --help"),
        (
            ["report", "x", "-o", "y", "--frames", "x", "--check", "z"],
            "error: give either --frames or --check; see emdarks report --help",
        ),
        (["dark", "none.fits", "-o", "y.fits"], "error: none.fits: no such file"),
    ],
)
def test_errors_of_use_look_like_all_others(folder: Path, arguments: Any, line: str) -> None:
    made = run_command(folder, *arguments)
    assert made.returncode == (1 if "none.fits" in line else 2)
    assert made.stderr.startswith(line)
    assert len(made.stderr.splitlines()) == 1


def test_a_product_says_when_its_frames_were_taken(folder: Path, maps: Path) -> None:
    header = fits.getheader(maps, 1)
    starts = [fits.getval(path, "MJDSRT", 1) for path in sorted(GOLDEN.glob("cgi_*.fits"))]
    ends = [
        fits.getval(path, "MJDSRT", 1) + fits.getval(path, "EXPTIME", 1) / 86400
        for path in sorted(GOLDEN.glob("cgi_*.fits"))
    ]
    for keyword, mjd in (("DATE-BEG", min(starts)), ("DATE-END", max(ends))):
        assert Time(header[keyword]).mjd == pytest.approx(mjd, abs=1.1 / 86400)
