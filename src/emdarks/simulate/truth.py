"""What the simulated detector is really like: the maps that a calibration should find."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera, load_camera
from emdarks.detector import frame_shape, imaging_area_geom, region_slices
from emdarks.errors import InputError
from emdarks.fits import ascii_text, image_hdu, scan_file, write_whole
from emdarks.fits import astropy_fits as fits
from emdarks.fits.layout import open_whole
from emdarks.frames.bias import bias_frame
from emdarks.simulate.level_1 import bias_columns
from emdarks.simulate.register import STAGES, excess_noise_squared

Map = npt.NDArray[np.float32]
Level = Literal["1", "2a"]

_MAPS = ("FPN", "CIC", "DC")
_UNITS = {"FPN": "detected EM electron", "CIC": "electron/frame", "DC": "electron/s"}
#: Shares of the pattern's variance: smooth waves, column stripes, single pixels.
_WAVES, _STRIPES, _PIXELS = 0.5, 0.3, 0.2


class Drift(NamedTuple):
    """How a detector has changed.

    Attributes
    ----------
    fixed_pattern : float
        Added to F in the imaging area, EM electrons.
    clock_induced_charge, dark_current : float
        Factors of C and D, in all pixels.
    gain : float
        Factor of what the EM gain is above 1; headers keep the commanded gain.
    read_noise : float
        Factor of the read noise.
    """

    fixed_pattern: float = 0.0
    clock_induced_charge: float = 1.0
    dark_current: float = 1.0
    gain: float = 1.0
    read_noise: float = 1.0

    def check(self) -> None:
        """Refuse what no detector can do.

        Raises
        ------
        InputError
            A factor is negative or no number, or so is the change of F.
        """
        wrong = [
            name.replace("_", " ")
            for name, value in self._asdict().items()
            if not (math.isfinite(value) and (value >= 0 or name == "fixed_pattern"))
        ]
        if wrong:
            raise InputError(f"drift of {wrong[0]}: give a number, and of a factor 0 or more")


@dataclass(frozen=True, eq=False)
class Truth:
    """The detector behind simulated frames.

    Every map has shape (rows, columns) of a frame and is 0 in the telemetry rows.

    Attributes
    ----------
    camera : Camera
        Geometry, keywords, noise figures.
    fixed_pattern : ndarray of float32
        F: EM electrons, the same at any gain, of both signs. As reading the frames leaves
        it: with the bias level where nothing subtracts that, without the row means of
        the columns that the bias is taken from.
    clock_induced_charge : ndarray of float32
        C: electrons per pixel and frame. In every pixel that passes the register,
        prescan and overscan included.
    dark_current : ndarray of float32
        D: electrons per pixel and second; 0 outside the imaging area.
    read_noise : float
        EM electrons.
    k_gain : float
        Electrons per DN.
    seed : int
        What it was made from.
    stages : int
        Stages of the gain register.
    gain_factor : float
        True EM gain above 1 over the commanded one above 1: what the register does is no longer
        what the headers say where this is not 1.
    """

    camera: Camera
    fixed_pattern: Map
    clock_induced_charge: Map
    dark_current: Map
    read_noise: float
    k_gain: float
    seed: int
    stages: int = STAGES
    gain_factor: float = 1.0

    def true_gain(self, commanded: float) -> float:
        """EM gain of the register where a gain is commanded; 1 stays 1."""
        return 1.0 + self.gain_factor * (commanded - 1.0)

    def drifted(self, drift: Drift) -> Truth:
        """The same detector later.

        Raises
        ------
        InputError
            A factor is negative or no number.
        """
        drift.check()
        pattern = self.fixed_pattern.copy()
        pattern[self.imaging_area] += np.float32(drift.fixed_pattern)
        return replace(
            self,
            fixed_pattern=pattern,
            clock_induced_charge=self.clock_induced_charge * np.float32(drift.clock_induced_charge),
            dark_current=self.dark_current * np.float32(drift.dark_current),
            read_noise=self.read_noise * drift.read_noise,
            gain_factor=self.gain_factor * drift.gain,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, cols = self.fixed_pattern.shape
        return rows, cols

    @property
    def imaging_area(self) -> npt.NDArray[np.bool_]:
        """Shape (rows, columns): True in the imaging area."""
        return _imaging_area(self.camera)

    @property
    def telemetry(self) -> npt.NDArray[np.bool_]:
        """Shape (rows, columns): True in the telemetry rows."""
        mask = np.zeros(self.shape, dtype=bool)
        mask[telemetry_rows(self.camera)] = True
        return mask

    def electrons(self, exposure_time: float) -> npt.NDArray[np.float64]:
        """Mean electrons that enter the register.

        Parameters
        ----------
        exposure_time : float
            Seconds.

        Returns
        -------
        ndarray of float64, shape (rows, columns)
            C + t D, electrons per pixel and frame.
        """
        dark = self.dark_current.astype(np.float64)
        dark *= exposure_time
        dark += self.clock_induced_charge
        return dark

    def mean(self, gain: float, exposure_time: float) -> npt.NDArray[np.float64]:
        """Mean of an undisturbed dark frame: F + g (C + t D), in EM electrons.

        Parameters
        ----------
        gain : float
            EM gain.
        exposure_time : float
            Seconds.

        Returns
        -------
        ndarray of float64, shape (rows, columns)
        """
        return self.fixed_pattern + gain * self.electrons(exposure_time)

    def variance(self, gain: float, exposure_time: float) -> npt.NDArray[np.float64]:
        """Variance of an undisturbed dark frame, in EM electrons squared.

        Parameters
        ----------
        gain : float
            EM gain.
        exposure_time : float
            Seconds.

        Returns
        -------
        ndarray of float64, shape (rows, columns)
            rn^2 + x g^2 (C + t D), where x is the register's own excess noise
            (`excess_noise_squared`): 2 is its limit at high gain, 1 its value at gain 1.
        """
        excess = excess_noise_squared(gain, self.stages)
        return self.read_noise**2 + excess * gain**2 * self.electrons(exposure_time)

    def save(self, path: str | os.PathLike[str], tables: Sequence[Any] = ()) -> None:
        """Write the truth to a FITS file, replacing an earlier one of that name.

        HDUs FPN, CIC and DC (float32). DATATYPE 'Truth' in the primary header and in
        that of FPN says that this is no frame.

        Parameters
        ----------
        path : str or path-like
            The file; its folder must exist.
        tables : sequence of HDUs
            Further HDUs, such as the cosmic rays of a campaign.

        Raises
        ------
        InputError
            It cannot be written.
        """
        facts = _header(self)
        maps = (self.fixed_pattern, self.clock_induced_charge, self.dark_current)
        hdus: list[Any] = [fits.PrimaryHDU(header=facts)]
        for name, values in zip(_MAPS, maps, strict=True):
            hdu = image_hdu(values, facts, name)
            hdu.header["BUNIT"] = _UNITS[name]
            hdus.append(hdu)
        write_whole([*hdus, *tables], path)


def telemetry_rows(camera: Camera) -> slice:
    """Slice of the telemetry rows; empty where the camera has none."""
    start, stop = camera.telemetry_rows
    return slice(0, 0) if start is None else slice(start, stop)


def known_bias(camera: Camera) -> float | npt.NDArray[np.float64] | None:
    """Bias that reading subtracts from simulated frames, DN; None where it subtracts nothing.

    A level, or a bias frame of shape (rows, columns).
    """
    if camera.frames.err_and_dq:
        return None
    bias, mode = camera.bias, camera.mode(camera.simulation.mode)
    if bias is not None and bias.file is not None:
        shape = frame_shape(camera.arrtype, camera.regions)
        return bias_frame(bias.file, shape).reshape(shape)
    if bias is not None and bias.region is not None:
        return camera.simulation.bias
    if mode is not None and mode.bias is not None:
        return mode.bias
    return None if bias is None else bias.level


def unknown_bias(camera: Camera) -> float:
    """Bias level of simulated frames that nothing subtracts, DN: it shows as fixed pattern."""
    raw = not camera.frames.err_and_dq
    return camera.simulation.bias if raw and known_bias(camera) is None else 0.0


def _as_read(pattern: Map, camera: Camera) -> None:
    """Do to the pattern, in place, what reading does to frames."""
    bias = camera.bias
    pattern += np.float32(unknown_bias(camera) * camera.noise.k_gain)
    if bias is not None and bias.region is not None and not camera.frames.err_and_dq:
        columns = region_slices(camera.arrtype, bias.region, camera.regions)[1]
        # The median of noisy samples of different means is near the mean of those, too.
        means = pattern[:, columns].mean(axis=1, keepdims=True)
        pattern -= means if bias.per == "row" else means.mean()


def _as_raw(pattern: Map, charge: Map, camera: Camera) -> None:
    """What raw frames show, in place: no charge beside the imaging area, F without row bias."""
    charge[~_imaging_area(camera)] = 0.0
    pattern -= pattern[:, bias_columns(camera)].mean(axis=1, keepdims=True)


def _imaging_area(camera: Camera) -> npt.NDArray[np.bool_]:
    mask = np.zeros(frame_shape(camera.arrtype, camera.regions), dtype=bool)
    rows, cols, (row0, col0) = imaging_area_geom(camera.arrtype, camera.regions)
    mask[row0 : row0 + rows, col0 : col0 + cols] = True
    mask[telemetry_rows(camera)] = False
    return mask


def _header(truth: Truth) -> fits.Header:
    return fits.Header(
        [
            ("DATATYPE", "Truth"),
            ("CAMERA", ascii_text(truth.camera.name)),
            ("RN", truth.read_noise, "read noise, EM electrons"),
            ("KGAINPAR", truth.k_gain, "electrons per DN"),
            ("SIMSEED", truth.seed, "seed of the simulation"),
            ("STAGES", truth.stages, "stages of the gain register"),
            ("GAINFAC", truth.gain_factor, "true EM gain - 1 over the commanded one - 1"),
        ]
    )


def make_truth(
    camera: str | Camera = "excam",
    seed: int = 0,
    *,
    pattern: float = 12.0,
    hot_share: float = 0.01,
    stages: int = STAGES,
    level: Level = "2a",
    glow: float = 0.0,
) -> Truth:
    """Make up a detector.

    F is a sum of smooth waves, column stripes and single pixels, of both signs. C
    scatters by 10 % around the camera's figure. D follows a gamma law of shape 4
    (relative scatter 50 %) whose mean is the camera's figure; hot pixels have 0.01 to
    1 electron per second, evenly in the logarithm.

    Parameters
    ----------
    camera : str or Camera
        The camera or its name.
    seed : int
        The same seed gives the same detector.
    pattern : float
        Root mean square of F, EM electrons.
    hot_share : float
        Share of the imaging area that is hot.
    stages : int
        Stages of the gain register.
    level : {"1", "2a"}
        Of the frames. At level 1, C is 0 in prescan and overscan, which hold no charge, and F is
        as it remains when the bias of each row is subtracted. Cameras whose frames have no ERR
        and DQ are raw in any case, and their truth is the same at both.
    glow : float
        Electrons per pixel and second that D gets more in the last corner of the imaging area:
        the square of a slope from the first one.

    Returns
    -------
    Truth

    Raises
    ------
    InputError
        The camera is unknown, or its file leaves open what to simulate; the seed is not a
        whole number from 0 to 2^63 - 1; level 1 of a camera without prescan.
    """
    chosen = load_camera(camera)
    check_simulable(chosen)
    rng = generator(seed, 0)
    maps = (
        _pattern(chosen, pattern, rng),
        _clock_induced_charge(chosen, rng),
        _dark_current(chosen, hot_share, rng) + _glow(chosen, glow),
    )
    noise = chosen.noise
    _as_read(maps[0], chosen)
    for values in maps:
        values[telemetry_rows(chosen)] = 0.0
    made = Truth(chosen, *maps, noise.read_noise, noise.k_gain, seed, stages)
    return as_read_at(made, level)


def as_read_at(truth: Truth, level: Level) -> Truth:
    """The detector as frames of a level show it; one that was made for level 1 stays as it is."""
    camera = truth.camera
    if level != "1" or not camera.frames.err_and_dq:
        return truth
    maps = truth.fixed_pattern.copy(), truth.clock_induced_charge.copy()
    _as_raw(*maps, camera)
    for values in maps:
        values[telemetry_rows(camera)] = 0.0
    return replace(truth, fixed_pattern=maps[0], clock_induced_charge=maps[1])


def check_simulable(camera: Camera) -> None:
    """Refuse a camera whose file leaves open what its frames are like.

    Reading frames needs no figure of noise, nor a mode; making some up does.

    Raises
    ------
    InputError
        It has modes and none is chosen, or a figure is not known.
    """
    unknown = camera.noise.unknown
    chosen = camera.simulation.mode
    if camera.modes and not chosen and ("modes" in camera.sensitivity or unknown):
        known = "; ".join(mode.name for mode in camera.modes)
        raise InputError(
            f"camera {camera.name}: nothing says in which mode to simulate it; give one "
            f"(mode, --mode), or name it in the camera file ([simulation] mode = ...): {known}"
        )
    if unknown:
        where = f"[noise], or k_gain in mode {chosen!r}" if chosen else "[noise]"
        raise InputError(
            f"camera {camera.name}: noise.{unknown[0]} is not known, and frames cannot be "
            f"simulated without; give it in {where}"
        )


def generator(seed: int, *key: int) -> np.random.Generator:
    """Source of chance for one thing: (0) the detector, (1, stack, frame) a frame.

    It depends on seed and key alone, hence a frame is the same whatever else is made.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"seed {seed} is not a whole number from 0 to 2^63 - 1")
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


