"""Who computes, as a command's options have it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from emdarks.cli import talk

if TYPE_CHECKING:
    from emdarks.execution import Executor

__all__ = ["executor"]


@contextmanager
def executor(threads: int | None, dask: str | None, checkpoint: Path | None) -> Iterator[Executor]:
    """Threads or a Dask cluster, with a checkpoint or without; shows how far it has come.

    A log need not say how far a run on threads has come that would begin anew anyhow.
    """
    from emdarks.execution import Checkpoint, Threads

    with ExitStack() as held:
        advance = None
        if talk.people.is_terminal or dask is not None or checkpoint is not None:
            advance = held.enter_context(talk.progress("reading", "frames"))
        made: Executor
        if dask is None:
            made = Threads(threads, progress=advance)
        else:
            from emdarks.execution.cluster import Dask

            made = held.enter_context(Dask(dask, progress=advance, threads=threads))
        yield made if checkpoint is None else Checkpoint(made, checkpoint)
