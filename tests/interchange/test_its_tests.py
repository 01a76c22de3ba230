"""Its own tests of darks, as its wheel brings them, with our functions in the place of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib.metadata import distribution
from pathlib import Path

import pytest
from beside import ROWS, Row

HERE = Path(__file__).parent
#: Modules of its tests, and those that end otherwise with our functions: why that is right.
MODULES: dict[str, dict[str, str]] = {
    "test_mean_combine": {},
    "test_build_synthesized_dark": {},
    "test_calibrate_darks_lsq": {
        "test_expected_results_sub": "its save rounds the object in memory to float32, too, ours "
        "the file alone, and the test finds the two unlike; charge after the gain is Poisson in "
        "its mock, which no register makes: our errors of the unweighted fit are too large for it"
    },
    "test_dark_sub": {
        "test_dark_sub": "telemetry rows of a traditional dark are NaN, as documented, not 0, and "
        "array_equal finds NaN unlike NaN; errors by n - 1; its step asks for its very class"
    },
    "test_badpixelmap": {},
}


def ran(module: str, folder: Path, **environment: str) -> dict[str, tuple[bool, float, str]]:
    """Whether each of its tests passed, how long it took, and what it said."""
    source = Path(distribution("corgidrp").locate_file("tests")) / f"{module}.py"
    # Its tests write beside themselves.
    shutil.copy(source, folder)
    plain = ["-p", "ours", "-q", "-o", "addopts=", "--rootdir", str(folder)]
    command = [sys.executable, "-m", "pytest", *plain]
    subprocess.run(
        [*command, f"--junitxml={folder / 'found.xml'}", f"{module}.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE), **environment},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    found = {}
    for case in ElementTree.parse(folder / "found.xml").iter("testcase"):
        said = [*case.iter("failure"), *case.iter("error")]
        words = said[0].get("message", "") if said else ""
        found[case.get("name", "")] = not said, float(case.get("time", 0)), words
    return found


@pytest.mark.parametrize("module", MODULES)
def test_with_ours(module: str, tmp_path: Path) -> None:
    """Its own tests with our functions"""
    expected, found = MODULES[module], ran(module, tmp_path)
    for name, (passed, seconds, words) in found.items():
        reason = expected.get(name, words.splitlines()[0] if words else "")
        result = "passed" if passed else f"differs: {reason}"
        ROWS.append(Row(f"its {name}", module, result, seconds))
    assert found
    failed = {name: words for name, (passed, _, words) in found.items() if not passed}
    assert failed.keys() == expected.keys(), failed


def test_as_its_own(tmp_path: Path) -> None:
    """Its test_dark_sub, our dark made as its own: telemetry rows, errors, class"""
    found = ran("test_dark_sub", tmp_path, EMDARKS_AS_ITS_OWN="1")
    assert found["test_dark_sub"][0], found
