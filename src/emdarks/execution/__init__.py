"""Running the accumulation: who computes, and in which fixed order.

``blocks`` says what the work is: a stack is cut into blocks of 128 frames, a
block is accumulated, two blocks merge in a fixed tree. ``threads`` runs it on
one machine. An executor is anything with the two methods of `Executor`;
nobody else knows which one runs.
"""

from emdarks.execution.blocks import BLOCK_FRAMES, FrameFigures, Sample, StackJob, StackSums
from emdarks.execution.threads import Executor, Threads, available_cores

__all__ = [
    "BLOCK_FRAMES",
    "Executor",
    "FrameFigures",
    "Sample",
    "StackJob",
    "StackSums",
    "Threads",
    "available_cores",
]
