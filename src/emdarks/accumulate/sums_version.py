"""Which code makes the sums of a block: sums that other code has made are no substitute."""

from __future__ import annotations

import hashlib
import inspect
from functools import lru_cache
from importlib import import_module

from emdarks import _core
from emdarks._version import __version__

#: Everything between the bytes of a frame and the sums and figures of a block.
MADE_BY = (
    "emdarks.counting_sums",
    "emdarks.frames.bias",
    "emdarks.frames.raw_source",
    "emdarks.raw.bias",
    "emdarks.raw.calibration",
    "emdarks.raw.linearity",
    "emdarks.raw.search",
    "emdarks.raw.sweeps",
    "emdarks.fits.pixels",
    "emdarks.accumulate.blocks",
    "emdarks.accumulate.threads",
)


@lru_cache(maxsize=1)
def sums_version() -> str:
    """Fingerprint of the source of that code; the package's version where there is no source."""
    made = hashlib.blake2b(_core.sources.encode(), digest_size=8)
    try:
        for name in MADE_BY:
            made.update(inspect.getsource(import_module(name)).encode())
    except OSError:
        return __version__
    return made.hexdigest()
