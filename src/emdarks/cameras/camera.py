"""A camera: what its frames and headers mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emdarks.cameras.record import FrameRecord, Unit
from emdarks.detector import Regions
from emdarks.errors import InputError, MissingKeywordError

__all__ = ["Camera", "HeaderRules", "Keywords", "NoiseFigures"]

Headers = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Keywords:
    """Names of the header keywords.

    Attributes
    ----------
    exposure_time, commanded_gain, k_gain : str
        Seconds, EM gain asked for, electrons per DN. Needed in every frame.
    better_gains : tuple of str
        EM gains to be preferred to the commanded one where they are above 0, best first.
    unit, temperature, start, camera : str
        Unit of the pixels; degrees Celsius; MJD; name of the camera. Optional.
    """

    exposure_time: str = "EXPTIME"
    commanded_gain: str = "EMGAIN_C"
    k_gain: str = "KGAINPAR"
    better_gains: tuple[str, ...] = ("EMGAIN_M", "EMGAIN_A")
    unit: str = "BUNIT"
    temperature: str = "EXCAMT"
    start: str = "MJDSRT"
    camera: str = "CAMERA"


@dataclass(frozen=True)
class NoiseFigures:
    """Typical noise of the camera, for simulation and planning.

    Attributes
    ----------
    k_gain : float
        Electrons per DN.
    read_noise : float
        Electrons, after the gain register.
    clock_induced_charge : float
        Electrons per pixel and frame.
    dark_current : float
        Electrons per pixel and second.
    full_well_image, full_well_register : float
        Electrons.
    """

    k_gain: float
    read_noise: float
    clock_induced_charge: float
    dark_current: float
    full_well_image: float = math.inf
    full_well_register: float = math.inf


@dataclass(frozen=True)
class HeaderRules:
    """How the headers of many frames become that of one product.

    Attributes
    ----------
    first, last : tuple of str
        Value of the earliest, of the latest frame.
    averaged : tuple of str
        Mean over the frames.
    deleted : tuple of str
        Left out.
    any_true : tuple of str
        1 where any frame has it set, else 0.
    calculated : tuple of str
        Set anew for the product.
    invalid : tuple of str
        Say nothing about a product of many frames: become -999 of their type.
    invalid_in_maps, kept_in_darks : tuple of str
        Added to ``invalid`` for noise maps; taken out of it for darks.
    """

    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    averaged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    any_true: tuple[str, ...] = ()
    calculated: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()
    invalid_in_maps: tuple[str, ...] = ()
    kept_in_darks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Camera:
    """Geometry, keyword names, units and noise figures of one camera.

    Attributes
    ----------
    name : str
        As in ``--camera`` and in the CAMERA card.
    description : str
        One line.
    arrtype : str
        Array type of its dark frames, a key of ``geometry``.
    geometry : mapping
        As `emdarks.detector.detector_areas`.
    telemetry_rows : tuple of (int or None)
        Start and stop (as of a slice) of the rows without signal; start None means none.
    noise : NoiseFigures
        Typical figures.
    keywords : Keywords
        Header keywords.
    units : mapping of str to Unit
        How this camera's headers spell units, in lower case.
    headers : HeaderRules
        How headers are merged.
    """

    name: str
    description: str
    arrtype: str
    geometry: dict[str, dict[str, Any]]
    noise: NoiseFigures
    telemetry_rows: tuple[int | None, int | None] = (None, None)
    keywords: Keywords = field(default_factory=Keywords)
    units: dict[str, Unit] = field(default_factory=dict)
    headers: HeaderRules = field(default_factory=HeaderRules)

    @property
    def regions(self) -> Regions:
        """Geometry as the public functions take it."""
        return self.geometry

    def record(self, name: str, shape: tuple[int, int], headers: Headers) -> FrameRecord:
        """Turn the headers of a frame into a record.

        Parameters
        ----------
        name : str
            The frame, for messages.
        shape : tuple of int
            Rows and columns.
        headers : tuple of mappings
            Searched in this order: image header, primary header.

        Returns
        -------
        FrameRecord

        Raises
        ------
        MissingKeywordError
            Exposure time, EM gain or k-gain is absent.
        InputError
            One of them is not a finite number.
        """
        key = self.keywords
        unit_text = str(_find(headers, key.unit) or "").strip()
        commanded = _number(name, headers, key.commanded_gain)
        better = (_optional(headers, keyword) for keyword in key.better_gains)
        return FrameRecord(
            name=name,
            shape=shape,
            exposure_time=_number(name, headers, key.exposure_time),
            commanded_gain=commanded,
            em_gain=next((gain for gain in better if gain > 0), commanded),
            k_gain=_number(name, headers, key.k_gain),
            unit=self.units.get(unit_text.lower(), Unit.UNKNOWN),
            unit_text=unit_text,
            start=_optional(headers, key.start),
            temperature=_optional(headers, key.temperature),
        )


def _find(headers: Headers, keyword: str) -> Any:
    return next((header[keyword] for header in headers if keyword in header), None)


def _as_number(value: Any) -> float:
    if isinstance(value, (bool, str)) or value is None:
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _optional(headers: Headers, keyword: str) -> float:
    return _as_number(_find(headers, keyword))


def _number(name: str, headers: Headers, keyword: str) -> float:
    value = _find(headers, keyword)
    if value is None:
        raise MissingKeywordError(
            f"{name}: the header has no {keyword}; add it, or choose the camera these frames "
            "come from"
        )
    number = _as_number(value)
    if not math.isfinite(number):
        raise InputError(f"{name}: {keyword} is {value!r}, which is not a finite number")
    return number
