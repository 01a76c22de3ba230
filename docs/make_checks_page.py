"""Write docs/checks.md: every check that stands between a file and a number.

Run it with `make checks-page`. The page is read off the source: each place that raises an
error of emdarks, warns or makes a finding becomes a row, so that none can be missing.
`python docs/make_checks_page.py --check` ends with 1 where the page is not what it would write.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parent / "checks.md"
SOURCE = Path(__file__).parents[1] / "src" / "emdarks"

#: The way of a frame: title, rooms, and what the checks of the stage are for.
STAGES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "The file",
        ("fits",),
        "Is it FITS, is it whole, which of its images is the frame, where do its pixels lie?",
    ),
    (
        "The camera file and the headers",
        ("cameras", "detector.py"),
        "Does the camera file make sense, and what do the cards of a frame say by it?",
    ),
    ("The frame", ("frames",), "Its planes, unit, bias level and flags."),
    (
        "The stacks",
        ("stacks", "accumulate"),
        "Do the frames belong together, and can they be read to the end?",
    ),
    (
        "What the frames look like",
        ("checks",),
        "`emdarks inspect` says all of them; `noisemaps` and `dark` say the problems and the "
        "warnings, of the same frames, with the same words.",
    ),
    ("The combination and the fit", ("darks", "fit"), "Can the stacks be combined or fitted?"),
    (
        "The product",
        ("products", "checks/products.py", "bad_pixels.py", "half_split.py"),
        "Is a product what it says it is, may it be used for this, and what do its numbers say?",
    ),
    ("The subtraction", ("subtract",), "Does this dark fit this frame?"),
)

HEAD = """\
# Every check between a file and a number

This page is written by `make checks-page`, which reads it off the source: each place where
emdarks refuses something, warns, or makes a finding is a row. The stages are in the order in
which a frame passes them. *Compared* is the condition as the code has it; where it is empty,
the text says it. *Where* names the function; its source is linked from the
[API reference](reference.md).

- **error**: one line says which file, what is wrong and what to do. The command ends with exit
  code 1 and writes nothing; a function raises the error named. With `--skip-bad-frames`, a frame
  that is at fault is left out and listed in the product's `SKIPPED`.
- **warning**: the product is made, and the line is said once: on standard error, or as
  `EmdarksWarning` in Python.
- **problem**, **warning (...)**, **note**: findings, by severity. `emdarks inspect` lists them;
  problems and warnings are said where a product is made, too. Findings about products stand in
  its report. All checks that make findings are listed in `checks/registry.py`.

What a wrong file leads to, tried on real runs: [](validation_hostile.md).
"""


@dataclass(frozen=True)
class Row:
    """A check: where it stands, what it compares, what it says, what happens."""

    where: str
    condition: str
    text: str
    then: str


def functions(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Functions of a file by their qualified names, outermost first."""
    module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{prefix}.{child.name}", child
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{prefix}.{child.name}")

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), module)


def text_of(node: ast.AST | None) -> str:
    """A message as a template: literal text, and the expressions in braces."""
    if node is None:
        return ""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            text_of(part.value if isinstance(part, ast.FormattedValue) else part)
            for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} / {text_of(node.orelse)}"
    if isinstance(node, ast.Name) and not node.id.isupper():
        return f"{{{node.id}}}"
    if isinstance(node, ast.Attribute):
        return f"{{{node.attr}}}"
    return "{…}"


def severity_of(node: ast.AST) -> str:
    """The severities that a finding may have."""
    if isinstance(node, ast.IfExp):
        return f"{severity_of(node.body)} or {severity_of(node.orelse)}"
    if isinstance(node, ast.Constant):
        return str(node.value)
    by_share = isinstance(node, ast.Call) and ast.unparse(node.func) == "_severity"
    return "note, warning or problem" if by_share else "note or warning"


class Checks(ast.NodeVisitor):
    """Collects the checks of one function, each with the conditions it stands under."""

    def __init__(self, where: str):
        self.where = where
        self.rows: list[Row] = []
        self._under: list[str] = []

    def visit_If(self, node: ast.If) -> None:
        """A branch: its own condition, or the opposite of it."""
        self._inside(ast.unparse(node.test), node.body)
        self._inside(f"not ({ast.unparse(node.test)})", node.orelse)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        """An error of a library that is put into words here."""
        kind = ast.unparse(node.type) if node.type else "any error"
        self._inside(f"reading it ends in {kind}", node.body)

    def _inside(self, condition: str, body: list[ast.stmt]) -> None:
        self._under.append(condition)
        for each in body:
            self.visit(each)
        self._under.pop()

    def visit_Raise(self, node: ast.Raise) -> None:
        """An error, if it is one of ours."""
        if isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func)
            # The bodies of kernels that only compiled code calls are no checks.
            unwanted = ("AssertionError", "NotImplementedError")
            if name.endswith(("Error", "Exception")) and name not in unwanted:
                message = node.exc.args[-1] if node.exc.args else None
                self._add(text_of(message), f"error: `{name}`")

    def visit_Call(self, node: ast.Call) -> None:
        """A warning or a finding."""
        name = ast.unparse(node.func)
        if name == "warnings.warn":
            self._add(text_of(node.args[0]), "warning")
        elif name == "Finding":
            severity = severity_of(node.args[0])
            if severity != "fine":
                self._add(text_of(node.args[2]), f"{severity} ({text_of(node.args[1])})")
        self.generic_visit(node)

    def _add(self, text: str, then: str) -> None:
        if re.fullmatch(r"\s*(\{[^}]*\}\s*)?", text):
            text = "(the words of the check that failed)"
        self.rows.append(Row(self.where, self._under[-1] if self._under else "", text, then))


def checks(rooms: tuple[str, ...]) -> list[Row]:
    """Every check of these folders and files; a file may have a stage of its own."""
    named = {SOURCE / room for _, others, _ in STAGES for room in others if room.endswith(".py")}
    paths = [
        path
        for room in rooms
        for path in (
            [SOURCE / room]
            if room.endswith(".py")
            else sorted(set((SOURCE / room).glob("*.py")) - named)
        )
    ]
    rows = []
    for path in paths:
        for where, node in functions(path):
            found = Checks(where)
            found.generic_visit(node)
            rows += found.rows
    return rows


def cell(text: str) -> str:
    """Text for a cell of a table."""
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"([|\\<>*_`\[\]$~])", r"\\\1", text)


def code(text: str) -> str:
    """Code for a cell of a table."""
    text = re.sub(r"\s+", " ", text).strip().replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else ""


def page() -> str:
    """The whole page."""
    stages = [(title, intro, checks(rooms)) for title, rooms, intro in STAGES]
    total = sum(len(rows) for *_, rows in stages)
    parts = [HEAD, f"{total} checks in {len(stages)} stages.\n"]
    for title, intro, rows in stages:
        parts += [f"## {title}", "", intro, ""]
        parts += ["| compared | said | then | where |", "| --- | --- | --- | --- |"]
        parts += [
            f"| {code(row.condition)} | {cell(row.text)} | {row.then} | `{row.where}` |"
            for row in rows
        ]
        parts.append("")
    return "\n".join(parts)


def main() -> int:
    """Write the page, or say whether it is up to date."""
    text = page()
    if "--check" in sys.argv:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print(f"{PAGE.name} is " + ("up to date" if same else "old: run make checks-page"))
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8")
    print(f"wrote {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
