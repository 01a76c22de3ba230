"""A flight-like campaign of raw frames, from files to maps, against the truth.

    python -m validation.flight             16 stacks of 30 full-size frames, kept in build/flight
    python -m validation.flight --quick     4 small frames a stack; prints, writes nothing

Makes the frames where they are not there (2.6 GB, some minutes), runs `emdarks noisemaps` on
them in several ways, each in a process of its own, compares with the truth, prints a table and
writes docs/validation_flight.md. This process stays small: the peak memory of a process counts what
the one that started it held.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validation.flight_grid import GAINS, TIMES

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "validation_flight.md"
TEXT = HERE / "flight.md"
FOLDER = HERE.parent / "build" / "flight"
#: What the simulation wrote about itself.
FACTS = "simulated.json"
FULL, QUICK = (30, "excam"), (4, "excam-small")
#: The search "dark" flags from here on, electrons: 0.017 of the register's full well.
DARK_LEVEL = 0.017 * 105_000
#: Mean charge that the reference's planning goes by: e-, e-/s.
CHARGE, DARK_CURRENT = 0.0088, 0.001
STAGES = 604
#: Errors that the counting estimator may have: F in e-, C and D in per cent of their means.
GOALS = (0.3, 1.0, 1.5)


@dataclass(frozen=True)
class Case:
    """One way to make maps; without ``all_stacks``, those that the search cuts into stay away."""

    name: str
    search: str
    options: tuple[str, ...] = ()
    all_stacks: bool = True
    estimator: str = "pooled"

    def command(self, listed: Path, target: Path) -> list[object]:
        """Arguments of `emdarks` that make the maps of these frames."""
        return [
            *("noisemaps", f"@{listed}", "-o", target, "--overwrite", "--json"),
            *("--estimator", self.estimator, "--cosmic-rays", self.search, *self.options),
        ]


CASES = (
    Case("pooled, search standard", "standard"),
    Case("pooled, standard, `--screen`", "standard", ("--screen",)),
    Case("pooled, search dark", "dark"),
    Case("pooled, dark, stacks left out", "dark", all_stacks=False),
    Case("pooled, search off", "off"),
    Case("counting, search standard", "standard", estimator="counting"),
)


@dataclass(frozen=True)
class Made:
    """Maps that were made: seconds, seconds of CPU, peak memory in GB, and figures."""

    case: Case
    seconds: float
    cpu: float
    peak: float
    told: dict[str, Any]
    found: dict[str, Any]

    @property
    def biases(self) -> Iterator[tuple[float, float]]:
        """Errors of the image means and their standard errors: F in e-, C and D in per cent."""
        parts = zip(self.found["bias"], self.found["error"], self.found["true"], strict=True)
        for number, (bias, error, true) in enumerate(parts):
            unit = 1.0 if number == 0 else 100 / true
            yield bias * unit, error * unit

    @property
    def reached(self) -> bool:
        """Whether all errors are within the goals, or within 3 standard errors."""
        return all(
            abs(bias) <= max(goal, 3 * error)
            for (bias, error), goal in zip(self.biases, GOALS, strict=True)
        )


def cuts_into(gain: float, seconds: float) -> bool:
    """Whether the search "dark" cuts into the charge of a stack.

    The reference's own rule, with the mean charge times the gain, which it forgets: the level that
    it flags from is to be 4 standard deviations above the mean.
    """
    charge = CHARGE + DARK_CURRENT * seconds
    excess = 2 * (gain - 1) * gain ** (-(STAGES + 1) / STAGES) + 1 / gain
    return gain * charge + 4 * gain * math.sqrt(excess * charge) >= DARK_LEVEL


def run(command: Sequence[object]) -> tuple[float, float, float, str]:
    """Run a command to its end: seconds, seconds of CPU, peak memory in GB, what it wrote."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, *map(str, command)], stdout=output)
        _, status, usage = os.wait4(child.pid, 0)
        taken = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if child.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed with {child.returncode}")
    return taken, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9, text


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def simulated(folder: Path, frames: int, camera: str, kind: str = "usual") -> dict[str, Any]:
    """Make the frames where they are not there; what the simulation wrote about itself."""
    facts = folder / FACTS
    if not facts.exists():
        say(f"making frames in {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        made = run(["-m", "validation.flight_frames", folder / "raw", frames, camera, kind])
        facts.write_text(made[3])
    found: dict[str, Any] = json.loads(facts.read_text())
    return found


def lists(folder: Path) -> tuple[Path, Path]:
    """Lists of all frames, and of those of stacks that the search "dark" leaves alone."""
    paths = sorted((folder / "raw").glob("*_l1_.fits"))
    settings = [(gain, seconds) for gain in GAINS for seconds in TIMES]
    frames = len(paths) // len(settings)
    good = [path for number, path in enumerate(paths) if not cuts_into(*settings[number // frames])]
    made = folder / "all.txt", folder / "dark.txt"
    for target, listed in zip(made, (paths, good), strict=True):
        target.write_text("\n".join(map(str, listed)) + "\n")
    return made


def warm(folder: Path) -> None:
    """Read all frames once, so that they are in the page cache."""
    buffer = bytearray(1 << 20)
    for path in (folder / "raw").glob("*.fits"):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def maps(case: Case, folder: Path) -> Made:
    """Make maps in one way, and compare them."""
    say(case.name)
    everything, good = lists(folder)
    target = folder / "maps.fits"
    listed = everything if case.all_stacks else good
    taken, busy, peak, told = run(["-m", "emdarks", *case.command(listed, target)])
    compared = run(["-m", "validation.flight_compare", target, folder / "raw" / "truth.fits"])
    target.unlink()
    return Made(case, taken, busy, peak, json.loads(told), json.loads(compared[3]))


def other_rays(folder: Path, size: tuple[int, str]) -> str:
    """Maps of campaigns with other rays; their frames are not kept."""
    lines = []
    for kind in ("none", "long tails", "wide wings"):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            simulated(Path(place), *size, kind)
            for estimator in ("counting", "pooled"):
                case = Case(f"{kind}, {estimator}", "standard", estimator=estimator)
                biases = maps(case, Path(place)).biases
                cells = [f"{bias:+.2f} ({error:.2f})" for bias, error in biases]
                lines.append([kind, estimator, *cells])
    return table(("rays", "estimator", "bias of F, e-", "C, %", "D, %"), lines)


def shares(folder: Path, search: str) -> dict[str, tuple[float, float]]:
    """Share of the imaging area flagged, by stack."""
    say(f"flags of the search {search}")
    done = run(["-m", "validation.flight_compare", "--flags", folder / "raw", search])
    found: dict[str, tuple[float, float]] = json.loads(done[3])
    return found


def estimators() -> list[str]:
    """Estimators of this version."""
    code = "from emdarks.darks.noise_maps import ESTIMATORS; print(*ESTIMATORS)"
    return run(["-c", code])[3].split()


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    ruler = ["---"] * len(header)
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ruler, *lines])


def maps_table(made: Sequence[Made]) -> str:
    """One line a way."""
    header = (
        "estimator, search", "stacks", "time, s", "CPU, s", "peak, GB", "bias of F, e-", "C, %",
        "D, %", "not fitted, %", "within the goals",
    )  # fmt: skip
    lines = [
        [
            each.case.name,
            str(each.told["stacks"]),
            f"{each.seconds:.1f}",
            f"{each.cpu:.1f}",
            f"{each.peak:.2f}",
            *(f"{bias:+.2f} ({error:.2f})" for bias, error in each.biases),
            f"{100 * each.found['unusable']:.2f}",
            "yes" if each.reached else "no",
        ]
        for each in made
    ]
    return table(header, lines)


def flags_table(by_search: dict[str, dict[str, tuple[float, float]]]) -> str:
    """One line a stack."""
    header = ["EM gain, time", "saturated (32), %"]
    header += [f"cosmic rays (128), {search}, %" for search in by_search]
    first = next(iter(by_search.values()))
    lines = [
        [name, f"{first[name][0]:.4f}", *(f"{found[name][1]:.3f}" for found in by_search.values())]
        for name in first
    ]
    return table(header, lines)


def main() -> None:
    """Make, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small frames; writes no page")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the frames are kept")
    given = parser.parse_args()
    size, name = (QUICK, "small") if given.quick else (FULL, "full")
    folder = (given.folder / name).resolve()
    facts = simulated(folder, *size)
    warm(folder)
    load, known = os.getloadavg()[0], estimators()
    made = [
        maps(case, folder)
        for case in CASES
        if "counting" in known or "counting" not in case.options
    ]
    by_search = {search: shares(folder, search) for search in ("standard", "dark")}
    tables = {
        "maps": maps_table(made),
        "flags": flags_table(by_search),
        "others": other_rays(folder, size),
    }
    print(*tables.values(), sep="\n\n")
    if not given.quick:
        PAGE.write_text(
            TEXT.read_text().format(
                **tables,
                frames=facts["frames"],
                gigabytes=facts["bytes"] / 1e9,
                seconds=facts["seconds"],
                cpu=facts["cpu"],
                made_load=facts["load"],
                load=load,
                cores=len(os.sched_getaffinity(0)),
                level=DARK_LEVEL,
            )
        )
        print(f"written: docs/{PAGE.name}")


if __name__ == "__main__":
    main()
