"""Figures of the code itself: lengths, arguments, circles, imports that point up, public names.

    make metrics                                       prints them, writes docs/metrics.md
    python benchmarks/metrics.py --root PATH           those of another checkout, printed only
    make metrics METRICS_ARGS="--durations FILE"       with the slowest tests of a run of
                                                       `pytest tests --durations=0 > FILE`

The source is parsed, never imported: only Python is needed.
"""

from __future__ import annotations

import argparse
import ast
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "emdarks"
MANY_ARGUMENTS = 10
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A file of the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.stem == "__init__"

    @property
    def room(self) -> str:
        """Folder or module just below the package, as in LAYERS; empty for the package."""
        return room_of(self.name)

    @property
    def folder(self) -> str:
        """Dotted name of the folder."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Length:
    """A function: lines of its statements, and its arguments."""

    name: str
    lines: int
    arguments: int


@dataclass(frozen=True)
class Import:
    """What a module imports, at any level of its source: the module that holds it."""

    by: str
    of: str


@dataclass
class Metrics:
    """All figures."""

    functions: list[Length]
    lines: dict[str, int]
    code: int
    kernels: dict[str, int]
    module_circles: list[list[str]]
    folder_circles: list[list[str]]
    upward: list[Import]
    without_layer: list[str]
    public: int
    public_in_packages: int
    public_of_package: int
    begin_with_what: list[str]
    slowest: list[tuple[float, str]] = field(default_factory=list)


def lines_of_code(module: Module) -> int:
    """Lines of a file that are neither docstring nor comment nor blank."""
    lines = [line.strip() for line in module.text.splitlines()]
    kept = {number for number, line in enumerate(lines, 1) if line and not line.startswith("#")}
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                kept -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(kept)


def room_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


# ---------------------------------------------------------------- reading


def read_modules(source: Path) -> list[Module]:
    """Modules of the package in a folder; a stub stands for a compiled module."""
    found = []
    for path in sorted([*source.rglob("*.py"), *source.rglob("*.pyi")]):
        parts = path.relative_to(source.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        found.append(Module(name, path, text, ast.parse(text)))
    return found


def read_layers(path: Path) -> dict[str, int]:
    """Height of each room, from LAYERS of the test of the architecture."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS":
            layers = ast.literal_eval(node.value)
            return {name: len(layers) - i for i, layer in enumerate(layers) for name in layer}
    raise SystemExit(f"{path}: holds no LAYERS")


# ---------------------------------------------------------------- functions


def named(module: Module) -> Iterator[tuple[str, ast.AST]]:
    """Functions, classes and the module, by name; those inside of others, too."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, (Function, ast.ClassDef)):
                name = f"{prefix}.{child.name}"
                yield name, child
            yield from walk(child, name)

    yield module.name, module.tree
    yield from walk(module.tree, module.name)


def statements(function: Function, text: list[str]) -> int:
    """Lines from the first statement to the last, without docstring, blanks and comments.

    Those of a function inside belong to both.
    """
    body = function.body[ast.get_docstring(function, clean=False) is not None :]
    if not body:
        return 0
    last = body[-1].end_lineno or body[-1].lineno
    lines = (line.strip() for line in text[body[0].lineno - 1 : last])
    return sum(1 for line in lines if line and not line.startswith("#"))


def arguments(function: Function) -> int:
    """Arguments but self and cls."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args)]
    more = len(given.kwonlyargs) + (given.vararg is not None) + (given.kwarg is not None)
    return len(names) - (names[:1] in (["self"], ["cls"])) + more


def lengths(modules: Iterable[Module]) -> list[Length]:
    """Every function of Python files; stubs have no statements."""
    return [
        Length(name, statements(node, module.text.splitlines()), arguments(node))
        for module in modules
        if module.path.suffix == ".py"
        for name, node in named(module)
        if isinstance(node, Function)
    ]


def begin_with_what(modules: Iterable[Module]) -> list[str]:
    """Names whose docstring begins with "What"."""
    return [
        name
        for module in modules
        for name, node in named(module)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and re.match(r"What\b", ast.get_docstring(node) or "")
    ]


# ---------------------------------------------------------------- lines


