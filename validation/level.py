"""Two maps of stacks of one EM gain, or of one exposure time, against a known truth.

`python -m validation.level`, a minute, writes docs/validation_level.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from validation.moments import Stacks, Truth, draw_stacks, draw_truth

from emdarks.accumulate import Threads
from emdarks.fit.pooled import fit_pooled
from emdarks.products.synthesis import Maps, synthesize_arrays
from emdarks.stacks.model import Model

__all__ = ["CASES", "LevelCase", "LevelFigures", "measure_level"]

Array = npt.NDArray[Any]

PAGE = Path(__file__).parents[1] / "docs" / "validation_level.md"


class LevelCase(NamedTuple):
    """Stacks of one gain or one time, and darks of settings that no stack had.

    Attributes
    ----------
    gains, times : tuple of float
        Of the stacks; one of them has a single value.
    frames : int
        Of each stack.
    law : str
        Law of D over pixels, see `validation.moments.draw_truth`.
    darks : tuple of float
        Times, or gains, of the synthesised darks.
    """

    gains: tuple[float, ...]
    times: tuple[float, ...]
    frames: int
    law: str
    darks: tuple[float, ...]

    @property
    def model(self) -> Model:
        """What is fitted."""
        if len(self.gains) == 1:
            return Model("one-gain", gain=self.gains[0])
        return Model("one-time", time=self.times[0])


class LevelFigures(NamedTuple):
    """Ordinary pixels of all realisations.

    Attributes
    ----------
    pixels : int
        How many.
    std, bias : ndarray, shape (2,)
        Of both maps: standard deviation of the pulls (residual over reported error), and mean
        residual in its standard errors.
    hot : ndarray, shape (2,)
        Standard deviation of the pulls of hot pixels.
    dark_std, dark_bias : ndarray, shape (darks,)
        The same of the darks.
    """

    pixels: int
    std: Array
    bias: Array
    hot: Array
    dark_std: Array
    dark_bias: Array


CASES = {
    "one gain 5000, four times": LevelCase((5000,), (2, 10, 40, 100), 100, "normal", (5, 60, 200)),
    "one gain 1000, three times": LevelCase((1000,), (2, 20, 100), 100, "normal", (5, 60, 200)),
    "one gain 1000, D of wide spread": LevelCase(
        (1000,), (2, 10, 40, 100), 100, "gamma4", (5, 60, 200)
    ),
    "one gain 50, four times": LevelCase((50,), (2, 10, 40, 100), 100, "normal", (5, 60, 200)),
    "one time 60 s, four gains": LevelCase(
        (2, 50, 500, 5000), (60,), 100, "normal", (10, 1000, 3000)
    ),
    "one time 60 s, three gains, D of wide spread": LevelCase(
        (2, 100, 5000), (60,), 100, "gamma4", (10, 1000, 3000)
    ),
}


def measure_level(case: LevelCase, realisations: int, seed: int = 1) -> LevelFigures:
    """Fit simulated stacks and compare maps and darks with the truth.

    Parameters
    ----------
    case : LevelCase
        What is simulated.
    realisations : int
        Sets of stacks, of 6000 pixels each.
    seed : int
        Of the generator of chance.
    """
    rng = np.random.default_rng(seed)
    gain, time = (a.ravel() for a in np.meshgrid(np.array(case.gains, float), case.times))
    model, time = case.model, time.astype(float)
    residuals, errors, darks, dark_errors, hot = [], [], [], [], []
    for _ in range(realisations):
        truth = draw_truth(rng, case.law)
        stacks = draw_stacks(rng, gain, time, case.frames, truth)
        fit = _fit(stacks, model, truth)
        use = ~truth.hot
        residual = fit.values - _true_maps(truth, model)
        residuals.append(residual[model.fitted][:, use])
        errors.append(fit.errors[model.fitted][:, use])
        hot.append((residual / np.where(fit.errors > 0, fit.errors, 1))[model.fitted][:, truth.hot])
        made = np.array([_dark(fit, truth, model, setting) for setting in case.darks])
        darks.append(made[:, 0, use])
        dark_errors.append(made[:, 1, use])
    (r, e), (d, s) = (
        (np.concatenate(a, axis=1), np.concatenate(b, axis=1))
        for a, b in ((residuals, errors), (darks, dark_errors))
    )
    return LevelFigures(
        pixels=r.shape[1],
        std=(r / e).std(axis=1),
        bias=_sigmas(r),
        hot=np.concatenate(hot, axis=1).std(axis=1),
        dark_std=(d / s).std(axis=1),
        dark_bias=_sigmas(d),
    )


def _sigmas(residuals: Array) -> Array:
    """Mean over pixels in its own standard errors."""
    sigmas: Array = residuals.mean(axis=1) / residuals.std(axis=1) * np.sqrt(residuals.shape[1])
    return sigmas


def _fit(stacks: Stacks, model: Model, truth: Truth) -> Any:
    imaging = np.ones(truth.F.size, dtype=bool)
    fit, _ = fit_pooled(stacks.store, stacks.stacks, True, imaging, (0, 0), Threads(1), model=model)
    return fit


def _true_maps(truth: Truth, model: Model) -> Array:
    """L, 0, D; or F, C + t D, 0."""
    if model.has_d:
        return np.stack([truth.F + model.gain * truth.C, 0 * truth.C, truth.D])
    return np.stack([truth.F, truth.C + model.time * truth.D, 0 * truth.D])


def _dark(fit: Any, truth: Truth, model: Model, setting: float) -> Array:
    """Residual and error of a dark, shape (2, pixels)."""
    gain, time = (model.gain, setting) if model.has_d else (setting, model.time)
    flat = (slice(None), None)
    maps = Maps(
        fit.values[flat], fit.errors[flat], fit.correlations[flat], np.zeros((3, 1, 1), np.uint16)
    )
    data, err, _ = synthesize_arrays(maps, gain, time)
    return np.stack([data[0] - (truth.F / gain + truth.C + time * truth.D), err[0]])


def page(realisations: int) -> str:
    """The page of the documentation."""
    lines = [
        "# Two maps against a known truth",
        "",
        "Made by `python -m validation.level` (part of `make validate`). Stacks of one EM gain and",
        "several times give the level L = F + g C and D, stacks of one time and several gains F",
        "and C + t D ([method](method.md)). Here they are simulated with the detector of the",
        "[validation of three maps](validation.md): pulls are residual over reported error, means",
        "are over all ordinary pixels and in standard errors. The darks are of times (or gains)",
        "that no stack had. Wanted: standard deviations of pulls from 0.97 to 1.03, means within 3",
        "standard errors. Where D spreads widely and the electrons are few, errors of darks come",
        "out some percent too large, as those of three maps do.",
        "",
        "| stacks | pixels | map | std of pulls | mean | hot pixels, std of pulls |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    dark_lines = [
        "",
        "| stacks | dark of | std of pulls | mean |",
        "| --- | --- | --- | --- |",
    ]
    for seed, (name, case) in enumerate(CASES.items(), 1):
        found = measure_level(case, realisations, seed)
        for k, (_, key) in enumerate(case.model.planes):
            lines.append(
                f"| {name} | {found.pixels} | {key} | {found.std[k]:.3f} | {found.bias[k]:+.1f} | "
                f"{found.hot[k]:.2f} |"
            )
        unit = "{:g} s" if case.model.has_d else "gain {:g}"
        for k, setting in enumerate(case.darks):
            dark_lines.append(
                f"| {name} | {unit.format(setting)} | {found.dark_std[k]:.3f} | "
                f"{found.dark_bias[k]:+.1f} |"
            )
    return "\n".join([*lines, *dark_lines, ""])


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--realisations", type=int, default=60)
    PAGE.write_text(page(parser.parse_args().realisations), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
