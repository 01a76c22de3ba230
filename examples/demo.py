"""A first look at emdarks: from simulated dark frames to calibrated science, against the truth.

Simulates a campaign of dark frames of a small camera, inspects it, makes noise maps, a
traditional and a synthesised master dark, subtracts a dark from a frame of stars, and
compares everything with the detector that the simulation was given. Writes the frames, the
products, and a page, demo/report.html, that needs nothing else: the report that emdarks writes
of noise maps, with sections about the campaign and the truth.

Run it with `make demo`, or: python examples/demo.py --help
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import __version__, plots
from emdarks.checks import CampaignSummary, inspect_campaign
from emdarks.checks.formatting import count, number
from emdarks.darks import build_synthesized_dark, build_trad_dark, calibrate_darks_lsq
from emdarks.data import Dark, Dataset, DetectorNoiseMaps
from emdarks.detector import region_slices
from emdarks.errors import EmdarksError, EmdarksWarning
from emdarks.frames import select_frames
from emdarks.half_split import CheckReport, check_darks
from emdarks.plots import Figure
from emdarks.report import (
    Page,
    campaign_sections,
    maps_page,
    render,
    view_of,
)
from emdarks.simulate import Truth, simulate_campaign, star_field, write_science_frame

Array = npt.NDArray[Any]

CAMERA = "excam-small"
STACKS = [(gain, seconds) for gain in (1, 50, 1000, 5000) for seconds in (2, 10, 60, 100)]
#: EM gain and exposure time of the science frame, and of the traditional dark.
SCIENCE = (1000.0, 60.0)
#: Electrons per second from which on a pixel counts as hot.
HOT = 0.01
MARK = ".made-by-emdarks-demo"


@dataclass
class Run:
    """Where everything is, and how long each step took."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say what is being done, and time it."""
        print(f"{name} ...", end=" ", flush=True)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        print(f"{self.seconds[name]:.1f} s", flush=True)


@dataclass
class Products:
    """What the demo made, and what it should be."""

    truth: Truth
    summary: CampaignSummary
    maps: DetectorNoiseMaps
    check: CheckReport | None
    traditional: Dark
    synthesised: Dark
    frame: Array
    scene: Array


@dataclass(frozen=True)
class Comparison:
    """Recovered against true values of some pixels.

    `scatter` and `pull_scatter` are robust; `pull` is the median of (recovered - true) / error.
    """

    name: str
    unit: str
    pixels: int
    true_mean: float
    mean: float
    mean_error: float
    scatter: float
    error: float
    pull: float
    pull_scatter: float

    @classmethod
    def of(cls, name: str, unit: str, values: Array, errors: Array, truth: Array) -> Comparison:
        """Compare flat arrays; pixels without a value are left out."""
        good = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
        values, errors, truth = values[good], errors[good], truth[good]
        pulls = (values - truth) / errors
        return cls(
            name=name,
            unit=unit,
            pixels=int(good.sum()),
            true_mean=float(truth.mean()),
            mean=float(values.mean()),
            mean_error=float((values - truth).std() / np.sqrt(good.sum())),
            scatter=plots.robust_scatter(values - truth),
            error=float(np.median(errors)),
            pull=float(np.median(pulls)),
            pull_scatter=plots.robust_scatter(pulls),
        )


# The steps


