"""The check without truth: its result from a file, its advice, its figure."""

from __future__ import annotations

import json
import os
from pathlib import Path

from emdarks import plots
from emdarks.checks import Finding
from emdarks.checks.stack_table import stack_name
from emdarks.errors import InputError
from emdarks.half_split import PULL_TOLERANCE, CheckReport
from emdarks.report.page import WIDTH


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


def check_advice(check: CheckReport | None) -> list[Finding]:
    """What the check found."""
    if check is None:
        return []
    if check.believable:
        return [Finding("fine", "half split", f"The check without truth: {' '.join(check.words)}")]
    return [
        Finding("problem", "half split", f"The check without truth: {text}") for text in check.words
    ]


def not_checked(reason: str) -> Finding:
    """What is left open where the frames are too few to be checked."""
    return Finding(
        "warning",
        "half split",
        f"The check without truth could not be made: {reason}.",
        remedy="Take more frames of each stack; until then the errors are not tested.",
    )


def check_figures(check: CheckReport | None) -> dict[str, plots.Figure]:
    """Misfits of stacks, and odd against even frames; no figure without a check."""
    if check is None:
        return {}
    names = [stack_name(s.gain, s.exposure_time) for s in check.stacks]
    figure = plots.new_figure(WIDTH, max(2.6, 1.2 + 0.24 * len(names)))
    left, right = figure.subplots(1, 2)
    if not names:
        left.set_axis_off()
    plots.significance(names, [s.sigmas for s in check.stacks], "misfit of each stack", ax=left)
    plots.around(
        list(check.pull_std), list(check.pull_std.values()), 1.0, PULL_TOLERANCE,
        "odd against even frames", "scatter over error", ax=right,
    )  # fmt: skip
    return {"check": figure}
