"""Reports: one self-contained HTML page about a product or a campaign.

`write_report` makes a page of noise maps, of a dark, of a bad-pixel map, or of the frames of a
campaign. A `Page` is made of data (``Section``, ``Text``, ``Table``, ``Picture``, `Advice`), so
that pages of other things can be put together of the same parts.
"""

from emdarks.report.bad_pixels import BadPixelView, bad_pixel_page
from emdarks.report.campaign import campaign_page, campaign_sections
from emdarks.report.compare import Comparison, PlaneChange, compare_products
from emdarks.report.dark import dark_page, dark_sections
from emdarks.report.maps import maps_page, maps_sections
from emdarks.report.page import (
    Advice,
    AdviceList,
    Column,
    Facts,
    Page,
    Picture,
    Section,
    Source,
    Table,
    Text,
    Verdict,
)
from emdarks.report.view import DarkView, MapsView, view_of
from emdarks.report.write import can_report, open_product, report_on, write_report

__all__ = [
    "Advice",
    "AdviceList",
    "BadPixelView",
    "Column",
    "Comparison",
    "DarkView",
    "Facts",
    "MapsView",
    "Page",
    "Picture",
    "PlaneChange",
    "Section",
    "Source",
    "Table",
    "Text",
    "Verdict",
    "bad_pixel_page",
    "campaign_page",
    "campaign_sections",
    "can_report",
    "compare_products",
    "dark_page",
    "dark_sections",
    "maps_page",
    "maps_sections",
    "open_product",
    "report_on",
    "view_of",
    "write_report",
]
