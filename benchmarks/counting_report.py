"""What was measured of photon counting, as rows and as a section of the page."""

from __future__ import annotations

from machine import Figures
from report import Row, number, text_table

HEADING = "## Photon counting"
_KINDS = {
    "mean": "mean (`emdarks dark`)",
    "counts": "counts (`emdarks dark --photon-counting`)",
    "reference": "counts, with those of samples with errors (`--estimator reference`)",
}


def photon_rows(found: Figures) -> list[Row]:
    """Counting beside averaging, milliseconds of CPU."""
    if "counting" not in found:
        return []
    own = found["counting"]
    mean, counts = (
        1000 * own["seconds"][f"{name}, CPU"] / own["frames"] for name in ("mean", "counts")
    )
    figure = f"{number(counts, '')}, {number(mean, ' ms')} ({number(counts / mean, ' x')})"
    return [Row("a frame whose electrons are counted, and averaged, CPU", figure)]


def photon_section(found: Figures) -> str:
    """Its section of the page."""
    own = found["counting"]
    each = 1000 / own["frames"]
    lines = [
        [
            words,
            f"{each * own['seconds'][name]:.2f}",
            f"{each * own['seconds'][f'{name}, CPU']:.2f}",
            f"{own['seconds'][name]:.1f}",
        ]
        for name, words in _KINDS.items()
    ]
    return SECTION.format(
        heading=HEADING,
        frames=own["frames"],
        machine=found["machine"],
        load=own["load"],
        after=own["load after"],
        table=text_table(
            ["sums of", "ms a frame", "CPU ms a frame", f"{own['frames']:,} frames, s"], lines
        ),
    )


SECTION = """{heading}

Written by `make bench`, or alone by `python benchmarks/bench.py --parts counting`. {frames:,}
frames of 1200 x 2200 pixels at EM gain 5000, from files in the page cache to the sums of one dark,
two threads, errors and flags included.

{machine}
Load average when this part began: {load:.1f}, when it ended: {after:.1f}. Where it is above 0,
others were at work: CPU times and ratios suffer less from that than times.

{table}
"""
