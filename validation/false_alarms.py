"""How often emdarks inspect finds something in levels that have no defect.

Six stacks of normal levels, each with the error that noise gives it; run it with
`python -m validation.false_alarms`, half a minute. docs/howto_inspect.md quotes the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from emdarks.checks.frame_statistics import departures, jitter, step_jitter
from emdarks.checks.thresholds import ODD_FRAME, SIGNIFICANT
from emdarks.stacks import common_slope

STACKS = 6
#: Scatter of the levels of each stack over the error that noise gives them.
KINDS = {
    "as noise says": (1.0,) * STACKS,
    "five times as much": (5.0,) * STACKS,
    "ten times as much in two stacks, three times in one": (10.0, 10.0, 3.0, 1.0, 1.0, 1.0),
}


class Rates(NamedTuple):
    """Per campaign: frames called off, and whether the level is said to drift."""

    odd: float
    drifts: float


def rates(frames: int, ratios: Sequence[float], campaigns: int, seed: int = 1) -> Rates:
    """Count what is found in campaigns of six stacks of so many frames."""
    rng = np.random.default_rng((seed, frames))
    errors = [np.ones(frames)] * STACKS
    times = list(np.linspace(0, 1, STACKS * frames).reshape(STACKS, frames))
    odd = drifts = 0
    for _ in range(campaigns):
        levels = [ratio * rng.standard_normal(frames) for ratio in ratios]
        _, sigmas = departures(levels, errors)
        odd += sum(int((np.abs(z) > ODD_FRAME).sum()) for z in sigmas)
        steps = [step_jitter(level, error) for level, error in zip(levels, errors, strict=True)]
        everywhere = jitter(np.concatenate(steps))
        least = [max(everywhere, jitter(step)) for step in steps]
        drifts += bool(abs(common_slope(times, levels, least).sigmas) > SIGNIFICANT)
    return Rates(odd / campaigns, drifts / campaigns)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=4000)
    campaigns = parser.parse_args().campaigns
    print("| frames of a stack | levels scatter | frames called off | campaigns said to drift |")
    print("| --- | --- | --- | --- |")
    for kind, ratios in KINDS.items():
        for frames in (4, 10, 30):
            found = rates(frames, ratios, campaigns)
            print(f"| {frames} | {kind} | {found.odd:.5f} | {found.drifts:.5f} |")


if __name__ == "__main__":
    main()
