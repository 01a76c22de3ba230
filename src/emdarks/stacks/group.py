"""Which frames belong together, and which gain they were taken at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emdarks.errors import InputError
from emdarks.frames import FrameInput

_Key = tuple[float, float, float, tuple[tuple[str, str], ...]]

TIME_TOLERANCE = 1e-6
#: Relative spread of the EM gains in a stack from which on it is refused by default.
GAIN_TOLERANCE = 0.05
#: The same from which on a finding names it.
GAIN_WARNING = 1e-3


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames that differ only by noise.

    Attributes
    ----------
    exposure_time : float
        Seconds.
    commanded_gain, k_gain : float
        EM gain asked for; electrons per DN.
    em_gain : float
        EM gain to compute with, the mean over the frames.
    frames : tuple of FrameInput
        In input order.
    setting : tuple of (str, str)
        Readout settings of the camera, name and value.
    """

    exposure_time: float
    commanded_gain: float
    k_gain: float
    em_gain: float
    frames: tuple[FrameInput, ...]
    setting: tuple[tuple[str, str], ...] = ()

    @property
    def gain_spread(self) -> float:
        """Relative spread of the EM gains of its frames."""
        gains = np.array([item.record.em_gain for item in self.frames])
        mean = abs(gains.mean())
        return float(np.ptp(gains) / mean) if mean else 0.0

    def __str__(self) -> str:
        return (
            f"the stack of exposure time {self.exposure_time:g} s, EM gain "
            f"{self.commanded_gain:g}, k-gain {self.k_gain:g}"
        )


def _same_times(times: Sequence[float]) -> dict[float, float]:
    """Map each time to the smallest of those equal to it within the tolerance."""
    representative: dict[float, float] = {}
    current = None
    for time in sorted(set(times)):
        if current is None or time - current > TIME_TOLERANCE * abs(time):
            current = time
        representative[time] = current
    return representative


def group_stacks(
    inputs: Sequence[FrameInput], gain_tolerance: float = GAIN_TOLERANCE
) -> list[Stack]:
    """Sort frames into stacks.

    Parameters
    ----------
    inputs : sequence of FrameInput
        The frames.
    gain_tolerance : float
        Largest relative spread of the measured or applied EM gain within a stack.

    Returns
    -------
    list of Stack
        Sorted by exposure time, commanded gain, k-gain and readout setting.

    Raises
    ------
    InputError
        Frames have different shapes, or the gain within a stack spreads too much.
    """
    shapes = {item.record.shape: item.record.name for item in inputs}
    if len(shapes) > 1:
        known = "; ".join(f"{shape} in {name}" for shape, name in shapes.items())
        raise InputError(f"the frames have different shapes: {known}")
    times = _same_times([item.record.exposure_time for item in inputs])
    groups: dict[_Key, list[FrameInput]] = {}
    for item in inputs:
        record = item.record
        time = times[record.exposure_time]
        key = (time, record.commanded_gain, record.k_gain, record.setting)
        groups.setdefault(key, []).append(item)
    return [_stack(key, groups[key], gain_tolerance) for key in sorted(groups)]


def _stack(key: _Key, frames: list[FrameInput], gain_tolerance: float) -> Stack:
    gains = np.array([item.record.em_gain for item in frames])
    stack = Stack(*key[:3], float(gains.mean()), tuple(frames), key[3])
    if stack.em_gain > 0 and stack.gain_spread > gain_tolerance:
        odd = frames[int(np.argmax(np.abs(gains - np.median(gains))))].record
        raise InputError(
            f"{odd.name}: EM gain {odd.em_gain:g} in {stack}, whose gains spread by "
            f"{stack.gain_spread:.1%}; leave the frame out (in Python, gain_tolerance may be "
            f"raised from {gain_tolerance:g})"
        )
    return stack


#: Beyond these a header is wrong, and numbers would leave what floating point holds.
MOST_GAIN, MOST_TIME, MOST_K_GAIN = 1e9, 1e12, 1e9


def check_stack(stack: Stack, k_gain: float | None) -> None:
    """Refuse numbers that no camera has.

    Parameters
    ----------
    stack : Stack
        The stack.
    k_gain : float or None
        K-gain that overrides the headers', if any.

    Raises
    ------
    InputError
        A gain below 1 or not finite, a negative time, a k-gain that is not positive.
    """
    example = stack.frames[0].record.name
    if not 1 <= stack.em_gain < math.inf:
        raise InputError(f"{example}: EM gain {stack.em_gain:g} is below 1 or not finite; check it")
    if stack.em_gain > MOST_GAIN or stack.exposure_time > MOST_TIME:
        raise InputError(
            f"{example}: EM gain {stack.em_gain:g} and exposure time {stack.exposure_time:g} s: no "
            "camera has these; check its header"
        )
    if stack.exposure_time < 0:
        raise InputError(
            f"{example}: exposure time {stack.exposure_time:g} s is negative; check its header"
        )
    if k_gain is None and not stack.k_gain > 0:
        raise InputError(
            f"{example}: k-gain {stack.k_gain:g} is not positive; check its header or give kgain"
        )
    used = stack.k_gain if k_gain is None else k_gain
    if not 1 / MOST_K_GAIN <= used <= MOST_K_GAIN:
        raise InputError(
            f"{example}: k-gain {used:g} electrons per DN: no camera has this; check its header or "
            "give kgain"
        )