def _pattern(camera: Camera, rms: float, rng: np.random.Generator) -> Map:
    shape = rows, cols = frame_shape(camera.arrtype, camera.regions)
    row, col = np.ogrid[0 : 2 * math.pi : rows * 1j, 0 : 2 * math.pi : cols * 1j]
    waves = np.zeros(shape, dtype=np.float32)
    for vertical, horizontal in ((1, 0), (0, 2), (2, 1), (3, 4)):
        phase = rng.uniform(0, 2 * math.pi)
        waves += np.cos(vertical * row + horizontal * col + phase).astype(np.float32)
    waves *= math.sqrt(_WAVES) / waves.std()
    stripes = math.sqrt(_STRIPES) * rng.standard_normal(cols, dtype=np.float32)
    pixels = math.sqrt(_PIXELS) * rng.standard_normal(shape, dtype=np.float32)
    pattern: Map = np.float32(rms) * (waves + stripes + pixels)
    return pattern


def _clock_induced_charge(camera: Camera, rng: np.random.Generator) -> Map:
    shape = frame_shape(camera.arrtype, camera.regions)
    relative = 1.0 + 0.1 * rng.standard_normal(shape, dtype=np.float32)
    # Five sigma: C stays a charge.
    return (camera.noise.clock_induced_charge * relative.clip(0.5, 1.5)).astype(np.float32)


