"""The files that an inspection says nothing against, for whoever calibrates them next."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from emdarks.checks.summary import CampaignSummary
from emdarks.errors import InputError
from emdarks.fits import is_url, whole_file
from emdarks.frames.frame_input import frame_name


def good_files(dataset: Any, summary: CampaignSummary) -> tuple[list[str], list[str]]:
    """Files none of whose frames a problem or a warning names.

    Parameters
    ----------
    dataset : Dataset, or an object like it
        The frames that were inspected.
    summary : CampaignSummary
        What was found.

    Returns
    -------
    good : list of str
        Absolute paths, or URLs, in the order of the frames; a cube counts if all of its
        frames do.
    mixed : list of str
        Cubes of which some frames are good and others are not.
    """
    named = {
        name
        for finding in summary.findings
        if finding.severity in ("problem", "warning")
        for name in finding.frames
    }
    states: dict[str, set[bool]] = {}
    for frame in dataset:
        path = os.fspath(frame.filepath)
        file = path if is_url(path) else os.path.abspath(path)  # noqa: PTH100  links stay links
        states.setdefault(file, set()).add(frame_name(frame) in named)
    good = [file for file, bad in states.items() if bad == {False}]
    return good, [file for file, bad in states.items() if len(bad) > 1]


def write_list(path: Path, files: Iterable[str]) -> None:
    """Write files, one a line, as ``@list.txt`` takes them.

    Raises
    ------
    InputError
        There are none, or a name would not be read back from its line.
    """
    lines = list(files)
    if not lines:
        raise InputError(f"{path}: not written, every file has a frame that is named above")
    for line in lines:
        if line != line.strip() or len(line.splitlines()) != 1:
            raise InputError(
                f"{line!r}: cannot stand in a list, for its blanks at the end or line breaks; "
                "rename it"
            )
    with whole_file(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
