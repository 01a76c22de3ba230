"""What all calibration products have in common: constructor, names, provenance, their checks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy.typing as npt

from emdarks.errors import InputError, NoImageError
from emdarks.fits import FileLayout, ascii_text, packed, state_shape, table_hdu
from emdarks.fits import astropy_fits as fits
from emdarks.fits.layout import read_small
from emdarks.frames import BadFrame, Image
from emdarks.products.header import product_name
from emdarks.products.provenance import name_inputs


class Product(Image):
    """An image whose header says which calibration product it is, and what it was made of.

    Parameters
    ----------
    data_or_filepath : str, path-like or array_like
        A file, or the pixels of a new product.
    pri_hdr, ext_hdr : Header
        For a new one.
    input_dataset : Dataset, or a sequence of frames or products, optional
        What a new one was made of; needed where ``ext_hdr`` has no DRPNFILE.
    err, dq, err_hdr, dq_hdr, input_hdulist
        For a new one; see `Image`.

    Raises
    ------
    InputError
        The file is another product, or it is not said what a new one was made of.
    """

    #: Value of the card DATATYPE.
    _DATATYPE: ClassVar[str]
    #: What messages call it.
    _KIND: ClassVar[str]
    #: What it is made of.
    _PARENTS: ClassVar[str] = "frames"
    #: End of its file names.
    _SUFFIX: ClassVar[str] = ""

    def __init__(
        self,
        data_or_filepath: str | os.PathLike[str] | FileLayout | npt.ArrayLike,
        pri_hdr: fits.Header | None = None,
        ext_hdr: fits.Header | None = None,
        input_dataset: Any = None,
        err: npt.ArrayLike | None = None,
        dq: npt.ArrayLike | None = None,
        err_hdr: fits.Header | None = None,
        dq_hdr: fits.Header | None = None,
        input_hdulist: Any = None,
    ):
        try:
            super().__init__(
                data_or_filepath, pri_hdr, ext_hdr, err, dq, err_hdr, dq_hdr, input_hdulist
            )
        except NoImageError:
            # Calibrations of few numbers have no image where a frame has one.
            if not isinstance(data_or_filepath, (str, os.PathLike)):
                raise
            file = read_small(data_or_filepath)
            raise self._another(file.name, file.cards.get("DATATYPE")) from None
        self._check_shapes()
        for header, plane in (
            (self.ext_hdr, self.data),
            (self.err_hdr, self.err),
            (self.dq_hdr, self.dq),
        ):
            state_shape(header, plane.shape)
        if self.layout is None:
            self._introduce(input_dataset)
        if self.ext_hdr.get("DATATYPE") != self._DATATYPE:
            raise self._another(self.filepath, self.ext_hdr.get("DATATYPE"))
        self._complete_header()
        if self.layout is not None:
            self._check_file()

    def _another(self, name: str, kind: Any) -> InputError:
        """What to say of a file of another kind."""
        found = "it has no DATATYPE" if kind is None else f"its DATATYPE is {kind!r}"
        wanted = f"one whose DATATYPE is {self._DATATYPE!r}"
        return InputError(f"{name}: is no {self._KIND}, {found}; give {wanted}")

    def _introduce(self, dataset: Any) -> None:
        """Write what every new product says of itself."""
        ext = self.ext_hdr
        if dataset is None and "DRPNFILE" not in ext:
            raise InputError(
                f"a new {self._DATATYPE} needs the {self._PARENTS} it was made of, or DRPNFILE"
            )
        parents = () if dataset is None else getattr(dataset, "frames", dataset)
        names = [parent.filename for parent in parents]
        if "DRPNFILE" not in ext:
            frames = len(names) if self._PARENTS == "frames" else None
            name_inputs(ext, names, len(names), frames)
        ext["DATATYPE"], ext["DATALVL"] = self._DATATYPE, "CAL"
        self._describe()
        self.named_after(names[-1] if names else str(ext.get("FILE0", "")))

    def named_after(self, name: str) -> None:
        """Take the documented file name of a product whose last input has this name."""
        self.filename = product_name(name, self._SUFFIX)
        self.pri_hdr["FILENAME"] = ascii_text(self.filename)

    def record_skipped(self, bad: Sequence[BadFrame]) -> None:
        """List frames that were left out: table ``SKIPPED``, a card, a line of history."""
        if not bad:
            return
        columns = {"FILENAME": [frame.name for frame in bad], "REASON": [f.reason for f in bad]}
        self.hdu_list.append(
            table_hdu("SKIPPED", {name: (texts, "") for name, texts in columns.items()})
        )
        self.ext_hdr["NSKIPPED"] = (len(bad), "bad frames left out")
        self.ext_hdr["HISTORY"] = (
            f"{len(bad)} bad frames were left out; the table SKIPPED names them and says why"
        )

    def hdus(self) -> list[Any]:
        """The product as HDUs of its file, where tables are images of bytes."""
        return [packed(hdu) for hdu in super().hdus()]

    def table(self, name: str) -> Any:
        """Rows of a further HDU, such as STACKS; None where there is no such HDU."""
        return self.hdu_list[name].data if name in self.hdu_names else None

    # What the products add

    def _check_shapes(self) -> None:
        """Refuse planes of other shapes than such a product has."""

    def _describe(self) -> None:
        """Write the cards of a new product of this kind, and its line of history."""

    def _complete_header(self) -> None:
        """Check and complete cards that every product of this kind has, new or read."""

    def _check_file(self) -> None:
        """Refuse a file that would make results wrong; see `emdarks.products.validation`."""
