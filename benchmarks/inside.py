"""What happens inside one process: reading, headers, streaming, the fit.

    python benchmarks/inside.py PART LIST [--repeats 3]

prints the figures of one part as JSON. All times are seconds for all frames.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from clock import least, seconds
from frames import paths_in
from stages import Stages, calibrate

from emdarks.accumulate import Threads
from emdarks.data import Dataset
from emdarks.stacks import accumulate_stacks

#: Fastest here: the buffer stays in a core's cache.
BUFFER = 1 << 18
FRAME = 1 << 25
#: What streaming reads at a time: a run of pixels, as float32.
RUN = 1 << 16


def read_all(paths: list[str], buffer: bytearray) -> None:
    """Read every byte once, on one thread, into the same memory."""
    view = memoryview(buffer)
    for path in paths:
        with Path(path).open("rb", buffering=0) as file:
            while file.readinto(view):
                pass


def read_shared(paths: list[str], threads: int) -> None:
    """Read every byte once, each thread its share of the files."""
    shares = [paths[first::threads] for first in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda share: read_all(share, bytearray(BUFFER)), shares))


def read_runs(paths: list[str]) -> None:
    """Read every byte once, on one thread, by positioned reads of one run each."""
    into = [bytearray(RUN)]
    for path in paths:
        with Path(path).open("rb", buffering=0) as file:
            number, position = file.fileno(), 0
            while found := os.preadv(number, into, position):
                position += found


def _touch() -> None:
    """One gigabyte of fresh memory."""
    np.empty(10**9, np.uint8)[:: mmap.PAGESIZE] = 1


def jobs_in(stages: Stages) -> list[Any]:
    """What is to be streamed of each stack."""
    jobs: list[Any] = stages.calls["accumulate_stacks"][0][0]
    return jobs


def moments(jobs: list[Any], executor: Threads) -> None:
    """Sums of all stacks, none kept."""
    for job in jobs:
        executor.release(executor.sums(job).moments)


def streaming(paths: list[str], repeats: int) -> dict[str, Any]:
    """The reading limit, the headers, and pixels to moments."""
    jobs = jobs_in(calibrate(Dataset(paths), "reference"))
    counted = jobs_in(calibrate(Dataset(paths), "counting"))
    small, large = bytearray(BUFFER), bytearray(FRAME)
    once, everywhere = Threads(1), Threads()
    return least(
        repeats,
        {
            "first touch": _touch,
            "reading": lambda: read_all(paths, small),
            "reading, buffer of a frame": lambda: read_all(paths, large),
            "reading, runs": lambda: read_runs(paths),
            "reading, all threads": lambda: read_shared(paths, everywhere.threads),
            "headers": lambda: Dataset(paths),
            "streaming": lambda: accumulate_stacks(jobs, Threads()),
            "streaming, one thread": lambda: accumulate_stacks(jobs, Threads(1)),
            "moments": lambda: moments(jobs, everywhere),
            "moments, one thread": lambda: moments(jobs, once),
            "moments, counting": lambda: moments(counted, everywhere),
            "moments, counting, one thread": lambda: moments(counted, once),
        },
    )


def growth(paths: list[str], repeats: int) -> dict[str, Any]:
    """Headers, streaming and the fit of one selection of frames."""
    from emdarks.fit.least_squares import fit_reference

    stages = calibrate(Dataset(paths), "reference")
    jobs, (arguments, options) = jobs_in(stages), stages.calls["fit_reference"]
    executor = Threads()
    return least(
        repeats,
        {
            "headers": lambda: Dataset(paths),
            "moments": lambda: moments(jobs, executor),
            "fit": lambda: fit_reference(*arguments, **options),
        },
    )


def fits(paths: list[str], repeats: int) -> dict[str, Any]:
    """The fit alone, by estimator and threads; reading its moments at memory speed."""
    from emdarks.darks import noise_maps
    from emdarks.fit.least_squares import fit_reference
    from emdarks.fit.pooled import fit_pooled

    functions: dict[str, Callable[[], Any]] = {}
    for estimator, fit in (("reference", fit_reference), ("pooled", fit_pooled)):
        stages = calibrate(Dataset(paths), estimator)
        arguments, options = stages.calls[f"fit_{estimator}"]
        for name, threads in (("", None), (", one thread", 1)):
            changed = [Threads(threads) if isinstance(a, Threads) else a for a in arguments]
            functions[estimator + name] = lambda f=fit, a=changed, o=options: f(*a, **o)
    planes = _planes(arguments[0])
    functions["moments, memory"] = lambda: _read_memory(planes)
    sizes = {"moments, bytes": sum(plane.nbytes for plane in planes)}
    if "counting" in noise_maps.ESTIMATORS:
        sizes |= _counting(paths, functions)
    return {**least(repeats, functions), **sizes}


def _counting(paths: list[str], functions: dict[str, Callable[[], Any]]) -> dict[str, int]:
    """The fit by counts, on one thread; its pixels, and bytes of its sums and of the moments."""
    from emdarks.darks import counting

    fit = counting.fit_counting
    with patch.object(counting, "fit_counting", wraps=fit) as watched:
        calibrate(Dataset(paths), "counting")
    stacks, start, _ = watched.call_args.args
    functions["counting, one thread"] = lambda: fit(stacks, start, Threads(1))
    names = ("above", "beyond", "near", "near_above", "low", "high")
    return {
        "counting, pixels": stacks.n.shape[1],
        "counting, imaging": int(stacks.imaging.sum()),
        "counting, bytes": sum(getattr(stacks, name).nbytes for name in names),
    }


def _planes(store: Any) -> list[Any]:
    """Moments of all stacks, as bytes."""
    arrays = store.n, store.mean, store.m2, store.err2, store.flags
    return [array.reshape(-1).view(np.uint8) for array in arrays if array is not None]


def _read_memory(planes: list[Any]) -> None:
    """Read every byte once, on one thread, into memory that stays in a core's cache."""
    room = np.empty(BUFFER, np.uint8)
    for plane in planes:
        for first in range(0, plane.size, BUFFER):
            piece = plane[first : first + BUFFER]
            room[: piece.size] = piece


