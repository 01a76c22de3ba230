"""Darks taken off counted frames: 0 and 1, sums, means and rates; known truth, refusals, files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from emdarks import subtract_dark
from emdarks.cameras import Camera, Counting, load_camera
from emdarks.darks import build_photon_counted_dark
from emdarks.data import Dark, Dataset, DetectorParams, Image
from emdarks.photon_counts import SeriesLaw
from emdarks.simulate.register import multiply

GAIN, NOISE, T = 5000.0, 110.0, 550.0
ROWS, COLS = 60, 70
pytestmark = pytest.mark.filterwarnings("ignore:no pixel of any frame is flagged")
NONE = DetectorParams({"TELRSTRT": None})


def camera(**counting: Any) -> Camera:
    """EXCAM with frames that are all image, and counts above a threshold."""
    image = {"rows": ROWS, "cols": COLS, "r0c0": [0, 0]}
    geometry = {"SCI": {"frame_rows": ROWS, "frame_cols": COLS, "image": image}}
    table = Counting(**{"threshold": T, **counting})
    return replace(
        load_camera("excam"), geometry=geometry, telemetry_rows=(None, None), counting=table
    )


def frames(data: Any, dq: Any = None, err: Any = None, **cards: Any) -> Dataset:
    """Frames of these planes."""
    made = []
    for i, plane in enumerate(data):
        header = fits.Header(
            {
                "ARRTYPE": "SCI",
                "EMGAIN_C": GAIN,
                "EXPTIME": 10.0,
                "KGAINPAR": 8.75,
                "RN": NOISE,
                "ISPC": 1,
                "BUNIT": "detected EM electron",
                "SCTSRT": f"2027-01-01T00:{i // 60:02d}:{i % 60:02d}",
            }
            | cards
        )
        primary = fits.Header({"VISTYPE": "CGIVST_CAL_DRK"})
        planes = (None if x is None else x[i] for x in (err, dq))
        made.append(Image(plane, primary, header, *planes))
        made[-1].filename = f"frame_{i:04d}_l2a.fits"
    return Dataset(made)


def samples(rate: Any, count: int, seed: int) -> Any:
    """EM electrons of frames with known rates, by all stages of the register."""
    rng = np.random.default_rng(seed)
    shape = (count, *np.shape(rate))
    electrons = multiply(rng.poisson(rate, shape), GAIN, rng)
    return (electrons + NOISE * rng.standard_normal(shape)).astype(np.float32)


def counts(rate: Any, count: int, seed: int, threshold: float = T) -> Any:
    """0 and 1 of such frames."""
    return (samples(rate, count, seed) > threshold).astype(np.uint8)
