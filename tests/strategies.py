"""Hypothesis strategies: headers, frames and campaigns, good ones and such as nobody wants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from hypothesis import strategies as st
from validation.hostile_campaign import COLS, ROWS

__all__ = ["Frames", "campaigns", "card_values", "frames", "headers", "planes"]

Array = npt.NDArray[Any]

#: Values that cards of a frame have, and should not have.
card_values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.integers(-(2**31), 2**31),
    st.booleans(),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    st.just(fits.card.Undefined()),
)

_KEYWORDS = ("EXPTIME", "EMGAIN_C", "EMGAIN_A", "EMGAIN_M", "KGAINPAR", "BUNIT", "EXCAMT", "MJDSRT")


@st.composite
def headers(draw: st.DrawFn) -> fits.Header:
    """The header of a frame, a few of its cards replaced by anything or taken away."""
    header = fits.Header()
    header["EXPTIME"], header["EMGAIN_C"], header["EMGAIN_A"] = 80.0, 2000.0, -999.0
    header["KGAINPAR"], header["BUNIT"] = 8.7, "detected EM electron"
    for keyword in draw(st.lists(st.sampled_from(_KEYWORDS), max_size=3, unique=True)):
        value = draw(st.one_of(st.none(), card_values))
        if value is None:
            header.remove(keyword, ignore_missing=True)
        else:
            header[keyword] = value
    return header


def planes(shape: tuple[int, int] = (ROWS, COLS)) -> st.SearchStrategy[tuple[Array, Array, Array]]:
    """Image, err and dq of a frame: noise, and in a few pixels anything."""
    wild = st.floats(width=32, allow_nan=True, allow_infinity=True)
    spots = st.lists(
        st.tuples(
            st.sampled_from(("image", "err", "dq")),
            st.integers(0, shape[0] - 1),
            st.integers(0, shape[1] - 1),
            wild,
            st.integers(0, 2**16 - 1),
        ),
        max_size=8,
    )

    def make(seed: int, wrong: list[Any]) -> tuple[Array, Array, Array]:
        rng = np.random.default_rng(seed)
        image = rng.normal(100, 90, shape).astype(np.float32)
        err, dq = np.zeros((1, *shape), np.float32), np.zeros(shape, np.uint16)
        for plane, row, col, number, flag in wrong:
            if plane == "dq":
                dq[row, col] = flag
            else:
                (image if plane == "image" else err[0])[row, col] = number
        return image, err, dq

    return st.builds(make, st.integers(0, 2**32 - 1), spots)


@st.composite
def frames(draw: st.DrawFn) -> fits.HDUList:
    """A frame: its header and pixels as above, err or dq perhaps missing."""
    image, err, dq = draw(planes())
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(image, draw(headers()))]
    if draw(st.booleans()):
        hdus.append(fits.ImageHDU(err, name="ERR"))
    if draw(st.booleans()):
        hdus.append(fits.ImageHDU(dq, name="DQ"))
    return fits.HDUList(hdus)


@dataclass(frozen=True)
class Frames:
    """Changes to a good campaign: which frames become others."""

    changed: dict[int, fits.HDUList]

    def write(self, folder: Path) -> None:
        """Put them into a folder of good frames, over those of their numbers."""
        for number, hdus in self.changed.items():
            path = folder / f"frame_{number:02d}.fits"
            path.unlink()
            hdus.writeto(path)


#: A good campaign in which up to two frames are anything.
campaigns = st.builds(Frames, st.dictionaries(st.integers(0, 23), frames(), max_size=2))
