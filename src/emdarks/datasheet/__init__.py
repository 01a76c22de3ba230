"""The data sheet of a camera, from its dark frames alone."""

from emdarks.datasheet.evidence import Evidence, gather
from emdarks.datasheet.quantity import Quantity

__all__ = ["Evidence", "Quantity", "gather"]
