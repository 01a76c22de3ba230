"""Bad-pixel maps against a known truth: ``python -m validation.badpixels``.

Simulated campaigns of 120 x 220 pixels whose dark current has a tail from 1 to 200 times the
median: how many of the pixels above 5, 10 and 50 times the median are found (completeness), and
how many of those found are above (purity). And detectors without any hot pixel: how many pixels
noise alone makes hot. Writes docs/validation_badpixels.md.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from validation.subtract import frame, noise_maps, section

from emdarks.bad_pixels import build_bad_pixel_map
from emdarks.darks import build_trad_dark
from emdarks.data import Dark, Dataset, DetectorNoiseMaps
from emdarks.simulate import Truth, make_truth, simulate_stack

PAGE = Path(__file__).parent.parent / "docs" / "validation_badpixels.md"
SEED = 2026
FRAMES = (10, 30, 100, 300)
REALISATIONS = 4
LEVELS = (5.0, 10.0, 50.0)
#: Share of pixels in the tail, which is even in the logarithm between these times the median.
TAIL_SHARE, TAIL = 0.03, (1.0, 200.0)
#: Setting at which a synthesised dark and a traditional one are judged.
SETTING = (1000.0, 60.0)
#: Noise must not make more than this many in a million hot.
ALLOWED = 5.0

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Score:
    """Counts over realisations.

    Attributes
    ----------
    above, found, right : int
        Pixels above the level, pixels called so, those that are both.
    """

    above: int
    found: int
    right: int

    @classmethod
    def of(cls, truth: Array, found: Array) -> Score:
        """Count."""
        return cls(int(truth.sum()), int(found.sum()), int((truth & found).sum()))

    def __add__(self, other: Score) -> Score:
        return Score(self.above + other.above, self.found + other.found, self.right + other.right)

    @property
    def completeness(self) -> float:
        """Share of those above that are found."""
        return self.right / self.above if self.above else float("nan")

    @property
    def purity(self) -> float:
        """Share of those found that are above."""
        return self.right / self.found if self.found else float("nan")


def tailed(seed: int) -> Truth:
    """A detector whose dark current has a tail."""
    truth = make_truth("excam-small", seed, hot_share=0.0)
    rng = np.random.default_rng([seed, 5])
    level = truth.camera.noise.dark_current
    tail = level * TAIL[0] * (TAIL[1] / TAIL[0]) ** rng.random(truth.shape)
    picked = (rng.random(truth.shape) < TAIL_SHARE) & truth.imaging_area
    dark = np.where(picked, tail, truth.dark_current)
    return replace(truth, dark_current=dark.astype(np.float32))


def level_map(truth: Truth) -> Array:
    """True dark current over its median, image region."""
    dark = truth.dark_current[section(truth)]
    return dark / np.median(dark)


def reference_rule(maps: DetectorNoiseMaps, image: tuple[slice, slice]) -> Array:
    """Mean + 5 standard deviations of a synthesised dark, over all pixels."""
    dark = maps.synthesize(*SETTING).data[image]
    return np.asarray(dark > dark.mean() + 5 * dark.std())


def scores(truth: Truth, maps: DetectorNoiseMaps) -> dict[tuple[str, float], Score]:
    """What each rule finds of one campaign, at each level."""
    ratio = level_map(truth)
    rule = reference_rule(maps, section(truth))
    found = {}
    for level in LEVELS:
        ours = build_bad_pixel_map(maps, warm=level)
        found["ours", level] = Score.of(ratio > level, (ours.data & 8) != 0)
        found["reference", level] = Score.of(ratio > level, rule)
    return found


def trad_dark(truth: Truth, gain: float, time: float, frames: int, seed: int) -> Dark:
    """Mean of one stack."""
    rng = np.random.default_rng([seed, 6, int(gain)])
    stack = zip(*simulate_stack(truth, gain, time, frames, rng), strict=True)
    images = [frame(truth, gain, time, data, None, dq) for data, dq in stack]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build_trad_dark(Dataset(images), None)


def plain_rule(values: Array) -> int:
    """Pixels above median + 5 MAD, which looks at no errors and knows no electrons."""
    away = values - np.median(values)
    return int((away > 5 * 1.4826 * np.median(np.abs(away))).sum())


def false_alarms(frames: int, seed: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Pixels called hot, also by the plain rule, and judged: all have one dark current."""
    truth = make_truth("excam-small", seed, hot_share=0.0)
    level = np.float32(truth.camera.noise.dark_current)
    truth = replace(truth, dark_current=level * truth.imaging_area)
    maps = noise_maps(truth, frames, seed)
    image = section(truth)
    products: dict[str, tuple[Any, Array]] = {"noise maps": (maps, maps.extra("SIGNED")[2][image])}
    made = maps.synthesize(*SETTING, section=image)
    products["synthesised dark"] = made, made.data
    for gain, time in (SETTING, (5000.0, 100.0)):
        dark = trad_dark(truth, gain, time, frames, seed)
        products[f"dark, gain {gain:g}, {time:g} s"] = dark, dark.data
    for name, (product, values) in products.items():
        # Significance alone, without the ratio that a warm pixel must have.
        flags = build_bad_pixel_map(product, warm=0.0).data
        yield name, (int(((flags & 8) != 0).sum()), plain_rule(values), flags.size)


