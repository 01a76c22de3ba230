"""What is wrong with frames and products, and what to do: one list of checks (``registry``).

``inspect`` looks at every frame once and fills a summary (``summary``); a check is a function
from it to findings (``finding``). From which numbers on they speak stands in ``thresholds``.
"""

from emdarks.checks.finding import Finding
from emdarks.checks.inspect import inspect_campaign
from emdarks.checks.summary import (
    CampaignSummary,
    FrameSummary,
    PixelCounts,
    StackSummary,
)

__all__ = [
    "CampaignSummary",
    "Finding",
    "FrameSummary",
    "PixelCounts",
    "StackSummary",
    "inspect_campaign",
]
