"""All checks, in one list: of headers, of frames while they stream, of stacks, of products.

A check is a function from a context to findings. Warnings of recipes, `emdarks inspect` and the
report are three ways to show them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from emdarks.checks.against_camera import (
    bias_not_subtracted,
    noise_of_another,
    photon_counted,
)
from emdarks.checks.context import Context
from emdarks.checks.design import (
    can_be_fitted,
    few_frames,
    ill_conditioned,
    incomplete_grid,
    possible_products,
    short_stacks,
)
from emdarks.checks.drift import drift
from emdarks.checks.finding import Finding, Findings, worst_first
from emdarks.checks.frames import bad_frames
from emdarks.checks.headers import (
    different_readout,
    different_units,
    divided_by_gain,
    odd_shapes,
    other_geometry,
    split_stacks,
    spread_gains,
    unknown_settings,
    unknown_unit,
    unlike_others,
    unusable_headers,
)
from emdarks.checks.masks import (
    masked_stacks,
    not_finite,
    single_samples,
    unfittable,
    unflagged,
)
from emdarks.checks.product_summary import BadPixelView, DarkView, MapsView
from emdarks.checks.products import (
    bad_pixels,
    bias_offset,
    chi_square,
    dark_errors,
    dark_flags,
    dark_frames,
    dark_matches,
    estimator,
    few_frames_of_maps,
    few_stacks,
    hot_pixels,
    lost_stacks,
    misfits,
    negative_means,
    noise_of_stacks,
    planes,
    screened_samples,
    skipped_frames,
    valueless_pixels,
)
from emdarks.checks.saturation import cut_off, overfull, partly_saturated
from emdarks.checks.temperature import excursions, impossible_temperatures, unsteady_temperature

__all__ = [
    "AVERAGE",
    "BAD_PIXEL_MAP",
    "CAMPAIGN",
    "DARK",
    "FIT",
    "HALF_SPLIT",
    "NOISE_MAPS",
    "SUBTRACTION",
    "SYNTHESIS",
    "Check",
    "find",
    "find_in_campaign",
    "find_in_recipe",
]

C = TypeVar("C")
Check = Callable[[C], Findings]

# In the order of their findings, among those of one severity.

#: Of headers, before a pixel is read.
HEADERS: tuple[Check[Context], ...] = (
    unusable_headers,
    odd_shapes,
    other_geometry,
    different_readout,
    unknown_settings,
    impossible_temperatures,
    can_be_fitted,
    spread_gains,
    unlike_others,
    divided_by_gain,
    unknown_unit,
    different_units,
    split_stacks,
)
#: Of the figures of single frames, which are taken while they stream.
FRAMES: tuple[Check[Context], ...] = (
    photon_counted,
    bias_not_subtracted,
    bad_frames,
    excursions,
    not_finite,
    drift,
    unsteady_temperature,
)
#: Of the sums of stacks.
STACKS: tuple[Check[Context], ...] = (
    single_samples,
    noise_of_another,
    ill_conditioned,
    short_stacks,
    incomplete_grid,
    unflagged,
    masked_stacks,
    unfittable,
    overfull,
    partly_saturated,
    cut_off,
    few_frames,
)

#: Of the numbers in noise maps.
NOISE_MAPS: tuple[Check[MapsView], ...] = (
    planes,
    valueless_pixels,
    negative_means,
    estimator,
    chi_square,
    misfits,
    noise_of_stacks,
    few_stacks,
    lost_stacks,
    few_frames_of_maps,
    hot_pixels,
    bias_offset,
    screened_samples,
    skipped_frames,
)
#: Of those in a dark.
DARK: tuple[Check[DarkView], ...] = (
    valueless_pixels,
    dark_flags,
    dark_errors,
    dark_matches,
    dark_frames,
    hot_pixels,
    skipped_frames,
)
#: Of those in a bad-pixel map.
BAD_PIXEL_MAP: tuple[Check[BadPixelView], ...] = (bad_pixels,)

# Who makes which checks of frames: `emdarks inspect` all of them; a recipe leaves out what it
# refuses by itself before it reads pixels.

CAMPAIGN = (*HEADERS, *FRAMES, *STACKS)
_REFUSED = (
    unusable_headers,
    odd_shapes,
    other_geometry,
    different_readout,
    can_be_fitted,
    divided_by_gain,
)
_OF_DESIGN = (ill_conditioned, short_stacks, incomplete_grid, unfittable)
#: Who fits F, C and D.
FIT = tuple(check for check in CAMPAIGN if check not in _REFUSED)
#: Who averages stacks, or fits two maps.
AVERAGE = tuple(check for check in FIT if check not in _OF_DESIGN)
#: Who makes a dark for frames from noise maps, and who subtracts one.
SYNTHESIS = (unknown_settings, spread_gains)
SUBTRACTION = (*SYNTHESIS, unknown_unit)
#: Who fits odd and even frames apart.
HALF_SPLIT = (*SUBTRACTION, cut_off)


def find(checks: Iterable[Check[C]], context: C) -> list[Finding]:
    """Make checks; their findings in the order of the checks."""
    return [finding for check in checks for finding in check(context)]


def find_in_campaign(context: Context) -> list[Finding]:
    """Make every check of frames, and say what can be made of them; the worst first."""
    found = find(CAMPAIGN, context)
    blocked = any(finding.severity == "problem" for finding in found)
    return worst_first([*found, *possible_products(context, blocked)])


def find_in_recipe(context: Context, checks: Sequence[Check[Context]]) -> list[Finding]:
    """Problems and warnings about the frames that a product is being made of, the worst first.

    The recipe has accepted these frames: copies and frames without noise that are left are
    arrays in memory, whose maker knows it.
    """
    return worst_first(
        finding
        for finding in find(checks, context)
        if finding.severity == "warning"
        or (finding.severity == "problem" and finding.topic not in ("copies", "empty"))
    )
