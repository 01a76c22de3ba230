"""Whether cosmic rays were searched in a frame, and from which level on a sample can be flagged."""

from __future__ import annotations

import math
import re
from typing import Any

from emdarks.arguments import is_number
from emdarks.frames.frame_input import FrameInput
from emdarks.frames.raw_source import RawSource

#: What corgidrp and emdarks say of the search for cosmic rays, DN above the bias.
_SEARCHED = re.compile(r"Cosmic ray threshold of ([0-9.eE+-]+) used")


def flagging_level(item: FrameInput) -> float:
    """The lowest level at which a sample can have been flagged; infinite where nothing tells.

    That is the saturation or the threshold of the search for cosmic rays, whichever is lower: of
    a raw frame its own, of others SAT_DN, and what HISTORY says of the search.

    Parameters
    ----------
    item : FrameInput
        A frame.

    Returns
    -------
    float
        DN above the bias.
    """
    if isinstance(item.source, RawSource):
        plan = item.source.plan
        search = plan.calibration.search
        found = math.inf if search is None else search.threshold * plan.well
        return min(found, plan.saturation)
    given: Any = item.headers["ext"].get("SAT_DN")
    level = float(given) if is_number(given) and given > 0 else math.inf
    told = _told_search(item)
    return min(level, float(told[1])) if told else level


def is_searched(item: FrameInput) -> bool:
    """Whether cosmic rays are searched in a frame, or its HISTORY says that they were."""
    if isinstance(item.source, RawSource):
        return item.source.plan.search() is not None
    return _told_search(item) is not None


def _told_search(item: FrameInput) -> re.Match[str] | None:
    """What HISTORY says of the search for cosmic rays."""
    texts = item.headers["ext"].texts
    return _SEARCHED.search("".join(text[8:80] for text in texts if text.startswith("HISTORY ")))
