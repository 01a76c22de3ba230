"""The master dark."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.arguments import is_number
from emdarks.errors import InputError
from emdarks.fits import astropy_fits as fits
from emdarks.fits import image_hdu
from emdarks.frames.html import Rows
from emdarks.photon_counts import CountLaw, rate_interval
from emdarks.products.electron_step import electron_step, stacks_in_history
from emdarks.products.header import NOT_SUPPLIED
from emdarks.products.product import Product
from emdarks.products.provenance import frames_combined
from emdarks.products.validation import (
    check_electrons,
    check_numbers,
    check_planes_there,
    flag_unusable,
)

Array = npt.NDArray[Any]

ANALOG, PHOTON_COUNTED = "analog master dark", "photon-counted master dark"

#: HDUs of counts, and what they hold.
_COUNTS = {
    "NGOOD": "good samples of a pixel",
    "NABOVE": "those of them above the threshold",
}
_EXPECTED = {
    "COUNTS": "expected counts of a pixel in a frame, false ones included",
    "COUNTERR": "error of COUNTS",
}

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


#: Cards of the law of counts.
_LAW = {
    "PCTHRESH": "threshold, EM electrons",
    "PCGAIN": "EM gain of the law of counts",
    "PCNOISE": "its read noise, EM electrons",
}


def write_law(header: fits.Header, law: CountLaw) -> None:
    """Write by which law counts are rates, and what the threshold costs."""
    values = (law.threshold, law.gain, law.read_noise)
    for (keyword, meaning), value in zip(_LAW.items(), values, strict=True):
        header[keyword] = (value, meaning)
    stages = int(law.stages) if math.isfinite(law.stages) else NOT_SUPPLIED
    header["NEMGAIN"] = (stages, "stages of the gain register in the law")
    header["PCFALSE"] = (law.false_counts(), "counts a frame of read noise alone")
    header["PCLOST"] = (law.lost(), "share of electrons below the threshold")


def law_in(header: Any) -> CountLaw | None:
    """The law by which counts of a dark are rates, as `write_law` writes it; None where it is none.

    Parameters
    ----------
    header : Header
        Of the dark's image. Darks of the reference have none of these cards but the threshold.
    """
    values = [header.get(name, NOT_SUPPLIED) for name in (*_LAW, "NEMGAIN")]
    if not all(is_number(value) for value in values) or min(values[:3]) <= 0:
        return None
    T, gain, noise, stages = (float(value) for value in values)
    return CountLaw(T, gain, noise, stages if stages > 0 else math.inf)


def write_unexposed(header: fits.Header, counts: float, error: float) -> None:
    """Write how often samples of the prescan lie above the threshold, and the error of that."""
    header["PCPRESC"] = (counts, "counts of a prescan pixel in a frame")
    header["PCPRESE"] = (error, "error of PCPRESC")


def count_hdus(good: Array, above: Array) -> list[Any]:
    """HDUs of the counts of every pixel in a measured dark."""
    return _hdus((good, above), _COUNTS)


def expected_hdus(counts: Array, error: Array) -> list[Any]:
    """HDUs of the counts of a frame that maps expect, as float32."""
    return _hdus((counts.astype(np.float32), error.astype(np.float32)), _EXPECTED)


def _hdus(planes: tuple[Array, Array], contents: dict[str, str]) -> list[Any]:
    hdus = []
    for plane, (name, meaning) in zip(planes, contents.items(), strict=True):
        hdus.append(image_hdu(plane, name=name))
        hdus[-1].header["CONTENT"] = meaning
    return hdus


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
        self.ext_hdr.setdefault("IS_SYNTH", int(not self.photon_counted))

    @property
    def photon_counted(self) -> bool:
        """Whether it holds rates of counted electrons, for frames that are counted, too."""
        return "photon" in str(self.ext_hdr.get("PC_STAT", ANALOG))

    @property
    def threshold(self) -> float | None:
        """The threshold of the counts, EM electrons; None for a dark of means."""
        value = self.ext_hdr.get("PCTHRESH", NOT_SUPPLIED)
        known = self.photon_counted and is_number(value) and value != NOT_SUPPLIED
        return float(value) if known else None

    @property
    def count_law(self) -> CountLaw | None:
        """The law by which counts are rates, as the header has it; None where it does not."""
        return law_in(self.ext_hdr) if self.photon_counted else None

    def rate_interval(self, confidence: float = 0.6827) -> tuple[Array, Array]:
        """Confidence intervals of the rates of a measured photon-counted dark.

        Clopper and Pearson's interval of the share of counts, as rates by the law of a sample.
        It covers the truth at least as often as it says also where few samples, or none, lie
        above the threshold; there a rate and its error do not.

        Parameters
        ----------
        confidence : float
            Probability with which an interval holds the truth, at least: 0.6827 is that of one
            standard deviation.

        Returns
        -------
        low, high : ndarray
            Electrons a frame, of the shape of the data. The low end is signed, as the rates are;
            NaN where no sample is good, infinite where the counts tell no upper limit.

        Raises
        ------
        InputError
            The dark holds no counts, or the confidence is not between 0 and 1.
        """
        if not (is_number(confidence) and 0 < confidence < 1):
            raise InputError(f"confidence is {confidence!r}; it must be between 0 and 1")
        counts = {name: self._counts(name) for name in _COUNTS}
        law = self.count_law
        if law is None or any(plane is None for plane in counts.values()):
            raise InputError(
                f"{self.filename or 'the dark'}: holds no counts (HDUs {', '.join(_COUNTS)}), as "
                "measured photon-counted darks of emdarks do"
            )
        n, above = counts["NGOOD"], counts["NABOVE"]
        assert n is not None
        assert above is not None
        return rate_interval(above, n, law, confidence)

    def _counts(self, name: str) -> Array | None:
        return np.asarray(self.hdu_list[name].data) if name in self.hdu_names else None

    def _check_file(self) -> None:
        check_numbers(self, _NUMBERS)
        check_planes_there(self)
        if not self.photon_counted:
            check_electrons(self)
        flag_unusable(self)

    def _facts(self) -> list[str]:
        ext = self.ext_hdr
        known = (("EMGAIN_C", "EM gain {:g}"), ("EXPTIME", "{:g} s"))
        facts = [words.format(ext[key]) for key, words in known if key in ext]
        return [*facts, self._kind()]

    def _kind(self) -> str:
        made = "synthesised" if self.ext_hdr["IS_SYNTH"] else "traditional"
        if not self.photon_counted:
            return made
        return "photon-counted" + (", synthesised" if self.ext_hdr["IS_SYNTH"] else "")

    def _kind_rows(self) -> Rows:
        return [("kind", self._kind())]

    def _title(self) -> str:
        return f"dark, {', '.join(self._facts())}"


def step_of_dark(header: Any) -> float:
    """What one average electron of one sample does to a pixel of a dark, at most.

    One over the number of frames of a traditional dark; what ONE_ELEC says of one made of maps,
    or what HISTORY tells of their stacks. 0 where that is not known, and without EM gain,
    where one electron counts as one.

    Parameters
    ----------
    header : Header
        Of the dark's image.
    """
    if header.get("IS_SYNTH", 0):
        return float(header["ONE_ELEC"]) if "ONE_ELEC" in header else _step_by_history(header)
    frames, gain = frames_combined(header), header.get("EMGAIN_C", 1)
    amplified = isinstance(gain, (int, float)) and gain > 1
    return 1.0 / frames if amplified and math.isfinite(frames) else 0.0


def _step_by_history(header: Any) -> float:
    """The step of a dark that the reference made of maps; 0 where it cannot be told."""
    stacks = stacks_in_history(header)
    gain, time = (header.get(key) for key in ("EMGAIN_C", "EXPTIME"))
    if stacks is None or not (is_number(gain) and is_number(time)) or gain < 1:
        return 0.0
    return electron_step(stacks, np.ones(3), (1.0 / gain, 1.0, time))


def _made_of(header: Any) -> str:
    """How many frames, and files where these are others."""
    files, frames = header["DRPNFILE"], header.get("NFRAMES", header["DRPNFILE"])
    where = f" in {files} file{'' if files == 1 else 's'}"
    return f"{frames} frames" + (where if files != frames else "")
