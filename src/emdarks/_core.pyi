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
# Largest samples of each pixel that are kept for screening.
KEPT: int
# Weights 1/error^2 lie within this factor of the smallest.
LEAST: float
# A median goes by a sample of about so many pixels, unless so few belong to the group.
SAMPLE: int
FEW_SAMPLES: int

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
        calibrations: list[RowCalibration] | None = None,
    ) -> None: ...

class OpenSums:
    def __init__(self, pixels: int, has_err: bool) -> None: ...

class Room:
    def __init__(self, pixels: int, cols: int) -> None: ...

CORE_REACH: int
LINEAR_BINS: int
OCTAVE_BINS: int

class CountingSums:
    def __init__(
        self,
        above: Array,
        beyond: Array,
        near: Array,
        near_above: Array,
        low: Array,
        high: Array,
        thresholds: tuple[float, float, float],
        telemetry: tuple[int, int],
    ) -> None: ...

class CountsAbove:
    def __init__(
        self, above: Array, plus: Array | None, minus: Array | None, threshold: float
    ) -> None: ...

class Histogram:
    def __init__(
        self,
        counts: Array,
        start: float,
        width: float,
        every: int,
        first: int,
        by_rows: bool,
        area: tuple[int, int],
        telemetry: tuple[int, int],
    ) -> None: ...

class SequenceMeans:
    def __init__(self, mean: Array, n: Array, length: int, first: int) -> None: ...

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
    counting: CountingSums | None = None,
    histogram: Histogram | None = None,
    counts_above: CountsAbove | None = None,
    sequence: SequenceMeans | None = None,
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
SQUARES: int

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
        d_everywhere: bool = False,
    ) -> None: ...

class NoiseTables:
    def __init__(
        self,
        v: Array,
        kappa: Array,
        kind: Array,
        floor: Array,
        prior_mean: Array,
        intrinsic: Array,
        onset: Array,
        hot: Array,
        excess: Array,
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
def largest(lo: int, hi: int, x: Array, of: Array, member: int) -> float: ...
def weighted_sums(
    lo: int, hi: int, x: Array, error2: Array, of: Array, member: int, top: float
) -> tuple[float, float, float, float, float, float]: ...
def excess_sums(
    lo: int,
    hi: int,
    x: Array,
    error2: Array,
    of: Array,
    member: int,
    top: float,
    centre: float,
) -> tuple[float, float, float, float]: ...
def product_sum(
    lo: int, hi: int, x: Array, y: Array | None, x_0: float, y_0: float, of: Array, member: int
) -> tuple[float, float]: ...
def median(x: Array, of: Array | None = None, member: int = 1) -> float: ...
def median_deviation(
    x: Array, scale: Array, middle: float, of: Array | None = None, member: int = 1
) -> float: ...
def mark_hot(
    lo: int, hi: int, x: Array, scale: Array, jump: Array, limits: Array, of: Array
) -> None: ...
def residual_median(
    n: Array,
    mean: Array,
    values: Array,
    errors: Array,
    gain: float,
    gain_time: float,
    shift: float,
    of: Array | None = None,
    member: int = 1,
) -> float: ...
def stack_sums(
    lo: int,
    hi: int,
    gain: Array,
    gain_time: Array,
    least: Array,
    n: Array,
    mean: Array,
    m2: Array | None,
    values: Array,
    inside: Array,
    unreliable: Array,
    out: Array,
) -> None: ...
def trimmed_means(n: Array, mean: Array, top: Array, out: Array) -> None: ...
def screen(
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array | None,
    flags: Array,
    top: Array,
    trimmed: Array,
    level: float,
    gain: float,
    read_noise: float,
    charge: float,
    rejected: Array,
) -> None: ...
def level_run(
    data: Array, bias: float, frame: Array | None, saturation: float, clean: Array, flags: Array
) -> None: ...

class FrameBytes:
    def __init__(
        self, file: int, offset: int, stored: str, flip: int, rows: int, cols: int
    ) -> None: ...

class BiasRule:
    def __init__(
        self,
        source: str,
        level: float,
        columns: tuple[int, int],
        num_stds: float,
        below: float,
        offset: float,
        offset_error: float,
    ) -> None: ...

class CosmicRaySearch:
    def __init__(
        self,
        threshold: float,
        plateau: float,
        sizes: tuple[int, int, int],
        spill: bool,
        discs: Array | None,
    ) -> None: ...

class LinearityCurve:
    def __init__(self, counts: Array, factors: Array) -> None: ...

class RowCalibration:
    def __init__(
        self,
        bias: Array,
        error: Array,
        saturation: tuple[float, bool],
        k_gain: tuple[float, float],
        linearity: LinearityCurve | None,
        first: Array,
        runs: Array,
        cols: int,
    ) -> None: ...

def scan_raw(
    frame: FrameBytes,
    area: tuple[int, int, int, int],
    bias: BiasRule,
    saturation: float,
    most_saturated: float,
    search: CosmicRaySearch | None,
    row_bias: Array,
    row_error: Array,
    repaired: Array,
) -> tuple[bool, Array, Array, int, int, int]: ...
def prepare_frame(
    frame: FrameBytes,
    calibration: RowCalibration,
    area: tuple[int, int, int, int],
    data: Array,
    err: Array | None,
    dq: Array,
) -> bool: ...

COUNTING_POOLS: tuple[str, ...]
COUNTING_STATISTICS: tuple[str, ...]
MOST_EXPONENTIALS: int

class CountingData:
    def __init__(
        self,
        gain: Array,
        commanded: Array,
        time: Array,
        T: Array,
        T2: Array,
        flagged: Array,
        is_low: Array,
        electron: Array,
        read_noise: tuple[float, float],
        n: Array,
        mean: Array,
        m2: Array,
        above: Array,
        beyond: Array,
        near: Array,
        near_above: Array,
        low: Array,
        high: Array,
        imaging: Array,
        error2: Array,
    ) -> None: ...

class CountingTerms:
    def __init__(
        self,
        level: Array,
        spread: Array,
        follow: Array,
        slope: Array,
        mean_shift: Array,
        ray_variance: Array,
        wings: Array,
    ) -> None: ...

def counting_sweep(
    lo: int,
    hi: int,
    data: CountingData,
    terms: CountingTerms,
    group: Array,
    steps: int,
    values: Array,
    naive: Array,
    covariance: Array,
    chi2: Array,
) -> None: ...
def counting_pools(
    lo: int,
    hi: int,
    data: CountingData,
    terms: CountingTerms,
    group: Array,
    far: Array,
    values: Array,
    out: Array,
) -> None: ...
def counting_statistics(
    u: Array,
    charge: Array,
    distance: float,
    gain: float,
    read_noise: float,
    electron: Array,
    out: Array,
) -> None: ...
