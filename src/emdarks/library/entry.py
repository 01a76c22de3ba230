"""What a library keeps of a product: what choosing needs, and what its numbers are."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.arguments import is_number
from emdarks.cameras import BUILTIN, Camera, load_camera, read_settings, read_temperature
from emdarks.cameras.units import text_of
from emdarks.checks.counting_summary import CountingSummary
from emdarks.checks.finding import Finding, worst_first
from emdarks.checks.product_summary import BadPixelView, DarkView, MapsView, ProductView
from emdarks.checks.products import chi2_values
from emdarks.checks.registry import BAD_PIXEL_MAP, DARK, NOISE_MAPS, find
from emdarks.checks.stack_table import Stacks
from emdarks.errors import EmdarksError, InputError, NoImageError
from emdarks.fits import Cards, ascii_text, fits, scan_file
from emdarks.fits.layout import read_small
from emdarks.frames.calibration_files import read_k_gain, read_nonlinearity
from emdarks.frames.unknown_camera import has_keywords_of
from emdarks.products import BadPixelMap, Dark, DetectorNoiseMaps, load_product
from emdarks.products.header import NOT_SUPPLIED
from emdarks.products.model import model_of
from emdarks.products.provenance import frames_combined, mjd_of
from emdarks.products.synthesis import Maps
from emdarks.stacks import k_gains_used
from emdarks.stacks.compatibility import readout_text

Array = npt.NDArray[Any]
Headers = tuple[Mapping[str, Any], Mapping[str, Any]]
_ABSOLUTE_ZERO = -273.15


class Kind(StrEnum):
    """Kinds of products, as the command line spells them."""

    NOISE_MAPS = "noise-maps"
    DARK = "dark"
    COUNTED_DARK = "counted-dark"
    BAD_PIXEL_MAP = "bad-pixel-map"
    NONLINEARITY = "nonlinearity"
    K_GAIN = "k-gain"
    DETECTOR_PARAMS = "detector-params"

    @property
    def words(self) -> str:
        """In words."""
        return _WORDS.get(self, self.value.replace("-", " "))


_WORDS = {
    Kind.COUNTED_DARK: "photon-counted dark",
    Kind.BAD_PIXEL_MAP: "bad-pixel map",
    Kind.NONLINEARITY: "nonlinearity table",
    Kind.K_GAIN: "k-gain",
    Kind.DETECTOR_PARAMS: "detector parameters",
}
#: DATATYPE cards, as the Coronagraph's pipeline writes them, too.
KINDS = {
    "DetectorNoiseMaps": Kind.NOISE_MAPS,
    "Dark": Kind.DARK,
    "BadPixelMap": Kind.BAD_PIXEL_MAP,
    "NonLinearityCalibration": Kind.NONLINEARITY,
    "KGain": Kind.K_GAIN,
    "DetectorParams": Kind.DETECTOR_PARAMS,
}


class Number(NamedTuple):
    """A number of a product, for trends.

    Attributes
    ----------
    value, error : float
        With its standard error; NaN where that is not known.
    unit : str
        Of both.
    """

    value: float
    error: float = math.nan
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Covariance:
    """Medians over the imaging pixels of variances and covariances of F, C and D.

    A dark has the median of its variance in ``cc`` and 0 elsewhere: its error is the same
    whatever is asked for.

    Attributes
    ----------
    ff, cc, dd, fc, fd, cd : float
        EM electrons squared; electrons squared; (electrons per second) squared; their products.
    """

    ff: float = 0.0
    cc: float = 0.0
    dd: float = 0.0
    fc: float = 0.0
    fd: float = 0.0
    cd: float = 0.0

    def error(self, gain: float, time: float) -> float:
        """Predicted error of the dark of a typical pixel, detected electrons.

        Method page, eq. 12 (darkerr), with medians in the place of a pixel's own numbers.

        Parameters
        ----------
        gain : float
            EM gain.
        time : float
            Exposure time, s.
        """
        variance = self.ff / gain**2 + self.cc + time**2 * self.dd
        variance += 2.0 * ((self.fc + time * self.fd) / gain + time * self.cd)
        return math.sqrt(max(variance, 0.0))


@dataclass(frozen=True, slots=True)
class Entry:
    """A product of a library.

    Attributes
    ----------
    id : int
        Its number in the library; 0 where it is in none.
    path : str
        Its file, relative to the folder of the library, with slashes.
    size : int
        Bytes.
    sha256 : str
        Of the whole file.
    kind : Kind
        What it is.
    camera : str
        Whose frames it is for; empty where nothing says it.
    settings : str or None
        Readout settings, ``name=value; name=value``, orientation among them; None where nothing
        says them.
    level, bias : str
        Processing level of its frames, and what reading subtracted from them; empty where
        nothing says it.
    rows, columns : int
        Shape; 0 of a table or a number.
    model : str
        Of noise maps: full, one-gain or one-time.
    gain, exposure_time : float
        EM gain as commanded and exposure time (s) of a dark, or those that all stacks of two
        maps had in common; NaN where the product has any.
    lowest_gain, highest_gain, longest_time : float
        Of the stacks of noise maps; NaN where they are not known.
    threshold : float
        Of a photon-counted dark, EM electrons.
    k_gain : float
        Electrons per DN that a dark, or a k-gain file, is of.
    k_gains_used : tuple of float
        Those that frames in DN were multiplied by.
    temperature : float
        Degrees Celsius.
    begin, end : float
        First and last observation time of its inputs, MJD.
    covariance : Covariance or None
        Of noise maps and darks.
    frames : float
        Frames that were combined.
    version : str
        Software that made it.
    made, added : str
        When it was made, and added to the library, UTC.
    valid_from, valid_to : float
        Validity, MJD, where it is certified; NaN leaves a side open.
    certified : bool
        Whether somebody said when it is valid.
    rejected : str
        Why it is not to be used; empty where it is.
    numbers : mapping of str to Number
        For trends: means of F, C, D, hot pixels, read noise, gains, chi-square, bias offset.
    """

    path: str
    size: int
    sha256: str
    kind: Kind
    camera: str
    settings: str | None = None
    level: str = ""
    bias: str = ""
    rows: int = 0
    columns: int = 0
    model: str = ""
    gain: float = math.nan
    exposure_time: float = math.nan
    lowest_gain: float = math.nan
    highest_gain: float = math.nan
    longest_time: float = math.nan
    threshold: float = math.nan
    k_gain: float = math.nan
    k_gains_used: tuple[float, ...] = ()
    temperature: float = math.nan
    begin: float = math.nan
    end: float = math.nan
    covariance: Covariance | None = None
    frames: float = math.nan
    version: str = ""
    made: str = ""
    id: int = 0
    added: str = ""
    valid_from: float = math.nan
    valid_to: float = math.nan
    certified: bool = False
    rejected: str = ""
    numbers: Mapping[str, Number] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """File name."""
        return self.path.rpartition("/")[2]

    def predicted_error(self, gain: float, time: float) -> float:
        """Error of the dark of a typical pixel at a gain and time, electrons; NaN if unknown."""
        return math.nan if self.covariance is None else self.covariance.error(gain, time)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def describe(
    path: str | os.PathLike[str], camera: str | Camera | None = None
) -> tuple[Entry, list[Finding]]:
    """Open a product with all its checks, and take down what a library keeps of it.

    Parameters
    ----------
    path : str or path-like
        The file.
    camera : str or Camera, optional
        Whose product it is, where its CAMERA card does not say it.

    Returns
    -------
    Entry
        Its path is the one given.
    list of Finding
        What the checks of such products say, the worst first.

    Raises
    ------
    InputError
        The file cannot be read, is no product that a library keeps, or belongs to another
        camera than the one that is named.
    """
    # First, so that a file that changes while it is opened does not look unchanged later.
    digest, size = sha256_of(path), Path(path).stat().st_size
    headers = headers_of_product(path)
    datatype = headers[0].get("DATATYPE", headers[1].get("DATATYPE"))
    if str(datatype) not in KINDS:
        raise InputError(
            f"{os.fspath(path)}: is no product that a library keeps (DATATYPE is {datatype!r}); "
            f"it keeps: {', '.join(kind.words for kind in Kind)}"
        )
    kind = KINDS[str(datatype)]
    name = _camera_name(path, headers, camera)
    known = _known_camera(name, camera)
    details, findings = _READERS.get(kind, _of_product)(path, known)
    common = _common(headers, name, known)
    made = {"kind": kind, "path": os.fspath(path), "size": size, "sha256": digest}
    return Entry(**(common | made | details)), worst_first(findings)


def headers_of_product(path: str | os.PathLike[str]) -> Headers:
    """Image header and primary header of a product, also of a number or a table."""
    try:
        layout = scan_file(path)
    except NoImageError:  # of a number or a table
        return read_small(path).cards, Cards.from_header(fits.getheader(path))
    return layout.image.cards, layout.primary


def _camera_name(path: Any, headers: Headers, camera: str | Camera | None) -> str:
    own = next((str(header["CAMERA"]) for header in headers if "CAMERA" in header), "")
    given = "" if camera is None else load_camera(camera).name
    if own and given and own != ascii_text(given):
        raise InputError(
            f"{os.fspath(path)}: comes from camera {own!r}, not {given!r}; leave --camera "
            "(camera=) out"
        )
    if own or given:
        return own or given
    if has_keywords_of(BUILTIN[0], headers):  # as for frames
        return BUILTIN[0]
    raise InputError(
        f"{os.fspath(path)}: does not say of which camera it is; give --camera (camera=)"
    )


def _known_camera(name: str, camera: str | Camera | None) -> Camera | None:
    """The camera, where it is built in or its file is given."""
    return load_camera(camera or name) if camera is not None or name in BUILTIN else None


# What all products say


def _common(headers: Headers, name: str, camera: Camera | None) -> dict[str, Any]:
    def card(keyword: str, default: Any = None) -> Any:
        found = next((header[keyword] for header in headers if keyword in header), default)
        return default if found is None or found == NOT_SUPPLIED else found

    begin, end = _dates(card)
    made_by = card("CREATOR") or (f"corgidrp {card('DRPVERSN')}" if card("DRPVERSN") else "")
    return {
        "camera": name,
        "settings": _settings(headers, camera),
        "level": str(card("FRAMELVL", "")),
        "bias": str(card("BIASSUB", "")),
        "temperature": _temperature(headers, camera),
        "begin": begin,
        "end": end,
        "frames": frames_combined(headers[0]),
        "version": str(made_by),
        "made": str(card("DRPCTIME", "")),
    }


def _dates(card: Callable[..., Any]) -> tuple[float, float]:
    """First and last observation time, MJD; of one alone, it is both."""
    begin, end = (
        next((mjd for key in keys if not math.isnan(mjd := mjd_of(card(key)))), math.nan)
        for keys in (("DATE-BEG", "MJDSRT"), ("DATE-END", "MJDEND"))
    )
    begin = end if math.isnan(begin) else begin
    return begin, begin if math.isnan(end) else max(begin, end)


def _settings(headers: Headers, camera: Camera | None) -> str | None:
    own = headers[0].get("READOUT")
    if own is not None:
        return str(own)
    if camera is None:
        return None
    try:
        found = read_settings(camera, "a product", headers)
    except EmdarksError:
        return None
    if any(value is None for value in found.values()):
        return None
    return readout_text(tuple((name, text_of(value)) for name, value in found.items()))


def _temperature(headers: Headers, camera: Camera | None) -> float:
    if camera is None:
        return math.nan
    found = read_temperature(camera, headers)
    return found if found > _ABSOLUTE_ZERO else math.nan


# What single kinds say


def _of_table(path: Any, camera: Camera | None) -> tuple[dict[str, Any], list[Finding]]:
    read_nonlinearity(path)
    return {}, []


def _of_k_gain(path: Any, camera: Camera | None) -> tuple[dict[str, Any], list[Finding]]:
    found = read_k_gain(path)
    numbers = {"k_gain": Number(found.value, found.error, "e-/DN")}
    if found.read_noise is not None:
        error = math.nan if found.read_noise_error is None else found.read_noise_error
        numbers["read_noise"] = Number(found.read_noise, error, "e-")
    return {"k_gain": found.value, "numbers": numbers}, []


_READERS = {Kind.NONLINEARITY: _of_table, Kind.K_GAIN: _of_k_gain}


def _of_product(path: Any, camera: Camera | None) -> tuple[dict[str, Any], list[Finding]]:
    product = load_product(path)
    if isinstance(product, DetectorNoiseMaps):
        return _of_maps(product, camera)
    if isinstance(product, Dark):
        return _of_dark(product, camera)
    if isinstance(product, BadPixelMap):
        return _of_bad_pixels(product)
    return {}, []


def _of_maps(product: DetectorNoiseMaps, camera: Camera | None) -> tuple[Any, list[Finding]]:
    view = MapsView(product, camera)
    details = {
        **_shape(product),
        **_settings_of_maps(product.ext_hdr, view),
        "k_gains_used": k_gains_used(product),
        "covariance": _covariance(view.maps_of_area(), view.good),
        "numbers": dict(_numbers_of_maps(view)),
    }
    return details, find(NOISE_MAPS, view)


def _shape(product: Any) -> dict[str, int]:
    rows, columns = product.data.shape[-2:]
    return {"rows": int(rows), "columns": int(columns)}


def _settings_of_maps(header: Any, view: MapsView) -> dict[str, Any]:
    """Which darks the maps can make, and between which stacks."""
    model, stacks = model_of(header), view.stacks
    details: dict[str, Any] = {"model": model}
    if model == "one-gain":
        details["gain"] = float(header["MAPGAIN"])
    elif model == "one-time":
        details["exposure_time"] = float(header["MAPTIME"])
    if stacks is not None and len(stacks):
        details["lowest_gain"] = float(stacks.gain.min())
        details["highest_gain"] = float(stacks.gain.max())
        details["longest_time"] = float(stacks.time.max())
    return details


def _covariance(planes: Maps, good: Array) -> Covariance | None:
    """Medians over the good pixels."""
    if not good.any():
        return None
    errors = np.nan_to_num(planes.errors[:, good])
    if not errors.any():  # not known
        return None
    pairs = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
    products = [errors[a] * errors[b] for a, b in pairs]
    if planes.correlations is not None:
        correlations = np.nan_to_num(planes.correlations[:, good])
    else:
        correlations = np.zeros_like(errors)
    products[3:] = [r * s for r, s in zip(correlations, products[3:], strict=True)]
    return Covariance(*(float(np.median(values)) for values in products))


def _numbers_of_maps(view: MapsView) -> Iterator[tuple[str, Number]]:
    for plane in view.planes:
        found = view.statistics(plane)
        name = _PLANES.get(plane.key, plane.key)
        yield name, Number(found.mean, found.mean_error, plane.base_unit)
    yield "hot_pixels", _hot(view)
    offset = view.number_in("B_O"), view.number_in("B_O_ERR"), "DN"
    yield "bias_offset", Number(*offset)
    chi2 = chi2_values(view)
    if chi2 is not None and chi2.size > 1:
        yield "chi_square", Number(float(chi2.mean()), float(chi2.std() / math.sqrt(chi2.size)))
    if view.stacks is not None and view.stacks.tells_read_noise.any():
        yield "read_noise", _read_noise(view.stacks, int(view.good.sum()))
    counted = CountingSummary.of(view.product)
    for gain in () if counted is None else counted.gains:
        yield f"gain_{gain.commanded:g}", Number(gain.gain, gain.error)


#: Names of numbers by the keys of planes.
_PLANES = {"F": "mean_f", "L": "mean_l", "C": "mean_c", "C + t D": "mean_c_t_d", "D": "mean_d"}


def _hot(view: ProductView) -> Number:
    hot = float(view.hot.sum())
    return Number(hot, math.sqrt(max(hot, 1.0)), "pixels")


def _read_noise(stacks: Stacks, pixels: int) -> Number:
    """Mean of the stacks that tell it; the error is that of a scatter of so many samples.

    The scatter between two or three stacks would be too small by chance now and then.
    """
    tells = stacks.tells_read_noise
    noise = stacks.read_noise[tells]
    samples = pixels * np.maximum(stacks.good[tells] - 1, 0)
    if not samples.all():
        return Number(float(noise.mean()), math.nan, "EM e⁻")
    error = math.sqrt(float((noise**2 / (2 * samples)).sum())) / noise.size
    return Number(float(noise.mean()), error, "EM e⁻")


def _of_dark(product: Dark, camera: Camera | None) -> tuple[Any, list[Finding]]:
    header = product.ext_hdr
    view = DarkView(product, camera)
    plane = view.planes[0]
    found, errors = view.statistics(plane), plane.errors[view.area][view.good]
    numbers = {
        "mean": Number(found.mean, found.mean_error, plane.base_unit),
        "hot_pixels": _hot(view),
    }
    details: dict[str, Any] = {
        **_shape(product),
        "gain": _number(header, "EMGAIN_C"),
        "exposure_time": _number(header, "EXPTIME"),
        "k_gain": _number(header, "KGAINPAR"),
        "k_gains_used": k_gains_used(product),
        "numbers": numbers,
    }
    if product.photon_counted:
        numbers |= _numbers_of_counts(view)
        T = product.threshold
        details |= {"kind": Kind.COUNTED_DARK, "threshold": math.nan if T is None else T}
    return details | _error_of_dark(errors), find(DARK, view)


def _numbers_of_counts(view: DarkView) -> Iterator[tuple[str, Number]]:
    """Those that only photon-counted darks have; the law's have no error of their own."""
    measured = view.number_in("PCPRESC"), view.number_in("PCPRESE"), "counts/frame"
    if math.isfinite(measured[0]):
        yield "prescan_counts", Number(*measured)
    if view.law is not None:
        yield "false_counts", Number(view.law.false_counts(), unit="counts/frame")
        yield "read_noise_used", Number(view.law.read_noise, unit="EM e⁻")


def _error_of_dark(errors: Array) -> dict[str, Any]:
    """The typical error; an error of 0 is one that nobody knows."""
    typical = float(np.median(errors)) if errors.size else math.nan
    return {"covariance": Covariance(cc=typical**2)} if typical > 0 else {}


def _number(header: Any, keyword: str) -> float:
    value = header.get(keyword)
    return float(value) if is_number(value) and value != NOT_SUPPLIED else math.nan


def _of_bad_pixels(product: BadPixelMap) -> tuple[Any, list[Finding]]:
    view = BadPixelView(product)
    bad = float(np.count_nonzero(product.bad))
    numbers = {"bad_pixels": Number(bad, math.sqrt(max(bad, 1.0)), "pixels")}
    return {**_shape(product), "numbers": numbers}, find(BAD_PIXEL_MAP, view)
