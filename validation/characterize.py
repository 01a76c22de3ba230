"""What histograms of samples tell, against the truth: `python -m validation.characterize`.

A thousand small detectors whose samples are drawn from the law itself, with cosmic rays; forty of
emccd-detect, every electron of which goes through all 604 stages of the register, with charge made
in the register; and the bias that rays leave, from expected histograms. Writes a section of
docs/validation_characterize.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from validation.counting_frames import RATE, footprints
from validation.report import markdown
from validation.sections import write_section

from emdarks.counting_sums import T_NOISE, HistogramBins
from emdarks.fit.register_charge import StackCharges, StackHistograms, fit_charges
from emdarks.fit.sample_law import Charges, SampleLaw
from emdarks.one_electron import one_electron
from emdarks.simulate import make_truth
from emdarks.simulate.rays import draw_rays

Array = npt.NDArray[Any]

PAGE = Path(__file__).parents[1] / "docs" / "validation_characterize.md"
TITLE = "EM gain, read noise, charge of image and register"
#: Pixels of the imaging area and of the prescan, and frames of a stack.
IMAGING, PRESCAN, FRAMES = 24 * 32, 24 * 16, 100
#: Footprints of cosmic rays: of the detectors, and of the table of biases, where also those of the
#: simulator stand that are not flagged at an EM gain of 1000.
RAYS = ("edet", "broad")
BIASED = (*RAYS, "simulated, unflagged")
#: Electrons of a pixel of a plateau: .95 of 81,000 over the EM gain.
PLATEAU = 77
STAGES = 604
FLAGGED = 94_500.0
NAMES = ("gain", "read noise", "image charge", "register charge")
LEVELS = (0.6827, 0.9545)


@dataclass(frozen=True)
class Device:
    """A stack of a detector: in read noises, e-, seconds, e-/pixel/frame."""

    gain: float
    noise: float
    image: float
    register: float
    spread: float = 0.0
    seconds: float = 0.0
    rays: str = "edet"

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Device:
        """Any detector: gains of 3.5 to 30 read noises, 2 to 100 s."""
        seconds = math.exp(rng.uniform(*np.log([2.0, 100.0])))
        image = rng.uniform(0.01, 0.03) + seconds * rng.uniform(3e-4, 1e-3)
        return cls(
            gain=math.exp(rng.uniform(*np.log([3.5, 30.0]))),
            noise=rng.uniform(60.0, 180.0),
            image=image,
            register=rng.uniform(0.005, 0.03),
            spread=0.15,
            seconds=seconds,
            rays=str(rng.choice(RAYS)),
        )

    @property
    def em_gain(self) -> float:
        """Gain, e-."""
        return self.gain * self.noise

    @property
    def truth(self) -> Array:
        """As `NAMES`."""
        return np.array([self.em_gain, self.noise, self.image, self.register])


@cache
def ray_charges(kind: str) -> tuple[Array, float]:
    """Charges of pixels that a ray hits, and their number per ray."""
    drawn = footprints(kind) if kind in RAYS else unflagged()
    return drawn[drawn > 0], (drawn > 0).sum() / len(drawn)


def unflagged() -> Array:
    """Charges of simulated rays, 0 where two pixels of a row are so full that a search flags them.

    A search flags all pixels within 3 of such a plateau, which are those of a ray.
    """
    rng = np.random.default_rng(22)
    camera = make_truth("excam-small", seed=22).camera
    charge = draw_rays(camera, 5.0, 4e5, rng).charge
    full = charge >= PLATEAU
    found: Array = charge * ~(full[..., :-1] & full[..., 1:]).any(axis=(1, 2))[:, None, None]
    return found


def samples(device: Device, rng: np.random.Generator, imaging: bool) -> Array:
    """Samples of a region, EM electrons."""
    pixels = IMAGING if imaging else PRESCAN
    x = rng.normal(0, device.noise, (FRAMES, pixels)).ravel()
    if imaging:
        width = math.sqrt(math.log1p(device.spread**2))
        charge = rng.lognormal(-0.5 * width**2, width, pixels)
        charge *= device.image / charge.mean()
        electrons = rng.poisson(charge, (FRAMES, pixels)).ravel()
        library, per_ray = ray_charges(device.rays)
        struck = rng.poisson(RATE * device.seconds * per_ray * x.size)
        np.add.at(electrons, rng.integers(0, x.size, struck), rng.choice(library, struck))
        some = electrons > 0
        x[some] += device.em_gain * rng.standard_gamma(electrons[some])
    made = rng.poisson(device.register * x.size)
    out = device.em_gain ** rng.random(made) * rng.standard_exponential(made)
    np.add.at(x, rng.integers(0, x.size, made), out)
    return x[x < FLAGGED]


def histograms(device: Device, of: Any) -> StackHistograms:
    """Of both regions; ``of`` gives samples of one."""
    nominal = device.noise * 1.02
    bins = HistogramBins.of(0.0, nominal)
    counts = np.stack([np.histogram(of(region), bins.edges)[0] for region in (True, False)])
    return StackHistograms(
        counts, bins, 0.93 * device.em_gain, FLAGGED, Charges(spread=device.spread)
    )


def estimates(found: StackCharges) -> list[Any]:
    """In the order of `NAMES`."""
    return [found.gain, found.rest_width, found.image, found.register]


def measure(stack: StackHistograms, truth: Array) -> Array:
    """Value, error, and whether both intervals hold the truth; shape (4, names)."""
    rows = []
    for sigmas in (1.0, 2.0):
        found = fit_charges(stack, sigmas)
        assert found is not None
        some = estimates(found)
        rows.append([e.low <= t <= e.high for e, t in zip(some, truth, strict=True)])
    return np.array([[e.value for e in some], [e.error for e in some], *rows], float)


def small_device(number: int) -> tuple[Device, Array]:
    """One of the thousand."""
    rng = np.random.default_rng([22, number])
    device = Device.draw(rng)
    stack = histograms(device, partial(samples, device, rng))
    return device, measure(stack, device.truth)


def detected(number: int) -> tuple[Device, Array]:
    """One of emccd-detect: a frame of as many samples as a stack has stands for the stack."""
    from emccd_detect.emccd_detect import EMCCDDetect

    rng = np.random.default_rng([23, number])
    gain = math.exp(rng.uniform(*np.log([600.0, 5000.0])))
    P = gain ** (1 / STAGES) - 1
    noise = rng.uniform(100.0, 165.0)
    share = rng.uniform(0.05, 0.3)
    made = share * P / 40
    device = Device(gain / noise, noise, rng.uniform(0.01, 0.04), made * (STAGES - 1))
    np.random.seed(int(rng.integers(2**31)))  # noqa: NPY002  emccd-detect draws from it

    def region(imaging: bool) -> Array:
        camera = EMCCDDetect(
            em_gain=gain,
            full_well_image=1e9,
            full_well_serial=1e9,
            dark_current=0.0,
            cic=device.image if imaging else 0.0,
            read_noise=noise,
            bias=3000.0,
            qe=1.0,
            cr_rate=0.0,
            eperdn=0.5,
            nbits=32,
            numel_gain_register=STAGES,
            row_read_time=0.0,
            fpn_path=None,
            bias_sigma_row=0.0,
            bias_sigma_col=0.0,
            fast_gain_mode=False,
            gain_CIC_Q=made,
        )
        shape = (FRAMES, IMAGING if imaging else PRESCAN)
        counts = camera.sim_sub_frame(np.zeros(shape), 1.0)
        found: Array = ((counts + 0.5) * 0.5 - 3000.0).ravel()
        return found

    stack = histograms(device, region)
    electron = one_electron(gain, noise, STAGES, T_NOISE * noise)
    return device, measure(replace(stack, electron=electron), device.truth)


def coverage_table(runs: list[tuple[Device, Array]]) -> tuple[str, bool]:
    """Coverage and pulls of all devices; whether coverage is within its goals."""
    found = np.array([run for _, run in runs])
    truth = np.array([device.truth for device, _ in runs])
    table = [["number", "1 σ, %", "2 σ, %", "mean pull", "rms error / bound", "mean error / bound"]]
    good = True
    for k, name in enumerate(NAMES):
        pull = (found[:, 0, k] - truth[:, k]) / found[:, 1, k]
        cells = []
        for level, inside in zip(LEVELS, (found[:, 2, k], found[:, 3, k]), strict=True):
            share = float(inside.mean())
            chance = 3 * math.sqrt(level * (1 - level) / len(runs))
            good &= abs(share - level) <= max(0.05 * level, chance)
            cells.append(f"{100 * share:.1f}")
        table.append(
            [name, *cells, f"{pull.mean():+.2f}", f"{pull.std():.2f}", f"{np.abs(pull).mean():.2f}"]
        )
    return markdown(table), good


class _Struck(SampleLaw):
    """The law with the charges of a library of rays in place of a power law."""

    kind = ""

    def _rays(self, psi: Array, power: float) -> tuple[Array, Array, Array]:
        charges, _ = ray_charges(self.kind)
        found = np.zeros_like(psi)
        for share in np.bincount(np.minimum(charges, 300))[299:0:-1] / charges.size:
            found = found * psi + share
        return found * psi - 1, 0 * psi, 0 * psi


def biases() -> Iterator[list[str]]:
    """Errors of gain and charges where the histograms are those expected."""
    noise = 165.0
    bins = HistogramBins.of(0.0, noise)
    for kind in BIASED:
        for seconds in (2.0, 10.0, 100.0):
            for gains in (3.0, 5.0, 10.0, 30.0):
                image, register = 0.0088 + 0.001 * seconds, 0.005
                rows = []
                for region in (0, 1):
                    law = _Struck(bins.edges, noise, struck=not region)
                    law.kind = kind
                    rate = RATE * seconds * ray_charges(kind)[1]
                    p = [gains * noise, image * (1 - region), register, 0.0, noise, rate, 0.0]
                    rows.append(2e7 * np.maximum(law.expected(np.array(p))[0], 0))
                stack = StackHistograms(np.stack(rows), bins, gains * noise, FLAGGED)
                found = fit_charges(stack, 0.0)
                assert found is not None
                truth = (gains * noise, image, register)
                some = (found.gain, found.image, found.register)
                errors = [100 * (e.value / t - 1) for e, t in zip(some, truth, strict=True)]
                told = [100 * (c - image) / 0.0088 for c in (found.image.value, found.image_alone)]
                cells = [*(f"{e:+.2f}" for e in errors), *(f"{e:+.1f}" for e in told)]
                yield [kind, f"{seconds:g}", f"{gains:g}", *cells]


TEXT = """\
Written by `python -m validation.characterize`.

