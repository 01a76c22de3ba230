"""The work: blocks of frames, how they are accumulated and how they merge.

Every stack is cut into blocks of 128 frames in input order, always. Within a
block frames are added one after the other; blocks merge in a binary tree that
depends on their number alone. So the bits of a result do not depend on
threads, processes, or how many files are open at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from emdarks.frames.source import FrameSource
from emdarks.kernels.figures import COLUMNS
from emdarks.kernels.moments import Moments

__all__ = [
    "BLOCK_FRAMES",
    "FigureArea",
    "FrameFigures",
    "Sample",
    "StackJob",
    "StackSums",
    "merge_tree",
]

Array = npt.NDArray[Any]
T = TypeVar("T")

BLOCK_FRAMES = 128


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame of a stack, and the factor to the unit of the sums."""

    source: FrameSource
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class FigureArea:
    """Where the figures of single frames are taken: first and last-plus-one indices."""

    rows: tuple[int, int]
    cols: tuple[int, int]
    prescan_cols: tuple[int, int]


@dataclass(frozen=True, slots=True)
class StackJob:
    """All that is needed to accumulate some frames of one stack; can be pickled.

    Attributes
    ----------
    samples : tuple of Sample
        The frames, in input order.
    shape : tuple of int
        Rows and columns.
    mask : int
        Flag bits that exclude a sample.
    area : FigureArea or None
        Where to take figures of single frames; None takes none.
    kept : int
        Largest samples to keep of each pixel.
    """

    samples: tuple[Sample, ...]
    shape: tuple[int, int]
    mask: int
    area: FigureArea | None = None
    kept: int = 0

    @property
    def has_err(self) -> bool:
        """Whether any frame has errors."""
        return any(sample.source.has_err for sample in self.samples)

    @property
    def flags_dtype(self) -> np.dtype[Any]:
        """Type that holds the flags of every frame; 16 bits at least, as in the products."""
        types = [sample.source.flags_dtype for sample in self.samples]
        return np.result_type(np.uint16, *{dtype for dtype in types if dtype is not None})

    def blocks(self) -> Iterator[StackJob]:
        """The stack in blocks of 128 frames."""
        for start in range(0, len(self.samples), BLOCK_FRAMES):
            yield replace(self, samples=self.samples[start : start + BLOCK_FRAMES])


@dataclass(frozen=True, slots=True)
class FrameFigures:
    """What is known of one frame after the pass, in the unit of the sums.

    Attributes
    ----------
    level, scatter : float
        Mean and standard deviation of the good samples in the imaging area.
    prescan_level : float
        Mean of the good samples in the reliable prescan columns.
    masked, saturated : float
        Shares of the imaging area.
    content : str
        Fingerprint of the pixel values; equal for copies of a frame.
    """

    level: float
    scatter: float
    prescan_level: float
    masked: float
    saturated: float
    content: str

    @classmethod
    def from_rows(cls, figures: Array, rows: tuple[int, int]) -> FrameFigures:
        """Add up the row figures of a frame, shape (rows, len(COLUMNS)), in row order."""
        sums = dict(zip(COLUMNS, figures[rows[0] : rows[1]].sum(axis=0), strict=True))
        good, pixels = sums["good"], sums["good"] + sums["masked"]
        level = sums["sum"] / good if good else np.nan
        variance = sums["squares"] / good - level**2 if good else np.nan
        prescan = sums["prescan_good"]
        content = np.ascontiguousarray(figures[:, COLUMNS.index("content")])
        return cls(
            level=float(level),
            scatter=float(np.sqrt(max(variance, 0.0))) if good else float("nan"),
            prescan_level=float(sums["prescan_sum"] / prescan) if prescan else float("nan"),
            masked=float(sums["masked"] / pixels),
            saturated=float(sums["saturated"] / pixels),
            content=hashlib.blake2b(content.tobytes(), digest_size=8).hexdigest(),
        )


@dataclass(frozen=True, slots=True)
class StackSums:
    """Closed sums of a whole stack, figures of its frames, and bytes read."""

    moments: Moments
    figures: tuple[FrameFigures, ...]
    bytes_read: int


def merge_tree(leaves: Iterable[T], merge: Callable[[T, T], T]) -> T:
    """Merge leaves in a binary tree fixed by their number, holding few at a time.

    Leaves are taken in order; two results of the same height merge at once, and
    what is left over at the end merges from the right.

    Parameters
    ----------
    leaves : iterable
        At least one.
    merge : callable
        Takes the left and the right result.
    """
    waiting: list[tuple[int, T]] = []
    for leaf in leaves:
        height, result = 0, leaf
        while waiting and waiting[-1][0] == height:
            result = merge(waiting.pop()[1], result)
            height += 1
        waiting.append((height, result))
    result = waiting.pop()[1]
    while waiting:
        result = merge(waiting.pop()[1], result)
    return result
