"""Whether a run on bad input did what it had to do."""

from __future__ import annotations

import re

from validation.hostile_cases import Case
from validation.hostile_run import Outcome

__all__ = ["judge"]

_EXIT = {"refused": 1, "usage": 2}


def judge(case: Case, outcome: Outcome) -> str:
    """What is wrong with what a run did; empty where nothing is."""
    if outcome.escaped:
        return f"an exception escaped: {outcome.escaped}"
    expected = _EXIT.get(case.outcome, 0)
    if outcome.exit_code != expected:
        return f"exit code {outcome.exit_code} instead of {expected}"
    if expected and outcome.written:
        return f"wrote {', '.join(outcome.written)}"
    if not expected and len(outcome.written) != 1:
        return f"wrote {len(outcome.written)} files instead of one"
    if case.outcome == "done":
        return f"said {outcome.message!r}" if outcome.message else ""
    if not re.search(case.words, outcome.message):
        return f"did not say {case.words!r} but {outcome.message!r}"
    if expected == 1 and sum(line.startswith("error: ") for line in outcome.lines) != 1:
        return "said more than one line about the error"
    return ""
