"""The demo runs, on the product alone, and deletes only what it made."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("coarse_pictures")

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "demo.py"


@pytest.fixture(scope="module")
def demo() -> Any:
    if not DEMO.exists():
        pytest.skip("the examples are not beside the tests")
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "demo", module)
        spec.loader.exec_module(module)
        yield module


def test_demo_makes_its_page(demo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, picture = tmp_path / "out", tmp_path / "docs" / "picture.png"
    arguments = ["--output", str(folder), "--frames", "4", "--picture", str(picture)]
    assert demo.main(arguments) == 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    for key in ("truth", "master-darks", "stars", "campaign", "stacks", "maps", "check", "again"):
        assert page.count(f'<section id="{key}">') == 1
    # Self-contained: it asks nobody for anything.
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert not re.search(r">(nan|None)<", page)
    printed = capsys.readouterr().out
    assert str(folder / "report.html") in printed
    for name in ("F, fixed-pattern noise", "C, clock-induced charge", "D, dark current"):
        assert name in printed
    assert picture.stat().st_size < 300_000
    for name in ("noise_maps.fits", "traditional_dark.fits", "synthesised_dark.fits"):
        assert (folder / name).exists()
    assert len(list((folder / "darks").glob("cgi_*.fits"))) == 64


def test_the_demo_installs_the_product_alone(tmp_path: Path) -> None:
    """Tests, lint and documentation come with the other targets, on top of it."""
    if shutil.which("make") is None or not (ROOT / "Makefile").exists():
        pytest.skip("no make, or the Makefile is not beside the tests")

    def steps(target: str) -> str:
        command = ["make", "-n", "-C", str(ROOT), target, f"VENV={tmp_path / 'fresh'}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    demo, lint = steps("demo"), steps("lint")
    assert re.search(r"tools/install\.py .* \.\n", demo)
    assert ".[" not in demo
    assert demo.count("echo") == 4
    assert re.search(r"tools/install\.py .* \.\n", lint)
    assert re.search(r"tools/install\.py .* '\.\[test,lint,docs\]'\n", lint)


def test_demo_deletes_only_what_it_made(demo: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SystemExit, match="was not made by this demo"):
        demo.fresh(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
    own = tmp_path / "own"
    demo.fresh(own)
    (own / "old.fits").touch()
    assert [path.name for path in demo.fresh(own).iterdir()] == [demo.MARK]
