"""A finding: one thing to know about frames or a product. All checks give these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

#: "problem": noise maps are refused, or would be wrong; "warning": something should be looked at
#: before they are made or used; "note": true, and no reason to wait; "fine": nothing to do.
Severity = Literal["problem", "warning", "note", "fine"]

_ORDER: dict[Severity, int] = {"problem": 0, "warning": 1, "note": 2, "fine": 3}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a campaign or a product.

    Attributes
    ----------
    severity : {"problem", "warning", "note", "fine"}
        Problems make `emdarks.darks.calibrate_darks_lsq` refuse the campaign, or its maps wrong.
    topic : str
        What it is about, in one word, for programs.
    text : str
        What was found. Words between backticks are code.
    frames : tuple of str
        The frames that it is about, where it is about single ones; the worst first.
    remedy : str
        What to do; empty where nothing is to be done.
    """

    severity: Severity
    topic: str
    text: str
    frames: tuple[str, ...] = ()
    remedy: str = ""


#: A check is a function from a context (frames, or a product) to these.
Findings = Iterator[Finding]


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Problems first, then warnings, then notes; the order among them stays."""
    return sorted(findings, key=lambda finding: _ORDER[finding.severity])