**Coverage.** {devices} detectors of {imaging} pixels with {prescan} of a prescan, one stack of
{frames} frames each: gains of 3.5 to 30 read noises, image charge of 0.01 to 0.13 e⁻ that spreads
by 15 % over pixels, 0.005 to 0.03 electrons made in the register per sample, 5 cosmic rays per cm²
and second in 2 to 100 s, with the footprints of emccd-detect or wider ones. The fit begins at a
gain 7 % and a read noise 2 % off. How often do intervals of 1 σ (nominal 68.27 %) and 2 σ (95.45 %)
hold the truth, and how large is the error beside the Cramér-Rao bound of the law?

{own}
*Reached*: {own_good}. Asked for: coverage within 5 % of nominal, or 3 binomial standard errors;
error of the gain at most 1.3 bounds.

**emccd-detect.** {detected} detectors, gains 600 to 5000, no rays: every electron goes through all
604 stages, and each stage makes charge with 5 to 30 % of the probability that emccd-detect has by
default.

{detect}
*Reached*: {detect_good}. Asked for: coverage within 3 binomial standard errors.

**Bias with cosmic rays**, 5 per cm² and second: what the fit finds where the histograms are the
expected ones (the law of a sample, ray charges as in the footprints), C 0.0088 e⁻, D 0.001 e⁻/s,
0.005 e⁻ made in the register; errors in per cent. In the last two columns the error of the image
charge is in per cent of C: of the fit, and of one that takes charge of the register for charge of
the image.

