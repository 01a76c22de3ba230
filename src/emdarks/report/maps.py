"""The page of noise maps."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import plots
from emdarks.check import CheckReport
from emdarks.products.model import dark_formula, model_words
from emdarks.products.synthesis import synthesize_arrays
from emdarks.report.advice import advise_maps, chi2_values, stack_misfits
from emdarks.report.checking import check_section
from emdarks.report.numbers import count, measured, number, percent, setting, signed
from emdarks.report.page import (
    WIDTH,
    Advice,
    Block,
    Column,
    Facts,
    Page,
    Picture,
    Section,
    Table,
    Text,
)
from emdarks.report.shared import (
    MOST,
    about_blocks,
    draw_plane,
    flag_table,
    hot_pixels,
    map_height,
    observed_dates,
    panel_figure,
    provenance,
    skipped_advice,
)
from emdarks.report.stacks import Misfits, Stacks
from emdarks.report.view import MapsView

__all__ = ["glance_table", "maps_page", "maps_sections"]

Array = npt.NDArray[Any]

#: Settings in the table of darks: more would not be read.
SETTINGS = 12


def maps_page(
    view: MapsView,
    check: CheckReport | None = None,
    more: Sequence[Section] = (),
    advice: Sequence[Advice] = (),
    unchecked: str = "",
) -> Page:
    """Report on noise maps.

    Parameters
    ----------
    view : MapsView
        The maps.
    check : CheckReport, optional
        What their frames say.
    more : sequence of Section
        Sections in front of the provenance, such as a comparison.
    advice : sequence of Advice
        What these have found.
    unchecked : str
        Why the frames could not be checked, where they were to be.
    """
    found = [*advise_maps(view, check), *skipped_advice(view), *advice]
    return Page(
        title="Noise maps",
        subtitle=_subtitle(view),
        observed=observed_dates(view),
        what=_what(view),
        advice=found,
        steps=_steps(view),
        glance=[glance_table(view), Facts(_glance(view))],
        sections=[*maps_sections(view), check_section(check, unchecked), *more, provenance(view)],
        untested=""
        if check
        else "Whether the errors are right only the frames can tell: see "
        "“The check without truth”.",
    )


def maps_sections(view: MapsView) -> list[Section]:
    """What the maps themselves show."""
    sections = [_maps(view), _histograms(view), _quality(view)]
    if view.stacks is not None:
        sections.append(_stacks(view, view.stacks))
    sections.append(hot_pixels(view))
    if view.stacks is not None:
        sections.append(_darks(view, view.stacks))
    return sections


# In front


def _subtitle(view: MapsView) -> str:
    rows, cols = view.shape
    camera = view.card("CAMERA")
    parts = [view.name, f"{rows} × {cols} pixels", f"camera {camera}" if camera else ""]
    return " · ".join(part for part in parts if part)


def _what(view: MapsView) -> str:
    words = model_words(view.header)
    if words:
        return f"{words[0]}. {_from_stacks(view)}"
    text = (
        "Three maps of a detector in the dark: the fixed-pattern noise F, the clock-induced "
        "charge C and the dark current D of every pixel, each with its error"
    )
    return f"{text}. {_from_stacks(view)}"


def _from_stacks(view: MapsView) -> str:
    stacks = view.stacks
    if stacks is None:
        return "The file does not say which stacks of frames they were fitted to."
    return (
        f"They were fitted to {count(stacks.frames.sum())} dark frames in {len(stacks)} "
        f"stacks, of EM gains {setting(stacks.gain.min())} to {setting(stacks.gain.max())} and "
        f"exposure times {stacks.time.min():g} to {stacks.time.max():g} s."
    )


def _steps(view: MapsView) -> list[str]:
    name = shlex.quote(view.name)
    steps = []
    if view.stacks is not None:
        brightest = int(np.argmax(view.stacks.gain * view.stacks.time))
        setting = view.stacks.gain[brightest], view.stacks.time[brightest]
        steps.append(
            f"Make the dark that matches your frames, for {_any_setting(view)}: "
            f"`emdarks synthesize {name} -o dark.fits --gain {setting[0]:g} "
            f"--exptime {setting[1]:g}`."
        )
    steps.append(
        "Keep this file for the next campaign: "
        f"`emdarks report NEW.fits --against {name} -o report.html` tells whether the detector "
        "has changed."
    )
    return steps


def _any_setting(view: MapsView) -> str:
    """Which darks the maps can make."""
    if view.absent[1]:
        return f"any time at EM gain {view.number_in('MAPGAIN'):g}"
    if view.absent[2]:
        return f"any EM gain at {view.number_in('MAPTIME'):g} s"
    return "any EM gain and time"


def glance_table(view: MapsView) -> Table:
    """Means, scatters and errors of the three maps."""
    rows = []
    for plane in view.planes:
        s, scale = view.statistics(plane), plane.scale
        rows.append(
            [
                plane.title,
                plane.unit,
                measured(scale * s.mean, scale * s.mean_error),
                number(scale * s.median),
                number(scale * s.scatter),
                number(scale * s.error),
                number(scale * s.spread) if s.spread > 0 else "not seen",
            ]
        )
    return Table(
        [
            Column("map", words=True),
            Column("unit", words=True),
            Column("image mean"),
            Column("median"),
            Column("scatter of pixels"),
            Column("error of a pixel"),
            Column("real differences"),
        ],
        rows,
        "Imaging area; before negative values of the published maps became 0. Scatter, error "
        "(median) and real differences (scatter beyond the errors): without hot pixels.",
    )


def _glance(view: MapsView) -> list[tuple[str, str]]:
    hot = int(view.hot.sum())
    facts = [
        ("hot pixels", f"{count(hot)} ({percent(hot / max(int(view.good.sum()), 1))})"),
        ("pixels without a value", f"{count(view.valueless)} of {count(view.pixels)}"),
    ]
    chi2 = chi2_values(view)
    if chi2 is not None and chi2.size:
        facts.append(("reduced chi-square, mean", number(float(chi2.mean()))))
    read_noise = view.number_in("RN_EST")
    if np.isfinite(read_noise):
        facts.append(("read noise", f"{number(read_noise)} EM e⁻"))
    if view.stacks is not None and view.stacks.tells_excess.any():
        facts.append(("excess noise of the register", number(view.stacks.kappa)))
    offset, error = view.number_in("B_O"), view.number_in("B_O_ERR")
    facts.append(("bias offset", f"{measured(offset, error)} {view.card('B_O_UNIT', 'DN')}"))
    return facts


# The maps


def _maps(view: MapsView) -> Section:
    height = map_height(view, WIDTH / 2)
    figure = plots.new_figure(WIDTH, len(view.planes) * height)
    for plane, axes in zip(view.planes, figure.subplots(len(view.planes), 2), strict=True):
        draw_plane(view, plane, *axes)
    frame = "" if view.whole else " The dashed frame is the imaging area."
    intro = Text(
        "The mean of a stack of EM gain g and exposure time t is F + g C + g t D: a pattern that "
        "is there at any gain, charge that the clocks make in every frame, and dark current. "
        f"{_told_apart(view)}{frame}"
    )
    picture = Picture.of(
        "maps",
        figure,
        f"Maps of {_keys(view)}, left, and of their errors, right",
        "Values, left, and their errors, right, before negative values of the published maps "
        f"became 0. Grey: no value.{about_blocks(view)} The scales leave out one percent at "
        "either end.",
    )
    return Section("maps", "The maps", [intro, picture])


def _keys(view: MapsView) -> str:
    *first, last = (plane.key for plane in view.planes)
    return f"{', '.join(first)} and {last}"


def _told_apart(view: MapsView) -> str:
    if view.absent[1]:
        return "With one EM gain only the level L = F + g C and D can be told apart: there is no C."
    if view.absent[2]:
        return "With one exposure time only F and C + t D can be told apart: there is no D."
    return "All stacks together tell the three apart, pixel by pixel."


def _histograms(view: MapsView) -> Section:
    figure = plots.new_figure(WIDTH, 5.2)
    for plane, axes in zip(view.planes, figure.subplots(2, len(view.planes)).T, strict=True):
        values, errors = (
            plane.scale * array[view.area][view.good] for array in (plane.values, plane.errors)
        )
        cold = plots.robust_limits(values[~view.hot[view.good]], 0.0005)
        limits = cold[0] - 0.1 * (cold[1] - cold[0]), cold[1] + 0.25 * (cold[1] - cold[0])
        plots.value_histogram(values, plane.title, plane.unit, limits=limits, ax=axes[0])
        plots.value_histogram(errors, f"error of {plane.key}", plane.unit, ax=axes[1])
    picture = Picture.of(
        "histograms",
        figure,
        f"Histograms of the values and errors of {_keys(view)}",
        f"All {count(view.good.sum())} pixels of the imaging area that have a value: values, "
        "above, and errors, below. Pixels beyond the ends are counted in the first and last bins.",
    )
    shares = [f"{percent(view.statistics(plane).negative)} of {plane.key}" for plane in view.planes]
    charges = [plane.key for plane in view.planes[1:]]
    text = Text(
        f"Negative are {', '.join(shares[:-1])} and {shares[-1]}. {' and '.join(charges)} "
        "cannot be negative, but what is measured of a small value scatters to both sides of it. "
        + _about_clipping(view)
    )
    return Section("histograms", "How values and errors are distributed", [text, picture])


def _about_clipping(view: MapsView) -> str:
    clipped = str(view.card("NONNEG", "CIC,DC")).replace(",", ", ")
    if view.clipped:
        return "This file has only published maps, in which negative values may have become 0."
    if not clipped:
        return "The published maps are those of the fit."
    return (
        f"In the published maps negative values of {clipped} are 0; darks are made from the maps "
        "as fitted (HDU `SIGNED`), since maps cut at 0 would make every dark too bright."
    )


# Quality


def _quality(view: MapsView) -> Section:
    blocks: list[Block] = []
    chi2 = view.extra("CHI2")
    if chi2 is not None:
        blocks += [
            Text(
                "Reduced chi-square compares how far the stacks lie from the fit with their "
                "noise. Where the noise is known and the model holds, its mean is 1. "
                "A single pixel's value scatters widely, since few stacks are left over."
            ),
            _chi2_picture(view, chi2.astype(np.float64)),
        ]
    blocks += _counts(view)
    blocks += flag_table(view)
    return Section("quality", "Quality of the fit", blocks)


def _chi2_picture(view: MapsView, chi2: Array) -> Picture:
    figure, (left, right) = panel_figure(2, map_height(view, WIDTH / 2))
    fitted = np.where(np.isfinite(view.planes[0].errors), chi2, np.nan)
    inside = fitted[view.area]
    limits = (0.0, plots.robust_limits(plots.shrink(inside, MOST), 0.01)[1])
    plots.show_map(fitted, "reduced chi-square", limits=limits, most=MOST, ax=left)
    if not view.whole:
        plots.outline(left, view.area)
    plots.value_histogram(inside, "imaging area", "reduced chi-square", expected=1.0, ax=right)
    return Picture.of(
        "chi2",
        figure,
        "Map and histogram of reduced chi-square",
        "Structure in the map, such as stripes or a corner, shows where the model misses "
        "something that all stacks share.",
    )


_COUNTS = (
    ("NSTACKS", "stacks that entered the fit", "min"),
    ("NBAD", "stacks with most frames masked", "max"),
    ("REJECTED", "samples screened out", "max"),
)


def _counts(view: MapsView) -> list[Block]:
    """Maps of counts, where they are not the same everywhere."""
    varied: list[tuple[Array, str, str]] = []
    same = []
    for name, title, worst in _COUNTS:
        plane = view.extra(name)
        if plane is None or not view.good.any():
            continue
        shown = np.where(np.isnan(view.planes[0].values), np.nan, plane.astype(np.float64))
        inside = shown[view.area]
        low, high = np.nanmin(inside), np.nanmax(inside)
        if low == high:
            same.append(f"{title}: {count(low)}")
        else:
            varied.append((shown, title, worst))
    blocks: list[Block] = []
    if same:
        blocks.append(Text(f"The same for every pixel of the imaging area: {'; '.join(same)}."))
    if varied:
        panels = max(len(varied), 2)
        figure, axes = panel_figure(panels, map_height(view, WIDTH / panels))
        for ax, (plane, title, worst) in zip(axes, varied, strict=False):
            plots.show_counts(plane, title, most=MOST, worst=worst, ax=ax)  # type: ignore[arg-type]
        for ax in axes[len(varied) :]:
            ax.set_axis_off()
        text = "Maps of " + ", ".join(title for _, title, _ in varied)
        blocks.append(Picture.of("counts", figure, text, f"{text}. Grey: no value."))
    return blocks


# Stacks


def _stacks(view: MapsView, stacks: Stacks) -> Section:
    misfits = stack_misfits(view)
    figure, (left, right) = panel_figure(2, max(3.2, 1.4 + 0.24 * len(stacks)))
    plots.significance(
        stacks.names, misfits.sigmas, "misfit of each stack", "standard errors", ax=left
    )
    C, D = _charges(view)
    signal = stacks.signal(C, D)
    read_noise = view.number_in("RN_EST")
    if view.absent[1]:
        at_zero = float(np.median(stacks.variance - stacks.kappa * signal**2))
        read_noise = float(np.sqrt(max(at_zero, 0.0)))
    plots.noise_against_signal(
        signal, np.sqrt(stacks.variance), read_noise, stacks.kappa,
        "noise of each stack", ax=right,
    )  # fmt: skip
    picture = Picture.of(
        "stacks",
        figure,
        "Misfit of each stack in standard errors; scatter of a sample against signal",
        "Left: image mean of each stack minus what all other stacks predict; grey: within 5 "
        "standard errors; squares lie beyond. Right: scatter of a sample against signal; the "
        f"line is √(r² + κ g² (C + t D)) with {_read_noise(view)} and "
        f"excess noise κ = {number(stacks.kappa)}.",
    )
    return Section("stacks", "The stacks", [picture, _stack_table(stacks, misfits)])


def _read_noise(view: MapsView) -> str:
    if view.absent[1]:  # nothing tells read noise and the noise of C apart
        return "r the noise at time 0, C in it"
    return f"read noise r = {number(view.number_in('RN_EST'))} EM e⁻"


def _charges(view: MapsView) -> tuple[float, float]:
    """C and D of ordinary pixels, 0 for a map that the stacks cannot tell."""
    found = iter([view.statistics(plane).ordinary for plane in view.planes[1:]])
    C, D = (0.0 if absent else next(found) for absent in view.absent[1:])
    return C, D


def _stack_table(stacks: Stacks, misfits: Misfits) -> Table:
    rows = [
        [
            setting(stacks.gain[i]),
            f"{stacks.time[i]:g}",
            number(stacks.k_gain[i]),
            count(stacks.frames[i]),
            number(stacks.good[i], 4),
            number(float(np.sqrt(stacks.variance[i]))),
            number(stacks.read_noise[i]) if stacks.tells_read_noise[i] else "–",
            number(stacks.excess[i]) if stacks.tells_excess[i] else "–",
            signed(stacks.residual[i], 2),
            signed(misfits.value[i], 2),
            signed(misfits.sigmas[i], 2),
        ]
        for i in range(len(stacks))
    ]
    return Table(
        [
            Column("EM gain"),
            Column("time", "s"),
            Column("k-gain", "e⁻/DN"),
            Column("frames"),
            Column("good", "per pixel"),
            Column("scatter", "EM e⁻"),
            Column("read noise", "EM e⁻"),
            Column("excess noise"),
            Column("residual", "EM e⁻"),
            Column("misfit", "EM e⁻"),
            Column("misfit", "std. errors"),
        ],
        rows,
        "Good: frames that an average pixel has unmasked. Scatter: of one sample, pooled over "
        "pixels. Read noise and excess noise: where the stack can tell them. Residual: image mean "
        "of the stack minus the fit. Misfit: the same, had this stack not taken part in the fit.",
    )


# Darks


def _darks(view: MapsView, stacks: Stacks) -> Section:
    chosen = _settings(stacks)
    rows = [_dark_row(view, stacks, i) for i in chosen]
    caption = (
        "Detected electrons per pixel. Level: image mean. Error: of a pixel, median, without that "
        "of gains. The other columns: by how much the image mean changes where a gain or the "
        "k-gain used is 1 % too large."
    )
    if len(chosen) < len(stacks):
        caption += f" {len(chosen)} of {len(stacks)} settings: those of the largest signal."
    table = Table(
        [
            Column("EM gain"),
            Column("time", "s"),
            Column("level", "e⁻"),
            Column("error of a pixel", "e⁻"),
            Column("all gains +1 %", "e⁻"),
            Column("k-gain +1 %", "e⁻"),
            Column("most sensitive stack", words=True),
            Column("its gain +1 %", "e⁻"),
        ],
        rows,
        caption,
    )
    text = Text(
        f"The dark of {_any_setting(view)} is {dark_formula(view.header)}. Its error follows from "
        "the errors of the maps and their correlations. Errors of gain and k-gain are not in it: "
        "they move all pixels together, by as much as the table says." + _gain_error(view)
    )
    return Section("systematics", "Darks made from these maps, and systematics", [text, table])


def _gain_error(view: MapsView) -> str:
    share = view.number_in("GAINERR")
    if not share > 0:
        return ""
    return f" Here a relative gain error of {share:g} of each stack was added to the errors."


def _settings(stacks: Stacks) -> list[int]:
    """The stacks whose settings are shown, in order of gain and time."""
    order = np.argsort(-stacks.gain * stacks.time, kind="stable")[:SETTINGS]
    return sorted(order.tolist(), key=lambda i: (stacks.gain[i], stacks.time[i]))


def _dark_row(view: MapsView, stacks: Stacks, i: int) -> list[str]:
    gain, time = float(stacks.gain[i]), float(stacks.time[i])
    data, err, _ = synthesize_arrays(view.maps_of_area(), gain, time)
    data, err = data[view.good], err[view.good]
    if view.absent[1]:  # how gains move a dark depends on C
        return [
            setting(gain),
            f"{time:g}",
            number(float(data.mean())),
            number(float(np.median(err))),
            *["–"] * 4,
        ]
    moved = view.product.systematics(gain, time)
    worst = int(np.argmax(np.abs(moved["stacks"])))
    return [
        setting(gain),
        f"{time:g}",
        number(float(data.mean())),
        number(float(np.median(err))),
        signed(0.01 * moved["all_gains"]),
        signed(0.01 * moved["k_gain"]),
        stacks.names[worst],
        signed(0.01 * float(moved["stacks"][worst])),
    ]
