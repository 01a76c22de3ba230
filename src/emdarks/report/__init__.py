"""Reports: one self-contained HTML page about a product or a campaign.

`write_report` makes a page of noise maps, of a dark, of a bad-pixel map, or of the frames of a
campaign. The words of pages stand in templates; Python gives them values and figures. ``render``
makes sections for pages of other things.
"""

from emdarks.checks.product_summary import BadPixelView, DarkView, MapsView, view_of
from emdarks.report.bad_pixels import bad_pixel_page
from emdarks.report.compare import Comparison, PlaneChange, compare_products
from emdarks.report.dark import dark_page
from emdarks.report.inspection import campaign_page, campaign_sections
from emdarks.report.maps import maps_page
from emdarks.report.page import Page, Picture, Section, Verdict, render
from emdarks.report.trend import trend_page
from emdarks.report.write import can_report, open_product, report_on, write_report

__all__ = [
    "BadPixelView",
    "Comparison",
    "DarkView",
    "MapsView",
    "Page",
    "Picture",
    "PlaneChange",
    "Section",
    "Verdict",
    "bad_pixel_page",
    "campaign_page",
    "campaign_sections",
    "can_report",
    "compare_products",
    "dark_page",
    "maps_page",
    "open_product",
    "render",
    "report_on",
    "trend_page",
    "view_of",
    "write_report",
]