def make_products(run: Run, frames: int, seed: int, threads: int) -> Products:
    """Everything from the first simulated frame to the last dark."""
    gain, seconds = SCIENCE
    darks = run.folder / "darks"
    with run.step(f"simulating {len(STACKS) * frames} dark frames"):
        truth = simulate_campaign(darks, CAMERA, frames, seed, "DN", STACKS, threads=threads).truth
        scene = star_field(truth.camera, np.random.default_rng(seed), flux=(60.0, 1500.0))
        science = write_science_frame(run.folder, truth, gain, seconds, scene)
    with run.step("inspecting them"):
        dataset = select_frames([str(darks)])
        summary = inspect_campaign(dataset)
    with run.step("fitting noise maps"):
        maps = calibrate_darks_lsq(dataset, None)
        maps.save(run.folder, "noise_maps.fits")
    with run.step("checking them without the truth"):
        check = check_darks(dataset) if frames >= 4 else None
    with run.step("making master darks"):
        traditional = build_trad_dark(_stack(dataset, gain, seconds), None, estimator="pooled")
        traditional.save(run.folder, "traditional_dark.fits")
        star_frames = Dataset([science])
        synthesised = build_synthesized_dark(star_frames, maps)
        synthesised.save(run.folder, "synthesised_dark.fits")
    frame = _detected_electrons(star_frames[0], truth)
    return Products(truth, summary, maps, check, traditional, synthesised, frame, scene)


def _stack(dataset: Dataset, gain: float, seconds: float) -> Dataset:
    datasets, settings = dataset.split_dataset(exthdr_keywords=["EMGAIN_C", "EXPTIME"])
    return datasets[settings.index((gain, seconds))]


def _detected_electrons(frame: Any, truth: Truth) -> Array:
    """Image region of the science frame, divided by its gain; flagged pixels are NaN."""
    image = _image(truth)
    scale = frame.ext_hdr["KGAINPAR"] / frame.ext_hdr["EMGAIN_C"]
    return np.where(frame.dq[image] == 0, frame.data[image] * scale, np.nan)


def _image(truth: Truth) -> tuple[slice, slice]:
    return region_slices(truth.camera.arrtype, "image", truth.camera.regions)


def signed_maps(made: Products) -> Array:
    """F, C, D as fitted, before negative values of the published maps became 0."""
    planes, _ = made.maps.planes_for_darks()
    return planes.values


def true_maps(truth: Truth) -> Array:
    """F, C, D as simulated."""
    maps = (truth.fixed_pattern, truth.clock_induced_charge, truth.dark_current)
    return np.array(maps, dtype=np.float64)


# The numbers


def compare_maps(made: Products) -> list[Comparison]:
    """Fitted maps against the truth, in the imaging area; hot pixels by themselves."""
    fitted, errors, truth = signed_maps(made), made.maps.err[0], true_maps(made.truth)
    imaging = made.truth.imaging_area
    hot = imaging & (made.truth.dark_current >= HOT)
    cases = (
        ("F, fixed-pattern noise", "e-", 1, 0, imaging & ~hot),
        ("C, clock-induced charge", "e-/frame", 1, 1, imaging & ~hot),
        ("D, dark current", "e- in 1000 s", 1000, 2, imaging & ~hot),
        ("D, hot pixels", "e- in 1000 s", 1000, 2, hot),
    )
    return [
        Comparison.of(name, unit, *(scale * maps[k][where] for maps in (fitted, errors, truth)))
        for name, unit, scale, k, where in cases
    ]


def true_dark(made: Products) -> Array:
    """The dark that a perfect calibration would give, in the image region."""
    gain, seconds = SCIENCE
    return made.truth.mean(gain, seconds)[_image(made.truth)] / gain


def compare_darks(made: Products) -> list[Comparison]:
    """Both darks against the truth, without hot pixels."""
    truth = true_dark(made)
    quiet = made.truth.dark_current[_image(made.truth)] < HOT
    return [
        Comparison.of(name, "e-", dark.data[quiet], dark.err[0][quiet], truth[quiet])
        for name, dark in (("traditional", made.traditional), ("synthesised", made.synthesised))
    ]


@dataclass(frozen=True)
class Residual:
    """What is left of the science frame between the stars, electrons."""

    name: str
    quiet: float
    quiet_error: float
    hot: float
    hot_error: float


