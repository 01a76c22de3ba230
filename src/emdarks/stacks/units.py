"""By which factor the numbers of a frame become electrons."""

from __future__ import annotations

from collections.abc import Sequence

from emdarks.cameras import Unit
from emdarks.errors import InputError
from emdarks.frames import FrameInput
from emdarks.stacks.group import Stack


def refuse_counted(frames: Sequence[FrameInput]) -> None:
    """Refuse frames whose electrons are counted already, where samples are wanted.

    Raises
    ------
    InputError
        Names the first, and says how many there are.
    """
    counted = [item.record for item in frames if item.record.counted is not None]
    if counted:
        raise InputError(
            f"{counted[0].name}: holds {counted[0].counted} (as {len(counted)} of {len(frames)} "
            "frames), no samples: give the frames from before the threshold"
        )


def to_em_electrons(stack: Stack, k_gain: float | None) -> list[float]:
    """Factor of each frame to EM electrons (not divided by gain), for noise maps.

    Raises
    ------
    InputError
        Frames are already divided by an EM gain above 1, or their electrons are counted.
    """
    refuse_counted(stack.frames)
    return [_em_factor(stack, item, k_gain) for item in stack.frames]


def _em_factor(stack: Stack, item: FrameInput, k_gain: float | None) -> float:
    unit = item.record.unit
    if unit is Unit.DN:
        return k_gain or stack.k_gain
    if unit is Unit.ELECTRON and stack.em_gain > 1:
        raise InputError(
            f"{item.record.name}: is in {item.record.unit_text!r}, already divided by the EM gain "
            f"{stack.em_gain:g}; noise maps need frames in DN or EM electrons"
        )
    return 1.0


def to_detected_electrons(stack: Stack, k_gain: float | None) -> list[float]:
    """Factor of each frame to detected electrons (divided by gain), for master darks.

    Raises
    ------
    InputError
        Electrons of a frame are counted.
    """
    refuse_counted(stack.frames)
    factors = {
        Unit.DN: (k_gain or stack.k_gain) / stack.em_gain,
        Unit.EM_ELECTRON: 1.0 / stack.em_gain,
        Unit.ELECTRON: 1.0,
        Unit.UNKNOWN: 1.0,
    }
    return [factors[item.record.unit] for item in stack.frames]
