"""From the headers of many frames to the headers of one product."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from emdarks._version import __version__
from emdarks.cameras import HeaderRules
from emdarks.fits import Cards
from emdarks.fits import astropy_fits as fits
from emdarks.frames import FrameInput
from emdarks.products.model import model_of
from emdarks.products.provenance import iso_date, utc_date

#: What stands where a number is not known.
NOT_SUPPLIED = -999.0

_NAMES = ("pri", "ext", "err", "dq")
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|BSCALE|BZERO|BLANK|EXTNAME|"
    r"CHECKSUM|DATASUM|FILE\d+|DRPNFILE|NFRAMES|Z(IMAGE|TENSION|BITPIX|NAXIS\d*|CMPTYPE|TILE\d+|QUANTIZ|"
    r"DITHER0|PCOUNT|GCOUNT|SCALE|ZERO|BLANK)"
)
# Of a FITS file, packed or not.
_ENDING = re.compile(r"\.fits|\.(?:fit|fts)(?=\.|$)", re.IGNORECASE)
# A level between underscores, or at the end: _l1_, _l2a, _l2, _im1; no number such as _l10.
_LEVEL = re.compile(r"_(l\d[a-z]?|im\d)(_?$|(?=_))")


def _in_time_order(inputs: Sequence[FrameInput]) -> list[FrameInput]:
    """Frames by start of exposure; as given where any start is unknown."""
    starts = np.array([item.record.start for item in inputs])
    if np.isnan(starts).any():
        return list(inputs)
    return [inputs[i] for i in np.argsort(starts, kind="stable")]


def merge_headers(
    inputs: Sequence[FrameInput], rules: HeaderRules, invalid: Iterable[str]
) -> dict[str, fits.Header]:
    """Merge the headers of all frames of a product.

    The latest frame supplies the cards; the rules of the camera say which of
    them hold for all (first, averaged, any true) and which for none.

    Parameters
    ----------
    inputs : sequence of FrameInput
        The frames.
    rules : HeaderRules
        How keywords merge.
    invalid : iterable of str
        Keywords that mean nothing for the product: -999 in the type they had.

    Returns
    -------
    dict of Header
        For "pri", "ext", "err" and "dq". Structural cards, checksums and the list of
        input files of the frame are left out.
    """
    ordered = _in_time_order(inputs)
    impossible = [item.record.odd_temperature.partition(" = ")[0] for item in ordered]
    unwanted = frozenset(invalid)
    merged = {}
    for name in _NAMES:
        all_cards = [item.headers[name] for item in ordered]
        header = _base(all_cards[-1])
        _take(header, all_cards[:1], rules.first, lambda values: values[0])
        if name == "ext":
            for key in (key for key in rules.averaged if key not in unwanted):
                pairs = zip(all_cards, impossible, strict=True)
                known = [cards for cards, odd in pairs if odd != key]
                _take(header, known or all_cards, (key,), _mean if known else _not_supplied)
        for keyword in set(rules.deleted) & set(header):
            del header[keyword]
        for keyword in unwanted & set(header):
            header[keyword] = _invalid(header[keyword])
        _take(header, all_cards, rules.any_true, lambda values: int(any(values)))
        merged[name] = header
    _state_dates(merged, ordered, {*rules.first, *rules.last})
    if "FILETIME" in merged["pri"]:
        merged["pri"]["FILETIME"] = utc_date(datetime.now(UTC))
    return merged


def _state_dates(
    merged: dict[str, fits.Header], inputs: Sequence[FrameInput], kept: set[str]
) -> None:
    """Write from when to when the frames were exposed.

    DATE-BEG and DATE-END always; SCTSRT and SCTEND where the rules of the camera keep them and
    its frames, of an earlier pipeline, lack them.
    """
    spans = [
        (item.record.start, item.record.start + item.record.exposure_time / 86400)
        for item in inputs
        if not math.isnan(item.record.start)
    ]
    for header in merged.values():  # the latest frame's own would say less
        for keyword in ("DATE-BEG", "DATE-END"):
            header.remove(keyword, ignore_missing=True)
    if not spans:
        return
    ext = merged["ext"]
    for mjd, written, lacking, what in (
        (min(begin for begin, _ in spans), "DATE-BEG", "SCTSRT", "start of the first exposure"),
        (max(end for _, end in spans), "DATE-END", "SCTEND", "end of the last exposure"),
    ):
        if date := iso_date(mjd):
            ext[written] = (date, f"{what}, UTC")
            if lacking in kept and lacking not in ext:
                ext[lacking] = (date, f"{what}, UTC")


def _base(cards: Cards) -> fits.Header:
    header = cards.to_header()
    for keyword in {key for key in header if _STRUCTURE.fullmatch(key)}:
        header.remove(keyword, remove_all=True)
    return header


def _take(
    header: fits.Header,
    all_cards: Sequence[Cards],
    keywords: Iterable[str],
    combine: Callable[[list[Any]], Any],
) -> None:
    for keyword in keywords:
        if keyword in header:
            values = [cards[keyword] for cards in all_cards if keyword in cards]
            if values:
                header[keyword] = combine(values)


def _mean(values: list[Any]) -> Any:
    """Mean of the numbers that are known; the last value where not all are numbers."""
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        return values[-1]
    known = [number for number in numbers if number != NOT_SUPPLIED]
    return float(np.mean(known)) if known else NOT_SUPPLIED


def _not_supplied(_: list[Any]) -> float:
    return NOT_SUPPLIED


def _invalid(value: Any) -> int | float | str:
    if isinstance(value, (bool, int)):
        return int(NOT_SUPPLIED)
    return NOT_SUPPLIED if isinstance(value, float) else "-999"


def stamp(header: fits.Header) -> None:
    """Say which software made the product, and when."""
    header["DRPVERSN"] = (__version__, "version of emdarks that made this file")
    header["DRPCTIME"] = (utc_date(datetime.now(UTC)), "when, UTC")
    header["CREATOR"] = (f"emdarks {__version__}", "software that made this file")


def product_name(frame_name: str, suffix: str) -> str:
    """File name of a product: that of its last frame, its level replaced by a suffix.

    Parameters
    ----------
    frame_name : str
        Name of the last input file; may be empty.
    suffix : str
        Such as ``_dnm_cal``.
    """
    stem = _LEVEL.sub("", _ENDING.split(frame_name)[0])
    if not stem:
        return f"{suffix.lstrip('_')}.fits"
    name = f"{stem}{suffix}.fits"
    return re.sub(r"(_dnm_cal|_drk_cal)+(?=_(drk|bpm)_cal)", "", name)


#: Cards that speak of maps and mean nothing in what is made of them.
_OF_MAPS = (
    *("B_O", "B_O_ERR", "B_O_UNIT", "B_O_UP", "B_O_LO"),
    *("FPN_IMM", "CIC_IMM", "DC_IMM", "FPN_IMME", "FPN_VAR", "CIC_VAR", "DC_VAR"),
    *("RN_EST", "NONNEG", "NAXIS3", "FMTVERS", "CHECKSUM", "DATASUM"),
)
# Those of the counting estimator; GAINSRC tells of every dark where its gains are from.
_OF_COUNTING = re.compile(r"FLAGLEV|(GFIT|RSLP)[CE]?\d+|RAYWING|RAYDENS")


def drop_map_cards(header: fits.Header) -> None:
    """Remove, in place, cards that speak of noise maps."""
    # MODEL of three maps is what the frames said of their camera.
    of_two = ("MODEL", "MAPGAIN", "MAPTIME") if model_of(header) != "full" else ()
    of_counting = [key for key in header if _OF_COUNTING.fullmatch(key)]
    for keyword in (*_OF_MAPS, *of_two, *of_counting):
        header.remove(keyword, ignore_missing=True, remove_all=True)
