"""What a release says of itself is the same everywhere, and its figures stand on their pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from tools import release_check

from loops import for_each

ROOT = release_check.ROOT
#: Pages for those who come to the repository.
PAGES = ("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md")


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


class Figures(NamedTuple):
    """A row of a table: a page, what marks a row on it, the figures that stand there."""

    page: str
    marks: list[str]
    figures: list[str]

    def stand_on(self, page: str) -> bool:
        in_order = r".*(?<![\d.])".join(["", *(re.escape(figure) for figure in self.figures)])
        return any(
            all(mark in line for mark in self.marks) and re.search(rf"{in_order}(?![\d.])", line)
            for line in page.splitlines()
        )


def figures_of(page: str) -> list[Figures]:
    """The rows of its tables that name a page of figures, as `page: *mark*`."""
    return [
        Figures(where[1], re.findall(r"\*(.+?)\*", where[2]), cells[1].strip().split("; "))
        for cells in (line.strip("|").split(" | ") for line in text(page).splitlines())
        if len(cells) > 2 and (where := re.search(r"(docs/\w+\.md)[)`]: (\*.+\*)", cells[2]))
    ]


@for_each("row", [row for page in ("README.md", "paper.md") for row in figures_of(page)])
def test_figures_stand_on_their_pages(row: Figures) -> None:
    assert row.stand_on(text(row.page))


def test_there_are_figures_and_another_one_is_noticed() -> None:
    assert (len(figures_of("README.md")), len(figures_of("paper.md"))) == (5, 12)
    page = "| pull std of F | 0.97 to 1.03 | 0.993 to 1.003 |\n| of hot pixels | 0.943 to 1.068 |"
    row = Figures("", ["pull std of F"], ["0.993 to 1.003"])
    assert row.stand_on(page)
    assert row._replace(figures=["0.97 to 1.03", "0.993 to 1.003"]).stand_on(page)
    assert not row._replace(figures=["0.943 to 1.068"]).stand_on(page)
    assert not row._replace(figures=["993 to 1.003"]).stand_on(page)
    assert not row._replace(figures=["0.993 to 1.00"]).stand_on(page)
    assert not row._replace(marks=["pull std of D"]).stand_on(page)


def test_the_prose_of_the_paper_has_no_figure_that_nothing_compares() -> None:
    prose = [line for line in text("paper.md").splitlines() if not line.startswith("|")]
    assert re.findall(r"(?<![\d.])\d+\.\d+(?![\d.])", "\n".join(prose)) == []


def test_the_paper_cites_what_its_list_has() -> None:
    cited = set(re.findall(r"@(\w+)", text("paper.md")))
    assert cited == set(re.findall(r"^@\w+\{(\w+),$", text("paper.bib"), re.MULTILINE))


def test_the_paper_has_the_length_that_the_journal_wants() -> None:
    assert 750 < len(text("paper.md").split()) < 1750


@for_each("page", PAGES)
def test_links_lead_to_files_of_the_repository(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text(page))
    files = [link.partition("#")[0] for link in links if "://" not in link]
    assert links
    missing = [file for file in files if file and not ((ROOT / page).parent / file).exists()]
    assert missing == []


def test_badges_say_what_the_project_file_says() -> None:
    badges = re.findall(r"badge/(\S+?)-\w+\)\]\(", text("README.md"))
    said = dict(badge.replace("--", "~").split("-") for badge in badges)
    project = release_check.project_file()
    pythons = [line.split(":: ")[-1] for line in project["classifiers"] if ":: 3." in line]
    assert said["python"].split("%20%7C%20") == pythons
    assert said["licence"].replace("%20", "-").replace("~", "-") == project["license"]
    assert f"Development Status :: 3 - {said['status'].title()}" in project["classifiers"]


def test_version_date_and_address_are_the_same_everywhere() -> None:
    assert next(release_check.statements()).startswith("passed: version ")
    assert len(list(release_check.statements())) == 3


STATEMENTS = {
    "CITATION.cff": "version: 1.2.0\n",
    "CHANGES.md": "# Changes\n\n## 1.2.0 (unreleased)\n",
    "pyproject.toml": "[project]\n",
    "recipe/recipe.yaml": 'context:\n  version: "1.2.0"\n',
    "src/emdarks/_version.py": '__version__ = "1.2.0"\n',
}
ADDRESS = "https://example.org/emdarks"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in STATEMENTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(release_check, "ROOT", tmp_path)
    return tmp_path


def test_what_is_not_there_yet_is_said(project: Path) -> None:
    lines = list(release_check.statements())
    assert [line.partition(":")[0] for line in lines] == ["passed", *["not there yet"] * 2]


def test_a_release_with_date_and_address_passes(project: Path) -> None:
    (project / "CHANGES.md").write_text("## 1.2.0 (2027-01-31)\n")
    (project / "CITATION.cff").write_text(
        f'version: 1.2.0\ndate-released: 2027-01-31\nrepository-code: "{ADDRESS}"\n'
    )
    (project / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{ADDRESS}"\n')
    with (project / "recipe/recipe.yaml").open("a") as recipe:
        recipe.write(f"about:\n  repository: {ADDRESS}\n")
    assert all(line.startswith("passed") for line in release_check.statements())


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("CITATION.cff", "version: 1.1.0\n", "'1.1.0'"),
        ("recipe/recipe.yaml", "context: {}\n", "None"),
        ("CITATION.cff", "version: 1.2.0\ndate-released: 2027-01-31\n", "2027-01-31"),
        ("CHANGES.md", "## 1.2.0 (2027-01-31)\n", "2027-01-31"),
        ("pyproject.toml", f'[project.urls]\nRepository = "{ADDRESS}"\n', ADDRESS),
    ],
)
def test_what_differs_is_named(project: Path, file: str, content: str, words: str) -> None:
    (project / file).write_text(content)
    with pytest.raises(AssertionError, match=re.escape(words)):
        list(release_check.statements())
