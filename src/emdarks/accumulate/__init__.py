"""Running the accumulation: who computes, and in which fixed order.

``blocks`` says what the work is: a stack is cut into blocks of 128 frames, a
block is accumulated, two blocks merge in a fixed tree. ``executor`` says what may
run it, ``threads`` runs it on one machine, ``cluster`` on a Dask cluster;
``checkpoint`` keeps finished blocks on disk, whoever computes.
"""

from emdarks.accumulate.blocks import (
    BLOCK_FRAMES,
    FrameFigures,
    Sample,
    SequenceMeans,
    StackJob,
    StackSums,
)
from emdarks.accumulate.checkpoint import Checkpoint
from emdarks.accumulate.executor import Executor
from emdarks.accumulate.threads import Threads, available_cores

__all__ = [
    "BLOCK_FRAMES",
    "Checkpoint",
    "Executor",
    "FrameFigures",
    "Sample",
    "SequenceMeans",
    "StackJob",
    "StackSums",
    "Threads",
    "available_cores",
]
