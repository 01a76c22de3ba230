"""What the tests beside corgidrp share: its geometry, our files, and the lines of the table.

corgidrp writes into the home folder: it gets one of its own, before it is imported.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

HOME = Path(sys.prefix) / "home"
HOME.mkdir(exist_ok=True)
os.environ["HOME"] = str(HOME)

# The calibrations that it starts with are written when its database is imported.
from corgidrp import caldb, data, mocks  # noqa: E402, F401

from commands import run_command  # noqa: E402

#: The geometry of its small mocks: frames of 120 x 220 pixels.
REGIONS: dict[str, Any] = mocks.detector_areas_test


class Row(NamedTuple):
    """A line of the table."""

    what: str
    tried_by: str
    result: str
    seconds: float


ROWS: list[Row] = []


def emdarks(folder: Path, *words: Any) -> str:
    """What a command of ours prints; it must succeed."""
    made = run_command(folder, *words)
    assert made.returncode == 0, f"{made.stdout}\n{made.stderr}"
    return made.stdout


def setting(path: str) -> tuple[float, float]:
    """EM gain and exposure time of a frame."""
    header = data.fits.getheader(path, 1)
    return header["EMGAIN_C"], header["EXPTIME"]


@dataclass(frozen=True)
class Ours:
    """Files that our commands wrote."""

    folder: Path
    frames: list[str]
    maps: str
    dark: str
    image_dark: str
    average: str
    bad_pixels: str
    subtracted: list[str]

    @cached_property
    def of_dark(self) -> list[str]:
        """The frames of the gain and time of the darks."""
        return [path for path in self.frames if setting(path) == (1000, 60)]
