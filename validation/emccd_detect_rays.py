"""Frames of emccd-detect with its own cosmic rays: the counting and the pooled estimator.

    python -m validation.emccd_detect_rays

Writes docs/validation_emccd_detect.md: both estimators on the same frames, against the truth. Every
electron goes through all 604 stages of the register; its rays come at 5 per cm^2 and s. What rays
leave undetected is told from other errors by a search that knows all pixels that they struck.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from validation.counting_frames import CAMERAS, FLAG, SHAPE, Truth, near_flags, settings
from validation.frames import K_GAIN, PARAMS, frame, quietly
from validation.report import markdown

from emdarks.accumulate import Threads
from emdarks.darks import calibrate_darks_lsq
from emdarks.data import Dataset, Image

Array = npt.NDArray[Any]

PAGE = Path(__file__).parents[1] / "docs" / "validation_emccd_detect.md"
BIAS = 3000.0
#: Full wells of a pixel and of the register, and the share from which on samples are flagged.
WELLS, FLAGGED = (90_000.0, 105_000.0), 0.9
HITS = 5.0  # a cm^2 and second
#: A detector that is nothing but imaging area.
REGIONS: dict[str, Any] = {
    "SCI": {
        "frame_rows": SHAPE[0],
        "frame_cols": SHAPE[1],
        "image": {"rows": SHAPE[0], "cols": SHAPE[1], "r0c0": [0, 0]},
    }
}
ESTIMATORS = ("counting", "pooled")
#: Of frames in which every pixel that a ray struck is flagged.
KNOWN = "counting, struck pixels flagged"
#: A pixel with this charge of a ray, e-, has an electron of it.
STRUCK = 0.5
#: Its rays; tails of as many pixels as are flagged, and those that it has by itself.
RAYS: dict[str, dict[str, Any]] = {
    "no rays": {"cr_rate": 0.0},
    "rays, tails of 10 pixels": {"cr_rate": HITS, "tail_length": 10},
    "rays, tails of 40 pixels at gain 1000": {"cr_rate": HITS},
}

TEXT = """\
# Frames of emccd-detect with cosmic rays

Written by `python -m validation.emccd_detect_rays` (a part of `make validate`) with emccd-detect
{version}, {realisations} campaigns of {frames} frames a stack in {minutes:.0f} minutes.

