"""The fixed bad-pixel map: flags of pixels that are bad in every frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.frames.html import Picture, Rows, size_text
from emdarks.products.product import Product


class BadPixelMap(Product):
    """A map of pixels to be left out, for all frames of a detector.

    Parameters
    ----------
    data_or_filepath : str, path-like or array_like
        A file, or flags of shape (rows, columns), bits of `emdarks.dq.DQ`; 0 is good.
    pri_hdr, ext_hdr, input_dataset, err, dq, err_hdr, dq_hdr, input_hdulist
        For a new one: headers, the products it was made of (or DRPNFILE in ``ext_hdr``),
        further HDUs; see `Image`. ERR and DQ mean nothing here: they are zeros.

    Attributes
    ----------
    bad : ndarray of bool, shape (rows, columns)
        True where any flag is set.

    Raises
    ------
    InputError
        The file is no bad-pixel map, or it is not said what a new one was made of.
    """

    _DATATYPE, _KIND, _PARENTS, _SUFFIX = "BadPixelMap", "bad-pixel map", "products", "_bpm_cal"

    def _describe(self) -> None:
        self.ext_hdr["HISTORY"] = "Bad pixel map created"

    @property
    def bad(self) -> npt.NDArray[np.bool_]:
        """Where any flag is set."""
        return np.asarray(self.data != 0)

    def plot(self, ax: Any = None, *, flagged: bool = False) -> Any:
        """Show which pixels are bad; see `Image.plot`."""
        from emdarks import plots

        return plots.show_map(self.bad, self.filename, "1: bad", limits=(0.0, 1.0), ax=ax)

    def _rows(self) -> Rows:
        return [("shape", size_text(self.shape)), ("bad pixels", str(np.count_nonzero(self.bad)))]

    def _pictures(self) -> Iterator[Picture]:
        from emdarks import plots

        yield "bad pixels", plots.thumbnail(self.bad)

    def _facts(self) -> list[str]:
        return [f"{np.count_nonzero(self.bad)} bad pixels"]
