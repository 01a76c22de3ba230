"""Code on the pages of the documentation runs, in order, on a small campaign.

Blocks marked ``python`` share names from block to block of a page; ``pycon`` blocks must show
what they give; of ``console`` blocks the lines that begin with ``$`` are run. A comment
``% not run: reason`` right above a block leaves it out.
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from emdarks import calibrate_darks_lsq, simulate
from emdarks.cli.app import app
from emdarks.data import Dataset

pytestmark = pytest.mark.usefixtures("coarse_pictures")

DOCS = Path(__file__).parents[2] / "docs"
#: Pages whose code is run here; notebooks run when the documentation is built.
PAGES = (
    "howto_corgidrp.md",
    "howto_library.md",
    "howto_many_frames.md",
    "howto_pipeline.md",
    "howto_raw.md",
    "howto_software.md",
    "howto_subtract.md",
)
BLOCK = re.compile(
    r"(?P<left_out>^% not run: [^\n]+\n)?^```(?P<kind>python|pycon|console)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

HIDDEN = re.compile(r"```\{code-cell\} ipython3\n:tags: \[remove-cell\]\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    kind: str
    code: str
    left_out: bool


def blocks(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [
        Block(found["kind"], found["code"], found["left_out"] is not None)
        for found in BLOCK.finditer(text)
    ]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``darks``, ``science`` and ``maps.fits``."""
    folder = tmp_path_factory.mktemp("campaign")
    made = simulate.simulate_campaign(folder / "darks", "excam-sample", frames=4, seed=2)
    (folder / "science").mkdir()
    scene = simulate.star_field(made.truth.camera, np.random.default_rng(2))
    simulate.write_science_frame(folder / "science", made.truth, 1000.0, 60.0, scene)
    calibrate_darks_lsq(Dataset(made.paths), None).save(folder, "maps.fits")
    return folder


def run_command(line: str) -> None:
    words = shlex.split(line)
    if words[0] != "emdarks":
        subprocess.run(line, shell=True, check=True)
        return
    outcome = CliRunner().invoke(app, words[1:])
    assert outcome.exit_code == 0, f"{line}\n{outcome.output}"


def run_doctest(code: str, names: dict[str, Any], page: str) -> None:
    test = doctest.DocTestParser().get_doctest(code, names, page, page, 0)
    runner = doctest.DocTestRunner()
    runner.run(test, clear_globs=False)
    assert runner.tries > 0
    assert runner.failures == 0


@pytest.mark.parametrize("page", PAGES)
def test_code_runs(
    page: str, campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("darks", "science"):
        (tmp_path / name).symlink_to(campaign / name)
    if page in ("howto_software.md", "howto_subtract.md"):
        (tmp_path / "maps.fits").symlink_to(campaign / "maps.fits")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    ran = 0
    for block in blocks(page):
        if block.left_out:
            continue
        ran += 1
        if block.kind == "python":
            exec(compile(block.code, page, "exec"), names)
        elif block.kind == "pycon":
            run_doctest(block.code, names, page)
        else:
            for line in block.code.splitlines():
                if line.startswith("$ "):
                    run_command(line.removeprefix("$ "))
    assert ran > 0


def test_every_page_with_code_is_run_or_left_out_for_a_reason() -> None:
    left_out = {page: sum(block.left_out for block in blocks(page)) for page in PAGES}
    assert left_out == {
        "howto_corgidrp.md": 2,  # corgidrp is no dependency
        "howto_library.md": 0,
        "howto_many_frames.md": 0,
        "howto_pipeline.md": 0,
        "howto_raw.md": 0,
        "howto_software.md": 0,
        "howto_subtract.md": 0,
    }


def test_notebooks_are_written_down_in_full() -> None:
    """Cells that stay out of sight set warnings and figures, and nothing that a reader needs."""
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for cell in HIDDEN.findall(text):
            lines = [line for line in cell.splitlines() if line and not line.startswith(("#", "%"))]
            assert all("warnings" in line for line in lines), path.name
