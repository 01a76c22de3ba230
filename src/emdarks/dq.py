"""The data-quality flags: one bit each, 0 is a good pixel.

The values are those of the Roman Coronagraph pipeline, so that DQ planes pass
between the two unchanged.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ALL_BITS", "DQ", "unsigned"]


class DQ(IntFlag):
    """Bits of a DQ plane.

    Examples
    --------
    >>> from emdarks.dq import DQ
    >>> DQ(132)
    <DQ.BAD|COSMIC_RAY: 132>
    >>> int(DQ.HOT | DQ.BAD)  # for mask_bits: these two exclude a sample
    12
    """

    BAD_UNSPECIFIED = 1
    REPLACED = 2
    BAD = 4
    HOT = 8
    UNUSED = 16
    SATURATED = 32
    NONLINEAR = 64
    COSMIC_RAY = 128
    TOO_BRIGHT = 256  # for photon counting


#: Mask in which every bit, also one without a name here, marks a pixel as bad.
ALL_BITS = (1 << 64) - 1


def unsigned(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Native unsigned integer type of the same width (booleans count as one byte)."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")
