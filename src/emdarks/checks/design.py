"""Checks of the campaign as a whole: which stacks are missing or too short, what can be made."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

import numpy as np

from emdarks.cameras import NoiseFigures
from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.formatting import and_more, named, several
from emdarks.checks.summary import StackSummary
from emdarks.checks.thresholds import ENTANGLED, GRID_GAPS, SHORT_STACK
from emdarks.errors import CalDarksLSQException
from emdarks.stacks.design import MIN_STACKS, check_campaign


def can_be_fitted(context: Context) -> Findings:
    """What the fit itself refuses, in its own words, and which stacks to add."""
    try:
        # Stacks of one frame have a finding of their own.
        check_campaign(context.campaign.stacks, context.k_gain, min_frames=1)
    except CalDarksLSQException as error:
        lacking = _lacking(context.stacks, context.camera.noise)
        yield Finding(
            "problem",
            "maps",
            f"noise maps cannot be fitted: {error}",
            remedy=f"add {' and '.join(lacking)}" if lacking else "",
        )


def _lacking(stacks: Sequence[StackSummary], noise: NoiseFigures) -> list[str]:
    """Which of the three kinds of stacks that tell F, C and D is absent.

    Low gain: amplified charge is less than the read noise, which leaves F. High gain: one
    electron stands out of the read noise; for a short time there is less dark current than
    clock-induced charge, which leaves C, for a long time there is more.
    """
    if set(noise.unknown) - {"k_gain"}:
        return []  # frames in no mode of a camera that has its noise by mode
    charge, current = noise.clock_induced_charge, noise.dark_current
    times = [stack.exposure_time for stack in stacks]
    low = high_short = high_long = False
    for stack in stacks:
        gain, dark = stack.em_gain, current * stack.exposure_time
        low |= 2 * gain**2 * (charge + dark) < noise.read_noise**2
        high_short |= gain > noise.read_noise and dark <= charge
        high_long |= gain > noise.read_noise and dark > charge
    even = charge / current if current > 0 else math.inf
    top = max((stack.em_gain for stack in stacks), default=0.0)
    high = f"of EM gain {top:g}" if top > noise.read_noise else _high(noise)
    short = min((time for time in times if time < even), default=0.1 * even)
    long = max((time for time in times if time > even), default=3 * even)
    wanted = [] if low else ["a stack of low EM gain, such as 1 (it tells F)"]
    if not high_short:
        wanted.append(f"a stack {high} and a short time, such as {short:.3g} s (it tells C)")
    if not high_long and math.isfinite(even):
        wanted.append(f"a stack {high} and a long time, such as {long:.3g} s (it tells D)")
    return wanted


def _high(noise: NoiseFigures) -> str:
    return f"of an EM gain far above the read noise of {noise.read_noise:g} electrons"


def ill_conditioned(context: Context) -> Findings:
    """Stacks that can be fitted, and hardly tell two of the three maps apart."""
    stacks = [stack for stack in context.stacks if stack.noise > 0 and stack.most_good > 0]
    if len(stacks) < MIN_STACKS:
        return
    growth = _entangled(stacks)
    lacking = _lacking(stacks, context.camera.noise)
    top = max(stack.em_gain for stack in stacks)
    if growth is None:
        return  # the fit refuses it
    if max(growth.values()) > ENTANGLED:
        maps = [name for name, factor in growth.items() if factor > ENTANGLED]
        yield Finding(
            "warning",
            "design",
            f"these stacks hardly tell {' and '.join(maps)} apart from the other maps: errors are "
            f"{max(growth.values()):.1f} times what they would be if those were known",
            remedy=f"add {' and '.join(lacking)}"
            if lacking
            else "add stacks of high EM gain whose exposure times lie farther apart",
        )
    elif top < min(stack.noise for stack in stacks):
        yield Finding(
            "warning",
            "design",
            f"no stack has a high gain: at EM gain {top:g} an electron stays below the noise of "
            f"{min(stack.noise for stack in stacks):.3g} EM electrons, C and D will be poor",
            remedy=f"add {' and '.join(lacking)}" if lacking else "",
        )


def _entangled(stacks: Sequence[StackSummary]) -> dict[str, float] | None:
    """Growth of the errors of F, C, D over those with the other two maps known.

    Square roots of the variance inflation factors of the fit that is weighted with the
    stacks' noise; None where it is singular.
    """
    gain = np.array([stack.em_gain for stack in stacks])
    time = np.array([stack.exposure_time for stack in stacks])
    frames = np.array([stack.frames * (1 - stack.masked) for stack in stacks])
    weight = np.sqrt(np.maximum(frames, 1e-9)) / np.array([stack.noise for stack in stacks])
    X = np.column_stack([np.ones_like(gain), gain, gain * time]) * weight[:, None]
    length = np.linalg.norm(X, axis=0)
    if not (length > 0).all() or np.linalg.matrix_rank(X / length) < 3:
        return None
    inverse = np.linalg.inv((X / length).T @ (X / length))
    growth = np.sqrt(np.maximum(np.diag(inverse), 1.0))
    return {name: float(factor) for name, factor in zip("FCD", growth, strict=True)}


def short_stacks(context: Context) -> Findings:
    """Stacks with far fewer frames than the others."""
    usual = float(np.median([stack.frames for stack in context.stacks])) if context.stacks else 0.0
    short = [stack for stack in context.stacks if stack.frames < SHORT_STACK * usual]
    if short:
        fewest = min(stack.frames for stack in short)
        yield Finding(
            "warning",
            "frames",
            f"{several(len(short), 'stack', 'are')} much shorter than the others, {named(short)}: "
            f"{several(fewest, 'frame')}, the median is {usual:g}",
            remedy="look whether frames are missing; take more, or leave the stack out",
        )


def incomplete_grid(context: Context) -> Findings:
    """Combinations that a grid of gains and times lacks, where nearly all are there."""
    present = {(stack.commanded_gain, stack.exposure_time) for stack in context.stacks}
    gains, times = (sorted({pair[axis] for pair in present}) for axis in (0, 1))
    absent = [(gain, time) for gain in gains for time in times if (gain, time) not in present]
    cells = len(gains) * len(times)
    if (
        min(len(gains), len(times)) > 1
        and cells > 5
        and 0 < len(absent) <= max(1, GRID_GAPS * cells)
    ):
        pairs = and_more([f"(gain {gain:g}, {time:g} s)" for gain, time in absent])
        yield Finding(
            "note",
            "design",
            f"of the {cells} combinations of {len(gains)} EM gains and {len(times)} exposure "
            f"times only {pairs} {'is' if len(absent) == 1 else 'are'} missing",
            remedy="look whether frames were lost; the fit does not need them",
        )


def few_frames(context: Context) -> Findings:
    """Stacks of fewer frames than the makers of the camera recommend."""
    enough = context.camera.frames.recommended
    counts = [stack.frames for stack in context.stacks]
    few = sum(count < enough for count in counts) if enough is not None else 0
    if few:
        how = "all stacks have" if few == len(counts) else f"{few} of {len(counts)} stacks have"
        yield Finding(
            "note",
            "frames",
            f"{how} fewer than the {enough} frames that are recommended for {context.camera.name} "
            f"(the smallest {min(counts)}); the maps will be noisier",
            remedy="emdarks plan predicts the errors",
        )


#: Problems of frames that an inspection leaves out, as `--skip-bad-frames` does.
_LEFT_OUT = {"headers", "shape"}


def possible_products(context: Context, problems: Set[str]) -> Findings:
    """Products that can be made of the frames; no noise maps where there are other problems.

    Parameters
    ----------
    context : Context
        The frames.
    problems : set of str
        Topics of the problems.
    """
    if context.stacks and problems <= _LEFT_OUT:
        without = (
            ", without the frames that are left out here (emdarks noisemaps --skip-bad-frames)"
        )
        yield Finding(
            "fine",
            "maps",
            f"noise maps (F, C, D) can be fitted to these {len(context.stacks)} stacks"
            f"{without if problems else ''}, and master darks synthesised from them; they are "
            f"measured for {_reach(context.stacks)}",
        )
    ways = {item.record.counted for item in context.campaign.inputs} - {None}
    counted = bool(ways)
    if any(way is not None and way.value != "count" for way in ways):
        return  # darks are made of single frames
    averaged = [stack for stack in context.stacks if stack.most_good > 1 and stack.em_gain >= 1]
    if averaged:
        which = (
            "each stack"
            if len(averaged) == len(context.stacks)
            else f"the stacks {named(averaged)}"
        )
        kind = "photon-counted dark" if counted else "traditional master dark"
        yield Finding("fine", "darks", f"a {kind} can be made of {which}")


def _reach(stacks: Sequence[StackSummary]) -> str:
    gains = [stack.em_gain for stack in stacks]
    times = [stack.exposure_time for stack in stacks]
    return (
        f"EM gains {min(gains):g} to {max(gains):g} and exposure times {min(times):g} to "
        f"{max(times):g} s"
    )
