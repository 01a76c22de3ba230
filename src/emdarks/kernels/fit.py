"""Sums over runs of pixels, in an order that the band of pixels alone decides."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from emdarks.kernels._jit import jit

__all__ = ["CHUNK", "ROW", "row_sum"]

Array = npt.NDArray[Any]

#: Pixels of a run: a few rows of the scratch fit in the first cache.
CHUNK = 256
#: Distance of rows. Not a power of two: rows would fight for the same places in the cache.
ROW = CHUNK + 8


@jit
def row_sum(rows: Array, at: int, m: int) -> float:
    """Sum of the first m elements of a row, which is lost: its halves are added up again."""
    for j in range(m, CHUNK):
        rows[at + j] = 0.0
    for j in range(CHUNK // 2):
        rows[at + j] += rows[at + CHUNK // 2 + j]
    for j in range(CHUNK // 4):
        rows[at + j] += rows[at + CHUNK // 4 + j]
    for j in range(CHUNK // 8):
        rows[at + j] += rows[at + CHUNK // 8 + j]
    for j in range(CHUNK // 16):
        rows[at + j] += rows[at + CHUNK // 16 + j]
    total = 0.0
    for j in range(CHUNK // 16):
        total += rows[at + j]
    return total
