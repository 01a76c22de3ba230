"""A dark for any gain and time, from the three maps.

Method page, eq. 11 (dark) and eq. 12 (darkerr):

    master dark = F/g + C + t D, in detected electrons, with the error

    var = (s_F/g)^2 + s_C^2 + (t s_D)^2
          + 2 [ r_FC s_F s_C + r_FD s_F t s_D ] / g + 2 r_CD s_C t s_D

where r are the correlations between the fitted parameters of a pixel: they
come from one fit, and leaving them out overstates the error by up to 1.5 times.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from emdarks.arguments import is_number
from emdarks.cameras import NoiseFigures, camera_of_product
from emdarks.errors import EmdarksWarning, InputError, InputTypeError
from emdarks.fits import astropy_fits as fits
from emdarks.one_electron import check_stages
from emdarks.photon_counts import LEAST_RATE, MOST_RATE, CountLaw
from emdarks.products.dark import PHOTON_COUNTED, Dark, expected_hdus, write_law
from emdarks.products.header import drop_map_cards, stamp
from emdarks.products.model import absent_planes, check_setting, dark_formula
from emdarks.products.provenance import name_inputs
from emdarks.stacks.group import MOST_GAIN, MOST_TIME

Array = npt.NDArray[Any]

#: Factor beyond the gains, and beyond the longest time, of the maps from which on it is said.
_GAIN_BEYOND, _TIME_BEYOND = 1.1, 2.0
#: Share of the samples that read noise may lift above a threshold: 2.6 read noises.
_MOST_FALSE = 0.005


@dataclass(frozen=True, slots=True)
class Maps:
    """Planes to make darks from.

    Attributes
    ----------
    values, errors : ndarray, shape (3, rows, columns)
        F (EM electrons), C (electrons per frame), D (electrons per second).
    correlations : ndarray, shape (3, rows, columns), or None
        F-C, F-D, C-D; None stands for 0.
    dq : ndarray of unsigned integers, shape (3, rows, columns)
        Flags.
    """

    values: Array
    errors: Array
    correlations: Array | None
    dq: Array

    def cut(self, section: tuple[slice, slice]) -> Maps:
        """The same planes in a part of the frame."""
        part = (slice(None), *section)
        corr = None if self.correlations is None else self.correlations[part]
        return Maps(self.values[part], self.errors[part], corr, self.dq[part])


def check_signs(values: Array, name: str = "") -> None:
    """Refuse published maps, shape (3, ...), with negative C or D.

    Parameters
    ----------
    values : ndarray, shape (3, ...)
        F, C and D.
    name : str
        The maps' file, for the message.

    Raises
    ------
    InputTypeError
        A value is negative (NaN passes).
    """
    for key, plane in (("C", values[1]), ("D", values[2])):
        if (plane < 0).any():
            raise InputTypeError(
                f"{name or 'noise maps'}: the published map of {key} has negative values, so no "
                "dark can be made of it; are its planes F, C and D, in this order?"
            )


def synthesize_arrays(maps: Maps, gain: float, exposure_time: float) -> tuple[Array, Array, Array]:
    """Data, err and dq of a synthesised dark, each of shape (rows, columns).

    Parameters
    ----------
    maps : Maps
        The planes.
    gain : float
        EM gain, at least 1.
    exposure_time : float
        Seconds.

    Raises
    ------
    InputError
        Gain or time is one that no frame has.
    """
    if not (
        is_number(gain)
        and is_number(exposure_time)
        and 1 <= gain <= MOST_GAIN
        and 0 <= exposure_time <= MOST_TIME
    ):
        raise InputError(
            f"a dark for EM gain {gain} and {exposure_time} s cannot be made: give a gain "
            f"from 1 to {MOST_GAIN:g} and a time from 0 to {MOST_TIME:g} s"
        )
    weights = np.array([1.0 / gain, 1.0, exposure_time])
    data = np.einsum("k,krc->rc", weights, maps.values)
    return data, _error(maps, weights[:, None, None]), np.bitwise_or.reduce(maps.dq, axis=0)


def _error(maps: Maps, weights: Array) -> Array:
    """Error of a combination of F, C and D with these weights, shape (3, 1, 1) or of the maps."""
    scaled = weights * maps.errors
    variance = np.einsum("krc,krc->rc", scaled, scaled)
    if maps.correlations is not None:
        pairs = ((0, 1), (0, 2), (1, 2))
        for correlation, (a, b) in zip(maps.correlations, pairs, strict=True):
            variance += 2.0 * correlation * scaled[a] * scaled[b]
    # Rounding may leave a tiny negative variance where two errors cancel.
    error: Array = np.sqrt(np.maximum(variance, 0.0))
    return error


@dataclass(frozen=True, slots=True)
class ExpectedCounts:
    """What frames that are counted show of the maps: method page, eq. 28 (expected).

    Attributes
    ----------
    rate, rate_error : ndarray, shape (rows, columns)
        Electrons a frame as `emdarks.build_photon_counted_dark` measures them, which does not
        know the F of a pixel.
    counts, counts_error : ndarray, shape (rows, columns)
        Mean number of counts of a pixel in a frame, false ones included.
    """

    rate: Array
    rate_error: Array
    counts: Array
    counts_error: Array

    @classmethod
    def of(cls, maps: Maps, exposure_time: float, law: CountLaw) -> Self:
        """Of frames of an exposure time, with errors from the covariance of F, C and D.

        Parameters
        ----------
        maps : Maps
            The planes.
        exposure_time : float
            Seconds.
        law : CountLaw
            Threshold, EM gain and read noise.
        """
        F, C, D = maps.values
        charge = np.clip(C + exposure_time * D, LEAST_RATE, MOST_RATE)
        counts, by_rate, by_level = law.statistics(charge, F)
        moved = np.stack([by_level, by_rate, by_rate * exposure_time])
        counts_error = _error(maps, moved)
        rate = law.rate(counts)
        known = np.isfinite(rate) & (C + exposure_time * D < MOST_RATE)
        slope = law.statistics(np.where(known, rate, 0.0))[1]
        rate[~known] = np.nan
        return cls(rate, np.where(known, counts_error / slope, np.nan), counts, counts_error)


@dataclass(frozen=True, slots=True)
class DarkSetting:
    """What a synthesised dark is for.

    Attributes
    ----------
    gain, commanded_gain : float
        EM gain to compute with, and the one asked for, by which darks are matched.
    exposure_time : float
        Seconds.
    k_gain : float
        Electrons per DN, by which darks are matched, too.
    """

    gain: float
    commanded_gain: float
    exposure_time: float
    k_gain: float


def beyond_measured(noisemaps: Any, gain: float, exposure_time: float) -> str:
    """What a dark is made for that no stack of the maps comes near to, in words; else empty.

    Parameters
    ----------
    noisemaps : DetectorNoiseMaps
        Its table STACKS says what was measured; without one nothing is said.
    gain : float
        EM gain.
    exposure_time : float
        Seconds.
    """
    table = noisemaps.table("STACKS")
    if table is None or not len(table):
        return ""
    gains = np.asarray(table["EMGAIN"], dtype=float)
    longest = float(np.max(table["EXPTIME"]))
    return beyond_stacks(gain, exposure_time, float(gains.min()), float(gains.max()), longest)


def beyond_stacks(
    gain: float, exposure_time: float, lowest: float, highest: float, longest: float
) -> str:
    """What of a gain and time is far outside those of stacks, in words; else empty.

    Parameters
    ----------
    gain, exposure_time : float
        Of a dark; s.
    lowest, highest : float
        EM gains of the stacks; NaN where they are not known.
    longest : float
        Their longest time, s.
    """
    found = []
    if gain < lowest / _GAIN_BEYOND or gain > highest * _GAIN_BEYOND:
        found.append(
            f"EM gain {gain:g} is outside the gains of the maps, {lowest:g} to {highest:g}"
        )
    if exposure_time > _TIME_BEYOND * longest:
        found.append(
            f"exposure time {exposure_time:g} s is far above the longest of the maps, {longest:g} s"
        )
    return " and ".join(found)


def warn_beyond_measured(name: str, found: Sequence[str], stacklevel: int = 3) -> None:
    """Warn once of darks beyond what was measured, by what `beyond_measured` says of each."""
    new = list(dict.fromkeys(text for text in found if text))
    if new:
        more = f" (and {len(new) - 1} more such darks)" if len(new) > 1 else ""
        warnings.warn(
            f"{name}: {new[0]}{more}: whether the model holds there was not measured; add such "
            "stacks to the maps",
            EmdarksWarning,
            stacklevel=stacklevel,
        )


def count_law(
    noisemaps: Any, gain: float, threshold: float | None, read_noise: float | None
) -> CountLaw | None:
    """The law of counts above a threshold in frames of an EM gain; None without threshold.

    Parameters
    ----------
    noisemaps : DetectorNoiseMaps, or an object like it
        Its header (RN), or its camera, has the read noise where none is given.
    gain : float
        EM gain.
    threshold, read_noise : float or None
        EM electrons.

    Raises
    ------
    InputError
        Both make no sense, no read noise is known, or the maps do not tell C.
    """
    if threshold is None:
        if read_noise is not None:
            raise InputError("read_noise is for photon-counted darks; give threshold, too")
        return None
    for name, value in (("threshold", threshold), ("read_noise", read_noise)):
        if value is not None and not (is_number(value) and value > 0):
            raise InputError(f"{name} is {value!r}; it must be a positive number of EM electrons")
    if absent_planes(noisemaps.ext_hdr)[1]:
        raise InputError(
            "maps of stacks of one EM gain do not tell C, so no counts can be made of them"
        )
    check_threshold(f"a dark of EM gain {gain:g}", threshold, gain)
    noise, stages = _register_of(noisemaps)
    noise = noise if read_noise is None else float(read_noise)
    if not noise > 0:
        raise InputError(
            f"{getattr(noisemaps, 'filename', '') or 'the noise maps'}: neither header (RN) nor "
            "camera tells the read noise, by which counts go; give it (read_noise, emdarks "
            "synthesize --read-noise)"
        )
    check_stages(stages)
    return CountLaw(float(threshold), float(gain), noise, stages)


def check_threshold(subject: str, threshold: float, gain: float) -> None:
    """Refuse a threshold that single electrons do not pass.

    Raises
    ------
    InputError
        It is not below the EM gain.
    """
    if threshold >= gain:
        raise InputError(
            f"{subject}: the threshold of {threshold:.6g} EM electrons is not below the EM gain "
            f"{gain:g}, which is what one electron becomes on average: count frames of higher "
            "gain, or give a lower threshold"
        )


def warn_of_noise(subject: str, law: CountLaw) -> None:
    """Warn of a threshold that read noise passes as often as electrons, as one in DN may be.

    Parameters
    ----------
    subject : str
        What is counted, for the message.
    law : CountLaw
        Threshold and read noise.
    """
    false = law.false_counts()
    if false > _MOST_FALSE:
        warnings.warn(
            f"{subject}: read noise alone lies above {law.threshold:.6g} EM electrons in "
            f"{false:.2g} of the samples ({law.threshold / law.read_noise:.2g} read noises), which "
            "makes rates noisy; 4 to 6 read noises are usual, in EM electrons above the bias "
            "(threshold, --threshold)",
            EmdarksWarning,
            stacklevel=3,
        )


def _register_of(noisemaps: Any) -> tuple[float, float]:
    """Read noise (NaN where unknown) and stages of the register: by the header, else the camera."""
    camera = camera_of_product(noisemaps, unknown_is_none=True)
    figures = NoiseFigures() if camera is None else camera.noise_in("")
    noise, stages = (noisemaps.ext_hdr.get(name) for name in ("RN", "NEMGAIN"))
    return (
        float(noise) if is_number(noise) and noise > 0 else figures.read_noise,
        float(stages) if is_number(stages) and stages > 0 else figures.register_stages,
    )


def dark_from_maps(
    noisemaps: Any, planes: Maps, setting: DarkSetting, which: str, law: CountLaw | None = None
) -> Dark:
    """Make the product.

    Parameters
    ----------
    noisemaps : DetectorNoiseMaps
        Gives the headers; not changed.
    planes : Maps
        Planes to compute from, cut to the region wanted.
    setting : DarkSetting
        What the dark is for.
    which : str
        Which planes these are, for the history.
    law : CountLaw, optional
        For a photon-counted dark.
    """
    name = str(getattr(noisemaps, "filename", "") or "noise maps")
    check_setting(noisemaps.ext_hdr, name, setting.gain, setting.exposure_time)
    data, err, dq = synthesize_arrays(planes, setting.gain, setting.exposure_time)
    hdus: list[Any] = []
    if law is not None:
        warn_of_noise(name, law)
        found = ExpectedCounts.of(planes, setting.exposure_time, law)
        data, err = found.rate, found.rate_error
        hdus = expected_hdus(found.counts, found.counts_error)
    dq = np.where(np.isnan(data), dq | 1, dq).astype(dq.dtype)
    headers = [
        getattr(noisemaps, name).copy() for name in ("pri_hdr", "ext_hdr", "err_hdr", "dq_hdr")
    ]
    pri, ext, err_hdr, dq_hdr = headers
    for header in headers:
        drop_map_cards(header)
    if "DRPNFILE" not in ext:
        name_inputs(ext, [noisemaps.filename] if noisemaps.filename else [], 1)
    ext["DATATYPE"], ext["IS_SYNTH"] = "Dark", 1
    ext["EXPTIME"], ext["KGAINPAR"] = setting.exposure_time, setting.k_gain
    ext["EMGAIN_C"], ext["EMGAIN_A"] = setting.commanded_gain, setting.gain
    _write_electron_step(ext, noisemaps, setting)
    if law is not None:
        ext["PC_STAT"] = PHOTON_COUNTED
        write_law(ext, law)
    stamp(ext)
    dark = Dark(data, pri, ext, None, err, dq, err_hdr, dq_hdr, hdus)
    if law is not None:
        dark.ext_hdr["HISTORY"] = (
            f"Photon-counted: electrons a frame as counts above {law.threshold:.6g} EM electrons "
            f"show them; read noise {law.read_noise:.6g}"
        )
    dark.ext_hdr["HISTORY"] = (
        f"Synthesised from {which} of {noisemaps.filename or 'noise maps'}: "
        f"{dark_formula(noisemaps.ext_hdr)} with "
        f"EM gain used g = {setting.gain}, commanded {setting.commanded_gain}, "
        f"t = {setting.exposure_time} s"
    )
    beyond = beyond_measured(noisemaps, setting.gain, setting.exposure_time)
    if beyond:
        dark.ext_hdr["HISTORY"] = f"Beyond what was measured: {beyond}"
        warn_beyond_measured(noisemaps.filename or "noise maps", [beyond], stacklevel=4)
    dark.named_after(noisemaps.filename)
    return dark


def _write_electron_step(header: fits.Header, noisemaps: Any, setting: DarkSetting) -> None:
    """Say how lumpy the noise of the dark is, where the maps know."""
    weights = np.array([1.0 / setting.gain, 1.0, setting.exposure_time])
    step = noisemaps.electron_step(weights)
    if step is not None:
        header["ONE_ELEC"] = (step, "e-, most that one electron does")
