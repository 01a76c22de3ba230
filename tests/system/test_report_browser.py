"""A report in a real browser: nothing broken, nothing cut off, fit to be printed."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emdarks import characterize
from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset, sample
from emdarks.errors import EmdarksWarning
from emdarks.library import Entry, Kind, Library, Number, find_trends
from emdarks.library import index as sql
from emdarks.report import Page, report_on, trend_page
from emdarks.report.datasheet import datasheet_page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip

#: Put into a copy of the page: measures it and writes what it finds into the page.
MEASURE = """<script>
window.addEventListener("load", () => {
  const root = document.documentElement;
  const high = (node) => node.getBoundingClientRect().height;
  const found = {
    width: root.clientWidth, reach: root.scrollWidth,
    images: [...document.images].map((i) => [i.complete, i.naturalWidth, i.naturalHeight]),
    headings: [...document.querySelectorAll("h2")].map((h) => [h.textContent, high(h)]),
    links: [...document.querySelectorAll("nav a")].map((a) => !!document.querySelector(a.hash)),
    scrolled: [...document.querySelectorAll(".scroll")]
      .filter((n) => n.scrollWidth > n.clientWidth).map((n) => n.textContent.slice(0, 200)),
    cut: [...document.querySelectorAll("main p, main dd, main td, main figcaption")]
      .filter((n) => n.scrollWidth > n.clientWidth + 1).map((n) => n.textContent),
    advice: [...document.querySelectorAll("ul.advice .word")].map((n) => n.textContent),
  };
  const out = document.createElement("pre");
  out.id = "measured"; out.textContent = JSON.stringify(found);
  document.body.append(out);
});
</script>"""


#: The same of points that lie on figures.
MEASURE_POINTS = """<script>
window.addEventListener("load", () => {
  const root = document.documentElement;
  const points = [...document.querySelectorAll(".points a")];
  const outside = points.filter((a) => {
    const own = a.getBoundingClientRect();
    const image = a.parentElement.querySelector("img").getBoundingClientRect();
    return own.left < image.left || own.right > image.right
      || own.top < image.top || own.bottom > image.bottom;
  });
  const found = {
    width: root.clientWidth, reach: root.scrollWidth,
    points: points.length, outside: outside.length,
    cut: [...document.querySelectorAll("main p, main dd, main figcaption")]
      .filter((n) => n.scrollWidth > n.clientWidth + 1).map((n) => n.textContent),
  };
  const out = document.createElement("pre");
  out.id = "measured"; out.textContent = JSON.stringify(found);
  document.body.append(out);
});
</script>"""


def a_trend(folder: Path) -> Page:
    """Of three products with two numbers each."""
    library = Library.init(folder / "library")
    with library.index.writing() as connection:
        for night in range(3):
            begin, name = 61041.1 + night, f"maps_{night}.fits"
            numbers = {"mean_d": Number(1e-3, 1e-4, "e⁻/s"), "read_noise": Number(165.0, 1.0)}
            entry = Entry(name, 1, name, Kind.NOISE_MAPS, "excam", begin=begin, end=begin + 0.1)
            sql.insert(connection, replace(entry, numbers=numbers))
            (library.folder / name).write_bytes(b" ")
    return trend_page(library, find_trends(library), folder)


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        reason = f"NO BROWSER: reports are not looked at; install one of {', '.join(NAMES)}"
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def page() -> Page:
    frames = Dataset(sample())
    return report_on(calibrate_darks_lsq(frames, None), frames=frames)


def open_in(browser: str, profile: Path, *arguments: Any) -> str:
    command = [browser, *QUIET, f"--user-data-dir={profile}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def measured(browser: str, page: Page, script: str, tmp_path: Path, width: int) -> Any:
    """What a script measures in a page, which is no wider than the window."""
    # The page itself allows no script; a copy without that rule can be measured.
    text = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", page.html())
    path = tmp_path / "measured.html"
    path.write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    size = f"--window-size={width},900"
    dom = open_in(browser, tmp_path / "profile", "--dump-dom", size, path.as_uri())
    match = re.search(r'<pre id="measured">(.*?)</pre>', dom, re.DOTALL)
    assert match is not None
    found = json.loads(html.unescape(match.group(1)))
    assert found["reach"] <= max(width, found["width"]), "the page is wider than the window"
    return found


@pytest.mark.parametrize("width", [1200, 560])
def test_page_in_a_browser(browser: str, page: Page, tmp_path: Path, width: int) -> None:
    found = measured(browser, page, MEASURE, tmp_path, width)
    assert found["width"] == width
    assert len(found["images"]) == len(page.pictures) > 5
    for image, picture in zip(found["images"], page.pictures, strict=True):
        assert image == [True, *picture.shape]
    assert [text for text, _ in found["headings"]] == [
        "In brief",
        *(section.title for section in page.sections),
    ]
    assert all(height > 10 for _, height in found["headings"])
    assert all(found["links"])
    assert len(found["links"]) == len(page.sections)
    assert found["cut"] == []
    if width == 1200:
        assert found["scrolled"] == [], "a table does not fit the page"
    assert sorted(found["advice"]) == sorted(item.severity for item in page.advice)


def test_page_allows_no_script(browser: str, page: Page, tmp_path: Path) -> None:
    path = tmp_path / "guarded.html"
    text = page.html().replace("</body>", f"{MEASURE}</body>")
    path.write_text(text, encoding="utf-8")
    dom = open_in(browser, tmp_path / "profile", "--dump-dom", path.as_uri())
    assert "<h1>Noise maps</h1>" in dom
    assert '<pre id="measured">' not in dom


def test_page_on_paper(browser: str, page: Page, tmp_path: Path) -> None:
    path = page.save(tmp_path / "page.html")
    pdf = tmp_path / "page.pdf"
    open_in(
        browser, tmp_path / "profile", "--no-pdf-header-footer", f"--print-to-pdf={pdf}",
        path.as_uri(),
    )  # fmt: skip
    content = pdf.read_bytes()
    pages = len(re.findall(rb"/Type\s*/Page\b", content))
    assert 4 <= pages <= 10
    # A4, and every figure is there.
    assert re.search(rb"/MediaBox\s*\[0 0 59[45][\d.]* 84[12]", content)
    assert len(re.findall(rb"/Subtype\s*/Image\b", content)) >= len(page.pictures)


@pytest.mark.parametrize("width", [1280, 390])
def test_trend_page_in_a_browser(browser: str, tmp_path: Path, width: int) -> None:
    page = a_trend(tmp_path)
    found = measured(browser, page, MEASURE_POINTS, tmp_path, width)
    assert found["outside"] == 0
    assert found["points"] == 3 * 2
    assert found["cut"] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_data_sheet_in_a_browser(browser: str, tmp_path: Path, width: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        sheet = characterize(Dataset(sample()))
    page = datasheet_page(sheet, sheet)
    found = measured(browser, page, MEASURE, tmp_path, width)
    assert found["cut"] == []
    assert all(done and wide and high for done, wide, high in found["images"])
    assert len(found["images"]) >= 3
    assert all(found["links"])
    if width == 1280:
        assert found["scrolled"] == []
