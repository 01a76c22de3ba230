"""Cost and misses of the search for cosmic rays: ``python -m validation.search_sets``.

Raw frames of EXCAM at full size, as `emdarks.simulate` makes them: without rays, for what a search
takes from clean frames, and the same frames with rays, for what it leaves of these. Writes
docs/validation_search.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emdarks.cameras import load_camera
from emdarks.detector import region_slices
from emdarks.raw import (
    DARK,
    STANDARD,
    CosmicRaySearch,
    FramePlan,
    FullWell,
    Linearity,
    RawCalibration,
    RowBias,
    prepare,
    scan,
    search_cost,
    stored_bytes,
)
from emdarks.simulate import (
    Effects,
    Truth,
    invented_linearity,
    make_truth,
    simulate_raw_frame,
)

PAGE = Path(__file__).parent.parent / "docs" / "validation_search.md"
SEED = 2026
FRAMES = 10
STACKS = (
    (1.0, 100.0),
    (100.0, 100.0),
    (1000.0, 2.0),
    (1000.0, 100.0),
    (5000.0, 2.0),
    (5000.0, 100.0),
)
SETS = {"standard": STANDARD, "dark": DARK}
CAMERA = load_camera("excam")
IMAGE = region_slices("SCI", "image", CAMERA.regions)
SHAPE = CAMERA.regions["SCI"]["frame_rows"], CAMERA.regions["SCI"]["frame_cols"]


@dataclass(slots=True)
class Found:
    """Sums over the image region of the frames of one stack and one set."""

    samples: int = 0
    good: int = 0
    kept: float = 0.0
    total: float = 0.0
    struck_good: int = 0
    left: float = 0.0

    def add(self, clean: Any, clean_dq: Any, struck: Any, struck_dq: Any) -> None:
        """Add a frame, without rays and with them."""
        good = clean_dq == 0
        self.samples += good.size
        self.good += int(good.sum())
        self.kept += float(clean[good].sum())
        self.total += float(clean.sum())
        good = struck_dq == 0
        self.struck_good += int(good.sum())
        self.left += float((struck - clean)[good].sum())


def plan(search: CosmicRaySearch, gain: float, linearity: Linearity) -> FramePlan:
    """The whole preparation of a frame."""
    bias = region_slices("SCI", "prescan_reliable", CAMERA.regions)[1]
    noise = CAMERA.noise
    return FramePlan(
        RawCalibration(
            RowBias(columns=(bias.start, bias.stop), num_stds=5.0),
            k_gain=noise.k_gain,
            full_well=FullWell(noise.full_well_image, noise.full_well_register),
            search=search,
            linearity=linearity,
        ),
        gain,
    )


def electrons(numbers: Any, made: FramePlan) -> tuple[Any, Any]:
    """Electrons and flags of the image region."""
    frame = stored_bytes(numbers)
    learnt = scan(frame, SHAPE, made)
    assert learnt is not None
    done = prepare(frame, SHAPE, made, learnt)
    assert done is not None
    return done.data[IMAGE], done.dq[IMAGE]


def measure(truth: Truth, number: int, gain: float, time: float) -> dict[str, Found]:
    """All frames of a stack by both sets."""
    linearity = invented_linearity()
    rays = Effects.of_level_1(CAMERA)
    found = {name: Found() for name in SETS}
    for frame in range(FRAMES):
        numbers = [
            simulate_raw_frame(
                truth, gain, time, np.random.default_rng([SEED, number, frame]), effects=effects
            ).data
            for effects in (replace(rays, rays=0.0), rays)
        ]
        for name, search in SETS.items():
            made = plan(search, gain, linearity)
            clean, struck = (electrons(each, made) for each in numbers)
            pattern = truth.fixed_pattern[IMAGE]
            (first, flags), (second, struck_flags) = clean, struck
            found[name].add(first - pattern, flags, second - pattern, struck_flags)
    return found


def rows_of(gain: float, time: float, found: dict[str, Found]) -> tuple[list[str], list[str]]:
    """Lines of the two tables."""
    cost, left = [], []
    for name, sums in found.items():
        made = plan(SETS[name], gain, invented_linearity())
        noise = CAMERA.noise
        charge = noise.clock_induced_charge + time * noise.dark_current
        threshold = SETS[name].threshold * made.well * noise.k_gain
        law = search_cost(SETS[name], threshold, gain, charge, noise.read_noise)
        kept = sums.kept / sums.good / (sums.total / sums.samples) if gain > 1 else np.nan
        cost.append(
            f"| {name} | {gain:g} | {time:g} | {1 - sums.good / sums.samples:.2%} "
            f"| {law.flagged:.2%} | {'' if np.isnan(kept) else f'{kept:.3f}'} "
            f"| {law.kept_mean:.3f} |"
        )
        flagged = 1 - sums.struck_good / sums.samples
        rest = sums.left / sums.struck_good / gain
        left.append(
            f"| {name} | {gain:g} | {time:g} | {flagged:.2%} | {rest:.2g} | {rest / time:.2g} |"
        )
    return cost, left


def main() -> int:
    """Run, print, write the page."""
    truth = make_truth(CAMERA, SEED, hot_share=0.0, level="1")
    cost: list[str] = []
    left: list[str] = []
    for number, (gain, time) in enumerate(STACKS):
        found = measure(truth, number, gain, time)
        for table, lines in zip((cost, left), rows_of(gain, time, found), strict=True):
            table.extend(lines)
            sys.stdout.write("\n".join(lines) + "\n")
    hot = with_hot_pixels()
    sys.stdout.write("\n".join(hot) + "\n")
    PAGE.write_text(page(_by_set(cost), _by_set(left), hot))
    return 0


def with_hot_pixels() -> list[str]:
    """Lines of the third table: what `dark` costs where the detector has hot pixels."""
    truth = make_truth(CAMERA, SEED, level="1")
    lines = []
    for number, (gain, time) in enumerate(STACKS):
        if gain >= 1000:
            sums = measure(truth, number, gain, time)["dark"]
            kept = sums.kept / sums.good / (sums.total / sums.samples)
            flagged = 1 - sums.good / sums.samples
            lines.append(f"| {gain:g} | {time:g} | {flagged:.2%} | {kept:.3f} |")
    return lines


def _by_set(lines: list[str]) -> list[str]:
    """The stacks of one set, then those of the other."""
    return sorted(lines, key=lambda line: list(SETS).index(line.split()[1]))


def page(cost: list[str], left: list[str], hot: list[str]) -> str:
    """The page of the documentation."""
    rows, cols = (len(range(*part.indices(size))) for part, size in zip(IMAGE, SHAPE, strict=True))
    newline = "\n"
    noise = CAMERA.noise
    return f"""# What the search for cosmic rays costs and misses

