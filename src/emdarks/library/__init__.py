"""Calibration products of many nights: which of them is for a frame, and why.

``folder`` has the library itself, ``index`` its SQLite file, ``entry`` what is kept of a product,
``request`` what a frame asks for, ``match`` the rules that bring both together, ``check`` what is
wrong with a library, ``trend`` how its numbers change over time, ``use`` takes its darks off
frames, ``caldb`` knows the database of corgidrp.
"""

from emdarks.library.caldb import export_caldb, import_caldb
from emdarks.library.check import check_library
from emdarks.library.entry import Covariance, Entry, Kind, Number
from emdarks.library.folder import Library
from emdarks.library.index import Event
from emdarks.library.match import Match, Step
from emdarks.library.request import Request, requests_of
from emdarks.library.trend import Group, Point, Series, Trend, find_trends
from emdarks.library.use import LibrarySubtraction, subtract_by_library

__all__ = [
    "Covariance",
    "Entry",
    "Event",
    "Group",
    "Kind",
    "Library",
    "LibrarySubtraction",
    "Match",
    "Number",
    "Point",
    "Request",
    "Series",
    "Step",
    "Trend",
    "check_library",
    "export_caldb",
    "find_trends",
    "import_caldb",
    "requests_of",
    "subtract_by_library",
]
