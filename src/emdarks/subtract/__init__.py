"""Darks taken off frames: which dark belongs to which frame, in which unit, and where.

``match`` decides from headers, before a pixel is read; ``frames`` holds what a frame
becomes, computed when it is asked for; ``recipe`` is what users call.
"""

from emdarks.subtract.recipe import save_subtracted, subtract_dark
from emdarks.subtract.subtracted_frame import SubtractedFrame

__all__ = ["SubtractedFrame", "save_subtracted", "subtract_dark"]
