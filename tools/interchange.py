"""Try what passes between emdarks and corgidrp, in an environment that has both.

python tools/interchange.py [arguments of pytest ...]

The environment, .venv-interchange, is made once: corgidrp, pytest, and a wheel of emdarks as it is
now, which is renewed by each run; pip chooses the versions of what both need. corgidrp keeps its
settings and default calibrations in the home folder: here in the environment's folder `home`. Where
corgidrp cannot be downloaded, that is said, and nothing is tried.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

VERSION = "5.1.1"
ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-interchange"
PYTHON = ENVIRONMENT / "bin" / "python"
PACKAGE = f"corgidrp=={VERSION}"
#: There once the package has been installed.
DONE = ENVIRONMENT / f".{PACKAGE}"


def main(arguments: list[str]) -> None:
    """Install what is missing, then run the tests."""
    if not DONE.exists() and (failure := what_is_missing()):
        print(skipped(failure), file=sys.stderr)
        return
    install(wheel())
    tests = ROOT / "tests" / "interchange"
    command = [PYTHON, "-m", "pytest", "-c", tests / "pytest.ini", *arguments]
    # Paths among the arguments name tests; without one, all are run.
    named = any(word.startswith("tests/") for word in arguments)
    sys.exit(subprocess.run([*command, *([] if named else [tests])], cwd=ROOT).returncode)


def what_is_missing() -> str:
    """Ask for the package; what pip says where it cannot be had."""
    venv.create(ENVIRONMENT, with_pip=True)
    folder = ENVIRONMENT / "download"
    asked = subprocess.run(
        [*pip("download"), "--retries", "1", "--no-deps", "--dest", folder, PACKAGE],
        capture_output=True,
        text=True,
    )
    return asked.stderr if asked.returncode else ""


def wheel() -> Path:
    """A wheel of the sources as they are; the core that this environment has compiled is used."""
    folder = ENVIRONMENT / "wheel"
    for earlier in folder.glob("*.whl"):
        earlier.unlink()
    installer = ROOT / "tools" / "install.py"
    subprocess.run(
        [sys.executable, installer, "--wheel", "--wheel-dir", folder, "."], check=True, cwd=ROOT
    )
    (made,) = folder.glob("*.whl")
    return made


def install(made: Path) -> None:
    """Both packages, the first time with all that they need; then ours anew."""
    if DONE.exists():
        subprocess.run([*pip("install"), "--force-reinstall", "--no-deps", made], check=True)
    else:
        subprocess.run([*pip("install"), PACKAGE, "pytest>=8.2", made], check=True)
        DONE.touch()
    subprocess.run([PYTHON, "-m", "pip", "check"], check=True)


def pip(what: str) -> list[str | Path]:
    """Start of a command line."""
    return [PYTHON, "-m", "pip", what, "--quiet", "--disable-pip-version-check"]


def skipped(reason: str) -> str:
    """What nobody should miss."""
    line = "=" * 78
    return (
        f"{line}\nSKIPPED: nothing was tried beside corgidrp, since {PACKAGE} cannot be "
        f"downloaded:\n\n{reason.strip()}\n{line}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
