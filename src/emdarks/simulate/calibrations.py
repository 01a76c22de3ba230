"""Calibration files that raw frames need, beside simulated ones, and the file that names them.

Their format is that of the Coronagraph's calibrations; their content is invented, and the same
that the frames were made with.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from emdarks.fits import astropy_fits as fits
from emdarks.fits import image_hdu, whole_file, write_whole
from emdarks.products import DetectorParams
from emdarks.raw import Linearity
from emdarks.simulate.truth import Truth

NONLINEARITY_FILE = "nonlinearity.fits"
K_GAIN_FILE = "kgain.fits"
PARAMS_FILE = "params.fits"
DEFAULTS_FILE = "emdarks.toml"
#: Everything that `write_calibrations` writes.
CALIBRATION_FILES = (NONLINEARITY_FILE, K_GAIN_FILE, PARAMS_FILE, DEFAULTS_FILE)

#: Relative errors that the calibration of the electrons per DN and of the read noise claims.
_K_GAIN_ERROR, _READ_NOISE_ERROR = 1e-3, 1e-2
#: From when on the files hold: the day before the campaign.
_VALID, _VALID_MJD = datetime(2025, 12, 31, tzinfo=UTC), 61040.0

_DEFAULTS = f"""\
# Written by emdarks simulate: the calibrations of these raw frames.
nonlinearity = "{NONLINEARITY_FILE}"
kgain = "{K_GAIN_FILE}"
params = "{PARAMS_FILE}"
"""


def write_calibrations(folder: Path, truth: Truth, linearity: Linearity) -> None:
    """Write what it takes to calibrate raw frames of a detector.

    Parameters
    ----------
    folder : Path
        Of the frames.
    truth : Truth
        The detector.
    linearity : Linearity
        Factors that make its frames linear.

    Raises
    ------
    InputError
        A file cannot be written.
    """
    _write(folder / NONLINEARITY_FILE, "NonLinearityCalibration", [_table_hdu(linearity)])
    _write(folder / K_GAIN_FILE, "KGain", _k_gain_hdus(truth))
    parameters = DetectorParams(_parameters(truth), _VALID)
    parameters.save(folder, PARAMS_FILE)
    with whole_file(folder / DEFAULTS_FILE) as file:
        file.write(_DEFAULTS.encode("utf-8"))


def _write(path: Path, kind: str, hdus: list[Any]) -> None:
    header = hdus[0].header
    header["MJDSRT"], header["SCTSRT"] = _VALID_MJD, _VALID.replace(tzinfo=None).isoformat()
    header["DATALVL"], header["DATATYPE"] = "CAL", kind
    header["EXPTIME"] = 1.0  # asked for by the calibration database of the reference
    write_whole([fits.PrimaryHDU(), *hdus], path)


def _table_hdu(linearity: Linearity) -> Any:
    """Factors; gains in the first row, signals (DN) in the first column, NaN in the corner."""
    counts, gains, factors = linearity.counts, linearity.gains, linearity.factors
    table = np.block([[np.nan, gains], [counts[:, None], factors]])
    return image_hdu(table.astype(np.float32))


def _k_gain_hdus(truth: Truth) -> list[Any]:
    """Electrons per DN and their error, each an image of one pixel; no photon transfer curve."""
    value = image_hdu(np.array([truth.k_gain], dtype=np.float32))
    value.header["BUNIT"] = "detected EM electron/DN"
    value.header["RN"] = (truth.read_noise, "read noise, electrons")
    value.header["RN_ERR"] = (_READ_NOISE_ERROR * truth.read_noise, "error of it")
    error = image_hdu(np.array([_K_GAIN_ERROR * truth.k_gain], dtype=np.float32), name="ERR")
    return [value, error, image_hdu(np.zeros((2, 0), dtype=np.float32), name="PTC")]


def _parameters(truth: Truth) -> dict[str, Any]:
    noise = truth.camera.noise
    first, stop = truth.camera.telemetry_rows
    return {
        "KGAINPAR": truth.k_gain,
        "FWC_PP_E": noise.full_well_image,
        "FWC_EM_E": noise.full_well_register,
        "NEMGAIN": truth.stages,
        "TELRSTRT": first,
        "TELREND": stop,
        "READ_N": truth.read_noise,
    }
