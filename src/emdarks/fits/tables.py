"""Tables, the images of bytes that they are in files of products, and texts as both hold them.

The reference pipeline opens the files of products with classes that copy and pickle images but
no binary tables. So a table is stored there as an image of unsigned bytes: a line is a row, as
the same columns have it in a binary table (numbers big-endian, texts padded with zeros; true is 1),
and the cards COLn, FORMn and UNITn name the columns, their formats (like TFORMn) and units. Bytes
stay what they are in classes that write all images as real numbers.

The constructor of a table in astropy looks whether its data are of `astropy.table`, which takes
longer to import than all the rest of FITS; here data are put into a table that is there already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count, takewhile
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.fits import astropy_fits as fits

#: Formats of numbers, by the type of an array.
_CODES = {"f8": "D", "f4": "E", "i8": "K", "i4": "J", "i2": "I", "u1": "B", "b1": "L"}
#: Cards of a table that its image of bytes tells, too, or that FITS writes anew.
_KEPT = re.compile(
    "XTENSION|BITPIX|NAXIS[12]?|PCOUNT|GCOUNT|TFIELDS|(TTYPE|TFORM|TUNIT)[0-9]+|EXTNAME|CHECKSUM|"
    "DATASUM"
)


def table_hdu(name: str, columns: Mapping[str, tuple[npt.ArrayLike, str]]) -> fits.BinTableHDU:
    """Binary table of columns ``{name: (values, unit)}``; texts become fixed-width strings.

    Values have one entry a row, or a line of several.
    """
    made = []
    for label, (values, unit) in columns.items():
        array = np.asarray(values)
        if array.dtype.kind == "U":
            array = np.array([ascii_text(text) for text in array.flat], dtype="S")
        code = f"{max(1, array.dtype.itemsize)}A" if array.dtype.kind == "S" else None
        made.append(
            fits.Column(name=label, array=array, unit=unit or None, format=code or _code(array))
        )
    return _table(fits.FITS_rec.from_columns(fits.ColDefs(made)), name=name)


def _code(array: npt.NDArray[Any]) -> str:
    many = str(array[0].size) if array.ndim > 1 else ""
    return many + _CODES[array.dtype.str[1:]]


def packed(hdu: Any) -> Any:
    """A table of nothing but numbers and texts as an image of bytes; any other HDU as it is.

    Tables without rows, or with cards that such an image has no place for (those of a user, shapes
    and scales of columns), are left as they are.
    """
    if type(hdu) is not fits.BinTableHDU or not len(hdu.data):
        return hdu
    if not all(map(_KEPT.fullmatch, hdu.header)):
        return hdu
    arrays = {column.name: np.asarray(hdu.data[column.name]) for column in hdu.columns}
    arrays = {n: a.astype("S") if a.dtype.kind == "U" else a for n, a in arrays.items()}
    forms = {name: _form(array) for name, array in arrays.items()}
    if not all(forms.values()):
        return hdu
    rows = np.empty(len(hdu.data), [(name, *_field(form)) for name, form in forms.items()])
    for name, array in arrays.items():
        rows[name] = array.reshape(rows[name].shape)
    image = fits.ImageHDU(rows.view(np.uint8).reshape(len(rows), -1), name=hdu.name)
    image.header["CONTENT"] = "table: bytes of a row in each line, columns COLn"
    for i, (name, form) in enumerate(forms.items(), 1):
        cards = {f"COL{i}": name, f"FORM{i}": form, f"UNIT{i}": hdu.columns[name].unit or ""}
        image.header.update(cards)
    return image


def unpacked(hdu: Any) -> Any:
    """A table of an image of bytes that `packed` made; any other HDU as it is."""
    if not hdu.is_image or "COL1" not in hdu.header or np.ndim(hdu.data) != 2:
        return hdu
    numbers = takewhile(lambda i: f"COL{i}" in hdu.header, count(1))
    cards = [[str(hdu.header.get(f"{k}{i}", "")) for k in ("COL", "FORM", "UNIT")] for i in numbers]
    try:
        dtype = np.dtype([(name, *_field(form)) for name, form, _ in cards])
    except (KeyError, TypeError, ValueError):  # somebody else's cards
        return hdu
    stored = hdu.data.astype(np.uint8)  # the reference writes all images as real numbers
    if stored.shape[1] != dtype.itemsize or not np.array_equal(stored, hdu.data):
        return hdu
    rows = np.ascontiguousarray(stored).view(dtype)[:, 0].astype(dtype.newbyteorder("="))
    return table_hdu(hdu.name, {name: (rows[name], unit) for name, _, unit in cards})


def _form(array: npt.NDArray[Any]) -> str:
    """Format of a column, as TFORMn has it; empty where an image of bytes cannot hold it."""
    if array.dtype.kind == "S":
        return f"{max(1, array.dtype.itemsize)}A"
    return _code(array) if array.dtype.str[1:] in _CODES else ""


def _field(form: str) -> tuple[str, tuple[int, ...]]:
    """Type and shape of a column of this format; KeyError, TypeError or ValueError else."""
    many, code = form[:-1], form[-1:]
    if code == "A":
        return f"S{int(many)}", ()
    kinds = {code: f">{kind}" for kind, code in _CODES.items()}
    return kinds[code], (int(many),) if many else ()


def copied(hdu: Any) -> Any:
    """Independent copy of an HDU."""
    if type(hdu) is not fits.BinTableHDU:
        return hdu.copy()
    return _table(hdu.data.copy(), header=hdu.header)


def _table(data: fits.FITS_rec, **kept: Any) -> fits.BinTableHDU:
    hdu = fits.BinTableHDU(**kept)
    hdu.data = data
    return hdu


def ascii_text(text: str) -> str:
    r"""Text as FITS can hold it: other characters than printable ASCII as escapes, like \xfc."""
    plain = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in plain)
