"""What the public functions have in common: camera, geometry, masks, executor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from emdarks.accumulate import Executor, Threads
from emdarks.arguments import check_flag, is_number, is_whole
from emdarks.cameras import Camera, load_camera
from emdarks.detector import Regions
from emdarks.dq import ALL_BITS
from emdarks.errors import EmdarksError, InputError
from emdarks.frames import FrameInput, camera_named_in, frame_inputs, frames_of
from emdarks.frames.bad_frames import SKIP_SHARE, BadFrame, Skipping
from emdarks.stacks.outlier_frames import misfits, unlike
from emdarks.stacks.regions import telemetry_slice


@dataclass(frozen=True, slots=True)
class CalibrationInputs:
    """Frames, and what is needed to make sense of them."""

    inputs: list[FrameInput]
    camera: Camera
    regions: Regions
    executor: Executor
    mask: int
    skipping: Skipping = field(default_factory=Skipping)
    kgain: float | None = None
    gain_tolerance: float = 0.05

    @property
    def frames(self) -> int:
        """All frames, those left out included."""
        return len(self.inputs) + len(self.skipping.bad)

    def without(self, bad: Iterable[FrameInput]) -> CalibrationInputs:
        """The same without some frames."""
        return replace(self, inputs=_others(self.inputs, bad))

    def telemetry(self, detector_params: Any) -> slice:
        """Telemetry rows: those of detector parameters, else the camera's."""
        if detector_params is not None:
            try:
                rows = (detector_params.params["TELRSTRT"], detector_params.params["TELREND"])
            except KeyError as error:
                raise InputError(f"the detector parameters have no {error}") from None
        else:
            rows = self.camera.telemetry_rows
        return telemetry_slice(rows, self.arrtype, self.regions)

    @property
    def arrtype(self) -> str:
        """Array type of the frames."""
        return self.camera.arrtype


def mask_of(mask_bits: int | None) -> int:
    """Flag bits that exclude a sample; all of them by default.

    Raises
    ------
    InputError
        Not a mask of bits.
    """
    if mask_bits is None:
        return ALL_BITS
    if not is_whole(mask_bits) or not 0 <= mask_bits <= ALL_BITS:
        raise InputError(f"mask_bits is {mask_bits!r}; it must be a sum of DQ bits")
    return int(mask_bits)


def choose(name: str, value: str, known: Sequence[str]) -> None:
    """Check that an option has one of its values."""
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} is {value!r}; it must be one of {', '.join(known)}")


def check_k_gain(kgain: float | None) -> None:
    """Refuse a k-gain, where one is given, that is no positive number.

    Raises
    ------
    InputError
        It is none.
    """
    if kgain is not None and not (is_number(kgain) and kgain > 0):
        raise InputError(f"kgain is {kgain!r}; it must be a positive number of electrons per DN")


def calibration_inputs(
    dataset: Any,
    camera: str | Camera | None,
    detector_regions: Regions | None,
    executor: Executor | None,
    mask_bits: int | None,
    kgain: float | None,
    gain_tolerance: float = 0.05,
    skip_bad_frames: bool = False,
    skip_share: float = SKIP_SHARE,
) -> CalibrationInputs:
    """Put a caller's arguments together and prepare the frames; reads headers at most.

    Frames that cannot be used are left out where that is asked for; else those that nothing
    else would notice are refused.
    """
    mask = mask_of(mask_bits)
    check_k_gain(kgain)
    _check_choices(gain_tolerance, skip_bad_frames, executor)
    chosen = load_camera(camera or camera_named_in(dataset))
    skipping = Skipping(
        skip_bad_frames,
        skip_share,
        getattr(dataset, "skipped", ()),
        _elsewhere(dataset),
        getattr(dataset, "unused", ()),
    )
    if skip_bad_frames:
        inputs = _usable(dataset, chosen, kgain, gain_tolerance, skipping)
    else:
        inputs = frame_inputs(dataset, chosen, kgain)
        frames = len(inputs) + len(skipping.bad)
        skipping.check(frames)
        skipping.leave_out([BadFrame(i.record.name, why) for i, why in unlike(inputs)], frames)
    chosen = chosen.fitted_to(inputs[0].record.shape)
    regions = chosen.regions if detector_regions is None else detector_regions
    executor = executor or Threads()
    return CalibrationInputs(
        inputs, chosen, regions, executor, mask, skipping, kgain, gain_tolerance
    )


def _check_choices(gain_tolerance: float, skip_bad_frames: bool, executor: Any) -> None:
    """Refuse what would fail late, or count as something else.

    Raises
    ------
    InputError
        An argument is of the wrong kind or out of range.
    """
    if not is_number(gain_tolerance) or gain_tolerance < 0:
        raise InputError(f"gain_tolerance is {gain_tolerance!r}; it is a share, from 0 on")
    check_flag("skip_bad_frames", skip_bad_frames)
    check_executor(executor)


def check_executor(executor: Any) -> None:
    """Refuse, where something is given to compute with, what cannot.

    Raises
    ------
    InputError
        It is no executor.
    """
    if executor is not None and not isinstance(executor, Executor):
        raise InputError(
            f"executor is {executor!r}; it must be Threads, Dask or Checkpoint, or None"
        )


def _elsewhere(dataset: Any) -> int:
    """Frames that these were chosen from and are not among them."""
    return max(getattr(dataset, "chosen_from", 0) - len(frames_of(dataset)), 0)


def _usable(
    dataset: Any, camera: Camera, kgain: float | None, gain_tolerance: float, skipping: Skipping
) -> list[FrameInput]:
    """Frames that headers say nothing against; the others are left out."""
    inputs: list[FrameInput] = []
    bad: list[BadFrame] = []
    frames = frames_of(dataset)
    for frame in frames:
        try:
            inputs += frame_inputs([frame], camera, kgain)
        except EmdarksError as error:
            path = str(getattr(frame, "filepath", None) or getattr(frame, "filename", "a frame"))
            bad.append(BadFrame.of(path, error))
    total = len(frames) + len(skipping.bad)
    skipping.leave_out(bad, total)
    for judge in (unlike, lambda items: misfits(items, kgain, gain_tolerance)):
        found = judge(inputs)
        skipping.leave_out([BadFrame(item.record.name, why) for item, why in found], total)
        inputs = _others(inputs, [item for item, _ in found])
    return inputs


def _others(inputs: Sequence[FrameInput], bad: Iterable[FrameInput]) -> list[FrameInput]:
    """All but some; frames in memory have no names to tell them by."""
    gone = {id(item) for item in bad}
    return [item for item in inputs if id(item) not in gone]
