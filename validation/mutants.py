"""Do the tests notice a wrong line: ``python -m validation.mutants``.

Cosmic Ray changes one number, comparison, operator or loop of the Python code of the fit or the
noise model; the tests that belong to the file must then fail. Places are drawn by chance. Prints a
table and writes docs/validation_mutants.md; exit 1 where less than 85 % of the mutants are
killed, or a survivor is not explained in validation/mutants.toml.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from validation.mutants_find import Mutant, sample
from validation.mutants_run import Bench, How, Outcome, Tests

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "validation_mutants.md"
REASONS = Path(__file__).with_suffix(".toml")
SHARE = 0.85

FITS: Tests = ("tests/unit/test_small_fits.py",)
NOISE: Tests = ("tests/unit/test_noise_model.py",)
LAWS: Tests = ("tests/integration/test_pooled.py", "-k", "rank_2 or untouched or truth_comes")
REFUSED: Tests = (
    "tests/integration/test_bad_input.py",
    "-k",
    "cannot_be_fitted or frame or same_gain",
)
DARKS: Tests = ("tests/integration/test_trad_dark.py",)

#: Files that are changed, and the runs of tests one of which must fail: quick ones first.
PLANS: dict[str, tuple[Tests, ...]] = {
    "fit/least_squares.py": (FITS,),
    "fit/pooled.py": (FITS, LAWS),
    "fit/statistics.py": (NOISE,),
    "fit/mean_errors.py": (NOISE, DARKS),
    "fit/noise_model.py": (NOISE, FITS),
    "fit/robust_statistics.py": (NOISE, FITS),
    "stacks/design.py": (REFUSED,),
}


def reasons() -> dict[tuple[str, str, str, str], str]:
    """Explanations of survivors, by what stays when lines move."""
    with REASONS.open("rb") as file:
        entries = tomllib.load(file).get("survivor", [])
    return {(e["module"], e["function"], e["before"], e["after"]): e["why"] for e in entries}


def _code(text: str) -> str:
    """Source text in a cell of a table."""
    return "`" + text.replace("|", "\\|") + "`"


def _counts(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Table of the files."""
    yield "| file | mutants | killed | of these by time | survived | score |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in [*PLANS, "all"]:
        of = [outcome.how for outcome in outcomes if name in ("all", outcome.mutant.module)]
        if of:
            how = Counter(of)
            killed = len(of) - how["survived"]
            numbers = f"{len(of)} | {killed} | {how['timeout']} | {how['survived']}"
            yield f"| {name} | {numbers} | {100 * killed / len(of):.1f} % |"


def _survivors(
    outcomes: Sequence[Outcome], why: dict[tuple[str, str, str, str], str]
) -> Iterator[str]:
    """Survivors with the reasons, one by one."""
    for outcome in outcomes:
        mutant = outcome.mutant
        if outcome.how == "survived":
            yield f"**{mutant.module}:{mutant.line}**, {mutant.function or 'top of the file'}"
            yield ""
            yield f"    - {mutant.before}"
            yield f"    + {mutant.after}"
            yield ""
            yield why.get(mutant.key, "Not explained.")
            yield ""


def page(
    outcomes: Sequence[Outcome], places: int, seed: int, why: dict[tuple[str, str, str, str], str]
) -> str:
    """The page of the documentation."""
    command = f"python -m validation.mutants --seed {seed} --mutants {len(outcomes)}"
    return (
        "\n".join(
            [
                "# Tests that notice a wrong line",
                "",
                f"Written by `{command}` (`make mutants`).",
                "",
                *TEXT.format(places=places, number=len(outcomes)).splitlines(),
                "",
                *_counts(outcomes),
                "",
                "## Survivors",
                "",
                "A survivor counts against the score also where it cannot change any result.",
                "",
                *_survivors(outcomes, why),
            ]
        ).rstrip()
        + "\n"
    )


TEXT = """\
[Cosmic Ray](https://cosmic-ray.readthedocs.io) changes one number, comparison, operator or loop of
the Python code of the fit or the noise model. The tests that belong to that file run on a copy
of the tree with this one change: a mutant is killed where one of them fails, or does not end
within four times the usual time (20 s at least). Types, decorators, messages and texts are not
changed, and an operator only into one of its own kind (arithmetic, bits). Of {places} places,
{number} were drawn by chance, and one change for each of them.

The kernels are C++, which Cosmic Ray cannot change: how well their tests notice a wrong line is not
measured. They are compared with slow twins in NumPy for every stored type and odd sizes
(`tests/unit/test_kernels.py`, `tests/integration/test_pooled.py`)."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Change lines; tests must fail.")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of places")
    parser.add_argument("--mutants", type=int, default=200, help="how many at most")
    parser.add_argument("--workers", type=int, default=2, help="how many at a time")
    parser.add_argument("--only", default="", help="files whose name has this; writes no page")
    parser.add_argument(
        "--rewrite", action="store_true", help="run nothing: the page of the outcomes of --keep"
    )
    parser.add_argument(
        "--keep", type=Path, help="file of outcomes: what was killed before is not run again"
    )
    return parser.parse_args()


def _tell(outcome: Outcome, number: int, of: int) -> None:
    mutant = outcome.mutant
    print(
        f"{number}/{of} {outcome.how:8} {outcome.seconds:5.1f} s  {mutant.module}:{mutant.line}",
        flush=True,
    )
    if outcome.how == "survived":
        print(f"    {mutant.function}\n    - {mutant.before}\n    + {mutant.after}", flush=True)


def _digest(mutant: Mutant) -> str:
    """Short name of a changed file."""
    return hashlib.sha256(f"{mutant.module}\n{mutant.source}".encode()).hexdigest()[:16]


def _before(path: Path | None) -> dict[str, How]:
    """Outcomes of an earlier run."""
    if path is None or not path.exists():
        return {}
    found: dict[str, How] = json.loads(path.read_text())
    return found


def _run(mutants: Sequence[Mutant], options: argparse.Namespace) -> list[Outcome]:
    """Outcomes of all mutants."""
    before = _before(options.keep)
    known = {
        mutant: Outcome(mutant, how, 0.0)
        for mutant in mutants
        if (how := before.get(_digest(mutant))) and (how != "survived" or options.rewrite)
    }
    left = [mutant for mutant in mutants if mutant not in known]
    modules = {mutant.module for mutant in left}
    plans = {module: plan for module, plan in PLANS.items() if module in modules}
    if options.rewrite and left:
        raise SystemExit(f"{len(left)} mutants are not in {options.keep}; run without --rewrite")
    with tempfile.TemporaryDirectory(prefix="emdarks-mutants-") as folder:
        bench = Bench(ROOT, Path(folder), options.workers, plans)
        bench.measure(lambda line: print(line, flush=True))
        for number, outcome in enumerate(bench.run(left), 1):
            known[outcome.mutant] = outcome
            _tell(outcome, number, len(left))
            if options.keep:
                before[_digest(outcome.mutant)] = outcome.how
                options.keep.write_text(json.dumps(before, indent=0))
    return [known[mutant] for mutant in mutants]


def main() -> int:
    """Draw mutants, run the tests, write the page."""
    options = _arguments()
    everything, places = sample(
        ROOT / "src" / "emdarks", list(PLANS), options.mutants, options.seed
    )
    mutants = [mutant for mutant in everything if options.only in mutant.module]
    outcomes = _run(mutants, options)
    print("\n".join(_counts(outcomes)))
    why = reasons()
    if len(mutants) == len(everything):
        PAGE.write_text(page(outcomes, places, options.seed, why), encoding="utf-8")
        print(f"wrote {PAGE}")
    survivors = [outcome.mutant for outcome in outcomes if outcome.how == "survived"]
    unknown = [mutant for mutant in survivors if mutant.key not in why]
    enough = len(survivors) <= (1 - SHARE) * len(outcomes)
    return 0 if enough and not unknown else 1


if __name__ == "__main__":
    sys.exit(main())
