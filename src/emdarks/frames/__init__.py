"""Frames: headers first, pixels when they are streamed.

`image` and `dataset` are what users hold; `source` puts runs of pixels into
buffers; `levels` takes bias off and flags saturated samples on the way; `inputs`
turns either, and foreign objects like them, into what the stream takes.
"""

from emdarks.frames.bad_frames import BadFrame
from emdarks.frames.dataset import Dataset
from emdarks.frames.discover import (
    first_file,
    frames_where,
    reads_extensions,
    select_frames,
    select_products,
)
from emdarks.frames.frame_input import (
    FrameInput,
    Provenance,
    camera_named_in,
    frame_inputs,
    frame_sources,
    frames_of,
)
from emdarks.frames.image import Image

__all__ = [
    "BadFrame",
    "Dataset",
    "FrameInput",
    "Image",
    "Provenance",
    "camera_named_in",
    "first_file",
    "frame_inputs",
    "frame_sources",
    "frames_of",
    "frames_where",
    "reads_extensions",
    "select_frames",
    "select_products",
]
