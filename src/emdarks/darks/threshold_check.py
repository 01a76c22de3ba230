"""The check of the level at which samples are flagged, and stacks that are left out by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from emdarks.arguments import is_number
from emdarks.checks.context import FlaggingRule
from emdarks.darks.rejection import kinds_of
from emdarks.errors import CalDarksLSQException, InputError
from emdarks.frames import flagging_level
from emdarks.frames.bad_frames import BadFrame
from emdarks.stacks import Stack, group_stacks
from emdarks.stacks.calibration_inputs import CalibrationInputs
from emdarks.stacks.design import MIN_LEVEL_STACKS, MIN_STACKS

#: What is done with stacks that are cut, by the value of ``CR_threshold_check``.
_WORDS = {"warn": "warn", True: "leave out", False: "off"}


@dataclass(frozen=True, slots=True)
class ThresholdCheck:
    """Options of the check; see `emdarks.calibrate_darks_lsq`.

    Attributes
    ----------
    mode : {"warn", True, False}
        Tell cut stacks, leave them out, or neither.
    rule : FlaggingRule
        How far clean samples reach.
    """

    mode: str | bool = "warn"
    rule: FlaggingRule = field(default_factory=FlaggingRule)

    def check(self, skip: Sequence[str]) -> None:
        """Refuse what makes no sense, or contradicts the kinds of frames to skip.

        Raises
        ------
        InputError
            A value has no meaning.
        """
        if self.mode is False and "search" in kinds_of(skip):
            raise InputError(
                "skip='search' leaves out what CR_threshold_check=False does not look for; give "
                "one of them"
            )
        if not isinstance(self.mode, bool) and self.mode != "warn":
            raise InputError(
                f"CR_threshold_check is {self.mode!r}; it must be True (leave stacks out), False, "
                'or "warn"'
            )
        given = {
            "fpn_fid": self.rule.fpn,
            "cic_fid": self.rule.cic,
            "dc_fid": self.rule.dc,
            "num_stds": self.rule.num_stds,
        }
        for name, value in given.items():
            if value is not None and not (is_number(value) and 0 <= value < math.inf):
                raise InputError(f"{name} is {value!r}; it must be a number, 0 or above")

    @property
    def word(self) -> str:
        """What is done, as the header says it."""
        return _WORDS[self.mode]

    @property
    def silent(self) -> tuple[str, ...]:
        """Topics of findings that are not told."""
        return () if self.mode else ("search",)

    @property
    def apart(self) -> tuple[str, ...]:
        """Topics of findings whose frames are left out."""
        return ("search",) if self.mode is True else ()

    def leave_out(self, job: CalibrationInputs) -> CalibrationInputs:
        """The frames without those of stacks that headers tell to be cut, if that is asked for."""
        if self.mode is not True:
            return job
        cut = {
            id(item): why
            for stack in group_stacks(job.inputs, job.gain_tolerance)
            if (why := self._why(stack, job))
            for item in stack.frames
        }
        gone = [item for item in job.inputs if id(item) in cut]
        job.skipping.set_aside(BadFrame(item.record.name, cut[id(item)]) for item in gone)
        return job.without(gone)

    def _why(self, stack: Stack, job: CalibrationInputs) -> str:
        """What is wrong with a stack by its headers; "" where nothing is."""
        noise = job.camera.noise_in(stack.frames[0].record.mode)
        charge = self.rule.charge(noise, stack.exposure_time)
        k_gain = job.kgain or stack.k_gain
        if not (charge >= 0 and stack.em_gain >= 1 and k_gain > 0):
            return ""
        level = k_gain * min(map(flagging_level, stack.frames))
        reach = self.rule.reach(stack.em_gain, charge)
        if level > reach:
            return ""
        return (
            f"search: samples are flagged from {level:.4g} e- on, and those of its own charge "
            f"reach {reach:.4g} e- (CR_threshold_check)"
        )


def check_left(stacks: Sequence[Stack], job: CalibrationInputs, model: str) -> None:
    """Refuse stacks that are too few since others were left out by the check.

    Raises
    ------
    CalDarksLSQException
        Fewer than the fit needs are left.
    """
    least = MIN_STACKS if model == "full" else MIN_LEVEL_STACKS
    if job.skipping.apart and len(stacks) < least:
        left = ", ".join(str(stack) for stack in stacks) or "none"
        raise CalDarksLSQException(
            f"a fit needs at least {least} stacks, and {len(stacks)} are left ({left}): "
            f"{job.skipping.apart} frames are of stacks that flags cut into, and "
            "CR_threshold_check=True leaves these out; flag from a higher level on, or keep them: "
            'CR_threshold_check="warn" (--threshold-check warn)'
        )
