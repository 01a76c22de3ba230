"""The work: blocks of frames, how they are accumulated and how they merge.

Every stack is cut into blocks of 128 frames in input order, always. Within a
block frames are added one after the other; blocks merge in a binary tree that
depends on their number alone. So the bits of a result do not depend on
threads, processes, or how many files are open at a time.

A block is the unit of all work: one thing to compute, to send, to keep on disk.
`Blocks` says how stacks are cut and where the sums of a block come from.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.counting_sums import (
    MOST_FRAMES,
    CountThreshold,
    FurtherSums,
    HistogramBins,
    Thresholds,
)
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits.pixels import FrameSource
from emdarks.moments import Moments
from emdarks.raw import FrameScan

Array = npt.NDArray[Any]
T = TypeVar("T")

BLOCK_FRAMES = 128
#: Frames of a mean along the sequence, at least, and planes of means of a stack, at most.
_FEWEST_FRAMES, _MOST_PLANES = 8, 64
#: Scatter within a frame, relative to its level, below which it holds no noise.
_NO_SCATTER = 1e-6
#: Relative rounding of the scatter of two values, and so many of each as tell frames apart.
_ROUNDING, _TELLING = 1e-4, 100


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
    thresholds : Thresholds, CountThreshold or None
        Those of the counts and clipped sums, or of counts alone; None takes none.
    histogram : HistogramBins or None
        Bins of the histogram of all good samples; None takes none.
    telemetry : tuple of int
        First and last-plus-one row without signal, which these two leave out.
    mean_frames : int
        Frames of each mean along the sequence; 0 takes none.

    Raises
    ------
    InputError
        More frames than can be counted.
    """

    samples: tuple[Sample, ...]
    shape: tuple[int, int]
    mask: int
    area: FigureArea | None = None
    kept: int = 0
    thresholds: Thresholds | CountThreshold | None = None
    histogram: HistogramBins | None = None
    telemetry: tuple[int, int] = (0, 0)
    mean_frames: int = 0

    def __post_init__(self) -> None:
        if self.thresholds is not None and len(self.samples) > MOST_FRAMES:
            raise InputError(
                f"a stack of {len(self.samples)} frames: samples are counted in up to "
                f"{MOST_FRAMES} of a stack; give fewer frames, or use an estimator of means"
            )

    @property
    def has_err(self) -> bool:
        """Whether any frame has errors."""
        return any(sample.source.has_err for sample in self.samples)

    @property
    def flags_dtype(self) -> np.dtype[Any]:
        """Type that holds the flags of every frame; 16 bits at least, as in the products."""
        types = [sample.source.flags_dtype for sample in self.samples]
        return np.result_type(np.uint16, *{dtype for dtype in types if dtype is not None})

    @property
    def kind(self) -> Kind:
        """The sums that the stack needs."""
        rows, cols = self.shape
        flags = self.flags_dtype.str
        return Kind(
            rows * cols,
            flags,
            self.has_err,
            self.kept,
            len(self.samples),
            self.thresholds,
            self.histogram is not None,
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """Which sums a stack has, and in which types; those of its blocks are alike.

    See `emdarks.moments.Moments`; ``flags`` is the type of the flags, ``frames`` the
    number of frames of the whole stack.
    """

    size: int
    flags: str
    has_err: bool
    kept: int
    frames: int
    thresholds: Thresholds | CountThreshold | None = None
    histogram: bool = False

    def empty(self) -> Moments:
        """Sums in fresh memory."""
        return Moments.empty(
            self.size,
            self.flags,
            self.has_err,
            self.kept,
            self.frames,
            self.counting(),
            self.histogram,
        )

    def counted_alike(self, moments: Moments) -> bool:
        """Whether moments have these counts, and a histogram where one is wanted."""
        at, found = self.thresholds, moments.counting
        alike = found is None if at is None else at.fits(found)
        return alike and (moments.histogram is not None) == self.histogram

    def counting(self) -> FurtherSums | None:
        """Counts in fresh memory; None where none are wanted."""
        return None if self.thresholds is None else self.thresholds.empty(self.size)


@dataclass(frozen=True, slots=True)
class Block:
    """Some frames of a stack that are added one after the other; can be pickled.

    Attributes
    ----------
    indices : tuple of int
        Where the frames stand in the stack.
    job : StackJob
        The frames themselves.
    kind : Kind
        Sums of the stack.
    """

    indices: tuple[int, ...]
    job: StackJob
    kind: Kind

    @classmethod
    def several(cls, job: StackJob, chosen: Iterable[Sequence[int]]) -> list[Block]:
        """Blocks of these frames of a stack."""
        kind = job.kind
        return [
            cls(tuple(some), replace(job, samples=tuple(job.samples[i] for i in some)), kind)
            for some in chosen
        ]


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
    not_finite : int
        Samples of the rows of the imaging area, prescan included, that are no numbers, or have
        errors that are none.
    highest : float
        Highest good sample of the imaging area; NaN where there is none.
    at_highest : int
        Samples of the imaging area that have this very value.
    pixels : int
        Pixels of the imaging area.
    content : str
        Fingerprint of the pixel values; equal for copies of a frame. Empty where other frames
        have the same by chance: of 0 and 1 alone, with few 1.
    repaired_rows : int
        Rows of a raw frame whose bias was replaced.
    cosmic_rays : float
        Share of the pixels of a raw frame that its search for cosmic rays flagged.
    over_saturated : bool
        Whether so much of a raw frame is saturated that it was not added. All other figures are
        without meaning then, but for ``saturated``.
    """

    level: float
    scatter: float
    prescan_level: float
    masked: float
    saturated: float
    not_finite: int
    highest: float
    at_highest: int
    pixels: int
    content: str
    repaired_rows: int = 0
    cosmic_rays: float = 0.0
    over_saturated: bool = False

    @property
    def noiseless(self) -> bool:
        """Whether all good pixels are the same but for rounding."""
        return self.scatter <= _NO_SCATTER * abs(self.level)

    @property
    def _good(self) -> int:
        """Good samples of the imaging area."""
        return round(self.pixels * (1.0 - self.masked))

    @property
    def step(self) -> float:
        """Difference of the only two values of all good samples; 0 where they have more, or one."""
        if not 0 < self.at_highest < self._good:
            return 0.0
        share = self.at_highest / self._good
        step = (self.highest - self.level) / (1.0 - share)
        expected = step * math.sqrt(share * (1.0 - share))
        return step if math.isclose(self.scatter, expected, rel_tol=_ROUNDING) else 0.0

    @classmethod
    def of_frame(
        cls, figures: Array, rows: tuple[int, int], learnt: FrameScan | None
    ) -> FrameFigures:
        """Figures of a frame, and what was learnt from its stored numbers where it is raw."""
        if learnt is None:
            return cls.from_rows(figures, rows)
        known: dict[str, Any] = {
            "repaired_rows": learnt.repaired,
            "cosmic_rays": learnt.flagged / learnt.pixels,
            "over_saturated": learnt.over_saturated,
        }
        if not learnt.over_saturated:
            return replace(cls.from_rows(figures, rows), **known)
        names = ("level", "scatter", "prescan_level", "highest")
        numbers: dict[str, Any] = dict.fromkeys(names, np.nan)
        share = learnt.over / learnt.pixels
        none: dict[str, Any] = {"masked": 1.0, "not_finite": 0, "at_highest": 0, "content": ""}
        return cls(**numbers, saturated=share, pixels=learnt.pixels, **none, **known)

    @classmethod
    def from_rows(cls, figures: Array, rows: tuple[int, int]) -> FrameFigures:
        """Add up the row figures of a frame, shape (rows, len(_core.ROW_FIGURES)), in row order."""
        sums = dict(zip(_core.ROW_FIGURES, figures[rows[0] : rows[1]].sum(axis=0), strict=True))
        highest, at_highest = _highest(figures[rows[0] : rows[1]])
        good, pixels = sums["good"], sums["good"] + sums["masked"]
        level = sums["sum"] / good if good else np.nan
        variance = sums["squares"] / good - level**2 if good else np.nan
        prescan = sums["prescan_good"]
        return cls(
            level=float(level),
            scatter=float(np.sqrt(max(variance, 0.0))) if good else float("nan"),
            prescan_level=float(sums["prescan_sum"] / prescan) if prescan else float("nan"),
            masked=float(sums["masked"] / pixels),
            saturated=float(sums["saturated"] / pixels),
            not_finite=int(sums["not_finite"]),
            highest=highest if good else float("nan"),
            at_highest=at_highest,
            pixels=int(pixels),
            content="",
        )._with_content(figures)

    def _with_content(self, figures: Array) -> FrameFigures:
        """Add the fingerprint: of every 31st sample; of two values, of all that is known."""
        if not self.step and self.scatter != 0:
            figures = figures[:, _core.ROW_FIGURES.index("content")]
        elif min(self.at_highest, self._good - self.at_highest) < _TELLING:
            return self
        content = hashlib.blake2b(np.ascontiguousarray(figures).tobytes(), digest_size=8)
        return replace(self, content=content.hexdigest())


def _highest(figures: Array) -> tuple[float, int]:
    """The highest sample of some rows, and how many are as high."""
    own = figures[:, _core.ROW_FIGURES.index("highest")]
    highest = own.max()
    return float(highest), int(figures[own == highest, _core.ROW_FIGURES.index("at_highest")].sum())


@dataclass(frozen=True, slots=True)
class SequenceMeans:
    """Means of every few frames of a block, in their order.

    Attributes
    ----------
    frames : tuple of int
        Frames that went into each plane; over-saturated ones are in none.
    mean : ndarray of float32, shape (planes, pixels)
        Means of the good samples, NaN where there is none, in the unit of the sums.
    n : ndarray of uint8, shape (planes, pixels)
        Numbers of good samples.
    """

    frames: tuple[int, ...]
    mean: npt.NDArray[np.float32]
    n: npt.NDArray[np.uint8]


def mean_frames(frames: int) -> int:
    """Frames of each mean along a sequence of so many: at most 64 planes of up to 8192 frames.

    A power of two, so that it divides the frames of a block, and eight at least.
    """
    length = _FEWEST_FRAMES
    while length < BLOCK_FRAMES and length * _MOST_PLANES < frames:
        length *= 2
    return length


@dataclass(frozen=True, slots=True)
class StackSums:
    """Closed sums of frames of a stack, and what was learnt on the way.

    Attributes
    ----------
    moments : Moments
        The sums.
    figures : tuple of FrameFigures
        One a frame, in the order of the frames; empty where none were asked for.
    bytes_read : int
        Bytes of pixels.
    warnings : tuple of str
        What a user should hear of.
    lost : bool
        No frame was left: the moments mean nothing.
    sequence : tuple of SequenceMeans
        Those of each block, in order; empty where none were asked for.
    """

    moments: Moments
    figures: tuple[FrameFigures, ...]
    bytes_read: int
    warnings: tuple[str, ...] = ()
    lost: bool = False
    sequence: tuple[SequenceMeans, ...] = ()


def in_blocks(frames: Sequence[int]) -> list[Sequence[int]]:
    """Frames, 128 at a time."""
    return [frames[lo : lo + BLOCK_FRAMES] for lo in range(0, len(frames), BLOCK_FRAMES)]


class Adder(Protocol):
    """Who can add the frames of a block."""

    def add(self, block: Block, into: Moments | None = None) -> StackSums:
        """Read and accumulate a block; ``into`` receives the moments."""
        ...

    def room(self, kind: Kind) -> Moments:
        """Sums that may be written to."""
        ...


class Blocks:
    """How stacks are cut, and where the sums of a block come from; can be pickled."""

    def cut(self, job: StackJob) -> list[Block]:
        """The blocks of a stack, in the order in which they merge: 128 frames each."""
        return Block.several(job, in_blocks(range(len(job.samples))))

    def sums(self, block: Block, adder: Adder, into: Moments | None = None) -> StackSums:
        """Sums of a block; ``into`` receives the moments."""
        return adder.add(block, into)


def join(
    left: StackSums, right: StackSums, merge: Callable[[Moments, Moments], Moments]
) -> StackSums:
    """Sums of the frames of both, whose moments ``merge`` joins."""
    return StackSums(
        merge(left.moments, right.moments),
        left.figures + right.figures,
        left.bytes_read + right.bytes_read,
        left.warnings + right.warnings,
        sequence=left.sequence + right.sequence,
    )


def finish(sums: StackSums, blocks: Sequence[Block]) -> StackSums:
    """Sums of a stack that were merged from blocks: figures in input order, warnings given."""
    for text in sums.warnings:
        warnings.warn(text, EmdarksWarning, stacklevel=2)
    order = [index for block in blocks for index in block.indices]
    if not sums.figures or order == sorted(order):
        return replace(sums, warnings=())
    figures = dict(zip(order, sums.figures, strict=True))
    return replace(sums, figures=tuple(figures[i] for i in sorted(order)), warnings=())


class MergeTree(Generic[T]):
    """A binary tree fixed by the number of its leaves, which holds few results at a time.

    Leaves are added in order; two results of the same height merge at once, and what is left
    over at the end merges from the right.

    Parameters
    ----------
    merge : callable
        Takes the left and the right result.
    """

    def __init__(self, merge: Callable[[T, T], T]):
        self._merge = merge
        self._waiting: list[tuple[int, T]] = []

    def add(self, leaf: T) -> None:
        """Add a leaf on the right."""
        height, result = 0, leaf
        while self._waiting and self._waiting[-1][0] == height:
            result = self._merge(self._waiting.pop()[1], result)
            height += 1
        self._waiting.append((height, result))

    def root(self) -> T:
        """Merge what is left, one leaf at least."""
        result = self._waiting.pop()[1]
        while self._waiting:
            result = self._merge(self._waiting.pop()[1], result)
        return result


def merge_tree(leaves: Iterable[T], merge: Callable[[T, T], T]) -> T:
    """Merge leaves, one at least, in order; see `MergeTree`."""
    tree = MergeTree(merge)
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()
