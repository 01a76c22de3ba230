"""The steps of corgidrp 5.1.1 from raw frames to electrons, timed; by the Python that has it.

    .venv-interchange/bin/python benchmarks/peer.py FOLDER dark    frames, by one of its searches

FOLDER holds raw frames, `nonlinearity.fits`, `kgain.fits` and `params.fits`, as `emdarks simulate
--level 1` writes them. Prints one line of JSON: CPU seconds of each step and of all, by frame.
A run of more than `--limit` seconds of CPU is stopped: what it prints is then too little.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

#: Parameters of the search in the packaged recipes of noise maps, and the function's own.
SEARCHES: dict[str, dict[str, Any]] = {
    "dark": {
        "median_filter_mode": 2,
        "cosm_thresh": 0.017,
        "plat_thresh": 0.017,
        "cosm_filter": 3,
        "cosm_box": 4,
        "cosm_tail": "auto",
        "median_filter_histogram_nbins": 256,
    },
    "standard": {},
}


class OverLimit(BaseException):
    """The time is up; no handler of the peer's own catches this."""


def stop(number: int, frame: Any) -> None:
    """What the timer calls."""
    raise OverLimit


def run(folder: Path, search: str, limit: float) -> dict[str, Any]:
    """CPU seconds a frame of each step of the first part of the recipe of noise maps."""
    from corgidrp import data, l1_to_l2a, l2a_to_l2b

    files = sorted(str(path) for path in folder.glob("*_l1_.fits"))
    nonlinearity = data.NonLinearityCalibration(str(folder / "nonlinearity.fits"))
    k_gain = data.KGain(str(folder / "kgain.fits"))
    params = data.DetectorParams(str(folder / "params.fits"))
    steps = {
        "load": lambda _: data.Dataset(files),
        "bias": lambda made: l1_to_l2a.prescan_biassub(
            made, return_full_frame=True, dataset_copy=False
        ),
        "setup": lambda made: l1_to_l2a.discard_setup_frames(made, ["ISACQ"]),
        "cosmic rays": lambda made: l1_to_l2a.detect_cosmic_rays(
            made, params, k_gain, mode="full", dataset_copy=False, **SEARCHES[search]
        ),
        "linearity": lambda made: l1_to_l2a.correct_nonlinearity(made, nonlinearity),
        "level": l1_to_l2a.update_to_l2a,
        "electrons": lambda made: l2a_to_l2b.convert_to_electrons(made, k_gain),
    }
    made, taken, finished = None, {}, True
    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, limit)
    for name, step in steps.items():
        began = time.process_time()
        try:
            made = step(made)
        except OverLimit:
            finished = False
        taken[name] = (time.process_time() - began) / len(files)
        if not finished:
            break
    signal.setitimer(signal.ITIMER_PROF, 0)
    return {
        "frames": len(files),
        "search": search,
        "steps": taken,
        "all": sum(taken.values()),
        "finished": finished,
    }


def main() -> None:
    """Time it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("search", nargs="?", choices=sorted(SEARCHES))
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds of CPU")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    sys.stdout, printed = sys.stderr, sys.stdout
    print(json.dumps(run(given.folder, given.search or "dark", given.limit)), file=printed)


if __name__ == "__main__":
    main()
