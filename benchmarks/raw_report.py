"""Figures of raw frames: rows of the table, and their section of the page."""

from __future__ import annotations

from machine import Figures
from report import Row, at_least, at_most, number, text_table

HEADING = "## Raw frames"
_RECIPES = {"dark": "its recipe of noise maps", "standard": "its standard search"}
_GOALS = {"dark": 500.0, "standard": 100.0}


def raw_rows(found: Figures) -> list[Row]:
    """The table; empty where raw frames were not measured."""
    if "raw" not in found:
        return []
    parts = time_rows, level_rows, counting_rows, byte_rows, peak_rows, peer_rows
    return [row for part in parts for row in part(found["raw"])]


def _ms(raw: Figures, name: str) -> float:
    """Milliseconds a frame."""
    return float(raw["streaming"][name]) / raw["streaming"]["frames"] * 1e3


def _time(raw: Figures, name: str) -> str:
    return f"{_ms(raw, name):.2f} ms a frame ({_ms(raw, name + ', CPU'):.2f} ms of CPU)"


def time_rows(raw: Figures) -> list[Row]:
    """From files to moments."""
    wall, busy = (_ms(raw, f"standard, two threads{kind}") for kind in ("", ", CPU"))
    names = {
        "raw: the same with one thread": "standard, one thread",
        'raw, search "dark", two threads': "dark, two threads",
        "raw, search off, two threads": "off, two threads",
        "raw: reading limit, one thread": "reading",
        "raw: reading limit, two threads, each its share of the files": "reading, two threads",
        "raw: headers and calibration files": "headers",
    }
    name = 'raw, search "standard", files to moments, two threads'
    return [
        at_most(name, wall, 4, " ms", " a frame"),
        at_most("raw: the same, CPU", busy, 8, " ms", " a frame"),
        *(Row(name, _time(raw, key)) for name, key in names.items()),
        Row("raw: 26,000 frames at the first rate", f"{26 * wall:.0f} s"),
    ]


def level_rows(raw: Figures) -> list[Row]:
    """The same frames as level 2a."""
    names = {
        "the same frames as level 2a, files to moments, two threads": "L2a, two threads",
        "level 2a with one thread": "L2a, one thread",
        "level 2a: reading limit, one thread": "L2a, reading",
        "level 2a: reading limit, two threads": "L2a, reading, two threads",
    }
    ratio = _ms(raw, "standard, two threads") / _ms(raw, "L2a, two threads")
    return [
        *(Row(name, _time(raw, key)) for name, key in names.items()),
        Row("raw / level 2a, two threads", f"{ratio:.2f} x"),
    ]


def counting_rows(raw: Figures) -> list[Row]:
    """With the sums of the counting estimator, where there is one."""
    if "counting, two threads" not in raw["streaming"]:
        return []
    made = []
    for name, plain, counting in (
        ("raw", "standard", "counting"),
        ("level 2a", "L2a", "L2a, counting"),
    ):
        key = f"{counting}, two threads"
        ratio = _ms(raw, key) / _ms(raw, f"{plain}, two threads")
        made += [
            Row(f"{name}, counting sums, too, two threads", _time(raw, key)),
            at_most(f"{name}: with counting sums / without", ratio, 1.5, " x"),
        ]
    return made


def byte_rows(raw: Figures) -> list[Row]:
    """Bytes that are read."""
    read = raw["bytes"]
    storage, handed, own = (
        read[name] / read["files"] for name in ("storage", "handed over", "own count")
    )
    name = "raw: bytes from storage / bytes of files"
    first = (
        Row(name, "not to be had: the files are in memory")
        if read["storage"] == 0
        else at_most(name, storage, 1.05, " x")
    )
    return [
        first,
        Row("raw: bytes from storage and page cache / bytes of files", f"{handed:.3f} x"),
        Row("raw: bytes of pixels by the reader's count / bytes of files", f"{own:.3f} x"),
    ]


def peak_rows(raw: Figures) -> list[Row]:
    """Peak memory of the whole command."""
    few, many = (raw["memory"][name]["peak"] for name in ("few", "many"))
    ratio = many / few
    name = "raw: peak memory of `emdarks noisemaps`, 12 frames a stack / 4"
    return [
        Row("raw: peak memory of `emdarks noisemaps`, 6 stacks of 4", f"{few:.2f} GB"),
        Row(name, f"{ratio:.3f} x", "0.95 to 1.05 x", 0.95 <= ratio <= 1.05),
    ]


