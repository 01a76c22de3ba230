"""How long a library of 10,000 products takes to choose for 1,000 frames.

    python benchmarks/library.py

Three cameras, ten readout settings, a thousand nights; half of the products are noise maps. The
frames are files of excam-small: opening them, which every command does, is measured apart.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from emdarks.data import Dataset
from emdarks.library import Covariance, Entry, Kind, Library
from emdarks.library import index as sql
from small_products import SHAPE, save_frame

PRODUCTS, FRAMES, NIGHTS = 10_000, 1_000, 1_000
GAINS, TIMES = (1.0, 10.0, 100.0, 1000.0), (1.0, 3.0, 10.0, 30.0, 100.0)
FIRST = 61041.0


def product(number: int, rng: random.Random) -> Entry:
    maps, begin = rng.random() < 0.5, FIRST + rng.randrange(NIGHTS) + rng.random() / 4
    camera = rng.choice(("excam-small", "excam-small", "nuvu", "shoc"))
    return Entry(
        path=f"{number}.fits",
        size=1,
        sha256=f"{number:064d}",
        kind=Kind.NOISE_MAPS if maps else Kind.DARK,
        camera=camera,
        settings="" if camera == "excam-small" else f"mode={rng.randrange(5)}",
        level="L2a",
        rows=SHAPE[0],
        columns=SHAPE[1],
        model="full" if maps else "",
        gain=float("nan") if maps else rng.choice(GAINS),
        exposure_time=float("nan") if maps else rng.choice(TIMES),
        k_gain=8.7,
        k_gains_used=(8.7,),
        begin=begin,
        end=begin + 0.1,
        covariance=Covariance(rng.random(), 0.1 * rng.random(), 1e-4 * rng.random()),
        made=f"2026-01-01T00:00:{number % 60:02d}",
        certified=rng.random() < 0.2,
        valid_from=begin,
        valid_to=begin + 9,
        rejected="light" if rng.random() < 0.05 else "",
    )


@contextmanager
def told(what: str) -> Iterator[None]:
    started, used = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - started, time.process_time() - used
    print(f"{what}: {wall:.2f} s, {processor:.2f} s of the processor")


def main() -> None:
    warnings.simplefilter("ignore")
    rng = random.Random(5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = Library.init(folder / "library")
        with library.index.writing() as connection:
            for number in range(1, PRODUCTS + 1):
                sql.insert(connection, product(number, rng))
                (library.folder / f"{number}.fits").write_bytes(b" ")
        paths = []
        for number in range(FRAMES):
            cards = {"CAMERA": "excam-small", "KGAINPAR": 8.7, "BUNIT": "DN", "DATALVL": "L2a"}
            cards |= {"EXPTIME": rng.choice(TIMES), "EMGAIN_C": rng.choice(GAINS)}
            cards |= {"EMGAIN_A": -999.0, "MJDSRT": FIRST + rng.uniform(0, NIGHTS)}
            paths.append(save_frame(folder / f"frame_{number}.fits", cards))
        with told(f"opening {FRAMES} frames"):
            frames = Dataset(paths)
        with told(f"find: {FRAMES} frames in {PRODUCTS} products"):
            found = library.find(frames)
        with told("all explanations in words"):
            rules = sum(len(match.steps) for match in found)
        print(f"{sum(match.entry is not None for match in found)} found, {rules} rules explained")


if __name__ == "__main__":
    main()
