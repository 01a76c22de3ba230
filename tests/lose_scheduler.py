"""Loses its Dask scheduler in mid-run: prints its address, the error, and how long it took.

python tests/lose_scheduler.py FRAMES...
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from emdarks.accumulate import blocks
from emdarks.accumulate.dask import Dask
from emdarks.darks import mean_combine
from emdarks.data import Dataset
from emdarks.errors import ClusterError


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler"
            if command[0] == "scheduler"
            else "distributed.cli.dask_worker",
            *command[1:],
        ],
        stderr=subprocess.PIPE,
        text=True,
    )


def main() -> None:
    blocks.BLOCK_FRAMES = 2
    scheduler = start("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")
    address = ""
    assert scheduler.stderr is not None
    for line in scheduler.stderr:
        if "Scheduler at:" in line:
            address = line.split("Scheduler at:")[1].strip()
            break
    worker = start("worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny")
    killed: list[float] = []

    def kill(*_: int) -> None:
        if not killed:
            killed.append(time.monotonic())
            os.kill(scheduler.pid, signal.SIGKILL)

    try:
        with Dask(address, progress=kill) as dask:
            mean_combine(Dataset(sys.argv[1:] * 5), None, executor=dask)
    except ClusterError as error:
        sys.stdout.write(f"{address}|{error}|{time.monotonic() - killed[0]}\n")
    finally:
        worker.kill()
        scheduler.kill()


if __name__ == "__main__":
    main()
