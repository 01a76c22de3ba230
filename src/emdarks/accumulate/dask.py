"""The executor for a Dask cluster: blocks accumulate, and merge, on its workers.

Every block is a task, every merge of two blocks is one, in the tree that threads use, so the
bits are the same. The moments of a finished stack, 0.2 to 2 % of the bytes of its frames, come
to the client, which fits them: that takes seconds, and needs all stacks of a pixel in one
place, where they are then.

A task has one thread: a worker with several runs as many blocks side by side, and Dask
decides, as for everybody else's tasks, how many that are. Each of its threads keeps its own
room to work in. Frames that are in memory are not sent; the client adds them itself.
"""

from __future__ import annotations

import logging
import pickle  # nosec B403
import resource
import signal
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import resource_tracker
from typing import Any, NoReturn, Self, TypeVar

from emdarks._version import __version__
from emdarks.accumulate.blocks import Block, Blocks, MergeTree, StackJob, StackSums, finish, join
from emdarks.accumulate.executor import Count, Executor, Progress
from emdarks.accumulate.threads import Threads
from emdarks.errors import ClusterError, EmdarksError, EmdarksWarning, InputError
from emdarks.moments import SUMS, Moments, merge

try:
    import distributed
    from dask.sizeof import sizeof
    from distributed.comm.core import CommClosedError
except ImportError:  # pragma: no cover
    raise InputError("Dask is not installed; pip install 'emdarks[dask]'") from None

A = TypeVar("A")
B = TypeVar("B")

#: A block that fails so often ends the run.
ATTEMPTS = 3
# Blocks of a slot: one in work, one behind it.
_BLOCKS_PER_SLOT = 2
# Seconds: to connect; between looks at the cluster; without scheduler; without a worker.
_CONNECT, _LOOK, _PATIENCE, _LONELY = 10.0, 1.0, 10.0, 15.0

# Open files of the client: its own, and those for every process that it starts.
_OPEN, _OPEN_EACH = 40, 8

