"""Tables, and texts as they can hold them.

The constructor of a table in astropy looks whether its data are of `astropy.table`, which takes
longer to import than all the rest of FITS; here data are put into a table that is there already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.fits import astropy_fits as fits


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
    codes = {"f8": "D", "f4": "E", "i8": "K", "i4": "J", "i2": "I", "u1": "B", "b1": "L"}
    many = str(array[0].size) if array.ndim > 1 else ""
    return many + codes[array.dtype.str[1:]]


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