Written by `python -m validation.search_sets` (a part of `make validate`), seed {SEED}: {FRAMES}
raw frames a stack, as `emdarks simulate --level 1` makes them for EXCAM, C =
{noise.clock_induced_charge:g} electrons per frame and D = {noise.dark_current:g} electrons per
second, no hot pixels; flags and means of the {rows} x {cols} pixels of the image region. Sets of
parameters as in [the how-to](howto_raw.md#choose-the-search).

## Clean frames

No rays: everything that is flagged is the frame's own charge. *Mean left* is the mean of the
unflagged samples over that of all samples, less the fixed pattern; at EM gain 1 there is too little
charge to tell.
*By the law* is what `emdarks inspect` computes
({{py:func}}`~emdarks.raw.search_cost`) and warns of where more than 1 % of the mean is lost.

| set | EM gain | time, s | flagged | by the law | mean left | by the law |
| --- | --- | --- | --- | --- | --- | --- |
{newline.join(cost)}

Hot pixels add to this: where one is above the threshold in most frames, a single electron beside it
makes a pair. The same with the hot pixels that `emdarks simulate` makes (1 % of the pixels), by
the set `dark`; of the mean of all pixels much is lost with the hot ones themselves:

| EM gain | time, s | flagged | mean left |
| --- | --- | --- | --- |
{newline.join(hot)}

## Frames with rays

The same frames with {CAMERA.simulation.rays:g} rays per cm² and second, which leave
.02 electrons per pixel and second. *Left*: mean charge of rays in samples without a flag (32 or
128), electrons before the gain register per pixel, and the same per second of exposure, to be
compared with D.

| set | EM gain | time, s | flagged | left, e- | left, e-/s |
| --- | --- | --- | --- | --- | --- |
{newline.join(left)}
"""


if __name__ == "__main__":
    raise SystemExit(main())
