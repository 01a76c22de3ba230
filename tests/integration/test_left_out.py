"""Frames and files that are left out: by whom, for what, and that it is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from emdarks import (
    Dataset,
    build_trad_dark,
    calibrate_darks_lsq,
    check_darks,
    inspect_campaign,
    simulate,
    subtract_dark,
)
from emdarks.accumulate import Threads
from emdarks.cameras import load_camera
from emdarks.checks.formatting import in_words
from emdarks.checks.recipe_frames import KINDS
from emdarks.cli.app import app
from emdarks.errors import EmdarksWarning, InputError
from emdarks.frames import select_frames

pytestmark = pytest.mark.usefixtures("coarse_pictures")

CAMERA = load_camera("excam-sample")
AREA = np.s_[0:35, 28:59]
FRAMES = 7
BRIGHT, WARM = 16, 30  # frames of the third and of the fifth stack


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("clean")
    return simulate.simulate_campaign(folder, CAMERA, FRAMES, seed=3).paths


@pytest.fixture(scope="module")
def spoilt(clean: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One frame is far too bright, one too warm."""
    folder = tmp_path_factory.mktemp("spoilt")
    copies = [Path(shutil.copy(path, folder)) for path in clean]
    with fits.open(copies[BRIGHT], mode="update", memmap=False) as hdus:
        hdus[1].data[AREA] += 40.0
    fits.setval(copies[WARM], "EXCAMT", value=-80.0, ext=1)
    return copies


@pytest.fixture
def paths(spoilt: list[Path], tmp_path: Path) -> list[Path]:
    folder = tmp_path / "darks"
    folder.mkdir()
    return [Path(shutil.copy(path, folder)) for path in spoilt]


def run(*words: Any, code: int = 0) -> Any:
    made = CliRunner().invoke(app, [str(word) for word in words])
    assert made.exit_code == code, made.output
    return made


def said(records: Any) -> list[str]:
    return [str(record.message) for record in records if record.category is EmdarksWarning]


class Counting(Threads):
    """Counts the stacks that are streamed."""

    streamed = 0

    def stacks(self, jobs: Any, *rest: Any, **more: Any) -> Iterator[Any]:
        self.streamed += len(jobs)
        return super().stacks(jobs, *rest, **more)


def planes(product: Any) -> list[bytes]:
    return [np.ascontiguousarray(x).tobytes() for x in (product.data, product.err, product.dq)]


# Products say what an inspection says


def test_noise_maps_say_what_an_inspection_says(paths: list[Path]) -> None:
    summary = inspect_campaign(Dataset(paths), camera=CAMERA)
    expected = [in_words(f) for f in (*summary.worst("problem"), *summary.worst("warning"))]
    assert [f.topic for f in summary.worst("warning")] == ["light", "temperature"]
    with pytest.warns(EmdarksWarning) as caught:
        calibrate_darks_lsq(Dataset(paths), None, camera=CAMERA)
    assert said(caught) == expected
    assert "standard errors" in expected[0]
    assert f"({paths[BRIGHT].name})" in expected[0]


@pytest.mark.parametrize("estimator", ["sample", "pooled"])
def test_darks_say_what_an_inspection_says(paths: list[Path], estimator: str) -> None:
    stack = Dataset(paths[2 * FRAMES : 3 * FRAMES])
    (light,) = [
        finding
        for finding in inspect_campaign(stack, camera=CAMERA).findings
        if finding.topic == "light"
    ]
    with pytest.warns(EmdarksWarning) as caught:
        build_trad_dark(stack, None, camera=CAMERA, estimator=estimator)
    # Figures of a dark are taken in detected electrons: the last digit may be rounded otherwise.
    assert said(caught) == [in_words(light)]


def test_a_clean_campaign_is_silent_and_no_frame_is_read_twice(clean: tuple[Path, ...]) -> None:
    executor = Counting(2)
    calibrate_darks_lsq(Dataset(list(clean)), None, camera=CAMERA, executor=executor, skip=KINDS)
    assert executor.streamed == 6


def test_a_finding_is_said_once_by_commands(paths: list[Path], tmp_path: Path) -> None:
    made = run("noisemaps", paths[0].parent, "--camera", "excam-sample", "-o", tmp_path / "m.fits")
    assert made.stderr.count("brighter than the rest of the stack") == 1
    assert made.stderr.count("off the temperature") == 1
    assert "1176" not in made.stderr


