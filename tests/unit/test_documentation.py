"""What the documentation points to exists."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path

from loops import for_each

DOCS = Path(__file__).parents[2] / "docs"
TESTS = Path(__file__).parents[1]
SOURCE = DOCS.parent / "src" / "emdarks"
CORE = DOCS.parent / "src" / "core"


def statements() -> str:
    return (DOCS / "statements.md").read_text()


def named_tests() -> list[tuple[str, str | None]]:
    """Files and functions; ``::name`` alone belongs to the file before it."""
    found: list[tuple[str, str | None]] = []
    current = ""
    for file, name in re.findall(r"`(\w+/test_\w+\.py)?(?:::(\w+))?`", statements()):
        current = file or current
        if file or name:
            found.append((current, name or None))
    return found


@for_each("file, name", sorted(set(named_tests()), key=str))
def test_tests_exist(file: str, name: str | None) -> None:
    text = (TESTS / file).read_text()
    assert name is None or f"def {name}(" in text


@for_each("place", sorted(set(re.findall(r"`(\w+/?\w+\.py)`( `[\w.]+`)?", statements()))))
def test_places_exist(place: tuple[str, str]) -> None:
    file, name = place
    if "/test_" in file:
        return
    text = (SOURCE / file).read_text()
    if name:
        assert re.search(rf"(def|class) {name.strip(' `').split('.')[-1]}\b", text), place


def test_there_is_something_to_check() -> None:
    assert len(named_tests()) > 40


def equations_cited() -> list[tuple[str, int, str]]:
    return [
        (path.name, int(number), label)
        for path in [*sorted(SOURCE.rglob("*.py")), *sorted(CORE.glob("*.hpp"))]
        for number, label in re.findall(r"eq\. (\d+)\s(?:// )?\((\w+)\)", path.read_text())
    ]


@for_each("file, number, label", equations_cited())
def test_equations_cited_stand_on_the_method_page(file: str, number: int, label: str) -> None:
    labels = re.findall(r"\$\$ \((\w+)\)$", (DOCS / "method.md").read_text(), re.MULTILINE)
    assert labels[number - 1] == label


def test_every_equation_of_the_method_page_is_cited() -> None:
    labels = re.findall(r"\$\$ \((\w+)\)$", (DOCS / "method.md").read_text(), re.MULTILINE)
    assert {label for _, _, label in equations_cited()} == set(labels)


def test_thresholds_of_the_inspection_are_those_of_its_page() -> None:
    from emdarks.checks import thresholds as at

    page = " ".join((DOCS / "howto_inspect.md").read_text().split())
    said = {
        f"more than {at.ODD_FRAME:g} standard errors",
        f"more than {at.SIGNIFICANT:g} standard errors",
        f"fewer than {at.FRAMES_TO_COMPARE} frames",
        f"a stack of {at.FRAMES_FOR_SLOPE} frames or more",
        f"by less than {at.HARMLESS:g} of the scatter",
        f"more than {at.FAR_SCATTER:g} times",
        f"more than {at.SATURATED_FRAME:.0%} more".replace("%", " %"),
        f"more than {at.EXPECTED_FLAGS:g}",
        f"more than {at.MASKED_FRAME:.0%} of the samples".replace("%", " %"),
        f"more than {at.EXCURSION:g} degrees",
        f"more than {at.EXCURSION_SIGMAS:g} robust standard deviations",
        f"more than {at.ENTANGLED:.1f} times (the root of {at.ENTANGLED**2:.0f})",
        f"up to {at.FEW_PIXELS:.0%} of the imaging area".replace("%", " %"),
        f"more than {at.MASKED_STACK:.0%} of a stack".replace("%", " %"),
    }
    assert {words for words in said if words not in page} == set()
    assert (at.SHORT_STACK, at.GRID_GAPS) == (0.25, 0.1)  # a quarter, a tenth
    assert at.SPREAD_OF_LIGHT == 30  # a thirtieth


def test_the_command_line_page_knows_every_command_and_option() -> None:
    from emdarks.cli.app import every_command

    page = (DOCS / "command_line.md").read_text()
    for name, command in every_command().items():
        assert f"$ emdarks {name} --help" in page, f"run make cli-page: {name} is not there"
        section = page.split(f"## emdarks {name}\n")[1].split("\n## ")[0]
        options = [option for parameter in command.params for option in parameter.opts]
        for option in options:
            if option.startswith("--"):
                assert option in section, f"run make cli-page: {name} {option} is not there"
        help_text = " ".join((command.help or "").split())
        for example in re.findall(r"Example: (emdarks .*?)(?= Example:|$)", help_text):
            assert f"$ {example}\n" in page, f"run make cli-page: {example} is not there"


PUBLIC = (
    "accumulate",
    "bad_pixels",
    "cameras",
    "checks",
    "darks",
    "data",
    "detector",
    "dq",
    "errors",
    "half_split",
    "library",
    "planning",
    "plots",
    "simulate",
    "subtract",
)


@for_each("module", PUBLIC)
def test_public_names_are_in_the_reference(module: str) -> None:
    pages = "".join(path.read_text() for path in sorted((DOCS / "reference").glob("*.md")))
    if re.search(rf"automodule:: emdarks\.{module}\n   :members:", pages):
        return
    public = importlib.import_module(f"emdarks.{module}").__all__
    listed = set(re.findall(r"(?:autoclass|autofunction|autoexception|py:data):: ([\w.]+)", pages))
    short = {name.rsplit(".", 1)[-1] for name in listed}
    assert set(public) <= short


def test_names_of_the_package_are_in_the_reference() -> None:
    import emdarks

    hub = (DOCS / "reference.md").read_text()
    starred = set(re.findall(r"~emdarks\.[\w.]*?(\w+)`\\\*", hub))
    assert starred == set(emdarks.__all__) - {"__version__"}


def test_page_of_checks_is_up_to_date() -> None:
    page = runpy.run_path(str(DOCS / "make_checks_page.py"))["page"]
    assert (DOCS / "checks.md").read_text() == page(), "run make checks-page"
