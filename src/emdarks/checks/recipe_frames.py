"""What a recipe says of the frames that it makes a product of: the same as an inspection.

The figures of single frames and the sums of stacks are there anyway, so that no pixel is read
for this.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from emdarks.accumulate import FrameFigures
from emdarks.accumulate.blocks import FigureArea
from emdarks.cameras import Camera
from emdarks.checks.classify import SortedFrames
from emdarks.checks.context import Context, FlaggingRule
from emdarks.checks.finding import Finding
from emdarks.checks.formatting import in_words
from emdarks.checks.inspect import NO_COUNTS, PixelLook, compared, in_mode_of, summary_of
from emdarks.checks.registry import AVERAGE, FIT, Checks, find, find_in_recipe
from emdarks.counting_sums import HistogramBins
from emdarks.errors import EmdarksWarning, InputError
from emdarks.frames import FrameInput
from emdarks.frames.bad_frames import BadFrame
from emdarks.moments import Moments
from emdarks.stacks import Stack, figure_area
from emdarks.stacks.calibration_inputs import CalibrationInputs

#: Topics of findings about single frames that a recipe would use.
KINDS = (
    "saturated",
    "empty",
    "flags",
    "light",
    "cosmic",
    "bias",
    "level",
    "noise",
    "masked",
    "search",
    "temperature",
)


class ProductLook:
    """Looks at the sums of stacks while a product is made of them.

    Parameters
    ----------
    job : CalibrationInputs
        The frames.
    telemetry : slice
        Rows of telemetry.
    kgain : float or None
        K-gain that overrides the headers', if any.
    fit : bool
        Whether F, C and D are fitted; else the checks of the design are not made.
    screened : bool
        Whether unflagged cosmic rays are taken out: then they are no reason to warn.
    flagging : FlaggingRule, optional
        How far the charge of clean samples reaches.
    silent : sequence of str
        Topics of findings that are not wanted.
    """

    def __init__(
        self,
        job: CalibrationInputs,
        telemetry: slice,
        kgain: float | None,
        *,
        fit: bool,
        screened: bool = False,
        flagging: FlaggingRule | None = None,
        silent: Sequence[str] = (),
    ):
        self._camera = _camera_of(job)
        self.kgain = kgain
        self._checks = FIT if fit else AVERAGE
        self._unwanted = (*silent, "cosmic") if screened else tuple(silent)
        self._flagging = flagging or FlaggingRule()
        area: FigureArea = figure_area(job.arrtype, job.regions, telemetry)
        self._pixels = PixelLook(area, self._camera.noise, job.mask)
        self._counts: list[dict[str, Any]] = []

    def at(
        self,
        stack: Stack,
        moments: Moments,
        scale: float = 1.0,
        bins: HistogramBins | None = None,
    ) -> None:
        """Look at the sums of the next stack, before they are changed.

        Parameters
        ----------
        stack : Stack
            The stack.
        moments : Moments
            Its sums.
        scale : float
            Factor to EM electrons.
        bins : HistogramBins, optional
            Those of its histogram, where its EM gain is to be measured.
        """
        shape = stack.frames[0].record.shape
        self._counts.append(self._pixels.at(moments, shape, stack.em_gain, scale, bins))

    def findings(
        self,
        job: CalibrationInputs,
        stacks: Sequence[Stack],
        figures: Sequence[Sequence[FrameFigures]],
        scales: Sequence[float] | None = None,
        checks: Checks | None = None,
    ) -> list[Finding]:
        """Problems and warnings about the frames that were used.

        Where no sums were looked at, only checks of the figures of single frames can be made.

        Parameters
        ----------
        job : CalibrationInputs
            These frames.
        stacks : sequence of Stack
            In the order in which they were looked at.
        figures : sequence of sequences of FrameFigures
            Of the frames of each stack.
        scales : sequence of float, optional
            Factors of the figures to EM electrons; 1 by default.
        checks : sequence of checks, optional
            Others than those of recipes.
        """
        factors = scales or [1.0] * len(stacks)
        pixels = self._pixels.counts()
        counts = self._counts or [NO_COUNTS] * len(stacks)
        summaries = compared(
            [
                summary_of(stack, [_scaled(frame, by) for frame in frames], seen, self.kgain)
                for stack, frames, seen, by in zip(stacks, figures, counts, factors, strict=True)
            ],
            pixels.imaging,
        )
        context = Context(
            self._camera, _accepted(job, stacks), summaries, pixels, self.kgain, self._flagging
        )
        found = find_in_recipe(context, checks or self._checks)
        return [finding for finding in found if finding.topic not in self._unwanted]


def _accepted(job: CalibrationInputs, stacks: Sequence[Stack]) -> SortedFrames:
    """The frames as an inspection sorts them: a recipe has accepted them all."""
    shape = job.inputs[0].record.shape
    return SortedFrames(len(job.inputs), shape, job.inputs, list(stacks), [], [])


def tell_of_headers(job: CalibrationInputs, stacks: Sequence[Stack], checks: Checks) -> None:
    """Say what checks of headers find, before a pixel is read."""
    tell(find(checks, Context(job.camera, _accepted(job, stacks))), stacklevel=4)


def _camera_of(job: CalibrationInputs) -> Camera:
    """The camera with the geometry and the mode of the frames."""
    camera = in_mode_of(job.inputs, job.camera)
    geometry = {name: dict(areas) for name, areas in job.regions.items()}
    return camera if job.regions is camera.regions else replace(camera, geometry=geometry)


def _scaled(frame: FrameFigures, by: float) -> FrameFigures:
    if by == 1.0:
        return frame
    names = ("level", "scatter", "prescan_level", "highest")
    return replace(frame, **{name: getattr(frame, name) * by for name in names})


def named_in(
    findings: Iterable[Finding], kinds: Sequence[str], inputs: Sequence[FrameInput]
) -> list[tuple[FrameInput, BadFrame]]:
    """Frames that findings of some kinds name, and what is wrong with them.

    Raises
    ------
    InputError
        A frame has no name of its own, so that nothing tells which one is meant.
    """
    reasons: dict[str, str] = {}
    for finding in findings:
        if finding.topic in kinds:
            for name in finding.frames:
                reasons.setdefault(name, f"{finding.topic}: {finding.text}")
    found = [item for item in inputs if item.record.name in reasons]
    if len(found) > len(reasons):
        raise InputError(
            f"{found[0].record.name}: several frames have this name, so that nothing tells which "
            "of them to skip; give frames in memory a filename each"
        )
    return [(item, BadFrame(item.record.name, reasons[item.record.name])) for item in found]


def tell(findings: Iterable[Finding], stacklevel: int = 3) -> None:
    """Say each finding once, as a warning."""
    for finding in findings:
        warnings.warn(in_words(finding), EmdarksWarning, stacklevel=stacklevel)


def refuse_problems(findings: Iterable[Finding]) -> None:
    """Refuse frames that a finding speaks against.

    Raises
    ------
    InputError
        The first finding in words.
    """
    for finding in findings:
        raise InputError(in_words(finding))
