"""Which files a product was made of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from emdarks.fits import ascii_text, table_hdu
from emdarks.fits import astropy_fits as fits
from emdarks.frames import FrameInput

_MJD_0 = datetime(1858, 11, 17)
_SHORT_NAMES = 10_000  # FILE0 to FILE9999 fit eight characters


def input_names(inputs: Sequence[FrameInput]) -> list[str]:
    """Names of the input files, in input order, each file once (a cube has many frames)."""
    known = [item.provenance for item in inputs if item.provenance.name]
    return list({(file.path, file.name): file.name for file in known}.values())


def name_inputs(
    header: fits.Header, names: Sequence[str], count: int, frames: int | None = None
) -> None:
    """Write FILE cards, their number (DRPNFILE), and the number of frames (NFRAMES).

    Parameters
    ----------
    header : Header
        Receives the cards.
    names : sequence of str
        Input files.
    count : int
        Number of inputs to state where none has a name.
    frames : int, optional
        Frames that were combined, where the inputs are frames: a file may hold many.
    """
    for i, name in enumerate(names):
        keyword = f"FILE{i}" if i < _SHORT_NAMES else f"HIERARCH FILE{i}"
        header[keyword] = ascii_text(name)
    header["DRPNFILE"] = (len(names) or count, "number of input files")
    if frames is not None:
        header["NFRAMES"] = (frames, "number of frames combined")


def frames_combined(header: Any) -> float:
    """How many frames a product was made of; NaN where its header does not tell.

    Products without NFRAMES were made of single-frame files, as many as DRPNFILE says.
    """
    value = header.get("NFRAMES", header.get("DRPNFILE"))
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return float(value) if known else math.nan


def iso_date(mjd: float) -> str:
    """A moment as FITS writes it, to the second; empty where MJD is none that a calendar has."""
    try:
        return (_MJD_0 + timedelta(days=mjd)).isoformat(timespec="seconds")
    except (OverflowError, ValueError):
        return ""


def utc_date(moment: datetime) -> str:
    """A moment as FITS writes it: UTC, to the millisecond, without a zone (FITS has none)."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def mjd_of(value: Any) -> float:
    """A moment in a header, a date (UTC where it names no zone) or MJD; NaN where it is neither."""
    if isinstance(value, str):
        try:
            date = datetime.fromisoformat(value.strip())
        except ValueError:
            return math.nan
        utc = date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date
        return (utc - _MJD_0) / timedelta(days=1)
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    return float(value) if known else math.nan


def parent_names(header: fits.Header) -> list[str]:
    """Names in the FILE cards of a header, in order."""
    found = [key for key in header if re.fullmatch(r"FILE\d+", key)]
    return [str(header[key]) for key in sorted(found, key=lambda key: int(key[4:]))]


def _time(mtime_ns: int) -> str:
    return utc_date(datetime.fromtimestamp(mtime_ns / 1e9, UTC)) if mtime_ns else ""


def inputs_hdu(inputs: Iterable[FrameInput], stacks: Sequence[int]) -> Any:
    """Table ``INPUTS``: every frame's file, size, time, stored DATASUM, and stack."""
    rows = [item.provenance for item in inputs]
    extensions = [-1 if row.hdu is None else row.hdu for row in rows]
    several = {"HDU": (extensions, "")} if max(extensions, default=-1) >= 0 else {}
    return table_hdu(
        "INPUTS",
        {
            "FILENAME": ([row.name for row in rows], ""),
            "FRAME": ([-1 if row.frame is None else row.frame for row in rows], ""),
            **several,
            "STACK": (list(stacks), ""),
            "SIZE": ([row.size for row in rows], "byte"),
            "MTIME": ([_time(row.mtime_ns) for row in rows], ""),
            "DATASUM": ([row.datasum for row in rows], ""),
        },
    )
