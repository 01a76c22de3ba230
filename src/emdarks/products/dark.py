"""The master dark."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy.typing as npt

from emdarks.errors import InputError
from emdarks.fits import ascii_text
from emdarks.fits import astropy_fits as fits
from emdarks.frames import Image
from emdarks.frames.html import Rows
from emdarks.products.header import NOT_SUPPLIED, product_name
from emdarks.products.provenance import frames_combined, name_inputs
from emdarks.products.validation import (
    check_electrons,
    check_numbers,
    check_planes_there,
    flag_unusable,
)

__all__ = ["Dark", "step_of_dark"]

ANALOG = "analog master dark"

#: Cards that every Dark has, for photon-counted ones to fill.
_DEFAULTS: dict[str, Any] = {
    "PC_STAT": ANALOG,
    "PCTHRESH": NOT_SUPPLIED,
    "NUM_FR": int(NOT_SUPPLIED),
    "FRMSEL01": NOT_SUPPLIED,
    "FRMSEL02": False,
    **{f"FRMSEL0{i}": NOT_SUPPLIED for i in range(3, 7)},
}


#: Cards that are computed with.
_NUMBERS = ("EXPTIME", "EMGAIN_C", "EMGAIN_A", "KGAINPAR", "ONE_ELEC", "DRPNFILE", "NFRAMES")


class Dark(Image):
    """A master dark in detected electrons.

    Parameters
    ----------
    data_or_filepath : str, path-like or array_like
        A file, or pixels of shape (rows, columns).
    pri_hdr, ext_hdr, input_dataset, err, dq, err_hdr, dq_hdr, input_hdulist
        For a new one: headers, the frames it was made of (or DRPNFILE in
        ``ext_hdr``), errors and flags, further HDUs; see `Image`.

    Raises
    ------
    InputError
        The file is no dark, or it is not said what a new one was made of.
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
        self.ext_hdr.setdefault("PC_STAT", ANALOG)
        if "IS_SYNTH" not in self.ext_hdr:
            self.ext_hdr["IS_SYNTH"] = int("photon" not in str(self.ext_hdr["PC_STAT"]))
        if self.ext_hdr.get("DATATYPE") != "Dark":
            raise InputError(f"{self.filepath}: is no dark (DATATYPE is not 'Dark')")
        if self.layout is not None:
            self._check_file()

    def _check_file(self) -> None:
        """Refuse what would make results wrong; see `emdarks.products.validation`."""
        check_numbers(self, _NUMBERS)
        check_planes_there(self)
        if "photon" not in str(self.ext_hdr["PC_STAT"]):
            check_electrons(self)
        flag_unusable(self)

    def _introduce(self, dataset: Any) -> None:
        """Write what every new dark says of itself."""
        ext = self.ext_hdr
        names = [] if dataset is None else [frame.filename for frame in dataset.frames]
        if dataset is None and "DRPNFILE" not in ext:
            raise InputError("a new Dark needs the dataset it was made of, or DRPNFILE")
        ext["DATATYPE"], ext["DATALVL"] = "Dark", "CAL"
        ext["BUNIT"] = "detected electron"
        for key, value in _DEFAULTS.items():
            ext.setdefault(key, value)
        if "DRPNFILE" not in ext:
            name_inputs(ext, names, len(names), len(names))
        self._describe_errors()
        time, gain = ext.get("EXPTIME", NOT_SUPPLIED), ext.get("EMGAIN_C", NOT_SUPPLIED)
        ext["HISTORY"] = (
            f"Dark with exptime = {time} s and commanded EM gain = {gain} created from "
            f"{_made_of(ext)}"
        )
        self.filename = product_name(names[-1] if names else "", "_drk_cal")
        self.pri_hdr["FILENAME"] = ascii_text(self.filename)

    def _describe_errors(self) -> None:
        header = self.err_hdr
        header["BUNIT"] = "detected electron"
        for key in ("KGAINPAR", "KGAIN_ER", "RN", "RN_ERR"):
            header[key] = self.ext_hdr.get(key, NOT_SUPPLIED)
        header["LAYER_1"] = "combined_error"

    def named_after(self, frame_name: str) -> None:
        """Take the documented file name for a dark whose last input has this name."""
        self.filename = product_name(frame_name, "_drk_cal")
        self.pri_hdr["FILENAME"] = ascii_text(self.filename)

    def _facts(self) -> list[str]:
        ext = self.ext_hdr
        known = (("EMGAIN_C", "EM gain {:g}"), ("EXPTIME", "{:g} s"))
        facts = [words.format(ext[key]) for key, words in known if key in ext]
        return [*facts, self._kind()]

    def _kind(self) -> str:
        return "synthesised" if self.ext_hdr["IS_SYNTH"] else "traditional"

    def _kind_rows(self) -> Rows:
        return [("kind", self._kind())]

    def _title(self) -> str:
        return f"dark, {', '.join(self._facts())}"


def step_of_dark(header: Any) -> float:
    """What one average electron of one sample does to a pixel of a dark, at most.

    One over the number of frames of a traditional dark. 0 where that is not known, and
    without EM gain, where one electron counts as one.

    Parameters
    ----------
    header : Header
        Of the dark's image.
    """
    if header.get("IS_SYNTH", 0):
        return float(header.get("ONE_ELEC", 0.0))
    frames, gain = frames_combined(header), header.get("EMGAIN_C", 1)
    amplified = isinstance(gain, (int, float)) and gain > 1
    return 1.0 / frames if amplified and math.isfinite(frames) else 0.0


def _made_of(header: Any) -> str:
    """How many frames, and files where these are others."""
    files, frames = header["DRPNFILE"], header.get("NFRAMES", header["DRPNFILE"])
    where = f" in {files} file{'' if files == 1 else 's'}"
    return f"{frames} frames" + (where if files != frames else "")
