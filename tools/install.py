"""Install emdarks into this Python environment, editable; without a C++20 compiler, too.

python tools/install.py [--strict] [--wheel] [arguments of pip install ...] '.[test]'

The core is built in a folder of this environment that is kept, so that only what changed is
compiled again. What the build needs comes into the environment first. Where no compiler for C++20
is found, neither the one that CXX names nor c++, g++ or clang++, the ziglang package brings one:
a Clang with its own C++ library. With --strict, warnings of a compiler that was there are errors.
With --wheel, nothing is installed: a wheel for another environment of the same Python is made.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(sys.prefix) / "core-build"
#: What the core asks of a compiler, in a few lines.
PROBE = """
#include <concepts>
#include <string>
typedef double Lanes __attribute__((vector_size(64)));
typedef float Narrow __attribute__((vector_size(32)));
template <std::floating_point T> struct Pair { T low, high; };
Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }
int main() {
    const Pair<double> pair{.low = 1.0, .high = 2.0};
    const auto narrow = __builtin_convertvector(larger(Lanes{} + pair.low, Lanes{}), Narrow);
    return std::to_string(narrow[0]).empty();
}
"""


def main(arguments: list[str]) -> None:
    """Prepare the build, then let pip do it."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    strict, wheel = "--strict" in arguments, "--wheel" in arguments
    *others, product = [word for word in arguments if word not in ("--strict", "--wheel")]
    constraints = _constraints(arguments)
    with (ROOT / "pyproject.toml").open("rb") as file:
        subprocess.run(
            [*pip, *constraints, *tomllib.load(file)["build-system"]["requires"]], check=True
        )
    if tools := _tools_missing():
        subprocess.run([*pip, *constraints, *tools], check=True)
    compiler = _compiler()
    if compiler:
        build = BUILD / "-".join(Path(word).name for word in shlex.split(compiler))
        settings = [f"cmake.define.EMDARKS_WERROR={'ON' if strict else 'OFF'}"]
        environment = {**os.environ, "CXX": compiler}
    else:
        print(
            f"no compiler for C++20 found ({', '.join(_candidates())}): the ziglang package brings "
            f"one into {sys.prefix}; the first build with it takes minutes",
            flush=True,
        )
        subprocess.run([*pip, "ziglang"], check=True)
        build = BUILD / "zig"
        settings = [f"cmake.define.CMAKE_{name}={path}" for name, path in _zig().items()]
        environment = {**os.environ}
    options = [f"-C{setting}" for setting in [f"build-dir={build}", *settings]]
    what = ["wheel", "--no-deps"] if wheel else ["install"]
    named = [product] if wheel else ["--editable", product]
    command = [sys.executable, "-m", "pip", *what, "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*command, "--no-build-isolation", *options, *others, *named],
        check=True,
        cwd=ROOT,
        env=environment,
    )


def _constraints(arguments: list[str]) -> list[str]:
    """--constraint FILE among the arguments, which holds for what the build needs, too."""
    where = [i for i, word in enumerate(arguments) if word == "--constraint"]
    return [word for i in where for word in arguments[i : i + 2]]


def _tools_missing() -> list[str]:
    """CMake and Ninja, where the system has none that will do."""
    program = (
        "import json; from scikit_build_core.build import get_requires_for_build_editable as get;"
        "print(json.dumps(get()))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    missing: list[str] = json.loads(answer.stdout)
    return missing


def _candidates() -> list[str]:
    named = os.environ.get("CXX")
    return [named] if named else ["c++", "g++", "clang++"]


def _compiler() -> str | None:
    """The first compiler that makes a program of PROBE."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text(PROBE)
        for name in _candidates():
            command = [*shlex.split(name), "-std=c++20", str(source), "-o", f"{folder}/probe"]
            with suppress(OSError):
                if subprocess.run(command, capture_output=True).returncode == 0:
                    return name
    return None


def _zig() -> dict[str, Path]:
    """Zig's compilers and archivers as files, since CMake wants files."""
    folder = BUILD / "zig-tools"
    folder.mkdir(parents=True, exist_ok=True)
    # For any machine of this kind, as other compilers do, not for this one alone.
    commands = {
        "C_COMPILER": "cc -mcpu=baseline",
        "CXX_COMPILER": "c++ -mcpu=baseline",
        "AR": "ar",
        "RANLIB": "ranlib",
    }
    made = {}
    for name, command in commands.items():
        made[name] = folder / command.split()[0]
        made[name].write_text(
            "#!/bin/sh\n"
            f"export ZIG_GLOBAL_CACHE_DIR='{BUILD / 'zig-cache'}'\n"
            f"exec '{sys.executable}' -m ziglang {command} \"$@\"\n"
        )
        made[name].chmod(0o755)
    return made


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
