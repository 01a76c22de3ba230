"""What the figures of a product say about it, in plain words, each with what to do.

Each check is a function from a product to advice; `MAPS_CHECKS` and `DARK_CHECKS` list them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.half_split import ENOUGH_FRAMES as ENOUGH_FOR_ERRORS
from emdarks.half_split import SIGNIFICANT, CheckReport
from emdarks.products.provenance import frames_combined
from emdarks.report.formatting import count, number, percent, signed
from emdarks.report.half_split import check_advice
from emdarks.report.page import Advice
from emdarks.report.product_summary import DarkView, MapsView, ProductView, camera_of
from emdarks.report.stacks import Misfits

Array = npt.NDArray[Any]

#: How far the mean of reduced chi-square may lie from 1.
CHI2_TOLERANCE = 0.1
#: Shares of the pixels from which on they are worth a warning, and are a problem.
MANY, TOO_MANY = 0.01, 0.2
#: Share of hot pixels that no healthy detector has.
MANY_HOT = 0.05
#: Stacks below which a single wrong one cannot be found out.
FEW_STACKS = 6
#: Relative deviation of a stack's read noise and excess noise from those of the others.
NOISE_TOLERANCE = 0.1
EXCESS_TOLERANCE = 0.2
#: Bias offset worth a word, DN.
LARGE_OFFSET = 1.0
#: Share of samples that screening may take out of clean frames.
MUCH_SCREENED = 1e-3


def advise_maps(view: MapsView, check: CheckReport | None = None) -> list[Advice]:
    """Look at noise maps from all sides."""
    found = [advice for look in MAPS_CHECKS for advice in look(view)]
    return found + check_advice(check)


def advise_dark(view: DarkView) -> list[Advice]:
    """Look at a dark from all sides."""
    return [advice for look in DARK_CHECKS for advice in look(view)]


# The planes


def _planes(view: MapsView) -> Iterator[Advice]:
    for text in view.complaints:
        yield Advice(
            "warning", text, "Fit the maps again, or find out who edited this file and why."
        )
    if view.clipped:
        yield Advice(
            "warning",
            "The file has no maps as fitted (HDU SIGNED), only published ones, in which negative "
            "values may have become 0: means of C and D, and darks made from them, are too high.",
            "Fit the maps with emdarks, which keeps the signed fit.",
        )
    if not view.good.any():
        yield Advice(
            "problem",
            "No pixel of the imaging area has a value with an error.",
            "Look at the flags and at the frames: `emdarks inspect FRAMES`.",
        )


def _valueless(view: ProductView) -> Iterator[Advice]:
    share = view.valueless / max(view.pixels, 1)
    if view.valueless and view.good.any():
        severity = "problem" if share > TOO_MANY else "warning" if share > MANY else "note"
        yield Advice(
            severity,  # type: ignore[arg-type]
            f"{count(view.valueless)} of {count(view.pixels)} pixels ({percent(share)}) have no "
            "value: too few of their samples are unmasked.",
            "Take more frames, or look at what masks them: `emdarks inspect FRAMES`."
            if share > MANY
            else "Nothing: they are flagged, and pass their flags on to every dark.",
        )


def _negative(view: MapsView) -> Iterator[Advice]:
    for plane in view.planes[1:]:
        s = view.statistics(plane)
        if s.mean_error > 0 and s.mean < -SIGNIFICANT * s.mean_error:
            yield Advice(
                "problem",
                f"The image mean of {plane.key} is negative, {plane.show(s.mean)} "
                f"({number(-s.mean / s.mean_error, 2)} standard errors), which no "
                f"{plane.name} can be.",
                "Look at the bias subtraction, and at the gains and times in the headers.",
            )


def _hot(view: ProductView) -> Iterator[Advice]:
    share = view.hot.sum() / max(int(view.good.sum()), 1)
    if share > MANY_HOT:
        yield Advice(
            "warning",
            f"{percent(share)} of the pixels are hot.",
            "Look for light, and at the detector's temperature; the map of hot pixels shows "
            "where they are.",
        )


# The fit


def chi2_values(view: MapsView) -> Array | None:
    """Reduced chi-square of the ordinary pixels; None where the product has none."""
    chi2 = view.extra("CHI2")
    if chi2 is None:
        return None
    values = chi2[view.area][view.good & ~view.hot].astype(np.float64)
    return values[np.isfinite(values)]


def _estimator(view: MapsView) -> Iterator[Advice]:
    estimator, weighted = view.card("ESTIMATR"), bool(view.card("WEIGHTED", True))
    if estimator == "reference":
        text = (
            "The errors follow the published formula of the reference method, which takes one "
            "scatter for all stacks: too large for F, too small for C and D."
        )
        if weighted:
            text += (
                " Its weights follow the scatter of each pixel's own samples, which makes C and D "
                "too small where stacks have few frames."
            )
        yield Advice("warning", text, "Fit with `--estimator pooled`, the default.")
    elif not weighted:
        yield Advice(
            "note",
            "All stacks counted alike in the fit: right on average, but noisier than weighted "
            "maps. Reduced chi-square is then no measure of the fit.",
        )


def _chi2(view: MapsView) -> Iterator[Advice]:
    values = chi2_values(view)
    if values is None or values.size < 2 or not _honest_weights(view):
        return
    mean, error = float(values.mean()), float(values.std() / np.sqrt(values.size))
    if abs(mean - 1) <= CHI2_TOLERANCE + SIGNIFICANT * error:
        yield Advice(
            "fine", f"The stacks lie about the fit as far as their noise says: reduced chi-square "
            f"is {number(mean)} on average."
        )  # fmt: skip
        return
    yield Advice(
        "warning",
        f"The stacks lie {'further from' if mean > 1 else 'closer to'} the fit than their noise "
        f"says: reduced chi-square is {number(mean)} on average (1 is expected).",
        "Look for a stack with a large misfit below, and for structure in the map of chi-square: "
        "a wrong gain or time, light, or a level that drifted."
        if mean > 1
        else "Look for copies of frames among the inputs, and for errors in the frames (HDU ERR) "
        "that are in their scatter already.",
    )


def _honest_weights(view: MapsView) -> bool:
    return view.card("ESTIMATR") == "pooled" and bool(view.card("WEIGHTED", True))


def _few_stacks(view: MapsView) -> Iterator[Advice]:
    if view.stacks is not None and len(view.stacks) < FEW_STACKS:
        left = len(view.stacks) - len(view.planes)
        yield Advice(
            "warning",
            f"The maps rest on {len(view.stacks)} stacks, {left} more than the fit has parameters: "
            "a stack with a wrong gain or light in it would hardly be noticed.",
            f"Take at least {FEW_STACKS} stacks; `emdarks plan` says which."
            if not view.absent.any()
            else f"Take at least {FEW_STACKS} stacks; with several gains and several times they "
            "give three maps, and darks of any gain and time.",
        )


def _lost_stacks(view: MapsView) -> Iterator[Advice]:
    used = view.extra("NSTACKS")
    if used is None or view.stacks is None or not view.good.any():
        return
    share = float((used[view.area][view.good] < len(view.stacks)).mean())
    if share > MANY:
        yield Advice(
            "warning",
            f"{percent(share)} of the pixels were fitted to fewer than the {len(view.stacks)} "
            "stacks: in the others all their samples are masked.",
            "Take more frames, or look at what masks so many: saturation, or a mask that is too "
            "wide.",
        )


def _few_frames(view: MapsView) -> Iterator[Advice]:
    if view.stacks is None:
        return
    least = int(view.stacks.frames.min())
    camera = camera_of(view.product, None)
    enough = None if camera is None else camera.frames.recommended
    if least < ENOUGH_FOR_ERRORS:
        yield Advice(
            "warning",
            f"A stack has only {least} frames. With so few, one electron more or less decides "
            "about a pixel, and errors are rough.",
            f"Take {ENOUGH_FOR_ERRORS} frames of each stack at least"
            + ("." if enough is None else f"; recommended are {count(enough)}."),
        )
    elif enough is not None and least < enough:
        yield Advice(
            "note",
            f"The smallest stack has {count(least)} frames; {count(enough)} are "
            "recommended. The maps are noisier than they could be; their errors say so.",
        )


def stack_misfits(view: MapsView) -> Misfits:
    """How each stack agrees with the others, hot pixels counted with their own noise."""
    assert view.stacks is not None
    above = np.zeros(2)
    for k, plane in zip(np.flatnonzero(~view.absent[1:]), view.planes[1:], strict=True):
        s = view.statistics(plane)
        above[k] = s.mean - s.ordinary if np.isfinite(s.ordinary) else 0.0
    return view.stacks.misfits(int(view.good.sum()), (float(above[0]), float(above[1])))


def _misfit(view: MapsView) -> Iterator[Advice]:
    if view.stacks is None or not view.good.any():
        return
    if view.stacks.frames.min() < ENOUGH_FOR_ERRORS:
        return  # a lucky electron weighs a pixel's fit, and moves the image mean of residuals
    misfits = stack_misfits(view)
    sigmas = np.nan_to_num(misfits.sigmas)
    worst = int(np.argmax(np.abs(sigmas)))
    if abs(sigmas[worst]) < SIGNIFICANT:
        yield Advice("fine", "Each stack has the image mean that the other stacks predict.")
        return
    several = int((np.abs(sigmas) >= SIGNIFICANT).sum())
    others = f" {several} stacks in all are off; one wrong stack spoils others." * (several > 1)
    yield Advice(
        "warning",
        f"The stack of {view.stacks.names[worst]} disagrees with the others: its image mean is "
        f"off by {signed(misfits.value[worst])} EM e⁻ ({number(abs(sigmas[worst]), 2)} standard "
        f"errors).{others}",
        "Look for a wrong gain or time in its headers, or light; `emdarks check FRAMES` tells "
        "more; or leave it out.",
    )


def _noise(view: MapsView) -> Iterator[Advice]:
    stacks = view.stacks
    if stacks is None:
        return
    for values, tells, tolerance, name in (
        (stacks.read_noise, stacks.tells_read_noise, NOISE_TOLERANCE, "read noise"),
        (stacks.excess, stacks.tells_excess, EXCESS_TOLERANCE, "excess noise"),
    ):
        measured = np.flatnonzero(tells)
        if measured.size < 2:
            continue
        usual = float(np.median(values[measured]))
        off = values[measured] / usual - 1
        worst = int(np.argmax(np.abs(off)))
        if abs(off[worst]) > tolerance:
            yield Advice(
                "warning",
                f"The {name} of the stack of {stacks.names[measured[worst]]} is "
                f"{number(values[measured[worst]])}, that of the others {number(usual)}.",
                "Look for a wrong gain in its headers, for cosmic rays that were not flagged, or "
                "for interference in its frames.",
            )


def _offset(view: MapsView) -> Iterator[Advice]:
    offset, error = view.number_in("B_O"), view.number_in("B_O_ERR")
    if abs(offset) > LARGE_OFFSET and abs(offset) > SIGNIFICANT * error:
        yield Advice(
            "warning",
            f"The bias subtraction left {number(offset)} DN in the prescan.",
            "Look at how the bias of these frames was subtracted; what is left is in F.",
        )


def _screened(view: MapsView) -> Iterator[Advice]:
    rejected = view.extra("REJECTED")
    if rejected is None or view.stacks is None:
        return
    samples = view.stacks.frames.sum() * view.pixels
    share = float(rejected[view.area].sum()) / max(samples, 1)
    severity = "warning" if share > MUCH_SCREENED else "note"
    yield Advice(
        severity,  # type: ignore[arg-type]
        f"Screening took out {percent(share)} of the samples.",
        "So many cosmic rays should have been flagged before: look at how they were detected."
        if severity == "warning"
        else "",
    )


# Darks


def _dark_errors(view: DarkView) -> Iterator[Advice]:
    errors = view.planes[0].errors[view.area][view.good]
    share = float((errors == 0).mean()) if errors.size else 0.0
    if share > 0:
        yield Advice(
            "warning",
            f"{percent(share)} of the pixels have an error of 0, which nothing measured has.",
            "Make the dark with an estimator that gives errors, `--estimator sample` or `pooled`.",
        )


def _dark_matches(view: DarkView) -> Iterator[Advice]:
    if not view.number_in("KGAINPAR") > 0:
        yield Advice(
            "warning",
            "The header gives no k-gain (KGAINPAR): software that matches darks to frames by gain, "
            "time and k-gain will not find this one.",
            "Make it again with `--like FRAME`, or with `--kgain`.",
        )


def _dark_frames(view: DarkView) -> Iterator[Advice]:
    frames = frames_combined(view.product.ext_hdr)
    if view.synthesised or not np.isfinite(frames):
        return
    if frames < ENOUGH_FOR_ERRORS:
        yield Advice(
            "warning",
            f"The dark is the mean of only {count(frames)} frames: one electron more or less "
            "decides about a pixel, and errors are rough.",
            "Average more frames, or synthesise the dark from noise maps.",
        )


def _dark_flags(view: DarkView) -> Iterator[Advice]:
    flagged = view.flags[view.area][~view.telemetry] != 0
    share = float(flagged.mean()) if flagged.size else 0.0
    if share > MANY:
        yield Advice(
            "problem" if share > TOO_MANY else "warning",
            f"{percent(share)} of the pixels are flagged.",
            "Take more frames, or look at what masks these: `emdarks inspect FRAMES`.",
        )


MAPS_CHECKS: tuple[Callable[[MapsView], Iterator[Advice]], ...] = (
    _planes,
    _valueless,
    _negative,
    _estimator,
    _chi2,
    _misfit,
    _noise,
    _few_stacks,
    _lost_stacks,
    _few_frames,
    _hot,
    _offset,
    _screened,
)
DARK_CHECKS: tuple[Callable[[DarkView], Iterator[Advice]], ...] = (
    _valueless,
    _dark_flags,
    _dark_errors,
    _dark_matches,
    _dark_frames,
    _hot,
)
