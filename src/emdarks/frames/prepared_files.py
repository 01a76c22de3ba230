"""Prepared frames as files of level 2a."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from emdarks.errors import InputError
from emdarks.frames.bad_frames import BadFrame
from emdarks.frames.dataset import Dataset
from emdarks.frames.frame_input import frame_name
from emdarks.frames.prepared import PreparedImage, level_2a_name, made_ready, tell_left_out
from emdarks.raw import FrameScan, over_saturated


@dataclass(frozen=True, slots=True)
class PreparedFiles:
    """What `save_prepared` wrote.

    Attributes
    ----------
    files : list of Path
        The frames of level 2a.
    left_out : tuple of BadFrame
        Over-saturated frames, which were not written.
    repaired_rows : int
        Rows whose bias was replaced.
    saturated, cosmic_rays : float
        Shares of the pixels with the flags 32 and 128.
    """

    files: list[Path]
    left_out: tuple[BadFrame, ...]
    repaired_rows: int
    saturated: float
    cosmic_rays: float


def save_prepared(
    dataset: Dataset,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PreparedFiles:
    """Write prepared frames as files of level 2a; over-saturated ones are left out.

    Parameters
    ----------
    dataset : Dataset
        Of `emdarks.frames.prepare_frames`.
    folder : str or path-like
        Where to; made if it is missing.
    overwrite : bool
        Replace files that are there; never one of the raw frames.
    threads : int, optional
        Frames that are in memory at a time; as many as there are cores by default.
    progress : callable, optional
        Called with the numbers of frames done and of all.

    Raises
    ------
    InputError
        Two frames have one name, a file exists, or cannot be written.

    Warns
    -----
    EmdarksWarning
        Frames are left out.
    """
    directory = Path(folder)
    targets = [directory / _file_name(frame) for frame in dataset]
    _check_targets(targets, dataset, overwrite)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory}: cannot be made ({error.strerror})") from None
    scans: list[FrameScan] = []

    def save(pair: tuple[PreparedImage, Path]) -> FrameScan:
        frame, target = pair
        made = made_ready(frame)
        if not made.scan.over_saturated:
            frame.in_memory(made).save(target.parent, target.name)
        return made.scan

    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for scan in pool.map(save, zip(dataset, targets, strict=True)):
            scans.append(scan)
            if progress is not None:
                progress(len(scans), len(targets))
    return _summary(dataset, targets, scans)


def _summary(
    dataset: Dataset, targets: Sequence[Path], scans: Sequence[FrameScan]
) -> PreparedFiles:
    left_out = tuple(
        BadFrame(frame_name(frame), over_saturated(scan.over / scan.pixels))
        for frame, scan in zip(dataset, scans, strict=True)
        if scan.over_saturated
    )
    tell_left_out(left_out, len(scans))
    used = [scan for scan in scans if not scan.over_saturated]
    pixels = max(sum(scan.pixels for scan in used), 1)
    return PreparedFiles(
        [path for path, scan in zip(targets, scans, strict=True) if not scan.over_saturated],
        left_out,
        sum(scan.repaired for scan in used),
        sum(scan.saturated for scan in used) / pixels,
        sum(scan.flagged for scan in used) / pixels,
    )


def _file_name(frame: PreparedImage) -> str:
    """Name of the file of level 2a; a plane of a cube gets its number."""
    name = level_2a_name(frame.filename)
    if not frame.part:
        return name
    stem, dot, ending = name.partition(".")
    return f"{stem}_{'_'.join(re.findall('[^][]+', frame.part))}{dot}{ending}"


def _check_targets(targets: Sequence[Path], dataset: Dataset, overwrite: bool) -> None:
    name, count = Counter(target.name for target in targets).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"{name}: {count} frames have this name and would become one file; "
            "write them to different folders"
        )
    raw = {os.path.realpath(frame.filepath) for frame in dataset}
    for target in targets:
        if os.path.realpath(target) in raw:
            raise InputError(f"{target}: is a raw frame; write to another folder")
        if target.exists() and not overwrite:
            raise InputError(f"{target}: exists; choose another folder or give --overwrite")
