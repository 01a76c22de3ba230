"""Bad input and bad luck: ``python -m validation.hostile``.

Every kind of bad input of `validation.hostile_cases`, what `emdarks noisemaps` did with it,
alone and with ``--skip-bad-frames``, and what `emdarks inspect` said; writing on a full disk,
processes killed while they write, two at a time. Prints the tables and writes
docs/validation_hostile.md; exit 1 where anything was not as promised.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from validation.hostile_campaign import FRAMES, Place, write_good
from validation.hostile_cases import CASES, Case
from validation.hostile_run import Outcome, run_case, same_planes, without_bad
from validation.hostile_table import judge
from validation.hostile_writing import (
    Count,
    full_disk,
    killed,
    parts,
    small_disk,
    swept,
    two_writers,
)

from emdarks.data import DetectorNoiseMaps
from emdarks.errors import InputError
from emdarks.report import write_report

PAGE = Path(__file__).parent.parent / "docs" / "validation_hostile.md"
TEXT = Path(__file__).parent / "hostile.md"
KILLS = 50


@dataclass(frozen=True)
class Row:
    """One kind of bad input, and what was done.

    Attributes
    ----------
    case : Case
        The kind.
    alone, inspected : Outcome
        Of `emdarks noisemaps` and `emdarks inspect`.
    skipping : str
        What ``--skip-bad-frames`` did; empty where it has nothing to do.
    wrong : tuple of str
        What was not as promised.
    """

    case: Case
    alone: Outcome
    inspected: Outcome
    skipping: str
    wrong: tuple[str, ...]


def look(case: Case, good: Sequence[Path], whole: Path, folder: Path) -> Row:
    """Run the commands on one kind."""
    alone, _ = run_case(case, good, folder / "alone")
    wrong = [judge(case, alone)]
    if case.same and alone.product and not same_planes(alone.product, whole):
        wrong.append("the product is not that of the good campaign")
    inspected, place = run_case(case, good, folder / "inspect", command="inspect")
    wrong.append(inspected.escaped)
    skipping = ""
    if case.skipped:
        if place.bad[0].name not in inspected.text or "not usable" not in inspected.text:
            wrong.append("emdarks inspect does not name the frame")
        skipping = _skipping(case, good, folder)
        if skipping != "same bits":
            wrong.append(skipping)
    return Row(case, alone, inspected, skipping, tuple(filter(None, wrong)))


def _skipping(case: Case, good: Sequence[Path], folder: Path) -> str:
    outcome, place = run_case(case, good, folder / "skip", skip=True)
    if outcome.exit_code or outcome.product is None:
        return f"exit {outcome.exit_code}: {outcome.message or outcome.escaped}"
    listed = DetectorNoiseMaps(outcome.product).hdu_list["SKIPPED"].data["FILENAME"]
    if list(listed) != [path.name for path in place.bad]:
        return f"lists {list(listed)}"
    reference = without_bad(place, good, folder / "reference")
    assert reference.product is not None
    return "same bits" if same_planes(outcome.product, reference.product) else "other bits"


def _plain(text: str, folder: Path, width: int = 150) -> str:
    """A message without the folders of this run, on one line of a table."""
    text = text.replace(f"{folder}/", "").removeprefix("error: ").removeprefix("warning: ")
    for case in CASES:
        for run in ("alone", "inspect", "skip"):
            text = text.replace(f"{case.name}/{run}/", "")
    text = text.rsplit("│ ", 1)[-1].replace("|", "\\|").replace("frames/", "").replace("`", "'")
    # Wrong use is told in a box.
    text = " ".join("".join(c if c.isprintable() else "?" for c in text.strip("│ ")).split())
    return text if len(text) <= width else f"{text[: width - 1]}…"


def table(rows: Sequence[Row], folder: Path) -> str:
    """Markdown."""
    lines = [
        "| group | input | exit | written | says | with `--skip-bad-frames` |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        written = ", ".join(Path(name).name for name in row.alone.written) or "nothing"
        # One long name is enough to break a table.
        written = "the product" if written != "nothing" else written
        says = _plain(row.alone.message, folder) or "–"
        skip = f"left out, {row.skipping}" if row.skipping else "–"
        wrong = f" **{'; '.join(row.wrong)}**" if row.wrong else ""
        lines.append(
            f"| {row.case.group} | {row.case.what} | {row.alone.exit_code} | {written} | "
            f"{says}{wrong} | {skip} |"
        )
    return "\n".join(lines)


def writing(maps: Path, folder: Path) -> tuple[str, list[str]]:
    """Experiments with writing: a table, and what went wrong."""
    product = DetectorNoiseMaps(maps)
    other = product.copy()
    other.data[0] += 1.0
    folder.mkdir()

    def save(which: DetectorNoiseMaps) -> object:
        return lambda path: which.save(path.parent, path.name)

    def page(title: str) -> object:
        made = write_report(maps, folder / f"{title}.html")
        return lambda path: made.save(path)

    old, new = save(product), save(other)
    counts: list[tuple[str, Count, int]] = []
    for what, name, first, second in (
        ("noise maps", "x.fits", old, new),
        ("a report", "x.html", page("a"), page("b")),
    ):
        for index, (kind, run) in enumerate(
            (
                ("disk full after ever more bytes", lambda *a: full_disk(*a, steps=50)),
                ("killed at random moments", lambda *a: killed(*a, times=KILLS)),
            )
        ):
            place = folder / f"{name}{index}"
            place.mkdir()
            count = run(place, name, first, second)
            counts.append((f"{what}, {kind}", count, swept(place)))
    place = folder / "two"
    place.mkdir()
    counts.append(
        ("noise maps, two processes at once", two_writers(place, "x.fits", [old, new], 20), 0)
    )
    wrong = [what for what, count, left in counts if count.broken or left]
    lines = [
        "| experiment | tried | came to an end | refused | killed | earlier file | new file | "
        "anything else | hidden parts left | after the next write |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {what} | {c.attempts} | {c.finished} | {c.refused} | {c.killed} | {c.earlier} | "
        f"{c.new} | {c.broken} | {c.leftovers} | {left} |"
        for what, c, left in counts
    ]
    return "\n".join(lines), wrong


def mounted(maps: Path) -> str:
    """Write to a file system in memory that is too small for two products."""
    product = DetectorNoiseMaps(maps)
    with small_disk(maps.stat().st_size * 3 // 2048) as folder:
        if folder is None:
            return "No small file system could be mounted on this machine."
        product.save(folder, "x.fits")
        before = (folder / "x.fits").read_bytes()
        try:
            product.save(folder, "x.fits")
        except InputError as error:
            same = (folder / "x.fits").read_bytes() == before
            said = str(error).replace(f"{folder}/", "")
            return (
                f"On a mounted file system of {maps.stat().st_size * 3 // 2048} kB that holds one "
                f"product but not two: “{said}”; earlier file "
                f"{'unchanged' if same else 'CHANGED'}, {len(parts(folder))} parts left."
            )
    return "The small file system took both products: nothing was shown."


def main() -> int:
    """Run, print, write the page; 0 where everything was as promised."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "good").mkdir()
        good = write_good(folder / "good")
        place = Place.of(good, folder / "base")
        made = without_bad(place, good, folder / "whole")
        assert made.product is not None, made
        rows = [look(case, good, made.product, folder / case.name) for case in CASES]
        inputs = table(rows, folder)
        written, broken = writing(made.product, folder / "writing")
        small = mounted(made.product)
    wrong = [f"{row.case.name}: {'; '.join(row.wrong)}" for row in rows if row.wrong] + broken
    outcomes = Counter(row.alone.exit_code for row in rows)
    left_out = [row for row in rows if row.case.skipped]
    figures = (
        f"{len(rows)} kinds: {outcomes[1] + outcomes[2]} refused with one line and nothing "
        f"written, {outcomes[0]} with a product ({sum(r.case.outcome == 'warned' for r in rows)} "
        f"of them with a warning), {outcomes[-1]} with a traceback. {len(left_out)} of them can be "
        f"left out: {sum(r.skipping == 'same bits' for r in left_out)} products have the same bits "
        "as if the frame had not been given."
    )
    text = TEXT.read_text(encoding="utf-8")
    for key, value in (
        ("FRAMES", str(FRAMES)),
        ("FIGURES", figures),
        ("INPUTS", inputs),
        ("WRITING", f"{written}\n\n{small}"),
    ):
        text = text.replace(f"@{key}@", value)
    PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{inputs}\n\n{figures}\n\n{written}\n\n{small}\n")
    for line in wrong:
        sys.stdout.write(f"NOT AS PROMISED: {line}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    with np.errstate(all="warn"):
        raise SystemExit(main())
