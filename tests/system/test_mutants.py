"""The mutation testing itself: what is changed, what is said of survivors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cosmic_ray", reason="extra `mutation`")

from validation import mutants
from validation.mutants_find import sample
from validation.mutants_run import Bench, Outcome

SOURCE = '''"""Text with 1 < 2."""

from functools import lru_cache

LIMIT: tuple[int, int] | None = None


@lru_cache(3 + 4)
def larger(x: float | None, y: float = 5.0) -> float | int:
    """Which is more than 6."""
    if x is None:
        raise ValueError(f"no {7 + 8}")
    assert x > 9
    return x if x > y + 10 else y
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.py").write_text(SOURCE, encoding="utf-8")
    return tmp_path


def test_only_what_computes_is_changed(folder: Path) -> None:
    found, places = sample(folder, ["one.py"], 100, 3)
    assert len(found) == places == 6  # 5.0, is, if, >, +, 10
    for mutant in found:
        assert mutant.line in (9, 11, 14)
        assert mutant.function == "larger"
        old, new = SOURCE.splitlines(), mutant.source.splitlines()
        assert [i for i, pair in enumerate(zip(old, new, strict=True)) if len(set(pair)) > 1] == [
            mutant.line - 1
        ]
        assert mutant.before == old[mutant.line - 1].strip()
        assert mutant.after == new[mutant.line - 1].strip()


def test_the_choice_follows_from_the_seed(folder: Path) -> None:
    some = [sample(folder, ["one.py"], 3, seed)[0] for seed in (1, 1, 2, 3, 4, 5)]
    assert some[0] == some[1]
    assert len({tuple(mutant.key for mutant in each) for each in some}) > 1
    assert all(len({mutant.key for mutant in each}) == 3 for each in some)


def test_a_line_elsewhere_leaves_the_choice_as_it_is(folder: Path) -> None:
    for seed in range(5):
        before = {mutant.key for mutant in sample(folder, ["one.py"], 100, seed)[0]}
        some = sample(folder, ["one.py"], 3, seed)[0]
        (folder / "one.py").write_text(
            SOURCE.replace("lru_cache\n", "lru_cache\n\nNONE = None\n", 1)
        )
        assert {mutant.key for mutant in sample(folder, ["one.py"], 100, seed)[0]} == before
        assert [m.key for m in sample(folder, ["one.py"], 3, seed)[0]] == [m.key for m in some]
        (folder / "one.py").write_text(SOURCE)


def tree(folder: Path) -> Path:
    """A package of one line, and its test."""
    for part in ("src/emdarks", "tests", "validation"):
        (folder / part).mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntestpaths = ['tests']\n")
    (folder / "src/emdarks/__init__.py").touch()
    (folder / "src/emdarks/one.py").write_text("def twice(x):\n    return 2 * x + 0\n")
    (folder / "tests/test_one.py").write_text(
        "from emdarks.one import twice\n\ndef test_twice():\n    assert twice(3) == 6\n"
    )
    return folder


def test_a_wrong_line_is_noticed_and_a_harmless_one_survives(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    plans = {"one.py": (("tests/test_one.py",),)}
    bench = Bench(root, tmp_path / "copies", 1, plans)
    said: list[str] = []
    bench.measure(said.append)
    assert len(said) == 1
    found, _ = sample(root / "src/emdarks", ["one.py"], 100, 8)
    outcomes = list(bench.run(found))
    for outcome in outcomes:
        changed: dict[str, Any] = {}
        exec(outcome.mutant.source, changed)
        try:
            right = changed["twice"](3) == 6
        except ZeroDivisionError:
            right = False
        assert (outcome.how == "survived") == right
    assert {outcome.how for outcome in outcomes} <= {"killed", "survived"}
    assert (root / "src/emdarks/one.py").read_text() == "def twice(x):\n    return 2 * x + 0\n"


def test_tests_that_fail_without_a_mutant_end_the_run(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    (root / "tests/test_one.py").write_text("def test_no():\n    assert False\n")
    bench = Bench(root, tmp_path / "copies", 1, {"one.py": (("tests/test_one.py",),)})
    with pytest.raises(SystemExit, match="fails without a mutant"):
        bench.measure(lambda line: None)


def test_the_page_counts_and_explains(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = sample(folder, ["one.py"], 3, 1)
    monkeypatch.setattr(mutants, "PLANS", {"one.py": ()})
    outcomes = [
        Outcome(found[0], "killed", 1.0),
        Outcome(found[1], "survived", 1.0),
        Outcome(found[2], "survived", 1.0),
    ]
    text = mutants.page(outcomes, 6, 1, {found[1].key: "It cannot matter."})
    assert "| one.py | 3 | 1 | 0 | 2 | 33.3 % |" in text
    assert f"    - {found[1].before}\n    + {found[1].after}\n\nIt cannot matter." in text
    assert f"    - {found[2].before}\n    + {found[2].after}\n\nNot explained." in text


def test_every_reason_is_about_a_file_that_is_there() -> None:
    for module, _, before, _ in mutants.reasons():
        source = (mutants.ROOT / "src" / "emdarks" / module).read_text(encoding="utf-8")
        assert before in source