def residuals(made: Products) -> list[Residual]:
    """Mean of (frame - dark - scene) over pixels without stars, quiet and hot ones."""
    dim = made.scene < 2 * made.scene.min()
    hot = made.truth.dark_current[_image(made.truth)] >= HOT
    darks = {
        "no dark": np.zeros_like(made.scene),
        "traditional dark": made.traditional.data,
        "synthesised dark": made.synthesised.data,
    }
    left = {name: made.frame - dark - made.scene for name, dark in darks.items()}
    return [
        Residual(name, *_mean(values[dim & ~hot]), *_mean(values[dim & hot]))
        for name, values in left.items()
    ]


def _mean(values: Array) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    return float(finite.mean()), float(finite.std() / np.sqrt(finite.size))


# The figures

TITLES = ("fixed-pattern noise F", "clock-induced charge C", "dark current D")
UNITS = ("EM e-", "e-/pixel/frame", "e-/pixel/s")
#: Scale of the frames of stars, electrons per pixel.
STARS = (-0.5, 6.0)


def figure_maps(made: Products) -> Figure:
    """F, C, D as fitted and as simulated."""
    area = _imaging_box(made.truth)
    columns = [
        {"fitted": fitted[area], "true": true[area]}
        for fitted, true in zip(signed_maps(made), true_maps(made.truth), strict=True)
    ]
    return plots.map_grid(columns, TITLES, UNITS, (True, False, False))


def _imaging_box(truth: Truth) -> tuple[slice, slice]:
    rows, cols = np.nonzero(truth.imaging_area)
    return slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1)


def figure_recovered(made: Products) -> Figure:
    """Recovered against true values, and pulls below."""
    imaging = made.truth.imaging_area
    fitted, errors, truth = signed_maps(made), made.maps.err[0], true_maps(made.truth)
    figure = plots.new_figure(12.3, 6.4)
    axes = figure.subplots(2, 3)
    for k, (title, unit) in enumerate(zip(TITLES, UNITS, strict=True)):
        pixels = fitted[k][imaging], errors[k][imaging], truth[k][imaging]
        values, sigma, true = pixels
        plots.recovered_against_truth(
            true, values, title, unit, linear_below=0.003 if k == 2 else None, ax=axes[0, k]
        )
        pulls = np.divide(values - true, sigma, where=sigma > 0, out=np.full_like(true, np.nan))
        plots.pull_histogram(pulls, f"pulls of {'FCD'[k]}", ax=axes[1, k])
    return figure


def figure_darks(made: Products) -> Figure:
    """Both darks and the true one, on one scale."""
    truth = true_dark(made)
    panels = {
        "traditional dark": made.traditional.data,
        "synthesised dark": made.synthesised.data,
        "true dark": truth,
    }
    return plots.before_and_after(panels, "e-/pixel", limits=plots.robust_limits(truth, 0.01))


def figure_science(made: Products) -> Figure:
    """The science frame before and after, and the scene."""
    panels = {
        "one frame, as it comes": made.frame,
        "minus synthesised dark": made.frame - made.synthesised.data,
        "the scene": made.scene,
    }
    return plots.before_and_after(panels, "e-/pixel", limits=STARS)


def figure_picture(made: Products) -> Figure:
    """For the first page of the documentation: maps with their truth, a frame cleaned."""
    area = _imaging_box(made.truth)
    fitted, truth = signed_maps(made), true_maps(made.truth)
    columns: list[dict[str, Any]] = [
        {"fitted": fitted[k][area], "true": truth[k][area]} for k in (0, 2)
    ]
    figure = plots.map_grid(
        [*columns, {"before": made.frame, "after": made.frame - made.synthesised.data}],
        ("fixed pattern", "dark current", "stars"),
        ("EM e-", "e-/pixel/s", "e-/pixel"),
        (True, False, False),
        (None, None, STARS),
    )
    figure.set_size_inches(11.5, 6.2)
    return figure


# The page


def write_page(run: Run, made: Products, frames: int, seed: int) -> Path:
    """Write the report of the maps, with what only a demo has in front."""
    page = make_page(run, made, frames, seed)
    return page.save(run.folder / "report.html", run.folder / "figures")


