"""The data sheet of 1,000 frames of 1024 x 1024: time, and the most memory.

    python benchmarks/characterize.py FOLDER --frames 1000

simulates an iXon once in the folder (4 bytes a sample), and characterizes it in a process of its
own with two threads. Their file pages are in memory after the first run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from emdarks.simulate import simulate_campaign

#: EM gain and exposure time (s) of the stacks.
STACKS = ((1.0, 10.0), (1.0, 60.0), (300.0, 30.0), (1000.0, 1.0), (1000.0, 60.0))
PROGRAM = """
import json, pathlib, re, sys, time, warnings
warnings.simplefilter("ignore")
from emdarks import Threads, characterize
from emdarks.frames import select_frames
start = time.perf_counter()
dataset = select_frames([sys.argv[1]])
opened = time.perf_counter()
busy = time.process_time()
sheet = characterize(dataset, executor=Threads(2))
made, busy = time.perf_counter(), time.process_time() - busy
from emdarks.report.datasheet import datasheet_page
datasheet_page(sheet).save(sys.argv[2])
done = time.perf_counter()
# Of this program: the resources of the process begin with what its parent had at most.
status = pathlib.Path("/proc/self/status").read_text()
peak = int(re.search(r"VmHWM:\\s+(\\d+)", status).group(1)) / 1024
print(json.dumps({"frames": sheet.frames, "open": opened - start, "sheet": made - opened,
                  "busy": busy, "page": done - made, "peak": peak}))
"""


def frames(folder: Path, count: int) -> Path:
    """The frames, made once."""
    made = folder / f"ixon_{count}"
    if not (made / "campaign.toml").exists():
        plan = [(gain, time, count // len(STACKS)) for gain, time in STACKS]
        simulate_campaign(made, "ixon-solis", seed=22, stacks=plan, overwrite=True, threads=2)
    return made


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=1000)
    given = parser.parse_args()
    made = frames(given.folder, given.frames)
    print("| frames | headers, s | data sheet, s | its CPU, s | page, s | peak, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    command = [sys.executable, "-c", PROGRAM, str(made), str(given.folder / "sheet.html")]
    for _ in range(2):
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        print(
            "| {frames} | {open:.1f} | {sheet:.1f} | {busy:.1f} | {page:.1f} | {peak:.0f} |".format(
                **found
            )
        )


if __name__ == "__main__":
    main()
