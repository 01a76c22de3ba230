"""Kills checkpointed runs at random moments, in a process without other threads.

    python tests/kill_runs.py FOLDER 20
    python tests/kill_runs.py FOLDER 20 raw
    python tests/kill_runs.py FOLDER together

makes a small campaign (of raw frames, where that is asked for), runs it undisturbed, then kills
20 runs (SIGKILL), one after the other, each going on from the one before; or lets three runs share
a checkpoint at once.
Prints what it found as JSON. Children are forked, so that every run starts at once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from campaigns import REGIONS, Campaign, RawCampaign, params, quirky_campaign
from emdarks.accumulate import Checkpoint, Executor, Threads, blocks
from emdarks.darks import calibrate_darks_lsq
from emdarks.fits.pixels import FileSource

STACKS = ((1.0, 2.0, 25), (1.0, 90.0, 24), (40.0, 11.0, 26), (300.0, 50.0, 25), (2000.0, 80.0, 27))


def maps(campaign: Campaign, executor: Executor) -> list[bytes]:
    """Planes of the product."""
    regions = None if isinstance(campaign, RawCampaign) else REGIONS
    made: Any = calibrate_darks_lsq(campaign.files(), params(), True, regions, executor=executor)
    return [plane.tobytes() for plane in (made.data, made.err, made.dq)]


def count_opened(log: Path) -> None:
    """From now on, write down which frames are opened."""
    original = FileSource.open

    def open_(self: FileSource) -> Any:
        with log.open("a") as file:
            file.write(Path(self.layout.path).name + "\n")
        return original(self)

    FileSource.open = open_  # type: ignore[method-assign]


def child(campaign: Campaign, kept: Path, log: Path, output: Path | None = None) -> int:
    """Start a run; its process."""
    process = os.fork()
    if process:
        return process
    try:
        count_opened(log)
        planes = maps(campaign, Checkpoint(Threads(1), kept))
        if output is not None:
            output.write_bytes(b"".join(planes))
        os._exit(0)
    finally:
        os._exit(1)


def frames_in(kept: Path) -> dict[str, set[str]]:
    """Names of the frames of every finished block."""
    import numpy as np

    found = {}
    for path in kept.glob("*.block.npz"):
        with np.load(path) as block:
            frames = [json.loads(text)[0] for text in json.loads(block["spec"].tobytes())["frames"]]
        found[path.name] = {Path(frame).name for frame in frames}
    return found


def opened(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def kill_and_go_on(folder: Path, campaign: Campaign, expected: bytes, times: int) -> dict[str, Any]:
    kept, log, output = folder / "kept", folder / "log", folder / "maps"
    start = time.perf_counter()
    os.waitpid(child(campaign, folder / "undisturbed", folder / "log0"), 0)
    whole = time.perf_counter() - start
    all_blocks = len(frames_in(folder / "undisturbed"))
    rng = random.Random(11)
    killed, again, stages = 0, [], []
    while killed < times:
        before = frames_in(kept)
        log.unlink(missing_ok=True)
        process = child(campaign, kept, log)
        time.sleep(rng.uniform(0, whole))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        killed += os.WIFSIGNALED(status)
        finished = set().union(*before.values()) if before else set()
        again += sorted(finished & set(opened(log)))
        stages.append(len(frames_in(kept)))
        if killed < times and len(frames_in(kept)) >= 0.8 * all_blocks:
            # Little is left to do: begin anew, so that the next run has something to lose.
            for path in kept.glob("*.block.npz"):
                path.unlink()
    before = frames_in(kept)
    log.unlink(missing_ok=True)
    _, status = os.waitpid(child(campaign, kept, log, output), 0)
    finished = set().union(*before.values()) if before else set()
    again += sorted(finished & set(opened(log)))
    return {
        "killed": killed,
        "same_bits": status == 0 and output.read_bytes() == expected,
        "read_again": again,
        "blocks_when_killed": stages,
        "blocks": all_blocks,
        "seconds": round(whole, 3),
    }


def together(folder: Path, campaign: Campaign, expected: bytes) -> dict[str, Any]:
    kept = folder / "kept"
    outputs = [folder / f"maps{i}" for i in range(3)]
    runs = [child(campaign, kept, folder / f"log{i}", out) for i, out in enumerate(outputs)]
    ended = [os.waitpid(process, 0)[1] for process in runs]
    return {
        "same_bits": all(out.read_bytes() == expected for out in outputs),
        "exit": ended,
        "left": [path.name for path in kept.glob("*.emdarks-part")],
    }


def main() -> None:
    warnings.simplefilter("ignore")
    blocks.BLOCK_FRAMES = 3
    folder = Path(sys.argv[1])
    (folder / "frames").mkdir()
    campaign: Campaign
    if "raw" in sys.argv[2:]:
        campaign = RawCampaign.small(folder / "frames", STACKS)
    else:
        campaign = quirky_campaign(folder / "frames", STACKS)
    expected = b"".join(maps(campaign, Threads(1)))
    if sys.argv[2] == "together":
        told = together(folder, campaign, expected)
    else:
        told = kill_and_go_on(folder, campaign, expected, int(sys.argv[2]))
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
