"""The fixed bad-pixel map: flags of pixels that are bad in every frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.errors import InputError
from emdarks.fits import ascii_text
from emdarks.fits import astropy_fits as fits
from emdarks.frames import Image
from emdarks.frames.html import Picture, Rows, size_text
from emdarks.products.header import product_name
from emdarks.products.provenance import name_inputs

__all__ = ["BadPixelMap"]


class BadPixelMap(Image):
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

    def __init__(
        self,
        data_or_filepath: str | os.PathLike[str] | npt.ArrayLike,
        pri_hdr: fits.Header | None = None,
        ext_hdr: fits.Header | None = None,
        input_dataset: Any = None,
        err: npt.ArrayLike | None = None,
        dq: npt.ArrayLike | None = None,
        err_hdr: fits.Header | None = None,
        dq_hdr: fits.Header | None = None,
        input_hdulist: Any = None,
    ):
        super().__init__(
            data_or_filepath, pri_hdr, ext_hdr, err, dq, err_hdr, dq_hdr, input_hdulist
        )
        if ext_hdr is not None:
            self._introduce(input_dataset)
        if self.ext_hdr.get("DATATYPE") != "BadPixelMap":
            raise InputError(
                f"{self.filepath}: is no bad-pixel map (DATATYPE is not 'BadPixelMap')"
            )

    def _introduce(self, dataset: Any) -> None:
        """Write what every new map says of itself."""
        ext = self.ext_hdr
        names = [] if dataset is None else [product.filename for product in dataset]
        if dataset is None and "DRPNFILE" not in ext:
            raise InputError("a new BadPixelMap needs the products it was made of, or DRPNFILE")
        if "DRPNFILE" not in ext:
            name_inputs(ext, names, len(names))
        ext["DATATYPE"], ext["DATALVL"] = "BadPixelMap", "CAL"
        ext["HISTORY"] = "Bad pixel map created"
        self.named_after(names[-1] if names else "")

    def named_after(self, product: str) -> None:
        """Take the documented file name for a map made from a product of this name."""
        self.filename = product_name(product, "_bpm_cal")
        self.pri_hdr["FILENAME"] = ascii_text(self.filename)

    @property
    def bad(self) -> npt.NDArray[np.bool_]:
        """Where any flag is set."""
        return np.asarray(self.data != 0)

    def plot(self, ax: Any = None, *, flagged: bool = False) -> Any:
        """Show which pixels are bad; see `Image.plot`."""
        from emdarks import plots

        return plots.show_map(self.bad, self.filename, "1: bad", limits=(0.0, 1.0), ax=ax)

    def _rows(self) -> Rows:
        return [
            ("shape", size_text(self.shape)),
            ("bad pixels", str(np.count_nonzero(self.bad))),
        ]

    def _pictures(self) -> Iterator[Picture]:
        from emdarks import plots

        yield "bad pixels", plots.thumbnail(self.bad)

    def _facts(self) -> list[str]:
        return [f"{np.count_nonzero(self.bad)} bad pixels"]
