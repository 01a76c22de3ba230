"""Whether a product from a file is what it says it is.

A product that was cut short between two HDUs looks like a smaller one; one that somebody
changed may hold anything. What would make results wrong is refused with the file's name; single
pixels that hold no number count as masked: they become NaN, get flag 1, and are counted.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.dq import DQ
from emdarks.errors import EmdarksWarning, InputError

Array = npt.NDArray[Any]

_AGAIN = "copy the file again, or make the product anew"

#: As for frames: what is beyond is no number of electrons.
HUGE = 2.0**40

#: Rounding of correlations stored as float32.
_ROUNDING = 1e-5
_OTHER_UNITS = ("dn", "adu", "count", "counts", "em electron", "detected em electron")


def check_planes_there(product: Any) -> None:
    """Refuse a product of ours without ERR or DQ; warn where another one has none.

    Raises
    ------
    InputError
        CREATOR says that emdarks made the file, and it always writes both.
    """
    layout = product.layout
    missing = [name for name in ("ERR", "DQ") if getattr(layout, name.lower()) is None]
    if not missing:
        return
    if str(product.ext_hdr.get("CREATOR", "")).startswith("emdarks "):
        raise InputError(
            f"{product.filepath}: has no {missing[0]}, which products of emdarks have; was it cut "
            f"short? {_AGAIN}"
        )
    meaning = {"ERR": "its errors count as 0", "DQ": "its pixels count as good"}
    warnings.warn(
        f"{product.filepath}: has no {' and no '.join(missing)}: "
        f"{', '.join(meaning[name] for name in missing)}",
        EmdarksWarning,
        stacklevel=4,
    )


def check_electrons(product: Any) -> None:
    """Refuse a product in DN or EM electrons; its class is in detected electrons.

    Raises
    ------
    InputError
        BUNIT says so.

    Warns
    -----
    EmdarksWarning
        BUNIT speaks of no electrons.
    """
    unit = product.ext_hdr.get("BUNIT")
    text = str(unit).strip().lower()
    if text in _OTHER_UNITS:
        raise InputError(
            f"{product.filepath}: is in {unit!r}; {type(product).__name__} files are in detected "
            "electrons: convert it and set BUNIT, or make it with emdarks"
        )
    if unit is None or text.startswith("e-") or "electron" in text:
        return
    warnings.warn(
        f"{product.filepath}: has unit {unit!r}; taken as detected electrons",
        EmdarksWarning,
        stacklevel=4,
    )


def check_numbers(product: Any, keywords: Iterable[str]) -> None:
    """Refuse cards of the image's header that should hold a number and do not.

    Raises
    ------
    InputError
        One is there and is a text or a logical value.
    """
    for keyword in keywords:
        value = product.ext_hdr.get(keyword)
        if value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise InputError(
                f"{product.filepath}: {keyword} is {value!r}, which is not a finite number; "
                "correct the header, or make the product anew"
            )


def check_extras(product: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse further images that have not the shape of the product, or are there twice.

    Parameters
    ----------
    product : Image
        The product.
    shapes : mapping
        Shape by name of HDU, of those that the product may have.

    Raises
    ------
    InputError
        As said.
    """
    names = product.hdu_names
    for name, shape in shapes.items():
        if names.count(name) > 1:
            raise InputError(
                f"{product.filepath}: has more than one HDU named {name}; remove one, or make the "
                "product anew"
            )
        if name not in names:
            continue
        hdu = product.hdu_list[name]
        found = np.shape(hdu.data) if hdu.is_image else "of a table"
        if found != shape:
            raise InputError(
                f"{product.filepath}: {name} has shape {found} instead of {shape}; {_AGAIN}"
            )


def check_table(product: Any, name: str, least: Mapping[str, float]) -> None:
    """Refuse a table that lacks a column, has no row, or holds no number where one is needed.

    Parameters
    ----------
    product : Image
        The product.
    name : str
        Of the HDU; nothing is done where the product has none.
    least : mapping
        Smallest value by name of column; NaN for a column that may hold any number.

    Raises
    ------
    InputError
        As said.
    """
    if name not in product.hdu_names:
        return
    check_columns(product, name, least)
    where = f"{product.filepath}: the table {name}"
    for column, smallest in least.items():
        values = np.asarray(product.hdu_list[name].data[column])
        if values.dtype.kind not in "iuf" or values.ndim != 1:
            raise InputError(f"{where} has no numbers in its column {column}; {_AGAIN}")
        if not math.isnan(smallest) and not (np.isfinite(values) & (values >= smallest)).all():
            raise InputError(
                f"{where} has values in its column {column} that are not finite or below "
                f"{smallest:g}; {_AGAIN}"
            )


def check_columns(product: Any, name: str, columns: Iterable[str]) -> None:
    """Refuse a table that has no row or lacks a column.

    Parameters
    ----------
    product : Image
        The product.
    name : str
        Of the HDU; nothing is done where the product has none.
    columns : iterable of str
        Names of columns.

    Raises
    ------
    InputError
        As said.
    """
    if name not in product.hdu_names:
        return
    where = f"{product.filepath}: the table {name}"
    data = product.hdu_list[name].data
    there = getattr(data, "names", None)
    if there is None or not len(data):
        raise InputError(f"{where} is no table with rows; {_AGAIN}")
    for column in columns:
        if column not in there:
            raise InputError(f"{where} has no column {column}; {_AGAIN}")


def flag_unusable(
    product: Any, correlations: Array | None = None, present: Array | None = None
) -> None:
    """Make NaN of values and errors that are none, and flag their pixels with 1, in place.

    Parameters
    ----------
    product : Image
        Planes of shape (..., rows, columns).
    correlations : ndarray, shape (correlations, rows, columns), optional
        Of the planes; where one is none, no error of the pixel is.
    present : ndarray of bool, shape (planes,), optional
        Planes that should hold something; all by default.

    Raises
    ------
    InputError
        No pixel is left that is good.

    Warns
    -----
    EmdarksWarning
        Such pixels were not flagged in the file: how many. Rows without any value
        (telemetry) do not count.
    """
    data, err, dq = product.data, product.err, product.dq
    no_value, no_error = ~(np.abs(data) <= HUGE), ~((err >= 0) & (err <= HUGE))
    if correlations is not None:
        wrong = ~(np.abs(correlations) <= 1 + _ROUNDING)
        # A pixel without errors has no correlations either.
        no_error |= (wrong.any(axis=0) & ~no_error.any(axis=(0, 1)))[None, None]
    unusable = no_value | no_error[0]
    if present is not None:
        unusable[~present] = False
    if not unusable.any():
        return
    product.data = np.where(no_value, np.nan, data) if no_value.any() else data
    product.err = np.where(no_error, np.nan, err) if no_error.any() else err
    empty = np.isnan(product.data).all(axis=-1, keepdims=True)
    new = unusable & (dq == 0)
    product.dq = np.where(new, dq | dq.dtype.type(DQ.BAD_UNSPECIFIED), dq)
    if not new.any():
        return
    if (product.dq != 0).all():
        raise InputError(
            f"{product.filepath}: no pixel is good and has a finite value and error; {_AGAIN}"
        )
    if number := int(np.count_nonzero(new & ~empty)):
        warnings.warn(
            f"{product.filepath}: {number} {'value is' if number == 1 else 'values are'} not "
            "finite, beyond 1e12, or with such an error or a negative one, and not flagged: "
            "counted as masked (flag 1)",
            EmdarksWarning,
            stacklevel=4,
        )
