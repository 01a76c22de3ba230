"""Imports point down, and each library lives in one place."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import emdarks
from loops import for_each

ROOT = Path(emdarks.__file__).parent

# From the top down: a package may import those below it, and itself.
LAYERS = [
    {"cli"},
    {"report"},
    {"library"},
    {"datasheet"},
    {"simulate", "half_split", "planning", "subtract", "bad_pixels"},
    {"darks", "data"},
    {"checks"},
    {"fit"},
    {"products"},
    {"stacks"},
    {"accumulate"},
    {"frames"},
    {"cameras", "fits"},
    {"plots", "raw"},
    {"arguments", "detector", "dq", "moments"},
    {"counting_sums", "photon_counts"},
    {"one_electron"},
    {"errors", "_core", "_version"},
]
HEIGHT = {name: len(LAYERS) - i for i, layer in enumerate(LAYERS) for name in layer}

HOMES = {
    "typer": "cli",
    "rich": "cli",
    "matplotlib": "plots",
    "PIL": "plots",
    "jinja2": "report",
    "pydantic": "cameras",
    "dask": "accumulate",
    "distributed": "accumulate",
    # CCDData, and the units it needs: imported when a frame is converted.
    "astropy.nddata": "frames",
    "astropy.units": "frames",
    "fsspec": "fits",
    "s3fs": "fits",
}


def modules() -> list[Path]:
    return [
        path
        for path in sorted(ROOT.rglob("*.py"))
        if path.parent != ROOT or path.stem not in {"__init__", "__main__"}
    ]


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@for_each("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    own = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "emdarks" or len(parts) < 2 or parts[1] not in HEIGHT:
            continue
        assert parts[1] == own or HEIGHT[parts[1]] < HEIGHT[own], f"{own} imports {name}"


def home_of(name: str) -> str | None:
    """Home of a library, or of a part of one."""
    parts = name.split(".")
    return next((HOMES[k] for k in (".".join(parts[:2]), parts[0]) if k in HOMES), None)


@for_each("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_library_lives_in_one_place(path: Path) -> None:
    for name in imports(path):
        home = home_of(name)
        assert home is None or room(path) == home, f"{path} imports {name}"
        if name.startswith("astropy.io.fits") or name == "astropy.io.fits":
            assert room(path) == "fits"


def test_nothing_is_compiled_at_run_time() -> None:
    """The kernels are in `emdarks._core`; no library that compiles Python takes part."""
    found = {name.split(".")[0] for path in modules() for name in imports(path)}
    assert not found & {"numba", "llvmlite", "cython", "jax", "numexpr", "pythran"}


def test_only_one_file_knows_dask_and_one_knows_fsspec() -> None:
    users = {
        library: {path.name for path in modules() for name in imports(path) if library in name}
        for library in ("distributed", "fsspec")
    }
    assert users == {"distributed": {"dask.py"}, "fsspec": {"remote.py"}}


def test_every_room_has_a_layer() -> None:
    assert {room(path) for path in modules()} <= set(HEIGHT)
