"""Raw frames, slowly: a plain statement of bias, flags, linearity and electrons.

It knows nothing of the compiled core. Each rule that is easily got wrong can be changed, to see
that the tests would notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Rules:
    """How things are done; the defaults are right."""

    walk: bool = True  # back to the start of the plateau
    upper: bool = True  # the upper one of the two in the middle of an even filter
    last_pixel: bool = True  # what runs over begins with the last pixel of its own row
    strictly: bool = True  # a row is repaired where it is further off than the limit


@dataclass(frozen=True)
class Search:
    threshold: float
    plateau: float
    filter: int
    box: int
    tail: int
    spill: bool = True


RIGHT = Rules()


def row_bias(
    raw: Array, columns: tuple[int, int], num_stds: float, rules: Rules = RIGHT
) -> tuple[Array, Array, Array]:
    """Bias of each row, its error, and which rows were repaired."""
    prescan = np.array(raw[:, columns[0] : columns[1]], np.float64)
    medians = np.median(prescan, axis=1)
    errors = np.std(prescan, axis=1) / np.sqrt(prescan.shape[1])
    distance, limit = np.abs(medians - np.median(medians)), num_stds * np.std(medians)
    wrong = distance > limit if rules.strictly else distance >= limit
    medians[wrong] = np.median(medians)
    return medians, errors, wrong


def filtered(row: Array, pixels: int, rules: Rules = RIGHT) -> Array:
    """Rank filter of a row over so many pixels; the pixels at its ends are repeated."""
    left = pixels // 2
    padded = np.concatenate([np.repeat(row[:1], left), row, np.repeat(row[-1:], pixels)])
    rank = pixels // 2 if rules.upper else (pixels - 1) // 2
    windows = np.array([padded[i : i + row.size] for i in range(pixels)])
    return np.sort(windows, axis=0)[rank]


def start_of(row: Array, pixel: int, plateau: float, rules: Rules = RIGHT) -> int:
    """First pixel of the plateau that a pixel belongs to, or the next pixel."""
    if row[pixel] < plateau:
        return pixel + 1
    if not rules.walk:
        return pixel
    below = [i for i in range(pixel) if row[i] < plateau]
    return below[-1] + 1 if below else 0


def starts(row: Array, search: Search, rules: Rules = RIGHT) -> list[int]:
    """Where cosmic rays start in a row."""
    if row.max() < search.threshold:
        return []
    high = filtered(row, search.filter + 1, rules) >= search.threshold
    found = {start_of(row, int(i), search.plateau, rules) for i in np.flatnonzero(high)}
    return sorted(h for h in found if h < row.size)


def cosmic_rays(x: Array, search: Search, rules: Rules = RIGHT) -> Array:
    """Pixels that are flagged; x above the bias, shape (rows, columns)."""
    cols = x.shape[1]
    flags = np.zeros(x.shape, bool)
    in_reading_order = flags.reshape(-1)
    for r, row in enumerate(x):
        for head in starts(row, search, rules):
            end = head + search.filter + search.tail + 1
            flags[r, head : min(end, cols)] = True
            top, left = max(r - search.box, 0), max(head - search.box, 0)
            flags[top : r + search.box + 1, left : head + search.box + 1] = True
            if search.spill and end > cols:
                first = r * cols + cols - rules.last_pixel
                in_reading_order[first : first + end - cols] = True
    return flags


def linear(x: Array, gain: float, gains: Array, counts: Array, factors: Array) -> Array:
    """Linear DN."""
    curve = [np.interp(gain, gains, line) for line in factors]
    return x * np.interp(x, counts, curve)
