"""From which level on a sample of a frame can have been flagged."""

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
    header = item.headers["ext"]
    given: Any = header.get("SAT_DN")
    level = float(given) if is_number(given) and given > 0 else math.inf
    history = "".join(text[8:80] for text in header.texts if text.startswith("HISTORY "))
    searched = _SEARCHED.search(history)
    return min(level, float(searched[1])) if searched else level
