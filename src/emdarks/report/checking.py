"""The check without truth, as a section of a page."""

from __future__ import annotations

import json
import os
from pathlib import Path

from emdarks import plots
from emdarks.check import PULL_TOLERANCE, CheckReport
from emdarks.errors import InputError
from emdarks.report.numbers import count, number, setting, signed
from emdarks.report.page import WIDTH, Advice, Block, Column, Picture, Section, Table, Text
from emdarks.report.stacks import stack_name

__all__ = ["check_advice", "check_section", "load_check", "not_checked"]

_TITLE = "The check without truth"


def load_check(path: str | os.PathLike[str]) -> CheckReport:
    """Read what ``emdarks check --json`` has written.

    Raises
    ------
    InputError
        The file cannot be read or holds something else.
    """
    try:
        return CheckReport.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(
            f"{path}: is no result of a check; make one with emdarks check FRAMES --json > {path}"
        ) from None


def check_advice(check: CheckReport | None) -> list[Advice]:
    """What the check found."""
    if check is None:
        return []
    if check.believable:
        return [Advice("fine", f"The check without truth: {' '.join(check.words)}")]
    return [Advice("problem", f"The check without truth: {text}") for text in check.words]


def not_checked(reason: str) -> Advice:
    """What is left open where the frames are too few to be checked."""
    return Advice(
        "warning",
        f"The check without truth could not be made: {reason}.",
        "Take more frames of each stack; until then the errors are not tested.",
    )


def check_section(check: CheckReport | None, unchecked: str = "") -> Section:
    """Odd against even frames, each stack against the others, drift; or how to get them."""
    intro = Text(
        "Odd and even frames of every stack are fitted apart. Where the errors are right, the "
        "difference of the two fits, divided by its error, scatters with a standard deviation "
        "of 1. Each stack is predicted from all others, and levels are followed along the sequence."
    )
    if unchecked:
        return Section("check", _TITLE, [intro, Text(f"Not done here: {unchecked}.")])
    if check is None:
        how = Text(
            "Not done here: it needs the frames. `emdarks report` takes them with "
            "`--frames FRAMES`, or the result of an earlier `emdarks check FRAMES --json` with "
            "`--check FILE`."
        )
        return Section("check", _TITLE, [intro, how])
    blocks: list[Block] = [intro, _summary(check), _picture(check), _table(check)]
    return Section("check", _TITLE, blocks)


def _summary(check: CheckReport) -> Text:
    pulls = ", ".join(f"{name} {std:.2f}" for name, std in check.pull_std.items())
    expected = (
        "1 is right, below 1 is expected with so few frames" if check.few_frames else "1 is right"
    )
    return Text(
        f"Scatter over error ({expected}): {pulls}, from {count(check.pixels)} pixels. "
        f"Drift of the level along the sequence: {signed(check.drift)} EM e⁻ "
        f"({number(abs(check.drift_sigmas), 2)} standard errors). {' '.join(check.words)}"
    )


def _picture(check: CheckReport) -> Picture:
    names = [stack_name(s.gain, s.exposure_time) for s in check.stacks]
    figure = plots.new_figure(WIDTH, max(2.6, 1.2 + 0.24 * len(names)))
    left, right = figure.subplots(1, 2)
    plots.significance(names, [s.sigmas for s in check.stacks], "misfit of each stack", ax=left)
    stds = list(check.pull_std.values())
    plots.around(
        list(check.pull_std),
        stds,
        1.0,
        PULL_TOLERANCE,
        "odd against even frames",
        "scatter over error",
        ax=right,
    )
    return Picture.of(
        "check",
        figure,
        "Misfits of stacks in standard errors, and scatter of odd minus even over error",
        "Grey: where dots are expected; squares lie beyond.",
    )


def _table(check: CheckReport) -> Table:
    rows = [
        [
            setting(s.gain),
            f"{s.exposure_time:g}",
            signed(s.misfit),
            signed(s.sigmas, 2),
            signed(s.pull_median, 2),
            number(s.pull_scatter),
        ]
        for s in check.stacks
    ]
    return Table(
        [
            Column("EM gain"),
            Column("time", "s"),
            Column("misfit", "EM e⁻"),
            Column("misfit", "std. errors"),
            Column("pulls, median"),
            Column("pulls, robust scatter"),
        ],
        rows,
        "Misfit: image mean of the stack minus what all other stacks predict. Pulls: residuals "
        "of single pixels over their errors.",
    )
