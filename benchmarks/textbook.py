"""The same job in textbook NumPy, written plainly: what the ratios compare with.

    python benchmarks/textbook.py LIST 12

Per stack four passes over its files (mean, error, scatter, flags), masked arrays in
float64, one frame at a time; then the weighted fit of F, C and D for all pixels with
batched normal matrices, errors from the unweighted residuals: the maps of
``estimator="reference"``. Nothing is written. Prints its times as JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from frames import paths_in

Array = npt.NDArray[Any]


class Stack(NamedTuple):
    """Mean, its error, and flags of a stack, and its gain and time."""

    mean: Array
    error: Array
    flags: Array
    gain: float
    time: float


def masked(path: str, hdu: int, scale: float) -> Array:
    """One plane of a frame, bad pixels masked."""
    data = fits.getdata(path, hdu)
    dq = fits.getdata(path, "DQ")
    return np.ma.masked_array(np.squeeze(data) * np.float64(scale), mask=dq > 0)


def combine(paths: list[str]) -> Stack:
    """Moments of one stack."""
    header = fits.getheader(paths[0], 1)
    scale = header["KGAINPAR"] if header["BUNIT"] == "DN" else 1.0
    frame = masked(paths[0], 1, scale)
    total, good = np.zeros(frame.shape), np.zeros(frame.shape)
    for path in paths:
        frame = masked(path, 1, scale)
        total += frame.filled(0.0)
        good += ~frame.mask
    count = np.maximum(good, 1)
    mean = total / count

    errors = np.zeros(frame.shape)
    for path in paths:
        errors += (masked(path, 2, scale) ** 2).filled(0.0)

    scatter = np.zeros(frame.shape)
    for path in paths:
        scatter += ((masked(path, 1, scale) - mean) ** 2).filled(0.0)

    flags = np.zeros(frame.shape, dtype=np.uint16)
    for path in paths:
        flags |= fits.getdata(path, "DQ")
    flags[good > 0] = 0

    error = np.sqrt(errors / count + scatter / count**2)
    return Stack(mean, error, flags, header["EMGAIN_C"], header["EXPTIME"])


def fit(stacks: list[Stack]) -> tuple[Array, Array]:
    """Values and errors of F, C and D, shape (3, pixels)."""
    y, sigma, flags = (
        np.array(planes).reshape(len(stacks), -1)
        for planes in zip(*[(s.mean, s.error, s.flags) for s in stacks], strict=True)
    )
    usable = flags == 0
    X = np.array([(1.0, s.gain, s.gain * s.time) for s in stacks])
    w = np.where(usable, 1 / np.where(sigma > 0, sigma, 1) ** 2, 0)
    moments = np.einsum("sj,sp,sp->jp", X, w, y, optimize=True)
    values = np.einsum("pjk,kp->jp", inverse(X, w), moments)
    residuals = np.where(usable, y - X @ values, 0)
    s2 = (residuals**2).sum(axis=0) / (usable.sum(axis=0) - 3)
    variance = np.einsum("pjj->jp", inverse(X, usable.astype(float))) * s2
    return values, np.sqrt(variance)


def inverse(X: Array, w: Array) -> Array:
    """Inverse normal matrices of all pixels, shape (pixels, 3, 3)."""
    return np.linalg.inv(np.einsum("sj,sk,sp->pjk", X, X, w, optimize=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("list", type=Path)
    parser.add_argument("frames", type=int, help="frames of a stack")
    arguments = parser.parse_args()
    paths = paths_in(arguments.list)
    start = time.perf_counter()
    stacks = [
        combine(paths[first : first + arguments.frames])
        for first in range(0, len(paths), arguments.frames)
    ]
    combined = time.perf_counter()
    values, _ = fit(stacks)
    done = time.perf_counter()
    print(
        json.dumps(
            {
                "streaming": combined - start,
                "fit": done - combined,
                "means": np.nanmean(values, axis=1).tolist(),
            }
        )
    )


if __name__ == "__main__":
    main()
