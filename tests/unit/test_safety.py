"""No content of a file is ever run, and supported versions are those that are tested."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import emdarks
from loops import for_each

ROOT = Path(__file__).parents[2]
SOURCES = sorted(Path(emdarks.__file__).parent.rglob("*.py"))

#: Modules and functions that could run what a file says.
RUNS = {"pickle", "marshal", "shelve", "subprocess", "dill", "cloudpickle", "joblib"}
#: A Dask client sends pickled tasks to its own workers, as Dask itself does.
TRUSTED = {"dask.py": {"pickle"}}
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "load_module"}


@for_each("path", SOURCES, ids=lambda path: path.name)
def test_nothing_runs_the_content_of_a_file(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named = {alias.name.split(".")[0] for alias in node.names}
            assert not named & RUNS - TRUSTED.get(path.name, set())
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in RUNS
        elif isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "id", getattr(function, "attr", ""))
            owner = getattr(getattr(function, "value", None), "id", "")
            assert name not in CALLS or (owner, name) == ("re", "compile")
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            assert "shell" not in keywords
            if name == "load" and owner == "np":
                assert "allow_pickle" in keywords
            if "allow_pickle" in keywords:
                assert getattr(keywords["allow_pickle"], "value", None) is False


def _bounds(requirements: list[str]) -> dict[str, str]:
    found = (re.fullmatch(r"([\w-]+)>=([\d.]+)", line) for line in requirements)
    return {match[1].lower(): match[2] for match in found if match}


def test_the_oldest_versions_tested_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = _bounds(project["dependencies"])
    assert len(needed) == len(project["dependencies"]), "every dependency has a lower bound"
    needed |= _bounds(project["optional-dependencies"]["test"])
    lines = [
        line.split("==")
        for line in (ROOT / "tests" / "oldest.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    pinned = dict(lines)
    for name, bound in needed.items():
        if name == "emccd-detect":  # only an independent source of frames
            continue
        version = pinned[name]
        assert version == bound or version.startswith(f"{bound}.0"), f"{name}: {version}, {bound}"
