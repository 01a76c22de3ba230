"""What is slow to import is loaded where it is needed, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emdarks.data import sample

#: Libraries that take as long to import as NumPy, or longer.
SLOW = {
    *("astropy", "pydantic", "rich", "typer", "scipy", "matplotlib", "PIL", "jinja2"),
    *("dask", "distributed", "fsspec", "s3fs"),
}
#: What a command that reads frames and writes a product does without.
NOT_NEEDED = {
    *("scipy", "matplotlib", "PIL", "jinja2", "dask", "distributed", "fsspec", "s3fs"),
    *("astropy.table", "astropy.nddata"),
}
PROGRAM = """
import sys
from emdarks.cli import main
try:
    main()
finally:
    print("loaded", *sys.modules)
"""


def python(*arguments: object) -> set[str]:
    """Modules that a program has loaded at its end, which it says in its last line."""
    made = subprocess.run(
        [sys.executable, "-c", *map(str, arguments)], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    return set(made.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "module",
    ["emdarks", "emdarks.darks", "emdarks.data", "emdarks.detector", "emdarks.checks"],
)
def test_imports_load_numpy_alone(module: str) -> None:
    assert not python(f"import {module}, sys; print('loaded', *sys.modules)") & SLOW


def test_extras_are_imported_only_when_they_are_used() -> None:
    program = (
        "import sys, astropy.io.fits\n"
        "others = set(sys.modules)\n"  # old versions of Astropy import fsspec where it is there
        "import emdarks.cli.app, emdarks.darks, emdarks.checks, emdarks.accumulate\n"
        "from emdarks.data import Dataset, sample\n"
        "Dataset(sample())\n"
        "extras = {'dask', 'distributed', 'fsspec', 's3fs'}\n"
        "print(sorted(extras & set(sys.modules) - others))"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert made.stdout == "[]\n"


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "maps.fits"
    command("noisemaps", sample()[0].parent, "-o", path)
    return path


def command(*arguments: object) -> None:
    """Run a command to its end: it loads what it needs."""
    loaded = python(PROGRAM, *arguments)
    assert "astropy.io.fits" in loaded
    # Old versions of Astropy import more by themselves.
    alone = python("import astropy.io.fits, sys; print('loaded', *sys.modules)")
    assert not loaded & NOT_NEEDED - alone


def test_noise_maps_load_no_more_than_they_need(maps: Path) -> None:
    assert maps.exists()


@pytest.mark.parametrize(
    "words",
    [
        "inspect FRAMES",
        "dark FRAMES -o FOLDER/dark.fits --gain 5000 --exptime 2",
        "subtract FRAMES --dark MAPS -o FOLDER/less",
        "synthesize MAPS -o FOLDER/made.fits --gain 50 --exptime 10",
        "badpixels MAPS -o FOLDER/bad.fits",
    ],
)
def test_commands_load_no_more_than_they_need(words: str, maps: Path, tmp_path: Path) -> None:
    places = {"FRAMES": sample()[0].parent, "MAPS": maps, "FOLDER": tmp_path}
    for name, place in places.items():
        words = words.replace(name, str(place))
    command(*words.split())
