"""What the public functions have in common: camera, geometry, masks, executor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emdarks.cameras import Camera, load_camera
from emdarks.detector import Regions
from emdarks.errors import InputError
from emdarks.execution import Executor, Threads
from emdarks.flags import ALL_BITS
from emdarks.frames import FrameInput, camera_named_in, frame_inputs
from emdarks.stacks import telemetry_slice

__all__ = ["Setting", "check_k_gain", "choose", "mask_of", "setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """Frames, and what is needed to make sense of them."""

    inputs: list[FrameInput]
    camera: Camera
    regions: Regions
    executor: Executor
    mask: int

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
    if isinstance(mask_bits, bool) or int(mask_bits) != mask_bits or not 0 <= mask_bits <= ALL_BITS:
        raise InputError(f"mask_bits is {mask_bits!r}; it must be a sum of DQ bits")
    return int(mask_bits)


def _is_positive(value: Any) -> bool:
    try:
        return math.isfinite(value) and value > 0
    except TypeError:
        return False


def choose(name: str, value: str, known: Sequence[str]) -> None:
    """Check that an option has one of its values."""
    if value not in known:
        raise InputError(f"{name} is {value!r}; it must be one of {', '.join(known)}")


def check_k_gain(kgain: float | None) -> None:
    """Refuse a k-gain, where one is given, that is no positive number.

    Raises
    ------
    InputError
        It is none.
    """
    if kgain is not None and not _is_positive(kgain):
        raise InputError(f"kgain is {kgain!r}; it must be a positive number of electrons per DN")


def setting(
    dataset: Any,
    camera: str | Camera | None,
    detector_regions: Regions | None,
    executor: Executor | None,
    mask_bits: int | None,
    kgain: float | None,
) -> Setting:
    """Put a caller's arguments together and prepare the frames; reads headers at most."""
    mask = mask_of(mask_bits)
    check_k_gain(kgain)
    chosen = load_camera(camera or camera_named_in(dataset))
    inputs = frame_inputs(dataset, chosen, kgain)
    chosen = chosen.fitted_to(inputs[0].record.shape)
    regions = chosen.regions if detector_regions is None else detector_regions
    return Setting(inputs, chosen, regions, executor or Threads(), mask)
