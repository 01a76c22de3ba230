"""Figures of the validation page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from validation.measure import PARAMETERS, Case

__all__ = ["coverage", "pulls", "quarters", "weights"]

# Okabe and Ito: told apart by colour-blind readers, too. Markers differ as well.
BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
STYLES = {
    "pooled": (BLUE, "o", 'estimator="pooled"'),
    "reference": (RED, "s", 'estimator="reference"'),
    "oracle": (GREEN, "^", "true variances"),
    "pool alone": (ORANGE, "D", "the pool's variance for every pixel"),
}
BAND = "#DDDDDD"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> Any:
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def pulls(case: Case, path: Path) -> None:
    """Histograms of (estimate - truth) / error, beside the normal law."""
    figure, axes = _figure(1, 3, (9, 3), sharey=True)
    edges = np.linspace(-5, 5, 81)
    x = np.linspace(-5, 5, 201)
    for k, axis in enumerate(axes[0]):
        for name in ("pooled", "reference"):
            colour, _, label = STYLES[name]
            values = np.clip(case.of[name].pulls[k], -4.99, 4.99)
            line = "solid" if name == "pooled" else "dashed"
            axis.hist(
                values,
                edges,
                density=True,
                histtype="step",
                color=colour,
                label=label,
                linestyle=line,
                linewidth=1.4,
            )
        axis.plot(
            x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="black", lw=0.8, label="normal"
        )
        axis.set(title=PARAMETERS[k], xlabel="(estimate − truth) / error")
        axis.set_ylim(0, 0.7)
    axes[0, 0].set_ylabel("density")
    axes[0, 2].legend(frameon=False, fontsize=8)
    figure.suptitle(f"Pulls of ordinary pixels, {case.name}; the outermost bins hold all beyond")
    _save(figure, path)


def coverage(cases: Sequence[Case], path: Path) -> None:
    """Share of pixels within one and two sigma, grid by grid."""
    figure, axes = _figure(2, 3, (9.5, 5.6), sharex=True)
    rows = (("one_sigma", 68.27, 1.5, (0, 102)), ("two_sigma", 95.45, 1.0, (0, 102)))
    x = np.arange(len(cases))
    for row, (what, right, width, limits) in zip(axes, rows, strict=True):
        for k, axis in enumerate(row):
            axis.axhspan(right - width, right + width, color=BAND, zorder=0)
            for name in ("reference", "pooled"):
                colour, marker, label = STYLES[name]
                values = [getattr(case.of[name], what)[k] for case in cases]
                axis.plot(x, values, marker, color=colour, label=label, ms=4.5)
            axis.set_ylim(*limits)
    for k, axis in enumerate(axes[0]):
        axis.set_title(PARAMETERS[k])
    for axis in axes[1]:
        axis.set_xticks(x, [f"{case.grid} {case.frames}" for case in cases], rotation=90)
    axes[0, 0].set_ylabel("within 1 σ, %")
    axes[1, 0].set_ylabel("within 2 σ, %")
    axes[1, 0].legend(frameon=False, fontsize=8, loc="lower left")
    figure.suptitle("Coverage of ordinary pixels by grid and frames per stack; grey: to be reached")
    _save(figure, path)


def quarters(cases: Sequence[Case], path: Path) -> None:
    """Pull std of D by quarter of true D, where D spreads by a gamma law."""
    numbers = sorted({case.frames for case in cases})
    figure, axes = _figure(1, len(numbers), (8, 3.4), sharey=True)
    bands = {100: 0.08, 600: 0.05}
    for axis, frames in zip(axes[0], numbers, strict=True):
        if frames in bands:
            axis.axhspan(1 - bands[frames], 1 + bands[frames], color=BAND, zorder=0)
        chosen = [case for case in cases if case.frames == frames]
        for j, case in enumerate(chosen):
            for name in ("pool alone", "pooled"):
                colour, marker, label = STYLES[name]
                at = np.arange(1, 5) + 0.07 * (j - (len(chosen) - 1) / 2)
                label = label if j == 0 else None
                std = case.of[name].quarters
                axis.plot(at, std, marker, color=colour, ms=4.5, label=label)
        axis.axhline(1, color="black", lw=0.6)
        axis.set(title=f"N = {frames}", xlabel="quarter of true D, faintest first")
        axis.set_xticks([1, 2, 3, 4])
    axes[0, 0].set_ylabel("pull std of D")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.suptitle("D spread by a gamma law of shape 4, five grids; grey: to be reached")
    _save(figure, path)


def weights(numbers: Sequence[int], found: dict[str, list[float]], true: float, path: Path) -> None:
    """Why weights must not come from the pixel's own scatter."""
    figure, axes = _figure(1, 1, (6.4, 3.6))
    axis = axes[0, 0]
    lines = (
        ("sample", RED, "s", "the pixel's own sample variance"),
        ("number", ORANGE, "D", "number of frames"),
        ("pooled", BLUE, "o", "variance pooled over pixels"),
    )
    for name, colour, marker, label in lines:
        hollow = {"ms": 9, "mfc": "none"} if name == "number" else {"ms": 5}
        axis.plot(numbers, found[name], marker=marker, color=colour, label=label, **hollow)
    axis.axhline(true, color="black", lw=0.8, ls=":")
    axis.text(numbers[-1], true, "true mean", ha="right", va="bottom", fontsize=8)
    axis.set_xscale("log")
    axis.set_xticks(numbers, [str(n) for n in numbers])
    axis.minorticks_off()
    axis.set(
        xlabel="frames per stack",
        ylabel="mean of estimated C, e⁻",
        title="Grid lin49; weights from:",
    )
    axis.legend(frameon=False, fontsize=8)
    _save(figure, path)
