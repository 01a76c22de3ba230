"""The disc of a coronagraph, in which cosmic rays are not searched: there is the light.

As corgidrp 5.1.1 does in ``detect_cosmic_rays`` with ``skip_coronagraph_iwa``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from emdarks.errors import InputError

#: Central wavelengths of the Roman Coronagraph's filters, nm: as designed (phase C), or as measured
#: in thermal vacuum where that was done.
WAVELENGTHS = {
    "1F": 573.8,
    "1A": 554.8,
    "1B": 574.5,
    "1C": 594.7,
    "2F": 659.4,
    "2A": 614.2,
    "2B": 639.4,
    "2C": 655.65,
    "3F": 729.3,
    "3A": 680.37,
    "3B": 702.04,
    "3C": 726.0,
    "3D": 753.83,
    "3E": 776.44,
    "3G": 752.5,
    "4F": 825.5,
    "4A": 791.7,
    "4B": 823.9,
    "4C": 856.5,
}
#: Inner working angles by the Lyot stop, wavelengths by the mirror's diameter.
INNER_WORKING_ANGLES = {"NFOV": 3.0, "WFOV": 5.9}
MIRROR = 2.36  # m
PIXEL = 0.0218  # arcsec
ARCSEC = 206265.0  # of a radian, as the reference rounds it
#: The two beams of a Wollaston prism: distance, arcsec, and angles, degrees.
BEAMS, BEAM_ANGLES = 7.5, {"POL0": 0.0, "POL45": 45.0}
#: Where the headers name no centre.
CENTRE = 512.0


def coronagraph_discs(
    cards: Mapping[str, Any], origin: tuple[int, int] = (0, 0)
) -> tuple[tuple[float, float, float], ...]:
    """Row, column and radius, pixels, of the discs that are not searched.

    Parameters
    ----------
    cards : mapping
        Header values LSAMNAME, CFAMNAME, DPAMNAME, EACQ_ROW, EACQ_COL; where LSAMNAME or CFAMNAME
        is missing there is no disc.
    origin : tuple of int
        Row and column of the frame to which EACQ_ROW and EACQ_COL are counted.

    Raises
    ------
    InputError
        The filter is not known.
    """
    stop, colour = (str(cards.get(key, "")).strip() for key in ("LSAMNAME", "CFAMNAME"))
    if stop in ("", "OPEN") or colour in ("", "DARK"):
        return ()
    if colour not in WAVELENGTHS:
        raise InputError(
            f"CFAMNAME is {colour!r}, a filter of unknown wavelength: the coronagraph's disc, in "
            "which cosmic rays are not searched, has no size; correct it, or search no cosmic rays"
        )
    angle = INNER_WORKING_ANGLES.get(stop, 0.0) * (WAVELENGTHS[colour] * 1e-9) / MIRROR * ARCSEC
    radius = float(round(angle / PIXEL))
    row, column = _centre(cards)
    return tuple(
        (row + down + origin[0], column + right + origin[1], radius)
        for down, right in _beams(str(cards.get("DPAMNAME", "")).strip())
    )


def _centre(cards: Mapping[str, Any]) -> tuple[float, float]:
    row, column = (cards.get(key) or 0.0 for key in ("EACQ_ROW", "EACQ_COL"))
    return (float(row), float(column)) if row and column else (CENTRE, CENTRE)


def _beams(prism: str) -> list[tuple[int, int]]:
    """Rows and columns from the centre to each beam."""
    if prism == "IMAGING":
        return [(0, 0)]
    if prism not in BEAM_ANGLES:
        return []
    angle = math.radians(BEAM_ANGLES[prism])
    right, up = (round(BEAMS * f(angle) / (2 * PIXEL)) for f in (math.cos, math.sin))
    return [(up, -right), (-up, right)]
