"""The compiled core: what `src/core` binds. Each docstring stands beside the binding."""

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]

# Instruction levels that this machine has, best first, and the one that is used.
levels: list[str]
level: str
# Hash of the sources that the core was built from.
sources: str
IN_MEMORY: int
ROW_FIGURES: tuple[str, ...]

def to_native(words: Array, flip: int = 0) -> None: ...

class Frames:
    def __init__(
        self,
        files: Array,
        offsets: Array,
        scales: Array,
        stored: tuple[str | None, str | None, str | None],
        flips: tuple[int, int, int],
        mask: int,
    ) -> None: ...

class OpenSums:
    def __init__(self, pixels: int, has_err: bool) -> None: ...

class Room:
    def __init__(self, pixels: int, cols: int) -> None: ...

def add_band(
    frames: Frames,
    room: Room,
    sums: OpenSums | None,
    lo: int,
    hi: int,
    fresh: bool,
    closed: bool,
    imaging: tuple[int, int],
    prescan: tuple[int, int],
    figures: Array | None,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    flags: Array,
    top: Array | None,
) -> tuple[int, bool]: ...
def merge(
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    flags: Array,
    top: Array | None,
    n_b: Array,
    mean_b: Array,
    m2_b: Array,
    err2_b: Array | None,
    flags_b: Array,
    top_b: Array | None,
) -> None: ...

PIVOT: float
HOT: int
UNFITTED: int
EQUAL: int
COUNTS: int
POOLED: int

class FitData:
    def __init__(
        self,
        gain: Array,
        time: Array,
        n: Array,
        mean: Array,
        m2: Array,
        err2: Array | None,
        flags: Array,
        imaging: Array,
        has_c: bool = True,
        has_d: bool = True,
    ) -> None: ...

class NoiseTables:
    def __init__(
        self,
        v: Array,
        kappa: Array,
        kind: Array,
        floor: Array,
        level: Array,
        spread: Array,
        gate: Array,
        hot: Array,
        above: Array,
    ) -> None: ...

def design_rank(gain: Array, gain_time: Array) -> bool: ...
def smallest_variance(lo: int, hi: int, data: FitData, single: Array, out: Array) -> None: ...
def reference_fit(
    lo: int,
    hi: int,
    data: FitData,
    single: Array,
    floor: Array,
    weighted: bool,
    values: Array,
    errors: Array,
    correlations: Array,
    chi2: Array,
    r_squared: Array,
    residual_variance: Array,
    stacks_used: Array,
    dq: Array,
    derivatives: Array,
) -> int: ...
def survey(
    lo: int, hi: int, data: FitData, group: Array, stacks_used: Array, dq: Array, out: Array
) -> None: ...
def pool_sweep(lo: int, hi: int, data: FitData, group: Array, out: Array) -> None: ...
def first_sweep(
    lo: int, hi: int, data: FitData, v0: Array, values: Array, scale: Array, jump: Array
) -> None: ...
def second_sweep(
    lo: int,
    hi: int,
    data: FitData,
    group: Array,
    noise: NoiseTables,
    values: Array,
    own: Array,
    out: Array,
) -> None: ...
def final_sweep(
    lo: int,
    hi: int,
    data: FitData,
    group: Array,
    noise: NoiseTables,
    gain_error: float,
    stacks_used: Array,
    values: Array,
    errors: Array,
    correlations: Array,
    chi2: Array,
    r_squared: Array,
    derivatives: Array,
) -> None: ...
