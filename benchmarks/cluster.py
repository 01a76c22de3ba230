"""What a Dask cluster of this machine's processes does with full-size frames.

    python benchmarks/cluster.py FOLDER              frames made by frames.py FOLDER 16 12 4
    python benchmarks/cluster.py FOLDER --workers 1 2 --json figures.json

Scheduler, workers and client are processes of their own. Prints frames per second by number
of workers, bytes between processes, the cost of a merge, peak memory of workers, scheduler
and client, what a checkpoint costs, and from these the time for 26,000 frames.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import frames as made
import numpy as np

BLOCK = 4
WHOLE = 128
CAMPAIGN = 26_000
WORKERS = (1, 8, 64)
# What storage gives, GB/s, and what such storage is.
STORAGE = {
    0.2: "one hard disk",
    1.2: "10 Gb/s network",
    5.0: "several SSDs, or a bucket read from many machines",
    50.0: "a parallel file system",
}


def peak() -> float:
    """Peak memory of this process, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@contextmanager
def cluster(workers: int) -> Iterator[Any]:
    """Client of a scheduler and workers of one thread, in processes of their own."""
    import distributed

    def start(what: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    started = [start("scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1")]
    assert started[0].stderr is not None
    address = ""
    while not address:
        line = started[0].stderr.readline()
        address = line.split("Scheduler at:")[1].strip() if "Scheduler at:" in line else ""
    options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
    started += [start("worker", address, *options) for _ in range(workers)]
    for process in started:
        # Full pipes would stop them.
        subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    try:
        with distributed.Client(address) as client:
            client.wait_for_workers(workers)
            yield client
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def sent(client: Any) -> int:
    """Bytes that workers gave to others so far."""
    return sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())


def jobs_of_campaign(paths: list[str]) -> list[Any]:
    """Work of the noise maps of all stacks."""
    from emdarks.cameras import load_camera
    from emdarks.data import Dataset
    from emdarks.frames import frame_inputs
    from emdarks.stacks import figure_area, group_stacks, jobs_of, telemetry_slice, to_em_electrons

    camera = load_camera("excam")
    stacks = group_stacks(frame_inputs(Dataset(paths), camera))
    telemetry = telemetry_slice(camera.telemetry_rows, camera.arrtype, camera.regions)
    area = figure_area(camera.arrtype, camera.regions, telemetry)
    scales = [to_em_electrons(stack, None) for stack in stacks]
    return jobs_of(stacks, scales, (1 << 64) - 1, area)


