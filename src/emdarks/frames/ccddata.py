"""To and from `astropy.nddata.CCDData`, which ccdproc and many pipelines work with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.nddata import CCDData, StdDevUncertainty

from emdarks.dq import DQ
from emdarks.errors import InputError
from emdarks.fits import astropy_fits as fits

Array = npt.NDArray[Any]
#: Pixels, errors, flags, header.
Planes = tuple[Array, "Array | None", "Array | None", fits.Header]

_UNITS = {
    "dn": units.adu,
    "adu": units.adu,
    "electron": units.electron,
    "electrons": units.electron,
    "detected electron": units.electron,
    "detected electrons": units.electron,
    "detected em electron": units.electron,
    "detected em electrons": units.electron,
    "photoelectron": units.electron,
    "photoelectrons": units.electron,
}


def unit_of(text: str) -> Any:
    """Astropy's unit for a BUNIT: adu or electron; dimensionless where there is none.

    Parameters
    ----------
    text : str
        The unit, in words of cameras or of astropy.

    Raises
    ------
    InputError
        It is no unit that is known.
    """
    spelled = text.strip()
    if not spelled:
        return units.dimensionless_unscaled
    if spelled.lower() in _UNITS:
        return _UNITS[spelled.lower()]
    try:
        return units.Unit(spelled)
    except ValueError:
        raise InputError(f"{text!r} is no unit that astropy knows; give unit=") from None


def ccddata(data: Array, err: Array, dq: Array, header: fits.Header, unit: Any) -> CCDData:
    """Put a CCDData together, of copies.

    Parameters
    ----------
    data, err, dq : ndarray, all of one shape
        Pixels, 1-sigma errors, flags.
    header : Header
        Becomes ``meta``.
    unit : astropy.units.Unit or str
        Of pixels and errors.
    """
    return CCDData(
        data.copy(),
        uncertainty=StdDevUncertainty(err.copy()),
        mask=dq != 0,
        flags=dq.copy(),
        meta=header.copy(),
        unit=unit,
    )


def planes_of_ccddata(ccd: CCDData) -> Planes:
    """Take a CCDData apart: pixels, errors, flags, header.

    Errors of any kind become 1-sigma errors in the unit of the pixels. A masked pixel without
    a flag gets flag 1. BUNIT is kept where it means the unit of the pixels.

    Raises
    ------
    InputError
        The meta data do not go into a FITS header, or flags are no integers.
    """
    return np.asarray(ccd.data), _errors(ccd), _flags(ccd), _header(ccd)


def _errors(ccd: CCDData) -> Array | None:
    if ccd.uncertainty is None:
        return None
    sigma = ccd.uncertainty.represent_as(StdDevUncertainty)
    if sigma.unit is None or sigma.unit == ccd.unit:
        return np.asarray(sigma.array)
    return np.asarray(units.Quantity(sigma.array, sigma.unit).to_value(ccd.unit))


def _flags(ccd: CCDData) -> Array | None:
    flags = None if ccd.flags is None else np.asarray(ccd.flags)
    if flags is not None and flags.dtype.kind not in "iu":
        raise InputError(f"the flags are {flags.dtype}, not integers")
    if ccd.mask is None or ccd.mask is np.ma.nomask:
        return flags
    masked = np.broadcast_to(np.asarray(ccd.mask, dtype=bool), np.shape(ccd.data))
    if flags is None:
        return masked.astype(np.uint16) * np.uint16(DQ.BAD_UNSPECIFIED)
    return np.where(masked & (flags == 0), flags.dtype.type(DQ.BAD_UNSPECIFIED), flags)


def _header(ccd: CCDData) -> fits.Header:
    try:
        header = (
            ccd.meta.copy() if isinstance(ccd.meta, fits.Header) else fits.Header(dict(ccd.meta))
        )
    except ValueError as error:
        raise InputError(f"the meta data do not go into a FITS header ({error})") from None
    if ccd.wcs is not None:
        header.update(ccd.wcs.to_header())
    try:
        same = unit_of(str(header.get("BUNIT", ""))) == ccd.unit
    except InputError:
        same = False
    if not same:
        header["BUNIT"] = "DN" if ccd.unit == units.adu else ccd.unit.to_string()
    return header
