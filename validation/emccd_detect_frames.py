"""Frames of emccd-detect, an independent source, through the package.

Mode: ``fast_gain_mode=False``, every electron through all 604 stages (True: a gamma law);
``gain_CIC_Q=0``, no charge of the register; the true F in a file, dark current by pixel in
another; no cosmic rays, no smear, full wells that nothing reaches, 32 bits. Its converter
rounds down, so half a DN is added back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from validation.frames import K_GAIN, PARAMS, REGIONS, frame, quietly
from validation.moments import COLS, READ_NOISE, ROWS, Truth, draw_truth, grid

from emdarks.accumulate import Threads
from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset, Image

__all__ = ["Detected", "register_charge", "run"]

Array = npt.NDArray[Any]

BIAS = 3000.0
#: emccd-detect knows one C for all pixels.
CHARGE = 0.02


@dataclass(frozen=True)
class Detected:
    """Means over ordinary pixels, and pulls; in the order F, C, D."""

    mean_error: Array
    standard_error: Array
    pulls: Array
    hot_std: Array
    excess_noise: float

    @property
    def sigmas(self) -> Array:
        """Error of the image means in their standard errors."""
        return self.mean_error / self.standard_error


def register_charge(gain: float, stages: int = 604) -> float:
    """Mean charge that the register adds, per unit of gain: Q = P/40 in every stage.

    An electron born with s stages to go leaves as (1 + P)^s, s from 1 to S - 1.
    """
    P = gain ** (1 / stages) - 1
    return float(P / 40 * ((1 + P) ** np.arange(1, stages)).sum() / gain)


def _frames(
    truth: Truth, gain: float, time: float, number: int, folder: Path, options: dict[str, Any]
) -> Iterator[Image]:
    from emccd_detect.emccd_detect import EMCCDDetect

    shape = (ROWS, COLS)
    mean_dark = float(truth.D.mean())
    camera = EMCCDDetect(
        em_gain=gain,
        dark_current=mean_dark,
        cic=CHARGE,
        read_noise=READ_NOISE,
        bias=BIAS,
        qe=1.0,
        cr_rate=0.0,
        eperdn=K_GAIN,
        nbits=32,
        full_well_image=1e9,
        full_well_serial=1e9,
        row_read_time=0.0,
        fpn_path=str(folder / "fpn.fits"),
        hot_pixel_path=str(folder / "hot.fits"),
        **options,
    )
    for _ in range(number):
        counts = camera.sim_sub_frame(np.zeros(shape), time)
        yield frame((counts + 0.5) * K_GAIN - BIAS, gain, time)


def run(
    grid_name: str,
    number: int,
    seed: int,
    realisations: int = 1,
    **options: Any,
) -> Detected:
    """Simulate with emccd-detect, fit with `calibrate_darks_lsq`, compare with the truth.

    Parameters
    ----------
    grid_name : str
        Gains and times.
    number : int
        Frames per stack.
    seed, realisations : int
        Start of chance, and how many campaigns.
    options
        Of `EMCCDDetect`, such as ``fast_gain_mode`` and ``gain_CIC_Q``.
    """
    options = {"fast_gain_mode": False, "gain_CIC_Q": 0, **options}
    residuals, pulls, hot, kappas = [], [], [], []
    for realisation in range(realisations):
        rng = np.random.default_rng([seed, realisation])
        np.random.seed(int(rng.integers(2**31)))  # noqa: NPY002  emccd-detect draws from it
        drawn = draw_truth(rng)
        truth = Truth(drawn.F, np.full(drawn.C.size, CHARGE), drawn.D, drawn.hot)
        maps = _fit(truth, grid_name, number, options)
        residual = maps.extra("SIGNED").reshape(3, -1) - truth.maps
        pull = residual / maps.err[0].reshape(3, -1)
        residuals.append(residual[:, ~truth.hot])
        pulls.append(pull[:, ~truth.hot])
        hot.append(pull[:, truth.hot])
        table = maps.hdu_list["STACKS"].data
        kappas.append(float(table["EXCESS"][table["EMGAIN"] > 1000].mean()))
    all_residuals = np.concatenate(residuals, axis=1)
    return Detected(
        mean_error=all_residuals.mean(axis=1),
        standard_error=all_residuals.std(axis=1) / np.sqrt(all_residuals.shape[1]),
        pulls=np.concatenate(pulls, axis=1),
        hot_std=np.concatenate(hot, axis=1).std(axis=1),
        excess_noise=float(np.mean(kappas)),
    )


def _fit(truth: Truth, grid_name: str, number: int, options: dict[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape = (ROWS, COLS)
        fits.PrimaryHDU(truth.F.reshape(shape)).writeto(folder / "fpn.fits")
        relative = (truth.D / truth.D.mean()).reshape(shape)
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(relative)])
        hdus.writeto(folder / "hot.fits")
        images = [
            image
            for gain, time in zip(*grid(grid_name), strict=True)
            for image in _frames(truth, gain, time, number, folder, options)
        ]
    return quietly(calibrate_darks_lsq, Dataset(images), PARAMS, True, REGIONS, executor=Threads(1))
