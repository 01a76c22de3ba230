"""One frame: electrons, gain register, pattern, read noise, disturbances.

Per pixel, in EM electrons,

    frame = register(Poisson(C + t D + scene)) + F + rn * normal

with the maps F, C, D and the read noise rn of a `Truth`, the exposure time t and the
register of `multiply`; then cosmic rays and the like (`Effects`), and meaningless
numbers in the telemetry rows. Frames of level 2a are these numbers, raw frames (level 1) what a
converter makes of them (`emdarks.simulate.level_1`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera, NoiseFigures
from emdarks.detector import region_slices
from emdarks.dq import DQ
from emdarks.errors import InputError
from emdarks.raw import Linearity
from emdarks.simulate.changing import changed_current
from emdarks.simulate.effects import Effects, Flags, defer, disturb, fill_wells
from emdarks.simulate.headers import PAUSE
from emdarks.simulate.level_1 import (
    BITS,
    RawFrame,
    bias_columns,
    draw_spoiled,
    invented_linearity,
    linear_wells,
    raw_signal,
    to_numbers,
)
from emdarks.simulate.rays import (
    Plateaus,
    Rays,
    draw_rays,
    find_plateaus,
    flagged_samples,
    leave_tails,
    strike,
)
from emdarks.simulate.register import add_register_charge, multiply, stage_probability
from emdarks.simulate.truth import Map, Truth, telemetry_rows

Units = Literal["DN", "e"]

#: Telemetry words are those of a 14-bit converter.
_WORDS = 1 << 14
#: Those of raw frames stand behind the prescan and stay below what a search for plateaus looks
#: at: a row of noise would hide spoiled rows, and flag its neighbours.
_RAW_WORDS = 1 << 13


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

    def at(self, elapsed: float, effects: Effects) -> Exposure:
        """The same so many seconds after the campaign began, where the dark current changes."""
        added = changed_current(self.truth, elapsed, effects)
        if added is None:
            return self
        return replace(self, electrons=self.electrons + self.exposure_time * added)

    def frame(self, rng: np.random.Generator, effects: Effects, units: Units = "e") -> Frame:
        """Make one frame of level 2a; parameters as in `simulate_frame`."""
        if units not in ("DN", "e"):
            raise InputError(f"units {units!r} are unknown; choose 'DN' or 'e'")
        chances = _Chances.of(rng)
        data, dq = self._charge(chances, effects, self.truth.camera.noise)
        if effects.row_bias:
            data += effects.row_bias * chances.rows.standard_normal((len(data), 1), np.float32)
        if units == "DN":
            data /= self.truth.k_gain
        self._write_telemetry(data, dq, chances, 1.0 if units == "DN" else self.truth.k_gain)
        return Frame(data, dq)

    def raw_frame(
        self, rng: np.random.Generator, effects: Effects, linearity: Linearity
    ) -> RawFrame:
        """Make one frame of level 1; parameters as in `simulate_raw_frame`."""
        truth, chances = self.truth, _Chances.of(rng)
        wells = linear_wells(truth.camera.noise, linearity, self.gain)
        data, dq = self._charge(chances, effects, wells)
        data /= truth.k_gain
        raw = raw_signal(data, linearity, self.gain)
        offsets = chances.rows.standard_normal((len(raw), 1), np.float32)[:, 0]
        bias = truth.camera.simulation.bias + effects.row_bias / truth.k_gain * offsets
        excess = draw_spoiled(truth.camera, effects.spoiled_rows, chances.spoiled)
        raw[:, bias_columns(truth.camera)] += excess[:, None].astype(np.float32)
        numbers = to_numbers(raw, bias.astype(np.float64), truth.camera.frames.bit_depth or BITS)
        words = numbers[telemetry_rows(truth.camera), bias_columns(truth.camera).stop :]
        words[...] = chances.telemetry.integers(0, _RAW_WORDS, words.shape)
        dq[telemetry_rows(truth.camera)] = 0
        return RawFrame(numbers, dq, bias.astype(np.float64), excess > 0)

    def _charge(
        self, chances: _Chances, effects: Effects, wells: NoiseFigures
    ) -> tuple[Map, Flags]:
        """EM electrons of every sample, read noise included, and flags."""
        signal, overfull = self._amplified(chances, effects, wells)
        plateaus = self._struck(signal, effects, wells, chances.rays)
        dq = disturb(signal, self.exposure_time, effects, wells, chances.disturbance)
        dq.reshape(-1)[overfull] |= np.uint16(DQ.SATURATED)
        if plateaus is not None:
            well, ceiling = self.truth.camera.noise.full_well_register, wells.full_well_register
            if self.gain > 1 and effects.tails:
                leave_tails(signal, plateaus, well, ceiling, effects.tails)
            dq.reshape(-1)[flagged_samples(plateaus, dq.shape)] |= np.uint16(DQ.COSMIC_RAY)
        data = chances.frame.standard_normal(signal.shape, dtype=np.float32)
        data *= self.truth.read_noise
        data += self.truth.fixed_pattern
        data += signal
        return data, dq

    def _struck(
        self, signal: Map, effects: Effects, wells: NoiseFigures, rng: np.random.Generator
    ) -> Plateaus | None:
        """Add rays to what leaves the register; the plateaus that they leave at a full well."""
        if not effects.rays:
            return None
        camera, gain = self.truth.camera, self.gain
        rays = draw_rays(camera, effects.rays, self.exposure_time, rng)
        strike(signal, rays, camera, gain, rng, self.truth.stages)
        well = min(gain * wells.full_well_image, wells.full_well_register)
        return find_plateaus(signal, rays, camera, well) if math.isfinite(well) else None

    def _amplified(
        self, chances: _Chances, effects: Effects, wells: NoiseFigures
    ) -> tuple[Map, npt.NDArray[np.int64]]:
        """What leaves the register, and the flat indices of pixels above full well."""
        rng = chances.frame
        electrons = defer(rng.poisson(self.electrons), effects, chances.transfer).reshape(-1)
        # Most pixels of a dark are empty: only the others go through the register.
        hit = np.flatnonzero(electrons)
        entered = electrons[hit]
        overfull = np.empty(0, dtype=np.int64)
        if effects.fills_wells:
            overfull = hit[fill_wells(entered, wells)]
        signal = np.zeros(self.electrons.shape, dtype=np.float32)
        signal.reshape(-1)[hit] = multiply(entered, self.gain, rng, self.truth.stages)
        if effects.register_charge:
            amount = effects.register_charge
            add_register_charge(signal, self.gain, amount, chances.register, self.truth.stages)
        return signal, overfull

    def _write_telemetry(self, data: Map, dq: Flags, chances: _Chances, word: float) -> None:
        rows = telemetry_rows(self.truth.camera)
        data[rows] = word * chances.telemetry.integers(0, _WORDS, data[rows].shape)
        dq[rows] = 0


class _Chances(NamedTuple):
    """Sources of chance of one frame: what is switched on or off leaves the rest as it is."""

    frame: np.random.Generator
    disturbance: np.random.Generator
    rows: np.random.Generator
    telemetry: np.random.Generator
    rays: np.random.Generator
    spoiled: np.random.Generator
    transfer: np.random.Generator
    register: np.random.Generator

    @classmethod
    def of(cls, rng: np.random.Generator) -> _Chances:
        return cls(rng, *rng.spawn(7))


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


def rays_in_frame(
    camera: Camera, exposure_time: float, rng: np.random.Generator, effects: Effects
) -> Rays:
    """Cosmic rays of the frame that `simulate_frame` makes from the same source of chance.

    Parameters
    ----------
    camera : Camera
        The camera.
    exposure_time : float
        Seconds.
    rng : numpy.random.Generator
        Source of chance of the frame (`frame_generator`); one that nothing was drawn from.
    effects : Effects
        Disturbances of the frame.

    Returns
    -------
    Rays
    """
    return draw_rays(camera, effects.rays, exposure_time, _Chances.of(rng).rays)


def simulate_raw_frame(
    truth: Truth,
    gain: float,
    exposure_time: float,
    rng: np.random.Generator,
    *,
    effects: Effects | None = None,
    linearity: Linearity | None = None,
) -> RawFrame:
    """Make one raw dark frame (level 1).

    Parameters
    ----------
    truth : Truth
        The detector, made for level 1 (`make_truth`).
    gain, exposure_time, rng
        As in `simulate_frame`.
    effects : Effects, optional
        Disturbances; by default those of the camera at level 1 (`Effects.of_level_1`).
    linearity : emdarks.raw.Linearity, optional
        Factors that make the frame linear; by default `invented_linearity`.

    Returns
    -------
    RawFrame

    Raises
    ------
    InputError
        Gain or exposure time make no sense, or the camera has no prescan.
    """
    exposure = Exposure.of(truth, gain, exposure_time)
    chosen = Effects.of_level_1(truth.camera) if effects is None else effects
    return exposure.raw_frame(rng, chosen, linearity or invented_linearity())


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
        now = exposure.at(i * (exposure_time + PAUSE), effects or Effects())
        data[i], dq[i] = now.frame(child, effects or Effects(), units)
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
