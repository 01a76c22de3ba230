"""The file format of noise maps: HDUs, columns and cards, for those who write and read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.errors import InputError
from emdarks.fits import astropy_fits as fits
from emdarks.fits import image_hdu, table_hdu
from emdarks.products.header import NOT_SUPPLIED
from emdarks.products.model import mean_comments
from emdarks.products.validation import check_extras, check_table

Array = npt.NDArray[Any]

#: Version of the file format.
FORMAT_VERSION = 2

#: Images after image, ERR and DQ: planes, 0 for one without that axis, and meaning.
_IMAGES = {
    "SIGNED": (3, "F (e-), C (e-), D (e-/s) before clipping"),
    "CORR": (3, "correlations F-C, F-D, C-D"),
    "CHI2": (0, "reduced chi-square"),
    "RSQ": (0, "adjusted R-squared"),
    "NSTACKS": (0, "stacks used"),
    "NBAD": (0, "stacks with over half the frames masked"),
    "REJECTED": (0, "samples screened out, all stacks"),
}
#: What every file of the format has: not REJECTED, which only screening makes.
_ALWAYS = (*list(_IMAGES)[:-1], "STACKS", "INPUTS")

#: Columns of STACKS: unit, and smallest value where something is computed from it. The last
#: three: how the image means of F, C and D move per unit of relative error of a stack's gain.
_COLUMNS: dict[str, tuple[str, float | None]] = {
    "EMGAIN": ("", 1.0),
    "EMGAIN_C": ("", None),
    "EXPTIME": ("s", 0.0),
    "KGAINPAR": ("electron/adu", math.nan),
    "FRAMES": ("", 1.0),
    "GOOD": ("", 0.0),
    "VARIANCE": ("electron2", math.nan),
    "RESIDUAL": ("electron", None),
    "READNOIS": ("electron", None),
    "EXCESS": ("", None),
    "DFPN_DG": ("electron", None),
    "DCIC_DG": ("electron", None),
    "DDC_DG": ("electron/s", None),
}

#: Further columns, of maps of the counting estimator: units.
_COUNTING_COLUMNS = {
    "GAIN_FIT": "",
    "GAIN_FIT_ERR": "",
    "T": "electron",
    "T2": "electron",
    "T3": "electron",
    "RN_NOM": "electron",
    "RN_LAW": "electron",
    "RAY_LOW": "electron",
    "RAY_WING": "",
    "RAY_MEAN": "electron",
    "RAY_VAR": "electron2",
    "RAY_DENS": "electron-1",
}
#: Columns of HISTOGRAM: units; the last three have an entry a stack.
_HISTOGRAM = {"LOWER": "electron", "UPPER": "electron", "COUNTS": "", "OUTSIDE": "", "LAW": ""}
#: Those of raw frames, where there are any: shares of the imaging area that is saturated, and of
#: the pixels that the search for cosmic rays flagged; rows whose bias was replaced.
_RAW_COLUMNS = {"SATURATD": "", "RAYSHARE": "", "REPAIRED": ""}

#: Image means and variances of the planes, in their order.
MEANS = ("FPN_IMM", "CIC_IMM", "DC_IMM")
VARIANCES = ("FPN_VAR", "CIC_VAR", "DC_VAR")

#: Cards with numbers of a fit, and what they mean.
NUMBERS = {
    "B_O": "DN, bias offset",
    "B_O_ERR": "error of the DN, bias offset",
    "B_O_UP": "upper bound of the DN, bias offset",
    "B_O_LO": "lower bound of the DN, bias offset",
    "FPN_IMM": "e-, mean of F, imaging area; -999: none",
    "CIC_IMM": "e-, mean of C, imaging area; -999: none",
    "DC_IMM": "e-/s, mean of D, imaging area; -999: none",
    "FPN_IMME": "e-, median of F, imaging area; -999: none",
    "FPN_VAR": "variance of F, e-^2",
    "CIC_VAR": "variance of C, e-^2",
    "DC_VAR": "variance of D, (e-/s)^2",
    "RN_EST": "e-, rough read noise; -999: none",
}


def write_numbers(header: fits.Header, numbers: Mapping[str, float], model: str) -> None:
    """Write the cards of NUMBERS; FITS headers hold no NaN, so -999 stands for it."""
    comments = {**NUMBERS, **mean_comments(model)}
    for keyword, value in numbers.items():
        known = float(value) if math.isfinite(value) else NOT_SUPPLIED
        header[keyword] = (known, comments[keyword])
    header["B_O_UNIT"] = "DN"


def image_hdus(images: Mapping[str, Array]) -> list[Any]:
    """Images by name as HDUs that say what they hold."""
    hdus = []
    for name, (_, meaning) in _IMAGES.items():
        if name in images:
            hdus.append(image_hdu(images[name], name=name))
            hdus[-1].header["CONTENT"] = meaning
    return hdus


def stacks_hdu(columns: Mapping[str, npt.ArrayLike]) -> fits.BinTableHDU:
    """Table ``STACKS`` of its columns."""
    units = {name: unit for name, (unit, _) in _COLUMNS.items()}
    further = {**_COUNTING_COLUMNS, **_RAW_COLUMNS}
    units |= {name: unit for name, unit in further.items() if name in columns}
    return table_hdu("STACKS", {name: (columns[name], unit) for name, unit in units.items()})


def histogram_hdu(columns: Mapping[str, npt.ArrayLike]) -> fits.BinTableHDU:
    """Table ``HISTOGRAM`` of its columns."""
    return table_hdu(
        "HISTOGRAM", {name: (columns[name], unit) for name, unit in _HISTOGRAM.items()}
    )


def is_complete(names: list[str]) -> bool:
    """Whether HDUs of these names are all that the format asks for."""
    return set(_ALWAYS) <= set(names)


def check_format(maps: Any) -> None:
    """Refuse a file that was cut short between two HDUs, which would look whole.

    Raises
    ------
    InputError
        An HDU of the format that the file says it has is missing, or the format is a later one.
    """
    version = maps.ext_hdr.get("FMTVERS")
    if version is None:  # made by somebody else
        return
    if version > FORMAT_VERSION:
        raise InputError(
            f"{maps.filepath}: is of format {version:g}, and this emdarks knows formats up to "
            f"{FORMAT_VERSION}; use a later version of emdarks"
        )
    for name in _ALWAYS:
        if name not in maps.hdu_names:
            raise InputError(
                f"{maps.filepath}: has no {name}, which its format (FMTVERS {version:g}) has; "
                "was it cut short? copy the file again; if it was removed on purpose, remove "
                "the card FMTVERS, too"
            )


def check_hdus(maps: Any) -> None:
    """Refuse further HDUs of wrong shapes, or a table that cannot be computed with.

    Raises
    ------
    InputError
        As said; see `emdarks.products.validation`.
    """
    plane = np.shape(maps.data)[1:]
    shapes = {name: (n, *plane) if n else plane for name, (n, _) in _IMAGES.items()}
    check_extras(maps, shapes)
    least = {name: value for name, (_, value) in _COLUMNS.items() if value is not None}
    check_table(maps, "STACKS", least)
    if "HISTOGRAM" in maps.hdu_names:
        _check_histogram(maps)


def _check_histogram(maps: Any) -> None:
    data = maps.hdu_list["HISTOGRAM"].data
    columns = set(getattr(data, "names", None) or ())
    stacks = len(maps.hdu_list["STACKS"].data) if "STACKS" in maps.hdu_names else 0
    shapes = [(len(data),) if i < 2 else (len(data), stacks) for i in range(len(_HISTOGRAM))]
    if not set(_HISTOGRAM) <= columns or any(
        np.shape(data[name]) != shape for name, shape in zip(_HISTOGRAM, shapes, strict=True)
    ):
        raise InputError(
            f"{maps.filepath}: the table HISTOGRAM has not the columns of its format for "
            f"{stacks} stacks; remove it, or make the product anew"
        )