An independent simulation: every electron goes through all 604 stages of the register
(`fast_gain_mode=False`, no charge of the register's own), and the cosmic rays are those of
emccd-detect, {hits:g} per cm² and second, with its footprints and its tails. Stacks of EM gains
{gains} and times {times} s, frames of {rows} x {cols} pixels, read noise {noise:g} e⁻, C
{charge:g} e⁻ in every pixel, mean D {dark:g} e⁻/s (20 %; no hot pixels, whose charge its
register spreads over their neighbours). Samples from 0.9 full wells on are flagged, with their
neighbours and a tail of 10 pixels; nothing else masks rays. Both estimators have the same frames.
Errors are those of the image means, in brackets their standard errors (scatter over pixels); pulls
are errors of pixels in their reported errors. *Struck pixels flagged*: the same frames, searched by
someone who knows which pixels got an electron of a ray.

{table}
*Reached*: means within 3 standard errors or 1 % of the truth (F: 0.3 e⁻), standard deviations of
pulls 0.96 to 1.05.

What is left of D is the charge of rays that come in at a grazing angle: some leave a few electrons
in each of dozens of pixels and in none more than 6, and nothing tells them from dark current. Where
the struck pixels are known, D is right. Tails of 40 pixels at gain 1000 are 200 at gain 5000, and
the flags end after 10: what lies behind them counts as charge of the pixels.
"""


def _simulated(
    truth: Truth, grid: str, frames: int, rng: np.random.Generator, options: dict[str, Any]
) -> tuple[Dataset, Dataset]:
    """Frames of all stacks, with flags; and with flags of all pixels that rays struck."""
    from emccd_detect import emccd_detect
    from emccd_detect.emccd_detect import EMCCDDetect

    images: list[Image] = []
    known: list[Image] = []
    rays: list[Array] = []
    hits = emccd_detect.cosmic_hits

    def recorded(*arguments: Any) -> Any:
        rays[:] = [hits(*arguments)]
        return rays[0].copy()

    with (
        tempfile.TemporaryDirectory() as name,
        patch.object(emccd_detect, "cosmic_hits", recorded),
    ):
        folder = Path(name)
        fits.PrimaryHDU(truth.F.reshape(SHAPE)).writeto(folder / "fpn.fits")
        relative = fits.ImageHDU((truth.D / truth.D.mean()).reshape(SHAPE))
        fits.HDUList([fits.PrimaryHDU(), relative]).writeto(folder / "hot.fits")
        for gain, exposure in zip(*settings(grid), strict=True):
            camera = EMCCDDetect(
                em_gain=gain,
                dark_current=float(truth.D.mean()),
                cic=CAMERAS["flight"].C,
                read_noise=CAMERAS["flight"].read_noise,
                bias=BIAS,
                qe=1.0,
                pixel_pitch=13e-6,
                eperdn=K_GAIN,
                nbits=32,
                full_well_image=WELLS[0],
                full_well_serial=WELLS[1],
                row_read_time=0.0,
                fpn_path=str(folder / "fpn.fits"),
                hot_pixel_path=str(folder / "hot.fits"),
                fast_gain_mode=False,
                gain_CIC_Q=0,
                **options,
            )
            limit = np.float32(FLAGGED * min(WELLS[1], WELLS[0] * gain))
            for _ in range(frames):
                np.random.seed(int(rng.integers(2**31)))  # noqa: NPY002  it draws from this
                counts = camera.sim_sub_frame(np.zeros(SHAPE), exposure)
                # Its converter rounds down.
                electrons = ((counts + 0.5) * K_GAIN - BIAS).astype(np.float32)
                flags = near_flags(electrons[np.newaxis], limit, 1)[0]
                images.append(frame(electrons, gain, exposure, flags))
                struck = np.where(rays[0] >= STRUCK, FLAG, 0).astype(np.uint16)
                known.append(frame(electrons, gain, exposure, flags | struck))
    return Dataset(images), Dataset(known)


def campaign(
    grid: str, frames: int, seed: int, options: dict[str, Any]
) -> dict[str, tuple[Array, Array]]:
    """Errors and pulls of ordinary pixels, each (3, pixels), by estimator."""
    rng = np.random.default_rng(seed)
    drawn = Truth.draw(CAMERAS["flight"], hot=0.0, seed=seed)
    truth = Truth(drawn.F, np.full(drawn.C.size, CAMERAS["flight"].C), drawn.D, drawn.hot)
    dataset, known = _simulated(truth, grid, frames, rng, options)
    found = {}
    for estimator in ESTIMATORS if options == RAYS["no rays"] else (*ESTIMATORS, KNOWN):
        more: dict[str, Any] = {}
        if estimator != "pooled":
            more = {"flag_level": FLAGGED * WELLS[1], "read_noise": CAMERAS["flight"].read_noise}
        maps = quietly(
            calibrate_darks_lsq,
            known if estimator == KNOWN else dataset,
            PARAMS,
            True,
            REGIONS,
            estimator=estimator.partition(",")[0],
            executor=Threads(1),
            **more,
        )
        error = maps.extra("SIGNED").reshape(3, -1) - truth.maps
        use = ~truth.hot & (maps.dq[0].ravel() == 0)
        found[estimator] = error[:, use], (error / maps.err[0].reshape(3, -1))[:, use]
    return found


def _line(estimator: str, error: Array, pulls: Array) -> tuple[list[str], bool]:
    """A line of the table, and whether its goals are reached."""
    mean, sigma = error.mean(axis=1), error.std(axis=1) / np.sqrt(error.shape[1])
    true = np.array([1.0, CAMERAS["flight"].C, CAMERAS["flight"].D])
    allowed = np.maximum(3 * sigma, np.array([0.3, 0.01, 0.01]) * true)
    std = pulls.std(axis=1)
    percent = [
        f"{100 * m / t:+.2f} ({100 * s / t:.2f})" for m, s, t in zip(mean, sigma, true, strict=True)
    ]
    cells = [estimator, f"{mean[0]:+.2f} ({sigma[0]:.2f})", *percent[1:]]
    cells.append(" ".join(f"{each:.3f}" for each in std))
    good = bool((np.abs(mean) <= allowed).all() and ((std >= 0.96) & (std <= 1.05)).all())
    return cells, good


def page(grid: str, frames: int, realisations: int, seed: int) -> str:
    """Both estimators, without rays and with two lengths of tails."""
    began = time.perf_counter()
    cases = [(name, seed + i) for name in RAYS for i in range(realisations)]
    with ProcessPoolExecutor() as pool:
        some = [pool.submit(campaign, grid, frames, at, RAYS[name]) for name, at in cases]
        runs = {case: run.result() for case, run in zip(cases, some, strict=True)}
    table = [["frames", "estimator", "F, e⁻", "C, %", "D, %", "pull std of F, C, D", "reached"]]
    for name in RAYS:
        for estimator in runs[name, seed]:
            mine = [run[estimator] for (of, _), run in runs.items() if of == name]
            error, pulls = (np.concatenate([one[k] for one in mine], axis=1) for k in (0, 1))
            cells, reached = _line(estimator, error, pulls)
            table.append([name, *cells, "yes" if reached else "no"])
    gains, times = (np.unique(axis) for axis in settings(grid))
    return TEXT.format(
        version=version("emccd_detect"),
        realisations=realisations,
        frames=frames,
        minutes=(time.perf_counter() - began) / 60,
        hits=HITS,
        gains=", ".join(f"{g:g}" for g in gains),
        times=", ".join(f"{t:g}" for t in times),
        rows=SHAPE[0],
        cols=SHAPE[1],
        noise=CAMERAS["flight"].read_noise,
        charge=CAMERAS["flight"].C,
        dark=CAMERAS["flight"].D,
        table=markdown(table),
    )


def main() -> None:
    """Write the page; print it with --quick."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few frames; writes nothing")
    quick = parser.parse_args().quick
    text = page("m9" if quick else "real16", 10 if quick else 30, 1 if quick else 2, 18)
    sys.stdout.write(text)
    if not quick:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
