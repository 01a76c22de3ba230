"""Moments of simulated stacks, without the frames.

A sample of a stack at gain g and time t is F + G + R: G the sum of K exponential jumps of
mean g, K ~ Poisson(C + t D) (a gamma register), R ~ Normal(0, rn). Electrons are drawn one
by one, or frame by frame where there are many. For given moments of the signal, the mean of
the read noise, its cross product with the signal and its sum of squares are a normal, a
normal and a chi-square variate: nothing is approximated, and frames without electrons
cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "C_MEAN",
    "D_MEAN",
    "GRIDS",
    "READ_NOISE",
    "Stacks",
    "Truth",
    "draw_stacks",
    "draw_truth",
    "grid",
    "variance",
]

Array = npt.NDArray[Any]

READ_NOISE = 120.0
#: Means over pixels.
C_MEAN, D_MEAN = 0.02, 8.33e-4
ROWS, COLS = 60, 100
#: Share of flagged samples: constant, and per second of exposure.
COSMIC_RAYS = (0.003, 0.0005)
#: Above this mean number of electrons they are drawn frame by frame.
MANY = 3.0

#: Gains and times; every gain is combined with every time.
GRIDS: dict[str, tuple[Any, Any]] = {
    "lin49": (np.linspace(2, 5000, 7), np.linspace(2, 100, 7)),
    "log49": (np.geomspace(2, 5000, 7), np.linspace(2, 100, 7)),
    "real16": ((2, 50, 500, 5000), (2, 10, 40, 100)),
    "m9": ((2, 100, 5000), (2, 20, 100)),
    "m4": ((2, 5000), (2, 100)),
}


def grid(name: str) -> tuple[Array, Array]:
    """Gain and time of every stack."""
    gains, times = GRIDS[name]
    gain, time = np.meshgrid(np.asarray(gains, float), np.asarray(times, float), indexing="ij")
    return gain.ravel(), time.ravel()


@dataclass(frozen=True)
class Truth:
    """What is true of each pixel: F, C, D, and which pixels are hot."""

    F: Array
    C: Array
    D: Array
    hot: Array

    @property
    def maps(self) -> Array:
        """F, C, D; shape (3, pixels)."""
        return np.stack([self.F, self.C, self.D])


def draw_truth(
    rng: np.random.Generator,
    law: str = "normal",
    pixels: int = ROWS * COLS,
    hot: float = 0.01,
    c_mean: float = C_MEAN,
    d_mean: float = D_MEAN,
) -> Truth:
    """True maps.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    law : {"normal", "gamma4"}
        D spreads by 20 %, or by a gamma law of shape 4.
    pixels : int
        How many.
    hot : float
        Share of hot pixels: D between 0.01 and 1.
    c_mean, d_mean : float
        Mean C, which spreads by 10 %, and mean D.
    """
    x = np.arange(pixels)
    F = 20 * np.sin(x / 37) + 15 * np.cos((x % COLS) / 9) + 10 * rng.standard_normal(pixels)
    C = np.maximum(c_mean * (1 + 0.1 * rng.standard_normal(pixels)), 0)
    if law == "gamma4":
        D = d_mean * rng.gamma(4, 0.25, pixels)
    else:
        D = np.maximum(d_mean * (1 + 0.2 * rng.standard_normal(pixels)), 0)
    is_hot = rng.random(pixels) < hot
    return Truth(F, C, np.where(is_hot, 10 ** rng.uniform(-2, 0, pixels), D), is_hot)


def variance(gain: Array, time: Array, truth: Truth, read_noise: float = READ_NOISE) -> Array:
    """True variance of a sample: rn^2 + 2 g^2 (C + t D); shape (stacks, pixels)."""
    charge = truth.C + time[:, None] * truth.D
    return np.asarray(read_noise**2 + 2 * gain[:, None] ** 2 * charge)


@dataclass
class Stacks:
    """Moments as the package keeps them, and the settings that belong to them.

    Attributes
    ----------
    store : object with n, mean, m2, err2, flags
        As `emdarks.stacks.StackStore`.
    stacks : list of objects with em_gain, exposure_time
        As `emdarks.stacks.Stack`.
    """

    store: Any
    stacks: list[Any]

    @classmethod
    def of(
        cls, gain: Array, time: Array, n: Array, mean: Array, m2: Array, err2: Array | None = None
    ) -> Stacks:
        """From gains and times by stack, and moments of shape (stacks, pixels)."""
        flags = np.where(n == 0, 4, 0).astype(np.uint16)
        store = SimpleNamespace(n=n.astype(np.uint16), mean=mean, m2=m2, err2=err2, flags=flags)
        frames = n.max(axis=1)
        stacks = [
            SimpleNamespace(em_gain=float(g), exposure_time=float(t), frames=range(int(k)))
            for g, t, k in zip(gain, time, frames, strict=True)
        ]
        return cls(store, stacks)

    @property
    def gain(self) -> Array:
        """EM gain of each stack."""
        return np.array([stack.em_gain for stack in self.stacks])

    @property
    def time(self) -> Array:
        """Exposure time of each stack."""
        return np.array([stack.exposure_time for stack in self.stacks])


def _signal(rng: np.random.Generator, n: Array, charge: Array, gain: float) -> tuple[Array, Array]:
    """Sum and sum of squares of what the register gives in n frames; all by pixel."""
    total, squares = np.zeros(n.size), np.zeros(n.size)
    frames, many = max(1, int(n.max(initial=0))), charge > MANY
    # Frame by frame: one gamma variate each, of 0 where there is no electron.
    taken = np.arange(frames) < n[many, None]
    each = gain * rng.standard_gamma(rng.poisson(charge[many, None], taken.shape)) * taken
    total[many], squares[many] = each.sum(axis=1), (each * each).sum(axis=1)
    # One by one: the pixel of each electron, then its frame; those of one frame add up.
    pixel = np.repeat(np.arange(n.size), rng.poisson(np.where(many, 0.0, charge * n)))
    frame = (n[pixel] * rng.random(pixel.size)).astype(np.int64)
    jump = gain * rng.standard_exponential(pixel.size)
    seen, which = np.unique(pixel * frames + frame, return_inverse=True)
    sums = np.bincount(which, jump, seen.size)
    total += np.bincount(seen // frames, sums, n.size)
    squares += np.bincount(seen // frames, sums * sums, n.size)
    return total, squares


def _one_stack(
    rng: np.random.Generator, n: Array, F: Array, charge: Array, gain: float, read_noise: float
) -> tuple[Array, Array]:
    """Mean and M2 of one stack; n, F, charge by pixel."""
    total, squares = _signal(rng, n, charge, gain)
    frames = np.maximum(n, 1)
    signal = total / frames
    mean = F + signal + read_noise * rng.standard_normal(n.size) / np.sqrt(frames)
    spread = np.maximum(squares - frames * signal * signal, 0.0)
    z = rng.standard_normal(n.size)
    rest = 2.0 * rng.standard_gamma(0.5 * np.maximum(n - 2, 0))
    cross = 2.0 * read_noise * np.sqrt(spread) * z
    m2 = np.maximum(spread + cross + read_noise**2 * (z * z + rest), 0.0)
    return np.where(n > 0, mean, 0.0), np.where(n > 1, m2, 0.0)


def draw_stacks(
    rng: np.random.Generator,
    gain: Array,
    time: Array,
    frames: Any,
    truth: Truth,
    read_noise: float = READ_NOISE,
    masked: float = 0.0,
) -> Stacks:
    """Moments of stacks.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    gain, time : ndarray, shape (stacks,)
        EM gain and exposure time.
    frames : int, or sequence of int
        Frames of each stack.
    truth : Truth
        The truth.
    read_noise : float
        EM electrons.
    masked : float
        Share of (stack, pixel) without any good frame.
    """
    counts = np.broadcast_to(np.asarray(frames, dtype=np.int64), gain.shape)
    shape = (gain.size, truth.F.size)
    n = np.empty(shape, np.int64)
    mean, m2 = np.empty(shape), np.empty(shape)
    for i in range(gain.size):
        good = 1 - COSMIC_RAYS[0] - COSMIC_RAYS[1] * time[i]
        n[i] = rng.binomial(counts[i], good, truth.F.size)
        if masked:
            n[i][rng.random(truth.F.size) < masked] = 0
        charge = truth.C + time[i] * truth.D
        mean[i], m2[i] = _one_stack(rng, n[i], truth.F, charge, float(gain[i]), read_noise)
    return Stacks.of(gain, time, n, mean, m2)
