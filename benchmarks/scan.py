"""Scanning many frames: time, and memory kept of each.

    python benchmarks/scan.py --paths 26000

makes hard links to one small frame with the header of a flight frame, opens them as a
dataset, sorts them into stacks, and prints what that took.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from emdarks.cameras import load_camera
from emdarks.data import Dataset
from emdarks.frames import frame_inputs
from emdarks.simulate import simulate_campaign
from emdarks.stacks import group_stacks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, default=26_000)
    count = parser.parse_args().paths
    with tempfile.TemporaryDirectory() as folder:
        paths = links(Path(folder), count)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        dataset = Dataset(paths)
        scanned = time.perf_counter()
        stacks = group_stacks(frame_inputs(dataset, load_camera("excam-small")))
        grouped = time.perf_counter()
        kept = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / count
    print(f"{count} paths, {len(stacks)} stack(s)")
    print(f"headers: {(scanned - start):.1f} s, {(scanned - start) / count * 1e3:.2f} ms a frame")
    print(f"stacks: {(grouped - scanned):.2f} s")
    print(f"memory kept: {kept / 1000:.2f} kB a frame (growth of the peak)")


def links(folder: Path, count: int) -> list[str]:
    made = simulate_campaign(folder / "one", "excam-small", frames=1, stacks=[(1000.0, 60.0, 1)])
    source = str(made.paths[0])
    paths = []
    for number in range(count):
        path = str(folder / f"cgi_{number:06d}_l2a.fits")
        os.link(source, path)
        paths.append(path)
    return paths


if __name__ == "__main__":
    main()
