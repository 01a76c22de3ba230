"""Counts and stacks in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from emdarks.checks.summary import Finding, StackSummary

__all__ = ["and_more", "in_stacks", "in_words", "named", "several"]

_SINGULAR = {"have": "has", "are": "is", "differ": "differs"}


def several(count: int, noun: str, verb: str = "") -> str:
    """A count in words: 1 frame has, 2 frames have."""
    words = (
        (str(count), noun, _SINGULAR.get(verb, ""))
        if count == 1
        else (str(count), f"{noun}s", verb)
    )
    return " ".join(words).rstrip()


def and_more(texts: Sequence[str], most: int = 3) -> str:
    """The first few texts, then a count."""
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def named(stacks: Iterable[StackSummary]) -> str:
    """A few stacks by name."""
    return and_more([f"({stack})" for stack in stacks])


def in_stacks(stacks: Iterable[StackSummary]) -> str:
    """Where something was found: each stack once."""
    return f"in {named(dict.fromkeys(stacks))}"


def in_words(finding: Finding) -> str:
    """A finding in one line: what was found, the first few files, what to do."""
    names = [Path(name).name for name in finding.frames if name not in finding.text]
    files = f" ({and_more(names)})" if any(names) else ""
    text = f"{finding.text}{files}"
    if not finding.remedy:
        return text
    return f"{text}{' ' if text.endswith('?') else '; '}{finding.remedy}"
