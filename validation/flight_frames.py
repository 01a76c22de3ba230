"""Raw frames for `validation.flight`.

    python -m validation.flight_frames FOLDER FRAMES CAMERA [KIND]

KIND is one of `KINDS`: how the cosmic rays are.

Prints one line of JSON: how many frames there are, their bytes, and the seconds it took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from validation.flight_grid import GAINS, TIMES

from emdarks.cameras import load_camera
from emdarks.simulate import Effects, rays, simulate_campaign

SEED = 17
#: Tails and wings of the rays: samples, and the width of the wings in pixels; no tails: no rays.
KINDS = {"usual": (13, 0.8), "long tails": (60, 0.8), "wide wings": (13, 1.5), "none": (0, 0.8)}


def main() -> None:
    """Make them, with as many threads as there are cores."""
    folder, frames, camera = Path(sys.argv[1]), int(sys.argv[2]), load_camera(sys.argv[3])
    tails, rays._WING_WIDTH = KINDS[sys.argv[4] if len(sys.argv) > 4 else "usual"]
    usual = Effects.of_level_1(camera)
    effects = replace(usual, tails=tails, rays=usual.rays if tails else 0.0)
    began, busy = time.perf_counter(), time.process_time()
    made = simulate_campaign(
        folder,
        camera,
        seed=SEED,
        stacks=[(gain, seconds, frames) for gain in GAINS for seconds in TIMES],
        level="1",
        effects=effects,
        threads=len(os.sched_getaffinity(0)),
        overwrite=True,
    )
    facts = {
        "frames": len(made.paths),
        "bytes": sum(path.stat().st_size for path in made.paths),
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - busy,
        "load": os.getloadavg()[0],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
