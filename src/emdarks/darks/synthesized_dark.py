"""A master dark for any EM gain and exposure time, from noise maps."""

from __future__ import annotations

from typing import Any

from emdarks.arguments import check_flag
from emdarks.cameras import Camera
from emdarks.checks.recipe_frames import tell_of_headers
from emdarks.checks.registry import SYNTHESIS
from emdarks.detector import Regions, frame_shape, region_slices
from emdarks.errors import InputError, InputTypeError
from emdarks.products import Dark, DetectorNoiseMaps
from emdarks.products.synthesis import DarkSetting, count_law, dark_from_maps
from emdarks.stacks import Stack, check_product, check_stack, group_stacks
from emdarks.stacks.calibration_inputs import calibration_inputs
from emdarks.stacks.counts import counted_alike, same_threshold


def build_synthesized_dark(
    dataset: Any,
    noisemaps: Any,
    detector_regions: Regions | None = None,
    full_frame: bool = False,
    *,
    use_signed: bool = True,
    camera: str | Camera | None = None,
    kgain: float | None = None,
    gain_tolerance: float = 0.05,
    threshold: float | None = None,
    read_noise: float | None = None,
) -> Dark:
    """Assemble the dark that matches some frames: F/g + C + t D.

    Parameters
    ----------
    dataset : Dataset, or an object like it
        Frames of one exposure time t, EM gain g and k-gain; only their headers are read.
    noisemaps : DetectorNoiseMaps, or an object like it
        The maps; not changed.
    detector_regions : mapping, optional
        Geometry; that of the camera by default.
    full_frame : bool
        Whole frame instead of the image region.
    use_signed : bool
        Make the dark from the fit before clipping, with the correlations between
        the parameters, where the product has them. Clipped maps bias every dark.
    camera : str or Camera, optional
        Meaning of the frames' headers; the one that their CAMERA card names, else ``excam``.
    kgain : float, optional
        Electrons per DN by which the frames will be read, instead of their headers'; that of
        the maps' frames.
    gain_tolerance : float
        Largest relative spread of the frames' measured gains.
    threshold, read_noise : float, optional
        For a photon-counted dark, EM electrons; see ``DetectorNoiseMaps.synthesize``. Of frames
        whose electrons are counted, the dark is a photon-counted one of their threshold.

    Returns
    -------
    Dark
        In detected electrons, of shape (rows, columns). Errors: see
        `emdarks.products.synthesis`. Telemetry rows are NaN with flag 1.

    Raises
    ------
    InputError, MissingKeywordError
        The frames belong to more than one stack, or are counted above another threshold; a
        header lacks a keyword, or the maps are of another camera, readout setting or k-gain.
    InputTypeError
        The maps have not the shape of the geometry's frame, a gain is below 1, or
        published C or D, where darks are made from them, are negative.

    Examples
    --------
    >>> from emdarks import Dataset, build_synthesized_dark, calibrate_darks_lsq
    >>> from emdarks.data import sample
    >>> darks = Dataset(sample())
    >>> maps = calibrate_darks_lsq(darks, None)
    >>> dark = build_synthesized_dark(darks[12:13], maps)
    >>> [dark.ext_hdr[key] for key in ("EMGAIN_C", "EXPTIME", "KGAINPAR")]
    [1000.0, 60.0, 8.7]
    """
    check_flag("full_frame", full_frame)
    check_flag("use_signed", use_signed)
    job = calibration_inputs(dataset, camera, detector_regions, None, None, kgain, gain_tolerance)
    stack = _only_stack(group_stacks(job.inputs, gain_tolerance))
    if not stack.em_gain >= 1:
        raise InputTypeError(f"{stack}: the EM gain is below 1")
    check_stack(stack, kgain)
    name = getattr(noisemaps, "filename", "") or "the noise maps"
    maps = DetectorNoiseMaps.of_object(noisemaps)
    check_product(maps, name, stack, job.camera, kgain)
    tell_of_headers(job, [stack], SYNTHESIS)
    planes, which = maps.planes_for_darks(use_signed)
    expected = frame_shape(job.arrtype, job.regions)
    if planes.values.shape[1:] != expected:
        raise InputTypeError(
            f"the noise maps have shape {planes.values.shape[1:]}, the geometry {expected}"
        )
    if not full_frame:
        planes = planes.cut(region_slices(job.arrtype, "image", job.regions))
    law = count_law(maps, stack.em_gain, _threshold(stack, threshold), read_noise)
    dark = dark_from_maps(maps, planes, dark_setting(stack), which, law)
    recipe = job.inputs[0].headers["ext"].get("RECIPE")
    if recipe is not None:
        dark.ext_hdr["RECIPE"] = recipe  # of the frames that it is made for, as in corgidrp
    return dark


def _threshold(stack: Stack, given: float | None) -> float | None:
    """That of frames whose electrons are counted, else the one that is given.

    Raises
    ------
    InputError
        They are two.
    """
    counted = counted_alike(stack)
    if counted is None or given is None:
        return given if counted is None else counted.threshold
    if not same_threshold(counted.threshold, given):
        raise InputError(
            f"{stack.frames[0].record.name}: holds {counted}; a dark of threshold {given:g} does "
            "not serve for it: leave the threshold out (threshold, --threshold)"
        )
    return given


def dark_setting(stack: Stack) -> DarkSetting:
    """What a dark for the frames of a stack is for."""
    return DarkSetting(stack.em_gain, stack.commanded_gain, stack.exposure_time, stack.k_gain)


def _only_stack(stacks: list[Stack]) -> Stack:
    if len(stacks) > 1:
        known = "; ".join(str(stack) for stack in stacks)
        raise InputError(
            "a synthesised dark matches frames of one exposure time, EM gain and k-gain; "
            f"these are {len(stacks)}: {known}"
        )
    return stacks[0]
