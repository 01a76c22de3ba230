"""From figures to the table, on a terminal and in the documentation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from machine import Figures
from processes import TOGETHER


@dataclass(frozen=True)
class Row:
    """One line of the table: what, how much, what is to be reached, and whether it is."""

    name: str
    figure: str
    target: str = ""
    reached: bool | None = None
    before: str = ""

    @property
    def verdict(self) -> str:
        """Reached or not; empty where there is nothing to reach."""
        return "" if self.reached is None else "reached" if self.reached else "**not reached**"


def at_most(name: str, value: float, limit: float, unit: str = "", more: str = "") -> Row:
    """A figure that is to be small."""
    return Row(name, number(value, unit) + more, f"at most {limit:g}{unit}", value <= limit)


def at_least(name: str, value: float, limit: float, more: str = "") -> Row:
    """A ratio that is to be large."""
    return Row(name, number(value, " x") + more, f"at least {limit:g} x", value >= limit)


def number(value: float, unit: str) -> str:
    """A figure in three digits or more."""
    return f"{value:.3g}{unit}" if value < 100 else f"{value:.0f}{unit}"


def rows(found: Figures) -> list[Row]:
    """The table, of those parts that were measured."""
    parts = {
        reading_rows: ("streaming",),
        fit_rows: ("fits",),
        textbook_rows: ("textbook", "streaming", "fits", "commands"),
        combine_rows: ("combine", "streaming"),
        command_rows: ("commands",),
        memory_rows: ("memory",),
        growth_rows: ("frames",),
        thread_rows: ("streaming", "fits"),
        start_rows: ("start_up",),
        bits_rows: ("bits",),
    }
    made = [part(found) for part, needed in parts.items() if found.keys() >= set(needed)]
    return [row for table in made for row in table]


def beside(table: list[Row], before: Figures) -> list[Row]:
    """The same, with the figures of an earlier version beside them."""
    earlier = {row.name: row.figure for row in rows(before)}
    return [replace(row, before=earlier.get(row.name, "")) for row in table]


def _a_frame(found: Figures, seconds: float) -> str:
    return f"{seconds / (16 * found['many']) * 1e3:.2f} ms a frame"


def reading_rows(found: Figures) -> list[Row]:
    """Reading, headers, streaming."""
    times = found["streaming"]
    names = {
        "reading limit: every byte once, one thread": "reading",
        "the same, into a buffer of a whole frame": "reading, buffer of a frame",
        "the same, by positioned reads of 64 kB each": "reading, runs",
        "the same, all threads, each its share of the files": "reading, all threads",
        "headers": "headers",
        "streaming, pixels to moments, all threads": "moments",
        "the same with one thread": "moments, one thread",
        "streaming and keeping the moments of all stacks": "streaming",
        "the same with one thread, kept": "streaming, one thread",
    }
    made = [Row(name, _a_frame(found, times[key])) for name, key in names.items()]
    return [
        *made,
        *_counting_rows(times),
        Row("first touch of fresh memory", f"{times['first touch']:.2f} s a GB"),
    ]


def _counting_rows(times: Figures) -> list[Row]:
    """Streaming with the sums of the counting estimator; none of versions that had none."""
    return [
        at_most(f"with counting sums / without, {words}", times[counted] / times[alone], 1.5, " x")
        for words, counted, alone in (
            ("all threads", "moments, counting", "moments"),
            ("one thread", "moments, counting, one thread", "moments, one thread"),
        )
        if counted in times
    ]


def fit_rows(found: Figures) -> list[Row]:
    """The fit alone."""
    return [
        Row(
            f'fit, 16 stacks, "{name}"',
            f"{found['fits'][name]:.2f} s ({found['fits'][name + ', CPU']:.2f} s of CPU)",
        )
        for name in ("reference", "pooled")
    ] + counting_fit_rows(found["fits"])


def counting_fit_rows(fits: Figures) -> list[Row]:
    """The fit by counts, and what its sums keep beside the moments, where there is one."""
    if "counting, pixels" not in fits:
        return []
    stacks, cpu = 16, fits["counting, one thread, CPU"]
    pixels, inside = fits["counting, pixels"], fits["counting, imaging"]
    size = fits["counting, bytes"] / stacks
    return [
        at_most('fit, 16 stacks, "counting", CPU a pixel', 1e6 * cpu / pixels, 4, " us"),
        Row("the same, a pixel of the imaging area", f"{1e6 * cpu / inside:.2f} us"),
        at_most("counts and clipped sums beside the moments", size / pixels, 16, " bytes"),
        Row("the same, a full-size stack", f"{size / 1e6:.1f} MB"),
    ]


def textbook_rows(found: Figures) -> list[Row]:
    """Against textbook NumPy."""
    book, times, fits = found["textbook"], found["streaming"], found["fits"]
    frames = 16 * found["many"]
    fair = (book["streaming"] + book["fit"]) / (0.3 * frames + 0.7 * 16)
    made = [
        Row(
            "textbook NumPy, 16 stacks: moments; fit",
            f"{book['streaming'] / frames:.3f} s a frame; {book['fit'] / 16:.2f} s a stack",
        ),
        Row(
            "textbook NumPy / (0.3 s a frame + 0.7 s a stack)",
            f"{fair:.2f} x",
            "at most 1 x: fair",
            fair <= 1,
        ),
        Row("textbook NumPy, peak memory", f"{book['peak']:.2f} GB"),
        Row(
            "textbook / reading limit alone",
            number((book["streaming"] + book["fit"]) / times["reading"], " x"),
        ),
    ]
    for name in ("reference", "pooled"):
        both = times["streaming"] + fits[name]
        command = found["commands"][f"{name}, all"]["seconds"]
        ratio = (book["streaming"] + book["fit"]) / both
        made += [
            at_least(f'textbook / ours, streaming and fit, "{name}"', ratio, 40),
            at_least(f'textbook / ours, fit alone, "{name}"', book["fit"] / fits[name], 60),
            at_least(f'textbook / ours, whole command, "{name}"', book["seconds"] / command, 15),
        ]
    return made


def combine_rows(found: Figures) -> list[Row]:
    """The plain mean of one stack."""
    times, frames = found["combine"], found["many"]
    ours = Row("`mean_combine` of one stack", f"{times['ours'] / frames * 1e3:.1f} ms a frame")
    if "ccdproc" not in times:
        return [ours, Row("ccdproc", "not installed")]
    theirs = f"{times['ccdproc'] / frames * 1e3:.0f} ms a frame"
    # A mean needs image and flags: 6 of the 10 bytes of a pixel.
    reading = 0.6 * found["streaming"]["reading"] / 16
    return [
        ours,
        Row("ccdproc `combine`, average with mask, same files", theirs),
        Row(
            "ccdproc / reading image and flags alone",
            number(times["ccdproc"] / reading, " x"),
        ),
        at_least("ccdproc / ours", times["ccdproc"] / times["ours"], 30),
    ]


def _command(name: str) -> str:
    estimator, threads = name.split(", ")
    return f'`emdarks noisemaps`, 16 stacks, "{estimator}", {_THREADS[threads]}'


_THREADS = {"all": "all threads", "1": "one thread"}


def command_rows(found: Figures) -> list[Row]:
    """The whole command."""
    commands = found["commands"]
    made = [
        Row(_command(name), f"{run['seconds']:.2f} s ({run['cpu']:.2f} s of CPU)")
        for name, run in commands.items()
    ]
    plain, pooled = commands["reference, all"], commands["pooled, all"]
    ratio, peak = pooled["seconds"] / plain["seconds"], pooled["peak"] / plain["peak"]
    return [
        *made,
        at_most('"pooled" / "reference", time', ratio, 1.2, " x"),
        at_most('"pooled" / "reference", peak memory', peak, 1.3, " x"),
    ]


def memory_rows(found: Figures) -> list[Row]:
    """Peak memory of whole processes, by the default estimator."""
    limits = {6: 1.3, 16: 2.0, 49: 4.0}
    made = []
    for stacks in found["stacks"]:
        peaks = _peaks(found, stacks, "pooled")
        name = f"peak memory, {stacks} stacks"
        made.append(at_most(name, max(peaks.values()), limits[stacks], " GB"))
        if len(peaks) > 1:
            few, many = peaks[found["few"]], peaks[found["many"]]
            name = f"{name}, {found['many']} frames a stack / {found['few']}"
            made.append(Row(name, f"{many / few:.3f} x", "0.9 to 1.1 x", 0.9 <= many / few <= 1.1))
    return made


def _peaks(found: Figures, stacks: int, estimator: str) -> dict[int, float]:
    return {
        run["frames"]: run["peak"]
        for run in found["memory"]
        if (run["stacks"], run["estimator"]) == (stacks, estimator)
    }


def linearity(found: Figures) -> float:
    """Time of 2N frames over that of N, above what no frame costs.

    That is taken from N and 4N, so that 2N is free to disagree.
    """
    one, two, four = (times["moments"] for times in found["frames"].values())
    start = (4 * one - four) / 3
    return float((two - start) / (one - start))


def growth_rows(found: Figures) -> list[Row]:
    """Growth with frames."""
    ratio = linearity(found)
    return [
        Row("2N frames / N, above start-up", f"{ratio:.2f} x", "1.9 to 2.1 x", 1.9 <= ratio <= 2.1)
    ]


def thread_rows(found: Figures) -> list[Row]:
    """What more threads give."""
    times, fits, threads = found["streaming"], found["fits"], found["threads"]
    pairs = {
        "streaming": times["moments, one thread"] / times["moments"],
        "fit, reference": fits["reference, one thread"] / fits["reference"],
        "fit, pooled": fits["pooled, one thread"] / fits["pooled"],
    }
    return [
        at_least(f"one thread / {threads} threads, {name}", value, 1.6)
        for name, value in pairs.items()
    ]


def start_rows(found: Figures) -> list[Row]:
    """Start-up."""
    start = found["start_up"]
    helped, numpy = start["help"]["seconds"], start["numpy"]["seconds"]
    return [
        Row('`python -c "import numpy"`', f"{numpy * 1e3:.0f} ms"),
        at_most("`emdarks --help` / that", helped / numpy, 3, " x", f" ({helped * 1e3:.0f} ms)"),
    ]


def bits_rows(found: Figures) -> list[Row]:
    """Whether bits depend on how they were computed."""
    bits = found["bits"]
    return [
        Row(
            "same bits by threads, open files, size of runs",
            f"{bits['ways']} ways, {'the same' if bits['same'] else 'different'}",
            "the same",
            bits["same"],
        ),
    ]


def plain(table: list[Row]) -> str:
    """The table for a terminal."""
    lines = [(r.name, r.before, r.figure, r.target, r.verdict.strip("*")) for r in table]
    lines = [("", "0.1.0, Numba", "figure", "target", ""), *lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def text_table(header: list[str], lines: list[list[str]]) -> str:
    """A table of Markdown."""
    ruler = ["---"] * len(header)
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ruler, *lines])


def _frames_table(found: Figures) -> str:
    lines = [
        [
            n,
            f"{times['headers'] / (16 * int(n)) * 1e3:.2f}",
            f"{times['moments']:.2f}",
            f"{times['moments'] / (16 * int(n)) * 1e3:.1f}",
        ]
        for n, times in found["frames"].items()
    ]
    header = ["frames", "headers, ms a frame", "streaming, s", "streaming, ms a frame"]
    return text_table(header, lines)


def _stacks_table(found: Figures) -> str:
    lines = []
    for n, times in found["by_stacks"].items():
        peaks = [_peaks(found, int(n), name)[found["few"]] for name in ("reference", "pooled")]
        seconds = [times["moments"], times["fit"]]
        lines.append([n, *(f"{value:.2f}" for value in seconds + peaks)])
    return text_table(["stacks", "streaming, s", 'fit "reference", s', *_PEAKS], lines)


_PEAKS = ('peak, GB, "reference"', 'peak, GB, "pooled"')


def _steps_table(found: Figures) -> str:
    plain, pooled = found["steps"]["reference"], found["steps"]["pooled"]
    lines = [[step, f"{plain[step]:.2f}", f"{pooled[step]:.2f}"] for step in plain]
    whole = (found["commands"][f"{name}, all"]["seconds"] for name in ("reference", "pooled"))
    lines.append(["whole command, start-up included", *(f"{value:.2f}" for value in whole)])
    return text_table(["step", '"reference", s', '"pooled", s'], lines)


def with_section(page: str, section: str) -> str:
    """The page with this section, in the place of an earlier one or else at its end."""
    before, _, after = page.partition(section.partition("\n")[0] + "\n")
    _, heading, rest = after.partition("\n## ")
    parts = (before, section, heading.lstrip("\n") + rest)
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def markdown(aims: list[Row], table: list[Row], before: Figures, found: Figures) -> str:
    """The page."""
    header = ["", "0.1.0, Numba", "now", "goal", ""]
    lines, more = (
        text_table(header, [[r.name, r.before, r.figure, r.target, r.verdict] for r in part])
        for part in (aims, table)
    )
    return PAGE.format(
        machine=found["machine"],
        load=found["load"],
        earlier="The same machine." if before["machine"] == found["machine"] else before["machine"],
        earlier_load=before["load"],
        many=found["many"],
        few=found["few"],
        threads=found["threads"],
        best=TOGETHER / found["threads"],
        aims=lines,
        table=more,
        frames=_frames_table(found),
        stacks=_stacks_table(found),
        steps=_steps_table(found),
        kernels=_kernels_table(before, found),
    )


def _kernels_table(before: Figures, found: Figures) -> str:
    lines = [
        [f"`{pattern}`", str(before["lines"].get(pattern, 0)), str(count)]
        for pattern, count in found["lines"].items()
    ]
    return text_table(["lines", "0.1.0, Numba", "now"], lines)


PAGE = """# Benchmarks