_own = threading.local()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start threads and processes that never see Ctrl-C, which a terminal sends to all of them.

    Workers would end in tracebacks; their master hears it, and ends them. Its own turn comes once
    they are there: a cluster that is half started cannot be closed.
    """
    resource_tracker.ensure_running()  # which ends such a mask, where it is started later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Dask(Executor):
    """Run on a Dask cluster.

    Parameters
    ----------
    client : distributed.Client or str
        The cluster, or the address of its scheduler, or ``local``: a process for each core
        of this machine.
    progress : callable, optional
        Called with the numbers of frames done and of all, as blocks are finished.
    threads : int, optional
        Threads of the client, for the fit, and processes of ``local``; all cores by default.

    Raises
    ------
    ClusterError
        There is no scheduler at this address.

    Notes
    -----
    Workers must find the frames under the same paths, and have the same emdarks. A block
    that failed three times ends the run with the error of its last attempt. When a worker
    dies, its unfinished blocks are done again elsewhere, and those finished ones whose moments
    had not left it; with a `~emdarks.accumulate.Checkpoint` the latter are only loaded.

    So many moments are in the cluster at most: four for every thread of the workers (two blocks,
    and two more while it merges) and one for every level of the merge tree. Each takes about
    53 MB (1200 x 2200 pixels, frames without errors).
    """

    def __init__(
        self, client: Any, *, progress: Progress | None = None, threads: int | None = None
    ):
        self.progress = progress
        self._threads = Threads(threads)
        self._cluster: Any = None
        self._owned = isinstance(client, str)
        self._client = self._connected(client) if isinstance(client, str) else client
        self.address: str = self._client.scheduler.address

    def _connected(self, address: str) -> Any:
        # What goes wrong is said once, by an error.
        for name in ("distributed", "distributed.client", "distributed.comm"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if address == "local":
            _check_descriptors(self._threads.threads)
            with _deaf_to_interrupts():
                self._cluster = distributed.LocalCluster(
                    n_workers=self._threads.threads,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                    env={"DASK_LOGGING__DISTRIBUTED": "critical"},
                )
            return distributed.Client(self._cluster)
        try:
            return distributed.Client(address, timeout=_CONNECT)
        except (OSError, ValueError, TypeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ClusterError(
                f"{address}: no Dask scheduler answers there ({reason}); start one with "
                "'dask scheduler', or give --dask local"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of a cluster that was given by its address."""
        if self._owned:
            self._client.close(timeout=_LOOK)
        if self._cluster is not None:
            self._cluster.close()

    def map(self, function: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """See `Executor`; runs on the threads of the client."""
        return self._threads.map(function, items)

    def release(self, moments: Moments) -> None:
        """See `Executor`."""
        self._threads.release(moments)

    def stacks(
        self,
        jobs: Sequence[StackJob],
        into: Sequence[Moments] | None = None,
        blocks: Blocks | None = None,
        count: Count | None = None,
    ) -> Iterator[StackSums]:
        """See `Executor`."""
        blocks = blocks or Blocks()
        count = Count.of(count, self.progress, jobs)
        run = _Run(self._client, self.address, jobs, blocks, count)
        try:
            for index, job in enumerate(jobs):
                room = None if into is None else into[index]
                if _in_memory(job):
                    rooms = None if room is None else [room]
                    yield from self._threads.stacks([job], rooms, blocks, count)
                    continue
                sums, cut = run.stack(index)
                room = self._threads.room(job.kind) if room is None else room
                room.take(sums.moments)
                yield finish(replace(sums, moments=room), cut)
        finally:
            run.stop()


def _check_descriptors(workers: int) -> None:
    """Refuse to start processes with so few open files that Dask would wait for ever."""
    need, allowed = _OPEN + _OPEN_EACH * workers, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if 0 <= allowed < need:
        raise ClusterError(
            f"local: {workers} processes need {need} open files, and {allowed} are allowed; raise "
            "the limit (ulimit -n), give fewer --threads, or leave out --dask"
        )


class _Run:
    """Blocks and merges of some stacks on their way through a cluster."""

    def __init__(
        self, client: Any, address: str, jobs: Sequence[StackJob], blocks: Blocks, count: Count
    ):
        self._client = client
        self._address = address
        self._blocks = blocks
        self._count = count
        self._name = f"emdarks-{uuid.uuid4().hex[:8]}"
        self._number = 0
        # Futures that are not finished; a block where they are one.
        self._running: dict[Any, Block | None] = {}
        # Futures that a merge was submitted for.
        self._merging: set[Any] = set()
        # Blocks and root of each stack of which all is submitted.
        self._roots: list[tuple[list[Block], Any]] = []
        self._alive = 0
        self._height = 0
        self._slots, self._looked, self._answered = 0, 0.0, time.monotonic()
        self._warned = False
        self._feed: Iterator[None] | None = self._submit(jobs)

    def stack(self, index: int) -> tuple[StackSums, list[Block]]:
        """Sums of the next stack, and its blocks."""
        try:
            while not (len(self._roots) > index and self._roots[index][1] not in self._running):
                self._fill()
                if len(self._roots) <= index or self._roots[index][1] in self._running:
                    self._wait()
            cut, root = self._roots[index]
            sums: StackSums = root.result()
        except (CommClosedError, CancelledError, OSError, TimeoutError) as error:
            if isinstance(error, EmdarksError):
                raise
            self._lost()
        root.release()
        self._roots[index] = cut, None
        self._alive -= 1
        return sums, cut

    def stop(self) -> None:
        """Let the cluster forget what is not finished."""
        if self._running and self._client.status == "running":
            self._client.cancel(list(self._running), force=True)
        self._running.clear()
        self._merging.clear()
        self._roots.clear()

    # Submitting

    def _submit(self, jobs: Sequence[StackJob]) -> Iterator[None]:
        """Submit a block, and the merges that become possible with it, at every step."""
        for job in jobs:
            if _in_memory(job):
                self._roots.append(([], None))
                continue
            cut = self._blocks.cut(job)
            self._height = max(self._height, len(cut).bit_length())
            tree: MergeTree[Any] = MergeTree(self._submit_merge)
            for block in cut:
                yield
                tree.add(self._submit_block(block))
            self._roots.append((cut, tree.root()))

    def _submit_block(self, block: Block) -> Any:
        samples = tuple(replace(s, source=s.source.for_sending()) for s in block.job.samples)
        sent = replace(block, job=replace(block.job, samples=samples))
        # As bytes: Dask would look for futures in every frame.
        task = pickle.dumps((sent, self._blocks, __version__))
        future = self._client.submit(
            _sums, task, key=self._key("block"), pure=False, retries=ATTEMPTS - 1
        )
        self._running[future] = block
        self._alive += 1
        return future

    def _submit_merge(self, left: Any, right: Any) -> Any:
        future = self._client.submit(
            _merged, left, right, key=self._key("merge"), pure=False, priority=1
        )
        self._running[future] = None
        self._merging.update((left, right))
        self._let_go(left, right)
        return future

    def _let_go(self, *futures: Any) -> None:
        """Keep no longer what is finished and has its merge; the scheduler does, as it needs."""
        for future in futures:
            if future in self._merging and future not in self._running:
                self._merging.discard(future)
                future.release()

    def _key(self, what: str) -> str:
        self._number += 1
        return f"{self._name}-{what}-{self._number}"

    def _fill(self) -> None:
        """Submit as many blocks as the cluster may hold."""
        if time.monotonic() - self._looked > _LOOK:
            self._look()
        while self._feed is not None and self._alive < self._limit:
            try:
                next(self._feed)
            except StopIteration:
                self._feed = None

    @property
    def _limit(self) -> int:
        """Moments that may be in the cluster."""
        return _BLOCKS_PER_SLOT * max(self._slots, 1) + self._height + 1

    # Waiting

    def _look(self) -> None:
        """How many threads the workers have: they may come and go."""
        now = self._looked = time.monotonic()
        if self._client.status != "running":
            if now - self._answered > _PATIENCE or self._client.status == "closed":
                self._lost()
            return
        self._slots = sum(self._client.nthreads().values())
        if self._slots or self._warned:
            self._answered = now
        elif now - self._answered > _LONELY:
            self._warned = True
            text = f"{self._address}: the Dask cluster has no workers yet; waiting for one"
            warnings.warn(text, EmdarksWarning, stacklevel=2)

    def _wait(self) -> None:
        """Wait until something is finished, not for long."""
        if not self._running:
            return
        try:
            done = distributed.wait(list(self._running), _LOOK, "FIRST_COMPLETED").done
        except TimeoutError:
            return
        for future in done:
            self._finished(future, self._running.pop(future))

    def _finished(self, future: Any, block: Block | None) -> None:
        if future.status == "cancelled":
            self._lost()
        if future.status == "lost":  # with a worker; the scheduler has it done again
            self._running[future] = block
            return
        if future.status == "error":
            self._failed(future.exception(), block)
        self._let_go(future)
        if block is None:
            self._alive -= 1
        else:
            self._count.block(block)

    def _failed(self, error: Exception, block: Block | None) -> NoReturn:
        if isinstance(error, EmdarksError):
            raise error
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, distributed.scheduler.KilledWorker):
            reason = "workers died of it; do they have enough memory?"
            # A merge fails with the block that it waits for.
            known = {future.key: block for future, block in self._running.items()}
            block = block or known.get(error.task)
        what = "a merge" if block is None else _frames_of(block)
        raise ClusterError(f"{what}: given up by the Dask cluster at {self._address} ({reason})")

    def _lost(self) -> NoReturn:
        raise ClusterError(
            f"{self._address}: the Dask scheduler is gone; start it and the run again (with a "
            "checkpoint, finished blocks are kept)"
        )