def test_the_recommended_number_is_that_of_a_camera(clean: tuple[Path, ...]) -> None:
    assert load_camera("excam").frames.recommended == 1176
    assert load_camera("sparc4").frames.recommended is None
    summary = inspect_campaign(Dataset(list(clean)), camera=CAMERA)
    notes = [finding.text for finding in summary.worst("note") if finding.topic == "frames"]
    assert notes == [
        "all stacks have fewer than the 1176 frames that are recommended for excam-sample (the "
        "smallest 7); the maps will be noisier"
    ]


# Skip by kind


def skipped(product: Any) -> list[tuple[str, str]]:
    if "SKIPPED" not in product.hdu_names:
        return []
    rows = product.hdu_list["SKIPPED"].data
    return [tuple(x.decode() if isinstance(x, bytes) else x for x in row) for row in rows]


@pytest.mark.parametrize(
    ("skip", "gone"),
    [
        (("light",), [BRIGHT]),
        (("temperature",), [WARM]),
        (("light", "temperature"), [BRIGHT, WARM]),
    ],
)
@pytest.mark.parametrize("screen", [False, True])
@pytest.mark.filterwarnings("ignore:1 frame is", "ignore:the detector temperature")
def test_maps_without_a_kind_are_those_without_its_frames(
    paths: list[Path], skip: tuple[str, ...], gone: list[int], screen: bool
) -> None:
    options: dict[str, Any] = {"camera": CAMERA, "screen": screen}
    with pytest.warns(EmdarksWarning) as caught:
        maps = calibrate_darks_lsq(Dataset(paths), None, skip=skip, **options)
    texts = said(caught)
    assert len(texts) == 3 - len(gone)  # what was left out, and the finding that is left
    assert texts[-1].startswith(f"{len(gone)} of 42 frames left out")
    left = [path for i, path in enumerate(paths) if i not in gone]
    alone = calibrate_darks_lsq(Dataset(left), None, **options)
    assert planes(maps) == planes(alone)
    found = skipped(maps)
    assert [Path(name).name for name, _ in found] == [paths[i].name for i in gone]
    assert [reason.partition(":")[0] for _, reason in found] == list(skip)


def test_darks_and_checks_skip_by_kind(paths: list[Path]) -> None:
    stack, left = paths[14:21], [*paths[14:16], *paths[17:21]]
    with pytest.warns(EmdarksWarning, match="1 of 7 frames left out"):
        dark = build_trad_dark(Dataset(stack), None, camera=CAMERA, skip="light", skip_share=0.2)
    assert planes(dark) == planes(build_trad_dark(Dataset(left), None, camera=CAMERA))
    with pytest.warns(EmdarksWarning, match="1 of 42 frames left out"):
        report = check_darks(Dataset(paths), camera=CAMERA, skip=("light",))
    assert report == check_darks(Dataset([*paths[:16], *paths[17:]]), camera=CAMERA)
    with pytest.raises(InputError, match=r"more than the share of 1\.0%"):
        calibrate_darks_lsq(Dataset(paths), None, camera=CAMERA, skip=["light"], skip_share=0.01)