def score_table(found: dict[tuple[int, str, float], Score]) -> str:
    """Markdown."""
    lines = [
        "| frames a stack | D above | pixels | found | completeness | purity | reference: found | "
        "completeness | purity |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for frames in FRAMES:
        for level in LEVELS:
            ours, other = found[frames, "ours", level], found[frames, "reference", level]
            lines.append(
                f"| {frames} | {level:g} x median | {ours.above} | {ours.found} | "
                f"{ours.completeness:.3f} | {ours.purity:.3f} | {other.found} | "
                f"{other.completeness:.3f} | {other.purity:.3f} |"
            )
    return "\n".join(lines)


def alarm_table(alarms: dict[tuple[str, int], tuple[int, int, int]]) -> str:
    """Markdown."""
    lines = [
        "| product | " + " | ".join(f"{frames} frames a stack" for frames in FRAMES) + " |",
        "| --- |" + " --- |" * len(FRAMES),
    ]
    for name in dict.fromkeys(name for name, _ in alarms):
        cells = (f"{alarms[name, n][0]} ({alarms[name, n][1]})" for n in FRAMES)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Run, print, write the page; 0 where the figures are as they should be."""
    found: dict[tuple[int, str, float], Score] = {}
    alarms: dict[tuple[str, int], tuple[int, int, int]] = {}
    for frames in FRAMES:
        for seed in range(SEED, SEED + REALISATIONS):
            truth = tailed(seed)
            for key, score in scores(truth, noise_maps(truth, frames, seed)).items():
                found[frames, *key] = found.get((frames, *key), Score(0, 0, 0)) + score
            for name, counts in false_alarms(frames, seed):
                old = alarms.get((name, frames), (0, 0, 0))
                alarms[name, frames] = old[0] + counts[0], old[1] + counts[1], old[2] + counts[2]
    text, chance = score_table(found), alarm_table(alarms)
    judged = alarms["noise maps", FRAMES[0]][2]
    PAGE.write_text(PAGE_TEXT.format(text=text, chance=chance, judged=judged, **globals()))
    sys.stdout.write(f"{text}\n\n{chance}\n")
    deep = found[FRAMES[-1], "ours", LEVELS[0]]
    false = sum(c[0] for c in alarms.values()) / sum(c[2] for c in alarms.values())
    fine = deep.completeness > 0.95 and deep.purity > 0.95 and false * 1e6 < ALLOWED
    return 0 if fine else 1


PAGE_TEXT = """# Bad-pixel maps, validated

Written by `python -m validation.badpixels` (a part of `make validate`), seed {SEED}. Campaigns of
six stacks, frames of 120 x 220 pixels, image region of 102 x 104, {REALISATIONS} detectors each.
Dark current by the gamma law (relative scatter 50 %); 3 % of the pixels have 1 to 200 times the
median, evenly in the logarithm. `build_bad_pixel_map` with `warm` at the level asked for, against
the true dark current; a pixel right at the level is called one way or the other by its noise.
Reference: the rule of the reference implementation, mean + 5 standard deviations over all
pixels of a synthesised dark (EM gain 1000, 60 s), which hot pixels raise.

{text}

Few frames cannot tell a warm pixel from a lucky electron: those are left out rather than called
hot.

## What noise alone does

Detectors in which every pixel has the same dark current. Pixels called hot by their significance
alone, of {judged:,} judged; in parentheses what median + 5 MAD would call hot, a rule without
errors and without the tail of one electron:

{chance}
"""

if __name__ == "__main__":
    raise SystemExit(main())
