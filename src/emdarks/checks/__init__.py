"""A campaign at a glance: what its stacks look like, what can be made of them, what is wrong.

One pass over the frames (``campaign``) fills a summary (``summary``); ``findings`` puts it
into words. Each finding comes from one short function: new ones are added to a list there.
"""

from emdarks.checks.inspect import inspect_campaign
from emdarks.checks.summary import (
    CampaignSummary,
    Finding,
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
