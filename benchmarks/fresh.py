"""The package as an installation leaves it: a copy in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from processes import Finished, run

SCRIPT = """#!{python}
import sys
from emdarks.__main__ import main
sys.exit(main())
"""
# The same command twice in one process; the seconds of the second come last.
TWICE = """
import sys, time
from emdarks.__main__ import main
for _ in range(2):
    start = time.perf_counter()
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    taken = time.perf_counter() - start
print(taken)
"""
# Kernels keep code, and libraries their settings, in places that these name.
LEFT_OUT = ("NUMBA", "PYTHON", "XDG", "MPL", "ASTROPY")


def package() -> list[Path]:
    """Folders of the package: one, or sources and what was compiled beside them."""
    found = find_spec("emdarks")
    if found is None or found.submodule_search_locations is None:
        raise SystemExit("emdarks is not installed here")
    return [Path(folder) for folder in found.submodule_search_locations]


class Fresh:
    """An environment with a new copy of the package, and a home folder that is empty.

    The other packages are those of the environment that runs the benchmark.

    Parameters
    ----------
    folder : Path
        Where; removed at the end.
    output : Path
        Folder that products are written to.
    bytecode : bool
        Whether Python's bytecode of the package is there, which pip writes when it installs;
        other installers leave it to the first run.
    """

    def __init__(self, folder: Path, output: Path, bytecode: bool):
        self.folder = folder
        self.maps = output / "maps.fits"
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        paths = {"base": str(folder), "platbase": str(folder)}
        site = Path(sysconfig.get_path("purelib", "venv", paths))
        libraries = [path for path in sys.path if path.endswith("site-packages")]
        (site / "libraries.pth").write_text("\n".join(libraries) + "\n")
        for source in package():
            shutil.copytree(
                source,
                site / "emdarks",
                ignore=shutil.ignore_patterns("__pycache__"),
                dirs_exist_ok=True,
            )
        self.python = folder / "bin" / "python"
        self.command = folder / "bin" / "emdarks"
        self.command.write_text(SCRIPT.format(python=self.python))
        self.command.chmod(0o755)
        (folder / "home").mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(LEFT_OUT)}
        self.environment = {**kept, "HOME": str(folder / "home")}
        if bytecode:
            compiling = [str(self.python), "-m", "compileall", "-q", str(site / "emdarks")]
            subprocess.run(compiling, check=True)

    def __enter__(self) -> Fresh:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.folder)

    def emdarks(self, *arguments: object) -> Finished:
        """Run ``emdarks`` as a user does."""
        return run([str(self.command), *map(str, arguments)], self.environment)

    def code(self, code: str, *arguments: object) -> Finished:
        """Run some Python."""
        return run([str(self.python), "-c", code, *map(str, arguments)], self.environment)

    def noise_maps(
        self, listed: Path, estimator: str = "pooled", threads: int | None = None
    ) -> Finished:
        """Run ``emdarks noisemaps``."""
        return self.emdarks(*arguments(listed, self.maps, estimator, threads))

    def second(self, listed: Path) -> float:
        """Seconds of ``emdarks noisemaps`` when the same process has just done it."""
        done = self.code(TWICE, *arguments(listed, self.maps))
        return float(done.output.split()[-1])


def arguments(
    listed: Path, output: Path, estimator: str = "pooled", threads: int | None = None
) -> list[str]:
    """Arguments of ``emdarks`` that make noise maps of a list of frames."""
    more = [] if threads is None else ["--threads", str(threads)]
    return [
        *("noisemaps", f"@{listed}", "-o", str(output), "--overwrite"),
        *("--estimator", estimator, *more),
    ]
