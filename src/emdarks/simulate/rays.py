"""Cosmic rays: where they hit, what charge they leave, what a full register smears.

Hits come at a rate per area and time and fall evenly on the imaging area. The charge of a hit
follows the law of energy loss in thin layers (L. Landau, 1944): location 1156.7 electrons,
width 320, cut at 20,000, so that its mean is 2300 electrons. It spreads as a Gaussian whose width
is drawn for rows and columns by themselves, 0.1 to 0.6 pixels, hence over 1 to 3 x 3 pixels; 4 %
of it lie in wings of 0.8 pixels, by which as many pixels are struck as in frames of emccd-detect
2.6.2 (1.3 % in 100 s, at 5 hits per cm^2 and s).

The charge passes the gain register like any other. Where it fills the register in two samples of
a row, one after the other, a tail follows: charge that the register releases late, a tenth of
the full well, falling exponentially and gone after a number of samples from the start of the
plateau.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera
from emdarks.detector import imaging_area_geom
from emdarks.simulate.register import multiply

#: Mean charge of a hit, electrons.
MEAN_CHARGE = 2300.0
#: Law of the charge, electrons: location and width of Landau's law, and where it is cut.
LOCATION, WIDTH, LARGEST = 1156.7, 320.0, 2e4
#: Widths of the spread, pixels; share and width of the wings.
_CORE = (0.1, 0.6)
_WINGS, _WING_WIDTH = 0.04, 0.8
#: Pixels around a hit that get charge: a window of 7 x 7.
_REACH = 3

#: Samples from the start of a plateau to the end of its tail. A search for plateaus flags 13 by
#: default.
TAILS = {"short": 13, "long": 60}
#: Charge in the first sample of a tail, in full wells, and samples of a tail in which it falls
#: by a factor of e, in lengths of the tail.
_TAIL, _FALL = 0.1, 0.2
#: Levels of a plateau, in full wells: of two samples beside each other; of the samples before
#: them that belong to it.
_HEAD, _PLATEAU = 0.95, 0.85
#: Rows and columns around the start of a plateau that are flagged with it.
_BOX = 3

Signal = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


class Rays(NamedTuple):
    """Hits of cosmic rays in one frame.

    Attributes
    ----------
    row, column : ndarray of int64, shape (hits,)
        Pixel of the frame that was hit.
    charge : ndarray of int64, shape (hits, 7, 7)
        Electrons in the pixels around it, axes [hit, row, column].
    """

    row: Ints
    column: Ints
    charge: Ints

    def deposits(self, camera: Camera) -> tuple[Ints, Ints]:
        """Pixels that got charge, as flat indices of the frame, and the electrons of each.

        A pixel that several rays hit stands there several times. What falls beside the imaging
        area is lost.
        """
        rows, columns, inside = _window(self, camera)
        struck = inside & (self.charge > 0)
        width = _columns(camera)
        return (rows * width + columns)[struck], self.charge[struck]

    def total(self, camera: Camera) -> Ints:
        """Electrons of each hit in the imaging area, shape (hits,)."""
        inside = _window(self, camera)[2]
        electrons: Ints = (self.charge * inside).sum(axis=(1, 2))
        return electrons


class Plateaus(NamedTuple):
    """Runs of samples in which rays filled the register.

    Attributes
    ----------
    row, start, end : ndarray of int64, shape (plateaus,)
        Row, first column, and the column after the last one.
    """

    row: Ints
    start: Ints
    end: Ints


def expected_hits(camera: Camera, rate: float, exposure_time: float) -> float:
    """Mean number of hits in a frame.

    Parameters
    ----------
    camera : Camera
        Its imaging area and the size of its pixels.
    rate : float
        Hits per cm^2 and second.
    exposure_time : float
        Seconds.

    Returns
    -------
    float
    """
    rows, columns, _ = _area(camera)
    side = 1e-4 * camera.simulation.pixel_size  # cm
    return rate * exposure_time * rows * columns * side * side


def draw_rays(camera: Camera, rate: float, exposure_time: float, rng: np.random.Generator) -> Rays:
    """Draw the hits of one frame.

    Parameters
    ----------
    camera, rate, exposure_time
        As in `expected_hits`.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Rays
    """
    hits = int(rng.poisson(expected_hits(camera, rate, exposure_time)))
    rows, columns, (row0, column0) = _area(camera)
    row, column = rng.uniform(0, rows, hits), rng.uniform(0, columns, hits)
    charge = _charges(hits, rng)
    places = row % 1.0, column % 1.0
    cores = _product(*(_spread(place, rng.uniform(*_CORE, (hits, 1))) for place in places))
    wings = _product(*(_spread(place, _WING_WIDTH) for place in places))
    expected = charge[:, None, None] * ((1.0 - _WINGS) * cores + _WINGS * wings)
    return Rays(
        row.astype(np.int64) + row0, column.astype(np.int64) + column0, rng.poisson(expected)
    )


def _charges(hits: int, rng: np.random.Generator) -> Doubles:
    """Electrons of each hit: Landau's law, what lies outside its limits drawn again."""
    found = np.empty(0)
    while found.size < hits:
        more = LOCATION + WIDTH * _landau(hits + 16, rng)
        found = np.concatenate([found, more[(more > 0) & (more < LARGEST)]])
    return found[:hits]


