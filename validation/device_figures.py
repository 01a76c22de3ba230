"""What a data sheet says of maps and stacks: `python -m validation.device_figures`.

Small detectors, with trails of hot pixels, glow, rows and columns that differ, noisy pixels, and
signals that are not quite linear, or without. Of each the moments of its stacks are drawn and
fitted, and each number with its interval is taken from the fit. How often does the interval hold
the truth? Writes a section of docs/validation_characterize.md, within two minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from validation.moments import Stacks, Truth, draw_stacks
from validation.sections import write_section

from emdarks.accumulate import Threads
from emdarks.bad_pixels import standing_out
from emdarks.fit.deferred_charge import deferred_charge
from emdarks.fit.estimate import COVERAGE, Estimate
from emdarks.fit.excess_noise import Samples, measure_excess_noise
from emdarks.fit.fixed_pattern import fixed_pattern
from emdarks.fit.glow import fit_glow
from emdarks.fit.hot_counts import hot_counts
from emdarks.fit.least_squares import Fit
from emdarks.fit.linearity import image_means, linearity
from emdarks.fit.pixel_noise import pixel_noise
from emdarks.fit.pooled import fit_pooled
from emdarks.fit.row_noise import RowNoise, row_noise

Array = npt.NDArray[Any]

PAGE = Path(__file__).parent.parent / "docs" / "validation_characterize.md"
TITLE = "Trails, glow, patterns, noise and linearity"
SEED, DEVICES = 2027, 150
SHAPE = ROWS, COLS = 60, 90
GAIN = np.array([2.0, 2.0, 60.0, 600.0, 2000.0, 2000.0])
TIME = np.array([3.0, 90.0, 30.0, 60.0, 5.0, 100.0])
FRAMES, NOISE, C_MEAN, D_MEAN = 40, 110.0, 0.015, 8e-4
HOT_SHARE = 0.006
#: Hot pixels are counted above these, e-/s.
THRESHOLDS = (0.02, 0.1)
#: Numbers of pixels of this very detector: whole, and known but for those close to a threshold.
COUNTS = tuple(f"hot pixels above {threshold:g}" for threshold in THRESHOLDS)
#: Coverage may lie so far from nominal, of itself, beside three binomial standard errors.
TOLERANCE = 0.05


class Device(NamedTuple):
    """What a detector has.

    Attributes
    ----------
    along_rows, along_columns : float
        Share of the charge of hot pixels in trails along rows, and along columns.
    glow : float
        Peak to valley, e-/s.
    rows, columns : float
        Root mean square of the pattern, EM electrons.
    time, gain : float
        Share of the signal that is a square of time, of gain.
    bias : float
        Noise that all pixels of a row have in common in a frame, EM electrons.
    noisy : int
        Pixels of three times the read noise.
    """

    along_rows: float = 0.0
    along_columns: float = 0.0
    glow: float = 0.0
    rows: float = 0.0
    columns: float = 0.0
    time: float = 0.0
    gain: float = 0.0
    bias: float = 0.0
    noisy: int = 0


KINDS = {
    "without": Device(),
    "with": Device(0.02, 0.005, 3e-4, 4.0, 2.0, 0.1, 0.0, 15.0),
    "other": Device(gain=-0.1, noisy=25),
}
#: Of a trail, in the three pixels behind.
TRAIL = (0.6, 0.3, 0.1)


class Result(NamedTuple):
    """A number beside its truth."""

    name: str
    truth: float
    estimate: Estimate


def results(device: Device, seed: tuple[int, ...]) -> Iterator[Result]:
    """All numbers of one detector."""
    rng = np.random.default_rng(seed)
    truth, pattern = _truth(device, rng)
    stacks = _stacks(device, truth, rng)
    imaging = np.ones(truth.F.size, bool)
    fit, _ = fit_pooled(stacks.store, stacks.stacks, True, imaging, (0, 0), Threads(1))
    store = stacks.store
    ordinary = (~truth.hot & fit.fitted).reshape(SHAPE)
    rows = row_noise(store.n, store.mean, store.m2, GAIN, TIME, ordinary)
    if not device.noisy:  # which the errors of F do not know: they are those of the pool
        yield Result("noise of rows in a frame", device.bias, rows.frame)
        yield from _of_maps(device, truth, pattern, fit, rows)
    yield from _of_noise(device, stacks, fit, ~truth.hot)
    yield from _of_means(device, stacks, fit, rows)


def _truth(device: Device, rng: np.random.Generator) -> tuple[Truth, tuple[Array, Array, Array]]:
    """True maps, and the parts of the fixed pattern."""
    parts = (
        device.rows * rng.standard_normal((ROWS, 1)),
        device.columns * rng.standard_normal((1, COLS)),
        12.0 * rng.standard_normal(SHAPE),
    )
    D = D_MEAN * rng.gamma(4, 0.25, SHAPE)
    hot = rng.random(SHAPE) < HOT_SHARE
    D[hot] = 10 ** rng.uniform(-1.5, 0.3, int(hot.sum()))
    # Along columns first: rows move before pixels do.
    for axis, share in ((0, device.along_columns), (1, device.along_rows)):
        D = D + share * sum(f * _late(D, k + 1, axis) for k, f in enumerate(TRAIL))
    D += device.glow * _glow()
    C = C_MEAN * (1 + 0.1 * rng.standard_normal(SHAPE))
    planes = (plane.ravel() for plane in (sum(parts), C, D, hot))
    return Truth(*planes), parts


def _late(plane: Array, steps: int, axis: int) -> Array:
    """The plane moved by some pixels."""
    moved = np.roll(plane, steps, axis)
    np.moveaxis(moved, axis, 0)[:steps] = 0
    return moved


def _glow() -> Array:
    """A corner that shines; 0 to 1."""
    row, col = np.ogrid[0 : 1 : ROWS * 1j, 0 : 1 : COLS * 1j]
    return np.asarray(((row + col) / 2) ** 2)


def _stacks(device: Device, truth: Truth, rng: np.random.Generator) -> Stacks:
    """Moments, stack by stack: squares of time change the charge, those of gain the gain."""
    noise = np.where(np.arange(truth.F.size) < device.noisy, 3 * NOISE, NOISE)
    planes: list[tuple[Array, Array, Array]] = []
    for g, t in zip(GAIN, TIME, strict=True):
        by_time = 1 + device.time * (t / TIME.max() - 1)
        by_gain = 1 + device.gain * (g / GAIN.max() - 1)
        bent = Truth(truth.F, truth.C, truth.D * by_time, truth.hot)
        one = draw_stacks(rng, np.array([g * by_gain]), np.array([t]), FRAMES, bent, noise)
        common = device.bias / np.sqrt(FRAMES) * rng.standard_normal(ROWS).repeat(COLS)
        planes.append((one.store.n[0], one.store.mean[0] + common, one.store.m2[0]))
    n, mean, m2 = (np.array(rows) for rows in zip(*planes, strict=True))
    return Stacks.of(GAIN, TIME, n, mean, m2)


def _of_maps(
    device: Device, truth: Truth, pattern: tuple[Array, Array, Array], fit: Fit, rows: RowNoise
) -> Iterator[Result]:
    F, _, D = (plane.reshape(SHAPE) for plane in fit.values)
    F_error, _, D_error = (plane.reshape(SHAPE) for plane in fit.errors)
    for axis, share in ((1, device.along_rows), (0, device.along_columns)):
        name = ("columns", "rows")[axis]
        yield Result(f"deferred along {name}", share, deferred_charge(D, D_error, axis).share)
    glow = fit_glow(D)
    yield Result("glow, peak to valley", device.glow, glow.amplitude)
    corner = device.glow * (1 - float(_glow().mean()))
    yield Result("glow, last corner", corner, glow.corners[3])
    found = fixed_pattern(F, F_error, rows.of_map(0))
    estimates = found.rows, found.columns, found.pixels
    names = "pattern of rows", "pattern of columns", "pattern of pixels"
    for name, part, estimate in zip(names, pattern, estimates, strict=True):
        yield Result(name, float(part.std()), estimate)
    good = np.isfinite(D_error)
    limit = standing_out(D, D_error, good, 5.0, 64, 1.0 / (FRAMES * TIME.max())).limit
    for count in hot_counts(D, D_error, limit, 3e-7, THRESHOLDS):
        true = float((truth.maps[2] > count.threshold).sum())
        yield Result(f"hot pixels above {count.threshold:g}", true, count.count)
        yield Result(
            f"probability of a pixel above {count.threshold:g}",
            _hot_law(count.threshold),
            count.share,
        )


def _hot_law(threshold: float) -> float:
    """Probability that a pixel was drawn above a threshold."""
    return HOT_SHARE * float(min((0.3 - np.log10(threshold)) / 1.8, 1.0))


def _of_noise(device: Device, stacks: Stacks, fit: Fit, ordinary: Array) -> Iterator[Result]:
    store = stacks.store
    charge = fit.values[1] + TIME[:2, None] * fit.values[2]
    noise = pixel_noise(store.n[:2], store.m2[:2], 2 * GAIN[:2, None] ** 2 * charge)
    yield Result("read noise, stacks of low gain", NOISE, noise.read_noise)
    yield Result("noisy pixels", float(device.noisy), noise.excess)
    use = ordinary & fit.fitted & ~noise.outlying
    samples = Samples(store.n, store.m2, GAIN, TIME, fit.values[1], fit.values[2], use)
    excess = measure_excess_noise(samples)
    if not (device.gain or device.time):  # else the charge is not what the maps say
        yield Result("excess noise over theory", 1.0, excess.ratio)
        yield Result("read noise, all stacks", NOISE, excess.read_noise)


def _of_means(device: Device, stacks: Stacks, fit: Fit, rows: RowNoise) -> Iterator[Result]:
    store = stacks.store
    moments = store.n, store.mean, store.m2
    found = linearity(GAIN, TIME, image_means(*moments, fit.fitted, rows.variance, ROWS))
    if not device.gain:
        yield Result("square in the signal, time", device.time, found.time)
    if not device.time:
        yield Result("square in the signal, gain", device.gain, found.gain)
    if not (device.gain or device.time):
        yield Result("residuals of stacks, rms", 0.0, found.rms)


def tally(devices: int) -> dict[str, dict[str, Array]]:
    """For each kind and number: held, deviation and error of each detector, shape (devices, 4)."""
    found: dict[str, dict[str, list[Any]]] = {}
    for number, (kind, device) in enumerate(KINDS.items()):
        for i in range(devices):
            for name, truth, e in results(device, (SEED, number, i)):
                row = (e.low <= truth <= e.high, e.value - truth, e.error, truth)
                found.setdefault(name, {}).setdefault(kind, []).append(row)
    return {
        name: {kind: np.array(rows, float) for kind, rows in kinds.items()}
        for name, kinds in found.items()
    }


class Coverage(NamedTuple):
    """How a number did over detectors of a kind."""

    name: str
    kind: str
    truth: float
    share: float
    error: float
    bias: float
    scatter: float
    mean_error: float

    @classmethod
    def of(cls, name: str, kind: str, rows: Array) -> Coverage:
        """From rows of held, deviation, error and truth."""
        held, off, error, truth = rows[np.isfinite(rows[:, 1])].T
        spread = np.sqrt(COVERAGE * (1 - COVERAGE) / held.size)
        means = truth.mean(), held.mean(), spread, off.mean(), off.std(), error.mean()
        return cls(name, kind, *map(float, means))

    @property
    def fine(self) -> bool:
        """Whether the coverage is what it should be; counts of pixels may cover more often."""
        off = self.share - COVERAGE
        if self.name in COUNTS:
            off = min(off, 0.0)
        return abs(off) < TOLERANCE * COVERAGE + 3 * self.error

    def row(self) -> str:
        """Of a table."""
        numbers = (f"{x:.3g}" for x in (self.truth, self.bias, self.scatter, self.mean_error))
        truth, bias, scatter, error = numbers
        share = f"{100 * self.share:.0f} %"
        cells = self.name, self.kind, truth, share, bias, scatter, error
        return f"| {' | '.join(cells)} |"


def table(found: list[Coverage]) -> str:
    """Markdown."""
    head = (
        "| number | detectors | truth | interval holds it | mean deviation | scatter | mean error |"
    )
    return "\n".join([head, "| --- |" + " --- |" * 6, *(each.row() for each in found)])


def main() -> int:
    """Run, print, write the section; 0 where all coverages are as they should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=DEVICES, help="detectors of each kind")
    devices = parser.parse_args().devices
    found = [
        Coverage.of(name, kind, rows)
        for name, kinds in tally(devices).items()
        for kind, rows in kinds.items()
    ]
    text = table(found)
    spread = 100 * found[0].error
    wrong = [each.name for each in found if not each.fine]
    write_section(
        PAGE,
        TITLE,
        TEXT.format(
            text=text, devices=devices, spread=spread, bias=KINDS["with"].bias, **globals()
        ),
    )
    sys.stdout.write(f"{text}\n\n{', '.join(wrong) or 'all'} {'wrong' if wrong else 'fine'}\n")
    return 1 if wrong else 0


