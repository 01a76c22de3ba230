"""Messages name options of the command that shows them, or say of which command an option is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import emdarks
from emdarks.cli.app import app

SOURCE = Path(emdarks.__file__).parent
FRAMES = ("noisemaps", "dark", "check", "characterize")
RAW = (*FRAMES, "inspect", "prepare", "subtract", "report")
#: Which commands show the messages of a file or folder; the first that fits.
SHOWN_BY = {
    "checks/products.py": ("report", "noisemaps", "library add"),
    "checks/": (*FRAMES, "inspect", "report"),
    "datasheet/": ("characterize",),
    "half_split.py": ("check", "report"),
    "report/": ("report",),
    "planning/": ("plan",),
    "subtract/": ("subtract",),
    "darks/photon_counted.py": ("dark",),
    "darks/synthesized_dark.py": ("dark",),
    "darks/threshold_check.py": ("noisemaps",),
    "darks/planned_stacks.py": ("noisemaps",),
    "darks/": ("noisemaps", "check", "characterize"),
    "fit/": ("noisemaps", "check", "characterize"),
    "stacks/stack_moments.py": ("noisemaps",),
    "stacks/": FRAMES,
    "accumulate/": FRAMES,
    "frames/bad_frames.py": FRAMES,
    "frames/prepared_files.py": ("prepare",),
    "frames/": RAW,
    "products/synthesis.py": ("dark", "synthesize"),
    "products/": ("noisemaps", "dark", "synthesize", "subtract", "report"),
}
OPTION = re.compile(r"--[a-z]+(?:-[a-z]+)*")
COMMAND = re.compile(r"emdarks ((?:library )?[a-z]+)")


def options_of_commands() -> dict[str, set[str]]:
    """Name of each command, and its options."""
    found: dict[str, set[str]] = {}
    todo = [("", get_command(app))]
    while todo:
        name, command = todo.pop()
        inner = getattr(command, "commands", {})
        todo += [(f"{name} {key}".strip(), each) for key, each in inner.items()]
        if not inner:
            found[name] = {word for each in command.params for word in each.opts}
    return found


OPTIONS = options_of_commands()


def texts(path: Path) -> Iterator[str]:
    """Strings of a file that are no docstrings; what is put in stands as a space."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            inner |= {id(each) for each in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (x.value if isinstance(x, ast.Constant) else " " for x in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in inner:
            yield str(node.value)


def wrong(name: str, text: str) -> Iterator[str]:
    """Options in a message of a file that none of those who see it can give."""
    for match in OPTION.finditer(text):
        clause = re.split("[;)]", text[: match.start()])[-1]
        before = [each for each in COMMAND.findall(clause) if each in OPTIONS]
        behind = re.match(r"[^,;.]* to emdarks (\w+)", text[match.start() :])
        if before or behind:
            commands = (before[-1],) if behind is None else (behind.group(1),)
        else:
            commands = next((c for place, c in SHOWN_BY.items() if name.startswith(place)), ())
        given = [match.group() in OPTIONS[command] for command in commands or OPTIONS]
        if not (all(given) if commands else any(given)):
            yield f"{name}: {match.group()} in {text!r}"


def test_options_in_messages_are_those_of_the_command() -> None:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith("cli/"):
            found += [each for text in texts(path) for each in wrong(name, text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("checks/frames.py", "flag them, or give --screen", False),
        ("checks/frames.py", "flag them, or give --screen to emdarks noisemaps", True),
        ("checks/frames.py", "fit them (emdarks noisemaps --screen)", True),
        ("checks/frames.py", "fit them (emdarks characterize --screen)", False),
        ("datasheet/samples.py", "give it (read_noise, --read-noise)", True),
        ("datasheet/samples.py", "give --model level", False),
        ("dq.py", "give --nothing-has-this", False),
    ],
)
def test_the_rule(name: str, text: str, right: bool) -> None:
    assert (not list(wrong(name, text))) == right
