"""Where Cosmic Ray can change a source file, and what it makes of it."""

from __future__ import annotations

import ast
import difflib
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

__all__ = ["Mutant", "sample"]

Position = tuple[int, int]

# Operators that say something about numbers and decisions. An operator is replaced by one of
# its own kind: a shift in the place of a sum is an error of type, which any test finds.
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow")
BITS = ("RShift", "LShift", "BitOr", "BitAnd", "BitXor")
OTHERS = (
    "AddNot",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ZeroIterationForLoop",
)


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes
    ----------
    module : str
        The file, in `src/emdarks`.
    function : str
        The function that is changed; empty at the top of the module.
    line : int
        Its line, counted from 1.
    before, after : str
        The changed source text, without indentation.
    operator : str
        Cosmic Ray's name of the change.
    source : str
        The whole changed file.
    """

    module: str
    function: str
    line: int
    before: str
    after: str
    operator: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What stays when lines move."""
        return self.module, self.function, self.before, self.after


def _wanted(operator: str) -> bool:
    """Whether an operator of Cosmic Ray is used."""
    name = operator.partition("/")[2]
    if name in OTHERS or name.startswith("ReplaceUnaryOperator"):
        return True
    if name.startswith("ReplaceComparisonOperator"):
        return "_Is" not in name
    parts = name.removeprefix("ReplaceBinaryOperator_").split("_")
    return any(all(part in kind for part in parts) for kind in (ARITHMETIC, BITS))


def _span(node: ast.expr | ast.stmt) -> tuple[Position, Position]:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def _left_alone(tree: ast.AST) -> Iterator[tuple[Position, Position]]:
    """Spans that say nothing about results: types, decorators, texts of messages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from map(_span, node.decorator_list)
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            yield _span(node.returns)
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            yield _span(node.annotation)
        if isinstance(node, ast.Raise | ast.Assert):
            yield _span(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
            yield _span(node)


def _places(source: str) -> dict[Position, list[tuple[str, int, str]]]:
    """Operators, occurrences and functions, by where the source can be changed."""
    spans = list(_left_alone(ast.parse(source)))
    tree = get_ast(source)
    found: dict[Position, list[tuple[str, int, str]]] = defaultdict(list)
    for name in filter(_wanted, operator_names()):
        operator = get_operator(name)()
        positions = (
            (node, start)
            for node in ast_nodes(tree)
            for start, _ in operator.mutation_positions(node)
        )
        for occurrence, (node, start) in enumerate(positions):
            if not any(first <= start < last for first, last in spans):
                function = ASTQuery(node).get_definition_name() or ""
                found[start].append((name, occurrence, function))
    return dict(sorted(found.items()))


def _changed(before: str, after: str) -> tuple[int, str, str]:
    """First line that differs, and the text there, before and after."""
    old, new = before.splitlines(), after.splitlines()
    for kind, i, k, j, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            texts = (" ".join(line.strip() for line in part) for part in (old[i:k], new[j:m]))
            return i + 1, *texts
    raise AssertionError("nothing was changed")


def _make(module: str, source: str, place: tuple[str, int, str]) -> Mutant:
    name, occurrence, function = place
    changed = mutate_code(source, get_operator(name)(), occurrence)
    assert changed is not None
    line, before, after = _changed(source, changed)
    return Mutant(module, function, line, before, after, name.partition("/")[2], changed)


def sample(
    folder: Path, modules: Sequence[str], number: int, seed: int
) -> tuple[list[Mutant], int]:
    """Mutants of places drawn by chance, each place at most once.

    Parameters
    ----------
    folder : Path
        The package's folder.
    modules : sequence of str
        Files in it.
    number : int
        How many mutants, at most.
    seed : int
        Of the choice.

    Returns
    -------
    mutants : list of Mutant
        By module and line.
    places : int
        How many places there are.
    """
    sources = {module: (folder / module).read_text(encoding="utf-8") for module in modules}
    places = [place for module in modules for place in _lots(module, sources[module], seed)]
    places.sort(key=lambda place: place[0])
    mutants = [
        _make(module, sources[module], options[int(share * len(options))])
        for _, share, module, options in places[:number]
    ]
    order = {module: i for i, module in enumerate(modules)}
    return sorted(mutants, key=lambda mutant: (order[mutant.module], mutant.line)), len(places)


def _lots(
    module: str, source: str, seed: int
) -> Iterator[tuple[float, float, str, list[tuple[str, int, str]]]]:
    """Each place with two numbers between 0 and 1 drawn for it, its file and its changes.

    They follow from the seed and from what stands there, so that a line that is added
    elsewhere leaves the choice as it is.
    """
    lines, seen = source.splitlines(), Counter[str]()
    for (line, column), options in _places(source).items():
        text = lines[line - 1].strip()
        indent = len(lines[line - 1]) - len(lines[line - 1].lstrip())
        name = f"{seed} {module} {options[0][2]} {column - indent} {text}"
        seen[name] += 1
        rng = random.Random(f"{name} {seen[name]}")
        yield rng.random(), rng.random(), module, options