def measured(function: Any, repeats: int = 3) -> float:
    """Shortest time, s."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def on_dask(paths: list[str], workers: int) -> dict[str, float]:
    """Figures of a cluster; in a process of its own, for its memory."""
    from emdarks.accumulate.dask import Dask
    from emdarks.stacks.stack_moments import accumulate_stacks

    jobs = jobs_of_campaign(paths)
    with cluster(workers) as client:
        executor = Dask(client)
        accumulate_stacks(jobs[:workers], executor)  # kernels are loaded
        before = sent(client)
        seconds = measured(lambda: accumulate_stacks(jobs, executor))
        return {
            "workers": workers,
            "seconds": seconds,
            "sent": (sent(client) - before) / 3 / 1e9,
            "worker": max(client.run(peak).values()),
            "scheduler": client.run_on_scheduler(peak),
            "client": peak(),
        }


def on_threads(paths: list[str], kept: Path) -> dict[str, float]:
    """The same without a cluster, and with a checkpoint."""
    from emdarks.accumulate import Checkpoint, Threads
    from emdarks.accumulate.dask import _merged
    from emdarks.stacks.stack_moments import accumulate_stacks

    jobs = jobs_of_campaign(paths)
    single = Threads(1)
    accumulate_stacks(jobs[:1], single)

    def keep() -> None:
        shutil.rmtree(kept, ignore_errors=True)
        accumulate_stacks(jobs, Checkpoint(single, kept))

    sums = [single.sums(job) for job in jobs[:2]]
    return {
        "one thread": measured(lambda: accumulate_stacks(jobs, single)),
        "keeping": measured(keep),
        "kept": measured(lambda: accumulate_stacks(jobs, Checkpoint(single, kept))),
        "block": np.mean([path.stat().st_size for path in kept.glob("*.npz")]) / 1e6,
        "merge": measured(lambda: _merged(*sums), 5),
    }


def parts(folder: Path, counts: list[int], block: int) -> dict[str, Any]:
    """All figures, each from a process of its own."""

    def run(*arguments: object) -> Any:
        command = [sys.executable, __file__, str(folder), "--block", str(block), "--part"]
        done = subprocess.run(
            [*command, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True
        )
        return json.loads(done.stdout)

    paths = [path for stack in made.load(folder)[:16] for path in stack[:12]]
    return {
        "frames": len(paths),
        "frame": sum(Path(path).stat().st_size for path in paths) / len(paths) / 1e6,
        "threads": run("threads"),
        "dask": [run("dask", workers) for workers in counts],
    }


def report(found: dict[str, Any], block: int) -> Iterator[str]:
    """The figures as Markdown."""
    count, size, threads = found["frames"], found["frame"], found["threads"]
    yield f"{count} frames of {size:.1f} MB in 16 stacks, blocks of {block} frames.\n"
    yield "| | frames/s | between processes | peak: worker | scheduler | client |"
    yield "| --- | --- | --- | --- | --- | --- |"
    yield f"| one thread, no cluster | {count / threads['one thread']:.0f} | | | | |"
    for row in found["dask"]:
        yield (
            f"| Dask, {row['workers']} workers of one thread | {count / row['seconds']:.0f} | "
            f"{row['sent']:.2f} GB | {row['worker']:.2f} GB | {row['scheduler']:.2f} GB | "
            f"{row['client']:.2f} GB |"
        )
    more = threads["keeping"] - threads["one thread"]
    blocks = 16 * -(-12 // block)
    yield f"\nA merge: {threads['merge'] * 1e3:.0f} ms. A block on disk: {threads['block']:.1f} MB;"
    yield f"keeping one takes {more / blocks * 1e3:.0f} ms, loading one"
    yield f"{threads['kept'] / blocks * 1e3:.0f} ms.\n"
    # Blocks have 128 frames in earnest: what each costs beyond its frames weighs less.
    frame = threads["one thread"] / count
    extra = max(found["dask"][0]["seconds"] - threads["one thread"], 0.0) / blocks
    rate = WHOLE / (WHOLE * frame + extra)
    yield f"A block costs {extra * 1e3:.0f} ms beyond its frames when a worker sends it: with"
    yield f"blocks of {WHOLE} frames, {rate:.0f} frames/s a worker.\n"
    volume = CAMPAIGN / WHOLE * threads["block"] / 1e3
    yield f"{CAMPAIGN} frames are {CAMPAIGN * size / 1e3:.0f} GB from storage; of their moments"
    yield f"{16 * threads['block'] / 1e3:.2f} GB (16 stacks) come to the client, and at most"
    yield f"{volume:.1f} GB go between workers. Computed from the rate above, reading alone:\n"
    yield "| storage | " + " | ".join(f"{n} workers" for n in WORKERS) + " |"
    yield "| --- |" + " --- |" * len(WORKERS)
    for bandwidth, name in STORAGE.items():
        limit = bandwidth * 1e3 / size
        cells = [
            f"{CAMPAIGN / min(n * rate, limit) / 60:.1f} min"
            + (" (storage)" if limit < n * rate else "")
            for n in WORKERS
        ]
        yield f"| {bandwidth:g} GB/s: {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--block", type=int, default=BLOCK)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part is None:
        found = parts(arguments.folder, arguments.workers, arguments.block)
        if arguments.json:
            arguments.json.write_text(json.dumps(found))
        print("\n".join(report(found, arguments.block)))
        return
    from emdarks.accumulate import blocks

    warnings.simplefilter("ignore")
    blocks.BLOCK_FRAMES = arguments.block
    paths = [path for stack in made.load(arguments.folder)[:16] for path in stack[:12]]
    name, *rest = arguments.part
    if name == "threads":
        with tempfile.TemporaryDirectory(dir=arguments.folder) as kept:
            print(json.dumps(on_threads(paths, Path(kept) / "kept")))
    else:
        print(json.dumps(on_dask(paths, int(rest[0]))))


if __name__ == "__main__":
    main()