{bias}
*Reached*: {bias_good}. Asked for: gain within 0.5 % from 10 read noises on, within 1 % from 3.

*What this does not show.* Bounds are the reported errors, which hold what is assumed of the power
of rays (1.0 ± 0.5); a data sheet of several stacks knows it better, as each stack knows what the
others say of it. So few samples leave a mean deviation of the gain of some tenths of σ: the table
of biases is that of very many samples.

{powers}
"""


def _said(good: bool) -> str:
    return "yes" if good else "no"


def powers() -> str:
    """How steep ray charges are from 1 to 8 electrons."""
    found = []
    for kind in BIASED:
        number = np.bincount(np.minimum(ray_charges(kind)[0], 9).astype(int))
        found.append(f"{math.log(number[1] / number[8]) / math.log(8):.1f} ({kind})")
    return "From 1 to 8 electrons the power of ray charges is " + ", ".join(found) + "."


def page(own: list[tuple[Device, Array]], others: list[tuple[Device, Array]]) -> str:
    """The section."""
    head = ["footprints", "s", "gain, read noises", "gain", "image charge", "register charge"]
    rows = list(biases())
    bias = [[*head, "of C", "of C, register ignored"], *rows]
    bias_good = all(abs(float(row[3])) <= (0.5 if float(row[2]) >= 10 else 1.0) for row in rows)
    table, good = coverage_table(own)
    detect, detect_good = coverage_table(others) if others else ("", False)
    return TEXT.format(
        devices=len(own),
        imaging=IMAGING,
        prescan=PRESCAN,
        frames=FRAMES,
        own=table,
        own_good=_said(good),
        detected=len(others),
        detect=detect,
        detect_good=_said(detect_good),
        bias=markdown(bias),
        bias_good=_said(bias_good),
        powers=powers(),
    )


def main() -> None:
    """Write the section; print it with --quick."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few devices; writes nothing")
    quick = parser.parse_args().quick
    with ProcessPoolExecutor() as pool:
        own = list(pool.map(small_device, range(20 if quick else 1000)))
        others = list(pool.map(detected, range(2 if quick else 40)))
    text = page(own, others)
    sys.stdout.write(text)
    if not quick:
        write_section(PAGE, TITLE, text)


if __name__ == "__main__":
    main()