def _landau(count: int, rng: np.random.Generator) -> Doubles:
    """Landau's law is stable, of exponent 1 and skewness 1.

    Drawn as by J. M. Chambers, C. L. Mallows and B. W. Stuck, 1976, eq. 2.3 at exponent 1.
    """
    angle = rng.uniform(-0.5 * math.pi, 0.5 * math.pi, count)
    wait = rng.standard_exponential(count)
    turned = 0.5 * math.pi + angle
    drawn: Doubles = turned * np.tan(angle) - np.log(wait * np.cos(angle) / turned)
    return drawn


def _product(rows: Doubles, columns: Doubles) -> Doubles:
    """Shares of 7 x 7 pixels from those of 7 rows and 7 columns."""
    return rows[:, :, None] * columns[:, None, :]


def _spread(place: Doubles, width: Any) -> Doubles:
    """Shares of a Gaussian in 7 pixels; its centre lies at ``place`` (0 to 1) in the middle one."""
    edges = np.arange(-_REACH, _REACH + 2)
    share: Doubles = np.diff(_normal_cdf((edges - place[:, None]) / width), axis=1)
    return share


@cache
def _normal_table() -> tuple[Doubles, Doubles]:
    z = np.linspace(-6.0, 6.0, 4097)
    return z, np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in z])


def _normal_cdf(z: Doubles) -> Doubles:
    """Normal distribution, from a table: NumPy has no error function. Error below 1e-6."""
    cumulative: Doubles = np.interp(z, *_normal_table())
    return cumulative


def _area(camera: Camera) -> tuple[int, int, list[int]]:
    return imaging_area_geom(camera.arrtype, camera.regions)


def _columns(camera: Camera) -> int:
    return int(camera.regions[camera.arrtype]["frame_cols"])


def _window(rays: Rays, camera: Camera) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Rows and columns of the pixels around each hit, and whether they can hold charge.

    Each of shape (hits, 7, 7).
    """
    rows, columns, (row0, column0) = _area(camera)
    step = np.arange(-_REACH, _REACH + 1)
    row, column = np.broadcast_arrays(
        rays.row[:, None, None] + step[:, None], rays.column[:, None, None] + step
    )
    inside = (row >= row0) & (row < row0 + rows)
    return row, column, inside & (column >= column0) & (column < column0 + columns)


def strike(
    signal: Signal, rays: Rays, camera: Camera, gain: float, rng: np.random.Generator, stages: int
) -> None:
    """Add the charge of rays, multiplied, to what leaves the register, in place.

    Parameters
    ----------
    signal : ndarray of float32, shape (rows, columns)
        EM electrons.
    rays : Rays
        The hits.
    camera : Camera
        Its geometry.
    gain : float
        EM gain.
    rng : numpy.random.Generator
        Source of chance.
    stages : int
        Stages of the register.
    """
    pixels, electrons = rays.deposits(camera)
    out = multiply(electrons, gain, rng, stages).astype(np.float32)
    np.add.at(signal.reshape(-1), pixels, out)


def find_plateaus(signal: Signal, rays: Rays, camera: Camera, well: float) -> Plateaus:
    """Find where rays filled the register in two samples of a row or more.

    Parameters
    ----------
    signal : ndarray of float32, shape (rows, columns)
        EM electrons, rays included.
    rays : Rays
        The hits; only samples around them are looked at.
    camera : Camera
        Its geometry.
    well : float
        Full well behind the register, electrons.

    Returns
    -------
    Plateaus
        Each once. A plateau begins with the first of the samples above 0.85 of the well that
        lead to two above 0.95.
    """
    rows, columns, inside = (part.reshape(-1, 2 * _REACH + 1) for part in _window(rays, camera))
    values = np.zeros(rows.shape, dtype=np.float32)
    values[inside] = signal[rows[inside], columns[inside]]
    full = values >= _HEAD * well
    pairs = full[:, :-1] & full[:, 1:]
    found = pairs.any(axis=1)
    rows, columns, values, full = rows[found], columns[found], values[found], full[found]
    line = np.arange(len(rows))
    start = pairs[found].argmax(axis=1)
    end = start + 1
    for _ in range(2 * _REACH):
        before = np.maximum(start - 1, 0)
        start = np.where(values[line, before] >= _PLATEAU * well, before, start)
        after = np.minimum(end + 1, 2 * _REACH)
        end = np.where(full[line, after], after, end)
    table = np.stack([rows[:, 0], columns[line, start], columns[line, end] + 1])
    return Plateaus(*np.unique(table, axis=1))


def leave_tails(
    signal: Signal, plateaus: Plateaus, well: float, ceiling: float, length: int
) -> None:
    """Add the tails of plateaus, in the order in which samples are read, in place.

    Parameters
    ----------
    signal : ndarray of float32, shape (rows, columns)
        EM electrons, cut at the ceiling.
    plateaus : Plateaus
        Where rays filled the register.
    well : float
        Full well behind the register, electrons: what the charge of tails is a share of.
    ceiling : float
        Electrons at which samples are cut.
    length : int
        Samples from the start of a plateau to the end of its tail.
    """
    step = np.arange(length)
    place = plateaus.start[:, None] + step
    late = place >= plateaus.end[:, None]
    charge = _TAIL * well * np.exp(-(place - plateaus.end[:, None]) / (_FALL * length))
    pixel = plateaus.row[:, None] * signal.shape[1] + place
    late &= pixel < signal.size
    flat = signal.reshape(-1)
    np.add.at(flat, pixel[late], charge[late].astype(np.float32))
    flat[pixel[late]] = np.minimum(flat[pixel[late]], np.float32(ceiling))


def flagged_samples(plateaus: Plateaus, shape: tuple[int, int]) -> Ints:
    """Samples that a search for plateaus flags.

    Parameters
    ----------
    plateaus : Plateaus
        Where rays filled the register.
    shape : tuple of int
        Rows and columns of the frame.

    Returns
    -------
    ndarray of int64, shape (samples,)
        Flat indices: 13 samples from the start of each plateau, in the order in which they are
        read, and those up to 3 rows and columns around it.
    """
    step = np.arange(-_BOX, _BOX + 1)
    start = plateaus.row * shape[1] + plateaus.start
    line = (start[:, None] + np.arange(TAILS["short"])).ravel()
    rows, columns = np.broadcast_arrays(
        plateaus.row[:, None, None] + step[:, None], plateaus.start[:, None, None] + step
    )
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    box = rows[inside] * shape[1] + columns[inside]
    return np.concatenate([line[line < shape[0] * shape[1]], box])
