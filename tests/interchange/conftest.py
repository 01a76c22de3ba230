"""Products of one small campaign, and the table of what was tried."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from beside import REGIONS, ROWS, Ours, Row, emdarks

PACKAGES = ("emdarks", "corgidrp", "numpy", "scipy", "astropy", "pandas", "pytest")
PRODUCTS = ("maps", "dark", "image_dark", "average", "bad")
BEGAN = time.perf_counter()


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera file for `REGIONS`."""
    lines = ['like = "excam"', 'name = "mocks"', "[geometry.SCI]"]
    for name, value in REGIONS["SCI"].items():
        if isinstance(value, dict):
            pairs = ", ".join(f"{key} = {number}" for key, number in value.items())
            lines.append(f"{name} = {{ {pairs} }}")
        else:
            lines.append(f"{name} = {value}")
    path = tmp_path_factory.mktemp("camera") / "mocks.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory, camera: Path) -> Ours:
    """A campaign in EM electrons, and what our commands make of it."""
    folder = tmp_path_factory.mktemp("ours")
    of, like = ("--camera", camera), ("--gain", 1000, "--exptime", 60)
    emdarks(folder, "simulate", "darks", "--frames", 10, "--units", "e", *of)
    emdarks(folder, "noisemaps", "darks", "-o", "maps.fits", *of)
    frames = sorted(str(path) for path in folder.glob("darks/cgi_*.fits"))
    emdarks(folder, "synthesize", "maps.fits", "-o", "dark.fits", *like, "--full-frame", *of)
    emdarks(folder, "synthesize", "maps.fits", "-o", "image_dark.fits", *like, *of)
    emdarks(folder, "dark", "darks", "-o", "average.fits", *like, "--full-frame", *of)
    emdarks(folder, "badpixels", "maps.fits", "-o", "bad.fits", *of)
    emdarks(folder, "subtract", "darks", "--dark", "maps.fits", "-o", "subtracted", *of)
    products = [str(folder / f"{name}.fits") for name in PRODUCTS]
    subtracted = sorted(str(path) for path in folder.glob("subtracted/cgi_*.fits"))
    return Ours(folder, frames, *products, subtracted)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """One line a test: the first line of its docstring says what it tries."""
    report = yield
    if report.when == "call" or report.outcome != "passed":
        case = f" [{item.callspec.id}]" if hasattr(item, "callspec") else ""
        what = item.function.__doc__.splitlines()[0] + case
        tried_by = f"{item.path.stem}::{item.originalname}"
        ROWS.append(Row(what, tried_by, report.outcome, report.duration))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table: what, tried by, result, time; and the versions."""
    say = terminalreporter.write_line
    terminalreporter.section("beside corgidrp")
    say(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    say(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores\n")
    lines = [Row("what", "tried by", "result", 0.0), *ROWS]
    wide, wider = (max(len(line[i]) for line in lines) for i in (0, 1))
    for what, tried_by, result, seconds in lines:
        say(f"{what:{wide}}  {tried_by:{wider}}  {seconds:7.2f} s  {result}")
    say(f"{len(ROWS)} lines, {time.perf_counter() - BEGAN:.0f} s in all")
