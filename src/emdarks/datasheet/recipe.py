"""Characterize a camera by its dark frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.accumulate import Executor
from emdarks.cameras import Camera
from emdarks.darks.counting import CountingOptions, stages_in
from emdarks.darks.rejection import check_kinds
from emdarks.datasheet.charge import ChargeChapter
from emdarks.datasheet.evidence import Evidence, gather
from emdarks.datasheet.noise import NoiseChapter
from emdarks.datasheet.pixels import PixelChapter
from emdarks.datasheet.samples import SampleChapter
from emdarks.datasheet.sheet import DataSheet, StackRow
from emdarks.datasheet.structure import StructureChapter
from emdarks.detector import Regions
from emdarks.frames.bad_frames import SKIP_SHARE
from emdarks.stacks.calibration_inputs import calibration_inputs

Array = npt.NDArray[Any]


def characterize(
    dataset: Any,
    detector_params: Any = None,
    detector_regions: Regions | None = None,
    *,
    name: str = "darks",
    flag_level: float | None = None,
    read_noise: float | None = None,
    camera: str | Camera | None = None,
    kgain: float | None = None,
    mask_bits: int | None = None,
    skip_bad_frames: bool = False,
    skip: Sequence[str] = (),
    skip_share: float = SKIP_SHARE,
    executor: Executor | None = None,
) -> DataSheet:
    """Make the data sheet of a camera from its dark frames.

    Each frame is read once. What the frames cannot tell, since they have one EM gain or one
    exposure time, say, is in the sheet without a value and with the reason.

    Parameters
    ----------
    dataset, detector_params, detector_regions, flag_level, read_noise, camera, kgain, mask_bits, \
    skip_bad_frames, skip, skip_share, executor
        As in `emdarks.darks.calibrate_darks_lsq`; one stack is enough.
    name : str
        What to call the frames.

    Returns
    -------
    DataSheet

    Raises
    ------
    InputError
        The frames are no darks, of several readout settings, or cannot be read.

    Examples
    --------
    >>> from emdarks import Dataset, characterize
    >>> from emdarks.data import sample
    >>> sheet = characterize(Dataset(sample()))
    >>> sheet.camera, sheet.frames
    ('excam-sample', 24)
    """
    check_kinds(skip)
    counting = CountingOptions(flag_level, read_noise, "fitted", stages_in(detector_params))
    counting.check(True)
    job = calibration_inputs(
        dataset,
        camera,
        detector_regions,
        executor,
        mask_bits,
        kgain,
        skip_bad_frames=skip_bad_frames,
        skip_share=skip_share,
    )
    evidence = gather(job, job.telemetry(detector_params), counting, skip)
    return sheet_of(evidence, name)


def sheet_of(evidence: Evidence, name: str = "darks") -> DataSheet:
    """The data sheet of what one pass left."""
    samples = SampleChapter.of(evidence)
    evidence = samples.evidence
    noise = NoiseChapter.of(samples)
    chapters = (
        noise,
        samples,
        ChargeChapter.of(samples),
        PixelChapter.of(evidence),
        StructureChapter.of(evidence, samples),
    )
    starts = np.concatenate(evidence.starts)
    known = starts[np.isfinite(starts)]
    ends = (float(known.min()), float(known.max())) if known.size else (np.nan, np.nan)
    return DataSheet(
        name,
        evidence.camera.name,
        evidence.frame.shape,
        dict(evidence.stacks[0].setting),
        ends,
        tuple(_rows(evidence)),
        tuple(quantity for chapter in chapters for quantity in chapter.quantities()),
        tuple(
            filter(
                None,
                (evidence.no_counts, evidence.cut, *evidence.notes, *samples.notes, *noise.notes),
            )
        ),
        stages=evidence.stages,
        evidence=evidence,
        chapters=chapters,
    )


def _rows(evidence: Evidence) -> list[StackRow]:
    """The stacks."""
    return [
        StackRow(
            stack.commanded_gain,
            stack.em_gain,
            stack.exposure_time,
            len(stack.frames),
            _mean(temperatures),
        )
        for stack, temperatures in zip(evidence.stacks, evidence.temperatures, strict=True)
    ]


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan
