"""One frame: electrons, gain register, pattern, read noise, disturbances.

Per pixel, in EM electrons,

    frame = register(Poisson(C + t D + scene)) + F + rn * normal

with the maps F, C, D and the read noise rn of a `Truth`, the exposure time t and the
register of `multiply`; then cosmic rays and the like (`Effects`), and meaningless
numbers in the telemetry rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera
from emdarks.detector import region_slices
from emdarks.dq import DQ
from emdarks.errors import InputError
from emdarks.simulate.effects import Effects, Flags, disturb, fill_wells
from emdarks.simulate.register import multiply, stage_probability
from emdarks.simulate.truth import Map, Truth, telemetry_rows

Units = Literal["DN", "e"]

#: Telemetry words are those of a 14-bit converter.
_WORDS = 1 << 14


class Frame(NamedTuple):
    """Pixels of one frame.

    Attributes
    ----------
    data : ndarray of float32, shape (rows, columns)
        DN or EM electrons.
    dq : ndarray of uint16, shape (rows, columns)
        Flags.
    """

    data: Map
    dq: Flags


@dataclass(frozen=True, eq=False)
class Exposure:
    """A setting of the camera in front of a scene: makes any number of frames.

    Attributes
    ----------
    truth : Truth
        The detector.
    gain : float
        EM gain.
    exposure_time : float
        Seconds.
    electrons : ndarray of float64, shape (rows, columns)
        Mean electrons that enter the register.
    """

    truth: Truth
    gain: float
    exposure_time: float
    electrons: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls,
        truth: Truth,
        gain: float,
        exposure_time: float,
        scene: npt.ArrayLike | None = None,
    ) -> Exposure:
        """Set the camera up; parameters as in `simulate_frame`."""
        stage_probability(gain, truth.stages)
        if not 0 <= exposure_time < math.inf:
            raise InputError(f"exposure time {exposure_time!r} s: give a number, 0 or more")
        electrons = truth.electrons(exposure_time)
        if scene is not None:
            _illuminate(electrons, np.asarray(scene, dtype=np.float64), truth.camera)
        return cls(truth, gain, exposure_time, electrons)

    def frame(self, rng: np.random.Generator, effects: Effects, units: Units = "e") -> Frame:
        """Make one frame; parameters as in `simulate_frame`."""
        if units not in ("DN", "e"):
            raise InputError(f"units {units!r} are unknown; choose 'DN' or 'e'")
        truth = self.truth
        disturbance, rows, telemetry = rng.spawn(3)
        signal, overfull = self._amplified(rng, effects)
        dq = disturb(signal, self.exposure_time, effects, truth.camera.noise, disturbance)
        dq.reshape(-1)[overfull] |= np.uint16(DQ.SATURATED)
        data = rng.standard_normal(signal.shape, dtype=np.float32)
        data *= truth.read_noise
        data += truth.fixed_pattern
        data += signal
        if effects.row_bias:
            data += effects.row_bias * rows.standard_normal((len(data), 1), dtype=np.float32)
        if units == "DN":
            data /= truth.k_gain
        self._write_telemetry(data, dq, telemetry, 1.0 if units == "DN" else truth.k_gain)
        return Frame(data, dq)

    def _amplified(
        self, rng: np.random.Generator, effects: Effects
    ) -> tuple[Map, npt.NDArray[np.int64]]:
        """What leaves the register, and the flat indices of pixels above full well."""
        electrons = rng.poisson(self.electrons).reshape(-1)
        # Most pixels of a dark are empty: only the others go through the register.
        hit = np.flatnonzero(electrons)
        entered = electrons[hit]
        overfull = np.empty(0, dtype=np.int64)
        if effects.saturation:
            overfull = hit[fill_wells(entered, self.truth.camera.noise)]
        signal = np.zeros(self.electrons.shape, dtype=np.float32)
        signal.reshape(-1)[hit] = multiply(entered, self.gain, rng, self.truth.stages)
        return signal, overfull

    def _write_telemetry(self, data: Map, dq: Flags, rng: np.random.Generator, word: float) -> None:
        rows = telemetry_rows(self.truth.camera)
        data[rows] = word * rng.integers(0, _WORDS, data[rows].shape)
        dq[rows] = 0


def _illuminate(
    electrons: npt.NDArray[np.float64], scene: npt.NDArray[np.float64], camera: Camera
) -> None:
    """Add a scene to the image region, in place."""
    image = electrons[region_slices(camera.arrtype, "image", camera.regions)]
    if scene.ndim not in (0, 2) or (scene.ndim == 2 and scene.shape != image.shape):
        raise InputError(
            f"the scene has shape {scene.shape}, the image region of {camera.name} {image.shape}"
        )
    if not (np.isfinite(scene) & (scene >= 0)).all():
        raise InputError("the scene has negative or non-finite photo-electrons")
    image += scene


def simulate_frame(
    truth: Truth,
    gain: float,
    exposure_time: float,
    rng: np.random.Generator,
    *,
    effects: Effects | None = None,
    units: Units = "e",
) -> Frame:
    """Make one dark frame.

    Parameters
    ----------
    truth : Truth
        The detector.
    gain : float
        EM gain, at least 1.
    exposure_time : float
        Seconds.
    rng : numpy.random.Generator
        Source of chance (`frame_generator` gives that of a campaign's frame).
    effects : Effects, optional
        Disturbances; by default EXCAM's flagged cosmic rays.
    units : {"e", "DN"}
        EM electrons, or those divided by the k-gain.

    Returns
    -------
    Frame
        ``data`` float32 and ``dq`` uint16, both of shape (rows, columns).

    Raises
    ------
    InputError
        Gain, exposure time or units make no sense.
    """
    exposure = Exposure.of(truth, gain, exposure_time)
    return exposure.frame(rng, effects or Effects(), units)


def simulate_stack(
    truth: Truth,
    gain: float,
    exposure_time: float,
    frames: int,
    rng: np.random.Generator,
    *,
    effects: Effects | None = None,
    units: Units = "e",
) -> tuple[Map, Flags]:
    """Make a stack of dark frames in memory.

    Parameters
    ----------
    truth, gain, exposure_time, effects, units
        As in `simulate_frame`.
    frames : int
        Number of frames.
    rng : numpy.random.Generator
        Source of chance: each frame gets a child of its own, so that the first frames
        of a longer stack are those of a shorter one.

    Returns
    -------
    data : ndarray of float32, axes [frame, row, column]
        EM electrons or DN.
    dq : ndarray of uint16, axes [frame, row, column]
        Flags.

    Raises
    ------
    InputError
        As `simulate_frame`.
    """
    exposure = Exposure.of(truth, gain, exposure_time)
    data = np.empty((frames, *truth.shape), dtype=np.float32)
    dq = np.empty((frames, *truth.shape), dtype=np.uint16)
    for i, child in enumerate(rng.spawn(frames)):
        data[i], dq[i] = exposure.frame(child, effects or Effects(), units)
    return data, dq


def science_frame(
    truth: Truth,
    gain: float,
    exposure_time: float,
    scene: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    effects: Effects | None = None,
    units: Units = "e",
) -> Frame:
    """Make one frame with light on it.

    Parameters
    ----------
    truth, gain, exposure_time, rng, effects, units
        As in `simulate_frame`.
    scene : array_like, shape of the image region
        Mean photo-electrons per pixel and frame (`star_field` makes one); a number for
        flat light.

    Returns
    -------
    Frame

    Raises
    ------
    InputError
        As `simulate_frame`; or the scene does not fit the image region.
    """
    exposure = Exposure.of(truth, gain, exposure_time, scene)
    return exposure.frame(rng, effects or Effects(), units)


def star_field(
    camera: Camera,
    rng: np.random.Generator,
    *,
    stars: int = 12,
    flux: tuple[float, float] = (30.0, 600.0),
    width: float = 2.0,
    background: float = 0.01,
) -> npt.NDArray[np.float64]:
    """Make up a scene: Gaussian sources over flat light.

    Parameters
    ----------
    camera : Camera
        Gives the image region.
    rng : numpy.random.Generator
        Source of chance.
    stars : int
        Number of sources.
    flux : tuple of float
        Photo-electrons per frame of the faintest and the brightest source; fluxes lie
        between, evenly in the logarithm.
    width : float
        Standard deviation of a source, pixels.
    background : float
        Photo-electrons per pixel and frame.

    Returns
    -------
    ndarray of float64, shape of the image region
        Mean photo-electrons per pixel and frame.
    """
    rows, cols = region_slices(camera.arrtype, "image", camera.regions)
    shape = rows.stop - rows.start, cols.stop - cols.start
    scene = np.full(shape, float(background))
    for total in np.geomspace(*flux, stars):
        profiles = []
        for size in shape:
            offset = np.arange(size) - rng.uniform(0.0, size - 1.0)
            profiles.append(np.exp(-0.5 * (offset / width) ** 2))
        scene += total / (2.0 * math.pi * width**2) * np.multiply.outer(*profiles)
    return scene