def count_lines(paths: Iterable[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def lines_by_folder(modules: Iterable[Module]) -> dict[str, int]:
    """Lines of Python by room; modules beside the folders together."""
    found: Counter[str] = Counter()
    for module in modules:
        if module.path.suffix == ".py":
            single = module.folder == module.name.split(".")[0]
            found["(modules beside the folders)" if single else module.room] += len(
                module.text.splitlines()
            )
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def kernel_lines(root: Path, package: Path) -> dict[str, int]:
    """Lines of kernels by language and place."""
    core = [p for p in sorted((root / "src" / "core").rglob("*")) if p.suffix in {".cpp", ".hpp"}]
    stub = package / "_core.pyi"
    return {
        "C++, `src/core`": count_lines(core),
        "stub, `_core.pyi`": count_lines([stub] if stub.exists() else []),
        "Python, `kernels/`": count_lines(sorted((package / "kernels").glob("*.py"))),
    }


# ---------------------------------------------------------------- imports


def imports(modules: Iterable[Module]) -> set[Import]:
    """Imports within the package: in functions and for type checking, too."""
    modules = list(modules)
    known = {module.name for module in modules}
    found = set()
    for module in modules:
        for node in ast.walk(module.tree):
            for name in imported(node, module):
                target = name
                while target and target not in known:
                    target = target.rpartition(".")[0]
                if target and target != module.name:
                    found.add(Import(module.name, target))
    return found


def imported(node: ast.AST, module: Module) -> list[str]:
    """Absolute names that a node imports: modules, or names in them."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parts = module.folder.split(".")
        above = ".".join(parts[: len(parts) - node.level + 1])
        base = f"{above}.{base}" if base else above
    return [f"{base}.{alias.name}" for alias in node.names]


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Sets of two and more nodes each of which leads to each (Tarjan), the largest first."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            members = sorted(stack[at:])
            del stack[at:]
            if len(members) > 1:
                found.append(members)

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return sorted(found, key=lambda members: (-len(members), members))


def graph(found: Iterable[Import], group: Callable[[str], str]) -> dict[str, set[str]]:
    """What leads where, by groups of modules."""
    edges: dict[str, set[str]] = {}
    for each in found:
        one, other = group(each.by), group(each.of)
        if one != other:
            edges.setdefault(one, set()).add(other)
    return edges


def upward(found: Iterable[Import], heights: Mapping[str, int]) -> list[Import]:
    """Imports of a room that is not below."""
    return sorted(
        (
            each
            for each in found
            if (one := room_of(each.by)) in heights
            and (other := room_of(each.of)) in heights
            and one != other
            and heights[other] >= heights[one]
        ),
        key=lambda each: (each.by, each.of),
    )


# ---------------------------------------------------------------- public names


def public_names(module: Module) -> int:
    """Length of `__all__`."""
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(ast.unparse(target) == "__all__" for target in targets):
            assert isinstance(node, ast.Assign)
            return len(node.value.elts) if isinstance(node.value, (ast.List, ast.Tuple)) else 0
    return 0


# ---------------------------------------------------------------- slow tests


def slowest_tests(text: str, count: int = 10) -> list[tuple[float, str]]:
    """Seconds and name of the slowest tests: setup, call and teardown together."""
    total: dict[str, float] = defaultdict(float)
    line = r"^\s*([\d.]+)s (?:setup|call|teardown)\s+(\S.*?)\s*$"
    for seconds, name in re.findall(line, text, re.MULTILINE):
        total[name] += float(seconds)
    return sorted(((seconds, name) for name, seconds in total.items()), reverse=True)[:count]


# ---------------------------------------------------------------- all of it


def measure(
    root: Path, package: str = PACKAGE, layers: Path | None = None, durations: Path | None = None
) -> Metrics:
    """Measure the code below a root.

    Parameters
    ----------
    root : Path
        Holds ``src`` and ``tests``.
    package : str
        Name of the package in ``src``.
    layers : Path, optional
        The file with LAYERS; by default that of the tests.
    durations : Path, optional
        What ``pytest tests --durations=0`` printed.
    """
    source = root / "src" / package
    modules = read_modules(source)
    heights = read_layers(layers or root / "tests" / "unit" / "test_architecture.py")
    found = imports(modules)
    # A module beside the folders counts as one.
    folders = {m.name: m.name if m.folder == package else m.folder for m in modules}
    rooms = {module.room for module in modules} - {"", "__main__"}
    return Metrics(
        functions=sorted(lengths(modules), key=lambda each: (-each.lines, each.name)),
        lines=lines_by_folder(modules),
        code=sum(map(lines_of_code, modules)),
        kernels=kernel_lines(root, source),
        module_circles=circles(graph(found, lambda name: name)),
        folder_circles=circles(graph(found, lambda name: folders[name])),
        upward=upward(found, heights),
        without_layer=sorted(rooms - set(heights)),
        public=sum(public_names(module) for module in modules),
        public_in_packages=sum(public_names(m) for m in modules if m.is_package),
        public_of_package=sum(public_names(m) for m in modules if m.name == package),
        begin_with_what=begin_with_what(modules),
        slowest=slowest_tests(durations.read_text(encoding="utf-8")) if durations else [],
    )


def percentile(values: Iterable[int], share: float) -> int:
    """The least value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0


def rows(found: Metrics) -> list[tuple[str, str]]:
    """Figures in words."""
    lines = [each.lines for each in found.functions]
    many = [each for each in found.functions if each.arguments >= MANY_ARGUMENTS]
    median = statistics.median(lines) if lines else 0
    longest = found.functions[0] if found.functions else Length("", 0, 0)
    of_all, kernels = sum(found.lines.values()), sum(found.kernels.values())
    return [
        ("functions", f"{len(lines):,}"),
        ("lines of their statements: median", f"{median:g}"),
        ("lines of their statements: nine tenths have at most", f"{percentile(lines, 0.9)}"),
        ("lines of their statements: longest", f"{longest.lines} (`{short(longest.name)}`)"),
        (f"functions of {MANY_ARGUMENTS} arguments and more", f"{len(many)}"),
        ("lines of Python", f"{of_all:,}"),
        ("of them neither docstring nor comment nor blank", f"{found.code:,}"),
        *((f"lines of kernels: {where}", f"{count:,}") for where, count in found.kernels.items()),
        ("lines of kernels: all", f"{kernels:,}"),
        ("circles of modules", circle_words(found.module_circles)),
        ("circles of folders", circle_words(found.folder_circles)),
        ("imports that do not point down", f"{len(found.upward)}"),
        ("folders and modules without a layer", ", ".join(found.without_layer) or "0"),
        ("names in `__all__`: everywhere", f"{found.public}"),
        ("names in `__all__`: of packages", f"{found.public_in_packages}"),
        (f"names in `__all__`: of `{PACKAGE}`", f"{found.public_of_package}"),
        ('docstrings that begin with "What"', f"{len(found.begin_with_what)}"),
    ]


def short(name: str) -> str:
    return name.removeprefix(f"{PACKAGE}.")


def circle_words(found: list[list[str]]) -> str:
    sizes = ", ".join(str(len(members)) for members in found)
    return f"{len(found)} (of {sizes})" if found else "0"


HEAD = """\
# Figures of the code

This page is written by `make metrics`, which reads them off the source in `src`. Lines of a
function are those of its statements, without signature, docstring, blank lines and comments;
functions inside of it are counted with it and on their own. Imports count wherever they stand,
in functions and for type checking, too. A circle is a set of modules (or folders) each of which
leads to each. Layers are those of `tests/unit/test_architecture.py`.

To be reached were a median of 5 lines, nine tenths of at most 15, 50 for the longest function, five
functions of ten arguments and more (those left are public signatures), nothing that points up, no
circle, and 22,000 lines of Python. The nine tenths, the five functions and the lines are not
reached. Every file, function and
class has a docstring, with shapes, units and errors raised where it is public, and checks of input
with their words make up much of the rest; photon counting, raw frames, the counting estimator and
the library came after that goal was set.
"""


def table(head: tuple[str, ...], body: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *body)]
    return [lines[0], "| " + " | ".join("---" for _ in head) + " |", *lines[1:], ""]


def page(found: Metrics) -> str:
    """The whole page."""
    many = sorted(
        (each for each in found.functions if each.arguments >= MANY_ARGUMENTS),
        key=lambda each: (-each.arguments, each.name),
    )
    parts = [HEAD, *table(("", "figure"), rows(found))]
    parts += ["## Lines of Python by folder", ""]
    parts += table(
        ("folder", "lines"), ((f"`{name}`", f"{count:,}") for name, count in found.lines.items())
    )
    parts += ["## The longest functions", ""]
    parts += table(
        ("function", "lines"),
        ((f"`{short(each.name)}`", str(each.lines)) for each in found.functions[:10]),
    )
    if many:
        parts += [f"## Functions of {MANY_ARGUMENTS} arguments and more", ""]
        parts += table(
            ("function", "arguments"),
            ((f"`{short(each.name)}`", str(each.arguments)) for each in many),
        )
    for title, groups in (("modules", found.module_circles), ("folders", found.folder_circles)):
        if groups:
            parts += [f"## Circles of {title}", ""]
            parts += [f"- {', '.join(f'`{short(name)}`' for name in group)}" for group in groups]
            parts.append("")
    if found.upward:
        parts += ["## Imports that do not point down", ""]
        parts += [f"- `{short(each.by)}` imports `{short(each.of)}`" for each in found.upward]
        parts.append("")
    if found.slowest:
        parts += ["## The slowest tests", ""]
        parts += table(
            ("test", "s"), ((f"`{name}`", f"{seconds:.1f}") for seconds, name in found.slowest)
        )
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of the code itself")
    parser.add_argument("--root", type=Path, help="another checkout; nothing is written")
    parser.add_argument("--durations", type=Path, help="output of pytest tests --durations=0")
    given = parser.parse_args()
    found = measure(given.root or ROOT, durations=given.durations)
    text = page(found)
    print(text)
    if given.root is None:
        target = ROOT / "docs" / "metrics.md"
        target.write_text(text, encoding="utf-8")
        print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
