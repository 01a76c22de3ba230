"""`astropy.io.fits`, imported when something of it is first used: it takes longer than NumPy.

All others write ``from emdarks.fits import fits`` and then ``fits.Header``; annotations cost
nothing, since they are never evaluated.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    from astropy.io import fits

    found = globals()[name] = getattr(fits, name)
    return found
