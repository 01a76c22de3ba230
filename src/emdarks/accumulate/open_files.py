"""How many files a process may have open for reading frames, over all of its threads."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, Lock

from emdarks.accumulate.blocks import BLOCK_FRAMES, Sample


def files_allowed() -> int:
    """Half of the files that this process may have open."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return BLOCK_FRAMES if limit == resource.RLIM_INFINITY else max(1, limit // 2)


def files_open(batches: Sequence[Sequence[Sample]], ahead: bool) -> int:
    """Most files open at once: of a batch, and of the next where that is opened ahead."""
    counts = [sum(_stays_open(sample) for sample in batch) for batch in batches]
    following = [*counts[1:], 0] if ahead else [0] * len(counts)
    return max(map(sum, zip(counts, following, strict=True)))


def _stays_open(sample: Sample) -> bool:
    """Whether the frame is read from its file while it is added; others are held in memory."""
    source = sample.source
    return source.identity is not None and not source.is_remote and not source.held_bytes


class OpenFiles:
    """A number of files that threads share.

    A thread takes all that it will need at once, and waits for nothing while it has them: so
    none waits for ever. They are served in order, so that a large wish is not passed by.
    """

    def __init__(self) -> None:
        self._start()
        # A forked process has none of the threads that would give files back.
        os.register_at_fork(after_in_child=self._start)

    def _start(self) -> None:
        self._first = Lock()
        self._change = Condition()
        self._taken = 0

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Wait until so many files may be open; more than all are given to one alone."""

        def free() -> bool:
            return self._taken == 0 or self._taken + count <= files_allowed()

        with self._first, self._change:
            self._change.wait_for(free)
            self._taken += count
        try:
            yield
        finally:
            with self._change:
                self._taken -= count
                self._change.notify_all()


#: Of this process.
OPEN_FILES = OpenFiles()
