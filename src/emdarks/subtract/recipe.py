"""The functions that users call: subtract, and write what comes out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from emdarks.arguments import check_flag
from emdarks.cameras import Camera
from emdarks.checks.recipe_frames import tell_of_headers
from emdarks.checks.registry import SUBTRACTION
from emdarks.detector import Regions, frame_shape
from emdarks.errors import InputError
from emdarks.frames import Dataset, FrameInput
from emdarks.frames.prepared import check_offset
from emdarks.products import load_product
from emdarks.stacks import (
    Stack,
    bias_text,
    check_stack,
    group_stacks,
    refuse_subtracted,
    to_detected_electrons,
)
from emdarks.stacks.calibration_inputs import CalibrationInputs, calibration_inputs
from emdarks.stacks.counts import counted_alike
from emdarks.subtract.counted_frame import CountedFrame
from emdarks.subtract.dark_source import DarkSource, dark_source, find_sections
from emdarks.subtract.subtracted_frame import LastPlanes, StackStep, SubtractedFrame


def subtract_dark(
    dataset: Any,
    dark_or_maps: Any,
    detector_params: Any = None,
    detector_regions: Regions | None = None,
    *,
    use_signed: bool = True,
    camera: str | Camera | None = None,
    kgain: float | None = None,
    gain_tolerance: float = 0.05,
) -> Dataset:
    """Subtract the dark from frames, each the one for its EM gain and exposure time.

    Frames become detected electrons (DN times k-gain over EM gain, EM electrons over EM
    gain), which is the unit of darks; their difference is in photoelectrons. The result is
    what the dark subtraction of the Roman Coronagraph's pipeline gives, unit and headers
    included, for frames of any number of gains and times.

    Parameters
    ----------
    dataset : Dataset, or an object like it
        Frames of one shape, whole or the image region, in DN, EM electrons or detected
        electrons: bias subtracted, cosmic rays flagged, linearised. Or frames whose electrons
        are counted, as the camera file says in its table ``[counting]``: 0 and 1, sums, means or
        corrected rates.
    dark_or_maps : Dark, DetectorNoiseMaps, an object like one, or the path of a file
        A dark of the frames' exposure time, EM gain and k-gain; or noise maps, from which
        the dark of each stack of frames is synthesised. For counted frames a photon-counted dark
        of their threshold, or noise maps.
    detector_params : DetectorParams, or an object like it, optional
        ``params["TELRSTRT"]`` and ``["TELREND"]`` say which rows are telemetry; by default
        those of the camera.
    detector_regions : mapping, optional
        Geometry; that of the camera by default.
    use_signed : bool
        For noise maps: see `emdarks.darks.build_synthesized_dark`.
    camera : str or Camera, optional
        Meaning of the headers; the one that the frames' CAMERA card names, else ``excam``.
    kgain : float, optional
        Electrons per DN for the conversion, instead of the frames' headers'. It must be what
        the frames of the dark or the maps were read with (their KGAINUSE card).
    gain_tolerance : float
        Largest relative spread of measured gains within a stack.

    Returns
    -------
    Dataset
        The frames in their order, as `SubtractedFrame`: light, since their pixels are
        read and computed when they are asked for. ``data`` in photoelectrons, shape (rows,
        columns); ``err``, one layer, the frame's and the dark's in quadrature; ``dq`` the OR
        of both, with bit 1 where data or err are not finite. Telemetry rows are as they
        were, flagged 1. Where a whole frame meets a dark of the image region, the frame is
        cut to it; where an image region meets a whole dark, the dark is.

        Of counted frames the rate less that of the dark, photoelectrons a frame: method page,
        eq. 29 (countdiff). Frames of 0 and 1 of one stack become one, in the place and with the
        name of the last, since one count tells no rate.

    Raises
    ------
    InputError, MissingKeywordError
        The dark does not match (the message says in what), or a frame or argument cannot
        be used. Raised before pixels of frames are read wherever headers can tell.

    Notes
    -----
    The errors of frames that share a dark are correlated through the dark's error. Further
    error layers of a frame are left out: layer 0 is the combined error.

    Examples
    --------
    >>> from emdarks import Dataset, calibrate_darks_lsq, subtract_dark
    >>> from emdarks.data import sample
    >>> darks = Dataset(sample())
    >>> maps = calibrate_darks_lsq(darks, None)  # doctest: +SKIP
    >>> less = subtract_dark(darks, maps)  # doctest: +SKIP
    >>> less[0].data.mean()  # doctest: +SKIP
    """
    check_flag("use_signed", use_signed)
    check_offset(dataset, "subtracting a dark")
    job = calibration_inputs(dataset, camera, detector_regions, None, None, kgain, gain_tolerance)
    refuse_subtracted(job.inputs)
    stacks = group_stacks(job.inputs, gain_tolerance)
    for stack in stacks:
        check_stack(stack, kgain)
    darks = _source(dark_or_maps, use_signed, stacks, job.camera)
    darks.check(stacks, job.camera, kgain)
    tell_of_headers(job, stacks, SUBTRACTION)
    steps: dict[int, tuple[StackStep, float]] = {}
    for step in _steps(job, darks, stacks, detector_params):
        counted = counted_alike(step.stack) is not None
        used = _frames_to_use(step.stack)
        scales = [1.0] * len(used) if counted else to_detected_electrons(step.stack, kgain)
        for item, scale in zip(used, scales, strict=True):
            steps[id(item)] = step, scale
    frames: list[SubtractedFrame] = []
    for place, (origin, item) in enumerate(zip(_frames(dataset), job.inputs, strict=True)):
        if id(item) in steps:
            step, scale = steps[id(item)]
            kind = SubtractedFrame if item.record.counted is None else CountedFrame
            frames.append(kind.of(origin, item, scale, step, place))
    less = Dataset(frames)
    # Files that were left out of the frames are missing here, too.
    less.skipped = tuple(getattr(dataset, "skipped", ()))
    less.left_out = tuple(getattr(dataset, "left_out", ()))
    return less


def _frames_to_use(stack: Stack) -> Sequence[FrameInput]:
    """Frames of a stack that a result is made of each: of single counts the last, for all.

    Raises
    ------
    InputError
        There is one frame of single counts.
    """
    counted = counted_alike(stack)
    if counted is None or counted.value != "count":
        return stack.frames
    if len(stack.frames) < 2:
        raise InputError(
            f"{stack.frames[0].record.name}: is the only frame of {stack}; one count tells no "
            "rate: give all frames that are to be counted together"
        )
    return stack.frames[-1:]


def _frames(dataset: Any) -> list[Any]:
    return list(dataset.frames) if hasattr(dataset, "frames") else list(dataset)


def _source(
    dark_or_maps: Any, use_signed: bool, stacks: Sequence[Stack], camera: Camera
) -> DarkSource:
    if isinstance(dark_or_maps, (str, os.PathLike)):
        dark_or_maps = load_product(dark_or_maps)
    return dark_source(dark_or_maps, use_signed, stacks, camera)


def _steps(
    job: CalibrationInputs, darks: DarkSource, stacks: Any, detector_params: Any
) -> list[StackStep]:
    """What is done to the frames of each stack."""
    shape = job.inputs[0].record.shape
    sections = find_sections(shape, darks.shape, darks.name, job.arrtype, job.regions)
    whole = shape == frame_shape(job.arrtype, job.regions) and sections.frame[0].start is None
    telemetry = job.telemetry(detector_params) if whole else slice(0, 0)
    inputs = frozenset(map(os.path.realpath, {*_paths(job.inputs), *darks.paths}))
    unit = next(iter(job.camera.keywords.unit), "BUNIT")
    bias = [bias_text(stack, job.camera) or "" for stack in stacks]
    last = LastPlanes()
    return [
        StackStep(stack, darks, sections, telemetry, unit, inputs, words, last)
        for stack, words in zip(stacks, bias, strict=True)
    ]


def _paths(inputs: list[FrameInput]) -> set[str]:
    return {item.provenance.path for item in inputs if item.provenance.path}


def save_subtracted(
    frames: Dataset,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write what `subtract_dark` gives, one frame in memory at a time.

    Parameters
    ----------
    frames : Dataset
        The frames.
    folder : str or path-like
        Where to; made if it is missing. Files are named as the frames are; a plane of a
        cube gets its number.
    overwrite : bool
        Replace files that are there (never one of the frames that went in).
    progress : callable, optional
        Called with the numbers of frames written and of all.

    Returns
    -------
    list of Path
        The files, in the order of the frames.

    Raises
    ------
    InputError
        Two frames have one name, a file exists, or cannot be written. Names are checked
        before the first frame is computed.
    """
    directory = Path(folder)
    targets = [directory / frame.filename for frame in frames]
    check_targets(targets, frames, overwrite)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory}: cannot be made ({error.strerror})") from None
    for done, (frame, target) in enumerate(zip(frames, targets, strict=True), start=1):
        # Its copy goes, and with it the headers that saving parses.
        frame.copy(copy_data=False).save(directory, target.name)
        if progress is not None:
            progress(done, len(targets))
    return targets


def check_targets(targets: Sequence[Path], frames: Iterable[Any], overwrite: bool) -> None:
    """Refuse names of files that two frames have, that exist, or that are read.

    Parameters
    ----------
    targets : sequence of Path
        Of the frames.
    frames : iterable of SubtractedFrame
        The frames.
    overwrite : bool
        Whether files that exist may be replaced.

    Raises
    ------
    InputError
        As said.
    """
    refuse_twins(targets)
    for frame, target in zip(frames, targets, strict=True):
        frame.refuse_inputs(target)
        if target.exists() and not overwrite:
            raise InputError(f"{target}: exists; choose another folder or give --overwrite")


def refuse_twins(targets: Sequence[Path]) -> None:
    """Refuse two frames that would become one file.

    Raises
    ------
    InputError
        A name is there twice.
    """
    name, count = Counter(target.name for target in targets).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"{name}: {count} frames have this name and would become one file; "
            "write them to different folders"
        )
