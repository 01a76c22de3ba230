"""The data sheet of a camera, from its dark frames alone."""

from emdarks.datasheet.comparison import UNLIKE, Change, changes, unlike
from emdarks.datasheet.evidence import Evidence, gather
from emdarks.datasheet.quantity import Quantity
from emdarks.datasheet.recipe import characterize, sheet_of
from emdarks.datasheet.sheet import DataSheet, StackRow

__all__ = [
    "UNLIKE",
    "Change",
    "DataSheet",
    "Evidence",
    "Quantity",
    "StackRow",
    "changes",
    "characterize",
    "gather",
    "sheet_of",
    "unlike",
]
