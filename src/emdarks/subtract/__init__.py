"""Darks taken off frames: which dark belongs to which frame, in which unit, and where.

``dark_source`` decides from headers, before a pixel is read; ``subtracted_frame`` holds what a
frame becomes, computed when it is asked for; ``recipe`` has the functions that users call.
"""

from emdarks.subtract.recipe import save_subtracted, subtract_dark
from emdarks.subtract.subtracted_frame import SubtractedFrame

__all__ = ["SubtractedFrame", "save_subtracted", "subtract_dark"]
