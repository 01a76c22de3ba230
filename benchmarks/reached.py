"""What the compiled core was to reach: before, now, and the goal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from machine import Figures
from report import Row, number


@dataclass(frozen=True)
class Aim:
    """A figure, at most how large it is to be, and what else is told beside it."""

    name: str
    figure: Callable[[Figures], float]
    limit: float | None = None
    unit: str = " x"
    more: Callable[[Figures], str] = lambda found: ""

    def told(self, found: Figures) -> tuple[float | None, str]:
        """The figure, and how it is written; None where it was not measured."""
        try:
            value = self.figure(found)
            return value, number(value, self.unit) + self.more(found)
        except KeyError:
            return None, ""

    def row(self, before: Figures, now: Figures) -> Row:
        """One line of the table."""
        value, figure = self.told(now)
        reached = None if value is None or self.limit is None else value <= self.limit
        goal = "" if self.limit is None else f"at most {number(self.limit, self.unit)}"
        return Row(self.name, figure, goal, reached, self.told(before)[1])


def compared(before: Figures, now: Figures) -> list[Row]:
    """The table."""
    return [aim.row(before, now) for aim in AIMS]


def _first(campaign: str, kind: str) -> Callable[[Figures], float]:
    def ratio(found: Figures) -> float:
        times = found["first"][f"{campaign}, {kind}"]
        return float(times["first"]["seconds"] / times["second"]["seconds"])

    return ratio


def _both(campaign: str, kind: str) -> Callable[[Figures], str]:
    def seconds(found: Figures) -> str:
        times = found["first"][f"{campaign}, {kind}"]
        return f" ({times['first']['seconds']:.2f} s, {times['second']['seconds']:.2f} s)"

    return seconds


def _start(name: str, unit: str) -> Callable[[Figures], float]:
    return lambda found: float(found["start_up"][name][unit] / found["start_up"]["numpy"][unit])


def _time(name: str, unit: str, word: str) -> Callable[[Figures], str]:
    return lambda found: f" ({found['start_up'][name][unit]:.2f} s{word})"


def _streaming(name: str) -> Callable[[Figures], float]:
    return lambda found: float(found["streaming"][name] / found["streaming"]["reading"])


def _memory_speed(found: Figures) -> str:
    fits = found["fits"]
    ratio = fits["pooled, CPU"] / fits["moments, memory"]
    return f" ({ratio:.1f} x reading {fits['moments, bytes'] / 1e9:.2f} GB of moments from memory)"


def _whole(found: Figures) -> float:
    return float(found["commands"]["pooled, all"]["seconds"] / found["second call"])


def _whole_seconds(found: Figures) -> str:
    first, second = found["commands"]["pooled, all"]["seconds"], found["second call"]
    return f" ({first:.2f} s, {second:.2f} s)"


def _lines(found: Figures) -> float:
    if not found["lines"]:
        raise KeyError("lines")
    return sum(found["lines"].values())


def _together(name: str) -> Callable[[Figures], float]:
    return lambda found: found["together"][name]["seconds"] / found["start_up"]["sample"]["seconds"]


def _ended(name: str) -> Callable[[Figures], str]:
    def told(found: Figures) -> str:
        runs = found["together"][name]
        same = "the same maps" if runs["different"] == 1 else f"{runs['different']} kinds of maps"
        return f" ({runs['seconds']:.1f} s, {runs['failed']:.0f} failed, {same})"

    return told


AIMS = (
    Aim(
        "first command ever / second, 6 full-size stacks of 4 frames, installed by pip",
        _first("six", "bytecode"),
        1.1,
        more=_both("six", "bytecode"),
    ),
    Aim(
        "the same, installed without bytecode",
        _first("six", "bare"),
        1.1,
        more=_both("six", "bare"),
    ),
    Aim(
        "first command ever / second, the sample, installed by pip",
        _first("sample", "bytecode"),
        1.1,
        more=_both("sample", "bytecode"),
    ),
    Aim(
        "the same, installed without bytecode",
        _first("sample", "bare"),
        1.1,
        more=_both("sample", "bare"),
    ),
    Aim(
        "`emdarks noisemaps` of the sample / `import numpy`, CPU",
        _start("sample", "cpu"),
        7,
        more=_time("sample", "cpu", " of CPU"),
    ),
    Aim(
        "`emdarks noisemaps` of 48 frames of 120 x 220 / `import numpy`, CPU",
        _start("small", "cpu"),
        7,
        more=_time("small", "cpu", " of CPU"),
    ),
    Aim(
        "`import emdarks.darks` / `import numpy`",
        _start("darks", "seconds"),
        3,
        more=_time("darks", "seconds", ""),
    ),
    Aim("streaming / reading limit, all threads", _streaming("moments"), 1.3),
    Aim("streaming / reading limit, one thread", _streaming("moments, one thread"), 2.1),
    Aim(
        "streaming and keeping the moments of all stacks / reading limit, all threads",
        _streaming("streaming"),
        1.6,
    ),
    Aim(
        "fit of 16 full-size stacks, pooled, CPU",
        lambda found: float(found["fits"]["pooled, CPU"]),
        0.8,
        " s",
        _memory_speed,
    ),
    Aim(
        "whole command, 16 full-size stacks / the second call in one process",
        _whole,
        1.3,
        more=_whole_seconds,
    ),
    Aim("lines of kernels, all languages", _lines, 2500, ""),
    Aim("20 commands at once / one, the sample", _together("later"), more=_ended("later")),
    Aim(
        "20 first commands ever at once / one later one, the sample, installed without bytecode",
        _together("first"),
        more=_ended("first"),
    ),
)
