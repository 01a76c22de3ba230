"""The demo runs, and its figures can be drawn of anything."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from emdarks import plots

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


def test_limits_are_robust() -> None:
    values = np.concatenate([np.linspace(0, 1, 999), [1e9, np.nan]])
    low, high = plots.robust_limits(values)
    assert 0 <= low < 0.02
    assert 0.98 < high <= 1
    assert plots.robust_limits([-1.0, 3.0], 0.0, symmetric=True) == (-3.0, 3.0)
    assert plots.robust_limits([np.nan]) == (-1.0, 1.0)
    assert plots.robust_limits([2.0, 2.0]) == (0.0, 4.0)


def test_robust_scatter_is_that_of_a_normal_law(rng: np.random.Generator) -> None:
    values = rng.normal(5.0, 2.0, 100_000)
    values[:100] = 1e6
    assert plots.robust_scatter(values) == pytest.approx(2.0, rel=0.02)
    assert np.isnan(plots.robust_scatter([np.nan]))


@pytest.mark.parametrize("values", [np.full((3, 4), np.nan), np.zeros((3, 4)), np.arange(12.0)])
def test_anything_can_be_drawn(values: np.ndarray, tmp_path: Path) -> None:
    image = values.reshape(3, 4)
    figures = [
        plots.show_map(image, "map", "e-", both_signs=True).figure,
        plots.pull_histogram(values).figure,
        plots.recovered_against_truth(values, 2 * values, linear_below=0.1).figure,
        plots.map_grid([{"a": image, "b": image}], ["t"], ["u"], [False]),
        plots.before_and_after({"before": image, "after": image}),
    ]
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.png", dpi=40)


def test_a_map_says_where_values_go_on() -> None:
    ax = plots.show_map([[0.0, 5.0]], limits=(1.0, 2.0))
    assert ax.images[0].colorbar.extend == "both"
    assert ax.images[0].get_clim() == (1.0, 2.0)


def test_small_maps_keep_what_matters() -> None:
    values = np.arange(5.0 * 7).reshape(5, 7)
    values[0, 0] = np.nan
    np.testing.assert_array_equal(plots.shrink(values, 7), values)
    small = plots.shrink(values, 4)  # blocks of 2 x 2, the last ones smaller
    assert small.shape == (3, 4)
    assert small[0, 0] == pytest.approx((1 + 7 + 8) / 3)
    assert small[2, 3] == 34
    hot = np.zeros(values.shape, dtype=bool)
    hot[2, 3] = True
    kept = plots.shrink(values, 4, keep=hot)
    assert kept[1, 1] == values[2, 3]
    assert (kept != small).sum() == 1
    assert plots.shrink(values, 4, how="max")[0, 0] == 8
    assert plots.shrink(values, 4, how="min")[0, 0] == 1
    assert np.isnan(plots.shrink(np.full((5, 7), np.nan), 4)).all()


def test_a_hot_pixel_is_seen_in_a_large_map() -> None:
    values = np.zeros((60, 90))
    values[31, 47] = 1.0
    ax = plots.show_map(values, most=20, keep=values > 0.5, limits=(0.0, 1.0))
    drawn = ax.images[0].get_array()
    assert drawn.shape == (12, 18)
    assert drawn.max() == 1.0
    # The axes count pixels of the detector, whatever is drawn.
    assert tuple(ax.images[0].get_extent()) == (-0.5, 89.5, -0.5, 59.5)


def test_files_of_few_colours_keep_the_white_of_paper() -> None:
    ax = plots.show_map(np.arange(30.0).reshape(5, 6), "title")
    full, few = plots.as_png(ax.figure, 60), plots.as_png(ax.figure, 60, 64)
    assert len(few) < len(full)
    image = PIL.Image.open(io.BytesIO(few))
    assert image.mode == "P"
    assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_what_lies_beyond_is_shown_by_shape_too() -> None:
    ax = plots.significance(["a", "b", "c"], [0.5, -7.0, np.nan])
    inside, beyond = ax.lines[1:]
    assert (inside.get_marker(), list(inside.get_ydata())) == ("o", [0, 2])
    assert (beyond.get_marker(), list(beyond.get_ydata())) == ("s", [1])
    low, high = ax.get_xlim()
    assert -low == high > 7


@pytest.mark.parametrize("values", [[], [np.nan], [-1.0, 0.0], [1.0, 2.0, 1e6]])
def test_odd_values_can_be_drawn(values: list[float], tmp_path: Path) -> None:
    figures = [
        plots.value_histogram(values, "v", "e", expected=1.0).figure,
        plots.exceedance(values, threshold=2.0).figure,
        plots.dots(values, values, np.abs(values), (slice(0, 5), slice(0, 7))).figure,
        plots.noise_against_signal(values, values, np.nan, 2.0).figure,
        plots.sequence({"a": (values, values), "b": (values, values)}, "x", "y", limit=1).figure,
        plots.show_counts(np.reshape(values or [np.nan], (1, -1))).figure,
    ]
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.png", dpi=40)
