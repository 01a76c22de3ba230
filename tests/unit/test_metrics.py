"""The figures of the code, on a small package made for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.metrics import (
    Import,
    Metrics,
    circles,
    measure,
    page,
    percentile,
    read_layers,
    slowest_tests,
)

LAYERS = """\
LAYERS = [
    {"top"},
    {"middle", "beside"},
    {"low"},
]
"""

FILES = {
    "__init__.py": '"""A package."""\n__all__ = ["one", "two"]\n',
    "top/__init__.py": "from small.top.a import run\n__all__ = ['run']\n",
    "top/a.py": '''\
"""What stands first."""

from small.low import thing
from small import middle


def run(a, b, /, c, d, e, f, *args, g, h, i, **more):
    """What it does.

    At length.
    """
    # A comment.
    first = (
        a,

        b,
    )

    def inside(self):
        return first
    return inside


class Thing:
    """Whatever."""

    def short(self, a, b, c, d, e, f, g, h, i):
        return self


def only_words():
    """Nothing."""
''',
    "middle.py": "from .beside import x\ndef late():\n    from small import top\n    return top\n",
    "beside.py": "x = 1\n",
    "low/__init__.py": "thing = 1\n",
    "low/b.py": "import typing\nif typing.TYPE_CHECKING:\n    from small.low.c import y\n",
    "low/c.py": "from . import b\n__all__ = ('y',)\ny = b\n",
    "_core.pyi": "def kernel(a: int) -> None: ...\n",
}


@pytest.fixture
def found(tmp_path: Path) -> Metrics:
    for name, text in FILES.items():
        path = tmp_path / "src" / "small" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    core = tmp_path / "src" / "core"
    core.mkdir()
    (core / "a.cpp").write_text("int a;\n\nint b;\n")
    (core / "a.hpp").write_text("int a;\n")
    (core / "notes.txt").write_text("not counted\n")
    layers = tmp_path / "layers.py"
    layers.write_text(LAYERS)
    durations = tmp_path / "durations.txt"
    durations.write_text(
        "= slowest durations =\n2.00s call     tests/a.py::test_a[x - y]\n"
        "1.50s setup    tests/a.py::test_b\n1.00s call     tests/a.py::test_b\n3 passed in 9.00s\n"
    )
    return measure(tmp_path, "small", layers, durations)


def test_lines_of_statements_and_arguments(found: Metrics) -> None:
    assert {each.name: (each.lines, each.arguments) for each in found.functions} == {
        # Without docstring, comment and blank lines; the function inside counts for both.
        "small.top.a.run": (7, 11),
        "small.middle.late": (2, 0),
        "small.top.a.run.inside": (1, 0),
        "small.top.a.Thing.short": (1, 9),
        "small.top.a.only_words": (0, 0),
    }
    assert found.functions[0].name == "small.top.a.run"


def test_lines_by_folder_and_language(found: Metrics) -> None:
    assert found.lines["top"] == FILES["top/a.py"].count("\n") + 2
    assert sum(found.lines.values()) == sum(
        text.count("\n") for name, text in FILES.items() if name.endswith(".py")
    )
    assert list(found.kernels.values()) == [4, 1, 0]


def test_circles_at_any_level(found: Metrics) -> None:
    """In functions and for type checking, too; relative imports are followed."""
    assert found.module_circles == [
        ["small.middle", "small.top", "small.top.a"],
        ["small.low.b", "small.low.c"],
    ]
    assert found.folder_circles == [["small.middle", "small.top"]]


def test_imports_that_do_not_point_down(found: Metrics) -> None:
    assert found.upward == [
        Import("small.middle", "small.beside"),
        Import("small.middle", "small.top"),
    ]
    assert found.without_layer == ["_core"]


def test_names_and_docstrings(found: Metrics) -> None:
    assert (found.public, found.public_in_packages, found.public_of_package) == (4, 3, 2)
    assert found.begin_with_what == ["small.top.a", "small.top.a.run"]


def test_slow_tests_are_summed() -> None:
    text = "\n".join(f"{i}.00s call     tests/t.py::test_{i}" for i in range(12))
    assert len(slowest_tests(text)) == 10
    assert slowest_tests(text)[0] == (11.0, "tests/t.py::test_11")


def test_the_page_says_it_all(found: Metrics) -> None:
    text = page(found)
    for words in (
        "| lines of their statements: longest | 7 (`small.top.a.run`) |",
        "| `small.top.a.run` | 11 |",
        "| circles of modules | 2 (of 3, 2) |",
        "- `small.middle` imports `small.top`",
        "| `tests/a.py::test_b` | 2.5 |\n| `tests/a.py::test_a[x - y]` | 2.0 |",
    ):
        assert words in text


def test_percentiles_and_circles() -> None:
    assert percentile(range(1, 11), 0.9) == 9
    assert percentile([4], 0.9) == 4
    assert percentile([], 0.9) == 0
    ring = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"d2"}, "d2": set()}
    assert circles(ring) == [["a", "b", "c"]]


def test_layers_are_those_of_the_architecture() -> None:
    heights = read_layers(Path(__file__).with_name("test_architecture.py"))
    assert heights["cli"] > heights["frames"] > heights["errors"]