def steps(paths: list[str], repeats: int) -> dict[str, Any]:
    """Where the time of a whole run goes, step by step, for both estimators."""
    return {estimator: _steps(paths, repeats, estimator) for estimator in ("reference", "pooled")}


def _steps(paths: list[str], repeats: int, estimator: str) -> dict[str, float]:
    runs = [_one_run(paths, estimator) for _ in range(repeats)]
    return {step: min(run[step] for run in runs) for step in runs[0]}


def _one_run(paths: list[str], estimator: str) -> dict[str, float]:
    headers = seconds(lambda: Dataset(paths))
    stages = calibrate(Dataset(paths), estimator)
    with tempfile.TemporaryDirectory() as folder:
        writing = seconds(lambda: stages.product.save(folder, "maps.fits"))
    return {"headers": headers, **stages.named(), "writing the file": writing}


def bits(paths: list[str], repeats: int) -> dict[str, Any]:
    """Whether moments are the same bits by any number of threads and open files."""
    jobs = jobs_in(calibrate(Dataset(paths), "reference"))
    ways = [Threads(1), Threads(), Threads(2, batch_files=3), Threads(3, run_pixels=10_000)]
    return {"ways": len(ways), "same": len({_fingerprint(jobs, way) for way in ways}) == 1}


def _fingerprint(jobs: list[Any], executor: Threads) -> int:
    store, _ = accumulate_stacks(jobs, executor)
    value = 0
    for plane in _planes(store):
        value = zlib.crc32(plane.data, value)
    return value


def combine(paths: list[str], repeats: int) -> dict[str, Any]:
    """The plain mean of one stack: ccdproc and ours, from the same files."""
    from emdarks.darks import mean_combine

    figures = least(3 * repeats, {"ours": lambda: mean_combine(Dataset(paths), None)})
    try:
        import ccdproc
    except ImportError:
        return figures

    def theirs() -> Any:
        # A pixel whose DQ is not 0 is left out.
        return ccdproc.combine(paths, method="average", hdu=1, hdu_mask="DQ", unit="DN")

    mean, bad, *_ = mean_combine(Dataset(paths), None)
    if not np.allclose(theirs().data[bad == 0], mean[bad == 0], rtol=1e-12, atol=1e-9):
        raise SystemExit("ccdproc and emdarks do not agree")
    return {**figures, **least(repeats, {"ccdproc": theirs})}


PARTS = {part.__name__: part for part in (streaming, growth, fits, steps, bits, combine)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("list", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(json.dumps(PARTS[arguments.part](paths_in(arguments.list), arguments.repeats)))


if __name__ == "__main__":
    main()
