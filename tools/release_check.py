"""Look at all of a release that can be made and looked at without publishing it.

python -m tools.release_check

One line for each thing: `passed`, `not there yet` where the maintainers have yet to decide, or
`not tried` with the reason. Ends with an error where something is wrong. Leaves nothing behind.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tools import wheel_check

ROOT = Path(__file__).resolve().parent.parent
#: Where the version stands, and how.
VERSIONS = {
    "src/emdarks/_version.py": r'^__version__ = "(.+)"$',
    "CITATION.cff": r"^version: (.+)$",
    "CHANGES.md": r"^## (\S+) \(.+\)$",
    "recipe/recipe.yaml": r'^  version: "(.+)"$',
}
#: Where the date of the release stands: in the headline, or nowhere while it is not released.
DATES = {"CHANGES.md": r"^## \S+ \((.+)\)$", "CITATION.cff": r"^date-released: (.+)$"}
#: Where the public address of the repository stands, once there is one.
ADDRESSES = {
    "pyproject.toml": r'^Repository = "(.+)"$',
    "CITATION.cff": r'^repository-code: "(.+)"$',
    "recipe/recipe.yaml": r"^  repository: (.+)$",
}
#: conda-forge's own names.
OF_CONDA = {"matplotlib": "matplotlib-base"}
PLATFORMS = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64")


def main() -> None:
    """Print a line for each thing."""
    try:
        for line in (line for check in CHECKS for line in check()):
            print(line, flush=True)
    except (AssertionError, subprocess.CalledProcessError) as error:
        sys.exit(f"FAILED: {error}")


def statements() -> Iterator[str]:
    """Version, date and address are the same wherever they stand."""
    version = the_same(stated(ROOT, VERSIONS))
    yield f"passed: version {version} in {', '.join(VERSIONS)}"
    date, cited = stated(ROOT, DATES).values()
    if date == "unreleased":
        assert cited is None, f"CITATION.cff has a date ({cited}), CHANGES.md says unreleased"
        yield f"not there yet: a date of {version} in CHANGES.md and CITATION.cff (unreleased)"
    else:
        yield f"passed: {the_same({'CHANGES.md': date, 'CITATION.cff': cited})}, date of {version}"
    addresses = stated(ROOT, ADDRESSES)
    if any(addresses.values()):
        yield f"passed: address {the_same(addresses)} in {', '.join(ADDRESSES)}"
    else:
        yield f"not there yet: a public address in {', '.join(ADDRESSES)}"


def archive_and_wheel() -> Iterator[str]:
    """The source archive, a wheel of it alone, and this in a new environment."""
    version = stated(ROOT, VERSIONS)["CHANGES.md"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, wheel = wheel_check.build(folder)
        assert all(file.name.startswith(f"emdarks-{version}") for file in (source, wheel))
        wheel_check.look_into(source, wheel)
        yield f"passed: {source.name} has what it needs; {wheel.name}, made of it, nothing else"
        run(tool("twine"), "check", "--strict", str(source), str(wheel))
        yield "passed: twine check --strict of both"
        wheel_check.use(wheel, folder)
        yield "passed: installed and used in a new environment without a compiler"
    yield "not tried: wheels for other systems, which cibuildwheel makes on machines of their kind"


def recipe() -> Iterator[str]:
    """The recipe for conda-forge, by the parser of rattler-build, which knows no unknown field."""
    from rattler_build import PlatformConfig, RenderConfig, Stage0Recipe, VariantConfig

    project = project_file()
    pythons = [line.rpartition(" ")[2] for line in project["classifiers"] if ":: 3." in line]
    compilers = {"cxx_compiler": ["gxx"], "c_stdlib": ["sysroot"]}
    made = [
        variant.recipe.to_dict()
        for platform in PLATFORMS
        for variant in Stage0Recipe.from_file(ROOT / "recipe/recipe.yaml").render(
            VariantConfig({"python": [f"{python}.*" for python in pythons], **compilers}),
            RenderConfig(PlatformConfig(target_platform=platform, build_platform=PLATFORMS[0])),
        )
    ]
    assert len(made) == len(PLATFORMS) * len(pythons), f"{len(made)} packages"
    for package in made:
        look_at_package(package, project)
    yield (
        f"passed: the recipe by rattler-build's parser, on {len(PLATFORMS)} platforms for Python "
        f"{', '.join(pythons)}; it asks for what pyproject.toml asks for"
    )
    yield (
        "not tried: building the conda package, for which compilers and packages come from "
        "conda-forge (rattler-build build --recipe recipe)"
    )


def look_at_package(package: dict, project: dict) -> None:
    """A rendered recipe asks for the same as pyproject.toml, and its files are there."""
    asked = {kind: as_pip(names) for kind, names in package["requirements"].items()}
    needed = {OF_CONDA.get(name, name): least for name, least in limits(project["dependencies"])}
    building = dict(limits(project["build-system"]))
    assert asked["run"] == {"python": "", **needed}, f"{asked['run']} run, {needed} needed"
    assert asked["host"] == {"python": "", "pip": "", **building}, asked["host"]
    files = package["about"]["license_file"] + package["tests"][1]["files"]["source"]
    assert all((ROOT / file).is_file() for file in files), files
    assert package["about"]["license"] == project["license"]


def container() -> Iterator[str]:
    """The container file; built where something can build it."""
    run(tool("hadolint"), "Dockerfile")
    yield "passed: hadolint Dockerfile"
    if (engine := engine_that_answers()) is None:
        yield "not tried: building the container: neither docker nor podman answers here"
        return
    run(engine, "build", "--tag", "emdarks-release-check", ".")
    run(engine, "run", "--rm", "emdarks-release-check", "--version")
    yield f"passed: the container, built and run by {engine}"


CHECKS = (statements, archive_and_wheel, recipe, container)


def stated(root: Path, where: dict[str, str]) -> dict[str, str | None]:
    """What each file states first, or None."""
    found = {
        file: re.search(pattern, (root / file).read_text(encoding="utf-8"), re.MULTILINE)
        for file, pattern in where.items()
    }
    return {file: match[1] if match else None for file, match in found.items()}


def the_same(values: dict[str, str | None]) -> str | None:
    """The value that all files state."""
    assert len(set(values.values())) == 1, f"these differ: {values}"
    return next(iter(values.values()))


def project_file() -> dict:
    """`[project]` of pyproject.toml, with what its build needs."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {**whole["project"], "build-system": whole["build-system"]["requires"]}


def limits(requirements: list[str]) -> Iterator[tuple[str, str]]:
    """Name and limits of each requirement, as pip writes them."""
    for requirement in requirements:
        name, limit = re.fullmatch(r"([\w.-]+?)([<>=!~].*)?", requirement).groups("")
        yield name, limit


def as_pip(requirements: list[str]) -> dict[str, str]:
    """Name and limits of conda's requirements, which have a space between."""
    return {name: limit for name, _, limit in (text.partition(" ") for text in requirements)}


def engine_that_answers() -> str | None:
    """Docker or podman, if one is there and runs."""
    for name in ("docker", "podman"):
        if (
            shutil.which(name)
            and not subprocess.run([name, "info"], capture_output=True).returncode
        ):
            return name
    return None


def tool(name: str) -> str:
    """A program of this environment."""
    return str(Path(sys.executable).parent / name)


def run(*command: str) -> None:
    """Run it in the repository, in silence; if it fails, with what it said."""
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=-1, stderr=subprocess.STDOUT)
    assert not done.returncode, f"{' '.join(command)}\n{done.stdout}"


if __name__ == "__main__":
    main()
