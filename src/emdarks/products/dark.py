"""The master dark."""

from __future__ import annotations

import math
from typing import Any

from emdarks.frames.html import Rows
from emdarks.products.header import NOT_SUPPLIED
from emdarks.products.product import Product
from emdarks.products.provenance import frames_combined
from emdarks.products.validation import (
    check_electrons,
    check_numbers,
    check_planes_there,
    flag_unusable,
)

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


class Dark(Product):
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

    _DATATYPE, _KIND, _SUFFIX = "Dark", "dark", "_drk_cal"

    def _describe(self) -> None:
        ext, err = self.ext_hdr, self.err_hdr
        ext["BUNIT"] = err["BUNIT"] = "detected electron"
        for key, value in _DEFAULTS.items():
            ext.setdefault(key, value)
        for key in ("KGAINPAR", "KGAIN_ER", "RN", "RN_ERR"):
            err[key] = ext.get(key, NOT_SUPPLIED)
        err["LAYER_1"] = "combined_error"
        time, gain = ext.get("EXPTIME", NOT_SUPPLIED), ext.get("EMGAIN_C", NOT_SUPPLIED)
        ext["HISTORY"] = (
            f"Dark with exptime = {time} s and commanded EM gain = {gain} created from "
            f"{_made_of(ext)}"
        )

    def _complete_header(self) -> None:
        self.ext_hdr.setdefault("PC_STAT", ANALOG)
        self.ext_hdr.setdefault("IS_SYNTH", int(not self._counted()))

    def _counted(self) -> bool:
        """Whether it was made of photon-counted frames."""
        return "photon" in str(self.ext_hdr["PC_STAT"])

    def _check_file(self) -> None:
        check_numbers(self, _NUMBERS)
        check_planes_there(self)
        if not self._counted():
            check_electrons(self)
        flag_unusable(self)

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
