"""Noise maps against the truth: ``python -m validation.flight_compare MAPS TRUTH``.

And the share of pixels that a search flags: ``python -m validation.flight_compare --flags FOLDER
standard``. Either prints one line of JSON. Processes of their own, so that the one that measures
others stays small.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Pixels with a smaller true dark current (e-/s) are ordinary: the simulation's hot ones have more.
ORDINARY = 0.01


def compare(maps: Path, truth: Path) -> dict[str, Any]:
    """Errors of the image means of F, C and D over ordinary pixels, and what else is known.

    Errors in e-, e- and e-/s. The bias of a row is the same error for all its pixels, so standard
    errors are those of the means of rows.
    """
    from emdarks.data import DetectorNoiseMaps
    from emdarks.simulate import load_truth

    known, made = load_truth(truth), DetectorNoiseMaps(maps)
    signed = made.extra("SIGNED")
    values = made.data if signed is None else signed
    right = known.fixed_pattern, known.clock_induced_charge, known.dark_current
    ordinary = known.imaging_area & (known.dark_current < ORDINARY)
    usable = ordinary & (made.dq.reshape(-1, *known.shape)[0] == 0)
    found = [
        (*mean_of_rows(value - true, usable), float(true[usable].mean()))
        for value, true in zip(values, right, strict=True)
    ]
    bias, error, means = zip(*found, strict=True)
    return {
        "bias": bias,
        "error": error,
        "true": means,
        "unusable": 1 - int(usable.sum()) / int(ordinary.sum()),
    }


def mean_of_rows(residual: Array, usable: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Mean over usable pixels, and its standard error from the scatter of the rows.

    Parameters
    ----------
    residual : ndarray, shape (rows, columns)
        Errors of the pixels.
    usable : ndarray of bool, shape (rows, columns)
        Pixels that count.
    """
    number = usable.sum(axis=1)
    sums = np.where(usable, residual, 0.0).sum(axis=1)
    mean = float(sums.sum() / number.sum())
    off = (sums - mean * number)[number > 0]
    rows = off.size
    return mean, float(np.sqrt((off**2).sum() * rows / (rows - 1)) / number.sum())


def flags(folder: Path, search: str) -> dict[str, Any]:
    """Share (%) of the imaging area flagged as saturated (32) and as cosmic ray (128), by stack."""
    from emdarks.data import Dataset
    from emdarks.frames import prepare_frames
    from emdarks.simulate import load_truth

    inside = load_truth(folder / "truth.fits").imaging_area
    paths = sorted(str(path) for path in folder.glob("*_l1_.fits"))
    frames = prepare_frames(
        Dataset(paths),
        nonlinearity=folder / "nonlinearity.fits",
        kgain=folder / "kgain.fits",
        detector_params=folder / "params.fits",
        cosmic_rays=search,
    )
    stacks: dict[str, list[list[float]]] = {}
    for frame in frames:
        setting = f"{frame.ext_hdr['EMGAIN_C']:g}, {frame.ext_hdr['EXPTIME']:g} s"
        dq = frame.dq[inside]
        stacks.setdefault(setting, []).append([100 * float((dq & b > 0).mean()) for b in (32, 128)])
    return {name: np.mean(shares, axis=0).tolist() for name, shares in stacks.items()}


def main() -> None:
    """Print figures of maps, or of flags."""
    warnings.simplefilter("ignore")
    first, *others = sys.argv[1:]
    if first == "--flags":
        found = flags(Path(others[0]), others[1])
    else:
        found = compare(Path(first), Path(others[0]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