def test_a_kind_that_there_is_not_is_refused(paths: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "m.fits"
    made = run("noisemaps", paths[0].parent, "-o", out, "--skip", "ugly", code=2)
    words = " ".join(made.output.split())
    assert "ugly" in words
    assert all(kind in words for kind in KINDS)
    assert not out.exists()
    with pytest.raises(InputError, match="skip is 'ugly'"):
        calibrate_darks_lsq(Dataset(paths), None, camera=CAMERA, skip=("ugly",))


def test_frames_of_one_name_cannot_be_told_apart(paths: list[Path]) -> None:
    frames = [frame.copy() for frame in Dataset(paths)]
    for frame in frames:
        frame.filename = "same.fits"
        frame.filedir = ""
    with pytest.raises(InputError, match="several frames have this name"):
        calibrate_darks_lsq(Dataset(frames), None, camera=CAMERA, skip=("light",))


# Lists of good files


def test_good_files_are_a_list_that_commands_take(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths[0].parent)
    (paths[0].parent / "broken.fits").write_bytes(b"no FITS")
    good = tmp_path / "good.txt"
    run("inspect", ".", "--camera", "excam-sample", "--write-good", good, code=1)
    expected = [str(path) for i, path in enumerate(paths) if i not in (BRIGHT, WARM)]
    assert good.read_text().splitlines() == expected
    monkeypatch.chdir(tmp_path)
    made = run("noisemaps", "@good.txt", "--camera", "excam-sample", "-o", "maps.fits")
    assert "warning" not in made.stderr
    again = run("inspect", "@good.txt", "--camera", "excam-sample", "--write-good", good, code=1)
    assert "exists" in again.stderr


def test_a_cube_is_good_if_all_of_its_frames_are(paths: list[Path], tmp_path: Path) -> None:
    from emdarks.checks.good_files import good_files

    cubes = []
    for number, gone in ((0, ()), (2, ()), (3, ())):
        frames = paths[number * FRAMES : (number + 1) * FRAMES]
        cube = tmp_path / f"cube_{number}.fits"
        with fits.open(frames[0], memmap=False) as hdus:
            for name in (1, "ERR", "DQ"):
                layers = [fits.getdata(path, name) for path in frames]
                hdus[name].data = np.stack([np.squeeze(x) for x in layers])
            hdus.writeto(cube)
        cubes.append(str(cube))
        assert gone == ()
    dataset = Dataset(cubes)
    summary = inspect_campaign(dataset, camera=CAMERA)
    assert summary.worst("warning")[0].frames == (f"{cubes[1]}[{BRIGHT - 2 * FRAMES}]",)
    assert good_files(dataset, summary) == ([cubes[0], cubes[2]], [cubes[1]])


# Files that are not taken


def test_excluded_files_are_not_read(paths: list[Path], tmp_path: Path) -> None:
    folder = paths[0].parent
    (tmp_path / "list.txt").write_text(f"darks/{paths[3].name}\n")
    exclude = [str(paths[0]), str(folder / paths[BRIGHT].name), f"@{tmp_path / 'list.txt'}"]
    chosen = select_frames([str(folder)], exclude=exclude)
    names = [frame.filename for frame in chosen]
    assert names == [p.name for i, p in enumerate(paths) if i not in (0, 3, BRIGHT)]
    by_name = select_frames([str(folder)], exclude=[paths[2].name, paths[9].name[:-12] + "*"])
    gone = [i for i, p in enumerate(paths) if i == 2 or p.name.startswith(paths[9].name[:-12])]
    assert len(gone) < 9
    assert [frame.filename for frame in by_name] == [
        p.name for i, p in enumerate(paths) if i not in gone
    ]
    with pytest.warns(
        EmdarksWarning, match=r"nothing_\*\.fits: to be excluded, but none of the 42"
    ):
        assert len(select_frames([str(folder)], exclude=["nothing_*.fits"])) == 42
    with pytest.raises(InputError, match="all 42 files are excluded"):
        select_frames([str(folder)], exclude=[str(folder)])


@pytest.mark.parametrize(
    "command", ["inspect", "noisemaps", "check", "dark", "subtract", "report", "page"]
)
def test_every_command_excludes(command: str, paths: list[Path], tmp_path: Path) -> None:
    folder = paths[0].parent
    first = Dataset([paths[14]])[0].ext_hdr
    frames: list[Any] = [folder, "--exclude", paths[BRIGHT], "--exclude", folder / paths[WARM].name]
    options: list[Any] = ["--camera", "excam-sample", "--json"]
    stack = ["--gain", first["EMGAIN_C"], "--exptime", first["EXPTIME"]]
    maps = tmp_path / "maps.fits"
    if command in ("subtract", "page"):
        run("noisemaps", *frames, *options, "-o", maps)
    words: dict[str, list[Any]] = {
        "inspect": ["inspect", *frames],
        "noisemaps": ["noisemaps", *frames, "-o", maps],
        "check": ["check", *frames],
        "dark": ["dark", *frames, "-o", maps, *stack],
        "subtract": ["subtract", *frames, "--dark", maps, "-o", tmp_path / "less"],
        "report": ["report", *frames, "-o", tmp_path / "r.html"],
        "page": ["report", maps, "--frames", *frames, "-o", tmp_path / "r.html"],
    }
    made = run(*words[command], *options)
    assert "brighter" not in made.stderr
    assert "off the temperature" not in made.stderr
    result = json.loads(made.stdout)
    assert result["files_left_out"] == []
    if command in ("inspect", "noisemaps", "subtract"):
        assert result["frames"] == 40


# Files that are no darks


@pytest.fixture(scope="module")
def mixed(spoilt: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Some of the frames say that they are no darks."""
    folder = tmp_path_factory.mktemp("mixed")
    copies = [Path(shutil.copy(path, folder)) for path in spoilt]
    for i, path in enumerate(copies):
        fits.setval(path, "IMAGETYP", value="Light" if i % 6 == 1 else "Dark", ext=1)
        fits.setval(path, "EXCAMT", value=-88.0, ext=1)
    for path in (copies[5], copies[12]):
        fits.setval(path, "IMAGETYP", value="DARKS", ext=1)
    return copies


@pytest.fixture
def lights(mixed: list[Path], paths: list[Path], tmp_path: Path) -> Path:
    """Frames, some of which are no darks, in place of the others; a camera that looks at it."""
    for source, path in zip(mixed, paths, strict=True):
        shutil.copy(source, path)
    camera = tmp_path / "lab.toml"
    camera.write_text(
        'like = "excam-sample"\nname = "lab"\n[darks]\nkeyword = "IMAGETYP"\nvalues = ["Dark"]\n'
    )
    return camera


WORDS = "9 files are no darks and were left out (IMAGETYP = 'Light' in 7, IMAGETYP = 'DARKS' in 2)"


def test_files_that_are_no_darks_are_counted_and_kept(lights: Path, paths: list[Path]) -> None:
    with pytest.warns(EmdarksWarning) as caught:
        darks = select_frames([str(paths[0].parent)], str(lights))
    (text,) = said(caught)
    assert text.startswith(WORDS)
    assert (len(darks), len(darks.left_out), len(darks.skipped)) == (33, 9, 0)
    assert darks.left_out[0].name == paths[1].name
    assert darks.left_out[0].reason == "IMAGETYP = 'Light'"


@pytest.mark.parametrize("command", ["inspect", "noisemaps", "check", "report"])
def test_commands_count_what_is_no_dark(
    command: str, lights: Path, paths: list[Path], tmp_path: Path
) -> None:
    output = [] if command in ("inspect", "check") else ["-o", tmp_path / "out.html"]
    made = run(command, paths[0].parent, "--camera", lights, "--json", *output)
    assert made.stderr.count(WORDS) == 1
    assert json.loads(made.stdout)["files_left_out"] == [
        {"reason": "IMAGETYP = 'Light'", "files": 7},
        {"reason": "IMAGETYP = 'DARKS'", "files": 2},
    ]


def test_what_was_left_out_is_kept_by_every_dataset(
    lights: Path, paths: list[Path], clean: tuple[Path, ...]
) -> None:
    (paths[0].parent / "zz.fits").write_bytes(b"no FITS")
    with pytest.warns(EmdarksWarning):
        darks = select_frames([str(paths[0].parent)], str(lights), skip_bad_frames=True)
    assert (len(darks.skipped), len(darks.left_out)) == (1, 9)
    maps = calibrate_darks_lsq(Dataset(list(clean)), None, camera=str(lights))
    stacks, _ = darks.split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])
    made = [
        darks[3:],
        darks[[0, 2]],
        darks.copy(),
        *stacks,
        stacks[1].copy(copy_data=False),
        subtract_dark(darks, maps, camera=str(lights)),
    ]
    assert len(made) == 11
    for dataset in made:
        assert (dataset.skipped, dataset.left_out) == (darks.skipped, darks.left_out)


def test_the_share_of_skipped_files_is_that_of_all_frames(paths: list[Path]) -> None:
    """Each of six stacks names the two files, which are less than a tenth of the campaign."""
    for path in paths[7:9]:
        path.write_bytes(b"no FITS")
    darks = Dataset(paths, skip_bad_frames=True)
    stacks, _ = darks.split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])
    (short,) = [stack for stack in stacks if len(stack) == 5]
    assert short.chosen_from == 40
    with pytest.warns(EmdarksWarning, match=r"2 of 7 frames left out"):
        dark = build_trad_dark(short, None, camera=CAMERA)
    assert [Path(name).name for name, _ in skipped(dark)] == [path.name for path in paths[7:9]]
    with pytest.raises(InputError, match=r"2 of 42 frames cannot be used \(4\.8%\)"):
        build_trad_dark(short, None, camera=CAMERA, skip_share=0.04)
