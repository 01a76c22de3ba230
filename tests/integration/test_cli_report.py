"""emdarks report, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from emdarks.cli.app import app
from emdarks.darks import build_trad_dark, calibrate_darks_lsq
from emdarks.data import Dataset, sample
from emdarks.frames import select_products
from emdarks.simulate import simulate_campaign

pytestmark = pytest.mark.usefixtures("coarse_pictures")


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames, maps and a dark of the sample's camera."""
    path = tmp_path_factory.mktemp("report")
    simulate_campaign(path / "darks", "excam-sample", 4, 3)
    frames = Dataset(sorted((path / "darks").glob("cgi_*.fits")))
    calibrate_darks_lsq(frames, None).save(path, "maps.fits")
    calibrate_darks_lsq(frames, None, weighting=False).save(path, "old.fits")
    build_trad_dark(frames[:4], None).save(path, "dark.fits")
    return path


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but not drawn: that takes most of the time."""
    png = b"\x89PNG\r\n\x1a\n" + bytes(8) + (300).to_bytes(4, "big") + (200).to_bytes(4, "big")
    monkeypatch.setattr("emdarks.plots.as_png", lambda *rest: png)


def words(outcome: Any) -> str:
    return " ".join(outcome.stderr.split())


def test_a_page_of_maps(folder: Path) -> None:
    outcome = run("report", folder / "maps.fits", "-o", folder / "a.html", "--png", folder / "png")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout == ""
    assert "Noise maps, maps.fits · 40 × 62 pixels" in words(outcome)
    assert "warning" in outcome.stderr
    assert "Can it be trusted? Yes, with care" in words(outcome)
    assert "<h1>Noise maps</h1>" in (folder / "a.html").read_text(encoding="utf-8")
    assert (folder / "png" / "maps.png").exists()
    again = run("report", folder / "maps.fits", "-o", folder / "a.html")
    assert again.exit_code == 1
    assert "exists" in again.stderr
    assert (
        run("report", folder / "maps.fits", "-o", folder / "a.html", "--overwrite").exit_code == 0
    )


def test_several_pages_in_a_folder(folder: Path) -> None:
    out = folder / "pages"
    out.mkdir()
    outcome = run(
        "report", folder / "maps.fits", folder / "dark.fits", folder / "darks", "-o", out,
        "--png", out / "png", "--json",
    )  # fmt: skip
    assert outcome.exit_code == 0, outcome.output
    reports = json.loads(outcome.stdout)["reports"]
    assert [report["about"] for report in reports] == [
        "Noise maps", "Traditional master dark", "A campaign of dark frames",
    ]  # fmt: skip
    assert all(Path(report["report"]).exists() for report in reports)
    assert sorted(path.name for path in out.glob("*.html")) == [
        "campaign_report.html", "dark_report.html", "maps_report.html",
    ]  # fmt: skip
    assert "darks · 24 frames" in reports[2]["subject"]
    assert {path.name.split("_report_")[0] for path in (out / "png").iterdir()} == {
        "campaign", "dark", "maps",
    }  # fmt: skip


def test_check_and_comparison(folder: Path) -> None:
    checked = run("check", folder / "darks", "--json")
    (folder / "check.json").write_text(checked.stdout)
    texts = []
    for how in (["--frames", folder / "darks"], ["--check", folder / "check.json"]):
        outcome = run(
            "report", folder / "maps.fits", "-o", folder / "c.html", "--overwrite",
            "--against", folder / "old.fits", *how,
        )  # fmt: skip
        assert outcome.exit_code == 0, outcome.output
        texts.append((folder / "c.html").read_text(encoding="utf-8"))
        assert "Not done here" not in texts[-1]
        assert "Compared with old.fits" in texts[-1]
        assert "name 24 input files alike" in texts[-1]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["maps.fits", "dark.fits", "-o", "x.html"], 1, "is no folder; 2 reports need one"),
        (["none.fits", "-o", "x.html"], 1, "no such file"),
        (
            ["darks/truth.fits", "-o", "x.html"],
            1,
            "neither noise maps nor a master dark nor a bad-pixel map",
        ),
        (["dark.fits", "-o", "x.html", "--frames", "darks"], 1, "belongs to noise maps"),
        (["maps.fits", "-o", "x.html", "--against", "dark.fits"], 1, "with noise maps"),
        (["darks", "-o", "x.html", "--against", "dark.fits"], 1, "give a product"),
        (["maps.fits", "-o", "x.html", "--check", "maps.fits"], 1, "is no result of a check"),
        (["maps.fits", "-o", "no/x.html"], 1, "no such folder"),
        (["maps.fits", "-o", "memory://x/x.html"], 1, "is a URL"),
        (["maps.fits", "-o", "x.html", "--png", "dark.fits"], 1, "dark.fits: is a file"),
        (["maps.fits", "-o", "x.html", "--png", "memory://x"], 1, "is a URL"),
        (["maps.fits", "-o", "x.html", "--frames", "darks", "--check", "c.json"], 2, "--check"),
        (["maps.fits"], 2, "--output"),
    ],
)
def test_faults_say_what_is_wrong_and_write_nothing(
    folder: Path, arguments: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    outcome = run("report", *arguments)
    assert outcome.exit_code == code
    assert message in words(outcome)
    assert not (folder / "x.html").exists()


def test_products_are_told_from_frames(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    products, frames = select_products(["maps.fits", "darks", "maps.fits", *map(str, sample()[:2])])
    assert products == [Path("maps.fits")]
    assert frames == ["darks", *map(str, sample()[:2])]
    (folder / "list.txt").write_text("darks\nmaps.fits\n")
    products, frames = select_products(["@list.txt"])
    assert products == [Path("maps.fits")]
    assert len(frames) == 24  # the folder's truth is left out
    outcome = run("report", "darks/*.fits", "-o", "pattern.html")
    assert outcome.exit_code == 0
    assert "truth.fits: left out" in words(outcome)


def test_too_few_frames_for_the_check_are_said_on_the_page(folder: Path) -> None:
    few = folder / "few"
    simulate_campaign(few, "excam-sample", 3, 3)
    outcome = run("noisemaps", few, "-o", folder / "few.fits")
    assert outcome.exit_code == 0, outcome.output
    page = folder / "few.html"
    outcome = run("report", folder / "few.fits", "-o", page, "--frames", few)
    assert outcome.exit_code == 0, outcome.output
    reason = "has 3 frames; to compare odd with even ones every stack needs at least 4"
    assert "The check without truth could not be made: the stack of exposure" in words(outcome)
    text = page.read_text(encoding="utf-8")
    assert text.count(reason) == 2
    assert "Not done here: the stack of" in text


def test_a_page_of_a_bad_pixel_map(folder: Path) -> None:
    made = run("badpixels", folder / "maps.fits", "-o", folder / "bad.fits", "--json")
    found = json.loads(made.stdout)
    outcome = run("report", folder / "bad.fits", "-o", folder / "bad.html", "--json")
    assert outcome.exit_code == 0, outcome.output
    assert json.loads(outcome.stdout)["reports"][0]["about"] == "Bad-pixel map"
    text = (folder / "bad.html").read_text(encoding="utf-8")
    for name, key in (("hot pixels", "hot_pixels"), ("warm pixels", "warm_pixels")):
        assert f"<dt>{name}</dt><dd>{found[key]}</dd>" in text
    assert "observed 2026-01-01" in text
    # The page of the maps says how many `badpixels` finds, and why it counts others.
    maps = run("report", folder / "maps.fits", "-o", folder / "hot.html")
    assert maps.exit_code == 0
    said = (
        f"by this rule there are {found['hot_pixels']} hot and {found['warm_pixels']} warm pixels"
    )
    assert said in (folder / "hot.html").read_text(encoding="utf-8")


def test_what_is_said_has_no_marks_of_code(folder: Path) -> None:
    outcome = run("report", folder / "darks", "-o", folder / "campaign.html")
    assert outcome.exit_code == 0
    assert "check without truth tells: emdarks check FRAMES." in words(outcome)
    assert "`" not in outcome.stderr
    text = (folder / "campaign.html").read_text(encoding="utf-8")
    assert "<code>emdarks check FRAMES</code>" in text
    assert "Emdarks" not in text
