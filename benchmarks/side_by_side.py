"""Noise maps of the same frames by emdarks and by corgidrp: time and memory of whole processes.

    make interchange                                          once: the environment
    .venv-interchange/bin/python benchmarks/side_by_side.py   prints a table

Frames of level 2a and full size, six stacks, are simulated (26 MB each), read once, so that all
find them in the page cache, and turned into saved noise maps: by `emdarks noisemaps`, and by
corgidrp's `calibrate_darks_lsq`, its frames in memory or with headers only. What is said of
agreement compares the estimator that is its own, `--estimator frames`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from processes import Finished, run

HOME = Path(sys.prefix) / "home"
COMMAND = [sys.executable, "-m", "emdarks"]
#: Its function on the files of a folder; headers only where the third argument is "headers".
ITS = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from corgidrp.darks import calibrate_darks_lsq
from corgidrp.data import Dataset, DetectorParams
folder, target, mode = sys.argv[1:]
paths = sorted(str(path) for path in Path(folder).glob("cgi_*.fits"))
frames = Dataset(paths, no_data=mode == "headers")
# Simulated frames do not say at which level they were flagged.
maps = calibrate_darks_lsq(frames, DetectorParams({}), CR_threshold_check=False)
maps.save(str(Path(target).parent), Path(target).name)
"""
AGREEMENT = """
import sys
import numpy as np
from emdarks.data import DetectorNoiseMaps
its, our = (DetectorNoiseMaps(path) for path in sys.argv[1:])
for name, one, other, error in zip("FCD", its.data, our.data, our.err[0]):
    good = np.isfinite(one) & np.isfinite(other) & (error > 0)
    apart = np.abs(one - other)[good] / error[good]
    print(f"{name}: {good.sum()} pixels, at most {apart.max():.1e} of the error apart")
"""


def main() -> None:
    """Make frames where there are none, run everything, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where frames are, or are made")
    parser.add_argument("--frames", type=int, default=10, help="frames of each of six stacks")
    given = parser.parse_args()
    os.environ["HOME"] = str(HOME)
    with tempfile.TemporaryDirectory() as name:
        folder = given.folder or Path(name) / "frames"
        if not folder.exists():
            words = ["--frames", str(given.frames), "--units", "e", "--quiet"]
            run([*COMMAND, "simulate", str(folder), *words])
        paths = sorted(folder.glob("cgi_*.fits"))
        for path in paths:
            path.read_bytes()
        print(f"{len(paths)} frames, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(", ".join(f"{package} {version(package)}" for package in ("emdarks", "corgidrp")))
        show(measured(folder, Path(name)))
        saved = [str(Path(name) / f"{maps}.fits") for maps in ("its_memory", "frames")]
        print(run([sys.executable, "-c", AGREEMENT, *saved]).output)


def measured(folder: Path, products: Path) -> dict[str, Finished]:
    """Each way once, one after the other."""
    found = {}
    for estimator in "pooled", "frames":
        target = ["-o", str(products / f"{estimator}.fits"), "--quiet"]
        command = ["noisemaps", str(folder), "--estimator", estimator, *target]
        found[f"emdarks noisemaps --estimator {estimator}"] = run([*COMMAND, *command])
    for mode in "memory", "headers":
        target = str(products / f"its_{mode}.fits")
        name = f"corgidrp calibrate_darks_lsq ({mode})"
        found[name] = run([sys.executable, "-c", ITS, str(folder), target, mode])
    return found


def show(found: dict[str, Finished]) -> None:
    """Print the table."""
    print("\n| noise maps | wall, s | CPU, s | peak memory, GB |\n| --- | --- | --- | --- |")
    for name, one in found.items():
        print(f"| {name} | {one.seconds:.1f} | {one.cpu:.1f} | {one.peak:.2f} |")
    print()


if __name__ == "__main__":
    main()
