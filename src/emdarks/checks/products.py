"""Checks of products: what their numbers say about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.checks.counting_summary import CountingSummary, FittedGain
from emdarks.checks.finding import Finding, Findings, Severity
from emdarks.checks.formatting import count, number, percent, signed
from emdarks.checks.product_summary import (
    BadPixelView,
    DarkView,
    MapsView,
    ProductSummary,
    ProductView,
    camera_of,
)
from emdarks.checks.stack_table import Misfits
from emdarks.checks.thresholds import (
    CHI2_TOLERANCE,
    EXCESS_NOISE_TOLERANCE,
    FEW_FRAMES,
    FEW_STACKS,
    GAIN_DISAGREES,
    LARGE_OFFSET,
    MANY_BAD,
    MANY_HOT,
    MANY_VALUELESS,
    MUCH_SCREENED,
    READ_NOISE_TOLERANCE,
    SIGNIFICANT,
    TOO_MANY_BAD,
    TOO_MANY_VALUELESS,
)
from emdarks.products.provenance import frames_combined

Array = npt.NDArray[Any]


# The planes


def planes(view: MapsView) -> Findings:
    """Planes that are not as the fit left them, or hold nothing."""
    for text in view.complaints:
        yield Finding(
            "warning",
            "planes",
            text,
            remedy="Fit the maps again, or find out who edited this file and why.",
        )
    if view.published:
        yield Finding(
            "warning",
            "planes",
            "The file has no maps as fitted (HDU SIGNED), only published ones, in which negative "
            "values may have become 0: means of C and D, and darks made from them, are too high.",
            remedy="Fit the maps with emdarks, which keeps the signed fit.",
        )
    if not view.good.any():
        yield Finding(
            "problem",
            "planes",
            "No pixel of the imaging area has a value with an error.",
            remedy="Look at the flags and at the frames: `emdarks inspect FRAMES`.",
        )


def _severity(share: float, many: float, too_many: float) -> Severity:
    """How much a share of the pixels matters."""
    return "problem" if share > too_many else "warning" if share > many else "note"


def valueless_pixels(view: ProductView) -> Findings:
    """Pixels without a value."""
    share = view.valueless / max(view.pixels, 1)
    if view.valueless and view.good.any():
        yield Finding(
            _severity(share, MANY_VALUELESS, TOO_MANY_VALUELESS),
            "masked",
            f"{count(view.valueless)} of {count(view.pixels)} pixels ({percent(share)}) have no "
            f"value: {view.why_valueless}.",
            remedy="Take more frames, or look at what masks them: `emdarks inspect FRAMES`."
            if share > MANY_VALUELESS
            else "Nothing: they are flagged, and pass their flags on to every dark.",
        )


def negative_means(view: MapsView) -> Findings:
    """Image means below 0 that cannot be."""
    for plane in view.planes[1:]:
        s = view.statistics(plane)
        if s.mean_error > 0 and s.mean < -SIGNIFICANT * s.mean_error:
            yield Finding(
                "problem",
                "level",
                f"The image mean of {plane.key} is negative, {plane.show(s.mean)} "
                f"({number(-s.mean / s.mean_error, 2)} standard errors), which no "
                f"{plane.name} can be.",
                remedy="Look at the bias subtraction, and at the gains and times in the headers.",
            )


def hot_pixels(view: ProductView) -> Findings:
    """More hot pixels than a healthy detector has."""
    share = view.hot.sum() / max(int(view.good.sum()), 1)
    if share > MANY_HOT:
        yield Finding(
            "warning",
            "hot",
            f"{percent(share)} of the pixels are hot.",
            remedy="Look for light, and at the detector's temperature; the map of hot pixels shows "
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


def estimator(view: MapsView) -> Findings:
    """Estimators whose errors, or weights, are not the best."""
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
        yield Finding(
            "warning",
            "estimator",
            text,
            remedy="Fit with `emdarks noisemaps --estimator pooled`, the default.",
        )
    elif estimator == "frames" and weighted:
        power = "squared " if view.card("WGTPOWER") == 2 else ""
        yield Finding(
            "note",
            "estimator",
            f"Stacks counted by the {power}number of their good samples, whatever their noise: "
            "right on average, with errors that say so, but noisier than maps weighted by noise. "
            "Reduced chi-square is then no measure of the fit.",
        )
    elif not weighted:
        yield Finding(
            "note",
            "estimator",
            "All stacks counted alike in the fit: right on average, but noisier than weighted "
            "maps. Reduced chi-square is then no measure of the fit.",
        )


def fitted_gains(view: MapsView) -> Findings:
    """EM gains that the frames show against those that the maps were computed with."""
    counted = CountingSummary.of(view.product)
    if counted is None or not counted.gains:
        return
    worst = max(counted.gains, key=lambda each: abs(each.off))
    if counted.source == "fitted":
        yield Finding(
            "note",
            "gains",
            "The maps were computed with the EM gains that the frames show: "
            + ", ".join(_of_gain(each) for each in counted.gains)
            + ".",
        )
    elif abs(worst.off) > GAIN_DISAGREES and abs(worst.sigmas) > SIGNIFICANT:
        yield Finding(
            "warning",
            "gains",
            f"The frames show an EM gain of {_of_gain(worst)}; the maps were computed with "
            f"{number(worst.used, 4)}, {signed(100 * worst.off, 2)} % off, and C and D with it.",
            remedy="Correct the gains in the headers, or make the maps with those of the frames: "
            "`emdarks noisemaps FRAMES --estimator counting --gain-source fitted`.",
        )
    else:
        yield Finding(
            "fine",
            "gains",
            "The frames show the EM gains that the maps were computed with, within "
            f"{number(100 * abs(worst.off), 2)} %.",
        )


def _of_gain(gain: FittedGain) -> str:
    return (
        f"{number(gain.gain, 4)} ± {number(gain.error, 2)} where {number(gain.commanded, 4)} was "
        "commanded"
    )


def chi_square(view: MapsView) -> Findings:
    """Whether the stacks lie about the fit as far as their noise says."""
    values = chi2_values(view)
    if values is None or values.size < 2 or not _honest_weights(view):
        return
    mean, error = float(values.mean()), float(values.std() / np.sqrt(values.size))
    if abs(mean - 1) <= CHI2_TOLERANCE + SIGNIFICANT * error:
        yield Finding(
            "fine",
            "fit",
            "The stacks lie about the fit as far as their noise says: reduced chi-square is "
            f"{number(mean)} on average.",
        )
        return
    yield Finding(
        "warning",
        "fit",
        f"The stacks lie {'further from' if mean > 1 else 'closer to'} the fit than their noise "
        f"says: reduced chi-square is {number(mean)} on average (1 is expected).",
        remedy="Look for a stack with a large misfit below, and for structure in the map of "
        "chi-square: a wrong gain or time, light, or a level that drifted." + _or_rays(view)
        if mean > 1
        else "Look for copies of frames among the inputs, and for errors in the frames (HDU ERR) "
        "that are in their scatter already.",
    )


def _honest_weights(view: MapsView) -> bool:
    return view.card("ESTIMATR") == "pooled" and bool(view.card("WEIGHTED", True))


def few_stacks(view: MapsView) -> Findings:
    """Maps that rest on few stacks."""
    if view.stacks is not None and len(view.stacks) < FEW_STACKS:
        left = len(view.stacks) - len(view.planes)
        yield Finding(
            "warning",
            "stacks",
            f"The maps rest on {len(view.stacks)} stacks, {left} more than the fit has parameters: "
            "a stack with a wrong gain or light in it would hardly be noticed.",
            remedy=f"Take at least {FEW_STACKS} stacks; `emdarks plan` says which."
            if not view.absent.any()
            else f"Take at least {FEW_STACKS} stacks; with several gains and several times they "
            "give three maps, and darks of any gain and time.",
        )


def lost_stacks(view: MapsView) -> Findings:
    """Pixels that were fitted to fewer stacks than there are."""
    used = view.extra("NSTACKS")
    if used is None or view.stacks is None or not view.good.any():
        return
    share = float((used[view.area][view.good] < len(view.stacks)).mean())
    if share > MANY_VALUELESS:
        yield Finding(
            "warning",
            "stacks",
            f"{percent(share)} of the pixels were fitted to fewer than the {len(view.stacks)} "
            "stacks: in the others all their samples are masked.",
            remedy="Take more frames, or look at what masks so many: saturation, or a mask "
            "that is too wide.",
        )


def few_frames_of_maps(view: MapsView) -> Findings:
    """Stacks of few frames."""
    if view.stacks is None:
        return
    least = int(view.stacks.frames.min())
    camera = camera_of(view.product, None)
    enough = None if camera is None else camera.frames.recommended
    if least < FEW_FRAMES:
        yield Finding(
            "warning",
            "frames",
            f"A stack has only {least} frames. With so few, one electron more or less decides "
            "about a pixel, and errors are rough.",
            remedy=f"Take {FEW_FRAMES} frames of each stack at least"
            + ("." if enough is None else f"; recommended are {count(enough)}."),
        )
    elif enough is not None and least < enough:
        yield Finding(
            "note",
            "frames",
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


def _or_rays(view: MapsView) -> str:
    """What to do where stacks may disagree for rays in them; none where no estimator helps."""
    if view.absent.any():
        return ""
    return (
        " Cosmic rays too faint to be flagged do this, too: `emdarks noisemaps --estimator "
        "counting` is right under them."
    )


def _holds_rays(view: MapsView) -> bool:
    """Whether means and scatters of the stacks hold rays that the maps do not."""
    return bool(view.card("ESTIMATR") == "counting")


def misfits(view: MapsView) -> Findings:
    """Stacks whose image mean the others do not predict."""
    if view.stacks is None or not view.good.any() or _holds_rays(view):
        return
    if view.stacks.frames.min() < FEW_FRAMES:
        return  # a lucky electron weighs a pixel's fit, and moves the image mean of residuals
    misfits = stack_misfits(view)
    sigmas = np.nan_to_num(misfits.sigmas)
    worst = int(np.argmax(np.abs(sigmas)))
    if abs(sigmas[worst]) < SIGNIFICANT:
        yield Finding("fine", "fit", "Each stack has the image mean that the other stacks predict.")
        return
    several = int((np.abs(sigmas) >= SIGNIFICANT).sum())
    others = f" {several} stacks in all are off; one wrong stack spoils others." * (several > 1)
    yield Finding(
        "warning",
        "fit",
        f"The stack of {view.stacks.names[worst]} disagrees with the others: its image mean is "
        f"off by {signed(misfits.value[worst])} EM e⁻ ({number(abs(sigmas[worst]), 2)} standard "
        f"errors).{others}",
        remedy="Look for a wrong gain or time in its headers, or light; `emdarks check FRAMES` "
        "tells more; or leave it out." + _or_rays(view),
    )


def noise_of_stacks(view: MapsView) -> Findings:
    """Stacks noisier, or less noisy, than the others."""
    stacks = view.stacks
    if stacks is None or _holds_rays(view):
        return
    for values, tells, tolerance, name in (
        (stacks.read_noise, stacks.tells_read_noise, READ_NOISE_TOLERANCE, "read noise"),
        (stacks.excess, stacks.tells_excess, EXCESS_NOISE_TOLERANCE, "excess noise"),
    ):
        measured = np.flatnonzero(tells)
        if measured.size < 2:
            continue
        usual = float(np.median(values[measured]))
        off = values[measured] / usual - 1
        worst = int(np.argmax(np.abs(off)))
        if abs(off[worst]) > tolerance:
            yield Finding(
                "warning",
                "noise",
                f"The {name} of the stack of {stacks.names[measured[worst]]} is "
                f"{number(values[measured[worst]])}, that of the others {number(usual)}.",
                remedy="Look for a wrong gain in its headers, or for interference in its frames."
                + _or_rays(view),
            )


def bias_offset(view: MapsView) -> Findings:
    """What bias subtraction left in the prescan."""
    offset, error = view.number_in("B_O"), view.number_in("B_O_ERR")
    if abs(offset) > LARGE_OFFSET and abs(offset) > SIGNIFICANT * error:
        yield Finding(
            "warning",
            "bias",
            f"The bias subtraction left {number(offset)} DN in the prescan.",
            remedy="Look at how the bias of these frames was subtracted; what is left is in F.",
        )


def screened_samples(view: MapsView) -> Findings:
    """How much the screening took out."""
    rejected = view.extra("REJECTED")
    if rejected is None or view.stacks is None:
        return
    samples = view.stacks.frames.sum() * view.pixels
    share = float(rejected[view.area].sum()) / max(samples, 1)
    severity: Severity = "warning" if share > MUCH_SCREENED else "note"
    yield Finding(
        severity,
        "cosmic",
        f"Screening took out {percent(share)} of the samples.",
        remedy="So many cosmic rays should have been flagged before: look at how they were "
        "detected."
        if severity == "warning"
        else "",
    )


# Darks


def dark_errors(view: DarkView) -> Findings:
    """Errors of 0."""
    errors = view.planes[0].errors[view.area][view.good]
    share = float((errors == 0).mean()) if errors.size else 0.0
    if share > 0:
        yield Finding(
            "warning",
            "errors",
            f"{percent(share)} of the pixels have an error of 0, which nothing measured has.",
            remedy="Make the dark with an estimator that gives errors: `emdarks dark --estimator "
            "sample`, or `pooled`.",
        )


def dark_matches(view: DarkView) -> Findings:
    """Cards without which other software does not find the dark."""
    if not view.number_in("KGAINPAR") > 0:
        yield Finding(
            "warning",
            "headers",
            "The header gives no k-gain (KGAINPAR): software that matches darks to frames by gain, "
            "time and k-gain will not find this one.",
            remedy="Make it again with `emdarks synthesize`, `--like FRAME` or `--kgain`.",
        )


def dark_frames(view: DarkView) -> Findings:
    """Darks of few frames."""
    frames = frames_combined(view.product.ext_hdr)
    if view.synthesised or not np.isfinite(frames):
        return
    if frames < FEW_FRAMES:
        yield Finding(
            "warning",
            "frames",
            f"The dark is made of only {count(frames)} frames: one electron more or less "
            "decides about a pixel, and errors are rough.",
            remedy="Give more frames, or synthesise the dark from noise maps.",
        )


def dark_flags(view: DarkView) -> Findings:
    """Flagged pixels."""
    flagged = view.flags[view.area][~view.telemetry] != 0
    share = float(flagged.mean()) if flagged.size else 0.0
    if share > MANY_VALUELESS:
        yield Finding(
            "problem" if share > TOO_MANY_VALUELESS else "warning",
            "masked",
            f"{percent(share)} of the pixels are flagged.",
            remedy="Take more frames, or look at what masks these: `emdarks inspect FRAMES`.",
        )


# All products


def skipped_frames(view: ProductSummary) -> Findings:
    """Frames that a product was made without."""
    rows = view.skipped
    if rows:
        frames = "1 bad frame was" if len(rows) == 1 else f"{len(rows)} bad frames were"
        yield Finding(
            "note",
            "frames",
            f"{frames} left out: {rows[0][0]}{', …' if len(rows) > 1 else ''}; the table under "
            "“Where it comes from” says why.",
        )


def bad_pixels(view: BadPixelView) -> Findings:
    """How many pixels are bad."""
    inside = view.flags[~view.telemetry]
    share = float((inside != 0).mean()) if inside.size else 0.0
    if share > MANY_BAD:
        yield Finding(
            "problem" if share > TOO_MANY_BAD else "warning",
            "flags",
            f"{percent(share)} of the pixels are bad, telemetry rows not counted.",
            remedy="Look at the flags below: what is masked or could not be fitted, and why.",
        )
    elif share == 0:
        yield Finding("note", "flags", "No pixel is bad.", remedy="Is this the map that was meant?")
    else:
        yield Finding("fine", "flags", f"{percent(share)} of the pixels are bad.")
