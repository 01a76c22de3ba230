"""Calibrations that raw frames need, from their files: nonlinearity, k-gain, full well, offset."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from emdarks.arguments import is_number
from emdarks.errors import InputError
from emdarks.fits import scan_file
from emdarks.fits.layout import read_small
from emdarks.raw import FullWell, Linearity

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class KGain:
    """Electrons per DN, and what a k-gain file says beside it.

    Attributes
    ----------
    value, error : float
        Electrons per DN, and its 1-sigma error.
    read_noise, read_noise_error : float or None
        EM electrons (RN, RN_ERR); None where nothing says it.
    source : str
        Where it comes from: a file name, or words.
    """

    value: float
    error: float = 0.0
    read_noise: float | None = None
    read_noise_error: float | None = None
    source: str = "as given"


def read_nonlinearity(path: PathLike) -> Linearity:
    """Nonlinearity table of a file, as corgidrp's ``NonLinearityCalibration`` has it.

    Parameters
    ----------
    path : str or path-like
        HDU 1 is a table: EM gains in its first row, DN above the bias in its first column,
        factors in the rest; the first element is not used.

    Raises
    ------
    InputError
        The file cannot be read, or its table is no nonlinearity table; names the file.
    """
    file = read_small(path)
    try:
        found = Linearity.from_table(file.image)
    except InputError as error:
        raise InputError(
            f"{file.name}: is no nonlinearity table ({error}); give one with EM gains in its first "
            "row, DN in its first column and factors in the rest"
        ) from None
    low, high = found.factors.min(axis=0), found.factors.max(axis=0)
    odd = np.flatnonzero(~((low <= 1.0) & (high >= 1.0)))
    if odd.size:
        raise InputError(
            f"{file.name}: is no nonlinearity table: the factors at EM gain "
            f"{found.gains[odd[0]]:g} go from {low[odd[0]]:.4g} to {high[odd[0]]:.4g} and never "
            "through 1; give the table of factors"
        )
    return found


def read_k_gain(path: PathLike) -> KGain:
    """k-gain of a file, as corgidrp's ``KGain`` has it.

    Parameters
    ----------
    path : str or path-like
        HDU 1 holds one number, electrons per DN; HDU ERR its error; RN and RN_ERR of its header
        the read noise.

    Raises
    ------
    InputError
        The file cannot be read, or holds no positive number; names the file.
    """
    file = read_small(path)
    values = file.image
    errors = np.zeros(1) if file.err is None else file.err
    if values.size != 1 or errors.size != 1:
        raise InputError(
            f"{file.name}: is no k-gain file: it holds {values.size} numbers, not "
            "1; give such a file, or the electrons per DN"
        )
    value, error = float(values.flat[0]), float(errors.flat[0])
    if not (np.isfinite(value) and value > 0 and np.isfinite(error) and error >= 0):
        raise InputError(f"{file.name}: its k-gain is {value:g} +- {error:g}; it must be above 0")
    noise, noise_error = (_number(file.cards, key) for key in ("RN", "RN_ERR"))
    return KGain(value, error, noise, noise_error, file.name.rpartition("/")[2])


def read_full_well(params: Any) -> FullWell:
    """Full wells of detector parameters.

    Parameters
    ----------
    params : str, path-like or DetectorParams
        FWC_PP_E and FWC_EM_E, electrons.

    Raises
    ------
    InputError
        The file cannot be read, or lacks one of them; names it.
    """
    name, cards = _cards(params, "params", "detector parameters")
    found = [_number(cards, key) for key in ("FWC_PP_E", "FWC_EM_E")]
    if any(value is None or not value > 0 for value in found):
        raise InputError(f"{name}: has no FWC_PP_E and FWC_EM_E above 0, the full wells")
    return FullWell(*(float(value) for value in found if value is not None))


def read_offset(maps: Any) -> tuple[float, float]:
    """Bias offset of noise maps and its error, DN.

    Parameters
    ----------
    maps : str, path-like or DetectorNoiseMaps
        Has B_O and B_O_ERR.

    Raises
    ------
    InputError
        The file cannot be read, or has no bias offset; names it.
    """
    name, cards = _cards(maps, "ext_hdr", "noise maps")
    offset, error = _number(cards, "B_O"), _number(cards, "B_O_ERR")
    if offset is None:
        raise InputError(f"{name}: has no bias offset (B_O); give noise maps, or 'none'")
    return offset, error or 0.0


def _cards(given: Any, attribute: str, what: str) -> tuple[str, Mapping[str, Any]]:
    """Name and header values of a file, or of a product in memory."""
    if isinstance(given, (str, os.PathLike)):
        layout = scan_file(given)
        return layout.path, layout.image.cards
    cards = getattr(given, attribute, None)
    if cards is None:
        raise InputError(f"{given!r}: give {what}, or their file")
    return getattr(given, "filename", "") or what, cards


def _number(cards: Mapping[str, Any], key: str) -> float | None:
    value: Any = cards.get(key)
    return float(value) if is_number(value) else None
