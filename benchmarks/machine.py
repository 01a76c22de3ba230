"""The machine in words, without its name."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Figures of a run, by part.
Figures = dict[str, Any]

LIBRARIES = ("emdarks", "numpy", "astropy", "ccdproc")


def cpu() -> str:
    """Model of the CPU."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def memory() -> float:
    """Main memory, GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def libraries() -> str:
    """Versions of what takes part."""
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def description() -> str:
    """One sentence."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cpu()}, {cores} cores, {memory():.0f} GB of memory, {platform.system()}; "
        f"Python {platform.python_version()}, {libraries()}."
    )
