"""Peak memory of noise maps from full-size frames: bounded by stacks, not by frames.

    python benchmarks/memory.py --frames 2 8

makes six stacks (1200 x 2200) of 2 and of 8 frames, fits each campaign in a process of
its own, and prints the peaks and their ratio.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from emdarks.simulate import DEFAULT_STACKS, simulate_campaign

PROGRAM = """
import resource, sys, time, warnings
warnings.simplefilter("ignore")
from emdarks.data import Dataset
from emdarks.darks import calibrate_darks_lsq
paths = open(sys.argv[1]).read().split()
start = time.perf_counter()
dataset = Dataset(paths)
scanned = time.perf_counter()
calibrate_darks_lsq(dataset, None, estimator=sys.argv[2])
done = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(peak, (scanned - start) / len(paths) * 1e3, done - scanned)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--estimator", default="reference")
    parser.add_argument("--folder", type=Path, help="keep the frames here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        peaks = [measure(folder, frames, arguments.estimator) for frames in arguments.frames]
    print(f"largest / smallest peak: {max(peaks) / min(peaks):.3f}")


def campaign(folder: Path, frames: int) -> list[str]:
    """Paths of six full-size stacks of this many frames each, made once."""
    target = folder / f"campaign_{frames}"
    if not (target / "campaign.toml").exists():
        simulate_campaign(target, "excam", frames=frames, seed=frames, stacks=DEFAULT_STACKS)
    return sorted(str(path) for path in target.glob("cgi_*.fits"))


def measure(folder: Path, frames: int, estimator: str) -> float:
    listed = folder / f"list_{frames}.txt"
    listed.write_text("\n".join(campaign(folder, frames)))
    made = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(listed), estimator],
        capture_output=True,
        text=True,
        check=True,
    )
    peak, scan, seconds = (float(value) for value in made.stdout.split())
    print(
        f"6 stacks of {frames} frames: peak {peak:.0f} MiB; headers {scan:.2f} ms a frame, "
        f"maps {seconds:.2f} s"
    )
    return peak


if __name__ == "__main__":
    main()
