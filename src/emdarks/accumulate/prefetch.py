"""Opening frames before they are needed.

Opening a plain local file costs nothing. A remote one has to be fetched, a compressed one
unpacked: then the next batch of frames is opened while the current one is added, by threads
of their own. Two batches are held at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from emdarks.accumulate.blocks import Sample
from emdarks.fits.pixels import Reader

# Frames that are fetched side by side.
FETCHES = 8


class ReadAhead:
    """Batches of frames that are opened in order.

    Parameters
    ----------
    batches : sequence of sequences of Sample
        All of them.
    threads : int
        Threads that may work; waiting for a server is no work.
    """

    def __init__(self, batches: Sequence[Sequence[Sample]], threads: int):
        samples = [sample for batch in batches for sample in batch]
        self._batches = batches
        self._coming: dict[int, list[Future[Reader]]] = {}
        self._pool: ThreadPoolExecutor | None = None
        if any(sample.source.is_remote for sample in samples):
            self._pool = ThreadPoolExecutor(FETCHES)
        elif threads > 1 and any(sample.source.held_bytes for sample in samples):
            self._pool = ThreadPoolExecutor(threads)

    @property
    def opens_ahead(self) -> bool:
        """Whether the next batch is opened while one is added."""
        return self._pool is not None

    @contextmanager
    def opened(self, number: int) -> Iterator[list[Reader]]:
        """Readers of a batch; those of the next are opened meanwhile."""
        readers: list[Reader] = []
        try:
            if self._pool is None:
                readers.extend(sample.source.open() for sample in self._batches[number])
            else:
                self._ask_for(number)
                self._receive(number, readers)
                self._ask_for(number + 1)
            yield readers
        except BaseException:
            self._give_up()
            raise
        finally:
            for reader in readers:
                reader.close()
        if self._pool is not None and number == len(self._batches) - 1:
            self._pool.shutdown()

    def _ask_for(self, number: int) -> None:
        if self._pool is not None and number < len(self._batches) and number not in self._coming:
            submit = self._pool.submit
            self._coming[number] = [submit(s.source.open) for s in self._batches[number]]

    def _receive(self, number: int, readers: list[Reader]) -> None:
        coming = self._coming[number]
        while coming:
            readers.append(coming[0].result())
            del coming[0]

    def _give_up(self) -> None:
        """Wait for what cannot be stopped, and close what was opened in vain."""
        if self._pool is None:
            return
        self._pool.shutdown(cancel_futures=True)
        for future in (future for batch in self._coming.values() for future in batch):
            if not future.cancelled() and future.exception() is None:
                future.result().close()
