"""Compare the estimators with a known truth, print the tables, and write the page about it.

    python -m validation.validate            all grids and numbers of frames: minutes
    python -m validation.validate --quick    fewer realisations; prints, writes nothing

Exit 1 where a criterion is not reached; the short version tells the bias offset's error too
roughly to judge it.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from validation import figures
from validation.frames import trad_pulls
from validation.measure import Case, bias_offsets, mean_charge, measure
from validation.moments import C_MEAN, COLS, GRIDS, ROWS
from validation.report import (
    BIASES,
    LIMITS,
    case_table,
    dark_table,
    markdown,
    plain,
    pulls_line,
    summary_table,
)
from validation.report import ROWS as CRITERIA

from emdarks.simulate import excess_noise_squared

SEED = 2026
NUMBERS = (30, 100, 600)
FEW = (("real16", 6), ("m9", 6), ("m4", 6))
WEIGHT_NUMBERS = (10, 30, 100, 300, 1000, 3000)
DOCS = Path(__file__).parent.parent / "docs"
# Grid, frames per stack, rows and columns of the prescan.
OFFSETS = (
    ("real16", 30, (60, 54)),
    ("real16", 10, (60, 108)),
    ("m9", 100, (60, 54)),
    ("lin49", 10, (60, 54)),
    ("m4", 30, (60, 54)),
)
# EM gain, exposure time, frames.
SINGLE = (
    (5000, 100, 5),
    (5000, 100, 30),
    (5000, 100, 100),
    (5000, 10, 10),
    (200, 60, 5),
    (200, 60, 30),
    (2, 2, 5),
    (2, 2, 30),
)


@dataclass(frozen=True)
class Effort:
    """How much to simulate."""

    realisations: int
    campaigns: int
    darks: int
    detected: tuple[int, int]
    register: tuple[int, int]


FULL = Effort(24, 400, 12, (100, 30), (10, 10))
QUICK = Effort(6, 40, 3, (20, 6), (0, 0))


def _cases(effort: Effort, seed: int) -> list[Case]:
    cases = []
    for law in ("normal", "gamma4"):
        for name in GRIDS:
            for frames in NUMBERS:
                cases.append(measure(name, frames, law, effort.realisations, seed))
                print(".", end="", flush=True, file=sys.stderr)
    few = [measure(name, n, "normal", effort.realisations, seed) for name, n in FEW]
    print(file=sys.stderr)
    return cases + few


def _offset_table(effort: Effort, seed: int) -> tuple[list[list[str]], bool]:
    table = [["grid, frames", "mean, DN", "scatter, DN", "reported, DN", "scatter / reported"]]
    reached = True
    for name, frames, shape in OFFSETS:
        mean, scatter, error = bias_offsets(name, frames, effort.campaigns, seed, shape)
        ratio = scatter / error
        if name == "real16":
            reached &= 0.9 <= ratio <= 1.1
        size = f"{name}, N = {frames}, {shape[0]} x {shape[1]} pixels"
        table.append([size, f"{mean:.4f}", f"{scatter:.4f}", f"{error:.4f}", f"{ratio:.2f}"])
    return table, reached


def _single_table(effort: Effort, seed: int) -> list[list[str]]:
    table = [["EM gain, time, frames", '"pooled": std', "within 2 σ, %"]]
    table[0] += ['"sample": std', "within 2 σ, %", '"reference": std', "within 2 σ, %"]
    for gain, exposure, frames in SINGLE:
        line = [f"{gain}, {exposure} s, N = {frames}"]
        pulls = trad_pulls(gain, exposure, frames, effort.darks, seed)
        for estimator in ("pooled", "sample", "reference"):
            one = pulls[estimator]
            line += [f"{one.std():.2f}", f"{(abs(one) < 2).mean() * 100:.1f}"]
        table.append(line)
    return table


def _detect_part(effort: Effort, seed: int) -> str:
    """Frames of emccd-detect, in words and tables; or why there are none."""
    try:
        from validation import emccd_detect_frames as source

        fast, exact = effort.detected
        runs = {
            f"gamma law, real16, N = {fast}": source.run("real16", fast, seed, fast_gain_mode=True),
            f"604 stages, real16, N = {exact}": source.run("real16", exact, seed),
        }
    except ImportError as error:
        return (
            f"Not done here: `import emccd_detect` failed with “{error}”. "
            "`pip install emccd-detect` installs it.\n"
        )
    table = [["register", "F: error of mean / s.e.", "C", "D", "κ"]]
    pulls = [["register", "pull std of F, C, D", "pull mean", "within 1 σ, %", "within 2 σ, %"]]
    for label, found in runs.items():
        table.append([label, *(f"{s:.1f}" for s in found.sigmas), f"{found.excess_noise:.3f}"])
        std, mean = found.pulls.std(axis=1), found.pulls.mean(axis=1)
        pulls.append(pulls_line(label, std, mean, found.pulls))
    text = DETECT.format(
        version=version("emccd_detect"),
        kappa=excess_noise_squared(5000.0),
        table=markdown(table),
        pulls=markdown(pulls),
    )
    return text + _register_part(source, effort, seed)


def _register_part(source: object, effort: Effort, seed: int) -> str:
    """What C absorbs of the register's own charge."""
    always, automatic = effort.register
    if not always:
        return ""
    table = [["mode", "C above the truth, e⁻", "expected", "F, e⁻", "D, e⁻/s", "D / s.e."]]
    settings = (
        ("all gains, m4", "m4", always, True),
        ("automatic: above gain 200 only, m9", "m9", automatic, "auto"),
    )
    for label, name, frames, mode in settings:
        found = source.run(name, frames, seed, fast_gain_mode=mode, gain_CIC_Q="roman")  # type: ignore[attr-defined]
        error, sigma = found.mean_error, found.standard_error
        table.append(
            [
                f"{label}, N = {frames}",
                f"{error[1]:.4f} ± {sigma[1]:.4f}",
                f"{source.register_charge(5000.0):.4f}",  # type: ignore[attr-defined]
                f"{error[0]:.2f} ± {sigma[0]:.2f}",
                f"{error[2]:.1e}",
                f"{error[2] / sigma[2]:.1f}",
            ]
        )
    return REGISTER.format(table=markdown(table))


