"""Raw frames (level 1): what calibration undoes, done to a frame whose charge is known.

A raw frame becomes electrons by subtracting the bias of each row, multiplying by a factor that
depends on signal and gain, and by the electrons per DN. Here the inverse: with e the EM
electrons of a sample, k the electrons per DN, f the factors (`emdarks.raw.Linearity`) and b the
bias of its row, the number written is the whole number nearest to

    x + b,   where x f(x) = e / k

cut to the range of the converter. The full wells of register and pixel are levels of the raw
signal x: so the documented search for saturated samples takes them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera, NoiseFigures
from emdarks.detector import region_slices
from emdarks.errors import InputError
from emdarks.raw import Linearity
from emdarks.simulate.effects import Flags

Numbers = npt.NDArray[np.uint16]
Doubles = npt.NDArray[np.float64]

#: Bits of EXCAM's converter.
BITS = 14
#: Charge that is not theirs in the prescan of spoiled rows, DN, evenly distributed. Few such rows
#: stand out from all rows by more than 5 standard deviations of these, by which they are found.
_SPOILED = (400.0, 600.0)
#: EM gains and signals (DN) of the invented table.
_GAINS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 8e3)
_COUNTS = tuple(range(800, 14001, 200))


class RawFrame(NamedTuple):
    """One raw frame, and what is known of it.

    Attributes
    ----------
    data : ndarray of uint16, shape (rows, columns)
        DN as the converter gives them.
    dq : ndarray of uint16, shape (rows, columns)
        What a perfect search would flag: 32 where a full well cut the charge, 128 at rays.
        Files of level 1 do not hold it.
    bias : ndarray of float64, shape (rows,)
        True bias of each row, DN.
    spoiled : ndarray of bool, shape (rows,)
        Rows whose prescan does not show their bias.
    """

    data: Numbers
    dq: Flags
    bias: Doubles
    spoiled: npt.NDArray[np.bool_]


def invented_linearity() -> Linearity:
    """Make up a table: smooth factors, 1 at 3000 DN, that grow with signal and gain.

    Returns
    -------
    Linearity
        Factors of .98 to 1.13 for 800 to 14,000 DN and gains 1 to 8000.
    """
    gains, counts = np.array(_GAINS), np.array(_COUNTS, dtype=np.float64)
    signal = (counts[:, None] - 3000.0) / 9000.0
    slope = 0.03 + 0.05 * np.log(gains) / math.log(gains[-1])
    factors = 1.0 + slope * signal + 0.02 * signal**2
    # As a file of float32 gives them back.
    return Linearity(gains, counts, factors.astype(np.float32))


def raw_signal(
    linear: npt.NDArray[np.float32], linearity: Linearity, gain: float
) -> npt.NDArray[np.float32]:
    """Raw signals x that become linear ones: x f(x) = y.

    Parameters
    ----------
    linear : ndarray of float32, any shape
        Linear signal y, DN.
    linearity : Linearity
        Factors f; x f(x) increases, and the counts of the table are above 0.
    gain : float
        EM gain.

    Returns
    -------
    ndarray of float32
        DN, right to 1e-3.
    """
    lowest, factors = linearity.counts[0], linearity.at_gain(gain)
    raw: npt.NDArray[np.float32] = linear / np.float32(factors[0])
    # Most samples of a dark lie below the table, where the factor is constant.
    above = raw > lowest
    steps = np.arange(lowest, 2.0**16)
    products = steps * np.interp(steps, linearity.counts, factors)
    raw[above] = np.interp(linear[above], products, steps)
    return raw


def linear_wells(noise: NoiseFigures, linearity: Linearity, gain: float) -> NoiseFigures:
    """The same figures with full wells in linear electrons, for wells that raw signals show.

    Parameters
    ----------
    noise : NoiseFigures
        Wells in electrons, as they show in raw signals.
    linearity : Linearity
        Factors.
    gain : float
        EM gain.

    Returns
    -------
    NoiseFigures
    """
    pixel, register = noise.full_well_image, noise.full_well_register
    well = min(pixel * gain, register)
    if not math.isfinite(well):
        return noise
    factors = linearity.at_gain(gain)
    factor = float(np.interp(well / noise.k_gain, linearity.counts, factors))
    return replace(noise, full_well_image=pixel * factor, full_well_register=register * factor)


def bias_columns(camera: Camera) -> slice:
    """Columns that give the bias of each row of raw frames.

    Raises
    ------
    InputError
        The camera has no such region.
    """
    bias = None if camera.raw is None else camera.raw.bias
    if bias is None or bias.region not in camera.regions[camera.arrtype]:
        raise InputError(
            f"camera {camera.name} has no prescan: raw frames (level 1) have nothing that gives "
            "their bias"
        )
    return region_slices(camera.arrtype, str(bias.region), camera.regions)[1]


def draw_spoiled(camera: Camera, mean: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Charge that is not theirs in the prescan of rows, DN; shape (rows,), mostly 0.

    Parameters
    ----------
    camera : Camera
        Its geometry.
    mean : float
        Mean number of spoiled rows.
    rng : numpy.random.Generator
        Source of chance.
    """
    rows = int(camera.regions[camera.arrtype]["frame_rows"])
    number = min(rows, int(rng.poisson(mean)))
    found = np.zeros(rows)
    found[rng.choice(rows, number, replace=False)] = rng.uniform(*_SPOILED, number)
    return found


def to_numbers(raw: npt.NDArray[Any], bias: Doubles, bits: int) -> Numbers:
    """Numbers of the converter.

    Parameters
    ----------
    raw : ndarray of float32, shape (rows, columns)
        Raw signal without bias, DN. Overwritten.
    bias : ndarray of float64, shape (rows,)
        Bias of each row, DN.
    bits : int
        Of the converter.
    """
    raw += bias[:, None].astype(np.float32)
    np.rint(raw, out=raw)
    numbers: Numbers = raw.clip(0, 2**bits - 1).astype(np.uint16)
    return numbers