TEXT = """Written by `python -m validation.device_figures`, seed {SEED}: {devices} detectors of each
kind, of {ROWS} x {COLS} pixels, with six stacks of {FRAMES} frames at gains from 2 to 2000 and 3 to
100 s, fitted by `pooled`. C is {C_MEAN} e⁻, D {D_MEAN:g} e⁻/s with a scatter of 50 % and
{HOT_SHARE:.1%} hot pixels, the read noise {NOISE:g} EM e⁻. Those *with* have trails of three pixels
(2 % of the charge along rows, 0.5 % along columns), a corner that glows, rows and columns that
differ, a charge that is not linear in time; the *other* ones have noisy pixels and a gain that is
not linear; those *without* have none of it. An interval should hold the truth in
68.3 % of all detectors; {devices} of them leave {spread:.1f} % of chance.

{text}

Shares of trails are those of the charge of the hot pixel; glow and hot pixels in e⁻/s; patterns and
read noise in EM e⁻; squares and residuals are shares of the signal. Counts of hot pixels are whole
numbers, and so are their errors: they cover more often, always where no pixel lies close to the
threshold. A number that cannot be negative is too large on average where the truth is 0; its
interval begins at 0 as often as it should. Squares of time and of gain are fitted one at a time:
each is right where all else is linear. The detectors with patterns also have a noise of
{bias:g} EM e⁻ that all pixels of a row share in a frame, which is measured and taken off.
"""


if __name__ == "__main__":
    sys.exit(main())