def _dark_current(camera: Camera, hot_share: float, rng: np.random.Generator) -> Map:
    area = _imaging_area(camera)
    level = camera.noise.dark_current
    values = level / 4.0 * rng.standard_gamma(4.0, int(area.sum()))
    hot = rng.choice(values.size, round(hot_share * values.size), replace=False)
    values[hot] = 10.0 ** rng.uniform(-2.0, 0.0, hot.size)
    dark = np.zeros(area.shape, dtype=np.float32)
    dark[area] = values
    return dark


def _glow(camera: Camera, height: float) -> Map:
    rows, cols, (row0, col0) = imaging_area_geom(camera.arrtype, camera.regions)
    row, col = np.ogrid[0 : 1 : rows * 1j, 0 : 1 : cols * 1j]
    glow = np.zeros(frame_shape(camera.arrtype, camera.regions), dtype=np.float32)
    glow[row0 : row0 + rows, col0 : col0 + cols] = height * ((row + col) / 2) ** 2
    return glow


def load_truth(path: str | os.PathLike[str], camera: str | Camera | None = None) -> Truth:
    """Read a file that `Truth.save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file (``truth.fits`` of a campaign).
    camera : str or Camera, optional
        The camera; by default the one that the file names.

    Returns
    -------
    Truth

    Raises
    ------
    InputError
        The file cannot be read or is no truth, or its camera is unknown or another one.
    """
    layout = scan_file(path)
    header = layout.primary
    if header.get("DATATYPE") != "Truth":
        raise InputError(f"{layout.path}: is not the truth of a simulation")
    chosen = load_camera(camera or str(header["CAMERA"]))
    if ascii_text(chosen.name) != header["CAMERA"]:
        raise InputError(
            f"{layout.path}: is a detector of camera {header['CAMERA']}, not of {chosen.name}"
        )
    with open_whole(layout) as hdus:
        pattern, charge, dark = (np.array(hdus[name].data, dtype=np.float32) for name in _MAPS)
    return Truth(
        camera=chosen,
        fixed_pattern=pattern,
        clock_induced_charge=charge,
        dark_current=dark,
        read_noise=float(header["RN"]),
        k_gain=float(header["KGAINPAR"]),
        seed=int(header["SIMSEED"]),
        stages=int(header["STAGES"]),
        gain_factor=float(header.get("GAINFAC", 1.0)),
    )