DETECT = """Version {version}, `sim_sub_frame`, with `gain_CIC_Q=0`, `fast_gain_mode` set (True: a
gamma law; False: through all 604 stages), the true F in a file, dark current by pixel in
another, `cic=0.02`, no cosmic rays, no smear, full wells out of reach, 32 bits; half a DN
added back, since its converter rounds down. Image means of F, C and D against the truth that
it was given, and the excess noise κ that the fit finds at gain 5000 (604 stages give
{kappa:.3f}):

{table}

{pulls}
"""

REGISTER = """
With the charge that it adds in the register left on (`gain_CIC_Q="roman"`, P/40 in each
stage), an electron of the last stages counts little and one of the first nearly as much as
an electron of the image: on average (g - 1)/(40 g) e⁻ a pixel and frame, at any time. C
absorbs it:

{table}

In the automatic mode of emccd-detect only gains above 200 have this charge: the stacks then
do not follow one model, and what C takes up depends on the gains of the campaign.
"""


PAGE = """# Validation

Written by `make validate` (`python -m validation.validate`, seed {seed}); `--quick` prints a
short version. {rows} x {cols} pixels; electrons from a Poisson law through a gamma-distributed
gain register, drawn one by one; F with structure of both signs, C 0.02 e⁻ ± 10 %,
D 8.33e-4 e⁻/s ± 20 % (“normal”) or spread by a gamma law of shape 4; 1 % hot pixels with D
from 0.01 to 1; read noise 120 e⁻; flagged cosmic rays 0.3 % + 0.05 % per second.
{realisations} realisations of each case. Grids: `lin49` 7 gains from 2 to 5000 in equal steps
x 7 times from 2 to 100 s; `log49` the gains in equal ratios; `real16` gains 2, 50, 500, 5000 x
times 2, 10, 40, 100; `m9` gains 2, 100, 5000 x times 2, 20, 100; `m4` gains 2, 5000 x times 2,
100. N is the number of frames per stack, M that of stacks.

Figures are from the smallest to the largest of all cases and parameters. “Oracle” is the fit
with each pixel's true variances, and errors from them. “Reference” is
`estimator="reference"`: weights from each pixel's own scatter, errors from unweighted
residuals; on m4 these have a single degree of freedom, and their pulls no finite variance.

A campaign of full-size raw frames with cosmic rays, from files to maps: [](validation_flight.md).
Frames of another simulator with its own cosmic rays: [](validation_emccd_detect.md).

## To be reached

{summary}

![Histograms of pulls](_static/validation_pulls.png)

![Coverage by grid and number of frames](_static/validation_coverage.png)

![Pulls of D by quarter of true D](_static/validation_quarters.png)

## Why weights must not come from the pixel's own scatter

The mean and the scatter of the same few skewed samples are correlated: a pixel that caught
fewer electrons shows both a lower mean and a smaller scatter, and gets a larger weight. Mean
of the estimated C over ordinary pixels, grid lin49, true mean {true_c}:

{weights}

The same over all grids, in per cent; “oracle” shows what chance does:

{biases}

Where the RMSE of the reference is below the oracle's, it has traded scatter for this bias.

![Mean of the estimated C against the number of frames](_static/validation_weights.png)

## Synthesised darks

Law “normal”, all grids and N. The bias is the mean residual in its standard errors. Darks
are made from the signed maps; the same darks from the clipped maps stand beside it.

{darks}

## Bias offset

Scatter over {campaigns} small campaigns and the mean reported error:

{offsets}

To be reached: 0.9 to 1.1 ({offsets_reached} on real16). On m4 the offset is zero by
construction but for rounding and masks, and its error overstates the rest. The offset itself
is not 0 on average: medians of skewed residuals differ from their means.

## One stack: `build_trad_dark`

Pull std and coverage of ordinary pixels, {trad} darks each:

{single}

## Frames of emccd-detect

{detect}
## Limits

{limits}

- Where D spreads widely an error that follows the pixel's own estimate is correlated with it:
  an estimate that came out low gets a small error, too, and the pull mean of D is negative.
  No function of the estimate alone avoids this. At the spread of the standard scenario the
  pool's variance is kept, and the pull mean is as above.
- In the same case the reported error of a synthesised dark is too large on average: pulls that
  are honest on average and a mean variance that is honest exclude each other where error bars
  fluctuate.
- With few frames and few stacks most pixels caught no electron: the law of C and D is far from
  normal, and one sigma holds more than 68 % of the pixels, although the standard deviation of
  the pulls is right. This is so for the oracle, too.
- With very few frames a stack, hot pixels cannot be told from lucky ones; their errors are
  too small.
- Where D has two sharply separate groups of pixels, the smaller one may count as hot: it is
  left out of the pool and gets variances of its own.
- The pull std of hot pixels rests on 1 % of the pixels: with {realisations} realisations it has
  an error of about {hot_error:.0f} %. The widest quarter of D at N = 100 is that of m4.

## Case by case

`estimator="pooled"`, D normal:

{normal_cases}

D by the gamma law:

{gamma_cases}

`estimator="reference"`, D normal:

{reference_cases}
"""