Written by `make bench` (`python benchmarks/bench.py`), all figures of *now* in one run.
Simulated frames of 1200 x 2200 pixels, 26.4 MB each, in the page cache; 16 stacks of {many}
frames where nothing else is said. Times are the least of repeats, taken in turn: each does the
same work every time, and what took longer was disturbed. Ratios are of figures from the same
run. Products are written to memory (`/dev/shm`) where it has room. GB are 10⁹ bytes.

{machine}
Load average when the run began: {load:.1f}.

*0.1.0, Numba* is the version before the compiled core: its kernels were compiled by Numba when
they were first called. It was measured by the same scripts (`python benchmarks/bench.py --figures
benchmarks/before.json --parts ...` with that version installed), and its ratios are of figures
from one run, too. {earlier} Load average when that run began: {earlier_load:.1f}.

## What the compiled core was to reach

{aims}

- *First command ever / second*: `emdarks noisemaps` in a new environment (`python -m venv`) that
  has a copy of the package, and an empty home folder; then the same again. *Installed by pip*:
  the bytecode of the package is there, since pip writes it when it installs. *Without bytecode*:
  the first command writes it, as after installers that leave it out. The other packages are
  those that the benchmark runs with, bytecode included, and all files are in the page cache.
- *The sample* are the 24 frames of 40 x 62 pixels that come with the package
  (`emdarks.data.sample()`). CPU seconds are those of the whole process, of all its threads, the
  system's included. Imports and commands run in an environment as pip leaves it.