def make_page(run: Run, made: Products, frames: int, seed: int) -> Page:
    """The report of the maps; before it the truth, after it how to make it again."""
    page = maps_page(view_of(made.maps), made.check)
    total = made.summary.frames
    figures = {
        "maps_and_truth": figure_maps(made),
        "recovered": figure_recovered(made),
        "darks": figure_darks(made),
        "science": figure_science(made),
    }
    own = render(
        SECTIONS,
        figures,
        maps=compare_maps(made),
        darks=compare_darks(made),
        residuals=residuals(made),
        gain=SCIENCE[0],
        time=SCIENCE[1],
        frames=frames,
        total=total,
    )
    again = render(AGAIN, seed=seed, seconds=run.seconds)
    return replace(
        page,
        title="From dark frames to calibrated science",
        subtitle=f"A simulated campaign of {count(total)} dark frames, calibrated with emdarks "
        f"{__version__} and compared with the detector that the simulation was given",
        what=page.what + " The frames were simulated; so there is a truth to compare with.",
        steps=[
            "Read “Compared with the truth”: are the maps right, and are their errors?",
            "Do the same with your own frames: `emdarks noisemaps FRAMES -o maps.fits`, then "
            "`emdarks report maps.fits --frames FRAMES -o report.html`.",
        ],
        sections=[
            *own.sections,
            *campaign_sections(made.summary),
            *page.sections,
            *again.sections,
        ],
    )


#: What only a demo has: recovered against true values, darks of both kinds, a frame of stars.
SECTIONS = """
{% macro comparison(rows, what, caption) %}
{% call(row) table(
    rows,
    [what ~ "|words", "unit|words", "pixels", "true mean", "recovered mean", "scatter",
     "reported error", "pull, median", "pull, scatter"],
    caption) %}
{{ words([row.name, row.unit|replace("e-", "e⁻")]) }}
{{ cells([row.pixels|count, row.true_mean|number, row.mean|measured(row.mean_error)]) }}
{{ cells([row.scatter|number, row.error|number, row.pull|signed(2), row.pull_scatter|number]) }}
{% endcall %}
{% endmacro %}

{% call section("truth", "Compared with the truth") %}
{% set caption %}
Pixels of the imaging area; hot: 0.01 e⁻/s and more. Scatter: robust, of recovered minus true
values. Reported error: median. Pull: (recovered - true) / error; honest errors have a pull scatter
of 1.
{% endset %}
{{ comparison(maps, "map", caption) }}
{% call picture("maps_and_truth", "Maps of F, C and D, fitted above and true below") %}
Fitted (above) and true maps (below), each pair on one scale; before negative values of C and D are
clipped. C varies by only a tenth from pixel to pixel, less than the noise of the fit.
{% endcall %}
{% call picture("recovered", "Recovered against true values, and histograms of pulls") %}
Above: recovered against true values of every pixel of the imaging area. Points with bars: median
and central 68 % in bins of the true value. Below: pulls (those beyond 6 in the last bins), and the
law that honest errors would give.
{% endcall %}
{% endcall %}

{% call section("master-darks", "Master darks for EM gain %g and %g s"|format(gain, time)) %}
{% call p() %}
The traditional dark is the mean of the {{ frames|count }} frames taken at this setting. The
synthesised one, F/g + C + t D, uses all {{ total|count }} frames and can be had for any gain and
time.
{% endcall %}
{% call picture("darks", "Traditional, synthesised and true dark") %}
Detected electrons per pixel, all on the scale of the true dark.
{% endcall %}
{% set caption %}
Image region without hot pixels. Columns as above. The traditional dark's error comes from a
variance pooled over pixels, followed by each pixel's own scatter as far as pixels really differ.
{% endset %}
{{ comparison(darks, "dark", caption) }}
{% endcall %}

{% call section("stars", "A frame of stars") %}
{% call picture("science", "Science frame before and after the subtraction, and the scene") %}
One frame, that frame minus the synthesised dark, and the scene it shows. Grey: cosmic rays,
flagged. What remains after the subtraction is the noise of a single frame.
{% endcall %}
{% call(left) table(
    residuals,
    ["subtracted|words", "ordinary pixels", "hot pixels"],
    "Between the stars: mean of frame minus dark minus scene, electrons per pixel.") %}
{{ words([left.name]) }}
{{ cells([left.quiet|measured(left.quiet_error), left.hot|measured(left.hot_error)]) }}
{% endcall %}
{% endcall %}
"""

