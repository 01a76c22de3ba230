"""Frames in memory for the public functions, and pulls of the darks that they give."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from validation.moments import COLS, COSMIC_RAYS, READ_NOISE, ROWS, Truth, draw_truth

from emdarks.accumulate import Threads
from emdarks.darks import build_trad_dark
from emdarks.data import Dataset, DetectorParams, Image
from emdarks.errors import EmdarksWarning

__all__ = ["K_GAIN", "PARAMS", "REGIONS", "frame", "quietly", "trad_pulls"]

Array = npt.NDArray[Any]

K_GAIN = 8.7
#: A detector that is nothing but imaging area.
REGIONS: dict[str, Any] = {
    "SCI": {
        "frame_rows": ROWS,
        "frame_cols": COLS,
        "image": {"rows": ROWS, "cols": COLS, "r0c0": [0, 0]},
    }
}
PARAMS = DetectorParams({"TELRSTRT": None, "TELREND": None})


def quietly(function: Any, *arguments: Any, **options: Any) -> Any:
    """Call without advice on the number of frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmdarksWarning)
        return function(*arguments, **options)


def frame(data: Array, gain: float, time: float, dq: Array | None = None) -> Image:
    """A frame in EM electrons with the headers it needs."""
    primary, header = fits.Header(), fits.Header()
    primary["VISTYPE"] = "CGIVST_CAL_DRK"
    header["EXPTIME"], header["EMGAIN_C"], header["EMGAIN_A"] = time, gain, -999.0
    header["KGAINPAR"], header["BUNIT"] = K_GAIN, "detected EM electron"
    flags = np.zeros(data.shape, np.uint16) if dq is None else dq
    return Image(data, primary, header, dq=flags)


def _stack(
    rng: np.random.Generator, truth: Truth, gain: float, time: float, frames: int
) -> Dataset:
    shape = (ROWS, COLS)
    flagged = COSMIC_RAYS[0] + COSMIC_RAYS[1] * time
    images = []
    for _ in range(frames):
        electrons = rng.poisson(truth.C + time * truth.D).astype(float)
        data = (
            truth.F + gain * rng.standard_gamma(electrons) + rng.normal(0, READ_NOISE, ROWS * COLS)
        )
        dq = np.where(rng.random(shape) < flagged, 128, 0).astype(np.uint16)
        images.append(frame(data.reshape(shape), gain, time, dq))
    return Dataset(images)


def trad_pulls(
    gain: float, time: float, frames: int, realisations: int, seed: int
) -> dict[str, Array]:
    """Pulls of ordinary pixels of a traditional dark, by estimator.

    Pixels whose reported error is 0 or NaN say nothing and are left out.
    """
    pulls: dict[str, list[Array]] = {}
    for realisation in range(realisations):
        rng = np.random.default_rng([seed, realisation, frames, int(gain), int(time)])
        truth = draw_truth(rng)
        dataset = _stack(rng, truth, gain, time, frames)
        expected = (truth.F / gain + truth.C + time * truth.D).reshape(ROWS, COLS)
        for estimator in ("pooled", "sample", "reference"):
            dark = quietly(
                build_trad_dark,
                dataset,
                PARAMS,
                REGIONS,
                True,
                estimator=estimator,
                executor=Threads(1),
            )
            use = ~truth.hot.reshape(ROWS, COLS) & (dark.err[0] > 0)
            pulls.setdefault(estimator, []).append((dark.data - expected)[use] / dark.err[0][use])
    return {estimator: np.concatenate(parts) for estimator, parts in pulls.items()}
