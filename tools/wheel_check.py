"""Build what would be published, and use it as somebody does who has no compiler.

python tools/wheel_check.py

Makes the source archive, a wheel from that archive alone, and a new environment with this wheel and
what it depends on; runs use_wheel.py there with a PATH that has no compiler. Leaves nothing behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parent


def main() -> None:
    """Build, look into, install and use."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, wheel = build(folder)
        look_into(source, wheel)
        print(f"{source.name}: {size(source)}, {wheel.name}: {size(wheel)}", flush=True)
        use(wheel, folder)


def build(folder: Path) -> tuple[Path, Path]:
    """Archive of the sources, and the wheel that is built from it."""
    start = time.perf_counter()
    program = f"import scikit_build_core.build as b; print(b.build_sdist({str(folder)!r}))"
    subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=TOOLS.parent, stdout=subprocess.DEVNULL
    )
    (source,) = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source], check=True
    )
    (wheel,) = folder.glob("*.whl")
    print(f"built in {time.perf_counter() - start:.0f} s")
    return source, wheel


def look_into(source: Path, wheel: Path) -> None:
    """Both have what they need; the wheel has nothing else."""
    with tarfile.open(source) as archive:
        there = {path.partition("/")[2] for path in archive.getnames()}
    needed = {"CMakeLists.txt", "pyproject.toml", "src/core/level.cpp", "recipe/recipe.yaml"}
    needed |= {"LICENSE", "README.md", "CHANGES.md", "CITATION.cff", "CONTRIBUTING.md"}
    needed |= {"CODE_OF_CONDUCT.md", "SECURITY.md", "paper.md", "paper.bib", "Dockerfile"}
    assert needed <= there, needed - there
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
    assert {"emdarks/__init__.py", "emdarks/_core.pyi", "emdarks/py.typed"} <= set(names)
    assert {path.split("/")[0].partition("-")[0] for path in names} == {"emdarks"}
    assert any(path.endswith(".dist-info/licenses/LICENSE") for path in names)
    assert [path for path in names if path.endswith((".so", ".cpp", ".hpp"))] == [
        path for path in names if path.startswith("emdarks/_core.") and path.endswith(".so")
    ]


def use(wheel: Path, folder: Path) -> None:
    """Run use_wheel.py in a new environment, with no compiler on its PATH."""
    python = install(wheel, folder / "environment")
    program = folder / "use_wheel.py"
    program.write_bytes((TOOLS / "use_wheel.py").read_bytes())
    nowhere = {"PATH": str(python.parent), "HOME": str(folder)}
    subprocess.run([python, program], check=True, cwd=folder, env=nowhere)


def install(wheel: Path, where: Path) -> Path:
    """Return the Python of a new environment with the wheel and its dependencies."""
    venv.create(where, with_pip=True)
    python = where / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Nothing is compiled here: neither ours nor what it depends on.
    path = {**os.environ, "PATH": str(python.parent)}
    subprocess.run([*pip, "--only-binary", ":all:", wheel], check=True, env=path)
    library = next((where / "lib").glob("python*/site-packages"))
    of_packages = {
        entry.name: sum(file.stat().st_size for file in entry.rglob("*") if file.is_file())
        for entry in library.iterdir()
        if entry.is_dir()
    }
    whole = sum(of_packages.values()) / 1e6
    print(f"installed: {of_packages['emdarks'] / 1e6:.1f} MB, with its dependencies {whole:.0f} MB")
    return python


def size(path: Path) -> str:
    """Size of a file, in words."""
    return f"{path.stat().st_size / 1e6:.2f} MB"


if __name__ == "__main__":
    main()