#: How to get the same page.
AGAIN = """
{% call section("again", "Make it again") %}
{{ source("In a clone of the repository", "make demo") }}
{% call p() %}
The same seed ({{ seed }}) makes the same frames and the same numbers. This run:
{% for name, time in seconds.items() %}
{{ name }} {{ "%.1f"|format(time) }} s{{ "." if loop.last else "," }}
{% endfor %}
{% endcall %}
{% endcall %}
"""


def print_results(run: Run, made: Products, page: Path) -> None:
    """Recovered against true, and where everything is."""
    print("\nRecovered against true")
    head = f"{'true mean':>11} {'recovered':>11} {'+-':>9} {'scatter':>9} {'error':>9}"
    print(f"{'':<38} {head} {'pull':>6} {'std':>5}")
    darks = compare_darks(made)
    for line in (*compare_maps(made), *darks):
        name = f"{line.name} dark" if line in darks else line.name
        name = f"{name}, {line.unit}"
        values = (line.true_mean, line.mean, line.mean_error, line.scatter, line.error)
        texts = [number(value) for value in values]
        print(
            f"{name:<38} {texts[0]:>11} {texts[1]:>11} {texts[2]:>9} {texts[3]:>9} {texts[4]:>9} "
            f"{line.pull:>+6.2f} {line.pull_scatter:>5.2f}"
        )
    print("\nWhat is left between the stars, mean of frame - dark - scene, electrons per pixel")
    for left in residuals(made):
        print(
            f"{left.name:<20} ordinary pixels {left.quiet:+.4f} +- {left.quiet_error:.4f}   "
            f"hot pixels {left.hot:+.3f} +- {left.hot_error:.3f}"
        )
    print("\nWhat the inspection found")
    for finding in made.summary.findings:
        print(f"{finding.severity:<9} {finding.text}")
    print(f"\nFrames    {run.folder / 'darks'} ({made.summary.frames} files, with truth.fits)")
    for name in ("noise_maps", "traditional_dark", "synthesised_dark"):
        print(f"Product   {run.folder / name}.fits")
    print(f"Open      {page}")


def fresh(folder: Path) -> Path:
    """An empty folder; what an earlier run left there goes, nothing else."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise SystemExit(f"{folder}: was not made by this demo; move it, or give --output")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="Simulate, calibrate, compare with the truth.")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder (demo)")
    parser.add_argument("--frames", type=int, default=60, help="frames of each stack (60)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulation (1)")
    parser.add_argument("--threads", type=int, default=2, help="threads that simulate (2)")
    parser.add_argument("--picture", type=Path, help="write the picture of the README there")
    options = parser.parse_args(arguments)
    run = Run(fresh(options.output))
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            # What these say is among the findings of the inspection.
            warnings.simplefilter("ignore", EmdarksWarning)
            made = make_products(run, options.frames, options.seed, options.threads)
    except EmdarksError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    with run.step("drawing"):
        page = write_page(run, made, options.frames, options.seed)
        if options.picture is not None:
            options.picture.parent.mkdir(parents=True, exist_ok=True)
            options.picture.write_bytes(plots.as_png(figure_picture(made), 90, colours=256))
    print_results(run, made, page.resolve())
    print(f"Done in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
