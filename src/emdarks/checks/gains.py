"""EM gains of the headers against those that the samples show."""

from __future__ import annotations

import math

from emdarks.checks.context import Context
from emdarks.checks.finding import Finding, Findings
from emdarks.checks.formatting import measured, named, signed
from emdarks.checks.summary import StackSummary
from emdarks.checks.thresholds import GAIN_SIGMAS


def shown_gains(context: Context) -> Findings:
    """Stacks whose samples show another EM gain than their headers say."""
    known = [stack for stack in context.stacks if math.isfinite(stack.fitted_gain)]
    far = [stack for stack in known if abs(_sigmas(stack)) > GAIN_SIGMAS]
    if far:
        worst = max(far, key=lambda stack: abs(_sigmas(stack)))
        off = 100 * (worst.em_gain / worst.fitted_gain - 1)
        yield Finding(
            "warning",
            "gains",
            f"the samples show another EM gain than the headers say in {named(far)}: "
            f"{_shown(worst)} instead of {worst.em_gain:g}, which is {signed(off, 2)} % off, and "
            "so are C and D of these stacks",
            remedy="correct the gains in the headers, or give --estimator counting --gain-source "
            "fitted to emdarks noisemaps",
        )
    elif known:
        most = max(known, key=lambda stack: abs(_sigmas(stack)))
        yield Finding(
            "fine",
            "gains",
            f"the samples of {named(known)} show the EM gains that the headers say, within "
            f"{GAIN_SIGMAS:g} standard errors; farthest off: {_shown(most)} instead of "
            f"{most.em_gain:g}",
        )


def _shown(stack: StackSummary) -> str:
    return measured(stack.fitted_gain, stack.fitted_gain_error)


def _sigmas(stack: StackSummary) -> float:
    return (stack.em_gain - stack.fitted_gain) / stack.fitted_gain_error