def _in_memory(job: StackJob) -> bool:
    return any(sample.source.identity is None for sample in job.samples)


def _frames_of(block: Block) -> str:
    first, *others = (str((s.source.identity or ("",))[0]) for s in block.job.samples)
    return f"{first} and the {len(others)} frames added with it" if others else first


# What workers do


def _size(sums: StackSums) -> int:
    """Bytes of sums, by which Dask decides what moves where."""
    planes = [getattr(sums.moments, name) for name in SUMS]
    if sums.moments.counting is not None:
        planes += sums.moments.counting.sums()
    for means in sums.sequence:
        planes += means.mean, means.n
    return sum(plane.nbytes for plane in planes if plane is not None)


sizeof.register(StackSums, _size)


def _sums(task: bytes) -> StackSums:
    """Accumulate a block."""
    # From the client itself, as everything that Dask sends.
    block, blocks, version = pickle.loads(task)  # nosec B301
    if version != __version__:
        raise ClusterError(f"a worker has emdarks {__version__}, the client {version}")
    if not hasattr(_own, "threads"):
        _own.threads = Threads(1)
    try:
        sums: StackSums = blocks.sums(block, _own.threads)
    except EmdarksError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ClusterError(f"{_frames_of(block)}: cannot be added ({reason})") from error
    if not sums.moments.has_errors:
        sums.moments.err2 = None  # all 0: nothing to send
    return sums


def _merged(left: StackSums, right: StackSums) -> StackSums:
    """Merge into new memory: what a task was given may be needed again."""
    return join(left, right, _merge)


def _merge(left: Moments, right: Moments) -> Moments:
    flags, errors = left.flags.dtype, left.has_errors or right.has_errors
    counting = None if left.counting is None else left.counting.copy()
    histogram = left.histogram is not None
    made = Moments.empty(left.n.size, flags, errors, left.kept, 1, counting, histogram)
    made.n = left.n.copy()
    made.take(left)
    merge(made, right)
    made.add_histogram(right)
    return made