def main(arguments: list[str] | None = None) -> int:
    """Run all parts; returns the exit status."""
    parser = argparse.ArgumentParser(description="Compare the estimators with a known truth.")
    parser.add_argument("--quick", action="store_true", help="fewer realisations; write nothing")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    effort, seed = (QUICK if options.quick else FULL), options.seed
    begun = time.perf_counter()

    cases = _cases(effort, seed)
    normal = [case for case in cases if case.law == "normal" and case.frames in NUMBERS]
    gamma = [case for case in cases if case.law == "gamma4"]
    numbers = WEIGHT_NUMBERS[: 4 if options.quick else None]
    charge = mean_charge("lin49", numbers, max(effort.realisations // 4, 2), seed)
    offsets, offsets_reached = _offset_table(effort, seed)
    weights = [["weights", *(f"N = {n}" for n in numbers)]] + [
        [label, *(f"{value:.4f}" for value in charge[name])]
        for name, label in (
            ("sample", "the pixel's own sample variance"),
            ("number", "number of frames"),
            ("pooled", "variance pooled over pixels"),
        )
    ]
    tables = {
        "summary": summary_table(cases),
        "biases": summary_table(cases, BIASES),
        "weights": weights,
        "darks": dark_table(normal),
        "offsets": offsets,
        "single": _single_table(effort, seed),
        "limits": summary_table(cases, LIMITS),
        "normal_cases": case_table(normal, "pooled"),
        "gamma_cases": case_table(gamma, "pooled"),
        "reference_cases": case_table(normal, "reference"),
    }
    for name, table in tables.items():
        print(f"\n{name.replace('_', ' ')}\n{plain(table)}")
    detect = _detect_part(effort, seed)
    print(f"\nemccd-detect\n{detect}")
    if not options.quick:
        _write(cases, numbers, charge)
        page = PAGE.format(
            seed=seed,
            rows=ROWS,
            cols=COLS,
            realisations=effort.realisations,
            campaigns=effort.campaigns,
            trad=effort.darks,
            hot_error=100 / (2 * 0.01 * ROWS * COLS * effort.realisations) ** 0.5,
            true_c=f"{C_MEAN:.4f}",
            detect=detect,
            offsets_reached="yes" if offsets_reached else "**no**",
            **{name: markdown(table) for name, table in tables.items()},
        )
        (DOCS / "validation.md").write_text(page)
        print(f"wrote {DOCS / 'validation.md'}")
    print(f"{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    reached = all(row.reached(cases) for row in CRITERIA)
    return 0 if reached and (offsets_reached or options.quick) else 1


def _write(cases: list[Case], numbers: tuple[int, ...], charge: dict[str, list[float]]) -> None:
    normal = [case for case in cases if case.law == "normal" and case.frames in NUMBERS]
    gamma = [case for case in cases if case.law == "gamma4" and case.frames > 30]
    shown = next(case for case in normal if case.name == "real16, N = 100")
    folder = DOCS / "_static"
    figures.pulls(shown, folder / "validation_pulls.png")
    figures.coverage(normal, folder / "validation_coverage.png")
    figures.quarters(gamma, folder / "validation_quarters.png")
    figures.weights(numbers, charge, C_MEAN, folder / "validation_weights.png")


if __name__ == "__main__":
    sys.exit(main())
