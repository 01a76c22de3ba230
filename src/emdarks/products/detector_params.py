"""Detector parameters: the calibration file of constants."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from emdarks.errors import InputError
from emdarks.fits import FileLayout, ascii_text
from emdarks.fits import astropy_fits as fits
from emdarks.frames.html import Picture, Rows
from emdarks.products.header import NOT_SUPPLIED, stamp
from emdarks.products.product import Product
from emdarks.products.provenance import utc_date

_MJD_OF_UNIX_EPOCH = 40587.0

#: Keyword: default, meaning, older name.
PARAMETERS: dict[str, tuple[Any, str, str]] = {
    "KGAINPAR": (8.7, "k-gain, e-/DN", "KGAIN"),
    "FWC_PP_E": (90000.0, "full well of a pixel, e-", "FWC_PP"),
    "FWC_EM_E": (105000.0, "full well of the gain register, e-", "FWC_EM"),
    "ROWREADT": (223.5e-6, "readout time of a row, s", "rowreadtime"),
    "NEMGAIN": (604, "stages of the gain register", "NEM"),
    "TELRSTRT": (-1, "first telemetry row", "telem_rows_start"),
    "TELREND": (None, "stop of the telemetry rows", "telem_rows_end"),
    "CRHITRT": (5.0e4, "cosmic ray hits per m^2 and s", "X"),
    "PIXAREA": (1.69e-10, "area of a pixel, m^2", "A"),
    "GAINMAX": (8000.0, "largest EM gain", "GMAX"),
    "DELCNST": (1.0e-4, "tolerance of the exposure calculator", "delta_constr"),
    "OVERHEAD": (3, "overhead per frame, s", "OVERHEAD"),
    "PCECNTMX": (0.25, "photon counting limit, e-/pixel/frame", "pc_ecount_max"),
    "TFACTOR": (5, "threshold, read noise sigmas", "T_FACTOR"),
    "READ_N": (165.0, "read noise, EM electrons", "READ_N"),
}


#: What files of earlier versions of the reference lack.
_LATER = frozenset({"READ_N"})


class DetectorParams(Product):
    """Constants of a detector, as an object with a header.

    Parameters
    ----------
    data_or_filepath : dict, str or path-like
        Values that differ from the defaults, by keyword (the page on file formats lists
        them), or a file.
    date_valid : datetime, optional
        From when on they hold; now, by default.

    Attributes
    ----------
    params : dict
        All values by keyword. TELREND None means "to the last row", TELRSTRT
        None means "no telemetry rows".

    Raises
    ------
    InputError
        Neither a dict nor a file of detector parameters, or a value is missing in it.
    """

    _DATATYPE, _KIND = "DetectorParams", "file of detector parameters"

    def __init__(
        self,
        data_or_filepath: Mapping[str, Any] | str | os.PathLike[str] | FileLayout,
        date_valid: datetime | None = None,
    ):
        if isinstance(data_or_filepath, Mapping):
            header = _header(dict(data_or_filepath), date_valid or datetime.now(UTC))
            primary = fits.Header({"OBSNUM": 0})
            super().__init__(np.zeros((1, 1)), primary, header)
        elif isinstance(data_or_filepath, (str, os.PathLike, FileLayout)):
            super().__init__(data_or_filepath)
        else:
            raise InputError("detector parameters come from a dict or a file")

    def _introduce(self, dataset: Any) -> None:
        self.filename = f"DetectorParams_{self.ext_hdr['MJDSRT']}.fits"
        self.pri_hdr["FILENAME"] = ascii_text(self.filename)

    def _complete_header(self) -> None:
        self.params = {key: self._value(key) for key in PARAMETERS}

    def _rows(self) -> Rows:
        return [(key, str(value)) for key, value in self.params.items()]

    def _pictures(self) -> Iterator[Picture]:
        return iter(())

    def _facts(self) -> list[str]:
        return [f"valid from MJD {self.ext_hdr.get('MJDSRT', NOT_SUPPLIED)}"]

    def _value(self, key: str) -> Any:
        older = PARAMETERS[key][2]
        for name in (key, older):
            if name in self.ext_hdr:
                value = self.ext_hdr[name]
                return None if _undefined(value) else value
        if key in _LATER:
            return PARAMETERS[key][0]
        raise InputError(f"{self.filepath}: has no {key}")


def _header(values: dict[str, Any], date_valid: datetime) -> fits.Header:
    """Header of a new file: the values given, and the defaults of all others."""
    date = date_valid if date_valid.tzinfo else date_valid.replace(tzinfo=UTC)
    header = fits.Header()
    header["MJDSRT"] = (date.timestamp() / 86400.0 + _MJD_OF_UNIX_EPOCH, "valid from, MJD")
    header["SCTSRT"] = (utc_date(date), "valid from, UTC")
    header.update({"EXPTIME": 1.0, "OPMODE": "", "EMGAIN_C": 1.0, "EXCAMT": 40.0})
    header.update({"DATALVL": "CAL", "DATATYPE": "DetectorParams"})
    for key, (default, meaning, _) in PARAMETERS.items():
        header[key] = (values.pop(key, default), meaning)
    header.update(values)
    stamp(header)
    header["HISTORY"] = "Detector parameters file created"
    return header


def _undefined(value: Any) -> bool:
    """FITS has cards without a value; astropy gives them a class of their own."""
    return value is None or type(value).__name__ == "Undefined"
