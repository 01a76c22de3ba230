"""Raw frames for `validation.flight`: ``python -m validation.flight_frames FOLDER FRAMES CAMERA``.

Prints one line of JSON: how many frames there are, their bytes, and the seconds it took.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from validation.flight_grid import GAINS, TIMES

from emdarks.cameras import load_camera
from emdarks.simulate import simulate_campaign

SEED = 17


def main() -> None:
    """Make them, with as many threads as there are cores."""
    folder, frames, camera = Path(sys.argv[1]), int(sys.argv[2]), load_camera(sys.argv[3])
    began, busy = time.perf_counter(), time.process_time()
    made = simulate_campaign(
        folder,
        camera,
        seed=SEED,
        stacks=[(gain, seconds, frames) for gain in GAINS for seconds in TIMES],
        level="1",
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