def peer_rows(raw: Figures) -> list[Row]:
    """corgidrp on the same frames."""
    if not raw["peer"]:
        why = "frames too small" if raw["small"] else "no environment with corgidrp 5.1.1"
        return [Row("corgidrp 5.1.1 on the same frames", f"not measured: {why}")]
    made = []
    for search, run in raw["peer"].items():
        busy = _ms(raw, f"{search}, two threads, CPU") / 1e3
        name = f"corgidrp 5.1.1, {_RECIPES[search]}"
        made += [
            Row(f"{name}, to electrons", f"{_peer_time(run)} of CPU a frame"),
            at_least(
                f"{name} / ours, to moments, CPU",
                run["all"] / busy,
                _GOALS[search],
                "" if run["finished"] else " or more: stopped",
            ),
            Row(f"{name}, peak memory", f"{number(run['peak'], ' GB')}"),
        ]
    return made


def _peer_time(run: Figures) -> str:
    """Seconds of CPU a frame; of a run that was stopped, at least these."""
    return f"{'' if run['finished'] else 'more than '}{run['all']:.2f} s"


def _peer_table(raw: Figures) -> str:
    """Where the time of the peer goes."""
    if not raw["peer"]:
        return "corgidrp 5.1.1 was not measured.\n"
    runs = raw["peer"].values()
    steps = max((run["steps"] for run in runs), key=len)
    lines = [[step, *(_step(run, step) for run in runs)] for step in steps]
    names = (f"{_RECIPES[search]}, s of CPU a frame" for search in raw["peer"])
    return text_table(["step of corgidrp 5.1.1", *names], lines) + "\n"


def _step(run: Figures, step: str) -> str:
    """Seconds of CPU of one step; the last one of a run that was stopped took more."""
    if step not in run["steps"]:
        return "not reached"
    cut = not run["finished"] and step == list(run["steps"])[-1]
    return f"{'more than ' if cut else ''}{run['steps'][step]:.3f}"


def raw_section(found: Figures) -> str:
    """Their section of the page."""
    raw = found["raw"]
    lines = [[row.name, row.figure, row.target, row.verdict] for row in raw_rows(found)]
    return SECTION.format(
        heading=HEADING,
        machine=found["machine"],
        load=raw["load"],
        after=raw["load after"],
        frames=raw["streaming"]["frames"],
        megabytes=raw["streaming"]["bytes"] / raw["streaming"]["frames"] / 1e6,
        table=text_table(["", "figure", "goal", ""], lines),
        steps=_peer_table(raw),
        limit=raw["limit"],
    )


SECTION = """{heading}

Written by `make bench`, or alone by `python benchmarks/bench.py --parts raw`. {frames} raw frames
(level 1) of 1200 x 2200 pixels, {megabytes:.1f} MB each: the first 4 of each of six stacks of
`emdarks simulate --level 1` with cosmic rays at the flight rate, in the page cache. *Files to
moments*: open, first sweep (bias, saturation, cosmic rays), second sweep (linearity, electrons,
moments); headers apart. Times are the least of repeats, taken in turn.

{machine}
Load average when this part began: {load:.1f}, when it ended: {after:.1f}. Where it is above 0,
others were at work: CPU times and ratios suffer less from that than times.

{table}

- *Not reached*: of two threads and of CPU, most is adding to sums, not making raw frames ready: the
  same frames of level 2a, which need none of that, take nearly as long (raw / level 2a, above). The
  ratio to the peer's standard search follows from the same CPU.
- *The same frames as level 2a* were written by `emdarks prepare`: 26.4 MB each.
- *Bytes from storage*: `read_bytes` of the process (`/proc/self/io`), with the files taken out of
  the page cache before (`posix_fadvise`). The first sweep reads the files of a block (up to 128
  frames), the second reads them again, which the page cache serves: *from storage and page
  cache* (`rchar`) counts both. *The reader's count* is `StackSums.bytes_read`, the pixels of the
  second sweep alone.
- *corgidrp 5.1.1* does the same 24 frames once, in an environment of its own (`make
  interchange`): the steps of its recipe from raw frames to
  electrons, by its own functions; it writes no files and makes no means. Ours go on to the
  moments, by the search of the same name, with two threads. Its recipe of noise maps searches by
  a histogram, emdarks by plateaus with the same thresholds. The time of that grows with the
  number of groups of pixels above its threshold, and at high gain each electron makes one; a run
  is stopped after {limit} seconds of CPU: *more than*.

{steps}"""
