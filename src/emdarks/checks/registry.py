"""All checks, in one list: of headers, of frames while they stream, of stacks, of products.

A check is a function from a context to findings. Warnings of recipes, `emdarks inspect` and the
report are three ways to show them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from emdarks.checks import (
    against_camera,
    design,
    drift,
    flagging,
    frames,
    gains,
    headers,
    masks,
    products,
    saturation,
    search,
    temperature,
)
from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings, worst_first
from emdarks.checks.product_summary import BadPixelView, DarkView, MapsView

C = TypeVar("C")
Check = Callable[[C], Findings]
Checks = Sequence[Check[Context]]

# In the order of their findings, among those of one severity.

#: Of headers, before a pixel is read.
HEADERS: tuple[Check[Context], ...] = (
    headers.unusable_headers,
    headers.odd_shapes,
    headers.other_geometry,
    headers.different_readout,
    headers.unknown_settings,
    temperature.impossible_temperatures,
    design.can_be_fitted,
    headers.spread_gains,
    headers.unlike_others,
    headers.divided_by_gain,
    headers.counted_frames,
    headers.unknown_unit,
    headers.different_units,
    headers.split_stacks,
)
#: Of the figures of single frames, which are taken while they stream.
FRAMES: tuple[Check[Context], ...] = (
    against_camera.photon_counted,
    against_camera.bias_not_subtracted,
    frames.bad_frames,
    temperature.excursions,
    masks.not_finite,
    drift.drift,
    temperature.unsteady_temperature,
)
#: Of the sums of stacks.
STACKS: tuple[Check[Context], ...] = (
    masks.single_samples,
    against_camera.noise_of_another,
    gains.shown_gains,
    design.ill_conditioned,
    design.short_stacks,
    design.incomplete_grid,
    masks.unflagged,
    search.cut_charge,
    flagging.within_charge,
    masks.masked_stacks,
    masks.unfittable,
    saturation.overfull,
    saturation.partly_saturated,
    saturation.cut_off,
    design.few_frames,
    search.raw_figures,
)

#: Of the numbers in noise maps.
NOISE_MAPS: tuple[Check[MapsView], ...] = (
    products.planes,
    products.valueless_pixels,
    products.negative_means,
    products.estimator,
    products.fitted_gains,
    products.chi_square,
    products.misfits,
    products.noise_of_stacks,
    products.few_stacks,
    products.lost_stacks,
    products.few_frames_of_maps,
    products.hot_pixels,
    products.bias_offset,
    products.screened_samples,
    products.skipped_frames,
)
#: Of those in a dark.
DARK: tuple[Check[DarkView], ...] = (
    products.valueless_pixels,
    products.dark_flags,
    products.dark_errors,
    products.dark_matches,
    products.dark_frames,
    products.hot_pixels,
    products.skipped_frames,
)
#: Of those in a bad-pixel map.
BAD_PIXEL_MAP: tuple[Check[BadPixelView], ...] = (products.bad_pixels,)

# Who makes which checks of frames: `emdarks inspect` all of them; a recipe leaves out what it
# refuses by itself before it reads pixels.

CAMPAIGN = (*HEADERS, *FRAMES, *STACKS)
_REFUSED = (
    headers.unusable_headers,
    headers.odd_shapes,
    headers.other_geometry,
    headers.different_readout,
    design.can_be_fitted,
    headers.divided_by_gain,
    headers.counted_frames,
)
_OF_DESIGN = (design.ill_conditioned, design.short_stacks, design.incomplete_grid, masks.unfittable)
#: What every recipe refuses when it has read the pixels: products of these frames would be wrong.
REFUSED_LATER = (against_camera.photon_counted, against_camera.bias_not_subtracted)
#: Who fits F, C and D.
FIT = tuple(check for check in CAMPAIGN if check not in _REFUSED)
#: Who averages stacks, or fits two maps.
AVERAGE = tuple(check for check in FIT if check not in _OF_DESIGN)
#: Who makes a dark for frames from noise maps, and who subtracts one.
SYNTHESIS = (headers.unknown_settings, headers.spread_gains)
SUBTRACTION = (*SYNTHESIS, headers.unknown_unit)
#: Who fits odd and even frames apart.
HALF_SPLIT = (*SUBTRACTION, saturation.cut_off)


def find(checks: Iterable[Check[C]], context: C) -> list[Finding]:
    """Make checks; their findings in the order of the checks."""
    return [finding for check in checks for finding in check(context)]


def find_in_campaign(context: Context) -> list[Finding]:
    """Make every check of frames, and say what can be made of them; the worst first."""
    found = find(CAMPAIGN, context)
    problems = {finding.topic for finding in found if finding.severity == "problem"}
    return worst_first([*found, *design.possible_products(context, problems)])


def find_in_recipe(context: Context, checks: Checks) -> list[Finding]:
    """Problems and warnings about the frames that a product is being made of, the worst first.

    The recipe has accepted these frames: frames without noise that are left are arrays in memory,
    whose maker knows it.
    """
    return worst_first(
        finding
        for finding in find(checks, context)
        if finding.severity == "warning"
        or (finding.severity == "problem" and finding.topic != "empty")
    )
