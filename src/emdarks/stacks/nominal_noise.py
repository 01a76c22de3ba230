"""The read noise that headers and camera state, and the bins of histograms that go by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from emdarks.arguments import is_number
from emdarks.cameras import Camera
from emdarks.counting_sums import HistogramBins
from emdarks.stacks.group import Stack


def nominal_noise(stack: Stack, camera: Camera) -> float:
    """RN of the headers, else the camera's in the mode of the frames; EM electrons, NaN if none."""
    first = stack.frames[0]
    given: Any = first.headers["ext"].get("RN")
    if is_number(given) and given > 0:
        return float(given)
    return camera.noise_in(first.record.mode).read_noise


def histograms_of(
    stacks: Sequence[Stack], camera: Camera
) -> list[tuple[None, HistogramBins]] | None:
    """Bins of each stack's histogram, as `jobs_of` takes them; None where a read noise is unknown.

    The bias is subtracted from the frames, so that samples without charge lie at 0.
    """
    noises = [nominal_noise(stack, camera) for stack in stacks]
    if not all(x > 0 and math.isfinite(x) for x in noises):
        return None
    return [(None, HistogramBins.of(0.0, noise)) for noise in noises]
