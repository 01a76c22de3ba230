"""A product file, opened as what it is."""

from __future__ import annotations

import os

from emdarks.errors import InputError
from emdarks.fits import scan_file
from emdarks.products.bad_pixel_map import BadPixelMap
from emdarks.products.dark import Dark
from emdarks.products.detector_params import DetectorParams
from emdarks.products.noise_maps import DetectorNoiseMaps
from emdarks.products.product import Product

_KINDS: dict[str, type[Product]] = {
    "BadPixelMap": BadPixelMap,
    "Dark": Dark,
    "DetectorNoiseMaps": DetectorNoiseMaps,
    "DetectorParams": DetectorParams,
}


def load_product(path: str | os.PathLike[str]) -> Product:
    """Read a product as the class that its DATATYPE card names.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    BadPixelMap, Dark, DetectorNoiseMaps or DetectorParams

    Raises
    ------
    InputError
        The file cannot be read or is none of these.
    """
    layout = scan_file(path)
    kind = layout.image.cards.get("DATATYPE")
    if kind not in _KINDS:
        said = f"DATATYPE is {kind!r}" if kind is not None else "it has no DATATYPE"
        raise InputError(f"{os.fspath(path)}: is no product of emdarks ({said})")
    return _KINDS[kind](layout)
