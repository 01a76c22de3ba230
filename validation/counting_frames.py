"""Dark frames with cosmic rays that are mostly too faint to be flagged, and their sums.

    x = F + rn N(0, 1) + gamma(k, g),   k ~ Poisson(C + t D + rays)

Frames go through the stream of emdarks itself. Five rays a cm^2 and second, 2300 e- each on the
average (a Landau law, cut at 2e4), leave their charge in one of three footprints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import landau

from emdarks.accumulate import Sample, StackJob, Threads
from emdarks.accumulate.blocks import FigureArea
from emdarks.counting_sums import HistogramBins, Thresholds
from emdarks.fit.counting import CountedStacks
from emdarks.fits.pixels import ArraySource
from emdarks.moments import Moments

__all__ = ["CAMERAS", "GRIDS", "Camera", "Campaign", "Effects", "Truth", "draw_campaign"]

Array = npt.NDArray[Any]

SHAPE = (100, 100)
PIXELS = SHAPE[0] * SHAPE[1]
#: Rays a pixel of 13 um and second.
RATE = 5 * (13e-4) ** 2
FLAG = 128
#: Charge above which a pixel is drawn frame by frame.
MUCH = 0.3

_Grid = tuple[tuple[float, ...], tuple[float, ...]]


def _spaced(space: Any) -> _Grid:
    return tuple(space(2, 5000, 7)), tuple(space(2, 100, 7))


GRIDS: dict[str, _Grid] = {
    "real16": ((2, 50, 500, 5000), (2, 10, 40, 100)),
    "flight24": ((1, 20, 100, 500, 2000, 5000), (2, 10, 40, 100)),
    "lin49": _spaced(np.linspace),
    "log49": _spaced(np.geomspace),
    "m9": ((2, 100, 5000), (2, 30, 100)),
    "m4": ((2, 5000), (2, 100)),
}


@dataclass(frozen=True)
class Camera:
    """Read noise, mean C and D, and the structure of F: mean, two waves, scatter."""

    read_noise: float
    C: float
    D: float
    F: tuple[float, float, float, float]


CAMERAS = {
    "flight": Camera(165.0, 0.0088, 0.001, (0, 10, 4, 2)),
    "old": Camera(120.0, 0.02, 8.33e-4, (21, 30, 10, 5)),
}


@dataclass(frozen=True)
class Truth:
    """True maps, flat, and where pixels are hot."""

    F: Array
    C: Array
    D: Array
    hot: Array

    @property
    def maps(self) -> Array:
        """F, C and D."""
        return np.stack([self.F, self.C, self.D])

    @classmethod
    def draw(
        cls,
        camera: Camera,
        law: str = "lognormal",
        hot: float = 0.01,
        charge: tuple[float, float] = (0.01, 1.0),
        seed: int = 1,
    ) -> Truth:
        """C spread by 10 %, D by 20 % or a gamma law of shape 4; hot D log-uniform."""
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        mean, first, second, scatter = camera.F
        F = mean + first * np.sin(x / 7) + second * np.cos(y / 5) + rng.normal(0, scatter, SHAPE)
        C = camera.C * rng.lognormal(-0.005, 0.1, SHAPE)
        spread = rng.lognormal(-0.02, 0.2, SHAPE) if law == "lognormal" else None
        D = camera.D * (rng.gamma(4, 0.25, SHAPE) if spread is None else spread)
        is_hot = rng.random(SHAPE) < hot
        D[is_hot] = np.exp(rng.uniform(*np.log(charge), int(is_hot.sum())))
        return cls(F.ravel(), C.ravel(), D.ravel(), is_hot.ravel())


@dataclass(frozen=True)
class Effects:
    """What a campaign suffers from.

    Attributes
    ----------
    rays : str
        Footprint: ``edet``, ``even``, ``broad``, or empty.
    rate : float
        Rays relative to five a cm^2 and second.
    gain_error : float
        Relative scatter of true gains above 10 about the commanded ones.
    grow : int
        Neighbours of flagged pixels that are flagged with them; 0 flags no tail either.
    """

    rays: str = "edet"
    rate: float = 1.0
    gain_error: float = 0.0
    grow: int = 1


def footprints(kind: str, number: int = 20_000, seed: int = 5) -> Array:
    """Charges of rays, e-, shape (number, 7, 7)."""
    rng = np.random.default_rng(seed)
    total = landau.rvs(1590, 550, size=4 * number, random_state=rng)
    total = total[(total > 100) & (total < 2e4)][:number]
    total *= 2300 / total.mean()
    out = np.zeros((number, 7, 7))
    if kind == "even":
        out[:, 2:5, 2:5] = total[:, None, None] / 9
    elif kind == "broad":
        shares = rng.dirichlet(np.full(9, 0.6), number).reshape(number, 3, 3)
        out[:, 2:5, 2:5] = rng.exponential(2300, number)[:, None, None] * shares
    else:
        out = total[:, None, None] * _gaussian_heads(rng, number)
    return rng.poisson(out).astype(np.int32)


def _gaussian_heads(rng: np.random.Generator, number: int) -> Array:
    """Shares of the pixels as in emccd-detect 2.6.2.

    Gaussians of sigma |N(0, 8/13 pixel)| / cos(angle), cut at three sigma.
    """
    sigma = np.abs(rng.normal(0, 8 / 13, number)) / np.cos(rng.uniform(0, np.pi / 2, number))
    angle = rng.uniform(0, np.pi, number)
    edges = np.arange(8) - 3.5

    def shares(size: Array, centre: Array) -> Array:
        size = np.clip(np.abs(size), 0.02, 2.5)[:, None]
        at = np.clip(edges - centre[:, None], -3 * size, 3 * size)
        return np.diff(ndtr(at / size), axis=1)

    across = shares(sigma * np.cos(angle), rng.uniform(-0.5, 0.5, number))
    along = shares(sigma * np.sin(angle), rng.uniform(-0.5, 0.5, number))
    return along[:, :, None] * across[:, None, :]


@dataclass(frozen=True)
class Campaign:
    """Sums of all stacks, the gains that they were made with, and their histograms."""

    stacks: CountedStacks
    flags: Array
    gains: Array
    histograms: Array
    bins: HistogramBins

    def with_gains(self, gain: Array) -> CountedStacks:
        """The same sums, another gain in the law."""
        return replace(self.stacks, gain=gain)


def settings(grid: str) -> tuple[Array, Array]:
    """Gain and time of each stack."""
    gain, time = np.meshgrid(*(np.array(axis, float) for axis in GRIDS[grid]))
    return gain.ravel(), time.ravel()


def draw_campaign(
    rng: np.random.Generator,
    camera: Camera,
    truth: Truth,
    grid: str,
    frames: int,
    effects: Effects = Effects(),
) -> Campaign:
    """Simulate all stacks and take their sums."""
    gain, time = settings(grid)
    true_gain = gain.copy()
    if effects.gain_error:
        for g in np.unique(gain[gain > 10]):
            true_gain[gain == g] *= 1 + effects.gain_error * rng.standard_normal()
    library = footprints(effects.rays) if effects.rays else None
    rn = camera.read_noise
    flagged = 0.9 * np.minimum(105_000.0, 90_000.0 * gain)
    thresholds = [Thresholds.of(g, rn, A) for g, A in zip(gain, flagged, strict=True)]
    bins = HistogramBins.of(0.0, rn)
    sums = []
    for i, at in enumerate(thresholds):
        x = _frames(rng, camera, truth, true_gain[i], time[i], frames)
        if library is not None:
            _add_rays(rng, x, true_gain[i], effects.rate * RATE * time[i], library)
        dq = near_flags(x, np.float32(flagged[i]), effects.grow)
        samples = tuple(Sample(ArraySource(a, None, b)) for a, b in zip(x, dq, strict=True))
        area = FigureArea((0, SHAPE[0]), (0, SHAPE[1]), (0, 0))
        job = StackJob(samples, SHAPE, FLAG, area, 0, at, bins)
        sums.append(Threads(1).sums(job).moments)
    return _campaign(sums, gain, true_gain, time, thresholds, flagged, rn, bins)


def _campaign(
    sums: list[Moments],
    gain: Array,
    true_gain: Array,
    time: Array,
    thresholds: list[Thresholds],
    flagged: Array,
    read_noise: float,
    bins: HistogramBins,
) -> Campaign:
    counting = [each.counting for each in sums]

    def planes(name: str, dtype: Any) -> Array:
        return np.stack([getattr(each, name) for each in counting]).astype(dtype)

    stacks = CountedStacks(
        gain,
        gain,
        time,
        np.array([at.T for at in thresholds]),
        np.array([at.T2 for at in thresholds]),
        flagged,
        read_noise,
        read_noise,
        math.inf,  # the simulated electrons become exponentials
        *(np.stack([getattr(each, name) for each in sums]) for name in ("n", "mean", "m2")),
        *(planes(name, np.uint16) for name in ("above", "beyond", "near", "near_above")),
        *(planes(name, np.float32) for name in ("low", "high")),
        np.ones(PIXELS, bool),
        SHAPE,
    )
    histograms = np.stack([each.histogram for each in sums])
    flags = np.stack([each.flags for each in sums])
    return Campaign(stacks, flags, true_gain, histograms, bins)


def _frames(
    rng: np.random.Generator, camera: Camera, truth: Truth, gain: float, time: float, frames: int
) -> Array:
    """Frames without rays, shape (frames, rows, cols)."""
    x = rng.standard_normal((frames, PIXELS), dtype=np.float32)
    x *= np.float32(camera.read_noise)
    x += truth.F.astype(np.float32)
    charge = truth.C + time * truth.D
    few, many = np.flatnonzero(charge < MUCH), np.flatnonzero(charge >= MUCH)
    total = np.cumsum(charge[few])
    events = rng.poisson(total[-1] * frames)
    at = np.minimum(np.searchsorted(total, rng.random(events) * total[-1]), few.size - 1)
    place = rng.integers(frames, size=events) * PIXELS + few[at]
    np.add.at(x.reshape(-1), place, (gain * rng.standard_exponential(events)).astype(np.float32))
    electrons = rng.poisson(charge[many], (frames, many.size))
    some = electrons > 0
    amplified = np.zeros(electrons.shape, np.float32)
    amplified[some] = gain * rng.standard_gamma(electrons[some])
    x[:, many] += amplified
    return x.reshape(frames, *SHAPE)


def _add_rays(rng: np.random.Generator, x: Array, gain: float, rate: float, library: Array) -> None:
    """Add rays, ``rate`` a pixel and frame; what falls off the frame is lost."""
    hits = rng.poisson(rate * PIXELS * len(x))
    which = rng.integers(len(library), size=hits)
    frame = rng.integers(len(x), size=hits)
    row, col = rng.integers(SHAPE[0], size=hits), rng.integers(SHAPE[1], size=hits)
    hit, dy, dx = np.nonzero(library[which])
    charge = library[which][hit, dy, dx]
    y, z = row[hit] + dy - 3, col[hit] + dx - 3
    inside = (y >= 0) & (y < SHAPE[0]) & (z >= 0) & (z < SHAPE[1])
    place = (frame[hit] * SHAPE[0] + y) * SHAPE[1] + z
    amplified = (gain * rng.standard_gamma(charge[inside])).astype(np.float32)
    np.add.at(x.reshape(-1), place[inside], amplified)


def near_flags(x: Array, limit: np.float32, grow: int) -> Array:
    """Flags of samples above the limit, of their neighbours and of a tail of 10 pixels.

    A tail follows the order in which samples are read, from the end of a row to the next one.
    """
    dq = np.zeros(x.shape, np.uint16)
    frame, row, col = np.nonzero(x >= limit)
    near = range(-grow, grow + 1)
    for dy, dx in [(dy, dx) for dy in near for dx in near]:
        y, z = row + dy, col + dx
        inside = (y >= 0) & (y < SHAPE[0]) & (z >= 0) & (z < SHAPE[1])
        dq[frame[inside], y[inside], z[inside]] = FLAG
    place, flat = row * SHAPE[1] + col, dq.reshape(len(dq), PIXELS)
    for step in range(2, 11) if grow else ():
        inside = place + step < PIXELS
        flat[frame[inside], place[inside] + step] = FLAG
    return dq