- *Reading limit*, *streaming* and *keeping*: see below.
- *Fit*: CPU seconds of the fit alone, all threads; beside it, as a ratio, the time in which one
  thread copies the same moments piece by piece into memory that stays in the core's cache.
- *The second call in one process*: the command line is called twice by one process, and the
  second call is timed; the ratio is what starting costs.
- *Lines of kernels*: comments and empty lines count; by folder:

{kernels}

- What is not reached, and why. *Without bytecode*: nothing is compiled to machine code, but Python
  compiles its own modules once, 0.2 s; installers that leave that to the first command are not
  pip. *The second call in one process*: what both calls do became faster (the second took 3.8 s
  and takes 2.8 s), start-up is 1.2 s of the command, most of it imports, and so its share grew.
  *Lines of kernels*: of those in `src/core`, three in ten are bindings, which check every argument
  and hold the docstrings, and one in twelve declares what kernels take; the stub file comes
  on top. Numba needed neither, and checked nothing.
- *20 commands at once*: started together, waited for all; each writes its own maps, whose bits
  are compared. With {threads} cores the ratio would be {best:.0f} x if one command kept one core
  busy and nothing else took time.

## Figures

{table}

- *Reading limit*: `readinto` a reused buffer of 256 kB, which stays in the core's cache.
- *Streaming* is from files to the moments of a stack, in memory that is used again for the
  next; *keeping* adds the copy into the moments of all stacks, memory touched for the first
  time. What a gigabyte of that costs stands in the table, too: in a virtual machine the
  host may have to find it first.
- *Textbook NumPy*: four passes over the files of a stack with `astropy.io.fits.getdata`
  (mean, error, scatter, flags), masked arrays in float64, then batched normal matrices,
  `numpy.linalg.inv` and `einsum` over whole frames; values and errors only, nothing written.
  Its whole process is compared with the whole command, which writes all its HDUs.
- *ccdproc*: `combine(paths, method="average", hdu=1, hdu_mask="DQ")`; it makes a standard
  deviation, too, `mean_combine` the number of good frames. Both from the same files, and
  the means agree.
- *Reading limit alone*, in a ratio: what a program would reach that reads every byte once on
  one thread and does nothing else.
- *Above start-up*: what no frame costs is taken from N and 4N frames.

## Growth with frames

16 stacks of so many frames.

{frames}

## Growth with stacks

{few} frames a stack; peaks are of whole commands.

{stacks}

## Where the time goes

`calibrate_darks_lsq` by its steps, all threads; then the file, and the command.

{steps}
"""
